/* tests/unit/raft_cluster.h - whole raft clusters in one thread: real cores, and a network, disks and a clock
 * that a seed decides.
 *
 * The cluster plays the caller that raft.h describes: it writes what the outputs ask
 * for to a disk that takes its time and forgets what it had not finished when its
 * node crashes; it holds durable messages back until then; it applies, takes reads,
 * streams snapshots. The network loses, repeats, delays and so reorders, link by link
 * and direction by direction.
 *
 * After every step the checkers of raft_cluster_check.c compare what the node says
 * with all that was ever said: one leader a term, one vote a term, log matching,
 * committed entries never change, equal rows, reads not older than what was committed
 * when they were asked. A violation prints the seed and aborts.
 *
 * Nodes are numbered from 0; node i has the id i + 1. Times are in microseconds. */
#ifndef RAFT_CLUSTER_H
#define RAFT_CLUSTER_H

#include "lib/base/rk_assert.h"
#include "lib/base/rk_random.h"
#include "lib/raft/raft.h"

#define CLUSTER_NODES_MAX    7u
#define CLUSTER_ELECTION_US  100000u
#define CLUSTER_HEARTBEAT_US 30000u

/* An entry with its payload, which is one number. */
struct cluster_entry {
    struct raft_entry entry; /* members belongs to the cluster */
    uint64_t value;
};

struct cluster_log {
    uint64_t base_index, base_term;
    struct cluster_entry *items; /* base_index + 1 and on */
    size_t count, capacity;
};

/* The state machine: a running hash of the values, and the members as of members_index. */
struct cluster_rows {
    uint64_t applied, term, hash;
    struct raft_members members;
    uint64_t members_index;
};

struct cluster_write; /* a disk operation that has not finished */

struct cluster_node {
    uint64_t id;
    bool up;
    uint32_t incarnation; /* grows with every start */
    struct raft *raft;
    /* What a crash takes. */
    struct cluster_log log;
    struct cluster_rows rows;
    struct cluster_write *queue, *queue_tail;
    uint64_t disk_free_us;
    bool transferring;
    /* What stays. */
    struct cluster_log disk_log;
    struct raft_vote disk_vote;
    struct cluster_rows disk_rows;
};

struct cluster_read {
    uint64_t ticket, least;
    uint32_t node;
};

/* Everything that was ever seen at one index. */
struct cluster_seen {
    uint64_t term, value, before; /* before: the term of the entry in front */
};

struct cluster_history {
    struct cluster_seen *seen;
    size_t seen_count, seen_capacity;
    bool committed;
    uint64_t term, hash; /* of the committed entry; rows after it */
};

struct cluster_office {
    uint64_t term, leader;
    uint64_t vote[CLUSTER_NODES_MAX]; /* whom node i voted for in this term, once the vote left it */
};

struct cluster_options {
    uint64_t seed;
    uint32_t nodes, voters; /* the first voters of so many nodes begin; the others are empty */
    uint64_t base_index;    /* where the log begins */
    uint32_t loss, repeat;  /* messages of a thousand */
    uint64_t delay_us;      /* the longest that a message takes */
    uint64_t disk_us;       /* the longest that a disk operation takes */
    uint32_t window_messages;
    bool lease_reads;
    bool trace; /* every step on stderr */
};

struct cluster {
    struct cluster_options options;
    struct rk_random random;
    uint64_t now_us;
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    bool cut[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX]; /* [from][to]: nothing gets through */

    struct cluster_happening **heap;
    size_t heap_count, heap_capacity;
    uint64_t heap_seq;

    struct raft_members **members; /* all that were ever made, freed at the end */
    size_t member_count, member_capacity;

    /* What the checkers know. */
    struct cluster_history *history; /* by index - base_index */
    size_t history_count;
    uint64_t committed; /* the highest commit index that any node ever had */
    struct cluster_office *offices;
    size_t office_count, office_capacity;
    struct cluster_read *reads;
    size_t read_count, read_capacity;
    uint64_t next_ticket, next_value;
    uint64_t digest; /* of all outputs: equal seeds, equal digests */

    /* Counters, to see that a run did something. */
    uint64_t steps, elections, reads_ok, snapshots, transfers_done, transfers_ended, changes, proposals;
    uint64_t joint_changes, joint_ended, aborts;
};

struct cluster *cluster_new(const struct cluster_options *options);
void cluster_free(struct cluster *c);
/* Lets everything happen that is due until then. */
void cluster_run(struct cluster *c, uint64_t until_us);
/* One event for one node that is up, with its consequences; returns the outcome of a proposal. */
enum raft_propose_outcome cluster_event(struct cluster *c, uint32_t node, struct raft_event event);

void cluster_crash(struct cluster *c, uint32_t node); /* unfinished disk operations are lost */
void cluster_restart(struct cluster *c, uint32_t node);
void cluster_heal(struct cluster *c); /* all links, no loss; all nodes up */

enum raft_propose_outcome cluster_propose(struct cluster *c, uint32_t node, uint32_t count, uint32_t bytes);
enum raft_propose_outcome cluster_change(struct cluster *c, uint32_t node, const struct raft_members *next);
void cluster_abort_change(struct cluster *c, uint32_t node);
void cluster_read(struct cluster *c, uint32_t node);
void cluster_transfer(struct cluster *c, uint32_t node, uint64_t target);
/* Flushes the rows and cuts the log at the applied index, but for so many entries. */
void cluster_compact(struct cluster *c, uint32_t node, uint64_t keep);

/* The node that leads the latest term, or -1. */
int cluster_leader(const struct cluster *c);
/* All members of the leader's configuration have the same log, committed and applied. */
bool cluster_settled(const struct cluster *c);
/* Runs until there is a leader and one more entry is committed and applied by all; false when that takes too
 * long. */
bool cluster_settle(struct cluster *c, uint64_t patience_us);

/* raft_cluster_check.c */
_Noreturn void cluster_fail(const struct cluster *c, const char *format, ...) RK_PRINTF(2, 3);
/* Entries that reached a disk or the network; before: the term in front of the first. Those of a leader that
 * crashed before either never existed. */
void cluster_check_entries(struct cluster *c, uint32_t node, const struct cluster_entry *entries,
                           size_t count, uint64_t before);
void cluster_check_commit(struct cluster *c, uint32_t node, uint64_t from, uint64_t to);
void cluster_check_rows(struct cluster *c, uint32_t node);
void cluster_check_status(struct cluster *c, uint32_t node);
void cluster_check_vote(struct cluster *c, uint32_t node, const struct raft_message *m);
void cluster_check_read(struct cluster *c, uint32_t node, const struct raft_out_read *read);
void cluster_check_free(struct cluster *c);

/* raft_cluster.c, for the checkers */
uint64_t cluster_log_last(const struct cluster_log *log);
uint64_t cluster_log_term(const struct cluster_log *log, uint64_t index);
struct cluster_entry *cluster_log_at(const struct cluster_log *log, uint64_t index);
uint64_t cluster_mix(uint64_t hash, uint64_t value);

#endif
