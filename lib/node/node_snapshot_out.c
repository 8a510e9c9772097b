/* lib/node/node_snapshot_out.c - snapshots on their way out, to a peer or to a file. Apply thread.
 *
 * There is no snapshot on disk: the stream is a scan of the rows at one revision,
 * read chunk by chunk between applies, as fast as its consumer takes it. */
#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

/* What a stream reads from. A stream may be with its consumer when the rows are closed (this host stops, or
 * joins another cluster), so the node knows all of them. */
struct node_source {
    struct rk_list link;            /* in node->sources */
    struct mvcc_snapshot *snapshot; /* NULL once the rows have been closed */
};

static struct node_stream *make_stream(struct node *node, struct mvcc_snapshot *snapshot, uint64_t peer,
                                       uint64_t term)
{
    const struct mvcc_snapshot_info *info = mvcc_snapshot_info(snapshot);
    struct node_stream *stream = RK_NEW(struct node_stream);
    struct node_source *source = RK_NEW(struct node_source);

    source->snapshot = snapshot;
    rk_list_push_back(&node->sources, &source->link);
    stream->peer = peer;
    stream->group = info->group;
    stream->term = term;
    stream->index = info->index;
    stream->entry_term = info->term;
    stream->revision = info->revision;
    stream->source = source;
    stream->source_box = &node->apply_box;
    stream->source_kind = NODE_MAIL_STREAM;
    return stream;
}

/* Rows that are not to be believed must not become others'. */
static void refuse_out(struct node *node, struct node_apply_work *work)
{
    struct node_sent_note *note;

    if (work->call) {
        node_answer(node, work->call, NODE_E_UNAVAILABLE,
                    "this host rebuilds its rows from a peer: ask another member");
        work->call = NULL;
        return;
    }
    note = RK_NEW(struct node_sent_note);
    *note = (struct node_sent_note){.peer = work->peer, .group = work->group};
    note->mail.kind = NODE_MAIL_SENT;
    if (!rk_mailbox_push_always(&node->raft_box, &note->mail))
        free(note);
}

void node_snapshot_out(struct node *node, struct node_apply_work *work)
{
    struct mvcc_snapshot *snapshot = NULL;
    struct node_stream *stream;
    int r;

    if (node_unfit(node)) {
        refuse_out(node, work);
        return;
    }
    r = mvcc_snapshot_open(node->group.mvcc, node->identity.cluster_id, &snapshot);
    if (r != 0) {
        node_rows_failed(node, r);
        if (work->call)
            node_answer(node, work->call, NODE_E_UNAVAILABLE, "this host's storage has failed");
        work->call = NULL;
        return;
    }
    stream = make_stream(node, snapshot, work->peer, work->term);
    if (!work->call) {
        node->transport.send_snapshot(node->transport.userdata, stream);
        return;
    }
    work->call->stream = stream;
    node_answer(node, work->call, NODE_OK, NULL);
    work->call = NULL;
}

static void close_source(struct node_stream *stream)
{
    struct node_source *source = stream->source;

    mvcc_snapshot_close(source->snapshot);
    rk_list_remove(&source->link);
    free(source);
    stream->source = NULL;
}

void node_snapshot_close_sources(struct node *node)
{
    RK_LIST_FOR_EACH (it, &node->sources) {
        struct node_source *source = RK_LIST_ITEM(it, struct node_source, link);

        mvcc_snapshot_close(source->snapshot);
        source->snapshot = NULL;
    }
}

void node_snapshot_free_sources(struct node *node)
{
    struct rk_list *it;

    node_snapshot_close_sources(node);
    while ((it = rk_list_pop_front(&node->sources)))
        free(RK_LIST_ITEM(it, struct node_source, link));
}

static int next_chunk(struct node_stream *stream)
{
    struct node_source *source = stream->source;

    if (!source->snapshot)
        return -ESHUTDOWN;
    return mvcc_snapshot_next(source->snapshot, RK_SNAPSHOT_CHUNK_BYTES, &stream->chunk);
}

void node_snapshot_stream(struct node *node, struct node_stream *stream)
{
    int r = stream->error;

    rk_buf_clear(&stream->chunk);
    if (!stream->cancel && r == 0)
        r = next_chunk(stream);
    stream->done = r == 1;
    stream->error = r < 0 ? r : 0;
    if (r == -EUCLEAN || r == -EBADMSG) /* the rows, not the stream */
        node_rows_failed(node, r);
    if (stream->cancel || r != 0)
        close_source(stream);
    if (stream->cancel || !stream->reply_to) {
        node_stream_free(stream);
        return;
    }
    rk_beat_progress(&node->apply_beat);
    stream->mail.kind = stream->reply_kind;
    if (rk_mailbox_push_always(stream->reply_to, &stream->mail))
        return;
    if (stream->source)
        close_source(stream);
    node_stream_free(stream);
}
