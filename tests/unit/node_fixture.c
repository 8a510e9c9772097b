/* tests/unit/node_fixture.c - see node_fixture.h. */
#include "tests/unit/node_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/base/rk_log.h"

char last_text[NODE_TEXT_BYTES];

enum mail_kind { MAIL_CALL = 1, MAIL_START, MAIL_STREAM, MAIL_OFFER, MAIL_CHUNK, MAIL_STOP };

uint64_t now_us(void)
{
    return rk_clock_now_us(&rk_clock_boottime);
}

void nap_ms(unsigned ms)
{
    struct timespec nap = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};

    nanosleep(&nap, NULL);
}

/* ---- messages ------------------------------------------------------------------------------ */

static struct rk_blob *copy_blob(const struct rk_blob *blob)
{
    return blob && blob->len > 0 ? rk_blob_copy(rk_blob_slice(blob)) : NULL;
}

static struct node_message *copy_message(const struct node_message *m, uint64_t from)
{
    struct node_message *copy = node_message_new(m->kind, from, m->group);

    copy->token = m->token;
    copy->raft = m->raft;
    copy->raft.entries = NULL;
    copy->id = m->id;
    copy->call_kind = m->call_kind;
    copy->outcome = m->outcome;
    copy->body = copy_blob(m->body);
    if (!m->entries)
        return copy;
    node_message_alloc_entries(copy, m->raft.count);
    for (uint32_t i = 0; i < m->raft.count; i++) {
        copy->entries[i] = m->entries[i];
        copy->entries[i].members = NULL;
        copy->payloads[i] = copy_blob(m->payloads[i]);
    }
    return copy;
}

static void deliver(struct host *to, struct node_message *message)
{
    struct rk_list list;

    rk_list_init(&list);
    rk_list_push_back(&list, &message->mail.link);
    if (!to->running || !to->inlet.receive(to->inlet.userdata, &list, 1))
        node_message_free(message);
}

static struct host *by_id(struct world *world, uint64_t cluster, uint64_t id)
{
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        if (world->hosts[i].running && world->hosts[i].directory.self_id == id &&
            world->hosts[i].directory.cluster_id == cluster)
            return &world->hosts[i];
    return NULL;
}

static bool lists(const struct node_directory *directory, uint64_t id)
{
    for (uint32_t i = 0; i < directory->peer_count; i++)
        if (directory->peers[i].id == id)
            return true;
    return false;
}

static bool buried(const struct node_directory *directory, uint64_t id)
{
    for (uint32_t i = 0; i < directory->removed_count; i++)
        if (directory->removed[i] == id)
            return true;
    return false;
}

/* The other end of a link, when messages pass. */
static struct host *other_end(struct host *from, uint64_t peer)
{
    struct host *to = by_id(from->world, from->directory.cluster_id, peer);

    if (!to || from->world->cut[from->number][to->number] || !lists(&from->directory, peer))
        return NULL;
    if (lists(&to->directory, from->directory.self_id))
        return to;
    if (buried(&to->directory, from->directory.self_id))
        from->inlet.link_state(from->inlet.userdata, peer, NODE_LINK_REMOVED, "removed");
    return NULL;
}

static void unreachable(struct host *caller, const struct node_message *lost, const char *why)
{
    struct node_message *reply = node_message_new(NODE_MSG_REPLY, lost->peer, lost->group);

    reply->id = lost->id;
    reply->outcome = NODE_OUTCOME_UNREACHABLE;
    reply->body = rk_blob_copy(rk_slice_str(why));
    deliver(caller, reply);
}

static unsigned dice(struct world *world)
{
    world->random = world->random * 1664525u + 1013904223u;
    return (world->random >> 16) % 100;
}

static void send_one(struct host *from, const struct node_message *m)
{
    struct world *world = from->world;
    struct host *to = other_end(from, m->peer);
    struct node_message *copy;

    if (m->kind == NODE_MSG_CALL && world->hold_calls)
        return;
    if (!to) {
        if (m->kind == NODE_MSG_CALL)
            unreachable(from, m, "no link");
        return;
    }
    if (m->kind == NODE_MSG_RAFT && dice(world) < world->loss_percent)
        return;
    copy = copy_message(m, from->directory.self_id);
    if (m->kind == NODE_MSG_RAFT && world->spoil && !world->spoil(copy))
        node_message_free(copy);
    else
        deliver(to, copy);
}

