/* tests/sim/sim_world.c - the queue of events, the hosts, their turns, their deaths and lives. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/rk_file.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_base.h"

static struct sim *current; /* for the log */

/* ---- small things ------------------------------------------------------------------------- */

static void remove_tree(const char *path)
{
    DIR *stream = opendir(path);
    char name[4600];

    for (struct dirent *e = stream ? readdir(stream) : NULL; e; e = readdir(stream)) {
        snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && remove(name) != 0)
            remove_tree(name);
    }
    if (stream)
        closedir(stream);
    rmdir(path);
}

void sim_fail(struct sim *sim, const char *fmt, ...)
{
    va_list args;

    printf("FAILED seed %" PRIu64 " at %" PRIu64 " us: ", sim->options.seed, sim->now_us);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    remove_tree(sim->path);
    _exit(1);
}

void sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    sim->trace = sim_mix(sim->trace, sim->now_us);
    sim->trace = sim_hash(sim->trace, rk_slice_str(what));
    sim->trace = sim_mix(sim_mix(sim_mix(sim->trace, a), b), c);
    if (sim->options.verbose)
        printf("%10" PRIu64 " %-12s %" PRIu64 " %" PRIx64 " %" PRIx64 "\n", sim->now_us, what, a, b, c);
}

static void print_log(const char *line)
{
    printf("%10" PRIu64 " log          %s %s\n", current->now_us,
           current->running ? current->running->name : "-", line);
}

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return rk_random_below(&sim->random, bound);
}

uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high)
{
    return low + sim_below(sim, high - low + 1);
}

bool sim_chance(struct sim *sim, uint64_t percent)
{
    return sim_below(sim, 100) < percent;
}

/* Events of the same microsecond keep their order. */
static uint64_t key_at(struct sim *sim, uint64_t at_us)
{
    return at_us << 20 | (++sim->sequence & 0xfffff);
}

struct sim_event *sim_later(struct sim *sim, uint64_t delay_us, enum sim_event_kind kind)
{
    struct sim_event *event = RK_NEW(struct sim_event);

    event->kind = kind;
    rk_heap_set(&sim->queue, &event->item, key_at(sim, sim->now_us + delay_us));
    return event;
}

/* ---- a host's clock ------------------------------------------------------------------------- */

uint64_t sim_host_now(const struct sim_host *host)
{
    int64_t now = (int64_t)host->sim->now_us;

    return host->clock_start_us + (uint64_t)(now + now * host->drift_ppm / 1000000);
}

static uint64_t read_clock(void *userdata)
{
    return sim_host_now(userdata);
}

/* The first moment at which the host's clock shows at_us or later. */
static uint64_t when(const struct sim_host *host, uint64_t at_us)
{
    int64_t rest, t;

    if (at_us <= sim_host_now(host))
        return host->sim->now_us;
    rest = (int64_t)rk_min_u64(at_us - host->clock_start_us, 1ULL << 40);
    t = (int64_t)((__int128)rest * 1000000 / (1000000 + host->drift_ppm));
    while (t + t * host->drift_ppm / 1000000 < rest)
        t++;
    return (uint64_t)t;
}

/* ---- turns ------------------------------------------------------------------------------------ */

static uint64_t turn_delay(struct sim_host *host, enum sim_body body)
{
    struct sim *sim = host->sim;

    switch (body) {
    case SIM_RAFT:
        if (sim->tune.raft_us > 0 && sim_chance(sim, 50))
            return sim_between(sim, 1, sim->tune.raft_us);
        return sim_chance(sim, 2) ? sim_between(sim, 200, 3000) : sim_between(sim, 2, 80);
    case SIM_LOG:
        if (host->slow_until > sim->now_us)
            return sim_between(sim, 2000, 250000);
        if (sim->tune.disk_us > 0)
            return sim_between(sim, sim->tune.disk_us / 4, sim->tune.disk_us * 2);
        return sim_chance(sim, 5) ? sim_between(sim, 1000, 10000) : sim_between(sim, 50, 600);
    default:
        return sim_chance(sim, 4) ? sim_between(sim, 500, 8000) : sim_between(sim, 5, 200);
    }
}

static void set_turn(struct sim_host *host, enum sim_body body, uint64_t at_us)
{
    struct rk_heap_item *item = &host->turns[body].item;

    at_us = rk_max_u64(at_us, host->sim->now_us);
    if (!rk_heap_has(item) || item->key >> 20 > at_us)
        rk_heap_set(&host->sim->queue, item, key_at(host->sim, at_us));
}

