/* lib/http/http1.c - HTTP/1.1 requests (RFC 9112): from bytes to exchanges.
 *
 * Input is cut into parts - a head, a body of known length, a chunked body - and
 * each part goes to http_parser exactly as far as it reaches, so every decision
 * is taken between two parts and never inside one of http_parser's callbacks.
 * The callbacks only collect.
 *
 * Requests that are pipelined become exchanges in their order; when too many wait
 * for an answer, further input is held back and read on as answers leave. */
#include "lib/http/http1_guard.h"

#include <http_parser.h>

#include "lib/base/rk_assert.h"

/* Empty lines before a request are forgiven (RFC 9112 section 2.2), but not many of them. */
#define BLANK_BYTES_MAX 4u

enum part { PART_NONE = 0, PART_HEAD, PART_BODY, PART_CHUNKS };

struct http1 {
    http_parser parser;
    struct http1_guard guard;
    struct http_exchange *current; /* the request that comes in */
    enum part part;
    unsigned blanks;
    uint64_t body_left;
    const struct http_fault *fault; /* found by a callback */
    bool in_value, headers_done, message_done;
    bool deaf;          /* no further request will be read */
    struct rk_buf held; /* input that has to wait for room */
};

struct http1 *http1_new(void)
{
    struct http1 *h1 = RK_NEW(struct http1);
    http_parser_init(&h1->parser, HTTP_REQUEST);
    h1->parser.data = h1;
    return h1;
}

void http1_free(struct http1 *h1)
{
    if (!h1)
        return;
    rk_buf_deinit(&h1->held);
    free(h1);
}

/* ---- http_parser's callbacks: zero, or it stops with h1->fault set ---- */

static int found(struct http1 *h1, const struct http_fault *fault)
{
    h1->fault = fault;
    return fault ? -1 : 0;
}

static int on_url(http_parser *parser, const char *at, size_t len)
{
    struct http1 *h1 = parser->data;
    struct http_exchange *exchange = h1->current;
    if (exchange->target.len + len > RK_HTTP_TARGET_BYTES_MAX)
        return found(h1, &http_fault_target_long);
    rk_buf_append(&exchange->target, at, len);
    http_exchange_hold(exchange, len);
    return 0;
}

static int on_header_field(http_parser *parser, const char *at, size_t len)
{
    struct http1 *h1 = parser->data;
    if (h1->headers_done) /* trailers mean nothing here; the guard has counted them */
        return 0;
    const struct http_fault *fault = NULL;
    if (h1->in_value || h1->current->field_count == 0)
        fault = http_field_begin(h1->current);
    h1->in_value = false;
    return found(h1, fault ? fault : http_field_name(h1->current, rk_slice(at, len)));
}

static int on_header_value(http_parser *parser, const char *at, size_t len)
{
    struct http1 *h1 = parser->data;
    if (h1->headers_done)
        return 0;
    h1->in_value = true;
    return found(h1, http_field_value(h1->current, rk_slice(at, len)));
}

static int on_body(http_parser *parser, const char *at, size_t len)
{
    struct http1 *h1 = parser->data;
    rk_buf_append(&h1->current->body, at, len);
    http_exchange_hold(h1->current, len);
    return 0;
}

static int on_message_complete(http_parser *parser)
{
    struct http1 *h1 = parser->data;
    h1->message_done = true;
    return 0;
}

/* How the body ends (RFC 9112 section 6.3). Whatever could be read in two ways is refused. */
static const struct http_fault *check_framing(struct http1 *h1, size_t body_max)
{
    const struct http_request *request = &h1->current->request;
    struct rk_slice coding, length;
    size_t codings = http_request_headers(request, "transfer-encoding", &coding);
    size_t lengths = http_request_headers(request, "content-length", &length);
    bool chunked = (h1->parser.flags & F_CHUNKED) != 0;
    if (codings > 0) {
        if (lengths > 0 || codings > 1 || h1->current->http10)
            return &http_fault_framing;
        if (!http_slice_eq_nocase(coding, "chunked"))
            return &http_fault_coding;
        h1->current->chunked = true;
    } else if (lengths > 0) {
        if (lengths > 1)
            return &http_fault_framing;
        if (!http_parse_length(length, &h1->body_left) || h1->body_left != h1->parser.content_length)
            return &http_fault_length;
        if (h1->body_left > body_max)
            return &http_fault_body_large;
    }
    return h1->current->chunked == chunked ? NULL : &http_fault_framing;
}

