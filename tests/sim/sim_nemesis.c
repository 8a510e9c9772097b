/* tests/sim/sim_nemesis.c - faults: when they come, and when they go. */
#include <stdio.h>

#include "tests/sim/sim.h"

static const char *const names[] = {
    "crash",      "stop",  "pause",   "loss", "duplicate", "reorder",  "partition", "one-way", "slow-disk",
    "disk-error", "space", "members", "wipe", "transfer",  "snapshot", "drift",     "rot"};

const char *sim_fault_name(uint32_t bit)
{
    return bit < RK_ARRAY_LEN(names) ? names[bit] : NULL;
}

enum undo { UNDO_CUTS = 1, UNDO_SPACE, DO_ISOLATE, DO_CRASH, DO_RESTART, DO_BOUNCE };

static struct sim_event *undo_later(struct sim *sim, enum undo what, uint32_t host, uint64_t us)
{
    struct sim_event *event = sim_later(sim, us, SIM_EV_UNDO);

    event->arg = what;
    event->host = host;
    return event;
}

/* ---- cuts ---------------------------------------------------------------------------------------- */

static void mend(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->host_count; i++)
        for (uint32_t j = 0; j < sim->host_count; j++)
            sim->hosts[i].links[j].cut = false;
}

/* Two sides; sometimes one host is on both. */
static void partition(struct sim *sim, uint64_t side)
{
    uint32_t bridge = sim_chance(sim, 30) ? (uint32_t)sim_below(sim, sim->host_count) : SIM_HOSTS_MAX;

    for (uint32_t i = 0; i < sim->host_count; i++)
        for (uint32_t j = 0; j < sim->host_count; j++)
            sim->hosts[i].links[j].cut = (side >> i & 1) != (side >> j & 1) && i != bridge && j != bridge;
}

/* Each direction between two hosts for itself. */
static void one_way(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->host_count; i++)
        for (uint32_t j = 0; j < sim->host_count; j++)
            sim->hosts[i].links[j].cut = i != j && sim_chance(sim, 25);
}

static void isolate_for(struct sim *sim, uint32_t host, uint64_t us)
{
    partition(sim, 1u << host);
    sim->cut_until = sim->now_us + us;
    undo_later(sim, UNDO_CUTS, 0, us)->life = ++sim->cuts;
}

/* ---- hosts ------------------------------------------------------------------------------------------ */

static void crash(struct sim *sim, struct sim_host *host)
{
    if (sim_chance(sim, 60)) { /* in the middle of something */
        host->crash_in = (uint32_t)sim_between(sim, 1, 12);
        return;
    }
    if (!host->node)
        return;
    sim_kill(host, SIM_KILL_CRASH);
    sim_boot_later(host, sim_chance(sim, 50) ? sim_between(sim, 1, 50000) : sim_between(sim, 1, 3000000));
}

/* All at once, as when the power fails. */
static void blackout(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->host_count; i++)
        if (sim->hosts[i].node) {
            sim_kill(&sim->hosts[i], SIM_KILL_CRASH);
            sim_boot_later(&sim->hosts[i], sim_between(sim, 1, 1000000));
        }
}

struct sim_host *sim_leader(struct sim *sim)
{
    uint32_t first = (uint32_t)sim_below(sim, sim->host_count);

    for (uint32_t i = 0; i < sim->host_count; i++) {
        struct sim_host *host = &sim->hosts[(first + i) % sim->host_count];
        if (sim_in_cluster(host) && host->node->group.role == RAFT_LEADER)
            return host;
    }
    return NULL;
}

static void pause_host(struct sim *sim, struct sim_host *host)
{
    uint64_t us = sim_between(sim, 1000, sim_chance(sim, 50) ? 100000 : 2500000);
    struct sim_host *leader = sim_chance(sim, 50) ? sim_leader(sim) : NULL;

    if (leader) { /* whoever wakes up believes to lead, and may not be told better at once */
        host = leader;
        us = sim_between(sim, 1, 3 * sim->tune.election_ms * RK_USEC_PER_MSEC);
        if ((sim->faults & SIM_PARTITION) && sim_chance(sim, 60))
            isolate_for(sim, host->number, us + sim_below(sim, us));
    }
    host->paused_until = rk_max_u64(host->paused_until, sim->now_us + us);
    host->resumed_us = host->paused_until;
}

