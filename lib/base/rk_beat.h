/* lib/base/rk_beat.h - proof of life of a thread, read by the watchdog.
 *
 * A thread marks itself busy while it works on a batch and idle before it
 * sleeps; each transition counts. A thread is stuck when it has been busy on the
 * same count for longer than the watchdog allows; an idle thread with an empty
 * mailbox is healthy however long it sleeps. */
#ifndef RK_BEAT_H
#define RK_BEAT_H

#include <stdatomic.h>

#include "lib/base/rk_util.h"

struct rk_beat {
    const char *name;        /* of the thread */
    atomic_ullong count;     /* odd while busy, even while idle */
    unsigned long long seen; /* the watchdog's own memory: the count it saw last */
    uint64_t seen_us;        /* and when that count was first seen */
};

void rk_beat_busy(struct rk_beat *beat);
void rk_beat_idle(struct rk_beat *beat);
/* In the middle of long work that makes progress: still busy, but alive. */
void rk_beat_progress(struct rk_beat *beat);
/* Called by the watchdog only. Returns for how long (us) the thread has been busy without progress; 0 is
 * healthy. */
uint64_t rk_beat_stuck_us(struct rk_beat *beat, uint64_t now_us);

#endif
