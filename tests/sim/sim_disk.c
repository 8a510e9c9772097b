/* tests/sim/sim_disk.c - the simulated data directory: identity, wipe, crash, space. */
#include "tests/sim/sim_disk_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

bool sim_space_is_low;
static struct sim_disk *registry;

uint64_t sim_mix(uint64_t a, uint64_t b)
{
    struct rk_random mix = {.state = a ^ (b * 0x9e3779b97f4a7c15ULL)};

    return rk_random_next(&mix);
}

uint64_t sim_hash(uint64_t seed, struct rk_slice bytes)
{
    uint64_t hash = seed ^ 0xcbf29ce484222325ULL;

    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ bytes.data[i]) * 0x100000001b3ULL;
    return sim_mix(hash, bytes.len);
}

/* ---- disks --------------------------------------------------------------------------- */

static struct sim_disk *find(const char *path)
{
    for (struct sim_disk *disk = registry; disk; disk = disk->next)
        if (strcmp(disk->path, path) == 0)
            return disk;
    return NULL;
}

static void enter(struct sim_disk *disk)
{
    rk_assert(!find(disk->path));
    disk->next = registry;
    registry = disk;
    disk->registered = true;
}

static void leave(struct sim_disk *disk)
{
    struct sim_disk **at = &registry;

    while (*at && *at != disk)
        at = &(*at)->next;
    if (*at)
        *at = disk->next;
    disk->registered = false;
}

struct sim_disk *sim_disk_new(const char *path, const struct sim_disk_watch *watch)
{
    struct sim_disk *disk = RK_NEW(struct sim_disk);

    disk->path = rk_strdup(path);
    if (watch)
        disk->watch = *watch;
    enter(disk);
    return disk;
}

/* Snapshot files are real files, beside everything that is simulated. */
static void remove_files(const struct sim_disk *disk)
{
    char path[4200];

    snprintf(path, sizeof(path), "%s/snapshot.part", disk->path);
    unlink(path);
    snprintf(path, sizeof(path), "%s/snapshot.install", disk->path);
    unlink(path);
}

void sim_disk_free(struct sim_disk *disk)
{
    if (!disk)
        return;
    rk_assert(!disk->dir_open && !disk->log_open && !disk->rows_open);
    leave(disk);
    sim_log_deinit(&disk->log);
    sim_rows_forget_commits(disk);
    free(disk->commits);
    sim_table_deinit(&disk->table);
    free(disk->path);
    free(disk);
}

/* How many of n un-flushed commits are found afterwards: often all or none, otherwise anything between. */
static size_t survivors(size_t n, struct rk_random *random)
{
    switch (rk_random_below(random, 4)) {
    case 0:
        return 0;
    case 1:
        return n;
    default:
        return rk_random_below(random, n + 1);
    }
}

struct sim_disk *sim_disk_crash(struct sim_disk *disk, struct rk_random *random)
{
    struct sim_disk *found = RK_NEW(struct sim_disk);
    size_t keep = survivors(disk->commit_count, random);

    found->path = rk_strdup(disk->path);
    found->watch = disk->watch;
    found->has_identity = disk->has_identity;
    found->identity = disk->identity;
    found->rebuild = disk->rebuild;
    found->set_aside = disk->set_aside;
    found->repair = disk->repair;
    found->rotten = disk->rotten;
    found->repair_vote = disk->repair_vote;
    memcpy(found->why, disk->why, sizeof(found->why));
    sim_log_copy(&found->log, &disk->log);
    sim_table_copy(&found->table, &disk->table);
    sim_table_undo(&found->table, &disk->txn);
    for (size_t i = disk->commit_count; i > keep; i--)
        sim_table_undo(&found->table, &disk->commits[i - 1]);
    leave(disk);
    enter(found);
    return found;
}

static void empty(struct sim_disk *disk)
{
    sim_log_deinit(&disk->log);
    disk->log = (struct sim_log){0};
    sim_rows_forget_commits(disk);
    sim_table_deinit(&disk->table);
    disk->table = (struct sim_table){0};
    disk->has_identity = disk->rebuild = disk->set_aside = disk->repair = disk->rotten = disk->glitch = false;
    remove_files(disk);
}

void sim_disk_wipe(struct sim_disk *disk)
{
    rk_assert(!disk->dir_open);
    empty(disk);
}

void sim_disk_break(struct sim_disk *disk, bool log, bool landed)
{
    disk->log_breaks = disk->log_breaks || log;
    disk->rows_break = disk->rows_break || !log;
    if (log)
        disk->log_lands = landed;
    else
        disk->rows_land = landed;
}

void sim_disk_mend(struct sim_disk *disk)
{
    disk->log_breaks = disk->rows_break = false;
}

const struct store_identity *sim_disk_identity(const struct sim_disk *disk)
{
    return disk->has_identity ? &disk->identity : NULL;
}

uint64_t sim_disk_rows_hash(const struct sim_disk *disk)
{
    return disk->table.hash;
}

uint64_t sim_disk_last(const struct sim_disk *disk, uint32_t group)
{
    return disk->log.groups[group].base.index + disk->log.groups[group].count;
}

struct store_vote sim_disk_vote(const struct sim_disk *disk, uint32_t group)
{
    return disk->log.groups[group].vote;
}

bool sim_disk_rotten(const struct sim_disk *disk)
{
    return disk->rotten;
}

void sim_disk_rotten_end(struct sim_disk *disk)
{
    disk->rotten = disk->glitch;
}

