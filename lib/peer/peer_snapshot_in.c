/* lib/peer/peer_snapshot_in.c - a snapshot on its way in, from the connection to the node.
 *
 * The node gives each chunk back when it has taken it, and that is the credit that
 * goes to the sender; who sends beyond its credit loses the connection. Offers and
 * chunks that are with the node name their connection by its token, since it may end
 * meanwhile: then the node is sent an abort behind them, so that half a snapshot is
 * never taken for one. A stream is never resumed: a new connection is a new offer. */
#include "lib/peer/peer_internal.h"

#include <errno.h>
#include <string.h>

/* ---- to the node ---------------------------------------------------------------------- */

static void give_chunk(struct peer_loop *loop, struct peer_chunk_mail *mail)
{
    const struct peer_net *net = loop->net;
    mail->chunk.reply_to = peer_loop_box(loop);
    mail->chunk.reply_kind = peer_mail_kind(net, PEER_MAIL_CHUNK);
    net->config.inlet.snapshot_chunk(net->config.inlet.userdata, &mail->chunk);
}

static void give_abort(struct peer_loop *loop, uint64_t stream_id)
{
    struct peer_chunk_mail *mail = RK_NEW(struct peer_chunk_mail);
    mail->chunk.stream_id = stream_id;
    mail->chunk.abort = true;
    give_chunk(loop, mail);
}

void peer_download_broken(struct peer_incoming *incoming)
{
    if (!incoming->snapshot.accepted || incoming->snapshot.over)
        return;
    incoming->snapshot.over = true;
    give_abort(incoming->conn.loop, incoming->snapshot.stream_id);
}

/* ---- frames ------------------------------------------------------------------------------ */

static bool on_offer(struct peer_incoming *incoming, const struct peer_frame *frame)
{
    struct peer_loop *loop = incoming->conn.loop;
    struct peer_offer offer;
    if (incoming->snapshot.offered || peer_offer_decode(frame->body, &offer) < 0)
        return peer_conn_violated(&incoming->conn, "its offer of a snapshot cannot be read");
    incoming->snapshot.offered = true;
    struct peer_offer_mail *mail = RK_NEW(struct peer_offer_mail);
    mail->token = incoming->token;
    mail->offer.reply_to = peer_loop_box(loop);
    mail->offer.reply_kind = peer_mail_kind(loop->net, PEER_MAIL_OFFER);
    mail->offer.peer = incoming->peer;
    mail->offer.group = offer.group;
    mail->offer.term = offer.term;
    mail->offer.index = offer.index;
    loop->net->config.inlet.snapshot_offer(loop->net->config.inlet.userdata, &mail->offer);
    return true;
}

static bool on_chunk(struct peer_incoming *incoming, const struct peer_frame *frame)
{
    struct peer_chunk chunk;
    if (!incoming->snapshot.accepted || incoming->snapshot.last ||
        peer_chunk_decode(frame->body, &chunk) < 0 || chunk.offset != incoming->snapshot.offset)
        return peer_conn_violated(&incoming->conn,
                                  "a chunk of its snapshot cannot be read or is out of place");
    if (incoming->snapshot.unacked == PEER_CHUNKS_OUT)
        return peer_conn_violated(&incoming->conn, "it sends its snapshot faster than allowed");
    incoming->snapshot.unacked++;
    incoming->snapshot.offset += chunk.bytes.len;
    incoming->snapshot.last = chunk.last;
    struct peer_chunk_mail *mail = RK_NEW(struct peer_chunk_mail);
    mail->token = incoming->token;
    mail->chunk.stream_id = incoming->snapshot.stream_id;
    mail->chunk.last = chunk.last;
    rk_buf_append_slice(&mail->chunk.bytes, chunk.bytes);
    give_chunk(incoming->conn.loop, mail);
    return true;
}

bool peer_download_frame(struct peer_incoming *incoming, const struct peer_frame *frame)
{
    if (frame->type == PEER_FRAME_OFFER)
        return on_offer(incoming, frame);
    if (frame->type == PEER_FRAME_CHUNK)
        return on_chunk(incoming, frame);
    return peer_conn_violated(&incoming->conn, "it sent a frame that has no place on a snapshot connection");
}

/* ---- from the node --------------------------------------------------------------------------- */

static void answer(struct peer_incoming *incoming, struct rk_buf *buf)
{
    peer_conn_write(&incoming->conn, buf);
    rk_buf_deinit(buf);
}

void peer_download_answer(struct peer_loop *loop, struct peer_offer_mail *mail)
{
    struct peer_incoming *incoming = rk_map_get(&loop->incoming, mail->token);
    struct rk_buf buf = {0};
    if (incoming) {
        incoming->snapshot.accepted = mail->offer.accepted;
        incoming->snapshot.stream_id = mail->offer.stream_id;
        peer_offer_reply_encode(&buf, mail->offer.accepted);
        answer(incoming, &buf);
        if (!mail->offer.accepted)
            peer_incoming_end(incoming, true, "");
    } else if (mail->offer.accepted) {
        give_abort(loop, mail->offer.stream_id);
    }
    free(mail);
}

/* The sender learns the result and ends the connection; ours ends with a flush, so that the result arrives.
 */
void peer_download_taken(struct peer_loop *loop, struct peer_chunk_mail *mail)
{
    struct peer_incoming *incoming = mail->token != 0 ? rk_map_get(&loop->incoming, mail->token) : NULL;
    int result = mail->chunk.result;
    struct rk_buf buf = {0};
    rk_buf_deinit(&mail->chunk.bytes);
    free(mail);
    if (!incoming || incoming->snapshot.over)
        return;
    if (result > 1 || result < -4095)
        result = -EIO;
    incoming->snapshot.unacked--;
    peer_chunk_reply_encode(&buf, result);
    answer(incoming, &buf);
    if (result == 0)
        return;
    incoming->snapshot.over = true;
    peer_incoming_end(incoming, true, result == 1 ? "" : strerror(-result));
}
