/* tests/unit/test_net_address.c - host:port, resolving, and the resolver thread. */
#include "config.h"

#include "tests/unit/net_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_clock.h"

static void host_and_port_are_split(void **state)
{
    (void)state;
    const struct {
        const char *text, *host;
        uint16_t port;
    } good[] = {{"node1:2379", "node1", 2379},           {"192.0.2.1:80", "192.0.2.1", 80},
                {"[::1]:65535", "::1", 65535},           {"*:2380", "*", 2380},
                {"[fe80::1%eth0]:1", "fe80::1%eth0", 1}, {"a.b-c.example:0", "a.b-c.example", 0}};
    for (size_t i = 0; i < RK_ARRAY_LEN(good); i++) {
        char host[64];
        uint16_t port;
        assert_int_equal(net_address_split(good[i].text, host, sizeof(host), &port), 0);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
}

static void what_is_not_host_and_port_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {"",
                         "node1",
                         "node1:",
                         ":80",
                         "::1:80",
                         "fe80::1",
                         "[::1]",
                         "[::1]80",
                         "[node1]:80",
                         "a:65536",
                         "a:-1",
                         "a: 1",
                         "a b:1",
                         "a:1x",
                         "http://a:80",
                         "[]:80",
                         "[::1%]x:1",
                         "a:000080",
                         "*a:80",
                         "a\n:80",
                         "[::1",
                         "::1]:80",
                         "verylonghostname.example:80"};
    for (size_t i = 0; i < RK_ARRAY_LEN(bad); i++) {
        char host[20];
        uint16_t port;
        if (net_address_split(bad[i], host, sizeof(host), &port) != -EINVAL)
            fail_msg("taken: %s", bad[i]);
    }
}

static void addresses_are_resolved_and_written(void **state)
{
    (void)state;
    struct net_address *addresses;
    const char *why;
    char text[64];
    assert_int_equal(net_address_resolve("127.0.0.1", 80, false, &addresses, &why), 1);
    net_address_text(&addresses[0], text, sizeof(text));
    assert_string_equal(text, "127.0.0.1:80");
    assert_true(net_address_is_loopback(&addresses[0]));
    free(addresses);
    assert_int_equal(net_address_resolve("::1", 80, false, &addresses, &why), 1);
    net_address_text(&addresses[0], text, sizeof(text));
    assert_string_equal(text, "[::1]:80");
    assert_true(net_address_is_loopback(&addresses[0]));
    free(addresses);
    assert_int_equal(net_address_resolve("192.0.2.1", 80, false, &addresses, &why), 1);
    assert_false(net_address_is_loopback(&addresses[0]));
    free(addresses);
}

static void any_address_is_for_listening_only(void **state)
{
    (void)state;
    struct net_address *addresses;
    const char *why = NULL;
    assert_true(net_address_resolve("*", 80, false, &addresses, &why) < 0);
    assert_non_null(why);
    assert_true(net_address_resolve("*", 80, true, &addresses, &why) >= 1);
    free(addresses);
}

/* ---- the resolver ------------------------------------------------------------------------- */

static atomic_int lookups;
static atomic_bool gate_open, broken;

/* "two": an address where nobody listens, then the right one. "slow": waits for the gate. */
static int fake_lookup(const char *host, uint16_t port, bool passive, struct net_address **ret,
                       const char **ret_why)
{
    (void)passive;
    atomic_fetch_add(&lookups, 1);
    while (strcmp(host, "slow") == 0 && !atomic_load(&gate_open))
        usleep(1000);
    if (strcmp(host, "nowhere") == 0 || atomic_load(&broken)) {
        *ret_why = "no such name";
        return -ENOENT;
    }
    bool two = strcmp(host, "two") == 0;
    struct net_address *addresses = RK_NEW_ARRAY(struct net_address, 2);
    rk_assert(net_address_parse("127.0.0.2", two ? 1 : port, &addresses[0]));
    rk_assert(net_address_parse("127.0.0.1", port, &addresses[two ? 1 : 0]));
    *ret = addresses;
    return two ? 2 : 1;
}

struct rig {
    struct net_loop *loop;
    struct net_resolver *resolver;
    struct server server;
    struct end client;
};

static void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    atomic_store(&lookups, 0);
    atomic_store(&gate_open, false);
    atomic_store(&broken, false);
    assert_int_equal(net_loop_new(&rig->loop), 0);
    assert_int_equal(net_resolver_new(&rig->resolver), 0);
    net_resolver_set_lookup(rig->resolver, fake_lookup);
    server_init(&rig->server, rig->loop, NULL);
}

