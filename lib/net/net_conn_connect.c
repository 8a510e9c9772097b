/* lib/net/net_conn_connect.c - outgoing connections: a name, its addresses in turn, one that answers.
 *
 * One deadline covers everything up to ready(). While addresses are tried, each
 * gets an equal share of what is left, so that a first address which swallows
 * packets does not use up the time of the second. */
#include "config.h"

#include "lib/net/net_conn_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/limits.h"
#include "lib/base/rk_assert.h"

#define DEAD_PEER_MS     20000 /* unacknowledged for so long: the other side is gone */
#define KEEPALIVE_IDLE_S 10    /* then probe, so that silence is noticed about as fast */
#define KEEPALIVE_STEP_S 5
#define KEEPALIVE_PROBES 2

void net_dial_free(struct net_dial *dial)
{
    if (!dial)
        return;
    if (dial->query)
        net_query_cancel(dial->query);
    free(dial->host);
    free(dial->addresses);
    free(dial->error);
    free(dial);
}

static void set_option(int fd, int level, int name, int value)
{
    /* These make a connection better, not possible; none can fail on a TCP socket of Linux. */
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

void net_socket_setup_tcp(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_STEP_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, DEAD_PEER_MS);
}

/* ---- one address --------------------------------------------------------------------- */

static void drop_attempt(struct net_conn *conn)
{
    net_source_remove(&conn->source);
    rk_closep(&conn->source.fd);
    conn->readable = conn->writable = false;
}

static void note_error(struct net_conn *conn, const char *text)
{
    char address[128];
    net_address_text(&conn->address, address, sizeof(address));
    free(conn->dial->error);
    conn->dial->error = rk_asprintf("cannot connect to %s: %s", address, text);
}

/* Returns 0 when the attempt is on its way, or -errno with no descriptor left. */
static int attempt(struct net_conn *conn, const struct net_address *address)
{
    int fd = socket(address->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    net_socket_setup_tcp(fd);
    int r = connect(fd, (const struct sockaddr *)&address->addr, address->len);
    if (r < 0 && errno != EINPROGRESS) {
        r = -errno;
        close(fd);
        return r;
    }
    conn->source.fd = fd;
    r = net_source_add(conn->loop, &conn->source, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    if (r < 0)
        rk_closep(&conn->source.fd);
    return r;
}

static void set_attempt_timer(struct net_conn *conn)
{
    const struct net_dial *dial = conn->dial;
    uint64_t now_us = conn->loop->now_us;
    uint64_t left_us = dial->deadline_us > now_us ? dial->deadline_us - now_us : 0;
    net_timer_set(&conn->timer, now_us + left_us / (dial->count - dial->next + 1));
}

static void try_next(struct net_conn *conn)
{
    struct net_dial *dial = conn->dial;
    while (dial->next < dial->count) {
        conn->address = dial->addresses[dial->next++];
        int r = attempt(conn, &conn->address);
        if (r == 0) {
            conn->state = NET_CONN_CONNECTING;
            set_attempt_timer(conn);
            return;
        }
        note_error(conn, strerror(-r));
    }
    net_conn_fail(conn, rk_strdup(dial->error));
}

/* ---- progress -------------------------------------------------------------------------- */

static void connected(struct net_conn *conn)
{
    char text[128];
    net_address_text(&conn->address, text, sizeof(text));
    free(conn->peer_text);
    conn->peer_text = rk_strdup(text);
    if (!conn->tls) {
        net_conn_opened(conn);
        return;
    }
    net_timer_set(&conn->timer, conn->dial->deadline_us);
    net_conn_tls_start(conn, conn->dial->host);
}

void net_conn_connect_event(struct net_conn *conn)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (!conn->writable)
        return;
    if (getsockopt(conn->source.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error == 0) {
        connected(conn);
        return;
    }
    note_error(conn, strerror(error));
    drop_attempt(conn);
    try_next(conn);
}

void net_conn_connect_timeout(struct net_conn *conn)
{
    struct net_dial *dial = conn->dial;
    if (conn->state == NET_CONN_RESOLVING) {
        net_conn_fail(conn, rk_asprintf("%s not resolved within %u ms", dial->host, dial->timeout_ms));
        return;
    }
    note_error(conn, "no answer in time");
    drop_attempt(conn);
    try_next(conn);
}

static void resolved(void *userdata, int result, struct net_address *addresses, const char *why)
{
    struct net_conn *conn = userdata;
    struct net_dial *dial = conn->dial;
    dial->query = NULL;
    if (conn->state != NET_CONN_RESOLVING) {
        free(addresses);
        return;
    }
    if (result <= 0) {
        net_conn_fail(conn, rk_asprintf("cannot resolve %s: %s", dial->host, why));
        return;
    }
    dial->addresses = addresses;
    dial->count = (size_t)result;
    try_next(conn);
}

/* ---- the call ----------------------------------------------------------------------------- */

static void resolve(struct net_conn *conn, struct net_resolver *resolver, uint16_t port)
{
    struct net_dial *dial = conn->dial;
    struct net_address numeric;
    if (net_address_parse(dial->host, port, &numeric)) {
        dial->addresses = RK_NEW(struct net_address);
        dial->addresses[0] = numeric;
        dial->count = 1;
        try_next(conn);
        return;
    }
    if (resolver)
        dial->query = net_resolver_ask(resolver, conn->loop, dial->host, port, resolved, conn);
    if (!dial->query) {
        net_conn_fail(conn, rk_asprintf("cannot resolve %s: %s", dial->host,
                                        resolver ? "too many names wait" : "an address is needed"));
        return;
    }
    conn->state = NET_CONN_RESOLVING;
    net_timer_set(&conn->timer, dial->deadline_us);
}

struct net_conn *net_conn_connect(struct net_loop *loop, struct net_resolver *resolver, const char *address,
                                  struct net_tls *tls, uint32_t timeout_ms, const struct net_conn_ops *ops,
                                  void *userdata)
{
    char host[RK_ADDRESS_BYTES_MAX];
    uint16_t port;
    struct net_conn *conn = net_conn_new(loop);
    net_conn_set_ops(conn, ops, userdata);
    conn->peer_text = rk_strdup(address);
    conn->tls = net_tls_ref(tls);
    if (net_address_split(address, host, sizeof(host), &port) < 0) {
        net_conn_fail(conn, rk_asprintf("\"%s\" is not host:port", address));
        return conn;
    }
    conn->dial = RK_NEW(struct net_dial);
    conn->dial->host = rk_strdup(host);
    conn->dial->timeout_ms = timeout_ms;
    conn->dial->deadline_us = loop->now_us + timeout_ms * RK_USEC_PER_MSEC;
    resolve(conn, resolver, port);
    return conn;
}
