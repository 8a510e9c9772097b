/* tests/unit/test_store_fault.c - a disk that fails: flushes and writes that error, a disk that is full. */
#include "tests/unit/store_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "lib/base/rk_random.h"
#include "lib/base/rk_wire.h"

struct fixture {
    struct store_dir *dir;
    struct store_log *log;
    struct store_rows *rows;
};

static struct fixture open_fixture(const char *path)
{
    struct fixture f;
    f.dir = must_open_dir(path);
    CHECK(store_space_init(f.dir, 1u << 20, 0) == 0);
    f.log = must_open_log(f.dir);
    f.rows = must_open_rows(f.dir);
    return f;
}

static void close_fixture(struct fixture *f)
{
    store_log_close(f->log);
    store_rows_close(f->rows);
    store_dir_close(f->dir);
}

static int append(struct fixture *f, uint64_t first, uint64_t last)
{
    int r = store_log_begin(f->log);
    if (r < 0)
        return r;
    r = append_range(f->log, 1, first, last, 1);
    if (r == 0)
        return store_log_commit(f->log);
    store_log_abort(f->log);
    return r;
}

static int put_row(struct fixture *f, const char *key)
{
    int r = store_rows_begin(f->rows);
    if (r < 0)
        return r;
    r = store_rows_put(f->rows, rk_slice_str(key), rk_slice_str("x"));
    if (r == 0)
        return store_rows_commit(f->rows);
    store_rows_abort(f->rows);
    return r;
}

static uint64_t last_index(const char *path)
{
    struct store_dir *dir = must_open_dir(path);
    struct store_log *log = must_open_log(dir);
    struct store_vote vote;
    struct store_base base;
    uint64_t last;
    assert_int_equal(store_log_state(log, 1, &vote, &base, &last), 0);
    store_log_close(log);
    store_dir_close(dir);
    return last;
}

/* ---- failed flushes ------------------------------------------------------------- */

static void fail_one_flush(const char *path)
{
    struct fixture f = open_fixture(path);
    CHECK(append(&f, 1, 10) == 0);
    CHECK(store_rows_begin(f.rows) == 0); /* open while the disk fails */
    CHECK(store_rows_put(f.rows, rk_slice_str("k"), rk_slice_str("v")) == 0);
    store_hooks_test_fail_sync(1, EIO);
    CHECK(append(&f, 11, 20) == -EIO);
    uint64_t syncs = store_hooks_test_syncs();
    struct store_vote vote;
    struct store_base base;
    uint64_t last;
    CHECK(store_log_begin(f.log) == -EIO);
    CHECK(store_log_state(f.log, 1, &vote, &base, &last) == -EIO);
    CHECK(store_log_checkpoint(f.log) == -EIO);
    CHECK(store_log_trim(f.log, 1, 1) == -EIO);
    CHECK(store_rows_commit(f.rows) == -EIO);
    CHECK(store_rows_begin(f.rows) == -EIO);
    CHECK(store_rows_flush(f.rows) == -EIO);
    close_fixture(&f);
    CHECK(store_hooks_test_syncs() == syncs); /* the flush was not tried again, by nobody */
}

static void a_failed_flush_is_final_for_both_environments(void **state)
{
    assert_int_equal(in_child(fail_one_flush, *state), 0);
    assert_true(last_index(*state) >= 10);
}

static void fail_checkpoint(const char *path)
{
    struct fixture f = open_fixture(path);
    CHECK(append(&f, 1, 500) == 0);
    store_hooks_test_fail_sync(1, EIO);
    CHECK(store_log_checkpoint(f.log) == -EIO);
    CHECK(append(&f, 501, 501) == -EIO);
    close_fixture(&f);
}

static void a_flush_that_fails_in_a_checkpoint_stops_the_owner(void **state)
{
    assert_int_equal(in_child(fail_checkpoint, *state), 0);
    assert_int_equal(last_index(*state), 500);
}

/* The sweeps: the n-th flush or write of a life fails, and what was acknowledged before must be there
 * afterwards. */
static struct sweep {
    unsigned n;
    int error;
    bool writes;
    atomic_ullong *acknowledged; /* shared with the child */
} sweep;

static int work(struct fixture *f, uint64_t *last)
{
    int r = 0;
    for (uint64_t i = 0; r == 0 && i < 12; i++) {
        uint64_t count = i % 4 == 3 ? 200 : 3;
        r = append(f, *last + 1, *last + count);
        if (r == 0)
            atomic_store(sweep.acknowledged, *last += count);
        r = r != 0 ? r : put_row(f, i % 2 == 0 ? "even" : "odd");
        if (r == 0 && i % 5 == 4)
            r = store_log_checkpoint(f->log);
        if (r == 0 && i % 5 == 3)
            r = store_rows_flush(f->rows);
    }
    return r;
}

