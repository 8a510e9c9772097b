/* lib/client/client.h - libraftkv: what a C program links to talk to a raftkv cluster.
 *
 * A client speaks HTTP + JSON to one of several doors of a cluster: the admin
 * socket of the raftkvd on this host ("unix:/run/raftkv/admin.sock") or client
 * ports ("https://host:2379"). It goes on to the next door when one cannot be
 * connected to or has no leader. When no answer comes for a change of keys that has
 * left, it is sent again in a way that the cluster recognises, so that it is made once;
 * other changes are never sent twice. When there is no answer in the end, the outcome
 * is unknown and says so.
 *
 * A client belongs to one thread at a time; make one per thread. With https,
 * ignore SIGPIPE in the program. Strings given as options are copied.
 *
 * Every call returns 0, a negative errno (this process is in trouble: no memory,
 * cancelled, the sink failed), or an outcome below; client_error() then has a
 * sentence for people. Outputs are set on 0 only. */
#ifndef CLIENT_H
#define CLIENT_H

#include <jansson.h>

#include "lib/base/limits.h"
#include "lib/base/rk_buf.h"

#define CLIENT_SOCKET_DEFAULT "/run/raftkv/admin.sock"
#define CLIENT_TIMEOUT_MS     15000u
#define CLIENT_ENDPOINTS_MAX  RK_MEMBERS_MAX

enum client_outcome {
    CLIENT_E_UNREACHABLE = 1, /* nobody answered, and nothing was changed */
    CLIENT_E_DENIED,          /* the permissions of the admin socket keep this process out */
    CLIENT_E_UNAVAILABLE,     /* no leader, or this host cannot serve now; nothing was changed (503) */
    CLIENT_E_UNKNOWN,   /* no answer in time: a change may or may not have been made (504, lost connection) */
    CLIENT_E_BUSY,      /* too much at once; nothing was changed; wait a moment (429) */
    CLIENT_E_NOT_FOUND, /* no such key, member or path (404) */
    CLIENT_E_CONFLICT,  /* the cluster's state forbids it now (409) */
    CLIENT_E_FORBIDDEN, /* the server does not allow it through this door (403) */
    CLIENT_E_NO_SPACE,  /* a disk of the cluster is full (507) */
    CLIENT_E_INVALID,   /* the server does not accept the request (other 4xx) */
    CLIENT_E_FAILED,    /* the server failed (other 5xx) */
    CLIENT_E_INCOMPLETE, /* the answer broke off in the middle */
    CLIENT_E_PROTOCOL,   /* the answer is not raftkv's, or beyond its limits */
};

struct client_options {
    /* "unix:/path", "https://host:port", "http://host:port"; none: the admin socket of this host */
    const char *const *endpoints;
    size_t endpoint_count;
    const char *ca;                /* https: PEM file of the authorities to trust; NULL: the system's */
    const char *certificate, *key; /* https: PEM files of the client's own certificate; NULL: none */
    /* For one request at one endpoint, 0: CLIENT_TIMEOUT_MS. A stream may last longer but not be silent for
     * so long. */
    uint32_t timeout_ms;
    /* Asked about once a second and with each piece of a stream; true ends the request with -ECANCELED. May
     * be NULL. */
    bool (*cancelled)(void *userdata);
    void *userdata;
};

struct client;

/* 0, -EINVAL for an endpoint that cannot be understood, -ENOMEM. options NULL: all defaults. */
int client_new(const struct client_options *options, struct client **ret) RK_MUST_CHECK;
void client_free(struct client *client);
/* For the next requests; 0: CLIENT_TIMEOUT_MS. */
void client_set_timeout(struct client *client, uint32_t timeout_ms);

/* About the last call that did not return 0. Never NULL; good until the next call. */
const char *client_error(const struct client *client); /* a sentence */
const char *
client_error_code(const struct client *client); /* the server's word, "no_leader"; "" when it sent none */
const char *client_outcome_name(int outcome);   /* "unreachable"; for a negative errno "error" */

/* --- any request -------------------------------------------------------------------------------------------
 */

struct client_body {
    struct rk_slice bytes;
    const char *content_type;
};

struct client_response {
    long status;           /* 200 to 299 */
    struct rk_buf headers; /* see client_response_header() */
    struct rk_buf body;
    json_t *json; /* the body, when it is JSON; else NULL */
};

/* path begins with '/' and is percent-encoded already, as is query (NULL: none); body NULL: none. */
int client_request(struct client *client, const char *method, const char *path, const char *query,
                   const struct client_body *body, struct client_response *ret) RK_MUST_CHECK;
/* Allocated, or NULL when there is none. name in lower case. */
char *client_response_header(const struct client_response *response, const char *name);
void client_response_deinit(struct client_response *response);

/* Takes a piece of a stream; not 0 (a negative errno) ends it, and the call returns that. */
typedef int client_sink(void *userdata, struct rk_slice piece);
/* GET of a body of any length. Nothing but the whole body is a success: CLIENT_E_INCOMPLETE when it broke
 * off. */
int client_stream(struct client *client, const char *path, const char *query, client_sink *sink,
                  void *userdata, struct client_response *ret) RK_MUST_CHECK;

/* --- keys (any bytes, 1 to RK_KEY_BYTES_MAX)
 * ------------------------------------------------------------------ */

