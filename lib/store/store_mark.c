/* lib/store/store_mark.c - a second opinion on where the log ends.
 *
 * Berkeley DB's recovery takes the first record that fails its checksum for the
 * end of the log. After a power cut that is right: the record was never
 * acknowledged. After rot, a lost file or a restored old copy it is wrong, and
 * entries that this host acknowledged vanish without a word. So the last flushed
 * entry and the vote of each group are written to a file of its own, and
 * store_log_open() compares.
 *
 * The claim must never be larger than the truth:
 *   - it is raised after the flush that made it true, lazily and without a flush
 *     of its own (an old claim is weaker, not wrong), but durably when a vote has
 *     changed: the vote is all that cannot be had from others when the log is lost;
 *   - before a transaction that removes entries at the end can reach the disk it
 *     is lowered, and that is flushed.
 *
 * There are two slots, and the whole one with the higher sequence counts. One of
 * them is always known to be on the disk; only the other one is written, again and
 * again, until a flush swaps their parts. So a power cut can tear one slot only,
 * and the one that is left claims less. A slot, big endian:
 *   u32 magic, u32 format, u64 sequence, u32 reserved, u32 count, u32 crc32c
 *   count times: u32 group, u64 index, u64 term, u64 vote term, u64 voted for
 * The CRC is over the slot with zeros in its place. */
#include "config.h" /* _GNU_SOURCE */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/rk_clock.h"
#include "lib/base/rk_crc32c.h"
#include "lib/base/rk_file.h"
#include "lib/base/rk_map.h"
#include "lib/base/rk_wire.h"
#include "lib/store/store_internal.h"

#define MAGIC       0x524b4d4bu /* "RKMK" */
#define CRC_OFFSET  24u
#define INTERVAL_US (200u * RK_USEC_PER_MSEC)

struct store_mark {
    pthread_mutex_t mutex; /* a checkpoint writes what is pending, from its own thread */
    int fd;
    uint64_t sequence;   /* of the newest slot in the file */
    unsigned durable;    /* the slot that is on the disk for sure: 0 or 1 */
    struct rk_map items; /* group -> struct store_mark_item */
    bool pending;        /* items say more than the file */
    uint64_t written_us;
    struct rk_buf buf; /* kept between writes */
};

/* ---- slots ------------------------------------------------------------------- */

static void encode(const struct store_mark *mark, uint64_t sequence, struct rk_buf *out)
{
    rk_buf_clear(out);
    rk_put_u32(out, MAGIC);
    rk_put_u32(out, STORE_FORMAT);
    rk_put_u64(out, sequence);
    rk_put_u32(out, 0);
    rk_put_u32(out, (uint32_t)mark->items.count);
    rk_put_u32(out, 0);
    size_t cursor = 0;
    for (struct rk_map_slot *s = rk_map_next(&mark->items, &cursor); s;
         s = rk_map_next(&mark->items, &cursor)) {
        const struct store_mark_item *item = s->value;
        rk_put_u32(out, item->group);
        rk_put_u64(out, item->index);
        rk_put_u64(out, item->term);
        rk_put_u64(out, item->vote.term);
        rk_put_u64(out, item->vote.voted_for);
    }
    rk_store_u32(out->data + out->start + CRC_OFFSET, rk_crc32c(0, rk_buf_slice(out)));
}

static bool crc_matches(struct rk_slice slot)
{
    static const uint8_t zeros[4];
    uint32_t crc = rk_crc32c(0, rk_slice(slot.data, CRC_OFFSET));
    crc = rk_crc32c(crc, rk_slice(zeros, sizeof(zeros)));
    crc = rk_crc32c(crc, rk_slice(slot.data + CRC_OFFSET + 4, slot.len - CRC_OFFSET - 4));
    return crc == rk_load_u32(slot.data + CRC_OFFSET);
}

/* A view of one whole slot of the file, and its sequence; false when it is torn, rotten or missing. */
static bool slot_find(struct rk_slice file, unsigned n, struct rk_slice *ret, uint64_t *ret_sequence)
{
    size_t offset = (size_t)n * STORE_MARK_SLOT_BYTES;
    if (file.len < offset + STORE_MARK_HEADER_BYTES)
        return false;
    const uint8_t *p = file.data + offset;
    uint64_t count = rk_load_u32(p + 20);
    size_t len = STORE_MARK_HEADER_BYTES + (size_t)count * STORE_MARK_ITEM_BYTES;
    if (rk_load_u32(p) != MAGIC || rk_load_u32(p + 4) != STORE_FORMAT || count > STORE_MARK_GROUPS_MAX ||
        file.len < offset + len || !crc_matches(rk_slice(p, len)))
        return false;
    *ret = rk_slice(p, len);
    *ret_sequence = rk_load_u64(p + 8);
    return true;
}

static void set_item(struct store_mark *mark, const struct store_mark_item *item)
{
    struct store_mark_item *known = rk_map_get(&mark->items, item->group);
    if (!known) {
        known = RK_NEW(struct store_mark_item);
        rk_map_put(&mark->items, item->group, known);
    }
    *known = *item;
}

static void decode(struct store_mark *mark, struct rk_slice slot)
{
    struct rk_reader r = rk_reader(slot);
    rk_get_bytes(&r, STORE_MARK_HEADER_BYTES);
    while (rk_reader_left(&r) > 0) {
        struct store_mark_item item = {.group = rk_get_u32(&r)};
        item.index = rk_get_u64(&r);
        item.term = rk_get_u64(&r);
        item.vote.term = rk_get_u64(&r);
        item.vote.voted_for = rk_get_u64(&r);
        set_item(mark, &item);
    }
}

