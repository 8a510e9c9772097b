/* lib/node/node_leave.c - leadership is handed over, and a member leaves or learns that it was removed. */
#include <errno.h>
#include <stdio.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_wire.h"
#include "lib/node/node_internal.h"

#define LEAVE_RETRY_US (RK_USEC_PER_SEC / 2)

/* ---- transfer ----------------------------------------------------------------------------------- */

void node_transfer(struct node *node, struct node_call *call)
{
    struct raft_event event = {.kind = RAFT_EVENT_TRANSFER};
    struct raft_status status;

    if (call->body && call->body->len > 0) {
        const struct node_member *member = node_change_find(node, rk_blob_slice(call->body));

        if (!member) {
            node_change_not_found(node, call);
            return;
        }
        event.peer = member->id;
    }
    raft_status(node->group.raft, &status);
    if (node->group.transfer_call || status.transferring) {
        node_answer(node, call, NODE_E_CONFLICT, "leadership is being handed over already");
        return;
    }
    node->group.transfer_call = call;
    call->priv.stage = NODE_STAGE_HELD;
    node_call_arm(node, call);
    node_step(node, &event, NULL);
}

void node_transfer_ended(struct node *node, enum raft_transfer_outcome outcome)
{
    struct node_call *call = node->group.transfer_call;
    struct raft_status status;
    uint8_t bytes[8];

    if (node->stopping)
        node->no_successor = outcome == RAFT_TRANSFER_TIMED_OUT || outcome == RAFT_TRANSFER_REFUSED;
    if (!call)
        return;
    node->group.transfer_call = NULL;
    node_call_disarm(node, call);
    raft_status(node->group.raft, &status);
    rk_store_u64(bytes, status.leader);
    call->answer = rk_blob_copy(rk_slice(bytes, sizeof(bytes)));
    if (outcome == RAFT_TRANSFER_DONE || outcome == RAFT_TRANSFER_ALREADY)
        node_answer(node, call, NODE_OK, NULL);
    else if (outcome == RAFT_TRANSFER_REFUSED)
        node_answer(node, call, NODE_E_CONFLICT,
                    "there is no such voter to hand leadership to: raftkvctl members shows who votes");
    else
        node_answer(
            node, call, NODE_E_CONFLICT,
            "the other member did not take over in time; this host still leads, or an election is under way");
}

/* ---- leave ----------------------------------------------------------------------------------------- */

static void answer_leave(struct node *node, enum node_outcome outcome, const char *text)
{
    struct node_call *call = node->leave_call;

    if (!call)
        return;
    node->leave_call = NULL;
    node_call_disarm(node, call);
    node_answer(node, call, outcome, text);
}

void node_mark_removed(struct node *node)
{
    struct raft_event event = {.kind = RAFT_EVENT_STEP_DOWN};

    node_step(node, &event, NULL);
    node->identity.removed = true;
    if (store_dir_set_identity(node->dir, &node->identity) != 0)
        RK_LOG(RK_LOG_ERROR, "members", NULL, "cannot record that this host was removed");
    node->group.leader = 0;
    atomic_store(&node->leader_now, 0);
    node_join_removed(node);
    node_announce_members(node);
    node_refresh_summary(node);
    RK_LOG(RK_LOG_NOTICE, "members", NULL,
           "this host is no longer a member of its cluster; it serves its old state to stale reads only");
    answer_leave(node, NODE_OK, NULL);
}

/* Whoever removes us hangs up at once, often before its answer has left. Then we are told at the next attempt
 * to connect, which ends in node_mark_removed(). If the leader was lost instead, the new one has to be asked.
 */
static void leave_removed(struct node_call *own)
{
    struct node *node = own->userdata;

    if (own->outcome == NODE_OK || own->outcome == NODE_E_NOT_FOUND)
        node_mark_removed(node);
    else if ((own->outcome == NODE_E_TIMEOUT || own->outcome == NODE_E_NO_LEADER ||
              own->outcome == NODE_E_BUSY) &&
             node->leave_call)
        node->leave_call->priv.index = node_now_us(node) + LEAVE_RETRY_US;
    else
        answer_leave(node, own->outcome, own->text);
}

static void leave_transferred(struct node_call *own)
{
    if (own->outcome != NODE_OK) /* else it goes on when the new leader is known: node_leave_continue() */
        answer_leave(own->userdata, own->outcome, own->text);
}

static struct rk_blob *own_id_text(struct node *node)
{
    char text[24];

    snprintf(text, sizeof(text), "%016llx", (unsigned long long)node->identity.member_id);
    return rk_blob_copy(rk_slice_str(text));
}

void node_leave(struct node *node, struct node_call *call)
{
    const struct node_member *self = node_self(node);

    if (node->leave_call) {
        node_answer(node, call, NODE_E_CONFLICT, "this host is leaving already");
        return;
    }
    if (!self || node_members_now(&node->group)->count == 1) {
        node_answer(node, call, NODE_E_CONFLICT,
                    "this host is the only member of its cluster: there is nobody to leave its keys to");
        return;
    }
    node->leave_call = call;
    call->priv.stage = NODE_STAGE_HELD;
    node_call_arm(node, call);
    call->priv.index = 0; /* when to ask for the removal; RK_NEVER while an answer is awaited */
    if (node->group.role == RAFT_LEADER)
        node_route(node, node_own_call(node, NODE_CALL_TRANSFER, NULL, leave_transferred));
    node_leave_continue(node);
}

/* Asks the leader, as soon as it is somebody else, to remove us. */
void node_leave_continue(struct node *node)
{
    struct node_call *call = node->leave_call;

    if (!call || node_now_us(node) < call->priv.index || node->group.role == RAFT_LEADER ||
        node->group.leader == 0)
        return;
    call->priv.index = RK_NEVER;
    node_route(node, node_own_call(node, NODE_CALL_MEMBER_REMOVE, own_id_text(node), leave_removed));
}

/* The applied configuration is without us: a leader removed us, and told us so in the log itself. */
void node_leave_notice_removal(struct node *node)
{
    if (node->identity.removed || node_self(node) || node->leave_call)
        return;
    if (node_members_was_removed(node_members_now(&node->group), node->identity.member_id) &&
        node_members_now_index(&node->group) <= node->group.applied)
        node_mark_removed(node);
}
