/* tests/unit/test_peer_net.c - the peer protocol between hosts on loopback: who is let in, what arrives, what
 * is said when it does not. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/peer_fixture.h"

/* ---- messages ------------------------------------------------------------------------ */

static void messages_travel_both_ways(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    assert_true(peer_net_link_up(a.net, 2) && peer_net_link_up(b.net, 1));
    assert_false(peer_net_link_up(a.net, 3));

    struct node_message *append = node_message_new(NODE_MSG_RAFT, 2, 4);
    append->raft.kind = RAFT_MSG_APPEND;
    append->raft.term = 6;
    append->raft.index = 10;
    node_message_alloc_entries(append, 1);
    append->entries[0] = (struct raft_entry){.term = 6, .kind = RAFT_ENTRY_COMMAND};
    append->payloads[0] = rk_blob_copy(rk_slice_str("put"));
    host_send(&a, append);
    struct node_message *got = host_take(&b);
    assert_true(got->kind == NODE_MSG_RAFT && got->peer == 1 && got->group == 4);
    assert_true(got->raft.from == 1 && got->raft.to == 2 && got->raft.term == 6 && got->raft.count == 1);
    assert_true(got->entries[0].index == 11 && rk_slice_eq_str(rk_blob_slice(got->payloads[0]), "put"));
    node_message_free(got);

    struct node_message *call = new_call(1, 77, 1234, "question");
    call->token = 1; /* a member's own business */
    host_send(&b, call);
    got = host_take(&a);
    assert_true(got->kind == NODE_MSG_CALL && got->peer == 2 && got->id == 77 && got->token == 1);
    assert_int_equal(got->call_kind, 1234);
    host_send(&a, new_reply(got, "answer"));
    node_message_free(got);
    got = host_take(&b);
    assert_true(got->kind == NODE_MSG_REPLY && got->peer == 1 && got->id == 77 && body_has(got, "answer"));
    node_message_free(got);
    host_deinit(&a);
    host_deinit(&b);
}

/* More than fits one frame by count and by bytes; what came in together is handed over together. */
static void one_send_arrives_in_order_and_in_few_pieces(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    struct host a, b;
    struct rk_list list;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    rk_list_init(&list);
    for (unsigned i = 0; i < COUNT; i++) {
        struct node_message *call = new_call(2, i, 1, NULL);
        if (i % 1000 == 0) {
            call->body = rk_blob_new(RK_COMMAND_BYTES_MAX);
            memset(call->body->data, (int)(i / 1000), RK_COMMAND_BYTES_MAX);
        }
        rk_list_push_back(&list, &call->mail.link);
    }
    a.transport.send(a.transport.userdata, &list);
    assert_true(rk_list_empty(&list));
    UNTIL(host_received(&b) == COUNT);
    assert_true(b.receive_calls < COUNT / 4);
    for (unsigned i = 0; i < COUNT; i++) {
        struct node_message *got = host_take(&b);
        assert_true(got->id == i);
        if (i % 1000 == 0)
            assert_true(got->body->len == RK_COMMAND_BYTES_MAX && got->body->data[12345] == i / 1000);
        node_message_free(got);
    }
    host_deinit(&a);
    host_deinit(&b);
}

static void calls_that_the_node_does_not_take_are_answered(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    b.refuse = true;
    host_send(&a, new_call(2, 5, 1, "x"));
    struct node_message *got = host_take(&a);
    assert_true(got->kind == NODE_MSG_REPLY && got->id == 5 && got->peer == 2);
    assert_int_equal(got->outcome, NODE_OUTCOME_UNREACHABLE);
    assert_true(body_has(got, "overloaded"));
    node_message_free(got);
    host_deinit(&a);
    host_deinit(&b);
}

/* ---- links --------------------------------------------------------------------------------- */

static void expect_unreachable(struct host *host, uint64_t peer, uint64_t id)
{
    host_send(host, new_call(peer, id, 1, "x"));
    struct node_message *got = host_take(host);
    assert_true(got->kind == NODE_MSG_REPLY && got->id == id && got->peer == peer);
    assert_int_equal(got->outcome, NODE_OUTCOME_UNREACHABLE);
    assert_true(got->body && got->body->len > 0);
    node_message_free(got);
}

