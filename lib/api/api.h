/* lib/api/api.h - what the doors offer: requests decoded, checked, sent to the node; answers encoded.
 *
 * One struct api per worker; everything runs on that worker's thread. A request that
 * needs the cluster becomes a call to the node and is answered when the call comes
 * back through the worker's mailbox. */
#ifndef API_H
#define API_H

#include "lib/base/rk_mailbox.h"
#include "lib/http/http.h"
#include "lib/node/node.h"

/* A connection, as the api sees it: embedded in the daemon's own object. */
struct api_door {
    bool admin; /* the admin socket: administrator's paths are allowed */
    /* Bytes that wait to be written to the client. */
    size_t (*backlog)(struct api_door *door);
    struct rk_list streams; /* paused streamed answers; the api's */
};
void api_door_init(struct api_door *door, bool admin, size_t (*backlog)(struct api_door *door));
/* The backlog has gone, or the client has sent something (which may have opened its windows): streamed
 * answers go on. */
void api_door_drained(struct api_door *door);

struct api_config {
    struct node *node;
    struct rk_mailbox *mailbox; /* of this worker */
    uint32_t mail_kind_base;    /* our mails in it have kinds mail_kind_base .. + 3 */
    const char *version;
};

struct api;
struct api *api_new(const struct api_config *config);
void api_free(struct api *api);
/* For http_session_ops: a request on a door; it was given up by its client. */
void api_request(struct api *api, struct api_door *door, struct http_request *request);
void api_cancelled(struct api *api, struct http_request *request);
/* Returns false when the mail is not ours. */
bool api_on_mail(struct api *api, struct rk_mail *mail);
/* Calls that are out and streams that run: the worker may end when it is 0. */
size_t api_pending(const struct api *api);

#endif
