/* lib/raft/raft_internal.h - what the files of the core share.
 *
 * One step runs like this: raft_step.c clears the output and hands the event to the
 * file of its subject; handlers change the state and queue messages; at the end a
 * leader sends what its peers' windows allow (raft_leader_flush), and the output is
 * put together by comparing with the state before. Handlers never send appends
 * themselves, so there is one place where entries leave. */
#ifndef RAFT_INTERNAL_H
#define RAFT_INTERNAL_H

#include "lib/base/rk_assert.h"
#include "lib/base/rk_plant.h"
#include "lib/base/rk_random.h"
#include "lib/raft/raft.h"

/* Messages beyond these are nonsense; the margin keeps sums from wrapping. */
#define RAFT_INDEX_MAX (UINT64_MAX - (1ULL << 32))
#define RAFT_TERM_MAX  (UINT64_MAX - (1ULL << 32))

/* Makes room for one more element; arrays start empty and double. */
void *raft_grow(void *array, size_t *capacity, size_t count, size_t size);

/* ---- raft_terms.c: the log without payloads ------------------------------ */

/* Entries from first on, up to the next run, have this term. */
struct raft_term_run {
    uint64_t first, term;
};

struct raft_terms {
    uint64_t base_index, base_term, last_index;
    struct raft_term_run *runs;
    size_t run_count, run_capacity;
    uint32_t *sizes; /* ring: entry i lies at (size_head + i - base_index - 1) & (size_capacity - 1) */
    size_t size_head, size_capacity;
};

void raft_terms_init(struct raft_terms *terms, uint64_t base_index, uint64_t base_term);
void raft_terms_deinit(struct raft_terms *terms);
void raft_terms_append(struct raft_terms *terms, uint64_t term, uint32_t bytes);
/* Entries after index go; index is base_index at the least. */
void raft_terms_truncate(struct raft_terms *terms, uint64_t index);
/* Entries up to index go; index becomes the base. */
void raft_terms_cut(struct raft_terms *terms, uint64_t index);
/* Everything goes; the log restarts after (index, term). */
void raft_terms_reset(struct raft_terms *terms, uint64_t index, uint64_t term);
/* The term at an index, the base included; 0 outside. */
uint64_t raft_terms_at(const struct raft_terms *terms, uint64_t index);
uint64_t raft_terms_last(const struct raft_terms *terms);
uint32_t raft_terms_bytes(const struct raft_terms *terms, uint64_t index);
/* Bytes of the entries first .. last. */
uint64_t raft_terms_sum(const struct raft_terms *terms, uint64_t first, uint64_t last);
/* The largest index that is at most index and whose term is at most term. An index below the base is
 * returned as it is; base_index - 1 says that the answer lies somewhere below the base. */
uint64_t raft_terms_search(const struct raft_terms *terms, uint64_t index, uint64_t term);

/* ---- raft_quorum.c ------------------------------------------------------ */

/* The largest v such that a quorum of the values is v or more; 0 for no values. Reorders values. */
uint64_t raft_quorum_reached(uint64_t *values, uint32_t count);
uint32_t raft_quorum_size(uint32_t voters);
/* Whether these members are a majority; of a joint configuration: of both halves. */
bool raft_quorum_granted(const struct raft_members *members, const uint64_t *ids, uint32_t count);

/* ---- raft_progress.c: what the leader knows of one peer ------------------ */

struct raft_inflight {
    uint64_t last; /* index of the message's last entry */
    uint64_t bytes;
};

struct raft_progress {
    uint64_t id;
    enum raft_peer_mode mode;
    uint64_t match;                 /* the peer's log is known to equal ours up to here */
    uint64_t next;                  /* the entry to send next; always > match */
    uint64_t commit_sent;           /* the commit index that the peer was last told */
    uint64_t token;                 /* the newest round it answered */
    uint64_t lease_token;           /* the newest one that it answered with a promise */
    uint64_t since_us;              /* when it became a peer of this term */
    uint64_t active_us;             /* when it was last heard in this term; 0: never */
    uint64_t acked_us;              /* when the window last moved, or began to fill */
    uint64_t probe_us;              /* when the last probe left */
    bool probing;                   /* PROBE: one append is out, wait for its answer */
    bool streaming;                 /* listed in snapshot_peers, SNAPSHOT_SENT not seen */
    struct raft_inflight *inflight; /* ring of inflight_capacity */
    uint32_t inflight_head, inflight_count, inflight_capacity;
    uint64_t inflight_bytes;
};

void raft_progress_init(struct raft_progress *p, uint64_t id, uint64_t next, uint32_t window,
                        uint64_t now_us);
