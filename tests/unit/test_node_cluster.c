/* tests/unit/test_node_cluster.c - reads and writes on several hosts: who answers, and what, when things
 * break.
 */
#include "tests/unit/node_fixture.h"

#include "lib/base/rk_wire.h"

static int setup(void **state)
{
    *state = RK_NEW(struct world);
    world_init(*state);
    return 0;
}

static int teardown(void **state)
{
    world_deinit(*state);
    free(*state);
    return 0;
}

static struct host *follower_of(struct world *world, const struct host *leader)
{
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        if (world->hosts[i].running && &world->hosts[i] != leader)
            return &world->hosts[i];
    return NULL;
}

/* ---- reading and writing ------------------------------------------------------------------- */

static void each_host_takes_writes_and_reads_at_each_level(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *follower = follower_of(world, leader);

    must_put(leader, "a", "1");
    must_put(follower, "b", "2"); /* forwarded */
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(must_get(&world->hosts[i], "a", NODE_READ_CONSISTENT), "1");
        assert_string_equal(must_get(&world->hosts[i], "b", NODE_READ_CONSISTENT), "2");
        assert_string_equal(must_get(&world->hosts[i], "b", NODE_READ_LEADER), "2");
        wait_for(&world->hosts[i], status_applied, 4); /* base 1, no-op, two writes */
        assert_string_equal(must_get(&world->hosts[i], "b", NODE_READ_STALE), "2");
    }
}

static void a_call_that_must_not_be_forwarded_says_who_leads(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *follower = follower_of(world, leader);
    struct node_call *put = new_put(follower, "a", "1");

    put->no_forward = true;
    put = call(follower, put);
    assert_int_equal(put->outcome, NODE_E_NOT_LEADER);
    assert_int_equal(put->leader, id_of(leader));
    node_call_free(put);
}

/* A read is answered; that the query makes no sense stands in the result. */
static void malformed_query(struct host *host, const char *body)
{
    struct node_call *get = call(host, new_call(NODE_CALL_READ, body));
    struct mvcc_result result;

    assert_int_equal(get->outcome, NODE_OK);
    assert_int_equal(mvcc_result_decode(rk_blob_slice(get->answer), &result), 0);
    assert_int_equal(result.outcome, MVCC_E_MALFORMED);
    node_call_free(get);
}

static void malformed_bodies_are_refused(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *follower = follower_of(world, leader);
    struct node_call *bad;

    expect(leader, new_call(NODE_CALL_WRITE, NULL), NODE_E_BAD_REQUEST);
    malformed_query(leader, "garbage");
    malformed_query(leader, NULL);
    malformed_query(follower, "garbage");
    expect(leader, new_call(NODE_CALL_MEMBER_ADD, "garbage"), NODE_E_BAD_REQUEST);
    expect(leader, new_call(NODE_CALL_MEMBER_UPDATE, NULL), NODE_E_BAD_REQUEST);
    expect(leader, new_call((enum node_call_kind)50, NULL), NODE_E_BAD_REQUEST);
    bad = new_get("a", NODE_READ_CONSISTENT);
    bad->group = 3;
    expect(leader, bad, NODE_E_BAD_REQUEST);
}

/* What a member sends is not trusted more than what a client sends. */
static void calls_of_a_hostile_member_are_refused(void **state)
{
    static const uint32_t kinds[] = {0,
                                     9,
                                     NODE_CALL_STATUS,
                                     NODE_CALL_JOIN,
                                     NODE_CALL_LEAVE,
                                     NODE_CALL_SNAPSHOT_READ,
                                     NODE_CALL_INVITE_ADDRESS,
                                     0xffffffff,
                                     NODE_CALL_READ | 2u << 16,
                                     NODE_CALL_READ | 77u << 16};
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3);
    uint64_t follower = id_of(follower_of(world, leader));

    for (size_t i = 0; i < RK_ARRAY_LEN(kinds); i++) {
        struct node_message *message = node_message_new(NODE_MSG_CALL, follower, 0);
        struct rk_list list;

        message->call_kind = kinds[i];
        message->id = i;
        rk_list_init(&list);
        rk_list_push_back(&list, &message->mail.link);
        assert_true(leader->inlet.receive(leader->inlet.userdata, &list, 1));
    }
    must_put(leader, "a", "1");
}

static bool garble(struct node_message *message)
{
    static uint32_t turn;

    switch (turn++ % 11) {
    case 0:
        message->raft.term ^= turn % 3;
        break;
    case 1:
        message->raft.index += turn % 5;
        break;
    case 2:
        message->raft.commit += turn % 7;
        break;
    case 3:
        message->raft.kind = (enum raft_message_kind)(turn % 13);
        break;
    case 4:
        message->group = turn % 2;
        break;
    case 5:
        for (uint32_t i = 0; i < message->raft.count; i++)
            if (message->entries)
                message->entries[i].kind = (enum raft_entry_kind)(turn % 5);
        break;
    case 6:
        for (uint32_t i = 0; i < message->raft.count; i++)
            if (message->entries)
                message->entries[i].index += turn % 2;
        break;
    default:
        break;
    }
    return true;
}

