/* lib/store/store_log_read.c - reading entries back, every one checked. */
#include <errno.h>

#include "lib/store/store_log.h"

/* One entry at the cursor: 0 and *ret_more, or STORE_E_CORRUPT when it is rotten or another one is in its
 * place. */
static int deliver(const DBT *key, const DBT *value, uint32_t id, uint64_t expected,
                   bool (*fn)(void *userdata, const struct store_entry *entry), void *userdata,
                   bool *ret_more)
{
    struct store_log_key wanted = store_log_entry_key(id, expected);
    struct store_entry entry;
    if (!rk_slice_eq(rk_slice(key->data, key->size), rk_slice(wanted.bytes, wanted.len)))
        return STORE_E_CORRUPT;
    int r = store_log_entry_decode(&wanted, rk_slice(value->data, value->size), &entry);
    if (r == 0)
        *ret_more = fn(userdata, &entry);
    return r;
}

static int read_with(struct store_log *log, DBC *dbc, uint32_t id, uint64_t first, uint64_t last,
                     bool (*fn)(void *userdata, const struct store_entry *entry), void *userdata)
{
    struct store_log_key start = store_log_entry_key(id, first);
    DBT key = store_log_key_dbt(&start), value = {0};
    bool more = true;
    for (uint64_t index = first; more && index <= last; index++) {
        int answer = dbc->get(dbc, &key, &value, index == first ? DB_SET : DB_NEXT);
        if (answer == DB_NOTFOUND)
            return STORE_E_CORRUPT; /* a hole where an entry was acknowledged */
        int r = store_env_result(log->env, answer);
        r = r != 0 ? r : deliver(&key, &value, id, index, fn, userdata, &more);
        if (r != 0)
            return r;
    }
    return 0;
}

int store_log_members(struct store_log *log, uint32_t id, uint64_t *ret_index, struct rk_buf *ret)
{
    int r = store_env_failed(log->env);
    if (r < 0)
        return r;
    struct store_log_key key = store_log_meta_key(id, 'm');
    DBT k = store_log_key_dbt(&key), v = {.flags = DB_DBT_MALLOC};
    int answer = log->env->db->get(log->env->db, log->txn, &k, &v, 0);
    if (answer == DB_NOTFOUND)
        return STORE_E_NOT_FOUND;
    r = store_env_result(log->env, answer);
    if (r < 0)
        return r;
    struct rk_slice members;
    bool whole = store_log_members_decode(&key, rk_slice(v.data, v.size), ret_index, &members);
    rk_buf_clear(ret);
    if (whole)
        rk_buf_append_slice(ret, members);
    free(v.data);
    return whole ? 0 : STORE_E_CORRUPT;
}

int store_log_read(struct store_log *log, uint32_t id, uint64_t first,
                   bool (*fn)(void *userdata, const struct store_entry *entry), void *userdata)
{
    int r = store_env_failed(log->env);
    if (r < 0)
        return r;
    const struct store_log_group *group = rk_map_get(&log->groups, id);
    if (!group || first <= group->now.base.index || first > group->now.last)
        return STORE_E_NOT_FOUND;
    DBC *dbc;
    r = store_env_result(log->env, log->env->db->cursor(log->env->db, log->txn, &dbc, 0));
    if (r < 0)
        return r;
    r = read_with(log, dbc, id, first, group->now.last, fn, userdata);
    int closed = store_env_result(log->env, dbc->close(dbc));
    return r != 0 ? r : closed;
}
