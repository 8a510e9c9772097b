/* tests/unit/mvcc_fixture.h - a group on a real store in a temporary directory, and short ways to use it. */
#ifndef MVCC_FIXTURE_H
#define MVCC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/mvcc/mvcc.h"

#define FIXTURE_GROUP 7u
#define FIXTURE_TERM  3u

struct fixture {
    char path[64];
    struct store_dir *dir;
    struct store_rows *rows;
    struct mvcc *mvcc;
    uint64_t index; /* of the last entry applied */
};

void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f); /* and removes the directory */
/* As a process that ends and starts again would see the group. */
void fixture_reopen(struct fixture *f);
/* The two halves of that: another process may have the store in between. */
void fixture_suspend(struct fixture *f);
void fixture_resume(struct fixture *f);
/* Only the group. */
void fixture_reload(struct fixture *f);

struct mvcc_op fixture_put(const char *key, const char *value);
struct mvcc_op fixture_del(const char *key, const char *end); /* end NULL: one key */

/* Applies one command in the open transaction, or in one of its own. */
struct mvcc_answer fixture_apply_open(struct fixture *f, const struct mvcc_op *ops, uint32_t count);
struct mvcc_answer fixture_apply(struct fixture *f, const struct mvcc_op *ops, uint32_t count);
/* These assert that it went well, and return the revision. */
uint64_t fixture_do_put(struct fixture *f, const char *key, const char *value);
uint64_t fixture_do_del(struct fixture *f, const char *key, const char *end);

/* Runs a query; the result's views are into buf. */
struct mvcc_result fixture_query(struct fixture *f, const struct mvcc_query *query, struct rk_buf *buf);
/* Reads one key at a revision (0: the latest). False when it is not there. */
bool fixture_get(struct fixture *f, const char *key, uint64_t revision, struct mvcc_kv *ret,
                 struct rk_buf *buf);
struct mvcc_meta fixture_meta(struct fixture *f);

/* All rows of the group, in order, without the group number. Replaces the content of ret. */
void fixture_dump(struct fixture *f, struct rk_buf *ret);
void fixture_assert_same_rows(struct fixture *a, struct fixture *b);

/* The whole snapshot stream of the group as it is now. */
void fixture_snapshot(struct fixture *f, size_t slice_bytes, struct rk_buf *ret);
/* Installs a stream fed in slices. */
void fixture_install(struct fixture *f, struct rk_slice stream, size_t slice_bytes);

/* Checks a stream fed in slices: 0, -EBADMSG, or -ENODATA when it is good as far as it goes. */
int fixture_verify(struct rk_slice stream, size_t slice_bytes);

/* Some history: many versions, deleted keys, new lives, transactions, members. */
void fixture_fill(struct fixture *f, unsigned commands);

void fixture_assert_slice(struct rk_slice s, const char *expected);

#endif
