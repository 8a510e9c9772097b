/* daemon/door.c - a client's or an administrator's connection: bytes between net, http and api. Worker's
 * thread. */
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include "daemon/daemon.h"

struct door {
    struct api_door api; /* first: api_request() gets this */
    struct worker *worker;
    struct net_conn *conn;
    struct http_session *session;
    struct rk_list link; /* in worker->doors */
    uint64_t active_us;  /* when bytes last came */
    bool paused;
};

static size_t backlog(struct api_door *api)
{
    return net_conn_out_bytes(RK_CONTAINER_OF(api, struct door, api)->conn);
}

/* After anything that may have changed the session: the connection follows it. */
static void settle(struct door *door)
{
    bool pause = http_session_paused(door->session);

    if (http_session_done(door->session)) {
        net_conn_close(door->conn, true, "");
        return;
    }
    if (pause != door->paused) {
        door->paused = pause;
        if (pause)
            net_conn_pause(door->conn);
        else
            net_conn_resume(door->conn);
    }
}

/* ---- http_session_ops ----------------------------------------------------------------- */

static void on_request(void *userdata, struct http_request *request)
{
    struct door *door = userdata;

    api_request(door->worker->api, &door->api, request);
}

static void on_cancelled(void *userdata, struct http_request *request)
{
    struct door *door = userdata;

    api_cancelled(door->worker->api, request);
}

static void on_output(void *userdata, struct rk_slice bytes)
{
    struct door *door = userdata;

    net_conn_write(door->conn, bytes);
    if (door->session)
        settle(door);
}

/* ---- net_conn_ops ------------------------------------------------------------------------ */

static void on_data(struct net_conn *conn, void *userdata, struct rk_slice bytes)
{
    struct door *door = userdata;
    uint64_t now_us = net_loop_now_us(door->worker->loop);

    door->active_us = now_us;
    if (http_session_feed(door->session, bytes, now_us) != 0) {
        net_conn_close(conn, true, "protocol error");
    } else {
        api_door_drained(&door->api); /* it may have been a window update */
        settle(door);
    }
}

static void on_drained(struct net_conn *conn, void *userdata)
{
    struct door *door = userdata;

    (void)conn;
    api_door_drained(&door->api);
}

static void on_closed(struct net_conn *conn, void *userdata, const char *why)
{
    struct door *door = userdata;
    struct http_session *session = door->session;

    (void)conn;
    (void)why;
    rk_list_remove(&door->link);
    http_session_free(session); /* cancels what is unanswered; may still say goodbye through on_output */
    free(door);
}

static const struct net_conn_ops conn_ops = {.data = on_data, .drained = on_drained, .closed = on_closed};
static const struct http_session_ops session_ops = {
    .request = on_request, .cancelled = on_cancelled, .output = on_output};

/* ---- accepting ------------------------------------------------------------------------------- */

static void open_door(struct worker *worker, struct net_conn *conn, bool admin)
{
    struct door *door = RK_NEW(struct door);
    const char *alpn = net_conn_alpn(conn);
    enum http_version version = HTTP_VERSION_AUTO;

    if (strcmp(alpn, "h2") == 0)
        version = HTTP_VERSION_2;
    else if (net_conn_is_tls(conn))
        version = HTTP_VERSION_1;
    door->worker = worker;
    door->conn = conn;
    door->active_us = net_loop_now_us(worker->loop);
    api_door_init(&door->api, admin, backlog);
    rk_list_push_back(&worker->doors, &door->link);
    net_conn_set_ops(conn, &conn_ops, door);
    door->session = http_session_new(version, worker->daemon->conf.limits.request_bytes, &session_ops, door);
}

void door_accept_client(void *userdata, struct net_conn *conn)
{
    open_door(userdata, conn, false);
}

static bool in_group(uid_t uid, gid_t gid, gid_t wanted)
{
    struct passwd *user = getpwuid(uid); /* workers ask one after another: guarded below */
    gid_t groups[64];
    int count = (int)RK_ARRAY_LEN(groups);

    if (gid == wanted)
        return true;
    if (!user || getgrouplist(user->pw_name, gid, groups, &count) < 0)
        return false;
    for (int i = 0; i < count; i++)
        if (groups[i] == wanted)
            return true;
    return false;
}

/* root, our own user, and the group that the configuration names. */
static bool may_administrate(const struct daemon *daemon, uid_t uid, gid_t gid)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* getpwuid() has one buffer */
    bool yes;

    if (uid == 0 || uid == geteuid())
        return true;
    if (daemon->admin_gid == (gid_t)-1)
        return false;
    pthread_mutex_lock(&mutex);
    yes = in_group(uid, gid, daemon->admin_gid);
    pthread_mutex_unlock(&mutex);
    return yes;
}

static void refused_data(struct net_conn *conn, void *userdata, struct rk_slice bytes)
{
    (void)conn;
    (void)userdata;
    (void)bytes;
}

static void refused_closed(struct net_conn *conn, void *userdata, const char *why)
{
    (void)conn;
    (void)userdata;
    (void)why;
}

static const struct net_conn_ops refused_ops = {.data = refused_data, .closed = refused_closed};

void door_accept_admin(void *userdata, struct net_conn *conn)
{
    struct worker *worker = userdata;
    uid_t uid;
    gid_t gid;
    pid_t pid;

    if (net_conn_peer_cred(conn, &uid, &gid, &pid) == 0 && may_administrate(worker->daemon, uid, gid)) {
        open_door(worker, conn, true);
        return;
    }
    RK_LOG(RK_LOG_WARNING, "admin", NULL,
           "refused %s at the admin socket: not root, not our user, not in group %s",
           net_conn_peer_text(conn), worker->daemon->conf.admin.group);
    net_conn_set_ops(conn, &refused_ops, NULL);
    net_conn_write(
        conn,
        rk_slice_str("HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nconnection: close\r\n"
                     "content-length: 96\r\n\r\n{\"code\":\"forbidden\",\"message\":\"only root and the "
                     "admin group may use the admin socket\"}              \n"));
    net_conn_close(conn, true, "not allowed");
}

/* ---- deadlines ---------------------------------------------------------------------------------- */

void doors_sweep(struct worker *worker, uint64_t now_us)
{
    RK_LIST_FOR_EACH_SAFE (it, &worker->doors) {
        struct door *door = RK_LIST_ITEM(it, struct door, link);
        uint64_t since_us;

        if (http_session_mid_request(door->session, &since_us) &&
            now_us > since_us + RK_HTTP_REQUEST_MS * RK_USEC_PER_MSEC)
            net_conn_close(door->conn, false, "the request took too long to arrive");
        else if (http_session_pending(door->session) == 0 &&
                 now_us > door->active_us + RK_HTTP_IDLE_MS * RK_USEC_PER_MSEC)
            net_conn_close(door->conn, true, "idle");
        else if (http_session_stalled(door->session, &since_us) &&
                 now_us > since_us + RK_HTTP_STALL_MS * RK_USEC_PER_MSEC)
            net_conn_close(door->conn, false, "the client does not read its answers");
        else
            settle(door);
    }
}

void doors_shutdown(struct worker *worker)
{
    RK_LIST_FOR_EACH_SAFE (it, &worker->doors) {
        struct door *door = RK_LIST_ITEM(it, struct door, link);

        http_session_shutdown(door->session);
        settle(door);
    }
}

void doors_abort(struct worker *worker)
{
    RK_LIST_FOR_EACH_SAFE (it, &worker->doors)
        net_conn_close(RK_LIST_ITEM(it, struct door, link)->conn, false, "stopping");
}
