/* tests/unit/test_node_rebuild.c - rows that rotted are made again from a peer, by the host itself, while the
 * cluster serves; the log and the vote stay in use. Real Berkeley DB files, with bytes changed in them. */
#include "config.h" /* _GNU_SOURCE */
#include "tests/unit/node_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/rk_wire.h"
#include "lib/node/node_internal.h"

#define PAGE 4096

static int setup(void **state)
{
    *state = RK_NEW(struct world);
    world_init(*state);
    ((struct world *)*state)->tune = (struct node_config){
        .election_timeout_ms = 150, .heartbeat_ms = 30, .log_keep_entries = 5, .snapshot_entries = 50};
    return 0;
}

static int teardown(void **state)
{
    world_deinit(*state);
    free(*state);
    return 0;
}

static bool exists(struct host *host, const char *name)
{
    RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s/%s", host->path, name);

    return access(path, F_OK) == 0;
}

/* Changes a byte in the middle of pages first, first + step, ... of the rows; returns how many. */
static unsigned rot(struct host *host, unsigned first, unsigned step)
{
    RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s/rows/data.db", host->path);
    int fd = open(path, O_RDWR);
    unsigned pages = 0;
    struct stat st;
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = (off_t)first * PAGE + 200; at < st.st_size; at += (off_t)step * PAGE, pages++) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x20;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    return pages;
}

/* Only the pages in which the versions of a key are. */
static unsigned rot_key(struct host *host, const char *key)
{
    RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s/rows/data.db", host->path);
    uint8_t page[PAGE], end[2] = {0, 1};
    struct rk_buf wanted = {0};
    int fd = open(path, O_RDWR);
    unsigned pages = 0;

    rk_buf_append_str(&wanted, key);
    rk_buf_append(&wanted, end, sizeof(end));
    for (off_t at = 0; pread(fd, page, PAGE, at) == PAGE; at += PAGE) {
        if (!memmem(page, PAGE, wanted.data + wanted.start, wanted.len))
            continue;
        page[200] ^= 0x20;
        assert_int_equal(pwrite(fd, page, PAGE, at), PAGE);
        pages++;
    }
    rk_buf_deinit(&wanted);
    close(fd);
    return pages;
}

static void fill(struct host *host, int count, const char *value)
{
    char key[16];

    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "k%03d", i);
        must_put(host, key, value);
    }
}

static struct host *follower(struct world *world, const struct host *leader, unsigned n)
{
    for (size_t i = 0;; i++)
        if (&world->hosts[i] != leader && n-- == 0)
            return &world->hosts[i];
}

static bool rebuilt(const struct node_status *status, uint64_t applied)
{
    return !status->rebuilding && status->applied >= applied && applied > 0;
}

static bool rebuilding(const struct node_status *status, uint64_t unused RK_UNUSED)
{
    return status->rebuilding;
}

static uint64_t term_of(struct host *host)
{
    struct node_status *status = status_of(host);
    uint64_t term = status->raft.term;

    free(status);
    return term;
}

static uint64_t applied_of(struct host *host)
{
    struct node_status *status = status_of(host);
    uint64_t applied = status->applied;

    free(status);
    return applied;
}

static void has_all(struct host *host, int count, const char *value)
{
    char key[16];

    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "k%03d", i);
        assert_string_equal(must_get(host, key, NODE_READ_STALE), value);
    }
}

static void no_traces(struct host *host)
{
    assert_false(exists(host, "rebuild"));
    assert_false(exists(host, "rows.damaged"));
}

static void rows_that_cannot_be_opened_come_from_a_peer(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *host = follower(world, leader, 0);

    fill(leader, 150, "1");
    host_stop(host);
    assert_true(rot(host, 0, 1) > 3);
    fill(leader, 150, "2");
    host_start(world, host->number);
    wait_for(host, rebuilt, applied_of(leader));
    has_all(host, 150, "2");
    no_traces(host);
    host_stop(host); /* and it is a host like any other */
    host_start(world, host->number);
    has_all(host, 150, "2");
}

