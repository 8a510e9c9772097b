/* tests/sim/sim_admin.c - the administrator: members come and go, leadership moves, logs are cut.
 *
 * The administrator knows everything and so never does what would lose data for good: a
 * disk is wiped only while all other voters still have theirs. */
#include <stdio.h>

#include "lib/base/rk_wire.h"
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

        if (!host || sim_disk_abstains(host->disk) || sim_disk_rotten(host->disk) ||
            sim_disk_rebuilding(host->disk) || sim->now_us < host->rot_until)
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
    return voters >= 3 && all_there(sim) && !change_under_way(sim) && !node_members_has_plan(members);
}

/* And everybody has applied what others may have cut from their logs already. */
bool sim_admin_all_well(struct sim *sim)
{
    const struct node_members *members = sim_check_members(sim);
    uint64_t least = UINT64_MAX, most = 0;

    if (!may_wipe(sim) || sim->wipe_us != 0)
        return false;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct sim_host *host = host_of(sim, members->member[i].id);

        if (!host || !sim_in_cluster(host) || host->broken || host->found || host->node->identity.removed ||
            mvcc_install_pending(host->node->group.mvcc))
            return false;
        least = rk_min_u64(least, host->node->group.applied);
        most = rk_max_u64(most, sim_disk_last(host->disk, 0));
    }
    return least != UINT64_MAX && least > 1 && most - least < 200;
}

static void wipe(struct sim *sim, struct sim_host *host)
{
    if (!may_wipe(sim))
        return;
    sim_note(sim, "wipe", host->number, 0, 0);
    sim_kill(host, SIM_KILL_CRASH);
    sim_disk_wipe(host->disk);
    sim->disks_lost = true;
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

static void join(struct sim *sim, struct sim_host *host, const struct sim_host *member)
{
    struct node_call *call = sim_new_call(sim, NODE_CALL_JOIN);

    call->body = rk_blob_copy(rk_slice_str(member->address));
    call->discard = true;
    call->learner = sim_chance(sim, sim->tune.learners);
    sim_ask_call(host, call);
}

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
    join(sim, host, member);
    return true;
}

static void set_priority(struct sim *sim, struct sim_host *member, const struct sim_host *host)
{
    struct node_call *call = sim_new_call(sim, NODE_CALL_MEMBER_PRIORITY);
    struct rk_buf body = {0};

    rk_put_u8(&body, (uint8_t)sim_between(sim, 0, 100));
    rk_buf_append_slice(&body, rk_slice_str(host->name));
    call->body = rk_blob_copy(rk_buf_slice(&body));
    rk_buf_deinit(&body);
    sim_ask_call(member, call);
}

/* One or two voters by as many learners; the product refuses what makes no sense. */
static void replace(struct sim *sim, struct sim_host *member)
{
    const struct node_members *members = sim_check_members(sim);
    struct node_call *call = sim_new_call(sim, NODE_CALL_MEMBER_REPLACE);
    uint64_t first = sim_below(sim, rk_max_u64(members->count, 1));
    struct rk_slice pairs[2][2];
    uint32_t learners = 0, voters = 0, want = sim_chance(sim, 60) ? 1 : 2;

    for (uint32_t i = 0; i < members->count; i++) {
        const struct node_member *m = &members->member[(first + i) % members->count];

        if (m->role == RAFT_LEARNER && learners < want)
            pairs[learners++][1] = rk_slice_str(m->name);
        else if (m->role == RAFT_VOTER && voters < want)
            pairs[voters++][0] = rk_slice_str(m->name);
    }
    call->body =
        node_replace_encode((const struct rk_slice(*)[2])pairs, (uint32_t)rk_min_u64(learners, voters));
    sim_ask_call(member, call);
}

/* The change is on its way, or in the leader's log: whoever comes after it may know nothing of it. */
static void corner(struct sim *sim)
{
    struct sim_host *leader = sim_leader(sim);

    if (leader && sim_chance(sim, sim->tune.corner))
        sim_nemesis_isolate(sim, leader);
}

/* Each run has acts that it likes. */
static uint32_t pick_act(struct sim *sim)
{
    uint64_t total = 0, at;
    uint32_t act = 0;

    for (uint32_t i = 0; i < SIM_ACTS; i++)
        total += sim->tune.acts[i];
    at = sim_below(sim, total);
    while (at >= sim->tune.acts[act])
        at -= sim->tune.acts[act++];
    return act;
}

static void random_change(struct sim *sim, struct sim_host *host)
{
    struct sim_host *member = sim_any_member(sim);
    if (!member || plans_wipe(sim, host) || !all_there(sim))
        return;
    switch (pick_act(sim)) {
    case 0:
        sim_ask(member, NODE_CALL_MEMBER_REMOVE, host->name, false);
        break;
    case 1:
        if (sim_in_cluster(host))
            sim_ask(host, NODE_CALL_LEAVE, NULL, false);
        break;
    case 2:
        sim_ask(member, NODE_CALL_MEMBER_PROMOTE, host->name, false);
        break;
    case 3:
        sim_ask(member, NODE_CALL_MEMBER_DEMOTE, host->name, false);
        break;
    case 4:
        set_priority(sim, member, host);
        break;
    case 5:
        replace(sim, member);
        break;
    case 6:
        sim_ask(member, NODE_CALL_MEMBER_ABORT, NULL, false);
        break;
    default:
        break;
    }
    corner(sim);
}

static void change_members(struct sim *sim)
{
    uint64_t acts = sim_between(sim, 1, sim->tune.admin_acts);

    for (uint32_t i = 0; i < sim->host_count && sim_chance(sim, 70); i++)
        if (acts > 0 && help_join(sim, &sim->hosts[i]))
            acts--;
    for (; acts > 0; acts--)
        random_change(sim, &sim->hosts[sim_below(sim, sim->host_count)]);
}

void sim_admin_turn(struct sim *sim)
{
    struct sim_host *host = &sim->hosts[sim_below(sim, sim->host_count)];
    struct sim_host *member = sim_any_member(sim);

    if (sim->healing)
        return;
    sim_later(sim, sim_between(sim, 10000, sim->tune.admin_us), SIM_EV_ADMIN);
    if (!member)
        return;
    if ((sim->faults & SIM_MEMBERS) && sim_chance(sim, 60)) {
        change_members(sim);
        return;
    }
    if ((sim->faults & SIM_TRANSFER) && sim_chance(sim, 50)) {
        sim_ask(member, NODE_CALL_TRANSFER, sim_chance(sim, 50) ? host->name : NULL, false);
        return;
    }
    if (sim->faults & SIM_SNAPSHOT)
        sim_ask(member, NODE_CALL_SNAPSHOT, NULL, false);
}
