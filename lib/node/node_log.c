/* lib/node/node_log.c - the log thread: one transaction and one flush for everything that waits, whatever the
 * group.
 *
 * A turn takes all works in order, writes them in one transaction, flushes once,
 * sends the messages that waited for it, and gives the works back to the raft thread.
 * Reads of old entries come after the flush, so they never delay an acknowledgement. */
#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

static int write_one(struct node *node, struct node_log_work *work)
{
    int r = 0;

    if (work->members)
        r = store_log_set_members(node->log, work->group, work->members_index, rk_blob_slice(work->members));
    if (r != 0)
        return r;
    if (work->kind == NODE_LOG_CUT)
        return store_log_cut(node->log, work->group, &work->base);
    if (work->kind == NODE_LOG_RESET)
        return store_log_reset(node->log, work->group, &work->base);
    if (work->set_vote)
        r = store_log_set_vote(node->log, work->group, &work->vote);
    if (r == 0 && work->count > 0)
        r = store_log_append(node->log, work->group, work->entries, work->count, NULL);
    return r;
}

static bool wants_flush(const struct node_log_work *work)
{
    return work->kind == NODE_LOG_CUT || work->kind == NODE_LOG_RESET || work->set_vote || work->count > 0;
}

static int write_all(struct node *node, struct rk_list *works)
{
    bool begun = false;
    int r = 0;

    RK_LIST_FOR_EACH (it, works) {
        struct node_log_work *work = RK_LIST_ITEM(it, struct node_log_work, mail.link);

        if (work->mail.kind != NODE_MAIL_LOG_WORK || work->kind == NODE_LOG_READ || !wants_flush(work))
            continue;
        if (!begun)
            r = store_log_begin(node->log);
        begun = true;
        if (r == 0)
            r = write_one(node, work);
        if (r != 0)
            return r;
    }
    return begun ? store_log_commit(node->log) : 0;
}

struct read_state {
    struct node_message *message;
    uint32_t got;
};

static bool read_entry(void *userdata, const struct store_entry *entry)
{
    struct read_state *state = userdata;
    struct node_message *message = state->message;

    message->entries[state->got] = (struct raft_entry){.index = entry->index,
                                                       .term = entry->term,
                                                       .kind = entry->kind,
                                                       .bytes = (uint32_t)entry->payload.len};
    message->payloads[state->got] = entry->payload.len > 0 ? rk_blob_copy(entry->payload) : NULL;
    return ++state->got < message->raft.count;
}

static int read_entries(struct node *node, struct node_log_work *work)
{
    struct read_state state = {.message = work->message};
    uint32_t count = work->message->raft.count;
    int r;

    node_message_alloc_entries(work->message, count);
    r = store_log_read(node->log, work->group, work->message->raft.index + 1, read_entry, &state);
    if (r == 0 && state.got < count)
        r = STORE_E_NOT_FOUND;
    return r;
}

/* The next start looks at every entry, and knows what to do (node_repair.c). */
static void fail_read(struct node *node, const struct node_log_work *work)
{
    RK_CLEANUP(rk_freep) char *sentence = NULL;

    if (work->result < 0) {
        node_fail(node, "log", work->result);
        return;
    }
    sentence =
        rk_asprintf("an entry behind %llu of the raft log in %s is damaged: this host stops; started again "
                    "it repairs its log from the other members by itself",
                    (unsigned long long)work->message->raft.index, store_dir_path(node->dir));
    node_fail_with(node, sentence);
}

/* Returns false when the thread shall end. */
static bool finish(struct node *node, struct rk_list *works)
{
    struct rk_list *it;
    bool go_on = true;

    while ((it = rk_list_pop_front(works))) {
        struct node_log_work *work = RK_LIST_ITEM(it, struct node_log_work, mail.link);
        struct rk_mail *mail = RK_LIST_ITEM(it, struct rk_mail, link);

        if (mail->kind == NODE_MAIL_STOP) {
            go_on = false;
            continue;
        }
        if (work->kind == NODE_LOG_READ) {
            work->result = read_entries(node, work);
            if (work->result < 0 || work->result == STORE_E_CORRUPT) {
                fail_read(node, work);
                node_log_work_free(work);
                return false;
            }
        }
        if (!rk_list_empty(&work->messages))
            node->transport.send(node->transport.userdata, &work->messages);
        rk_mailbox_push_always(&node->raft_box, &work->mail);
    }
    return go_on;
}

static void drop_all(struct rk_list *works)
{
    struct rk_list *it;

    while ((it = rk_list_pop_front(works)))
        if (RK_LIST_ITEM(it, struct rk_mail, link)->kind == NODE_MAIL_LOG_WORK)
            node_log_work_free(RK_LIST_ITEM(it, struct node_log_work, mail.link));
}

bool node_log_run_once(struct node *node)
{
    struct rk_list works;
    int r;

    rk_list_init(&works);
    rk_beat_idle(&node->log_beat);
    /* While there is room to give back, come round at once; otherwise sleep until work comes. */
    node_wait(node, &node->log_box, node->trimming ? node_now_us(node) + 1000 : RK_NEVER);
    rk_beat_busy(&node->log_beat);
    if (rk_mailbox_take(&node->log_box, &works) == 0) {
        r = store_log_trim(node->log, 0, 256);
        node->trimming = r == 1;
        if (r < 0)
            node_fail(node, "log", r);
        return r >= 0;
    }
    RK_LIST_FOR_EACH (it, &works) {
        struct node_log_work *work = RK_LIST_ITEM(it, struct node_log_work, mail.link);
        if (work->mail.kind == NODE_MAIL_LOG_WORK && work->kind != NODE_LOG_WRITE)
            node->trimming = true;
    }
    r = write_all(node, &works);
    if (r != 0) {
        node_fail(node, "log", r < 0 ? r : -EIO);
        drop_all(&works);
        return false;
    }
    if (finish(node, &works))
        return true;
    drop_all(&works);
    return false;
}

void *node_log_thread(void *userdata)
{
    struct node *node = userdata;

    while (node_log_run_once(node)) {}
    rk_beat_idle(&node->log_beat);
    return NULL;
}
