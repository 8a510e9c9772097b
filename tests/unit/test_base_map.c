/* tests/unit/test_base_map.c - the hash map. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/base/rk_map.h"
#include "lib/base/rk_random.h"

static int values[1000];

static void an_empty_map_answers(void **state RK_UNUSED)
{
    struct rk_map map = {0};
    size_t cursor = 0;
    assert_null(rk_map_get(&map, 0));
    assert_null(rk_map_remove(&map, 0));
    assert_null(rk_map_next(&map, &cursor));
    rk_map_deinit(&map);
}

static void put_tells_what_it_replaced(void **state RK_UNUSED)
{
    struct rk_map map = {0};
    assert_null(rk_map_put(&map, 5, &values[1]));
    assert_ptr_equal(rk_map_put(&map, 5, &values[2]), &values[1]);
    assert_int_equal(map.count, 1);
    assert_ptr_equal(rk_map_get(&map, 5), &values[2]);
    assert_ptr_equal(rk_map_remove(&map, 5), &values[2]);
    assert_null(rk_map_remove(&map, 5));
    assert_int_equal(map.count, 0);
    rk_map_deinit(&map);
}

static void zero_and_the_largest_number_are_keys_like_others(void **state RK_UNUSED)
{
    struct rk_map map = {0};
    rk_map_put(&map, 0, &values[0]);
    rk_map_put(&map, UINT64_MAX, &values[1]);
    assert_ptr_equal(rk_map_get(&map, 0), &values[0]);
    assert_ptr_equal(rk_map_get(&map, UINT64_MAX), &values[1]);
    rk_map_deinit(&map);
}

static void a_walk_sees_each_entry_once(void **state RK_UNUSED)
{
    struct rk_map map = {0};
    bool seen[1000] = {false};
    for (uint64_t i = 0; i < 1000; i++)
        rk_map_put(&map, i << 32, &values[i]);
    size_t cursor = 0, n = 0;
    for (struct rk_map_slot *slot; (slot = rk_map_next(&map, &cursor)); n++) {
        assert_ptr_equal(slot->value, &values[slot->key >> 32]);
        assert_false(seen[slot->key >> 32]);
        seen[slot->key >> 32] = true;
    }
    assert_int_equal(n, 1000);
    rk_map_deinit(&map);
}

/* Removal moves entries back over the hole, also around the end of the array; a plain array is the model. */
static void random_use_agrees_with_an_array(void **state RK_UNUSED)
{
    struct rk_map map = {0};
    struct rk_random random = {.state = 11};
    void *model[1000] = {NULL};
    size_t count = 0;
    for (int i = 0; i < 200000; i++) {
        uint64_t range = i / 20000 % 2 == 0 ? 1000 : 12; /* large, and small enough to stay in 16 slots */
        uint64_t key = rk_random_below(&random, range);
        if (rk_random_below(&random, 2) == 0) {
            void *value = &values[rk_random_below(&random, 1000)];
            count += model[key] ? 0 : 1;
            assert_ptr_equal(rk_map_put(&map, key, value), model[key]);
            model[key] = value;
        } else {
            count -= model[key] ? 1 : 0;
            assert_ptr_equal(rk_map_remove(&map, key), model[key]);
            model[key] = NULL;
        }
        uint64_t other = rk_random_below(&random, 1000);
        assert_ptr_equal(rk_map_get(&map, other), model[other]);
        assert_int_equal(map.count, count);
    }
    rk_map_deinit(&map);
}

static void a_small_map_that_churns_stays_small_and_right(void **state RK_UNUSED)
{
    struct rk_map map = {0};
    for (uint64_t i = 0; i < 100000; i++) {
        rk_map_put(&map, i, &values[i % 1000]);
        if (i >= 8)
            assert_ptr_equal(rk_map_remove(&map, i - 8), &values[(i - 8) % 1000]);
    }
    assert_int_equal(map.count, 8);
    assert_int_equal(map.cap, 16);
    rk_map_deinit(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_answers),
        cmocka_unit_test(put_tells_what_it_replaced),
        cmocka_unit_test(zero_and_the_largest_number_are_keys_like_others),
        cmocka_unit_test(a_walk_sees_each_entry_once),
        cmocka_unit_test(random_use_agrees_with_an_array),
        cmocka_unit_test(a_small_map_that_churns_stays_small_and_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
