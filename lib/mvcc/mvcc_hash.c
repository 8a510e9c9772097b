/* lib/mvcc/mvcc_hash.c - the hash over the rows, by which members see that they hold the same.
 *
 * Each row of the keys table has a 64-bit hash of what it says; the group's hash is their
 * sum. A sum does not depend on the order, so it moves with each row that is written and
 * never has to read an old one; it can be had again from the rows alone, which is how rot
 * in them is found (node_scrub.c) and how a snapshot is checked; and rows of later
 * revisions do not disturb it, since history does not change. It is written with the
 * applied index, in the same transaction, so it always speaks of one entry.
 *
 * It finds accidents: two states that differ have the same sum with a chance of 2^-64.
 * Against somebody who makes up rows on purpose it is no protection, and needs to be none:
 * members are authenticated. The hash of a row takes eight bytes at a time through one
 * multiplication and a shift, each of them reversible, so that a difference in any one
 * word cannot get lost on the way. Changing it means a new format of the applied row. */
#include "lib/mvcc/mvcc_hash.h"
#include "config.h" /* _DEFAULT_SOURCE */

#include <endian.h>
#include <string.h>

#include "lib/mvcc/mvcc_state.h"

#define SEED       0x6a09e667f3bcc909ULL
#define MULTIPLIER 0x9e3779b97f4a7c15ULL

uint64_t mvcc_hash_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * MULTIPLIER;
    return hash ^ hash >> 32;
}

/* Big endian, so that hosts of either kind agree. */
static uint64_t load(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return be64toh(word);
}

static uint64_t mix_bytes(uint64_t hash, struct rk_slice bytes)
{
    uint8_t tail[8] = {0};
    size_t at = 0;
    hash = mvcc_hash_mix(hash, bytes.len); /* so that no two rows run together */
    for (; bytes.len - at >= 8; at += 8)
        hash = mvcc_hash_mix(hash, load(bytes.data + at));
    if (at == bytes.len)
        return hash;
    memcpy(tail, bytes.data + at, bytes.len - at);
    return mvcc_hash_mix(hash, load(tail));
}

uint64_t mvcc_hash_row(const struct mvcc_row *row)
{
    uint64_t hash = mix_bytes(SEED, row->key);
    hash = mvcc_hash_mix(hash, row->revision);
    hash = mvcc_hash_mix(hash, (uint64_t)row->sub << 1 | row->tombstone);
    hash = mvcc_hash_mix(hash, row->create_revision);
    hash = mvcc_hash_mix(hash, row->version);
    hash = mvcc_hash_mix(hash, row->lease);
    hash = mix_bytes(hash, row->value);
    return mvcc_hash_mix(hash, SEED); /* the last word goes through as many steps as the others */
}

uint64_t mvcc_digest(const struct mvcc *mvcc)
{
    uint64_t hash = mvcc_hash_mix(mvcc->applied.hash, mvcc->applied.index);
    hash = mvcc_hash_mix(hash, mvcc->applied.term);
    hash = mvcc_hash_mix(hash, mvcc->applied.revision);
    hash = mvcc_hash_mix(hash, mvcc->applied.keys);
    return mvcc_hash_mix(hash, mvcc->members_index);
}
