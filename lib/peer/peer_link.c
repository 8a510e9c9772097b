/* lib/peer/peer_link.c - the links that we hold to each other member, for messages to them.
 *
 *   WAITING -> DIALLING -> UP
 *      ^__________|_________|     after a pause that grows from 50 ms to 2 s and is never quite the same
 *
 * The node hears of a change once: UP; DOWN with the reason, also when the first
 * attempt fails; REMOVED. The log gets the same, and a line more when the reason
 * turns out to be a refusal, which waiting does not mend.
 *
 * Messages of one send() are gathered into as few frames as will do. What cannot
 * be sent at once is not kept: the core repeats what it needs, and a call is
 * answered so that its caller may turn to somebody else. */
#include "lib/peer/peer_internal.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/rk_assert.h"

struct peer_link {
    struct peer_loop *loop;
    struct node_peer peer;
    struct peer_dial dial;
    bool dialling; /* or up; otherwise retry is set */
    bool up;
    struct net_timer retry;
    uint32_t backoff_ms;
    uint64_t up_us; /* since when */
    uint32_t told;  /* enum node_link_state that the node knows; 0: none yet */
    char why[PEER_WHY_BYTES];
    struct rk_list dirty_link;
    struct rk_buf batch; /* an open MESSAGES frame, or empty */
    size_t batch_mark, batch_count;
};

static void dial(struct peer_link *link);

/* ---- what others are told ---------------------------------------------------------- */

static void log_state(struct peer_link *link, enum node_link_state state, const char *why)
{
    const struct rk_field *fields =
        RK_FIELDS(RK_F_ID("MEMBER", link->peer.id), RK_F_STR("NAME", link->peer.name),
                  RK_F_STR("ADDRESS", link->peer.address), RK_F_STR("REASON", why));
    if (state == NODE_LINK_UP)
        RK_LOG(RK_LOG_INFO, "peer",
               RK_FIELDS(RK_F_ID("MEMBER", link->peer.id), RK_F_STR("NAME", link->peer.name),
                         RK_F_STR("ADDRESS", link->peer.address)),
               "connected to a member");
    else if (state == NODE_LINK_REMOVED)
        RK_LOG(RK_LOG_ERROR, "peer", fields, "a member says that this host was removed from the cluster");
    else
        RK_LOG(RK_LOG_WARNING, "peer", fields,
               link->up ? "lost the connection to a member" : "a member cannot be reached");
}

/* Must come before link->up changes: what is said of a loss depends on what there was to lose. */
static void tell(struct peer_link *link, enum node_link_state state, const char *why, bool refused)
{
    struct peer_net *net = link->loop->net;
    bool news = link->told != (uint32_t)state;
    /* That our own stop ends all links is no news for an operator. */
    if (!link->loop->stopped && (news || (refused && strcmp(why, link->why) != 0)))
        log_state(link, state, why);
    snprintf(link->why, sizeof(link->why), "%s", why);
    if (!news)
        return;
    link->told = (uint32_t)state;
    peer_seen_set_up(net, link->peer.id, state == NODE_LINK_UP);
    net->config.inlet.link_state(net->config.inlet.userdata, link->peer.id, state, why);
}

/* ---- connection ---------------------------------------------------------------------- */

static void drop_batch(struct peer_link *link)
{
    rk_buf_deinit(&link->batch);
    link->batch_count = 0;
    rk_list_remove(&link->dirty_link);
}

static void on_up(struct peer_dial *d)
{
    struct peer_link *link = RK_CONTAINER_OF(d, struct peer_link, dial);
    tell(link, NODE_LINK_UP, "", false);
    link->up = true;
    link->up_us = net_loop_now_us(link->loop->loop);
}

/* On this connection only we speak. */
static bool on_frame(struct peer_dial *d, const struct peer_frame *frame RK_UNUSED)
{
    return peer_conn_violated(&d->conn, "it sent a frame that has no place on this connection");
}

