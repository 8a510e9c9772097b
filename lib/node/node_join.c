/* lib/node/node_join.c - a pristine host gives up its own cluster of one and joins another.
 *
 * The joiner asks any member of the cluster, at an address, to add it as a learner
 * (a one-shot call: it is not a member yet). With the answer, which names the cluster and
 * its members, it drops its log and rows, takes on the cluster's id, and waits for the
 * leader, which streams a snapshot or the log and promotes it once it has caught up.
 *
 * Dropping the state in place means stopping the disk threads, wiping, opening anew and
 * starting them again; the doors stay open and calls wait in their mailboxes. */
#include <errno.h>
#include <stdio.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_wire.h"
#include "lib/node/node_internal.h"

#define JOIN_RETRY_US   (500 * RK_USEC_PER_MSEC)
#define JOIN_GIVE_UP_US (30 * RK_USEC_PER_SEC)

static void set_state(struct node *node, enum node_join_state state, const char *text)
{
    node->join.state = state;
    if (state == NODE_JOIN_DONE)
        atomic_store(&node->serving, true);
    snprintf(node->join.text, sizeof(node->join.text), "%s", text);
    RK_LOG(state == NODE_JOIN_FAILED ? RK_LOG_ERROR : RK_LOG_NOTICE, "join", NULL, "%s: %s",
           node_join_state_name(state), text);
}

/* ---- asking ------------------------------------------------------------------------------ */

bool node_join_runs(const struct node *node)
{
    return node->join.state == NODE_JOIN_CONTACTING || node->join.state == NODE_JOIN_WIPING ||
           node->join.state == NODE_JOIN_CATCHING_UP;
}

/* A reason why this host cannot join another cluster, or NULL. */
static const char *cannot_join(struct node *node, bool discard)
{
    const struct node_members *members = node_members_now(&node->group);

    if (node_join_runs(node))
        return "this host is joining a cluster already: raftkvctl status shows how far it is";
    if (!node->identity.removed && members->count > 1)
        return "this host is a member of a cluster: run raftkvctl leave first";
    if (node->config.peer_address[0] == '\0')
        return "this host has no peer port: set peer.certificate, peer.key and peer.ca in raftkv.conf and "
               "restart";
    if (node->group.revision > 1 && !discard)
        return "this host holds keys: they would be lost; say --discard-data if that is what you want";
    return NULL;
}

static void ask(struct node *node)
{
    struct node_message *message = node_message_new(NODE_MSG_CALL, 0, 0);
    struct node_member record = {
        .id = node->join.member_id, .role = RAFT_LEARNER, .promote = !node->join.learner};

    snprintf(record.name, sizeof(record.name), "%s", node->identity.name);
    snprintf(record.peer_address, sizeof(record.peer_address), "%s", node->config.peer_address);
    snprintf(record.client_url, sizeof(record.client_url), "%s", node->config.client_url);
    message->id = node->join.call_id = ++node->next_id;
    message->call_kind = NODE_CALL_MEMBER_ADD;
    message->body = node_member_encode(&record);
    node->transport.call_address(node->transport.userdata, node->join.address, message);
}

static bool take_address(struct node *node, struct rk_slice address)
{
    if (address.len == 0 || address.len >= sizeof(node->join.address))
        return false;
    for (size_t i = 0; i < address.len; i++) /* it is shown to operators, and an invitation brings it */
        if (address.data[i] <= 0x20 || address.data[i] >= 0x7f)
            return false;
    memcpy(node->join.address, address.data, address.len);
    node->join.address[address.len] = '\0';
    return true;
}

static void start(struct node *node, struct node_call *call, struct rk_slice address, bool discard,
                  bool learner)
{
    const char *why = cannot_join(node, discard);
    char text[NODE_TEXT_BYTES];

    if (why) {
        node_answer(node, call, NODE_E_CONFLICT, why);
        return;
    }
    if (!take_address(node, address)) {
        node_answer(node, call, NODE_E_BAD_REQUEST, "the address must be host:port of a member's peer port");
        return;
    }
    /* An id is for one life in one cluster: what has been a member, or held keys, comes back as somebody new.
     */
    node->join.member_id =
        node->identity.removed || node->group.revision > 1 ? rk_random_id() : node->identity.member_id;
    node->join.learner = learner;
    node->join.give_up_us = node_now_us(node) + JOIN_GIVE_UP_US;
    node->join.retry_us = RK_NEVER;
    snprintf(text, sizeof(text), "asking %.200s to add this host", node->join.address);
    set_state(node, NODE_JOIN_CONTACTING, text);
    ask(node);
    node_answer(node, call, NODE_OK, text);
}

