/* lib/base/rk_wire.c - bounded reader and writer for our own binary formats. Big endian. */
#include "lib/base/rk_wire.h"

#include "lib/base/rk_assert.h"

struct rk_reader rk_reader(struct rk_slice s)
{
    return (struct rk_reader){.pos = s.data, .end = s.len > 0 ? s.data + s.len : s.data};
}

void rk_reader_fail(struct rk_reader *r)
{
    r->failed = true;
    r->pos = r->end;
}

bool rk_reader_ok(const struct rk_reader *r)
{
    return !r->failed;
}

bool rk_reader_done(const struct rk_reader *r)
{
    return !r->failed && r->pos == r->end;
}

size_t rk_reader_left(const struct rk_reader *r)
{
    return (size_t)(r->end - r->pos);
}

struct rk_slice rk_get_bytes(struct rk_reader *r, size_t len)
{
    if (len > rk_reader_left(r)) {
        rk_reader_fail(r);
        return rk_slice(NULL, 0);
    }
    struct rk_slice s = rk_slice(r->pos, len);
    if (len > 0)
        r->pos += len;
    return s;
}

static uint64_t get_number(struct rk_reader *r, size_t size)
{
    struct rk_slice s = rk_get_bytes(r, size);
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.data[i];
    return v;
}

uint8_t rk_get_u8(struct rk_reader *r)
{
    return (uint8_t)get_number(r, 1);
}

uint16_t rk_get_u16(struct rk_reader *r)
{
    return (uint16_t)get_number(r, 2);
}

uint32_t rk_get_u32(struct rk_reader *r)
{
    return (uint32_t)get_number(r, 4);
}

uint64_t rk_get_u64(struct rk_reader *r)
{
    return get_number(r, 8);
}

struct rk_slice rk_get_block(struct rk_reader *r, size_t max)
{
    size_t len = rk_get_u32(r);
    if (len > max)
        rk_reader_fail(r);
    return r->failed ? rk_slice(NULL, 0) : rk_get_bytes(r, len);
}

static void store_number(uint8_t *p, uint64_t v, size_t size)
{
    for (size_t i = size; i > 0; i--, v >>= 8)
        p[i - 1] = (uint8_t)v;
}

static void put_number(struct rk_buf *b, uint64_t v, size_t size)
{
    store_number(rk_buf_reserve(b, size), v, size);
    rk_buf_commit(b, size);
}

void rk_put_u8(struct rk_buf *b, uint8_t v)
{
    put_number(b, v, 1);
}

void rk_put_u16(struct rk_buf *b, uint16_t v)
{
    put_number(b, v, 2);
}

void rk_put_u32(struct rk_buf *b, uint32_t v)
{
    put_number(b, v, 4);
}

void rk_put_u64(struct rk_buf *b, uint64_t v)
{
    put_number(b, v, 8);
}

void rk_put_block(struct rk_buf *b, struct rk_slice s)
{
    rk_assert(s.len <= UINT32_MAX);
    rk_put_u32(b, (uint32_t)s.len);
    rk_buf_append_slice(b, s);
}

void rk_store_u32(uint8_t *p, uint32_t v)
{
    store_number(p, v, 4);
}

void rk_store_u64(uint8_t *p, uint64_t v)
{
    store_number(p, v, 8);
}

static uint64_t load_number(const uint8_t *p, size_t size)
{
    uint64_t v = 0;
    for (size_t i = 0; i < size; i++)
        v = v << 8 | p[i];
    return v;
}

uint32_t rk_load_u32(const uint8_t *p)
{
    return (uint32_t)load_number(p, 4);
}

uint64_t rk_load_u64(const uint8_t *p)
{
    return load_number(p, 8);
}
