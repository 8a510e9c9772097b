/* lib/mvcc/mvcc_install.c - a snapshot stream replaces the rows of a group.
 *
 * A snapshot is too large for one transaction, so a crash may come in the middle.
 * What keeps that safe is the mark, a meta row:
 *
 *   1. one transaction writes the mark and removes the other meta rows; flush;
 *   2. the old rows go, then the new ones come, in many small transactions;
 *   3. one transaction writes the meta rows and removes the mark; flush.
 *
 * Commits are kept in order, so whoever finds no mark finds either everything
 * from before 1 or everything from after 3. Whoever finds the mark at a start
 * believes none of the rows and installs again from the beginning; the stream is
 * in a file that must stay until 3 is done. */
#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/mvcc/mvcc_state.h"
#include "lib/mvcc/mvcc_verify.h"

/* Size of the small transactions. */
#define WIPE_ROWS     1000u
#define TXN_BYTES_MAX (1024u * 1024u)

struct mvcc_install {
    struct mvcc_verify *verify;
    size_t txn_bytes;
    bool broken;
};

void mvcc_install_free(struct mvcc_install *install)
{
    if (!install)
        return;
    mvcc_verify_free(install->verify);
    free(install);
}

bool mvcc_install_pending(const struct mvcc *mvcc)
{
    return mvcc->install_pending;
}

static int begin_txn(struct mvcc *mvcc)
{
    int r = store_rows_begin(mvcc->rows);
    if (r != 0)
        return mvcc_store_error(r);
    mvcc->in_txn = true;
    return 0;
}

static int commit_txn(struct mvcc *mvcc)
{
    mvcc->in_txn = false;
    int r = store_rows_commit(mvcc->rows);
    return r == 0 ? 0 : mvcc_store_error(r);
}

static int flush(struct mvcc *mvcc)
{
    int r = store_rows_flush(mvcc->rows);
    return r == 0 ? 0 : mvcc_store_error(r);
}

static int del_meta(struct mvcc *mvcc, const char *name)
{
    mvcc_meta_key(&mvcc->row_key, mvcc->group, name);
    int r = store_rows_del(mvcc->rows, rk_buf_slice(&mvcc->row_key));
    return r == 0 || r == STORE_E_NOT_FOUND ? 0 : mvcc_store_error(r);
}

static int put_mark(struct mvcc *mvcc)
{
    mvcc_meta_key(&mvcc->row_key, mvcc->group, MVCC_META_INSTALLING);
    mvcc_mark_value(&mvcc->row_value);
    int r = store_rows_put(mvcc->rows, rk_buf_slice(&mvcc->row_key), rk_buf_slice(&mvcc->row_value));
    return r == 0 ? 0 : mvcc_store_error(r);
}

static int mark(struct mvcc *mvcc)
{
    int r = begin_txn(mvcc);
    if (r == 0)
        r = put_mark(mvcc);
    if (r == 0)
        r = del_meta(mvcc, MVCC_META_APPLIED);
    if (r == 0)
        r = del_meta(mvcc, MVCC_META_MEMBERS);
    if (r == 0)
        r = del_meta(mvcc, MVCC_META_CLOCK);
    if (r == 0)
        r = commit_txn(mvcc);
    return r == 0 ? flush(mvcc) : r;
}

