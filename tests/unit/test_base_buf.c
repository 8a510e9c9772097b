/* tests/unit/test_base_buf.c - the growing byte buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/base/rk_buf.h"
#include "lib/base/rk_random.h"

static void an_empty_buffer_gives_an_empty_slice(void **state RK_UNUSED)
{
    struct rk_buf buf = {0};
    assert_int_equal(rk_buf_slice(&buf).len, 0);
    rk_buf_append(&buf, NULL, 0);
    rk_buf_append_slice(&buf, rk_slice(NULL, 0));
    rk_buf_consume(&buf, 0);
    assert_true(rk_slice_eq_str(rk_buf_slice(&buf), ""));
    assert_null(buf.data);
    assert_non_null(rk_buf_reserve(&buf, 0));
    rk_buf_deinit(&buf);
    rk_buf_deinit(&buf);
}

static void appends_stay_in_order_whatever_their_kind(void **state RK_UNUSED)
{
    struct rk_buf buf = {0};
    rk_buf_append(&buf, "ab", 2);
    rk_buf_append_str(&buf, "cd");
    rk_buf_append_slice(&buf, rk_slice_str("ef"));
    rk_buf_printf(&buf, "-%d-%s", 42, "x");
    memcpy(rk_buf_reserve(&buf, 100), "!", 1);
    rk_buf_commit(&buf, 1);
    assert_true(rk_slice_eq_str(rk_buf_slice(&buf), "abcdef-42-x!"));
    rk_buf_deinit(&buf);
}

static void printf_longer_than_the_buffer_makes_it_grow(void **state RK_UNUSED)
{
    struct rk_buf buf = {0};
    rk_buf_printf(&buf, "%0500d", 7);
    assert_int_equal(buf.len, 500);
    assert_int_equal(rk_buf_slice(&buf).data[499], '7');
    rk_buf_deinit(&buf);
}

static void clear_keeps_the_memory_and_deinit_gives_it_back(void **state RK_UNUSED)
{
    struct rk_buf buf = {0};
    rk_buf_append_str(&buf, "something");
    uint8_t *data = buf.data;
    rk_buf_clear(&buf);
    assert_int_equal(buf.len, 0);
    assert_ptr_equal(rk_buf_reserve(&buf, 9), data);
    rk_buf_deinit(&buf);
    assert_int_equal(buf.cap, 0);
    rk_buf_append_str(&buf, "again");
    assert_true(rk_slice_eq_str(rk_buf_slice(&buf), "again"));
    rk_buf_deinit(&buf);
}

static void a_queue_that_never_runs_empty_does_not_grow_for_ever(void **state RK_UNUSED)
{
    struct rk_buf buf = {0};
    uint32_t in = 0, out = 0;
    for (int i = 0; i < 100; i++, in++)
        rk_buf_append(&buf, &in, sizeof(in));
    for (int i = 0; i < 100000; i++, in++, out++) {
        rk_buf_append(&buf, &in, sizeof(in));
        uint32_t first;
        memcpy(&first, rk_buf_slice(&buf).data, sizeof(first));
        assert_int_equal(first, out);
        rk_buf_consume(&buf, sizeof(first));
    }
    assert_true(buf.cap <= 2048);
    rk_buf_deinit(&buf);
}

/* Against the dullest model there is: one long array and two positions. */
static void random_use_never_loses_a_byte(void **state RK_UNUSED)
{
    struct rk_buf buf = {0};
    struct rk_random random = {.state = 1};
    uint8_t next_in = 0, next_out = 0;
    for (int i = 0; i < 20000; i++) {
        size_t n = (size_t)rk_random_below(&random, 300);
        uint8_t *to = rk_buf_reserve(&buf, n);
        for (size_t k = 0; k < n; k++)
            to[k] = next_in++;
        rk_buf_commit(&buf, n);
        size_t away = (size_t)rk_random_below(&random, buf.len + 1);
        struct rk_slice live = rk_buf_slice(&buf);
        for (size_t k = 0; k < away; k++)
            assert_int_equal(live.data[k], next_out++);
        rk_buf_consume(&buf, away);
    }
    rk_buf_deinit(&buf);
}

static void slices_compare_like_memcmp_and_shorter_comes_first(void **state RK_UNUSED)
{
    assert_true(rk_slice_cmp(rk_slice_str("a"), rk_slice_str("b")) < 0);
    assert_true(rk_slice_cmp(rk_slice_str("a"), rk_slice_str("aa")) < 0);
    assert_true(rk_slice_cmp(rk_slice_str("\xff"), rk_slice_str("a")) > 0);
    assert_int_equal(rk_slice_cmp(rk_slice(NULL, 0), rk_slice_str("")), 0);
    assert_true(rk_slice_eq(rk_slice(NULL, 0), rk_slice_str("")));
    assert_true(rk_slice_has_prefix(rk_slice_str("abc"), rk_slice_str("ab")));
    assert_true(rk_slice_has_prefix(rk_slice_str("abc"), rk_slice(NULL, 0)));
    assert_false(rk_slice_has_prefix(rk_slice_str("a"), rk_slice_str("ab")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_gives_an_empty_slice),
        cmocka_unit_test(appends_stay_in_order_whatever_their_kind),
        cmocka_unit_test(printf_longer_than_the_buffer_makes_it_grow),
        cmocka_unit_test(clear_keeps_the_memory_and_deinit_gives_it_back),
        cmocka_unit_test(a_queue_that_never_runs_empty_does_not_grow_for_ever),
        cmocka_unit_test(random_use_never_loses_a_byte),
        cmocka_unit_test(slices_compare_like_memcmp_and_shorter_comes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
