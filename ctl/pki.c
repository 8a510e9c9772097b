/* ctl/pki.c - an authority and certificates: requests are checked, files are made.
 *
 * Order matters where something can fail: all input is checked and all keys and
 * certificates are made in memory first; only then files are created, the key
 * before the certificate, each with O_EXCL. `struct written` remembers what this
 * run created, so that a failure takes back exactly that. */
#include "config.h" /* _GNU_SOURCE */

#include "ctl/pki_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_file.h"
#include "lib/conf/conf.h"

#define CN_BYTES_MAX 64u /* RFC 5280, ub-common-name */

/* ---- files ------------------------------------------------------------------- */

/* What this run has created, newest last. */
struct written {
    char *files[3];
    size_t file_count;
    char *dir;
};

static void written_deinit(struct written *written)
{
    for (size_t i = 0; i < written->file_count; i++)
        free(written->files[i]);
    free(written->dir);
}

static void take_back(struct written *written)
{
    for (size_t i = written->file_count; i-- > 0;)
        unlink(written->files[i]);
    if (written->dir)
        rmdir(written->dir);
}

static char *path_in(const char *dir, const char *name, const char *suffix)
{
    return rk_asprintf("%s/%s%s", dir, name, suffix);
}

static int make_dir(struct written *written, const char *dir, char **ret_error)
{
    struct stat st;
    bool missing = lstat(dir, &st) < 0 && errno == ENOENT;
    int r = rk_file_make_dir(dir, 0700);
    if (r < 0)
        return pki_failed(r, ret_error, "cannot make the directory %s: %s", dir, strerror(-r));
    if (missing)
        written->dir = rk_strdup(dir);
    return 0;
}

static int exists(const char *path, char **ret_error)
{
    return pki_failed(
        -EEXIST, ret_error,
        "%s exists already, and nothing is ever overwritten: remove it first, or choose another place", path);
}

/* Asked before the work begins; O_EXCL is what holds the promise. */
static int must_be_missing(const char *dir, const char *name, const char *suffix, char **ret_error)
{
    RK_CLEANUP(rk_freep) char *path = path_in(dir, name, suffix);
    struct stat st;
    return lstat(path, &st) == 0 ? exists(path, ret_error) : 0;
}

static int create(struct written *written, char *path, const struct rk_buf *data, mode_t mode,
                  char **ret_error)
{
    rk_assert(written->file_count < RK_ARRAY_LEN(written->files));
    int r = rk_file_create(path, rk_buf_slice(data), mode);
    if (r < 0) {
        r = r == -EEXIST ? exists(path, ret_error)
                         : pki_failed(r, ret_error, "cannot write %s: %s", path, strerror(-r));
        free(path);
        return r;
    }
    written->files[written->file_count++] = path;
    return 0;
}

/* ---- input ------------------------------------------------------------------- */

static int check_days(uint32_t days, char **ret_error)
{
    if (days >= 1 && days <= PKI_DAYS_MAX)
        return 0;
    return pki_failed(-EINVAL, ret_error, "the number of days must be from 1 to %u", PKI_DAYS_MAX);
}

static int check_ca_name(const char *name, char **ret_error)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return pki_failed(-EINVAL, ret_error, "the authority's name has a control character in it");
    return len >= 1 && len <= CN_BYTES_MAX
               ? 0
               : pki_failed(-EINVAL, ret_error, "the authority's name must have 1 to %u bytes", CN_BYTES_MAX);
}

bool pki_host_is_valid(const char *text)
{
    return conf_host_is_valid(strncmp(text, "*.", 2) == 0 ? text + 2 : text);
}