static void rig_dial(struct rig *rig, const char *host, uint32_t timeout_ms)
{
    char address[64];
    snprintf(address, sizeof(address), "%s:%u", host, rig->server.port);
    end_deinit(&rig->client);
    rig->client = (struct end){0};
    rig->client.conn =
        net_conn_connect(rig->loop, rig->resolver, address, NULL, timeout_ms, &end_ops, &rig->client);
}

static void rig_deinit(struct rig *rig)
{
    if (rig->client.conn) {
        net_conn_close(rig->client.conn, false, "");
        RUN_UNTIL(rig->loop, rig->client.closed);
    }
    end_deinit(&rig->client);
    server_stop(&rig->server);
    net_resolver_free(rig->resolver);
    net_loop_free(rig->loop);
}

static void each_address_of_a_name_is_tried(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig_dial(&rig, "two", 5000);
    RUN_UNTIL(rig.loop, rig.client.ready);
    assert_string_equal(net_conn_peer_text(rig.client.conn), rig.server.address);
    rig_deinit(&rig);
}

static void an_unknown_name_closes_with_the_reason(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig_dial(&rig, "nowhere", 5000);
    RUN_UNTIL(rig.loop, rig.client.closed);
    assert_string_equal(rig.client.why, "cannot resolve nowhere: no such name");
    rig_deinit(&rig);
}

static void a_slow_lookup_ends_at_the_deadline_and_stops_no_loop(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    uint64_t start_us = rk_clock_now_us(&rk_clock_boottime);
    rig_dial(&rig, "slow", 50);
    RUN_UNTIL(rig.loop, rig.client.closed);
    assert_string_equal(rig.client.why, "slow not resolved within 50 ms");
    assert_true(rk_clock_now_us(&rk_clock_boottime) - start_us < 5 * RK_USEC_PER_SEC);
    atomic_store(&gate_open, true);
    rig_deinit(&rig);
}

static void a_connection_may_close_while_its_name_is_resolved(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig_dial(&rig, "slow", 5000);
    run_for_ms(rig.loop, 20);
    net_conn_close(rig.client.conn, true, "changed my mind");
    RUN_UNTIL(rig.loop, rig.client.closed);
    assert_string_equal(rig.client.why, "changed my mind");
    atomic_store(&gate_open, true);
    run_for_ms(rig.loop, 20);
    rig_deinit(&rig);
}

static void a_resolver_that_stops_answers_those_who_wait(void **state)
{
    (void)state;
    struct rig rig;
    struct end second = {0};
    rig_init(&rig);
    rig_dial(&rig, "slow", 5000);
    run_for_ms(rig.loop, 20);
    second.conn = net_conn_connect(rig.loop, rig.resolver, "one:1", NULL, 5000, &end_ops, &second);
    atomic_store(&gate_open, true);
    net_resolver_free(rig.resolver);
    rig.resolver = NULL;
    RUN_UNTIL(rig.loop, rig.client.ready && second.closed);
    rig_deinit(&rig);
}

static void the_last_good_address_serves_while_the_name_fails(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig_dial(&rig, "one", 5000);
    RUN_UNTIL(rig.loop, rig.client.ready);
    net_conn_close(rig.client.conn, false, "");
    RUN_UNTIL(rig.loop, rig.client.closed);
    atomic_store(&broken, true);
    rig_dial(&rig, "one", 5000);
    RUN_UNTIL(rig.loop, rig.client.ready);
    assert_int_equal(atomic_load(&lookups), 2);
    rig_deinit(&rig);
}

static void numeric_hosts_need_no_resolver(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig_dial(&rig, "127.0.0.1", 5000);
    RUN_UNTIL(rig.loop, rig.client.ready);
    assert_int_equal(atomic_load(&lookups), 0);
    rig_deinit(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_and_port_are_split),
        cmocka_unit_test(what_is_not_host_and_port_is_refused),
        cmocka_unit_test(addresses_are_resolved_and_written),
        cmocka_unit_test(any_address_is_for_listening_only),
        cmocka_unit_test(each_address_of_a_name_is_tried),
        cmocka_unit_test(an_unknown_name_closes_with_the_reason),
        cmocka_unit_test(a_slow_lookup_ends_at_the_deadline_and_stops_no_loop),
        cmocka_unit_test(a_connection_may_close_while_its_name_is_resolved),
        cmocka_unit_test(a_resolver_that_stops_answers_those_who_wait),
        cmocka_unit_test(the_last_good_address_serves_while_the_name_fails),
        cmocka_unit_test(numeric_hosts_need_no_resolver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
