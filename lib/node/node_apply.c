/* lib/node/node_apply.c - the apply thread: the rows' only user.
 *
 * A turn takes all mails in order. Runs of entries become one transaction; a read
 * comes after everything that was handed over before it. Answers go straight to the
 * worker that asked, after the commit. Commits are not flushed: the log replays them. */
#include <errno.h>
#include <stdio.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_wire.h"
#include "lib/node/node_internal.h"

struct turn {
    bool begun;
    struct rk_list answered; /* calls of entries, answered once the transaction is in */
};

static struct rk_blob *members_answer(struct node *node, const struct node_apply_entry *entry)
{
    struct rk_buf out = {0};
    struct rk_blob *blob;

    rk_put_u64(&out, node->identity.cluster_id);
    rk_put_block(&out, rk_blob_slice(entry->payload));
    blob = rk_blob_copy(rk_buf_slice(&out));
    rk_buf_deinit(&out);
    return blob;
}

static int apply_entry(struct node *node, struct turn *turn, struct node_apply_entry *entry)
{
    struct mvcc *mvcc = node->group.mvcc;
    struct rk_buf answer = {0};
    int r;

    switch (entry->kind) {
    case RAFT_ENTRY_COMMAND:
        r = mvcc_apply_command(mvcc, entry->index, entry->term, rk_blob_slice(entry->payload), &answer);
        if (r == 0 && entry->call)
            entry->call->answer = rk_blob_copy(rk_buf_slice(&answer));
        rk_buf_deinit(&answer);
        break;
    case RAFT_ENTRY_MEMBERS:
        r = mvcc_apply_members(mvcc, entry->index, entry->term, rk_blob_slice(entry->payload));
        if (r == 0 && entry->call)
            entry->call->answer = members_answer(node, entry);
        break;
    case RAFT_ENTRY_NOOP:
    default:
        r = mvcc_apply_noop(mvcc, entry->index, entry->term);
        break;
    }
    if (r == 0)
        node_digests_note(node, entry->index, mvcc_digest(mvcc));
    if (r == 0 && entry->call) {
        rk_list_push_back(&turn->answered, &entry->call->priv.link);
        entry->call = NULL;
    }
    return r;
}

static int apply_entries(struct node *node, struct turn *turn, struct node_apply_work *work)
{
    struct mvcc_meta meta;
    int r = 0;

    mvcc_meta(node->group.mvcc, &meta);
    for (uint32_t i = 0; i < work->count && r == 0; i++) {
        struct node_apply_entry *entry = &work->entries[i];

        if (entry->index <= meta.applied_index) { /* a snapshot brought it meanwhile */
            if (entry->call)
                node_answer(node, entry->call, NODE_E_TIMEOUT,
                            "a snapshot replaced this host's state: "
                            "it may or may not have happened");
            entry->call = NULL;
            continue;
        }
        if (!turn->begun)
            r = mvcc_begin(node->group.mvcc);
        turn->begun = true;
        if (r == 0)
            r = apply_entry(node, turn, entry);
    }
    return r;
}

static int commit(struct node *node, struct turn *turn)
{
    struct rk_list *it;
    int r = 0;

    if (turn->begun)
        r = mvcc_commit(node->group.mvcc);
    turn->begun = false;
    if (r != 0)
        return r;
    while ((it = rk_list_pop_front(&turn->answered)))
        node_answer(node, RK_LIST_ITEM(it, struct node_call, priv.link), NODE_OK, NULL);
    return 0;
}

static int read_one(struct node *node, struct node_call *call)
{
    struct rk_buf result = {0};
    int r = mvcc_query_run(node->group.mvcc, rk_blob_slice(call->body), &result);

    if (r == 0)
        call->answer = rk_blob_copy(rk_buf_slice(&result));
    rk_buf_deinit(&result);
    if (r == 0)
        node_answer(node, call, NODE_OK, NULL);
    else /* a malformed query is answered in the result: this is the rows themselves */
        node_answer(node, call, NODE_E_UNAVAILABLE, "this host's storage has failed");
    return r;
}

