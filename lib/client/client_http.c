/* lib/client/client_http.c - one request over libcurl, and what its failure means.
 *
 * The one thing that a client of a replicated store must get right is the
 * difference between "did not happen" and "may have happened". A failure before
 * the request left is the first (try the next endpoint); a failure afterwards is
 * the second for a change, and no change is ever sent again but for those that are
 * numbered (client_session.c). libcurl by itself
 * repeats a request when a kept connection turns out to be dead before the first
 * byte of an answer; it cannot know whether the request was carried out, so a
 * change always travels on a connection of its own, where libcurl does not do that. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/client/client_private.h"

/* A page of values that JSON escapes byte by byte (\u0001) is six times its bytes, and keys come on top. */
#define ANSWER_BYTES_MAX   (8u * (size_t)RK_RANGE_BYTES_MAX)
#define CONNECT_TIMEOUT_MS 5000u

struct exchange {
    struct client *client;
    const char *method, *path, *query;
    const struct client_body *body;
    client_sink *sink; /* NULL: the answer goes to response.body */
    void *userdata;
    int sink_error;  /* what sink returned */
    bool sink_used;  /* sink has seen bytes: no second endpoint */
    bool over_limit; /* the answer was cut off by us */
    struct client_response response;
};

static bool is_change(const struct exchange *x)
{
    return strcmp(x->method, "GET") != 0;
}

static bool is_success(long status)
{
    return status >= 200 && status < 300;
}

/* --- libcurl's callbacks
 * --------------------------------------------------------------------------------------- */

static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
    struct exchange *x = userdata;
    size_t len = size * count;
    long status = 0;
    curl_easy_getinfo(x->client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (x->sink && is_success(status)) {
        x->sink_used = true;
        x->sink_error = x->sink(x->userdata, rk_slice(data, len));
        return x->sink_error == 0 ? len : 0;
    }
    if (len > ANSWER_BYTES_MAX - x->response.body.len) {
        x->over_limit = true;
        return 0;
    }
    rk_buf_append(&x->response.body, data, len);
    return len;
}

/* Keeps "name: value\n" lines of the last answer, since "100 Continue" is an answer too. */
static size_t on_header(char *data, size_t size, size_t count, void *userdata)
{
    struct exchange *x = userdata;
    struct rk_buf *headers = &x->response.headers;
    size_t len = size * count;
    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
        rk_buf_clear(headers);
    if (len > RK_HTTP_HEADER_BYTES_MAX - headers->len) {
        x->over_limit = true;
        return 0;
    }
    rk_buf_append(headers, data, len);
    return len;
}

static int on_progress(void *userdata, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    struct client *client = userdata;
    return client->cancelled && client->cancelled(client->userdata);
}

/* --- making the request
 * ------------------------------------------------------------------------------------------ */

int client_setup(struct client *client)
{
    CURL *curl = client->curl = curl_easy_init();
    if (!curl)
        return -ENOMEM;
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->curl_error);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");      /* a cluster is not asked through a web proxy */
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* the key "a/../b" is not the key "b" */
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, client);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    if (client->ca)
        curl_easy_setopt(curl, CURLOPT_CAINFO, client->ca);
    if (client->certificate)
        curl_easy_setopt(curl, CURLOPT_SSLCERT, client->certificate);
    if (client->key)
        curl_easy_setopt(curl, CURLOPT_SSLKEY, client->key);
    return 0;
}

static void set_timeouts(const struct exchange *x)
{
    CURL *curl = x->client->curl;
    uint32_t ms = x->client->timeout_ms;
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)rk_min_u64(ms, CONNECT_TIMEOUT_MS));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, x->sink ? 0L : (long)ms);
    /* A stream may take its time but not stand still. */
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, x->sink ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, x->sink ? (long)((ms + 999) / 1000) : 0L);
}

static void set_body(const struct exchange *x)
{
    CURL *curl = x->client->curl;
    curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L); /* forgets the body of the request before */
    if (x->body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body->bytes.len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                         x->body->bytes.len > 0 ? (const char *)x->body->bytes.data : "");
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, x->method);
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, is_change(x) ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, is_change(x) ? 1L : 0L);
}

/* Takes line. *list is NULL once there was no memory. */
static void add_header(struct curl_slist **list, char *line)
{
    struct curl_slist *longer = *list ? curl_slist_append(*list, line) : NULL;
    if (!longer)
        curl_slist_free_all(*list);
    *list = longer;
    free(line);
}

