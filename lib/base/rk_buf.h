/* lib/base/rk_buf.h - a growing byte buffer with a front that can be consumed.
 *
 * Zero-initialised is empty. Growth aborts on out of memory, so whoever fills a
 * buffer from the network checks its own bound from limits.h first. */
#ifndef RK_BUF_H
#define RK_BUF_H

#include "lib/base/rk_slice.h"
#include "lib/base/rk_util.h"

struct rk_buf {
    uint8_t *data; /* allocation */
    size_t start;  /* first live byte */
    size_t len;    /* live bytes */
    size_t cap;
};

void rk_buf_deinit(struct rk_buf *buf); /* frees; the buffer is empty and usable again */
void rk_buf_clear(struct rk_buf *buf);  /* keeps the memory */
/* Makes room for n more bytes and returns where they go; rk_buf_commit() makes them live. */
uint8_t *rk_buf_reserve(struct rk_buf *buf, size_t n);
void rk_buf_commit(struct rk_buf *buf, size_t n);
void rk_buf_append(struct rk_buf *buf, const void *data, size_t len);
void rk_buf_append_slice(struct rk_buf *buf, struct rk_slice s);
void rk_buf_append_str(struct rk_buf *buf, const char *s);
void rk_buf_printf(struct rk_buf *buf, const char *fmt, ...) RK_PRINTF(2, 3);
void rk_buf_consume(struct rk_buf *buf, size_t n); /* drops n bytes from the front */

static inline struct rk_slice rk_buf_slice(const struct rk_buf *buf)
{
    return buf->data ? rk_slice(buf->data + buf->start, buf->len) : rk_slice(NULL, 0);
}

#endif
