/* lib/net/net.h - one event loop per worker thread, and the connections that live on it.
 *
 * Everything here but the calls marked "any thread" belongs to the thread that
 * runs the loop. Edge-triggered epoll, each descriptor registered once; one turn of
 * the loop is: wait, handle what is ready (each connection within its byte
 * budget), expire timers, take the mailbox, then flush every connection that was
 * written to - so all answers of one turn leave in one TLS write per connection.
 * It is not sd-event because that dispatches one source per kernel wait and rounds
 * its timers.
 *
 * The process must ignore SIGPIPE: OpenSSL writes to its socket with plain write(2). */
#ifndef NET_H
#define NET_H

#include <sys/socket.h>

#include "lib/base/rk_beat.h"
#include "lib/base/rk_buf.h"
#include "lib/base/rk_heap.h"
#include "lib/base/rk_list.h"
#include "lib/base/rk_mailbox.h"
#include "lib/base/rk_slice.h"

/* ---- loop (net_loop.c) and timers (net_timer.c) ---------------------------- */

struct net_loop;

int net_loop_new(struct net_loop **ret) RK_MUST_CHECK; /* 0 or -errno */
/* Connections and listeners on it must be gone or closed (net_conn_close() without flush): closed() of the
 * latter comes from in here. So does on_mail for what is still in the box. A resolver that its connections
 * used must be freed before. */
void net_loop_free(struct net_loop *loop);
/* One turn. Sleeps until something is ready, a timer is due, or mail has come. */
int net_loop_run_once(struct net_loop *loop) RK_MUST_CHECK;
int net_loop_run(struct net_loop *loop) RK_MUST_CHECK; /* turns until net_loop_stop() */
void net_loop_stop(struct net_loop *loop);             /* any thread */
uint64_t net_loop_now_us(const struct net_loop *loop); /* as of this turn's wake-up */
/* Any thread may push to it; on_mail gets each mail in order, on the loop's thread, and owns it. Kinds from
 * 0xffff0000 up are the loop's own. */
struct rk_mailbox *net_loop_mailbox(struct net_loop *loop);
void net_loop_on_mail(struct net_loop *loop, void (*on_mail)(void *userdata, struct rk_mail *mail),
                      void *userdata);
struct rk_beat *net_loop_beat(struct net_loop *loop); /* marked busy and idle by run_once */

struct net_timer {
    struct rk_heap_item item;
    struct net_loop *loop;
    void (*fn)(struct net_timer *timer);
};
void net_timer_init(struct net_timer *timer, struct net_loop *loop, void (*fn)(struct net_timer *timer));
/* Fires once (set it again for a period), at or up to a millisecond after at_us. A time that has passed means
 * the next turn. */
void net_timer_set(struct net_timer *timer, uint64_t at_us);
void net_timer_cancel(struct net_timer *timer); /* harmless when not set */

/* A plain descriptor on the loop, edge-triggered: fn must read or write until EAGAIN. */
struct net_source {
    int fd;
    struct net_loop *loop;
    void (*fn)(struct net_source *source, uint32_t epoll_events);
};
int net_source_add(struct net_loop *loop, struct net_source *source, uint32_t epoll_events) RK_MUST_CHECK;
void net_source_remove(struct net_source *source); /* safe from inside any callback of the same turn */

/* ---- addresses (net_address.c) ---------------------------------------------- */

struct net_address { /* resolved */
    struct sockaddr_storage addr;
    socklen_t len;
};
/* Splits "host:port", "[v6]:port", "*:port" (any, both families). host and port are copied. 0 or -EINVAL.
 * A bare IPv6 address without brackets is refused: it cannot be told from host:port. */
int net_address_split(const char *text, char *ret_host, size_t host_size, uint16_t *ret_port) RK_MUST_CHECK;
/* Blocking getaddrinfo; for listeners at start and for the resolver thread. *ret is a heap array (caller
 * frees); returns the count (> 0) or a negative errno; *ret_why (static text) explains. */
int net_address_resolve(const char *host, uint16_t port, bool passive, struct net_address **ret,
                        const char **ret_why) RK_MUST_CHECK;
void net_address_text(const struct net_address *address, char *ret,
                      size_t size); /* "192.0.2.1:80", "[::1]:80" */
