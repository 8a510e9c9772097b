/* tests/sim/sim_main.c - raftkv-sim: which seeds to run, on how many cores, and what to say of them.
 *
 * Each worker process runs seeds one after the other and says so in a pipe. When one ends
 * in the middle of a seed, that seed has failed, and another worker takes its place. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/rk_plant.h"
#include "tests/sim/sim.h"

struct job {
    struct sim_options options;
    uint64_t first, last;
    uint64_t until_s; /* wall time; 0: until last */
    unsigned workers;
    bool first_only; /* the first seed that fails ends it */
    const char *program;
    char switches[256];
};

struct worker {
    pid_t pid;
    int fd;
    uint64_t seed;
    bool in_seed;
};

static void usage(void)
{
    printf(
        "raftkv-sim [--seed N | --seeds A..B | --minutes M] [--hosts 1..7] [--seconds S]\n"
        "           [--faults LIST] [--without LIST] [--no-wire-checks] [--jobs N] [--first] [--verbose]\n"
        "           [--bug NAME | --bugs]  (a build with planted bugs: ./configure --enable-planted-bugs)\n"
        "faults: all none");
    for (uint32_t i = 0; sim_fault_name(i); i++)
        printf(" %s", sim_fault_name(i));
    printf("\n");
}

static int64_t parse_faults(const char *text)
{
    char copy[512], *rest = copy, *word;
    int64_t bits = 0;

    snprintf(copy, sizeof(copy), "%s", text);
    while ((word = strsep(&rest, ","))) {
        uint32_t bit = 0;

        while (sim_fault_name(bit) && strcmp(sim_fault_name(bit), word) != 0)
            bit++;
        if (sim_fault_name(bit))
            bits |= 1 << bit;
        else if (strcmp(word, "all") == 0)
            bits = SIM_ALL;
        else if (strcmp(word, "none") != 0)
            usage(), exit(2);
    }
    return bits;
}

static uint64_t wall_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec;
}

/* ---- one worker ----------------------------------------------------------------------------- */

/* Seeds first, first + step, ...; the pipe carries each seed once when it begins and once when it ends. */
_Noreturn static void work(const struct job *job, uint64_t first, unsigned step, int fd)
{
    for (uint64_t seed = first; seed <= job->last && (job->until_s == 0 || wall_s() < job->until_s);
         seed += step) {
        struct sim_options options = job->options;

        options.seed = seed;
        if (write(fd, &seed, sizeof(seed)) != sizeof(seed))
            break;
        (void)sim_run(&options);
        if (write(fd, &seed, sizeof(seed)) != sizeof(seed))
            break;
    }
    fflush(stdout);
    exit(0); /* where a sanitizer looks for leaks */
}

static void start(const struct job *job, struct worker *worker, uint64_t first)
{
    int fds[2];

    rk_assert(pipe(fds) == 0);
    fflush(stdout);
    *worker = (struct worker){.fd = fds[0], .seed = first};
    worker->pid = fork();
    rk_assert(worker->pid >= 0);
    if (worker->pid == 0) {
        close(fds[0]);
        work(job, first, job->workers, fds[1]);
    }
    close(fds[1]);
}

/* Its pipe has ended. Returns whether it failed. */
static bool ended(const struct job *job, struct worker *worker)
{
    int status = 0;

    close(worker->fd);
    waitpid(worker->pid, &status, 0);
    worker->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && !worker->in_seed)
        return false;
    printf("FAILED: %s --seed %" PRIu64 "%s (%s %d)\n", job->program, worker->seed, job->switches,
           WIFEXITED(status) ? "exit" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    fflush(stdout);
    return true;
}

/* ---- all of them ------------------------------------------------------------------------------- */

static int run_all(const struct job *job)
{
    struct worker workers[64];
    struct pollfd fds[64];
    uint64_t done = 0, failed = 0, alive = job->workers, begun = wall_s();

    for (unsigned i = 0; i < job->workers; i++)
        start(job, &workers[i], job->first + i);
    while (alive > 0) {
        for (unsigned i = 0; i < job->workers; i++)
            fds[i] = (struct pollfd){.fd = workers[i].pid ? workers[i].fd : -1, .events = POLLIN};
        if (poll(fds, job->workers, -1) < 0 && errno != EINTR)
            return 1;
        for (unsigned i = 0; i < job->workers; i++) {
            struct worker *w = &workers[i];
            uint64_t seed;

            if (w->pid == 0 || fds[i].revents == 0)
                continue;
            if (read(w->fd, &seed, sizeof(seed)) == sizeof(seed)) {
                done += w->in_seed;
                w->in_seed = !w->in_seed;
                w->seed = seed;
                continue;
            }
            seed = w->seed + job->workers;
            if (!ended(job, w)) {
                alive--;
                continue;
            }
            failed++;
            if (seed <= job->last && failed < (job->first_only ? 1 : 20) &&
                (job->until_s == 0 || wall_s() < job->until_s))
                start(job, w, seed);
            else
                alive--;
        }
    }
    printf("raftkv-sim: %" PRIu64 " seeds passed, %" PRIu64 " failed, %" PRIu64 " s\n", done, failed,
           wall_s() - begun);
    return failed > 0;
}

