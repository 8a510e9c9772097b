/* lib/http/http2.c - HTTP/2 requests (RFC 9113): nghttp2's events become exchanges.
 *
 * nghttp2 does frames, HPACK, windows and the state of streams. What it leaves to
 * us is bounding what a peer can make us do:
 *  - a request surfaces only when it is complete; its headers and body have the
 *    limits of limits.h, and what a connection holds in all is bounded;
 *  - received bytes are given back to the peer's windows as they are taken in;
 *  - frames that cost us more than their sender are counted against the time:
 *    resets, both the peer's (CVE-2023-44487) and those that it provokes from us
 *    (CVE-2025-8671), PING and SETTINGS, and the cheap rest (empty DATA, PRIORITY,
 *    WINDOW_UPDATE, CONTINUATION). A peer that overdoes it gets GOAWAY with
 *    ENHANCE_YOUR_CALM. */
#include "lib/http/http2_internal.h"

#include "lib/base/rk_assert.h"

/* A refused header block is still decoded, since HPACK's state is the connection's; but not without end. */
#define HEADER_BYTES_ENDURED (4u * RK_HTTP_HEADER_BYTES_MAX)
/* A DATA frame with less than this counts as cheap to send. */
#define DATA_SMALL 64u

/* The return value of a callback: a flood ends nghttp2's reading at once. */
static int charge(struct http2 *h2, struct http2_bucket *from)
{
    if (http2_bucket_take(from, h2->now_us))
        return 0;
    h2->flooding = true;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* ---- frames ---- */

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *userdata)
{
    struct http_session *session = userdata;
    struct http2 *h2 = session->h2;
    (void)ng;
    switch (hd->type) {
    case NGHTTP2_HEADERS:
        return 0;
    case NGHTTP2_DATA:
        if (hd->length >= DATA_SMALL || (hd->flags & NGHTTP2_FLAG_END_STREAM) != 0)
            return 0;
        return charge(h2, &h2->frames);
    case NGHTTP2_RST_STREAM:
        return charge(h2, &h2->resets);
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
        return charge(h2, &h2->controls);
    default:
        return charge(h2, &h2->frames);
    }
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *userdata)
{
    struct http_session *session = userdata;
    session->h2->header_bytes = 0;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct http_exchange *exchange = http_exchange_new(session);
    exchange->stream_id = frame->hd.stream_id;
    int rc = nghttp2_session_set_stream_user_data(ng, frame->hd.stream_id, exchange);
    rk_assert(rc == 0);
    return 0;
}

/* Takes one header in; what its meaning is for HTTP/2 stays here. */
static const struct http_fault *take_header(struct http_exchange *exchange, struct rk_slice name,
                                            struct rk_slice value)
{
    if (rk_slice_eq_str(name, ":method")) {
        rk_buf_append_slice(&exchange->method, value);
        exchange->is_head = rk_slice_eq_str(value, "HEAD");
        return NULL;
    }
    if (rk_slice_eq_str(name, ":path")) {
        if (value.len > RK_HTTP_TARGET_BYTES_MAX)
            return &http_fault_target_long;
        rk_buf_append_slice(&exchange->target, value);
        http_exchange_hold(exchange, value.len);
        return NULL;
    }
    bool authority = rk_slice_eq_str(name, ":authority");
    if (!authority && name.len > 0 && name.data[0] == ':')
        return NULL;
    /* A host header beside :authority says the same or is wrong (RFC 9113 section 8.3.1). */
    if (exchange->authority && rk_slice_eq_str(name, "host"))
        return NULL;
    exchange->authority |= authority;
    const struct http_fault *fault = http_field_begin(exchange);
    if (!fault)
        fault = http_field_name(exchange, authority ? rk_slice_str("host") : name);
    return fault ? fault : http_field_value(exchange, value);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *userdata)
{
    struct http_session *session = userdata;
    struct http2 *h2 = session->h2;
    struct http_exchange *exchange = http2_exchange(ng, frame->hd.stream_id);
    (void)flags;
    h2->header_bytes += name_len + value_len + 32;
    if (h2->header_bytes > HEADER_BYTES_ENDURED) {
        h2->flooding = true;
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    /* Trailers mean nothing here. */
    if (exchange && !exchange->fault && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        exchange->fault = take_header(exchange, rk_slice(name, name_len), rk_slice(value, value_len));
    return 0;
}

/* Without this nghttp2 would drop the header and go on; a malformed request must not be half understood. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                             void *userdata)
{
    (void)name, (void)name_len, (void)value, (void)value_len, (void)flags, (void)userdata;
    int rc = nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
    rk_assert(rc != NGHTTP2_ERR_NOMEM);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static const struct http_fault *check_head(struct http_exchange *exchange, bool more)
{
    struct http_session *session = exchange->request.session;
    const struct http_fault *fault = http_request_finish(exchange);
    struct rk_slice text;
    uint64_t length;
    if (!fault && http_request_headers(&exchange->request, "content-length", &text) > 0) {
        if (!http_parse_length(text, &length))
            fault = &http_fault_length;
        else if (length > session->body_max)
            fault = &http_fault_body_large;
    }
    if (fault || !more || http_request_headers(&exchange->request, "expect", &text) == 0)
        return fault;
    if (!http_slice_eq_nocase(text, "100-continue"))
        return &http_fault_expectation;
    http2_continue(exchange);
    return NULL;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len,
                   void *userdata)
{
    struct http_session *session = userdata;
    struct http_exchange *exchange = http2_exchange(ng, stream_id);
    (void)flags;
    int rc = 0;
    if (!exchange || exchange->refused) {
        /* The stream gets no more window, the connection must not starve. */
        rc = nghttp2_session_consume_connection(ng, len);
    } else if (exchange->body.len + len > session->body_max) {
        http2_fault(exchange, &http_fault_body_large);
        rc = nghttp2_session_consume_connection(ng, len);
    } else if (session->held_bytes + len > RK_HTTP_HELD_BYTES_MAX) {
        /* Nothing of it has been done, and the client may know that by this code (RFC 9113 section 8.7). */
        exchange->refused = exchange->reset = true;
        http_exchange_gathered(exchange);
        rc = nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_REFUSED_STREAM);
        if (rc == 0)
            rc = nghttp2_session_consume_connection(ng, len);
    } else {
        rk_buf_append(&exchange->body, data, len);
        http_exchange_hold(exchange, len);
        rc = nghttp2_session_consume(ng, stream_id, len);
    }
    rk_assert(rc != NGHTTP2_ERR_NOMEM);
    return 0;
}

