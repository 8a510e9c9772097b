/* tests/unit/test_raft_joint.c - joint consensus: raft section 6, thesis 4.3. Roles as in raft_bench.h;
 * numbers are rows of the catalogue of failures. */
#include "lib/raft/raft_internal.h"
#include "tests/unit/raft_bench.h"

static void ready_leader(struct bench *b, const char *roles)
{
    bench_init(b, (struct bench_start){.roles = roles, .term = 1});
    bench_lead(b);
    for (uint64_t id = 2; id <= 7 && !bench_status(b).ready; id++)
        bench_ack(b, id, 1);
    assert_true(bench_status(b).ready);
}

static bool in_force(const struct bench *b, const char *roles)
{
    struct raft_members want = bench_members(roles);
    return raft_members_equal(raft_members(b->raft), &want);
}

static void append_members(struct bench *b, uint64_t from, uint64_t term, uint64_t index, uint64_t log_term,
                           uint64_t commit, const char *roles)
{
    struct raft_members members = bench_members(roles);
    struct raft_entry e = {.index = index + 1, .term = term, .kind = RAFT_ENTRY_MEMBERS, .members = &members};
    bench_message(b, (struct raft_message){.kind = RAFT_MSG_APPEND,
                                           .from = from,
                                           .term = term,
                                           .index = index,
                                           .log_term = log_term,
                                           .commit = commit,
                                           .count = 1,
                                           .entries = &e});
}

static void heartbeat_reply(struct bench *b, uint64_t from)
{
    bench_message(b, (struct raft_message){
                         .kind = RAFT_MSG_HEARTBEAT_REPLY, .from = from, .term = bench_status(b).term});
}

/* ---- configurations ----------------------------------------------------------------------- */

static void check_join(const char *old, const char *next, const char *joint)
{
    struct raft_members o = bench_members(old), n = bench_members(next), want = bench_members(joint), got,
                        end;
    assert_true(raft_members_join(&o, &n, &got));
    assert_true(raft_members_equal(&got, &want));
    assert_true(raft_members_step_ok(&o, &got));
    raft_members_settle(&got, &end);
    assert_true(raft_members_equal(&end, &n));
}

static void test_6_join_and_settle(void **state)
{
    (void)state;
    check_join("vvv", "v..vv", "boovv");
    check_join("vvv", "...vvv", "ooovvv");
    check_join("vvvll", "..vvl", "oobvl"); /* a learner becomes a voter, another stays */
    check_join("vvvl", "vvl", "bbd");      /* a voter becomes a learner, a learner goes */
    struct raft_members none = {0}, old = bench_members("vvv"), got;
    assert_false(raft_members_join(&old, &none, &got));
    /* The union must have room too. */
    struct raft_members many = {.count = RK_MEMBERS_MAX};
    for (uint32_t i = 0; i < many.count; i++)
        many.member[i] = (struct raft_member){.id = 2 + i, .role = RAFT_VOTER};
    assert_false(raft_members_join(&old, &many, &got));
}

static void test_6_steps(void **state)
{
    (void)state;
    static const char *const good[] = {"bbb", "boo", "ooov", "bbdvv", "bddl"};
    static const char *const bad[] = {"bb", "bbv", "bbbb", "ooo", "ddd"};
    struct raft_members old = bench_members("vvv"), next;
    for (size_t i = 0; i < RK_ARRAY_LEN(good); i++) {
        next = bench_members(good[i]);
        assert_true(raft_members_step_ok(&old, &next));
    }
    for (size_t i = 0; i < RK_ARRAY_LEN(bad); i++) {
        next = bench_members(bad[i]);
        assert_false(raft_members_step_ok(&old, &next));
    }
    old = bench_members("bbv"); /* from a joint one nobody asks: the leader goes on by itself */
    next = bench_members("vvv");
    assert_false(raft_members_step_ok(&old, &next));
    next = bench_members("vvv");
    next.member[0].role = RAFT_LEAVING; /* and is not outgoing */
    assert_false(raft_members_valid(&next));
}

