/* lib/store/store_repair.c - a raft log that has lost entries which may have been acknowledged.
 *
 * Berkeley DB's recovery brings back whole transactions or none, so an entry whose CRC is
 * wrong was never a torn write: it is rot, wherever it stands, and the same goes for a log
 * that ends before the mark, or cannot be opened. What is lost comes again from the leader;
 * but until then this host must not vote, for a majority may have counted on its copy
 * (Protocol-Aware Recovery, FAST'18). The file "repair" says so from before the first byte
 * is removed until the log is complete again. It keeps the vote, too, since the log's own
 * copy may be among what is lost; the mark has it, durably, from before the vote was ever
 * told (store_mark_vote()).
 *
 * The file: u32 magic, u64 term, u64 voted for, u32 crc32c of what is before, big endian. */
#include "config.h" /* _GNU_SOURCE */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/rk_crc32c.h"
#include "lib/base/rk_file.h"
#include "lib/base/rk_wire.h"
#include "lib/store/store_internal.h"

#define MAGIC 0x524b5250u /* "RKRP" */
#define BYTES 24u

static char *path_in(const struct store_dir *dir, const char *name)
{
    return rk_asprintf("%s/%s", store_dir_path(dir), name);
}

int store_repair_begin(struct store_dir *dir, const struct store_vote *vote)
{
    RK_CLEANUP(rk_freep) char *path = path_in(dir, STORE_REPAIR_MARKER);
    uint8_t bytes[BYTES];
    rk_store_u32(bytes, MAGIC);
    rk_store_u64(bytes + 4, vote->term);
    rk_store_u64(bytes + 12, vote->voted_for);
    rk_store_u32(bytes + 20, rk_crc32c(0, rk_slice(bytes, 20)));
    int r = rk_file_replace(path, rk_slice(bytes, BYTES), 0600);
    if ((r == -ENOSPC || r == -EDQUOT) && store_space_release())
        r = rk_file_replace(path, rk_slice(bytes, BYTES), 0600);
    return r;
}

int store_repair_read(struct store_dir *dir, struct store_vote *ret)
{
    RK_CLEANUP(rk_freep) char *path = path_in(dir, STORE_REPAIR_MARKER);
    RK_CLEANUP(rk_buf_deinit) struct rk_buf file = {0};
    int r = rk_file_read(path, BYTES, &file);
    if (r == -ENOENT)
        return STORE_E_NOT_FOUND;
    if (r < 0 && r != -EFBIG)
        return r;
    const uint8_t *p = file.data + file.start;
    if (r == -EFBIG || file.len != BYTES || rk_load_u32(p) != MAGIC ||
        rk_load_u32(p + 20) != rk_crc32c(0, rk_slice(p, 20)))
        return STORE_E_CORRUPT;
    *ret = (struct store_vote){.term = rk_load_u64(p + 4), .voted_for = rk_load_u64(p + 12)};
    return 0;
}

int store_repair_end(struct store_dir *dir)
{
    int r = store_dir_remove(dir, STORE_REPAIR_MARKER);
    return r == 0 ? store_dir_remove(dir, STORE_LOG_DAMAGED) : r;
}

/* The vote that the mark knows, merged with the one of an earlier repair that has not ended. */
static int latest_vote(struct store_dir *dir, uint32_t group, struct store_vote *ret, char **ret_error)
{
    RK_CLEANUP(rk_freep) char *path = path_in(dir, "mark");
    struct store_mark *mark;
    size_t cursor = 0;
    int r = store_mark_open(path, &mark, ret_error);
    if (r != 0)
        return r;
    *ret = (struct store_vote){0};
    r = store_repair_read(dir, ret);
    for (const struct store_mark_item *item = store_mark_next(mark, &cursor); item;
         item = store_mark_next(mark, &cursor))
        if (item->group == group && item->vote.term >= ret->term)
            *ret = item->vote;
    store_mark_close(mark, true);
    ret->term = rk_max_u64(ret->term, 1); /* term 0 says something else */
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

/* The mark goes last: as long as it is there, a log that is missing or short is noticed. */
int store_log_set_aside(struct store_dir *dir, uint32_t group, char **ret_error)
{
    RK_CLEANUP(rk_freep) char *from = path_in(dir, "log");
    RK_CLEANUP(rk_freep) char *to = path_in(dir, STORE_LOG_DAMAGED);
    struct store_vote vote;
    int r = latest_vote(dir, group, &vote, ret_error);
    if (r == 0)
        r = store_repair_begin(dir, &vote);
    if (r == 0)
        r = store_dir_remove(dir, STORE_LOG_DAMAGED);
    if (r != 0)
        return r;
    if (rename(from, to) < 0 && errno != ENOENT)
        return -errno;
    r = rk_file_sync_dir(store_dir_path(dir));
    return r == 0 ? store_dir_remove(dir, "mark") : r;
}
