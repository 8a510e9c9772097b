/* tests/bench/bench_ask.c - HTTP/1.1 as far as a load generator needs it: requests out, responses split. */
#include "tests/bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "lib/base/rk_base64.h"

/* ---- requests ------------------------------------------------------------------------- */

/* Letters and digits, so that the same value is one byte a byte in every encoding. */
static void append_value(const struct bench_plan *plan, struct rk_random *random, struct rk_buf *ret)
{
    uint8_t *to = rk_buf_reserve(ret, plan->value_bytes);
    for (uint32_t i = 0; i < plan->value_bytes; i++)
        to[i] = (uint8_t) "abcdefghijklmnopqrstuvwxyz012345"[rk_random_next(random) >> 59];
    rk_buf_commit(ret, plan->value_bytes);
}

static void ask_raftkv(const struct bench_plan *plan, const char *host, const char *name, bool read,
                       struct rk_random *random, struct rk_buf *ret)
{
    if (read) {
        rk_buf_printf(ret, "GET /key/%s?raw%s HTTP/1.1\r\nHost: %s\r\n\r\n", name,
                      plan->stale ? "&level=stale" : "", host);
        return;
    }
    rk_buf_printf(ret, "PUT /key/%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %u\r\n\r\n", name, host,
                  plan->value_bytes);
    append_value(plan, random, ret);
}

static void append_base64(struct rk_buf *ret, const char *name, struct rk_slice bytes)
{
    rk_buf_printf(ret, "%s\"%s\":\"", ret->len > 0 ? "," : "{", name);
    rk_base64_encode(ret, bytes);
    rk_buf_append_str(ret, "\"");
}

static void ask_etcd(const struct bench_plan *plan, const char *host, const char *name, bool read,
                     struct rk_random *random, struct rk_buf *ret)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf body = {0};
    RK_CLEANUP(rk_buf_deinit) struct rk_buf value = {0};
    append_base64(&body, "key", rk_slice_str(name));
    if (!read) {
        append_value(plan, random, &value);
        append_base64(&body, "value", rk_buf_slice(&value));
    } else if (plan->stale) {
        rk_buf_append_str(&body, ",\"serializable\":true");
    }
    rk_buf_append_str(&body, "}");
    rk_buf_printf(ret, "POST /v3/kv/%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n\r\n",
                  read ? "range" : "put", host, body.len);
    rk_buf_append_slice(ret, rk_buf_slice(&body));
}

void bench_ask(const struct bench_plan *plan, const char *host, uint32_t key, bool read,
               struct rk_random *random, struct rk_buf *ret)
{
    char name[128];
    snprintf(name, sizeof(name), "%s%08u", plan->prefix, key);
    if (plan->api == BENCH_ETCD)
        ask_etcd(plan, host, name, read, random, ret);
    else
        ask_raftkv(plan, host, name, read, random, ret);
}

/* ---- responses ---------------------------------------------------------------------------- */

/* The next line without its end, taken off in; false when it is not whole yet. */
static bool take_line(struct rk_slice *in, struct rk_slice *ret)
{
    const uint8_t *end = in->len > 0 ? memchr(in->data, '\n', in->len) : NULL;
    if (!end)
        return false;
    size_t used = (size_t)(end - in->data) + 1;
    size_t len = used - 1;
    if (len > 0 && in->data[len - 1] == '\r')
        len--;
    *ret = rk_slice(in->data, len);
    *in = rk_slice(in->data + used, in->len - used);
    return true;
}

/* Digits from the front; what follows them is not looked at. False without any. */
static bool number(struct rk_slice text, unsigned base, size_t *ret)
{
    size_t value = 0, i = 0;
    for (; i < text.len && i < 15; i++) {
        unsigned c = text.data[i] | 0x20u;
        unsigned digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= base)
            break;
        value = value * base + digit;
    }
    *ret = value;
    return i > 0;
}

/* The header's value when the line is that header. */
static bool header(struct rk_slice line, const char *name, struct rk_slice *ret)
{
    size_t len = strlen(name);
    if (line.len <= len || line.data[len] != ':' || strncasecmp((const char *)line.data, name, len) != 0)
        return false;
    for (len++; len < line.len && line.data[len] == ' ';)
        len++;
    *ret = rk_slice(line.data + len, line.len - len);
    return true;
}

/* Past the chunks and the trailer (RFC 9112, 7.1). 1, 0 or -EBADMSG. */
static int skip_chunks(struct rk_slice *in)
{
    struct rk_slice line;
    size_t size;
    do {
        if (!take_line(in, &line))
            return 0;
        if (!number(line, 16, &size))
            return -EBADMSG;
        if (size > 0) {
            if (in->len < size + 2)
                return 0;
            *in = rk_slice(in->data + size + 2, in->len - size - 2);
        }
    } while (size > 0);
    do
        if (!take_line(in, &line))
            return 0;
    while (line.len > 0);
    return 1;
}

int bench_response(struct rk_slice in, unsigned *ret_status, size_t *ret_bytes)
{
    struct rk_slice rest = in, line, value;
    size_t status, length = 0;
    bool chunked = false;
    if (!take_line(&rest, &line))
        return 0;
    if (line.len < 12 || memcmp(line.data, "HTTP/1.", 7) != 0 ||
        !number(rk_slice(line.data + 9, line.len - 9), 10, &status))
        return -EBADMSG;
    do {
        if (!take_line(&rest, &line))
            return 0;
        if (header(line, "content-length", &value) && !number(value, 10, &length))
            return -EBADMSG;
        chunked = chunked || (header(line, "transfer-encoding", &value) && rk_slice_eq_str(value, "chunked"));
    } while (line.len > 0);
    if (chunked) {
        int r = skip_chunks(&rest);
        if (r <= 0)
            return r;
    } else if (rest.len < length) {
        return 0;
    } else {
        rest = rk_slice(rest.data + length, rest.len - length);
    }
    *ret_status = (unsigned)status;
    *ret_bytes = in.len - rest.len;
    return 1;
}
