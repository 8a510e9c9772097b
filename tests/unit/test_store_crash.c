/* tests/unit/test_store_crash.c - the raft log after a SIGKILL at any moment: nothing that was acknowledged
 * is lost.
 *
 * A child writes random transactions and tells the parent, through memory that
 * both share, what it is about to do and what the store has acknowledged. After
 * the kill the parent opens the log: it must hold exactly the acknowledged state,
 * or that state with the one transaction that was on its way. The state is checked
 * down to the bytes of the payloads, which follow from group, index and term. */
#include "tests/unit/store_test.h"

#include <signal.h>
#include <sys/mman.h>

#include "lib/base/rk_random.h"

#define GROUPS  3u
#define INDEXES 4096u

struct model_group {
    struct store_vote vote;
    struct store_base base;
    uint64_t last;
    uint32_t terms[INDEXES]; /* of each entry */
};

struct model {
    struct model_group groups[GROUPS];
};

/* states[acknowledged % 2] is what was acknowledged; the other one what the transaction on its way leads to.
 */
struct shared {
    struct model states[2];
    atomic_ullong acknowledged;
    atomic_bool on_its_way;
};

/* ---- the child ---------------------------------------------------------------- */

static int do_append(struct store_log *log, uint32_t id, struct model_group *g, struct rk_random *random)
{
    uint64_t room = INDEXES - 1 - g->last;
    uint64_t count = 1 + rk_random_below(random, 30);
    if (room < count)
        return 0;
    uint64_t first = g->last + 1;
    if (rk_random_below(random, 4) == 0) /* a conflict, at any depth */
        first = g->base.index + 1 + rk_random_below(random, g->last - g->base.index + 1);
    g->vote.term += rk_random_below(random, 2);
    for (uint64_t i = first; i < first + count; i++)
        g->terms[i] = (uint32_t)g->vote.term;
    g->last = first + count - 1;
    return append_range(log, id, first, g->last, g->vote.term);
}

static int do_cut(struct store_log *log, uint32_t id, struct model_group *g, struct rk_random *random)
{
    if (g->last == 0)
        return 0;
    uint64_t index = g->base.index + rk_random_below(random, g->last - g->base.index + 1);
    g->base = (struct store_base){index, index == g->base.index ? g->base.term : g->terms[index]};
    return store_log_cut(log, id, &g->base);
}

static int do_reset(struct store_log *log, uint32_t id, struct model_group *g, struct rk_random *random)
{
    uint64_t index = rk_random_below(random, g->last + 20 < INDEXES - 100 ? g->last + 20 : 50);
    g->base = (struct store_base){index, ++g->vote.term};
    g->last = index;
    return store_log_reset(log, id, &g->base);
}

static int do_vote(struct store_log *log, uint32_t id, struct model_group *g, struct rk_random *random)
{
    g->vote = (struct store_vote){g->vote.term + 1, rk_random_below(random, 5)};
    return store_log_set_vote(log, id, &g->vote);
}

static int do_any(struct store_log *log, struct model *model, struct rk_random *random)
{
    uint32_t id = (uint32_t)rk_random_below(random, GROUPS);
    struct model_group *g = &model->groups[id];
    uint64_t dice = rk_random_below(random, 20);
    if (dice < 14 && g->last + 40 < INDEXES)
        return do_append(log, id, g, random);
    if (dice < 16)
        return do_cut(log, id, g, random);
    return dice < 17 || g->last + 40 >= INDEXES ? do_reset(log, id, g, random) : do_vote(log, id, g, random);
}

/* The model's vote term drives the entries' terms, so it is always written along. */
static void write_transaction(struct store_log *log, struct shared *shared, struct rk_random *random)
{
    uint64_t n = atomic_load(&shared->acknowledged);
    struct model *next = &shared->states[(n + 1) % 2];
    *next = shared->states[n % 2];
    CHECK(store_log_begin(log) == 0);
    for (uint64_t ops = 1 + rk_random_below(random, 4); ops > 0; ops--)
        CHECK(do_any(log, next, random) == 0);
    for (uint32_t id = 0; id < GROUPS; id++)
        CHECK(store_log_set_vote(log, id, &next->groups[id].vote) == 0);
    if (rk_random_below(random, 10) == 0) {
        store_log_abort(log);
        return;
    }
    atomic_store(&shared->on_its_way, true);
    CHECK(store_log_commit(log) == 0);
    atomic_store(&shared->acknowledged, n + 1);
    atomic_store(&shared->on_its_way, false);
}

