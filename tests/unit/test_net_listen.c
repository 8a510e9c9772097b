/* tests/unit/test_net_listen.c - listening sockets, sharing them among loops, and unfriendly callers. */
#include "config.h"

#include "tests/unit/net_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/limits.h"
#include "lib/base/rk_assert.h"
#include "lib/base/rk_clock.h"

static struct net_certs certs;
static struct net_tls *server_tls;

static int group_setup(void **state)
{
    (void)state;
    net_certs_init(&certs);
    net_certs_ca(&certs, "ca");
    net_certs_leaf(&certs, "ca", "server", &(struct net_certs_leaf){.cn = "server", .san = "IP:127.0.0.1"});
    server_tls = tls_of(&certs, NET_TLS_CLIENT_PORT, "server", NULL);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    net_tls_unref(server_tls);
    net_certs_deinit(&certs);
    return 0;
}

struct rig {
    struct net_loop *loop;
    struct server server;
};

static void rig_init(struct rig *rig, struct net_tls *tls)
{
    assert_int_equal(net_loop_new(&rig->loop), 0);
    server_init(&rig->server, rig->loop, tls);
}

static void rig_deinit(struct rig *rig)
{
    server_stop(&rig->server);
    net_loop_free(rig->loop);
}

/* ---- opening ------------------------------------------------------------------------------- */

static void a_port_in_use_is_a_sentence(void **state)
{
    (void)state;
    struct rig rig;
    struct net_listen_set set;
    char *error = NULL, expected[128];
    rig_init(&rig, NULL);
    assert_int_equal(net_listen_tcp(rig.server.address, &set, &error), -EADDRINUSE);
    snprintf(expected, sizeof(expected), "cannot listen on %s: Address already in use", rig.server.address);
    assert_string_equal(error, expected);
    free(error);
    assert_int_equal(net_listen_tcp("nonsense", &set, &error), -EINVAL);
    free(error);
    assert_true(net_listen_tcp("no-such-host.invalid:0", &set, &error) < 0);
    free(error);
    rig_deinit(&rig);
}

static void any_address_listens_on_each_family(void **state)
{
    (void)state;
    struct net_listen_set set;
    char *error = NULL;
    assert_int_equal(net_listen_tcp("*:0", &set, &error), 0);
    assert_true(set.count >= 1);
    for (size_t i = 0; i < set.count; i++)
        assert_true(fcntl(set.fds[i], F_GETFD) & FD_CLOEXEC);
    net_listen_set_deinit(&set);
    net_listen_set_deinit(&set);
}

/* ---- Unix ------------------------------------------------------------------------------------ */

static int unix_client(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rk_assert(fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0);
    return fd;
}

