/* lib/node/node.h - a host's life: raft outputs become writes, sends, applies and answers. The client's face.
 *
 * A node runs four threads: raft (the cores of all groups, what is pending), log
 * (the log environment: one flush for everything that waits), apply (the rows:
 * applying, reading, snapshots) and checkpoint. They talk by mail only; each has a
 * run-once body.
 *
 * Requests are calls. Whoever makes a call fills it in, submits it, and gets the
 * same object back in its own mailbox with the answer in it: exactly once, whatever
 * happens, at the deadline at the latest (a few milliseconds of slack). */
#ifndef NODE_H
#define NODE_H

#include "lib/base/rk_beat.h"
#include "lib/base/rk_blob.h"
#include "lib/base/rk_clock.h"
#include "lib/base/rk_heap.h"
#include "lib/base/rk_mailbox.h"
#include "lib/mvcc/mvcc.h"
#include "lib/node/node_members.h"
#include "lib/node/node_transport.h"

struct node;

/* ---- calls ------------------------------------------------------------------ */

enum node_call_kind {                       /* part of the peer protocol: never renumber */
                      NODE_CALL_WRITE = 1,  /* body: an mvcc command; answer: an mvcc answer */
                      NODE_CALL_READ,       /* body: an mvcc query; answer: an mvcc result; level */
                      NODE_CALL_MEMBER_ADD, /* body: one encoded member; answer: cluster id and members. Adds
                                               a learner. */
                      NODE_CALL_MEMBER_REMOVE,  /* body: id (u64) or name */
                      NODE_CALL_MEMBER_PROMOTE, /* body: id (u64) or name */
                      NODE_CALL_TRANSFER, /* body: id or name, or empty for the best voter; answer: the new
                                             leader's id (u64) */
                      NODE_CALL_INVITE,   /* body: u8 whether to stay a learner, then the address to join;
                                             carried out by the invited host */
                      NODE_CALL_MEMBER_UPDATE, /* body: one encoded member; changes its name and addresses,
                                                  never its role */
                      NODE_CALL_MEMBERS, /* answer: cluster id and members, as this very host knows them */
                      NODE_CALL_MEMBER_REPLACE,   /* body: see node_replace_encode() */
                      NODE_CALL_MEMBER_DEMOTE,    /* body: id or name */
                      NODE_CALL_MEMBER_PRIORITY,  /* body: u8 priority, then id or name */
                      NODE_CALL_MEMBER_ABORT,     /* gives up what is under way: a replacement, or its joint
                                                     configuration if that is not committed */
                      NODE_CALL_ROWS_WANTED = 40, /* a member to its leader: stream me a snapshot, whatever
                                                     my log holds */
                      NODE_CALL_DIGEST,  /* the leader to a member: index, digest (u64 each); answer: its own
                                            digest at that index; BUSY: not applied yet */
                      NODE_CALL_LAST,    /* a member to its leader; answer: term, last index (u64 each) */
                      NODE_CALL_FIRST,   /* an initial member at its first start to another; body: u64 life;
                                            answer: u8, whether that one is new, too */
                      NODE_CALL_CONDEMN, /* the leader to a member: index, digest of the majority */
                      /* Not forwarded, so not on the wire: */
                      NODE_CALL_STATUS = 100, /* answer: struct node_status in call->status */
                      NODE_CALL_JOIN,         /* body: address; discard */
                      NODE_CALL_LEAVE,
                      NODE_CALL_SNAPSHOT,       /* flush the rows and cut the log now; answer: index (u64) */
                      NODE_CALL_SNAPSHOT_READ,  /* answer: call->stream, owned by the caller from then on */
                      NODE_CALL_INVITE_ADDRESS, /* body: address of a pristine host that shall join us */
};

enum node_read_level {
    NODE_READ_CONSISTENT = 0, /* linearizable: a quorum has confirmed the leader after the read came in */
    NODE_READ_LEADER,         /* the leader's own state, without asking a quorum */
    NODE_READ_STALE,          /* this host's state */
};