static void write_until_killed(const char *path, struct shared *shared, uint64_t seed)
{
    struct rk_random random = {seed};
    struct store_dir *dir = must_open_dir(path);
    struct store_log *log = must_open_log(dir);
    for (;;) {
        write_transaction(log, shared, &random);
        uint64_t dice = rk_random_below(&random, 100);
        if (dice < 10)
            CHECK(store_log_trim(log, (uint32_t)dice % GROUPS, 20) >= 0);
        else if (dice < 12)
            CHECK(store_log_checkpoint(log) == 0);
    }
}

/* ---- the parent ----------------------------------------------------------------- */

struct reading {
    uint32_t group;
    uint64_t next;
    const struct model_group *expected;
    bool same;
};

static bool on_entry(void *userdata, const struct store_entry *entry)
{
    struct reading *r = userdata;
    struct rk_buf payload = {0};
    make_payload(r->group, r->next, r->expected->terms[r->next], &payload);
    r->same = entry->index == r->next && entry->term == r->expected->terms[r->next] &&
              rk_slice_eq(entry->payload, rk_buf_slice(&payload));
    rk_buf_deinit(&payload);
    r->next++;
    return r->same;
}

static bool group_is(struct store_log *log, uint32_t id, const struct model_group *expected)
{
    struct store_vote vote;
    struct store_base base;
    uint64_t last;
    assert_int_equal(store_log_state(log, id, &vote, &base, &last), 0);
    if (vote.term != expected->vote.term || vote.voted_for != expected->vote.voted_for ||
        base.index != expected->base.index || base.term != expected->base.term || last != expected->last)
        return false;
    struct reading r = {id, base.index + 1, expected, true};
    if (base.index < last)
        assert_int_equal(store_log_read(log, id, base.index + 1, on_entry, &r), 0);
    return r.same && r.next == last + 1;
}

static bool log_is(struct store_log *log, const struct model *expected)
{
    for (uint32_t id = 0; id < GROUPS; id++) {
        if (!group_is(log, id, &expected->groups[id]))
            return false;
    }
    return true;
}

/* What is found becomes what is acknowledged, for the next round. */
static void check_after_crash(const char *path, struct shared *shared)
{
    struct store_dir *dir = must_open_dir(path);
    struct store_log *log = must_open_log(dir);
    uint64_t n = atomic_load(&shared->acknowledged);
    if (!log_is(log, &shared->states[n % 2])) {
        assert_true(atomic_load(&shared->on_its_way));
        assert_true(log_is(log, &shared->states[(n + 1) % 2]));
        atomic_store(&shared->acknowledged, n + 1);
    }
    atomic_store(&shared->on_its_way, false);
    store_log_close(log);
    store_dir_close(dir);
}

static struct shared *shared_new(void)
{
    struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(s, MAP_FAILED);
    return s;
}

/* Kills after some transactions and a little more, so that the moment falls anywhere. */
static void crash_round(const char *path, struct shared *shared, uint64_t seed)
{
    struct rk_random random = {seed};
    uint64_t enough = atomic_load(&shared->acknowledged) + rk_random_below(&random, 30);
    pid_t pid = fork();
    if (pid == 0)
        write_until_killed(path, shared, seed);
    for (int ms = 0; ms < 10000 && atomic_load(&shared->acknowledged) < enough; ms++)
        usleep(1000);
    usleep((useconds_t)rk_random_below(&random, 3000));
    kill(pid, SIGKILL);
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status));
}

static void after_a_crash_the_log_is_what_was_acknowledged(void **state)
{
    struct shared *shared = shared_new();
    for (uint64_t round = 0; round < 30; round++) {
        crash_round(*state, shared, round + 1);
        check_after_crash(*state, shared);
    }
    assert_true(atomic_load(&shared->acknowledged) > 100);
    munmap(shared, sizeof(*shared));
}

static void open_until_killed(const char *path)
{
    for (;;) {
        struct store_dir *dir = must_open_dir(path);
        store_log_close(must_open_log(dir));
        store_dir_close(dir);
    }
}

/* Recovery itself must survive being killed, again and again. */
static void a_crash_during_recovery_changes_nothing(void **state)
{
    struct shared *shared = shared_new();
    struct rk_random random = {7};
    for (uint64_t round = 0; round < 3; round++) {
        crash_round(*state, shared, round + 100);
        for (int again = 0; again < 6; again++) {
            pid_t pid = fork();
            if (pid == 0)
                open_until_killed(*state);
            usleep((useconds_t)rk_random_below(&random, 15000));
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
        check_after_crash(*state, shared);
    }
    munmap(shared, sizeof(*shared));
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        RULE(after_a_crash_the_log_is_what_was_acknowledged),
        RULE(a_crash_during_recovery_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
