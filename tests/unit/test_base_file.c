/* tests/unit/test_base_file.c - small files that survive a power cut. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/rk_file.h"

/* Every test runs inside a new directory, given back empty or with files named below. */
static int enter(void **state)
{
    char template[] = "/tmp/test_base_file.XXXXXX";
    char *dir = rk_strdup(mkdtemp(template) ? template : "");
    *state = dir;
    umask(027);
    return chdir(dir);
}

static int leave(void **state)
{
    static const char *const litter[] = {"f", "f.tmp", "link", "d/f"};
    for (size_t i = 0; i < RK_ARRAY_LEN(litter); i++)
        unlink(litter[i]);
    rmdir("d");
    int r = chdir("/") < 0 ? -1 : rmdir(*state);
    free(*state);
    return r;
}

static void assert_content(const char *path, const char *expected)
{
    struct rk_buf buf = {0};
    assert_int_equal(rk_file_read(path, 1000, &buf), 0);
    assert_true(rk_slice_eq_str(rk_buf_slice(&buf), expected));
    rk_buf_deinit(&buf);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void create_refuses_what_exists_and_a_link(void **state RK_UNUSED)
{
    assert_int_equal(rk_file_create("f", rk_slice_str("one"), 0600), 0);
    assert_int_equal(rk_file_create("f", rk_slice_str("two"), 0600), -EEXIST);
    assert_content("f", "one");
    assert_int_equal(symlink("nowhere", "link"), 0);
    assert_int_equal(rk_file_create("link", rk_slice_str("two"), 0600), -EEXIST);
}

static void the_mode_is_what_was_asked_for_whatever_the_umask(void **state RK_UNUSED)
{
    assert_int_equal(rk_file_create("f", rk_slice_str(""), 0646), 0);
    assert_int_equal(mode_of("f"), 0646);
    assert_int_equal(rk_file_replace("f", rk_slice_str(""), 0600), 0);
    assert_int_equal(mode_of("f"), 0600);
    assert_int_equal(rk_file_make_dir("d", 0755), 0);
    assert_int_equal(mode_of("d"), 0755);
}

static void replace_leaves_the_new_file_and_no_litter(void **state RK_UNUSED)
{
    assert_int_equal(rk_file_replace("f", rk_slice_str("one"), 0600), 0);
    assert_content("f", "one");
    assert_int_equal(rk_file_replace("f", rk_slice_str("two"), 0600), 0);
    assert_content("f", "two");
    assert_int_equal(access("f.tmp", F_OK), -1);
}

static void replace_clears_away_what_a_crash_left(void **state RK_UNUSED)
{
    assert_int_equal(rk_file_create("f.tmp", rk_slice_str("half of something long"), 0600), 0);
    assert_int_equal(rk_file_replace("f", rk_slice_str("new"), 0600), 0);
    assert_content("f", "new");
}

static void a_replace_that_fails_leaves_the_old_file(void **state RK_UNUSED)
{
    assert_int_equal(mkdir("d", 0700), 0);
    assert_int_equal(rk_file_create("d/f", rk_slice_str("inside"), 0600), 0);
    assert_int_equal(rk_file_replace("d", rk_slice_str("x"), 0600), -EISDIR);
    assert_content("d/f", "inside");
    assert_int_equal(access("d.tmp", F_OK), -1);
    assert_int_equal(rk_file_replace("missing/f", rk_slice_str("x"), 0600), -ENOENT);
}

static void read_takes_at_most_max_and_sets_nothing_on_failure(void **state RK_UNUSED)
{
    struct rk_buf buf = {0};
    rk_buf_append_str(&buf, "old");
    assert_int_equal(rk_file_create("f", rk_slice_str("12345"), 0600), 0);
    assert_int_equal(rk_file_read("f", 4, &buf), -EFBIG);
    assert_int_equal(rk_file_read("missing", 4, &buf), -ENOENT);
    assert_int_equal(rk_file_read(".", 4, &buf), -EISDIR);
    assert_true(rk_slice_eq_str(rk_buf_slice(&buf), "old"));
    assert_int_equal(rk_file_read("f", 5, &buf), 0);
    assert_true(rk_slice_eq_str(rk_buf_slice(&buf), "12345"));
    assert_int_equal(rk_file_read("f", SIZE_MAX, &buf), 0);
    assert_int_equal(buf.len, 5);
    rk_buf_deinit(&buf);
}

static void a_file_of_many_steps_is_read_whole(void **state RK_UNUSED)
{
    struct rk_buf big = {0}, back = {0};
    rk_buf_printf(&big, "%0100000d", 7);
    assert_int_equal(rk_file_create("f", rk_buf_slice(&big), 0600), 0);
    assert_int_equal(rk_file_read("f", 100000, &back), 0);
    assert_true(rk_slice_eq(rk_buf_slice(&big), rk_buf_slice(&back)));
    assert_int_equal(rk_file_read("f", 99999, &back), -EFBIG);
    rk_buf_deinit(&big);
    rk_buf_deinit(&back);
}

static void make_dir_accepts_a_directory_and_nothing_else(void **state RK_UNUSED)
{
    assert_int_equal(rk_file_make_dir("d", 0700), 0);
    assert_int_equal(rk_file_make_dir("d", 0755), 0);
    assert_int_equal(mode_of("d"), 0700);
    assert_int_equal(rk_file_create("f", rk_slice_str(""), 0600), 0);
    assert_int_equal(rk_file_make_dir("f", 0700), -ENOTDIR);
    assert_int_equal(rk_file_make_dir("missing/d", 0700), -ENOENT);
    assert_int_equal(rk_file_sync_dir("d"), 0);
    assert_int_equal(rk_file_sync_dir("f"), -ENOTDIR);
}

static void a_full_disk_is_an_error_and_leaves_no_half_file(void **state RK_UNUSED)
{
    RK_CLEANUP(rk_closep) int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(rk_file_write_all(fd, rk_slice_str("x")), -ENOSPC);
    assert_int_equal(rk_file_write_all(fd, rk_slice(NULL, 0)), 0);
    assert_int_equal(rk_file_write_all(-1, rk_slice_str("x")), -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(create_refuses_what_exists_and_a_link, enter, leave),
        cmocka_unit_test_setup_teardown(the_mode_is_what_was_asked_for_whatever_the_umask, enter, leave),
        cmocka_unit_test_setup_teardown(replace_leaves_the_new_file_and_no_litter, enter, leave),
        cmocka_unit_test_setup_teardown(replace_clears_away_what_a_crash_left, enter, leave),
        cmocka_unit_test_setup_teardown(a_replace_that_fails_leaves_the_old_file, enter, leave),
        cmocka_unit_test_setup_teardown(read_takes_at_most_max_and_sets_nothing_on_failure, enter, leave),
        cmocka_unit_test_setup_teardown(a_file_of_many_steps_is_read_whole, enter, leave),
        cmocka_unit_test_setup_teardown(make_dir_accepts_a_directory_and_nothing_else, enter, leave),
        cmocka_unit_test_setup_teardown(a_full_disk_is_an_error_and_leaves_no_half_file, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
