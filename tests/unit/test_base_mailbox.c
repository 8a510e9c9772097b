/* tests/unit/test_base_mailbox.c - mails between threads. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/rk_clock.h"
#include "lib/base/rk_mailbox.h"

struct letter {
    struct rk_mail mail;
    unsigned sender, number;
};

static bool readable(const struct rk_mailbox *box)
{
    struct pollfd fd = {.fd = box->eventfd, .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

static size_t take_all(struct rk_mailbox *box)
{
    struct rk_list mails;
    rk_list_init(&mails);
    return rk_mailbox_take(box, &mails);
}

static uint64_t read_eventfd(const struct rk_mailbox *box)
{
    uint64_t value = 0;
    return read(box->eventfd, &value, sizeof(value)) == sizeof(value) ? value : 0;
}

static void a_receiver_that_is_awake_costs_no_write(void **state RK_UNUSED)
{
    struct rk_mailbox box;
    struct rk_mail a, b;
    assert_int_equal(rk_mailbox_init(&box, 10), 0);
    assert_false(readable(&box));
    assert_int_equal(take_all(&box), 0);
    assert_true(rk_mailbox_push(&box, &a));
    assert_false(readable(&box));
    assert_int_equal(take_all(&box), 1);
    assert_true(rk_mailbox_sleep(&box));
    assert_int_equal(take_all(&box), 0); /* awake again, for another reason */
    assert_true(rk_mailbox_push(&box, &b));
    assert_false(readable(&box));
    assert_int_equal(rk_mailbox_depth(&box), 1);
    assert_int_equal(take_all(&box), 1);
    rk_mailbox_deinit(&box);
}

static void nobody_goes_to_sleep_on_mail(void **state RK_UNUSED)
{
    struct rk_mailbox box;
    struct rk_mail a, b;
    assert_int_equal(rk_mailbox_init(&box, 10), 0);
    assert_true(rk_mailbox_push(&box, &a));
    assert_false(rk_mailbox_sleep(&box));
    assert_true(rk_mailbox_push(&box, &b));
    assert_false(readable(&box));
    assert_int_equal(take_all(&box), 2);
    assert_true(rk_mailbox_sleep(&box));
    rk_mailbox_deinit(&box);
}

static void a_burst_writes_the_eventfd_once_a_sleep(void **state RK_UNUSED)
{
    struct rk_mailbox box;
    struct rk_mail mails[5];
    assert_int_equal(rk_mailbox_init(&box, 10), 0);
    for (unsigned round = 0; round < 2; round++) {
        assert_true(rk_mailbox_sleep(&box));
        for (size_t i = 0; i < RK_ARRAY_LEN(mails); i++)
            assert_true(rk_mailbox_push(&box, &mails[i]));
        assert_int_equal(read_eventfd(&box), 1);
        assert_int_equal(take_all(&box), 5);
    }
    rk_mailbox_deinit(&box);
}

/* The sender writes after it has let go of the box, so its wake-up may come when the mail is gone. */
static void a_late_wake_up_does_not_end_a_wait(void **state RK_UNUSED)
{
    struct rk_mailbox box;
    uint64_t one = 1;
    assert_int_equal(rk_mailbox_init(&box, 10), 0);
    assert_int_equal(write(box.eventfd, &one, sizeof(one)), sizeof(one));
    uint64_t start_us = rk_clock_now_us(&rk_clock_boottime);
    rk_mailbox_wait(&box, start_us + 20000);
    assert_true(rk_clock_now_us(&rk_clock_boottime) >= start_us + 20000);
    assert_false(readable(&box));
    rk_mailbox_deinit(&box);
}

