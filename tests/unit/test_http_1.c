/* tests/unit/test_http_1.c - HTTP/1.1: requests, answers in order, what ends a connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/http_harness.h"

#include <errno.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static void a_request_is_understood_and_answered(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_ECHO);
    harness_feed_str(&h, "PUT /v1/keys/a%20b?x=1&y HTTP/1.1\r\nHost: example:80\r\nX-Odd:  v \r\n"
                         "Content-Length: 5\r\n\r\nhello");
    assert_int_equal(h.rc, 0);
    assert_string_equal(harness_seen(&h), "PUT /v1/keys/a%20b ? x=1&y | example:80 | hello\n");
    assert_string_equal(harness_take(&h), "HTTP/1.1 200 OK\r\ncontent-length: 48\r\n\r\n"
                                          "PUT /v1/keys/a%20b ? x=1&y | example:80 | hello\n");
    assert_int_equal(h.outputs, 1);
    assert_false(http_session_done(h.session));
    assert_int_equal(http_session_pending(h.session), 0);
    harness_deinit(&h);
}

static void an_answer_has_a_date(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_ECHO);
    harness_feed_str(&h, GET("/"));
    *rk_buf_reserve(&h.out, 1) = '\0';
    const char *date = strstr((const char *)h.out.data, "\r\ndate: ");
    assert_non_null(date);
    assert_memory_equal(strstr(date + 2, "\r\n") - 4, " GMT", 4);
    harness_deinit(&h);
}

static const char *const mixes[] = {
    GET("/a") GET("/b?c") "POST /d HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz" GET("/e"),
    "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    "3\r\nabc\r\n0a;x=\"y\"\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n" GET("/f"),
    "\r\n" GET("/a") "\r\nHEAD /h HTTP/1.1\r\nHost: h\r\n\r\n" GET("/i"),
    "GET /0 HTTP/1.0\r\n\r\n" GET("/never"),
    "GET /0 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" GET("/then"),
    "GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" GET("/never"),
    "POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok" GET("/y"),
    "POST /x HTTP/1.1\r\nHost: h\r\nExpect: tea\r\nContent-Length: 2\r\n\r\nok",
    "GET http://other:1/p?q HTTP/1.1\r\nHost: h\r\n\r\nGET HTTPS://o?q HTTP/1.1\r\nHost: h\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\nOPTIONS /p HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n" GET("/on"),
    GET("/good") "GARBAGE\r\n\r\n" GET("/never"),
    GET("/good") "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "POST /t HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: "
    "9\r\n\r\n" GET("/after"),
    "POST /t HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naX\r\n",
    "POST /t HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nbad trailer\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\rX",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    "GET /\r\n\r\n",
    "HEAD /h\x80 HTTP/1.1\r\nHost: h\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n\x01garbage",
    "PRI / HTTP/1.1\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\rx",
    "\r\n\r\n\r\n\r\n",
};

struct outcome {
    char *seen, *out;
    int rc;
    bool done;
};

static struct outcome outcome_of(struct harness *h)
{
    struct outcome o = {strdup(harness_seen(h)), strdup(harness_take(h)), h->rc,
                        http_session_done(h->session)};
    harness_deinit(h);
    return o;
}

static void outcome_compare(struct outcome whole, struct outcome o)
{
    assert_string_equal(o.seen, whole.seen);
    assert_string_equal(o.out, whole.out);
    assert_int_equal(o.done, whole.done);
    assert_int_equal(o.rc, whole.rc);
    free(o.seen);
    free(o.out);
}

static struct outcome feed_split(const char *text, size_t first, size_t step, enum harness_mode mode)
{
    struct harness h;
    size_t len = strlen(text), at = first < len ? first : len;
    harness_init(&h, HTTP_VERSION_AUTO, mode);
    harness_feed(&h, text, at);
    while (at < len) {
        size_t n = step < len - at ? step : len - at;
        harness_feed(&h, text + at, n);
        at += n;
    }
    return outcome_of(&h);
}

static void the_cut_of_the_bytes_makes_no_difference(void **state)
{
    (void)state;
    for (enum harness_mode mode = ANSWER_ECHO; mode <= ANSWER_STREAM; mode += 2) {
        for (size_t i = 0; i < RK_ARRAY_LEN(mixes); i++) {
            size_t len = strlen(mixes[i]);
            struct outcome whole = feed_split(mixes[i], len, 1, mode);
            outcome_compare(whole, feed_split(mixes[i], 1, 1, mode));
            for (size_t at = 0; at < len; at++)
                outcome_compare(whole, feed_split(mixes[i], at, len, mode));
            free(whole.seen);
            free(whole.out);
        }
    }
}

/* Feeds one of the texts above to a new session; *ret has to be freed. */
static struct outcome whole(const char *text)
{
    return feed_split(text, strlen(text), 1, ANSWER_ECHO);
}

