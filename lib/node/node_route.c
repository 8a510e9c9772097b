/* lib/node/node_route.c - what becomes of a call on the raft thread: done here, forwarded to the leader, or
 * refused.
 *
 * Writes and consistent reads are gathered during a turn and go to the core as one
 * event each. A call that came from another host is never forwarded again. */
#include <inttypes.h>

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

static const char *not_member_text =
    "this host was removed from its cluster; raftkvctl join brings it into one again";

/* ---- calls ------------------------------------------------------------------------------ */

static bool is_leader(struct node *node)
{
    return node->group.role == RAFT_LEADER;
}

/* A delete is small, and the way out: it is refused only when there is no room even for its own entry. */
#define DELETE_ROOM_BYTES (2u * 1024u * 1024u)

static bool has_room(const struct node_call *call)
{
    return !store_space_low() || (store_space_free_bytes() >= DELETE_ROOM_BYTES &&
                                  mvcc_command_only_deletes(rk_blob_slice(call->body)));
}

static void route_write(struct node *node, struct node_call *call)
{
    if (!call->body) {
        node_answer(node, call, NODE_E_BAD_REQUEST, "a write without a command");
    } else if (!is_leader(node)) {
        node_forward(node, call);
    } else if (!has_room(call)) {
        node_answer(node, call, NODE_E_NO_SPACE,
                    "the leader's disk is nearly full: free some space (writes resume by themselves)");
    } else {
        rk_list_push_back(&node->group.proposals, &call->priv.link);
        node->group.proposal_count++;
    }
}

static void read_here(struct node *node, struct node_call *call)
{
    struct node_apply_work *work = node_apply_work_new(node, NODE_APPLY_READ, call->group);

    rk_list_push_back(&work->calls, &call->priv.link);
    rk_mailbox_push_always(&node->apply_box, &work->mail);
}

static void route_read(struct node *node, struct node_call *call)
{
    if (call->level == NODE_READ_STALE ||
        ((call->level == NODE_READ_LEADER || RK_PLANT(READ_NOT_LINEARIZED)) && is_leader(node)))
        read_here(node, call);
    else if (is_leader(node))
        rk_list_push_back(&node->group.reads, &call->priv.link);
    else
        node_forward(node, call);
}

static void route_status(struct node *node, struct node_call *call)
{
    call->status = node_make_status(node);
    node_answer(node, call, NODE_OK, NULL);
}

static void read_snapshot(struct node *node, struct node_call *call)
{
    struct node_apply_work *work = node_apply_work_new(node, NODE_APPLY_SNAPSHOT_OUT, call->group);

    work->call = call;
    rk_mailbox_push_always(&node->apply_box, &work->mail);
}

/* What only the leader can do. */
static void route_change(struct node *node, struct node_call *call)
{
    if (!is_leader(node))
        node_forward(node, call);
    else if (call->kind == NODE_CALL_MEMBER_ADD)
        node_change_add(node, call);
    else if (call->kind == NODE_CALL_MEMBER_REMOVE)
        node_change_remove(node, call);
    else if (call->kind == NODE_CALL_MEMBER_PROMOTE)
        node_change_promote(node, call);
    else if (call->kind == NODE_CALL_MEMBER_UPDATE)
        node_change_update(node, call);
    else if (call->kind == NODE_CALL_MEMBER_REPLACE)
        node_replace(node, call);
    else if (call->kind == NODE_CALL_MEMBER_DEMOTE)
        node_change_demote(node, call);
    else if (call->kind == NODE_CALL_MEMBER_PRIORITY)
        node_change_priority(node, call);
    else if (call->kind == NODE_CALL_MEMBER_ABORT)
        node_replace_abort(node, call);
    else
        node_transfer(node, call);
}

/* A stranger asked a member that does not lead: the answer of the leader goes back the way the question came.
 */
static void relay_done(struct node_call *own)
{
    struct node_call *call = own->userdata;
    struct node *node = RK_CONTAINER_OF(own->reply_to, struct node, raft_box);

    call->answer = rk_blob_ref(own->answer);
    node_answer(node, call, own->outcome, own->text);
}

