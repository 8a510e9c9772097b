/* tests/unit/test_raft_transfer.c - handing leadership over (thesis 3.10) and giving it up. */
#include "tests/unit/raft_bench.h"

static void transfer(struct bench *b, uint64_t peer)
{
    bench_event(b, (struct raft_event){.kind = RAFT_EVENT_TRANSFER, .peer = peer});
}

static void ready_leader(struct bench *b)
{
    bench_init(b, (struct bench_start){.roles = "vvvl", .term = 1});
    bench_lead(b);
    bench_ack(b, 2, 1);
    bench_ack(b, 3, 1);
    bench_propose(b, 1, 5);
    bench_persist(b);
    bench_ack(b, 3, 2);
}

static void test_3_10_waits_for_the_target_and_refuses_proposals(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b);
    transfer(&b, 2);
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_NONE);
    assert_int_equal(bench_count(&b, RAFT_MSG_TIMEOUT_NOW), 0);
    assert_true(bench_status(&b).transferring);
    assert_int_equal(bench_propose(&b, 1, 1), RAFT_PROPOSE_TRANSFERRING);
    transfer(&b, 3);
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_REFUSED);
    bench_ack(&b, 2, 2);
    assert_int_equal(bench_sent(&b, RAFT_MSG_TIMEOUT_NOW, 0)->message.to, 2);
    /* Its candidacy deposes us; the outcome waits until somebody leads. */
    bench_message(
        &b, (struct raft_message){
                .kind = RAFT_MSG_VOTE, .from = 2, .term = 3, .index = 2, .log_term = 2, .transfer = true});
    assert_false(bench_sent(&b, RAFT_MSG_VOTE_REPLY, 0)->message.reject);
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_NONE);
    bench_append(&b, 2, 3, 2, 2, 0, (uint64_t[]){3, 0});
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_DONE);
    assert_false(bench_status(&b).transferring);
    bench_deinit(&b);
}

/* Row 34: a transfer always ends, and proposals go on. */
static void test_3_10_times_out(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b);
    transfer(&b, 3);
    assert_int_equal(bench_count(&b, RAFT_MSG_TIMEOUT_NOW), 1);
    uint64_t until = b.now_us + BENCH_ELECTION_US;
    while (b.now_us < until) {
        bench_deadline(&b);
        if (b.now_us < until)
            bench_message(&b, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT_REPLY, .from = 2, .term = 2});
    }
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_TIMED_OUT);
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    assert_int_equal(bench_propose(&b, 1, 1), RAFT_PROPOSE_OK);
    bench_deinit(&b);
}

/* Also when nobody leads afterwards. */
static void test_times_out_without_a_leader(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b);
    transfer(&b, 3);
    bench_message(&b,
                  (struct raft_message){.kind = RAFT_MSG_APPEND_REPLY, .from = 3, .term = 9, .reject = true});
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_NONE);
    assert_true(raft_deadline(b.raft) <= b.now_us + BENCH_ELECTION_US);
    bench_tick(&b, BENCH_ELECTION_US);
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_TIMED_OUT);
    bench_deinit(&b);
}

static void test_refusals(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b);
    transfer(&b, 1);
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_ALREADY);
    transfer(&b, 4); /* a learner */
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_REFUSED);
    transfer(&b, 9);
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_REFUSED);
    transfer(&b, 0); /* the best: 3 has all of the log */
    assert_int_equal(bench_sent(&b, RAFT_MSG_TIMEOUT_NOW, 0)->message.to, 3);
    bench_deinit(&b);
    bench_init(&b, (struct bench_start){.roles = "v", .term = 1});
    bench_lead(&b);
    transfer(&b, 0);
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_REFUSED);
    bench_deinit(&b);
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    transfer(&b, 2);
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_REFUSED);
    bench_deinit(&b);
}

/* Row 9: the target campaigns at once, without prevote, and says so. */
static void test_target_skips_prevote(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 2});
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_TIMEOUT_NOW, .from = 2, .term = 2});
    assert_int_equal(bench_status(&b).role, RAFT_CANDIDATE);
    assert_int_equal(bench_status(&b).term, 3);
    assert_int_equal(bench_count(&b, RAFT_MSG_VOTE), 2);
    assert_true(bench_sent(&b, RAFT_MSG_VOTE, 0)->message.transfer);
    bench_message(&b,
                  (struct raft_message){.kind = RAFT_MSG_TIMEOUT_NOW, .from = 2, .term = 2}); /* repeated */
    assert_int_equal(bench_status(&b).term, 3);
    bench_deinit(&b);
}

/* Row 96: trouble with the disk: lead no more, name a successor, and let the others go first. */
static void test_step_down(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_STEP_DOWN});
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    assert_int_equal(bench_sent(&b, RAFT_MSG_TIMEOUT_NOW, 0)->message.to, 3);
    assert_true(raft_deadline(b.raft) >= b.now_us + 3 * BENCH_ELECTION_US);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_STEP_DOWN});
    assert_int_equal(b.out.message_count, 0);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_3_10_waits_for_the_target_and_refuses_proposals),
        cmocka_unit_test(test_3_10_times_out),
        cmocka_unit_test(test_times_out_without_a_leader),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_target_skips_prevote),
        cmocka_unit_test(test_step_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
