/* lib/peer/peer_accept.c - connections that others make to us: who may, and what for.
 *
 * The HELLO is held against the directory of the moment. A member must mean our
 * cluster and us, be listed, show a certificate that carries its name, and not be an
 * older incarnation of itself (a copy of its disk, a restored machine). Whoever does
 * not fit is told why, and the log says it once. Everybody else with a certificate of
 * the peer CA may make one call of the kinds that the configuration opens. */
#include "lib/peer/peer_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/base/rk_assert.h"

struct verdict {
    enum peer_welcome_outcome outcome;
    uint64_t peer; /* OK: the member that it is, or 0 */
    char why[PEER_TEXT_BYTES_MAX + 1];
};

#define REFUSE(verdict, ...)                                                                                 \
    ((verdict)->outcome = PEER_WELCOME_REFUSED,                                                              \
     (void)snprintf((verdict)->why, sizeof((verdict)->why), __VA_ARGS__))

/* ---- who it is ---------------------------------------------------------------------- */

static bool has_name(const struct net_conn *conn, const char *name)
{
    return name[0] != '\0' && net_conn_peer_has_name(conn, name);
}

static bool certificate_fits(const struct net_conn *conn, const struct node_peer *peer)
{
    char uri[RK_NAME_BYTES_MAX + 32], host[RK_ADDRESS_BYTES_MAX + 1];
    uint16_t port;
    snprintf(uri, sizeof(uri), "raftkv:member:%s", peer->name);
    if (has_name(conn, peer->name) || (peer->name[0] != '\0' && has_name(conn, uri)))
        return true;
    return net_address_split(peer->address, host, sizeof(host), &port) == 0 && has_name(conn, host);
}

static void judge_certificate(const struct peer_incoming *incoming, const struct peer_hello *hello,
                              const struct node_peer *peer, struct verdict *ret)
{
    if (!certificate_fits(incoming->conn.net, peer))
        REFUSE(ret, "the certificate (%.100s) carries neither the name nor the host of the member %s",
               net_conn_peer_subject(incoming->conn.net), peer->name);
    else if (!peer_seen_incarnation(incoming->conn.loop->net, peer->id, hello->incarnation))
        REFUSE(ret,
               "incarnation %" PRIu64 " is stale: a newer one of this member has been here (is its data "
               "directory a copy?)",
               hello->incarnation);
    else
        ret->peer = peer->id;
}

/* For connections between members. */
static void judge_member(const struct peer_incoming *incoming, const struct peer_hello *hello,
                         struct verdict *ret)
{
    const struct peer_directory *us = incoming->conn.loop->directory;
    const struct node_peer *peer = peer_directory_find(us, hello->id);
    if (!peer_directory_joined(us))
        REFUSE(ret, "this host is not a member of any cluster");
    else if (hello->cluster_id != us->content.cluster_id)
        REFUSE(ret, "wrong cluster: this host belongs to %016" PRIx64 ", not to %016" PRIx64,
               us->content.cluster_id, hello->cluster_id);
    else if (hello->target != us->content.self_id)
        REFUSE(ret, "wrong member: this host is %016" PRIx64 ", not %016" PRIx64, us->content.self_id,
               hello->target);
    else if (hello->id == us->content.self_id)
        REFUSE(ret, "this host is that member itself: is an address wrong, or a data directory a copy?");
    else if (peer)
        judge_certificate(incoming, hello, peer, ret);
    else
        REFUSE(ret, "%016" PRIx64 " is not known here as a member", hello->id);
    if (ret->outcome == PEER_WELCOME_REFUSED && !peer && peer_directory_joined(us) &&
        hello->cluster_id == us->content.cluster_id && peer_directory_removed(us, hello->id)) {
        ret->outcome = PEER_WELCOME_REMOVED;
        snprintf(ret->why, sizeof(ret->why), "%016" PRIx64 " was removed from this cluster", hello->id);
    }
}

/* Anybody may come, but nobody as a member who is none. */
static void judge_caller(const struct peer_incoming *incoming, const struct peer_hello *hello,
                         struct verdict *ret)
{
    const struct peer_directory *us = incoming->conn.loop->directory;
    bool ours = peer_directory_joined(us) && hello->cluster_id == us->content.cluster_id;
    const struct node_peer *peer = ours ? peer_directory_find(us, hello->id) : NULL;
    if (hello->target != 0 && (!us || hello->target != us->content.self_id))
        REFUSE(ret, "wrong member: this host is not %016" PRIx64, hello->target);
    else if (peer)
        judge_certificate(incoming, hello, peer, ret);
}

