/* daemon/worker.c - a worker thread: one loop with its listeners, doors and share of the peers' links. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "daemon/daemon.h"

#define SWEEP_US          (500 * RK_USEC_PER_MSEC)
#define SWEEP_STOPPING_US (20 * RK_USEC_PER_MSEC)
/* How long answers that are written already may take to leave when we stop. */
#define LINGER_US (2 * RK_USEC_PER_SEC)

static void begin_stop(struct worker *worker)
{
    worker->stopping = true;
    worker->stop_deadline_us = net_loop_now_us(worker->loop) + LINGER_US;
    net_listener_free(worker->client_listener);
    net_listener_free(worker->admin_listener);
    net_listener_free(worker->peer_listener);
    worker->client_listener = worker->admin_listener = worker->peer_listener = NULL;
    doors_shutdown(worker);
    peer_net_shutdown_loop(worker->daemon->peers, worker->index);
    net_timer_set(&worker->sweep, net_loop_now_us(worker->loop) + SWEEP_STOPPING_US);
}

static void on_mail(void *userdata, struct rk_mail *mail)
{
    struct worker *worker = userdata;

    if (mail->kind == WORKER_MAIL_STOP)
        begin_stop(worker);
    else if (!api_on_mail(worker->api, mail))
        peer_net_on_mail(worker->daemon->peers, worker->index, mail);
}

static void on_sweep(struct net_timer *timer)
{
    struct worker *worker = RK_CONTAINER_OF(timer, struct worker, sweep);
    uint64_t now_us = net_loop_now_us(worker->loop);

    doors_sweep(worker, now_us);
    if (!worker->stopping) {
        net_timer_set(timer, now_us + SWEEP_US);
        return;
    }
    if (now_us >= worker->stop_deadline_us)
        doors_abort(worker);
    if (rk_list_empty(&worker->doors) && api_pending(worker->api) == 0)
        net_loop_stop(worker->loop);
    else
        net_timer_set(timer, now_us + SWEEP_STOPPING_US);
}

int worker_init(struct worker *worker, struct daemon *daemon, size_t index)
{
    struct api_config config = {
        .node = daemon->node, .mail_kind_base = WORKER_MAIL_API, .version = PACKAGE_VERSION};
    int r;

    worker->daemon = daemon;
    worker->index = index;
    rk_list_init(&worker->doors);
    r = net_loop_new(&worker->loop);
    if (r != 0)
        return r;
    config.mailbox = net_loop_mailbox(worker->loop);
    worker->api = api_new(&config);
    net_loop_on_mail(worker->loop, on_mail, worker);
    net_timer_init(&worker->sweep, worker->loop, on_sweep);
    net_timer_set(&worker->sweep, net_loop_now_us(worker->loop) + SWEEP_US);
    return 0;
}

/* An unfriendly or misconfigured caller must not fill the journal: a line a second, with how many it stands
 * for. */
static void on_refused(void *userdata, const char *peer, const char *why)
{
    struct worker *worker = userdata;
    uint64_t now_us = net_loop_now_us(worker->loop);

    worker->refused++;
    if (now_us < worker->refused_said_us + RK_USEC_PER_SEC)
        return;
    RK_LOG(RK_LOG_WARNING, "door", RK_FIELDS(RK_F_U64("COUNT", worker->refused)), "refused %s: %s", peer,
           why);
    worker->refused = 0;
    worker->refused_said_us = now_us;
}

static void accept_peer(void *userdata, struct net_conn *conn)
{
    struct worker *worker = userdata;

    peer_net_accept(worker->daemon->peers, worker->index, conn);
}

int worker_listen(struct worker *worker)
{
    struct daemon *daemon = worker->daemon;
    int r = 0;

    if (daemon->admin_set.count > 0)
        r = net_listener_new(worker->loop, &daemon->admin_set, NULL, door_accept_admin, worker,
                             &worker->admin_listener);
    if (r == 0 && daemon->client_set.count > 0)
        r = net_listener_new(worker->loop, &daemon->client_set, daemon->tls_client_port, door_accept_client,
                             worker, &worker->client_listener);
    if (r == 0 && daemon->peer_set.count > 0)
        r = net_listener_new(worker->loop, &daemon->peer_set, daemon->tls_peer_server, accept_peer, worker,
                             &worker->peer_listener);
    if (worker->client_listener)
        net_listener_on_refused(worker->client_listener, on_refused);
    if (worker->peer_listener)
        net_listener_on_refused(worker->peer_listener, on_refused);
    return r;
}

static void *run(void *userdata)
{
    struct worker *worker = userdata;
    int r = net_loop_run(worker->loop);

    if (r != 0)
        RK_LOG(RK_LOG_ERROR, "worker", NULL, "the event loop failed: %s", strerror(-r));
    return NULL;
}

int worker_start(struct worker *worker)
{
    sigset_t all, old;
    char name[16];
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&worker->thread, NULL, run, worker);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r != 0)
        return -r;
    snprintf(name, sizeof(name), "raftkv-w%zu", worker->index % 1000);
    pthread_setname_np(worker->thread, name);
    worker->running = true;
    return 0;
}

void worker_stop(struct worker *worker)
{
    if (!worker->running)
        return;
    worker->stop_mail.kind = WORKER_MAIL_STOP;
    rk_mailbox_push_always(net_loop_mailbox(worker->loop), &worker->stop_mail);
    pthread_join(worker->thread, NULL);
    worker->running = false;
}

void worker_deinit(struct worker *worker)
{
    if (!worker->loop)
        return;
    net_listener_free(worker->client_listener);
    net_listener_free(worker->admin_listener);
    net_listener_free(worker->peer_listener);
    net_loop_free(worker->loop);
    api_free(worker->api);
    worker->loop = NULL;
}
