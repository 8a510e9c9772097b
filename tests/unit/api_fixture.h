/* tests/unit/api_fixture.h - the api between a real HTTP/1.1 session and a real node, pumped by hand.
 *
 * The test is the worker: it feeds bytes, takes the mails, and looks at what came out. */
#ifndef API_FIXTURE_H
#define API_FIXTURE_H

#include <jansson.h>

#include "lib/api/api.h"
#include "tests/unit/node_fixture.h"

struct client { /* a connection */
    struct api_door door;
    struct http_session *session;
    struct api *api;
    size_t backlog; /* what the door says waits in the socket */
    struct rk_buf out;
    struct http_request *last; /* the last request that surfaced */
};

struct bench {
    struct world world;
    struct rk_mailbox box;
    struct api *api;
    struct client client;
    char extra[256]; /* header lines that go with requests */
    /* the last answer */
    unsigned status;
    char head[2048];
    struct rk_buf body;
    json_t *json; /* the body, when it is JSON */
};

void bench_init(struct bench *bench);
void bench_deinit(struct bench *bench); /* nothing may be pending */
/* An api for this host: its calls go there from now on. */
void bench_serve(struct bench *bench, struct host *host);
void bench_door(struct bench *bench, bool admin); /* a new connection instead of the old */
void bench_hang_up(struct bench *bench);
void bench_send(struct bench *bench, const char *method, const char *target, const void *body, size_t len);
/* Takes mails for a while, or until done() says so. */
bool bench_pump(struct bench *bench, bool (*done)(struct bench *bench));
/* Sends, and pumps until the answer is whole: status, head, body, json. Returns the status. */
unsigned ask_http(struct bench *bench, const char *method, const char *target, const char *body);
unsigned ask_http_bytes(struct bench *bench, const char *method, const char *target, const void *body,
                        size_t len);
/* The same with a write's number in a session; NULL leaves the header out. */
unsigned ask_numbered(struct bench *bench, const char *method, const char *target, const char *body,
                      const char *session, const char *sequence);
/* Expects an error answer of this code. */
void refused_as(struct bench *bench, unsigned status, const char *code);
bool answer_whole(struct bench *bench);
bool nothing_pending(struct bench *bench);
const char *text_in(struct bench *bench, const char *name); /* a string of the JSON body; "" when absent */
long long number_in(struct bench *bench, const char *name);
bool has_header(struct bench *bench, const char *line);

#endif
