/* tests/unit/test_peer_codec.c - the bytes of the peer protocol: what goes out comes in, and nothing else
 * does. */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/rk_wire.h"
#include "lib/peer/peer_codec.h"

#define FROM 7
#define TO   9

/* ---- tools ------------------------------------------------------------------------ */

static struct peer_frame split(const struct rk_buf *buf)
{
    struct peer_frame frame;
    assert_int_equal(peer_frame_split(rk_buf_slice(buf), RK_FRAME_BYTES_MAX, &frame), 0);
    assert_int_equal(frame.bytes, buf->len);
    return frame;
}

static void free_all(struct rk_list *list)
{
    struct rk_list *link;
    while ((link = rk_list_pop_front(list)))
        node_message_free(RK_LIST_ITEM(link, struct node_message, mail.link));
}

static int decode_messages(struct rk_slice body)
{
    struct rk_list list;
    size_t count = 0;
    rk_list_init(&list);
    int r = peer_messages_decode(body, FROM, TO, &list, &count);
    if (r < 0)
        assert_true(rk_list_empty(&list));
    free_all(&list);
    return r;
}

/* Decodes a body of the frame's type; what is decoded is thrown away. */
static int decode_any(enum peer_frame_type type, struct rk_slice body)
{
    struct peer_hello hello;
    struct peer_welcome welcome;
    struct peer_offer offer;
    struct peer_chunk chunk;
    bool accepted;
    int result;
    switch (type) {
    case PEER_FRAME_HELLO:
        return peer_hello_decode(body, &hello);
    case PEER_FRAME_WELCOME:
        return peer_welcome_decode(body, &welcome);
    case PEER_FRAME_MESSAGES:
        return decode_messages(body);
    case PEER_FRAME_OFFER:
        return peer_offer_decode(body, &offer);
    case PEER_FRAME_OFFER_REPLY:
        return peer_offer_reply_decode(body, &accepted);
    case PEER_FRAME_CHUNK:
        return peer_chunk_decode(body, &chunk);
    case PEER_FRAME_CHUNK_REPLY:
        return peer_chunk_reply_decode(body, &result);
    case PEER_FRAME_KEEPALIVE:
        return body.len == 0 ? 0 : -EPROTO;
    }
    return -EPROTO;
}

/* The body in memory of exactly its length, so that the sanitizer sees a read behind it. */
static int decode_copy(enum peer_frame_type type, struct rk_slice body)
{
    uint8_t *copy = malloc(body.len > 0 ? body.len : 1);
    memcpy(copy, body.data, body.len);
    int r = decode_any(type, rk_slice(copy, body.len));
    free(copy);
    return r;
}

static struct node_message *make_append(uint32_t count, size_t bytes)
{
    struct node_message *message = node_message_new(NODE_MSG_RAFT, TO, 3);
    node_message_alloc_entries(message, count);
    message->raft.kind = RAFT_MSG_APPEND;
    message->raft.term = 5;
    message->raft.index = 1ULL << 32;
    message->raft.log_term = 4;
    message->raft.commit = 1ULL << 33;
    for (uint32_t i = 0; i < count; i++) {
        message->entries[i].term = 5;
        message->entries[i].kind = i == 0 ? RAFT_ENTRY_NOOP : i % 2 ? RAFT_ENTRY_COMMAND : RAFT_ENTRY_MEMBERS;
        if (i == 0 || bytes == 0)
            continue;
        message->payloads[i] = rk_blob_new(bytes);
        memset(message->payloads[i]->data, (int)i, bytes);
    }
    return message;
}

static struct node_message *make_call(enum node_message_kind kind, const char *body)
{
    struct node_message *message = node_message_new(kind, TO, 2);
    message->id = 0x1122334455667788;
    message->call_kind = 4;
    message->token = kind == NODE_MSG_CALL ? 77 : 0;
    message->outcome = kind == NODE_MSG_REPLY ? 6 : 0;
    message->body = body ? rk_blob_copy(rk_slice_str(body)) : NULL;
    return message;
}

/* Puts the message in a frame of its own; frees it. */
static void put_frame(struct rk_buf *buf, struct node_message *message)
{
    size_t mark = peer_frame_begin(buf, PEER_FRAME_MESSAGES), before = buf->len;
    assert_true(peer_message_fits(message));
    peer_message_put(buf, message);
    assert_int_equal(buf->len - before, peer_message_bytes(message));
    peer_frame_end(buf, mark);
    node_message_free(message);
}

