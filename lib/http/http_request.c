/* lib/http/http_request.c - a request as it is put together: headers, target, query.
 *
 * HTTP/1.1 and HTTP/2 both come through here, so both get the same limits and the
 * same idea of what a valid target is. Header bytes are gathered in one buffer
 * that moves as it grows; only http_request_finish() makes slices of them. */
#include "lib/http/http_internal.h"

#include "lib/base/rk_assert.h"

/* RFC 9113 section 6.5.2 counts so much on top of each field; it pays for our own records, too. */
#define FIELD_OVERHEAD 32u

struct rk_slice http_request_header(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (rk_slice_eq_str(request->headers[i].name, name))
            return request->headers[i].value;
    return rk_slice(NULL, 0);
}

size_t http_request_headers(const struct http_request *request, const char *name, struct rk_slice *ret)
{
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        if (rk_slice_eq_str(request->headers[i].name, name)) {
            *ret = request->headers[i].value;
            count++;
        }
    }
    return count;
}

/* Cuts the part before the first c off *rest; without c, everything. */
static struct rk_slice cut(struct rk_slice *rest, char c)
{
    const uint8_t *at = rest->len > 0 ? memchr(rest->data, c, rest->len) : NULL;
    size_t len = at ? (size_t)(at - rest->data) : rest->len;
    struct rk_slice head = rk_slice(rest->data, len);
    size_t skip = at ? len + 1 : len;
    *rest = skip > 0 ? rk_slice(rest->data + skip, rest->len - skip) : *rest;
    return head;
}

bool http_request_query(const struct http_request *request, const char *name, struct rk_slice *ret)
{
    struct rk_slice rest = request->query;
    while (rest.len > 0) {
        struct rk_slice value = cut(&rest, '&');
        struct rk_slice key = cut(&value, '=');
        if (!rk_slice_eq_str(key, name))
            continue;
        if (ret)
            *ret = value;
        return true;
    }
    return false;
}

bool http_slice_eq_nocase(struct rk_slice s, const char *lower)
{
    size_t i = 0;
    for (; i < s.len && lower[i] != '\0'; i++) {
        uint8_t c = s.data[i];
        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != lower[i])
            return false;
    }
    return i == s.len && lower[i] == '\0';
}

bool http_parse_length(struct rk_slice text, uint64_t *ret)
{
    if (text.len == 0 || text.len > 18)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (text.data[i] - '0');
    }
    *ret = value;
    return true;
}

bool http_header_is_ours(struct rk_slice name)
{
    static const char *const ours[] = {"connection", "content-length", "date", "keep-alive",
                                       "transfer-encoding"};
    for (size_t i = 0; i < RK_ARRAY_LEN(ours); i++)
        if (http_slice_eq_nocase(name, ours[i]))
            return true;
    return false;
}

void http_append_value(struct rk_buf *buf, struct rk_slice value)
{
    uint8_t *to = rk_buf_reserve(buf, value.len);
    for (size_t i = 0; i < value.len; i++)
        to[i] = value.data[i] == '\r' || value.data[i] == '\n' || value.data[i] == '\0' ? ' ' : value.data[i];
    rk_buf_commit(buf, value.len);
}

void http_append_lower(struct rk_buf *buf, struct rk_slice name)
{
    uint8_t *to = rk_buf_reserve(buf, name.len);
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        to[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
    }
    rk_buf_commit(buf, name.len);
}

/* ---- gathering headers ---- */

static const struct http_fault *charge(struct http_exchange *exchange, size_t bytes)
{
    exchange->header_bytes += bytes;
    if (exchange->header_bytes > RK_HTTP_HEADER_BYTES_MAX)
        return &http_fault_headers_large;
    http_exchange_hold(exchange, bytes);
    return NULL;
}

const struct http_fault *http_field_begin(struct http_exchange *exchange)
{
    if (exchange->field_count == RK_HTTP_HEADERS_MAX)
        return &http_fault_headers_many;
    if (exchange->field_count == exchange->field_cap) {
        exchange->field_cap = exchange->field_cap > 0 ? exchange->field_cap * 2 : 16;
        exchange->fields = rk_realloc(exchange->fields, exchange->field_cap * sizeof(*exchange->fields));
    }
    uint32_t at = (uint32_t)exchange->text.len;
    exchange->fields[exchange->field_count++] = (struct http_field){.name = at, .value = at};
    return charge(exchange, FIELD_OVERHEAD);
}

const struct http_fault *http_field_name(struct http_exchange *exchange, struct rk_slice bytes)
{
    struct http_field *field = &exchange->fields[exchange->field_count - 1];
    const struct http_fault *fault = charge(exchange, bytes.len);
    if (fault)
        return fault;
    http_append_lower(&exchange->text, bytes);
    field->name_len += (uint32_t)bytes.len;
    field->value += (uint32_t)bytes.len;
    return NULL;
}

