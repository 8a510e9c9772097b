/* lib/node/node_boot.c - from a data directory to a core that can be stepped: open, recover, load.
 *
 * What is found must fit together: the identity with this host, the rows with the log, the log with itself.
 * What does not is refused with a sentence that says what to do; nothing is guessed. */
#include <errno.h>
#include <stdio.h>

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

/* ---- the stores ------------------------------------------------------------------------- */

static void on_progress(void *userdata, unsigned percent)
{
    struct node *node = userdata;

    if (node->config.progress)
        node->config.progress(node->config.userdata, "recovering the log", percent);
}

int node_open_stores(struct node *node, char **ret_error)
{
    struct store_log_config log = {.cache_bytes = node->config.log_cache_bytes};
    int r = store_log_open(node->dir, &log, on_progress, node, &node->log, ret_error);

    if (r == STORE_E_REFUSED && store_dir_identity(node->dir)) {
        r = node_repair_log(node, ret_error);
        if (r == 0)
            r = store_log_open(node->dir, &log, on_progress, node, &node->log, ret_error);
    }

    return r == 0 ? node_open_rows(node, ret_error) : r; /* the log knows whether rows can be replaced */
}

void node_close_stores(struct node *node)
{
    mvcc_free(node->group.mvcc);
    node->group.mvcc = NULL;
    store_log_close(node->log);
    node->log = NULL;
    store_rows_close(node->rows);
    node->rows = NULL;
}

/* ---- the group ----------------------------------------------------------------------------- */

struct boot_scan {
    struct node *node;
    struct raft_entry *entries;
    uint64_t count, cap, applied;
    struct rk_list members; /* of boot_members: what entries point to */
    int error;
};

struct boot_members {
    struct rk_list link;
    struct raft_members core;
};

static void scan_members(struct boot_scan *scan, struct raft_entry *entry, struct rk_slice payload)
{
    struct node_members *members = RK_NEW(struct node_members);
    struct boot_members *kept = RK_NEW(struct boot_members);

    scan->error = node_members_decode(payload, members);
    node_members_to_raft(members, &kept->core);
    entry->members = &kept->core;
    rk_list_push_back(&scan->members, &kept->link);
    if (scan->error == 0 && entry->index > scan->applied)
        node_configs_append(&scan->node->group, entry->index, members);
    free(members);
}

static bool scan_entry(void *userdata, const struct store_entry *stored)
{
    struct boot_scan *scan = userdata;
    struct raft_entry *entry;

    if (scan->count == scan->cap) {
        scan->cap = scan->cap ? scan->cap * 2 : 1024;
        scan->entries = rk_realloc(scan->entries, scan->cap * sizeof(scan->entries[0]));
    }
    entry = &scan->entries[scan->count++];
    *entry = (struct raft_entry){.index = stored->index,
                                 .term = stored->term,
                                 .kind = stored->kind,
                                 .bytes = (uint32_t)stored->payload.len};
    if (entry->kind == RAFT_ENTRY_MEMBERS)
        scan_members(scan, entry, stored->payload);
    if (entry->index > scan->applied &&
        !atomic_load(&scan->node->rebuilding)) { /* not in the rows yet: will be applied from the cache */
        struct rk_blob *payload = stored->payload.len > 0 ? rk_blob_copy(stored->payload) : NULL;

        node_cache_push(&scan->node->group.cache, entry->index, entry->term, entry->kind, payload);
        rk_blob_unref(payload);
    }
    scan->node->group.log_bytes += stored->payload.len;
    scan->node->group.held_bytes += stored->payload.len;
    return scan->error == 0;
}

static void scan_deinit(struct boot_scan *scan)
{
    struct rk_list *it;

    while ((it = rk_list_pop_front(&scan->members)))
        free(RK_LIST_ITEM(it, struct boot_members, link));
    free(scan->entries);
}

struct boot_term {
    uint64_t index, term;
};

