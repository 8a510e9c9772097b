/* lib/http/http1_answer.c - HTTP/1.1 answers: rendered, and sent in the order of their requests. */
#include "lib/http/http_internal.h"

#include <stdio.h>

#include "lib/base/rk_clock.h"

static bool has_turn(const struct http_exchange *exchange)
{
    return exchange->request.session->exchanges.next == &exchange->link;
}

/* Where the exchange's bytes go: out at once when it is first in line. */
static struct rk_buf *answer_buf(struct http_exchange *exchange)
{
    return has_turn(exchange) ? &exchange->request.session->out : &exchange->answer;
}

void http1_pump(struct http_session *session)
{
    while (!session->done && !rk_list_empty(&session->exchanges)) {
        struct http_exchange *first = RK_LIST_ITEM(session->exchanges.next, struct http_exchange, link);
        if (first->answer.len > 0) {
            rk_buf_append_slice(&session->out, rk_buf_slice(&first->answer));
            rk_buf_deinit(&first->answer);
        }
        if (!first->ended)
            return;
        session->done = first->close;
        http_exchange_free(first);
    }
    if (session->closing)
        session->done = true;
}

void http1_continue(struct http_exchange *exchange)
{
    rk_buf_append_str(answer_buf(exchange), "HTTP/1.1 100 Continue\r\n\r\n");
}

/* Rendered once a second: RFC 9110 section 5.6.7. */
static const char *date(struct http_session *session)
{
    time_t now_s = (time_t)(rk_clock_wall_ms() / 1000);
    if (now_s != session->date_s) {
        struct tm tm;
        gmtime_r(&now_s, &tm);
        /* The C locale's names: the library and its programs never call setlocale() for times. */
        strftime(session->date, sizeof(session->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        session->date_s = now_s;
    }
    return session->date;
}

static void append_number(struct rk_buf *buf, size_t n)
{
    char text[24];
    size_t at = sizeof(text);
    do {
        text[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    rk_buf_append(buf, text + at, sizeof(text) - at);
}

static void append_header(struct rk_buf *buf, const char *name, const char *value)
{
    rk_buf_append_str(buf, name);
    rk_buf_append_str(buf, ": ");
    rk_buf_append_str(buf, value);
    rk_buf_append_str(buf, "\r\n");
}

static void append_status(struct rk_buf *buf, unsigned status)
{
    rk_buf_append_str(buf, "HTTP/1.1 ");
    append_number(buf, status);
    rk_buf_append_str(buf, " ");
    rk_buf_append_str(buf, http_status_text(status));
    rk_buf_append_str(buf, "\r\n");
}

/* How the peer finds the end of the body (RFC 9112 section 6). */
static void append_framing(struct rk_buf *buf, struct http_exchange *exchange, unsigned status, size_t length)
{
    if (status == 204 || status == 304)
        return;
    if (length != SIZE_MAX) {
        rk_buf_append_str(buf, "content-length: ");
        append_number(buf, length);
        rk_buf_append_str(buf, "\r\n");
    } else if (exchange->http10) {
        exchange->close = true;
    } else {
        exchange->chunked = !exchange->bodyless;
        append_header(buf, "transfer-encoding", "chunked");
    }
}

void http1_head(struct http_exchange *exchange, unsigned status, const struct http_header *headers,
                size_t header_count, size_t length)
{
    struct rk_buf *buf = answer_buf(exchange);
    append_status(buf, status);
    append_header(buf, "date", date(exchange->request.session));
    for (size_t i = 0; i < header_count; i++) {
        if (http_header_is_ours(headers[i].name))
            continue;
        http_append_value(buf, headers[i].name);
        rk_buf_append_str(buf, ": ");
        http_append_value(buf, headers[i].value);
        rk_buf_append_str(buf, "\r\n");
    }
    append_framing(buf, exchange, status, length);
    if (exchange->close)
        append_header(buf, "connection", "close");
    else if (exchange->http10)
        append_header(buf, "connection", "keep-alive");
    rk_buf_append_str(buf, "\r\n");
}

void http1_chunk(struct http_exchange *exchange, struct rk_slice bytes)
{
    struct rk_buf *buf = answer_buf(exchange);
    if (exchange->chunked) {
        char size[24];
        snprintf(size, sizeof(size), "%zx\r\n", bytes.len);
        rk_buf_append_str(buf, size);
    }
    rk_buf_append_slice(buf, bytes);
    if (exchange->chunked)
        rk_buf_append_str(buf, "\r\n");
}

void http1_end(struct http_exchange *exchange)
{
    if (exchange->chunked)
        rk_buf_append_str(answer_buf(exchange), "0\r\n\r\n");
    http1_pump(exchange->request.session);
}

/* Without its last chunk the answer is visibly incomplete. An HTTP/1.0 peer has no such sign; it sees the end
 * only. */
void http1_abort(struct http_exchange *exchange)
{
    exchange->close = true;
    http1_pump(exchange->request.session);
}

void http1_fault(struct http_exchange *exchange, const struct http_fault *fault)
{
    struct http_header header = {.name = rk_slice_str("content-type"),
                                 .value = rk_slice_str("application/json")};
    struct rk_buf body = {0};
    http_fault_body(fault, &body);
    exchange->chunked = false;
    exchange->close = true;
    http1_head(exchange, fault->status, &header, 1, body.len);
    if (!exchange->is_head)
        http1_chunk(exchange, rk_buf_slice(&body));
    rk_buf_deinit(&body);
    exchange->ended = true;
    http1_pump(exchange->request.session);
}
