/* tests/unit/test_node_replace.c - members that take others' places, learners, demotion, priorities. */
#include "tests/unit/node_fixture.h"

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

static struct node_call *new_replace(const char *old, const char *new)
{
    const struct rk_slice pairs[1][2] = {{rk_slice_str(old), rk_slice_str(new)}};
    struct node_call *call = new_call(NODE_CALL_MEMBER_REPLACE, NULL);

    call->body = node_replace_encode(pairs, 1);
    return call;
}

/* A host that holds nothing becomes a learner that stays one. */
static struct host *learner(struct world *world, size_t number, struct host *at)
{
    uint32_t initial_count = world->initial_count;
    struct node_call *invite;
    struct host *host;

    world->initial_count = 0; /* it is not one of those that began */
    host = host_start(world, number);
    world->initial_count = initial_count;
    invite = new_call(NODE_CALL_INVITE_ADDRESS, host->address);
    wait_for(host, status_applied, 1);
    invite->learner = true;
    expect(at, invite, NODE_OK);
    wait_for(host, status_join, NODE_JOIN_DONE);
    return host;
}

/* Until the leader knows that it is away: twice the election timeout. */
static void stop_for_long(struct host *host)
{
    host_stop(host);
    nap_ms(600);
}

static enum raft_member_role role_in(struct host *host, const char *name)
{
    struct node_status *status = status_of(host);
    const struct node_member *member = node_members_find_name(&status->members, name);
    enum raft_member_role role = member ? member->role : 0;

    free(status);
    return role;
}

static bool is_settled(const struct node_status *status, uint64_t unused)
{
    struct raft_members core;

    (void)unused;
    node_members_to_raft(&status->members, &core);
    return !raft_members_joint(&core) && !node_members_has_plan(&status->members);
}

static bool leads(const struct node_status *status, uint64_t unused)
{
    (void)unused;
    return status->raft.role == RAFT_LEADER && status->raft.ready;
}

static void three_of_five_are_replaced_in_one_call(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 5);
    struct rk_slice pairs[3][2];
    struct node_call *replace = new_call(NODE_CALL_MEMBER_REPLACE, NULL);

    must_put(leader, "a", "1");
    for (size_t i = 0; i < 3; i++) { /* the leader, and two others: 0, 1 and 2, or whoever leads and two */
        size_t old = i == 0 ? leader->number : (leader->number + i) % 5;
        learner(world, 5 + i, leader);
        pairs[i][0] = rk_slice_str(world->hosts[old].name);
        pairs[i][1] = rk_slice_str(world->hosts[5 + i].name);
    }
    replace->body = node_replace_encode((const struct rk_slice(*)[2])pairs, 3);
    expect(leader, replace, NODE_OK);
    for (size_t i = 0; i < 3; i++)
        wait_for(&world->hosts[(leader->number + i) % 5], status_removed, 0);
    leader = &world->hosts[5];
    wait_for(leader, is_settled, 0);
    wait_for(leader, status_members, 5);
    wait_for(leader, status_voters, 5);
    leader = wait_leader(world);
    must_put(leader, "b", "2");
    assert_string_equal(must_get(leader, "a", NODE_READ_CONSISTENT), "1");
}

static void what_cannot_be_replaced_is_said(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 2);
    struct host *other = &world->hosts[1 - leader->number];

    expect(leader, new_call(NODE_CALL_MEMBER_REPLACE, "garbage"), NODE_E_CONFLICT);
    expect(leader, new_call(NODE_CALL_MEMBER_REPLACE, NULL), NODE_E_CONFLICT);
    expect(leader, new_replace("node1", "stranger"), NODE_E_CONFLICT);
    expect(leader, new_replace("node1", "node2"), NODE_E_CONFLICT);
    assert_non_null(strstr(last_text, "must be a learner"));
    learner(world, 2, leader);
    expect(leader, new_replace("node3", "node3"), NODE_E_CONFLICT);
    assert_non_null(strstr(last_text, "only a voter"));
    expect(leader, new_call(NODE_CALL_MEMBER_ABORT, NULL), NODE_E_CONFLICT);
    stop_for_long(&world->hosts[2]);
    expect(leader, new_replace(other->name, "node3"), NODE_OK);
    expect(leader, new_replace(leader->name, "node3"), NODE_E_CONFLICT);
    assert_non_null(strstr(last_text, "only once"));
}

