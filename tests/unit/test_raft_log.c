/* tests/unit/test_raft_log.c - replication and commitment. Numbers as in test_raft_election.c. */
#include "tests/unit/raft_bench.h"

static const struct raft_message *reply(const struct bench *b)
{
    const struct raft_out_message *m = bench_sent(b, RAFT_MSG_APPEND_REPLY, 0);
    assert_non_null(m);
    return &m->message;
}

static void heartbeat_reply(struct bench *b, uint64_t from)
{
    bench_message(b, (struct raft_message){
                         .kind = RAFT_MSG_HEARTBEAT_REPLY, .from = from, .term = bench_status(b).term});
}

/* 5.3: appended, replied once durable, committed up to what the message proved (row 29). */
static void test_5_3_follower_appends(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_append(&b, 2, 1, 0, 0, 9, (uint64_t[]){1, 1, 0});
    assert_int_equal(b.out.append_count, 2);
    assert_int_equal(b.out.append[0].index, 1);
    assert_int_equal(b.out.append_source, 0);
    assert_int_equal(reply(&b)->index, 2);
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND_REPLY, 0)->send, RAFT_SEND_DURABLE);
    assert_true(b.out.commit_changed);
    assert_int_equal(b.out.commit, 2);
    assert_int_equal(bench_status(&b).persisted, 0);
    bench_persist(&b);
    assert_int_equal(bench_status(&b).persisted, 2);
    bench_deinit(&b);
}

/* Row 29: entries behind the verified ones may be another leader's; the commit index must not reach them. */
static void test_5_3_commit_stops_at_what_was_verified(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 2, .terms = (uint64_t[]){1, 1, 2, 2, 0}});
    bench_append(&b, 2, 3, 1, 1, 4, (uint64_t[]){1, 0});
    assert_int_equal(reply(&b)->index, 2);
    assert_int_equal(b.out.commit, 2);
    assert_int_equal(bench_status(&b).last_index, 4); /* nothing contradicts the tail yet */
    bench_deinit(&b);
}

/* Row 23: late, repeated and reordered appends remove nothing; only a real conflict does, from there on. */
static void test_5_3_truncates_at_the_first_conflict_only(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 2, .terms = (uint64_t[]){1, 1, 2, 2, 0}});
    bench_append(&b, 2, 2, 0, 0, 0, (uint64_t[]){1, 1, 0});
    assert_int_equal(b.out.append_count, 0);
    assert_int_equal(reply(&b)->index, 2);
    assert_int_equal(bench_status(&b).last_index, 4);
    bench_append(&b, 2, 2, 1, 1, 0, NULL);
    assert_int_equal(bench_status(&b).last_index, 4);
    bench_append(&b, 3, 3, 1, 1, 0, (uint64_t[]){1, 3, 0});
    assert_int_equal(b.out.append_count, 1);
    assert_int_equal(b.out.append_source, 1);
    assert_int_equal(b.out.append[0].index, 3);
    assert_int_equal(bench_status(&b).last_index, 3);
    assert_int_equal(bench_status(&b).persisted, 2);
    bench_deinit(&b);
}

/* Rows 26 and 27: what lies at or before the commit index or the base matches by definition. */
static void test_prev_below_commit_and_base_matches(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv",
                                        .term = 3,
                                        .base = 10,
                                        .base_term = 2,
                                        .terms = (uint64_t[]){2, 3, 0},
                                        .commit = 11});
    bench_append(&b, 2, 3, 4, 1, 0, (uint64_t[]){1, 1, 0});
    assert_false(reply(&b)->reject);
    assert_int_equal(reply(&b)->index, 11);
    bench_append(&b, 2, 3, 9, 1, 0, (uint64_t[]){2, 2, 3, 3, 0});
    assert_false(reply(&b)->reject);
    assert_int_equal(reply(&b)->index, 13);
    assert_int_equal(b.out.append_count, 1);
    assert_int_equal(b.out.append_source, 3);
    bench_append(&b, 2, 9, 11, 9, 0,
                 (uint64_t[]){9, 0}); /* contradicts what is committed: no leader says that */
    assert_int_equal(b.out.message_count, 0);
    assert_int_equal(bench_status(&b).last_index, 13);
    bench_deinit(&b);
}

/* Row 25, 5.3 end: a refusal names a place and a term, so that one round trip passes over a whole term. */
static void test_5_3_refusal_hints(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b,
               (struct bench_start){.roles = "vvv", .term = 5, .terms = (uint64_t[]){1, 1, 4, 4, 4, 4, 0}});
    bench_append(&b, 2, 6, 9, 6, 0, (uint64_t[]){6, 0}); /* a gap */
    assert_true(reply(&b)->reject);
    assert_int_equal(reply(&b)->index, 9);
    assert_int_equal(reply(&b)->hint, 6);
    assert_int_equal(reply(&b)->hint_term, 4);
    bench_append(&b, 2, 6, 6, 3, 0, (uint64_t[]){6, 0}); /* another term */
    assert_int_equal(reply(&b)->hint, 2);
    assert_int_equal(reply(&b)->hint_term, 1);
    assert_int_equal(bench_status(&b).last_index, 6);
    bench_deinit(&b);
}

