/* lib/mvcc/mvcc_command.c - what an entry of kind COMMAND carries, and what applying it answers.
 *
 * A command, all numbers big endian:
 *
 *     version   1 byte, 2
 *     origin    member, incarnation, sequence: 8 bytes each
 *     class     1 byte, enum mvcc_command_class
 *     NUMBERED_WRITE: session, sequence: 8 bytes each
 *     WRITE and NUMBERED_WRITE:
 *         count     4 bytes
 *         count times
 *             kind      1 byte, enum mvcc_op_kind
 *             PUT       lease (8 bytes), key, value
 *             DELETE    key, end
 *     SESSION: change (1 byte, enum mvcc_session_change), session (8), milliseconds (4)
 *
 * where key, end and value are a length of 4 bytes and the bytes. An entry is in
 * the log for all members, so a version that one of them cannot read must not be
 * proposed before all can; a member that meets one all the same answers
 * MVCC_E_MALFORMED, as every other member of its version does.
 *
 * An answer:
 *
 *     version   1 byte, 1
 *     outcome   1 byte, enum mvcc_command_outcome
 *     revision  8 bytes
 *     count     4 bytes, and so many numbers of deleted keys, 8 bytes each */
#include "lib/mvcc/mvcc_command.h"

#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_crc32c.h"
#include "lib/base/rk_wire.h"

#define COMMAND_VERSION 2u
#define ANSWER_VERSION  1u
#define OUTCOME_MAX     MVCC_E_SEQUENCE_REUSED

const char *mvcc_outcome_text(enum mvcc_command_outcome outcome)
{
    switch (outcome) {
    case MVCC_OK:
        return "The command was applied";
    case MVCC_E_KEY_EMPTY:
        return "A key must not be empty";
    case MVCC_E_KEY_TOO_LONG:
        return "A key is too long";
    case MVCC_E_TOO_LARGE:
        return "The request is too large";
    case MVCC_E_TOO_MANY_OPS:
        return "The transaction has too many operations";
    case MVCC_E_NO_OPS:
        return "The transaction has no operations";
    case MVCC_E_DUPLICATE_KEY:
        return "The transaction changes the same key twice";
    case MVCC_E_MALFORMED:
        return "The request cannot be read by this version";
    case MVCC_E_FUTURE_REVISION:
        return "The revision asked for is in the future";
    case MVCC_E_COMPACTED:
        return "The revision asked for has been compacted";
    case MVCC_E_APPLIED_BEFORE:
        return "The write was applied once, and its answer is not known any more";
    case MVCC_E_TOO_OLD:
        return "The write came too late to tell whether it was applied before";
    case MVCC_E_NO_SESSION:
        return "There is no such session: it has expired, was ended, or gave way to newer ones";
    case MVCC_E_SEQUENCE_OLD:
        return "The sequence number is too far behind the newest of its session";
    case MVCC_E_SEQUENCE_REUSED:
        return "The sequence number belongs to another write of its session";
    }
    return "The outcome is unknown to this version";
}

/* ---- checks ------------------------------------------------------------------ */

static enum mvcc_command_outcome check_op(const struct mvcc_op *op)
{
    if (op->kind != MVCC_OP_PUT && op->kind != MVCC_OP_DELETE)
        return MVCC_E_MALFORMED;
    if (op->key.len == 0)
        return MVCC_E_KEY_EMPTY;
    if (op->key.len > RK_KEY_BYTES_MAX || (op->kind == MVCC_OP_DELETE && op->end.len > RK_KEY_BYTES_MAX))
        return MVCC_E_KEY_TOO_LONG;
    if (op->kind == MVCC_OP_PUT && op->value.len > RK_REQUEST_BYTES_MAX)
        return MVCC_E_TOO_LARGE;
    return MVCC_OK;
}

static size_t op_bytes(const struct mvcc_op *op)
{
    return op->key.len + (op->kind == MVCC_OP_PUT ? op->value.len : op->end.len);
}

static bool covers(const struct mvcc_op *del, struct rk_slice key)
{
    if (del->end.len == 0)
        return rk_slice_eq(del->key, key);
    bool all = del->end.len == 1 && del->end.data[0] == 0;
    return rk_slice_cmp(del->key, key) <= 0 && (all || rk_slice_cmp(key, del->end) < 0);
}

