/* lib/base/rk_buf.c - a growing byte buffer with a front that can be consumed.
 *
 * Live bytes sit somewhere in the allocation. They slide to its front only when
 * at least as many bytes were consumed before them, so every byte that enters is
 * moved a constant number of times however the buffer is used. */
#include "lib/base/rk_buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "lib/base/rk_assert.h"

#define CAP_MIN 64u

void rk_buf_deinit(struct rk_buf *buf)
{
    free(buf->data);
    *buf = (struct rk_buf){0};
}

void rk_buf_clear(struct rk_buf *buf)
{
    buf->start = 0;
    buf->len = 0;
}

/* Doubling keeps appends cheap; the new allocation starts with the live bytes. */
static void grow(struct rk_buf *buf, size_t n)
{
    size_t cap = buf->cap > CAP_MIN ? buf->cap : CAP_MIN;
    while (cap < buf->len + n)
        cap *= 2;
    if (buf->start == 0) {
        buf->data = rk_realloc(buf->data, cap);
    } else {
        uint8_t *data = rk_realloc(NULL, cap);
        memcpy(data, buf->data + buf->start, buf->len);
        free(buf->data);
        buf->data = data;
        buf->start = 0;
    }
    buf->cap = cap;
}

uint8_t *rk_buf_reserve(struct rk_buf *buf, size_t n)
{
    rk_assert(n <= SIZE_MAX / 4 - buf->len);
    if (buf->cap - buf->start - buf->len < n || !buf->data) {
        if (buf->cap - buf->len >= n && buf->start >= buf->len && buf->data) {
            memmove(buf->data, buf->data + buf->start, buf->len);
            buf->start = 0;
        } else {
            grow(buf, n);
        }
    }
    return buf->data + buf->start + buf->len;
}

void rk_buf_commit(struct rk_buf *buf, size_t n)
{
    rk_assert(n <= buf->cap - buf->start - buf->len);
    buf->len += n;
}

void rk_buf_append(struct rk_buf *buf, const void *data, size_t len)
{
    if (len == 0)
        return;
    memcpy(rk_buf_reserve(buf, len), data, len);
    rk_buf_commit(buf, len);
}

void rk_buf_append_slice(struct rk_buf *buf, struct rk_slice s)
{
    rk_buf_append(buf, s.data, s.len);
}

void rk_buf_append_str(struct rk_buf *buf, const char *s)
{
    rk_buf_append(buf, s, strlen(s));
}

void rk_buf_printf(struct rk_buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    rk_assert(len >= 0);
    /* The terminating zero needs room but never becomes live. */
    uint8_t *to = rk_buf_reserve(buf, (size_t)len + 1);
    vsnprintf((char *)to, (size_t)len + 1, fmt, again);
    va_end(again);
    rk_buf_commit(buf, (size_t)len);
}

void rk_buf_consume(struct rk_buf *buf, size_t n)
{
    rk_assert(n <= buf->len);
    buf->start += n;
    buf->len -= n;
    if (buf->len == 0)
        buf->start = 0;
}
