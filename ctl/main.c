/* ctl/main.c - raftkvctl: the command table, help, and the way to a command. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/output.h"

static const struct ctl_command commands[] = {
    {"status", "", "Show who leads, this host's part, how far each member is, and problems", NULL,
     cmd_status},
    {"members", "", "List the members of the cluster", NULL, cmd_members},
    {"get", "KEY", "Print the value of a key",
     "  -n, --raw          exactly the value's bytes, without a newline after them\n"
     "      --encoded      KEY is percent-encoded: %00 is a zero byte\n"
     "      --level LEVEL  consistent (the default), default, or stale: works without a leader\n",
     cmd_get},
    {"set", "KEY [VALUE]", "Set a key, to VALUE or to what is read from standard input",
     "  VALUE may be - for standard input. With -v the revision is printed.\n"
     "      --encoded      KEY is percent-encoded: %00 is a zero byte\n",
     cmd_set},
    {"del", "KEY", "Delete a key", "      --encoded      KEY is percent-encoded: %00 is a zero byte\n",
     cmd_del},
    {"keys", "[PREFIX]", "List the keys that begin with PREFIX, or all",
     "      --limit N      at most N keys\n"
     "      --values       the values too\n"
     "      --encoded      PREFIX is, and keys are printed, percent-encoded\n"
     "      --level LEVEL  consistent (the default), default, or stale: works without a leader\n",
     cmd_keys},
    {"join", "HOST:PORT", "Make this host join the cluster of the member at HOST:PORT",
     "  HOST:PORT is the peer address of any member. Waits until this host votes.\n"
     "      --discard-data  throw away the keys that this host holds now\n"
     "      --no-wait       return once the daemon has begun; see raftkvctl status\n",
     cmd_join},
    {"leave", "", "Make this host leave its cluster", NULL, cmd_leave},
    {"member add", "HOST:PORT", "Invite the new, empty host at HOST:PORT into the cluster",
     "  HOST:PORT is the peer address of the new host. Waits until it votes.\n"
     "      --no-wait       return once the invitation is sent\n"
     "      --wait SECONDS  how long the host may take to appear (60)\n"
     "      --learner       it gets the data, but no vote\n",
     cmd_member_add},
    {"member remove", "MEMBER", "Remove a member, by id or name", NULL, cmd_member_remove},
    {"member promote", "MEMBER", "Make a learner that has caught up a voter", NULL, cmd_member_promote},
    {"member demote", "MEMBER", "Take a member's vote away; it stays a learner", NULL, cmd_member_demote},
    {"member priority", "MEMBER N", "Say who should lead: 0 to 100, the highest that can", NULL,
     cmd_member_priority},
    {"member replace", "OLD=NEW ...", "Put new members in the places of old ones, all in one step",
     "  OLD is a member's id or name. NEW is the HOST:PORT of a new, empty host's peer port, or the id or\n"
     "  name of a learner. Nobody's vote changes before all who come have caught up. Waits for the end.\n"
     "      --no-wait       return once the cluster has taken it on\n"
     "      --wait SECONDS  how long new hosts may take to appear (60)\n",
     cmd_member_replace},
    {"member abort", "", "Give up the replacement of members that is under way", NULL, cmd_member_abort},
    {"transfer-leader", "[MEMBER]", "Hand leadership to MEMBER, or to the one that is furthest", NULL,
     cmd_transfer_leader},
    {"snapshot save", "FILE", "Save the whole state to a new file",
     "  FILE must not exist. It appears only when it is complete and on disk.\n", cmd_snapshot_save},
    {"snapshot status", "FILE", "Check a snapshot file, and say what it holds",
     "  Needs no daemon. Exit code 1 when the file is damaged or not whole.\n", cmd_snapshot_status},
    {"snapshot restore", "FILE", "Begin a new cluster with what a snapshot file holds",
     "  The daemon must be stopped, and its data directory empty. Then start it, and join other hosts.\n"
     "  -c, --config FILE   the daemon's configuration (" RK_SYSCONFDIR "/raftkv.conf)\n",
     cmd_snapshot_restore},
    {"snapshot trigger", "", "Make this host write its state to disk and cut its log now", NULL,
     cmd_snapshot_trigger},
    {"recover", "[--force]", "Go on with this host alone when a majority is lost for good",
     "  The daemon must be stopped. Without --force nothing is changed: it shows what this host has, for\n"
     "  comparing it with the other hosts that are left.\n"
     "      --force         make a new cluster of this host's data; what only lost hosts had is lost\n"
     "  -c, --config FILE   the daemon's configuration (" RK_SYSCONFDIR "/raftkv.conf)\n",
     cmd_recover},
    {"pki", "COMMAND ...", "Make the certificates of a cluster",
     "  COMMAND is init, issue or show; raftkvctl pki --help explains them.\n", cmd_pki},
};

/* ---- help ---- */

/* name itself, or its first word. */
static bool belongs(const struct ctl_command *command, const char *name)
{
    size_t len = strlen(name);
    return strncmp(command->name, name, len) == 0 &&
           (command->name[len] == '\0' || command->name[len] == ' ');
}

static void print_usage(FILE *to, const char *before, const struct ctl_command *command)
{
    fprintf(to, "%sraftkvctl %s%s%s\n", before, command->name, command->usage[0] ? " " : "", command->usage);
}