/* Two deletions may overlap: the second one finds less to delete. */
static bool clash(const struct mvcc_op *a, const struct mvcc_op *b)
{
    if (a->kind == MVCC_OP_PUT)
        return b->kind == MVCC_OP_PUT ? rk_slice_eq(a->key, b->key) : covers(b, a->key);
    return b->kind == MVCC_OP_PUT && covers(a, b->key);
}

/* Quadratic over at most RK_TXN_OPS_MAX operations: some 8000 short comparisons at worst. */
static bool any_clash(const struct mvcc_op *ops, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (clash(&ops[i], &ops[j]))
                return true;
    return false;
}

enum mvcc_command_outcome mvcc_command_check(const struct mvcc_op *ops, uint32_t count)
{
    if (count == 0)
        return MVCC_E_NO_OPS;
    if (count > RK_TXN_OPS_MAX)
        return MVCC_E_TOO_MANY_OPS;
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        enum mvcc_command_outcome outcome = check_op(&ops[i]);
        if (outcome != MVCC_OK)
            return outcome;
        if (op_bytes(&ops[i]) > RK_REQUEST_BYTES_MAX - bytes)
            return MVCC_E_TOO_LARGE;
        bytes += op_bytes(&ops[i]);
    }
    return any_clash(ops, count) ? MVCC_E_DUPLICATE_KEY : MVCC_OK;
}

/* ---- commands ------------------------------------------------------------------ */

static void put_op(struct rk_buf *buf, const struct mvcc_op *op)
{
    rk_put_u8(buf, (uint8_t)op->kind);
    if (op->kind == MVCC_OP_PUT)
        rk_put_u64(buf, op->lease);
    rk_put_block(buf, op->key);
    rk_put_block(buf, op->kind == MVCC_OP_PUT ? op->value : op->end);
}

static void put_head(struct rk_buf *buf, const struct mvcc_origin *origin, enum mvcc_command_class class)
{
    rk_put_u8(buf, COMMAND_VERSION);
    rk_put_u64(buf, origin->member);
    rk_put_u64(buf, origin->incarnation);
    rk_put_u64(buf, origin->sequence);
    rk_put_u8(buf, (uint8_t) class);
}

static struct rk_blob *put_ops(struct rk_buf *buf, const struct mvcc_op *ops, uint32_t count)
{
    rk_put_u32(buf, count);
    for (uint32_t i = 0; i < count; i++)
        put_op(buf, &ops[i]);
    return rk_blob_copy(rk_buf_slice(buf));
}

struct rk_blob *mvcc_command_encode(const struct mvcc_origin *origin, const struct mvcc_op *ops,
                                    uint32_t count)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    put_head(&buf, origin, MVCC_CLASS_WRITE);
    return put_ops(&buf, ops, count);
}

struct rk_blob *mvcc_numbered_encode(const struct mvcc_origin *origin, const struct mvcc_number *number,
                                     const struct mvcc_op *ops, uint32_t count)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    put_head(&buf, origin, MVCC_CLASS_NUMBERED_WRITE);
    rk_put_u64(&buf, number->session);
    rk_put_u64(&buf, number->sequence);
    return put_ops(&buf, ops, count);
}

struct rk_blob *mvcc_session_encode(const struct mvcc_origin *origin, enum mvcc_session_change change,
                                    uint64_t session, uint32_t ms)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    put_head(&buf, origin, MVCC_CLASS_SESSION);
    rk_put_u8(&buf, (uint8_t)change);
    rk_put_u64(&buf, session);
    rk_put_u32(&buf, ms);
    return rk_blob_copy(rk_buf_slice(&buf));
}

static void get_op(struct rk_reader *r, struct mvcc_op *ret)
{
    *ret = (struct mvcc_op){.kind = (enum mvcc_op_kind)rk_get_u8(r)};
    if (ret->kind == MVCC_OP_PUT) {
        ret->lease = rk_get_u64(r);
        ret->key = rk_get_block(r, RK_COMMAND_BYTES_MAX);
        ret->value = rk_get_block(r, RK_COMMAND_BYTES_MAX);
    } else if (ret->kind == MVCC_OP_DELETE) {
        ret->key = rk_get_block(r, RK_COMMAND_BYTES_MAX);
        ret->end = rk_get_block(r, RK_COMMAND_BYTES_MAX);
    } else {
        rk_reader_fail(r);
    }
}