static void a_lost_link_is_told_once_and_comes_back(void **state)
{
    (void)state;
    struct host a, b;
    struct host_options again = {0};
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    unsigned told = host_link_told(&a, 2);
    again.port = host_port(&b);
    host_deinit(&b);
    UNTIL(host_link_state(&a, 2) == NODE_LINK_DOWN);
    assert_false(peer_net_link_up(a.net, 2));
    expect_unreachable(&a, 2, 1);
    sleep_ms(300); /* several retries */
    assert_int_equal(host_link_told(&a, 2), told + 1);
    expect_unreachable(&a, 2, 2);

    host_init(&b, 2, &again);
    host_add(&b, &a);
    b.directory.incarnation = 2;
    host_announce(&b);
    UNTIL(host_link_state(&a, 2) == NODE_LINK_UP && host_link_state(&b, 1) == NODE_LINK_UP);
    host_send(&a, new_call(2, 3, 1, "hello again"));
    struct node_message *got = host_take(&b);
    assert_int_equal(got->id, 3);
    node_message_free(got);
    host_deinit(&a);
    host_deinit(&b);
}

static void a_link_that_never_came_up_is_told(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    host_add(&a, &b);
    host_deinit(&b); /* nobody listens there any more */
    a.transport.set_directory(a.transport.userdata, &a.directory);
    host_send(&a, new_call(2, 9, 1, "sent right behind the directory"));
    UNTIL(host_link_state(&a, 2) == NODE_LINK_DOWN);
    assert_true(host_link_why(&a, 2, "onnect"));
    struct node_message *got = host_take(&a);
    assert_int_equal(got->outcome, NODE_OUTCOME_UNREACHABLE);
    node_message_free(got);
    expect_unreachable(&a, 55, 10); /* no such member at all */
    host_deinit(&a);
}

static void without_certificates_nobody_is_reached(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, &(struct host_options){.no_tls_client = true});
    host_init(&b, 2, NULL);
    host_add(&a, &b);
    host_announce(&a);
    UNTIL(host_link_state(&a, 2) == NODE_LINK_DOWN);
    assert_true(host_link_why(
        &a, 2, "no peer certificate is configured: set peer.certificate, peer.key and peer.ca"));
    a.transport.call_address(a.transport.userdata, b.address, new_call(0, 3, 3, NULL));
    struct node_message *got = host_take(&a);
    assert_true(got->id == 3 && got->outcome == NODE_OUTCOME_UNREACHABLE &&
                body_has(got, "peer.certificate"));
    node_message_free(got);
    host_deinit(&a);
    host_deinit(&b);
}

static void a_changed_address_is_followed(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    host_add(&a, &b);
    host_add(&b, &a);
    snprintf(a.directory.peers[0].address, sizeof(a.directory.peers[0].address), "127.0.0.1:1");
    host_announce(&a);
    host_announce(&b);
    UNTIL(host_link_state(&a, 2) == NODE_LINK_DOWN);
    snprintf(a.directory.peers[0].address, sizeof(a.directory.peers[0].address), "%s", b.address);
    host_announce(&a);
    UNTIL(host_link_state(&a, 2) == NODE_LINK_UP);
    host_deinit(&a);
    host_deinit(&b);
}

/* Frames of a peer that does not read must not pile up without end. */
static void a_slow_peer_bounds_the_queue(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    /* One mail, so all of it is queued before the socket is written to. */
    struct rk_list list;
    rk_list_init(&list);
    struct rk_blob *body = rk_blob_new(1024 * 1024);
    memset(body->data, 1, body->len);
    for (unsigned i = 0; i < 64; i++) {
        struct node_message *call = new_call(2, i, 1, NULL);
        call->body = rk_blob_ref(body);
        rk_list_push_back(&list, &call->mail.link);
    }
    rk_blob_unref(body);
    a.transport.send(a.transport.userdata, &list);
    UNTIL(host_received(&a) + host_received(&b) == 64);
    size_t refused = host_received(&a);
    assert_true(refused >= 28 && refused <= 34);
    struct node_message *got = host_take(&a);
    assert_true(got->outcome == NODE_OUTCOME_UNREACHABLE && body_has(got, "too slow"));
    node_message_free(got);
    assert_int_equal(host_link_state(&a, 2), NODE_LINK_UP);
    host_deinit(&a);
    host_deinit(&b);
}