static struct node_message *get_only(const struct rk_buf *buf)
{
    struct rk_list list;
    size_t count = 0;
    rk_list_init(&list);
    assert_int_equal(peer_messages_decode(split(buf).body, FROM, TO, &list, &count), 0);
    assert_int_equal(count, 1);
    return RK_LIST_ITEM(rk_list_pop_front(&list), struct node_message, mail.link);
}

/* One frame of each type, the largest variety that fits in a few hundred bytes. */
#define SAMPLES 11
static void make_samples(struct rk_buf samples[static SAMPLES])
{
    const struct peer_hello hello = {1, 3, PEER_PURPOSE_SNAPSHOT, 10, 11, 12, 13, "node-1"};
    const struct peer_welcome welcome = {PEER_WELCOME_REFUSED, 1, 10, 12, 2, "wrong cluster"};
    const struct peer_offer offer = {1, 2, 3};
    const struct peer_chunk chunk = {.offset = 1ULL << 40, .last = true, .bytes = rk_slice_str("rows")};
    struct node_message *vote = node_message_new(NODE_MSG_RAFT, TO, 0);
    vote->raft.kind = RAFT_MSG_VOTE;
    memset(samples, 0, SAMPLES * sizeof(*samples));
    peer_hello_encode(&samples[0], &hello);
    peer_welcome_encode(&samples[1], &welcome);
    peer_offer_encode(&samples[2], &offer);
    peer_offer_reply_encode(&samples[3], true);
    peer_chunk_encode(&samples[4], &chunk);
    peer_chunk_reply_encode(&samples[5], -ENOSPC);
    peer_keepalive_encode(&samples[6]);
    put_frame(&samples[7], make_append(3, 20));
    put_frame(&samples[8], make_call(NODE_MSG_CALL, "body"));
    put_frame(&samples[9], make_call(NODE_MSG_REPLY, "answer"));
    put_frame(&samples[10], vote);
}

static void free_samples(struct rk_buf samples[static SAMPLES])
{
    for (size_t i = 0; i < SAMPLES; i++)
        rk_buf_deinit(&samples[i]);
}

/* ---- round trips --------------------------------------------------------------------- */

static void hello_and_welcome_come_back_equal(void **state)
{
    (void)state;
    const struct peer_hello hello = {1, 2, PEER_PURPOSE_CALL, 10, UINT64_MAX, 12, 13, "node-1"};
    const struct peer_welcome welcome = {PEER_WELCOME_REMOVED, 7, 10, 12, UINT64_MAX, "you were removed"};
    struct peer_hello hello_back;
    struct peer_welcome welcome_back;
    struct rk_buf buf = {0};
    peer_hello_encode(&buf, &hello);
    assert_true(buf.len <= PEER_HELLO_BYTES_MAX);
    assert_int_equal(peer_hello_decode(split(&buf).body, &hello_back), 0);
    assert_int_equal(hello_back.version_max, 2);
    assert_int_equal(hello_back.purpose, PEER_PURPOSE_CALL);
    assert_true(hello_back.cluster_id == 10 && hello_back.id == UINT64_MAX && hello_back.target == 12);
    assert_true(hello_back.incarnation == 13);
    assert_string_equal(hello_back.name, "node-1");
    rk_buf_clear(&buf);
    peer_welcome_encode(&buf, &welcome);
    assert_true(buf.len <= PEER_HELLO_BYTES_MAX);
    assert_int_equal(peer_welcome_decode(split(&buf).body, &welcome_back), 0);
    assert_memory_equal(&welcome_back, &welcome, sizeof(welcome));
    rk_buf_deinit(&buf);
}

/* A later version's HELLO must still be understood well enough to be refused in words. */
static void handshake_may_grow_at_the_end(void **state)
{
    (void)state;
    const struct peer_hello hello = {2, 9, 200, 1, 2, 3, 4, "later"};
    struct peer_hello back;
    struct rk_buf buf = {0};
    peer_hello_encode(&buf, &hello);
    rk_buf_append_str(&buf, "a field that this version does not know");
    peer_frame_end(&buf, 0);
    assert_int_equal(peer_hello_decode(split(&buf).body, &back), 0);
    assert_int_equal(back.version_max, 9);
    assert_int_equal(back.purpose, 200);
    rk_buf_deinit(&buf);
}

