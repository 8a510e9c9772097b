/* lib/node/node_replace.c - members that take the places of others, all in one step.
 *
 * A replacement is a plan in the members' list itself: each learner of it has in its
 * record whom it replaces. So it survives the leader that took it on, and everybody
 * can see it. The leader waits until all learners of the plan keep up, then makes the
 * one change, over a joint configuration (lib/raft/raft_joint.c): they vote, and those
 * whose places they take are gone. Nobody's vote is at risk before.
 *
 * The way back: as long as nothing has changed, the plan is forgotten, and its learners
 * stay learners; a joint configuration that is not committed is taken back by the core,
 * and the plan forgotten with it. That happens when an administrator asks for it, when
 * the learners have not caught up within raft.replace_timeout_s, and when they fall silent
 * in the middle. */
#include <stdio.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_wire.h"
#include "lib/node/node_internal.h"

/* ---- taking a plan on ------------------------------------------------------------------- */

/* The body: u32 count, then two blocks each: who goes, and who comes. */
struct rk_blob *node_replace_encode(const struct rk_slice (*pairs)[2], uint32_t count)
{
    struct rk_buf out = {0};
    struct rk_blob *body;

    rk_put_u32(&out, count);
    for (uint32_t i = 0; i < count; i++) {
        rk_put_block(&out, pairs[i][0]);
        rk_put_block(&out, pairs[i][1]);
    }
    body = rk_blob_copy(rk_buf_slice(&out));
    rk_buf_deinit(&out);
    return body;
}

static bool is_taken(const struct node_members *members, uint64_t id)
{
    for (uint32_t i = 0; i < members->count; i++)
        if (members->member[i].replaces == id)
            return true;
    return false;
}

/* One pair into the plan. A reason not to, or NULL. */
static const char *plan_pair(struct node *node, struct node_members *next, struct rk_slice who,
                             struct rk_slice by)
{
    const struct node_member *old = node_change_find(node, who);
    const struct node_member *new = node_change_find(node, by);
    struct node_member *learner = new ? node_members_get(next, new->id) : NULL;

    if (!old || !new)
        return "no member has one of these names or ids: raftkvctl members lists them";
    if (old->role != RAFT_VOTER)
        return "only a voter can be replaced; a learner is simply removed";
    if (new->role != RAFT_LEARNER)
        return "whoever takes a voter's place must be a learner: raftkvctl member add --learner HOST:PORT "
               "makes "
               "one";
    if (learner->replaces != 0 || is_taken(next, old->id))
        return "a member can be replaced, or replace another, only once: raftkvctl member abort gives up "
               "what "
               "is under way";
    learner->replaces = old->id;
    learner->promote = true;
    return NULL;
}

static const char *read_plan(struct node *node, struct rk_slice body, struct node_members *next)
{
    struct rk_reader in = rk_reader(body);
    uint32_t count = rk_get_u32(&in);
    const char *why = count > 0 && count <= RK_MEMBERS_MAX ? NULL : "name who goes and who comes";

    for (uint32_t i = 0; i < count && !why; i++) {
        struct rk_slice who = rk_get_block(&in, RK_NAME_BYTES_MAX);
        struct rk_slice by = rk_get_block(&in, RK_NAME_BYTES_MAX);

        why = rk_reader_ok(&in) ? plan_pair(node, next, who, by) : "the list of members cannot be read";
    }
    return why || rk_reader_done(&in) ? why : "the list of members cannot be read";
}

void node_replace(struct node *node, struct node_call *call)
{
    struct node_members *next;
    const char *why;

    if (node_change_incomplete(node, call))
        return;
    next = node_change_copy(node);
    why = read_plan(node, rk_blob_slice(call->body), next);
    if (why) {
        node_answer(node, call, NODE_E_CONFLICT, why);
    } else {
        RK_LOG(RK_LOG_NOTICE, "members", NULL, "replacing members, once those who come have caught up");
        node_change_propose(node, next, call);
    }
    free(next);
}

/* ---- the change ---------------------------------------------------------------------------- */

static bool all_keep_up(struct node *node, const struct node_members *members)
{
    for (uint32_t i = 0; i < members->count; i++)
        if (members->member[i].replaces != 0 && !node_promote_keeps_up(node, members->member[i].id))
            return false;
    return true;
}

static void carry_out_plan(struct node_members *next)
{
    uint64_t gone[RK_MEMBERS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < next->count; i++) {
        struct node_member *member = &next->member[i];

        if (member->replaces == 0)
            continue;
        gone[count++] = member->replaces;
        member->role = RAFT_VOTER;
        member->promote = false;
        member->replaces = 0;
    }
    for (uint32_t i = 0; i < count; i++)
        node_members_remove(next, gone[i]);
}

