/* tests/unit/test_store_mark.c - the mark: its file, and a log that has lost what the mark says was written.
 */
#include "tests/unit/store_test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "lib/base/rk_file.h"

/* ---- the file ---------------------------------------------------------------------- */

static char *mark_path(const char *path)
{
    store_dir_close(must_open_dir(path));
    return rk_asprintf("%s/mark", path);
}

static struct store_mark *open_mark(const char *path)
{
    struct store_mark *mark = NULL;
    char *error = NULL;
    assert_int_equal(store_mark_open(path, &mark, &error), 0);
    return mark;
}

static struct store_mark_item item_of(const struct store_mark *mark, uint32_t group)
{
    size_t cursor = 0;
    for (const struct store_mark_item *i = store_mark_next(mark, &cursor); i;
         i = store_mark_next(mark, &cursor)) {
        if (i->group == group)
            return *i;
    }
    return (struct store_mark_item){0};
}

static void raise_mark(struct store_mark *mark, uint32_t group, uint64_t index, uint64_t term)
{
    const struct store_mark_item item = {.group = group, .index = index, .term = term, .vote = {term, 9}};
    assert_int_equal(store_mark_raise(mark, &item, UINT64_MAX), 0); /* so late that it is written at once */
}

static void a_mark_remembers_every_group(void **state)
{
    RK_CLEANUP(rk_freep) char *path = mark_path(*state);
    struct store_mark *mark = open_mark(path);
    for (uint32_t g = 0; g < 300; g++)
        raise_mark(mark, g, g + 1000, 5);
    store_mark_close(mark, false);
    mark = open_mark(path);
    for (uint32_t g = 0; g < 300; g++) {
        struct store_mark_item item = item_of(mark, g);
        assert_int_equal(item.index, g + 1000);
        assert_int_equal(item.term, 5);
        assert_int_equal(item.vote.term, 5);
        assert_int_equal(item.vote.voted_for, 9);
    }
    store_mark_close(mark, true);
}

static void lowering_is_on_the_disk_when_it_returns(void **state)
{
    RK_CLEANUP(rk_freep) char *path = mark_path(*state);
    struct store_mark *mark = open_mark(path);
    raise_mark(mark, 1, 100, 5);
    uint64_t syncs = store_hooks_test_syncs();
    assert_int_equal(store_mark_lower(mark, 1, 101), 0); /* nothing is claimed there */
    assert_int_equal(store_mark_lower(mark, 2, 1), 0);
    assert_int_equal(store_hooks_test_syncs(), syncs);
    assert_int_equal(store_mark_lower(mark, 1, 50), 0);
    assert_int_equal(store_hooks_test_syncs(), syncs + 1);
    store_mark_close(mark, true);
    mark = open_mark(path);
    assert_int_equal(item_of(mark, 1).index, 49);
    assert_int_equal(item_of(mark, 1).term, 0);
    store_mark_close(mark, true);
}

static void damage_slot(const char *path, unsigned slot)
{
    RK_CLEANUP(rk_closep) int fd = open(path, O_RDWR);
    off_t offset = (off_t)slot * STORE_MARK_SLOT_BYTES + 10;
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
}

/* Whichever slot a power cut tears, the other one speaks, and it never claims more than what was flushed. */
static void one_torn_slot_leaves_an_older_claim(void **state)
{
    for (unsigned slot = 0; slot < 2; slot++) {
        RK_CLEANUP(rk_freep) char *base = mark_path(*state);
        RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s%u", base, slot);
        struct store_mark *mark = open_mark(path);
        raise_mark(mark, 1, 100, 5);
        assert_int_equal(store_mark_lower(mark, 1, 50), 0);
        raise_mark(mark, 1, 60, 6);
        raise_mark(mark, 1, 70, 6);
        store_mark_close(mark, true);
        damage_slot(path, slot);
        mark = open_mark(path);
        uint64_t index = item_of(mark, 1).index;
        assert_true(index == 49 || index == 70);
        store_mark_close(mark, true);
    }
}

