/* lib/node/node_load.c - the group that a data directory holds: rows and log become a core that can be
 * stepped.
 *
 * The rows are where it begins, the log says what comes behind them. What does not fit
 * together, or is damaged, is repaired where other members can help (node_repair.c,
 * node_rebuild.c) and refused with a sentence where they cannot. */
#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

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
        .abstain = (node->repair.running && !RK_PLANT(REPAIRING_VOTES)) ||
                   (node->first.running && !RK_PLANT(NEW_HOST_VOTES)),
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
