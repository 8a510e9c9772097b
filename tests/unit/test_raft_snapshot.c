/* tests/unit/test_raft_snapshot.c - cutting the log and catching up by snapshot (section 7, thesis chapter
 * 5). Numbers as in test_raft_election.c. */
#include "tests/unit/raft_bench.h"

static void install(struct bench *b, uint64_t index, uint64_t term, const char *roles, uint64_t members_index)
{
    struct raft_members members = bench_members(roles);
    bench_event(b, (struct raft_event){.kind = RAFT_EVENT_SNAPSHOT_INSTALLED,
                                       .index = index,
                                       .term = term,
                                       .members = &members,
                                       .members_index = members_index});
}

static void offer(struct bench *b, uint64_t peer, uint64_t term, uint64_t index)
{
    bench_event(b, (struct raft_event){
                       .kind = RAFT_EVENT_SNAPSHOT_OFFERED, .peer = peer, .term = term, .index = index});
}

static void refuse(struct bench *b, uint64_t from, uint64_t index, uint64_t hint, uint64_t hint_term)
{
    bench_message(b, (struct raft_message){.kind = RAFT_MSG_APPEND_REPLY,
                                           .from = from,
                                           .term = bench_status(b).term,
                                           .index = index,
                                           .reject = true,
                                           .hint = hint,
                                           .hint_term = hint_term});
}

static void sent(struct bench *b, uint64_t peer, bool ok, uint64_t index)
{
    bench_event(
        b, (struct raft_event){.kind = RAFT_EVENT_SNAPSHOT_SENT, .peer = peer, .ok = ok, .index = index});
}

/* A leader with a log 11..14 behind base 10, applied up to 14; its peer 2 has nothing. */
static void leader_with_an_empty_peer(struct bench *b)
{
    bench_init(b, (struct bench_start){.roles = "vvv",
                                       .base = 10,
                                       .base_term = 1,
                                       .terms = (uint64_t[]){1, 1, 1, 0},
                                       .commit = 13,
                                       .term = 1});
    bench_lead(b);
    bench_ack(b, 3, 14);
    bench_event(b, (struct raft_event){.kind = RAFT_EVENT_APPLIED, .index = 14});
    refuse(b, 2, 13, 0, 0);
}

static void test_peer_behind_the_log_gets_a_snapshot_once(void **state)
{
    (void)state;
    struct bench b;
    leader_with_an_empty_peer(&b);
    assert_int_equal(b.out.snapshot_peer_count, 1);
    assert_int_equal(b.out.snapshot_peers[0], 2);
    assert_int_equal(bench_peer(&b, 2).mode, RAFT_PEER_SNAPSHOT);
    bench_tick(&b, BENCH_HEARTBEAT_US);
    assert_int_equal(b.out.snapshot_peer_count, 0);
    assert_int_equal(bench_count(&b, RAFT_MSG_HEARTBEAT), 2); /* row 84: heartbeats go on */
    bench_propose(&b, 1, 5);
    assert_int_equal(bench_count(&b, RAFT_MSG_APPEND), 1); /* to 3 */
    sent(&b, 2, true, 14);
    assert_int_equal(bench_peer(&b, 2).match, 14);
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND, 0)->message.index, 14);
    assert_int_equal(bench_peer(&b, 2).mode, RAFT_PEER_PROBE);
    bench_ack(&b, 2, 15);
    assert_int_equal(bench_peer(&b, 2).mode, RAFT_PEER_REPLICATE);
    bench_deinit(&b);
}

static void test_failed_snapshot_is_tried_again_later(void **state)
{
    (void)state;
    struct bench b;
    leader_with_an_empty_peer(&b);
    sent(&b, 2, false, 0);
    assert_int_equal(bench_peer(&b, 2).mode, RAFT_PEER_PROBE);
    assert_int_equal(b.out.snapshot_peer_count, 0);
    bench_tick(&b, BENCH_HEARTBEAT_US);
    assert_int_equal(b.out.snapshot_peer_count, 0); /* not to a peer that is silent */
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT_REPLY, .from = 2, .term = 2});
    assert_int_equal(b.out.snapshot_peer_count, 1);
    bench_deinit(&b);
}

/* The receiver's own word may come before the end of the stream does; a claim beyond our log is nobody's. */
static void test_receiver_speaks_first(void **state)
{
    (void)state;
    struct bench b;
    leader_with_an_empty_peer(&b);
    bench_ack(&b, 2, 99);
    assert_int_equal(bench_peer(&b, 2).mode, RAFT_PEER_SNAPSHOT);
    bench_ack(&b, 2, 14);
    assert_int_equal(bench_peer(&b, 2).mode, RAFT_PEER_PROBE);
    assert_int_equal(bench_peer(&b, 2).match, 14);
    sent(&b, 2, true, 14);
    assert_int_equal(bench_peer(&b, 2).match, 14);
    bench_deinit(&b);
}

/* Row 27: a cut while messages are under way; and only what was applied may be cut. */
static void test_cut(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 2, .terms = (uint64_t[]){1, 1, 2, 2, 0}});
    bench_append(&b, 2, 2, 4, 2, 3, NULL);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_CUT, .index = 2});
    assert_int_equal(bench_status(&b).base_index, 0); /* nothing applied yet */
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_APPLIED, .index = 99});
    assert_int_equal(bench_status(&b).applied, 3);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_CUT, .index = 4});
    assert_int_equal(bench_status(&b).base_index, 0);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_CUT, .index = 3});
    assert_int_equal(bench_status(&b).base_index, 3);
    assert_int_equal(raft_term_at(b.raft, 3), 2);
    assert_int_equal(raft_term_at(b.raft, 2), 0);
    bench_append(&b, 2, 2, 0, 0, 3, (uint64_t[]){1, 1, 2, 2, 2, 0});
    assert_false(bench_sent(&b, RAFT_MSG_APPEND_REPLY, 0)->message.reject);
    assert_int_equal(b.out.append_count, 1);
    assert_int_equal(b.out.append_source, 4);
    bench_deinit(&b);
}

