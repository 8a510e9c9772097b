/* tests/unit/raft_cluster_check.c - the properties of raft figure 3, and a few of ours, checked step by step.
 */
#include "tests/unit/raft_cluster.h"

#include <stdarg.h>
#include <stdio.h>

void cluster_fail(const struct cluster *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "cluster: seed %llu, time %llu us: ", (unsigned long long)c->options.seed,
            (unsigned long long)c->now_us);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nrun again: RAFT_SEED=%llu RAFT_TRACE=1\n", (unsigned long long)c->options.seed);
    va_end(args);
    abort();
}

#define FAIL(c, node, what, index)                                                                           \
    cluster_fail(c, "node %u: %s at %llu", (unsigned)(node), what, (unsigned long long)(index))

static struct cluster_history *history_at(struct cluster *c, uint64_t index)
{
    size_t slot = (size_t)(index - c->options.base_index);
    if (slot >= c->history_count) {
        size_t grown = (slot + 1) * 2;
        c->history = rk_realloc(c->history, grown * sizeof(*c->history));
        for (size_t i = c->history_count; i < grown; i++)
            c->history[i] = (struct cluster_history){0};
        c->history_count = grown;
    }
    return &c->history[slot];
}

/* Log matching: an index and a term name one entry, and by induction everything before it. */
static void check_entry(struct cluster *c, uint32_t node, const struct cluster_entry *e, uint64_t before)
{
    struct cluster_history *h = history_at(c, e->entry.index);
    for (size_t i = 0; i < h->seen_count; i++) {
        if (h->seen[i].term != e->entry.term)
            continue;
        if (h->seen[i].value != e->value || h->seen[i].before != before)
            FAIL(c, node, "log matching broken", e->entry.index);
        return;
    }
    if (h->seen_count == h->seen_capacity) {
        h->seen_capacity = h->seen_capacity == 0 ? 2 : h->seen_capacity * 2;
        h->seen = rk_realloc(h->seen, h->seen_capacity * sizeof(*h->seen));
    }
    h->seen[h->seen_count++] =
        (struct cluster_seen){.term = e->entry.term, .value = e->value, .before = before};
}

void cluster_check_entries(struct cluster *c, uint32_t node, const struct cluster_entry *entries,
                           size_t count, uint64_t before)
{
    for (size_t i = 0; i < count; i++) {
        check_entry(c, node, &entries[i], before);
        before = entries[i].entry.term;
    }
}

/* State machine safety: what one node held committed at an index, all hold. */
void cluster_check_commit(struct cluster *c, uint32_t node, uint64_t from, uint64_t to)
{
    if (to < from)
        FAIL(c, node, "commit index went back", to);
    for (uint64_t index = rk_max_u64(from, c->options.base_index) + 1; index <= to; index++) {
        struct cluster_history *h = history_at(c, index);
        uint64_t term = cluster_log_term(&c->nodes[node].log, index);
        if (h->committed && term != 0 && h->term != term)
            FAIL(c, node, "committed entry differs", index);
        if (!h->committed) {
            uint64_t hash = index > c->options.base_index + 1 ? history_at(c, index - 1)->hash : 0;
            h = history_at(c, index);
            if (term == 0)
                FAIL(c, node, "commit of an entry that it does not have", index);
            h->committed = true;
            h->term = term;
            h->hash = cluster_mix(hash, cluster_log_at(&c->nodes[node].log, index)->value);
        }
    }
    c->committed = rk_max_u64(c->committed, to);
}

void cluster_check_rows(struct cluster *c, uint32_t node)
{
    const struct cluster_rows *rows = &c->nodes[node].rows;
    if (rows->applied == c->options.base_index)
        return;
    const struct cluster_history *h = history_at(c, rows->applied);
    if (!h->committed || h->hash != rows->hash || h->term != rows->term)
        FAIL(c, node, "rows differ", rows->applied);
}

