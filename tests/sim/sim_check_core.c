/* tests/sim/sim_check_core.c - what a core says of itself, held against its node, the disks and the rules of
 * Raft: leaders, configurations, what is flushed, and who has what was committed. */
#include <inttypes.h>

#include "tests/sim/sim.h"

static void check_leader(struct sim_host *host, const struct raft_status *status)
{
    struct sim *sim = host->sim;
    uint64_t *known = rk_map_get(&sim->check->leaders, status->term);

    if (status->role != RAFT_LEADER)
        return;
    if (!known) {
        known = RK_NEW(uint64_t);
        *known = status->id;
        rk_map_put(&sim->check->leaders, status->term, known);
    }
    if (*known != status->id)
        sim_fail(sim, "two leaders of term %" PRIu64 ": %" PRIx64 " and %s (%" PRIx64 ")", status->term,
                 *known, host->name, status->id);
}

/* In force is the last configuration of the log, for the core and for the node alike. */
static void check_config(struct sim_host *host, const struct raft_status *status)
{
    struct sim *sim = host->sim;
    const struct node_group *group = &host->node->group;
    uint64_t index = node_members_now_index(group), last = 0;
    struct raft_members core;

    node_members_to_raft(node_members_now(group), &core);
    if (!raft_members_equal(&core, raft_members(group->raft)))
        sim_fail(sim, "the core of %s has another configuration in force than its node", host->name);
    for (uint64_t i = status->last_index; i > status->commit && last == 0; i--) {
        const struct node_cache_entry *cached = node_cache_get(&group->cache, i);

        if (!cached) /* while the rows are rebuilt nothing is kept in memory */
            return;
        if (cached->kind == RAFT_ENTRY_MEMBERS)
            last = i;
    }
    if (last != 0 ? index != last : index > status->commit)
        sim_fail(sim, "%s has the configuration of entry %" PRIu64 " in force, its log says %" PRIu64,
                 host->name, index, last);
}

/* What the core takes for flushed is on the disk, and is what the core believes that it is. */
static void check_persisted(struct sim_host *host, const struct raft_status *status)
{
    struct sim *sim = host->sim;
    struct store_entry entry;

    if (status->persisted <= status->base_index)
        return;
    if (sim_disk_last(host->disk, 0) < status->persisted)
        sim_fail(sim, "%s counts on entry %" PRIu64 " on its disk, which ends at %" PRIu64, host->name,
                 status->persisted, sim_disk_last(host->disk, 0));
    if (sim_disk_entry(host->disk, 0, status->persisted, &entry) &&
        entry.term != raft_term_at(host->node->group.raft, status->persisted))
        sim_fail(sim, "%s counts on entry %" PRIu64 ", but its disk has the one of term %" PRIu64, host->name,
                 status->persisted, entry.term);
}

/* One change at a time, and none before the leader's term has committed something (thesis 4.1, and its
 * correction on raft-dev in 2015); what is taken back follows what it takes back. */
static void check_changes(struct sim_host *host, const struct raft_status *status)
{
    const struct node_group *group = &host->node->group;
    struct node_members *members = RK_NEW(struct node_members);
    struct raft_members core;
    uint32_t open = 0;

    for (uint64_t i = status->commit + 1; i <= status->last_index && status->role == RAFT_LEADER; i++) {
        const struct node_cache_entry *cached = node_cache_get(&group->cache, i);

        if (!cached || cached->kind != RAFT_ENTRY_MEMBERS || cached->term != status->term)
            continue;
        if (++open > 1 || !status->ready)
            sim_fail(host->sim, "%s changes members at entry %" PRIu64 " %s", host->name, i,
                     open > 1 ? "before the change before is committed"
                              : "before its term has committed anything");
        if (node_members_decode(rk_blob_slice(cached->payload), members) == 0) {
            node_members_to_raft(members, &core);
            open -= raft_members_joint(&core);
        }
    }
    free(members);
}

/* ---- majorities ----------------------------------------------------------------------------------- */

static bool has_entry(struct sim *sim, uint64_t id, uint64_t index, uint64_t term)
{
    struct store_entry entry;

    for (uint32_t i = 0; i < sim->host_count; i++) {
        const struct sim_host *host = &sim->hosts[i];
        const struct store_identity *who = sim_disk_identity(host->disk);

        if (!who || who->member_id != id || who->cluster_id != sim->cluster_id)
            continue;
        if (sim_disk_entry(host->disk, 0, index, &entry))
            return entry.term == term;
        return host->rows_durable >= index || sim_disk_last(host->disk, 0) >= index;
    }
    return false;
}

static bool on_majorities(struct sim *sim, const struct raft_members *members, uint64_t index, uint64_t term)
{
    uint32_t in = 0, has_in = 0, out = 0, has_out = 0;

    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->member[i];
        bool has = has_entry(sim, member->id, index, term);

        in += member->role == RAFT_VOTER;
        has_in += member->role == RAFT_VOTER && has;
        out += member->outgoing;
        has_out += member->outgoing && has;
    }
    return has_in > in / 2 && (out == 0 || has_out > out / 2);
}

/* What a leader commits by counting is on the disks of those majorities that its configuration asks for: the
 * one in force when its turn began or the one when it ended, between which a joint one was committed. */
static void check_majority(struct sim_host *host, const struct raft_status *status)
{
    const struct node_group *group = &host->node->group;
    const struct node_config_entry *then = NULL;
    struct raft_members core;
    uint64_t term = raft_term_at(group->raft, status->commit);

    if (status->role != RAFT_LEADER || status->commit <= host->commit_seen || host->last_seen == 0 ||
        term != status->term || host->sim->disks_lost)
        return;
    for (struct rk_list *it = group->configs.next; it != &group->configs; it = it->next) {
        const struct node_config_entry *config = RK_LIST_ITEM(it, struct node_config_entry, link);

        if (config->index <= host->last_seen)
            then = config;
    }
    if (!then)
        return;
    node_members_to_raft(&then->members, &core);
    if (on_majorities(host->sim, &core, status->commit, term))
        return;
    bool ended = !raft_members_joint(&core) || /* it ends when it is committed itself */
                 (then->index <= status->commit &&
                  on_majorities(host->sim, &core, then->index, raft_term_at(group->raft, then->index)));
    if (ended && on_majorities(host->sim, raft_members(group->raft), status->commit, term))
        return;
    sim_fail(host->sim, "%s takes entry %" PRIu64 " for committed, which is not on the disks of a majority",
             host->name, status->commit);
}

void sim_check_core(struct sim_host *host, const struct raft_status *status)
{
    check_leader(host, status);
    check_config(host, status);
    check_changes(host, status);
    if (!host->sim->options.no_wire_checks) {
        check_persisted(host, status);
        check_majority(host, status);
    }
    host->last_seen = status->last_index;
}
