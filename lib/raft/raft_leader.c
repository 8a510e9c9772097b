/* lib/raft/raft_leader.c - leading: taking office, proposals, replies, heartbeats, and knowing when to stop.
 *
 * Heartbeats are separate from appends and never wait for a window: they keep
 * followers from campaigning, carry the rounds of the reads, tell the commit index,
 * and their replies show that a peer is there. */
#include "lib/raft/raft_internal.h"

/* ---- taking and leaving office -------------------------------------------- */

/* Raft 5.4.2 and section 8: an empty entry of the new term, so that everything before it can be committed. */
void raft_leader_start(struct raft *raft)
{
    rk_assert(raft->peer_count == 0 && raft->read_count == 0);
    raft->role = RAFT_LEADER;
    raft->leader = raft->config.id;
    raft->election_us = RK_NEVER;
    raft->heartbeat_us = raft->now_us + raft->config.heartbeat_us;
    raft->round_done = raft->round;
    raft->uncommitted_bytes = raft_terms_sum(&raft->log, raft->commit + 1, raft->log.last_index);
    raft->term_start = raft->log.last_index + 1;
    raft->lease_void = false;
    raft->hand_over_us = raft->now_us + raft->config.election_timeout_us;
    raft->persisted_us = raft->now_us;
    raft_leader_sync_peers(raft);
    struct raft_entry noop = {.index = raft->term_start, .term = raft->vote.term, .kind = RAFT_ENTRY_NOOP};
    raft_log_append(raft, &noop, RAFT_NO_SOURCE);
}

/* The role is changed by the caller; a transfer goes on, its outcome is not known yet. */
void raft_leader_stop(struct raft *raft)
{
    raft_read_fail_all(raft);
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft_progress_deinit(&raft->peers[i]);
    raft->peer_count = 0;
    raft->elected_alone = false;
}

/* Asks the best voter to take over and waits longer than the others: whoever resigns should not win. */
void raft_leader_resign(struct raft *raft)
{
    if (raft->role != RAFT_LEADER)
        return;
    uint64_t best = raft_transfer_best(raft);
    if (best != 0 && raft_leader_peer(raft, best)->match >= raft->commit)
        raft_send(raft, raft_leader_send_mode(raft),
                  (struct raft_message){.kind = RAFT_MSG_TIMEOUT_NOW, .to = best, .term = raft->vote.term});
    raft_become_follower(raft, raft->vote.term, 0);
    if (raft->election_us != RK_NEVER)
        raft->election_us += 2 * raft->config.election_timeout_us;
}

const struct raft_progress *raft_leader_progress(const struct raft *raft, uint64_t id)
{
    for (uint32_t i = 0; raft->role == RAFT_LEADER && i < raft->peer_count; i++) {
        if (raft->peers[i].id == id)
            return &raft->peers[i];
    }
    return NULL;
}

struct raft_progress *raft_leader_peer(struct raft *raft, uint64_t id)
{
    const struct raft_progress *p = raft_leader_progress(raft, id);
    return p == NULL ? NULL : &raft->peers[p - raft->peers];
}

/* One progress per member of the configuration in force: who was removed gets nothing any more. */
void raft_leader_sync_peers(struct raft *raft)
{
    const struct raft_members *members = raft_current(raft);
    struct raft_progress old[RK_MEMBERS_MAX];
    uint32_t old_count = raft->peer_count;
    for (uint32_t i = 0; i < old_count; i++)
        old[i] = raft->peers[i];
    raft->peer_count = 0;
    uint32_t j = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        uint64_t id = members->member[i].id;
        for (; j < old_count && old[j].id < id; j++)
            raft_progress_deinit(&old[j]);
        if (id == raft->config.id)
            continue;
        struct raft_progress *p = &raft->peers[raft->peer_count++];
        if (j < old_count && old[j].id == id)
            *p = old[j++];
        else
            raft_progress_init(p, id, raft->log.last_index + 1, raft->config.inflight_messages_max,
                               raft->now_us);
    }
    for (; j < old_count; j++)
        raft_progress_deinit(&old[j]);
}

/* A leader that asked nobody may not have its own vote on disk yet; were it to lose it and lead the same term
 * again, two different entries could carry the same index and term. Its no-op comes behind the vote on the
 * disk. */
enum raft_send raft_leader_send_mode(const struct raft *raft)
{
    return raft->elected_alone && raft->persisted < raft->term_start ? RAFT_SEND_DURABLE : RAFT_SEND_NOW;
}

/* ---- proposals -------------------------------------------------------------- */