/* ---- who is let in ------------------------------------------------------------------------------ */

/* b knows a and a dials b, after change() has made something wrong; b must refuse with this sentence. */
static void expect_refusal(void (*change)(struct host *a, struct host *b), const char *cert, const char *why,
                           enum node_link_state state)
{
    struct host a, b;
    host_init(&a, 1, &(struct host_options){.cert = cert});
    host_init(&b, 2, NULL);
    host_add(&a, &b);
    host_add(&b, &a);
    change(&a, &b);
    host_announce(&b);
    host_announce(&a);
    uint64_t target = a.directory.peers[0].id;
    UNTIL(host_link_state(&a, target) == state);
    assert_true(host_link_why(&a, target, why));
    expect_unreachable(&a, target, 1);
    sleep_ms(100);
    assert_int_equal(host_link_told(&a, target), 1);
    assert_int_equal(host_received(&b), 0);
    host_deinit(&a);
    host_deinit(&b);
}

static void change_cluster(struct host *a, struct host *b)
{
    (void)b;
    a->directory.cluster_id = CLUSTER + 1;
}

static void change_target(struct host *a, struct host *b)
{
    (void)b;
    a->directory.peers[0].id = 3;
}

static void change_nothing(struct host *a, struct host *b)
{
    (void)a;
    (void)b;
}

static void change_unknown(struct host *a, struct host *b)
{
    (void)a;
    host_drop(b, 1);
}

static void change_removed(struct host *a, struct host *b)
{
    (void)a;
    host_drop(b, 1);
    b->directory.removed[b->directory.removed_count++] = 1;
}

static void change_pristine(struct host *a, struct host *b)
{
    (void)a;
    b->directory.cluster_id = 0;
}

static void change_self(struct host *a, struct host *b)
{
    (void)b;
    snprintf(a->directory.peers[0].address, sizeof(a->directory.peers[0].address), "%s", a->address);
}

static void change_copy(struct host *a, struct host *b)
{
    (void)b;
    a->directory.self_id = 2;
}

static void wrong_cluster_is_refused(void **state)
{
    (void)state;
    expect_refusal(change_cluster, NULL, "wrong cluster", NODE_LINK_DOWN);
}

static void wrong_member_is_refused(void **state)
{
    (void)state;
    expect_refusal(change_target, NULL, "wrong member", NODE_LINK_DOWN);
}

static void unknown_member_is_refused(void **state)
{
    (void)state;
    expect_refusal(change_unknown, NULL, "not known here", NODE_LINK_DOWN);
}

static void removed_member_is_told_so(void **state)
{
    (void)state;
    expect_refusal(change_removed, NULL, "was removed", NODE_LINK_REMOVED);
}

static void wrong_certificate_name_is_refused(void **state)
{
    (void)state;
    expect_refusal(change_nothing, "bad", "neither the name nor the host", NODE_LINK_DOWN);
}

static void a_host_without_cluster_refuses_members(void **state)
{
    (void)state;
    expect_refusal(change_pristine, NULL, "not a member of any cluster", NODE_LINK_DOWN);
}

static void an_address_that_is_our_own_is_noticed(void **state)
{
    (void)state;
    expect_refusal(change_self, NULL, "wrong member", NODE_LINK_DOWN);
}

static void a_copy_of_ourselves_is_refused(void **state)
{
    (void)state;
    expect_refusal(change_copy, NULL, "that member itself", NODE_LINK_DOWN);
}

static void an_older_incarnation_is_refused(void **state)
{
    (void)state;
    struct host a, b;
    struct host_options again = {0};
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    b.directory.incarnation = 5;
    hosts_join(&a, &b);
    again.port = host_port(&b);
    host_deinit(&b);
    UNTIL(host_link_state(&a, 2) == NODE_LINK_DOWN);
    host_init(&b, 2, &again); /* from a backup */
    host_add(&b, &a);
    b.directory.incarnation = 4;
    host_announce(&b);
    UNTIL(host_link_state(&b, 1) == NODE_LINK_DOWN);
    assert_true(host_link_why(&b, 1, "incarnation 4 is stale"));
    sleep_ms(200);
    assert_int_equal(host_link_state(&a, 2), NODE_LINK_DOWN);
    host_deinit(&a);
    host_deinit(&b);
}

