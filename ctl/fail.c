/* ctl/fail.c - reaching the daemon, and saying what to do when that or anything else fails. */
#include "ctl/ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl/output.h"

#define SENTENCE_BYTES 2048u

static const char *socket_path(void)
{
    if (ctl_settings.socket)
        return ctl_settings.socket;
    const char *path = getenv("RAFTKV_SOCKET");
    return path && path[0] ? path : CLIENT_SOCKET_DEFAULT;
}

struct client *ctl_connect(uint32_t patience_ms)
{
    return ctl_connect_cancellable(patience_ms, NULL);
}

struct client *ctl_connect_cancellable(uint32_t patience_ms, bool (*cancelled)(void *userdata))
{
    RK_CLEANUP(rk_freep) char *endpoint = rk_asprintf("unix:%s", socket_path());
    struct client_options options = {
        .endpoints = (const char *const *)&endpoint,
        .endpoint_count = 1,
        .timeout_ms = ctl_settings.timeout_ms > 0 ? ctl_settings.timeout_ms : patience_ms,
        .cancelled = cancelled,
    };
    struct client *client = NULL;
    int r = client_new(&options, &client);
    if (r < 0)
        ctl_error(CTL_FAILED, NULL, "cannot use the socket \"%s\": %s", socket_path(), strerror(-r));
    return client;
}

void ctl_disconnect(struct client **client)
{
    client_free(*client);
}

static const struct {
    int outcome;
    int exit_code; /* of enum ctl_exit */
    const char *advice;
} kinds[] = {
    {CLIENT_E_UNREACHABLE, CTL_UNREACHABLE,
     "Is raftkvd running? See: systemctl status raftkvd. If its socket is elsewhere: --socket PATH or "
     "RAFTKV_SOCKET."},
    {CLIENT_E_DENIED, CTL_UNREACHABLE, "Run this as root, or as a member of group raftkv."},
    {CLIENT_E_UNAVAILABLE, CTL_UNAVAILABLE,
     "A majority of the voters must run and reach each other. See: raftkvctl status."},
    {CLIENT_E_UNKNOWN, CTL_UNKNOWN,
     "Look whether it was done before you try again. More time: --timeout SECONDS. See also: raftkvctl "
     "status."},
    {CLIENT_E_BUSY, CTL_UNAVAILABLE, "The cluster has too much to do: wait a moment and try again."},
    {CLIENT_E_NOT_FOUND, CTL_NOT_FOUND, NULL},
    {CLIENT_E_CONFLICT, CTL_REFUSED, NULL},
    {CLIENT_E_FORBIDDEN, CTL_REFUSED, "This works through the admin socket of raftkvd only: --socket PATH."},
    {CLIENT_E_NO_SPACE, CTL_FAILED,
     "Free some space on the disk of the data directory. See: raftkvctl status."},
    {CLIENT_E_INVALID, CTL_FAILED, NULL},
    {CLIENT_E_FAILED, CTL_FAILED, "See the daemon's messages: journalctl -u raftkvd."},
    {CLIENT_E_INCOMPLETE, CTL_FAILED,
     "Did raftkvd stop just now? See: systemctl status raftkvd. Then try again."},
    {CLIENT_E_PROTOCOL, CTL_FAILED, "Is this the socket of a raftkvd of the same version? See --socket."},
};

int ctl_exit_code(int outcome)
{
    for (size_t i = 0; i < RK_ARRAY_LEN(kinds); i++)
        if (kinds[i].outcome == outcome)
            return kinds[i].exit_code;
    return CTL_FAILED;
}

static const char *usual_advice(int outcome)
{
    for (size_t i = 0; i < RK_ARRAY_LEN(kinds); i++)
        if (kinds[i].outcome == outcome)
            return kinds[i].advice;
    return NULL;
}

/* A program that asked for JSON gets its errors so too, on one line of stderr. Texts may be cut inside a
 * character. */
static void complain_json(const char *code, const char *message, const char *advice)
{
    RK_CLEANUP(rk_freep) char *safe = output_safe(message);
    json_t *json = json_pack("{s:s, s:s}", "code", code, "message", safe);
    if (advice)
        json_object_set_new(json, "advice", json_string(advice));
    json_dumpf(json, stderr, JSON_COMPACT);
    fputc('\n', stderr);
    json_decref(json);
}

static void complain(const char *code, const char *message, const char *advice)
{
    fflush(stdout);
    if (ctl_settings.json) {
        complain_json(code, message, advice);
        return;
    }
    RK_CLEANUP(rk_freep) char *safe = output_safe(message);
    fprintf(stderr, "raftkvctl: %s\n", safe);
    if (advice)
        fprintf(stderr, "  %s\n", advice);
}

int ctl_fail(const struct client *client, int outcome, const char *advice, const char *fmt, ...)
{
    char what[SENTENCE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    const char *code = client_error_code(client);
    RK_CLEANUP(rk_freep)
    char *message = rk_asprintf("%s: %s%s%s%s", what, client_error(client), code[0] ? " (" : "", code,
                                code[0] ? ")" : "");
    complain(code[0] ? code : client_outcome_name(outcome),
             ctl_settings.json ? client_error(client) : message, advice ? advice : usual_advice(outcome));
    return ctl_exit_code(outcome);
}

static const char *exit_name(int exit_code)
{
    static const char *const names[] = {
        [CTL_OK] = "ok",
        [CTL_FAILED] = "failed",
        [CTL_USAGE] = "usage",
        [CTL_NOT_FOUND] = "not_found",
        [CTL_UNREACHABLE] = "unreachable",
        [CTL_UNAVAILABLE] = "unavailable",
        [CTL_UNKNOWN] = "timeout",
        [CTL_REFUSED] = "conflict",
    };
    return exit_code >= 0 && (size_t)exit_code < RK_ARRAY_LEN(names) ? names[exit_code] : "failed";
}

int ctl_error(int exit_code, const char *advice, const char *fmt, ...)
{
    char text[SENTENCE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    complain(exit_name(exit_code), text, advice);
    return exit_code;
}
