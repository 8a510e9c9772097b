/* daemon/rescue.c - raftkvd --snapshot-status, --restore and --recover: work on a host that is stopped.
 *
 * raftkvctl runs these; they print for people, or with --json for programs. Root
 * becomes the owner of the data directory first, so that what it writes is the
 * daemon's. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "lib/node/node_rescue.h"

/* ---- output ------------------------------------------------------------------------------ */

struct printer {
    bool json;
    bool some;
};

static void name_of(struct printer *out, const char *name)
{
    if (out->json)
        printf("%s\"%s\":", out->some ? "," : "{", name);
    else
        printf("%-18s ", name);
    out->some = true;
}

static void number(struct printer *out, const char *name, uint64_t value)
{
    name_of(out, name);
    printf(out->json ? "%" PRIu64 : "%" PRIu64 "\n", value);
}

static void quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('"');
}

static void id(struct printer *out, const char *name, uint64_t value)
{
    name_of(out, name);
    printf(out->json ? "\"%016" PRIx64 "\"" : "%016" PRIx64 "\n", value);
}

static void members(struct printer *out, const struct node_members *list)
{
    name_of(out, "members");
    for (uint32_t i = 0; i < list->count; i++) {
        if (!out->json) {
            printf("%s%s", i > 0 ? ", " : "", list->member[i].name);
            continue;
        }
        printf(i > 0 ? "," : "[");
        quoted(list->member[i].name);
    }
    printf("%s", out->json ? (list->count > 0 ? "]" : "[]") : "\n");
}

static void finish(const struct printer *out)
{
    printf(out->json ? "}\n" : "");
}

static int failed(const char *what, char *sentence)
{
    fprintf(stderr, "raftkvd: %s: %s\n", what, sentence ? sentence : "failed");
    free(sentence);
    return EXIT_FAILURE;
}

/* ---- who does it --------------------------------------------------------------------------- */

static int change_user(const struct stat *st)
{
    if (setgroups(0, NULL) != 0 || setgid(st->st_gid) != 0 || setuid(st->st_uid) != 0)
        return failed("cannot become the owner of the data directory", rk_strdup(strerror(errno)));
    return 0;
}

static int become_owner(const char *directory)
{
    struct stat st;

    if (geteuid() != 0)
        return 0;
    if (stat(directory, &st) == 0)
        return st.st_uid == 0 ? 0 : change_user(&st);
    if (errno != ENOENT || !getpwnam("raftkv"))
        return 0;
    return failed(directory, rk_asprintf("it is not there; make it first: install -d -o raftkv -g raftkv -m "
                                         "0700 %s",
                                         directory));
}

static struct node_config config_of(const struct daemon *daemon)
{
    const struct conf *conf = &daemon->conf;

    return (struct node_config){
        .name = conf->name,
        .peer_address = conf->peer.certificate[0] ? conf->peer.advertise : "",
        .client_url = conf->client.certificate[0] || !conf->client.tls ? conf->client.advertise : "",
        .machine = "",
        .adopt_machine = true,
        .data_directory = conf->data_directory,
        .election_timeout_ms = conf->raft.election_timeout_ms,
        .heartbeat_ms = conf->raft.heartbeat_ms,
        .log_cache_bytes = (uint64_t)conf->store.log_cache_mb << 20,
        .rows_cache_bytes = (uint64_t)conf->store.rows_cache_mb << 20,
        .reserve_bytes = (uint64_t)conf->store.reserve_mb << 20,
        .low_space_bytes = (uint64_t)conf->store.low_space_mb << 20,
        .clock = rk_clock_boottime,
    };
}

/* ---- snapshot files -------------------------------------------------------------------------- */

static void print_file(struct printer *out, const struct node_file_report *file)
{
    id(out, "cluster", file->cluster_id);
    number(out, "index", file->index);
    number(out, "term", file->term);
    number(out, "revision", file->revision);
    number(out, "keys", file->keys);
    number(out, "bytes", file->bytes);
    id(out, "hash", file->hash);
    members(out, &file->members);
}

