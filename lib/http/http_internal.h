/* lib/http/http_internal.h - what the files of lib/http share, and nobody else may see.
 *
 * An exchange is a request and its answer: it begins with the request's first byte
 * and is freed when the last byte of the answer has left the session. The public
 * struct http_request sits at its start. Three parties may hold it: the parser
 * while the request comes in (gathering), the answering layer between request() and
 * the end of the answer (surfaced), and the session while the answer waits for
 * its turn or for flow control. */
#ifndef HTTP_INTERNAL_H
#define HTTP_INTERNAL_H

#include "lib/base/limits.h"
#include "lib/http/http.h"

#include <time.h>

/* Why a request is refused by the session itself. */
struct http_fault {
    unsigned status;
    const char *code, *message; /* plain ASCII without quotes: they are put into JSON as they are */
};

extern const struct http_fault http_fault_syntax, http_fault_target, http_fault_target_long, http_fault_host,
    http_fault_framing, http_fault_length, http_fault_headers_large, http_fault_headers_many,
    http_fault_body_large, http_fault_coding, http_fault_connect, http_fault_version, http_fault_expectation;

struct http_field { /* a header while it is read: offsets into text, which moves as it grows */
    uint32_t name, name_len, value, value_len;
};

struct http_exchange {
    struct http_request request;
    struct rk_list link;        /* session->exchanges, in order of arrival */
    struct rk_list gather_link; /* session->gathering, until the request is complete */
    uint64_t since_us;          /* its first byte; 0: not known (read while no time was given) */

    struct rk_buf method, target, text, body;
    struct http_field *fields;
    size_t field_count, field_cap;
    struct http_header *headers;
    size_t header_bytes; /* as HTTP/2 counts them: 32 on top of each field */
    size_t held;         /* what this exchange adds to session->held_bytes */

    struct rk_buf answer; /* rendered bytes (HTTP/1.1, not its turn) or body bytes (HTTP/2) that wait */
    bool surfaced;        /* the answering layer holds the request */
    bool begun, ended;    /* the answer's */
    bool bodyless;        /* the answer carries no body, whatever is given: HEAD, 204, 304 */
    bool is_head;

    /* HTTP/1.1 */
    bool http10, close, chunked;
    /* HTTP/2 */
    int32_t stream_id;
    const struct http_fault *fault; /* found among the headers, answered behind the last one */
    bool authority;                 /* the first header stands for :authority */
    bool request_done;              /* the peer has ended its side */
    bool refused;                   /* a fault has been answered: whatever else comes is dropped */
    bool deferred;                  /* nghttp2 waits for more of the answer */
    bool reset;                     /* we have asked for a reset of our own accord */
    bool gone;       /* the stream is closed; only the answering layer still holds the exchange */
    bool cancel_due; /* and has to be told */
};

struct http1;
struct http2;

struct http_session {
    enum http_version version;
    size_t body_max;
    const struct http_session_ops *ops;
    void *userdata;

    struct rk_list exchanges, gathering;
    size_t exchange_count; /* length of exchanges */
    size_t pending;        /* surfaced */
    size_t held_bytes;     /* of requests not answered, bounded by RK_HTTP_HELD_BYTES_MAX */

    struct rk_buf out;     /* collected, handed to output() when the outermost call ends */
    struct rk_buf sniffed; /* a beginning that may still become the HTTP/2 preface */
    unsigned depth;        /* calls into the session that are under way */
    uint64_t now_us;       /* of the feed under way; 0 outside of one */
    uint64_t sniff_us;     /* when sniffed got its first byte */
    bool feeding;          /* inside http_session_feed() */
    bool closing;          /* shutdown was asked for */
    bool done, failed;
    time_t date_s;
    char date[40];

    struct http1 *h1;
    struct http2 *h2;
};

