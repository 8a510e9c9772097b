/* lib/api/api_snapshot.c - GET /snapshot: the whole state as one stream.
 *
 * The stream object goes to the apply thread for each chunk and comes back by mail.
 * It is asked for the next chunk only while the client keeps up, so memory stays flat. */
#include <inttypes.h>
#include <stdio.h>

#include "lib/api/api_internal.h"
#include "lib/base/rk_assert.h"

#define BACKLOG_MAX (1024u * 1024u)

static void begin_answer(struct api_task *task, const struct node_stream *stream)
{
    char index[24], revision[24];
    struct http_header headers[] = {
        {rk_slice_str("content-type"), rk_slice_str("application/octet-stream")},
        {rk_slice_str("raftkv-snapshot-index"), {0}},
        {rk_slice_str("raftkv-snapshot-revision"), {0}},
    };

    snprintf(index, sizeof(index), "%" PRIu64, stream->index);
    snprintf(revision, sizeof(revision), "%" PRIu64, stream->revision);
    headers[1].value = rk_slice_str(index);
    headers[2].value = rk_slice_str(revision);
    http_respond_begin(task->request, 200, headers, RK_ARRAY_LEN(headers));
}

/* Gives the stream away for its next chunk; task->stream stays set: it will come back. */
static void ask_next(struct api_task *task)
{
    node_stream_next(task->stream);
}

static void finish_snapshot(struct api_task *task, struct node_call *call)
{
    struct node_stream *stream = call->stream;

    call->stream = NULL;
    task->stream = stream;
    stream->userdata = task;
    stream->reply_to = task->api->config.mailbox;
    stream->reply_kind = task->api->config.mail_kind_base + API_MAIL_STREAM;
    begin_answer(task, stream);
    ask_next(task);
}

void api_snapshot_get(struct api_task *task)
{
    api_submit(task, api_call_new(task, NODE_CALL_SNAPSHOT_READ), finish_snapshot);
}

/* The last chunk is here, or an error. */
static void end_stream(struct api_task *task, bool good)
{
    struct http_request *request = task->request;

    node_stream_free(task->stream);
    task->stream = NULL;
    task->request = NULL;
    if (request && good)
        http_respond_end(request);
    else if (request)
        http_respond_abort(request);
    api_task_end(task);
}

/* Bytes wait in the socket's queue, or in the session for the peer to open its windows. */
static bool is_behind(const struct api_task *task)
{
    return task->door->backlog(task->door) + http_respond_queued(task->request) > BACKLOG_MAX;
}

void api_stream_mail(struct api *api, struct node_stream *stream)
{
    struct api_task *task = stream->userdata;

    (void)api;
    if (!task->request) { /* the client went while the stream was away */
        if (stream->done || stream->error) {
            end_stream(task, false);
            return;
        }
        stream->cancel = true;
        task->stream = NULL;
        node_stream_next(stream);
        api_task_end(task);
        return;
    }
    if (stream->error == 0 && stream->chunk.len > 0)
        http_respond_chunk(task->request, rk_buf_slice(&stream->chunk));
    if (stream->done || stream->error)
        end_stream(task, stream->done);
    else if (is_behind(task))
        rk_list_push_back(&task->door->streams, &task->link);
    else
        ask_next(task);
}

void api_door_drained(struct api_door *door)
{
    RK_LIST_FOR_EACH_SAFE (it, &door->streams) {
        struct api_task *task = RK_LIST_ITEM(it, struct api_task, link);

        if (is_behind(task))
            continue;
        rk_list_remove(it);
        ask_next(task);
    }
}

/* The client has gone. A paused stream is in our hands: end it now; one that is away is ended when it comes
 * back. */
void api_stream_cancel(struct api_task *task)
{
    struct node_stream *stream = task->stream;

    if (rk_list_empty(&task->link))
        return;
    rk_list_remove(&task->link);
    task->stream = NULL;
    stream->cancel = true;
    node_stream_next(stream);
    api_task_end(task);
}
