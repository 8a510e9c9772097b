/* tests/fault/fault_shim.c - a library to preload: the n-th allocation or disk call of a process fails.
 *
 * It stands before libc (and before AddressSanitizer's runtime) for whatever is loaded: raftkv's own code,
 * Berkeley DB, OpenSSL, libconfig, libc itself. The environment says what happens:
 *
 *   FAULT_KIND    alloc: malloc and its kin; io: what changes the disk (open with O_CREAT, write, ftruncate,
 *                 fallocate, fsync, rename, unlink, mkdir); open: any open; read: what reads a file; empty:
 * nothing FAULT_N       the first one that fails, from 1; FAULT_COUNT: how many fail from there on (default
 * 1) FAULT_ERRNO   the error, as a number; -1: a write does half its work and succeeds FAULT_DIR     disk
 * calls count for files below this directory only FAULT_WAIT    not empty: nothing is counted before the
 * program calls fault_begin() FAULT_TALLY   a file of struct fault_tally that is kept up to date, whatever
 * becomes of the process
 *
 * A process that crashes says in which library. fault_fired() is called at each failure: a place for a
 * breakpoint.
 */
#include "config.h" /* _GNU_SOURCE */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fault/fault_shim.h"

#define FDS_MAX   4096
#define EARLY_MAX 65536

static struct fault_tally scratch, *tally = &scratch;
static enum fault_kind kind;
static uint64_t first, last; /* of the failures */
static int error;
static char directory[PATH_MAX];
static size_t directory_len;
static atomic_bool begun;
static atomic_bool ours[FDS_MAX]; /* files below directory */

/* ---- who fails ---------------------------------------------------------------------- */

void fault_begin(void)
{
    atomic_store(&begun, true);
}

__attribute__((noinline)) void fault_fired(void)
{
    atomic_fetch_add(&tally->fired, 1);
}

static bool strikes(enum fault_kind of)
{
    uint64_t n;

    if (!atomic_load_explicit(&begun, memory_order_relaxed))
        return false;
    n = atomic_fetch_add(&tally->count[of], 1) + 1;
    if (of != kind || n < first || n > last)
        return false;
    fault_fired();
    return true;
}

static bool fails(enum fault_kind of)
{
    if (!strikes(of))
        return false;
    errno = error;
    return true;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? (uint64_t)strtoll(text, NULL, 10) : otherwise;
}

/* Which library it was, and called by whom; then the signal does what it does. */
static void on_crash(int number_of_signal)
{
    void *frames[24];

    signal(number_of_signal, SIG_DFL);
    backtrace_symbols_fd(frames, backtrace(frames, 24), STDERR_FILENO);
    raise(number_of_signal);
}

static void watch_for_crashes(void)
{
    void *frame;

    (void)backtrace(&frame, 1); /* the first call allocates */
    signal(SIGSEGV, on_crash);
    signal(SIGBUS, on_crash);
}

static void open_tally(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *shared =
        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (shared != MAP_FAILED)
        tally = shared;
    if (fd >= 0)
        close(fd);
}

__attribute__((constructor)) static void start(void)
{
    static const char *const names[] = {"alloc", "io", "open", "read"};
    const char *text = getenv("FAULT_KIND");

    kind = FAULT_NONE;
    for (unsigned i = 0; text && i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i]) == 0)
            kind = (enum fault_kind)i;
    first = number("FAULT_N", 0);
    last = first + number("FAULT_COUNT", 1) - 1;
    error = (int)number("FAULT_ERRNO", EIO);
    text = getenv("FAULT_DIR");
    directory_len = (size_t)snprintf(directory, sizeof(directory), "%s", text ? text : "/nowhere");
    text = getenv("FAULT_TALLY");
    if (text && *text)
        open_tally(text);
    watch_for_crashes();
    text = getenv("FAULT_WAIT");
    unsetenv("LD_PRELOAD"); /* programs that are run from here are left alone */
    atomic_store(&begun, !text || !*text);
}

/* ---- memory --------------------------------------------------------------------------- */

