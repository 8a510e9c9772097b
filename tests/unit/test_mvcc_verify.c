/* tests/unit/test_mvcc_verify.c - snapshot streams are checked as hostile input. */
#include "tests/unit/mvcc_fixture.h"

#include <errno.h>

#include "lib/base/rk_crc32c.h"
#include "lib/base/rk_random.h"
#include "lib/mvcc/mvcc_hash.h"
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

static void a_cut_stream_is_never_complete(void **state)
{
    struct fixture *a = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    fixture_fill(a, 30);
    fixture_snapshot(a, 100, &stream);
    for (size_t len = 0; len < stream.len; len++)
        assert_int_equal(fixture_verify(rk_slice(stream.data, len), 64), -ENODATA);
    assert_int_equal(fixture_verify(rk_buf_slice(&stream), 64), 0);
    rk_put_u8(&stream, 0); /* and a longer one is broken */
    assert_int_equal(fixture_verify(rk_buf_slice(&stream), 64), -EBADMSG);
    assert_int_equal(fixture_verify(rk_buf_slice(&stream), 1), -EBADMSG);
}

static void every_damaged_byte_is_noticed(void **state)
{
    struct fixture *a = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    fixture_fill(a, 30);
    fixture_snapshot(a, 300, &stream);
    for (size_t at = 0; at < stream.len; at++) {
        stream.data[at] ^= (uint8_t)(1u << at % 8);
        assert_int_not_equal(fixture_verify(rk_buf_slice(&stream), stream.len), 0);
        stream.data[at] ^= (uint8_t)(1u << at % 8);
    }
    assert_int_equal(fixture_verify(rk_buf_slice(&stream), stream.len), 0);
}

static void blocks_left_out_doubled_or_swapped_are_noticed(void **state)
{
    struct fixture *a = *state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf bad = {0};
    fixture_fill(a, 60);
    fixture_snapshot(a, 300, &stream);
    struct rk_slice blocks[64];
    size_t count = 0;
    for (size_t at = 0; at < stream.len; at += blocks[count++].len)
        blocks[count] = rk_slice(stream.data + at, MVCC_BLOCK_HEADER + rk_load_u32(stream.data + at));
    assert_true(count > 5);
    for (size_t i = 0; i < count; i++) {
        for (unsigned how = 0; how < 3; how++) { /* how often block i comes; 1: swapped with the next */
            if (how == 1 && i + 1 == count)
                continue;
            rk_buf_clear(&bad);
            for (size_t j = 0; j < count; j++) {
                size_t take = how == 1 && j == i ? i + 1 : how == 1 && j == i + 1 ? i : j;
                for (unsigned n = 0; n < (how != 1 && j == i ? how : 1); n++)
                    rk_buf_append_slice(&bad, blocks[take]);
            }
            assert_int_not_equal(fixture_verify(rk_buf_slice(&bad), 500), 0);
        }
    }
}

/* A block of another stream that fits in all else: only the CRC over the whole stream tells. */
static void a_block_of_another_stream_is_noticed(void **state)
{
    (void)state;
    struct mvcc_snapshot_info info = {.group = 1, .index = 50, .term = 1, .revision = 9, .keys = 1};
    for (unsigned other = 0; other < 2; other++) {
        RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
        RK_CLEANUP(rk_buf_deinit) struct rk_buf body = {0};
        struct mvcc_row row = {.key = rk_slice_str("k"), .revision = 9, .create_revision = 9, .version = 1};
        uint32_t crc = 0, ignored = 0;
        info.hash = mvcc_hash_row(&row);
        mvcc_stream_put_head(&stream, &info, &crc);
        mvcc_stream_put_row(&body, &row);
        mvcc_stream_put_rows(&stream, rk_buf_slice(&body), other ? &ignored : &crc);
        if (other) { /* what the tail was made for */
            row.lease = 1;
            rk_buf_clear(&body);
            mvcc_stream_put_row(&body, &row);
            RK_CLEANUP(rk_buf_deinit) struct rk_buf elsewhere = {0};
            mvcc_stream_put_rows(&elsewhere, rk_buf_slice(&body), &crc);
        }
        mvcc_stream_put_tail(&stream, 1, crc);
        assert_int_equal(fixture_verify(rk_buf_slice(&stream), 100), other ? -EBADMSG : 0);
    }
}

static void a_length_that_cannot_be_is_refused_at_once(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {0, MVCC_BLOCK_BYTES_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < RK_ARRAY_LEN(lengths); i++) {
        uint8_t bytes[MVCC_BLOCK_HEADER + 1] = {0};
        rk_store_u32(bytes, lengths[i]);
        assert_int_equal(fixture_verify(rk_slice(bytes, sizeof(bytes)), sizeof(bytes)), -EBADMSG);
    }
}

