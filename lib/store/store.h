/* lib/store/store.h - the durable home of the raft log, the votes and the rows.
 *
 * A data directory holds
 *   lock       held (OFD lock) from store_dir_open() to store_dir_close(), before Berkeley DB is touched
 *   identity   who this host is: cluster, member, incarnation, format (text, with a checksum line)
 *   log/       Berkeley DB environment of the raft log and the votes of all groups; owner: the log thread
 *   rows/      Berkeley DB environment of the state machine of all groups; owner: the apply thread
 *   mark       last flushed index and term per group, so that a torn tail is told from rot
 *   reserve    ballast that is given back to the file system when it is full
 *   rebuild    a marker: the rows are not to be believed and come from a peer (store_rebuild.c)
 * and what others put beside them (snapshot files).
 *
 * Rows are byte strings in memcmp order; what they mean is mvcc's business. Each
 * environment is private to the process, without lock subsystem, used by its one
 * owner thread; only the checkpoint calls may come from another thread.
 *
 * Outcomes: 0; a positive STORE_E_* where documented; or a negative errno, after
 * which that environment refuses everything with the same errno (a failed flush is
 * never retried: nobody knows what reached the disk). */
#ifndef STORE_H
#define STORE_H

#include <sys/types.h>

#include "lib/base/limits.h"
#include "lib/base/rk_buf.h"
#include "lib/base/rk_slice.h"
#include "lib/base/rk_util.h"

enum store_outcome {
    STORE_E_NOT_FOUND = 1,
    STORE_E_END,     /* a cursor has passed the last row */
    STORE_E_CORRUPT, /* a checksum does not match: the entry is there and cannot be trusted */
    STORE_E_REFUSED, /* ret_error says why in a sentence with advice */
};

/* The format of everything below a data directory. A newer one is refused. */
#define STORE_FORMAT 1u

/* ---- data directory (store_dir.c) ---------------------------------------- */

struct store_identity {
    uint64_t cluster_id, member_id;
    uint64_t incarnation; /* goes up by one at each start */
    bool removed;         /* this member was removed from its cluster and must not campaign */
    char name[RK_NAME_BYTES_MAX + 1];
    char machine[40]; /* which machine it belongs to (an opaque id given by the daemon), or "" */
};

struct store_dir;

/* Makes the directory (0700) when missing, takes the lock, checks owner and mode, refuses a DB_CONFIG file in
 * it or in its environments, a newer format and a damaged identity. STORE_E_REFUSED with *ret_error (heap;
 * caller frees). */
int store_dir_open(const char *path, struct store_dir **ret, char **ret_error) RK_MUST_CHECK;
void store_dir_close(struct store_dir *dir);
const char *store_dir_path(const struct store_dir *dir);
/* NULL for a pristine directory (no identity yet). */
const struct store_identity *store_dir_identity(const struct store_dir *dir);
/* Replaces the identity, durably, at once old or new. */
int store_dir_set_identity(struct store_dir *dir, const struct store_identity *identity) RK_MUST_CHECK;
/* Removes log, rows, mark and snapshot files, so that the directory is as before the first start, but for the
 * identity that the caller sets next. The environments must be closed. Crash-safe: a marker file makes a
 * later open finish it. */
int store_dir_wipe(struct store_dir *dir) RK_MUST_CHECK;

/* ---- rebuilding the rows (store_rebuild.c) --------------------------------- */

/* Says, durably, that the rows cannot be trusted, and why (one line of text). They are not touched: the next
 * start deals with them. Any thread. */
int store_rebuild_begin(struct store_dir *dir, const char *why) RK_MUST_CHECK;
/* Whether it was said, and the rebuild has not ended. */
bool store_rebuild_pending(struct store_dir *dir);
/* The reason; "" when there is none. */
void store_rebuild_why(struct store_dir *dir, char *ret, size_t size);
/* Whether the damaged rows were set aside already, so that rows/ is what a peer has sent so far. */
bool store_rebuild_has_begun(struct store_dir *dir);
/* The rows, which must be closed, go to rows.damaged, or away when an earlier attempt has put others there;
 * the next store_rows_open() makes empty ones. Only with the marker set. */
int store_rebuild_set_aside(struct store_dir *dir) RK_MUST_CHECK;
/* The rows are good: removes the marker, then what was set aside. Harmless when there is neither. */
int store_rebuild_end(struct store_dir *dir) RK_MUST_CHECK;

/* ---- repairing the log (store_repair.c) ------------------------------------ */

struct store_vote;

/* Says, durably, that acknowledged entries may be lost, and keeps the vote of group 0 beside the log. A vote
 * of term 0: nothing was acknowledged yet, as far as anybody here knows (node_first.c). */
