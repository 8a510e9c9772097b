/* lib/raft/raft.h - the consensus core of one group: events in, outputs out.
 *
 * The core is pure and deterministic. It has no clock, I/O, threads, logging or
 * global state: time is a field of every event, randomness comes from a seed, and
 * equal events give equal outputs. Payloads never come in: the core sees of an
 * entry its index, term, kind and size, and of a MEMBERS entry who votes.
 *
 * The caller (lib/node, or a simulation) does what the output says, in this order:
 *   1. hand vote and entries to the disk (one flush for both);
 *   2. send the messages marked RAFT_SEND_NOW at once, in parallel with the disk;
 *   3. send those marked RAFT_SEND_DURABLE when everything handed to the disk up to
 *      and including this output has been flushed (the disk queue is in order);
 *   4. apply entries up to the commit index, answer reads when applied has reached
 *      their index, stream snapshots to the peers that want one.
 * and comes back with RAFT_EVENT_PERSISTED and RAFT_EVENT_APPLIED.
 *
 * Sources: "raft" is Ongaro & Ousterhout, In Search of an Understandable Consensus
 * Algorithm (extended version); "thesis" is Ongaro's dissertation of 2014. */
#ifndef RAFT_H
#define RAFT_H

#include "lib/base/limits.h"
#include "lib/base/rk_util.h"

/* ---- who ---------------------------------------------------------------- */

enum raft_member_role {
    RAFT_LEARNER = 1, /* gets the log, does not count */
    RAFT_VOTER = 2,
    RAFT_LEAVING = 3, /* in a joint configuration only: an outgoing voter that the next one is without */
};

struct raft_member {
    uint64_t id; /* never 0 */
    enum raft_member_role role;
    bool outgoing;    /* votes in the outgoing majority of a joint configuration; role: what it will be */
    uint8_t priority; /* who has less than another voter waits longer before it campaigns, and hands over */
};

/* A configuration. Sorted by id, no id twice. Count 0: not a member of anything yet.
 *
 * It is joint (raft section 6, thesis 4.3) when a member is outgoing: then the outgoing voters are one
 * majority and those of role VOTER the other, and whatever needs a majority needs both. A leader that has
 * committed a joint configuration goes on to the next one, which is without its outgoing half, by itself. */
struct raft_members {
    uint32_t count;
    struct raft_member member[RK_MEMBERS_MAX];
};

const struct raft_member *raft_members_find(const struct raft_members *members, uint64_t id);
/* Members of role VOTER; of a joint configuration: its incoming half. */
uint32_t raft_members_voters(const struct raft_members *members);
/* Votes needed: floor(voters / 2) + 1. */
uint32_t raft_members_quorum(const struct raft_members *members);
bool raft_members_joint(const struct raft_members *members);
/* Whether its vote counts, in either half. */
bool raft_members_is_voter(const struct raft_members *members, uint64_t id);
/* The joint configuration between old, which is none itself, and next: next, and with it the voters of old.
 * False when that would be more than RK_MEMBERS_MAX members, or too few. */
bool raft_members_join(const struct raft_members *old, const struct raft_members *next,
                       struct raft_members *ret);
/* What comes after a joint configuration. */
void raft_members_settle(const struct raft_members *joint, struct raft_members *ret);
bool raft_members_equal(const struct raft_members *a, const struct raft_members *b);
/* Whether next may follow old, which is committed: at most one voter added or removed (thesis 4.1), or a
 * joint configuration whose outgoing voters are those of old; learners freely. */
bool raft_members_step_ok(const struct raft_members *old, const struct raft_members *next);

/* ---- what --------------------------------------------------------------- */

enum raft_entry_kind {
    RAFT_ENTRY_NOOP = 1, /* the first entry of a term, no payload */
    RAFT_ENTRY_COMMAND = 2,
    RAFT_ENTRY_MEMBERS = 3, /* takes effect when appended (thesis 4.1) */
};