static void a_unix_socket_tells_who_connected(void **state)
{
    (void)state;
    struct net_loop *loop;
    struct net_listen_set set;
    struct server *server = RK_NEW(struct server);
    struct stat st;
    char *error = NULL, expected[64];
    const char *path = net_certs_path(&certs, "admin.sock");
    assert_int_equal(net_loop_new(&loop), 0);
    assert_int_equal(net_listen_unix(path, 0660, getgid(), &set, &error), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    server_init_on(server, loop, set, NULL);
    int fd = unix_client(path);
    RUN_UNTIL(loop, server->count == 1);
    uid_t uid;
    gid_t gid;
    pid_t pid;
    assert_int_equal(net_conn_peer_cred(server->ends[0].conn, &uid, &gid, &pid), 0);
    assert_int_equal(uid, getuid());
    assert_int_equal(gid, getgid());
    assert_int_equal(pid, getpid());
    snprintf(expected, sizeof(expected), "unix uid=%u", getuid());
    assert_string_equal(net_conn_peer_text(server->ends[0].conn), expected);
    close(fd);
    server_stop(server);
    net_loop_free(loop);
    free(server);
    unlink(path);
}

static void tcp_connections_have_no_credentials(void **state)
{
    (void)state;
    struct rig rig;
    uid_t uid;
    gid_t gid;
    pid_t pid;
    rig_init(&rig, NULL);
    int fd = tcp_client(rig.server.port);
    RUN_UNTIL(rig.loop, rig.server.count == 1);
    assert_int_equal(net_conn_peer_cred(rig.server.ends[0].conn, &uid, &gid, &pid), -ENOTSUP);
    close(fd);
    rig_deinit(&rig);
}

static void a_stale_unix_socket_is_replaced_and_a_live_one_refused(void **state)
{
    (void)state;
    struct net_listen_set set, second;
    char *error = NULL;
    const char *path = net_certs_path(&certs, "stale.sock");
    assert_int_equal(net_listen_unix(path, 0600, (gid_t)-1, &set, &error), 0);
    assert_int_equal(net_listen_unix(path, 0600, (gid_t)-1, &second, &error), -EADDRINUSE);
    assert_non_null(strstr(error, "another process listens on it"));
    free(error);
    net_listen_set_deinit(&set); /* leaves the file behind, as a killed process does */
    assert_int_equal(net_listen_unix(path, 0600, (gid_t)-1, &set, &error), 0);
    close(unix_client(path));
    net_listen_set_deinit(&set);
    unlink(path);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
    (void)state;
    struct net_listen_set set;
    struct stat st;
    char *error = NULL, long_path[200];
    net_certs_write(&certs, "precious", "data");
    const char *path = net_certs_path(&certs, "precious");
    assert_int_equal(net_listen_unix(path, 0600, (gid_t)-1, &set, &error), -EEXIST);
    free(error);
    assert_int_equal(stat(path, &st), 0);
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_int_equal(net_listen_unix(long_path, 0600, (gid_t)-1, &set, &error), -EINVAL);
    free(error);
}

/* ---- several loops ------------------------------------------------------------------------------ */

struct worker {
    struct net_loop *loop;
    struct server server;
    atomic_uint served;
    pthread_t thread;
};

/* Says hello and closes: the whole life is on the worker's thread. */
static void serve(void *userdata, struct net_conn *conn)
{
    static const struct net_conn_ops ops = {0};
    struct worker *worker = userdata;
    net_conn_set_ops(conn, &ops, worker);
    net_conn_write(conn, rk_slice_str("hello"));
    net_conn_close(conn, true, "");
    atomic_fetch_add(&worker->served, 1);
}

static void *work(void *userdata)
{
    struct worker *worker = userdata;
    rk_assert(net_loop_run(worker->loop) == 0);
    while (worker->loop->conns > 0)
        rk_assert(net_loop_run_once(worker->loop) == 0);
    return NULL;
}

static void two_loops_share_one_set(void **state)
{
    (void)state;
    enum { CLIENTS = 400 };
    struct net_listen_set set;
    struct worker *workers = RK_NEW_ARRAY(struct worker, 2);
    struct net_listener *listeners[2];
    char *error = NULL, text[64], hello[8];
    assert_int_equal(net_listen_tcp("127.0.0.1:0", &set, &error), 0);
    net_address_text(&set.addresses[0], text, sizeof(text));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(net_loop_new(&workers[i].loop), 0);
        assert_int_equal(net_listener_new(workers[i].loop, &set, NULL, serve, &workers[i], &listeners[i]), 0);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    int fds[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++)
        fds[i] = tcp_client((uint16_t)atoi(strrchr(text, ':') + 1));
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(recv(fds[i], hello, 5, MSG_WAITALL), 5);
        close(fds[i]);
    }
    for (size_t i = 0; i < 2; i++)
        net_loop_stop(workers[i].loop);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(workers[i].thread, NULL);
        net_listener_free(listeners[i]);
        net_loop_free(workers[i].loop);
    }
    unsigned a = atomic_load(&workers[0].served), b = atomic_load(&workers[1].served);
    assert_int_equal(a + b, CLIENTS); /* how they share is the kernel's choice */
    net_listen_set_deinit(&set);
    free(workers);
}

/* ---- unfriendly callers ---------------------------------------------------------------------------- */

static void garbage_on_a_tls_port_ends_with_a_reason(void **state)
{
    (void)state;
    struct rig rig;
    char buf[16];
    rig_init(&rig, server_tls);
    int fd = tcp_client(rig.server.port);
    rk_assert(send(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, 0) == 27);
    RUN_UNTIL(rig.loop, rig.server.refused == 1);
    assert_string_equal(rig.server.refused_why, "TLS handshake failed: the other side does not speak TLS");
    assert_memory_equal(rig.server.refused_peer, "127.0.0.1:", 10);
    close(fd);
    fd = tcp_client(rig.server.port);
    rk_assert(send(fd, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, 0) == 12);
    RUN_UNTIL(rig.loop, rig.server.refused == 2);
    assert_non_null(strstr(rig.server.refused_why, "TLS handshake failed: "));
    while (recv(fd, buf, sizeof(buf), 0) > 0)
        ;
    close(fd);
    fd = tcp_client(rig.server.port);
    close(fd);
    RUN_UNTIL(rig.loop, rig.server.refused == 3);
    assert_string_equal(rig.server.refused_why, "TLS handshake failed: the other side closed the connection");
    assert_int_equal(rig.server.count, 0);
    rig_deinit(&rig);
}

