/* tests/unit/peer_fixture.c - hosts of a cluster in one process. */
#include "config.h"

#include "tests/unit/peer_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/rk_assert.h"

#define MAIL_BASE 100u
#define MAIL_STOP 1u

struct net_certs peer_certs;

void sleep_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* n1: by host of the address (none here) and URI; n2: by the member's name; bad: of the CA, but nobody's. */
int peer_certs_init(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    rk_log_set_level(RK_LOG_ERROR);
    net_certs_init(&peer_certs);
    net_certs_ca(&peer_certs, "ca");
    net_certs_ca(&peer_certs, "otherca");
    const struct net_certs_leaf n1 = {.cn = "x", .san = "IP:127.0.0.1,URI:raftkv:member:n1"};
    const struct net_certs_leaf n2 = {.cn = "x", .san = "IP:127.0.0.1,DNS:n2"};
    const struct net_certs_leaf n3 = {.cn = "x", .san = "IP:127.0.0.1,DNS:n3"};
    const struct net_certs_leaf bad = {.cn = "n1", .san = "DNS:n99,URI:raftkv:member:n98"};
    net_certs_leaf(&peer_certs, "ca", "n1", &n1);
    net_certs_leaf(&peer_certs, "ca", "n2", &n2);
    net_certs_leaf(&peer_certs, "ca", "n3", &n3);
    net_certs_leaf(&peer_certs, "ca", "bad", &bad);
    return 0;
}

int peer_certs_deinit(void **state)
{
    (void)state;
    net_certs_deinit(&peer_certs);
    return 0;
}

static struct net_tls *make_tls(enum net_tls_role role, const char *name)
{
    char cert[NET_CERTS_PATH_MAX], key[NET_CERTS_PATH_MAX], ca[NET_CERTS_PATH_MAX];
    snprintf(cert, sizeof(cert), "%s/%s.pem", peer_certs.dir, name);
    snprintf(key, sizeof(key), "%s/%s.key", peer_certs.dir, name);
    snprintf(ca, sizeof(ca), "%s/ca.pem", peer_certs.dir);
    const struct net_tls_config config = {.role = role, .cert_file = cert, .key_file = key, .ca_file = ca};
    struct net_tls *tls = NULL;
    char *error = NULL;
    if (net_tls_new(&config, &tls, &error) < 0)
        fail_msg("%s", error);
    return tls;
}

/* ---- the node ------------------------------------------------------------------------- */

static void lock(struct host *host)
{
    rk_assert(pthread_mutex_lock(&host->mutex) == 0);
}

static void unlock(struct host *host)
{
    rk_assert(pthread_mutex_unlock(&host->mutex) == 0);
}

static bool inlet_receive(void *userdata, struct rk_list *messages, size_t count)
{
    struct host *host = userdata;
    size_t n = 0;
    RK_LIST_FOR_EACH (it, messages)
        n++;
    rk_assert(n == count && n > 0);
    lock(host);
    bool refuse = host->refuse;
    if (!refuse) {
        rk_list_splice_back(&host->received, messages);
        host->received_count += count;
        host->receive_calls++;
    }
    unlock(host);
    return !refuse;
}

static struct host_link *find_link(struct host *host, uint64_t peer)
{
    for (size_t i = 0; i < RK_ARRAY_LEN(host->links); i++)
        if (host->links[i].peer == peer || host->links[i].peer == 0)
            return &host->links[i];
    rk_assert(false);
    return NULL;
}

static void inlet_link_state(void *userdata, uint64_t peer, enum node_link_state state, const char *why)
{
    struct host *host = userdata;
    lock(host);
    struct host_link *link = find_link(host, peer);
    rk_assert(link->state != state); /* told once */
    link->peer = peer;
    link->state = state;
    link->told++;
    snprintf(link->why, sizeof(link->why), "%s", why);
    unlock(host);
}

static void inlet_offer(void *userdata, struct node_offer *offer)
{
    struct host *host = userdata;
    lock(host);
    host->offers++;
    offer->accepted = !host->refuse_offers;
    offer->stream_id = host->offers;
    unlock(host);
    offer->mail.kind = offer->reply_kind;
    rk_assert(rk_mailbox_push_always(offer->reply_to, &offer->mail));
}

