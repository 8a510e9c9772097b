/* lib/client/client_cluster.c - status, membership and snapshots. */
#include <errno.h>
#include <string.h>

#include "lib/base/rk_percent.h"
#include "lib/client/client_private.h"

int client_call(struct client *client, const char *method, const char *path, const char *query,
                const json_t *json, json_t **ret)
{
    RK_CLEANUP(rk_freep) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    struct client_body body = {.bytes = text ? rk_slice_str(text) : rk_slice(NULL, 0),
                               .content_type = "application/json"};
    struct client_response response;
    int r = client_request(client, method, path, query, json ? &body : NULL, &response);
    if (r != 0)
        return r;
    json_t *answer = json_incref(response.json);
    client_response_deinit(&response);
    if (!json_is_object(answer)) {
        json_decref(answer);
        return client_fail(client, CLIENT_E_PROTOCOL, "the answer is not a JSON object; is that a raftkvd?");
    }
    if (ret)
        *ret = answer;
    else
        json_decref(answer);
    return 0;
}

int client_status(struct client *client, json_t **ret)
{
    return client_call(client, "GET", "/status", NULL, NULL, ret);
}

int client_members(struct client *client, json_t **ret)
{
    return client_call(client, "GET", "/members", NULL, NULL, ret);
}

/* json is this function's to free; NULL means that it could not be made (an argument that is not UTF-8). */
static int post(struct client *client, const char *path, json_t *json, json_t **ret)
{
    if (!json)
        return client_fail(client, CLIENT_E_INVALID, "an address or a name must be valid UTF-8");
    int r = client_call(client, "POST", path, NULL, json, ret);
    json_decref(json);
    return r;
}

int client_join(struct client *client, const char *address, bool discard_data)
{
    return post(client, "/cluster/join",
                json_pack("{s:s, s:b}", "address", address, "discard_data", discard_data), NULL);
}

int client_leave(struct client *client)
{
    return post(client, "/cluster/leave", json_object(), NULL);
}

int client_member_add(struct client *client, const char *address)
{
    return post(client, "/cluster/members", json_pack("{s:s}", "address", address), NULL);
}

int client_member_add_learner(struct client *client, const char *address)
{
    return post(client, "/cluster/members", json_pack("{s:s, s:b}", "address", address, "learner", 1), NULL);
}

int client_member_replace(struct client *client, const struct client_pair *pairs, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_pack("{s:s, s:s}", "old", pairs[i].old, "new", pairs[i].new));
    return post(client, "/cluster/replace", json_pack("{s:o}", "replace", array), NULL);
}

int client_change_abort(struct client *client)
{
    return post(client, "/cluster/abort", json_object(), NULL);
}

static char *member_path(const char *member, const char *tail)
{
    struct rk_buf buf = {0};
    rk_buf_append_str(&buf, "/cluster/members/");
    rk_percent_encode(&buf, rk_slice_str(member), false);
    rk_buf_append(&buf, tail, strlen(tail) + 1);
    return (char *)buf.data;
}

int client_member_remove(struct client *client, const char *member)
{
    RK_CLEANUP(rk_freep) char *path = member_path(member, "");
    return client_call(client, "DELETE", path, NULL, NULL, NULL);
}

int client_member_promote(struct client *client, const char *member)
{
    RK_CLEANUP(rk_freep) char *path = member_path(member, "/promote");
    return post(client, path, json_object(), NULL);
}

int client_member_demote(struct client *client, const char *member)
{
    RK_CLEANUP(rk_freep) char *path = member_path(member, "/demote");
    return post(client, path, json_object(), NULL);
}

int client_member_priority(struct client *client, const char *member, uint32_t priority)
{
    RK_CLEANUP(rk_freep) char *path = member_path(member, "/priority");
    return post(client, path, json_pack("{s:i}", "priority", (int)priority), NULL);
}

int client_transfer_leader(struct client *client, const char *member, json_t **ret)
{
    return post(client, "/cluster/transfer", member ? json_pack("{s:s}", "member", member) : json_object(),
                ret);
}

struct counter {
    client_sink *sink;
    void *userdata;
    uint64_t bytes;
};

static int count_bytes(void *userdata, struct rk_slice piece)
{
    struct counter *counter = userdata;
    counter->bytes += piece.len;
    return counter->sink(counter->userdata, piece);
}

int client_snapshot_read(struct client *client, client_sink *sink, void *userdata,
                         struct client_snapshot *ret)
{
    struct counter counter = {.sink = sink, .userdata = userdata};
    struct client_response response;
    int r = client_stream(client, "/snapshot", NULL, count_bytes, &counter, &response);
    if (r != 0)
        return r;
    struct client_snapshot snapshot = {
        .bytes = counter.bytes,
        .index = client_header_u64(&response, "raftkv-snapshot-index"),
        .revision = client_header_u64(&response, "raftkv-snapshot-revision"),
    };
    client_response_deinit(&response);
    if (snapshot.bytes == 0)
        return client_fail(client, CLIENT_E_PROTOCOL, "the server sent an empty snapshot");
    *ret = snapshot;
    return 0;
}

int client_snapshot_trigger(struct client *client, uint64_t *ret_index)
{
    json_t *answer;
    int r = post(client, "/snapshot", json_object(), &answer);
    if (r != 0)
        return r;
    *ret_index = client_json_u64(answer, "index", 0);
    json_decref(answer);
    return 0;
}