static void on_retry(struct net_timer *timer)
{
    dial(RK_CONTAINER_OF(timer, struct peer_link, retry));
}

/* A link that held for a while starts again with the shortest pause; one that breaks at once does not. The
 * jitter keeps hosts that lost the same peer from coming back in step. */
static void schedule(struct peer_link *link, enum peer_end end)
{
    const struct peer_timing *timing = &link->loop->net->timing;
    uint64_t now_us = net_loop_now_us(link->loop->loop);
    bool held = link->up && now_us >= link->up_us + timing->backoff_max_ms * RK_USEC_PER_MSEC;
    if (held || link->backoff_ms == 0)
        link->backoff_ms = timing->backoff_min_ms;
    if (end == PEER_END_REMOVED)
        link->backoff_ms = timing->backoff_max_ms;
    uint64_t half_us = link->backoff_ms * RK_USEC_PER_MSEC / 2;
    net_timer_set(&link->retry, now_us + half_us + rk_random_below(&link->loop->random, half_us + 1));
    link->backoff_ms = (uint32_t)rk_min_u64(2 * (uint64_t)link->backoff_ms, timing->backoff_max_ms);
}

static void on_down(struct peer_dial *d, enum peer_end end, const char *why)
{
    struct peer_link *link = RK_CONTAINER_OF(d, struct peer_link, dial);
    drop_batch(link);
    tell(link, end == PEER_END_REMOVED ? NODE_LINK_REMOVED : NODE_LINK_DOWN, why, end != PEER_END_LOST);
    schedule(link, end);
    link->up = link->dialling = false;
}

static const struct peer_dial_ops dial_ops = {.up = on_up, .frame = on_frame, .down = on_down};

static void dial(struct peer_link *link)
{
    const char *obstacle = peer_dial_obstacle(link->loop);
    if (obstacle) {
        tell(link, NODE_LINK_DOWN, obstacle, true);
        return;
    }
    link->dialling = true;
    peer_dial_start(&link->dial, link->loop, &dial_ops, PEER_PURPOSE_MESSAGES, link->peer.id,
                    link->peer.address);
}

static void hang_up(struct peer_link *link, const char *why)
{
    drop_batch(link);
    net_timer_cancel(&link->retry);
    if (link->dialling)
        peer_dial_end(&link->dial, false);
    if (link->up)
        tell(link, NODE_LINK_DOWN, why, false);
    link->up = link->dialling = false;
    link->backoff_ms = 0;
}

/* ---- members come and go ----------------------------------------------------------------- */

static void add(struct peer_loop *loop, const struct node_peer *peer)
{
    struct peer_link *link = RK_NEW(struct peer_link);
    link->loop = loop;
    link->peer = *peer;
    rk_list_init(&link->dirty_link);
    net_timer_init(&link->retry, loop->loop, on_retry);
    rk_map_put(&loop->links, peer->id, link);
    dial(link);
}

static void drop(struct peer_link *link, const char *why)
{
    hang_up(link, why);
    rk_map_remove(&link->loop->links, link->peer.id);
    free(link);
}

static void change(struct peer_link *link, const struct node_peer *peer)
{
    bool moved = strcmp(link->peer.address, peer->address) != 0;
    link->peer = *peer;
    if (!moved)
        return;
    hang_up(link, "its address has changed");
    dial(link);
}

/* A link that the directory, with mine, does not name any more; NULL when there is none. The map must not
 * change during a walk, so each walk finds one. */
static struct peer_link *find_gone(struct peer_loop *loop)
{
    struct rk_map_slot *slot;
    size_t cursor = 0;
    while ((slot = rk_map_next(&loop->links, &cursor)))
        if (loop->stopped || !peer_directory_joined(loop->directory) ||
            !peer_directory_find(loop->directory, slot->key))
            return slot->value;
    return NULL;
}