static void give_back(struct node_chunk *chunk, int result)
{
    chunk->result = result;
    rk_buf_clear(&chunk->bytes);
    chunk->mail.kind = chunk->reply_kind;
    if (!rk_mailbox_push_always(chunk->reply_to, &chunk->mail)) {
        rk_buf_deinit(&chunk->bytes);
        free(chunk);
    }
}

static void inlet_chunk(void *userdata, struct node_chunk *chunk)
{
    struct host *host = userdata;
    lock(host);
    if (chunk->abort) {
        host->aborts++;
    } else {
        rk_list_push_back(&host->chunks, &chunk->mail.link);
        host->chunk_count++;
        if (host->chunk_count > host->chunk_count_max)
            host->chunk_count_max = host->chunk_count;
    }
    unlock(host);
    if (chunk->abort)
        give_back(chunk, -ECANCELED);
}

static void inlet_sent(void *userdata, uint64_t peer RK_UNUSED, uint32_t group RK_UNUSED, bool ok,
                       uint64_t index RK_UNUSED)
{
    struct host *host = userdata;
    lock(host);
    if (ok)
        host->sent_ok++;
    else
        host->sent_failed++;
    unlock(host);
}

bool host_release_chunk(struct host *host, int result)
{
    lock(host);
    struct rk_list *link = rk_list_pop_front(&host->chunks);
    if (link)
        host->chunk_count--;
    unlock(host);
    if (!link)
        return false;
    give_back(RK_LIST_ITEM(link, struct node_chunk, mail.link), result);
    return true;
}

/* ---- threads ----------------------------------------------------------------------------- */

static void on_mail(void *userdata, struct rk_mail *mail)
{
    struct host_worker *worker = userdata;
    if (peer_net_on_mail(worker->host->net, worker->index, mail))
        return;
    rk_assert(mail->kind == MAIL_STOP);
    net_listener_free(worker->listener);
    peer_net_shutdown_loop(worker->host->net, worker->index);
    net_loop_stop(worker->loop);
}

static void on_accepted(void *userdata, struct net_conn *conn)
{
    struct host_worker *worker = userdata;
    peer_net_accept(worker->host->net, worker->index, conn);
}

static void *run(void *userdata)
{
    struct host_worker *worker = userdata;
    rk_assert(net_loop_run(worker->loop) == 0);
    return NULL;
}

static void start_worker(struct host *host, size_t i)
{
    struct host_worker *worker = &host->workers[i];
    worker->host = host;
    worker->index = i;
    worker->loop = host->loops[i];
    worker->stop.kind = MAIL_STOP;
    net_loop_on_mail(worker->loop, on_mail, worker);
    rk_assert(net_listener_new(worker->loop, &host->set, host->tls_server, on_accepted, worker,
                               &worker->listener) == 0);
    rk_assert(pthread_create(&worker->thread, NULL, run, worker) == 0);
}

static void make_net(struct host *host, const struct host_options *options)
{
    static const uint32_t open_kinds[] = {3, 7};
    static const struct peer_timing normal = {.hello_ms = 10000,
                                              .keepalive_ms = 5000,
                                              .silence_ms = 30000,
                                              .backoff_min_ms = 5,
                                              .backoff_max_ms = 100,
                                              .oneshot_ms = 10000,
                                              .upload_stall_ms = 60000};
    struct peer_timing timing = normal;
    const struct peer_config config = {.loops = host->loops,
                                       .loop_count = LOOPS,
                                       .mail_kind_base = MAIL_BASE,
                                       .tls_client = host->tls_client,
                                       .connect_timeout_ms = 5000,
                                       .upload_bytes_per_s = options ? options->upload_bytes_per_s : 0,
                                       .open_call_kinds = open_kinds,
                                       .open_call_kind_count = RK_ARRAY_LEN(open_kinds),
                                       .inlet = {.userdata = host,
                                                 .receive = inlet_receive,
                                                 .link_state = inlet_link_state,
                                                 .snapshot_offer = inlet_offer,
                                                 .snapshot_chunk = inlet_chunk,
                                                 .snapshot_sent = inlet_sent}};
    if (options && options->short_silence) {
        timing.hello_ms = timing.silence_ms = 300;
        timing.keepalive_ms = 50;
    }
    if (options && options->short_stall)
        timing.upload_stall_ms = 300;
    rk_assert(peer_net_new(&config, &host->net) == 0);
    peer_net_set_timing(host->net, &timing);
    host->transport = peer_net_transport(host->net);
}

