/* lib/base/rk_util.c - memory that is there or ends the process, and scope-exit helpers. */
#include "config.h" /* _GNU_SOURCE, for vasprintf */

#include "lib/base/rk_util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/rk_assert.h"

void *rk_new0(size_t count, size_t size)
{
    /* An empty array still has an address of its own. */
    void *memory = count > 0 && size > 0 ? calloc(count, size) : calloc(1, 1);
    rk_assert(memory);
    return memory;
}

void *rk_realloc(void *old, size_t size)
{
    void *memory = realloc(old, size > 0 ? size : 1);
    rk_assert(memory);
    return memory;
}

char *rk_strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    return memcpy(rk_realloc(NULL, size), s, size);
}

char *rk_asprintf(const char *fmt, ...)
{
    char *s = NULL;
    va_list args;
    va_start(args, fmt);
    int len = vasprintf(&s, fmt, args);
    va_end(args);
    rk_assert(len >= 0);
    return s;
}

/* Copies the pointer as bytes: the caller's variable may point to any type. */
void rk_freep(void *pointer_to_pointer)
{
    void *memory;
    memcpy(&memory, pointer_to_pointer, sizeof(memory));
    free(memory);
    memset(pointer_to_pointer, 0, sizeof(memory));
}

/* Keeps errno, so that a failing function can return -errno past it. */
void rk_closep(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}
