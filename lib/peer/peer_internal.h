/* lib/peer/peer_internal.h - what the files of lib/peer share: loops, connections, and who dials whom.
 *
 *   struct peer_net        the whole; any thread, what changes in it is under its mutex
 *   struct peer_loop       one per worker; all below belongs to its thread
 *     struct peer_conn     frames over a net_conn; the base of the next two
 *     struct peer_dial     a connection that we made: HELLO out, WELCOME in
 *       struct peer_link     ... for messages to one member, made again when it breaks
 *       struct peer_upload   ... for one snapshot that we send
 *       struct peer_oneshot  ... for one call to an address
 *     struct peer_incoming a connection that somebody made to us, whatever its purpose
 *
 * A callback of peer_conn returns false when it has ended the connection: nothing
 * of it may be touched afterwards, as its owner may be gone as well. */
#ifndef PEER_INTERNAL_H
#define PEER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/base/rk_log.h"
#include "lib/base/rk_map.h"
#include "lib/base/rk_random.h"
#include "lib/peer/peer.h"
#include "lib/peer/peer_codec.h"

#define PEER_WHY_BYTES  512u
#define PEER_CHUNKS_OUT 2u /* chunks of a snapshot on their way at once */

enum peer_mail_kind {                         /* relative to peer_config.mail_kind_base */
                      PEER_MAIL_DIRECTORY,    /* struct peer_directory_mail */
                      PEER_MAIL_SEND,         /* struct peer_send_mail */
                      PEER_MAIL_ONESHOT,      /* struct peer_oneshot, to be dialled */
                      PEER_MAIL_STREAM_START, /* struct node_stream, new */
                      PEER_MAIL_STREAM,       /* struct node_stream, back with a chunk */
                      PEER_MAIL_OFFER,        /* struct peer_offer_mail, answered */
                      PEER_MAIL_CHUNK,        /* struct peer_chunk_mail, taken */
                      PEER_MAIL_REPLACED, /* struct peer_replaced_mail: a newer connection stands on another
                                             loop */
                      PEER_MAIL_KINDS,
};

/* ---- directory --------------------------------------------------------------- */

/* Immutable once made; every loop holds the one that it works by. */
struct peer_directory {
    atomic_uint refs;
    struct node_directory content;
};

struct peer_directory *peer_directory_ref(struct peer_directory *directory);
void peer_directory_unref(struct peer_directory *directory); /* NULL is fine */
const struct node_peer *peer_directory_find(const struct peer_directory *directory, uint64_t id); /* NULL */
bool peer_directory_removed(const struct peer_directory *directory, uint64_t id);
/* We are a member of something: there is anybody to talk to. */
bool peer_directory_joined(const struct peer_directory *directory);

/* ---- the whole ------------------------------------------------------------------ */

struct peer_timing { /* constants in a daemon; tests shorten them */
    uint32_t hello_ms, keepalive_ms, silence_ms, backoff_min_ms, backoff_max_ms, oneshot_ms, upload_stall_ms;
};

struct peer_refusal { /* lately logged */
    uint64_t key, at_us;
};
#define PEER_REFUSALS 64u

struct peer_net {
    struct peer_config config;
    uint32_t *open_call_kinds; /* our copy */
    struct peer_timing timing;
    struct peer_loop *loops;
    atomic_uint next_loop; /* for work that belongs to no peer */

    pthread_mutex_t mutex;
    struct rk_map seen; /* member id -> struct peer_seen; only verified members enter */
    struct peer_refusal refusals[PEER_REFUSALS];
    size_t next_refusal;
};

struct peer_loop {
    struct peer_net *net;
    size_t index;
    struct net_loop *loop;
    struct peer_directory *directory;
    struct rk_map links;     /* member id -> struct peer_link */
    struct rk_list dirty;    /* of peer_link.dirty_link: messages wait in their batch */
    struct rk_map incoming;  /* token -> struct peer_incoming */
    struct rk_list uploads;  /* of peer_upload.link */
    struct rk_list oneshots; /* of peer_oneshot.mail.link */
    struct rk_list orphans;  /* of peer_orphan: connections that only have to flush and end */
    uint64_t next_token;
    struct rk_random random;
    bool stopped; /* shut down: nothing begins any more */
};

