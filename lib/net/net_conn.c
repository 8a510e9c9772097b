/* lib/net/net_conn.c - a connection's life: events, timers and the ways to end.
 *
 * The states are explained in net_conn_internal.h, how bytes move in net_conn_io.c. */
#include "config.h"

#include "lib/net/net_conn_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/limits.h"
#include "lib/base/rk_assert.h"

#define FLUSH_MS 5000u

/* ---- the end --------------------------------------------------------------------- */

static void release(struct net_conn *conn)
{
    net_timer_cancel(&conn->timer);
    net_task_cancel(&conn->read_task);
    net_task_cancel(&conn->flush_task);
    if (conn->source.fd < 0)
        return;
    if (!conn->goodbye)
        (void)net_conn_tls_goodbye(conn);
    net_source_remove(&conn->source);
    rk_closep(&conn->source.fd);
}

/* The certificate and the texts stay until after the last callback, which may want to log them. */
static void on_close_task(struct net_task *task)
{
    struct net_conn *conn = RK_CONTAINER_OF(task, struct net_conn, close_task);
    release(conn);
    if (conn->listener)
        net_listener_refused(conn);
    else if (conn->ops && conn->ops->closed)
        conn->ops->closed(conn, conn->userdata, conn->why ? conn->why : "");
    conn->loop->conns--;
    net_dial_free(conn->dial);
    SSL_free(conn->ssl);
    net_tls_unref(conn->tls);
    rk_buf_deinit(&conn->out);
    free(conn->why);
    free(conn->bad_cert);
    free(conn->subject);
    free(conn->peer_text);
    free(conn);
}

static void keep_first_why(struct net_conn *conn, char *why)
{
    if (conn->why)
        free(why);
    else
        conn->why = why;
}

void net_conn_fail(struct net_conn *conn, char *why)
{
    keep_first_why(conn, why);
    if (conn->state == NET_CONN_CLOSED)
        return;
    conn->state = NET_CONN_CLOSED;
    net_timer_cancel(&conn->timer);
    net_task_queue(conn->loop, NET_QUEUE_CLOSE, &conn->close_task);
}

void net_conn_close(struct net_conn *conn, bool flush, const char *why)
{
    bool closing = conn->state >= NET_CONN_FLUSHING;
    if (conn->state == NET_CONN_CLOSED || (closing && flush))
        return;
    keep_first_why(conn, rk_strdup(why ? why : ""));
    if (!flush || conn->state != NET_CONN_OPEN) {
        net_conn_fail(conn, NULL);
        return;
    }
    conn->state = NET_CONN_FLUSHING;
    net_timer_set(&conn->timer, conn->loop->now_us + FLUSH_MS * RK_USEC_PER_MSEC);
    net_task_queue(conn->loop, NET_QUEUE_FLUSH, &conn->flush_task);
    net_task_queue(conn->loop, NET_QUEUE_READ, &conn->read_task);
}

/* ---- events ---------------------------------------------------------------------- */

static void note_edges(struct net_conn *conn, uint32_t events)
{
    const uint32_t over = EPOLLHUP | EPOLLERR;
    if (events & (EPOLLIN | EPOLLRDHUP | over))
        conn->readable = true;
    if (events & (EPOLLOUT | over))
        conn->writable = true;
}