/* libcurl would wait a second for "100 Continue" before a large body; an empty Expect: keeps it from asking.
 */
static int make_headers(const struct exchange *x, struct curl_slist **ret)
{
    const struct client *client = x->client;
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    if (x->body)
        add_header(&list, rk_asprintf("Content-Type: %s", x->body->content_type));
    if (client->numbered) {
        add_header(&list, rk_asprintf("Raftkv-Session: %s", client->session));
        add_header(&list, rk_asprintf("Raftkv-Sequence: %llu", (unsigned long long)client->sequence));
    }
    *ret = list;
    return list ? 0 : -ENOMEM;
}

static CURLcode perform(struct exchange *x, const struct client_endpoint *endpoint,
                        const struct curl_slist *headers)
{
    CURL *curl = x->client->curl;
    RK_CLEANUP(rk_freep)
    char *url =
        rk_asprintf("%s%s%s%s", endpoint->url, x->path, x->query ? "?" : "", x->query ? x->query : "");
    x->client->curl_error[0] = '\0';
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, endpoint->socket);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
    set_timeouts(x);
    set_body(x);
    return curl_easy_perform(curl);
}

/* --- what came of it
 * --------------------------------------------------------------------------------------------- */

/* Whether the request may have reached a server. Once the connection stands libcurl sends at once. */
static bool has_left(CURL *curl, CURLcode code)
{
    static const CURLcode before[] = {
        CURLE_COULDNT_RESOLVE_HOST,     CURLE_COULDNT_CONNECT, CURLE_SSL_CONNECT_ERROR,
        CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CACERT_BADFILE,
        CURLE_SSL_ENGINE_INITFAILED,    CURLE_SSL_CIPHER,      CURLE_SSL_ISSUER_ERROR};
    for (size_t i = 0; i < RK_ARRAY_LEN(before); i++)
        if (before[i] == code)
            return false;
    curl_off_t sent_us = 0;
    curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
    return sent_us > 0;
}

static const char *endpoint_name(const struct client_endpoint *endpoint)
{
    return endpoint->socket ? endpoint->socket : endpoint->url;
}

static int fail_connect(struct exchange *x, const struct client_endpoint *endpoint)
{
    struct client *client = x->client;
    long error = 0;
    curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &error);
    const char *why = error != 0 ? strerror((int)error) : client->curl_error;
    bool denied = endpoint->socket && (error == EACCES || error == EPERM);
    return client_fail(client, denied ? CLIENT_E_DENIED : CLIENT_E_UNREACHABLE, "cannot connect to %s: %s",
                       endpoint_name(endpoint), why);
}

static int fail_transport(struct exchange *x, const struct client_endpoint *endpoint, CURLcode code)
{
    struct client *client = x->client;
    if (x->sink_error != 0)
        return client_fail(client, x->sink_error, "%s", strerror(-x->sink_error));
    if (x->over_limit)
        return client_fail(client, CLIENT_E_PROTOCOL, "the answer is larger than raftkv's answers can be");
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return client_fail(client, -ECANCELED, "interrupted");
    if (code == CURLE_OUT_OF_MEMORY)
        return client_fail(client, -ENOMEM, "out of memory");
    if (!has_left(client->curl, code))
        return fail_connect(x, endpoint);
    const char *why = client->curl_error[0] ? client->curl_error : curl_easy_strerror(code);
    if (is_change(x))
        return client_fail(client, CLIENT_E_UNKNOWN,
                           "no answer from %s: %s; the change may or may not have been made",
                           endpoint_name(endpoint), why);
    if (x->response.headers.len > 0)
        return client_fail(client, CLIENT_E_INCOMPLETE, "the answer broke off: %s", why);
    return client_fail(client, code == CURLE_OPERATION_TIMEDOUT ? CLIENT_E_UNKNOWN : CLIENT_E_UNREACHABLE,
                       "no answer from %s: %s", endpoint_name(endpoint), why);
}

/* HTTP/1 without a length ends a body by closing, which looks the same as breaking off. */
static bool end_is_visible(const struct exchange *x)
{
    long version = 0;
    curl_easy_getinfo(x->client->curl, CURLINFO_HTTP_VERSION, &version);
    if (version >= CURL_HTTP_VERSION_2_0)
        return true;
    RK_CLEANUP(rk_freep) char *length = client_response_header(&x->response, "content-length");
    RK_CLEANUP(rk_freep) char *encoding = client_response_header(&x->response, "transfer-encoding");
    return length || encoding;
}

