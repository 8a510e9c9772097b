/* lib/store/store_bdb_rows.c - the rows of the state machine: byte strings in memcmp order, in one B-tree.
 *
 * Commits are not flushed: the raft log replays what a crash loses, because the
 * applied index is a row of the same transaction as the rows that it counts.
 * Pages carry checksums; a page that fails its own makes every call answer
 * -EUCLEAN, and the host's rows have to be rebuilt from a peer. */
#include <errno.h>
#include <sys/stat.h>

#include "lib/base/rk_assert.h"
#include "lib/store/store_internal.h"

#define VALUE_BYTES_FIRST 256u /* room for a typical row before its size is known */

struct store_rows {
    struct store_env *env;
    DB_TXN *txn;
};

/* Berkeley DB leaves a cursor where it was when a move finds nothing; callers want it behind the last row. */
enum cursor_place { PLACE_NONE, PLACE_ROW, PLACE_BEFORE_FIRST, PLACE_AFTER_LAST };

struct store_cursor {
    struct store_rows *rows;
    DBC *dbc;
    DBT key, value;
    enum cursor_place place;
};

static DBT dbt_of(struct rk_slice s)
{
    rk_assert(s.len <= UINT32_MAX);
    return (DBT){.data = (void *)(uintptr_t)s.data, .size = (u_int32_t)s.len}; /* never written through */
}

int store_rows_open(struct store_dir *dir, const struct store_rows_config *config,
                    void (*progress)(void *userdata, unsigned percent), void *userdata,
                    struct store_rows **ret, char **ret_error)
{
    const struct store_env_config env_config = {.name = "rows",
                                                .cache_bytes = config->cache_bytes,
                                                .file_bytes = config->file_bytes,
                                                .progress = progress,
                                                .userdata = userdata};
    struct store_env *env;
    int r = store_env_open(dir, &env_config, &env, ret_error);
    if (r != 0)
        return r;
    struct store_rows *rows = RK_NEW(struct store_rows);
    rows->env = env;
    *ret = rows;
    return 0;
}

void store_rows_close(struct store_rows *rows)
{
    if (!rows)
        return;
    store_rows_abort(rows);
    store_env_close(rows->env);
    free(rows);
}

int store_rows_begin(struct store_rows *rows)
{
    rk_assert(!rows->txn);
    return store_env_begin(rows->env, &rows->txn);
}

int store_rows_commit(struct store_rows *rows)
{
    rk_assert(rows->txn);
    DB_TXN *txn = rows->txn;
    rows->txn = NULL;
    return store_env_commit(rows->env, txn);
}

void store_rows_abort(struct store_rows *rows)
{
    if (rows->txn)
        store_env_abort(rows->env, rows->txn);
    rows->txn = NULL;
}

int store_rows_flush(struct store_rows *rows)
{
    return store_env_flush(rows->env);
}

int store_rows_put(struct store_rows *rows, struct rk_slice key, struct rk_slice value)
{
    rk_assert(rows->txn);
    int r = store_env_failed(rows->env);
    if (r < 0)
        return r;
    DBT k = dbt_of(key), v = dbt_of(value);
    return store_env_result(rows->env, rows->env->db->put(rows->env->db, rows->txn, &k, &v, 0));
}

int store_rows_del(struct store_rows *rows, struct rk_slice key)
{
    rk_assert(rows->txn);
    int r = store_env_failed(rows->env);
    if (r < 0)
        return r;
    DBT k = dbt_of(key);
    int answer = rows->env->db->del(rows->env->db, rows->txn, &k, 0);
    return answer == DB_NOTFOUND ? STORE_E_NOT_FOUND : store_env_result(rows->env, answer);
}

/* Reads straight into the caller's buffer; a value that does not fit says how much room it needs. */
int store_rows_get(struct store_rows *rows, struct rk_slice key, struct rk_buf *ret)
{
    int r = store_env_failed(rows->env);
    if (r < 0)
        return r;
    DBT k = dbt_of(key), v = {.flags = DB_DBT_USERMEM};
    size_t room = rk_max_u64(ret->cap, VALUE_BYTES_FIRST);
    int answer;
    rk_buf_clear(ret);
    do {
        room = rk_max_u64(room, v.size);
        v.data = rk_buf_reserve(ret, room);
        v.ulen = (u_int32_t)rk_min_u64(room, UINT32_MAX);
        answer = rows->env->db->get(rows->env->db, rows->txn, &k, &v, 0);
    } while (answer == DB_BUFFER_SMALL);
    if (answer == DB_NOTFOUND)
        return STORE_E_NOT_FOUND;
    r = store_env_result(rows->env, answer);
    if (r == 0)
        rk_buf_commit(ret, v.size);
    return r;
}

