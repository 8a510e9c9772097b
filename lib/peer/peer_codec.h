/* lib/peer/peer_codec.h - the bytes of the peer protocol: frames and their bodies, to and from structs.
 *
 * Pure: no sockets, no state. peer_codec.c explains the format. Every decode
 * function takes input that nobody has vouched for; it returns 0, or -EPROTO with
 * its output untouched and nothing allocated. Encode functions append a whole frame. */
#ifndef PEER_CODEC_H
#define PEER_CODEC_H

#include "lib/base/rk_buf.h"
#include "lib/node/node_transport.h"

#define PEER_VERSION_MIN 1u
#define PEER_VERSION_MAX 1u
/* A frame before the handshake is done; generous for later versions of HELLO. */
#define PEER_HELLO_BYTES_MAX 1024u
#define PEER_TEXT_BYTES_MAX  255u
/* Messages in one frame: bounds what a frame of the smallest ones costs in memory. */
#define PEER_BATCH_MAX 4096u
/* A chunk may pass RK_SNAPSHOT_CHUNK_BYTES by the row that it ends with. */
#define PEER_CHUNK_BYTES_MAX (RK_SNAPSHOT_CHUNK_BYTES + RK_COMMAND_BYTES_MAX)

enum peer_frame_type { /* part of the protocol: never renumber */
                       PEER_FRAME_HELLO = 1,
                       PEER_FRAME_WELCOME,
                       PEER_FRAME_MESSAGES,
                       PEER_FRAME_OFFER,
                       PEER_FRAME_OFFER_REPLY,
                       PEER_FRAME_CHUNK,
                       PEER_FRAME_CHUNK_REPLY,
                       PEER_FRAME_KEEPALIVE, /* no body; from both sides at a steady pace, so that silence
                                                means something */
                       PEER_FRAME_TYPE_MAX = PEER_FRAME_KEEPALIVE,
};

/* ---- frames ------------------------------------------------------------------ */

struct peer_frame {
    enum peer_frame_type type;
    struct rk_slice body; /* a view into the input */
    size_t bytes;         /* of the input that the frame covers */
};

#define PEER_INCOMPLETE 1
/* The first frame of in. 0; PEER_INCOMPLETE; or -EPROTO: longer than max, or of no known type. */
int peer_frame_split(struct rk_slice in, size_t max, struct peer_frame *ret) RK_MUST_CHECK;
/* Opens a frame at the end of buf; the result goes to peer_frame_end(), which fills in the length. */
size_t peer_frame_begin(struct rk_buf *buf, enum peer_frame_type type);
void peer_frame_end(struct rk_buf *buf, size_t mark);
void peer_keepalive_encode(struct rk_buf *buf);

/* ---- handshake ---------------------------------------------------------------- */

enum peer_purpose { /* part of the protocol: never renumber */
                    PEER_PURPOSE_MESSAGES = 1,
                    PEER_PURPOSE_SNAPSHOT,
                    PEER_PURPOSE_CALL,
};

struct peer_hello {
    uint16_t version_min, version_max;
    uint8_t purpose;     /* not checked by the decoder: a later version may know more of them */
    uint64_t cluster_id; /* 0: a member of nothing */
    uint64_t id, target; /* who I am (0: nobody yet); whom I mean (0: whoever listens there; CALL only) */
    uint64_t incarnation;
    char name[RK_NAME_BYTES_MAX + 1]; /* for the other's log */
};

enum peer_welcome_outcome { /* part of the protocol: never renumber */
                            PEER_WELCOME_OK = 1,
                            PEER_WELCOME_REFUSED,
                            PEER_WELCOME_REMOVED, /* you were a member once */
};

struct peer_welcome {
    enum peer_welcome_outcome outcome;
    uint16_t version; /* the one that is spoken from here on */
    uint64_t cluster_id, id, incarnation;
    char text[PEER_TEXT_BYTES_MAX + 1]; /* refused: a sentence */
};

void peer_hello_encode(struct rk_buf *buf, const struct peer_hello *hello);
int peer_hello_decode(struct rk_slice body, struct peer_hello *ret) RK_MUST_CHECK;
void peer_welcome_encode(struct rk_buf *buf, const struct peer_welcome *welcome);
int peer_welcome_decode(struct rk_slice body, struct peer_welcome *ret) RK_MUST_CHECK;

/* ---- messages ------------------------------------------------------------------ */

/* Bytes that peer_message_put() will add to an open MESSAGES frame. */
size_t peer_message_bytes(const struct node_message *message);
/* Whether it may travel at all: within the limits that the other side will check. */
bool peer_message_fits(const struct node_message *message);
void peer_message_put(struct rk_buf *buf, const struct node_message *message);
/* Appends new messages, from peer from to us (to), to ret_messages; returns their number in *ret_count. */
int peer_messages_decode(struct rk_slice body, uint64_t from, uint64_t to, struct rk_list *ret_messages,
                         size_t *ret_count) RK_MUST_CHECK;

/* ---- snapshots ------------------------------------------------------------------- */

struct peer_offer {
    uint32_t group;
    uint64_t term, index;
};

struct peer_chunk {
    uint64_t offset; /* of its first byte in the stream */
    bool last;
    struct rk_slice bytes; /* decoded: a view into the body */
};

void peer_offer_encode(struct rk_buf *buf, const struct peer_offer *offer);
int peer_offer_decode(struct rk_slice body, struct peer_offer *ret) RK_MUST_CHECK;
void peer_offer_reply_encode(struct rk_buf *buf, bool accepted);
int peer_offer_reply_decode(struct rk_slice body, bool *ret_accepted) RK_MUST_CHECK;
void peer_chunk_encode(struct rk_buf *buf, const struct peer_chunk *chunk);
int peer_chunk_decode(struct rk_slice body, struct peer_chunk *ret) RK_MUST_CHECK;
/* As node_chunk.result: 0 credit, 1 installed, a negative errno. */
void peer_chunk_reply_encode(struct rk_buf *buf, int result);
int peer_chunk_reply_decode(struct rk_slice body, int *ret_result) RK_MUST_CHECK;

#endif
