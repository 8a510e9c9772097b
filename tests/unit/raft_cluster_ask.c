/* tests/unit/raft_cluster_ask.c - what clients and administrators do to a cluster, and what they see of it.
 */
#include "tests/unit/raft_cluster_internal.h"

struct raft_members *cluster_keep_members(struct cluster *c, const struct raft_members *members)
{
    if (c->member_count == c->member_capacity) {
        c->member_capacity = c->member_capacity == 0 ? 16 : c->member_capacity * 2;
        c->members = rk_realloc(c->members, c->member_capacity * sizeof(struct raft_members *));
    }
    struct raft_members *kept = RK_NEW(struct raft_members);
    *kept = *members;
    c->members[c->member_count++] = kept;
    return kept;
}

static enum raft_propose_outcome propose(struct cluster *c, uint32_t node, const struct cluster_entry *source,
                                         uint32_t count)
{
    struct raft_entry entries[64];
    rk_assert(count <= RK_ARRAY_LEN(entries));
    for (uint32_t i = 0; i < count; i++)
        entries[i] = source[i].entry;
    struct raft_event event = {.kind = RAFT_EVENT_PROPOSE, .entries = entries, .count = count};
    return cluster_step(c, node, &event, source).propose_outcome;
}

enum raft_propose_outcome cluster_propose(struct cluster *c, uint32_t node, uint32_t count, uint32_t bytes)
{
    struct cluster_entry source[64] = {0};
    for (uint32_t i = 0; i < count; i++) {
        source[i].entry = (struct raft_entry){.bytes = bytes, .kind = RAFT_ENTRY_COMMAND};
        source[i].value = ++c->next_value;
    }
    enum raft_propose_outcome outcome = propose(c, node, source, count);
    c->proposals += outcome == RAFT_PROPOSE_OK;
    return outcome;
}

enum raft_propose_outcome cluster_change(struct cluster *c, uint32_t node, const struct raft_members *next)
{
    struct cluster_entry source = {.value = ++c->next_value};
    source.entry = (struct raft_entry){
        .bytes = 64, .kind = RAFT_ENTRY_MEMBERS, .members = cluster_keep_members(c, next)};
    enum raft_propose_outcome outcome = propose(c, node, &source, 1);
    c->changes += outcome == RAFT_PROPOSE_OK;
    c->joint_changes += outcome == RAFT_PROPOSE_OK && raft_members_joint(next);
    return outcome;
}

void cluster_abort_change(struct cluster *c, uint32_t node)
{
    c->aborts +=
        cluster_event(c, node, (struct raft_event){.kind = RAFT_EVENT_ABORT_CHANGE}) == RAFT_PROPOSE_OK;
}

void cluster_read(struct cluster *c, uint32_t node)
{
    if (c->read_count == c->read_capacity) {
        c->read_capacity = c->read_capacity == 0 ? 16 : c->read_capacity * 2;
        c->reads = rk_realloc(c->reads, c->read_capacity * sizeof(*c->reads));
    }
    uint64_t ticket = ++c->next_ticket;
    c->reads[c->read_count++] = (struct cluster_read){.ticket = ticket, .least = c->committed, .node = node};
    cluster_event(c, node, (struct raft_event){.kind = RAFT_EVENT_READ, .ticket = ticket});
}

void cluster_transfer(struct cluster *c, uint32_t node, uint64_t target)
{
    struct raft_event event = {.kind = RAFT_EVENT_TRANSFER, .peer = target};
    if (cluster_step(c, node, &event, NULL).transfer_outcome == RAFT_TRANSFER_NONE)
        c->nodes[node].transferring = true;
}

void cluster_compact(struct cluster *c, uint32_t node, uint64_t keep)
{
    struct cluster_node *n = &c->nodes[node];
    n->disk_rows = n->rows;
    uint64_t index = n->rows.applied > keep ? n->rows.applied - keep : 0;
    cluster_event(c, node, (struct raft_event){.kind = RAFT_EVENT_CUT, .index = index});
}

/* ---- looking at it ----------------------------------------------------------------------- */

int cluster_leader(const struct cluster *c)
{
    int leader = -1;
    uint64_t term = 0;
    for (uint32_t i = 0; i < c->options.nodes; i++) {
        if (!c->nodes[i].up)
            continue;
        struct raft_status s;
        raft_status(c->nodes[i].raft, &s);
        if (s.role == RAFT_LEADER && s.term > term) {
            leader = (int)i;
            term = s.term;
        }
    }
    return leader;
}

bool cluster_settled(const struct cluster *c)
{
    int leader = cluster_leader(c);
    if (leader < 0)
        return false;
    struct raft_status ours;
    raft_status(c->nodes[leader].raft, &ours);
    const struct raft_members *members = raft_members(c->nodes[leader].raft);
    if (raft_members_joint(members))
        return false;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct cluster_node *n = &c->nodes[members->member[i].id - 1];
        struct raft_status s;
        if (!n->up)
            return false;
        raft_status(n->raft, &s);
        if (s.last_index != ours.last_index || s.last_term != ours.last_term || s.commit != ours.last_index ||
            s.applied != ours.last_index || s.term != ours.term || s.leader != ours.leader)
            return false;
    }
    return ours.ready;
}

bool cluster_settle(struct cluster *c, uint64_t patience_us)
{
    uint64_t until_us = c->now_us + patience_us;
    bool asked = false;
    while (c->now_us < until_us) {
        cluster_run(c, c->now_us + CLUSTER_HEARTBEAT_US);
        int leader = cluster_leader(c);
        if (asked && c->read_count == 0 && cluster_settled(c))
            return true;
        if (leader < 0 || asked)
            continue;
        asked = cluster_propose(c, (uint32_t)leader, 1, 10) == RAFT_PROPOSE_OK;
        if (asked)
            cluster_read(c, (uint32_t)leader);
    }
    return false;
}
