/* tests/bench/bench_histogram.c - latencies in a table of fixed size, whatever their number. */
#include "tests/bench/bench.h"

#include "lib/base/rk_assert.h"

/* Seven significant bits: below 128 the value is its own bucket, above each doubling has 64. */
static uint32_t bucket_of(uint64_t us)
{
    if (us < 128)
        return (uint32_t)us;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(us) - 6u;
    return shift * 64u + (uint32_t)(us >> shift);
}

/* The largest value that falls into the bucket. */
static uint64_t top_of(uint32_t bucket)
{
    uint32_t shift = bucket < 128 ? 0 : bucket / 64u - 1;
    return ((uint64_t)(bucket - shift * 64u + 1) << shift) - 1;
}

void bench_histogram_add(struct bench_histogram *histogram, uint64_t us)
{
    uint32_t bucket = bucket_of(us);
    rk_assert(bucket < BENCH_BUCKETS);
    histogram->buckets[bucket]++;
    histogram->count++;
    histogram->sum_us += us;
    histogram->max_us = rk_max_u64(histogram->max_us, us);
}

uint64_t bench_histogram_at(const struct bench_histogram *histogram, uint32_t millionth)
{
    uint64_t seen = 0, wanted = (histogram->count * millionth + 999999) / 1000000;
    if (histogram->count == 0)
        return 0;
    for (uint32_t i = 0; i < BENCH_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted)
            return rk_min_u64(top_of(i), histogram->max_us);
    }
    return histogram->max_us;
}