const struct http_fault *http_field_value(struct http_exchange *exchange, struct rk_slice bytes)
{
    struct http_field *field = &exchange->fields[exchange->field_count - 1];
    const struct http_fault *fault = charge(exchange, bytes.len);
    if (fault)
        return fault;
    rk_buf_append_slice(&exchange->text, bytes);
    field->value_len += (uint32_t)bytes.len;
    return NULL;
}

/* ---- finishing ---- */

static struct rk_slice trim(struct rk_slice s)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = rk_slice(s.data + 1, s.len - 1);
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static void finish_headers(struct http_exchange *exchange)
{
    /* One more than needed: an absolute target may bring a host of its own. */
    exchange->headers = RK_NEW_ARRAY(struct http_header, exchange->field_count + 1);
    const uint8_t *base = rk_buf_slice(&exchange->text).data;
    for (size_t i = 0; i < exchange->field_count; i++) {
        const struct http_field *field = &exchange->fields[i];
        exchange->headers[i].name = rk_slice(base + field->name, field->name_len);
        exchange->headers[i].value = trim(rk_slice(base + field->value, field->value_len));
    }
    exchange->request.headers = exchange->headers;
    exchange->request.header_count = exchange->field_count;
}

/* Only visible ASCII: everything else has to be percent-encoded (RFC 3986). A fragment is never sent. */
static bool target_chars_ok(struct rk_slice target)
{
    for (size_t i = 0; i < target.len; i++)
        if (target.data[i] <= 0x20 || target.data[i] >= 0x7f || target.data[i] == '#')
            return false;
    return target.len > 0;
}

static bool host_ok(struct rk_slice host)
{
    for (size_t i = 0; i < host.len; i++)
        if (host.data[i] <= 0x20 || host.data[i] >= 0x7f || strchr("/?#@\\,", host.data[i]))
            return false;
    return true;
}

/* The authority of an absolute target replaces the host header (RFC 9112 section 3.2.2). */
static void replace_host(struct http_exchange *exchange, struct rk_slice authority)
{
    for (size_t i = 0; i < exchange->request.header_count; i++) {
        if (rk_slice_eq_str(exchange->headers[i].name, "host")) {
            exchange->headers[i].value = authority;
            return;
        }
    }
    exchange->headers[exchange->request.header_count++] =
        (struct http_header){.name = rk_slice_str("host"), .value = authority};
}

/* "http://host:port/path?query": what a client sends that takes us for its proxy. */
static const struct http_fault *absolute_target(struct http_exchange *exchange, struct rk_slice *target)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < RK_ARRAY_LEN(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (target->len <= len || !http_slice_eq_nocase(rk_slice(target->data, len), schemes[i]))
            continue;
        struct rk_slice rest = rk_slice(target->data + len, target->len - len);
        size_t authority = 0;
        while (authority < rest.len && rest.data[authority] != '/' && rest.data[authority] != '?')
            authority++;
        struct rk_slice host = rk_slice(rest.data, authority);
        if (host.len == 0 || !host_ok(host))
            return &http_fault_target;
        replace_host(exchange, host);
        *target = rk_slice(rest.data + authority, rest.len - authority);
        return NULL;
    }
    return &http_fault_target;
}

static const struct http_fault *finish_target(struct http_exchange *exchange)
{
    struct http_request *request = &exchange->request;
    struct rk_slice target = rk_buf_slice(&exchange->target);
    if (rk_slice_eq_str(request->method, "CONNECT"))
        return &http_fault_connect;
    if (!target_chars_ok(target))
        return &http_fault_target;
    if (rk_slice_eq_str(target, "*") && rk_slice_eq_str(request->method, "OPTIONS")) {
        request->path = target;
        return NULL;
    }
    if (target.data[0] != '/') {
        const struct http_fault *fault =
            exchange->stream_id == 0 ? absolute_target(exchange, &target) : &http_fault_target;
        if (fault)
            return fault;
    }
    request->path = cut(&target, '?');
    request->query = target;
    if (request->path.len == 0)
        request->path = rk_slice_str("/");
    return NULL;
}

const struct http_fault *http_request_finish(struct http_exchange *exchange)
{
    struct http_request *request = &exchange->request;
    request->method = rk_buf_slice(&exchange->method);
    exchange->is_head = rk_slice_eq_str(request->method, "HEAD");
    finish_headers(exchange);
    struct rk_slice host = rk_slice(NULL, 0);
    size_t hosts = http_request_headers(request, "host", &host);
    bool needed = exchange->stream_id == 0 && !exchange->http10;
    if (hosts > 1 || (hosts == 0 && needed) || !host_ok(host))
        return &http_fault_host;
    return finish_target(exchange);
}
