/* lib/conf/conf_table.c - every option of raftkvd: the one place where an option is made.
 *
 * A row says where the value lives in struct conf, what it may be, what it is
 * when nobody says anything, and how to explain it. Reading, checking, printing,
 * the sample file and the manual page's test walk these rows, so an option added
 * here (and to struct conf) is known everywhere. A path has one dot at most. */
#include "config.h" /* _GNU_SOURCE */

#include "lib/conf/conf_private.h"

#include <string.h>
#include <unistd.h>

#include "lib/base/rk_assert.h"

#define AT(field) .offset = offsetof(struct conf, field)
#define INTEGER   .kind = CONF_INTEGER
#define BOOLEAN   .kind = CONF_BOOLEAN
#define STRING(s) .kind = CONF_STRING, .shape = (s)

const struct conf_group conf_groups[] = {
    {"peer", "The door for the other hosts of the cluster: always TLS, certificates on both sides."},
    {"client", "The door for clients: gRPC, HTTP and JSON on one port."},
    {"admin", "The local door for administrators: raftkvctl on the same host."},
    {"raft", "Consensus: timing and the length of the log."},
    {"store", "Memory and disk."},
    {"limits", "What a client may ask for."},
    {"service", "The daemon as a service."},
};
const size_t conf_group_count = RK_ARRAY_LEN(conf_groups);

