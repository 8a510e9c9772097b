/* tests/unit/raft_bench.h - one core on the bench: a test feeds it events and looks at what comes out.
 *
 * The core under test has id 1. Its election timeout is 100 ms, its heartbeat 30 ms. */
#ifndef RAFT_BENCH_H
#define RAFT_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/raft/raft.h"

#define BENCH_ELECTION_US  100000u
#define BENCH_HEARTBEAT_US 30000u

struct bench {
    struct raft *raft;
    struct raft_output out;
    uint64_t now_us;
    struct raft_members members;
};

/* roles: one letter per id from 1 on: v voter, l learner, . nobody; in a joint configuration v is an incoming
 * voter, o an outgoing one, b both, d an outgoing one that becomes a learner. priorities: by id, or NULL.
 * terms: the terms of the entries base + 1 and on, ended by 0; NULL for an empty log. */
struct bench_start {
    const char *roles;
    uint64_t base, base_term;
    const uint64_t *terms;
    uint64_t commit, term, voted_for;
    uint32_t window_messages;
    uint64_t uncommitted_bytes, inflight_all_bytes;
    bool lease_reads;
    const uint8_t *priorities;
    bool abstain;
};

struct raft_members bench_members(const char *roles);
void bench_init(struct bench *b, struct bench_start start);
void bench_deinit(struct bench *b);

struct raft_status bench_status(const struct bench *b);
struct raft_peer_status bench_peer(const struct bench *b, uint64_t id);
/* Each does one step; the output stays in b->out. */
void bench_event(struct bench *b, struct raft_event event);
void bench_message(struct bench *b, struct raft_message m); /* to 1 */
void bench_tick(struct bench *b, uint64_t after_us);
void bench_deadline(struct bench *b); /* the tick that is due next */
void bench_persist(struct bench *b);  /* all of the log */
void bench_append(struct bench *b, uint64_t from, uint64_t term, uint64_t index, uint64_t log_term,
                  uint64_t commit, const uint64_t *terms);
void bench_ack(struct bench *b, uint64_t from, uint64_t index);
enum raft_propose_outcome bench_propose(struct bench *b, uint32_t count, uint32_t bytes);
enum raft_propose_outcome bench_change(struct bench *b, const char *roles);
/* Makes it leader with the votes of the others and its no-op persisted; not committed with more than one
 * voter. */
void bench_lead(struct bench *b);
/* The n-th message of this kind in the last output, or NULL; and how many there are. */
const struct raft_out_message *bench_sent(const struct bench *b, enum raft_message_kind kind, uint32_t n);
uint32_t bench_count(const struct bench *b, enum raft_message_kind kind);

#endif
