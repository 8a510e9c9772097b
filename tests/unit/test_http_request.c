/* tests/unit/test_http_request.c - headers, query and status look-ups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/http_harness.h"

static struct harness h;

static const struct http_request *request_of(const char *text)
{
    harness_init(&h, HTTP_VERSION_AUTO, ANSWER_LATER);
    harness_feed_str(&h, text);
    assert_non_null(h.kept[0]);
    return h.kept[0];
}

static void a_header_is_found_by_its_lower_case_name(void **state)
{
    (void)state;
    const struct http_request *request =
        request_of("GET / HTTP/1.1\r\nHost: h\r\nX-Token:\t a b \t\r\nEmpty:\r\nX-TOKEN: second\r\n\r\n");
    assert_int_equal(request->header_count, 4);
    assert_true(rk_slice_eq_str(http_request_header(request, "x-token"), "a b"));
    assert_true(rk_slice_eq_str(http_request_header(request, "host"), "h"));
    assert_int_equal(http_request_header(request, "empty").len, 0);
    assert_int_equal(http_request_header(request, "absent").len, 0);
    assert_true(rk_slice_eq_str(request->headers[3].name, "x-token"));
    harness_deinit(&h);
}

static void expect_query(const char *query, const char *name, const char *value)
{
    struct http_request request = {.query = rk_slice_str(query)};
    struct rk_slice found = rk_slice_str("untouched");
    assert_int_equal(http_request_query(&request, name, &found), value != NULL);
    assert_int_equal(http_request_query(&request, name, NULL), value != NULL);
    assert_true(rk_slice_eq_str(found, value ? value : "untouched"));
}

static void a_query_parameter_is_found_raw(void **state)
{
    (void)state;
    expect_query("a=1&b=2", "a", "1");
    expect_query("a=1&b=2", "b", "2");
    expect_query("a=1&b=2", "c", NULL);
    expect_query("", "a", NULL);
    expect_query("a", "a", "");
    expect_query("a=", "a", "");
    expect_query("&&a&", "a", "");
    expect_query("aa=1&a=2", "a", "2");
    expect_query("a=x%20y=z&a=2", "a", "x%20y=z");
    expect_query("=v", "", "v");
}

static void path_and_query_are_parted_at_the_first_question_mark(void **state)
{
    (void)state;
    const struct http_request *request = request_of("GET /a%3Fb/?c?d=/e HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(rk_slice_eq_str(request->path, "/a%3Fb/"));
    assert_true(rk_slice_eq_str(request->query, "c?d=/e"));
    harness_deinit(&h);
}

static void a_request_carries_the_answering_layers_pointer(void **state)
{
    (void)state;
    request_of("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_null(h.kept[0]->userdata);
    assert_ptr_equal(h.kept[0]->session, h.session);
    harness_deinit(&h);
}

static void every_status_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(http_status_text(200), "OK");
    assert_string_equal(http_status_text(404), "Not Found");
    assert_string_equal(http_status_text(429), "Too Many Requests");
    assert_string_equal(http_status_text(299), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_found_by_its_lower_case_name),
        cmocka_unit_test(a_query_parameter_is_found_raw),
        cmocka_unit_test(path_and_query_are_parted_at_the_first_question_mark),
        cmocka_unit_test(a_request_carries_the_answering_layers_pointer),
        cmocka_unit_test(every_status_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
