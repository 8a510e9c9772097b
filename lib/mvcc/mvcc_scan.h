/* lib/mvcc/mvcc_scan.h - walks the keys of a range as they were at one revision. Private to lib/mvcc.
 *
 * One step per key however many versions it has: a few versions are stepped over,
 * many are jumped. The rows of the range may be written between two steps when
 * may_write was given: every step then finds its place again by key. */
#ifndef MVCC_SCAN_H
#define MVCC_SCAN_H

#include "lib/mvcc/mvcc_state.h"

#define MVCC_REVISION_NEWEST UINT64_MAX

struct mvcc_scan {
    struct store_cursor *cursor; /* the caller's */
    uint64_t revision;
    bool may_write;
    bool started;
    struct rk_buf head;     /* of the row keys of the present key */
    struct rk_buf seek;     /* scratch */
    struct rk_buf from, to; /* row keys: the range is [from, to) */
};

/* end as in struct mvcc_query. */
void mvcc_scan_init(struct mvcc_scan *scan, struct store_cursor *cursor, uint32_t group, struct rk_slice key,
                    struct rk_slice end, uint64_t revision, bool may_write);
void mvcc_scan_deinit(struct mvcc_scan *scan);
/* Goes to the next key that had a version then. 1: the cursor stands on that version, which may be a
 * tombstone; 0: the range is at its end; or -errno. */
int mvcc_scan_next(struct mvcc_scan *scan) RK_MUST_CHECK;

#endif
