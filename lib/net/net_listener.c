/* lib/net/net_listener.c - accepting, on one loop among several that share the sockets.
 *
 * Listening sockets are level-triggered and exclusive: a connection that one loop
 * leaves in the queue is offered again, and the kernel wakes few loops for it. A
 * loop that cannot take more (no descriptors, too many unfinished handshakes)
 * leaves epoll for a moment instead of spinning, and the queue is the others'.
 *
 * Unfinished handshakes are the cheap way to tie up a server. They have a
 * deadline and a number; when the number is reached, one that has had more than
 * its fair time makes way for a newcomer, since honest ones take milliseconds. */
#include "config.h"

#include "lib/net/net_conn_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/limits.h"
#include "lib/base/rk_assert.h"

#define ACCEPT_BATCH      16 /* per wake-up; the rest is for the other loops, or the next turn */
#define NAP_MS            100u
#define HANDSHAKE_FAIR_MS 1000u

struct listen_source {
    struct net_source source;
    struct net_listener *listener;
};

struct net_listener {
    struct net_loop *loop;
    struct net_tls *tls;
    void (*accepted)(void *userdata, struct net_conn *conn);
    void (*refused)(void *userdata, const char *peer, const char *why);
    void *userdata;
    struct listen_source *sources;
    size_t count;
    struct rk_list handshakes; /* net_conn.handshake_link, oldest first */
    size_t handshake_count, handshakes_max;
    uint32_t handshake_ms;
    struct net_timer nap;
    bool full; /* the nap ends when a handshake does */
    bool freed;
    struct net_task free_task; /* it may be freed from inside accepted() */
};

/* ---- watching and not watching -------------------------------------------------------------------- */

static int watch(struct net_listener *listener)
{
    for (size_t i = 0; i < listener->count; i++) {
        struct net_source *source = &listener->sources[i].source;
        int r =
            source->loop ? 0 : net_source_add_raw(listener->loop, source, EPOLLIN | (uint32_t)EPOLLEXCLUSIVE);
        if (r < 0)
            return r;
    }
    return 0;
}

static void unwatch(struct net_listener *listener)
{
    for (size_t i = 0; i < listener->count; i++)
        net_source_remove(&listener->sources[i].source);
}

static void nap(struct net_listener *listener, bool full)
{
    unwatch(listener);
    listener->full = full;
    net_timer_set(&listener->nap, listener->loop->now_us + NAP_MS * RK_USEC_PER_MSEC);
}

static void wake(struct net_listener *listener)
{
    listener->full = false;
    net_timer_cancel(&listener->nap);
    if (watch(listener) < 0)
        nap(listener, false);
}

static void on_nap_over(struct net_timer *timer)
{
    wake(RK_CONTAINER_OF(timer, struct net_listener, nap));
}

/* ---- handshakes ---------------------------------------------------------------------------------- */

void net_listener_handshake_over(struct net_conn *conn)
{
    struct net_listener *listener = conn->listener;
    if (!listener || rk_list_empty(&conn->handshake_link))
        return;
    rk_list_remove(&conn->handshake_link);
    listener->handshake_count--;
    if (listener->full && !listener->freed)
        wake(listener);
}

void net_listener_accepted(struct net_conn *conn)
{
    struct net_listener *listener = conn->listener;
    net_listener_handshake_over(conn);
    conn->listener = NULL;
    listener->accepted(listener->userdata, conn);
    rk_assert(conn->ops || conn->state >= NET_CONN_FLUSHING);
}

void net_listener_refused(struct net_conn *conn)
{
    struct net_listener *listener = conn->listener;
    net_listener_handshake_over(conn);
    net_count(&net_counters.handshake_failed, 1);
    if (listener->refused && !listener->freed)
        listener->refused(listener->userdata, net_conn_peer_text(conn), conn->why ? conn->why : "");
}

/* False when all places are taken by handshakes that still deserve theirs. */
static bool make_room(struct net_listener *listener)
{
    if (listener->handshake_count < listener->handshakes_max)
        return true;
    struct net_conn *oldest = RK_LIST_ITEM(listener->handshakes.next, struct net_conn, handshake_link);
    if (listener->loop->now_us - oldest->handshake_us < HANDSHAKE_FAIR_MS * RK_USEC_PER_MSEC)
        return false;
    net_listener_handshake_over(oldest);
    net_conn_fail(oldest, rk_strdup("TLS handshake slow while many others wait"));
    return true;
}

