/* tests/unit/test_mvcc_random.c - random commands against a model in memory, read back at random revisions.
 *
 * The model keeps the whole state at every revision, so that it has no idea of versions or tombstones of its
 * own that could be wrong in the same way. MVCC_SEED=n repeats a run. */
#include "tests/unit/mvcc_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/rk_random.h"

#define KEYS_N        40u
#define REVISIONS_MAX 3000u
#define COMMANDS      1200u

struct model_key {
    bool live;
    uint64_t create, mod, version, lease;
    uint32_t value; /* a number, written out */
};

struct model {
    struct rk_slice keys[KEYS_N]; /* sorted */
    uint8_t key_bytes[KEYS_N][4];
    uint64_t revision;
    struct model_key (*at)[KEYS_N]; /* [revision] */
};

struct run {
    struct rk_random random;
    struct model model;
    struct fixture f;
    uint32_t next_value;
};

static uint64_t below(struct run *run, uint64_t bound)
{
    return rk_random_below(&run->random, bound);
}

static int compare_keys(const void *a, const void *b)
{
    const struct rk_slice *ka = a, *kb = b;
    return rk_slice_cmp(*ka, *kb);
}

/* Short keys over the bytes that escaping and range ends care about. */
static void make_keys(struct run *run)
{
    static const uint8_t alphabet[5] = {0x00, 0x01, 'm', 0xfe, 0xff};
    struct model *m = &run->model;
    for (unsigned n = 0; n < KEYS_N;) {
        struct rk_slice key = rk_slice(m->key_bytes[n], 1 + (size_t)below(run, 4));
        for (size_t i = 0; i < key.len; i++)
            m->key_bytes[n][i] = alphabet[below(run, 5)];
        bool known = false;
        for (unsigned i = 0; i < n; i++)
            known = known || rk_slice_eq(m->keys[i], key);
        if (!known)
            m->keys[n++] = key;
    }
    qsort(m->keys, KEYS_N, sizeof(m->keys[0]), compare_keys);
}

static bool in_range(struct rk_slice key, struct rk_slice from, struct rk_slice end)
{
    if (end.len == 0)
        return rk_slice_eq(key, from);
    if (rk_slice_cmp(key, from) < 0)
        return false;
    return rk_slice_eq(end, rk_slice("\0", 1)) || rk_slice_cmp(key, end) < 0;
}

static uint32_t value_number(struct rk_slice value)
{
    return value.len == 4 ? rk_load_u32(value.data) : 0;
}

static void model_apply(struct model *m, const struct mvcc_op *ops, uint32_t count, uint64_t *deleted)
{
    struct model_key *now = m->at[m->revision + 1];
    memcpy(now, m->at[m->revision], sizeof(m->at[0]));
    bool changed = false;
    for (uint32_t i = 0; i < count; i++) {
        deleted[i] = 0;
        for (unsigned k = 0; k < KEYS_N; k++) {
            bool del = ops[i].kind == MVCC_OP_DELETE;
            if (!in_range(m->keys[k], ops[i].key, del ? ops[i].end : rk_slice(NULL, 0)) ||
                (del && !now[k].live))
                continue;
            changed = true;
            deleted[i] += del;
            uint64_t create = now[k].live ? now[k].create : m->revision + 1, version = now[k].version + 1;
            now[k] = (struct model_key){.live = !del};
            if (!del)
                now[k] = (struct model_key){true,    create,       m->revision + 1,
                                            version, ops[i].lease, value_number(ops[i].value)};
        }
    }
    m->revision += changed;
}

static struct rk_slice any_key(struct run *run)
{
    return run->model.keys[below(run, KEYS_N)];
}

static struct rk_slice any_end(struct run *run)
{
    uint64_t dice = below(run, 8);
    return dice == 0 ? rk_slice("\0", 1) : dice < 4 ? any_key(run) : rk_slice(NULL, 0);
}

static void random_op(struct run *run, struct mvcc_op *op, uint8_t value[4])
{
    if (below(run, 3) > 0) {
        rk_store_u32(value, ++run->next_value);
        *op = (struct mvcc_op){.kind = MVCC_OP_PUT, .value = rk_slice(value, 4), .lease = below(run, 3)};
    } else {
        *op = (struct mvcc_op){.kind = MVCC_OP_DELETE, .end = any_end(run)};
    }
    op->key = any_key(run);
}

static void random_command(struct run *run)
{
    struct mvcc_op ops[6];
    uint8_t values[6][4];
    uint64_t deleted[6];
    uint32_t count = below(run, 3) ? 1 : 1 + (uint32_t)below(run, 6);
    for (uint32_t i = 0; i < count; i++)
        random_op(run, &ops[i], values[i]);
    struct mvcc_answer answer = fixture_apply_open(&run->f, ops, count);
    assert_int_equal(answer.outcome, mvcc_command_check(ops, count));
    if (answer.outcome == MVCC_OK) {
        model_apply(&run->model, ops, count, deleted);
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(answer.deleted[i], deleted[i]);
    }
    assert_int_equal(answer.revision, run->model.revision);
}

