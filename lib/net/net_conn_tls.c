/* lib/net/net_conn_tls.c - TLS on a connection: handshake, records, the other side's certificate, and errors
 * in words that an operator can act on.
 *
 * OpenSSL keeps a queue of errors per thread and judges the outcome of a call by
 * it, so the queue is emptied before each call. */
#include "config.h"

#include "lib/net/net_conn_internal.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>

#include "lib/base/rk_assert.h"

/* ---- errors ------------------------------------------------------------------------------ */

static char *common_name(X509 *cert)
{
    unsigned char *text = NULL;
    const X509_NAME *name = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    if (at < 0)
        return rk_strdup("none");
    ASN1_STRING *cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    if (ASN1_STRING_to_UTF8(&text, cn) < 0)
        return rk_strdup("unreadable");
    /* It goes into a log line, and whoever made it is not trusted yet. */
    for (unsigned char *c = text; *c; c++)
        if (*c < ' ' || *c >= 0x7f)
            *c = '?';
    char *copy = rk_asprintf("%.64s", (char *)text);
    OPENSSL_free(text);
    return copy;
}

/* A member's certificate serves as well as it calls. One that may only call is a client's, and opens the
 * client port alone, though both ports may trust the same authority. OpenSSL itself asks a caller for
 * clientAuth and no more. */
static bool is_for_members(X509_STORE_CTX *check, const struct net_conn *conn, X509 *leaf)
{
    if (net_tls_role(conn->tls) != NET_TLS_PEER_SERVER || X509_STORE_CTX_get_error_depth(check) != 0 || !leaf)
        return true;
    if (X509_get_extended_key_usage(leaf) & XKU_SSL_SERVER)
        return true;
    X509_STORE_CTX_set_error(check, X509_V_ERR_INVALID_PURPOSE);
    return false;
}

/* Called for each certificate of the chain. The verdict is OpenSSL's, and is_for_members()'s; this notes
 * whose fault it was.
 */
static int on_verify(int ok, X509_STORE_CTX *check)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(check, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct net_conn *conn = SSL_get_app_data(ssl);
    X509 *leaf = X509_STORE_CTX_get0_cert(check);
    ok = ok && is_for_members(check, conn, leaf);
    if (!ok && leaf && !conn->bad_cert) {
        RK_CLEANUP(rk_freep) char *cn = common_name(leaf);
        conn->bad_cert = rk_asprintf("%s (peer CN %s)",
                                     X509_verify_cert_error_string(X509_STORE_CTX_get_error(check)), cn);
    }
    return ok;
}

static bool not_tls(unsigned long e)
{
    int reason = ERR_GET_REASON(e);
    return ERR_GET_LIB(e) == ERR_LIB_SSL &&
           (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
            reason == SSL_R_HTTPS_PROXY_REQUEST || reason == SSL_R_PACKET_LENGTH_TOO_LONG ||
            reason == SSL_R_BAD_PACKET);
}

static bool cut_off(unsigned long e)
{
    return ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

static const char *failure_text(const struct net_conn *conn, int code, int error)
{
    unsigned long e = ERR_peek_error();
    const char *text;
    if (conn->bad_cert)
        text = conn->bad_cert;
    else if (e == 0 && code == SSL_ERROR_SYSCALL)
        text = error != 0 ? strerror(error) : "the other side closed the connection";
    else if (cut_off(e))
        text = "the other side closed the connection";
    else if (conn->state == NET_CONN_HANDSHAKING && not_tls(e))
        text = "the other side does not speak TLS";
    else
        return net_tls_reason();
    ERR_clear_error();
    return text;
}

static enum net_io tls_failed(struct net_conn *conn, int code, int error)
{
    const char *what = conn->state == NET_CONN_HANDSHAKING ? "TLS handshake failed" : "TLS failed";
    conn->tls_broken = true;
    net_conn_fail(conn, rk_asprintf("%s: %s", what, failure_text(conn, code, error)));
    return NET_IO_FAILED;
}

/* ---- handshake ------------------------------------------------------------------------------ */

void net_conn_tls_start(struct net_conn *conn, const char *host)
{
    conn->state = NET_CONN_HANDSHAKING;
    ERR_clear_error();
    conn->ssl = net_tls_session(conn->tls, host);
    if (!conn->ssl || SSL_set_fd(conn->ssl, conn->source.fd) != 1) {
        tls_failed(conn, SSL_ERROR_SSL, 0);
        return;
    }
    SSL_set_app_data(conn->ssl, conn);
    SSL_set_verify(conn->ssl, SSL_get_verify_mode(conn->ssl), on_verify);
    if (!host) {
        SSL_set_accept_state(conn->ssl);
        return;
    }
    SSL_set_connect_state(conn->ssl);
    net_conn_tls_handshake(conn);
}

static void note_alpn(struct net_conn *conn)
{
    const unsigned char *name;
    unsigned int len;
    SSL_get0_alpn_selected(conn->ssl, &name, &len);
    if (len > 0 && len < sizeof(conn->alpn))
        memcpy(conn->alpn, name, len);
}

void net_conn_tls_handshake(struct net_conn *conn)
{
    ERR_clear_error();
    errno = 0;
    int r = SSL_do_handshake(conn->ssl);
    int error = errno;
    if (r == 1) {
        note_alpn(conn);
        net_conn_opened(conn);
        return;
    }
    int code = SSL_get_error(conn->ssl, r);
    if (code != SSL_ERROR_WANT_READ && code != SSL_ERROR_WANT_WRITE)
        tls_failed(conn, code, error);
}

/* ---- records ---------------------------------------------------------------------------------- */

/* OpenSSL has seen EAGAIN in one direction; what that blocks is the call which was made, whichever way it
 * goes. */
static enum net_io blocked(struct net_conn *conn, int code)
{
    if (code == SSL_ERROR_WANT_READ)
        conn->readable = false;
    else
        conn->writable = false;
    return NET_IO_AGAIN;
}

enum net_io net_conn_tls_read(struct net_conn *conn, uint8_t *to, size_t size, size_t *ret_count)
{
    ERR_clear_error();
    errno = 0;
    int r = SSL_read_ex(conn->ssl, to, size, ret_count);
    int error = errno;
    conn->read_needs_write = false;
    if (r == 1)
        return NET_IO_OK;
    int code = SSL_get_error(conn->ssl, r);
    if (code == SSL_ERROR_ZERO_RETURN)
        return NET_IO_EOF;
    conn->read_needs_write = code == SSL_ERROR_WANT_WRITE;
    if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE)
        return blocked(conn, code);
    return tls_failed(conn, code, error);
}

