/* lib/base/rk_clock.c - the system's clocks. */
#include "lib/base/rk_clock.h"

#include <time.h>

#include "lib/base/rk_assert.h"

static uint64_t read_us(clockid_t id)
{
    struct timespec ts;
    rk_assert(clock_gettime(id, &ts) == 0);
    return (uint64_t)ts.tv_sec * RK_USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* Zero means "no time" in many structures, so the first microsecond after boot is called one. */
static uint64_t boottime_us(void *userdata RK_UNUSED)
{
    return rk_max_u64(read_us(CLOCK_BOOTTIME), 1);
}

const struct rk_clock rk_clock_boottime = {.now_us = boottime_us};

uint64_t rk_clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / RK_USEC_PER_MSEC;
}