/* Mail has come: a turn is due soon. */
static void poke(struct sim_host *host)
{
    struct rk_mailbox *boxes[SIM_BODIES];

    if (!host->node)
        return;
    boxes[SIM_RAFT] = &host->node->raft_box;
    boxes[SIM_LOG] = &host->node->log_box;
    boxes[SIM_APPLY] = &host->node->apply_box;
    for (enum sim_body body = 0; body < SIM_BODIES; body++) {
        if (host->has_mail[body] || rk_mailbox_depth(boxes[body]) == 0)
            continue;
        host->has_mail[body] = true;
        set_turn(host, body, host->sim->now_us + turn_delay(host, body));
    }
}

void sim_wake(struct sim_host *host)
{
    host->paused_until = host->resumed_us = host->sim->now_us;
    for (enum sim_body body = 0; body < SIM_BODIES; body++)
        if (rk_heap_has(&host->turns[body].item))
            set_turn(host, body, host->sim->now_us);
}

static void run_body(struct sim_host *host, enum sim_body body)
{
    struct sim *sim = host->sim;

    sim->running = host;
    sim_space_is_low = host->low_space;
    if (body == SIM_RAFT)
        node_raft_run_once(host->node, 0);
    else if (body == SIM_LOG)
        (void)node_log_run_once(host->node);
    else
        (void)node_apply_run_once(host->node);
    sim->running = NULL;
}

static void note_turn(struct sim_host *host, enum sim_body body)
{
    struct raft_status status = {0};

    if (host->node->group.raft)
        raft_status(host->node->group.raft, &status);
    sim_note(host->sim,
             body == SIM_RAFT  ? "raft"
             : body == SIM_LOG ? "log"
                               : "apply",
             host->number, status.term << 40 | status.last_index << 20 | status.commit,
             (uint64_t)status.role << 60 | host->node->group.applied);
}

/* The apply body reads its rows through when it has nothing else to do. */
static void set_scrub(struct sim_host *host)
{
    if (!node_unfit(host->node) && !rk_heap_has(&host->turns[SIM_APPLY].item))
        set_turn(host, SIM_APPLY, when(host, host->node->scrub_us));
}

static void on_turn(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->host];
    enum sim_body body = (enum sim_body)event->arg;

    if (host->broken) /* its threads have ended, or will not do anything any more */
        return;
    if (host->paused_until > sim->now_us) {
        set_turn(host, body, host->paused_until + sim_below(sim, 100));
        return;
    }
    host->has_mail[body] = false;
    run_body(host, body);
    if (host->found) { /* somewhere in this turn it died */
        sim_kill(host, SIM_KILL_CRASH);
        sim_boot_later(host, sim_between(sim, 1000, sim_chance(sim, 50) ? 50000 : 1500000));
        return;
    }
    note_turn(host, body);
    if (host->broken) {
        struct sim_event *end = sim_later(sim, sim_between(sim, 1, 20000), SIM_EV_KILL);
        end->host = host->number;
        end->life = host->life;
        return;
    }
    if (body == SIM_RAFT)
        sim_check_raft_turn(host);
    else if (body == SIM_APPLY)
        sim_check_apply_turn(host);
    set_turn(host, SIM_RAFT, when(host, node_raft_deadline(host->node)));
    set_scrub(host);
}

/* ---- life and death ------------------------------------------------------------------------------ */

static void on_fatal(void *userdata, const char *sentence RK_UNUSED)
{
    struct sim_host *host = userdata;

    host->broken = true;
    sim_note(host->sim, "fatal", host->number, 0, 0);
}

static struct node_config config_of(struct sim_host *host)
{
    struct sim *sim = host->sim;
    bool first = !host->booted_once && host->number < sim->initial_count;

    return (struct node_config){
        .name = host->name,
        .peer_address = host->address,
        .client_url = host->url,
        .machine = "",
        .data_directory = host->path,
        .initial_members = sim->initial,
        .initial_member_count = first ? sim->initial_count : 0,
        .initial_cluster_name = "sim",
        .election_timeout_ms = (uint32_t)sim->tune.election_ms,
        .heartbeat_ms = (uint32_t)sim->tune.heartbeat_ms,
        .log_keep_entries = (uint32_t)sim->tune.keep,
        .snapshot_entries = (uint32_t)sim->tune.snapshot,
        .snapshot_bytes = 1u << 30,
        .snapshot_interval_us = 3600 * RK_USEC_PER_SEC,
        .snapshots_at_once = 2,
        .log_retain_bytes = 1u << 30,
        .promote_lag_entries = (uint32_t)sim->tune.promote_lag,
        .replace_timeout_ms = 4000,
        .lease_reads = sim->tune.lease,
        .request_timeout_ms = (uint32_t)sim->tune.request_ms,
        .checkpoint_bytes = 1u << 20,
        .clock = {.now_us = read_clock, .userdata = host},
        .no_threads = true,
        .fatal = on_fatal,
        .userdata = host,
    };
}