void raft_progress_deinit(struct raft_progress *p);
/* Back to one append at a time, from match + 1. */
void raft_progress_probe(struct raft_progress *p);
/* Whether one more append may leave now. */
bool raft_progress_open(const struct raft_progress *p, uint64_t bytes_max);
/* count entries starting at next, of so many bytes, have left. */
void raft_progress_sent(struct raft_progress *p, uint32_t count, uint64_t bytes, uint64_t now_us);
/* The peer's log equals ours up to index. */
void raft_progress_ack(struct raft_progress *p, uint64_t index, uint64_t now_us);
/* The peer refused an append after index; retry is the index to try instead. Returns false when stale. */
bool raft_progress_reject(struct raft_progress *p, uint64_t index, uint64_t retry);
bool raft_progress_stale_reject(const struct raft_progress *p, uint64_t index);
void raft_progress_snapshot(struct raft_progress *p);
/* Nothing the peer was sent has been acknowledged for so long. */
bool raft_progress_stalled(const struct raft_progress *p, uint64_t now_us, uint64_t patience_us);

/* ---- raft_member.c: configurations in the log ---------------------------- */

struct raft_members_at {
    uint64_t index;
    struct raft_members members;
};

/* The newest configuration at or below the commit index, then all later ones. Never empty. */
struct raft_history {
    struct raft_members_at *items;
    size_t count, capacity;
};

/* Sorted, no id twice or zero, known roles, at least one voter. */
bool raft_members_valid(const struct raft_members *members);

void raft_member_append(struct raft *raft, uint64_t index, const struct raft_members *members);
void raft_member_truncate(struct raft *raft, uint64_t index); /* entries after index went */
void raft_member_committed(struct raft *raft);
void raft_member_install(struct raft *raft, uint64_t upto, bool keep_later,
                         const struct raft_members *members, uint64_t members_index);
/* Voter in the configuration in force, or in an earlier one as long as the later is not known to be
 * committed. */
bool raft_member_may_campaign(const struct raft *raft, uint64_t id);
bool raft_member_alone(const struct raft *raft); /* we are the only voter */

/* ---- raft_joint.c ---------------------------------------------------------- */

void raft_joint_leave(struct raft *raft); /* appends C_new when C_old,new is committed */
void raft_joint_abort(struct raft *raft); /* appends C_old when C_old,new is not */
/* The same, when the outgoing voters answer and the incoming do not; false when there is nothing to save. */
bool raft_joint_save(struct raft *raft);

/* ---- the core ------------------------------------------------------------ */

struct raft_read {
    uint64_t ticket;
    uint64_t index; /* commit index when it was asked, or when the leader became ready */
    uint64_t token; /* the round that confirms it; 0: held until the leader is ready */
};

struct raft {
    struct raft_config config;
    struct rk_random random;
    uint64_t now_us;

    struct raft_vote vote;
    struct raft_terms log;
    uint64_t commit, persisted, applied;
    uint64_t persisted_us; /* when persisted last moved, or something came behind it */
    struct raft_history history;

    enum raft_role role;
    uint64_t leader;                  /* 0: unknown */
    uint64_t leader_heard_us;         /* follower: when it last spoke */
    uint64_t election_us;             /* not leader: when to campaign */
    uint64_t granted[RK_MEMBERS_MAX]; /* pre-candidate and candidate: who said yes */
    uint32_t granted_count;
    bool campaign_transfer;
    uint64_t promised_us, promised_to; /* leases: until then no vote for anybody else */

    /* Leader. */
    struct raft_progress peers[RK_MEMBERS_MAX]; /* sorted by id, without us */
    uint32_t peer_count;
    uint64_t term_start;   /* the no-op's index */
    bool elected_alone;    /* nobody was asked, so our own vote may not be durable yet */
    uint64_t heartbeat_us; /* when the next one is due */
    uint64_t uncommitted_bytes;
    uint64_t round, round_done; /* the newest token sent, and the newest confirmed by a quorum */
#define RAFT_LEASE_ROUNDS 64u
    uint64_t round_sent_us[RAFT_LEASE_ROUNDS]; /* of the newest rounds, by token */
    bool lease_void;                           /* somebody was told to campaign in this term */
    uint64_t hand_over_us;                     /* when to look for a successor of higher priority */
    struct raft_read *reads;
    size_t read_count, read_capacity;

    /* Transfer; outlives the leadership until its outcome is known. */
    bool transferring;
    uint64_t transfer_peer, transfer_term, transfer_us; /* target, our term when it began, deadline */

    /* Output under construction. */
    struct raft_output *out;
    struct raft_entry *append;
    size_t append_count, append_capacity;
    struct raft_out_message *messages;
    size_t message_count, message_capacity;
    struct raft_out_read *read_results;
    size_t read_result_count, read_result_capacity;
    uint64_t snapshot_peers[RK_MEMBERS_MAX];
    uint32_t snapshot_peer_count;
    struct raft_members made_members; /* of the MEMBERS entry that the core made in this step */
};

static inline const struct raft_members *raft_current(const struct raft *raft)
{
    return &raft->history.items[raft->history.count - 1].members;
}

