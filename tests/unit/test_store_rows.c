/* tests/unit/test_store_rows.c - rows: order, transactions, cursors, durability. */
#include "tests/unit/store_test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "lib/base/rk_random.h"
#include "lib/base/rk_wire.h"

struct fixture {
    struct store_dir *dir;
    struct store_rows *rows;
};

static struct fixture open_fixture(const char *path)
{
    struct fixture f;
    f.dir = must_open_dir(path);
    f.rows = must_open_rows(f.dir);
    return f;
}

static void close_fixture(struct fixture *f)
{
    store_rows_close(f->rows);
    store_dir_close(f->dir);
}

static void put(struct fixture *f, const char *key, const char *value)
{
    assert_int_equal(store_rows_put(f->rows, rk_slice_str(key), rk_slice_str(value)), 0);
}

static void assert_row(struct fixture *f, const char *key, const char *value)
{
    struct rk_buf buf = {0};
    assert_int_equal(store_rows_get(f->rows, rk_slice_str(key), &buf), 0);
    assert_true(rk_slice_eq_str(rk_buf_slice(&buf), value));
    rk_buf_deinit(&buf);
}

static void assert_no_row(struct fixture *f, const char *key)
{
    struct rk_buf buf = {0};
    assert_int_equal(store_rows_get(f->rows, rk_slice_str(key), &buf), STORE_E_NOT_FOUND);
    rk_buf_deinit(&buf);
}

static void rows_written_in_a_transaction_are_read_in_it_and_after_it(void **state)
{
    struct fixture f = open_fixture(*state);
    assert_int_equal(store_rows_begin(f.rows), 0);
    put(&f, "a", "1");
    assert_row(&f, "a", "1");
    put(&f, "a", "2");
    put(&f, "empty", "");
    assert_int_equal(store_rows_commit(f.rows), 0);
    assert_row(&f, "a", "2");
    assert_row(&f, "empty", "");
    assert_no_row(&f, "b");
    close_fixture(&f);
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
    struct fixture f = open_fixture(*state);
    assert_int_equal(store_rows_begin(f.rows), 0);
    put(&f, "kept", "1");
    assert_int_equal(store_rows_commit(f.rows), 0);
    assert_int_equal(store_rows_begin(f.rows), 0);
    put(&f, "kept", "2");
    put(&f, "new", "1");
    store_rows_abort(f.rows);
    assert_row(&f, "kept", "1");
    assert_no_row(&f, "new");
    close_fixture(&f);
}

static void a_deleted_row_is_not_found(void **state)
{
    struct fixture f = open_fixture(*state);
    assert_int_equal(store_rows_begin(f.rows), 0);
    put(&f, "a", "1");
    assert_int_equal(store_rows_del(f.rows, rk_slice_str("a")), 0);
    assert_int_equal(store_rows_del(f.rows, rk_slice_str("a")), STORE_E_NOT_FOUND);
    assert_int_equal(store_rows_commit(f.rows), 0);
    assert_no_row(&f, "a");
    close_fixture(&f);
}

static void values_up_to_the_largest_command_come_back_whole(void **state)
{
    struct fixture f = open_fixture(*state);
    static const size_t sizes[] = {0, 1, 255, 256, 257, 1000, 4096, 70000, RK_COMMAND_BYTES_MAX};
    struct rk_buf value = {0}, got = {0};
    struct rk_random random = {7};
    while (value.len < RK_COMMAND_BYTES_MAX)
        rk_put_u8(&value, (uint8_t)rk_random_next(&random));
    assert_int_equal(store_rows_begin(f.rows), 0);
    for (uint8_t i = 0; i < RK_ARRAY_LEN(sizes); i++)
        assert_int_equal(store_rows_put(f.rows, rk_slice(&i, 1), rk_slice(value.data, sizes[i])), 0);
    assert_int_equal(store_rows_commit(f.rows), 0);
    for (uint8_t i = 0; i < RK_ARRAY_LEN(sizes); i++) {
        assert_int_equal(store_rows_get(f.rows, rk_slice(&i, 1), &got), 0);
        assert_true(rk_slice_eq(rk_buf_slice(&got), rk_slice(value.data, sizes[i])));
    }
    rk_buf_deinit(&value);
    rk_buf_deinit(&got);
    close_fixture(&f);
}

