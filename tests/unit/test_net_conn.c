/* tests/unit/test_net_conn.c - connections without TLS: transfer, back-pressure, the ways to end. */
#include "config.h"

#include "tests/unit/net_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/limits.h"
#include "lib/base/rk_assert.h"
#include "lib/base/rk_clock.h"

struct rig {
    struct net_loop *loop;
    struct server server;
    struct end client;
};

static void dial(struct rig *rig)
{
    rig->client.conn =
        net_conn_connect(rig->loop, NULL, rig->server.address, NULL, 5000, &end_ops, &rig->client);
}

static int setup(void **state)
{
    struct rig *rig = RK_NEW(struct rig);
    assert_int_equal(net_loop_new(&rig->loop), 0);
    server_init(&rig->server, rig->loop, NULL);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    if (rig->client.conn) {
        net_conn_close(rig->client.conn, false, "");
        RUN_UNTIL(rig->loop, rig->client.closed);
    }
    end_deinit(&rig->client);
    server_stop(&rig->server);
    net_loop_free(rig->loop);
    free(rig);
    return 0;
}

static struct end *meet(struct rig *rig)
{
    dial(rig);
    RUN_UNTIL(rig->loop, rig->client.ready && rig->server.count == 1 && rig->server.ends[0].ready);
    return &rig->server.ends[0];
}

/* Receive buffers below a segment of the loopback would make TCP wait for its persist timer at each step. */
static void tiny_buffers(struct net_conn *conn)
{
    int out = 1, in = 64 * 1024;
    assert_int_equal(setsockopt(conn->source.fd, SOL_SOCKET, SO_SNDBUF, &out, sizeof(out)), 0);
    assert_int_equal(setsockopt(conn->source.fd, SOL_SOCKET, SO_RCVBUF, &in, sizeof(in)), 0);
}

static struct rk_slice pattern(size_t len)
{
    static uint8_t *bytes;
    static size_t have;
    if (have < len) {
        bytes = rk_realloc(bytes, len);
        for (size_t i = have; i < len; i++)
            bytes[i] = (uint8_t)(i * 31 + (i >> 8));
        have = len;
    }
    return rk_slice(bytes, len);
}

/* ---- transfer --------------------------------------------------------------------------- */

static void bytes_cross_both_ways(void **state)
{
    struct rig *rig = *state;
    rig->server.echo = true;
    meet(rig);
    net_conn_write(rig->client.conn, rk_slice_str("hello "));
    net_conn_write(rig->client.conn, rk_slice_str("world"));
    RUN_UNTIL(rig->loop, rig->client.in.len == 11);
    assert_true(rk_slice_eq_str(rk_buf_slice(&rig->client.in), "hello world"));
    assert_int_equal(rig->server.ends[0].data_calls, 1); /* the writes of one turn travel together */
    assert_false(net_conn_is_tls(rig->client.conn));
    assert_string_equal(net_conn_alpn(rig->client.conn), "");
    assert_string_equal(net_conn_peer_subject(rig->client.conn), "");
    assert_false(net_conn_peer_has_name(rig->client.conn, "node"));
    assert_ptr_equal(net_conn_loop(rig->client.conn), rig->loop);
}

static void what_is_written_before_ready_leaves_when_ready(void **state)
{
    struct rig *rig = *state;
    dial(rig);
    net_conn_write(rig->client.conn, rk_slice_str("early"));
    RUN_UNTIL(rig->loop, rig->server.count == 1 && rig->server.ends[0].in.len == 5);
}

static void megabytes_cross_both_ways_through_tiny_buffers(void **state)
{
    struct rig *rig = *state;
    const size_t len = 3 * 1024 * 1024 + 17;
    struct end *server = meet(rig);
    tiny_buffers(rig->client.conn);
    tiny_buffers(server->conn);
    net_conn_write(rig->client.conn, pattern(len));
    net_conn_write(server->conn, pattern(len));
    RUN_UNTIL(rig->loop, rig->client.in.len == len && server->in.len == len);
    assert_true(rk_slice_eq(rk_buf_slice(&rig->client.in), pattern(len)));
    assert_true(rk_slice_eq(rk_buf_slice(&server->in), pattern(len)));
}

