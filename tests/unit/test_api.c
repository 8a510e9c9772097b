/* tests/unit/test_api.c - the paths, what they answer, and what becomes of a request that its client gives
 * up.
 */
#include "tests/unit/api_fixture.h"

#include "lib/api/api_internal.h"

static int setup(void **state)
{
    struct bench *bench = RK_NEW(struct bench);

    *state = bench;
    bench_init(bench);
    bench->world.tune = (struct node_config){.election_timeout_ms = 100, .heartbeat_ms = 20};
    bench_serve(bench, host_start(&bench->world, 0));
    wait_leader(&bench->world);
    return 0;
}

static int teardown(void **state)
{
    bench_deinit(*state);
    free(*state);
    return 0;
}

static void body_is(struct bench *bench, const char *text)
{
    *rk_buf_reserve(&bench->body, 1) = '\0';
    assert_string_equal((const char *)rk_buf_slice(&bench->body).data, text);
}

/* ---- keys --------------------------------------------------------------------------------- */

static void a_key_is_put_got_and_deleted(void **state)
{
    struct bench *b = *state;

    assert_int_equal(ask_http(b, "PUT", "/key/a", "one"), 200);
    body_is(b, "{\"revision\":2}\n");
    assert_int_equal(ask_http(b, "GET", "/key/a", NULL), 200);
    body_is(b, "{\"a\":\"one\"}\n");
    assert_int_equal(ask_http(b, "PUT", "/key/a", ""), 200);
    assert_int_equal(ask_http(b, "GET", "/key/a", NULL), 200);
    body_is(b, "{\"a\":\"\"}\n");
    assert_int_equal(ask_http(b, "DELETE", "/key/a", NULL), 200);
    assert_int_equal(number_in(b, "deleted"), 1);
    assert_int_equal(number_in(b, "revision"), 4);
    assert_int_equal(ask_http(b, "DELETE", "/key/a", NULL), 200);
    assert_int_equal(number_in(b, "deleted"), 0);
    assert_int_equal(number_in(b, "revision"), 4);
    ask_http(b, "GET", "/key/a", NULL);
    refused_as(b, 404, "not_found");
    ask_http(b, "GET", "/key/a?raw", NULL);
    refused_as(b, 404, "not_found");
}

static void raw_gives_the_bytes_and_their_revision(void **state)
{
    struct bench *b = *state;
    static const uint8_t bytes[] = {0, 255, '\r', '\n', 0x80, 'x'};

    assert_int_equal(ask_http_bytes(b, "PUT", "/key/a", bytes, sizeof(bytes)), 200);
    assert_int_equal(ask_http(b, "GET", "/key/a?raw", NULL), 200);
    assert_int_equal(b->body.len, sizeof(bytes));
    assert_memory_equal(rk_buf_slice(&b->body).data, bytes, sizeof(bytes));
    assert_true(has_header(b, "content-type: application/octet-stream\r\n"));
    assert_true(has_header(b, "raftkv-revision: 2\r\n"));
    assert_true(has_header(b, "raftkv-version: 1\r\n"));
    assert_int_equal(ask_http(b, "HEAD", "/key/a?raw", NULL), 200);
    assert_int_equal(b->body.len, 0);
    assert_true(has_header(b, "content-length: 6\r\n"));
}

static void keys_and_values_may_be_any_bytes(void **state)
{
    struct bench *b = *state;

    assert_int_equal(ask_http_bytes(b, "PUT", "/key/a%00%ff%2Fb/c", "\xff", 1), 200);
    assert_int_equal(ask_http(b, "GET", "/key/a%00%FF/b%2fc", NULL), 200); /* the same key */
    assert_string_equal(text_in(b, "key_base64"), "YQD/L2IvYw==");
    assert_string_equal(text_in(b, "value_base64"), "/w==");
    assert_int_equal(ask_http_bytes(b, "PUT", "/key/%C3%BC", "\0", 1), 200);
    assert_int_equal(ask_http(b, "GET", "/key/%c3%bc", NULL), 200);
    assert_string_equal(json_string_value(json_object_get(json_object_get(b->json, "\xc3\xbc"), "base64")),
                        "AA==");
    assert_int_equal(ask_http(b, "GET", "/key?prefix=a%00", NULL), 200);
    assert_int_equal(json_array_size(json_object_get(b->json, "kvs")), 1);
    ask_http(b, "GET", "/key/a%0", NULL);
    refused_as(b, 400, "bad_request");
    ask_http(b, "GET", "/key/a%zz", NULL);
    refused_as(b, 400, "bad_request");
    ask_http(b, "GET", "/key?prefix=%zz", NULL);
    refused_as(b, 400, "bad_request");
    ask_http(b, "GET", "/key?after=%", NULL);
    refused_as(b, 400, "bad_request");
}