const struct conf_entry conf_entries[] = {
    {.path = "name",
     STRING(CONF_MEMBER_NAME),
     AT(name),
     .words = "the host's name",
     .example = "node1",
     .help = "The name of this host in its cluster: 1 to 64 letters, digits, dots, dashes and underscores. "
             "No two "
             "hosts of a cluster share a name."},
    {.path = "data_directory",
     STRING(CONF_PATH),
     AT(data_directory),
     .initial = "/var/lib/raftkv",
     .help = "Where the log, the rows and this host's identity live. One daemon per directory; it is locked "
             "while the daemon runs."},
    {.path = "log_level",
     STRING(CONF_LEVEL),
     AT(log_level),
     .initial = "info",
     .live = true,
     .help = "The least important lines that are logged: error, warning, notice, info or debug."},
    {.path = "workers",
     INTEGER,
     AT(workers),
     .min = 0,
     .max = 64,
     .initial = "0",
     .help = "Threads that serve connections. 0 means one per processor, but four at most."},
    {.path = "initial_members",
     .kind = CONF_LIST,
     .shape = CONF_MEMBER,
     AT(initial_members),
     .words = "empty",
     .example = "\"node1=node1.example:2380\", \"node2=node2.example:2380\", \"node3=node3.example:2380\"",
     .help = "The hosts that found the cluster, each as name=host:port of its peer port, 32 at most; the "
             "same list "
             "on each of them, this host included. Read once, when the data directory is empty; "
             "nobody votes before all of them have been up together for a moment, so that a host whose disk "
             "was lost is not taken for a new one. Left empty, a host "
             "with an empty data directory founds a cluster of its own, which others can join."},
    {.path = "initial_cluster_name",
     STRING(CONF_ANY),
     AT(initial_cluster_name),
     .initial = "raftkv",
     .help =
         "Mixed into the ids of a cluster made from initial_members, so that two clusters made from equal "
         "lists still refuse each other. The same on each founding host."},

    {.path = "peer.listen",
     STRING(CONF_LISTEN),
     AT(peer.listen),
     .initial = "*:2380",
     .help =
         "The address and port for other members: host:port, [IPv6]:port or *:port. The port opens only when "
         "peer.certificate is given."},
    {.path = "peer.advertise",
     STRING(CONF_ADDRESS),
     AT(peer.advertise),
     .words = "its address in initial_members, else listen with name for *",
     .example = "node1.example:2380",
     .help = "The host:port that other members connect to. The certificate must carry this host."},
    {.path = "peer.certificate",
     STRING(CONF_PATH_OR_EMPTY),
     AT(peer.certificate),
     .words = "none",
     .example = "/etc/raftkv/node1.crt",
     .help = "This host's certificate for the peer port, for server and client use, as PEM. Without it the "
             "peer port "
             "stays closed, and the host can only be a cluster of its own."},
    {.path = "peer.key",
     STRING(CONF_PATH_OR_EMPTY),
     AT(peer.key),
     .words = "none",
     .example = "/etc/raftkv/node1.key",
     .help = "The private key of peer.certificate, readable by the daemon only."},
    {.path = "peer.ca",
     STRING(CONF_PATH_OR_EMPTY),
     AT(peer.ca),
     .words = "none",
     .example = "/etc/raftkv/ca.crt",
     .help = "The authority that signs the members' certificates. Needed with peer.certificate; use one that "
             "signs "
             "nothing else than certificates of your hosts and their clients."},

    {.path = "client.listen",
     STRING(CONF_LISTEN),
     AT(client.listen),
     .initial = "*:2379",
     .help = "The address and port for clients: host:port, [IPv6]:port or *:port. The port opens only when "
             "client.certificate is given, or without encryption on a loopback address (see client.tls)."},
    {.path = "client.advertise",
     STRING(CONF_URL),
     AT(client.advertise),
     .words = "https://, listen with name for *; none while the port is closed",
     .example = "https://node1.example:2379",
     .help = "The address of this host that clients are told, as https://host:port."},
    {.path = "client.certificate",
     STRING(CONF_PATH_OR_EMPTY),
     AT(client.certificate),
     .words = "none",
     .example = "/etc/raftkv/node1.crt",
     .help = "The certificate shown to clients, as PEM. Without it the client port stays closed."},
    {.path = "client.key",
     STRING(CONF_PATH_OR_EMPTY),
     AT(client.key),
     .words = "none",
     .example = "/etc/raftkv/node1.key",
     .help = "The private key of client.certificate, readable by the daemon only."},
    {.path = "client.ca",
     STRING(CONF_PATH_OR_EMPTY),
     AT(client.ca),
     .words = "none",
     .example = "/etc/raftkv/ca.crt",
     .help = "The authority that signs clients' certificates. When given, clients are asked for one."},
    {.path = "client.tls",
     BOOLEAN,
     AT(client.tls),
     .initial = "true",
     .help = "false serves clients without encryption, which is allowed on a loopback address only: "
             "127.0.0.1:2379, "
             "[::1]:2379 or localhost:2379 in client.listen."},
    {.path = "client.require_certificate",
     BOOLEAN,
     AT(client.require_certificate),
     .initial = "false",
     .help = "true refuses clients that show no certificate of client.ca."},

    {.path = "admin.socket",
     STRING(CONF_SOCKET),
     AT(admin.socket),
     .initial = "/run/raftkv/admin.sock",
     .help = "The Unix socket of raftkvctl. root and the daemon's own user may always use it."},
    {.path = "admin.group",
     STRING(CONF_ANY),
     AT(admin.group),
     .initial = "raftkv",
     .help =
         "Members of this group may use the socket as well, when the group exists. \"\" for nobody else."},

    {.path = "raft.election_timeout_ms",
     INTEGER,
     AT(raft.election_timeout_ms),
     .min = 50,
     .max = 60000,
     .initial = "1000",
     .help = "Milliseconds without a word from the leader after which the others elect a new one; the same "
             "on all "
             "hosts. Ten times the round trip between the hosts, or more."},
    {.path = "raft.heartbeat_ms",
     INTEGER,
     AT(raft.heartbeat_ms),
     .min = 5,
     .max = 20000,
     .initial = "100",
     .help = "Milliseconds between the leader's signs of life. At most a third of raft.election_timeout_ms."},
    {.path = "raft.log_keep_entries",
     INTEGER,
     AT(raft.log_keep_entries),
     .min = 1,
     .max = 100000000,
     .initial = "20000",
     .help =
         "Log entries kept behind the last applied one, for members that lag: whoever lags further gets a "
         "snapshot."},
    {.path = "raft.snapshot_entries",
     INTEGER,
     AT(raft.snapshot_entries),
     .min = 1,
     .max = 100000000,
     .initial = "100000",
     .help = "The log is cut when it has grown by this many entries."},
    {.path = "raft.snapshot_mb",
     INTEGER,
     AT(raft.snapshot_mb),
     .min = 1,
     .max = 65536,
     .initial = "256",
     .help = "The log is cut when it has grown by this many megabytes, if that comes first."},
    {.path = "raft.snapshot_minutes",
     INTEGER,
     AT(raft.snapshot_minutes),
     .min = 1,
     .max = 525600,
     .initial = "60",
     .help =
         "The log is cut when that was this many minutes ago and it has grown beyond raft.log_keep_entries."},
    {.path = "raft.snapshots_at_once",
     INTEGER,
     AT(raft.snapshots_at_once),
     .min = 1,
     .max = 64,
     .initial = "2",
     .help = "Snapshots that a leader sends to other members at the same time; more of them wait."},
    {.path = "raft.snapshot_mb_per_s",
     INTEGER,
     AT(raft.snapshot_mb_per_s),
     .min = 0,
     .max = 65536,
     .initial = "64",
     .help = "Megabytes per second that each of them may take; 0 for no bound."},
    {.path = "raft.log_retain_mb",
     INTEGER,
     AT(raft.log_retain_mb),
     .min = 1,
     .max = 1048576,
     .initial = "1024",
     .help =
         "A cut waits for members that lag or are being sent a snapshot until the log is this many megabytes "
         "long."},
    {.path = "raft.promote_lag_entries",
     INTEGER,
     AT(raft.promote_lag_entries),
     .min = 1,
     .max = 1000000,
     .initial = "100",
     .help = "A host that joins gets a vote once it is this close to the leader's log."},
    {.path = "raft.replace_timeout_s",
     INTEGER,
     AT(raft.replace_timeout_s),
     .min = 1,
     .max = 2592000,
     .initial = "86400",
     .help = "Seconds after which a replacement of members is given up."},
    {.path = "raft.lease_reads",
     BOOLEAN,
     AT(raft.lease_reads),
     .initial = "false",
     .help = "Consistent reads without asking a majority, if all members' clocks can be trusted."},

    {.path = "store.log_cache_mb",
     INTEGER,
     AT(store.log_cache_mb),
     .min = 1,
     .max = 16384,
     .initial = "8",
     .help = "Megabytes of memory for the pages of the log."},
    {.path = "store.rows_cache_mb",
     INTEGER,
     AT(store.rows_cache_mb),
     .min = 1,
     .max = 1048576,
     .initial = "64",
     .help = "Megabytes of memory for the pages of keys and values."},
    {.path = "store.checkpoint_mb",
     INTEGER,
     AT(store.checkpoint_mb),
     .min = 1,
     .max = 4096,
     .initial = "64",
     .help = "Megabytes of database log between checkpoints. More of it makes writing cheaper and a start "
             "after a "
             "crash slower."},
    {.path = "store.reserve_mb",
     INTEGER,
     AT(store.reserve_mb),
     .min = 0,
     .max = 4096,
     .initial = "16",
     .help = "Megabytes of disk held back and given free when the disk is full, so that the daemon can still "
             "tidy up. "
             "0 for none."},
    {.path = "store.low_space_mb",
     INTEGER,
     AT(store.low_space_mb),
     .min = 0,
     .max = 1048576,
     .initial = "64",
     .help = "Writes are refused while less than this many megabytes of disk are free; reading and deleting "
             "go on. 0 "
             "never refuses."},

    {.path = "limits.request_bytes",
     INTEGER,
     AT(limits.request_bytes),
     .min = 1024,
     .max = RK_REQUEST_BYTES_MAX,
     .initial = "1572864",
     .help = "The largest request in bytes."},
    {.path = "limits.request_timeout_ms",
     INTEGER,
     AT(limits.request_timeout_ms),
     .min = 10,
     .max = 600000,
     .initial = "5000",
     .help = "Milliseconds a request may wait for the cluster before the client is told that the outcome is "
             "unknown."},

    {.path = "service.shutdown_timeout_ms",
     INTEGER,
     AT(service.shutdown_timeout_ms),
     .min = 100,
     .max = 300000,
     .initial = "5000",
     .help = "Milliseconds a stopping daemon gives to running requests and to the hand-over of leadership."},
};
const size_t conf_entry_count = RK_ARRAY_LEN(conf_entries);
_Static_assert(RK_ARRAY_LEN(conf_entries) <= CONF_ENTRIES_MAX, "raise CONF_ENTRIES_MAX");
_Static_assert(RK_REQUEST_BYTES_MAX == 1572864u, "limits.request_bytes has this as its default's text");

