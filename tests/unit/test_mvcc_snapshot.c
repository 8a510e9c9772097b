/* tests/unit/test_mvcc_snapshot.c - snapshot streams: written, installed, interrupted. */
#include "tests/unit/mvcc_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/mvcc/mvcc_stream.h"

static int setup(void **state)
{
    struct fixture *f = RK_NEW(struct fixture);
    fixture_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

/* ---- writing and installing ----------------------------------------------------------- */

static void an_installed_snapshot_has_the_same_rows(void **state)
{
    struct fixture *a = *state, b;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    fixture_open(&b);
    fixture_fill(a, 500);
    fixture_fill(&b, 37); /* rows of an older life that must be gone */
    fixture_do_put(&b, "zzz", "only here");
    fixture_snapshot(a, 1000, &stream);
    assert_int_equal(fixture_verify(rk_buf_slice(&stream), 777), 0);
    fixture_install(&b, rk_buf_slice(&stream), 777);
    assert_false(mvcc_install_pending(b.mvcc));
    fixture_assert_same_rows(a, &b);
    fixture_reopen(&b);
    fixture_assert_same_rows(a, &b);
    struct mvcc_meta meta_a = fixture_meta(a), meta_b = fixture_meta(&b);
    assert_true(meta_a.applied_index == meta_b.applied_index && meta_a.applied_term == meta_b.applied_term);
    assert_true(meta_a.revision == meta_b.revision && meta_a.keys == meta_b.keys);
    assert_true(mvcc_digest(a->mvcc) == mvcc_digest(b.mvcc));
    fixture_assert_slice(meta_b.members, "the members");
    /* Both go on alike. */
    assert_int_equal(fixture_do_put(a, "k1", "after"), fixture_do_put(&b, "k1", "after"));
    fixture_assert_same_rows(a, &b);
    assert_true(mvcc_digest(a->mvcc) == mvcc_digest(b.mvcc));
    fixture_close(&b);
}

/* One bit of one value, below everything that counts: the digest says what the rows were, not what they are.
 */
static void a_row_that_was_changed_behind_our_back_is_seen_in_the_stream(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf key = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf value = {0};
    uint64_t digest;
    fixture_fill(f, 100);
    uint64_t revision = fixture_do_put(f, "rot", "value");
    digest = mvcc_digest(f->mvcc);
    mvcc_row_key(&key, FIXTURE_GROUP, rk_slice_str("rot"), revision, 0);
    assert_int_equal(store_rows_begin(f->rows), 0);
    assert_int_equal(store_rows_get(f->rows, rk_buf_slice(&key), &value), 0);
    value.data[value.start + value.len - 1] ^= 1;
    assert_int_equal(store_rows_put(f->rows, rk_buf_slice(&key), rk_buf_slice(&value)), 0);
    assert_int_equal(store_rows_commit(f->rows), 0);
    fixture_reopen(f);
    assert_true(mvcc_digest(f->mvcc) == digest);
    fixture_snapshot(f, 1000, &stream);
    assert_int_equal(fixture_verify(rk_buf_slice(&stream), stream.len), -EBADMSG);
}

static void an_empty_group_has_a_snapshot(void **state)
{
    struct fixture *a = *state, b;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    fixture_snapshot(a, 1, &stream);
    assert_int_equal(fixture_verify(rk_buf_slice(&stream), 1), 0);
    fixture_open(&b);
    fixture_fill(&b, 10);
    fixture_install(&b, rk_buf_slice(&stream), 5);
    fixture_assert_same_rows(a, &b);
    fixture_close(&b);
    assert_int_equal(mvcc_bootstrap(a->mvcc, 1, 1, rk_slice_str("m")), 0);
    fixture_snapshot(a, 1, &stream);
    fixture_open(&b);
    fixture_install(&b, rk_buf_slice(&stream), 50);
    fixture_assert_same_rows(a, &b);
    fixture_close(&b);
}

static void a_snapshot_stays_at_its_revision_while_entries_are_applied(void **state)
{
    struct fixture *a = *state, b, at_open;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    struct mvcc_snapshot *snapshot;
    fixture_open(&b);
    fixture_open(&at_open);
    fixture_fill(a, 300);
    fixture_fill(&at_open, 300);
    assert_int_equal(mvcc_snapshot_open(a->mvcc, 99, &snapshot), 0);
    int r;
    for (unsigned i = 0; (r = mvcc_snapshot_next(snapshot, 200, &stream)) == 0; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i % 30); /* old keys, new keys, before and behind the position */
        fixture_do_put(a, key, "later");
        fixture_do_put(a, "a", "later");
        fixture_do_del(a, "k2", "k3");
        fixture_do_put(a, "zz", "later");
        fixture_do_del(a, "zz", NULL);
    }
    assert_int_equal(r, 1);
    assert_int_equal(mvcc_snapshot_info(snapshot)->revision, fixture_meta(&at_open).revision);
    mvcc_snapshot_close(snapshot);
    fixture_install(&b, rk_buf_slice(&stream), 1000);
    fixture_assert_same_rows(&at_open, &b);
    fixture_close(&at_open);
    fixture_close(&b);
}