static void relay(struct node *node, struct node_call *call)
{
    struct node_call *own = node_own_call(node, call->kind, rk_blob_ref(call->body), relay_done);

    own->userdata = call;
    own->group = call->group;
    node_forward(node, own);
}

/* What is answered from the rows, or waits for an entry to be applied to them. */
static bool refuse_unfit(struct node *node, struct node_call *call)
{
    if (call->kind == NODE_CALL_SNAPSHOT || call->kind == NODE_CALL_SNAPSHOT_READ) {
        node_answer(node, call, NODE_E_UNAVAILABLE,
                    "this host rebuilds its rows from a peer: ask another member");
        return true;
    }
    if (!is_leader(node) || call->kind == NODE_CALL_STATUS || call->kind == NODE_CALL_MEMBERS ||
        call->kind == NODE_CALL_TRANSFER || call->kind >= NODE_CALL_ROWS_WANTED)
        return false;
    node_answer(node, call, NODE_E_NO_LEADER,
                "this host leads but has lost its rows: leadership is being handed over, try again");
    return true;
}

static bool refuse(struct node *node, struct node_call *call)
{
    bool local = call->kind == NODE_CALL_STATUS || call->kind == NODE_CALL_JOIN ||
                 call->kind == NODE_CALL_MEMBERS ||
                 (call->kind == NODE_CALL_READ && call->level == NODE_READ_STALE);

    if (call->group != node->group.number) {
        node_answer(node, call, NODE_E_BAD_REQUEST, "there is no such keyspace");
        return true;
    }
    if (node->stopping && call->kind != NODE_CALL_STATUS) {
        node_answer(node, call, NODE_E_UNAVAILABLE, "this host is stopping; ask another member");
        return true;
    }
    if (node->identity.removed && !local) {
        node_answer(node, call, NODE_E_UNAVAILABLE, not_member_text);
        return true;
    }
    return node_unfit(node) && refuse_unfit(node, call);
}

void node_route(struct node *node, struct node_call *call)
{
    if (refuse(node, call))
        return;
    switch (call->kind) {
    case NODE_CALL_WRITE:
        route_write(node, call);
        break;
    case NODE_CALL_READ:
        route_read(node, call);
        break;
    case NODE_CALL_MEMBER_ADD:
        if (!call->reply_to && call->priv.peer == 0 && !is_leader(node))
            relay(node, call);
        else
            route_change(node, call);
        break;
    case NODE_CALL_MEMBER_REMOVE:
    case NODE_CALL_MEMBER_PROMOTE:
    case NODE_CALL_MEMBER_UPDATE:
    case NODE_CALL_MEMBER_REPLACE:
    case NODE_CALL_MEMBER_DEMOTE:
    case NODE_CALL_MEMBER_PRIORITY:
    case NODE_CALL_MEMBER_ABORT:
    case NODE_CALL_TRANSFER:
        route_change(node, call);
        break;
    case NODE_CALL_ROWS_WANTED:
        node_rebuild_wanted(node, call);
        break;
    case NODE_CALL_LAST:
        node_repair_last(node, call);
        break;
    case NODE_CALL_FIRST:
        node_first_asked(node, call);
        break;
    case NODE_CALL_DIGEST:
        node_check_asked(node, call);
        break;
    case NODE_CALL_CONDEMN:
        node_check_condemned(node, call);
        break;
    case NODE_CALL_MEMBERS:
        node_answer_members(node, call);
        break;
    case NODE_CALL_INVITE:
        node_join_invited(node, call);
        break;
    case NODE_CALL_INVITE_ADDRESS:
        node_join_invite(node, call);
        break;
    case NODE_CALL_JOIN:
        node_join_start(node, call);
        break;
    case NODE_CALL_LEAVE:
        node_leave(node, call);
        break;
    case NODE_CALL_SNAPSHOT:
        node_cut_start(node, call);
        break;
    case NODE_CALL_SNAPSHOT_READ:
        read_snapshot(node, call);
        break;
    case NODE_CALL_STATUS:
        route_status(node, call);
        break;
    default:
        node_answer(node, call, NODE_E_BAD_REQUEST, "this version does not know such a call");
        break;
    }
}

