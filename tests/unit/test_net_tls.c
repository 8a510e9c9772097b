/* tests/unit/test_net_tls.c - handshakes that succeed, handshakes that must not, and TLS under load. */
#include "config.h"

#include "tests/unit/net_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/limits.h"
#include "lib/base/rk_assert.h"

/* One set of certificates for all tests: the clock does not move far in a second. */
static struct net_certs certs;

static int group_setup(void **state)
{
    (void)state;
    net_certs_init(&certs);
    net_certs_ca(&certs, "ca");
    net_certs_ca(&certs, "other-ca");
    net_certs_leaf(&certs, "ca", "node1",
                   &(struct net_certs_leaf){.cn = "node1",
                                            .san = "DNS:node1.test,IP:127.0.0.1,URI:raftkv:member:1",
                                            .serial = 101});
    net_certs_leaf(&certs, "ca", "elsewhere",
                   &(struct net_certs_leaf){.cn = "elsewhere", .san = "DNS:elsewhere.test"});
    net_certs_leaf(&certs, "ca", "plain", &(struct net_certs_leaf){.cn = "alice", .serial = 102});
    net_certs_leaf(&certs, "ca", "expired",
                   &(struct net_certs_leaf){.cn = "node2", .from_s = -7200, .until_s = -60});
    net_certs_leaf(&certs, "ca", "serving", &(struct net_certs_leaf){.cn = "serving", .eku = "serverAuth"});
    net_certs_leaf(&certs, "ca", "calling", &(struct net_certs_leaf){.cn = "calling", .eku = "clientAuth"});
    net_certs_leaf(&certs, "other-ca", "stranger",
                   &(struct net_certs_leaf){.cn = "stranger", .san = "IP:127.0.0.1"});
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    net_certs_deinit(&certs);
    return 0;
}

struct rig {
    struct net_loop *loop;
    struct net_tls *server_tls, *client_tls;
    struct server server;
    struct end client;
};

static int setup(void **state)
{
    struct rig *rig = RK_NEW(struct rig);
    assert_int_equal(net_loop_new(&rig->loop), 0);
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
    net_tls_unref(rig->server_tls);
    net_tls_unref(rig->client_tls);
    net_loop_free(rig->loop);
    free(rig);
    return 0;
}

static void serve(struct rig *rig, enum net_tls_role role, const char *cert, const char *ca)
{
    rig->server_tls = tls_of(&certs, role, cert, ca);
    server_init(&rig->server, rig->loop, rig->server_tls);
}

static void dial(struct rig *rig, const char *cert, const char *ca)
{
    rig->client_tls = tls_of(&certs, NET_TLS_PEER_CLIENT, cert, ca);
    rig->client.conn =
        net_conn_connect(rig->loop, NULL, rig->server.address, rig->client_tls, 5000, &end_ops, &rig->client);
}

static struct end *meet(struct rig *rig)
{
    serve(rig, NET_TLS_PEER_SERVER, "node1", "ca");
    dial(rig, "node1", "ca");
    RUN_UNTIL(rig->loop, rig->client.ready && rig->server.count == 1 && rig->server.ends[0].ready);
    return &rig->server.ends[0];
}

static const char *file(const char *name)
{
    return net_certs_path(&certs, name);
}

static void foreign_call(struct rig *rig, struct foreign *foreign)
{
    foreign->port = rig->server.port;
    rig->server.greeting = "hi";
    foreign_start(foreign);
    RUN_UNTIL(rig->loop, atomic_load(&foreign->done));
    foreign_join(foreign);
    run_for_ms(rig->loop, 10);
}

static void expect_refused(struct rig *rig, const char *why)
{
    assert_int_equal(rig->server.count, 0);
    assert_int_equal(rig->server.refused, 1);
    if (!strstr(rig->server.refused_why, why))
        fail_msg("got: %s", rig->server.refused_why);
}

