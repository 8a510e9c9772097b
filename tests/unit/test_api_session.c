/* tests/unit/test_api_session.c - client sessions over HTTP: numbered writes, what is refused, and how. */
#include "tests/unit/api_fixture.h"

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

static void open_session(struct bench *b, char id[20])
{
    assert_int_equal(ask_http(b, "POST", "/session", NULL), 200);
    snprintf(id, 20, "%s", text_in(b, "session"));
    assert_int_equal(strlen(id), 16);
}

static void a_session_is_opened_with_its_time_to_live(void **state)
{
    struct bench *b = *state;
    char id[20];

    open_session(b, id);
    assert_int_equal(number_in(b, "ttl"), 600);
    assert_int_equal(number_in(b, "window"), RK_SESSION_WINDOW);
    assert_int_equal(ask_http(b, "POST", "/session", "{\"ttl\":10}"), 200);
    assert_int_equal(number_in(b, "ttl"), 10);
    assert_string_not_equal(text_in(b, "session"), id);
    assert_int_equal(ask_http(b, "GET", "/status", NULL), 200);
    assert_int_equal(number_in(b, "sessions"), 2);
    static const char *const bad[] = {
        "{\"ttl\":9}", "{\"ttl\":86401}", "{\"ttl\":-1}", "{\"ttl\":\"60\"}", "[]", "ttl"};
    for (size_t i = 0; i < RK_ARRAY_LEN(bad); i++) {
        ask_http(b, "POST", "/session", bad[i]);
        refused_as(b, 400, "bad_request");
    }
}

static void a_number_that_comes_again_gets_the_first_answer(void **state)
{
    struct bench *b = *state;
    char id[20];

    open_session(b, id);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask_numbered(b, "PUT", "/key/a", "1", id, "1"), 200);
        assert_int_equal(number_in(b, "revision"), 2);
    }
    assert_int_equal(ask_numbered(b, "POST", "/key", "{\"b\":\"1\",\"c\":\"2\"}", id, "2"), 200);
    assert_int_equal(ask_numbered(b, "POST", "/key", "{\"b\":\"1\",\"c\":\"2\"}", id, "2"), 200);
    assert_int_equal(number_in(b, "revision"), 3);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask_numbered(b, "DELETE", "/key/a", NULL, id, "3"), 200);
        assert_int_equal(number_in(b, "deleted"), 1);
        assert_int_equal(number_in(b, "revision"), 4);
    }
    assert_int_equal(ask_http(b, "PUT", "/key/x", "1"), 200);
    assert_int_equal(number_in(b, "revision"), 5);
}

static void what_is_wrong_with_a_number_is_said(void **state)
{
    struct bench *b = *state;
    char id[20];

    open_session(b, id);
    assert_int_equal(ask_numbered(b, "PUT", "/key/a", "1", id, "100"), 200);
    ask_numbered(b, "PUT", "/key/a", "2", id, "100");
    refused_as(b, 409, "sequence_reused");
    ask_numbered(b, "PUT", "/key/a", "1", id, "84");
    refused_as(b, 409, "sequence_old");
    assert_int_equal(ask_numbered(b, "PUT", "/key/a", "1", id, "85"), 200);
    ask_numbered(b, "PUT", "/key/a", "1", "0123456789abcdef", "1");
    refused_as(b, 410, "no_session");
    static const char *const bad[][2] = {{NULL, "1"},
                                         {"5", NULL},
                                         {"5", "0"},
                                         {"5", "-1"},
                                         {"5", "+1"},
                                         {"0", "1"},
                                         {"xyz", "1"},
                                         {"5", "18446744073709551616"},
                                         {"0x5", "1"},
                                         {"5", "1 2"},
                                         {"5", "1x"},
                                         {"12345678901234567", "1"},
                                         {"5", "00000000000000000000000001"}};
    for (size_t i = 0; i < RK_ARRAY_LEN(bad); i++) {
        ask_numbered(b, "PUT", "/key/a", "1", bad[i][0], bad[i][1]);
        refused_as(b, 400, "bad_request");
    }
    assert_int_equal(ask_http(b, "GET", "/key?prefix=", NULL), 200);
    assert_int_equal(number_in(b, "revision"), 3); /* none of them was carried out */
}

static void an_ended_session_is_gone(void **state)
{
    struct bench *b = *state;
    char id[20], path[40];

    open_session(b, id);
    snprintf(path, sizeof(path), "/session/%s", id);
    assert_int_equal(ask_http(b, "DELETE", path, NULL), 200);
    ask_http(b, "DELETE", path, NULL);
    refused_as(b, 410, "no_session");
    ask_numbered(b, "PUT", "/key/a", "1", id, "1");
    refused_as(b, 410, "no_session");
    ask_http(b, "DELETE", "/session/me", NULL);
    refused_as(b, 400, "bad_request");
    ask_http(b, "GET", path, NULL);
    refused_as(b, 405, "method_not_allowed");
}

static void reads_need_no_number(void **state)
{
    struct bench *b = *state;

    assert_int_equal(ask_numbered(b, "PUT", "/key/a", "1", NULL, NULL), 200);
    assert_int_equal(ask_numbered(b, "GET", "/key/a", NULL, "5", "1"), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_session_is_opened_with_its_time_to_live, setup, teardown),
        cmocka_unit_test_setup_teardown(a_number_that_comes_again_gets_the_first_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_with_a_number_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(an_ended_session_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_need_no_number, setup, teardown),
    };

    return cmocka_run_group_tests_name("api sessions", tests, NULL, NULL);
}
