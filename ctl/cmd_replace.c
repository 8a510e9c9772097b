/* ctl/cmd_replace.c - member replace: new members in the places of old ones; and member abort.
 *
 * New hosts are invited as learners first, all of them; then the cluster is told who
 * takes whose place, and does it in one step when all have caught up. Whoever says the
 * command again, after an interruption, finds the learners that are there already. */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/output.h"
#include "lib/base/rk_clock.h"

enum {
    OPT_NO_WAIT = CTL_OPT_OWN,
    OPT_WAIT,
};

struct replacement {
    char *old, *new; /* as typed */
    char *old_id, *new_id;
};

struct replace {
    struct replacement pairs[RK_MEMBERS_MAX];
    size_t count;
    bool no_wait;
    uint32_t appear_ms;
    struct output_progress progress;
};

static void replace_deinit(struct replace *replace)
{
    output_progress_end(&replace->progress);
    for (size_t i = 0; i < replace->count; i++) {
        free(replace->pairs[i].old);
        free(replace->pairs[i].new);
        free(replace->pairs[i].old_id);
        free(replace->pairs[i].new_id);
    }
}

static void drop(json_t **json)
{
    json_decref(*json);
}

/* ---- what was typed ---- */

static bool add_pair(struct replace *replace, const char *old, size_t old_len, const char *new)
{
    struct replacement *pair = &replace->pairs[replace->count];
    if (replace->count == RK_MEMBERS_MAX || old_len == 0 || new[0] == '\0')
        return false;
    pair->old = rk_asprintf("%.*s", (int)old_len, old);
    pair->new = rk_strdup(new);
    replace->count++;
    return true;
}

/* OLD=NEW as often as wanted, or OLD NEW. */
static bool take_pairs(struct replace *replace, int argc, char **argv)
{
    if (argc == 2 && !strchr(argv[0], '=') && !strchr(argv[1], '='))
        return add_pair(replace, argv[0], strlen(argv[0]), argv[1]);
    for (int i = 0; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        if (!equals || !add_pair(replace, argv[i], (size_t)(equals - argv[i]), equals + 1))
            return false;
    }
    return argc > 0;
}

/* ---- the members ---- */

/* By id or name, or with by_address by peer address. NULL. */
static const json_t *find(const json_t *answer, const char *what, bool by_address)
{
    size_t i;
    json_t *member;
    json_array_foreach(json_object_get(answer, "members"), i, member)
    {
        if (by_address ? strcmp(client_json_str(member, "peer_address", ""), what) == 0
                       : strcmp(client_json_str(member, "id", ""), what) == 0 ||
                             strcmp(client_json_str(member, "name", ""), what) == 0)
            return member;
    }
    return NULL;
}

static bool has_role(const json_t *member, const char *role)
{
    return strcmp(client_json_str(member, "role", ""), role) == 0;
}

/* Those who come and are members by now get their ids. */
static bool all_here(struct replace *replace, const json_t *answer)
{
    bool all = true;
    for (size_t i = 0; i < replace->count; i++) {
        struct replacement *pair = &replace->pairs[i];
        const json_t *new = find(answer, pair->new, ctl_address_good(pair->new));
        if (new && !pair->new_id)
            pair->new_id = rk_strdup(client_json_str(new, "id", ""));
        all = all && pair->new_id;
    }
    return all;
}

static int find_old(struct client *client, struct replace *replace, const json_t *answer)
{
    for (size_t i = 0; i < replace->count; i++) {
        const json_t *old = find(answer, replace->pairs[i].old, false);
        const char *new = replace->pairs[i].new;
        if (!old)
            return ctl_error(CTL_NOT_FOUND, "raftkvctl members lists the members' ids and names.",
                             "there is no member %s", replace->pairs[i].old);
        if (!ctl_address_good(new) && !find(answer, new, false))
            return ctl_error(CTL_NOT_FOUND,
                             "NEW is the HOST:PORT of a new host's peer port, or a learner's id or name.",
                             "there is no member %s", new);
        replace->pairs[i].old_id = rk_strdup(client_json_str(old, "id", ""));
    }
    (void)client;
    return CTL_OK;
}

/* ---- the steps ---- */

static int invite(struct client *client, struct replace *replace)
{
    for (size_t i = 0; i < replace->count; i++) {
        const struct replacement *pair = &replace->pairs[i];
        int r = pair->new_id ? 0 : client_member_add_learner(client, pair->new);
        if (r != 0)
            return ctl_fail(client, r, NULL, "cannot invite %s", pair->new);
    }
    return CTL_OK;
}

static int await_learners(struct client *client, struct replace *replace)
{
    uint64_t give_up_us = rk_clock_now_us(&rk_clock_boottime) + replace->appear_ms * RK_USEC_PER_MSEC;
    for (;;) {
        RK_CLEANUP(drop) json_t *now = NULL;
        int r = client_members(client, &now);
        if (r == 0 && all_here(replace, now))
            return CTL_OK;
        if (rk_clock_now_us(&rk_clock_boottime) >= give_up_us) {
            output_progress_end(&replace->progress);
            return ctl_error(
                CTL_FAILED,
                "Is raftkvd running there, empty, with a certificate of the same CA, and is its "
                "peer port reachable from here? Nothing has been replaced; say the command again "
                "when that is mended.",
                "a host has been invited but has not become a learner");
        }
        output_progress(&replace->progress, "invited", "invited; waiting for the new hosts to appear");
        usleep(CTL_POLL_US);
    }
}

