/* daemon/main.c - raftkvd: arguments, signals, and the main thread's event loop. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/daemon.h"

enum {
    EXIT_BAD_USAGE = 2,
};

struct options {
    const char *conf_path;
    const char *snapshot, *restore; /* a file to look at, or to restore */
    bool conf_given, check, print, adopt, rebuild, survey, recover, json;
};

static void print_help(void)
{
    printf("raftkvd - a key-value store replicated by Raft\n\n"
           "  -c, --config FILE   read FILE instead of %s/raftkv.conf\n"
           "      --check-config  print every problem of the configuration and exit (1 when there is one)\n"
           "      --print-config  print the effective configuration and exit\n"
           "      --adopt-data    accept a data directory that was moved here from another machine\n"
           "      --rebuild-rows  set the rows aside and get them from another member\n"
           "      --snapshot-status FILE, --restore FILE, --recover[=force], --json\n"
           "                      what raftkvctl snapshot status, snapshot restore and recover run\n"
           "      --version       print the version and exit\n"
           "  -h, --help          print this and exit\n\n"
           "See raftkvd(8), raftkv.conf(5), raftkvctl(8).\n",
           RK_SYSCONFDIR);
}

/* Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, struct options *ret)
{
    enum {
        OPT_CHECK = 256,
        OPT_PRINT,
        OPT_ADOPT,
        OPT_REBUILD,
        OPT_STATUS,
        OPT_RESTORE,
        OPT_RECOVER,
        OPT_JSON,
        OPT_VERSION
    };
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
                                          {"check-config", no_argument, NULL, OPT_CHECK},
                                          {"print-config", no_argument, NULL, OPT_PRINT},
                                          {"adopt-data", no_argument, NULL, OPT_ADOPT},
                                          {"rebuild-rows", no_argument, NULL, OPT_REBUILD},
                                          {"snapshot-status", required_argument, NULL, OPT_STATUS},
                                          {"restore", required_argument, NULL, OPT_RESTORE},
                                          {"recover", optional_argument, NULL, OPT_RECOVER},
                                          {"json", no_argument, NULL, OPT_JSON},
                                          {"version", no_argument, NULL, OPT_VERSION},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    int c;

    *ret = (struct options){.conf_path = RK_SYSCONFDIR "/raftkv.conf"};
    while ((c = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
        switch (c) {
        case 'c':
            ret->conf_path = optarg;
            ret->conf_given = true;
            break;
        case OPT_CHECK:
            ret->check = true;
            break;
        case OPT_PRINT:
            ret->print = true;
            break;
        case OPT_ADOPT:
            ret->adopt = true;
            break;
        case OPT_REBUILD:
            ret->rebuild = true;
            break;
        case OPT_STATUS:
            ret->snapshot = optarg;
            break;
        case OPT_RESTORE:
            ret->restore = optarg;
            break;
        case OPT_RECOVER:
            if (optarg && strcmp(optarg, "force") != 0) {
                fprintf(stderr, "raftkvd: --recover takes nothing or =force\n");
                return EXIT_BAD_USAGE;
            }
            ret->survey = !optarg;
            ret->recover = optarg;
            break;
        case OPT_JSON:
            ret->json = true;
            break;
        case OPT_VERSION:
            puts("raftkvd " PACKAGE_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            print_help();
            return EXIT_SUCCESS;
        default:
            return EXIT_BAD_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "raftkvd: unexpected argument %s; see raftkvd --help\n", argv[optind]);
        return EXIT_BAD_USAGE;
    }
    return -1;
}

static void print_buf(FILE *file, struct rk_buf *text)
{
    struct rk_slice s = rk_buf_slice(text);

    if (s.len > 0)
        fwrite(s.data, 1, s.len, file);
    rk_buf_deinit(text);
}

/* The built-in defaults serve when there is no file in the usual place. */
static int load_conf(const struct options *options, struct conf *ret, const char **ret_path)
{
    struct rk_buf problems = {0};
    bool missing = !options->conf_given && access(options->conf_path, F_OK) != 0;
    int r;

    *ret_path = missing ? NULL : options->conf_path;
    r = conf_load(*ret_path, ret, &problems);
    print_buf(stderr, &problems);
    return r;
}

/* ---- running ------------------------------------------------------------------------------- */

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    struct daemon *daemon = userdata;

    (void)source;
    RK_LOG(RK_LOG_NOTICE, "main", NULL, "stopping on signal %u", info->ssi_signo);
    return sd_event_exit(daemon->event, 0);
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    (void)source;
    (void)info;
    daemon_reload(userdata);
    return 0;
}

static int prepare_signals(struct daemon *daemon)
{
    sigset_t set;
    int r;

    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes with write(2) */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    r = sd_event_add_signal(daemon->event, NULL, SIGTERM, on_terminate, daemon);
    if (r >= 0)
        r = sd_event_add_signal(daemon->event, NULL, SIGINT, on_terminate, daemon);
    if (r >= 0)
        r = sd_event_add_signal(daemon->event, NULL, SIGHUP, on_hangup, daemon);
    return r < 0 ? r : 0;
}

static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            RK_LOG(RK_LOG_WARNING, "main", NULL, "cannot raise the limit of open files: %s", strerror(errno));
    }
}

static int serve(struct daemon *daemon)
{
    int r = sd_event_default(&daemon->event);

    if (r >= 0)
        r = prepare_signals(daemon);
    if (r < 0) {
        RK_LOG(RK_LOG_ERROR, "main", NULL, "cannot set up signals: %s", strerror(-r));
        return EXIT_FAILURE;
    }
    if (daemon_start(daemon) != 0)
        return EXIT_FAILURE;
    r = watchdog_start(daemon);
    if (r >= 0) {
        RK_LOG(RK_LOG_NOTICE, "main", NULL, "raftkvd " PACKAGE_VERSION " is ready as %s", daemon->conf.name);
        sd_notify(0, "READY=1");
        r = sd_event_loop(daemon->event);
    }
    sd_notify(0, "STOPPING=1\nSTATUS=handing over leadership");
    daemon_stop(daemon);
    RK_LOG(RK_LOG_NOTICE, "main", NULL, "stopped");
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Returns -1 to serve, or the exit status of the work that was asked for instead. */
static int work_offline(struct daemon *daemon, const struct options *options)
{
    struct rk_buf text = {0};

    if (options->print) {
        conf_print(&daemon->conf, &text);
        print_buf(stdout, &text);
    }
    if (options->check || options->print)
        return EXIT_SUCCESS;
    umask(0077);
    if (options->snapshot)
        return rescue_snapshot_status(options->snapshot, options->json);
    if (options->restore)
        return rescue_restore(daemon, options->restore, options->json);
    if (options->survey || options->recover)
        return rescue_recover(daemon, options->recover, options->json);
    return -1;
}

int main(int argc, char **argv)
{
    static struct daemon daemon;
    struct options options;
    int status = parse(argc, argv, &options);

    if (status >= 0)
        return status;
    if (load_conf(&options, &daemon.conf, &daemon.conf_path) != 0)
        return EXIT_FAILURE;
    status = work_offline(&daemon, &options);
    if (status >= 0) {
        conf_deinit(&daemon.conf);
        return status;
    }
    daemon.adopt_data = options.adopt;
    daemon.rebuild_rows = options.rebuild;
    rk_log_set_level(conf_log_level(&daemon.conf));
    raise_file_limit();
    status = serve(&daemon);
    sd_event_unref(daemon.event);
    conf_deinit(&daemon.conf);
    return status;
}
