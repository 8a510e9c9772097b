/* tests/unit/http2_peer.h - the client at the other end: nghttp2's client side, talking to a harness. */
#ifndef HTTP2_PEER_H
#define HTTP2_PEER_H

#include "tests/unit/http_harness.h"

#include <nghttp2/nghttp2.h>

#define PEER_STREAMS_MAX 4096u

struct peer_answer {
    unsigned status;
    unsigned continues; /* 100 (Continue) seen */
    struct rk_buf body;
    bool ended, closed;
    uint32_t error; /* of its RST_STREAM */
};

struct peer {
    struct harness *h;
    nghttp2_session *ng;
    struct peer_answer answers[PEER_STREAMS_MAX]; /* by stream id / 2 */
    struct rk_buf uploads[PEER_STREAMS_MAX];
    unsigned goaways, pings, settings;
    uint32_t goaway_error;
    int32_t goaway_last;
    bool hold_window; /* received data gives no window back */
};

/* Client with this initial window (0: the default); hold_window: windows are opened by peer_consume() alone.
 */
struct peer *peer_new(struct harness *h, uint32_t window, bool hold_window);
void peer_free(struct peer *peer);
/* Queues a request. body NULL: none; open: END_STREAM is not sent. */
int32_t peer_request(struct peer *peer, const char *method, const char *path, const char *body, bool open);
int32_t peer_request_nv(struct peer *peer, const nghttp2_nv *nv, size_t count, struct rk_slice body,
                        bool open);
/* Lets bytes go to and fro until both are silent. */
void peer_run(struct peer *peer);
/* Appends what the client has to send. */
void peer_send(struct peer *peer, struct rk_buf *to);
void peer_recv(struct peer *peer, struct rk_slice bytes);
void peer_consume(struct peer *peer, int32_t stream_id, size_t n);
struct peer_answer *peer_answer(struct peer *peer, int32_t stream_id);
const char *peer_body(struct peer *peer, int32_t stream_id);

#define PEER_NV(n, v)                                                                                        \
    {                                                                                                        \
        .name = (uint8_t *)(uintptr_t)(n), .value = (uint8_t *)(uintptr_t)(v), .namelen = strlen(n),         \
        .valuelen = strlen(v)                                                                                \
    }

/* A frame, byte for byte, for what no decent client sends. */
void raw_frame(struct rk_buf *to, uint8_t type, uint8_t flags, int32_t stream_id, const void *payload,
               size_t len);

#endif
