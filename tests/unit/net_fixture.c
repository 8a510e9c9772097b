/* tests/unit/net_fixture.c - what the tests of lib/net share. */
#include "config.h"

#include "tests/unit/net_fixture.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_clock.h"

#define RUN_MAX_US (20 * RK_USEC_PER_SEC)

/* ---- turning the loop ------------------------------------------------------------- */

static void on_tick(struct net_timer *timer)
{
    net_timer_set(timer, net_loop_now_us(timer->loop) + 5000);
}

uint64_t run_until_start(struct net_loop *loop)
{
    (void)loop;
    return rk_clock_now_us(&rk_clock_boottime) + RUN_MAX_US;
}

/* A tick bounds the sleep, for conditions that another thread makes true. */
void run_until_turn(struct net_loop *loop, uint64_t deadline_us, const char *what)
{
    struct net_timer tick;
    net_timer_init(&tick, loop, on_tick);
    net_timer_set(&tick, rk_clock_now_us(&rk_clock_boottime) + 5000);
    assert_int_equal(net_loop_run_once(loop), 0);
    net_timer_cancel(&tick);
    if (rk_clock_now_us(&rk_clock_boottime) > deadline_us)
        fail_msg("never happened: %s", what);
}

void run_for_ms(struct net_loop *loop, uint64_t ms)
{
    uint64_t until_us = rk_clock_now_us(&rk_clock_boottime) + ms * RK_USEC_PER_MSEC;
    while (rk_clock_now_us(&rk_clock_boottime) < until_us)
        run_until_turn(loop, RK_NEVER, "");
}

/* ---- ends -------------------------------------------------------------------------- */

static void on_ready(struct net_conn *conn, void *userdata)
{
    struct end *end = userdata;
    end->ready = true;
    if (end->close_in_ready)
        net_conn_close(conn, false, "closed in ready");
}

static void on_data(struct net_conn *conn, void *userdata, struct rk_slice bytes)
{
    struct end *end = userdata;
    assert_true(end->ready && !end->closed);
    end->data_calls++;
    end->largest = bytes.len > end->largest ? bytes.len : end->largest;
    if (end->echo)
        net_conn_write(conn, bytes);
    else
        rk_buf_append_slice(&end->in, bytes);
    if (end->close_in_data)
        net_conn_close(conn, false, "closed in data");
}

static void on_drained(struct net_conn *conn, void *userdata)
{
    struct end *end = userdata;
    end->drained_calls++;
    if (end->close_in_drained)
        net_conn_close(conn, false, "closed in drained");
}

static void on_closed(struct net_conn *conn, void *userdata, const char *why)
{
    struct end *end = userdata;
    assert_false(end->closed);
    end->closed = true;
    snprintf(end->why, sizeof(end->why), "%s", why);
    /* Nothing that the owner may still call does harm here. */
    net_conn_write(conn, rk_slice_str("late"));
    net_conn_close(conn, true, "late");
    net_conn_resume(conn);
    end->conn = NULL;
}

const struct net_conn_ops end_ops = {
    .ready = on_ready, .data = on_data, .drained = on_drained, .closed = on_closed};

void end_deinit(struct end *end)
{
    rk_buf_deinit(&end->in);
}

/* ---- server ------------------------------------------------------------------------- */

static void on_accepted(void *userdata, struct net_conn *conn)
{
    struct server *server = userdata;
    assert_true(server->count < RK_ARRAY_LEN(server->ends));
    struct end *end = &server->ends[server->count++];
    end->conn = conn;
    end->echo = server->echo;
    net_conn_set_ops(conn, &end_ops, end);
    if (server->greeting)
        net_conn_write(conn, rk_slice_str(server->greeting));
}

static void on_refused(void *userdata, const char *peer, const char *why)
{
    struct server *server = userdata;
    server->refused++;
    snprintf(server->refused_why, sizeof(server->refused_why), "%s", why);
    snprintf(server->refused_peer, sizeof(server->refused_peer), "%s", peer);
}

void server_init_on(struct server *server, struct net_loop *loop, struct net_listen_set set,
                    struct net_tls *tls)
{
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    *server = (struct server){.loop = loop, .set = set};
    net_address_text(&set.addresses[0], server->address, sizeof(server->address));
    const char *colon = strrchr(server->address, ':');
    server->port = colon ? (uint16_t)atoi(colon + 1) : 0;
    assert_int_equal(net_listener_new(loop, &server->set, tls, on_accepted, server, &server->listener), 0);
    net_listener_on_refused(server->listener, on_refused);
}