struct rk_mailbox *peer_loop_box(struct peer_loop *loop);
uint32_t peer_mail_kind(const struct peer_net *net, enum peer_mail_kind kind);
struct peer_loop *peer_loop_of(struct peer_net *net, uint64_t id); /* stable */
void peer_net_set_timing(struct peer_net *net,
                         const struct peer_timing *timing); /* for tests, at once after new */

/* ---- peer_seen.c: what is known of members, whatever the loop; any thread ------------ */

struct peer_seen {
    uint64_t incarnation; /* the highest that it has shown */
    uint64_t token;       /* its connection for messages to us; 0: none */
    bool up;              /* ours to it */
};

/* False: it has shown a higher one before. */
bool peer_seen_incarnation(struct peer_net *net, uint64_t id, uint64_t incarnation);
/* Enters the member's newest connection and returns the token of the one that it replaces, or 0. */
uint64_t peer_seen_enter(struct peer_net *net, uint64_t id, uint64_t token);
void peer_seen_leave(struct peer_net *net, uint64_t id, uint64_t token);
void peer_seen_set_up(struct peer_net *net, uint64_t id, bool up);
/* Whether this refusal is news: the same one is worth a line once in ten minutes. */
bool peer_seen_refusal(struct peer_net *net, uint64_t id, const char *why, uint64_t now_us);
void peer_seen_deinit(struct peer_net *net);

/* ---- peer_conn.c: frames over a connection --------------------------------------------- */

struct peer_conn;
struct peer_conn_ops {
    void (*ready)(struct peer_conn *conn);                                 /* may be NULL */
    bool (*frame)(struct peer_conn *conn, const struct peer_frame *frame); /* no KEEPALIVE once established */
    bool (*batch_end)(struct peer_conn *conn); /* all frames that had come are handled; may be NULL */
    void (*late)(struct peer_conn *conn);      /* not established in time */
    void (*closed)(struct peer_conn *conn, const char *why); /* it ended by itself; conn->net is NULL */
};

struct peer_conn {
    struct peer_loop *loop;
    struct net_conn *net; /* NULL: none */
    const struct peer_conn_ops *ops;
    struct net_timer timer;
    struct rk_buf in; /* a frame that has begun */
    bool established; /* the handshake is done */
};

void peer_conn_init(struct peer_conn *conn, struct peer_loop *loop, const struct peer_conn_ops *ops);
void peer_conn_attach(struct peer_conn *conn, struct net_conn *net); /* accepted */
void peer_conn_dial(struct peer_conn *conn, const char *address);
/* Ends it, if there is one; no callback comes any more. */
void peer_conn_end(struct peer_conn *conn, bool flush, const char *why);
/* The other side broke the protocol: ends it the way a broken connection ends, with closed(). Returns false.
 */
bool peer_conn_violated(struct peer_conn *conn, const char *what);
void peer_orphans_close(struct peer_loop *loop);                     /* without waiting for their flush */
void peer_conn_write(struct peer_conn *conn, struct rk_buf *frames); /* empties frames */
void peer_conn_expect_hello(struct peer_conn *conn); /* late() comes unless it is established in time */
/* From now on large frames may come, and both sides are to give signs of life. */
void peer_conn_establish(struct peer_conn *conn);

/* ---- peer_dial.c: the side that connects ------------------------------------------------- */

enum peer_end {
    PEER_END_LOST,    /* unreachable, broken, silent */
    PEER_END_REFUSED, /* somebody answered, and it is not to be */
    PEER_END_REMOVED,
};

struct peer_dial;
struct peer_dial_ops {
    void (*up)(struct peer_dial *dial);                                       /* must not end it */
    bool (*frame)(struct peer_dial *dial, const struct peer_frame *frame);    /* after up */
    void (*down)(struct peer_dial *dial, enum peer_end end, const char *why); /* at any time; the last call */
};

struct peer_dial {
    struct peer_conn conn;
    const struct peer_dial_ops *ops;
    enum peer_purpose purpose;
    uint64_t target;
};

/* Why nothing can be dialled, or NULL. */
const char *peer_dial_obstacle(const struct peer_loop *loop);
void peer_dial_start(struct peer_dial *dial, struct peer_loop *loop, const struct peer_dial_ops *ops,
                     enum peer_purpose purpose, uint64_t target, const char *address);