static void expect_mix(const char *text, const char *seen, const char *out, bool done)
{
    struct outcome o = whole(text);
    assert_string_equal(o.seen, seen);
    if (out)
        assert_string_equal(o.out, out);
    assert_int_equal(o.done, done);
    free(o.seen);
    free(o.out);
}

static void chunked_bodies_are_joined(void **state)
{
    (void)state;
    expect_mix(mixes[1], "POST /c ?  | h | abc0123456789\nGET /f ?  | h | \n", NULL, false);
}

static void head_gets_the_length_and_no_body(void **state)
{
    (void)state;
    expect_mix("HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD /h ?  | h | \n",
               "HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n", false);
}

static void http_1_0_closes_unless_asked_not_to(void **state)
{
    (void)state;
    expect_mix("GET /0 HTTP/1.0\r\n\r\n" GET("/never"), "GET /0 ?  |  | \n",
               "HTTP/1.1 200 OK\r\ncontent-length: 16\r\nconnection: close\r\n\r\nGET /0 ?  |  | \n", true);
    expect_mix("GET /0 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /0 ?  |  | \n",
               "HTTP/1.1 200 OK\r\ncontent-length: 16\r\nconnection: keep-alive\r\n\r\nGET /0 ?  |  | \n",
               false);
}

static void connection_close_is_kept(void **state)
{
    (void)state;
    expect_mix("GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" GET("/never"), "GET /c ?  | h | \n",
               "HTTP/1.1 200 OK\r\ncontent-length: 17\r\nconnection: close\r\n\r\nGET /c ?  | h | \n", true);
}

static void an_absolute_target_brings_its_host(void **state)
{
    (void)state;
    expect_mix(mixes[8], "GET /p ? q | other:1 | \nGET / ? q | o | \n", NULL, false);
}

static void options_star_is_answered_by_the_session(void **state)
{
    (void)state;
    expect_mix("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "",
               "HTTP/1.1 204 No Content\r\nallow: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n\r\n", false);
}

static void an_upgrade_is_ignored(void **state)
{
    (void)state;
    expect_mix(mixes[11], "GET / ?  | h | \nGET /on ?  | h | \n", NULL, false);
}

static void continue_is_sent_as_soon_as_the_headers_are_read(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_LATER);
    harness_feed_str(&h, "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n");
    assert_string_equal(harness_take(&h), "HTTP/1.1 100 Continue\r\n\r\n");
    harness_feed_str(&h, "ok");
    assert_int_equal(h.requests, 1);
    /* The next one's leave has to wait for its turn. */
    harness_feed_str(&h, "POST /b HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_string_equal(harness_take(&h), "");
    harness_answer(&h, 0, "1");
    assert_string_equal(harness_take(&h),
                        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1HTTP/1.1 100 Continue\r\n\r\n");
    harness_deinit(&h);
    assert_int_equal(h.cancelled, 0); /* it was never complete */
}

static void a_body_announced_too_large_gets_413_and_not_100(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_LATER);
    harness_feed_str(&h,
                     "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 65537\r\n\r\n");
    assert_int_equal(h.rc, -EPROTO);
    assert_string_equal(
        harness_take(&h),
        "HTTP/1.1 413 Content Too Large\r\ncontent-type: application/json\r\ncontent-length: 64\r\n"
        "connection: close\r\n\r\n"
        "{\"code\":\"too_large\",\"message\":\"The request body is too large.\"}\n");
    assert_true(http_session_done(h.session));
    harness_deinit(&h);
}

static void answers_leave_in_the_order_of_the_requests(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_LATER);
    harness_feed_str(&h, GET("/0") GET("/1") GET("/2"));
    assert_int_equal(http_session_pending(h.session), 3);
    harness_answer(&h, 2, "two");
    assert_int_equal(h.out.len, 0);
    struct http_request *streamed = h.kept[1];
    http_respond_begin(streamed, 200, NULL, 0);
    http_respond_chunk(streamed, rk_slice_str("on"));
    assert_true(http_respond_queued(streamed) > 2);
    assert_int_equal(h.out.len, 0);
    harness_answer(&h, 0, "zero");
    assert_int_equal(http_respond_queued(streamed), 0);
    assert_string_equal(harness_take(&h), "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nzero"
                                          "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\non\r\n");
    http_respond_chunk(streamed, rk_slice_str(""));
    http_respond_chunk(streamed, rk_slice_str("e"));
    http_respond_end(streamed);
    assert_string_equal(harness_take(&h),
                        "1\r\ne\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo");
    assert_int_equal(http_session_pending(h.session), 0);
    harness_deinit(&h);
}

