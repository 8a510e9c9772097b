/* lib/mvcc/mvcc.c - opening a group: its meta rows, and what must be true of them. */
#include "lib/mvcc/mvcc.h"

#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/mvcc/mvcc_state.h"

#define REVISION_FIRST 1u /* of a store never written, as etcd counts */

void mvcc_reset(struct mvcc *mvcc)
{
    mvcc->applied = (struct mvcc_applied){.revision = REVISION_FIRST};
    mvcc->members_index = 0;
    rk_buf_clear(&mvcc->members);
    mvcc->applied_dirty = false;
    mvcc->members_dirty = false;
    mvcc_once_deinit(&mvcc->once);
    mvcc_once_init(&mvcc->once);
}

void mvcc_set_members(struct mvcc *mvcc, uint64_t index, struct rk_slice members)
{
    mvcc->members_index = index;
    rk_buf_clear(&mvcc->members);
    rk_buf_append_slice(&mvcc->members, members);
    mvcc->members_dirty = true;
}

int mvcc_fail(struct mvcc *mvcc, int error)
{
    rk_assert(error < 0);
    if (mvcc->failed == 0)
        mvcc->failed = error;
    return error;
}

int mvcc_store_error(int outcome)
{
    rk_assert(outcome != 0);
    return outcome < 0 ? outcome : -EBADMSG;
}

void mvcc_cursor_closep(struct store_cursor **cursor)
{
    if (*cursor)
        store_cursor_close(*cursor);
    *cursor = NULL;
}

/* Returns 1 with the row's value in row_value, 0 when there is none, or -errno. */
static int get_meta(struct mvcc *mvcc, const char *name)
{
    mvcc_meta_key(&mvcc->row_key, mvcc->group, name);
    int r = store_rows_get(mvcc->rows, rk_buf_slice(&mvcc->row_key), &mvcc->row_value);
    if (r == STORE_E_NOT_FOUND)
        return 0;
    return r == 0 ? 1 : mvcc_store_error(r);
}

static int load_applied(struct mvcc *mvcc)
{
    struct rk_slice hot;
    int r = mvcc_applied_decode(rk_buf_slice(&mvcc->row_value), &mvcc->applied, &hot);
    return r < 0 ? r : mvcc_once_get_hot(&mvcc->once, mvcc->applied.index, hot);
}

static int load_members(struct mvcc *mvcc)
{
    int r = get_meta(mvcc, MVCC_META_MEMBERS);
    if (r <= 0)
        return r;
    uint64_t index;
    struct rk_slice members;
    r = mvcc_members_decode(rk_buf_slice(&mvcc->row_value), &index, &members);
    if (r < 0)
        return r;
    if (index > mvcc->applied.index)
        return -EBADMSG;
    mvcc_set_members(mvcc, index, members);
    mvcc->members_dirty = false;
    return 0;
}

/* -EBADMSG when the first row at or after row_key begins with prefix: it should not be there. */
static int check_no_row(struct mvcc *mvcc, struct rk_slice from, struct rk_slice prefix)
{
    RK_CLEANUP(mvcc_cursor_closep) struct store_cursor *cursor = NULL;
    int r = store_cursor_open(mvcc->rows, &cursor);
    if (r != 0)
        return mvcc_store_error(r);
    r = store_cursor_seek(cursor, from);
    if (r == STORE_E_END)
        return 0;
    if (r != 0)
        return mvcc_store_error(r);
    return rk_slice_has_prefix(store_cursor_key(cursor), prefix) ? -EBADMSG : 0;
}

/* Rows are written in the transaction that counts them, so a change beyond the counted revision means that
 * the rows were damaged or mixed up. Believing either would let this member drift away from the others
 * without a word. */
static int check_rows(struct mvcc *mvcc, bool have_meta)
{
    struct rk_buf *from = &mvcc->row_key, *prefix = &mvcc->row_value;
    if (have_meta) {
        mvcc_rev_key(from, mvcc->group, mvcc->applied.revision + 1, 0);
        mvcc_row_table(prefix, mvcc->group, MVCC_TABLE_REVS);
    } else { /* without meta there must be nothing at all: lost rows are not an empty group */
        mvcc_row_table(from, mvcc->group, (enum mvcc_table)0);
        rk_buf_clear(prefix);
        rk_put_u32(prefix, mvcc->group);
    }
    return check_no_row(mvcc, rk_buf_slice(from), rk_buf_slice(prefix));
}

