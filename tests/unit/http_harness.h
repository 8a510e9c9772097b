/* tests/unit/http_harness.h - a session with an answering layer that notes what it sees.
 *
 * In mode ANSWER_ECHO each request is answered from inside request(), with its own
 * method, target and body; in ANSWER_LATER it is kept for the test to answer. */
#ifndef HTTP_HARNESS_H
#define HTTP_HARNESS_H

#include "lib/base/limits.h"
#include "lib/http/http.h"

enum harness_mode { ANSWER_ECHO = 0, ANSWER_LATER, ANSWER_STREAM };

#define HARNESS_BODY_MAX (64u * 1024u)
#define HARNESS_KEPT_MAX 512u

struct harness {
    struct http_session *session;
    enum harness_mode mode;
    struct http_request *kept[HARNESS_KEPT_MAX]; /* NULL once cancelled */
    size_t kept_count;
    size_t requests, cancelled, outputs;
    struct rk_buf seen; /* one line per request: "GET /path ? query | host | body\n" */
    struct rk_buf out;
    uint64_t now_us;
    int rc; /* of the last feed */
};

void harness_init(struct harness *h, enum http_version version, enum harness_mode mode);
void harness_deinit(struct harness *h);
void harness_feed(struct harness *h, const void *data, size_t len);
void harness_feed_str(struct harness *h, const char *text);
/* Answers a kept request with 200 and this body. */
void harness_answer(struct harness *h, size_t i, const char *body);
/* The output so far as a string, without date headers; empties it. Valid until the next call. */
const char *harness_take(struct harness *h);
const char *harness_seen(struct harness *h);

#endif
