/* tests/unit/api_fixture.c - see api_fixture.h. */
#include "tests/unit/api_fixture.h"

#include <ctype.h>

#define KIND_BASE 100

static size_t backlog(struct api_door *door)
{
    return RK_CONTAINER_OF(door, struct client, door)->backlog;
}

static void on_request(void *userdata, struct http_request *request)
{
    struct client *client = userdata;

    client->last = request;
    api_request(client->api, &client->door, request);
}

static void on_cancelled(void *userdata, struct http_request *request)
{
    api_cancelled(((struct client *)userdata)->api, request);
}

static void on_output(void *userdata, struct rk_slice bytes)
{
    rk_buf_append_slice(&((struct client *)userdata)->out, bytes);
}

static const struct http_session_ops ops = {
    .request = on_request, .cancelled = on_cancelled, .output = on_output};

void bench_init(struct bench *bench)
{
    *bench = (struct bench){0};
    world_init(&bench->world);
    assert_int_equal(rk_mailbox_init(&bench->box, 1024), 0);
}

void bench_hang_up(struct bench *bench)
{
    if (bench->client.session)
        http_session_free(bench->client.session);
    bench->client.session = NULL;
    rk_buf_deinit(&bench->client.out);
}

void bench_door(struct bench *bench, bool admin)
{
    struct client *client = &bench->client;

    bench_hang_up(bench);
    *client = (struct client){.api = bench->api};
    api_door_init(&client->door, admin, backlog);
    client->session = http_session_new(HTTP_VERSION_1, 2 * RK_REQUEST_BYTES_MAX, &ops, client);
}

void bench_serve(struct bench *bench, struct host *host)
{
    struct api_config config = {
        .node = host->node, .mailbox = &bench->box, .mail_kind_base = KIND_BASE, .version = "1.2.3"};

    bench_hang_up(bench);
    api_free(bench->api);
    bench->api = api_new(&config);
    bench_door(bench, false);
}

bool nothing_pending(struct bench *bench)
{
    return api_pending(bench->api) == 0;
}

void bench_deinit(struct bench *bench)
{
    bench_hang_up(bench);
    if (bench->api)
        assert_true(bench_pump(bench, nothing_pending));
    world_deinit(&bench->world);
    api_free(bench->api);
    rk_mailbox_deinit(&bench->box);
    rk_buf_deinit(&bench->body);
    json_decref(bench->json);
}

bool bench_pump(struct bench *bench, bool (*done)(struct bench *bench))
{
    uint64_t until = now_us() + WAIT_US;
    struct rk_list mails, *it;

    rk_list_init(&mails);
    while (!done(bench)) {
        if (now_us() > until)
            return false;
        rk_mailbox_wait(&bench->box, now_us() + 10 * RK_USEC_PER_MSEC);
        rk_mailbox_take(&bench->box, &mails);
        while ((it = rk_list_pop_front(&mails)))
            assert_true(api_on_mail(bench->api, RK_LIST_ITEM(it, struct rk_mail, link)));
    }
    return true;
}

void bench_send(struct bench *bench, const char *method, const char *target, const void *body, size_t len)
{
    struct rk_buf bytes = {0};

    rk_buf_printf(&bytes, "%s %s HTTP/1.1\r\nhost: h\r\ncontent-length: %zu\r\n%s\r\n", method, target, len,
                  bench->extra);
    rk_buf_append(&bytes, body, len);
    assert_int_equal(http_session_feed(bench->client.session, rk_buf_slice(&bytes), now_us()), 0);
    rk_buf_deinit(&bytes);
}

/* ---- answers ------------------------------------------------------------------------------ */

static const char *find(struct rk_slice s, const char *what)
{
    return memmem(s.data, s.len, what, strlen(what));
}

/* The length that the head announces; SIZE_MAX for a chunked one. */
static size_t announced(const char *head)
{
    const char *at = strstr(head, "content-length: ");

    return at ? strtoul(at + strlen("content-length: "), NULL, 10) : SIZE_MAX;
}

