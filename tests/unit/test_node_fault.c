/* tests/unit/test_node_fault.c - a disk that fails under a running node: it stops serving, says so once, and
 * every call comes back.
 *
 * The failure is latched in the process, so each case is a child's. */
#include "tests/unit/node_fixture.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/store/store_internal.h"

static void in_child(void (*fn)(struct world *world))
{
    pid_t pid;
    int status;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        struct world *world = RK_NEW(struct world);

        world_init(world);
        fn(world);
        world_deinit(world); /* waits for every call */
        free(world);
        exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void wait_failure(struct host *host)
{
    for (uint64_t until = now_us() + WAIT_US; atomic_load(&host->failures) == 0; nap_ms(2))
        assert_true(now_us() < until);
}

static void stop(struct host *host)
{
    host_stop(host);
    assert_true(atomic_load(&host->failures) <= 1);
}

static void ask_some(struct host *host, int count)
{
    for (int i = 0; i < count; i++) {
        ask(host, new_put(host, "a", "2"));
        ask(host, new_get("a", (enum node_read_level)(i % 3)));
    }
}

static void flush_of_the_log(struct world *world)
{
    struct host *host = host_start(world, 0);
    const char *reason;

    must_put(host, "a", "1");
    store_hooks_test_fail_sync(1, EIO);
    ask_some(host, 100);
    wait_failure(host);
    assert_false(node_healthy(host->node, &reason));
    assert_string_equal(reason, "this host's storage has failed");
    ask_some(host, 100);
    stop(host);
}

static void a_failed_flush_of_the_log_is_final(void **state)
{
    (void)state;
    in_child(flush_of_the_log);
}

static void flush_of_the_rows(struct world *world)
{
    struct host *host = host_start(world, 0);

    must_put(host, "a", "1");
    store_hooks_test_fail_sync(1, EIO);
    ask(host, new_call(NODE_CALL_SNAPSHOT, NULL));
    ask(host, new_call(NODE_CALL_SNAPSHOT_READ, NULL));
    ask_some(host, 100);
    wait_failure(host);
    stop(host);
    while (world->answered < world->asked) {
        struct node_call *back = take(world);

        if (back->stream) { /* it was opened before: to be given back */
            back->stream->cancel = true;
            node_stream_free(back->stream);
            back->stream = NULL;
        }
        node_call_free(back);
    }
}

static void a_failed_flush_of_the_rows_is_final(void **state)
{
    (void)state;
    in_child(flush_of_the_rows);
}

/* Somewhere in the middle of a load, on three hosts at once. */
static unsigned nth;

static void under_load(struct world *world)
{
    struct host *leader = world_cluster(world, 3);

    must_put(leader, "a", "1");
    ask_some(leader, 50);
    store_hooks_test_fail_sync(nth, EIO);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < 3; i++)
            ask_some(&world->hosts[i], 20);
        nap_ms(1);
    }
    wait_failure(leader);
    for (size_t i = 0; i < 3; i++)
        stop(&world->hosts[i]);
}

static void a_failure_under_load_answers_every_call(void **state)
{
    (void)state;
    for (nth = 1; nth <= 9; nth += 2)
        in_child(under_load);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_flush_of_the_log_is_final),
        cmocka_unit_test(a_failed_flush_of_the_rows_is_final),
        cmocka_unit_test(a_failure_under_load_answers_every_call),
    };

    return cmocka_run_group_tests_name("node_fault", tests, NULL, NULL);
}