/* Writes one record of up to 16 KiB. After AGAIN the same bytes must come again; they do, from the front of
 * out. */
enum net_io net_conn_tls_write(struct net_conn *conn, struct rk_slice bytes, size_t *ret_count)
{
    ERR_clear_error();
    errno = 0;
    int r = SSL_write_ex(conn->ssl, bytes.data, bytes.len, ret_count);
    int error = errno;
    conn->write_needs_read = false;
    if (r == 1)
        return NET_IO_OK;
    int code = SSL_get_error(conn->ssl, r);
    conn->write_needs_read = code == SSL_ERROR_WANT_READ;
    if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE)
        return blocked(conn, code);
    return tls_failed(conn, code, error);
}

/* Only a session that is up and sound may say goodbye. */
bool net_conn_tls_goodbye(struct net_conn *conn)
{
    if (!conn->ssl || conn->tls_broken || !SSL_is_init_finished(conn->ssl))
        return true;
    ERR_clear_error();
    int r = SSL_shutdown(conn->ssl);
    bool full = r < 0 && SSL_get_error(conn->ssl, r) == SSL_ERROR_WANT_WRITE;
    if (full)
        conn->writable = false;
    ERR_clear_error();
    return !full;
}

/* ---- the other side's certificate ----------------------------------------------------------------- */

static X509 *peer_cert(const struct net_conn *conn)
{
    return conn->ssl && SSL_is_init_finished(conn->ssl) ? SSL_get0_peer_certificate(conn->ssl) : NULL;
}

static bool equals(const ASN1_STRING *string, const char *name, bool ignore_case)
{
    size_t len = strlen(name);
    const char *data = (const char *)ASN1_STRING_get0_data(string);
    if ((size_t)ASN1_STRING_length(string) != len)
        return false;
    return ignore_case ? strncasecmp(data, name, len) == 0 && !memchr(data, 0, len)
                       : memcmp(data, name, len) == 0;
}

static bool san_has(GENERAL_NAMES *sans, const char *name)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(sans); i++) {
        const GENERAL_NAME *san = sk_GENERAL_NAME_value(sans, i);
        if (san->type == GEN_DNS && equals(san->d.dNSName, name, true))
            return true;
        if (san->type == GEN_URI && equals(san->d.uniformResourceIdentifier, name, false))
            return true;
    }
    return false;
}

static bool cn_is(X509 *cert, const char *name)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    return at >= 0 && equals(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), name, false);
}

bool net_conn_peer_has_name(const struct net_conn *conn, const char *name)
{
    X509 *cert = peer_cert(conn);
    if (!cert)
        return false;
    int critical;
    GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
    /* -1 is "no such extension"; a broken one grants nothing. */
    bool has = sans ? san_has(sans, name) || X509_check_ip_asc(cert, name, 0) == 1
                    : critical == -1 && cn_is(cert, name);
    GENERAL_NAMES_free(sans);
    return has;
}

static char *subject_text(X509 *cert)
{
    char *text;
    BIO *bio = BIO_new(BIO_s_mem());
    rk_assert(bio);
    X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253);
    long len = BIO_get_mem_data(bio, &text);
    char *copy = rk_asprintf("%.*s", (int)rk_min_u64((uint64_t)len, 512), text);
    BIO_free(bio);
    return copy;
}

const char *net_conn_peer_subject(const struct net_conn *conn)
{
    X509 *cert = peer_cert(conn);
    if (!conn->subject && cert)
        ((struct net_conn *)(uintptr_t)conn)->subject = subject_text(cert); /* a cache, on the one thread */
    return conn->subject ? conn->subject : "";
}
