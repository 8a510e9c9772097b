/* tests/unit/test_mvcc_apply.c - what commands do to keys, revisions and the applied index. */
#include "tests/unit/mvcc_fixture.h"

#include <errno.h>
#include <stdio.h>

#include "lib/mvcc/mvcc_rows.h"

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

static void a_store_never_written_is_at_revision_1(void **state)
{
    struct fixture *f = *state;
    struct mvcc_meta meta = fixture_meta(f);
    assert_true(meta.revision == 1 && meta.keys == 0 && meta.applied_index == 0 && meta.members.len == 0);
    RK_CLEANUP(rk_buf_deinit) struct rk_buf dump = {0};
    assert_int_equal(mvcc_begin(f->mvcc), 0);
    assert_int_equal(mvcc_commit(f->mvcc), 0);
    fixture_dump(f, &dump);
    assert_int_equal(dump.len, 0);
    assert_int_equal(fixture_do_put(f, "a", "1"), 2);
}

static void a_put_counts_revision_and_version(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    struct mvcc_kv kv;
    fixture_do_put(f, "a", "1");
    fixture_do_put(f, "b", "1");
    struct mvcc_op op = fixture_put("a", "2");
    op.lease = 55;
    assert_int_equal(fixture_apply(f, &op, 1).revision, 4);
    assert_true(fixture_get(f, "a", 0, &kv, &buf));
    assert_true(kv.create_revision == 2 && kv.mod_revision == 4 && kv.version == 2 && kv.lease == 55);
    fixture_assert_slice(kv.value, "2");
    fixture_assert_slice(kv.key, "a");
    assert_true(fixture_get(f, "a", 3, &kv, &buf));
    assert_true(kv.create_revision == 2 && kv.mod_revision == 2 && kv.version == 1 && kv.lease == 0);
    assert_false(fixture_get(f, "b", 2, &kv, &buf));
    assert_int_equal(fixture_meta(f).keys, 2);
}

static void the_same_value_again_is_a_new_revision(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fixture_do_put(f, "a", "1"), 2);
    assert_int_equal(fixture_do_put(f, "a", "1"), 3);
}

static void a_put_on_a_deleted_key_starts_a_new_life(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    struct mvcc_kv kv;
    fixture_do_put(f, "a", "1");
    fixture_do_put(f, "a", "2");
    assert_int_equal(fixture_do_del(f, "a", NULL), 4);
    assert_false(fixture_get(f, "a", 0, &kv, &buf));
    assert_int_equal(fixture_meta(f).keys, 0);
    assert_int_equal(fixture_do_put(f, "a", "3"), 5);
    assert_true(fixture_get(f, "a", 0, &kv, &buf));
    assert_true(kv.create_revision == 5 && kv.version == 1);
    assert_true(fixture_get(f, "a", 3, &kv, &buf));
    assert_true(kv.create_revision == 2 && kv.version == 2);
    assert_int_equal(fixture_meta(f).keys, 1);
}

static void a_delete_that_deletes_nothing_makes_no_revision(void **state)
{
    struct fixture *f = *state;
    fixture_do_put(f, "a", "1");
    struct mvcc_op op = fixture_del("b", NULL);
    struct mvcc_answer answer = fixture_apply(f, &op, 1);
    assert_true(answer.outcome == MVCC_OK && answer.revision == 2 && answer.op_count == 1 &&
                answer.deleted[0] == 0);
    fixture_do_del(f, "a", NULL);
    op = fixture_del("a", NULL); /* a tombstone is nothing */
    assert_int_equal(fixture_apply(f, &op, 1).revision, 3);
    const struct mvcc_op ops[2] = {fixture_del("a", "z"), fixture_del("b", NULL)};
    assert_int_equal(fixture_apply(f, ops, 2).revision, 3);
    assert_int_equal(fixture_meta(f).applied_index, 5);
}

static void a_transaction_makes_one_revision(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    struct mvcc_kv kv;
    fixture_do_put(f, "c", "1");
    fixture_do_put(f, "d", "1");
    const struct mvcc_op ops[4] = {fixture_put("b", "1"), fixture_del("c", "e"), fixture_put("a", "1"),
                                   fixture_del("c", NULL)};
    struct mvcc_answer answer = fixture_apply(f, ops, 4);
    assert_true(answer.outcome == MVCC_OK && answer.revision == 4 && answer.op_count == 4);
    assert_true(answer.deleted[0] == 0 && answer.deleted[1] == 2 && answer.deleted[2] == 0 &&
                answer.deleted[3] == 0);
    assert_true(fixture_get(f, "a", 0, &kv, &buf) && kv.mod_revision == 4);
    assert_true(fixture_get(f, "b", 0, &kv, &buf) && kv.mod_revision == 4);
    assert_int_equal(fixture_meta(f).keys, 2);
}

