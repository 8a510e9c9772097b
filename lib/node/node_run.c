/* lib/node/node_run.c - starting, stopping, and the door through which the transport speaks to the node. */
#include <errno.h>
#include <signal.h>

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

/* ---- threads ---------------------------------------------------------------------------- */

/* Signals are the main thread's business. */
static int start_thread(pthread_t *ret, const char *name, void *(*fn)(void *), struct node *node)
{
    sigset_t all, old;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(ret, NULL, fn, node);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r == 0)
        pthread_setname_np(*ret, name);
    return -r;
}

int node_start_disk_threads(struct node *node)
{
    int r;

    atomic_store(&node->checkpoint_stop, false);
    node->trimming = true; /* something may be left from the last life */
    if (node->config.no_threads) {
        node->disk_threads_run = true;
        return 0;
    }
    r = start_thread(&node->log_thread, "raftkv-log", node_log_thread, node);
    if (r != 0)
        return r;
    r = start_thread(&node->apply_thread, "raftkv-apply", node_apply_thread, node);
    if (r == 0) {
        r = start_thread(&node->checkpoint_thread, "raftkv-ckpt", node_checkpoint_thread, node);
        if (r == 0) {
            node->disk_threads_run = true;
            return 0;
        }
        rk_mailbox_push_always(&node->apply_box, &node->apply_stop);
        pthread_join(node->apply_thread, NULL);
    }
    rk_mailbox_push_always(&node->log_box, &node->log_stop);
    pthread_join(node->log_thread, NULL);
    return r;
}

/* What the threads would do to their end. Those that have failed have ended. */
static void run_disk_bodies(struct node *node)
{
    while (!atomic_load(&node->failed) && node_log_run_once(node)) {}
    while (!atomic_load(&node->failed) && node_apply_run_once(node)) {}
    node_apply_end(node);
}

static void join_disk_threads(struct node *node)
{
    pthread_join(node->checkpoint_thread, NULL);
    pthread_join(node->log_thread, NULL);
    pthread_join(node->apply_thread, NULL);
}

void node_stop_disk_threads(struct node *node)
{
    if (!node->disk_threads_run)
        return;
    node->disk_threads_run = false;
    atomic_store(&node->checkpoint_stop, true);
    rk_mailbox_push_always(&node->log_box, &node->log_stop);
    rk_mailbox_push_always(&node->apply_box, &node->apply_stop);
    if (node->config.no_threads)
        run_disk_bodies(node);
    else
        join_disk_threads(node);
    node->generation++; /* works of theirs that are still in a mailbox are of a life that is over */
}

int node_start(struct node *node, const struct node_transport *transport)
{
    int r;

    node->transport = *transport;
    node_announce_members(node);
    r = node_start_disk_threads(node);
    if (r != 0)
        return r;
    if (!node->config.no_threads)
        r = start_thread(&node->raft_thread, "raftkv-raft", node_raft_thread, node);
    if (r != 0)
        node_stop_disk_threads(node);
    else
        node->raft_thread_runs = true;
    return r;
}

/* ---- what is left in the mailboxes ---------------------------------------------------------- */

static void drop_mail(struct node *node, struct rk_mail *mail)
{
    struct node_call *call;

    switch ((enum node_mail_kind)mail->kind) {
    case NODE_MAIL_CALL:
        node_answer(node, RK_CONTAINER_OF(mail, struct node_call, mail), NODE_E_UNAVAILABLE,
                    "this host is stopping; ask another member");
        break;
    case NODE_MAIL_OWN_CALL:
        call = RK_CONTAINER_OF(mail, struct node_call, mail);
        call->done(call);
        node_call_free(call);
        break;
    case NODE_MAIL_MESSAGE:
        node_message_free(RK_CONTAINER_OF(mail, struct node_message, mail));
        break;
    case NODE_MAIL_LOG_WORK:
        node_log_work_free(RK_CONTAINER_OF(mail, struct node_log_work, mail));
        break;
    case NODE_MAIL_APPLY_WORK:
        node_apply_refuse(node, RK_CONTAINER_OF(mail, struct node_apply_work, mail));
        break;
    case NODE_MAIL_LINK:
        free(RK_CONTAINER_OF(mail, struct node_link_note, mail));
        break;
    case NODE_MAIL_SENT:
        free(RK_CONTAINER_OF(mail, struct node_sent_note, mail));
        break;
    case NODE_MAIL_OFFER: {
        struct node_offer *offer = RK_CONTAINER_OF(mail, struct node_offer, mail);
        offer->accepted = false;
        offer->mail.kind = offer->reply_kind;
        rk_mailbox_push_always(offer->reply_to, &offer->mail);
        break;
    }
    case NODE_MAIL_CHUNK: {
        struct node_chunk *chunk = RK_CONTAINER_OF(mail, struct node_chunk, mail);
        chunk->result = -ESHUTDOWN;
        chunk->mail.kind = chunk->reply_kind;
        rk_mailbox_push_always(chunk->reply_to, &chunk->mail);
        break;
    }
    case NODE_MAIL_STREAM: {
        struct node_stream *stream = RK_CONTAINER_OF(mail, struct node_stream, mail);
        stream->error = -ESHUTDOWN;
        node_snapshot_stream(node, stream);
        break;
    }
    case NODE_MAIL_STOP:
        break;
    }
}