void host_init(struct host *host, uint64_t id, const struct host_options *options)
{
    char text[64], own[16], *error = NULL;
    const char *cert = options && options->cert ? options->cert : own;
    memset(host, 0, sizeof(*host));
    snprintf(own, sizeof(own), "n%u", (unsigned)id);
    rk_list_init(&host->received);
    rk_list_init(&host->chunks);
    rk_assert(pthread_mutex_init(&host->mutex, NULL) == 0);
    host->id = id;
    host->directory = (struct node_directory){.cluster_id = CLUSTER, .self_id = id, .incarnation = 1};
    snprintf(host->directory.self_name, sizeof(host->directory.self_name), "%s", own);
    host->tls_server = make_tls(NET_TLS_PEER_SERVER, cert);
    host->tls_client = options && options->no_tls_client ? NULL : make_tls(NET_TLS_PEER_CLIENT, cert);
    snprintf(text, sizeof(text), "127.0.0.1:%u", options ? options->port : 0);
    if (net_listen_tcp(text, &host->set, &error) < 0)
        fail_msg("%s", error);
    net_address_text(&host->set.addresses[0], host->address, sizeof(host->address));
    for (size_t i = 0; i < LOOPS; i++)
        rk_assert(net_loop_new(&host->loops[i]) == 0);
    make_net(host, options);
    for (size_t i = 0; i < LOOPS; i++)
        start_worker(host, i);
}

void host_deinit(struct host *host)
{
    struct rk_list *link;
    for (size_t i = 0; i < LOOPS; i++)
        rk_mailbox_push_always(net_loop_mailbox(host->loops[i]), &host->workers[i].stop);
    for (size_t i = 0; i < LOOPS; i++)
        rk_assert(pthread_join(host->workers[i].thread, NULL) == 0);
    while (host_release_chunk(host, -ECANCELED))
        ;
    for (size_t i = 0; i < LOOPS; i++)
        net_loop_free(host->loops[i]);
    peer_net_free(host->net);
    net_listen_set_deinit(&host->set);
    net_tls_unref(host->tls_server);
    net_tls_unref(host->tls_client);
    while ((link = rk_list_pop_front(&host->received)))
        node_message_free(RK_LIST_ITEM(link, struct node_message, mail.link));
    pthread_mutex_destroy(&host->mutex);
}

/* ---- what tests do and see ------------------------------------------------------------------ */

uint16_t host_port(const struct host *host)
{
    return (uint16_t)strtoul(strrchr(host->address, ':') + 1, NULL, 10);
}

void host_add(struct host *host, const struct host *other)
{
    struct node_peer *peer = &host->directory.peers[host->directory.peer_count++];
    peer->id = other->id;
    snprintf(peer->name, sizeof(peer->name), "n%u", (unsigned)other->id);
    snprintf(peer->address, sizeof(peer->address), "%s", other->address);
}

void host_drop(struct host *host, uint64_t id)
{
    for (uint32_t i = 0; i < host->directory.peer_count; i++)
        if (host->directory.peers[i].id == id)
            host->directory.peers[i] = host->directory.peers[--host->directory.peer_count];
}

/* A call to nobody, which the loop answers when it has taken all that was sent before. */
static void sync_loop(struct host *host, size_t loop)
{
    uint64_t nobody = 1000;
    while (peer_loop_of(host->net, nobody)->index != loop)
        nobody++;
    host_send(host, new_call(nobody, nobody, 1, NULL));
    struct node_message *reply = host_take(host);
    assert_true(reply->peer == nobody && reply->outcome == NODE_OUTCOME_UNREACHABLE);
    node_message_free(reply);
}

void host_announce(struct host *host)
{
    host->transport.set_directory(host->transport.userdata, &host->directory);
    for (size_t i = 0; i < LOOPS; i++)
        sync_loop(host, i);
}

