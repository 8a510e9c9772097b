/* lib/http/http_session.c - one connection's session: which protocol it speaks, the life of its exchanges,
 * its output.
 *
 * Every public call is bracketed by enter() and leave(). Callbacks may call back
 * into the session (an answer from inside request() is the usual case), so only
 * the outermost leave() does what must not nest: it goes on with input that was
 * held back, lets nghttp2 write, and hands all output over in one piece. */
#include "lib/http/http_internal.h"

#include <errno.h>

#include "lib/base/rk_assert.h"

/* RFC 9113 section 3.4. No HTTP/1.1 request begins like this. */
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_LEN (sizeof(preface) - 1)

/* ---- exchanges ---- */

struct http_exchange *http_exchange_new(struct http_session *session)
{
    struct http_exchange *exchange = RK_NEW(struct http_exchange);
    exchange->request.session = session;
    exchange->since_us = session->now_us;
    rk_list_push_back(&session->exchanges, &exchange->link);
    rk_list_push_back(&session->gathering, &exchange->gather_link);
    session->exchange_count++;
    return exchange;
}

void http_exchange_hold(struct http_exchange *exchange, size_t bytes)
{
    exchange->held += bytes;
    exchange->request.session->held_bytes += bytes;
}

/* Frees what only the request needed. */
static void drop_request(struct http_exchange *exchange)
{
    rk_buf_deinit(&exchange->method);
    rk_buf_deinit(&exchange->target);
    rk_buf_deinit(&exchange->text);
    rk_buf_deinit(&exchange->body);
    free(exchange->fields);
    free(exchange->headers);
    exchange->fields = NULL;
    exchange->headers = NULL;
    exchange->field_count = exchange->field_cap = 0;
    exchange->request.session->held_bytes -= exchange->held;
    exchange->held = 0;
}

void http_exchange_free(struct http_exchange *exchange)
{
    rk_assert(!exchange->surfaced);
    drop_request(exchange);
    rk_buf_deinit(&exchange->answer);
    rk_list_remove(&exchange->link);
    rk_list_remove(&exchange->gather_link);
    exchange->request.session->exchange_count--;
    free(exchange);
}

void http_exchange_gathered(struct http_exchange *exchange)
{
    rk_list_remove(&exchange->gather_link);
}

/* "OPTIONS *" asks about the server as a whole (RFC 9110 section 9.3.7); no path of the answering layer can
 * be meant. */
static void answer_options(struct http_exchange *exchange)
{
    static const char allow[] = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
    struct http_header header = {.name = rk_slice_str("allow"), .value = rk_slice_str(allow)};
    http_respond(&exchange->request, 204, &header, 1, rk_slice(NULL, 0));
}

void http_exchange_surface(struct http_exchange *exchange)
{
    struct http_session *session = exchange->request.session;
    exchange->request.body = rk_buf_slice(&exchange->body);
    exchange->surfaced = true;
    session->pending++;
    if (rk_slice_eq_str(exchange->request.path, "*"))
        answer_options(exchange);
    else
        session->ops->request(session->userdata, &exchange->request);
}

void http_exchange_release(struct http_exchange *exchange)
{
    rk_assert(exchange->surfaced);
    exchange->surfaced = false;
    exchange->request.session->pending--;
    drop_request(exchange);
}

void http_exchange_cancel(struct http_exchange *exchange)
{
    struct http_session *session = exchange->request.session;
    if (exchange->surfaced) {
        session->ops->cancelled(session->userdata, &exchange->request);
        http_exchange_release(exchange);
    }
    http_exchange_free(exchange);
}

/* ---- entering and leaving ---- */

static void emit(struct http_session *session)
{
    while (session->out.len > 0) {
        struct rk_buf out = session->out;
        session->out = (struct rk_buf){0};
        session->ops->output(session->userdata, rk_buf_slice(&out));
        if (session->out.len == 0 && !session->out.data) {
            rk_buf_clear(&out);
            session->out = out; /* keeps the memory for the next turn */
            return;
        }
        rk_buf_deinit(&out);
    }
}

/* A burst's memory is not kept by a connection that falls idle. */
static void shrink(struct http_session *session)
{
    if (session->out.cap > 64u * 1024u && session->out.len == 0)
        rk_buf_deinit(&session->out);
}

