/* tests/unit/test_raft_election.c - votes, terms and timeouts. "Row n" is a row of the catalogue of failures
 * that other systems have had; sections are of the raft paper unless the thesis is named. */
#include "tests/unit/raft_bench.h"

static struct raft_message prevote(uint64_t from, uint64_t term, uint64_t index, uint64_t log_term)
{
    return (struct raft_message){
        .kind = RAFT_MSG_PREVOTE, .from = from, .term = term, .index = index, .log_term = log_term};
}

static struct raft_message vote(uint64_t from, uint64_t term, uint64_t index, uint64_t log_term)
{
    return (struct raft_message){
        .kind = RAFT_MSG_VOTE, .from = from, .term = term, .index = index, .log_term = log_term};
}

static struct raft_message heartbeat(uint64_t from, uint64_t term)
{
    return (struct raft_message){.kind = RAFT_MSG_HEARTBEAT, .from = from, .term = term, .token = 1};
}

/* What the last VOTE or PREVOTE was answered: 1 yes, 0 no, -1 nothing. */
static int answered(const struct bench *b, enum raft_message_kind kind)
{
    const struct raft_out_message *m = bench_sent(b, kind, 0);
    return m == NULL ? -1 : !m->message.reject;
}

/* 5.2: waits are random within [timeout, 2 * timeout) and drawn anew each time (row 16). */
static void test_5_2_timeouts_are_redrawn(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    uint64_t first = 0;
    bool differ = false;
    for (int i = 0; i < 20; i++) {
        uint64_t wait = raft_deadline(b.raft) - b.now_us;
        assert_true(wait >= BENCH_ELECTION_US && wait < 2 * BENCH_ELECTION_US);
        differ = differ || (first != 0 && wait != first);
        first = wait;
        bench_deadline(&b);
    }
    assert_true(differ);
    assert_int_equal(bench_status(&b).term, 1); /* prevotes alone raise no term */
    bench_deinit(&b);
}

static void test_5_2_election_by_majority(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvvvv", .term = 4});
    bench_deadline(&b);
    assert_int_equal(bench_status(&b).role, RAFT_PRE_CANDIDATE);
    assert_int_equal(bench_count(&b, RAFT_MSG_PREVOTE), 4);
    assert_false(b.out.vote_changed);
    struct raft_message yes = {.kind = RAFT_MSG_PREVOTE_REPLY, .from = 2, .term = 5};
    bench_message(&b, yes);
    bench_message(&b, yes); /* twice is once */
    assert_int_equal(bench_status(&b).role, RAFT_PRE_CANDIDATE);
    yes.from = 3;
    bench_message(&b, yes);
    assert_int_equal(bench_status(&b).role, RAFT_CANDIDATE);
    assert_true(b.out.vote_changed);
    assert_int_equal(b.out.vote.term, 5);
    assert_int_equal(b.out.vote.voted_for, 1);
    assert_int_equal(bench_count(&b, RAFT_MSG_VOTE), 4);
    assert_int_equal(bench_sent(&b, RAFT_MSG_VOTE, 0)->send, RAFT_SEND_DURABLE);
    yes.kind = RAFT_MSG_VOTE_REPLY;
    bench_message(&b, yes);
    yes.from = 9; /* row 18: nobody's vote */
    bench_message(&b, yes);
    assert_int_equal(bench_status(&b).role, RAFT_CANDIDATE);
    yes.from = 5;
    bench_message(&b, yes);
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    assert_int_equal(b.out.append_count, 1);
    assert_int_equal(b.out.append[0].kind, RAFT_ENTRY_NOOP);
    assert_int_equal(b.out.append_source, RAFT_NO_SOURCE);
    assert_int_equal(bench_count(&b, RAFT_MSG_APPEND), 4);
    bench_deinit(&b);
}

/* Row 20: one voter leads at once, but has committed only what its disk has, and tells learners only then. */
static void test_single_voter_leads_at_once(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vl", .term = 3, .terms = (uint64_t[]){1, 2, 0}});
    assert_int_equal(raft_deadline(b.raft), b.now_us);
    bench_tick(&b, 0);
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    assert_true(b.out.vote_changed);
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND, 0)->send, RAFT_SEND_DURABLE);
    assert_int_equal(bench_status(&b).commit, 0);
    assert_int_equal(bench_propose(&b, 1, 5), RAFT_PROPOSE_OK);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_PERSISTED, .index = 3, .term = 4});
    assert_int_equal(b.out.commit, 3);
    bench_persist(&b);
    assert_int_equal(b.out.commit, 4);
    bench_deinit(&b);
}