static bool take_term(void *userdata, const struct store_entry *entry)
{
    struct boot_term *at = userdata;

    at->term = entry->index == at->index ? entry->term : 0;
    return false;
}

/* Whether the log holds the entry that the rows stand at. A damaged one counts as held: dropping it would
 * drop, without a word, what follows it and was acknowledged; scan_log() refuses it. */
static int log_reaches(struct node *node, const struct mvcc_meta *meta, const struct store_base *base,
                       uint64_t last, bool *ret)
{
    struct boot_term at = {.index = meta->applied_index, .term = base->term};
    int r = 0;

    *ret = false;
    if (meta->applied_index > last)
        return 0;
    if (meta->applied_index > base->index)
        r = store_log_read(node->log, node->group.number, meta->applied_index, take_term, &at);
    *ret = r == STORE_E_CORRUPT || (r == 0 && at.term == meta->applied_term);
    return r > 0 ? 0 : r;
}

/* The rows may be ahead of the log: a crash came while a snapshot was being installed, or this host led and
 * committed, by the others' disks, entries that its own had not flushed. What is applied is committed: the
 * log starts again behind it. */
static int align_log(struct node *node, const struct mvcc_meta *meta, struct store_base *base, uint64_t *last)
{
    bool reaches;
    int r = log_reaches(node, meta, base, *last, &reaches);

    if (r != 0 || reaches)
        return r;
    *base = (struct store_base){.index = meta->applied_index, .term = meta->applied_term};
    *last = base->index;
    r = store_log_begin(node->log);
    if (r == 0)
        r = store_log_reset(node->log, node->group.number, base);
    if (r == 0)
        r = store_log_set_members(node->log, node->group.number, meta->members_index, meta->members);
    return r == 0 ? store_log_commit(node->log) : r;
}

static int first_config(struct node *node, const struct mvcc_meta *meta)
{
    struct node_members *members = RK_NEW(struct node_members);
    int r = meta->members.len > 0 ? node_members_decode(meta->members, members) : 0;

    if (r == 0)
        node_configs_append(&node->group, meta->members_index, members);
    free(members);
    return r;
}

/* Returns STORE_E_CORRUPT when the entry behind the last one seen is damaged. */
static int scan_entries(struct node *node, struct boot_scan *scan, const struct store_base *base,
                        uint64_t last)
{
    int r;

    if (last <= base->index)
        return 0;
    r = store_log_read(node->log, node->group.number, base->index + 1, scan_entry, scan);
    if (r == 0 && scan->error != 0)
        scan->count--; /* its CRC is right, and yet it cannot be read */
    return r == 0 && (scan->error != 0 || base->index + scan->count != last) ? STORE_E_CORRUPT : r;
}

static void scan_again(struct node *node, struct boot_scan *scan)
{
    struct rk_list *it;

    while ((it = rk_list_pop_front(&scan->members)))
        free(RK_LIST_ITEM(it, struct boot_members, link));
    scan->count = 0;
    scan->error = 0;
    node->group.log_bytes = 0;
    node_cache_deinit(&node->group.cache);
    node_configs_clear(&node->group);
}

static bool can_repair(const struct node *node)
{
    return !atomic_load(&node->rebuilding) && node_members_now(&node->group)->count > 1;
}

static int scan_log(struct node *node, struct boot_scan *scan, const struct mvcc_meta *meta,
                    struct store_vote *vote, struct store_base *base, uint64_t *last, char **ret_error)
{
    int r = scan_entries(node, scan, base, *last);

    if (r == STORE_E_CORRUPT && can_repair(node)) {
        r = node_repair_entry(node, base->index + scan->count + 1, meta, vote, base, last);
        scan_again(node, scan);
        if (r == 0)
            r = first_config(node, meta);
        if (r == 0)
            r = node_repair_load(node, vote, ret_error);
        if (r == 0)
            r = scan_entries(node, scan, base, *last);
    }
    if (r == STORE_E_CORRUPT) {
        *ret_error = rk_asprintf(
            "entry %llu of the raft log in %s is damaged: this host cannot be trusted to have what it "
            "acknowledged. Remove it from the cluster on another member, move the data directory "
            "away, and join again",
            (unsigned long long)(base->index + scan->count + 1), store_dir_path(node->dir));
        return STORE_E_REFUSED;
    }
    return r;
}

