/* tests/unit/test_node_boot.c - from a data directory to a node that serves, or to a sentence that says why
 * not.
 */
#include "tests/unit/node_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/node/node_internal.h"
#include "lib/store/store_log.h"

static int setup(void **state)
{
    *state = RK_NEW(struct world);
    world_init(*state);
    ((struct world *)*state)->tune = (struct node_config){.election_timeout_ms = 100, .heartbeat_ms = 20};
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

static void refused(struct world *world, const char *words)
{
    char *error = NULL;

    assert_int_equal(host_open(world, 0, &error), STORE_E_REFUSED);
    assert_non_null(error);
    if (!strstr(error, words))
        fail_msg("\"%s\" does not say \"%s\"", error, words);
    free(error);
}

/* ---- good starts ------------------------------------------------------------------------- */

static void a_pristine_directory_becomes_a_cluster_of_one(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);
    struct node_status *status;
    const char *reason;

    wait_leader(world);
    status = status_of(host);
    assert_true(status->cluster_id != 0 && status->raft.id != 0);
    assert_int_equal(status->incarnation, 1);
    assert_int_equal(status->revision, 1);
    assert_int_equal(status->members.count, 1);
    assert_string_equal(status->members.member[0].name, "node1");
    assert_string_equal(status->members.member[0].peer_address, host->address);
    assert_string_equal(status->members.member[0].client_url, host->url);
    assert_int_equal(status->members.member[0].role, RAFT_VOTER);
    assert_true(node_healthy(host->node, &reason));
    assert_string_equal(reason, "");
    free(status);
    must_put(host, "a", "1");
    assert_string_equal(must_get(host, "a", NODE_READ_CONSISTENT), "1");
}

static bool status_revision(const struct node_status *status, uint64_t revision)
{
    return status->revision == revision;
}

static void a_restart_keeps_ids_and_keys_and_raises_the_incarnation(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);
    struct node_status *before, *after;

    must_put(host, "a", "1");
    wait_for(host, status_revision, 2); /* the answer may be here before the apply thread has reported */
    before = status_of(host);
    host_stop(host);
    host_start(world, 0);
    wait_leader(world);
    after = status_of(host);
    assert_int_equal(after->cluster_id, before->cluster_id);
    assert_int_equal(after->raft.id, before->raft.id);
    assert_int_equal(after->incarnation, before->incarnation + 1);
    assert_int_equal(after->revision, before->revision);
    assert_true(after->raft.term > before->raft.term);
    free(before);
    free(after);
    assert_string_equal(must_get(host, "a", NODE_READ_CONSISTENT), "1");
}

static void a_first_start_that_was_interrupted_starts_over(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);
    RK_CLEANUP(rk_freep) char *identity = rk_asprintf("%s/identity", host->path);
    uint64_t id;

    must_put(host, "a", "1");
    id = id_of(host);
    host_stop(host);
    assert_int_equal(unlink(identity), 0); /* it is written last: without it the rest is worth nothing */
    host_start(world, 0);
    wait_leader(world);
    assert_true(id_of(host) != id);
    assert_string_equal(must_get(host, "a", NODE_READ_CONSISTENT), "");
}

static void initial_members_give_the_same_ids_on_each_host(void **state)
{
    struct world *world = *state;
    struct node_status *status[3];

    world_cluster(world, 3);
    for (size_t i = 0; i < 3; i++)
        status[i] = status_of(&world->hosts[i]);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(status[i]->cluster_id, status[0]->cluster_id);
        assert_int_equal(status[i]->members.count, 3);
        for (uint32_t m = 0; m < 3; m++)
            assert_int_equal(status[i]->members.member[m].id, status[0]->members.member[m].id);
        assert_string_equal(node_members_find(&status[0]->members, status[i]->raft.id)->name,
                            world->hosts[i].name);
    }
    for (size_t i = 0; i < 3; i++)
        free(status[i]);
}

static bool knows_urls(const struct node_status *status, uint64_t count)
{
    for (uint32_t i = 0; i < status->members.count; i++)
        count -= status->members.member[i].client_url[0] != '\0';
    return count == 0;
}

/* The list does not tell them: each host adds its own, to the first state that all of them share. */
static void initial_members_learn_each_others_urls(void **state)
{
    struct world *world = *state;

    world_cluster(world, 3);
    for (size_t i = 0; i < 3; i++)
        wait_for(&world->hosts[i], knows_urls, 3);
}

static bool first_start(const struct node_status *status, uint64_t refused)
{
    return status->first_start && status->first_refused == (refused != 0);
}

