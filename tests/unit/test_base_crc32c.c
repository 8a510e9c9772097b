/* tests/unit/test_base_crc32c.c - CRC-32C. The source is included, so that the tables are tested on a CPU
 * that never needs them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/base/rk_crc32c.c"
#include "lib/base/rk_random.h"

static uint32_t by_table(uint32_t crc, struct rk_slice s)
{
    return ~crc_by_table(~crc, s.data, s.len);
}

/* One bit at a time, straight from the definition. */
static uint32_t by_bits(struct rk_slice s)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= s.data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static void the_examples_of_rfc_3720_hold(void **state RK_UNUSED)
{
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];
    memset(ones, 0xff, sizeof(ones));
    for (uint8_t i = 0; i < 32; i++) {
        up[i] = i;
        down[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(rk_crc32c(0, rk_slice(zeros, 32)), 0x8a9136aau);
    assert_int_equal(rk_crc32c(0, rk_slice(ones, 32)), 0x62a8ab43u);
    assert_int_equal(rk_crc32c(0, rk_slice(up, 32)), 0x46dd794eu);
    assert_int_equal(rk_crc32c(0, rk_slice(down, 32)), 0x113fdb5cu);
    assert_int_equal(rk_crc32c(0, rk_slice_str("123456789")), 0xe3069283u);
}

static void nothing_changes_nothing(void **state RK_UNUSED)
{
    assert_int_equal(rk_crc32c(0, rk_slice(NULL, 0)), 0);
    assert_int_equal(rk_crc32c(0x12345678u, rk_slice(NULL, 0)), 0x12345678u);
}

static void every_way_of_computing_agrees_at_every_length_and_alignment(void **state RK_UNUSED)
{
    uint8_t bytes[256];
    struct rk_random random = {.state = 7};
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rk_random_next(&random);
    for (size_t from = 0; from < 9; from++) {
        for (size_t len = 1; len < 100; len++) {
            struct rk_slice s = rk_slice(bytes + from, len);
            assert_int_equal(rk_crc32c(0, s), by_bits(s));
            assert_int_equal(by_table(0, s), by_bits(s));
        }
    }
}

static void a_crc_can_be_continued_from_any_cut(void **state RK_UNUSED)
{
    const char text[] = "The quick brown fox jumps over the lazy dog";
    uint32_t whole = rk_crc32c(0, rk_slice_str(text));
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        uint32_t crc = rk_crc32c(0, rk_slice(text, cut));
        assert_int_equal(rk_crc32c(crc, rk_slice_str(text + cut)), whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_rfc_3720_hold),
        cmocka_unit_test(nothing_changes_nothing),
        cmocka_unit_test(every_way_of_computing_agrees_at_every_length_and_alignment),
        cmocka_unit_test(a_crc_can_be_continued_from_any_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
