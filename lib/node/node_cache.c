/* lib/node/node_cache.c - the tail of the log in memory, so that a follower that keeps up and the apply
 * thread never read the disk. A ring of entries with consecutive indexes. */
#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

static struct node_cache_entry *slot(const struct node_cache *cache, size_t at)
{
    return &cache->ring[(cache->start + at) % cache->cap];
}

static void drop(struct node_cache *cache, struct node_cache_entry *entry)
{
    cache->bytes -= entry->payload ? entry->payload->len : 0;
    entry->payload = rk_blob_unref(entry->payload);
}

void node_cache_deinit(struct node_cache *cache)
{
    node_cache_reset(cache, 0);
    free(cache->ring);
    *cache = (struct node_cache){0};
}

void node_cache_reset(struct node_cache *cache, uint64_t next)
{
    for (size_t i = 0; i < cache->count; i++)
        drop(cache, slot(cache, i));
    cache->count = 0;
    cache->first = next;
}

static void grow(struct node_cache *cache)
{
    size_t cap = cache->cap ? cache->cap * 2 : 64;
    struct node_cache_entry *ring = RK_NEW_ARRAY(struct node_cache_entry, cap);

    for (size_t i = 0; i < cache->count; i++)
        ring[i] = *slot(cache, i);
    free(cache->ring);
    cache->ring = ring;
    cache->cap = cap;
    cache->start = 0;
}

void node_cache_push(struct node_cache *cache, uint64_t index, uint64_t term, enum raft_entry_kind kind,
                     struct rk_blob *payload)
{
    if (cache->count == 0)
        cache->first = index;
    rk_assert(index == cache->first + cache->count);
    if (cache->count == cache->cap)
        grow(cache);
    cache->count++;
    *slot(cache, cache->count - 1) =
        (struct node_cache_entry){.term = term, .kind = kind, .payload = rk_blob_ref(payload)};
    cache->bytes += payload ? payload->len : 0;
}

void node_cache_truncate(struct node_cache *cache, uint64_t from)
{
    while (cache->count > 0 && cache->first + cache->count - 1 >= from) {
        drop(cache, slot(cache, cache->count - 1));
        cache->count--;
    }
}

void node_cache_trim(struct node_cache *cache, uint64_t keep_after, uint64_t max_bytes)
{
    /* Empty payloads cost a slot too: count them as 64 bytes. */
    while (cache->count > 0 && cache->first <= keep_after && cache->bytes + cache->count * 64 > max_bytes) {
        drop(cache, slot(cache, 0));
        cache->start = (cache->start + 1) % cache->cap;
        cache->first++;
        cache->count--;
    }
}

const struct node_cache_entry *node_cache_get(const struct node_cache *cache, uint64_t index)
{
    if (index < cache->first || index >= cache->first + cache->count)
        return NULL;
    return slot(cache, (size_t)(index - cache->first));
}
