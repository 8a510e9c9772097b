/* tests/unit/test_raft_lease.c - reads by lease (thesis 6.4.1), priorities, and a disk that hangs. */
#include "tests/unit/raft_bench.h"

static void reply(struct bench *b, uint64_t from, uint64_t token, bool lease)
{
    bench_message(b, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT_REPLY,
                                           .from = from,
                                           .term = bench_status(b).term,
                                           .token = token,
                                           .lease = lease});
}

static void ready(struct bench *b, struct bench_start start)
{
    start.term = 1;
    bench_init(b, start);
    bench_lead(b);
    bench_ack(b, 2, 1);
    bench_ack(b, 3, 1);
    assert_true(bench_status(b).ready);
}

/* A round of heartbeats, answered by 2 with or without a promise. */
static void round_of(struct bench *b, bool lease)
{
    bench_tick(b, BENCH_HEARTBEAT_US);
    reply(b, 2, bench_sent(b, RAFT_MSG_HEARTBEAT, 0)->message.token, lease);
}

static bool reads_at_once(struct bench *b)
{
    static uint64_t ticket;
    bench_event(b, (struct raft_event){.kind = RAFT_EVENT_READ, .ticket = ++ticket});
    return b->out.read_count == 1 && b->out.reads[0].outcome == RAFT_READ_OK;
}

static void test_6_4_1_lease_reads(void **state)
{
    (void)state;
    struct bench b;
    ready(&b, (struct bench_start){.roles = "vvv", .lease_reads = true});
    assert_false(reads_at_once(&b)); /* nobody has promised anything yet */
    round_of(&b, true);
    assert_true(reads_at_once(&b));
    b.now_us += BENCH_ELECTION_US * 8 / 10 - 1; /* from when the round left, not from its answer */
    assert_true(reads_at_once(&b));
    b.now_us += 1;
    assert_false(reads_at_once(&b));
    bench_deinit(&b);
}

/* Off by default; and a promise counts only where it was made. */
static void test_no_lease_without_promises(void **state)
{
    (void)state;
    struct bench b;
    ready(&b, (struct bench_start){.roles = "vvv"});
    round_of(&b, true);
    assert_false(reads_at_once(&b));
    bench_deinit(&b);
    ready(&b, (struct bench_start){.roles = "vvv", .lease_reads = true});
    round_of(&b, false);
    assert_false(reads_at_once(&b));
    bench_deinit(&b);
}

/* Row 48: revoked before a transfer, and for the rest of the term when the target was told. */
static void test_no_lease_in_and_after_a_transfer(void **state)
{
    (void)state;
    struct bench b;
    ready(&b, (struct bench_start){.roles = "vvv", .lease_reads = true});
    round_of(&b, true);
    assert_true(reads_at_once(&b));
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_TRANSFER, .peer = 2});
    assert_int_equal(bench_count(&b, RAFT_MSG_TIMEOUT_NOW), 1);
    assert_false(reads_at_once(&b));
    for (int i = 0; i < 4; i++)
        round_of(&b, true);
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    assert_false(bench_status(&b).transferring); /* it has timed out, the message may still be on its way */
    assert_false(reads_at_once(&b));
    bench_deinit(&b);
}

static void ask_vote(struct bench *b, uint64_t from, uint64_t term, bool transfer)
{
    bench_message(b, (struct raft_message){.kind = RAFT_MSG_VOTE,
                                           .from = from,
                                           .term = term,
                                           .index = 9,
                                           .log_term = term - 1,
                                           .transfer = transfer});
}

static bool granted(const struct bench *b)
{
    return bench_count(b, RAFT_MSG_VOTE_REPLY) == 1 && !bench_sent(b, RAFT_MSG_VOTE_REPLY, 0)->message.reject;
}

/* The promise outlives the memory of the leader: a later term that says nothing of a leader, and a restart.
 */