static void several_keys_are_put_at_once(void **state)
{
    struct bench *b = *state;
    struct rk_buf many = {0};

    assert_int_equal(ask_http(b, "POST", "/key", "{\"a\":\"1\",\"b\":\"2\\u0000\"}"), 200);
    body_is(b, "{\"revision\":2}\n");
    assert_int_equal(ask_http(b, "GET", "/key/b?raw", NULL), 200);
    assert_int_equal(b->body.len, 2);
    ask_http(b, "POST", "/key", "{\"a\":1}");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/key", "[\"a\"]");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/key", "{\"a\":");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/key", "{\"a\":\"1\",\"a\":\"2\"}");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/key", "{}");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/key", NULL);
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/key", "{\"\":\"empty name\"}");
    refused_as(b, 400, "bad_request");
    for (unsigned i = 0; i <= RK_TXN_OPS_MAX; i++)
        rk_buf_printf(&many, "%s\"k%u\":\"\"", i == 0 ? "{" : ",", i);
    rk_buf_append_str(&many, "}");
    ask_http_bytes(b, "POST", "/key", rk_buf_slice(&many).data, many.len);
    refused_as(b, 400, "bad_request");
    rk_buf_deinit(&many);
}

static void what_is_too_large_is_refused(void **state)
{
    struct bench *b = *state;
    size_t size = RK_REQUEST_BYTES_MAX + 1;
    char *value = RK_NEW_ARRAY(char, size), target[RK_KEY_BYTES_MAX + 32];

    memset(value, 'x', size);
    snprintf(target, sizeof(target), "/key/%.*s", (int)RK_KEY_BYTES_MAX + 1, value);
    ask_http(b, "PUT", target, "1");
    refused_as(b, 413, "too_large");
    ask_http(b, "GET", target, NULL);
    refused_as(b, 413, "too_large");
    ask_http(b, "DELETE", target, NULL);
    refused_as(b, 413, "too_large");
    snprintf(target, sizeof(target), "/key?prefix=%.*s", (int)RK_KEY_BYTES_MAX + 1, value);
    ask_http(b, "GET", target, NULL);
    refused_as(b, 413, "too_large");
    ask_http_bytes(b, "PUT", "/key/a", value, size);
    refused_as(b, 413, "too_large");
    snprintf(target, sizeof(target), "/key/%.*s", (int)RK_KEY_BYTES_MAX, value);
    assert_int_equal(ask_http(b, "PUT", target, "1"), 200);
    free(value);
}

static void a_range_is_read_in_pages(void **state)
{
    struct bench *b = *state;
    json_t *kv;

    ask_http(b, "POST", "/key", "{\"a/1\":\"x\",\"a/2\":\"y\",\"a/3\":\"z\",\"b\":\"w\"}");
    assert_int_equal(ask_http(b, "GET", "/key?prefix=a/&limit=2", NULL), 200);
    assert_true(json_is_true(json_object_get(b->json, "more")));
    assert_int_equal(number_in(b, "revision"), 2);
    assert_int_equal(json_array_size(json_object_get(b->json, "kvs")), 2);
    kv = json_array_get(json_object_get(b->json, "kvs"), 1);
    assert_string_equal(json_string_value(json_object_get(kv, "key")), "a/2");
    assert_string_equal(json_string_value(json_object_get(kv, "value")), "y");
    assert_int_equal(json_integer_value(json_object_get(kv, "create_revision")), 2);
    assert_int_equal(json_integer_value(json_object_get(kv, "mod_revision")), 2);
    assert_int_equal(json_integer_value(json_object_get(kv, "version")), 1);
    assert_int_equal(json_object_size(kv), 5);
    assert_int_equal(ask_http(b, "GET", "/key?prefix=a/&limit=2&after=a/2&keys_only", NULL), 200);
    assert_true(json_is_false(json_object_get(b->json, "more")));
    kv = json_array_get(json_object_get(b->json, "kvs"), 0);
    assert_string_equal(json_string_value(json_object_get(kv, "key")), "a/3");
    assert_null(json_object_get(kv, "value"));
    assert_int_equal(ask_http(b, "GET", "/key", NULL), 200);
    assert_int_equal(json_array_size(json_object_get(b->json, "kvs")), 4);
    assert_int_equal(ask_http(b, "GET", "/key?prefix=c&level=stale", NULL), 200);
    assert_int_equal(json_array_size(json_object_get(b->json, "kvs")), 0);
}

