/* tests/unit/test_raft_garbage.c - whatever a peer says, the core neither fails nor breaks its own order.
 *
 * Fields are drawn from small ranges, so that many of them make half sense, and from the ends of 64 bits
 * (rows 27, 39, 41 and 114 of the catalogue of failures). RAFT_SEEDS=n for longer runs. */
#include "lib/base/rk_random.h"
#include "tests/unit/raft_bench.h"

static uint64_t number(struct rk_random *r, uint64_t near)
{
    static const uint64_t ends[] = {
        0, 1, UINT64_MAX, UINT64_MAX - 1, 1ULL << 63, 1ULL << 32, UINT64_MAX - (1ULL << 32)};
    if (rk_random_below(r, 16) == 0)
        return ends[rk_random_below(r, RK_ARRAY_LEN(ends))];
    uint64_t off = rk_random_below(r, 8);
    return near + 4 > off ? near + 4 - off : 0;
}

struct garbage {
    struct raft_message message;
    struct raft_entry entries[6];
    struct raft_members members;
};

static void fill_message(struct rk_random *r, const struct raft_status *s, struct garbage *g)
{
    struct raft_message *m = &g->message;
    static const char *const roles[] = {"vvv", "vv", "lvv", ".vv", "vvvv", "v", "lll", ""};
    g->members = bench_members(roles[rk_random_below(r, RK_ARRAY_LEN(roles))]);
    *m = (struct raft_message){.kind = (enum raft_message_kind)(1 + rk_random_below(r, RAFT_MSG_KIND_MAX)),
                               .from = 2 + rk_random_below(r, 3),
                               .to = 1,
                               .term = number(r, s->term),
                               .index = number(r, rk_random_below(r, 2) == 0 ? s->last_index : s->commit),
                               .log_term = number(r, s->last_term),
                               .commit = number(r, s->last_index),
                               .token = number(r, 3),
                               .hint = number(r, s->commit),
                               .hint_term = number(r, s->last_term),
                               .reject = rk_random_below(r, 3) == 0,
                               .transfer = rk_random_below(r, 4) == 0};
    if (rk_random_below(r, 4) != 0) { /* mostly of the term in force, or nothing would get far */
        m->term = s->term + (rk_random_below(r, 40) == 0);
        m->log_term = rk_random_below(r, 4) == 0 ? m->log_term : s->last_term;
    }
    if (m->kind != RAFT_MSG_APPEND)
        return;
    m->count = (uint32_t)rk_random_below(r, 7);
    m->entries = g->entries;
    uint64_t term = rk_random_below(r, 3) == 0 ? number(r, m->log_term) : m->log_term;
    for (uint32_t i = 0; i < m->count; i++) {
        term += rk_random_below(r, 4) == 0;
        g->entries[i] = (struct raft_entry){.index = m->index + 1 + i,
                                            .term = rk_random_below(r, 60) == 0 ? number(r, term) : term,
                                            .bytes = (uint32_t)rk_random_next(r),
                                            .kind = (enum raft_entry_kind)(1 + rk_random_below(r, 3)),
                                            .members = &g->members};
    }
}

static void send_event(struct bench *b, struct rk_random *r, struct garbage *g)
{
    struct raft_status s = bench_status(b);
    struct raft_entry own = {.kind = RAFT_ENTRY_COMMAND, .bytes = 3};
    struct raft_event e = {.kind = (enum raft_event_kind)(1 + rk_random_below(r, RAFT_EVENT_STEP_DOWN)),
                           .index = number(r, s.last_index),
                           .term = rk_random_below(r, 2) == 0 ? s.last_term : number(r, s.term),
                           .ticket = 1 + rk_random_below(r, 9),
                           .peer = rk_random_below(r, 5),
                           .ok = rk_random_below(r, 2) == 0,
                           .members = &g->members,
                           .members_index = number(r, s.commit)};
    b->now_us += rk_random_below(r, 30000);
    if (rk_random_below(r, 3) != 0)
        e.kind = RAFT_EVENT_MESSAGE;
    if (e.kind == RAFT_EVENT_SNAPSHOT_INSTALLED && rk_random_below(r, 20) != 0)
        e.kind = RAFT_EVENT_TICK; /* rarely: it tends to end the log */
    if (e.kind == RAFT_EVENT_STEP_DOWN && rk_random_below(r, 20) != 0)
        e.kind = RAFT_EVENT_APPLIED;
    fill_message(r, &s, g);
    e.message = &g->message;
    if (e.kind == RAFT_EVENT_PROPOSE) {
        e.entries = &own;
        e.count = 1;
    }
    bench_event(b, e);
}

static void check(const struct bench *b, const struct raft_status *before)
{
    struct raft_status s = bench_status(b);
    assert_true(s.base_index <= s.applied && s.applied <= s.commit && s.commit <= s.last_index);
    assert_true(s.persisted <= s.last_index && s.term >= before->term && s.commit >= before->commit);
    assert_true(s.last_term <= s.term);
    assert_true(s.term != before->term || before->voted_for == 0 || s.voted_for == before->voted_for);
    for (uint32_t i = 1; i < b->out.append_count; i++)
        assert_int_equal(b->out.append[i].index, b->out.append[0].index + i);
}

static void test_garbage(void **state)
{
    (void)state;
    const char *more = getenv("RAFT_SEEDS");
    uint64_t seeds = more != NULL ? strtoull(more, NULL, 10) : 300;
    uint64_t led = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct rk_random r = {.state = seed};
        struct bench b;
        struct garbage g;
        uint64_t base = seed % 3 == 0 ? (1ULL << 63) - 5 : seed % 3 == 1 ? 0 : (1ULL << 32) - 5;
        bench_init(&b, (struct bench_start){.roles = "vvv",
                                            .base = base,
                                            .base_term = base > 0,
                                            .terms = (uint64_t[]){1, 2, 2, 0},
                                            .term = 3});
        for (int i = 0; i < 600; i++) {
            struct raft_status before = bench_status(&b);
            if (seed % 2 == 0 && i % 100 == 50 && before.role == RAFT_FOLLOWER && before.leader == 0 &&
                raft_deadline(b.raft) != RK_NEVER) {
                bench_deadline(&b);
                if (bench_status(&b).role == RAFT_PRE_CANDIDATE)
                    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_PREVOTE_REPLY,
                                                            .from = 2,
                                                            .term = before.term + 1});
            } else {
                send_event(&b, &r, &g);
            }
            check(&b, &before);
            led += bench_status(&b).role == RAFT_LEADER;
        }
        bench_deinit(&b);
    }
    assert_true(led > seeds); /* it was not only ever a follower */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_garbage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
