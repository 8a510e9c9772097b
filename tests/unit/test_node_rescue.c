/* tests/unit/test_node_rescue.c - a stopped host looked at, recovered, and made anew from a snapshot file. */
#include "tests/unit/node_fixture.h"

#include <fcntl.h>
#include <unistd.h>

#include "lib/base/rk_file.h"
#include "lib/node/node_rescue.h"
#include "lib/store/store.h"

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

static struct node_config config_of(const struct host *host)
{
    return (struct node_config){.name = host->name,
                                .peer_address = host->address,
                                .client_url = host->url,
                                .machine = "",
                                .adopt_machine = true,
                                .data_directory = host->path,
                                .election_timeout_ms = 100,
                                .heartbeat_ms = 20,
                                .log_cache_bytes = 1u << 20,
                                .rows_cache_bytes = 1u << 20,
                                .clock = rk_clock_boottime};
}

static void refused(int r, char *error, const char *words)
{
    assert_int_equal(r, STORE_E_REFUSED);
    if (!strstr(error, words))
        fail_msg("\"%s\" does not say \"%s\"", error, words);
    free(error);
}

static struct node_status *survey(const struct host *host)
{
    struct node_config config = config_of(host);
    struct node_status *status;
    char *error = NULL;

    assert_int_equal(node_survey(&config, &status, &error), 0);
    return status;
}

/* The one with the furthest log of two hosts. */
static size_t best_of(const struct world *world, size_t a, size_t b)
{
    struct node_status *x = survey(&world->hosts[a]), *y = survey(&world->hosts[b]);
    bool first = x->raft.last_term != y->raft.last_term ? x->raft.last_term > y->raft.last_term
                                                        : x->raft.last_index >= y->raft.last_index;

    free(x);
    free(y);
    return first ? a : b;
}

static void the_best_survivor_goes_on_alone_with_all_that_was_acknowledged(void **state)
{
    struct world *world = *state;
    struct node_status *before, *after;
    struct node_config config;
    uint64_t cluster_id;
    char *error = NULL;
    struct host *host;

    world_cluster(world, 3);
    wait_leader(world);
    world_isolate(world, 2, true); /* falls behind */
    for (int i = 0; i < 20; i++)
        must_put(&world->hosts[i % 2], i % 2 ? "a" : "b", i % 2 ? "1" : "2");
    for (size_t i = 0; i < 3; i++)
        host_stop(&world->hosts[i]);
    host_wipe(&world->hosts[best_of(world, 0, 1) == 0 ? 1 : 0]);
    host = &world->hosts[access(world->hosts[0].path, F_OK) == 0 ? 0 : 1];
    assert_int_equal(best_of(world, host->number, 2), host->number);
    config = config_of(host);
    assert_int_equal(node_recover(&config, &before, &cluster_id, &error), 0);
    assert_int_equal(before->members.count, 3);
    assert_true(before->cluster_id != cluster_id);
    host_start(world, host->number);
    wait_leader(world);
    assert_string_equal(must_get(host, "a", NODE_READ_CONSISTENT), "1");
    assert_string_equal(must_get(host, "b", NODE_READ_CONSISTENT), "2");
    after = status_of(host);
    assert_true(after->cluster_id == cluster_id && after->members.count == 1);
    assert_true(after->members.removed_count == 3 && !after->removed);
    assert_true(after->raft.id != before->raft.id && after->revision >= before->revision);
    must_put(host, "c", "3");
    free(before);
    free(after);
}

static void recovering_again_is_harmless(void **state)
{
    struct world *world = *state;
    struct node_config config;
    struct node_status *before;
    uint64_t ids[3];
    char *error = NULL;
    struct host *host = host_start(world, 0);

    wait_leader(world);
    must_put(host, "a", "1");
    host_stop(host);
    config = config_of(host);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(node_recover(&config, &before, &ids[i], &error), 0);
        free(before);
    }
    assert_true(ids[0] != ids[1] && ids[1] != ids[2]);
    host_start(world, 0);
    wait_leader(world);
    assert_string_equal(must_get(host, "a", NODE_READ_CONSISTENT), "1");
}

static void a_host_that_runs_or_holds_nothing_is_left_alone(void **state)
{
    struct world *world = *state;
    struct host *host = host_start(world, 0);
    struct node_config config = config_of(host), empty = config_of(&world->hosts[1]);
    struct node_status *status;
    uint64_t cluster_id;
    char *error = NULL;
    int r = node_survey(&config, &status, &error);

    refused(r, error, "in use");
    r = node_recover(&config, &status, &cluster_id, &error);
    refused(r, error, "in use");
    error = NULL;
    r = node_survey(&empty, &status, &error);
    refused(r, error, "nothing to recover");
    assert_int_not_equal(access(world->hosts[1].path, F_OK), 0); /* and nothing was made */
    must_put(host, "a", "1");
}

