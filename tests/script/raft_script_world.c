/* tests/script/raft_script_world.c - members that step, write and restart on command. */
#include "tests/script/raft_script.h"

#include <string.h>

/* ---- coming and going ------------------------------------------------------------- */

static struct raft_config config_of(const struct script *s, uint32_t node)
{
    const struct cluster_node *n = &s->c.nodes[node];
    return (struct raft_config){
        .id = n->id,
        .election_timeout_us = CLUSTER_ELECTION_US,
        .heartbeat_us = CLUSTER_HEARTBEAT_US,
        .append_entries_max = 4,
        .append_bytes_max = 1000,
        .inflight_bytes_max = 4000,
        .inflight_messages_max = 4,
        .uncommitted_bytes_max = 65536,
        .seed = n->id * 1000 + n->incarnation,
    };
}

void script_start(struct script *s, uint32_t node)
{
    struct cluster_node *n = &s->c.nodes[node];
    struct raft_config config = config_of(s, node);
    n->rows = n->disk_rows;
    /* Installed rows stand in for a log that was not reset in time. */
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
                             .now_us = s->c.now_us};
    n->raft = raft_new(&config, &boot);
    free(entries);
    if (n->raft == NULL)
        script_fail(s, "member %u does not boot", node + 1);
    n->up = true;
    n->incarnation++;
    cluster_check_status(&s->c, node);
}

void script_stop(struct script *s, uint32_t node)
{
    struct cluster_node *n = &s->c.nodes[node];
    while (n->queue != NULL) {
        struct cluster_write *w = cluster_dequeue(n);
        for (size_t i = 0; i < w->held_count; i++)
            script_say_packet(s, w->held[i], "", " is lost");
        cluster_write_free(w);
    }
    for (size_t i = s->c.read_count; i > 0; i--) {
        if (s->c.reads[i - 1].node == node)
            s->c.reads[i - 1] = s->c.reads[--s->c.read_count];
    }
    raft_free(n->raft);
    n->raft = NULL;
    n->up = false;
}

void script_init(struct script *s, uint32_t voters, uint32_t nodes)
{
    rk_assert(s->c.options.nodes == 0 && voters <= nodes && nodes <= CLUSTER_NODES_MAX);
    s->c.options.nodes = nodes;
    s->c.options.voters = voters;
    s->c.now_us = RK_USEC_PER_SEC;
    script_name(s, "old"); /* SCRIPT_OLD */
    for (uint32_t i = 0; i < nodes; i++) {
        struct cluster_node *n = &s->c.nodes[i];
        n->id = i + 1;
        for (uint32_t j = 0; i < voters && j < voters; j++)
            n->disk_rows.members.member[n->disk_rows.members.count++] =
                (struct raft_member){.id = j + 1, .role = RAFT_VOTER};
        script_start(s, i);
    }
}

void script_deinit(struct script *s)
{
    s->quiet = true;
    for (uint32_t i = 0; i < s->c.options.nodes; i++) {
        script_stop(s, i);
        free(s->c.nodes[i].log.items);
        free(s->c.nodes[i].disk_log.items);
    }
    for (size_t i = 0; i < s->flight_count; i++)
        cluster_happening_free(s->flight[i]);
    for (size_t i = 0; i < s->name_count; i++)
        free(s->names[i]);
    for (size_t i = 0; i < s->member_count; i++)
        free(s->members[i]);
    free(s->flight);
    free(s->names);
    free(s->members);
    cluster_check_free(&s->c);
}

/* ---- things that live as long as the script ----------------------------------------- */

static void *grow(void *array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    return rk_realloc(array, *capacity * size);
}

uint64_t script_name(struct script *s, const char *name)
{
    s->names = grow(s->names, &s->name_capacity, s->name_count, sizeof(*s->names));
    s->names[s->name_count++] = rk_strdup(name);
    return s->name_count;
}

const struct raft_members *script_keep_members(struct script *s, const struct raft_members *members)
{
    s->members = grow(s->members, &s->member_capacity, s->member_count, sizeof(*s->members));
    struct raft_members *kept = s->members[s->member_count++] = RK_NEW(struct raft_members);
    *kept = *members;
    return kept;
}

/* ---- one step ------------------------------------------------------------------------ */

/* Unlike the one of the simulated cluster, it schedules nothing: a write ends when the script says so. */
static struct cluster_write *enqueue(struct cluster_node *n, enum write_kind kind)
{
    struct cluster_write *w = RK_NEW(struct cluster_write);
    w->kind = kind;
    if (n->queue == NULL)
        n->queue = w;
    else
        n->queue_tail->next = w;
    n->queue_tail = w;
    return w;
}

static void take_log_change(struct script *s, uint32_t node, const struct raft_event *event,
                            const struct raft_output *out)
{
    struct cluster_node *n = &s->c.nodes[node];
    struct raft_status status;
    raft_status(n->raft, &status);
    if (out->log_reset) {
        cluster_log_reset(&n->log, event->index, event->term);
        struct cluster_write *w = enqueue(n, WRITE_RESET);
        w->index = event->index;
        w->term = event->term;
    } else if (status.base_index > n->log.base_index) {
        cluster_log_cut(&n->log, status.base_index);
        enqueue(n, WRITE_CUT)->index = status.base_index;
    }
}

