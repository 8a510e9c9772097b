/* lib/peer/peer_codec.c - the peer protocol, version 1.
 *
 * A connection is a stream of frames in both directions, inside TLS, which already
 * sees to it that bytes are neither changed nor lost in the middle. Numbers are big
 * endian; "block" is a u32 length and that many bytes.
 *
 *   frame          u32 length of what follows, u8 type, body
 *
 * The side that connected speaks first; nothing else is said before both have been
 * exchanged:
 *
 *   HELLO          u32 "rkvp", u16 lowest and u16 highest version that I speak, u8 purpose,
 *                  u64 cluster, u64 who I am, u64 whom I mean, u64 incarnation, block name
 *   WELCOME        u8 outcome, u16 version from here on, u64 cluster, u64 who I am,
 *                  u64 incarnation, block sentence
 *
 * These two are read by every version there will ever be, so they only grow at the
 * end, and readers ignore what stands behind the fields that they know. All other
 * bodies are exact to the byte: a surplus is an error, as it can only be damage.
 *
 *   MESSAGES       messages, one behind the other, up to the end of the body:
 *     raft         u8 1, u32 group, u8 kind, u8 flags (1 reject, 2 transfer, 4 lease), then a u64 for each
 *                  field that the kind has (raft_fields below); APPEND adds u32 count and entries:
 *                  u64 term, u8 kind, block payload. Their indexes follow from the message's.
 *     call         u8 2, u32 group, u64 id, u32 kind of call, u64 token, block body; the token is the
 *                  caller's business here: only on a call connection does the callee put its own there
 *     reply        u8 3, u32 group, u64 id, u32 kind of call, u32 outcome, block body
 *   OFFER          u32 group, u64 term, u64 index
 *   OFFER_REPLY    u8 accepted
 *   CHUNK          u64 offset, u8 last, block bytes
 *   CHUNK_REPLY    u32 result, two's complement: one more chunk may come, installed, or an errno
 *   KEEPALIVE      nothing
 *
 * Who a message is from and to is not on the wire: the handshake has settled it,
 * and nobody can speak for another. The decoder believes nothing: each length is
 * held against its limit and against the bytes that are really there before
 * anything is allocated for it, and a number that stands for one of a set must be
 * in the set. What the numbers mean (terms, indexes) is judged by lib/raft. */
#include "lib/peer/peer_codec.h"

#include <errno.h>
#include <string.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_wire.h"

#define HELLO_MAGIC  0x726b7670u
#define LENGTH_BYTES 4u
#define ERRNO_MAX    4095

#define FLAG_REJECT   1u
#define FLAG_TRANSFER 2u
#define FLAG_LEASE    4u

/* kind, group; behind them id, kind of call, token or outcome, length of the body */
#define MESSAGE_BYTES        5u
#define CALL_BYTES           (MESSAGE_BYTES + 8u + 4u + 8u + 4u)
#define REPLY_BYTES          (MESSAGE_BYTES + 8u + 4u + 4u + 4u)
#define ENTRY_BYTES          (8u + 1u + 4u)
#define REPLY_BODY_BYTES_MAX RK_REPLY_BYTES_MAX
_Static_assert(RK_REPLY_BYTES_MAX + 1024u < RK_FRAME_BYTES_MAX, "a reply must fit in a frame");
_Static_assert(RK_REQUEST_BYTES_MAX + RK_KEY_BYTES_MAX + 1024u < RK_RANGE_BYTES_MAX,
               "the largest value must fit in an answer");

/* ---- frames ------------------------------------------------------------------ */

int peer_frame_split(struct rk_slice in, size_t max, struct peer_frame *ret)
{
    struct rk_reader r = rk_reader(in);
    uint32_t length = rk_get_u32(&r);
    if (!rk_reader_ok(&r))
        return PEER_INCOMPLETE;
    if (length < 1 || length > max)
        return -EPROTO;
    if (rk_reader_left(&r) < 1)
        return PEER_INCOMPLETE;
    uint8_t type = rk_get_u8(&r);
    if (type < PEER_FRAME_HELLO || type > PEER_FRAME_TYPE_MAX)
        return -EPROTO;
    struct rk_slice body = rk_get_bytes(&r, length - 1);
    if (!rk_reader_ok(&r))
        return PEER_INCOMPLETE;
    *ret = (struct peer_frame){.type = type, .body = body, .bytes = LENGTH_BYTES + length};
    return 0;
}

