/* ctl/cmd_member.c - members: list, invite, remove, promote; hand leadership over; leave. */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/output.h"
#include "lib/base/rk_clock.h"

enum {
    OPT_NO_WAIT = CTL_OPT_OWN,
    OPT_WAIT,
    OPT_LEARNER,
};

static const char *const unknown_member = "raftkvctl members lists the members' ids and names.";

static void drop(json_t **json)
{
    json_decref(*json);
}

void ctl_say(const json_t *extra, const char *sentence)
{
    if (!ctl_settings.json) {
        RK_CLEANUP(rk_freep) char *safe = output_safe(sentence);
        puts(safe);
        return;
    }
    json_t *json = extra ? json_copy((json_t *)(uintptr_t)extra) : json_object();
    RK_CLEANUP(rk_freep) char *safe = output_safe(sentence);
    json_object_set_new(json, "result", json_string(safe));
    output_json(json);
    json_decref(json);
}

/* ---- members ---- */

static void print_members(const json_t *answer)
{
    static const char *const headings[] = {"NAME", "ID", "ROLE", "PEER ADDRESS", "CLIENT URL"};
    struct output_table table = {.headings = headings, .columns = RK_ARRAY_LEN(headings)};
    const char *leader = client_json_str(answer, "leader_id", "");
    size_t i;
    json_t *member;
    json_array_foreach(json_object_get(answer, "members"), i, member)
    {
        const char *id = client_json_str(member, "id", "-");
        const char *url = client_json_str(member, "client_url", "");
        output_table_add(&table,
                         (const char *const[]){
                             client_json_str(member, "name", NULL),
                             id,
                             strcmp(id, leader) == 0 ? "leader" : client_json_str(member, "role", NULL),
                             client_json_str(member, "peer_address", NULL),
                             url[0] ? url : NULL,
                         });
    }
    output_table_print(&table);
    output_table_deinit(&table);
}

int cmd_members(int argc, char **argv)
{
    int r = ctl_options_only(argc, argv, "members", 0, 0);
    if (r != CTL_GO_ON)
        return r;
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(0);
    if (!client)
        return CTL_FAILED;
    RK_CLEANUP(drop) json_t *answer = NULL;
    r = client_members(client, &answer);
    if (r != 0)
        return ctl_fail(client, r, NULL, "cannot list the members");
    if (ctl_settings.json)
        output_json(answer);
    else
        print_members(answer);
    return CTL_OK;
}

/* ---- member add ---- */

struct invitation {
    const char *address;
    bool no_wait, learner;
    uint32_t appear_ms;
    json_t *before; /* members when it was sent */
    struct output_progress progress;
};

static void invitation_deinit(struct invitation *invitation)
{
    output_progress_end(&invitation->progress);
    json_decref(invitation->before);
}

static const json_t *find_id(const json_t *answer, const char *id)
{
    size_t i;
    json_t *member;
    json_array_foreach(json_object_get(answer, "members"), i, member)
    {
        if (strcmp(client_json_str(member, "id", ""), id) == 0)
            return member;
    }
    return NULL;
}

/* The one that was not there before, at this address if several are new; NULL when there is none yet. */
static const json_t *find_new(const struct invitation *invitation, const json_t *now)
{
    const json_t *found = NULL;
    size_t i;
    json_t *member;
    json_array_foreach(json_object_get(now, "members"), i, member)
    {
        if (find_id(invitation->before, client_json_str(member, "id", "")))
            continue;
        if (strcmp(client_json_str(member, "peer_address", ""), invitation->address) == 0)
            return member;
        found = member;
    }
    return found;
}

static int say_joined(const json_t *member)
{
    bool votes = strcmp(client_json_str(member, "role", ""), "voter") == 0;
    RK_CLEANUP(rk_freep)
    char *text =
        rk_asprintf("%s is a %s, with id %s", client_json_str(member, "name", "the host"),
                    votes ? "member and votes" : "learner", client_json_str(member, "id", "unknown"));
    ctl_say(member, text);
    return CTL_OK;
}

static int never_appeared(struct invitation *invitation)
{
    output_progress_end(&invitation->progress);
    return ctl_error(
        CTL_FAILED,
        "Is raftkvd running there, empty, with a certificate of the same CA, and is its peer port reachable "
        "from here? See the messages of both hosts: journalctl -u raftkvd.",
        "the host at %s has been invited but has not become a member", invitation->address);
}

