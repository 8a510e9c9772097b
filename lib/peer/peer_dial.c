/* lib/peer/peer_dial.c - the side that connects: HELLO out, WELCOME in. */
#include "lib/peer/peer_internal.h"

#include <inttypes.h>
#include <stdio.h>

const char *peer_dial_obstacle(const struct peer_loop *loop)
{
    if (!loop->net->config.tls_client)
        return "no peer certificate is configured: set peer.certificate, peer.key and peer.ca";
    return loop->stopped ? "this host is stopping" : NULL;
}

/* The owner may free the dial in down(). */
static bool fail(struct peer_dial *dial, enum peer_end end, const char *why)
{
    peer_conn_end(&dial->conn, false, why);
    dial->ops->down(dial, end, why);
    return false;
}

static void on_ready(struct peer_conn *conn)
{
    struct peer_dial *dial = RK_CONTAINER_OF(conn, struct peer_dial, conn);
    struct peer_hello hello = {.version_min = PEER_VERSION_MIN,
                               .version_max = PEER_VERSION_MAX,
                               .purpose = (uint8_t)dial->purpose,
                               .target = dial->target};
    struct rk_buf buf = {0};
    if (conn->loop->directory) {
        const struct node_directory *us = &conn->loop->directory->content;
        hello.cluster_id = us->cluster_id;
        hello.id = us->self_id;
        hello.incarnation = us->incarnation;
        snprintf(hello.name, sizeof(hello.name), "%s", us->self_name);
    }
    peer_hello_encode(&buf, &hello);
    peer_conn_write(conn, &buf);
    rk_buf_deinit(&buf);
    peer_conn_expect_hello(conn);
}

/* Whether the one who answered is the one whom we meant. Not asked for one-shot calls, which mean an address.
 */
static bool is_target(struct peer_dial *dial, const struct peer_welcome *welcome,
                      char why[static PEER_WHY_BYTES])
{
    const struct peer_directory *us = dial->conn.loop->directory;
    if (dial->purpose == PEER_PURPOSE_CALL)
        return true;
    if (!us || welcome->cluster_id != us->content.cluster_id) {
        snprintf(why, PEER_WHY_BYTES, "the host at this address belongs to the cluster %016" PRIx64,
                 welcome->cluster_id);
        return false;
    }
    if (welcome->id != dial->target) {
        snprintf(why, PEER_WHY_BYTES, "the host at this address is the member %016" PRIx64, welcome->id);
        return false;
    }
    return true;
}

static bool accepted(struct peer_dial *dial, const struct peer_welcome *welcome)
{
    struct peer_conn *conn = &dial->conn;
    char why[PEER_WHY_BYTES];
    if (welcome->version < PEER_VERSION_MIN || welcome->version > PEER_VERSION_MAX)
        return fail(dial, PEER_END_REFUSED, "it chose a protocol version that was not offered");
    if (!is_target(dial, welcome, why))
        return fail(dial, PEER_END_REFUSED, why);
    if (dial->purpose != PEER_PURPOSE_CALL &&
        !peer_seen_incarnation(conn->loop->net, dial->target, welcome->incarnation))
        return fail(dial, PEER_END_REFUSED, "it is an older incarnation of this member than was seen before");
    peer_conn_establish(conn);
    dial->ops->up(dial);
    return true;
}

/* Only a member of our own cluster, the one whom we asked, can tell us that we were removed from it. */
static bool on_welcome(struct peer_dial *dial, const struct peer_frame *frame)
{
    struct peer_welcome welcome;
    char why[PEER_WHY_BYTES], other[PEER_WHY_BYTES];
    if (frame->type != PEER_FRAME_WELCOME || peer_welcome_decode(frame->body, &welcome) < 0)
        return fail(dial, PEER_END_REFUSED, "it does not speak the peer protocol");
    if (welcome.outcome == PEER_WELCOME_OK)
        return accepted(dial, &welcome);
    snprintf(why, sizeof(why), "it refused the connection: %s", welcome.text);
    bool removed = welcome.outcome == PEER_WELCOME_REMOVED && is_target(dial, &welcome, other);
    return fail(dial, removed ? PEER_END_REMOVED : PEER_END_REFUSED, why);
}

static bool on_frame(struct peer_conn *conn, const struct peer_frame *frame)
{
    struct peer_dial *dial = RK_CONTAINER_OF(conn, struct peer_dial, conn);
    return conn->established ? dial->ops->frame(dial, frame) : on_welcome(dial, frame);
}

static void on_late(struct peer_conn *conn)
{
    fail(RK_CONTAINER_OF(conn, struct peer_dial, conn), PEER_END_LOST, "it did not answer in time");
}

static void on_closed(struct peer_conn *conn, const char *why)
{
    fail(RK_CONTAINER_OF(conn, struct peer_dial, conn), PEER_END_LOST, why);
}

static const struct peer_conn_ops conn_ops = {
    .ready = on_ready, .frame = on_frame, .late = on_late, .closed = on_closed};

void peer_dial_start(struct peer_dial *dial, struct peer_loop *loop, const struct peer_dial_ops *ops,
                     enum peer_purpose purpose, uint64_t target, const char *address)
{
    *dial = (struct peer_dial){.ops = ops, .purpose = purpose, .target = target};
    peer_conn_init(&dial->conn, loop, &conn_ops);
    peer_conn_dial(&dial->conn, address);
}

void peer_dial_end(struct peer_dial *dial, bool flush)
{
    if (dial->conn.loop)
        peer_conn_end(&dial->conn, flush, "");
}
