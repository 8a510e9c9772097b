/* lib/store/store_bdb_log.c - the raft log and the votes of all groups: one transaction and one flush for all
 * that waits.
 *
 * The owner opens a transaction, puts in whatever its mailbox holds, for any
 * groups, and commits. The commit itself only fills Berkeley DB's log buffer; one
 * log_flush() then writes the buffer and waits for the disk. That is all that the
 * hot path costs: pages are written back later, by the checkpoint.
 *
 * Where each group begins and ends is kept in memory (store_log_group.c), so a
 * plain append looks nothing up: it inserts at the group's right edge. */
#include <errno.h>
#include <inttypes.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_clock.h"
#include "lib/store/store_log.h"

/* ---- open and close ------------------------------------------------------------------ */

static int open_parts(struct store_dir *dir, const struct store_env_config *config, struct store_log *log,
                      char **ret_error)
{
    RK_CLEANUP(rk_freep) char *mark_path = rk_asprintf("%s/mark", store_dir_path(dir));
    int r = store_env_open(dir, config, &log->env, ret_error);
    r = r != 0 ? r : store_mark_open(mark_path, &log->mark, ret_error);
    r = r != 0 ? r : store_log_groups_load(log, ret_error);
    r = r != 0 ? r : store_log_groups_check_mark(log, ret_error);
    if (r == -EUCLEAN) { /* a page that cannot be trusted: the sentence of a damaged log */
        *ret_error = rk_asprintf("%s is damaged (%s): wipe this host's data and let it join again.",
                                 log->env->home, log->env->text);
        return STORE_E_REFUSED;
    }
    return r;
}

static void log_free(struct store_log *log)
{
    store_mark_close(log->mark, log->env && store_env_failed(log->env) < 0);
    store_env_close(log->env);
    store_log_groups_free(log);
    rk_buf_deinit(&log->value);
    free(log);
}

int store_log_open(struct store_dir *dir, const struct store_log_config *config,
                   void (*progress)(void *userdata, unsigned percent), void *userdata, struct store_log **ret,
                   char **ret_error)
{
    const struct store_env_config env_config = {.name = "log",
                                                .cache_bytes = config->cache_bytes,
                                                .file_bytes = config->file_bytes,
                                                .progress = progress,
                                                .userdata = userdata};
    struct store_log *log = RK_NEW(struct store_log);
    rk_list_init(&log->dirty);
    int r = open_parts(dir, &env_config, log, ret_error);
    if (r != 0) {
        log_free(log);
        return r;
    }
    *ret = log;
    return 0;
}

void store_log_close(struct store_log *log)
{
    if (!log)
        return;
    store_log_abort(log);
    log_free(log);
}

int store_log_state(struct store_log *log, uint32_t id, struct store_vote *ret_vote,
                    struct store_base *ret_base, uint64_t *ret_last)
{
    static const struct store_log_state zeros;
    int r = store_env_failed(log->env);
    if (r < 0)
        return r;
    const struct store_log_group *group = rk_map_get(&log->groups, id);
    const struct store_log_state *s = group ? &group->now : &zeros;
    *ret_vote = s->vote;
    *ret_base = s->base;
    *ret_last = s->last;
    return 0;
}

/* ---- transactions ---------------------------------------------------------------------- */

int store_log_begin(struct store_log *log)
{
    rk_assert(!log->txn);
    log->txn_entries = log->txn_bytes = 0;
    return store_env_begin(log->env, &log->txn);
}

/* The group, marked as changed by the open transaction. */
static int group_to_change(struct store_log *log, uint32_t id, struct store_log_group **ret)
{
    rk_assert(log->txn);
    int r = store_env_failed(log->env);
    r = r != 0 ? r : store_log_group_get(log, id, ret);
    if (r == 0 && rk_list_empty(&(*ret)->dirty_link))
        rk_list_push_back(&log->dirty, &(*ret)->dirty_link);
    return r;
}

static void group_settle(struct store_log_group *group)
{
    group->cut_from = UINT64_MAX;
    rk_list_remove(&group->dirty_link);
}

void store_log_abort(struct store_log *log)
{
    if (log->txn)
        store_env_abort(log->env, log->txn);
    log->txn = NULL;
    RK_LIST_FOR_EACH_SAFE (it, &log->dirty) {
        struct store_log_group *group = RK_LIST_ITEM(it, struct store_log_group, dirty_link);
        group->now = group->committed;
        group_settle(group);
    }
}

/* Before the removal of flushed entries can reach the disk, the mark must stop claiming them. */
static int lower_marks(struct store_log *log)
{
    int r = 0;
    RK_LIST_FOR_EACH (it, &log->dirty) {
        struct store_log_group *group = RK_LIST_ITEM(it, struct store_log_group, dirty_link);
        if (r == 0 && group->cut_from != UINT64_MAX)
            r = store_mark_lower(log->mark, group->id, group->cut_from);
    }
    return r == 0 ? 0 : store_env_result(log->env, -r);
}

