/* raftkvctl pki: the authority, certificates, and the command's words. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "ctl/ctl.h"
#include "ctl/pki.h"
#include "lib/base/rk_file.h"

#define DAY_S 86400

/* What main.c and fail.c give to the commands. */
static char last_error[1024];

bool ctl_help(const char *name)
{
    (void)name;
    return true;
}

void ctl_usage_lines(const char *name)
{
    (void)name;
}

int ctl_error(int exit_code, const char *advice, const char *fmt, ...)
{
    (void)advice;
    va_list args;
    va_start(args, fmt);
    vsnprintf(last_error, sizeof(last_error), fmt, args);
    va_end(args);
    return exit_code;
}

/* ---- a directory of our own --------------------------------------------------- */

static char top[64];

static void remove_tree(const char *dir)
{
    DIR *d = opendir(dir);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s/%s", dir, e->d_name);
        if (unlink(path) < 0)
            remove_tree(path);
    }
    closedir(d);
    rmdir(dir);
}

static int setup(void **state)
{
    (void)state;
    strcpy(top, "/tmp/test_pki.XXXXXX");
    ctl_settings = (struct ctl_settings){0};
    return mkdtemp(top) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    remove_tree(top);
    return 0;
}

/* Paths below the directory; 64 live at a time. */
static const char *in(const char *name)
{
    static char paths[64][160];
    static unsigned next;
    char *path = paths[next++ % 64];
    snprintf(path, sizeof(paths[0]), "%s/%s", top, name);
    return path;
}

static mode_t mode_of(const char *name)
{
    struct stat st;
    assert_int_equal(lstat(in(name), &st), 0);
    return st.st_mode & 07777;
}

static bool is_there(const char *name)
{
    struct stat st;
    return lstat(in(name), &st) == 0;
}

static unsigned entries(const char *name)
{
    unsigned count = 0;
    DIR *d = opendir(in(name));
    assert_non_null(d);
    while (readdir(d))
        count++;
    closedir(d);
    return count - 2;
}

static X509 *load(const char *name)
{
    FILE *file = fopen(in(name), "re");
    assert_non_null(file);
    X509 *cert = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(cert);
    return cert;
}

static EVP_PKEY *load_key(const char *name)
{
    FILE *file = fopen(in(name), "re");
    assert_non_null(file);
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(key);
    return key;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    assert_int_equal(rk_file_create(in(name), rk_slice_str(text), mode), 0);
}

/* ---- requests ----------------------------------------------------------------- */

static void init_ca_for(const char *name, uint32_t days)
{
    char *error = NULL;
    struct pki_ca_request request = {.dir = in(name), .name = "test CA", .days = days};
    if (pki_init(&request, &error) != 0)
        fail_msg("%s", error);
}

static void init_ca(const char *name)
{
    init_ca_for(name, PKI_CA_DAYS_DEFAULT);
}

static struct pki_request plain_request(void)
{
    return (struct pki_request){
        .ca_dir = in("ca"), .out = in("out"), .name = "node1", .days = PKI_ISSUE_DAYS_DEFAULT};
}

static void issue(const struct pki_request *request)
{
    char *error = NULL;
    if (pki_issue(request, &error) != 0)
        fail_msg("%s", error);
}

static void issue_fails(const struct pki_request *request, int r, const char *words)
{
    char *error = NULL;
    assert_int_equal(pki_issue(request, &error), r);
    if (!strstr(error, words))
        fail_msg("wanted \"%s\", got: %s", words, error);
    free(error);
}

/* What pki show says about one file. */
static json_t *show(const char *name)
{
    char *error = NULL;
    json_t *list = json_array();
    assert_int_equal(pki_show(in(name), time(NULL), list, &error), 0);
    assert_int_equal(json_array_size(list), 1);
    json_t *cert = json_incref(json_array_get(list, 0));
    json_decref(list);
    return cert;
}

static void assert_list(const json_t *cert, const char *field, const char *wanted)
{
    const json_t *list = json_object_get(cert, field);
    char text[512] = "";
    for (size_t i = 0; i < json_array_size(list); i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ",
                 json_string_value(json_array_get(list, i)));
    assert_string_equal(text, wanted);
}