static void test_5_3_leader_uses_hints(void **state)
{
    (void)state;
    struct bench b;
    bench_init(
        &b, (struct bench_start){.roles = "vvv", .term = 5, .terms = (uint64_t[]){1, 2, 2, 2, 5, 5, 5, 0}});
    bench_lead(&b);
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_APPEND_REPLY,
                                            .from = 2,
                                            .term = 6,
                                            .index = 7,
                                            .reject = true,
                                            .hint = 6,
                                            .hint_term = 3});
    const struct raft_out_message *m = bench_sent(&b, RAFT_MSG_APPEND, 0);
    assert_int_equal(m->message.index, 4); /* the last entry of ours that is of term 3 or less */
    assert_int_equal(m->message.log_term, 2);
    assert_int_equal(bench_peer(&b, 2).next, 5);
    /* The same refusal again is stale: the probe is elsewhere. */
    bench_message(
        &b, (struct raft_message){
                .kind = RAFT_MSG_APPEND_REPLY, .from = 2, .term = 6, .index = 7, .reject = true, .hint = 0});
    assert_int_equal(b.out.message_count, 0);
    /* A refusal that does not move back is taken as one step back. */
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_APPEND_REPLY,
                                            .from = 2,
                                            .term = 6,
                                            .index = 4,
                                            .reject = true,
                                            .hint = UINT64_MAX,
                                            .hint_term = UINT64_MAX});
    assert_int_equal(bench_peer(&b, 2).next, 4);
    bench_deinit(&b);
}

/* Row 22, figure 8: entries of an older term are never committed by counting. */
static void test_5_4_2_only_own_term_by_counting(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 4, .terms = (uint64_t[]){1, 2, 2, 0}});
    bench_lead(&b);
    bench_ack(&b, 2, 3);
    assert_int_equal(bench_status(&b).commit, 0);
    assert_false(bench_status(&b).ready);
    bench_ack(&b, 2, 4);
    assert_int_equal(b.out.commit, 4);
    assert_true(bench_status(&b).ready);
    bench_deinit(&b);
}

/* The leader's own disk is one of those counted (thesis 10.2.1), and no more than the others. */
static void test_leader_counts_itself_when_persisted(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_lead(&b);
    bench_ack(&b, 2, 1);
    bench_propose(&b, 1, 5);
    bench_ack(&b, 2, 2);
    assert_int_equal(bench_status(&b).commit, 1);
    bench_ack(&b, 3, 2); /* two others are a quorum without it */
    assert_int_equal(bench_status(&b).commit, 2);
    bench_propose(&b, 1, 5);
    bench_ack(&b, 2, 3);
    assert_int_equal(bench_status(&b).commit, 2);
    bench_persist(&b);
    assert_int_equal(bench_status(&b).commit, 3);
    bench_deinit(&b);
}

/* Row 28: the completion of an entry that was replaced says nothing about the one that stands there now. */
static void test_late_completion_of_a_replaced_entry(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_append(&b, 2, 1, 0, 0, 0, (uint64_t[]){1, 1, 1, 0});
    bench_append(&b, 3, 2, 1, 1, 0, (uint64_t[]){2, 2, 0});
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_PERSISTED, .index = 3, .term = 1});
    assert_int_equal(bench_status(&b).persisted, 0);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_PERSISTED, .index = 9, .term = 2});
    assert_int_equal(bench_status(&b).persisted, 0);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_PERSISTED, .index = 3, .term = 2});
    assert_int_equal(bench_status(&b).persisted, 3);
    bench_deinit(&b);
}

/* A claim beyond the leader's log is somebody else's. */
static void test_claims_beyond_the_log_are_ignored(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_lead(&b);
    bench_ack(&b, 2, 2);
    bench_ack(&b, 3, RK_NEVER / 2);
    assert_int_equal(bench_peer(&b, 2).match, 0);
    assert_int_equal(bench_status(&b).commit, 0);
    bench_ack(&b, 7, 1); /* nobody */
    assert_int_equal(bench_status(&b).commit, 0);
    bench_deinit(&b);
}

