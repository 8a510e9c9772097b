/* lib/base/rk_beat.c - proof of life of a thread, read by the watchdog. */
#include "lib/base/rk_beat.h"

/* Only the owning thread writes the count, so a load and a store are enough. */
static void add(struct rk_beat *beat, unsigned long long n)
{
    unsigned long long count = atomic_load_explicit(&beat->count, memory_order_relaxed);
    atomic_store_explicit(&beat->count, count + n, memory_order_release);
}

static bool busy(const struct rk_beat *beat)
{
    return (atomic_load_explicit(&beat->count, memory_order_relaxed) & 1) != 0;
}

void rk_beat_busy(struct rk_beat *beat)
{
    if (!busy(beat))
        add(beat, 1);
}

void rk_beat_idle(struct rk_beat *beat)
{
    if (busy(beat))
        add(beat, 1);
}

void rk_beat_progress(struct rk_beat *beat)
{
    if (busy(beat))
        add(beat, 2);
}

uint64_t rk_beat_stuck_us(struct rk_beat *beat, uint64_t now_us)
{
    unsigned long long count = atomic_load_explicit(&beat->count, memory_order_acquire);
    if (count != beat->seen || (count & 1) == 0) {
        beat->seen = count;
        beat->seen_us = now_us;
        return 0;
    }
    return now_us > beat->seen_us ? now_us - beat->seen_us : 0;
}
