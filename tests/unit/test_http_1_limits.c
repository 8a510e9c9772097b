/* tests/unit/test_http_1_limits.c - HTTP/1.1: each limit, and each message that two parties could read in two
 * ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/http_harness.h"

#include <errno.h>

/* The status that a message gets; every one but 200 has to end the session and carry a JSON sentence. */
static unsigned status_of(const void *data, size_t len)
{
    struct harness h;
    unsigned status = 0;
    harness_init(&h, HTTP_VERSION_1, ANSWER_ECHO);
    harness_feed(&h, data, len);
    const char *out = harness_take(&h);
    if (*out)
        assert_int_equal(sscanf(out, "HTTP/1.1 %u ", &status), 1);
    if (status >= 400) {
        assert_int_equal(h.rc, -EPROTO);
        assert_true(http_session_done(h.session));
        assert_non_null(strstr(out, "\r\ncontent-type: application/json\r\n"));
        assert_non_null(strstr(out, "connection: close\r\n"));
        assert_non_null(strstr(out, "\r\n\r\n{\"code\":\""));
        assert_non_null(strstr(out, ".\"}\n"));
        assert_int_equal(h.requests, 0);
    }
    harness_deinit(&h);
    return status;
}

static unsigned status_of_str(const char *text)
{
    return status_of(text, strlen(text));
}

#define POST "POST / HTTP/1.1\r\nHost: h\r\n"

