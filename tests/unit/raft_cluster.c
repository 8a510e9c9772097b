/* tests/unit/raft_cluster.c - see raft_cluster.h: a step with its consequences, and how nodes come and go. */
#include "tests/unit/raft_cluster_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- one step and its consequences ------------------------------------------------ */

static void take_appended(struct cluster *c, uint32_t node, const struct raft_output *out,
                          const struct cluster_entry *source)
{
    struct cluster_node *n = &c->nodes[node];
    if (out->append_count == 0 && !out->vote_changed)
        return;
    struct cluster_write *w = cluster_enqueue(c, node, WRITE_ENTRIES);
    w->has_vote = out->vote_changed;
    w->vote = out->vote;
    if (out->append_count == 0)
        return;
    w->entries = RK_NEW_ARRAY(struct cluster_entry, out->append_count);
    w->entry_count = out->append_count;
    for (uint32_t i = 0; i < out->append_count; i++) {
        struct cluster_entry *e = &w->entries[i];
        e->entry = out->append[i];
        if (out->append_source != RAFT_NO_SOURCE) {
            e->value = source[out->append_source + i].value;
            e->entry.members = source[out->append_source + i].entry.members;
        } else if (out->append[i].members != NULL) {
            e->entry.members = cluster_keep_members(c, out->append[i].members);
            c->joint_ended++;
        }
    }
    cluster_log_write(&n->log, w->entries, w->entry_count);
}

static void take_log_change(struct cluster *c, uint32_t node, const struct raft_event *event,
                            const struct raft_output *out)
{
    struct cluster_node *n = &c->nodes[node];
    struct raft_status s;
    raft_status(n->raft, &s);
    if (out->log_reset) {
        cluster_log_reset(&n->log, event->index, event->term);
        struct cluster_write *w = cluster_enqueue(c, node, WRITE_RESET);
        w->index = event->index;
        w->term = event->term;
    } else if (s.base_index > n->log.base_index) {
        cluster_log_cut(&n->log, s.base_index);
        cluster_enqueue(c, node, WRITE_CUT)->index = s.base_index;
    }
}

static void take_messages(struct cluster *c, uint32_t node, const struct raft_output *out)
{
    struct cluster_node *n = &c->nodes[node];
    for (uint32_t i = 0; i < out->message_count; i++) {
        const struct raft_out_message *m = &out->messages[i];
        struct cluster_happening *h = cluster_packet_new(c, node, &m->message);
        if (m->send == RAFT_SEND_DURABLE && n->queue != NULL)
            cluster_hold(n->queue_tail, h);
        else
            cluster_transmit(c, h);
        c->digest = cluster_mix(c->digest, m->message.kind ^ (m->message.index << 8) ^ (m->message.to << 56));
    }
}

static void start_stream(struct cluster *c, uint32_t node, uint64_t peer)
{
    struct cluster_node *n = &c->nodes[node];
    struct raft_status s;
    raft_status(n->raft, &s);
    struct cluster_happening *h = cluster_happening_new(HAPPENING_STREAM, (uint32_t)(peer - 1), 0);
    h->sender = node;
    h->sender_incarnation = n->incarnation;
    h->term = s.term;
    h->rows = n->rows;
    cluster_schedule(c, h, c->now_us + 1 + cluster_below(c, c->options.delay_us * 4));
}

static void trace(const struct cluster *c, uint32_t node, const struct raft_event *event,
                  const struct raft_output *out)
{
    static const char *const kinds[] = {
        "",          "prevote",         "prevote-reply", "vote", "vote-reply", "append", "append-reply",
        "heartbeat", "heartbeat-reply", "timeout-now"};
    struct raft_status s;
    raft_status(c->nodes[node].raft, &s);
    fprintf(stderr,
            "%8" PRIu64 " node %u %s term %" PRIu64 " log %" PRIu64 "..%" PRIu64 " commit %" PRIu64
            ": event %d",
            c->now_us, node, raft_role_name(s.role), s.term, s.base_index, s.last_index, s.commit,
            (int)event->kind);
    if (event->message != NULL)
        fprintf(stderr, " %s from %" PRIu64 " term %" PRIu64 " index %" PRIu64 "%s",
                kinds[event->message->kind], event->message->from, event->message->term,
                event->message->index, event->message->reject ? " reject" : "");
    for (uint32_t i = 0; i < out->message_count; i++)
        fprintf(stderr, ", %s to %" PRIu64 " index %" PRIu64 "+%u%s", kinds[out->messages[i].message.kind],
                out->messages[i].message.to, out->messages[i].message.index, out->messages[i].message.count,
                out->messages[i].message.reject ? " reject" : "");
    fprintf(stderr, "\n");
}

