/* lib/node/node_check.c - members compare what they have applied, all the time; who differs is told apart.
 *
 * Applying is meant to be a pure function of the log. A bug in it, or rows that rotted and
 * were read, would let a member drift away without a word. So each member notes a digest
 * of its state (mvcc_digest()) after each entry, the latest of them in a ring; and once a
 * second the leader takes the entry that it has applied last and asks the others for
 * theirs at the same entry. One that has not come there yet is asked again a little later;
 * one that cannot say (it has just started, or the entry has left its ring) is counted as
 * not compared, which `raftkvctl status` shows. Nothing is asked while nothing is applied.
 *
 * When digests differ, the one that more than half of all voters have is right:
 *   - a member with another one is told, looks for itself, and rebuilds its rows
 *     (node_rebuild.c);
 *   - a leader with another one hands leadership over and then does the same;
 *   - if no digest has a majority (two against each other, or three different ones)
 *     nobody can tell who is right. The alarm stays up on all of them, with what an
 *     operator can do, until a later comparison finds them equal.
 * A digest that differs goes on differing, whatever is applied after it: nothing is lost
 * when a comparison is. */
#include <inttypes.h>
#include <stdio.h>

#include "lib/base/rk_wire.h"
#include "lib/node/node_internal.h"

#define ROUND_US RK_USEC_PER_SEC

/* ---- digests: noted by the apply thread, looked up by the raft thread ---------------------------- */

void node_digests_reset(struct node *node, uint64_t index, uint64_t digest)
{
    struct node_digests *digests = &node->digests;

    pthread_mutex_lock(&digests->mutex);
    digests->last = index;
    digests->count = 1;
    digests->ring[index % NODE_DIGESTS] = digest;
    pthread_mutex_unlock(&digests->mutex);
}

void node_digests_note(struct node *node, uint64_t index, uint64_t digest)
{
    struct node_digests *digests = &node->digests;

    pthread_mutex_lock(&digests->mutex);
    digests->count = index == digests->last + 1 ? rk_min_u64(digests->count + 1, NODE_DIGESTS) : 1;
    digests->last = index;
    digests->ring[index % NODE_DIGESTS] = digest;
    pthread_mutex_unlock(&digests->mutex);
}

enum lookup { KNOWN, NOT_YET, UNKNOWN };

static enum lookup look_up(struct node *node, uint64_t index, uint64_t *ret)
{
    struct node_digests *digests = &node->digests;
    enum lookup found = UNKNOWN;

    pthread_mutex_lock(&digests->mutex);
    if (index > digests->last)
        found = NOT_YET;
    else if (index > digests->last - digests->count)
        found = KNOWN;
    *ret = digests->ring[index % NODE_DIGESTS];
    pthread_mutex_unlock(&digests->mutex);
    return found;
}

/* ---- the alarm ----------------------------------------------------------------------------------- */

static void raise_alarm(struct node *node, const char *text)
{
    bool news = strcmp(node->check.text, text) != 0;

    atomic_store(&node->corrupt, true);
    if (!news)
        return;
    snprintf(node->check.text, sizeof(node->check.text), "%s", text);
    RK_LOG(RK_LOG_ERROR, "check", NULL, "CORRUPT: %s", text);
    node_refresh_summary(node);
}

static void clear_alarm(struct node *node)
{
    if (!atomic_exchange(&node->corrupt, false))
        return;
    node->check.text[0] = '\0';
    RK_LOG(RK_LOG_NOTICE, "check", NULL, "the members' rows are equal again");
}

void node_fence(struct node *node, const char *why)
{
    char text[NODE_TEXT_BYTES];

    if (atomic_load(&node->fenced))
        return;
    if (atomic_load(&node->alone)) {
        snprintf(
            text, sizeof(text),
            "%.120s; this host is the only member: save what can be read, start anew and restore a snapshot",
            why);
        raise_alarm(node, text);
        return;
    }
    raise_alarm(node, why);
    atomic_store(&node->fenced, true);
    atomic_store(&node->serving, false);
    snprintf(node->rebuild.why, sizeof(node->rebuild.why), "%s", why);
    node->rebuild.ask_us = 0;
    node->rebuild.give_up_us =
        node_now_us(node) + 2 * node->config.election_timeout_ms * RK_USEC_PER_MSEC + ROUND_US;
}

