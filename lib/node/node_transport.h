/* lib/node/node_transport.h - what a node says to other hosts, and what it hears: data only, no sockets.
 *
 * lib/peer implements struct node_transport over TLS, a simulation over memory;
 * neither knows the node behind struct node_inlet. Messages may be lost, duplicated
 * and reordered; nothing waits for them. A write that comes twice is proposed twice
 * and applied once (lib/mvcc/mvcc_dedup.c), though when one copy is refused the other
 * may be applied still. Calls that change members are not known by an origin: a
 * transport may not repeat those. */
#ifndef NODE_TRANSPORT_H
#define NODE_TRANSPORT_H

#include "lib/base/rk_blob.h"
#include "lib/base/rk_buf.h"
#include "lib/base/rk_mailbox.h"
#include "lib/raft/raft.h"

enum node_message_kind {
    NODE_MSG_RAFT = 1,
    NODE_MSG_CALL,  /* a request for the receiver to carry out (or to refuse): see enum node_call_kind in
                       node.h */
    NODE_MSG_REPLY, /* its answer */
};

/* One message. Made by the sender's node (or the transport, when received); the transport (the node) frees
 * it. */
struct node_message {
    struct rk_mail mail; /* kind is the receiving mailbox's business */
    enum node_message_kind kind;
    uint64_t peer;  /* to whom; or from whom (verified by the handshake). 0: see token */
    uint64_t token; /* peer 0: the one-shot connection that it came from, and that the reply goes to */
    uint32_t group;
    /* RAFT: raft.from and raft.to are the peer and us. APPEND: raft.entries == entries, count of them, with
     * payloads[i] (NULL when empty); entries[i].members is NULL until the node has decoded it. */
    struct raft_message raft;
    struct raft_entry *entries;
    struct rk_blob **payloads;
    /* CALL and REPLY */
    uint64_t id;        /* chosen by the caller; the reply carries it */
    uint32_t call_kind; /* opaque to the transport */
    uint32_t
        outcome; /* REPLY: enum node_outcome of node.h, opaque to the transport; one value is reserved: */
#define NODE_OUTCOME_UNREACHABLE                                                                             \
    255u /* made by the transport: the call could not be delivered; body: a sentence */
    struct rk_blob
        *body; /* NULL when empty; at most RK_COMMAND_BYTES_MAX, a reply at most RK_REPLY_BYTES_MAX */
};

struct node_message *node_message_new(enum node_message_kind kind, uint64_t peer, uint32_t group);
/* Room for count entries and payloads in message->entries, ->payloads; sets raft.entries and raft.count. */
void node_message_alloc_entries(struct node_message *message, uint32_t count);
void node_message_free(struct node_message *message); /* drops the references; NULL is fine */

/* A peer as the transport needs to know it. */
struct node_peer {
    uint64_t id;
    char name[RK_NAME_BYTES_MAX + 1];
    char address[RK_ADDRESS_BYTES_MAX + 1]; /* host:port */
};

/* Who we are and whom we talk to. Replaced as a whole when membership changes. */
struct node_directory {
    uint64_t cluster_id, self_id, incarnation;
    char self_name[RK_NAME_BYTES_MAX + 1];
    uint32_t peer_count;
    struct node_peer peers[RK_MEMBERS_MAX]; /* without ourselves */
    uint32_t removed_count;
    uint64_t removed[RK_TOMBSTONES_MAX]; /* ids that were members once: told so, never served */
};

/* A snapshot on its way out: one object that goes to and fro between the thread that reads rows and the one
 * that writes to a socket. The consumer gets it (pushed to reply_to, mail.kind = reply_kind) with a chunk in
 * it, empties the chunk, and gives it back with node_stream_next() for more or with cancel set. done or
 * error: the last one; node_stream_free(). */
struct node_stream {
    struct rk_mail mail;
    struct rk_mailbox *reply_to;
    uint32_t reply_kind;
    void *userdata; /* the consumer's */
    uint64_t peer;  /* the member it is for; 0: a file */
    uint32_t group;
    uint64_t term;                        /* the sender's term when it began */
    uint64_t index, entry_term, revision; /* the entry that it stands at */
    struct rk_buf chunk;
    bool done, cancel;
    int error;                     /* negative errno */
    void *source;                  /* the producer's */
    struct rk_mailbox *source_box; /* where node_stream_next() sends it */
    uint32_t source_kind;
};
void node_stream_next(struct node_stream *stream); /* consumer's thread; gives it away */
/* The consumer's last act, after done or error; never with the source still open. NULL is fine. */
void node_stream_free(struct node_stream *stream);

/* A chunk of a snapshot on its way in. The transport pushes it through node_inlet.snapshot_chunk and gets it
 * back, on reply_to, when it was taken (credit) or when something is wrong (result != 0: end the stream). */
struct node_chunk {
    struct rk_mail mail;
    struct rk_mailbox *reply_to;
    uint32_t reply_kind;
    void *userdata;
    uint64_t stream_id; /* from node_inlet.snapshot_offer's answer */
    struct rk_buf bytes;
    bool last, abort; /* abort: the connection broke; forget what came */
    int result;       /* 0; 1: installed, the stream is over; negative errno: refused */
};

/* The offer of a snapshot by a leader; answered on reply_to. */
struct node_offer {
    struct rk_mail mail;
    struct rk_mailbox *reply_to;
    uint32_t reply_kind;
    void *userdata;
    uint64_t peer;
    uint32_t group;
    uint64_t term, index;
    bool accepted;      /* the answer */
    uint64_t stream_id; /* when accepted */
};

/* What the node may ask of the transport. Any thread, never blocks; each takes what it is given. */
struct node_transport {
    void *userdata;
    void (*send)(void *userdata, struct rk_list *messages); /* of struct node_message.mail.link; emptied */
    void (*set_directory)(void *userdata, const struct node_directory *directory); /* copied */
    /* A one-shot call to an address, member or not (join, invite). The reply, or NODE_OUTCOME_UNREACHABLE
     * with a sentence, arrives as a NODE_MSG_REPLY with this id and peer 0. */
    void (*call_address)(void *userdata, const char *address, struct node_message *call);
    /* Streams to stream->peer on a connection of its own; ends with node_inlet.snapshot_sent. */
    void (*send_snapshot)(void *userdata, struct node_stream *stream);
};

enum node_link_state {
    NODE_LINK_UP = 1,  /* handshake done, messages flow */
    NODE_LINK_DOWN,    /* lost, or never came up: calls sent over it will not be answered */
    NODE_LINK_REMOVED, /* the peer says that we were removed from the cluster */
};

/* What the transport tells the node. Any thread, never blocks. */
struct node_inlet {
    void *userdata;
    /* false: the node is overloaded or stopping; the messages are the caller's to free. */
    bool (*receive)(void *userdata, struct rk_list *messages, size_t count);
    void (*link_state)(void *userdata, uint64_t peer, enum node_link_state state, const char *why);
    void (*snapshot_offer)(void *userdata, struct node_offer *offer);
    void (*snapshot_chunk)(void *userdata, struct node_chunk *chunk);
    /* Our own stream to a peer has ended: ok when the peer has installed it. */
    void (*snapshot_sent)(void *userdata, uint64_t peer, uint32_t group, bool ok, uint64_t index);
};

#endif