static void judge(const struct peer_incoming *incoming, const struct peer_hello *hello, struct verdict *ret)
{
    *ret = (struct verdict){.outcome = PEER_WELCOME_OK};
    if (hello->version_min > PEER_VERSION_MAX || hello->version_max < PEER_VERSION_MIN)
        REFUSE(ret, "no common version of the peer protocol: this host speaks %u to %u, the other %u to %u",
               PEER_VERSION_MIN, PEER_VERSION_MAX, hello->version_min, hello->version_max);
    else if (hello->purpose == PEER_PURPOSE_CALL)
        judge_caller(incoming, hello, ret);
    else if (hello->purpose == PEER_PURPOSE_MESSAGES || hello->purpose == PEER_PURPOSE_SNAPSHOT)
        judge_member(incoming, hello, ret);
    else
        REFUSE(ret, "a connection for purpose %u is not known here", hello->purpose);
}

/* ---- the answer -------------------------------------------------------------------------- */

static void welcome(struct peer_incoming *incoming, const struct peer_hello *hello,
                    const struct verdict *verdict)
{
    const struct peer_directory *us = incoming->conn.loop->directory;
    struct peer_welcome out = {.outcome = verdict->outcome,
                               .version = hello->version_max < PEER_VERSION_MAX ? hello->version_max
                                                                                : PEER_VERSION_MAX};
    struct rk_buf buf = {0};
    if (us) {
        out.cluster_id = us->content.cluster_id;
        out.id = us->content.self_id;
        out.incarnation = us->content.incarnation;
    }
    snprintf(out.text, sizeof(out.text), "%s", verdict->why);
    peer_welcome_encode(&buf, &out);
    peer_conn_write(&incoming->conn, &buf);
    rk_buf_deinit(&buf);
}

static bool refuse(struct peer_incoming *incoming, const struct peer_hello *hello,
                   const struct verdict *verdict)
{
    struct peer_loop *loop = incoming->conn.loop;
    if (peer_seen_refusal(loop->net, hello->id, verdict->why, net_loop_now_us(loop->loop)))
        RK_LOG(RK_LOG_WARNING, "peer",
               RK_FIELDS(RK_F_STR("ADDRESS", net_conn_peer_text(incoming->conn.net)),
                         RK_F_ID("MEMBER", hello->id), RK_F_STR("NAME", hello->name),
                         RK_F_STR("CERTIFICATE", net_conn_peer_subject(incoming->conn.net)),
                         RK_F_STR("REASON", verdict->why)),
               "refused a peer connection");
    welcome(incoming, hello, verdict);
    peer_incoming_end(incoming, true, verdict->why);
    return false;
}

/* The newest connection counts: an older one of the same peer is a half-dead leftover more often than not. */
static void replace_older(struct peer_incoming *incoming)
{
    struct peer_loop *loop = incoming->conn.loop;
    struct peer_net *net = loop->net;
    uint64_t old = peer_seen_enter(net, incoming->peer, incoming->token);
    if (old == 0)
        return;
    struct peer_replaced_mail *mail = RK_NEW(struct peer_replaced_mail);
    mail->mail.kind = peer_mail_kind(net, PEER_MAIL_REPLACED);
    mail->token = old;
    struct peer_loop *where = &net->loops[old % net->config.loop_count];
    if (where == loop)
        peer_accept_replaced(loop, mail);
    else if (!rk_mailbox_push_always(peer_loop_box(where), &mail->mail))
        free(mail);
}

void peer_accept_replaced(struct peer_loop *loop, struct peer_replaced_mail *mail)
{
    struct peer_incoming *older = rk_map_get(&loop->incoming, mail->token);
    free(mail);
    if (older)
        peer_incoming_end(older, false, "a newer connection of the same member has replaced this one");
}

static bool on_hello(struct peer_incoming *incoming, const struct peer_frame *frame)
{
    struct peer_hello hello;
    struct verdict verdict;
    if (frame->type != PEER_FRAME_HELLO || peer_hello_decode(frame->body, &hello) < 0)
        return peer_conn_violated(&incoming->conn, "it did not begin with a HELLO");
    judge(incoming, &hello, &verdict);
    if (verdict.outcome != PEER_WELCOME_OK)
        return refuse(incoming, &hello, &verdict);
    incoming->purpose = hello.purpose;
    incoming->peer = verdict.peer;
    welcome(incoming, &hello, &verdict);
    peer_conn_establish(&incoming->conn);
    if (incoming->purpose == PEER_PURPOSE_MESSAGES)
        replace_older(incoming);
    return true;
}

/* ---- messages ------------------------------------------------------------------------------ */

static bool on_messages(struct peer_incoming *incoming, const struct peer_frame *frame)
{
    size_t count = 0;
    uint64_t us = incoming->conn.loop->directory->content.self_id;
    if (frame->type != PEER_FRAME_MESSAGES ||
        peer_messages_decode(frame->body, incoming->peer, us, &incoming->messages, &count) < 0)
        return peer_conn_violated(&incoming->conn, "it sent a frame that cannot be read");
    incoming->message_count += count;
    return true;
}