/* As a server or a client of the cluster would ask. */
static int verify(const char *ca_name, const char *cert_name, int purpose)
{
    X509 *ca = load(ca_name), *cert = load(cert_name);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    X509_STORE_add_cert(store, ca);
    X509_STORE_CTX_init(context, store, cert, NULL);
    X509_STORE_CTX_set_purpose(context, purpose);
    X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(context), X509_V_FLAG_X509_STRICT);
    X509_verify_cert(context);
    int error = X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    X509_free(ca);
    X509_free(cert);
    return error;
}

/* ---- init ---------------------------------------------------------------------- */

static void test_an_authority_is_a_closed_directory_with_a_secret_key(void **state)
{
    (void)state;
    init_ca("ca");
    assert_int_equal(mode_of("ca"), 0700);
    assert_int_equal(mode_of("ca/ca.key"), 0600);
    assert_int_equal(mode_of("ca/ca.crt"), 0644);
    assert_int_equal(entries("ca"), 2);
}

static void test_modes_do_not_depend_on_the_umask(void **state)
{
    (void)state;
    mode_t old = umask(0);
    init_ca("open");
    umask(0777);
    init_ca("shut");
    umask(old);
    assert_int_equal(mode_of("open/ca.key"), 0600);
    assert_int_equal(mode_of("shut/ca.key"), 0600);
    assert_int_equal(mode_of("shut/ca.crt"), 0644);
}

static void test_an_authority_signs_itself_and_may_sign_leaves_only(void **state)
{
    (void)state;
    init_ca("ca");
    X509 *cert = load("ca/ca.crt");
    EVP_PKEY *key = load_key("ca/ca.key");
    assert_int_equal(X509_verify(cert, key), 1);
    assert_int_equal(X509_check_ca(cert), 1);
    assert_int_equal(X509_get_pathlen(cert), 0);
    assert_int_equal(X509_get_key_usage(cert), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    assert_string_equal(EVP_PKEY_get0_type_name(key), "EC");
    assert_int_equal(EVP_PKEY_get_bits(key), 256);
    EVP_PKEY_free(key);
    X509_free(cert);
}

static void test_an_authority_is_never_overwritten(void **state)
{
    (void)state;
    init_ca("ca");
    X509 *before = load("ca/ca.crt");
    char *error = NULL;
    struct pki_ca_request request = {.dir = in("ca"), .name = "other", .days = 10};
    assert_int_equal(pki_init(&request, &error), -EEXIST);
    assert_non_null(strstr(error, "ca.key exists already"));
    free(error);
    X509 *after = load("ca/ca.crt");
    assert_int_equal(X509_cmp(before, after), 0);
    X509_free(before);
    X509_free(after);
}

static void test_a_lone_certificate_stops_init_before_a_key_is_written(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in("ca"), 0700), 0);
    write_file("ca/ca.crt", "mine", 0644);
    char *error = NULL;
    struct pki_ca_request request = {.dir = in("ca"), .name = "x", .days = 10};
    assert_int_equal(pki_init(&request, &error), -EEXIST);
    free(error);
    assert_int_equal(entries("ca"), 1);
}

/* A symbolic link that leads nowhere is a name that is taken, too. */
static void test_init_does_not_write_through_links(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in("ca"), 0700), 0);
    assert_int_equal(symlink(in("elsewhere"), in("ca/ca.key")), 0);
    char *error = NULL;
    struct pki_ca_request request = {.dir = in("ca"), .name = "x", .days = 10};
    assert_int_equal(pki_init(&request, &error), -EEXIST);
    free(error);
    assert_false(is_there("elsewhere"));
}

static void init_fails(const char *dir, const char *name, uint32_t days, int r, const char *words)
{
    char *error = NULL;
    struct pki_ca_request request = {.dir = dir, .name = name, .days = days};
    assert_int_equal(pki_init(&request, &error), r);
    if (!strstr(error, words))
        fail_msg("wanted \"%s\", got: %s", words, error);
    free(error);
}