static inline uint64_t raft_members_index(const struct raft *raft)
{
    return raft->history.items[raft->history.count - 1].index;
}

static inline bool raft_ready(const struct raft *raft)
{
    return raft->role == RAFT_LEADER && raft->commit >= raft->term_start;
}

/* raft_step.c */
void raft_send(struct raft *raft, enum raft_send send, struct raft_message message);
/* Appends to the log and to the output. */
void raft_log_append(struct raft *raft, const struct raft_entry *entry, uint32_t source);
void raft_set_commit(struct raft *raft, uint64_t index);
/* Adopts a later term (or keeps the same one) as a follower of leader, 0 for unknown. */
void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader);
void raft_arm_election(struct raft *raft);
bool raft_log_up_to_date(const struct raft *raft, uint64_t index, uint64_t term);

/* raft_follower.c */
void raft_follower_append(struct raft *raft, const struct raft_message *m);
void raft_follower_heartbeat(struct raft *raft, const struct raft_message *m);
void raft_follower_refuse(struct raft *raft, const struct raft_message *m); /* a leader of an older term */
void raft_follower_offered(struct raft *raft, const struct raft_event *event);
void raft_follower_installed(struct raft *raft, const struct raft_event *event);

/* raft_candidate.c */
void raft_candidate_timeout(struct raft *raft);
void raft_candidate_start(struct raft *raft, bool transfer);
void raft_candidate_prevote(struct raft *raft, const struct raft_message *m);
void raft_candidate_prevote_reply(struct raft *raft, const struct raft_message *m);
void raft_candidate_vote(struct raft *raft, const struct raft_message *m);
void raft_candidate_vote_reply(struct raft *raft, const struct raft_message *m);

/* raft_leader.c */
void raft_leader_start(struct raft *raft);
void raft_leader_stop(struct raft *raft);
void raft_leader_sync_peers(struct raft *raft);
struct raft_progress *raft_leader_peer(struct raft *raft, uint64_t id);
const struct raft_progress *raft_leader_progress(const struct raft *raft, uint64_t id); /* NULL */
/* When a quorum of these was last known to follow us, plus an election timeout; RK_NEVER when we are one by
 * ourselves. */
uint64_t raft_leader_quorum_deadline(const struct raft *raft, const struct raft_members *members);
enum raft_send raft_leader_send_mode(const struct raft *raft);
void raft_leader_propose(struct raft *raft, const struct raft_event *event);
void raft_leader_append_reply(struct raft *raft, const struct raft_message *m);
void raft_leader_heartbeat_reply(struct raft *raft, const struct raft_message *m);
void raft_leader_unreachable(struct raft *raft, uint64_t peer);
void raft_leader_snapshot_sent(struct raft *raft, const struct raft_event *event);
void raft_leader_heartbeat(struct raft *raft, uint64_t token, bool voters_only);
void raft_leader_tick(struct raft *raft);
void raft_leader_resign(struct raft *raft);
uint64_t raft_leader_deadline(const struct raft *raft);

/* raft_replicate.c */
void raft_leader_flush(struct raft *raft);
void raft_leader_advance(struct raft *raft);
/* What a quorum of the voters has reached: ours, and each peer's. */
typedef uint64_t raft_peer_value(const struct raft *raft, const struct raft_progress *p);
uint64_t raft_leader_quorum(const struct raft *raft, uint64_t own, raft_peer_value *value);
uint64_t raft_leader_quorum_of(const struct raft *raft, const struct raft_members *members, uint64_t own,
                               raft_peer_value *value);

/* raft_read.c */
void raft_read_add(struct raft *raft, uint64_t ticket);
void raft_read_ready(struct raft *raft);
void raft_read_advance(struct raft *raft);
void raft_read_fail_all(struct raft *raft);
void raft_read_result(struct raft *raft, uint64_t ticket, uint64_t index, enum raft_read_outcome outcome);

/* raft_lease.c */
void raft_lease_promise(struct raft *raft, uint64_t leader);      /* it was heard just now */
bool raft_lease_promised(const struct raft *raft, uint64_t from); /* whether from must not get our vote */
void raft_lease_round(struct raft *raft, uint64_t token);         /* one begins */
bool raft_lease_holds(const struct raft *raft);

/* raft_priority.c */
uint64_t raft_priority_delay_us(const struct raft *raft); /* how much longer we wait before we campaign */
void raft_priority_hand_over(struct raft *raft);

/* raft_transfer.c */
void raft_transfer_begin(struct raft *raft, uint64_t peer);
void raft_transfer_push(struct raft *raft); /* TIMEOUT_NOW, when the target has caught up */
void raft_transfer_check(struct raft *raft);
void raft_transfer_receive(struct raft *raft, const struct raft_message *m);
uint64_t raft_transfer_best(const struct raft *raft);

#endif
