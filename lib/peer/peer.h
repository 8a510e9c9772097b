/* lib/peer/peer.h - the peer protocol: how members of a cluster talk to each other, over mutual TLS.
 *
 * Each host opens one connection to each other member and sends its messages over
 * it; it hears the other's over the one that the other opened. A connection begins
 * with HELLO and WELCOME: protocol version, purpose, cluster id, who I am, whom I
 * mean to reach, incarnation; anything that does not fit is refused with a sentence
 * that reaches the log of both. Purposes:
 *   messages   raft messages, calls and replies of all groups, batched
 *   snapshot   one snapshot stream, so that bulk data never delays a heartbeat
 *   call       one call and its reply, for hosts that are not members (join, invite)
 * peer_codec.c explains the bytes.
 *
 * Identity: the certificate must come from the peer CA (checked by TLS), and one of
 * its names must be the member's name, the host of the member's address, or the URI
 * "raftkv:member:NAME". */
#ifndef PEER_H
#define PEER_H

#include "lib/net/net.h"
#include "lib/node/node_transport.h"

struct peer_net;

struct peer_config {
    struct net_loop **loops; /* the workers; links are spread over them */
    size_t loop_count;
    uint32_t mail_kind_base; /* our mails in the loops' mailboxes have kinds mail_kind_base .. + 15 */
    struct net_resolver *resolver;
    struct net_tls *tls_client; /* NET_TLS_PEER_CLIENT; NULL: no certificates, so no peers can be reached */
    uint32_t connect_timeout_ms;
    uint64_t upload_bytes_per_s; /* of each snapshot on its way out; 0: no bound */
    /* Call kinds that a host that is not a member may make (purpose "call"). */
    const uint32_t *open_call_kinds;
    size_t open_call_kind_count;
    struct node_inlet inlet;
};

int peer_net_new(const struct peer_config *config, struct peer_net **ret) RK_MUST_CHECK;
/* After net_loop_free() of all its loops, which delivers the last mails. */
void peer_net_free(struct peer_net *net);
/* The face for the node. */
struct node_transport peer_net_transport(struct peer_net *net);
/* Gives a connection that a peer listener accepted (handshake done) on loop loop_index to the peer protocol.
 */
void peer_net_accept(struct peer_net *net, size_t loop_index, struct net_conn *conn);
/* The mail handler of loop loop_index calls this for kinds of ours; returns false when the mail is not ours.
 */
bool peer_net_on_mail(struct peer_net *net, size_t loop_index, struct rk_mail *mail);
/* On each loop's own thread, before it stops for good: closes links and streams of that loop. Also needed
 * when a loop never ran: then on the thread that frees it. */
void peer_net_shutdown_loop(struct peer_net *net, size_t loop_index);

/* For status: whether the outgoing link to a member is up. Any thread. */
bool peer_net_link_up(struct peer_net *net, uint64_t peer);

#endif