static void parameters_are_checked(void **state)
{
    static const char *const bad[] = {"/key?limit=-1",   "/key?limit=",   "/key?limit=10001",
                                      "/key?limit=1x",   "/key?limit=+1", "/key?limit=99999999999999999999",
                                      "/key?level=fast", "/key?level=",   "/key/a?level=linearizable"};
    struct bench *b = *state;

    for (size_t i = 0; i < RK_ARRAY_LEN(bad); i++) {
        ask_http(b, "GET", bad[i], NULL);
        refused_as(b, 400, "bad_request");
    }
    ask_http(b, "PUT", "/key/a", "1");
    assert_int_equal(ask_http(b, "GET", "/key/a?level=consistent", NULL), 200);
    assert_int_equal(ask_http(b, "GET", "/key/a?level=default", NULL), 200);
    assert_int_equal(ask_http(b, "GET", "/key/a?level=stale", NULL), 200);
    assert_int_equal(ask_http(b, "GET", "/key?limit=10000", NULL), 200);
}

/* ---- paths and methods ------------------------------------------------------------------------ */

static void unknown_paths_and_methods_are_told_apart(void **state)
{
    static const char *const unknown[] = {"/", "/keys", "/key/", "/statusx", "/cluster", "/Key/a"};
    struct bench *b = *state;

    for (size_t i = 0; i < RK_ARRAY_LEN(unknown); i++) {
        ask_http(b, "GET", unknown[i], NULL);
        refused_as(b, 404, "not_found");
    }
    ask_http(b, "PUT", "/key", "1");
    refused_as(b, 405, "method_not_allowed");
    ask_http(b, "POST", "/key/a", "1");
    refused_as(b, 405, "method_not_allowed");
    ask_http(b, "DELETE", "/status", NULL);
    refused_as(b, 405, "method_not_allowed");
    ask_http(b, "GET", "/cluster/join", NULL);
    refused_as(b, 405, "method_not_allowed");
}

static void the_client_port_has_no_administrators_paths(void **state)
{
    static const char *const paths[][2] = {
        {"POST", "/cluster/join"},     {"POST", "/cluster/leave"},
        {"POST", "/cluster/members"},  {"POST", "/cluster/members/node1/promote"},
        {"POST", "/cluster/replace"},  {"POST", "/cluster/members/node1/demote"},
        {"POST", "/cluster/abort"},    {"POST", "/cluster/members/node1/priority"},
        {"POST", "/cluster/transfer"}, {"DELETE", "/cluster/members/node1"},
        {"GET", "/snapshot"},          {"POST", "/snapshot"}};
    struct bench *b = *state;

    for (size_t i = 0; i < RK_ARRAY_LEN(paths); i++) {
        ask_http(b, paths[i][0], paths[i][1], NULL);
        refused_as(b, 403, "forbidden");
    }
}

/* ---- how this host is ---------------------------------------------------------------------------- */