static int run_one(const struct job *job)
{
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    printf("seed %" PRIu64 ": ok, trace %016" PRIx64 "\n", job->options.seed, sim_run(&job->options));
    return 0;
}

/* What a replay must be told beside the seed. */
static void note_switch(struct job *job, const char *name, const char *value)
{
    size_t len = strlen(job->switches);

    snprintf(job->switches + len, sizeof(job->switches) - len, " --%s%s%s", name, value ? " " : "",
             value ? value : "");
}

static const struct option options[] = {
    {"seed", required_argument, NULL, 's'},    {"seeds", required_argument, NULL, 'r'},
    {"minutes", required_argument, NULL, 'm'}, {"hosts", required_argument, NULL, 'h'},
    {"seconds", required_argument, NULL, 'd'}, {"faults", required_argument, NULL, 'f'},
    {"without", required_argument, NULL, 'w'}, {"no-wire-checks", no_argument, NULL, 'n'},
    {"jobs", required_argument, NULL, 'j'},    {"first", no_argument, NULL, 'F'},
    {"bug", required_argument, NULL, 'b'},     {"bugs", no_argument, NULL, 'B'},
    {"verbose", no_argument, NULL, 'v'},       {NULL, 0, NULL, 0}};

/* ---- planted bugs --------------------------------------------------------------------------------- */

static const char *const plants[][2] = {
#define PLANT_TEXT(name, text) {#name, text},
    RK_PLANTS(PLANT_TEXT)
#undef PLANT_TEXT
};

static void list_plants(void)
{
    for (size_t i = 0; i < RK_ARRAY_LEN(plants); i++)
        printf("%s\t%s\n", plants[i][0], plants[i][1]);
}

static bool plant(const char *name)
{
    size_t i = 0;

    while (i < RK_ARRAY_LEN(plants) && strcmp(plants[i][0], name) != 0)
        i++;
    if (i == RK_ARRAY_LEN(plants)) {
        fprintf(stderr, "raftkv-sim: no planted bug is called %s; --bugs lists them\n", name);
        return false;
    }
#ifdef RK_PLANTED
    rk_planted = (enum rk_plant)(i + 1);
    return true;
#else
    fprintf(stderr, "raftkv-sim: there are no bugs in this build; configure with --enable-planted-bugs\n");
    return false;
#endif
}

static bool take_option(struct job *job, int c, const char *name)
{
    char *dots;

    switch (c) {
    case 's':
        job->options.seed = job->first = job->last = strtoull(optarg, NULL, 0);
        return true;
    case 'r':
        dots = strstr(optarg, "..");
        job->first = strtoull(optarg, NULL, 0);
        job->last = dots ? strtoull(dots + 2, NULL, 0) : job->first;
        return true;
    case 'm':
        job->first = (uint64_t)time(NULL) * 100000;
        job->last = UINT64_MAX;
        job->until_s = wall_s() + (uint64_t)(strtod(optarg, NULL) * 60);
        return true;
    case 'h':
        job->options.hosts = (uint32_t)strtoul(optarg, NULL, 0);
        break;
    case 'd':
        job->options.duration_us = strtoull(optarg, NULL, 0) * RK_USEC_PER_SEC;
        break;
    case 'f':
        job->options.faults = parse_faults(optarg);
        break;
    case 'w':
        job->options.faults = SIM_ALL & ~parse_faults(optarg);
        break;
    case 'n':
        job->options.no_wire_checks = true;
        break;
    case 'j':
        job->workers = (unsigned)strtoul(optarg, NULL, 0);
        return true;
    case 'v':
        job->options.verbose = true;
        return true;
    case 'F':
        job->first_only = true;
        return true;
    case 'b':
        if (!plant(optarg))
            return false;
        break;
    case 'B':
        list_plants();
        exit(0);
    default:
        return false;
    }
    note_switch(job, name, optarg);
    return true;
}

int main(int argc, char **argv)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct job job = {.options = {.faults = -1}, .first = 1, .last = 300, .program = argv[0]};
    int c, index = 0;

    job.workers = cores > 0 ? (unsigned)cores : 1;
    while ((c = getopt_long(argc, argv, "", options, &index)) != -1)
        if (!take_option(&job, c, options[index].name))
            return usage(), 2;
    if (optind != argc || job.options.hosts > SIM_HOSTS_MAX || job.workers == 0 || job.workers > 64)
        return usage(), 2;
    return job.first == job.last ? run_one(&job) : run_all(&job);
}