static void drain(struct node *node, struct rk_mailbox *box)
{
    struct rk_list mails, *it;

    rk_list_init(&mails);
    while (rk_mailbox_take(box, &mails) > 0)
        while ((it = rk_list_pop_front(&mails)))
            drop_mail(node, RK_LIST_ITEM(it, struct rk_mail, link));
}

/* ---- stopping ----------------------------------------------------------------------------------- */

void node_stop(struct node *node, uint32_t timeout_ms)
{
    if (node->raft_thread_runs) {
        node->stop_deadline_us =
            node_now_us(node) + (node->config.no_threads ? 0 : timeout_ms * RK_USEC_PER_MSEC);
        rk_mailbox_push_always(&node->raft_box, &node->raft_stop);
        if (node->config.no_threads)
            node_raft_thread(
                node); /* until the deadline: the simulated clock stands still, so it must be now */
        else
            pthread_join(node->raft_thread, NULL);
        node->raft_thread_runs = false;
    }
    node_stop_disk_threads(node);
    rk_mailbox_close(&node->raft_box);
    rk_mailbox_close(&node->apply_box);
    drain(node, &node->raft_box);
    drain(node, &node->apply_box);
    drain(node, &node->log_box);
}

static void free_messages(struct rk_list *list)
{
    struct rk_list *it;

    while ((it = rk_list_pop_front(list)))
        node_message_free(RK_LIST_ITEM(it, struct node_message, mail.link));
}

void node_close(struct node *node)
{
    if (!node)
        return;
    node_unload_group(node);
    node_snapshot_free_sources(node);
    free_messages(&node->out);
    if (node->rows && node->log && !atomic_load(&node->failed) && store_rows_flush(node->rows) != 0)
        RK_LOG(RK_LOG_WARNING, "rows", NULL, "the last flush failed; the log will replay what is missing");
    node_close_stores(node);
    store_dir_close(node->dir);
    rk_heap_deinit(&node->timers);
    rk_map_deinit(&node->forwards);
    rk_map_deinit(&node->links_down);
    rk_map_deinit(&node->keeping_up);
    if (node->boxes_ready) {
        drain(node, &node->raft_box);
        drain(node, &node->apply_box);
        rk_mailbox_deinit(&node->raft_box);
        rk_mailbox_deinit(&node->log_box);
        rk_mailbox_deinit(&node->apply_box);
    }
    pthread_mutex_destroy(&node->summary_mutex);
    pthread_mutex_destroy(&node->digests.mutex);
    free(node);
}

size_t node_beats(struct node *node, struct rk_beat ***ret)
{
    *ret = node->beats;
    return RK_ARRAY_LEN(node->beats);
}

/* ---- what the transport says ------------------------------------------------------------------------ */

static bool receive(void *userdata, struct rk_list *messages, size_t count)
{
    struct node *node = userdata;

    RK_LIST_FOR_EACH (it, messages)
        RK_LIST_ITEM(it, struct rk_mail, link)->kind = NODE_MAIL_MESSAGE;
    return rk_mailbox_push_list(&node->raft_box, messages, count);
}

static void link_state(void *userdata, uint64_t peer, enum node_link_state state, const char *why)
{
    struct node *node = userdata;
    struct node_link_note *note = RK_NEW(struct node_link_note);

    (void)why; /* the transport has logged it */
    note->mail.kind = NODE_MAIL_LINK;
    note->peer = peer;
    note->state = state;
    if (!rk_mailbox_push_always(&node->raft_box, &note->mail))
        free(note);
}

static void snapshot_offer(void *userdata, struct node_offer *offer)
{
    struct node *node = userdata;

    offer->mail.kind = NODE_MAIL_OFFER;
    if (rk_mailbox_push(&node->raft_box, &offer->mail))
        return;
    offer->accepted = false;
    offer->mail.kind = offer->reply_kind;
    rk_mailbox_push_always(offer->reply_to, &offer->mail);
}

static void snapshot_chunk(void *userdata, struct node_chunk *chunk)
{
    struct node *node = userdata;

    chunk->mail.kind = NODE_MAIL_CHUNK;
    if (rk_mailbox_push_always(&node->apply_box, &chunk->mail))
        return;
    chunk->result = -ESHUTDOWN;
    chunk->mail.kind = chunk->reply_kind;
    rk_mailbox_push_always(chunk->reply_to, &chunk->mail);
}

static void snapshot_sent(void *userdata, uint64_t peer, uint32_t group, bool ok, uint64_t index)
{
    struct node *node = userdata;
    struct node_sent_note *note = RK_NEW(struct node_sent_note);

    *note = (struct node_sent_note){.peer = peer, .group = group, .ok = ok, .index = index};
    note->mail.kind = NODE_MAIL_SENT;
    if (!rk_mailbox_push_always(&node->raft_box, &note->mail))
        free(note);
}

struct node_inlet node_inlet(struct node *node)
{
    return (struct node_inlet){.userdata = node,
                               .receive = receive,
                               .link_state = link_state,
                               .snapshot_offer = snapshot_offer,
                               .snapshot_chunk = snapshot_chunk,
                               .snapshot_sent = snapshot_sent};
}
