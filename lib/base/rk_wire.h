/* lib/base/rk_wire.h - bounded reader and writer for our own binary formats. Big endian.
 *
 * The reader latches its first error: after a short read every get returns zero
 * or an empty slice, and rk_reader_ok() is asked once at the end. */
#ifndef RK_WIRE_H
#define RK_WIRE_H

#include "lib/base/rk_buf.h"
#include "lib/base/rk_slice.h"

struct rk_reader {
    const uint8_t *pos, *end;
    bool failed;
};

struct rk_reader rk_reader(struct rk_slice s);
uint8_t rk_get_u8(struct rk_reader *r);
uint16_t rk_get_u16(struct rk_reader *r);
uint32_t rk_get_u32(struct rk_reader *r);
uint64_t rk_get_u64(struct rk_reader *r);
struct rk_slice rk_get_bytes(struct rk_reader *r, size_t len); /* a view into the input */
/* u32 length, then the bytes; fails when the length is over max. */
struct rk_slice rk_get_block(struct rk_reader *r, size_t max);
void rk_reader_fail(struct rk_reader *r);
bool rk_reader_ok(const struct rk_reader *r);   /* nothing failed so far */
bool rk_reader_done(const struct rk_reader *r); /* nothing failed and nothing is left */
size_t rk_reader_left(const struct rk_reader *r);

void rk_put_u8(struct rk_buf *b, uint8_t v);
void rk_put_u16(struct rk_buf *b, uint16_t v);
void rk_put_u32(struct rk_buf *b, uint32_t v);
void rk_put_u64(struct rk_buf *b, uint64_t v);
void rk_put_block(struct rk_buf *b, struct rk_slice s); /* u32 length, then the bytes */

/* Fixed places in memory, for keys and headers. */
void rk_store_u32(uint8_t *p, uint32_t v);
void rk_store_u64(uint8_t *p, uint64_t v);
uint32_t rk_load_u32(const uint8_t *p);
uint64_t rk_load_u64(const uint8_t *p);

#endif
