/* tests/script/raft_script_ask.c - commands that speak for clients, administrators and the snapshot stream.
 */
#include "tests/script/raft_script.h"

#include <inttypes.h>
#include <string.h>

/* ---- what clients and administrators ask ----------------------------------------------------- */

void script_do_propose(struct script *s, char **words, uint32_t count)
{
    struct raft_entry entries[SCRIPT_WORDS_MAX];
    struct cluster_entry source[SCRIPT_WORDS_MAX];
    uint32_t node = script_member_up(s, words[1]);
    for (uint32_t i = 2; i < count; i++) {
        entries[i - 2] = (struct raft_entry){.bytes = 10, .kind = RAFT_ENTRY_COMMAND};
        source[i - 2] = (struct cluster_entry){.entry = entries[i - 2], .value = script_name(s, words[i])};
    }
    script_step(s, node,
                (struct raft_event){.kind = RAFT_EVENT_PROPOSE, .entries = entries, .count = count - 2},
                source);
}

static void propose_members(struct script *s, uint32_t node, const struct raft_members *next)
{
    RK_CLEANUP(rk_freep) char *what = script_members_text(next);
    struct cluster_entry source = {.value = script_name(s, what)};
    source.entry =
        (struct raft_entry){.bytes = 10, .kind = RAFT_ENTRY_MEMBERS, .members = script_keep_members(s, next)};
    script_step(s, node,
                (struct raft_event){.kind = RAFT_EVENT_PROPOSE, .entries = &source.entry, .count = 1},
                &source);
}

/* Role 0 for nobody. */
static void set_role(struct raft_members *members, uint64_t id, enum raft_member_role role)
{
    struct raft_members next = {0};
    bool placed = role == 0;
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->member[i].id == id)
            continue;
        if (!placed && members->member[i].id > id) {
            next.member[next.count++] = (struct raft_member){.id = id, .role = role};
            placed = true;
        }
        next.member[next.count++] = members->member[i];
    }
    if (!placed)
        next.member[next.count++] = (struct raft_member){.id = id, .role = role};
    *members = next;
}

/* change MEMBER J K... [learners L...]: all voters, and learners, that there shall be, by a joint
 * configuration. */
void script_do_change_all(struct script *s, char **words, uint32_t count)
{
    uint32_t node = script_member_up(s, words[1]);
    enum raft_member_role role = RAFT_VOTER;
    struct raft_members next = {0}, joint;
    for (uint32_t i = 2; i < count; i++) {
        if (strcmp(words[i], "learners") == 0)
            role = RAFT_LEARNER;
        else
            set_role(&next, script_member(s, words[i]) + 1, role);
    }
    if (!raft_members_join(raft_members(s->c.nodes[node].raft), &next, &joint))
        script_fail(s, "there is no such configuration");
    propose_members(s, node, &joint);
}

/* priority MEMBER J P: at the leader, whose, and what. */
void script_do_priority(struct script *s, char **words, uint32_t count)
{
    (void)count;
    uint32_t node = script_member_up(s, words[1]);
    struct raft_members next = *raft_members(s->c.nodes[node].raft);
    uint64_t id = script_member(s, words[2]) + 1;
    for (uint32_t i = 0; i < next.count; i++) {
        if (next.member[i].id == id)
            next.member[i].priority = (uint8_t)script_number(s, words[3]);
    }
    propose_members(s, node, &next);
}

void script_do_abort(struct script *s, char **words, uint32_t count)
{
    (void)count;
    script_step(s, script_member_up(s, words[1]), (struct raft_event){.kind = RAFT_EVENT_ABORT_CHANGE}, NULL);
}

/* add, add-learner, promote, demote, remove: MEMBER, at the leader, and whom. */
void script_do_change(struct script *s, char **words, uint32_t count)
{
    uint32_t node = script_member_up(s, words[1]);
    enum raft_member_role role = RAFT_VOTER;
    if (strcmp(words[0], "remove") == 0)
        role = 0;
    else if (strcmp(words[0], "add-learner") == 0 || strcmp(words[0], "demote") == 0)
        role = RAFT_LEARNER;
    struct raft_members next = *raft_members(s->c.nodes[node].raft);
    for (uint32_t i = 2; i < count; i++)
        set_role(&next, script_member(s, words[i]) + 1, role);
    propose_members(s, node, &next);
}

void script_do_read(struct script *s, char **words, uint32_t count)
{
    (void)count;
    struct cluster *c = &s->c;
    uint32_t node = script_member_up(s, words[1]);
    if (c->read_count == c->read_capacity) {
        c->read_capacity = c->read_capacity == 0 ? 16 : c->read_capacity * 2;
        c->reads = rk_realloc(c->reads, c->read_capacity * sizeof(*c->reads));
    }
    uint64_t ticket = ++c->next_ticket;
    c->reads[c->read_count++] = (struct cluster_read){.ticket = ticket, .least = c->committed, .node = node};
    script_say(s, "  read %" PRIu64, ticket);
    script_step(s, node, (struct raft_event){.kind = RAFT_EVENT_READ, .ticket = ticket}, NULL);
}

