/* lib/mvcc/mvcc_stream.c - the bytes of a snapshot stream.
 *
 * A snapshot is the whole state of a group at one entry of the log: every version
 * of every key up to the revision of that entry, and who the members are. It goes
 * to a peer that is too far behind, and into a file as a backup. It says what the
 * rows mean and nothing about how they are stored, so that a later version, with
 * other row formats or another engine below, can read it.
 *
 * The stream is a sequence of blocks; all numbers are big endian:
 *
 *     length   4 bytes, of the body
 *     crc      4 bytes, CRC-32C of the body
 *     body     1 byte kind, and what the kind says
 *
 * First comes one block HEAD:
 *
 *     magic "raftkv-s", format (1 byte, 2), group (4), then 8 bytes each:
 *     cluster id, index, term, revision, live keys, hash over the rows
 *     (mvcc_hash.c), entry of the members;
 *     members (length of 4 bytes and the bytes)
 *
 * then any number of blocks ONCE, each with at least one record of what has been
 * applied (its origin) and answered (its session) already, in this order:
 *
 *     1, the milliseconds of the sessions' clock (8)     once, left out when 0
 *     2, an origin   (see mvcc_dedup.c)                   by member
 *     3, a session   (see mvcc_session.c)                 by id
 *
 * then any number of blocks ROWS, each with at least one row:
 *
 *     key, revision (8), sub (4), kind (1: 1 put, 2 tombstone), and for a put
 *     create revision, version, lease (8 each), value
 *
 * by key, and for each key the newest version first; and one block TAIL:
 *
 *     number of rows (8), CRC-32C (4) of all bytes before this block
 *
 * Nothing may follow. A block is never believed before its CRC, and its length
 * never makes anyone set aside memory: bytes are kept as they come. The tail is
 * what tells a whole stream from one that was cut at the end of a block, and what
 * finds a block that is missing, doubled or out of another stream. An empty group
 * has a head and a tail: an empty file is no snapshot. */
#include "lib/mvcc/mvcc_stream.h"

#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_crc32c.h"

#define MAGIC         "raftkv-s"
#define STREAM_FORMAT 2u
#define KIND_PUT      1u
#define KIND_DELETE   2u

static void put_block(struct rk_buf *out, enum mvcc_block kind, struct rk_slice content, uint32_t *crc)
{
    uint8_t head[MVCC_BLOCK_HEADER + 1];
    rk_assert(content.len < MVCC_BLOCK_BYTES_MAX);
    head[MVCC_BLOCK_HEADER] = (uint8_t)kind;
    uint32_t body_crc = rk_crc32c(rk_crc32c(0, rk_slice(head + MVCC_BLOCK_HEADER, 1)), content);
    rk_store_u32(head, (uint32_t)content.len + 1);
    rk_store_u32(head + 4, body_crc);
    *crc = rk_crc32c(rk_crc32c(*crc, rk_slice(head, sizeof(head))), content);
    rk_buf_append(out, head, sizeof(head));
    rk_buf_append_slice(out, content);
}

void mvcc_stream_put_head(struct rk_buf *out, const struct mvcc_snapshot_info *info, uint32_t *crc)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    rk_buf_append_str(&buf, MAGIC);
    rk_put_u8(&buf, STREAM_FORMAT);
    rk_put_u32(&buf, info->group);
    rk_put_u64(&buf, info->cluster_id);
    rk_put_u64(&buf, info->index);
    rk_put_u64(&buf, info->term);
    rk_put_u64(&buf, info->revision);
    rk_put_u64(&buf, info->keys);
    rk_put_u64(&buf, info->hash);
    rk_put_u64(&buf, info->members_index);
    rk_put_block(&buf, info->members);
    put_block(out, MVCC_BLOCK_HEAD, rk_buf_slice(&buf), crc);
}

void mvcc_stream_put_rows(struct rk_buf *out, struct rk_slice rows, uint32_t *crc)
{
    put_block(out, MVCC_BLOCK_ROWS, rows, crc);
}

void mvcc_stream_put_once(struct rk_buf *out, struct rk_slice records, uint32_t *crc)
{
    put_block(out, MVCC_BLOCK_ONCE, records, crc);
}

void mvcc_stream_put_tail(struct rk_buf *out, uint64_t rows, uint32_t crc)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    rk_put_u64(&buf, rows);
    rk_put_u32(&buf, crc);
    put_block(out, MVCC_BLOCK_TAIL, rk_buf_slice(&buf), &crc);
}

void mvcc_stream_put_row(struct rk_buf *rows, const struct mvcc_row *row)
{
    rk_put_block(rows, row->key);
    rk_put_u64(rows, row->revision);
    rk_put_u32(rows, row->sub);
    rk_put_u8(rows, row->tombstone ? KIND_DELETE : KIND_PUT);
    if (row->tombstone)
        return;
    rk_put_u64(rows, row->create_revision);
    rk_put_u64(rows, row->version);
    rk_put_u64(rows, row->lease);
    rk_put_block(rows, row->value);
}

int mvcc_stream_get_head(struct rk_reader *r, struct mvcc_snapshot_info *ret)
{
    struct rk_slice magic = rk_get_bytes(r, strlen(MAGIC));
    uint8_t format = rk_get_u8(r);
    struct mvcc_snapshot_info info = {.group = rk_get_u32(r)};
    info.cluster_id = rk_get_u64(r);
    info.index = rk_get_u64(r);
    info.term = rk_get_u64(r);
    info.revision = rk_get_u64(r);
    info.keys = rk_get_u64(r);
    info.hash = rk_get_u64(r);
    info.members_index = rk_get_u64(r);
    info.members = rk_get_block(r, RK_COMMAND_BYTES_MAX);
    if (!rk_reader_done(r) || !rk_slice_eq_str(magic, MAGIC) || format != STREAM_FORMAT)
        return -EBADMSG;
    if (info.revision == 0 || info.members_index > info.index)
        return -EBADMSG;
    *ret = info;
    return 0;
}

int mvcc_stream_get_row(struct rk_reader *r, struct mvcc_row *ret)
{
    struct mvcc_row row = {.key = rk_get_block(r, RK_KEY_BYTES_MAX)};
    row.revision = rk_get_u64(r);
    row.sub = rk_get_u32(r);
    uint8_t kind = rk_get_u8(r);
    row.tombstone = kind == KIND_DELETE;
    if (kind == KIND_PUT) {
        row.create_revision = rk_get_u64(r);
        row.version = rk_get_u64(r);
        row.lease = rk_get_u64(r);
        row.value = rk_get_block(r, RK_REQUEST_BYTES_MAX);
    }
    if (!rk_reader_ok(r) || (kind != KIND_PUT && kind != KIND_DELETE) || row.key.len == 0)
        return -EBADMSG;
    *ret = row;
    return 0;
}

int mvcc_stream_get_tail(struct rk_reader *r, struct mvcc_stream_tail *ret)
{
    struct mvcc_stream_tail tail = {.rows = rk_get_u64(r)};
    tail.crc = rk_get_u32(r);
    if (!rk_reader_done(r))
        return -EBADMSG;
    *ret = tail;
    return 0;
}