bool net_address_is_loopback(const struct net_address *address);

/* A thread that resolves names, so that a slow DNS server never stops a loop. */
struct net_resolver; /* any thread */
int net_resolver_new(struct net_resolver **ret) RK_MUST_CHECK;
void net_resolver_free(struct net_resolver *resolver); /* waits for the query that runs */

/* ---- TLS (net_tls.c) ---------------------------------------------------------- */

enum net_tls_role {
    NET_TLS_CLIENT_PORT = 1, /* server; TLS 1.2 and up; client certificate asked for when ca_file is given */
    NET_TLS_PEER_SERVER,     /* server; TLS 1.3; client certificate required */
    NET_TLS_PEER_CLIENT,     /* client; TLS 1.3; own certificate sent, server verified against CA and host */
};

struct net_tls_config {
    enum net_tls_role role;
    const char *cert_file; /* PEM: the certificate, then any intermediate ones */
    const char *key_file;
    const char *ca_file;      /* NULL only for NET_TLS_CLIENT_PORT */
    bool require_client_cert; /* NET_TLS_CLIENT_PORT with ca_file */
    /* Name or address that others dial; the own certificate must carry it. NULL: not checked. */
    const char *own_host;
};

struct net_tls; /* any thread; reference-counted */
/* Loads and checks the files: the key fits the certificate, the certificate is in its dates and carries
 * own_host, the key file is not open to others; on the peer roles the own certificate stands the check that
 * the other members will make. When ca_file holds revocation lists (CRL) too, they are enforced. 0, or
 * -EINVAL with a sentence naming the file in *ret_error (heap). No bytes of keys in it. */
int net_tls_new(const struct net_tls_config *config, struct net_tls **ret, char **ret_error) RK_MUST_CHECK;
struct net_tls *net_tls_ref(struct net_tls *tls);
struct net_tls *net_tls_unref(struct net_tls *tls); /* NULL is fine; returns NULL */
/* Reads the same files again. On error everything stays as it was. Live connections keep what they have; new
 * handshakes use the new files. Any thread. */
int net_tls_reload(struct net_tls *tls, char **ret_error) RK_MUST_CHECK;
/* Seconds since 1970 at which the own certificate expires. */
uint64_t net_tls_expiry_s(struct net_tls *tls);

/* ---- connections (net_conn.c): one interface over TCP, TLS and Unix sockets ---- */

struct net_conn;

struct net_conn_ops {
    /* Connected, handshake done, ALPN known. Before any data. Comes for accepted connections too, right after
     * the listener's accepted(). May be NULL. */
    void (*ready)(struct net_conn *conn, void *userdata);
    /* Plaintext, valid during the call; the callee takes all of it. */
    void (*data)(struct net_conn *conn, void *userdata, struct rk_slice bytes);
    /* The out buffer has fallen to (nearly) empty after it had been over 256 KiB; may be NULL. */
    void (*drained)(struct net_conn *conn, void *userdata);
    /* The last call: whatever the reason (why is English text, "" for an orderly end of stream). conn is
     * freed afterwards. */
    void (*closed)(struct net_conn *conn, void *userdata, const char *why);
};

/* Connects to an address by name ("host:port"); resolver may be NULL when the host is an address. Resolving,
 * connecting and the handshake happen in the background, each bounded by timeout_ms in all. tls may be NULL
 * (plain TCP). The server's certificate must carry the host's name or address. The result is a connection at
 * once; failures arrive as closed(). */
struct net_conn *net_conn_connect(struct net_loop *loop, struct net_resolver *resolver, const char *address,
                                  struct net_tls *tls, uint32_t timeout_ms, const struct net_conn_ops *ops,
                                  void *userdata);
void net_conn_set_ops(struct net_conn *conn, const struct net_conn_ops *ops, void *userdata);
/* Queues bytes (copied); they leave at the end of the turn. When more than out_max bytes wait, the connection
 * is closed ("reads too slowly") at the end of the turn. Writing to a connection that is closing is a no-op.
 */
