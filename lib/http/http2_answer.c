/* lib/http/http2_answer.c - HTTP/2 answers: header blocks, and bodies that wait for the peer's windows.
 *
 * A body's bytes wait in exchange->answer. nghttp2 asks for them when its windows
 * let it send, and is told "deferred" when there are none yet; the next chunk
 * wakes it. (Trailers, once needed, go where read_body() reports the end: no
 * END_STREAM there, then nghttp2_submit_trailer().) */
#include "lib/http/http2_internal.h"

#include <stdio.h>

#include "lib/base/rk_assert.h"

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *userdata)
{
    struct http_exchange *exchange = source->ptr;
    (void)session, (void)stream_id, (void)userdata;
    size_t n = exchange->answer.len < length ? exchange->answer.len : length;
    if (n == 0 && !exchange->ended) {
        exchange->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n > 0)
        memcpy(to, rk_buf_slice(&exchange->answer).data, n);
    rk_buf_consume(&exchange->answer, n);
    exchange->request.session->h2->queued_bytes -= n;
    if (exchange->answer.len == 0 && exchange->ended)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* nghttp2 wants pointers to all names and values at once; the text is rendered into one buffer first. */
struct block {
    struct rk_buf text;
    nghttp2_nv *nv; /* name and value hold offsets until block_submit */
    size_t count;
};

static void block_add(struct block *block, struct rk_slice name, struct rk_slice value)
{
    block->nv[block->count++] = (nghttp2_nv){.namelen = name.len, .valuelen = value.len};
    http_append_lower(&block->text, name);
    http_append_value(&block->text, value);
}

static void block_point(struct block *block)
{
    uint8_t *at = block->text.data + block->text.start;
    for (size_t i = 0; i < block->count; i++) {
        block->nv[i].name = at;
        block->nv[i].value = at + block->nv[i].namelen;
        at += block->nv[i].namelen + block->nv[i].valuelen;
    }
}

static void block_deinit(struct block *block)
{
    free(block->nv);
    rk_buf_deinit(&block->text);
}

/* Failure leaves a stream that can never be answered: it is reset. */
static void checked(struct http_exchange *exchange, int rc)
{
    struct http2 *h2 = exchange->request.session->h2;
    rk_assert(rc != NGHTTP2_ERR_NOMEM);
    if (rc == 0)
        return;
    exchange->reset = true;
    rc = nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, exchange->stream_id,
                                   NGHTTP2_INTERNAL_ERROR);
    rk_assert(rc != NGHTTP2_ERR_NOMEM);
}

void http2_continue(struct http_exchange *exchange)
{
    struct block block = {.nv = RK_NEW_ARRAY(nghttp2_nv, 1)};
    block_add(&block, rk_slice_str(":status"), rk_slice_str("100"));
    block_point(&block);
    checked(exchange, nghttp2_submit_headers(exchange->request.session->h2->session, NGHTTP2_FLAG_NONE,
                                             exchange->stream_id, NULL, block.nv, block.count, NULL));
    block_deinit(&block);
}

void http2_head(struct http_exchange *exchange, unsigned status, const struct http_header *headers,
                size_t header_count, size_t length)
{
    char text[24];
    struct block block = {.nv = RK_NEW_ARRAY(nghttp2_nv, header_count + 2)};
    snprintf(text, sizeof(text), "%03u", status);
    block_add(&block, rk_slice_str(":status"), rk_slice_str(text));
    if (length != SIZE_MAX && status != 204 && status != 304) {
        snprintf(text, sizeof(text), "%zu", length);
        block_add(&block, rk_slice_str("content-length"), rk_slice_str(text));
    }
    for (size_t i = 0; i < header_count; i++)
        if (!http_header_is_ours(headers[i].name))
            block_add(&block, headers[i].name, headers[i].value);
    block_point(&block);
    nghttp2_data_provider body = {.source.ptr = exchange, .read_callback = read_body};
    bool empty = exchange->bodyless || length == 0;
    checked(exchange, nghttp2_submit_response(exchange->request.session->h2->session, exchange->stream_id,
                                              block.nv, block.count, empty ? NULL : &body));
    block_deinit(&block);
}

static void queue(struct http_exchange *exchange, struct rk_slice bytes)
{
    rk_buf_append_slice(&exchange->answer, bytes);
    exchange->request.session->h2->queued_bytes += bytes.len;
}

static void wake(struct http_exchange *exchange)
{
    if (!exchange->deferred)
        return;
    exchange->deferred = false;
    int rc = nghttp2_session_resume_data(exchange->request.session->h2->session, exchange->stream_id);
    rk_assert(rc != NGHTTP2_ERR_NOMEM);
}

void http2_chunk(struct http_exchange *exchange, struct rk_slice bytes)
{
    queue(exchange, bytes);
    wake(exchange);
}

void http2_end(struct http_exchange *exchange)
{
    wake(exchange);
}

void http2_abort(struct http_exchange *exchange)
{
    struct http2 *h2 = exchange->request.session->h2;
    exchange->reset = true;
    h2->queued_bytes -= exchange->answer.len;
    rk_buf_deinit(&exchange->answer);
    int rc = nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, exchange->stream_id,
                                       NGHTTP2_INTERNAL_ERROR);
    rk_assert(rc != NGHTTP2_ERR_NOMEM);
}

void http2_fault(struct http_exchange *exchange, const struct http_fault *fault)
{
    struct http_header header = {.name = rk_slice_str("content-type"),
                                 .value = rk_slice_str("application/json")};
    struct rk_buf body = {0};
    http_fault_body(fault, &body);
    http_exchange_gathered(exchange);
    exchange->refused = exchange->begun = true;
    exchange->bodyless = exchange->is_head;
    http2_head(exchange, fault->status, &header, 1, body.len);
    exchange->ended = true;
    if (!exchange->bodyless)
        queue(exchange, rk_buf_slice(&body));
    rk_buf_deinit(&body);
}