static bool no_first_start(const struct node_status *status, uint64_t unused RK_UNUSED)
{
    return !status->first_start;
}

static void name_initial_members(struct world *world)
{
    world->initial_count = 3;
    for (size_t i = 0; i < 3; i++)
        world->initial[i] = rk_asprintf("node%zu=%s", i + 1, world->hosts[i].address);
}

/* A majority is not enough: the third one could be the only host that remembers. */
static void the_first_start_waits_until_all_have_come_in_any_order(void **state)
{
    struct world *world = *state;

    name_initial_members(world);
    host_start(world, 2);
    nap_ms(300);
    host_start(world, 0);
    nap_ms(1200);
    assert_true(atomic_load(&world->hosts[0].node->leader_now) == 0);
    wait_for(&world->hosts[0], first_start, 0);
    host_stop(&world->hosts[0]); /* it has not forgotten afterwards that it must wait */
    host_start(world, 0);
    wait_for(&world->hosts[0], first_start, 0);
    host_start(world, 1);
    must_put(&world->hosts[1], "a", "1");
    for (size_t i = 0; i < 3; i++)
        wait_for(&world->hosts[i], no_first_start, 0);
}

/* Catalogue row 98: without this two empty logs could elect each other, and all would be gone. */
static void a_wiped_disk_does_not_vote_under_its_old_name(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *host = &world->hosts[leader == &world->hosts[0]];
    struct host *third = &world->hosts[3 - leader->number - host->number];

    must_put(leader, "a", "1");
    for (size_t i = 0; i < 3; i++)
        wait_for(&world->hosts[i], no_first_start, 0);
    host_stop(host);
    host_wipe(host);
    host_start(world, host->number);
    wait_for(host, first_start, 1);
    must_put(leader, "a", "2"); /* it follows, all the same */
    world_isolate(world, leader->number, true); /* not stopped: it would vote for its successor */
    nap_ms(1500);
    assert_true(atomic_load(&third->node->leader_now) == 0); /* nobody else has its vote */
    host_stop(host);
    host_start(world, host->number);
    wait_for(host, first_start, 1); /* nor is it forgotten */
    world_isolate(world, leader->number, false);
    assert_string_equal(must_get(third, "a", NODE_READ_CONSISTENT), "2");
}

static void a_list_of_initial_members_without_us_is_refused(void **state)
{
    struct world *world = *state;
    char *error = NULL;

    world->initial[0] = rk_strdup("other=other:2380");
    world->initial_count = 1;
    assert_int_not_equal(host_open(world, 0, &error), 0);
    assert_non_null(error);
    free(error);
}

/* ---- whose directory it is ----------------------------------------------------------------- */

static void the_directory_of_another_name_is_refused(void **state)
{
    struct world *world = *state;

    host_start(world, 0);
    host_stop(&world->hosts[0]);
    world->tune.name = "somebody";
    refused(world, "belongs to the member node1");
}

static void the_directory_of_another_machine_is_refused_unless_adopted(void **state)
{
    struct world *world = *state;
    struct host *host;

    world->tune.machine = "m1";
    host = host_start(world, 0);
    must_put(host, "a", "1");
    host_stop(host);
    world->tune.machine = "m2";
    refused(world, "another machine");
    world->tune.adopt_machine = true;
    host_start(world, 0);
    assert_string_equal(must_get(host, "a", NODE_READ_CONSISTENT), "1");
    host_stop(host);
    world->tune.adopt_machine = false; /* it is this machine's from then on */
    host_start(world, 0);
    host_stop(host);
    world->tune.machine = "m1";
    refused(world, "--adopt-data");
}

/* ---- what a crash leaves behind --------------------------------------------------------------- */

static struct store_log *open_log(struct host *host, struct store_dir **ret_dir)
{
    struct store_log_config config = {.cache_bytes = 1u << 20};
    struct store_log *log;
    char *error = NULL;

    assert_int_equal(store_dir_open(host->path, ret_dir, &error), 0);
    assert_int_equal(store_space_init(*ret_dir, 0, 0), 0);
    assert_int_equal(store_log_open(*ret_dir, &config, NULL, NULL, &log, &error), 0);
    return log;
}

static void close_log(struct store_log *log, struct store_dir *dir)
{
    store_log_close(log);
    store_dir_close(dir);
}

static void set_base(struct host *host, uint64_t index, uint64_t term)
{
    struct store_base base = {.index = index, .term = term};
    struct store_dir *dir;
    struct store_log *log = open_log(host, &dir);

    assert_int_equal(store_log_begin(log), 0);
    assert_int_equal(store_log_reset(log, 0, &base), 0);
    assert_int_equal(store_log_commit(log), 0);
    close_log(log, dir);
}