/* Consistency is lost when members lie; the process must not be. */
static void garbled_messages_trip_no_assertion(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3);

    WORLD_SET(world, spoil, garble);
    for (int i = 0; i < 40; i++) {
        struct node_call *put = new_put(leader, "a", "1");
        put->deadline_us = now_us() + 30 * RK_USEC_PER_MSEC;
        node_call_free(call(&world->hosts[i % 3], put));
    }
    WORLD_SET(world, spoil, NULL);
}

/* ---- a leader that is lost ---------------------------------------------------------------------- */

static void a_lost_leader_answers_pending_writes_with_unknown(void **state)
{
    struct world *world = *state;
    struct host *old = world_cluster(world, 3), *leader;
    struct node_call *put;

    must_put(old, "a", "1");
    world_isolate(world, old->number, true);
    put = new_put(old, "a", "2");
    put->deadline_us = now_us() + WAIT_US; /* long: its fate is to be decided before */
    ask(old, put);
    leader = wait_other_leader(world, old);
    must_put(leader, "a", "3");
    world_isolate(world, old->number, false);
    /* Another leader's entry takes its place: here, so nobody can say that it is nowhere else. */
    put = take(world);
    assert_int_equal(put->outcome, NODE_E_TIMEOUT);
    node_call_free(put);
    assert_string_equal(must_get(old, "a", NODE_READ_CONSISTENT), "3");
}

static void a_write_without_a_majority_ends_at_its_deadline(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3);
    uint64_t asked = now_us(), took;
    struct node_call *put;

    world_isolate(world, leader->number, true);
    put = new_put(leader, "a", "1");
    put->deadline_us = asked + 100 * RK_USEC_PER_MSEC;
    expect(leader, put, NODE_E_TIMEOUT);
    took = now_us() - asked;
    assert_true(took >= 100 * RK_USEC_PER_MSEC && took < 2 * RK_USEC_PER_SEC);
}

static void a_cut_link_ends_forwarded_calls(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *follower = follower_of(world, leader);
    struct node_call *put = new_put(follower, "a", "1"), *get = new_get("a", NODE_READ_CONSISTENT);
    unsigned unknown = 0, nothing = 0;

    WORLD_SET(world, hold_calls, true);
    ask(follower, put);
    ask(follower, get);
    nap_ms(50);
    world_cut(world, leader->number, follower->number, true);
    for (int i = 0; i < 2; i++) {
        struct node_call *back = take(world);

        unknown += back->kind == NODE_CALL_WRITE && back->outcome == NODE_E_TIMEOUT;
        nothing += back->kind == NODE_CALL_READ && back->outcome == NODE_E_NO_LEADER;
        node_call_free(back);
    }
    assert_int_equal(unknown, 1);
    assert_int_equal(nothing, 1);
}

static void many_forwarded_calls_end_together_and_fast(void **state)
{
    enum { MANY = 8000 };
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *follower = follower_of(world, leader);
    uint64_t began;

    WORLD_SET(world, hold_calls, true);
    for (int i = 0; i < MANY; i++)
        ask(follower, new_put(follower, "a", "1"));
    nap_ms(100);
    began = now_us();
    world_cut(world, leader->number, follower->number, true);
    for (int i = 0; i < MANY; i++) {
        struct node_call *back = take(world);
        assert_int_equal(back->outcome, NODE_E_TIMEOUT);
        node_call_free(back);
    }
    assert_true(now_us() - began < 2 * RK_USEC_PER_SEC);
}

static void without_a_leader_calls_are_refused_at_once(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3);
    const char *reason;

    must_put(leader, "a", "1");
    host_stop(follower_of(world, leader));
    host_stop(follower_of(world, leader));
    for (uint64_t until = now_us() + WAIT_US; node_healthy(leader->node, &reason);) {
        assert_true(now_us() < until); /* it steps down by itself: CheckQuorum */
        nap_ms(10);
    }
    assert_string_equal(reason, "there is no leader");
    expect(leader, new_put(leader, "a", "2"), NODE_E_NO_LEADER);
    expect(leader, new_get("a", NODE_READ_CONSISTENT), NODE_E_NO_LEADER);
    expect(leader, new_get("a", NODE_READ_LEADER), NODE_E_NO_LEADER);
    assert_string_equal(must_get(leader, "a", NODE_READ_STALE), "1");
}

static void lost_messages_cost_time_only(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3);
    char value[16];

    WORLD_SET(world, loss_percent, 20);
    for (int i = 0; i < 30; i++) {
        snprintf(value, sizeof(value), "%d", i);
        must_put(&world->hosts[i % 3], "a", value);
    }
    WORLD_SET(world, loss_percent, 0);
    leader = wait_leader(world);
    assert_string_equal(must_get(leader, "a", NODE_READ_CONSISTENT), "29");
}

/* ---- bounds ---------------------------------------------------------------------------------------- */