/* ---- members -------------------------------------------------------------------------------- */

static void members_meet_by_mutual_tls(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    const struct net_conn *ends[] = {server->conn, rig->client.conn};
    for (size_t i = 0; i < 2; i++) {
        assert_true(net_conn_is_tls(ends[i]));
        assert_string_equal(net_conn_peer_subject(ends[i]), "CN=node1");
        assert_true(net_conn_peer_has_name(ends[i], "node1.test"));
        assert_true(net_conn_peer_has_name(ends[i], "NODE1.test"));
        assert_true(net_conn_peer_has_name(ends[i], "raftkv:member:1"));
        assert_true(net_conn_peer_has_name(ends[i], "127.0.0.1"));
        assert_false(net_conn_peer_has_name(ends[i], "127.0.0.2"));
        assert_false(net_conn_peer_has_name(ends[i], "raftkv:member:2"));
        assert_false(
            net_conn_peer_has_name(ends[i], "node1")); /* the CN counts only without names beside it */
        assert_false(net_conn_peer_has_name(ends[i], ""));
        assert_string_equal(SSL_get_version(ends[i]->ssl), "TLSv1.3");
    }
    net_conn_write(rig->client.conn, rk_slice_str("append"));
    net_conn_write(server->conn, rk_slice_str("ack"));
    RUN_UNTIL(rig->loop, server->in.len == 6 && rig->client.in.len == 3);
}

static void an_orderly_end_of_tls_has_no_reason(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    net_conn_close(rig->client.conn, false, "mine");
    RUN_UNTIL(rig->loop, server->closed && rig->client.closed);
    assert_string_equal(server->why, "");
}

static void a_stream_cut_off_is_told_from_an_orderly_end(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    shutdown(rig->client.conn->source.fd, SHUT_RDWR);
    RUN_UNTIL(rig->loop, server->closed && rig->client.closed);
    assert_string_equal(server->why, "TLS failed: the other side closed the connection");
}

static void a_server_of_an_unknown_ca_is_refused(void **state)
{
    struct rig *rig = *state;
    serve(rig, NET_TLS_PEER_SERVER, "stranger", "other-ca");
    dial(rig, "node1", "ca");
    RUN_UNTIL(rig->loop, rig->client.closed && rig->server.refused == 1);
    assert_false(rig->client.ready);
    assert_string_equal(rig->client.why,
                        "TLS handshake failed: unable to get local issuer certificate (peer CN stranger)");
    expect_refused(rig, "unknown ca");
}

static void a_server_with_the_wrong_name_is_refused(void **state)
{
    struct rig *rig = *state;
    serve(rig, NET_TLS_PEER_SERVER, "elsewhere", "ca");
    dial(rig, "node1", "ca");
    RUN_UNTIL(rig->loop, rig->client.closed);
    assert_string_equal(rig->client.why, "TLS handshake failed: IP address mismatch (peer CN elsewhere)");
}

static int lookup_home(const char *host, uint16_t port, bool passive, struct net_address **ret,
                       const char **ret_why)
{
    (void)host, (void)passive, (void)ret_why;
    *ret = RK_NEW(struct net_address);
    rk_assert(net_address_parse("127.0.0.1", port, *ret));
    return 1;
}

static void the_servers_name_is_verified_not_its_address(void **state)
{
    struct rig *rig = *state;
    const char *hosts[] = {"node1.test", "node2.test"};
    struct net_resolver *resolver;
    assert_int_equal(net_resolver_new(&resolver), 0);
    net_resolver_set_lookup(resolver, lookup_home);
    serve(rig, NET_TLS_PEER_SERVER, "node1", "ca");
    rig->client_tls = tls_of(&certs, NET_TLS_PEER_CLIENT, "node1", "ca");
    for (size_t i = 0; i < 2; i++) {
        char address[64];
        struct end end = {0};
        snprintf(address, sizeof(address), "%s:%u", hosts[i], rig->server.port);
        end.conn = net_conn_connect(rig->loop, resolver, address, rig->client_tls, 5000, &end_ops, &end);
        RUN_UNTIL(rig->loop, end.ready || end.closed);
        assert_int_equal(end.ready, i == 0);
        if (end.conn)
            net_conn_close(end.conn, false, "");
        RUN_UNTIL(rig->loop, end.closed);
        if (i == 1)
            assert_non_null(strstr(end.why, "ostname mismatch (peer CN node1)"));
        end_deinit(&end);
    }
    net_resolver_free(resolver);
}

