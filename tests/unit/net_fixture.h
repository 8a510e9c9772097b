/* tests/unit/net_fixture.h - what the tests of lib/net share: a loop that runs until something is true, ends
 * of connections that remember what happened to them, a server, and a foreign TLS client that may misbehave.
 */
#ifndef NET_FIXTURE_H
#define NET_FIXTURE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/net/net_conn_internal.h"
#include "tests/unit/net_certs.h"

#define RUN_UNTIL(loop, condition)                                                                           \
    do {                                                                                                     \
        uint64_t run_deadline_us = run_until_start(loop);                                                    \
        while (!(condition))                                                                                 \
            run_until_turn(loop, run_deadline_us, #condition);                                               \
    } while (0)

uint64_t run_until_start(struct net_loop *loop);
void run_until_turn(struct net_loop *loop, uint64_t deadline_us, const char *what);
void run_for_ms(struct net_loop *loop, uint64_t ms);

struct end {
    struct net_conn *conn; /* NULL once closed */
    bool ready, closed, echo;
    unsigned data_calls, drained_calls;
    bool close_in_ready, close_in_data, close_in_drained;
    size_t largest; /* bytes in one data() */
    char why[256];
    struct rk_buf in;
};

extern const struct net_conn_ops end_ops;
void end_deinit(struct end *end);

struct server {
    struct net_loop *loop;
    struct net_listen_set set;
    struct net_listener *listener;
    char address[64];
    uint16_t port;
    bool echo;
    const char *greeting;
    struct end ends[128];
    unsigned count;
    unsigned refused;
    char refused_why[256], refused_peer[64];
};

void server_init(struct server *server, struct net_loop *loop, struct net_tls *tls);
void server_init_on(struct server *server, struct net_loop *loop, struct net_listen_set set,
                    struct net_tls *tls);
void server_stop(struct server *server); /* closes the connections; turns the loop until they are gone */

struct net_tls *tls_of(const struct net_certs *certs, enum net_tls_role role, const char *name,
                       const char *ca);

/* A blocking client on a thread of its own, straight on OpenSSL. */
struct foreign {
    uint16_t port;
    const char *ca, *cert, *key; /* files, or NULL */
    int max_version;             /* 0: any */
    const char *ciphers;         /* TLS 1.2 */
    const char *alpn;            /* wire format, or NULL */
    bool connected, finished;    /* the handshake; and then something came from the server */
    char alpn_got[16], server_cn[64], cipher[64];
    char got[64]; /* what the server said first */
    char error[256];
    atomic_bool done;
    pthread_t thread;
};
void foreign_start(struct foreign *foreign);
void foreign_join(struct foreign *foreign);

int tcp_client(uint16_t port); /* blocking, plain */

#endif
