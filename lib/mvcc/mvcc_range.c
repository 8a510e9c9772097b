/* lib/mvcc/mvcc_range.c - reading keys, now or as they were.
 *
 * A query, all numbers big endian:
 *
 *     version   1 byte, 1
 *     flags     1 byte: 1 keys only, 2 count only
 *     revision  8 bytes
 *     limit     4 bytes
 *     key, end  a length of 4 bytes and the bytes, each
 *
 * A result:
 *
 *     version   1 byte, 1
 *     outcome   1 byte, enum mvcc_command_outcome; after any but MVCC_OK the
 *               numbers below are zero but for the revision
 *     flags     1 byte: 1 more
 *     revision  8 bytes
 *     count     8 bytes
 *     kvs       4 bytes: how many keys follow
 *     bytes     4 bytes: how many bytes they are
 *     kvs times: create revision, mod revision, version, lease (8 bytes each),
 *               key, value
 *     next key  behind them, since it is known last; empty when not more
 *
 * where keys and values are a length of 4 bytes and the bytes. */
#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/mvcc/mvcc_scan.h"
#include "lib/mvcc/mvcc_state.h"

#define QUERY_VERSION   1u
#define RESULT_VERSION  1u
#define FLAG_KEYS_ONLY  1u
#define FLAG_COUNT_ONLY 2u
#define FLAG_MORE       1u
/* Of a result: version, outcome, flags, revision, count, kvs, bytes. */
#define RESULT_HEADER 27u
#define KV_BYTES_MIN  40u

/* ---- queries -------------------------------------------------------------------- */

struct rk_blob *mvcc_query_encode(const struct mvcc_query *query)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    rk_put_u8(&buf, QUERY_VERSION);
    rk_put_u8(&buf,
              (uint8_t)((query->keys_only ? FLAG_KEYS_ONLY : 0) | (query->count_only ? FLAG_COUNT_ONLY : 0)));
    rk_put_u64(&buf, query->revision);
    rk_put_u32(&buf, query->limit);
    rk_put_block(&buf, query->key);
    rk_put_block(&buf, query->end);
    return rk_blob_copy(rk_buf_slice(&buf));
}

int mvcc_query_decode(struct rk_slice bytes, struct mvcc_query *ret)
{
    struct rk_reader r = rk_reader(bytes);
    uint8_t version = rk_get_u8(&r), flags = rk_get_u8(&r);
    struct mvcc_query query = {.revision = rk_get_u64(&r)};
    query.limit = rk_get_u32(&r);
    query.key = rk_get_block(&r, RK_REQUEST_BYTES_MAX);
    query.end = rk_get_block(&r, RK_REQUEST_BYTES_MAX);
    query.keys_only = flags & FLAG_KEYS_ONLY;
    query.count_only = flags & FLAG_COUNT_ONLY;
    if (!rk_reader_done(&r) || version != QUERY_VERSION || flags > (FLAG_KEYS_ONLY | FLAG_COUNT_ONLY))
        return -EBADMSG;
    *ret = query;
    return 0;
}

void mvcc_prefix_end(struct rk_slice prefix, struct rk_buf *ret)
{
    size_t len = prefix.len;
    while (len > 0 && prefix.data[len - 1] == 0xff)
        len--;
    rk_buf_clear(ret);
    if (len == 0) {
        rk_put_u8(ret, 0);
        return;
    }
    rk_buf_append(ret, prefix.data, len - 1);
    rk_put_u8(ret, (uint8_t)(prefix.data[len - 1] + 1));
}

static enum mvcc_command_outcome check_query(const struct mvcc *mvcc, const struct mvcc_query *query)
{
    if (query->key.len == 0)
        return MVCC_E_KEY_EMPTY;
    if (query->key.len > RK_KEY_BYTES_MAX + 1 || query->end.len > RK_KEY_BYTES_MAX + 1)
        return MVCC_E_KEY_TOO_LONG;
    return query->revision > mvcc->applied.revision ? MVCC_E_FUTURE_REVISION : MVCC_OK;
}

/* ---- running one ------------------------------------------------------------------ */

struct run {
    const struct mvcc_query *query;
    struct mvcc_scan scan;
    struct rk_buf key_buf;
    struct rk_buf *out;
    uint32_t limit;
    uint64_t count;
    uint32_t kvs;
    size_t bytes; /* of them */
    bool more;    /* and key_buf is where */
};

static void put_kv(struct run *run, const struct mvcc_row *row, size_t value_len)
{
    rk_put_u64(run->out, row->create_revision);
    rk_put_u64(run->out, row->revision);
    rk_put_u64(run->out, row->version);
    rk_put_u64(run->out, row->lease);
    rk_put_block(run->out, row->key);
    rk_put_block(run->out, rk_slice(row->value.data, value_len));
    run->kvs++;
}

/* Takes the live key where the scan stands, or finds that the answer is full. */
static void take(struct run *run, const struct mvcc_row *row)
{
    size_t value_len = run->query->keys_only ? 0 : row->value.len;
    size_t bytes = KV_BYTES_MIN + row->key.len + value_len;
    if (!run->query->count_only) {
        if (run->count == run->limit || bytes > RK_RANGE_BYTES_MAX - run->bytes) {
            run->more = true;
            return;
        }
        put_kv(run, row, value_len);
        run->bytes += bytes;
    }
    run->count++;
}

