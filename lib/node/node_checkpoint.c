/* lib/node/node_checkpoint.c - the checkpoint thread: page write-back of both environments, and a look at the
 * free space. */
#include <errno.h>
#include <time.h>

#include "lib/node/node_internal.h"

#define POLL_MS 250
/* Even little dirt is written out after so long, so that recovery after a quiet day is short. */
#define IDLE_CHECKPOINT_US (60 * RK_USEC_PER_SEC)

static void report_space(bool was_low)
{
    if (store_space_low() && !was_low)
        RK_LOG(RK_LOG_ERROR, "space", RK_FIELDS(RK_F_U64("FREE_BYTES", store_space_free_bytes())),
               "the disk is nearly full: writes are refused until there is room again");
    else if (!store_space_low() && was_low)
        RK_LOG(RK_LOG_NOTICE, "space", RK_FIELDS(RK_F_U64("FREE_BYTES", store_space_free_bytes())),
               "there is room on the disk again: writes are accepted");
}

static int checkpoint(struct node *node, uint64_t *last_us, bool *ret_of_rows)
{
    bool idle = node_now_us(node) - *last_us >= IDLE_CHECKPOINT_US;
    uint64_t limit = node->config.checkpoint_bytes;
    bool rows = store_rows_dirty_bytes(node->rows) >= (idle ? 1 : limit);
    bool log = store_log_dirty_bytes(node->log) >= (idle ? 1 : limit);
    int r = 0;

    if (rows)
        r = store_rows_checkpoint(node->rows);
    *ret_of_rows = r != 0;
    if (r == 0 && log)
        r = store_log_checkpoint(node->log);
    if (idle)
        *last_us = node_now_us(node);
    return r;
}

void *node_checkpoint_thread(void *userdata)
{
    struct node *node = userdata;
    uint64_t last_us = node_now_us(node);
    struct timespec nap = {.tv_nsec = POLL_MS * 1000000L};
    bool of_rows = false;
    int r = 0;

    while (r == 0 && !atomic_load(&node->checkpoint_stop)) {
        bool was_low = store_space_low();

        rk_beat_busy(&node->checkpoint_beat);
        store_space_poll();
        report_space(was_low);
        r = checkpoint(node, &last_us, &of_rows);
        rk_beat_idle(&node->checkpoint_beat);
        if (r == 0)
            nanosleep(&nap, NULL);
    }
    if (r < 0 && of_rows)
        node_rows_failed(node, r);
    else if (r < 0)
        node_fail(node, "checkpoint", r);
    return NULL;
}
