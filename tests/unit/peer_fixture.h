/* tests/unit/peer_fixture.h - hosts of a cluster in one process: real loops, sockets and TLS, and a node that
 * only remembers what it is told. */
#ifndef PEER_FIXTURE_H
#define PEER_FIXTURE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/base/rk_clock.h"
#include "lib/peer/peer_internal.h"
#include "tests/unit/net_certs.h"

#define CLUSTER 0xc1u
#define LOOPS   2

/* Polls, as everything happens on other threads. */
#define UNTIL(condition)                                                                                     \
    do {                                                                                                     \
        uint64_t until_us = rk_clock_now_us(&rk_clock_boottime) + 20 * RK_USEC_PER_SEC;                      \
        while (!(condition)) {                                                                               \
            if (rk_clock_now_us(&rk_clock_boottime) > until_us)                                              \
                fail_msg("never happened: %s", #condition);                                                  \
            sleep_ms(1);                                                                                     \
        }                                                                                                    \
    } while (0)
void sleep_ms(unsigned ms);

extern struct net_certs
    peer_certs; /* "ca", and one "n<id>" for each of the first ids; see peer_certs_init() */
int peer_certs_init(void **state);
int peer_certs_deinit(void **state);

struct host;
struct host_worker {
    struct host *host;
    size_t index;
    struct net_loop *loop;
    struct net_listener *listener;
    pthread_t thread;
    struct rk_mail stop;
};

struct host_link { /* as told by link_state */
    uint64_t peer;
    enum node_link_state state;
    unsigned told;
    char why[512];
};

struct host {
    uint64_t id;
    struct node_directory directory;
    struct net_tls *tls_server, *tls_client;
    struct net_listen_set set;
    char address[64];
    struct host_worker workers[LOOPS];
    struct net_loop *loops[LOOPS];
    struct peer_net *net;
    struct node_transport transport;

    pthread_mutex_t mutex; /* for what the inlet fills in */
    atomic_bool refuse;    /* receive() returns false */
    atomic_bool refuse_offers;
    struct rk_list received;
    size_t received_count;
    atomic_size_t receive_calls;
    struct host_link links[8];
    struct rk_list chunks; /* of node_chunk, held until the test lets them go */
    size_t chunk_count;
    atomic_size_t chunk_count_max, aborts, offers;
    atomic_uint sent_ok, sent_failed;
};

struct host_options {
    const char *cert; /* NULL: its own */
    uint16_t port;    /* 0: any */
    bool no_tls_client;
    bool short_silence; /* hello and silence of 300 ms, keepalives each 50 ms */
    bool short_stall;   /* a snapshot that is not taken is given up after 300 ms */
    uint64_t upload_bytes_per_s;
};

/* A host that listens; a member of nothing until host_join(). */
void host_init(struct host *host, uint64_t id, const struct host_options *options);
void host_deinit(struct host *host);
uint16_t host_port(const struct host *host);
/* Enters other into host's directory; host_announce() makes it count. */
void host_add(struct host *host, const struct host *other);
void host_drop(struct host *host, uint64_t id);
void host_announce(struct host *host); /* waits until every loop works by it; nothing may wait in received */
void hosts_join(struct host *a, struct host *b); /* each other's members, announced, connected */

enum node_link_state host_link_state(struct host *host, uint64_t peer); /* 0: nothing was told */
bool host_link_why(struct host *host, uint64_t peer, const char *part);
unsigned host_link_told(struct host *host, uint64_t peer);
size_t host_received(struct host *host);
struct node_message *host_take(struct host *host); /* the oldest received; waits for it */
void host_send(struct host *host, struct node_message *message);
struct node_message *new_call(uint64_t peer, uint64_t id, uint32_t kind, const char *body);
struct node_message *new_reply(const struct node_message *call, const char *body);
bool body_has(const struct node_message *message, const char *part);

/* Lets go of the oldest chunk that is held, as taken (0), installed (1) or refused. False: none is held. */
bool host_release_chunk(struct host *host, int result);
size_t host_held(struct host *host);

/* ---- a source of snapshots, on a thread of its own -------------------------------------- */

struct source {
    struct rk_mailbox box;
    pthread_t thread;
    struct rk_mail stop;
    size_t total, chunk; /* bytes */
    atomic_size_t produced;
    atomic_uint open;  /* streams that were not freed yet */
    int fail_at_chunk; /* 0: never */
};
void source_init(struct source *source, size_t total, size_t chunk);
void source_deinit(struct source *source);
struct node_stream *source_open(struct source *source, uint64_t peer, uint64_t index);

/* ---- a client that may say anything ------------------------------------------------------ */

struct raw {
    struct net_loop *loop;
    struct net_conn *conn;
    bool ready, closed;
    struct rk_buf in;
    char why[256];
};
void raw_init(struct raw *raw, const struct host *to, struct net_tls *tls);
void raw_deinit(struct raw *raw);
void raw_turn(struct raw *raw);
void raw_hello(struct raw *raw, const struct peer_hello *hello);
/* The WELCOME that has come; waits for it. */
struct peer_welcome raw_welcome(struct raw *raw);
#define RAW_UNTIL(raw, condition)                                                                            \
    do {                                                                                                     \
        uint64_t until_us = rk_clock_now_us(&rk_clock_boottime) + 20 * RK_USEC_PER_SEC;                      \
        while (!(condition)) {                                                                               \
            if (rk_clock_now_us(&rk_clock_boottime) > until_us)                                              \
                fail_msg("never happened: %s", #condition);                                                  \
            raw_turn(raw);                                                                                   \
        }                                                                                                    \
    } while (0)

#endif
