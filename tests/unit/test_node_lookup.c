/* tests/unit/test_node_lookup.c - a member that was away while others came and went, and answers that come
 * too late. */
#include "tests/unit/node_fixture.h"

#include "lib/node/node_internal.h"

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

static void join(struct world *world, size_t number, struct host *at)
{
    struct host *host = host_start(world, number);

    wait_for(host, status_applied, 1);
    expect(host, new_call(NODE_CALL_JOIN, at->address), NODE_OK);
    wait_for(host, status_join, NODE_JOIN_DONE);
}

/* Asks whoever leads to hand over to host, until it has. */
static void make_leader(struct world *world, struct host *host)
{
    for (struct host *now = wait_leader(world); now != host; now = wait_leader(world)) {
        struct node_call *answer = call(now, new_call(NODE_CALL_TRANSFER, host->name));

        node_call_free(answer);
    }
}

static void a_member_that_does_not_know_the_leader_catches_up(void **state)
{
    struct world *world = *state;
    struct host *away, *newcomer = &world->hosts[3];

    world->tune.election_timeout_ms = 100;
    world->tune.heartbeat_ms = 20;
    away = world_cluster(world, 3) == &world->hosts[2] ? &world->hosts[1] : &world->hosts[2];
    host_stop(away);
    world->initial_count = 0; /* the newcomer begins as one by itself */
    join(world, 3, wait_leader(world));
    make_leader(world, newcomer);
    must_put(newcomer, "a", "1");
    host_start(world, away->number);
    wait_for(away, status_members, 4);
    assert_string_equal(must_get(away, "a", NODE_READ_CONSISTENT), "1");
    world->initial_count = 3; /* for freeing them */
}

/* Or the answer to a call of the life before would be taken for that of a new one. */
static void ids_of_calls_to_others_differ_from_life_to_life(void **state)
{
    struct world *world = *state;
    uint64_t before;

    assert_int_equal(host_open(world, 0, NULL), 0);
    before = world->hosts[0].node->next_id;
    host_stop(&world->hosts[0]);
    assert_int_equal(host_open(world, 0, NULL), 0);
    assert_true(world->hosts[0].node->next_id > before + 1000000 ||
                world->hosts[0].node->next_id + 1000000 < before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_member_that_does_not_know_the_leader_catches_up, setup, teardown),
        cmocka_unit_test_setup_teardown(ids_of_calls_to_others_differ_from_life_to_life, setup, teardown),
    };

    return cmocka_run_group_tests_name("node_lookup", tests, NULL, NULL);
}
