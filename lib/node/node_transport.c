/* lib/node/node_transport.c - the objects that travel between a node and its transport. */
#include "lib/node/node_transport.h"

#include <errno.h>

struct node_message *node_message_new(enum node_message_kind kind, uint64_t peer, uint32_t group)
{
    struct node_message *message = RK_NEW(struct node_message);
    message->kind = kind;
    message->peer = peer;
    message->group = group;
    rk_list_init(&message->mail.link);
    return message;
}

void node_message_alloc_entries(struct node_message *message, uint32_t count)
{
    message->entries = RK_NEW_ARRAY(struct raft_entry, count > 0 ? count : 1);
    message->payloads = RK_NEW_ARRAY(struct rk_blob *, count > 0 ? count : 1);
    message->raft.entries = message->entries;
    message->raft.count = count;
}

void node_message_free(struct node_message *message)
{
    if (!message)
        return;
    if (message->payloads)
        for (uint32_t i = 0; i < message->raft.count; i++)
            rk_blob_unref(message->payloads[i]);
    free(message->payloads);
    free(message->entries);
    rk_blob_unref(message->body);
    free(message);
}

void node_stream_next(struct node_stream *stream)
{
    stream->mail.kind = stream->source_kind;
    if (rk_mailbox_push_always(stream->source_box, &stream->mail))
        return;
    /* The producer is gone, and its source with it: tell the consumer, unless it wanted to end anyway. */
    stream->error = -ESHUTDOWN;
    if (stream->cancel || !stream->reply_to) {
        node_stream_free(stream);
        return;
    }
    stream->mail.kind = stream->reply_kind;
    rk_mailbox_push_always(stream->reply_to, &stream->mail);
}

void node_stream_free(struct node_stream *stream)
{
    if (!stream)
        return;
    rk_buf_deinit(&stream->chunk);
    free(stream);
}