/* Leaving the directory ends what stands, in both directions. */
static void a_member_that_is_removed_loses_its_connections(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    host_drop(&b, 1);
    b.directory.removed[b.directory.removed_count++] = 1;
    host_announce(&b);
    UNTIL(host_link_state(&a, 2) == NODE_LINK_REMOVED);
    UNTIL(host_link_state(&b, 1) == NODE_LINK_DOWN);
    assert_true(host_link_why(&b, 1, "no member any more"));
    expect_unreachable(&b, 1, 4);
    host_deinit(&a);
    host_deinit(&b);
}

static void a_new_identity_reconnects(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    unsigned told_a = host_link_told(&a, 2), told_b = host_link_told(&b, 1);
    a.directory.incarnation = 9;
    host_announce(&a);
    UNTIL(host_link_told(&a, 2) == told_a + 2 && host_link_state(&a, 2) == NODE_LINK_UP);
    UNTIL(host_link_told(&b, 1) >= told_b + 2 && host_link_state(&b, 1) == NODE_LINK_UP);
    host_deinit(&a);
    host_deinit(&b);
}

/* ---- strangers' calls --------------------------------------------------------------------------- */

static void a_stranger_may_make_an_open_call(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    host_announce(&b); /* a has no directory at all */
    a.transport.call_address(a.transport.userdata, b.address, new_call(0, 42, 3, "let me in"));
    struct node_message *got = host_take(&b);
    assert_true(got->kind == NODE_MSG_CALL && got->peer == 0 && got->token != 0 && got->id == 42);
    assert_true(body_has(got, "let me in"));
    host_send(&b, new_reply(got, "welcome"));
    node_message_free(got);
    got = host_take(&a);
    assert_true(got->kind == NODE_MSG_REPLY && got->peer == 0 && got->id == 42 && got->outcome == 0);
    assert_true(body_has(got, "welcome"));
    node_message_free(got);
    host_deinit(&a);
    host_deinit(&b);
}

/* A host of another cluster, or one that was removed, is a stranger too. */
static void a_stranger_may_not_make_other_calls(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    a.directory.cluster_id = CLUSTER + 1;
    host_add(&b, &a);
    host_announce(&a);
    host_announce(&b);
    for (uint32_t kind = 1; kind <= 8; kind++) {
        if (kind == 3 || kind == 7)
            continue;
        a.transport.call_address(a.transport.userdata, b.address, new_call(0, kind, kind, "x"));
        struct node_message *got = host_take(&a);
        assert_true(got->id == kind && got->outcome == NODE_OUTCOME_UNREACHABLE);
        assert_true(body_has(got, "only members"));
        node_message_free(got);
    }
    assert_int_equal(host_received(&b), 0);
    host_deinit(&a);
    host_deinit(&b);
}

static void a_member_may_make_any_call_to_an_address(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    a.transport.call_address(a.transport.userdata, b.address, new_call(0, 8, 1, "x"));
    struct node_message *got = host_take(&b);
    assert_true(got->peer == 0 && got->call_kind == 1);
    host_send(&b, new_reply(got, "done"));
    node_message_free(got);
    got = host_take(&a);
    assert_true(got->id == 8 && body_has(got, "done"));
    node_message_free(got);
    host_deinit(&a);
    host_deinit(&b);
}

static void a_member_with_a_wrong_certificate_may_not_call(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, &(struct host_options){.cert = "bad"});
    host_init(&b, 2, NULL);
    host_add(&b, &a);
    host_announce(&a);
    host_announce(&b);
    a.transport.call_address(a.transport.userdata, b.address, new_call(0, 8, 3, "x"));
    struct node_message *got = host_take(&a);
    assert_true(got->outcome == NODE_OUTCOME_UNREACHABLE && body_has(got, "certificate"));
    node_message_free(got);
    host_deinit(&a);
    host_deinit(&b);
}

