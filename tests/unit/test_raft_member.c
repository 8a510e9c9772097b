/* tests/unit/test_raft_member.c - configurations in the log. Numbers as in test_raft_election.c. */
#include "tests/unit/raft_bench.h"

static void ready_leader(struct bench *b, const char *roles)
{
    bench_init(b, (struct bench_start){.roles = roles, .term = 1});
    bench_lead(b);
    for (uint64_t id = 2; id <= 5 && !bench_status(b).ready; id++)
        bench_ack(b, id, 1);
    assert_true(bench_status(b).ready);
}

static void append_members(struct bench *b, uint64_t term, uint64_t index, uint64_t log_term,
                           const char *roles)
{
    struct raft_members members = bench_members(roles);
    struct raft_entry e = {.index = index + 1, .term = term, .kind = RAFT_ENTRY_MEMBERS, .members = &members};
    bench_message(b, (struct raft_message){.kind = RAFT_MSG_APPEND,
                                           .from = 2,
                                           .term = term,
                                           .index = index,
                                           .log_term = log_term,
                                           .count = 1,
                                           .entries = &e});
}

/* Row 52: no change before an entry of the own term is committed, none while one is pending, one voter at a
 * time. */
static void test_change_is_refused(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    assert_int_equal(bench_change(&b, "vvvv"), RAFT_PROPOSE_NOT_LEADER);
    bench_lead(&b);
    assert_int_equal(bench_change(&b, "vvvv"), RAFT_PROPOSE_NOT_READY);
    bench_ack(&b, 2, 1);
    assert_int_equal(bench_change(&b, "vvvvv"), RAFT_PROPOSE_BAD_CHANGE);
    assert_int_equal(bench_change(&b, ""), RAFT_PROPOSE_BAD_CHANGE);
    assert_int_equal(bench_change(&b, "vvvv"), RAFT_PROPOSE_OK);
    assert_true(b.out.members_changed);
    assert_int_equal(bench_change(&b, "vvv"), RAFT_PROPOSE_CHANGE_PENDING);
    assert_int_equal(bench_propose(&b, 1, 1), RAFT_PROPOSE_OK);
    bench_persist(&b);
    bench_ack(&b, 2, 3); /* two of four */
    assert_int_equal(bench_change(&b, "vvv"), RAFT_PROPOSE_CHANGE_PENDING);
    bench_ack(&b, 3, 3);
    assert_int_equal(bench_change(&b, "vvv"), RAFT_PROPOSE_OK);
    struct raft_entry mixed[2] = {{.kind = RAFT_ENTRY_COMMAND},
                                  {.kind = RAFT_ENTRY_MEMBERS, .members = &b.members}};
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_PROPOSE, .entries = mixed, .count = 2});
    assert_int_not_equal(b.out.propose_outcome, RAFT_PROPOSE_OK);
    bench_deinit(&b);
}

/* Thesis 4.1: in force from the append on: the new voter is sent entries and counts at once. */
static void test_4_1_in_force_when_appended(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "v");
    assert_int_equal(bench_change(&b, "vv"), RAFT_PROPOSE_OK);
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND, 0)->message.to, 2);
    bench_persist(&b);
    assert_int_equal(bench_status(&b).commit, 1);
    bench_ack(&b, 2, 2);
    assert_int_equal(bench_status(&b).commit, 2);
    bench_deinit(&b);
}

/* Thesis 4.1, row 56: rolled back with its entry; and a leader starts from the last in its log, committed or
 * not. */
static void test_4_1_rolled_back_when_truncated(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    append_members(&b, 1, 0, 0, "vvvv");
    assert_int_equal(raft_members(b.raft)->count, 4);
    assert_true(b.out.members_changed);
    bench_append(&b, 3, 2, 0, 0, 0, (uint64_t[]){2, 0});
    assert_true(b.out.members_changed);
    assert_int_equal(raft_members(b.raft)->count, 3);
    append_members(&b, 2, 1, 2, "vvl");
    bench_append(&b, 2, 2, 2, 2, 0, (uint64_t[]){2, 0});
    assert_false(b.out.members_changed);
    assert_int_equal(raft_members_voters(raft_members(b.raft)), 2);
    bench_deinit(&b);
}

/* Row 55, thesis 4.2.2: a leader that removes itself counts the others only, and goes when that is committed.
 */