static void test_bad_input_to_init_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    init_fails(in("ca"), "", 10, -EINVAL, "1 to 64 bytes");
    init_fails(in("ca"), "12345678901234567890123456789012345678901234567890123456789012345", 10, -EINVAL,
               "1 to 64");
    init_fails(in("ca"), "a\nb", 10, -EINVAL, "control character");
    init_fails(in("ca"), "a\xff", 10, -EIO, "UTF-8");
    init_fails(in("ca"), "a", 0, -EINVAL, "from 1 to 36500");
    init_fails(in("ca"), "a", 36501, -EINVAL, "from 1 to 36500");
    init_fails(in("no/such/dir"), "a", 10, -ENOENT, "cannot make the directory");
    assert_int_equal(entries("."), 0);
}

/* ---- issue --------------------------------------------------------------------- */

static void test_a_members_files_have_their_modes_and_formats(void **state)
{
    (void)state;
    init_ca("ca");
    struct pki_request request = plain_request();
    issue(&request);
    assert_int_equal(mode_of("out"), 0700);
    assert_int_equal(mode_of("out/node1.key"), 0600);
    assert_int_equal(mode_of("out/node1.crt"), 0644);
    assert_int_equal(entries("out"), 3);
    struct rk_buf text = {0};
    assert_int_equal(rk_file_read(in("out/node1.key"), 4096, &text), 0);
    assert_memory_equal(rk_buf_slice(&text).data, "-----BEGIN PRIVATE KEY-----\n", 28);
    rk_buf_deinit(&text);
    X509 *cert = load("out/node1.crt");
    EVP_PKEY *key = load_key("out/node1.key");
    assert_int_equal(X509_check_private_key(cert, key), 1);
    assert_int_equal(EVP_PKEY_get_bits(key), 256);
    assert_int_equal(X509_get_signature_nid(cert), NID_ecdsa_with_SHA256);
    EVP_PKEY_free(key);
    X509_free(cert);
}

static void test_a_member_is_good_as_server_and_client(void **state)
{
    (void)state;
    init_ca("ca");
    struct pki_request request = plain_request();
    issue(&request);
    assert_int_equal(verify("out/ca.crt", "out/node1.crt", X509_PURPOSE_SSL_SERVER), X509_V_OK);
    assert_int_equal(verify("out/ca.crt", "out/node1.crt", X509_PURPOSE_SSL_CLIENT), X509_V_OK);
    X509 *ca = load("ca/ca.crt"), *cert = load("out/node1.crt");
    assert_int_equal(X509_verify(cert, X509_get0_pubkey(ca)), 1);
    assert_int_equal(X509_check_issued(ca, cert), X509_V_OK);
    X509_free(ca);
    X509_free(cert);
}

static void test_another_authority_is_not_believed(void **state)
{
    (void)state;
    init_ca("ca");
    init_ca("other");
    struct pki_request request = plain_request();
    issue(&request);
    assert_int_not_equal(verify("other/ca.crt", "out/node1.crt", X509_PURPOSE_SSL_SERVER), X509_V_OK);
}