static void a_call_to_a_dead_address_is_answered(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, NULL);
    a.transport.call_address(a.transport.userdata, "127.0.0.1:1", new_call(0, 1, 3, "x"));
    struct node_message *got = host_take(&a);
    assert_true(got->id == 1 && got->outcome == NODE_OUTCOME_UNREACHABLE && body_has(got, "127.0.0.1:1: "));
    node_message_free(got);

    host_init(&b, 2, NULL); /* takes the call and dies */
    a.transport.call_address(a.transport.userdata, b.address, new_call(0, 2, 3, "x"));
    node_message_free(host_take(&b));
    host_deinit(&b);
    got = host_take(&a);
    assert_true(got->id == 2 && got->outcome == NODE_OUTCOME_UNREACHABLE);
    assert_true(body_has(got, "may or may not have happened"));
    node_message_free(got);
    host_deinit(&a);
}

/* ---- snapshots ----------------------------------------------------------------------------------- */

static void a_large_snapshot_arrives_at_the_receivers_pace(void **state)
{
    (void)state;
    const size_t total = 50 * 1024 * 1024 + 123;
    struct host a, b;
    struct source source;
    size_t taken = 0, most_ahead = 0;
    bool last = false;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    source_init(&source, total, RK_SNAPSHOT_CHUNK_BYTES);
    a.transport.send_snapshot(a.transport.userdata, source_open(&source, 2, 500));
    while (!last) {
        UNTIL(host_held(&b) > 0);
        if (taken == 0)
            sleep_ms(100); /* a slow one: whatever could run ahead does it now */
        pthread_mutex_lock(&b.mutex);
        struct node_chunk *chunk = RK_LIST_ITEM(b.chunks.next, struct node_chunk, mail.link);
        size_t ahead = atomic_load(&source.produced) - taken;
        most_ahead = ahead > most_ahead ? ahead : most_ahead;
        assert_true(chunk->stream_id == 1 && !chunk->abort);
        assert_int_equal(chunk->bytes.data[chunk->bytes.start], (taken / RK_SNAPSHOT_CHUNK_BYTES + 1) & 0xff);
        taken += chunk->bytes.len;
        last = chunk->last;
        pthread_mutex_unlock(&b.mutex);
        assert_int_equal(a.sent_ok, 0);
        assert_true(host_release_chunk(&b, last ? 1 : 0));
    }
    assert_int_equal(taken, total);
    assert_true(most_ahead <= PEER_CHUNKS_OUT * RK_SNAPSHOT_CHUNK_BYTES);
    assert_true(b.chunk_count_max <= PEER_CHUNKS_OUT);
    UNTIL(a.sent_ok == 1);
    sleep_ms(20);
    assert_true(a.sent_failed == 0 && b.aborts == 0);
    source_deinit(&source);
    host_deinit(&a);
    host_deinit(&b);
}

static void a_snapshot_that_breaks_is_aborted(void **state)
{
    (void)state;
    struct host a, b;
    struct source source;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    source_init(&source, 10 * 1024 * 1024, RK_SNAPSHOT_CHUNK_BYTES);
    source.fail_at_chunk = 4; /* the sender's source fails in the middle */
    a.transport.send_snapshot(a.transport.userdata, source_open(&source, 2, 500));
    for (unsigned i = 0; i < 3; i++)
        UNTIL(host_release_chunk(&b, 0));
    UNTIL(a.sent_failed == 1);
    UNTIL(b.aborts == 1);
    source.fail_at_chunk = 0;

    /* The receiver's directory loses the sender: its connection goes in the middle of a chunk's way. */
    a.transport.send_snapshot(a.transport.userdata, source_open(&source, 2, 501));
    UNTIL(host_release_chunk(&b, 0));
    UNTIL(host_held(&b) == 2);
    host_drop(&b, 1);
    host_announce(&b);
    UNTIL(b.aborts == 2 && a.sent_failed == 2);
    while (host_release_chunk(&b, 0)) /* late answers find nobody, and do no harm */
        ;
    source_deinit(&source);
    host_deinit(&a);
    host_deinit(&b);
}

