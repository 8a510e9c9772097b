/* tests/unit/http_harness.c - see http_harness.h. */
#include "tests/unit/http_harness.h"

#include <stdio.h>

static void note(struct rk_buf *to, const struct http_request *request)
{
    rk_buf_append_slice(to, request->method);
    rk_buf_append_str(to, " ");
    rk_buf_append_slice(to, request->path);
    rk_buf_append_str(to, " ? ");
    rk_buf_append_slice(to, request->query);
    rk_buf_append_str(to, " | ");
    rk_buf_append_slice(to, http_request_header(request, "host"));
    rk_buf_append_str(to, " | ");
    rk_buf_append_slice(to, request->body);
    rk_buf_append_str(to, "\n");
}

static void stream(struct http_request *request, struct rk_slice bytes)
{
    size_t half = bytes.len / 2;
    http_respond_begin(request, 200, NULL, 0);
    http_respond_chunk(request, rk_slice(bytes.data, half));
    http_respond_chunk(request, rk_slice(bytes.data + half, bytes.len - half));
    http_respond_end(request);
}

static void on_request(void *userdata, struct http_request *request)
{
    struct harness *h = userdata;
    h->requests++;
    note(&h->seen, request);
    if (h->mode == ANSWER_LATER) {
        h->kept[h->kept_count++ % HARNESS_KEPT_MAX] = request;
        return;
    }
    struct rk_buf body = {0};
    note(&body, request);
    if (h->mode == ANSWER_STREAM)
        stream(request, rk_buf_slice(&body));
    else
        http_respond(request, 200, NULL, 0, rk_buf_slice(&body));
    rk_buf_deinit(&body);
}

static void on_cancelled(void *userdata, struct http_request *request)
{
    struct harness *h = userdata;
    h->cancelled++;
    for (size_t i = 0; i < HARNESS_KEPT_MAX; i++)
        if (h->kept[i] == request)
            h->kept[i] = NULL;
}

static void on_output(void *userdata, struct rk_slice bytes)
{
    struct harness *h = userdata;
    h->outputs++;
    rk_buf_append_slice(&h->out, bytes);
}

static const struct http_session_ops ops = {
    .request = on_request,
    .cancelled = on_cancelled,
    .output = on_output,
};

void harness_init(struct harness *h, enum http_version version, enum harness_mode mode)
{
    *h = (struct harness){.mode = mode, .now_us = 1000000};
    h->session = http_session_new(version, HARNESS_BODY_MAX, &ops, h);
}

void harness_deinit(struct harness *h)
{
    http_session_free(h->session);
    rk_buf_deinit(&h->seen);
    rk_buf_deinit(&h->out);
}

/* The bytes are copied to memory of exactly their size, so that a read past them is caught. */
void harness_feed(struct harness *h, const void *data, size_t len)
{
    uint8_t *copy = len > 0 ? memcpy(malloc(len), data, len) : NULL;
    h->rc = http_session_feed(h->session, rk_slice(copy, len), h->now_us);
    free(copy);
}

void harness_feed_str(struct harness *h, const char *text)
{
    harness_feed(h, text, strlen(text));
}

void harness_answer(struct harness *h, size_t i, const char *body)
{
    struct http_request *request = h->kept[i];
    h->kept[i] = NULL;
    http_respond(request, 200, NULL, 0, rk_slice_str(body));
}

static const char *terminated(struct rk_buf *buf)
{
    *rk_buf_reserve(buf, 1) = '\0';
    return (const char *)buf->data + buf->start;
}

const char *harness_take(struct harness *h)
{
    static char *text;
    free(text);
    text = strdup(terminated(&h->out));
    rk_buf_clear(&h->out);
    for (char *at; (at = strstr(text, "date: "));) {
        char *end = strstr(at, "\r\n") + 2;
        memmove(at, end, strlen(end) + 1);
    }
    return text;
}

const char *harness_seen(struct harness *h)
{
    return terminated(&h->seen);
}