static void cursors_walk_in_memcmp_order_both_ways(void **state)
{
    struct fixture f = open_fixture(*state);
    static const char *const keys[] = {"b", "a", "\xff", "ab", "c"};
    static const char *const order[] = {"a", "ab", "b", "c", "\xff"};
    assert_int_equal(store_rows_begin(f.rows), 0);
    for (size_t i = 0; i < RK_ARRAY_LEN(keys); i++)
        put(&f, keys[i], keys[i]);
    assert_int_equal(store_rows_commit(f.rows), 0);

    struct store_cursor *c;
    assert_int_equal(store_cursor_open(f.rows, &c), 0);
    assert_int_equal(store_cursor_seek(c, rk_slice_str("")), 0);
    for (size_t i = 0; i < RK_ARRAY_LEN(order); i++) {
        assert_true(rk_slice_eq_str(store_cursor_key(c), order[i]));
        assert_true(rk_slice_eq_str(store_cursor_value(c), order[i]));
        assert_int_equal(store_cursor_next(c), i + 1 < RK_ARRAY_LEN(order) ? 0 : STORE_E_END);
    }
    assert_int_equal(store_cursor_next(c), STORE_E_END);
    for (size_t i = RK_ARRAY_LEN(order); i > 0; i--) {
        assert_int_equal(store_cursor_prev(c), 0);
        assert_true(rk_slice_eq_str(store_cursor_key(c), order[i - 1]));
    }
    assert_int_equal(store_cursor_prev(c), STORE_E_END);
    assert_int_equal(store_cursor_next(c), 0);
    assert_true(rk_slice_eq_str(store_cursor_key(c), "a"));
    store_cursor_close(c);
    close_fixture(&f);
}

static void seek_finds_the_first_row_at_or_after_the_key(void **state)
{
    struct fixture f = open_fixture(*state);
    assert_int_equal(store_rows_begin(f.rows), 0);
    put(&f, "b", "1");
    put(&f, "d", "2");
    struct store_cursor *c;
    assert_int_equal(store_cursor_open(f.rows, &c), 0);
    assert_int_equal(store_cursor_seek(c, rk_slice_str("c")), 0);
    assert_true(rk_slice_eq_str(store_cursor_key(c), "d"));
    assert_int_equal(store_cursor_seek(c, rk_slice_str("b")), 0);
    assert_true(rk_slice_eq_str(store_cursor_key(c), "b"));
    /* A seek beyond the last row, then back: how a reverse scan begins. */
    assert_int_equal(store_cursor_seek(c, rk_slice_str("e")), STORE_E_END);
    assert_int_equal(store_cursor_prev(c), 0);
    assert_true(rk_slice_eq_str(store_cursor_key(c), "d"));
    store_cursor_close(c);
    assert_int_equal(store_rows_commit(f.rows), 0);
    close_fixture(&f);
}

static void a_cursor_over_no_rows_is_at_its_end(void **state)
{
    struct fixture f = open_fixture(*state);
    struct store_cursor *c;
    assert_int_equal(store_cursor_open(f.rows, &c), 0);
    assert_int_equal(store_cursor_seek(c, rk_slice_str("")), STORE_E_END);
    assert_int_equal(store_cursor_prev(c), STORE_E_END);
    assert_int_equal(store_cursor_next(c), STORE_E_END);
    store_cursor_close(c);
    close_fixture(&f);
}

