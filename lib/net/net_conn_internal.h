/* lib/net/net_conn_internal.h - a connection's inside, for the net_conn*.c files and the listener.
 *
 *   RESOLVING -> CONNECTING -> HANDSHAKING -> OPEN -> FLUSHING -> LINGERING -> CLOSED
 *   (a name)     (TCP)         (TLS)                  (out drains) (their end)  (last task)
 *
 * States are only left forwards, any of them straight to CLOSED; which of the first
 * three occur depends on the kind. CLOSED is entered by net_conn_fail() alone, which
 * queues the close task: it makes the last callback and frees. So every function here
 * may still touch the connection after a callback, and must look at its state. */
#ifndef NET_CONN_INTERNAL_H
#define NET_CONN_INTERNAL_H

#include "lib/net/net_internal.h"

/* Above it a writer should wait for drained(); (nearly) empty is what fits one TLS record. */
#define NET_CONN_HIGH_BYTES (256u * 1024u)
#define NET_CONN_LOW_BYTES  (16u * 1024u)

enum net_conn_state {
    NET_CONN_NEW,
    NET_CONN_RESOLVING,
    NET_CONN_CONNECTING,
    NET_CONN_HANDSHAKING,
    NET_CONN_OPEN,
    NET_CONN_FLUSHING,
    NET_CONN_LINGERING,
    NET_CONN_CLOSED,
};

struct net_dial { /* what only a connection that is being made needs */
    char *host;
    struct net_query *query;
    struct net_address *addresses;
    size_t count, next;
    uint32_t timeout_ms;
    uint64_t deadline_us;
    char *error; /* why the address before this one failed */
};

struct net_conn {
    struct net_loop *loop;
    struct net_source source;
    enum net_conn_state state;
    const struct net_conn_ops *ops;
    void *userdata;

    /* What epoll said and EAGAIN has not taken back: edges come once. */
    bool readable, writable;
    bool read_needs_write, write_needs_read; /* TLS may turn either way round */
    bool paused;
    bool eof;        /* the other side has ended its stream */
    bool high;       /* drained() is owed */
    bool tls_broken; /* after a fatal error OpenSSL must not be asked to say goodbye */
    bool goodbye;    /* close_notify and FIN are out */

    struct rk_buf out;
    size_t out_max;
    struct net_task read_task, flush_task, close_task;
    struct net_timer timer; /* connecting and handshake: deadline; open: idle; closing: its bound */
    uint32_t idle_ms;
    uint64_t last_data_us;

    struct net_tls *tls;
    SSL *ssl;
    struct net_dial *dial;
    struct net_listener *listener; /* until accepted() */
    struct rk_list handshake_link; /* in the listener, oldest first */
    uint64_t handshake_us;         /* since when */
    char *why;                     /* of the end */
    char *bad_cert;                /* "text (peer CN x)" of a certificate that did not verify */
    char *subject;                 /* NULL until asked */
    struct net_address address;    /* of the other side */
    char *peer_text;
    char alpn[16];
};

/* net_conn.c */
struct net_conn *net_conn_new(struct net_loop *loop);
/* For the listener: fd is connected. Takes fd. Goes to the handshake or, without tls, is open at once. */
struct net_conn *net_conn_adopt(struct net_loop *loop, int fd, const struct net_address *address,
                                struct net_listener *listener, struct net_tls *tls, uint32_t handshake_ms);
/* Straight to CLOSED. why is heap text and becomes the connection's; the first one is kept. */
void net_conn_fail(struct net_conn *conn, char *why);
void net_conn_opened(struct net_conn *conn); /* ready for data: tells the owner */
void net_conn_source_fn(struct net_source *source, uint32_t events);

/* net_conn_connect.c */
void net_dial_free(struct net_dial *dial); /* cancels a query */
void net_conn_connect_event(struct net_conn *conn);
void net_conn_connect_timeout(struct net_conn *conn);
void net_socket_setup_tcp(int fd); /* no delay, dead peers noticed */

/* net_conn_io.c */
void net_conn_read(struct net_conn *conn);  /* one turn's worth */
void net_conn_flush(struct net_conn *conn); /* likewise */
bool net_conn_can_read(const struct net_conn *conn);
bool net_conn_can_write(const struct net_conn *conn);

/* net_conn_tls.c */
enum net_io {
    NET_IO_OK,
    NET_IO_AGAIN,
    NET_IO_EOF,
    NET_IO_FAILED, /* the connection is CLOSED */
};
void net_conn_tls_start(struct net_conn *conn, const char *host); /* host: of a client */
void net_conn_tls_handshake(struct net_conn *conn);
enum net_io net_conn_tls_read(struct net_conn *conn, uint8_t *to, size_t size, size_t *ret_count);
enum net_io net_conn_tls_write(struct net_conn *conn, struct rk_slice bytes, size_t *ret_count);
/* Tells the other side that nothing more will come. False: the socket is full, try again when writable. */
bool net_conn_tls_goodbye(struct net_conn *conn);

/* net_listener.c */
void net_listener_handshake_over(
    struct net_conn *conn);                        /* its place is free again; harmless when it had none */
void net_listener_accepted(struct net_conn *conn); /* hands it to the owner */
void net_listener_refused(struct net_conn *conn);  /* it ended before that */
void net_listener_set_limits(struct net_listener *listener, uint32_t handshake_ms,
                             size_t handshakes_max); /* for tests */

#endif