static bool load(struct store_mark *mark, struct rk_slice file)
{
    struct rk_slice slots[2];
    uint64_t sequences[2] = {0, 0};
    bool first = slot_find(file, 0, &slots[0], &sequences[0]);
    bool second = slot_find(file, 1, &slots[1], &sequences[1]);
    if (!first && !second)
        return false;
    unsigned newest = second && (!first || sequences[1] > sequences[0]);
    mark->sequence = sequences[newest];
    mark->durable = newest;
    decode(mark, slots[newest]);
    return true;
}

/* ---- writing ------------------------------------------------------------------ */

static int write_locked(struct store_mark *mark, bool durable)
{
    unsigned slot = 1 - mark->durable;
    encode(mark, mark->sequence + 1, &mark->buf);
    int r = store_hooks_write_at(mark->fd, rk_buf_slice(&mark->buf), (off_t)slot * STORE_MARK_SLOT_BYTES);
    if (r == 0 && durable)
        r = store_hooks_sync(mark->fd);
    if (r < 0)
        return r;
    if (durable)
        mark->durable = slot;
    else /* only a start of write-back, which nobody waits for */
        (void)sync_file_range(mark->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    mark->sequence++;
    mark->pending = false;
    mark->written_us = rk_clock_now_us(&rk_clock_boottime);
    return 0;
}

int store_mark_write(struct store_mark *mark)
{
    pthread_mutex_lock(&mark->mutex);
    int r = mark->pending ? write_locked(mark, false) : 0;
    pthread_mutex_unlock(&mark->mutex);
    return r;
}

int store_mark_raise(struct store_mark *mark, const struct store_mark_item *item, uint64_t now_us)
{
    pthread_mutex_lock(&mark->mutex);
    set_item(mark, item);
    mark->pending = true;
    int r = now_us - mark->written_us >= INTERVAL_US ? write_locked(mark, false) : 0;
    pthread_mutex_unlock(&mark->mutex);
    return r;
}

int store_mark_vote(struct store_mark *mark)
{
    pthread_mutex_lock(&mark->mutex);
    int r = write_locked(mark, true);
    pthread_mutex_unlock(&mark->mutex);
    return r;
}

/* What is pending is true by now as well, so it may be written along. */
int store_mark_lower(struct store_mark *mark, uint32_t group, uint64_t index)
{
    int r = 0;
    pthread_mutex_lock(&mark->mutex);
    struct store_mark_item *item = rk_map_get(&mark->items, group);
    if (item && item->index >= index) {
        item->index = index > 0 ? index - 1 : 0;
        item->term = 0;
        r = write_locked(mark, true);
    }
    pthread_mutex_unlock(&mark->mutex);
    return r;
}

/* ---- open and close -------------------------------------------------------------- */

/* Both slots are made whole at once, so that later "neither is whole" can only mean damage. */
static int create(const char *path)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf file = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf slot = {0};
    const struct store_mark empty = {0};
    encode(&empty, 0, &slot);
    rk_buf_append_slice(&file, rk_buf_slice(&slot));
    size_t gap = STORE_MARK_SLOT_BYTES - file.len;
    memset(rk_buf_reserve(&file, gap), 0, gap);
    rk_buf_commit(&file, gap);
    encode(&empty, 1, &slot);
    rk_buf_append_slice(&file, rk_buf_slice(&slot));
    int r = rk_file_replace(path, rk_buf_slice(&file), 0600);
    if ((r == -ENOSPC || r == -EDQUOT) && store_space_release())
        r = rk_file_replace(path, rk_buf_slice(&file), 0600);
    return r;
}

static int read_or_create(const char *path, struct rk_buf *ret)
{
    int r = rk_file_read(path, 2u * STORE_MARK_SLOT_BYTES, ret);
    if (r != -ENOENT)
        return r;
    r = create(path);
    return r < 0 ? r : rk_file_read(path, 2u * STORE_MARK_SLOT_BYTES, ret);
}

int store_mark_open(const char *path, struct store_mark **ret, char **ret_error)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf file = {0};
    int r = read_or_create(path, &file);
    if (r < 0 && r != -EFBIG)
        return r;
    struct store_mark *mark = RK_NEW(struct store_mark);
    pthread_mutex_init(&mark->mutex, NULL);
    mark->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (mark->fd < 0)
        r = -errno;
    else if (r == -EFBIG || !load(mark, rk_buf_slice(&file)))
        r = STORE_E_REFUSED;
    if (r ==
        0) /* the newest slot may still be in the page cache only, if a process died and not the machine */
        r = store_hooks_sync(mark->fd);
    if (r == 0) {
        *ret = mark;
        return 0;
    }
    if (r == STORE_E_REFUSED)
        *ret_error = rk_asprintf(
            "%s is damaged, so nobody can tell whether the log is complete: wipe this host's data "
            "and let it join again.",
            path);
    store_mark_close(mark, true);
    return r;
}

void store_mark_close(struct store_mark *mark, bool discard)
{
    if (!mark)
        return;
    /* An old claim is weaker, not wrong: a failure to write the last one changes nothing. */
    if (!discard && mark->pending)
        (void)!write_locked(mark, true);
    size_t cursor = 0;
    for (struct rk_map_slot *s = rk_map_next(&mark->items, &cursor); s;
         s = rk_map_next(&mark->items, &cursor))
        free(s->value);
    rk_map_deinit(&mark->items);
    rk_buf_deinit(&mark->buf);
    rk_closep(&mark->fd);
    pthread_mutex_destroy(&mark->mutex);
    free(mark);
}

const struct store_mark_item *store_mark_next(const struct store_mark *mark, size_t *cursor)
{
    struct rk_map_slot *slot = rk_map_next(&mark->items, cursor);
    return slot ? slot->value : NULL;
}