int rescue_snapshot_status(const char *path, bool json)
{
    RK_CLEANUP(rk_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct node_file_report *file = RK_NEW(struct node_file_report);
    struct printer out = {.json = json};
    char *error = NULL;
    int status = EXIT_SUCCESS;

    if (fd < 0)
        status = failed(path, rk_strdup(strerror(errno)));
    else if (node_file_check(fd, file, &error) != 0)
        status = failed(path, error);
    if (status == EXIT_SUCCESS) {
        print_file(&out, file);
        finish(&out);
    }
    free(file);
    return status;
}

static void print_restored(const struct daemon *daemon, const struct node_file_report *file,
                           uint64_t cluster_id, bool json)
{
    struct printer out = {.json = json};

    id(&out, "new_cluster", cluster_id);
    print_file(&out, file);
    finish(&out);
    if (!json)
        printf(
            "\n%s is a cluster of one now, with the keys and revisions of the snapshot. Start raftkvd here, "
            "then on\neach other host, with an empty data directory: raftkvctl join HOST:PORT\n",
            daemon->conf.name);
}

int rescue_restore(struct daemon *daemon, const char *path, bool json)
{
    RK_CLEANUP(rk_closep) int fd = open(path, O_RDONLY | O_CLOEXEC); /* its owner may be another one */
    struct node_config config = config_of(daemon);
    struct node_file_report *file = RK_NEW(struct node_file_report);
    uint64_t cluster_id;
    char *error = NULL;
    int status = EXIT_SUCCESS;

    if (fd < 0)
        status = failed(path, rk_strdup(strerror(errno)));
    else if (become_owner(config.data_directory) != 0)
        status = EXIT_FAILURE;
    else if (node_restore(&config, fd, file, &cluster_id, &error) != 0)
        status = failed(path, error);
    if (status == EXIT_SUCCESS)
        print_restored(daemon, file, cluster_id, json);
    free(file);
    return status;
}

/* ---- recovering ------------------------------------------------------------------------------- */

static void print_status(struct printer *out, const struct node_status *status)
{
    const struct node_member *self = node_members_find(&status->members, status->raft.id);

    name_of(out, "name");
    if (out->json)
        quoted(status->name);
    else
        puts(status->name);
    id(out, "cluster", status->cluster_id);
    id(out, "member", status->raft.id);
    number(out, "last_term", status->raft.last_term);
    number(out, "last_index", status->raft.last_index);
    number(out, "applied_index", status->applied);
    number(out, "current_term", status->raft.term);
    number(out, "revision", status->revision);
    number(out, "keys", status->keys);
    number(out, "voter", self && self->role == RAFT_VOTER && !status->removed);
    members(out, &status->members);
}

static const char explanation[] =
    "\nCompare this on all hosts that are left: the one with the highest last_term, and among those with "
    "the\n"
    "highest last_index, has the most; take a voter. Nothing was changed. When a majority of the voters can\n"
    "still be started, start them instead: then nothing is lost.\n"
    "On the best host, `raftkvctl recover --force` makes a new cluster of its data alone:\n"
    "  - writes that were acknowledged and never reached this host are lost;\n"
    "  - all of its log counts, also writes whose clients were never told that they were made;\n"
    "  - the other members are shut out for good: each joins again with an empty data directory.\n";

int rescue_recover(struct daemon *daemon, bool force, bool json)
{
    struct node_config config = config_of(daemon);
    struct printer out = {.json = json};
    struct node_status *status;
    uint64_t cluster_id = 0;
    char *error = NULL;
    int r;

    if (become_owner(config.data_directory) != 0)
        return EXIT_FAILURE;
    r = force ? node_recover(&config, &status, &cluster_id, &error) : node_survey(&config, &status, &error);
    if (r != 0)
        return failed("cannot recover", error);
    if (force)
        id(&out, "new_cluster", cluster_id);
    print_status(&out, status);
    finish(&out);
    if (!json && force)
        printf(
            "\n%s is a cluster of one now, with everything in its log. Start raftkvd here. The other hosts "
            "cannot come\nback with their old data: move it away there, then raftkvctl join HOST:PORT\n",
            status->name);
    else if (!json)
        fputs(explanation, stdout);
    free(status);
    return EXIT_SUCCESS;
}
