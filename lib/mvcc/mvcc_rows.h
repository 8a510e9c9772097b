/* lib/mvcc/mvcc_rows.h - the bytes of the rows: building and reading keys and values of the three tables.
 *
 * Functions that build a row key replace the content of the buffer that they are given. Functions that read
 * return 0, or -EBADMSG for bytes that no version of this file has written. */
#ifndef MVCC_ROWS_H
#define MVCC_ROWS_H

#include "lib/base/rk_buf.h"
#include "lib/base/rk_wire.h"

enum mvcc_table { /* numbers are on disk: never reuse one */
                  MVCC_TABLE_META = 1,
                  MVCC_TABLE_KEYS = 2,
                  MVCC_TABLE_REVS = 3,
                  MVCC_TABLE_ORIGINS = 4,
                  MVCC_TABLE_SESSIONS = 5,
};

/* One version of one key. */
struct mvcc_row {
    struct rk_slice key;
    uint64_t revision;
    uint32_t sub;   /* place among the changes of its revision, from 0 */
    bool tombstone; /* the key was deleted here; the fields below are zero */
    uint64_t create_revision, version, lease;
    struct rk_slice value;
};

/* Bytes of the inverted revision and sub that end each row key of the keys table. */
#define MVCC_ROW_TAIL 12u

/* The beginning of all row keys of a table of a group. */
void mvcc_row_table(struct rk_buf *ret, uint32_t group, enum mvcc_table table);
/* The beginning of the row keys of all versions of a key. */
void mvcc_row_versions(struct rk_buf *ret, uint32_t group, struct rk_slice key);
/* The row key of one version. */
void mvcc_row_key(struct rk_buf *ret, uint32_t group, struct rk_slice key, uint64_t revision, uint32_t sub);

/* Working on row keys of the keys table without decoding the key in them. */
struct rk_slice
mvcc_row_head(struct rk_slice row_key); /* as mvcc_row_versions(); empty when it is too short */
uint64_t mvcc_row_revision(struct rk_slice row_key);
/* Where the newest version at or before revision would be: head is one of mvcc_row_versions(). */
void mvcc_row_seek_revision(struct rk_buf *ret, struct rk_slice head, uint64_t revision);
/* A place behind all versions of that key and before all of the next one. */
void mvcc_row_seek_past(struct rk_buf *ret, struct rk_slice head);

/* Reads a row of the keys table; ret->key lies in key_buf, ret->value in row_value. */
int mvcc_row_decode(struct rk_slice row_key, struct rk_slice row_value, struct rk_buf *key_buf,
                    struct mvcc_row *ret) RK_MUST_CHECK;
/* The same without the key: for who knows it. */
int mvcc_row_decode_value(struct rk_slice row_key, struct rk_slice row_value,
                          struct mvcc_row *ret) RK_MUST_CHECK;
void mvcc_row_value(struct rk_buf *ret, const struct mvcc_row *row);

/* The revs table. */
void mvcc_rev_key(struct rk_buf *ret, uint32_t group, uint64_t revision, uint32_t sub);
void mvcc_rev_value(struct rk_buf *ret, struct rk_slice key);
int mvcc_rev_decode(struct rk_slice row_key, struct rk_slice row_value, uint64_t *ret_revision,
                    uint32_t *ret_sub, struct rk_slice *ret_key) RK_MUST_CHECK;

/* The meta table. */
#define MVCC_META_APPLIED    "applied"
#define MVCC_META_MEMBERS    "members"
#define MVCC_META_INSTALLING "installing"
#define MVCC_META_CLOCK      "session-clock"

struct mvcc_applied {
    uint64_t index, term, revision, keys;
    uint64_t hash; /* over the rows of the keys table: mvcc_hash.c */
};
void mvcc_meta_key(struct rk_buf *ret, uint32_t group, const char *name);
void mvcc_applied_value(struct rk_buf *ret, const struct mvcc_applied *applied);
/* *ret_rest: what was appended to it (mvcc_once_put_hot()). */
int mvcc_applied_decode(struct rk_slice row_value, struct mvcc_applied *ret,
                        struct rk_slice *ret_rest) RK_MUST_CHECK;
void mvcc_mark_value(struct rk_buf *ret); /* of the row "installing": it is there or it is not */
void mvcc_members_value(struct rk_buf *ret, uint64_t index, struct rk_slice members);
/* Rows of the origins and the sessions: what the value holds behind its format byte is mvcc_once.h's
 * business.
 */
void mvcc_once_key(struct rk_buf *ret, uint32_t group, enum mvcc_table table, uint64_t id);
void mvcc_once_value(struct rk_buf *ret); /* the format byte alone: the caller appends */
/* -EBADMSG, or the reader stands behind the format byte. */
int mvcc_once_value_begin(struct rk_slice row_value, struct rk_reader *ret) RK_MUST_CHECK;
int mvcc_members_decode(struct rk_slice row_value, uint64_t *ret_index,
                        struct rk_slice *ret_members) RK_MUST_CHECK;

#endif