static enum raft_propose_outcome check_change(const struct raft *raft, const struct raft_event *event)
{
    const struct raft_entry *e = &event->entries[0];
    if (event->count != 1 || e->kind != RAFT_ENTRY_MEMBERS || e->members == NULL)
        return RAFT_PROPOSE_BAD_CHANGE;
    /* Two leaders with different uncommitted changes of one voter could have disjoint majorities; a committed
     * entry of the own term shows that no other leader's change is still on its way. */
    if (!raft_ready(raft) && !RK_PLANT(CHANGE_BEFORE_READY))
        return RAFT_PROPOSE_NOT_READY;
    if (raft_members_index(raft) > raft->commit && !RK_PLANT(CHANGE_WHILE_PENDING))
        return RAFT_PROPOSE_CHANGE_PENDING;
    return raft_members_step_ok(raft_current(raft), e->members) ? RAFT_PROPOSE_OK : RAFT_PROPOSE_BAD_CHANGE;
}

static enum raft_propose_outcome check_proposal(const struct raft *raft, const struct raft_event *event)
{
    if (raft->role != RAFT_LEADER)
        return RAFT_PROPOSE_NOT_LEADER;
    if (raft->transferring)
        return RAFT_PROPOSE_TRANSFERRING;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < event->count; i++) {
        if (event->entries[i].kind != RAFT_ENTRY_COMMAND)
            return check_change(raft, event);
        bytes += event->entries[i].bytes;
    }
    if (raft->log.last_index + event->count > RAFT_INDEX_MAX)
        return RAFT_PROPOSE_BUSY;
    /* One batch always fits when nothing waits: a cap below its size would refuse it for ever. */
    uint64_t cap = raft->config.uncommitted_bytes_max;
    bool full = cap > 0 && raft->uncommitted_bytes > 0 && raft->uncommitted_bytes + bytes > cap;
    return full ? RAFT_PROPOSE_BUSY : RAFT_PROPOSE_OK;
}

void raft_leader_propose(struct raft *raft, const struct raft_event *event)
{
    raft->out->propose_outcome = check_proposal(raft, event);
    if (raft->out->propose_outcome != RAFT_PROPOSE_OK)
        return;
    for (uint32_t i = 0; i < event->count; i++) {
        struct raft_entry e = event->entries[i];
        e.index = raft->log.last_index + 1;
        e.term = raft->vote.term;
        raft->uncommitted_bytes += e.bytes;
        raft_log_append(raft, &e, 0);
    }
}

/* ---- replies ------------------------------------------------------------------ */

static void refused(struct raft *raft, struct raft_progress *p, const struct raft_message *m)
{
    if (m->index == 0 || m->index > raft->log.last_index || raft_progress_stale_reject(p, m->index))
        return;
    /* Our last entry that is not behind the peer's hint and not of a later term can be the one both have. */
    uint64_t agree = raft_terms_search(&raft->log, rk_min_u64(m->hint, m->index), m->hint_term);
    raft_progress_reject(p, m->index, rk_min_u64(agree + 1, m->index));
}

/* An acknowledgement counts for what the leader has itself; beyond its last entry it is somebody else's log.
 */
static void acknowledged(struct raft *raft, struct raft_progress *p, uint64_t index)
{
    if (index > raft->log.last_index)
        return;
    raft_progress_ack(p, index, raft->now_us);
    if (p->mode == RAFT_PEER_SNAPSHOT && p->match >= raft->log.base_index)
        raft_progress_probe(p);
    raft_leader_advance(raft);
    raft_transfer_push(raft);
}

void raft_leader_append_reply(struct raft *raft, const struct raft_message *m)
{
    struct raft_progress *p = raft_leader_peer(raft, m->from);
    if (p == NULL)
        return;
    p->active_us = raft->now_us;
    if (m->reject)
        refused(raft, p, m);
    else
        acknowledged(raft, p, m->index);
}

void raft_leader_heartbeat_reply(struct raft *raft, const struct raft_message *m)
{
    struct raft_progress *p = raft_leader_peer(raft, m->from);
    if (p == NULL)
        return;
    p->active_us = raft->now_us;
    if (m->token <= raft->round)
        p->token = rk_max_u64(p->token, m->token);
    if (m->token <= raft->round && m->lease)
        p->lease_token = rk_max_u64(p->lease_token, m->token);
    /* It is there, and our probe has not been answered for a while: the probe or its answer was lost. */
    if (p->probing && raft->now_us - p->probe_us >= raft->config.heartbeat_us)
        p->probing = false;
}

/* Until it answers a heartbeat nothing but heartbeats is sent. */
static void pause_peer(struct raft *raft, struct raft_progress *p)
{
    raft_progress_probe(p);
    p->probing = true;
    p->probe_us = raft->now_us;
}

