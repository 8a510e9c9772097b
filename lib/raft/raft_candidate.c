/* lib/raft/raft_candidate.c - elections, from both sides.
 *
 * Three rules work together, and each alone has a hole (thesis 4.2.3, 6.2, 9.6):
 *   prevote       who cannot win does not raise its term, so a member that comes back
 *                 from a partition does not depose anybody;
 *   stickiness    who has heard a leader within the election timeout does not answer
 *                 other candidates, so a removed member cannot disturb;
 *   check quorum  a leader that a quorum does not answer steps down (raft_leader.c), so
 *                 stickiness never protects a leader that cannot commit.
 * Promises of leases (raft_lease.c) are a stricter stickiness.
 * A pre-candidate forgets its leader: otherwise its own stickiness would keep it from
 * helping others. And a vote asked by our leader itself is not subject to stickiness:
 * it asks, so it does not lead any more. */
#include "lib/raft/raft_internal.h"

static bool sticky(const struct raft *raft, uint64_t from)
{
    if (raft->role == RAFT_LEADER)
        return true; /* check quorum decides how long */
    return raft->leader != 0 && raft->leader != from &&
           raft->now_us - raft->leader_heard_us < raft->config.election_timeout_us;
}

/* Votes go to members. But which configuration is right is known to the longer log only: a voter that was
 * added while we were away is unknown to us, and if it were refused, a cluster whose other members are gone
 * could not elect anybody. Such a candidate's log is strictly ahead of ours, for it holds the entry that made
 * it a voter; that, not equality, is asked of a stranger. The same goes for our role: whether we count is the
 * candidate's knowledge, so learners and members of nothing answer too. */
static bool may_lead(const struct raft *raft, const struct raft_message *m)
{
    if (!raft_log_up_to_date(raft, m->index, m->log_term) && !RK_PLANT(VOTE_FOR_ANY_LOG))
        return false;
    for (size_t i = 0; i < raft->history.count; i++) {
        if (raft_members_is_voter(&raft->history.items[i].members, m->from))
            return true;
    }
    return m->index != raft->log.last_index || m->log_term != raft_terms_last(&raft->log);
}

static void reply(struct raft *raft, enum raft_message_kind kind, uint64_t to, uint64_t term, bool granted)
{
    /* A promise must survive a crash; a refusal and a prevote promise nothing. */
    bool promise = kind == RAFT_MSG_VOTE_REPLY && granted && !RK_PLANT(VOTE_BEFORE_FLUSH);
    enum raft_send send = promise ? RAFT_SEND_DURABLE : RAFT_SEND_NOW;
    raft_send(raft, send, (struct raft_message){.kind = kind, .to = to, .term = term, .reject = !granted});
}

void raft_candidate_prevote(struct raft *raft, const struct raft_message *m)
{
    /* Sent to a stale member even by a sticky one: it needs our term before it can ever be elected. */
    if (m->term <= raft->vote.term)
        return reply(raft, RAFT_MSG_PREVOTE_REPLY, m->from, raft->vote.term, false);
    if (sticky(raft, m->from) || raft_lease_promised(raft, m->from))
        return;
    bool granted = may_lead(raft, m);
    reply(raft, RAFT_MSG_PREVOTE_REPLY, m->from, granted ? m->term : raft->vote.term, granted);
}

void raft_candidate_vote(struct raft *raft, const struct raft_message *m)
{
    if (m->term < raft->vote.term)
        return reply(raft, RAFT_MSG_VOTE_REPLY, m->from, raft->vote.term, false);
    if (raft_lease_promised(raft, m->from) && !m->transfer)
        return;
    bool fit = may_lead(raft, m);
    if (m->term > raft->vote.term) {
        if (sticky(raft, m->from) && !m->transfer)
            return;
        raft_become_follower(raft, m->term, 0);
    }
    /* The same question again gets the same answer: the first reply may have been lost. */
    bool granted =
        fit && (raft->vote.voted_for == m->from || (raft->vote.voted_for == 0 && raft->leader == 0));
    if (fit && RK_PLANT(VOTE_TWICE))
        granted = true;
    if (granted) {
        raft_become_follower(raft, m->term, raft->leader);
        raft->vote.voted_for = m->from;
        raft_arm_election(raft);
    }
    reply(raft, RAFT_MSG_VOTE_REPLY, m->from, raft->vote.term, granted);
}

/* Counts a yes; returns whether they are a quorum now. */
static bool count_grant(struct raft *raft, uint64_t from)
{
    const struct raft_members *members = raft_current(raft);
    if (!raft_members_is_voter(members, from))
        return false;
    for (uint32_t i = 0; i < raft->granted_count; i++) {
        if (raft->granted[i] == from)
            return false;
    }
    rk_assert(raft->granted_count < RK_MEMBERS_MAX);
    raft->granted[raft->granted_count++] = from;
    return raft_quorum_granted(members, raft->granted, raft->granted_count);
}

static void ask(struct raft *raft, enum raft_message_kind kind, uint64_t term, enum raft_send send)
{
    const struct raft_members *members = raft_current(raft);
    for (uint32_t i = 0; i < members->count; i++) {
        if (!raft_members_is_voter(members, members->member[i].id) ||
            members->member[i].id == raft->config.id)
            continue;
        raft_send(raft, send,
                  (struct raft_message){.kind = kind,
                                        .to = members->member[i].id,
                                        .term = term,
                                        .index = raft->log.last_index,
                                        .log_term = raft_terms_last(&raft->log),
                                        .transfer = kind == RAFT_MSG_VOTE && raft->campaign_transfer});
    }
}

static void start_prevote(struct raft *raft)
{
    raft->role = RAFT_PRE_CANDIDATE;
    raft->granted_count = 0;
    raft_arm_election(raft);
    if (count_grant(raft, raft->config.id))
        return raft_candidate_start(raft, false);
    ask(raft, RAFT_MSG_PREVOTE, raft->vote.term + 1, RAFT_SEND_NOW);
}

void raft_candidate_start(struct raft *raft, bool transfer)
{
    if (raft->vote.term >= RAFT_TERM_MAX)
        return;
    raft->role = RAFT_CANDIDATE;
    raft->leader = 0;
    raft->granted_count = 0;
    raft->campaign_transfer = transfer;
    raft->vote = (struct raft_vote){.term = raft->vote.term + 1, .voted_for = raft->config.id};
    raft_arm_election(raft);
    raft->elected_alone = count_grant(raft, raft->config.id);
    if (raft->elected_alone)
        return raft_leader_start(raft);
    /* A reply to a durable question proves that our own vote was durable before it was counted. */
    ask(raft, RAFT_MSG_VOTE, raft->vote.term, RAFT_SEND_DURABLE);
}

void raft_candidate_timeout(struct raft *raft)
{
    raft->leader = 0;
    if (!raft->config.abstain && raft_member_may_campaign(raft, raft->config.id))
        return start_prevote(raft);
    raft_become_follower(raft, raft->vote.term, 0);
    raft->election_us = RK_NEVER;
}

void raft_candidate_prevote_reply(struct raft *raft, const struct raft_message *m)
{
    if (raft->role != RAFT_PRE_CANDIDATE || m->reject || m->term != raft->vote.term + 1)
        return;
    if (count_grant(raft, m->from))
        raft_candidate_start(raft, false);
}

void raft_candidate_vote_reply(struct raft *raft, const struct raft_message *m)
{
    if (raft->role != RAFT_CANDIDATE || m->reject)
        return;
    if (count_grant(raft, m->from))
        raft_leader_start(raft);
}
