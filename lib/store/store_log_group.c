/* lib/store/store_log_group.c - what the log thread knows of each group without asking the B-tree.
 *
 * All groups are loaded when the log opens, so that appending never has to look
 * where a group ends, and damage to a vote or a base is found before anybody
 * relies on it. Then the mark is asked whether everything is there. */
#include <errno.h>
#include <inttypes.h>

#include "lib/base/rk_wire.h"
#include "lib/store/store_log.h"

/* ---- one group -------------------------------------------------------------------- */

int store_log_group_get(struct store_log *log, uint32_t id, struct store_log_group **ret)
{
    struct store_log_group *group = rk_map_get(&log->groups, id);
    if (!group) {
        if (log->groups.count >= STORE_MARK_GROUPS_MAX)
            return -E2BIG;
        group = RK_NEW(struct store_log_group);
        group->id = id;
        group->now.first = group->committed.first = 1;
        group->cut_from = UINT64_MAX;
        rk_list_init(&group->dirty_link);
        rk_map_put(&log->groups, id, group);
    }
    *ret = group;
    return 0;
}

void store_log_groups_free(struct store_log *log)
{
    size_t cursor = 0;
    for (struct rk_map_slot *s = rk_map_next(&log->groups, &cursor); s;
         s = rk_map_next(&log->groups, &cursor))
        free(s->value);
    rk_map_deinit(&log->groups);
}

int store_log_group_term(struct store_log *log, const struct store_log_group *group, uint64_t index,
                         uint64_t *ret_term)
{
    if (index == group->now.base.index) {
        *ret_term = group->now.base.term;
        return 0;
    }
    uint8_t bytes[8];
    struct store_log_key key = store_log_entry_key(group->id, index);
    DBT k = store_log_key_dbt(&key);
    DBT v = {.data = bytes,
             .ulen = sizeof(bytes),
             .dlen = sizeof(bytes),
             .flags = DB_DBT_USERMEM | DB_DBT_PARTIAL};
    int answer = log->env->db->get(log->env->db, log->txn, &k, &v, 0);
    if (answer == DB_NOTFOUND)
        return STORE_E_NOT_FOUND;
    int r = store_env_result(log->env, answer);
    if (r == 0)
        *ret_term = v.size == sizeof(bytes) ? rk_load_u64(bytes) : 0;
    return r;
}

/* ---- loading ------------------------------------------------------------------------ */

static int refuse(struct store_log *log, uint32_t group, const char *what, char **ret_error)
{
    *ret_error = rk_asprintf("%s: %s of group %" PRIu32
                             " is damaged. This host must not vote with it: wipe its data and "
                             "let it join again.",
                             log->env->home, what, group);
    return STORE_E_REFUSED;
}

static int load_meta(struct store_log *log, const DBT *k, struct rk_slice value, char **ret_error)
{
    struct store_log_group *group;
    struct store_log_key key = {.len = 6};
    if (k->size != key.len)
        return refuse(log, 0, "a record", ret_error);
    memcpy(key.bytes, k->data, key.len);
    uint32_t id = rk_load_u32(key.bytes + 1);
    int r = store_log_group_get(log, id, &group);
    if (r < 0)
        return r;
    uint64_t a, b;
    bool whole = store_log_meta_decode(&key, value, &a, &b);
    if (key.bytes[5] == 'v' && whole)
        group->now.vote = (struct store_vote){.term = a, .voted_for = b};
    else if (key.bytes[5] == 'b' && whole)
        group->now.base = (struct store_base){.index = a, .term = b};
    else if (key.bytes[5] == 'm') /* looked at by whoever needs it */
        return 0;
    else
        return refuse(log, id, key.bytes[5] == 'v' ? "the vote" : "the start of the log", ret_error);
    return 0;
}

static int load_metas(struct store_log *log, DBC *dbc, char **ret_error)
{
    uint8_t first = STORE_LOG_TABLE_META;
    DBT key = {.data = &first, .size = 1}, value = {0};
    int answer = dbc->get(dbc, &key, &value, DB_SET_RANGE);
    for (; answer == 0; answer = dbc->get(dbc, &key, &value, DB_NEXT)) {
        if (((const uint8_t *)key.data)[0] != STORE_LOG_TABLE_META)
            return 0;
        int r = load_meta(log, &key, rk_slice(value.data, value.size), ret_error);
        if (r != 0)
            return r;
    }
    return answer == DB_NOTFOUND ? 0 : store_env_result(log->env, answer);
}

/* The cursor's move, with the entry it found, if it is one of this group. */
static int entry_at(struct store_log *log, DBC *dbc, struct store_log_key *from, u_int32_t how,
                    uint32_t *ret_group, uint64_t *ret_index)
{
    DBT key = from ? store_log_key_dbt(from) : (DBT){0};
    DBT nothing = {.flags = DB_DBT_PARTIAL};
    int answer = dbc->get(dbc, &key, &nothing, how);
    if (answer == DB_NOTFOUND)
        return STORE_E_NOT_FOUND;
    int r = store_env_result(log->env, answer);
    if (r < 0)
        return r;
    return store_log_entry_key_parse(&key, ret_group, ret_index) ? 0 : STORE_E_NOT_FOUND;
}

