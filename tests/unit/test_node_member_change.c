/* tests/unit/test_node_member_change.c - hosts join, are promoted, leave and are removed. */
#include "tests/unit/node_fixture.h"

#include <sys/stat.h>

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

/* ---- joining --------------------------------------------------------------------------------- */

static void join(struct world *world, size_t number, struct host *at, bool discard)
{
    struct host *host = world->hosts[number].node ? &world->hosts[number] : host_start(world, number);
    struct node_call *asked = new_call(NODE_CALL_JOIN, at->address);

    wait_for(host, status_applied, 1);
    asked->discard = discard;
    expect(host, asked, NODE_OK);
}

static void joined(struct world *world, size_t number, struct host *at, uint64_t members)
{
    wait_for(&world->hosts[number], status_join, NODE_JOIN_DONE);
    wait_for(at, status_voters, members);
}

/* node1 alone with a key, then node2 .. count join it. */
static struct host *grown(struct world *world, size_t count)
{
    struct host *first = host_start(world, 0);

    must_put(first, "a", "1");
    for (size_t i = 1; i < count; i++) {
        join(world, i, first, false);
        joined(world, i, first, i + 1);
    }
    return wait_leader(world);
}

static void a_pristine_host_joins_as_learner_and_becomes_a_voter(void **state)
{
    struct world *world = *state;
    struct host *first = grown(world, 2), *second = &world->hosts[1];
    struct node_status *a = status_of(first), *b = status_of(second);

    assert_int_equal(a->cluster_id, b->cluster_id);
    assert_int_equal(b->members.count, 2);
    free(a);
    free(b);
    assert_string_equal(must_get(second, "a", NODE_READ_CONSISTENT), "1");
    wait_for(second, status_applied, 4);
    assert_string_equal(must_get(second, "a", NODE_READ_STALE), "1");
    must_put(second, "b", "2");
    host_stop(second); /* what it has become survives a restart */
    host_start(world, 1);
    assert_string_equal(must_get(second, "b", NODE_READ_CONSISTENT), "2");
}

/* One change at a time: whoever comes in between tries again by itself. */
static void several_hosts_join_at_once(void **state)
{
    struct world *world = *state;
    struct host *first = host_start(world, 0);

    must_put(first, "a", "1");
    for (size_t i = 1; i < 4; i++)
        host_start(world, i);
    for (size_t i = 1; i < 4; i++)
        join(world, i, first, false);
    for (size_t i = 1; i < 4; i++)
        wait_for(&world->hosts[i], status_join, NODE_JOIN_DONE);
    wait_for(first, status_voters, 4);
}

static void a_join_may_be_asked_of_any_member(void **state)
{
    struct world *world = *state;
    struct host *leader = grown(world, 2);
    struct host *follower = leader == &world->hosts[0] ? &world->hosts[1] : &world->hosts[0];

    join(world, 2, follower, false);
    joined(world, 2, leader, 3);
}

static void an_invited_host_joins(void **state)
{
    struct world *world = *state;
    struct host *first = host_start(world, 0), *second = host_start(world, 1);

    must_put(first, "a", "1");
    wait_for(second, status_applied, 1);
    expect(first, new_call(NODE_CALL_INVITE_ADDRESS, second->address), NODE_OK);
    joined(world, 1, first, 2);
    expect(first, new_call(NODE_CALL_INVITE_ADDRESS, second->address), NODE_E_CONFLICT); /* has joined */
    expect(first, new_call(NODE_CALL_INVITE_ADDRESS, "nobody:1"), NODE_E_UNREACHABLE);
    assert_string_equal(last_text, "nobody? answers there"); /* not printable: not passed on */
    expect(first, new_call(NODE_CALL_INVITE_ADDRESS, ""), NODE_E_BAD_REQUEST);
}

static void keys_are_given_up_only_when_asked(void **state)
{
    struct world *world = *state;
    struct host *first = host_start(world, 0), *second = host_start(world, 1);
    uint64_t id;

    must_put(first, "a", "1");
    must_put(second, "a", "other");
    wait_for(second, status_applied, 3);
    id = id_of(second);
    expect(second, new_call(NODE_CALL_JOIN, first->address), NODE_E_CONFLICT);
    assert_non_null(strstr(last_text, "--discard-data"));
    join(world, 1, first, true);
    joined(world, 1, first, 2);
    assert_true(id_of(second) != id); /* what held keys comes back as somebody new */
    assert_string_equal(must_get(second, "a", NODE_READ_CONSISTENT), "1");
}

static void addresses_that_cannot_be_are_refused(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);
    char longest[RK_ADDRESS_BYTES_MAX + 8];

    wait_for(host, status_applied, 1);
    memset(longest, 'h', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    expect(host, new_call(NODE_CALL_JOIN, NULL), NODE_E_BAD_REQUEST);
    expect(host, new_call(NODE_CALL_JOIN, "host:1\nforged log line"), NODE_E_BAD_REQUEST);
    expect(host, new_call(NODE_CALL_JOIN, longest), NODE_E_BAD_REQUEST);
}

static void a_name_or_an_address_that_is_taken_is_refused(void **state)
{
    struct world *world = *state;
    struct host *first = host_start(world, 0), *second;

    must_put(first, "a", "1");
    world->tune.name = "node1";
    second = host_start(world, 1);
    join(world, 1, first, false);
    wait_for(second, status_join, NODE_JOIN_FAILED);
    host_stop(second);
    host_wipe(second);
    world->tune.name = NULL;
    world->tune.peer_address = first->address;
    second = host_start(world, 1);
    wait_for(second, status_applied, 1);
    join(world, 1, first, false);
    wait_for(second, status_join, NODE_JOIN_FAILED);
    wait_for(first, status_members, 1);
    must_put(second, "b", "still alone"); /* nothing was lost by trying */
}

static void joining_again_while_at_it_is_refused(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 1);

    wait_for(host, status_applied, 1);
    expect(host, new_call(NODE_CALL_JOIN, "nobody:1"), NODE_OK);
    expect(host, new_call(NODE_CALL_JOIN, "nobody:1"), NODE_E_CONFLICT);
    must_put(host, "a", "1"); /* until somebody has taken it in it serves as before */
}

/* The wipe cannot be finished: the host stops, and says so once; it must not run on without a core. */
static void a_join_that_breaks_off_half_way_stops_the_host(void **state)
{
    struct world *world = *state;
    struct host *first = host_start(world, 0), *second = host_start(world, 1);
    RK_CLEANUP(rk_freep) char *obstacle = rk_asprintf("%s/wipe", second->path);

    must_put(first, "a", "1");
    wait_for(second, status_applied, 1);
    assert_int_equal(mkdir(obstacle, 0700), 0);
    expect(second, new_call(NODE_CALL_JOIN, first->address), NODE_OK);
    for (uint64_t until = now_us() + WAIT_US; atomic_load(&second->failures) == 0;) {
        assert_true(now_us() < until);
        ask(second, new_get("a", NODE_READ_CONSISTENT));
        nap_ms(2);
    }
    ask(second, new_put(second, "a", "2"));
    host_stop(second);
    assert_int_equal(atomic_load(&second->failures), 1);
}

static void a_snapshot_stream_outlives_the_rows_that_it_reads(void **state)
{
    struct world *world = *state;
    struct host *first = host_start(world, 0), *second = host_start(world, 1);
    struct node_call *snapshot;
    struct node_stream *stream;
    struct rk_mailbox box;
    struct rk_list mails;

    assert_int_equal(rk_mailbox_init(&box, 8), 0);
    rk_list_init(&mails);
    must_put(first, "a", "1");
    wait_for(second, status_applied, 1);
    snapshot = call(second, new_call(NODE_CALL_SNAPSHOT_READ, NULL));
    assert_int_equal(snapshot->outcome, NODE_OK);
    stream = snapshot->stream;
    snapshot->stream = NULL;
    node_call_free(snapshot);
    stream->reply_to = &box;
    join(world, 1, first, false); /* drops the rows under it */
    joined(world, 1, first, 2);
    node_stream_next(stream);
    rk_mailbox_wait(&box, now_us() + WAIT_US);
    assert_int_equal(rk_mailbox_take(&box, &mails), 1);
    assert_true(stream->error < 0);
    node_stream_free(stream);
    rk_mailbox_deinit(&box);
}

/* ---- removing, promoting --------------------------------------------------------------------------- */

static void a_removed_host_knows_it_and_its_id_never_comes_back(void **state)
{
    struct world *world = *state;
    struct host *leader = grown(world, 3), *gone;
    struct node_call *add;
    struct node_member record = {.role = RAFT_LEARNER};
    uint64_t id;

    gone = leader == &world->hosts[2] ? &world->hosts[1] : &world->hosts[2];
    id = id_of(gone);
    expect(leader, new_call(NODE_CALL_MEMBER_REMOVE, "stranger"), NODE_E_NOT_FOUND);
    expect(leader, new_call(NODE_CALL_MEMBER_REMOVE, NULL), NODE_E_NOT_FOUND);
    expect(leader, new_call(NODE_CALL_MEMBER_REMOVE, gone->name), NODE_OK);
    wait_for(leader, status_members, 2);
    wait_for(gone, status_removed, 0);
    expect(gone, new_put(gone, "a", "2"), NODE_E_UNAVAILABLE);
    assert_string_equal(must_get(gone, "a", NODE_READ_STALE), "1");
    host_stop(gone);
    host_start(world, gone->number);
    wait_for(gone, status_removed, 0); /* it remembers */

    record.id = id;
    snprintf(record.name, sizeof(record.name), "%s", gone->name);
    snprintf(record.peer_address, sizeof(record.peer_address), "%s", gone->address);
    add = new_call(NODE_CALL_MEMBER_ADD, NULL);
    add->body = node_member_encode(&record);
    expect(leader, add, NODE_E_CONFLICT);
    assert_non_null(strstr(last_text, "never used again"));

    expect(gone, new_call(NODE_CALL_JOIN, leader->address), NODE_E_CONFLICT); /* it holds keys */
    join(world, gone->number, leader, true);
    joined(world, gone->number, leader, 3);
    assert_true(id_of(gone) != id);
}

static void a_host_that_missed_its_removal_is_told_at_the_door(void **state)
{
    struct world *world = *state;
    struct host *leader = grown(world, 3);
    struct host *gone = leader == &world->hosts[2] ? &world->hosts[1] : &world->hosts[2];

    host_stop(gone);
    expect(leader, new_call(NODE_CALL_MEMBER_REMOVE, gone->name), NODE_OK);
    host_start(world, gone->number);
    wait_for(gone, status_removed, 0);
}

static void a_removal_that_would_end_the_majority_is_refused(void **state)
{
    struct world *world = *state;
    struct host *leader = grown(world, 3), *down, *up;

    down = leader == &world->hosts[2] ? &world->hosts[1] : &world->hosts[2];
    up = leader == &world->hosts[0] ? (down == &world->hosts[1] ? &world->hosts[2] : &world->hosts[1])
                                    : &world->hosts[0];
    host_stop(down);
    nap_ms(600); /* twice the election timeout: it counts as away */
    expect(leader, new_call(NODE_CALL_MEMBER_REMOVE, up->name), NODE_E_CONFLICT);
    assert_non_null(strstr(last_text, "majority"));
    expect(leader, new_call(NODE_CALL_MEMBER_REMOVE, down->name), NODE_OK); /* the one that is down may go */
    must_put(leader, "a", "2");
}

static struct node_call *new_add(uint64_t id, const char *name, bool promote)
{
    struct node_member record = {.id = id, .role = RAFT_LEARNER, .promote = promote};
    struct node_call *add = new_call(NODE_CALL_MEMBER_ADD, NULL);

    snprintf(record.name, sizeof(record.name), "%s", name);
    snprintf(record.peer_address, sizeof(record.peer_address), "%s:1", name);
    add->body = node_member_encode(&record);
    return add;
}

static void a_learner_that_never_started_is_not_promoted(void **state)
{
    struct world *world = *state;
    struct host *leader = grown(world, 1);

    expect(leader, new_add(77, "ghost", true), NODE_OK);
    expect(leader, new_add(77, "ghost", true), NODE_OK); /* an attempt of the same, repeated */
    expect(leader, new_add(77, "ghost2", true), NODE_E_CONFLICT);
    expect(leader, new_call(NODE_CALL_MEMBER_PROMOTE, "ghost"), NODE_E_CONFLICT);
    assert_non_null(strstr(last_text, "caught up"));
    expect(leader, new_call(NODE_CALL_MEMBER_PROMOTE, "000000000000004d"), NODE_E_CONFLICT); /* by id */
    expect(leader, new_call(NODE_CALL_MEMBER_PROMOTE, "nobody"), NODE_E_NOT_FOUND);
    expect(leader, new_call(NODE_CALL_MEMBER_PROMOTE, "node1"), NODE_OK); /* votes already */
    nap_ms(300);
    wait_for(leader, status_voters, 1);
    must_put(leader, "a", "2"); /* a learner that is away takes nothing from the majority */
    expect(leader, new_add(78, "ghost", true), NODE_OK); /* a learner of that name comes anew */
    wait_for(leader, status_members, 2);
    expect(leader, new_call(NODE_CALL_MEMBER_REMOVE, "ghost"), NODE_OK);
}

