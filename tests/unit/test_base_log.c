/* tests/unit/test_base_log.c - log lines.
 *
 * Each case runs in a child: stderr is a pipe of ours, or the child is made to
 * believe that it is the journal's. The journal itself is replaced at link time:
 * the source is included, and sd_journal_sendv() below is the one it calls. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#define sd_journal_sendv fake_journal_sendv
#include "lib/base/rk_log.c"
#undef sd_journal_sendv

#include "lib/base/rk_buf.h"

static int journal_result;

/* Writes each entry as a line to stderr, where the parent reads it. */
int fake_journal_sendv(const struct iovec *iov, int n)
{
    for (int i = 0; journal_result == 0 && i < n; i++)
        dprintf(STDERR_FILENO, "%.*s\n", (int)iov[i].iov_len, (const char *)iov[i].iov_base);
    return journal_result;
}

static void read_to_end(int fd, struct rk_buf *out)
{
    ssize_t n;
    while ((n = read(fd, rk_buf_reserve(out, 4096), 4096)) > 0)
        rk_buf_commit(out, (size_t)n);
    rk_buf_append(out, "", 1); /* makes it a string */
}

/* What say() writes to stderr; the string is in out. */
static const char *spoken(void (*say)(void), bool journal, struct rk_buf *out)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct stat st;
        char stream[64];
        dup2(ends[1], STDERR_FILENO);
        fstat(STDERR_FILENO, &st);
        snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
        setenv("JOURNAL_STREAM", journal ? stream : "1:1", 1);
        say();
        _exit(0);
    }
    close(ends[1]);
    read_to_end(ends[0], out);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return (const char *)rk_buf_slice(out).data;
}

static void say_leader(void)
{
    RK_LOG(RK_LOG_INFO, "raft",
           RK_FIELDS(RK_F_U64("GROUP", 0), RK_F_U64("TERM", 7), RK_F_ID("MEMBER", 0xabc),
                     RK_F_STR("NAME", "n1")),
           "became %s", "leader");
}