static int make_core(struct node *node, const struct mvcc_meta *meta, const struct store_vote *vote,
                     const struct store_base *base, const struct boot_scan *scan)
{
    struct raft_config config = {
        .id = node->identity.member_id,
        .election_timeout_us = node->config.election_timeout_ms * RK_USEC_PER_MSEC,
        .heartbeat_us = node->config.heartbeat_ms * RK_USEC_PER_MSEC,
        .append_entries_max = RK_APPEND_ENTRIES_MAX,
        .append_bytes_max = RK_APPEND_BYTES_MAX,
        .inflight_bytes_max = 8 * RK_APPEND_BYTES_MAX,
        .inflight_messages_max = 256,
        .inflight_all_bytes_max = RK_INFLIGHT_ALL_BYTES_MAX,
        .uncommitted_bytes_max = RK_UNCOMMITTED_BYTES_MAX,
        .lease_reads = node->config.lease_reads,
        .abstain = node->repair.running || node->first.running,
        .seed = rk_random_id(),
    };
    struct raft_boot boot = {
        .vote = {.term = vote->term, .voted_for = vote->voted_for},
        .base_index = base->index,
        .base_term = base->term,
        .commit = meta->applied_index,
        .members_index = meta->members_index,
        .entries = scan->entries,
        .count = scan->count,
        .now_us = node_now_us(node),
    };

    /* What is in force as of the rows is the first configuration: later ones come with the entries. */
    node_members_to_raft(&RK_LIST_ITEM(node->group.configs.next, struct node_config_entry, link)->members,
                         &boot.members);
    node->group.raft = raft_new(&config, &boot);
    return node->group.raft ? 0 : -EBADMSG;
}

/* The state that the core begins with: that of the rows, or, while they are being rebuilt, of the log alone.
 */
static int load_meta(struct node *node, struct store_base *base, uint64_t *last, struct rk_buf *members,
                     struct mvcc_meta *ret, char **ret_error)
{
    int r;

    mvcc_meta(node->group.mvcc, ret);
    atomic_store(&node->rebuilding, store_rebuild_pending(node->dir) && ret->applied_index == 0);
    store_rebuild_why(node->dir, node->rebuild.why, sizeof(node->rebuild.why));
    if (!atomic_load(&node->rebuilding)) {
        r = align_log(node, ret, base, last);
        return r == 0 ? store_rebuild_end(node->dir) : r;
    }
    r = node_rebuild_meta(node, base, members, ret);
    if (r != 0 || ret->applied_index <= *last)
        return r;
    *ret_error =
        rk_asprintf("the rows in %s are damaged, and the log, which ends at entry %llu, is too short "
                    "to go on with: remove this host from the cluster on another member, move the data "
                    "directory away, and join again",
                    store_dir_path(node->dir), (unsigned long long)*last);
    return STORE_E_REFUSED;
}

static void note_state(struct node *node, const struct mvcc_meta *meta, uint64_t last)
{
    bool rebuilding = atomic_load(&node->rebuilding);

    node->group.handed = meta->applied_index;
    node->group.applied = rebuilding ? 0 : meta->applied_index;
    node->group.revision = meta->revision;
    node->group.keys = meta->keys;
    node->group.sessions = meta->sessions;
    node_digests_reset(node, meta->applied_index, mvcc_digest(node->group.mvcc));
    if (rebuilding)
        node_cache_reset(&node->group.cache, last + 1);
}

