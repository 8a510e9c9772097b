/* lib/base/rk_file.c - small files written so that a power cut leaves the old or the new one.
 *
 * A file's bytes and its name are two things to a file system: fsync of the file
 * keeps the bytes, fsync of the directory keeps the name. Both are needed before
 * anybody may be told that the file exists. No fsync is ever repeated: after a
 * failure the kernel may have dropped the pages, and a second call would lie. */
#include "lib/base/rk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP 4096u

static int sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return rk_file_sync_dir(".");
    if (slash == path)
        return rk_file_sync_dir("/");
    RK_CLEANUP(rk_freep) char *dir = rk_asprintf("%.*s", (int)(slash - path), path);
    return rk_file_sync_dir(dir);
}

/* Appends the rest of fd; one byte over max is enough to know that it is too big. */
static int read_all(int fd, size_t max, struct rk_buf *buf)
{
    for (;;) {
        size_t step = max - buf->len < READ_STEP ? max - buf->len + 1 : READ_STEP;
        ssize_t n = read(fd, rk_buf_reserve(buf, step), step);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        rk_buf_commit(buf, (size_t)n);
        if (buf->len > max)
            return -EFBIG;
    }
}

int rk_file_read(const char *path, size_t max, struct rk_buf *ret)
{
    RK_CLEANUP(rk_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    struct rk_buf buf = {0};
    int r = read_all(fd, max, &buf);
    if (r < 0) {
        rk_buf_deinit(&buf);
        return r;
    }
    rk_buf_deinit(ret);
    *ret = buf;
    return 0;
}

int rk_file_write_all(int fd, struct rk_slice data)
{
    while (data.len > 0) {
        ssize_t n = write(fd, data.data, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        data = rk_slice(data.data + n, data.len - (size_t)n);
    }
    return 0;
}

/* fchmod because the umask would take bits away from the mode that was asked for. */
static int write_new(const char *path, struct rk_slice data, mode_t mode)
{
    RK_CLEANUP(rk_closep)
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0700);
    if (fd < 0)
        return -errno;
    int r = fchmod(fd, mode) < 0 ? -errno : rk_file_write_all(fd, data);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r < 0)
        unlink(path);
    return r;
}

/* The temporary name is always the same, so a crash leaves one piece of litter at most and the next
 * write clears it away. It also means that a path has one writer at a time. */
int rk_file_replace(const char *path, struct rk_slice data, mode_t mode)
{
    RK_CLEANUP(rk_freep) char *temporary = rk_asprintf("%s.tmp", path);
    if (unlink(temporary) < 0 && errno != ENOENT)
        return -errno;
    int r = write_new(temporary, data, mode);
    if (r < 0)
        return r;
    if (rename(temporary, path) < 0) {
        r = -errno;
        unlink(temporary);
        return r;
    }
    return sync_parent(path);
}

int rk_file_create(const char *path, struct rk_slice data, mode_t mode)
{
    int r = write_new(path, data, mode);
    return r < 0 ? r : sync_parent(path);
}

int rk_file_sync_dir(const char *dir)
{
    RK_CLEANUP(rk_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return fsync(fd) < 0 ? -errno : 0;
}

int rk_file_make_dir(const char *dir, mode_t mode)
{
    if (mkdir(dir, mode & 0700) < 0) {
        struct stat st;
        if (errno != EEXIST || stat(dir, &st) < 0)
            return -errno;
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    }
    RK_CLEANUP(rk_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, mode) < 0)
        return -errno;
    return sync_parent(dir);
}
