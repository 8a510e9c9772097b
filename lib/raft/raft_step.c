/* lib/raft/raft_step.c - the door of the core: making one, stepping it, and what it says of itself.
 *
 * The rules that hold for every message live here: who it is for, which terms it may
 * carry, and what a later term does to us. What a message means is in the file of the
 * role that receives it. */
#include "lib/raft/raft_internal.h"

#include <string.h>

/* ---- making one ---------------------------------------------------------- */

static bool entry_follows(const struct raft_entry *e, uint64_t index, uint64_t term)
{
    if (e->index != index || e->term < term || e->term == 0 || e->term > RAFT_TERM_MAX)
        return false;
    return e->kind == RAFT_ENTRY_NOOP || e->kind == RAFT_ENTRY_COMMAND || e->kind == RAFT_ENTRY_MEMBERS;
}

static bool boot_valid(const struct raft_boot *boot)
{
    if (boot->base_index > RAFT_INDEX_MAX || boot->count > RAFT_INDEX_MAX - boot->base_index)
        return false;
    if ((boot->base_index == 0) != (boot->base_term == 0))
        return false;
    if (boot->commit < boot->base_index || boot->commit > boot->base_index + boot->count)
        return false;
    if (boot->members_index > boot->commit ||
        (boot->members.count > 0 && !raft_members_valid(&boot->members)))
        return false;
    uint64_t term = boot->base_term;
    for (uint64_t i = 0; i < boot->count; i++) {
        const struct raft_entry *e = &boot->entries[i];
        if (!entry_follows(e, boot->base_index + 1 + i, term))
            return false;
        if (e->kind == RAFT_ENTRY_MEMBERS && e->index > boot->members_index &&
            !raft_members_valid(e->members))
            return false;
        term = e->term;
    }
    return term <= RAFT_TERM_MAX;
}

static void load_log(struct raft *raft, const struct raft_boot *boot)
{
    raft_terms_init(&raft->log, boot->base_index, boot->base_term);
    raft_member_append(raft, boot->members_index, &boot->members);
    for (uint64_t i = 0; i < boot->count; i++) {
        const struct raft_entry *e = &boot->entries[i];
        raft_terms_append(&raft->log, e->term, e->bytes);
        if (e->kind == RAFT_ENTRY_MEMBERS && e->index > boot->members_index)
            raft_member_append(raft, e->index, e->members);
    }
}

struct raft *raft_new(const struct raft_config *config, const struct raft_boot *boot)
{
    rk_assert(config->id != 0 && config->heartbeat_us > 0 && config->inflight_messages_max > 0);
    rk_assert(config->append_entries_max > 0 && config->heartbeat_us < config->election_timeout_us);
    if (!boot_valid(boot))
        return NULL;
    struct raft *raft = RK_NEW(struct raft);
    raft->config = *config;
    raft->random.state = config->seed;
    raft->now_us = boot->now_us;
    raft->role = RAFT_FOLLOWER;
    raft->transfer_us = RK_NEVER;
    load_log(raft, boot);
    raft->vote = boot->vote;
    /* The log proves that its last term has begun; a vote of an older term says nothing about it. */
    if (raft->vote.term < raft_terms_last(&raft->log))
        raft->vote = (struct raft_vote){.term = raft_terms_last(&raft->log)};
    raft->persisted = raft->log.last_index;
    raft->commit = raft->applied = boot->commit;
    raft_member_committed(raft);
    if (!RK_PLANT(LEASE_PROMISE_FORGOTTEN))
        raft_lease_promise(raft, 0); /* whatever we promised before we stopped */
    raft_arm_election(raft);
    if (raft_member_alone(raft))
        raft->election_us = rk_max_u64(raft->now_us, raft->promised_us);
    return raft;
}

void raft_free(struct raft *raft)
{
    if (raft == NULL)
        return;
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft_progress_deinit(&raft->peers[i]);
    raft_terms_deinit(&raft->log);
    free(raft->history.items);
    free(raft->reads);
    free(raft->append);
    free(raft->messages);
    free(raft->read_results);
    free(raft);
}

/* ---- tools of the roles --------------------------------------------------- */

void raft_send(struct raft *raft, enum raft_send send, struct raft_message message)
{
    message.from = raft->config.id;
    raft->messages =
        raft_grow(raft->messages, &raft->message_capacity, raft->message_count, sizeof(*raft->messages));
    raft->messages[raft->message_count++] = (struct raft_out_message){.message = message, .send = send};
}

