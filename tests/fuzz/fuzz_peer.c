/* tests/fuzz/fuzz_peer.c - any bytes as a stream of peer frames: refused, or understood within every limit;
 * and messages that were understood read back equal from their own bytes. */
#include "config.h"

#include "lib/base/rk_assert.h"
#include "lib/peer/peer_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void free_all(struct rk_list *list)
{
    struct rk_list *link;
    while ((link = rk_list_pop_front(list)))
        node_message_free(RK_LIST_ITEM(link, struct node_message, mail.link));
}

static void fuzz_messages(struct rk_slice body)
{
    struct rk_list list;
    struct rk_buf again = {0};
    size_t count = 0;
    rk_list_init(&list);
    if (peer_messages_decode(body, 1, 2, &list, &count) == 0) {
        RK_LIST_FOR_EACH (it, &list) {
            struct node_message *message = RK_LIST_ITEM(it, struct node_message, mail.link);
            size_t before = again.len;
            rk_assert(count-- > 0);
            peer_message_put(&again, message);
            rk_assert(again.len - before == peer_message_bytes(message));
        }
        rk_assert(count == 0 && rk_slice_eq(rk_buf_slice(&again), body));
    }
    rk_assert(count == 0);
    free_all(&list);
    rk_buf_deinit(&again);
}

static void fuzz_handshake(const struct peer_frame *frame)
{
    struct peer_hello hello;
    struct peer_welcome welcome;
    if (frame->type == PEER_FRAME_HELLO && peer_hello_decode(frame->body, &hello) == 0)
        rk_assert(memchr(hello.name, 0, sizeof(hello.name)) && hello.version_min <= hello.version_max);
    if (frame->type == PEER_FRAME_WELCOME && peer_welcome_decode(frame->body, &welcome) == 0)
        rk_assert(memchr(welcome.text, 0, sizeof(welcome.text)) && welcome.outcome <= PEER_WELCOME_REMOVED);
}

static void fuzz_snapshot(const struct peer_frame *frame)
{
    struct peer_offer offer;
    struct peer_chunk chunk;
    bool accepted;
    int result;
    if (frame->type == PEER_FRAME_OFFER)
        (void)(peer_offer_decode(frame->body, &offer) == 0);
    if (frame->type == PEER_FRAME_OFFER_REPLY)
        (void)(peer_offer_reply_decode(frame->body, &accepted) == 0);
    if (frame->type == PEER_FRAME_CHUNK && peer_chunk_decode(frame->body, &chunk) == 0)
        rk_assert(chunk.bytes.len <= PEER_CHUNK_BYTES_MAX && chunk.bytes.len < frame->body.len);
    if (frame->type == PEER_FRAME_CHUNK_REPLY && peer_chunk_reply_decode(frame->body, &result) == 0)
        rk_assert(result <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rk_slice rest = rk_slice(data, size);
    struct peer_frame frame;
    while (peer_frame_split(rest, RK_FRAME_BYTES_MAX, &frame) == 0) {
        rk_assert(frame.bytes <= rest.len && frame.body.len < frame.bytes);
        if (frame.type == PEER_FRAME_MESSAGES)
            fuzz_messages(frame.body);
        fuzz_handshake(&frame);
        fuzz_snapshot(&frame);
        rest = rk_slice(rest.data + frame.bytes, rest.len - frame.bytes);
    }
    return 0;
}