/* Edge-triggered: nothing new arrives, yet the rest must come. */
static void more_than_a_turns_budget_is_read_without_a_new_edge(void **state)
{
    struct rig *rig = *state;
    int fd = tcp_client(rig->server.port), size = 4 * 1024 * 1024;
    RUN_UNTIL(rig->loop, rig->server.count == 1 && rig->server.ends[0].ready);
    struct end *server = &rig->server.ends[0];
    setsockopt(server->conn->source.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    net_conn_pause(server->conn);
    size_t sent = 0;
    while (sent < 2 * RK_CONN_READ_BUDGET) {
        ssize_t n = send(fd, pattern(65536).data, 65536, MSG_DONTWAIT);
        if (n < 0)
            break;
        sent += (size_t)n;
    }
    assert_true(sent > RK_CONN_READ_BUDGET);
    run_for_ms(rig->loop, 20);
    net_conn_resume(server->conn);
    assert_int_equal(net_loop_run_once(rig->loop), 0);
    assert_true(server->in.len > 0 && server->in.len <= RK_CONN_READ_BUDGET);
    RUN_UNTIL(rig->loop, server->in.len == sent);
    close(fd);
    RUN_UNTIL(rig->loop, server->closed);
}

static void idle_connections_keep_no_large_buffer(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_write(rig->client.conn, pattern(512 * 1024));
    RUN_UNTIL(rig->loop, server->in.len == 512 * 1024);
    assert_true(rig->client.conn->out.cap <= 4096);
}

/* ---- back-pressure ------------------------------------------------------------------------- */

static void a_paused_connection_delivers_nothing_until_resumed(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_pause(server->conn);
    net_conn_write(rig->client.conn, rk_slice_str("waiting"));
    run_for_ms(rig->loop, 30);
    assert_int_equal(server->in.len, 0);
    net_conn_resume(server->conn);
    RUN_UNTIL(rig->loop, server->in.len == 7);
}

static void a_paused_connection_learns_of_a_reset(void **state)
{
    struct rig *rig = *state;
    int fd = tcp_client(rig->server.port);
    RUN_UNTIL(rig->loop, rig->server.count == 1 && rig->server.ends[0].ready);
    net_conn_pause(rig->server.ends[0].conn);
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    RUN_UNTIL(rig->loop, rig->server.ends[0].closed);
    assert_string_equal(rig->server.ends[0].why, "Connection reset by peer");
}

static void drained_comes_once_after_the_high_mark(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_write(rig->client.conn, pattern(1000));
    RUN_UNTIL(rig->loop, server->in.len == 1000);
    assert_int_equal(rig->client.drained_calls, 0);
    net_conn_write(rig->client.conn, pattern(NET_CONN_HIGH_BYTES + 1));
    assert_int_equal(net_conn_out_bytes(rig->client.conn), NET_CONN_HIGH_BYTES + 1);
    RUN_UNTIL(rig->loop, server->in.len == 1000 + NET_CONN_HIGH_BYTES + 1);
    assert_int_equal(rig->client.drained_calls, 1);
}

static void who_reads_too_slowly_is_closed(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_pause(rig->client.conn);
    net_conn_set_out_max(server->conn, 1024 * 1024);
    for (int i = 0; i < 64 && !server->closed; i++) {
        if (server->conn)
            net_conn_write(server->conn, pattern(1024 * 1024));
        assert_int_equal(net_loop_run_once(rig->loop), 0);
    }
    RUN_UNTIL(rig->loop, server->closed);
    assert_string_equal(server->why, "the other side reads too slowly");
}

static void one_turn_cannot_queue_without_bound(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_set_out_max(server->conn, 1000);
    for (int i = 0; i < 1000; i++)
        net_conn_write(server->conn, pattern(600));
    assert_true(net_conn_out_bytes(server->conn) <= 1000 + 600);
    RUN_UNTIL(rig->loop, server->closed);
}

/* ---- the end ---------------------------------------------------------------------------------- */

static void an_orderly_end_has_no_reason(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_close(rig->client.conn, true, "my own reason");
    assert_false(rig->client.closed); /* never from inside the call */
    RUN_UNTIL(rig->loop, rig->client.closed && server->closed);
    assert_string_equal(rig->client.why, "my own reason");
    assert_string_equal(server->why, "");
}

static void close_with_flush_delivers_everything(void **state)
{
    struct rig *rig = *state;
    const size_t len = 2 * 1024 * 1024;
    struct end *server = meet(rig);
    tiny_buffers(server->conn);
    net_conn_write(server->conn, pattern(len));
    net_conn_close(server->conn, true, "done");
    net_conn_write(server->conn, rk_slice_str("not this"));
    RUN_UNTIL(rig->loop, server->closed && rig->client.closed);
    assert_true(rk_slice_eq(rk_buf_slice(&rig->client.in), pattern(len)));
    assert_string_equal(server->why, "done");
}

/* A server that refuses an upload half way: without lingering its answer would be lost in a reset. */
static void an_answer_before_the_end_of_the_input_still_arrives(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_write(rig->client.conn, pattern(8 * 1024 * 1024));
    RUN_UNTIL(rig->loop, server->in.len > 0);
    net_conn_write(server->conn, rk_slice_str("too large"));
    net_conn_close(server->conn, true, "request too large");
    RUN_UNTIL(rig->loop, rig->client.closed && server->closed);
    assert_true(rk_slice_eq_str(rk_buf_slice(&rig->client.in), "too large"));
    assert_string_equal(rig->client.why, "");
}

static void close_without_flush_drops_what_waits(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_write(server->conn, rk_slice_str("never sent"));
    net_conn_close(server->conn, false, "now");
    net_conn_close(server->conn, false, "again");
    RUN_UNTIL(rig->loop, server->closed && rig->client.closed);
    assert_string_equal(server->why, "now");
    assert_int_equal(rig->client.in.len, 0);
}

static void a_flush_that_nobody_reads_can_be_cut_short(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_pause(rig->client.conn);
    net_conn_write(server->conn, pattern(32 * 1024 * 1024));
    net_conn_close(server->conn, true, "slow");
    run_for_ms(rig->loop, 30);
    assert_false(server->closed);
    net_conn_close(server->conn, false, "cut");
    RUN_UNTIL(rig->loop, server->closed);
    assert_string_equal(server->why, "slow");
}

static void closing_inside_ready_is_safe(void **state)
{
    struct rig *rig = *state;
    rig->client.close_in_ready = true;
    dial(rig);
    RUN_UNTIL(rig->loop, rig->client.closed);
    assert_string_equal(rig->client.why, "closed in ready");
}

static void closing_inside_data_ends_the_reading(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    server->close_in_data = true;
    net_conn_write(rig->client.conn, pattern(1024 * 1024));
    RUN_UNTIL(rig->loop, server->closed && rig->client.closed);
    assert_int_equal(server->data_calls, 1);
    assert_string_equal(server->why, "closed in data");
}

static void closing_inside_drained_is_safe(void **state)
{
    struct rig *rig = *state;
    meet(rig);
    rig->client.close_in_drained = true;
    net_conn_write(rig->client.conn, pattern(NET_CONN_HIGH_BYTES + 1));
    RUN_UNTIL(rig->loop, rig->client.closed);
    assert_string_equal(rig->client.why, "closed in drained");
}

static void closed_connections_go_with_the_loop(void **state)
{
    (void)state;
    struct net_loop *loop;
    struct end client = {0};
    assert_int_equal(net_loop_new(&loop), 0);
    client.conn = net_conn_connect(loop, NULL, "127.0.0.1:1", NULL, 1000, &end_ops, &client);
    net_conn_close(client.conn, false, "stopping");
    net_loop_free(loop);
    assert_true(client.closed);
    assert_string_equal(client.why, "stopping");
}

/* ---- time ---------------------------------------------------------------------------------------- */

static void silence_ends_at_the_idle_limit(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_set_idle_ms(server->conn, 120);
    uint64_t start_us = rk_clock_now_us(&rk_clock_boottime);
    for (int i = 0; i < 4; i++) {
        run_for_ms(rig->loop, 50);
        net_conn_write(rig->client.conn, rk_slice_str("x"));
    }
    assert_false(server->closed);
    RUN_UNTIL(rig->loop, server->closed);
    assert_string_equal(server->why, "nothing received for 120 ms");
    assert_true(rk_clock_now_us(&rk_clock_boottime) - start_us >= 270 * RK_USEC_PER_MSEC);
}

static void a_paused_connection_is_not_idle(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_set_idle_ms(server->conn, 30);
    net_conn_pause(server->conn);
    run_for_ms(rig->loop, 100);
    assert_false(server->closed);
    net_conn_resume(server->conn);
    RUN_UNTIL(rig->loop, server->closed);
}

static void the_idle_limit_can_be_switched_off(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_set_idle_ms(server->conn, 30);
    net_conn_set_idle_ms(server->conn, 0);
    run_for_ms(rig->loop, 80);
    assert_false(server->closed);
}

/* ---- connecting ------------------------------------------------------------------------------------ */

static void a_refused_connection_says_so(void **state)
{
    struct rig *rig = *state;
    char expected[128];
    /* Bound and not listening: nobody else can take the port meanwhile. */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct net_address address;
    assert_true(net_address_parse("127.0.0.1", 0, &address));
    assert_int_equal(bind(fd, (struct sockaddr *)&address.addr, address.len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address.addr, &address.len), 0);
    net_address_text(&address, rig->server.address, sizeof(rig->server.address));
    dial(rig);
    RUN_UNTIL(rig->loop, rig->client.closed);
    snprintf(expected, sizeof(expected), "cannot connect to %s: Connection refused", rig->server.address);
    assert_string_equal(rig->client.why, expected);
    assert_false(rig->client.ready);
    close(fd);
}

static void a_bad_address_arrives_as_closed(void **state)
{
    struct rig *rig = *state;
    snprintf(rig->server.address, sizeof(rig->server.address), "nonsense");
    dial(rig);
    assert_false(rig->client.closed);
    RUN_UNTIL(rig->loop, rig->client.closed);
    assert_string_equal(rig->client.why, "\"nonsense\" is not host:port");
}

static void a_name_without_a_resolver_arrives_as_closed(void **state)
{
    struct rig *rig = *state;
    snprintf(rig->server.address, sizeof(rig->server.address), "node1:2380");
    dial(rig);
    RUN_UNTIL(rig->loop, rig->client.closed);
    assert_string_equal(rig->client.why, "cannot resolve node1: an address is needed");
}

static void a_server_that_never_answers_is_given_up(void **state)
{
    struct rig *rig = *state;
    /* A full backlog: the kernel drops our SYN. */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct net_address address;
    assert_true(net_address_parse("127.0.0.1", 0, &address));
    assert_int_equal(bind(fd, (struct sockaddr *)&address.addr, address.len), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address.addr, &address.len), 0);
    int fillers[4];
    for (size_t i = 0; i < RK_ARRAY_LEN(fillers); i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&address.addr, address.len);
    }
    char text[64];
    net_address_text(&address, text, sizeof(text));
    rig->client.conn = net_conn_connect(rig->loop, NULL, text, NULL, 100, &end_ops, &rig->client);
    RUN_UNTIL(rig->loop, rig->client.closed);
    assert_non_null(strstr(rig->client.why, "no answer in time"));
    for (size_t i = 0; i < RK_ARRAY_LEN(fillers); i++)
        close(fillers[i]);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_cross_both_ways),
        TEST(what_is_written_before_ready_leaves_when_ready),
        TEST(megabytes_cross_both_ways_through_tiny_buffers),
        TEST(more_than_a_turns_budget_is_read_without_a_new_edge),
        TEST(idle_connections_keep_no_large_buffer),
        TEST(a_paused_connection_delivers_nothing_until_resumed),
        TEST(a_paused_connection_learns_of_a_reset),
        TEST(drained_comes_once_after_the_high_mark),
        TEST(who_reads_too_slowly_is_closed),
        TEST(one_turn_cannot_queue_without_bound),
        TEST(an_orderly_end_has_no_reason),
        TEST(close_with_flush_delivers_everything),
        TEST(an_answer_before_the_end_of_the_input_still_arrives),
        TEST(close_without_flush_drops_what_waits),
        TEST(a_flush_that_nobody_reads_can_be_cut_short),
        TEST(closing_inside_ready_is_safe),
        TEST(closing_inside_data_ends_the_reading),
        TEST(closing_inside_drained_is_safe),
        cmocka_unit_test(closed_connections_go_with_the_loop),
        TEST(silence_ends_at_the_idle_limit),
        TEST(a_paused_connection_is_not_idle),
        TEST(the_idle_limit_can_be_switched_off),
        TEST(a_refused_connection_says_so),
        TEST(a_bad_address_arrives_as_closed),
        TEST(a_name_without_a_resolver_arrives_as_closed),
        TEST(a_server_that_never_answers_is_given_up),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    return r;
}