static void file_path(const struct sim_host *host, const char *name, char *ret, size_t size)
{
    snprintf(ret, size, "%s%s", host->path, name);
}

static bool copy_file(const char *from, const char *to)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf bytes = {0};

    unlink(to);
    if (rk_file_read(from, 1u << 30, &bytes) != 0)
        return false;
    rk_assert(rk_file_create(to, rk_buf_slice(&bytes), 0600) == 0);
    return true;
}

/* A crash now: what will be found is decided here. */
static void freeze(struct sim_host *host)
{
    char from[4200], to[4200];

    rk_assert(!host->found);
    host->found = sim_disk_crash(host->disk, &host->sim->random);
    file_path(host, "/snapshot.install", from, sizeof(from));
    file_path(host, ".install", to, sizeof(to));
    host->found_install = copy_file(from, to);
    host->speaks = false;
}

static void on_point(void *userdata)
{
    struct sim_host *host = userdata;

    if (host->crash_in > 0 && --host->crash_in == 0 && !host->found && host->sim->running == host)
        freeze(host);
}

static void take_found_disk(struct sim_host *host)
{
    char name[4200], kept[4200];

    sim_disk_free(host->disk);
    host->disk = host->found;
    host->found = NULL;
    file_path(host, "/snapshot.part", name, sizeof(name));
    unlink(name);
    file_path(host, "/snapshot.install", name, sizeof(name));
    unlink(name);
    file_path(host, ".install", kept, sizeof(kept));
    if (host->found_install)
        rk_assert(rename(kept, name) == 0);
    host->found_install = false;
}

void sim_boot(struct sim_host *host)
{
    struct sim *sim = host->sim;
    struct node_config config = config_of(host);
    struct node_transport transport = sim_transport(host);
    char *error = NULL;
    int r;

    host->planned = false;
    if (host->node)
        return;
    sim->running = host;
    sim_space_is_low = host->low_space;
    host->life++;
    host->broken = false;
    host->commit_seen = host->rows_durable = host->last_seen = 0;
    r = node_open(&config, &host->node, &error);
    if (r == -EIO) { /* the disk failed in the middle of it */
        sim_note(sim, "no boot", host->number, 0, 0);
        free(error);
        host->node = NULL;
        if (!host->found)
            freeze(host);
        take_found_disk(host);
        sim_boot_later(host, sim_between(sim, 1000, 500000));
        return;
    }
    if (r != 0)
        sim_fail(sim, "%s cannot start: %s", host->name, error);
    host->booted_once = true;
    host->inlet = node_inlet(host->node);
    host->speaks = true;
    if (node_start(host->node, &transport) != 0)
        sim_fail(sim, "%s cannot start its bodies", host->name);
    sim->running = NULL;
    sim_note(sim, "boot", host->number, host->node->identity.member_id, host->node->group.applied);
    if (host->found) {
        sim_kill(host, SIM_KILL_CRASH);
        sim_boot_later(host, sim_between(sim, 1000, 500000));
        return;
    }
    sim_check_booted(host);
    set_turn(host, SIM_RAFT, sim->now_us + sim_below(sim, 100));
}

void sim_boot_later(struct sim_host *host, uint64_t delay_us)
{
    struct sim_event *event = sim_later(host->sim, delay_us, SIM_EV_BOOT);

    event->host = host->number;
    host->planned = true;
}

void sim_kill(struct sim_host *host, enum sim_kill how)
{
    struct sim *sim = host->sim;

    if (!host->node)
        return;
    sim_note(sim, how == SIM_KILL_STOP ? "stop" : "crash", host->number, host->life, host->found != NULL);
    if (how != SIM_KILL_STOP && !host->found)
        freeze(host);
    if (how == SIM_KILL_CRASH)
        atomic_store(&host->node->failed, true);
    host->crash_in = 0;
    sim->running = host;
    sim_space_is_low = host->low_space;
    sim->dying = true;
    node_stop(host->node, 0);
    if (how == SIM_KILL_STOP && host->node->group.raft)
        sim_check_raft_turn(host);
    host->speaks = false;
    sim_take_replies(sim, how == SIM_KILL_CRASH);
    sim_upload_host_gone(host, how != SIM_KILL_STOP);
    node_close(host->node);
    sim->running = NULL;
    host->node = NULL;
    for (enum sim_body body = 0; body < SIM_BODIES; body++) {
        rk_heap_remove(&sim->queue, &host->turns[body].item);
        host->has_mail[body] = false;
    }
    sim_take_replies(sim, how == SIM_KILL_CRASH);
    sim->dying = false;
    if (host->found)
        take_found_disk(host);
    host->paused_until = 0;
}