static void take_transfer(struct cluster *c, struct cluster_node *n, const struct raft_output *out)
{
    if (out->transfer_outcome == RAFT_TRANSFER_NONE)
        return;
    c->transfers_ended++;
    c->transfers_done += out->transfer_outcome == RAFT_TRANSFER_DONE;
    if (out->transfer_outcome == RAFT_TRANSFER_DONE || out->transfer_outcome == RAFT_TRANSFER_TIMED_OUT)
        n->transferring = false;
}

/* source: the entries of the event with their values. Returns the output's outcome fields. */
struct raft_output cluster_step(struct cluster *c, uint32_t node, struct raft_event *event,
                                const struct cluster_entry *source)
{
    struct cluster_node *n = &c->nodes[node];
    struct raft_output out;
    struct raft_status before;
    rk_assert(n->up);
    c->steps++;
    event->now_us = c->now_us;
    raft_status(n->raft, &before);
    raft_step(n->raft, event, &out);
    if (c->options.trace)
        trace(c, node, event, &out);
    take_log_change(c, node, event, &out);
    take_appended(c, node, &out, source);
    if (out.commit_changed)
        cluster_check_commit(c, node, before.commit, out.commit);
    take_messages(c, node, &out);
    if (out.commit_changed)
        cluster_schedule(c, cluster_happening_new(HAPPENING_APPLY, node, n->incarnation),
                         c->now_us + cluster_below(c, 2000));
    for (uint32_t i = 0; i < out.read_count; i++)
        cluster_check_read(c, node, &out.reads[i]);
    for (uint32_t i = 0; i < out.snapshot_peer_count; i++)
        start_stream(c, node, out.snapshot_peers[i]);
    take_transfer(c, n, &out);
    c->digest = cluster_mix(c->digest, out.commit ^ c->now_us);
    cluster_check_status(c, node);
    return out;
}

enum raft_propose_outcome cluster_event(struct cluster *c, uint32_t node, struct raft_event event)
{
    return cluster_step(c, node, &event, NULL).propose_outcome;
}

static void deliver(struct cluster *c, struct cluster_happening *h)
{
    if (!c->nodes[h->node].up || c->cut[h->sender][h->node])
        return;
    struct raft_entry *entries = NULL;
    if (h->message.count > 0) {
        entries = RK_NEW_ARRAY(struct raft_entry, h->message.count);
        for (uint32_t i = 0; i < h->message.count; i++)
            entries[i] = h->entries[i].entry;
        h->message.entries = entries;
    }
    struct raft_event event = {.kind = RAFT_EVENT_MESSAGE, .message = &h->message};
    cluster_step(c, h->node, &event, h->entries);
    free(entries);
}

static void deliver_stream(struct cluster *c, struct cluster_happening *h)
{
    bool there = h->node < c->options.nodes && c->nodes[h->node].up && !c->cut[h->sender][h->node];
    if (!there)
        return cluster_end_stream(c, h, false, 20000);
    struct raft_event event = {.kind = RAFT_EVENT_SNAPSHOT_OFFERED,
                               .peer = h->sender + 1,
                               .term = h->term,
                               .index = h->rows.applied};
    if (!cluster_step(c, h->node, &event, NULL).snapshot_accepted)
        return cluster_end_stream(c, h, false, 1000);
    cluster_enqueue(c, h->node, WRITE_INSTALL)->stream = cluster_packet_copy(h);
}

