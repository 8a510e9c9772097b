/* The shapes of values, and values that do not fit together. */
#include "config.h"

#include "tests/unit/conf_test.h"

#define PEER_TLS   "certificate = \"/c\"; key = \"/k\"; ca = \"/ca\"; "
#define CLIENT_TLS "certificate = \"/c\"; key = \"/k\"; "

static void test_a_name_is_1_to_64_of_its_characters(void **state)
{
    (void)state;
    accepts("name = \"a.B-c_9\";");
    refuses("name = \"\";", "must be 1 to 64 letters");
    refuses("name = \"a/b\";", "must be 1 to 64 letters");
    refuses("name = \"a b\";", "must be 1 to 64 letters");
    char text[128];
    snprintf(text, sizeof(text), "name = \"%064d\";", 7);
    accepts(text);
    snprintf(text, sizeof(text), "name = \"%065d\";", 7);
    refuses(text, "must be 1 to 64 letters");
}

static void test_listen_takes_hosts_v6_and_the_wildcard(void **state)
{
    (void)state;
    accepts(NAMED "client: { listen = \"*:1\"; };");
    accepts(NAMED "client: { listen = \"[::]:65535\"; };");
    accepts(NAMED "client: { listen = \"192.0.2.1:2379\"; };");
    accepts(NAMED "client: { listen = \"my-host_1.example:2379\"; };");
    refuses(NAMED "client: { listen = \"\"; };", "needs a port");
    refuses(NAMED "client: { listen = \"2379\"; };", "needs a port");
    refuses(NAMED "client: { listen = \":2379\"; };", "needs a host");
    refuses(NAMED "client: { listen = \"a:0\"; };", "1 to 65535");
    refuses(NAMED "client: { listen = \"a:65536\"; };", "1 to 65535");
    refuses(NAMED "client: { listen = \"a:+1\"; };", "1 to 65535");
    refuses(NAMED "client: { listen = \"::1:2379\"; };", "in brackets");
    refuses(NAMED "client: { listen = \"[::1:2379\"; };", "needs a port");
    refuses(NAMED "client: { listen = \"[1.2.3.4]:2379\"; };", "no valid IPv6");
    refuses(NAMED "client: { listen = \"300.1.1.1:2379\"; };", "neither a host name nor an IPv4");
    refuses(NAMED "client: { listen = \"a..b:2379\"; };", "neither a host name");
    refuses(NAMED "client: { listen = \"-a:2379\"; };", "neither a host name");
}

static void test_advertised_addresses_name_one_host(void **state)
{
    (void)state;
    accepts(NAMED "peer: { advertise = \"[2001:db8::1]:2380\"; };");
    refuses(NAMED "peer: { advertise = \"*:2380\"; };", "* is for listening only");
    accepts(NAMED "client: { advertise = \"https://a:1\"; };");
    refuses(NAMED "client: { advertise = \"a:1\"; };", "must begin with https://");
    refuses(NAMED "client: { advertise = \"http://a:1\"; };",
            "must begin with https://, as client.tls is true");
    refuses(NAMED "client: { advertise = \"https://a:1/path\"; };", "1 to 65535");
}

static void test_log_levels_are_known_ones(void **state)
{
    (void)state;
    accepts(NAMED "log_level = \"notice\";");
    refuses(NAMED "log_level = \"warn\";", "use error, warning, notice, info or debug");
    refuses(NAMED "log_level = \"debgu\";", "did you mean debug?");
}

static void test_paths_are_absolute(void **state)
{
    (void)state;
    refuses(NAMED "data_directory = \"data\";", "must be an absolute path");
    refuses(NAMED "data_directory = \"\";", "must be an absolute path");
    refuses(NAMED "peer: { certificate = \"c\"; };", "must be an absolute path");
    char text[256];
    snprintf(text, sizeof(text), NAMED "admin: { socket = \"/%0106d\"; };", 1);
    accepts(text);
    snprintf(text, sizeof(text), NAMED "admin: { socket = \"/%0107d\"; };", 1);
    refuses(text, "too long for the path of a Unix socket");
}

