/* lib/api/api_key.c - the plain REST paths for keys. */
#include <inttypes.h>
#include <stdio.h>

#include "lib/api/api_internal.h"
#include "lib/base/limits.h"

static json_t *revision_object(uint64_t revision)
{
    json_t *object = json_object();

    json_object_set_new(object, "revision", json_integer((json_int_t)revision));
    return object;
}

/* ---- writes ------------------------------------------------------------------------------- */

static void finish_write(struct api_task *task, struct node_call *call)
{
    struct mvcc_answer answer;

    if (mvcc_answer_decode(rk_blob_slice(call->answer), &answer) != 0)
        api_answer_error(task, 500, "internal", "the cluster's answer cannot be read");
    else if (api_command_ok(task, answer.outcome))
        api_answer_json(task, 200, revision_object(answer.revision));
}

static void finish_delete(struct api_task *task, struct node_call *call)
{
    struct mvcc_answer answer;
    json_t *object;

    if (mvcc_answer_decode(rk_blob_slice(call->answer), &answer) != 0) {
        api_answer_error(task, 500, "internal", "the cluster's answer cannot be read");
    } else if (api_command_ok(task, answer.outcome)) {
        object = revision_object(answer.revision);
        json_object_set_new(object, "deleted", json_integer((json_int_t)answer.deleted[0]));
        api_answer_json(task, 200, object);
    }
}

static void write_ops(struct api_task *task, const struct mvcc_op *ops, uint32_t count,
                      void (*finish)(struct api_task *task, struct node_call *call))
{
    struct node *node = task->api->config.node;
    struct mvcc_number number;
    struct node_call *call;
    bool numbered;

    if (!api_command_ok(task, mvcc_command_check(ops, count)) || !api_write_number(task, &number, &numbered))
        return;
    call = api_call_new(task, NODE_CALL_WRITE);
    call->body = numbered ? node_numbered_body(node, &number, ops, count) : node_write_body(node, ops, count);
    api_submit(task, call, finish);
}

void api_key_put(struct api_task *task)
{
    struct mvcc_op op = {.kind = MVCC_OP_PUT, .key = rk_buf_slice(&task->name), .value = task->request->body};

    write_ops(task, &op, 1, finish_write);
}

void api_key_delete(struct api_task *task)
{
    struct mvcc_op op = {.kind = MVCC_OP_DELETE, .key = rk_buf_slice(&task->name)};

    write_ops(task, &op, 1, finish_delete);
}

void api_key_post(struct api_task *task)
{
    struct mvcc_op ops[RK_TXN_OPS_MAX];
    json_t *object = api_body_object(task);
    const char *key;
    json_t *value;
    uint32_t count = 0;
    bool good = true;

    if (!object)
        return;
    good = json_object_size(object) <= RK_TXN_OPS_MAX;
    if (!good)
        api_command_ok(task, MVCC_E_TOO_MANY_OPS);
    json_object_foreach(object, key, value)
    {
        if (good && !json_is_string(value)) {
            good = false;
            api_answer_error(task, 400, "bad_request", "each value must be a JSON string");
        }
        if (!good)
            break;
        ops[count++] =
            (struct mvcc_op){.kind = MVCC_OP_PUT,
                             .key = rk_slice_str(key),
                             .value = rk_slice(json_string_value(value), json_string_length(value))};
    }
    if (good)
        write_ops(task, ops, count, finish_write);
    json_decref(object);
}

/* ---- reads ---------------------------------------------------------------------------------- */

/* Decodes a result; false after answering. */
static bool result_ok(struct api_task *task, struct node_call *call, struct mvcc_result *ret)
{
    if (mvcc_result_decode(rk_blob_slice(call->answer), ret) != 0) {
        api_answer_error(task, 500, "internal", "the cluster's answer cannot be read");
        return false;
    }
    return api_command_ok(task, ret->outcome);
}

static void answer_raw(struct api_task *task, const struct mvcc_kv *kv)
{
    char revision[24], version[24];
    struct http_header headers[] = {
        {rk_slice_str("content-type"), rk_slice_str("application/octet-stream")},
        {rk_slice_str("raftkv-revision"), {0}},
        {rk_slice_str("raftkv-version"), {0}},
    };

    snprintf(revision, sizeof(revision), "%" PRIu64, kv->mod_revision);
    snprintf(version, sizeof(version), "%" PRIu64, kv->version);
    headers[1].value = rk_slice_str(revision);
    headers[2].value = rk_slice_str(version);
    api_answer_bytes(task, 200, headers, RK_ARRAY_LEN(headers), kv->value);
}

