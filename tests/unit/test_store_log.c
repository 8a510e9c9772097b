/* tests/unit/test_store_log.c - the raft log: appends, conflicts, cuts, resets, votes, trimming, reading,
 * rot. */
#include "tests/unit/store_test.h"

#include <errno.h>
#include <pthread.h>

#include "lib/store/store_log.h"

struct fixture {
    struct store_dir *dir;
    struct store_log *log;
};

static struct fixture open_fixture(const char *path)
{
    struct fixture f;
    f.dir = must_open_dir(path);
    f.log = must_open_log(f.dir);
    return f;
}

static void close_fixture(struct fixture *f)
{
    store_log_close(f->log);
    store_dir_close(f->dir);
}

static void reopen(struct fixture *f, const char *path)
{
    close_fixture(f);
    *f = open_fixture(path);
}

static void append(struct fixture *f, uint32_t group, uint64_t first, uint64_t last, uint64_t term)
{
    assert_int_equal(store_log_begin(f->log), 0);
    assert_int_equal(append_range(f->log, group, first, last, term), 0);
    assert_int_equal(store_log_commit(f->log), 0);
}

static void cut(struct fixture *f, uint32_t group, uint64_t index, uint64_t term)
{
    assert_int_equal(store_log_begin(f->log), 0);
    assert_int_equal(store_log_cut(f->log, group, &(struct store_base){index, term}), 0);
    assert_int_equal(store_log_commit(f->log), 0);
}

static void reset(struct fixture *f, uint32_t group, uint64_t index, uint64_t term)
{
    assert_int_equal(store_log_begin(f->log), 0);
    assert_int_equal(store_log_reset(f->log, group, &(struct store_base){index, term}), 0);
    assert_int_equal(store_log_commit(f->log), 0);
}

struct reading {
    uint32_t group;
    uint64_t next, stop_after;
    uint64_t term_changes_at, old_term, new_term; /* entries from term_changes_at on have new_term */
};

static bool on_entry(void *userdata, const struct store_entry *entry)
{
    struct reading *r = userdata;
    struct rk_buf payload = {0};
    uint64_t term = entry->index >= r->term_changes_at ? r->new_term : r->old_term;
    make_payload(r->group, entry->index, term, &payload);
    assert_int_equal(entry->index, r->next);
    assert_int_equal(entry->term, term);
    assert_int_equal(entry->kind, term & 3);
    assert_true(rk_slice_eq(entry->payload, rk_buf_slice(&payload)));
    rk_buf_deinit(&payload);
    return r->next++ < r->stop_after;
}

static void assert_entries(struct fixture *f, uint32_t group, uint64_t first, uint64_t last,
                           uint64_t changes_at, uint64_t old_term, uint64_t new_term)
{
    struct reading r = {group, first, UINT64_MAX, changes_at, old_term, new_term};
    assert_int_equal(store_log_read(f->log, group, first, on_entry, &r), 0);
    assert_int_equal(r.next, last + 1);
}

static void assert_state(struct fixture *f, uint32_t group, uint64_t base, uint64_t last)
{
    struct store_vote vote;
    struct store_base b;
    uint64_t l;
    assert_int_equal(store_log_state(f->log, group, &vote, &b, &l), 0);
    assert_int_equal(b.index, base);
    assert_int_equal(l, last);
}

static bool never(void *userdata, const struct store_entry *entry)
{
    (void)userdata;
    (void)entry;
    fail();
    return false;
}

static void a_group_never_written_is_all_zeros(void **state)
{
    struct fixture f = open_fixture(*state);
    assert_state(&f, 9, 0, 0);
    assert_int_equal(store_log_read(f.log, 9, 1, never, NULL), STORE_E_NOT_FOUND);
    assert_int_equal(store_log_trim(f.log, 9, 10), 0);
    close_fixture(&f);
}

