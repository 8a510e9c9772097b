/* tests/unit/store_test.h - what the tests of lib/store share: a scratch directory, and cases that run in a
 * child.
 *
 * The store's hooks, its latch and its ballast belong to the process, and a
 * crash needs a process to die: such cases run in a forked child, and report by
 * its exit status. In a child use CHECK(), not cmocka's assertions. */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/rk_buf.h"
#include "lib/base/rk_util.h"
#include "lib/store/store_internal.h"

#define CHECK(expr)                                                                                          \
    do {                                                                                                     \
        if (!(expr)) {                                                                                       \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #expr);                               \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

/* cmocka's state: the path of the scratch directory; the data directory is "data" below it. */
static int scratch_setup(void **state)
{
    const char *base = getenv("TMPDIR");
    char *path = rk_asprintf("%s/raftkv-store-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(path))
        return -1;
    char *data = rk_asprintf("%s/data", path);
    free(path);
    *state = data;
    return 0;
}

static int scratch_teardown(void **state)
{
    char *data = *state;
    RK_CLEANUP(rk_freep)
    char *command = rk_asprintf("rm -rf '%.*s'", (int)(strlen(data) - strlen("/data")), data);
    int r = system(command);
    free(data);
    return r;
}

/* Runs fn(path) in a child to its end; returns its exit status, or -signal. A leak in the child counts as
 * failure. */
RK_UNUSED static int in_child(void (*fn)(const char *path), const char *path)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        fn(path);
        exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

RK_UNUSED static struct store_dir *must_open_dir(const char *path)
{
    struct store_dir *dir = NULL;
    char *error = NULL;
    int r = store_dir_open(path, &dir, &error);
    if (r != 0) {
        fprintf(stderr, "store_dir_open: %d %s\n", r, error ? error : "");
        exit(1);
    }
    return dir;
}

RK_UNUSED static struct store_rows *must_open_rows(struct store_dir *dir)
{
    const struct store_rows_config config = {.cache_bytes = 4u << 20, .file_bytes = 4u << 20};
    struct store_rows *rows = NULL;
    char *error = NULL;
    int r = store_rows_open(dir, &config, NULL, NULL, &rows, &error);
    if (r != 0) {
        fprintf(stderr, "store_rows_open: %d %s\n", r, error ? error : "");
        exit(1);
    }
    return rows;
}

RK_UNUSED static struct store_log *must_open_log(struct store_dir *dir)
{
    const struct store_log_config config = {.cache_bytes = 4u << 20, .file_bytes = 4u << 20};
    struct store_log *log = NULL;
    char *error = NULL;
    int r = store_log_open(dir, &config, NULL, NULL, &log, &error);
    if (r != 0) {
        fprintf(stderr, "store_log_open: %d %s\n", r, error ? error : "");
        exit(1);
    }
    return log;
}

/* The payload of an entry follows from its place, so whoever reads it back can tell whether it is the right
 * one. */
RK_UNUSED static void make_payload(uint32_t group, uint64_t index, uint64_t term, struct rk_buf *out)
{
    size_t len = (size_t)((index * 37 + term * 11 + group) % 300);
    if (index % 50 == 0)
        len += 20000; /* on overflow pages */
    rk_buf_clear(out);
    uint8_t *p = rk_buf_reserve(out, len + 1);
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(i * 7 + index + term * 13 + group);
    rk_buf_commit(out, len);
}

/* Appends entries first .. last of one term in the open transaction; returns the store's answer. */
RK_UNUSED static int append_range(struct store_log *log, uint32_t group, uint64_t first, uint64_t last,
                                  uint64_t term)
{
    uint32_t count = (uint32_t)(last - first + 1);
    struct store_entry *entries = RK_NEW_ARRAY(struct store_entry, count);
    struct rk_buf *payloads = RK_NEW_ARRAY(struct rk_buf, count);
    for (uint32_t i = 0; i < count; i++) {
        make_payload(group, first + i, term, &payloads[i]);
        entries[i] = (struct store_entry){.index = first + i,
                                          .term = term,
                                          .kind = (uint8_t)(term & 3),
                                          .payload = rk_buf_slice(&payloads[i])};
    }
    int r = store_log_append(log, group, entries, count, NULL);
    for (uint32_t i = 0; i < count; i++)
        rk_buf_deinit(&payloads[i]);
    free(payloads);
    free(entries);
    return r;
}

#endif