static void a_line_has_time_level_part_text_and_fields(void **state RK_UNUSED)
{
    struct rk_buf out = {0};
    const char *line = spoken(say_leader, false, &out);
    int year, month, day, hour, minute, second, ms;
    assert_int_equal(
        sscanf(line, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ ", &year, &month, &day, &hour, &minute, &second, &ms), 7);
    assert_string_equal(line + strlen("2026-11-21T07:30:00.123Z "),
                        "INFO raft: became leader group=0 term=7 member=0000000000000abc name=n1\n");
    rk_buf_deinit(&out);
}

static void say_strange(void)
{
    RK_LOG(
        RK_LOG_ERROR, "api",
        RK_FIELDS(RK_F_STR("KEY", "a\nb\x1b[31m"), RK_F_STR("USER", "two \"words\""), RK_F_STR("NONE", NULL)),
        "%s", "x\ny\x7f");
}

static void control_characters_cannot_forge_a_line(void **state RK_UNUSED)
{
    struct rk_buf out = {0};
    const char *line = spoken(say_strange, false, &out);
    assert_non_null(
        strstr(line, "ERROR api: x\\x0ay\\x7f key=a\\x0ab\\x1b[31m user=\"two \\\"words\\\"\" none=\"\"\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    rk_buf_deinit(&out);
}

static void say_utf8(void)
{
    RK_LOG(RK_LOG_INFO, "t", NULL, "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 back\\slash");
    RK_LOG(RK_LOG_INFO, "t", NULL, "\xc3 \xff \xc0\x80 \xed\xa0\x80 \xc2\x9b \xe2\x82");
}

static void utf8_is_kept_and_broken_utf8_is_shown_as_bytes(void **state RK_UNUSED)
{
    struct rk_buf out = {0};
    const char *line = spoken(say_utf8, false, &out);
    assert_non_null(strstr(line, "t: h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 back\\\\slash\n"));
    assert_non_null(strstr(line, "t: \\xc3 \\xff \\xc0\\x80 \\xed\\xa0\\x80 \\xc2\\x9b \\xe2\\x82\n"));
    rk_buf_deinit(&out);
}

static void say_levels(void)
{
    RK_LOG(RK_LOG_DEBUG, "t", NULL, "one");
    rk_log_set_level(RK_LOG_DEBUG);
    RK_LOG(RK_LOG_DEBUG, "t", NULL, "two");
    rk_log_set_level(RK_LOG_WARNING);
    RK_LOG(RK_LOG_NOTICE, "t", NULL, "three");
    RK_LOG(RK_LOG_WARNING, "t", NULL, "four");
}

static void lines_below_the_level_are_dropped(void **state RK_UNUSED)
{
    struct rk_buf out = {0};
    const char *line = spoken(say_levels, false, &out);
    assert_null(strstr(line, "one"));
    assert_non_null(strstr(line, "DEBUG t: two\n"));
    assert_null(strstr(line, "three"));
    assert_non_null(strstr(line, "WARNING t: four\n"));
    rk_buf_deinit(&out);
}

static void say_much(void)
{
    char text[6000], wide[6001] = {0};
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (size_t i = 0; i + 3 <= sizeof(wide) - 1; i += 3)
        memcpy(wide + i, "\xe2\x82\xac", 3);
    RK_LOG(RK_LOG_INFO, "t", RK_FIELDS(RK_F_STR("A", text), RK_F_STR("B", "lost")), "%s", text);
    RK_LOG(RK_LOG_INFO, "tt", RK_FIELDS(RK_F_STR("A", wide)), "end");
}

static void a_long_line_is_cut_between_characters_and_ends_in_dots(void **state RK_UNUSED)
{
    struct rk_buf out = {0};
    const char *line = spoken(say_much, false, &out);
    const char *end = strchr(line, '\n');
    assert_non_null(end);
    assert_true(end - line < PIPE_BUF);
    assert_memory_equal(end - 4, "x...", 4);
    const char *second_end = strchr(end + 1, '\n');
    assert_non_null(second_end);
    assert_memory_equal(second_end - 6, "\xe2\x82\xac...", 6);
    assert_string_equal(second_end + 1, "");
    rk_buf_deinit(&out);
}

static void the_journal_gets_fields_with_our_prefix(void **state RK_UNUSED)
{
    struct rk_buf out = {0};
    char expected[512];
    const char *lines = spoken(say_leader, true, &out);
    snprintf(expected, sizeof(expected),
             "MESSAGE=raft: became leader group=0 term=7 member=0000000000000abc name=n1\n"
             "PRIORITY=6\nCODE_FILE=%s\nCODE_LINE=",
             __FILE__);
    assert_memory_equal(lines, expected, strlen(expected));
    assert_non_null(strstr(lines, "\nRAFTKV_PART=raft\nRAFTKV_GROUP=0\nRAFTKV_TERM=7\n"
                                  "RAFTKV_MEMBER=0000000000000abc\nRAFTKV_NAME=n1\n"));
    rk_buf_deinit(&out);
}

static void say_to_a_dead_journal(void)
{
    journal_result = -ECONNREFUSED;
    errno = EAGAIN;
    RK_LOG(RK_LOG_NOTICE, "t", NULL, "still here");
    if (errno != EAGAIN)
        _exit(1);
}

static void a_dead_journal_falls_back_to_stderr_and_errno_is_kept(void **state RK_UNUSED)
{
    struct rk_buf out = {0};
    assert_non_null(strstr(spoken(say_to_a_dead_journal, true, &out), "NOTICE t: still here\n"));
    rk_buf_deinit(&out);
}

static void *say_often(void *userdata RK_UNUSED)
{
    for (int i = 0; i < 500; i++)
        RK_LOG(RK_LOG_INFO, "t", RK_FIELDS(RK_F_U64("A", 1)), "0123456789 0123456789 0123456789");
    return NULL;
}

static void say_from_threads(void)
{
    pthread_t threads[4];
    for (size_t i = 0; i < RK_ARRAY_LEN(threads); i++)
        pthread_create(&threads[i], NULL, say_often, NULL);
    for (size_t i = 0; i < RK_ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
}

static void lines_of_many_threads_do_not_mix(void **state RK_UNUSED)
{
    struct rk_buf out = {0};
    const char *line = spoken(say_from_threads, false, &out);
    int n = 0;
    for (const char *end; (end = strchr(line, '\n')); line = end + 1, n++) {
        assert_int_equal(end - line,
                         strlen("2026-11-21T07:30:00.123Z INFO t: 0123456789 0123456789 0123456789 a=1"));
        assert_memory_equal(end - 4, " a=1", 4);
    }
    assert_int_equal(n, 2000);
    rk_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_part_text_and_fields),
        cmocka_unit_test(control_characters_cannot_forge_a_line),
        cmocka_unit_test(utf8_is_kept_and_broken_utf8_is_shown_as_bytes),
        cmocka_unit_test(lines_below_the_level_are_dropped),
        cmocka_unit_test(a_long_line_is_cut_between_characters_and_ends_in_dots),
        cmocka_unit_test(the_journal_gets_fields_with_our_prefix),
        cmocka_unit_test(a_dead_journal_falls_back_to_stderr_and_errno_is_kept),
        cmocka_unit_test(lines_of_many_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
