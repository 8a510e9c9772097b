/* lib/store/store_bdb_env.c - one Berkeley DB environment with its one database, opened the way we need it.
 *
 * Private to the process (the regions are on the heap, so a crash leaves no
 * shared memory behind) and without the lock subsystem: one thread reads and
 * writes. The checkpoint thread is the one exception. It touches only the buffer
 * pool, the log and the transaction region, and those are guarded by mutexes and
 * page latches because the environment is opened with DB_THREAD.
 *
 * Opening always recovers. DB_RECOVER would tear down an environment that
 * somebody uses without asking, which is why the data directory's lock comes
 * first (store_dir.c).
 *
 * Errors: Berkeley DB answers with an errno or with codes of its own below -30800.
 * After the first one that is not an ordinary outcome the environment is failed
 * for good: DB_RUNRECOVERY (a panic, for instance a page whose checksum is wrong)
 * becomes -EUCLEAN. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_file.h"
#include "lib/base/rk_log.h"
#include "lib/store/store_internal.h"

/* Large enough for the usual batch, so that a flush is one write; only what a batch touches becomes resident.
 */
#define LOG_BUFFER_BYTES (4u * 1024u * 1024u)
/* One owner's transaction, a checkpoint, and the ones that opening a database takes. */
#define TRANSACTIONS_MAX 16u
/* Left to itself the library allocates a mutex for each page that the cache could ever hold: 16 MiB for a
 * cache of 256 MiB that is still empty. More are made when pages come. The count for the hash buckets has to
 * be given with it: when only the first is set the library makes none, and the checkpoint thread would walk
 * the buckets unguarded. */
#define MUTEXES_FIRST  1000u
#define BUCKET_MUTEXES 128u

/* ---- what Berkeley DB says ------------------------------------------------ */

static void fail(struct store_env *env, int error)
{
    int none = 0;
    atomic_compare_exchange_strong(&env->failed, &none, error);
}

static void on_error(const DB_ENV *bdb, const char *prefix, const char *message)
{
    (void)prefix;
    struct store_env *env = bdb->app_private;
    store_hooks_heard(message);
    pthread_mutex_lock(&env->text_mutex);
    if (atomic_load(&env->failed) == 0)
        snprintf(env->text, sizeof(env->text), "%s", message);
    pthread_mutex_unlock(&env->text_mutex);
    /* The first words name the cause. A failed environment complains at each page it cannot write, so it is
     * not heard. */
    if (atomic_load(&env->failed) == 0)
        RK_LOG(RK_LOG_ERROR, "store", RK_FIELDS(RK_F_STR("ENVIRONMENT", env->name)), "Berkeley DB: %s",
               message);
    if (store_hooks_failed() != 0)
        fail(env, -store_hooks_failed());
}

static void on_message(const DB_ENV *bdb, const char *message)
{
    struct store_env *env = bdb->app_private;
    RK_LOG(RK_LOG_DEBUG, "store", RK_FIELDS(RK_F_STR("ENVIRONMENT", env->name)), "Berkeley DB: %s", message);
}

static void on_feedback(DB_ENV *bdb, int operation, int percent)
{
    struct store_env *env = bdb->app_private;
    if (operation == DB_RECOVER && env->progress && percent >= 0)
        env->progress(env->userdata, percent > 100 ? 100u : (unsigned)percent);
}

static void on_event(DB_ENV *bdb, u_int32_t event, void *info)
{
    (void)info;
    if (event != DB_EVENT_PANIC)
        return;
    if (store_hooks_failed() != 0)
        fail(bdb->app_private, -store_hooks_failed());
    else
        fail(bdb->app_private, store_hooks_met_full() ? -ENOSPC : -EUCLEAN);
}

/* ---- results ---------------------------------------------------------------- */

static int error_of(int answer)
{
    if (store_hooks_failed() != 0)
        return -store_hooks_failed(); /* the cause, whatever Berkeley DB made of it */
    if (answer > 0)
        return -answer;
    return store_hooks_met_full() ? -ENOSPC : -EUCLEAN;
}

int store_env_failed(struct store_env *env)
{
    if (store_hooks_failed() != 0)
        fail(env, -store_hooks_failed());
    return atomic_load(&env->failed);
}

/* A flush that another thread began and lost must not look good here, so the latch is asked after successes
 * too. */
int store_env_result(struct store_env *env, int answer)
{
    if (answer != 0)
        fail(env, error_of(answer));
    return store_env_failed(env);
}

/* ---- transactions ------------------------------------------------------------ */

int store_env_begin(struct store_env *env, DB_TXN **ret)
{
    DB_TXN *txn;
    int r = store_env_failed(env);
    if (r == 0)
        r = store_env_result(env, env->bdb->txn_begin(env->bdb, NULL, &txn, DB_TXN_NOSYNC));
    if (r == 0)
        *ret = txn;
    return r;
}

int store_env_commit(struct store_env *env, DB_TXN *txn)
{
    int r = store_env_failed(env);
    if (r < 0) {
        store_env_abort(env, txn);
        return r;
    }
    return store_env_result(env, txn->commit(txn, DB_TXN_NOSYNC));
}

void store_env_abort(struct store_env *env, DB_TXN *txn)
{
    int r = txn->abort(txn);
    if (r != 0)
        fail(env, error_of(r)); /* what was undone and what was not is unknown */
}

int store_env_flush(struct store_env *env)
{
    int r = store_env_failed(env);
    return r < 0 ? r : store_env_result(env, env->bdb->log_flush(env->bdb, NULL));
}

/* ---- opening ------------------------------------------------------------------ */

