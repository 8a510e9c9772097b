/* tests/sim/sim_upload.c - snapshots on their way from host to host, as lib/peer carries them: an offer, then
 * chunk by chunk, each a step with a delay of its own, and any of them may be the last. */
#include <stdio.h>

#include "tests/sim/sim.h"

enum upload_mail { MAIL_STREAM = 1, MAIL_OFFER, MAIL_CHUNK };

struct upload {
    struct sim *sim;
    uint64_t id;
    struct sim_host *from, *to;
    uint32_t from_life, to_life;
    struct node_stream *stream;
    bool here, offered, accepted; /* here: the stream is with us */
    uint64_t stream_id;
};

static void soon(struct upload *upload)
{
    struct sim *sim = upload->sim;
    uint64_t us = sim_chance(sim, 10) ? sim_between(sim, 1000, 200000) : sim_between(sim, 50, 5000);

    sim_later(sim, us, SIM_EV_UPLOAD)->arg = upload->id;
}

static void *id_pointer(uint64_t id)
{
    return (void *)(uintptr_t)id;
}

static bool receiver_lives(const struct upload *upload)
{
    return upload->to && upload->to->speaks && upload->to->life == upload->to_life;
}

static void post_chunk(struct upload *upload, bool abort)
{
    struct node_chunk *chunk = RK_NEW(struct node_chunk);
    struct sim_event *event = sim_later(upload->sim, sim_between(upload->sim, 20, 3000), SIM_EV_CHUNK);

    chunk->reply_to = &upload->sim->box;
    chunk->reply_kind = MAIL_CHUNK;
    chunk->userdata = id_pointer(abort ? 0 : upload->id);
    chunk->stream_id = upload->stream_id;
    chunk->abort = abort;
    if (!abort) {
        chunk->last = upload->stream->done;
        rk_buf_append_slice(&chunk->bytes, rk_buf_slice(&upload->stream->chunk));
    }
    event->host = upload->to->number;
    event->life = upload->to_life;
    event->object = chunk;
}

/* The stream is with us. */
static void end(struct upload *upload, bool ok)
{
    struct node_stream *stream = upload->stream;
    struct sim_host *from = upload->from;

    sim_note(upload->sim, "upload end", upload->id, ok, stream->index);
    if (from->speaks && from->life == upload->from_life)
        from->inlet.snapshot_sent(from->inlet.userdata, stream->peer, stream->group, ok, stream->index);
    if (!ok && upload->accepted && receiver_lives(upload))
        post_chunk(upload, true);
    if (stream->done || stream->error != 0) {
        node_stream_free(stream);
    } else {
        stream->cancel = true;
        node_stream_next(stream);
    }
    rk_map_remove(&upload->sim->uploads, upload->id);
    free(upload);
}

void sim_upload_begin(void *userdata, struct node_stream *stream)
{
    struct sim_host *host = userdata;
    struct sim *sim = host->sim;
    struct upload *upload = RK_NEW(struct upload);

    *upload = (struct upload){.sim = sim, .id = ++sim->next_upload, .from = host, .from_life = host->life};
    upload->stream = stream;
    upload->here = true;
    stream->userdata = id_pointer(upload->id);
    stream->reply_to = &sim->box;
    stream->reply_kind = MAIL_STREAM;
    rk_map_put(&sim->uploads, upload->id, upload);
    soon(upload);
}

static void offer(struct upload *upload)
{
    struct node_stream *stream = upload->stream;
    struct node_offer *made = RK_NEW(struct node_offer);

    upload->offered = true;
    upload->to_life = upload->to->life;
    *made = (struct node_offer){.reply_to = &upload->sim->box,
                                .reply_kind = MAIL_OFFER,
                                .userdata = id_pointer(upload->id),
                                .peer = upload->from->directory.self_id,
                                .group = stream->group,
                                .term = stream->term,
                                .index = stream->index};
    sim_note(upload->sim, "offer", upload->id, upload->to->number, stream->index);
    upload->to->inlet.snapshot_offer(upload->to->inlet.userdata, made);
}

