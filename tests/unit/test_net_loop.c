/* tests/unit/test_net_loop.c - turns, timers, mail from other threads, plain descriptors. */
#include "config.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_clock.h"
#include "lib/net/net_internal.h"

static struct net_loop *new_loop(void)
{
    struct net_loop *loop;
    assert_int_equal(net_loop_new(&loop), 0);
    return loop;
}

/* ---- timers ------------------------------------------------------------------------- */

static char order[64];

struct named_timer {
    struct net_timer timer;
    char name;
    unsigned fired;
};

static void note(struct net_timer *timer)
{
    struct named_timer *named = RK_CONTAINER_OF(timer, struct named_timer, timer);
    size_t len = strlen(order);
    named->fired++;
    if (len + 1 < sizeof(order)) {
        order[len] = named->name;
        order[len + 1] = '\0';
    }
}

static void timers_fire_in_order_and_not_early(void **state)
{
    (void)state;
    struct net_loop *loop = new_loop();
    struct named_timer timers[] = {{.name = 'c'}, {.name = 'a'}, {.name = 'd'}, {.name = 'b'}};
    const uint64_t after_ms[] = {30, 10, 40, 20};
    uint64_t start_us = rk_clock_now_us(&rk_clock_boottime);
    order[0] = '\0';
    for (size_t i = 0; i < RK_ARRAY_LEN(timers); i++) {
        net_timer_init(&timers[i].timer, loop, note);
        net_timer_set(&timers[i].timer, start_us + after_ms[i] * RK_USEC_PER_MSEC);
    }
    while (strlen(order) < 4)
        assert_int_equal(net_loop_run_once(loop), 0);
    assert_string_equal(order, "abcd");
    assert_true(rk_clock_now_us(&rk_clock_boottime) >= start_us + 40 * RK_USEC_PER_MSEC);
    net_loop_free(loop);
}

static void a_cancelled_timer_does_not_fire(void **state)
{
    (void)state;
    struct net_loop *loop = new_loop();
    struct named_timer kept = {.name = 'k'}, cancelled = {.name = 'x'};
    order[0] = '\0';
    net_timer_init(&kept.timer, loop, note);
    net_timer_init(&cancelled.timer, loop, note);
    net_timer_cancel(&cancelled.timer);
    net_timer_set(&cancelled.timer, 1);
    net_timer_set(&kept.timer, net_loop_now_us(loop) + 5000);
    net_timer_cancel(&cancelled.timer);
    while (!kept.fired)
        assert_int_equal(net_loop_run_once(loop), 0);
    assert_string_equal(order, "k");
    net_loop_free(loop);
}

static void set_again_at_once(struct net_timer *timer)
{
    note(timer);
    net_timer_set(timer, 0);
}

static void a_timer_that_sets_itself_to_the_past_fires_once_a_turn(void **state)
{
    (void)state;
    struct net_loop *loop = new_loop();
    struct named_timer timer = {.name = 't'};
    net_timer_init(&timer.timer, loop, set_again_at_once);
    net_timer_set(&timer.timer, 0);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(net_loop_run_once(loop), 0);
        assert_int_equal(timer.fired, i);
    }
    net_timer_cancel(&timer.timer);
    net_loop_free(loop);
}

/* ---- mail --------------------------------------------------------------------------- */

#define SENDERS 3
#define MAILS   2000

struct numbered {
    struct rk_mail mail;
    unsigned sender, number;
};

struct receiver {
    unsigned next[SENDERS], total;
};

static struct net_loop *mail_loop;

static void on_numbered(void *userdata, struct rk_mail *mail)
{
    struct receiver *receiver = userdata;
    struct numbered *numbered = RK_CONTAINER_OF(mail, struct numbered, mail);
    rk_assert(numbered->number == receiver->next[numbered->sender]++);
    receiver->total++;
    free(numbered);
}

static void *send_many(void *userdata)
{
    for (unsigned i = 0; i < MAILS; i++) {
        struct numbered *numbered = RK_NEW(struct numbered);
        *numbered = (struct numbered){.mail.kind = 7, .sender = *(unsigned *)userdata, .number = i};
        rk_assert(rk_mailbox_push(net_loop_mailbox(mail_loop), &numbered->mail));
    }
    return NULL;
}

