/* lib/mvcc/mvcc_verify.c - checking a snapshot stream (mvcc_stream.c has its bytes).
 *
 * The bytes come from a peer or a file and are not trusted. CRCs find what went
 * wrong on the way; the rules below find a stream that was made wrong, since rows
 * that no sequence of commands can have made would become the state of a member
 * and from there, as a leader's snapshot, that of others:
 *   - keys ascend, and the versions of a key descend, each strictly;
 *   - the oldest version of a key is a put that creates it;
 *   - a put on a put keeps the create revision and counts the version up by one,
 *     a put on a tombstone creates the key again, a tombstone buries a put;
 *   - no revision is beyond the one in the head, or before the first change;
 *   - what is kept for exactly-once is of this state and before, and bounded;
 *   - as many keys are alive at the end as the head says;
 *   - the rows add up to the hash in the head: whoever wrote the stream has the rows that it should have. */
#include "lib/mvcc/mvcc_verify.h"

#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_crc32c.h"
#include "lib/mvcc/mvcc_hash.h"
#include "lib/mvcc/mvcc_once.h"
#include "lib/mvcc/mvcc_stream.h"

#define REVISION_OF_FIRST_CHANGE 2u

struct mvcc_verify {
    struct rk_buf block; /* bytes of the block that is not complete yet */
    uint32_t crc;        /* over all complete blocks */
    bool broken, have_head, complete;
    struct mvcc_snapshot_info info;
    struct rk_buf members;

    uint64_t row_count, live_keys, hash;
    struct mvcc_row newer; /* the row before: key in newer_key, no value */
    struct rk_buf newer_key;

    struct mvcc_once_seen once_seen;
    struct mvcc_once *once; /* NULL */
    mvcc_row_fn row_fn;
    void *userdata;
};

struct mvcc_verify *mvcc_verify_new(void)
{
    return RK_NEW(struct mvcc_verify);
}

void mvcc_verify_free(struct mvcc_verify *verify)
{
    if (!verify)
        return;
    rk_buf_deinit(&verify->block);
    rk_buf_deinit(&verify->members);
    rk_buf_deinit(&verify->newer_key);
    free(verify);
}

void mvcc_verify_set_rows(struct mvcc_verify *verify, mvcc_row_fn fn, void *userdata)
{
    verify->row_fn = fn;
    verify->userdata = userdata;
}

void mvcc_verify_set_once(struct mvcc_verify *verify, struct mvcc_once *once)
{
    verify->once = once;
}

bool mvcc_verify_complete(const struct mvcc_verify *verify)
{
    return verify->complete && !verify->broken;
}

const struct mvcc_snapshot_info *mvcc_verify_info(const struct mvcc_verify *verify)
{
    return verify->have_head ? &verify->info : NULL;
}

/* ---- rows -------------------------------------------------------------------------- */

static bool row_ok(const struct mvcc_verify *v, const struct mvcc_row *row)
{
    if (row->revision < REVISION_OF_FIRST_CHANGE || row->revision > v->info.revision)
        return false;
    if (row->tombstone)
        return true;
    bool creates = row->create_revision == row->revision;
    return row->version > 0 && row->create_revision >= REVISION_OF_FIRST_CHANGE &&
           row->create_revision <= row->revision && creates == (row->version == 1);
}

/* The last row of a key seen, its oldest. */
static bool oldest_ok(const struct mvcc_verify *v)
{
    return v->row_count == 0 || (!v->newer.tombstone && v->newer.version == 1);
}

static bool versions_ok(const struct mvcc_row *newer, const struct mvcc_row *older)
{
    if (older->revision > newer->revision || (older->revision == newer->revision && older->sub >= newer->sub))
        return false;
    if (newer->tombstone)
        return !older->tombstone;
    if (older->tombstone)
        return newer->version == 1;
    return newer->create_revision == older->create_revision && newer->version == older->version + 1;
}

static void remember(struct mvcc_verify *v, const struct mvcc_row *row, bool same_key)
{
    if (!same_key) {
        rk_buf_clear(&v->newer_key);
        rk_buf_append_slice(&v->newer_key, row->key);
        v->live_keys += !row->tombstone;
    }
    v->newer = *row;
    v->newer.key = rk_buf_slice(&v->newer_key);
    v->newer.value = rk_slice(NULL, 0);
    v->row_count++;
}

