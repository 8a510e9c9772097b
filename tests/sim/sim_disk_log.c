/* tests/sim/sim_disk_log.c - store.h's raft log in memory: a transaction is durable once it is committed. */
#include "tests/sim/sim_disk_internal.h"

#include <errno.h>

/* ---- groups ---------------------------------------------------------------------------- */

static void truncate_to(struct sim_log_group *group, size_t count)
{
    while (group->count > count)
        rk_blob_unref(group->entries[--group->count].payload);
}

static void group_copy(struct sim_log_group *to, const struct sim_log_group *from)
{
    *to = *from;
    to->cap = from->count;
    to->entries = NULL;
    rk_blob_ref(to->members);
    if (from->count == 0)
        return;
    to->entries = RK_NEW_ARRAY(struct sim_entry, from->count);
    for (size_t i = 0; i < from->count; i++) {
        to->entries[i] = from->entries[i];
        rk_blob_ref(to->entries[i].payload);
    }
}

void sim_log_copy(struct sim_log *to, const struct sim_log *from)
{
    for (uint32_t i = 0; i < SIM_GROUPS; i++)
        group_copy(&to->groups[i], &from->groups[i]);
}

void sim_log_deinit(struct sim_log *log)
{
    for (uint32_t i = 0; i < SIM_GROUPS; i++) {
        truncate_to(&log->groups[i], 0);
        free(log->groups[i].entries);
        rk_blob_unref(log->groups[i].members);
    }
}

static uint64_t last_of(const struct sim_log_group *group)
{
    return group->base.index + group->count;
}

static uint64_t term_at(const struct sim_log_group *group, uint64_t index)
{
    if (index == group->base.index)
        return group->base.term;
    return group->entries[index - group->base.index - 1].term;
}

/* ---- store.h --------------------------------------------------------------------------------- */

int store_log_open(struct store_dir *dir, const struct store_log_config *config RK_UNUSED,
                   void (*progress)(void *userdata, unsigned percent) RK_UNUSED, void *userdata RK_UNUSED,
                   struct store_log **ret, char **ret_error RK_UNUSED)
{
    rk_assert(!dir->disk->log_open);
    dir->disk->log_open = true;
    dir->disk->log_error = 0;
    dir->disk->stats = (struct store_log_stats){0};
    *ret = RK_NEW(struct store_log);
    (*ret)->disk = dir->disk;
    return 0;
}

void store_log_close(struct store_log *log)
{
    if (!log)
        return;
    if (log->disk->log_txn)
        store_log_abort(log);
    log->disk->log_open = false;
    free(log);
}

int store_log_state(struct store_log *log, uint32_t group, struct store_vote *ret_vote,
                    struct store_base *ret_base, uint64_t *ret_last)
{
    const struct sim_log_group *g = &log->disk->log.groups[group];

    *ret_vote = g->vote;
    *ret_base = g->base;
    *ret_last = last_of(g);
    return log->disk->log_error;
}

int store_log_read(struct store_log *log, uint32_t group, uint64_t first,
                   bool (*fn)(void *userdata, const struct store_entry *entry), void *userdata)
{
    struct store_entry entry;

    if (log->disk->log_error)
        return log->disk->log_error;
    if (!sim_disk_entry(log->disk, group, first, &entry))
        return STORE_E_NOT_FOUND;
    for (; sim_disk_entry(log->disk, group, first, &entry); first++) {
        if (log->disk->log.groups[group].entries[first - log->disk->log.groups[group].base.index - 1].rotten)
            return STORE_E_CORRUPT;
        if (!fn(userdata, &entry))
            return 0;
    }
    return 0;
}

bool sim_disk_rot_entry(struct sim_disk *disk, struct rk_random *random)
{
    struct sim_log_group *g = &disk->log.groups[0];

    if (g->count == 0 || disk->log_txn)
        return false;
    /* Mostly one that the rows may not have yet. */
    size_t among = rk_random_below(random, 10) < 7 && g->count > 4 ? 4 : g->count;
    g->entries[g->count - 1 - rk_random_below(random, among)].rotten = true;
    return true;
}

int store_log_begin(struct store_log *log)
{
    rk_assert(!log->disk->log_txn);
    if (log->disk->log_error)
        return log->disk->log_error;
    log->disk->log_txn = RK_NEW(struct sim_log);
    sim_log_copy(log->disk->log_txn, &log->disk->log);
    memset(log->disk->appended, 0, sizeof(log->disk->appended));
    return 0;
}

static struct sim_entry *add_entry(struct sim_log_group *g)
{
    if (g->count == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 64;
        g->entries = rk_realloc(g->entries, g->cap * sizeof(*g->entries));
    }
    return &g->entries[g->count++];
}

