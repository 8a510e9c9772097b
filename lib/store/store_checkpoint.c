/* lib/store/store_checkpoint.c - page write-back that does not stall the owner of the environment.
 *
 * A checkpoint writes every dirty page, then a record that says so; recovery
 * starts there, and log files before it can go. Left to itself that is one burst.
 * So the pages are written first, in slices of about half a MiB with a pause, and
 * the kernel is asked to start on each slice at once; the checkpoint proper finds
 * only the pages that were touched meanwhile. The owner waits for one page's
 * latch at most. */
#include "config.h" /* _GNU_SOURCE */
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "lib/store/store_internal.h"

#define SLICE_PAGES 128u
#define PAUSE_US    1000u

static void pause_between_slices(void)
{
    const struct timespec ts = {.tv_nsec = PAUSE_US * 1000L};
    nanosleep(&ts, NULL);
}

/* By how many percent of the pool a slice may raise the share of clean pages. */
static int slice_percent(struct store_env *env, int *ret_percent)
{
    DB_MPOOL_STAT *stat;
    int r = env->bdb->memp_stat(env->bdb, &stat, NULL, 0);
    if (r != 0)
        return r;
    uint64_t percent = stat->st_pages > 0 ? SLICE_PAGES * 100ull / stat->st_pages : 100;
    *ret_percent = percent < 1 ? 1 : percent > 100 ? 100 : (int)percent;
    free(stat);
    return 0;
}

static int write_slices(struct store_env *env)
{
    int step = 1;
    int r = slice_percent(env, &step);
    RK_CLEANUP(rk_closep) int fd = open(env->db_path, O_RDONLY | O_CLOEXEC);
    for (int percent = step; r == 0 && percent <= 100; percent += step) {
        int wrote = 0;
        r = env->bdb->memp_trickle(env->bdb, percent, &wrote);
        if (r == 0 && wrote > 0 && fd >= 0) {
            /* Only a start: its result does not matter, as the checkpoint's own flush follows. */
            (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
            pause_between_slices();
        }
    }
    return r;
}

int store_env_checkpoint(struct store_env *env)
{
    int r = store_env_failed(env);
    if (r < 0)
        return r;
    int answer = write_slices(env);
    answer = answer != 0 ? answer : env->bdb->txn_checkpoint(env->bdb, 0, 0, 0);
    answer = answer != 0 ? answer : env->bdb->log_archive(env->bdb, NULL, DB_ARCH_REMOVE);
    return store_env_result(env, answer);
}

uint64_t store_env_dirty_bytes(struct store_env *env)
{
    DB_LOG_STAT *stat;
    if (store_env_failed(env) < 0 || env->bdb->log_stat(env->bdb, &stat, 0) != 0)
        return 0;
    uint64_t bytes = ((uint64_t)stat->st_wc_mbytes << 20) + stat->st_wc_bytes;
    free(stat);
    return bytes;
}