/* Row 19: all configurations of five members, and all sets of votes. */
static void test_quorum_exhaustive(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < 6 * 6 * 6 * 6 * 6; k++) {
        char roles[6] = "";
        for (uint32_t i = 0, rest = k; i < 5; i++, rest /= 6)
            roles[i] = "vlobd."[rest % 6];
        struct raft_members m = bench_members(roles);
        for (uint32_t votes = 0; votes < 32; votes++) {
            uint64_t ids[5];
            uint32_t count = 0;
            int in = 0, in_yes = 0, out = 0, out_yes = 0;
            for (uint32_t i = 0; i < 5; i++) {
                bool yes = (votes >> i & 1) != 0;
                if (yes)
                    ids[count++] = i + 1;
                in += roles[i] == 'v' || roles[i] == 'b';
                in_yes += (roles[i] == 'v' || roles[i] == 'b') && yes;
                out += roles[i] == 'o' || roles[i] == 'b' || roles[i] == 'd';
                out_yes += (roles[i] == 'o' || roles[i] == 'b' || roles[i] == 'd') && yes;
            }
            bool want = 2 * in_yes > in && (out == 0 || 2 * out_yes > out);
            assert_int_equal(raft_quorum_granted(&m, ids, count), want);
        }
    }
}

/* ---- forwards ----------------------------------------------------------------------------- */

/* Section 6: C_old,new is committed by both majorities only; then the leader goes on to C_new by itself. */
static void test_6_both_majorities_then_the_next(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "vvvlll");
    assert_int_equal(bench_change(&b, "boovvv"), RAFT_PROPOSE_OK);
    bench_persist(&b);
    bench_ack(&b, 2, 2);
    bench_ack(&b, 3, 2);
    assert_int_equal(bench_status(&b).commit, 1); /* the old ones alone */
    bench_ack(&b, 4, 2);
    assert_int_equal(bench_status(&b).commit, 1); /* two of four */
    assert_int_equal(bench_change(&b, "v"), RAFT_PROPOSE_CHANGE_PENDING);
    bench_ack(&b, 5, 2);
    assert_int_equal(bench_status(&b).commit, 2);
    assert_true(in_force(&b, "v..vvv"));
    assert_int_equal(b.out.append_count, 1);
    assert_int_equal(b.out.append_source, RAFT_NO_SOURCE);
    assert_int_equal(b.out.append[0].kind, RAFT_ENTRY_MEMBERS);
    assert_true(raft_members_equal(b.out.append[0].members, raft_members(b.raft)));
    assert_int_equal(bench_change(&b, "v"), RAFT_PROPOSE_CHANGE_PENDING);
    struct raft_peer_status peer;
    assert_false(raft_peer_status(b.raft, 2, &peer));
    bench_persist(&b);
    bench_ack(&b, 4, 3);
    bench_ack(&b, 6, 3);
    assert_int_equal(bench_status(&b).commit, 3);
    assert_int_equal(bench_change(&b, "v..vv"), RAFT_PROPOSE_OK);
    bench_deinit(&b);
}

/* Section 6, end: a leader that is not in C_new leads until C_new is committed, without counting itself. */
static void test_6_leader_outside_goes_last(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "vvvll");
    assert_int_equal(bench_change(&b, "oobvv"), RAFT_PROPOSE_OK);
    bench_persist(&b);
    bench_ack(&b, 3, 2);
    bench_ack(&b, 4, 2);
    assert_int_equal(bench_status(&b).commit, 2);
    assert_true(in_force(&b, "..vvv"));
    bench_persist(&b);
    bench_ack(&b, 3, 3);
    assert_int_equal(bench_status(&b).role, RAFT_LEADER); /* one of three */
    bench_ack(&b, 5, 3);
    assert_int_equal(bench_status(&b).commit, 3);
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    assert_int_equal(bench_count(&b, RAFT_MSG_TIMEOUT_NOW), 1);
    assert_int_equal(raft_deadline(b.raft), RK_NEVER);
    bench_deinit(&b);
}

/* Section 6: candidates need both majorities; outgoing and incoming voters are asked alike. */
static void test_6_election_needs_both(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "boovv", .term = 1});
    bench_deadline(&b);
    assert_int_equal(bench_count(&b, RAFT_MSG_PREVOTE), 4);
    for (uint64_t id = 2; id <= 3; id++)
        bench_message(&b, (struct raft_message){.kind = RAFT_MSG_PREVOTE_REPLY, .from = id, .term = 2});
    assert_int_equal(bench_status(&b).role, RAFT_PRE_CANDIDATE);
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_PREVOTE_REPLY, .from = 4, .term = 2});
    assert_int_equal(bench_status(&b).role, RAFT_CANDIDATE);
    for (uint64_t id = 4; id <= 5; id++)
        bench_message(&b, (struct raft_message){.kind = RAFT_MSG_VOTE_REPLY, .from = id, .term = 2});
    assert_int_equal(bench_status(&b).role, RAFT_CANDIDATE); /* all incoming, one outgoing */
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_VOTE_REPLY, .from = 2, .term = 2});
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    bench_deinit(&b);
}