/* Every kind keeps its own fields and loses those that it does not have; who it is from is never read from
 * the wire. */
static void every_raft_message_comes_back(void **state)
{
    (void)state;
    for (unsigned kind = RAFT_MSG_PREVOTE; kind <= RAFT_MSG_KIND_MAX; kind++) {
        struct node_message *message = node_message_new(NODE_MSG_RAFT, TO, 5);
        struct rk_buf buf = {0};
        message->raft = (struct raft_message){.kind = kind,
                                              .from = 99,
                                              .to = 98,
                                              .term = UINT64_MAX,
                                              .index = 2,
                                              .log_term = 3,
                                              .commit = 4,
                                              .token = 5,
                                              .hint = 6,
                                              .hint_term = 7,
                                              .reject = true,
                                              .transfer = true};
        put_frame(&buf, message);
        struct node_message *back = get_only(&buf);
        assert_true(back->kind == NODE_MSG_RAFT && back->group == 5 && back->peer == FROM);
        assert_true(back->raft.kind == kind && back->raft.from == FROM && back->raft.to == TO);
        assert_true(back->raft.term == UINT64_MAX && back->raft.reject && back->raft.transfer);
        bool vote = kind == RAFT_MSG_VOTE || kind == RAFT_MSG_PREVOTE, append = kind == RAFT_MSG_APPEND;
        bool heartbeat = kind == RAFT_MSG_HEARTBEAT;
        assert_int_equal(back->raft.index, vote || append || kind == RAFT_MSG_APPEND_REPLY ? 2 : 0);
        assert_int_equal(back->raft.log_term, vote || append ? 3 : 0);
        assert_int_equal(back->raft.commit, heartbeat || append ? 4 : 0);
        assert_int_equal(back->raft.token, heartbeat || kind == RAFT_MSG_HEARTBEAT_REPLY ? 5 : 0);
        assert_int_equal(back->raft.hint, kind == RAFT_MSG_APPEND_REPLY ? 6 : 0);
        assert_int_equal(back->raft.hint_term, kind == RAFT_MSG_APPEND_REPLY ? 7 : 0);
        node_message_free(back);
        rk_buf_deinit(&buf);
    }
}

static void appends_carry_their_entries(void **state)
{
    (void)state;
    struct rk_buf buf = {0};
    put_frame(&buf, make_append(RK_APPEND_ENTRIES_MAX, 100));
    struct node_message *back = get_only(&buf);
    assert_int_equal(back->raft.count, RK_APPEND_ENTRIES_MAX);
    assert_ptr_equal(back->raft.entries, back->entries);
    for (uint32_t i = 0; i < back->raft.count; i++) {
        assert_true(back->entries[i].index == (1ULL << 32) + 1 + i && back->entries[i].term == 5);
        assert_int_equal(back->entries[i].bytes, i == 0 ? 0 : 100);
        assert_null(back->entries[i].members);
    }
    assert_null(back->payloads[0]);
    assert_int_equal(back->entries[0].kind, RAFT_ENTRY_NOOP);
    assert_int_equal(back->entries[1].kind, RAFT_ENTRY_COMMAND);
    assert_int_equal(back->payloads[200]->data[99], 200);
    node_message_free(back);
    rk_buf_deinit(&buf);
}

static void calls_and_replies_come_back(void **state)
{
    (void)state;
    struct rk_buf buf = {0};
    put_frame(&buf, make_call(NODE_MSG_CALL, "body"));
    struct node_message *back = get_only(&buf);
    assert_true(back->kind == NODE_MSG_CALL && back->peer == FROM && back->group == 2);
    assert_true(back->id == 0x1122334455667788 && back->call_kind == 4 && back->token == 77);
    assert_true(rk_slice_eq_str(rk_blob_slice(back->body), "body"));
    node_message_free(back);
    rk_buf_clear(&buf);
    put_frame(&buf, make_call(NODE_MSG_REPLY, NULL));
    back = get_only(&buf);
    assert_true(back->kind == NODE_MSG_REPLY && back->outcome == 6 && back->call_kind == 4 && !back->body);
    node_message_free(back);
    rk_buf_deinit(&buf);
}