/* One key more than the limit is looked for, so that "more" promises a key whenever deleted ones do not get
 * in the way. */
static int run_scan(struct run *run)
{
    int r;
    for (uint32_t looked = 0; !run->more && (r = mvcc_scan_next(&run->scan)) != 0; looked++) {
        if (r < 0)
            return r;
        struct rk_slice row_key = store_cursor_key(run->scan.cursor);
        struct mvcc_row row;
        r = mvcc_row_decode(row_key, store_cursor_value(run->scan.cursor), &run->key_buf, &row);
        if (r < 0)
            return r;
        if (looked == RK_RANGE_KEYS_MAX)
            run->more = true;
        else if (!row.tombstone)
            take(run, &row);
    }
    return 0;
}

static int run_query(struct mvcc *mvcc, struct run *run)
{
    RK_CLEANUP(mvcc_cursor_closep) struct store_cursor *cursor = NULL;
    int r = store_cursor_open(mvcc->rows, &cursor);
    if (r != 0)
        return mvcc_store_error(r);
    uint64_t revision = run->query->revision ? run->query->revision : MVCC_REVISION_NEWEST;
    mvcc_scan_init(&run->scan, cursor, mvcc->group, run->query->key, run->query->end, revision, false);
    r = run_scan(run);
    mvcc_scan_deinit(&run->scan);
    return r;
}

static void store_header(uint8_t *to, enum mvcc_command_outcome outcome, uint64_t revision,
                         const struct run *run)
{
    to[0] = RESULT_VERSION;
    to[1] = (uint8_t)outcome;
    to[2] = run->more ? FLAG_MORE : 0;
    rk_store_u64(to + 3, revision);
    rk_store_u64(to + 11, run->count);
    rk_store_u32(to + 19, run->kvs);
    rk_store_u32(to + 23, (uint32_t)run->bytes);
}

int mvcc_query_run(struct mvcc *mvcc, struct rk_slice query, struct rk_buf *ret_result)
{
    rk_assert(!mvcc->install_pending);
    struct mvcc_query q = {0};
    struct run run = {.query = &q, .out = ret_result};
    size_t start = ret_result->len;
    rk_buf_reserve(ret_result, RESULT_HEADER);
    rk_buf_commit(ret_result, RESULT_HEADER);
    int r = 0;
    enum mvcc_command_outcome outcome = MVCC_E_MALFORMED;
    if (mvcc_query_decode(query, &q) == 0)
        outcome = check_query(mvcc, &q);
    if (outcome == MVCC_OK) {
        run.limit = q.limit == 0 || q.limit > RK_RANGE_KEYS_MAX ? RK_RANGE_KEYS_MAX : q.limit;
        r = run_query(mvcc, &run);
    }
    rk_put_block(ret_result, run.more ? rk_buf_slice(&run.key_buf) : rk_slice(NULL, 0));
    rk_buf_deinit(&run.key_buf);
    if (r < 0) {
        ret_result->len = start;
        return r;
    }
    store_header(ret_result->data + ret_result->start + start, outcome, mvcc->applied.revision, &run);
    return 0;
}

/* ---- reading the result -------------------------------------------------------------- */

int mvcc_result_decode(struct rk_slice bytes, struct mvcc_result *ret)
{
    struct rk_reader r = rk_reader(bytes);
    uint8_t version = rk_get_u8(&r), outcome = rk_get_u8(&r), flags = rk_get_u8(&r);
    struct mvcc_result result = {.outcome = (enum mvcc_command_outcome)outcome, .more = flags & FLAG_MORE};
    result.revision = rk_get_u64(&r);
    result.count = rk_get_u64(&r);
    result.kvs_left = rk_get_u32(&r);
    result.rest = rk_reader(rk_get_block(&r, RK_RANGE_BYTES_MAX));
    result.next_key = rk_get_block(&r, RK_KEY_BYTES_MAX);
    if (!rk_reader_done(&r) || version != RESULT_VERSION || outcome > MVCC_E_COMPACTED || flags > FLAG_MORE ||
        result.more != (result.next_key.len > 0))
        return -EBADMSG;
    *ret = result;
    return 0;
}

int mvcc_result_next(struct mvcc_result *result, struct mvcc_kv *ret)
{
    struct rk_reader *r = &result->rest;
    if (result->kvs_left == 0)
        return rk_reader_done(r) ? 0 : -EBADMSG;
    struct mvcc_kv kv = {.create_revision = rk_get_u64(r)};
    kv.mod_revision = rk_get_u64(r);
    kv.version = rk_get_u64(r);
    kv.lease = rk_get_u64(r);
    kv.key = rk_get_block(r, RK_KEY_BYTES_MAX);
    kv.value = rk_get_block(r, RK_REQUEST_BYTES_MAX);
    if (!rk_reader_ok(r))
        return -EBADMSG;
    result->kvs_left--;
    *ret = kv;
    return 1;
}