static void apply(struct cluster *c, uint32_t node)
{
    struct cluster_node *n = &c->nodes[node];
    struct raft_status s;
    raft_status(n->raft, &s);
    if (s.commit <= n->rows.applied)
        return;
    while (n->rows.applied < s.commit) {
        const struct cluster_entry *e = cluster_log_at(&n->log, n->rows.applied + 1);
        if (e == NULL)
            cluster_fail(c, "node %u: a committed entry is not in its log", node);
        n->rows.applied = e->entry.index;
        n->rows.term = e->entry.term;
        n->rows.hash = cluster_mix(n->rows.hash, e->value);
        if (e->entry.kind == RAFT_ENTRY_MEMBERS) {
            n->rows.members = *e->entry.members;
            n->rows.members_index = e->entry.index;
        }
    }
    cluster_check_rows(c, node);
    cluster_event(c, node, (struct raft_event){.kind = RAFT_EVENT_APPLIED, .index = n->rows.applied});
}

static void happen(struct cluster *c, struct cluster_happening *h)
{
    if (h->kind == HAPPENING_MESSAGE)
        return deliver(c, h);
    if (h->kind == HAPPENING_STREAM)
        return deliver_stream(c, h);
    if (!c->nodes[h->node].up || c->nodes[h->node].incarnation != h->incarnation)
        return;
    if (h->kind == HAPPENING_DISK)
        cluster_disk_done(c, h->node);
    else if (h->kind == HAPPENING_APPLY)
        apply(c, h->node);
    else
        cluster_event(
            c, h->node,
            (struct raft_event){
                .kind = RAFT_EVENT_SNAPSHOT_SENT, .peer = h->sender + 1, .ok = h->ok, .index = h->index});
}

static int next_tick(const struct cluster *c, uint64_t *ret_due_us)
{
    int node = -1;
    *ret_due_us = RK_NEVER;
    for (uint32_t i = 0; i < c->options.nodes; i++) {
        if (!c->nodes[i].up || raft_deadline(c->nodes[i].raft) >= *ret_due_us)
            continue;
        *ret_due_us = raft_deadline(c->nodes[i].raft);
        node = (int)i;
    }
    return node;
}

void cluster_run(struct cluster *c, uint64_t until_us)
{
    for (;;) {
        uint64_t tick_us = RK_NEVER;
        int node = next_tick(c, &tick_us);
        uint64_t due_us = c->heap_count > 0 ? c->heap[0]->due_us : RK_NEVER;
        if (rk_min_u64(tick_us, due_us) > until_us)
            break;
        c->now_us = rk_max_u64(c->now_us, rk_min_u64(tick_us, due_us));
        if (due_us <= tick_us) {
            struct cluster_happening *h = cluster_take_first(c);
            happen(c, h);
            cluster_happening_free(h);
        } else {
            cluster_event(c, (uint32_t)node, (struct raft_event){.kind = RAFT_EVENT_TICK});
            if (raft_deadline(c->nodes[node].raft) <= c->now_us)
                cluster_fail(c, "node %d: a tick did not move the deadline", node);
        }
    }
    c->now_us = rk_max_u64(c->now_us, until_us);
}

/* ---- coming and going -------------------------------------------------------------- */