int store_log_append(struct store_log *log, uint32_t group, const struct store_entry *entries, uint32_t count,
                     uint64_t *ret_bytes)
{
    struct sim_disk *disk = log->disk;
    struct sim_log_group *g = &disk->log_txn->groups[group];

    rk_assert(count > 0 && entries[0].index > g->base.index && entries[0].index <= last_of(g) + 1);
    truncate_to(g, entries[0].index - g->base.index - 1);
    if (disk->appended[group] == 0 || disk->appended[group] > entries[0].index)
        disk->appended[group] = entries[0].index;
    for (uint32_t i = 0; i < count; i++) {
        const struct store_entry *e = &entries[i];

        rk_assert(e->index == last_of(g) + 1);
        *add_entry(g) = (struct sim_entry){.term = e->term,
                                           .kind = e->kind,
                                           .payload = e->payload.len > 0 ? rk_blob_copy(e->payload) : NULL};
        disk->log_dirty += e->payload.len + 32;
        if (ret_bytes)
            *ret_bytes += e->payload.len;
    }
    disk->stats.entries += count;
    return 0;
}

int store_log_truncate(struct store_log *log, uint32_t group, uint64_t index)
{
    struct sim_log_group *g = &log->disk->log_txn->groups[group];

    rk_assert(index > g->base.index && index <= last_of(g));
    truncate_to(g, index - g->base.index - 1);
    return 0;
}

int store_log_set_vote(struct store_log *log, uint32_t group, const struct store_vote *vote)
{
    log->disk->log_txn->groups[group].vote = *vote;
    return 0;
}

int store_log_cut(struct store_log *log, uint32_t group, const struct store_base *base)
{
    struct sim_log_group *g = &log->disk->log_txn->groups[group];
    size_t drop = base->index - g->base.index;

    rk_assert(base->index >= g->base.index && base->index <= last_of(g));
    rk_assert(term_at(g, base->index) == base->term);
    for (size_t i = 0; i < drop; i++)
        rk_blob_unref(g->entries[i].payload);
    if (drop > 0)
        memmove(g->entries, g->entries + drop, (g->count - drop) * sizeof(*g->entries));
    g->count -= drop;
    g->base = *base;
    return 0;
}

int store_log_reset(struct store_log *log, uint32_t group, const struct store_base *base)
{
    struct sim_log_group *g = &log->disk->log_txn->groups[group];

    truncate_to(g, 0);
    g->base = *base;
    return 0;
}

int store_log_set_members(struct store_log *log, uint32_t group, uint64_t index, struct rk_slice members)
{
    struct sim_log_group *g = &log->disk->log_txn->groups[group];

    rk_blob_unref(g->members);
    g->members = rk_blob_copy(members);
    g->members_index = index;
    return 0;
}

int store_log_members(struct store_log *log, uint32_t group, uint64_t *ret_index, struct rk_buf *ret)
{
    const struct sim_log_group *g = &log->disk->log.groups[group];

    if (!g->members)
        return STORE_E_NOT_FOUND;
    *ret_index = g->members_index;
    rk_buf_clear(ret);
    rk_buf_append_slice(ret, rk_blob_slice(g->members));
    return 0;
}

static void tell_appended(struct sim_disk *disk, uint32_t group)
{
    const struct sim_log_group *g = &disk->log.groups[group];
    struct store_entry entry;

    for (uint64_t at = disk->appended[group]; at > 0 && sim_disk_entry(disk, group, at, &entry); at++)
        if (disk->watch.appended)
            disk->watch.appended(disk->watch.userdata, group, &entry, term_at(g, at - 1));
}

static void take_txn(struct sim_disk *disk)
{
    sim_log_deinit(&disk->log);
    disk->log = *disk->log_txn;
    free(disk->log_txn);
    disk->log_txn = NULL;
    for (uint32_t i = 0; i < SIM_GROUPS; i++)
        tell_appended(disk, i);
}

int store_log_commit(struct store_log *log)
{
    struct sim_disk *disk = log->disk;

    rk_assert(disk->log_txn);
    sim_disk_point(disk);
    if (disk->log_breaks) {
        disk->log_error = -EIO;
        disk->log_breaks = false;
        if (disk->log_lands)
            take_txn(disk);
        else
            store_log_abort(log);
        return -EIO;
    }
    take_txn(disk);
    disk->stats.flushes++;
    sim_disk_point(disk);
    return 0;
}

void store_log_abort(struct store_log *log)
{
    rk_assert(log->disk->log_txn);
    sim_log_deinit(log->disk->log_txn);
    free(log->disk->log_txn);
    log->disk->log_txn = NULL;
}

int store_log_trim(struct store_log *log, uint32_t group RK_UNUSED, uint32_t max RK_UNUSED)
{
    return log->disk->log_error;
}

int store_log_checkpoint(struct store_log *log)
{
    log->disk->log_dirty = 0;
    return log->disk->log_error;
}

void store_log_stats(const struct store_log *log, struct store_log_stats *ret)
{
    *ret = log->disk->stats;
}

uint64_t store_log_dirty_bytes(const struct store_log *log)
{
    return log->disk->log_dirty;
}