static void a_client_of_an_unknown_ca_is_refused(void **state)
{
    struct rig *rig = *state;
    struct foreign foreign = {
        .ca = file("ca.pem"), .cert = file("stranger.pem"), .key = file("stranger.key")};
    serve(rig, NET_TLS_PEER_SERVER, "node1", "ca");
    foreign_call(rig, &foreign);
    assert_false(foreign.finished);
    expect_refused(rig, "unable to get local issuer certificate (peer CN stranger)");
}

static void an_expired_client_certificate_is_refused(void **state)
{
    struct rig *rig = *state;
    struct foreign foreign = {.ca = file("ca.pem"), .cert = file("expired.pem"), .key = file("expired.key")};
    serve(rig, NET_TLS_PEER_SERVER, "node1", "ca");
    foreign_call(rig, &foreign);
    assert_false(foreign.finished);
    expect_refused(rig, "TLS handshake failed: certificate has expired (peer CN node2)");
}

static void a_server_certificate_does_not_open_the_peer_port(void **state)
{
    struct rig *rig = *state;
    struct foreign foreign = {.ca = file("ca.pem"), .cert = file("serving.pem"), .key = file("serving.key")};
    serve(rig, NET_TLS_PEER_SERVER, "node1", "ca");
    foreign_call(rig, &foreign);
    assert_false(foreign.finished);
    expect_refused(rig, "purpose");
}

static void a_clients_certificate_does_not_open_the_peer_port(void **state)
{
    struct rig *rig = *state;
    struct foreign foreign = {.ca = file("ca.pem"), .cert = file("calling.pem"), .key = file("calling.key")};
    serve(rig, NET_TLS_PEER_SERVER, "node1", "ca");
    foreign_call(rig, &foreign);
    assert_false(foreign.finished);
    expect_refused(rig, "purpose");
}

static void no_client_certificate_is_refused_between_members(void **state)
{
    struct rig *rig = *state;
    struct foreign foreign = {.ca = file("ca.pem")};
    serve(rig, NET_TLS_PEER_SERVER, "node1", "ca");
    foreign_call(rig, &foreign);
    assert_false(foreign.finished);
    expect_refused(rig, "peer did not return a certificate");
}

static void tls_1_2_is_refused_between_members(void **state)
{
    struct rig *rig = *state;
    struct foreign foreign = {.ca = file("ca.pem"),
                              .cert = file("node1.pem"),
                              .key = file("node1.key"),
                              .max_version = TLS1_2_VERSION};
    serve(rig, NET_TLS_PEER_SERVER, "node1", "ca");
    foreign_call(rig, &foreign);
    assert_false(foreign.connected);
    expect_refused(rig, "unsupported protocol");
}

static void a_revoked_certificate_is_refused(void **state)
{
    struct rig *rig = *state;
    const struct {
        const char *cert, *key;
        bool good;
    } clients[] = {{"plain.pem", "plain.key", false}, {"node1.pem", "node1.key", true}};
    char command[400];
    snprintf(command, sizeof(command), "cp %s %s", file("ca.pem"), file("with-crl.pem"));
    assert_int_equal(system(command), 0);
    net_certs_append_crl(&certs, "ca", "with-crl.pem", 102);
    serve(rig, NET_TLS_PEER_SERVER, "node1", "with-crl");
    for (size_t i = 0; i < 2; i++) {
        struct foreign foreign = {
            .ca = file("ca.pem"), .cert = file(clients[i].cert), .key = file(clients[i].key)};
        foreign_call(rig, &foreign);
        assert_int_equal(foreign.finished, clients[i].good);
        if (i == 0)
            expect_refused(rig, "certificate revoked (peer CN alice)");
    }
}

