/* tests/unit/test_mvcc_range.c - reading keys: ranges, revisions, limits, and where a range goes on. */
#include "tests/unit/mvcc_fixture.h"

#include <errno.h>
#include <stdio.h>

#include "lib/base/rk_random.h"

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

static const struct rk_slice all = {(const uint8_t *)"\0", 1};

/* Puts count keys k00000, ... in one batch; every one of them versions times. */
static void fill(struct fixture *f, unsigned count, unsigned versions)
{
    char key[16];
    assert_int_equal(mvcc_begin(f->mvcc), 0);
    for (unsigned i = 0; i < count * versions; i++) {
        snprintf(key, sizeof(key), "k%05u", i % count);
        struct mvcc_op op = fixture_put(key, "v");
        assert_int_equal(fixture_apply_open(f, &op, 1).outcome, MVCC_OK);
    }
    assert_int_equal(mvcc_commit(f->mvcc), 0);
}

/* The keys of a result, each followed by a space. */
static void assert_keys(struct fixture *f, const struct mvcc_query *query, bool more, const char *expected)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf keys = {0};
    struct mvcc_result result = fixture_query(f, query, &buf);
    struct mvcc_kv kv;
    int r;
    assert_int_equal(result.outcome, MVCC_OK);
    uint64_t count = 0;
    for (; (r = mvcc_result_next(&result, &kv)) == 1; count++) {
        rk_buf_append_slice(&keys, kv.key);
        rk_buf_append_str(&keys, " ");
    }
    assert_int_equal(r, 0);
    fixture_assert_slice(rk_buf_slice(&keys), expected);
    assert_int_equal(count, result.count);
    assert_int_equal(result.more, more);
}

static void a_prefix_ends_where_no_key_with_it_can_be(void **state)
{
    (void)state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf end = {0};
    static const struct {
        struct rk_slice prefix, end;
    } cases[] = {
        {{(const uint8_t *)"a", 1}, {(const uint8_t *)"b", 1}},
        {{(const uint8_t *)"a\xff", 2}, {(const uint8_t *)"b", 1}},
        {{(const uint8_t *)"a\xff\x01", 3}, {(const uint8_t *)"a\xff\x02", 3}},
        {{(const uint8_t *)"a\0", 2}, {(const uint8_t *)"a\x01", 2}},
        {{(const uint8_t *)"", 0}, {(const uint8_t *)"\0", 1}},
        {{(const uint8_t *)"\xff\xff", 2}, {(const uint8_t *)"\0", 1}},
    };
    for (size_t i = 0; i < RK_ARRAY_LEN(cases); i++) {
        mvcc_prefix_end(cases[i].prefix, &end);
        assert_true(rk_slice_eq(rk_buf_slice(&end), cases[i].end));
    }
}

static void ranges_are_from_key_to_before_end(void **state)
{
    struct fixture *f = *state;
    static const char *const keys[] = {"a", "b", "ba", "c", "d"};
    for (size_t i = 0; i < RK_ARRAY_LEN(keys); i++)
        fixture_do_put(f, keys[i], "1");
    fixture_do_del(f, "c", NULL);
    struct mvcc_query query = {.key = rk_slice_str("b"), .end = rk_slice_str("d")};
    assert_keys(f, &query, false, "b ba ");
    query.end = all;
    assert_keys(f, &query, false, "b ba d ");
    query.end = rk_slice(NULL, 0);
    assert_keys(f, &query, false, "b ");
    query.key = rk_slice_str("aa");
    assert_keys(f, &query, false, "");
    query.end = rk_slice_str("a"); /* the wrong way round */
    assert_keys(f, &query, false, "");
    query = (struct mvcc_query){.key = all, .end = all};
    assert_keys(f, &query, false, "a b ba d ");
}

static void a_read_at_a_revision_never_changes(void **state)
{
    struct fixture *f = *state;
    fixture_do_put(f, "a", "1");  /* 2 */
    fixture_do_put(f, "b", "1");  /* 3 */
    fixture_do_del(f, "a", NULL); /* 4 */
    fixture_do_put(f, "c", "1");  /* 5 */
    fixture_do_put(f, "a", "2");  /* 6 */
    static const char *const expected[] = {"", "a ", "a b ", "b ", "b c ", "a b c "};
    for (uint64_t revision = 1; revision <= 6; revision++) {
        const struct mvcc_query query = {.key = all, .end = all, .revision = revision};
        assert_keys(f, &query, false, expected[revision - 1]);
    }
}

static void a_future_revision_is_refused(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    fixture_do_put(f, "a", "1");
    const struct mvcc_query query = {.key = all, .end = all, .revision = 3};
    struct mvcc_result result = fixture_query(f, &query, &buf);
    assert_true(result.outcome == MVCC_E_FUTURE_REVISION && result.count == 0 && result.revision == 2);
}