static struct cluster_office *office_of(struct cluster *c, uint64_t term)
{
    for (size_t i = c->office_count; i > 0; i--) {
        if (c->offices[i - 1].term == term)
            return &c->offices[i - 1];
    }
    if (c->office_count == c->office_capacity) {
        c->office_capacity = c->office_capacity == 0 ? 16 : c->office_capacity * 2;
        c->offices = rk_realloc(c->offices, c->office_capacity * sizeof(*c->offices));
    }
    c->offices[c->office_count] = (struct cluster_office){.term = term};
    return &c->offices[c->office_count++];
}

static void check_peers(struct cluster *c, uint32_t node)
{
    const struct raft_members *members = raft_members(c->nodes[node].raft);
    uint64_t last = cluster_log_last(&c->nodes[node].log);
    for (uint32_t i = 0; i < members->count; i++) {
        struct raft_peer_status peer;
        if (!raft_peer_status(c->nodes[node].raft, members->member[i].id, &peer))
            continue;
        if (peer.match >= peer.next || peer.next > last + 1)
            FAIL(c, node, "progress of a peer makes no sense", peer.next);
        if (peer.mode != RAFT_PEER_REPLICATE && peer.inflight_bytes != 0)
            FAIL(c, node, "window counted outside replicate mode", peer.next);
    }
}

/* Election safety, and that the core and the log we keep for it agree. */
void cluster_check_status(struct cluster *c, uint32_t node)
{
    const struct cluster_node *n = &c->nodes[node];
    struct raft_status s;
    raft_status(n->raft, &s);
    uint64_t last = cluster_log_last(&n->log);
    if (s.base_index != n->log.base_index || s.last_index != last ||
        s.last_term != cluster_log_term(&n->log, last))
        FAIL(c, node, "core and log disagree", s.last_index);
    if (s.persisted > last || s.commit > last || s.applied > s.commit || s.base_index > s.applied)
        FAIL(c, node, "indexes out of order", s.commit);
    /* Who elected itself alone and crashes before its vote is on disk has led nobody; it may lead that term
     * again, or another may. */
    if (s.role != RAFT_LEADER || n->disk_vote.term < s.term)
        return;
    struct cluster_office *office = office_of(c, s.term);
    if (office->leader != 0 && office->leader != n->id)
        FAIL(c, node, "second leader of a term", s.term);
    c->elections += office->leader == 0;
    office->leader = n->id;
    check_peers(c, node);
}

/* A vote that leaves a node must be on its disk, and be the only one of its term. */
void cluster_check_vote(struct cluster *c, uint32_t node, const struct raft_message *m)
{
    const struct raft_vote *disk = &c->nodes[node].disk_vote;
    bool grant = m->kind == RAFT_MSG_VOTE_REPLY && !m->reject;
    bool asks = m->kind == RAFT_MSG_VOTE;
    if (!grant && !asks)
        return;
    uint64_t whom = grant ? m->to : m->from;
    if (disk->term < m->term || (disk->term == m->term && disk->voted_for != whom))
        FAIL(c, node, "vote left before it was durable, term", m->term);
    struct cluster_office *office = office_of(c, m->term);
    if (office->vote[node] != 0 && office->vote[node] != whom)
        FAIL(c, node, "second vote in term", m->term);
    office->vote[node] = whom;
}

/* Thesis 6.4: a read sees everything that was committed when it was asked. Every read is answered once. */
void cluster_check_read(struct cluster *c, uint32_t node, const struct raft_out_read *read)
{
    for (size_t i = 0; i < c->read_count; i++) {
        if (c->reads[i].ticket != read->ticket || c->reads[i].node != node)
            continue;
        if (read->outcome == RAFT_READ_OK && read->index < c->reads[i].least)
            FAIL(c, node, "stale read", read->index);
        c->reads_ok += read->outcome == RAFT_READ_OK;
        c->reads[i] = c->reads[--c->read_count];
        return;
    }
    FAIL(c, node, "answer to a read that nobody asked, ticket", read->ticket);
}

void cluster_check_free(struct cluster *c)
{
    for (size_t i = 0; i < c->history_count; i++)
        free(c->history[i].seen);
    free(c->history);
    free(c->offices);
    free(c->reads);
}