/* The last entry of a group is the one before the first that sorts behind the group, or the last of all. */
static int find_last(struct store_log *log, DBC *dbc, uint32_t id, uint64_t *ret_index)
{
    struct store_log_key beyond = store_log_entry_key(id, UINT64_MAX);
    uint32_t group;
    uint64_t index;
    int r = entry_at(log, dbc, &beyond, DB_SET_RANGE, &group, &index);
    if (r >= 0)
        r = entry_at(log, dbc, NULL, r == 0 ? DB_PREV : DB_LAST, &group, &index);
    if (r == 0)
        *ret_index = index;
    return r;
}

static int load_extent(struct store_log *log, DBC *dbc, uint32_t id, uint64_t first)
{
    struct store_log_group *group;
    int r = store_log_group_get(log, id, &group);
    if (r < 0)
        return r;
    group->now.first = first;
    return find_last(log, dbc, id, &group->now.last);
}

/* Jumps from group to group; the entries in between are not read. */
static int load_extents(struct store_log *log, DBC *dbc)
{
    struct store_log_key from = store_log_entry_key(0, 0);
    uint32_t id;
    uint64_t first;
    int r = entry_at(log, dbc, &from, DB_SET_RANGE, &id, &first);
    while (r == 0) {
        r = load_extent(log, dbc, id, first);
        if (r == 0 && id == UINT32_MAX)
            return 0;
        from = store_log_entry_key(id + 1, 0);
        r = r != 0 ? r : entry_at(log, dbc, &from, DB_SET_RANGE, &id, &first);
    }
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

static int settle(struct store_log *log, struct store_log_group *group)
{
    struct store_log_state *s = &group->now;
    if (s->last < s->base.index)
        s->last = s->base.index;
    int r = store_log_group_term(log, group, s->last, &s->last_term);
    group->committed = *s;
    return r == STORE_E_NOT_FOUND ? -EUCLEAN : r;
}

int store_log_groups_load(struct store_log *log, char **ret_error)
{
    DBC *dbc;
    int r = store_env_result(log->env, log->env->db->cursor(log->env->db, NULL, &dbc, 0));
    if (r < 0)
        return r;
    r = load_metas(log, dbc, ret_error);
    r = r != 0 ? r : load_extents(log, dbc);
    int closed = store_env_result(log->env, dbc->close(dbc));
    r = r != 0 ? r : closed;
    size_t cursor = 0;
    for (struct rk_map_slot *s = rk_map_next(&log->groups, &cursor); r == 0 && s;
         s = rk_map_next(&log->groups, &cursor))
        r = settle(log, s->value);
    return r;
}

/* ---- the mark ------------------------------------------------------------------------ */

static int refuse_short(const struct store_log *log, const struct store_mark_item *item, uint64_t last,
                        char **ret_error)
{
    *ret_error = rk_asprintf("%s: the log of group %" PRIu32 " ends at index %" PRIu64
                             ", but entries up to index %" PRIu64
                             " had been written and acknowledged. Files are damaged, missing, or from an "
                             "older copy. With the lost "
                             "entries this host must not vote: wipe its data and let it join again.",
                             log->env->home, item->group, last, item->index);
    return STORE_E_REFUSED;
}

static int refuse_other(const struct store_log *log, const struct store_mark_item *item, const char *what,
                        uint64_t found, uint64_t expected, char **ret_error)
{
    *ret_error = rk_asprintf(
        "%s: the log of group %" PRIu32 " has %s %" PRIu64 " where %" PRIu64
        " had been written. Files are from an older copy or damaged. This host must not vote: wipe "
        "its data and let it join again.",
        log->env->home, item->group, what, found, expected);
    return STORE_E_REFUSED;
}

static int check_item(struct store_log *log, const struct store_mark_item *item, char **ret_error)
{
    struct store_log_group *group;
    uint64_t term = 0;
    int r = store_log_group_get(log, item->group, &group);
    if (r < 0)
        return r;
    const struct store_log_state *s = &group->now;
    if (s->last < item->index)
        return refuse_short(log, item, s->last, ret_error);
    if (s->vote.term < item->vote.term)
        return refuse_other(log, item, "a vote of term", s->vote.term, item->vote.term, ret_error);
    if (s->vote.term == item->vote.term && s->vote.voted_for != item->vote.voted_for &&
        item->vote.voted_for != 0)
        return refuse_other(log, item, "a vote for", s->vote.voted_for, item->vote.voted_for, ret_error);
    if (item->term == 0 || item->index <= s->base.index)
        return 0;
    r = store_log_group_term(log, group, item->index, &term);
    if (r < 0)
        return r;
    if (r == STORE_E_NOT_FOUND || term != item->term)
        return refuse_other(log, item, "an entry of term", term, item->term, ret_error);
    return 0;
}

int store_log_groups_check_mark(struct store_log *log, char **ret_error)
{
    int r = 0;
    size_t cursor = 0;
    for (const struct store_mark_item *item = store_mark_next(log->mark, &cursor); r == 0 && item;
         item = store_mark_next(log->mark, &cursor))
        r = check_item(log, item, ret_error);
    return r;
}
