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

/* ---- forwarding ------------------------------------------------------------------- */

/* On the wire the read level travels in the upper half of the kind. */
static uint32_t wire_kind(const struct node_call *call)
{
    return (uint32_t)call->kind | (uint32_t)call->level << 16;
}

static void set_wire_kind(struct node_call *call, uint32_t wire)
{
    call->kind = (enum node_call_kind)(wire & 0xffff);
    call->level = wire >> 16 == NODE_READ_LEADER ? NODE_READ_LEADER : NODE_READ_CONSISTENT;
}

void node_forward(struct node *node, struct node_call *call)
{
    struct raft_status status;
    struct node_message *message;

    raft_status(node->group.raft, &status);
    if (status.leader == 0 || status.leader == node->identity.member_id) {
        node_answer(node, call, NODE_E_NO_LEADER, "there is no leader at the moment; try again");
        return;
    }
    if (call->no_forward || !call->reply_to) {
        node_answer(node, call, NODE_E_NOT_LEADER, "this host is not the leader");
        return;
    }
    message = node_message_new(NODE_MSG_CALL, status.leader, call->group);
    message->id = call->priv.id = ++node->next_id;
    message->call_kind = wire_kind(call);
    message->body = rk_blob_ref(call->body);
    call->priv.peer = status.leader;
    call->priv.stage = NODE_STAGE_FORWARDED;
    rk_map_put(&node->forwards, call->priv.id, call);
    node_call_arm(node, call);
    rk_list_push_back(&node->out, &message->mail.link);
}

static enum node_outcome outcome_of(const struct node_message *reply)
{
    if (reply->outcome == NODE_E_NOT_LEADER)
        return NODE_E_NO_LEADER; /* leadership moved on while the call was under way; nothing was done */
    if (reply->outcome == NODE_E_UNREACHABLE)
        return NODE_E_NO_LEADER;
    return (enum node_outcome)reply->outcome;
}

void node_reply_text(const struct node_message *reply, char *ret, size_t size)
{
    size_t len = reply->body ? rk_min_u64(reply->body->len, size - 1) : 0;

    for (size_t i = 0; i < len; i++) /* it goes into logs and onto terminals */
        ret[i] =
            reply->body->data[i] >= 0x20 && reply->body->data[i] < 0x7f ? (char)reply->body->data[i] : '?';
    ret[len] = '\0';
}

static void on_reply(struct node *node, struct node_message *reply)
{
    struct node_call *call;
    char text[NODE_TEXT_BYTES] = "";

    if (reply->peer == 0) { /* of a one-shot call: only joining and inviting make those */
        node_join_reply(node, reply);
        return;
    }
    if (node_check_reply(node, reply) || node_first_reply(node, reply))
        return;
    call = rk_map_get(&node->forwards, reply->id);
    if (!call || call->priv.peer != reply->peer)
        return; /* it has timed out */
    rk_map_remove(&node->forwards, reply->id);
    node_call_disarm(node, call);
    if (reply->outcome == NODE_OK)
        call->answer = rk_blob_ref(reply->body);
    else
        node_reply_text(reply, text, sizeof(text));
    node_answer(node, call, outcome_of(reply), text);
}

static bool went_to(const struct node_call *call, uint64_t peer)
{
    return call->priv.peer == peer;
}

/* Calls that were sent over a link that broke: for writes nobody can say whether they happened. */
static void fail_forwards(struct node *node, uint64_t peer)
{
    struct rk_list calls, *it;

    rk_list_init(&calls);
    node_calls_gather(&node->forwards, went_to, peer, &calls);
    while ((it = rk_list_pop_front(&calls))) {
        struct node_call *call = RK_LIST_ITEM(it, struct node_call, priv.link);

        node_call_take_out(node, call);
        if (call->kind == NODE_CALL_READ)
            node_answer(node, call, NODE_E_NO_LEADER, "the leader was lost during the read; try again");
        else
            node_answer(node, call, NODE_E_TIMEOUT, "the leader was lost: it may or may not have happened");
    }
}