/* ---- http_session.c ---- */
struct http_exchange *http_exchange_new(struct http_session *session);
/* Unlinks and frees. The answering layer must not hold it any more. */
void http_exchange_free(struct http_exchange *exchange);
/* The request is complete: no longer gathering. */
void http_exchange_gathered(struct http_exchange *exchange);
/* Hands the complete request to the answering layer (or answers it, when it is none of its business). */
void http_exchange_surface(struct http_exchange *exchange);
/* The answering layer lets go: its views are freed, the answer may live on. */
void http_exchange_release(struct http_exchange *exchange);
/* Frees an exchange whose answer cannot be sent any more, telling the answering layer when it holds it. */
void http_exchange_cancel(struct http_exchange *exchange);
/* Counts bytes that a request makes the session hold. */
void http_exchange_hold(struct http_exchange *exchange, size_t bytes);
void http_fault_body(const struct http_fault *fault, struct rk_buf *ret);

static inline struct http_exchange *http_exchange_of(struct http_request *request)
{
    return RK_CONTAINER_OF(request, struct http_exchange, request);
}

/* ---- http_request.c ---- */
/* Begins a header with this name (made lower case) and an empty value; the append functions add to the last
 * one. NULL, or the limit that is passed. */
const struct http_fault *http_field_begin(struct http_exchange *exchange);
const struct http_fault *http_field_name(struct http_exchange *exchange, struct rk_slice bytes);
const struct http_fault *http_field_value(struct http_exchange *exchange, struct rk_slice bytes);
/* All headers are there: fills request.method, path, query, headers. NULL or what is wrong with them. */
const struct http_fault *http_request_finish(struct http_exchange *exchange);
/* How often a header occurs, and its last value. */
size_t http_request_headers(const struct http_request *request, const char *name, struct rk_slice *ret);
/* Digits only, at most 18 of them. */
bool http_parse_length(struct rk_slice text, uint64_t *ret);
bool http_slice_eq_nocase(struct rk_slice s, const char *lower);
/* Headers that the session sets itself; an answering layer's are left out. */
bool http_header_is_ours(struct rk_slice name);
/* Appends a value of an answer's header so that it cannot end its line. */
void http_append_value(struct rk_buf *buf, struct rk_slice value);
void http_append_lower(struct rk_buf *buf, struct rk_slice name);

/* ---- http1.c, http1_answer.c ---- */
struct http1 *http1_new(void);
void http1_free(struct http1 *h1);
void http1_feed(struct http_session *session, struct rk_slice bytes);
/* Goes on with bytes that were held back, as far as there is room. */
void http1_shutdown(struct http_session *session);
void http1_resume(struct http_session *session);
bool http1_paused(const struct http_session *session);
/* Sends what has its turn; ends the session when nothing more is due. */
void http1_pump(struct http_session *session);
void http1_continue(struct http_exchange *exchange); /* 100 (Continue) */
/* The session's own answer, after which the connection ends. */
void http1_fault(struct http_exchange *exchange, const struct http_fault *fault);
/* length SIZE_MAX: streamed. */
void http1_head(struct http_exchange *exchange, unsigned status, const struct http_header *headers,
                size_t header_count, size_t length);
void http1_chunk(struct http_exchange *exchange, struct rk_slice bytes);
void http1_end(struct http_exchange *exchange);
void http1_abort(struct http_exchange *exchange);

/* ---- http2.c, http2_answer.c, http2_session.c ---- */
struct http2 *http2_new(struct http_session *session);
void http2_free(struct http2 *h2);
void http2_feed(struct http_session *session, struct rk_slice bytes);
void http2_flush(struct http_session *session);
/* Calls cancelled() for streams that were closed while nothing was being read; true when there were any. */
bool http2_deliver_cancels(struct http_session *session);
void http2_shutdown(struct http_session *session);
/* Body bytes wait for the peer's windows, and nothing of them has moved since then (0: not known). */
bool http2_stalled(const struct http_session *session, uint64_t *ret_since_us);
bool http2_prefaced(const struct http_session *session); /* the peer's SETTINGS have come */
void http2_head(struct http_exchange *exchange, unsigned status, const struct http_header *headers,
                size_t header_count, size_t length);
void http2_chunk(struct http_exchange *exchange, struct rk_slice bytes);
void http2_end(struct http_exchange *exchange);
void http2_abort(struct http_exchange *exchange);

#endif