static void the_bound_refuses_and_the_mail_stays_the_senders(void **state RK_UNUSED)
{
    struct rk_mailbox box;
    struct rk_mail a, b, c;
    assert_int_equal(rk_mailbox_init(&box, 2), 0);
    assert_true(rk_mailbox_push(&box, &a));
    assert_true(rk_mailbox_push(&box, &b));
    assert_false(rk_mailbox_push(&box, &c));
    assert_int_equal(rk_mailbox_depth(&box), 2);
    assert_true(rk_mailbox_push_always(&box, &c));
    assert_int_equal(take_all(&box), 3);
    assert_true(rk_mailbox_push(&box, &c));
    assert_int_equal(take_all(&box), 1);
    rk_mailbox_deinit(&box);
}

static void a_list_goes_in_whole_or_not_at_all(void **state RK_UNUSED)
{
    struct rk_mailbox box;
    struct rk_mail a, b, c, over;
    struct rk_list list, taken;
    rk_list_init(&list);
    rk_list_init(&taken);
    assert_int_equal(rk_mailbox_init(&box, 2), 0);
    assert_true(rk_mailbox_sleep(&box));
    assert_true(rk_mailbox_push_list(&box, &list, 0));
    assert_false(readable(&box));
    assert_true(rk_mailbox_push(&box, &a));
    rk_list_push_back(&list, &b.link);
    rk_list_push_back(&list, &c.link);
    assert_false(rk_mailbox_push_list(&box, &list, 2));
    assert_ptr_equal(list.next, &b.link);
    assert_int_equal(take_all(&box), 1);
    assert_true(rk_mailbox_push_list(&box, &list, 2));
    assert_true(rk_list_empty(&list));
    assert_true(rk_mailbox_push_always(&box, &over)); /* beyond the bound: a list must not wrap around it */
    rk_list_push_back(&list, &a.link);
    assert_false(rk_mailbox_push_list(&box, &list, 1));
    assert_int_equal(rk_mailbox_take(&box, &taken), 3);
    assert_ptr_equal(rk_list_pop_front(&taken), &b.link);
    assert_ptr_equal(rk_list_pop_front(&taken), &c.link);
    assert_ptr_equal(rk_list_pop_front(&taken), &over.link);
    rk_mailbox_deinit(&box);
}

static void take_puts_new_mails_behind_those_already_there(void **state RK_UNUSED)
{
    struct rk_mailbox box;
    struct rk_mail a, b;
    struct rk_list taken;
    rk_list_init(&taken);
    assert_int_equal(rk_mailbox_init(&box, 2), 0);
    rk_mailbox_push(&box, &a);
    rk_mailbox_take(&box, &taken);
    rk_mailbox_push(&box, &b);
    rk_mailbox_take(&box, &taken);
    assert_ptr_equal(rk_list_pop_front(&taken), &a.link);
    assert_ptr_equal(rk_list_pop_front(&taken), &b.link);
    rk_mailbox_deinit(&box);
}

static void a_closed_box_refuses_all_but_gives_what_it_has(void **state RK_UNUSED)
{
    struct rk_mailbox box;
    struct rk_mail a, b;
    struct rk_list list;
    rk_list_init(&list);
    assert_int_equal(rk_mailbox_init(&box, 5), 0);
    assert_true(rk_mailbox_push(&box, &a));
    rk_mailbox_close(&box);
    assert_false(rk_mailbox_push(&box, &b));
    assert_false(rk_mailbox_push_always(&box, &b));
    rk_list_push_back(&list, &b.link);
    assert_false(rk_mailbox_push_list(&box, &list, 1));
    assert_int_equal(take_all(&box), 1);
    rk_mailbox_deinit(&box);
}

static void wait_ends_at_its_deadline(void **state RK_UNUSED)
{
    struct rk_mailbox box;
    assert_int_equal(rk_mailbox_init(&box, 5), 0);
    uint64_t start_us = rk_clock_now_us(&rk_clock_boottime);
    rk_mailbox_wait(&box, start_us + 20000);
    assert_true(rk_clock_now_us(&rk_clock_boottime) >= start_us + 20000);
    rk_mailbox_wait(&box, 0); /* long ago: only a look */
    rk_mailbox_wait(&box, start_us);
    rk_mailbox_deinit(&box);
}

