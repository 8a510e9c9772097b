/* lib/mvcc/mvcc.h - the state machine of one group: keys and their revisions, applied deterministically.
 *
 * Every change of keys makes one revision; all changes of one transaction share
 * it. History is kept: a row of each key for each revision in which it changed
 * (deletion is a row too, a tombstone), so a read at a revision never changes.
 *
 * Rows (see mvcc_rows.c for the bytes): group, table, then
 *   keys    key, inverted revision      -> create revision, version, lease, value | tombstone
 *   revs    revision, sub               -> key
 *   meta    name                        -> applied index and term, revision, members, ...
 *   origins, sessions                   -> what was applied already (see mvcc_once.h)
 * The applied index is written in the transaction of the rows that it counts.
 *
 * Everything here runs on the thread that owns the rows (apply) and has no clock
 * and no randomness: equal entries give equal rows on every member. */
#ifndef MVCC_H
#define MVCC_H

#include "lib/base/rk_blob.h"
#include "lib/base/rk_buf.h"
#include "lib/base/rk_wire.h"
#include "lib/store/store.h"

struct mvcc;

/* Loads the group's meta rows; a group without rows is empty: revision 1, applied 0. */
int mvcc_open(struct store_rows *rows, uint32_t group, struct mvcc **ret) RK_MUST_CHECK;
void mvcc_free(struct mvcc *mvcc);

struct mvcc_meta {
    uint64_t applied_index, applied_term;
    uint64_t revision;       /* of the last change; 1 for a store never written, as etcd counts */
    uint64_t keys;           /* live keys */
    uint64_t members_index;  /* the entry that members came from */
    struct rk_slice members; /* opaque here (lib/node encodes it); valid until the next mvcc call */
    uint32_t sessions;       /* of clients, open */
};
void mvcc_meta(const struct mvcc *mvcc, struct mvcc_meta *ret);
/* A number for the state after the last entry applied: equal on every member that has applied the same
 * entries, and different, but for an accident in 2^64, on one whose rows are others (mvcc_hash.c). */
uint64_t mvcc_digest(const struct mvcc *mvcc);

/* ---- commands: what an entry of kind COMMAND carries (mvcc_command.c) ------ */

enum mvcc_op_kind {
    MVCC_OP_PUT = 1,
    MVCC_OP_DELETE, /* one key, or the range [key, end) */
};

struct mvcc_op {
    enum mvcc_op_kind kind;
    struct rk_slice key;
    struct rk_slice end; /* DELETE: empty for one key; the single byte 0 for "all from key on" */
    struct rk_slice value;
    uint64_t lease;
};

/* Who proposed it: unique per proposal, for exactly-once application. */
struct mvcc_origin {
    uint64_t member, incarnation, sequence;
};

enum mvcc_command_outcome { /* of mvcc_command_check() and in answers */
                            MVCC_OK = 0,
                            MVCC_E_KEY_EMPTY = 1,
                            MVCC_E_KEY_TOO_LONG,
                            MVCC_E_TOO_LARGE, /* the whole command over RK_REQUEST_BYTES_MAX */
                            MVCC_E_TOO_MANY_OPS,
                            MVCC_E_NO_OPS,
                            MVCC_E_DUPLICATE_KEY, /* a transaction puts one key twice, or puts and deletes it
                                                   */
                            MVCC_E_MALFORMED,     /* an entry that this version cannot read */
                            MVCC_E_FUTURE_REVISION,
                            MVCC_E_COMPACTED,
                            MVCC_E_APPLIED_BEFORE, /* the same proposal, again; its first answer is not kept
                                                    */
                            MVCC_E_TOO_OLD, /* too far behind to tell whether it was applied; not applied now
                                             */
                            MVCC_E_NO_SESSION,
                            MVCC_E_SEQUENCE_OLD,    /* below the window of its session */
                            MVCC_E_SEQUENCE_REUSED, /* the number belongs to another write */
};
const char *
mvcc_outcome_text(enum mvcc_command_outcome outcome); /* an English sentence without final period */

/* Checks without a store: run by whoever accepts a request, and again before apply. */
enum mvcc_command_outcome mvcc_command_check(const struct mvcc_op *ops, uint32_t count);
/* Whether an encoded command only frees room (DELETEs, the end of a session, time for sessions): those are
 * carried out when the disk is nearly full, too. */
