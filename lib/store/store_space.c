/* lib/store/store_space.c - room on the disk: a ballast for the worst moment, and a warning before it.
 *
 * A full disk must never keep a host from finishing what it has begun, or from
 * starting again. So a file of dead weight, the ballast, is kept beside the data
 * and given back to the file system when a write meets ENOSPC: that write, the
 * checkpoint and a clean stop then fit. Well before that, "low" tells the host to
 * refuse new writes; it is counted without the ballast, so giving it back does not
 * make a full disk look empty. */
#include "config.h" /* _GNU_SOURCE */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/rk_file.h"
#include "lib/base/rk_log.h"
#include "lib/store/store_internal.h"

static struct {
    pthread_mutex_t mutex; /* guards the ballast and the paths */
    char *dir, *file;
    uint64_t reserve_bytes, low_bytes;
    bool has_reserve;
    int (*measure)(const char *path, uint64_t *ret_free_bytes);
    atomic_bool low;
    atomic_ullong free_bytes;
} space = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static int measure_statvfs(const char *path, uint64_t *ret_free_bytes)
{
    struct statvfs st;
    if (statvfs(path, &st) < 0)
        return -errno;
    *ret_free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

/* Blocks must really be taken, or the ballast weighs nothing. */
static int reserve_allocate(void)
{
    RK_CLEANUP(rk_closep) int fd = open(space.file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int error = posix_fallocate(fd, 0, (off_t)space.reserve_bytes);
    if (error == 0 && ftruncate(fd, (off_t)space.reserve_bytes) < 0)
        error = errno;
    if (error != 0)
        unlink(space.file);
    return -error;
}

static void reserve_put_back(void)
{
    int r = space.reserve_bytes > 0 ? reserve_allocate() : 0;
    space.has_reserve = space.reserve_bytes > 0 && r == 0;
    if (r < 0 && r != -ENOSPC && r != -EDQUOT)
        RK_LOG(RK_LOG_WARNING, "store", RK_FIELDS(RK_F_STR("PATH", space.file)),
               "the reserve file cannot be made (errno %d)", -r);
}

/* The file system may keep freed blocks until its journal commits, hence the fsync. */
bool store_space_release(void)
{
    pthread_mutex_lock(&space.mutex);
    bool released = space.has_reserve;
    if (released) {
        RK_CLEANUP(rk_closep) int fd = open(space.file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
        released = fd >= 0 && ftruncate(fd, 0) == 0;
        if (released && fsync(fd) < 0)
            RK_LOG(RK_LOG_WARNING, "store", NULL, "the reserve file cannot be flushed");
        space.has_reserve = false;
    }
    if (released)
        atomic_store(&space.low, true);
    pthread_mutex_unlock(&space.mutex);
    if (released)
        RK_LOG(RK_LOG_ERROR, "store", NULL,
               "the disk is full: the reserve was given back, free some space now");
    return released;
}

static void poll_locked(void)
{
    uint64_t bytes;
    if (!space.dir || space.measure(space.dir, &bytes) < 0)
        return; /* nothing was learnt: the last finding stands */
    uint64_t missing = space.has_reserve ? 0 : space.reserve_bytes;
    uint64_t usable = bytes > missing ? bytes - missing : 0;
    atomic_store(&space.free_bytes, usable);
    atomic_store(&space.low, usable < space.low_bytes);
    if (missing > 0 && usable >= space.low_bytes && usable > 0)
        reserve_put_back();
}

void store_space_poll(void)
{
    pthread_mutex_lock(&space.mutex);
    poll_locked();
    pthread_mutex_unlock(&space.mutex);
}

/* A ballast of the right size from the last run is kept; anything else is made anew. */
static bool reserve_is_there(void)
{
    struct stat st;
    return lstat(space.file, &st) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == space.reserve_bytes && (uint64_t)st.st_blocks * 512 >= space.reserve_bytes;
}

int store_space_init(struct store_dir *dir, uint64_t reserve_bytes, uint64_t low_bytes)
{
    store_hooks_install();
    pthread_mutex_lock(&space.mutex);
    free(space.dir);
    free(space.file);
    space.dir = rk_strdup(store_dir_path(dir));
    space.file = rk_asprintf("%s/reserve", space.dir);
    space.reserve_bytes = reserve_bytes;
    space.low_bytes = low_bytes;
    space.measure = space.measure ? space.measure : measure_statvfs;
    space.has_reserve = reserve_bytes > 0 && reserve_is_there();
    uint64_t bytes;
    int r = space.measure(space.dir, &bytes);
    if (r == 0 && !space.has_reserve && unlink(space.file) < 0 && errno != ENOENT)
        r = -errno;
    if (r == 0)
        poll_locked();
    pthread_mutex_unlock(&space.mutex);
    return r;
}

bool store_space_low(void)
{
    return atomic_load(&space.low);
}

uint64_t store_space_free_bytes(void)
{
    return atomic_load(&space.free_bytes);
}

void store_space_test_measure(int (*measure)(const char *path, uint64_t *ret_free_bytes))
{
    pthread_mutex_lock(&space.mutex);
    space.measure = measure ? measure : measure_statvfs;
    pthread_mutex_unlock(&space.mutex);
}

bool store_space_test_has_reserve(void)
{
    pthread_mutex_lock(&space.mutex);
    bool has = space.has_reserve;
    pthread_mutex_unlock(&space.mutex);
    return has;
}