struct raft_entry {
    uint64_t index, term;
    uint32_t bytes; /* payload size, for windows and caps */
    enum raft_entry_kind kind;
    const struct raft_members *members; /* kind MEMBERS: valid during the step that carries it */
};

struct raft_vote {
    uint64_t term;
    uint64_t voted_for; /* 0: nobody */
};

enum raft_message_kind {
    RAFT_MSG_PREVOTE = 1,
    RAFT_MSG_PREVOTE_REPLY,
    RAFT_MSG_VOTE,
    RAFT_MSG_VOTE_REPLY,
    RAFT_MSG_APPEND,
    RAFT_MSG_APPEND_REPLY,
    RAFT_MSG_HEARTBEAT,
    RAFT_MSG_HEARTBEAT_REPLY,
    RAFT_MSG_TIMEOUT_NOW, /* leadership transfer, thesis 3.10 */
    RAFT_MSG_KIND_MAX = RAFT_MSG_TIMEOUT_NOW,
};

/* Fields by kind; the others are zero.
 *   PREVOTE         term (the one it would start), index, log_term: its last entry
 *   PREVOTE_REPLY   term (the asked one when granted, its own otherwise), reject
 *   VOTE            term, index, log_term, transfer (skip stickiness)
 *   VOTE_REPLY      term, reject
 *   APPEND          term, index, log_term: the entry before the first; count, commit; entries when received
 *   APPEND_REPLY    term, index: matches up to here; or reject with index: the refused one, hint, hint_term:
 *                   where and in which term the follower's log could match
 *   HEARTBEAT       term, commit (never beyond what the peer is known to hold), token: the round; 0 only
 * tells the commit index and is not answered HEARTBEAT_REPLY term, token TIMEOUT_NOW     term */
struct raft_message {
    enum raft_message_kind kind;
    uint64_t from, to;
    uint64_t term;
    uint64_t index, log_term;
    uint64_t commit;
    uint64_t token;
    uint64_t hint, hint_term;
    bool reject, transfer;
    bool lease; /* HEARTBEAT_REPLY: the sender votes for nobody else for an election timeout, come what may */
    /* APPEND: entries index + 1 .. index + count. Received: the array is the caller's. Sent: entries is NULL
     * and the caller fills in payloads from its log. */
    uint32_t count;
    const struct raft_entry *entries;
};

/* ---- events ------------------------------------------------------------- */

enum raft_event_kind {
    RAFT_EVENT_TICK = 1, /* time has passed; due at raft_deadline(), harmless at any time */
    RAFT_EVENT_MESSAGE,  /* message; from a member or a past one, content not trusted */
    RAFT_EVENT_PROPOSE,  /* entries: COMMANDs, or a single MEMBERS; all are taken or none (propose_outcome) */
    RAFT_EVENT_PERSISTED,     /* index, term: the log is flushed up to this entry */
    RAFT_EVENT_APPLIED,       /* index: applied to the rows */
    RAFT_EVENT_READ,          /* ticket: a linearizable read wants its index (thesis 6.4) */
    RAFT_EVENT_TRANSFER,      /* peer, or 0 for the best voter */
    RAFT_EVENT_UNREACHABLE,   /* peer: sends to it are being lost; probe instead of streaming */
    RAFT_EVENT_SNAPSHOT_SENT, /* peer, ok, index: a stream to the peer has ended; index is what it now holds
                               */
    RAFT_EVENT_SNAPSHOT_OFFERED,   /* peer, term, index: a leader wants to stream one to us; see
                                      snapshot_accepted */
    RAFT_EVENT_SNAPSHOT_INSTALLED, /* index, term, members, members_index: our rows now stand at that entry */
    RAFT_EVENT_CUT,                /* index: entries up to here leave the log; at most the applied index */
    RAFT_EVENT_ABSTAIN_END,  /* the log holds again all that it may have helped to commit: see raft_config */
    RAFT_EVENT_STEP_DOWN,    /* give up leadership, if any (disk trouble, shutdown without a successor) */
    RAFT_EVENT_ABORT_CHANGE, /* back to the configuration before a joint one; see propose_outcome */
};

