/* lib/node/node_cut.c - keeping the raft log short.
 *
 * The rows are the snapshot: once they are flushed up to an index, the log before it is
 * needed only by members that lag. So a cut is: flush the rows (apply thread), move
 * the core's base, delete (log thread, in slices). Some entries are kept behind the
 * applied one so that a member that was away for a moment needs no whole snapshot. */
#include "lib/base/rk_assert.h"
#include "lib/base/rk_wire.h"
#include "lib/node/node_internal.h"

static void ask_for_flush(struct node *node)
{
    struct node_group *group = &node->group;
    struct node_apply_work *work = node_apply_work_new(node, NODE_APPLY_FLUSH, group->number);

    group->flushing = group->applied;
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

void node_cut_housekeeping(struct node *node)
{
    struct node_group *group = &node->group;
    struct raft_status status;
    uint64_t length;

    if (group->flushing != 0)
        return;
    raft_status(group->raft, &status);
    length = group->applied > status.base_index ? group->applied - status.base_index : 0;
    if (length >= (uint64_t)node->config.snapshot_entries + node->config.log_keep_entries ||
        (group->log_bytes >= node->config.snapshot_bytes && length > node->config.log_keep_entries))
        ask_for_flush(node);
}

static void cut(struct node *node, uint64_t index)
{
    struct node_group *group = &node->group;
    struct node_log_work *work = node_log_work_new(node, NODE_LOG_CUT, group->number);
    struct raft_event event = {.kind = RAFT_EVENT_CUT, .index = index};

    work->base = (struct store_base){.index = index, .term = raft_term_at(group->raft, index)};
    node_step(node, &event, NULL);
    group->log_works++;
    rk_mailbox_push_always(&node->log_box, &work->mail);
    group->log_bytes = 0;
    RK_LOG(RK_LOG_INFO, "snapshot", RK_FIELDS(RK_F_U64("GROUP", group->number), RK_F_U64("INDEX", index)),
           "state is on disk, log cut");
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
    struct raft_status status;
    uint64_t keep = node->config.log_keep_entries;
    uint64_t index = work->index > keep ? work->index - keep : 0;

    group->flushing = 0;
    if (work->result != 0)
        return; /* the node is failing */
    raft_status(group->raft, &status);
    if (index > status.base_index && index <= status.commit)
        cut(node, index);
    answer_caller(node, work->index);
}