size_t peer_frame_begin(struct rk_buf *buf, enum peer_frame_type type)
{
    size_t mark = buf->len;
    rk_put_u32(buf, 0);
    rk_put_u8(buf, (uint8_t)type);
    return mark;
}

void peer_frame_end(struct rk_buf *buf, size_t mark)
{
    size_t length = buf->len - mark - LENGTH_BYTES;
    rk_assert(length <= RK_FRAME_BYTES_MAX);
    rk_store_u32(buf->data + buf->start + mark, (uint32_t)length);
}

void peer_keepalive_encode(struct rk_buf *buf)
{
    peer_frame_end(buf, peer_frame_begin(buf, PEER_FRAME_KEEPALIVE));
}

/* ---- handshake ---------------------------------------------------------------- */

/* Text without a zero in it, as a C string. The caller's array holds max + 1 bytes. */
static void get_text(struct rk_reader *r, char *ret, size_t max)
{
    struct rk_slice s = rk_get_block(r, max);
    if (s.len > 0 && memchr(s.data, 0, s.len))
        rk_reader_fail(r);
    if (s.len > 0)
        memcpy(ret, s.data, s.len);
    ret[s.len] = '\0';
}

static struct rk_slice text_slice(const char *text, size_t max)
{
    return rk_slice(text, strnlen(text, max));
}

void peer_hello_encode(struct rk_buf *buf, const struct peer_hello *hello)
{
    size_t mark = peer_frame_begin(buf, PEER_FRAME_HELLO);
    rk_put_u32(buf, HELLO_MAGIC);
    rk_put_u16(buf, hello->version_min);
    rk_put_u16(buf, hello->version_max);
    rk_put_u8(buf, hello->purpose);
    rk_put_u64(buf, hello->cluster_id);
    rk_put_u64(buf, hello->id);
    rk_put_u64(buf, hello->target);
    rk_put_u64(buf, hello->incarnation);
    rk_put_block(buf, text_slice(hello->name, RK_NAME_BYTES_MAX));
    peer_frame_end(buf, mark);
}

int peer_hello_decode(struct rk_slice body, struct peer_hello *ret)
{
    struct rk_reader r = rk_reader(body);
    struct peer_hello hello = {0};
    if (rk_get_u32(&r) != HELLO_MAGIC)
        return -EPROTO;
    hello.version_min = rk_get_u16(&r);
    hello.version_max = rk_get_u16(&r);
    hello.purpose = rk_get_u8(&r);
    hello.cluster_id = rk_get_u64(&r);
    hello.id = rk_get_u64(&r);
    hello.target = rk_get_u64(&r);
    hello.incarnation = rk_get_u64(&r);
    get_text(&r, hello.name, RK_NAME_BYTES_MAX);
    if (!rk_reader_ok(&r) || hello.version_min > hello.version_max)
        return -EPROTO;
    *ret = hello;
    return 0;
}

void peer_welcome_encode(struct rk_buf *buf, const struct peer_welcome *welcome)
{
    size_t mark = peer_frame_begin(buf, PEER_FRAME_WELCOME);
    rk_put_u8(buf, (uint8_t)welcome->outcome);
    rk_put_u16(buf, welcome->version);
    rk_put_u64(buf, welcome->cluster_id);
    rk_put_u64(buf, welcome->id);
    rk_put_u64(buf, welcome->incarnation);
    rk_put_block(buf, text_slice(welcome->text, PEER_TEXT_BYTES_MAX));
    peer_frame_end(buf, mark);
}

int peer_welcome_decode(struct rk_slice body, struct peer_welcome *ret)
{
    struct rk_reader r = rk_reader(body);
    struct peer_welcome welcome = {0};
    uint8_t outcome = rk_get_u8(&r);
    welcome.version = rk_get_u16(&r);
    welcome.cluster_id = rk_get_u64(&r);
    welcome.id = rk_get_u64(&r);
    welcome.incarnation = rk_get_u64(&r);
    get_text(&r, welcome.text, PEER_TEXT_BYTES_MAX);
    if (!rk_reader_ok(&r) || outcome < PEER_WELCOME_OK || outcome > PEER_WELCOME_REMOVED)
        return -EPROTO;
    welcome.outcome = outcome;
    *ret = welcome;
    return 0;
}