static void appended_entries_are_read_back_now_and_after_a_restart(void **state)
{
    struct fixture f = open_fixture(*state);
    append(&f, 1, 1, 1, 3);
    append(&f, 1, 2, 120, 3);
    append(&f, 2, 1, 5, 7);
    for (int round = 0; round < 2; round++) {
        assert_state(&f, 1, 0, 120);
        assert_entries(&f, 1, 1, 120, 0, 0, 3);
        assert_entries(&f, 1, 77, 120, 0, 0, 3);
        assert_entries(&f, 2, 1, 5, 0, 0, 7);
        assert_int_equal(store_log_read(f.log, 1, 121, never, NULL), STORE_E_NOT_FOUND);
        assert_int_equal(store_log_read(f.log, 1, 0, never, NULL), STORE_E_NOT_FOUND);
        reopen(&f, *state);
    }
    close_fixture(&f);
}

static void reading_stops_when_told(void **state)
{
    struct fixture f = open_fixture(*state);
    append(&f, 1, 1, 10, 1);
    struct reading r = {1, 3, 5, 0, 0, 1};
    assert_int_equal(store_log_read(f.log, 1, 3, on_entry, &r), 0);
    assert_int_equal(r.next, 6);
    close_fixture(&f);
}

static void an_append_counts_its_bytes(void **state)
{
    struct fixture f = open_fixture(*state);
    uint64_t bytes = 100;
    struct store_entry e = {.index = 1, .term = 1, .payload = rk_slice_str("hello")};
    assert_int_equal(store_log_begin(f.log), 0);
    assert_int_equal(store_log_append(f.log, 1, &e, 1, &bytes), 0);
    assert_int_equal(store_log_commit(f.log), 0);
    assert_int_equal(bytes, 100 + 13 + 13 + 5);
    struct store_log_stats stats;
    store_log_stats(f.log, &stats);
    assert_int_equal(stats.flushes, 1);
    assert_int_equal(stats.entries, 1);
    assert_int_equal(stats.bytes, 31);
    assert_true(stats.flush_us_max > 0);
    close_fixture(&f);
}

static void a_conflicting_append_replaces_all_from_its_index_on(void **state)
{
    struct fixture f = open_fixture(*state);
    append(&f, 1, 1, 100, 1);
    append(&f, 2, 1, 100, 1); /* the neighbour must not be touched */
    append(&f, 1, 40, 60, 2);
    for (int round = 0; round < 2; round++) {
        assert_state(&f, 1, 0, 60);
        assert_entries(&f, 1, 1, 60, 40, 1, 2);
        assert_entries(&f, 2, 1, 100, 0, 0, 1);
        reopen(&f, *state);
    }
    append(&f, 1, 1, 1, 3);
    assert_state(&f, 1, 0, 1);
    reopen(&f, *state);
    assert_state(&f, 1, 0, 1);
    close_fixture(&f);
}

static void an_abort_forgets_appends_conflicts_cuts_resets_and_votes(void **state)
{
    struct fixture f = open_fixture(*state);
    append(&f, 1, 1, 50, 1);
    assert_int_equal(store_log_begin(f.log), 0);
    assert_int_equal(append_range(f.log, 1, 20, 90, 2), 0);
    assert_int_equal(store_log_cut(f.log, 1, &(struct store_base){30, 2}), 0);
    assert_int_equal(store_log_reset(f.log, 2, &(struct store_base){7, 2}), 0);
    assert_int_equal(store_log_set_vote(f.log, 1, &(struct store_vote){9, 9}), 0);
    store_log_abort(f.log);
    for (int round = 0; round < 2; round++) {
        struct store_vote vote;
        struct store_base base;
        uint64_t last;
        assert_int_equal(store_log_state(f.log, 1, &vote, &base, &last), 0);
        assert_int_equal(vote.term, 0);
        assert_state(&f, 1, 0, 50);
        assert_state(&f, 2, 0, 0);
        assert_entries(&f, 1, 1, 50, 0, 0, 1);
        reopen(&f, *state);
    }
    close_fixture(&f);
}