void node_join_start(struct node *node, struct node_call *call)
{
    start(node, call, rk_blob_slice(call->body), call->discard, call->learner);
}

/* ---- being invited, inviting ------------------------------------------------------------------ */

void node_join_invited(struct node *node, struct node_call *call)
{
    struct rk_reader in = rk_reader(rk_blob_slice(call->body));
    bool learner = rk_get_u8(&in) != 0;

    start(node, call, rk_get_bytes(&in, rk_reader_left(&in)), false, learner);
}

static void forget_invite(struct node *node, uint64_t id)
{
    struct node_call *call = rk_map_remove(&node->forwards, id);

    if (call)
        node_call_disarm(node, call);
}

static struct rk_blob *invitation(const struct node *node, bool learner)
{
    struct rk_buf out = {0};
    struct rk_blob *body;

    rk_put_u8(&out, learner);
    rk_buf_append_str(&out, node->config.peer_address);
    body = rk_blob_copy(rk_buf_slice(&out));
    rk_buf_deinit(&out);
    return body;
}

void node_join_invite(struct node *node, struct node_call *call)
{
    struct node_message *message;
    char address[RK_ADDRESS_BYTES_MAX + 1];

    if (!call->body || call->body->len == 0 || call->body->len >= sizeof(address)) {
        node_answer(node, call, NODE_E_BAD_REQUEST,
                    "the address must be host:port of the new host's peer port");
        return;
    }
    if (node->config.peer_address[0] == '\0') {
        node_answer(node, call, NODE_E_CONFLICT,
                    "this host has no peer port: set peer.certificate, peer.key and peer.ca in raftkv.conf "
                    "and restart");
        return;
    }
    memcpy(address, call->body->data, call->body->len);
    address[call->body->len] = '\0';
    message = node_message_new(NODE_MSG_CALL, 0, 0);
    message->id = call->priv.id = ++node->next_id;
    message->call_kind = NODE_CALL_INVITE;
    message->body = invitation(node, call->learner);
    call->priv.peer = 0;
    call->priv.stage = NODE_STAGE_FORWARDED;
    rk_map_put(&node->forwards, call->priv.id, call);
    node_call_arm(node, call);
    node->transport.call_address(node->transport.userdata, address, message);
}

/* ---- the answer --------------------------------------------------------------------------------- */

/* So that the log stands on its own here, too. */
static int note_members(struct node *node, struct rk_slice members)
{
    int r = store_log_begin(node->log);

    if (r == 0)
        r = store_log_set_members(node->log, node->group.number, 0, members);
    return r == 0 ? store_log_commit(node->log) : r;
}

/* Stops the disk threads and comes back with an empty store under a new name. */
static int rebuild(struct node *node, uint64_t cluster_id, struct rk_slice members, char **ret_error)
{
    struct store_identity identity = node->identity;
    int r;

    node_stop_disk_threads(node);
    node_unload_group(node);
    node_close_stores(node);
    r = store_dir_wipe(node->dir);
    if (r != 0)
        return r;
    identity.cluster_id = cluster_id;
    identity.member_id = node->join.member_id;
    identity.removed = false;
    node->identity = identity;
    r = node_open_stores(node, ret_error);
    /* Whom to listen to until the log or a snapshot says more; kept, so that a restart in between knows it
     * too. */
    if (r == 0)
        r = mvcc_bootstrap(node->group.mvcc, 0, 0, members);
    if (r == 0)
        r = store_rows_flush(node->rows);
    if (r == 0)
        r = note_members(node, members);
    if (r == 0) /* last: a crash before it leaves a pristine directory, not a member that knows nobody */
        r = store_dir_set_identity(node->dir, &identity);
    if (r == 0)
        r = node_load_group(node, ret_error);
    atomic_store(&node->serving, false);
    return r == 0 ? node_start_disk_threads(node) : r;
}

