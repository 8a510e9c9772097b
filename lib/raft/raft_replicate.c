/* lib/raft/raft_replicate.c - the end of a leader's step: what leaves for the peers, and what has become
 * committed. */
#include "lib/raft/raft_internal.h"

uint64_t raft_leader_quorum_of(const struct raft *raft, const struct raft_members *members, uint64_t own,
                               raft_peer_value *value)
{
    uint64_t incoming[RK_MEMBERS_MAX], outgoing[RK_MEMBERS_MAX];
    uint32_t in = 0, out = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->member[i];
        const struct raft_progress *p = raft_leader_progress(raft, member->id);
        uint64_t reached = p != NULL ? value(raft, p) : 0;
        /* We count only as a voter: a leader that removes itself serves on, but has no say (thesis 4.2.2). */
        if (member->id == raft->config.id)
            reached = own;
        if (member->role == RAFT_VOTER || RK_PLANT(LEARNER_COUNTS))
            incoming[in++] = reached;
        if (member->outgoing && !RK_PLANT(JOINT_HALF_FORGOTTEN))
            outgoing[out++] = reached;
    }
    uint64_t reached = raft_quorum_reached(incoming, in);
    return out == 0 ? reached : rk_min_u64(reached, raft_quorum_reached(outgoing, out));
}

uint64_t raft_leader_quorum(const struct raft *raft, uint64_t own, raft_peer_value *value)
{
    return raft_leader_quorum_of(raft, raft_current(raft), own, value);
}

static uint64_t match_of(const struct raft *raft, const struct raft_progress *p)
{
    (void)raft;
    return p->match;
}

/* Raft 5.4.2: only an entry of the own term is committed by counting, everything before it follows. Our own
 * disk is one of those counted, as far as it has come. */
void raft_leader_advance(struct raft *raft)
{
    uint64_t own = RK_PLANT(OWN_DISK_FORGOTTEN) ? raft->log.last_index : raft->persisted;
    uint64_t reached = raft_leader_quorum(raft, own, match_of);
    if (reached <= raft->commit ||
        (raft_terms_at(&raft->log, reached) != raft->vote.term && !RK_PLANT(OLD_TERM_COUNTED)))
        return;
    bool was_ready = raft_ready(raft);
    raft_set_commit(raft, reached);
    if (!was_ready)
        raft_read_ready(raft);
}

/* As many entries from first on as one message may carry; one at least, whatever its size. */
static uint32_t batch(const struct raft *raft, uint64_t first, uint64_t *ret_bytes)
{
    uint32_t count = 0;
    uint64_t bytes = 0;
    while (count < raft->config.append_entries_max && first + count <= raft->log.last_index) {
        uint32_t next = raft_terms_bytes(&raft->log, first + count);
        if (count > 0 && bytes + next > raft->config.append_bytes_max)
            break;
        bytes += next;
        count++;
    }
    *ret_bytes = bytes;
    return count;
}

static void send_append(struct raft *raft, struct raft_progress *p)
{
    uint64_t bytes = 0;
    uint32_t count = batch(raft, p->next, &bytes);
    uint64_t before = p->next - 1;
    raft_send(raft, raft_leader_send_mode(raft),
              (struct raft_message){.kind = RAFT_MSG_APPEND,
                                    .to = p->id,
                                    .term = raft->vote.term,
                                    .index = before,
                                    .log_term = raft_terms_at(&raft->log, before),
                                    .commit = raft->commit,
                                    .count = count});
    p->commit_sent = rk_max_u64(p->commit_sent, rk_min_u64(raft->commit, before + count));
    raft_progress_sent(p, count, bytes, raft->now_us);
}

/* A peer that has the entries but not the news of their commit gets a heartbeat outside the rhythm: reads and
 * watches at followers need not wait for the next one. */
static void tell_commit(struct raft *raft, struct raft_progress *p)
{
    uint64_t commit = rk_min_u64(p->match, raft->commit);
    if (p->mode != RAFT_PEER_REPLICATE || p->commit_sent >= commit)
        return;
    p->commit_sent = commit;
    raft_send(raft, raft_leader_send_mode(raft),
              (struct raft_message){
                  .kind = RAFT_MSG_HEARTBEAT, .to = p->id, .term = raft->vote.term, .commit = commit});
}

/* What is on its way to all peers together is bounded too. A peer that has nothing out may always have one
 * message: a slow one that fills the bound must not stop the others. */
static bool crowded(const struct raft *raft, const struct raft_progress *p)
{
    uint64_t bytes = 0;
    if (raft->config.inflight_all_bytes_max == 0 || p->inflight_count == 0)
        return false;
    for (uint32_t i = 0; i < raft->peer_count; i++)
        bytes += raft->peers[i].inflight_bytes;
    return bytes >= raft->config.inflight_all_bytes_max;
}

static void serve(struct raft *raft, struct raft_progress *p)
{
    while (raft_progress_open(p, raft->config.inflight_bytes_max) && !crowded(raft, p)) {
        if (p->next <= raft->log.base_index) {
            raft_progress_snapshot(p);
            break;
        }
        if (p->mode == RAFT_PEER_REPLICATE && p->next > raft->log.last_index)
            break;
        send_append(raft, p);
    }
    if (p->mode == RAFT_PEER_SNAPSHOT && !p->streaming) {
        p->streaming = true;
        raft->snapshot_peers[raft->snapshot_peer_count++] = p->id;
    }
    tell_commit(raft, p);
}

/* A leader outside the committed configuration has done its last duty (thesis 4.2.2). */
static bool dismissed(const struct raft *raft)
{
    return raft_members_index(raft) <= raft->commit &&
           !raft_members_is_voter(raft_current(raft), raft->config.id);
}

void raft_leader_flush(struct raft *raft)
{
    raft_joint_leave(raft);
    if (raft->read_count > 0)
        raft_read_advance(raft);
    for (uint32_t i = 0; i < raft->peer_count; i++)
        serve(raft, &raft->peers[i]);
    if (dismissed(raft))
        raft_leader_resign(raft);
}