enum client_level {
    CLIENT_LEVEL_CONSISTENT, /* linearizable: sees every write that was acknowledged before */
    CLIENT_LEVEL_DEFAULT,    /* the leader's state, without asking the others first */
    CLIENT_LEVEL_STALE,      /* what the host that answers has; works without a leader */
};

struct client_value {
    struct rk_buf bytes;
    uint64_t mod_revision, version;
};

/* CLIENT_E_NOT_FOUND when there is no such key. rk_buf_deinit(&ret->bytes) afterwards. */
int client_get(struct client *client, struct rk_slice key, enum client_level level,
               struct client_value *ret) RK_MUST_CHECK;
int client_set(struct client *client, struct rk_slice key, struct rk_slice value,
               uint64_t *ret_revision) RK_MUST_CHECK;
/* *ret_deleted is 0 when there was no such key; that is a success too. */
int client_delete(struct client *client, struct rk_slice key, uint64_t *ret_deleted,
                  uint64_t *ret_revision) RK_MUST_CHECK;

struct client_range {
    struct rk_slice prefix; /* empty: all keys */
    struct rk_slice after;  /* empty: from the first; else the last key of the page before */
    uint32_t limit;         /* keys in the page, 0: the server's choice */
    bool keys_only;
    enum client_level level;
};

struct client_kv {
    struct rk_slice key, value; /* into the page; value is empty with keys_only */
    uint64_t create_revision, mod_revision, version;
};

struct client_page {
    struct client_kv *kvs;
    size_t count;
    bool more; /* ask again with after = the last key */
    uint64_t revision;
    struct rk_buf bytes; /* what the slices point into */
};

/* One page of keys in order. Pages of one listing may be of different revisions. */
int client_range(struct client *client, const struct client_range *range,
                 struct client_page *ret) RK_MUST_CHECK;
void client_page_deinit(struct client_page *page);

/* --- the cluster -------------------------------------------------------------------------------------------
 */

/* The objects of GET /status and GET /members; json_decref() afterwards. */
int client_status(struct client *client, json_t **ret) RK_MUST_CHECK;
int client_members(struct client *client, json_t **ret) RK_MUST_CHECK;

/* The administrator's calls work through the admin socket only. address is "host:port"; member an id or a
 * name. */

/* Tells this host to join the cluster of the member at address; returns at once, client_status() has the
 * progress. CLIENT_E_CONFLICT when this host holds keys and discard_data is false. */
int client_join(struct client *client, const char *address, bool discard_data) RK_MUST_CHECK;
/* Makes this host leave its cluster. CLIENT_E_CONFLICT when it is the only voter. */
int client_leave(struct client *client) RK_MUST_CHECK;
/* Invites a host that holds nothing; returns at once, client_members() shows it once it has joined. */
int client_member_add(struct client *client, const char *address) RK_MUST_CHECK;
/* The same, but it stays a learner until it is promoted or takes somebody's place. */
int client_member_add_learner(struct client *client, const char *address) RK_MUST_CHECK;
int client_member_remove(struct client *client, const char *member) RK_MUST_CHECK;
/* Makes a learner a voter. CLIENT_E_CONFLICT when it has not caught up. */
int client_member_promote(struct client *client, const char *member) RK_MUST_CHECK;
/* Makes a voter a learner that stays one. */
int client_member_demote(struct client *client, const char *member) RK_MUST_CHECK;
/* 0 to 100: who should lead, if it can. */
int client_member_priority(struct client *client, const char *member, uint32_t priority) RK_MUST_CHECK;

struct client_pair {
    const char *old, *new; /* ids or names: a voter, and the learner that takes its place */
};
/* Returns when the cluster has taken it on; client_members() shows it done, all in one step, once all those
 * learners have caught up. */
int client_member_replace(struct client *client, const struct client_pair *pairs, size_t count) RK_MUST_CHECK;
/* Gives up a replacement that is under way. CLIENT_E_CONFLICT when there is none, or it is too late. */
int client_change_abort(struct client *client) RK_MUST_CHECK;
/* member NULL: the one that is furthest. *ret is {"leader":"ID","name":"..."}; json_decref() it. */
int client_transfer_leader(struct client *client, const char *member, json_t **ret) RK_MUST_CHECK;

struct client_snapshot {
    uint64_t bytes;
    uint64_t index, revision; /* 0 when the server did not say */
};

/* Streams a snapshot of the whole state; 0 only when all of it went to sink. */
int client_snapshot_read(struct client *client, client_sink *sink, void *userdata,
                         struct client_snapshot *ret) RK_MUST_CHECK;
/* Has this host write its state to disk and cut its log. */
int client_snapshot_trigger(struct client *client, uint64_t *ret_index) RK_MUST_CHECK;

/* --- for reading the JSON objects
 * ----------------------------------------------------------------------------- */

/* The member's number, or fallback when it is missing or no integer from 0 up. */
uint64_t client_json_u64(const json_t *object, const char *name, uint64_t fallback);
/* The member's string, or fallback when it is missing or no string. Good as long as object. */
const char *client_json_str(const json_t *object, const char *name, const char *fallback);
bool client_json_bool(const json_t *object, const char *name);

#endif