static int read_all(struct node *node, struct node_apply_work *work)
{
    struct rk_list *it;
    int r = 0;

    while ((it = rk_list_pop_front(&work->calls))) {
        struct node_call *call = RK_LIST_ITEM(it, struct node_call, priv.link);

        if (r == 0)
            r = read_one(node, call);
        else
            node_answer(node, call, NODE_E_UNAVAILABLE, "this host's storage has failed");
        rk_beat_progress(&node->apply_beat);
    }
    return r;
}

/* Tells the raft thread how far the rows are; the work itself carries it back. */
static void give_back(struct node *node, struct node_apply_work *work)
{
    struct mvcc_meta meta;

    mvcc_meta(node->group.mvcc, &meta);
    work->applied = meta.applied_index;
    work->revision = meta.revision;
    work->keys = meta.keys;
    work->sessions = meta.sessions;
    rk_mailbox_push_always(&node->raft_box, &work->mail);
}

static int flush(struct node *node, struct node_apply_work *work)
{
    struct mvcc_meta meta;
    int r = RK_PLANT(CUT_BEFORE_FLUSH) ? 0 : store_rows_flush(node->rows);

    mvcc_meta(node->group.mvcc, &meta);
    work->index = meta.applied_index;
    work->result = r;
    return r;
}

static int do_work(struct node *node, struct turn *turn, struct node_apply_work *work)
{
    int r;

    if (work->kind == NODE_APPLY_ENTRIES)
        return apply_entries(node, turn, work);
    r = commit(node, turn);
    if (r != 0)
        return r;
    switch (work->kind) {
    case NODE_APPLY_READ:
        return read_all(node, work);
    case NODE_APPLY_FLUSH:
        return flush(node, work);
    case NODE_APPLY_SNAPSHOT_OUT:
        node_snapshot_out(node, work);
        return 0;
    case NODE_APPLY_SNAPSHOT_IN:
        node_snapshot_in(node, work);
        return 0;
    case NODE_APPLY_ENTRIES:
    case NODE_APPLY_ROTTEN:
    case NODE_APPLY_INSTALLED:
        break;
    }
    return 0;
}

static void refuse_call(struct node *node, struct node_call *call)
{
    if (call)
        node_answer(node, call, NODE_E_TIMEOUT, "this host has stopped: it may or may not have happened");
}

void node_apply_refuse(struct node *node, struct node_apply_work *work)
{
    struct rk_list *it;

    for (uint32_t i = 0; i < work->count; i++)
        refuse_call(node, work->entries[i].call);
    while ((it = rk_list_pop_front(&work->calls)))
        refuse_call(node, RK_LIST_ITEM(it, struct node_call, priv.link));
    refuse_call(node, work->call);
    node_apply_work_free(work);
}

/* What cannot be done any more: everybody who waits is told. */
static void refuse_mail(struct node *node, struct rk_mail *mail)
{
    if (mail->kind == NODE_MAIL_CALL) {
        refuse_call(node, RK_CONTAINER_OF(mail, struct node_call, mail));
    } else if (mail->kind == NODE_MAIL_APPLY_WORK) {
        node_apply_refuse(node, RK_CONTAINER_OF(mail, struct node_apply_work, mail));
    } else if (mail->kind == NODE_MAIL_CHUNK) {
        struct node_chunk *chunk = RK_CONTAINER_OF(mail, struct node_chunk, mail);

        chunk->result = -ESHUTDOWN;
        chunk->mail.kind = chunk->reply_kind;
        rk_mailbox_push_always(chunk->reply_to, &chunk->mail);
    } else if (mail->kind == NODE_MAIL_STREAM) {
        struct node_stream *stream = RK_CONTAINER_OF(mail, struct node_stream, mail);

        stream->error = -ESHUTDOWN;
        node_snapshot_stream(node, stream);
    }
}

