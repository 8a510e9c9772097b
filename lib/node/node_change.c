/* lib/node/node_change.c - members come and go: what an operator may ask, one change at a time (thesis
 * chapter 4). */
#include <errno.h>
#include <stdio.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_wire.h"
#include "lib/node/node_internal.h"

#define UPDATE_RETRY_US (2 * RK_USEC_PER_SEC)

/* ---- proposing a configuration -------------------------------------------------------- */

static void propose(struct node *node, const struct node_members *next, struct node_call *call)
{
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *payload = node_members_encode(next);
    struct raft_members core;
    struct raft_entry entry = {.kind = RAFT_ENTRY_MEMBERS, .bytes = (uint32_t)payload->len, .members = &core};
    struct rk_blob *const payloads[] = {payload};
    struct node_call *const calls[] = {call};
    struct raft_event event = {.kind = RAFT_EVENT_PROPOSE, .entries = &entry, .count = 1};
    struct node_step_source source = {.payloads = payloads, .calls = calls};
    enum raft_propose_outcome outcome;
    const char *text;

    node_members_to_raft(next, &core);
    outcome = node_step(node, &event, &source).propose_outcome;
    if (outcome != RAFT_PROPOSE_OK) {
        enum node_outcome answer = node_propose_error(outcome, &text);
        node_answer(node, call, answer, text);
    }
}

/* One step where that is possible, over a joint configuration where it is not. */
void node_change_propose(struct node *node, const struct node_members *next, struct node_call *call)
{
    const struct node_members *now = node_members_now(&node->group);
    struct node_members *joint = NULL;
    struct raft_members from, to;

    node_members_to_raft(now, &from);
    node_members_to_raft(next, &to);
    if (!raft_members_joint(&from) && !raft_members_step_ok(&from, &to)) {
        joint = RK_NEW(struct node_members);
        if (node_members_join(now, next, joint) != 0) {
            free(joint);
            node_answer(node, call, NODE_E_CONFLICT, "the cluster has as many members as it may have");
            return;
        }
    }
    propose(node, joint ? joint : next, call);
    free(joint);
}

struct node_members *node_change_copy(struct node *node)
{
    struct node_members *next = RK_NEW(struct node_members);

    *next = *node_members_now(&node->group);
    return next;
}

/* ---- finding a member by what an operator typed ------------------------------------------ */

const struct node_member *node_change_find(struct node *node, struct rk_slice who)
{
    const struct node_members *members = node_members_now(&node->group);
    char text[RK_NAME_BYTES_MAX + 1];
    char *end;
    uint64_t id;

    if (who.len == 0 || who.len >= sizeof(text) || memchr(who.data, '\0', who.len))
        return NULL;
    memcpy(text, who.data, who.len);
    text[who.len] = '\0';
    if (node_members_find_name(members, text))
        return node_members_find_name(members, text);
    errno = 0;
    id = strtoull(text, &end, 16);
    return errno == 0 && *end == '\0' ? node_members_find(members, id) : NULL;
}

void node_change_not_found(struct node *node, struct node_call *call)
{
    node_answer(node, call, NODE_E_NOT_FOUND, "no member has that name or id: raftkvctl members lists them");
}

/* ---- add --------------------------------------------------------------------------------- */

/* Also the answer of a change that has been made already, by an earlier attempt. */
void node_answer_members(struct node *node, struct node_call *call)
{
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *members = node_members_encode(node_members_now(&node->group));
    struct rk_buf out = {0};

    rk_put_u64(&out, node->identity.cluster_id);
    rk_put_block(&out, rk_blob_slice(members));
    call->answer = rk_blob_copy(rk_buf_slice(&out));
    rk_buf_deinit(&out);
    node_answer(node, call, NODE_OK, NULL);
}

/* A reason not to add it, or NULL. *next is changed. */
static const char *add_to(struct node_members *next, const struct node_member *member)
{
    const struct node_member *same = node_members_find_name(next, member->name);

    if (member->peer_address[0] == '\0')
        return "the joining host has no peer address: set peer.advertise in its raftkv.conf";
    if (node_members_was_removed(next, member->id))
        return "that member was removed before, and its id is never used again: run raftkvctl join "
               "--discard-data on it";
    if (same && same->role == RAFT_VOTER)
        return "a voter of that name is in the cluster: give the new host another name, or remove the old "
               "one first";
    if (same) /* a learner of that name that never became a voter: this host, wiped in between */
        node_members_remove(next, same->id);
    for (uint32_t i = 0; i < next->count; i++)
        if (strcmp(next->member[i].peer_address, member->peer_address) == 0)
            return "another member has that peer address";
    switch (node_members_add(next, member)) {
    case 0:
        return NULL;
    case -EEXIST:
        return "a member of that id has another name or address: is the joining host's data directory a "
               "copy?";
    default:
        return "the cluster has as many members as it may have";
    }
}