/* 5.2: one vote a term; the same candidate gets the same answer again (row 17); grants wait for the disk (row
 * 2). */
static void test_5_2_one_vote_a_term(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_message(&b, vote(2, 2, 0, 0));
    assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), 1);
    assert_int_equal(bench_sent(&b, RAFT_MSG_VOTE_REPLY, 0)->send, RAFT_SEND_DURABLE);
    assert_true(b.out.vote_changed);
    assert_int_equal(b.out.vote.voted_for, 2);
    bench_message(&b, vote(2, 2, 0, 0));
    assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), 1);
    assert_false(b.out.vote_changed);
    bench_message(&b, vote(3, 2, 0, 0));
    assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), 0);
    bench_message(&b, vote(3, 1, 0, 0)); /* an old term is told ours */
    assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), 0);
    assert_int_equal(bench_sent(&b, RAFT_MSG_VOTE_REPLY, 0)->message.term, 2);
    bench_message(&b, vote(3, 3, 0, 0));
    assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), 1);
    bench_deinit(&b);
}

static void test_vote_survives_restart(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 2, .voted_for = 3});
    bench_message(&b, vote(2, 2, 0, 0));
    assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), 0);
    bench_message(&b, vote(3, 2, 0, 0));
    assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), 1);
    bench_deinit(&b);
}

/* 5.4.1, row 3: the term of the last entry decides before the length of the log. Own log: 3 entries, last
 * term 2. */
static void test_5_4_1_up_to_date(void **state)
{
    (void)state;
    static const struct {
        uint64_t index, term;
        int yes;
    } cases[] = {{3, 2, 1}, {4, 2, 1}, {2, 2, 0}, {1, 3, 1}, {9, 1, 0}, {0, 0, 0}, {3, 3, 1}, {3, 1, 0}};
    for (uint32_t i = 0; i < RK_ARRAY_LEN(cases); i++) {
        struct bench b;
        bench_init(&b, (struct bench_start){.roles = "vvv", .term = 4, .terms = (uint64_t[]){1, 1, 2, 0}});
        bench_message(&b, prevote(2, 5, cases[i].index, cases[i].term));
        assert_int_equal(answered(&b, RAFT_MSG_PREVOTE_REPLY), cases[i].yes);
        bench_message(&b, vote(2, 5, cases[i].index, cases[i].term));
        assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), cases[i].yes);
        bench_deinit(&b);
    }
}

/* Thesis 4.2.3: whoever has heard a leader within the election timeout ignores candidates, but for a
 * transfer. */
static void test_4_2_3_stickiness(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_message(&b, heartbeat(2, 2));
    b.now_us += BENCH_ELECTION_US - 1;
    bench_message(&b, prevote(3, 3, 9, 2));
    assert_int_equal(answered(&b, RAFT_MSG_PREVOTE_REPLY), -1);
    bench_message(&b, vote(3, 3, 9, 2));
    assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), -1);
    assert_int_equal(bench_status(&b).term, 2);
    struct raft_message m = vote(3, 3, 9, 2);
    m.transfer = true; /* row 9 */
    bench_message(&b, m);
    assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), 1);
    bench_message(&b, heartbeat(3, 3));
    b.now_us += BENCH_ELECTION_US;
    bench_message(&b, prevote(2, 4, 9, 2));
    assert_int_equal(answered(&b, RAFT_MSG_PREVOTE_REPLY), 1);
    bench_deinit(&b);
}

/* Row 8: a leader that restarted at once asks while its followers still think that it leads. */
static void test_restarted_leader_is_not_locked_out(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_message(&b, heartbeat(2, 2));
    bench_message(&b, prevote(2, 3, 0, 0));
    assert_int_equal(answered(&b, RAFT_MSG_PREVOTE_REPLY), 1);
    bench_message(&b, vote(2, 3, 0, 0));
    assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), 1);
    bench_deinit(&b);
}