void hosts_join(struct host *a, struct host *b)
{
    host_add(a, b);
    host_add(b, a);
    host_announce(a);
    host_announce(b);
    UNTIL(host_link_state(a, b->id) == NODE_LINK_UP && host_link_state(b, a->id) == NODE_LINK_UP);
}

enum node_link_state host_link_state(struct host *host, uint64_t peer)
{
    lock(host);
    enum node_link_state state = find_link(host, peer)->state;
    unlock(host);
    return state;
}

unsigned host_link_told(struct host *host, uint64_t peer)
{
    lock(host);
    unsigned told = find_link(host, peer)->told;
    unlock(host);
    return told;
}

bool host_link_why(struct host *host, uint64_t peer, const char *part)
{
    lock(host);
    bool has = strstr(find_link(host, peer)->why, part) != NULL;
    if (!has)
        fprintf(stderr, "why: %s\n", find_link(host, peer)->why);
    unlock(host);
    return has;
}

size_t host_received(struct host *host)
{
    lock(host);
    size_t count = host->received_count;
    unlock(host);
    return count;
}

size_t host_held(struct host *host)
{
    lock(host);
    size_t count = host->chunk_count;
    unlock(host);
    return count;
}

struct node_message *host_take(struct host *host)
{
    UNTIL(host_received(host) > 0);
    lock(host);
    struct rk_list *link = rk_list_pop_front(&host->received);
    host->received_count--;
    unlock(host);
    return RK_LIST_ITEM(link, struct node_message, mail.link);
}

void host_send(struct host *host, struct node_message *message)
{
    struct rk_list one;
    rk_list_init(&one);
    rk_list_push_back(&one, &message->mail.link);
    host->transport.send(host->transport.userdata, &one);
    rk_assert(rk_list_empty(&one));
}

struct node_message *new_call(uint64_t peer, uint64_t id, uint32_t kind, const char *body)
{
    struct node_message *call = node_message_new(NODE_MSG_CALL, peer, 0);
    call->id = id;
    call->call_kind = kind;
    call->body = body ? rk_blob_copy(rk_slice_str(body)) : NULL;
    return call;
}

struct node_message *new_reply(const struct node_message *call, const char *body)
{
    struct node_message *reply = node_message_new(NODE_MSG_REPLY, call->peer, call->group);
    reply->id = call->id;
    reply->token = call->token;
    reply->call_kind = call->call_kind;
    reply->body = rk_blob_copy(rk_slice_str(body));
    return reply;
}

bool body_has(const struct node_message *message, const char *part)
{
    struct rk_slice body = rk_blob_slice(message->body);
    bool has = body.len > 0 && memmem(body.data, body.len, part, strlen(part)) != NULL;
    if (!has)
        fprintf(stderr, "body: %.*s\n", (int)body.len, (const char *)body.data);
    return has;
}

/* ---- a source of snapshots --------------------------------------------------------------------- */

static void free_stream(struct source *source, struct node_stream *stream)
{
    atomic_fetch_sub(&source->open, 1);
    node_stream_free(stream);
}

/* As a node does it: a cancelled stream is freed here, every other goes back. stream->source counts the
 * chunks. */
static void serve(struct source *source, struct node_stream *stream)
{
    size_t count = (uintptr_t)stream->source + 1, begin = (count - 1) * source->chunk;
    rk_buf_clear(&stream->chunk);
    if (stream->cancel) {
        free_stream(source, stream);
        return;
    }
    size_t len = rk_min_u64(source->chunk, source->total - begin);
    memset(rk_buf_reserve(&stream->chunk, len), (int)count, len);
    rk_buf_commit(&stream->chunk, len);
    atomic_fetch_add(&source->produced, len);
    stream->source = (void *)count;
    stream->done = begin + len == source->total;
    if ((int)count == source->fail_at_chunk)
        stream->error = -EIO;
    if (stream->done || stream->error != 0)
        atomic_fetch_sub(&source->open, 1); /* the consumer frees it */
    stream->mail.kind = stream->reply_kind;
    rk_assert(rk_mailbox_push_always(stream->reply_to, &stream->mail));
}