static bool in_force_is_committed(struct node *node)
{
    struct raft_status status;

    raft_status(node->group.raft, &status);
    return node_members_now_index(&node->group) <= status.commit;
}

bool node_change_incomplete(struct node *node, struct node_call *call)
{
    if (in_force_is_committed(node))
        return false;
    node_answer(node, call, NODE_E_BUSY,
                "an earlier change of members is not complete yet; try again in a moment");
    return true;
}

void node_change_add(struct node *node, struct node_call *call)
{
    struct node_member member;
    struct node_members *next;
    const struct node_member *there;
    const char *why;

    if (node_member_decode(rk_blob_slice(call->body), &member) != 0) {
        node_answer(node, call, NODE_E_BAD_REQUEST, "the member's record cannot be read");
        return;
    }
    there = node_members_find(node_members_now(&node->group), member.id);
    if (there && strcmp(there->name, member.name) == 0 &&
        strcmp(there->peer_address, member.peer_address) == 0) {
        if (in_force_is_committed(node))
            node_answer_members(node, call);
        else /* whoever joins gives up its old state on our word: not on a change that may be undone */
            node_answer(node, call, NODE_E_BUSY,
                        "the change that adds this host is not complete yet; try again in a moment");
        return;
    }
    if (node_self(node) && node_self(node)->peer_address[0] == '\0') {
        node_answer(node, call, NODE_E_BUSY,
                    "the cluster's own host has not announced its peer address yet; try again in a moment");
        return;
    }
    member.role = RAFT_LEARNER;
    member.outgoing = false;
    member.replaces = 0;
    member.priority = NODE_PRIORITY_DEFAULT;
    next = node_change_copy(node);
    why = add_to(next, &member);
    if (why) {
        node_answer(node, call, NODE_E_CONFLICT, why);
    } else {
        RK_LOG(RK_LOG_NOTICE, "members", RK_FIELDS(RK_F_ID("MEMBER", member.id)),
               "adding %s at %s as a learner", member.name, member.peer_address);
        node_change_propose(node, next, call);
    }
    free(next);
}

/* ---- remove ------------------------------------------------------------------------------ */

/* Heard of lately, and not known to be gone: a link that broke tells before a timeout does. */
bool node_change_is_active(struct node *node, uint64_t id)
{
    struct raft_peer_status peer;
    uint64_t limit_us = 2 * node->config.election_timeout_ms * RK_USEC_PER_MSEC;

    if (id == node->identity.member_id)
        return true;
    return !rk_map_get(&node->links_down, id) && raft_peer_status(node->group.raft, id, &peer) &&
           peer.active_us != 0 && node_now_us(node) - peer.active_us < limit_us;
}

bool node_change_quorum_survives(struct node *node, const struct node_members *next)
{
    uint32_t voters = 0, active = 0;

    for (uint32_t i = 0; i < next->count; i++) {
        if (next->member[i].role != RAFT_VOTER)
            continue;
        voters++;
        active += node_change_is_active(node, next->member[i].id);
    }
    return voters > 0 && active > voters / 2;
}

void node_change_remove(struct node *node, struct node_call *call)
{
    const struct node_member *member = node_change_find(node, rk_blob_slice(call->body));
    struct node_members *next;

    if (!member) {
        if (!node_change_incomplete(node, call)) /* whoever leaves acts on it for good */
            node_change_not_found(node, call);
        return;
    }
    next = node_change_copy(node);
    node_members_remove(next, member->id);
    if (!node_change_quorum_survives(node, next)) {
        node_answer(
            node, call, NODE_E_CONFLICT,
            "without that member the rest would have no majority that answers: bring the others up first");
    } else {
        RK_LOG(RK_LOG_NOTICE, "members", RK_FIELDS(RK_F_ID("MEMBER", member->id)), "removing %s",
               member->name);
        node_change_propose(node, next, call);
    }
    free(next);
}

