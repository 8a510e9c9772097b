/* ctl/cmd_rescue.c - snapshot status, snapshot restore, recover: work on files, which raftkvd itself does.
 *
 * The formats are the daemon's, so it is run here with the same configuration file, in
 * the place of this process. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/output.h"

enum {
    OPT_FORCE = CTL_OPT_OWN,
};

struct rescue {
    const char *conf;
    bool force;
};

/* raftkvd beside this program (a build, or one prefix for both), else where it was to be installed. */
static char *daemon_path(void)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) {
        RK_CLEANUP(rk_freep) char *beside = rk_asprintf("%.*s/raftkvd", (int)(slash - self), self);
        if (access(beside, X_OK) == 0)
            return rk_strdup(beside);
    }
    return rk_strdup(RK_SBINDIR "/raftkvd");
}

static int run(const struct rescue *rescue, const char *work, const char *file)
{
    RK_CLEANUP(rk_freep) char *path = daemon_path();
    char *argv[8];
    size_t n = 0;
    argv[n++] = path;
    if (rescue->conf) {
        argv[n++] = (char *)"--config";
        argv[n++] = (char *)rescue->conf;
    }
    argv[n++] = (char *)work;
    if (file)
        argv[n++] = (char *)file;
    if (ctl_settings.json)
        argv[n++] = (char *)"--json";
    argv[n] = NULL;
    fflush(stdout);
    execv(path, argv);
    return ctl_error(CTL_FAILED, "This command needs the daemon's program on this host.", "cannot run %s: %s",
                     path, strerror(errno));
}

static int parse(int argc, char **argv, const char *command, bool may_force, struct rescue *ret)
{
    static const struct option longs[] = {
        {"force", no_argument, NULL, OPT_FORCE}, {"config", required_argument, NULL, 'c'}, CTL_LONG};
    int c, r;
    while ((c = getopt_long(argc, argv, CTL_SHORT "c:", longs, NULL)) >= 0) {
        if (c == 'c')
            ret->conf = optarg;
        else if (c == OPT_FORCE && may_force)
            ret->force = true;
        else if (c == OPT_FORCE)
            return ctl_usage(command, "there is no option --force");
        else if ((r = ctl_option(c, argv, command)) != CTL_GO_ON)
            return r;
    }
    return CTL_GO_ON;
}

static int with_file(int argc, char **argv, const char *command, const char *work)
{
    struct rescue rescue = {0};
    int r = parse(argc, argv, command, false, &rescue);
    if (r != CTL_GO_ON)
        return r;
    if (argc - optind != 1)
        return ctl_usage(command, "exactly one FILE is needed");
    return run(&rescue, work, argv[optind]);
}

int cmd_snapshot_status(int argc, char **argv)
{
    return with_file(argc, argv, "snapshot status", "--snapshot-status");
}

int cmd_snapshot_restore(int argc, char **argv)
{
    return with_file(argc, argv, "snapshot restore", "--restore");
}

int cmd_recover(int argc, char **argv)
{
    struct rescue rescue = {0};
    int r = parse(argc, argv, "recover", true, &rescue);
    if (r != CTL_GO_ON)
        return r;
    if (argc > optind)
        return ctl_usage("recover", "\"%s\" is one argument too many", argv[optind]);
    return run(&rescue, rescue.force ? "--recover=force" : "--recover", NULL);
}