static int do_mail(struct node *node, struct turn *turn, struct rk_mail *mail, struct rk_list *finished)
{
    int r;

    if (mail->kind == NODE_MAIL_APPLY_WORK) {
        struct node_apply_work *work = RK_CONTAINER_OF(mail, struct node_apply_work, mail);

        rk_list_push_back(finished, &mail->link);
        return do_work(node, turn, work);
    }
    r = commit(node, turn);
    if (r != 0) {
        refuse_mail(node, mail);
        return r;
    }
    if (mail->kind == NODE_MAIL_CALL) { /* a stale read */
        if (!atomic_load(&node->serving)) {
            node_answer(node, RK_CONTAINER_OF(mail, struct node_call, mail), NODE_E_UNAVAILABLE,
                        "this host has no state of its own yet: it joins a cluster, or rebuilds its rows");
            return 0;
        }
        return read_one(node, RK_CONTAINER_OF(mail, struct node_call, mail));
    }
    if (mail->kind == NODE_MAIL_CHUNK)
        node_snapshot_chunk(node, RK_CONTAINER_OF(mail, struct node_chunk, mail));
    else if (mail->kind == NODE_MAIL_STREAM)
        node_snapshot_stream(node, RK_CONTAINER_OF(mail, struct node_stream, mail));
    return 0;
}

static void refuse_all(struct node *node, struct rk_list *mails)
{
    struct rk_list *it;

    while ((it = rk_list_pop_front(mails)))
        refuse_mail(node, RK_LIST_ITEM(it, struct rk_mail, link));
}

/* Takes everything that waits; false when the thread shall end. */
bool node_apply_run_once(struct node *node)
{
    struct turn turn = {0};
    struct rk_list mails, finished, *it;
    bool go_on = true;
    int r = 0;

    rk_list_init(&turn.answered);
    rk_list_init(&mails);
    rk_list_init(&finished);
    rk_beat_idle(&node->apply_beat);
    node_wait(node, &node->apply_box, node_unfit(node) ? RK_NEVER : node->scrub_us);
    rk_beat_busy(&node->apply_beat);
    rk_mailbox_take(&node->apply_box, &mails);
    while (r == 0 && (it = rk_list_pop_front(&mails))) {
        struct rk_mail *mail = RK_LIST_ITEM(it, struct rk_mail, link);

        if (mail->kind == NODE_MAIL_STOP)
            go_on = false;
        else
            r = do_mail(node, &turn, mail, &finished);
        if (r == 0 && atomic_load(&node->failed))
            r = -EIO; /* an install broke off, or the log thread has given up: nothing is served any more */
    }
    if (r == 0)
        r = commit(node, &turn);
    if (r == 0 && go_on)
        r = node_scrub_run(node);
    if (r != 0) {
        node_rows_failed(node, r);
        while ((it = rk_list_pop_front(&turn.answered)))
            refuse_call(node, RK_LIST_ITEM(it, struct node_call, priv.link));
    }
    while ((it = rk_list_pop_front(&finished))) {
        struct node_apply_work *work = RK_LIST_ITEM(it, struct node_apply_work, mail.link);
        if (r != 0)
            refuse_mail(node, &work->mail); /* whoever still waits in it */
        else if (work->kind == NODE_APPLY_READ || work->kind == NODE_APPLY_SNAPSHOT_OUT)
            node_apply_work_free(work);
        else
            give_back(node, work);
    }
    if (r != 0)
        refuse_all(node, &mails);
    return go_on && r == 0;
}

void node_apply_end(struct node *node)
{
    node_snapshot_forget(node);
    node_scrub_stop(node);
    node_snapshot_close_sources(node);
}

void *node_apply_thread(void *userdata)
{
    struct node *node = userdata;

    while (node_apply_run_once(node)) {}
    node_apply_end(node);
    rk_beat_idle(&node->apply_beat);
    return NULL;
}