/* ---- demote, priority ---------------------------------------------------------------------- */

void node_change_demote(struct node *node, struct node_call *call)
{
    const struct node_member *member = node_change_find(node, rk_blob_slice(call->body));
    struct node_members *next;
    struct node_member *demoted;

    if (!member) {
        node_change_not_found(node, call);
        return;
    }
    if (node_change_incomplete(node, call))
        return;
    next = node_change_copy(node);
    demoted = node_members_get(next, member->id);
    demoted->role = RAFT_LEARNER;
    demoted->promote = false;
    demoted->replaces = 0;
    if (!node_change_quorum_survives(node, next)) {
        node_answer(
            node, call, NODE_E_CONFLICT,
            "without its vote the rest would have no majority that answers: bring the others up first");
    } else {
        RK_LOG(RK_LOG_NOTICE, "members", RK_FIELDS(RK_F_ID("MEMBER", member->id)),
               "%s becomes a learner, and stays one", member->name);
        node_change_propose(node, next, call);
    }
    free(next);
}

void node_change_priority(struct node *node, struct node_call *call)
{
    struct rk_reader in = rk_reader(rk_blob_slice(call->body));
    uint8_t priority = rk_get_u8(&in);
    struct rk_slice who = rk_get_bytes(&in, rk_reader_left(&in));
    const struct node_member *member = node_change_find(node, who);
    struct node_members *next;

    if (priority > NODE_PRIORITY_MAX) {
        node_answer(node, call, NODE_E_BAD_REQUEST, "a priority is a number from 0 to 100");
    } else if (!member) {
        node_change_not_found(node, call);
    } else {
        next = node_change_copy(node);
        node_members_get(next, member->id)->priority = priority;
        node_change_propose(node, next, call);
        free(next);
    }
}

/* ---- our own record ------------------------------------------------------------------------- */

void node_change_update(struct node *node, struct node_call *call)
{
    struct node_member record;
    struct node_member *member;
    const struct node_member *same;
    struct node_members *next;

    if (node_member_decode(rk_blob_slice(call->body), &record) != 0) {
        node_answer(node, call, NODE_E_BAD_REQUEST, "the member's record cannot be read");
        return;
    }
    next = node_change_copy(node);
    member = node_members_get(next, record.id);
    same = node_members_find_name(next, record.name);
    if (!member) {
        node_change_not_found(node, call);
    } else if (same && same->id != record.id) {
        node_answer(node, call, NODE_E_CONFLICT, "another member has that name");
    } else {
        memcpy(member->name, record.name, sizeof(member->name));
        memcpy(member->peer_address, record.peer_address, sizeof(member->peer_address));
        memcpy(member->client_url, record.client_url, sizeof(member->client_url));
        node_change_propose(node, next, call);
    }
    free(next);
}

static void update_done(struct node_call *own)
{
    struct node *node = own->userdata;

    node->update_running = false;
    if (own->outcome == NODE_E_BUSY) /* another host's turn: as after a first start of all of them */
        node->update_us = 0;
}

/* The configuration file is the authority on our own addresses: what the members' list says follows it. */
static void announce_own_addresses(struct node *node)
{
    const struct node_member *self = node_self(node);
    struct node_member want;

    if (!self || node->update_running || node->identity.removed || node->group.leader == 0 ||
        node_now_us(node) < node->update_us)
        return;
    want = *self;
    snprintf(want.peer_address, sizeof(want.peer_address), "%s", node->config.peer_address);
    snprintf(want.client_url, sizeof(want.client_url), "%s", node->config.client_url);
    if (strcmp(want.peer_address, self->peer_address) == 0 && strcmp(want.client_url, self->client_url) == 0)
        return;
    node->update_running = true;
    node->update_us = node_now_us(node) + UPDATE_RETRY_US;
    node_route(node, node_own_call(node, NODE_CALL_MEMBER_UPDATE, node_member_encode(&want), update_done));
}

void node_change_housekeeping(struct node *node)
{
    if (node->stopping)
        return;
    node_leave_continue(node);
    node_leave_notice_removal(node);
    announce_own_addresses(node);
    if (!node_unfit(node)) {
        node_replace_housekeeping(node);
        node_promote_housekeeping(node);
    }
}
