/* lib/store/store_log.h - shared by the files of the raft log: its structures and its records. Not for other
 * folders.
 *
 * One B-tree holds three kinds of records; keys are big endian, so that the
 * entries of a group are neighbours in order of their index:
 *   01 group 'v'      -> u64 term, u64 voted for, u32 crc32c
 *   01 group 'b'      -> u64 index, u64 term, u32 crc32c
 *   01 group 'm'      -> u64 index, u32 crc32c, members (opaque): who they were as of that entry
 *   02 group u64 index -> u64 term, u8 kind, u32 crc32c, payload
 * with group a u32. Every CRC covers the key too, so a record that a disk returns
 * for another one's place is found out. */
#ifndef STORE_LOG_H
#define STORE_LOG_H

#include "lib/base/rk_list.h"
#include "lib/base/rk_map.h"
#include "lib/store/store_internal.h"

#define STORE_LOG_TABLE_META    1u
#define STORE_LOG_TABLE_ENTRIES 2u
#define STORE_LOG_KEY_BYTES_MAX 13u
#define STORE_LOG_HEADER_BYTES  13u /* of an entry's value */
#define STORE_LOG_META_BYTES    20u

struct store_log_key {
    uint8_t bytes[STORE_LOG_KEY_BYTES_MAX];
    uint8_t len;
};

/* What of a group a transaction can change, so that an abort can put it back. */
struct store_log_state {
    struct store_vote vote;
    struct store_base base;
    uint64_t first; /* no entry below this one is in the B-tree; between first and the base wait those to be
                       trimmed */
    uint64_t last, last_term;
};

struct store_log_group {
    uint32_t id;
    struct store_log_state now, committed;
    struct rk_list dirty_link; /* in store_log.dirty while the open transaction has changed it */
    uint64_t cut_from; /* the lowest index that the open transaction removed at the end; UINT64_MAX: none */
};

struct store_log {
    struct store_env *env;
    struct store_mark *mark;
    DB_TXN *txn;
    struct rk_map groups; /* id -> struct store_log_group, all that are on the disk */
    struct rk_list dirty;
    struct rk_buf value; /* kept between appends */
    uint64_t txn_entries, txn_bytes;
    atomic_ullong flushes, entries, bytes, flush_us_total, flush_us_max;
};

/* ---- records (store_log_record.c) ---- */

struct store_log_key store_log_meta_key(uint32_t group, char kind);
struct store_log_key store_log_entry_key(uint32_t group, uint64_t index);
DBT store_log_key_dbt(struct store_log_key *key);
/* Of an entry's key: false when it is a key of something else. */
bool store_log_entry_key_parse(const DBT *dbt, uint32_t *ret_group, uint64_t *ret_index);

void store_log_entry_encode(const struct store_log_key *key, const struct store_entry *entry,
                            struct rk_buf *out);
/* ret->payload points into value. STORE_E_CORRUPT when the CRC does not match. */
int store_log_entry_decode(const struct store_log_key *key, struct rk_slice value,
                           struct store_entry *ret) RK_MUST_CHECK;
void store_log_meta_encode(const struct store_log_key *key, uint64_t a, uint64_t b,
                           uint8_t out[STORE_LOG_META_BYTES]);
bool store_log_meta_decode(const struct store_log_key *key, struct rk_slice value, uint64_t *ret_a,
                           uint64_t *ret_b);

void store_log_members_encode(const struct store_log_key *key, uint64_t index, struct rk_slice members,
                              struct rk_buf *out);
/* The members are a view into value. */
bool store_log_members_decode(const struct store_log_key *key, struct rk_slice value, uint64_t *ret_index,
                              struct rk_slice *ret_members);

/* ---- groups (store_log_group.c) ---- */

/* The group's state; made when it is new. -E2BIG when there are too many groups for the mark. */
int store_log_group_get(struct store_log *log, uint32_t id, struct store_log_group **ret) RK_MUST_CHECK;
/* Reads the state of every group that is on the disk. STORE_E_REFUSED. */
int store_log_groups_load(struct store_log *log, char **ret_error) RK_MUST_CHECK;
/* Compares what was recovered with what the mark says was flushed. STORE_E_REFUSED. */
int store_log_groups_check_mark(struct store_log *log, char **ret_error) RK_MUST_CHECK;
void store_log_groups_free(struct store_log *log);
/* The term of a stored entry, or of the base; STORE_E_NOT_FOUND. The CRC is not looked at. */
int store_log_group_term(struct store_log *log, const struct store_log_group *group, uint64_t index,
                         uint64_t *ret_term) RK_MUST_CHECK;

#endif
