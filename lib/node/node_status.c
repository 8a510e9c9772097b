/* lib/node/node_status.c - what the node says about itself. */
#include <stdio.h>

#include "lib/node/node_internal.h"

const char *node_join_state_name(enum node_join_state state)
{
    static const char *const names[] = {"none", "contacting", "wiping", "catching_up", "done", "failed"};

    return (size_t)state < RK_ARRAY_LEN(names) ? names[state] : "unknown";
}

static void add_peers(struct node *node, struct node_status *status)
{
    const struct node_members *members = node_members_now(&node->group);
    uint64_t now_us = node_now_us(node);

    for (uint32_t i = 0; i < members->count; i++) {
        struct node_peer_row *row = &status->peers[status->peer_count];
        struct raft_peer_status peer;

        if (!raft_peer_status(node->group.raft, members->member[i].id, &peer) ||
            members->member[i].id == node->identity.member_id)
            continue;
        *row = (struct node_peer_row){
            .id = peer.id, .match = peer.match, .mode = peer.mode, .active_ms = UINT64_MAX};
        if (peer.active_us != 0)
            row->active_ms = now_us > peer.active_us ? (now_us - peer.active_us) / RK_USEC_PER_MSEC : 0;
        status->peer_count++;
    }
}

struct node_status *node_make_status(struct node *node)
{
    struct node_status *status = RK_NEW(struct node_status);
    struct store_log_stats stats;

    status->cluster_id = node->identity.cluster_id;
    status->incarnation = node->identity.incarnation;
    status->removed = node->identity.removed;
    raft_status(node->group.raft, &status->raft);
    if (status->removed)
        status->raft.leader = 0;
    status->members = *node_members_now(&node->group);
    add_peers(node, status);
    status->applied = node->group.applied;
    status->revision = node->group.revision;
    status->sessions = node->group.sessions;
    status->keys = node->group.keys;
    status->data_bytes = store_rows_bytes(node->rows);
    status->free_bytes = store_space_free_bytes();
    status->low_space = store_space_low();
    status->first_start = node->first.running;
    status->first_refused = node->first.running && node->first.history;
    status->repairing = node->repair.running;
    status->rebuilding = atomic_load(&node->rebuilding);
    memcpy(status->rebuild_why, node->rebuild.why, sizeof(status->rebuild_why));
    status->check.corrupt = atomic_load(&node->corrupt);
    memcpy(status->check.text, node->check.text, sizeof(status->check.text));
    status->check.compared = node->check.compared;
    status->check.not_compared = node->check.not_compared;
    status->check.mismatches = node->check.mismatches;
    status->check.equal_index = node->check.equal_index;
    status->check.scrubs = atomic_load(&node->scrubs);
    status->uptime_us = node_now_us(node) - node->started_us;
    store_log_stats(node->log, &stats);
    status->flushes = stats.flushes;
    status->entries_flushed = stats.entries;
    status->flush_us_max = stats.flush_us_max;
    status->join_state = node->join.state;
    memcpy(status->join_text, node->join.text, sizeof(status->join_text));
    memcpy(status->name, node->identity.name, sizeof(status->name));
    return status;
}

static const char *role_text(struct node *node, const struct raft_status *status)
{
    if (node->identity.removed)
        return "removed";
    if (node->join.state == NODE_JOIN_WIPING || node->join.state == NODE_JOIN_CATCHING_UP)
        return "joining";
    return raft_role_name(status->role);
}

void node_refresh_summary(struct node *node)
{
    struct raft_status status;
    const struct node_member *leader;
    char text[NODE_TEXT_BYTES];
    bool same;

    atomic_store(&node->alone, node_members_now(&node->group)->count <= 1);
    raft_status(node->group.raft, &status);
    leader = node_members_find(node_members_now(&node->group), status.leader);
    snprintf(text, sizeof(text), "%s, term %llu, commit %llu, leader %s%s%s%s", role_text(node, &status),
             (unsigned long long)status.term, (unsigned long long)status.commit,
             leader && !node->identity.removed ? leader->name : "none",
             atomic_load(&node->corrupt) ? ", CORRUPT: members differ" : "",
             atomic_load(&node->rebuilding) ? ", REBUILDING ROWS FROM A PEER" : "",
             store_space_low() ? ", DISK NEARLY FULL: writes are refused" : "");
    pthread_mutex_lock(&node->summary_mutex);
    same = strcmp(node->summary, text) == 0;
    memcpy(node->summary, text, sizeof(node->summary));
    pthread_mutex_unlock(&node->summary_mutex);
    if (!same && node->config.changed)
        node->config.changed(node->config.userdata);
}

void node_summary(struct node *node, char *ret, size_t size)
{
    pthread_mutex_lock(&node->summary_mutex);
    snprintf(ret, size, "%s", node->summary);
    pthread_mutex_unlock(&node->summary_mutex);
}

bool node_healthy(struct node *node, const char **ret_reason)
{
    *ret_reason = "";
    if (atomic_load(&node->failed))
        *ret_reason = "this host's storage has failed";
    else if (atomic_load(&node->rebuilding))
        *ret_reason = "this host is rebuilding its rows from a peer";
    else if (atomic_load(&node->corrupt))
        *ret_reason = "the rows of this host and of others differ: see raftkvctl status";
    else if (!atomic_load(&node->serving))
        *ret_reason = "this host is joining a cluster";
    else if (atomic_load(&node->leader_now) == 0)
        *ret_reason = "there is no leader";
    return (*ret_reason)[0] == '\0';
}
