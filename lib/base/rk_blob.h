/* lib/base/rk_blob.h - an immutable, reference-counted run of bytes.
 *
 * Payloads cross threads as blobs: written once by whoever makes them, read by
 * everyone after. The count is atomic; the bytes must not change once a second
 * reference exists. */
#ifndef RK_BLOB_H
#define RK_BLOB_H

#include <stdatomic.h>

#include "lib/base/rk_slice.h"
#include "lib/base/rk_util.h"

struct rk_blob {
    atomic_uint refs;
    size_t len;
    uint8_t data[];
};

struct rk_blob *rk_blob_new(size_t len); /* one reference; bytes are uninitialised */
struct rk_blob *rk_blob_copy(struct rk_slice s);
struct rk_blob *rk_blob_ref(struct rk_blob *blob);   /* NULL gives NULL */
struct rk_blob *rk_blob_unref(struct rk_blob *blob); /* takes NULL; always returns NULL */
void rk_blob_unrefp(struct rk_blob **blob);          /* for RK_CLEANUP */

static inline struct rk_slice rk_blob_slice(const struct rk_blob *blob)
{
    return blob ? rk_slice(blob->data, blob->len) : rk_slice(NULL, 0);
}

#endif
