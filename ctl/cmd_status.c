/* ctl/cmd_status.c - status: a picture for an operator at three in the morning.
 *
 * The verdict comes first, then what is wrong and what to do, then the facts, then
 * one line per member. Scripts get the same facts as lines of "label TAB text". */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "ctl/finding.h"
#include "ctl/output.h"

static void drop(json_t **json)
{
    json_decref(*json);
}

/* ---- the facts ---- */

/* Takes text, which is heap. */
static void fact(struct output_table *table, const char *label, char *text)
{
    output_table_add(table, (const char *const[]){label, text});
    free(text);
}

static unsigned long long number(const json_t *status, const char *name)
{
    return client_json_u64(status, name, 0);
}

static char *leader_text(const json_t *status)
{
    unsigned long long term = number(status, "term");
    const char *id = client_json_str(status, "leader_id", NULL);
    if (!id)
        return rk_asprintf("none, in term %llu", term);
    const char *self = strcmp(id, client_json_str(status, "member_id", "")) == 0 ? ", this host" : "";
    return rk_asprintf("%s%s, id %s, in term %llu", client_json_str(status, "leader_name", "without a name"),
                       self, id, term);
}

static char *part_text(const json_t *status)
{
    const char *role = client_json_str(status, "role", "unknown"),
               *part = client_json_str(status, "member_role", "none");
    if (strcmp(part, "voter") == 0)
        return rk_asprintf("%s, a voter", role);
    if (strcmp(part, "learner") == 0)
        return rk_asprintf("%s, a learner: it receives everything and does not vote yet", role);
    return rk_asprintf("%s, not a member of a cluster", role);
}

static char *voters_text(const json_t *status, const json_t *members)
{
    size_t voters, in_contact, quorum = quorum_look(status, members, &voters, &in_contact);
    if (strcmp(client_json_str(status, "role", ""), "leader") == 0)
        return rk_asprintf("%zu, of which %zu in contact; changes need %zu", voters, in_contact, quorum);
    return rk_asprintf("%zu; changes need %zu", voters, quorum);
}

static char *applied_text(const json_t *status)
{
    unsigned long long commit = number(status, "commit_index"), applied = number(status, "applied_index");
    if (applied >= commit)
        return rk_asprintf("all that is committed, up to entry %llu", applied);
    return rk_asprintf("entry %llu of %llu committed: %llu to go", applied, commit, commit - applied);
}

static char *data_text(const json_t *status)
{
    RK_CLEANUP(rk_freep) char *size = output_bytes(number(status, "data_bytes"));
    unsigned long long keys = number(status, "keys");
    return rk_asprintf("%llu key%s in %s, revision %llu", keys, keys == 1 ? "" : "s", size,
                       number(status, "revision"));
}

static char *space_text(const json_t *status)
{
    RK_CLEANUP(rk_freep) char *size = output_bytes(number(status, "free_bytes"));
    return rk_asprintf("%s%s", size, client_json_bool(status, "low_space") ? ": TOO LITTLE" : "");
}

static char *join_text(const json_t *join)
{
    const char *message = client_json_str(join, "message", "");
    return rk_asprintf("%s%s%s", client_json_str(join, "state", "none"), message[0] ? ": " : "", message);
}

static void print_facts(const json_t *status, const json_t *members)
{
    struct output_table table = {.columns = 2};
    const json_t *join = json_object_get(status, "join");
    const char *cluster = client_json_str(status, "cluster_id", NULL);
    const char *state = client_json_str(join, "state", "none");
    fact(&table, "host",
         rk_asprintf("%s, id %s", client_json_str(status, "name", "without a name"),
                     client_json_str(status, "member_id", "none")));
    fact(&table, "cluster", rk_strdup(cluster ? cluster : "none"));
    fact(&table, "leader", leader_text(status));
    fact(&table, "this host", part_text(status));
    if (json_array_size(json_object_get(members, "members")) > 0)
        fact(&table, "voters", voters_text(status, members));
    if (strcmp(state, "none") != 0 && strcmp(state, "done") != 0)
        fact(&table, "join", join_text(join));
    fact(&table, "applied", applied_text(status));
    fact(&table, "log",
         rk_asprintf("entries %llu to %llu", number(status, "first_index"), number(status, "last_index")));
    fact(&table, "data", data_text(status));
    fact(&table, "free space", space_text(status));
    fact(&table, "version", rk_strdup(client_json_str(status, "version", "unknown")));
    fact(&table, "running for", output_seconds(number(status, "uptime_s")));
    if (ctl_settings.verbose)
        fact(&table, "disk flushes",
             rk_asprintf("%llu, for %llu entries", number(status, "flushes"),
                         number(status, "entries_flushed")));
    output_table_print(&table);
    output_table_deinit(&table);
}