/* ---- raft messages ---------------------------------------------------------------- */

enum raft_field { TERM = 1, INDEX = 2, LOG_TERM = 4, COMMIT = 8, TOKEN = 16, HINT = 32, HINT_TERM = 64 };

/* What each kind carries; see struct raft_message. */
static const unsigned raft_fields[RAFT_MSG_KIND_MAX + 1] = {
    [RAFT_MSG_PREVOTE] = TERM | INDEX | LOG_TERM,
    [RAFT_MSG_PREVOTE_REPLY] = TERM,
    [RAFT_MSG_VOTE] = TERM | INDEX | LOG_TERM,
    [RAFT_MSG_VOTE_REPLY] = TERM,
    [RAFT_MSG_APPEND] = TERM | INDEX | LOG_TERM | COMMIT,
    [RAFT_MSG_APPEND_REPLY] = TERM | INDEX | HINT | HINT_TERM,
    [RAFT_MSG_HEARTBEAT] = TERM | COMMIT | TOKEN,
    [RAFT_MSG_HEARTBEAT_REPLY] = TERM | TOKEN,
    [RAFT_MSG_TIMEOUT_NOW] = TERM,
};

/* The fields of a kind in wire order; at most as many as there are bits. */
static size_t list_fields(struct raft_message *raft, uint64_t *ret_fields[static 7])
{
    uint64_t *all[] = {&raft->term,  &raft->index, &raft->log_term, &raft->commit,
                       &raft->token, &raft->hint,  &raft->hint_term};
    size_t count = 0;
    for (size_t i = 0; i < RK_ARRAY_LEN(all); i++)
        if (raft_fields[raft->kind] & 1u << i)
            ret_fields[count++] = all[i];
    return count;
}

static size_t raft_bytes(const struct node_message *message)
{
    struct raft_message raft = message->raft;
    uint64_t *fields[7];
    size_t bytes = MESSAGE_BYTES + 2 + 8 * list_fields(&raft, fields);
    if (raft.kind != RAFT_MSG_APPEND)
        return bytes;
    bytes += 4;
    for (uint32_t i = 0; i < raft.count; i++)
        bytes += ENTRY_BYTES + rk_blob_slice(message->payloads[i]).len;
    return bytes;
}

static void put_entries(struct rk_buf *buf, const struct node_message *message)
{
    rk_put_u32(buf, message->raft.count);
    for (uint32_t i = 0; i < message->raft.count; i++) {
        rk_put_u64(buf, message->entries[i].term);
        rk_put_u8(buf, (uint8_t)message->entries[i].kind);
        rk_put_block(buf, rk_blob_slice(message->payloads[i]));
    }
}

static void put_raft(struct rk_buf *buf, const struct node_message *message)
{
    struct raft_message raft = message->raft;
    uint64_t *fields[7];
    size_t count = list_fields(&raft, fields);
    rk_put_u8(buf, (uint8_t)raft.kind);
    rk_put_u8(buf, (uint8_t)((raft.reject ? FLAG_REJECT : 0) | (raft.transfer ? FLAG_TRANSFER : 0) |
                             (raft.lease ? FLAG_LEASE : 0)));
    for (size_t i = 0; i < count; i++)
        rk_put_u64(buf, *fields[i]);
    if (raft.kind == RAFT_MSG_APPEND)
        put_entries(buf, message);
}

static void get_entry(struct rk_reader *r, struct node_message *message, uint32_t i)
{
    uint64_t term = rk_get_u64(r);
    uint8_t kind = rk_get_u8(r);
    struct rk_slice payload = rk_get_block(r, RK_COMMAND_BYTES_MAX);
    if (kind < RAFT_ENTRY_NOOP || kind > RAFT_ENTRY_MEMBERS || (kind == RAFT_ENTRY_NOOP && payload.len > 0))
        rk_reader_fail(r);
    if (!rk_reader_ok(r))
        return;
    message->entries[i] = (struct raft_entry){
        .index = message->raft.index + 1 + i, .term = term, .bytes = (uint32_t)payload.len, .kind = kind};
    message->payloads[i] = payload.len > 0 ? rk_blob_copy(payload) : NULL;
}

