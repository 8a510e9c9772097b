/* tests/unit/test_node_hang.c - a leader whose disk hangs: a flush does not return, everything else goes on.
 */
#include "tests/unit/node_fixture.h"

#include <semaphore.h>
#include <stdatomic.h>

#include "lib/node/node_internal.h"

static sem_t go_on;
static _Atomic(struct store_log *) hung;

/* The linker puts it in front of the real one. */
int __real_store_log_commit(struct store_log *log);
int __wrap_store_log_commit(struct store_log *log);

int __wrap_store_log_commit(struct store_log *log)
{
    while (atomic_load(&hung) == log && sem_wait(&go_on) != 0)
        continue;
    return __real_store_log_commit(log);
}

static int setup(void **state)
{
    assert_int_equal(sem_init(&go_on, 0, 0), 0);
    *state = RK_NEW(struct world);
    world_init(*state);
    return 0;
}

static int teardown(void **state)
{
    atomic_store(&hung, NULL);
    sem_post(&go_on);
    world_deinit(*state);
    free(*state);
    return 0;
}

static bool leads_no_more(const struct node_status *status, uint64_t unused)
{
    (void)unused;
    return status->raft.role != RAFT_LEADER;
}

/* Election timeout 200 ms: within two of them, and some for a busy machine. */
static void a_leader_whose_disk_hangs_gives_up_leadership(void **state)
{
    struct world *world = *state;
    struct host *leader = world_cluster(world, 3), *next;
    uint64_t since_us;

    must_put(leader, "a", "1");
    atomic_store(&hung, leader->node->log);
    since_us = now_us();
    expect(leader, new_put(leader, "b", "2"), NODE_OK); /* the two others are a majority */
    wait_for(leader, leads_no_more, 0);
    assert_true(now_us() - since_us < 1000 * RK_USEC_PER_MSEC);
    next = wait_other_leader(world, leader);
    must_put(next, "c", "3");
    assert_string_equal(must_get(next, "c", NODE_READ_CONSISTENT), "3");
    atomic_store(&hung, NULL);
    sem_post(&go_on); /* it works again, and follows */
    assert_string_equal(must_get(leader, "c", NODE_READ_CONSISTENT), "3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_leader_whose_disk_hangs_gives_up_leadership, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
