/* lib/raft/raft_joint.c - from one set of voters to any other: joint consensus (raft section 6, thesis 4.3).
 *
 * A change of one voter needs no more than one entry: the majorities before and
 * after it overlap. For any other the leader appends C_old,new, in force from then
 * on like every configuration: elections, commits, check quorum and reads need a
 * majority of the outgoing voters and one of the incoming ones. Once it is committed
 * nobody can win with the old majority alone, and the leader, or whoever comes after
 * it, appends C_new by itself. A leader that C_new is without goes when that is
 * committed.
 *
 * The way back. As long as C_old,new is not known to be committed, the leader that
 * appended it may append C_old again behind it. That is safe: every majority that
 * can win or commit meanwhile (of C_old, or of both halves) holds a majority of C_old,
 * and C_new exists only where C_old,new was seen committed. The leader does so when
 * it is told to, and of itself when the incoming half has fallen silent and the
 * outgoing has not: check quorum would end its leadership for the sake of newcomers
 * that are not there, and perhaps nobody could be elected after it. */
#include "lib/raft/raft_internal.h"

#include <string.h>

bool raft_members_joint(const struct raft_members *members)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->member[i].outgoing)
            return true;
    }
    return false;
}

static bool is_incoming(const struct raft_members *members, uint64_t id)
{
    const struct raft_member *member = raft_members_find(members, id);
    return member != NULL && member->role == RAFT_VOTER;
}

static bool is_outgoing(const struct raft_members *members, uint64_t id)
{
    const struct raft_member *member = raft_members_find(members, id);
    return member != NULL && member->outgoing;
}

bool raft_members_is_voter(const struct raft_members *members, uint64_t id)
{
    return is_incoming(members, id) || is_outgoing(members, id);
}

bool raft_members_join(const struct raft_members *old, const struct raft_members *next,
                       struct raft_members *ret)
{
    struct raft_members joint = {0};
    uint32_t i = 0, j = 0;
    while (i < old->count || j < next->count) {
        bool from_old = i < old->count && (j == next->count || old->member[i].id < next->member[j].id);
        struct raft_member member = from_old ? old->member[i++] : next->member[j++];
        bool voted = is_incoming(old, member.id);
        if (from_old && (!voted || raft_members_find(next, member.id) != NULL))
            continue; /* nothing is left of a learner; the others come with next */
        if (joint.count == RK_MEMBERS_MAX)
            return false;
        member.role = from_old ? RAFT_LEAVING : member.role;
        member.outgoing = voted;
        joint.member[joint.count++] = member;
    }
    *ret = joint;
    return raft_members_valid(&joint);
}

void raft_members_settle(const struct raft_members *joint, struct raft_members *ret)
{
    struct raft_members next = {0};
    for (uint32_t i = 0; i < joint->count; i++) {
        if (joint->member[i].role == RAFT_LEAVING)
            continue;
        next.member[next.count] = joint->member[i];
        next.member[next.count++].outgoing = false;
    }
    *ret = next;
}

bool raft_members_equal(const struct raft_members *a, const struct raft_members *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct raft_member *x = &a->member[i], *y = &b->member[i];
        if (x->id != y->id || x->role != y->role || x->outgoing != y->outgoing || x->priority != y->priority)
            return false;
    }
    return true;
}

/* Incoming voters of a that are not so in b. */
static uint32_t voters_missing(const struct raft_members *a, const struct raft_members *b)
{
    uint32_t missing = 0;
    for (uint32_t i = 0; i < a->count; i++)
        missing += a->member[i].role == RAFT_VOTER && !is_incoming(b, a->member[i].id);
    return missing;
}

static bool outgoing_are_voters_of(const struct raft_members *joint, const struct raft_members *old)
{
    for (uint32_t i = 0; i < joint->count; i++) {
        if (joint->member[i].outgoing != is_incoming(old, joint->member[i].id))
            return false;
    }
    for (uint32_t i = 0; i < old->count; i++) {
        if (old->member[i].role == RAFT_VOTER && !is_outgoing(joint, old->member[i].id))
            return false;
    }
    return true;
}

bool raft_members_step_ok(const struct raft_members *old, const struct raft_members *next)
{
    if (!raft_members_valid(next) || raft_members_joint(old))
        return false;
    if (raft_members_joint(next))
        return outgoing_are_voters_of(next, old);
    return voters_missing(old, next) + voters_missing(next, old) <= 1;
}

/* ---- leaving it, forwards and backwards -------------------------------------------- */

static void append(struct raft *raft, const struct raft_members *members)
{
    /* The output points at it, and the history moves. */
    uint64_t ended = raft_members_index(raft);
    raft->made_members = *members;
    struct raft_entry e = {.index = raft->log.last_index + 1,
                           .term = raft->vote.term,
                           /* About as large as what it ends, unless that was cut from the log. */
                           .bytes = ended > raft->log.base_index ? raft_terms_bytes(&raft->log, ended) : 0,
                           .kind = RAFT_ENTRY_MEMBERS,
                           .members = &raft->made_members};
    rk_assert(raft->append_count == 0);
    raft->uncommitted_bytes += e.bytes;
    raft_log_append(raft, &e, RAFT_NO_SOURCE);
}

/* Whoever leads does it, once its own term has committed what the joint one needs: both majorities. */
void raft_joint_leave(struct raft *raft)
{
    if (!raft_ready(raft) || raft_members_index(raft) > raft->commit ||
        !raft_members_joint(raft_current(raft)))
        return;
    struct raft_members next;
    raft_members_settle(raft_current(raft), &next);
    append(raft, &next);
}

/* Ours, of this term, and not known to be committed: an earlier leader's may have been committed already. */
static bool may_go_back(const struct raft *raft)
{
    uint64_t index = raft_members_index(raft);
    return raft->role == RAFT_LEADER && raft->history.count == 2 && index > raft->commit &&
           raft_members_joint(raft_current(raft)) && raft_terms_at(&raft->log, index) == raft->vote.term;
}

void raft_joint_abort(struct raft *raft)
{
    raft->out->propose_outcome =
        raft->role == RAFT_LEADER ? RAFT_PROPOSE_BAD_CHANGE : RAFT_PROPOSE_NOT_LEADER;
    if (!may_go_back(raft))
        return;
    raft->out->propose_outcome = RAFT_PROPOSE_OK;
    append(raft, &raft->history.items[0].members);
}

bool raft_joint_save(struct raft *raft)
{
    if (!may_go_back(raft) ||
        raft->now_us >= raft_leader_quorum_deadline(raft, &raft->history.items[0].members))
        return false;
    append(raft, &raft->history.items[0].members);
    return true;
}