static void get_entries(struct rk_reader *r, struct node_message *message)
{
    uint32_t count = rk_get_u32(r);
    if (count > RK_APPEND_ENTRIES_MAX || rk_reader_left(r) < (size_t)count * ENTRY_BYTES ||
        message->raft.index > UINT64_MAX - count)
        rk_reader_fail(r);
    if (!rk_reader_ok(r) || count == 0)
        return;
    node_message_alloc_entries(message, count);
    for (uint32_t i = 0; i < count && rk_reader_ok(r); i++)
        get_entry(r, message, i);
}

static void get_raft(struct rk_reader *r, struct node_message *message)
{
    uint8_t kind = rk_get_u8(r), flags = rk_get_u8(r);
    if (kind < RAFT_MSG_PREVOTE || kind > RAFT_MSG_KIND_MAX ||
        flags > (FLAG_REJECT | FLAG_TRANSFER | FLAG_LEASE))
        rk_reader_fail(r);
    if (!rk_reader_ok(r))
        return;
    struct raft_message *raft = &message->raft;
    raft->kind = kind;
    raft->reject = (flags & FLAG_REJECT) != 0;
    raft->transfer = (flags & FLAG_TRANSFER) != 0;
    raft->lease = (flags & FLAG_LEASE) != 0;
    uint64_t *fields[7];
    size_t count = list_fields(raft, fields);
    for (size_t i = 0; i < count; i++)
        *fields[i] = rk_get_u64(r);
    if (raft->kind == RAFT_MSG_APPEND)
        get_entries(r, message);
}

/* ---- messages ------------------------------------------------------------------ */

size_t peer_message_bytes(const struct node_message *message)
{
    switch (message->kind) {
    case NODE_MSG_RAFT:
        return raft_bytes(message);
    case NODE_MSG_CALL:
        return CALL_BYTES + rk_blob_slice(message->body).len;
    case NODE_MSG_REPLY:
        return REPLY_BYTES + rk_blob_slice(message->body).len;
    }
    rk_assert(false);
    return 0;
}

static bool entries_fit(const struct node_message *message)
{
    if (message->raft.kind != RAFT_MSG_APPEND)
        return true;
    if (message->raft.count > RK_APPEND_ENTRIES_MAX)
        return false;
    for (uint32_t i = 0; i < message->raft.count; i++)
        if (rk_blob_slice(message->payloads[i]).len > RK_COMMAND_BYTES_MAX)
            return false;
    return true;
}

bool peer_message_fits(const struct node_message *message)
{
    size_t body = rk_blob_slice(message->body).len;
    if (message->kind == NODE_MSG_CALL)
        return body <= RK_COMMAND_BYTES_MAX;
    if (message->kind == NODE_MSG_REPLY)
        return body <= REPLY_BODY_BYTES_MAX;
    return entries_fit(message) && peer_message_bytes(message) < RK_FRAME_BYTES_MAX;
}

void peer_message_put(struct rk_buf *buf, const struct node_message *message)
{
    rk_put_u8(buf, (uint8_t)message->kind);
    rk_put_u32(buf, message->group);
    if (message->kind == NODE_MSG_RAFT) {
        put_raft(buf, message);
        return;
    }
    rk_put_u64(buf, message->id);
    rk_put_u32(buf, message->call_kind);
    if (message->kind == NODE_MSG_REPLY)
        rk_put_u32(buf, message->outcome);
    else
        rk_put_u64(buf, message->token);
    rk_put_block(buf, rk_blob_slice(message->body));
}

static void get_call(struct rk_reader *r, struct node_message *message)
{
    bool reply = message->kind == NODE_MSG_REPLY;
    message->id = rk_get_u64(r);
    message->call_kind = rk_get_u32(r);
    if (reply)
        message->outcome = rk_get_u32(r);
    else
        message->token = rk_get_u64(r);
    struct rk_slice body = rk_get_block(r, reply ? REPLY_BODY_BYTES_MAX : RK_COMMAND_BYTES_MAX);
    if (rk_reader_ok(r) && body.len > 0)
        message->body = rk_blob_copy(body);
}