bool sim_disk_rebuilding(const struct sim_disk *disk)
{
    return disk->rebuild;
}

bool sim_disk_glitch(struct sim_disk *disk)
{
    disk->glitch = disk->rotten = true;
    return true;
}

bool sim_disk_abstains(const struct sim_disk *disk)
{
    return disk->repair;
}

bool sim_disk_entry(const struct sim_disk *disk, uint32_t group, uint64_t index, struct store_entry *ret)
{
    const struct sim_log_group *log = &disk->log.groups[group];
    const struct sim_entry *entry;

    if (index <= log->base.index || index > log->base.index + log->count)
        return false;
    entry = &log->entries[index - log->base.index - 1];
    *ret = (struct store_entry){
        .index = index, .term = entry->term, .kind = entry->kind, .payload = rk_blob_slice(entry->payload)};
    return true;
}

/* ---- store.h: the directory ----------------------------------------------------------- */

int store_dir_open(const char *path, struct store_dir **ret, char **ret_error)
{
    struct sim_disk *disk = find(path);

    if (!disk || disk->dir_open) {
        *ret_error = rk_asprintf("%s: %s", path, disk ? "locked" : "no such disk");
        return STORE_E_REFUSED;
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return -errno;
    disk->dir_open = true;
    *ret = RK_NEW(struct store_dir);
    (*ret)->disk = disk;
    return 0;
}

void store_dir_close(struct store_dir *dir)
{
    if (!dir)
        return;
    dir->disk->dir_open = false;
    free(dir);
}

const char *store_dir_path(const struct store_dir *dir)
{
    return dir->disk->path;
}

const struct store_identity *store_dir_identity(const struct store_dir *dir)
{
    return dir->disk->has_identity ? &dir->disk->identity : NULL;
}

int store_dir_set_identity(struct store_dir *dir, const struct store_identity *identity)
{
    sim_disk_point(dir->disk);
    dir->disk->identity = *identity;
    dir->disk->has_identity = true;
    sim_disk_point(dir->disk);
    return 0;
}

/* With its marker file a wipe that has begun is a wipe that will be finished. */
int store_dir_wipe(struct store_dir *dir)
{
    rk_assert(!dir->disk->log_open && !dir->disk->rows_open);
    sim_disk_point(dir->disk);
    empty(dir->disk);
    sim_disk_point(dir->disk);
    return 0;
}

/* ---- store.h: rebuilding ----------------------------------------------------------------- */

int store_rebuild_begin(struct store_dir *dir, const char *why)
{
    sim_disk_point(dir->disk);
    dir->disk->rebuild = true;
    snprintf(dir->disk->why, sizeof(dir->disk->why), "%s", why);
    sim_disk_point(dir->disk);
    return 0;
}

bool store_rebuild_pending(struct store_dir *dir)
{
    return dir->disk->rebuild;
}

void store_rebuild_why(struct store_dir *dir, char *ret, size_t size)
{
    snprintf(ret, size, "%s", dir->disk->rebuild ? dir->disk->why : "");
}

bool store_rebuild_has_begun(struct store_dir *dir)
{
    return dir->disk->set_aside;
}

int store_rebuild_set_aside(struct store_dir *dir)
{
    struct sim_disk *disk = dir->disk;

    rk_assert(!disk->rows_open && disk->rebuild);
    sim_disk_point(disk);
    sim_rows_forget_commits(disk);
    sim_table_deinit(&disk->table);
    disk->table = (struct sim_table){0};
    disk->rotten = disk->glitch = false;
    disk->set_aside = true;
    sim_disk_point(disk);
    return 0;
}

int store_rebuild_end(struct store_dir *dir)
{
    if (dir->disk->rebuild || dir->disk->set_aside)
        sim_disk_point(dir->disk);
    dir->disk->rebuild = dir->disk->set_aside = false;
    return 0;
}

int store_repair_begin(struct store_dir *dir, const struct store_vote *vote)
{
    sim_disk_point(dir->disk);
    dir->disk->repair = true;
    dir->disk->repair_vote = *vote;
    sim_disk_point(dir->disk);
    return 0;
}

int store_repair_read(struct store_dir *dir, struct store_vote *ret)
{
    if (!dir->disk->repair)
        return STORE_E_NOT_FOUND;
    *ret = dir->disk->repair_vote;
    return 0;
}

int store_repair_end(struct store_dir *dir)
{
    if (dir->disk->repair)
        sim_disk_point(dir->disk);
    dir->disk->repair = false;
    return 0;
}

int store_log_set_aside(struct store_dir *dir, uint32_t group, char **ret_error RK_UNUSED)
{
    struct sim_disk *disk = dir->disk;
    struct store_vote vote = disk->log.groups[group].vote;

    rk_assert(!disk->log_open);
    if (store_repair_begin(dir, &vote) != 0)
        return -EIO;
    sim_log_deinit(&disk->log);
    disk->log = (struct sim_log){0};
    return 0;
}

/* ---- store.h: space ---------------------------------------------------------------------- */

int store_space_init(struct store_dir *dir RK_UNUSED, uint64_t reserve_bytes RK_UNUSED,
                     uint64_t low_bytes RK_UNUSED)
{
    return 0;
}

void store_space_poll(void)
{
}

bool store_space_low(void)
{
    return sim_space_is_low;
}

uint64_t store_space_free_bytes(void)
{
    return sim_space_is_low ? 4096 : 1ULL << 40;
}
