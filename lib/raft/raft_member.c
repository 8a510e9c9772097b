/* lib/raft/raft_member.c - who belongs to the group: the configurations in the log (thesis chapter 4).
 *
 * A configuration counts from the moment its entry is appended, committed or not,
 * and stops counting when the entry is truncated. So the core keeps the newest
 * committed one and everything after it. What may follow what: raft_joint.c. */
#include "lib/raft/raft_internal.h"

#include <string.h>

const struct raft_member *raft_members_find(const struct raft_members *members, uint64_t id)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->member[i].id == id)
            return &members->member[i];
    }
    return NULL;
}

uint32_t raft_members_voters(const struct raft_members *members)
{
    uint32_t voters = 0;
    for (uint32_t i = 0; i < members->count; i++)
        voters += members->member[i].role == RAFT_VOTER;
    return voters;
}

uint32_t raft_members_quorum(const struct raft_members *members)
{
    return raft_quorum_size(raft_members_voters(members));
}

bool raft_members_valid(const struct raft_members *members)
{
    if (members == NULL || members->count > RK_MEMBERS_MAX)
        return false;
    uint64_t before = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->member[i];
        if (member->id <= before || member->role < RAFT_LEARNER || member->role > RAFT_LEAVING)
            return false;
        if (member->role == RAFT_LEAVING && !member->outgoing)
            return false;
        before = member->id;
    }
    return raft_members_voters(members) > 0;
}

/* The configuration in force may have changed. */
static void in_force(struct raft *raft)
{
    raft->out->members_changed = true;
    /* The votes of a candidacy were counted for another configuration. */
    if (raft->role == RAFT_PRE_CANDIDATE || raft->role == RAFT_CANDIDATE)
        raft_become_follower(raft, raft->vote.term, 0);
    if (raft->role == RAFT_LEADER)
        raft_leader_sync_peers(raft);
    else if (raft_member_alone(raft) && raft->leader == 0)
        raft->election_us = rk_max_u64(raft->now_us, raft->promised_us); /* nobody to wait for */
    else if (raft->election_us == RK_NEVER && raft_member_may_campaign(raft, raft->config.id))
        raft_arm_election(raft);
}

static void push(struct raft_history *h, uint64_t index, const struct raft_members *members)
{
    h->items = raft_grow(h->items, &h->capacity, h->count, sizeof(*h->items));
    h->items[h->count++] = (struct raft_members_at){.index = index, .members = *members};
}

void raft_member_append(struct raft *raft, uint64_t index, const struct raft_members *members)
{
    push(&raft->history, index, members);
    if (raft->out != NULL)
        in_force(raft);
}

void raft_member_truncate(struct raft *raft, uint64_t index)
{
    struct raft_history *h = &raft->history;
    size_t before = h->count;
    while (h->count > 1 && h->items[h->count - 1].index > index && !RK_PLANT(CHANGE_NOT_UNDONE))
        h->count--;
    if (h->count != before)
        in_force(raft);
}

/* Forgets the items before position first. */
static void drop_before(struct raft_history *h, size_t first)
{
    if (first == 0)
        return;
    memmove(h->items, h->items + first, (h->count - first) * sizeof(*h->items));
    h->count -= first;
}

void raft_member_committed(struct raft *raft)
{
    struct raft_history *h = &raft->history;
    size_t newest = 0;
    while (newest + 1 < h->count && h->items[newest + 1].index <= raft->commit)
        newest++;
    drop_before(h, newest);
}

void raft_member_install(struct raft *raft, uint64_t upto, bool keep_later,
                         const struct raft_members *members, uint64_t members_index)
{
    struct raft_history *h = &raft->history;
    size_t later = h->count;
    while (keep_later && later > 0 && h->items[later - 1].index > upto)
        later--;
    if (later == 0) {
        /* Everything known comes after the snapshot: room for its own in front. */
        push(h, 0, members);
        memmove(h->items + 1, h->items, (h->count - 1) * sizeof(*h->items));
    } else {
        drop_before(h, later - 1);
    }
    if (!keep_later)
        h->count = 1;
    h->items[0] = (struct raft_members_at){.index = members_index, .members = *members};
    in_force(raft);
}

/* "A server that is not part of its own latest configuration should still start new elections", as its log
 * may be the only one that is up to date and holds the change that removes it (thesis 4.2.2): without this, a
 * leader of two that appended its own removal and restarted would leave nobody electable. Once the change is
 * known to be committed, only members of it campaign. Learners never do. */
bool raft_member_may_campaign(const struct raft *raft, uint64_t id)
{
    const struct raft_history *h = &raft->history;
    for (size_t i = h->count; i > 0; i--) {
        if (raft_members_is_voter(&h->items[i - 1].members, id))
            return true;
        if (h->items[i - 1].index <= raft->commit)
            return false;
    }
    return false;
}

bool raft_member_alone(const struct raft *raft)
{
    const struct raft_members *members = raft_current(raft);
    uint32_t voters = 0;
    for (uint32_t i = 0; i < members->count; i++)
        voters += raft_members_is_voter(members, members->member[i].id);
    return voters == 1 && raft_members_is_voter(members, raft->config.id);
}