/* A fenced leader waits for its successor, but not for ever: without one the others elect when it is gone. */
static void leave_when_fenced(struct node *node)
{
    if (atomic_load(&node->fenced) && !node->stopping &&
        (node->group.role != RAFT_LEADER || node->rebuild.give_up_us <= node_now_us(node)))
        node_rebuild_rows(node, node->rebuild.why);
}

/* ---- the leader asks -------------------------------------------------------------------------------- */

static void send(struct node *node, uint64_t peer, enum node_call_kind kind, uint64_t id, uint64_t digest)
{
    struct node_message *message = node_message_new(NODE_MSG_CALL, peer, node->group.number);
    uint8_t body[16];

    rk_store_u64(body, node->check.index);
    rk_store_u64(body + 8, digest);
    message->id = id;
    message->call_kind = kind;
    message->body = rk_blob_copy(rk_slice(body, sizeof(body)));
    rk_list_push_back(&node->out, &message->mail.link);
}

static void ask(struct node *node, struct node_check_peer *peer)
{
    peer->call_id = ++node->next_id;
    send(node, peer->id, NODE_CALL_DIGEST, peer->call_id, node->check.digest);
}

static void begin(struct node *node)
{
    const struct node_members *members = node_members_now(&node->group);
    struct node_check *check = &node->check;

    if (check->all_compared && check->index == node->group.applied)
        return;
    if (look_up(node, node->group.applied, &check->digest) != KNOWN)
        return;
    check->index = node->group.applied;
    check->peer_count = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        struct node_check_peer *peer = &check->peers[check->peer_count];

        if (members->member[i].id == node->identity.member_id)
            continue;
        *peer = (struct node_check_peer){.id = members->member[i].id,
                                         .votes = members->member[i].role == RAFT_VOTER};
        ask(node, peer);
        check->peer_count++;
    }
    check->open = check->peer_count > 0;
    check->begun_us = node_now_us(node);
}

/* ---- what came of it -------------------------------------------------------------------------------- */

static bool we_vote(const struct node *node)
{
    const struct node_member *self = node_self(node);

    return self && self->role == RAFT_VOTER;
}

static uint32_t supporters(const struct node *node, uint64_t digest)
{
    const struct node_check *check = &node->check;
    uint32_t count = we_vote(node) && check->digest == digest;

    for (uint32_t i = 0; i < check->peer_count; i++)
        count += check->peers[i].votes && check->peers[i].known && check->peers[i].digest == digest;
    return count;
}

static bool is_right(const struct node *node, uint64_t digest)
{
    uint32_t voters = we_vote(node);

    for (uint32_t i = 0; i < node->check.peer_count; i++)
        voters += node->check.peers[i].votes;
    return 2 * supporters(node, digest) > voters;
}

/* The digest that more than half of the voters have. */
static bool verdict(const struct node *node, uint64_t *ret)
{
    const struct node_check *check = &node->check;

    *ret = check->digest;
    if (is_right(node, *ret))
        return true;
    for (uint32_t i = 0; i < check->peer_count; i++) {
        *ret = check->peers[i].digest;
        if (check->peers[i].known && is_right(node, *ret))
            return true;
    }
    return false;
}

static void judge(struct node *node)
{
    struct node_check *check = &node->check;
    char text[NODE_TEXT_BYTES];
    uint64_t right;

    check->mismatches++;
    if (!verdict(node, &right)) {
        snprintf(text, sizeof(text),
                 "members differ at entry %" PRIu64 " and no majority says whose rows are right: find out "
                 "which host is wrong, and start raftkvd there once with --rebuild-rows",
                 check->index);
        raise_alarm(node, text);
        return;
    }
    for (uint32_t i = 0; i < check->peer_count; i++) {
        if (!check->peers[i].known || check->peers[i].digest == right)
            continue;
        RK_LOG(RK_LOG_ERROR, "check", RK_FIELDS(RK_F_ID("MEMBER", check->peers[i].id)),
               "CORRUPT: the rows of a member differ from those of the majority at entry %" PRIu64
               ": it is told to rebuild them",
               check->index);
        send(node, check->peers[i].id, NODE_CALL_CONDEMN, ++node->next_id, right);
    }
    if (check->digest == right)
        return;
    snprintf(text, sizeof(text), "the rows of this host differ from those of the majority at entry %" PRIu64,
             check->index);
    node_fence(node, text);
}

