/* lib/mvcc/mvcc_snapshot.c - writing a snapshot stream, slice by slice.
 *
 * No keys are copied or held at the start: history is kept, so the state at a
 * revision can still be read when many more entries have been applied. Each call
 * opens a cursor, goes back to where the last one stopped and leaves out rows of
 * later revisions. (When history is compacted one day, the compaction has to stay
 * behind the oldest open snapshot.) What is kept for exactly-once has no history, and
 * is small: that is copied. */
#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/mvcc/mvcc_state.h"
#include "lib/mvcc/mvcc_stream.h"

/* Rows looked at in one call: bounds the time where all rows are newer than the snapshot. */
#define LOOKED_MAX RK_RANGE_KEYS_MAX
/* Of the first blocks in one call: a few large pieces, however small the caller's are. */
#define HEAD_BYTES_MIN 65536u

struct mvcc_snapshot {
    struct mvcc *mvcc;
    uint64_t installs; /* as it was when the rows were those of this snapshot */
    struct mvcc_snapshot_info info;
    struct rk_buf members;
    struct rk_buf position; /* row key to go on from */
    struct rk_buf table;    /* beginning of the row keys of the keys table */
    struct rk_buf head;     /* first blocks: what must be as of now, and cannot be read later */
    struct rk_buf rows;     /* of the block that is being filled */
    struct rk_buf key_buf;
    uint64_t row_count;
    uint32_t crc;
    bool rows_done, tail_written;
};

int mvcc_snapshot_open(struct mvcc *mvcc, uint64_t cluster_id, struct mvcc_snapshot **ret)
{
    rk_assert(!mvcc->in_txn && !mvcc->install_pending);
    if (mvcc->failed)
        return mvcc->failed;
    struct mvcc_snapshot *s = RK_NEW(struct mvcc_snapshot);
    s->mvcc = mvcc;
    s->installs = mvcc->installs;
    rk_buf_append_slice(&s->members, rk_buf_slice(&mvcc->members));
    s->info = (struct mvcc_snapshot_info){
        .group = mvcc->group,
        .cluster_id = cluster_id,
        .index = mvcc->applied.index - RK_PLANT(SNAPSHOT_INDEX_WRONG),
        .term = mvcc->applied.term,
        .revision = mvcc->applied.revision,
        .keys = mvcc->applied.keys,
        .hash = mvcc->applied.hash,
        .members_index = mvcc->members_index,
        .members = rk_buf_slice(&s->members),
    };
    mvcc_row_table(&s->table, mvcc->group, MVCC_TABLE_KEYS);
    rk_buf_append_slice(&s->position, rk_buf_slice(&s->table));
    mvcc_stream_put_head(&s->head, &s->info, &s->crc);
    mvcc_once_put_blocks(&mvcc->once, &s->head, &s->crc);
    *ret = s;
    return 0;
}

void mvcc_snapshot_close(struct mvcc_snapshot *snapshot)
{
    if (!snapshot)
        return;
    rk_buf_deinit(&snapshot->members);
    rk_buf_deinit(&snapshot->position);
    rk_buf_deinit(&snapshot->table);
    rk_buf_deinit(&snapshot->head);
    rk_buf_deinit(&snapshot->rows);
    rk_buf_deinit(&snapshot->key_buf);
    free(snapshot);
}

const struct mvcc_snapshot_info *mvcc_snapshot_info(const struct mvcc_snapshot *snapshot)
{
    return &snapshot->info;
}

/* Takes the row that the cursor stands on, moves the cursor on, and notes the position behind what was dealt
 * with. Returns as the cursor's moves do. */
static int take_row(struct mvcc_snapshot *s, struct store_cursor *cursor)
{
    struct rk_slice row_key = store_cursor_key(cursor), head = mvcc_row_head(row_key);
    if (head.len == 0)
        return -EBADMSG;
    if (mvcc_row_revision(row_key) > s->info.revision) {
        mvcc_row_seek_revision(&s->position, head, s->info.revision);
        return store_cursor_seek(cursor, rk_buf_slice(&s->position));
    }
    struct mvcc_row row;
    int r = mvcc_row_decode(row_key, store_cursor_value(cursor), &s->key_buf, &row);
    if (r < 0)
        return r;
    mvcc_stream_put_row(&s->rows, &row);
    s->row_count++;
    rk_buf_clear(&s->position);
    rk_buf_append_slice(&s->position, row_key);
    rk_put_u8(&s->position, 0); /* nothing is between a row key and the same with a zero behind it */
    return store_cursor_next(cursor);
}

/* Up to about max_bytes of rows from the position on. */
static int gather_rows(struct mvcc_snapshot *s, struct store_cursor *cursor, size_t max_bytes,
                       uint32_t *looked)
{
    int r = store_cursor_seek(cursor, rk_buf_slice(&s->position));
    while (r == 0 && s->rows.len < max_bytes && *looked < LOOKED_MAX) {
        if (!rk_slice_has_prefix(store_cursor_key(cursor), rk_buf_slice(&s->table)))
            break;
        ++*looked;
        r = take_row(s, cursor);
    }
    if (r != 0 && r != STORE_E_END)
        return mvcc_store_error(r);
    s->rows_done =
        r == STORE_E_END || !rk_slice_has_prefix(store_cursor_key(cursor), rk_buf_slice(&s->table));
    return 0;
}

static int write_blocks(struct mvcc_snapshot *s, size_t max_bytes, struct rk_buf *out)
{
    RK_CLEANUP(mvcc_cursor_closep) struct store_cursor *cursor = NULL;
    size_t end = out->len + max_bytes;
    uint32_t looked = 0;
    int r = store_cursor_open(s->mvcc->rows, &cursor);
    if (r != 0)
        return mvcc_store_error(r);
    while (!s->rows_done && out->len < end && looked < LOOKED_MAX) {
        r = gather_rows(s, cursor, rk_min_u64(end - out->len, RK_SNAPSHOT_CHUNK_BYTES), &looked);
        if (r < 0)
            return r;
        if (s->rows.len > 0)
            mvcc_stream_put_rows(out, rk_buf_slice(&s->rows), &s->crc);
        rk_buf_clear(&s->rows);
    }
    return 0;
}

/* What was made at the start, in pieces. False: there is more of it. */
static bool write_head(struct mvcc_snapshot *s, size_t max_bytes, struct rk_buf *out)
{
    struct rk_slice head = rk_buf_slice(&s->head);
    size_t n = rk_min_u64(head.len, rk_max_u64(max_bytes, HEAD_BYTES_MIN));
    if (n == 0)
        return true;
    rk_buf_append(out, head.data, n);
    rk_buf_consume(&s->head, n);
    if (s->head.len > 0)
        return false;
    rk_buf_deinit(&s->head);
    return true;
}

int mvcc_snapshot_next(struct mvcc_snapshot *snapshot, size_t max_bytes, struct rk_buf *out)
{
    struct mvcc_snapshot *s = snapshot;
    rk_assert(max_bytes > 0 && !s->tail_written);
    if (s->installs != s->mvcc->installs)
        return -ESTALE;
    if (!write_head(s, max_bytes, out))
        return 0;
    if (!s->rows_done) {
        int r = write_blocks(s, max_bytes, out);
        if (r < 0)
            return r;
    }
    if (!s->rows_done)
        return 0;
    mvcc_stream_put_tail(out, s->row_count, s->crc);
    s->tail_written = true;
    return 1;
}