static void mail_from_threads_arrives_in_each_ones_order(void **state)
{
    (void)state;
    pthread_t threads[SENDERS];
    unsigned numbers[SENDERS];
    struct receiver receiver = {0};
    mail_loop = new_loop();
    net_loop_on_mail(mail_loop, on_numbered, &receiver);
    for (unsigned i = 0; i < SENDERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &numbers[i]), 0);
    }
    while (receiver.total < SENDERS * MAILS)
        assert_int_equal(net_loop_run_once(mail_loop), 0);
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    net_loop_free(mail_loop);
}

static void mail_still_in_the_box_is_delivered_when_the_loop_is_freed(void **state)
{
    (void)state;
    struct receiver receiver = {0};
    struct net_loop *loop = new_loop();
    net_loop_on_mail(loop, on_numbered, &receiver);
    struct numbered *numbered = RK_NEW(struct numbered);
    numbered->mail.kind = 7;
    assert_true(rk_mailbox_push(net_loop_mailbox(loop), &numbered->mail));
    net_loop_stop(loop);
    net_loop_free(loop);
    assert_int_equal(receiver.total, 1);
}

/* ---- stop ---------------------------------------------------------------------------- */

static void *run_loop(void *userdata)
{
    rk_assert(net_loop_run(userdata) == 0);
    return NULL;
}

static void stop_from_another_thread_ends_a_sleeping_run(void **state)
{
    (void)state;
    struct net_loop *loop = new_loop();
    for (int round = 0; round < 2; round++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, run_loop, loop), 0);
        usleep((useconds_t)round * 10000);
        net_loop_stop(loop);
        net_loop_stop(loop);
        pthread_join(thread, NULL);
        /* The second stop may have come after the run: it ends the next one. */
        while (atomic_load(&loop->stop_posted))
            assert_int_equal(net_loop_run_once(loop), 0);
        loop->stopped = false;
    }
    net_loop_free(loop);
}

static void the_beat_counts_turns(void **state)
{
    (void)state;
    struct net_loop *loop = new_loop();
    struct named_timer timer = {.name = 't'};
    net_timer_init(&timer.timer, loop, note);
    net_timer_set(&timer.timer, 0);
    unsigned long long before = atomic_load(&net_loop_beat(loop)->count);
    assert_int_equal(net_loop_run_once(loop), 0);
    assert_true(atomic_load(&net_loop_beat(loop)->count) > before);
    net_loop_free(loop);
}

/* ---- sources --------------------------------------------------------------------------- */

struct pair {
    struct net_source source;
    struct pair *other;
    unsigned calls;
};

static void remove_both(struct net_source *source, uint32_t events)
{
    struct pair *pair = RK_CONTAINER_OF(source, struct pair, source);
    assert_true(events & EPOLLIN);
    pair->calls++;
    net_source_remove(&pair->other->source);
    close(pair->other->source.fd);
    pair->other->source.fd = -1;
    net_source_remove(&pair->source);
    net_source_remove(&pair->source);
}

static void a_source_removed_in_the_same_turn_is_not_called(void **state)
{
    (void)state;
    struct net_loop *loop = new_loop();
    struct pair a = {.source.fn = remove_both}, b = {.source.fn = remove_both, .other = &a};
    a.other = &b;
    a.source.fd = eventfd(1, EFD_NONBLOCK);
    b.source.fd = eventfd(1, EFD_NONBLOCK);
    assert_int_equal(net_source_add(loop, &a.source, EPOLLIN), 0);
    assert_int_equal(net_source_add(loop, &b.source, EPOLLIN), 0);
    assert_int_equal(net_loop_run_once(loop), 0);
    assert_int_equal(a.calls + b.calls, 1);
    rk_closep(&a.source.fd);
    rk_closep(&b.source.fd);
    net_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_and_not_early),
        cmocka_unit_test(a_cancelled_timer_does_not_fire),
        cmocka_unit_test(a_timer_that_sets_itself_to_the_past_fires_once_a_turn),
        cmocka_unit_test(mail_from_threads_arrives_in_each_ones_order),
        cmocka_unit_test(mail_still_in_the_box_is_delivered_when_the_loop_is_freed),
        cmocka_unit_test(stop_from_another_thread_ends_a_sleeping_run),
        cmocka_unit_test(the_beat_counts_turns),
        cmocka_unit_test(a_source_removed_in_the_same_turn_is_not_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
