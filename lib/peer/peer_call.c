/* lib/peer/peer_call.c - calls over connections of their own, both sides, and answers that the transport
 * makes.
 *
 * A host that is no member yet has no links; it makes a connection for one call,
 * and its reply comes back on it. The callee's node knows such a caller by a token
 * only, and this is where the kinds of call that a stranger may make are checked. */
#include "lib/peer/peer_internal.h"

#include <stdio.h>

/* ---- answers of our own ------------------------------------------------------------------ */

void peer_messages_free(struct rk_list *messages)
{
    struct rk_list *link;
    while ((link = rk_list_pop_front(messages)))
        node_message_free(RK_LIST_ITEM(link, struct node_message, mail.link));
}

static struct node_message *make_reply(const struct node_message *call, const char *why)
{
    struct node_message *reply = node_message_new(NODE_MSG_REPLY, call->peer, call->group);
    reply->token = call->token;
    reply->id = call->id;
    reply->call_kind = call->call_kind;
    reply->outcome = NODE_OUTCOME_UNREACHABLE;
    reply->body = rk_blob_copy(rk_slice_str(why));
    return reply;
}

/* A node that takes no more has no use for the reply either. Takes reply. */
static void give_to_node(struct peer_net *net, struct node_message *reply)
{
    struct rk_list one;
    rk_list_init(&one);
    rk_list_push_back(&one, &reply->mail.link);
    if (!net->config.inlet.receive(net->config.inlet.userdata, &one, 1))
        peer_messages_free(&one);
}

void peer_call_unreachable(struct peer_net *net, struct node_message *call, const char *why)
{
    if (call->kind == NODE_MSG_CALL) {
        struct node_message *reply = make_reply(call, why);
        reply->token = 0;
        give_to_node(net, reply);
    }
    node_message_free(call);
}

void peer_call_refuse(struct peer_loop *loop, struct node_message *call, const char *why)
{
    struct rk_list one;
    rk_list_init(&one);
    if (call->kind == NODE_MSG_CALL) {
        struct node_message *reply = make_reply(call, why);
        struct node_transport transport = peer_net_transport(loop->net);
        rk_list_push_back(&one, &reply->mail.link);
        transport.send(transport.userdata, &one);
    }
    node_message_free(call);
}

/* ---- the callee ------------------------------------------------------------------------------ */

static bool is_open(const struct peer_net *net, uint32_t call_kind)
{
    for (size_t i = 0; i < net->config.open_call_kind_count; i++)
        if (net->config.open_call_kinds[i] == call_kind)
            return true;
    return false;
}

static struct node_message *decode_call(struct peer_incoming *incoming, const struct peer_frame *frame)
{
    struct rk_list list;
    size_t count;
    rk_list_init(&list);
    if (frame->type != PEER_FRAME_MESSAGES || peer_messages_decode(frame->body, 0, 0, &list, &count) < 0)
        return NULL;
    struct node_message *call =
        rk_list_empty(&list) ? NULL : RK_LIST_ITEM(list.next, struct node_message, mail.link);
    if (count != 1 || call->kind != NODE_MSG_CALL || incoming->called) {
        peer_messages_free(&list);
        return NULL;
    }
    rk_list_remove(&call->mail.link);
    return call;
}

bool peer_call_frame(struct peer_incoming *incoming, const struct peer_frame *frame)
{
    struct node_message *call = decode_call(incoming, frame);
    if (!call)
        return peer_conn_violated(&incoming->conn, "it sent something else than its one call");
    incoming->called = true;
    call->token = incoming->token;
    if (incoming->peer == 0 && !is_open(incoming->conn.loop->net, call->call_kind)) {
        peer_call_refuse(incoming->conn.loop, call, "only members of the cluster may ask for that");
        return true;
    }
    rk_list_push_back(&incoming->messages, &call->mail.link);
    incoming->message_count++;
    return true;
}

void peer_call_reply(struct peer_loop *loop, struct node_message *reply)
{
    struct peer_incoming *incoming = rk_map_get(&loop->incoming, reply->token);
    if (incoming && incoming->purpose == PEER_PURPOSE_CALL && incoming->called &&
        reply->kind == NODE_MSG_REPLY) {
        struct rk_buf buf = {0};
        size_t mark = peer_frame_begin(&buf, PEER_FRAME_MESSAGES);
        peer_message_put(&buf, reply);
        peer_frame_end(&buf, mark);
        peer_conn_write(&incoming->conn, &buf);
        rk_buf_deinit(&buf);
        peer_incoming_end(incoming, true, "");
    }
    node_message_free(reply);
}