static void a_handshake_that_never_ends_is_dropped(void **state)
{
    (void)state;
    struct rig rig;
    struct net_stats before, after;
    char byte;
    net_stats(&before);
    rig_init(&rig, server_tls);
    net_listener_set_limits(rig.server.listener, 60, 512);
    int fd = tcp_client(rig.server.port);
    RUN_UNTIL(rig.loop, rig.server.refused == 1);
    assert_string_equal(rig.server.refused_why, "TLS handshake not finished in time");
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    net_stats(&after);
    assert_int_equal(after.handshake_failed - before.handshake_failed, 1);
    assert_int_equal(after.accepted - before.accepted, 1);
    close(fd);
    rig_deinit(&rig);
}

static void unfinished_handshakes_are_capped_and_old_ones_make_way(void **state)
{
    (void)state;
    struct rig rig;
    int fds[6];
    struct foreign client = {0};
    rig_init(&rig, server_tls);
    rig.server.greeting = "hi";
    net_listener_set_limits(rig.server.listener, 10000, 3);
    for (size_t i = 0; i < RK_ARRAY_LEN(fds); i++)
        fds[i] = tcp_client(rig.server.port);
    run_for_ms(rig.loop, 50);
    assert_int_equal(rig.loop->conns, 3); /* the others wait in the kernel's queue */
    client.port = rig.server.port;
    foreign_start(&client);
    RUN_UNTIL(rig.loop, atomic_load(&client.done));
    foreign_join(&client);
    assert_true(client.finished); /* behind six who never speak */
    assert_string_equal(rig.server.refused_why, "TLS handshake slow while many others wait");
    for (size_t i = 0; i < RK_ARRAY_LEN(fds); i++)
        close(fds[i]);
    rig_deinit(&rig);
}

static void a_place_that_gets_free_wakes_the_listener(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, server_tls);
    net_listener_set_limits(rig.server.listener, 10000, 1);
    int first = tcp_client(rig.server.port), second = tcp_client(rig.server.port);
    RUN_UNTIL(rig.loop, rig.loop->conns == 1);
    run_for_ms(rig.loop, 20);
    close(first);
    uint64_t start_us = rk_clock_now_us(&rk_clock_boottime);
    RUN_UNTIL(rig.loop, rig.server.refused == 1 && rig.loop->conns == 1);
    assert_true(rk_clock_now_us(&rk_clock_boottime) - start_us < 900 * RK_USEC_PER_MSEC);
    close(second);
    RUN_UNTIL(rig.loop, rig.loop->conns == 0);
    rig_deinit(&rig);
}

static unsigned count_turns(struct net_loop *loop, uint64_t ms)
{
    unsigned turns = 0;
    uint64_t until_us = rk_clock_now_us(&rk_clock_boottime) + ms * RK_USEC_PER_MSEC;
    for (; rk_clock_now_us(&rk_clock_boottime) < until_us; turns++)
        run_until_turn(loop, RK_NEVER, "");
    return turns;
}

static void running_out_of_descriptors_neither_spins_nor_loses_the_caller(void **state)
{
    (void)state;
    struct rig rig;
    struct rlimit before, tight;
    rig_init(&rig, NULL);
    int fd = tcp_client(rig.server.port), probe = dup(fd);
    close(probe);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)probe;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    unsigned turns = count_turns(rig.loop, 150);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rig.server.count, 0);
    assert_true(turns < 60); /* a tick of 5 ms makes 30 */
    RUN_UNTIL(rig.loop, rig.server.count == 1);
    close(fd);
    rig_deinit(&rig);
}

