/* lib/base/rk_base64.h - base64 (RFC 4648 section 4, with padding), for bytes that JSON cannot hold. */
#ifndef RK_BASE64_H
#define RK_BASE64_H

#include "lib/base/rk_buf.h"

void rk_base64_encode(struct rk_buf *out, struct rk_slice in);
/* Appends the bytes. 0, or -EINVAL with nothing appended. */
int rk_base64_decode(struct rk_buf *out, struct rk_slice in) RK_MUST_CHECK;

#endif