/* What is asked for while the loader looks for the real functions; never given back. The flag is reached
 * without __tls_get_addr(), which AddressSanitizer replaces, too; and dlsym(), declared a leaf, does call us.
 */
static _Thread_local volatile bool looking __attribute__((tls_model("initial-exec")));
static uint8_t early[EARLY_MAX] __attribute__((aligned(16)));
static atomic_size_t early_used;

static void *early_new(size_t size)
{
    size_t at = atomic_fetch_add(&early_used, (size + 15) & ~(size_t)15);

    return at + size <= EARLY_MAX ? early + at : NULL;
}

static void *find(const char *name)
{
    void *found;

    looking = true;
    found = dlsym(RTLD_NEXT, name);
    looking = false;
    return found;
}

/* The function that stands behind ours. */
#define NEXT(name)                                                                                           \
    static __typeof__(name) *next;                                                                           \
    if (!next)                                                                                               \
    next = (__typeof__(name) *)find(#name)

static bool no_memory(void)
{
    if (!strikes(FAULT_ALLOC))
        return false;
    errno = ENOMEM;
    return true;
}

/* Before AddressSanitizer is ready there is nothing behind us yet. */
static bool is_early(const void *memory)
{
    return (uintptr_t)memory >= (uintptr_t)early && (uintptr_t)memory < (uintptr_t)early + EARLY_MAX;
}

void *malloc(size_t size)
{
    if (looking)
        return early_new(size);
    NEXT(malloc);
    if (!next)
        return early_new(size);
    return no_memory() ? NULL : next(size);
}

void *calloc(size_t count, size_t size)
{
    if (looking)
        return early_new(count * size);
    NEXT(calloc);
    if (!next)
        return early_new(count * size);
    return no_memory() ? NULL : next(count, size);
}

static void *early_move(const uint8_t *old, size_t size)
{
    size_t known = (size_t)(early + EARLY_MAX - old);
    void *memory = malloc(size);

    return memory ? memcpy(memory, old, known < size ? known : size) : NULL;
}

void *realloc(void *old, size_t size)
{
    if (looking || is_early(old))
        return early_move(old ? old : early, size);
    NEXT(realloc);
    return no_memory() ? NULL : next(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    NEXT(aligned_alloc);
    return no_memory() ? NULL : next(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    NEXT(posix_memalign);
    return no_memory() ? ENOMEM : next(ret, alignment, size);
}

void free(void *memory)
{
    if (looking || is_early(memory))
        return;
    NEXT(free);
    if (next)
        next(memory);
}

/* AddressSanitizer has its own, which does not ask malloc. */
char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);

    return copy ? memcpy(copy, text, size) : NULL;
}

/* ---- names ------------------------------------------------------------------------------ */

static bool below(const char *path)
{
    return strncmp(path, directory, directory_len) == 0;
}

static bool is_ours(int fd)
{
    return fd >= 0 && fd < FDS_MAX && atomic_load_explicit(&ours[fd], memory_order_relaxed);
}

static bool below_at(int dir, const char *path)
{
    return path[0] == '/' || dir == AT_FDCWD ? below(path) : is_ours(dir);
}

static int opened(int fd, bool counts)
{
    if (fd >= 0 && fd < FDS_MAX)
        atomic_store(&ours[fd], counts);
    return fd;
}

static bool open_fails(bool counts, int flags)
{
    if (!counts)
        return false;
    return fails(FAULT_OPEN) || ((flags & (O_CREAT | O_TRUNC)) != 0 && fails(FAULT_IO));
}

#define MODE_OF(flags, args, mode)                                                                           \
    mode_t mode = 0;                                                                                         \
    if (((flags) & (O_CREAT | O_TMPFILE)) != 0) {                                                            \
        va_list args;                                                                                        \
        va_start(args, flags);                                                                               \
        mode = (mode_t)va_arg(args, unsigned);                                                               \
        va_end(args);                                                                                        \
    }

#define OPEN(name)                                                                                           \
    int name(const char *path, int flags, ...)                                                               \
    {                                                                                                        \
        NEXT(name);                                                                                          \
        MODE_OF(flags, args, mode)                                                                           \
        bool counts = below(path);                                                                           \
        return open_fails(counts, flags) ? -1 : opened(next(path, flags, mode), counts);                     \
    }

#define OPENAT(name)                                                                                         \
    int name(int dir, const char *path, int flags, ...)                                                      \
    {                                                                                                        \
        NEXT(name);                                                                                          \
        MODE_OF(flags, args, mode)                                                                           \
        bool counts = below_at(dir, path);                                                                   \
        return open_fails(counts, flags) ? -1 : opened(next(dir, path, flags, mode), counts);                \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int close(int fd)
{
    NEXT(close);
    (void)opened(fd, false);
    return next(fd);
}

int rename(const char *from, const char *to)
{
    NEXT(rename);
    return below(from) && fails(FAULT_IO) ? -1 : next(from, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    NEXT(renameat);
    return below_at(from_dir, from) && fails(FAULT_IO) ? -1 : next(from_dir, from, to_dir, to);
}

int unlink(const char *path)
{
    NEXT(unlink);
    return below(path) && fails(FAULT_IO) ? -1 : next(path);
}

int unlinkat(int dir, const char *path, int flags)
{
    NEXT(unlinkat);
    return below_at(dir, path) && fails(FAULT_IO) ? -1 : next(dir, path, flags);
}

int rmdir(const char *path)
{
    NEXT(rmdir);
    return below(path) && fails(FAULT_IO) ? -1 : next(path);
}

int mkdir(const char *path, mode_t mode)
{
    NEXT(mkdir);
    return below(path) && fails(FAULT_IO) ? -1 : next(path, mode);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    NEXT(mkdirat);
    return below_at(dir, path) && fails(FAULT_IO) ? -1 : next(dir, path, mode);
}

/* ---- contents ------------------------------------------------------------------------------ */

/* How much of a write is done: all, half, or (-1) nothing. */
static ssize_t share(int fd, size_t size)
{
    if (!is_ours(fd) || !strikes(FAULT_IO))
        return (ssize_t)size;
    if (error == -1)
        return (ssize_t)(size > 1 ? size / 2 : size);
    errno = error;
    return -1;
}

ssize_t write(int fd, const void *data, size_t size)
{
    NEXT(write);
    ssize_t n = share(fd, size);
    return n < 0 ? -1 : next(fd, data, (size_t)n);
}

#define PWRITE(name, offset_type)                                                                            \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset)                                  \
    {                                                                                                        \
        NEXT(name);                                                                                          \
        ssize_t n = share(fd, size);                                                                         \
        return n < 0 ? -1 : next(fd, data, (size_t)n, offset);                                               \
    }

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

static bool io_fails(int fd)
{
    return is_ours(fd) && error != -1 && fails(FAULT_IO);
}

int fsync(int fd)
{
    NEXT(fsync);
    return io_fails(fd) ? -1 : next(fd);
}

int fdatasync(int fd)
{
    NEXT(fdatasync);
    return io_fails(fd) ? -1 : next(fd);
}

int ftruncate(int fd, off_t size)
{
    NEXT(ftruncate);
    return io_fails(fd) ? -1 : next(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    NEXT(ftruncate64);
    return io_fails(fd) ? -1 : next(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    NEXT(fallocate);
    return io_fails(fd) ? -1 : next(fd, mode, offset, size);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    NEXT(posix_fallocate);
    return io_fails(fd) ? errno : next(fd, offset, size);
}

static bool read_fails(int fd)
{
    return is_ours(fd) && fails(FAULT_READ);
}

ssize_t read(int fd, void *data, size_t size)
{
    NEXT(read);
    return read_fails(fd) ? -1 : next(fd, data, size);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    NEXT(pread);
    return read_fails(fd) ? -1 : next(fd, data, size, offset);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
    NEXT(pread64);
    return read_fails(fd) ? -1 : next(fd, data, size, offset);
}
