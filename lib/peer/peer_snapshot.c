/* lib/peer/peer_snapshot.c - a snapshot on its way to a member.
 *
 *   dial -> OFFER -> OFFER_REPLY -> CHUNK, CHUNK ... -> the last CHUNK_REPLY says "installed"
 *
 * The stream object goes to and fro between its source (the thread that reads rows)
 * and us; here says who has it. A chunk is asked for only when fewer than
 * PEER_CHUNKS_OUT are on their way unacknowledged, so a slow receiver slows the
 * reading down, and memory stays at those chunks whatever the snapshot's size. A chunk
 * leaves no sooner than the configured rate allows, so that a snapshot does not take
 * all of the network and of the receiver's disk. A receiver whose connection lives but
 * which takes nothing for upload_stall_ms has lost it.
 *
 * The node hears of the end once. When the stream is with its source at that moment
 * the upload stays, mute, until it comes back and can be cancelled. */
#include "lib/peer/peer_internal.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/rk_assert.h"

struct peer_upload {
    struct rk_list link;
    struct peer_dial dial;
    struct net_timer pace;  /* the next chunk may leave */
    struct net_timer stall; /* nothing has moved for too long */
    uint64_t pace_us;       /* when it may */
    struct node_stream *stream;
    bool here; /* the stream is with us */
    bool full; /* ... and what it holds has not been sent */
    bool accepted;
    bool over; /* the node has been told */
    uint32_t unacked;
    uint64_t offset;
};

/* ---- the end ------------------------------------------------------------------------ */

/* An open source is closed by its own thread, which then frees the stream. */
void peer_stream_cancel(struct node_stream *stream)
{
    if (stream->done || stream->error != 0) {
        node_stream_free(stream);
        return;
    }
    stream->cancel = true;
    node_stream_next(stream);
}

static void release(struct peer_upload *upload)
{
    if (!upload->here)
        return;
    peer_stream_cancel(upload->stream);
    rk_list_remove(&upload->link);
    free(upload);
}

/* May free the upload. */
static void finish(struct peer_upload *upload, bool ok, const char *why)
{
    const struct peer_net *net = upload->dial.conn.loop->net;
    const struct node_stream *stream = upload->stream;
    if (upload->over)
        return;
    upload->over = true;
    net_timer_cancel(&upload->pace);
    net_timer_cancel(&upload->stall);
    peer_dial_end(&upload->dial, ok);
    const struct rk_field *fields = RK_FIELDS(
        RK_F_ID("MEMBER", stream->peer), RK_F_U64("GROUP", stream->group), RK_F_U64("INDEX", stream->index),
        RK_F_U64("BYTES", upload->offset), RK_F_STR("REASON", why));
    if (ok)
        RK_LOG(RK_LOG_INFO, "peer", fields, "a member has installed our snapshot");
    else
        RK_LOG(RK_LOG_WARNING, "peer", fields, "a snapshot for a member was not sent");
    net->config.inlet.snapshot_sent(net->config.inlet.userdata, stream->peer, stream->group, ok,
                                    stream->index);
    release(upload);
}

/* ---- chunks --------------------------------------------------------------------------- */

static uint64_t now_us(const struct peer_upload *upload)
{
    return net_loop_now_us(upload->dial.conn.loop->loop);
}

/* The last answer says that all of it is installed, which takes as long as it takes. */
static void moved(struct peer_upload *upload)
{
    uint32_t stall_ms = upload->dial.conn.loop->net->timing.upload_stall_ms;
    if (upload->stream->done && !upload->full)
        net_timer_cancel(&upload->stall);
    else
        net_timer_set(&upload->stall, now_us(upload) + stall_ms * RK_USEC_PER_MSEC);
}

static void on_stall(struct net_timer *timer)
{
    finish(RK_CONTAINER_OF(timer, struct peer_upload, stall), false, "it has stopped taking it");
}

/* A pause of the receiver is no credit for later. */
static void count_bytes(struct peer_upload *upload, size_t bytes)
{
    uint64_t rate = upload->dial.conn.loop->net->config.upload_bytes_per_s;
    if (rate > 0)
        upload->pace_us = rk_max_u64(upload->pace_us, now_us(upload)) + bytes * RK_USEC_PER_SEC / rate;
}

/* Whether a chunk may leave now; otherwise the timer comes back for it. */
static bool in_pace(struct peer_upload *upload)
{
    if (upload->pace_us <= now_us(upload))
        return true;
    net_timer_set(&upload->pace, upload->pace_us);
    return false;
}

static void send_chunk(struct peer_upload *upload)
{
    struct node_stream *stream = upload->stream;
    struct peer_chunk chunk = {
        .offset = upload->offset, .last = stream->done, .bytes = rk_buf_slice(&stream->chunk)};
    struct rk_buf buf = {0};
    peer_chunk_encode(&buf, &chunk);
    peer_conn_write(&upload->dial.conn, &buf);
    rk_buf_deinit(&buf);
    upload->offset += stream->chunk.len;
    upload->unacked++;
    upload->full = false;
    count_bytes(upload, stream->chunk.len);
    rk_buf_clear(&stream->chunk);
    moved(upload);
}

