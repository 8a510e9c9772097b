/* tests/bench/bench.c - a load generator: closed loops of writes and reads over TLS, and how long they took.
 *
 *   bench --cert FILE --key FILE --ca FILE [OPTION...] HOST:PORT...
 *
 * Clients are spread over the members given. See tests/bench/README.md for what the figures mean;
 * tests/bench/run sets up clusters and calls this. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "lib/base/rk_clock.h"
#include "tests/bench/bench.h"

static const char help[] =
    "Usage: bench [OPTION...] HOST:PORT...\n"
    "  --cert FILE --key FILE --ca FILE   own certificate, and the authority of the servers' (plain TCP "
    "without)\n"
    "  --api raftkv|etcd   whose requests (raftkv)\n"
    "  --clients N         connections, one request under way on each (1)\n"
    "  --seconds N         how long it is measured (10)\n"
    "  --warmup N          seconds before that (2)\n"
    "  --reads N           percent of the requests that are reads (0)\n"
    "  --stale             reads from the member's own state, instead of consistent ones\n"
    "  --fill              instead: write each key once and end\n"
    "  --keys N            how many keys, drawn evenly (10000)\n"
    "  --prefix TEXT       of the keys (bench)\n"
    "  --value-bytes N     (256)\n"
    "  --seed N            of the random numbers (1)\n"
    "  --json              the figures as JSON\n";

struct options {
    struct bench_plan plan;
    struct net_tls_config tls;
    bool json;
};

/* ---- options -------------------------------------------------------------------------- */

static int usage(const char *what)
{
    fprintf(stderr, "bench: %s\n%s", what, help);
    return 2;
}

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min || value > max)
        return false;
    *ret = value;
    return true;
}

static bool number32(const char *text, uint32_t min, uint32_t max, uint32_t unit, uint32_t *ret)
{
    uint64_t value;
    if (!number(text, min, max, &value))
        return false;
    *ret = (uint32_t)value * unit;
    return true;
}

static bool api_of(const char *text, enum bench_api *ret)
{
    *ret = strcmp(text, "etcd") == 0 ? BENCH_ETCD : BENCH_RAFTKV;
    return *ret == BENCH_ETCD || strcmp(text, "raftkv") == 0;
}