static void take_append(struct script *s, uint32_t node, const struct raft_output *out,
                        const struct cluster_entry *source)
{
    struct cluster_node *n = &s->c.nodes[node];
    if (out->append_count == 0 && !out->vote_changed)
        return;
    struct cluster_write *w = enqueue(n, WRITE_ENTRIES);
    w->has_vote = out->vote_changed;
    w->vote = out->vote;
    w->entries = RK_NEW_ARRAY(struct cluster_entry, out->append_count + 1);
    w->entry_count = out->append_count;
    for (uint32_t i = 0; i < out->append_count; i++) {
        if (out->append_source != RAFT_NO_SOURCE)
            w->entries[i] = source[out->append_source + i];
        const struct raft_members *members = w->entries[i].entry.members; /* outlives the event */
        if (out->append_source == RAFT_NO_SOURCE && out->append[i].members != NULL)
            members = script_keep_members(s, out->append[i].members);
        w->entries[i].entry = out->append[i];
        w->entries[i].entry.members = members;
    }
    cluster_log_write(&n->log, w->entries, w->entry_count);
}

static void take_messages(struct script *s, uint32_t node, const struct raft_output *out)
{
    struct cluster_node *n = &s->c.nodes[node];
    for (uint32_t i = 0; i < out->message_count; i++) {
        struct cluster_happening *packet = cluster_packet_new(&s->c, node, &out->messages[i].message);
        bool waits = out->messages[i].send == RAFT_SEND_DURABLE && n->queue != NULL;
        script_say_packet(s, packet, out->messages[i].send == RAFT_SEND_NOW ? "now" : "durable", "");
        if (waits)
            cluster_hold(n->queue_tail, packet);
        else
            script_transmit(s, packet);
    }
}

/* The rows follow the commit index at once: when entries are applied is not the core's business. */
static void apply(struct script *s, uint32_t node, uint64_t commit)
{
    struct cluster_node *n = &s->c.nodes[node];
    while (n->rows.applied < commit) {
        const struct cluster_entry *e = cluster_log_at(&n->log, n->rows.applied + 1);
        rk_assert(e != NULL);
        n->rows.applied = e->entry.index;
        n->rows.term = e->entry.term;
        n->rows.hash = cluster_mix(n->rows.hash, e->value);
        if (e->entry.kind == RAFT_ENTRY_MEMBERS) {
            n->rows.members = *e->entry.members;
            n->rows.members_index = e->entry.index;
        }
    }
    cluster_check_rows(&s->c, node);
    struct raft_event event = {.kind = RAFT_EVENT_APPLIED, .index = n->rows.applied, .now_us = s->c.now_us};
    struct raft_output out;
    raft_step(n->raft, &event, &out);
    rk_assert(out.message_count == 0 && !out.role_changed && !out.commit_changed);
}

static bool same_progress(const struct raft_peer_status *a, const struct raft_peer_status *b)
{
    if (a->id == 0 || b->id == 0)
        return a->id == b->id;
    return a->mode == b->mode && a->match == b->match && (b->mode != RAFT_PEER_PROBE || a->next == b->next);
}

struct raft_output script_step(struct script *s, uint32_t node, struct raft_event event,
                               const struct cluster_entry *source)
{
    struct cluster_node *n = &s->c.nodes[node];
    struct raft_status before;
    struct raft_peer_status peers[CLUSTER_NODES_MAX] = {0};
    struct raft_output out;
    raft_status(n->raft, &before);
    for (uint32_t i = 0; i < s->c.options.nodes; i++)
        raft_peer_status(n->raft, i + 1, &peers[i]);

    event.now_us = s->c.now_us;
    raft_step(n->raft, &event, &out);
    script_say_output(s, node, &event, &out);
    take_log_change(s, node, &event, &out);
    take_append(s, node, &out, source);
    for (uint32_t i = 0; i < s->c.options.nodes; i++) {
        struct raft_peer_status now;
        if (raft_peer_status(n->raft, i + 1, &now) && !same_progress(&peers[i], &now))
            script_say_peer(s, node, &now);
    }
    if (out.commit_changed)
        cluster_check_commit(&s->c, node, before.commit, out.commit);
    take_messages(s, node, &out);
    for (uint32_t i = 0; i < out.read_count; i++)
        cluster_check_read(&s->c, node, &out.reads[i]);
    if (out.commit_changed)
        apply(s, node, out.commit);
    cluster_check_status(&s->c, node);
    return out;
}

/* ---- disk ------------------------------------------------------------------------------ */

static void release(struct script *s, struct cluster_write *w)
{
    for (size_t i = 0; i < w->held_count; i++) {
        script_say_packet(s, w->held[i], "", " leaves");
        script_transmit(s, w->held[i]);
    }
    w->held_count = 0;
}

void script_persist(struct script *s, uint32_t node, size_t writes_max)
{
    struct cluster_node *n = &s->c.nodes[node];
    struct raft_event event = {.kind = RAFT_EVENT_PERSISTED};
    for (size_t i = 0; i < writes_max && n->queue != NULL; i++) {
        struct cluster_write *w = cluster_dequeue(n);
        cluster_write_durably(&s->c, node, w);
        script_say_write(s, node, w);
        release(s, w);
        if (w->entry_count > 0) {
            event.index = w->entries[w->entry_count - 1].entry.index;
            event.term = w->entries[w->entry_count - 1].entry.term;
        }
        cluster_write_free(w);
    }
    if (event.index > 0)
        script_step(s, node, event, NULL);
}