static void assert_kv(const struct mvcc_kv *kv, const struct model *m, unsigned k, uint64_t revision)
{
    const struct model_key *expected = &m->at[revision][k];
    assert_true(rk_slice_eq(kv->key, m->keys[k]));
    assert_int_equal(kv->create_revision, expected->create);
    assert_int_equal(kv->mod_revision, expected->mod);
    assert_int_equal(kv->version, expected->version);
    assert_int_equal(kv->lease, expected->lease);
    assert_int_equal(value_number(kv->value), expected->value);
}

static void random_query(struct run *run)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    const struct model *m = &run->model;
    struct mvcc_query query = {.key = any_key(run), .end = any_end(run), .limit = (uint32_t)below(run, 12)};
    query.revision = below(run, 3) ? 1 + below(run, m->revision) : 0;
    struct mvcc_result result = fixture_query(&run->f, &query, &buf);
    assert_int_equal(result.outcome, MVCC_OK);
    assert_int_equal(result.revision, m->revision);
    uint64_t revision = query.revision ? query.revision : m->revision, count = 0;
    bool more = false;
    for (unsigned k = 0; k < KEYS_N && !more; k++) {
        if (!m->at[revision][k].live || !in_range(m->keys[k], query.key, query.end))
            continue;
        struct mvcc_kv kv;
        more = query.limit > 0 && count == query.limit;
        assert_int_equal(mvcc_result_next(&result, &kv), more ? 0 : 1);
        if (more) {
            assert_true(rk_slice_eq(result.next_key, m->keys[k]));
        } else {
            assert_kv(&kv, m, k, revision);
            count++;
        }
    }
    struct mvcc_kv none;
    assert_int_equal(mvcc_result_next(&result, &none), 0);
    assert_int_equal(result.more, more);
    assert_int_equal(result.count, count);
}

static void check_live_count(struct run *run)
{
    uint64_t live = 0;
    for (unsigned k = 0; k < KEYS_N; k++)
        live += run->model.at[run->model.revision][k].live;
    assert_int_equal(fixture_meta(&run->f).keys, live);
}

/* A second host that gets everything as a snapshot must have the same rows, and go on as this one. */
static void check_snapshot(struct run *run)
{
    struct fixture other;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    fixture_open(&other);
    fixture_snapshot(&run->f, 1 + below(run, 2000), &stream);
    fixture_install(&other, rk_buf_slice(&stream), 1 + below(run, 5000));
    fixture_assert_same_rows(&run->f, &other);
    const struct mvcc_op op = {.kind = MVCC_OP_DELETE, .key = rk_slice("\0", 1), .end = rk_slice("\0", 1)};
    fixture_apply(&run->f, &op, 1);
    fixture_apply(&other, &op, 1);
    fixture_assert_same_rows(&run->f, &other);
    fixture_close(&other);
}

static void a_random_run_agrees_with_the_model(void **state)
{
    struct run *run = *state;
    for (unsigned i = 0; i < COMMANDS && run->model.revision + 2 < REVISIONS_MAX;) {
        assert_int_equal(mvcc_begin(run->f.mvcc), 0);
        for (uint64_t batch = 1 + below(run, 20); batch > 0; batch--, i++)
            random_command(run);
        assert_int_equal(mvcc_commit(run->f.mvcc), 0);
        for (unsigned queries = 0; queries < 10; queries++)
            random_query(run);
        check_live_count(run);
        if (below(run, 10) == 0)
            fixture_reload(&run->f);
    }
    check_snapshot(run);
}

static uint64_t seed;

static int setup(void **state)
{
    struct run *run = RK_NEW(struct run);
    run->random.state = seed;
    run->model.revision = 1;
    run->model.at = rk_new0(REVISIONS_MAX, sizeof(run->model.at[0]));
    make_keys(run);
    fixture_open(&run->f);
    *state = run;
    return 0;
}

static int teardown(void **state)
{
    struct run *run = *state;
    fixture_close(&run->f);
    free(run->model.at);
    free(run);
    seed++;
    return 0;
}

int main(void)
{
    const char *given = getenv("MVCC_SEED");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_random_run_agrees_with_the_model, setup, teardown),
    };
    uint64_t first = given ? strtoull(given, NULL, 0) : 1;
    for (seed = first; seed < first + (given ? 1 : 4);) {
        uint64_t this = seed;
        if (cmocka_run_group_tests(tests, NULL, NULL) != 0) {
            fprintf(stderr, "repeat with MVCC_SEED=%llu\n", (unsigned long long)this);
            return 1;
        }
    }
    return 0;
}
