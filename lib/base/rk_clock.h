/* lib/base/rk_clock.h - where time comes from. Code that can be simulated asks a clock, never the system. */
#ifndef RK_CLOCK_H
#define RK_CLOCK_H

#include "lib/base/rk_util.h"

struct rk_clock {
    uint64_t (*now_us)(void *userdata); /* monotonic microseconds, never zero */
    void *userdata;
};

static inline uint64_t rk_clock_now_us(const struct rk_clock *clock)
{
    return clock->now_us(clock->userdata);
}

/* CLOCK_BOOTTIME: goes on while the host sleeps, so a lease does not outlive a suspend. */
extern const struct rk_clock rk_clock_boottime;
/* Wall clock in milliseconds since 1970, for text and certificates only. */
uint64_t rk_clock_wall_ms(void);

#endif
