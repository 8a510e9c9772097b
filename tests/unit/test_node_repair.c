/* tests/unit/test_node_repair.c - a raft log with damage in it: never guessed, made whole from the leader,
 * and no vote before that. Real Berkeley DB files, with bytes changed in them. */
#include "tests/unit/node_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/node/node_internal.h"
#include "lib/store/store_log.h"

#define PAGE 4096

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

static bool exists(struct host *host, const char *name)
{
    RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s/%s", host->path, name);

    return access(path, F_OK) == 0;
}

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

static struct store_vote vote_of(struct host *host)
{
    struct store_dir *dir;
    struct store_log *log = open_log(host, &dir);
    struct store_vote vote;
    struct store_base base;
    uint64_t last;

    assert_int_equal(store_log_state(log, 0, &vote, &base, &last), 0);
    store_log_close(log);
    store_dir_close(dir);
    return vote;
}

/* Changes a byte of an entry's payload, below all checksums but its own. */
static void damage_entry(struct host *host, uint64_t index)
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
    store_log_close(log);
    store_dir_close(dir);
}

/* Changes a byte in each page of the log. */
static void rot(struct host *host)
{
    RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s/log/data.db", host->path);
    int fd = open(path, O_RDWR);
    struct stat st;
    uint8_t byte;

    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    for (off_t at = 200; at < st.st_size; at += PAGE) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x20;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
}

static void fill(struct host *host, const char *value)
{
    for (int i = 0; i < 20; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%02d", i);
        must_put(host, key, value);
    }
}

static uint64_t applied_of(struct host *host)
{
    struct node_status *status = status_of(host);
    uint64_t applied = status->applied;

    free(status);
    return applied;
}

static bool whole(const struct node_status *status, uint64_t applied)
{
    return !status->repairing && status->applied >= applied;
}

static bool repairing(const struct node_status *status, uint64_t unused RK_UNUSED)
{
    return status->repairing;
}

/* A leader, a host to hurt that stands where the leader does, and the third. */
static void cast(struct world *world, struct host **leader, struct host **host, struct host **third)
{
    *leader = world_cluster(world, 3);
    *host = &world->hosts[*leader == &world->hosts[0]];
    *third = &world->hosts[3 - (*leader)->number - (*host)->number];
    fill(*leader, "1");
    wait_for(*host, status_applied, applied_of(*leader));
    wait_for(*third, status_applied, applied_of(*leader));
}

static void an_entry_that_the_rows_have_applied_is_not_needed(void **state)
{
    struct world *world = *state;
    struct host *leader, *host, *third;

    cast(world, &leader, &host, &third);
    uint64_t applied = applied_of(host);
    host_stop(host);
    damage_entry(host, applied - 3);
    host_start(world, host->number);
    assert_false(exists(host, "repair")); /* nothing is lost: it may vote at once */
    host_stop(third);
    fill(leader, "2");
    wait_for(host, whole, applied_of(leader));
    assert_string_equal(must_get(host, "k07", NODE_READ_STALE), "2");
}

/* The damage is behind what is applied: this host's copy may be one that a majority counted on. */
static void an_entry_that_was_acknowledged_comes_from_the_leader_and_no_vote_before(void **state)
{
    struct world *world = *state;
    struct host *leader, *host, *third;
    uint64_t index;

    cast(world, &leader, &host, &third);
    index = applied_of(host);
    host_stop(leader);
    host_stop(third);
    host_stop(host);
    { /* one more entry, that the host has flushed and not applied */
        struct store_dir *dir;
        struct store_log *log = open_log(host, &dir);
        struct store_vote vote;
        struct store_base base;
        uint64_t last;

        assert_int_equal(store_log_state(log, 0, &vote, &base, &last), 0);
        struct store_entry entry = {.index = last + 1,
                                    .term = vote.term,
                                    .kind = RAFT_ENTRY_COMMAND,
                                    .payload = rk_slice_str("no command")};
        assert_true(last >= index);
        assert_int_equal(store_log_begin(log), 0);
        assert_int_equal(store_log_append(log, 0, &entry, 1, NULL), 0);
        assert_int_equal(store_log_commit(log), 0);
        store_log_close(log);
        store_dir_close(dir);
        damage_entry(host, last + 1);
    }
    host_start(world, host->number);
    wait_for(host, repairing, 0);
    host_start(world, third->number);
    nap_ms(1500);
    assert_true(atomic_load(&third->node->leader_now) == 0); /* it needs a vote, and there is none */
    wait_for(host, repairing, 0);
    host_stop(host); /* and a restart does not forget */
    host_start(world, host->number);
    wait_for(host, repairing, 0);
    host_start(world, leader->number);
    must_put(leader, "b", "1");
    wait_for(host, whole, applied_of(leader));
    assert_false(exists(host, "repair"));
    host_stop(wait_leader(world) == host ? third : wait_leader(world)); /* now its vote counts */
    must_put(host, "c", "1");
}

