/* lib/api/api_admin.c - the administrator's paths: members come and go, leadership moves. */
#include "lib/api/api_internal.h"
#include "lib/base/rk_wire.h"

static void finish_done(struct api_task *task, struct node_call *call)
{
    (void)call;
    api_answer_json(task, 200, json_object());
}

static void finish_accepted(struct api_task *task, struct node_call *call)
{
    json_t *object = json_object();

    json_object_set_new(object, "state", json_string(node_join_state_name(NODE_JOIN_CONTACTING)));
    json_object_set_new(object, "message",
                        json_string(call->text[0] ? call->text : "the other host was invited"));
    api_answer_json(task, 202, object);
}

/* Administrators' calls may have to wait for an election or a slow disk. */
#define ADMIN_DEADLINE_US (20 * RK_USEC_PER_SEC)

static struct node_call *admin_call(struct api_task *task, enum node_call_kind kind, struct rk_slice body)
{
    struct node_call *call = api_call_new(task, kind);

    call->body = rk_blob_copy(body);
    call->deadline_us = rk_clock_now_us(&rk_clock_boottime) + ADMIN_DEADLINE_US;
    return call;
}

/* The string member of a JSON body; NULL when absent; *ret_bad: it is there and no string (400 was answered).
 */
static const char *text_member(struct api_task *task, const json_t *object, const char *name, bool *ret_bad)
{
    json_t *value = json_object_get(object, name);

    *ret_bad = value && !json_is_string(value);
    if (*ret_bad)
        api_answer_error(task, 400, "bad_request", "address and member must be JSON strings");
    return value && !*ret_bad ? json_string_value(value) : NULL;
}

static void submit_address(struct api_task *task, enum node_call_kind kind)
{
    json_t *object = api_body_object(task);
    const char *address;
    struct node_call *call;
    bool bad;

    if (!object)
        return;
    address = text_member(task, object, "address", &bad);
    if (!bad && (!address || !*address)) {
        api_answer_error(task, 400, "bad_request", "give the address, as {\"address\":\"host:port\"}");
    } else if (!bad) {
        call = admin_call(task, kind, rk_slice_str(address));
        call->discard = json_is_true(json_object_get(object, "discard_data"));
        call->learner = json_is_true(json_object_get(object, "learner"));
        api_submit(task, call, finish_accepted);
    }
    json_decref(object);
}

void api_join(struct api_task *task)
{
    submit_address(task, NODE_CALL_JOIN);
}

void api_member_invite(struct api_task *task)
{
    submit_address(task, NODE_CALL_INVITE_ADDRESS);
}

void api_leave(struct api_task *task)
{
    api_submit(task, admin_call(task, NODE_CALL_LEAVE, rk_slice(NULL, 0)), finish_done);
}

void api_member_remove(struct api_task *task)
{
    api_submit(task, admin_call(task, NODE_CALL_MEMBER_REMOVE, rk_buf_slice(&task->name)), finish_done);
}

void api_member_promote(struct api_task *task)
{
    api_submit(task, admin_call(task, NODE_CALL_MEMBER_PROMOTE, rk_buf_slice(&task->name)), finish_done);
}

void api_member_demote(struct api_task *task)
{
    api_submit(task, admin_call(task, NODE_CALL_MEMBER_DEMOTE, rk_buf_slice(&task->name)), finish_done);
}

void api_change_abort(struct api_task *task)
{
    api_submit(task, admin_call(task, NODE_CALL_MEMBER_ABORT, rk_slice(NULL, 0)), finish_done);
}

void api_member_priority(struct api_task *task)
{
    json_t *object = api_body_object(task);
    json_t *value = json_object_get(object, "priority");
    struct rk_buf body = {0};

    if (!object)
        return;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > (json_int_t)NODE_PRIORITY_MAX) {
        api_answer_error(task, 400, "bad_request", "give the priority, 0 to 100, as {\"priority\":50}");
    } else {
        rk_put_u8(&body, (uint8_t)json_integer_value(value));
        rk_buf_append_slice(&body, rk_buf_slice(&task->name));
        api_submit(task, admin_call(task, NODE_CALL_MEMBER_PRIORITY, rk_buf_slice(&body)), finish_done);
    }
    rk_buf_deinit(&body);
    json_decref(object);
}

/* The pairs of {"replace":[{"old":"node1","new":"node4"}]}; false when they are not that. */
static bool read_pairs(const json_t *array, struct rk_slice (*pairs)[2])
{
    size_t i;
    json_t *pair;

    json_array_foreach(array, i, pair)
    {
        const char *old = json_string_value(json_object_get(pair, "old"));
        const char *new = json_string_value(json_object_get(pair, "new"));

        if (!old || !new)
            return false;
        pairs[i][0] = rk_slice_str(old);
        pairs[i][1] = rk_slice_str(new);
    }
    return true;
}

void api_member_replace(struct api_task *task)
{
    struct rk_slice pairs[RK_MEMBERS_MAX][2];
    json_t *object = api_body_object(task);
    const json_t *array = json_object_get(object, "replace");
    struct node_call *call;

    if (!object)
        return;
    if (json_array_size(array) == 0 || json_array_size(array) > RK_MEMBERS_MAX || !read_pairs(array, pairs)) {
        api_answer_error(
            task, 400, "bad_request",
            "give who goes and who comes, as {\"replace\":[{\"old\":\"node1\",\"new\":\"node4\"}]}");
    } else {
        call = admin_call(task, NODE_CALL_MEMBER_REPLACE, rk_slice(NULL, 0));
        rk_blob_unref(call->body);
        call->body =
            node_replace_encode((const struct rk_slice(*)[2])pairs, (uint32_t)json_array_size(array));
        api_submit(task, call, finish_done);
    }
    json_decref(object);
}

/* The answer carries the id; the name is in the members' list. This host may not have heard of its new leader
 * yet. */
static void finish_transfer_names(struct api_task *task, struct node_call *call)
{
    uint64_t id = task->leader ? task->leader : call->status->raft.leader;
    const struct node_member *leader = node_members_find(&call->status->members, id);
    json_t *object = json_object();

    json_object_set_new(object, "leader", api_json_id(id));
    json_object_set_new(object, "name", leader ? json_string(leader->name) : json_null());
    api_answer_json(task, 200, object);
}

static void finish_transfer(struct api_task *task, struct node_call *call)
{
    struct rk_reader in = rk_reader(rk_blob_slice(call->answer));

    task->leader = rk_get_u64(&in);
    api_submit(task, api_call_new(task, NODE_CALL_STATUS), finish_transfer_names);
}

void api_transfer(struct api_task *task)
{
    json_t *object = api_body_object(task);
    const char *member;
    bool bad;

    if (!object)
        return;
    member = text_member(task, object, "member", &bad);
    if (!bad)
        api_submit(task, admin_call(task, NODE_CALL_TRANSFER, rk_slice_str(member ? member : "")),
                   finish_transfer);
    json_decref(object);
}

static void finish_trigger(struct api_task *task, struct node_call *call)
{
    struct rk_reader in = rk_reader(rk_blob_slice(call->answer));
    json_t *object = json_object();

    json_object_set_new(object, "index", json_integer((json_int_t)rk_get_u64(&in)));
    api_answer_json(task, 200, object);
}

void api_snapshot_post(struct api_task *task)
{
    api_submit(task, admin_call(task, NODE_CALL_SNAPSHOT, rk_slice(NULL, 0)), finish_trigger);
}
