/* tests/unit/node_fixture.h - clusters in one process: real nodes, real stores, real threads, and a transport
 * of memory.
 *
 * Messages are copied from node to node as a wire would: nothing is shared, and what cannot be encoded does
 * not arrive. Links can be cut, messages lost. A link that is cut is reported as down, a call over it as
 * unreachable, a host that was removed is told so by whoever it speaks to: as lib/peer does it. */
#ifndef NODE_FIXTURE_H
#define NODE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/rk_map.h"
#include "lib/node/node.h"

#define WORLD_HOSTS 8u
#define WAIT_US     (20 * RK_USEC_PER_SEC)

struct world;
struct upload;

struct host {
    struct world *world;
    size_t number; /* 0 .. WORLD_HOSTS - 1; called node1 .. node8, at node1:2380 .. */
    char name[16], address[32], url[32];
    char *path;
    struct node *node;
    struct node_inlet inlet;
    struct node_directory directory; /* under world->mutex, as inlet and running */
    bool running;
    size_t uploads; /* snapshots of its on their way */
    size_t snapshots_in;
    atomic_uint failures; /* times that fatal() was called */
};

struct world {
    pthread_mutex_t mutex;
    struct host hosts[WORLD_HOSTS];
    bool cut[WORLD_HOSTS][WORLD_HOSTS];
    bool no_snapshots;       /* offers are refused by the network */
    unsigned refused_offers; /* so far */
    bool hold_snapshots;     /* the next one stays on its way until world_release() */
    struct upload *held;
    unsigned cut_at_chunk; /* when so many more chunks have arrived the link is cut; 0: never */
    bool hold_calls;       /* calls between members vanish on their way, links up */
    unsigned loss_percent; /* of raft messages */
    bool (*spoil)(struct node_message *m); /* changes a raft message on its way; false: lose it */
    uint32_t random;
    char *path;
    struct rk_mailbox box; /* of the thread that moves snapshots */
    struct rk_mail stop;
    pthread_t thread;
    struct rk_map tokens; /* of one-shot calls: token -> struct oneshot */
    uint64_t next_token;
    struct rk_mailbox replies; /* calls of the test come back here */
    struct rk_list taken;      /* ... and wait here for take() */
    size_t asked, answered;
    struct node_config tune; /* numbers that hosts start with; zero: the fixture's own */
    char *initial[WORLD_HOSTS];
    uint32_t initial_count;
};

/* Changes how the network behaves, under its threads' eyes. */
#define WORLD_SET(world, field, value)                                                                       \
    do {                                                                                                     \
        pthread_mutex_lock(&(world)->mutex);                                                                 \
        (world)->field = (value);                                                                            \
        pthread_mutex_unlock(&(world)->mutex);                                                               \
    } while (0)

void world_init(struct world *world);
/* Stops all hosts; every call asked must have come back. */
void world_deinit(struct world *world);
/* 0, or what node_open() said; *ret_error may be NULL. */
int host_open(struct world *world, size_t number, char **ret_error);
int host_run(struct world *world, size_t number); /* starts one that is open: what node_start() said */
struct host *host_start(struct world *world, size_t number); /* opens if need be; must work */
void host_stop(struct host *host);                           /* in order: node_stop, node_close */
void host_wipe(struct host *host);                           /* removes its directory; stopped */
/* hosts 0 .. count - 1 start from initial_members; returns the leader */
struct host *world_cluster(struct world *world, size_t count);
void world_cut(struct world *world, size_t a, size_t b, bool cut);
void world_isolate(struct world *world, size_t number, bool cut);
void world_await_held(struct world *world); /* until a snapshot is on its way and held there */
void world_release(struct world *world);
void host_tell_removed(struct host *host, uint64_t peer);

/* ---- calls: ask() gives one away, take() waits for the next that comes back, call() does both ---- */

void ask(struct host *host, struct node_call *call);
struct node_call *take(struct world *world);
struct node_call *new_call(enum node_call_kind kind, const char *body);
struct node_call *new_put(struct host *host, const char *key, const char *value);
struct node_call *new_get(const char *key, enum node_read_level level);
struct node_call *call(struct host *host, struct node_call *call);
/* Asks and expects this outcome; the text is left in last_text. */
void expect(struct host *host, struct node_call *call, enum node_outcome outcome);
extern char last_text[NODE_TEXT_BYTES];
void must_put(struct host *host, const char *key,
              const char *value); /* tries again while there is no leader */
/* The value of a key as a read says it: "" when it is not there. */
const char *must_get(struct host *host, const char *key, enum node_read_level level);
/* The value that an answered read holds; "" when there is none. */
const char *value_of(const struct node_call *call);

struct node_status *status_of(struct host *host); /* free() it */
struct host *wait_leader(struct world *world); /* one that is ready, and whom no running host contradicts */
struct host *wait_other_leader(struct world *world, const struct host *old);
/* Polls until cond(host, arg). */
void wait_for(struct host *host, bool (*cond)(const struct node_status *status, uint64_t arg), uint64_t arg);
bool status_applied(const struct node_status *status, uint64_t index); /* at least */
bool status_members(const struct node_status *status, uint64_t count);
bool status_voters(const struct node_status *status, uint64_t count);
bool status_join(const struct node_status *status, uint64_t state);
bool status_removed(const struct node_status *status, uint64_t unused);
bool status_base(const struct node_status *status, uint64_t index); /* at least */
bool status_cut(const struct node_status *status, uint64_t unused); /* log base at or over 2 */
uint64_t id_of(struct host *host);
/* Polls until the host has installed so many snapshots; it must not become more. */
void wait_snapshots(struct host *host, size_t count);
uint64_t now_us(void);
void nap_ms(unsigned ms);

#endif
