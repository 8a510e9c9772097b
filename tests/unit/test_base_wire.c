/* tests/unit/test_base_wire.c - the bounded reader and writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/base/rk_wire.h"

static void numbers_are_big_endian(void **state RK_UNUSED)
{
    struct rk_buf b = {0};
    rk_put_u8(&b, 0x01);
    rk_put_u16(&b, 0x0203);
    rk_put_u32(&b, 0x04050607u);
    rk_put_u64(&b, 0x08090a0b0c0d0e0fu);
    for (uint8_t i = 0; i < 15; i++)
        assert_int_equal(rk_buf_slice(&b).data[i], i + 1);
    rk_buf_deinit(&b);
}

static void what_was_written_is_read(void **state RK_UNUSED)
{
    struct rk_buf b = {0};
    rk_put_u8(&b, UINT8_MAX);
    rk_put_u16(&b, UINT16_MAX - 1);
    rk_put_u32(&b, UINT32_MAX - 2);
    rk_put_u64(&b, UINT64_MAX - 3);
    rk_put_block(&b, rk_slice_str("hello"));
    rk_put_block(&b, rk_slice(NULL, 0));
    struct rk_reader r = rk_reader(rk_buf_slice(&b));
    assert_int_equal(rk_get_u8(&r), UINT8_MAX);
    assert_int_equal(rk_get_u16(&r), UINT16_MAX - 1);
    assert_int_equal(rk_get_u32(&r), UINT32_MAX - 2);
    assert_true(rk_get_u64(&r) == UINT64_MAX - 3);
    assert_false(rk_reader_done(&r));
    assert_true(rk_slice_eq_str(rk_get_block(&r, 5), "hello"));
    assert_int_equal(rk_get_block(&r, 0).len, 0);
    assert_true(rk_reader_done(&r));
    rk_buf_deinit(&b);
}

static void every_truncation_fails_and_nothing_is_read_past_the_end(void **state RK_UNUSED)
{
    struct rk_buf b = {0};
    rk_put_u8(&b, 1);
    rk_put_u16(&b, 2);
    rk_put_block(&b, rk_slice_str("abc"));
    rk_put_u64(&b, 3);
    for (size_t len = 0; len < b.len; len++) {
        /* An allocation of exactly that length, for the address sanitizer to watch. */
        uint8_t *copy = rk_realloc(NULL, len);
        memcpy(copy, rk_buf_slice(&b).data, len);
        struct rk_reader r = rk_reader(rk_slice(copy, len));
        rk_get_u8(&r);
        rk_get_u16(&r);
        rk_get_block(&r, 10);
        rk_get_u64(&r);
        assert_false(rk_reader_ok(&r));
        assert_false(rk_reader_done(&r));
        free(copy);
    }
    rk_buf_deinit(&b);
}

static void the_first_error_latches(void **state RK_UNUSED)
{
    struct rk_reader r = rk_reader(rk_slice_str("abcd"));
    assert_int_equal(rk_get_u64(&r), 0);
    assert_false(rk_reader_ok(&r));
    assert_int_equal(rk_reader_left(&r), 0);
    assert_int_equal(rk_get_u8(&r), 0);
    assert_int_equal(rk_get_bytes(&r, 0).len, 0);
    assert_false(rk_reader_ok(&r));

    r = rk_reader(rk_slice_str("abcd"));
    rk_reader_fail(&r);
    assert_int_equal(rk_get_u8(&r), 0);
    assert_false(rk_reader_done(&r));
}

static void a_block_over_its_maximum_fails(void **state RK_UNUSED)
{
    struct rk_buf b = {0};
    rk_put_block(&b, rk_slice_str("hello"));
    struct rk_reader r = rk_reader(rk_buf_slice(&b));
    struct rk_slice s = rk_get_block(&r, 4);
    assert_null(s.data);
    assert_int_equal(s.len, 0);
    assert_false(rk_reader_ok(&r));
    rk_buf_deinit(&b);
}

static void a_block_length_near_the_largest_number_fails(void **state RK_UNUSED)
{
    struct rk_reader r = rk_reader(rk_slice("\xff\xff\xff\xff", 4));
    assert_int_equal(rk_get_block(&r, SIZE_MAX).len, 0);
    assert_false(rk_reader_ok(&r));
}

static void an_empty_input_is_done_at_once(void **state RK_UNUSED)
{
    struct rk_reader r = rk_reader(rk_slice(NULL, 0));
    assert_int_equal(rk_get_bytes(&r, 0).len, 0);
    assert_true(rk_reader_done(&r));
    assert_int_equal(rk_reader_left(&r), 0);
}

static void fixed_places_agree_with_the_stream(void **state RK_UNUSED)
{
    uint8_t place[12];
    rk_store_u32(place, 0xfeedf00du);
    rk_store_u64(place + 4, 0x1122334455667788u);
    assert_int_equal(place[0], 0xfe);
    assert_int_equal(place[11], 0x88);
    assert_int_equal(rk_load_u32(place), 0xfeedf00du);
    assert_true(rk_load_u64(place + 4) == 0x1122334455667788u);
    struct rk_reader r = rk_reader(rk_slice(place, sizeof(place)));
    assert_int_equal(rk_get_u32(&r), 0xfeedf00du);
    assert_true(rk_get_u64(&r) == 0x1122334455667788u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(every_truncation_fails_and_nothing_is_read_past_the_end),
        cmocka_unit_test(the_first_error_latches),
        cmocka_unit_test(a_block_over_its_maximum_fails),
        cmocka_unit_test(a_block_length_near_the_largest_number_fails),
        cmocka_unit_test(an_empty_input_is_done_at_once),
        cmocka_unit_test(fixed_places_agree_with_the_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