/* A stream with good CRCs around these rows; error: what its head says too much of their hash. */
static int verify_sum(const struct mvcc_row *rows, size_t count, uint64_t revision, uint64_t keys,
                      uint64_t error)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf body = {0};
    struct mvcc_snapshot_info info = {
        .group = 1, .index = 50, .term = 1, .revision = revision, .keys = keys, .hash = error};
    uint32_t crc = 0;
    for (size_t i = 0; i < count; i++)
        info.hash += mvcc_hash_row(&rows[i]);
    mvcc_stream_put_head(&stream, &info, &crc);
    for (size_t i = 0; i < count; i++) {
        rk_buf_clear(&body);
        mvcc_stream_put_row(&body, &rows[i]);
        mvcc_stream_put_rows(&stream, rk_buf_slice(&body), &crc);
    }
    mvcc_stream_put_tail(&stream, count, crc);
    return fixture_verify(rk_buf_slice(&stream), stream.len);
}

static int verify_rows(const struct mvcc_row *rows, size_t count, uint64_t revision, uint64_t keys)
{
    return verify_sum(rows, count, revision, keys, 0);
}

static struct mvcc_row put(const char *key, uint64_t revision, uint64_t create, uint64_t version)
{
    return (struct mvcc_row){
        .key = rk_slice_str(key), .revision = revision, .create_revision = create, .version = version};
}

static struct mvcc_row tomb(const char *key, uint64_t revision)
{
    return (struct mvcc_row){.key = rk_slice_str(key), .revision = revision, .tombstone = true};
}

#define GOOD(revision, keys, ...) assert_rows(0, revision, keys, __VA_ARGS__)
#define BAD(revision, keys, ...)  assert_rows(-EBADMSG, revision, keys, __VA_ARGS__)
#define assert_rows(expected, revision, keys, ...)                                                           \
    do {                                                                                                     \
        const struct mvcc_row rows[] = {__VA_ARGS__};                                                        \
        assert_int_equal(verify_rows(rows, RK_ARRAY_LEN(rows), revision, keys), expected);                   \
    } while (0)

static void rows_that_no_commands_can_have_made_are_refused(void **state)
{
    (void)state;
    GOOD(5, 2, put("a", 5, 2, 2), put("a", 2, 2, 1), put("b", 3, 3, 1));
    GOOD(5, 1, put("a", 5, 5, 1), tomb("a", 4), put("a", 2, 2, 1));
    GOOD(5, 0, tomb("a", 4), put("a", 2, 2, 1));
    BAD(5, 1, put("a", 5, 2, 2), put("a", 2, 2, 1), put("b", 3, 3, 1)); /* live keys */
    BAD(5, 3, put("a", 5, 2, 2), put("a", 2, 2, 1), put("b", 3, 3, 1));
    BAD(4, 1, put("a", 5, 5, 1));                    /* beyond the revision of the head */
    BAD(4, 1, put("a", 1, 1, 1));                    /* before the first change */
    BAD(5, 2, put("b", 3, 3, 1), put("a", 4, 4, 1)); /* order of keys */
    BAD(5, 1, put("a", 2, 2, 1), put("a", 5, 2, 2)); /* order of versions */
    BAD(5, 1, put("a", 2, 2, 1), put("a", 2, 2, 1)); /* twice */
    BAD(5, 1, put("a", 5, 2, 3), put("a", 2, 2, 1)); /* a version left out */
    BAD(5, 1, put("a", 5, 3, 2), put("a", 2, 2, 1)); /* another create revision */
    BAD(5, 1, put("a", 5, 2, 2));                    /* without its beginning */
    BAD(5, 2, put("a", 5, 2, 2), put("b", 2, 2, 1));
    BAD(5, 0, tomb("a", 4));
    BAD(5, 0, tomb("a", 4), tomb("a", 3), put("a", 2, 2, 1));
    BAD(5, 1, put("a", 5, 2, 2), tomb("a", 4), put("a", 2, 2, 1)); /* a life that goes on after its end */
    BAD(5, 1, put("a", 5, 5, 0));
    BAD(5, 1, put("a", 5, 5, 7));
    BAD(5, 1, put("a", 4, 5, 2));
    BAD(5, 1, put("", 5, 5, 1));
    BAD(UINT64_MAX, 1, put("a", 5, 5, UINT64_MAX), put("a", 4, 5, UINT64_MAX - 1));
}

