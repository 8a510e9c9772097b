/* lib/client/client_json.c - reading the server's JSON: numbers, text, and bytes that are not text. */
#include <errno.h>

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

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

/* Four digits are three bytes; one or two '=' at the very end stand for bytes that are not there. */
int client_base64_decode(struct rk_buf *out, struct rk_slice in)
{
    if (in.len % 4 != 0)
        return -EINVAL;
    size_t pad = 0;
    while (pad < 2 && pad < in.len && in.data[in.len - 1 - pad] == '=')
        pad++;
    uint8_t *to = rk_buf_reserve(out, in.len / 4 * 3);
    for (size_t i = 0; i < in.len; i += 4) {
        uint32_t bits = 0;
        for (size_t j = i; j < i + 4; j++) {
            int digit = j >= in.len - pad ? 0 : base64_digit(in.data[j]);
            if (digit < 0)
                return -EINVAL; /* nothing was committed */
            bits = bits << 6 | (uint32_t)digit;
        }
        *to++ = (uint8_t)(bits >> 16);
        *to++ = (uint8_t)(bits >> 8);
        *to++ = (uint8_t)bits;
    }
    rk_buf_commit(out, in.len / 4 * 3 - pad);
    return 0;
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
    return client_base64_decode(out, rk_slice(json_string_value(text), json_string_length(text)));
}