/* ---- what a turn has gathered -------------------------------------------------------------- */

enum node_outcome node_propose_error(enum raft_propose_outcome outcome, const char **ret_text)
{
    switch (outcome) {
    case RAFT_PROPOSE_NOT_LEADER:
        *ret_text = "leadership has just changed; nothing was done, try again";
        return NODE_E_NO_LEADER;
    case RAFT_PROPOSE_TRANSFERRING:
        *ret_text = "leadership is being handed over; nothing was done, try again";
        return NODE_E_NO_LEADER;
    case RAFT_PROPOSE_BUSY:
        *ret_text = "too much waits for a majority of the members; try again later";
        return NODE_E_BUSY;
    case RAFT_PROPOSE_CHANGE_PENDING:
        *ret_text = "an earlier change of members is not complete yet; try again in a moment";
        return NODE_E_BUSY;
    case RAFT_PROPOSE_NOT_READY:
        *ret_text = "the leader has just been elected; try again in a moment";
        return NODE_E_BUSY;
    case RAFT_PROPOSE_BAD_CHANGE:
        *ret_text = "that would leave no voter, or is no step from the members of now";
        return NODE_E_CONFLICT;
    case RAFT_PROPOSE_OK:
        break;
    }
    *ret_text = NULL;
    return NODE_OK;
}

/* As many as one append may carry, so that no message to a follower grows beyond a frame. */
#define PROPOSE_MAX RK_APPEND_ENTRIES_MAX

static void propose_some(struct node *node)
{
    struct raft_entry entries[PROPOSE_MAX];
    struct rk_blob *payloads[PROPOSE_MAX];
    struct node_call *calls[PROPOSE_MAX];
    struct raft_event event = {.kind = RAFT_EVENT_PROPOSE, .entries = entries};
    struct node_step_source source = {.payloads = payloads, .calls = calls};
    struct node_group *group = &node->group;
    enum raft_propose_outcome outcome;
    struct rk_list *it;

    while (event.count < PROPOSE_MAX && (it = rk_list_pop_front(&group->proposals))) {
        struct node_call *call = RK_LIST_ITEM(it, struct node_call, priv.link);

        group->proposal_count--;
        entries[event.count] =
            (struct raft_entry){.kind = RAFT_ENTRY_COMMAND, .bytes = (uint32_t)call->body->len};
        payloads[event.count] = call->body;
        calls[event.count++] = call;
    }
    outcome = node_step(node, &event, &source).propose_outcome;
    for (uint32_t i = 0; i < event.count && outcome != RAFT_PROPOSE_OK; i++) {
        const char *text;
        enum node_outcome answer = node_propose_error(outcome, &text);

        node_answer(node, calls[i], answer, text);
    }
}

void node_propose_gathered(struct node *node)
{
    while (!rk_list_empty(&node->group.proposals))
        propose_some(node);
}

void node_read_gathered(struct node *node)
{
    struct node_group *group = &node->group;
    struct raft_event event = {.kind = RAFT_EVENT_READ};
    struct node_read_batch *batch;

    if (rk_list_empty(&group->reads))
        return;
    batch = RK_NEW(struct node_read_batch);
    rk_list_init(&batch->calls);
    RK_LIST_FOR_EACH (it, &group->reads) {
        struct node_call *call = RK_LIST_ITEM(it, struct node_call, priv.link);

        call->priv.stage = NODE_STAGE_READ;
        node_call_arm(node, call);
    }
    rk_list_splice_back(&batch->calls, &group->reads);
    event.ticket = batch->ticket = ++group->next_ticket;
    rk_list_push_back(&group->batches, &batch->link);
    node_step(node, &event, NULL);
}
