/* lib/client/client_key.c - get, set, delete and list keys. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/rk_percent.h"
#include "lib/client/client_private.h"

/* "/key/" and the key, percent-encoded; slashes stay, so that a log of requests can be read. */
static char *key_path(struct rk_slice key)
{
    struct rk_buf buf = {0};
    rk_buf_append_str(&buf, "/key/");
    rk_percent_encode(&buf, key, true);
    rk_buf_append(&buf, "", 1);
    return (char *)buf.data;
}

/* "consistent" is the server's default and goes without saying. */
static const char *level_query(enum client_level level)
{
    if (level == CLIENT_LEVEL_DEFAULT)
        return "&level=default";
    return level == CLIENT_LEVEL_STALE ? "&level=stale" : "";
}

/* Raw, because a JSON object's member name cannot carry every key and base64 would cost a third more. */
int client_get(struct client *client, struct rk_slice key, enum client_level level, struct client_value *ret)
{
    RK_CLEANUP(rk_freep) char *path = key_path(key);
    RK_CLEANUP(rk_freep) char *query = rk_asprintf("raw%s", level_query(level));
    struct client_response response;
    int r = client_request(client, "GET", path, query, NULL, &response);
    if (r != 0)
        return r;
    *ret = (struct client_value){
        .bytes = response.body,
        .mod_revision = client_header_u64(&response, "raftkv-revision"),
        .version = client_header_u64(&response, "raftkv-version"),
    };
    response.body = (struct rk_buf){0};
    client_response_deinit(&response);
    return 0;
}

int client_set(struct client *client, struct rk_slice key, struct rk_slice value, uint64_t *ret_revision)
{
    RK_CLEANUP(rk_freep) char *path = key_path(key);
    struct client_body body = {.bytes = value, .content_type = "application/octet-stream"};
    struct client_response response;
    int r = client_write(client, "PUT", path, &body, &response);
    if (r != 0)
        return r;
    bool good = json_is_integer(json_object_get(response.json, "revision"));
    uint64_t revision = client_json_u64(response.json, "revision", 0);
    client_response_deinit(&response);
    if (!good)
        return client_fail(client, CLIENT_E_PROTOCOL, "the answer has no revision; is that a raftkvd?");
    *ret_revision = revision;
    return 0;
}

int client_delete(struct client *client, struct rk_slice key, uint64_t *ret_deleted, uint64_t *ret_revision)
{
    RK_CLEANUP(rk_freep) char *path = key_path(key);
    struct client_response response;
    int r = client_write(client, "DELETE", path, NULL, &response);
    if (r != 0)
        return r;
    bool good = json_is_integer(json_object_get(response.json, "deleted"));
    *ret_deleted = client_json_u64(response.json, "deleted", 0);
    *ret_revision = client_json_u64(response.json, "revision", 0);
    client_response_deinit(&response);
    if (!good)
        return client_fail(client, CLIENT_E_PROTOCOL, "the answer has no count; is that a raftkvd?");
    return 0;
}

static char *range_query(const struct client_range *range)
{
    struct rk_buf buf = {0};
    rk_buf_append_str(&buf, "prefix=");
    rk_percent_encode(&buf, range->prefix, false);
    if (range->limit > 0)
        rk_buf_printf(&buf, "&limit=%u", range->limit);
    if (range->after.len > 0) {
        rk_buf_append_str(&buf, "&after=");
        rk_percent_encode(&buf, range->after, false);
    }
    if (range->keys_only)
        rk_buf_append_str(&buf, "&keys_only");
    rk_buf_append_str(&buf, level_query(range->level));
    rk_buf_append(&buf, "", 1);
    return (char *)buf.data;
}

/* Slices cannot point into a buffer that still grows, so they begin as offsets from its start. */
static int page_add(struct client_page *page, const json_t *item, bool keys_only)
{
    struct client_kv *kv = &page->kvs[page->count];
    size_t start = page->bytes.len;
    int r = client_json_bytes(item, "key", &page->bytes);
    if (r < 0)
        return r;
    kv->key = rk_slice(NULL, page->bytes.len - start);
    start = page->bytes.len;
    r = client_json_bytes(item, "value", &page->bytes);
    if (r < 0 && !keys_only)
        return r;
    kv->value = rk_slice(NULL, page->bytes.len - start);
    kv->create_revision = client_json_u64(item, "create_revision", 0);
    kv->mod_revision = client_json_u64(item, "mod_revision", 0);
    kv->version = client_json_u64(item, "version", 0);
    page->count++;
    return 0;
}

static void page_point(struct client_page *page)
{
    const uint8_t *at = rk_buf_slice(&page->bytes).data;
    for (size_t i = 0; i < page->count; i++) {
        struct client_kv *kv = &page->kvs[i];
        kv->key.data = at;
        kv->value.data = at + kv->key.len;
        at += kv->key.len + kv->value.len;
    }
}

static int page_parse(const json_t *answer, bool keys_only, struct client_page *page)
{
    const json_t *kvs = json_object_get(answer, "kvs");
    if (!json_is_array(kvs))
        return -EINVAL;
    page->kvs = RK_NEW_ARRAY(struct client_kv, json_array_size(kvs) + 1);
    for (size_t i = 0; i < json_array_size(kvs); i++) {
        int r = page_add(page, json_array_get(kvs, i), keys_only);
        if (r < 0)
            return r;
    }
    if (page->bytes.len > 0)
        page_point(page);
    page->more = client_json_bool(answer, "more");
    page->revision = client_json_u64(answer, "revision", 0);
    /* "More" after an empty page would make the caller ask for ever. */
    return page->more && page->count == 0 ? -EINVAL : 0;
}

int client_range(struct client *client, const struct client_range *range, struct client_page *ret)
{
    RK_CLEANUP(rk_freep) char *query = range_query(range);
    json_t *answer;
    int r = client_call(client, "GET", "/key", query, NULL, &answer);
    if (r != 0)
        return r;
    struct client_page page = {0};
    r = page_parse(answer, range->keys_only, &page);
    json_decref(answer);
    if (r < 0) {
        client_page_deinit(&page);
        return client_fail(client, CLIENT_E_PROTOCOL,
                           "the list of keys cannot be understood; is that a raftkvd?");
    }
    *ret = page;
    return 0;
}

void client_page_deinit(struct client_page *page)
{
    free(page->kvs);
    rk_buf_deinit(&page->bytes);
    *page = (struct client_page){0};
}