static void change_done(struct node_call *own)
{
    ((struct node *)own->userdata)->promote_running = false;
}

static void change(struct node *node)
{
    struct node_members *next = node_change_copy(node);

    carry_out_plan(next);
    if (node_change_quorum_survives(node, next)) {
        RK_LOG(RK_LOG_NOTICE, "members", NULL, "those who come have caught up: replacing members now");
        node->promote_running = true;
        node_change_propose(node, next, node_own_call(node, NODE_CALL_MEMBER_REPLACE, NULL, change_done));
    }
    free(next);
}

static void abort_done(struct node_call *own)
{
    ((struct node *)own->userdata)->abort_running = false;
}

static void forget_plan(struct node *node, struct node_call *call)
{
    struct node_members *next = node_change_copy(node);

    node_members_forget_plan(next);
    node_change_propose(node, next, call);
    free(next);
}

static void give_up(struct node *node)
{
    RK_LOG(
        RK_LOG_WARNING, "members", NULL,
        "the replacement of members is given up: those who come did not catch up in time "
        "(raft.replace_timeout_s). They stay learners; raftkvctl status shows what they lack, and raftkvctl "
        "member replace tries again");
    node->abort_running = true;
    forget_plan(node, node_own_call(node, NODE_CALL_MEMBER_ABORT, NULL, abort_done));
}

void node_replace_housekeeping(struct node *node)
{
    const struct node_members *members = node_members_now(&node->group);
    uint64_t now_us = node_now_us(node);
    struct raft_status status;

    raft_status(node->group.raft, &status);
    if (!status.ready || !node_members_has_plan(members)) {
        node->replace_since_us = 0;
        return;
    }
    if (node->replace_since_us == 0)
        node->replace_since_us = now_us;
    if (node->promote_running || node->abort_running || node_members_now_index(&node->group) > status.commit)
        return;
    if (all_keep_up(node, members))
        change(node);
    else if (now_us - node->replace_since_us >= node->config.replace_timeout_ms * RK_USEC_PER_MSEC)
        give_up(node);
}

/* ---- the way back --------------------------------------------------------------------------- */

/* Answered when the step back is applied. */
static void take_back(struct node *node, struct node_call *call)
{
    struct raft_event event = {.kind = RAFT_EVENT_ABORT_CHANGE};
    enum raft_propose_outcome outcome = node_step(node, &event, NULL).propose_outcome;
    struct raft_status status;

    raft_status(node->group.raft, &status);
    if (outcome == RAFT_PROPOSE_OK)
        node_wait_for_entry(node, status.last_index, status.term, call);
    else
        node_answer(node, call, NODE_E_CONFLICT,
                    "it is too late to abort: the change completes by itself, in a moment");
}

void node_replace_abort(struct node *node, struct node_call *call)
{
    const struct node_members *now = node_members_now(&node->group);
    struct raft_members core;

    node_members_to_raft(now, &core);
    if (raft_members_joint(&core))
        take_back(node, call);
    else if (node_change_incomplete(node, call))
        return;
    else if (node_members_has_plan(now))
        forget_plan(node, call);
    else
        node_answer(node, call, NODE_E_CONFLICT, "no replacement of members is under way");
}

/* ---- what the core appends by itself ----------------------------------------------------------- */

static const struct node_members *before_now(const struct node_group *group)
{
    return &RK_LIST_ITEM(group->configs.prev->prev, struct node_config_entry, link)->members;
}

/* It ends a joint configuration: forwards, to what it was made for, or back to the one before it. */
struct rk_blob *node_replace_made(const struct node_group *group, const struct raft_members *made)
{
    struct node_members *members = RK_NEW(struct node_members);
    struct rk_blob *payload;
    struct raft_members core;

    *members = *node_members_now(group);
    node_members_settle(members);
    node_members_to_raft(members, &core);
    if (!raft_members_equal(&core, made)) {
        *members = *before_now(group);
        node_members_forget_plan(members);
        node_members_to_raft(members, &core);
        rk_assert(raft_members_equal(&core, made));
        RK_LOG(
            RK_LOG_WARNING, "members", NULL,
            "the replacement of members is taken back: it was aborted, or those who come fell silent. They "
            "stay learners; raftkvctl member replace tries again");
    }
    payload = node_members_encode(members);
    free(members);
    return payload;
}
