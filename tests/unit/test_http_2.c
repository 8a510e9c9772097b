/* tests/unit/test_http_2.c - HTTP/2: requests, answers under flow control, cancellation, the end of a
 * session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/http2_peer.h"

static struct harness h;

static struct peer *start(enum harness_mode mode)
{
    harness_init(&h, HTTP_VERSION_AUTO, mode);
    return peer_new(&h, 0, false);
}

static void stop(struct peer *peer)
{
    harness_deinit(&h);
    peer_free(peer);
}

static void requests_are_understood_and_answered(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_ECHO);
    int32_t a = peer_request(peer, "GET", "/a?b=c", NULL, false);
    int32_t b = peer_request(peer, "POST", "/b", "body", false);
    peer_run(peer);
    assert_string_equal(peer_body(peer, a), "GET /a ? b=c | h | \n");
    assert_string_equal(peer_body(peer, b), "POST /b ?  | h | body\n");
    assert_int_equal(peer_answer(peer, a)->status, 200);
    assert_true(peer_answer(peer, b)->closed);
    assert_int_equal(peer_answer(peer, b)->error, NGHTTP2_NO_ERROR);
    assert_int_equal(http_session_pending(h.session), 0);
    assert_int_equal(h.cancelled, 0);
    stop(peer);
}

static void settings_are_the_first_frame_and_come_with_the_preface(void **state)
{
    (void)state;
    for (int version = HTTP_VERSION_AUTO; version <= HTTP_VERSION_2; version += 2) {
        harness_init(&h, (enum http_version)version, ANSWER_ECHO);
        harness_feed_str(&h, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert_true(h.out.len > 9);
        assert_int_equal(h.out.data[3], NGHTTP2_SETTINGS);
        harness_deinit(&h);
    }
}

static void output_is_handed_over_once_per_feed(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_STREAM);
    struct rk_buf bytes = {0};
    for (int i = 0; i < 10; i++)
        peer_request(peer, "POST", "/", "0123456789", false);
    peer_send(peer, &bytes);
    harness_feed(&h, bytes.data, bytes.len);
    assert_int_equal(h.requests, 10);
    assert_int_equal(h.outputs, 1);
    rk_buf_deinit(&bytes);
    stop(peer);
}

/* What the client of three requests sends: all header blocks first, then the body. */
static struct peer *three_requests(struct rk_buf *ret)
{
    struct peer *peer = peer_new(&h, 0, false);
    peer_request(peer, "GET", "/one", NULL, false);
    peer_request(peer, "POST", "/two", "some body", false);
    peer_request(peer, "HEAD", "/three?x", NULL, false);
    peer_send(peer, ret);
    return peer;
}

static void check_cut(size_t first, size_t step)
{
    struct rk_buf bytes = {0};
    harness_init(&h, HTTP_VERSION_AUTO, ANSWER_ECHO);
    struct peer *peer = three_requests(&bytes);
    harness_feed(&h, bytes.data, first);
    for (size_t at = first; at < bytes.len;) {
        size_t n = step < bytes.len - at ? step : bytes.len - at;
        harness_feed(&h, bytes.data + at, n);
        at += n;
    }
    assert_string_equal(harness_seen(&h),
                        "GET /one ?  | h | \nHEAD /three ? x | h | \nPOST /two ?  | h | some body\n");
    peer_recv(peer, rk_buf_slice(&h.out));
    assert_string_equal(peer_body(peer, 1), "GET /one ?  | h | \n");
    assert_string_equal(peer_body(peer, 3), "POST /two ?  | h | some body\n");
    assert_string_equal(peer_body(peer, 5), "");
    assert_true(peer_answer(peer, 5)->closed);
    rk_buf_deinit(&bytes);
    stop(peer);
}

static void the_cut_of_the_bytes_makes_no_difference(void **state)
{
    (void)state;
    struct rk_buf bytes = {0};
    peer_free(three_requests(&bytes));
    for (size_t at = 0; at <= bytes.len; at++)
        check_cut(at, bytes.len);
    check_cut(0, 1);
    rk_buf_deinit(&bytes);
}

static void answers_may_come_in_any_order(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    int32_t a = peer_request(peer, "GET", "/a", NULL, false);
    int32_t b = peer_request(peer, "GET", "/b", NULL, false);
    peer_run(peer);
    assert_int_equal(http_session_pending(h.session), 2);
    harness_answer(&h, 1, "b");
    peer_run(peer);
    assert_string_equal(peer_body(peer, b), "b");
    assert_int_equal(peer_answer(peer, a)->status, 0);
    harness_answer(&h, 0, "");
    peer_run(peer);
    assert_true(peer_answer(peer, a)->closed);
    stop(peer);
}