static uint64_t fill(struct world *world)
{
    struct host *host = host_start(world, 0);
    struct node_status *status;
    uint64_t last;

    for (int i = 0; i < 5; i++)
        must_put(host, i % 2 ? "a" : "b", "1");
    status = status_of(host);
    last = status->raft.last_index;
    free(status);
    host_stop(host);
    return last;
}

static void rows_ahead_of_the_log_start_the_log_again(void **state)
{
    struct world *world = *state;
    struct host *host = &world->hosts[0];
    uint64_t last = fill(world);
    struct node_status *status;

    set_base(host, 1, 1);
    host_start(world, 0);
    wait_leader(world);
    status = status_of(host);
    assert_int_equal(status->raft.base_index, last);
    free(status);
    assert_string_equal(must_get(host, "a", NODE_READ_CONSISTENT), "1");
    must_put(host, "a", "2");
    host_stop(host);
    host_start(world, 0);
    assert_string_equal(must_get(host, "a", NODE_READ_CONSISTENT), "2");
}

static void rows_that_end_before_the_log_begins_are_refused(void **state)
{
    struct world *world = *state;

    fill(world);
    set_base(&world->hosts[0], 1000, 1);
    refused(world, "do not belong together");
}

/* Changes a byte of an entry's payload, below all checksums but its own. */
static void damage(struct host *host, uint64_t index)
{
    struct store_dir *dir;
    struct store_log *log = open_log(host, &dir);
    struct store_log_key key = store_log_entry_key(0, index);
    DBT key_dbt = store_log_key_dbt(&key), value = {.flags = DB_DBT_MALLOC};
    DB *db = log->env->db;
    DB_TXN *txn;

    assert_int_equal(db->get(db, NULL, &key_dbt, &value, 0), 0);
    ((uint8_t *)value.data)[value.size - 1] ^= 1;
    assert_int_equal(store_env_begin(log->env, &txn), 0);
    assert_int_equal(db->put(db, txn, &key_dbt, &value, 0), 0);
    assert_int_equal(store_env_commit(log->env, txn), 0);
    free(value.data);
    close_log(log, dir);
}

static void a_damaged_entry_is_refused_with_a_sentence(void **state)
{
    struct world *world = *state;
    uint64_t last = fill(world);
    char words[64];

    damage(&world->hosts[0], last - 2);
    snprintf(words, sizeof(words), "entry %llu of the raft log", (unsigned long long)(last - 2));
    refused(world, words);
}

/* What follows the entry that the rows stand at was acknowledged: it must not be dropped without a word. */
static void damage_where_the_rows_stand_is_refused_too(void **state)
{
    struct world *world = *state;
    uint64_t last = fill(world);

    damage(&world->hosts[0], last);
    refused(world, "is damaged");
}

static void a_snapshot_file_that_is_not_needed_is_removed(void **state)
{
    struct world *world = *state;
    struct host *host = &world->hosts[0];
    RK_CLEANUP(rk_freep) char *install = rk_asprintf("%s/snapshot.install", host->path);
    RK_CLEANUP(rk_freep) char *part = rk_asprintf("%s/snapshot.part", host->path);

    fill(world);
    close(open(install, O_CREAT | O_WRONLY, 0600));
    close(open(part, O_CREAT | O_WRONLY, 0600));
    host_start(world, 0);
    assert_false(exists(host, "snapshot.install"));
    assert_false(exists(host, "snapshot.part"));
    assert_string_equal(must_get(host, "a", NODE_READ_CONSISTENT), "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pristine_directory_becomes_a_cluster_of_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restart_keeps_ids_and_keys_and_raises_the_incarnation, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_first_start_that_was_interrupted_starts_over, setup, teardown),
        cmocka_unit_test_setup_teardown(initial_members_give_the_same_ids_on_each_host, setup, teardown),
        cmocka_unit_test_setup_teardown(initial_members_learn_each_others_urls, setup, teardown),
        cmocka_unit_test_setup_teardown(the_first_start_waits_until_all_have_come_in_any_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_wiped_disk_does_not_vote_under_its_old_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_list_of_initial_members_without_us_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_directory_of_another_name_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_directory_of_another_machine_is_refused_unless_adopted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(rows_ahead_of_the_log_start_the_log_again, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_that_end_before_the_log_begins_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_entry_is_refused_with_a_sentence, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_where_the_rows_stand_is_refused_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_file_that_is_not_needed_is_removed, setup, teardown),
    };

    return cmocka_run_group_tests_name("node_boot", tests, NULL, NULL);
}
