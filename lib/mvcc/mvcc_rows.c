/* lib/mvcc/mvcc_rows.c - the bytes of the rows.
 *
 * The store keeps byte strings in memcmp order. Everything that mvcc knows about
 * a group is in three tables of rows; all numbers are big endian, so that they
 * sort as numbers do. Each row key begins with
 *
 *     group    4 bytes
 *     table    1 byte
 *
 * and each row value with one format byte, so that a later version can write a
 * row differently and still read the old ones.
 *
 * Table KEYS holds one row for each change of each key, for ever (until it is
 * compacted): the history of the group.
 *
 *     key      the key's bytes, each 0x00 in them written as 0x00 0xff
 *     0x00 0x01
 *     revision 8 bytes, inverted
 *     sub      4 bytes, inverted
 *  -> format, kind (put or tombstone), and for a put: create revision, version,
 *     lease (8 bytes each), the value
 *
 * The escaping keeps the order: where one key ends and a longer one goes on, the
 * two bytes of the end are compared with either a byte above 0x00, or with
 * 0x00 0xff, and are the smaller ones in both cases. The end is found without
 * knowing any length, so no row key is the beginning of another. Numbers are
 * inverted so that the newest version of a key comes first: reading a key is one
 * seek to its head (everything before the revision), reading it as of revision R
 * is one seek to head + inverted R, and going on to the next key is one seek to
 * the head with 0x02 as its last byte, whatever the number of versions between.
 *
 * Table REVS finds what a revision changed, in order: revision (8 bytes), sub
 * (4 bytes) -> format, key. It is made of what the rows of KEYS say and so is not
 * part of a snapshot.
 *
 * Table META has a row for each name below: "applied" (where the log was applied
 * up to, the revision, the number of live keys, the hash over the rows; then the
 * origins that proposed last, as mvcc_dedup.c writes them), "members" (an opaque block
 * and the entry that it came from), "session-clock" (milliseconds, see mvcc_session.c)
 * and, while a snapshot is being installed, "installing".
 *
 * Tables ORIGINS and SESSIONS have a row for each other member that has proposed, and
 * for each open client session: id (8 bytes) -> format, and what mvcc_dedup.c and
 * mvcc_session.c write. */
#include "lib/mvcc/mvcc_rows.h"

#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_wire.h"

#define ROW_FORMAT     1u
#define APPLIED_FORMAT 2u /* 1 had no hash */
#define KIND_PUT       1u
#define KIND_DELETE    2u
#define TABLE_PREFIX   5u
#define ESCAPE         0x00u
#define ESCAPED_ZERO   0xffu
#define KEY_END        0x01u
#define KEY_PAST       0x02u

void mvcc_row_table(struct rk_buf *ret, uint32_t group, enum mvcc_table table)
{
    rk_buf_clear(ret);
    rk_put_u32(ret, group);
    rk_put_u8(ret, (uint8_t)table);
}

static void put_escaped(struct rk_buf *buf, struct rk_slice key)
{
    while (key.len > 0) {
        const uint8_t *zero = memchr(key.data, ESCAPE, key.len);
        size_t run = zero ? (size_t)(zero - key.data) + 1 : key.len;
        rk_buf_append(buf, key.data, run);
        if (zero)
            rk_put_u8(buf, ESCAPED_ZERO);
        key = rk_slice(key.data + run, key.len - run);
    }
}

void mvcc_row_versions(struct rk_buf *ret, uint32_t group, struct rk_slice key)
{
    mvcc_row_table(ret, group, MVCC_TABLE_KEYS);
    put_escaped(ret, key);
    rk_put_u8(ret, ESCAPE);
    rk_put_u8(ret, KEY_END);
}

void mvcc_row_key(struct rk_buf *ret, uint32_t group, struct rk_slice key, uint64_t revision, uint32_t sub)
{
    mvcc_row_versions(ret, group, key);
    rk_put_u64(ret, ~revision);
    rk_put_u32(ret, ~sub);
}