struct raft_event {
    enum raft_event_kind kind;
    uint64_t now_us;
    const struct raft_message *message;
    const struct raft_entry *entries; /* PROPOSE: index and term are filled in by the core, in the output */
    uint32_t count;
    uint64_t index, term;
    uint64_t ticket; /* never 0 */
    uint64_t peer;
    bool ok;
    const struct raft_members *members;
    uint64_t members_index;
};

/* ---- output ------------------------------------------------------------- */

enum raft_send {
    RAFT_SEND_NOW = 1,
    RAFT_SEND_DURABLE,
};

struct raft_out_message {
    struct raft_message message;
    enum raft_send send;
};

enum raft_read_outcome {
    RAFT_READ_OK = 1,     /* read when applied has reached index */
    RAFT_READ_NOT_LEADER, /* ask again, elsewhere: see raft_status.leader */
};

struct raft_out_read {
    uint64_t ticket, index;
    enum raft_read_outcome outcome;
};

enum raft_propose_outcome {
    RAFT_PROPOSE_OK = 0,
    RAFT_PROPOSE_NOT_LEADER,
    RAFT_PROPOSE_BUSY,           /* too many uncommitted bytes: quorum away or slow */
    RAFT_PROPOSE_TRANSFERRING,   /* leadership is on its way to another member */
    RAFT_PROPOSE_CHANGE_PENDING, /* MEMBERS: an earlier change is not committed yet */
    RAFT_PROPOSE_NOT_READY,      /* MEMBERS: nothing of this term is committed yet (Ongaro, raft-dev 2015) */
    RAFT_PROPOSE_BAD_CHANGE,     /* MEMBERS: no step from the one in force, or no voter would be left;
                                    ABORT_CHANGE: there is no joint configuration, or it is committed */
};

enum raft_transfer_outcome {
    RAFT_TRANSFER_NONE = 0,  /* nothing ended in this step */
    RAFT_TRANSFER_DONE,      /* another member leads */
    RAFT_TRANSFER_TIMED_OUT, /* we still lead, or nobody does */
    RAFT_TRANSFER_REFUSED,   /* not leader, no such voter, no other voter, or one is running already */
    RAFT_TRANSFER_ALREADY,   /* the target is the leader: us */
};

#define RAFT_NO_SOURCE UINT32_MAX

/* Arrays belong to the core and are valid until the next raft_step(). */
struct raft_output {
    bool vote_changed; /* vote must be durable before any RAFT_SEND_DURABLE message of this output leaves */
    struct raft_vote vote;

    /* Entries to write; what is stored at or after append[0].index is replaced. append[i] came from the
     * event's entries[append_source + i]; with RAFT_NO_SOURCE the core made it: a no-op without payload, or a
     * MEMBERS entry that ends a joint configuration, whose payload is the caller's to make from members. */
    const struct raft_entry *append;
    uint32_t append_count;
    uint32_t append_source;

    const struct raft_out_message *messages;
    uint32_t message_count;

    bool commit_changed;
    uint64_t commit;

    const struct raft_out_read *reads;
    uint32_t read_count;

    /* Peers (leader only) whose next entry has left the log: stream them a snapshot, end with SNAPSHOT_SENT.
     */
    const uint64_t *snapshot_peers;
    uint32_t snapshot_peer_count;

    bool snapshot_accepted; /* SNAPSHOT_OFFERED: take the stream; otherwise refuse it (old term, or we are
                               ahead) */
    /* SNAPSHOT_INSTALLED: the stored log must be dropped whole; it restarts after (event.index, event.term).
     * When false and the snapshot was ahead of the log's base, entries up to event.index are cut and the rest
     * stays. */
    bool log_reset;

    enum raft_propose_outcome propose_outcome; /* PROPOSE, ABORT_CHANGE */
    enum raft_transfer_outcome transfer_outcome;