static void a_limit_cuts_and_says_whether_there_is_more(void **state)
{
    struct fixture *f = *state;
    fill(f, 5, 2);
    fixture_do_del(f, "k00003", NULL);
    struct mvcc_query query = {.key = all, .end = all, .limit = 2};
    assert_keys(f, &query, true, "k00000 k00001 ");
    query.limit = 3;
    assert_keys(f, &query, true, "k00000 k00001 k00002 ");
    query.limit = 4;
    assert_keys(f, &query, false, "k00000 k00001 k00002 k00004 ");
    fixture_do_del(f, "k00004", NULL);
    query.limit = 3; /* what is left are deleted keys */
    assert_keys(f, &query, false, "k00000 k00001 k00002 ");
}

static void counting_ignores_the_limit_and_returns_no_keys(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    fill(f, 20, 1);
    const struct mvcc_query query = {.key = all, .end = all, .limit = 2, .count_only = true};
    struct mvcc_result result = fixture_query(f, &query, &buf);
    struct mvcc_kv kv;
    assert_true(result.count == 20 && !result.more);
    assert_int_equal(mvcc_result_next(&result, &kv), 0);
}

static void keys_only_leaves_out_the_values(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    fixture_do_put(f, "a", "value");
    const struct mvcc_query query = {.key = all, .end = all, .keys_only = true};
    struct mvcc_result result = fixture_query(f, &query, &buf);
    struct mvcc_kv kv;
    assert_int_equal(mvcc_result_next(&result, &kv), 1);
    assert_true(kv.value.len == 0 && kv.create_revision == 2 && kv.mod_revision == 2 && kv.version == 1);
    assert_int_equal(mvcc_result_next(&result, &kv), 0);
}

/* Follows next_key to the end; returns the keys counted and the number of answers. */
static uint64_t walk(struct fixture *f, struct mvcc_query query, unsigned *ret_answers)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf next = {0};
    uint64_t count = 0;
    unsigned answers = 0;
    for (bool more = true; more; answers++) {
        struct mvcc_result result = fixture_query(f, &query, &buf);
        assert_int_equal(result.outcome, MVCC_OK);
        assert_true(buf.len <= RK_RANGE_BYTES_MAX + RK_KEY_BYTES_MAX + 64);
        count += result.count;
        rk_buf_clear(&next);
        rk_buf_append_slice(&next, result.next_key);
        query.key = rk_buf_slice(&next);
        more = result.more;
    }
    *ret_answers = answers;
    return count;
}

static void a_range_of_many_keys_goes_on_where_an_answer_ended(void **state)
{
    struct fixture *f = *state;
    unsigned answers;
    fill(f, RK_RANGE_KEYS_MAX + 500, 1);
    struct mvcc_query query = {.key = all, .end = all};
    assert_int_equal(walk(f, query, &answers), RK_RANGE_KEYS_MAX + 500);
    assert_int_equal(answers, 2);
    query.count_only = true;
    assert_int_equal(walk(f, query, &answers), RK_RANGE_KEYS_MAX + 500);
    assert_int_equal(answers, 2);
    /* Deleted keys count as looked at, so an answer may have no key and still say where to go on. */
    fixture_do_del(f, "k00000", "k10400");
    assert_int_equal(walk(f, query, &answers), 100);
    assert_int_equal(answers, 2);
    query.revision = RK_RANGE_KEYS_MAX + 501;
    assert_int_equal(walk(f, query, &answers), RK_RANGE_KEYS_MAX + 500);
}

static void an_answer_is_cut_at_its_bytes(void **state)
{
    struct fixture *f = *state;
    unsigned answers;
    struct rk_blob *value = rk_blob_new(RK_RANGE_BYTES_MAX / 4); /* three of them and a little fit */
    memset(value->data, 'v', value->len);
    for (unsigned i = 0; i < 9; i++) {
        char key[8];
        snprintf(key, sizeof(key), "k%u", i);
        struct mvcc_op op = fixture_put(key, "");
        op.value = rk_blob_slice(value);
        assert_int_equal(fixture_apply(f, &op, 1).outcome, MVCC_OK);
    }
    struct mvcc_query query = {.key = all, .end = all};
    assert_int_equal(walk(f, query, &answers), 9);
    assert_int_equal(answers, 3);
    query.keys_only = true;
    assert_int_equal(walk(f, query, &answers), 9);
    assert_int_equal(answers, 1);
    rk_blob_unref(value);
}

static void keys_with_many_versions_are_read_at_any_of_them(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    struct mvcc_kv kv;
    fill(f, 3, 400); /* version v of key i is made by revision 2 + 3 (v - 1) + i */
    for (uint64_t revision = 2; revision <= 1201; revision += 7) {
        assert_int_equal(fixture_get(f, "k00001", revision, &kv, &buf), revision >= 3);
        if (revision >= 3)
            assert_true(kv.version == (revision - 3) / 3 + 1 && kv.mod_revision == kv.version * 3);
        const struct mvcc_query query = {.key = all, .end = all, .revision = revision};
        assert_int_equal(fixture_query(f, &query, &buf).count, rk_min_u64(revision - 1, 3));
    }
}