static void a_snapshot_gets_past_any_number_of_newer_keys(void **state)
{
    struct fixture *a = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    struct mvcc_snapshot *snapshot;
    char key[16];
    fixture_do_put(a, "z", "1");
    assert_int_equal(mvcc_snapshot_open(a->mvcc, 99, &snapshot), 0);
    assert_int_equal(mvcc_begin(a->mvcc), 0);
    for (unsigned i = 0; i < RK_RANGE_KEYS_MAX * 2; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        struct mvcc_op op = fixture_put(key, "");
        fixture_apply_open(a, &op, 1);
    }
    assert_int_equal(mvcc_commit(a->mvcc), 0);
    unsigned calls = 1;
    while (mvcc_snapshot_next(snapshot, 1000, &stream) == 0)
        calls++;
    assert_int_equal(calls, 3);
    mvcc_snapshot_close(snapshot);
    assert_int_equal(fixture_verify(rk_buf_slice(&stream), 1000), 0);
}

static void the_largest_row_fits_a_block(void **state)
{
    struct fixture *a = *state, b;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    struct rk_blob *key = rk_blob_new(RK_KEY_BYTES_MAX),
                   *value = rk_blob_new(RK_REQUEST_BYTES_MAX - RK_KEY_BYTES_MAX);
    memset(key->data, 0, key->len);
    memset(value->data, 0xff, value->len);
    const struct mvcc_op op = {.kind = MVCC_OP_PUT, .key = rk_blob_slice(key), .value = rk_blob_slice(value)};
    /* As much as goes into a block before it, so that this block is the longest. */
    fixture_do_put(a, "\1", "");
    struct rk_blob *before = rk_blob_new(RK_SNAPSHOT_CHUNK_BYTES - 200);
    memset(before->data, 'b', before->len);
    struct mvcc_op first = {.kind = MVCC_OP_PUT, .key = rk_slice("\0", 1), .value = rk_blob_slice(before)};
    assert_int_equal(fixture_apply(a, &first, 1).outcome, MVCC_OK);
    assert_int_equal(fixture_apply(a, &op, 1).outcome, MVCC_OK);
    assert_int_equal(fixture_apply(a, &op, 1).outcome, MVCC_OK);
    fixture_open(&b);
    fixture_snapshot(a, 100 * 1000 * 1000, &stream);
    assert_int_equal(fixture_verify(rk_buf_slice(&stream), stream.len), 0);
    fixture_install(&b, rk_buf_slice(&stream), RK_SNAPSHOT_CHUNK_BYTES);
    fixture_assert_same_rows(a, &b);
    fixture_close(&b);
    rk_blob_unref(before);
    rk_blob_unref(key);
    rk_blob_unref(value);
}

