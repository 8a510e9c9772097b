/* lib/base/rk_base64.c - base64, encoding. */
#include "lib/base/rk_base64.h"

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
