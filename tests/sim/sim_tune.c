/* tests/sim/sim_tune.c - what a seed is about: how many hosts, which faults, how fast, and in which temper.
 *
 * Every run likes other things, many of them a few or one of them a lot: what all runs did in the same
 * measure would hide what only an excess can show. */
#include "tests/sim/sim.h"

/* Each seed leaves some out, many or few: one fault may hide what another would show. */
static int64_t pick_faults(struct rk_random *r)
{
    uint64_t a = rk_random_next(r), b = rk_random_next(r);

    switch (rk_random_below(r, 4)) {
    case 0:
        return (int64_t)(a | b) & SIM_ALL;
    case 1:
        return (int64_t)(a & b) & SIM_ALL;
    default:
        return (int64_t)a & SIM_ALL;
    }
}

#define LEASE_DRIFT_PPM 95000u

/* What this run is about: a busy administrator, slow disks, messages that come late, faults that it likes. */
static void tune_temper(struct sim *sim)
{
    static const uint32_t weights[] = {1, 1, 2, 8};
    bool hot = sim_chance(sim, 35);

    sim->tune.admin_us = hot ? sim_between(sim, 10000, 150000) : 600000;
    sim->tune.admin_acts = hot ? sim_between(sim, 1, 4) : 1;
    sim->tune.corner = sim_chance(sim, 50) ? sim_between(sim, 5, 60) : 0;
    sim->tune.disk_us = sim_chance(sim, 30) ? sim_between(sim, 1000, 40000) : 0;
    sim->tune.writes = sim_chance(sim, sim->tune.lease ? 50 : 15) ? sim_between(sim, 1, 8) : 62;
    sim->tune.hold = sim_chance(sim, 40) ? sim_between(sim, 10, 100) : 0;
    sim->tune.raft_us = sim_chance(sim, 20) ? sim->tune.election_ms * sim_between(sim, 5, 60) : 0;
    sim->tune.learners = sim_chance(sim, 50) ? sim_between(sim, 0, 100) : 0;
    for (uint32_t i = 0; i < SIM_ACTS; i++)
        sim->tune.acts[i] = weights[sim_below(sim, RK_ARRAY_LEN(weights))];
    for (uint32_t i = 0; i < SIM_FAULT_BITS; i++)
        sim->tune.weights[i] = weights[sim_below(sim, RK_ARRAY_LEN(weights))];
}

/* Leases hang on clocks, and on who remembers what: those runs see more of what could break them. */
static void tune_lease(struct sim *sim)
{
    static const enum sim_fault likely[] = {SIM_PAUSE, SIM_PARTITION, SIM_ONE_WAY, SIM_CRASH};

    if (!sim->tune.lease)
        return;
    for (size_t i = 0; i < RK_ARRAY_LEN(likely); i++)
        if (sim->options.faults < 0 && sim_chance(sim, 60)) {
            sim->faults |= likely[i];
            sim->tune.weights[__builtin_ctz(likely[i])] = 8;
        }
}

void sim_tune(struct sim *sim)
{
    static const uint32_t sizes[] = {3, 3, 5, 3, 5, 1, 2, 4, 7, 6, 4, 3};
    struct rk_random *r = &sim->random;

    sim->host_count =
        sim->options.hosts ? sim->options.hosts : sizes[rk_random_below(r, RK_ARRAY_LEN(sizes))];
    sim->faults = sim->options.faults;
    if (sim->faults < 0)
        sim->faults = pick_faults(r);
    sim->initial_count = sim->host_count;
    if ((sim->faults & SIM_MEMBERS) && sim->host_count > 3 && sim_chance(sim, 50))
        sim->initial_count = sim->host_count - 1 - (uint32_t)sim_below(sim, 2);
    sim->tune.election_ms = sim_chance(sim, 40) ? sim_between(sim, 40, 100) : sim_between(sim, 100, 300);
    sim->tune.heartbeat_ms = sim->tune.election_ms / sim_between(sim, 4, 8);
    sim->tune.keep = sim_between(sim, 0, 30);
    sim->tune.snapshot = sim_chance(sim, 20) ? 5000 : sim_between(sim, 5, 80);
    sim->tune.promote_lag = sim_between(sim, 0, 50);
    sim->tune.request_ms = sim_between(sim, 200, 2000);
    sim->tune.delay_us = sim_between(sim, 20, 3000);
    sim->tune.jitter_us = sim_between(sim, 1, 3000);
    if (sim->faults & SIM_LOSS)
        sim->tune.loss_ppm = sim_between(sim, 100, sim_chance(sim, 30) ? 200000 : 20000);
    if (sim->faults & SIM_DUPLICATE)
        sim->tune.duplicate_ppm = sim_between(sim, 1000, 100000);
    if (sim->faults & SIM_REORDER)
        sim->tune.reorder_ppm = sim_between(sim, 1000, 100000);
    sim->tune.clients = sim_between(sim, 1, SIM_CLIENTS_MAX);
    sim->tune.keys = sim_between(sim, 1, SIM_KEYS_MAX);
    sim->tune.pause_us = sim_between(sim, 100, 30000);
    sim->tune.value_max = sim_chance(sim, 15) ? 8000 : 8;
    sim->tune.lease = sim_chance(sim, 30);
    if (sim->faults & SIM_DRIFT) { /* safety must not hang on it; half as fast still makes progress */
        sim->tune.drift_ppm = sim_chance(sim, 50) ? 500000 : 30000;
        if (sim->tune.lease) /* but for leases: lib/raft/raft_lease.c states the bound */
            sim->tune.drift_ppm = LEASE_DRIFT_PPM;
    }
    sim->tune.nemesis_us = 100000ULL << sim_below(sim, 6);
    tune_temper(sim);
    tune_lease(sim);
    if (sim->options.duration_us == 0)
        sim->options.duration_us = sim_between(sim, 3, 15) * RK_USEC_PER_SEC;
}
