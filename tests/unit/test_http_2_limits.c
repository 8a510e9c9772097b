/* tests/unit/test_http_2_limits.c - HTTP/2: each limit, and each kind of flood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/http2_peer.h"

#include <errno.h>

/* A header block by hand: ":method GET", ":scheme https", ":path /" from the static table, ":authority h". */
#define GET_BLOCK                                                                                            \
    "\x82\x87\x84\x01\x01"                                                                                   \
    "h"
#define GET_BLOCK_LEN 6u

static struct harness h;

static struct peer *start(enum harness_mode mode)
{
    harness_init(&h, HTTP_VERSION_2, mode);
    struct peer *peer = peer_new(&h, 0, false);
    peer_run(peer);
    return peer;
}

static void stop(struct peer *peer)
{
    harness_deinit(&h);
    peer_free(peer);
}

/* ---- requests ---- */

static unsigned status_with(const char *name, struct rk_slice value)
{
    struct peer *peer = start(ANSWER_ECHO);
    nghttp2_nv nv[] = {PEER_NV(":method", "GET"), PEER_NV(":scheme", "https"), PEER_NV(":authority", "h"),
                       PEER_NV(":path", "/"), PEER_NV(name, "")};
    size_t at = strcmp(name, ":path") == 0 ? 3 : strcmp(name, ":method") == 0 ? 0 : 4;
    nv[at].value = (uint8_t *)(uintptr_t)value.data;
    nv[at].valuelen = value.len;
    int32_t id = peer_request_nv(peer, nv, at == 4 ? 5 : 4, rk_slice(NULL, 0), false);
    peer_run(peer);
    unsigned status = peer_answer(peer, id)->status;
    if (status == 0) /* reset instead */
        status = peer_answer(peer, id)->error;
    if (status >= 400) {
        assert_non_null(strstr(peer_body(peer, id), "{\"code\":\""));
        assert_int_equal(h.requests, 0);
    }
    /* The connection lives on. */
    id = peer_request(peer, "GET", "/after", NULL, false);
    peer_run(peer);
    assert_int_equal(peer_answer(peer, id)->status, 200);
    stop(peer);
    return status;
}

static unsigned status_with_str(const char *name, const char *value)
{
    return status_with(name, rk_slice_str(value));
}

static void targets_and_hosts_are_checked(void **state)
{
    (void)state;
    char *path = malloc(RK_HTTP_TARGET_BYTES_MAX + 1);
    memset(path, '/', RK_HTTP_TARGET_BYTES_MAX + 1);
    assert_int_equal(status_with(":path", rk_slice(path, RK_HTTP_TARGET_BYTES_MAX)), 200);
    assert_int_equal(status_with(":path", rk_slice(path, RK_HTTP_TARGET_BYTES_MAX + 1)), 414);
    free(path);
    assert_int_equal(status_with_str(":path", "/a#b"), 400);
    assert_int_equal(status_with_str("host", "h"), 200);
    assert_int_equal(status_with_str("expect", "tea"), 200); /* without a body there is nothing to wait for */
}

