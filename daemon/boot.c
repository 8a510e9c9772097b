/* daemon/boot.c - the start/stop table of raftkvd.
 *
 * Sockets are opened before the state is recovered, so that a wrong address fails at
 * once; they are served only when everything behind them runs. */
#include <errno.h>
#include <grp.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "daemon/daemon.h"

/* Prints a sentence that a lower layer has made, or an errno's text. */
static int failed(const char *what, char *sentence, int r)
{
    RK_LOG(RK_LOG_ERROR, "boot", NULL, "%s: %s", what, sentence ? sentence : strerror(r < 0 ? -r : EIO));
    free(sentence);
    return r < 0 ? r : -EIO;
}

/* ---- certificates ------------------------------------------------------------------------ */

static int load_peer_tls(const struct conf *conf, enum net_tls_role role, struct net_tls **ret)
{
    char host[RK_ADDRESS_BYTES_MAX + 1];
    uint16_t port;
    struct net_tls_config config = {.role = role,
                                    .cert_file = conf->peer.certificate,
                                    .key_file = conf->peer.key,
                                    .ca_file = conf->peer.ca,
                                    .require_client_cert = true};
    char *error = NULL;
    int r;

    /* Others check the host that they connect to: a certificate without it is better refused here. */
    if (net_address_split(conf->peer.advertise, host, sizeof(host), &port) == 0)
        config.own_host = host;
    r = net_tls_new(&config, ret, &error);
    return r == 0 ? 0 : failed("the peer port's certificate", error, r);
}

static int load_client_tls(const struct conf *conf, struct net_tls **ret)
{
    struct net_tls_config config = {.role = NET_TLS_CLIENT_PORT,
                                    .cert_file = conf->client.certificate,
                                    .key_file = conf->client.key,
                                    .ca_file = conf->client.ca[0] ? conf->client.ca : NULL,
                                    .require_client_cert = conf->client.require_certificate};
    char *error = NULL;
    int r = net_tls_new(&config, ret, &error);

    return r == 0 ? 0 : failed("the client port's certificate", error, r);
}

static int start_tls(struct daemon *daemon)
{
    const struct conf *conf = &daemon->conf;
    int r = 0;

    if (conf->peer.certificate[0]) {
        r = load_peer_tls(conf, NET_TLS_PEER_SERVER, &daemon->tls_peer_server);
        if (r == 0)
            r = load_peer_tls(conf, NET_TLS_PEER_CLIENT, &daemon->tls_peer_client);
    } else {
        RK_LOG(RK_LOG_INFO, "boot", NULL,
               "the peer port stays closed: no peer.certificate is configured (needed to form a cluster)");
    }
    if (r == 0 && conf->client.tls && conf->client.certificate[0])
        r = load_client_tls(conf, &daemon->tls_client_port);
    else if (r == 0 && conf->client.tls)
        RK_LOG(RK_LOG_INFO, "boot", NULL,
               "the client port stays closed: no client.certificate is configured");
    return r;
}

static void stop_tls(struct daemon *daemon)
{
    daemon->tls_peer_server = net_tls_unref(daemon->tls_peer_server);
    daemon->tls_peer_client = net_tls_unref(daemon->tls_peer_client);
    daemon->tls_client_port = net_tls_unref(daemon->tls_client_port);
}

/* ---- sockets --------------------------------------------------------------------------------- */

static int listen_admin(struct daemon *daemon)
{
    const char *path = daemon->conf.admin.socket;
    const char *name = daemon->conf.admin.group;
    struct group *group = name[0] ? getgrnam(name) : NULL;
    char *error = NULL;
    int r;

    daemon->admin_gid = group ? group->gr_gid : (gid_t)-1;
    r = net_listen_unix(path, 0660, daemon->admin_gid, &daemon->admin_set, &error);
    return r == 0 ? 0 : failed("the admin socket", error, r);
}

static int start_sockets(struct daemon *daemon)
{
    const struct conf *conf = &daemon->conf;
    char *error = NULL;
    int r = listen_admin(daemon);

    if (r == 0 && daemon->tls_peer_server) {
        r = net_listen_tcp(conf->peer.listen, &daemon->peer_set, &error);
        if (r != 0)
            return failed("the peer port", error, r);
    }
    if (r == 0 && (daemon->tls_client_port || !conf->client.tls)) {
        r = net_listen_tcp(conf->client.listen, &daemon->client_set, &error);
        if (r != 0)
            return failed("the client port", error, r);
        if (!conf->client.tls)
            RK_LOG(RK_LOG_WARNING, "boot", NULL, "the client port %s is plain text (client.tls = false)",
                   conf->client.listen);
    }
    return r;
}

