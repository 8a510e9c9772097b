/* lib/node/node_lookup.c - a member that has missed too much asks who the members are.
 *
 * Hosts talk to those that their log names. One that was away while members came and
 * went may not know the present leader, will not let it in, and cannot answer it; and only
 * the leader could teach it; or its vote is needed for one whom it does not know. So who has
 * known no leader for a while asks the others, in turn, at the addresses that it has. What is
 * learned so is for the transport only; the configuration in force comes from the log, as
 * always. */
#include "lib/base/rk_wire.h"
#include "lib/node/node_internal.h"

/* Several elections may fail in a row without anybody having missed anything. */
#define QUIET_ELECTIONS 10u

void node_lookup_forget(struct node *node)
{
    free(node->lookup.members);
    node->lookup.members = NULL;
    node->lookup.call_id = node->lookup.ask_us = 0;
}

static bool may_miss_something(const struct node *node)
{
    enum node_join_state joining = node->join.state;

    return node->group.leader == 0 && !node->identity.removed && joining != NODE_JOIN_CONTACTING &&
           joining != NODE_JOIN_WIPING && node_members_now(&node->group)->count > 1 && node_self(node);
}

/* Another member, each time the next one; of those that we were told of, too. */
static const struct node_member *next_member(struct node *node)
{
    const struct node_members *members =
        node->lookup.members ? node->lookup.members : node_members_now(&node->group);
    const struct node_member *member = &members->member[node->lookup.turn++ % members->count];

    return member->id == node->identity.member_id ? &members->member[node->lookup.turn++ % members->count]
                                                  : member;
}

static void ask(struct node *node)
{
    struct node_message *message = node_message_new(NODE_MSG_CALL, 0, 0);

    message->id = node->lookup.call_id = ++node->next_id;
    message->call_kind = NODE_CALL_MEMBERS;
    node->transport.call_address(node->transport.userdata, next_member(node)->peer_address, message);
}

void node_lookup_housekeeping(struct node *node)
{
    uint64_t wait_us = QUIET_ELECTIONS * node->config.election_timeout_ms * RK_USEC_PER_MSEC;

    if (!may_miss_something(node)) {
        node->lookup.ask_us = 0;
        /* The log has caught up with what we were told. */
        if (node->lookup.members && node_members_find(node_members_now(&node->group), node->group.leader))
            node_lookup_forget(node);
    } else if (node->lookup.ask_us == 0) {
        node->lookup.ask_us = node_now_us(node) + wait_us;
    } else if (node->lookup.ask_us <= node_now_us(node)) {
        node->lookup.ask_us = node_now_us(node) + wait_us;
        ask(node);
    }
}

/* Answers differ, and whoever knows less answers, too: all that were named count. */
static void learn(struct node *node, const struct node_members *members)
{
    uint64_t news = 0;

    if (!node->lookup.members) {
        node->lookup.members = RK_NEW(struct node_members);
        *node->lookup.members = *node_members_now(&node->group);
    }
    for (uint32_t i = 0; i < members->count; i++)
        news += node_members_add(node->lookup.members, &members->member[i]) == 0;
    if (news == 0)
        return;
    node_announce_members(node);
    RK_LOG(RK_LOG_NOTICE, "members", RK_FIELDS(RK_F_U64("COUNT", news)),
           "no leader was heard for a while: learned of members from another one");
}

bool node_lookup_reply(struct node *node, const struct node_message *reply)
{
    struct rk_reader in = rk_reader(rk_blob_slice(reply->body));
    uint64_t cluster_id = rk_get_u64(&in);
    struct rk_slice bytes = rk_get_block(&in, RK_COMMAND_BYTES_MAX);
    struct node_members *members;

    if (node->lookup.call_id == 0 || reply->id != node->lookup.call_id)
        return false;
    node->lookup.call_id = 0;
    if (reply->outcome != NODE_OK || !rk_reader_done(&in) || cluster_id != node->identity.cluster_id)
        return true;
    members = RK_NEW(struct node_members);
    if (node_members_decode(bytes, members) == 0)
        learn(node, members);
    free(members);
    return true;
}
