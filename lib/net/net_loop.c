/* lib/net/net_loop.c - the event loop of a worker thread.
 *
 * One turn, in this order:
 *   wait      epoll, until something is ready, a timer is due or mail has come
 *   events    each ready descriptor once; a connection reads up to its budget
 *   read      connections whose budget ran out in an earlier turn
 *   timers
 *   mail
 *   flush     connections that were written to by any of the above: one write each
 *   close     connections that ended: the last callback, then their memory goes
 * Work that the last two steps create waits for the next turn, which then does not
 * sleep. Descriptors stay registered, edge-triggered, for their whole life, so a
 * request costs no epoll_ctl at all. */
#include "config.h"

#include "lib/net/net_internal.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "lib/base/limits.h"
#include "lib/base/rk_assert.h"
#include "lib/base/rk_clock.h"

/* ---- tasks --------------------------------------------------------------------- */

void net_task_init(struct net_task *task, void (*fn)(struct net_task *task))
{
    rk_list_init(&task->link);
    task->fn = fn;
}

void net_task_queue(struct net_loop *loop, enum net_queue queue, struct net_task *task)
{
    if (rk_list_empty(&task->link))
        rk_list_push_back(&loop->queues[queue], &task->link);
}

void net_task_cancel(struct net_task *task)
{
    rk_list_remove(&task->link);
}

/* Tasks may cancel one another (and free what they are in) while the list runs: each is unlinked before its
 * call. */
static void run_tasks(struct net_loop *loop, struct rk_list *tasks)
{
    struct rk_list *link;
    while ((link = rk_list_pop_front(tasks))) {
        struct net_task *task = RK_LIST_ITEM(link, struct net_task, link);
        task->fn(task);
        rk_beat_progress(&loop->beat);
    }
}

static void run_queue(struct net_loop *loop, enum net_queue queue)
{
    struct rk_list tasks;
    rk_list_init(&tasks);
    rk_list_splice_back(&tasks, &loop->queues[queue]);
    run_tasks(loop, &tasks);
}

static bool has_tasks(const struct net_loop *loop)
{
    for (size_t i = 0; i < NET_QUEUES; i++)
        if (!rk_list_empty(&loop->queues[i]))
            return true;
    return false;
}

/* ---- sources --------------------------------------------------------------------- */

int net_source_add_raw(struct net_loop *loop, struct net_source *source, uint32_t epoll_events)
{
    struct epoll_event event = {.events = epoll_events, .data.ptr = source};
    source->loop = loop;
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0 ? -errno : 0;
}

int net_source_add(struct net_loop *loop, struct net_source *source, uint32_t epoll_events)
{
    return net_source_add_raw(loop, source, epoll_events | (uint32_t)EPOLLET);
}

/* What epoll has already reported about the source is struck out of the batch, so its memory may go at once.
 */
void net_source_remove(struct net_source *source)
{
    struct net_loop *loop = source->loop;
    if (!loop)
        return;
    rk_assert(epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL) == 0);
    for (int i = loop->event_next; i < loop->event_count; i++)
        if (loop->events[i].data.ptr == source)
            loop->events[i].data.ptr = NULL;
    source->loop = NULL;
}

/* ---- mail ---------------------------------------------------------------------- */

/* Mail is taken in every turn anyway; the source only ends the sleep. Each write of the eventfd is an edge,
 * so nobody needs to read it. */
static void on_mail_event(struct net_source *source RK_UNUSED, uint32_t events RK_UNUSED)
{
}

static void deliver(struct net_loop *loop, struct rk_mail *mail)
{
    if (mail->kind == NET_MAIL_POST) {
        struct net_post *post = RK_CONTAINER_OF(mail, struct net_post, mail);
        post->fn(post);
        return;
    }
    rk_assert(mail->kind < NET_MAIL_OWN && loop->on_mail);
    loop->on_mail(loop->on_mail_userdata, mail);
}

static void take_mail(struct net_loop *loop)
{
    struct rk_list mails;
    rk_list_init(&mails);
    rk_mailbox_take(&loop->mailbox, &mails);
    struct rk_list *link;
    while ((link = rk_list_pop_front(&mails))) {
        deliver(loop, RK_LIST_ITEM(link, struct rk_mail, link));
        rk_beat_progress(&loop->beat);
    }
}

struct rk_mailbox *net_loop_mailbox(struct net_loop *loop)
{
    return &loop->mailbox;
}

void net_loop_on_mail(struct net_loop *loop, void (*on_mail)(void *userdata, struct rk_mail *mail),
                      void *userdata)
{
    loop->on_mail = on_mail;
    loop->on_mail_userdata = userdata;
}

/* ---- stop ---------------------------------------------------------------------- */