void raft_log_append(struct raft *raft, const struct raft_entry *entry, uint32_t source)
{
    rk_assert(entry->index == raft->log.last_index + 1);
    if (raft->persisted == raft->log.last_index)
        raft->persisted_us = raft->now_us;
    raft_terms_append(&raft->log, entry->term, entry->bytes);
    raft->append = raft_grow(raft->append, &raft->append_capacity, raft->append_count, sizeof(*raft->append));
    if (raft->append_count == 0)
        raft->out->append_source = source;
    raft->append[raft->append_count++] = *entry;
    if (entry->kind == RAFT_ENTRY_MEMBERS)
        raft_member_append(raft, entry->index, entry->members);
}

void raft_set_commit(struct raft *raft, uint64_t index)
{
    if (index <= raft->commit)
        return;
    rk_assert(index <= raft->log.last_index);
    if (raft->role == RAFT_LEADER)
        raft->uncommitted_bytes -= raft_terms_sum(&raft->log, raft->commit + 1, index);
    raft->commit = index;
    raft->out->commit_changed = true;
    raft_member_committed(raft);
}

/* A new random wait every time: members that split a vote must not do so again in step (raft 5.2). */
void raft_arm_election(struct raft *raft)
{
    bool waits = raft->leader != 0 || raft_member_may_campaign(raft, raft->config.id);
    uint64_t least = raft->config.election_timeout_us;
    uint64_t delay = least + rk_random_below(&raft->random, least) + raft_priority_delay_us(raft);
    raft->election_us = waits ? raft->now_us + delay : RK_NEVER;
}

void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader)
{
    rk_assert(term >= raft->vote.term);
    if (term > raft->vote.term)
        raft->vote = (struct raft_vote){.term = term};
    enum raft_role before = raft->role;
    if (before == RAFT_LEADER)
        raft_leader_stop(raft);
    raft->role = RAFT_FOLLOWER;
    raft->leader = leader;
    raft->granted_count = 0;
    if (leader != 0) {
        raft->leader_heard_us = raft->now_us;
        raft_lease_promise(raft, leader);
    }
    /* A follower that merely learns of a term goes on waiting: a disturber must not be able to put it off. */
    if (leader != 0 || before != RAFT_FOLLOWER || raft->election_us == RK_NEVER)
        raft_arm_election(raft);
}

/* Raft 5.4.1: the later last term wins, the longer log decides between equal ones. */
bool raft_log_up_to_date(const struct raft *raft, uint64_t index, uint64_t term)
{
    uint64_t own = raft_terms_last(&raft->log);
    if (RK_PLANT(VOTE_BY_LENGTH))
        return index >= raft->log.last_index;
    return term > own || (term == own && index >= raft->log.last_index);
}

/* ---- messages -------------------------------------------------------------- */

static bool is_reply(enum raft_message_kind kind)
{
    return kind == RAFT_MSG_PREVOTE_REPLY || kind == RAFT_MSG_VOTE_REPLY || kind == RAFT_MSG_APPEND_REPLY ||
           kind == RAFT_MSG_HEARTBEAT_REPLY;
}

static bool from_leader(enum raft_message_kind kind)
{
    return kind == RAFT_MSG_APPEND || kind == RAFT_MSG_HEARTBEAT || kind == RAFT_MSG_TIMEOUT_NOW;
}

static bool append_valid(const struct raft_message *m)
{
    uint64_t term = m->log_term;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct raft_entry *e = &m->entries[i];
        if (!entry_follows(e, m->index + 1 + i, term) || e->term > m->term)
            return false;
        if (e->kind == RAFT_ENTRY_MEMBERS && !raft_members_valid(e->members))
            return false;
        term = e->term;
    }
    /* Term 0 stands for the place in front of the first entry, and for nothing else. */
    return m->log_term <= m->term && (m->log_term == 0) == (m->index == 0);
}

static bool message_valid(const struct raft *raft, const struct raft_message *m)
{
    if (m->to != raft->config.id || m->from == raft->config.id || m->from == 0)
        return false;
    /* Only a member that has seen no term yet may speak of term 0, and only to refuse a prevote. */
    if (m->term == 0 && m->kind != RAFT_MSG_PREVOTE_REPLY)
        return false;
    if (m->term > RAFT_TERM_MAX || m->index > RAFT_INDEX_MAX)
        return false;
    if (m->kind == RAFT_MSG_APPEND)
        return (m->count == 0 || m->entries != NULL) && append_valid(m);
    return true;
}