void script_do_transfer(struct script *s, char **words, uint32_t count)
{
    uint64_t peer = count > 2 ? script_member(s, words[2]) + 1 : 0;
    script_step(s, script_member_up(s, words[1]),
                (struct raft_event){.kind = RAFT_EVENT_TRANSFER, .peer = peer}, NULL);
}

void script_do_unreachable(struct script *s, char **words, uint32_t count)
{
    (void)count;
    script_step(s, script_member_up(s, words[1]),
                (struct raft_event){.kind = RAFT_EVENT_UNREACHABLE, .peer = script_member(s, words[2]) + 1},
                NULL);
}

void script_do_step_down(struct script *s, char **words, uint32_t count)
{
    (void)count;
    script_step(s, script_member_up(s, words[1]), (struct raft_event){.kind = RAFT_EVENT_STEP_DOWN}, NULL);
}

/* ---- snapshots ---------------------------------------------------------------------------------- */

/* The rows are flushed first, as a cut demands. */
void script_do_compact(struct script *s, char **words, uint32_t count)
{
    (void)count;
    uint32_t node = script_member_up(s, words[1]);
    s->c.nodes[node].disk_rows = s->c.nodes[node].rows;
    script_step(s, node, (struct raft_event){.kind = RAFT_EVENT_CUT, .index = script_number(s, words[2])},
                NULL);
}

static bool offer(struct script *s, struct script_link link)
{
    struct raft_status status;
    struct script_stream *stream = &s->streams[link.from][link.to];
    raft_status(s->c.nodes[link.from].raft, &status);
    stream->rows = s->c.nodes[link.from].rows;
    struct raft_event event = {.kind = RAFT_EVENT_SNAPSHOT_OFFERED,
                               .peer = link.from + 1,
                               .term = status.term,
                               .index = stream->rows.applied};
    script_say(s, "%u offers %u its rows at %" PRIu64 "/%" PRIu64, link.from + 1, link.to + 1,
               stream->rows.applied, stream->rows.term);
    stream->offered = script_step(s, link.to, event, NULL).snapshot_accepted;
    return stream->offered;
}

static void install(struct script *s, struct script_link link)
{
    struct cluster_node *n = &s->c.nodes[link.to];
    const struct cluster_rows *rows = &s->streams[link.from][link.to].rows;
    script_say(s, "%u has received all of them", link.to + 1);
    if (rows->applied <= n->rows.applied)
        return script_say(s, "  %u is ahead of them", link.to + 1);
    n->rows = n->disk_rows = *rows;
    cluster_check_rows(&s->c, link.to);
    script_step(s, link.to,
                (struct raft_event){.kind = RAFT_EVENT_SNAPSHOT_INSTALLED,
                                    .index = rows->applied,
                                    .term = rows->term,
                                    .members = &rows->members,
                                    .members_index = rows->members_index},
                NULL);
}

static void sent(struct script *s, struct script_link link, bool ok)
{
    if (!s->c.nodes[link.from].up)
        return;
    script_say(s, "%u hears that the stream to %u has %s", link.from + 1, link.to + 1,
               ok ? "arrived" : "failed");
    script_step(s, link.from,
                (struct raft_event){.kind = RAFT_EVENT_SNAPSHOT_SENT,
                                    .peer = link.to + 1,
                                    .ok = ok,
                                    .index = s->streams[link.from][link.to].rows.applied},
                NULL);
}

void script_do_offer(struct script *s, char **words, uint32_t count)
{
    (void)count;
    offer(s, script_one_link(s, words[1]));
}

void script_do_install(struct script *s, char **words, uint32_t count)
{
    (void)count;
    struct script_link link = script_one_link(s, words[1]);
    if (!s->streams[link.from][link.to].offered)
        script_fail(s, "no snapshot was offered and taken");
    s->streams[link.from][link.to].offered = false;
    install(s, link);
}

void script_do_sent(struct script *s, char **words, uint32_t count)
{
    struct script_link link = script_one_link(s, words[1]);
    bool fails = count > 2 && strcmp(words[2], "fails") == 0;
    if (count > 2 && !fails)
        script_fail(s, "fails, not \"%s\"", words[2]);
    sent(s, link, !fails);
}

void script_do_snapshot(struct script *s, char **words, uint32_t count)
{
    (void)count;
    struct script_link link = script_one_link(s, words[1]);
    bool taken = offer(s, link);
    s->streams[link.from][link.to].offered = false;
    if (taken)
        install(s, link);
    sent(s, link, taken);
}
