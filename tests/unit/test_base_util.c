/* tests/unit/test_base_util.c - the small things: memory, lists, blobs, random numbers, clocks, beats,
 * assertions. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_beat.h"
#include "lib/base/rk_blob.h"
#include "lib/base/rk_clock.h"
#include "lib/base/rk_list.h"
#include "lib/base/rk_random.h"

static void memory_is_zeroed_and_never_null(void **state RK_UNUSED)
{
    RK_CLEANUP(rk_freep) uint64_t *numbers = RK_NEW_ARRAY(uint64_t, 100);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(numbers[i], 0);
    void *none = rk_new0(0, 8);
    assert_non_null(none);
    none = rk_realloc(none, 0);
    assert_non_null(none);
    rk_freep(&none);
    assert_null(none);
}

static void strings_are_copied_and_formatted(void **state RK_UNUSED)
{
    RK_CLEANUP(rk_freep) char *copy = rk_strdup("hello");
    RK_CLEANUP(rk_freep) char *text = rk_asprintf("%s %d", copy, 7);
    assert_string_equal(text, "hello 7");
}

static void closep_closes_once_and_keeps_errno(void **state RK_UNUSED)
{
    int fd = dup(0);
    errno = ENOSPC;
    rk_closep(&fd);
    assert_int_equal(fd, -1);
    rk_closep(&fd);
    assert_int_equal(errno, ENOSPC);
}

/* Runs fn in a child whose stderr is closed; returns how it ended. */
static int ending(void (*fn)(void))
{
    pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        fn();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void fail_assertion(void)
{
    rk_assert(1 + 1 == 3);
}

static void overflow_array(void)
{
    free(rk_new0(SIZE_MAX / 4, 16));
}

static void unref_twice(void)
{
    struct rk_blob *blob = rk_blob_new(1);
    rk_blob_ref(blob);
    atomic_store(&blob->refs, 0);
    rk_blob_unref(blob);
}

static void failed_assertions_end_the_process(void **state RK_UNUSED)
{
    rk_assert(1 + 1 == 2);
    assert_int_not_equal(ending(fail_assertion), 0);
    assert_int_not_equal(ending(overflow_array), 0);
    assert_int_not_equal(ending(unref_twice), 0);
}

static void lists_keep_order_through_push_pop_and_splice(void **state RK_UNUSED)
{
    struct rk_list a, b, items[4];
    rk_list_init(&a);
    rk_list_init(&b);
    assert_null(rk_list_pop_front(&a));
    rk_list_push_back(&a, &items[1]);
    rk_list_push_front(&a, &items[0]);
    rk_list_push_back(&b, &items[2]);
    rk_list_push_back(&b, &items[3]);
    rk_list_splice_back(&a, &b);
    rk_list_splice_back(&a, &b);
    assert_true(rk_list_empty(&b));
    size_t n = 0;
    RK_LIST_FOR_EACH (it, &a)
        assert_ptr_equal(it, &items[n++]);
    assert_int_equal(n, 4);
    rk_list_remove(&items[1]);
    rk_list_remove(&items[1]);
    assert_ptr_equal(rk_list_pop_front(&a), &items[0]);
    RK_LIST_FOR_EACH_SAFE (it, &a)
        rk_list_remove(it);
    assert_true(rk_list_empty(&a));
}

static void a_blob_lives_until_its_last_reference(void **state RK_UNUSED)
{
    struct rk_blob *blob = rk_blob_copy(rk_slice_str("bytes"));
    assert_ptr_equal(rk_blob_ref(blob), blob);
    assert_null(rk_blob_unref(blob));
    assert_true(rk_slice_eq_str(rk_blob_slice(blob), "bytes"));
    assert_null(rk_blob_unref(blob));
}

static void no_blob_is_an_empty_blob(void **state RK_UNUSED)
{
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *blob = rk_blob_copy(rk_slice(NULL, 0));
    assert_int_equal(rk_blob_slice(blob).len, 0);
    assert_null(rk_blob_ref(NULL));
    assert_null(rk_blob_unref(NULL));
    assert_int_equal(rk_blob_slice(NULL).len, 0);
}

static void *ref_and_unref(void *userdata)
{
    for (int i = 0; i < 20000; i++)
        rk_blob_unref(rk_blob_ref(userdata));
    rk_blob_unref(userdata);
    return NULL;
}

static void threads_may_share_a_blob(void **state RK_UNUSED)
{
    struct rk_blob *blob = rk_blob_new(100);
    pthread_t threads[4];
    for (size_t i = 0; i < RK_ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, rk_blob_ref(blob)), 0);
    for (size_t i = 0; i < RK_ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&blob->refs), 1);
    rk_blob_unref(blob);
}

