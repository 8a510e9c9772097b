/* lib/node/node_step.c - one step of a core, and everything that follows from its output.
 *
 * The order matters and is that of raft.h: entries and vote go to the log thread with
 * the messages that wait for them; other messages leave in this turn; newly committed
 * entries go to the apply thread, and after them the reads that waited for them. */
#include <inttypes.h>

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

struct node_log_work *node_log_work_new(struct node *node, enum node_log_kind kind, uint32_t group)
{
    struct node_log_work *work = RK_NEW(struct node_log_work);

    work->mail.kind = NODE_MAIL_LOG_WORK;
    work->kind = kind;
    work->group = group;
    work->generation = node->generation;
    rk_list_init(&work->messages);
    return work;
}

void node_log_work_free(struct node_log_work *work)
{
    for (uint32_t i = 0; i < work->count; i++)
        rk_blob_unref(work->payloads[i]);
    free(work->payloads);
    free(work->entries);
    RK_LIST_FOR_EACH_SAFE (it, &work->messages) {
        rk_list_remove(it);
        node_message_free(RK_LIST_ITEM(it, struct node_message, mail.link));
    }
    node_message_free(work->message);
    rk_blob_unref(work->members);
    free(work);
}

struct node_apply_work *node_apply_work_new(struct node *node, enum node_apply_kind kind, uint32_t group)
{
    struct node_apply_work *work = RK_NEW(struct node_apply_work);

    work->mail.kind = NODE_MAIL_APPLY_WORK;
    work->kind = kind;
    work->group = group;
    work->generation = node->generation;
    rk_list_init(&work->calls);
    return work;
}

void node_apply_work_free(struct node_apply_work *work)
{
    for (uint32_t i = 0; i < work->count; i++)
        rk_blob_unref(work->entries[i].payload);
    free(work->entries);
    rk_blob_unref(work->members);
    free(work);
}

/* ---- appended entries -------------------------------------------------------- */

static void make_room(struct node *node, struct node_group *group, uint64_t first)
{
    uint64_t next = group->cache.first + group->cache.count;

    if (group->cache.count > 0 && first < next) {
        /* That another leader replaced an entry here does not mean that it is lost: a third one may hold it,
         * be elected and commit it (raft 5.4.2). Only a committed entry in its place says so: fill_apply().
         */
        if (!RK_PLANT(ANSWER_TO_THE_WRONG_WRITE))
            node_calls_unknown(node, first, UINT64_MAX,
                               "leadership changed before a majority had it: it may or may not happen");
        node_cache_truncate(&group->cache, first);
    } else if (group->cache.count > 0 && first > next) {
        node_cache_reset(&group->cache, first);
    }
    node_configs_truncate(group, first);
}

static void remember_members(struct node_group *group, const struct raft_entry *entry,
                             struct rk_blob *payload)
{
    struct node_members *members = RK_NEW(struct node_members);

    /* Checked when it was received or made. */
    rk_assert(node_members_decode(rk_blob_slice(payload), members) == 0);
    node_configs_append(group, entry->index, members);
    free(members);
}

void node_wait_for_entry(struct node *node, uint64_t index, uint64_t term, struct node_call *call)
{
    call->priv.index = index;
    call->priv.term = term;
    call->priv.stage = NODE_STAGE_WAITING;
    rk_assert(!rk_map_put(&node->group.waiting, index, call));
    node_call_arm(node, call);
}

static void take_entries(struct node *node, struct node_group *group, const struct raft_output *out,
                         const struct node_step_source *source, struct node_log_work *work)
{
    if (out->append_count == 0)
        return;
    make_room(node, group, out->append[0].index);
    work->count = out->append_count;
    work->entries = RK_NEW_ARRAY(struct store_entry, out->append_count);
    work->payloads = RK_NEW_ARRAY(struct rk_blob *, out->append_count);
    for (uint32_t i = 0; i < out->append_count; i++) {
        const struct raft_entry *entry = &out->append[i];
        bool ours = out->append_source == RAFT_NO_SOURCE;
        RK_CLEANUP(rk_blob_unrefp)
        struct rk_blob *payload = ours ? NULL : rk_blob_ref(source->payloads[out->append_source + i]);

        if (ours && entry->kind == RAFT_ENTRY_MEMBERS)
            payload = node_replace_made(group, entry->members);
        node_cache_push(&group->cache, entry->index, entry->term, entry->kind, payload);
        if (entry->kind == RAFT_ENTRY_MEMBERS)
            remember_members(group, entry, payload);
        if (!ours && source->calls && source->calls[out->append_source + i])
            node_wait_for_entry(node, entry->index, entry->term, source->calls[out->append_source + i]);
        work->payloads[i] = rk_blob_ref(payload);
        work->entries[i] = (struct store_entry){.index = entry->index,
                                                .term = entry->term,
                                                .kind = (uint8_t)entry->kind,
                                                .payload = rk_blob_slice(payload)};
        group->log_bytes += payload ? payload->len : 0;
        group->held_bytes += payload ? payload->len : 0;
    }
}