/* ---- one-shot calls ---------------------------------------------------------------------------- */

struct oneshot {
    struct host *caller;
    uint64_t id;
};

static void answer_oneshot(struct host *from, const struct node_message *m)
{
    struct world *world = from->world;
    struct oneshot *oneshot = rk_map_remove(&world->tokens, m->token);
    struct node_message *copy;

    if (!oneshot)
        return;
    assert_int_equal(m->id, oneshot->id);
    copy = copy_message(m, 0);
    deliver(oneshot->caller, copy);
    free(oneshot);
}

static void send_list(void *userdata, struct rk_list *messages)
{
    struct host *host = userdata;
    struct rk_list *it;

    pthread_mutex_lock(&host->world->mutex);
    while ((it = rk_list_pop_front(messages))) {
        struct node_message *m = RK_LIST_ITEM(it, struct node_message, mail.link);

        if (m->peer == 0)
            answer_oneshot(host, m);
        else
            send_one(host, m);
        node_message_free(m);
    }
    pthread_mutex_unlock(&host->world->mutex);
}

static void call_address(void *userdata, const char *address, struct node_message *m)
{
    struct host *caller = userdata, *to = NULL;
    struct world *world = caller->world;

    pthread_mutex_lock(&world->mutex);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        if (strcmp(world->hosts[i].address, address) == 0 && world->hosts[i].running &&
            !world->cut[caller->number][i])
            to = &world->hosts[i];
    if (to) {
        struct oneshot *oneshot = RK_NEW(struct oneshot);
        struct node_message *copy = copy_message(m, 0);

        *oneshot = (struct oneshot){.caller = caller, .id = m->id};
        copy->token = ++world->next_token;
        rk_map_put(&world->tokens, copy->token, oneshot);
        deliver(to, copy);
    } else {
        unreachable(caller, m,
                    "nobody\x01 answers there"); /* a control character, as no sentence should hold */
    }
    pthread_mutex_unlock(&world->mutex);
    node_message_free(m);
}

static void set_directory(void *userdata, const struct node_directory *directory)
{
    struct host *host = userdata;

    pthread_mutex_lock(&host->world->mutex);
    host->directory = *directory;
    pthread_mutex_unlock(&host->world->mutex);
}

static void tell_down(struct host *host, struct host *peer)
{
    if (host->running && peer->directory.self_id != 0)
        host->inlet.link_state(host->inlet.userdata, peer->directory.self_id, NODE_LINK_DOWN, "cut");
}

/* Under the mutex. */
static void cut_link(struct world *world, size_t a, size_t b, bool cut)
{
    world->cut[a][b] = world->cut[b][a] = cut;
    if (cut) {
        tell_down(&world->hosts[a], &world->hosts[b]);
        tell_down(&world->hosts[b], &world->hosts[a]);
    }
}

/* ---- snapshots ------------------------------------------------------------------------------------ */

struct upload {
    struct host *from, *to; /* to: NULL when there is no way */
    struct node_stream *stream;
    uint64_t stream_id;
};

static void send_snapshot(void *userdata, struct node_stream *stream)
{
    struct host *host = userdata;
    struct upload *upload = RK_NEW(struct upload);

    upload->from = host;
    upload->stream = stream;
    stream->userdata = upload;
    stream->reply_to = &host->world->box;
    stream->reply_kind = MAIL_STREAM;
    stream->mail.kind = MAIL_START;
    pthread_mutex_lock(&host->world->mutex);
    host->uploads++;
    pthread_mutex_unlock(&host->world->mutex);
    rk_mailbox_push_always(&host->world->box, &stream->mail);
}

