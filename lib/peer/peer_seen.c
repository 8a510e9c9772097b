/* lib/peer/peer_seen.c - what is known of members, whatever the loop. Any thread, under the net's mutex. */
#include "lib/peer/peer_internal.h"

#include "lib/base/rk_assert.h"
#include "lib/base/rk_crc32c.h"

#define REFUSAL_QUIET_US (600 * RK_USEC_PER_SEC)

static void lock(struct peer_net *net)
{
    rk_assert(pthread_mutex_lock(&net->mutex) == 0);
}

static void unlock(struct peer_net *net)
{
    rk_assert(pthread_mutex_unlock(&net->mutex) == 0);
}

/* Holds the mutex. Ids come from verified members only, so there are not many of them. */
static struct peer_seen *get(struct peer_net *net, uint64_t id)
{
    struct peer_seen *seen = rk_map_get(&net->seen, id);
    if (!seen) {
        seen = RK_NEW(struct peer_seen);
        rk_map_put(&net->seen, id, seen);
    }
    return seen;
}

bool peer_seen_incarnation(struct peer_net *net, uint64_t id, uint64_t incarnation)
{
    lock(net);
    struct peer_seen *seen = get(net, id);
    bool ok = incarnation >= seen->incarnation;
    if (ok)
        seen->incarnation = incarnation;
    unlock(net);
    return ok;
}

uint64_t peer_seen_enter(struct peer_net *net, uint64_t id, uint64_t token)
{
    lock(net);
    struct peer_seen *seen = get(net, id);
    uint64_t old = seen->token;
    seen->token = token;
    unlock(net);
    return old;
}

void peer_seen_leave(struct peer_net *net, uint64_t id, uint64_t token)
{
    lock(net);
    struct peer_seen *seen = get(net, id);
    if (seen->token == token)
        seen->token = 0;
    unlock(net);
}

void peer_seen_set_up(struct peer_net *net, uint64_t id, bool up)
{
    lock(net);
    get(net, id)->up = up;
    unlock(net);
}

bool peer_net_link_up(struct peer_net *net, uint64_t peer)
{
    lock(net);
    struct peer_seen *seen = rk_map_get(&net->seen, peer);
    bool up = seen && seen->up;
    unlock(net);
    return up;
}

/* The texts are few, so the ring forgets only under a flood of made-up ids, which then costs lines. */
bool peer_seen_refusal(struct peer_net *net, uint64_t id, const char *why, uint64_t now_us)
{
    uint64_t key = id ^ ((uint64_t)rk_crc32c(0, rk_slice_str(why)) << 32);
    bool known = false;
    lock(net);
    for (size_t i = 0; i < PEER_REFUSALS; i++) {
        struct peer_refusal *refusal = &net->refusals[i];
        known = known ||
                (refusal->key == key && refusal->at_us != 0 && now_us < refusal->at_us + REFUSAL_QUIET_US);
    }
    if (!known) {
        net->refusals[net->next_refusal] = (struct peer_refusal){.key = key, .at_us = now_us};
        net->next_refusal = (net->next_refusal + 1) % PEER_REFUSALS;
    }
    unlock(net);
    return !known;
}

void peer_seen_deinit(struct peer_net *net)
{
    struct rk_map_slot *slot;
    size_t cursor = 0;
    while ((slot = rk_map_next(&net->seen, &cursor)))
        free(slot->value);
    rk_map_deinit(&net->seen);
}
