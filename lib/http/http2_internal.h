/* lib/http/http2_internal.h - shared by http2*.c only. */
#ifndef HTTP2_INTERNAL_H
#define HTTP2_INTERNAL_H

#include "lib/http/http_internal.h"

#include <nghttp2/nghttp2.h>

/* So many at once, and so many per second after that. */
struct http2_bucket {
    uint32_t left, burst, per_s;
    uint64_t at_us; /* up to when it has been refilled */
};

struct http2 {
    nghttp2_session *session;
    struct http2_bucket resets, controls, frames;
    uint64_t now_us;
    size_t queued_bytes; /* of answers' bodies, waiting for the peer's windows */
    uint64_t stall_us;
    bool receiving;      /* nghttp2 is inside our bytes */
    bool prefaced;       /* the peer's first SETTINGS have come */
    bool flooding;       /* a bucket is empty: over */
    bool final_goaway;   /* the GOAWAY that names the last stream is queued */
    bool cancels_due;    /* some exchange has cancel_due set */
    size_t header_bytes; /* of the header block being received, refused ones included */
};

/* False when the bucket is empty. */
bool http2_bucket_take(struct http2_bucket *bucket, uint64_t now_us);
void http2_bucket_give(struct http2_bucket *bucket, uint32_t count);

/* Queues the GOAWAY that names the last stream, once. */
void http2_final_goaway(struct http2 *h2);
nghttp2_session_callbacks *http2_callbacks(void); /* http2.c */
/* Answers with the session's own refusal; what else the stream brings is dropped. */
void http2_fault(struct http_exchange *exchange, const struct http_fault *fault);
void http2_continue(struct http_exchange *exchange); /* 100 (Continue) */

static inline struct http_exchange *http2_exchange(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

#endif