static void a_streamed_answer_to_http_1_0_ends_with_the_connection(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_STREAM);
    harness_feed_str(&h, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_string_equal(harness_take(&h), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nGET / ?  |  | \n");
    assert_true(http_session_done(h.session));
    harness_deinit(&h);
}

static void an_aborted_answer_is_seen_to_be_incomplete(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_LATER);
    harness_feed_str(&h, GET("/0") GET("/1"));
    http_respond_begin(h.kept[0], 200, NULL, 0);
    http_respond_chunk(h.kept[0], rk_slice_str("ab"));
    http_respond_abort(h.kept[0]);
    assert_string_equal(harness_take(&h), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n");
    assert_true(http_session_done(h.session));
    harness_answer(&h, 1, "nobody listens");
    assert_int_equal(h.out.len, 0);
    harness_deinit(&h);
    assert_int_equal(h.cancelled, 0);
}

static void a_header_of_an_answer_cannot_smuggle_lines(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_LATER);
    harness_feed_str(&h, GET("/"));
    struct http_header headers[] = {{rk_slice_str("x"), rk_slice_str("a\r\nSet-Cookie: b")},
                                    {rk_slice_str("Content-Length"), rk_slice_str("99")}};
    http_respond(h.kept[0], 404, headers, 2, rk_slice_str(""));
    assert_string_equal(harness_take(&h),
                        "HTTP/1.1 404 Not Found\r\nx: a  Set-Cookie: b\r\ncontent-length: 0\r\n\r\n");
    harness_deinit(&h);
}

static void what_is_unanswered_is_cancelled_when_the_session_goes(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_LATER);
    harness_feed_str(&h, GET("/0") GET("/1") "GET /incomplete HTTP/1.1\r\n");
    harness_answer(&h, 1, "waits for /0");
    harness_deinit(&h);
    assert_int_equal(h.requests, 2);
    assert_int_equal(h.cancelled, 1);
}

static void an_error_waits_for_the_answers_before_it(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_LATER);
    harness_feed_str(&h, GET("/0") "nonsense\r\n\r\n");
    assert_int_equal(h.rc, 0);
    assert_false(http_session_done(h.session));
    harness_feed_str(&h, GET("/ignored"));
    assert_int_equal(h.requests, 1);
    harness_answer(&h, 0, "0");
    const char *out = harness_take(&h);
    assert_non_null(strstr(out, "\r\n\r\n0HTTP/1.1 400 Bad Request\r\n"));
    assert_true(http_session_done(h.session));
    harness_feed_str(&h, GET("/ignored"));
    assert_int_equal(h.rc, -EPROTO);
    harness_deinit(&h);
}

static void pipelining_is_bounded_and_goes_on(void **state)
{
    (void)state;
    struct harness h;
    struct rk_buf text = {0};
    harness_init(&h, HTTP_VERSION_1, ANSWER_LATER);
    for (int i = 0; i < 200; i++)
        rk_buf_printf(&text, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i);
    harness_feed(&h, text.data, text.len);
    assert_int_equal(h.requests, RK_HTTP_PIPELINE_MAX);
    assert_true(http_session_paused(h.session));
    uint64_t since;
    assert_false(http_session_mid_request(h.session, &since));
    /* Answered out of turn: no room yet, since the answer has to be kept. */
    harness_answer(&h, 1, "");
    assert_int_equal(h.requests, RK_HTTP_PIPELINE_MAX);
    harness_answer(&h, 0, "");
    assert_int_equal(h.requests, RK_HTTP_PIPELINE_MAX + 2);
    h.mode = ANSWER_ECHO;
    for (size_t i = 2; i < h.kept_count; i++)
        harness_answer(&h, i, "");
    assert_int_equal(h.requests, 200);
    assert_false(http_session_paused(h.session));
    assert_int_equal(http_session_pending(h.session), 0);
    rk_buf_deinit(&text);
    harness_deinit(&h);
}

static void a_hundred_thousand_pipelined_requests_do_not_recurse(void **state)
{
    (void)state;
    struct harness h;
    struct rk_buf text = {0};
    harness_init(&h, HTTP_VERSION_1, ANSWER_LATER);
    for (int i = 0; i < 100000; i++)
        rk_buf_append_str(&text, GET("/"));
    harness_feed(&h, text.data, text.len);
    h.mode = ANSWER_ECHO; /* one answer sets off all the others */
    for (size_t i = 0; i < RK_HTTP_PIPELINE_MAX; i++)
        harness_answer(&h, i, "");
    assert_int_equal(h.requests, 100000);
    rk_buf_deinit(&text);
    harness_deinit(&h);
}