static int take_on(struct client *client, struct replace *replace)
{
    struct client_pair pairs[RK_MEMBERS_MAX];
    for (size_t i = 0; i < replace->count; i++)
        pairs[i] = (struct client_pair){.old = replace->pairs[i].old_id, .new = replace->pairs[i].new_id};
    int r = client_member_replace(client, pairs, replace->count);
    return r != 0 ? ctl_fail(client, r, NULL, "cannot replace these members") : CTL_OK;
}

enum progress {
    PROGRESS_ON,
    PROGRESS_DONE,
    PROGRESS_GIVEN_UP,
};

static enum progress look(const struct replace *replace, const json_t *now)
{
    bool done = true, given_up = true;
    for (size_t i = 0; i < replace->count; i++) {
        const json_t *old = find(now, replace->pairs[i].old_id, false);
        const json_t *new = find(now, replace->pairs[i].new_id, false);
        done = done && !old && new &&has_role(new, "voter");
        given_up = given_up && old && has_role(old, "voter") &&
                   (!new || (has_role(new, "learner") && !client_json_str(new, "replaces", NULL)));
    }
    return done ? PROGRESS_DONE : given_up ? PROGRESS_GIVEN_UP : PROGRESS_ON;
}

/* A host that was itself replaced does not hear of the end in the members' list. */
static bool was_replaced(struct client *client)
{
    RK_CLEANUP(drop) json_t *status = NULL;
    return client_status(client, &status) == 0 && strcmp(client_json_str(status, "role", ""), "removed") == 0;
}

/* Catching up takes as long as the data is large. There may be no answer for a moment: leadership moves. */
static int await_end(struct client *client, struct replace *replace)
{
    for (;;) {
        RK_CLEANUP(drop) json_t *now = NULL;
        int r = client_members(client, &now);
        enum progress progress = r == 0 ? look(replace, now) : PROGRESS_ON;
        if (progress == PROGRESS_ON && was_replaced(client))
            progress = PROGRESS_DONE;
        if (progress != PROGRESS_ON)
            output_progress_end(&replace->progress);
        if (progress == PROGRESS_GIVEN_UP)
            return ctl_error(
                CTL_FAILED,
                "Those who were to come are learners. raftkvctl status on the leader shows what they "
                "lack; say the command again to try again.",
                "the replacement was given up, and the members are as before");
        if (progress == PROGRESS_DONE) {
            ctl_say(NULL, replace->count == 1 ? "the member is replaced" : "the members are replaced");
            return CTL_OK;
        }
        output_progress(&replace->progress, "catching up",
                        "waiting until all who come have caught up (raftkvctl member abort gives up)");
        usleep(CTL_POLL_US);
    }
}

static int run(struct replace *replace)
{
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(CTL_CHANGE_PATIENCE_MS);
    RK_CLEANUP(drop) json_t *before = NULL;
    if (!client)
        return CTL_FAILED;
    int r = client_members(client, &before);
    if (r != 0)
        return ctl_fail(client, r, NULL, "cannot list the members");
    r = find_old(client, replace, before);
    if (r == CTL_OK && !all_here(replace, before)) {
        r = invite(client, replace);
        if (r == CTL_OK)
            r = await_learners(client, replace);
    }
    if (r == CTL_OK)
        r = take_on(client, replace);
    if (r == CTL_OK && !replace->no_wait)
        return await_end(client, replace);
    if (r == CTL_OK)
        ctl_say(NULL, "taken on; raftkvctl members shows when it is done");
    return r;
}

int cmd_member_replace(int argc, char **argv)
{
    static const struct option longs[] = {
        {"no-wait", no_argument, NULL, OPT_NO_WAIT}, {"wait", required_argument, NULL, OPT_WAIT}, CTL_LONG};
    RK_CLEANUP(replace_deinit) struct replace replace = {.appear_ms = CTL_APPEAR_MS};
    int c, r;
    while ((c = getopt_long(argc, argv, CTL_SHORT, longs, NULL)) >= 0) {
        if (c == OPT_NO_WAIT)
            replace.no_wait = true;
        else if (c == OPT_WAIT && !ctl_parse_seconds(optarg, &replace.appear_ms))
            return ctl_usage("member replace", "--wait takes seconds, from 0.05 to 86400, not \"%s\"",
                             optarg);
        else if (c != OPT_WAIT && (r = ctl_option(c, argv, "member replace")) != CTL_GO_ON)
            return r;
    }
    if (!take_pairs(&replace, argc - optind, argv + optind))
        return ctl_usage("member replace", "say who goes and who comes, as OLD=NEW, for each of them");
    return run(&replace);
}

int cmd_member_abort(int argc, char **argv)
{
    int r = ctl_options_only(argc, argv, "member abort", 0, 0);
    if (r != CTL_GO_ON)
        return r;
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(CTL_CHANGE_PATIENCE_MS);
    if (!client)
        return CTL_FAILED;
    r = client_change_abort(client);
    if (r != 0)
        return ctl_fail(client, r, NULL, "cannot abort");
    ctl_say(NULL, "given up; those who were to come are learners");
    return CTL_OK;
}
