/* lib/base/rk_mailbox.h - how an object crosses from one thread to another.
 *
 * Many senders, one receiver, in order per sender. A mail is embedded in the
 * object that travels; whoever holds the mail owns the object. The eventfd is
 * written only for a receiver that has gone to sleep, once for each sleep, and
 * senders should push all that one turn produced with a single call.
 *
 * Every box has a bound. rk_mailbox_push() refuses when it would be passed; the
 * few senders whose mail must not be lost (completions, replies: their number
 * is bounded by the requests that caused them) use rk_mailbox_push_always(). */
#ifndef RK_MAILBOX_H
#define RK_MAILBOX_H

#include <pthread.h>

#include "lib/base/rk_list.h"

struct rk_mail {
    struct rk_list link;
    uint32_t kind; /* the receiver's own enumeration: tells it what the mail is embedded in */
};

struct rk_mailbox {
    pthread_mutex_t mutex;
    struct rk_list list;
    size_t count, bound;
    int eventfd;   /* for a loop's epoll, edge-triggered: see rk_mailbox_sleep(); never for read(2) */
    bool sleeping; /* the next push writes the eventfd */
    bool closed;
};

int rk_mailbox_init(struct rk_mailbox *box, size_t bound); /* 0 or -errno */
/* Mails still inside are the caller's to take out first. */
void rk_mailbox_deinit(struct rk_mailbox *box);

/* Returns false, with the mail still the sender's, when the box is full or closed. */
bool rk_mailbox_push(struct rk_mailbox *box, struct rk_mail *mail);
/* Moves a whole list of mails (struct rk_mail.link), or none when the bound would be passed; then the list
 * stays as it was. count is its length. */
bool rk_mailbox_push_list(struct rk_mailbox *box, struct rk_list *mails, size_t count);
/* Ignores the bound; false only when closed. */
bool rk_mailbox_push_always(struct rk_mailbox *box, struct rk_mail *mail);
/* Takes everything that waits, in order, to the back of ret_mails (initialised by the caller). Returns how
 * many. */
size_t rk_mailbox_take(struct rk_mailbox *box, struct rk_list *ret_mails);
/* Sleeps until the box is not empty or until deadline_us of rk_clock_boottime (RK_NEVER: no deadline). */
void rk_mailbox_wait(struct rk_mailbox *box, uint64_t deadline_us);
/* For a receiver that sleeps on the eventfd along with others: to be called before each sleep. False when
 * mail is there, so that it must not sleep; true when the next push will write the eventfd. A write may also
 * come a moment after its mail was taken: a wake-up need not find any. */
bool rk_mailbox_sleep(struct rk_mailbox *box);
/* From now on pushes fail. What is inside can still be taken. Wakes nobody: tell the receiver by a last mail.
 */
void rk_mailbox_close(struct rk_mailbox *box);
size_t rk_mailbox_depth(struct rk_mailbox *box);

#endif