static void test_a_heartbeat_is_a_third_of_the_election_timeout_at_most(void **state)
{
    (void)state;
    accepts(NAMED "raft: { heartbeat_ms = 333; };");
    refuses(NAMED "raft: { heartbeat_ms = 334; };", "t.conf:2: raft.heartbeat_ms is 334,");
    refuses(NAMED "raft: {\n election_timeout_ms = 200; };", "t.conf:3: raft.heartbeat_ms is 100,");
}

static void test_plain_clients_are_for_loopback_only(void **state)
{
    (void)state;
    accepts(NAMED "client: { tls = false; listen = \"127.0.0.1:1\"; };");
    accepts(NAMED "client: { tls = false; listen = \"127.255.3.4:1\"; };");
    accepts(NAMED "client: { tls = false; listen = \"[::1]:1\"; };");
    accepts(NAMED "client: { tls = false; listen = \"[0:0:0:0:0:0:0:1]:1\"; };");
    accepts(NAMED "client: { tls = false; listen = \"localhost:1\"; };");
    refuses(NAMED "client: { tls = false; };", "loopback address only");
    refuses(NAMED "client: { tls = false; listen = \"[::]:1\"; };", "loopback address only");
    refuses(NAMED "client: { tls = false; listen = \"192.0.2.1:1\"; };", "loopback address only");
    refuses(NAMED "client: { tls = false; listen = \"localhost.example:1\"; };", "loopback address only");
    refuses(NAMED "client: { tls = false; listen = \"127.0.0.1.example:1\"; };", "loopback address only");
    refuses(NAMED "client: { tls = false; listen = \"127.0.0.1:1\"; " CLIENT_TLS "};", "do not fit together");
}

static void test_certificates_and_keys_come_in_pairs(void **state)
{
    (void)state;
    accepts(NAMED "client: { " CLIENT_TLS "};");
    refuses(NAMED "client: { certificate = \"/c\"; };", "client.certificate is given without client.key");
    refuses(NAMED "client: { key = \"/k\"; };", "client.key is given without client.certificate");
    refuses(NAMED "client: { ca = \"/k\"; };", "client.ca is given without client.certificate");
    refuses(NAMED "peer: { certificate = \"/c\"; ca = \"/ca\"; };",
            "peer.certificate is given without peer.key");
    refuses(NAMED "peer: { key = \"/k\"; ca = \"/ca\"; };", "peer.key is given without peer.certificate");
}

static void test_a_peer_certificate_needs_its_authority(void **state)
{
    (void)state;
    accepts(NAMED "peer: { " PEER_TLS "};");
    refuses(NAMED "peer: { certificate = \"/c\"; key = \"/k\"; };", "peer.certificate needs peer.ca");
}

static void test_requiring_certificates_needs_their_authority(void **state)
{
    (void)state;
    accepts(NAMED "client: { require_certificate = true; ca = \"/ca\"; " CLIENT_TLS "};");
    refuses(NAMED "client: { require_certificate = true; " CLIENT_TLS "};", "needs client.ca");
}

static void test_initial_members_have_names_and_addresses_of_their_own(void **state)
{
    (void)state;
    accepts(NAMED "initial_members = [ \"n1=a:1\", \"n2=b:1\" ]; peer: { " PEER_TLS "};");
    refuses(NAMED "initial_members = [ \"a:1\" ];", "not of the form name=host:port");
    refuses(NAMED "initial_members = [ \"n1=a\" ];", "needs a port");
    refuses(NAMED "initial_members = [ \"n1=*:1\" ];", "for listening only");
    refuses(NAMED "initial_members = [ \"=a:1\" ];", "no valid name");
    refuses(NAMED "initial_members = [ \"n1=a:1\", \"n1=b:1\" ]; peer: { " PEER_TLS "};",
            "the name \"n1\" twice");
    refuses(NAMED "initial_members = [ \"n1=a:1\", \"n2=A:1\" ]; peer: { " PEER_TLS "};",
            "the address \"A:1\" twice");
}

static void test_initial_members_have_this_host(void **state)
{
    (void)state;
    refuses("name = \"n9\"; initial_members = [ \"n1=a:1\", \"n2=b:1\" ]; peer: { " PEER_TLS "};",
            "does not have this host, whose name is \"n9\"");
    refuses("name = \"n\"; initial_members = [ \"n1=a:1\" ];", "does not have this host");
}

