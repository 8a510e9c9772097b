/* lib/base/rk_heap.h - intrusive binary min-heap ordered by a 64-bit key; for timers and deadlines. */
#ifndef RK_HEAP_H
#define RK_HEAP_H

#include "lib/base/rk_util.h"

struct rk_heap_item {
    uint64_t key;
    size_t slot; /* 1-based place in the heap; 0 when not in it, so zeroed memory is "out" */
};

struct rk_heap {
    struct rk_heap_item **items; /* items[0] is the smallest */
    size_t count, cap;
};

void rk_heap_deinit(struct rk_heap *heap); /* frees the array, not the items */
/* Inserts, or moves an item that is in the heap already to its new key. */
void rk_heap_set(struct rk_heap *heap, struct rk_heap_item *item, uint64_t key);
void rk_heap_remove(struct rk_heap *heap, struct rk_heap_item *item); /* harmless when out */
struct rk_heap_item *rk_heap_peek(const struct rk_heap *heap);        /* NULL when empty */

static inline bool rk_heap_has(const struct rk_heap_item *item)
{
    return item->slot != 0;
}

#endif