static bool is_ip(const char *text)
{
    struct in6_addr address;
    return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

static int check_names(const struct pki_request *request, char **ret_error)
{
    for (size_t i = 0; i < request->host_count; i++) {
        const char *host = request->hosts[i];
        if (is_ip(host))
            return pki_failed(-EINVAL, ret_error, "\"%s\" is an address: give it with --ip", host);
        if (!pki_host_is_valid(host))
            return pki_failed(-EINVAL, ret_error, "\"%s\" is no host name", host);
    }
    for (size_t i = 0; i < request->ip_count; i++)
        if (!is_ip(request->ips[i]))
            return pki_failed(-EINVAL, ret_error, "\"%s\" is no IPv4 or IPv6 address", request->ips[i]);
    return 0;
}

static int check_request(const struct pki_request *request, char **ret_error)
{
    if (!conf_name_is_valid(request->name))
        return pki_failed(-EINVAL, ret_error,
                          "\"%s\" is no name: 1 to 64 letters, digits, dots, dashes and underscores",
                          request->name);
    if (strcmp(request->name, "ca") == 0)
        return pki_failed(-EINVAL, ret_error, "the name \"ca\" is the authority's own");
    int r = check_days(request->days, ret_error);
    return r < 0 ? r : check_names(request, ret_error);
}

/* ---- init -------------------------------------------------------------------- */

static int write_ca(struct written *written, const char *dir, EVP_PKEY *key, X509 *cert, char **ret_error)
{
    CLEANUP_SECRET struct rk_buf key_text = {0};
    CLEANUP_SECRET struct rk_buf cert_text = {0};
    int r = pki_key_to_pem(key, &key_text, ret_error);
    if (r == 0)
        r = pki_cert_to_pem(cert, &cert_text, ret_error);
    if (r == 0)
        r = make_dir(written, dir, ret_error);
    if (r == 0)
        r = create(written, path_in(dir, "ca", ".key"), &key_text, 0600, ret_error);
    if (r == 0)
        r = create(written, path_in(dir, "ca", ".crt"), &cert_text, 0644, ret_error);
    return r;
}

int pki_init(const struct pki_ca_request *request, char **ret_error)
{
    int r = check_days(request->days, ret_error);
    if (r == 0)
        r = check_ca_name(request->name, ret_error);
    if (r == 0)
        r = must_be_missing(request->dir, "ca", ".key", ret_error);
    if (r == 0)
        r = must_be_missing(request->dir, "ca", ".crt", ret_error);
    if (r < 0)
        return r;
    CLEANUP_KEY EVP_PKEY *key = EVP_EC_gen("P-256");
    CLEANUP_CERT X509 *cert = key ? pki_make_ca(key, request) : NULL;
    if (!cert)
        return pki_openssl_failed(ret_error, "cannot make the authority (is its name valid UTF-8?)");
    struct written written = {0};
    r = write_ca(&written, request->dir, key, cert, ret_error);
    if (r < 0)
        take_back(&written);
    written_deinit(&written);
    return r;
}

/* ---- issue ------------------------------------------------------------------- */

static int check_end(const struct pki_authority *ca, uint32_t days, const char *path, char **ret_error)
{
    int left_days, left_seconds;
    if (!ASN1_TIME_diff(&left_days, &left_seconds, NULL, X509_get0_notAfter(ca->cert)))
        return pki_openssl_failed(ret_error, path);
    if (left_days < 0 || left_seconds < 0)
        return pki_failed(-EINVAL, ret_error, "%s is no longer valid: make a new authority", path);
    if ((long)days > left_days)
        return pki_failed(-EINVAL, ret_error,
                          "%s is valid for %d more days: ask for --days %d at most, or make a new authority",
                          path, left_days, left_days);
    return 0;
}

static int load_authority(const char *dir, uint32_t days, struct pki_authority *ret, char **ret_error)
{
    RK_CLEANUP(rk_freep) char *cert_path = path_in(dir, "ca", ".crt");
    RK_CLEANUP(rk_freep) char *key_path = path_in(dir, "ca", ".key");
    int r = pki_load_cert(cert_path, &ret->cert, ret_error);
    if (r == 0)
        r = pki_cert_to_pem(ret->cert, &ret->text, ret_error);
    if (r == 0)
        r = pki_load_key(key_path, &ret->key, ret_error);
    if (r < 0)
        return r;
    if (X509_check_ca(ret->cert) != 1)
        return pki_failed(-EINVAL, ret_error, "%s is not the certificate of an authority", cert_path);
    bool match = X509_check_private_key(ret->cert, ret->key) == 1;
    ERR_clear_error();
    if (!match)
        return pki_failed(-EINVAL, ret_error, "%s is not the key of %s", key_path, cert_path);
    return check_end(ret, days, cert_path, ret_error);
}

/* ca.crt in OUT: 1 when it must be written, 0 when it is there and has this authority. */
static int needs_ca_copy(const char *out, const struct pki_authority *ca, char **ret_error)
{
    RK_CLEANUP(rk_freep) char *path = path_in(out, "ca", ".crt");
    struct rk_buf text = {0};
    int r = rk_file_read(path, PKI_FILE_BYTES_MAX, &text);
    if (r == -ENOENT)
        return 1;
    if (r < 0)
        return pki_failed(r, ret_error, "cannot read %s: %s", path, strerror(-r));
    if (!pki_text_has_cert(&text, ca->cert))
        r = pki_failed(-EEXIST, ret_error, "%s is of another authority: choose another place", path);
    rk_buf_deinit(&text);
    return r;
}

static int write_leaf(struct written *written, const struct pki_request *request,
                      const struct pki_authority *ca, EVP_PKEY *key, X509 *cert, char **ret_error)
{
    CLEANUP_SECRET struct rk_buf key_text = {0};
    CLEANUP_SECRET struct rk_buf cert_text = {0};
    int r = pki_key_to_pem(key, &key_text, ret_error);
    if (r == 0)
        r = pki_cert_to_pem(cert, &cert_text, ret_error);
    if (r == 0)
        r = make_dir(written, request->out, ret_error);
    if (r == 0)
        r = create(written, path_in(request->out, request->name, ".key"), &key_text, 0600, ret_error);
    if (r == 0)
        r = create(written, path_in(request->out, request->name, ".crt"), &cert_text, 0644, ret_error);
    if (r == 0)
        r = needs_ca_copy(request->out, ca, ret_error);
    return r == 1 ? create(written, path_in(request->out, "ca", ".crt"), &ca->text, 0644, ret_error) : r;
}

static int issue_with(const struct pki_request *request, const struct pki_authority *ca, char **ret_error)
{
    CLEANUP_KEY EVP_PKEY *key = EVP_EC_gen("P-256");
    CLEANUP_CERT X509 *cert = key ? pki_make_leaf(key, ca, request) : NULL;
    if (!cert)
        return pki_openssl_failed(ret_error, "cannot make the certificate");
    struct written written = {0};
    int r = write_leaf(&written, request, ca, key, cert, ret_error);
    if (r < 0)
        take_back(&written);
    written_deinit(&written);
    return r;
}

int pki_issue(const struct pki_request *request, char **ret_error)
{
    int r = check_request(request, ret_error);
    if (r == 0)
        r = must_be_missing(request->out, request->name, ".key", ret_error);
    if (r == 0)
        r = must_be_missing(request->out, request->name, ".crt", ret_error);
    if (r < 0)
        return r;
    RK_CLEANUP(pki_authority_deinit) struct pki_authority ca = {0};
    r = load_authority(request->ca_dir, request->days, &ca, ret_error);
    if (r == 0 && (r = needs_ca_copy(request->out, &ca, ret_error)) >= 0)
        r = issue_with(request, &ca, ret_error);
    return r;
}
