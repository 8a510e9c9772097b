/* lib/net/net_resolver.c - a thread that resolves names for all loops.
 *
 * getaddrinfo() blocks for as long as the DNS servers are silent, so it runs here.
 * A query goes out through a bounded queue and comes back as mail to the loop that
 * asked. The thread remembers the last good answer for each name and falls back on
 * it when a name stops resolving: members must find each other while DNS is down.
 * That is safe because the host at the old address still has to prove its name by
 * certificate. */
#include "config.h"

#include "lib/net/net_internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "lib/base/rk_assert.h"

#define QUEUE_MAX                                                                                            \
    256u /* connects that are being made at once; more is a storm that the caller's back-off must end */
#define MEMORY_MAX 64u /* names remembered: every member twice over */

struct net_query {
    struct net_post post; /* the way back */
    struct rk_list link;  /* in the queue */
    struct rk_mailbox *reply_to;
    char *host;
    uint16_t port;
    atomic_bool cancelled;
    int result;
    struct net_address *addresses;
    const char *why;
    void (*done)(void *userdata, int result, struct net_address *addresses,
                 const char *why); /* the loop's thread only */
    void *userdata;
};

struct memory {
    struct rk_list link;
    char *host;
    uint16_t port;
    struct net_address *addresses;
    int count;
};

struct net_resolver {
    pthread_t thread;
    pthread_mutex_t mutex; /* over queue, queued and stopping */
    pthread_cond_t wake;
    struct rk_list queue;
    size_t queued;
    bool stopping;
    net_lookup *lookup;
    struct rk_list memories; /* the thread's own; the latest used first */
    size_t memory_count;
};

/* ---- memory ------------------------------------------------------------------- */

static void memory_free(struct memory *memory)
{
    rk_list_remove(&memory->link);
    free(memory->host);
    free(memory->addresses);
    free(memory);
}

static struct memory *recall(struct net_resolver *resolver, const struct net_query *query)
{
    RK_LIST_FOR_EACH (it, &resolver->memories) {
        struct memory *memory = RK_LIST_ITEM(it, struct memory, link);
        if (memory->port == query->port && strcmp(memory->host, query->host) == 0)
            return memory;
    }
    return NULL;
}

static struct net_address *copy_addresses(const struct net_address *addresses, int count)
{
    struct net_address *copy = RK_NEW_ARRAY(struct net_address, (size_t)count);
    memcpy(copy, addresses, (size_t)count * sizeof(*copy));
    return copy;
}

static void remember(struct net_resolver *resolver, const struct net_query *query)
{
    struct memory *memory = recall(resolver, query);
    if (!memory && resolver->memory_count == MEMORY_MAX)
        memory = RK_LIST_ITEM(resolver->memories.prev, struct memory, link);
    if (memory) {
        memory_free(memory);
        resolver->memory_count--;
    }
    memory = RK_NEW(struct memory);
    memory->host = rk_strdup(query->host);
    memory->port = query->port;
    memory->addresses = copy_addresses(query->addresses, query->result);
    memory->count = query->result;
    rk_list_push_front(&resolver->memories, &memory->link);
    resolver->memory_count++;
}

/* ---- the thread --------------------------------------------------------------- */

static void query_free(struct net_query *query)
{
    free(query->host);
    free(query->addresses);
    free(query);
}

static void answer(struct net_resolver *resolver, struct net_query *query)
{
    query->result = resolver->lookup(query->host, query->port, false, &query->addresses, &query->why);
    if (query->result > 0) {
        remember(resolver, query);
        return;
    }
    struct memory *memory = recall(resolver, query);
    if (memory) {
        query->addresses = copy_addresses(memory->addresses, memory->count);
        query->result = memory->count;
    }
}

static void reply(struct net_query *query)
{
    rk_assert(rk_mailbox_push_always(query->reply_to, &query->post.mail));
}

/* Waits for a query. NULL when the resolver stops. */
static struct net_query *next_query(struct net_resolver *resolver)
{
    rk_assert(pthread_mutex_lock(&resolver->mutex) == 0);
    while (rk_list_empty(&resolver->queue) && !resolver->stopping)
        pthread_cond_wait(&resolver->wake, &resolver->mutex);
    struct rk_list *link = resolver->stopping ? NULL : rk_list_pop_front(&resolver->queue);
    if (link)
        resolver->queued--;
    rk_assert(pthread_mutex_unlock(&resolver->mutex) == 0);
    return link ? RK_LIST_ITEM(link, struct net_query, link) : NULL;
}