/* The log matches the leader's, so the leader would never send a snapshot by itself. */
static void a_host_whose_log_is_complete_gets_its_rows_too(void **state)
{
    struct world *world = *state;
    struct host *leader, *host;
    struct node_status *status;

    world->tune.snapshot_entries = 100000; /* nothing is cut */
    leader = world_cluster(world, 3);
    host = follower(world, leader, 0);
    fill(leader, 100, "1");
    wait_for(host, status_applied, applied_of(leader));
    host_stop(host);
    rot(host, 0, 1);
    host_start(world, host->number);
    wait_for(host, rebuilt, applied_of(leader));
    has_all(host, 100, "1");
    status = status_of(host);
    assert_int_equal(status->raft.base_index, 1); /* the log is the old one */
    free(status);
    must_put(leader, "k000", "1");
    wait_for(host, status_applied, applied_of(leader));
}

static void rot_that_is_met_while_it_runs_stops_the_host_and_the_next_start_rebuilds(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *host = follower(world, leader, 0);
    char why[NODE_TEXT_BYTES], key[16];

    fill(leader, 400, "1");
    wait_for(host, status_applied, applied_of(leader));
    host_stop(host);
    assert_true(rot_key(host, "k200") > 0); /* nothing that a start looks at */
    host_start(world, host->number);
    for (int i = 0; i < 400 && atomic_load(&host->failures) == 0; i++) {
        snprintf(key, sizeof(key), "k%03d", i);
        ask(host, new_get(key, NODE_READ_STALE)); /* the last ones are answered when it stops */
        nap_ms(1);
    }
    assert_int_equal(atomic_load(&host->failures), 1);
    assert_true(exists(host, "rebuild"));
    host_stop(host);
    while (world->answered < world->asked)
        node_call_free(take(world));
    assert_int_equal(host_open(world, host->number, NULL), 0);
    store_rebuild_why(host->node->dir, why, sizeof(why));
    assert_string_equal(why, "a page failed its checksum");
    host_start(world, host->number);
    wait_for(host, rebuilt, applied_of(leader));
    has_all(host, 400, "1");
    no_traces(host);
}

static void a_host_without_rows_votes_and_acknowledges_and_serves_nothing(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *host = follower(world, leader, 0);
    struct host *third = follower(world, leader, 1);
    const char *reason;

    fill(leader, 60, "1");
    host_stop(host);
    rot(host, 0, 1);
    WORLD_SET(world, no_snapshots, true);
    host_start(world, host->number);
    wait_for(host, rebuilding, 0);
    host_stop(third);
    fill(leader, 60, "2"); /* a majority is the leader and the host without rows */
    assert_false(node_healthy(host->node, &reason));
    assert_string_equal(reason, "this host is rebuilding its rows from a peer");
    expect(host, new_get("k000", NODE_READ_STALE), NODE_E_UNAVAILABLE);
    assert_string_equal(must_get(host, "k000", NODE_READ_CONSISTENT), "2"); /* the leader's answer */
    assert_true(exists(host, "rows.damaged"));
    WORLD_SET(world, no_snapshots, false);
    wait_for(host, rebuilt, applied_of(leader));
    has_all(host, 60, "2");
    host_stop(leader);
    host_start(world, third->number);
    fill(wait_leader(world), 60, "3");
}

/* Only its log is complete, so only it can be elected; the other one has the rows. */
static void a_leader_without_rows_hands_over_first(void **state)
{
    struct world *world = *state;
    struct host *leader, *host, *third;

    world->tune.snapshot_entries = 100000;
    leader = world_cluster(world, 3);
    host = follower(world, leader, 0);
    third = follower(world, leader, 1);
    fill(leader, 20, "1");
    wait_for(third, status_applied, applied_of(leader));
    host_stop(third);
    fill(leader, 20, "2");
    wait_for(host, status_applied, applied_of(leader));
    host_stop(leader);
    host_stop(host);
    rot(host, 0, 1);
    host_start(world, host->number);
    host_start(world, third->number);
    must_put(third, "k000", "3");
    assert_ptr_equal(wait_leader(world), third);
    wait_for(host, rebuilt, 1);
    assert_string_equal(must_get(host, "k001", NODE_READ_STALE), "2");
    host_start(world, leader->number);
}

