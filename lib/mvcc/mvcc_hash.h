/* lib/mvcc/mvcc_hash.h - a number for a row, whose sum over all rows says whether two groups hold the same.
 * Private to lib/mvcc. */
#ifndef MVCC_HASH_H
#define MVCC_HASH_H

#include "lib/mvcc/mvcc_rows.h"

/* Of what the row means, not of its bytes: it outlives the row format. Not for secrets. */
uint64_t mvcc_hash_row(const struct mvcc_row *row);
uint64_t mvcc_hash_mix(uint64_t hash, uint64_t word);

#endif
