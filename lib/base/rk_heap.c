/* lib/base/rk_heap.c - intrusive binary min-heap ordered by a 64-bit key.
 *
 * Slots are counted from one, so that slot s has its parent at s / 2 and its
 * children at 2s and 2s + 1; items[] itself counts from zero. */
#include "lib/base/rk_heap.h"

#include "lib/base/rk_assert.h"

#define CAP_MIN 16u

static void place(struct rk_heap *heap, struct rk_heap_item *item, size_t slot)
{
    heap->items[slot - 1] = item;
    item->slot = slot;
}

static void sift_up(struct rk_heap *heap, struct rk_heap_item *item)
{
    size_t slot = item->slot;
    while (slot > 1 && heap->items[slot / 2 - 1]->key > item->key) {
        place(heap, heap->items[slot / 2 - 1], slot);
        slot /= 2;
    }
    place(heap, item, slot);
}

static void sift_down(struct rk_heap *heap, struct rk_heap_item *item)
{
    size_t slot = item->slot;
    while (slot * 2 <= heap->count) {
        size_t child = slot * 2;
        if (child < heap->count && heap->items[child]->key < heap->items[child - 1]->key)
            child++;
        if (heap->items[child - 1]->key >= item->key)
            break;
        place(heap, heap->items[child - 1], slot);
        slot = child;
    }
    place(heap, item, slot);
}

void rk_heap_deinit(struct rk_heap *heap)
{
    free(heap->items);
    *heap = (struct rk_heap){0};
}

void rk_heap_set(struct rk_heap *heap, struct rk_heap_item *item, uint64_t key)
{
    item->key = key;
    if (item->slot == 0) {
        if (heap->count == heap->cap) {
            heap->cap = heap->cap > 0 ? heap->cap * 2 : CAP_MIN;
            heap->items = rk_realloc(heap->items, heap->cap * sizeof(*heap->items));
        }
        heap->count++;
        place(heap, item, heap->count);
    }
    rk_assert(item->slot <= heap->count && heap->items[item->slot - 1] == item);
    sift_up(heap, item);
    sift_down(heap, item);
}

void rk_heap_remove(struct rk_heap *heap, struct rk_heap_item *item)
{
    if (item->slot == 0)
        return;
    rk_assert(item->slot <= heap->count && heap->items[item->slot - 1] == item);
    struct rk_heap_item *last = heap->items[heap->count - 1];
    size_t slot = item->slot;
    heap->count--;
    item->slot = 0;
    if (last == item)
        return;
    place(heap, last, slot);
    sift_up(heap, last);
    sift_down(heap, last);
}

struct rk_heap_item *rk_heap_peek(const struct rk_heap *heap)
{
    return heap->count > 0 ? heap->items[0] : NULL;
}
