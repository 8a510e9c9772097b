/* tests/unit/test_raft_cluster.c - clusters under a seeded storm: break things and check safety, then heal
 * and check progress.
 *
 * RAFT_SEED=n runs that seed alone, RAFT_TRACE=1 shows every step; RAFT_SEEDS=n runs so
 * many, from RAFT_FIRST on. A failure prints its seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/raft_cluster.h"

#define STORM_US    3000000u
#define PATIENCE_US 20000000u

static uint64_t env_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static uint64_t below(struct cluster *c, uint64_t bound)
{
    return rk_random_below(&c->random, bound);
}

static uint32_t any_node(struct cluster *c)
{
    return (uint32_t)below(c, c->options.nodes);
}

/* Somebody who believes to lead, the rightful one or not; now and then anybody. */
static int speaker(struct cluster *c)
{
    uint32_t first = any_node(c);
    if (below(c, 8) == 0)
        return c->nodes[first].up ? (int)first : -1;
    for (uint32_t i = 0; i < c->options.nodes; i++) {
        uint32_t node = (first + i) % c->options.nodes;
        struct raft_status s;
        if (!c->nodes[node].up)
            continue;
        raft_status(c->nodes[node].raft, &s);
        if (s.role == RAFT_LEADER)
            return (int)node;
    }
    return -1;
}

static void put(struct raft_members *m, uint64_t id, enum raft_member_role role)
{
    uint32_t at = 0;
    while (at < m->count && m->member[at].id < id)
        at++;
    if (at == m->count || m->member[at].id != id) {
        for (uint32_t i = m->count; i > at; i--)
            m->member[i] = m->member[i - 1];
        m->count++;
    }
    m->member[at] = (struct raft_member){.id = id, .role = role};
}

static void take_out(struct raft_members *m, uint64_t id)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->member[i].id != id)
            m->member[kept++] = m->member[i];
    }
    m->count = kept;
}

/* Any number of them at once: everybody gets a role by lot. */
static void change_jointly(struct cluster *c, uint32_t node)
{
    struct raft_members next = *raft_members(c->nodes[node].raft), joint;
    for (uint64_t id = 1; id <= c->options.nodes; id++) {
        uint64_t role = below(c, 5);
        if (role == 0)
            take_out(&next, id);
        else if (role == 1)
            put(&next, id, RAFT_LEARNER);
        else if (role <= 3)
            put(&next, id, RAFT_VOTER);
    }
    for (uint32_t i = 0; i < next.count; i++)
        next.member[i].priority = (uint8_t)below(c, 3);
    if (!raft_members_joint(raft_members(c->nodes[node].raft)) &&
        raft_members_join(raft_members(c->nodes[node].raft), &next, &joint))
        cluster_change(c, node, &joint);
}

static void change_members(struct cluster *c, uint32_t node)
{
    struct raft_members next = *raft_members(c->nodes[node].raft);
    uint64_t id = any_node(c) + 1;
    switch (below(c, 9)) {
    case 0:
        put(&next, id, RAFT_LEARNER);
        break;
    case 1:
        take_out(&next, id);
        break;
    case 2:
        cluster_abort_change(c, node);
        return;
    case 3:
    case 4:
    case 5:
        change_jointly(c, node);
        return;
    default:
        put(&next, id, RAFT_VOTER);
        break;
    }
    cluster_change(c, node, &next);
}

/* Rows 10, 11 and 115 of the catalogue of failures: full, one-way and partial omissions. */
static void partition(struct cluster *c)
{
    uint32_t n = c->options.nodes;
    uint32_t side[CLUSTER_NODES_MAX];
    uint64_t shape = below(c, 4);
    for (uint32_t i = 0; i < n; i++)
        side[i] = (uint32_t)below(c, 2);
    uint32_t bridge = shape == 1 ? any_node(c) : CLUSTER_NODES_MAX;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < n; j++) {
            bool apart = side[i] != side[j] && i != bridge && j != bridge;
            if (shape == 2)
                apart = side[i] < side[j]; /* one way */
            if (shape == 3)
                apart = below(c, 4) == 0;
            c->cut[i][j] = i != j && apart;
        }
    }
}

static void mend(struct cluster *c)
{
    for (uint32_t i = 0; i < c->options.nodes; i++) {
        for (uint32_t j = 0; j < c->options.nodes; j++)
            c->cut[i][j] = false;
    }
}

