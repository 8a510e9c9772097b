/* lib/peer/peer_conn.c - frames over a connection.
 *
 * Whole frames are handled where they lie in the connection's input; only one that
 * has begun and not ended is kept, and its length was held against the limit first.
 *
 * Once established, each side sends a KEEPALIVE every few seconds whatever else it
 * sends, and gives the connection up when nothing at all has come for long. Neither
 * waits for an answer, as that could be stuck behind megabytes on a slow line; and
 * yet a path that works in one direction only is noticed at both ends: one hears
 * nothing, the other's bytes stay unacknowledged (TCP_USER_TIMEOUT, set by lib/net). */
#include "lib/peer/peer_internal.h"

#include <sys/types.h>

#include "lib/base/rk_assert.h"

/* A buffer that has held a large frame is given back rather than kept for the next one. */
#define KEEP_BYTES (64u * 1024u)

/* ---- from below ------------------------------------------------------------------ */

static void on_ready(struct net_conn *net RK_UNUSED, void *userdata)
{
    struct peer_conn *conn = userdata;
    if (conn->ops->ready)
        conn->ops->ready(conn);
}

/* Returns how many bytes of in were used, or -1 when the connection has ended. */
static ssize_t handle_frames(struct peer_conn *conn, struct rk_slice in)
{
    size_t used = 0;
    for (;;) {
        struct peer_frame frame;
        size_t max = conn->established ? RK_FRAME_BYTES_MAX : PEER_HELLO_BYTES_MAX;
        int r = peer_frame_split(rk_slice(in.data + used, in.len - used), max, &frame);
        if (r == PEER_INCOMPLETE)
            return (ssize_t)used;
        bool keepalive = r == 0 && conn->established && frame.type == PEER_FRAME_KEEPALIVE;
        if (r < 0 || (keepalive && frame.body.len > 0)) {
            peer_conn_violated(conn, "it sent something that is not of the peer protocol");
            return -1;
        }
        if (!keepalive && !conn->ops->frame(conn, &frame))
            return -1;
        used += frame.bytes;
    }
}

static void on_data(struct net_conn *net RK_UNUSED, void *userdata, struct rk_slice bytes)
{
    struct peer_conn *conn = userdata;
    bool kept = conn->in.len > 0;
    if (kept)
        rk_buf_append_slice(&conn->in, bytes);
    struct rk_slice in = kept ? rk_buf_slice(&conn->in) : bytes;
    ssize_t used = handle_frames(conn, in);
    if (used < 0)
        return;
    if (kept)
        rk_buf_consume(&conn->in, (size_t)used);
    else
        rk_buf_append(&conn->in, in.data + used, in.len - (size_t)used);
    if (conn->in.len == 0 && conn->in.cap > KEEP_BYTES)
        rk_buf_deinit(&conn->in);
    if (conn->ops->batch_end)
        (void)conn->ops->batch_end(conn);
}

static void on_closed(struct net_conn *net RK_UNUSED, void *userdata, const char *why)
{
    struct peer_conn *conn = userdata;
    conn->net = NULL;
    net_timer_cancel(&conn->timer);
    rk_buf_deinit(&conn->in);
    conn->ops->closed(conn, why[0] != '\0' ? why : "it closed the connection");
}

static const struct net_conn_ops net_ops = {.ready = on_ready, .data = on_data, .closed = on_closed};

/* ---- a connection that has lost its owner ---------------------------------------------- */

struct peer_orphan {
    struct rk_list link;
    struct net_conn *net;
};

static void ignore_data(struct net_conn *net RK_UNUSED, void *userdata RK_UNUSED,
                        struct rk_slice bytes RK_UNUSED)
{
}

static void orphan_closed(struct net_conn *net RK_UNUSED, void *userdata, const char *why RK_UNUSED)
{
    struct peer_orphan *orphan = userdata;
    rk_list_remove(&orphan->link);
    free(orphan);
}

static const struct net_conn_ops orphan_ops = {.data = ignore_data, .closed = orphan_closed};

void peer_conn_end(struct peer_conn *conn, bool flush, const char *why)
{
    net_timer_cancel(&conn->timer);
    rk_buf_deinit(&conn->in);
    if (!conn->net)
        return;
    struct peer_orphan *orphan = RK_NEW(struct peer_orphan);
    orphan->net = conn->net;
    conn->net = NULL;
    rk_list_push_back(&conn->loop->orphans, &orphan->link);
    net_conn_set_ops(orphan->net, &orphan_ops, orphan);
    net_conn_close(orphan->net, flush, why);
}

void peer_orphans_close(struct peer_loop *loop)
{
    RK_LIST_FOR_EACH (it, &loop->orphans)
        net_conn_close(RK_LIST_ITEM(it, struct peer_orphan, link)->net, false, "this host is stopping");
}

bool peer_conn_violated(struct peer_conn *conn, const char *what)
{
    const char *address = net_conn_peer_text(conn->net);
    if (peer_seen_refusal(conn->loop->net, 0, what, net_loop_now_us(conn->loop->loop)))
        RK_LOG(RK_LOG_WARNING, "peer",
               RK_FIELDS(RK_F_STR("ADDRESS", address),
                         RK_F_STR("CERTIFICATE", net_conn_peer_subject(conn->net)), RK_F_STR("REASON", what)),
               "closed a peer connection");
    peer_conn_end(conn, false, what);
    conn->ops->closed(conn, what);
    return false;
}

/* ---- from above ----------------------------------------------------------------------- */

static void set_timer_ms(struct peer_conn *conn, uint32_t ms)
{
    net_timer_set(&conn->timer, net_loop_now_us(conn->loop->loop) + ms * RK_USEC_PER_MSEC);
}

static void on_timer(struct net_timer *timer)
{
    struct peer_conn *conn = RK_CONTAINER_OF(timer, struct peer_conn, timer);
    if (!conn->established) {
        conn->ops->late(conn);
        return;
    }
    struct rk_buf buf = {0};
    peer_keepalive_encode(&buf);
    peer_conn_write(conn, &buf);
    rk_buf_deinit(&buf);
    set_timer_ms(conn, conn->loop->net->timing.keepalive_ms);
}

void peer_conn_init(struct peer_conn *conn, struct peer_loop *loop, const struct peer_conn_ops *ops)
{
    *conn = (struct peer_conn){.loop = loop, .ops = ops};
    net_timer_init(&conn->timer, loop->loop, on_timer);
}

void peer_conn_attach(struct peer_conn *conn, struct net_conn *net)
{
    conn->net = net;
    net_conn_set_ops(net, &net_ops, conn);
}

void peer_conn_dial(struct peer_conn *conn, const char *address)
{
    const struct peer_config *config = &conn->loop->net->config;
    rk_assert(config->tls_client && !conn->net);
    conn->net = net_conn_connect(conn->loop->loop, config->resolver, address, config->tls_client,
                                 config->connect_timeout_ms, &net_ops, conn);
}

void peer_conn_write(struct peer_conn *conn, struct rk_buf *frames)
{
    if (conn->net)
        net_conn_write(conn->net, rk_buf_slice(frames));
    if (frames->cap > KEEP_BYTES)
        rk_buf_deinit(frames);
    else
        rk_buf_clear(frames);
}

void peer_conn_expect_hello(struct peer_conn *conn)
{
    set_timer_ms(conn, conn->loop->net->timing.hello_ms);
}

void peer_conn_establish(struct peer_conn *conn)
{
    conn->established = true;
    net_conn_set_idle_ms(conn->net, conn->loop->net->timing.silence_ms);
    set_timer_ms(conn, conn->loop->net->timing.keepalive_ms);
}