static void rows_that_do_not_add_up_to_the_hash_are_refused(void **state)
{
    (void)state;
    const struct mvcc_row rows[] = {put("a", 5, 2, 2), put("a", 2, 2, 1), put("b", 3, 3, 1)};
    assert_int_equal(verify_sum(rows, 3, 5, 2, 0), 0);
    assert_int_equal(verify_sum(rows, 3, 5, 2, 1), -EBADMSG);
    assert_int_equal(verify_sum(rows, 3, 5, 2, 1ULL << 63), -EBADMSG);
}

static void each_bit_of_a_row_counts_in_its_hash(void **state)
{
    (void)state;
    static const char value[] = "0123456789abcdef012";
    const struct mvcc_row row = {.key = rk_slice_str("key"),
                                 .revision = 9,
                                 .sub = 1,
                                 .create_revision = 7,
                                 .version = 2,
                                 .lease = 3,
                                 .value = rk_slice_str(value)};
    uint64_t hash = mvcc_hash_row(&row);
    for (size_t bit = 0; bit < 8 * strlen(value); bit++) {
        struct mvcc_row other = row;
        char changed[sizeof(value)];
        memcpy(changed, value, sizeof(value));
        changed[bit / 8] ^= (char)(1 << bit % 8);
        other.value = rk_slice(changed, strlen(value));
        assert_true(mvcc_hash_row(&other) != hash);
    }
    struct mvcc_row others[] = {row, row, row, row, row, row, row, row};
    others[0].key = rk_slice_str("kez");
    others[1].revision++;
    others[2].sub++;
    others[3].create_revision++;
    others[4].version++;
    others[5].lease++;
    others[6].tombstone = true;
    others[7].value.len--;
    for (size_t i = 0; i < RK_ARRAY_LEN(others); i++)
        assert_true(mvcc_hash_row(&others[i]) != hash);
}

static void put_block(struct rk_buf *stream, struct rk_slice body, uint32_t *crc)
{
    size_t start = stream->len;
    rk_put_u32(stream, (uint32_t)body.len);
    rk_put_u32(stream, rk_crc32c(0, body));
    rk_buf_append_slice(stream, body);
    *crc = rk_crc32c(*crc, rk_slice(rk_buf_slice(stream).data + start, stream->len - start));
}

static void blocks_with_nonsense_and_a_good_crc_are_refused(void **state)
{
    (void)state;
    const struct mvcc_snapshot_info info = {.group = 1, .revision = 9};
    struct rk_random random = {.state = 8};
    for (unsigned i = 0; i < 5000; i++) {
        RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
        uint8_t body[60];
        uint32_t crc = 0;
        size_t len = 1 + (size_t)rk_random_below(&random, sizeof(body));
        for (size_t at = 0; at < len; at++)
            body[at] = (uint8_t)(rk_random_next(&random) & (at % 4 < 3 && i % 2 ? 0 : 0xff));
        body[0] = (uint8_t)(i % 5);
        if (i % 3 > 0)
            mvcc_stream_put_head(&stream, &info, &crc);
        put_block(&stream, rk_slice(body, len), &crc);
        assert_int_equal(fixture_verify(rk_buf_slice(&stream), 16), -EBADMSG);
    }
}

static void a_later_format_is_refused(void **state)
{
    (void)state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf bad = {0};
    const struct mvcc_snapshot_info info = {.group = 1, .revision = 9};
    uint32_t crc = 0;
    mvcc_stream_put_head(&stream, &info, &crc);
    stream.data[MVCC_BLOCK_HEADER + 9]++;
    put_block(&bad, rk_slice(stream.data + MVCC_BLOCK_HEADER, stream.len - MVCC_BLOCK_HEADER), &crc);
    assert_int_equal(fixture_verify(rk_buf_slice(&bad), 100), -EBADMSG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_cut_stream_is_never_complete),
        TEST(every_damaged_byte_is_noticed),
        TEST(blocks_left_out_doubled_or_swapped_are_noticed),
        cmocka_unit_test(a_block_of_another_stream_is_noticed),
        cmocka_unit_test(a_length_that_cannot_be_is_refused_at_once),
        cmocka_unit_test(rows_that_no_commands_can_have_made_are_refused),
        cmocka_unit_test(rows_that_do_not_add_up_to_the_hash_are_refused),
        cmocka_unit_test(each_bit_of_a_row_counts_in_its_hash),
        cmocka_unit_test(blocks_with_nonsense_and_a_good_crc_are_refused),
        cmocka_unit_test(a_later_format_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
