/* lib/base/rk_blob.c - an immutable, reference-counted run of bytes. */
#include "lib/base/rk_blob.h"

#include "lib/base/rk_assert.h"

struct rk_blob *rk_blob_new(size_t len)
{
    rk_assert(len <= SIZE_MAX - sizeof(struct rk_blob));
    struct rk_blob *blob = rk_realloc(NULL, sizeof(*blob) + len);
    atomic_init(&blob->refs, 1);
    blob->len = len;
    return blob;
}

struct rk_blob *rk_blob_copy(struct rk_slice s)
{
    struct rk_blob *blob = rk_blob_new(s.len);
    if (s.len > 0)
        memcpy(blob->data, s.data, s.len);
    return blob;
}

struct rk_blob *rk_blob_ref(struct rk_blob *blob)
{
    if (!blob)
        return NULL;
    unsigned before = atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    rk_assert(before > 0 && before < UINT32_MAX);
    return blob;
}

/* Release so that our reads come before the free; acquire so that the last owner sees everybody's. */
struct rk_blob *rk_blob_unref(struct rk_blob *blob)
{
    if (!blob)
        return NULL;
    unsigned before = atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel);
    rk_assert(before > 0);
    if (before == 1)
        free(blob);
    return NULL;
}

void rk_blob_unrefp(struct rk_blob **blob)
{
    *blob = rk_blob_unref(*blob);
}
