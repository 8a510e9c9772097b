/* lib/api/api_status.c - how this host and its cluster are: /status, /members, /health, /version. */
#include <stdio.h>

#include "lib/api/api_internal.h"

static json_t *name_of(const struct node_status *status, uint64_t id)
{
    const struct node_member *member = node_members_find(&status->members, id);

    return member ? json_string(member->name) : json_null();
}

static const char *role_of(const struct node_status *status)
{
    if (status->removed)
        return "removed";
    if (status->join_state == NODE_JOIN_WIPING || status->join_state == NODE_JOIN_CATCHING_UP)
        return "joining";
    return raft_role_name(status->raft.role);
}

static const char *member_role(enum raft_member_role role)
{
    static const char *const names[] = {
        [RAFT_LEARNER] = "learner", [RAFT_VOTER] = "voter", [RAFT_LEAVING] = "leaving"};

    return names[role];
}

static void add_number(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)(value > INT64_MAX ? INT64_MAX : value)));
}

static json_t *peers(const struct node_status *status)
{
    json_t *array = json_array();

    for (uint32_t i = 0; i < status->peer_count; i++) {
        const struct node_peer_row *row = &status->peers[i];
        json_t *peer = json_object();

        json_object_set_new(peer, "id", api_json_id(row->id));
        json_object_set_new(peer, "name", name_of(status, row->id));
        json_object_set_new(peer, "mode", json_string(raft_peer_mode_name(row->mode)));
        add_number(peer, "match", row->match);
        add_number(peer, "lag",
                   status->raft.last_index > row->match ? status->raft.last_index - row->match : 0);
        if (row->active_ms == UINT64_MAX)
            json_object_set_new(peer, "active_ms", json_null());
        else
            add_number(peer, "active_ms", row->active_ms);
        json_array_append_new(array, peer);
    }
    return array;
}

#define SILENT_MS 5000

/* What an operator should know at 3 a.m., each with what to do. */
static json_t *problems(const struct node_status *status)
{
    json_t *array = json_array();
    char text[NODE_TEXT_BYTES + RK_ADDRESS_BYTES_MAX + 256];

    if (status->removed)
        json_array_append_new(array,
                              json_string("this host was removed from its cluster: raftkvctl join HOST:PORT "
                                          "--discard-data brings it into one again"));
    else if (status->first_start && !status->first_refused)
        json_array_append_new(array,
                              json_string("the first start waits until all hosts of initial_members are up: "
                                          "nobody votes before"));
    else if (status->raft.leader == 0)
        json_array_append_new(
            array, json_string("there is no leader: writes and consistent reads wait until a majority of the "
                               "members can reach each other"));
    if (status->check.corrupt) {
        snprintf(text, sizeof(text), "CORRUPT: %s", status->check.text);
        json_array_append_new(array, json_string(text));
    }
    if (status->first_refused)
        json_array_append_new(
            array,
            json_string("this host starts with an empty data directory, but its cluster has a history: it "
                        "does not vote under its old name. Run raftkvctl member remove for it on another "
                        "member, and raftkvctl join here"));
    if (status->repairing)
        json_array_append_new(array,
                              json_string("the raft log was damaged and is being repaired from the leader: "
                                          "this host does not vote until it is whole"));
    if (status->rebuilding) {
        snprintf(text, sizeof(text), "rebuilding rows from a peer: %s", status->rebuild_why);
        json_array_append_new(array, json_string(text));
    }
    if (status->low_space) {
        snprintf(text, sizeof(text),
                 "the disk is nearly full (%llu MiB free): writes are refused until there is room",
                 (unsigned long long)(status->free_bytes >> 20));
        json_array_append_new(array, json_string(text));
    }
    for (uint32_t i = 0; i < status->peer_count; i++) {
        const struct node_member *member = node_members_find(&status->members, status->peers[i].id);

        if (status->peers[i].active_ms < SILENT_MS || !member)
            continue;
        snprintf(text, sizeof(text),
                 "%s at %s has not answered the leader for a while: is it running, and can it be reached?",
                 member->name, member->peer_address);
        json_array_append_new(array, json_string(text));
    }
    if (status->join_state == NODE_JOIN_FAILED) {
        snprintf(text, sizeof(text), "joining failed: %s", status->join_text);
        json_array_append_new(array, json_string(text));
    }
    return array;
}

static json_t *join_object(const struct node_status *status)
{
    json_t *join = json_object();

    json_object_set_new(join, "state", json_string(node_join_state_name(status->join_state)));
    json_object_set_new(join, "message", json_string(status->join_text));
    return join;
}