static void bad_queries_are_answered_with_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    static uint8_t longer[RK_KEY_BYTES_MAX + 2];
    struct mvcc_query query = {.end = all};
    assert_int_equal(fixture_query(f, &query, &buf).outcome, MVCC_E_KEY_EMPTY);
    query.key = rk_slice(longer, sizeof(longer));
    assert_int_equal(fixture_query(f, &query, &buf).outcome, MVCC_E_KEY_TOO_LONG);
    query.key.len--; /* the longest key and a zero: "behind that key" */
    assert_int_equal(fixture_query(f, &query, &buf).outcome, MVCC_OK);
    struct mvcc_result result;
    rk_buf_clear(&buf);
    assert_int_equal(mvcc_query_run(f->mvcc, rk_slice_str("rubbish"), &buf), 0);
    assert_int_equal(mvcc_result_decode(rk_buf_slice(&buf), &result), 0);
    assert_int_equal(result.outcome, MVCC_E_MALFORMED);
}

static void results_are_appended_to_what_a_buffer_holds(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    fill(f, 30, 1);
    const struct mvcc_query query = {.key = all, .end = all};
    struct rk_blob *blob = mvcc_query_encode(&query);
    rk_buf_append_str(&buf, "consumed kept");
    rk_buf_consume(&buf, 9);
    assert_int_equal(mvcc_query_run(f->mvcc, rk_blob_slice(blob), &buf), 0);
    struct rk_slice s = rk_buf_slice(&buf);
    assert_memory_equal(s.data, "kept", 4);
    struct mvcc_result result;
    assert_int_equal(mvcc_result_decode(rk_slice(s.data + 4, s.len - 4), &result), 0);
    assert_int_equal(result.count, 30);
    rk_blob_unref(blob);
}

static void queries_come_back_and_damage_is_refused(void **state)
{
    (void)state;
    const struct mvcc_query in = {
        .key = rk_slice_str("k"), .end = rk_slice_str("m"), .revision = 5, .limit = 6, .keys_only = true};
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *blob = mvcc_query_encode(&in);
    struct mvcc_query out;
    assert_int_equal(mvcc_query_decode(rk_blob_slice(blob), &out), 0);
    assert_true(rk_slice_eq(in.key, out.key) && rk_slice_eq(in.end, out.end) && out.revision == 5);
    assert_true(out.limit == 6 && out.keys_only && !out.count_only);
    for (size_t len = 0; len < blob->len; len++)
        assert_int_equal(mvcc_query_decode(rk_slice(blob->data, len), &out), -EBADMSG);
    blob->data[1] = 4; /* a flag that is not known must not be overlooked */
    assert_int_equal(mvcc_query_decode(rk_blob_slice(blob), &out), -EBADMSG);
}

static int read_all(struct rk_slice bytes)
{
    struct mvcc_result result;
    struct mvcc_kv kv;
    int r = mvcc_result_decode(bytes, &result);
    if (r < 0)
        return r;
    while ((r = mvcc_result_next(&result, &kv)) == 1)
        ;
    return r;
}

static void damaged_results_are_refused_and_never_read_beyond(void **state)
{
    struct fixture *f = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    fill(f, 4, 1);
    const struct mvcc_query query = {.key = all, .end = all, .limit = 3};
    fixture_query(f, &query, &buf);
    struct rk_slice good = rk_buf_slice(&buf);
    for (size_t len = 0; len < good.len; len++) {
        struct rk_blob *cut = rk_blob_copy(rk_slice(good.data, len));
        assert_int_equal(read_all(rk_blob_slice(cut)), -EBADMSG);
        rk_blob_unref(cut);
    }
    struct rk_random random = {.state = 3};
    for (unsigned i = 0; i < 20000; i++) {
        struct rk_blob *bad = rk_blob_copy(good);
        bad->data[rk_random_below(&random, bad->len)] = (uint8_t)rk_random_next(&random);
        (void)read_all(rk_blob_slice(bad));
        rk_blob_unref(bad);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix_ends_where_no_key_with_it_can_be),
        TEST(ranges_are_from_key_to_before_end),
        TEST(a_read_at_a_revision_never_changes),
        TEST(a_future_revision_is_refused),
        TEST(a_limit_cuts_and_says_whether_there_is_more),
        TEST(counting_ignores_the_limit_and_returns_no_keys),
        TEST(keys_only_leaves_out_the_values),
        TEST(a_range_of_many_keys_goes_on_where_an_answer_ended),
        TEST(an_answer_is_cut_at_its_bytes),
        TEST(keys_with_many_versions_are_read_at_any_of_them),
        TEST(bad_queries_are_answered_with_what_is_wrong),
        TEST(results_are_appended_to_what_a_buffer_holds),
        cmocka_unit_test(queries_come_back_and_damage_is_refused),
        TEST(damaged_results_are_refused_and_never_read_beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
