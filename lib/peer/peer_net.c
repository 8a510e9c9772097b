/* lib/peer/peer_net.c - the whole: loops, mails, and the face that the node sees.
 *
 * Every member is served by one loop, chosen by a hash of its id, so that what is
 * sent to it keeps its order. Whatever the node wants done becomes one mail to each
 * loop that it concerns. Its directory goes to every loop, in the same mailbox as
 * the messages: who sends to a new member right after naming it finds it known. */
#include "lib/peer/peer_internal.h"

#include <stdio.h>

#include "lib/base/rk_assert.h"

static const struct peer_timing default_timing = {
    .hello_ms = RK_TLS_HANDSHAKE_MS,
    .keepalive_ms = 5000,
    .silence_ms = 30000,
    .backoff_min_ms = 50,
    .backoff_max_ms = 2000,
    .oneshot_ms = 60000,
    .upload_stall_ms = 60000,
};

/* ---- directory --------------------------------------------------------------- */

struct peer_directory_mail {
    struct rk_mail mail;
    struct peer_directory *directory;
};

struct peer_directory *peer_directory_ref(struct peer_directory *directory)
{
    atomic_fetch_add_explicit(&directory->refs, 1, memory_order_relaxed);
    return directory;
}

void peer_directory_unref(struct peer_directory *directory)
{
    if (directory && atomic_fetch_sub_explicit(&directory->refs, 1, memory_order_acq_rel) == 1)
        free(directory);
}

const struct node_peer *peer_directory_find(const struct peer_directory *directory, uint64_t id)
{
    if (!directory)
        return NULL;
    for (uint32_t i = 0; i < directory->content.peer_count; i++)
        if (directory->content.peers[i].id == id)
            return &directory->content.peers[i];
    return NULL;
}

bool peer_directory_removed(const struct peer_directory *directory, uint64_t id)
{
    if (!directory)
        return false;
    for (uint32_t i = 0; i < directory->content.removed_count; i++)
        if (directory->content.removed[i] == id)
            return true;
    return false;
}

bool peer_directory_joined(const struct peer_directory *directory)
{
    return directory && directory->content.cluster_id != 0 && directory->content.self_id != 0;
}

static bool same_identity(const struct peer_directory *a, const struct peer_directory *b)
{
    return a && b && a->content.cluster_id == b->content.cluster_id &&
           a->content.self_id == b->content.self_id && a->content.incarnation == b->content.incarnation;
}

/* One-shot calls stay: they do not rest on who we are, and joining makes us somebody while its call is still
 * open. */
static void take_directory(struct peer_loop *loop, struct peer_directory_mail *mail)
{
    struct peer_directory *old = loop->directory;
    loop->directory = mail->directory;
    free(mail);
    if (old && !same_identity(old, loop->directory)) {
        peer_links_restart(loop);
        peer_accept_close(loop, false);
        peer_uploads_close(loop, "this host has a new identity");
    }
    peer_directory_unref(old);
    if (loop->stopped)
        return;
    peer_links_update(loop);
    peer_accept_update(loop);
    peer_uploads_update(loop);
}

static void set_directory(void *userdata, const struct node_directory *content)
{
    struct peer_net *net = userdata;
    struct peer_directory *directory = RK_NEW(struct peer_directory);
    rk_assert(content->peer_count <= RK_MEMBERS_MAX && content->removed_count <= RK_TOMBSTONES_MAX);
    directory->content = *content;
    atomic_init(&directory->refs, 1);
    for (size_t i = 0; i < net->config.loop_count; i++) {
        struct peer_directory_mail *mail = RK_NEW(struct peer_directory_mail);
        mail->mail.kind = peer_mail_kind(net, PEER_MAIL_DIRECTORY);
        mail->directory = peer_directory_ref(directory);
        if (!rk_mailbox_push_always(peer_loop_box(&net->loops[i]), &mail->mail)) {
            peer_directory_unref(directory);
            free(mail);
        }
    }
    peer_directory_unref(directory);
}

/* ---- the node's face ------------------------------------------------------------- */

struct rk_mailbox *peer_loop_box(struct peer_loop *loop)
{
    return net_loop_mailbox(loop->loop);
}

uint32_t peer_mail_kind(const struct peer_net *net, enum peer_mail_kind kind)
{
    return net->config.mail_kind_base + (uint32_t)kind;
}