static void deleting_a_prefix_goes_in_steps_and_spares_the_neighbours(void **state)
{
    struct fixture f = open_fixture(*state);
    assert_int_equal(store_rows_begin(f.rows), 0);
    put(&f, "o", "1");
    put(&f, "q", "1");
    for (int i = 0; i < 10; i++) {
        char key[16];
        snprintf(key, sizeof(key), "p%d", i);
        put(&f, key, "x");
    }
    assert_int_equal(store_rows_del_prefix(f.rows, rk_slice_str("p"), 4), 1);
    assert_no_row(&f, "p3");
    assert_row(&f, "p4", "x");
    assert_int_equal(store_rows_del_prefix(f.rows, rk_slice_str("p"), 6), 0);
    assert_int_equal(store_rows_del_prefix(f.rows, rk_slice_str("p"), 6), 0);
    assert_no_row(&f, "p9");
    assert_row(&f, "o", "1");
    assert_row(&f, "q", "1");
    assert_int_equal(store_rows_commit(f.rows), 0);
    close_fixture(&f);
}

static void rows_are_there_after_close_and_open(void **state)
{
    struct fixture f = open_fixture(*state);
    assert_int_equal(store_rows_begin(f.rows), 0);
    put(&f, "a", "1");
    assert_int_equal(store_rows_commit(f.rows), 0);
    close_fixture(&f);
    f = open_fixture(*state);
    assert_row(&f, "a", "1");
    close_fixture(&f);
}

static void a_checkpoint_counts_dirty_bytes_from_zero_and_removes_old_files(void **state)
{
    struct fixture f = open_fixture(*state);
    static const uint8_t value[60000];
    for (uint32_t i = 0; i < 400; i++) {
        uint8_t key[4];
        rk_store_u32(key, i % 50);
        assert_int_equal(store_rows_begin(f.rows), 0);
        assert_int_equal(store_rows_put(f.rows, rk_slice(key, sizeof(key)), rk_slice(value, sizeof(value))),
                         0);
        assert_int_equal(store_rows_commit(f.rows), 0);
    }
    assert_true(store_rows_dirty_bytes(f.rows) > 20u << 20);
    assert_int_equal(store_rows_checkpoint(f.rows), 0);
    assert_true(store_rows_dirty_bytes(f.rows) < 1u << 20);
    assert_true(store_rows_bytes(f.rows) > 50u * 60000u);
    RK_CLEANUP(rk_freep) char *first = rk_asprintf("%s/rows/log.0000000001", (char *)*state);
    assert_int_equal(access(first, F_OK), -1);
    close_fixture(&f);
}

/* ---- crashes ------------------------------------------------------------------ */

/* Each transaction writes the counter and 8 rows that repeat it. A pipe tells what was flushed. */
static void write_rounds(const char *path, int pipe_fd)
{
    struct fixture f = open_fixture(path);
    struct rk_random random = {(uint64_t)getpid()};
    struct rk_buf buf = {0};
    uint64_t n = store_rows_get(f.rows, rk_slice_str("n"), &buf) == 0 ? rk_load_u64(buf.data + buf.start) : 0;
    for (;;) {
        uint8_t value[3000] = {0};
        rk_store_u64(value, ++n);
        CHECK(store_rows_begin(f.rows) == 0);
        CHECK(store_rows_put(f.rows, rk_slice_str("n"), rk_slice(value, 8)) == 0);
        for (uint32_t i = 0; i < 8; i++) {
            uint8_t key[5] = "r";
            rk_store_u32(key + 1, i);
            CHECK(store_rows_put(f.rows, rk_slice(key, 5),
                                 rk_slice(value, 8 + rk_random_below(&random, 2900))) == 0);
        }
        CHECK(store_rows_commit(f.rows) == 0);
        if (rk_random_below(&random, 16) == 0) {
            CHECK(store_rows_flush(f.rows) == 0);
            CHECK(write(pipe_fd, &n, sizeof(n)) == sizeof(n));
        }
        if (rk_random_below(&random, 200) == 0)
            CHECK(store_rows_checkpoint(f.rows) == 0);
    }
}

