/* ctl/pki_cert.c - keys and certificates (RFC 5280) in memory, and as PEM, with OpenSSL. */
#include "config.h" /* _GNU_SOURCE */

#include "ctl/pki_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "lib/base/rk_file.h"
#include "lib/conf/conf.h"

/* Certificates are valid a little before they are made: other hosts' clocks may be behind. */
#define SKEW_S      300L
#define SERIAL_BITS 159 /* 20 octets with a positive sign: the most that RFC 5280, 4.1.2.2 allows */

void pki_key_freep(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

void pki_cert_freep(X509 **cert)
{
    X509_free(*cert);
}

static void bio_freep(BIO **bio)
{
    BIO_free(*bio);
}

/* Key bytes do not stay behind in freed memory. */
void pki_secret_deinit(struct rk_buf *buf)
{
    if (buf->data)
        OPENSSL_cleanse(buf->data, buf->cap);
    rk_buf_deinit(buf);
}

int pki_failed(int r, char **ret_error, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (vasprintf(ret_error, fmt, args) < 0)
        *ret_error = rk_strdup("out of memory");
    va_end(args);
    return r;
}

int pki_openssl_failed(char **ret_error, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return pki_failed(-EIO, ret_error, "%s: OpenSSL says: %s", what, reason ? reason : "no reason");
}

/* ---- PEM --------------------------------------------------------------------- */

static void take_bio(BIO *bio, struct rk_buf *ret)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    rk_buf_append(ret, data, (size_t)len);
    OPENSSL_cleanse(data, (size_t)len);
}

int pki_key_to_pem(EVP_PKEY *key, struct rk_buf *ret, char **ret_error)
{
    RK_CLEANUP(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
    if (!bio || !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
        return pki_openssl_failed(ret_error, "cannot write the key");
    take_bio(bio, ret);
    return 0;
}

int pki_cert_to_pem(X509 *cert, struct rk_buf *ret, char **ret_error)
{
    RK_CLEANUP(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
    if (!bio || !PEM_write_bio_X509(bio, cert))
        return pki_openssl_failed(ret_error, "cannot write the certificate");
    take_bio(bio, ret);
    return 0;
}

/* OpenSSL would ask the terminal for the password of an encrypted key. */
static int no_password(char *buf, int size, int writing, void *userdata)
{
    (void)buf, (void)size, (void)writing, (void)userdata;
    return -1;
}

static int read_file(const char *path, struct rk_buf *ret, char **ret_error)
{
    int r = rk_file_read(path, PKI_FILE_BYTES_MAX, ret);
    return r < 0 ? pki_failed(r, ret_error, "cannot read %s: %s", path, strerror(-r)) : 0;
}

int pki_load_key(const char *path, EVP_PKEY **ret, char **ret_error)
{
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
        return pki_failed(
            -EPERM, ret_error,
            "%s may be read by others than its owner: chmod 600 it, and think of who has seen it", path);
    CLEANUP_SECRET struct rk_buf text = {0};
    int r = read_file(path, &text, ret_error);
    if (r < 0)
        return r;
    RK_CLEANUP(bio_freep) BIO *bio = BIO_new_mem_buf(rk_buf_slice(&text).data, (int)text.len);
    *ret = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    ERR_clear_error();
    return *ret ? 0
                : pki_failed(-EINVAL, ret_error, "%s holds no private key in PEM without a password", path);
}

int pki_load_cert(const char *path, X509 **ret, char **ret_error)
{
    CLEANUP_SECRET struct rk_buf text = {0};
    int r = read_file(path, &text, ret_error);
    if (r < 0)
        return r;
    RK_CLEANUP(bio_freep) BIO *bio = BIO_new_mem_buf(rk_buf_slice(&text).data, (int)text.len);
    *ret = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
    ERR_clear_error();
    return *ret ? 0 : pki_failed(-EINVAL, ret_error, "%s holds no certificate in PEM", path);
}

bool pki_text_has_cert(const struct rk_buf *text, const X509 *wanted)
{
    RK_CLEANUP(bio_freep) BIO *bio = BIO_new_mem_buf(rk_buf_slice(text).data, (int)text->len);
    bool found = false;
    X509 *cert;
    while (bio && !found && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
        found = X509_cmp(cert, wanted) == 0;
        X509_free(cert);
    }
    ERR_clear_error();
    return found;
}

/* ---- certificates ------------------------------------------------------------ */

static bool set_serial(X509 *cert)
{
    BIGNUM *number = BN_new();
    bool good = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
                !BN_is_zero(number) && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return good;
}

static bool set_times(X509 *cert, time_t now, uint32_t days)
{
    return X509_time_adj_ex(X509_getm_notBefore(cert), 0, -SKEW_S, &now) &&
           X509_time_adj_ex(X509_getm_notAfter(cert), (int)days, 0, &now);
}

static bool set_subject(X509 *cert, const char *name)
{
    return X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                                      (const unsigned char *)name, -1, -1, 0) == 1;
}

/* value is in OpenSSL's configuration syntax: only constants, and names that were checked, may get here. */
static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool good = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

/* What both kinds share, up to the extensions. issuer NULL: the certificate is its own. */
static X509 *cert_begin(EVP_PKEY *key, X509 *issuer, const char *name, uint32_t days)
{
    X509 *cert = X509_new();
    if (cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
        set_times(cert, time(NULL), days) && set_subject(cert, name) && X509_set_pubkey(cert, key) &&
        X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert)))
        return cert;
    X509_free(cert);
    return NULL;
}