static json_t *check_object(const struct node_status *status)
{
    json_t *check = json_object();

    json_object_set_new(check, "corrupt", json_boolean(status->check.corrupt));
    add_number(check, "compared", status->check.compared);
    add_number(check, "not_compared", status->check.not_compared);
    add_number(check, "mismatches", status->check.mismatches);
    add_number(check, "equal_index", status->check.equal_index);
    add_number(check, "scrubs", status->check.scrubs);
    return check;
}

static void add_raft(json_t *object, const struct node_status *status)
{
    const struct node_member *self = node_members_find(&status->members, status->raft.id);

    json_object_set_new(object, "role", json_string(role_of(status)));
    json_object_set_new(object, "member_role",
                        json_string(self && !status->removed ? member_role(self->role) : "none"));
    add_number(object, "term", status->raft.term);
    json_object_set_new(object, "leader_id", api_json_id(status->raft.leader));
    json_object_set_new(object, "leader_name", name_of(status, status->raft.leader));
    add_number(object, "commit_index", status->raft.commit);
    add_number(object, "applied_index", status->applied);
    add_number(object, "first_index", status->raft.base_index + 1);
    add_number(object, "last_index", status->raft.last_index);
}

static void finish_status(struct api_task *task, struct node_call *call)
{
    const struct node_status *status = call->status;
    json_t *object = json_object();

    json_object_set_new(object, "name", json_string(status->name));
    json_object_set_new(object, "member_id", api_json_id(status->raft.id));
    json_object_set_new(object, "cluster_id", api_json_id(status->cluster_id));
    json_object_set_new(object, "version", json_string(task->api->config.version));
    add_raft(object, status);
    add_number(object, "revision", status->revision);
    add_number(object, "keys", status->keys);
    add_number(object, "sessions", status->sessions);
    add_number(object, "data_bytes", status->data_bytes);
    add_number(object, "free_bytes", status->free_bytes);
    json_object_set_new(object, "low_space", json_boolean(status->low_space));
    json_object_set_new(object, "repairing", json_boolean(status->repairing));
    json_object_set_new(object, "rebuilding", json_boolean(status->rebuilding));
    add_number(object, "uptime_s", status->uptime_us / RK_USEC_PER_SEC);
    add_number(object, "flushes", status->flushes);
    add_number(object, "entries_flushed", status->entries_flushed);
    add_number(object, "flush_us_max", status->flush_us_max);
    json_object_set_new(object, "peers", peers(status));
    json_object_set_new(object, "check", check_object(status));
    json_object_set_new(object, "join", join_object(status));
    json_object_set_new(object, "problems", problems(status));
    api_answer_json(task, 200, object);
}

void api_status_get(struct api_task *task)
{
    api_submit(task, api_call_new(task, NODE_CALL_STATUS), finish_status);
}

static void finish_members(struct api_task *task, struct node_call *call)
{
    const struct node_status *status = call->status;
    json_t *object = json_object(), *array = json_array();

    for (uint32_t i = 0; i < status->members.count; i++) {
        const struct node_member *member = &status->members.member[i];
        json_t *row = json_object();

        json_object_set_new(row, "id", api_json_id(member->id));
        json_object_set_new(row, "name", json_string(member->name));
        json_object_set_new(row, "role", json_string(member_role(member->role)));
        add_number(row, "priority", member->priority);
        json_object_set_new(row, "replaces", name_of(status, member->replaces));
        json_object_set_new(row, "peer_address", json_string(member->peer_address));
        json_object_set_new(row, "client_url", json_string(member->client_url));
        json_array_append_new(array, row);
    }
    json_object_set_new(object, "cluster_id", api_json_id(status->cluster_id));
    json_object_set_new(object, "leader_id", api_json_id(status->raft.leader));
    json_object_set_new(object, "members", array);
    api_answer_json(task, 200, object);
}

void api_members_get(struct api_task *task)
{
    api_submit(task, api_call_new(task, NODE_CALL_STATUS), finish_members);
}

void api_health_get(struct api_task *task)
{
    const char *reason;
    bool good = node_healthy(task->api->config.node, &reason);
    json_t *object = json_object();

    json_object_set_new(object, "health", json_string(good ? "true" : "false"));
    if (!good)
        json_object_set_new(object, "reason", json_string(reason));
    api_answer_json(task, good ? 200 : 503, object);
}

void api_version_get(struct api_task *task)
{
    json_t *object = json_object();

    json_object_set_new(object, "raftkv", json_string(task->api->config.version));
    api_answer_json(task, 200, object);
}
