/* lib/http/http.h - the server side of HTTP/1.1 and HTTP/2: bytes in, requests out; answers in, bytes out.
 *
 * No sockets, no threads, no clock: the caller feeds bytes with the time and writes
 * what on_output gives. One session serves one connection. HTTP/1.1 (RFC 9112) is
 * parsed by http_parser, HTTP/2 (RFC 9113) by nghttp2.
 *
 * A request surfaces when it is complete, its body gathered up to body_max. (gRPC
 * streams, which surface message by message, will join here.) The answer may come
 * at once or later, in any order; HTTP/1.1 answers are put back into order. */
#ifndef HTTP_H
#define HTTP_H

#include "lib/base/rk_buf.h"
#include "lib/base/rk_list.h"
#include "lib/base/rk_slice.h"

enum http_version {
    HTTP_VERSION_AUTO =
        0, /* told by the first bytes: the HTTP/2 preface or not (no ALPN: admin socket, plain text) */
    HTTP_VERSION_1,
    HTTP_VERSION_2,
};

struct http_header {
    struct rk_slice name, value; /* names in lower case */
};

struct http_session;

struct http_request {
    struct http_session *session;
    struct rk_slice method;
    struct rk_slice path;              /* still percent-encoded, without the query; begins with '/' */
    struct rk_slice query;             /* without '?'; empty when absent */
    const struct http_header *headers; /* without HTTP/2 pseudo headers; "host" carries :authority */
    size_t header_count;
    struct rk_slice body;
    void *userdata; /* the answering layer's own */
};
/* The header's value, or an empty slice; name in lower case. */
struct rk_slice http_request_header(const struct http_request *request, const char *name);
/* Looks name up in the query: true when present; *ret (may be NULL) gets the raw, still encoded value (""
 * when no '='). */
bool http_request_query(const struct http_request *request, const char *name, struct rk_slice *ret);

struct http_session_ops {
    /* A complete request; it lives until http_respond*() has ended it or cancelled() was called. Called from
     * feed; with HTTP/1.1 also from an http_respond*() that makes room for a pipelined request that waits. */
    void (*request)(void *userdata, struct http_request *request);
    /* The peer gave up (reset, connection lost): no answer can be sent; forget the request. Called from feed,
     * and from http_session_free() for each unanswered request; never from inside http_respond*(). */
    void (*cancelled)(void *userdata, struct http_request *request);
    /* Bytes for the peer; called once, at the end of feed, respond or shutdown.
     * The session must be neither fed nor freed from inside any of these three. */
    void (*output)(void *userdata, struct rk_slice bytes);
};

struct http_session *http_session_new(enum http_version version, size_t body_max,
                                      const struct http_session_ops *ops, void *userdata);
void http_session_free(struct http_session *session); /* calls cancelled() for what is unanswered */
/* 0; or -EPROTO: the session is over, output has been given a last answer or GOAWAY where that makes sense;
 * close after flushing. When earlier HTTP/1.1 answers are still due it is 0, and the last answer comes in its
 * turn: see http_session_done(). Limits of limits.h (header bytes and count, target, body, streams, pipelined
 * requests, HTTP/2 resets, pings, settings) end here too. now_us is never zero. */
int http_session_feed(struct http_session *session, struct rk_slice bytes, uint64_t now_us) RK_MUST_CHECK;
/* True when the connection should be closed once all output is written (Connection: close, error, shutdown
 * done). To be asked after feed, after the end of an answer, and after shutdown. */
bool http_session_done(const struct http_session *session);
/* True when a request has begun and is not complete, with the time of its first byte: for slow-writer
 * deadlines. */
bool http_session_mid_request(const struct http_session *session, uint64_t *ret_since_us);
/* HTTP/2: true when answers wait for the peer to open its windows, and since when nothing of them has moved:
 * for slow-reader deadlines (HTTP/1.1 answers wait in the socket's queue instead). */
bool http_session_stalled(const struct http_session *session, uint64_t *ret_since_us);
/* Unanswered requests. */
size_t http_session_pending(const struct http_session *session);
/* Whether the caller should stop feeding (too many pipelined requests unanswered). It may feed again when
 * false; what was fed too much has been kept and is read on as answers leave. */
bool http_session_paused(const struct http_session *session);
/* Graceful end; requests that have begun are completed. HTTP/1.1 closes after the answers that are due.
 * HTTP/2 sends GOAWAY and a PING, names the last stream it serves in a second GOAWAY when the PING is back,
 * and is done after the last answer; a second call does not wait for the PING. */
void http_session_shutdown(struct http_session *session);

/* One whole answer. content-length (and, with HTTP/1.1, connection and date) are added; a HEAD request gets
 * no body. Ends the request: it is freed. */
void http_respond(struct http_request *request, unsigned status, const struct http_header *headers,
                  size_t header_count, struct rk_slice body);
/* A streamed answer: begin, any number of chunks, end (good) or abort (the peer must notice that it is
 * incomplete). */
void http_respond_begin(struct http_request *request, unsigned status, const struct http_header *headers,
                        size_t header_count);
void http_respond_chunk(struct http_request *request, struct rk_slice bytes);
void http_respond_end(struct http_request *request);
void http_respond_abort(struct http_request *request);
/* Bytes of a streamed answer that wait inside the session (HTTP/2 flow control); the socket's own queue comes
 * on top. */
size_t http_respond_queued(const struct http_request *request);

const char *http_status_text(unsigned status); /* "OK", "Not Found", ... */

#endif
