/* lib/client/client_session.c - changes of keys that may be sent again: numbered, in a session of this
 * client.
 *
 * The session is opened before the first change and kept for the next ones. A change
 * whose outcome is unknown is sent again with its number, to the next endpoint when
 * there are several, until an answer comes or the time is over: the cluster applies
 * it once. What comes back first from a server that knows no sessions is 404; to that
 * one changes go without number, once, as ever. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/base/rk_clock.h"
#include "lib/client/client_private.h"

#define PAUSE_FIRST_MS 50u
#define PAUSE_MAX_MS   1000u
#define END_TIMEOUT_MS 1000u
/* Longer than anybody waits for a change; short, since nobody may be left to end it. */
#define TTL_S 120

struct attempts {
    uint64_t end_us;
    uint32_t timeout_ms, pause_ms; /* timeout_ms: the client's, to be put back */
};

static uint64_t now_us(void)
{
    return rk_clock_now_us(&rk_clock_boottime);
}

static struct attempts begin(const struct client *client)
{
    return (struct attempts){.end_us = now_us() + client->timeout_ms * RK_USEC_PER_MSEC,
                             .timeout_ms = client->timeout_ms,
                             .pause_ms = PAUSE_FIRST_MS};
}

/* Waits a moment, longer each time. False when the time is over or the caller has had enough. */
static bool again(struct client *client, struct attempts *attempts)
{
    struct timespec pause = {.tv_sec = attempts->pause_ms / 1000,
                             .tv_nsec = (long)(attempts->pause_ms % 1000) * 1000000};
    if (client->cancelled && client->cancelled(client->userdata))
        return false;
    nanosleep(&pause, NULL);
    attempts->pause_ms = (uint32_t)rk_min_u64(2 * attempts->pause_ms, PAUSE_MAX_MS);
    uint64_t now = now_us();
    if (now + RK_USEC_PER_MSEC >= attempts->end_us)
        return false;
    client->timeout_ms = (uint32_t)((attempts->end_us - now) / RK_USEC_PER_MSEC);
    client->endpoint = (client->endpoint + 1) % client->endpoint_count;
    return true;
}

static void end(struct client *client, const struct attempts *attempts)
{
    client->timeout_ms = attempts->timeout_ms;
}

/* ---- the session ------------------------------------------------------------------------- */

static int ask_session(struct client *client)
{
    RK_CLEANUP(rk_freep) char *text = rk_asprintf("{\"ttl\":%d}", TTL_S);
    struct client_body body = {.bytes = rk_slice_str(text), .content_type = "application/json"};
    struct client_response response;
    int r = client_request(client, "POST", "/session", NULL, &body, &response);
    if (r != 0)
        return r;
    snprintf(client->session, sizeof(client->session), "%s", client_json_str(response.json, "session", ""));
    client_response_deinit(&response);
    client->sequence = 0;
    if (client->session[0] != '\0')
        return 0;
    return client_fail(client, CLIENT_E_PROTOCOL, "the answer has no session; is that a raftkvd?");
}

/* Whether one was opened or not does no harm: asking again opens another. */
static int open_session(struct client *client)
{
    struct attempts attempts = begin(client);
    int r;
    while ((r = ask_session(client)) == CLIENT_E_UNKNOWN && again(client, &attempts)) {}
    end(client, &attempts);
    if (r == CLIENT_E_UNKNOWN)
        return client_fail(client, CLIENT_E_UNAVAILABLE,
                           "the cluster does not answer in time; nothing was changed");
    return r;
}

/* CLIENT_E_NOT_FOUND and, for a path that it knows with other methods, CLIENT_E_INVALID. */
static bool is_older_server(const struct client *client, int outcome)
{
    const char *code = client_error_code(client);
    return outcome == CLIENT_E_NOT_FOUND ||
           (outcome == CLIENT_E_INVALID && strcmp(code, "method_not_allowed") == 0);
}

static bool session_is_gone(const struct client *client, int outcome)
{
    return outcome == CLIENT_E_INVALID && strcmp(client_error_code(client), "no_session") == 0;
}

void client_session_end(struct client *client)
{
    struct client_response response;
    RK_CLEANUP(rk_freep) char *path = NULL;
    if (client->session[0] == '\0' || client->error.len > 0) /* it will expire */
        return;
    path = rk_asprintf("/session/%s", client->session);
    client->timeout_ms = END_TIMEOUT_MS;
    client->cancelled = NULL;
    if (client_request(client, "DELETE", path, NULL, NULL, &response) == 0)
        client_response_deinit(&response);
}

/* ---- a change ------------------------------------------------------------------------------ */

static int send_numbered(struct client *client, const char *method, const char *path,
                         const struct client_body *body, struct client_response *ret)
{
    client->numbered = true;
    int r = client_request(client, method, path, NULL, body, ret);
    client->numbered = false;
    return r;
}

/* Once one attempt may have been carried out, only an answer to its number tells. */
static bool worth_another(bool perhaps, int outcome)
{
    return outcome == CLIENT_E_UNKNOWN ||
           (perhaps && (outcome == CLIENT_E_UNAVAILABLE || outcome == CLIENT_E_UNREACHABLE ||
                        outcome == CLIENT_E_BUSY || outcome == CLIENT_E_NO_SPACE));
}

static int send_until_answered(struct client *client, const char *method, const char *path,
                               const struct client_body *body, struct client_response *ret, bool *ret_perhaps)
{
    struct attempts attempts = begin(client);
    int r;
    *ret_perhaps = false;
    client->sequence++;
    do {
        r = send_numbered(client, method, path, body, ret);
        *ret_perhaps |= r == CLIENT_E_UNKNOWN;
    } while (worth_another(*ret_perhaps, r) && again(client, &attempts));
    end(client, &attempts);
    return r;
}

int client_write(struct client *client, const char *method, const char *path, const struct client_body *body,
                 struct client_response *ret)
{
    bool perhaps;
    for (int sessions = 0;; sessions++) {
        int r = client->session[0] == '\0' ? open_session(client) : 0;
        if (is_older_server(client, r))
            return client_request(client, method, path, NULL, body, ret);
        if (r != 0)
            return r;
        r = send_until_answered(client, method, path, body, ret, &perhaps);
        if (session_is_gone(client, r))
            client->session[0] = '\0';
        if (r > 0 && perhaps)
            return client_fail(client, CLIENT_E_UNKNOWN,
                               "no answer in time; the change may or may not have been made");
        if (r == 0 || client->session[0] != '\0' || sessions > 0)
            return r;
    }
}
