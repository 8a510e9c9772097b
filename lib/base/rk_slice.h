/* lib/base/rk_slice.h - a view of bytes that somebody else owns. */
#ifndef RK_SLICE_H
#define RK_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rk_slice {
    const uint8_t *data;
    size_t len;
};

static inline struct rk_slice rk_slice(const void *data, size_t len)
{
    return (struct rk_slice){.data = data, .len = len};
}

static inline struct rk_slice rk_slice_str(const char *s)
{
    return rk_slice(s, strlen(s));
}

static inline int rk_slice_cmp(struct rk_slice a, struct rk_slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n > 0 ? memcmp(a.data, b.data, n) : 0;
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static inline bool rk_slice_eq(struct rk_slice a, struct rk_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool rk_slice_eq_str(struct rk_slice a, const char *s)
{
    return rk_slice_eq(a, rk_slice_str(s));
}

static inline bool rk_slice_has_prefix(struct rk_slice a, struct rk_slice prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.data, prefix.data, prefix.len) == 0);
}

#endif