/* Brings our term and the message's together. Returns whether the message is of our term now and is to be
 * read on. */
static bool settle_terms(struct raft *raft, const struct raft_message *m)
{
    if (is_reply(m->kind)) {
        /* Only members are asked, and one that was removed meanwhile may not push our term. */
        if (raft_members_find(raft_current(raft), m->from) == NULL)
            return false;
        /* A granted prevote carries the term that would be, not one that is. */
        if (m->kind == RAFT_MSG_PREVOTE_REPLY && !m->reject)
            return true;
        if (m->term > raft->vote.term)
            raft_become_follower(raft, m->term, 0);
        return m->term == raft->vote.term;
    }
    if (!from_leader(m->kind))
        return true; /* votes have rules of their own */
    if (m->term < raft->vote.term) {
        if (RK_PLANT(OLD_LEADER_FOLLOWED) && m->kind == RAFT_MSG_APPEND)
            return raft->role == RAFT_FOLLOWER;
        raft_follower_refuse(raft, m);
        return false;
    }
    if (m->term == raft->vote.term && raft->role == RAFT_LEADER)
        return false; /* two leaders of one term: forged */
    raft_become_follower(raft, m->term, m->from);
    return true;
}

static void step_message(struct raft *raft, const struct raft_message *m)
{
    if (m == NULL || !message_valid(raft, m) || !settle_terms(raft, m))
        return;
    if (raft->config.abstain &&
        (m->kind == RAFT_MSG_PREVOTE || m->kind == RAFT_MSG_VOTE || m->kind == RAFT_MSG_TIMEOUT_NOW))
        return; /* as if it had been lost on its way */
    switch (m->kind) {
    case RAFT_MSG_PREVOTE:
        return raft_candidate_prevote(raft, m);
    case RAFT_MSG_PREVOTE_REPLY:
        return raft_candidate_prevote_reply(raft, m);
    case RAFT_MSG_VOTE:
        return raft_candidate_vote(raft, m);
    case RAFT_MSG_VOTE_REPLY:
        return raft_candidate_vote_reply(raft, m);
    case RAFT_MSG_APPEND:
        return raft_follower_append(raft, m);
    case RAFT_MSG_APPEND_REPLY:
        return raft_leader_append_reply(raft, m);
    case RAFT_MSG_HEARTBEAT:
        return raft_follower_heartbeat(raft, m);
    case RAFT_MSG_HEARTBEAT_REPLY:
        return raft_leader_heartbeat_reply(raft, m);
    case RAFT_MSG_TIMEOUT_NOW:
        return raft_transfer_receive(raft, m);
    }
}

/* ---- the other events ------------------------------------------------------ */

static void step_tick(struct raft *raft)
{
    raft_transfer_check(raft);
    if (raft->role == RAFT_LEADER)
        raft_leader_tick(raft);
    else if (raft->now_us >= raft->election_us)
        raft_candidate_timeout(raft);
}

/* A completion may be late: the entry it speaks of can have been replaced by another with the same index.
 * Then a later completion will speak for the new one. */
static void step_persisted(struct raft *raft, uint64_t index, uint64_t term)
{
    if (RK_PLANT(STALE_COMPLETION) && index <= raft->log.last_index)
        term = raft_terms_at(&raft->log, index);
    if (index <= raft->persisted || term == 0 || raft_terms_at(&raft->log, index) != term)
        return;
    raft->persisted = index;
    raft->persisted_us = raft->now_us;
    if (raft->role == RAFT_LEADER)
        raft_leader_advance(raft);
}

static void step_cut(struct raft *raft, uint64_t index)
{
    if (index <= raft->log.base_index || index > raft->applied)
        return;
    raft_terms_cut(&raft->log, index);
    /* The rows that made the cut possible are on disk and stand for these entries. */
    raft->persisted = rk_max_u64(raft->persisted, index);
    if (raft->role == RAFT_LEADER)
        raft_leader_advance(raft);
}