static void a_transaction_reads_its_own_writes(void **state)
{
    struct fixture f = open_fixture(*state);
    assert_int_equal(store_log_begin(f.log), 0);
    assert_int_equal(append_range(f.log, 1, 1, 10, 1), 0);
    assert_int_equal(append_range(f.log, 1, 5, 8, 2), 0);
    assert_entries(&f, 1, 1, 8, 5, 1, 2);
    assert_int_equal(store_log_commit(f.log), 0);
    assert_entries(&f, 1, 1, 8, 5, 1, 2);
    close_fixture(&f);
}

static void votes_are_kept_per_group(void **state)
{
    struct fixture f = open_fixture(*state);
    assert_int_equal(store_log_begin(f.log), 0);
    assert_int_equal(store_log_set_vote(f.log, 1, &(struct store_vote){5, 77}), 0);
    assert_int_equal(store_log_set_vote(f.log, UINT32_MAX, &(struct store_vote){6, 78}), 0);
    assert_int_equal(store_log_set_vote(f.log, 1, &(struct store_vote){7, 79}), 0);
    assert_int_equal(store_log_commit(f.log), 0);
    reopen(&f, *state);
    struct store_vote vote;
    struct store_base base;
    uint64_t last;
    assert_int_equal(store_log_state(f.log, 1, &vote, &base, &last), 0);
    assert_int_equal(vote.term, 7);
    assert_int_equal(vote.voted_for, 79);
    assert_int_equal(store_log_state(f.log, UINT32_MAX, &vote, &base, &last), 0);
    assert_int_equal(vote.term, 6);
    close_fixture(&f);
}

static void a_cut_hides_entries_at_once_and_the_trim_removes_them_in_steps(void **state)
{
    struct fixture f = open_fixture(*state);
    append(&f, 1, 1, 100, 1);
    append(&f, 0, 1, 10, 1);
    cut(&f, 1, 95, 1);
    assert_state(&f, 1, 95, 100);
    assert_int_equal(store_log_read(f.log, 1, 95, never, NULL), STORE_E_NOT_FOUND);
    assert_entries(&f, 1, 96, 100, 0, 0, 1);
    assert_int_equal(store_log_trim(f.log, 1, 50), 1);
    assert_int_equal(store_log_trim(f.log, 1, 40), 1);
    reopen(&f, *state); /* in the middle of it */
    assert_state(&f, 1, 95, 100);
    assert_int_equal(store_log_trim(f.log, 1, 50), 0);
    assert_int_equal(store_log_trim(f.log, 1, 50), 0);
    assert_entries(&f, 1, 96, 100, 0, 0, 1);
    assert_entries(&f, 0, 1, 10, 0, 0, 1);
    cut(&f, 1, 100, 1);
    assert_int_equal(store_log_trim(f.log, 1, 5), 0);
    assert_state(&f, 1, 100, 100);
    append(&f, 1, 101, 102, 2);
    reopen(&f, *state);
    assert_entries(&f, 1, 101, 102, 0, 0, 2);
    close_fixture(&f);
}

static void a_reset_starts_again_wherever_it_is_told_to(void **state)
{
    static const uint64_t bases[] = {500, 30, 100, 0, 99};
    for (size_t i = 0; i < RK_ARRAY_LEN(bases); i++) {
        RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s%zu", (char *)*state, i);
        struct fixture f = open_fixture(path);
        append(&f, 1, 1, 100, 1);
        cut(&f, 1, 20, 1);
        reset(&f, 1, bases[i], 4);
        assert_state(&f, 1, bases[i], bases[i]);
        append(&f, 1, bases[i] + 1, bases[i] + 3, 5);
        reopen(&f, path);
        assert_state(&f, 1, bases[i], bases[i] + 3);
        assert_entries(&f, 1, bases[i] + 1, bases[i] + 3, 0, 0, 5);
        assert_int_equal(store_log_trim(f.log, 1, 1000), 0);
        assert_entries(&f, 1, bases[i] + 1, bases[i] + 3, 0, 0, 5);
        close_fixture(&f);
    }
}

