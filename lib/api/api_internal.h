/* lib/api/api_internal.h - what the handlers share. */
#ifndef API_INTERNAL_H
#define API_INTERNAL_H

#include <jansson.h>

#include "lib/api/api.h"
#include "lib/base/rk_buf.h"

enum api_mail {
    API_MAIL_CALL = 0, /* + mail_kind_base: struct node_call */
    API_MAIL_STREAM,   /* struct node_stream */
};

struct api {
    struct api_config config;
    size_t pending;
};

/* One request on its way. Lives until it was answered and its call is back. */
struct api_task {
    struct api *api;
    struct api_door *door;
    struct http_request *request; /* NULL once it was cancelled or answered */
    void (*finish)(struct api_task *task, struct node_call *call); /* the call came back with NODE_OK */
    struct rk_buf name; /* the key or member that the path names, decoded */
    bool raw, keys_only;
    uint64_t session; /* that is being opened, with its time to live */
    uint32_t ttl_ms;
    uint64_t leader; /* of a transfer: who leads now, as the old leader has answered */
    struct node_stream *stream;
    struct rk_list link; /* in door->streams while paused */
};

typedef void api_handler(struct api_task *task);

/* api_answer.c: every answer ends the task's request; the task itself is freed by the router */
void api_answer_json(struct api_task *task, unsigned status, json_t *body); /* takes the reference */
void api_answer_bytes(struct api_task *task, unsigned status, const struct http_header *headers, size_t count,
                      struct rk_slice body);
/* {"code": code, "message": message} */
void api_answer_error(struct api_task *task, unsigned status, const char *code, const char *message);
void api_answer_outcome(struct api_task *task, const struct node_call *call); /* any outcome but NODE_OK */
/* False after answering what mvcc says is wrong with a command. */
bool api_command_ok(struct api_task *task, enum mvcc_command_outcome outcome);
/* A string when it is UTF-8 without NUL; otherwise {"base64": "..."}. */
json_t *api_json_bytes(struct rk_slice bytes);
/* Sets object[name] to the string, or object[name_base64] when it is not UTF-8. */
void api_json_set_bytes(json_t *object, const char *name, struct rk_slice bytes);
json_t *api_json_id(uint64_t id); /* 16 hexadecimal digits; null for 0 */

/* api_task.c */
struct node_call *api_call_new(struct api_task *task, enum node_call_kind kind);
/* Sends the call; finish runs when it comes back well, errors are answered by themselves. */
void api_submit(struct api_task *task, struct node_call *call,
                void (*finish)(struct api_task *task, struct node_call *call));
void api_task_end(struct api_task *task); /* request answered or gone, no call out: frees */
/* "consistent" (default), "default" or "stale". False after answering 400. */
bool api_read_level(struct api_task *task, enum node_read_level *ret);
/* An unsigned number of the query; def when absent. False after answering 400. */
bool api_query_number(struct api_task *task, const char *name, uint64_t def, uint64_t max, uint64_t *ret);
/* A percent-encoded value of the query, decoded and appended. False after answering 400; *ret_there: was it
 * given. */
bool api_query_bytes(struct api_task *task, const char *name, struct rk_buf *ret, bool *ret_there);
/* The body as a JSON object, NULL after answering 400. An empty body is an empty object. */
json_t *api_body_object(struct api_task *task);

/* api_session.c: the headers that number a write; *ret_numbered: there are any. False after a 400. */
bool api_write_number(struct api_task *task, struct mvcc_number *ret, bool *ret_numbered);

/* handlers: api_key.c, api_session.c, api_status.c, api_admin.c, api_snapshot.c */
api_handler api_key_post, api_key_put, api_key_get, api_key_delete, api_key_range;
api_handler api_session_post, api_session_delete;
api_handler api_status_get, api_members_get, api_health_get, api_version_get;
api_handler api_join, api_leave, api_member_invite, api_member_remove, api_member_promote, api_transfer;
api_handler api_member_demote, api_member_priority, api_member_replace, api_change_abort;
api_handler api_snapshot_get, api_snapshot_post;
void api_stream_mail(struct api *api, struct node_stream *stream);
void api_stream_cancel(struct api_task *task);

#endif