static void enter(struct http_session *session)
{
    session->depth++;
}

/* Writing may close streams, cancelled() may end answers, which writes again. */
static void flush(struct http_session *session)
{
    do
        http2_flush(session);
    while (session->feeding && http2_deliver_cancels(session));
}

static void leave(struct http_session *session)
{
    if (session->depth == 1) {
        if (session->h1)
            http1_resume(session);
        if (session->h2)
            flush(session);
        emit(session);
        shrink(session);
    }
    session->depth--;
}

struct http_session *http_session_new(enum http_version version, size_t body_max,
                                      const struct http_session_ops *ops, void *userdata)
{
    struct http_session *session = RK_NEW(struct http_session);
    session->version = version;
    session->body_max = body_max;
    session->ops = ops;
    session->userdata = userdata;
    session->date_s = -1;
    rk_list_init(&session->exchanges);
    rk_list_init(&session->gathering);
    return session;
}

void http_session_free(struct http_session *session)
{
    if (!session)
        return;
    rk_assert(session->depth == 0);
    session->done = true;
    session->depth = 1; /* nothing that a callback does writes any more */
    while (!rk_list_empty(&session->exchanges))
        http_exchange_cancel(RK_LIST_ITEM(session->exchanges.next, struct http_exchange, link));
    http1_free(session->h1);
    http2_free(session->h2);
    rk_buf_deinit(&session->out);
    rk_buf_deinit(&session->sniffed);
    free(session);
}

/* ---- feeding ---- */

static void start(struct http_session *session, enum http_version version)
{
    session->version = version;
    if (session->sniff_us == 0)
        session->sniff_us = session->now_us;
    if (version == HTTP_VERSION_1)
        session->h1 = http1_new();
    else
        session->h2 = http2_new(session);
}

static void feed_known(struct http_session *session, struct rk_slice bytes)
{
    if (session->h1)
        http1_feed(session, bytes);
    else
        http2_feed(session, bytes);
}

/* Collects bytes until they are the HTTP/2 preface or can no longer become it. */
static void sniff(struct http_session *session, struct rk_slice bytes)
{
    size_t before = session->sniffed.len, n = 0;
    while (before + n < PREFACE_LEN && n < bytes.len && bytes.data[n] == (uint8_t)preface[before + n])
        n++;
    bool complete = before + n == PREFACE_LEN;
    if (!complete && n == bytes.len) {
        session->sniff_us = before == 0 ? session->now_us : session->sniff_us;
        rk_buf_append_slice(&session->sniffed, bytes);
        return;
    }
    start(session, complete ? HTTP_VERSION_2 : HTTP_VERSION_1);
    struct rk_buf sniffed = session->sniffed;
    session->sniffed = (struct rk_buf){0};
    if (sniffed.len > 0) {
        uint64_t now_us = session->now_us;
        session->now_us = session->sniff_us;
        feed_known(session, rk_buf_slice(&sniffed));
        session->now_us = now_us;
    }
    rk_buf_deinit(&sniffed);
    feed_known(session, bytes);
}

int http_session_feed(struct http_session *session, struct rk_slice bytes, uint64_t now_us)
{
    rk_assert(session->depth == 0);
    if (session->done)
        return session->failed ? -EPROTO : 0;
    enter(session);
    session->now_us = now_us;
    session->feeding = true;
    if (session->version != HTTP_VERSION_AUTO && !session->h1 && !session->h2)
        start(session, session->version);
    if (session->h1 || session->h2)
        feed_known(session, bytes);
    else if (bytes.len > 0)
        sniff(session, bytes);
    leave(session);
    session->feeding = false;
    session->now_us = 0;
    return session->done && session->failed ? -EPROTO : 0;
}

/* ---- what the owner asks ---- */

bool http_session_done(const struct http_session *session)
{
    return session->done;
}