/* Headers are complete, or the request is. */
static void on_request_frame(nghttp2_session *ng, const nghttp2_frame *frame)
{
    struct http_exchange *exchange = http2_exchange(ng, frame->hd.stream_id);
    bool last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (!exchange)
        return;
    exchange->request_done |= last;
    if (!exchange->refused && frame->hd.type == NGHTTP2_HEADERS &&
        frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        const struct http_fault *fault = exchange->fault ? exchange->fault : check_head(exchange, !last);
        if (fault)
            http2_fault(exchange, fault);
    }
    if (last && !exchange->refused) {
        http_exchange_gathered(exchange);
        http_exchange_surface(exchange);
    }
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *userdata)
{
    struct http_session *session = userdata;
    struct http2 *h2 = session->h2;
    bool ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        on_request_frame(ng, frame);
        break;
    case NGHTTP2_SETTINGS:
        h2->prefaced = true;
        break;
    case NGHTTP2_PING:
        /* Our own PING of http2_shutdown() is back: every request sent before the notice has arrived. */
        if (ack && session->closing)
            http2_final_goaway(h2);
        break;
    default:
        break;
    }
    return 0;
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *userdata)
{
    struct http_session *session = userdata;
    struct http2 *h2 = session->h2;
    struct http_exchange *exchange = NULL;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        http2_bucket_give(&h2->controls, 1);
        http2_bucket_give(&h2->frames, 2);
        exchange = http2_exchange(ng, frame->hd.stream_id);
        /* Answered before it was complete: the rest need not be sent (RFC 9113 section 8.1). */
        if (exchange && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && !exchange->request_done) {
            exchange->reset = true;
            return nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
        }
        return 0;
    case NGHTTP2_RST_STREAM:
        exchange = http2_exchange(ng, frame->hd.stream_id);
        /* The peer made us do it, unless it merely opened more streams than its view of our SETTINGS let it
         * know. Not a failure of this callback: nghttp2 still has to write GOAWAY. */
        if (!(exchange && exchange->reset) && frame->rst_stream.error_code != NGHTTP2_REFUSED_STREAM &&
            !http2_bucket_take(&h2->resets, h2->now_us))
            h2->flooding = true;
        return 0;
    case NGHTTP2_GOAWAY:
        session->failed |= frame->goaway.error_code != NGHTTP2_NO_ERROR;
        return 0;
    default:
        return 0;
    }
}

/* An answer's headers that cannot be sent (too large for nghttp2, say) leave the stream open for ever. */
static int on_frame_not_send(nghttp2_session *ng, const nghttp2_frame *frame, int why, void *userdata)
{
    struct http_exchange *exchange = http2_exchange(ng, frame->hd.stream_id);
    (void)why, (void)userdata;
    if (frame->hd.type != NGHTTP2_HEADERS || !exchange)
        return 0;
    exchange->reset = true;
    return nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
}

/* While our bytes are being read, the answering layer is told at once. While it is itself inside
 * http_respond*(), it learns it with the next feed: a request must not vanish under the call that uses it. */
static int on_stream_close(nghttp2_session *ng, int32_t stream_id, uint32_t error_code, void *userdata)
{
    struct http_session *session = userdata;
    struct http_exchange *exchange = http2_exchange(ng, stream_id);
    (void)error_code;
    if (!exchange)
        return 0;
    (void)nghttp2_session_set_stream_user_data(ng, stream_id, NULL);
    exchange->gone = true;
    session->h2->queued_bytes -= exchange->answer.len;
    rk_buf_deinit(&exchange->answer);
    /* A streamed answer to HEAD is complete for the peer while the answering layer still goes through the
     * motions. */
    exchange->cancel_due = exchange->surfaced && !(exchange->begun && exchange->bodyless);
    if (!exchange->surfaced || (exchange->cancel_due && session->h2->receiving))
        http_exchange_cancel(exchange);
    else
        session->h2->cancels_due |= exchange->cancel_due;
    return 0;
}

static struct http_exchange *next_cancel(struct http_session *session)
{
    RK_LIST_FOR_EACH (it, &session->exchanges) {
        struct http_exchange *exchange = RK_LIST_ITEM(it, struct http_exchange, link);
        if (exchange->cancel_due)
            return exchange;
    }
    return NULL;
}

/* Looks from the start each time: cancelled() may end other requests. */
bool http2_deliver_cancels(struct http_session *session)
{
    if (!session->h2->cancels_due)
        return false;
    session->h2->cancels_due = false;
    struct http_exchange *exchange;
    while ((exchange = next_cancel(session)))
        http_exchange_cancel(exchange);
    return true;
}

nghttp2_session_callbacks *http2_callbacks(void)
{
    nghttp2_session_callbacks *set;
    rk_assert(nghttp2_session_callbacks_new(&set) == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(set, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(set, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(set, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(set, on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(set, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(set, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(set, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(set, on_frame_not_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(set, on_stream_close);
    return set;
}