/* One message to the end of list; a half-read one too, which the caller frees with the rest. */
static void get_message(struct rk_reader *r, uint64_t from, uint64_t to, struct rk_list *list)
{
    uint8_t kind = rk_get_u8(r);
    uint32_t group = rk_get_u32(r);
    if (kind < NODE_MSG_RAFT || kind > NODE_MSG_REPLY)
        rk_reader_fail(r);
    if (!rk_reader_ok(r))
        return;
    struct node_message *message = node_message_new(kind, from, group);
    rk_list_push_back(list, &message->mail.link);
    if (kind == NODE_MSG_RAFT) {
        message->raft.from = from;
        message->raft.to = to;
        get_raft(r, message);
    } else {
        get_call(r, message);
    }
}

int peer_messages_decode(struct rk_slice body, uint64_t from, uint64_t to, struct rk_list *ret_messages,
                         size_t *ret_count)
{
    struct rk_reader r = rk_reader(body);
    struct rk_list list, *link;
    size_t count = 0;
    rk_list_init(&list);
    for (; rk_reader_ok(&r) && rk_reader_left(&r) > 0; count++) {
        if (count == PEER_BATCH_MAX)
            rk_reader_fail(&r);
        else
            get_message(&r, from, to, &list);
    }
    if (!rk_reader_done(&r)) {
        while ((link = rk_list_pop_front(&list)))
            node_message_free(RK_LIST_ITEM(link, struct node_message, mail.link));
        return -EPROTO;
    }
    rk_list_splice_back(ret_messages, &list);
    *ret_count = count;
    return 0;
}

/* ---- snapshots ------------------------------------------------------------------- */

/* A bool that is neither 0 nor 1 is damage. */
static bool get_bool(struct rk_reader *r)
{
    uint8_t v = rk_get_u8(r);
    if (v > 1)
        rk_reader_fail(r);
    return v == 1;
}

void peer_offer_encode(struct rk_buf *buf, const struct peer_offer *offer)
{
    size_t mark = peer_frame_begin(buf, PEER_FRAME_OFFER);
    rk_put_u32(buf, offer->group);
    rk_put_u64(buf, offer->term);
    rk_put_u64(buf, offer->index);
    peer_frame_end(buf, mark);
}

int peer_offer_decode(struct rk_slice body, struct peer_offer *ret)
{
    struct rk_reader r = rk_reader(body);
    struct peer_offer offer = {0};
    offer.group = rk_get_u32(&r);
    offer.term = rk_get_u64(&r);
    offer.index = rk_get_u64(&r);
    if (!rk_reader_done(&r))
        return -EPROTO;
    *ret = offer;
    return 0;
}

void peer_offer_reply_encode(struct rk_buf *buf, bool accepted)
{
    size_t mark = peer_frame_begin(buf, PEER_FRAME_OFFER_REPLY);
    rk_put_u8(buf, accepted);
    peer_frame_end(buf, mark);
}

int peer_offer_reply_decode(struct rk_slice body, bool *ret_accepted)
{
    struct rk_reader r = rk_reader(body);
    bool accepted = get_bool(&r);
    if (!rk_reader_done(&r))
        return -EPROTO;
    *ret_accepted = accepted;
    return 0;
}

void peer_chunk_encode(struct rk_buf *buf, const struct peer_chunk *chunk)
{
    size_t mark = peer_frame_begin(buf, PEER_FRAME_CHUNK);
    rk_put_u64(buf, chunk->offset);
    rk_put_u8(buf, chunk->last);
    rk_put_block(buf, chunk->bytes);
    peer_frame_end(buf, mark);
}

int peer_chunk_decode(struct rk_slice body, struct peer_chunk *ret)
{
    struct rk_reader r = rk_reader(body);
    struct peer_chunk chunk = {0};
    chunk.offset = rk_get_u64(&r);
    chunk.last = get_bool(&r);
    chunk.bytes = rk_get_block(&r, PEER_CHUNK_BYTES_MAX);
    if (!rk_reader_done(&r))
        return -EPROTO;
    *ret = chunk;
    return 0;
}

void peer_chunk_reply_encode(struct rk_buf *buf, int result)
{
    size_t mark = peer_frame_begin(buf, PEER_FRAME_CHUNK_REPLY);
    rk_put_u32(buf, (uint32_t)result);
    peer_frame_end(buf, mark);
}

int peer_chunk_reply_decode(struct rk_slice body, int *ret_result)
{
    struct rk_reader r = rk_reader(body);
    int result = (int)rk_get_u32(&r);
    if (!rk_reader_done(&r) || result > 1 || result < -ERRNO_MAX)
        return -EPROTO;
    *ret_result = result;
    return 0;
}
