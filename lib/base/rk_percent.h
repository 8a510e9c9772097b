/* lib/base/rk_percent.h - percent-encoding (RFC 3986 section 2.1) of arbitrary bytes. */
#ifndef RK_PERCENT_H
#define RK_PERCENT_H

#include "lib/base/rk_buf.h"

/* Appends the decoded bytes. '+' is itself. Returns 0 or -EINVAL for a broken escape. */
int rk_percent_decode(struct rk_buf *out, struct rk_slice in) RK_MUST_CHECK;
/* Escapes everything but unreserved characters; keep_slash leaves '/' as it is. */
void rk_percent_encode(struct rk_buf *out, struct rk_slice in, bool keep_slash);

#endif