static void status_members_health_and_version_have_their_shapes(void **state)
{
    static const char *const numbers[] = {"term",       "commit_index", "applied_index", "first_index",
                                          "last_index", "revision",     "keys",          "data_bytes",
                                          "free_bytes", "uptime_s",     "flushes",       "entries_flushed"};
    struct bench *b = *state;
    json_t *member;

    assert_int_equal(ask_http(b, "GET", "/status", NULL), 200);
    for (size_t i = 0; i < RK_ARRAY_LEN(numbers); i++)
        number_in(b, numbers[i]);
    assert_string_equal(text_in(b, "name"), "node1");
    assert_string_equal(text_in(b, "version"), "1.2.3");
    assert_string_equal(text_in(b, "role"), "leader");
    assert_string_equal(text_in(b, "member_role"), "voter");
    assert_string_equal(text_in(b, "leader_name"), "node1");
    assert_int_equal(strlen(text_in(b, "member_id")), 16);
    assert_string_equal(text_in(b, "leader_id"), text_in(b, "member_id"));
    assert_int_equal(strlen(text_in(b, "cluster_id")), 16);
    assert_true(json_is_false(json_object_get(b->json, "low_space")));
    assert_int_equal(json_array_size(json_object_get(b->json, "peers")), 0);
    assert_true(json_is_array(json_object_get(b->json, "peers")));
    assert_int_equal(json_array_size(json_object_get(b->json, "problems")), 0);
    assert_string_equal(json_string_value(json_object_get(json_object_get(b->json, "join"), "state")),
                        "none");
    assert_int_equal(ask_http(b, "GET", "/members", NULL), 200);
    member = json_array_get(json_object_get(b->json, "members"), 0);
    assert_string_equal(json_string_value(json_object_get(member, "name")), "node1");
    assert_string_equal(json_string_value(json_object_get(member, "role")), "voter");
    assert_string_equal(json_string_value(json_object_get(member, "peer_address")), "node1:2380");
    assert_string_equal(json_string_value(json_object_get(member, "client_url")), "http://node1:2379");
    assert_string_equal(json_string_value(json_object_get(member, "id")), text_in(b, "leader_id"));
    assert_int_equal(ask_http(b, "GET", "/health", NULL), 200);
    body_is(b, "{\"health\":\"true\"}\n");
    assert_int_equal(ask_http(b, "HEAD", "/health", NULL), 200);
    assert_int_equal(ask_http(b, "GET", "/version", NULL), 200);
    body_is(b, "{\"raftkv\":\"1.2.3\"}\n");
}

static void without_a_leader_it_says_so(void **state)
{
    struct bench *b = *state;

    b->world.initial[0] = rk_strdup("node2=node2:2380"); /* one of two: nobody to be elected by */
    b->world.initial[1] = rk_strdup("node3=node3:2380");
    b->world.initial_count = 2;
    bench_serve(b, host_start(&b->world, 1));
    assert_int_equal(ask_http(b, "GET", "/health", NULL), 503);
    assert_string_equal(text_in(b, "health"), "false");
    assert_string_equal(text_in(b, "reason"), "there is no leader");
    ask_http(b, "PUT", "/key/a", "1");
    refused_as(b, 503, "no_leader");
    ask_http(b, "GET", "/key/a", NULL);
    refused_as(b, 503, "no_leader");
    ask_http(b, "GET", "/key/a?level=stale", NULL);
    refused_as(b, 404, "not_found");
    assert_int_equal(ask_http(b, "GET", "/status", NULL), 200);
    assert_true(json_is_null(json_object_get(b->json, "leader_id")));
    assert_true(json_is_null(json_object_get(b->json, "leader_name")));
    assert_string_not_equal(text_in(b, "role"), "leader");
    assert_int_equal(json_array_size(json_object_get(b->json, "problems")), 1);
}

static void redirect_sends_to_the_leader(void **state)
{
    struct bench *b = *state;
    struct host *leader, *follower;
    char location[128];

    for (size_t i = 0; i < 3; i++)
        host_stop(&b->world.hosts[i]);
    host_wipe(&b->world.hosts[0]);
    leader = world_cluster(&b->world, 3);
    follower = leader == &b->world.hosts[0] ? &b->world.hosts[1] : &b->world.hosts[0];
    bench_serve(b, leader);
    assert_int_equal(ask_http(b, "PUT", "/key/a?redirect", "1"), 200);
    bench_serve(b, follower);
    assert_int_equal(ask_http(b, "PUT", "/key/a", "2"), 200); /* forwarded */
    for (uint64_t until = now_us() + WAIT_US; ask_http(b, "PUT", "/key/a%20b?redirect&x=1", "3") != 307;) {
        refused_as(b, 503, "no_leader"); /* the leader has not announced its URL yet */
        assert_true(now_us() < until);
    }
    snprintf(location, sizeof(location), "location: %s/key/a%%20b?redirect&x=1\r\n", leader->url);
    assert_true(has_header(b, location));
    assert_int_equal(ask_http(b, "GET", "/key/a?redirect&level=stale", NULL), 200);
}