static int wipe(struct mvcc *mvcc, enum mvcc_table table)
{
    int more = 1;
    while (more > 0) {
        int r = begin_txn(mvcc);
        if (r < 0)
            return r;
        mvcc_row_table(&mvcc->row_key, mvcc->group, table);
        more = store_rows_del_prefix(mvcc->rows, rk_buf_slice(&mvcc->row_key), WIPE_ROWS);
        if (more < 0)
            return more;
        r = commit_txn(mvcc);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Runs for each row of the stream, in an open transaction. */
static int install_row(void *userdata, const struct mvcc_row *row)
{
    struct mvcc *mvcc = userdata;
    int r = mvcc_put_row(mvcc, row);
    if (r < 0)
        return mvcc_fail(mvcc, r);
    mvcc->install->txn_bytes += 2 * row->key.len + row->value.len;
    if (mvcc->install->txn_bytes < TXN_BYTES_MAX)
        return 0;
    mvcc->install->txn_bytes = 0;
    r = commit_txn(mvcc);
    if (r == 0)
        r = begin_txn(mvcc);
    return r < 0 ? mvcc_fail(mvcc, r) : 0;
}

int mvcc_install_begin(struct mvcc *mvcc)
{
    rk_assert(!mvcc->in_txn);
    if (mvcc->failed)
        return mvcc->failed;
    mvcc_install_free(mvcc->install);
    mvcc->install = RK_NEW(struct mvcc_install);
    mvcc->install->verify = mvcc_verify_new();
    mvcc_verify_set_rows(mvcc->install->verify, install_row, mvcc);
    mvcc_verify_set_once(mvcc->install->verify, &mvcc->once);
    mvcc->install_pending = true;
    mvcc->installs++;
    mvcc_reset(mvcc);
    int r = mark(mvcc);
    if (r == 0 && !RK_PLANT(INSTALL_KEEPS_ROWS))
        r = wipe(mvcc, MVCC_TABLE_KEYS);
    if (r == 0)
        r = wipe(mvcc, MVCC_TABLE_REVS);
    if (r == 0)
        r = wipe(mvcc, MVCC_TABLE_ORIGINS);
    if (r == 0)
        r = wipe(mvcc, MVCC_TABLE_SESSIONS);
    return r < 0 ? mvcc_fail(mvcc, r) : 0;
}

/* The rows of a stream that turns out to be broken stay where they are: the mark says what they are worth. */
int mvcc_install_feed(struct mvcc *mvcc, struct rk_slice bytes)
{
    rk_assert(mvcc->install && !mvcc->in_txn);
    if (mvcc->failed)
        return mvcc->failed;
    if (mvcc->install->broken)
        return -EBADMSG;
    int r = begin_txn(mvcc);
    if (r < 0)
        return mvcc_fail(mvcc, r);
    mvcc->install->txn_bytes = 0;
    int fed = mvcc_verify_feed(mvcc->install->verify, bytes);
    if (mvcc->failed)
        return mvcc->failed;
    const struct mvcc_snapshot_info *info = mvcc_verify_info(mvcc->install->verify);
    if (fed == 0 && info && info->group != mvcc->group)
        fed = -EBADMSG;
    mvcc->install->broken = fed < 0;
    r = commit_txn(mvcc);
    return r < 0 ? mvcc_fail(mvcc, r) : fed;
}

/* The same rules as everywhere decide which meta rows there are, so that an installed group and the one that
 * its snapshot was read from have the same rows. */
static void take_meta(struct mvcc *mvcc, const struct mvcc_snapshot_info *info)
{
    mvcc->applied = (struct mvcc_applied){.index = info->index,
                                          .term = info->term,
                                          .revision = info->revision,
                                          .keys = info->keys,
                                          .hash = info->hash};
    if (info->members_index > 0 || info->members.len > 0)
        mvcc_set_members(mvcc, info->members_index, info->members);
    mvcc_once_heat(&mvcc->once);
    mvcc->applied_dirty = info->index > 0 || mvcc->members_dirty;
}

static int finish(struct mvcc *mvcc)
{
    int r = begin_txn(mvcc);
    if (r == 0)
        r = mvcc_put_meta(mvcc);
    if (r == 0)
        r = del_meta(mvcc, MVCC_META_INSTALLING);
    if (r == 0)
        r = commit_txn(mvcc);
    return r == 0 ? flush(mvcc) : r;
}

int mvcc_install_end(struct mvcc *mvcc)
{
    rk_assert(mvcc->install && !mvcc->in_txn);
    if (mvcc->failed)
        return mvcc->failed;
    struct mvcc_install *install = mvcc->install;
    if (install->broken || !mvcc_verify_complete(install->verify))
        return -EBADMSG;
    take_meta(mvcc, mvcc_verify_info(install->verify));
    int r = finish(mvcc);
    if (r < 0)
        return mvcc_fail(mvcc, r);
    mvcc->install_pending = false;
    mvcc->install = NULL;
    mvcc_install_free(install);
    return 0;
}
