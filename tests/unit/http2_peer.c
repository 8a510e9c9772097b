/* tests/unit/http2_peer.c - see http2_peer.h. */
#include "tests/unit/http2_peer.h"

struct peer_answer *peer_answer(struct peer *peer, int32_t stream_id)
{
    return &peer->answers[(size_t)stream_id / 2 % PEER_STREAMS_MAX];
}

const char *peer_body(struct peer *peer, int32_t stream_id)
{
    struct rk_buf *buf = &peer_answer(peer, stream_id)->body;
    *rk_buf_reserve(buf, 1) = '\0';
    return (const char *)buf->data + buf->start;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *userdata)
{
    struct peer_answer *answer = peer_answer(userdata, frame->hd.stream_id);
    (void)ng, (void)flags;
    if (rk_slice_eq_str(rk_slice(name, name_len), ":status")) {
        unsigned status = 0;
        for (size_t i = 0; i < value_len; i++)
            status = status * 10 + (unsigned)(value[i] - '0');
        answer->continues += status == 100;
        answer->status = status;
    }
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len,
                   void *userdata)
{
    struct peer *peer = userdata;
    (void)flags;
    rk_buf_append(&peer_answer(peer, stream_id)->body, data, len);
    return peer->hold_window ? 0 : nghttp2_session_consume(ng, stream_id, len);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *userdata)
{
    struct peer *peer = userdata;
    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        peer_answer(peer, frame->hd.stream_id)->ended |= (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        break;
    case NGHTTP2_GOAWAY:
        peer->goaways++;
        peer->goaway_error = frame->goaway.error_code;
        peer->goaway_last = frame->goaway.last_stream_id;
        break;
    case NGHTTP2_PING:
        peer->pings++;
        break;
    case NGHTTP2_SETTINGS:
        peer->settings++;
        break;
    default:
        break;
    }
    return 0;
}

static int on_close(nghttp2_session *ng, int32_t stream_id, uint32_t error, void *userdata)
{
    struct peer_answer *answer = peer_answer(userdata, stream_id);
    (void)ng;
    answer->closed = true;
    answer->error = error;
    return 0;
}

struct peer *peer_new(struct harness *h, uint32_t window, bool hold_window)
{
    struct peer *peer = RK_NEW(struct peer);
    nghttp2_session_callbacks *set;
    nghttp2_option *option;
    peer->h = h;
    peer->hold_window = hold_window;
    nghttp2_session_callbacks_new(&set);
    nghttp2_session_callbacks_set_on_header_callback(set, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(set, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(set, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(set, on_close);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_http_messaging(option, 1); /* we also send what is not allowed */
    nghttp2_session_client_new2(&peer->ng, set, peer, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(set);
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    nghttp2_submit_settings(peer->ng, NGHTTP2_FLAG_NONE, &entry, window > 0 ? 1 : 0);
    return peer;
}

void peer_free(struct peer *peer)
{
    for (size_t i = 0; i < PEER_STREAMS_MAX; i++) {
        rk_buf_deinit(&peer->answers[i].body);
        rk_buf_deinit(&peer->uploads[i]);
    }
    nghttp2_session_del(peer->ng);
    free(peer);
}

static ssize_t read_upload(nghttp2_session *ng, int32_t stream_id, uint8_t *to, size_t length,
                           uint32_t *flags, nghttp2_data_source *source, void *userdata)
{
    struct peer *peer = userdata;
    struct rk_buf *upload = &peer->uploads[(size_t)stream_id / 2 % PEER_STREAMS_MAX];
    (void)ng;
    size_t n = upload->len < length ? upload->len : length;
    if (n == 0 && source->fd)
        return NGHTTP2_ERR_DEFERRED;
    if (n > 0)
        memcpy(to, rk_buf_slice(upload).data, n);
    rk_buf_consume(upload, n);
    if (upload->len == 0 && !source->fd)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

int32_t peer_request_nv(struct peer *peer, const nghttp2_nv *nv, size_t count, struct rk_slice body,
                        bool open)
{
    nghttp2_data_provider provider = {.source.fd = open, .read_callback = read_upload};
    bool none = body.len == 0 && !open;
    int32_t id = nghttp2_submit_request(peer->ng, NULL, nv, count, none ? NULL : &provider, NULL);
    if (id > 0)
        rk_buf_append_slice(&peer->uploads[(size_t)id / 2 % PEER_STREAMS_MAX], body);
    return id;
}

int32_t peer_request(struct peer *peer, const char *method, const char *path, const char *body, bool open)
{
    const nghttp2_nv nv[] = {PEER_NV(":method", method), PEER_NV(":scheme", "https"),
                             PEER_NV(":authority", "h"), PEER_NV(":path", path)};
    return peer_request_nv(peer, nv, RK_ARRAY_LEN(nv), body ? rk_slice_str(body) : rk_slice(NULL, 0), open);
}

void peer_send(struct peer *peer, struct rk_buf *to)
{
    const uint8_t *data;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(peer->ng, &data)) > 0)
        rk_buf_append(to, data, (size_t)n);
}

void peer_recv(struct peer *peer, struct rk_slice bytes)
{
    (void)!nghttp2_session_mem_recv(peer->ng, bytes.data, bytes.len);
}

void peer_run(struct peer *peer)
{
    struct rk_buf bytes = {0};
    for (;;) {
        rk_buf_clear(&bytes);
        peer_send(peer, &bytes);
        if (bytes.len == 0 && peer->h->out.len == 0)
            break;
        harness_feed(peer->h, rk_buf_slice(&bytes).data, bytes.len);
        struct rk_buf out = peer->h->out;
        peer->h->out = (struct rk_buf){0};
        peer_recv(peer, rk_buf_slice(&out));
        rk_buf_deinit(&out);
    }
    rk_buf_deinit(&bytes);
}

void peer_consume(struct peer *peer, int32_t stream_id, size_t n)
{
    nghttp2_session_consume(peer->ng, stream_id, n);
}

void raw_frame(struct rk_buf *to, uint8_t type, uint8_t flags, int32_t stream_id, const void *payload,
               size_t len)
{
    uint32_t id = (uint32_t)stream_id;
    uint8_t head[9] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,       type,       flags,
                       (uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
    rk_buf_append(to, head, sizeof(head));
    rk_buf_append(to, payload, len);
}