enum node_outcome { /* part of the peer protocol: never renumber */
                    NODE_OK = 0,
                    NODE_E_BUSY = 1,    /* a bound is reached; try again later */
                    NODE_E_NO_LEADER,   /* nothing was done; try again */
                    NODE_E_NOT_LEADER,  /* asked not to forward: call->leader says who leads */
                    NODE_E_TIMEOUT,     /* it may or may not have happened */
                    NODE_E_NO_SPACE,    /* the disk is (nearly) full; nothing was done */
                    NODE_E_BAD_REQUEST, /* text says why */
                    NODE_E_CONFLICT,    /* text says why */
                    NODE_E_NOT_FOUND,   /* no such member */
                    NODE_E_UNAVAILABLE, /* stopping, joining or not a member; text says why. Nothing was done.
                                         */
                    NODE_E_UNREACHABLE = NODE_OUTCOME_UNREACHABLE, /* an address could not be reached; text */
};

#define NODE_TEXT_BYTES 256

struct node_status;

struct node_call {
    struct rk_mail mail; /* kind: NODE_MAIL_CALL on the way in, reply_kind on the way back */
    enum node_call_kind kind;
    uint32_t group;
    enum node_read_level level;
    bool no_forward;      /* answer NODE_E_NOT_LEADER instead of forwarding */
    bool discard;         /* JOIN: give up the keys of this host */
    bool learner;         /* JOIN, INVITE_ADDRESS: do not promote it by itself */
    uint64_t deadline_us; /* 0: the node's default */
    struct rk_blob *body;
    struct rk_mailbox *reply_to;
    uint32_t reply_kind;
    void (*done)(struct node_call *call); /* for the owner's convenience; the node does not call it */
    void *userdata;

    /* the answer */
    enum node_outcome outcome;
    struct rk_blob *answer;
    char text[NODE_TEXT_BYTES];
    uint64_t leader;            /* the leader's id when known */
    struct node_status *status; /* STATUS: heap; freed by node_call_free() */
    struct node_stream *stream; /* SNAPSHOT_READ */

    /* the node's own */
    struct {
        struct rk_list link;
        struct rk_heap_item timer;
        uint64_t id, index, term, peer, token;
        uint32_t stage;
    } priv;
};

struct node_call *node_call_new(enum node_call_kind kind, struct rk_mailbox *reply_to, uint32_t reply_kind);
void node_call_free(struct node_call *call); /* NULL is fine */
/* Any thread. Gives the call away; it comes back through reply_to even when it is refused at once. */
void node_submit(struct node *node, struct node_call *call);

/* Makes the body of a WRITE (origin filled in) or of a READ. */
struct rk_blob *node_write_body(struct node *node, const struct mvcc_op *ops, uint32_t count);
/* Of a WRITE with its number in a client session, and of a WRITE that opens or ends one. */
struct rk_blob *node_numbered_body(struct node *node, const struct mvcc_number *number,
                                   const struct mvcc_op *ops, uint32_t count);
struct rk_blob *node_session_body(struct node *node, enum mvcc_session_change change, uint64_t session,
                                  uint32_t ms);

/* Makes the body of a MEMBER_REPLACE: each name or id of a voter with that of the learner which takes its
 * place. All happen in one step, once all those learners have caught up. */
struct rk_blob *node_replace_encode(const struct rk_slice (*pairs)[2], uint32_t count);

/* ---- status ------------------------------------------------------------------ */

enum node_join_state {
    NODE_JOIN_NONE = 0,
    NODE_JOIN_CONTACTING,
    NODE_JOIN_WIPING,
    NODE_JOIN_CATCHING_UP,
    NODE_JOIN_DONE,
    NODE_JOIN_FAILED,
};
const char *node_join_state_name(enum node_join_state state);

struct node_peer_row {
    uint64_t id, match, active_ms; /* active_ms: since it was last heard; UINT64_MAX: never */
    enum raft_peer_mode mode;
};

