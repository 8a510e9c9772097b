/* tests/unit/test_net_tls_files.c - which certificate, key and CA files are taken, and what the refusal says.
 */
#include "config.h"

#include "tests/unit/net_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static struct net_certs certs;

static int setup(void **state)
{
    (void)state;
    net_certs_init(&certs);
    net_certs_ca(&certs, "ca");
    net_certs_ca(&certs, "other-ca");
    net_certs_leaf(&certs, "ca", "node",
                   &(struct net_certs_leaf){.san = "DNS:node1,DNS:*.cluster.test,IP:192.0.2.1"});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    net_certs_deinit(&certs);
    return 0;
}

static struct net_tls_config config(enum net_tls_role role, const char *cert, const char *key, const char *ca)
{
    return (struct net_tls_config){.role = role,
                                   .cert_file = cert ? net_certs_path(&certs, cert) : NULL,
                                   .key_file = key ? net_certs_path(&certs, key) : NULL,
                                   .ca_file = ca ? net_certs_path(&certs, ca) : NULL};
}

static void expect_refusal(struct net_tls_config c, const char *file, const char *text)
{
    struct net_tls *tls = NULL;
    char *error = NULL;
    assert_int_equal(net_tls_new(&c, &tls, &error), -EINVAL);
    assert_null(tls);
    if (!strstr(error, text) || (file && !strstr(error, net_certs_path(&certs, file))))
        fail_msg("got: %s", error);
    free(error);
}

static struct net_tls *expect_taken(struct net_tls_config c)
{
    struct net_tls *tls = NULL;
    char *error = NULL;
    if (net_tls_new(&c, &tls, &error) < 0)
        fail_msg("%s", error);
    return tls;
}

static void good_files_are_taken_in_each_role(void **state)
{
    (void)state;
    for (enum net_tls_role role = NET_TLS_CLIENT_PORT; role <= NET_TLS_PEER_CLIENT; role++) {
        struct net_tls *tls = expect_taken(config(role, "node.pem", "node.key", "ca.pem"));
        uint64_t in_s = net_tls_expiry_s(tls) - (uint64_t)time(NULL);
        assert_true(in_s > 3500 && in_s <= 3600);
        net_tls_unref(net_tls_ref(tls));
        assert_null(net_tls_unref(tls));
    }
    assert_null(net_tls_unref(NULL));
}

static void missing_and_broken_files_are_named(void **state)
{
    (void)state;
    net_certs_write(&certs, "junk", "not PEM at all\n");
    expect_refusal(config(NET_TLS_CLIENT_PORT, "none", "node.key", NULL), "none", "No such file");
    expect_refusal(config(NET_TLS_CLIENT_PORT, "node.pem", "none", NULL), "none", "No such file");
    expect_refusal(config(NET_TLS_CLIENT_PORT, "junk", "node.key", NULL), "junk",
                   "cannot load the certificate");
    expect_refusal(config(NET_TLS_CLIENT_PORT, "node.pem", "junk", NULL), "junk", "no usable private key");
    expect_refusal(config(NET_TLS_CLIENT_PORT, "node.pem", "node.key", "junk"), "junk", "CA certificates");
    expect_refusal(config(NET_TLS_CLIENT_PORT, "node.pem", "node.key", "none"), "none", "CA certificates");
}

static void what_a_role_needs_must_be_given(void **state)
{
    (void)state;
    expect_refusal(config(NET_TLS_CLIENT_PORT, "node.pem", NULL, NULL), NULL, "key file");
    expect_refusal(config(NET_TLS_PEER_SERVER, "node.pem", "node.key", NULL), NULL, "CA file");
    struct net_tls_config c = config(NET_TLS_CLIENT_PORT, "node.pem", "node.key", NULL);
    c.require_client_cert = true;
    expect_refusal(c, NULL, "without a CA file");
}

static void a_key_of_another_certificate_is_refused(void **state)
{
    (void)state;
    net_certs_leaf(&certs, "ca", "second", &(struct net_certs_leaf){0});
    expect_refusal(config(NET_TLS_CLIENT_PORT, "node.pem", "second.key", NULL), "second.key", "does not fit");
}

static void a_key_that_others_can_read_is_refused(void **state)
{
    (void)state;
    const char *key = net_certs_path(&certs, "node.key");
    assert_int_equal(chmod(key, 0604), 0);
    expect_refusal(config(NET_TLS_CLIENT_PORT, "node.pem", "node.key", NULL), "node.key", "mode 0604");
    assert_int_equal(chmod(key, 0660), 0);
    expect_refusal(config(NET_TLS_CLIENT_PORT, "node.pem", "node.key", NULL), "node.key", "mode 0660");
    assert_int_equal(chmod(key, 0640), 0);
    net_tls_unref(expect_taken(config(NET_TLS_CLIENT_PORT, "node.pem", "node.key", NULL)));
    expect_refusal(config(NET_TLS_CLIENT_PORT, "node.pem", "../", NULL), NULL, "not a regular file");
}