struct rk_slice mvcc_row_head(struct rk_slice row_key)
{
    if (row_key.len < TABLE_PREFIX + 2 + MVCC_ROW_TAIL)
        return rk_slice(NULL, 0);
    return rk_slice(row_key.data, row_key.len - MVCC_ROW_TAIL);
}

uint64_t mvcc_row_revision(struct rk_slice row_key)
{
    rk_assert(row_key.len >= MVCC_ROW_TAIL);
    return ~rk_load_u64(row_key.data + row_key.len - MVCC_ROW_TAIL);
}

void mvcc_row_seek_revision(struct rk_buf *ret, struct rk_slice head, uint64_t revision)
{
    rk_buf_clear(ret);
    rk_buf_append_slice(ret, head);
    rk_put_u64(ret, ~revision);
    rk_put_u32(ret, 0); /* the inverted sub of the last change of that revision, or before it */
}

void mvcc_row_seek_past(struct rk_buf *ret, struct rk_slice head)
{
    rk_assert(head.len > 0);
    rk_buf_clear(ret);
    rk_buf_append(ret, head.data, head.len - 1);
    rk_put_u8(ret, KEY_PAST);
}

/* Undoes put_escaped() and the two bytes of the end. Only what it would have written is taken. */
static int decode_key(struct rk_slice escaped, struct rk_buf *ret)
{
    rk_buf_clear(ret);
    for (;;) {
        const uint8_t *zero = escaped.len > 0 ? memchr(escaped.data, ESCAPE, escaped.len) : NULL;
        size_t run = zero ? (size_t)(zero - escaped.data) : 0;
        if (!zero || escaped.len - run < 2)
            return -EBADMSG;
        rk_buf_append(ret, escaped.data, run);
        if (zero[1] == KEY_END)
            return escaped.len == run + 2 ? 0 : -EBADMSG;
        if (zero[1] != ESCAPED_ZERO)
            return -EBADMSG;
        rk_put_u8(ret, 0);
        escaped = rk_slice(zero + 2, escaped.len - run - 2);
    }
}

int mvcc_row_decode_value(struct rk_slice row_key, struct rk_slice row_value, struct mvcc_row *ret)
{
    if (mvcc_row_head(row_key).len == 0)
        return -EBADMSG;
    struct rk_reader r = rk_reader(row_value);
    struct mvcc_row row = {.revision = mvcc_row_revision(row_key)};
    row.sub = ~rk_load_u32(row_key.data + row_key.len - 4);
    uint8_t format = rk_get_u8(&r), kind = rk_get_u8(&r);
    row.tombstone = kind == KIND_DELETE;
    if (kind == KIND_PUT) {
        row.create_revision = rk_get_u64(&r);
        row.version = rk_get_u64(&r);
        row.lease = rk_get_u64(&r);
        row.value = rk_get_bytes(&r, rk_reader_left(&r));
    }
    if (!rk_reader_done(&r) || format != ROW_FORMAT || (kind != KIND_PUT && kind != KIND_DELETE))
        return -EBADMSG;
    *ret = row;
    return 0;
}

int mvcc_row_decode(struct rk_slice row_key, struct rk_slice row_value, struct rk_buf *key_buf,
                    struct mvcc_row *ret)
{
    int r = mvcc_row_decode_value(row_key, row_value, ret);
    if (r < 0)
        return r;
    struct rk_slice head = mvcc_row_head(row_key);
    r = decode_key(rk_slice(head.data + TABLE_PREFIX, head.len - TABLE_PREFIX), key_buf);
    if (r < 0)
        return r;
    ret->key = rk_buf_slice(key_buf);
    return 0;
}

void mvcc_row_value(struct rk_buf *ret, const struct mvcc_row *row)
{
    rk_buf_clear(ret);
    rk_put_u8(ret, ROW_FORMAT);
    rk_put_u8(ret, row->tombstone ? KIND_DELETE : KIND_PUT);
    if (row->tombstone)
        return;
    rk_put_u64(ret, row->create_revision);
    rk_put_u64(ret, row->version);
    rk_put_u64(ret, row->lease);
    rk_buf_append_slice(ret, row->value);
}