static void stop_sockets(struct daemon *daemon)
{
    if (daemon->admin_set.count > 0)
        unlink(daemon->conf.admin.socket);
    net_listen_set_deinit(&daemon->admin_set);
    net_listen_set_deinit(&daemon->client_set);
    net_listen_set_deinit(&daemon->peer_set);
}

/* ---- the node --------------------------------------------------------------------------------- */

static void on_fatal(void *userdata, const char *sentence)
{
    (void)userdata;
    RK_LOG(RK_LOG_ERROR, "node", NULL, "%s", sentence);
    sd_notifyf(0, "STATUS=%s", sentence);
    /* Nothing that a clean shutdown would write can be trusted to help: what was acknowledged is on disk. */
    _exit(EXIT_FAILURE);
}

static void on_progress(void *userdata, const char *what, unsigned percent)
{
    (void)userdata;
    sd_notifyf(0, "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=%s: %u %%", what, percent);
}

static void make_names(struct daemon *daemon)
{
    static const sd_id128_t application =
        SD_ID128_MAKE(5c, 1d, 7e, 02, 88, 4f, 4b, 0e, 9a, 61, 3f, d7, 20, b4, 6c, 19);
    char text[SD_ID128_STRING_MAX];
    sd_id128_t id;

    daemon->peer_address = rk_strdup(daemon->tls_peer_server ? daemon->conf.peer.advertise : "");
    daemon->client_url = rk_strdup(daemon->client_set.count > 0 ? daemon->conf.client.advertise : "");
    if (sd_id128_get_machine_app_specific(application, &id) >= 0)
        daemon->machine = rk_strdup(sd_id128_to_string(id, text));
    else
        daemon->machine = rk_strdup(""); /* a container without /etc/machine-id */
}

static uint64_t megabytes(uint32_t n)
{
    return (uint64_t)n << 20;
}

static int start_node(struct daemon *daemon)
{
    const struct conf *conf = &daemon->conf;
    struct node_config config;
    char *error = NULL;
    int r;

    make_names(daemon);
    config = (struct node_config){
        .name = conf->name,
        .peer_address = daemon->peer_address,
        .client_url = daemon->client_url,
        .machine = daemon->machine,
        .adopt_machine = daemon->adopt_data,
        .rebuild_rows = daemon->rebuild_rows,
        .data_directory = conf->data_directory,
        .initial_members = conf->initial_members,
        .initial_member_count = conf->initial_member_count,
        .initial_cluster_name = conf->initial_cluster_name,
        .election_timeout_ms = conf->raft.election_timeout_ms,
        .heartbeat_ms = conf->raft.heartbeat_ms,
        .log_keep_entries = conf->raft.log_keep_entries,
        .snapshot_entries = conf->raft.snapshot_entries,
        .snapshot_bytes = megabytes(conf->raft.snapshot_mb),
        .log_retain_bytes = megabytes(conf->raft.log_retain_mb),
        .snapshot_interval_us = conf->raft.snapshot_minutes * 60 * RK_USEC_PER_SEC,
        .snapshots_at_once = conf->raft.snapshots_at_once,
        .promote_lag_entries = conf->raft.promote_lag_entries,
        .replace_timeout_ms = (uint64_t)conf->raft.replace_timeout_s * 1000,
        .lease_reads = conf->raft.lease_reads,
        .request_timeout_ms = conf->limits.request_timeout_ms,
        .log_cache_bytes = megabytes(conf->store.log_cache_mb),
        .rows_cache_bytes = megabytes(conf->store.rows_cache_mb),
        .checkpoint_bytes = megabytes(conf->store.checkpoint_mb),
        .reserve_bytes = megabytes(conf->store.reserve_mb),
        .low_space_bytes = megabytes(conf->store.low_space_mb),
        .clock = rk_clock_boottime,
        .fatal = on_fatal,
        .progress = on_progress,
        .userdata = daemon,
    };
    r = node_open(&config, &daemon->node, &error);
    return r == 0 ? 0 : failed("the data directory", error, r);
}