struct peer_loop *peer_loop_of(struct peer_net *net, uint64_t id)
{
    struct rk_random mix = {.state = id};
    return &net->loops[rk_random_next(&mix) % net->config.loop_count];
}

/* Replies to one-shot calls go to the loop that their connection lives on; its index is in the token. */
static struct peer_loop *loop_for(struct peer_net *net, const struct node_message *message)
{
    return message->peer == 0 ? &net->loops[message->token % net->config.loop_count]
                              : peer_loop_of(net, message->peer);
}

static void refuse_all(struct peer_net *net, struct rk_list *messages)
{
    struct rk_list *link;
    while ((link = rk_list_pop_front(messages)))
        peer_call_unreachable(net, RK_LIST_ITEM(link, struct node_message, mail.link),
                              "this host is overloaded");
}

static void send_messages(void *userdata, struct rk_list *messages)
{
    struct peer_net *net = userdata;
    struct peer_send_mail **mails = RK_NEW_ARRAY(struct peer_send_mail *, net->config.loop_count);
    struct rk_list *link;
    while ((link = rk_list_pop_front(messages))) {
        struct peer_loop *loop = loop_for(net, RK_LIST_ITEM(link, struct node_message, mail.link));
        if (!mails[loop->index]) {
            mails[loop->index] = RK_NEW(struct peer_send_mail);
            rk_list_init(&mails[loop->index]->messages);
        }
        rk_list_push_back(&mails[loop->index]->messages, link);
    }
    for (size_t i = 0; i < net->config.loop_count; i++) {
        if (!mails[i])
            continue;
        mails[i]->mail.kind = peer_mail_kind(net, PEER_MAIL_SEND);
        if (!rk_mailbox_push(peer_loop_box(&net->loops[i]), &mails[i]->mail)) {
            refuse_all(net, &mails[i]->messages);
            free(mails[i]);
        }
    }
    free(mails);
}

static void call_address(void *userdata, const char *address, struct node_message *call)
{
    struct peer_net *net = userdata;
    struct peer_oneshot *oneshot = RK_NEW(struct peer_oneshot);
    size_t index = atomic_fetch_add(&net->next_loop, 1) % net->config.loop_count;
    call->peer = 0;
    oneshot->mail.kind = peer_mail_kind(net, PEER_MAIL_ONESHOT);
    oneshot->call = call;
    snprintf(oneshot->address, sizeof(oneshot->address), "%s", address);
    if (rk_mailbox_push(peer_loop_box(&net->loops[index]), &oneshot->mail))
        return;
    peer_call_unreachable(net, call, "this host is overloaded");
    free(oneshot);
}

/* On another loop than the link to the same peer, where there is one: bulk encryption must not delay a
 * heartbeat. */
static void send_snapshot(void *userdata, struct node_stream *stream)
{
    struct peer_net *net = userdata;
    size_t index = (peer_loop_of(net, stream->peer)->index + 1) % net->config.loop_count;
    stream->reply_to = peer_loop_box(&net->loops[index]);
    stream->reply_kind = peer_mail_kind(net, PEER_MAIL_STREAM);
    stream->mail.kind = peer_mail_kind(net, PEER_MAIL_STREAM_START);
    if (rk_mailbox_push_always(stream->reply_to, &stream->mail))
        return;
    uint64_t peer = stream->peer, at = stream->index;
    uint32_t group = stream->group;
    peer_stream_cancel(stream);
    net->config.inlet.snapshot_sent(net->config.inlet.userdata, peer, group, false, at);
}

struct node_transport peer_net_transport(struct peer_net *net)
{
    return (struct node_transport){.userdata = net,
                                   .send = send_messages,
                                   .set_directory = set_directory,
                                   .call_address = call_address,
                                   .send_snapshot = send_snapshot};
}

/* ---- a loop's mails ------------------------------------------------------------------ */

static void take_send(struct peer_loop *loop, struct peer_send_mail *mail)
{
    peer_links_send(loop, &mail->messages);
    free(mail);
}

