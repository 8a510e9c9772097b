/* tests/fuzz/fuzz_http1.c - HTTP/1.1 input, fed whole and in pieces: both must have the same outcome.
 *
 * The first byte chooses how requests are answered, the second the size of the pieces, the rest is what the
 * peer sends. */
#include "lib/base/rk_assert.h"
#include "tests/unit/http_harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Answers what was kept, the last one first, in different ways. */
static void answer_kept(struct harness *h)
{
    for (size_t i = h->kept_count; i-- > 0;) {
        struct http_request *request = h->kept[i];
        if (!request)
            continue;
        h->kept[i] = NULL;
        if (i % 4 == 0) {
            http_respond(request, 200, request->headers, request->header_count, request->body);
            continue;
        }
        http_respond_begin(request, 200, NULL, 0);
        http_respond_chunk(request, request->body);
        if (i % 4 == 3)
            http_respond_abort(request);
        else
            http_respond_end(request);
    }
}

static void run(struct harness *h, enum harness_mode mode, struct rk_slice input, size_t piece)
{
    harness_init(h, HTTP_VERSION_AUTO, mode);
    for (size_t at = 0; at < input.len;) {
        size_t n = piece < input.len - at ? piece : input.len - at;
        harness_feed(h, input.data + at, n);
        at += n;
    }
    /* Requests that had to wait come as answers leave; keep the array from filling up. */
    while (http_session_pending(h->session) > 0) {
        size_t before = h->requests;
        answer_kept(h);
        if (h->requests == before)
            break;
        h->mode = ANSWER_ECHO;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct harness whole, cut;
    if (size < 2)
        return 0;
    struct rk_slice input = rk_slice(data + 2, size - 2);
    if (rk_slice_has_prefix(input, rk_slice_str(preface)))
        return 0; /* fuzz_http2's business */
    enum harness_mode mode = (enum harness_mode)(data[0] % 3);
    run(&whole, mode, input, input.len);
    run(&cut, mode, input, 1 + data[1] % 19);
    rk_assert(rk_slice_eq(rk_buf_slice(&whole.seen), rk_buf_slice(&cut.seen)));
    rk_assert(whole.out.len == cut.out.len); /* the date may differ, not its length */
    rk_assert(whole.rc == cut.rc);
    rk_assert(http_session_done(whole.session) == http_session_done(cut.session));
    harness_deinit(&whole);
    harness_deinit(&cut);
    return 0;
}