static bool has_joined(struct invitation *invitation, const json_t *member)
{
    if (!member) {
        output_progress(&invitation->progress, "invited", "invited; waiting for the host to appear");
        return false;
    }
    if (invitation->learner || strcmp(client_json_str(member, "role", ""), "voter") == 0)
        return true;
    output_progress(&invitation->progress, "learner",
                    "the host is a learner; waiting until it has caught up and votes");
    return false;
}

/* Only the time until the host appears is bounded: catching up takes as long as the data is large. While the
 * membership changes there may be no answer for a moment, which is not the end of it. */
static int await_voter(struct client *client, struct invitation *invitation)
{
    uint64_t give_up_us = rk_clock_now_us(&rk_clock_boottime) + invitation->appear_ms * RK_USEC_PER_MSEC;
    for (;;) {
        RK_CLEANUP(drop) json_t *now = NULL;
        int r = client_members(client, &now);
        bool late = rk_clock_now_us(&rk_clock_boottime) >= give_up_us;
        if (r != 0 && late) {
            output_progress_end(&invitation->progress);
            return ctl_fail(client, r, NULL, "invited, but cannot see whether the host has joined");
        }
        const json_t *member = now ? find_new(invitation, now) : NULL;
        if (now && has_joined(invitation, member)) {
            output_progress_end(&invitation->progress);
            return say_joined(member);
        }
        if (now && !member && late)
            return never_appeared(invitation);
        usleep(CTL_POLL_US);
    }
}

static int invite(struct invitation *invitation)
{
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(0);
    if (!client)
        return CTL_FAILED;
    int r = client_members(client, &invitation->before);
    if (r == 0)
        r = invitation->learner ? client_member_add_learner(client, invitation->address)
                                : client_member_add(client, invitation->address);
    if (r != 0)
        return ctl_fail(client, r, NULL, "cannot invite %s", invitation->address);
    if (!invitation->no_wait)
        return await_voter(client, invitation);
    ctl_say(NULL, "invited; raftkvctl members shows when it has joined");
    return CTL_OK;
}

int cmd_member_add(int argc, char **argv)
{
    static const struct option longs[] = {{"no-wait", no_argument, NULL, OPT_NO_WAIT},
                                          {"wait", required_argument, NULL, OPT_WAIT},
                                          {"learner", no_argument, NULL, OPT_LEARNER},
                                          CTL_LONG};
    RK_CLEANUP(invitation_deinit) struct invitation invitation = {.appear_ms = CTL_APPEAR_MS};
    int c, r;
    while ((c = getopt_long(argc, argv, CTL_SHORT, longs, NULL)) >= 0) {
        if (c == OPT_NO_WAIT)
            invitation.no_wait = true;
        else if (c == OPT_LEARNER)
            invitation.learner = true;
        else if (c == OPT_WAIT && !ctl_parse_seconds(optarg, &invitation.appear_ms))
            return ctl_usage("member add", "--wait takes seconds, from 0.05 to 86400, not \"%s\"", optarg);
        else if (c != OPT_WAIT && (r = ctl_option(c, argv, "member add")) != CTL_GO_ON)
            return r;
    }
    if (argc - optind != 1)
        return ctl_usage("member add", "exactly one HOST:PORT is needed");
    if (!ctl_address_good(argv[optind]))
        return ctl_usage("member add", "\"%s\" is not HOST:PORT, as in node2:2380 or [2001:db8::2]:2380",
                         argv[optind]);
    invitation.address = argv[optind];
    return invite(&invitation);
}

/* --- member remove, member promote, transfer-leader, leave
 * ------------------------------------------------------------------ */

int cmd_member_remove(int argc, char **argv)
{
    int r = ctl_options_only(argc, argv, "member remove", 1, 1);
    if (r != CTL_GO_ON)
        return r;
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(CTL_CHANGE_PATIENCE_MS);
    if (!client)
        return CTL_FAILED;
    r = client_member_remove(client, argv[optind]);
    if (r != 0)
        return ctl_fail(client, r, r == CLIENT_E_NOT_FOUND ? unknown_member : NULL, "cannot remove %s",
                        argv[optind]);
    RK_CLEANUP(rk_freep) char *text = rk_asprintf("%s is no longer a member", argv[optind]);
    ctl_say(NULL, text);
    return CTL_OK;
}

