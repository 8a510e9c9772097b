/* lib/conf/conf.h - the configuration of raftkvd: /etc/raftkv.conf, in libconfig's syntax.
 *
 * One table (conf_table.c) is the source of every option's name, type, range,
 * default and help; the parser, --print-config, the manual page's test and the
 * sample file all come from it. */
#ifndef CONF_H
#define CONF_H

#include "lib/base/limits.h"
#include "lib/base/rk_buf.h"
#include "lib/base/rk_log.h"
#include "lib/base/rk_util.h"

#define CONF_INITIAL_MEMBERS_MAX RK_MEMBERS_MAX
/* A file with every option, its help and a full list of members is about 16 KiB; more is not a configuration.
 */
#define CONF_FILE_BYTES_MAX (256u * 1024u)

/* Strings are heap-allocated and never NULL; "" means not given. */
struct conf {
    char *name;           /* default: the host's name */
    char *data_directory; /* /var/lib/raftkv */
    char *log_level;      /* error, warning, notice, info, debug */
    uint32_t workers;     /* 0: min(cores, 4) */
    /* "name=host:port" each. Empty: a host with an empty data directory makes a cluster of its own. */
    char *initial_members[CONF_INITIAL_MEMBERS_MAX];
    uint32_t initial_member_count;
    char *initial_cluster_name; /* mixed into the ids of a cluster made from initial_members */

    struct {
        char *listen; /* "host:port", default "*:2380"; the port opens only when a certificate is given */
        /* What other members connect to. Default: our address in initial_members; without one, name and the
         * port of listen ("" when name is no host name and the port stays closed). */
        char *advertise;
        char *certificate, *key, *ca;
    } peer;

    struct {
        char *listen; /* default "*:2379"; opens only with a certificate, or with tls = false on loopback */
        /* "https://host:port" given to clients that ask for a redirect. Default: name and the port of listen;
         * "" while the port is closed. */
        char *advertise;
        char *certificate, *key, *ca;
        bool tls;                 /* default true */
        bool require_certificate; /* clients must present a certificate of ca */
    } client;

    struct {
        char *socket; /* /run/raftkv/admin.sock */
        char *group;  /* raftkv: members of this group may use the socket, when the group exists */
    } admin;

    struct {
        uint32_t election_timeout_ms; /* 1000 */
        uint32_t heartbeat_ms;        /* 100; at most a third of election_timeout_ms */
        uint32_t log_keep_entries;    /* 20000: entries kept behind the applied one for members that lag */
        uint32_t snapshot_entries;    /* 100000: the log is cut when it has grown by so many entries */
        uint32_t snapshot_mb;         /* 256: ... or by so many megabytes */
        uint32_t snapshot_minutes;    /* 60: ... or when that is so long ago */
        uint32_t snapshots_at_once;   /* 2: that this host sends to others */
        uint32_t snapshot_mb_per_s;   /* 64: of each of them; 0: no bound */
        uint32_t log_retain_mb;       /* 1024: a cut waits for members that lag until the log is so long */
        uint32_t promote_lag_entries; /* 100: a learner this close to the leader may vote */
        uint32_t replace_timeout_s;   /* 86400: a replacement that takes longer is given up */
        bool lease_reads;             /* false: see lib/raft/raft_lease.c for what it asks of clocks */
    } raft;

    struct {
        uint32_t log_cache_mb;  /* 8 */
        uint32_t rows_cache_mb; /* 64 */
        uint32_t checkpoint_mb; /* 64: of Berkeley DB log between checkpoints */
        uint32_t reserve_mb;    /* 16: ballast given back when the disk is full */
        uint32_t low_space_mb;  /* 64: below this much free space writes are refused */
    } store;

    struct {
        uint32_t request_bytes;      /* RK_REQUEST_BYTES_MAX at most and by default */
        uint32_t request_timeout_ms; /* 5000: how long a request may wait for the cluster */
    } limits;

    struct {
        uint32_t shutdown_timeout_ms; /* 5000 */
    } service;
};

/* Reads and checks a file. Every problem found goes to *ret_problems, a line each ("/etc/raftkv.conf:12:
 * ..."), with what to do. Returns 0, or -EINVAL when there were problems (ret is not set), or another -errno
 * when the file cannot be read (a line says so as well). path NULL: all defaults. */
int conf_load(const char *path, struct conf *ret, struct rk_buf *ret_problems) RK_MUST_CHECK;
/* The same for text in memory; label stands for the file's name in problems. 0 or -EINVAL. */
int conf_parse(const char *label, struct rk_slice text, struct conf *ret,
               struct rk_buf *ret_problems) RK_MUST_CHECK;
void conf_deinit(struct conf *conf);
/* The effective values, in the syntax of the file; what equals the default is marked by a trailing comment.
 */
void conf_print(const struct conf *conf, struct rk_buf *out);
/* The commented sample file, from the table: what `make` installs as raftkv.conf. */
void conf_sample(struct rk_buf *out);
enum rk_log_level conf_log_level(const struct conf *conf);
/* Which options differ and cannot change while running (everything but log_level and the certificate files'
 * content): a line each to out; returns how many. For SIGHUP. */
unsigned conf_changes_needing_restart(const struct conf *running, const struct conf *loaded,
                                      struct rk_buf *out);

/* For the manual page's test and completion: walks the table. */
struct conf_option {
    const char *path; /* "peer.listen" */
    const char *type; /* "string", "integer", "boolean", "list of strings" */
    const char *default_text;
    const char *help;  /* a sentence or two */
    uint64_t min, max; /* integers */
};
size_t conf_option_count(void);
void conf_option_get(size_t index, struct conf_option *ret);

/* The rules that certificates share with the file. A member's name: 1 to RK_NAME_BYTES_MAX of [A-Za-z0-9._-].
 */
bool conf_name_is_valid(const char *name);
/* A DNS name (RFC 1123, and underscores, which container tools put into names): no address, no wildcard, no
 * final dot. */
bool conf_host_is_valid(const char *host);

#endif