static void help_common(void)
{
    fputs("\n"
          "Options of every command:\n"
          "      --socket PATH      the admin socket of raftkvd (" CLIENT_SOCKET_DEFAULT
          ", or $RAFTKV_SOCKET)\n"
          "      --json             print JSON\n"
          "      --timeout SECONDS  how long the daemon may take to answer (15)\n"
          "  -v, --verbose          say more\n"
          "  -h, --help             print this help\n",
          stdout);
}

static void help_all(void)
{
    fputs("raftkvctl - administer a host of a raftkv cluster\n"
          "\n"
          "Usage: raftkvctl [OPTION ...] COMMAND [ARGUMENT ...]\n"
          "\n"
          "Commands:\n",
          stdout);
    for (size_t i = 0; i < RK_ARRAY_LEN(commands); i++) {
        RK_CLEANUP(rk_freep) char *line = rk_asprintf("%s %s", commands[i].name, commands[i].usage);
        printf("  %-26s %s\n", line, commands[i].help);
    }
    printf("  %-26s %s\n", "help [COMMAND]", "Print this, or the help of a command");
    help_common();
    fputs("      --version          print the version\n"
          "\n"
          "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 daemon not reached, 5 no leader or\n"
          "unavailable, 6 no answer in time (outcome unknown), 7 refused. More: man raftkvctl\n",
          stdout);
}

bool ctl_help(const char *name)
{
    size_t found = 0;
    for (size_t i = 0; i < RK_ARRAY_LEN(commands); i++) {
        const struct ctl_command *command = &commands[i];
        if (!belongs(command, name))
            continue;
        print_usage(stdout, found++ > 0 ? "\nUsage: " : "Usage: ", command);
        printf("  %s.\n%s", command->help, command->details ? command->details : "");
    }
    if (found > 0)
        help_common();
    return found > 0;
}

void ctl_usage_lines(const char *name)
{
    for (size_t i = 0; i < RK_ARRAY_LEN(commands); i++)
        if (belongs(&commands[i], name))
            print_usage(stderr, "Usage: ", &commands[i]);
    fprintf(stderr, "More: raftkvctl help%s%s\n", name[0] ? " " : "", name);
}

static int cmd_help(int argc, char **argv)
{
    if (argc == 1) {
        help_all();
        return CTL_OK;
    }
    RK_CLEANUP(rk_freep)
    char *name = argc == 2 ? rk_strdup(argv[1]) : rk_asprintf("%s %s", argv[1], argv[2]);
    if (argc <= 3 && name[0] && ctl_help(name))
        return CTL_OK;
    return ctl_error(CTL_USAGE, "See: raftkvctl help", "there is no command \"%s\"", name);
}

/* ---- dispatch ---- */

/* How many words of argv name the command: 0 when they do not. */
static int words_matched(const struct ctl_command *command, int argc, char **argv)
{
    const char *space = strchr(command->name, ' ');
    if (!space)
        return strcmp(command->name, argv[0]) == 0 ? 1 : 0;
    size_t first = (size_t)(space - command->name);
    if (strlen(argv[0]) != first || strncmp(command->name, argv[0], first) != 0)
        return 0;
    return argc > 1 && strcmp(space + 1, argv[1]) == 0 ? 2 : 0;
}

static int unknown(int argc, char **argv)
{
    for (size_t i = 0; i < RK_ARRAY_LEN(commands); i++) {
        if (strchr(commands[i].name, ' ') == NULL || !belongs(&commands[i], argv[0]))
            continue;
        if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
            return ctl_help(argv[0]) ? CTL_OK : CTL_FAILED;
        if (argc > 1)
            return ctl_usage(argv[0], "there is no command \"%s %s\"", argv[0], argv[1]);
        return ctl_usage(argv[0], "\"%s\" needs one more word", argv[0]);
    }
    return ctl_error(CTL_USAGE, "See: raftkvctl help", "there is no command \"%s\"", argv[0]);
}

static int dispatch(int argc, char **argv)
{
    optind = 0; /* glibc: begin anew, with another argv */
    if (strcmp(argv[0], "help") == 0)
        return cmd_help(argc, argv);
    for (size_t i = 0; i < RK_ARRAY_LEN(commands); i++) {
        int words = words_matched(&commands[i], argc, argv);
        if (words > 0)
            return commands[i].run(argc - words + 1, argv + words - 1);
    }
    return unknown(argc, argv);
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"version", no_argument, NULL, 'V'}, CTL_LONG};
    int c, r;
    opterr = 0;
    while ((c = getopt_long(argc, argv, "+" CTL_SHORT "V", options, NULL)) >= 0) {
        if (c == 'V') {
            puts("raftkvctl " PACKAGE_VERSION);
            return CTL_OK;
        }
        if (c == 'h') {
            help_all();
            return CTL_OK;
        }
        if ((r = ctl_option(c, argv, "")) != CTL_GO_ON)
            return r;
    }
    if (optind == argc)
        return ctl_usage("", "a command is missing");
    return dispatch(argc - optind, argv + optind);
}

int main(int argc, char **argv)
{
    output_init();
    return output_finish(run(argc, argv));
}