/* A preferred leader that has no rows would hand over, be asked again at once, and never be sent its rows. */
static void a_preferred_host_without_rows_is_not_asked_to_lead_for_ever(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *host = follower(world, leader, 0);
    struct node_call *priority = new_call(NODE_CALL_MEMBER_PRIORITY, "");
    struct rk_buf body = {0};
    uint64_t term;

    fill(leader, 60, "1");
    host_stop(host);
    rot(host, 0, 1);
    WORLD_SET(world, no_snapshots, true);
    rk_put_u8(&body, NODE_PRIORITY_MAX);
    rk_buf_append_str(&body, host->name);
    rk_blob_unref(priority->body);
    priority->body = rk_blob_copy(rk_buf_slice(&body));
    rk_buf_deinit(&body);
    expect(leader, priority, NODE_OK);
    term = term_of(leader);
    host_start(world, host->number);
    wait_for(host, rebuilding, 0);
    nap_ms(2500); /* leadership is offered every ten election timeouts */
    assert_int_equal(term_of(leader), term);
    WORLD_SET(world, no_snapshots, false);
    wait_for(host, rebuilt, applied_of(leader));
    while (wait_leader(world) != host)
        nap_ms(20);
    has_all(host, 60, "1");
}

static void the_only_member_refuses_with_what_to_do(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);
    char *error = NULL;

    fill(host, 20, "1");
    host_stop(host);
    rot(host, 0, 1);
    assert_int_equal(host_open(world, 0, &error), STORE_E_REFUSED);
    assert_non_null(strstr(error, "only member"));
    assert_non_null(strstr(error, "restore a snapshot"));
    free(error);
    assert_true(exists(host, "rows"));
    no_traces(host);
}

static struct store_dir *open_dir(struct host *host)
{
    struct store_dir *dir;
    char *error = NULL;

    assert_int_equal(store_dir_open(host->path, &dir, &error), 0);
    return dir;
}

/* As a crash leaves it: the marker alone; the old rows set aside; the new rows complete. */
static void a_crash_at_each_step_starts_where_it_was(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *host = follower(world, leader, 0);
    struct store_dir *dir;

    fill(leader, 60, "1");
    host_stop(host);
    dir = open_dir(host);
    assert_int_equal(store_rebuild_begin(dir, "a test"), 0);
    store_dir_close(dir);
    host_start(world, host->number);
    wait_for(host, rebuilt, applied_of(leader));
    no_traces(host);

    host_stop(host);
    dir = open_dir(host);
    assert_int_equal(store_rebuild_begin(dir, "a test"), 0);
    assert_int_equal(store_rebuild_set_aside(dir), 0);
    assert_true(store_rebuild_has_begun(dir));
    store_dir_close(dir);
    host_start(world, host->number);
    wait_for(host, rebuilt, applied_of(leader));
    no_traces(host);

    host_stop(host);
    {
        RK_CLEANUP(rk_freep) char *left = rk_asprintf("%s/rows.damaged", host->path);
        assert_int_equal(mkdir(left, 0700), 0); /* the marker was removed, and then it died */
    }
    WORLD_SET(world, no_snapshots, true); /* it needs none */
    host_start(world, host->number);
    wait_for(host, rebuilt, applied_of(leader));
    no_traces(host);
    has_all(host, 60, "1");
}

/* In the middle of the snapshot's way in, and of its install. */
static void a_rebuild_that_is_broken_off_is_taken_up_again(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *host = follower(world, leader, 0);

    fill(leader, 200, "1");
    host_stop(host);
    rot(host, 0, 1);
    WORLD_SET(world, cut_at_chunk, 1);
    host_start(world, host->number);
    for (uint64_t until = now_us() + WAIT_US; world->cut_at_chunk != 0; nap_ms(5))
        assert_true(now_us() < until);
    host_stop(host);
    world_isolate(world, host->number, false);
    rot(host, 0, 1); /* and the new ones are no better than the old */
    host_start(world, host->number);
    wait_for(host, rebuilt, applied_of(leader));
    has_all(host, 200, "1");
    no_traces(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_that_cannot_be_opened_come_from_a_peer, setup, teardown),
        cmocka_unit_test_setup_teardown(a_host_whose_log_is_complete_gets_its_rows_too, setup, teardown),
        cmocka_unit_test_setup_teardown(
            rot_that_is_met_while_it_runs_stops_the_host_and_the_next_start_rebuilds, setup, teardown),
        cmocka_unit_test_setup_teardown(a_host_without_rows_votes_and_acknowledges_and_serves_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_leader_without_rows_hands_over_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_preferred_host_without_rows_is_not_asked_to_lead_for_ever, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_only_member_refuses_with_what_to_do, setup, teardown),
        cmocka_unit_test_setup_teardown(a_crash_at_each_step_starts_where_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rebuild_that_is_broken_off_is_taken_up_again, setup, teardown),
    };

    return cmocka_run_group_tests_name("node_rebuild", tests, NULL, NULL);
}
