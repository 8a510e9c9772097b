/* lib/client/client_json.c - reading the server's JSON: numbers, text, and bytes that are not text. */
#include <errno.h>

#include "lib/base/rk_base64.h"
#include "lib/client/client_private.h"

uint64_t client_json_u64(const json_t *object, const char *name, uint64_t fallback)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return fallback;
    return (uint64_t)json_integer_value(value);
}

const char *client_json_str(const json_t *object, const char *name, const char *fallback)
{
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? json_string_value(value) : fallback;
}

bool client_json_bool(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

int client_json_bytes(const json_t *object, const char *name, struct rk_buf *out)
{
    const json_t *text = json_object_get(object, name);
    if (json_is_string(text)) {
        rk_buf_append(out, json_string_value(text), json_string_length(text));
        return 0;
    }
    RK_CLEANUP(rk_freep) char *name64 = rk_asprintf("%s_base64", name);
    text = json_object_get(object, name64);
    if (!json_is_string(text))
        return -EINVAL;
    return rk_base64_decode(out, rk_slice(json_string_value(text), json_string_length(text)));
}