/* The stream is with us. Under the mutex. */
static void end_upload(struct upload *upload, bool ok)
{
    struct node_stream *stream = upload->stream;
    struct host *from = upload->from;

    if (from->running)
        from->inlet.snapshot_sent(from->inlet.userdata, stream->peer, stream->group, ok, stream->index);
    if (stream->done || stream->error != 0) {
        node_stream_free(stream);
    } else {
        stream->cancel = true;
        node_stream_next(stream);
    }
    from->uploads--;
    free(upload);
}

static bool way_is_open(struct upload *upload)
{
    struct host *from = upload->from;

    upload->to = from->running ? other_end(from, upload->stream->peer) : NULL;
    return upload->to != NULL;
}

static void begin_upload(struct upload *upload)
{
    struct node_stream *stream = upload->stream;
    struct node_offer *offer;

    if (upload->from->world->hold_snapshots) {
        assert_null(upload->from->world->held);
        upload->from->world->held = upload;
        return;
    }
    if (!way_is_open(upload) || upload->from->world->no_snapshots) {
        upload->from->world->refused_offers++;
        end_upload(upload, false);
        return;
    }
    offer = RK_NEW(struct node_offer);
    *offer = (struct node_offer){.reply_to = &upload->from->world->box,
                                 .reply_kind = MAIL_OFFER,
                                 .userdata = upload,
                                 .peer = upload->from->directory.self_id,
                                 .group = stream->group,
                                 .term = stream->term,
                                 .index = stream->index};
    upload->to->inlet.snapshot_offer(upload->to->inlet.userdata, offer);
}

void world_await_held(struct world *world)
{
    bool held = false;

    for (uint64_t until = now_us() + WAIT_US; !held; nap_ms(5)) {
        assert_true(now_us() < until);
        pthread_mutex_lock(&world->mutex);
        held = world->held != NULL;
        pthread_mutex_unlock(&world->mutex);
    }
}

void world_release(struct world *world)
{
    struct upload *upload;

    pthread_mutex_lock(&world->mutex);
    upload = world->held;
    world->hold_snapshots = false;
    world->held = NULL;
    pthread_mutex_unlock(&world->mutex);
    rk_mailbox_push_always(&world->box, &upload->stream->mail);
}

static void on_offer(struct node_offer *offer)
{
    struct upload *upload = offer->userdata;

    upload->stream_id = offer->stream_id;
    if (offer->accepted)
        node_stream_next(upload->stream);
    else
        end_upload(upload, false);
    free(offer);
}

static void on_stream(struct node_stream *stream)
{
    struct upload *upload = stream->userdata;
    struct host *to = upload->to;
    bool open = way_is_open(upload) && stream->error == 0 && upload->to == to;
    struct node_chunk *chunk;

    if (!to->running) {
        end_upload(upload, false);
        return;
    }
    if (to->world->cut_at_chunk > 0 && --to->world->cut_at_chunk == 0) {
        cut_link(to->world, to->number, upload->from->number, true);
        open = false;
    }
    chunk = RK_NEW(struct node_chunk);
    chunk->reply_to = &upload->from->world->box;
    chunk->reply_kind = MAIL_CHUNK;
    chunk->userdata = open ? upload : NULL;
    chunk->stream_id = upload->stream_id;
    chunk->last = stream->done;
    chunk->abort = !open;
    if (open)
        rk_buf_append_slice(&chunk->bytes, rk_buf_slice(&stream->chunk));
    if (!open)
        end_upload(upload, false);
    to->inlet.snapshot_chunk(to->inlet.userdata, chunk);
}

static void on_chunk(struct node_chunk *chunk)
{
    struct upload *upload = chunk->userdata;

    if (upload && chunk->result == 0 && !upload->stream->done && upload->from->running) {
        node_stream_next(upload->stream);
    } else if (upload) {
        if (chunk->result == 1)
            upload->to->snapshots_in++;
        end_upload(upload, chunk->result == 1);
    }
    rk_buf_deinit(&chunk->bytes);
    free(chunk);
}