int store_repair_begin(struct store_dir *dir, const struct store_vote *vote) RK_MUST_CHECK;
/* The vote that was kept; STORE_E_NOT_FOUND: nothing is being repaired; STORE_E_CORRUPT. */
int store_repair_read(struct store_dir *dir, struct store_vote *ret) RK_MUST_CHECK;
/* The log is complete again. Harmless when it always was. */
int store_repair_end(struct store_dir *dir) RK_MUST_CHECK;
/* Begins a repair of a log that store_log_open() has refused: it goes to log.damaged, and the next
 * store_log_open() makes an empty one. STORE_E_REFUSED when the mark, which knows the vote, is damaged too.
 */
int store_log_set_aside(struct store_dir *dir, uint32_t group, char **ret_error) RK_MUST_CHECK;

/* ---- space (store_space.c) ------------------------------------------------ */

/* Process-wide, since the hooks are. Call once, after store_dir_open() and before any environment opens.
 *   reserve_bytes  size of the ballast; a write that meets ENOSPC gives it back and is tried again
 *   low_bytes      below this much free space (ballast not counted) the host is "low": it must refuse new
 * writes */
int store_space_init(struct store_dir *dir, uint64_t reserve_bytes, uint64_t low_bytes) RK_MUST_CHECK;
/* Measures (statvfs) and, when there is room again, puts the ballast back. Any thread, about once a second.
 */
void store_space_poll(void);
/* The last finding; cheap, any thread. True: refuse new writes. */
bool store_space_low(void);
uint64_t store_space_free_bytes(void);

/* ---- the raft log (store_bdb_log.c) ---------------------------------------- */

struct store_entry {
    uint64_t index, term;
    uint8_t kind; /* opaque here */
    struct rk_slice payload;
};

struct store_vote {
    uint64_t term, voted_for;
};

struct store_base { /* the entry before the first one kept; 0, 0 at the beginning */
    uint64_t index, term;
};

struct store_log_config {
    uint64_t cache_bytes;
    uint64_t file_bytes; /* of one Berkeley DB log file; 0 for the default of 64 MiB (must hold the largest
                            batch) */
};

struct store_log;

/* Opens and recovers. progress (may be NULL) is called now and then during a long recovery, percent 0..100.
 * STORE_E_REFUSED when the recovered log ends before what the mark says was flushed: acknowledged entries are
 * gone. */
int store_log_open(struct store_dir *dir, const struct store_log_config *config,
                   void (*progress)(void *userdata, unsigned percent), void *userdata, struct store_log **ret,
                   char **ret_error) RK_MUST_CHECK;
/* Flushes, checkpoints and closes; after an error it only closes. Takes NULL. */
void store_log_close(struct store_log *log);

/* State of a group; zeros when it was never written. ret_last is the last entry's index (base index when
 * empty). */
int store_log_state(struct store_log *log, uint32_t group, struct store_vote *ret_vote,
                    struct store_base *ret_base, uint64_t *ret_last) RK_MUST_CHECK;

/* Reads entries first, first + 1, ... while fn returns true. The payload is valid during the call only.
 * STORE_E_NOT_FOUND when first is not in the log; STORE_E_CORRUPT at the first entry whose CRC (over group,
 * index, term, kind and payload) does not match: fn has seen all before it. */
int store_log_read(struct store_log *log, uint32_t group, uint64_t first,
                   bool (*fn)(void *userdata, const struct store_entry *entry), void *userdata) RK_MUST_CHECK;

/* What store_log_set_members() said last; replaces *ret's content. STORE_E_NOT_FOUND, STORE_E_CORRUPT. */
int store_log_members(struct store_log *log, uint32_t group, uint64_t *ret_index,
                      struct rk_buf *ret) RK_MUST_CHECK;

/* One transaction for all that waits: begin, any number of the following, commit. */
int store_log_begin(struct store_log *log) RK_MUST_CHECK;
/* Entries of one group, consecutive; what is stored at or after entries[0].index is replaced.
 * entries[0].index must be base + 1 .. last + 1. *ret_bytes (may be NULL) grows by the bytes written. */
int store_log_append(struct store_log *log, uint32_t group, const struct store_entry *entries, uint32_t count,
                     uint64_t *ret_bytes) RK_MUST_CHECK;
int store_log_set_vote(struct store_log *log, uint32_t group, const struct store_vote *vote) RK_MUST_CHECK;
/* Entries from index on are gone; index must be base + 1 .. last. */
int store_log_truncate(struct store_log *log, uint32_t group, uint64_t index) RK_MUST_CHECK;
/* Moves the base up to an entry of the log: what is at or before it is gone for readers at once; its room is
 * given back by store_log_trim(). */