static int raise_marks(struct store_log *log, uint64_t now_us)
{
    bool voted = false;
    int r = 0;
    RK_LIST_FOR_EACH_SAFE (it, &log->dirty) {
        struct store_log_group *group = RK_LIST_ITEM(it, struct store_log_group, dirty_link);
        const struct store_mark_item item = {.group = group->id,
                                             .index = group->now.last,
                                             .term = group->now.last_term,
                                             .vote = group->now.vote};
        voted = voted || memcmp(&group->committed.vote, &group->now.vote, sizeof(group->now.vote)) != 0;
        group->committed = group->now;
        group_settle(group);
        r = r != 0 ? r : store_mark_raise(log->mark, &item, now_us);
    }
    /* Before a vote is told it must be in two places, or a log that is lost takes it along. Votes are rare.
     */
    if (r == 0 && voted)
        r = store_mark_vote(log->mark);
    return r == 0 ? 0 : store_env_result(log->env, -r);
}

static void count_flush(struct store_log *log, uint64_t took_us)
{
    atomic_fetch_add(&log->flushes, 1);
    atomic_fetch_add(&log->entries, log->txn_entries);
    atomic_fetch_add(&log->bytes, log->txn_bytes);
    atomic_fetch_add(&log->flush_us_total, took_us);
    if (took_us > atomic_load(&log->flush_us_max)) /* the owner is the only writer */
        atomic_store(&log->flush_us_max, took_us);
}

int store_log_commit(struct store_log *log)
{
    rk_assert(log->txn);
    int r = lower_marks(log);
    if (r < 0) {
        store_log_abort(log);
        return r;
    }
    DB_TXN *txn = log->txn;
    log->txn = NULL;
    uint64_t begun_us = rk_clock_now_us(&rk_clock_boottime);
    r = store_env_commit(log->env, txn);
    r = r != 0 ? r : store_env_flush(log->env);
    if (r < 0) {
        store_log_abort(log);
        return r;
    }
    uint64_t now_us = rk_clock_now_us(&rk_clock_boottime);
    count_flush(log, now_us - begun_us);
    return raise_marks(log, now_us);
}

/* ---- changes ----------------------------------------------------------------------------- */

static int put(struct store_log *log, struct store_log_key *key, struct rk_slice value)
{
    DBT k = store_log_key_dbt(key);
    DBT v = {.data = (void *)(uintptr_t)value.data, .size = (u_int32_t)value.len};
    log->txn_bytes += key->len + value.len;
    return store_env_result(log->env, log->env->db->put(log->env->db, log->txn, &k, &v, 0));
}

static int put_meta(struct store_log *log, uint32_t group, char kind, uint64_t a, uint64_t b)
{
    struct store_log_key key = store_log_meta_key(group, kind);
    uint8_t value[STORE_LOG_META_BYTES];
    store_log_meta_encode(&key, a, b, value);
    return put(log, &key, rk_slice(value, sizeof(value)));
}

int store_log_set_members(struct store_log *log, uint32_t id, uint64_t index, struct rk_slice members)
{
    struct store_log_group *group;
    int r = group_to_change(log, id, &group);
    if (r < 0)
        return r;
    struct store_log_key key = store_log_meta_key(id, 'm');
    store_log_members_encode(&key, index, members, &log->value);
    return put(log, &key, rk_buf_slice(&log->value));
}

/* Deletes up to max stored entries in [from, to]; there may be holes. *ret_next is the first index not looked
 * at. */
static int delete_with(struct store_log *log, DBC *dbc, uint32_t id, uint64_t from, uint64_t to, uint64_t max,
                       uint64_t *ret_next)
{
    struct store_log_key start = store_log_entry_key(id, from);
    DBT key = store_log_key_dbt(&start), nothing = {.flags = DB_DBT_PARTIAL};
    uint32_t group;
    uint64_t index;
    int answer = dbc->get(dbc, &key, &nothing, DB_SET_RANGE);
    *ret_next = to + 1;
    for (; answer == 0; answer = dbc->get(dbc, &key, &nothing, DB_NEXT)) {
        if (!store_log_entry_key_parse(&key, &group, &index) || group != id || index > to)
            return 0;
        *ret_next = index;
        if (max-- == 0)
            return 0;
        answer = dbc->del(dbc, 0);
        if (answer != 0)
            break;
        *ret_next = to + 1;
    }
    return answer == DB_NOTFOUND ? 0 : store_env_result(log->env, answer);
}

static int delete_entries(struct store_log *log, DB_TXN *txn, uint32_t id, uint64_t from, uint64_t to,
                          uint64_t max, uint64_t *ret_next)
{
    DBC *dbc;
    int r = store_env_result(log->env, log->env->db->cursor(log->env->db, txn, &dbc, 0));
    if (r < 0)
        return r;
    r = delete_with(log, dbc, id, from, to, max, ret_next);
    int closed = store_env_result(log->env, dbc->close(dbc));
    return r != 0 ? r : closed;
}

/* Entries from index on are no more; the group's end is before it. */
static int truncate_group(struct store_log *log, struct store_log_group *group, uint64_t index)
{
    uint64_t next;
    int r = delete_entries(log, log->txn, group->id, index, group->now.last, UINT64_MAX, &next);
    if (r == 0) {
        group->cut_from = rk_min_u64(group->cut_from, index);
        group->now.last = index - 1;
    }
    return r;
}

