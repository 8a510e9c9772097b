/* lib/mvcc/mvcc_once.h - what a group remembers so that no write is applied twice. Private to lib/mvcc.
 *
 * Two tables, both replicated state: they change with entries only, are written in
 * the transaction of the rows that the entries made, and travel in snapshots.
 *
 *   origins   per member that proposes: which of its proposals were applied (mvcc_dedup.c)
 *   sessions  per client session: its last answers (mvcc_session.c)
 *
 * They are small and bounded, so memory holds all of them, and rows those that have
 * been committed (mvcc_once.c). With them goes the clock of the sessions: the
 * milliseconds that leaders have counted, by entries, while there were any. */
#ifndef MVCC_ONCE_H
#define MVCC_ONCE_H

#include "lib/base/rk_blob.h"
#include "lib/base/rk_list.h"
#include "lib/base/rk_map.h"
#include "lib/mvcc/mvcc_command.h"

struct mvcc_origin_state {
    uint64_t member, incarnation;
    uint64_t highest;    /* sequence number applied */
    uint64_t last_index; /* of the entry that was applied last */
    /* Bit (sequence % RK_ORIGIN_WINDOW) of those from highest - RK_ORIGIN_WINDOW + 1 to highest. */
    uint64_t seen[RK_ORIGIN_WINDOW / 64];
    bool hot;
    struct rk_list link; /* in mvcc_once.dirty_origins, or in gone_origins */
};

struct mvcc_session_answer {
    uint64_t sequence; /* 0: nothing here */
    uint32_t fingerprint;
    uint64_t revision;
    uint32_t op_count;
    struct rk_blob *deleted; /* 8 bytes for each of the first ops; zeros at the end are left out; NULL */
};

struct mvcc_session {
    uint64_t id;
    uint32_t ttl_ms;
    uint64_t deadline_ms;                                  /* on the sessions' clock */
    uint64_t last_index;                                   /* of the entry that used it last */
    uint64_t highest;                                      /* sequence number applied */
    struct mvcc_session_answer answers[RK_SESSION_WINDOW]; /* at sequence % RK_SESSION_WINDOW */
    struct rk_list link; /* in mvcc_once.dirty_sessions, or in gone_sessions */
};

/* Almost every transaction would have to write the row of an origin. So those that proposed last are kept in
 * the row of the applied index, which is written each time anyway, and have no row of their own. */
#define MVCC_ONCE_HOT 8u

struct mvcc_once {
    struct rk_map origins, sessions;
    struct mvcc_origin_state *hot[MVCC_ONCE_HOT]; /* by last_index, the latest first */
    uint32_t hot_count;
    uint64_t clock_ms;
    bool clock_dirty;
    struct rk_list dirty_origins; /* that need a row of their own now, or none any more */
    struct rk_list dirty_sessions;
    struct rk_list gone_origins, gone_sessions; /* rows to delete; of no map any more */
};

/* ---- mvcc_once.c ----------------------------------------------------------------------------- */

void mvcc_once_init(struct mvcc_once *once);
void mvcc_once_deinit(struct mvcc_once *once);
/* Before a command that is well formed: whether it is to be carried out. If not, *answer says what is
 * answered instead (its revision only when the outcome is MVCC_OK). */
bool mvcc_once_admit(struct mvcc_once *once, uint64_t index, const struct mvcc_command *command,
                     struct mvcc_answer *answer);
/* After it was: remembers it, and the answer that a repeat of a numbered write will get. */
void mvcc_once_done(struct mvcc_once *once, uint64_t index, const struct mvcc_command *command,
                    const struct mvcc_answer *answer);

struct mvcc;
/* All rows of the tables, at open. -EBADMSG for rows that contradict themselves or the applied index. */
int mvcc_once_load(struct mvcc *mvcc) RK_MUST_CHECK;
/* The origins that are kept with the applied index: for the end of its row, and from there. */
void mvcc_once_put_hot(const struct mvcc_once *once, struct rk_buf *out);
int mvcc_once_get_hot(struct mvcc_once *once, uint64_t index, struct rk_slice bytes) RK_MUST_CHECK;
/* Finds the hot ones among all, after they were read. */
void mvcc_once_heat(struct mvcc_once *once);
/* What else has changed, in the open transaction. */
int mvcc_once_put(struct mvcc *mvcc) RK_MUST_CHECK;

/* A record of a snapshot stream; they come in the order of the kinds, and by id within one. */
enum mvcc_once_kind { /* numbers are in files: never reuse one */
                      MVCC_ONCE_CLOCK = 1,
                      MVCC_ONCE_ORIGIN = 2,
                      MVCC_ONCE_SESSION = 3,
};
/* What a check of a stream has seen so far. */
struct mvcc_once_seen {
    enum mvcc_once_kind kind;
    uint64_t id, clock_ms;
    uint32_t count; /* of this kind */
};
/* Appends whole blocks, and carries the CRC over the stream on. */
void mvcc_once_put_blocks(const struct mvcc_once *once, struct rk_buf *out, uint32_t *crc);
/* Reads one record and holds it against the rules; into (may be NULL) takes it, to be written. index and
 * revision: the snapshot's. 0 or -EBADMSG. */
int mvcc_once_take_record(struct rk_reader *r, struct mvcc_once_seen *seen, uint64_t index, uint64_t revision,
                          struct mvcc_once *into) RK_MUST_CHECK;

/* ---- mvcc_dedup.c ------------------------------------------------------------------------------- */

enum mvcc_dedup { MVCC_DEDUP_NEW, MVCC_DEDUP_SEEN, MVCC_DEDUP_OLD };
enum mvcc_dedup mvcc_dedup_check(const struct mvcc_once *once, const struct mvcc_origin *origin);
void mvcc_dedup_take(struct mvcc_once *once, uint64_t index, const struct mvcc_origin *origin);
/* One that was read, and is in no map yet. False: there is one of this member. */
bool mvcc_dedup_add(struct mvcc_once *once, struct mvcc_origin_state *origin);
void mvcc_dedup_put(struct rk_buf *out, const struct mvcc_origin_state *origin);
/* 0 or -EBADMSG; *ret is heap, in no map and no list. */
int mvcc_dedup_get(struct rk_reader *r, struct mvcc_origin_state **ret) RK_MUST_CHECK;

/* ---- mvcc_session.c ------------------------------------------------------------------------------ */

/* MVCC_OK: not seen before; *ret_known: answered before, and *answer is filled in. */
enum mvcc_command_outcome mvcc_session_check(const struct mvcc_once *once, const struct mvcc_command *command,
                                             struct mvcc_answer *answer, bool *ret_known);
void mvcc_session_take(struct mvcc_once *once, uint64_t index, const struct mvcc_command *command,
                       const struct mvcc_answer *answer);
/* A repeat, too, keeps its session alive. */
void mvcc_session_touch(struct mvcc_once *once, uint64_t index, uint64_t id);
/* OPEN, END, TICK: whether it makes sense, and doing it. */
enum mvcc_command_outcome mvcc_session_change_check(const struct mvcc_once *once,
                                                    const struct mvcc_command *command);
void mvcc_session_change(struct mvcc_once *once, uint64_t index, const struct mvcc_command *command);
void mvcc_session_free(struct mvcc_session *session);
void mvcc_session_put(struct rk_buf *out, const struct mvcc_session *session);
int mvcc_session_get(struct rk_reader *r, struct mvcc_session **ret) RK_MUST_CHECK;

#endif