/* After a reset to before the first entry that is stored, the trim must still find what comes later. */
static void a_reset_backwards_is_trimmed_later(void **state)
{
    struct fixture f = open_fixture(*state);
    reset(&f, 1, 100, 1);
    append(&f, 1, 101, 110, 1);
    cut(&f, 1, 110, 1);
    assert_int_equal(store_log_trim(f.log, 1, 100), 0);
    reset(&f, 1, 10, 2);
    append(&f, 1, 11, 20, 2);
    cut(&f, 1, 20, 2);
    assert_int_equal(store_log_trim(f.log, 1, 4), 1);
    assert_int_equal(store_log_trim(f.log, 1, 10), 0);
    assert_state(&f, 1, 20, 20);
    close_fixture(&f);
}

/* Flips one byte of the record at key, behind the store's back but through its own environment. */
static void damage(struct store_log *log, struct store_log_key key, uint32_t offset)
{
    DB *db = log->env->db;
    DBT k = store_log_key_dbt(&key), v = {.flags = DB_DBT_MALLOC};
    assert_int_equal(db->get(db, NULL, &k, &v, 0), 0);
    ((uint8_t *)v.data)[offset] ^= 1;
    DB_TXN *txn;
    assert_int_equal(store_env_begin(log->env, &txn), 0);
    assert_int_equal(db->put(db, txn, &k, &v, 0), 0);
    assert_int_equal(store_env_commit(log->env, txn), 0);
    free(v.data);
}

static void a_damaged_entry_is_reported_after_all_before_it(void **state)
{
    struct fixture f = open_fixture(*state);
    append(&f, 1, 1, 100, 1);
    damage(f.log, store_log_entry_key(1, 41), 8);  /* the kind */
    damage(f.log, store_log_entry_key(1, 42), 13); /* the first byte of the payload */
    struct reading r = {1, 30, UINT64_MAX, 0, 0, 1};
    assert_int_equal(store_log_read(f.log, 1, 30, on_entry, &r), STORE_E_CORRUPT);
    assert_int_equal(r.next, 41);
    assert_int_equal(store_log_read(f.log, 1, 42, never, NULL), STORE_E_CORRUPT);
    assert_entries(&f, 1, 43, 100, 0, 0, 1);
    /* Fetched again from a peer, it is written over. */
    append(&f, 1, 41, 100, 1);
    assert_entries(&f, 1, 1, 100, 0, 0, 1);
    close_fixture(&f);
}

static void an_entry_in_another_ones_place_is_damaged(void **state)
{
    struct fixture f = open_fixture(*state);
    append(&f, 1, 1, 10, 1);
    struct store_log_key from = store_log_entry_key(1, 3), to = store_log_entry_key(1, 4);
    DB *db = f.log->env->db;
    DBT kf = store_log_key_dbt(&from), kt = store_log_key_dbt(&to), v = {.flags = DB_DBT_MALLOC};
    assert_int_equal(db->get(db, NULL, &kf, &v, 0), 0);
    assert_int_equal(db->put(db, NULL, &kt, &v, 0), 0);
    free(v.data);
    assert_int_equal(store_log_read(f.log, 1, 4, never, NULL), STORE_E_CORRUPT);
    close_fixture(&f);
}

static void a_hole_in_the_log_is_damage(void **state)
{
    struct fixture f = open_fixture(*state);
    append(&f, 1, 1, 10, 1);
    struct store_log_key key = store_log_entry_key(1, 5);
    DBT k = store_log_key_dbt(&key);
    assert_int_equal(f.log->env->db->del(f.log->env->db, NULL, &k, 0), 0);
    struct reading r = {1, 1, UINT64_MAX, 0, 0, 1};
    assert_int_equal(store_log_read(f.log, 1, 1, on_entry, &r), STORE_E_CORRUPT);
    assert_int_equal(r.next, 5);
    close_fixture(&f);
}