static void a_snapshot_keeps_to_its_rate(void **state)
{
    (void)state;
    struct host a, b;
    struct source source;
    const size_t total = 1024 * 1024;
    host_init(&a, 1, &(struct host_options){.upload_bytes_per_s = 2 * total});
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    source_init(&source, total, RK_SNAPSHOT_CHUNK_BYTES);
    uint64_t begun = rk_clock_now_us(&rk_clock_boottime);
    a.transport.send_snapshot(a.transport.userdata, source_open(&source, 2, 500));
    for (size_t left = total / RK_SNAPSHOT_CHUNK_BYTES; left > 0; left--)
        UNTIL(host_release_chunk(&b, left == 1));
    UNTIL(a.sent_ok == 1);
    /* What is counted is what left before the last chunk. */
    assert_true(rk_clock_now_us(&rk_clock_boottime) - begun >=
                (total - RK_SNAPSHOT_CHUNK_BYTES) * RK_USEC_PER_SEC / (2 * total));
    source_deinit(&source);
    host_deinit(&a);
    host_deinit(&b);
}

static void a_snapshot_that_nobody_takes_any_more_is_given_up(void **state)
{
    (void)state;
    struct host a, b;
    struct source source;
    host_init(&a, 1, &(struct host_options){.short_stall = true});
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    source_init(&source, 10 * 1024 * 1024, RK_SNAPSHOT_CHUNK_BYTES);
    a.transport.send_snapshot(a.transport.userdata, source_open(&source, 2, 500));
    UNTIL(host_release_chunk(&b, 0));
    UNTIL(a.sent_failed == 1);
    UNTIL(b.aborts == 1);
    while (host_release_chunk(&b, 0))
        ;
    source_deinit(&source);
    host_deinit(&a);
    host_deinit(&b);
}

static void a_snapshot_may_be_refused(void **state)
{
    (void)state;
    struct host a, b;
    struct source source;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    source_init(&source, 10 * 1024 * 1024, RK_SNAPSHOT_CHUNK_BYTES);
    b.refuse_offers = true;
    a.transport.send_snapshot(a.transport.userdata, source_open(&source, 2, 500));
    UNTIL(a.sent_failed == 1);
    assert_true(b.aborts == 0 && atomic_load(&source.produced) == 0);
    b.refuse_offers = false; /* and in the middle, by a full disk */
    a.transport.send_snapshot(a.transport.userdata, source_open(&source, 2, 500));
    UNTIL(host_release_chunk(&b, 0));
    UNTIL(host_release_chunk(&b, -ENOSPC));
    UNTIL(a.sent_failed == 2);
    while (host_release_chunk(&b, -ENOSPC))
        ;
    assert_int_equal(b.aborts, 0);
    a.transport.send_snapshot(a.transport.userdata, source_open(&source, 77, 500)); /* no such member */
    UNTIL(a.sent_failed == 3);
    source_deinit(&source);
    host_deinit(&a);
    host_deinit(&b);
}

static void stopping_ends_streams_on_both_sides(void **state)
{
    (void)state;
    struct host a, b;
    struct source source;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    hosts_join(&a, &b);
    source_init(&source, 10 * 1024 * 1024, RK_SNAPSHOT_CHUNK_BYTES);
    a.transport.send_snapshot(a.transport.userdata, source_open(&source, 2, 500));
    UNTIL(host_held(&b) == 2);
    host_deinit(&a);
    UNTIL(b.aborts == 1);
    source_deinit(&source);
    host_deinit(&b);
}

/* ---- hostile or broken others ----------------------------------------------------------------------- */

static struct peer_hello hello_of(uint64_t id, enum peer_purpose purpose)
{
    return (struct peer_hello){
        PEER_VERSION_MIN, PEER_VERSION_MAX, (uint8_t)purpose, CLUSTER, id, 2, 1, "raw"};
}

