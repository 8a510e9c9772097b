/* lib/mvcc/mvcc_state.h - what the files of this folder share: struct mvcc itself. Private to lib/mvcc. */
#ifndef MVCC_STATE_H
#define MVCC_STATE_H

#include "lib/base/rk_plant.h"
#include "lib/mvcc/mvcc.h"
#include "lib/mvcc/mvcc_once.h"
#include "lib/mvcc/mvcc_rows.h"

struct mvcc_install;

/* The numbers here run ahead of the rows between mvcc_begin() and mvcc_commit() and are equal to them
 * otherwise. */
struct mvcc {
    struct store_rows *rows;
    uint32_t group;
    struct mvcc_applied applied;
    uint64_t members_index;
    struct rk_buf members;
    struct mvcc_once once;

    bool in_txn;
    bool applied_dirty, members_dirty;
    struct store_cursor *cursor; /* of the open transaction; NULL until it is needed */
    int failed; /* the first negative errno: the transaction is half done and must not be committed */

    bool install_pending;
    struct mvcc_install *install; /* NULL when none is running */
    uint64_t installs; /* begun in this process; an open snapshot notices by it that its rows went away */

    struct rk_buf row_key, row_value; /* scratch */
};

/* The empty group's state in memory. */
void mvcc_reset(struct mvcc *mvcc);
void mvcc_set_members(struct mvcc *mvcc, uint64_t index, struct rk_slice members);
/* Puts the dirty ones of the meta rows; in an open transaction. */
int mvcc_put_meta(struct mvcc *mvcc) RK_MUST_CHECK;
/* Puts a version of a key and its place in the revs table; in an open transaction. */
int mvcc_put_row(struct mvcc *mvcc, const struct mvcc_row *row) RK_MUST_CHECK;
/* Latches the first error of a transaction; returns error. */
int mvcc_fail(struct mvcc *mvcc, int error);
/* A positive outcome of the store where none can be: the rows are damaged. */
int mvcc_store_error(int outcome);
/* Deinit of what mvcc_install.c keeps; takes NULL. */
void mvcc_install_free(struct mvcc_install *install);

/* For RK_CLEANUP. */
void mvcc_cursor_closep(struct store_cursor **cursor);

#endif