bool sim_in_cluster(const struct sim_host *host)
{
    return host->node && host->sim->cluster_id != 0 &&
           host->node->identity.cluster_id == host->sim->cluster_id;
}

struct sim_host *sim_any_member(struct sim *sim)
{
    uint32_t first = (uint32_t)sim_below(sim, sim->host_count);

    for (uint32_t i = 0; i < sim->host_count; i++) {
        struct sim_host *host = &sim->hosts[(first + i) % sim->host_count];
        if (sim_in_cluster(host) && !host->node->identity.removed)
            return host;
    }
    return NULL;
}

/* ---- a run -------------------------------------------------------------------------------------------- */

static void init_host(struct sim *sim, uint32_t number)
{
    struct sim_host *host = &sim->hosts[number];
    struct sim_disk_watch watch = {.userdata = host,
                                   .point = on_point,
                                   .appended = sim_check_appended,
                                   .rows_flushed = sim_check_rows_flushed};

    host->sim = sim;
    host->number = number;
    snprintf(host->name, sizeof(host->name), "node%u", number + 1);
    snprintf(host->address, sizeof(host->address), "node%u:2380", number + 1);
    snprintf(host->url, sizeof(host->url), "http://node%u:2379", number + 1);
    host->path = rk_asprintf("%s/%s", sim->path, host->name);
    host->disk = sim_disk_new(host->path, &watch);
    host->clock_start_us = sim_between(sim, 1, 1ULL << 35);
    host->drift_ppm = (int64_t)sim_below(sim, 2 * sim->tune.drift_ppm + 1) - (int64_t)sim->tune.drift_ppm;
    if (sim_chance(sim, 50)) /* as far as it goes */
        host->drift_ppm = host->drift_ppm < 0 ? -(int64_t)sim->tune.drift_ppm : (int64_t)sim->tune.drift_ppm;
    for (enum sim_body body = 0; body < SIM_BODIES; body++)
        host->turns[body] = (struct sim_event){.kind = SIM_EV_TURN, .host = number, .arg = body};
    if (number < sim->initial_count)
        sim->initial[number] = rk_asprintf("%s=%s", host->name, host->address);
}

static void start(struct sim *sim)
{
    sim_tune(sim);
    for (uint32_t i = 0; i < sim->host_count; i++)
        init_host(sim, i);
    sim_check_init(sim);
    for (uint32_t i = 0; i < sim->initial_count; i++)
        sim_boot(&sim->hosts[i]);
    for (uint32_t i = sim->initial_count; i < sim->host_count; i++)
        sim_boot_later(&sim->hosts[i], sim_between(sim, 0, 2000000));
    sim_client_start(sim);
    sim_nemesis_start(sim);
    sim_later(sim, 1000, SIM_EV_LINKS);
    sim_later(sim, sim->options.duration_us, SIM_EV_HEAL);
}

static void dispatch(struct sim *sim, struct sim_event *event)
{
    struct sim_host *host = &sim->hosts[event->host];

    switch (event->kind) {
    case SIM_EV_TURN:
        on_turn(sim, event);
        return; /* it is the host's */
    case SIM_EV_PACKET:
        sim_net_packet(sim, event);
        break;
    case SIM_EV_ONESHOT_LATE:
        sim_net_oneshot_late(sim, event->arg);
        break;
    case SIM_EV_UPLOAD:
        sim_upload_step(sim, event->arg);
        break;
    case SIM_EV_CHUNK:
        sim_upload_give_chunk(sim, event);
        break;
    case SIM_EV_CLIENT:
        sim_client_turn(sim, (uint32_t)event->arg);
        break;
    case SIM_EV_ADMIN:
        sim_admin_turn(sim);
        break;
    case SIM_EV_NEMESIS:
        sim_nemesis_turn(sim);
        break;
    case SIM_EV_UNDO:
        sim_nemesis_undo(sim, event);
        break;
    case SIM_EV_BOOT:
        sim_boot(host);
        break;
    case SIM_EV_KILL:
        if (host->node && host->life == event->life) {
            sim_kill(host, sim_chance(sim, 50) ? SIM_KILL_FAILED : SIM_KILL_CRASH);
            sim_boot_later(host, sim_between(sim, 1000, 500000));
        }
        break;
    case SIM_EV_LINKS:
        sim_net_links(sim);
        sim_history_check_waiting(sim);
        sim_later(sim, sim_between(sim, 10000, 80000), SIM_EV_LINKS);
        break;
    case SIM_EV_CHECKPOINT:
        if (host->node && !host->broken && store_rows_checkpoint(host->node->rows) == 0)
            (void)!store_log_checkpoint(host->node->log);
        break;
    case SIM_EV_HEAL:
        sim_heal(sim);
        break;
    case SIM_EV_SETTLED:
        sim_settled(sim);
        break;
    }
    free(event);
}