void node_on_link(struct node *node, struct node_link_note *note)
{
    struct raft_event event = {.kind = RAFT_EVENT_UNREACHABLE, .peer = note->peer};

    if (note->state == NODE_LINK_REMOVED) {
        if (!node->identity.removed)
            node_mark_removed(node);
    } else if (note->state == NODE_LINK_UP) {
        rk_map_remove(&node->links_down, note->peer);
    } else if (note->state == NODE_LINK_DOWN) {
        rk_map_put(&node->links_down, note->peer, node);
        node_feed_drop(node, note->peer);
        fail_forwards(node, note->peer);
        node_step(node, &event, NULL);
    }
}

/* ---- messages ------------------------------------------------------------------------ */

static bool decode_members(struct node_message *message, struct raft_members *ret, uint32_t *ret_count)
{
    *ret_count = 0;
    for (uint32_t i = 0; i < message->raft.count; i++) {
        struct node_members *members;
        int r;

        if (message->entries[i].kind != RAFT_ENTRY_MEMBERS)
            continue;
        members = RK_NEW(struct node_members);
        r = node_members_decode(rk_blob_slice(message->payloads[i]), members);
        if (r == 0) {
            node_members_to_raft(members, &ret[*ret_count]);
            message->entries[i].members = &ret[(*ret_count)++];
        }
        free(members);
        if (r != 0)
            return false;
    }
    return true;
}

static uint32_t count_members_entries(const struct node_message *message)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < message->raft.count; i++)
        count += message->entries[i].kind == RAFT_ENTRY_MEMBERS;
    return count;
}

/* Entries need room. A host without it behaves as if the append had been lost: it goes on hearing heartbeats.
 */
static bool must_drop(const struct node_message *message)
{
    return message->raft.kind == RAFT_MSG_APPEND && message->raft.count > 0 && store_space_low() &&
           store_space_free_bytes() < RK_UNCOMMITTED_BYTES_MAX / 4;
}

static void on_raft(struct node *node, struct node_message *message)
{
    struct raft_event event = {.kind = RAFT_EVENT_MESSAGE, .message = &message->raft};
    struct node_step_source source = {.payloads = message->payloads};
    struct raft_members *members;
    uint32_t count;

    if (node->identity.removed || message->group != node->group.number || must_drop(message))
        return;
    message->raft.from = message->peer;
    message->raft.to = node->identity.member_id;
    if (message->raft.kind == RAFT_MSG_APPEND && !message->entries)
        node_message_alloc_entries(message, 0);
    if (message->raft.kind == RAFT_MSG_APPEND)
        message->raft.entries = message->entries;
    members = RK_NEW_ARRAY(struct raft_members, count_members_entries(message) + 1);
    if (decode_members(message, members, &count))
        node_step(node, &event, &source);
    else
        RK_LOG(RK_LOG_ERROR, "peer", RK_FIELDS(RK_F_ID("MEMBER", message->peer)),
               "dropped an append whose membership entry cannot be read");
    free(members);
}

static void on_call(struct node *node, struct node_message *message)
{
    struct node_call *call = node_call_new(NODE_CALL_WRITE, NULL, 0);

    set_wire_kind(call, message->call_kind);
    call->group = message->group;
    call->body = rk_blob_ref(message->body);
    call->no_forward = message->peer != 0; /* a stranger's call may be forwarded: see below */
    call->priv.id = message->id;
    call->priv.peer = message->peer;
    call->priv.token = message->token;
    call->deadline_us = node_now_us(node) + node->config.request_timeout_ms * RK_USEC_PER_MSEC;
    if (atomic_fetch_add(&node->calls_in_flight, 1) >= RK_PENDING_MAX)
        node_answer(node, call, NODE_E_BUSY, "too many requests are waiting on the leader; try again later");
    else if (call->kind >= NODE_CALL_STATUS)
        node_answer(node, call, NODE_E_BAD_REQUEST, "such a call does not travel between hosts");
    else
        node_route(node, call);
}

void node_on_message(struct node *node, struct node_message *message)
{
    if (message->kind == NODE_MSG_RAFT)
        on_raft(node, message);
    else if (message->kind == NODE_MSG_CALL)
        on_call(node, message);
    else
        on_reply(node, message);
    node_message_free(message);
}

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
