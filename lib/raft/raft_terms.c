/* lib/raft/raft_terms.c - the log as the core sees it: who wrote which stretch, and how large each entry is.
 *
 * Terms only grow along a log, so the map from index to term is a short sorted
 * array of runs: one per leader whose entries are still there. Sizes are kept one
 * by one in a ring, 4 bytes an entry, since windows are counted in bytes. */
#include "lib/raft/raft_internal.h"

#include <string.h>

void *raft_grow(void *array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity == 0 ? 8 : *capacity * 2;
    return rk_realloc(array, *capacity * size);
}

void raft_terms_init(struct raft_terms *terms, uint64_t base_index, uint64_t base_term)
{
    *terms = (struct raft_terms){.base_index = base_index, .base_term = base_term, .last_index = base_index};
}

void raft_terms_deinit(struct raft_terms *terms)
{
    free(terms->runs);
    free(terms->sizes);
    *terms = (struct raft_terms){0};
}

static size_t size_slot(const struct raft_terms *terms, uint64_t index)
{
    return (terms->size_head + (size_t)(index - terms->base_index - 1)) & (terms->size_capacity - 1);
}

static void grow_sizes(struct raft_terms *terms)
{
    size_t old = terms->size_capacity;
    size_t grown = old == 0 ? 64 : old * 2;
    uint32_t *sizes = RK_NEW_ARRAY(uint32_t, grown);
    /* The old ring is full, so it is exactly two stretches. */
    if (old > 0) {
        size_t tail = old - terms->size_head;
        memcpy(sizes, terms->sizes + terms->size_head, tail * sizeof(*sizes));
        memcpy(sizes + tail, terms->sizes, terms->size_head * sizeof(*sizes));
    }
    free(terms->sizes);
    terms->sizes = sizes;
    terms->size_head = 0;
    terms->size_capacity = grown;
}

void raft_terms_append(struct raft_terms *terms, uint64_t term, uint32_t bytes)
{
    rk_assert(term >= raft_terms_last(terms));
    if (terms->last_index - terms->base_index == terms->size_capacity)
        grow_sizes(terms);
    terms->last_index++;
    terms->sizes[size_slot(terms, terms->last_index)] = bytes;
    if (terms->run_count > 0 && terms->runs[terms->run_count - 1].term == term)
        return;
    terms->runs = raft_grow(terms->runs, &terms->run_capacity, terms->run_count, sizeof(*terms->runs));
    terms->runs[terms->run_count++] = (struct raft_term_run){.first = terms->last_index, .term = term};
}

void raft_terms_truncate(struct raft_terms *terms, uint64_t index)
{
    rk_assert(index >= terms->base_index && index <= terms->last_index);
    while (terms->run_count > 0 && terms->runs[terms->run_count - 1].first > index)
        terms->run_count--;
    terms->last_index = index;
}

/* The position of the run that holds index; the index is inside the log. */
static size_t run_of(const struct raft_terms *terms, uint64_t index)
{
    size_t low = 0, high = terms->run_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (terms->runs[middle].first <= index)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void raft_terms_cut(struct raft_terms *terms, uint64_t index)
{
    rk_assert(index >= terms->base_index && index <= terms->last_index);
    if (index == terms->base_index)
        return;
    size_t run = run_of(terms, index);
    terms->base_term = terms->runs[run].term;
    /* The run of index stays when it goes on behind it. */
    bool ends =
        run + 1 < terms->run_count ? terms->runs[run + 1].first == index + 1 : terms->last_index == index;
    size_t drop = ends ? run + 1 : run;
    memmove(terms->runs, terms->runs + drop, (terms->run_count - drop) * sizeof(*terms->runs));
    terms->run_count -= drop;
    if (terms->run_count > 0)
        terms->runs[0].first = index + 1;
    terms->size_head = (terms->size_head + (size_t)(index - terms->base_index)) & (terms->size_capacity - 1);
    terms->base_index = index;
}

void raft_terms_reset(struct raft_terms *terms, uint64_t index, uint64_t term)
{
    terms->base_index = terms->last_index = index;
    terms->base_term = term;
    terms->run_count = 0;
    terms->size_head = 0;
}

uint64_t raft_terms_at(const struct raft_terms *terms, uint64_t index)
{
    if (index == terms->base_index)
        return terms->base_term;
    if (index < terms->base_index || index > terms->last_index)
        return 0;
    /* Nearly every question is about the newest run. */
    const struct raft_term_run *newest = &terms->runs[terms->run_count - 1];
    return index >= newest->first ? newest->term : terms->runs[run_of(terms, index)].term;
}

uint64_t raft_terms_last(const struct raft_terms *terms)
{
    return raft_terms_at(terms, terms->last_index);
}

uint32_t raft_terms_bytes(const struct raft_terms *terms, uint64_t index)
{
    rk_assert(index > terms->base_index && index <= terms->last_index);
    return terms->sizes[size_slot(terms, index)];
}

uint64_t raft_terms_sum(const struct raft_terms *terms, uint64_t first, uint64_t last)
{
    uint64_t sum = 0;
    for (uint64_t i = first; i <= last; i++)
        sum += raft_terms_bytes(terms, i);
    return sum;
}

uint64_t raft_terms_search(const struct raft_terms *terms, uint64_t index, uint64_t term)
{
    if (index < terms->base_index)
        return index;
    uint64_t upper = rk_min_u64(index, terms->last_index);
    for (size_t i = terms->run_count; i > 0; i--) {
        const struct raft_term_run *run = &terms->runs[i - 1];
        if (run->first > upper)
            continue;
        if (run->term <= term)
            return upper;
        upper = run->first - 1;
    }
    if (terms->base_term <= term || terms->base_index == 0)
        return terms->base_index;
    return terms->base_index - 1;
}