static void the_end_of_a_body_must_be_certain(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *text;
    } cases[] = {
        {400, POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {400, POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"},
        {400, POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"},
        {400, POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"},
        {400, POST "Content-Length: 3, 3\r\n\r\nabc"},
        {400, POST "Content-Length: +3\r\n\r\nabc"},
        {400, POST "Content-Length: -1\r\n\r\n"},
        {400, POST "Content-Length: 0x3\r\n\r\nabc"},
        {400, POST "Content-Length: \r\n\r\n"},
        {400, POST "Content-Length:\r\n\r\n"},
        {400, POST "Content-Length: 3 3\r\n\r\nabc"},
        {400, POST "Content-Length: 99999999999999999999999\r\n\r\n"},
        {400, POST "Content-Length : 3\r\n\r\nabc"},
        {400, POST "Content-Length\t: 3\r\n\r\nabc"},
        {400, POST " Content-Length: 3\r\n\r\nabc"},
        {400, POST "X: y\r\n Content-Length: 3\r\n\r\nabc"},
        {400, POST "X: y\r\n\tfolded\r\n\r\n"},
        {501, POST "Transfer-Encoding: gzip\r\n\r\n"},
        {501, POST "Transfer-Encoding: chunked, gzip\r\n\r\n"},
        {501, POST "Transfer-Encoding: xchunked\r\n\r\n"},
        {400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"},
        {400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {200, POST "Content-Length: 3\r\n\r\nabc"},
        {200, POST "content-LENGTH:3\r\n\r\nabc"},
        {200, POST "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n"},
        {200, POST "\r\n"},
    };
    for (size_t i = 0; i < RK_ARRAY_LEN(cases); i++) {
        unsigned status = status_of_str(cases[i].text);
        if (status != cases[i].status)
            fail_msg("case %zu: %u, not %u", i, status, cases[i].status);
    }
}

#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static void lines_end_with_cr_and_lf_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *text;
    } cases[] = {
        {400, "GET / HTTP/1.1\nHost: h\n\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\n\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\n\rX"},
        {400, "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n"},
        {400, "GET / HTTP/1.1\rHost: h\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\nb\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\x01\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\n: empty name\r\n\r\n"},
        {400, CHUNKED "3\nabc\r\n0\r\n\r\n"},
        {400, CHUNKED "3\r\nabcX\n0\r\n\r\n"},
        {400, CHUNKED "3\r\nabc\rX0\r\n\r\n"},
        {400, CHUNKED "3\r\nabc\r\n0\r\n\n"},
        {400, CHUNKED "3;a\nb\r\nabc\r\n0\r\n\r\n"},
        {400, CHUNKED "3;a\rb\r\nabc\r\n0\r\n\r\n"},
        {400, CHUNKED "\r\n"},
        {400, CHUNKED ";a\r\n"},
        {400, CHUNKED "0x3\r\nabc\r\n"},
        {400, CHUNKED "-3\r\nabc\r\n"},
        {400, CHUNKED "3 \t\r\r\n"},
        {413, CHUNKED "ffffffffffffffff\r\n"},
        {413, CHUNKED "10000000000000003\r\nabc\r\n"},
        {400, "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"},
    };
    for (size_t i = 0; i < RK_ARRAY_LEN(cases); i++) {
        unsigned status = status_of_str(cases[i].text);
        if (status != cases[i].status)
            fail_msg("case %zu: %u, not %u", i, status, cases[i].status);
    }
    assert_int_equal(status_of("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", 29), 400);
    assert_int_equal(status_of("GET / HTTP/1.1\r\nHost: h\r\nX: \0\r\n\r\n", 34), 400);
}

static void a_request_has_one_host(void **state)
{
    (void)state;
    assert_int_equal(status_of_str("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET http://u@h/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 200);
    assert_int_equal(status_of_str("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), 200);
    assert_int_equal(status_of_str("GET / HTTP/1.0\r\n\r\n"), 200);
}

static void a_target_is_visible_ascii(void **state)
{
    (void)state;
    assert_int_equal(status_of_str("GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET nothing HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(status_of_str("POST * HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(status_of_str("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"), 501);
}

static void versions_other_than_1_are_refused(void **state)
{
    (void)state;
    assert_int_equal(status_of_str("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505);
    assert_int_equal(status_of_str("GET / HTTP/0.9\r\nHost: h\r\n\r\n"), 505);
    assert_int_equal(status_of_str("GET /\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET / HTTP/1.2\r\nHost: h\r\n\r\n"), 200);
    assert_int_equal(status_of_str("GET / HTPP/1.1\r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET / HTTP/1.1 \r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET / HTTP/1.10\r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET  / HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(status_of_str("GET /\tHTTP/1.1\r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(status_of_str("SOURCE / ICE/1.1\r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(status_of_str("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 400);
}

/* Puts n bytes of c where the text has a "%". */
static unsigned status_padded(const char *text, char c, size_t n)
{
    struct rk_buf buf = {0};
    const char *at = strchr(text, '%');
    rk_buf_append(&buf, text, (size_t)(at - text));
    memset(rk_buf_reserve(&buf, n), c, n);
    rk_buf_commit(&buf, n);
    rk_buf_append_str(&buf, at + 1);
    unsigned status = status_of(buf.data, buf.len);
    rk_buf_deinit(&buf);
    return status;
}

static void the_target_is_bounded(void **state)
{
    (void)state;
    const char *text = "GET /% HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_int_equal(status_padded(text, 'a', RK_HTTP_TARGET_BYTES_MAX - 1), 200);
    assert_int_equal(status_padded(text, 'a', RK_HTTP_TARGET_BYTES_MAX), 414);
    assert_int_equal(status_padded(text, 'a', 100000), 414);
    assert_int_equal(status_padded("GET / HTTP/1.1%", '1', 100000), 400);
}

static void header_bytes_are_bounded(void **state)
{
    (void)state;
    const char *value = "GET / HTTP/1.1\r\nHost: h\r\nX: %\r\n\r\n";
    assert_int_equal(status_padded(value, 'a', RK_HTTP_HEADER_BYTES_MAX - 200), 200);
    assert_int_equal(status_padded(value, 'a', RK_HTTP_HEADER_BYTES_MAX), 431);
    assert_int_equal(status_padded(value, ' ', RK_HTTP_HEADER_BYTES_MAX), 431);
    assert_int_equal(status_padded("GET / HTTP/1.1\r\nHost: h\r\n%: y\r\n\r\n", 'a', 200000), 431);
}

static void add_headers(struct rk_buf *buf, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        rk_buf_printf(buf, "x%u: y\r\n", i);
    rk_buf_append_str(buf, "\r\n");
}

static unsigned status_with_headers(const char *before, unsigned count)
{
    struct rk_buf buf = {0};
    rk_buf_append_str(&buf, before);
    add_headers(&buf, count);
    unsigned status = status_of(buf.data, buf.len);
    rk_buf_deinit(&buf);
    return status;
}

static void headers_are_counted(void **state)
{
    (void)state;
    assert_int_equal(status_with_headers(POST, RK_HTTP_HEADERS_MAX - 1), 200);
    assert_int_equal(status_with_headers(POST, RK_HTTP_HEADERS_MAX), 431);
}

static void trailers_have_the_limits_of_headers(void **state)
{
    (void)state;
    assert_int_equal(status_with_headers(CHUNKED "0\r\n", RK_HTTP_HEADERS_MAX), 200);
    assert_int_equal(status_with_headers(CHUNKED "0\r\n", RK_HTTP_HEADERS_MAX + 1), 431);
    assert_int_equal(status_padded(CHUNKED "0\r\nX: %\r\n\r\n", 'a', RK_HTTP_HEADER_BYTES_MAX), 431);
}

static void bodies_are_bounded(void **state)
{
    (void)state;
    char text[200];
    snprintf(text, sizeof(text), POST "Content-Length: %u\r\n\r\n%%", HARNESS_BODY_MAX);
    assert_int_equal(status_padded(strchr(text, 'P'), 'a', HARNESS_BODY_MAX), 200);
    snprintf(text, sizeof(text), POST "Content-Length: %u\r\n\r\n", HARNESS_BODY_MAX + 1);
    assert_int_equal(status_of_str(text), 413);
    snprintf(text, sizeof(text), CHUNKED "%x\r\n%%\r\n0\r\n\r\n", HARNESS_BODY_MAX);
    assert_int_equal(status_padded(text, 'a', HARNESS_BODY_MAX), 200);
    snprintf(text, sizeof(text), CHUNKED "%x\r\n%%\r\n1\r\n", HARNESS_BODY_MAX);
    assert_int_equal(status_padded(text, 'a', HARNESS_BODY_MAX), 413);
}

static void chunk_lines_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(status_padded(CHUNKED "1;%\r\na\r\n0\r\n\r\n", 'e', 200), 200);
    assert_int_equal(status_padded(CHUNKED "1;%\r\na\r\n0\r\n\r\n", 'e', 300), 400);
    assert_int_equal(status_padded(CHUNKED "%1\r\na\r\n0\r\n\r\n", '0', 300), 400);
}

static void many_small_chunks_are_fine(void **state)
{
    (void)state;
    struct rk_buf buf = {0};
    rk_buf_append_str(&buf, CHUNKED);
    for (unsigned i = 0; i < HARNESS_BODY_MAX; i++)
        rk_buf_append_str(&buf, "1\r\nx\r\n");
    rk_buf_append_str(&buf, "0\r\n\r\n");
    assert_int_equal(status_of(buf.data, buf.len), 200);
    rk_buf_deinit(&buf);
}

static void a_refused_head_request_gets_no_body(void **state)
{
    (void)state;
    static const char *const texts[] = {"HEAD / HTTP/1.1\r\n\r\n", "HEAD /\x01", "HEAD / HTTP/1.1\r\n\r\r"};
    for (size_t i = 0; i < RK_ARRAY_LEN(texts); i++) {
        struct harness h;
        harness_init(&h, HTTP_VERSION_1, ANSWER_ECHO);
        harness_feed_str(&h, texts[i]);
        const char *out = harness_take(&h);
        assert_non_null(strstr(out, "HTTP/1.1 400 "));
        assert_string_equal(strstr(out, "\r\n\r\n"), "\r\n\r\n");
        harness_deinit(&h);
    }
}

static void what_follows_a_head_request_is_not_taken_for_one(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_ECHO);
    harness_feed_str(&h, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n\x01");
    assert_non_null(strstr(harness_take(&h), "{\"code\":\"bad_request\""));
    harness_deinit(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_a_body_must_be_certain),
        cmocka_unit_test(lines_end_with_cr_and_lf_and_nothing_else),
        cmocka_unit_test(a_request_has_one_host),
        cmocka_unit_test(a_target_is_visible_ascii),
        cmocka_unit_test(versions_other_than_1_are_refused),
        cmocka_unit_test(the_target_is_bounded),
        cmocka_unit_test(header_bytes_are_bounded),
        cmocka_unit_test(headers_are_counted),
        cmocka_unit_test(trailers_have_the_limits_of_headers),
        cmocka_unit_test(bodies_are_bounded),
        cmocka_unit_test(chunk_lines_are_bounded),
        cmocka_unit_test(many_small_chunks_are_fine),
        cmocka_unit_test(a_refused_head_request_gets_no_body),
        cmocka_unit_test(what_follows_a_head_request_is_not_taken_for_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