static void wait_returns_at_once_when_mail_is_there(void **state RK_UNUSED)
{
    struct rk_mailbox box;
    struct rk_mail a;
    assert_int_equal(rk_mailbox_init(&box, 5), 0);
    rk_mailbox_push(&box, &a);
    rk_mailbox_wait(&box, RK_NEVER);
    assert_int_equal(take_all(&box), 1);
    rk_mailbox_deinit(&box);
}

#define SENDERS 4
#define LETTERS 20000u

struct sender {
    struct rk_mailbox *box;
    unsigned id;
    struct letter *letters;
};

/* Singles, forced ones and lists by turns; a refused mail is tried again, as it is still ours. */
static void *send_letters(void *userdata)
{
    struct sender *sender = userdata;
    for (unsigned i = 0; i < LETTERS;) {
        struct letter *letter = &sender->letters[i];
        if (i % 7 == 0 && i + 3 <= LETTERS) {
            struct rk_list list;
            rk_list_init(&list);
            for (unsigned k = 0; k < 3; k++)
                rk_list_push_back(&list, &letter[k].mail.link);
            while (!rk_mailbox_push_list(sender->box, &list, 3))
                sched_yield();
            i += 3;
        } else if (i % 50 == 1 ? rk_mailbox_push_always(sender->box, &letter->mail)
                               : rk_mailbox_push(sender->box, &letter->mail)) {
            i++;
        } else {
            sched_yield();
        }
    }
    return NULL;
}

static void start_senders(struct sender *senders, pthread_t *threads, struct rk_mailbox *box)
{
    for (unsigned s = 0; s < SENDERS; s++) {
        senders[s] = (struct sender){.box = box, .id = s, .letters = RK_NEW_ARRAY(struct letter, LETTERS)};
        for (unsigned i = 0; i < LETTERS; i++) {
            senders[s].letters[i].sender = s;
            senders[s].letters[i].number = i;
        }
        assert_int_equal(pthread_create(&threads[s], NULL, send_letters, &senders[s]), 0);
    }
}

/* No deadline: a lost wake-up would hang here for ever. */
static void senders_keep_their_order_and_no_wake_up_is_lost(void **state RK_UNUSED)
{
    struct rk_mailbox box;
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    unsigned next[SENDERS] = {0};
    size_t received = 0;
    assert_int_equal(rk_mailbox_init(&box, 64), 0);
    start_senders(senders, threads, &box);
    while (received < (size_t)SENDERS * LETTERS) {
        struct rk_list mails;
        rk_list_init(&mails);
        rk_mailbox_wait(&box, RK_NEVER);
        size_t n = rk_mailbox_take(&box, &mails);
        assert_true(n > 0); /* it does not return without mail */
        received += n;
        for (struct rk_list *it; (it = rk_list_pop_front(&mails)); n--) {
            struct letter *letter = RK_LIST_ITEM(it, struct letter, mail.link);
            assert_int_equal(letter->number, next[letter->sender]++);
        }
        assert_int_equal(n, 0);
    }
    for (unsigned s = 0; s < SENDERS; s++) {
        assert_int_equal(pthread_join(threads[s], NULL), 0);
        free(senders[s].letters);
    }
    rk_mailbox_deinit(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_receiver_that_is_awake_costs_no_write),
        cmocka_unit_test(nobody_goes_to_sleep_on_mail),
        cmocka_unit_test(a_burst_writes_the_eventfd_once_a_sleep),
        cmocka_unit_test(a_late_wake_up_does_not_end_a_wait),
        cmocka_unit_test(the_bound_refuses_and_the_mail_stays_the_senders),
        cmocka_unit_test(a_list_goes_in_whole_or_not_at_all),
        cmocka_unit_test(take_puts_new_mails_behind_those_already_there),
        cmocka_unit_test(a_closed_box_refuses_all_but_gives_what_it_has),
        cmocka_unit_test(wait_ends_at_its_deadline),
        cmocka_unit_test(wait_returns_at_once_when_mail_is_there),
        cmocka_unit_test(senders_keep_their_order_and_no_wake_up_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