/* ---- messages ------------------------------------------------------------------- */

static struct node_message *wrap(struct node_group *group, const struct raft_message *raft)
{
    struct node_message *message = node_message_new(NODE_MSG_RAFT, raft->to, group->number);

    message->raft = *raft;
    message->raft.entries = NULL;
    return message;
}

static void take_messages(struct node *node, struct node_group *group, const struct raft_output *out,
                          struct node_log_work *work)
{
    for (uint32_t i = 0; i < out->message_count; i++) {
        struct node_message *message = wrap(group, &out->messages[i].message);

        if (out->messages[i].send == RAFT_SEND_DURABLE)
            rk_list_push_back(&work->messages, &message->mail.link);
        else if (message->raft.kind == RAFT_MSG_APPEND)
            node_feed_append(node, message);
        else
            rk_list_push_back(&node->out, &message->mail.link);
    }
}

static void give_to_log(struct node *node, struct node_group *group, struct node_log_work *work)
{
    bool writes = work->set_vote || work->count > 0;

    if (!writes && group->log_works == 0) { /* everything is durable already */
        rk_list_splice_back(&node->out, &work->messages);
        node_log_work_free(work);
        return;
    }
    group->log_works++;
    rk_mailbox_push_always(&node->log_box, &work->mail);
}

/* ---- committed entries --------------------------------------------------------- */

/* One work is bounded, so that the apply thread can answer reads in between. */
#define APPLY_ENTRIES_MAX 1024u

static uint32_t fill_apply(struct node *node, struct node_group *group, struct node_apply_work *work,
                           uint64_t commit)
{
    uint64_t left = rk_min_u64(commit - group->handed, APPLY_ENTRIES_MAX);

    work->entries = RK_NEW_ARRAY(struct node_apply_entry, left);
    while (work->count < left) {
        uint64_t index = group->handed + 1;
        const struct node_cache_entry *cached = node_cache_get(&group->cache, index);
        struct node_call *call = rk_map_remove(&group->waiting, index);

        rk_assert(cached); /* the cache never drops what was not handed over */
        if (call)
            node_call_disarm(node, call);
        if (call && call->priv.term != cached->term && !RK_PLANT(ANSWER_TO_THE_WRONG_WRITE)) {
            node_answer(node, call, NODE_E_NO_LEADER, "leadership changed; nothing was done, try again");
            call = NULL;
        }
        work->entries[work->count++] = (struct node_apply_entry){.index = index,
                                                                 .term = cached->term,
                                                                 .kind = cached->kind,
                                                                 .payload = rk_blob_ref(cached->payload),
                                                                 .call = call};
        group->handed = index;
    }
    return work->count;
}

static void give_to_apply(struct node *node, struct node_group *group, uint64_t commit)
{
    if (atomic_load(&node->rebuilding)) /* to what? The log keeps them, and they are read again from there */
        group->handed = commit;
    while (group->handed < commit) {
        struct node_apply_work *work = node_apply_work_new(node, NODE_APPLY_ENTRIES, group->number);

        fill_apply(node, group, work, commit);
        rk_mailbox_push_always(&node->apply_box, &work->mail);
    }
    node_cache_trim(&group->cache, group->handed, RK_CACHE_BYTES_MAX);
}

/* ---- reads --------------------------------------------------------------------------- */

static struct node_read_batch *find_batch(struct node_group *group, uint64_t ticket)
{
    RK_LIST_FOR_EACH (it, &group->batches) {
        struct node_read_batch *batch = RK_LIST_ITEM(it, struct node_read_batch, link);
        if (batch->ticket == ticket)
            return batch;
    }
    return NULL;
}

static void end_batch(struct node *node, struct node_group *group, const struct raft_out_read *read)
{
    struct node_read_batch *batch = find_batch(group, read->ticket);
    struct node_apply_work *work = node_apply_work_new(node, NODE_APPLY_READ, group->number);

    rk_assert(batch);
    RK_LIST_FOR_EACH_SAFE (it, &batch->calls) {
        struct node_call *call = RK_LIST_ITEM(it, struct node_call, priv.link);

        node_call_disarm(node, call);
        if (read->outcome == RAFT_READ_OK)
            rk_list_push_back(&work->calls, &call->priv.link);
        else
            node_answer(node, call, NODE_E_NO_LEADER, "leadership changed during the read; try again");
    }
    rk_list_remove(&batch->link);
    free(batch);
    if (rk_list_empty(&work->calls))
        node_apply_work_free(work);
    else /* everything up to read->index was handed over before: the box is in order */
        rk_mailbox_push_always(&node->apply_box, &work->mail);
}

/* ---- roles ------------------------------------------------------------------------------ */

