/* lib/mvcc/mvcc_stream.h - the bytes of a snapshot stream. Private to lib/mvcc. */
#ifndef MVCC_STREAM_H
#define MVCC_STREAM_H

#include "lib/mvcc/mvcc.h"
#include "lib/mvcc/mvcc_rows.h"

/* Of a block: length and CRC. */
#define MVCC_BLOCK_HEADER 8u
/* The body of a block. The writer closes one when it has RK_SNAPSHOT_CHUNK_BYTES, so the longest has one row
 * more, or it is a header with the members that an entry could carry. */
#define MVCC_BLOCK_BYTES_MAX (RK_SNAPSHOT_CHUNK_BYTES + RK_COMMAND_BYTES_MAX)

enum mvcc_block { /* numbers are in files: never reuse one */
                  MVCC_BLOCK_HEAD = 1,
                  MVCC_BLOCK_ROWS = 2,
                  MVCC_BLOCK_TAIL = 3,
                  MVCC_BLOCK_ONCE = 4,
};

struct mvcc_stream_tail {
    uint64_t rows;
    uint32_t crc; /* over all bytes of the stream before the block of the tail */
};

/* These append a whole block and carry the CRC over the stream on. */
void mvcc_stream_put_head(struct rk_buf *out, const struct mvcc_snapshot_info *info, uint32_t *crc);
void mvcc_stream_put_rows(struct rk_buf *out, struct rk_slice rows, uint32_t *crc);
void mvcc_stream_put_once(struct rk_buf *out, struct rk_slice records, uint32_t *crc);
void mvcc_stream_put_tail(struct rk_buf *out, uint64_t rows, uint32_t crc);
/* Appends one row to the rows of a block to be. */
void mvcc_stream_put_row(struct rk_buf *rows, const struct mvcc_row *row);

/* These read what follows the kind in the body of a block: 0 or -EBADMSG. Views are into the body. */
int mvcc_stream_get_head(struct rk_reader *r, struct mvcc_snapshot_info *ret) RK_MUST_CHECK;
int mvcc_stream_get_row(struct rk_reader *r, struct mvcc_row *ret) RK_MUST_CHECK;
int mvcc_stream_get_tail(struct rk_reader *r, struct mvcc_stream_tail *ret) RK_MUST_CHECK;

#endif