/* ---- outcomes --------------------------------------------------------------------------------------- */

static void each_outcome_has_its_status_and_code(void **state)
{
    static const struct {
        enum node_outcome outcome;
        unsigned status;
        const char *code;
    } table[] = {{NODE_E_BUSY, 429, "busy"},
                 {NODE_E_NO_LEADER, 503, "no_leader"},
                 {NODE_E_TIMEOUT, 504, "timeout"},
                 {NODE_E_NO_SPACE, 507, "no_space"},
                 {NODE_E_BAD_REQUEST, 400, "bad_request"},
                 {NODE_E_CONFLICT, 409, "conflict"},
                 {NODE_E_NOT_FOUND, 404, "not_found"},
                 {NODE_E_UNAVAILABLE, 503, "unavailable"},
                 {NODE_E_UNREACHABLE, 503, "unreachable"},
                 {(enum node_outcome)77, 500, "internal"}};
    struct bench *b = *state;

    for (size_t i = 0; i < RK_ARRAY_LEN(table); i++) {
        struct node_call *call = new_call(NODE_CALL_WRITE, NULL);
        struct api_task *task;

        rk_buf_clear(&b->client.out);
        bench_send(b, "GET", "/status", NULL, 0); /* its call is out: we answer in its place */
        task = b->client.last->userdata;
        call->outcome = table[i].outcome;
        api_answer_outcome(task, call);
        node_call_free(call);
        assert_true(bench_pump(b, nothing_pending));
        assert_true(bench_pump(b, answer_whole));
        assert_int_equal(strtoul(b->head + 9, NULL, 10), table[i].status);
        assert_non_null(strstr((const char *)rk_buf_slice(&b->client.out).data, table[i].code));
    }
}

static void a_stopped_node_is_unavailable(void **state)
{
    struct bench *b = *state;

    node_stop(b->world.hosts[0].node, 100);
    b->world.hosts[0].running = false;
    ask_http(b, "PUT", "/key/a", "1");
    refused_as(b, 503, "unavailable");
}

/* ---- the administrator ----------------------------------------------------------------------------------
 */

static void the_admin_socket_changes_members(void **state)
{
    struct bench *b = *state;

    bench_door(b, true);
    ask_http(b, "POST", "/cluster/leave", "{}");
    refused_as(b, 409, "conflict");
    ask_http(b, "POST", "/cluster/transfer", "{}");
    refused_as(b, 409, "conflict");
    ask_http(b, "POST", "/cluster/transfer", "{\"member\":7}");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/cluster/transfer", "{\"member\":\"nobody\"}");
    refused_as(b, 404, "not_found");
    assert_int_equal(ask_http(b, "POST", "/cluster/transfer", "{\"member\":\"node1\"}"), 200);
    assert_string_equal(text_in(b, "name"), "node1");
    assert_int_equal(strlen(text_in(b, "leader")), 16);
    ask_http(b, "DELETE", "/cluster/members/nobody", NULL);
    refused_as(b, 404, "not_found");
    ask_http(b, "DELETE", "/cluster/members/node1%00x", NULL); /* not node1 */
    refused_as(b, 404, "not_found");
    ask_http(b, "DELETE", "/cluster/members/node1", NULL);
    refused_as(b, 409, "conflict");
    ask_http(b, "POST", "/cluster/members/nobody/promote", NULL);
    refused_as(b, 404, "not_found");
    assert_int_equal(ask_http(b, "POST", "/cluster/members/node1/promote", NULL), 200);
    body_is(b, "{}\n");
    ask_http(b, "POST", "/cluster/members/node1/demote", NULL);
    refused_as(b, 409, "conflict");
    ask_http(b, "POST", "/cluster/members/node1/priority", "{\"priority\":101}");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/cluster/members/node1/priority", "{}");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/cluster/members/nobody/priority", "{\"priority\":1}");
    refused_as(b, 404, "not_found");
    assert_int_equal(ask_http(b, "POST", "/cluster/members/node1/priority", "{\"priority\":7}"), 200);
    ask_http(b, "POST", "/cluster/replace", "{\"replace\":[]}");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/cluster/replace", "{\"replace\":[{\"old\":\"node1\"}]}");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/cluster/replace", "{\"replace\":[{\"old\":\"node1\",\"new\":\"node9\"}]}");
    refused_as(b, 409, "conflict");
    ask_http(b, "POST", "/cluster/abort", NULL);
    refused_as(b, 409, "conflict");
    ask_http(b, "POST", "/cluster/members", "{}");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/cluster/members", "{\"address\":\"nobody:1\"}");
    refused_as(b, 503, "unreachable");
}