/* Only keys are looked at: with a partial read of nothing, long values stay on their overflow pages. */
static int del_prefix(DBC *dbc, struct rk_slice prefix, uint32_t max)
{
    DBT key = dbt_of(prefix), nothing = {.flags = DB_DBT_PARTIAL};
    int answer = dbc->get(dbc, &key, &nothing, DB_SET_RANGE);
    for (; answer == 0; answer = dbc->get(dbc, &key, &nothing, DB_NEXT)) {
        if (!rk_slice_has_prefix(rk_slice(key.data, key.size), prefix))
            return DB_NOTFOUND;
        if (max-- == 0)
            return 0;
        answer = dbc->del(dbc, 0);
        if (answer != 0)
            return answer;
    }
    return answer;
}

int store_rows_del_prefix(struct store_rows *rows, struct rk_slice prefix, uint32_t max)
{
    rk_assert(rows->txn);
    DBC *dbc;
    int r = store_env_failed(rows->env);
    if (r == 0)
        r = store_env_result(rows->env, rows->env->db->cursor(rows->env->db, rows->txn, &dbc, 0));
    if (r < 0)
        return r;
    int answer = del_prefix(dbc, prefix, max);
    bool more = answer == 0;
    answer = answer == DB_NOTFOUND ? 0 : answer;
    int closed = dbc->close(dbc);
    r = store_env_result(rows->env, answer != 0 ? answer : closed);
    return r < 0 ? r : more;
}

int store_cursor_open(struct store_rows *rows, struct store_cursor **ret)
{
    DBC *dbc;
    int r = store_env_failed(rows->env);
    if (r == 0)
        r = store_env_result(rows->env, rows->env->db->cursor(rows->env->db, rows->txn, &dbc, 0));
    if (r < 0)
        return r;
    struct store_cursor *cursor = RK_NEW(struct store_cursor);
    cursor->rows = rows;
    cursor->dbc = dbc;
    *ret = cursor;
    return 0;
}

void store_cursor_close(struct store_cursor *cursor)
{
    if (!cursor)
        return;
    int r = store_env_result(cursor->rows->env, cursor->dbc->close(cursor->dbc));
    (void)r; /* latched: the next call tells */
    free(cursor);
}

static int move(struct store_cursor *cursor, u_int32_t how, enum cursor_place beyond)
{
    int r = store_env_failed(cursor->rows->env);
    if (r < 0)
        return r;
    int answer = cursor->dbc->get(cursor->dbc, &cursor->key, &cursor->value, how);
    cursor->place = answer == 0 ? PLACE_ROW : beyond;
    return answer == DB_NOTFOUND ? STORE_E_END : store_env_result(cursor->rows->env, answer);
}

int store_cursor_seek(struct store_cursor *cursor, struct rk_slice key)
{
    cursor->key = dbt_of(key);
    return move(cursor, DB_SET_RANGE, PLACE_AFTER_LAST);
}

int store_cursor_next(struct store_cursor *cursor)
{
    if (cursor->place == PLACE_AFTER_LAST)
        return STORE_E_END;
    return move(cursor, cursor->place == PLACE_ROW ? DB_NEXT : DB_FIRST, PLACE_AFTER_LAST);
}

int store_cursor_prev(struct store_cursor *cursor)
{
    if (cursor->place == PLACE_BEFORE_FIRST)
        return STORE_E_END;
    return move(cursor, cursor->place == PLACE_ROW ? DB_PREV : DB_LAST, PLACE_BEFORE_FIRST);
}

struct rk_slice store_cursor_key(const struct store_cursor *cursor)
{
    rk_assert(cursor->place == PLACE_ROW);
    return rk_slice(cursor->key.data, cursor->key.size);
}

struct rk_slice store_cursor_value(const struct store_cursor *cursor)
{
    rk_assert(cursor->place == PLACE_ROW);
    return rk_slice(cursor->value.data, cursor->value.size);
}

int store_rows_checkpoint(struct store_rows *rows)
{
    return store_env_checkpoint(rows->env);
}

uint64_t store_rows_dirty_bytes(const struct store_rows *rows)
{
    return store_env_dirty_bytes(rows->env);
}

uint64_t store_rows_bytes(const struct store_rows *rows)
{
    struct stat st;
    return stat(rows->env->db_path, &st) == 0 ? (uint64_t)st.st_size : 0;
}
