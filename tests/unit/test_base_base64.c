/* tests/unit/test_base_base64.c - base64: RFC 4648 section 10, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "lib/base/rk_base64.h"

static const char *const pairs[][2] = {{"", ""},
                                       {"Zg==", "f"},
                                       {"Zm8=", "fo"},
                                       {"Zm9v", "foo"},
                                       {"Zm9vYg==", "foob"},
                                       {"Zm9vYmE=", "fooba"},
                                       {"Zm9vYmFy", "foobar"}};

static void the_examples_of_the_rfc_hold_both_ways(void **state RK_UNUSED)
{
    for (size_t i = 0; i < RK_ARRAY_LEN(pairs); i++) {
        struct rk_buf text = {0}, bytes = {0};

        rk_base64_encode(&text, rk_slice_str(pairs[i][1]));
        assert_true(rk_slice_eq_str(rk_buf_slice(&text), pairs[i][0]));
        assert_int_equal(rk_base64_decode(&bytes, rk_slice_str(pairs[i][0])), 0);
        assert_true(rk_slice_eq_str(rk_buf_slice(&bytes), pairs[i][1]));
        rk_buf_deinit(&text);
        rk_buf_deinit(&bytes);
    }
}

static void broken_text_is_refused_with_nothing_appended(void **state RK_UNUSED)
{
    static const char *const bad[] = {"Z", "Zg=", "Zg", "Z===", "====", "Zg==Zg==", "Zm9\n", "Zm-_", "=AAA"};

    for (size_t i = 0; i < RK_ARRAY_LEN(bad); i++) {
        struct rk_buf out = {0};

        assert_int_equal(rk_base64_decode(&out, rk_slice_str(bad[i])), -EINVAL);
        assert_int_equal(out.len, 0);
        rk_buf_deinit(&out);
    }
}

static void all_bytes_survive_the_round_trip(void **state RK_UNUSED)
{
    uint8_t all[256];
    struct rk_buf text = {0}, back = {0};

    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)i;
    rk_base64_encode(&text, rk_slice(all, sizeof(all)));
    assert_int_equal(rk_base64_decode(&back, rk_buf_slice(&text)), 0);
    assert_true(rk_slice_eq(rk_buf_slice(&back), rk_slice(all, sizeof(all))));
    rk_buf_deinit(&text);
    rk_buf_deinit(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_rfc_hold_both_ways),
        cmocka_unit_test(broken_text_is_refused_with_nothing_appended),
        cmocka_unit_test(all_bytes_survive_the_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