/* Often around a leader: it must find out that it leads nobody, and read nothing meanwhile. */
static uint64_t pick_side(struct sim *sim)
{
    const struct sim_host *host = sim_leader(sim);

    return host && sim_chance(sim, 60) ? 1u << host->number : sim_below(sim, 1u << sim->host_count);
}

/* Whoever takes over needs nobody's patience to run out; who led before may not hear of it for a while. */
static void transfer(struct sim *sim)
{
    struct sim_host *host = sim_leader(sim);

    if (!host)
        return;
    sim_ask(host, NODE_CALL_TRANSFER, NULL, false);
    if (sim_chance(sim, 60))
        sim_nemesis_isolate(sim, host);
}

static void cut(struct sim *sim, uint64_t us, bool single_directions)
{
    if (sim->now_us < sim->cut_until && sim_chance(sim, 70))
        return;
    if (single_directions)
        one_way(sim);
    else
        partition(sim, pick_side(sim));
    sim->cut_until = sim->now_us + us;
    undo_later(sim, UNDO_CUTS, 0, us)->life = ++sim->cuts;
    for (uint32_t i = 0; i < sim->host_count && (sim->faults & SIM_CRASH) && sim_chance(sim, 50); i++)
        undo_later(sim, DO_BOUNCE, (uint32_t)sim_below(sim, sim->host_count), sim_below(sim, us));
}

void sim_nemesis_isolate(struct sim *sim, struct sim_host *host)
{
    uint64_t trip_us = sim->tune.delay_us + sim->tune.jitter_us;

    if (sim->faults & SIM_PARTITION)
        undo_later(sim, DO_ISOLATE, host->number, sim_below(sim, 3 * trip_us + 1000));
}

static void isolate(struct sim *sim, uint32_t host)
{
    isolate_for(sim, host, sim_between(sim, 10000, 1000000));
}

bool sim_nemesis_rot(struct sim *sim, struct sim_host *host)
{
    bool log = sim_chance(sim, 50), done;

    if (!sim_admin_all_well(sim) || !sim_in_cluster(host))
        return false;
    done = log ? sim_disk_rot_entry(host->disk, &sim->random) : sim_disk_rot_row(host->disk, &sim->random);
    if (!done)
        return false;
    sim->disks_lost = true;
    sim->rotten_until = sim->now_us;
    host->rot_until = sim->now_us + 3 * RK_USEC_PER_SEC;
    sim_note(sim, log ? "rot log" : "rot rows", host->number, 0, 0);
    return true;
}

/* It is found at a start at the latest. */
static void rot(struct sim *sim, struct sim_host *host)
{
    if (!sim_nemesis_rot(sim, host))
        return;
    if ((sim->faults & SIM_CRASH) && sim_chance(sim, 50)) /* as when the power fails */
        blackout(sim);
    else
        undo_later(sim, DO_RESTART, host->number, sim_between(sim, 1, sim_chance(sim, 50) ? 50000 : 2000000));
}

static void restart(struct sim *sim, struct sim_host *host)
{
    if (!host->node || host->broken || host->found)
        return;
    sim_kill(host, sim_chance(sim, 50) ? SIM_KILL_STOP : SIM_KILL_CRASH);
    sim_boot_later(host, sim_between(sim, 1, 300000));
}

/* Away for so short that hardly anybody notices; but it has forgotten what it did not write down. */
static void bounce(struct sim *sim, struct sim_host *host)
{
    if (!host->node || host->broken || host->found)
        return;
    sim_kill(host, SIM_KILL_CRASH);
    sim_boot_later(host, sim_between(sim, 1, 10000));
}