bool peer_net_on_mail(struct peer_net *net, size_t loop_index, struct rk_mail *mail)
{
    struct peer_loop *loop = &net->loops[loop_index];
    if (mail->kind < net->config.mail_kind_base || mail->kind - net->config.mail_kind_base >= PEER_MAIL_KINDS)
        return false;
    switch ((enum peer_mail_kind)(mail->kind - net->config.mail_kind_base)) {
    case PEER_MAIL_DIRECTORY:
        take_directory(loop, RK_CONTAINER_OF(mail, struct peer_directory_mail, mail));
        break;
    case PEER_MAIL_SEND:
        take_send(loop, RK_CONTAINER_OF(mail, struct peer_send_mail, mail));
        break;
    case PEER_MAIL_ONESHOT:
        peer_oneshot_start(loop, RK_CONTAINER_OF(mail, struct peer_oneshot, mail));
        break;
    case PEER_MAIL_STREAM_START:
        peer_upload_start(loop, RK_CONTAINER_OF(mail, struct node_stream, mail));
        break;
    case PEER_MAIL_STREAM:
        peer_upload_stream(loop, RK_CONTAINER_OF(mail, struct node_stream, mail));
        break;
    case PEER_MAIL_OFFER:
        peer_download_answer(loop, RK_CONTAINER_OF(mail, struct peer_offer_mail, offer.mail));
        break;
    case PEER_MAIL_CHUNK:
        peer_download_taken(loop, RK_CONTAINER_OF(mail, struct peer_chunk_mail, chunk.mail));
        break;
    case PEER_MAIL_REPLACED:
        peer_accept_replaced(loop, RK_CONTAINER_OF(mail, struct peer_replaced_mail, mail));
        break;
    case PEER_MAIL_KINDS:
        break;
    }
    return true;
}

void peer_net_accept(struct peer_net *net, size_t loop_index, struct net_conn *conn)
{
    peer_accept(&net->loops[loop_index], conn);
}

/* ---- life ---------------------------------------------------------------------------- */

static void init_loop(struct peer_net *net, size_t index)
{
    struct peer_loop *loop = &net->loops[index];
    loop->net = net;
    loop->index = index;
    loop->loop = net->config.loops[index];
    rk_list_init(&loop->dirty);
    rk_list_init(&loop->uploads);
    rk_list_init(&loop->oneshots);
    rk_list_init(&loop->orphans);
    loop->random.state = rk_random_id();
}

int peer_net_new(const struct peer_config *config, struct peer_net **ret)
{
    rk_assert(config->loop_count > 0);
    struct peer_net *net = RK_NEW(struct peer_net);
    int r = pthread_mutex_init(&net->mutex, NULL);
    if (r != 0) {
        free(net);
        return -r;
    }
    net->config = *config;
    net->timing = default_timing;
    net->open_call_kinds = RK_NEW_ARRAY(uint32_t, config->open_call_kind_count + 1);
    for (size_t i = 0; i < config->open_call_kind_count; i++)
        net->open_call_kinds[i] = config->open_call_kinds[i];
    net->config.open_call_kinds = net->open_call_kinds;
    net->config.tls_client = config->tls_client ? net_tls_ref(config->tls_client) : NULL;
    net->loops = RK_NEW_ARRAY(struct peer_loop, config->loop_count);
    for (size_t i = 0; i < config->loop_count; i++)
        init_loop(net, i);
    *ret = net;
    return 0;
}

void peer_net_set_timing(struct peer_net *net, const struct peer_timing *timing)
{
    net->timing = *timing;
}

void peer_net_shutdown_loop(struct peer_net *net, size_t loop_index)
{
    struct peer_loop *loop = &net->loops[loop_index];
    loop->stopped = true;
    peer_uploads_close(loop, "this host is stopping");
    peer_oneshots_close(loop);
    peer_links_close(loop);
    peer_accept_close(loop, true);
    peer_orphans_close(loop);
}

void peer_net_free(struct peer_net *net)
{
    if (!net)
        return;
    for (size_t i = 0; i < net->config.loop_count; i++) {
        struct peer_loop *loop = &net->loops[i];
        rk_assert(loop->links.count == 0 && loop->incoming.count == 0 && rk_list_empty(&loop->orphans));
        peer_uploads_free(loop);
        rk_map_deinit(&loop->links);
        rk_map_deinit(&loop->incoming);
        peer_directory_unref(loop->directory);
    }
    peer_seen_deinit(net);
    pthread_mutex_destroy(&net->mutex);
    net_tls_unref(net->config.tls_client);
    free(net->open_call_kinds);
    free(net->loops);
    free(net);
}
