/* lib/api/api_task.c - a request's life: routed, waiting for the node, answered or given up. */
#include <errno.h>
#include <stdio.h>

#include "lib/api/api_internal.h"
#include "lib/base/rk_assert.h"
#include "lib/base/rk_percent.h"

/* ---- routes ----------------------------------------------------------------------------- */

struct route {
    const char *method, *path; /* "*" at the end of a path takes the rest as the task's name */
    bool admin;
    api_handler *handler;
};

/* The first that fits wins. */
static const struct route routes[] = {
    {"POST", "/key", false, api_key_post},
    {"GET", "/key", false, api_key_range},
    {"PUT", "/key/*", false, api_key_put},
    {"GET", "/key/*", false, api_key_get},
    {"HEAD", "/key/*", false, api_key_get},
    {"DELETE", "/key/*", false, api_key_delete},
    {"POST", "/session", false, api_session_post},
    {"DELETE", "/session/*", false, api_session_delete},
    {"GET", "/status", false, api_status_get},
    {"GET", "/members", false, api_members_get},
    {"GET", "/health", false, api_health_get},
    {"HEAD", "/health", false, api_health_get},
    {"GET", "/version", false, api_version_get},
    {"POST", "/cluster/join", true, api_join},
    {"POST", "/cluster/leave", true, api_leave},
    {"POST", "/cluster/members", true, api_member_invite},
    {"POST", "/cluster/members/*/promote", true, api_member_promote},
    {"POST", "/cluster/members/*/demote", true, api_member_demote},
    {"POST", "/cluster/members/*/priority", true, api_member_priority},
    {"DELETE", "/cluster/members/*", true, api_member_remove},
    {"POST", "/cluster/replace", true, api_member_replace},
    {"POST", "/cluster/abort", true, api_change_abort},
    {"POST", "/cluster/transfer", true, api_transfer},
    {"GET", "/snapshot", true, api_snapshot_get},
    {"POST", "/snapshot", true, api_snapshot_post},
};

/* Whether path fits; *ret_name is what stands in the place of the star. */
static bool fits(const char *pattern, struct rk_slice path, struct rk_slice *ret_name)
{
    const char *star = strchr(pattern, '*');
    size_t head = star ? (size_t)(star - pattern) : strlen(pattern);
    size_t tail = star ? strlen(star + 1) : 0;

    if (!star)
        return rk_slice_eq_str(path, pattern);
    if (path.len <= head + tail || memcmp(path.data, pattern, head) != 0 ||
        memcmp(path.data + path.len - tail, star + 1, tail) != 0)
        return false;
    *ret_name = rk_slice(path.data + head, path.len - head - tail);
    return true;
}

static const struct route *find_route(const struct http_request *request, struct rk_slice *ret_name,
                                      bool *ret_path_known)
{
    *ret_path_known = false;
    for (size_t i = 0; i < RK_ARRAY_LEN(routes); i++) {
        if (!fits(routes[i].path, request->path, ret_name))
            continue;
        *ret_path_known = true;
        if (rk_slice_eq_str(request->method, routes[i].method))
            return &routes[i];
    }
    return NULL;
}

/* ---- tasks --------------------------------------------------------------------------------- */

static struct api_task *task_new(struct api *api, struct api_door *door, struct http_request *request)
{
    struct api_task *task = RK_NEW(struct api_task);

    task->api = api;
    task->door = door;
    task->request = request;
    rk_list_init(&task->link);
    request->userdata = task;
    api->pending++;
    return task;
}

void api_task_end(struct api_task *task)
{
    rk_assert(!task->request && !task->stream);
    task->api->pending--;
    rk_buf_deinit(&task->name);
    free(task);
}

static void run(struct api_task *task, const struct route *route, struct rk_slice name)
{
    task->raw = http_request_query(task->request, "raw", NULL);
    task->keys_only = http_request_query(task->request, "keys_only", NULL);
    if (rk_percent_decode(&task->name, name) != 0)
        api_answer_error(task, 400, "bad_request",
                         "the path holds a '%' that two hexadecimal digits do not follow");
    else if (route->admin && !task->door->admin)
        api_answer_error(task, 403, "forbidden",
                         "this is for the admin socket: use raftkvctl on the host itself");
    else
        route->handler(task);
}

void api_request(struct api *api, struct api_door *door, struct http_request *request)
{
    struct api_task *task = task_new(api, door, request);
    struct rk_slice name = {0};
    bool path_known;
    const struct route *route = find_route(request, &name, &path_known);

    if (route)
        run(task, route, name);
    else if (path_known)
        api_answer_error(task, 405, "method_not_allowed", "this path does not take that method");
    else
        api_answer_error(task, 404, "not_found", "there is no such path; raftkvd(8) lists them");
    /* A handler that has not answered has submitted a call or begun a stream: the task goes on. */
    if (!task->request && !task->finish && !task->stream)
        api_task_end(task);
}

void api_cancelled(struct api *api, struct http_request *request)
{
    struct api_task *task = request->userdata;

    (void)api;
    if (!task)
        return;
    task->request = NULL;
    task->door = NULL;
    if (task->stream || !rk_list_empty(&task->link))
        api_stream_cancel(task);
}

/* ---- calls ------------------------------------------------------------------------------------ */

struct node_call *api_call_new(struct api_task *task, enum node_call_kind kind)
{
    struct api *api = task->api;
    struct node_call *call =
        node_call_new(kind, api->config.mailbox, api->config.mail_kind_base + API_MAIL_CALL);

    call->userdata = task;
    call->no_forward = http_request_query(task->request, "redirect", NULL);
    return call;
}