static void report_role(struct node *node, struct node_group *group)
{
    struct raft_status status;
    const struct node_member *leader;

    raft_status(group->raft, &status);
    atomic_store(&node->leader_now, status.leader);
    if (status.role == group->role && status.leader == group->leader && status.term == group->term)
        return;
    leader = node_members_find(node_members_now(group), status.leader);
    if (status.role == RAFT_LEADER && group->role != RAFT_LEADER)
        RK_LOG(RK_LOG_NOTICE, "raft",
               RK_FIELDS(RK_F_U64("GROUP", group->number), RK_F_U64("TERM", status.term)), "became leader");
    else if (group->role == RAFT_LEADER && status.role != RAFT_LEADER)
        RK_LOG(RK_LOG_NOTICE, "raft",
               RK_FIELDS(RK_F_U64("GROUP", group->number), RK_F_U64("TERM", status.term)),
               "no longer leader");
    if (status.leader != 0 && status.leader != group->leader && status.role != RAFT_LEADER)
        RK_LOG(RK_LOG_INFO, "raft",
               RK_FIELDS(RK_F_U64("GROUP", group->number), RK_F_U64("TERM", status.term),
                         RK_F_ID("MEMBER", status.leader)),
               "following leader %s", leader ? leader->name : "(unknown)");
    else if (status.leader == 0 && group->leader != 0)
        RK_LOG(RK_LOG_WARNING, "raft",
               RK_FIELDS(RK_F_U64("GROUP", group->number), RK_F_U64("TERM", status.term)),
               "no leader: waiting for, or holding, an election");
    group->role = status.role;
    group->leader = status.leader;
    group->term = status.term;
    node_refresh_summary(node);
}

uintptr_t node_streaming(struct node_group *group, uint64_t peer, int change)
{
    uintptr_t count = (uintptr_t)rk_map_remove(&group->streaming, peer);

    count = change > 0 ? count + 1 : count - (count > 0);
    if (count > 0)
        rk_map_put(&group->streaming, peer, (void *)count);
    return count;
}

/* The core hears that it failed, and asks again after a while. */
static void put_off(struct node *node, uint64_t peer)
{
    struct node_sent_note *note = RK_NEW(struct node_sent_note);

    note->mail.kind = NODE_MAIL_SENT;
    note->peer = peer;
    note->group = node->group.number;
    note->put_off = true;
    rk_mailbox_push_always(&node->raft_box, &note->mail);
}

void node_stream_to(struct node *node, uint64_t peer, const char *why)
{
    struct node_group *group = &node->group;
    struct node_apply_work *work = node_apply_work_new(node, NODE_APPLY_SNAPSHOT_OUT, group->number);
    struct raft_status status;

    if (group->streaming.count >= node->config.snapshots_at_once && !rk_map_get(&group->streaming, peer)) {
        node_apply_work_free(work);
        put_off(node, peer);
        return;
    }
    raft_status(group->raft, &status);
    work->peer = peer;
    work->term = status.term;
    node_streaming(group, peer, 1);
    RK_LOG(RK_LOG_INFO, "snapshot", RK_FIELDS(RK_F_ID("MEMBER", peer)), "%s", why);
    rk_mailbox_push_always(&node->apply_box, &work->mail);
}

static void open_snapshots(struct node *node, const struct raft_output *out)
{
    for (uint32_t i = 0; i < out->snapshot_peer_count; i++)
        node_stream_to(node, out->snapshot_peers[i],
                       "a member needs entries that have left the log: streaming a snapshot to it");
}

struct raft_output node_step(struct node *node, struct raft_event *event,
                             const struct node_step_source *source)
{
    struct node_group *group = &node->group;
    struct node_log_work *work = node_log_work_new(node, NODE_LOG_WRITE, group->number);
    struct raft_output out;

    event->now_us = node_now_us(node);
    raft_step(group->raft, event, &out);
    if (out.vote_changed && !RK_PLANT(VOTE_NOT_STORED)) {
        work->set_vote = true;
        work->vote = (struct store_vote){.term = out.vote.term, .voted_for = out.vote.voted_for};
    }
    take_entries(node, group, &out, source, work);
    take_messages(node, group, &out, work);
    if (work->set_vote || work->count > 0 || !rk_list_empty(&work->messages))
        give_to_log(node, group, work);
    else
        node_log_work_free(work);
    if (out.commit_changed)
        give_to_apply(node, group, out.commit);
    for (uint32_t i = 0; i < out.read_count; i++)
        end_batch(node, group, &out.reads[i]);
    if (out.snapshot_peer_count > 0)
        open_snapshots(node, &out);
    if (out.members_changed)
        node_announce_members(node);
    if (out.role_changed)
        report_role(node, group);
    if (out.transfer_outcome != RAFT_TRANSFER_NONE)
        node_transfer_ended(node, out.transfer_outcome);
    return out;
}