size_t conf_entry_index_of(size_t offset)
{
    size_t i = 0;
    while (i < conf_entry_count && conf_entries[i].offset != offset)
        i++;
    rk_assert(i < conf_entry_count);
    return i;
}

size_t conf_entry_find(const char *path)
{
    size_t i = 0;
    while (i < conf_entry_count && strcmp(conf_entries[i].path, path) != 0)
        i++;
    return i;
}

const char *conf_entry_leaf(const struct conf_entry *entry)
{
    const char *dot = strchr(entry->path, '.');
    return dot ? dot + 1 : entry->path;
}

bool conf_entry_in(const struct conf_entry *entry, const char *group)
{
    size_t len = (size_t)(conf_entry_leaf(entry) - entry->path);
    if (len == 0)
        return group[0] == '\0';
    return strlen(group) == len - 1 && strncmp(entry->path, group, len - 1) == 0;
}

char *conf_default_name(void)
{
    char name[256];
    if (gethostname(name, sizeof(name)) < 0)
        return rk_strdup("");
    name[sizeof(name) - 1] = '\0';
    return rk_strdup(name);
}

static void set_default(struct conf *conf, const struct conf_entry *entry)
{
    switch (entry->kind) {
    case CONF_INTEGER:
        *conf_integer(conf, entry) = (uint32_t)strtoul(entry->initial, NULL, 10);
        break;
    case CONF_BOOLEAN:
        *conf_boolean(conf, entry) = strcmp(entry->initial, "true") == 0;
        break;
    case CONF_STRING:
        *conf_strings(conf, entry) = rk_strdup(entry->initial ? entry->initial : "");
        break;
    case CONF_LIST: /* no more than CONF_INITIAL_MEMBERS_MAX NULLs */
        break;
    }
}