static void beyond_the_bound_calls_are_refused_as_busy(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *follower = follower_of(world, leader);
    unsigned busy = 0, unknown = 0;

    WORLD_SET(world, hold_calls, true); /* they wait for answers that never come */
    for (unsigned i = 0; i < RK_PENDING_MAX + 100; i++) {
        struct node_call *put = new_put(follower, "a", "1");
        put->deadline_us = now_us() + 3 * RK_USEC_PER_SEC;
        ask(follower, put);
    }
    for (unsigned i = 0; i < RK_PENDING_MAX + 100; i++) {
        struct node_call *back = take(world);
        busy += back->outcome == NODE_E_BUSY;
        unknown += back->outcome == NODE_E_TIMEOUT;
        node_call_free(back);
    }
    assert_int_equal(busy + unknown, RK_PENDING_MAX + 100);
    assert_true(busy >= 100);
    WORLD_SET(world, hold_calls, false);
    must_put(follower, "a", "2"); /* and the bound is given back */
}

/* ---- stopping ---------------------------------------------------------------------------------------------
 */

static void a_stop_with_calls_in_flight_answers_each_once(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *follower = follower_of(world, leader);

    for (int i = 0; i < 300; i++) {
        ask(leader, i % 2 ? new_put(leader, "a", "1") : new_get("a", NODE_READ_CONSISTENT));
        ask(follower, i % 2 ? new_put(follower, "a", "1") : new_get("a", NODE_READ_STALE));
    }
    host_stop(follower);
    for (int i = 0; i < 300; i++)
        ask(leader, i % 2 ? new_put(leader, "a", "1") : new_get("a", NODE_READ_CONSISTENT));
    host_stop(leader);
    for (int i = 0; i < 900; i++)
        node_call_free(take(world));
}

static void a_stopped_node_refuses_calls(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);

    wait_leader(world);
    node_stop(host->node, 100);
    expect(host, new_put(host, "a", "1"), NODE_E_UNAVAILABLE);
    expect(host, new_get("a", NODE_READ_STALE), NODE_E_UNAVAILABLE);
    host->running = false;
}

static void a_stopping_leader_hands_leadership_over(void **state)
{
    struct world *world = *state;
    struct host *old, *leader;
    uint64_t began;

    world->tune.election_timeout_ms = 2000; /* an election would be noticed */
    old = world_cluster(world, 3);
    must_put(old, "a", "1");
    wait_for(follower_of(world, old), status_applied, 3);
    began = now_us();
    node_stop(old->node, 1500);
    leader = wait_other_leader(world, old);
    assert_true(now_us() - began < 1900 * RK_USEC_PER_MSEC);
    assert_ptr_not_equal(leader, old);
    old->running = false;
}

/* ---- transfer
 * ------------------------------------------------------------------------------------------------ */

static void leadership_is_handed_to_whom_was_named(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *follower = follower_of(world, leader);
    struct node_call *transfer;
    uint64_t id = id_of(follower);

    must_put(leader, "a", "1");
    wait_for(follower, status_applied, 3);
    transfer = call(follower, new_call(NODE_CALL_TRANSFER, follower->name)); /* forwarded to the leader */
    assert_int_equal(transfer->outcome, NODE_OK);
    assert_int_equal(transfer->answer->len, 8);
    assert_int_equal(rk_load_u64(transfer->answer->data), id);
    node_call_free(transfer);
    assert_ptr_equal(wait_other_leader(world, leader), follower);
}

static void a_transfer_to_nobody_is_refused(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3);

    expect(leader, new_call(NODE_CALL_TRANSFER, "stranger"), NODE_E_NOT_FOUND);
    expect(leader, new_call(NODE_CALL_TRANSFER, leader->name), NODE_OK); /* it leads already */
    host_stop(follower_of(world, leader));
    host_stop(follower_of(world, leader));
}

static void the_only_voter_cannot_hand_over(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);

    wait_leader(world);
    expect(host, new_call(NODE_CALL_TRANSFER, NULL), NODE_E_CONFLICT);
    expect(host, new_call(NODE_CALL_LEAVE, NULL), NODE_E_CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_host_takes_writes_and_reads_at_each_level, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_that_must_not_be_forwarded_says_who_leads, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_bodies_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_of_a_hostile_member_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(garbled_messages_trip_no_assertion, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_leader_answers_pending_writes_with_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(a_write_without_a_majority_ends_at_its_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cut_link_ends_forwarded_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(many_forwarded_calls_end_together_and_fast, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_leader_calls_are_refused_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_messages_cost_time_only, setup, teardown),
        cmocka_unit_test_setup_teardown(beyond_the_bound_calls_are_refused_as_busy, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_with_calls_in_flight_answers_each_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopped_node_refuses_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopping_leader_hands_leadership_over, setup, teardown),
        cmocka_unit_test_setup_teardown(leadership_is_handed_to_whom_was_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_transfer_to_nobody_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_only_voter_cannot_hand_over, setup, teardown),
    };

    return cmocka_run_group_tests_name("node_cluster", tests, NULL, NULL);
}
