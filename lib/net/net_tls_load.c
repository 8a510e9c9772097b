/* lib/net/net_tls_load.c - certificate, key and CA files turned into a checked SSL_CTX.
 *
 * What is refused here would otherwise show only when the first handshake fails,
 * perhaps weeks after the file was put in place: so each file is tried before it
 * is used, and the text says which file and what is wrong with it. */
#include "config.h"

#include "lib/net/net_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEY_FILE_BYTES_MAX (64u * 1024u)
#define CHAIN_DEPTH_MAX    8 /* a root, a few intermediates, a leaf; more would be an attack on our time */
/* TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 section 4.2). */
#define SUITES_12 "ECDHE+AESGCM:ECDHE+CHACHA20"

static void ctx_freep(SSL_CTX **ctx)
{
    SSL_CTX_free(*ctx);
}

static void pkey_freep(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

/* ---- the key ------------------------------------------------------------------- */

/* Without this OpenSSL asks for the password on the terminal, and the daemon hangs. */
static int no_password(char *buf RK_UNUSED, int size RK_UNUSED, int rwflag RK_UNUSED,
                       void *userdata RK_UNUSED)
{
    return -1;
}

static int refuse_open_key(int fd, const char *path, char **ret_error)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        *ret_error = rk_asprintf("%s: cannot read the key: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        *ret_error = rk_asprintf("%s: the key is not a regular file", path);
    else if (st.st_mode & (S_IRWXO | S_IWGRP))
        *ret_error = rk_asprintf("%s: the key file is open to others (mode %04o); chmod 0600 or 0640", path,
                                 (unsigned)(st.st_mode & 07777));
    else
        return 0;
    return -EINVAL;
}

/* Read here and not by OpenSSL, so that the file which was checked is the one which is used. */
static EVP_PKEY *parse_key(int fd)
{
    EVP_PKEY *key = NULL;
    char *pem = rk_new0(1, KEY_FILE_BYTES_MAX);
    ssize_t n = read(fd, pem, KEY_FILE_BYTES_MAX);
    BIO *bio = n > 0 ? BIO_new_mem_buf(pem, (int)n) : NULL;
    if (bio)
        key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    OPENSSL_cleanse(pem, KEY_FILE_BYTES_MAX);
    free(pem);
    return key;
}

static int load_key(SSL_CTX *ctx, const struct net_tls_config *config, char **ret_error)
{
    const char *path = config->key_file;
    RK_CLEANUP(rk_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        *ret_error = rk_asprintf("%s: cannot open the key: %s", path, strerror(errno));
        return -EINVAL;
    }
    int r = refuse_open_key(fd, path, ret_error);
    if (r < 0)
        return r;
    RK_CLEANUP(pkey_freep) EVP_PKEY *key = parse_key(fd);
    if (!key) {
        *ret_error = rk_asprintf("%s: no usable private key in it (PEM without a password is needed): %s",
                                 path, net_tls_reason());
        return -EINVAL;
    }
    if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
        *ret_error = rk_asprintf("%s: the key does not fit the certificate in %s: %s", path,
                                 config->cert_file, net_tls_reason());
        return -EINVAL;
    }
    return 0;
}

/* ---- the certificate ------------------------------------------------------------- */

static uint64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm) != 1)
        return 0;
    time_t s = timegm(&tm);
    return s > 0 ? (uint64_t)s : 0;
}