static void windows_are_given_back_as_bodies_come_in(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_ECHO);
    char *body = malloc(60001);
    memset(body, 'x', 60000);
    body[60000] = '\0';
    for (int i = 0; i < 60; i++) { /* several times the connection's window */
        peer_request(peer, "POST", "/", body, false);
        peer_run(peer);
    }
    assert_int_equal(h.requests, 60);
    free(body);
    stop(peer);
}

static void a_streamed_answer_waits_for_tiny_windows(void **state)
{
    (void)state;
    harness_init(&h, HTTP_VERSION_2, ANSWER_LATER);
    struct peer *peer = peer_new(&h, 7, true);
    int32_t id = peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    struct http_request *request = h.kept[0];
    http_respond_begin(request, 200, NULL, 0);
    peer_run(peer);
    assert_int_equal(http_respond_queued(request), 0);
    http_respond_chunk(request, rk_slice_str("0123456789"));
    http_respond_chunk(request, rk_slice_str("abcdefghij"));
    peer_run(peer);
    assert_string_equal(peer_body(peer, id), "0123456");
    assert_int_equal(http_respond_queued(request), 13);
    peer_consume(peer, id, 5);
    peer_run(peer);
    assert_string_equal(peer_body(peer, id), "0123456789ab");
    assert_int_equal(http_respond_queued(request), 8);
    http_respond_end(request);
    peer_run(peer);
    for (int i = 0; i < 10 && !peer_answer(peer, id)->closed; i++) {
        peer_consume(peer, id, 7);
        peer_run(peer);
    }
    assert_string_equal(peer_body(peer, id), "0123456789abcdefghij");
    assert_true(peer_answer(peer, id)->closed);
    assert_int_equal(h.cancelled, 0);
    stop(peer);
}

static void a_reader_that_stalls_can_be_told(void **state)
{
    (void)state;
    uint64_t since = 0;
    harness_init(&h, HTTP_VERSION_2, ANSWER_ECHO);
    struct peer *peer = peer_new(&h, 5, true);
    h.now_us = 3000000;
    int32_t id = peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    h.now_us = 9000000;
    nghttp2_submit_ping(peer->ng, NGHTTP2_FLAG_NONE, NULL);
    peer_run(peer);
    assert_true(http_session_stalled(h.session, &since));
    assert_int_equal(since, 3000000);
    peer_consume(peer, id, 5);
    peer_run(peer);
    assert_true(http_session_stalled(h.session, &since));
    assert_int_equal(since, 9000000);
    for (int i = 0; i < 10; i++) {
        peer_consume(peer, id, 5);
        peer_run(peer);
    }
    assert_true(peer_answer(peer, id)->closed);
    assert_false(http_session_stalled(h.session, &since));
    stop(peer);
}

static void large_answers_arrive_whole(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    int32_t id = peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    size_t len = 3u << 20;
    char *body = malloc(len);
    for (size_t i = 0; i < len; i++)
        body[i] = (char)(i * 7);
    http_respond(h.kept[0], 200, NULL, 0, rk_slice(body, len));
    peer_run(peer);
    assert_int_equal(peer_answer(peer, id)->body.len, len);
    assert_memory_equal(rk_buf_slice(&peer_answer(peer, id)->body).data, body, len);
    free(body);
    stop(peer);
}

static void a_reset_cancels_its_request_alone(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    int32_t a = peer_request(peer, "GET", "/a", NULL, false);
    int32_t b = peer_request(peer, "GET", "/b", NULL, false);
    peer_run(peer);
    nghttp2_submit_rst_stream(peer->ng, NGHTTP2_FLAG_NONE, a, NGHTTP2_CANCEL);
    peer_run(peer);
    assert_int_equal(h.cancelled, 1);
    assert_null(h.kept[0]);
    assert_int_equal(http_session_pending(h.session), 1);
    harness_answer(&h, 1, "b");
    peer_run(peer);
    assert_string_equal(peer_body(peer, b), "b");
    stop(peer);
    assert_int_equal(h.cancelled, 1);
}