/* ---- the members ---- */

static char *state_text(const struct peer *peer)
{
    static const char *const texts[] = {
        [PEER_UNSEEN] = "see the leader",
        [PEER_SELF] = "this host",
        [PEER_GOOD] = "in contact",
        [PEER_SILENT] = "silent",
        [PEER_SNAPSHOT] = "receives a snapshot",
        [PEER_BEHIND] = "far behind",
    };
    if (peer->state != PEER_SILENT || peer->silent_ms == RK_NEVER)
        return rk_strdup(texts[peer->state]);
    RK_CLEANUP(rk_freep) char *time = output_seconds(peer->silent_ms / 1000);
    return rk_asprintf("silent for %s", time);
}

static char *behind_text(const struct peer *peer)
{
    if (peer->state == PEER_UNSEEN || peer->state == PEER_SELF)
        return NULL;
    return rk_asprintf("%llu", (unsigned long long)peer->lag);
}

/* Lines for scripts begin with "member", so that they can be told from the facts. */
static void add_member(struct output_table *table, const json_t *status, const json_t *member)
{
    const char *id = client_json_str(member, "id", "-");
    struct peer peer = peer_look(status, id);
    bool leads = strcmp(id, client_json_str(status, "leader_id", "")) == 0;
    RK_CLEANUP(rk_freep) char *state = state_text(&peer);
    RK_CLEANUP(rk_freep) char *behind = behind_text(&peer);
    output_table_add(table, (const char *const[]){
                                output_is_terminal() ? "" : "member",
                                client_json_str(member, "name", NULL),
                                id,
                                leads ? "leader" : client_json_str(member, "role", NULL),
                                state,
                                behind,
                                client_json_str(member, "peer_address", NULL),
                            });
}

static void print_members(const json_t *status, const json_t *members)
{
    static const char *const headings[] = {"",      "MEMBER",         "ID",          "ROLE",
                                           "STATE", "ENTRIES BEHIND", "PEER ADDRESS"};
    struct output_table table = {.headings = headings, .columns = RK_ARRAY_LEN(headings)};
    size_t i;
    json_t *member;
    json_array_foreach(json_object_get(members, "members"), i, member)
    {
        add_member(&table, status, member);
    }
    if (output_is_terminal() && table.cell_count > 0)
        putchar('\n');
    if (table.cell_count > 0)
        output_table_print(&table);
    output_table_deinit(&table);
}

/* ---- the verdict ---- */

static void print_finding(const struct finding *finding)
{
    RK_CLEANUP(rk_freep) char *text = output_safe(finding->text);
    RK_CLEANUP(rk_freep) char *advice = output_safe(finding->advice ? finding->advice : "");
    if (!output_is_terminal())
        printf("problem\t%s\t%s\n", text, advice[0] ? advice : "-");
    else
        printf("  * %s\n%s%s%s", text, advice[0] ? "    " : "", advice, advice[0] ? "\n" : "");
}

static void print_verdict(const json_t *status, const json_t *members)
{
    struct findings findings;
    findings_make(&findings, status, members);
    bool terminal = output_is_terminal();
    if (!terminal)
        printf("problems\t%zu\n", findings.count);
    else if (findings.count == 0)
        puts("No problem found.");
    else
        printf("%zu %s:\n", findings.count, findings.count == 1 ? "PROBLEM" : "PROBLEMS");
    for (size_t i = 0; i < findings.count; i++)
        print_finding(&findings.list[i]);
    if (terminal)
        putchar('\n');
    findings_deinit(&findings);
}

int cmd_status(int argc, char **argv)
{
    int r = ctl_options_only(argc, argv, "status", 0, 0);
    if (r != CTL_GO_ON)
        return r;
    RK_CLEANUP(ctl_disconnect) struct client *client = ctl_connect(0);
    if (!client)
        return CTL_FAILED;
    RK_CLEANUP(drop) json_t *status = NULL;
    RK_CLEANUP(drop) json_t *members = NULL;
    r = client_status(client, &status);
    if (r != 0)
        return ctl_fail(client, r, NULL, "cannot read the status");
    if (ctl_settings.json) {
        output_json(status);
        return CTL_OK;
    }
    /* Half a picture is better than none. */
    r = client_members(client, &members);
    print_verdict(status, members);
    print_facts(status, members);
    print_members(status, members);
    return r == 0 ? CTL_OK : ctl_fail(client, r, NULL, "cannot list the members");
}
