/* lib/mvcc/mvcc_scan.c - walks the keys of a range as they were at one revision. */
#include "lib/mvcc/mvcc_scan.h"

#include <errno.h>

/* Versions of one key that are stepped over before a seek. A step costs a fraction of a seek, and most keys
 * have few. */
#define STEPS_MAX 4u

static bool is_all(struct rk_slice end)
{
    return end.len == 1 && end.data[0] == 0;
}

void mvcc_scan_init(struct mvcc_scan *scan, struct store_cursor *cursor, uint32_t group, struct rk_slice key,
                    struct rk_slice end, uint64_t revision, bool may_write)
{
    *scan = (struct mvcc_scan){.cursor = cursor, .revision = revision, .may_write = may_write};
    mvcc_row_versions(&scan->from, group, key);
    if (end.len == 0)
        mvcc_row_seek_past(&scan->to, rk_buf_slice(&scan->from));
    else if (is_all(end))
        mvcc_row_table(&scan->to, group, (enum mvcc_table)(MVCC_TABLE_KEYS + 1));
    else
        mvcc_row_versions(&scan->to, group, end);
}

void mvcc_scan_deinit(struct mvcc_scan *scan)
{
    rk_buf_deinit(&scan->head);
    rk_buf_deinit(&scan->seek);
    rk_buf_deinit(&scan->from);
    rk_buf_deinit(&scan->to);
}

static bool at_same_key(const struct mvcc_scan *scan)
{
    return rk_slice_has_prefix(store_cursor_key(scan->cursor), rk_buf_slice(&scan->head));
}

static int seek_next_key(struct mvcc_scan *scan)
{
    if (!scan->started) {
        scan->started = true;
        return store_cursor_seek(scan->cursor, rk_buf_slice(&scan->from));
    }
    for (unsigned i = 0; !scan->may_write && i < STEPS_MAX; i++) {
        int r = store_cursor_next(scan->cursor);
        if (r != 0 || !at_same_key(scan))
            return r;
    }
    mvcc_row_seek_past(&scan->seek, rk_buf_slice(&scan->head));
    return store_cursor_seek(scan->cursor, rk_buf_slice(&scan->seek));
}

/* From the newest version of a key to the one at the revision: 1 when there is one, else 0 and the cursor is
 * at the first row behind this key, or the outcome of the store. */
static int seek_version(struct mvcc_scan *scan, int *ret_outcome)
{
    *ret_outcome = 0;
    if (mvcc_row_revision(store_cursor_key(scan->cursor)) <= scan->revision)
        return 1;
    mvcc_row_seek_revision(&scan->seek, rk_buf_slice(&scan->head), scan->revision);
    *ret_outcome = store_cursor_seek(scan->cursor, rk_buf_slice(&scan->seek));
    return *ret_outcome == 0 && at_same_key(scan);
}

int mvcc_scan_next(struct mvcc_scan *scan)
{
    int r = seek_next_key(scan);
    while (r == 0) {
        struct rk_slice row_key = store_cursor_key(scan->cursor), head = mvcc_row_head(row_key);
        if (rk_slice_cmp(row_key, rk_buf_slice(&scan->to)) >= 0)
            return 0;
        if (head.len == 0)
            return -EBADMSG;
        rk_buf_clear(&scan->head);
        rk_buf_append_slice(&scan->head, head);
        if (seek_version(scan, &r))
            return 1;
    }
    return r == STORE_E_END ? 0 : mvcc_store_error(r);
}