/* Whoever comes after the leader that began it ends it, once its own term has committed something. */
static void test_6_next_leader_ends_it(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvvl", .term = 1});
    append_members(&b, 2, 1, 0, 0, 1, "bbov");
    assert_int_equal(bench_status(&b).commit, 1);
    assert_true(in_force(&b, "bbov"));
    bench_lead(&b);
    assert_true(in_force(&b, "bbov"));
    bench_ack(&b, 2, 2);
    bench_ack(&b, 3, 2);
    assert_true(in_force(&b, "vv.v"));
    assert_int_equal(b.out.append[0].index, 3);
    bench_deinit(&b);
}

/* Row 32: a member that starts with C_old,new counts with it from its first moment on; a newcomer that is the
 * only incoming voter is not alone. */
static void test_joint_at_start(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vo", .term = 1});
    assert_true(raft_deadline(b.raft) > b.now_us);
    bench_deadline(&b);
    assert_int_equal(bench_status(&b).role, RAFT_PRE_CANDIDATE);
    bench_lead(&b);
    bench_persist(&b);
    assert_int_equal(bench_status(&b).commit, 0);
    bench_ack(&b, 2, 1);
    assert_int_equal(bench_status(&b).commit, 1);
    bench_deinit(&b);
}

/* Row 14: who leaves is electable until C_new is known to be committed: its log may be the only one. */
static void test_leaving_still_electable(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "ovv", .term = 1});
    append_members(&b, 2, 1, 0, 0, 0, ".vv");
    bench_deadline(&b);
    assert_int_equal(bench_status(&b).role, RAFT_PRE_CANDIDATE);
    bench_append(&b, 2, 1, 1, 1, 1, NULL);
    bench_deadline(&b);
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    assert_int_equal(b.out.message_count, 0);
    bench_deinit(&b);
}

/* Row 49, thesis 6.2, 6.4: reads and check quorum ask both halves. */
static void test_reads_and_check_quorum_ask_both(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "vvvll");
    assert_int_equal(bench_change(&b, "boovv"), RAFT_PROPOSE_OK);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_READ, .ticket = 7});
    uint64_t token = bench_sent(&b, RAFT_MSG_HEARTBEAT, 0)->message.token;
    assert_int_equal(bench_count(&b, RAFT_MSG_HEARTBEAT), 4);
    for (uint64_t id = 4; id <= 5; id++) {
        bench_message(&b, (struct raft_message){
                              .kind = RAFT_MSG_HEARTBEAT_REPLY, .from = id, .term = 2, .token = token});
        assert_int_equal(b.out.read_count, 0);
    }
    bench_message(
        &b, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT_REPLY, .from = 3, .term = 2, .token = token});
    assert_int_equal(b.out.read_count, 1);
    bench_persist(&b);
    for (int i = 0; i < 20 && bench_status(&b).role == RAFT_LEADER; i++) { /* only the incoming answer */
        bench_deadline(&b);
        heartbeat_reply(&b, 4);
        heartbeat_reply(&b, 5);
    }
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    bench_deinit(&b);
}

/* Whoever leaves is not handed the leadership. */
static void test_transfer_to_who_stays(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "vvvl");
    assert_int_equal(bench_change(&b, "bobv"), RAFT_PROPOSE_OK);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_TRANSFER, .peer = 2});
    assert_int_equal(b.out.transfer_outcome, RAFT_TRANSFER_REFUSED);
    bench_ack(&b, 2, 2);
    bench_ack(&b, 3, 2);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_TRANSFER});
    assert_int_equal(bench_sent(&b, RAFT_MSG_TIMEOUT_NOW, 0)->message.to, 3);
    bench_deinit(&b);
}

/* ---- backwards ------------------------------------------------------------------------------ */