void net_conn_write(struct net_conn *conn, struct rk_slice bytes);
size_t net_conn_out_bytes(const struct net_conn *conn);
void net_conn_set_out_max(struct net_conn *conn, size_t bytes); /* default RK_CONN_OUT_BYTES_MAX */
/* Back-pressure: no more data() until resumed. Not for long: a sender whose bytes are not taken for 20
 * seconds gives the connection up (TCP_USER_TIMEOUT counts a closed window as silence). The idle limit rests
 * meanwhile. */
void net_conn_pause(struct net_conn *conn);
void net_conn_resume(struct net_conn *conn);
/* Ends the connection: closed() comes from the loop, never from inside this call. flush: first write what is
 * queued (for at most 5 seconds), then wait up to a second for the other side to end, so that a reset does
 * not overtake the last bytes; what comes in meanwhile is dropped. A connection that is not ready yet has
 * nothing to flush. The first why is kept. */
void net_conn_close(struct net_conn *conn, bool flush, const char *why);
/* Closes when no data has come for so long; 0 switches it off. */
void net_conn_set_idle_ms(struct net_conn *conn, uint32_t idle_ms);
struct net_loop *net_conn_loop(const struct net_conn *conn);

const char *net_conn_peer_text(const struct net_conn *conn); /* "192.0.2.1:4711", "unix uid=0"; for logs */
const char *net_conn_alpn(const struct net_conn *conn);      /* "h2", "http/1.1", or "" */
bool net_conn_is_tls(const struct net_conn *conn);
/* The verified certificate's names, for checks and logs: does any SAN (DNS or URI), or the CN when it has no
 * SAN, equal name? False without a certificate. */
bool net_conn_peer_has_name(const struct net_conn *conn, const char *name);
const char *net_conn_peer_subject(const struct net_conn *conn); /* "" without one */
/* Unix sockets: who connected. 0, or -ENOTSUP. */
int net_conn_peer_cred(const struct net_conn *conn, uid_t *ret_uid, gid_t *ret_gid,
                       pid_t *ret_pid) RK_MUST_CHECK;

/* ---- listeners (net_listen.c) ----------------------------------------------- */

/* Opens listening sockets, before any loop runs, so that boot can fail with a sentence. A name may give
 * several addresses (IPv4 and IPv6): one descriptor each. */
struct net_listen_set {
    int *fds;
    struct net_address *addresses;
    size_t count;
};
int net_listen_tcp(const char *address, struct net_listen_set *ret, char **ret_error) RK_MUST_CHECK;
/* ret_error is heap text, set on failure. The file stays when the set is closed.
 * Replaces a stale socket (nobody answers), refuses a live one; mode and group (gid, or (gid_t)-1) are set.
 */
int net_listen_unix(const char *path, mode_t mode, gid_t gid, struct net_listen_set *ret,
                    char **ret_error) RK_MUST_CHECK;
void net_listen_set_deinit(struct net_listen_set *set); /* closes */

/* One per loop over the same set: the kernel wakes one of them (EPOLLEXCLUSIVE). accepted() gets a connection
 * that has finished its handshake within RK_TLS_HANDSHAKE_MS (others are dropped and counted); it must call
 * net_conn_set_ops() in that call. At most RK_HANDSHAKES_MAX handshakes run at a time: then one that has
 * lasted over a second makes way, or new ones wait in the kernel's queue. Beyond RK_CONNECTIONS_MAX
 * connections on the loop new ones are closed at once. tls may be NULL and gets a reference of its own; the
 * set must outlive the listener. */
struct net_listener;
int net_listener_new(struct net_loop *loop, const struct net_listen_set *set, struct net_tls *tls,
                     void (*accepted)(void *userdata, struct net_conn *conn), void *userdata,
                     struct net_listener **ret) RK_MUST_CHECK;
/* For the log: an accepted connection ended before its handshake did. peer and why are valid during the call.
 */
void net_listener_on_refused(struct net_listener *listener,
                             void (*refused)(void *userdata, const char *peer, const char *why));
/* Stops accepting; connections stay, unfinished handshakes are dropped. */
void net_listener_free(struct net_listener *listener);

struct net_stats { /* process-wide counters; any thread */
    uint64_t accepted, refused, handshake_failed, bytes_in, bytes_out;
};
void net_stats(struct net_stats *ret);

#endif