/* ---- the caller -------------------------------------------------------------------------------- */

/* The last act: the answer to the node is out, or on its way with reply. */
static void end(struct peer_oneshot *oneshot)
{
    peer_dial_end(&oneshot->dial, true);
    net_timer_cancel(&oneshot->deadline);
    rk_list_remove(&oneshot->mail.link);
    node_message_free(oneshot->call);
    free(oneshot);
}

static void fail(struct peer_oneshot *oneshot, const char *why)
{
    char text[PEER_WHY_BYTES + RK_ADDRESS_BYTES_MAX + 4];
    struct node_message *call = oneshot->call;
    snprintf(text, sizeof(text), "%s: %s", oneshot->address, why);
    oneshot->call = NULL;
    peer_call_unreachable(oneshot->dial.conn.loop->net, call, text);
    end(oneshot);
}

static void on_up(struct peer_dial *dial)
{
    struct peer_oneshot *oneshot = RK_CONTAINER_OF(dial, struct peer_oneshot, dial);
    struct rk_buf buf = {0};
    size_t mark = peer_frame_begin(&buf, PEER_FRAME_MESSAGES);
    peer_message_put(&buf, oneshot->call);
    peer_frame_end(&buf, mark);
    peer_conn_write(&dial->conn, &buf);
    rk_buf_deinit(&buf);
    oneshot->sent = true;
}

static bool on_frame(struct peer_dial *dial, const struct peer_frame *frame)
{
    struct peer_oneshot *oneshot = RK_CONTAINER_OF(dial, struct peer_oneshot, dial);
    struct rk_list list;
    size_t count = 0;
    rk_list_init(&list);
    if (frame->type != PEER_FRAME_MESSAGES || peer_messages_decode(frame->body, 0, 0, &list, &count) < 0 ||
        count == 0)
        return peer_conn_violated(&dial->conn, "it sent something else than a reply");
    struct node_message *reply = RK_LIST_ITEM(list.next, struct node_message, mail.link);
    if (count != 1 || reply->kind != NODE_MSG_REPLY || reply->id != oneshot->call->id) {
        peer_messages_free(&list);
        return peer_conn_violated(&dial->conn, "it sent something else than a reply");
    }
    rk_list_remove(&reply->mail.link);
    give_to_node(dial->conn.loop->net, reply);
    end(oneshot);
    return false;
}

static void on_down(struct peer_dial *dial, enum peer_end ending RK_UNUSED, const char *why)
{
    struct peer_oneshot *oneshot = RK_CONTAINER_OF(dial, struct peer_oneshot, dial);
    char text[PEER_WHY_BYTES];
    if (oneshot->sent)
        snprintf(text, sizeof(text), "no answer came, so it may or may not have happened: %.300s", why);
    else
        snprintf(text, sizeof(text), "%s", why);
    fail(oneshot, text);
}

static const struct peer_dial_ops dial_ops = {.up = on_up, .frame = on_frame, .down = on_down};

static void on_deadline(struct net_timer *timer)
{
    on_down(&RK_CONTAINER_OF(timer, struct peer_oneshot, deadline)->dial, PEER_END_LOST, "it takes too long");
}

void peer_oneshot_start(struct peer_loop *loop, struct peer_oneshot *oneshot)
{
    const char *obstacle = peer_dial_obstacle(loop);
    rk_list_push_back(&loop->oneshots, &oneshot->mail.link);
    net_timer_init(&oneshot->deadline, loop->loop, on_deadline);
    oneshot->dial.conn.loop = loop;
    if (obstacle || !peer_message_fits(oneshot->call)) {
        fail(oneshot, obstacle ? obstacle : "the call is too large");
        return;
    }
    net_timer_set(&oneshot->deadline,
                  net_loop_now_us(loop->loop) + loop->net->timing.oneshot_ms * RK_USEC_PER_MSEC);
    peer_dial_start(&oneshot->dial, loop, &dial_ops, PEER_PURPOSE_CALL, 0, oneshot->address);
}

void peer_oneshots_close(struct peer_loop *loop)
{
    while (!rk_list_empty(&loop->oneshots))
        fail(RK_LIST_ITEM(loop->oneshots.next, struct peer_oneshot, mail.link), "this host is stopping");
}