static void hit(struct sim *sim, uint32_t bit, struct sim_host *host)
{
    uint64_t us = sim_chance(sim, 50) ? sim_between(sim, 1000, 300000) : sim_between(sim, 100000, 3000000);

    switch (1u << bit) {
    case SIM_CRASH:
        if (sim_chance(sim, 5))
            blackout(sim);
        else
            crash(sim, host);
        break;
    case SIM_STOP:
        if (host->node && !host->broken && host->crash_in == 0) {
            sim_kill(host, SIM_KILL_STOP);
            sim_boot_later(host, us);
        }
        break;
    case SIM_PAUSE:
        pause_host(sim, host);
        break;
    case SIM_PARTITION:
        cut(sim, us, false);
        break;
    case SIM_ONE_WAY:
        cut(sim, us, true);
        break;
    case SIM_SLOW_DISK:
        host->slow_until = sim->now_us + us;
        if ((sim->faults & SIM_CRASH) && sim_chance(sim, 30)) /* with much of it still to be written */
            undo_later(sim, DO_CRASH, host->number, sim_below(sim, us));
        break;
    case SIM_DISK_ERROR:
        if (host->node && sim_chance(sim, 40))
            sim_disk_break(host->disk, sim_chance(sim, 70), sim_chance(sim, 50));
        break;
    case SIM_TRANSFER:
        transfer(sim);
        break;
    case SIM_ROT:
        rot(sim, host);
        return;
    case SIM_SPACE:
        host->low_space = true;
        undo_later(sim, UNDO_SPACE, host->number, us);
        break;
    default: /* the network's, the clock's and the administrator's go on all the time */
        return;
    }
    sim_note(sim, names[bit], host->number, us, 0);
}

static uint64_t weight(const struct sim *sim, uint32_t bit)
{
    return sim->faults & 1 << bit ? sim->tune.weights[bit] : 1;
}

/* Each run has faults that it likes. */
static uint32_t pick_fault(struct sim *sim)
{
    uint64_t total = 0, at;
    uint32_t bit = 0;

    for (uint32_t i = 0; i < RK_ARRAY_LEN(names); i++)
        total += weight(sim, i);
    at = sim_below(sim, total);
    while (at >= weight(sim, bit))
        at -= weight(sim, bit++);
    return bit;
}

/* ---- coming and going ---------------------------------------------------------------------------------- */

void sim_nemesis_start(struct sim *sim)
{
    /* Mostly the cluster comes up in peace: otherwise many a run would see nothing but its beginning. */
    uint64_t calm_us = sim_chance(sim, 80) ? sim_between(sim, 300000, 1500000) : 1;

    sim_later(sim, sim_between(sim, calm_us, calm_us + sim->tune.nemesis_us), SIM_EV_NEMESIS);
    if (sim->faults & (SIM_MEMBERS | SIM_TRANSFER | SIM_SNAPSHOT))
        sim_later(sim, sim_between(sim, 300000, 1500000), SIM_EV_ADMIN);
}

void sim_nemesis_turn(struct sim *sim)
{
    struct sim_host *host = &sim->hosts[sim_below(sim, sim->host_count)];
    uint32_t bit = pick_fault(sim);

    if (sim->healing)
        return;
    sim_later(sim, sim_between(sim, 1000, sim->tune.nemesis_us), SIM_EV_NEMESIS);
    if (sim_chance(sim, 30))
        sim_later(sim, sim_below(sim, 1000), SIM_EV_CHECKPOINT)->host = host->number;
    if (sim->faults & 1u << bit)
        hit(sim, bit, host);
}

void sim_nemesis_undo(struct sim *sim, struct sim_event *event)
{
    if (event->arg == UNDO_CUTS && event->life == sim->cuts) /* no later one has replaced them */
        mend(sim);
    else if (event->arg == DO_ISOLATE && !sim->healing)
        isolate(sim, event->host);
    else if (event->arg == DO_CRASH && !sim->healing)
        crash(sim, &sim->hosts[event->host]);
    else if (event->arg == DO_BOUNCE && !sim->healing)
        bounce(sim, &sim->hosts[event->host]);
    else if (event->arg == DO_RESTART)
        restart(sim, &sim->hosts[event->host]);
    else if (event->arg == UNDO_SPACE)
        sim->hosts[event->host].low_space = false;
}
