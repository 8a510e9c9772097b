/* lib/http/http2_session.c - an HTTP/2 connection as a whole: settings, floods, reading, writing, its end.
 *
 * nghttp2 must not be asked to write from inside its own callbacks; answers given
 * there are queued in it, and http_session.c calls http2_flush() at the end. */
#include "lib/http/http2_internal.h"

#include "lib/base/rk_assert.h"

/* ---- buckets ---- */

bool http2_bucket_take(struct http2_bucket *bucket, uint64_t now_us)
{
    uint64_t since_us = now_us > bucket->at_us ? now_us - bucket->at_us : 0;
    uint64_t more = since_us / RK_USEC_PER_SEC >= bucket->burst ? bucket->burst
                                                                : since_us * bucket->per_s / RK_USEC_PER_SEC;
    if (more > 0) {
        bucket->left = (uint32_t)rk_min_u64(bucket->burst, bucket->left + more);
        bucket->at_us = now_us;
    }
    if (bucket->left == 0)
        return false;
    bucket->left--;
    return true;
}

void http2_bucket_give(struct http2_bucket *bucket, uint32_t count)
{
    bucket->left = bucket->burst - bucket->left < count ? bucket->burst : bucket->left + count;
}

static struct http2_bucket bucket(uint32_t burst, uint32_t per_s, uint64_t now_us)
{
    return (struct http2_bucket){.left = burst, .burst = burst, .per_s = per_s, .at_us = now_us};
}

/* ---- beginning and end ---- */

static nghttp2_option *options(void)
{
    nghttp2_option *option;
    rk_assert(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, RK_HTTP_CONTROLS_BURST);
    return option;
}

static void submit_settings(nghttp2_session *ng)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, RK_HTTP_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, RK_HTTP_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, RK_HTTP_HEADER_BYTES_MAX},
#if NGHTTP2_VERSION_NUM >= 0x013000
        /* No tree of dependencies to be kept for the peer (RFC 9218 section 2.1). */
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
#endif
    };
    rk_assert(nghttp2_submit_settings(ng, NGHTTP2_FLAG_NONE, settings, RK_ARRAY_LEN(settings)) == 0);
    rk_assert(nghttp2_session_set_local_window_size(ng, NGHTTP2_FLAG_NONE, 0, RK_HTTP_WINDOW_BYTES) == 0);
}

struct http2 *http2_new(struct http_session *session)
{
    struct http2 *h2 = RK_NEW(struct http2);
    h2->now_us = session->now_us;
    h2->resets = bucket(RK_HTTP_RESETS_BURST, RK_HTTP_RESETS_PER_S, h2->now_us);
    h2->controls = bucket(RK_HTTP_CONTROLS_BURST, RK_HTTP_CONTROLS_PER_S, h2->now_us);
    h2->frames = bucket(RK_HTTP_FRAMES_BURST, RK_HTTP_FRAMES_PER_S, h2->now_us);
    nghttp2_session_callbacks *set = http2_callbacks();
    nghttp2_option *option = options();
    rk_assert(nghttp2_session_server_new2(&h2->session, set, session, option) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(set);
    submit_settings(h2->session);
    return h2;
}

void http2_free(struct http2 *h2)
{
    if (!h2)
        return;
    nghttp2_session_del(h2->session);
    free(h2);
}

void http2_final_goaway(struct http2 *h2)
{
    if (h2->final_goaway)
        return;
    h2->final_goaway = true;
    int rc = nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
                                   nghttp2_session_get_last_proc_stream_id(h2->session), NGHTTP2_NO_ERROR,
                                   NULL, 0);
    rk_assert(rc != NGHTTP2_ERR_NOMEM);
}

bool http2_prefaced(const struct http_session *session)
{
    return session->h2->prefaced;
}

bool http2_stalled(const struct http_session *session, uint64_t *ret_since_us)
{
    *ret_since_us = session->h2->stall_us;
    return session->h2->queued_bytes > 0;
}

/* A stall begins with the first feed that finds bytes waiting and moves none of them. */
static void watch_stall(struct http_session *session, size_t queued_before)
{
    struct http2 *h2 = session->h2;
    bool moved = h2->queued_bytes < queued_before || h2->queued_bytes == 0;
    if (moved)
        h2->stall_us = 0;
    if (h2->stall_us == 0 && h2->queued_bytes > 0)
        h2->stall_us = session->now_us;
}

static void calm(struct http2 *h2)
{
    int rc = nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
    rk_assert(rc != NGHTTP2_ERR_NOMEM);
}

void http2_feed(struct http_session *session, struct rk_slice bytes)
{
    struct http2 *h2 = session->h2;
    h2->now_us = session->now_us;
    h2->receiving = true;
    ssize_t n = nghttp2_session_mem_recv(h2->session, bytes.data, bytes.len);
    h2->receiving = false;
    rk_assert(n != NGHTTP2_ERR_NOMEM);
    if (n >= 0 && !h2->flooding)
        return;
    session->failed = true;
    if (h2->flooding || n == NGHTTP2_ERR_FLOODED)
        calm(h2);
    else if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
        (void)nghttp2_session_terminate_session(h2->session, NGHTTP2_PROTOCOL_ERROR);
}

void http2_flush(struct http_session *session)
{
    struct http2 *h2 = session->h2;
    const uint8_t *data;
    ssize_t n;
    if (session->done)
        return;
    size_t queued_before = h2->queued_bytes;
    while ((n = nghttp2_session_mem_send(h2->session, &data)) > 0) {
        rk_buf_append(&session->out, data, (size_t)n);
        if (h2->flooding && !session->failed) {
            session->failed = true;
            calm(h2);
        }
    }
    rk_assert(n != NGHTTP2_ERR_NOMEM);
    watch_stall(session, queued_before);
    bool idle = !nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session);
    if (n < 0 || session->failed || idle)
        session->done = true;
    session->failed |= n < 0;
}

/* The first call asks for no new streams and lets those on the wire arrive (RFC 9113 section 6.8); the GOAWAY
 * with the last stream follows when the peer's PING answer shows that they have. A second call does not wait
 * for that. */
void http2_shutdown(struct http_session *session)
{
    struct http2 *h2 = session->h2;
    if (session->closing) {
        http2_final_goaway(h2);
        return;
    }
    session->closing = true;
    int rc = nghttp2_submit_shutdown_notice(h2->session);
    rk_assert(rc != NGHTTP2_ERR_NOMEM);
    rc = nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
    rk_assert(rc != NGHTTP2_ERR_NOMEM);
}
