/* tests/unit/test_mvcc_rows.c - the bytes of the rows keep the order that the queries rely on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/base/rk_random.h"
#include "lib/base/rk_wire.h"
#include "lib/mvcc/mvcc_rows.h"

#define GROUP 0x01020304u

/* The n-th of all keys of up to three bytes out of the ones where escaping matters; 0 is the empty key. */
#define KEYS_N (1u + 5u + 25u + 125u)
static struct rk_slice nth_key(unsigned n, uint8_t bytes[3])
{
    static const uint8_t alphabet[5] = {0x00, 0x01, 0x02, 0xfe, 0xff};
    size_t len = 0;
    for (; n > 0; n = (n - 1) / 5)
        bytes[len++] = alphabet[(n - 1) % 5];
    return rk_slice(bytes, len);
}

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static void row_keys_sort_as_their_keys_do(void **state)
{
    (void)state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf a = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf b = {0};
    uint8_t key_bytes[2][3];
    for (unsigned i = 0; i < KEYS_N; i++) {
        for (unsigned j = 0; j < KEYS_N; j++) {
            struct rk_slice key_i = nth_key(i, key_bytes[0]), key_j = nth_key(j, key_bytes[1]);
            /* The revisions are chosen to pull the other way. */
            mvcc_row_key(&a, GROUP, key_i, j, 0);
            mvcc_row_key(&b, GROUP, key_j, i, 0);
            if (i != j)
                assert_int_equal(sign(rk_slice_cmp(rk_buf_slice(&a), rk_buf_slice(&b))),
                                 sign(rk_slice_cmp(key_i, key_j)));
        }
    }
}

static void newest_version_comes_first(void **state)
{
    (void)state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf newer = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf older = {0};
    static const struct {
        uint64_t revision;
        uint32_t sub;
    } order[] = {{UINT64_MAX, 0},   {1ull << 63, 5}, {1ull << 32, 1}, {1ull << 32, 0},
                 {256, UINT32_MAX}, {256, 0},        {2, 0}};
    for (size_t i = 1; i < RK_ARRAY_LEN(order); i++) {
        mvcc_row_key(&newer, GROUP, rk_slice_str("k"), order[i - 1].revision, order[i - 1].sub);
        mvcc_row_key(&older, GROUP, rk_slice_str("k"), order[i].revision, order[i].sub);
        assert_true(rk_slice_cmp(rk_buf_slice(&newer), rk_buf_slice(&older)) < 0);
    }
}

static void seeks_land_between_the_right_rows(void **state)
{
    (void)state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf row = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf seek = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf head = {0};
    uint8_t key_bytes[2][3];
    for (unsigned i = 0; i < KEYS_N; i++) {
        struct rk_slice key = nth_key(i, key_bytes[0]);
        mvcc_row_versions(&head, GROUP, key);
        mvcc_row_seek_past(&seek, rk_buf_slice(&head));
        mvcc_row_key(&row, GROUP, key, 0, 0); /* the very last one of this key */
        assert_true(rk_slice_cmp(rk_buf_slice(&row), rk_buf_slice(&seek)) < 0);
        for (unsigned j = 0; j < KEYS_N; j++) {
            struct rk_slice other = nth_key(j, key_bytes[1]);
            mvcc_row_key(&row, GROUP, other, UINT64_MAX, UINT32_MAX);
            if (rk_slice_cmp(other, key) > 0)
                assert_true(rk_slice_cmp(rk_buf_slice(&row), rk_buf_slice(&seek)) > 0);
        }
        mvcc_row_seek_revision(&seek, rk_buf_slice(&head), 10);
        mvcc_row_key(&row, GROUP, key, 10, UINT32_MAX);
        assert_true(rk_slice_cmp(rk_buf_slice(&row), rk_buf_slice(&seek)) >= 0);
        mvcc_row_key(&row, GROUP, key, 11, 0);
        assert_true(rk_slice_cmp(rk_buf_slice(&row), rk_buf_slice(&seek)) < 0);
    }
}

static void rows_come_back_as_they_went(void **state)
{
    (void)state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf row_key = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf row_value = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf key_buf = {0};
    uint8_t key_bytes[3];
    for (unsigned i = 1; i < KEYS_N; i++) {
        struct mvcc_row in = {.key = nth_key(i, key_bytes), .revision = i + 10, .sub = i, .tombstone = i % 2},
                        out;
        if (!in.tombstone) {
            in.create_revision = i;
            in.version = 3;
            in.lease = 77;
            in.value = rk_slice_str(i % 4 ? "value" : "");
        }
        mvcc_row_key(&row_key, GROUP, in.key, in.revision, in.sub);
        mvcc_row_value(&row_value, &in);
        assert_int_equal(mvcc_row_decode(rk_buf_slice(&row_key), rk_buf_slice(&row_value), &key_buf, &out),
                         0);
        assert_true(rk_slice_eq(in.key, out.key) && rk_slice_eq(in.value, out.value));
        assert_true(in.revision == out.revision && in.sub == out.sub && in.tombstone == out.tombstone);
        assert_true(in.create_revision == out.create_revision && in.version == out.version &&
                    in.lease == out.lease);
    }
}