/* ---- clients ----------------------------------------------------------------------------------- */

static void clients_without_a_certificate_come_in_when_none_is_asked_for(void **state)
{
    struct rig *rig = *state;
    struct foreign foreign = {.ca = file("ca.pem")};
    serve(rig, NET_TLS_CLIENT_PORT, "node1", NULL);
    foreign_call(rig, &foreign);
    assert_string_equal(foreign.got, "hi");
    assert_int_equal(rig->server.count, 1);
}

static void an_optional_client_certificate_must_still_be_good(void **state)
{
    struct rig *rig = *state;
    struct foreign none = {.ca = file("ca.pem")};
    struct foreign bad = {.ca = file("ca.pem"), .cert = file("stranger.pem"), .key = file("stranger.key")};
    serve(rig, NET_TLS_CLIENT_PORT, "node1", "ca");
    foreign_call(rig, &none);
    assert_true(none.finished);
    foreign_call(rig, &bad);
    assert_false(bad.finished);
    assert_int_equal(rig->server.count, 1);
}

static void a_certificate_without_names_is_known_by_its_cn(void **state)
{
    struct rig *rig = *state;
    serve(rig, NET_TLS_PEER_SERVER, "node1", "ca");
    dial(rig, "plain", "ca");
    RUN_UNTIL(rig->loop, rig->client.ready && rig->server.count == 1);
    assert_true(net_conn_peer_has_name(rig->server.ends[0].conn, "alice"));
    assert_false(net_conn_peer_has_name(rig->server.ends[0].conn, "Alice"));
    assert_false(net_conn_peer_has_name(rig->server.ends[0].conn, "alic"));
}

