/* lib/net/net_conn_io.c - how bytes move: reading within a budget, one write for all of a turn.
 *
 * Edges come once, so "readable" and "writable" are remembered until the socket
 * says EAGAIN. A connection that has more than one turn's budget keeps its flag
 * and queues itself for the next turn; no new edge is needed. */
#include "config.h"

#include "lib/net/net_conn_internal.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/limits.h"

/* Per turn and connection; a socket on the same host can take bytes as fast as we make them. */
#define WRITE_BUDGET (1024u * 1024u)
/* An idle connection keeps no more than this for its next answer. */
#define OUT_KEEP_BYTES 4096u
#define LINGER_MS      1000u

/* ---- transport ------------------------------------------------------------------------ */

static enum net_io plain_failed(struct net_conn *conn)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return NET_IO_AGAIN;
    net_conn_fail(conn, rk_strdup(strerror(errno)));
    return NET_IO_FAILED;
}

static enum net_io plain_read(struct net_conn *conn, uint8_t *to, size_t size, size_t *ret_count)
{
    ssize_t n;
    do
        n = recv(conn->source.fd, to, size, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *ret_count = (size_t)n;
        return NET_IO_OK;
    }
    if (n == 0)
        return NET_IO_EOF;
    enum net_io io = plain_failed(conn);
    if (io == NET_IO_AGAIN)
        conn->readable = false;
    return io;
}

static enum net_io plain_write(struct net_conn *conn, struct rk_slice bytes, size_t *ret_count)
{
    ssize_t n;
    do
        n = send(conn->source.fd, bytes.data, bytes.len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0) {
        *ret_count = (size_t)n;
        return NET_IO_OK;
    }
    enum net_io io = plain_failed(conn);
    if (io == NET_IO_AGAIN)
        conn->writable = false;
    return io;
}

static enum net_io transport_read(struct net_conn *conn, uint8_t *to, size_t size, size_t *ret_count)
{
    return conn->ssl ? net_conn_tls_read(conn, to, size, ret_count) : plain_read(conn, to, size, ret_count);
}

static enum net_io transport_write(struct net_conn *conn, struct rk_slice bytes, size_t *ret_count)
{
    return conn->ssl ? net_conn_tls_write(conn, bytes, ret_count) : plain_write(conn, bytes, ret_count);
}

bool net_conn_can_read(const struct net_conn *conn)
{
    return conn->read_needs_write ? conn->writable : conn->readable;
}

bool net_conn_can_write(const struct net_conn *conn)
{
    return conn->write_needs_read ? conn->readable : conn->writable;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* While it ends, input is still taken, and dropped: unread bytes would turn our FIN into a reset, and a peer
 * that must finish writing before it reads would never see our last answer. */
static bool wants_input(const struct net_conn *conn)
{
    bool ending = conn->state == NET_CONN_FLUSHING || conn->state == NET_CONN_LINGERING;
    return !conn->eof && net_conn_can_read(conn) &&
           (ending || (conn->state == NET_CONN_OPEN && !conn->paused));
}

static void got_end(struct net_conn *conn)
{
    conn->eof = true;
    if (conn->state == NET_CONN_LINGERING)
        net_conn_fail(conn, NULL);
    else if (conn->state == NET_CONN_OPEN)
        net_conn_close(conn, true, "");
}

static void got_bytes(struct net_conn *conn, struct rk_slice bytes)
{
    net_count(&net_counters.bytes_in, bytes.len);
    if (conn->state != NET_CONN_OPEN)
        return;
    conn->last_data_us = conn->loop->now_us;
    conn->ops->data(conn, conn->userdata, bytes);
}

void net_conn_read(struct net_conn *conn)
{
    uint8_t *scratch = conn->loop->scratch;
    size_t budget = RK_CONN_READ_BUDGET;
    net_task_cancel(&conn->read_task);
    while (wants_input(conn)) {
        size_t count = 0;
        if (budget == 0) {
            net_task_queue(conn->loop, NET_QUEUE_READ, &conn->read_task);
            return;
        }
        enum net_io io = transport_read(conn, scratch, rk_min_u64(budget, NET_SCRATCH_BYTES), &count);
        if (io == NET_IO_EOF)
            got_end(conn);
        else if (io == NET_IO_OK)
            got_bytes(conn, rk_slice(scratch, count));
        budget -= count;
    }
}

/* ---- writing ---------------------------------------------------------------------------- */

static void write_out(struct net_conn *conn)
{
    size_t budget = WRITE_BUDGET;
    while (conn->out.len > 0 && net_conn_can_write(conn) && conn->state < NET_CONN_CLOSED) {
        size_t count = 0;
        if (budget == 0) {
            net_task_queue(conn->loop, NET_QUEUE_FLUSH, &conn->flush_task);
            return;
        }
        if (transport_write(conn, rk_buf_slice(&conn->out), &count) != NET_IO_OK)
            continue; /* a flag or the state has changed */
        net_count(&net_counters.bytes_out, count);
        rk_buf_consume(&conn->out, count);
        budget -= rk_min_u64(budget, count);
    }
}

/* All is written. Wait for the other side's end, so that the kernel does not throw away what it has not sent
 * yet. */
static void linger(struct net_conn *conn)
{
    if (!net_conn_can_write(conn) || !net_conn_tls_goodbye(conn))
        return; /* the next edge brings us back here */
    conn->goodbye = true;
    shutdown(conn->source.fd, SHUT_WR);
    if (conn->eof) {
        net_conn_fail(conn, NULL);
        return;
    }
    conn->state = NET_CONN_LINGERING;
    net_timer_set(&conn->timer, conn->loop->now_us + LINGER_MS * RK_USEC_PER_MSEC);
    net_task_queue(conn->loop, NET_QUEUE_READ, &conn->read_task);
}

static void after_write(struct net_conn *conn)
{
    if (conn->out.len > conn->out_max) {
        net_conn_fail(conn, rk_strdup("the other side reads too slowly"));
        return;
    }
    if (!conn->high || conn->out.len >= NET_CONN_LOW_BYTES)
        return;
    conn->high = false;
    if (conn->ops->drained)
        conn->ops->drained(conn, conn->userdata);
}

void net_conn_flush(struct net_conn *conn)
{
    write_out(conn);
    if (conn->out.len == 0 && conn->out.cap > OUT_KEEP_BYTES)
        rk_buf_deinit(&conn->out);
    /* OpenSSL may have pulled input out of the socket on its way; no edge will tell of that. */
    if (conn->ssl && conn->state < NET_CONN_CLOSED && SSL_has_pending(conn->ssl) && !conn->paused) {
        conn->readable = true;
        net_task_queue(conn->loop, NET_QUEUE_READ, &conn->read_task);
    }
    if (conn->state == NET_CONN_FLUSHING && conn->out.len == 0)
        linger(conn);
    else if (conn->state == NET_CONN_OPEN)
        after_write(conn);
}
