/* tests/unit/test_raft_quorum.c - majorities, configurations, and the log's terms: the pure functions of the
 * core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/raft/raft_internal.h"

/* Row 19 of the catalogue: exhaustive for 1 to 9 voters. Every way in which some of them have reached 1 and
 * the others 0: a quorum is more than half, and any two quorums share a voter. */
static void test_quorum_exhaustive_1_to_9(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 9; n++) {
        uint32_t quorum = raft_quorum_size(n);
        assert_true(2 * quorum > n && 2 * (quorum - 1) <= n);
        for (uint32_t set = 0; set < 1u << n; set++) {
            uint64_t values[9];
            uint32_t ones = (uint32_t)__builtin_popcount(set);
            for (uint32_t i = 0; i < n; i++)
                values[i] = (set >> i) & 1;
            assert_int_equal(raft_quorum_reached(values, n), 2 * ones > n);
        }
        for (uint32_t a = 0; n <= 6 && a < 1u << n; a++) {
            for (uint32_t b = 0; b < 1u << n; b++) {
                bool both =
                    (uint32_t)__builtin_popcount(a) >= quorum && (uint32_t)__builtin_popcount(b) >= quorum;
                assert_true(!both || (a & b) != 0);
            }
        }
    }
}

/* The value returned is reached by a quorum, and nothing larger is: all triples and quadruples of 0..4, and
 * random ones of every size near the end of 64 bits. */
static void check_reached(const uint64_t *values, uint32_t n)
{
    uint64_t copy[9], at = 0, above = 0;
    for (uint32_t i = 0; i < n; i++)
        copy[i] = values[i];
    uint64_t reached = raft_quorum_reached(copy, n);
    for (uint32_t i = 0; i < n; i++) {
        at += values[i] >= reached;
        above += values[i] > reached;
    }
    assert_true(at >= raft_quorum_size(n) && above < raft_quorum_size(n));
}

static void test_quorum_reached_is_the_largest(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < 5 * 5 * 5 * 5; k++) {
        uint64_t v[4] = {k % 5, k / 5 % 5, k / 25 % 5, k / 125 % 5};
        check_reached(v, 3);
        check_reached(v, 4);
    }
    struct rk_random r = {.state = 1};
    for (uint32_t k = 0; k < 20000; k++) {
        uint64_t v[9];
        for (uint32_t i = 0; i < 9; i++)
            v[i] = UINT64_MAX - rk_random_below(&r, 6);
        check_reached(v, 1 + k % 9);
    }
    assert_int_equal(raft_quorum_reached(NULL, 0), 0);
}

static struct raft_members of(const char *roles)
{
    struct raft_members m = {0};
    for (uint32_t i = 0; roles[i] != '\0'; i++) {
        if (roles[i] == '.')
            continue;
        m.member[m.count++] =
            (struct raft_member){.id = i + 1, .role = roles[i] == 'v' ? RAFT_VOTER : RAFT_LEARNER};
    }
    return m;
}

static bool step_ok(const char *old, const char *next)
{
    struct raft_members a = of(old), b = of(next);
    return raft_members_step_ok(&a, &b);
}

/* Thesis 4.1: one voter at a time. */
static void test_members_step(void **state)
{
    (void)state;
    assert_true(step_ok("vvv", "vvv"));
    assert_true(step_ok("vvv", "vvvv"));
    assert_true(step_ok("vvv", ".vv"));
    assert_true(step_ok("vvv", "vvvlll"));
    assert_true(step_ok("vvl", "vvv"));
    assert_true(step_ok("vvv", "vvl"));
    assert_true(step_ok("vvl", "vvvl"));
    assert_true(step_ok("", "v"));
    assert_false(step_ok("vvv", ".vvv"));
    assert_false(step_ok("vvv", "vvvvv"));
    assert_false(step_ok("vvv", "v"));
    assert_false(step_ok("vll", "vvv"));
    assert_false(step_ok("v", ".v"));
    assert_false(step_ok("v", ""));
    assert_false(step_ok("v", "l"));
    assert_false(step_ok("v", "lll"));
}

static void test_members_valid(void **state)
{
    (void)state;
    struct raft_members m = of("vvl");
    assert_true(raft_members_valid(&m));
    assert_int_equal(raft_members_voters(&m), 2);
    assert_int_equal(raft_members_quorum(&m), 2);
    assert_null(raft_members_find(&m, 4));
    assert_int_equal(raft_members_find(&m, 3)->role, RAFT_LEARNER);
    m.member[1].id = 1; /* twice */
    assert_false(raft_members_valid(&m));
    m.member[1].id = 3; /* not sorted */
    m.member[2].id = 2;
    assert_false(raft_members_valid(&m));
    m = of("vv");
    m.member[0].id = 0;
    assert_false(raft_members_valid(&m));
    m = of("vv");
    m.member[0].role = (enum raft_member_role)7;
    assert_false(raft_members_valid(&m));
    m = of("vv");
    m.count = RK_MEMBERS_MAX + 1;
    assert_false(raft_members_valid(&m));
}

/* The runs and the ring against a plain array, through random appends, truncations and cuts; at ordinary
 * indexes and where 32 and 63 bits end (row 39). */
