/* lib/node/node_message.c - what goes to other hosts and comes from them: forwarded calls and their replies,
 * links that come and go, raft messages. A call that came from another host is never forwarded again. */
#include <inttypes.h>

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

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

/* A host whose rows are not there leads only where nobody else can. Taking over when it is asked to would be
 * in vain: it hands leadership back, and one that is preferred (raft_priority.c) would be asked again and
 * again, and never stay a follower for long enough to be sent its rows. */
static bool in_vain(struct node *node, const struct node_message *message)
{
    return message->raft.kind == RAFT_MSG_TIMEOUT_NOW && node_unfit(node);
}

void node_on_message(struct node *node, struct node_message *message)
{
    if (message->kind == NODE_MSG_RAFT && !in_vain(node, message))
        on_raft(node, message);
    else if (message->kind == NODE_MSG_CALL)
        on_call(node, message);
    else if (message->kind != NODE_MSG_RAFT)
        on_reply(node, message);
    node_message_free(message);
}
