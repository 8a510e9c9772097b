/* tests/unit/raft_cluster_log.c - the log of a simulated node, with payloads. */
#include "tests/unit/raft_cluster_internal.h"

#include <string.h>

uint64_t cluster_mix(uint64_t hash, uint64_t value)
{
    struct rk_random r = {.state = hash ^ (value * 0x9e3779b97f4a7c15ULL)};
    return rk_random_next(&r);
}

uint64_t cluster_log_last(const struct cluster_log *log)
{
    return log->base_index + log->count;
}

struct cluster_entry *cluster_log_at(const struct cluster_log *log, uint64_t index)
{
    if (index <= log->base_index || index > cluster_log_last(log))
        return NULL;
    return &log->items[index - log->base_index - 1];
}

uint64_t cluster_log_term(const struct cluster_log *log, uint64_t index)
{
    if (index == log->base_index)
        return log->base_term;
    const struct cluster_entry *e = cluster_log_at(log, index);
    return e == NULL ? 0 : e->entry.term;
}

void cluster_log_push(struct cluster_log *log, const struct cluster_entry *e)
{
    rk_assert(e->entry.index == cluster_log_last(log) + 1);
    if (log->count == log->capacity) {
        log->capacity = log->capacity == 0 ? 64 : log->capacity * 2;
        log->items = rk_realloc(log->items, log->capacity * sizeof(*log->items));
    }
    log->items[log->count++] = *e;
}

/* Replaces what is stored at or after the first entry. */
void cluster_log_write(struct cluster_log *log, const struct cluster_entry *entries, size_t count)
{
    if (count == 0)
        return;
    rk_assert(entries[0].entry.index > log->base_index &&
              entries[0].entry.index <= cluster_log_last(log) + 1);
    log->count = (size_t)(entries[0].entry.index - log->base_index - 1);
    for (size_t i = 0; i < count; i++)
        cluster_log_push(log, &entries[i]);
}

void cluster_log_cut(struct cluster_log *log, uint64_t index)
{
    if (index <= log->base_index)
        return;
    size_t drop = (size_t)(index - log->base_index);
    rk_assert(drop <= log->count);
    log->base_term = cluster_log_term(log, index);
    memmove(log->items, log->items + drop, (log->count - drop) * sizeof(*log->items));
    log->count -= drop;
    log->base_index = index;
}

void cluster_log_reset(struct cluster_log *log, uint64_t index, uint64_t term)
{
    log->base_index = index;
    log->base_term = term;
    log->count = 0;
}