static void beyond_the_connection_limit_new_ones_are_closed(void **state)
{
    (void)state;
    struct rig rig;
    struct net_stats before, after;
    char byte;
    rig_init(&rig, NULL);
    net_stats(&before);
    rig.loop->conns += RK_CONNECTIONS_MAX; /* as if they were there */
    int fd = tcp_client(rig.server.port);
    do {
        run_for_ms(rig.loop, 5);
        net_stats(&after);
    } while (after.refused == before.refused);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    rig.loop->conns -= RK_CONNECTIONS_MAX;
    assert_int_equal(rig.server.count, 0);
    rig_deinit(&rig);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void both_sides_notice_a_dead_peer(void **state)
{
    (void)state;
    struct rig rig;
    struct end client = {0};
    rig_init(&rig, NULL);
    client.conn = net_conn_connect(rig.loop, NULL, rig.server.address, NULL, 5000, &end_ops, &client);
    RUN_UNTIL(rig.loop, client.ready && rig.server.count == 1);
    const int fds[] = {client.conn->source.fd, rig.server.ends[0].conn->source.fd};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(option(fds[i], IPPROTO_TCP, TCP_USER_TIMEOUT), 20000);
        assert_int_equal(option(fds[i], IPPROTO_TCP, TCP_KEEPIDLE), 10);
        assert_true(option(fds[i], SOL_SOCKET, SO_KEEPALIVE) != 0);
        assert_true(option(fds[i], IPPROTO_TCP, TCP_NODELAY) != 0);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
    }
    net_conn_close(client.conn, false, "");
    RUN_UNTIL(rig.loop, client.closed);
    rig_deinit(&rig);
}

/* ---- freeing ------------------------------------------------------------------------------------------ */

static struct net_listener *suicidal;
static struct end survivor;

static void free_in_accepted(void *userdata, struct net_conn *conn)
{
    (void)userdata;
    survivor.conn = conn;
    survivor.echo = true;
    net_conn_set_ops(conn, &end_ops, &survivor);
    net_listener_free(suicidal);
}

static void a_listener_freed_inside_accepted_leaves_the_connection(void **state)
{
    (void)state;
    struct net_loop *loop;
    struct net_listen_set set;
    char *error = NULL, text[64], byte;
    assert_int_equal(net_loop_new(&loop), 0);
    assert_int_equal(net_listen_tcp("127.0.0.1:0", &set, &error), 0);
    assert_int_equal(net_listener_new(loop, &set, NULL, free_in_accepted, NULL, &suicidal), 0);
    net_address_text(&set.addresses[0], text, sizeof(text));
    uint16_t port = (uint16_t)atoi(strrchr(text, ':') + 1);
    int fd = tcp_client(port), unanswered = tcp_client(port);
    rk_assert(send(fd, "x", 1, 0) == 1);
    RUN_UNTIL(loop, survivor.data_calls == 1);
    assert_int_equal(recv(fd, &byte, 1, MSG_WAITALL), 1);
    close(fd);
    close(unanswered);
    RUN_UNTIL(loop, survivor.closed);
    net_loop_free(loop);
    net_listen_set_deinit(&set);
}

static void freeing_the_listener_drops_unfinished_handshakes(void **state)
{
    (void)state;
    struct rig rig;
    char byte;
    rig_init(&rig, server_tls);
    int fd = tcp_client(rig.server.port);
    RUN_UNTIL(rig.loop, rig.loop->conns == 1);
    net_listener_free(rig.server.listener);
    rig.server.listener = NULL;
    RUN_UNTIL(rig.loop, rig.loop->conns == 0);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    assert_int_equal(rig.server.refused, 0);
    close(fd);
    rig_deinit(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_in_use_is_a_sentence),
        cmocka_unit_test(any_address_listens_on_each_family),
        cmocka_unit_test(a_unix_socket_tells_who_connected),
        cmocka_unit_test(tcp_connections_have_no_credentials),
        cmocka_unit_test(a_stale_unix_socket_is_replaced_and_a_live_one_refused),
        cmocka_unit_test(a_file_that_is_no_socket_is_left_alone),
        cmocka_unit_test(two_loops_share_one_set),
        cmocka_unit_test(garbage_on_a_tls_port_ends_with_a_reason),
        cmocka_unit_test(a_handshake_that_never_ends_is_dropped),
        cmocka_unit_test(unfinished_handshakes_are_capped_and_old_ones_make_way),
        cmocka_unit_test(a_place_that_gets_free_wakes_the_listener),
        cmocka_unit_test(running_out_of_descriptors_neither_spins_nor_loses_the_caller),
        cmocka_unit_test(beyond_the_connection_limit_new_ones_are_closed),
        cmocka_unit_test(both_sides_notice_a_dead_peer),
        cmocka_unit_test(a_listener_freed_inside_accepted_leaves_the_connection),
        cmocka_unit_test(freeing_the_listener_drops_unfinished_handshakes),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