static void a_seed_repeats_its_numbers(void **state RK_UNUSED)
{
    struct rk_random a = {.state = 1234567}, b = a;
    assert_true(rk_random_next(&a) ==
                0x599ed017fb08fc85u); /* the published first value of splitmix64 for this seed */
    rk_random_next(&b);
    for (int i = 0; i < 1000; i++) {
        uint64_t n = rk_random_below(&a, 10);
        assert_true(n < 10);
        assert_true(n == rk_random_below(&b, 10));
    }
}

static void ids_are_not_zero_and_differ(void **state RK_UNUSED)
{
    uint64_t a = rk_random_id(), b = rk_random_id();
    assert_true(a != 0 && b != 0 && a != b);
}

static void clocks_run_forward_in_their_units(void **state RK_UNUSED)
{
    uint64_t before_us = rk_clock_now_us(&rk_clock_boottime);
    usleep(2000);
    uint64_t after_us = rk_clock_now_us(&rk_clock_boottime);
    assert_true(before_us > 0);
    assert_true(after_us >= before_us + 2000 && after_us < before_us + 60 * RK_USEC_PER_SEC);
    assert_true(rk_clock_wall_ms() > 1600000000000u && rk_clock_wall_ms() < 5000000000000u);
}

static void an_idle_thread_is_healthy_however_long_it_sleeps(void **state RK_UNUSED)
{
    struct rk_beat beat = {.name = "t"};
    assert_int_equal(rk_beat_stuck_us(&beat, 100), 0);
    assert_int_equal(rk_beat_stuck_us(&beat, 1000000), 0);
    rk_beat_busy(&beat);
    rk_beat_idle(&beat);
    rk_beat_idle(&beat);
    assert_int_equal(rk_beat_stuck_us(&beat, 2000000), 0);
    assert_int_equal(rk_beat_stuck_us(&beat, 9000000), 0);
}

static void a_busy_thread_is_stuck_since_its_last_progress(void **state RK_UNUSED)
{
    struct rk_beat beat = {.name = "t"};
    rk_beat_busy(&beat);
    rk_beat_busy(&beat); /* a second time changes nothing */
    assert_int_equal(rk_beat_stuck_us(&beat, 1000), 0);
    assert_int_equal(rk_beat_stuck_us(&beat, 5000), 4000);
    rk_beat_progress(&beat);
    assert_int_equal(rk_beat_stuck_us(&beat, 6000), 0);
    assert_int_equal(rk_beat_stuck_us(&beat, 7000), 1000);
    rk_beat_idle(&beat);
    rk_beat_progress(&beat); /* an idle thread makes none */
    assert_int_equal(rk_beat_stuck_us(&beat, 8000), 0);
    rk_beat_busy(&beat);
    assert_int_equal(rk_beat_stuck_us(&beat, 9000), 0); /* new work, not the old */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_never_null),
        cmocka_unit_test(strings_are_copied_and_formatted),
        cmocka_unit_test(closep_closes_once_and_keeps_errno),
        cmocka_unit_test(failed_assertions_end_the_process),
        cmocka_unit_test(lists_keep_order_through_push_pop_and_splice),
        cmocka_unit_test(a_blob_lives_until_its_last_reference),
        cmocka_unit_test(no_blob_is_an_empty_blob),
        cmocka_unit_test(threads_may_share_a_blob),
        cmocka_unit_test(a_seed_repeats_its_numbers),
        cmocka_unit_test(ids_are_not_zero_and_differ),
        cmocka_unit_test(clocks_run_forward_in_their_units),
        cmocka_unit_test(an_idle_thread_is_healthy_however_long_it_sleeps),
        cmocka_unit_test(a_busy_thread_is_stuck_since_its_last_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
