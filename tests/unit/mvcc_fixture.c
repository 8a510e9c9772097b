/* tests/unit/mvcc_fixture.c - a group on a real store in a temporary directory. */
#include "tests/unit/mvcc_fixture.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/mvcc/mvcc_rows.h"

static void open_store(struct fixture *f)
{
    char *error = NULL;
    const struct store_rows_config config = {.cache_bytes = 16u * 1024 * 1024};
    if (store_dir_open(f->path, &f->dir, &error) != 0)
        fail_msg("%s", error ? error : "store_dir_open failed");
    if (store_rows_open(f->dir, &config, NULL, NULL, &f->rows, &error) != 0)
        fail_msg("%s", error ? error : "store_rows_open failed");
    assert_int_equal(mvcc_open(f->rows, FIXTURE_GROUP, &f->mvcc), 0);
}

static void close_store(struct fixture *f)
{
    mvcc_free(f->mvcc);
    store_rows_close(f->rows);
    store_dir_close(f->dir);
}

void fixture_open(struct fixture *f)
{
    *f = (struct fixture){0};
    const char *tmp = getenv("TMPDIR");
    snprintf(f->path, sizeof(f->path), "%.40s/mvcc-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->path));
    open_store(f);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void fixture_close(struct fixture *f)
{
    close_store(f);
    nftw(f->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fixture_reopen(struct fixture *f)
{
    close_store(f);
    open_store(f);
}

void fixture_suspend(struct fixture *f)
{
    close_store(f);
}

void fixture_resume(struct fixture *f)
{
    open_store(f);
}

void fixture_reload(struct fixture *f)
{
    mvcc_free(f->mvcc);
    assert_int_equal(mvcc_open(f->rows, FIXTURE_GROUP, &f->mvcc), 0);
    f->index = fixture_meta(f).applied_index;
}

struct mvcc_op fixture_put(const char *key, const char *value)
{
    return (struct mvcc_op){.kind = MVCC_OP_PUT, .key = rk_slice_str(key), .value = rk_slice_str(value)};
}

struct mvcc_op fixture_del(const char *key, const char *end)
{
    struct mvcc_op op = {.kind = MVCC_OP_DELETE, .key = rk_slice_str(key)};
    if (end)
        op.end = rk_slice_str(end);
    return op;
}

struct mvcc_answer fixture_apply_open(struct fixture *f, const struct mvcc_op *ops, uint32_t count)
{
    const struct mvcc_origin origin = {.member = 1, .incarnation = 2, .sequence = f->index + 1};
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *command = mvcc_command_encode(&origin, ops, count);
    RK_CLEANUP(rk_buf_deinit) struct rk_buf bytes = {0};
    f->index++;
    assert_int_equal(mvcc_apply_command(f->mvcc, f->index, FIXTURE_TERM, rk_blob_slice(command), &bytes), 0);
    struct mvcc_answer answer;
    assert_int_equal(mvcc_answer_decode(rk_buf_slice(&bytes), &answer), 0);
    return answer;
}

struct mvcc_answer fixture_apply(struct fixture *f, const struct mvcc_op *ops, uint32_t count)
{
    assert_int_equal(mvcc_begin(f->mvcc), 0);
    struct mvcc_answer answer = fixture_apply_open(f, ops, count);
    assert_int_equal(mvcc_commit(f->mvcc), 0);
    return answer;
}

uint64_t fixture_do_put(struct fixture *f, const char *key, const char *value)
{
    struct mvcc_op op = fixture_put(key, value);
    struct mvcc_answer answer = fixture_apply(f, &op, 1);
    assert_int_equal(answer.outcome, MVCC_OK);
    return answer.revision;
}

uint64_t fixture_do_del(struct fixture *f, const char *key, const char *end)
{
    struct mvcc_op op = fixture_del(key, end);
    struct mvcc_answer answer = fixture_apply(f, &op, 1);
    assert_int_equal(answer.outcome, MVCC_OK);
    return answer.revision;
}

struct mvcc_result fixture_query(struct fixture *f, const struct mvcc_query *query, struct rk_buf *buf)
{
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *blob = mvcc_query_encode(query);
    rk_buf_clear(buf);
    assert_int_equal(mvcc_query_run(f->mvcc, rk_blob_slice(blob), buf), 0);
    struct mvcc_result result;
    assert_int_equal(mvcc_result_decode(rk_buf_slice(buf), &result), 0);
    return result;
}

bool fixture_get(struct fixture *f, const char *key, uint64_t revision, struct mvcc_kv *ret,
                 struct rk_buf *buf)
{
    const struct mvcc_query query = {.key = rk_slice_str(key), .revision = revision};
    struct mvcc_result result = fixture_query(f, &query, buf);
    assert_int_equal(result.outcome, MVCC_OK);
    int r = mvcc_result_next(&result, ret);
    assert_true(r == 0 || r == 1);
    return r == 1;
}

struct mvcc_meta fixture_meta(struct fixture *f)
{
    struct mvcc_meta meta;
    mvcc_meta(f->mvcc, &meta);
    return meta;
}

void fixture_dump(struct fixture *f, struct rk_buf *ret)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf prefix = {0};
    struct store_cursor *cursor;
    rk_put_u32(&prefix, FIXTURE_GROUP);
    rk_buf_clear(ret);
    assert_int_equal(store_cursor_open(f->rows, &cursor), 0);
    int r = store_cursor_seek(cursor, rk_buf_slice(&prefix));
    for (; r == 0; r = store_cursor_next(cursor)) {
        struct rk_slice key = store_cursor_key(cursor);
        if (!rk_slice_has_prefix(key, rk_buf_slice(&prefix)))
            break;
        rk_put_block(ret, rk_slice(key.data + 4, key.len - 4));
        rk_put_block(ret, store_cursor_value(cursor));
    }
    assert_true(r == 0 || r == STORE_E_END);
    store_cursor_close(cursor);
}

void fixture_assert_same_rows(struct fixture *a, struct fixture *b)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf dump_a = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf dump_b = {0};
    fixture_dump(a, &dump_a);
    fixture_dump(b, &dump_b);
    assert_true(rk_slice_eq(rk_buf_slice(&dump_a), rk_buf_slice(&dump_b)));
}

void fixture_snapshot(struct fixture *f, size_t slice_bytes, struct rk_buf *ret)
{
    struct mvcc_snapshot *snapshot;
    assert_int_equal(mvcc_snapshot_open(f->mvcc, 99, &snapshot), 0);
    rk_buf_clear(ret);
    int r;
    while ((r = mvcc_snapshot_next(snapshot, slice_bytes, ret)) == 0)
        ;
    assert_int_equal(r, 1);
    mvcc_snapshot_close(snapshot);
}

void fixture_install(struct fixture *f, struct rk_slice stream, size_t slice_bytes)
{
    assert_int_equal(mvcc_install_begin(f->mvcc), 0);
    for (size_t at = 0; at < stream.len; at += slice_bytes) {
        size_t n = rk_min_u64(slice_bytes, stream.len - at);
        assert_int_equal(mvcc_install_feed(f->mvcc, rk_slice(stream.data + at, n)), 0);
    }
    assert_int_equal(mvcc_install_end(f->mvcc), 0);
    f->index = fixture_meta(f).applied_index;
}

void fixture_assert_slice(struct rk_slice s, const char *expected)
{
    assert_int_equal(s.len, strlen(expected));
    assert_memory_equal(s.data, expected, s.len);
}

void fixture_fill(struct fixture *f, unsigned commands)
{
    char key[16], value[32];
    assert_int_equal(mvcc_begin(f->mvcc), 0);
    assert_int_equal(mvcc_apply_members(f->mvcc, ++f->index, FIXTURE_TERM, rk_slice_str("the members")), 0);
    for (unsigned i = 0; i < commands; i++) {
        snprintf(key, sizeof(key), "k%u", i * 7 % 23);
        snprintf(value, sizeof(value), "value %u", i);
        const struct mvcc_op ops[2] = {i % 6 == 5 ? fixture_del(key, i % 12 == 5 ? "k9" : NULL)
                                                  : fixture_put(key, value),
                                       fixture_put("x", value)};
        assert_int_equal(fixture_apply_open(f, ops, i % 4 ? 1 : 2).outcome, MVCC_OK);
    }
    assert_int_equal(mvcc_commit(f->mvcc), 0);
}

int fixture_verify(struct rk_slice stream, size_t slice_bytes)
{
    struct mvcc_verify *v = mvcc_verify_new();
    int r = 0;
    for (size_t at = 0; at < stream.len && r == 0; at += slice_bytes)
        r = mvcc_verify_feed(v, rk_slice(stream.data + at, rk_min_u64(slice_bytes, stream.len - at)));
    if (r == 0 && !mvcc_verify_complete(v))
        r = -ENODATA;
    if (r == -EBADMSG) { /* and it stays so */
        assert_false(mvcc_verify_complete(v));
        assert_int_equal(mvcc_verify_feed(v, rk_slice_str("more")), -EBADMSG);
    }
    mvcc_verify_free(v);
    return r;
}