/* They would wait for each other for ever. */
static void test_several_initial_members_need_the_peer_port(void **state)
{
    (void)state;
    refuses(NAMED "initial_members = [ \"n1=a:1\", \"n2=b:1\" ];", "the peer port stays closed");
}

static void test_the_two_ports_differ(void **state)
{
    (void)state;
    refuses(NAMED "peer: { listen = \"*:2379\"; };", "are both \"*:2379\"");
}

static void test_advertise_defaults_to_the_address_listened_on_or_name_for_every_address(void **state)
{
    (void)state;
    struct conf conf;
    accept(NAMED "peer: { listen = \"10.0.0.1:77\"; }; client: { listen = \"*:88\"; " CLIENT_TLS "};", &conf);
    assert_string_equal(conf.peer.advertise, "10.0.0.1:77");
    assert_string_equal(conf.client.advertise, "https://n1:88");
    conf_deinit(&conf);
    accept(NAMED "initial_members = [ \"n1=[fd00::1]:5\" ]; client: { listen = \"[::1]:6\"; tls = false; };",
           &conf);
    assert_string_equal(conf.peer.advertise, "[fd00::1]:5");
    assert_string_equal(conf.client.advertise, "http://[::1]:6");
    conf_deinit(&conf);
    accept(NAMED, &conf);
    assert_string_equal(conf.client.advertise, "");
    conf_deinit(&conf);
}

static void test_a_name_that_is_no_host_needs_advertised_addresses(void **state)
{
    (void)state;
    accepts("name = \"n.\";");
    refuses("name = \"n.\"; peer: { " PEER_TLS "};", "peer.advertise is needed");
    refuses("name = \"n.\"; client: { " CLIENT_TLS "};", "client.advertise is needed");
    accepts("name = \"n.\"; client: { advertise = \"https://h:1\"; " CLIENT_TLS "};");
}

static void test_hosts_follow_dns_and_names_their_own_rule(void **state)
{
    (void)state;
    assert_true(conf_host_is_valid("a"));
    assert_true(conf_host_is_valid("1a.b-c.x_y"));
    assert_false(conf_host_is_valid(""));
    assert_false(conf_host_is_valid("a."));
    assert_false(conf_host_is_valid("10.0.0.1"));
    assert_false(conf_host_is_valid("*.a"));
    assert_false(conf_host_is_valid("a-.b"));
    char label[80];
    snprintf(label, sizeof(label), "a%062d", 1);
    assert_true(conf_host_is_valid(label));
    snprintf(label, sizeof(label), "a%063d", 1);
    assert_false(conf_host_is_valid(label));
    assert_false(conf_name_is_valid("a:b"));
    assert_false(conf_name_is_valid("a\xc3\xa4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_is_1_to_64_of_its_characters),
        cmocka_unit_test(test_listen_takes_hosts_v6_and_the_wildcard),
        cmocka_unit_test(test_advertised_addresses_name_one_host),
        cmocka_unit_test(test_log_levels_are_known_ones),
        cmocka_unit_test(test_paths_are_absolute),
        cmocka_unit_test(test_a_heartbeat_is_a_third_of_the_election_timeout_at_most),
        cmocka_unit_test(test_plain_clients_are_for_loopback_only),
        cmocka_unit_test(test_certificates_and_keys_come_in_pairs),
        cmocka_unit_test(test_a_peer_certificate_needs_its_authority),
        cmocka_unit_test(test_requiring_certificates_needs_their_authority),
        cmocka_unit_test(test_initial_members_have_names_and_addresses_of_their_own),
        cmocka_unit_test(test_initial_members_have_this_host),
        cmocka_unit_test(test_several_initial_members_need_the_peer_port),
        cmocka_unit_test(test_the_two_ports_differ),
        cmocka_unit_test(test_advertise_defaults_to_the_address_listened_on_or_name_for_every_address),
        cmocka_unit_test(test_a_name_that_is_no_host_needs_advertised_addresses),
        cmocka_unit_test(test_hosts_follow_dns_and_names_their_own_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