/* Row 5: a pre-candidate has forgotten its leader, so it helps others. */
static void test_pre_candidate_forgets_its_leader(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_message(&b, heartbeat(2, 2));
    assert_int_equal(bench_status(&b).leader, 2);
    bench_deadline(&b);
    assert_int_equal(bench_status(&b).leader, 0);
    assert_true(b.out.role_changed);
    bench_message(&b, prevote(3, 3, 0, 0));
    assert_int_equal(answered(&b, RAFT_MSG_PREVOTE_REPLY), 1);
    bench_deinit(&b);
}

/* Row 6: refusals carry the term, to a stale member even from one that is sticky; and the stale one catches
 * up. */
static void test_prevote_refusal_carries_the_term(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 7});
    bench_message(&b, heartbeat(2, 7));
    bench_message(&b, prevote(3, 4, 0, 0));
    assert_int_equal(answered(&b, RAFT_MSG_PREVOTE_REPLY), 0);
    assert_int_equal(bench_sent(&b, RAFT_MSG_PREVOTE_REPLY, 0)->message.term, 7);
    bench_deinit(&b);

    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 3});
    bench_deadline(&b);
    bench_message(
        &b, (struct raft_message){.kind = RAFT_MSG_PREVOTE_REPLY, .from = 2, .term = 7, .reject = true});
    assert_int_equal(bench_status(&b).term, 7);
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    bench_deadline(&b);
    assert_int_equal(bench_sent(&b, RAFT_MSG_PREVOTE, 0)->message.term, 8);
    bench_deinit(&b);
}

/* 5.1: a leader of an older term is told, by heartbeats and by appends, and one that is told steps down. */
static void test_5_1_old_leader_is_told(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 7});
    bench_message(&b, heartbeat(2, 5));
    assert_int_equal(bench_sent(&b, RAFT_MSG_HEARTBEAT_REPLY, 0)->message.term, 7);
    bench_append(&b, 2, 5, 0, 0, 0, (uint64_t[]){5, 0});
    assert_true(bench_sent(&b, RAFT_MSG_APPEND_REPLY, 0)->message.reject);
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND_REPLY, 0)->message.term, 7);
    assert_int_equal(bench_status(&b).last_index, 0);
    bench_lead(&b);
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT_REPLY, .from = 3, .term = 9});
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    assert_int_equal(bench_status(&b).term, 9);
    bench_deinit(&b);
}

/* Thesis 6.2, row 11: a leader that a quorum does not answer for an election timeout steps down; one answer
 * of three voters is enough to stay. */
static void test_6_2_check_quorum(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_lead(&b);
    for (int i = 0; i < 10; i++) {
        bench_deadline(&b);
        assert_int_equal(bench_status(&b).role, RAFT_LEADER);
        bench_message(&b, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT_REPLY, .from = 3, .term = 2});
    }
    uint64_t since = b.now_us;
    for (int i = 0; i < 20 && bench_status(&b).role == RAFT_LEADER; i++)
        bench_deadline(&b);
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    assert_int_equal(b.now_us - since, BENCH_ELECTION_US);
    assert_int_equal(bench_status(&b).leader, 0);
    assert_true(b.out.role_changed);
    bench_deinit(&b);
}

/* Row 14: a candidate that is unknown here, or a learner here, may have been made a voter by an entry we
 * lack: its log is strictly ahead then. Row 18: with no more than our log, a stranger gets nothing. */
static void test_stranger_needs_a_longer_log(void **state)
{
    (void)state;
    static const char *const roles[] = {"vv.", "vvl"};
    for (uint32_t i = 0; i < 2; i++) {
        struct bench b;
        bench_init(&b, (struct bench_start){.roles = roles[i], .term = 1, .terms = (uint64_t[]){1, 1, 0}});
        bench_message(&b, prevote(3, 2, 2, 1));
        assert_int_equal(answered(&b, RAFT_MSG_PREVOTE_REPLY), 0);
        bench_message(&b, prevote(3, 2, 3, 1));
        assert_int_equal(answered(&b, RAFT_MSG_PREVOTE_REPLY), 1);
        bench_message(&b, vote(3, 2, 3, 1));
        assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), 1);
        bench_deinit(&b);
    }
}

