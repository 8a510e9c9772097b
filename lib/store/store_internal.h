/* lib/store/store_internal.h - what the files of lib/store share, and what their tests inject. Not for other
 * folders. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <db.h>
#include <pthread.h>
#include <stdatomic.h>

#include "lib/store/store.h"

/* ---- hooks (store_hooks.c): every byte that reaches the disk goes through here ---- */

/* Gives Berkeley DB our system calls; process-wide and only once. Before any environment is created. */
void store_hooks_install(void);
/* The first hard error of a write, a flush, a read or an open: a positive errno, 0 while all is well. It
 * never goes away. */
int store_hooks_failed(void);
/* Whether a write has met a full disk, the ballast given back, since it was last forgotten. */
void store_hooks_forget_full(void);
bool store_hooks_met_full(void);
/* What Berkeley DB complains of: a read of the log that failed is latched. Recovery would call it the end. */
void store_hooks_heard(const char *message);
/* fdatasync, once: a failure is latched and comes back as negative errno, now and ever after. */
int store_hooks_sync(int fd) RK_MUST_CHECK;
/* Writes all of it at offset; meets ENOSPC as Berkeley DB's own writes do. */
int store_hooks_write_at(int fd, struct rk_slice data, off_t offset) RK_MUST_CHECK;

/* While on, writes and flushes of the calling thread fail without a trace: for closing what must not be
 * written. */
void store_hooks_mute(bool on);

/* For tests: the n-th flush from now (1: the next one) fails with error, and only that one: the latch must do
 * the rest. */
void store_hooks_test_fail_sync(unsigned n, int error);
/* For tests: the n-th write from now and the count - 1 after it fail with error. */
void store_hooks_test_fail_write(unsigned n, unsigned count, int error);
uint64_t store_hooks_test_syncs(void); /* flushes of files so far, directories included */

/* ---- data directory (store_dir.c) ---- */

/* Removes a file or folder of the directory, with all that is in it, durably. One that is missing is fine. */
int store_dir_remove(struct store_dir *dir, const char *name) RK_MUST_CHECK;

#define STORE_REBUILD_MARKER   "rebuild"
#define STORE_REBUILD_TEXT_MAX 4096u
#define STORE_ROWS_DAMAGED     "rows.damaged"
#define STORE_REPAIR_MARKER    "repair"
#define STORE_LOG_DAMAGED      "log.damaged"

/* ---- space (store_space.c) ---- */

/* Gives the ballast back to the file system. True when there was one: the write is worth another try. Any
 * thread. */
bool store_space_release(void);
/* For tests: instead of statvfs. NULL: the real one. */
void store_space_test_measure(int (*measure)(const char *path, uint64_t *ret_free_bytes));
bool store_space_test_has_reserve(void);

/* ---- environments (store_bdb_env.c) ---- */

#define STORE_PAGE_BYTES         4096u
#define STORE_FILE_BYTES_DEFAULT (64u * 1024u * 1024u)

struct store_env {
    DB_ENV *bdb;
    DB *db; /* the one database of the environment */
    const char *name;
    char *home, *db_path;
    atomic_int failed; /* 0, or the negative errno that everything answers from then on */
    void (*progress)(void *userdata, unsigned percent);
    void *userdata;
    pthread_mutex_t text_mutex; /* Berkeley DB may speak from two threads */
    char text[400];             /* its last words, for the sentence of a failed open */
};

struct store_env_config {
    const char *name; /* the folder below the data directory, and in messages */
    uint64_t cache_bytes, file_bytes;
    void (*progress)(void *userdata, unsigned percent);
    void *userdata;
};

int store_env_open(struct store_dir *dir, const struct store_env_config *config, struct store_env **ret,
                   char **ret_error) RK_MUST_CHECK;
void store_env_close(struct store_env *env); /* flushes and checkpoints first, unless it has failed */
/* Translates Berkeley DB's answer: 0, or a negative errno that is latched. The caller has dealt with
 * DB_NOTFOUND. */
int store_env_result(struct store_env *env, int answer) RK_MUST_CHECK;
/* 0, or the latched negative errno. Any thread. */
int store_env_failed(struct store_env *env) RK_MUST_CHECK;
int store_env_begin(struct store_env *env, DB_TXN **ret) RK_MUST_CHECK;
int store_env_commit(struct store_env *env,
                     DB_TXN *txn) RK_MUST_CHECK; /* not flushed; txn is gone either way */
void store_env_abort(struct store_env *env, DB_TXN *txn);
int store_env_flush(struct store_env *env) RK_MUST_CHECK;

/* ---- checkpoint (store_checkpoint.c) ---- */

int store_env_checkpoint(struct store_env *env) RK_MUST_CHECK;
uint64_t store_env_dirty_bytes(struct store_env *env);

/* ---- the mark (store_mark.c) ---- */

#define STORE_MARK_SLOT_BYTES   (1024u * 1024u)
#define STORE_MARK_HEADER_BYTES 28u
#define STORE_MARK_ITEM_BYTES   36u
/* How many groups one slot can speak of; the log refuses to hold more. */
#define STORE_MARK_GROUPS_MAX ((STORE_MARK_SLOT_BYTES - STORE_MARK_HEADER_BYTES) / STORE_MARK_ITEM_BYTES)

struct store_mark_item {
    uint32_t group;
    uint64_t index, term; /* of the last flushed entry; term 0: not known, compare the index only */
    struct store_vote vote;
};

struct store_mark;

/* Reads path, or creates an empty mark. STORE_E_REFUSED when neither slot can be read. */
int store_mark_open(const char *path, struct store_mark **ret, char **ret_error) RK_MUST_CHECK;
/* Writes what is pending, durably, unless discard. Takes NULL. */
void store_mark_close(struct store_mark *mark, bool discard);
/* Walks what the file said: *cursor starts at 0; NULL at the end. */
const struct store_mark_item *store_mark_next(const struct store_mark *mark, size_t *cursor);
/* Notes what is flushed now; reaches the file within the next calls, at most every 200 ms. */
int store_mark_raise(struct store_mark *mark, const struct store_mark_item *item,
                     uint64_t now_us) RK_MUST_CHECK;
/* The entries of group from index on are about to go: makes the file, durably, claim no more than index - 1.
 */
int store_mark_lower(struct store_mark *mark, uint32_t group, uint64_t index) RK_MUST_CHECK;
/* What was raised is written, durably, now: a vote was among it. */
int store_mark_vote(struct store_mark *mark) RK_MUST_CHECK;
int store_mark_write(struct store_mark *mark) RK_MUST_CHECK; /* what is pending, now; any thread */

#endif
