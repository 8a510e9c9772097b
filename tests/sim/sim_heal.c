/* tests/sim/sim_heal.c - the faults end: now the cluster must make progress, and all members become equal.
 *
 * Every host is up and every message arrives. Within SETTLE_US each living member must have
 * carried out an operation that was asked of it after the healing, and hold, with an empty
 * gap between log, commit and rows, the same rows as the model. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/sim.h"

/* Clocks may run at half the speed, and a member that has missed all others' replacement asks around only
 * after ten election timeouts, several times. */
#define SETTLE_US (40 * RK_USEC_PER_SEC)
#define LOOK_US   100000u

void sim_heal(struct sim *sim)
{
    sim->healing = true;
    sim->heal_us = sim->now_us;
    sim->tune.loss_ppm = sim->tune.duplicate_ppm = sim->tune.reorder_ppm = 0;
    for (uint32_t i = 0; i < sim->host_count; i++) {
        struct sim_host *host = &sim->hosts[i];

        host->crash_in = 0;
        sim_disk_mend(host->disk);
        host->slow_until = 0;
        host->low_space = false;
        if (host->paused_until > sim->now_us)
            sim_wake(host);
        for (uint32_t j = 0; j < sim->host_count; j++)
            host->links[j].cut = false;
        if (host->node && sim_disk_rotten(host->disk) && !host->broken && !host->found)
            sim_kill(host, SIM_KILL_STOP); /* rows are read through after a start */
        if (!host->node && !host->planned)
            sim_boot_later(host, sim_between(sim, 1, 100000));
    }
    sim_note(sim, "heal", 0, 0, 0);
    sim_later(sim, LOOK_US, SIM_EV_SETTLED);
}

static bool is_member(const struct sim_host *host)
{
    return sim_in_cluster(host) && !host->broken &&
           node_members_find(sim_check_members(host->sim), host->node->identity.member_id);
}

static bool is_settled(struct sim_host *host)
{
    struct sim *sim = host->sim;
    struct raft_status status;

    if (!is_member(host) || !(sim->probed >> host->number & 1))
        return false;
    raft_status(host->node->group.raft, &status);
    return status.leader != 0 && status.last_index == sim_check_committed(sim) &&
           status.commit == status.last_index && host->node->group.applied == status.commit &&
           sim_check_state_is(sim, status.commit, sim_disk_rows_hash(host->disk));
}

static void describe(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->host_count; i++) {
        struct sim_host *host = &sim->hosts[i];
        struct raft_status status = {0};

        if (!host->node) {
            printf("  %s is down\n", host->name);
            continue;
        }
        raft_status(host->node->group.raft, &status);
        printf("  %s id %016" PRIx64 "%s%s %s term %" PRIu64 " leader %016" PRIx64 " log %" PRIu64
               "..%" PRIu64 " commit %" PRIu64 " applied %" PRIu64 " members %u at %" PRIu64
               " join %s (%s)%s\n",
               host->name, status.id, sim_in_cluster(host) ? "" : " ELSEWHERE",
               host->node->identity.removed ? " REMOVED" : "", raft_role_name(status.role), status.term,
               status.leader, status.base_index, status.last_index, status.commit, host->node->group.applied,
               node_members_now(&host->node->group)->count, node_members_now_index(&host->node->group),
               node_join_state_name(host->node->join.state), host->node->join.text,
               sim->probed >> i & 1 ? "" : " not probed");
    }
    printf("  committed %" PRIu64 ", members", sim_check_committed(sim));
    for (uint32_t i = 0; i < sim_check_members(sim)->count; i++)
        printf(" %s=%016" PRIx64 "%s", sim_check_members(sim)->member[i].name,
               sim_check_members(sim)->member[i].id,
               sim_check_members(sim)->member[i].role == RAFT_VOTER ? "" : "(learner)");
    printf("\n");
}

/* All is well; then one host's disk deceives it. Somebody must notice, and all must become equal again. */
static bool deceive(struct sim *sim)
{
    struct sim_host *host = &sim->hosts[sim_below(sim, sim->host_count)];

    if (sim->rot_tried || !(sim->faults & SIM_ROT) || !sim_admin_all_well(sim) || !is_member(host))
        return false;
    sim->rot_tried = true;
    if (sim_chance(sim, 50)) {
        if (host->node->group.role != RAFT_FOLLOWER) /* or the wrong rows could be streamed to others first */
            return false;
        (void)sim_disk_glitch(host->disk);
        sim->disks_lost = true;
        sim_note(sim, "glitch", host->number, 0, 0);
    } else {
        if (!sim_nemesis_rot(sim, host))
            return false;
        sim_kill(host, SIM_KILL_STOP);
        sim_boot_later(host, sim_between(sim, 1, 300000));
    }
    sim->heal_us = sim->now_us;
    sim->probed = 0;
    return true;
}

void sim_settled(struct sim *sim)
{
    bool settled = true;
    uint32_t members = 0;

    for (uint32_t i = 0; i < sim->host_count; i++) {
        struct sim_host *host = &sim->hosts[i];

        if (!host->node) {
            settled = false;
            continue;
        }
        if (!is_member(host))
            continue;
        members++;
        settled = is_settled(host) && settled;
        if (!(sim->probed >> i & 1))
            sim_client_probe(sim, host);
    }
    if (settled && members > 0 && !deceive(sim)) {
        sim->done = true;
    } else if (sim->now_us > sim->heal_us + SETTLE_US) {
        describe(sim);
        sim_fail(sim, "the cluster has not settled %" PRIu64 " us after the end of all faults",
                 sim->now_us - sim->heal_us);
    } else {
        sim_later(sim, LOOK_US, SIM_EV_SETTLED);
    }
}