X509 *pki_make_ca(EVP_PKEY *key, const struct pki_ca_request *request)
{
    X509 *cert = cert_begin(key, NULL, request->name, request->days);
    if (cert && add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
        add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
        add_extension(cert, cert, NID_subject_key_identifier, "hash") &&
        add_extension(cert, cert, NID_authority_key_identifier, "keyid:always") &&
        X509_sign(cert, key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

/* The names as OpenSSL's configuration writes them; none of them can hold a comma. */
static void names_text(const struct pki_request *request, struct rk_buf *ret)
{
    rk_buf_printf(ret, "URI:raftkv:%s:%s", request->client ? "client" : "member", request->name);
    /* A client's name is a user's, and must not pass for a host. */
    if (!request->client && conf_host_is_valid(request->name))
        rk_buf_printf(ret, ",DNS:%s", request->name);
    for (size_t i = 0; i < request->host_count; i++)
        if (request->client || strcasecmp(request->hosts[i], request->name) != 0)
            rk_buf_printf(ret, ",DNS:%s", request->hosts[i]);
    for (size_t i = 0; i < request->ip_count; i++)
        rk_buf_printf(ret, ",IP:%s", request->ips[i]);
    rk_buf_append(ret, "", 1);
}

void pki_authority_deinit(struct pki_authority *authority)
{
    EVP_PKEY_free(authority->key);
    X509_free(authority->cert);
    rk_buf_deinit(&authority->text);
}

X509 *pki_make_leaf(EVP_PKEY *key, const struct pki_authority *ca, const struct pki_request *request)
{
    struct rk_buf names = {0};
    names_text(request, &names);
    X509 *cert = cert_begin(key, ca->cert, request->name, request->days);
    bool good =
        cert && add_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(cert, ca->cert, NID_key_usage, "critical,digitalSignature") &&
        add_extension(cert, ca->cert, NID_ext_key_usage,
                      request->client ? "clientAuth" : "serverAuth,clientAuth") &&
        add_extension(cert, ca->cert, NID_subject_alt_name, (const char *)rk_buf_slice(&names).data) &&
        add_extension(cert, ca->cert, NID_subject_key_identifier, "hash") &&
        add_extension(cert, ca->cert, NID_authority_key_identifier, "keyid:always") &&
        X509_sign(cert, ca->key, EVP_sha256()) > 0;
    rk_buf_deinit(&names);
    if (good)
        return cert;
    X509_free(cert);
    return NULL;
}