void raft_leader_unreachable(struct raft *raft, uint64_t peer)
{
    struct raft_progress *p = raft_leader_peer(raft, peer);
    if (p != NULL && p->mode == RAFT_PEER_REPLICATE)
        pause_peer(raft, p);
}

void raft_leader_snapshot_sent(struct raft *raft, const struct raft_event *event)
{
    struct raft_progress *p = raft_leader_peer(raft, event->peer);
    if (p == NULL)
        return;
    p->streaming = false;
    if (event->ok && event->index <= raft->log.last_index) {
        p->match = rk_max_u64(p->match, event->index);
        p->active_us = raft->now_us;
        if (p->mode == RAFT_PEER_SNAPSHOT)
            raft_progress_probe(p);
        else
            p->next = rk_max_u64(p->next, p->match + 1);
    } else if (p->mode == RAFT_PEER_SNAPSHOT) {
        pause_peer(raft, p);
    }
}

/* ---- time ---------------------------------------------------------------------- */

void raft_leader_heartbeat(struct raft *raft, uint64_t token, bool voters_only)
{
    raft_lease_round(raft, token);
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        struct raft_progress *p = &raft->peers[i];
        if (voters_only && !raft_members_is_voter(raft_current(raft), p->id))
            continue;
        uint64_t commit = RK_PLANT(COMMIT_UNVERIFIED) ? raft->commit : rk_min_u64(p->match, raft->commit);
        p->commit_sent = rk_max_u64(p->commit_sent, commit);
        raft_send(raft, raft_leader_send_mode(raft),
                  (struct raft_message){.kind = RAFT_MSG_HEARTBEAT,
                                        .to = p->id,
                                        .term = raft->vote.term,
                                        .commit = commit,
                                        .token = token});
    }
}

static uint64_t heard_us(const struct raft *raft, const struct raft_progress *p)
{
    (void)raft;
    return rk_max_u64(p->active_us, p->since_us);
}

uint64_t raft_leader_quorum_deadline(const struct raft *raft, const struct raft_members *members)
{
    uint64_t heard = raft_leader_quorum_of(raft, members, RK_NEVER, heard_us);
    return heard == RK_NEVER ? RK_NEVER : heard + raft->config.election_timeout_us;
}

/* A leader whose disk has taken nothing for an election timeout cannot commit by itself, and every write
 * waits for the slowest that a majority needs: another is better, if there is one. It cannot lead again
 * before its disk works, for a vote has to be durable. The timer that notices never waits for the disk. */
static bool disk_hangs(const struct raft *raft)
{
    return raft->persisted < raft->log.last_index && raft_transfer_best(raft) != 0 &&
           raft->now_us - raft->persisted_us >= raft->config.election_timeout_us;
}

void raft_leader_tick(struct raft *raft)
{
    if (raft->now_us >= raft_leader_quorum_deadline(raft, raft_current(raft)) && !raft_joint_save(raft))
        return raft_become_follower(raft, raft->vote.term, 0); /* thesis 6.2 */
    if (disk_hangs(raft))
        return raft_leader_resign(raft);
    if (raft->now_us < raft->heartbeat_us)
        return;
    raft->heartbeat_us = raft->now_us + raft->config.heartbeat_us;
    raft_leader_heartbeat(raft, ++raft->round, false);
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft_progress_stalled(&raft->peers[i], raft->now_us, raft->config.election_timeout_us))
            raft_progress_probe(&raft->peers[i]);
    }
    raft_transfer_push(raft);
    raft_priority_hand_over(raft);
}

uint64_t raft_leader_deadline(const struct raft *raft)
{
    if (raft->peer_count == 0)
        return RK_NEVER;
    return rk_min_u64(raft->heartbeat_us, raft_leader_quorum_deadline(raft, raft_current(raft)));
}

bool raft_peer_status(const struct raft *raft, uint64_t id, struct raft_peer_status *ret)
{
    for (uint32_t i = 0; raft->role == RAFT_LEADER && i < raft->peer_count; i++) {
        const struct raft_progress *p = &raft->peers[i];
        if (p->id != id)
            continue;
        *ret = (struct raft_peer_status){.id = id,
                                         .match = p->match,
                                         .next = p->next,
                                         .mode = p->mode,
                                         .inflight_bytes = p->inflight_bytes,
                                         .active_us = p->active_us};
        return true;
    }
    return false;
}

const char *raft_peer_mode_name(enum raft_peer_mode mode)
{
    static const char *const names[] = {"unknown", "probe", "replicate", "snapshot"};
    return (size_t)mode < RK_ARRAY_LEN(names) ? names[mode] : names[0];
}
