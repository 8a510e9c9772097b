/* lib/net/net_timer.c - the timers of a loop: a heap ordered by the time at which they are due. */
#include "config.h"

#include "lib/net/net_internal.h"

void net_timer_init(struct net_timer *timer, struct net_loop *loop, void (*fn)(struct net_timer *timer))
{
    *timer = (struct net_timer){.loop = loop, .fn = fn};
}

/* A timer that sets itself to a time already past must not keep the same turn for ever. */
void net_timer_set(struct net_timer *timer, uint64_t at_us)
{
    struct net_loop *loop = timer->loop;
    if (loop->expiring && at_us <= loop->now_us)
        at_us = loop->now_us + 1;
    rk_heap_set(&loop->timers, &timer->item, at_us);
}

void net_timer_cancel(struct net_timer *timer)
{
    if (timer->loop)
        rk_heap_remove(&timer->loop->timers, &timer->item);
}

uint64_t net_timers_next_us(const struct net_loop *loop)
{
    struct rk_heap_item *item = rk_heap_peek(&loop->timers);
    return item ? item->key : RK_NEVER;
}

void net_timers_expire(struct net_loop *loop)
{
    struct rk_heap_item *item;
    loop->expiring = true;
    while ((item = rk_heap_peek(&loop->timers)) && item->key <= loop->now_us) {
        rk_heap_remove(&loop->timers, item);
        struct net_timer *timer = RK_CONTAINER_OF(item, struct net_timer, item);
        timer->fn(timer);
        rk_beat_progress(&loop->beat);
    }
    loop->expiring = false;
}
