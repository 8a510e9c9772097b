/* tests/unit/raft_cluster_world.c - a network that loses and reorders, and disks that take their time. */
#include "tests/unit/raft_cluster_internal.h"

#include <string.h>

/* ---- network ------------------------------------------------------------------ */

uint64_t cluster_below(struct cluster *c, uint64_t bound)
{
    return bound == 0 ? 0 : rk_random_below(&c->random, bound);
}

bool cluster_chance(struct cluster *c, uint32_t per_mille)
{
    return cluster_below(c, 1000) < per_mille;
}

/* A packet is a message with the entries that it carries, as they were when it was made. */
struct cluster_happening *cluster_packet_new(struct cluster *c, uint32_t from, const struct raft_message *m)
{
    struct cluster_happening *h = cluster_happening_new(HAPPENING_MESSAGE, (uint32_t)(m->to - 1), 0);
    h->message = *m;
    h->sender = from;
    if (m->count > 0)
        h->entries = RK_NEW_ARRAY(struct cluster_entry, m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct cluster_entry *e = cluster_log_at(&c->nodes[from].log, m->index + 1 + i);
        if (e == NULL)
            cluster_fail(c, "node %u: append of an entry outside its log", from);
        h->entries[i] = *e;
    }
    return h;
}

struct cluster_happening *cluster_packet_copy(const struct cluster_happening *h)
{
    struct cluster_happening *copy = RK_NEW(struct cluster_happening);
    *copy = *h;
    if (h->entries != NULL) {
        copy->entries = RK_NEW_ARRAY(struct cluster_entry, h->message.count);
        memcpy(copy->entries, h->entries, h->message.count * sizeof(*h->entries));
    }
    return copy;
}

void cluster_transmit(struct cluster *c, struct cluster_happening *h)
{
    cluster_check_vote(c, h->sender, &h->message);
    cluster_check_entries(c, h->sender, h->entries, h->message.count, h->message.log_term);
    if (h->node >= c->options.nodes || c->cut[h->sender][h->node] || cluster_chance(c, c->options.loss))
        return cluster_happening_free(h);
    uint64_t delay = c->options.delay_us;
    if (cluster_chance(c, c->options.repeat)) /* the copy may be very late */
        cluster_schedule(c, cluster_packet_copy(h),
                         c->now_us +
                             cluster_below(c, delay * 1 + (cluster_chance(c, 100) ? delay * 50 : delay)));
    cluster_schedule(c, h, c->now_us + delay / 10 + cluster_below(c, delay));
}

/* ---- disk ----------------------------------------------------------------------- */

struct cluster_write *cluster_enqueue(struct cluster *c, uint32_t node, enum write_kind kind)
{
    struct cluster_node *n = &c->nodes[node];
    struct cluster_write *w = RK_NEW(struct cluster_write);
    w->kind = kind;
    if (n->queue == NULL)
        n->queue = w;
    else
        n->queue_tail->next = w;
    n->queue_tail = w;
    n->disk_free_us = rk_max_u64(n->disk_free_us, c->now_us) + 1 + cluster_below(c, c->options.disk_us);
    cluster_schedule(c, cluster_happening_new(HAPPENING_DISK, node, n->incarnation), n->disk_free_us);
    return w;
}

void cluster_write_free(struct cluster_write *w)
{
    for (size_t i = 0; i < w->held_count; i++)
        cluster_happening_free(w->held[i]);
    if (w->stream != NULL)
        cluster_happening_free(w->stream);
    free(w->held);
    free(w->entries);
    free(w);
}

struct cluster_write *cluster_dequeue(struct cluster_node *n)
{
    struct cluster_write *w = n->queue;
    n->queue = w->next;
    return w;
}

/* The part of a write that survives a crash. An install is a matter of the rows. */
void cluster_write_durably(struct cluster *c, uint32_t node, const struct cluster_write *w)
{
    struct cluster_node *n = &c->nodes[node];
    if (w->has_vote)
        n->disk_vote = w->vote;
    if (w->kind == WRITE_ENTRIES && w->entry_count > 0) {
        cluster_log_write(&n->disk_log, w->entries, w->entry_count);
        uint64_t before = cluster_log_term(&n->disk_log, w->entries[0].entry.index - 1);
        cluster_check_entries(c, node, w->entries, w->entry_count, before);
    }
    if (w->kind == WRITE_RESET)
        cluster_log_reset(&n->disk_log, w->index, w->term);
    else if (w->kind == WRITE_CUT)
        cluster_log_cut(&n->disk_log, w->index);
}

void cluster_hold(struct cluster_write *w, struct cluster_happening *h)
{
    if (w->held_count == w->held_capacity) {
        w->held_capacity = w->held_capacity == 0 ? 4 : w->held_capacity * 2;
        w->held = rk_realloc(w->held, w->held_capacity * sizeof(struct cluster_happening *));
    }
    w->held[w->held_count++] = h;
}

void cluster_end_stream(struct cluster *c, const struct cluster_happening *stream, bool ok, uint64_t after_us)
{
    struct cluster_happening *h =
        cluster_happening_new(HAPPENING_STREAM_END, stream->sender, stream->sender_incarnation);
    h->ok = ok;
    h->index = stream->rows.applied;
    h->sender = stream->node;
    cluster_schedule(c, h, c->now_us + after_us);
}

static void install(struct cluster *c, uint32_t node, const struct cluster_happening *stream)
{
    struct cluster_node *n = &c->nodes[node];
    cluster_end_stream(c, stream, true, 1 + cluster_below(c, c->options.delay_us));
    if (stream->rows.applied <= n->rows.applied)
        return; /* overtaken by appends */
    n->rows = n->disk_rows = stream->rows;
    c->snapshots++;
    cluster_check_rows(c, node);
    cluster_event(c, node,
                  (struct raft_event){.kind = RAFT_EVENT_SNAPSHOT_INSTALLED,
                                      .index = stream->rows.applied,
                                      .term = stream->rows.term,
                                      .members = &stream->rows.members,
                                      .members_index = stream->rows.members_index});
}

void cluster_disk_done(struct cluster *c, uint32_t node)
{
    struct cluster_node *n = &c->nodes[node];
    struct cluster_write *w = cluster_dequeue(n);
    cluster_write_durably(c, node, w);
    for (size_t i = 0; i < w->held_count; i++)
        cluster_transmit(c, w->held[i]);
    w->held_count = 0;
    if (w->kind == WRITE_INSTALL)
        install(c, node, w->stream);
    if (w->entry_count > 0) {
        const struct raft_entry *last = &w->entries[w->entry_count - 1].entry;
        cluster_event(
            c, node,
            (struct raft_event){.kind = RAFT_EVENT_PERSISTED, .index = last->index, .term = last->term});
    }
    cluster_write_free(w);
}