/* ---- accepting ------------------------------------------------------------------------------------- */

static void welcome(struct net_listener *listener, int fd, const struct net_address *address)
{
    net_count(&net_counters.accepted, 1);
    if (listener->loop->conns >= RK_CONNECTIONS_MAX) {
        net_count(&net_counters.refused, 1);
        close(fd);
        return;
    }
    if (address->addr.ss_family != AF_UNIX)
        net_socket_setup_tcp(fd);
    struct net_conn *conn =
        net_conn_adopt(listener->loop, fd, address, listener, listener->tls, listener->handshake_ms);
    if (conn->state == NET_CONN_HANDSHAKING) {
        rk_list_push_back(&listener->handshakes, &conn->handshake_link);
        listener->handshake_count++;
    }
}

/* Returns false when this wake-up is over. */
static bool accept_one(struct net_listener *listener, int listen_fd)
{
    struct net_address address = {.len = sizeof(address.addr)};
    int fd = accept4(listen_fd, (struct sockaddr *)&address.addr, &address.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        welcome(listener, fd, &address);
        return !listener->freed;
    }
    switch (errno) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        nap(listener, false);
        return false;
    default:
        return true; /* the connection died in the queue: ECONNABORTED and the network errors of accept(2) */
    }
}

static void on_incoming(struct net_source *source, uint32_t events RK_UNUSED)
{
    struct listen_source *listen = RK_CONTAINER_OF(source, struct listen_source, source);
    struct net_listener *listener = listen->listener;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        if (!make_room(listener)) {
            nap(listener, true);
            return;
        }
        if (!accept_one(listener, source->fd))
            return;
    }
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void on_free_task(struct net_task *task)
{
    struct net_listener *listener = RK_CONTAINER_OF(task, struct net_listener, free_task);
    net_tls_unref(listener->tls);
    free(listener->sources);
    free(listener);
}

int net_listener_new(struct net_loop *loop, const struct net_listen_set *set, struct net_tls *tls,
                     void (*accepted)(void *userdata, struct net_conn *conn), void *userdata,
                     struct net_listener **ret)
{
    struct net_listener *listener = RK_NEW(struct net_listener);
    listener->loop = loop;
    listener->tls = net_tls_ref(tls);
    listener->accepted = accepted;
    listener->userdata = userdata;
    listener->handshakes_max = RK_HANDSHAKES_MAX;
    listener->handshake_ms = RK_TLS_HANDSHAKE_MS;
    rk_list_init(&listener->handshakes);
    net_timer_init(&listener->nap, loop, on_nap_over);
    net_task_init(&listener->free_task, on_free_task);
    listener->count = set->count;
    listener->sources = RK_NEW_ARRAY(struct listen_source, set->count);
    for (size_t i = 0; i < set->count; i++) {
        listener->sources[i].source = (struct net_source){.fd = set->fds[i], .fn = on_incoming};
        listener->sources[i].listener = listener;
    }
    int r = watch(listener);
    if (r < 0) {
        unwatch(listener);
        on_free_task(&listener->free_task);
        return r;
    }
    *ret = listener;
    return 0;
}

void net_listener_on_refused(struct net_listener *listener,
                             void (*refused)(void *userdata, const char *peer, const char *why))
{
    listener->refused = refused;
}

void net_listener_set_limits(struct net_listener *listener, uint32_t handshake_ms, size_t handshakes_max)
{
    listener->handshake_ms = handshake_ms;
    listener->handshakes_max = handshakes_max;
}

/* The memory goes after the connections that still point here: their close tasks are before ours in the
 * queue. */
void net_listener_free(struct net_listener *listener)
{
    if (!listener || listener->freed)
        return;
    listener->freed = true;
    unwatch(listener);
    net_timer_cancel(&listener->nap);
    while (!rk_list_empty(&listener->handshakes)) {
        struct net_conn *conn = RK_LIST_ITEM(listener->handshakes.next, struct net_conn, handshake_link);
        net_listener_handshake_over(conn);
        net_conn_fail(conn, rk_strdup("the listener stops"));
    }
    net_task_queue(listener->loop, NET_QUEUE_CLOSE, &listener->free_task);
}
