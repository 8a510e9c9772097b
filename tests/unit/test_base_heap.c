/* tests/unit/test_base_heap.c - the min-heap of timers and deadlines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/base/rk_heap.h"
#include "lib/base/rk_random.h"

static void zeroed_items_are_out_and_removing_them_is_harmless(void **state RK_UNUSED)
{
    struct rk_heap heap = {0};
    struct rk_heap_item item = {0};
    assert_false(rk_heap_has(&item));
    assert_null(rk_heap_peek(&heap));
    rk_heap_remove(&heap, &item);
    rk_heap_deinit(&heap);
}

static void the_smallest_key_is_on_top(void **state RK_UNUSED)
{
    struct rk_heap heap = {0};
    struct rk_heap_item a = {0}, b = {0}, c = {0};
    rk_heap_set(&heap, &a, 30);
    rk_heap_set(&heap, &b, 10);
    rk_heap_set(&heap, &c, 20);
    assert_ptr_equal(rk_heap_peek(&heap), &b);
    rk_heap_remove(&heap, &b);
    assert_false(rk_heap_has(&b));
    assert_ptr_equal(rk_heap_peek(&heap), &c);
    assert_true(rk_heap_has(&a));
    rk_heap_deinit(&heap);
}

static void setting_again_moves_the_item_either_way(void **state RK_UNUSED)
{
    struct rk_heap heap = {0};
    struct rk_heap_item a = {0}, b = {0};
    rk_heap_set(&heap, &a, 10);
    rk_heap_set(&heap, &b, 20);
    rk_heap_set(&heap, &a, UINT64_MAX);
    assert_ptr_equal(rk_heap_peek(&heap), &b);
    rk_heap_set(&heap, &a, 0);
    assert_ptr_equal(rk_heap_peek(&heap), &a);
    assert_int_equal(heap.count, 2);
    rk_heap_deinit(&heap);
}

#define ITEMS 200

static uint64_t smallest(const struct rk_heap_item *items)
{
    uint64_t key = UINT64_MAX;
    for (size_t i = 0; i < ITEMS; i++)
        key = rk_heap_has(&items[i]) ? rk_min_u64(key, items[i].key) : key;
    return key;
}

static void random_use_keeps_the_order(void **state RK_UNUSED)
{
    struct rk_heap heap = {0};
    struct rk_random random = {.state = 3};
    struct rk_heap_item items[ITEMS] = {0};
    for (int i = 0; i < 20000; i++) {
        struct rk_heap_item *item = &items[rk_random_below(&random, ITEMS)];
        if (rk_random_below(&random, 3) == 0)
            rk_heap_remove(&heap, item);
        else
            rk_heap_set(&heap, item, rk_random_below(&random, 50)); /* few keys: equal ones are common */
        struct rk_heap_item *top = rk_heap_peek(&heap);
        assert_true((top ? top->key : UINT64_MAX) == smallest(items));
    }
    uint64_t last = 0;
    for (struct rk_heap_item *top; (top = rk_heap_peek(&heap)); last = top->key) {
        assert_true(top->key >= last);
        rk_heap_remove(&heap, top);
    }
    rk_heap_deinit(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroed_items_are_out_and_removing_them_is_harmless),
        cmocka_unit_test(the_smallest_key_is_on_top),
        cmocka_unit_test(setting_again_moves_the_item_either_way),
        cmocka_unit_test(random_use_keeps_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