bool mvcc_command_only_deletes(struct rk_slice payload);
struct rk_blob *mvcc_command_encode(const struct mvcc_origin *origin, const struct mvcc_op *ops,
                                    uint32_t count);
/* A write's place in its client session. */
struct mvcc_number {
    uint64_t session, sequence; /* sequence: from 1 */
};
struct rk_blob *mvcc_numbered_encode(const struct mvcc_origin *origin, const struct mvcc_number *number,
                                     const struct mvcc_op *ops, uint32_t count);

/* Sessions have a time to live, counted from their last write. Apply has no clock: the leader says with TICK
 * how much time has passed. */
enum mvcc_session_change {
    MVCC_SESSION_OPEN = 1, /* ms: time to live */
    MVCC_SESSION_END,
    MVCC_SESSION_TICK, /* ms: passed since the last one; session is 0 */
};
struct rk_blob *mvcc_session_encode(const struct mvcc_origin *origin, enum mvcc_session_change change,
                                    uint64_t session, uint32_t ms);

/* What applying a command gave. */
struct mvcc_answer {
    enum mvcc_command_outcome outcome;
    uint64_t revision; /* of the store after it */
    uint32_t op_count;
    uint64_t deleted[RK_TXN_OPS_MAX]; /* per DELETE op: keys deleted; 0 for a PUT */
};
int mvcc_answer_decode(struct rk_slice bytes, struct mvcc_answer *ret) RK_MUST_CHECK; /* 0 or -EBADMSG */

/* ---- apply (mvcc_apply.c) -------------------------------------------------- */

/* mvcc_begin; mvcc_apply_* for entries in order; mvcc_commit. The rows are the caller's to flush. */
int mvcc_begin(struct mvcc *mvcc) RK_MUST_CHECK;
/* index must be applied + 1. Appends the encoded answer to ret_answer (not NULL). A malformed command changes
 * nothing but the applied index and answers MVCC_E_MALFORMED. */
int mvcc_apply_command(struct mvcc *mvcc, uint64_t index, uint64_t term, struct rk_slice payload,
                       struct rk_buf *ret_answer) RK_MUST_CHECK;
int mvcc_apply_noop(struct mvcc *mvcc, uint64_t index, uint64_t term) RK_MUST_CHECK;
int mvcc_apply_members(struct mvcc *mvcc, uint64_t index, uint64_t term,
                       struct rk_slice members) RK_MUST_CHECK;
int mvcc_commit(struct mvcc *mvcc) RK_MUST_CHECK;
/* A new cluster's first state, before any entry: applied = members_index = index, with these members. Begins
 * and commits. */
int mvcc_bootstrap(struct mvcc *mvcc, uint64_t index, uint64_t term, struct rk_slice members) RK_MUST_CHECK;

/* ---- queries (mvcc_range.c) ------------------------------------------------- */

struct mvcc_query {
    struct rk_slice key;
    struct rk_slice end; /* empty: that key alone; the single byte 0: all from key on; else [key, end) */
    uint64_t revision;   /* 0: the latest */
    uint32_t limit;      /* of keys returned; 0: RK_RANGE_KEYS_MAX; counting ignores it */
    bool keys_only, count_only;
};

struct mvcc_kv {
    struct rk_slice key, value;
    uint64_t create_revision, mod_revision, version, lease;
};

struct rk_blob *mvcc_query_encode(const struct mvcc_query *query);
int mvcc_query_decode(struct rk_slice bytes,
                      struct mvcc_query *ret) RK_MUST_CHECK; /* views into bytes; -EBADMSG */
/* The end that makes [prefix, end) the keys with that prefix; the single byte 0 when prefix is empty or all
 * 0xff. */
void mvcc_prefix_end(struct rk_slice prefix, struct rk_buf *ret);

/* Answers an encoded query with an encoded result. Looks at no more than RK_RANGE_KEYS_MAX keys and returns
 * at most RK_RANGE_BYTES_MAX bytes of them; "more" says that the range goes on. Whoever follows next_key asks
 * for the revision of the first result each time, and so reads one state however long it takes. -errno:
 * nothing was appended. */
int mvcc_query_run(struct mvcc *mvcc, struct rk_slice query, struct rk_buf *ret_result) RK_MUST_CHECK;