static void the_admin_socket_joins_and_snapshots(void **state)
{
    struct bench *b = *state;

    bench_door(b, true);
    ask_http(b, "PUT", "/key/a", "1"); /* clients' paths work, too */
    assert_int_equal(ask_http(b, "POST", "/snapshot", NULL), 200);
    assert_true(number_in(b, "index") >= 3);
    ask_http(b, "POST", "/cluster/join", "{\"address\":\"nobody:1\"}");
    refused_as(b, 409, "conflict");
    ask_http(b, "POST", "/cluster/join", "{\"address\":7}");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/cluster/join", "{\"address\":\"\"}");
    refused_as(b, 400, "bad_request");
    ask_http(b, "POST", "/cluster/join", "7");
    refused_as(b, 400, "bad_request");
    assert_int_equal(ask_http(b, "POST", "/cluster/join", "{\"address\":\"nobody:1\",\"discard_data\":true}"),
                     202);
    assert_string_equal(text_in(b, "state"), "contacting");
    assert_int_equal(ask_http(b, "GET", "/status", NULL), 200);
    assert_string_equal(json_string_value(json_object_get(json_object_get(b->json, "join"), "state")),
                        "contacting");
}

/* ---- GET /snapshot
 * ------------------------------------------------------------------------------------------ */

static void fill(struct bench *b)
{
    char *value = RK_NEW_ARRAY(char, 100001);
    char key[16];

    memset(value, 'v', 100000);
    for (int i = 0; i < 30; i++) {
        snprintf(key, sizeof(key), "key%d", i);
        must_put(&b->world.hosts[0], key, value);
    }
    free(value);
    bench_door(b, true);
}

static void the_snapshot_is_streamed_whole(void **state)
{
    struct bench *b = *state;
    struct mvcc_verify *verify = mvcc_verify_new();

    fill(b);
    assert_int_equal(ask_http(b, "GET", "/snapshot", NULL), 200);
    assert_true(has_header(b, "content-type: application/octet-stream\r\n"));
    assert_true(has_header(b, "raftkv-snapshot-revision: 31\r\n"));
    assert_int_equal(mvcc_verify_feed(verify, rk_buf_slice(&b->body)), 0);
    assert_true(mvcc_verify_complete(verify));
    assert_int_equal(mvcc_verify_info(verify)->keys, 30);
    mvcc_verify_free(verify);
}

static bool stream_begun(struct bench *b)
{
    return b->client.out.len > 200000;
}

static bool is_paused(struct bench *b)
{
    return !rk_list_empty(&b->client.door.streams);
}

static void a_client_that_reads_slowly_pauses_the_stream(void **state)
{
    struct bench *b = *state;
    size_t before;

    fill(b);
    b->client.backlog = 2u << 20;
    bench_send(b, "GET", "/snapshot", NULL, 0);
    assert_true(bench_pump(b, is_paused));
    before = b->client.out.len;
    api_door_drained(&b->client.door); /* it is not: nothing goes on */
    assert_true(is_paused(b));
    nap_ms(20);
    assert_int_equal(rk_mailbox_depth(&b->box), 0);
    assert_int_equal(b->client.out.len, before);
    b->client.backlog = 0;
    api_door_drained(&b->client.door);
    assert_false(is_paused(b));
    assert_true(bench_pump(b, nothing_pending));
    assert_true(answer_whole(b));
    assert_true(b->client.out.len > 3000000);
}

