/* lib/store/store_log_record.c - the bytes of the raft log's records (see store_log.h). */
#include "lib/base/rk_assert.h"
#include "lib/base/rk_crc32c.h"
#include "lib/base/rk_wire.h"
#include "lib/store/store_log.h"

#define CRC_OFFSET 9u /* in an entry's value: behind term and kind */

struct store_log_key store_log_meta_key(uint32_t group, char kind)
{
    struct store_log_key key = {.len = 6};
    key.bytes[0] = STORE_LOG_TABLE_META;
    rk_store_u32(key.bytes + 1, group);
    key.bytes[5] = (uint8_t)kind;
    return key;
}

struct store_log_key store_log_entry_key(uint32_t group, uint64_t index)
{
    struct store_log_key key = {.len = 13};
    key.bytes[0] = STORE_LOG_TABLE_ENTRIES;
    rk_store_u32(key.bytes + 1, group);
    rk_store_u64(key.bytes + 5, index);
    return key;
}

DBT store_log_key_dbt(struct store_log_key *key)
{
    return (DBT){.data = key->bytes, .size = key->len};
}

bool store_log_entry_key_parse(const DBT *dbt, uint32_t *ret_group, uint64_t *ret_index)
{
    const uint8_t *p = dbt->data;
    if (dbt->size != 13 || p[0] != STORE_LOG_TABLE_ENTRIES)
        return false;
    *ret_group = rk_load_u32(p + 1);
    *ret_index = rk_load_u64(p + 5);
    return true;
}

static uint32_t entry_crc(const struct store_log_key *key, const uint8_t *value, struct rk_slice payload)
{
    uint32_t crc = rk_crc32c(0, rk_slice(key->bytes, key->len));
    crc = rk_crc32c(crc, rk_slice(value, CRC_OFFSET));
    return rk_crc32c(crc, payload);
}

void store_log_entry_encode(const struct store_log_key *key, const struct store_entry *entry,
                            struct rk_buf *out)
{
    rk_buf_clear(out);
    uint8_t *p = rk_buf_reserve(out, STORE_LOG_HEADER_BYTES + entry->payload.len);
    rk_store_u64(p, entry->term);
    p[8] = entry->kind;
    rk_store_u32(p + CRC_OFFSET, entry_crc(key, p, entry->payload));
    if (entry->payload.len > 0)
        memcpy(p + STORE_LOG_HEADER_BYTES, entry->payload.data, entry->payload.len);
    rk_buf_commit(out, STORE_LOG_HEADER_BYTES + entry->payload.len);
}

int store_log_entry_decode(const struct store_log_key *key, struct rk_slice value, struct store_entry *ret)
{
    if (value.len < STORE_LOG_HEADER_BYTES)
        return STORE_E_CORRUPT;
    struct rk_slice payload =
        rk_slice(value.data + STORE_LOG_HEADER_BYTES, value.len - STORE_LOG_HEADER_BYTES);
    if (rk_load_u32(value.data + CRC_OFFSET) != entry_crc(key, value.data, payload))
        return STORE_E_CORRUPT;
    *ret = (struct store_entry){.index = rk_load_u64(key->bytes + 5),
                                .term = rk_load_u64(value.data),
                                .kind = value.data[8],
                                .payload = payload};
    return 0;
}

static uint32_t meta_crc(const struct store_log_key *key, const uint8_t *value)
{
    uint32_t crc = rk_crc32c(0, rk_slice(key->bytes, key->len));
    return rk_crc32c(crc, rk_slice(value, 16));
}

void store_log_meta_encode(const struct store_log_key *key, uint64_t a, uint64_t b,
                           uint8_t out[STORE_LOG_META_BYTES])
{
    rk_store_u64(out, a);
    rk_store_u64(out + 8, b);
    rk_store_u32(out + 16, meta_crc(key, out));
}

bool store_log_meta_decode(const struct store_log_key *key, struct rk_slice value, uint64_t *ret_a,
                           uint64_t *ret_b)
{
    if (value.len != STORE_LOG_META_BYTES || rk_load_u32(value.data + 16) != meta_crc(key, value.data))
        return false;
    *ret_a = rk_load_u64(value.data);
    *ret_b = rk_load_u64(value.data + 8);
    return true;
}

static uint32_t members_crc(const struct store_log_key *key, const uint8_t *index, struct rk_slice members)
{
    uint32_t crc = rk_crc32c(0, rk_slice(key->bytes, key->len));
    crc = rk_crc32c(crc, rk_slice(index, 8));
    return rk_crc32c(crc, members);
}

void store_log_members_encode(const struct store_log_key *key, uint64_t index, struct rk_slice members,
                              struct rk_buf *out)
{
    rk_buf_clear(out);
    uint8_t *p = rk_buf_reserve(out, 12 + members.len);
    rk_store_u64(p, index);
    rk_store_u32(p + 8, members_crc(key, p, members));
    if (members.len > 0)
        memcpy(p + 12, members.data, members.len);
    rk_buf_commit(out, 12 + members.len);
}

bool store_log_members_decode(const struct store_log_key *key, struct rk_slice value, uint64_t *ret_index,
                              struct rk_slice *ret_members)
{
    if (value.len < 12)
        return false;
    struct rk_slice members = rk_slice(value.data + 12, value.len - 12);
    if (rk_load_u32(value.data + 8) != members_crc(key, value.data, members))
        return false;
    *ret_index = rk_load_u64(value.data);
    *ret_members = members;
    return true;
}
