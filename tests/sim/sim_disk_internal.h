/* tests/sim/sim_disk_internal.h - what the files of the simulated disk share. */
#ifndef SIM_DISK_INTERNAL_H
#define SIM_DISK_INTERNAL_H

#include "lib/base/rk_assert.h"
#include "tests/sim/sim_disk.h"

/* ---- rows: immutable, counted, in one sorted array ------------------------------------ */

struct sim_row {
    uint32_t refs;
    uint32_t key_len, value_len;
    uint64_t hash;
    uint8_t bytes[];
};

struct sim_table {
    struct sim_row **rows;
    size_t count, cap;
    uint64_t hash, bytes; /* the hash is a sum: it does not depend on the order of changes */
};

struct sim_undo { /* one change; NULL: there was, there is, no such row */
    struct sim_row *before, *after;
};

struct sim_commit {
    struct sim_undo *undo;
    size_t count, cap;
};

/* ---- log ------------------------------------------------------------------------------- */

struct sim_entry {
    uint64_t term;
    uint8_t kind;
    bool rotten; /* its CRC does not match */
    struct rk_blob *payload;
};

struct sim_log_group {
    struct store_vote vote;
    struct store_base base;
    uint64_t members_index; /* as store_log_set_members() said; NULL: never */
    struct rk_blob *members;
    struct sim_entry *entries; /* base.index + 1 and on */
    size_t count, cap;
};

struct sim_log {
    struct sim_log_group groups[SIM_GROUPS];
};

/* ---- the disk ---------------------------------------------------------------------------- */

struct sim_disk {
    struct sim_disk *next; /* registry; NULL path entries never are in it */
    char *path;
    struct sim_disk_watch watch;
    bool registered, dir_open;
    bool has_identity;
    struct store_identity identity;
    bool rebuild, set_aside; /* the marker; the old rows were put aside, and here that is: thrown away */
    char why[128];
    bool repair;
    struct store_vote repair_vote;

    struct sim_log log;
    struct sim_log *log_txn;       /* a copy with the open transaction in it */
    uint64_t appended[SIM_GROUPS]; /* the first entry that the transaction has written; 0: none */
    bool log_open, log_breaks, log_lands;
    int log_error;
    struct store_log_stats stats;
    uint64_t log_dirty;

    struct sim_table table;
    struct sim_commit *commits; /* not flushed yet, oldest first */
    size_t commit_count, commit_cap;
    struct sim_commit txn;
    bool rows_open, in_txn, rows_break, rows_land;
    bool rotten, glitch;
    uint8_t glitched[64];
    unsigned cursors;
    int rows_error;
    uint64_t rows_dirty;
};

static inline void sim_disk_point(struct sim_disk *disk)
{
    if (disk->watch.point)
        disk->watch.point(disk->watch.userdata);
}

struct store_dir {
    struct sim_disk *disk;
};
struct store_log {
    struct sim_disk *disk;
};
struct store_rows {
    struct sim_disk *disk;
};

/* sim_disk_log.c */
void sim_log_copy(struct sim_log *to, const struct sim_log *from);
void sim_log_deinit(struct sim_log *log);
/* sim_disk_rows.c */
void sim_table_copy(struct sim_table *to, const struct sim_table *from);
void sim_table_deinit(struct sim_table *table);
void sim_table_undo(struct sim_table *table, const struct sim_commit *commit);
void sim_commit_deinit(struct sim_commit *commit);
void sim_rows_forget_commits(struct sim_disk *disk); /* they are durable now */

#endif