static void feeding_on_although_paused_is_bounded(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_LATER);
    for (unsigned i = 0; i <= RK_HTTP_PIPELINE_MAX; i++)
        harness_feed_str(&h, GET("/"));
    char *junk = calloc(1, 1u << 20);
    for (int i = 0; i < 40 && h.rc == 0; i++)
        harness_feed(&h, junk, 1u << 20);
    assert_int_equal(h.rc, -EPROTO);
    free(junk);
    harness_deinit(&h);
}

static void a_slow_writer_can_be_told(void **state)
{
    (void)state;
    struct harness h;
    uint64_t since = 0;
    for (int version = HTTP_VERSION_AUTO; version <= HTTP_VERSION_1; version++) {
        harness_init(&h, (enum http_version)version, ANSWER_LATER);
        assert_false(http_session_mid_request(h.session, &since));
        h.now_us = 5000000;
        harness_feed_str(&h, "P");
        h.now_us = 6000000;
        harness_feed_str(&h, "OST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n1");
        h.now_us = 7000000;
        harness_feed_str(&h, "");
        assert_true(http_session_mid_request(h.session, &since));
        assert_int_equal(since, 5000000);
        harness_feed_str(&h, "2");
        assert_false(http_session_mid_request(h.session, &since));
        harness_deinit(&h);
    }
}

static void shutdown_lets_due_answers_go_first(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_LATER);
    harness_feed_str(&h, GET("/0") GET("/1"));
    http_session_shutdown(h.session);
    harness_feed_str(&h, GET("/late"));
    assert_false(http_session_done(h.session));
    harness_answer(&h, 0, "0");
    assert_string_equal(harness_take(&h), "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n0");
    harness_answer(&h, 1, "1");
    assert_string_equal(harness_take(&h),
                        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n1");
    assert_true(http_session_done(h.session));
    assert_int_equal(h.requests, 2);
    harness_deinit(&h);
}

static void shutdown_lets_a_begun_request_finish(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h, HTTP_VERSION_1, ANSWER_ECHO);
    harness_feed_str(&h, "GET / HTTP/1.1\r\n");
    http_session_shutdown(h.session);
    assert_false(http_session_done(h.session));
    harness_feed_str(&h, "Host: h\r\n\r\n" GET("/late"));
    assert_int_equal(h.requests, 1);
    assert_non_null(strstr(harness_take(&h), "connection: close\r\n"));
    assert_true(http_session_done(h.session));
    harness_deinit(&h);
}

static void shutdown_of_an_idle_session_is_immediate(void **state)
{
    (void)state;
    struct harness h;
    for (int version = HTTP_VERSION_AUTO; version <= HTTP_VERSION_2; version++) {
        harness_init(&h, (enum http_version)version, ANSWER_ECHO);
        http_session_shutdown(h.session);
        assert_true(http_session_done(h.session));
        harness_feed_str(&h, GET("/"));
        assert_int_equal(h.rc, 0);
        assert_int_equal(h.requests, 0);
        harness_deinit(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_understood_and_answered),
        cmocka_unit_test(an_answer_has_a_date),
        cmocka_unit_test(the_cut_of_the_bytes_makes_no_difference),
        cmocka_unit_test(chunked_bodies_are_joined),
        cmocka_unit_test(head_gets_the_length_and_no_body),
        cmocka_unit_test(http_1_0_closes_unless_asked_not_to),
        cmocka_unit_test(connection_close_is_kept),
        cmocka_unit_test(an_absolute_target_brings_its_host),
        cmocka_unit_test(options_star_is_answered_by_the_session),
        cmocka_unit_test(an_upgrade_is_ignored),
        cmocka_unit_test(continue_is_sent_as_soon_as_the_headers_are_read),
        cmocka_unit_test(a_body_announced_too_large_gets_413_and_not_100),
        cmocka_unit_test(answers_leave_in_the_order_of_the_requests),
        cmocka_unit_test(a_streamed_answer_to_http_1_0_ends_with_the_connection),
        cmocka_unit_test(an_aborted_answer_is_seen_to_be_incomplete),
        cmocka_unit_test(a_header_of_an_answer_cannot_smuggle_lines),
        cmocka_unit_test(what_is_unanswered_is_cancelled_when_the_session_goes),
        cmocka_unit_test(an_error_waits_for_the_answers_before_it),
        cmocka_unit_test(pipelining_is_bounded_and_goes_on),
        cmocka_unit_test(a_hundred_thousand_pipelined_requests_do_not_recurse),
        cmocka_unit_test(feeding_on_although_paused_is_bounded),
        cmocka_unit_test(a_slow_writer_can_be_told),
        cmocka_unit_test(shutdown_lets_due_answers_go_first),
        cmocka_unit_test(shutdown_lets_a_begun_request_finish),
        cmocka_unit_test(shutdown_of_an_idle_session_is_immediate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