static void info_is_there_once_the_head_was_read(void **state)
{
    struct fixture *a = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    fixture_fill(a, 20);
    fixture_snapshot(a, 1000, &stream);
    struct mvcc_verify *v = mvcc_verify_new();
    size_t head = MVCC_BLOCK_HEADER + rk_load_u32(stream.data);
    for (size_t i = 0; i < head; i++) {
        assert_null(mvcc_verify_info(v));
        assert_int_equal(mvcc_verify_feed(v, rk_slice(stream.data + i, 1)), 0);
    }
    const struct mvcc_snapshot_info *info = mvcc_verify_info(v);
    assert_non_null(info);
    assert_true(info->group == FIXTURE_GROUP && info->cluster_id == 99 && info->index == 21);
    assert_true(info->term == FIXTURE_TERM && info->members_index == 1);
    fixture_assert_slice(info->members, "the members");
    assert_false(mvcc_verify_complete(v));
    mvcc_verify_free(v);
}

static void a_snapshot_does_not_outlive_the_rows_it_reads(void **state)
{
    struct fixture *a = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf rest = {0};
    struct mvcc_snapshot *snapshot;
    fixture_fill(a, 100);
    fixture_snapshot(a, 1000, &stream);
    assert_int_equal(mvcc_snapshot_open(a->mvcc, 99, &snapshot), 0);
    assert_int_equal(mvcc_snapshot_next(snapshot, 10, &rest), 0);
    fixture_install(a, rk_buf_slice(&stream), 1000);
    assert_int_equal(mvcc_snapshot_next(snapshot, 10, &rest), -ESTALE);
    mvcc_snapshot_close(snapshot);
}

/* ---- interrupted installs ---------------------------------------------------------------- */

static void a_crash_in_an_install_is_noticed_and_the_next_one_is_right(void **state)
{
    struct fixture *a = *state, b;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    fixture_fill(a, 200);
    fixture_snapshot(a, 500, &stream);
    fixture_open(&b);
    fixture_fill(&b, 50);
    size_t slice = stream.len / 6;
    for (size_t stop = 0; stop <= stream.len; stop += slice) {
        assert_int_equal(mvcc_install_begin(b.mvcc), 0);
        for (size_t at = 0; at < stop; at += slice)
            assert_int_equal(mvcc_install_feed(b.mvcc, rk_slice(stream.data + at, slice)), 0);
        fixture_reopen(&b);
        assert_true(mvcc_install_pending(b.mvcc));
        assert_true(fixture_meta(&b).applied_index == 0 && fixture_meta(&b).revision == 1);
    }
    fixture_install(&b, rk_buf_slice(&stream), 1000);
    fixture_reopen(&b);
    assert_false(mvcc_install_pending(b.mvcc));
    fixture_assert_same_rows(a, &b);
    fixture_close(&b);
}

/* In a process of its own that ends without closing anything: the host's rows then are what was flushed, if
 * not more. */
static void install_and_die(struct fixture *b, struct rk_slice stream, bool whole)
{
    fixture_suspend(b);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fixture_resume(b);
        if (whole)
            fixture_install(b, stream, 300);
        else if (mvcc_install_begin(b->mvcc) != 0 ||
                 mvcc_install_feed(b->mvcc, rk_slice(stream.data, stream.len / 2)) != 0)
            _exit(1);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    fixture_resume(b);
}

static void the_mark_and_the_end_of_an_install_survive_a_kill(void **state)
{
    struct fixture *a = *state, b;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    fixture_fill(a, 200);
    fixture_snapshot(a, 500, &stream);
    fixture_open(&b);
    fixture_fill(&b, 50);
    install_and_die(&b, rk_buf_slice(&stream), false);
    assert_true(mvcc_install_pending(b.mvcc));
    install_and_die(&b, rk_buf_slice(&stream), true);
    assert_false(mvcc_install_pending(b.mvcc));
    fixture_assert_same_rows(a, &b);
    fixture_close(&b);
}

static void an_install_that_is_not_complete_does_not_end(void **state)
{
    struct fixture *a = *state, b;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    fixture_fill(a, 50);
    fixture_snapshot(a, 500, &stream);
    fixture_open(&b);
    assert_int_equal(mvcc_install_begin(b.mvcc), 0);
    assert_int_equal(mvcc_install_end(b.mvcc), -EBADMSG);
    assert_int_equal(mvcc_install_feed(b.mvcc, rk_slice(stream.data, stream.len - 1)), 0);
    assert_int_equal(mvcc_install_end(b.mvcc), -EBADMSG);
    assert_true(mvcc_install_pending(b.mvcc));
    assert_int_equal(mvcc_install_feed(b.mvcc, rk_slice(stream.data + stream.len - 1, 1)), 0);
    assert_int_equal(mvcc_install_end(b.mvcc), 0);
    fixture_assert_same_rows(a, &b);
    fixture_close(&b);
}

