/* lib/api/api_session.c - client sessions: opened and ended here, and the headers that number a write. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "lib/api/api_internal.h"
#include "lib/base/rk_random.h"

#define MS_PER_S 1000u

/* Digits only, all of them: "0x1", "+1" and " 1" are no numbers here. */
static bool parse(struct rk_slice text, int base, uint64_t *ret)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    char copy[24], *end;

    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (strspn(copy, base == 16 ? digits : "0123456789") != text.len)
        return false;
    errno = 0;
    *ret = strtoull(copy, &end, base);
    return errno == 0 && *ret != 0;
}

bool api_write_number(struct api_task *task, struct mvcc_number *ret, bool *ret_numbered)
{
    struct rk_slice session = http_request_header(task->request, "raftkv-session");
    struct rk_slice sequence = http_request_header(task->request, "raftkv-sequence");

    *ret_numbered = session.len > 0 || sequence.len > 0;
    if (!*ret_numbered)
        return true;
    if (parse(session, 16, &ret->session) && parse(sequence, 10, &ret->sequence))
        return true;
    api_answer_error(task, 400, "bad_request",
                     "a numbered write has both headers: Raftkv-Session with the id that POST /session gave, "
                     "and Raftkv-Sequence with a number from 1 up");
    return false;
}

static void submit(struct api_task *task, enum mvcc_session_change change, uint64_t id, uint32_t ms,
                   void (*finish)(struct api_task *task, struct node_call *call))
{
    struct node_call *call = api_call_new(task, NODE_CALL_WRITE);

    call->body = node_session_body(task->api->config.node, change, id, ms);
    api_submit(task, call, finish);
}

static bool answer_ok(struct api_task *task, const struct node_call *call)
{
    struct mvcc_answer answer;

    if (mvcc_answer_decode(rk_blob_slice(call->answer), &answer) == 0)
        return api_command_ok(task, answer.outcome);
    api_answer_error(task, 500, "internal", "the cluster's answer cannot be read");
    return false;
}

/* ---- opening ------------------------------------------------------------------------------ */

static void finish_open(struct api_task *task, struct node_call *call)
{
    json_t *object;

    if (!answer_ok(task, call))
        return;
    object = json_object();
    json_object_set_new(object, "session", api_json_id(task->session));
    json_object_set_new(object, "ttl", json_integer(task->ttl_ms / MS_PER_S));
    json_object_set_new(object, "window", json_integer(RK_SESSION_WINDOW));
    api_answer_json(task, 200, object);
}

static bool read_ttl(struct api_task *task, const json_t *object, uint32_t *ret_ms)
{
    const json_t *ttl = json_object_get(object, "ttl");
    char message[128];

    *ret_ms = RK_SESSION_TTL_MS;
    if (!ttl)
        return true;
    if (json_is_integer(ttl) && json_integer_value(ttl) >= RK_SESSION_TTL_MS_MIN / MS_PER_S &&
        json_integer_value(ttl) <= RK_SESSION_TTL_MS_MAX / MS_PER_S) {
        *ret_ms = (uint32_t)json_integer_value(ttl) * MS_PER_S;
        return true;
    }
    snprintf(message, sizeof(message), "ttl must be a number of seconds from %u to %u",
             RK_SESSION_TTL_MS_MIN / MS_PER_S, RK_SESSION_TTL_MS_MAX / MS_PER_S);
    api_answer_error(task, 400, "bad_request", message);
    return false;
}

void api_session_post(struct api_task *task)
{
    json_t *object = api_body_object(task);

    if (!object)
        return;
    if (read_ttl(task, object, &task->ttl_ms)) {
        task->session = rk_random_id();
        submit(task, MVCC_SESSION_OPEN, task->session, task->ttl_ms, finish_open);
    }
    json_decref(object);
}

/* ---- ending -------------------------------------------------------------------------------- */

static void finish_end(struct api_task *task, struct node_call *call)
{
    if (answer_ok(task, call))
        api_answer_json(task, 200, json_object());
}

void api_session_delete(struct api_task *task)
{
    uint64_t id;

    if (parse(rk_buf_slice(&task->name), 16, &id))
        submit(task, MVCC_SESSION_END, id, 0, finish_end);
    else
        api_answer_error(task, 400, "bad_request", "a session's id has up to 16 hexadecimal digits");
}
