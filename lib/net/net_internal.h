/* lib/net/net_internal.h - what the files of lib/net share among themselves.
 *
 * The loop knows nothing of connections: it runs tasks. A task sits in at most one
 * of the loop's queues, and each queue has its place in the turn. Whatever is
 * queued while its queue runs waits for the next turn, so no turn is endless. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "lib/net/net.h"

/* ---- loop ------------------------------------------------------------------- */

enum net_queue {
    NET_QUEUE_READ,  /* more input is there than one turn's budget allowed */
    NET_QUEUE_FLUSH, /* something was written in this turn */
    NET_QUEUE_CLOSE, /* last: nothing else in this turn can still hold the object */
    NET_QUEUES,
};

struct net_task {
    struct rk_list link;
    void (*fn)(struct net_task *task);
};

void net_task_init(struct net_task *task, void (*fn)(struct net_task *task));
void net_task_queue(struct net_loop *loop, enum net_queue queue,
                    struct net_task *task); /* twice is harmless */
void net_task_cancel(struct net_task *task);

/* Mail of our own in the loop's box: a function to run on the loop's thread. */
#define NET_MAIL_OWN  0xffff0000u
#define NET_MAIL_POST (NET_MAIL_OWN + 1)

struct net_post {
    struct rk_mail mail;
    void (*fn)(struct net_post *post);
};

#define NET_EVENTS        256
#define NET_SCRATCH_BYTES (64u * 1024u)

struct net_loop {
    int epoll_fd;
    struct rk_mailbox mailbox;
    struct net_source mail_source;
    void (*on_mail)(void *userdata, struct rk_mail *mail);
    void *on_mail_userdata;
    struct rk_heap timers;
    bool expiring; /* timers are being fired */
    struct rk_list queues[NET_QUEUES];
    struct net_post stop_post;
    atomic_bool stop_posted;
    bool stopped;
    uint64_t now_us;
    struct rk_beat beat;
    size_t conns;
    int event_next, event_count; /* what is left of the batch in events */
    struct epoll_event events[NET_EVENTS];
    uint8_t scratch[NET_SCRATCH_BYTES]; /* input passes through here on its way to data() */
};

void net_timers_expire(struct net_loop *loop);
uint64_t net_timers_next_us(const struct net_loop *loop); /* RK_NEVER without any */
/* As net_source_add(), with the events exactly as given: level-triggered, exclusive. */
int net_source_add_raw(struct net_loop *loop, struct net_source *source, uint32_t epoll_events) RK_MUST_CHECK;

/* ---- addresses ---------------------------------------------------------------- */

/* Numeric hosts need no resolver. False when host is a name. */
bool net_address_parse(const char *host, uint16_t port, struct net_address *ret);

typedef int net_lookup(const char *host, uint16_t port, bool passive, struct net_address **ret,
                       const char **ret_why);
/* For tests, before the first query: what stands in for net_address_resolve(). */
void net_resolver_set_lookup(struct net_resolver *resolver, net_lookup *lookup);

struct net_query;
/* done comes on the loop's thread with a count and a heap array (the callee's), or a negative errno and a
 * static text. NULL when too many queries wait. */
struct net_query *
net_resolver_ask(struct net_resolver *resolver, struct net_loop *loop, const char *host, uint16_t port,
                 void (*done)(void *userdata, int result, struct net_address *addresses, const char *why),
                 void *userdata);
void net_query_cancel(
    struct net_query *query); /* done will not come; before done only, on the loop's thread */

/* ---- TLS ---------------------------------------------------------------------- */

/* net_tls_load.c: files into a context that is ready for use. 0, or -EINVAL with heap text. */
int net_tls_load(const struct net_tls_config *config, SSL_CTX **ret, uint64_t *ret_expiry_s,
                 char **ret_error) RK_MUST_CHECK;
/* A session under the newest files. host (clients only) is what the server's certificate must carry. NULL:
 * out of memory. */
SSL *net_tls_session(struct net_tls *tls, const char *host);
enum net_tls_role net_tls_role(const struct net_tls *tls);
/* Reason of the first error in OpenSSL's queue of this thread; empties the queue. Static text. */
const char *net_tls_reason(void);

/* ---- statistics ------------------------------------------------------------------ */

struct net_counters {
    atomic_ullong accepted, refused, handshake_failed, bytes_in, bytes_out;
};
extern struct net_counters net_counters;

static inline void net_count(atomic_ullong *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif
