/* tests/unit/test_node_snapshot.c - the log is cut, and whoever needs what left it gets the state as a
 * stream. */
#include "tests/unit/node_fixture.h"

#include <errno.h>

#include "lib/base/rk_wire.h"

static int setup(void **state)
{
    struct world *world = RK_NEW(struct world);

    *state = world;
    world_init(world);
    world->tune.log_keep_entries = 1;
    return 0;
}

static int teardown(void **state)
{
    world_deinit(*state);
    free(*state);
    return 0;
}

static uint64_t applied_of(struct host *host)
{
    struct node_status *status = status_of(host);
    uint64_t applied = status->applied;

    free(status);
    return applied;
}

static void put_many(struct host *host, int count, size_t len)
{
    char *value = RK_NEW_ARRAY(char, len + 1);
    char key[16];

    memset(value, 'v', len);
    value[len] = '\0';
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "key%d", i);
        must_put(host, key, value);
    }
    free(value);
}

/* Puts, cuts, and returns where the leader then stands. */
static uint64_t put_and_cut(struct host *leader, int count, size_t len)
{
    put_many(leader, count, len);
    must_put(leader, "last", "z");
    expect(leader, new_call(NODE_CALL_SNAPSHOT, NULL), NODE_OK);
    wait_for(leader, status_cut, 0);
    return applied_of(leader);
}

static struct host *follower_of(struct world *world, const struct host *leader)
{
    return leader == &world->hosts[0] ? &world->hosts[1] : &world->hosts[0];
}

/* ---- to a member --------------------------------------------------------------------------- */

static void a_member_that_missed_the_cut_gets_a_snapshot(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *behind = follower_of(world, leader);
    uint64_t applied;

    must_put(leader, "a", "1");
    host_stop(behind);
    applied = put_and_cut(leader, 20, 100);
    host_start(world, behind->number);
    wait_for(behind, status_applied, applied);
    wait_snapshots(behind, 1);
    assert_string_equal(must_get(behind, "last", NODE_READ_STALE), "z");
    must_put(behind, "a", "2"); /* it takes part again */
    host_stop(behind);          /* and what it has stands on its own disk */
    host_start(world, behind->number);
    assert_string_equal(must_get(behind, "last", NODE_READ_STALE), "z");
    must_put(behind, "a", "3");
    wait_snapshots(behind, 1);
}

static void a_new_member_gets_a_snapshot(void **state)
{
    struct world *world = *state;
    struct host *first = host_start(world, 0), *second = host_start(world, 1);

    wait_leader(world);
    put_and_cut(first, 20, 60000);
    expect(second, new_call(NODE_CALL_JOIN, first->address), NODE_OK);
    wait_for(second, status_join, NODE_JOIN_DONE);
    wait_snapshots(second, 1);
    assert_string_equal(must_get(second, "last", NODE_READ_STALE), "z");
    assert_string_equal(must_get(second, "last", NODE_READ_CONSISTENT), "z");
}

/* The core streams to nobody else before it has heard of the end: each way of ending must say so. */
static void a_snapshot_that_does_not_arrive_is_sent_again(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *behind = follower_of(world, leader);
    unsigned refused = 0;
    uint64_t applied;

    host_stop(behind);
    applied = put_and_cut(leader, 20, 60000); /* some five chunks */
    WORLD_SET(world, no_snapshots, true);
    host_start(world, behind->number);
    for (uint64_t until = now_us() + WAIT_US; refused < 3; nap_ms(10)) {
        assert_true(now_us() < until);
        pthread_mutex_lock(&world->mutex);
        refused = world->refused_offers;
        world->no_snapshots = refused < 3;
        world->cut_at_chunk = refused < 3 ? 0 : 3; /* the next attempt breaks off half-way */
        pthread_mutex_unlock(&world->mutex);
    }
    for (bool cut = false; !cut; nap_ms(10)) {
        pthread_mutex_lock(&world->mutex);
        cut = world->cut[leader->number][behind->number];
        pthread_mutex_unlock(&world->mutex);
    }
    nap_ms(50);
    world_cut(world, leader->number, behind->number, false);
    wait_for(behind, status_applied, applied);
    assert_string_equal(must_get(behind, "last", NODE_READ_STALE), "z");
}

/* Its own uncommitted entries reach beyond the snapshot: they are gone, and nobody may go on waiting for
 * them. */
static void an_old_leaders_pending_writes_end_when_a_snapshot_replaces_its_log(void **state)
{
    enum { PENDING = 60 };
    struct world *world = *state;
    struct host *old = world_cluster(world, 3), *leader;
    uint64_t applied, asked;

    must_put(old, "a", "1");
    world_isolate(world, old->number, true);
    for (int i = 0; i < PENDING; i++) {
        struct node_call *put = new_put(old, "a", "never");
        put->deadline_us = now_us() + 4 * WAIT_US;
        ask(old, put);
    }
    asked = now_us();
    leader = wait_other_leader(world, old);
    applied = put_and_cut(leader, 10, 10);
    world_isolate(world, old->number, false);
    for (int i = 0; i < PENDING; i++) {
        struct node_call *back = take(world);
        assert_int_equal(back->outcome, NODE_E_TIMEOUT);
        node_call_free(back);
    }
    assert_true(now_us() - asked < WAIT_US);
    wait_for(old, status_applied, applied);
    wait_snapshots(old, 1);
    expect(wait_leader(world), new_call(NODE_CALL_TRANSFER, old->name), NODE_OK);
    put_many(old, PENDING, 10); /* it leads again, over the indexes that it once gave to the lost ones */
    assert_string_equal(must_get(old, "a", NODE_READ_CONSISTENT), "1");
}

static void a_stop_in_the_middle_of_a_snapshot_leaves_nothing_behind(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *behind = follower_of(world, leader);
    uint64_t applied;

    host_stop(behind);
    applied = put_and_cut(leader, 20, 60000);
    host_start(world, behind->number);
    nap_ms(30);
    host_stop(behind);
    host_start(world, behind->number);
    nap_ms(30);
    host_stop(leader);
    host_start(world, leader->number);
    wait_for(behind, status_applied, applied);
}

/* ---- to whoever asks --------------------------------------------------------------------------- */

struct reader {
    struct rk_mailbox box;
    struct rk_list mails;
    struct node_stream *stream;
};

static void reader_open(struct reader *reader, struct host *host)
{
    struct node_call *snapshot = call(host, new_call(NODE_CALL_SNAPSHOT_READ, NULL));

    assert_int_equal(snapshot->outcome, NODE_OK);
    assert_int_equal(rk_mailbox_init(&reader->box, 8), 0);
    rk_list_init(&reader->mails);
    reader->stream = snapshot->stream;
    reader->stream->reply_to = &reader->box;
    reader->stream->reply_kind = 1;
    snapshot->stream = NULL;
    node_call_free(snapshot);
}

static void reader_next(struct reader *reader)
{
    node_stream_next(reader->stream);
    rk_mailbox_wait(&reader->box, now_us() + WAIT_US);
    assert_int_equal(rk_mailbox_take(&reader->box, &reader->mails), 1);
    rk_list_init(&reader->mails);
}

static void reader_close(struct reader *reader)
{
    rk_mailbox_deinit(&reader->box);
}

static void a_stream_stays_at_its_revision_while_writes_go_on(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);
    struct mvcc_verify *verify = mvcc_verify_new();
    struct reader reader;
    unsigned chunks = 0;

    wait_leader(world);
    put_many(host, 30, 40000);
    reader_open(&reader, host);
    while (!reader.stream->done) {
        must_put(host, "key1", "changed meanwhile");
        reader_next(&reader);
        assert_int_equal(reader.stream->error, 0);
        assert_int_equal(mvcc_verify_feed(verify, rk_buf_slice(&reader.stream->chunk)), 0);
        chunks++;
    }
    assert_true(chunks >= 4);
    assert_true(mvcc_verify_complete(verify));
    assert_int_equal(mvcc_verify_info(verify)->keys, 30);
    assert_int_equal(mvcc_verify_info(verify)->revision, reader.stream->revision);
    assert_int_equal(mvcc_verify_info(verify)->index, reader.stream->index);
    mvcc_verify_free(verify);
    node_stream_free(reader.stream);
    reader_close(&reader);
}

static void a_stream_may_be_given_up(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);
    struct reader reader;

    wait_leader(world);
    put_many(host, 10, 60000);
    reader_open(&reader, host);
    reader_next(&reader);
    assert_false(reader.stream->done);
    reader.stream->cancel = true;
    node_stream_next(reader.stream);
    reader_close(&reader);
}

static void a_stop_ends_streams_wherever_they_are(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);
    struct reader held, cancelled;

    wait_leader(world);
    put_many(host, 10, 60000);
    reader_open(&held, host);
    reader_open(&cancelled, host);
    reader_next(&held);
    node_stop(host->node, 100);
    reader_next(&held);
    assert_int_equal(held.stream->error, -ESHUTDOWN);
    node_stream_free(held.stream);
    cancelled.stream->cancel = true;
    node_stream_next(cancelled.stream);
    reader_close(&held);
    reader_close(&cancelled);
    host->running = false;
}

/* ---- cutting ------------------------------------------------------------------------------------ */

static void a_cut_by_hand_says_up_to_where_and_runs_once_at_a_time(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);
    struct node_call *a, *b;

    wait_leader(world);
    put_many(host, 10, 10);
    ask(host, new_call(NODE_CALL_SNAPSHOT, NULL));
    ask(host, new_call(NODE_CALL_SNAPSHOT, NULL));
    a = take(world);
    b = take(world);
    assert_true((a->outcome == NODE_OK) + (b->outcome == NODE_OK) >= 1);
    if (a->outcome != NODE_OK || b->outcome != NODE_OK)
        assert_true(a->outcome == NODE_E_BUSY || b->outcome == NODE_E_BUSY);
    if (a->outcome == NODE_OK)
        assert_true(rk_load_u64(a->answer->data) >= 12);
    node_call_free(a);
    node_call_free(b);
    wait_for(host, status_base, 11);
    host_stop(host);
    host_start(world, 0);
    assert_string_equal(must_get(host, "key9", NODE_READ_CONSISTENT), "vvvvvvvvvv");
}

static void the_log_is_cut_by_itself_after_so_many_entries_or_bytes_or_minutes(void **state)
{
    struct world *world = *state;
    struct host *host;

    world->tune.snapshot_entries = 20;
    host = host_start(world, 0);
    wait_leader(world);
    put_many(host, 30, 10);
    wait_for(host, status_base, 20);
    world->tune.snapshot_entries = 0;
    world->tune.snapshot_bytes = 200000;
    host = host_start(world, 1);
    wait_leader(world);
    put_many(host, 5, 60000);
    wait_for(host, status_base, 4);
    world->tune.snapshot_bytes = 0;
    world->tune.snapshot_interval_us = 200 * RK_USEC_PER_MSEC;
    host = host_start(world, 2);
    wait_leader(world);
    put_many(host, 5, 10);
    wait_for(host, status_base, 4);
}

/* A snapshot is on its way, and the log grows: what comes after the snapshot must still be there. */
static struct host *leader_with_a_snapshot_on_its_way(struct world *world, struct host **ret_behind)
{
    struct host *leader = world_cluster(world, 3);

    *ret_behind = follower_of(world, leader);
    host_stop(*ret_behind);
    put_and_cut(leader, 10, 10);
    WORLD_SET(world, hold_snapshots, true);
    host_start(world, (*ret_behind)->number);
    world_await_held(world);
    put_many(leader, 100, 1000);
    return leader;
}

static void a_cut_waits_for_a_member_that_a_snapshot_is_on_its_way_to(void **state)
{
    struct world *world = *state;
    struct host *leader, *behind;
    struct node_status *status;
    uint64_t applied;

    world->tune.snapshot_entries = 20;
    leader = leader_with_a_snapshot_on_its_way(world, &behind);
    nap_ms(300); /* several times its housekeeping */
    status = status_of(leader);
    assert_true(status->raft.base_index < 40);
    applied = status->applied;
    free(status);
    world_release(world);
    wait_for(behind, status_applied, applied);
    wait_snapshots(behind, 1);
    wait_for(leader, status_base, applied - 40); /* and then the cut that had to wait */
}

static void a_log_of_log_retain_bytes_is_cut_whoever_still_needs_it(void **state)
{
    struct world *world = *state;
    struct host *leader, *behind;

    world->tune.snapshot_entries = 20;
    world->tune.log_retain_bytes = 50000;
    leader = leader_with_a_snapshot_on_its_way(world, &behind);
    wait_for(leader, status_base, 60);
    world_release(world);
    wait_for(behind, status_applied, applied_of(leader));
}

static void so_many_snapshots_are_sent_at_once_and_others_wait(void **state)
{
    struct world *world = *state;
    struct host *leader, *behind[2] = {NULL};
    uint64_t applied;
    size_t count = 0;

    world->tune.snapshots_at_once = 1;
    leader = world_cluster(world, 5);
    for (size_t i = 0; count < 2; i++)
        if (&world->hosts[i] != leader)
            behind[count++] = &world->hosts[i];
    host_stop(behind[0]);
    host_stop(behind[1]);
    applied = put_and_cut(leader, 10, 10);
    WORLD_SET(world, hold_snapshots, true); /* a second one would not find its place */
    host_start(world, behind[0]->number);
    host_start(world, behind[1]->number);
    world_await_held(world);
    nap_ms(300);
    world_release(world);
    wait_for(behind[0], status_applied, applied);
    wait_for(behind[1], status_applied, applied);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_member_that_missed_the_cut_gets_a_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_member_gets_a_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_that_does_not_arrive_is_sent_again, setup, teardown),
        cmocka_unit_test_setup_teardown(an_old_leaders_pending_writes_end_when_a_snapshot_replaces_its_log,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_in_the_middle_of_a_snapshot_leaves_nothing_behind, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_stream_stays_at_its_revision_while_writes_go_on, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stream_may_be_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_ends_streams_wherever_they_are, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cut_by_hand_says_up_to_where_and_runs_once_at_a_time, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_log_is_cut_by_itself_after_so_many_entries_or_bytes_or_minutes,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_cut_waits_for_a_member_that_a_snapshot_is_on_its_way_to, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(so_many_snapshots_are_sent_at_once_and_others_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_of_log_retain_bytes_is_cut_whoever_still_needs_it, setup,
                                        teardown),
    };

    return cmocka_run_group_tests_name("node_snapshot", tests, NULL, NULL);
}