static void test_promise_is_kept(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1, .lease_reads = true});
    ask_vote(&b, 3, 2, false); /* just started: it may have promised */
    assert_false(granted(&b));
    b.now_us += BENCH_ELECTION_US;
    bench_append(&b, 2, 1, 0, 0, 0, NULL);
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT, .from = 2, .term = 1, .token = 5});
    assert_true(bench_sent(&b, RAFT_MSG_HEARTBEAT_REPLY, 0)->message.lease);
    bench_message(&b,
                  (struct raft_message){.kind = RAFT_MSG_APPEND_REPLY, .from = 3, .term = 4, .reject = true});
    assert_int_equal(bench_status(&b).term, 4);
    assert_int_equal(bench_status(&b).leader, 0);
    ask_vote(&b, 3, 5, false);
    assert_false(granted(&b));
    b.now_us += BENCH_ELECTION_US;
    ask_vote(&b, 3, 5, false);
    assert_true(granted(&b));
    bench_append(&b, 2, 6, 0, 0, 0, NULL);
    ask_vote(&b, 3, 7, true); /* a transfer: the leader knows */
    assert_true(granted(&b));
    bench_deinit(&b);
}

/* ---- priorities ------------------------------------------------------------------------------- */

static void test_outranked_waits_longer(void **state)
{
    (void)state;
    static const uint8_t low[] = {1, 2, 2}, high[] = {2, 2, 1};
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .priorities = low});
    assert_true(raft_deadline(b.raft) >= b.now_us + 2 * BENCH_ELECTION_US);
    bench_deadline(&b); /* but it does campaign */
    assert_int_equal(bench_status(&b).role, RAFT_PRE_CANDIDATE);
    bench_deinit(&b);
    bench_init(&b, (struct bench_start){.roles = "vvv", .priorities = high});
    assert_true(raft_deadline(b.raft) < b.now_us + 2 * BENCH_ELECTION_US);
    bench_deinit(&b);
}

/* To the one that ranks highest of those that are there and caught up. */
static void test_outranked_leader_hands_over(void **state)
{
    (void)state;
    static const uint8_t ranks[] = {1, 2, 3};
    struct bench b;
    ready(&b, (struct bench_start){.roles = "vvv", .priorities = ranks});
    for (int i = 0; i < 3; i++)
        round_of(&b, false); /* 3 is silent */
    bench_tick(&b, BENCH_HEARTBEAT_US);
    assert_int_equal(bench_count(&b, RAFT_MSG_TIMEOUT_NOW), 1);
    assert_int_equal(bench_sent(&b, RAFT_MSG_TIMEOUT_NOW, 0)->message.to, 2);
    assert_int_equal(bench_propose(&b, 1, 1), RAFT_PROPOSE_TRANSFERRING);
    for (int i = 0; i < 6; i++)
        round_of(&b, false); /* 2 does not take over: we lead on, and take proposals for a good while */
    for (int i = 0; i < 20; i++) {
        round_of(&b, false);
        assert_int_equal(bench_count(&b, RAFT_MSG_TIMEOUT_NOW), 0);
        assert_false(bench_status(&b).transferring);
    }
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    bench_deinit(&b);
}

static void test_lagging_or_equal_is_not_handed_to(void **state)
{
    (void)state;
    static const uint8_t ranks[] = {1, 2, 1};
    struct bench b;
    ready(&b, (struct bench_start){.roles = "vvv", .priorities = ranks});
    bench_propose(&b, 1, 1);
    bench_persist(&b);
    bench_ack(&b, 3, 2); /* committed without 2 */
    for (int i = 0; i < 12; i++) {
        round_of(&b, false);
        reply(&b, 3, 0, false);
        assert_false(bench_status(&b).transferring);
    }
    bench_ack(&b, 2, 2);
    for (int i = 0; i < 3 && !bench_status(&b).transferring; i++)
        round_of(&b, false);
    assert_true(bench_status(&b).transferring);
    bench_deinit(&b);
}

/* ---- the disk ----------------------------------------------------------------------------------- */

