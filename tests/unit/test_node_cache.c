/* tests/unit/test_node_cache.c - the tail of the log in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/node/node_internal.h"

static struct rk_blob *payload(uint64_t index, size_t len)
{
    struct rk_blob *blob = rk_blob_new(len);

    memset(blob->data, (int)(index & 0xff), len);
    return blob;
}

static void push(struct node_cache *cache, uint64_t index, uint64_t term, size_t len)
{
    struct rk_blob *blob = len > 0 ? payload(index, len) : NULL;

    node_cache_push(cache, index, term, RAFT_ENTRY_COMMAND, blob);
    rk_blob_unref(blob); /* the cache has a reference of its own */
}

static void check(const struct node_cache *cache, uint64_t first, uint64_t count, size_t len)
{
    assert_int_equal(cache->count, count);
    assert_int_equal(cache->bytes, count * len);
    assert_null(node_cache_get(cache, first - 1));
    assert_null(node_cache_get(cache, first + count));
    for (uint64_t index = first; index < first + count; index++) {
        const struct node_cache_entry *entry = node_cache_get(cache, index);

        assert_non_null(entry);
        assert_int_equal(entry->term, index);
        assert_int_equal(entry->payload->len, len);
        assert_int_equal(entry->payload->data[0], index & 0xff);
    }
}

static void the_ring_grows_while_it_wraps(void **state)
{
    struct node_cache cache = {0};

    (void)state;
    for (uint64_t index = 5; index < 65; index++)
        push(&cache, index, index, 10);
    node_cache_trim(&cache, 44, 0); /* the start moves to the middle of the ring */
    check(&cache, 45, 20, 10);
    for (uint64_t index = 65; index < 1000; index++)
        push(&cache, index, index, 10);
    check(&cache, 45, 955, 10);
    node_cache_deinit(&cache);
}

static void truncation_drops_the_tail_and_lets_it_be_written_anew(void **state)
{
    struct node_cache cache = {0};

    (void)state;
    for (uint64_t index = 10; index < 20; index++)
        push(&cache, index, index, 3);
    node_cache_truncate(&cache, 25);
    check(&cache, 10, 10, 3);
    node_cache_truncate(&cache, 15);
    check(&cache, 10, 5, 3);
    push(&cache, 15, 15, 3);
    check(&cache, 10, 6, 3);
    node_cache_truncate(&cache, 3); /* all of it */
    assert_int_equal(cache.count, 0);
    assert_int_equal(cache.bytes, 0);
    push(&cache, 3, 3, 3); /* an empty cache begins anywhere */
    check(&cache, 3, 1, 3);
    node_cache_deinit(&cache);
}

static void trim_never_drops_what_is_not_handed_over(void **state)
{
    struct node_cache cache = {0};

    (void)state;
    for (uint64_t index = 1; index <= 100; index++)
        push(&cache, index, index, 1000);
    node_cache_trim(&cache, 40, 0);
    check(&cache, 41, 60, 1000);
    node_cache_trim(&cache, 40, 0);
    check(&cache, 41, 60, 1000);
    node_cache_trim(&cache, 1000, 0);
    assert_int_equal(cache.count, 0);
    node_cache_deinit(&cache);
}

static void trim_stops_at_the_budget(void **state)
{
    struct node_cache cache = {0};

    (void)state;
    for (uint64_t index = 1; index <= 100; index++)
        push(&cache, index, index, 936); /* and 64 for the slot */
    node_cache_trim(&cache, 100, 50000);
    check(&cache, 51, 50, 936);
    node_cache_deinit(&cache);
}

static void entries_without_payload_cost_something(void **state)
{
    struct node_cache cache = {0};

    (void)state;
    for (uint64_t index = 1; index <= 100; index++)
        push(&cache, index, 1, 0);
    assert_int_equal(cache.bytes, 0);
    assert_null(node_cache_get(&cache, 50)->payload);
    node_cache_trim(&cache, 100, 640);
    assert_int_equal(cache.count, 10);
    node_cache_deinit(&cache);
}

static void reset_empties_and_says_what_comes(void **state)
{
    struct node_cache cache = {0};

    (void)state;
    assert_null(node_cache_get(&cache, 0));
    for (uint64_t index = 1; index <= 10; index++)
        push(&cache, index, index, 7);
    node_cache_reset(&cache, 101);
    assert_int_equal(cache.first + cache.count, 101);
    assert_null(node_cache_get(&cache, 101));
    push(&cache, 101, 101, 7);
    check(&cache, 101, 1, 7);
    node_cache_deinit(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ring_grows_while_it_wraps),
        cmocka_unit_test(truncation_drops_the_tail_and_lets_it_be_written_anew),
        cmocka_unit_test(trim_never_drops_what_is_not_handed_over),
        cmocka_unit_test(trim_stops_at_the_budget),
        cmocka_unit_test(entries_without_payload_cost_something),
        cmocka_unit_test(reset_empties_and_says_what_comes),
    };

    return cmocka_run_group_tests_name("node_cache", tests, NULL, NULL);
}