int cmd_member_promote(int argc, char **argv)
{
    int r = ctl_options_only(argc, argv, "member promote", 1, 1);
    if (r != CTL_GO_ON)
        return r;
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(CTL_CHANGE_PATIENCE_MS);
    if (!client)
        return CTL_FAILED;
    r = client_member_promote(client, argv[optind]);
    const char *advice = r == CLIENT_E_NOT_FOUND ? unknown_member
                         : r == CLIENT_E_CONFLICT
                             ? "raftkvctl status on the leader shows how far behind it is."
                             : NULL;
    if (r != 0)
        return ctl_fail(client, r, advice, "cannot promote %s", argv[optind]);
    RK_CLEANUP(rk_freep) char *text = rk_asprintf("%s votes now", argv[optind]);
    ctl_say(NULL, text);
    return CTL_OK;
}

int cmd_member_demote(int argc, char **argv)
{
    int r = ctl_options_only(argc, argv, "member demote", 1, 1);
    if (r != CTL_GO_ON)
        return r;
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(CTL_CHANGE_PATIENCE_MS);
    if (!client)
        return CTL_FAILED;
    r = client_member_demote(client, argv[optind]);
    if (r != 0)
        return ctl_fail(client, r, r == CLIENT_E_NOT_FOUND ? unknown_member : NULL, "cannot demote %s",
                        argv[optind]);
    RK_CLEANUP(rk_freep) char *text = rk_asprintf("%s is a learner now", argv[optind]);
    ctl_say(NULL, text);
    return CTL_OK;
}

/* 0 to 100. */
static bool parse_priority(const char *text, uint32_t *ret)
{
    *ret = 0;
    return strcmp(text, "0") == 0 || ctl_parse_number(text, 100, ret);
}

int cmd_member_priority(int argc, char **argv)
{
    uint32_t priority;
    int r = ctl_options_only(argc, argv, "member priority", 2, 2);
    if (r != CTL_GO_ON)
        return r;
    if (!parse_priority(argv[optind + 1], &priority))
        return ctl_usage("member priority", "a priority is a number from 0 to 100, not \"%s\"",
                         argv[optind + 1]);
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(CTL_CHANGE_PATIENCE_MS);
    if (!client)
        return CTL_FAILED;
    r = client_member_priority(client, argv[optind], priority);
    if (r != 0)
        return ctl_fail(client, r, r == CLIENT_E_NOT_FOUND ? unknown_member : NULL,
                        "cannot change the priority of %s", argv[optind]);
    RK_CLEANUP(rk_freep) char *text = rk_asprintf("%s has priority %u now", argv[optind], priority);
    ctl_say(NULL, text);
    return CTL_OK;
}

int cmd_transfer_leader(int argc, char **argv)
{
    int r = ctl_options_only(argc, argv, "transfer-leader", 0, 1);
    if (r != CTL_GO_ON)
        return r;
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(CTL_CHANGE_PATIENCE_MS);
    if (!client)
        return CTL_FAILED;
    RK_CLEANUP(drop) json_t *answer = NULL;
    r = client_transfer_leader(client, optind < argc ? argv[optind] : NULL, &answer);
    if (r != 0)
        return ctl_fail(client, r, r == CLIENT_E_NOT_FOUND ? unknown_member : NULL,
                        "cannot transfer leadership");
    RK_CLEANUP(rk_freep)
    char *text = rk_asprintf("%s leads now, with id %s", client_json_str(answer, "name", "another member"),
                             client_json_str(answer, "leader", "unknown"));
    ctl_say(answer, text);
    return CTL_OK;
}

int cmd_leave(int argc, char **argv)
{
    int r = ctl_options_only(argc, argv, "leave", 0, 0);
    if (r != CTL_GO_ON)
        return r;
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(CTL_CHANGE_PATIENCE_MS);
    if (!client)
        return CTL_FAILED;
    r = client_leave(client);
    if (r != 0)
        return ctl_fail(client, r, NULL, "cannot leave the cluster");
    ctl_say(NULL, "this host has left its cluster");
    return CTL_OK;
}