static void test_4_2_2_leader_removes_itself(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "vvv");
    bench_ack(&b, 3, 1);
    assert_int_equal(bench_change(&b, ".vv"), RAFT_PROPOSE_OK);
    bench_persist(&b);
    bench_ack(&b, 2, 2);
    assert_int_equal(bench_status(&b).role, RAFT_LEADER); /* one of two: itself is not counted */
    assert_int_equal(bench_status(&b).commit, 1);
    bench_ack(&b, 3, 2);
    assert_int_equal(bench_status(&b).commit, 2);
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    assert_int_equal(bench_count(&b, RAFT_MSG_HEARTBEAT), 2);   /* the others learn of the commit */
    assert_int_equal(bench_count(&b, RAFT_MSG_TIMEOUT_NOW), 1); /* and one takes over */
    assert_int_equal(raft_deadline(b.raft), RK_NEVER);
    bench_deinit(&b);
}

/* Row 54: of two members the leader removes the other: it commits alone and goes on. */
static void test_removing_one_of_two(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "vv");
    assert_int_equal(bench_change(&b, "v"), RAFT_PROPOSE_OK);
    struct raft_peer_status peer;
    assert_false(raft_peer_status(b.raft, 2, &peer)); /* row 70 */
    bench_persist(&b);
    assert_int_equal(bench_status(&b).commit, 2);
    bench_tick(&b, 10 * BENCH_ELECTION_US);
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    assert_int_equal(raft_deadline(b.raft), RK_NEVER);
    bench_deinit(&b);
}

/* Row 14, thesis 4.2.2: a leader of two that appended its own removal and restarted has the only log that can
 * win. */
static void test_4_2_2_removed_by_uncommitted_still_electable(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vv", .term = 1});
    append_members(&b, 1, 0, 0, ".v");
    bench_deadline(&b);
    assert_int_equal(bench_status(&b).role, RAFT_PRE_CANDIDATE);
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_PREVOTE_REPLY, .from = 2, .term = 2});
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_VOTE_REPLY, .from = 2, .term = 2});
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    bench_persist(&b);
    assert_int_equal(bench_status(&b).commit, 0);
    bench_ack(&b, 2, 2);
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    bench_deinit(&b);

    /* Known to be committed, it is over. */
    bench_init(&b, (struct bench_start){.roles = "vv", .term = 1});
    append_members(&b, 1, 0, 0, ".v");
    bench_append(&b, 2, 1, 1, 1, 1, NULL);
    bench_deadline(&b);
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    assert_int_equal(b.out.message_count, 0);
    bench_deinit(&b);
}

/* Rows 13, 58: learners get the log and count for nothing. */
static void test_learners_do_not_count(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "vvvll");
    bench_propose(&b, 1, 5);
    bench_persist(&b);
    bench_ack(&b, 4, 2);
    bench_ack(&b, 5, 2);
    assert_int_equal(bench_peer(&b, 4).match, 2);
    assert_int_equal(bench_status(&b).commit, 1);
    for (int i = 0; i < 20 && bench_status(&b).role == RAFT_LEADER; i++) { /* nor for check quorum */
        bench_deadline(&b);
        bench_message(&b, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT_REPLY, .from = 4, .term = 2});
    }
    assert_int_equal(bench_status(&b).leader, 0);
    bench_deinit(&b);
}

/* A removed member's higher term must not depose the leader. */
static void test_removed_member_cannot_depose(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "vvv");
    bench_message(
        &b, (struct raft_message){.kind = RAFT_MSG_APPEND_REPLY, .from = 9, .term = 50, .reject = true});
    bench_message(
        &b, (struct raft_message){.kind = RAFT_MSG_VOTE, .from = 9, .term = 50, .index = 99, .log_term = 49});
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    assert_int_equal(bench_status(&b).term, 2);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_change_is_refused),
        cmocka_unit_test(test_4_1_in_force_when_appended),
        cmocka_unit_test(test_4_1_rolled_back_when_truncated),
        cmocka_unit_test(test_4_2_2_leader_removes_itself),
        cmocka_unit_test(test_removing_one_of_two),
        cmocka_unit_test(test_4_2_2_removed_by_uncommitted_still_electable),
        cmocka_unit_test(test_learners_do_not_count),
        cmocka_unit_test(test_removed_member_cannot_depose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
