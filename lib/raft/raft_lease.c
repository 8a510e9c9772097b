/* lib/raft/raft_lease.c - linearizable reads without a round of messages (thesis 6.4.1), for those who trust
 * their clocks.
 *
 * With lease_reads a member that hears a leader promises to vote for nobody else for
 * an election timeout; it keeps the promise when it forgets the leader over a later
 * term, and, not knowing what it promised before, for as long after a start. Its
 * heartbeat replies say so. When a quorum has answered a round, no other leader can
 * come up until an election timeout after that round left, and for LEASE_PERCENT of
 * it the leader answers reads from its own commit index.
 *
 * The bound on clocks: none may run more than 10 % fast or slow. Then the leader's
 * 80 % take at most 80 / 0.9 = 88.9 % of an election timeout in real time, and the
 * followers' whole one at least 100 / 1.1 = 90.9 %. A clock that stands still while the
 * host is suspended would break it; the caller's must not (CLOCK_BOOTTIME).
 *
 * A transfer asks for votes that skip every promise. So there are no leases while one
 * runs, and none for the rest of the term once the target was told to campaign: the
 * message, or the votes it asks for, may still be on their way when the transfer has
 * timed out. */
#include "lib/raft/raft_internal.h"

#define LEASE_PERCENT 80u

void raft_lease_promise(struct raft *raft, uint64_t leader)
{
    if (!raft->config.lease_reads)
        return;
    raft->promised_us = raft->now_us + raft->config.election_timeout_us;
    raft->promised_to = leader;
}

bool raft_lease_promised(const struct raft *raft, uint64_t from)
{
    return raft->now_us < raft->promised_us && from != raft->promised_to;
}

void raft_lease_round(struct raft *raft, uint64_t token)
{
    raft->round_sent_us[token % RAFT_LEASE_ROUNDS] = raft->now_us;
}

static uint64_t token_of(const struct raft *raft, const struct raft_progress *p)
{
    (void)raft;
    return p->lease_token;
}

bool raft_lease_holds(const struct raft *raft)
{
    if (!raft->config.lease_reads || raft->transferring || raft->lease_void || !raft_ready(raft))
        return false;
    uint64_t token = raft_leader_quorum(raft, raft->round, token_of);
    if (token == 0 || token + RAFT_LEASE_ROUNDS <= raft->round)
        return false;
    uint64_t lease_us =
        raft->config.election_timeout_us / 100 * (RK_PLANT(LEASE_TOO_LONG) ? 300 : LEASE_PERCENT);
    return raft->now_us < raft->round_sent_us[token % RAFT_LEASE_ROUNDS] + lease_us;
}