static int see_row(struct mvcc_verify *v, const struct mvcc_row *row)
{
    int order = v->row_count > 0 ? rk_slice_cmp(v->newer.key, row->key) : -1;
    if (order > 0 || !row_ok(v, row))
        return -EBADMSG;
    if (order == 0 ? !versions_ok(&v->newer, row) : !oldest_ok(v))
        return -EBADMSG;
    int r = v->row_fn ? v->row_fn(v->userdata, row) : 0;
    if (r < 0)
        return r;
    v->hash += mvcc_hash_row(row);
    remember(v, row, order == 0);
    return 0;
}

/* ---- blocks ------------------------------------------------------------------------ */

static int see_head(struct mvcc_verify *v, struct rk_reader *r)
{
    if (v->have_head || mvcc_stream_get_head(r, &v->info) < 0)
        return -EBADMSG;
    rk_buf_append_slice(&v->members, v->info.members);
    v->info.members = rk_buf_slice(&v->members);
    v->have_head = true;
    return 0;
}

static int see_once(struct mvcc_verify *v, struct rk_reader *r)
{
    if (!v->have_head || v->row_count > 0 || rk_reader_left(r) == 0)
        return -EBADMSG;
    while (rk_reader_left(r) > 0)
        if (mvcc_once_take_record(r, &v->once_seen, v->info.index, v->info.revision, v->once) < 0)
            return -EBADMSG;
    return 0;
}

static int see_rows(struct mvcc_verify *v, struct rk_reader *r)
{
    if (!v->have_head || rk_reader_left(r) == 0)
        return -EBADMSG;
    while (rk_reader_left(r) > 0) {
        struct mvcc_row row;
        if (mvcc_stream_get_row(r, &row) < 0)
            return -EBADMSG;
        int result = see_row(v, &row);
        if (result < 0)
            return result;
    }
    return 0;
}

static int see_tail(struct mvcc_verify *v, struct rk_reader *r)
{
    struct mvcc_stream_tail tail;
    if (!v->have_head || mvcc_stream_get_tail(r, &tail) < 0)
        return -EBADMSG;
    if (tail.rows != v->row_count || tail.crc != v->crc || !oldest_ok(v) || v->live_keys != v->info.keys ||
        v->hash != v->info.hash)
        return -EBADMSG;
    v->complete = true;
    return 0;
}

static int see_block(struct mvcc_verify *v, struct rk_slice block)
{
    struct rk_slice body = rk_slice(block.data + MVCC_BLOCK_HEADER, block.len - MVCC_BLOCK_HEADER);
    if (rk_load_u32(block.data + 4) != rk_crc32c(0, body))
        return -EBADMSG;
    struct rk_reader r = rk_reader(body);
    int result = -EBADMSG;
    switch (rk_get_u8(&r)) {
    case MVCC_BLOCK_HEAD:
        result = see_head(v, &r);
        break;
    case MVCC_BLOCK_ONCE:
        result = see_once(v, &r);
        break;
    case MVCC_BLOCK_ROWS:
        result = see_rows(v, &r);
        break;
    case MVCC_BLOCK_TAIL:
        result = see_tail(v, &r);
        break;
    }
    v->crc = rk_crc32c(v->crc, block);
    return result;
}

/* Bytes that the present block still lacks, as far as is known: first its header, then its body. 0: broken.
 */
static size_t block_lacks(const struct mvcc_verify *v)
{
    if (v->block.len < MVCC_BLOCK_HEADER)
        return MVCC_BLOCK_HEADER - v->block.len;
    size_t body = rk_load_u32(rk_buf_slice(&v->block).data);
    if (body == 0 || body > MVCC_BLOCK_BYTES_MAX)
        return 0;
    return MVCC_BLOCK_HEADER + body - v->block.len;
}

static int feed(struct mvcc_verify *v, struct rk_slice bytes)
{
    while (bytes.len > 0) {
        size_t lacks = block_lacks(v);
        if (lacks == 0 || v->complete)
            return -EBADMSG;
        size_t n = rk_min_u64(lacks, bytes.len);
        rk_buf_append(&v->block, bytes.data, n);
        bytes = rk_slice(bytes.data + n, bytes.len - n);
        if (v->block.len <= MVCC_BLOCK_HEADER || block_lacks(v) > 0)
            continue;
        int r = see_block(v, rk_buf_slice(&v->block));
        if (r < 0)
            return r;
        rk_buf_clear(&v->block);
    }
    return 0;
}

int mvcc_verify_feed(struct mvcc_verify *verify, struct rk_slice bytes)
{
    if (verify->broken)
        return -EBADMSG;
    int r = feed(verify, bytes);
    verify->broken = r < 0;
    return r;
}