static int check_dates(const X509 *cert, const char *path, char **ret_error)
{
    const char *what = NULL;
    if (X509_cmp_current_time(X509_get0_notBefore(cert)) >= 0)
        what = "is not valid yet (is the clock right?)";
    else if (X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
        what = "has expired";
    if (!what)
        return 0;
    *ret_error = rk_asprintf("%s: the certificate %s", path, what);
    return -EINVAL;
}

/* The outcome of X509_check_ip_asc() is -2 when host is no address at all. */
static int check_own_host(X509 *cert, const struct net_tls_config *config, char **ret_error)
{
    const char *host = config->own_host;
    if (!host)
        return 0;
    int ip = X509_check_ip_asc(cert, host, 0);
    bool ok = ip == 1 ||
              (ip < 0 && X509_check_host(cert, host, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1);
    ERR_clear_error();
    if (ok)
        return 0;
    *ret_error =
        rk_asprintf("%s: the certificate does not carry the name or address %s, under which others connect",
                    config->cert_file, host);
    return -EINVAL;
}

static int load_cert(SSL_CTX *ctx, const struct net_tls_config *config, char **ret_error)
{
    if (SSL_CTX_use_certificate_chain_file(ctx, config->cert_file) != 1) {
        *ret_error = rk_asprintf("%s: cannot load the certificate: %s", config->cert_file, net_tls_reason());
        return -EINVAL;
    }
    X509 *cert = SSL_CTX_get0_certificate(ctx);
    int r = check_dates(cert, config->cert_file, ret_error);
    return r < 0 ? r : check_own_host(cert, config, ret_error);
}

/* ---- the CA ---------------------------------------------------------------------- */

/* A revocation list in the CA file is meant to be used. Then every issuer of a leaf needs a current one. */
static void enforce_crls(X509_STORE *store)
{
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++)
        if (X509_OBJECT_get_type(sk_X509_OBJECT_value(objects, i)) == X509_LU_CRL)
            X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
}

static int load_ca(SSL_CTX *ctx, const struct net_tls_config *config, char **ret_error)
{
    const char *path = config->ca_file;
    bool ok = SSL_CTX_load_verify_locations(ctx, path, NULL) == 1;
    /* The names tell a client that owns several certificates which one to send. */
    if (ok && config->role != NET_TLS_PEER_CLIENT) {
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
        ok = names != NULL;
        SSL_CTX_set_client_CA_list(ctx, names);
    }
    if (!ok) {
        *ret_error = rk_asprintf("%s: cannot load the CA certificates: %s", path, net_tls_reason());
        return -EINVAL;
    }
    enforce_crls(SSL_CTX_get_cert_store(ctx));
    return 0;
}

/* Between members the same CA stands behind both ends, so the check that they will make can be made here
 * first. */
static int verify_own(SSL_CTX *ctx, const struct net_tls_config *config, char **ret_error)
{
    STACK_OF(X509) *chain = NULL;
    SSL_CTX_get0_chain_certs(ctx, &chain);
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    int purpose = config->role == NET_TLS_PEER_CLIENT ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER;
    bool ok =
        check &&
        X509_STORE_CTX_init(check, SSL_CTX_get_cert_store(ctx), SSL_CTX_get0_certificate(ctx), chain) == 1 &&
        X509_STORE_CTX_set_purpose(check, purpose) == 1 && X509_verify_cert(check) == 1;
    if (!ok)
        *ret_error =
            rk_asprintf("%s: other members would refuse the certificate, judged by %s: %s", config->cert_file,
                        config->ca_file,
                        check ? X509_verify_cert_error_string(X509_STORE_CTX_get_error(check)) : "no memory");
    X509_STORE_CTX_free(check);
    ERR_clear_error();
    return ok ? 0 : -EINVAL;
}

/* ---- the context ----------------------------------------------------------------- */

/* ALPN (RFC 7301): HTTP/2 when the client can, else HTTP/1.1; a client that speaks neither is told so at
 * once. */
static int select_alpn(SSL *ssl RK_UNUSED, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned int in_len, void *userdata RK_UNUSED)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *selected;
    if (SSL_select_next_proto(&selected, out_len, ours, sizeof(ours) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = selected;
    return SSL_TLSEXT_ERR_OK;
}

/* Resumption would take the client's certificate from the ticket without looking at it again: an expired or
 * revoked one would go on for as long as the ticket lives. So tickets are only for doors where no certificate
 * is asked for. */
static void set_sessions(SSL_CTX *ctx, const struct net_tls_config *config)
{
    static const unsigned char id[] = "raftkv";
    SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, config->ca_file ? 0 : 1);
    if (config->ca_file)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
}

static void set_verify(SSL_CTX *ctx, const struct net_tls_config *config)
{
    bool must = config->role != NET_TLS_CLIENT_PORT || config->require_client_cert;
    int mode =
        config->ca_file ? SSL_VERIFY_PEER | (must ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0) : SSL_VERIFY_NONE;
    SSL_CTX_set_verify(ctx, mode, NULL);
    SSL_CTX_set_verify_depth(ctx, CHAIN_DEPTH_MAX);
}

static SSL_CTX *new_ctx(const struct net_tls_config *config)
{
    bool client = config->role == NET_TLS_PEER_CLIENT;
    bool peer = config->role != NET_TLS_CLIENT_PORT;
    SSL_CTX *ctx = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
    if (!ctx)
        return NULL;
    SSL_CTX_set_options(ctx,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* Idle connections give their record buffers back; read-ahead saves a read(2) for each record's header.
     * What is sent is cert_file as it stands: without NO_AUTO_CHAIN OpenSSL would build a chain, root and
     * all, at every handshake. */
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    if (SSL_CTX_set_min_proto_version(ctx, peer ? TLS1_3_VERSION : TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, SUITES_12) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    set_sessions(ctx, config);
    set_verify(ctx, config);
    if (!peer)
        SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    return ctx;
}

int net_tls_load(const struct net_tls_config *config, SSL_CTX **ret, uint64_t *ret_expiry_s, char **ret_error)
{
    bool peer = config->role != NET_TLS_CLIENT_PORT;
    if (!config->cert_file || !config->key_file || (peer && !config->ca_file)) {
        *ret_error = rk_strdup("TLS needs a certificate file and a key file, and between members a CA file");
        return -EINVAL;
    }
    if (config->require_client_cert && !config->ca_file) {
        *ret_error = rk_strdup("client certificates cannot be required without a CA file to check them by");
        return -EINVAL;
    }
    ERR_clear_error();
    RK_CLEANUP(ctx_freep) SSL_CTX *ctx = new_ctx(config);
    if (!ctx) {
        *ret_error = rk_asprintf("cannot set up TLS: %s", net_tls_reason());
        return -EINVAL;
    }
    int r = load_cert(ctx, config, ret_error);
    if (r == 0)
        r = load_key(ctx, config, ret_error);
    if (r == 0 && config->ca_file)
        r = load_ca(ctx, config, ret_error);
    if (r == 0 && peer)
        r = verify_own(ctx, config, ret_error);
    if (r < 0)
        return r;
    *ret_expiry_s = seconds_of(X509_get0_notAfter(SSL_CTX_get0_certificate(ctx)));
    *ret = ctx;
    ctx = NULL;
    return 0;
}