/* Nobody's vote is at risk while the newcomer is away; aborted, it is a learner as before. */
static void a_replacement_that_never_catches_up_is_aborted(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3);
    struct host *other = &world->hosts[(leader->number + 1) % 3];

    learner(world, 3, leader);
    stop_for_long(&world->hosts[3]);
    expect(leader, new_replace(other->name, "node4"), NODE_OK);
    nap_ms(700);
    must_put(leader, "a", "1");
    assert_int_equal(role_in(leader, other->name), RAFT_VOTER);
    assert_int_equal(role_in(leader, "node4"), RAFT_LEARNER);
    expect(other, new_call(NODE_CALL_MEMBER_ABORT, NULL), NODE_OK); /* asked of any member */
    wait_for(leader, is_settled, 0);
    host_start(world, 3);
    nap_ms(700);
    assert_int_equal(role_in(leader, "node4"), RAFT_LEARNER);
    assert_int_equal(role_in(leader, other->name), RAFT_VOTER);
    expect(leader, new_replace(other->name, "node4"), NODE_OK); /* once more, and now it is there */
    wait_for(other, status_removed, 0);
    wait_for(leader, status_voters, 3);
}

static void a_replacement_that_takes_too_long_is_given_up(void **state)
{
    struct world *world = *state;
    struct host *leader;

    world->tune.replace_timeout_ms = 500;
    leader = world_cluster(world, 3);
    learner(world, 3, leader);
    stop_for_long(&world->hosts[3]);
    expect(leader, new_replace(world->hosts[(leader->number + 1) % 3].name, "node4"), NODE_OK);
    wait_for(leader, is_settled, 0);
    wait_for(leader, status_voters, 3);
    assert_int_equal(role_in(leader, "node4"), RAFT_LEARNER);
}

/* The plan is in the log: whoever leads carries it out. */
static void a_replacement_survives_its_leader(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *old, *next;

    learner(world, 3, leader);
    stop_for_long(&world->hosts[3]);
    old = &world->hosts[(leader->number + 1) % 3];
    expect(leader, new_replace(old->name, "node4"), NODE_OK);
    expect(leader, new_call(NODE_CALL_TRANSFER, world->hosts[(leader->number + 2) % 3].name), NODE_OK);
    next = wait_other_leader(world, leader);
    host_start(world, 3);
    wait_for(old, status_removed, 0);
    wait_for(next, status_voters, 3);
    assert_int_equal(role_in(next, "node4"), RAFT_VOTER);
}

static void a_learner_that_lags_is_not_promoted_and_it_is_said_how_far(void **state)
{
    struct world *world = *state;
    struct host *leader;

    world->tune.promote_lag_entries = 1;
    leader = world_cluster(world, 1);
    learner(world, 1, leader);
    assert_int_equal(role_in(leader, "node2"), RAFT_LEARNER); /* it is not promoted by itself */
    stop_for_long(&world->hosts[1]);
    for (int i = 0; i < 5; i++)
        must_put(leader, "a", "1");
    expect(leader, new_call(NODE_CALL_MEMBER_PROMOTE, "node2"), NODE_E_CONFLICT);
    assert_non_null(strstr(last_text, "node2 has not caught up: the leader does not hear of it"));
    host_start(world, 1);
    for (int i = 0; i < 100 && role_in(leader, "node2") == RAFT_LEARNER; i++) {
        struct node_call *promote = call(leader, new_call(NODE_CALL_MEMBER_PROMOTE, "node2"));

        if (promote->outcome != NODE_OK)
            assert_non_null(strstr(promote->text, "has not caught up"));
        node_call_free(promote);
        nap_ms(50);
    }
    wait_for(leader, status_voters, 2);
}

