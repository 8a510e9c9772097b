/* lib/client/client.c - a client's life, its endpoints, and the text of its errors. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "lib/client/client_private.h"

#define ERROR_BYTES 1024u /* a sentence or two; a longer one is cut */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void curl_start(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* A URL without path, query or user: scheme://host[:port][/] */
static int endpoint_url(struct client_endpoint *endpoint, const char *text, const char *host)
{
    size_t len = strlen(text);
    if (text[len - 1] == '/')
        len--;
    if (host >= text + len || strcspn(host, "/?#@ ") < (size_t)(text + len - host))
        return -EINVAL;
    endpoint->url = rk_asprintf("%.*s", (int)len, text);
    return 0;
}

static int endpoint_parse(struct client_endpoint *endpoint, const char *text)
{
    if (strncmp(text, "unix:", 5) == 0 && text[5]) {
        endpoint->socket = rk_strdup(text + 5);
        endpoint->url = rk_strdup("http://localhost");
        return 0;
    }
    if (strncmp(text, "https://", 8) == 0)
        return endpoint_url(endpoint, text, text + 8);
    if (strncmp(text, "http://", 7) == 0)
        return endpoint_url(endpoint, text, text + 7);
    return -EINVAL;
}

static int endpoints_parse(struct client *client, const struct client_options *options)
{
    static const char *const here[] = {"unix:" CLIENT_SOCKET_DEFAULT};
    const char *const *list = options->endpoint_count > 0 ? options->endpoints : here;
    size_t count = options->endpoint_count > 0 ? options->endpoint_count : RK_ARRAY_LEN(here);
    if (count > CLIENT_ENDPOINTS_MAX)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        int r = endpoint_parse(&client->endpoints[client->endpoint_count++], list[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static char *copy(const char *s)
{
    return s ? rk_strdup(s) : NULL;
}

int client_new(const struct client_options *options, struct client **ret)
{
    static const struct client_options defaults;
    if (!options)
        options = &defaults;
    pthread_once(&curl_once, curl_start);
    if (curl_ready != CURLE_OK)
        return -ENOMEM;
    struct client *client = RK_NEW(struct client);
    client->ca = copy(options->ca);
    client->certificate = copy(options->certificate);
    client->key = copy(options->key);
    client->cancelled = options->cancelled;
    client->userdata = options->userdata;
    client_set_timeout(client, options->timeout_ms);
    int r = endpoints_parse(client, options);
    if (r == 0)
        r = client_setup(client);
    if (r < 0) {
        client_free(client);
        return r;
    }
    *ret = client;
    return 0;
}

void client_free(struct client *client)
{
    if (!client)
        return;
    if (client->curl)
        client_session_end(client);
    curl_easy_cleanup(client->curl);
    for (size_t i = 0; i < client->endpoint_count; i++) {
        free(client->endpoints[i].socket);
        free(client->endpoints[i].url);
    }
    free(client->ca);
    free(client->certificate);
    free(client->key);
    rk_buf_deinit(&client->error);
    free(client);
}

void client_set_timeout(struct client *client, uint32_t timeout_ms)
{
    client->timeout_ms = timeout_ms > 0 ? timeout_ms : CLIENT_TIMEOUT_MS;
}

const char *client_error(const struct client *client)
{
    return client->error.len > 0 ? (const char *)rk_buf_slice(&client->error).data : "no error";
}

const char *client_error_code(const struct client *client)
{
    return client->error_code;
}

void client_error_clear(struct client *client)
{
    rk_buf_clear(&client->error);
    client->error_code[0] = '\0';
}

int client_fail(struct client *client, int outcome, const char *fmt, ...)
{
    char text[ERROR_BYTES];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    client_error_clear(client);
    rk_buf_append(&client->error, n < 0 ? "" : text, n < 0 ? 1 : strlen(text) + 1);
    return outcome;
}

static int status_outcome(long status)
{
    static const struct {
        long status;
        int outcome;
    } table[] = {
        {403, CLIENT_E_FORBIDDEN}, {404, CLIENT_E_NOT_FOUND},   {409, CLIENT_E_CONFLICT},
        {429, CLIENT_E_BUSY},      {503, CLIENT_E_UNAVAILABLE}, {504, CLIENT_E_UNKNOWN},
        {507, CLIENT_E_NO_SPACE},
    };
    for (size_t i = 0; i < RK_ARRAY_LEN(table); i++)
        if (table[i].status == status)
            return table[i].outcome;
    if (status >= 500)
        return CLIENT_E_FAILED;
    return status >= 400 ? CLIENT_E_INVALID : CLIENT_E_PROTOCOL;
}

int client_fail_status(struct client *client, long status, const json_t *json)
{
    int outcome = status_outcome(status);
    const char *code = client_json_str(json, "code", "");
    /* GET /health gives a reason instead of a message. */
    const char *message = client_json_str(json, "message", client_json_str(json, "reason", NULL));
    if (message)
        client_fail(client, outcome, "%s", message);
    else
        client_fail(client, outcome, "the server answered with HTTP status %ld and no explanation", status);
    snprintf(client->error_code, sizeof(client->error_code), "%s", code);
    return outcome;
}

const char *client_outcome_name(int outcome)
{
    static const char *const names[] = {
        [0] = "ok",
        [CLIENT_E_UNREACHABLE] = "unreachable",
        [CLIENT_E_DENIED] = "denied",
        [CLIENT_E_UNAVAILABLE] = "unavailable",
        [CLIENT_E_UNKNOWN] = "timeout",
        [CLIENT_E_BUSY] = "busy",
        [CLIENT_E_NOT_FOUND] = "not_found",
        [CLIENT_E_CONFLICT] = "conflict",
        [CLIENT_E_FORBIDDEN] = "forbidden",
        [CLIENT_E_NO_SPACE] = "no_space",
        [CLIENT_E_INVALID] = "bad_request",
        [CLIENT_E_FAILED] = "failed",
        [CLIENT_E_INCOMPLETE] = "incomplete",
        [CLIENT_E_PROTOCOL] = "protocol",
    };
    if (outcome < 0 || (size_t)outcome >= RK_ARRAY_LEN(names))
        return "error";
    return names[outcome];
}