static void test_a_member_carries_its_identity_hosts_and_addresses(void **state)
{
    (void)state;
    init_ca("ca");
    struct pki_request request = plain_request();
    request.hosts[request.host_count++] = "node1.example";
    request.hosts[request.host_count++] = "*.kv.example";
    request.hosts[request.host_count++] = "NODE1"; /* the name again */
    request.ips[request.ip_count++] = "192.0.2.7";
    request.ips[request.ip_count++] = "2001:db8::7";
    issue(&request);
    json_t *cert = show("out/node1.crt");
    assert_list(
        cert, "names",
        "URI:raftkv:member:node1 DNS:node1 DNS:node1.example DNS:*.kv.example IP:192.0.2.7 IP:2001:db8::7 ");
    assert_list(cert, "usage", "digitalSignature serverAuth clientAuth ");
    assert_string_equal(json_string_value(json_object_get(cert, "subject")), "CN=node1");
    assert_string_equal(json_string_value(json_object_get(cert, "issuer")), "CN=test CA");
    json_decref(cert);
    X509 *x = load("out/node1.crt");
    assert_int_equal(X509_check_host(x, "node1.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(x, "node2.example", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(x, "2001:db8::7", 0), 1);
    assert_true(X509_get_extension_flags(x) & EXFLAG_BCONS);
    assert_non_null(X509_get0_subject_key_id(x));
    assert_non_null(X509_get0_authority_key_id(x));
    X509_free(x);
}

static void test_a_name_that_is_no_host_is_identity_only(void **state)
{
    (void)state;
    init_ca("ca");
    struct pki_request request = plain_request();
    request.name = "10.0.0.1";
    issue(&request);
    json_t *cert = show("out/10.0.0.1.crt");
    assert_list(cert, "names", "URI:raftkv:member:10.0.0.1 ");
    json_decref(cert);
}

/* The peer port asks for a member's identity and server use. */
static void test_a_clients_certificate_is_no_members(void **state)
{
    (void)state;
    init_ca("ca");
    struct pki_request request = plain_request();
    request.client = true;
    issue(&request);
    json_t *cert = show("out/node1.crt");
    assert_list(cert, "names", "URI:raftkv:client:node1 ");
    assert_list(cert, "usage", "digitalSignature clientAuth ");
    json_decref(cert);
    assert_int_equal(verify("out/ca.crt", "out/node1.crt", X509_PURPOSE_SSL_CLIENT), X509_V_OK);
    assert_int_equal(verify("out/ca.crt", "out/node1.crt", X509_PURPOSE_SSL_SERVER),
                     X509_V_ERR_INVALID_PURPOSE);
}

static void test_validity_begins_early_and_ends_with_the_days(void **state)
{
    (void)state;
    init_ca("ca");
    struct pki_request request = plain_request();
    request.days = 30;
    time_t before = time(NULL);
    issue(&request);
    X509 *cert = load("out/node1.crt");
    struct tm tm;
    assert_int_equal(ASN1_TIME_to_tm(X509_get0_notBefore(cert), &tm), 1);
    assert_in_range(timegm(&tm), before - 300, time(NULL) - 300);
    assert_int_equal(ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm), 1);
    assert_in_range(timegm(&tm), before + 30 * DAY_S, time(NULL) + 30 * DAY_S);
    X509_free(cert);
}

static void test_serials_are_random_and_positive(void **state)
{
    (void)state;
    init_ca("ca");
    struct pki_request request = plain_request();
    issue(&request);
    request.name = "node2";
    issue(&request);
    X509 *a = load("out/node1.crt"), *b = load("out/node2.crt");
    assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(a), X509_get0_serialNumber(b)), 0);
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(a), NULL);
    assert_false(BN_is_negative(number));
    assert_in_range(BN_num_bits(number), 100, 159);
    BN_free(number);
    X509_free(a);
    X509_free(b);
}

static void test_a_certificate_does_not_outlive_its_authority(void **state)
{
    (void)state;
    init_ca_for("ca", 20);
    struct pki_request request = plain_request();
    request.days = 21;
    issue_fails(&request, -EINVAL, "ask for --days ");
    assert_false(is_there("out"));
    request.days = 19;
    issue(&request);
}

static void test_dates_beyond_2050_are_written_right(void **state)
{
    (void)state;
    init_ca_for("ca", PKI_DAYS_MAX);
    json_t *cert = show("ca/ca.crt");
    assert_in_range(json_integer_value(json_object_get(cert, "days_left")), PKI_DAYS_MAX - 1, PKI_DAYS_MAX);
    json_decref(cert);
}

static void test_issue_overwrites_nothing(void **state)
{
    (void)state;
    init_ca("ca");
    struct pki_request request = plain_request();
    issue(&request);
    issue_fails(&request, -EEXIST, "node1.key exists already");
    assert_int_equal(unlink(in("out/node1.key")), 0);
    issue_fails(&request, -EEXIST, "node1.crt exists already");
    assert_false(is_there("out/node1.key"));
}

static void test_the_authoritys_certificate_may_be_there_already(void **state)
{
    (void)state;
    init_ca("ca");
    struct pki_request request = plain_request();
    issue(&request);
    request.name = "node2";
    issue(&request);
    assert_int_equal(entries("out"), 5);
}

static void test_another_authoritys_certificate_in_the_way_stops_issue(void **state)
{
    (void)state;
    init_ca("ca");
    init_ca("out");
    struct pki_request request = plain_request();
    issue_fails(&request, -EEXIST, "ca.crt is of another authority");
    assert_int_equal(entries("out"), 2);
}