/* The node takes all or none. Raft repeats itself; who called is told. */
static bool hand_over(struct peer_conn *conn)
{
    struct peer_incoming *incoming = RK_CONTAINER_OF(conn, struct peer_incoming, conn);
    const struct node_inlet *inlet = &conn->loop->net->config.inlet;
    size_t count = incoming->message_count;
    struct rk_list *link;
    incoming->message_count = 0;
    if (count == 0 || inlet->receive(inlet->userdata, &incoming->messages, count))
        return true;
    while ((link = rk_list_pop_front(&incoming->messages)))
        peer_call_refuse(conn->loop, RK_LIST_ITEM(link, struct node_message, mail.link),
                         "the member is overloaded or stopping");
    return true;
}

/* ---- a connection's life ----------------------------------------------------------------------- */

static bool on_frame(struct peer_conn *conn, const struct peer_frame *frame)
{
    struct peer_incoming *incoming = RK_CONTAINER_OF(conn, struct peer_incoming, conn);
    switch (incoming->purpose) {
    case PEER_PURPOSE_MESSAGES:
        return on_messages(incoming, frame);
    case PEER_PURPOSE_SNAPSHOT:
        return peer_download_frame(incoming, frame);
    case PEER_PURPOSE_CALL:
        return peer_call_frame(incoming, frame);
    default:
        return on_hello(incoming, frame);
    }
}

static void on_late(struct peer_conn *conn)
{
    (void)peer_conn_violated(conn, "it did not say HELLO in time");
}

void peer_incoming_end(struct peer_incoming *incoming, bool flush, const char *why)
{
    struct peer_loop *loop = incoming->conn.loop;
    peer_conn_end(&incoming->conn, flush, why);
    rk_map_remove(&loop->incoming, incoming->token);
    if (incoming->purpose == PEER_PURPOSE_MESSAGES)
        peer_seen_leave(loop->net, incoming->peer, incoming->token);
    peer_download_broken(incoming);
    peer_messages_free(&incoming->messages);
    free(incoming);
}

/* That a member's connection broke shows in the log of who made it. */
static void on_closed(struct peer_conn *conn, const char *why)
{
    struct peer_incoming *incoming = RK_CONTAINER_OF(conn, struct peer_incoming, conn);
    RK_LOG(RK_LOG_DEBUG, "peer", RK_FIELDS(RK_F_ID("MEMBER", incoming->peer), RK_F_STR("REASON", why)),
           "a peer connection ended");
    peer_incoming_end(incoming, false, why);
}

static const struct peer_conn_ops conn_ops = {
    .frame = on_frame, .batch_end = hand_over, .late = on_late, .closed = on_closed};

void peer_accept(struct peer_loop *loop, struct net_conn *conn)
{
    struct peer_incoming *incoming = RK_NEW(struct peer_incoming);
    /* Never 0, and its remainder says which loop. */
    incoming->token = ++loop->next_token * loop->net->config.loop_count + loop->index;
    rk_list_init(&incoming->messages);
    peer_conn_init(&incoming->conn, loop, &conn_ops);
    peer_conn_attach(&incoming->conn, conn);
    rk_map_put(&loop->incoming, incoming->token, incoming);
    if (loop->stopped)
        peer_incoming_end(incoming, false, "this host is stopping");
    else
        peer_conn_expect_hello(&incoming->conn);
}

/* ---- all of them ---------------------------------------------------------------------------------- */

/* Ends those that unwanted() names; the map must not change during a walk, so each walk ends one. */
static void end_some(struct peer_loop *loop, bool (*unwanted)(const struct peer_incoming *incoming),
                     const char *why)
{
    struct peer_incoming *found;
    do {
        struct rk_map_slot *slot;
        size_t cursor = 0;
        found = NULL;
        while (!found && (slot = rk_map_next(&loop->incoming, &cursor)))
            found = unwanted(slot->value) ? slot->value : NULL;
        if (found)
            peer_incoming_end(found, false, why);
    } while (found);
}

static bool is_any(const struct peer_incoming *incoming RK_UNUSED)
{
    return true;
}

static bool is_members(const struct peer_incoming *incoming)
{
    return incoming->purpose == PEER_PURPOSE_MESSAGES || incoming->purpose == PEER_PURPOSE_SNAPSHOT;
}

static bool is_no_member(const struct peer_incoming *incoming)
{
    return is_members(incoming) && !peer_directory_find(incoming->conn.loop->directory, incoming->peer);
}

void peer_accept_update(struct peer_loop *loop)
{
    end_some(loop, is_no_member, "it is no member any more");
}

void peer_accept_close(struct peer_loop *loop, bool with_calls)
{
    end_some(loop, with_calls ? is_any : is_members, with_calls ? "this host is stopping" : "a new identity");
}
