/* tests/unit/net_certs.c - certificates made on the spot, for every test that needs TLS. */
#include "config.h"

#include "tests/unit/net_certs.h"

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_util.h"

#define HOUR_S 3600L

void net_certs_init(struct net_certs *certs)
{
    snprintf(certs->dir, sizeof(certs->dir), "/tmp/raftkv-certs-XXXXXX");
    rk_assert(mkdtemp(certs->dir));
}

void net_certs_deinit(struct net_certs *certs)
{
    DIR *dir = opendir(certs->dir);
    struct dirent *entry;
    rk_assert(dir);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            rk_assert(unlinkat(dirfd(dir), entry->d_name, 0) == 0);
    closedir(dir);
    rk_assert(rmdir(certs->dir) == 0);
}

const char *net_certs_path(const struct net_certs *certs, const char *name)
{
    static char paths[8][NET_CERTS_PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, NET_CERTS_PATH_MAX, "%s/%s", certs->dir, name);
    return path;
}

static FILE *open_file(const struct net_certs *certs, const char *name, const char *suffix, const char *mode)
{
    char file[NET_CERTS_PATH_MAX];
    snprintf(file, sizeof(file), "%s/%s%s", certs->dir, name, suffix);
    mode_t before = umask(0077);
    FILE *f = fopen(file, mode);
    umask(before);
    rk_assert(f);
    return f;
}

static void save(const struct net_certs *certs, const char *name, X509 *cert, EVP_PKEY *key)
{
    FILE *f = open_file(certs, name, ".pem", "w");
    rk_assert(PEM_write_X509(f, cert) == 1);
    fclose(f);
    f = open_file(certs, name, ".key", "w");
    rk_assert(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(f);
}

static void load(const struct net_certs *certs, const char *name, X509 **ret_cert, EVP_PKEY **ret_key)
{
    FILE *f = open_file(certs, name, ".pem", "r");
    *ret_cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    f = open_file(certs, name, ".key", "r");
    *ret_key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    rk_assert(*ret_cert && *ret_key);
}

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    if (!value)
        return;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    rk_assert(extension && X509_add_ext(cert, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static X509 *blank(const char *cn, EVP_PKEY *key, long serial, long from_s, long until_s)
{
    X509 *cert = X509_new();
    if (serial == 0) {
        rk_assert(RAND_bytes((unsigned char *)&serial, sizeof(serial)) == 1);
        serial = (serial & 0x7fffffff) + 1000;
    }
    rk_assert(cert && X509_set_version(cert, X509_VERSION_3) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), from_s);
    X509_gmtime_adj(X509_getm_notAfter(cert), until_s);
    rk_assert(X509_set_pubkey(cert, key) == 1);
    rk_assert(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                                         (const unsigned char *)cn, -1, -1, 0) == 1);
    return cert;
}

void net_certs_ca(const struct net_certs *certs, const char *name)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = blank(name, key, 1, -HOUR_S, 24 * HOUR_S);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    extend(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
    extend(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    extend(cert, cert, NID_subject_key_identifier, "hash");
    rk_assert(X509_sign(cert, key, EVP_sha256()) > 0);
    save(certs, name, cert, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

void net_certs_leaf(const struct net_certs *certs, const char *ca, const char *name,
                    const struct net_certs_leaf *leaf)
{
    X509 *issuer;
    EVP_PKEY *issuer_key, *key = EVP_EC_gen("P-256");
    bool dated = leaf->from_s != 0 || leaf->until_s != 0;
    load(certs, ca, &issuer, &issuer_key);
    X509 *cert = blank(leaf->cn ? leaf->cn : "node", key, leaf->serial, dated ? leaf->from_s : -HOUR_S,
                       dated ? leaf->until_s : HOUR_S);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    extend(cert, issuer, NID_basic_constraints, "CA:FALSE");
    extend(cert, issuer, NID_authority_key_identifier, "keyid");
    extend(cert, issuer, NID_subject_alt_name, leaf->san);
    extend(cert, issuer, NID_ext_key_usage, leaf->eku);
    rk_assert(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
    save(certs, name, cert, key);
    X509_free(cert);
    EVP_PKEY_free(key);
    X509_free(issuer);
    EVP_PKEY_free(issuer_key);
}

static void add_revoked(X509_CRL *crl, long serial)
{
    X509_REVOKED *revoked = X509_REVOKED_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
    rk_assert(revoked && ASN1_INTEGER_set(number, serial) == 1);
    rk_assert(X509_REVOKED_set_serialNumber(revoked, number) == 1);
    rk_assert(X509_REVOKED_set_revocationDate(revoked, now) == 1);
    rk_assert(X509_CRL_add0_revoked(crl, revoked) == 1);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(now);
}

void net_certs_append_crl(const struct net_certs *certs, const char *ca, const char *file, long serial)
{
    X509 *issuer;
    EVP_PKEY *key;
    load(certs, ca, &issuer, &key);
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *last = X509_gmtime_adj(NULL, -HOUR_S), *next = X509_gmtime_adj(NULL, HOUR_S);
    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
    X509_CRL_set1_lastUpdate(crl, last);
    X509_CRL_set1_nextUpdate(crl, next);
    if (serial != 0)
        add_revoked(crl, serial);
    X509_CRL_sort(crl);
    rk_assert(X509_CRL_sign(crl, key, EVP_sha256()) > 0);
    FILE *f = open_file(certs, file, "", "a");
    rk_assert(PEM_write_X509_CRL(f, crl) == 1);
    fclose(f);
    ASN1_TIME_free(last);
    ASN1_TIME_free(next);
    X509_CRL_free(crl);
    X509_free(issuer);
    EVP_PKEY_free(key);
}

void net_certs_write(const struct net_certs *certs, const char *name, const char *content)
{
    FILE *f = open_file(certs, name, "", "w");
    rk_assert(fputs(content, f) >= 0);
    fclose(f);
}