/* Whatever else somebody has put into ca.crt stays where it is. */
static void test_only_the_certificate_is_copied_from_ca_crt(void **state)
{
    (void)state;
    init_ca("ca");
    struct rk_buf key = {0}, cert = {0};
    assert_int_equal(rk_file_read(in("ca/ca.key"), 4096, &key), 0);
    assert_int_equal(rk_file_read(in("ca/ca.crt"), 4096, &cert), 0);
    rk_buf_append_slice(&key, rk_buf_slice(&cert));
    assert_int_equal(rk_file_replace(in("ca/ca.crt"), rk_buf_slice(&key), 0600), 0);
    struct pki_request request = plain_request();
    issue(&request);
    rk_buf_clear(&key);
    assert_int_equal(rk_file_read(in("out/ca.crt"), 8192, &key), 0);
    assert_true(rk_slice_eq(rk_buf_slice(&key), rk_buf_slice(&cert)));
    rk_buf_deinit(&key);
    rk_buf_deinit(&cert);
}

static void test_what_was_written_before_a_failure_is_taken_back(void **state)
{
    (void)state;
    init_ca("ca");
    struct pki_request request = plain_request();
    char name[RK_NAME_BYTES_MAX + 1];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    request.name = name;
    /* The directory cannot be made: its parent is a file. */
    write_file("file", "x", 0600);
    request.out = in("file/out");
    char *error = NULL;
    assert_true(pki_issue(&request, &error) < 0);
    free(error);
    assert_int_equal(entries("."), 2);
    /* A directory with the name of ca.crt: found before anything is written. */
    assert_int_equal(mkdir(in("out"), 0700), 0);
    assert_int_equal(mkdir(in("out/ca.crt"), 0700), 0);
    request.out = in("out");
    issue_fails(&request, -EISDIR, "cannot read");
    assert_int_equal(entries("out"), 1);
}

