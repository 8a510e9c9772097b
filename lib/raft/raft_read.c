/* lib/raft/raft_read.c - linearizable reads without a log entry (thesis 6.4).
 *
 * A read may be answered at the commit index of the moment it was asked, once a
 * quorum has shown, after that moment, that it still follows us. The proof is a round
 * of heartbeats with a token never used before in this term: one round serves all
 * reads that wait when it starts, and reads asked while it is out share the next. A
 * leader that has committed nothing in its term does not know the commit index yet
 * and holds reads back. */
#include "lib/raft/raft_internal.h"

void raft_read_result(struct raft *raft, uint64_t ticket, uint64_t index, enum raft_read_outcome outcome)
{
    raft->read_results = raft_grow(raft->read_results, &raft->read_result_capacity, raft->read_result_count,
                                   sizeof(*raft->read_results));
    raft->read_results[raft->read_result_count++] =
        (struct raft_out_read){.ticket = ticket, .index = index, .outcome = outcome};
}

static void start_round(struct raft *raft)
{
    raft->round++;
    raft_leader_heartbeat(raft, raft->round, true);
}

/* The token that will confirm a read asked now; a round starts when none is out. */
static uint64_t join_round(struct raft *raft)
{
    if (RK_PLANT(READ_JOINS_OLD_ROUND) && raft->round > raft->round_done)
        return raft->round;
    if (raft->round > raft->round_done)
        return raft->round + 1;
    start_round(raft);
    return raft->round;
}

static void push(struct raft *raft, struct raft_read read)
{
    raft->reads = raft_grow(raft->reads, &raft->read_capacity, raft->read_count, sizeof(*raft->reads));
    raft->reads[raft->read_count++] = read;
}

void raft_read_add(struct raft *raft, uint64_t ticket)
{
    if (raft->role != RAFT_LEADER) {
        raft_read_result(raft, ticket, 0, RAFT_READ_NOT_LEADER);
    } else if (!raft_ready(raft) && !RK_PLANT(READ_BEFORE_READY)) {
        push(raft, (struct raft_read){.ticket = ticket});
    } else if (raft_member_alone(raft) || RK_PLANT(READ_WITHOUT_ROUND)) {
        raft_read_result(raft, ticket, raft->commit, RAFT_READ_OK);
    } else if (raft_lease_holds(raft)) {
        raft_read_result(raft, ticket, raft->commit, RAFT_READ_OK);
    } else {
        uint64_t token = join_round(raft);
        push(raft, (struct raft_read){.ticket = ticket, .index = raft->commit, .token = token});
    }
}

void raft_read_ready(struct raft *raft)
{
    if (raft->read_count == 0)
        return;
    uint64_t token = join_round(raft);
    for (size_t i = 0; i < raft->read_count; i++) {
        rk_assert(raft->reads[i].token == 0 || RK_PLANT(READ_BEFORE_READY));
        raft->reads[i].index = raft->commit;
        raft->reads[i].token = token;
    }
}

static uint64_t token_of(const struct raft *raft, const struct raft_progress *p)
{
    (void)raft;
    return p->token;
}

/* Tokens rise along the list, so the confirmed reads are its head. */
void raft_read_advance(struct raft *raft)
{
    raft->round_done = rk_max_u64(raft->round_done, raft_leader_quorum(raft, raft->round, token_of));
    size_t done = 0, kept = 0;
    while (done < raft->read_count && raft->reads[done].token != 0 &&
           raft->reads[done].token <= raft->round_done) {
        raft_read_result(raft, raft->reads[done].ticket, raft->reads[done].index, RAFT_READ_OK);
        done++;
    }
    for (size_t i = done; i < raft->read_count; i++)
        raft->reads[kept++] = raft->reads[i];
    raft->read_count = kept;
    if (kept > 0 && raft->reads[0].token > raft->round)
        start_round(raft);
}

void raft_read_fail_all(struct raft *raft)
{
    for (size_t i = 0; i < raft->read_count; i++)
        raft_read_result(raft, raft->reads[i].ticket, 0, RAFT_READ_NOT_LEADER);
    raft->read_count = 0;
}
