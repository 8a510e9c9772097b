/* lib/store/store_rebuild.c - rows that cannot be trusted give way to new ones that a peer will send.
 *
 * The raft log and the vote are not touched: they are as good as before, so the host
 * goes on voting and acknowledging entries while its rows are made again. Three names
 * in the data directory say how far that is:
 *   rebuild        the marker, with the reason as text: rows/ is not to be believed.
 *                  Written first, by whoever finds the damage
 *   rows.damaged   what was rows/ when the damage was found, for as long as the new rows
 *                  are not complete. Somebody may want to look at it; nothing reads it
 *   rows/          new and empty, then being filled
 * The end is the marker's removal, and only then rows.damaged goes: a crash between
 * the two leaves a left-over that the next start removes, never a host that takes its
 * new rows for damaged ones. */
#include "config.h" /* _GNU_SOURCE */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/rk_file.h"
#include "lib/store/store_internal.h"

static char *path_in(const struct store_dir *dir, const char *name)
{
    return rk_asprintf("%s/%s", store_dir_path(dir), name);
}

static bool exists(const struct store_dir *dir, const char *name)
{
    RK_CLEANUP(rk_freep) char *path = path_in(dir, name);
    struct stat st;
    return lstat(path, &st) == 0;
}

int store_rebuild_begin(struct store_dir *dir, const char *why)
{
    RK_CLEANUP(rk_freep) char *path = path_in(dir, STORE_REBUILD_MARKER);
    RK_CLEANUP(rk_freep) char *text = rk_asprintf("%s\n", why);
    int r = rk_file_replace(path, rk_slice_str(text), 0600);
    if ((r == -ENOSPC || r == -EDQUOT) && store_space_release())
        r = rk_file_replace(path, rk_slice_str(text), 0600);
    return r;
}

bool store_rebuild_pending(struct store_dir *dir)
{
    return exists(dir, STORE_REBUILD_MARKER);
}

void store_rebuild_why(struct store_dir *dir, char *ret, size_t size)
{
    RK_CLEANUP(rk_freep) char *path = path_in(dir, STORE_REBUILD_MARKER);
    RK_CLEANUP(rk_buf_deinit) struct rk_buf text = {0};
    size_t n = 0;
    if (rk_file_read(path, STORE_REBUILD_TEXT_MAX, &text) == 0)
        n = rk_min_u64(text.len, size - 1);
    for (size_t i = 0; i < n; i++) { /* it goes into logs: one line of it, and only what can be printed */
        uint8_t c = text.data[text.start + i];
        ret[i] = c >= 0x20 && c < 0x7f ? (char)c : ' ';
    }
    while (n > 0 && ret[n - 1] == ' ')
        n--;
    ret[n] = '\0';
}

bool store_rebuild_has_begun(struct store_dir *dir)
{
    return exists(dir, STORE_ROWS_DAMAGED);
}

int store_rebuild_set_aside(struct store_dir *dir)
{
    RK_CLEANUP(rk_freep) char *from = path_in(dir, "rows");
    RK_CLEANUP(rk_freep) char *to = path_in(dir, STORE_ROWS_DAMAGED);
    /* The first ones are those that somebody may want to see; later ones are an unfinished copy. */
    if (exists(dir, STORE_ROWS_DAMAGED))
        return store_dir_remove(dir, "rows");
    if (rename(from, to) < 0 && errno != ENOENT)
        return -errno;
    return rk_file_sync_dir(store_dir_path(dir));
}

int store_rebuild_end(struct store_dir *dir)
{
    RK_CLEANUP(rk_freep) char *marker = path_in(dir, STORE_REBUILD_MARKER);
    if (unlink(marker) == 0) {
        int r = rk_file_sync_dir(store_dir_path(dir));
        if (r < 0)
            return r;
    } else if (errno != ENOENT) {
        return -errno;
    }
    return exists(dir, STORE_ROWS_DAMAGED) ? store_dir_remove(dir, STORE_ROWS_DAMAGED) : 0;
}