/* One probe, then a stream as wide as the window; the window never holds a heartbeat back. */
static void test_window(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1, .window_messages = 3});
    bench_lead(&b);
    bench_propose(&b, 1, 5);
    assert_int_equal(bench_count(&b, RAFT_MSG_APPEND), 0); /* both are being probed */
    bench_ack(&b, 2, 1);
    assert_int_equal(bench_peer(&b, 2).mode, RAFT_PEER_REPLICATE);
    assert_int_equal(bench_count(&b, RAFT_MSG_APPEND), 1);
    for (int i = 0; i < 5; i++)
        bench_propose(&b, 1, 5);
    assert_int_equal(bench_peer(&b, 2).next, 5);
    assert_int_equal(bench_peer(&b, 2).inflight_bytes, 15);
    bench_tick(&b, BENCH_HEARTBEAT_US);
    assert_int_equal(bench_count(&b, RAFT_MSG_HEARTBEAT), 2);
    bench_ack(&b, 2, 4);
    assert_int_equal(bench_count(&b, RAFT_MSG_APPEND), 1); /* the three that waited go together */
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND, 0)->message.count, 3);
    bench_deinit(&b);
}

/* Messages are bounded by entries and bytes; an entry larger than any bound travels alone. */
static void test_batches(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vv", .term = 1});
    bench_lead(&b);
    bench_ack(&b, 2, 1);
    bench_propose(&b, 6, 1);
    assert_int_equal(bench_count(&b, RAFT_MSG_APPEND), 2);
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND, 0)->message.count, 4);
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND, 1)->message.count, 2);
    bench_ack(&b, 2, 7);
    bench_propose(&b, 3, 400);
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND, 0)->message.count, 2);
    bench_ack(&b, 2, 10);
    bench_propose(&b, 1, 100000);
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND, 0)->message.count, 1);
    bench_propose(&b, 1, 1); /* the window is more than full */
    assert_int_equal(bench_count(&b, RAFT_MSG_APPEND), 0);
    bench_deinit(&b);
}

/* Row 38: a lost probe is sent again when the peer answers heartbeats; not while it is silent. */
static void test_lost_probe_is_sent_again(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_lead(&b);
    heartbeat_reply(&b, 2);
    assert_int_equal(bench_count(&b, RAFT_MSG_APPEND), 0); /* too early: the answer may be on its way */
    bench_tick(&b, BENCH_HEARTBEAT_US);
    assert_int_equal(bench_count(&b, RAFT_MSG_APPEND), 0);
    heartbeat_reply(&b, 2);
    assert_int_equal(bench_count(&b, RAFT_MSG_APPEND), 1);
    bench_deinit(&b);
}

/* Rows 36 and 38: a stream that gets no acknowledgement for an election timeout is probed again. */
static void test_stalled_stream_is_probed(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_lead(&b);
    bench_ack(&b, 2, 1);
    bench_propose(&b, 1, 5);
    assert_int_equal(bench_peer(&b, 2).next, 3);
    bench_persist(&b);
    for (int i = 0; i < 4; i++) {
        bench_tick(&b, BENCH_HEARTBEAT_US);
        if (i < 3)
            heartbeat_reply(&b, 2);
    }
    assert_int_equal(bench_peer(&b, 2).mode, RAFT_PEER_PROBE);
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND, 0)->message.index, 1);
    bench_ack(&b, 2, 2);
    assert_int_equal(bench_peer(&b, 2).mode, RAFT_PEER_REPLICATE);
    bench_deinit(&b);
}

static void test_unreachable_peer_is_probed(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_lead(&b);
    bench_ack(&b, 2, 1);
    bench_propose(&b, 1, 5);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_UNREACHABLE, .peer = 2});
    assert_int_equal(bench_peer(&b, 2).mode, RAFT_PEER_PROBE);
    assert_int_equal(b.out.message_count, 0);
    bench_tick(&b, BENCH_HEARTBEAT_US);
    heartbeat_reply(&b, 2);
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND, 0)->message.index, 1);
    bench_deinit(&b);
}

/* Row 99: a peer that refuses what it acknowledged has lost it: probed from there, the commit index stays. */
static void test_peer_that_went_backwards_is_probed(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_lead(&b);
    bench_propose(&b, 3, 5);
    bench_persist(&b);
    bench_ack(&b, 2, 4);
    assert_int_equal(bench_status(&b).commit, 4);
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_APPEND_REPLY,
                                            .from = 2,
                                            .term = 2,
                                            .index = 4,
                                            .reject = true,
                                            .hint = 1,
                                            .hint_term = 2});
    assert_int_equal(bench_peer(&b, 2).mode, RAFT_PEER_PROBE);
    assert_int_equal(bench_peer(&b, 2).next, 2);
    assert_int_equal(bench_peer(&b, 2).match, 1);
    assert_int_equal(bench_status(&b).commit, 4);
    bench_ack(&b, 2, 4);
    assert_int_equal(bench_peer(&b, 2).match, 4);
    bench_deinit(&b);
}

/* A heartbeat says no more than the peer is known to hold; whoever has the entries hears of the commit at
 * once. */