static void answer_named(struct api_task *task, const struct mvcc_kv *kv)
{
    json_t *object = json_object();
    json_t *name = api_json_bytes(kv->key);

    if (json_is_string(name)) {
        json_object_set_new(object, json_string_value(name), api_json_bytes(kv->value));
    } else { /* a name that no JSON object can carry */
        json_object_set(object, "key_base64", json_object_get(name, "base64"));
        api_json_set_bytes(object, "value", kv->value);
    }
    json_decref(name);
    api_answer_json(task, 200, object);
}

static void finish_get(struct api_task *task, struct node_call *call)
{
    struct mvcc_result result;
    struct mvcc_kv kv;

    if (!result_ok(task, call, &result))
        return;
    if (mvcc_result_next(&result, &kv) != 1)
        api_answer_error(task, 404, "not_found", "there is no such key");
    else if (task->raw)
        answer_raw(task, &kv);
    else
        answer_named(task, &kv);
}

void api_key_get(struct api_task *task)
{
    struct mvcc_query query = {.key = rk_buf_slice(&task->name), .limit = 1};
    enum node_read_level level;
    struct node_call *call;

    if (!api_read_level(task, &level))
        return;
    if (query.key.len > RK_KEY_BYTES_MAX) {
        api_command_ok(task, MVCC_E_KEY_TOO_LONG);
        return;
    }
    call = api_call_new(task, NODE_CALL_READ);
    call->level = level;
    call->body = mvcc_query_encode(&query);
    api_submit(task, call, finish_get);
}

static json_t *kv_object(const struct mvcc_kv *kv, bool keys_only)
{
    json_t *object = json_object();

    api_json_set_bytes(object, "key", kv->key);
    if (!keys_only)
        api_json_set_bytes(object, "value", kv->value);
    json_object_set_new(object, "create_revision", json_integer((json_int_t)kv->create_revision));
    json_object_set_new(object, "mod_revision", json_integer((json_int_t)kv->mod_revision));
    json_object_set_new(object, "version", json_integer((json_int_t)kv->version));
    return object;
}

static void finish_range(struct api_task *task, struct node_call *call)
{
    struct mvcc_result result;
    struct mvcc_kv kv;
    json_t *object, *kvs;

    if (!result_ok(task, call, &result))
        return;
    object = revision_object(result.revision);
    json_object_set_new(object, "more", json_boolean(result.more));
    kvs = json_array();
    while (mvcc_result_next(&result, &kv) == 1)
        json_array_append_new(kvs, kv_object(&kv, task->keys_only));
    json_object_set_new(object, "kvs", kvs);
    api_answer_json(task, 200, object);
}

/* The range of a prefix, from after a key (exclusive) on when one is given. */
static void range_of(struct rk_buf *prefix, struct rk_buf *after, bool has_after, struct rk_buf *ret_start,
                     struct rk_buf *ret_end)
{
    static const uint8_t zero = 0;

    mvcc_prefix_end(rk_buf_slice(prefix), ret_end);
    if (has_after && rk_slice_cmp(rk_buf_slice(after), rk_buf_slice(prefix)) >= 0) {
        rk_buf_append_slice(ret_start, rk_buf_slice(after));
        rk_buf_append(ret_start, &zero, 1); /* the least key that comes after it */
    } else if (prefix->len > 0) {
        rk_buf_append_slice(ret_start, rk_buf_slice(prefix));
    } else {
        rk_buf_append(ret_start, &zero, 1); /* all keys: none is empty */
    }
}

static void submit_range(struct api_task *task, struct rk_buf *prefix, struct rk_buf *after, bool has_after,
                         uint64_t limit, enum node_read_level level)
{
    struct rk_buf start = {0}, end = {0};
    struct node_call *call = api_call_new(task, NODE_CALL_READ);
    struct mvcc_query query;

    range_of(prefix, after, has_after, &start, &end);
    query = (struct mvcc_query){.key = rk_buf_slice(&start),
                                .end = rk_buf_slice(&end),
                                .limit = (uint32_t)limit,
                                .keys_only = task->keys_only};
    call->level = level;
    call->body = mvcc_query_encode(&query);
    rk_buf_deinit(&start);
    rk_buf_deinit(&end);
    api_submit(task, call, finish_range);
}

void api_key_range(struct api_task *task)
{
    struct rk_buf prefix = {0}, after = {0};
    enum node_read_level level;
    bool there, has_after;
    uint64_t limit;

    if (api_read_level(task, &level) && api_query_number(task, "limit", 100, RK_RANGE_KEYS_MAX, &limit) &&
        api_query_bytes(task, "prefix", &prefix, &there) &&
        api_query_bytes(task, "after", &after, &has_after)) {
        if (prefix.len > RK_KEY_BYTES_MAX || after.len > RK_KEY_BYTES_MAX)
            api_command_ok(task, MVCC_E_KEY_TOO_LONG);
        else
            submit_range(task, &prefix, &after, has_after, limit, level);
    }
    rk_buf_deinit(&prefix);
    rk_buf_deinit(&after);
}