/* It must neither be asked for on a terminal nor hang. */
static void a_key_with_a_password_is_refused(void **state)
{
    (void)state;
    char command[600];
    snprintf(
        command, sizeof(command),
        "openssl ec -in %s/node.key -out %s/locked.key -aes128 -passout pass:secret 2>/dev/null && chmod 600 "
        "%s/locked.key",
        certs.dir, certs.dir, certs.dir);
    if (system(command) != 0)
        skip();
    expect_refusal(config(NET_TLS_CLIENT_PORT, "node.pem", "locked.key", NULL), "locked.key",
                   "without a password");
}

static void dates_are_checked(void **state)
{
    (void)state;
    net_certs_leaf(&certs, "ca", "old", &(struct net_certs_leaf){.from_s = -7200, .until_s = -60});
    net_certs_leaf(&certs, "ca", "young", &(struct net_certs_leaf){.from_s = 600, .until_s = 7200});
    expect_refusal(config(NET_TLS_CLIENT_PORT, "old.pem", "old.key", NULL), "old.pem", "has expired");
    expect_refusal(config(NET_TLS_CLIENT_PORT, "young.pem", "young.key", NULL), "young.pem", "not valid yet");
}

static void a_certificate_that_other_members_would_refuse_is_refused_here(void **state)
{
    (void)state;
    net_certs_leaf(&certs, "ca", "serving", &(struct net_certs_leaf){.eku = "serverAuth"});
    expect_refusal(config(NET_TLS_PEER_SERVER, "node.pem", "node.key", "other-ca.pem"), "other-ca.pem",
                   "unable to get local issuer certificate");
    expect_refusal(config(NET_TLS_PEER_CLIENT, "serving.pem", "serving.key", "ca.pem"), "serving.pem",
                   "purpose");
    net_tls_unref(expect_taken(config(NET_TLS_PEER_SERVER, "serving.pem", "serving.key", "ca.pem")));
    /* The client port's own certificate and the CA of its clients need not be related. */
    net_tls_unref(expect_taken(config(NET_TLS_CLIENT_PORT, "node.pem", "node.key", "other-ca.pem")));
}

static void the_certificate_must_carry_the_own_host(void **state)
{
    (void)state;
    struct net_tls_config c = config(NET_TLS_PEER_SERVER, "node.pem", "node.key", "ca.pem");
    const char *good[] = {"node1", "a.cluster.test", "192.0.2.1"},
               *bad[] = {"node2", "192.0.2.2", "::1", "a.b.cluster.test"};
    for (size_t i = 0; i < RK_ARRAY_LEN(good); i++) {
        c.own_host = good[i];
        net_tls_unref(expect_taken(c));
    }
    for (size_t i = 0; i < RK_ARRAY_LEN(bad); i++) {
        c.own_host = bad[i];
        expect_refusal(c, "node.pem", bad[i]);
    }
}

static void a_refused_reload_keeps_everything(void **state)
{
    (void)state;
    char *error = NULL;
    struct net_tls_config c = config(NET_TLS_PEER_SERVER, "node.pem", "node.key", "ca.pem");
    c.own_host = "node1";
    struct net_tls *tls = expect_taken(c);
    uint64_t expiry_s = net_tls_expiry_s(tls);
    net_certs_leaf(&certs, "ca", "node", &(struct net_certs_leaf){.san = "DNS:node2", .until_s = 7200});
    assert_int_equal(net_tls_reload(tls, &error), -EINVAL);
    assert_non_null(strstr(error, "node1"));
    free(error);
    assert_int_equal(net_tls_expiry_s(tls), expiry_s);
    net_certs_leaf(&certs, "ca", "node",
                   &(struct net_certs_leaf){.san = "DNS:node1", .from_s = -1, .until_s = 7200});
    assert_int_equal(net_tls_reload(tls, &error), 0);
    assert_true(net_tls_expiry_s(tls) > expiry_s);
    net_tls_unref(tls);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(good_files_are_taken_in_each_role),
        TEST(missing_and_broken_files_are_named),
        TEST(what_a_role_needs_must_be_given),
        TEST(a_key_of_another_certificate_is_refused),
        TEST(a_key_that_others_can_read_is_refused),
        TEST(a_key_with_a_password_is_refused),
        TEST(dates_are_checked),
        TEST(a_certificate_that_other_members_would_refuse_is_refused_here),
        TEST(the_certificate_must_carry_the_own_host),
        TEST(a_refused_reload_keeps_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
