/* tests/script/raft_script.h - what the files of the script runner share; README.md lists the commands.
 *
 * A script is a cluster in slow motion: nothing is delivered, written or ticked
 * unless a command says so. Cores, logs, disks and checkers are those of the
 * simulated cluster (tests/unit/raft_cluster.h); only its clock, its network and its
 * luck are left out. So every script is also held to the properties of raft figure 3.
 *
 * Nodes are numbered from 0, members from 1: node i is member i + 1. */
#ifndef RAFT_SCRIPT_H
#define RAFT_SCRIPT_H

#include "tests/unit/raft_cluster_internal.h"

#define SCRIPT_WORDS_MAX 24u

/* A snapshot on its way, one for each pair of members. */
struct script_stream {
    bool offered;
    struct cluster_rows rows;
};

struct script {
    struct cluster c;
    const char *path;
    unsigned line;
    bool quiet; /* says nothing */

    struct cluster_happening **flight; /* packets on the network, oldest first */
    size_t flight_count, flight_capacity;
    bool hold[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX];
    bool slow[CLUSTER_NODES_MAX]; /* disks that write only when they are named */
    struct script_stream streams[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX];

    char **names; /* payloads: names[value - 1]; the no-op has value 0 */
    size_t name_count, name_capacity;
    struct raft_members **members; /* all that were ever proposed */
    size_t member_count, member_capacity;
};

/* The payload of entries that a member boots with: the same index and term must be the same entry. */
#define SCRIPT_OLD 1u

/* A pair of members; SCRIPT_ANY stands for all. */
#define SCRIPT_ANY UINT32_MAX
struct script_link {
    uint32_t from, to;
};

/* raft_script.c */
_Noreturn void script_fail(const struct script *s, const char *format, ...) RK_PRINTF(2, 3);

/* raft_script_world.c */
void script_init(struct script *s, uint32_t voters, uint32_t nodes);
void script_deinit(struct script *s);
void script_start(struct script *s, uint32_t node);
/* What has not reached the disk is lost. */
void script_stop(struct script *s, uint32_t node);
uint64_t script_name(struct script *s, const char *name);
const struct raft_members *script_keep_members(struct script *s, const struct raft_members *members);
/* One event for one node, its consequences, and its transcript. source: the entries of the event with their
 * values. */
struct raft_output script_step(struct script *s, uint32_t node, struct raft_event event,
                               const struct cluster_entry *source);
/* The first so many writes reach the disk in one flush. */
void script_persist(struct script *s, uint32_t node, size_t writes_max);

/* raft_script_net.c */
void script_transmit(struct script *s, struct cluster_happening *packet);
enum script_pick {
    SCRIPT_PICK_ALL, /* that are on the link now */
    SCRIPT_PICK_FIRST,
    SCRIPT_PICK_LAST,
};
/* Each returns how many packets it handled. */
size_t script_deliver(struct script *s, struct script_link link, enum script_pick pick);
size_t script_drop(struct script *s, struct script_link link, enum script_pick pick);
size_t script_repeat(struct script *s, struct script_link link);
/* Persists and delivers, round by round, until nothing is left that may move. */
void script_settle(struct script *s);

/* raft_script_print.c: all lines are indented, which makes them output */
void script_say(const struct script *s, const char *format, ...) RK_PRINTF(2, 3);
void script_say_output(const struct script *s, uint32_t node, const struct raft_event *event,
                       const struct raft_output *out);
void script_say_packet(const struct script *s, const struct cluster_happening *packet, const char *before,
                       const char *after);
void script_say_write(const struct script *s, uint32_t node, const struct cluster_write *write);
void script_say_status(const struct script *s, uint32_t node);
void script_say_log(const struct script *s, const struct cluster_log *log, const char *before);
void script_say_peer(const struct script *s, uint32_t node, const struct raft_peer_status *peer);
char *script_members_text(const struct raft_members *members); /* the caller frees it */

/* raft_script_command.c; words[0] is the command */
void script_command(struct script *s, char **words, uint32_t count);
uint64_t script_number(const struct script *s, const char *word);
uint32_t script_member(const struct script *s, const char *word);
uint32_t script_member_up(const struct script *s, const char *word);
struct script_link script_one_link(const struct script *s, char *word);

/* raft_script_ask.c */
void script_do_propose(struct script *s, char **words, uint32_t count);
void script_do_change(struct script *s, char **words, uint32_t count);
void script_do_read(struct script *s, char **words, uint32_t count);
void script_do_transfer(struct script *s, char **words, uint32_t count);
void script_do_unreachable(struct script *s, char **words, uint32_t count);
void script_do_change_all(struct script *s, char **words, uint32_t count);
void script_do_priority(struct script *s, char **words, uint32_t count);
void script_do_abort(struct script *s, char **words, uint32_t count);
void script_do_step_down(struct script *s, char **words, uint32_t count);
void script_do_compact(struct script *s, char **words, uint32_t count);
void script_do_offer(struct script *s, char **words, uint32_t count);
void script_do_install(struct script *s, char **words, uint32_t count);
void script_do_sent(struct script *s, char **words, uint32_t count);
void script_do_snapshot(struct script *s, char **words, uint32_t count);

#endif
