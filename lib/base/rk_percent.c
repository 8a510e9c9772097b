/* lib/base/rk_percent.c - percent-encoding (RFC 3986 section 2.1). */
#include "lib/base/rk_percent.h"

#include <errno.h>

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int rk_percent_decode(struct rk_buf *out, struct rk_slice in)
{
    uint8_t *to = rk_buf_reserve(out, in.len); /* never longer than the input */
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        if (in.data[i] != '%') {
            to[n++] = in.data[i];
            continue;
        }
        int high = in.len - i > 2 ? hex_digit(in.data[i + 1]) : -1;
        int low = in.len - i > 2 ? hex_digit(in.data[i + 2]) : -1;
        if (high < 0 || low < 0)
            return -EINVAL; /* nothing was committed */
        to[n++] = (uint8_t)(high << 4 | low);
        i += 2;
    }
    rk_buf_commit(out, n);
    return 0;
}

/* RFC 3986 section 2.3; spelled out because isalnum() follows the locale. */
static bool unreserved(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void rk_percent_encode(struct rk_buf *out, struct rk_slice in, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.data[i];
        if (unreserved(c) || (keep_slash && c == '/')) {
            rk_buf_append(out, &c, 1);
        } else {
            char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
            rk_buf_append(out, escape, sizeof(escape));
        }
    }
}