static void damaged_rows_are_refused(void **state)
{
    (void)state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf row_key = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf row_value = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf key_buf = {0};
    const struct mvcc_row in = {
        .key = rk_slice("a\0b", 3), .revision = 5, .create_revision = 5, .version = 1};
    struct mvcc_row out;
    mvcc_row_key(&row_key, GROUP, in.key, in.revision, in.sub);
    mvcc_row_value(&row_value, &in);
    struct rk_slice k = rk_buf_slice(&row_key), v = rk_buf_slice(&row_value);
    for (size_t len = 0; len < v.len; len++) /* the value is empty, so every byte is needed */
        assert_int_equal(mvcc_row_decode(k, rk_slice(v.data, len), &key_buf, &out), -EBADMSG);
    for (size_t len = 0; len < k.len; len++)
        assert_int_equal(mvcc_row_decode(rk_slice(k.data, len), v, &key_buf, &out), -EBADMSG);
    row_value.data[0] = 2; /* a format of later on */
    assert_int_equal(mvcc_row_decode(k, v, &key_buf, &out), -EBADMSG);
    row_value.data[0] = 1;
    row_value.data[1] = 3; /* neither put nor tombstone */
    assert_int_equal(mvcc_row_decode(k, v, &key_buf, &out), -EBADMSG);
    row_value.data[1] = 2; /* a tombstone with something behind it */
    assert_int_equal(mvcc_row_decode(k, v, &key_buf, &out), -EBADMSG);
    row_value.data[1] = 1;
    assert_int_equal(mvcc_row_decode(k, v, &key_buf, &out), 0);
    row_key.data[7] = 0x17; /* a zero that is neither escaped nor the end */
    assert_int_equal(mvcc_row_decode(k, v, &key_buf, &out), -EBADMSG);
}

static void revs_sort_by_revision_and_come_back(void **state)
{
    (void)state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf a = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf b = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf value = {0};
    mvcc_rev_key(&a, GROUP, 255, 7);
    mvcc_rev_key(&b, GROUP, 256, 0);
    assert_true(rk_slice_cmp(rk_buf_slice(&a), rk_buf_slice(&b)) < 0);
    mvcc_rev_key(&b, GROUP, 255, 256);
    assert_true(rk_slice_cmp(rk_buf_slice(&a), rk_buf_slice(&b)) < 0);
    mvcc_rev_value(&value, rk_slice("\0k", 2));
    uint64_t revision;
    uint32_t sub;
    struct rk_slice key;
    assert_int_equal(mvcc_rev_decode(rk_buf_slice(&a), rk_buf_slice(&value), &revision, &sub, &key), 0);
    assert_true(revision == 255 && sub == 7 && rk_slice_eq(key, rk_slice("\0k", 2)));
    struct rk_slice cut = rk_slice(a.data, a.len - 1);
    assert_int_equal(mvcc_rev_decode(cut, rk_buf_slice(&value), &revision, &sub, &key), -EBADMSG);
}

static void meta_comes_back_and_damage_is_refused(void **state)
{
    (void)state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf value = {0};
    const struct mvcc_applied in = {.index = 1ull << 40, .term = 9, .revision = 1ull << 33, .keys = 12};
    struct mvcc_applied out;
    struct rk_slice rest;
    mvcc_applied_value(&value, &in);
    assert_int_equal(mvcc_applied_decode(rk_buf_slice(&value), &out, &rest), 0);
    assert_memory_equal(&in, &out, sizeof(in));
    for (size_t len = 0; len < value.len; len++)
        assert_int_equal(mvcc_applied_decode(rk_slice(value.data, len), &out, &rest), -EBADMSG);
    rk_buf_append_str(&value, "more");
    assert_int_equal(mvcc_applied_decode(rk_buf_slice(&value), &out, &rest), 0);
    assert_true(rk_slice_eq_str(rest, "more"));
    mvcc_applied_value(&value, &(struct mvcc_applied){0}); /* there is no revision 0 */
    assert_int_equal(mvcc_applied_decode(rk_buf_slice(&value), &out, &rest), -EBADMSG);
    uint64_t index;
    struct rk_slice members;
    mvcc_members_value(&value, 5, rk_slice_str("who"));
    assert_int_equal(mvcc_members_decode(rk_buf_slice(&value), &index, &members), 0);
    assert_true(index == 5 && rk_slice_eq_str(members, "who"));
    assert_int_equal(mvcc_members_decode(rk_slice(value.data, 8), &index, &members), -EBADMSG);
}

/* Whatever decodes must be what encoding would have written, or two row keys could mean one version. */
static void random_row_keys_decode_to_themselves_or_not_at_all(void **state)
{
    (void)state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf key_buf = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf again = {0};
    static const uint8_t alphabet[4] = {0x00, 0x01, 0xff, 'x'};
    const uint8_t tombstone[2] = {1, 2};
    struct rk_random random = {.state = 1};
    unsigned good = 0;
    for (unsigned i = 0; i < 200000; i++) {
        uint8_t row_key[5 + 6 + MVCC_ROW_TAIL] = {1, 2, 3, 4, MVCC_TABLE_KEYS};
        size_t len = 5 + (size_t)rk_random_below(&random, sizeof(row_key) - 4);
        for (size_t at = 5; at < len; at++)
            row_key[at] = alphabet[rk_random_below(&random, 4)];
        struct mvcc_row row;
        struct rk_slice slice = rk_slice(row_key, len);
        if (mvcc_row_decode(slice, rk_slice(tombstone, 2), &key_buf, &row) < 0)
            continue;
        good++;
        mvcc_row_key(&again, GROUP, row.key, row.revision, row.sub);
        assert_true(rk_slice_eq(rk_buf_slice(&again), slice));
    }
    assert_true(good > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(row_keys_sort_as_their_keys_do),
        cmocka_unit_test(newest_version_comes_first),
        cmocka_unit_test(seeks_land_between_the_right_rows),
        cmocka_unit_test(rows_come_back_as_they_went),
        cmocka_unit_test(damaged_rows_are_refused),
        cmocka_unit_test(revs_sort_by_revision_and_come_back),
        cmocka_unit_test(meta_comes_back_and_damage_is_refused),
        cmocka_unit_test(random_row_keys_decode_to_themselves_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