/* Past a file-size limit the key still fits and the certificate does not. */
static void test_a_full_disk_leaves_neither_key_nor_directory(void **state)
{
    (void)state;
    init_ca("ca");
    struct pki_request request = plain_request();
    for (size_t i = 0; i < PKI_NAMES_MAX; i++)
        request.hosts[request.host_count++] = "a-long-host-name-that-makes-the-certificate-large.example";
    struct rlimit old, small = {.rlim_cur = 1024, .rlim_max = RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    char *error = NULL;
    int r = pki_issue(&request, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(r, -EFBIG);
    assert_non_null(strstr(error, "cannot write"));
    free(error);
    assert_false(is_there("out"));
}

static void test_bad_input_to_issue_is_refused(void **state)
{
    (void)state;
    init_ca("ca");
    static const char *const names[] = {"", "a b", "../x", "a/b", "a\n", "ca", "n\xc3\xa4"};
    for (size_t i = 0; i < RK_ARRAY_LEN(names); i++) {
        struct pki_request request = plain_request();
        request.name = names[i];
        issue_fails(&request, -EINVAL, "name");
    }
    static const char *const hosts[] = {"", "a b", "a,DNS:evil", "a.", "*", "a.*.b", "-a", "a\n", "@section"};
    for (size_t i = 0; i < RK_ARRAY_LEN(hosts); i++) {
        struct pki_request request = plain_request();
        request.hosts[request.host_count++] = hosts[i];
        issue_fails(&request, -EINVAL, "is no host name");
    }
    static const char *const ips[] = {"", "1.2.3", "1.2.3.4/8", "::g", "node1", "1.2.3.4,DNS:evil"};
    for (size_t i = 0; i < RK_ARRAY_LEN(ips); i++) {
        struct pki_request request = plain_request();
        request.ips[request.ip_count++] = ips[i];
        issue_fails(&request, -EINVAL, "is no IPv4 or IPv6 address");
    }
    struct pki_request request = plain_request();
    request.hosts[request.host_count++] = "192.0.2.1";
    issue_fails(&request, -EINVAL, "give it with --ip");
    assert_false(is_there("out"));
}

static void test_a_broken_authority_is_told(void **state)
{
    (void)state;
    struct pki_request request = plain_request();
    issue_fails(&request, -ENOENT, "cannot read");
    init_ca("ca");
    assert_int_equal(chmod(in("ca/ca.key"), 0640), 0);
    issue_fails(&request, -EPERM, "may be read by others");
    assert_int_equal(unlink(in("ca/ca.key")), 0);
    write_file("ca/ca.key", "junk", 0600);
    issue_fails(&request, -EINVAL, "holds no private key");
    init_ca("other");
    assert_int_equal(rename(in("other/ca.key"), in("ca/ca.key")), 0);
    issue_fails(&request, -EINVAL, "is not the key of");
    assert_int_equal(unlink(in("ca/ca.crt")), 0);
    write_file("ca/ca.crt", "junk", 0644);
    issue_fails(&request, -EINVAL, "holds no certificate");
    assert_false(is_there("out"));
}

static void test_a_leaf_cannot_be_an_authority(void **state)
{
    (void)state;
    init_ca("ca");
    struct pki_request request = plain_request();
    issue(&request);
    assert_int_equal(mkdir(in("fake"), 0700), 0);
    assert_int_equal(rename(in("out/node1.key"), in("fake/ca.key")), 0);
    assert_int_equal(rename(in("out/node1.crt"), in("fake/ca.crt")), 0);
    request.ca_dir = in("fake");
    request.out = in("out2");
    issue_fails(&request, -EINVAL, "is not the certificate of an authority");
}

/* It would otherwise ask the terminal for a password. */
static void test_an_encrypted_key_is_refused(void **state)
{
    (void)state;
    init_ca("ca");
    EVP_PKEY *key = load_key("ca/ca.key");
    FILE *file = fopen(in("ca/ca.key"), "we");
    assert_int_equal(PEM_write_PKCS8PrivateKey(file, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL), 1);
    fclose(file);
    EVP_PKEY_free(key);
    struct pki_request request = plain_request();
    issue_fails(&request, -EINVAL, "without a password");
}

/* ---- show ---------------------------------------------------------------------- */

static void test_show_counts_days_down_and_past_the_end(void **state)
{
    (void)state;
    init_ca_for("ca", 10);
    static const struct {
        int64_t after_s;
        json_int_t days;
    } cases[] = {{0, 9}, {DAY_S, 8}, {10 * DAY_S + 60, -1}, {11 * DAY_S, -2}};
    for (size_t i = 0; i < RK_ARRAY_LEN(cases); i++) {
        char *error = NULL;
        json_t *list = json_array();
        assert_int_equal(pki_show(in("ca/ca.crt"), time(NULL) + cases[i].after_s + 5, list, &error), 0);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "days_left")),
                         cases[i].days);
        json_decref(list);
    }
}

static void test_show_gives_the_fingerprint_and_dates(void **state)
{
    (void)state;
    init_ca("ca");
    json_t *cert = show("ca/ca.crt");
    assert_int_equal(strlen(json_string_value(json_object_get(cert, "sha256"))), 32 * 3 - 1);
    assert_int_equal(strlen(json_string_value(json_object_get(cert, "valid_until"))),
                     strlen("2026-11-21T07:30:00Z"));
    assert_true(json_is_true(json_object_get(cert, "ca")));
    assert_list(cert, "usage", "keyCertSign cRLSign ");
    assert_list(cert, "names", "");
    json_decref(cert);
}

static void test_show_lists_bundles_and_skips_keys(void **state)
{
    (void)state;
    init_ca("ca");
    init_ca("other");
    struct rk_buf all = {0}, part = {0};
    static const char *const names[] = {"ca/ca.key", "ca/ca.crt", "other/ca.crt"};
    for (size_t i = 0; i < RK_ARRAY_LEN(names); i++) {
        rk_buf_clear(&part);
        assert_int_equal(rk_file_read(in(names[i]), 4096, &part), 0);
        rk_buf_append_slice(&all, rk_buf_slice(&part));
    }
    assert_int_equal(rk_file_create(in("bundle"), rk_buf_slice(&all), 0600), 0);
    rk_buf_deinit(&all);
    rk_buf_deinit(&part);
    char *error = NULL;
    json_t *list = json_array();
    assert_int_equal(pki_show(in("bundle"), time(NULL), list, &error), 0);
    assert_int_equal(json_array_size(list), 2);
    json_decref(list);
}

