/* lib/node/node_promote.c - learners become voters once they keep up with the leader (thesis 4.2.1).
 *
 * A voter that is far behind, or not there, costs the cluster a majority that it
 * seems to have. So a learner must have kept up for as long as an election takes
 * before it is promoted by itself: close to the end of the leader's log, and heard of.
 * An administrator may promote one that is close at this moment. */
#include <stdio.h>

#include "lib/node/node_internal.h"

static uint64_t lag_of(struct node *node, uint64_t id)
{
    struct raft_peer_status peer;
    struct raft_status status;

    raft_status(node->group.raft, &status);
    if (!raft_peer_status(node->group.raft, id, &peer) || peer.match == 0)
        return status.last_index;
    return status.last_index - rk_min_u64(peer.match, status.last_index);
}

static bool caught_up(struct node *node, uint64_t id)
{
    struct raft_peer_status peer;

    return raft_peer_status(node->group.raft, id, &peer) && node_change_is_active(node, id) &&
           peer.match > 0 && lag_of(node, id) <= node->config.promote_lag_entries;
}

static void watch(struct node *node, uint64_t id, uint64_t now_us)
{
    if (!caught_up(node, id))
        rk_map_remove(&node->keeping_up, id);
    else if (!rk_map_get(&node->keeping_up, id))
        rk_map_put(&node->keeping_up, id, (void *)(uintptr_t)now_us);
}

bool node_promote_keeps_up(struct node *node, uint64_t id)
{
    uint64_t since_us = (uintptr_t)rk_map_get(&node->keeping_up, id);
    uint64_t least_us = node->config.election_timeout_ms * RK_USEC_PER_MSEC;

    return since_us != 0 && caught_up(node, id) && node_now_us(node) - since_us >= least_us;
}

static void promote(struct node *node, uint64_t id, struct node_call *call)
{
    struct node_members *next = node_change_copy(node);
    struct node_member *member = node_members_get(next, id);

    member->role = RAFT_VOTER;
    member->promote = false;
    member->replaces = 0;
    RK_LOG(RK_LOG_NOTICE, "members", RK_FIELDS(RK_F_ID("MEMBER", id)),
           "%s has caught up: promoting it to voter", member->name);
    node_change_propose(node, next, call);
    free(next);
}

static void refuse(struct node *node, const struct node_member *member, struct node_call *call)
{
    char text[NODE_TEXT_BYTES];

    if (!node_change_is_active(node, member->id))
        snprintf(
            text, sizeof(text),
            "%s has not caught up: the leader does not hear of it. Is raftkvd running there, and can its "
            "peer address be reached?",
            member->name);
    else
        snprintf(
            text, sizeof(text),
            "%s has not caught up: it is %llu entries behind the leader, and a voter may begin with %u at "
            "most (raft.promote_lag_entries); wait, and try again",
            member->name, (unsigned long long)lag_of(node, member->id), node->config.promote_lag_entries);
    node_answer(node, call, NODE_E_CONFLICT, text);
}

void node_change_promote(struct node *node, struct node_call *call)
{
    const struct node_member *member = node_change_find(node, rk_blob_slice(call->body));

    if (!member)
        node_change_not_found(node, call);
    else if (member->role == RAFT_VOTER && node_change_incomplete(node, call))
        return;
    else if (member->role == RAFT_VOTER)
        node_answer_members(node, call);
    else if (member->role == RAFT_LEAVING)
        node_answer(node, call, NODE_E_CONFLICT, "that member is leaving: another takes its place");
    else if (!caught_up(node, member->id))
        refuse(node, member, call);
    else
        promote(node, member->id, call);
}

static void promote_done(struct node_call *own)
{
    ((struct node *)own->userdata)->promote_running = false;
}

void node_promote_housekeeping(struct node *node)
{
    const struct node_members *members = node_members_now(&node->group);
    struct raft_status status;

    raft_status(node->group.raft, &status);
    if (!status.ready) {
        rk_map_deinit(&node->keeping_up);
        return;
    }
    for (uint32_t i = 0; i < members->count; i++)
        watch(node, members->member[i].id, node_now_us(node));
    if (node->promote_running || node_members_now_index(&node->group) > status.commit)
        return;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct node_member *member = &members->member[i];

        if (member->role != RAFT_LEARNER || !member->promote || member->replaces != 0 ||
            !node_promote_keeps_up(node, member->id))
            continue;
        node->promote_running = true;
        promote(node, member->id, node_own_call(node, NODE_CALL_MEMBER_PROMOTE, NULL, promote_done));
        return;
    }
}