/* A leader that is new has not heard of everybody yet. */
static void demote(struct host *leader, const struct host *host)
{
    enum node_outcome outcome = NODE_E_CONFLICT;

    for (int i = 0; i < 100 && outcome == NODE_E_CONFLICT; i++) {
        struct node_call *demote = call(leader, new_call(NODE_CALL_MEMBER_DEMOTE, host->name));

        outcome = demote->outcome;
        node_call_free(demote);
        nap_ms(outcome == NODE_E_CONFLICT ? 50 : 0);
    }
    assert_int_equal(outcome, NODE_OK);
}

static void a_voter_is_demoted_and_stays_a_learner(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *other;

    other = &world->hosts[(leader->number + 1) % 3];
    expect(leader, new_call(NODE_CALL_MEMBER_DEMOTE, "stranger"), NODE_E_NOT_FOUND);
    demote(leader, other);
    wait_for(leader, status_voters, 2);
    nap_ms(700);
    assert_int_equal(role_in(leader, other->name), RAFT_LEARNER);
    expect(leader, new_call(NODE_CALL_MEMBER_PROMOTE, other->name), NODE_OK);
    wait_for(leader, status_voters, 3);
    demote(leader, leader); /* another leads */
    other = wait_other_leader(world, leader);
    wait_for(other, status_voters, 2);
    world_isolate(world, leader->number, true);
    must_put(other, "a", "1");
}

static void the_last_votes_stay(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 1);

    expect(leader, new_call(NODE_CALL_MEMBER_DEMOTE, "node1"), NODE_E_CONFLICT);
    assert_non_null(strstr(last_text, "majority"));
}

static struct node_call *new_priority(uint8_t priority, const char *name)
{
    struct node_call *call = new_call(NODE_CALL_MEMBER_PRIORITY, NULL);
    char body[32];

    body[0] = (char)priority;
    snprintf(body + 1, sizeof(body) - 1, "%s", name);
    call->body = rk_blob_copy(rk_slice(body, 1 + strlen(name)));
    return call;
}

static void leadership_goes_where_priority_is(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3);
    struct host *best = &world->hosts[(leader->number + 1) % 3];

    expect(leader, new_priority(101, best->name), NODE_E_BAD_REQUEST);
    expect(leader, new_priority(60, "stranger"), NODE_E_NOT_FOUND);
    expect(leader, new_priority(60, best->name), NODE_OK);
    wait_for(best, leads, 0);
    world_isolate(world, best->number, true); /* it is away: another leads */
    leader = wait_other_leader(world, best);
    must_put(leader, "a", "1");
    world_isolate(world, best->number, false);
    wait_for(best, leads, 0);
}

/* Consistent reads by lease see what was written, also right after the leadership moved. */
static void lease_reads_are_consistent(void **state)
{
    struct world *world = *state;
    struct host *leader;
    char value[16];

    world->tune.lease_reads = true;
    leader = world_cluster(world, 3);
    for (int i = 0; i < 6; i++) {
        snprintf(value, sizeof(value), "%d", i);
        must_put(leader, "a", value);
        for (size_t n = 0; n < 3; n++)
            assert_string_equal(must_get(&world->hosts[n], "a", NODE_READ_CONSISTENT), value);
        if (i % 2 == 1) {
            expect(leader, new_call(NODE_CALL_TRANSFER, NULL), NODE_OK);
            leader = wait_other_leader(world, leader);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(three_of_five_are_replaced_in_one_call, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_replaced_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(a_replacement_that_never_catches_up_is_aborted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_replacement_that_takes_too_long_is_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(a_replacement_survives_its_leader, setup, teardown),
        cmocka_unit_test_setup_teardown(a_learner_that_lags_is_not_promoted_and_it_is_said_how_far, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_voter_is_demoted_and_stays_a_learner, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_votes_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(leadership_goes_where_priority_is, setup, teardown),
        cmocka_unit_test_setup_teardown(lease_reads_are_consistent, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