static void a_batch_keeps_its_order(void **state)
{
    (void)state;
    struct rk_buf buf = {0};
    struct rk_list list;
    size_t count = 0, mark = peer_frame_begin(&buf, PEER_FRAME_MESSAGES);
    for (uint64_t i = 0; i < PEER_BATCH_MAX; i++) {
        struct node_message *call = make_call(NODE_MSG_CALL, NULL);
        call->id = i;
        peer_message_put(&buf, call);
        node_message_free(call);
    }
    peer_frame_end(&buf, mark);
    rk_list_init(&list);
    assert_int_equal(peer_messages_decode(split(&buf).body, FROM, TO, &list, &count), 0);
    assert_int_equal(count, PEER_BATCH_MAX);
    uint64_t next = 0;
    RK_LIST_FOR_EACH (it, &list)
        assert_true(RK_LIST_ITEM(it, struct node_message, mail.link)->id == next++);
    free_all(&list);
    rk_buf_deinit(&buf);
}

static void snapshot_frames_come_back(void **state)
{
    (void)state;
    struct rk_buf samples[SAMPLES];
    struct peer_offer offer;
    struct peer_chunk chunk;
    bool accepted = false;
    int result = 0;
    make_samples(samples);
    assert_int_equal(peer_offer_decode(split(&samples[2]).body, &offer), 0);
    assert_true(offer.group == 1 && offer.term == 2 && offer.index == 3);
    assert_int_equal(peer_offer_reply_decode(split(&samples[3]).body, &accepted), 0);
    assert_true(accepted);
    assert_int_equal(peer_chunk_decode(split(&samples[4]).body, &chunk), 0);
    assert_true(chunk.offset == 1ULL << 40 && chunk.last && rk_slice_eq_str(chunk.bytes, "rows"));
    assert_int_equal(peer_chunk_reply_decode(split(&samples[5]).body, &result), 0);
    assert_int_equal(result, -ENOSPC);
    free_samples(samples);
}

/* ---- damage ------------------------------------------------------------------------------ */

/* Cut anywhere, a frame is incomplete and a body is refused: but for MESSAGES cut between two messages. */
static void every_truncation_is_noticed(void **state)
{
    (void)state;
    struct rk_buf samples[SAMPLES];
    make_samples(samples);
    for (size_t i = 0; i < SAMPLES; i++) {
        struct peer_frame frame = split(&samples[i]), cut;
        assert_int_equal(decode_copy(frame.type, frame.body), 0);
        for (size_t n = 0; n < samples[i].len; n++)
            assert_int_equal(
                peer_frame_split(rk_slice(rk_buf_slice(&samples[i]).data, n), RK_FRAME_BYTES_MAX, &cut),
                PEER_INCOMPLETE);
        for (size_t n = frame.type == PEER_FRAME_MESSAGES; n < frame.body.len; n++)
            assert_int_equal(decode_copy(frame.type, rk_slice(frame.body.data, n)), -EPROTO);
    }
    free_samples(samples);
}

static void surplus_bytes_are_refused(void **state)
{
    (void)state;
    struct rk_buf samples[SAMPLES];
    make_samples(samples);
    for (size_t i = 0; i < SAMPLES; i++) {
        enum peer_frame_type type = split(&samples[i]).type;
        bool grows = type == PEER_FRAME_HELLO || type == PEER_FRAME_WELCOME;
        rk_put_u8(&samples[i], 0);
        peer_frame_end(&samples[i], 0);
        assert_int_equal(decode_copy(type, split(&samples[i]).body), grows ? 0 : -EPROTO);
    }
    free_samples(samples);
}

/* Every byte of every frame set to a few hostile values: refused or understood, never a crash. */
static void any_byte_may_be_anything(void **state)
{
    (void)state;
    static const uint8_t values[] = {0x00, 0x01, 0x04, 0x7f, 0x80, 0xff};
    struct rk_buf samples[SAMPLES];
    make_samples(samples);
    for (size_t i = 0; i < SAMPLES; i++) {
        struct peer_frame frame = split(&samples[i]);
        uint8_t *body = samples[i].data + samples[i].start + (samples[i].len - frame.body.len);
        for (size_t at = 0; at < frame.body.len; at++) {
            uint8_t before = body[at];
            for (size_t v = 0; v < sizeof(values); v++) {
                body[at] = values[v];
                (void)decode_copy(frame.type, frame.body);
            }
            body[at] = before;
        }
    }
    free_samples(samples);
}

