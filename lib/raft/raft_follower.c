/* lib/raft/raft_follower.c - taking entries, heartbeats and snapshots from a leader. */
#include "lib/raft/raft_internal.h"

static void reply_match(struct raft *raft, uint64_t to, uint64_t index)
{
    raft_send(raft, RK_PLANT(ACK_BEFORE_FLUSH) ? RAFT_SEND_NOW : RAFT_SEND_DURABLE,
              (struct raft_message){
                  .kind = RAFT_MSG_APPEND_REPLY, .to = to, .term = raft->vote.term, .index = index});
}

/* An old leader is told our term: it would lead on otherwise, and we, who cannot follow it, would ask in vain
 * for votes of members that can. Nothing is promised, so nothing has to be durable. */
void raft_follower_refuse(struct raft *raft, const struct raft_message *m)
{
    if (m->kind == RAFT_MSG_APPEND)
        raft_send(raft, RAFT_SEND_NOW,
                  (struct raft_message){.kind = RAFT_MSG_APPEND_REPLY,
                                        .to = m->from,
                                        .term = raft->vote.term,
                                        .index = m->index,
                                        .reject = true});
    else if (m->kind == RAFT_MSG_HEARTBEAT)
        raft_send(
            raft, RAFT_SEND_NOW,
            (struct raft_message){
                .kind = RAFT_MSG_HEARTBEAT_REPLY, .to = m->from, .term = raft->vote.term, .token = m->token});
}

/* Where our log could match the leader's: not behind the refused entry, and not in a later term than it has
 * there. One refusal passes over a whole term of conflicting entries (raft 5.3, end). */
static void reject(struct raft *raft, const struct raft_message *m)
{
    uint64_t hint = raft_terms_search(&raft->log, rk_min_u64(m->index, raft->log.last_index), m->log_term);
    hint = rk_max_u64(hint, raft->commit);
    raft_send(raft, RAFT_SEND_NOW,
              (struct raft_message){.kind = RAFT_MSG_APPEND_REPLY,
                                    .to = m->from,
                                    .term = raft->vote.term,
                                    .index = m->index,
                                    .reject = true,
                                    .hint = hint,
                                    .hint_term = raft_terms_at(&raft->log, hint)});
}

static void truncate_log(struct raft *raft, uint64_t index)
{
    rk_assert(index >= raft->commit);
    raft_terms_truncate(&raft->log, index);
    raft->persisted = rk_min_u64(raft->persisted, index);
    raft_member_truncate(raft, index);
}

/* Drops nothing before the first real conflict: a late message whose entries we have must not remove what
 * came after them (raft 5.3). */
static void take_entries(struct raft *raft, const struct raft_message *m)
{
    uint32_t i = 0;
    while (i < m->count && (m->entries[i].index <= raft->commit ||
                            raft_terms_at(&raft->log, m->entries[i].index) == m->entries[i].term))
        i++;
    if (RK_PLANT(TRUNCATE_ALWAYS) && m->index + m->count >= raft->commit &&
        m->index + m->count < raft->log.last_index)
        truncate_log(raft, m->index + m->count);
    if (i == m->count)
        return;
    if (m->entries[i].index <= raft->log.last_index)
        truncate_log(raft, m->entries[i].index - 1);
    for (uint32_t first = i; i < m->count; i++)
        raft_log_append(raft, &m->entries[i], first);
}

/* A message that has another entry than ours at the commit index is no leader's: drop it, answer nothing. */
static bool contradicts(const struct raft *raft, const struct raft_message *m)
{
    uint64_t commit = raft->commit;
    if (m->index > commit || m->index + m->count < commit)
        return false;
    uint64_t term = m->index == commit ? m->log_term : m->entries[commit - m->index - 1].term;
    return term != raft_terms_at(&raft->log, commit);
}

void raft_follower_append(struct raft *raft, const struct raft_message *m)
{
    if (contradicts(raft, m))
        return;
    /* What is committed here is in every later leader's log (leader completeness, raft 5.4.3), so everything
     * up to our commit index matches, whether or not the entries are still in our log. */
    if (m->index > raft->commit && raft_terms_at(&raft->log, m->index) != m->log_term &&
        !(RK_PLANT(PREV_NOT_CHECKED) && m->index <= raft->log.last_index))
        return reject(raft, m);
    take_entries(raft, m);
    uint64_t verified = rk_max_u64(m->index + m->count, raft->commit);
    raft_set_commit(raft, rk_min_u64(m->commit, verified));
    reply_match(raft, m->from, verified);
}

void raft_follower_heartbeat(struct raft *raft, const struct raft_message *m)
{
    /* The leader never sends more than we acknowledged to it in this term; the bound guards against a disk
     * that lost what it had. */
    raft_set_commit(raft, rk_min_u64(m->commit, raft->log.last_index));
    /* Token 0 only tells the commit index; nobody waits for an answer. */
    if (m->token == 0)
        return;
    raft_send(raft, RAFT_SEND_NOW,
              (struct raft_message){.kind = RAFT_MSG_HEARTBEAT_REPLY,
                                    .to = m->from,
                                    .term = raft->vote.term,
                                    .token = m->token,
                                    .lease = raft->config.lease_reads});
}

void raft_follower_offered(struct raft *raft, const struct raft_event *event)
{
    if (event->peer == 0 || event->peer == raft->config.id || event->term > RAFT_TERM_MAX)
        return;
    if (event->term < raft->vote.term || (event->term == raft->vote.term && raft->role == RAFT_LEADER))
        return;
    raft_become_follower(raft, event->term, event->peer);
    raft->out->snapshot_accepted =
        (event->index > raft->commit || RK_PLANT(SNAPSHOT_OVER_NEWER)) && event->index <= RAFT_INDEX_MAX;
    /* We have what it offers already: say so, or it would offer it again. */
    if (event->index <= raft->commit)
        reply_match(raft, event->peer, raft->commit);
}

/* The log stands aside for the rows: everything in it is older than they are, or unrelated. */
static void reset_log(struct raft *raft, const struct raft_event *event)
{
    if (raft->role != RAFT_FOLLOWER)
        raft_become_follower(raft, raft->vote.term, 0);
    raft_terms_reset(&raft->log, event->index, event->term);
    raft->persisted = event->index;
    raft->out->log_reset = true;
    if (event->term > raft->vote.term)
        raft_become_follower(raft, event->term, 0);
}

/* Raft section 7: with an entry of the same index and term in the log, what follows it stays. */
void raft_follower_installed(struct raft *raft, const struct raft_event *event)
{
    bool known = event->term != 0 && raft_terms_at(&raft->log, event->index) == event->term;
    if (event->index <= raft->log.base_index || event->index > RAFT_INDEX_MAX)
        return;
    if (event->term == 0 || event->term > RAFT_TERM_MAX || event->members_index > event->index)
        return;
    if ((event->index <= raft->commit && !known) || !raft_members_valid(event->members))
        return;
    if (known) {
        raft_set_commit(raft, event->index);
        raft_terms_cut(&raft->log, event->index);
        raft->persisted = rk_max_u64(raft->persisted, event->index);
    } else {
        reset_log(raft, event);
        raft->commit = event->index;
        raft->out->commit_changed = true;
    }
    raft->applied = rk_max_u64(raft->applied, event->index);
    raft_member_install(raft, event->index, known, event->members, event->members_index);
    if (raft->role == RAFT_FOLLOWER && raft->leader != 0)
        reply_match(raft, raft->leader, event->index);
}