/* A leader whose disk takes nothing for an election timeout gives up, within two, and asks another to lead.
 */
static void test_leader_whose_disk_hangs_gives_up(void **state)
{
    (void)state;
    struct bench b;
    ready(&b, (struct bench_start){.roles = "vvv"});
    for (int i = 0; i < 12; i++) { /* idle is not hanging */
        round_of(&b, false);
        reply(&b, 3, 0, false);
    }
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    bench_propose(&b, 1, 1);
    uint64_t since_us = b.now_us;
    bool asked = false;
    while (bench_status(&b).role == RAFT_LEADER) {
        bench_deadline(&b);
        asked = asked || bench_count(&b, RAFT_MSG_TIMEOUT_NOW) > 0;
        assert_true(b.now_us - since_us < 2 * BENCH_ELECTION_US);
        if (bench_status(&b).role == RAFT_LEADER) {
            bench_ack(&b, 2, 2);
            bench_ack(&b, 3, 2);
        }
    }
    assert_true(asked && b.now_us - since_us >= BENCH_ELECTION_US);
    bench_deinit(&b);
}

/* Slow is not hanging: as long as something comes through it leads. And alone there is nobody to ask. */
static void test_slow_disk_leads_on(void **state)
{
    (void)state;
    struct bench b;
    ready(&b, (struct bench_start){.roles = "vvv"});
    bench_propose(&b, 1, 1);
    for (int i = 0; i < 20; i++) {
        bench_propose(&b, 1, 1);
        round_of(&b, false);
        reply(&b, 3, 0, false);
        round_of(&b, false);
        reply(&b, 3, 0, false);
        struct raft_status s = bench_status(&b);
        bench_event(&b, (struct raft_event){
                            .kind = RAFT_EVENT_PERSISTED, .index = s.persisted + 1, .term = s.last_term});
    }
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    assert_true(bench_status(&b).persisted < bench_status(&b).last_index);
    bench_deinit(&b);
    bench_init(&b, (struct bench_start){.roles = "vl", .term = 1});
    bench_lead(&b);
    bench_propose(&b, 1, 1);
    for (int i = 0; i < 20; i++)
        bench_tick(&b, BENCH_HEARTBEAT_US);
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    bench_deinit(&b);
}

/* ---- what is on its way --------------------------------------------------------------------------- */

/* A bound on all peers together; whoever has nothing out may always have one message. */
static void test_window_of_all_peers(void **state)
{
    (void)state;
    struct bench b;
    ready(&b, (struct bench_start){.roles = "vvv", .inflight_all_bytes = 1500});
    for (int i = 0; i < 6; i++)
        bench_propose(&b, 1, 500);
    assert_int_equal(bench_peer(&b, 2).inflight_bytes + bench_peer(&b, 3).inflight_bytes, 1500);
    assert_true(bench_peer(&b, 3).inflight_bytes >= 500);
    bench_ack(&b, 3, bench_peer(&b, 3).next - 1); /* 2 is stuck: 3 goes on, message by message */
    assert_true(bench_peer(&b, 3).inflight_bytes >= 500);
    for (int i = 0; i < 8; i++)
        bench_ack(&b, 3, bench_peer(&b, 3).next - 1);
    assert_int_equal(bench_peer(&b, 3).match, 7);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_6_4_1_lease_reads),
        cmocka_unit_test(test_no_lease_without_promises),
        cmocka_unit_test(test_no_lease_in_and_after_a_transfer),
        cmocka_unit_test(test_promise_is_kept),
        cmocka_unit_test(test_outranked_waits_longer),
        cmocka_unit_test(test_outranked_leader_hands_over),
        cmocka_unit_test(test_lagging_or_equal_is_not_handed_to),
        cmocka_unit_test(test_leader_whose_disk_hangs_gives_up),
        cmocka_unit_test(test_slow_disk_leads_on),
        cmocka_unit_test(test_window_of_all_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