static void a_reset_cancels_a_streamed_answer(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    int32_t id = peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    http_respond_begin(h.kept[0], 200, NULL, 0);
    http_respond_chunk(h.kept[0], rk_slice_str("x"));
    peer_run(peer);
    nghttp2_submit_rst_stream(peer->ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    peer_run(peer);
    assert_int_equal(h.cancelled, 1);
    stop(peer);
    assert_int_equal(h.cancelled, 1);
}

static void a_reset_before_the_request_is_complete_stays_unseen(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    uint64_t since;
    int32_t id = peer_request(peer, "POST", "/", "part", true);
    peer_run(peer);
    assert_true(http_session_mid_request(h.session, &since));
    nghttp2_submit_rst_stream(peer->ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    peer_run(peer);
    assert_false(http_session_mid_request(h.session, &since));
    assert_int_equal(h.requests + h.cancelled, 0);
    stop(peer);
}

static void what_is_unanswered_is_cancelled_when_the_session_goes(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    peer_request(peer, "GET", "/a", NULL, false);
    peer_request(peer, "GET", "/b", NULL, false);
    peer_request(peer, "POST", "/incomplete", "x", true);
    peer_run(peer);
    http_respond_begin(h.kept[1], 200, NULL, 0);
    stop(peer);
    assert_int_equal(h.cancelled, 2);
}

static void an_aborted_answer_is_reset(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    int32_t a = peer_request(peer, "GET", "/a", NULL, false);
    int32_t b = peer_request(peer, "GET", "/b", NULL, false);
    peer_run(peer);
    http_respond_begin(h.kept[0], 200, NULL, 0);
    http_respond_chunk(h.kept[0], rk_slice_str("some"));
    http_respond_abort(h.kept[0]);
    http_respond_abort(h.kept[1]); /* without any beginning */
    peer_run(peer);
    assert_true(peer_answer(peer, a)->closed && !peer_answer(peer, a)->ended);
    assert_int_equal(peer_answer(peer, a)->error, NGHTTP2_INTERNAL_ERROR);
    assert_int_equal(peer_answer(peer, b)->error, NGHTTP2_INTERNAL_ERROR);
    assert_int_equal(h.cancelled, 0);
    stop(peer);
}

static void an_answer_that_cannot_be_sent_is_cancelled_by_a_feed(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    int32_t id = peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    char *huge = malloc(100000);
    memset(huge, 'x', 100000);
    struct http_header header = {rk_slice_str("huge"), rk_slice(huge, 100000)};
    struct http_request *request = h.kept[0];
    http_respond_begin(request, 200, &header, 1);
    http_respond_chunk(request, rk_slice_str("the request is still there"));
    assert_int_equal(h.cancelled, 0);
    peer_run(peer);
    assert_int_equal(h.cancelled, 1);
    assert_int_equal(peer_answer(peer, id)->error, NGHTTP2_INTERNAL_ERROR);
    free(huge);
    stop(peer);
}

static void an_answer_that_cannot_be_sent_may_also_just_end(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    char *huge = malloc(100000);
    memset(huge, 'x', 100000);
    struct http_header header = {rk_slice_str("huge"), rk_slice(huge, 100000)};
    http_respond_begin(h.kept[0], 200, &header, 1);
    http_respond_end(h.kept[0]);
    peer_run(peer);
    assert_int_equal(h.cancelled, 0);
    assert_int_equal(http_session_pending(h.session), 0);
    free(huge);
    stop(peer);
}

static void head_gets_no_body_even_when_streamed(void **state)
{
    (void)state;
    for (enum harness_mode mode = ANSWER_ECHO; mode <= ANSWER_STREAM; mode++) {
        struct peer *peer = start(mode);
        int32_t id = peer_request(peer, "HEAD", "/", NULL, false);
        peer_run(peer);
        if (mode == ANSWER_LATER) {
            http_respond_begin(h.kept[0], 200, NULL, 0);
            peer_run(peer);
            http_respond_chunk(h.kept[0], rk_slice_str("late"));
            http_respond_end(h.kept[0]);
            peer_run(peer);
        }
        assert_string_equal(peer_body(peer, id), "");
        assert_true(peer_answer(peer, id)->closed);
        assert_int_equal(h.cancelled, 0);
        stop(peer);
    }
}

static void options_star_is_answered_by_the_session(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_ECHO);
    int32_t id = peer_request(peer, "OPTIONS", "*", NULL, false);
    peer_run(peer);
    assert_int_equal(peer_answer(peer, id)->status, 204);
    assert_int_equal(h.requests, 0);
    stop(peer);
}

static void continue_is_sent_when_asked_for(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_ECHO);
    const nghttp2_nv nv[] = {PEER_NV(":method", "POST"), PEER_NV(":scheme", "https"),
                             PEER_NV(":authority", "h"), PEER_NV(":path", "/"),
                             PEER_NV("expect", "100-continue")};
    int32_t id = peer_request_nv(peer, nv, RK_ARRAY_LEN(nv), rk_slice_str("ok"), false);
    peer_run(peer);
    assert_int_equal(peer_answer(peer, id)->continues, 1);
    assert_int_equal(peer_answer(peer, id)->status, 200);
    stop(peer);
}