static int append_entry(struct store_log *log, struct store_log_group *group, const struct store_entry *entry)
{
    rk_assert(entry->index == group->now.last + 1);
    struct store_log_key key = store_log_entry_key(group->id, entry->index);
    store_log_entry_encode(&key, entry, &log->value);
    int r = put(log, &key, rk_buf_slice(&log->value));
    if (r == 0) {
        group->now.last = entry->index;
        group->now.last_term = entry->term;
    }
    return r;
}

int store_log_append(struct store_log *log, uint32_t id, const struct store_entry *entries, uint32_t count,
                     uint64_t *ret_bytes)
{
    struct store_log_group *group;
    int r = group_to_change(log, id, &group);
    if (r < 0 || count == 0)
        return r;
    uint64_t bytes = log->txn_bytes;
    rk_assert(entries[0].index > group->now.base.index && entries[0].index <= group->now.last + 1);
    if (entries[0].index <= group->now.last)
        r = truncate_group(log, group, entries[0].index);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        r = append_entry(log, group, &entries[i]);
    if (r < 0)
        return r;
    log->txn_entries += count;
    if (ret_bytes)
        *ret_bytes += log->txn_bytes - bytes;
    return 0;
}

int store_log_truncate(struct store_log *log, uint32_t id, uint64_t index)
{
    struct store_log_group *group;
    int r = group_to_change(log, id, &group);
    if (r < 0)
        return r;
    rk_assert(index > group->now.base.index && index <= group->now.last);
    r = truncate_group(log, group, index);
    if (r == 0)
        r = store_log_group_term(log, group, index - 1, &group->now.last_term);
    return r == STORE_E_NOT_FOUND ? -EUCLEAN : r;
}

int store_log_set_vote(struct store_log *log, uint32_t id, const struct store_vote *vote)
{
    struct store_log_group *group;
    int r = group_to_change(log, id, &group);
    r = r != 0 ? r : put_meta(log, id, 'v', vote->term, vote->voted_for);
    if (r == 0)
        group->now.vote = *vote;
    return r;
}

int store_log_cut(struct store_log *log, uint32_t id, const struct store_base *base)
{
    struct store_log_group *group;
    int r = group_to_change(log, id, &group);
    if (r < 0)
        return r;
    rk_assert(base->index >= group->now.base.index && base->index <= group->now.last);
    r = put_meta(log, id, 'b', base->index, base->term);
    if (r == 0)
        group->now.base = *base;
    return r;
}

/* Entries behind the new base go now, since they must not come back to life; those before it are left to the
 * trim. The mark may speak of the base's own index with another term, so it is lowered from there on. */
int store_log_reset(struct store_log *log, uint32_t id, const struct store_base *base)
{
    struct store_log_group *group;
    int r = group_to_change(log, id, &group);
    if (r == 0 && group->now.last > base->index)
        r = truncate_group(log, group, base->index + 1);
    r = r != 0 ? r : put_meta(log, id, 'b', base->index, base->term);
    if (r < 0)
        return r;
    group->cut_from = rk_min_u64(group->cut_from, base->index);
    group->now.base = *base;
    group->now.first = rk_min_u64(group->now.first, base->index + 1);
    group->now.last = base->index;
    group->now.last_term = base->term;
    return 0;
}

/* Not flushed: a crash brings garbage back, which is trimmed again. */
int store_log_trim(struct store_log *log, uint32_t id, uint32_t max)
{
    rk_assert(!log->txn);
    struct store_log_group *group = rk_map_get(&log->groups, id);
    if (!group || group->now.first > group->now.base.index)
        return store_env_failed(log->env);
    DB_TXN *txn;
    uint64_t next = 0;
    int r = store_env_begin(log->env, &txn);
    if (r < 0)
        return r;
    r = delete_entries(log, txn, id, group->now.first, group->now.base.index, max, &next);
    if (r < 0) {
        store_env_abort(log->env, txn);
        return r;
    }
    r = store_env_commit(log->env, txn);
    if (r < 0)
        return r;
    group->now.first = group->committed.first = next;
    return next <= group->now.base.index;
}

/* ---- any thread ---------------------------------------------------------------------------- */

int store_log_checkpoint(struct store_log *log)
{
    int r = store_env_checkpoint(log->env);
    if (r == 0)
        r = store_mark_write(log->mark);
    return r == 0 ? 0 : store_env_result(log->env, -r);
}

void store_log_stats(const struct store_log *log, struct store_log_stats *ret)
{
    *ret = (struct store_log_stats){.flushes = atomic_load(&log->flushes),
                                    .entries = atomic_load(&log->entries),
                                    .bytes = atomic_load(&log->bytes),
                                    .flush_us_total = atomic_load(&log->flush_us_total),
                                    .flush_us_max = atomic_load(&log->flush_us_max)};
}

uint64_t store_log_dirty_bytes(const struct store_log *log)
{
    return store_env_dirty_bytes(log->env);
}
