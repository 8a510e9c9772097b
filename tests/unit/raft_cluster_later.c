/* tests/unit/raft_cluster_later.c - what happens later: a binary heap by time, then by order of scheduling.
 */
#include "tests/unit/raft_cluster_internal.h"

static bool sooner(const struct cluster_happening *a, const struct cluster_happening *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->seq < b->seq;
}

void cluster_schedule(struct cluster *c, struct cluster_happening *h, uint64_t due_us)
{
    h->due_us = due_us;
    h->seq = c->heap_seq++;
    if (c->heap_count == c->heap_capacity) {
        c->heap_capacity = c->heap_capacity == 0 ? 64 : c->heap_capacity * 2;
        c->heap = rk_realloc(c->heap, c->heap_capacity * sizeof(struct cluster_happening *));
    }
    size_t i = c->heap_count++;
    for (; i > 0 && sooner(h, c->heap[(i - 1) / 2]); i = (i - 1) / 2)
        c->heap[i] = c->heap[(i - 1) / 2];
    c->heap[i] = h;
}

struct cluster_happening *cluster_take_first(struct cluster *c)
{
    struct cluster_happening *first = c->heap[0];
    struct cluster_happening *moved = c->heap[--c->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= c->heap_count)
            break;
        if (child + 1 < c->heap_count && sooner(c->heap[child + 1], c->heap[child]))
            child++;
        if (!sooner(c->heap[child], moved))
            break;
        c->heap[i] = c->heap[child];
        i = child;
    }
    c->heap[i] = moved;
    return first;
}

struct cluster_happening *cluster_happening_new(enum happening kind, uint32_t node, uint32_t incarnation)
{
    struct cluster_happening *h = RK_NEW(struct cluster_happening);
    h->kind = kind;
    h->node = node;
    h->incarnation = incarnation;
    return h;
}

void cluster_happening_free(struct cluster_happening *h)
{
    free(h->entries);
    free(h);
}