static void a_malformed_request_is_reset(void **state)
{
    (void)state;
    assert_int_equal(status_with_str(":path", "http://h/"), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(status_with_str("x", "a\nb"), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(status_with_str("a b", "x"), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(status_with_str("connection", "close"), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(status_with_str("transfer-encoding", "chunked"), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(status_with_str("content-length", "5"), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(status_with_str("content-length", "x"), NGHTTP2_PROTOCOL_ERROR);
}

static void header_bytes_are_bounded(void **state)
{
    (void)state;
    char *value = malloc(RK_HTTP_HEADER_BYTES_MAX);
    memset(value, 'v', RK_HTTP_HEADER_BYTES_MAX);
    assert_int_equal(status_with("x", rk_slice(value, RK_HTTP_HEADER_BYTES_MAX - 200)), 200);
    assert_int_equal(status_with("x", rk_slice(value, RK_HTTP_HEADER_BYTES_MAX)), 431);
    free(value);
}

static unsigned status_with_headers(size_t count)
{
    struct peer *peer = start(ANSWER_ECHO);
    nghttp2_nv nv[RK_HTTP_HEADERS_MAX + 10] = {PEER_NV(":method", "GET"), PEER_NV(":scheme", "https"),
                                               PEER_NV(":authority", "h"), PEER_NV(":path", "/")};
    const nghttp2_nv x = PEER_NV("x", "y");
    for (size_t i = 0; i + 1 < count; i++) /* the host is one of them */
        nv[4 + i] = x;
    int32_t id = peer_request_nv(peer, nv, 4 + count - 1, rk_slice(NULL, 0), false);
    peer_run(peer);
    unsigned status = peer_answer(peer, id)->status;
    stop(peer);
    return status;
}

static void headers_are_counted(void **state)
{
    (void)state;
    assert_int_equal(status_with_headers(RK_HTTP_HEADERS_MAX), 200);
    assert_int_equal(status_with_headers(RK_HTTP_HEADERS_MAX + 1), 431);
}

static void bodies_are_bounded_whether_announced_or_not(void **state)
{
    (void)state;
    size_t len = HARNESS_BODY_MAX + 1;
    char *body = malloc(len);
    memset(body, 'b', len);
    const nghttp2_nv nv[] = {PEER_NV(":method", "POST"), PEER_NV(":scheme", "https"),
                             PEER_NV(":authority", "h"), PEER_NV(":path", "/"),
                             PEER_NV("content-length", "65537")};
    struct peer *peer = start(ANSWER_ECHO);
    int32_t fits = peer_request_nv(peer, nv, 4, rk_slice(body, len - 1), false);
    int32_t announced = peer_request_nv(peer, nv, 5, rk_slice(body, len), true);
    int32_t found = peer_request_nv(peer, nv, 4, rk_slice(body, len), true);
    peer_run(peer);
    assert_int_equal(peer_answer(peer, fits)->status, 200);
    assert_int_equal(peer_answer(peer, announced)->status, 413);
    assert_int_equal(peer_answer(peer, found)->status, 413);
    /* The client, which has not ended its side, is told not to go on; it has the whole answer. */
    assert_true(peer_answer(peer, found)->ended && peer_answer(peer, found)->closed);
    assert_int_equal(peer_answer(peer, found)->error, NGHTTP2_NO_ERROR);
    assert_int_equal(h.requests, 1);
    free(body);
    stop(peer);
}

static void refused_bodies_do_not_starve_the_connection(void **state)
{
    (void)state;
    char *body = malloc(200001);
    memset(body, 'b', 200000);
    body[200000] = '\0';
    struct peer *peer = start(ANSWER_ECHO);
    for (int i = 0; i < 50; i++) {
        peer_request(peer, "POST", "/", body, false);
        peer_run(peer);
    }
    int32_t id = peer_request(peer, "POST", "/", "fits", false);
    peer_run(peer);
    assert_int_equal(peer_answer(peer, id)->status, 200);
    free(body);
    stop(peer);
}

static void streams_are_bounded(void **state)
{
    (void)state;
    struct peer *peer = peer_new(&h, 0, false); /* has not seen our SETTINGS */
    harness_init(&h, HTTP_VERSION_2, ANSWER_LATER);
    nghttp2_session_set_next_stream_id(peer->ng, 1);
    struct rk_buf bytes = {0};
    for (unsigned i = 0; i < 100; i++)
        peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    for (unsigned i = 0; i < 100; i++) /* the rest waits in the client */
        peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    assert_int_equal(h.requests, RK_HTTP_STREAMS_MAX);
    assert_int_equal(h.rc, 0);
    /* A client that does not care. */
    for (int32_t id = 1001; id < 1021; id += 2)
        raw_frame(&bytes, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, id, GET_BLOCK,
                  GET_BLOCK_LEN);
    harness_feed(&h, bytes.data, bytes.len);
    assert_int_equal(h.requests, RK_HTTP_STREAMS_MAX);
    rk_buf_deinit(&bytes);
    stop(peer);
}

/* ---- floods ---- */

static struct rk_buf flood;
static size_t turns; /* feeds until the session ended */

/* Frame by frame: nghttp2's client would not accept answers to requests that we sent behind its back. */
static void expect_calm(void)
{
    const uint8_t *at = h.out.data + h.out.start, *end = at + h.out.len, *last = NULL;
    assert_int_equal(h.rc, -EPROTO);
    assert_true(http_session_done(h.session));
    while (end - at >= 9) {
        last = at;
        at += 9 + ((size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2]);
    }
    assert_ptr_equal(at, end);
    assert_non_null(last);
    assert_int_equal(last[3], NGHTTP2_GOAWAY);
    assert_int_equal(last[9 + 7], NGHTTP2_ENHANCE_YOUR_CALM);
}

/* Feeds the frames in flood once per turn, with step_us between the turns. */
static bool survives(size_t turn_count, uint64_t step_us)
{
    for (turns = 0; turns < turn_count && h.rc == 0; turns++) {
        h.now_us += step_us;
        harness_feed(&h, flood.data, flood.len);
        rk_buf_clear(&h.out);
    }
    return h.rc == 0;
}

/* A whole flood in one feed ends with GOAWAY. */
static void flood_ends(struct peer *peer, size_t copies)
{
    struct rk_buf all = {0};
    for (size_t i = 0; i < copies; i++)
        rk_buf_append_slice(&all, rk_buf_slice(&flood));
    harness_feed(&h, all.data, all.len);
    rk_buf_deinit(&all);
    rk_buf_deinit(&flood);
    expect_calm();
    stop(peer);
}

/* Requests that are reset at once: each stream costs the client 25 bytes. */
static void rapid_resets(struct rk_buf *to, int32_t *id, unsigned count)
{
    for (unsigned i = 0; i < count; i++, *id += 2) {
        raw_frame(to, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, *id, GET_BLOCK,
                  GET_BLOCK_LEN);
        raw_frame(to, NGHTTP2_RST_STREAM, 0, *id, "\0\0\0\x8", 4);
    }
}

static void a_huge_number_of_resets_ends_the_session(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    int32_t id = 1;
    rapid_resets(&flood, &id, 10000);
    flood_ends(peer, 1);
    assert_true(h.requests <= RK_HTTP_RESETS_BURST + 1);
}

static void resets_now_and_then_are_fine(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    int32_t id = 1;
    /* More than at once, but fewer than nghttp2's own limit, which counts by the real clock. */
    for (int i = 0; i < 30; i++) {
        rk_buf_clear(&flood);
        rapid_resets(&flood, &id, RK_HTTP_RESETS_PER_S);
        assert_true(survives(1, RK_USEC_PER_SEC));
    }
    assert_int_equal(h.requests, 30 * RK_HTTP_RESETS_PER_S);
    assert_true(h.requests > RK_HTTP_RESETS_BURST);
    assert_int_equal(h.cancelled, h.requests);
    rk_buf_deinit(&flood);
    stop(peer);
}

static void resets_that_the_peer_provokes_count_too(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    for (int32_t id = 1; id < 20000; id += 2) {
        raw_frame(&flood, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, id, GET_BLOCK,
                  GET_BLOCK_LEN);
        raw_frame(&flood, NGHTTP2_WINDOW_UPDATE, 0, id, "\x7f\xff\xff\xff", 4); /* overflows */
    }
    size_t n = 0;
    while (h.rc == 0 && n < flood.len) { /* in pieces, so that our resets leave in between */
        size_t piece = flood.len - n < 250 ? flood.len - n : 250;
        harness_feed(&h, flood.data + n, piece);
        n += piece;
    }
    assert_true(h.requests < 2 * RK_HTTP_RESETS_BURST);
    rk_buf_deinit(&flood);
    expect_calm();
    stop(peer);
    assert_int_equal(h.cancelled, h.requests);
}

static void a_ping_flood_ends_the_session(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    raw_frame(&flood, NGHTTP2_PING, 0, 0, "12345678", 8);
    flood_ends(peer, 5000);
}

static void a_settings_flood_ends_the_session(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    raw_frame(&flood, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    flood_ends(peer, 5000);
}

static void an_empty_data_flood_ends_the_session(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    peer_request(peer, "POST", "/", "x", true);
    peer_run(peer);
    raw_frame(&flood, NGHTTP2_DATA, 0, 1, NULL, 0);
    flood_ends(peer, 30000);
}

static void a_priority_flood_ends_the_session(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    raw_frame(&flood, NGHTTP2_PRIORITY, 0, 1, "\0\0\0\x3\x10", 5);
    flood_ends(peer, 30000);
}

static void a_window_update_flood_ends_the_session(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    raw_frame(&flood, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\x1", 4);
    flood_ends(peer, 30000);
}

static void pings_in_their_measure_are_fine(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    for (unsigned i = 0; i < RK_HTTP_CONTROLS_PER_S; i++)
        raw_frame(&flood, NGHTTP2_PING, 0, 0, "12345678", 8);
    assert_true(survives(100, RK_USEC_PER_SEC));
    assert_false(survives(100, RK_USEC_PER_SEC / 10));
    rk_buf_deinit(&flood);
    stop(peer);
}

/* Some clients measure the path with a PING for each answer they read. */
static void a_ping_for_every_answer_is_fine(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    http_respond_begin(h.kept[0], 200, NULL, 0);
    for (unsigned i = 0; i < 5 * RK_HTTP_CONTROLS_BURST; i++) {
        http_respond_chunk(h.kept[0], rk_slice_str("event"));
        nghttp2_submit_ping(peer->ng, NGHTTP2_FLAG_NONE, NULL);
        peer_run(peer);
        assert_int_equal(h.rc, 0);
    }
    stop(peer);
}

static void a_continuation_flood_ends_the_session(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 1000; len += 1000) {
        struct peer *peer = start(ANSWER_LATER);
        /* Literal headers without indexing: "x: " and 1000 bytes make a frame of 1006. */
        uint8_t field[1006] = {0x00, 0x01, 'x', 0x7f, 0xe9, 0x06};
        memset(field + 6, 'v', 1000);
        raw_frame(&flood, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, GET_BLOCK, GET_BLOCK_LEN);
        for (int i = 0; i < 100000 && flood.len < 30000000; i++)
            raw_frame(&flood, NGHTTP2_CONTINUATION, 0, 1, field, len > 0 ? sizeof(field) : 0);
        harness_feed(&h, flood.data, flood.len);
        assert_int_equal(h.rc, -EPROTO);
        assert_true(http_session_done(h.session));
        assert_int_equal(h.requests, 0);
        rk_buf_deinit(&flood);
        stop(peer);
    }
}

/* One large entry in the dynamic table, named again and again by a single byte. */
static void an_hpack_bomb_ends_the_session(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    struct rk_buf block = {0};
    uint8_t value[3000];
    memset(value, 'v', sizeof(value));
    rk_buf_append(&block, GET_BLOCK "\x40\x01x\x7f\xb9\x16",
                  GET_BLOCK_LEN + 6); /* length 3000 = 127 + 2873 */
    rk_buf_append(&block, value, sizeof(value));
    for (int i = 0; i < 10000; i++)
        rk_buf_append(&block, "\xbe", 1);
    raw_frame(&flood, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, block.data,
              block.len);
    rk_buf_deinit(&block);
    flood_ends(peer, 1);
    assert_int_equal(h.requests, 0);
}

static void a_wrong_preface_ends_the_session(void **state)
{
    (void)state;
    harness_init(&h, HTTP_VERSION_2, ANSWER_ECHO);
    harness_feed_str(&h, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(h.rc, -EPROTO);
    assert_true(http_session_done(h.session));
    harness_deinit(&h);
}

static void a_broken_frame_ends_the_session_with_goaway(void **state)
{
    (void)state;
    struct peer *peer = start(ANSWER_LATER);
    peer_request(peer, "GET", "/", NULL, false);
    peer_run(peer);
    raw_frame(&flood, NGHTTP2_SETTINGS, 0, 1, NULL, 0); /* SETTINGS belong to stream 0 */
    harness_feed(&h, flood.data, flood.len);
    rk_buf_deinit(&flood);
    assert_int_equal(h.rc, -EPROTO);
    assert_true(http_session_done(h.session));
    peer_recv(peer, rk_buf_slice(&h.out));
    assert_int_equal(peer->goaway_error, NGHTTP2_PROTOCOL_ERROR);
    harness_answer(&h, 0, "nobody listens");
    stop(peer);
    assert_int_equal(h.cancelled, 0);
}

/* ---- what one connection may hold ---- */

static size_t held_requests;

static void keep(void *userdata, struct http_request *request)
{
    (void)userdata, (void)request;
    held_requests++;
}

static void forget(void *userdata, struct http_request *request)
{
    (void)userdata, (void)request;
}

static void collect(void *userdata, struct rk_slice bytes)
{
    rk_buf_append_slice(userdata, bytes);
}

static void what_a_connection_makes_us_hold_is_bounded(void **state)
{
    (void)state;
    static const struct http_session_ops ops = {.request = keep, .cancelled = forget, .output = collect};
    struct peer *peer = peer_new(&h, 0, false);
    struct rk_buf out = {0}, bytes = {0};
    size_t refused = 0, len = RK_REQUEST_BYTES_MAX;
    struct http_session *session = http_session_new(HTTP_VERSION_2, len, &ops, &out);
    char *body = calloc(1, len);
    const nghttp2_nv nv[] = {PEER_NV(":method", "POST"), PEER_NV(":scheme", "https"),
                             PEER_NV(":authority", "h"), PEER_NV(":path", "/")};
    for (int i = 0; i < 40; i++)
        peer_request_nv(peer, nv, 4, rk_slice(body, len), false);
    do {
        rk_buf_clear(&bytes);
        peer_send(peer, &bytes);
        assert_int_equal(http_session_feed(session, rk_buf_slice(&bytes), 1), 0);
        peer_recv(peer, rk_buf_slice(&out));
        rk_buf_clear(&out);
    } while (bytes.len > 0);
    for (int32_t id = 1; id < 80; id += 2)
        refused += peer_answer(peer, id)->error == NGHTTP2_REFUSED_STREAM;
    assert_int_equal(refused + held_requests, 40);
    assert_true(held_requests > 0 && held_requests * len <= RK_HTTP_HELD_BYTES_MAX);
    http_session_free(session);
    free(body);
    rk_buf_deinit(&out);
    rk_buf_deinit(&bytes);
    peer_free(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_and_hosts_are_checked),
        cmocka_unit_test(a_malformed_request_is_reset),
        cmocka_unit_test(header_bytes_are_bounded),
        cmocka_unit_test(headers_are_counted),
        cmocka_unit_test(bodies_are_bounded_whether_announced_or_not),
        cmocka_unit_test(refused_bodies_do_not_starve_the_connection),
        cmocka_unit_test(streams_are_bounded),
        cmocka_unit_test(a_huge_number_of_resets_ends_the_session),
        cmocka_unit_test(resets_now_and_then_are_fine),
        cmocka_unit_test(resets_that_the_peer_provokes_count_too),
        cmocka_unit_test(a_ping_flood_ends_the_session),
        cmocka_unit_test(a_settings_flood_ends_the_session),
        cmocka_unit_test(an_empty_data_flood_ends_the_session),
        cmocka_unit_test(a_priority_flood_ends_the_session),
        cmocka_unit_test(a_window_update_flood_ends_the_session),
        cmocka_unit_test(pings_in_their_measure_are_fine),
        cmocka_unit_test(a_ping_for_every_answer_is_fine),
        cmocka_unit_test(a_continuation_flood_ends_the_session),
        cmocka_unit_test(an_hpack_bomb_ends_the_session),
        cmocka_unit_test(a_wrong_preface_ends_the_session),
        cmocka_unit_test(a_broken_frame_ends_the_session_with_goaway),
        cmocka_unit_test(what_a_connection_makes_us_hold_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