static void a_damaged_vote_is_refused_at_open(void **state)
{
    struct fixture f = open_fixture(*state);
    assert_int_equal(store_log_begin(f.log), 0);
    assert_int_equal(store_log_set_vote(f.log, 3, &(struct store_vote){5, 77}), 0);
    assert_int_equal(store_log_commit(f.log), 0);
    damage(f.log, store_log_meta_key(3, 'v'), 12);
    store_log_close(f.log);
    const struct store_log_config config = {.cache_bytes = 1u << 20};
    char *error = NULL;
    assert_int_equal(store_log_open(f.dir, &config, NULL, NULL, &f.log, &error), STORE_E_REFUSED);
    assert_non_null(strstr(error, "vote of group 3"));
    free(error);
    store_dir_close(f.dir);
}

struct pounding {
    struct store_log *log;
    atomic_bool stop;
    atomic_uint rounds;
};

static void *checkpoint_for_ever(void *userdata)
{
    struct pounding *p = userdata;
    while (!atomic_load(&p->stop)) {
        CHECK(store_log_checkpoint(p->log) == 0);
        (void)store_log_dirty_bytes(p->log);
        p->rounds++;
    }
    return NULL;
}

/* The pool (1 MiB) is far smaller than the data, so pages come and go under both threads. */
static void a_checkpoint_thread_and_a_writer_do_not_disturb_each_other(void **state)
{
    struct fixture f = {.dir = must_open_dir(*state)};
    const struct store_log_config config = {.cache_bytes = 1u << 20, .file_bytes = 1u << 20};
    char *error = NULL;
    assert_int_equal(store_log_open(f.dir, &config, NULL, NULL, &f.log, &error), 0);
    struct pounding p = {.log = f.log};
    pthread_t thread;
    pthread_create(&thread, NULL, checkpoint_for_ever, &p);
    uint64_t base = 0, last = 0;
    for (int round = 0; round < 150 || atomic_load(&p.rounds) < 4; round++) {
        append(&f, 1, last + 1, last + 40, 1);
        last += 40;
        append(&f, 1, last - 9, last, 1); /* a conflict now and then */
        if (round % 10 == 9) {
            cut(&f, 1, last - 200, 1);
            base = last - 200;
            while (store_log_trim(f.log, 1, 64) == 1)
                ;
        }
        assert_entries(&f, 1, base + 1, last, 0, 0, 1);
    }
    atomic_store(&p.stop, true);
    pthread_join(thread, NULL);
    reopen(&f, *state);
    assert_state(&f, 1, base, last);
    assert_entries(&f, 1, base + 1, last, 0, 0, 1);
    close_fixture(&f);
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        RULE(a_group_never_written_is_all_zeros),
        RULE(appended_entries_are_read_back_now_and_after_a_restart),
        RULE(reading_stops_when_told),
        RULE(an_append_counts_its_bytes),
        RULE(a_conflicting_append_replaces_all_from_its_index_on),
        RULE(an_abort_forgets_appends_conflicts_cuts_resets_and_votes),
        RULE(a_transaction_reads_its_own_writes),
        RULE(votes_are_kept_per_group),
        RULE(a_cut_hides_entries_at_once_and_the_trim_removes_them_in_steps),
        RULE(a_reset_starts_again_wherever_it_is_told_to),
        RULE(a_reset_backwards_is_trimmed_later),
        RULE(a_damaged_entry_is_reported_after_all_before_it),
        RULE(an_entry_in_another_ones_place_is_damaged),
        RULE(a_hole_in_the_log_is_damage),
        RULE(a_damaged_vote_is_refused_at_open),
        RULE(a_checkpoint_thread_and_a_writer_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