static void drop_event(struct sim_event *event)
{
    if (event->kind == SIM_EV_PACKET)
        sim_net_drop_packet(event);
    if (event->kind == SIM_EV_CHUNK) {
        struct node_chunk *chunk = event->object;
        rk_buf_deinit(&chunk->bytes);
        free(chunk);
    }
    if (event->kind != SIM_EV_TURN)
        free(event);
}

static void finish(struct sim *sim)
{
    struct rk_heap_item *item;

    for (uint32_t i = 0; i < sim->host_count; i++)
        sim_kill(&sim->hosts[i], SIM_KILL_STOP);
    sim_take_replies(sim, false);
    if (sim->asked != sim->answered)
        sim_fail(sim, "%" PRIu64 " calls were made and %" PRIu64 " came back", sim->asked, sim->answered);
    while ((item = rk_heap_peek(&sim->queue))) {
        rk_heap_remove(&sim->queue, item);
        drop_event(RK_CONTAINER_OF(item, struct sim_event, item));
    }
    rk_heap_deinit(&sim->queue);
    sim_net_deinit(sim);
    sim_check_deinit(sim);
    for (uint32_t i = 0; i < sim->host_count; i++) {
        sim_disk_free(sim->hosts[i].disk);
        free(sim->hosts[i].path);
        free(sim->initial[i]);
    }
    rk_mailbox_deinit(&sim->replies);
    rk_mailbox_deinit(&sim->box);
    remove_tree(sim->path);
    free(sim->path);
}

static void init(struct sim *sim, const struct sim_options *options)
{
    const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");

    *sim = (struct sim){.options = *options, .random = {.state = options->seed}};
    current = sim;
    sim_base_use(&sim->random, options->verbose ? print_log : NULL);
    sim->path = rk_asprintf("%s/raftkv-sim-XXXXXX", tmp ? tmp : "/tmp");
    rk_assert(mkdtemp(sim->path));
    rk_assert(rk_mailbox_init(&sim->replies, 1u << 20) == 0);
    rk_assert(rk_mailbox_init(&sim->box, 1u << 20) == 0);
}

uint64_t sim_run(const struct sim_options *options)
{
    struct sim *sim = RK_NEW(struct sim);
    struct rk_heap_item *item;
    uint64_t trace;

    init(sim, options);
    start(sim);
    while (!sim->done && (item = rk_heap_peek(&sim->queue))) {
        rk_heap_remove(&sim->queue, item);
        sim->now_us = item->key >> 20;
        sim->events++;
        dispatch(sim, RK_CONTAINER_OF(item, struct sim_event, item));
        sim_upload_take_mail(sim);
        sim_take_replies(sim, false);
        for (uint32_t i = 0; i < sim->host_count; i++)
            poke(&sim->hosts[i]);
    }
    if (options->verbose || getenv("RAFTKV_SIM_STATS"))
        printf("%u hosts, %" PRIu64 " us, %" PRIu64 " events, %" PRIu64 " calls: %" PRIu64
               " writes ok, %" PRIu64 " reads ok, %" PRIu64 " refused, %" PRIu64 " unknown, %" PRIu64
               " repeated, %" PRIu64 " numbered; %" PRIu64 " entries, %" PRIu64 " changes, %" PRIu64
               " joint; faults %" PRIx64 "\n",
               sim->host_count, sim->now_us, sim->events, sim->asked, sim->check->oks, sim->check->reads_ok,
               sim->check->refused, sim->check->unknown, sim->check->repeated, sim->check->numbered,
               sim->check->last, sim->check->changes, sim->check->joint, (uint64_t)sim->faults);
    finish(sim);
    trace = sim->trace;
    free(sim);
    return trace;
}