/* ---- clients that go away
 * --------------------------------------------------------------------------------------- */

static void a_client_that_goes_takes_nothing_along(void **state)
{
    static const char *const targets[][2] = {{"PUT", "/key/a"},       {"GET", "/key/a"},
                                             {"GET", "/status"},      {"GET", "/snapshot"},
                                             {"POST", "/snapshot"},   {"POST", "/cluster/transfer"},
                                             {"GET", "/key?limit=5"}, {"POST", "/cluster/leave"}};
    struct bench *b = *state;

    for (size_t i = 0; i < RK_ARRAY_LEN(targets); i++) {
        bench_door(b, true);
        bench_send(b, targets[i][0], targets[i][1], "", 0);
        assert_int_equal(api_pending(b->api), 1);
        bench_hang_up(b); /* before the call is back */
        assert_int_equal(api_pending(b->api), 1);
        assert_true(bench_pump(b, nothing_pending));
    }
}

static void a_client_may_go_while_its_stream_is_away(void **state)
{
    struct bench *b = *state;

    fill(b);
    bench_send(b, "GET", "/snapshot", NULL, 0);
    assert_true(bench_pump(b, stream_begun));
    assert_false(is_paused(b));
    bench_hang_up(b);
    assert_true(bench_pump(b, nothing_pending));
}

static void a_client_may_go_while_its_stream_is_paused(void **state)
{
    struct bench *b = *state;

    fill(b);
    b->client.backlog = 2u << 20;
    bench_send(b, "GET", "/snapshot", NULL, 0);
    assert_true(bench_pump(b, is_paused));
    bench_hang_up(b);
    assert_true(nothing_pending(b)); /* it was in our hands */
}

static void a_stop_breaks_the_stream_off_visibly(void **state)
{
    struct bench *b = *state;

    fill(b);
    b->client.backlog = 2u << 20;
    bench_send(b, "GET", "/snapshot", NULL, 0);
    assert_true(bench_pump(b, is_paused));
    node_stop(b->world.hosts[0].node, 100);
    b->world.hosts[0].running = false;
    b->client.backlog = 0;
    api_door_drained(&b->client.door);
    assert_true(bench_pump(b, nothing_pending));
    assert_false(answer_whole(b));
    assert_true(http_session_done(b->client.session));
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct bench *b = *state;
    const char *first, *second;

    bench_send(b, "PUT", "/key/a", "1", 1);
    bench_send(b, "GET", "/version", NULL, 0); /* known at once, told later */
    bench_send(b, "GET", "/nowhere", NULL, 0);
    assert_true(bench_pump(b, nothing_pending));
    *rk_buf_reserve(&b->client.out, 1) = '\0';
    first = strstr((const char *)rk_buf_slice(&b->client.out).data, "{\"revision\"");
    second = strstr((const char *)rk_buf_slice(&b->client.out).data, "{\"raftkv\"");
    assert_true(first && second && first < second);
    assert_non_null(strstr(second, "not_found"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_key_is_put_got_and_deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(raw_gives_the_bytes_and_their_revision, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_and_values_may_be_any_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(several_keys_are_put_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_too_large_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_range_is_read_in_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(parameters_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_paths_and_methods_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(the_client_port_has_no_administrators_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(status_members_health_and_version_have_their_shapes, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_leader_it_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(redirect_sends_to_the_leader, setup, teardown),
        cmocka_unit_test_setup_teardown(each_outcome_has_its_status_and_code, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopped_node_is_unavailable, setup, teardown),
        cmocka_unit_test_setup_teardown(the_admin_socket_changes_members, setup, teardown),
        cmocka_unit_test_setup_teardown(the_admin_socket_joins_and_snapshots, setup, teardown),
        cmocka_unit_test_setup_teardown(the_snapshot_is_streamed_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_reads_slowly_pauses_the_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_goes_takes_nothing_along, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_may_go_while_its_stream_is_away, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_may_go_while_its_stream_is_paused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_breaks_the_stream_off_visibly, setup, teardown),
        cmocka_unit_test_setup_teardown(pipelined_requests_are_answered_in_order, setup, teardown),
    };

    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