/* Reads the revs table: what a revision changed, in the order in which it did. */
static void the_changes_of_a_revision_are_found_in_order(void **state)
{
    struct fixture *f = *state;
    fixture_do_put(f, "c", "1");
    const struct mvcc_op ops[3] = {fixture_put("z", "1"), fixture_del("b", "d"), fixture_put("a", "1")};
    assert_int_equal(fixture_apply(f, ops, 3).revision, 3);
    static const char *const keys[] = {"z", "c", "a"};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf row_key = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf value = {0};
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t revision;
        uint32_t sub;
        struct rk_slice key;
        mvcc_rev_key(&row_key, FIXTURE_GROUP, 3, i);
        int r = store_rows_get(f->rows, rk_buf_slice(&row_key), &value);
        assert_int_equal(r, i < 3 ? 0 : STORE_E_NOT_FOUND);
        if (r != 0)
            break;
        assert_int_equal(mvcc_rev_decode(rk_buf_slice(&row_key), rk_buf_slice(&value), &revision, &sub, &key),
                         0);
        fixture_assert_slice(key, keys[i]);
    }
}

static void a_range_is_deleted_from_its_key_to_before_its_end(void **state)
{
    struct fixture *f = *state;
    static const char *const keys[] = {"a", "b", "ba", "bb", "c"};
    for (size_t i = 0; i < RK_ARRAY_LEN(keys); i++)
        fixture_do_put(f, keys[i], "1");
    struct mvcc_op op = fixture_del("b", "c");
    assert_int_equal(fixture_apply(f, &op, 1).deleted[0], 3);
    op = fixture_del("c", "b"); /* the wrong way round is empty */
    assert_int_equal(fixture_apply(f, &op, 1).deleted[0], 0);
    op = fixture_del("b", "");
    op.end = rk_slice("\0", 1);
    assert_int_equal(fixture_apply(f, &op, 1).deleted[0], 1);
    assert_int_equal(fixture_meta(f).keys, 1);
}

static void many_keys_with_history_are_deleted_in_one_revision(void **state)
{
    struct fixture *f = *state;
    char key[16];
    assert_int_equal(mvcc_begin(f->mvcc), 0);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "k%04u", i % 1000);
        struct mvcc_op op = fixture_put(key, "some value");
        fixture_apply_open(f, &op, 1);
    }
    struct mvcc_op op = fixture_del("k", "l");
    struct mvcc_answer answer = fixture_apply_open(f, &op, 1);
    assert_int_equal(mvcc_commit(f->mvcc), 0);
    assert_true(answer.deleted[0] == 1000 && answer.revision == 3002);
    assert_int_equal(fixture_meta(f).keys, 0);
}

static void a_bad_command_changes_only_the_applied_index(void **state)
{
    struct fixture *f = *state;
    fixture_do_put(f, "a", "1");
    RK_CLEANUP(rk_buf_deinit) struct rk_buf bytes = {0};
    struct mvcc_answer answer;
    assert_int_equal(mvcc_begin(f->mvcc), 0);
    assert_int_equal(mvcc_apply_command(f->mvcc, 2, FIXTURE_TERM, rk_slice_str("rubbish"), &bytes), 0);
    assert_int_equal(mvcc_commit(f->mvcc), 0);
    f->index = 2;
    assert_int_equal(mvcc_answer_decode(rk_buf_slice(&bytes), &answer), 0);
    assert_true(answer.outcome == MVCC_E_MALFORMED && answer.revision == 2 && answer.op_count == 0);
    /* The checks of mvcc_command_check() are made again: the entry may come from a member that did not. */
    const struct mvcc_op ops[2] = {fixture_put("x", "1"), fixture_put("x", "2")};
    answer = fixture_apply(f, ops, 2);
    assert_true(answer.outcome == MVCC_E_DUPLICATE_KEY && answer.revision == 2);
    assert_true(fixture_meta(f).applied_index == 3 && fixture_meta(f).keys == 1);
}