static void test_show_tells_files_without_certificates(void **state)
{
    (void)state;
    init_ca("ca");
    char *error = NULL;
    json_t *list = json_array();
    assert_int_equal(pki_show(in("ca/ca.key"), 0, list, &error), -EINVAL);
    assert_non_null(strstr(error, "holds no certificate"));
    free(error);
    assert_int_equal(pki_show(in("nothing"), 0, list, &error), -ENOENT);
    free(error);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

/* ---- the command --------------------------------------------------------------- */

/* Runs `pki ARGS...` with stdout and stderr in a file; the text goes to ret. */
static int run(struct rk_buf *ret, const char *const *words)
{
    char *argv[16] = {"pki"};
    int argc = 1;
    for (; *words; words++)
        argv[argc++] = (char *)(uintptr_t)*words;
    int saved[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
    char path[160];
    snprintf(path, sizeof(path), "%s/output", top);
    fflush(NULL);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    int r = cmd_pki(argc, argv);
    fflush(NULL);
    dup2(saved[0], STDOUT_FILENO);
    dup2(saved[1], STDERR_FILENO);
    close(saved[0]);
    close(saved[1]);
    close(fd);
    rk_buf_clear(ret);
    assert_int_equal(rk_file_read(path, 65536, ret), 0);
    rk_buf_append(ret, "", 1);
    unlink(path);
    return r;
}

#define RUN(ret, ...) run((ret), (const char *const[]){__VA_ARGS__, NULL})

static void test_the_command_makes_and_shows_certificates(void **state)
{
    (void)state;
    struct rk_buf out = {0};
    assert_int_equal(RUN(&out, "init", in("ca"), "--name", "my CA", "--days", "900"), CTL_OK);
    assert_non_null(strstr((const char *)out.data, "ca.key (keep it secret)"));
    assert_int_equal(RUN(&out, "issue", "--ca", in("ca"), "--name", "n1", "--host", "h1", "--host", "h2",
                         "--ip", "::1", in("out")),
                     CTL_OK);
    assert_int_equal(RUN(&out, "show", in("out/n1.crt"), in("ca/ca.crt")), CTL_OK);
    const char *text = (const char *)out.data;
    assert_non_null(strstr(text, "  names        URI:raftkv:member:n1, DNS:n1, DNS:h1, DNS:h2, IP:::1\n"));
    assert_non_null(strstr(text, "  issuer       CN=my CA\n"));
    /* A second may have passed, or not. */
    assert_true(strstr(text, "(824 days left)") || strstr(text, "(825 days left)"));
    assert_true(strstr(text, "(899 days left)") || strstr(text, "(900 days left)"));
    rk_buf_deinit(&out);
}

static void test_the_command_prints_json(void **state)
{
    (void)state;
    struct rk_buf out = {0};
    init_ca("ca");
    assert_int_equal(RUN(&out, "show", "--json", in("ca/ca.crt")), CTL_OK);
    json_t *json = json_loads((const char *)out.data, 0, NULL);
    assert_int_equal(json_array_size(json), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json, 0), "subject")), "CN=test CA");
    json_decref(json);
    rk_buf_deinit(&out);
}

/* Keys are never printed, whatever is asked for. */
static void test_the_command_never_prints_a_key(void **state)
{
    (void)state;
    struct rk_buf out = {0};
    assert_int_equal(RUN(&out, "init", in("ca")), CTL_OK);
    assert_null(strstr((const char *)out.data, "PRIVATE"));
    assert_int_equal(RUN(&out, "show", in("ca/ca.key")), CTL_FAILED);
    assert_null(strstr((const char *)out.data, "PRIVATE"));
    assert_null(strstr(last_error, "PRIVATE"));
    rk_buf_deinit(&out);
}

static void test_the_command_shows_the_rest_when_one_file_is_bad(void **state)
{
    (void)state;
    struct rk_buf out = {0};
    init_ca("ca");
    assert_int_equal(RUN(&out, "show", in("nothing"), in("ca/ca.crt")), CTL_FAILED);
    assert_non_null(strstr((const char *)out.data, "CN=test CA"));
    rk_buf_deinit(&out);
}