struct mvcc_result {
    enum mvcc_command_outcome outcome;
    uint64_t revision; /* of the store when it was read */
    uint64_t count;    /* keys returned, or counted */
    bool more;
    /* Where the range goes on when more: the key of the next query. Empty otherwise. It is there even when
     * all keys looked at were deleted ones, or when they were only counted. A view into the encoded result.
     */
    struct rk_slice next_key;
    uint32_t kvs_left;     /* for mvcc_result_next() */
    struct rk_reader rest; /* for mvcc_result_next() */
};
int mvcc_result_decode(struct rk_slice bytes, struct mvcc_result *ret) RK_MUST_CHECK; /* -EBADMSG */
/* The next key; views into the encoded result. 1: there is one in *ret; 0: no more; -EBADMSG. */
int mvcc_result_next(struct mvcc_result *result, struct mvcc_kv *ret) RK_MUST_CHECK;

/* ---- snapshots (mvcc_snapshot.c) --------------------------------------------- */

/* The stream: a header, rows in key order as of one revision and applied index, a trailer; framed in blocks
 * with a length and a CRC-32C each, the whole closed by a count of rows and a CRC over all. It restores into
 * any later version. */

struct mvcc_snapshot_info {
    uint32_t group;
    uint64_t cluster_id;  /* given by the caller when writing */
    uint64_t index, term; /* the entry that it stands at */
    uint64_t revision;
    uint64_t keys;
    uint64_t hash; /* the sum over the rows: they must add up to it */
    uint64_t members_index;
    struct rk_slice members; /* copied by whoever keeps it */
};

/* Reading out. Between calls other entries may be applied: the stream stays at its revision. */
struct mvcc_snapshot;
int mvcc_snapshot_open(struct mvcc *mvcc, uint64_t cluster_id, struct mvcc_snapshot **ret) RK_MUST_CHECK;
void mvcc_snapshot_close(struct mvcc_snapshot *snapshot);
/* Valid while the snapshot is open. */
const struct mvcc_snapshot_info *mvcc_snapshot_info(const struct mvcc_snapshot *snapshot);
/* Appends whole blocks, about max_bytes, to out. 0: more to come (sometimes nothing was appended yet: all
 * rows looked at were newer); 1: the trailer is out, the stream is complete; -ESTALE: an install has begun to
 * replace the rows since the snapshot was opened, which breaks this stream and nothing else: close it; or
 * another negative errno. */
int mvcc_snapshot_next(struct mvcc_snapshot *snapshot, size_t max_bytes, struct rk_buf *out) RK_MUST_CHECK;

/* Checking a stream (any split of the bytes). Pure: touches no store. */
struct mvcc_verify;
struct mvcc_verify *mvcc_verify_new(void);
void mvcc_verify_free(struct mvcc_verify *verify);
/* 0: good so far; -EBADMSG: broken (and from then on). */
int mvcc_verify_feed(struct mvcc_verify *verify, struct rk_slice bytes) RK_MUST_CHECK;
/* True once the trailer was seen and matched, with nothing behind it. */
bool mvcc_verify_complete(const struct mvcc_verify *verify);
/* NULL before the header was read whole. */
const struct mvcc_snapshot_info *mvcc_verify_info(const struct mvcc_verify *verify);

/* Installing a stream that was verified whole before. It replaces the group's rows in many small
 * transactions; a meta row written (and flushed) first marks the group as half-installed until the last one,
 * so that a crash is noticed: mvcc_install_pending() says so at the next start and the same file is installed
 * again. While it says so (from mvcc_install_begin() to mvcc_install_end()) the meta data are those of an
 * empty group, and applying, queries and opening a snapshot are forbidden (asserted). */
bool mvcc_install_pending(const struct mvcc *mvcc);
/* Also removes the group's old rows, so it takes time in proportion to them. Starts again when one was
 * running. */
int mvcc_install_begin(struct mvcc *mvcc) RK_MUST_CHECK;
/* -EBADMSG: not a good stream, or not of this group; the install stays pending and may be begun again. */
int mvcc_install_feed(struct mvcc *mvcc, struct rk_slice bytes) RK_MUST_CHECK;
/* Writes meta, clears the mark and flushes the rows. -EBADMSG when the stream was not complete. */
int mvcc_install_end(struct mvcc *mvcc) RK_MUST_CHECK;

#endif