/* Not yet committed, it can be taken back; then only the old majority counts again. */
static void test_abort_before_commit(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "vvvll");
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_ABORT_CHANGE});
    assert_int_equal(b.out.propose_outcome, RAFT_PROPOSE_BAD_CHANGE); /* there is nothing to take back */
    assert_int_equal(bench_change(&b, "boovv"), RAFT_PROPOSE_OK);
    bench_persist(&b);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_ABORT_CHANGE});
    assert_int_equal(b.out.propose_outcome, RAFT_PROPOSE_OK);
    assert_int_equal(b.out.append_source, RAFT_NO_SOURCE);
    assert_true(in_force(&b, "vvvll"));
    bench_persist(&b);
    bench_ack(&b, 2, 3);
    assert_int_equal(bench_status(&b).commit, 3);
    assert_true(in_force(&b, "vvvll"));
    assert_int_equal(b.out.append_count, 0);
    assert_int_equal(bench_change(&b, "boovv"), RAFT_PROPOSE_OK);
    bench_deinit(&b);
}

/* Once it is committed, C_new may exist: no way back, only on. Nor from an earlier leader's. */
static void test_abort_too_late(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "vvvl");
    assert_int_equal(bench_change(&b, "bbov"), RAFT_PROPOSE_OK);
    bench_persist(&b);
    bench_ack(&b, 2, 2);
    assert_true(in_force(&b, "vv.v"));
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_ABORT_CHANGE});
    assert_int_equal(b.out.propose_outcome, RAFT_PROPOSE_BAD_CHANGE);
    assert_true(in_force(&b, "vv.v"));
    bench_deinit(&b);

    bench_init(&b, (struct bench_start){.roles = "vvvl", .term = 1});
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_ABORT_CHANGE});
    assert_int_equal(b.out.propose_outcome, RAFT_PROPOSE_NOT_LEADER);
    append_members(&b, 2, 1, 0, 0, 0, "bbov");
    bench_lead(&b);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_ABORT_CHANGE});
    assert_int_equal(b.out.propose_outcome, RAFT_PROPOSE_BAD_CHANGE);
    bench_deinit(&b);
}

/* Newcomers that fall silent do not cost the old ones their leader: it goes back by itself. */
static void test_goes_back_when_newcomers_are_silent(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "vvvll");
    assert_int_equal(bench_change(&b, "boovv"), RAFT_PROPOSE_OK);
    bench_persist(&b);
    for (int i = 0; i < 20 && !in_force(&b, "vvvll"); i++) {
        bench_deadline(&b);
        heartbeat_reply(&b, 2);
        heartbeat_reply(&b, 3);
    }
    assert_true(in_force(&b, "vvvll"));
    assert_int_equal(bench_status(&b).role, RAFT_LEADER);
    bench_persist(&b);
    bench_ack(&b, 2, 3);
    assert_int_equal(bench_status(&b).commit, 3);
    bench_deinit(&b);
}

/* With both halves silent there is nobody to go back to. */
static void test_steps_down_when_all_are_silent(void **state)
{
    (void)state;
    struct bench b;
    ready_leader(&b, "vvvll");
    assert_int_equal(bench_change(&b, "boovv"), RAFT_PROPOSE_OK);
    bench_persist(&b);
    for (int i = 0; i < 20 && bench_status(&b).role == RAFT_LEADER; i++)
        bench_deadline(&b);
    assert_true(in_force(&b, "boovv"));
    assert_int_equal(bench_status(&b).role, RAFT_FOLLOWER);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_6_join_and_settle),
        cmocka_unit_test(test_6_steps),
        cmocka_unit_test(test_quorum_exhaustive),
        cmocka_unit_test(test_6_both_majorities_then_the_next),
        cmocka_unit_test(test_6_leader_outside_goes_last),
        cmocka_unit_test(test_6_election_needs_both),
        cmocka_unit_test(test_6_next_leader_ends_it),
        cmocka_unit_test(test_joint_at_start),
        cmocka_unit_test(test_leaving_still_electable),
        cmocka_unit_test(test_reads_and_check_quorum_ask_both),
        cmocka_unit_test(test_transfer_to_who_stays),
        cmocka_unit_test(test_abort_before_commit),
        cmocka_unit_test(test_abort_too_late),
        cmocka_unit_test(test_goes_back_when_newcomers_are_silent),
        cmocka_unit_test(test_steps_down_when_all_are_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
