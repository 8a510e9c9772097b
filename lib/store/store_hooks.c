/* lib/store/store_hooks.c - the system calls that Berkeley DB makes, made our way.
 *
 * Left alone, Berkeley DB 5.3 calls fsync again after EIO (on Linux the second
 * call succeeds although the pages are lost), never syncs a directory, and gives
 * up when the disk is full. Worse, its recovery takes whatever keeps it from
 * reading the next record of the log (EIO, no file descriptor, no memory) for the
 * end of the log, and writes zeros over all that follows. It lets a program
 * replace its system calls (DB_ENV->set_func_*), for the whole process. Ours keep
 * these rules:
 *   - the first failed flush, write, read or open is final: it is latched, and
 *     every later write or flush of either environment fails with it, so nothing
 *     that is written after an unknown loss can look as if it were whole, and
 *     nothing is removed that only could not be read;
 *   - memory that is not there ends the process, as everywhere in raftkv: on its
 *     own paths out of that the library crashes or, in recovery, destroys;
 *   - a write that meets a full disk gives the ballast back (store_space.c) and is
 *     tried once more;
 *   - a file that is created, renamed or removed has its directory synced.
 *
 * Conventions are Berkeley DB's: open, read and write answer as the system call
 * does; fsync, rename and unlink answer 0 or a positive errno. With a write hook
 * the library writes pages by lseek and write under the file handle's mutex. */
#include "config.h" /* _GNU_SOURCE */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_file.h"
#include "lib/store/store_internal.h"

static atomic_int failed;       /* the latch */
static _Thread_local bool mute; /* this thread only tears down: nothing may reach the disk */
static atomic_ullong syncs;     /* for tests */
static atomic_uint sync_fuse;   /* 0: not armed */
static atomic_int sync_fuse_error;
static atomic_uint write_fuse;
static atomic_uint write_fuse_count;
static atomic_int write_fuse_error;

void store_hooks_mute(bool on)
{
    mute = on;
}

/* Since the last store_hooks_forget_full(): Berkeley DB makes a panic of it during recovery, and the operator
 * should hear of the disk and not of damage. */
static atomic_bool met_full_disk;

void store_hooks_forget_full(void)
{
    atomic_store(&met_full_disk, false);
}

bool store_hooks_met_full(void)
{
    return atomic_load(&met_full_disk);
}

int store_hooks_failed(void)
{
    return atomic_load(&failed);
}

static int latch(int error)
{
    int none = 0;
    atomic_compare_exchange_strong(&failed, &none, error);
    return atomic_load(&failed);
}

void store_hooks_test_fail_sync(unsigned n, int error)
{
    atomic_store(&sync_fuse_error, error);
    atomic_store(&sync_fuse, n);
}

void store_hooks_test_fail_write(unsigned n, unsigned count, int error)
{
    atomic_store(&write_fuse_error, error);
    atomic_store(&write_fuse_count, count);
    atomic_store(&write_fuse, n);
}

uint64_t store_hooks_test_syncs(void)
{
    return atomic_load(&syncs);
}

/* Burns one unit of a fuse; true when it has just reached its end. */
static bool fuse_burns(atomic_uint *fuse)
{
    unsigned n = atomic_load(fuse);
    while (n > 0) {
        if (atomic_compare_exchange_weak(fuse, &n, n - 1))
            return n == 1;
    }
    return false;
}

/* The fuse stays at 1 until count failures have been dealt out. */
static int injected_write_error(void)
{
    if (atomic_load(&write_fuse) == 0 || !fuse_burns(&write_fuse))
        return 0;
    if (atomic_fetch_sub(&write_fuse_count, 1) > 1)
        atomic_store(&write_fuse, 1);
    return atomic_load(&write_fuse_error);
}

/* EINTR means that the flush was not done; any other error that the pages may be gone. */
static int sync_once(int fd)
{
    atomic_fetch_add(&syncs, 1);
    if (fuse_burns(&sync_fuse))
        return atomic_load(&sync_fuse_error);
    while (fdatasync(fd) < 0) {
        if (errno != EINTR)
            return errno;
    }
    return 0;
}

static int hook_fsync(int fd)
{
    int error = mute ? EIO : store_hooks_failed();
    if (error != 0)
        return error;
    error = sync_once(fd);
    return error == 0 ? 0 : latch(error);
}

int store_hooks_sync(int fd)
{
    return -hook_fsync(fd);
}

/* offset < 0: at the file's position. */
static ssize_t write_some(int fd, const uint8_t *data, size_t len, off_t offset)
{
    int error = injected_write_error();
    if (error != 0) {
        errno = error;
        return -1;
    }
    return offset < 0 ? write(fd, data, len) : pwrite(fd, data, len, offset);
}

static bool is_full(int error)
{
    return error == ENOSPC || error == EDQUOT;
}

/* 0 or a positive errno. A full disk is not latched here: nothing that was acknowledged is lost by it, and
 * the environment that met it refuses everything anyway (store_env_result). */