static void start(struct cluster *c, uint32_t node)
{
    struct cluster_node *n = &c->nodes[node];
    struct raft_config config = {
        .id = n->id,
        .election_timeout_us = CLUSTER_ELECTION_US,
        .heartbeat_us = CLUSTER_HEARTBEAT_US,
        .append_entries_max = 8,
        .append_bytes_max = 4096,
        .inflight_bytes_max = 16384,
        .inflight_messages_max = c->options.window_messages,
        .inflight_all_bytes_max = 32768,
        .uncommitted_bytes_max = 65536,
        .lease_reads = c->options.lease_reads,
        .seed = rk_random_next(&c->random),
    };
    /* Rows that were flushed may be ahead of a log that was not, or stand in for a log that was not yet
     * reset. */
    if (n->rows.applied > cluster_log_last(&n->disk_log) ||
        cluster_log_term(&n->disk_log, n->rows.applied) != n->rows.term)
        cluster_log_reset(&n->disk_log, n->rows.applied, n->rows.term);
    cluster_log_reset(&n->log, n->disk_log.base_index, n->disk_log.base_term);
    struct raft_entry *entries = RK_NEW_ARRAY(struct raft_entry, n->disk_log.count + 1);
    for (size_t i = 0; i < n->disk_log.count; i++) {
        entries[i] = n->disk_log.items[i].entry;
        cluster_log_push(&n->log, &n->disk_log.items[i]);
    }
    struct raft_boot boot = {.vote = n->disk_vote,
                             .base_index = n->disk_log.base_index,
                             .base_term = n->disk_log.base_term,
                             .commit = n->rows.applied,
                             .members = n->rows.members,
                             .members_index = n->rows.members_index,
                             .entries = entries,
                             .count = n->disk_log.count,
                             .now_us = c->now_us};
    n->raft = raft_new(&config, &boot);
    if (n->raft == NULL)
        cluster_fail(c, "node %u: does not boot", node);
    free(entries);
    n->up = true;
    n->incarnation++;
    n->disk_free_us = c->now_us;
    n->transferring = false;
}

void cluster_crash(struct cluster *c, uint32_t node)
{
    struct cluster_node *n = &c->nodes[node];
    if (!n->up)
        return;
    /* Some of what was under way may have reached the disk, without anybody having been told. */
    for (bool reached = true; n->queue != NULL;) {
        struct cluster_write *w = cluster_dequeue(n);
        reached = reached && cluster_chance(c, 500);
        if (reached)
            cluster_write_durably(c, node, w);
        if (w->stream != NULL) /* the sender sees its connection break */
            cluster_end_stream(c, w->stream, false, 20000);
        cluster_write_free(w);
    }
    raft_free(n->raft);
    n->raft = NULL;
    n->up = false;
    n->rows = n->disk_rows;
    for (size_t i = c->read_count; i > 0; i--) {
        if (c->reads[i - 1].node == node)
            c->reads[i - 1] = c->reads[--c->read_count];
    }
}

void cluster_restart(struct cluster *c, uint32_t node)
{
    if (!c->nodes[node].up)
        start(c, node);
}

void cluster_heal(struct cluster *c)
{
    memset(c->cut, 0, sizeof(c->cut));
    c->options.loss = c->options.repeat = 0;
    for (uint32_t i = 0; i < c->options.nodes; i++)
        cluster_restart(c, i);
}

struct cluster *cluster_new(const struct cluster_options *options)
{
    rk_assert(options->nodes <= CLUSTER_NODES_MAX && options->voters <= options->nodes);
    struct cluster *c = RK_NEW(struct cluster);
    c->options = *options;
    c->random.state = options->seed;
    c->committed = options->base_index;
    struct cluster_rows rows = {.applied = options->base_index, .term = options->base_index > 0};
    for (uint32_t i = 0; i < options->voters; i++)
        rows.members.member[rows.members.count++] = (struct raft_member){.id = i + 1, .role = RAFT_VOTER};
    rows.members_index = options->base_index;
    for (uint32_t i = 0; i < options->nodes; i++) {
        struct cluster_node *n = &c->nodes[i];
        n->id = i + 1;
        if (i < options->voters) {
            n->rows = n->disk_rows = rows;
            cluster_log_reset(&n->disk_log, rows.applied, rows.term);
            n->disk_vote.term = rows.term;
        }
        start(c, i);
    }
    return c;
}

void cluster_free(struct cluster *c)
{
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < c->options.nodes; i++) {
        cluster_crash(c, i);
        free(c->nodes[i].log.items);
        free(c->nodes[i].disk_log.items);
    }
    while (c->heap_count > 0)
        cluster_happening_free(cluster_take_first(c));
    for (size_t i = 0; i < c->member_count; i++)
        free(c->members[i]);
    free(c->members);
    free(c->heap);
    cluster_check_free(c);
    free(c);
}