static void *resolver_thread(void *userdata)
{
    struct net_resolver *resolver = userdata;
    struct net_query *query;
    while ((query = next_query(resolver))) {
        if (!atomic_load(&query->cancelled))
            answer(resolver, query);
        reply(query);
    }
    return NULL;
}

/* Signals belong to the main thread. */
static int start_thread(struct net_resolver *resolver)
{
    sigset_t all, before;
    sigfillset(&all);
    rk_assert(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int r = pthread_create(&resolver->thread, NULL, resolver_thread, resolver);
    rk_assert(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return -r;
}

/* ---- the face ------------------------------------------------------------------ */

int net_resolver_new(struct net_resolver **ret)
{
    struct net_resolver *resolver = RK_NEW(struct net_resolver);
    rk_list_init(&resolver->queue);
    rk_list_init(&resolver->memories);
    resolver->lookup = net_address_resolve;
    rk_assert(pthread_mutex_init(&resolver->mutex, NULL) == 0);
    rk_assert(pthread_cond_init(&resolver->wake, NULL) == 0);
    int r = start_thread(resolver);
    if (r < 0) {
        pthread_cond_destroy(&resolver->wake);
        pthread_mutex_destroy(&resolver->mutex);
        free(resolver);
        return r;
    }
    *ret = resolver;
    return 0;
}

void net_resolver_set_lookup(struct net_resolver *resolver, net_lookup *lookup)
{
    resolver->lookup = lookup;
}

/* Those who still wait get an answer too, so that no connection hangs on a resolver that is gone. */
void net_resolver_free(struct net_resolver *resolver)
{
    if (!resolver)
        return;
    rk_assert(pthread_mutex_lock(&resolver->mutex) == 0);
    resolver->stopping = true;
    pthread_cond_signal(&resolver->wake);
    rk_assert(pthread_mutex_unlock(&resolver->mutex) == 0);
    rk_assert(pthread_join(resolver->thread, NULL) == 0);
    struct rk_list *link;
    while ((link = rk_list_pop_front(&resolver->queue))) {
        struct net_query *query = RK_LIST_ITEM(link, struct net_query, link);
        query->result = -ECANCELED;
        query->why = "the daemon is stopping";
        reply(query);
    }
    while (!rk_list_empty(&resolver->memories))
        memory_free(RK_LIST_ITEM(resolver->memories.next, struct memory, link));
    pthread_cond_destroy(&resolver->wake);
    pthread_mutex_destroy(&resolver->mutex);
    free(resolver);
}

/* Back on the loop's thread. A cancelled query has no owner any more. */
static void on_reply(struct net_post *post)
{
    struct net_query *query = RK_CONTAINER_OF(post, struct net_query, post);
    if (!atomic_load(&query->cancelled)) {
        struct net_address *addresses = query->addresses;
        query->addresses = NULL;
        query->done(query->userdata, query->result, addresses, query->why);
    }
    query_free(query);
}

struct net_query *
net_resolver_ask(struct net_resolver *resolver, struct net_loop *loop, const char *host, uint16_t port,
                 void (*done)(void *userdata, int result, struct net_address *addresses, const char *why),
                 void *userdata)
{
    struct net_query *query = RK_NEW(struct net_query);
    query->post = (struct net_post){.mail.kind = NET_MAIL_POST, .fn = on_reply};
    query->reply_to = &loop->mailbox;
    query->host = rk_strdup(host);
    query->port = port;
    query->done = done;
    query->userdata = userdata;
    rk_assert(pthread_mutex_lock(&resolver->mutex) == 0);
    bool ok = resolver->queued < QUEUE_MAX;
    if (ok) {
        rk_list_push_back(&resolver->queue, &query->link);
        resolver->queued++;
        pthread_cond_signal(&resolver->wake);
    }
    rk_assert(pthread_mutex_unlock(&resolver->mutex) == 0);
    if (!ok) {
        query_free(query);
        return NULL;
    }
    return query;
}

void net_query_cancel(struct net_query *query)
{
    atomic_store(&query->cancelled, true);
}