/* A paused connection reads nothing, so this is how it learns of a reset. */
static bool broken_while_paused(struct net_conn *conn, uint32_t events)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (!(events & EPOLLERR) || !conn->paused || conn->state != NET_CONN_OPEN)
        return false;
    if (getsockopt(conn->source.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    net_conn_fail(conn, rk_strdup(error != 0 ? strerror(error) : "the connection broke"));
    return true;
}

void net_conn_source_fn(struct net_source *source, uint32_t events)
{
    struct net_conn *conn = RK_CONTAINER_OF(source, struct net_conn, source);
    note_edges(conn, events);
    if (broken_while_paused(conn, events))
        return;
    if (conn->state == NET_CONN_CONNECTING)
        net_conn_connect_event(conn);
    else if (conn->state == NET_CONN_HANDSHAKING)
        net_conn_tls_handshake(conn);
    else if (conn->state < NET_CONN_CLOSED) {
        net_conn_read(conn);
        if ((conn->out.len > 0 || conn->state == NET_CONN_FLUSHING) && net_conn_can_write(conn))
            net_task_queue(conn->loop, NET_QUEUE_FLUSH, &conn->flush_task);
    }
}

static void on_read_task(struct net_task *task)
{
    net_conn_read(RK_CONTAINER_OF(task, struct net_conn, read_task));
}

static void on_flush_task(struct net_task *task)
{
    net_conn_flush(RK_CONTAINER_OF(task, struct net_conn, flush_task));
}

/* ---- timer ----------------------------------------------------------------------- */

/* Data only notes the time; the timer finds out whether it was enough, so that no read has to move a timer.
 */
static void check_idle(struct net_conn *conn)
{
    uint64_t now_us = conn->loop->now_us;
    if (conn->idle_ms == 0)
        return;
    if (conn->paused)
        conn->last_data_us = now_us;
    uint64_t due_us = conn->last_data_us + conn->idle_ms * RK_USEC_PER_MSEC;
    if (due_us > now_us)
        net_timer_set(&conn->timer, due_us);
    else
        net_conn_fail(conn, rk_asprintf("nothing received for %u ms", conn->idle_ms));
}

static void on_timer(struct net_timer *timer)
{
    struct net_conn *conn = RK_CONTAINER_OF(timer, struct net_conn, timer);
    switch (conn->state) {
    case NET_CONN_RESOLVING:
    case NET_CONN_CONNECTING:
        net_conn_connect_timeout(conn);
        break;
    case NET_CONN_HANDSHAKING:
        net_conn_fail(conn, rk_strdup("TLS handshake not finished in time"));
        break;
    case NET_CONN_OPEN:
        check_idle(conn);
        break;
    default:
        net_conn_fail(conn, NULL);
        break;
    }
}

void net_conn_set_idle_ms(struct net_conn *conn, uint32_t idle_ms)
{
    conn->idle_ms = idle_ms;
    conn->last_data_us = conn->loop->now_us;
    if (conn->state != NET_CONN_OPEN)
        return;
    net_timer_cancel(&conn->timer);
    check_idle(conn);
}

/* ---- the beginning ----------------------------------------------------------------- */

struct net_conn *net_conn_new(struct net_loop *loop)
{
    struct net_conn *conn = RK_NEW(struct net_conn);
    conn->loop = loop;
    conn->source = (struct net_source){.fd = -1, .fn = net_conn_source_fn};
    conn->out_max = RK_CONN_OUT_BYTES_MAX;
    conn->last_data_us = loop->now_us;
    rk_list_init(&conn->handshake_link);
    net_task_init(&conn->read_task, on_read_task);
    net_task_init(&conn->flush_task, on_flush_task);
    net_task_init(&conn->close_task, on_close_task);
    net_timer_init(&conn->timer, loop, on_timer);
    loop->conns++;
    return conn;
}

static char *describe(const struct net_conn *conn)
{
    char text[128];
    uid_t uid;
    gid_t gid;
    pid_t pid;
    if (net_conn_peer_cred(conn, &uid, &gid, &pid) == 0)
        return rk_asprintf("unix uid=%u", uid);
    net_address_text(&conn->address, text, sizeof(text));
    return rk_strdup(text);
}

struct net_conn *net_conn_adopt(struct net_loop *loop, int fd, const struct net_address *address,
                                struct net_listener *listener, struct net_tls *tls, uint32_t handshake_ms)
{
    struct net_conn *conn = net_conn_new(loop);
    conn->source.fd = fd;
    conn->address = *address;
    conn->listener = listener;
    conn->tls = net_tls_ref(tls);
    conn->peer_text = describe(conn);
    int r = net_source_add(loop, &conn->source, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    if (r < 0) {
        net_conn_fail(conn, rk_strdup(strerror(-r)));
        return conn;
    }
    if (!tls) {
        net_conn_opened(conn);
        return conn;
    }
    conn->handshake_us = loop->now_us;
    net_timer_set(&conn->timer, loop->now_us + handshake_ms * RK_USEC_PER_MSEC);
    net_conn_tls_start(conn, NULL);
    return conn;
}

/* Data may be here already: inside OpenSSL, where no edge will tell of it. */
void net_conn_opened(struct net_conn *conn)
{
    conn->state = NET_CONN_OPEN;
    conn->readable = conn->writable = true;
    conn->last_data_us = conn->loop->now_us;
    net_timer_cancel(&conn->timer);
    net_dial_free(conn->dial);
    conn->dial = NULL;
    if (conn->listener)
        net_listener_accepted(conn);
    if (conn->state == NET_CONN_OPEN && conn->ops->ready)
        conn->ops->ready(conn, conn->userdata);
    if (conn->state != NET_CONN_OPEN)
        return;
    if (conn->idle_ms > 0 && !rk_heap_has(&conn->timer.item))
        check_idle(conn);
    net_task_queue(conn->loop, NET_QUEUE_READ, &conn->read_task);
    if (conn->out.len > 0)
        net_task_queue(conn->loop, NET_QUEUE_FLUSH, &conn->flush_task);
}

/* ---- the owner's calls --------------------------------------------------------------- */

void net_conn_set_ops(struct net_conn *conn, const struct net_conn_ops *ops, void *userdata)
{
    conn->ops = ops;
    conn->userdata = userdata;
}

/* One write may pass the bound, the next one may not: a turn can add this much before the flush decides. */
void net_conn_write(struct net_conn *conn, struct rk_slice bytes)
{
    if (conn->state >= NET_CONN_FLUSHING || bytes.len == 0)
        return;
    if (conn->out.len > conn->out_max) {
        net_conn_fail(conn, rk_strdup("the other side reads too slowly"));
        return;
    }
    rk_buf_append_slice(&conn->out, bytes);
    if (conn->out.len > NET_CONN_HIGH_BYTES)
        conn->high = true;
    if (conn->state == NET_CONN_OPEN)
        net_task_queue(conn->loop, NET_QUEUE_FLUSH, &conn->flush_task);
}

size_t net_conn_out_bytes(const struct net_conn *conn)
{
    return conn->out.len;
}

void net_conn_set_out_max(struct net_conn *conn, size_t bytes)
{
    conn->out_max = bytes;
}

void net_conn_pause(struct net_conn *conn)
{
    conn->paused = true;
}

void net_conn_resume(struct net_conn *conn)
{
    if (!conn->paused)
        return;
    conn->paused = false;
    conn->last_data_us = conn->loop->now_us;
    /* At worst it reads EAGAIN; bytes inside OpenSSL would not announce themselves. */
    if (conn->state == NET_CONN_OPEN) {
        conn->readable = true;
        net_task_queue(conn->loop, NET_QUEUE_READ, &conn->read_task);
    }
}

struct net_loop *net_conn_loop(const struct net_conn *conn)
{
    return conn->loop;
}

const char *net_conn_peer_text(const struct net_conn *conn)
{
    return conn->peer_text ? conn->peer_text : "";
}

const char *net_conn_alpn(const struct net_conn *conn)
{
    return conn->alpn;
}

bool net_conn_is_tls(const struct net_conn *conn)
{
    return conn->tls != NULL;
}

int net_conn_peer_cred(const struct net_conn *conn, uid_t *ret_uid, gid_t *ret_gid, pid_t *ret_pid)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (conn->address.addr.ss_family != AF_UNIX ||
        getsockopt(conn->source.fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return -ENOTSUP;
    *ret_uid = cred.uid;
    *ret_gid = cred.gid;
    *ret_pid = cred.pid;
    return 0;
}
