/* lib/api/api_answer.c - how answers look: JSON, bytes, errors with a code and a sentence. */
#include <inttypes.h>
#include <stdio.h>

#include "lib/api/api_internal.h"
#include "lib/base/rk_base64.h"

void api_answer_bytes(struct api_task *task, unsigned status, const struct http_header *headers, size_t count,
                      struct rk_slice body)
{
    struct http_request *request = task->request;

    if (!request)
        return;
    task->request = NULL;
    http_respond(request, status, headers, count, body);
}

void api_answer_json(struct api_task *task, unsigned status, json_t *body)
{
    static const char type[] = "application/json";
    struct http_header header = {rk_slice_str("content-type"), rk_slice_str(type)};
    char *text = json_dumps(body, JSON_COMPACT);
    struct rk_buf out = {0};

    rk_buf_append_str(&out, text ? text : "{}");
    rk_buf_append_str(&out, "\n");
    api_answer_bytes(task, status, &header, 1, rk_buf_slice(&out));
    rk_buf_deinit(&out);
    free(text);
    json_decref(body);
}

void api_answer_error(struct api_task *task, unsigned status, const char *code, const char *message)
{
    json_t *body = json_object();

    json_object_set_new(body, "code", json_string(code));
    json_object_set_new(body, "message", json_string(message));
    api_answer_json(task, status, body);
}

void api_answer_outcome(struct api_task *task, const struct node_call *call)
{
    static const struct {
        enum node_outcome outcome;
        unsigned status;
        const char *code, *text;
    } table[] = {
        {NODE_E_BUSY, 429, "busy", "too many requests are waiting; try again later"},
        {NODE_E_NO_LEADER, 503, "no_leader", "there is no leader at the moment; try again"},
        {NODE_E_NOT_LEADER, 503, "not_leader", "this host is not the leader"},
        {NODE_E_TIMEOUT, 504, "timeout", "no answer in time: it may or may not have happened"},
        {NODE_E_NO_SPACE, 507, "no_space", "the leader's disk is nearly full"},
        {NODE_E_BAD_REQUEST, 400, "bad_request", "the request makes no sense"},
        {NODE_E_CONFLICT, 409, "conflict", "that is not possible now"},
        {NODE_E_NOT_FOUND, 404, "not_found", "there is no such member"},
        {NODE_E_UNAVAILABLE, 503, "unavailable", "this host cannot serve now"},
        {NODE_E_UNREACHABLE, 503, "unreachable", "the other host could not be reached"},
    };

    for (size_t i = 0; i < RK_ARRAY_LEN(table); i++)
        if (table[i].outcome == call->outcome) {
            api_answer_error(task, table[i].status, table[i].code,
                             call->text[0] ? call->text : table[i].text);
            return;
        }
    api_answer_error(task, 500, "internal", "an answer that this version does not know");
}

bool api_command_ok(struct api_task *task, enum mvcc_command_outcome outcome)
{
    static const struct {
        enum mvcc_command_outcome outcome;
        unsigned status;
        const char *code;
    } table[] = {
        {MVCC_E_KEY_TOO_LONG, 413, "too_large"},          {MVCC_E_TOO_LARGE, 413, "too_large"},
        {MVCC_E_APPLIED_BEFORE, 504, "applied_before"},   {MVCC_E_TOO_OLD, 504, "timeout"},
        {MVCC_E_NO_SESSION, 410, "no_session"},           {MVCC_E_SEQUENCE_OLD, 409, "sequence_old"},
        {MVCC_E_SEQUENCE_REUSED, 409, "sequence_reused"},
    };
    size_t i = 0;

    if (outcome == MVCC_OK)
        return true;
    while (i < RK_ARRAY_LEN(table) && table[i].outcome != outcome)
        i++;
    if (i < RK_ARRAY_LEN(table))
        api_answer_error(task, table[i].status, table[i].code, mvcc_outcome_text(outcome));
    else
        api_answer_error(task, 400, "bad_request", mvcc_outcome_text(outcome));
    return false;
}

json_t *api_json_bytes(struct rk_slice bytes)
{
    json_t *text = memchr(bytes.data ? (const char *)bytes.data : "", 0, bytes.len)
                       ? NULL
                       : json_stringn(bytes.data ? (const char *)bytes.data : "", bytes.len);
    json_t *object;
    struct rk_buf encoded = {0};

    if (text)
        return text;
    rk_base64_encode(&encoded, bytes);
    object = json_object();
    json_object_set_new(object, "base64",
                        json_stringn((const char *)rk_buf_slice(&encoded).data, encoded.len));
    rk_buf_deinit(&encoded);
    return object;
}

void api_json_set_bytes(json_t *object, const char *name, struct rk_slice bytes)
{
    json_t *value = api_json_bytes(bytes);
    char key[64];

    if (json_is_string(value)) {
        json_object_set_new(object, name, value);
        return;
    }
    snprintf(key, sizeof(key), "%s_base64", name);
    json_object_set(object, key, json_object_get(value, "base64"));
    json_decref(value);
}

json_t *api_json_id(uint64_t id)
{
    char text[24];

    snprintf(text, sizeof(text), "%016" PRIx64, id);
    return id == 0 ? json_null() : json_string(text);
}