static void shutdown_says_goaway_and_lets_requests_finish(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    int32_t a = peer_request(peer, "GET", "/a", NULL, false);
    peer_run(peer);
    http_session_shutdown(h.session);
    int32_t crossing = peer_request(peer, "GET", "/b", NULL, false); /* sent before the notice is read */
    struct rk_buf bytes = {0};
    peer_send(peer, &bytes);
    harness_feed(&h, bytes.data, bytes.len);
    rk_buf_deinit(&bytes);
    peer_run(peer);
    assert_int_equal(peer->goaways, 2);
    assert_int_equal(peer->goaway_last, crossing);
    assert_int_equal(peer->goaway_error, NGHTTP2_NO_ERROR);
    assert_false(http_session_done(h.session));
    harness_answer(&h, 0, "a");
    harness_answer(&h, 1, "b");
    peer_run(peer);
    assert_string_equal(peer_body(peer, a), "a");
    assert_string_equal(peer_body(peer, crossing), "b");
    assert_true(http_session_done(h.session));
    assert_int_equal(h.rc, 0);
    stop(peer);
}

static void a_second_shutdown_does_not_wait_for_the_peer(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_ECHO);
    peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    http_session_shutdown(h.session);
    assert_false(http_session_done(h.session));
    http_session_shutdown(h.session);
    assert_true(http_session_done(h.session));
    stop(peer);
}

/* The reset that a peer provokes leaves, and closes its stream, after the bytes have been read. */
static void a_provoked_reset_cancels_within_the_same_feed(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    struct rk_buf bytes = {0};
    int32_t id = peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    raw_frame(&bytes, NGHTTP2_WINDOW_UPDATE, 0, id, "\x7f\xff\xff\xff", 4); /* overflows */
    harness_feed(&h, bytes.data, bytes.len);
    assert_int_equal(h.rc, 0);
    assert_int_equal(h.cancelled, 1);
    rk_buf_deinit(&bytes);
    stop(peer);
}

static void a_goaway_of_the_peer_ends_the_session_after_its_requests(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    int32_t id = peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    nghttp2_submit_goaway(peer->ng, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
    peer_run(peer);
    assert_false(http_session_done(h.session));
    harness_answer(&h, 0, "late");
    peer_run(peer);
    assert_string_equal(peer_body(peer, id), "late");
    assert_true(http_session_done(h.session));
    stop(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_understood_and_answered),
        cmocka_unit_test(settings_are_the_first_frame_and_come_with_the_preface),
        cmocka_unit_test(output_is_handed_over_once_per_feed),
        cmocka_unit_test(the_cut_of_the_bytes_makes_no_difference),
        cmocka_unit_test(answers_may_come_in_any_order),
        cmocka_unit_test(windows_are_given_back_as_bodies_come_in),
        cmocka_unit_test(a_streamed_answer_waits_for_tiny_windows),
        cmocka_unit_test(a_reader_that_stalls_can_be_told),
        cmocka_unit_test(large_answers_arrive_whole),
        cmocka_unit_test(a_reset_cancels_its_request_alone),
        cmocka_unit_test(a_reset_cancels_a_streamed_answer),
        cmocka_unit_test(a_reset_before_the_request_is_complete_stays_unseen),
        cmocka_unit_test(what_is_unanswered_is_cancelled_when_the_session_goes),
        cmocka_unit_test(an_aborted_answer_is_reset),
        cmocka_unit_test(an_answer_that_cannot_be_sent_is_cancelled_by_a_feed),
        cmocka_unit_test(an_answer_that_cannot_be_sent_may_also_just_end),
        cmocka_unit_test(head_gets_no_body_even_when_streamed),
        cmocka_unit_test(options_star_is_answered_by_the_session),
        cmocka_unit_test(continue_is_sent_when_asked_for),
        cmocka_unit_test(shutdown_says_goaway_and_lets_requests_finish),
        cmocka_unit_test(a_second_shutdown_does_not_wait_for_the_peer),
        cmocka_unit_test(a_provoked_reset_cancels_within_the_same_feed),
        cmocka_unit_test(a_goaway_of_the_peer_ends_the_session_after_its_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