static void the_applied_index_is_written_with_the_rows_it_counts(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf before = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf after = {0};
    fixture_do_put(f, "a", "1");
    fixture_dump(f, &before);
    assert_int_equal(mvcc_begin(f->mvcc), 0);
    struct mvcc_op op = fixture_put("b", "1");
    fixture_apply_open(f, &op, 1);
    assert_int_equal(mvcc_apply_members(f->mvcc, ++f->index, FIXTURE_TERM, rk_slice_str("m")), 0);
    fixture_reload(f); /* without the commit */
    fixture_dump(f, &after);
    assert_true(rk_slice_eq(rk_buf_slice(&before), rk_buf_slice(&after)));
    assert_true(fixture_meta(f).applied_index == 1 && fixture_meta(f).revision == 2);
}

static void the_state_is_there_again_after_a_restart(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    struct mvcc_kv kv;
    assert_int_equal(mvcc_bootstrap(f->mvcc, 1, 1, rk_slice_str("first members")), 0);
    f->index = 1;
    fixture_do_put(f, "a", "1");
    assert_int_equal(mvcc_begin(f->mvcc), 0);
    assert_int_equal(mvcc_apply_noop(f->mvcc, 3, FIXTURE_TERM + 1), 0);
    assert_int_equal(mvcc_apply_members(f->mvcc, 4, FIXTURE_TERM + 1, rk_slice_str("members")), 0);
    assert_int_equal(mvcc_apply_noop(f->mvcc, 5, FIXTURE_TERM + 2), 0);
    assert_int_equal(mvcc_commit(f->mvcc), 0);
    fixture_reopen(f);
    struct mvcc_meta meta = fixture_meta(f);
    assert_true(meta.applied_index == 5 && meta.applied_term == FIXTURE_TERM + 2 && meta.revision == 2);
    assert_true(meta.keys == 1 && meta.members_index == 4);
    fixture_assert_slice(meta.members, "members");
    assert_true(fixture_get(f, "a", 0, &kv, &buf));
}

static void bootstrap_writes_members_and_index(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mvcc_bootstrap(f->mvcc, 1, 1, rk_slice_str("first members")), 0);
    fixture_reload(f);
    struct mvcc_meta meta = fixture_meta(f);
    assert_true(meta.applied_index == 1 && meta.applied_term == 1 && meta.members_index == 1 &&
                meta.revision == 1);
    fixture_assert_slice(meta.members, "first members");
}

static void the_largest_key_and_value_are_kept(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    struct rk_blob *key = rk_blob_new(RK_KEY_BYTES_MAX),
                   *value = rk_blob_new(RK_REQUEST_BYTES_MAX - RK_KEY_BYTES_MAX);
    memset(key->data, 0, key->len); /* every byte is escaped */
    memset(value->data, 0x5a, value->len);
    const struct mvcc_op op = {.kind = MVCC_OP_PUT, .key = rk_blob_slice(key), .value = rk_blob_slice(value)};
    assert_int_equal(fixture_apply(f, &op, 1).revision, 2);
    assert_int_equal(fixture_apply(f, &op, 1).revision, 3);
    const struct mvcc_query query = {.key = op.key};
    struct mvcc_result result = fixture_query(f, &query, &buf);
    struct mvcc_kv kv;
    assert_int_equal(mvcc_result_next(&result, &kv), 1);
    assert_true(rk_slice_eq(kv.value, op.value) && kv.version == 2);
    rk_blob_unref(key);
    rk_blob_unref(value);
}

static void groups_do_not_see_each_other(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    struct mvcc *others[2];
    fixture_do_put(f, "a", "1");
    for (uint32_t i = 0; i < 2; i++) { /* one before and one behind */
        assert_int_equal(mvcc_open(f->rows, i == 0 ? FIXTURE_GROUP - 1 : FIXTURE_GROUP + 1, &others[i]), 0);
        struct fixture other = {.rows = f->rows, .mvcc = others[i]};
        fixture_do_put(&other, "b", "1");
    }
    struct mvcc_op op = fixture_del("a", "");
    op.end = rk_slice("\0", 1);
    assert_int_equal(fixture_apply(f, &op, 1).deleted[0], 1);
    const struct mvcc_query all = {.key = rk_slice("\0", 1), .end = rk_slice("\0", 1)};
    assert_int_equal(fixture_query(f, &all, &buf).count, 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct fixture other = {.rows = f->rows, .mvcc = others[i]};
        assert_int_equal(fixture_query(&other, &all, &buf).count, 1);
        mvcc_free(others[i]);
    }
}