void api_submit(struct api_task *task, struct node_call *call,
                void (*finish)(struct api_task *task, struct node_call *call))
{
    task->finish = finish;
    node_submit(task->api->config.node, call);
}

/* 307 with the leader's URL, once the members' list has told it. */
static void finish_redirect(struct api_task *task, struct node_call *call)
{
    const struct node_member *leader = node_members_find(&call->status->members, call->status->raft.leader);
    struct http_request *request = task->request;
    struct rk_buf url = {0};
    struct http_header header;

    if (!leader || leader->client_url[0] == '\0' || leader->id == call->status->raft.id) {
        api_answer_error(task, 503, "no_leader",
                         "there is no leader with a client port to send you to; ask without ?redirect");
        return;
    }
    rk_buf_append_str(&url, leader->client_url);
    rk_buf_append_slice(&url, request->path);
    rk_buf_append_str(&url, "?");
    rk_buf_append_slice(&url, request->query);
    header = (struct http_header){rk_slice_str("location"), rk_buf_slice(&url)};
    api_answer_bytes(task, 307, &header, 1, rk_slice(NULL, 0));
    rk_buf_deinit(&url);
}

static void call_back(struct api_task *task, struct node_call *call)
{
    void (*finish)(struct api_task * task, struct node_call * call) = task->finish;

    task->finish = NULL;
    if (!task->request && call->stream) { /* nobody wants it any more */
        call->stream->cancel = true;
        node_stream_next(call->stream);
        call->stream = NULL;
    } else if (!task->request) {
        /* cancelled: the answer has no reader */
    } else if (call->outcome == NODE_OK) {
        finish(task, call);
    } else if (call->outcome == NODE_E_NOT_LEADER) {
        struct node_call *status = api_call_new(task, NODE_CALL_STATUS);
        api_submit(task, status, finish_redirect);
    } else {
        api_answer_outcome(task, call);
    }
    node_call_free(call);
    if (!task->request && !task->finish && !task->stream)
        api_task_end(task);
}

bool api_on_mail(struct api *api, struct rk_mail *mail)
{
    if (mail->kind == api->config.mail_kind_base + API_MAIL_CALL) {
        struct node_call *call = RK_CONTAINER_OF(mail, struct node_call, mail);
        call_back(call->userdata, call);
        return true;
    }
    if (mail->kind == api->config.mail_kind_base + API_MAIL_STREAM) {
        api_stream_mail(api, RK_CONTAINER_OF(mail, struct node_stream, mail));
        return true;
    }
    return false;
}

struct api *api_new(const struct api_config *config)
{
    struct api *api = RK_NEW(struct api);

    api->config = *config;
    return api;
}

void api_free(struct api *api)
{
    free(api);
}

size_t api_pending(const struct api *api)
{
    return api->pending;
}

void api_door_init(struct api_door *door, bool admin, size_t (*backlog)(struct api_door *door))
{
    door->admin = admin;
    door->backlog = backlog;
    rk_list_init(&door->streams);
}

/* ---- what requests carry ------------------------------------------------------------------------ */

bool api_read_level(struct api_task *task, enum node_read_level *ret)
{
    static const struct {
        const char *name;
        enum node_read_level level;
    } levels[] = {
        {"consistent", NODE_READ_CONSISTENT}, {"default", NODE_READ_LEADER}, {"stale", NODE_READ_STALE}};
    struct rk_slice value;

    *ret = NODE_READ_CONSISTENT;
    if (!http_request_query(task->request, "level", &value))
        return true;
    for (size_t i = 0; i < RK_ARRAY_LEN(levels); i++)
        if (rk_slice_eq_str(value, levels[i].name)) {
            *ret = levels[i].level;
            return true;
        }
    api_answer_error(task, 400, "bad_request", "level must be consistent, default or stale");
    return false;
}

bool api_query_number(struct api_task *task, const char *name, uint64_t def, uint64_t max, uint64_t *ret)
{
    struct rk_slice value;
    char text[24], *end;
    char message[128];

    *ret = def;
    if (!http_request_query(task->request, name, &value))
        return true;
    if (value.len > 0 && value.len < sizeof(text) && value.data[0] >= '0' && value.data[0] <= '9') {
        memcpy(text, value.data, value.len);
        text[value.len] = '\0';
        errno = 0;
        *ret = strtoull(text, &end, 10);
        if (errno == 0 && *end == '\0' && *ret <= max)
            return true;
    }
    snprintf(message, sizeof(message), "%s must be a number from 0 to %llu", name, (unsigned long long)max);
    api_answer_error(task, 400, "bad_request", message);
    return false;
}

bool api_query_bytes(struct api_task *task, const char *name, struct rk_buf *ret, bool *ret_there)
{
    struct rk_slice value;

    *ret_there = http_request_query(task->request, name, &value);
    if (!*ret_there || rk_percent_decode(ret, value) == 0)
        return true;
    api_answer_error(task, 400, "bad_request",
                     "the query holds a '%' that two hexadecimal digits do not follow");
    return false;
}

json_t *api_body_object(struct api_task *task)
{
    struct rk_slice body = task->request->body;
    json_error_t error;
    json_t *object;
    char message[256];

    if (body.len == 0)
        return json_object();
    object = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (json_is_object(object))
        return object;
    if (object)
        snprintf(message, sizeof(message), "the body must be a JSON object, such as {\"name\":\"value\"}");
    else
        snprintf(message, sizeof(message), "the body is not JSON: %.150s (line %d)", error.text, error.line);
    json_decref(object);
    api_answer_error(task, 400, "bad_request", message);
    return NULL;
}