/* What a host that is stopped has, as a file. */
static void save(const struct host *host, const char *path)
{
    struct node_config config = config_of(host);
    struct store_rows_config rows_config = {.cache_bytes = 1u << 20};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf out = {0};
    struct mvcc_snapshot *snapshot;
    struct store_rows *rows;
    struct store_dir *dir;
    struct mvcc *mvcc;
    char *error = NULL;

    assert_int_equal(store_dir_open(config.data_directory, &dir, &error), 0);
    assert_int_equal(store_rows_open(dir, &rows_config, NULL, NULL, &rows, &error), 0);
    assert_int_equal(mvcc_open(rows, 0, &mvcc), 0);
    assert_int_equal(mvcc_snapshot_open(mvcc, 4711, &snapshot), 0);
    while (mvcc_snapshot_next(snapshot, 1000, &out) == 0) {}
    mvcc_snapshot_close(snapshot);
    mvcc_free(mvcc);
    store_rows_close(rows);
    store_dir_close(dir);
    assert_int_equal(rk_file_replace(path, rk_buf_slice(&out), 0600), 0);
}

static void a_snapshot_becomes_a_new_cluster_whose_revisions_go_on(void **state)
{
    struct world *world = *state;
    RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s/snap", world->path);
    struct node_file_report *file = RK_NEW(struct node_file_report);
    struct host *host = host_start(world, 0), *other = &world->hosts[1];
    struct node_config config = config_of(other), same = config_of(host);
    struct node_status *status;
    uint64_t cluster_id;
    char *error = NULL;
    int fd, r;

    for (int i = 0; i < 5; i++)
        must_put(host, "a", i == 4 ? "last" : "1");
    host_stop(host);
    save(host, path);
    fd = open(path, O_RDONLY);
    r = node_restore(&same, fd, file, &cluster_id, &error);
    refused(r, error, "holds the data of node1");
    error = NULL;
    assert_int_equal(node_restore(&config, fd, file, &cluster_id, &error), 0);
    assert_true(file->cluster_id == 4711 && cluster_id != 4711 && file->revision == 6 && file->keys == 1);
    close(fd);
    host_start(world, 1);
    wait_leader(world);
    assert_string_equal(must_get(other, "a", NODE_READ_CONSISTENT), "last");
    must_put(other, "b", "1");
    status = status_of(other);
    assert_true(status->cluster_id == cluster_id && status->members.count == 1);
    assert_string_equal(status->members.member[0].name, "node2");
    assert_int_equal(status->raft.base_index, file->index + 1);
    free(status);
    host_stop(other);
    host_start(world, 1); /* and again, as any host */
    wait_leader(world);
    assert_string_equal(must_get(other, "b", NODE_READ_CONSISTENT), "1");
    free(file);
}

static void a_damaged_file_leaves_the_directory_pristine(void **state)
{
    struct world *world = *state;
    RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s/snap", world->path);
    struct node_file_report *file = RK_NEW(struct node_file_report);
    RK_CLEANUP(rk_buf_deinit) struct rk_buf bytes = {0};
    struct host *host = host_start(world, 0);
    struct node_config config = config_of(&world->hosts[1]);
    uint64_t cluster_id;

    must_put(host, "a", "1");
    host_stop(host);
    save(host, path);
    assert_int_equal(rk_file_read(path, 1u << 20, &bytes), 0);
    for (size_t at = 0; at < bytes.len; at += 41) {
        char *error = NULL;
        int fd, r;

        bytes.data[bytes.start + at] ^= 4;
        assert_int_equal(rk_file_replace(path, rk_buf_slice(&bytes), 0600), 0);
        bytes.data[bytes.start + at] ^= 4;
        fd = open(path, O_RDONLY);
        r = node_restore(&config, fd, file, &cluster_id, &error);
        close(fd);
        refused(r, error, "damaged");
    }
    assert_int_not_equal(access(world->hosts[1].path, F_OK), 0);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_best_survivor_goes_on_alone_with_all_that_was_acknowledged, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(recovering_again_is_harmless, setup, teardown),
        cmocka_unit_test_setup_teardown(a_host_that_runs_or_holds_nothing_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_becomes_a_new_cluster_whose_revisions_go_on, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_file_leaves_the_directory_pristine, setup, teardown),
    };

    return cmocka_run_group_tests_name("node rescue", tests, NULL, NULL);
}