static void stop_node(struct daemon *daemon)
{
    node_close(daemon->node);
    daemon->node = NULL;
    free(daemon->peer_address);
    free(daemon->client_url);
    free(daemon->machine);
}

/* ---- workers and peers ------------------------------------------------------------------------- */

static size_t count_workers(const struct conf *conf)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (conf->workers > 0)
        return rk_min_u64(conf->workers, DAEMON_WORKERS_MAX);
    return cores < 1 ? 1 : (size_t)rk_min_u64((uint64_t)cores, 4);
}

static int start_peers(struct daemon *daemon)
{
    /* What a host that is not a member, or that we do not know as one yet, may ask: to be added; that we come
     * and join it; who the members are. */
    static const uint32_t open_calls[] = {NODE_CALL_MEMBER_ADD, NODE_CALL_INVITE, NODE_CALL_MEMBERS};
    struct net_loop *loops[DAEMON_WORKERS_MAX];
    struct peer_config config = {.loops = loops,
                                 .loop_count = daemon->worker_count,
                                 .mail_kind_base = WORKER_MAIL_PEER,
                                 .resolver = daemon->resolver,
                                 .tls_client = daemon->tls_peer_client,
                                 .connect_timeout_ms = 3000,
                                 .upload_bytes_per_s = megabytes(daemon->conf.raft.snapshot_mb_per_s),
                                 .open_call_kinds = open_calls,
                                 .open_call_kind_count = RK_ARRAY_LEN(open_calls),
                                 .inlet = node_inlet(daemon->node)};
    int r;

    for (size_t i = 0; i < daemon->worker_count; i++)
        loops[i] = daemon->workers[i].loop;
    r = peer_net_new(&config, &daemon->peers);
    return r == 0 ? 0 : failed("the peer network", NULL, r);
}

static int start_loops(struct daemon *daemon)
{
    int r = net_resolver_new(&daemon->resolver);

    if (r != 0)
        return failed("the resolver", NULL, r);
    daemon->worker_count = count_workers(&daemon->conf);
    for (size_t i = 0; i < daemon->worker_count && r == 0; i++)
        r = worker_init(&daemon->workers[i], daemon, i);
    return r == 0 ? start_peers(daemon) : failed("a worker", NULL, r);
}

/* Mail that is left in a loop may be for the peers: they go last. */
static void stop_loops(struct daemon *daemon)
{
    net_resolver_free(daemon->resolver);
    for (size_t i = 0; i < daemon->worker_count; i++)
        worker_deinit(&daemon->workers[i]);
    peer_net_free(daemon->peers);
    daemon->peers = NULL;
}

static int start_serving(struct daemon *daemon)
{
    struct node_transport transport = peer_net_transport(daemon->peers);
    int r = node_start(daemon->node, &transport);

    for (size_t i = 0; i < daemon->worker_count && r == 0; i++)
        r = worker_listen(&daemon->workers[i]);
    for (size_t i = 0; i < daemon->worker_count && r == 0; i++)
        r = worker_start(&daemon->workers[i]);
    return r == 0 ? 0 : failed("a thread", NULL, r);
}

/* Leadership first, while the doors still carry answers and peers hear us; then the doors. */
static void stop_serving(struct daemon *daemon)
{
    node_stop(daemon->node, daemon->conf.service.shutdown_timeout_ms);
    for (size_t i = 0; i < daemon->worker_count; i++)
        worker_stop(&daemon->workers[i]);
}

/* ---- the table -------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int (*start)(struct daemon *daemon);
    void (*stop)(struct daemon *daemon);
} parts[] = {
    {"certificates", start_tls, stop_tls},    {"sockets", start_sockets, stop_sockets},
    {"node", start_node, stop_node},          {"loops and peers", start_loops, stop_loops},
    {"serving", start_serving, stop_serving},
};

static void stop_from(struct daemon *daemon, size_t count)
{
    while (count > 0)
        parts[--count].stop(daemon);
}

int daemon_start(struct daemon *daemon)
{
    for (size_t i = 0; i < RK_ARRAY_LEN(parts); i++) {
        int r = parts[i].start(daemon);

        if (r != 0) { /* the part that failed may have got half-way: its stop takes that */
            stop_from(daemon, i + 1);
            return r;
        }
    }
    return 0;
}

void daemon_stop(struct daemon *daemon)
{
    stop_from(daemon, RK_ARRAY_LEN(parts));
}