static void a_host_of_no_common_version_is_told(void **state)
{
    (void)state;
    struct host a, b;
    struct raw raw;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    host_add(&b, &a);
    host_announce(&b);
    raw_init(&raw, &b, a.tls_client);
    struct peer_hello hello = hello_of(1, PEER_PURPOSE_MESSAGES);
    hello.version_min = PEER_VERSION_MAX + 1;
    hello.version_max = PEER_VERSION_MAX + 5;
    raw_hello(&raw, &hello);
    struct peer_welcome welcome = raw_welcome(&raw);
    assert_int_equal(welcome.outcome, PEER_WELCOME_REFUSED);
    assert_non_null(strstr(welcome.text, "version"));
    RAW_UNTIL(&raw, raw.closed);
    raw_deinit(&raw);
    host_deinit(&a);
    host_deinit(&b);
}

static void garbage_and_silence_lose_the_connection(void **state)
{
    (void)state;
    static const char *const garbage[] = {"GET / HTTP/1.1\r\n\r\n", "\0\0\0\1\x08", "\xff\xff\xff\xff"};
    struct host a, b;
    struct raw raw;
    host_init(&a, 1, NULL);
    host_init(&b, 2, &(struct host_options){.short_silence = true});
    for (size_t i = 0; i < RK_ARRAY_LEN(garbage); i++) {
        raw_init(&raw, &b, a.tls_client);
        net_conn_write(raw.conn, rk_slice(garbage[i], i == 0 ? strlen(garbage[i]) : i == 1 ? 5 : 4));
        RAW_UNTIL(&raw, raw.closed);
        raw_deinit(&raw);
    }
    raw_init(&raw, &b, a.tls_client); /* says nothing at all */
    RAW_UNTIL(&raw, raw.closed);
    raw_deinit(&raw);
    host_add(&b, &a);
    host_announce(&b);
    raw_init(&raw, &b, a.tls_client); /* a member that falls silent, while we give signs of life */
    struct peer_hello hello = hello_of(1, PEER_PURPOSE_MESSAGES);
    raw_hello(&raw, &hello);
    assert_int_equal(raw_welcome(&raw).outcome, PEER_WELCOME_OK);
    RAW_UNTIL(&raw, raw.closed);
    assert_true(raw.in.len >= 3 * 5 && raw.in.data[raw.in.start + 4] == PEER_FRAME_KEEPALIVE);
    raw_deinit(&raw);
    host_deinit(&a);
    host_deinit(&b);
}

static void keepalives_keep_an_idle_link(void **state)
{
    (void)state;
    struct host a, b;
    host_init(&a, 1, &(struct host_options){.short_silence = true});
    host_init(&b, 2, &(struct host_options){.short_silence = true});
    hosts_join(&a, &b);
    unsigned before = host_link_told(&a, 2) + host_link_told(&b, 1);
    sleep_ms(1000);
    assert_int_equal(host_link_told(&a, 2) + host_link_told(&b, 1), before);
    host_deinit(&a);
    host_deinit(&b);
}

static void the_newest_connection_replaces_the_older(void **state)
{
    (void)state;
    struct host a, b;
    struct raw raw[4];
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    host_add(&b, &a);
    host_announce(&b);
    struct peer_hello hello = hello_of(1, PEER_PURPOSE_MESSAGES);
    for (size_t i = 0; i < RK_ARRAY_LEN(raw); i++) { /* several, so that they meet on one loop and on two */
        raw_init(&raw[i], &b, a.tls_client);
        raw_hello(&raw[i], &hello);
        assert_int_equal(raw_welcome(&raw[i]).outcome, PEER_WELCOME_OK);
        if (i > 0)
            RAW_UNTIL(&raw[i - 1], raw[i - 1].closed);
    }
    sleep_ms(20);
    raw_turn(&raw[3]);
    assert_false(raw[3].closed);
    for (size_t i = 0; i < RK_ARRAY_LEN(raw); i++)
        raw_deinit(&raw[i]);
    host_deinit(&a);
    host_deinit(&b);
}

static void send_chunk(struct raw *raw, uint64_t offset, const char *bytes)
{
    struct rk_buf buf = {0};
    peer_chunk_encode(&buf, &(struct peer_chunk){.offset = offset, .bytes = rk_slice_str(bytes)});
    net_conn_write(raw->conn, rk_buf_slice(&buf));
    rk_buf_deinit(&buf);
}