static bool move_mail(struct world *world, struct rk_mail *mail)
{
    enum mail_kind kind = (enum mail_kind)mail->kind;

    pthread_mutex_lock(&world->mutex);
    switch (kind) {
    case MAIL_START:
        begin_upload(RK_CONTAINER_OF(mail, struct node_stream, mail)->userdata);
        break;
    case MAIL_STREAM:
        on_stream(RK_CONTAINER_OF(mail, struct node_stream, mail));
        break;
    case MAIL_OFFER:
        on_offer(RK_CONTAINER_OF(mail, struct node_offer, mail));
        break;
    case MAIL_CHUNK:
        on_chunk(RK_CONTAINER_OF(mail, struct node_chunk, mail));
        break;
    case MAIL_CALL:
    case MAIL_STOP:
        break;
    }
    pthread_mutex_unlock(&world->mutex);
    return kind != MAIL_STOP;
}

static void *mover(void *userdata)
{
    struct world *world = userdata;
    struct rk_list mails, *it;
    bool go_on = true;

    rk_list_init(&mails);
    while (go_on) {
        rk_mailbox_wait(&world->box, RK_NEVER);
        rk_mailbox_take(&world->box, &mails);
        while ((it = rk_list_pop_front(&mails)))
            go_on = move_mail(world, RK_LIST_ITEM(it, struct rk_mail, link)) && go_on;
    }
    return NULL;
}

/* ---- a world ------------------------------------------------------------------------------------------ */