static bool split(struct bench *bench, struct rk_slice *ret_body)
{
    struct rk_slice out = rk_buf_slice(&bench->client.out);
    const char *end = out.len > 0 ? find(out, "\r\n\r\n") : NULL;
    size_t head;

    if (!end)
        return false;
    head = (size_t)(end - (const char *)out.data) + 4;
    assert_true(head < sizeof(bench->head));
    memcpy(bench->head, out.data, head);
    bench->head[head] = '\0';
    for (char *c = bench->head; *c; c++)
        if (*c != ' ' && c < bench->head + 9)
            *c = (char)tolower(*c);
    *ret_body = rk_slice(out.data + head, out.len - head);
    return true;
}

bool answer_whole(struct bench *bench)
{
    struct rk_slice body;
    size_t length;

    if (!split(bench, &body))
        return false;
    length = announced(bench->head);
    if (bench->client.last && strncmp(bench->head, "http", 4) == 0 && length != SIZE_MAX)
        return body.len >= length || body.len == 0; /* the answer to a HEAD has none */
    return body.len >= 5 && memcmp(body.data + body.len - 5, "0\r\n\r\n", 5) == 0;
}

static void take_chunks(struct rk_slice in, struct rk_buf *out)
{
    while (in.len > 0) {
        size_t line = (size_t)(find(in, "\r\n") - (const char *)in.data);
        size_t len = strtoul((const char *)in.data, NULL, 16);

        rk_buf_append(out, in.data + line + 2, len);
        in = rk_slice(in.data + line + 2 + len + 2, in.len - line - 2 - len - 2);
    }
}

unsigned ask_http_bytes(struct bench *bench, const char *method, const char *target, const void *body,
                        size_t len)
{
    struct rk_slice got;

    rk_buf_clear(&bench->client.out);
    bench_send(bench, method, target, body, len);
    if (!bench_pump(bench, answer_whole))
        fail_msg("no answer to %s %s", method, target);
    assert_true(split(bench, &got));
    bench->status = (unsigned)strtoul(bench->head + 9, NULL, 10);
    rk_buf_clear(&bench->body);
    if (announced(bench->head) == SIZE_MAX)
        take_chunks(got, &bench->body);
    else
        rk_buf_append_slice(&bench->body, got);
    json_decref(bench->json);
    bench->json = bench->body.len > 0 ? json_loadb((const char *)rk_buf_slice(&bench->body).data,
                                                   bench->body.len, JSON_ALLOW_NUL, NULL)
                                      : NULL;
    return bench->status;
}

unsigned ask_http(struct bench *bench, const char *method, const char *target, const char *body)
{
    return ask_http_bytes(bench, method, target, body ? body : "", body ? strlen(body) : 0);
}

unsigned ask_numbered(struct bench *bench, const char *method, const char *target, const char *body,
                      const char *session, const char *sequence)
{
    snprintf(bench->extra, sizeof(bench->extra), "%s%s%s%s%s%s", session ? "raftkv-session: " : "",
             session ? session : "", session ? "\r\n" : "", sequence ? "Raftkv-Sequence: " : "",
             sequence ? sequence : "", sequence ? "\r\n" : "");
    ask_http(bench, method, target, body);
    bench->extra[0] = '\0';
    return bench->status;
}

const char *text_in(struct bench *bench, const char *name)
{
    const char *text = json_string_value(json_object_get(bench->json, name));

    return text ? text : "";
}

long long number_in(struct bench *bench, const char *name)
{
    json_t *value = json_object_get(bench->json, name);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

bool has_header(struct bench *bench, const char *line)
{
    return strstr(bench->head, line) != NULL;
}

void refused_as(struct bench *bench, unsigned status, const char *code)
{
    if (bench->status != status || strcmp(text_in(bench, "code"), code) != 0)
        fail_msg("%u %s instead of %u %s: %s", bench->status, text_in(bench, "code"), status, code,
                 text_in(bench, "message"));
    assert_true(strlen(text_in(bench, "message")) > 10); /* a sentence */
    assert_int_equal(json_object_size(bench->json), 2);
    assert_true(has_header(bench, "content-type: application/json"));
}
