/* tests/unit/test_node_check.c - a member whose rows are not those of the others is seen, and healed. The
 * rows are changed in the real database, with checksums that are right. */
#include "tests/unit/node_fixture.h"

#include <unistd.h>

#include "lib/mvcc/mvcc_hash.h"
#include "lib/node/node_internal.h"

static int setup(void **state)
{
    *state = RK_NEW(struct world);
    world_init(*state);
    ((struct world *)*state)->tune = (struct node_config){.election_timeout_ms = 150, .heartbeat_ms = 30};
    return 0;
}

static int teardown(void **state)
{
    world_deinit(*state);
    free(*state);
    return 0;
}

static void fill(struct host *host, const char *value)
{
    for (int i = 0; i < 20; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%02d", i);
        must_put(host, key, value);
    }
}

static struct store_rows *open_rows(struct host *host, struct store_dir **ret_dir)
{
    struct store_rows_config config = {.cache_bytes = 1u << 20};
    struct store_rows *rows;
    char *error = NULL;

    assert_int_equal(store_dir_open(host->path, ret_dir, &error), 0);
    assert_int_equal(store_space_init(*ret_dir, 0, 0), 0);
    assert_int_equal(store_rows_open(*ret_dir, &config, NULL, NULL, &rows, &error), 0);
    return rows;
}

/* Changes the last byte of the newest version of a key. sum: and sees to it that the rows still add up, as if
 * another command had been applied here. */
static void change_row(struct host *host, const char *key, bool sum)
{
    struct store_dir *dir;
    struct store_rows *rows = open_rows(host, &dir);
    struct rk_buf head = {0}, row_key = {0}, value = {0}, decoded = {0}, meta = {0}, others = {0};
    struct store_cursor *cursor;
    struct mvcc_applied applied;
    struct rk_slice rest;
    struct mvcc_row row;

    mvcc_row_versions(&head, 0, rk_slice_str(key));
    assert_int_equal(store_cursor_open(rows, &cursor), 0);
    assert_int_equal(store_cursor_seek(cursor, rk_buf_slice(&head)), 0);
    rk_buf_append_slice(&row_key, store_cursor_key(cursor));
    rk_buf_append_slice(&value, store_cursor_value(cursor));
    store_cursor_close(cursor);
    mvcc_meta_key(&head, 0, MVCC_META_APPLIED);
    assert_int_equal(store_rows_get(rows, rk_buf_slice(&head), &meta), 0);
    assert_int_equal(mvcc_applied_decode(rk_buf_slice(&meta), &applied, &rest), 0);
    rk_buf_append_slice(&others, rest);
    assert_int_equal(mvcc_row_decode(rk_buf_slice(&row_key), rk_buf_slice(&value), &decoded, &row), 0);
    applied.hash -= mvcc_hash_row(&row);
    value.data[value.start + value.len - 1] ^= 1;
    applied.hash += mvcc_hash_row(&row);
    mvcc_applied_value(&meta, &applied);
    rk_buf_append_slice(&meta, rk_buf_slice(&others));
    assert_int_equal(store_rows_begin(rows), 0);
    assert_int_equal(store_rows_put(rows, rk_buf_slice(&row_key), rk_buf_slice(&value)), 0);
    if (sum)
        assert_int_equal(store_rows_put(rows, rk_buf_slice(&head), rk_buf_slice(&meta)), 0);
    assert_int_equal(store_rows_commit(rows), 0);
    store_rows_close(rows);
    store_dir_close(dir);
    rk_buf_deinit(&head);
    rk_buf_deinit(&row_key);
    rk_buf_deinit(&value);
    rk_buf_deinit(&decoded);
    rk_buf_deinit(&meta);
    rk_buf_deinit(&others);
}

static void wait_failure(struct host *host)
{
    for (uint64_t until = now_us() + WAIT_US; atomic_load(&host->failures) == 0; nap_ms(5))
        assert_true(now_us() < until);
}

static struct host *follower(struct world *world, const struct host *leader)
{
    return &world->hosts[leader == &world->hosts[0] ? 1 : 0];
}

static bool is_equal(const struct node_status *status, uint64_t at_least)
{
    return !status->check.corrupt && status->check.equal_index >= at_least;
}

static bool is_corrupt(const struct node_status *status, uint64_t unused RK_UNUSED)
{
    return status->check.corrupt;
}

static bool is_not_corrupt(const struct node_status *status, uint64_t unused RK_UNUSED)
{
    return !status->check.corrupt;
}

static bool has_scrubbed(const struct node_status *status, uint64_t times)
{
    return status->check.scrubs >= times;
}

static bool rebuilt(const struct node_status *status, uint64_t applied)
{
    return !status->rebuilding && status->applied >= applied && applied > 0;
}

static uint64_t applied_of(struct host *host)
{
    struct node_status *status = status_of(host);
    uint64_t applied = status->applied;

    free(status);
    return applied;
}