/* Sends what is here and asks for more, as far as the credit goes. False: the upload has ended. */
static bool pump(struct peer_upload *upload)
{
    struct node_stream *stream = upload->stream;
    if (!upload->here || !upload->accepted)
        return true;
    if (stream->error != 0 || stream->chunk.len > PEER_CHUNK_BYTES_MAX) {
        finish(upload, false, stream->error != 0 ? strerror(-stream->error) : "a chunk is too large");
        return false;
    }
    if (upload->full && upload->unacked < PEER_CHUNKS_OUT && in_pace(upload))
        send_chunk(upload);
    if (!upload->full && !stream->done && upload->unacked < PEER_CHUNKS_OUT) {
        upload->here = false;
        node_stream_next(stream);
    }
    return true;
}

static void on_pace(struct net_timer *timer)
{
    (void)pump(RK_CONTAINER_OF(timer, struct peer_upload, pace));
}

/* The stream has come back from its source. */
void peer_upload_stream(struct peer_loop *loop RK_UNUSED, struct node_stream *stream)
{
    struct peer_upload *upload = stream->userdata;
    upload->here = upload->full = true;
    if (upload->over)
        release(upload);
    else
        (void)pump(upload);
}

/* ---- frames --------------------------------------------------------------------------- */

static void on_up(struct peer_dial *dial)
{
    struct peer_upload *upload = RK_CONTAINER_OF(dial, struct peer_upload, dial);
    struct peer_offer offer = {
        .group = upload->stream->group, .term = upload->stream->term, .index = upload->stream->index};
    struct rk_buf buf = {0};
    peer_offer_encode(&buf, &offer);
    peer_conn_write(&dial->conn, &buf);
    rk_buf_deinit(&buf);
}

static bool on_offer_reply(struct peer_upload *upload, const struct peer_frame *frame)
{
    bool accepted;
    if (upload->accepted || peer_offer_reply_decode(frame->body, &accepted) < 0)
        return peer_conn_violated(&upload->dial.conn, "its answer to the offer cannot be read");
    if (!accepted) {
        finish(upload, false, "the member does not want it");
        return false;
    }
    upload->accepted = true;
    moved(upload);
    return pump(upload);
}

static bool on_chunk_reply(struct peer_upload *upload, const struct peer_frame *frame)
{
    int result;
    if (peer_chunk_reply_decode(frame->body, &result) < 0 || upload->unacked == 0)
        return peer_conn_violated(&upload->dial.conn, "its answer to a chunk cannot be read");
    upload->unacked--;
    moved(upload);
    if (result == 0)
        return pump(upload);
    finish(upload, result == 1, result == 1 ? "" : strerror(-result));
    return false;
}

static bool on_frame(struct peer_dial *dial, const struct peer_frame *frame)
{
    struct peer_upload *upload = RK_CONTAINER_OF(dial, struct peer_upload, dial);
    if (frame->type == PEER_FRAME_OFFER_REPLY)
        return on_offer_reply(upload, frame);
    if (frame->type == PEER_FRAME_CHUNK_REPLY && upload->accepted)
        return on_chunk_reply(upload, frame);
    return peer_conn_violated(&dial->conn, "it sent a frame that has no place on this connection");
}

static void on_down(struct peer_dial *dial, enum peer_end end RK_UNUSED, const char *why)
{
    finish(RK_CONTAINER_OF(dial, struct peer_upload, dial), false, why);
}

static const struct peer_dial_ops dial_ops = {.up = on_up, .frame = on_frame, .down = on_down};

/* ---- from the loop ---------------------------------------------------------------------- */

void peer_upload_start(struct peer_loop *loop, struct node_stream *stream)
{
    struct peer_upload *upload = RK_NEW(struct peer_upload);
    const struct node_peer *peer = peer_directory_find(loop->directory, stream->peer);
    const char *obstacle = peer_dial_obstacle(loop);
    rk_assert(stream->reply_to == peer_loop_box(loop));
    stream->userdata = upload;
    upload->stream = stream;
    upload->here = true;
    upload->full = stream->chunk.len > 0 || stream->done;
    upload->dial.conn.loop = loop;
    net_timer_init(&upload->pace, loop->loop, on_pace);
    net_timer_init(&upload->stall, loop->loop, on_stall);
    rk_list_push_back(&loop->uploads, &upload->link);
    if (obstacle || !peer)
        finish(upload, false, obstacle ? obstacle : "no such member");
    else
        peer_dial_start(&upload->dial, loop, &dial_ops, PEER_PURPOSE_SNAPSHOT, peer->id, peer->address);
}

void peer_uploads_close(struct peer_loop *loop, const char *why)
{
    RK_LIST_FOR_EACH_SAFE (it, &loop->uploads)
        finish(RK_LIST_ITEM(it, struct peer_upload, link), false, why);
}

void peer_uploads_free(struct peer_loop *loop)
{
    struct rk_list *item;
    while ((item = rk_list_pop_front(&loop->uploads)))
        free(RK_LIST_ITEM(item, struct peer_upload, link));
}

void peer_uploads_update(struct peer_loop *loop)
{
    RK_LIST_FOR_EACH_SAFE (it, &loop->uploads) {
        struct peer_upload *upload = RK_LIST_ITEM(it, struct peer_upload, link);
        if (!peer_directory_find(loop->directory, upload->stream->peer))
            finish(upload, false, "it is no member any more");
    }
}