/* ---- leaving ----------------------------------------------------------------------------------------- */

static void a_leader_that_leaves_hands_over_first(void **state)
{
    struct world *world = *state;
    struct host *old = grown(world, 3), *leader;
    struct node_call *leave = new_call(NODE_CALL_LEAVE, NULL);

    leave->deadline_us = now_us() + WAIT_US;
    expect(old, leave, NODE_OK);
    wait_for(old, status_removed, 0);
    leader = wait_other_leader(world, old);
    wait_for(leader, status_members, 2);
    must_put(leader, "a", "2");
    expect(old, new_call(NODE_CALL_LEAVE, NULL), NODE_E_UNAVAILABLE);
}

static void of_two_either_may_leave(void **state)
{
    struct world *world = *state;
    struct host *leader = grown(world, 2);
    struct host *follower = leader == &world->hosts[0] ? &world->hosts[1] : &world->hosts[0];
    struct node_call *leave = new_call(NODE_CALL_LEAVE, NULL);

    leave->deadline_us = now_us() + WAIT_US;
    expect(follower, leave, NODE_OK);
    wait_for(leader, status_members, 1);
    must_put(leader, "a", "2");
    expect(leader, new_call(NODE_CALL_LEAVE, NULL), NODE_E_CONFLICT);
}

/* ---- addresses ------------------------------------------------------------------------------------------
 */

static bool has_url(const struct node_status *status, uint64_t number)
{
    const struct node_member *member;
    char name[16];

    snprintf(name, sizeof(name), "node%u", (unsigned)number);
    member = node_members_find_name(&status->members, name);
    return member && strcmp(member->client_url, "https://new:2379") == 0 &&
           member->role == (number == 9 ? RAFT_LEARNER : RAFT_VOTER);
}

static void a_changed_address_is_announced_after_a_restart(void **state)
{
    struct world *world = *state;
    struct host *leader = grown(world, 3);
    struct host *moved = leader == &world->hosts[2] ? &world->hosts[1] : &world->hosts[2];

    host_stop(moved);
    world->tune.client_url = "https://new:2379";
    host_start(world, moved->number);
    wait_for(wait_leader(world), has_url, moved->number + 1);
    wait_for(moved, has_url, moved->number + 1);
}

static void an_update_changes_addresses_only(void **state)
{
    struct world *world = *state;
    struct host *leader = grown(world, 1);
    struct node_member record = {
        .id = 77, .role = RAFT_VOTER, .name = "node9", .client_url = "https://new:2379"};
    struct node_call *update = new_call(NODE_CALL_MEMBER_UPDATE, NULL);

    expect(leader, new_add(77, "node9", false), NODE_OK);
    update->body = node_member_encode(&record);
    expect(leader, update, NODE_OK);
    wait_for(leader, has_url, 9); /* and a learner still */
    snprintf(record.name, sizeof(record.name), "node1");
    update = new_call(NODE_CALL_MEMBER_UPDATE, NULL);
    update->body = node_member_encode(&record);
    expect(leader, update, NODE_E_CONFLICT);
    record.id = 99;
    update = new_call(NODE_CALL_MEMBER_UPDATE, NULL);
    update->body = node_member_encode(&record);
    expect(leader, update, NODE_E_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pristine_host_joins_as_learner_and_becomes_a_voter, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(several_hosts_join_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_join_may_be_asked_of_any_member, setup, teardown),
        cmocka_unit_test_setup_teardown(an_invited_host_joins, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_are_given_up_only_when_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(addresses_that_cannot_be_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_or_an_address_that_is_taken_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(joining_again_while_at_it_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_join_that_breaks_off_half_way_stops_the_host, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_stream_outlives_the_rows_that_it_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(a_removed_host_knows_it_and_its_id_never_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_host_that_missed_its_removal_is_told_at_the_door, setup, teardown),
        cmocka_unit_test_setup_teardown(a_removal_that_would_end_the_majority_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_learner_that_never_started_is_not_promoted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_leader_that_leaves_hands_over_first, setup, teardown),
        cmocka_unit_test_setup_teardown(of_two_either_may_leave, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_address_is_announced_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(an_update_changes_addresses_only, setup, teardown),
    };

    return cmocka_run_group_tests_name("node_member_change", tests, NULL, NULL);
}
