/* lib/base/rk_util.h - small things that every file may want. */
#ifndef RK_UTIL_H
#define RK_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define RK_ARRAY_LEN(a)                   (sizeof(a) / sizeof((a)[0]))
#define RK_CONTAINER_OF(ptr, type, field) ((type *)(void *)((char *)(ptr)-offsetof(type, field)))
#define RK_PRINTF(fmt, args)              __attribute__((format(printf, fmt, args)))
/* Marks a variable whose destructor runs at scope exit; the destructor takes a pointer to the variable. */
#define RK_CLEANUP(fn) __attribute__((cleanup(fn)))
#define RK_UNUSED      __attribute__((unused))
#define RK_MUST_CHECK  __attribute__((warn_unused_result))

#define RK_USEC_PER_SEC  1000000ULL
#define RK_USEC_PER_MSEC 1000ULL
#define RK_NEVER         UINT64_MAX

static inline uint64_t rk_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t rk_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Allocation for objects whose loss leaves nothing sensible to do: running out
 * of memory in the middle of a transition ends the process (restart is the
 * recovery). Never use these for a size that a peer or a client chose without
 * a check against limits.h first. They return zeroed memory and never NULL. */
void *rk_new0(size_t count, size_t size);
void *rk_realloc(void *old, size_t size);
char *rk_strdup(const char *s);
char *rk_asprintf(const char *fmt, ...) RK_PRINTF(1, 2);
#define RK_NEW(type)          ((type *)rk_new0(1, sizeof(type)))
#define RK_NEW_ARRAY(type, n) ((type *)rk_new0((n), sizeof(type)))

/* RK_CLEANUP(rk_freep) char *s; */
void rk_freep(void *pointer_to_pointer);
void rk_closep(int *fd);

#endif