static const struct option longs[] = {
    {"cert", required_argument, NULL, 'C'},
    {"key", required_argument, NULL, 'K'},
    {"ca", required_argument, NULL, 'A'},
    {"api", required_argument, NULL, 'a'},
    {"clients", required_argument, NULL, 'c'},
    {"seconds", required_argument, NULL, 's'},
    {"warmup", required_argument, NULL, 'w'},
    {"reads", required_argument, NULL, 'r'},
    {"stale", no_argument, NULL, 'l'},
    {"fill", no_argument, NULL, 'f'},
    {"keys", required_argument, NULL, 'k'},
    {"prefix", required_argument, NULL, 'p'},
    {"seed", required_argument, NULL, 'S'},
    {"value-bytes", required_argument, NULL, 'v'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool take_option(struct options *options, int option)
{
    struct bench_plan *plan = &options->plan;
    switch (option) {
    case 'C':
        options->tls.cert_file = optarg;
        return true;
    case 'K':
        options->tls.key_file = optarg;
        return true;
    case 'A':
        options->tls.ca_file = optarg;
        return true;
    case 'a':
        return api_of(optarg, &plan->api);
    case 'c':
        return number32(optarg, 1, 10000, 1, &plan->clients);
    case 's':
        return number32(optarg, 1, 100000, 1000, &plan->run_ms);
    case 'w':
        return number32(optarg, 0, 100000, 1000, &plan->warmup_ms);
    case 'r':
        return number32(optarg, 0, 100, 1, &plan->reads_percent);
    case 'l':
        return plan->stale = true;
    case 'f':
        return plan->fill = true;
    case 'k':
        return number32(optarg, 1, 100000000, 1, &plan->keys);
    case 'p':
        plan->prefix = optarg;
        return strlen(optarg) <= 64;
    case 'S':
        return number(optarg, 0, UINT64_MAX, &plan->seed);
    case 'v':
        return number32(optarg, 1, 1024 * 1024, 1, &plan->value_bytes);
    case 'j':
        return options->json = true;
    default:
        return false;
    }
}

static int parse(int argc, char **argv, struct options *ret)
{
    int option;
    *ret = (struct options){.plan = {.clients = 1,
                                     .keys = 10000,
                                     .value_bytes = 256,
                                     .prefix = "bench",
                                     .warmup_ms = 2000,
                                     .run_ms = 10000,
                                     .seed = 1},
                            .tls = {.role = NET_TLS_PEER_CLIENT}};
    while ((option = getopt_long(argc, argv, "h", longs, NULL)) >= 0) {
        if (option == 'h') {
            printf("%s", help);
            exit(0);
        }
        if (!take_option(ret, option))
            return usage("an option or its value is not right");
    }
    for (; optind < argc && ret->plan.member_count < BENCH_MEMBERS_MAX; optind++)
        ret->plan.members[ret->plan.member_count++] = argv[optind];
    if (optind < argc || ret->plan.member_count == 0)
        return usage("one to sixteen members");
    bool any = ret->tls.cert_file || ret->tls.key_file || ret->tls.ca_file;
    if (any && !(ret->tls.cert_file && ret->tls.key_file && ret->tls.ca_file))
        return usage("--cert, --key and --ca come together");
    return 0;
}

/* ---- measuring ------------------------------------------------------------------------- */

struct run {
    struct bench_load load;
    struct net_timer timer;
    uint64_t begun_us, ended_us, cpu_us; /* cpu_us: our own, while measuring */
    bool measuring;
};

static uint64_t cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * RK_USEC_PER_SEC +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void begin(struct run *run)
{
    bench_load_reset(&run->load);
    run->begun_us = rk_clock_now_us(&rk_clock_boottime);
    run->cpu_us = cpu_us();
    run->measuring = true;
}

/* Answers to what is still under way come later and are not counted. */
static void end(struct run *run)
{
    run->ended_us = rk_clock_now_us(&rk_clock_boottime);
    run->cpu_us = cpu_us() - run->cpu_us;
}

static void on_timer(struct net_timer *timer)
{
    struct run *run = RK_CONTAINER_OF(timer, struct run, timer);
    const struct bench_plan *plan = &run->load.plan;
    if (!run->measuring) {
        begin(run);
        net_timer_set(timer, run->begun_us + plan->run_ms * RK_USEC_PER_MSEC);
        return;
    }
    end(run);
    bench_load_end(&run->load);
}

static void print_text(const struct run *run)
{
    const struct bench_histogram *h = &run->load.histogram;
    double seconds = (double)(run->ended_us - run->begun_us) / 1e6;
    printf("%.0f operations/s, %" PRIu64 " in %.1f s, %" PRIu64 " errors%s%s\n", (double)h->count / seconds,
           h->count, seconds, run->load.errors, run->load.errors > 0 ? ", the last: " : "", run->load.error);
    printf("latency in us: mean %" PRIu64 ", p50 %" PRIu64 ", p90 %" PRIu64 ", p99 %" PRIu64
           ", p99.9 %" PRIu64 ", max %" PRIu64 "\n",
           h->count > 0 ? h->sum_us / h->count : 0, bench_histogram_at(h, 500000),
           bench_histogram_at(h, 900000), bench_histogram_at(h, 990000), bench_histogram_at(h, 999000),
           h->max_us);
    printf("the generator itself used %.0f%% of a processor\n", 100 * (double)run->cpu_us / 1e6 / seconds);
}

static void print_json(const struct run *run)
{
    const struct bench_histogram *h = &run->load.histogram;
    double seconds = (double)(run->ended_us - run->begun_us) / 1e6;
    printf("{\"operations\": %" PRIu64 ", \"seconds\": %.3f, \"per_second\": %.1f, \"errors\": %" PRIu64
           ", \"mean_us\": %" PRIu64 ", \"p50_us\": %" PRIu64 ", \"p90_us\": %" PRIu64
           ", \"p99_us\": %" PRIu64 ", \"p999_us\": %" PRIu64 ", \"max_us\": %" PRIu64
           ", \"generator_cpu\": %.3f}\n",
           h->count, seconds, (double)h->count / seconds, run->load.errors,
           h->count > 0 ? h->sum_us / h->count : 0, bench_histogram_at(h, 500000),
           bench_histogram_at(h, 900000), bench_histogram_at(h, 990000), bench_histogram_at(h, 999000),
           h->max_us, (double)run->cpu_us / 1e6 / seconds);
}

static int measure(const struct options *options, struct net_tls *tls)
{
    struct run run = {.load = {.plan = options->plan, .tls = tls, .random = {.state = options->plan.seed}}};
    const struct bench_plan *plan = &run.load.plan;
    int r = net_loop_new(&run.load.loop);
    r = r != 0 ? r : net_resolver_new(&run.load.resolver);
    if (r != 0) {
        fprintf(stderr, "bench: %s\n", strerror(-r));
        net_loop_free(run.load.loop);
        return 1;
    }
    net_timer_init(&run.timer, run.load.loop, on_timer);
    bench_load_start(&run.load);
    if (plan->fill)
        begin(&run);
    else
        net_timer_set(&run.timer, net_loop_now_us(run.load.loop) + plan->warmup_ms * RK_USEC_PER_MSEC);
    r = net_loop_run(run.load.loop);
    if (plan->fill)
        end(&run);
    if (r == 0)
        (options->json ? print_json : print_text)(&run);
    else
        fprintf(stderr, "bench: the loop failed: %s\n", strerror(-r));
    net_resolver_free(run.load.resolver);
    net_loop_free(run.load.loop);
    bench_load_deinit(&run.load);
    return r == 0 && run.load.histogram.count > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct options options;
    struct net_tls *tls = NULL;
    RK_CLEANUP(rk_freep) char *error = NULL;
    int r = parse(argc, argv, &options);
    if (r != 0)
        return r;
    signal(SIGPIPE, SIG_IGN);
    if (options.tls.ca_file && net_tls_new(&options.tls, &tls, &error) != 0) {
        fprintf(stderr, "bench: %s\n", error);
        return 1;
    }
    r = measure(&options, tls);
    net_tls_unref(tls);
    return r;
}