static void a_broken_stream_stays_broken_and_another_may_follow(void **state)
{
    struct fixture *a = *state, b;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    fixture_fill(a, 50);
    fixture_snapshot(a, 500, &stream);
    fixture_open(&b);
    assert_int_equal(mvcc_install_begin(b.mvcc), 0);
    assert_int_equal(mvcc_install_feed(b.mvcc, rk_slice(stream.data, 900)), 0);
    assert_int_equal(mvcc_install_feed(b.mvcc, rk_slice(stream.data, stream.len)), -EBADMSG);
    assert_int_equal(mvcc_install_feed(b.mvcc, rk_slice(stream.data, 1)), -EBADMSG);
    assert_int_equal(mvcc_install_end(b.mvcc), -EBADMSG);
    fixture_install(&b, rk_buf_slice(&stream), 1000);
    fixture_assert_same_rows(a, &b);
    fixture_close(&b);
}

static void a_stream_of_another_group_is_refused(void **state)
{
    struct fixture *a = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    struct mvcc *other;
    fixture_fill(a, 5);
    fixture_snapshot(a, 500, &stream);
    assert_int_equal(mvcc_open(a->rows, FIXTURE_GROUP + 1, &other), 0);
    assert_int_equal(mvcc_install_begin(other), 0);
    assert_int_equal(mvcc_install_feed(other, rk_buf_slice(&stream)), -EBADMSG);
    assert_int_equal(mvcc_install_end(other), -EBADMSG);
    mvcc_free(other);
}

static void an_install_leaves_other_groups_alone(void **state)
{
    struct fixture *a = *state, b;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    struct mvcc *other;
    fixture_fill(a, 100);
    fixture_snapshot(a, 500, &stream);
    fixture_open(&b);
    assert_int_equal(mvcc_open(b.rows, FIXTURE_GROUP + 1, &other), 0);
    struct fixture neighbour = {.rows = b.rows, .mvcc = other};
    fixture_do_put(&neighbour, "a", "1");
    assert_int_equal(mvcc_install_begin(b.mvcc), 0);
    assert_int_equal(mvcc_install_feed(b.mvcc, rk_slice(stream.data, stream.len / 2)), 0);
    fixture_do_put(&neighbour, "b", "1"); /* between two feeds */
    assert_int_equal(
        mvcc_install_feed(b.mvcc, rk_slice(stream.data + stream.len / 2, stream.len - stream.len / 2)), 0);
    assert_int_equal(mvcc_install_end(b.mvcc), 0);
    struct mvcc_kv kv;
    assert_true(fixture_get(&neighbour, "a", 0, &kv, &buf) && fixture_get(&neighbour, "b", 0, &kv, &buf));
    fixture_assert_same_rows(a, &b);
    mvcc_free(other);
    fixture_close(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_installed_snapshot_has_the_same_rows),
        TEST(a_row_that_was_changed_behind_our_back_is_seen_in_the_stream),
        TEST(an_empty_group_has_a_snapshot),
        TEST(a_snapshot_stays_at_its_revision_while_entries_are_applied),
        TEST(a_snapshot_gets_past_any_number_of_newer_keys),
        TEST(the_largest_row_fits_a_block),
        TEST(info_is_there_once_the_head_was_read),
        TEST(a_snapshot_does_not_outlive_the_rows_it_reads),
        TEST(a_crash_in_an_install_is_noticed_and_the_next_one_is_right),
        TEST(the_mark_and_the_end_of_an_install_survive_a_kill),
        TEST(an_install_that_is_not_complete_does_not_end),
        TEST(a_broken_stream_stays_broken_and_another_may_follow),
        TEST(a_stream_of_another_group_is_refused),
        TEST(an_install_leaves_other_groups_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
