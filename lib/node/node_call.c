/* lib/node/node_call.c - a call's life: made, submitted, waiting with a deadline, answered exactly once. */
#include <stdio.h>

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

struct node_call *node_call_new(enum node_call_kind kind, struct rk_mailbox *reply_to, uint32_t reply_kind)
{
    struct node_call *call = RK_NEW(struct node_call);

    call->kind = kind;
    call->reply_to = reply_to;
    call->reply_kind = reply_kind;
    rk_list_init(&call->priv.link);
    return call;
}

void node_call_free(struct node_call *call)
{
    if (!call)
        return;
    rk_blob_unref(call->body);
    rk_blob_unref(call->answer);
    free(call->status);
    rk_assert(!call->stream);
    free(call);
}

static struct mvcc_origin next_origin(struct node *node)
{
    return (struct mvcc_origin){
        .member = atomic_load(&node->member_id),
        .incarnation = atomic_load(&node->incarnation),
        .sequence = atomic_fetch_add(&node->sequence, 1) + 1,
    };
}

struct rk_blob *node_write_body(struct node *node, const struct mvcc_op *ops, uint32_t count)
{
    struct mvcc_origin origin = next_origin(node);

    return mvcc_command_encode(&origin, ops, count);
}

struct rk_blob *node_numbered_body(struct node *node, const struct mvcc_number *number,
                                   const struct mvcc_op *ops, uint32_t count)
{
    struct mvcc_origin origin = next_origin(node);

    return mvcc_numbered_encode(&origin, number, ops, count);
}

struct rk_blob *node_session_body(struct node *node, enum mvcc_session_change change, uint64_t session,
                                  uint32_t ms)
{
    struct mvcc_origin origin = next_origin(node);

    return mvcc_session_encode(&origin, change, session, ms);
}

/* A call of another host's: its answer is a message. */
static void answer_remote(struct node *node, struct node_call *call)
{
    struct node_message *reply = node_message_new(NODE_MSG_REPLY, call->priv.peer, call->group);
    struct rk_list list;

    reply->token = call->priv.token;
    reply->id = call->priv.id;
    reply->call_kind = (uint32_t)call->kind;
    reply->outcome = call->outcome;
    if (call->outcome == NODE_OK)
        reply->body = rk_blob_ref(call->answer);
    else if (call->text[0] != '\0')
        reply->body = rk_blob_copy(rk_slice_str(call->text));
    rk_list_init(&list);
    rk_list_push_back(&list, &reply->mail.link);
    node->transport.send(node->transport.userdata, &list);
    node_call_free(call);
}

void node_answer(struct node *node, struct node_call *call, enum node_outcome outcome, const char *text)
{
    rk_assert(call->priv.stage == NODE_STAGE_NONE && !rk_heap_has(&call->priv.timer));
    call->outcome = outcome;
    if (text)
        snprintf(call->text, sizeof(call->text), "%s", text);
    call->leader = atomic_load(&node->leader_now);
    atomic_fetch_sub(&node->calls_in_flight, 1);
    if (!call->reply_to) {
        answer_remote(node, call);
        return;
    }
    call->mail.kind = call->reply_kind;
    if (!rk_mailbox_push_always(call->reply_to, &call->mail))
        node_call_free(call); /* whoever asked has gone */
}

void node_submit(struct node *node, struct node_call *call)
{
    bool stale = call->kind == NODE_CALL_READ && call->level == NODE_READ_STALE;
    struct rk_mailbox *box = stale ? &node->apply_box : &node->raft_box;
    unsigned before = atomic_fetch_add(&node->calls_in_flight, 1);

    call->mail.kind = NODE_MAIL_CALL;
    if (call->deadline_us == 0)
        call->deadline_us = node_now_us(node) + node->config.request_timeout_ms * RK_USEC_PER_MSEC;
    if (before >= RK_PENDING_MAX)
        node_answer(node, call, NODE_E_BUSY, "too many requests are waiting on this host; try again later");
    else if (!rk_mailbox_push(box, &call->mail))
        node_answer(node, call, NODE_E_UNAVAILABLE,
                    "this host is stopping or overloaded; try another member");
}

struct node_call *node_own_call(struct node *node, enum node_call_kind kind, struct rk_blob *body,
                                void (*done)(struct node_call *call))
{
    struct node_call *call = node_call_new(kind, &node->raft_box, NODE_MAIL_OWN_CALL);

    call->body = body;
    call->done = done;
    call->userdata = node;
    call->deadline_us = node_now_us(node) + node->config.request_timeout_ms * RK_USEC_PER_MSEC;
    atomic_fetch_add(&node->calls_in_flight, 1);
    return call;
}

void node_call_arm(struct node *node, struct node_call *call)
{
    rk_heap_set(&node->timers, &call->priv.timer, call->deadline_us);
}

void node_call_disarm(struct node *node, struct node_call *call)
{
    rk_heap_remove(&node->timers, &call->priv.timer);
    if (!rk_list_empty(&call->priv.link))
        rk_list_remove(&call->priv.link);
    call->priv.stage = NODE_STAGE_NONE;
}

void node_calls_gather(const struct rk_map *map, bool (*match)(const struct node_call *call, uint64_t arg),
                       uint64_t arg, struct rk_list *ret)
{
    struct rk_map_slot *slot;
    size_t cursor = 0;

    while ((slot = rk_map_next(map, &cursor))) {
        struct node_call *call = slot->value;
        if (match(call, arg))
            rk_list_push_back(ret, &call->priv.link);
    }
}

void node_call_take_out(struct node *node, struct node_call *call)
{
    struct node_group *group = &node->group;

    switch ((enum node_call_stage)call->priv.stage) {
    case NODE_STAGE_WAITING:
        rk_map_remove(&group->waiting, call->priv.index);
        break;
    case NODE_STAGE_FORWARDED:
        rk_map_remove(&node->forwards, call->priv.id);
        break;
    case NODE_STAGE_HELD:
        if (group->transfer_call == call)
            group->transfer_call = NULL;
        if (group->cut_call == call)
            group->cut_call = NULL;
        if (node->leave_call == call)
            node->leave_call = NULL;
        break;
    case NODE_STAGE_READ: /* unlinked from its batch below */
    case NODE_STAGE_NONE:
        break;
    }
    node_call_disarm(node, call);
}

static bool waits_from(const struct node_call *call, uint64_t from)
{
    return call->priv.index >= from;
}

void node_calls_unknown(struct node *node, uint64_t from, uint64_t through, const char *text)
{
    struct rk_list calls;

    rk_list_init(&calls);
    node_calls_gather(&node->group.waiting, waits_from, from, &calls);
    RK_LIST_FOR_EACH_SAFE (it, &calls) {
        struct node_call *call = RK_LIST_ITEM(it, struct node_call, priv.link);

        rk_list_remove(it);
        if (call->priv.index > through)
            continue;
        node_call_take_out(node, call);
        node_answer(node, call, RK_PLANT(UNKNOWN_IS_NOTHING_DONE) ? NODE_E_NO_LEADER : NODE_E_TIMEOUT, text);
    }
}

void node_call_expire(struct node *node, struct node_call *call)
{
    bool reads = call->kind == NODE_CALL_READ;

    node_call_take_out(node, call);
    if (reads)
        node_answer(node, call, NODE_E_TIMEOUT,
                    "no majority of the members answered in time; a read at level stale still works");
    else
        node_answer(node, call, NODE_E_TIMEOUT,
                    "no answer from a majority in time: it may or may not have happened");
}