static uint64_t crash_after(const char *path, useconds_t delay_us)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        write_rounds(path, fds[1]);
    }
    close(fds[1]);
    usleep(delay_us);
    kill(pid, SIGKILL);
    uint64_t n, flushed = 0;
    while (read(fds[0], &n, sizeof(n)) == sizeof(n))
        flushed = n;
    close(fds[0]);
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status));
    return flushed;
}

static void check_rounds(const char *path, uint64_t flushed)
{
    struct fixture f = open_fixture(path);
    struct rk_buf buf = {0};
    uint64_t n = 0;
    if (store_rows_get(f.rows, rk_slice_str("n"), &buf) == 0)
        n = rk_load_u64(buf.data + buf.start);
    assert_true(n >= flushed);
    for (uint32_t i = 0; n > 0 && i < 8; i++) {
        uint8_t key[5] = "r";
        rk_store_u32(key + 1, i);
        assert_int_equal(store_rows_get(f.rows, rk_slice(key, 5), &buf), 0);
        assert_int_equal(rk_load_u64(buf.data + buf.start), n);
    }
    rk_buf_deinit(&buf);
    close_fixture(&f);
}

static void after_a_crash_rows_are_whole_transactions_and_none_that_was_flushed_is_lost(void **state)
{
    struct rk_random random = {42};
    for (int round = 0; round < 20; round++) {
        uint64_t flushed = crash_after(*state, (useconds_t)(5000 + rk_random_below(&random, 60000)));
        check_rounds(*state, flushed);
    }
}

/* ---- rot ------------------------------------------------------------------------- */

static void write_then_rot(const char *path)
{
    struct fixture f = open_fixture(path);
    static const uint8_t value[900];
    CHECK(store_rows_begin(f.rows) == 0);
    for (uint32_t i = 0; i < 2000; i++) {
        uint8_t key[4];
        rk_store_u32(key, i);
        CHECK(store_rows_put(f.rows, rk_slice(key, 4), rk_slice(value, sizeof(value))) == 0);
    }
    CHECK(store_rows_commit(f.rows) == 0);
    close_fixture(&f);
    RK_CLEANUP(rk_freep) char *file = rk_asprintf("%s/rows/data.db", path);
    RK_CLEANUP(rk_closep) int fd = open(file, O_RDWR);
    for (off_t page = 3; page < 400; page++) /* the middle of the file: leaf pages */
        CHECK(pwrite(fd, "\x55", 1, page * STORE_PAGE_BYTES + 2000) == 1);
}

static void read_rot(const char *path)
{
    write_then_rot(path);
    struct fixture f = open_fixture(path);
    struct store_cursor *c;
    CHECK(store_cursor_open(f.rows, &c) == 0);
    int r = store_cursor_seek(c, rk_slice_str(""));
    while (r == 0)
        r = store_cursor_next(c);
    CHECK(r == -EUCLEAN);
    store_cursor_close(c);
    CHECK(store_rows_begin(f.rows) == -EUCLEAN);
    CHECK(store_rows_checkpoint(f.rows) == -EUCLEAN);
    close_fixture(&f);
}

static void a_rotten_page_is_an_error_for_good_and_never_rows(void **state)
{
    assert_int_equal(in_child(read_rot, *state), 0);
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        RULE(rows_written_in_a_transaction_are_read_in_it_and_after_it),
        RULE(an_aborted_transaction_leaves_nothing),
        RULE(a_deleted_row_is_not_found),
        RULE(values_up_to_the_largest_command_come_back_whole),
        RULE(cursors_walk_in_memcmp_order_both_ways),
        RULE(seek_finds_the_first_row_at_or_after_the_key),
        RULE(a_cursor_over_no_rows_is_at_its_end),
        RULE(deleting_a_prefix_goes_in_steps_and_spares_the_neighbours),
        RULE(rows_are_there_after_close_and_open),
        RULE(a_checkpoint_counts_dirty_bytes_from_zero_and_removes_old_files),
        RULE(after_a_crash_rows_are_whole_transactions_and_none_that_was_flushed_is_lost),
        RULE(a_rotten_page_is_an_error_for_good_and_never_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
