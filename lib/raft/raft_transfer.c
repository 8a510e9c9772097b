/* lib/raft/raft_transfer.c - handing leadership to a chosen member (thesis 3.10).
 *
 * The leader takes no more proposals, waits until the target has its whole log, and
 * tells it to campaign at once: without prevote, and with votes that skip stickiness.
 * A transfer always ends: another member leads, or an election timeout has passed. */
#include "lib/raft/raft_internal.h"

/* A voter that the next configuration keeps. */
static bool takes_over(const struct raft *raft, uint64_t id)
{
    const struct raft_member *member = raft_members_find(raft_current(raft), id);
    return member != NULL && member->role == RAFT_VOTER;
}

/* The voter with the longest known log; one heard lately before one that may be gone. */
uint64_t raft_transfer_best(const struct raft *raft)
{
    const struct raft_progress *best = NULL;
    bool best_fresh = false;
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_progress *p = &raft->peers[i];
        if (!takes_over(raft, p->id))
            continue;
        bool fresh = p->active_us != 0 && raft->now_us - p->active_us < raft->config.election_timeout_us;
        if (best == NULL || fresh > best_fresh || (fresh == best_fresh && p->match > best->match)) {
            best = p;
            best_fresh = fresh;
        }
    }
    return best == NULL ? 0 : best->id;
}

void raft_transfer_begin(struct raft *raft, uint64_t peer)
{
    raft->out->transfer_outcome = RAFT_TRANSFER_REFUSED;
    if (raft->role != RAFT_LEADER || raft->transferring)
        return;
    if (peer == raft->config.id) {
        raft->out->transfer_outcome = RAFT_TRANSFER_ALREADY;
        return;
    }
    uint64_t target = peer != 0 ? peer : raft_transfer_best(raft);
    if (raft_leader_peer(raft, target) == NULL || !takes_over(raft, target))
        return;
    raft->out->transfer_outcome = RAFT_TRANSFER_NONE;
    raft->transferring = true;
    raft->transfer_peer = target;
    raft->transfer_term = raft->vote.term;
    raft->transfer_us = raft->now_us + raft->config.election_timeout_us;
    raft_transfer_push(raft);
}

void raft_transfer_push(struct raft *raft)
{
    if (!raft->transferring)
        return;
    const struct raft_progress *p = raft_leader_peer(raft, raft->transfer_peer);
    if (p == NULL || p->match != raft->log.last_index)
        return;
    raft->lease_void = true;
    raft_send(raft, raft_leader_send_mode(raft),
              (struct raft_message){.kind = RAFT_MSG_TIMEOUT_NOW, .to = p->id, .term = raft->vote.term});
}

static void end(struct raft *raft, enum raft_transfer_outcome outcome)
{
    raft->transferring = false;
    raft->transfer_us = RK_NEVER;
    raft->out->transfer_outcome = outcome;
}

void raft_transfer_check(struct raft *raft)
{
    if (!raft->transferring)
        return;
    if (raft->leader != 0 && raft->leader != raft->config.id)
        return end(raft, RAFT_TRANSFER_DONE);
    bool again = raft->role == RAFT_LEADER && raft->vote.term != raft->transfer_term;
    if (again || raft->now_us >= raft->transfer_us)
        end(raft, RAFT_TRANSFER_TIMED_OUT);
}

void raft_transfer_receive(struct raft *raft, const struct raft_message *m)
{
    (void)m;
    if (raft_member_may_campaign(raft, raft->config.id))
        raft_candidate_start(raft, true);
}