/* The host has ended with the marker set: a supervisor starts it again, and all ends well. */
static void heals(struct world *world, struct host *host)
{
    wait_failure(host);
    host_stop(host);
    assert_int_equal(atomic_load(&host->failures), 1);
    host_start(world, host->number);
    wait_leader(world);
    must_put(host, "after", "1");
    wait_for(host, rebuilt, applied_of(wait_leader(world)));
    wait_for(wait_leader(world), is_equal, applied_of(host));
    assert_string_equal(must_get(host, "k07", NODE_READ_STALE), "7");
    assert_int_equal(atomic_load(&host->failures), 1);
}

/* ---- rules --------------------------------------------------------------------------------------------- */

static void members_that_are_equal_say_so_at_every_entry(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3);
    struct node_status *status;

    fill(leader, "7");
    wait_for(leader, is_equal, applied_of(leader));
    status = status_of(leader);
    assert_true(status->check.compared >= 2 && status->check.mismatches == 0);
    free(status);
    for (size_t i = 0; i < 3; i++)
        wait_for(&world->hosts[i], has_scrubbed, 1);
    host_stop(leader); /* the digest outlives a restart, and whoever leads compares */
    must_put(wait_leader(world), "b", "1");
    host_start(world, leader->number);
    leader = wait_leader(world);
    wait_for(leader, is_equal, applied_of(leader));
}

static void a_comparison_that_cannot_be_made_is_counted(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3);
    struct node_status *status;
    uint64_t until = now_us() + WAIT_US, missed = 0;

    fill(leader, "7");
    wait_for(leader, is_equal, applied_of(leader));
    host_stop(follower(world, leader));
    must_put(leader, "b", "1");
    while (missed == 0 && now_us() < until) {
        status = status_of(leader);
        missed = status->check.not_compared;
        assert_true(status->check.equal_index < status->applied);
        assert_false(status->check.corrupt);
        free(status);
        nap_ms(20);
    }
    assert_true(missed > 0);
}

static void a_changed_row_is_found_by_the_host_itself(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *host = follower(world, leader);

    fill(leader, "7");
    host_stop(host);
    change_row(host, "k07", false);
    host_start(world, host->number);
    heals(world, host);
}

static void a_member_that_has_applied_something_else_is_outvoted(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *host = follower(world, leader);
    const char *reason;

    fill(leader, "7");
    wait_for(leader, is_equal, applied_of(leader));
    host_stop(host);
    change_row(host, "k07", true);
    host_start(world, host->number);
    must_put(leader, "b", "1");
    wait_failure(host);
    assert_false(node_healthy(host->node, &reason));
    heals(world, host);
}

/* Two of three are there: nobody knows who is right, and nothing is done but to say so, loudly. When the
 * third one comes the odd one out is the leader. */
static void without_a_majority_the_alarm_stays_and_an_odd_leader_gives_way(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *odd = follower(world, leader), *third;
    const char *reason;

    fill(leader, "7");
    wait_for(leader, is_equal, applied_of(leader));
    third = &world->hosts[3 - leader->number - odd->number];
    host_stop(odd);
    host_stop(third);
    change_row(odd, "k07", true);
    host_start(world, odd->number);
    must_put(odd, "b", "1");
    wait_for(wait_leader(world), is_corrupt, 0);
    for (struct host *now = wait_leader(world); now != odd; now = wait_leader(world))
        node_call_free(call(now, new_call(NODE_CALL_TRANSFER, odd->name)));
    must_put(odd, "c", "1");
    wait_for(leader, is_corrupt, 0);
    wait_for(odd, is_corrupt, 0);
    assert_false(node_healthy(odd->node, &reason));
    assert_int_equal(atomic_load(&odd->failures), 0);
    host_start(world, third->number);
    must_put(third, "d", "1");
    heals(world, odd);
    wait_for(leader, is_not_corrupt, 0);
    assert_true(node_healthy(leader->node, &reason));
}

static void the_only_member_raises_the_alarm_and_goes_on(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);
    struct node_status *status;
    const char *reason;

    fill(host, "7");
    host_stop(host);
    change_row(host, "k07", false);
    host_start(world, 0);
    wait_for(host, is_corrupt, 0);
    assert_false(node_healthy(host->node, &reason));
    status = status_of(host);
    assert_non_null(strstr(status->check.text, "restore a snapshot"));
    free(status);
    assert_string_equal(must_get(host, "k08", NODE_READ_CONSISTENT), "7");
    assert_int_equal(atomic_load(&host->failures), 0);
}

static void an_operator_may_name_the_host_that_is_wrong(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *host = follower(world, leader);

    fill(leader, "7");
    host_stop(host);
    change_row(host, "k07", true);
    world->tune.rebuild_rows = true;
    host_start(world, host->number);
    world->tune.rebuild_rows = false;
    wait_for(host, rebuilt, applied_of(leader));
    assert_string_equal(must_get(host, "k07", NODE_READ_STALE), "7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(members_that_are_equal_say_so_at_every_entry, setup, teardown),
        cmocka_unit_test_setup_teardown(a_comparison_that_cannot_be_made_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_row_is_found_by_the_host_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(a_member_that_has_applied_something_else_is_outvoted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(without_a_majority_the_alarm_stays_and_an_odd_leader_gives_way, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_only_member_raises_the_alarm_and_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(an_operator_may_name_the_host_that_is_wrong, setup, teardown),
    };

    return cmocka_run_group_tests_name("node_check", tests, NULL, NULL);
}