static void on_stop(struct net_post *post)
{
    struct net_loop *loop = RK_CONTAINER_OF(post, struct net_loop, stop_post);
    atomic_store(&loop->stop_posted, false);
    loop->stopped = true;
}

/* The mail is part of the loop, so it is posted only when it is not in the box yet. */
void net_loop_stop(struct net_loop *loop)
{
    if (!atomic_exchange(&loop->stop_posted, true))
        rk_mailbox_push_always(&loop->mailbox, &loop->stop_post.mail);
}

/* ---- life ---------------------------------------------------------------------- */

static int open_loop(struct net_loop *loop)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        return -errno;
    int r = rk_mailbox_init(&loop->mailbox, RK_MAILBOX_MAX);
    if (r < 0)
        return r;
    loop->mail_source = (struct net_source){.fd = loop->mailbox.eventfd, .fn = on_mail_event};
    r = net_source_add(loop, &loop->mail_source, EPOLLIN);
    if (r < 0)
        rk_mailbox_deinit(&loop->mailbox);
    return r;
}

int net_loop_new(struct net_loop **ret)
{
    struct net_loop *loop = RK_NEW(struct net_loop);
    for (size_t i = 0; i < NET_QUEUES; i++)
        rk_list_init(&loop->queues[i]);
    loop->stop_post = (struct net_post){.mail.kind = NET_MAIL_POST, .fn = on_stop};
    loop->beat.name = "worker";
    loop->now_us = rk_clock_now_us(&rk_clock_boottime);
    int r = open_loop(loop);
    if (r < 0) {
        rk_closep(&loop->epoll_fd);
        free(loop);
        return r;
    }
    *ret = loop;
    return 0;
}

void net_loop_free(struct net_loop *loop)
{
    if (!loop)
        return;
    rk_mailbox_close(&loop->mailbox);
    take_mail(loop);
    while (!rk_list_empty(&loop->queues[NET_QUEUE_CLOSE]))
        run_queue(loop, NET_QUEUE_CLOSE);
    rk_assert(loop->conns == 0);
    rk_mailbox_deinit(&loop->mailbox);
    rk_heap_deinit(&loop->timers);
    rk_closep(&loop->epoll_fd);
    free(loop);
}

uint64_t net_loop_now_us(const struct net_loop *loop)
{
    return loop->now_us;
}

struct rk_beat *net_loop_beat(struct net_loop *loop)
{
    return &loop->beat;
}

/* ---- turns --------------------------------------------------------------------- */

/* Rounded up: waking before the timer is due would make the last millisecond a spin. */
static int sleep_ms(struct net_loop *loop)
{
    if (has_tasks(loop) || !rk_mailbox_sleep(&loop->mailbox))
        return 0;
    uint64_t next_us = net_timers_next_us(loop);
    if (next_us == RK_NEVER)
        return -1;
    uint64_t now_us = rk_clock_now_us(&rk_clock_boottime);
    if (next_us <= now_us)
        return 0;
    return (int)rk_min_u64((next_us - now_us + RK_USEC_PER_MSEC - 1) / RK_USEC_PER_MSEC, INT_MAX);
}

static int wait_events(struct net_loop *loop)
{
    int timeout_ms = sleep_ms(loop);
    rk_beat_idle(&loop->beat);
    int n = epoll_wait(loop->epoll_fd, loop->events, NET_EVENTS, timeout_ms);
    int r = n < 0 && errno != EINTR ? -errno : 0;
    rk_beat_busy(&loop->beat);
    loop->now_us = rk_clock_now_us(&rk_clock_boottime);
    loop->event_next = 0;
    loop->event_count = n > 0 ? n : 0;
    return r;
}

static void dispatch_events(struct net_loop *loop)
{
    while (loop->event_next < loop->event_count) {
        struct epoll_event *event = &loop->events[loop->event_next++];
        struct net_source *source = event->data.ptr;
        if (!source)
            continue;
        source->fn(source, event->events);
        rk_beat_progress(&loop->beat);
    }
}

int net_loop_run_once(struct net_loop *loop)
{
    int r = wait_events(loop);
    if (r < 0)
        return r;
    /* Taken before the events: who exhausts its budget now goes on in the next turn, not in this one. */
    struct rk_list readers;
    rk_list_init(&readers);
    rk_list_splice_back(&readers, &loop->queues[NET_QUEUE_READ]);
    dispatch_events(loop);
    run_tasks(loop, &readers);
    net_timers_expire(loop);
    take_mail(loop);
    run_queue(loop, NET_QUEUE_FLUSH);
    run_queue(loop, NET_QUEUE_CLOSE);
    return 0;
}

int net_loop_run(struct net_loop *loop)
{
    int r = 0;
    while (r == 0 && !loop->stopped)
        r = net_loop_run_once(loop);
    loop->stopped = false;
    rk_beat_idle(&loop->beat);
    return r;
}