    bool role_changed;    /* role, leader or term differ from before the step: see raft_status() */
    bool members_changed; /* the configuration in force (last in the log) differs: see raft_members() */
};

/* ---- the core ----------------------------------------------------------- */

enum raft_role {
    RAFT_FOLLOWER = 1,
    RAFT_PRE_CANDIDATE,
    RAFT_CANDIDATE,
    RAFT_LEADER,
};
const char *raft_role_name(enum raft_role role); /* "follower", ... */

struct raft_config {
    uint64_t id;                  /* this member; not 0 */
    uint64_t election_timeout_us; /* the least; each wait is random in [this, 2 * this) */
    uint64_t heartbeat_us;        /* less than half of it */
    uint32_t append_entries_max;  /* per message */
    uint32_t append_bytes_max;    /* per message; one larger entry travels alone */
    uint64_t inflight_bytes_max;  /* per peer, sent and not acknowledged */
    uint32_t inflight_messages_max;
    uint64_t inflight_all_bytes_max; /* to all peers together; each may have one message out; 0 for no cap */
    uint64_t uncommitted_bytes_max;  /* beyond it PROPOSE is BUSY; 0 for no cap */
    bool lease_reads;                /* see raft_lease.c for the bound on clocks that this asks for */
    /* Entries that this member acknowledged may be lost: it takes entries and acknowledges what it has, but
     * does not vote and does not campaign until RAFT_EVENT_ABSTAIN_END. */
    bool abstain;
    uint64_t seed; /* from the kernel in a daemon, chosen in a simulation */
};

/* What was found on disk. commit is the applied index of the rows: applied implies committed. */
struct raft_boot {
    struct raft_vote vote;
    uint64_t base_index, base_term; /* the entry before the log's first; 0, 0 for a log that begins at 1 */
    uint64_t commit;                /* base_index .. last entry */
    struct raft_members members; /* as of members_index, which is at most commit; later ones are in entries */
    uint64_t members_index;
    const struct raft_entry
        *entries; /* base_index + 1 and on, without gaps; members only needed past members_index */
    uint64_t count;
    uint64_t now_us;
};

struct raft;

/* Copies config and boot. Returns NULL when boot is inconsistent (a gap, terms that go down, commit outside).
 */
struct raft *raft_new(const struct raft_config *config, const struct raft_boot *boot);
void raft_free(struct raft *raft);
/* One step. ret_output is overwritten; see struct raft_output for lifetimes. Never fails: input that makes no
 * sense (stale, duplicated, forged) is dropped. */
void raft_step(struct raft *raft, const struct raft_event *event, struct raft_output *ret_output);
/* When the next RAFT_EVENT_TICK is due; RK_NEVER when there is nothing to wait for. */
uint64_t raft_deadline(const struct raft *raft);

struct raft_status {
    uint64_t id, term, voted_for;
    uint64_t leader; /* 0: unknown */
    enum raft_role role;
    uint64_t base_index, last_index, last_term, commit, persisted, applied;
    bool transferring;
    bool ready; /* leader, and an entry of its term is committed: reads and membership changes may start */
};
void raft_status(const struct raft *raft, struct raft_status *ret);

enum raft_peer_mode {
    RAFT_PEER_PROBE = 1,
    RAFT_PEER_REPLICATE,
    RAFT_PEER_SNAPSHOT,
};
const char *raft_peer_mode_name(enum raft_peer_mode mode);

struct raft_peer_status {
    uint64_t id, match, next;
    enum raft_peer_mode mode;
    uint64_t inflight_bytes;
    uint64_t active_us; /* when it was last heard; 0 for never in this term */
};
/* Leader only; false when not leader or no such peer. */
bool raft_peer_status(const struct raft *raft, uint64_t id, struct raft_peer_status *ret);
/* The configuration in force: the last in the log, committed or not. Valid until the next step. */
const struct raft_members *raft_members(const struct raft *raft);
/* The term of an entry, or of the base; 0 for any other index. */
uint64_t raft_term_at(const struct raft *raft, uint64_t index);

#endif