static void put_raw(struct fixture *f, struct rk_buf *key, const char *value)
{
    assert_int_equal(store_rows_begin(f->rows), 0);
    assert_int_equal(store_rows_put(f->rows, rk_buf_slice(key), rk_slice_str(value)), 0);
    assert_int_equal(store_rows_commit(f->rows), 0);
}

static void rows_that_contradict_the_meta_row_are_not_opened(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf key = {0};
    struct mvcc *mvcc;
    /* Rows without any meta row: it was lost, and the group is not empty. */
    mvcc_rev_key(&key, FIXTURE_GROUP, 2, 0);
    put_raw(f, &key, "\1k");
    assert_int_equal(mvcc_open(f->rows, FIXTURE_GROUP, &mvcc), -EBADMSG);
    /* A change beyond the counted revision. */
    fixture_do_put(f, "a", "1");
    fixture_reload(f);
    mvcc_rev_key(&key, FIXTURE_GROUP, 9, 0);
    put_raw(f, &key, "\1k");
    assert_int_equal(mvcc_open(f->rows, FIXTURE_GROUP, &mvcc), -EBADMSG);
}

static void a_row_that_cannot_be_read_stops_the_group(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf key = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf bytes = {0};
    fixture_do_put(f, "a", "1");
    mvcc_row_key(&key, FIXTURE_GROUP, rk_slice_str("a"), 2, 0);
    put_raw(f, &key, "nonsense");
    const struct mvcc_op op = fixture_put("a", "2");
    const struct mvcc_origin origin = {1, 2, 9};
    struct rk_blob *command = mvcc_command_encode(&origin, &op, 1);
    assert_int_equal(mvcc_begin(f->mvcc), 0);
    assert_int_equal(mvcc_apply_command(f->mvcc, 2, FIXTURE_TERM, rk_blob_slice(command), &bytes), -EBADMSG);
    /* Nothing half done is ever committed. */
    assert_int_equal(mvcc_apply_noop(f->mvcc, 2, FIXTURE_TERM), -EBADMSG);
    assert_int_equal(mvcc_commit(f->mvcc), -EBADMSG);
    fixture_reload(f);
    assert_int_equal(fixture_meta(f).applied_index, 1);
    rk_blob_unref(command);
}

static void rows_do_not_depend_on_how_entries_were_batched(void **state)
{
    struct fixture *a = *state, b;
    fixture_open(&b);
    char key[16], value[64];
    assert_int_equal(mvcc_begin(b.mvcc), 0);
    for (unsigned i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "k%u", i * 7 % 40);
        snprintf(value, sizeof(value), "value %u", i);
        const struct mvcc_op ops[2] = {i % 5 ? fixture_put(key, value) : fixture_del(key, "k3"),
                                       fixture_put("x", value)};
        uint32_t count = i % 3 ? 1 : 2;
        fixture_apply(a, ops, count);
        fixture_apply_open(&b, ops, count);
        if (i % 97 == 0) {
            assert_int_equal(mvcc_commit(b.mvcc), 0);
            assert_int_equal(mvcc_begin(b.mvcc), 0);
        }
    }
    assert_int_equal(mvcc_commit(b.mvcc), 0);
    fixture_assert_same_rows(a, &b);
    fixture_close(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_store_never_written_is_at_revision_1),
        TEST(a_put_counts_revision_and_version),
        TEST(the_same_value_again_is_a_new_revision),
        TEST(a_put_on_a_deleted_key_starts_a_new_life),
        TEST(a_delete_that_deletes_nothing_makes_no_revision),
        TEST(a_transaction_makes_one_revision),
        TEST(the_changes_of_a_revision_are_found_in_order),
        TEST(a_range_is_deleted_from_its_key_to_before_its_end),
        TEST(many_keys_with_history_are_deleted_in_one_revision),
        TEST(a_bad_command_changes_only_the_applied_index),
        TEST(the_applied_index_is_written_with_the_rows_it_counts),
        TEST(the_state_is_there_again_after_a_restart),
        TEST(bootstrap_writes_members_and_index),
        TEST(the_largest_key_and_value_are_kept),
        TEST(groups_do_not_see_each_other),
        TEST(rows_that_contradict_the_meta_row_are_not_opened),
        TEST(a_row_that_cannot_be_read_stops_the_group),
        TEST(rows_do_not_depend_on_how_entries_were_batched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