static int load(struct mvcc *mvcc)
{
    int r = get_meta(mvcc, MVCC_META_INSTALLING);
    if (r != 0) {
        mvcc->install_pending = r > 0;
        return r < 0 ? r : 0; /* whatever else is there will be replaced */
    }
    r = get_meta(mvcc, MVCC_META_APPLIED);
    if (r < 0)
        return r;
    bool have_meta = r > 0;
    if (have_meta) {
        r = load_applied(mvcc);
        if (r == 0)
            r = load_members(mvcc);
        if (r == 0)
            r = mvcc_once_load(mvcc);
    }
    return r < 0 ? r : check_rows(mvcc, have_meta);
}

int mvcc_open(struct store_rows *rows, uint32_t group, struct mvcc **ret)
{
    struct mvcc *mvcc = RK_NEW(struct mvcc);
    mvcc->rows = rows;
    mvcc->group = group;
    mvcc_once_init(&mvcc->once);
    mvcc_reset(mvcc);
    int r = load(mvcc);
    if (r < 0) {
        mvcc_free(mvcc);
        return r;
    }
    *ret = mvcc;
    return 0;
}

void mvcc_free(struct mvcc *mvcc)
{
    if (!mvcc)
        return;
    mvcc_cursor_closep(&mvcc->cursor);
    if (mvcc->in_txn)
        store_rows_abort(mvcc->rows);
    mvcc_install_free(mvcc->install);
    mvcc_once_deinit(&mvcc->once);
    rk_buf_deinit(&mvcc->members);
    rk_buf_deinit(&mvcc->row_key);
    rk_buf_deinit(&mvcc->row_value);
    free(mvcc);
}

void mvcc_meta(const struct mvcc *mvcc, struct mvcc_meta *ret)
{
    *ret = (struct mvcc_meta){
        .applied_index = mvcc->applied.index,
        .applied_term = mvcc->applied.term,
        .revision = mvcc->applied.revision,
        .keys = mvcc->applied.keys,
        .members_index = mvcc->members_index,
        .members = rk_buf_slice(&mvcc->members),
        .sessions = (uint32_t)mvcc->once.sessions.count,
    };
}

static int put_meta_row(struct mvcc *mvcc, const char *name)
{
    mvcc_meta_key(&mvcc->row_key, mvcc->group, name);
    int r = store_rows_put(mvcc->rows, rk_buf_slice(&mvcc->row_key), rk_buf_slice(&mvcc->row_value));
    return r == 0 ? 0 : mvcc_store_error(r);
}

int mvcc_put_meta(struct mvcc *mvcc)
{
    int r = 0;
    if (mvcc->applied_dirty) {
        mvcc_applied_value(&mvcc->row_value, &mvcc->applied);
        mvcc_once_put_hot(&mvcc->once, &mvcc->row_value);
        r = put_meta_row(mvcc, MVCC_META_APPLIED);
    }
    if (r == 0 && mvcc->members_dirty) {
        mvcc_members_value(&mvcc->row_value, mvcc->members_index, rk_buf_slice(&mvcc->members));
        r = put_meta_row(mvcc, MVCC_META_MEMBERS);
    }
    if (r == 0)
        r = mvcc_once_put(mvcc);
    if (r < 0)
        return r;
    mvcc->applied_dirty = false;
    mvcc->members_dirty = false;
    return 0;
}

int mvcc_put_row(struct mvcc *mvcc, const struct mvcc_row *row)
{
    mvcc_row_key(&mvcc->row_key, mvcc->group, row->key, row->revision, row->sub);
    mvcc_row_value(&mvcc->row_value, row);
    int r = store_rows_put(mvcc->rows, rk_buf_slice(&mvcc->row_key), rk_buf_slice(&mvcc->row_value));
    if (r != 0)
        return mvcc_store_error(r);
    mvcc_rev_key(&mvcc->row_key, mvcc->group, row->revision, row->sub);
    mvcc_rev_value(&mvcc->row_value, row->key);
    r = store_rows_put(mvcc->rows, rk_buf_slice(&mvcc->row_key), rk_buf_slice(&mvcc->row_value));
    return r == 0 ? 0 : mvcc_store_error(r);
}