static int configure(struct store_env *env, const struct store_env_config *config)
{
    DB_ENV *bdb = env->bdb;
    uint64_t file_bytes = config->file_bytes != 0 ? config->file_bytes : STORE_FILE_BYTES_DEFAULT;
    uint64_t buffer_bytes = rk_min_u64(LOG_BUFFER_BYTES, file_bytes / 4);
    bdb->app_private = env;
    bdb->set_errcall(bdb, on_error);
    bdb->set_msgcall(bdb, on_message);
    int r = bdb->set_event_notify(bdb, on_event);
    r = r != 0 ? r : bdb->set_feedback(bdb, on_feedback);
    r = r != 0 ? r
               : bdb->set_cachesize(bdb, (u_int32_t)(config->cache_bytes >> 30),
                                    (u_int32_t)(config->cache_bytes & ((1u << 30) - 1)), 1);
    r = r != 0 ? r : bdb->set_mp_pagesize(bdb, STORE_PAGE_BYTES);
    r = r != 0 ? r : bdb->set_lg_max(bdb, (u_int32_t)file_bytes);
    r = r != 0 ? r : bdb->set_lg_bsize(bdb, (u_int32_t)buffer_bytes);
    r = r != 0 ? r : bdb->set_tx_max(bdb, TRANSACTIONS_MAX);
    r = r != 0 ? r : bdb->set_mp_mtxcount(bdb, BUCKET_MUTEXES);
    r = r != 0 ? r : bdb->mutex_set_init(bdb, MUTEXES_FIRST);
    return r;
}

static int open_bdb(struct store_env *env, const struct store_env_config *config)
{
    const u_int32_t flags =
        DB_PRIVATE | DB_THREAD | DB_INIT_TXN | DB_INIT_LOG | DB_INIT_MPOOL | DB_CREATE | DB_RECOVER;
    int r = db_env_create(&env->bdb, 0);
    if (r != 0) {
        env->bdb = NULL;
        return r;
    }
    r = configure(env, config);
    return r != 0 ? r : env->bdb->open(env->bdb, env->home, flags, 0600);
}

/* A database's creation is a transaction of its own; it must be durable before anything says that it is
 * there. */
static int open_database(struct store_env *env)
{
    int r = db_create(&env->db, env->bdb, 0);
    if (r != 0) {
        env->db = NULL;
        return r;
    }
    r = env->db->set_pagesize(env->db, STORE_PAGE_BYTES);
    r = r != 0 ? r : env->db->set_flags(env->db, DB_CHKSUM);
    r = r != 0 ? r
               : env->db->open(env->db, NULL, "data.db", NULL, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT, 0600);
    return r != 0 ? r : env->bdb->log_flush(env->bdb, NULL);
}

/* An errno is the machine's trouble and is passed on; the rest is about what lies on the disk and needs a
 * sentence. */
static int open_failed(struct store_env *env, int answer, char **ret_error)
{
    fail(env, error_of(answer));
    int error = atomic_load(&env->failed);
    bool machine = error == -EIO || error == -ENOSPC || error == -EDQUOT || error == -ENOMEM ||
                   error == -EACCES || error == -EPERM || error == -EROFS || error == -EMFILE ||
                   error == -ENFILE;
    if (machine)
        return error;
    const char *said = env->text[0] != '\0' ? env->text : db_strerror(answer);
    *ret_error = rk_asprintf(
        "%s cannot be opened: %s. Its files are damaged, mixed with another environment's, or some "
        "are missing. Wipe this host's data and let it join again, or restore the directory.",
        env->home, said);
    return STORE_E_REFUSED;
}

static void env_free(struct store_env *env)
{
    pthread_mutex_destroy(&env->text_mutex);
    free(env->home);
    free(env->db_path);
    free(env);
}

static void close_handles(struct store_env *env, u_int32_t flags)
{
    if (env->db)
        (void)env->db->close(env->db, flags);
    if (env->bdb)
        (void)env->bdb->close(env->bdb, 0);
}

/* A failed environment is only torn down: not one byte of it may reach the disk any more, and a panic must
 * not keep Berkeley DB from freeing its memory. */
static void close_failed(struct store_env *env)
{
    store_hooks_mute(true);
    if (env->bdb)
        (void)env->bdb->set_flags(env->bdb, DB_NOPANIC, 1);
    close_handles(env, DB_NOSYNC);
    store_hooks_mute(false);
}

int store_env_open(struct store_dir *dir, const struct store_env_config *config, struct store_env **ret,
                   char **ret_error)
{
    store_hooks_install();
    store_hooks_forget_full();
    struct store_env *env = RK_NEW(struct store_env);
    pthread_mutex_init(&env->text_mutex, NULL);
    env->name = config->name;
    env->home = rk_asprintf("%s/%s", store_dir_path(dir), config->name);
    env->db_path = rk_asprintf("%s/data.db", env->home);
    env->progress = config->progress;
    env->userdata = config->userdata;
    int r = rk_file_make_dir(env->home, 0700);
    if (r < 0) {
        env_free(env);
        return r;
    }
    int answer = open_bdb(env, config);
    answer = answer != 0 ? answer : open_database(env);
    if (answer == 0) {
        *ret = env;
        return 0;
    }
    r = open_failed(env, answer, ret_error);
    close_failed(env);
    env_free(env);
    return r;
}

void store_env_close(struct store_env *env)
{
    if (!env)
        return;
    int r = store_env_flush(env);
    r = r != 0 ? r : store_env_checkpoint(env);
    if (r == 0)
        close_handles(env, 0); /* nothing is left to write */
    else
        close_failed(env);
    env_free(env);
}
