/* lib/base/rk_mailbox.c - how an object crosses from one thread to another.
 *
 * A receiver that is about to sleep says so under the mutex, and only if the box
 * is empty; the first push after that takes the note down and writes the eventfd.
 * So no wake-up is lost, a burst costs one of them however long it is, and a
 * receiver that is awake anyway costs none. The write comes after the mutex is
 * released: the receiver would wake only to wait for it. */
#include "config.h" /* _GNU_SOURCE, for ppoll */

#include "lib/base/rk_mailbox.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_clock.h"

int rk_mailbox_init(struct rk_mailbox *box, size_t bound)
{
    *box = (struct rk_mailbox){.bound = bound, .eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    rk_list_init(&box->list);
    if (box->eventfd < 0)
        return -errno;
    int r = pthread_mutex_init(&box->mutex, NULL);
    if (r != 0)
        rk_closep(&box->eventfd);
    return -r;
}

void rk_mailbox_deinit(struct rk_mailbox *box)
{
    rk_assert(rk_list_empty(&box->list) && box->count == 0);
    rk_closep(&box->eventfd);
    pthread_mutex_destroy(&box->mutex);
}

static void lock(struct rk_mailbox *box)
{
    rk_assert(pthread_mutex_lock(&box->mutex) == 0);
}

static void unlock(struct rk_mailbox *box)
{
    rk_assert(pthread_mutex_unlock(&box->mutex) == 0);
}

/* Holds the mutex. Returns whether to wake the receiver. */
static bool put(struct rk_mailbox *box, struct rk_list *mails, size_t count)
{
    rk_list_splice_back(&box->list, mails);
    box->count += count;
    bool wake = box->sleeping && count > 0;
    box->sleeping = box->sleeping && !wake;
    return wake;
}

/* Adding one can only block at 2^64 - 1. */
static void wake_up(struct rk_mailbox *box)
{
    rk_assert(eventfd_write(box->eventfd, 1) == 0);
}

/* A single mail travels as a list of one, on the sender's stack. */
static bool push_one(struct rk_mailbox *box, struct rk_mail *mail, bool always)
{
    lock(box);
    bool wake = false, ok = !box->closed && (always || box->count < box->bound);
    if (ok) {
        struct rk_list one;
        rk_list_init(&one);
        rk_list_push_back(&one, &mail->link);
        wake = put(box, &one, 1);
    }
    unlock(box);
    if (wake)
        wake_up(box);
    return ok;
}

bool rk_mailbox_push(struct rk_mailbox *box, struct rk_mail *mail)
{
    return push_one(box, mail, false);
}

bool rk_mailbox_push_always(struct rk_mailbox *box, struct rk_mail *mail)
{
    return push_one(box, mail, true);
}

bool rk_mailbox_push_list(struct rk_mailbox *box, struct rk_list *mails, size_t count)
{
    rk_assert(rk_list_empty(mails) == (count == 0));
    lock(box);
    bool ok = !box->closed && box->count <= box->bound && count <= box->bound - box->count;
    bool wake = ok && put(box, mails, count);
    unlock(box);
    if (wake)
        wake_up(box);
    return ok;
}

size_t rk_mailbox_take(struct rk_mailbox *box, struct rk_list *ret_mails)
{
    lock(box);
    size_t count = box->count;
    rk_list_splice_back(ret_mails, &box->list);
    box->count = 0;
    box->sleeping = false;
    unlock(box);
    return count;
}

bool rk_mailbox_sleep(struct rk_mailbox *box)
{
    lock(box);
    box->sleeping = box->count == 0;
    bool sleeping = box->sleeping;
    unlock(box);
    return sleeping;
}

/* ppoll sleeps on CLOCK_MONOTONIC, which stands still in a suspend: the deadline may then be noticed late,
 * but it is always judged by the clock that it was given in. */
static void poll_eventfd(struct rk_mailbox *box, uint64_t now_us, uint64_t deadline_us)
{
    struct pollfd fd = {.fd = box->eventfd, .events = POLLIN};
    struct timespec rest = {.tv_sec = (time_t)((deadline_us - now_us) / RK_USEC_PER_SEC),
                            .tv_nsec = (long)((deadline_us - now_us) % RK_USEC_PER_SEC * 1000)};
    int n = ppoll(&fd, 1, deadline_us == RK_NEVER ? NULL : &rest, NULL);
    rk_assert(n >= 0 || errno == EINTR);
    eventfd_t value;
    if (n > 0)
        rk_assert(eventfd_read(box->eventfd, &value) == 0);
}

void rk_mailbox_wait(struct rk_mailbox *box, uint64_t deadline_us)
{
    while (rk_mailbox_sleep(box)) {
        uint64_t now_us = rk_clock_now_us(&rk_clock_boottime);
        if (now_us >= deadline_us)
            return;
        poll_eventfd(box, now_us, deadline_us);
    }
}

void rk_mailbox_close(struct rk_mailbox *box)
{
    lock(box);
    box->closed = true;
    unlock(box);
}

size_t rk_mailbox_depth(struct rk_mailbox *box)
{
    lock(box);
    size_t count = box->count;
    unlock(box);
    return count;
}