static int write_all(int fd, const uint8_t *data, size_t len, off_t offset)
{
    bool released = false;
    int error = mute ? EIO : store_hooks_failed();
    while (error == 0 && len > 0) {
        ssize_t n = write_some(fd, data, len, offset);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
            offset = offset < 0 ? offset : offset + n;
        } else if (n < 0 && is_full(errno)) {
            if (released || !store_space_release()) {
                atomic_store(&met_full_disk, true);
                return ENOSPC;
            }
            released = true;
        } else if (n == 0 || errno != EINTR) {
            error = latch(n == 0 ? EIO : errno);
        }
    }
    return error;
}

int store_hooks_write_at(int fd, struct rk_slice data, off_t offset)
{
    return -write_all(fd, data.data, data.len, offset);
}

static ssize_t hook_pwrite(int fd, const void *data, size_t len, off_t offset)
{
    int error = write_all(fd, data, len, offset);
    errno = error;
    return error == 0 ? (ssize_t)len : -1;
}

/* Recovery writes zeros from the end of the log to the end of its last file, nearly all of which is a hole:
 * 64 MiB of disk for each environment, for nothing, and no start at all on a full disk. So zeros are written
 * only where there is something else. Returns 0, a positive errno, or -1: not such a write, or the file
 * system cannot tell. */
static int write_zeros(int fd, const uint8_t *data, size_t len)
{
    struct stat st;
    off_t at, end, from, to;
    int error = 0;
    if (len == 0 || data[0] != 0 || memcmp(data, data + 1, len - 1) != 0)
        return -1;
    at = lseek(fd, 0, SEEK_CUR);
    if (at < 0 || fstat(fd, &st) < 0 || (end = at + (off_t)len) > st.st_size)
        return -1;
    for (off_t pos = at; pos < end && error == 0; pos = to) {
        from = lseek(fd, pos, SEEK_DATA);
        from = from < 0 && errno == ENXIO ? end : from;
        to = from < 0 || from >= end ? from : lseek(fd, from, SEEK_HOLE);
        if (to < 0) {
            (void)lseek(fd, at, SEEK_SET);
            return -1;
        }
        if (from < end)
            error = write_all(fd, data, (size_t)((to < end ? to : end) - from), from);
    }
    if (error == 0 && lseek(fd, end, SEEK_SET) < 0)
        error = errno;
    return error;
}

static ssize_t hook_write(int fd, const void *data, size_t len)
{
    int error = mute || store_hooks_failed() != 0 ? -1 : write_zeros(fd, data, len);
    if (error < 0)
        return hook_pwrite(fd, data, len, -1);
    errno = error;
    return error == 0 ? (ssize_t)len : -1;
}

/* Of pages. A hook for read(), which the log is read by, could not tell the library of the end of a file. */
static ssize_t hook_pread(int fd, void *data, size_t len, off_t offset)
{
    ssize_t n;
    do
        n = pread(fd, data, len, offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        errno = latch(errno);
    return n;
}

void store_hooks_heard(const char *message)
{
    if (strncmp(message, "BDB0133 ", 8) == 0 || strncmp(message, "BDB0134 ", 8) == 0)
        latch(EIO);
}

/* A name that may not survive a power cut is as bad as a lost page: failure is final too. */
static int sync_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    RK_CLEANUP(rk_freep)
    char *dir = !slash ? rk_strdup(".") : rk_asprintf("%.*s", (int)(slash - path + 1), path);
    RK_CLEANUP(rk_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? latch(errno) : hook_fsync(fd);
}

static int open_retrying(const char *path, int flags, mode_t mode)
{
    bool released = false;
    for (;;) {
        int fd = open(path, flags | O_CLOEXEC, mode);
        if (fd < 0 && errno == EINTR)
            continue;
        if (fd < 0 && is_full(errno) && !released && store_space_release()) {
            released = true;
            continue;
        }
        return fd;
    }
}

static int hook_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = va_arg(args, int); /* the library always passes it */
    va_end(args);
    int fd = open_retrying(path, flags, (mode_t)mode);
    if (fd < 0 && errno != ENOENT && errno != EEXIST && !is_full(errno))
        errno = latch(errno);
    if (fd < 0 || (flags & O_CREAT) == 0)
        return fd;
    int error = sync_directory_of(path);
    if (error == 0)
        return fd;
    close(fd);
    errno = error;
    return -1;
}

static int hook_rename(const char *from, const char *to)
{
    if (rename(from, to) < 0)
        return errno;
    return sync_directory_of(to);
}

static int hook_unlink(const char *path)
{
    if (unlink(path) < 0)
        return errno;
    return sync_directory_of(path);
}

static void *hook_malloc(size_t size)
{
    return rk_realloc(NULL, size);
}

static void install(void)
{
    int r = db_env_set_func_fsync(hook_fsync);
    r = r != 0 ? r : db_env_set_func_malloc(hook_malloc);
    r = r != 0 ? r : db_env_set_func_realloc(rk_realloc);
    r = r != 0 ? r : db_env_set_func_free(free);
    r = r != 0 ? r : db_env_set_func_pread(hook_pread);
    r = r != 0 ? r : db_env_set_func_write(hook_write);
    r = r != 0 ? r : db_env_set_func_pwrite(hook_pwrite);
    r = r != 0 ? r : db_env_set_func_open(hook_open);
    r = r != 0 ? r : db_env_set_func_rename(hook_rename);
    r = r != 0 ? r : db_env_set_func_unlink(hook_unlink);
    rk_assert(r == 0);
}

void store_hooks_install(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}