void peer_dial_end(struct peer_dial *dial, bool flush); /* harmless when not running; no callback comes */

/* ---- peer_link.c ------------------------------------------------------------------------- */

void peer_links_update(struct peer_loop *loop);  /* after the directory changed */
void peer_links_restart(struct peer_loop *loop); /* our identity changed */
void peer_links_close(struct peer_loop *loop);
struct peer_send_mail {
    struct rk_mail mail;
    struct rk_list messages;
};
void peer_links_send(struct peer_loop *loop, struct rk_list *messages); /* emptied */

/* ---- peer_accept.c -------------------------------------------------------------------------- */

struct peer_incoming {
    struct peer_conn conn;
    uint64_t token;          /* names it among all loops */
    uint64_t peer;           /* verified; 0: not a member */
    uint8_t purpose;         /* 0: no HELLO yet */
    struct rk_list messages; /* of this data(), to be handed over */
    size_t message_count;
    bool called; /* CALL: it has made its call */
    struct {     /* SNAPSHOT */
        bool offered, accepted, last, over;
        uint64_t stream_id, offset;
        uint32_t unacked;
    } snapshot;
};

void peer_accept(struct peer_loop *loop, struct net_conn *conn);
void peer_incoming_end(struct peer_incoming *incoming, bool flush, const char *why); /* frees it */
void peer_accept_update(struct peer_loop *loop); /* closes connections of those who are no members any more */
/* Closes all that rest on who we are; with calls, every one. */
void peer_accept_close(struct peer_loop *loop, bool with_calls);
struct peer_replaced_mail {
    struct rk_mail mail;
    uint64_t token;
};
void peer_accept_replaced(struct peer_loop *loop, struct peer_replaced_mail *mail);

/* ---- peer_call.c ------------------------------------------------------------------------------ */

struct peer_oneshot {
    struct rk_mail mail; /* its link is in peer_loop.oneshots while it runs */
    struct peer_dial dial;
    char address[RK_ADDRESS_BYTES_MAX + 1];
    struct node_message *call;
    struct net_timer deadline;
    bool sent;
};
void peer_oneshot_start(struct peer_loop *loop, struct peer_oneshot *oneshot);
void peer_oneshots_close(struct peer_loop *loop);
/* The answer that the transport itself gives: the call was not delivered. Frees call. Any thread. */
void peer_call_unreachable(struct peer_net *net, struct node_message *call, const char *why);
/* As the callee: refuses a call that came in. Takes call. Loop's thread. */
void peer_call_refuse(struct peer_loop *loop, struct node_message *call, const char *why);
/* A reply for the connection that its token names, if it still stands. Takes reply. */
void peer_call_reply(struct peer_loop *loop, struct node_message *reply);
bool peer_call_frame(struct peer_incoming *incoming, const struct peer_frame *frame);
void peer_messages_free(struct rk_list *messages);

/* ---- peer_snapshot.c: out; peer_snapshot_in.c: in ---------------------------------------------- */

void peer_upload_start(struct peer_loop *loop, struct node_stream *stream);
void peer_upload_stream(struct peer_loop *loop, struct node_stream *stream); /* back with a chunk */
void peer_uploads_close(struct peer_loop *loop, const char *why);
void peer_uploads_free(struct peer_loop *loop);   /* after the close: those whose stream has not come back */
void peer_uploads_update(struct peer_loop *loop); /* stops those to hosts that are no members any more */
void peer_stream_cancel(struct node_stream *stream); /* ours to end; takes it */

struct peer_offer_mail {
    struct node_offer offer; /* first: whoever frees the one frees the other */
    uint64_t token;
};
struct peer_chunk_mail {
    struct node_chunk chunk; /* likewise */
    uint64_t token;          /* 0: an abort, nobody waits */
};
bool peer_download_frame(struct peer_incoming *incoming, const struct peer_frame *frame);
void peer_download_broken(struct peer_incoming *incoming); /* tells the node, if a stream was under way */
void peer_download_answer(struct peer_loop *loop, struct peer_offer_mail *mail);
void peer_download_taken(struct peer_loop *loop, struct peer_chunk_mail *mail);

#endif
