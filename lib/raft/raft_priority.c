/* lib/raft/raft_priority.c - which voter should lead, if it can.
 *
 * Priorities are wishes. A voter that is outranked waits an election timeout longer
 * before it campaigns, so that others come first when they are there; when they are not, it
 * leads. A leader that is outranked by a voter which is there and has everything that is
 * committed hands leadership over to it, as an administrator would. It does not insist:
 * after an attempt it leads on for a while, so that a successor which never takes over
 * costs little. */
#include "lib/raft/raft_internal.h"

/* In election timeouts: between two attempts. */
#define HAND_OVER_PAUSE 10u

static uint8_t own(const struct raft *raft)
{
    const struct raft_member *member = raft_members_find(raft_current(raft), raft->config.id);
    return member != NULL ? member->priority : 0;
}

uint64_t raft_priority_delay_us(const struct raft *raft)
{
    const struct raft_members *members = raft_current(raft);
    uint8_t ours = own(raft);
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->member[i].role == RAFT_VOTER && members->member[i].priority > ours)
            return raft->config.election_timeout_us;
    }
    return 0;
}

static bool is_fit(const struct raft *raft, const struct raft_progress *p)
{
    return p != NULL && p->mode == RAFT_PEER_REPLICATE && p->match >= raft->commit && p->active_us != 0 &&
           raft->now_us - p->active_us <= 2 * raft->config.heartbeat_us;
}

void raft_priority_hand_over(struct raft *raft)
{
    const struct raft_members *members = raft_current(raft);
    const struct raft_member *best = NULL;
    uint8_t most = own(raft);
    if (raft->transferring || !raft_ready(raft) || raft->now_us < raft->hand_over_us ||
        raft_members_index(raft) > raft->commit)
        return;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->member[i];
        if (member->role != RAFT_VOTER || member->priority <= most ||
            !is_fit(raft, raft_leader_progress(raft, member->id)))
            continue;
        best = member;
        most = member->priority;
    }
    if (best == NULL)
        return;
    raft->hand_over_us = raft->now_us + HAND_OVER_PAUSE * raft->config.election_timeout_us;
    raft_transfer_begin(raft, best->id);
}