static void finish(struct node *node)
{
    struct node_check *check = &node->check;
    uint32_t known = 0, equal = 0;

    for (uint32_t i = 0; i < check->peer_count; i++) {
        known += check->peers[i].known;
        equal += check->peers[i].known && check->peers[i].digest == check->digest;
    }
    check->open = false;
    check->compared += known;
    check->not_compared += check->peer_count - known;
    check->all_compared = known == check->peer_count && equal == known;
    if (equal < known && !RK_PLANT(HASH_NOT_COMPARED))
        judge(node);
    else if (check->all_compared) {
        check->equal_index = check->index;
        clear_alarm(node);
    }
}

static struct node_check_peer *find_peer(struct node *node, const struct node_message *reply)
{
    for (uint32_t i = 0; node->check.open && i < node->check.peer_count; i++) {
        struct node_check_peer *peer = &node->check.peers[i];

        if (peer->id == reply->peer && peer->call_id == reply->id)
            return peer;
    }
    return NULL;
}

bool node_check_reply(struct node *node, const struct node_message *reply)
{
    struct node_check_peer *peer = find_peer(node, reply);
    struct rk_reader in = rk_reader(rk_blob_slice(reply->body));
    uint64_t digest = rk_get_u64(&in);

    if (!peer)
        return false;
    peer->call_id = 0;
    peer->known = reply->outcome == NODE_OK && rk_reader_done(&in);
    peer->digest = digest;
    peer->answered = reply->outcome != NODE_E_BUSY; /* it has not applied so much yet: it is asked again */
    return true;
}

/* Twice a second in the worst case: a round is short. */
void node_check_housekeeping(struct node *node)
{
    struct node_check *check = &node->check;
    bool late = node_now_us(node) - check->begun_us >= ROUND_US;
    bool done = true;

    leave_when_fenced(node);
    if (node->group.role != RAFT_LEADER || node_unfit(node) || node->stopping) {
        check->open = check->all_compared = false;
        return;
    }
    for (uint32_t i = 0; check->open && i < check->peer_count; i++) {
        done = done && check->peers[i].answered;
        if (!check->peers[i].answered && check->peers[i].call_id == 0 && !late)
            ask(node, &check->peers[i]);
    }
    if (check->open && (done || late))
        finish(node);
    if (!check->open && late)
        begin(node);
}

/* ---- a member answers ---------------------------------------------------------------------------------- */

static bool take_question(struct node *node, struct node_call *call, uint64_t *ret_index,
                          uint64_t *ret_digest)
{
    struct rk_reader in = rk_reader(rk_blob_slice(call->body));

    *ret_index = rk_get_u64(&in);
    *ret_digest = rk_get_u64(&in);
    if (rk_reader_done(&in) && call->priv.peer != 0 && call->priv.peer == node->group.leader)
        return true;
    node_answer(node, call, NODE_E_BAD_REQUEST, "only the leader asks that");
    return false;
}

void node_check_asked(struct node *node, struct node_call *call)
{
    uint64_t index, theirs, ours;
    uint8_t body[8];
    enum lookup found;
    char text[NODE_TEXT_BYTES];

    if (!take_question(node, call, &index, &theirs))
        return;
    found = node_unfit(node) ? UNKNOWN : look_up(node, index, &ours);
    if (found != KNOWN) {
        node_answer(node, call, found == NOT_YET ? NODE_E_BUSY : NODE_E_NOT_FOUND, "no such entry here");
        return;
    }
    rk_store_u64(body, ours);
    call->answer = rk_blob_copy(rk_slice(body, sizeof(body)));
    node_answer(node, call, NODE_OK, NULL);
    snprintf(text, sizeof(text),
             "the rows of this host and of the leader differ at entry %" PRIu64
             ": if they are not rebuilt by themselves, see raftkvctl status on the leader",
             index);
    if (ours == theirs)
        clear_alarm(node);
    else
        raise_alarm(node, text);
}

/* Nobody's word is taken for it: our own digest must differ from the one that the majority has. */
void node_check_condemned(struct node *node, struct node_call *call)
{
    uint64_t index, right, ours;
    char text[NODE_TEXT_BYTES];

    if (!take_question(node, call, &index, &right))
        return;
    if (node_unfit(node) || look_up(node, index, &ours) != KNOWN || ours == right) {
        node_answer(node, call, NODE_E_CONFLICT, "the rows here are not those that were meant");
        return;
    }
    node_answer(node, call, NODE_OK, NULL);
    snprintf(text, sizeof(text), "the rows of this host differ from those of the majority at entry %" PRIu64,
             index);
    node_fence(node, text);
}