static void one_life(const char *path)
{
    struct store_dir *dir = must_open_dir(path);
    CHECK(store_space_init(dir, 0, 0) == 0);
    if (sweep.writes)
        store_hooks_test_fail_write(sweep.n, 1, sweep.error);
    else
        store_hooks_test_fail_sync(sweep.n, sweep.error);
    const struct store_log_config log_config = {.cache_bytes = 1u << 20, .file_bytes = 1u << 20};
    const struct store_rows_config rows_config = {.cache_bytes = 1u << 20, .file_bytes = 1u << 20};
    struct fixture f = {.dir = dir};
    char *error = NULL;
    int r = store_log_open(dir, &log_config, NULL, NULL, &f.log, &error);
    r = r != 0 ? r : store_rows_open(dir, &rows_config, NULL, NULL, &f.rows, &error);
    if (error)
        fprintf(stderr, "%s\n", error);
    free(error);
    uint64_t last = atomic_load(sweep.acknowledged);
    r = r != 0 ? r : work(&f, &last);
    CHECK(r == 0 || r == -sweep.error);
    close_fixture(&f);
    /* Not exit(): when the flush of a new database's name fails, Berkeley DB loses the 844 bytes in which it
     * kept it, and the leak checker would complain about the library. */
    _exit(r == 0 ? 0 : 2);
}

static void run_sweep(const char *path, bool writes, int error)
{
    atomic_ullong *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned failures = 0;
    for (unsigned n = 1; n < 60; n += n < 18 ? 1 : 7) {
        RK_CLEANUP(rk_freep) char *life = rk_asprintf("%s-%u", path, n);
        atomic_store(shared, 0);
        sweep = (struct sweep){.n = n, .error = error, .writes = writes, .acknowledged = shared};
        int status = in_child(one_life, life);
        assert_true(status == 0 || status == 2);
        failures += status == 2;
        assert_true(last_index(life) >= atomic_load(shared));
    }
    assert_true(failures > 15);
    munmap(shared, 4096);
}

static void whichever_flush_fails_what_was_acknowledged_is_kept(void **state)
{
    run_sweep(*state, false, EIO);
}

static void whichever_write_fails_what_was_acknowledged_is_kept(void **state)
{
    run_sweep(*state, true, EIO);
}

static void wherever_the_disk_is_full_what_was_acknowledged_is_kept(void **state)
{
    run_sweep(*state, true, ENOSPC);
}

/* ---- reads that fail --------------------------------------------------------------- */

/* The log is long, so that its end is far behind its last checkpoint. */
static void fill_log(const char *path)
{
    struct fixture f = open_fixture(path);
    for (uint64_t first = 1; first < 300; first += 10)
        CHECK(append(&f, first, first + 9) == 0);
    _exit(0); /* no checkpoint: the next start has to recover */
}

/* Instead of libc's, for Berkeley DB, too: it reads its log by it, and tries a hundred times. */
static unsigned reads_until_failure;

ssize_t read(int fd, void *data, size_t size)
{
    if (reads_until_failure > 1) {
        reads_until_failure--;
    } else if (reads_until_failure == 1) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_read, fd, data, size);
}

static void start_with_a_failed_read(const char *path)
{
    struct store_dir *dir = must_open_dir(path);
    CHECK(store_space_init(dir, 0, 0) == 0);
    reads_until_failure = sweep.n;
    const struct store_log_config config = {.cache_bytes = 1u << 20, .file_bytes = 1u << 20};
    struct store_log *log = NULL;
    char *error = NULL;
    int r = store_log_open(dir, &config, NULL, NULL, &log, &error);
    CHECK(r == 0 || r == -EIO);
    _exit(r == 0 ? 0 : 2); /* what the library had in hand is lost with the process */
}

static void a_start_that_cannot_read_the_log_leaves_it_as_it_is(void **state)
{
    unsigned failures = 0;
    assert_int_equal(in_child(fill_log, *state), 0);
    for (sweep.n = 1; sweep.n <= 100; sweep.n++) {
        RK_CLEANUP(rk_freep) char *copy = rk_asprintf("%s-%u", (char *)*state, sweep.n);
        RK_CLEANUP(rk_freep) char *command = rk_asprintf("cp -r '%s' '%s'", (char *)*state, copy);
        assert_int_equal(system(command), 0);
        int status = in_child(start_with_a_failed_read, copy);
        assert_true(status == 0 || status == 2);
        failures += status == 2;
        assert_int_equal(last_index(copy), 300);
        if (status == 0)
            break; /* there are no more */
    }
    assert_true(failures > 15);
}

/* ---- a full disk ------------------------------------------------------------------ */

static uint64_t free_now;

static int measure(const char *path, uint64_t *ret_free_bytes)
{
    (void)path;
    *ret_free_bytes = free_now;
    return 0;
}

