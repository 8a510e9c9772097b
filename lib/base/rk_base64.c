/* lib/base/rk_base64.c - base64, encoding and decoding. */
#include "lib/base/rk_base64.h"

#include <errno.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void rk_base64_encode(struct rk_buf *out, struct rk_slice in)
{
    for (size_t i = 0; i < in.len; i += 3) {
        size_t left = in.len - i;
        uint32_t v = (uint32_t)in.data[i] << 16;
        char quad[4];

        if (left > 1)
            v |= (uint32_t)in.data[i + 1] << 8;
        if (left > 2)
            v |= in.data[i + 2];
        quad[0] = alphabet[v >> 18];
        quad[1] = alphabet[v >> 12 & 63];
        quad[2] = left > 1 ? alphabet[v >> 6 & 63] : '=';
        quad[3] = left > 2 ? alphabet[v & 63] : '=';
        rk_buf_append(out, quad, sizeof(quad));
    }
}

static int digit_value(uint8_t c)
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
int rk_base64_decode(struct rk_buf *out, struct rk_slice in)
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
            int digit = j >= in.len - pad ? 0 : digit_value(in.data[j]);
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
