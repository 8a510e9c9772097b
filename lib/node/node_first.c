/* lib/node/node_first.c - the first start of an initial member: is this really the first one?
 *
 * A pristine directory with initial_members in the configuration looks the same on the day
 * the cluster is made and on the day after its disk was lost. In the second case the host
 * has voted and acknowledged entries of which it knows nothing any more; with its vote a
 * host that knows as little could be elected, and everything would be gone. So an initial
 * member does not vote before it knows that every other one was as new as itself:
 *
 *   - it asks each of the others, until all have said so. A question carries a number that
 *     was drawn for this life of the process;
 *   - whoever is asked is new if it waits for answers itself, or if nothing was ever committed
 *     where it is, or if it has seen the asker new, in the same life, while it was new itself.
 *     The last one lets in a host whose answer was lost while the others went ahead;
 *   - to be asked by a new host is as good as an answer of it.
 *
 * So the first start of a cluster waits until all of its hosts have been up together for a
 * moment, in whatever order they come. A host that hears of a history instead never votes:
 * it follows and serves, and says that it has to be removed and to join again, which gives
 * it a new id. The marker is that of a repair, with a vote of term 0, so a restart in between
 * does not make it forget. */
#include "lib/base/rk_wire.h"
#include "lib/node/node_internal.h"

#define ASK_US     (250 * RK_USEC_PER_MSEC)
#define BOOT_INDEX 1

static struct node_first_peer *find(struct node *node, uint64_t id)
{
    for (uint32_t i = 0; i < node->first.count; i++)
        if (node->first.peers[i].id == id)
            return &node->first.peers[i];
    return NULL;
}

/* Room for one more is there as long as it is a member. */
static struct node_first_peer *get(struct node *node, uint64_t id)
{
    struct node_first_peer *peer = find(node, id);

    if (!peer && node->first.count < RK_MEMBERS_MAX) {
        peer = &node->first.peers[node->first.count++];
        *peer = (struct node_first_peer){.id = id};
    }
    return peer;
}

static bool all_are_new(struct node *node)
{
    const struct node_members *members = node_members_now(&node->group);

    for (uint32_t i = 0; i < members->count; i++) {
        const struct node_first_peer *peer = find(node, members->member[i].id);

        if (members->member[i].id != node->identity.member_id && !(peer && peer->is_new))
            return false;
    }
    return true;
}

static void finish(struct node *node)
{
    struct raft_event event = {.kind = RAFT_EVENT_ABSTAIN_END};
    int r = store_repair_end(node->dir);

    if (r < 0) {
        node_fail(node, "log", r);
        return;
    }
    node->first.running = false;
    node_step(node, &event, NULL);
    RK_LOG(RK_LOG_NOTICE, "first", NULL, "all initial members are new: the cluster begins");
}

static void ask(struct node *node, uint64_t id)
{
    struct node_first_peer *peer = get(node, id);
    struct node_message *message;
    uint8_t body[8];

    if (!peer || peer->is_new)
        return;
    message = node_message_new(NODE_MSG_CALL, id, node->group.number);
    rk_store_u64(body, node->first.life);
    message->id = peer->call_id = ++node->next_id;
    message->call_kind = NODE_CALL_FIRST;
    message->body = rk_blob_copy(rk_slice(body, sizeof(body)));
    rk_list_push_back(&node->out, &message->mail.link);
}

void node_first_housekeeping(struct node *node)
{
    const struct node_members *members = node_members_now(&node->group);

    if (!node->first.running || node->stopping || node->first.ask_us > node_now_us(node))
        return;
    node->first.ask_us = node_now_us(node) + ASK_US;
    if (all_are_new(node)) {
        finish(node);
        return;
    }
    for (uint32_t i = 0; i < members->count; i++)
        if (members->member[i].id != node->identity.member_id)
            ask(node, members->member[i].id);
}

void node_first_asked(struct node *node, struct node_call *call)
{
    struct rk_reader in = rk_reader(rk_blob_slice(call->body));
    uint64_t life = rk_get_u64(&in);
    struct node_first_peer *peer = call->priv.peer != 0 ? get(node, call->priv.peer) : NULL;
    struct raft_status status;
    uint8_t body[1];

    if (!rk_reader_done(&in) || !peer) {
        node_answer(node, call, NODE_E_BAD_REQUEST, "only a member asks that");
        return;
    }
    raft_status(node->group.raft, &status);
    if (node->first.running) {
        peer->is_new = true;
        peer->life = life;
    }
    body[0] = node->first.running || status.commit <= BOOT_INDEX || (peer->is_new && peer->life == life);
    call->answer = rk_blob_copy(rk_slice(body, sizeof(body)));
    node_answer(node, call, NODE_OK, NULL);
}

static void report_history(struct node *node)
{
    if (node->first.history)
        return;
    node->first.history = true;
    RK_LOG(RK_LOG_ERROR, "first", NULL,
           "this host starts with an empty data directory, but its cluster has a history: it does not vote "
           "under "
           "its old name. Run raftkvctl member remove %s on another member, and raftkvctl join here",
           node->identity.name);
}

bool node_first_reply(struct node *node, const struct node_message *reply)
{
    struct node_first_peer *peer = find(node, reply->peer);
    struct rk_reader in = rk_reader(rk_blob_slice(reply->body));
    bool is_new = rk_get_u8(&in) == 1;

    if (!node->first.running || !peer || peer->call_id == 0 || peer->call_id != reply->id)
        return false;
    peer->call_id = 0;
    if (reply->outcome != NODE_OK || !rk_reader_done(&in))
        return true;
    if (is_new)
        peer->is_new = true;
    else
        report_history(node);
    return true;
}