bool http_session_mid_request(const struct http_session *session, uint64_t *ret_since_us)
{
    uint64_t since_us = 0;
    if (session->done)
        return false;
    if (!rk_list_empty(&session->gathering))
        since_us = RK_LIST_ITEM(session->gathering.next, struct http_exchange, gather_link)->since_us;
    else if (session->sniffed.len > 0 || (session->h2 && !http2_prefaced(session)))
        since_us = session->sniff_us;
    if (since_us == 0)
        return false;
    if (ret_since_us)
        *ret_since_us = since_us;
    return true;
}

bool http_session_stalled(const struct http_session *session, uint64_t *ret_since_us)
{
    uint64_t since_us = 0;
    if (session->done || !session->h2 || !http2_stalled(session, &since_us) || since_us == 0)
        return false;
    if (ret_since_us)
        *ret_since_us = since_us;
    return true;
}

size_t http_session_pending(const struct http_session *session)
{
    return session->pending;
}

bool http_session_paused(const struct http_session *session)
{
    return !session->done && session->h1 && http1_paused(session);
}

void http_session_shutdown(struct http_session *session)
{
    if (session->done)
        return;
    enter(session);
    if (session->h2) {
        http2_shutdown(session);
    } else {
        session->closing = true;
        if (session->h1)
            http1_shutdown(session);
        else
            session->done = true;
    }
    leave(session);
}

/* ---- answers ---- */

/* Whether there is still a peer to send to. */
static bool deaf(const struct http_exchange *exchange)
{
    return exchange->request.session->done || exchange->gone;
}

/* The end of an answer that nobody will read. */
static void swallow(struct http_exchange *exchange)
{
    http_exchange_release(exchange);
    http_exchange_free(exchange);
}

static void head(struct http_exchange *exchange, unsigned status, const struct http_header *headers,
                 size_t header_count, size_t length)
{
    rk_assert(exchange->surfaced && !exchange->begun && status >= 200 && status <= 999);
    exchange->begun = true;
    exchange->bodyless = exchange->is_head || status == 204 || status == 304;
    if (deaf(exchange))
        return;
    if (exchange->request.session->h1)
        http1_head(exchange, status, headers, header_count, length);
    else
        http2_head(exchange, status, headers, header_count, length);
}

static void chunk(struct http_exchange *exchange, struct rk_slice bytes)
{
    if (deaf(exchange) || exchange->bodyless || bytes.len == 0)
        return;
    if (exchange->request.session->h1)
        http1_chunk(exchange, bytes);
    else
        http2_chunk(exchange, bytes);
}

static void end(struct http_exchange *exchange, bool good)
{
    struct http_session *session = exchange->request.session;
    if (deaf(exchange)) {
        swallow(exchange);
        return;
    }
    http_exchange_release(exchange);
    exchange->ended = true;
    if (session->h1)
        good ? http1_end(exchange) : http1_abort(exchange);
    else
        good ? http2_end(exchange) : http2_abort(exchange);
}

void http_respond(struct http_request *request, unsigned status, const struct http_header *headers,
                  size_t header_count, struct rk_slice body)
{
    struct http_session *session = request->session;
    struct http_exchange *exchange = http_exchange_of(request);
    enter(session);
    head(exchange, status, headers, header_count, body.len);
    chunk(exchange, body);
    end(exchange, true);
    leave(session);
}

void http_respond_begin(struct http_request *request, unsigned status, const struct http_header *headers,
                        size_t header_count)
{
    enter(request->session);
    head(http_exchange_of(request), status, headers, header_count, SIZE_MAX);
    leave(request->session);
}

void http_respond_chunk(struct http_request *request, struct rk_slice bytes)
{
    struct http_exchange *exchange = http_exchange_of(request);
    rk_assert(exchange->surfaced && exchange->begun);
    enter(request->session);
    chunk(exchange, bytes);
    leave(request->session);
}

void http_respond_end(struct http_request *request)
{
    struct http_session *session = request->session;
    rk_assert(http_exchange_of(request)->begun);
    enter(session);
    end(http_exchange_of(request), true);
    leave(session);
}

void http_respond_abort(struct http_request *request)
{
    struct http_session *session = request->session;
    enter(session);
    end(http_exchange_of(request), false);
    leave(session);
}

size_t http_respond_queued(const struct http_request *request)
{
    const struct http_exchange *exchange = RK_CONTAINER_OF(request, const struct http_exchange, request);
    return exchange->answer.len;
}
