/* lib/node/node_cut.c - keeping the raft log short.
 *
 * The rows are the snapshot: once they are flushed up to an index, the log before it is
 * needed only by members that lag. So a cut is: flush the rows (apply thread), move
 * the core's base, delete (log thread, in slices). Some entries are kept behind the
 * applied one so that a member that was away for a moment needs no whole snapshot.
 *
 * A cut that comes of itself waits for members that lag and yet are there: for one that a snapshot is
 * on its way to above all, which would otherwise find, once it has it, that it needs another. It waits
 * until the log has grown to log_retain_bytes; a member that is slower than that has to be looked at.
 * A cut that was asked for does not wait. */
#include "lib/base/rk_assert.h"
#include "lib/base/rk_wire.h"
#include "lib/node/node_internal.h"

static void ask_for_flush(struct node *node)
{
    struct node_group *group = &node->group;
    struct node_apply_work *work = node_apply_work_new(node, NODE_APPLY_FLUSH, group->number);

    group->flushing = group->applied;
    group->log_bytes = 0;
    group->flush_us = node_now_us(node);
    rk_mailbox_push_always(&node->apply_box, &work->mail);
}

void node_cut_start(struct node *node, struct node_call *call)
{
    if (node->group.cut_call) {
        node_answer(node, call, NODE_E_BUSY, "a snapshot is being taken already; try again in a moment");
        return;
    }
    node->group.cut_call = call;
    call->priv.stage = NODE_STAGE_HELD;
    node_call_arm(node, call);
    if (node->group.flushing == 0)
        ask_for_flush(node);
}

/* By bytes or by time. */
static bool is_due(const struct node *node)
{
    const struct node_group *group = &node->group;

    return group->log_bytes >= node->config.snapshot_bytes ||
           node_now_us(node) - rk_max_u64(group->flush_us, node->started_us) >=
               node->config.snapshot_interval_us;
}

/* Entries applied since the rows were last flushed for a cut. */
static uint64_t grown(const struct node *node, const struct raft_status *status)
{
    const struct node_group *group = &node->group;
    uint64_t from = rk_max_u64(group->cut_target, status->base_index) + node->config.log_keep_entries;

    return group->applied > from ? group->applied - from : 0;
}

static void cut(struct node *node, uint64_t index, const struct raft_status *status)
{
    struct node_group *group = &node->group;
    struct node_log_work *work = node_log_work_new(node, NODE_LOG_CUT, group->number);
    struct raft_event event = {.kind = RAFT_EVENT_CUT, .index = index};
    uint64_t length = status->last_index - status->base_index;

    work->base = (struct store_base){.index = index, .term = raft_term_at(group->raft, index)};
    node_configs_applied(group, work);
    node_step(node, &event, NULL);
    group->log_works++;
    rk_mailbox_push_always(&node->log_box, &work->mail);
    group->held_bytes =
        (uint64_t)((double)group->held_bytes * (double)(status->last_index - index) / (double)length);
    RK_LOG(RK_LOG_INFO, "snapshot", RK_FIELDS(RK_F_U64("GROUP", group->number), RK_F_U64("INDEX", index)),
           "state is on disk, log cut");
}

/* How far the log may be cut for this peer's sake. */
static uint64_t cut_allowed_by(const struct node *node, uint64_t id, const struct raft_status *status)
{
    struct raft_peer_status peer;
    uint64_t patience_us = 2 * (uint64_t)node->config.election_timeout_ms * RK_USEC_PER_MSEC;

    if (!raft_peer_status(node->group.raft, id, &peer) || rk_map_get(&node->links_down, id) ||
        peer.active_us == 0 || node_now_us(node) - peer.active_us > patience_us)
        return UINT64_MAX; /* who is not there is not waited for */
    if (peer.mode == RAFT_PEER_SNAPSHOT)
        return 0;
    return peer.match < status->base_index ? UINT64_MAX
                                           : peer.match; /* below the base it gets a snapshot anyway */
}

static uint64_t cut_allowed(struct node *node, const struct raft_status *status)
{
    struct node_group *group = &node->group;
    const struct raft_members *members = raft_members(group->raft);
    uint64_t allowed = UINT64_MAX, slowest = 0;

    for (uint32_t i = 0; i < members->count; i++) {
        uint64_t index = cut_allowed_by(node, members->member[i].id, status);
        if (index < allowed) {
            allowed = index;
            slowest = members->member[i].id;
        }
    }
    if (allowed >= group->cut_target || group->held_bytes < node->config.log_retain_bytes)
        return allowed;
    RK_LOG(
        RK_LOG_WARNING, "snapshot", RK_FIELDS(RK_F_U64("GROUP", group->number), RK_F_ID("MEMBER", slowest)),
        "the log has grown to raft.log_retain_mb and is cut although a member still needs it: it is slower "
        "than the writes and will get another snapshot");
    return UINT64_MAX;
}

/* In steps: each is a job for the disk and a line in the log. */
static void cut_to_target(struct node *node, bool wait_for_members)
{
    struct node_group *group = &node->group;
    struct raft_status status;
    uint64_t index = group->cut_target;

    raft_status(group->raft, &status);
    if (index <= status.base_index)
        return;
    if (wait_for_members && status.role == RAFT_LEADER)
        index = rk_min_u64(index, cut_allowed(node, &status));
    if (index == group->cut_target || index >= status.base_index + node->config.snapshot_entries)
        cut(node, index, &status);
}

void node_cut_housekeeping(struct node *node)
{
    struct node_group *group = &node->group;
    struct raft_status status;
    uint64_t length;

    if (group->flushing != 0 || atomic_load(&node->rebuilding))
        return;
    cut_to_target(node, true);
    raft_status(group->raft, &status);
    length = grown(node, &status);
    if (length >= node->config.snapshot_entries || (length > 0 && is_due(node)))
        ask_for_flush(node);
}

static void answer_caller(struct node *node, uint64_t index)
{
    struct node_call *call = node->group.cut_call;
    uint8_t bytes[8];

    if (!call)
        return;
    node->group.cut_call = NULL;
    node_call_disarm(node, call);
    rk_store_u64(bytes, index);
    call->answer = rk_blob_copy(rk_slice(bytes, sizeof(bytes)));
    node_answer(node, call, NODE_OK, NULL);
}

void node_cut_flushed(struct node *node, struct node_apply_work *work)
{
    struct node_group *group = &node->group;
    uint64_t keep = node->config.log_keep_entries;

    group->flushing = 0;
    if (work->result != 0)
        return; /* the node is failing */
    if (work->index > keep)
        group->cut_target = rk_max_u64(group->cut_target, work->index - keep);
    cut_to_target(node, group->cut_call == NULL);
    answer_caller(node, work->index);
}
