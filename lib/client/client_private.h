/* lib/client/client_private.h - shared by the files of lib/client. */
#ifndef CLIENT_PRIVATE_H
#define CLIENT_PRIVATE_H

#include <curl/curl.h>

#include "lib/client/client.h"

#define CLIENT_CODE_BYTES 48u

struct client_endpoint {
    char *socket; /* path of a Unix socket, or NULL */
    char *url;    /* scheme, host and port without a slash at the end */
};

struct client {
    CURL *curl;
    struct client_endpoint endpoints[CLIENT_ENDPOINTS_MAX];
    size_t endpoint_count;
    size_t endpoint; /* the one that answered last: the next request begins there */
    char *ca, *certificate, *key;
    uint32_t timeout_ms;
    bool (*cancelled)(void *userdata);
    void *userdata;
    char session[20];  /* its id; "": none is open */
    uint64_t sequence; /* of the last change in it */
    bool numbered;     /* the request that is being sent carries them */
    char curl_error[CURL_ERROR_SIZE];
    struct rk_buf error; /* with a zero at the end; empty: no error */
    char error_code[CLIENT_CODE_BYTES];
};

/* Sets the sentence and returns outcome, so that a failure is one line. */
int client_fail(struct client *client, int outcome, const char *fmt, ...) RK_PRINTF(3, 4);
/* Takes {"code","message"} of an answer that is no success and returns the outcome of its status. */
int client_fail_status(struct client *client, long status, const json_t *json);
void client_error_clear(struct client *client);

/* Fills in what all requests of this client share. 0 or -ENOMEM. */
int client_setup(struct client *client);

/* A request that changes keys; it may be sent more than once and is carried out once (client_session.c). */
int client_write(struct client *client, const char *method, const char *path, const struct client_body *body,
                 struct client_response *ret) RK_MUST_CHECK;
void client_session_end(struct client *client); /* tries to, for a second at most */

/* 0 when there is no such header. */
uint64_t client_header_u64(const struct client_response *response, const char *name);

/* A request whose answer must be a JSON object; json (may be NULL) is the body. *ret may be NULL;
 * json_decref() it. */
int client_call(struct client *client, const char *method, const char *path, const char *query,
                const json_t *json, json_t **ret) RK_MUST_CHECK;

/* "NAME" as text or "NAME_base64": appends the bytes. 0, or -EINVAL when there is neither. */
int client_json_bytes(const json_t *object, const char *name, struct rk_buf *out) RK_MUST_CHECK;

#endif