static void *source_thread(void *userdata)
{
    struct source *source = userdata;
    for (;;) {
        struct rk_list mails, *link;
        rk_list_init(&mails);
        rk_mailbox_wait(&source->box, RK_NEVER);
        rk_mailbox_take(&source->box, &mails);
        while ((link = rk_list_pop_front(&mails))) {
            struct rk_mail *mail = RK_LIST_ITEM(link, struct rk_mail, link);
            if (mail == &source->stop)
                return NULL;
            serve(source, RK_CONTAINER_OF(mail, struct node_stream, mail));
        }
    }
}

void source_init(struct source *source, size_t total, size_t chunk)
{
    memset(source, 0, sizeof(*source));
    source->total = total;
    source->chunk = chunk;
    rk_assert(rk_mailbox_init(&source->box, 100) == 0);
    rk_assert(pthread_create(&source->thread, NULL, source_thread, source) == 0);
}

void source_deinit(struct source *source)
{
    UNTIL(atomic_load(&source->open) == 0);
    rk_mailbox_push_always(&source->box, &source->stop);
    rk_assert(pthread_join(source->thread, NULL) == 0);
    rk_mailbox_deinit(&source->box);
}

struct node_stream *source_open(struct source *source, uint64_t peer, uint64_t index)
{
    struct node_stream *stream = RK_NEW(struct node_stream);
    stream->peer = peer;
    stream->index = index;
    stream->term = 3;
    stream->source_box = &source->box;
    stream->source_kind = 1;
    atomic_fetch_add(&source->open, 1);
    return stream;
}

/* ---- a client that may say anything ---------------------------------------------------------------- */

static void raw_ready(struct net_conn *conn RK_UNUSED, void *userdata)
{
    ((struct raw *)userdata)->ready = true;
}

static void raw_data(struct net_conn *conn RK_UNUSED, void *userdata, struct rk_slice bytes)
{
    rk_buf_append_slice(&((struct raw *)userdata)->in, bytes);
}

static void raw_closed(struct net_conn *conn RK_UNUSED, void *userdata, const char *why)
{
    struct raw *raw = userdata;
    raw->conn = NULL;
    raw->closed = true;
    snprintf(raw->why, sizeof(raw->why), "%s", why);
}

static const struct net_conn_ops raw_ops = {.ready = raw_ready, .data = raw_data, .closed = raw_closed};

static void raw_tick(struct net_timer *timer RK_UNUSED)
{
}

void raw_turn(struct raw *raw)
{
    struct net_timer tick;
    net_timer_init(&tick, raw->loop, raw_tick);
    net_timer_set(&tick, rk_clock_now_us(&rk_clock_boottime) + 2000);
    rk_assert(net_loop_run_once(raw->loop) == 0);
    net_timer_cancel(&tick);
}

void raw_init(struct raw *raw, const struct host *to, struct net_tls *tls)
{
    memset(raw, 0, sizeof(*raw));
    rk_assert(net_loop_new(&raw->loop) == 0);
    raw->conn = net_conn_connect(raw->loop, NULL, to->address, tls, 5000, &raw_ops, raw);
    RAW_UNTIL(raw, raw->ready || raw->closed);
}

void raw_deinit(struct raw *raw)
{
    if (raw->conn)
        net_conn_close(raw->conn, false, "");
    net_loop_free(raw->loop);
    rk_buf_deinit(&raw->in);
}

void raw_hello(struct raw *raw, const struct peer_hello *hello)
{
    struct rk_buf buf = {0};
    peer_hello_encode(&buf, hello);
    net_conn_write(raw->conn, rk_buf_slice(&buf));
    rk_buf_deinit(&buf);
}

struct peer_welcome raw_welcome(struct raw *raw)
{
    struct peer_frame frame;
    struct peer_welcome welcome;
    RAW_UNTIL(raw, peer_frame_split(rk_buf_slice(&raw->in), PEER_HELLO_BYTES_MAX, &frame) == 0);
    assert_int_equal(frame.type, PEER_FRAME_WELCOME);
    assert_int_equal(peer_welcome_decode(frame.body, &welcome), 0);
    rk_buf_consume(&raw->in, frame.bytes);
    return welcome;
}
