/* daemon/daemon.h - what the files of raftkvd share. Everything belongs to the main thread unless it says
 * otherwise. */
#ifndef DAEMON_H
#define DAEMON_H

#include <systemd/sd-event.h>

#include "lib/api/api.h"
#include "lib/conf/conf.h"
#include "lib/http/http.h"
#include "lib/net/net.h"
#include "lib/node/node.h"
#include "lib/peer/peer.h"

#define DAEMON_WORKERS_MAX 64u

/* Kinds of mail in a worker's mailbox. */
enum {
    WORKER_MAIL_STOP = 1,
    WORKER_MAIL_API = 100,  /* .. + 3 */
    WORKER_MAIL_PEER = 200, /* .. + 15 */
};

struct daemon;

/* A worker thread: one loop, its listeners, its doors. Belongs to its own thread once started. */
struct worker {
    struct daemon *daemon;
    size_t index;
    struct net_loop *loop;
    struct api *api;
    struct net_listener *client_listener, *admin_listener, *peer_listener;
    struct rk_list doors;   /* of struct door */
    struct net_timer sweep; /* deadlines of doors; and, when stopping, the end */
    struct rk_mail stop_mail;
    bool stopping;
    uint64_t stop_deadline_us;
    uint64_t refused, refused_said_us; /* handshakes that failed since the last line about them */
    pthread_t thread;
    bool running;
};

struct daemon {
    struct conf conf;
    const char *conf_path;
    bool adopt_data;
    bool rebuild_rows;  /* --rebuild-rows */
    char *machine;      /* opaque id of this machine, or "" */
    char *peer_address; /* "" without a peer port */
    char *client_url;   /* "" without a client port */
    gid_t admin_gid;    /* (gid_t)-1: no such group */
    sd_event *event;
    struct node *node;
    struct net_resolver *resolver;
    struct net_tls *tls_client_port, *tls_peer_server,
        *tls_peer_client; /* NULL: that door is closed, or plain */
    struct net_listen_set client_set, peer_set, admin_set;
    struct peer_net *peers;
    struct worker workers[DAEMON_WORKERS_MAX];
    size_t worker_count;
};

/* boot.c: everything that is started, in order; and stopped, in reverse. Logs what fails. */
int daemon_start(struct daemon *daemon);
void daemon_stop(struct daemon *daemon);

/* worker.c */
int worker_init(struct worker *worker, struct daemon *daemon, size_t index);
int worker_listen(struct worker *worker);
int worker_start(struct worker *worker);
void worker_stop(struct worker *worker); /* asks, and waits for its end */
void worker_deinit(struct worker *worker);

/* door.c: a client's or administrator's connection */
void door_accept_client(void *worker, struct net_conn *conn);
void door_accept_admin(void *worker, struct net_conn *conn);
void doors_sweep(struct worker *worker, uint64_t now_us); /* slow and idle ones are closed */
void doors_shutdown(struct worker *worker);               /* no new requests; closes once answered */
void doors_abort(struct worker *worker);                  /* closes all, answered or not */

/* reload.c: SIGHUP */
void daemon_reload(struct daemon *daemon);

/* watchdog.c: STATUS=, WATCHDOG=1 */
int watchdog_start(struct daemon *daemon);

/* rescue.c: work on a host that is stopped; these print, and return the exit status */
int rescue_snapshot_status(const char *path, bool json);
int rescue_restore(struct daemon *daemon, const char *path, bool json);
int rescue_recover(struct daemon *daemon, bool force, bool json);

#endif