static void get_ops(struct rk_reader *r, struct mvcc_command *ret)
{
    ret->fingerprint = ret->class == MVCC_CLASS_NUMBERED_WRITE && rk_reader_ok(r)
                           ? rk_crc32c(0, rk_slice(r->pos, rk_reader_left(r)))
                           : 0;
    ret->count = rk_get_u32(r);
    if (ret->count > RK_TXN_OPS_MAX)
        rk_reader_fail(r);
    for (uint32_t i = 0; rk_reader_ok(r) && i < ret->count; i++)
        get_op(r, &ret->ops[i]);
}

static bool ms_ok(const struct mvcc_command *command)
{
    switch (command->change) {
    case MVCC_SESSION_OPEN:
        return command->number.session != 0 && command->ms >= RK_SESSION_TTL_MS_MIN &&
               command->ms <= RK_SESSION_TTL_MS_MAX;
    case MVCC_SESSION_END:
        return command->ms == 0;
    case MVCC_SESSION_TICK:
        return command->ms <= RK_SESSION_TICK_MS_MAX && command->number.session == 0;
    }
    return false;
}

static void get_session(struct rk_reader *r, struct mvcc_command *ret)
{
    ret->change = (enum mvcc_session_change)rk_get_u8(r);
    ret->number.session = rk_get_u64(r);
    ret->ms = rk_get_u32(r);
    if (!ms_ok(ret))
        rk_reader_fail(r);
}

int mvcc_command_decode(struct rk_slice payload, struct mvcc_command *ret)
{
    struct rk_reader r = rk_reader(payload);
    if (rk_get_u8(&r) != COMMAND_VERSION)
        return -EBADMSG;
    ret->origin.member = rk_get_u64(&r);
    ret->origin.incarnation = rk_get_u64(&r);
    ret->origin.sequence = rk_get_u64(&r);
    ret->class = (enum mvcc_command_class)rk_get_u8(&r);
    ret->number = (struct mvcc_number){0};
    ret->count = 0;
    if (ret->class == MVCC_CLASS_NUMBERED_WRITE) {
        ret->number.session = rk_get_u64(&r);
        ret->number.sequence = rk_get_u64(&r);
        if (ret->number.sequence == 0)
            return -EBADMSG;
    }
    if (ret->class == MVCC_CLASS_WRITE || ret->class == MVCC_CLASS_NUMBERED_WRITE)
        get_ops(&r, ret);
    else if (ret->class == MVCC_CLASS_SESSION)
        get_session(&r, ret);
    else
        return -EBADMSG;
    return rk_reader_done(&r) ? 0 : -EBADMSG;
}

/* ---- answers ------------------------------------------------------------------- */

void mvcc_answer_encode(const struct mvcc_answer *answer, struct rk_buf *ret)
{
    rk_assert(answer->op_count <= RK_TXN_OPS_MAX);
    rk_put_u8(ret, ANSWER_VERSION);
    rk_put_u8(ret, (uint8_t)answer->outcome);
    rk_put_u64(ret, answer->revision);
    rk_put_u32(ret, answer->op_count);
    for (uint32_t i = 0; i < answer->op_count; i++)
        rk_put_u64(ret, answer->deleted[i]);
}

int mvcc_answer_decode(struct rk_slice bytes, struct mvcc_answer *ret)
{
    struct rk_reader r = rk_reader(bytes);
    uint8_t version = rk_get_u8(&r), outcome = rk_get_u8(&r);
    uint64_t revision = rk_get_u64(&r);
    uint32_t count = rk_get_u32(&r);
    if (!rk_reader_ok(&r) || version != ANSWER_VERSION || outcome > OUTCOME_MAX || count > RK_TXN_OPS_MAX ||
        rk_reader_left(&r) != (size_t)count * 8)
        return -EBADMSG;
    *ret = (struct mvcc_answer){
        .outcome = (enum mvcc_command_outcome)outcome, .revision = revision, .op_count = count};
    for (uint32_t i = 0; i < count; i++)
        ret->deleted[i] = rk_get_u64(&r);
    return 0;
}

bool mvcc_command_only_deletes(struct rk_slice payload)
{
    struct mvcc_command command;

    if (mvcc_command_decode(payload, &command) != 0)
        return false;
    if (command.class == MVCC_CLASS_SESSION)
        return command.change != MVCC_SESSION_OPEN;
    for (uint32_t i = 0; i < command.count; i++)
        if (command.ops[i].kind != MVCC_OP_DELETE)
            return false;
    return command.count > 0;
}
