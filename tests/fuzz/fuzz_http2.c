/* tests/fuzz/fuzz_http2.c - HTTP/2 input between answers of all kinds.
 *
 * The first byte chooses: raw bytes behind the preface (odd), or a script (even)
 * in which each step is one byte that says what happens next and some bytes for it.
 * Scripts reach states that random bytes would hardly find: half answered
 * requests, closed windows, resets from both sides. */
#include "lib/base/rk_assert.h"
#include "tests/unit/http2_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct script {
    struct rk_slice rest;
    struct harness h;
    struct rk_buf bytes; /* from the peer, not yet fed */
    bool begun[HARNESS_KEPT_MAX];
};

static uint8_t next(struct script *s)
{
    if (s->rest.len == 0)
        return 0;
    uint8_t c = s->rest.data[0];
    s->rest = rk_slice(s->rest.data + 1, s->rest.len - 1);
    return c;
}

static struct rk_slice next_bytes(struct script *s, size_t n)
{
    if (n > s->rest.len)
        n = s->rest.len;
    struct rk_slice bytes = rk_slice(s->rest.data, n);
    if (n > 0)
        s->rest = rk_slice(s->rest.data + n, s->rest.len - n);
    return bytes;
}

static void feed(struct script *s)
{
    harness_feed(&s->h, rk_buf_slice(&s->bytes).data, s->bytes.len);
    rk_buf_clear(&s->bytes);
}

/* The answering layer does something about one of the requests that it holds. */
static void answer(struct script *s, unsigned how)
{
    size_t i = next(s) % HARNESS_KEPT_MAX;
    struct http_request *request = s->h.kept[i];
    static const char filler[40000];
    if (!request)
        return;
    if (how == 0 && !s->begun[i]) {
        s->h.kept[i] = NULL;
        http_respond(request, 200, request->headers, request->header_count,
                     rk_slice(filler, (size_t)next(s) * 150u));
    } else if (how == 1 && !s->begun[i]) {
        s->begun[i] = true;
        http_respond_begin(request, 200 + (next(s) & 4), NULL, 0);
    } else if (how == 2 && s->begun[i]) {
        http_respond_chunk(request, rk_slice(filler, (size_t)next(s) * 150u));
    } else if (how == 3 && s->begun[i]) {
        s->h.kept[i] = NULL;
        s->begun[i] = false;
        http_respond_end(request);
    } else if (how == 4) {
        s->h.kept[i] = NULL;
        s->begun[i] = false;
        http_respond_abort(request);
    }
}

/* Puts a frame together; most of its parts are well formed. */
static void frame(struct script *s, unsigned type)
{
    static const char get[] = "\x82\x87\x84\x01\x01h", head[] = "\x02\x04HEAD\x87\x84\x01\x01h";
    int32_t id = (int32_t)(next(s) % 64);
    uint8_t flags = next(s);
    struct rk_slice payload = next_bytes(s, next(s));
    struct rk_buf block = {0};
    uint8_t fixed[8] = {0, 0, (uint8_t)(flags >> 4), next(s)};
    switch (type) {
    case NGHTTP2_HEADERS:
        rk_buf_append_str(&block, flags & 8 ? head : get);
        rk_buf_append_slice(&block, payload);
        raw_frame(&s->bytes, NGHTTP2_HEADERS, flags & 5, id | 1, block.data, block.len);
        break;
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_WINDOW_UPDATE:
        raw_frame(&s->bytes, (uint8_t)type, 0, id, fixed, 4);
        break;
    case NGHTTP2_SETTINGS: {
        const uint8_t window[6] = {0, 4, 0, 0, fixed[2], fixed[3]};
        raw_frame(&s->bytes, NGHTTP2_SETTINGS, 0, 0, window, sizeof(window));
        break;
    }
    case NGHTTP2_PING:
        raw_frame(&s->bytes, NGHTTP2_PING, flags & 1, 0, fixed, 8);
        break;
    default:
        raw_frame(&s->bytes, (uint8_t)type, flags, id, payload.data, payload.len);
        break;
    }
    rk_buf_deinit(&block);
}

static void forget_begun(struct script *s)
{
    for (size_t i = 0; i < HARNESS_KEPT_MAX; i++)
        s->begun[i] &= s->h.kept[i] != NULL;
}

static void step(struct script *s)
{
    uint8_t what = next(s);
    if (what < 128) {
        frame(s, what % 11);
    } else if (what < 200) {
        answer(s, what % 5);
    } else if (what < 210) {
        s->h.now_us += (uint64_t)next(s) * 10000;
    } else if (what == 210) {
        http_session_shutdown(s->h.session);
    } else {
        feed(s);
        forget_begun(s);
    }
}

/* What the session holds in all has to be back at nothing when nothing is under way. */
static void check(struct script *s)
{
    uint64_t since;
    size_t kept = 0;
    for (size_t i = 0; i < HARNESS_KEPT_MAX; i++)
        kept += s->h.kept[i] != NULL;
    rk_assert(s->h.kept_count > HARNESS_KEPT_MAX || kept == http_session_pending(s->h.session));
    rk_assert(!http_session_done(s->h.session) || !http_session_mid_request(s->h.session, &since));
    rk_assert(s->h.rc == 0 || http_session_done(s->h.session));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct script s;
    if (size < 2)
        return 0;
    s = (struct script){.rest = rk_slice(data + 2, size - 2)};
    harness_init(&s.h, HTTP_VERSION_2,
                 data[0] & 2   ? ANSWER_LATER
                 : data[0] & 4 ? ANSWER_STREAM
                               : ANSWER_ECHO);
    rk_buf_append_str(&s.bytes, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    if ((data[0] & 8) == 0)
        raw_frame(&s.bytes, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    if (data[0] & 1) {
        while (s.rest.len > 0) {
            rk_buf_append_slice(&s.bytes, next_bytes(&s, 1 + data[1]));
            feed(&s);
        }
    } else {
        while (s.rest.len > 0 && s.h.kept_count < HARNESS_KEPT_MAX - 200)
            step(&s);
        feed(&s);
    }
    check(&s);
    harness_deinit(&s.h);
    rk_buf_deinit(&s.bytes);
    return 0;
}