/* Bytes that ask to be taken as bytes are not parsed; a zero is allowed in a string, since keys and values
 * may hold it. */
static void parse_json(struct client_response *response)
{
    RK_CLEANUP(rk_freep) char *type = client_response_header(response, "content-type");
    if (type && strncasecmp(type, "application/octet-stream", 24) == 0)
        return;
    struct rk_slice body = rk_buf_slice(&response->body);
    if (body.len > 0)
        response->json = json_loadb((const char *)body.data, body.len, JSON_ALLOW_NUL, NULL);
}

static int attempt(struct exchange *x, const struct client_endpoint *endpoint)
{
    struct curl_slist *headers;
    int r = make_headers(x, &headers);
    if (r < 0)
        return r;
    client_response_deinit(&x->response);
    CURLcode code = perform(x, endpoint, headers);
    curl_easy_setopt(x->client->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    curl_easy_getinfo(x->client->curl, CURLINFO_RESPONSE_CODE, &x->response.status);
    if (code != CURLE_OK)
        return fail_transport(x, endpoint, code);
    parse_json(&x->response);
    if (!is_success(x->response.status))
        return client_fail_status(x->client, x->response.status, x->response.json);
    if (x->sink && !end_is_visible(x))
        return client_fail(x->client, CLIENT_E_INCOMPLETE, "the server did not mark the end of the answer");
    return 0;
}

/* Outcomes that changed nothing and may be better elsewhere. */
static bool worth_another(const struct exchange *x, int outcome)
{
    return !x->sink_used &&
           (outcome == CLIENT_E_UNREACHABLE || outcome == CLIENT_E_DENIED || outcome == CLIENT_E_UNAVAILABLE);
}

static int exchange(struct exchange *x, struct client_response *ret)
{
    struct client *client = x->client;
    client_error_clear(client);
    int r = -EINVAL;
    for (size_t i = 0; i < client->endpoint_count; i++) {
        r = attempt(x, &client->endpoints[client->endpoint]);
        if (!worth_another(x, r))
            break;
        client->endpoint = (client->endpoint + 1) % client->endpoint_count;
    }
    if (r != 0) {
        client_response_deinit(&x->response);
        return r;
    }
    *ret = x->response;
    return 0;
}

int client_request(struct client *client, const char *method, const char *path, const char *query,
                   const struct client_body *body, struct client_response *ret)
{
    struct exchange x = {.client = client, .method = method, .path = path, .query = query, .body = body};
    return exchange(&x, ret);
}

int client_stream(struct client *client, const char *path, const char *query, client_sink *sink,
                  void *userdata, struct client_response *ret)
{
    struct exchange x = {
        .client = client, .method = "GET", .path = path, .query = query, .sink = sink, .userdata = userdata};
    return exchange(&x, ret);
}

char *client_response_header(const struct client_response *response, const char *name)
{
    struct rk_slice rest = rk_buf_slice(&response->headers);
    size_t name_len = strlen(name);
    while (rest.len > 0) {
        const uint8_t *newline = memchr(rest.data, '\n', rest.len);
        size_t len = newline ? (size_t)(newline - rest.data) : rest.len;
        const char *line = (const char *)rest.data;
        if (len > name_len && line[name_len] == ':' && strncasecmp(line, name, name_len) == 0) {
            const char *from = line + name_len + 1, *to = line + len;
            while (from < to && (*from == ' ' || *from == '\t'))
                from++;
            while (to > from && (to[-1] == '\r' || to[-1] == ' '))
                to--;
            return rk_asprintf("%.*s", (int)(to - from), from);
        }
        rest = rk_slice(rest.data + len, rest.len - len);
        if (newline)
            rest = rk_slice(rest.data + 1, rest.len - 1);
    }
    return NULL;
}

uint64_t client_header_u64(const struct client_response *response, const char *name)
{
    RK_CLEANUP(rk_freep) char *text = client_response_header(response, name);
    return text ? strtoull(text, NULL, 10) : 0;
}

void client_response_deinit(struct client_response *response)
{
    rk_buf_deinit(&response->headers);
    rk_buf_deinit(&response->body);
    json_decref(response->json);
    *response = (struct client_response){0};
}
