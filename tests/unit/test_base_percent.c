/* tests/unit/test_base_percent.c - percent-encoding. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/base/rk_percent.h"

static void assert_decodes(const char *in, const char *out)
{
    struct rk_buf buf = {0};
    assert_int_equal(rk_percent_decode(&buf, rk_slice_str(in)), 0);
    assert_true(rk_slice_eq_str(rk_buf_slice(&buf), out));
    rk_buf_deinit(&buf);
}

static void both_cases_of_hexadecimal_digits_are_read(void **state RK_UNUSED)
{
    assert_decodes("", "");
    assert_decodes("plain", "plain");
    assert_decodes("%2f%2F%c3%A9", "//\xc3\xa9");
    assert_decodes("%41", "A");
}

static void plus_is_itself(void **state RK_UNUSED)
{
    assert_decodes("a+b", "a+b");
}

static void broken_escapes_are_refused_and_leave_the_buffer_alone(void **state RK_UNUSED)
{
    static const char *const broken[] = {"%", "x%", "%4", "%4g", "%g4", "%%41", "ab%2", "% 41", "%-1"};
    for (size_t i = 0; i < RK_ARRAY_LEN(broken); i++) {
        struct rk_buf buf = {0};
        rk_buf_append_str(&buf, "before");
        assert_int_equal(rk_percent_decode(&buf, rk_slice_str(broken[i])), -EINVAL);
        assert_true(rk_slice_eq_str(rk_buf_slice(&buf), "before"));
        rk_buf_deinit(&buf);
    }
}

static void an_escape_cut_by_the_slice_is_not_read_beyond_it(void **state RK_UNUSED)
{
    struct rk_buf buf = {0};
    assert_int_equal(rk_percent_decode(&buf, rk_slice("%41", 2)), -EINVAL);
    assert_int_equal(rk_percent_decode(&buf, rk_slice("%41", 1)), -EINVAL);
    rk_buf_deinit(&buf);
}

static void only_unreserved_characters_stay(void **state RK_UNUSED)
{
    struct rk_buf buf = {0};
    rk_percent_encode(&buf, rk_slice_str("aZ09-._~/+ %&="), false);
    assert_true(rk_slice_eq_str(rk_buf_slice(&buf), "aZ09-._~%2F%2B%20%25%26%3D"));
    rk_buf_clear(&buf);
    rk_percent_encode(&buf, rk_slice_str("a/b?"), true);
    assert_true(rk_slice_eq_str(rk_buf_slice(&buf), "a/b%3F"));
    rk_buf_deinit(&buf);
}

static void all_bytes_survive_the_round_trip(void **state RK_UNUSED)
{
    uint8_t all[256];
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)i;
    for (int keep_slash = 0; keep_slash < 2; keep_slash++) {
        struct rk_buf text = {0}, back = {0};
        rk_percent_encode(&text, rk_slice(all, sizeof(all)), keep_slash != 0);
        assert_int_equal(rk_percent_decode(&back, rk_buf_slice(&text)), 0);
        assert_true(rk_slice_eq(rk_buf_slice(&back), rk_slice(all, sizeof(all))));
        rk_buf_deinit(&text);
        rk_buf_deinit(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_cases_of_hexadecimal_digits_are_read),
        cmocka_unit_test(plus_is_itself),
        cmocka_unit_test(broken_escapes_are_refused_and_leave_the_buffer_alone),
        cmocka_unit_test(an_escape_cut_by_the_slice_is_not_read_beyond_it),
        cmocka_unit_test(only_unreserved_characters_stay),
        cmocka_unit_test(all_bytes_survive_the_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