static void a_mark_without_a_whole_slot_is_refused(void **state)
{
    RK_CLEANUP(rk_freep) char *path = mark_path(*state);
    store_mark_close(open_mark(path), true);
    damage_slot(path, 0);
    damage_slot(path, 1);
    struct store_mark *mark = NULL;
    char *error = NULL;
    assert_int_equal(store_mark_open(path, &mark, &error), STORE_E_REFUSED);
    assert_non_null(strstr(error, "mark is damaged"));
    free(error);
}

/* ---- the log against its mark -------------------------------------------------------- */

static void run(const char *format, const char *path)
{
    RK_CLEANUP(rk_freep) char *command = NULL;
    command = rk_asprintf("cd '%s' && %s", path, format);
    assert_int_equal(system(command), 0);
}

static void write_log(const char *path, uint64_t first, uint64_t last, uint64_t term)
{
    struct store_dir *dir = must_open_dir(path);
    struct store_log *log = must_open_log(dir);
    assert_int_equal(store_log_begin(log), 0);
    assert_int_equal(append_range(log, 1, first, last, term), 0);
    assert_int_equal(store_log_set_vote(log, 1, &(struct store_vote){term, 3}), 0);
    assert_int_equal(store_log_commit(log), 0);
    store_log_close(log);
    store_dir_close(dir);
}

static void assert_log_refused(const char *path, const char *why)
{
    struct store_dir *dir = must_open_dir(path);
    const struct store_log_config config = {.cache_bytes = 1u << 20};
    struct store_log *log = NULL;
    char *error = NULL;
    assert_int_equal(store_log_open(dir, &config, NULL, NULL, &log, &error), STORE_E_REFUSED);
    assert_null(log);
    if (!strstr(error, why))
        fail_msg("%s", error);
    free(error);
    store_dir_close(dir);
}

/* Commits, the mark written, and death without a checkpoint: everything is in Berkeley DB's log alone. */
static void write_and_die(const char *path)
{
    struct store_dir *dir = must_open_dir(path);
    struct store_log *log = must_open_log(dir);
    for (uint64_t i = 1; i <= 40; i++) {
        if (i == 40)
            usleep(250000);
        CHECK(store_log_begin(log) == 0);
        CHECK(append_range(log, 1, i, i, 1) == 0);
        CHECK(store_log_commit(log) == 0);
    }
    _exit(0);
}

/* The offset behind the last byte that is not zero. */
static off_t used_bytes(const char *path)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf file = {0};
    assert_int_equal(rk_file_read(path, 64u << 20, &file), 0);
    size_t n = file.len;
    while (n > 0 && file.data[file.start + n - 1] == 0)
        n--;
    return (off_t)n;
}

static void a_log_that_lost_its_tail_is_refused(void **state)
{
    assert_int_equal(in_child(write_and_die, *state), 0);
    RK_CLEANUP(rk_freep) char *file = rk_asprintf("%s/log/log.0000000001", (char *)*state);
    off_t used = used_bytes(file);
    assert_true(used > 3000);
    assert_int_equal(truncate(file, used - 2000), 0);
    assert_log_refused(*state, "entries up to index 40 had been written");
}

static void rot_in_the_middle_of_the_log_is_not_taken_for_its_end(void **state)
{
    assert_int_equal(in_child(write_and_die, *state), 0);
    RK_CLEANUP(rk_freep) char *file = rk_asprintf("%s/log/log.0000000001", (char *)*state);
    off_t middle = used_bytes(file) * 3 / 4;
    RK_CLEANUP(rk_closep) int fd = open(file, O_RDWR);
    assert_int_equal(pwrite(fd, "\xde\xad\xbe\xef\xde\xad\xbe\xef", 8, middle), 8);
    assert_log_refused(*state, "had been written");
}

