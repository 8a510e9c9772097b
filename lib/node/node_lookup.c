/* lib/node/node_lookup.c - a member that has missed too much asks who the members are.
 *
 * Hosts talk to those that their log names. One that was away while members came and
 * went may not know the present leader, will not let it in, and cannot answer it; and only
 * the leader could teach it. So who has known no leader for a while asks the addresses that
 * it does know, in turn, to be added: a question that is answered with the members when
 * one is a member already, and refused when one was removed. What is learned so is for
 * the transport only; the configuration in force comes from the log, as always. */
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

/* Another member, each time the next one. */
static const struct node_member *next_member(struct node *node)
{
    const struct node_members *members = node_members_now(&node->group);
    const struct node_member *member = &members->member[node->lookup.turn++ % members->count];

    return member->id == node->identity.member_id ? &members->member[node->lookup.turn++ % members->count]
                                                  : member;
}

static void ask(struct node *node)
{
    struct node_message *message = node_message_new(NODE_MSG_CALL, 0, 0);

    message->id = node->lookup.call_id = ++node->next_id;
    message->call_kind = NODE_CALL_MEMBER_ADD;
    message->body = node_member_encode(node_self(node));
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
    if (node_members_decode(bytes, members) == 0 && node_members_find(members, node->identity.member_id)) {
        free(node->lookup.members);
        node->lookup.members = members;
        node_announce_members(node);
        RK_LOG(RK_LOG_NOTICE, "members", NULL,
               "no leader was heard for a while: learned from another member who the members are");
    } else {
        free(members);
    }
    return true;
}