static void test_failures_and_wrong_usage_have_their_exit_codes(void **state)
{
    (void)state;
    struct rk_buf out = {0};
    init_ca("ca");
    assert_int_equal(RUN(&out, "init", in("ca")), CTL_FAILED);
    assert_non_null(strstr(last_error, "exists already"));
    assert_int_equal(RUN(&out, "issue", "--ca", in("nothing"), "--name", "n", in("out")), CTL_FAILED);
    assert_int_equal(RUN(&out, "show"), CTL_USAGE);
    assert_int_equal(RUN(&out, "init"), CTL_USAGE);
    assert_int_equal(RUN(&out, "init", "a", "b"), CTL_USAGE);
    assert_int_equal(RUN(&out, "init", ""), CTL_USAGE);
    assert_int_equal(RUN(&out, "init", "--days", "0", in("x")), CTL_USAGE);
    assert_int_equal(RUN(&out, "init", "--days", "1x", in("x")), CTL_USAGE);
    assert_int_equal(RUN(&out, "init", "--bogus", in("x")), CTL_USAGE);
    assert_int_equal(RUN(&out, "issue", "--name", "n", in("out")), CTL_USAGE);
    assert_int_equal(RUN(&out, "issue", "--ca", in("ca"), in("out")), CTL_USAGE);
    assert_int_equal(RUN(&out, "issue", "--expired-for-tests"), CTL_USAGE);
    assert_int_equal(RUN(&out, "bogus"), CTL_USAGE);
    assert_int_equal(run(&out, (const char *const[]){NULL}), CTL_USAGE);
    assert_int_equal(RUN(&out, "--help"), CTL_OK);
    assert_int_equal(RUN(&out, "issue", "--help"), CTL_OK);
    assert_non_null(strstr((const char *)out.data, "--client"));
    assert_int_equal(entries("."), 1);
    rk_buf_deinit(&out);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_authority_is_a_closed_directory_with_a_secret_key),
        TEST(test_modes_do_not_depend_on_the_umask),
        TEST(test_an_authority_signs_itself_and_may_sign_leaves_only),
        TEST(test_an_authority_is_never_overwritten),
        TEST(test_a_lone_certificate_stops_init_before_a_key_is_written),
        TEST(test_init_does_not_write_through_links),
        TEST(test_bad_input_to_init_is_refused_and_leaves_nothing),
        TEST(test_a_members_files_have_their_modes_and_formats),
        TEST(test_a_member_is_good_as_server_and_client),
        TEST(test_another_authority_is_not_believed),
        TEST(test_a_member_carries_its_identity_hosts_and_addresses),
        TEST(test_a_name_that_is_no_host_is_identity_only),
        TEST(test_a_clients_certificate_is_no_members),
        TEST(test_validity_begins_early_and_ends_with_the_days),
        TEST(test_serials_are_random_and_positive),
        TEST(test_a_certificate_does_not_outlive_its_authority),
        TEST(test_dates_beyond_2050_are_written_right),
        TEST(test_issue_overwrites_nothing),
        TEST(test_the_authoritys_certificate_may_be_there_already),
        TEST(test_another_authoritys_certificate_in_the_way_stops_issue),
        TEST(test_only_the_certificate_is_copied_from_ca_crt),
        TEST(test_what_was_written_before_a_failure_is_taken_back),
        TEST(test_a_full_disk_leaves_neither_key_nor_directory),
        TEST(test_bad_input_to_issue_is_refused),
        TEST(test_a_broken_authority_is_told),
        TEST(test_a_leaf_cannot_be_an_authority),
        TEST(test_an_encrypted_key_is_refused),
        TEST(test_show_counts_days_down_and_past_the_end),
        TEST(test_show_gives_the_fingerprint_and_dates),
        TEST(test_show_lists_bundles_and_skips_keys),
        TEST(test_show_tells_files_without_certificates),
        TEST(test_the_command_makes_and_shows_certificates),
        TEST(test_the_command_prints_json),
        TEST(test_the_command_never_prints_a_key),
        TEST(test_the_command_shows_the_rest_when_one_file_is_bad),
        TEST(test_failures_and_wrong_usage_have_their_exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