/* Whenever the stream has come to us. */
void sim_upload_step(struct sim *sim, uint64_t id)
{
    struct upload *upload = rk_map_get(&sim->uploads, id);
    struct sim_host *to;
    bool cut = sim->tune.loss_ppm > 0 && !sim->healing && sim_chance(sim, 2);

    if (!upload || !upload->here)
        return;
    to = sim_net_peer(upload->from, upload->stream->peer);
    if (!to || upload->stream->error != 0 || cut ||
        (upload->offered && (to != upload->to || to->life != upload->to_life))) {
        end(upload, false);
    } else if (!upload->offered) {
        upload->to = to;
        offer(upload);
    } else {
        post_chunk(upload, false);
    }
}

void sim_upload_give_chunk(struct sim *sim, struct sim_event *event)
{
    struct node_chunk *chunk = event->object;
    struct sim_host *to = &sim->hosts[event->host];
    uint64_t id = (uint64_t)(uintptr_t)chunk->userdata;
    struct upload *upload = rk_map_get(&sim->uploads, id);

    if (to->speaks && to->life == event->life) {
        sim_note(sim, "chunk", to->number, id, chunk->bytes.len);
        to->inlet.snapshot_chunk(to->inlet.userdata, chunk);
        return;
    }
    rk_buf_deinit(&chunk->bytes);
    free(chunk);
    if (upload)
        end(upload, false);
}

/* ---- what comes back -------------------------------------------------------------------------------- */

static void on_offer(struct sim *sim, struct node_offer *answer, bool lost)
{
    struct upload *upload = rk_map_get(&sim->uploads, (uint64_t)(uintptr_t)answer->userdata);

    if (upload && upload->here) {
        upload->stream_id = answer->stream_id;
        upload->accepted = answer->accepted && !lost;
        if (!upload->accepted) {
            end(upload, false);
        } else {
            upload->here = false;
            node_stream_next(upload->stream);
        }
    }
    free(answer);
}

static void on_chunk(struct sim *sim, struct node_chunk *chunk, bool lost)
{
    struct upload *upload = rk_map_get(&sim->uploads, (uint64_t)(uintptr_t)chunk->userdata);

    if (upload && upload->here) {
        if (lost || chunk->result != 0 || upload->stream->done) {
            end(upload, !lost && chunk->result == 1);
        } else {
            upload->here = false;
            node_stream_next(upload->stream);
        }
    }
    rk_buf_deinit(&chunk->bytes);
    free(chunk);
}

static void on_stream(struct sim *sim, struct node_stream *stream)
{
    struct upload *upload = rk_map_get(&sim->uploads, (uint64_t)(uintptr_t)stream->userdata);

    rk_assert(upload && !upload->here);
    upload->here = true;
    soon(upload);
}

/* lost: whoever answered is dead, and nobody heard. */
static void take_mail(struct sim *sim, bool lost)
{
    struct rk_list mails, *it;

    rk_list_init(&mails);
    while (rk_mailbox_take(&sim->box, &mails) > 0)
        while ((it = rk_list_pop_front(&mails))) {
            struct rk_mail *mail = RK_LIST_ITEM(it, struct rk_mail, link);

            if (mail->kind == MAIL_STREAM)
                on_stream(sim, RK_CONTAINER_OF(mail, struct node_stream, mail));
            else if (mail->kind == MAIL_OFFER)
                on_offer(sim, RK_CONTAINER_OF(mail, struct node_offer, mail), lost);
            else
                on_chunk(sim, RK_CONTAINER_OF(mail, struct node_chunk, mail), lost);
        }
}

void sim_upload_take_mail(struct sim *sim)
{
    take_mail(sim, false);
}

static struct upload *upload_of(struct sim_host *host)
{
    struct upload *found = NULL;
    struct rk_map_slot *slot;
    size_t cursor = 0;

    while (!found && (slot = rk_map_next(&host->sim->uploads, &cursor))) {
        struct upload *upload = slot->value;
        found = upload->from == host ? upload : NULL;
    }
    return found;
}

void sim_upload_host_gone(struct sim_host *host, bool lost)
{
    struct upload *upload;

    take_mail(host->sim, lost);
    while ((upload = upload_of(host))) {
        rk_assert(upload->here);
        end(upload, false);
    }
}