/* The rows that allow a cut stand for entries whose own write was not reported yet. */
static void test_cut_counts_as_persisted(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1});
    bench_append(&b, 2, 1, 0, 0, 2, (uint64_t[]){1, 1, 0});
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_APPLIED, .index = 2});
    assert_int_equal(bench_status(&b).persisted, 0);
    bench_event(&b, (struct raft_event){.kind = RAFT_EVENT_CUT, .index = 2});
    assert_int_equal(bench_status(&b).persisted, 2);
    bench_deinit(&b);
}

static void test_7_install_on_a_short_log(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1, .terms = (uint64_t[]){1, 1, 0}});
    offer(&b, 2, 3, 20);
    assert_true(b.out.snapshot_accepted);
    assert_int_equal(bench_status(&b).leader, 2);
    assert_int_equal(bench_status(&b).term, 3);
    install(&b, 20, 3, "vvvl", 15);
    assert_true(b.out.log_reset);
    assert_true(b.out.members_changed);
    assert_int_equal(raft_members(b.raft)->count, 4);
    struct raft_status s = bench_status(&b);
    assert_true(s.base_index == 20 && s.last_index == 20 && s.last_term == 3 && s.commit == 20 &&
                s.applied == 20 && s.persisted == 20);
    const struct raft_out_message *m = bench_sent(&b, RAFT_MSG_APPEND_REPLY, 0);
    assert_int_equal(m->message.to, 2);
    assert_int_equal(m->message.index, 20);
    assert_int_equal(m->send, RAFT_SEND_DURABLE);
    bench_append(&b, 2, 3, 20, 3, 21, (uint64_t[]){3, 0}); /* row 85: the log goes on behind it */
    assert_int_equal(b.out.append[0].index, 21);
    assert_int_equal(b.out.commit, 21);
    bench_deinit(&b);
}

/* Section 7: an entry with the snapshot's index and term is there: what follows it stays. */
static void test_7_install_inside_the_log(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 2, .terms = (uint64_t[]){1, 1, 2, 2, 0}});
    install(&b, 3, 2, "vvv", 0);
    assert_false(b.out.log_reset);
    struct raft_status s = bench_status(&b);
    assert_true(s.base_index == 3 && s.last_index == 4 && s.commit == 3 && s.applied == 3);
    bench_deinit(&b);

    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 2, .terms = (uint64_t[]){1, 1, 1, 1, 0}});
    install(&b, 3, 2, "vvv", 0); /* another term: the tail is nobody's */
    assert_true(b.out.log_reset);
    assert_int_equal(bench_status(&b).last_index, 3);
    bench_deinit(&b);
}

/* Row 57: the configuration comes with its own index; later ones in the kept log stay in force. */
static void test_install_keeps_later_configurations(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv", .term = 1, .terms = (uint64_t[]){1, 1, 0}});
    struct raft_members later = bench_members("vvvv");
    struct raft_entry e = {.index = 3, .term = 1, .kind = RAFT_ENTRY_MEMBERS, .members = &later};
    bench_message(&b, (struct raft_message){.kind = RAFT_MSG_APPEND,
                                            .from = 2,
                                            .term = 1,
                                            .index = 2,
                                            .log_term = 1,
                                            .count = 1,
                                            .entries = &e});
    install(&b, 2, 1, "vvv", 1);
    assert_int_equal(raft_members(b.raft)->count, 4);
    bench_append(&b, 3, 2, 2, 1, 0, (uint64_t[]){2, 0}); /* and are still rolled back */
    assert_int_equal(raft_members(b.raft)->count, 3);
    bench_deinit(&b);
}

/* Row 72 and stale offers: nothing older than what we have is taken, and the leader is told what that is. */
static void test_stale_offers_are_refused(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, (struct bench_start){.roles = "vvv",
                                        .term = 3,
                                        .base = 10,
                                        .base_term = 3,
                                        .terms = (uint64_t[]){3, 0},
                                        .commit = 11});
    offer(&b, 2, 2, 50); /* old term */
    assert_false(b.out.snapshot_accepted);
    assert_int_equal(bench_status(&b).leader, 0);
    offer(&b, 2, 3, 11);
    assert_false(b.out.snapshot_accepted);
    assert_int_equal(bench_sent(&b, RAFT_MSG_APPEND_REPLY, 0)->message.index, 11);
    install(&b, 5, 1, "vvv", 0);
    assert_int_equal(bench_status(&b).base_index, 10);
    assert_int_equal(b.out.message_count, 0);
    install(&b, 11, 2, "vvv", 0); /* contradicts what is committed */
    assert_int_equal(bench_status(&b).base_index, 10);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peer_behind_the_log_gets_a_snapshot_once),
        cmocka_unit_test(test_failed_snapshot_is_tried_again_later),
        cmocka_unit_test(test_receiver_speaks_first),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_cut_counts_as_persisted),
        cmocka_unit_test(test_7_install_on_a_short_log),
        cmocka_unit_test(test_7_install_inside_the_log),
        cmocka_unit_test(test_install_keeps_later_configurations),
        cmocka_unit_test(test_stale_offers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