static void joined(struct node *node, const struct node_message *reply)
{
    struct rk_reader in = rk_reader(rk_blob_slice(reply->body));
    uint64_t cluster_id = rk_get_u64(&in);
    struct rk_slice bytes = rk_get_block(&in, RK_COMMAND_BYTES_MAX);
    struct node_members *members = RK_NEW(struct node_members);
    RK_CLEANUP(rk_freep) char *error = NULL;
    int r;

    if (!rk_reader_done(&in) || cluster_id == 0 || node_members_decode(bytes, members) != 0 ||
        !node_members_find(members, node->join.member_id)) {
        set_state(node, NODE_JOIN_FAILED,
                  "the other cluster's answer cannot be read: is it of another version?");
        free(members);
        return;
    }
    set_state(node, NODE_JOIN_WIPING, "added as a learner: dropping this host's own empty cluster");
    r = rebuild(node, cluster_id, bytes, &error);
    if (r != 0) {
        RK_LOG(RK_LOG_ERROR, "join", NULL, "cannot start over: %s", error ? error : strerror(-r));
        node_fail(node, "join", r < 0 ? r : -EIO);
    } else {
        atomic_store(&node->member_id, node->identity.member_id);
        node_announce_members(node);
        set_state(node, NODE_JOIN_CATCHING_UP, "waiting for the leader's log");
    }
    free(members);
}

static bool worth_retrying(uint32_t outcome)
{
    return outcome == NODE_E_UNREACHABLE || outcome == NODE_E_NO_LEADER || outcome == NODE_E_BUSY ||
           outcome == NODE_E_TIMEOUT || outcome == NODE_E_NOT_LEADER;
}

void node_join_reply(struct node *node, struct node_message *reply)
{
    struct node_call *invite = rk_map_get(&node->forwards, reply->id);
    char text[NODE_TEXT_BYTES];

    if (node_lookup_reply(node, reply))
        return;
    node_reply_text(reply, text, sizeof(text));
    if (invite && invite->priv.peer == 0) {
        forget_invite(node, reply->id);
        node_answer(node, invite, (enum node_outcome)reply->outcome, reply->outcome == NODE_OK ? NULL : text);
        return;
    }
    if (reply->id != node->join.call_id || node->join.state != NODE_JOIN_CONTACTING)
        return;
    node->join.call_id = 0;
    if (reply->outcome == NODE_OK) {
        joined(node, reply);
    } else if (worth_retrying(reply->outcome) && node_now_us(node) < node->join.give_up_us) {
        node->join.retry_us = node_now_us(node) + JOIN_RETRY_US;
        snprintf(node->join.text, sizeof(node->join.text), "trying again: %.200s", text);
    } else {
        set_state(node, NODE_JOIN_FAILED, text);
    }
}

void node_join_housekeeping(struct node *node)
{
    const struct node_member *self;
    char text[NODE_TEXT_BYTES];

    if (node->join.state == NODE_JOIN_CONTACTING && node->join.retry_us <= node_now_us(node)) {
        node->join.retry_us = RK_NEVER;
        ask(node);
    }
    if (node->join.state != NODE_JOIN_CATCHING_UP)
        return;
    self = node_self(node);
    if (self && self->role == RAFT_VOTER && node_members_now_index(&node->group) <= node->group.applied) {
        set_state(node, NODE_JOIN_DONE, "this host is a voter of the cluster");
        return;
    }
    if (self && !self->promote && self->role == RAFT_LEARNER && node->group.leader != 0 &&
        node_members_now_index(&node->group) <= node->group.applied) {
        set_state(node, NODE_JOIN_DONE, "this host is a learner of the cluster, until it is promoted");
        return;
    }
    snprintf(text, sizeof(text), "learner, applied up to entry %llu",
             (unsigned long long)node->group.applied);
    memcpy(node->join.text, text, sizeof(node->join.text));
}

void node_join_removed(struct node *node)
{
    if (node->join.state == NODE_JOIN_CATCHING_UP)
        set_state(node, NODE_JOIN_FAILED, "this host was removed from the cluster before it had caught up");
}