void conf_set_defaults(struct conf *ret)
{
    *ret = (struct conf){0};
    for (size_t i = 0; i < conf_entry_count; i++)
        set_default(ret, &conf_entries[i]);
    free(ret->name);
    ret->name = conf_default_name();
}

void conf_deinit(struct conf *conf)
{
    if (!conf)
        return;
    for (size_t i = 0; i < conf_entry_count; i++)
        if (conf_entries[i].kind == CONF_STRING)
            free(*conf_strings(conf, &conf_entries[i]));
    for (size_t i = 0; i < CONF_INITIAL_MEMBERS_MAX; i++)
        free(conf->initial_members[i]);
    *conf = (struct conf){0};
}

size_t conf_option_count(void)
{
    return conf_entry_count;
}

void conf_option_get(size_t index, struct conf_option *ret)
{
    static const char *const types[] = {
        [CONF_INTEGER] = "integer",
        [CONF_BOOLEAN] = "boolean",
        [CONF_STRING] = "string",
        [CONF_LIST] = "list of strings",
    };
    rk_assert(index < conf_entry_count);
    const struct conf_entry *entry = &conf_entries[index];
    *ret = (struct conf_option){
        .path = entry->path,
        .type = types[entry->kind],
        .default_text = entry->initial ? entry->initial : entry->words,
        .help = entry->help,
        .min = entry->min,
        .max = entry->max,
    };
}