static void fill_the_disk(const char *path)
{
    store_space_test_measure(measure);
    free_now = 1u << 30;
    struct fixture f = open_fixture(path);
    CHECK(store_space_test_has_reserve());
    CHECK(append(&f, 1, 10) == 0);
    free_now = 0;
    store_hooks_test_fail_write(1, 1, ENOSPC);
    CHECK(append(&f, 11, 20) == 0);
    CHECK(!store_space_test_has_reserve());
    CHECK(store_space_low());
    free_now = 1u << 20; /* only the ballast itself */
    store_space_poll();
    CHECK(!store_space_test_has_reserve());
    free_now = 3u << 20;
    store_space_poll();
    CHECK(store_space_test_has_reserve());
    CHECK(append(&f, 21, 30) == 0);
    close_fixture(&f);
}

static void a_write_to_a_full_disk_gives_the_ballast_back_and_succeeds(void **state)
{
    assert_int_equal(in_child(fill_the_disk, *state), 0);
    assert_int_equal(last_index(*state), 30);
}

static void fill_the_disk_for_good(const char *path)
{
    struct fixture f = open_fixture(path);
    CHECK(append(&f, 1, 10) == 0);
    store_hooks_test_fail_write(1, 2, ENOSPC); /* with the ballast gone it is still full */
    CHECK(append(&f, 11, 20) == -ENOSPC);
    CHECK(store_log_begin(f.log) == -ENOSPC);
    CHECK(put_row(&f, "k") == 0); /* the other environment has lost nothing */
    CHECK(store_rows_flush(f.rows) == 0);
    close_fixture(&f);
}

static void a_disk_that_stays_full_fails_the_environment_that_met_it(void **state)
{
    assert_int_equal(in_child(fill_the_disk_for_good, *state), 0);
    assert_true(last_index(*state) >= 10);
}

static void watch_the_space(const char *path)
{
    store_space_test_measure(measure);
    free_now = 100u << 20;
    struct store_dir *dir = must_open_dir(path);
    CHECK(store_space_init(dir, 4u << 20, 50u << 20) == 0);
    CHECK(!store_space_low());
    CHECK(store_space_free_bytes() == 96u << 20); /* the ballast was taken from it */
    free_now = (50u << 20) - 1;
    store_space_poll();
    CHECK(store_space_low());
    free_now = 50u << 20;
    store_space_poll();
    CHECK(!store_space_low());
    store_dir_close(dir);
}

static void space_is_low_below_the_bound_and_only_there(void **state)
{
    assert_int_equal(in_child(watch_the_space, *state), 0);
}

static void start_without_room(const char *path)
{
    store_space_test_measure(measure);
    free_now = 2u << 20;
    struct store_dir *dir = must_open_dir(path);
    CHECK(store_space_init(dir, 4u << 20, 1u << 20) == 0);
    CHECK(!store_space_test_has_reserve());
    CHECK(store_space_low()); /* the ballast is not counted as room */
    CHECK(store_space_free_bytes() == 0);
    store_dir_close(dir);
}

static void a_start_on_a_full_disk_works_without_ballast(void **state)
{
    assert_int_equal(in_child(start_without_room, *state), 0);
}

static void keep_the_ballast(const char *path)
{
    struct store_dir *dir = must_open_dir(path);
    CHECK(store_space_init(dir, 4u << 20, 0) == 0);
    CHECK(store_space_test_has_reserve());
    CHECK(store_space_init(dir, 4u << 20, 0) == 0);
    CHECK(store_space_test_has_reserve());
    CHECK(store_space_init(dir, 2u << 20, 0) == 0); /* another size */
    CHECK(store_space_test_has_reserve());
    RK_CLEANUP(rk_freep) char *file = rk_asprintf("%s/reserve", path);
    RK_CLEANUP(rk_closep) int fd = open(file, O_RDONLY);
    CHECK(lseek(fd, 0, SEEK_END) == 2 << 20);
    store_dir_close(dir);
}

static void the_ballast_has_the_configured_size(void **state)
{
    assert_int_equal(in_child(keep_the_ballast, *state), 0);
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        RULE(a_failed_flush_is_final_for_both_environments),
        RULE(a_flush_that_fails_in_a_checkpoint_stops_the_owner),
        RULE(whichever_flush_fails_what_was_acknowledged_is_kept),
        RULE(whichever_write_fails_what_was_acknowledged_is_kept),
        RULE(wherever_the_disk_is_full_what_was_acknowledged_is_kept),
        RULE(a_start_that_cannot_read_the_log_leaves_it_as_it_is),
        RULE(a_write_to_a_full_disk_gives_the_ballast_back_and_succeeds),
        RULE(a_disk_that_stays_full_fails_the_environment_that_met_it),
        RULE(space_is_low_below_the_bound_and_only_there),
        RULE(a_start_on_a_full_disk_works_without_ballast),
        RULE(the_ballast_has_the_configured_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