static int load(struct node *node, struct boot_scan *scan, char **ret_error)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf members = {0};
    struct store_vote vote;
    struct store_base base;
    struct mvcc_meta meta;
    uint64_t last;
    int r = store_log_state(node->log, node->group.number, &vote, &base, &last);

    if (r == 0)
        r = load_meta(node, &base, &last, &members, &meta, ret_error);
    if (r == 0)
        r = first_config(node, &meta);
    if (r != 0)
        return r;
    scan->applied = meta.applied_index;
    r = node_repair_load(node, &vote, ret_error);
    if (r == 0)
        r = scan_log(node, scan, &meta, &vote, &base, &last, ret_error);
    if (r == 0)
        r = make_core(node, &meta, &vote, &base, scan);
    note_state(node, &meta, last);
    return r;
}

int node_load_group(struct node *node, char **ret_error)
{
    struct boot_scan scan = {.node = node};
    struct node_group *group = &node->group;
    int r;

    rk_list_init(&scan.members);
    group->role = RAFT_FOLLOWER;
    group->leader = 0;
    group->log_bytes = group->held_bytes = group->cut_target = 0;
    group->log_works = group->flushing = group->persisted_index = 0;
    group->tick_us = 0;
    r = load(node, &scan, ret_error);
    scan_deinit(&scan);
    if (r == 0)
        atomic_store(&node->serving, group->applied > 0); /* else it is in the middle of joining */
    return r;
}

static void refuse_list(struct node *node, struct rk_list *calls)
{
    struct rk_list *it;

    while ((it = rk_list_pop_front(calls)))
        node_answer(node, RK_LIST_ITEM(it, struct node_call, priv.link), NODE_E_UNAVAILABLE,
                    "this host is stopping or changing clusters; ask another member");
}

void node_fail_waiting(struct node *node)
{
    struct rk_heap_item *item;

    refuse_list(node, &node->group.proposals);
    refuse_list(node, &node->group.reads);
    node->group.proposal_count = 0;

    while ((item = rk_heap_peek(&node->timers)))
        node_call_expire(node, RK_CONTAINER_OF(item, struct node_call, priv.timer));
}

void node_unload_group(struct node *node)
{
    struct node_group *group = &node->group;
    struct rk_map_slot *slot;
    struct rk_list *it;
    size_t cursor = 0;

    atomic_store(&node->serving, false);
    atomic_store(&node->leader_now, 0);
    node_fail_waiting(node);
    while ((it = rk_list_pop_front(&group->batches)))
        free(RK_LIST_ITEM(it, struct node_read_batch, link));
    while ((slot = rk_map_next(&group->catching_up, &cursor))) {
        node_feed_drop(node, slot->key);
        free(slot->value);
    }
    rk_map_deinit(&group->catching_up);
    rk_map_deinit(&group->streaming);
    rk_map_deinit(&group->waiting);
    node_cache_deinit(&group->cache);
    node_configs_clear(group);
    node_lookup_forget(node);
    raft_free(group->raft);
    group->raft = NULL;
}

void node_fail_with(struct node *node, const char *sentence)
{
    if (!atomic_exchange(&node->failed, true) && node->config.fatal)
        node->config.fatal(node->config.userdata, sentence);
}