void server_init(struct server *server, struct net_loop *loop, struct net_tls *tls)
{
    struct net_listen_set set;
    char *error = NULL;
    if (net_listen_tcp("127.0.0.1:0", &set, &error) < 0)
        fail_msg("%s", error);
    server_init_on(server, loop, set, tls);
}

static bool all_closed(const struct server *server)
{
    for (unsigned i = 0; i < server->count; i++)
        if (!server->ends[i].closed)
            return false;
    return true;
}

void server_stop(struct server *server)
{
    net_listener_free(server->listener);
    for (unsigned i = 0; i < server->count; i++)
        if (server->ends[i].conn)
            net_conn_close(server->ends[i].conn, false, "stop");
    RUN_UNTIL(server->loop, all_closed(server));
    for (unsigned i = 0; i < server->count; i++)
        end_deinit(&server->ends[i]);
    net_listen_set_deinit(&server->set);
}

struct net_tls *tls_of(const struct net_certs *certs, enum net_tls_role role, const char *name,
                       const char *ca)
{
    char cert[NET_CERTS_PATH_MAX], key[NET_CERTS_PATH_MAX], ca_file[NET_CERTS_PATH_MAX];
    snprintf(cert, sizeof(cert), "%s/%s.pem", certs->dir, name);
    snprintf(key, sizeof(key), "%s/%s.key", certs->dir, name);
    snprintf(ca_file, sizeof(ca_file), "%s/%s.pem", certs->dir, ca ? ca : "");
    const struct net_tls_config config = {
        .role = role, .cert_file = cert, .key_file = key, .ca_file = ca ? ca_file : NULL};
    struct net_tls *tls = NULL;
    char *error = NULL;
    if (net_tls_new(&config, &tls, &error) < 0)
        fail_msg("%s", error);
    return tls;
}

/* ---- the foreign client ---------------------------------------------------------------- */

int tcp_client(uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval limit = {.tv_sec = 15};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rk_assert(fd >= 0 && connect(fd, (const struct sockaddr *)&in, sizeof(in)) == 0);
    rk_assert(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
    return fd;
}

static SSL_CTX *foreign_ctx(const struct foreign *foreign)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    rk_assert(ctx);
    if (foreign->ca)
        rk_assert(SSL_CTX_load_verify_locations(ctx, foreign->ca, NULL) == 1);
    if (foreign->cert)
        rk_assert(SSL_CTX_use_certificate_file(ctx, foreign->cert, SSL_FILETYPE_PEM) == 1 &&
                  SSL_CTX_use_PrivateKey_file(ctx, foreign->key, SSL_FILETYPE_PEM) == 1);
    if (foreign->max_version)
        SSL_CTX_set_max_proto_version(ctx, foreign->max_version);
    if (foreign->ciphers)
        rk_assert(SSL_CTX_set_cipher_list(ctx, foreign->ciphers) == 1);
    if (foreign->alpn)
        SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)foreign->alpn, (unsigned)strlen(foreign->alpn));
    return ctx;
}

static void foreign_note(struct foreign *foreign, SSL *ssl)
{
    const unsigned char *alpn;
    unsigned len;
    SSL_get0_alpn_selected(ssl, &alpn, &len);
    snprintf(foreign->alpn_got, sizeof(foreign->alpn_got), "%.*s", (int)len, (const char *)alpn);
    snprintf(foreign->cipher, sizeof(foreign->cipher), "%s", SSL_get_cipher_name(ssl));
    X509 *cert = SSL_get0_peer_certificate(ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, foreign->server_cn,
                              sizeof(foreign->server_cn));
}

static void *foreign_thread(void *userdata)
{
    struct foreign *foreign = userdata;
    SSL_CTX *ctx = foreign_ctx(foreign);
    SSL *ssl = SSL_new(ctx);
    int fd = tcp_client(foreign->port);
    ERR_clear_error();
    SSL_set_fd(ssl, fd);
    foreign->connected = SSL_connect(ssl) == 1;
    if (foreign->connected) {
        foreign_note(foreign, ssl);
        /* In TLS 1.3 the server judges our certificate after we are done: only a read shows it. */
        int n = SSL_read(ssl, foreign->got, sizeof(foreign->got) - 1);
        foreign->finished = n > 0;
    }
    unsigned long e = ERR_peek_error();
    snprintf(foreign->error, sizeof(foreign->error), "%s", e ? ERR_reason_error_string(e) : "");
    if (foreign->finished)
        SSL_shutdown(ssl);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    atomic_store(&foreign->done, true);
    return NULL;
}

void foreign_start(struct foreign *foreign)
{
    rk_assert(pthread_create(&foreign->thread, NULL, foreign_thread, foreign) == 0);
}

void foreign_join(struct foreign *foreign)
{
    rk_assert(pthread_join(foreign->thread, NULL) == 0);
}