static void a_log_that_is_whole_after_a_crash_is_opened(void **state)
{
    assert_int_equal(in_child(write_and_die, *state), 0);
    struct store_dir *dir = must_open_dir(*state);
    struct store_log *log = must_open_log(dir);
    struct store_vote vote;
    struct store_base base;
    uint64_t last;
    assert_int_equal(store_log_state(log, 1, &vote, &base, &last), 0);
    assert_int_equal(last, 40);
    store_log_close(log);
    store_dir_close(dir);
}

static void a_log_that_was_removed_is_refused(void **state)
{
    write_log(*state, 1, 10, 1);
    run("rm -rf log", *state);
    assert_log_refused(*state, "ends at index 0");
}

static void an_older_copy_of_the_log_is_refused(void **state)
{
    write_log(*state, 1, 10, 1);
    run("cp -a log log.old", *state);
    write_log(*state, 11, 20, 1);
    run("rm -rf log && mv log.old log", *state);
    assert_log_refused(*state, "ends at index 10");
}

static void an_older_copy_of_equal_length_is_refused(void **state)
{
    write_log(*state, 1, 10, 1);
    run("cp -a log log.old", *state);
    struct store_dir *dir = must_open_dir(*state);
    struct store_log *log = must_open_log(dir);
    assert_int_equal(store_log_begin(log), 0);
    assert_int_equal(append_range(log, 1, 5, 10, 2), 0); /* a conflict, and no new vote */
    assert_int_equal(store_log_commit(log), 0);
    store_log_close(log);
    store_dir_close(dir);
    run("rm -rf log && mv log.old log", *state);
    assert_log_refused(*state, "an entry of term 1 where 2 had been written");
}

static void an_older_vote_is_refused(void **state)
{
    write_log(*state, 1, 10, 1);
    run("cp -a log log.old", *state);
    struct store_dir *dir = must_open_dir(*state);
    struct store_log *log = must_open_log(dir);
    assert_int_equal(store_log_begin(log), 0);
    assert_int_equal(store_log_set_vote(log, 1, &(struct store_vote){8, 3}), 0);
    assert_int_equal(store_log_commit(log), 0);
    store_log_close(log);
    store_dir_close(dir);
    run("rm -rf log && mv log.old log", *state);
    assert_log_refused(*state, "a vote of term 1 where 8 had been written");
}

/* A crash between the creation of the next log file and its first write. */
static void an_empty_next_log_file_does_no_harm(void **state)
{
    assert_int_equal(in_child(write_and_die, *state), 0);
    run("touch log/log.0000000002", *state);
    write_log(*state, 41, 42, 2);
    write_log(*state, 43, 44, 2);
}

/* The next step of that creation: the file has its size, and nothing but zeros in it. */
static void a_next_log_file_of_zeros_does_no_harm(void **state)
{
    assert_int_equal(in_child(write_and_die, *state), 0);
    run("truncate -s 4194304 log/log.0000000002", *state);
    write_log(*state, 41, 42, 2);
    write_log(*state, 43, 44, 2);
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        RULE(a_mark_remembers_every_group),
        RULE(lowering_is_on_the_disk_when_it_returns),
        RULE(one_torn_slot_leaves_an_older_claim),
        RULE(a_mark_without_a_whole_slot_is_refused),
        RULE(a_log_that_lost_its_tail_is_refused),
        RULE(rot_in_the_middle_of_the_log_is_not_taken_for_its_end),
        RULE(a_log_that_is_whole_after_a_crash_is_opened),
        RULE(a_log_that_was_removed_is_refused),
        RULE(an_older_copy_of_the_log_is_refused),
        RULE(an_older_copy_of_equal_length_is_refused),
        RULE(an_older_vote_is_refused),
        RULE(an_empty_next_log_file_does_no_harm),
        RULE(a_next_log_file_of_zeros_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
