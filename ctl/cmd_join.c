/* ctl/cmd_join.c - make this host join a cluster, and watch until it votes.
 *
 * The daemon does the joining; this command asks for it and then reads /status.
 * Interrupting the command does not interrupt the join. */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/output.h"
#include "lib/base/rk_clock.h"

#define POLL_US 200000u
/* The daemon may be out of reach for so long while it throws its data away. */
#define SILENCE_US (10 * RK_USEC_PER_SEC)

enum {
    OPT_DISCARD = CTL_OPT_OWN,
    OPT_NO_WAIT,
};

struct join {
    const char *address;
    bool discard_data, no_wait;
    json_t *status; /* the last that was read */
    uint64_t heard_us;
    struct output_progress progress;
};

static void join_deinit(struct join *join)
{
    output_progress_end(&join->progress);
    json_decref(join->status);
}

static const json_t *progress_of(const struct join *join)
{
    return json_object_get(join->status, "join");
}

static void show(struct join *join, const char *state, const char *message)
{
    static const struct {
        const char *state, *text;
    } texts[] = {
        {"contacting", "contacting the cluster"},
        {"wiping", "throwing away what this host held"},
        {"catching_up", "catching up with the leader"},
    };
    const char *text = state;
    for (size_t i = 0; i < RK_ARRAY_LEN(texts); i++)
        if (strcmp(texts[i].state, state) == 0)
            text = texts[i].text;
    RK_CLEANUP(rk_freep) char *line = rk_asprintf("%s%s%s", text, message[0] ? ": " : "", message);
    output_progress(&join->progress, state, line);
}

static int done(struct join *join)
{
    output_progress_end(&join->progress);
    const char *id = client_json_str(join->status, "member_id", "unknown");
    if (ctl_settings.json) {
        output_json(progress_of(join));
        return CTL_OK;
    }
    RK_CLEANUP(rk_freep) char *leader = output_safe(client_json_str(join->status, "leader_name", ""));
    printf("joined: this host is a voter, with id %s%s%s\n", id, leader[0] ? "; the leader is " : "", leader);
    return CTL_OK;
}

static int failed(struct join *join, const char *message)
{
    output_progress_end(&join->progress);
    RK_CLEANUP(rk_freep)
    char *advice = rk_asprintf(
        "Is %s the peer address of a running member, can this host reach it, and is this host's peer "
        "certificate of the cluster's CA? Then: raftkvctl join %s",
        join->address, join->address);
    RK_CLEANUP(rk_freep) char *safe = output_safe(advice);
    return ctl_error(CTL_FAILED, safe, "the join failed: %s",
                     message[0] ? message : "the daemon gives no reason");
}

/* "none" after a join was asked for: the daemon was started again and has forgotten it, or it was over
 * before. */
static int forgotten(struct join *join)
{
    if (strcmp(client_json_str(join->status, "member_role", ""), "voter") == 0)
        return done(join);
    output_progress_end(&join->progress);
    return ctl_error(CTL_FAILED, "See raftkvctl status; then join again.",
                     "the daemon knows nothing of a join any more: was it restarted?");
}

/* CTL_GO_ON while the join goes on. */
static int look(struct join *join)
{
    const char *state = client_json_str(progress_of(join), "state", "none");
    const char *message = client_json_str(progress_of(join), "message", "");
    if (strcmp(state, "done") == 0)
        return done(join);
    if (strcmp(state, "failed") == 0)
        return failed(join, message);
    if (strcmp(state, "none") == 0)
        return forgotten(join);
    show(join, state, message);
    return CTL_GO_ON;
}

static int follow(struct client *client, struct join *join)
{
    join->heard_us = rk_clock_now_us(&rk_clock_boottime);
    for (;;) {
        json_t *status;
        int r = client_status(client, &status);
        uint64_t now_us = rk_clock_now_us(&rk_clock_boottime);
        if (r == 0) {
            json_decref(join->status);
            join->status = status;
            join->heard_us = now_us;
            int exit_code = look(join);
            if (exit_code != CTL_GO_ON)
                return exit_code;
        } else if (now_us - join->heard_us > SILENCE_US) {
            output_progress_end(&join->progress);
            return ctl_fail(client, r, NULL, "the join was begun, but the daemon does not answer any more");
        }
        usleep(POLL_US);
    }
}

static int begin(struct join *join)
{
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(0);
    if (!client)
        return CTL_FAILED;
    int r = client_join(client, join->address, join->discard_data);
    const char *advice =
        r == CLIENT_E_CONFLICT && !join->discard_data
            ? "If this host's keys are not needed any more, add --discard-data: they will be gone. "
              "Else save them first: raftkvctl snapshot save FILE."
            : NULL;
    if (r != 0)
        return ctl_fail(client, r, advice, "cannot join");
    if (!join->no_wait)
        return follow(client, join);
    puts(ctl_settings.json ? "{\"state\": \"contacting\"}" : "begun; raftkvctl status shows how far it is");
    return CTL_OK;
}

int cmd_join(int argc, char **argv)
{
    static const struct option longs[] = {{"discard-data", no_argument, NULL, OPT_DISCARD},
                                          {"no-wait", no_argument, NULL, OPT_NO_WAIT},
                                          CTL_LONG};
    RK_CLEANUP(join_deinit) struct join join = {0};
    int c, r;
    while ((c = getopt_long(argc, argv, CTL_SHORT, longs, NULL)) >= 0) {
        if (c == OPT_DISCARD)
            join.discard_data = true;
        else if (c == OPT_NO_WAIT)
            join.no_wait = true;
        else if ((r = ctl_option(c, argv, "join")) != CTL_GO_ON)
            return r;
    }
    if (argc - optind != 1)
        return ctl_usage("join", "exactly one HOST:PORT is needed");
    if (!ctl_address_good(argv[optind]))
        return ctl_usage("join", "\"%s\" is not HOST:PORT, as in node1:2380 or [2001:db8::1]:2380",
                         argv[optind]);
    join.address = argv[optind];
    return begin(&join);
}