struct node_status {
    uint64_t cluster_id;
    uint64_t incarnation;
    bool removed;
    struct raft_status raft;
    struct node_members members;                /* in force */
    struct node_peer_row peers[RK_MEMBERS_MAX]; /* leader only */
    uint32_t peer_count;
    uint64_t applied, revision, keys;
    uint32_t sessions; /* of clients */
    uint64_t data_bytes, free_bytes;
    bool low_space;
    bool repairing;                    /* the log comes from the leader; no vote until it is whole */
    bool first_start, first_refused;   /* no vote: waits for all initial members; the cluster has a history */
    bool rebuilding;                   /* the rows come from a peer */
    char rebuild_why[NODE_TEXT_BYTES]; /* "" when they do not */
    struct {
        bool corrupt;
        char text[NODE_TEXT_BYTES]; /* when corrupt */
        /* At the leader: answers of members that were compared with ours, those that could not be, rounds in
         * which some differed, and the entry at which all were last found equal. */
        uint64_t compared, not_compared, mismatches, equal_index;
        uint64_t scrubs; /* times that all rows of this host were read and added up */
    } check;
    uint64_t uptime_us;
    uint64_t flushes, entries_flushed, flush_us_max;
    enum node_join_state join_state;
    char join_text[NODE_TEXT_BYTES];
    char name[RK_NAME_BYTES_MAX + 1];
};

/* ---- a node -------------------------------------------------------------------- */

struct node_config {
    const char *name;
    const char *peer_address; /* what other members connect to; "" when there is no peer port */
    const char *client_url;   /* for redirects and lists; "" when there is no client port */
    const char *machine;      /* opaque id of this machine, or "" */
    bool rebuild_rows;        /* do not believe the rows that are there: get them from a peer */
    bool adopt_machine;       /* the data directory was moved to this machine on purpose */
    const char *data_directory;
    /* "name=address" each; empty: a cluster of one at once. Used only when the data directory is pristine. */
    char *const *initial_members;
    uint32_t initial_member_count;
    const char *initial_cluster_name;
    uint32_t election_timeout_ms, heartbeat_ms;
    uint32_t log_keep_entries, snapshot_entries;
    uint64_t snapshot_bytes;
    uint64_t snapshot_interval_us;
    uint32_t snapshots_at_once; /* to peers */
    uint64_t log_retain_bytes;  /* a cut waits for members that lag until the log has so many */
    uint32_t promote_lag_entries;
    uint64_t replace_timeout_ms; /* a replacement that is not done by then is given up */
    bool lease_reads;            /* see lib/raft/raft_lease.c */
    uint32_t request_timeout_ms;
    uint64_t log_cache_bytes, rows_cache_bytes, checkpoint_bytes, reserve_bytes, low_space_bytes;
    struct rk_clock clock;
    /* No threads are made: a simulation calls the run-once bodies of node_internal.h, and nothing sleeps. */
    bool no_threads;
    /* The environment broke (disk): the node has stopped serving. Any thread; the daemon must exit. */
    void (*fatal)(void *userdata, const char *sentence);
    /* Role, term, leader or members changed: refresh STATUS=. raft thread. */
    void (*changed)(void *userdata);
    /* A long recovery goes on (0..100). The thread that called node_open(). */
    void (*progress)(void *userdata, const char *what, unsigned percent);
    void *userdata;
};

/* Opens the data directory, recovers, and makes the cluster of one when it is pristine. No thread runs yet.
 * STORE_E_REFUSED with a sentence in *ret_error (heap), or -errno with one. */
int node_open(const struct node_config *config, struct node **ret, char **ret_error) RK_MUST_CHECK;
/* Starts the threads. transport must outlive them. */
int node_start(struct node *node, const struct node_transport *transport) RK_MUST_CHECK;
struct node_inlet node_inlet(struct node *node);
/* Hands leadership over, answers or fails what is pending, flushes, stops the threads. At most timeout_ms. */
void node_stop(struct node *node, uint32_t timeout_ms);
/* Any thread may still have calls in flight to it until here; they have been answered by node_stop(). */
void node_close(struct node *node);
/* Beats of the node's threads, for the watchdog; the array is the node's. */
size_t node_beats(struct node *node, struct rk_beat ***ret);
/* A short text of role, term and commit for STATUS=; any thread. */
void node_summary(struct node *node, char *ret, size_t size);
/* Whether the node follows a leader or leads, and applies: for /health. Any thread, no waiting. */
bool node_healthy(struct node *node, const char **ret_reason);

#endif