int store_log_cut(struct store_log *log, uint32_t group, const struct store_base *base) RK_MUST_CHECK;
/* Drops all entries of the group and starts again after base. */
int store_log_reset(struct store_log *log, uint32_t group, const struct store_base *base) RK_MUST_CHECK;
/* Notes who the members are, as of an applied entry (index; opaque bytes): with that the log stands on its
 * own when the rows are lost. To be said again with each cut and each reset. */
int store_log_set_members(struct store_log *log, uint32_t group, uint64_t index,
                          struct rk_slice members) RK_MUST_CHECK;
/* Commits and flushes once. When this returns 0 a power cut cannot lose what the transaction did. */
int store_log_commit(struct store_log *log) RK_MUST_CHECK;
void store_log_abort(struct store_log *log);

/* Outside a transaction: deletes up to max entries at or before the base. Returns 0 when nothing is left to
 * do, 1 when there is more, or -errno. */
int store_log_trim(struct store_log *log, uint32_t group, uint32_t max) RK_MUST_CHECK;

/* Any thread. Writes dirty pages in slices, then a checkpoint record, then removes log files no longer
 * needed. */
int store_log_checkpoint(struct store_log *log) RK_MUST_CHECK;

struct store_log_stats { /* since open; any thread (atomics) */
    uint64_t flushes, entries, bytes;
    uint64_t flush_us_total, flush_us_max;
};
void store_log_stats(const struct store_log *log, struct store_log_stats *ret);
/* Any thread: bytes of Berkeley DB log written since the last checkpoint (for "checkpoint by bytes"). */
uint64_t store_log_dirty_bytes(const struct store_log *log);

/* ---- the rows (store_bdb_rows.c) ------------------------------------------ */

struct store_rows_config {
    uint64_t cache_bytes;
    uint64_t file_bytes; /* as above; 0: default */
};

struct store_rows;
struct store_cursor;

int store_rows_open(struct store_dir *dir, const struct store_rows_config *config,
                    void (*progress)(void *userdata, unsigned percent), void *userdata,
                    struct store_rows **ret, char **ret_error) RK_MUST_CHECK;
void store_rows_close(struct store_rows *rows);

/* At most one transaction at a time. A commit is atomic and ordered, and not flushed: a crash may lose the
 * latest ones. */
int store_rows_begin(struct store_rows *rows) RK_MUST_CHECK;
int store_rows_commit(struct store_rows *rows) RK_MUST_CHECK;
void store_rows_abort(struct store_rows *rows);
/* Makes every commit so far durable. */
int store_rows_flush(struct store_rows *rows) RK_MUST_CHECK;

/* Writers need an open transaction; readers see its writes. Cursors must be closed before it ends. */
int store_rows_put(struct store_rows *rows, struct rk_slice key, struct rk_slice value) RK_MUST_CHECK;
int store_rows_del(struct store_rows *rows, struct rk_slice key) RK_MUST_CHECK; /* STORE_E_NOT_FOUND */
/* Replaces *ret's content. STORE_E_NOT_FOUND. */
int store_rows_get(struct store_rows *rows, struct rk_slice key, struct rk_buf *ret) RK_MUST_CHECK;
/* Deletes up to max rows whose key begins with prefix, in a transaction that is open. 0: none left; 1: there
 * are more. */
int store_rows_del_prefix(struct store_rows *rows, struct rk_slice prefix, uint32_t max) RK_MUST_CHECK;

/* Cursors: key and value stay valid until the cursor moves or closes. Moves return 0, STORE_E_END or -errno.
 */
int store_cursor_open(struct store_rows *rows, struct store_cursor **ret) RK_MUST_CHECK;
void store_cursor_close(struct store_cursor *cursor);
int store_cursor_seek(struct store_cursor *cursor,
                      struct rk_slice key) RK_MUST_CHECK; /* the first row >= key */
int store_cursor_next(struct store_cursor *cursor) RK_MUST_CHECK;
int store_cursor_prev(struct store_cursor *cursor) RK_MUST_CHECK;
struct rk_slice store_cursor_key(const struct store_cursor *cursor);
struct rk_slice store_cursor_value(const struct store_cursor *cursor);

int store_rows_checkpoint(struct store_rows *rows) RK_MUST_CHECK; /* any thread */
uint64_t store_rows_dirty_bytes(const struct store_rows *rows);   /* any thread */
/* Size of the rows' files on disk, in bytes; any thread. */
uint64_t store_rows_bytes(const struct store_rows *rows);

#endif