/* Row 14 again: an empty member and a learner vote, for the candidate knows who counts. */
static void test_learners_and_newcomers_vote(void **state)
{
    (void)state;
    static const char *const roles[] = {"", "lvv"};
    for (uint32_t i = 0; i < 2; i++) {
        struct bench b;
        bench_init(&b, (struct bench_start){.roles = roles[i]});
        bench_message(&b, prevote(2, 2, 3, 1));
        assert_int_equal(answered(&b, RAFT_MSG_PREVOTE_REPLY), 1);
        bench_message(&b, vote(2, 2, 3, 1));
        assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), 1);
        bench_deinit(&b);
    }
}

/* Rows 13 and 15: learners and members of nothing never campaign, whatever they are told. */
static void test_learners_and_strangers_never_campaign(void **state)
{
    (void)state;
    static const char *const roles[] = {"lvv", ".vv", ""};
    for (uint32_t i = 0; i < RK_ARRAY_LEN(roles); i++) {
        struct bench b;
        bench_init(&b, (struct bench_start){.roles = roles[i]});
        assert_int_equal(raft_deadline(b.raft), RK_NEVER);
        bench_message(&b, heartbeat(2, 1));
        bench_deadline(&b); /* forgets the leader, no more */
        assert_int_equal(bench_status(&b).leader, 0);
        assert_int_equal(b.out.message_count, 0);
        assert_int_equal(raft_deadline(b.raft), RK_NEVER);
        bench_message(&b, (struct raft_message){.kind = RAFT_MSG_TIMEOUT_NOW, .from = 2, .term = 1});
        assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
        bench_deinit(&b);
    }
}

/* 5.2: a candidate that hears the winner of its term follows it. */
static void test_5_2_candidate_follows_the_winner(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_deadline(&b);
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_PREVOTE_REPLY, .from = 2, .term = 2});
    assert_int_equal(bench_status(&b).role, RAFT_CANDIDATE);
    bench_append(&b, 3, 2, 0, 0, 0, (uint64_t[]){2, 0});
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    assert_int_equal(bench_status(&b).leader, 3);
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_VOTE_REPLY, .from = 2, .term = 2});
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    bench_deinit(&b);
}

/* A granted prevote says a term that does not exist yet: nobody may adopt it. */
/* Protocol-Aware Recovery (FAST'18): a member that may have lost what it acknowledged has no part in
 * elections until its log is whole; it follows and acknowledges what it has. */
static void test_a_member_that_abstains_neither_votes_nor_campaigns(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 4, .abstain = true});
    bench_deadline(&b);
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    assert_int_equal(b.out.message_count, 0);
    assert_true(raft_deadline(b.raft) == RK_NEVER);
    bench_message(&b, prevote(2, 5, 9, 4));
    assert_int_equal(answered(&b, RAFT_MSG_PREVOTE_REPLY), -1);
    bench_message(&b, vote(2, 5, 9, 4));
    assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), -1);
    assert_int_equal(bench_status(&b).term, 4);
    bench_message(&b, heartbeat(2, 5));
    assert_int_equal(bench_count(&b, RAFT_MSG_HEARTBEAT_REPLY), 1);
    bench_append(&b, 2, 5, 0, 0, 1, (const uint64_t[]){4, 5, 0});
    assert_int_equal(bench_count(&b, RAFT_MSG_APPEND_REPLY), 1);
    assert_int_equal(bench_status(&b).commit, 1);
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_TIMEOUT_NOW, .from = 2, .term = 5});
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    bench_deinit(&b);
}

static void test_a_member_that_abstained_is_like_any_other_afterwards(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 4, .abstain = true});
    bench_deadline(&b);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_ABSTAIN_END});
    bench_message(&b, vote(2, 5, 9, 4));
    assert_int_equal(answered(&b, RAFT_MSG_VOTE_REPLY), 1);
    bench_deadline(&b);
    assert_int_equal(bench_status(&b).role, RAFT_PRE_CANDIDATE);
    bench_deinit(&b);
}

/* The only voter that abstains must not elect itself: its log may be short. */
static void test_even_the_only_voter_abstains(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vl", .term = 4, .abstain = true});
    bench_deadline(&b);
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    bench_deinit(&b);
}