static void hostile_frame_lengths_are_refused(void **state)
{
    (void)state;
    static const uint8_t zero[] = {0, 0, 0, 0}, huge[] = {0xff, 0xff, 0xff, 0xff},
                         unknown[] = {0, 0, 0, 1, 99}, none[] = {0, 0, 0, 1, 0};
    struct peer_frame frame;
    uint8_t limit[4];
    assert_int_equal(peer_frame_split(rk_slice(zero, 4), RK_FRAME_BYTES_MAX, &frame), -EPROTO);
    assert_int_equal(peer_frame_split(rk_slice(huge, 4), RK_FRAME_BYTES_MAX, &frame), -EPROTO);
    assert_int_equal(peer_frame_split(rk_slice(unknown, 5), RK_FRAME_BYTES_MAX, &frame), -EPROTO);
    assert_int_equal(peer_frame_split(rk_slice(none, 5), RK_FRAME_BYTES_MAX, &frame), -EPROTO);
    rk_store_u32(limit, PEER_HELLO_BYTES_MAX + 1);
    assert_int_equal(peer_frame_split(rk_slice(limit, 4), PEER_HELLO_BYTES_MAX, &frame), -EPROTO);
    assert_int_equal(peer_frame_split(rk_slice(limit, 4), RK_FRAME_BYTES_MAX, &frame), PEER_INCOMPLETE);
}

/* kind raft, group, APPEND, no flags; term, index, log term, commit; a count of entries */
static void put_append_head(struct rk_buf *buf, uint64_t index, uint32_t count)
{
    rk_put_u8(buf, NODE_MSG_RAFT);
    rk_put_u32(buf, 0);
    rk_put_u8(buf, RAFT_MSG_APPEND);
    rk_put_u8(buf, 0);
    rk_put_u64(buf, 1);
    rk_put_u64(buf, index);
    rk_put_u64(buf, 1);
    rk_put_u64(buf, 1);
    rk_put_u32(buf, count);
}

static void put_entry(struct rk_buf *buf, uint8_t kind, uint32_t length, size_t bytes)
{
    rk_put_u64(buf, 1);
    rk_put_u8(buf, kind);
    rk_put_u32(buf, length);
    memset(rk_buf_reserve(buf, bytes), 'x', bytes);
    rk_buf_commit(buf, bytes);
}

static int decode_and_clear(struct rk_buf *buf)
{
    int r = decode_copy(PEER_FRAME_MESSAGES, rk_buf_slice(buf));
    rk_buf_clear(buf);
    return r;
}

static void hostile_entries_are_refused(void **state)
{
    (void)state;
    struct rk_buf buf = {0};
    put_append_head(&buf, 5, UINT32_MAX);
    assert_int_equal(decode_and_clear(&buf), -EPROTO);
    put_append_head(&buf, 5, RK_APPEND_ENTRIES_MAX + 1);
    for (uint32_t i = 0; i <= RK_APPEND_ENTRIES_MAX; i++)
        put_entry(&buf, RAFT_ENTRY_COMMAND, 0, 0);
    assert_int_equal(decode_and_clear(&buf), -EPROTO);
    put_append_head(&buf, UINT64_MAX, 1); /* the entry's index would wrap */
    put_entry(&buf, RAFT_ENTRY_COMMAND, 1, 1);
    assert_int_equal(decode_and_clear(&buf), -EPROTO);
    put_append_head(&buf, UINT64_MAX - 1, 1);
    put_entry(&buf, RAFT_ENTRY_COMMAND, 1, 1);
    assert_int_equal(decode_and_clear(&buf), 0);
    for (unsigned kind = 0; kind < 256; kind++) {
        put_append_head(&buf, 5, 1);
        put_entry(&buf, (uint8_t)kind, 0, 0);
        assert_int_equal(decode_and_clear(&buf),
                         kind >= RAFT_ENTRY_NOOP && kind <= RAFT_ENTRY_MEMBERS ? 0 : -EPROTO);
    }
    put_append_head(&buf, 5, 1);
    put_entry(&buf, RAFT_ENTRY_NOOP, 1, 1); /* a no-op has no payload */
    assert_int_equal(decode_and_clear(&buf), -EPROTO);
    put_append_head(&buf, 5, 1);
    put_entry(&buf, RAFT_ENTRY_COMMAND, RK_COMMAND_BYTES_MAX + 1, RK_COMMAND_BYTES_MAX + 1);
    assert_int_equal(decode_and_clear(&buf), -EPROTO);
    put_append_head(&buf, 5, 1);
    put_entry(&buf, RAFT_ENTRY_COMMAND, RK_COMMAND_BYTES_MAX, RK_COMMAND_BYTES_MAX);
    assert_int_equal(decode_and_clear(&buf), 0);
    rk_buf_deinit(&buf);
}