static void test_commit_reaches_followers(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_lead(&b);
    bench_ack(&b, 2, 1);
    const struct raft_out_message *m = bench_sent(&b, RAFT_MSG_HEARTBEAT, 0);
    assert_int_equal(bench_count(&b, RAFT_MSG_HEARTBEAT), 1);
    assert_int_equal(m->message.to, 2);
    assert_int_equal(m->message.commit, 1);
    assert_int_equal(m->message.token, 0);
    bench_tick(&b, BENCH_HEARTBEAT_US);
    assert_int_equal(bench_sent(&b, RAFT_MSG_HEARTBEAT, 0)->message.commit, 1);
    assert_int_equal(bench_sent(&b, RAFT_MSG_HEARTBEAT, 1)->message.commit, 0);
    bench_deinit(&b);

    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1, .terms = (uint64_t[]){1, 1, 0}});
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT, .from = 2, .term = 1, .commit = 1});
    assert_int_equal(b.out.commit, 1);
    assert_int_equal(b.out.message_count, 0); /* token 0 wants no answer */
    bench_message(
        &b, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT, .from = 2, .term = 1, .commit = 9, .token = 5});
    assert_int_equal(b.out.commit, 2);
    assert_int_equal(bench_sent(&b, RAFT_MSG_HEARTBEAT_REPLY, 0)->message.token, 5);
    assert_int_equal(bench_sent(&b, RAFT_MSG_HEARTBEAT_REPLY, 0)->send, RAFT_SEND_NOW);
    bench_deinit(&b);
}

/* Rows 33 and 34: too much uncommitted is refused with a reason, one batch on an empty log never is. */
static void test_uncommitted_cap(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1, .uncommitted_bytes = 100});
    assert_int_equal(bench_propose(&b, 1, 5), RAFT_PROPOSE_NOT_LEADER);
    bench_lead(&b);
    assert_int_equal(bench_propose(&b, 2, 500), RAFT_PROPOSE_OK);
    assert_int_equal(bench_propose(&b, 1, 1), RAFT_PROPOSE_BUSY);
    assert_int_equal(b.out.append_count, 0);
    bench_persist(&b);
    bench_ack(&b, 2, 3);
    assert_int_equal(bench_status(&b).commit, 3);
    assert_int_equal(bench_propose(&b, 1, 60), RAFT_PROPOSE_OK);
    assert_int_equal(bench_propose(&b, 1, 41), RAFT_PROPOSE_BUSY);
    assert_int_equal(bench_propose(&b, 1, 40), RAFT_PROPOSE_OK);
    bench_deinit(&b);
}

static void test_boot_refuses_nonsense(void **state)
{
    (void)state;
    struct raft_config config = {.id = 1,
                                 .election_timeout_us = 10,
                                 .heartbeat_us = 1,
                                 .append_entries_max = 1,
                                 .inflight_messages_max = 1};
    struct raft_entry e[2] = {{.index = 1, .term = 2, .kind = RAFT_ENTRY_COMMAND},
                              {.index = 2, .term = 2, .kind = RAFT_ENTRY_COMMAND}};
    struct raft_boot boot = {.members = bench_members("v"), .entries = e, .count = 2};
    struct raft *raft = raft_new(&config, &boot);
    assert_non_null(raft);
    raft_free(raft);
    boot.commit = 3;
    assert_null(raft_new(&config, &boot));
    boot.commit = 0;
    e[1].term = 1; /* goes down */
    assert_null(raft_new(&config, &boot));
    e[1].term = 2;
    e[1].index = 3; /* a gap */
    assert_null(raft_new(&config, &boot));
    boot.count = 1;
    boot.members_index = 1; /* beyond the commit index */
    assert_null(raft_new(&config, &boot));
    raft_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_5_3_follower_appends),
        cmocka_unit_test(test_5_3_commit_stops_at_what_was_verified),
        cmocka_unit_test(test_5_3_truncates_at_the_first_conflict_only),
        cmocka_unit_test(test_prev_below_commit_and_base_matches),
        cmocka_unit_test(test_5_3_refusal_hints),
        cmocka_unit_test(test_5_3_leader_uses_hints),
        cmocka_unit_test(test_5_4_2_only_own_term_by_counting),
        cmocka_unit_test(test_leader_counts_itself_when_persisted),
        cmocka_unit_test(test_late_completion_of_a_replaced_entry),
        cmocka_unit_test(test_claims_beyond_the_log_are_ignored),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_lost_probe_is_sent_again),
        cmocka_unit_test(test_stalled_stream_is_probed),
        cmocka_unit_test(test_unreachable_peer_is_probed),
        cmocka_unit_test(test_peer_that_went_backwards_is_probed),
        cmocka_unit_test(test_commit_reaches_followers),
        cmocka_unit_test(test_uncommitted_cap),
        cmocka_unit_test(test_boot_refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