static void disturb(struct cluster *c)
{
    int node = speaker(c);
    uint64_t what = below(c, 200);
    if (what < 8)
        cluster_crash(c, any_node(c));
    else if (what < 24)
        cluster_restart(c, any_node(c));
    else if (what < 30)
        partition(c);
    else if (what < 38)
        mend(c);
    else if (node < 0)
        return;
    else if (what < 42)
        cluster_transfer(c, (uint32_t)node, below(c, c->options.nodes + 1));
    else if (what < 50)
        change_members(c, (uint32_t)node);
    else if (what < 56)
        cluster_compact(c, (uint32_t)node, below(c, 5));
    else if (what < 58)
        cluster_event(c, (uint32_t)node,
                      (struct raft_event){.kind = RAFT_EVENT_UNREACHABLE, .peer = any_node(c) + 1});
    else if (what < 60)
        cluster_event(c, (uint32_t)node, (struct raft_event){.kind = RAFT_EVENT_STEP_DOWN});
    else if (what < 100)
        cluster_read(c, (uint32_t)node);
    else
        cluster_propose(c, (uint32_t)node, 1 + (uint32_t)below(c, 12), 1 + (uint32_t)below(c, 3000));
}

static struct cluster *storm(uint64_t seed, bool trace)
{
    static const uint64_t starts[] = {0, 0, 0, (1ULL << 32) - 40, (1ULL << 63) - 40, 1000};
    struct rk_random r = {.state = seed};
    struct cluster_options options = {
        .seed = seed,
        .voters = (uint32_t[]){1, 2, 3, 3, 3, 4, 5, 5}[rk_random_below(&r, 8)],
        .base_index = starts[rk_random_below(&r, RK_ARRAY_LEN(starts))],
        .loss = (uint32_t[]){0, 10, 100, 300}[rk_random_below(&r, 4)],
        .repeat = (uint32_t[]){0, 10, 200}[rk_random_below(&r, 3)],
        .delay_us = (uint64_t[]){500, 5000, 25000}[rk_random_below(&r, 3)],
        .disk_us = (uint64_t[]){100, 4000, 40000}[rk_random_below(&r, 3)],
        .window_messages = 1 + (uint32_t)rk_random_below(&r, 6),
        .lease_reads = rk_random_below(&r, 3) == 0,
        .trace = trace,
    };
    options.nodes = options.voters + (uint32_t)rk_random_below(&r, 3);
    struct cluster *c = cluster_new(&options);
    while (c->now_us < STORM_US) {
        disturb(c);
        cluster_run(c, c->now_us + 1 + below(c, 20000));
    }
    return c;
}

/* After healing everything moves again, and whatever was begun has ended. */
static void calm(struct cluster *c)
{
    cluster_heal(c);
    if (!cluster_settle(c, PATIENCE_US))
        cluster_fail(c, "no progress after healing (leader %d)", cluster_leader(c));
    for (uint32_t i = 0; i < c->options.nodes; i++) {
        if (c->nodes[i].transferring)
            cluster_fail(c, "node %u: a transfer has no end", i);
    }
}

static void test_storm_then_calm(void **state)
{
    (void)state;
    bool trace = getenv("RAFT_TRACE") != NULL;
    uint64_t only = env_number("RAFT_SEED", 0);
    uint64_t first = only != 0 ? only : env_number("RAFT_FIRST", 1);
    uint64_t count = only != 0 ? 1 : env_number("RAFT_SEEDS", 300);
    struct cluster sum = {0};
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct cluster *c = storm(seed, trace);
        calm(c);
        sum.steps += c->steps;
        sum.elections += c->elections;
        sum.proposals += c->proposals;
        sum.reads_ok += c->reads_ok;
        sum.snapshots += c->snapshots;
        sum.changes += c->changes;
        sum.joint_changes += c->joint_changes;
        sum.joint_ended += c->joint_ended;
        sum.aborts += c->aborts;
        sum.transfers_done += c->transfers_done;
        cluster_free(c);
    }
    print_message(
        "%llu seeds: %llu steps, %llu leaders, %llu batches, %llu reads, %llu snapshots, %llu changes "
        "(%llu joint, %llu ended, %llu aborted), %llu transfers\n",
        (unsigned long long)count, (unsigned long long)sum.steps, (unsigned long long)sum.elections,
        (unsigned long long)sum.proposals, (unsigned long long)sum.reads_ok,
        (unsigned long long)sum.snapshots, (unsigned long long)sum.changes,
        (unsigned long long)sum.joint_changes, (unsigned long long)sum.joint_ended,
        (unsigned long long)sum.aborts, (unsigned long long)sum.transfers_done);
    /* A storm that exercises nothing proves nothing. */
    if (count >= 100)
        assert_true(sum.joint_changes > count / 2 && sum.joint_ended > count / 4 &&
                    sum.aborts > count / 100 && sum.snapshots > count / 10 && sum.changes > count &&
                    sum.transfers_done > count / 10 && sum.reads_ok > count);
}

/* Equal events give equal outputs: a seed replays. */
static void test_a_seed_replays(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct cluster *a = storm(seed, false);
        struct cluster *b = storm(seed, false);
        assert_int_equal(a->digest, b->digest);
        assert_int_equal(a->steps, b->steps);
        cluster_free(a);
        cluster_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_storm_then_calm),
        cmocka_unit_test(test_a_seed_replays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