static void test_prevote_grant_does_not_raise_the_term(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvvvv", .term = 1});
    bench_deadline(&b);
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_PREVOTE_REPLY, .from = 2, .term = 2});
    assert_int_equal(bench_status(&b).term, 1);
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_PREVOTE_REPLY, .from = 3, .term = 9});
    assert_int_equal(bench_status(&b).term, 1);
    assert_int_equal(bench_status(&b).role, RAFT_PRE_CANDIDATE);
    bench_deinit(&b);
}

/* Row 41: nothing that a message says makes the core fail: here, messages for others, of no term, of the last
 * term. */
static void test_senseless_messages_are_dropped(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 3});
    struct raft_status before = bench_status(&b);
    struct raft_message m = vote(2, 9, 9, 9);
    m.to = 2;
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_MESSAGE, .message = &m});
    bench_message(&b, vote(1, 9, 9, 9));
    bench_message(&b, vote(0, 9, 9, 9));
    bench_message(&b, vote(2, UINT64_MAX, 9, 9));
    bench_message(&b, vote(2, 9, UINT64_MAX, 9));
    m = vote(2, 0, 0, 0);
    bench_message(&b, m);
    bench_message(&b, (struct raft_message){.kind = (enum raft_message_kind)77, .from = 2, .term = 3});
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_MESSAGE});
    bench_event(&b, (struct raft_event){.kind = (enum raft_event_kind)99});
    bench_append(&b, 2, 3, 0, 0, 0, (uint64_t[]){9, 0});    /* an entry of a later term than its message */
    bench_append(&b, 2, 3, 0, 0, 0, (uint64_t[]){2, 1, 0}); /* terms that go down */
    bench_append(&b, 2, 3, UINT64_MAX - 1, 1, 0, (uint64_t[]){2, 2, 2, 0});
    struct raft_entry gap = {.index = 5, .term = 1, .kind = RAFT_ENTRY_COMMAND};
    bench_message(&b, (struct raft_message){
                          .kind = RAFT_MSG_APPEND, .from = 2, .term = 3, .count = 1, .entries = &gap});
    struct raft_entry odd = {.index = 1, .term = 1, .kind = RAFT_ENTRY_MEMBERS};
    bench_message(&b, (struct raft_message){
                          .kind = RAFT_MSG_APPEND, .from = 2, .term = 3, .count = 1, .entries = &odd});
    struct raft_status after = bench_status(&b);
    assert_int_equal(after.term, before.term);
    assert_int_equal(after.leader, before.leader);
    assert_int_equal(after.voted_for, before.voted_for);
    assert_int_equal(after.last_index, before.last_index);
    assert_int_equal(after.role, before.role);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_5_2_timeouts_are_redrawn),
        cmocka_unit_test(test_5_2_election_by_majority),
        cmocka_unit_test(test_single_voter_leads_at_once),
        cmocka_unit_test(test_5_2_one_vote_a_term),
        cmocka_unit_test(test_vote_survives_restart),
        cmocka_unit_test(test_5_4_1_up_to_date),
        cmocka_unit_test(test_4_2_3_stickiness),
        cmocka_unit_test(test_restarted_leader_is_not_locked_out),
        cmocka_unit_test(test_pre_candidate_forgets_its_leader),
        cmocka_unit_test(test_prevote_refusal_carries_the_term),
        cmocka_unit_test(test_5_1_old_leader_is_told),
        cmocka_unit_test(test_6_2_check_quorum),
        cmocka_unit_test(test_stranger_needs_a_longer_log),
        cmocka_unit_test(test_learners_and_newcomers_vote),
        cmocka_unit_test(test_learners_and_strangers_never_campaign),
        cmocka_unit_test(test_5_2_candidate_follows_the_winner),
        cmocka_unit_test(test_a_member_that_abstains_neither_votes_nor_campaigns),
        cmocka_unit_test(test_a_member_that_abstained_is_like_any_other_afterwards),
        cmocka_unit_test(test_even_the_only_voter_abstains),
        cmocka_unit_test(test_prevote_grant_does_not_raise_the_term),
        cmocka_unit_test(test_senseless_messages_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
