/* daemon/watchdog.c - what the service manager hears: STATUS= once a second, WATCHDOG=1 only while all
 * threads make progress. */
#include <systemd/sd-daemon.h>

#include "daemon/daemon.h"

#define PERIOD_US RK_USEC_PER_SEC

static struct {
    uint64_t timeout_us; /* WatchdogSec=; 0 for none */
    char status[NODE_TEXT_BYTES];
    bool complained;
} state;

/* The thread that has been busy for longest without progress. */
static uint64_t worst(struct daemon *daemon, uint64_t now_us, const char **ret_name)
{
    struct rk_beat **beats;
    size_t count = node_beats(daemon->node, &beats);
    uint64_t most_us = 0;

    for (size_t i = 0; i < count + daemon->worker_count; i++) {
        struct rk_beat *beat = i < count ? beats[i] : net_loop_beat(daemon->workers[i - count].loop);
        uint64_t stuck_us = rk_beat_stuck_us(beat, now_us);

        if (stuck_us > most_us) {
            most_us = stuck_us;
            *ret_name = beat->name ? beat->name : "worker";
        }
    }
    return most_us;
}

static void feed(struct daemon *daemon)
{
    const char *name = "";
    uint64_t now_us = rk_clock_now_us(&rk_clock_boottime);
    uint64_t stuck_us = worst(daemon, now_us, &name);

    if (state.timeout_us == 0 || stuck_us < state.timeout_us / 2) {
        state.complained = false;
        if (state.timeout_us > 0)
            sd_notify(0, "WATCHDOG=1");
    } else if (!state.complained) {
        state.complained = true;
        RK_LOG(RK_LOG_ERROR, "watchdog", RK_FIELDS(RK_F_U64("STUCK_MS", stuck_us / RK_USEC_PER_MSEC)),
               "the thread %s makes no progress: the service manager will restart this host", name);
    }
}

static void tell_status(struct daemon *daemon)
{
    char status[NODE_TEXT_BYTES];

    node_summary(daemon->node, status, sizeof(status));
    if (strcmp(status, state.status) == 0)
        return;
    memcpy(state.status, status, sizeof(status));
    sd_notifyf(0, "STATUS=%s", status);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct daemon *daemon = userdata;

    feed(daemon);
    tell_status(daemon);
    sd_event_source_set_time(source, usec + PERIOD_US);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int watchdog_start(struct daemon *daemon)
{
    uint64_t now_us;
    int r;

    if (sd_watchdog_enabled(0, &state.timeout_us) <= 0)
        state.timeout_us = 0;
    r = sd_event_now(daemon->event, CLOCK_BOOTTIME, &now_us);
    if (r < 0)
        return r;
    r = sd_event_add_time(daemon->event, NULL, CLOCK_BOOTTIME, now_us, 50 * RK_USEC_PER_MSEC, on_timer,
                          daemon);
    return r < 0 ? r : 0;
}
