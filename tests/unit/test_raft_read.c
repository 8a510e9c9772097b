/* tests/unit/test_raft_read.c - linearizable reads (thesis 6.4). Numbers as in test_raft_election.c. */
#include "tests/unit/raft_bench.h"

static void ask(struct bench *b, uint64_t ticket)
{
    bench_event(b, (struct raft_event){.kind = RAFT_EVENT_READ, .ticket = ticket});
}

static void confirm(struct bench *b, uint64_t from, uint64_t token)
{
    bench_message(
        b, (struct raft_message){
               .kind = RAFT_MSG_HEARTBEAT_REPLY, .from = from, .term = bench_status(b).term, .token = token});
}

static void expect(const struct bench *b, uint32_t n, uint64_t ticket, uint64_t index,
                   enum raft_read_outcome outcome)
{
    assert_true(b->out.read_count > n);
    assert_int_equal(b->out.reads[n].ticket, ticket);
    assert_int_equal(b->out.reads[n].outcome, outcome);
    assert_int_equal(b->out.reads[n].index, index);
}

static void ready_leader(struct bench *b)
{
    bench_init(b, (struct bench_start){.roles = "vvvl", .term = 1});
    bench_lead(b);
    bench_ack(b, 2, 1);
}

/* Row 45: one quorum round after the read was asked; learners prove nothing. */
static void test_6_4_a_read_takes_a_round(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b);
    ask(&b, 7);
    assert_int_equal(b.out.read_count, 0);
    assert_int_equal(bench_count(&b, RAFT_MSG_HEARTBEAT), 2); /* the voters */
    uint64_t token = bench_sent(&b, RAFT_MSG_HEARTBEAT, 0)->message.token;
    confirm(&b, 4, token);
    confirm(&b, 2, token - 1);
    confirm(&b, 2, token + 1000); /* never sent */
    assert_int_equal(b.out.read_count, 0);
    confirm(&b, 3, token);
    expect(&b, 0, 7, 1, RAFT_READ_OK);
    bench_deinit(&b);
}

/* Row 46: a round that was out when a read came proves nothing for it; all that came meanwhile share the
 * next. */
static void test_6_4_reads_share_the_next_round(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b);
    ask(&b, 1);
    uint64_t first = bench_sent(&b, RAFT_MSG_HEARTBEAT, 0)->message.token;
    bench_propose(&b, 1, 1);
    bench_persist(&b);
    bench_ack(&b, 2, 2);
    ask(&b, 2);
    ask(&b, 3);
    assert_int_equal(bench_count(&b, RAFT_MSG_HEARTBEAT), 0);
    confirm(&b, 2, first);
    assert_int_equal(b.out.read_count, 1);
    expect(&b, 0, 1, 1, RAFT_READ_OK);
    assert_int_equal(bench_count(&b, RAFT_MSG_HEARTBEAT), 2);
    uint64_t second = bench_sent(&b, RAFT_MSG_HEARTBEAT, 0)->message.token;
    assert_true(second > first);
    confirm(&b, 3, first);
    assert_int_equal(b.out.read_count, 0);
    confirm(&b, 3, second);
    assert_int_equal(b.out.read_count, 2);
    expect(&b, 0, 2, 2, RAFT_READ_OK);
    expect(&b, 1, 3, 2, RAFT_READ_OK);
    bench_deinit(&b);
}

/* A lost round is made good by the next heartbeat. */
static void test_lost_round(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b);
    ask(&b, 1);
    ask(&b, 2);
    bench_tick(&b, BENCH_HEARTBEAT_US);
    confirm(&b, 2, bench_sent(&b, RAFT_MSG_HEARTBEAT, 0)->message.token);
    assert_int_equal(b.out.read_count, 2);
    bench_deinit(&b);
}

/* Row 44: held until an entry of the own term is committed. */
static void test_6_4_held_until_ready(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1, .terms = (uint64_t[]){1, 1, 0}});
    bench_lead(&b);
    ask(&b, 5);
    ask(&b, 6);
    assert_int_equal(b.out.message_count, 0);
    bench_tick(&b, BENCH_HEARTBEAT_US);
    confirm(&b, 2, bench_sent(&b, RAFT_MSG_HEARTBEAT, 0)->message.token);
    assert_int_equal(b.out.read_count, 0);
    bench_ack(&b, 2, 3);
    const struct raft_out_message *m = NULL;
    for (uint32_t i = 0; i < bench_count(&b, RAFT_MSG_HEARTBEAT); i++) {
        if (bench_sent(&b, RAFT_MSG_HEARTBEAT, i)->message.token != 0)
            m = bench_sent(&b, RAFT_MSG_HEARTBEAT, i);
    }
    assert_non_null(m);
    confirm(&b, 3, m->message.token);
    assert_int_equal(b.out.read_count, 2);
    expect(&b, 1, 6, 3, RAFT_READ_OK);
    bench_deinit(&b);
}

/* Row 47: leadership lost, every waiting read is told; a follower refuses at once. */
static void test_reads_fail_with_leadership(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b);
    ask(&b, 1);
    ask(&b, 2);
    bench_append(&b, 2, 9, 1, 2, 0, NULL);
    assert_int_equal(b.out.read_count, 2);
    expect(&b, 0, 1, 0, RAFT_READ_NOT_LEADER);
    expect(&b, 1, 2, 0, RAFT_READ_NOT_LEADER);
    ask(&b, 3);
    expect(&b, 0, 3, 0, RAFT_READ_NOT_LEADER);
    bench_deinit(&b);
}

static void test_single_voter_reads_at_once(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "v", .term = 1});
    bench_tick(&b, 0);
    ask(&b, 1);
    assert_int_equal(b.out.read_count, 0);
    bench_persist(&b);
    expect(&b, 0, 1, 1, RAFT_READ_OK);
    ask(&b, 2);
    expect(&b, 0, 2, 1, RAFT_READ_OK);
    bench_deinit(&b);
}

/* Row 49: the voters asked are those of the configuration in force; removing them lets a read go on. */
static void test_reads_follow_the_configuration(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vv", .term = 1});
    bench_lead(&b);
    bench_ack(&b, 2, 1);
    ask(&b, 1);
    bench_change(&b, "v");
    expect(&b, 0, 1, 1, RAFT_READ_OK);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_6_4_a_read_takes_a_round),
        cmocka_unit_test(test_6_4_reads_share_the_next_round),
        cmocka_unit_test(test_lost_round),
        cmocka_unit_test(test_6_4_held_until_ready),
        cmocka_unit_test(test_reads_fail_with_leadership),
        cmocka_unit_test(test_single_voter_reads_at_once),
        cmocka_unit_test(test_reads_follow_the_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
