/* tests/fuzz/fuzz_mvcc.c - what comes out of the log and of snapshots: commands, what exactly-once keeps,
 * streams.
 *
 * The first byte says which. Whatever is accepted must come back as the same bytes. */
#include "config.h"

#include "lib/base/rk_assert.h"
#include "lib/mvcc/mvcc_once.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rk_blob *encode(const struct mvcc_command *command)
{
    switch (command->class) {
    case MVCC_CLASS_WRITE:
        return mvcc_command_encode(&command->origin, command->ops, command->count);
    case MVCC_CLASS_NUMBERED_WRITE:
        return mvcc_numbered_encode(&command->origin, &command->number, command->ops, command->count);
    case MVCC_CLASS_SESSION:
        return mvcc_session_encode(&command->origin, command->change, command->number.session, command->ms);
    }
    return NULL;
}

static void command(struct rk_slice bytes)
{
    struct mvcc_command decoded;
    struct rk_blob *again;

    (void)mvcc_command_only_deletes(bytes);
    if (mvcc_command_decode(bytes, &decoded) != 0)
        return;
    (void)mvcc_command_check(decoded.ops, decoded.count);
    again = encode(&decoded);
    rk_assert(rk_slice_eq(rk_blob_slice(again), bytes));
    rk_blob_unref(again);
}

/* All records of a stream, without its blocks: of three kinds, in an order that leaves no choice. */
static void records(struct rk_slice bytes)
{
    struct rk_reader r = rk_reader(bytes);
    struct mvcc_once_seen seen = {0};
    struct mvcc_once once;
    struct rk_buf out = {0};
    uint32_t crc = 0;
    int result = 0;

    mvcc_once_init(&once);
    while (result == 0 && rk_reader_left(&r) > 0)
        result = mvcc_once_take_record(&r, &seen, UINT32_MAX, UINT32_MAX, &once);
    if (result == 0 && bytes.len > 0 && bytes.len < RK_SNAPSHOT_CHUNK_BYTES) {
        mvcc_once_put_blocks(&once, &out, &crc); /* one block: length, CRC, kind, and the same again */
        rk_assert(out.len == bytes.len + 9);
        rk_assert(memcmp(rk_buf_slice(&out).data + 9, bytes.data, bytes.len) == 0);
    }
    mvcc_once_deinit(&once);
    rk_buf_deinit(&out);
}

static void stream(struct rk_slice bytes)
{
    struct mvcc_verify *verify = mvcc_verify_new();
    int whole = mvcc_verify_feed(verify, bytes);

    rk_assert(!mvcc_verify_complete(verify) || (whole == 0 && mvcc_verify_info(verify)));
    mvcc_verify_free(verify);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rk_slice rest = size > 0 ? rk_slice(data + 1, size - 1) : rk_slice(NULL, 0);

    if (size == 0)
        return 0;
    if (data[0] % 3 == 0)
        command(rest);
    else if (data[0] % 3 == 1)
        records(rest);
    else
        stream(rest);
    return 0;
}
