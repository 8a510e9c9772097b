/* lib/net/net_tls.c - TLS contexts that can be replaced while they are in use.
 *
 * A context is never changed once handshakes may run on it: a reload builds a new
 * one from the files, and only when every check has passed does it take the old
 * one's place. Sessions hold a reference to the context that they began with. */
#include "config.h"

#include "lib/net/net_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <string.h>

#include "lib/base/rk_assert.h"

struct net_tls {
    atomic_uint refs;
    enum net_tls_role role;
    char *cert_file, *key_file, *ca_file, *own_host;
    bool require_client_cert;
    pthread_mutex_t mutex; /* over what follows */
    SSL_CTX *ctx;
    uint64_t expiry_s;
};

static char *dup_or_null(const char *s)
{
    return s ? rk_strdup(s) : NULL;
}

static struct net_tls_config config_of(const struct net_tls *tls)
{
    return (struct net_tls_config){
        .role = tls->role,
        .cert_file = tls->cert_file,
        .key_file = tls->key_file,
        .ca_file = tls->ca_file,
        .require_client_cert = tls->require_client_cert,
        .own_host = tls->own_host,
    };
}

int net_tls_new(const struct net_tls_config *config, struct net_tls **ret, char **ret_error)
{
    SSL_CTX *ctx;
    uint64_t expiry_s;
    int r = net_tls_load(config, &ctx, &expiry_s, ret_error);
    if (r < 0)
        return r;
    struct net_tls *tls = RK_NEW(struct net_tls);
    atomic_init(&tls->refs, 1);
    tls->role = config->role;
    tls->cert_file = rk_strdup(config->cert_file);
    tls->key_file = rk_strdup(config->key_file);
    tls->ca_file = dup_or_null(config->ca_file);
    tls->own_host = dup_or_null(config->own_host);
    tls->require_client_cert = config->require_client_cert;
    rk_assert(pthread_mutex_init(&tls->mutex, NULL) == 0);
    tls->ctx = ctx;
    tls->expiry_s = expiry_s;
    *ret = tls;
    return 0;
}

struct net_tls *net_tls_ref(struct net_tls *tls)
{
    if (tls)
        atomic_fetch_add(&tls->refs, 1);
    return tls;
}

struct net_tls *net_tls_unref(struct net_tls *tls)
{
    if (!tls || atomic_fetch_sub(&tls->refs, 1) != 1)
        return NULL;
    SSL_CTX_free(tls->ctx);
    pthread_mutex_destroy(&tls->mutex);
    free(tls->cert_file);
    free(tls->key_file);
    free(tls->ca_file);
    free(tls->own_host);
    free(tls);
    return NULL;
}

/* The files are read outside the mutex: handshakes go on with the old context meanwhile. */
int net_tls_reload(struct net_tls *tls, char **ret_error)
{
    struct net_tls_config config = config_of(tls);
    SSL_CTX *ctx;
    uint64_t expiry_s;
    int r = net_tls_load(&config, &ctx, &expiry_s, ret_error);
    if (r < 0)
        return r;
    rk_assert(pthread_mutex_lock(&tls->mutex) == 0);
    SSL_CTX *old = tls->ctx;
    tls->ctx = ctx;
    tls->expiry_s = expiry_s;
    rk_assert(pthread_mutex_unlock(&tls->mutex) == 0);
    SSL_CTX_free(old);
    return 0;
}

uint64_t net_tls_expiry_s(struct net_tls *tls)
{
    rk_assert(pthread_mutex_lock(&tls->mutex) == 0);
    uint64_t expiry_s = tls->expiry_s;
    rk_assert(pthread_mutex_unlock(&tls->mutex) == 0);
    return expiry_s;
}

/* A name goes into SNI and is compared with DNS names; an address (RFC 6066 section 3 keeps it out of SNI)
 * with IP names. */
static bool expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    uint8_t ip[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, ip) == 1)
        return X509_VERIFY_PARAM_set1_ip(param, ip, sizeof(struct in_addr)) == 1;
    if (inet_pton(AF_INET6, host, ip) == 1)
        return X509_VERIFY_PARAM_set1_ip(param, ip, sizeof(struct in6_addr)) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

SSL *net_tls_session(struct net_tls *tls, const char *host)
{
    rk_assert((tls->role == NET_TLS_PEER_CLIENT) == (host != NULL));
    rk_assert(pthread_mutex_lock(&tls->mutex) == 0);
    SSL *ssl = SSL_new(tls->ctx);
    rk_assert(pthread_mutex_unlock(&tls->mutex) == 0);
    if (ssl && host && !expect_host(ssl, host)) {
        SSL_free(ssl);
        ssl = NULL;
    }
    return ssl;
}

/* The first error is the cause, the later ones are the callers' echoes of it. */
const char *net_tls_reason(void)
{
    unsigned long e = ERR_peek_error();
    const char *reason = NULL;
    if (e != 0)
        reason = ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e)) : ERR_reason_error_string(e);
    ERR_clear_error();
    return reason ? reason : "no reason given";
}

enum net_tls_role net_tls_role(const struct net_tls *tls)
{
    return tls->role;
}
