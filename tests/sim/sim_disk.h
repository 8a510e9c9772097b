/* tests/sim/sim_disk.h - the simulated disk of one host: what store.h promises, kept in memory.
 *
 * A disk outlives the node that uses it. Log transactions are durable once committed;
 * commits of rows only once they were flushed or a checkpoint came by. A crash is an
 * image: sim_disk_crash() makes the disk that would be found after one, at any moment,
 * with a random number of the un-flushed commits of rows surviving. The old disk goes on
 * working, for a process that does not know yet that it is dead. */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "lib/base/rk_blob.h"
#include "lib/base/rk_random.h"
#include "lib/store/store.h"

#define SIM_GROUPS 2u

struct sim_disk;

/* What a disk tells its owner. Any may be NULL. */
struct sim_disk_watch {
    void *userdata;
    /* Something durable is about to change, or has just changed: a crash may come here. */
    void (*point)(void *userdata);
    void (*rows_flushed)(void *userdata);
    /* An entry is on the disk now, behind one of that term; in the order of the log. */
    void (*appended)(void *userdata, uint32_t group, const struct store_entry *entry, uint64_t before_term);
};

struct sim_disk *sim_disk_new(const char *path, const struct sim_disk_watch *watch);
void sim_disk_free(struct sim_disk *disk); /* must be closed; NULL is fine */
/* The disk as found after a crash now. Not opened, same path and owner; takes the old one's place when that
 * is freed. */
struct sim_disk *sim_disk_crash(struct sim_disk *disk, struct rk_random *random);
void sim_disk_wipe(struct sim_disk *disk);
/* The next flush of the log (or of the rows) fails; landed: what it was to write did reach the disk. */
void sim_disk_break(struct sim_disk *disk, bool log, bool landed);
void sim_disk_mend(struct sim_disk *disk); /* and now it does not */

/* Silent damage. False: there is nothing to damage. An entry of the log, which its CRC tells when it is read;
 * a bit of a row, which no checksum tells; or what a row says, once, to the transaction that reads it next.
 */
bool sim_disk_rot_entry(struct sim_disk *disk, struct rk_random *random);
bool sim_disk_rot_row(struct sim_disk *disk, struct rk_random *random);
bool sim_disk_glitch(struct sim_disk *disk);
bool sim_disk_rotten(const struct sim_disk *disk); /* its rows may not be those that were written */
void sim_disk_rotten_end(struct sim_disk *disk);
bool sim_disk_rebuilding(const struct sim_disk *disk);

const struct store_identity *sim_disk_identity(const struct sim_disk *disk); /* NULL: pristine */
uint64_t sim_disk_rows_hash(const struct sim_disk *disk);
uint64_t sim_disk_last(const struct sim_disk *disk, uint32_t group); /* index of the last durable entry */
bool sim_disk_entry(const struct sim_disk *disk, uint32_t group, uint64_t index, struct store_entry *ret);
/* Its host does not vote: a first start that waits for the others, or a log that is being repaired. */
bool sim_disk_abstains(const struct sim_disk *disk);
struct store_vote sim_disk_vote(const struct sim_disk *disk, uint32_t group);

uint64_t sim_hash(uint64_t seed, struct rk_slice bytes);
uint64_t sim_mix(uint64_t a, uint64_t b);

/* "Process-wide", of the process that runs now: a simulation sets it before each turn of a host. */
extern bool sim_space_is_low;

#endif