static void open_stream(struct raw *raw, struct host *to, struct net_tls *tls)
{
    struct peer_hello hello = hello_of(1, PEER_PURPOSE_SNAPSHOT);
    struct rk_buf buf = {0};
    raw_init(raw, to, tls);
    raw_hello(raw, &hello);
    assert_int_equal(raw_welcome(raw).outcome, PEER_WELCOME_OK);
    peer_offer_encode(&buf, &(struct peer_offer){.term = 1, .index = 5});
    net_conn_write(raw->conn, rk_buf_slice(&buf));
    rk_buf_deinit(&buf);
    RAW_UNTIL(raw, raw->in.len == 6);
}

/* Ahead of its credit, or with a hole: the connection goes, and the node forgets what came. */
static void a_stream_that_breaks_the_rules_is_ended(void **state)
{
    (void)state;
    struct host a, b;
    struct raw raw;
    host_init(&a, 1, NULL);
    host_init(&b, 2, NULL);
    host_add(&b, &a);
    host_announce(&b);
    open_stream(&raw, &b, a.tls_client);
    for (uint64_t i = 0; i < 3; i++)
        send_chunk(&raw, 2 * i, "xx");
    RAW_UNTIL(&raw, raw.closed);
    UNTIL(b.aborts == 1);
    assert_true(b.chunk_count_max <= PEER_CHUNKS_OUT);
    raw_deinit(&raw);
    open_stream(&raw, &b, a.tls_client);
    send_chunk(&raw, 0, "xx");
    send_chunk(&raw, 1, "xx");
    RAW_UNTIL(&raw, raw.closed);
    UNTIL(b.aborts == 2);
    raw_deinit(&raw);
    host_deinit(&a);
    host_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_travel_both_ways),
        cmocka_unit_test(one_send_arrives_in_order_and_in_few_pieces),
        cmocka_unit_test(calls_that_the_node_does_not_take_are_answered),
        cmocka_unit_test(a_lost_link_is_told_once_and_comes_back),
        cmocka_unit_test(a_link_that_never_came_up_is_told),
        cmocka_unit_test(without_certificates_nobody_is_reached),
        cmocka_unit_test(a_changed_address_is_followed),
        cmocka_unit_test(a_slow_peer_bounds_the_queue),
        cmocka_unit_test(wrong_cluster_is_refused),
        cmocka_unit_test(wrong_member_is_refused),
        cmocka_unit_test(unknown_member_is_refused),
        cmocka_unit_test(removed_member_is_told_so),
        cmocka_unit_test(wrong_certificate_name_is_refused),
        cmocka_unit_test(a_host_without_cluster_refuses_members),
        cmocka_unit_test(an_address_that_is_our_own_is_noticed),
        cmocka_unit_test(a_copy_of_ourselves_is_refused),
        cmocka_unit_test(an_older_incarnation_is_refused),
        cmocka_unit_test(a_member_that_is_removed_loses_its_connections),
        cmocka_unit_test(a_new_identity_reconnects),
        cmocka_unit_test(a_stranger_may_make_an_open_call),
        cmocka_unit_test(a_stranger_may_not_make_other_calls),
        cmocka_unit_test(a_member_may_make_any_call_to_an_address),
        cmocka_unit_test(a_member_with_a_wrong_certificate_may_not_call),
        cmocka_unit_test(a_call_to_a_dead_address_is_answered),
        cmocka_unit_test(a_large_snapshot_arrives_at_the_receivers_pace),
        cmocka_unit_test(a_snapshot_that_breaks_is_aborted),
        cmocka_unit_test(a_snapshot_keeps_to_its_rate),
        cmocka_unit_test(a_snapshot_that_nobody_takes_any_more_is_given_up),
        cmocka_unit_test(a_snapshot_may_be_refused),
        cmocka_unit_test(stopping_ends_streams_on_both_sides),
        cmocka_unit_test(a_host_of_no_common_version_is_told),
        cmocka_unit_test(garbage_and_silence_lose_the_connection),
        cmocka_unit_test(keepalives_keep_an_idle_link),
        cmocka_unit_test(the_newest_connection_replaces_the_older),
        cmocka_unit_test(a_stream_that_breaks_the_rules_is_ended),
    };
    return cmocka_run_group_tests(tests, peer_certs_init, peer_certs_deinit);
}
