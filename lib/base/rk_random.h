/* lib/base/rk_random.h - random numbers: seeded and repeatable, or from the kernel. */
#ifndef RK_RANDOM_H
#define RK_RANDOM_H

#include "lib/base/rk_util.h"

/* splitmix64: tiny state, good enough for jitter and simulations, never for secrets. */
struct rk_random {
    uint64_t state;
};

static inline uint64_t rk_random_next(struct rk_random *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

/* Uniform enough in [0, bound); bound > 0. */
static inline uint64_t rk_random_below(struct rk_random *r, uint64_t bound)
{
    return rk_random_next(r) % bound;
}

/* 64 bits from getrandom(2); never zero, so it can serve as an id. Aborts when the kernel has none. */
uint64_t rk_random_id(void);

#endif