/* RFC 9110 section 10.1.1: the client waits for leave to send its body. */
static const struct http_fault *check_expect(struct http1 *h1)
{
    struct rk_slice expect;
    if (h1->current->http10 || http_request_headers(&h1->current->request, "expect", &expect) == 0)
        return NULL;
    if (!http_slice_eq_nocase(expect, "100-continue"))
        return &http_fault_expectation;
    if (h1->body_left > 0 || h1->current->chunked)
        http1_continue(h1->current);
    return NULL;
}

static const struct http_fault *check_head(struct http1 *h1)
{
    struct http_exchange *exchange = h1->current;
    const struct http_fault *fault = NULL;
    if (h1->parser.http_major != 1)
        return &http_fault_version;
    exchange->http10 = h1->parser.http_minor == 0;
    exchange->close = !http_should_keep_alive(&h1->parser);
    rk_buf_append_str(&exchange->method, http_method_str((enum http_method)h1->parser.method));
    fault = http_request_finish(exchange);
    if (!fault)
        fault = check_framing(h1, exchange->request.session->body_max);
    return fault ? fault : check_expect(h1);
}

static int on_headers_complete(http_parser *parser)
{
    struct http1 *h1 = parser->data;
    h1->headers_done = true;
    /* Nothing is upgraded here (RFC 9110 section 7.8 lets a server ignore the wish); without this the parser
     * would stop. */
    parser->upgrade = 0;
    return found(h1, check_head(h1));
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- parts ---- */

static const struct http_fault *parser_fault(const struct http1 *h1)
{
    if (h1->fault)
        return h1->fault;
    switch (HTTP_PARSER_ERRNO(&h1->parser)) {
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return &http_fault_framing;
    case HPE_INVALID_CONTENT_LENGTH:
        return &http_fault_length;
    case HPE_INVALID_TRANSFER_ENCODING:
        return &http_fault_coding;
    case HPE_HEADER_OVERFLOW:
        return &http_fault_headers_large;
    default:
        return &http_fault_syntax;
    }
}

/* NULL when http_parser took all of it. */
static const struct http_fault *parse(struct http1 *h1, struct rk_slice bytes)
{
    if (bytes.len == 0)
        return NULL;
    size_t n = http_parser_execute(&h1->parser, &settings, (const char *)bytes.data, bytes.len);
    if (HTTP_PARSER_ERRNO(&h1->parser) != HPE_OK || n != bytes.len)
        return parser_fault(h1);
    return NULL;
}

static void fail(struct http_session *session, const struct http_fault *fault)
{
    struct http1 *h1 = session->h1;
    struct http_exchange *exchange = h1->current ? h1->current : http_exchange_new(session);
    exchange->is_head =
        h1->current && h1->part == PART_HEAD ? http1_guard_is_head(&h1->guard) : exchange->is_head;
    h1->current = NULL;
    h1->deaf = true;
    session->failed = true;
    http_exchange_gathered(exchange);
    http1_fault(exchange, fault);
}

static void complete(struct http_session *session)
{
    struct http1 *h1 = session->h1;
    struct http_exchange *exchange = h1->current;
    h1->current = NULL;
    h1->part = PART_NONE;
    exchange->chunked = false; /* from here on it is the answer's */
    exchange->close |= session->closing;
    h1->deaf = exchange->close;
    http_exchange_gathered(exchange);
    http_exchange_surface(exchange);
}

static void begin(struct http_session *session)
{
    struct http1 *h1 = session->h1;
    h1->current = http_exchange_new(session);
    h1->part = PART_HEAD;
    h1->blanks = 0;
    h1->body_left = 0;
    h1->in_value = h1->headers_done = h1->message_done = false;
    http1_guard_head(&h1->guard);
}

static void head_done(struct http_session *session)
{
    struct http1 *h1 = session->h1;
    if (h1->current->chunked) {
        h1->part = PART_CHUNKS;
        http1_guard_chunks(&h1->guard, session->body_max);
    } else if (h1->body_left > 0) {
        h1->part = PART_BODY;
    }
}

/* Reads on in the part under way; returns the bytes used. ret_end: the part ended with them. */
static size_t read_part(struct http1 *h1, struct rk_slice bytes, bool *ret_end,
                        const struct http_fault **ret_fault)
{
    size_t n;
    if (h1->part == PART_BODY) {
        n = (size_t)rk_min_u64(h1->body_left, bytes.len);
        h1->body_left -= n;
        *ret_end = h1->body_left == 0;
        *ret_fault = parse(h1, rk_slice(bytes.data, n));
        return n;
    }
    n = http1_guard_scan(&h1->guard, bytes);
    *ret_end = h1->guard.state == GUARD_DONE;
    /* What is sound goes to the parser first: the verdict must not depend on how the bytes were cut. */
    *ret_fault = parse(h1, rk_slice(bytes.data, n));
    if (!*ret_fault)
        *ret_fault = h1->guard.fault;
    return n;
}

static bool is_blank(uint8_t c)
{
    return c == '\r' || c == '\n';
}

/* One part, or as much of it as there is. Returns the bytes used. */
static size_t step(struct http_session *session, struct rk_slice bytes)
{
    struct http1 *h1 = session->h1;
    if (h1->part == PART_NONE && is_blank(bytes.data[0]) && h1->blanks < BLANK_BYTES_MAX) {
        h1->blanks++;
        return 1;
    }
    if (h1->part == PART_NONE)
        begin(session);
    bool end = false;
    const struct http_fault *fault = NULL;
    size_t n = read_part(h1, bytes, &end, &fault);
    bool parser_end = h1->part == PART_HEAD ? h1->headers_done : h1->message_done;
    if (!fault && end != parser_end)
        fault = &http_fault_syntax;
    if (fault) {
        fail(session, fault);
        return n;
    }
    if (end && h1->part == PART_HEAD)
        head_done(session);
    if (h1->message_done)
        complete(session);
    return n;
}

static bool full(const struct http_session *session)
{
    return session->exchange_count >= RK_HTTP_PIPELINE_MAX || session->held_bytes > RK_HTTP_HELD_BYTES_MAX;
}

/* Returns how many bytes were read; fewer than given when there is no room for another request. */
static size_t run(struct http_session *session, struct rk_slice bytes)
{
    struct http1 *h1 = session->h1;
    size_t used = 0;
    while (used < bytes.len && (h1->current || !full(session))) {
        if (h1->deaf || session->done)
            return bytes.len;
        used += step(session, rk_slice(bytes.data + used, bytes.len - used));
    }
    return used;
}

void http1_feed(struct http_session *session, struct rk_slice bytes)
{
    struct http1 *h1 = session->h1;
    if (h1->current && h1->current->since_us == 0)
        h1->current->since_us = session->now_us;
    size_t used = h1->held.len > 0 ? 0 : run(session, bytes);
    if (used == bytes.len || h1->deaf)
        return;
    if (h1->held.len + (bytes.len - used) > RK_HTTP_HELD_BYTES_MAX) {
        /* Fed on and on although paused: the bound of every buffer holds here, too. */
        h1->deaf = session->failed = session->done = true;
        return;
    }
    rk_buf_append(&h1->held, bytes.data + used, bytes.len - used);
}

void http1_resume(struct http_session *session)
{
    struct http1 *h1 = session->h1;
    if (h1->held.len > 0)
        rk_buf_consume(&h1->held, run(session, rk_buf_slice(&h1->held)));
    if (h1->held.len == 0 && h1->held.cap > 0)
        rk_buf_deinit(&h1->held);
}

bool http1_paused(const struct http_session *session)
{
    const struct http1 *h1 = session->h1;
    return !h1->deaf && (h1->held.len > 0 || (!h1->current && full(session)));
}

void http1_shutdown(struct http_session *session)
{
    struct http1 *h1 = session->h1;
    if (!h1->current) {
        h1->deaf = true;
        if (!rk_list_empty(&session->exchanges))
            RK_LIST_ITEM(session->exchanges.prev, struct http_exchange, link)->close = true;
    }
    http1_pump(session);
}