struct model {
    uint64_t base, base_term, last;
    uint64_t terms[4096];
    uint32_t sizes[4096];
};

static void compare(const struct raft_terms *t, const struct model *m, uint64_t start)
{
    assert_int_equal(t->base_index, m->base);
    assert_int_equal(t->last_index, m->last);
    assert_int_equal(raft_terms_at(t, m->base), m->base_term);
    assert_int_equal(raft_terms_at(t, m->last + 1), 0);
    uint64_t sum = 0;
    for (uint64_t i = m->base + 1; i <= m->last; i++) {
        assert_int_equal(raft_terms_at(t, i), m->terms[i - start]);
        assert_int_equal(raft_terms_bytes(t, i), m->sizes[i - start]);
        sum += m->sizes[i - start];
    }
    assert_int_equal(raft_terms_sum(t, m->base + 1, m->last), sum);
}

static void compare_search(const struct raft_terms *t, const struct model *m, uint64_t start, uint64_t index,
                           uint64_t term)
{
    uint64_t want = index < m->last ? index : m->last;
    while (want > m->base && m->terms[want - start] > term)
        want--;
    if (index < m->base)
        want = index;
    else if (want == m->base && m->base_term > term && m->base > 0)
        want = m->base - 1;
    assert_int_equal(raft_terms_search(t, index, term), want);
}

static void run_model(uint64_t start, uint64_t seed)
{
    static struct model m;
    struct rk_random r = {.state = seed};
    struct raft_terms t;
    uint64_t term = 1;
    m = (struct model){.base = start, .base_term = start > 0, .last = start};
    raft_terms_init(&t, start, m.base_term);
    for (uint32_t k = 0; k < 600; k++) {
        uint64_t what = rk_random_below(&r, 10);
        uint64_t inside = m.base + rk_random_below(&r, m.last - m.base + 1);
        if (what < 8) {
            term += rk_random_below(&r, 4) == 0;
            m.last++;
            m.terms[m.last - start] = term;
            m.sizes[m.last - start] = (uint32_t)rk_random_below(&r, 1000);
            raft_terms_append(&t, term, m.sizes[m.last - start]);
        } else if (what == 8 && rk_random_below(&r, 4) == 0) {
            m.last = inside;
            raft_terms_truncate(&t, inside);
        } else if (rk_random_below(&r, 4) == 0) {
            m.base_term = inside == m.base ? m.base_term : m.terms[inside - start];
            m.base = inside;
            raft_terms_cut(&t, inside);
        }
        compare(&t, &m, start);
        compare_search(&t, &m, start, start + rk_random_below(&r, m.last - start + 3),
                       rk_random_below(&r, term + 2));
    }
    raft_terms_reset(&t, start + 5000, term + 1);
    assert_int_equal(raft_terms_last(&t), term + 1);
    assert_int_equal(raft_terms_at(&t, start + 4999), 0);
    raft_terms_append(&t, term + 2, 7);
    assert_int_equal(raft_terms_bytes(&t, start + 5001), 7);
    raft_terms_deinit(&t);
}

static void test_terms_against_a_model(void **state)
{
    (void)state;
    static const uint64_t starts[] = {0, 1, (1ULL << 32) - 100, (1ULL << 63) - 100};
    for (uint32_t i = 0; i < RK_ARRAY_LEN(starts); i++) {
        for (uint64_t seed = 1; seed <= 5; seed++)
            run_model(starts[i], seed);
    }
}

/* Row 37: the window's bytes are exactly those of the messages in it, whatever comes back in whatever order.
 */
static void test_progress_window_accounting(void **state)
{
    (void)state;
    struct rk_random r = {.state = 3};
    struct raft_progress p;
    raft_progress_init(&p, 2, 1, 4, 0);
    raft_progress_sent(&p, 1, 10, 0);
    raft_progress_ack(&p, 1, 0);
    assert_int_equal(p.mode, RAFT_PEER_REPLICATE);
    for (uint32_t k = 0; k < 5000; k++) {
        if (raft_progress_open(&p, 500))
            raft_progress_sent(&p, 1 + (uint32_t)rk_random_below(&r, 5), rk_random_below(&r, 300), k);
        if (rk_random_below(&r, 2) == 0)
            raft_progress_ack(&p, p.match + rk_random_below(&r, p.next - p.match), k);
        uint64_t sum = 0;
        for (uint32_t i = 0; i < p.inflight_count; i++)
            sum += p.inflight[(p.inflight_head + i) % p.inflight_capacity].bytes;
        assert_int_equal(sum, p.inflight_bytes);
        assert_true(p.match < p.next && p.inflight_count <= 4);
        assert_true(p.inflight_count > 0 || p.match + 1 == p.next);
    }
    raft_progress_probe(&p);
    assert_int_equal(p.inflight_bytes, 0);
    raft_progress_deinit(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quorum_exhaustive_1_to_9),
        cmocka_unit_test(test_quorum_reached_is_the_largest),
        cmocka_unit_test(test_members_step),
        cmocka_unit_test(test_members_valid),
        cmocka_unit_test(test_terms_against_a_model),
        cmocka_unit_test(test_progress_window_accounting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