void world_init(struct world *world)
{
    const char *base = getenv("TMPDIR");

    rk_log_set_level(getenv("RK_TEST_LOG") ? RK_LOG_DEBUG : (enum rk_log_level)2);
    *world = (struct world){.random = 7, .stop = {.kind = MAIL_STOP}};
    rk_list_init(&world->taken);
    pthread_mutex_init(&world->mutex, NULL);
    world->path = rk_asprintf("%s/raftkv-node-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(world->path));
    for (size_t i = 0; i < WORLD_HOSTS; i++) {
        struct host *host = &world->hosts[i];

        host->world = world;
        host->number = i;
        snprintf(host->name, sizeof(host->name), "node%zu", i + 1);
        snprintf(host->address, sizeof(host->address), "node%zu:2380", i + 1);
        snprintf(host->url, sizeof(host->url), "http://node%zu:2379", i + 1);
        host->path = rk_asprintf("%s/%s", world->path, host->name);
    }
    assert_int_equal(rk_mailbox_init(&world->box, 1024), 0);
    assert_int_equal(rk_mailbox_init(&world->replies, 65536), 0);
    assert_int_equal(pthread_create(&world->thread, NULL, mover, world), 0);
}

static void remove_tree(const char *path)
{
    RK_CLEANUP(rk_freep) char *command = rk_asprintf("rm -rf '%s'", path);

    assert_int_equal(system(command), 0);
}

void world_deinit(struct world *world)
{
    struct rk_map_slot *slot;
    size_t cursor = 0;

    if (world->held)
        world_release(world); /* a test failed meanwhile: the stop of its sender waits for it */
    for (size_t i = 0; i < WORLD_HOSTS; i++) {
        host_stop(&world->hosts[i]);
        free(world->hosts[i].path);
    }
    rk_mailbox_push_always(&world->box, &world->stop);
    pthread_join(world->thread, NULL);
    while (world->answered < world->asked)
        node_call_free(take(world));
    assert_int_equal(rk_mailbox_depth(&world->replies), 0); /* none came back twice */
    assert_true(rk_list_empty(&world->taken));
    while ((slot = rk_map_next(&world->tokens, &cursor)))
        free(slot->value);
    rk_map_deinit(&world->tokens);
    rk_mailbox_deinit(&world->replies);
    rk_mailbox_deinit(&world->box);
    pthread_mutex_destroy(&world->mutex);
    for (size_t i = 0; i < world->initial_count; i++)
        free(world->initial[i]);
    remove_tree(world->path);
    free(world->path);
}

/* ---- hosts ----------------------------------------------------------------------------------------------
 */

static void on_fatal(void *userdata, const char *sentence)
{
    struct host *host = userdata;

    atomic_fetch_add(&host->failures, 1);
    assert_non_null(strstr(sentence, "this host stops"));
}

static uint64_t tuned(uint64_t value, uint64_t own)
{
    return value ? value : own;
}

static struct node_config config_of(struct host *host)
{
    struct world *world = host->world;
    const struct node_config *tune = &world->tune;

    return (struct node_config){
        .name = tune->name ? tune->name : host->name,
        .peer_address = tune->peer_address ? tune->peer_address : host->address,
        .client_url = tune->client_url ? tune->client_url : host->url,
        .machine = tune->machine ? tune->machine : "",
        .adopt_machine = tune->adopt_machine,
        .rebuild_rows = tune->rebuild_rows,
        .data_directory = host->path,
        .initial_members = world->initial,
        .initial_member_count = world->initial_count,
        .initial_cluster_name = "test",
        .election_timeout_ms = (uint32_t)tuned(tune->election_timeout_ms, 200),
        .heartbeat_ms = (uint32_t)tuned(tune->heartbeat_ms, 40),
        .log_keep_entries = (uint32_t)tuned(tune->log_keep_entries, 1000),
        .snapshot_entries = (uint32_t)tuned(tune->snapshot_entries, 10000),
        .snapshot_bytes = tuned(tune->snapshot_bytes, 64u << 20),
        .snapshot_interval_us = tuned(tune->snapshot_interval_us, 3600 * RK_USEC_PER_SEC),
        .snapshots_at_once = (uint32_t)tuned(tune->snapshots_at_once, 2),
        .log_retain_bytes = tuned(tune->log_retain_bytes, 1u << 30),
        .promote_lag_entries = (uint32_t)tuned(tune->promote_lag_entries, 100),
        .replace_timeout_ms = tuned(tune->replace_timeout_ms, 60000),
        .lease_reads = tune->lease_reads,
        .request_timeout_ms = (uint32_t)tuned(tune->request_timeout_ms, 5000),
        .log_cache_bytes = 4u << 20,
        .rows_cache_bytes = 4u << 20,
        .checkpoint_bytes = tuned(tune->checkpoint_bytes, 16u << 20),
        .clock = rk_clock_boottime,
        .fatal = on_fatal,
        .userdata = host,
    };
}

int host_open(struct world *world, size_t number, char **ret_error)
{
    struct host *host = &world->hosts[number];
    struct node_config config = config_of(host);
    char *error = NULL;
    int r = node_open(&config, &host->node, &error);

    if (r != 0)
        host->node = NULL;
    if (ret_error)
        *ret_error = error;
    else
        free(error);
    return r;
}

int host_run(struct world *world, size_t number)
{
    struct host *host = &world->hosts[number];
    struct node_transport transport = {.userdata = host,
                                       .send = send_list,
                                       .set_directory = set_directory,
                                       .call_address = call_address,
                                       .send_snapshot = send_snapshot};
    int r;

    pthread_mutex_lock(&world->mutex);
    host->inlet = node_inlet(host->node);
    host->running = true;
    pthread_mutex_unlock(&world->mutex);
    r = node_start(host->node, &transport);
    if (r != 0)
        WORLD_SET(world, hosts[number].running, false);
    return r;
}

struct host *host_start(struct world *world, size_t number)
{
    struct host *host = &world->hosts[number];
    char *error = NULL;

    if (!host->node && host_open(world, number, &error) != 0)
        fail_msg("%s", error);
    assert_int_equal(host_run(world, number), 0);
    return host;
}

static size_t uploads_of(struct host *host)
{
    size_t count;

    pthread_mutex_lock(&host->world->mutex);
    count = host->uploads;
    pthread_mutex_unlock(&host->world->mutex);
    return count;
}

void host_stop(struct host *host)
{
    if (!host->node)
        return;
    pthread_mutex_lock(&host->world->mutex);
    bool ran = host->running;
    pthread_mutex_unlock(&host->world->mutex);
    if (ran)
        node_stop(host->node, 100);
    pthread_mutex_lock(&host->world->mutex);
    host->running = false;
    pthread_mutex_unlock(&host->world->mutex);
    while (uploads_of(host) > 0)
        nap_ms(5);
    node_close(host->node);
    host->node = NULL;
}

void host_wipe(struct host *host)
{
    remove_tree(host->path);
}

struct host *world_cluster(struct world *world, size_t count)
{
    for (size_t i = 0; i < count; i++)
        world->initial[i] = rk_asprintf("%s=%s", world->hosts[i].name, world->hosts[i].address);
    world->initial_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        host_start(world, i);
    return wait_leader(world);
}

void world_cut(struct world *world, size_t a, size_t b, bool cut)
{
    pthread_mutex_lock(&world->mutex);
    cut_link(world, a, b, cut);
    pthread_mutex_unlock(&world->mutex);
}

void world_isolate(struct world *world, size_t number, bool cut)
{
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        if (i != number)
            world_cut(world, number, i, cut);
}

void host_tell_removed(struct host *host, uint64_t peer)
{
    host->inlet.link_state(host->inlet.userdata, peer, NODE_LINK_REMOVED, "removed");
}

/* ---- calls --------------------------------------------------------------------------------------------- */

struct node_call *new_call(enum node_call_kind kind, const char *body)
{
    struct node_call *made = node_call_new(kind, NULL, MAIL_CALL);

    made->body = body ? rk_blob_copy(rk_slice_str(body)) : NULL;
    return made;
}

struct node_call *new_put(struct host *host, const char *key, const char *value)
{
    struct mvcc_op op = {.kind = MVCC_OP_PUT, .key = rk_slice_str(key), .value = rk_slice_str(value)};
    struct node_call *made = new_call(NODE_CALL_WRITE, NULL);

    made->body = node_write_body(host->node, &op, 1);
    return made;
}

struct node_call *new_get(const char *key, enum node_read_level level)
{
    struct mvcc_query query = {.key = rk_slice_str(key), .limit = 1};
    struct node_call *made = new_call(NODE_CALL_READ, NULL);

    made->body = mvcc_query_encode(&query);
    made->level = level;
    return made;
}

void ask(struct host *host, struct node_call *asked)
{
    asked->reply_to = &host->world->replies;
    host->world->asked++;
    node_submit(host->node, asked);
}

struct node_call *take(struct world *world)
{
    uint64_t until = now_us() + WAIT_US;
    struct rk_list *it;

    while (rk_list_empty(&world->taken)) {
        rk_mailbox_wait(&world->replies, until);
        rk_mailbox_take(&world->replies, &world->taken);
        if (now_us() >= until)
            fail_msg("a call did not come back");
    }
    it = rk_list_pop_front(&world->taken);
    assert_int_equal(RK_LIST_ITEM(it, struct rk_mail, link)->kind, MAIL_CALL);
    world->answered++;
    return RK_CONTAINER_OF(RK_LIST_ITEM(it, struct rk_mail, link), struct node_call, mail);
}

struct node_call *call(struct host *host, struct node_call *asked)
{
    ask(host, asked);
    return take(host->world);
}

void expect(struct host *host, struct node_call *asked, enum node_outcome outcome)
{
    struct node_call *answer = call(host, asked);

    memcpy(last_text, answer->text, sizeof(last_text));
    if (answer->outcome != outcome)
        fail_msg("outcome %d, not %d: %s", (int)answer->outcome, (int)outcome, answer->text);
    node_call_free(answer);
}

void must_put(struct host *host, const char *key, const char *value)
{
    uint64_t until = now_us() + WAIT_US;

    for (;;) {
        struct node_call *answer = call(host, new_put(host, key, value));
        enum node_outcome outcome = answer->outcome;

        memcpy(last_text, answer->text, sizeof(last_text));
        node_call_free(answer);
        if (outcome == NODE_OK)
            return;
        if (now_us() > until || (outcome != NODE_E_NO_LEADER && outcome != NODE_E_TIMEOUT))
            fail_msg("put: outcome %d: %s", (int)outcome, last_text);
        nap_ms(20);
    }
}

const char *value_of(const struct node_call *answer)
{
    static char value[256];
    struct mvcc_result result;
    struct mvcc_kv kv;

    assert_int_equal(answer->outcome, NODE_OK);
    assert_int_equal(mvcc_result_decode(rk_blob_slice(answer->answer), &result), 0);
    if (mvcc_result_next(&result, &kv) != 1)
        return "";
    snprintf(value, sizeof(value), "%.*s", (int)kv.value.len, (const char *)kv.value.data);
    return value;
}

const char *must_get(struct host *host, const char *key, enum node_read_level level)
{
    uint64_t until = now_us() + WAIT_US;

    for (;;) {
        struct node_call *answer = call(host, new_get(key, level));
        enum node_outcome outcome = answer->outcome;
        const char *value = outcome == NODE_OK ? value_of(answer) : NULL;

        memcpy(last_text, answer->text, sizeof(last_text));
        node_call_free(answer);
        if (outcome == NODE_OK)
            return value;
        if (now_us() > until || (outcome != NODE_E_NO_LEADER && outcome != NODE_E_TIMEOUT))
            fail_msg("get: outcome %d: %s", (int)outcome, last_text);
        nap_ms(20);
    }
}

/* ---- looking --------------------------------------------------------------------------------------------
 */

struct node_status *status_of(struct host *host)
{
    struct node_call *answer = call(host, new_call(NODE_CALL_STATUS, NULL));
    struct node_status *status = answer->status;

    assert_int_equal(answer->outcome, NODE_OK);
    answer->status = NULL;
    node_call_free(answer);
    return status;
}

uint64_t id_of(struct host *host)
{
    struct node_status *status = status_of(host);
    uint64_t id = status->raft.id;

    free(status);
    return id;
}

static bool leads(struct host *host)
{
    struct node_status *status = status_of(host);
    bool yes = status->raft.role == RAFT_LEADER && status->raft.ready;

    free(status);
    return yes;
}

struct host *wait_other_leader(struct world *world, const struct host *old)
{
    uint64_t until = now_us() + WAIT_US;

    while (now_us() < until) {
        for (size_t i = 0; i < WORLD_HOSTS; i++)
            if (world->hosts[i].running && &world->hosts[i] != old && leads(&world->hosts[i]))
                return &world->hosts[i];
        nap_ms(10);
    }
    fail_msg("no leader");
    return NULL;
}

struct host *wait_leader(struct world *world)
{
    return wait_other_leader(world, NULL);
}

void wait_for(struct host *host, bool (*cond)(const struct node_status *status, uint64_t arg), uint64_t arg)
{
    uint64_t until = now_us() + WAIT_US;
    bool good = false;

    while (!good) {
        struct node_status *status = status_of(host);

        good = cond(status, arg);
        free(status);
        if (!good && now_us() > until)
            fail_msg("%s did not come to the state that was waited for", host->name);
        if (!good)
            nap_ms(10);
    }
}

void wait_snapshots(struct host *host, size_t count)
{
    uint64_t until = now_us() + WAIT_US;
    size_t seen = 0;

    while (seen < count && now_us() < until) {
        pthread_mutex_lock(&host->world->mutex);
        seen = host->snapshots_in;
        pthread_mutex_unlock(&host->world->mutex);
        if (seen < count)
            nap_ms(5);
    }
    assert_int_equal(seen, count);
}

bool status_applied(const struct node_status *status, uint64_t index)
{
    return status->applied >= index;
}

bool status_members(const struct node_status *status, uint64_t count)
{
    return status->members.count == count;
}

bool status_voters(const struct node_status *status, uint64_t count)
{
    uint64_t voters = 0;

    for (uint32_t i = 0; i < status->members.count; i++)
        voters += status->members.member[i].role == RAFT_VOTER;
    return voters == count;
}

bool status_join(const struct node_status *status, uint64_t state)
{
    return status->join_state == state;
}

bool status_removed(const struct node_status *status, uint64_t unused)
{
    (void)unused;
    return status->removed;
}

bool status_base(const struct node_status *status, uint64_t index)
{
    return status->raft.base_index >= index;
}

bool status_cut(const struct node_status *status, uint64_t unused)
{
    (void)unused;
    return status->raft.base_index > 1;
}
