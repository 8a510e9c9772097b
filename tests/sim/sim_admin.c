/* tests/sim/sim_admin.c - the administrator: members come and go, leadership moves, logs are cut.
 *
 * The administrator knows everything and so never does what would lose data for good: a
 * disk is wiped only while all other voters still have theirs. */
#include <stdio.h>

#include "tests/sim/sim.h"

#define QUIET_US (3 * RK_USEC_PER_SEC)

static const struct store_identity *identity(const struct sim_host *host)
{
    return sim_disk_identity(host->disk);
}

static struct sim_host *host_of(struct sim *sim, uint64_t id)
{
    for (uint32_t i = 0; i < sim->host_count; i++) {
        const struct store_identity *who = identity(&sim->hosts[i]);
        if (who && who->member_id == id && who->cluster_id == sim->cluster_id)
            return &sim->hosts[i];
    }
    return NULL;
}

/* A configuration is somewhere in a log and not committed. */
static bool change_under_way(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->host_count; i++) {
        const struct sim_host *host = &sim->hosts[i];
        struct store_entry entry;

        if (!identity(host) || identity(host)->cluster_id != sim->cluster_id)
            continue;
        for (uint64_t at = sim_check_committed(sim) + 1; sim_disk_entry(host->disk, 0, at, &entry); at++)
            if (entry.kind == RAFT_ENTRY_MEMBERS)
                return true;
        if (sim_in_cluster(host) && node_members_now_index(&host->node->group) > sim_check_committed(sim))
            return true;
    }
    return false;
}

/* Every member still has its disk, and votes: one that waits for all at its first start would wait for ever.
 */
static bool all_there(struct sim *sim)
{
    const struct node_members *members = sim_check_members(sim);

    for (uint32_t i = 0; i < members->count; i++) {
        const struct sim_host *host = host_of(sim, members->member[i].id);

        if (!host || sim_disk_abstains(host->disk))
            return false;
    }
    return true;
}

static bool may_wipe(struct sim *sim)
{
    const struct node_members *members = sim_check_members(sim);
    uint32_t voters = 0;

    for (uint32_t i = 0; i < members->count; i++)
        voters += members->member[i].role == RAFT_VOTER;
    return voters >= 3 && all_there(sim) && !change_under_way(sim);
}

static void wipe(struct sim *sim, struct sim_host *host)
{
    if (!may_wipe(sim))
        return;
    sim_note(sim, "wipe", host->number, 0, 0);
    sim_kill(host, SIM_KILL_CRASH);
    sim_disk_wipe(host->disk);
    if (!host->planned)
        sim_boot_later(host, sim_between(sim, 10000, 2000000));
}

/* Nothing else is changed for a while before, and nobody leaves until the lost one is replaced. */
static bool plans_wipe(struct sim *sim, struct sim_host *host)
{
    if (!(sim->faults & SIM_WIPE))
        return false;
    if (sim->wipe_us == 0 && sim_chance(sim, 15))
        sim->wipe_us = sim->now_us + QUIET_US;
    if (sim->wipe_us != 0 && sim->now_us >= sim->wipe_us) {
        wipe(sim, host);
        sim->wipe_us = 0;
    }
    return sim->wipe_us != 0;
}

/* ---- bringing a host back --------------------------------------------------------------------------- */

/* A host with a cluster of its own asks to be taken in; before that its former self must go. */
static bool help_join(struct sim *sim, struct sim_host *host)
{
    const struct node_member *former = node_members_find_name(sim_check_members(sim), host->name);
    struct sim_host *member = sim_any_member(sim);

    if (!host->node || !member || member == host || (sim_in_cluster(host) && !host->node->identity.removed))
        return false;
    if (former && former->role == RAFT_VOTER && !host_of(sim, former->id)) {
        sim_ask(member, NODE_CALL_MEMBER_REMOVE, host->name, false);
        return true;
    }
    if (sim_in_cluster(host) && former) /* removed, says its disk; not yet, say the members */
        return false;
    sim_ask(host, NODE_CALL_JOIN, member->address, true);
    return true;
}

static void random_change(struct sim *sim, struct sim_host *host)
{
    struct sim_host *member = sim_any_member(sim);
    uint64_t what = sim_below(sim, 100);

    if (!member)
        return;
    if (plans_wipe(sim, host) || !all_there(sim))
        return;
    if (what < 40)
        sim_ask(member, NODE_CALL_MEMBER_REMOVE, host->name, false);
    else if (what < 55 && sim_in_cluster(host))
        sim_ask(host, NODE_CALL_LEAVE, NULL, false);
    else if (what < 65)
        sim_ask(member, NODE_CALL_MEMBER_PROMOTE, host->name, false);
}

void sim_admin_turn(struct sim *sim)
{
    struct sim_host *host = &sim->hosts[sim_below(sim, sim->host_count)];
    struct sim_host *member = sim_any_member(sim);

    if (sim->healing)
        return;
    sim_later(sim, sim_between(sim, 20000, 600000), SIM_EV_ADMIN);
    if (!member)
        return;
    if ((sim->faults & SIM_MEMBERS) && sim_chance(sim, 60)) {
        for (uint32_t i = 0; i < sim->host_count && sim_chance(sim, 70); i++)
            if (help_join(sim, &sim->hosts[i]))
                return;
        random_change(sim, host);
        return;
    }
    if ((sim->faults & SIM_TRANSFER) && sim_chance(sim, 50)) {
        sim_ask(member, NODE_CALL_TRANSFER, sim_chance(sim, 50) ? host->name : NULL, false);
        return;
    }
    if (sim->faults & SIM_SNAPSHOT)
        sim_ask(member, NODE_CALL_SNAPSHOT, NULL, false);
}