static void a_log_that_cannot_be_opened_is_set_aside_and_the_vote_is_kept(void **state)
{
    struct world *world = *state;
    struct host *leader, *host, *third;
    struct store_vote before, after;

    cast(world, &leader, &host, &third);
    host_stop(host);
    before = vote_of(host);
    assert_true(before.term > 1);
    rot(host);
    WORLD_SET(world, hold_calls, true); /* the leader's answer does not come */
    host_start(world, host->number);
    wait_for(host, repairing, 0);
    assert_true(exists(host, "log.damaged"));
    host_stop(host);
    after = vote_of(host);
    assert_true(after.term > before.term || memcmp(&after, &before, sizeof(after)) == 0);
    WORLD_SET(world, hold_calls, false);
    host_start(world, host->number);
    must_put(leader, "b", "1");
    wait_for(host, whole, applied_of(leader));
    assert_false(exists(host, "log.damaged"));
    assert_false(exists(host, "repair"));
    assert_string_equal(must_get(host, "k07", NODE_READ_STALE), "1");
    host_stop(third);
    fill(leader, "2");
}

/* The end is missing, as in an older copy: only the mark knows. */
static void a_log_that_ends_before_the_mark_is_repaired_too(void **state)
{
    struct world *world = *state;
    struct host *leader, *host, *third;
    RK_CLEANUP(rk_freep) char *log = NULL, *copy = NULL, *command = NULL;

    cast(world, &leader, &host, &third);
    host_stop(host);
    log = rk_asprintf("%s/log", host->path);
    copy = rk_asprintf("%s/../older", host->path);
    command = rk_asprintf("cp -r '%s' '%s'", log, copy);
    assert_int_equal(system(command), 0);
    host_start(world, host->number);
    fill(leader, "2");
    wait_for(host, status_applied, applied_of(leader));
    host_stop(host);
    free(command);
    command = rk_asprintf("rm -r '%s' && mv '%s' '%s'", log, copy, log);
    assert_int_equal(system(command), 0);
    host_start(world, host->number);
    must_put(leader, "b", "1");
    wait_for(host, whole, applied_of(leader));
    assert_string_equal(must_get(host, "k07", NODE_READ_STALE), "2");
    assert_false(exists(host, "log.damaged"));
}

static void a_host_with_nothing_to_go_on_with_refuses(void **state)
{
    struct world *world = *state;
    struct host *leader, *host, *third;
    RK_CLEANUP(rk_freep) char *rows = NULL;
    char *error = NULL;
    int fd;

    cast(world, &leader, &host, &third);
    host_stop(host);
    rot(host);
    rows = rk_asprintf("%s/rows/data.db", host->path);
    fd = open(rows, O_RDWR);
    assert_int_equal(pwrite(fd, "rot", 3, 200), 3);
    close(fd);
    assert_int_equal(host_open(world, host->number, &error), STORE_E_REFUSED);
    assert_non_null(strstr(error, "join again"));
    free(error);
    assert_true(exists(host, "log") && exists(host, "rows"));
    assert_false(exists(host, "repair"));
}

static void the_only_member_with_a_damaged_log_refuses(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);
    char *error = NULL;

    fill(host, "1");
    host_stop(host);
    rot(host);
    assert_int_equal(host_open(world, 0, &error), STORE_E_REFUSED);
    assert_non_null(error);
    free(error);
    assert_true(exists(host, "log"));
    assert_false(exists(host, "log.damaged"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_entry_that_the_rows_have_applied_is_not_needed, setup, teardown),
        cmocka_unit_test_setup_teardown(
            an_entry_that_was_acknowledged_comes_from_the_leader_and_no_vote_before, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_cannot_be_opened_is_set_aside_and_the_vote_is_kept, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_log_that_ends_before_the_mark_is_repaired_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_host_with_nothing_to_go_on_with_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(the_only_member_with_a_damaged_log_refuses, setup, teardown),
    };

    return cmocka_run_group_tests_name("node_repair", tests, NULL, NULL);
}