void peer_links_update(struct peer_loop *loop)
{
    struct peer_link *gone;
    while ((gone = find_gone(loop)))
        drop(gone, loop->stopped ? "this host is stopping" : "it is no member any more");
    if (loop->stopped || !peer_directory_joined(loop->directory))
        return;
    for (uint32_t i = 0; i < loop->directory->content.peer_count; i++) {
        const struct node_peer *peer = &loop->directory->content.peers[i];
        struct peer_link *link = rk_map_get(&loop->links, peer->id);
        if (peer_loop_of(loop->net, peer->id) != loop)
            continue;
        if (link)
            change(link, peer);
        else
            add(loop, peer);
    }
}

void peer_links_restart(struct peer_loop *loop)
{
    struct rk_map_slot *slot;
    size_t cursor = 0;
    while ((slot = rk_map_next(&loop->links, &cursor))) {
        hang_up(slot->value, "this host has a new identity");
        dial(slot->value);
    }
}

void peer_links_close(struct peer_loop *loop)
{
    peer_links_update(loop);
}

/* ---- sending -------------------------------------------------------------------------------- */

static void flush(struct peer_link *link)
{
    if (link->batch_count == 0)
        return;
    peer_frame_end(&link->batch, link->batch_mark);
    link->batch_count = 0;
    peer_conn_write(&link->dial.conn, &link->batch);
}

/* Room for bytes more in the frame that is open, or in a new one. */
static void open_frame(struct peer_link *link, size_t bytes)
{
    if (link->batch_count == PEER_BATCH_MAX || link->batch.len + bytes > RK_FRAME_BYTES_MAX)
        flush(link);
    if (link->batch_count > 0)
        return;
    link->batch_mark = peer_frame_begin(&link->batch, PEER_FRAME_MESSAGES);
    if (rk_list_empty(&link->dirty_link))
        rk_list_push_back(&link->loop->dirty, &link->dirty_link);
}

static const char *put(struct peer_link *link, const struct node_message *message)
{
    if (!link->up)
        return link->why[0] != '\0' ? link->why : "the member is not connected yet";
    if (net_conn_out_bytes(link->dial.conn.net) + link->batch.len > RK_PEER_QUEUE_BYTES_MAX)
        return "the connection to the member is too slow for what is sent to it";
    open_frame(link, peer_message_bytes(message));
    peer_message_put(&link->batch, message);
    link->batch_count++;
    return NULL;
}

/* A reply that cannot travel says nothing of whether the call was carried out, so none is made up in its
 * stead: the caller finds out by its deadline. */
static void drop_oversized(struct peer_loop *loop, struct node_message *message)
{
    RK_LOG(RK_LOG_ERROR, "peer",
           RK_FIELDS(RK_F_ID("MEMBER", message->peer), RK_F_U64("KIND", message->kind),
                     RK_F_U64("CALL_KIND", message->call_kind)),
           "a message is too large for the peer protocol and was dropped");
    peer_call_unreachable(loop->net, message, "the call is too large");
}

static void send_one(struct peer_loop *loop, struct node_message *message)
{
    if (message->peer == 0) {
        peer_call_reply(loop, message);
        return;
    }
    struct peer_link *link = rk_map_get(&loop->links, message->peer);
    const char *why = link ? put(link, message) : "no such member";
    if (why)
        peer_call_unreachable(loop->net, message, why);
    else
        node_message_free(message);
}

void peer_links_send(struct peer_loop *loop, struct rk_list *messages)
{
    struct rk_list *item;
    while ((item = rk_list_pop_front(messages))) {
        struct node_message *message = RK_LIST_ITEM(item, struct node_message, mail.link);
        if (peer_message_fits(message))
            send_one(loop, message);
        else
            drop_oversized(loop, message);
    }
    while ((item = rk_list_pop_front(&loop->dirty)))
        flush(RK_LIST_ITEM(item, struct peer_link, dirty_link));
}