static void the_client_port_takes_tls_1_2_with_forward_secrecy_only(void **state)
{
    struct rig *rig = *state;
    struct foreign good = {.ca = file("ca.pem"), .max_version = TLS1_2_VERSION};
    struct foreign cbc = {
        .ca = file("ca.pem"), .max_version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-SHA256"};
    struct foreign old = {.ca = file("ca.pem"), .max_version = TLS1_1_VERSION, .ciphers = "ALL:@SECLEVEL=0"};
    serve(rig, NET_TLS_CLIENT_PORT, "node1", NULL);
    foreign_call(rig, &good);
    assert_true(good.finished);
    assert_non_null(strstr(good.cipher, "ECDHE"));
    foreign_call(rig, &cbc);
    assert_false(cbc.connected);
    foreign_call(rig, &old);
    assert_false(old.connected);
    assert_int_equal(rig->server.count, 1);
}

static void alpn_prefers_http_2(void **state)
{
    struct rig *rig = *state;
    const struct {
        const char *offer, *chosen;
        bool good;
    } cases[] = {{"\x08http/1.1\x02h2", "h2", true},
                 {"\x08http/1.1", "http/1.1", true},
                 {NULL, "", true},
                 {"\x08http/1.0", "", false}};
    serve(rig, NET_TLS_CLIENT_PORT, "node1", NULL);
    for (size_t i = 0; i < RK_ARRAY_LEN(cases); i++) {
        struct foreign foreign = {.ca = file("ca.pem"), .alpn = cases[i].offer};
        foreign_call(rig, &foreign);
        assert_int_equal(foreign.finished, cases[i].good);
        if (foreign.finished)
            assert_string_equal(foreign.alpn_got, cases[i].chosen);
    }
    assert_int_equal(rig->server.count, 3);
}

/* ---- reload --------------------------------------------------------------------------------------- */

static void new_handshakes_use_the_new_certificate_and_old_connections_live(void **state)
{
    struct rig *rig = *state;
    char *error = NULL;
    struct foreign first = {.ca = file("ca.pem")}, second = first, third = first;
    net_certs_leaf(&certs, "ca", "moving", &(struct net_certs_leaf){.cn = "first"});
    rig->server_tls = tls_of(&certs, NET_TLS_CLIENT_PORT, "moving", NULL);
    server_init(&rig->server, rig->loop, rig->server_tls);
    rig->server.echo = true;
    foreign_call(rig, &first);
    assert_string_equal(first.server_cn, "first");

    net_certs_leaf(&certs, "ca", "moving", &(struct net_certs_leaf){.cn = "second"});
    assert_int_equal(net_tls_reload(rig->server_tls, &error), 0);
    foreign_call(rig, &second);
    assert_string_equal(second.server_cn, "second");

    net_certs_write(&certs, "moving.pem", "half a file");
    assert_int_equal(net_tls_reload(rig->server_tls, &error), -EINVAL);
    free(error);
    foreign_call(rig, &third);
    assert_string_equal(third.server_cn, "second");
}

static void a_connection_outlives_the_reload_of_its_context(void **state)
{
    struct rig *rig = *state;
    char *error = NULL;
    struct end *server = meet(rig);
    assert_int_equal(net_tls_reload(rig->server_tls, &error), 0);
    assert_int_equal(net_tls_reload(rig->client_tls, &error), 0);
    rig->server_tls = net_tls_unref(rig->server_tls);
    net_conn_write(rig->client.conn, rk_slice_str("still here"));
    RUN_UNTIL(rig->loop, server->in.len == 10);
    assert_true(net_conn_peer_has_name(server->conn, "node1.test"));
}

/* ---- load ------------------------------------------------------------------------------------------- */

/* Receive buffers below a segment of the loopback would make TCP wait for its persist timer at each step. */
static void tiny_buffers(struct net_conn *conn)
{
    int out = 1, in = 64 * 1024;
    assert_int_equal(setsockopt(conn->source.fd, SOL_SOCKET, SO_SNDBUF, &out, sizeof(out)), 0);
    assert_int_equal(setsockopt(conn->source.fd, SOL_SOCKET, SO_RCVBUF, &in, sizeof(in)), 0);
}

static void fill(struct rk_buf *buf, size_t len)
{
    uint8_t *p = rk_buf_reserve(buf, len);
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(i * 31 + (i >> 8));
    rk_buf_commit(buf, len);
}

/* The first write blocks inside a record; then the buffer grows and moves before the record can end. */
static void megabytes_cross_both_ways_through_tiny_buffers(void **state)
{
    struct rig *rig = *state;
    struct rk_buf bytes = {0};
    const size_t len = 2 * 1024 * 1024 + 11, step = 100 * 1024;
    struct end *server = meet(rig);
    tiny_buffers(rig->client.conn);
    tiny_buffers(server->conn);
    fill(&bytes, len);
    for (size_t at = 0; at < len; at += step) {
        struct rk_slice part = rk_slice(bytes.data + at, len - at < step ? len - at : step);
        net_conn_write(rig->client.conn, part);
        net_conn_write(server->conn, part);
        assert_int_equal(net_loop_run_once(rig->loop), 0);
    }
    RUN_UNTIL(rig->loop, rig->client.in.len == len && server->in.len == len);
    assert_true(rk_slice_eq(rk_buf_slice(&rig->client.in), rk_buf_slice(&bytes)));
    assert_true(rk_slice_eq(rk_buf_slice(&server->in), rk_buf_slice(&bytes)));
    rk_buf_deinit(&bytes);
}

static void close_with_flush_delivers_everything_over_tls(void **state)
{
    struct rig *rig = *state;
    struct rk_buf bytes = {0};
    struct end *server = meet(rig);
    tiny_buffers(server->conn);
    fill(&bytes, 1024 * 1024);
    net_conn_write(server->conn, rk_buf_slice(&bytes));
    net_conn_close(server->conn, true, "done");
    RUN_UNTIL(rig->loop, server->closed && rig->client.closed);
    assert_true(rk_slice_eq(rk_buf_slice(&rig->client.in), rk_buf_slice(&bytes)));
    assert_string_equal(rig->client.why, "");
    rk_buf_deinit(&bytes);
}

static void what_openssl_holds_is_delivered_on_resume(void **state)
{
    struct rig *rig = *state;
    struct rk_buf bytes = {0};
    struct end *server = meet(rig);
    net_conn_pause(server->conn);
    fill(&bytes, 40 * 1024);
    net_conn_write(rig->client.conn, rk_buf_slice(&bytes));
    run_for_ms(rig->loop, 30);
    assert_int_equal(server->in.len, 0);
    for (int i = 0; i < 100 && server->in.len < bytes.len; i++) {
        net_conn_resume(server->conn);
        assert_int_equal(net_loop_run_once(rig->loop), 0);
    }
    assert_int_equal(server->in.len, bytes.len);
    rk_buf_deinit(&bytes);
}

/* Many small writes in one turn must not become many records. */
static void the_writes_of_a_turn_leave_in_one_record(void **state)
{
    struct rig *rig = *state;
    struct end *server = meet(rig);
    for (int i = 0; i < 1000; i++)
        net_conn_write(rig->client.conn, rk_slice_str("0123456789"));
    RUN_UNTIL(rig->loop, server->in.len == 10000);
    assert_int_equal(server->data_calls, 1);
}

static void a_handshake_that_the_server_never_answers_ends_in_time(void **state)
{
    struct rig *rig = *state;
    server_init(&rig->server, rig->loop, NULL); /* takes the hello and says nothing */
    rig->client_tls = tls_of(&certs, NET_TLS_PEER_CLIENT, "node1", "ca");
    rig->client.conn =
        net_conn_connect(rig->loop, NULL, rig->server.address, rig->client_tls, 80, &end_ops, &rig->client);
    RUN_UNTIL(rig->loop, rig->client.closed);
    assert_string_equal(rig->client.why, "TLS handshake not finished in time");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(members_meet_by_mutual_tls),
        TEST(an_orderly_end_of_tls_has_no_reason),
        TEST(a_stream_cut_off_is_told_from_an_orderly_end),
        TEST(a_server_of_an_unknown_ca_is_refused),
        TEST(a_server_with_the_wrong_name_is_refused),
        TEST(the_servers_name_is_verified_not_its_address),
        TEST(a_client_of_an_unknown_ca_is_refused),
        TEST(an_expired_client_certificate_is_refused),
        TEST(a_server_certificate_does_not_open_the_peer_port),
        TEST(a_clients_certificate_does_not_open_the_peer_port),
        TEST(no_client_certificate_is_refused_between_members),
        TEST(tls_1_2_is_refused_between_members),
        TEST(a_revoked_certificate_is_refused),
        TEST(clients_without_a_certificate_come_in_when_none_is_asked_for),
        TEST(an_optional_client_certificate_must_still_be_good),
        TEST(a_certificate_without_names_is_known_by_its_cn),
        TEST(the_client_port_takes_tls_1_2_with_forward_secrecy_only),
        TEST(alpn_prefers_http_2),
        TEST(new_handshakes_use_the_new_certificate_and_old_connections_live),
        TEST(a_connection_outlives_the_reload_of_its_context),
        TEST(megabytes_cross_both_ways_through_tiny_buffers),
        TEST(close_with_flush_delivers_everything_over_tls),
        TEST(what_openssl_holds_is_delivered_on_resume),
        TEST(the_writes_of_a_turn_leave_in_one_record),
        TEST(a_handshake_that_the_server_never_answers_ends_in_time),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