void mvcc_rev_key(struct rk_buf *ret, uint32_t group, uint64_t revision, uint32_t sub)
{
    mvcc_row_table(ret, group, MVCC_TABLE_REVS);
    rk_put_u64(ret, revision);
    rk_put_u32(ret, sub);
}

void mvcc_rev_value(struct rk_buf *ret, struct rk_slice key)
{
    rk_buf_clear(ret);
    rk_put_u8(ret, ROW_FORMAT);
    rk_buf_append_slice(ret, key);
}

int mvcc_rev_decode(struct rk_slice row_key, struct rk_slice row_value, uint64_t *ret_revision,
                    uint32_t *ret_sub, struct rk_slice *ret_key)
{
    if (row_key.len != TABLE_PREFIX + 12 || row_value.len < 2 || row_value.data[0] != ROW_FORMAT)
        return -EBADMSG;
    *ret_revision = rk_load_u64(row_key.data + TABLE_PREFIX);
    *ret_sub = rk_load_u32(row_key.data + TABLE_PREFIX + 8);
    *ret_key = rk_slice(row_value.data + 1, row_value.len - 1);
    return 0;
}

void mvcc_meta_key(struct rk_buf *ret, uint32_t group, const char *name)
{
    mvcc_row_table(ret, group, MVCC_TABLE_META);
    rk_buf_append_str(ret, name);
}

void mvcc_applied_value(struct rk_buf *ret, const struct mvcc_applied *applied)
{
    rk_buf_clear(ret);
    rk_put_u8(ret, APPLIED_FORMAT);
    rk_put_u64(ret, applied->index);
    rk_put_u64(ret, applied->term);
    rk_put_u64(ret, applied->revision);
    rk_put_u64(ret, applied->keys);
    rk_put_u64(ret, applied->hash);
}

int mvcc_applied_decode(struct rk_slice row_value, struct mvcc_applied *ret, struct rk_slice *ret_rest)
{
    struct rk_reader r = rk_reader(row_value);
    uint8_t format = rk_get_u8(&r);
    struct mvcc_applied applied = {.index = rk_get_u64(&r)};
    applied.term = rk_get_u64(&r);
    applied.revision = rk_get_u64(&r);
    applied.keys = rk_get_u64(&r);
    applied.hash = rk_get_u64(&r);
    if (!rk_reader_ok(&r) || format != APPLIED_FORMAT || applied.revision == 0)
        return -EBADMSG;
    *ret_rest = rk_get_bytes(&r, rk_reader_left(&r));
    *ret = applied;
    return 0;
}

void mvcc_mark_value(struct rk_buf *ret)
{
    rk_buf_clear(ret);
    rk_put_u8(ret, ROW_FORMAT);
}

void mvcc_members_value(struct rk_buf *ret, uint64_t index, struct rk_slice members)
{
    rk_buf_clear(ret);
    rk_put_u8(ret, ROW_FORMAT);
    rk_put_u64(ret, index);
    rk_buf_append_slice(ret, members);
}

int mvcc_members_decode(struct rk_slice row_value, uint64_t *ret_index, struct rk_slice *ret_members)
{
    struct rk_reader r = rk_reader(row_value);
    uint8_t format = rk_get_u8(&r);
    uint64_t index = rk_get_u64(&r);
    if (!rk_reader_ok(&r) || format != ROW_FORMAT)
        return -EBADMSG;
    *ret_index = index;
    *ret_members = rk_get_bytes(&r, rk_reader_left(&r));
    return 0;
}

void mvcc_once_key(struct rk_buf *ret, uint32_t group, enum mvcc_table table, uint64_t id)
{
    mvcc_row_table(ret, group, table);
    rk_put_u64(ret, id);
}

void mvcc_once_value(struct rk_buf *ret)
{
    rk_buf_clear(ret);
    rk_put_u8(ret, ROW_FORMAT);
}

int mvcc_once_value_begin(struct rk_slice row_value, struct rk_reader *ret)
{
    *ret = rk_reader(row_value);
    return rk_get_u8(ret) == ROW_FORMAT ? 0 : -EBADMSG;
}
