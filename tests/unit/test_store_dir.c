/* tests/unit/test_store_dir.c - the data directory: lock, identity, refusals, wiping. */
#include "tests/unit/store_test.h"

#include <sys/stat.h>

#include "lib/base/rk_crc32c.h"
#include "lib/base/rk_file.h"

static char *path_in(const char *dir, const char *name)
{
    return rk_asprintf("%s/%s", dir, name);
}

static void write_bytes(const char *path, struct rk_slice bytes)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    assert_int_equal(fclose(file), 0);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    RK_CLEANUP(rk_freep) char *path = path_in(dir, name);
    write_bytes(path, rk_slice_str(text));
}

static bool exists(const char *dir, const char *name)
{
    RK_CLEANUP(rk_freep) char *path = path_in(dir, name);
    return access(path, F_OK) == 0;
}

static void assert_refused(const char *path, const char *why)
{
    struct store_dir *dir = NULL;
    char *error = NULL;
    assert_int_equal(store_dir_open(path, &dir, &error), STORE_E_REFUSED);
    assert_null(dir);
    assert_non_null(strstr(error, why));
    free(error);
}

static void a_missing_directory_is_made_for_its_owner_only(void **state)
{
    struct store_dir *dir = must_open_dir(*state);
    struct stat st;
    assert_int_equal(stat(*state, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_null(store_dir_identity(dir));
    assert_string_equal(store_dir_path(dir), *state);
    store_dir_close(dir);
}

static void a_second_open_is_refused_until_the_first_is_closed(void **state)
{
    struct store_dir *dir = must_open_dir(*state);
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    assert_refused(*state, "in use by another process");
    assert_refused(*state, pid);
    store_dir_close(dir);
    dir = must_open_dir(*state);
    store_dir_close(dir);
}

static void open_and_die(const char *path)
{
    (void)must_open_dir(path);
    _exit(0);
}

static void the_lock_goes_with_the_process(void **state)
{
    assert_int_equal(in_child(open_and_die, *state), 0);
    store_dir_close(must_open_dir(*state));
}

static void a_directory_that_others_can_enter_is_refused(void **state)
{
    static const mode_t modes[] = {0755, 0770, 0701, 0720};
    store_dir_close(must_open_dir(*state));
    for (size_t i = 0; i < RK_ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod(*state, modes[i]), 0);
        assert_refused(*state, "chmod 0700");
    }
    assert_int_equal(chmod(*state, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(*state, 12345, (gid_t)-1), 0);
        assert_refused(*state, "belongs to user 12345");
    }
}

static void a_DB_CONFIG_file_is_refused_wherever_it_would_count(void **state)
{
    static const char *const places[] = {"DB_CONFIG", "log/DB_CONFIG", "rows/DB_CONFIG"};
    struct store_dir *dir = must_open_dir(*state);
    store_log_close(must_open_log(dir));
    store_rows_close(must_open_rows(dir));
    store_dir_close(dir);
    for (size_t i = 0; i < RK_ARRAY_LEN(places); i++) {
        write_file(*state, places[i], "set_flags DB_TXN_NOSYNC\n");
        assert_refused(*state, places[i]);
        RK_CLEANUP(rk_freep) char *path = path_in(*state, places[i]);
        unlink(path);
    }
    store_dir_close(must_open_dir(*state));
}

static const struct store_identity some_identity = {
    .cluster_id = 0xabcdef0123456789,
    .member_id = 7,
    .incarnation = UINT64_MAX,
    .removed = true,
    .name = "host a = \xc3\xa4",
    .machine = "0123456789abcdef0123456789abcdef",
};

static void an_identity_is_read_back_as_it_was_set(void **state)
{
    struct store_dir *dir = must_open_dir(*state);
    assert_int_equal(store_dir_set_identity(dir, &some_identity), 0);
    for (int round = 0; round < 2; round++) {
        const struct store_identity *id = store_dir_identity(dir);
        assert_non_null(id);
        assert_int_equal(id->cluster_id, some_identity.cluster_id);
        assert_int_equal(id->member_id, some_identity.member_id);
        assert_int_equal(id->incarnation, some_identity.incarnation);
        assert_true(id->removed);
        assert_string_equal(id->name, some_identity.name);
        assert_string_equal(id->machine, some_identity.machine);
        store_dir_close(dir);
        dir = must_open_dir(*state);
    }
    store_dir_close(dir);
}

static void any_damage_to_the_identity_is_refused(void **state)
{
    struct store_dir *dir = must_open_dir(*state);
    assert_int_equal(store_dir_set_identity(dir, &some_identity), 0);
    store_dir_close(dir);
    RK_CLEANUP(rk_freep) char *path = path_in(*state, "identity");
    RK_CLEANUP(rk_buf_deinit) struct rk_buf file = {0};
    assert_int_equal(rk_file_read(path, 4096, &file), 0);
    uint8_t *bytes = file.data + file.start;
    for (size_t i = 0; i < file.len; i++) {
        bytes[i] ^= 0x10;
        write_bytes(path, rk_buf_slice(&file));
        assert_refused(*state, "identity is damaged");
        bytes[i] ^= 0x10;
        write_bytes(path, rk_slice(bytes, i));
        assert_refused(*state, "identity is damaged");
    }
}

static void write_with_crc(const char *dir, const char *text)
{
    RK_CLEANUP(rk_freep)
    char *file = rk_asprintf("%scrc32c=%08x\n", text, rk_crc32c(0, rk_slice_str(text)));
    write_file(dir, "identity", file);
}

static void a_newer_format_is_refused_and_named(void **state)
{
    store_dir_close(must_open_dir(*state));
    write_with_crc(*state, "format=2\nsomething=else\n");
    assert_refused(*state, "newer version (format 2");
}

static void an_identity_with_missing_or_strange_lines_is_refused(void **state)
{
    store_dir_close(must_open_dir(*state));
    write_with_crc(*state, "format=1\ncluster=1\n");
    assert_refused(*state, "identity is damaged");
    write_with_crc(*state, "format=1\ncluster=-1\nmember=1\nincarnation=1\nremoved=0\nname=a\nmachine=\n");
    assert_refused(*state, "identity is damaged");
    write_with_crc(*state, "format=1\ncluster=1\nmember=1\nincarnation=1\nremoved=2\nname=a\nmachine=\n");
    assert_refused(*state, "identity is damaged");
    write_with_crc(*state, "format=1\ncluster=1\nmember=1\nincarnation=1\nremoved=0\nname=a\nmachine=\n");
    store_dir_close(must_open_dir(*state));
}

/* ---- wiping ---------------------------------------------------------------------- */

static void fill(const char *path)
{
    struct store_dir *dir = must_open_dir(path);
    struct store_log *log = must_open_log(dir);
    CHECK(store_log_begin(log) == 0);
    CHECK(append_range(log, 1, 1, 10, 1) == 0);
    CHECK(store_log_commit(log) == 0);
    store_log_close(log);
    store_rows_close(must_open_rows(dir));
    CHECK(store_dir_set_identity(dir, &some_identity) == 0);
    store_dir_close(dir);
    write_file(path, "snapshot-1", "x");
    write_file(path, "rebuild", "x");
    write_file(path, "rows.damaged", "x");
    write_file(path, "notes.txt", "x");
}

static void assert_wiped(const char *path)
{
    assert_false(exists(path, "log"));
    assert_false(exists(path, "rows"));
    assert_false(exists(path, "mark"));
    assert_false(exists(path, "snapshot-1"));
    assert_false(exists(path, "identity"));
    assert_false(exists(path, "rebuild"));
    assert_false(exists(path, "rows.damaged"));
    assert_false(exists(path, "wipe"));
    assert_true(exists(path, "notes.txt"));
}

static void a_wipe_removes_the_data_and_nothing_else(void **state)
{
    fill(*state);
    struct store_dir *dir = must_open_dir(*state);
    assert_int_equal(store_dir_wipe(dir), 0);
    assert_null(store_dir_identity(dir));
    assert_wiped(*state);
    assert_refused(*state, "in use"); /* the lock is still held */
    assert_int_equal(store_dir_set_identity(dir, &some_identity), 0);
    store_log_close(must_open_log(dir));
    store_dir_close(dir);
}

static void a_wipe_that_a_crash_cut_short_is_finished_at_open(void **state)
{
    fill(*state);
    write_file(*state, "wipe", "");
    RK_CLEANUP(rk_freep) char *mark = path_in(*state, "mark");
    unlink(mark);
    struct store_dir *dir = must_open_dir(*state);
    assert_null(store_dir_identity(dir));
    assert_wiped(*state);
    store_dir_close(dir);
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        RULE(a_missing_directory_is_made_for_its_owner_only),
        RULE(a_second_open_is_refused_until_the_first_is_closed),
        RULE(the_lock_goes_with_the_process),
        RULE(a_directory_that_others_can_enter_is_refused),
        RULE(a_DB_CONFIG_file_is_refused_wherever_it_would_count),
        RULE(an_identity_is_read_back_as_it_was_set),
        RULE(any_damage_to_the_identity_is_refused),
        RULE(a_newer_format_is_refused_and_named),
        RULE(an_identity_with_missing_or_strange_lines_is_refused),
        RULE(a_wipe_removes_the_data_and_nothing_else),
        RULE(a_wipe_that_a_crash_cut_short_is_finished_at_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