void node_fail(struct node *node, const char *part, int error)
{
    RK_CLEANUP(rk_freep)
    char *sentence = rk_asprintf(
        "%s in %s failed (%s): this host stops, since nobody knows what has reached the disk. Check the "
        "disk, then start it again; the other members have its data",
        part, store_dir_path(node->dir), strerror(error < 0 ? -error : error));

    node_fail_with(node, sentence);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int check_identity(struct node *node, char **ret_error)
{
    const struct node_config *config = &node->config;
    const struct store_identity *identity = &node->identity;

    if (strcmp(identity->name, config->name) != 0) {
        *ret_error = rk_asprintf(
            "%s belongs to the member %s, and this host is called %s: set name = \"%s\" in raftkv.conf, "
            "or give this host a data directory of its own",
            store_dir_path(node->dir), identity->name, config->name, identity->name);
        return STORE_E_REFUSED;
    }
    if (!config->adopt_machine && identity->machine[0] && config->machine[0] &&
        strcmp(identity->machine, config->machine) != 0) {
        *ret_error = rk_asprintf(
            "%s was made on another machine: two hosts that run from copies of one data directory break the "
            "cluster. If the disk was moved here and the old host is gone for good, start raftkvd once "
            "with --adopt-data; otherwise move the directory away and join as a new member",
            store_dir_path(node->dir));
        return STORE_E_REFUSED;
    }
    return 0;
}

static int open_all(struct node *node, char **ret_error)
{
    const struct store_identity *found = store_dir_identity(node->dir);
    bool pristine = !found;
    int r = 0;

    if (found) {
        node->identity = *found;
        r = check_identity(node, ret_error);
    } else {
        r = store_dir_wipe(node->dir); /* what a first start that was interrupted left behind */
        snprintf(node->identity.name, sizeof(node->identity.name), "%s", node->config.name);
    }
    if (r == 0)
        r = store_space_init(node->dir, node->config.reserve_bytes, node->config.low_space_bytes);
    if (r == 0)
        r = node_open_stores(node, ret_error);
    if (r == 0 && pristine)
        r = node_bootstrap(node);
    if (r != 0)
        return r;
    node->identity.incarnation++;
    if (node->config.machine[0])
        snprintf(node->identity.machine, sizeof(node->identity.machine), "%s", node->config.machine);
    return store_dir_set_identity(node->dir, &node->identity);
}

static void init_node(struct node *node, const struct node_config *config)
{
    node->config = *config;
    pthread_mutex_init(&node->summary_mutex, NULL);
    pthread_mutex_init(&node->digests.mutex, NULL);
    node->scrub_us = node_now_us(node);
    rk_list_init(&node->out);
    rk_list_init(&node->group.configs);
    rk_list_init(&node->group.proposals);
    rk_list_init(&node->group.reads);
    rk_list_init(&node->group.batches);
    rk_list_init(&node->sources);
    node->raft_beat.name = "raft";
    node->log_beat.name = "log";
    node->apply_beat.name = "apply";
    node->checkpoint_beat.name = "checkpoint";
    node->beats[0] = &node->raft_beat;
    node->beats[1] = &node->log_beat;
    node->beats[2] = &node->apply_beat;
    node->beats[3] = &node->checkpoint_beat;
    node->raft_stop.kind = node->log_stop.kind = node->apply_stop.kind = NODE_MAIL_STOP;
    node->started_us = node_now_us(node);
    /* An answer that was on its way when this host went down must find nobody when it is up again. */
    node->next_id = RK_PLANT(CALL_IDS_REPEAT) ? 0 : rk_random_id();
    node->first.life = rk_random_id();
}

static int init_boxes(struct node *node)
{
    int r = rk_mailbox_init(&node->raft_box, RK_MAILBOX_MAX);

    if (r == 0)
        r = rk_mailbox_init(&node->log_box, RK_MAILBOX_MAX);
    if (r == 0)
        r = rk_mailbox_init(&node->apply_box, RK_MAILBOX_MAX);
    node->boxes_ready = r == 0;
    return r;
}

int node_open(const struct node_config *config, struct node **ret, char **ret_error)
{
    struct node *node = RK_NEW(struct node);
    int r;

    *ret_error = NULL;
    init_node(node, config);
    r = init_boxes(node);
    if (r == 0)
        r = store_dir_open(config->data_directory, &node->dir, ret_error);
    if (r == 0)
        r = open_all(node, ret_error);
    if (r == 0)
        r = node_load_group(node, ret_error);
    if (r != 0) {
        if (!*ret_error)
            *ret_error =
                rk_asprintf("cannot open %s: %s%s", config->data_directory, strerror(r < 0 ? -r : EIO),
                            r == -ENOSPC ? "; free some space there and start again" : "");
        node_close(node);
        return r;
    }
    atomic_store(&node->member_id, node->identity.member_id);
    atomic_store(&node->incarnation, node->identity.incarnation);
    node_refresh_summary(node);
    *ret = node;
    return 0;
}
