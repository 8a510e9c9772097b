/* ctl/ctl.h - raftkvctl: what main.c, the commands and the helpers share.
 *
 * A command is a function that takes its own words (argv[0] is its last word:
 * "add" for "member add"), prints to stdout through output.h, complains on stderr
 * through ctl_fail() or ctl_error(), and returns an exit code. It never exits. */
#ifndef CTL_H
#define CTL_H

#include <getopt.h>

#include "lib/base/rk_slice.h"
#include "lib/base/rk_util.h"
#include "lib/client/client.h"

/* Scripts depend on these: documented in raftkvctl(8), never renumbered. */
enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_NOT_FOUND = 3,
    CTL_UNREACHABLE = 4, /* the daemon cannot be reached */
    CTL_UNAVAILABLE = 5, /* no leader, or the cluster cannot serve now */
    CTL_UNKNOWN = 6,     /* no answer in time: a change may or may not have been made */
    CTL_REFUSED = 7,     /* the state of things forbids it: holds data, not caught up, exists */
};

struct ctl_command {
    const char *name;    /* one word, or two: "member add" */
    const char *usage;   /* what follows the name */
    const char *help;    /* one line */
    const char *details; /* more lines for `raftkvctl help NAME`, or NULL */
    int (*run)(int argc, char **argv);
};

int cmd_get(int argc, char **argv);
int cmd_set(int argc, char **argv);
int cmd_del(int argc, char **argv);
int cmd_keys(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_members(int argc, char **argv);
int cmd_join(int argc, char **argv);
int cmd_leave(int argc, char **argv);
int cmd_member_add(int argc, char **argv);
int cmd_member_remove(int argc, char **argv);
int cmd_member_promote(int argc, char **argv);
int cmd_member_demote(int argc, char **argv);
int cmd_member_priority(int argc, char **argv);
int cmd_member_replace(int argc, char **argv);
int cmd_member_abort(int argc, char **argv);
int cmd_transfer_leader(int argc, char **argv);
int cmd_snapshot_save(int argc, char **argv);
int cmd_snapshot_status(int argc, char **argv);
int cmd_snapshot_restore(int argc, char **argv);
int cmd_recover(int argc, char **argv);
int cmd_snapshot_trigger(int argc, char **argv);
int cmd_pki(int argc, char **argv);

/* --- the command table (main.c)
 * ---------------------------------------------------------------------------------- */

/* Prints the help of one command, or of all whose first word it is; false when there is none of that name. */
bool ctl_help(const char *name);
/* Prints the commands' names and usages to stderr, as after a mistake. */
void ctl_usage_lines(const char *name);

/* --- options (option.c)
 * ------------------------------------------------------------------------------------------ */

/* The options that are taken everywhere, before and after the command. */
struct ctl_settings {
    const char *socket;
    bool json, verbose;
    uint32_t timeout_ms; /* 0: not given */
};
extern struct ctl_settings ctl_settings;

enum ctl_option_key {
    CTL_OPT_SOCKET = 0x100,
    CTL_OPT_JSON,
    CTL_OPT_TIMEOUT,
    CTL_OPT_OWN, /* first number for a command's own long options */
};

#define CTL_SHORT ":hv"
/* clang-format off */
#define CTL_LONG \
    {"socket", required_argument, NULL, CTL_OPT_SOCKET}, \
    {"json", no_argument, NULL, CTL_OPT_JSON}, \
    {"timeout", required_argument, NULL, CTL_OPT_TIMEOUT}, \
    {"verbose", no_argument, NULL, 'v'}, \
    {"help", no_argument, NULL, 'h'}, \
    {NULL, 0, NULL, 0}
/* clang-format on */

#define CTL_GO_ON (-1)
/* What getopt_long() returned and the command does not know itself: a common option, or a mistake. command is
 * the full name. CTL_GO_ON, or the exit code to end with. */
int ctl_option(int c, char **argv, const char *command);
/* For a command without options of its own: parses argv and checks that min to max words are left from optind
 * on. */
int ctl_options_only(int argc, char **argv, const char *command, int min, int max);
/* Says what is wrong and how the command is used; returns CTL_USAGE. */
int ctl_usage(const char *command, const char *fmt, ...) RK_PRINTF(2, 3);
/* "consistent", "default" or "stale". */
bool ctl_parse_level(const char *text, enum client_level *ret);
/* A whole decimal number from 1 to max. */
bool ctl_parse_number(const char *text, uint32_t max, uint32_t *ret);
/* Seconds, with a fraction if need be: 0.05 to 86400. */
bool ctl_parse_seconds(const char *text, uint32_t *ret_ms);
/* HOST:PORT, [IPV6]:PORT */
bool ctl_address_good(const char *text);

/* --- what the commands about members share (cmd_member.c)
 * ---------------------------------------------------------------------------------- */

/* Success in one sentence, or as {"result": "..."} with the members of extra (may be NULL). */
void ctl_say(const json_t *extra, const char *sentence);
#define CTL_CHANGE_PATIENCE_MS 60000u /* changes wait for other hosts */
#define CTL_POLL_US            200000u
#define CTL_APPEAR_MS          60000u

/* --- the daemon (fail.c)
 * ----------------------------------------------------------------------------------------- */

/* A client of the chosen socket; patience_ms is the time a request may take unless --timeout was given (0:
 * the usual). NULL after saying why. */
struct client *ctl_connect(uint32_t patience_ms);
/* The same; requests end with -ECANCELED when cancelled() says so. */
struct client *ctl_connect_cancellable(uint32_t patience_ms, bool (*cancelled)(void *userdata));
void ctl_disconnect(struct client **client); /* for RK_CLEANUP */
int ctl_exit_code(int outcome);
/* Prints "raftkvctl: WHAT: why" and what to do next, and returns the exit code. advice NULL: by the kind of
 * failure. */
int ctl_fail(const struct client *client, int outcome, const char *advice, const char *fmt, ...)
    RK_PRINTF(4, 5);
/* The same for failures that are not the client library's. advice may be NULL. Returns exit_code. */
int ctl_error(int exit_code, const char *advice, const char *fmt, ...) RK_PRINTF(3, 4);

#endif