static void a_batch_of_too_many_is_refused(void **state)
{
    (void)state;
    struct rk_buf buf = {0};
    struct node_message *call = make_call(NODE_MSG_CALL, NULL);
    for (unsigned i = 0; i <= PEER_BATCH_MAX; i++)
        peer_message_put(&buf, call);
    node_message_free(call);
    assert_int_equal(decode_and_clear(&buf), -EPROTO);
    rk_buf_deinit(&buf);
}

static void oversized_messages_do_not_fit(void **state)
{
    (void)state;
    struct node_message *call = make_call(NODE_MSG_CALL, NULL),
                        *append = make_append(3, RK_COMMAND_BYTES_MAX);
    call->body = rk_blob_new(RK_COMMAND_BYTES_MAX);
    assert_true(peer_message_fits(call));
    rk_blob_unref(call->body);
    call->body = rk_blob_new(RK_COMMAND_BYTES_MAX + 1);
    assert_false(peer_message_fits(call));
    assert_false(peer_message_fits(append)); /* each entry is fine, together they are not */
    node_message_free(call);
    node_message_free(append);
}

static void damaged_handshakes_are_refused(void **state)
{
    (void)state;
    struct peer_hello hello = {2, 1, PEER_PURPOSE_MESSAGES, 1, 2, 3, 4, "name"}, back;
    struct rk_buf buf = {0};
    peer_hello_encode(&buf, &hello); /* its versions are the wrong way round */
    assert_int_equal(peer_hello_decode(split(&buf).body, &back), -EPROTO);
    rk_buf_clear(&buf);
    hello.version_max = 2;
    peer_hello_encode(&buf, &hello);
    buf.data[buf.start + buf.len - 2] = '\0'; /* inside the name */
    assert_int_equal(peer_hello_decode(split(&buf).body, &back), -EPROTO);
    buf.data[buf.start + 5] ^= 1; /* the magic */
    assert_int_equal(peer_hello_decode(split(&buf).body, &back), -EPROTO);
    rk_buf_deinit(&buf);
}

static void results_out_of_range_are_refused(void **state)
{
    (void)state;
    static const int bad[] = {2, 1000, INT32_MAX, INT32_MIN, -4096};
    struct rk_buf buf = {0};
    int result;
    for (size_t i = 0; i < RK_ARRAY_LEN(bad); i++) {
        peer_chunk_reply_encode(&buf, bad[i]);
        assert_int_equal(peer_chunk_reply_decode(split(&buf).body, &result), -EPROTO);
        rk_buf_clear(&buf);
    }
    rk_buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_and_welcome_come_back_equal),
        cmocka_unit_test(handshake_may_grow_at_the_end),
        cmocka_unit_test(every_raft_message_comes_back),
        cmocka_unit_test(appends_carry_their_entries),
        cmocka_unit_test(calls_and_replies_come_back),
        cmocka_unit_test(a_batch_keeps_its_order),
        cmocka_unit_test(snapshot_frames_come_back),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(surplus_bytes_are_refused),
        cmocka_unit_test(any_byte_may_be_anything),
        cmocka_unit_test(hostile_frame_lengths_are_refused),
        cmocka_unit_test(hostile_entries_are_refused),
        cmocka_unit_test(a_batch_of_too_many_is_refused),
        cmocka_unit_test(oversized_messages_do_not_fit),
        cmocka_unit_test(damaged_handshakes_are_refused),
        cmocka_unit_test(results_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