static void dispatch(struct raft *raft, const struct raft_event *event)
{
    switch (event->kind) {
    case RAFT_EVENT_TICK:
        return step_tick(raft);
    case RAFT_EVENT_MESSAGE:
        return step_message(raft, event->message);
    case RAFT_EVENT_PROPOSE:
        return raft_leader_propose(raft, event);
    case RAFT_EVENT_PERSISTED:
        return step_persisted(raft, event->index, event->term);
    case RAFT_EVENT_APPLIED:
        raft->applied = rk_max_u64(raft->applied, rk_min_u64(event->index, raft->commit));
        return;
    case RAFT_EVENT_READ:
        return raft_read_add(raft, event->ticket);
    case RAFT_EVENT_TRANSFER:
        return raft_transfer_begin(raft, event->peer);
    case RAFT_EVENT_UNREACHABLE:
        return raft_leader_unreachable(raft, event->peer);
    case RAFT_EVENT_SNAPSHOT_SENT:
        return raft_leader_snapshot_sent(raft, event);
    case RAFT_EVENT_SNAPSHOT_OFFERED:
        return raft_follower_offered(raft, event);
    case RAFT_EVENT_SNAPSHOT_INSTALLED:
        return raft_follower_installed(raft, event);
    case RAFT_EVENT_CUT:
        return step_cut(raft, event->index);
    case RAFT_EVENT_ABSTAIN_END:
        raft->config.abstain = false;
        if (raft->role == RAFT_FOLLOWER && raft->election_us == RK_NEVER)
            raft_arm_election(raft);
        return;
    case RAFT_EVENT_STEP_DOWN:
        return raft_leader_resign(raft);
    case RAFT_EVENT_ABORT_CHANGE:
        return raft_joint_abort(raft);
    }
}

static void finish(struct raft *raft, struct raft_output *out)
{
    out->vote = raft->vote;
    out->append = raft->append;
    out->append_count = (uint32_t)raft->append_count;
    out->messages = raft->messages;
    out->message_count = (uint32_t)raft->message_count;
    out->commit = raft->commit;
    out->reads = raft->read_results;
    out->read_count = (uint32_t)raft->read_result_count;
    out->snapshot_peers = raft->snapshot_peers;
    out->snapshot_peer_count = raft->snapshot_peer_count;
    raft->out = NULL;
}

void raft_step(struct raft *raft, const struct raft_event *event, struct raft_output *ret_output)
{
    *ret_output = (struct raft_output){.append_source = RAFT_NO_SOURCE};
    raft->append_count = raft->message_count = raft->read_result_count = 0;
    raft->snapshot_peer_count = 0;
    raft->out = ret_output;
    /* Time never runs backwards inside, whatever the caller's events say. */
    raft->now_us = rk_max_u64(raft->now_us, event->now_us);

    struct raft_vote vote = raft->vote;
    enum raft_role role = raft->role;
    uint64_t leader = raft->leader;
    dispatch(raft, event);
    if (raft->role == RAFT_LEADER)
        raft_leader_flush(raft);
    raft_transfer_check(raft);

    ret_output->vote_changed = vote.term != raft->vote.term || vote.voted_for != raft->vote.voted_for;
    ret_output->role_changed = role != raft->role || leader != raft->leader || vote.term != raft->vote.term;
    finish(raft, ret_output);
}

/* ---- getters ---------------------------------------------------------------- */

uint64_t raft_deadline(const struct raft *raft)
{
    uint64_t own = raft->role == RAFT_LEADER ? raft_leader_deadline(raft) : raft->election_us;
    return rk_min_u64(own, raft->transfer_us);
}

void raft_status(const struct raft *raft, struct raft_status *ret)
{
    *ret = (struct raft_status){
        .id = raft->config.id,
        .term = raft->vote.term,
        .voted_for = raft->vote.voted_for,
        .leader = raft->leader,
        .role = raft->role,
        .base_index = raft->log.base_index,
        .last_index = raft->log.last_index,
        .last_term = raft_terms_last(&raft->log),
        .commit = raft->commit,
        .persisted = raft->persisted,
        .applied = raft->applied,
        .transferring = raft->transferring,
        .ready = raft_ready(raft),
    };
}

const struct raft_members *raft_members(const struct raft *raft)
{
    return raft_current(raft);
}

uint64_t raft_term_at(const struct raft *raft, uint64_t index)
{
    return raft_terms_at(&raft->log, index);
}

const char *raft_role_name(enum raft_role role)
{
    static const char *const names[] = {"unknown", "follower", "pre-candidate", "candidate", "leader"};
    return (size_t)role < RK_ARRAY_LEN(names) ? names[role] : names[0];
}
