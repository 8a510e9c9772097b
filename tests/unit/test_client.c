/* tests/unit/test_client.c - lib/client against sockets that answer from a script: which endpoint is asked,
 * what is sent again and what never is, and the decoding of answers. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/client/client.h"
#include "lib/client/client_private.h"

/* --- a server that reads a request, answers with the next text, and closes when the text says so
 * -------------------------- */

#define REQUESTS_MAX 16u

struct fake {
    char path[64];
    const char *const *answers; /* NULL ends the list; "" closes without an answer */
    int listener;
    pthread_t acceptor, threads[REQUESTS_MAX]; /* one for each connection */
    pthread_mutex_t mutex;
    char requests[REQUESTS_MAX][1024];
    unsigned request_count, connection_count;
    bool close_each; /* the connection dies after each answer, without saying so */
};

struct connection {
    struct fake *fake;
    int fd;
};

static bool read_request(int fd, char *text, size_t size)
{
    size_t len = 0;
    while (len + 1 < size) {
        ssize_t n = read(fd, text + len, size - 1 - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
        text[len] = '\0';
        if (strstr(text, "\r\n\r\n"))
            return true;
    }
    return false;
}

/* The answer to a request, or "" when the script is at its end. */
static const char *next_answer(struct fake *fake, const char *request)
{
    const char *answer = "";
    pthread_mutex_lock(&fake->mutex);
    if (fake->request_count < REQUESTS_MAX)
        snprintf(fake->requests[fake->request_count], sizeof(fake->requests[0]), "%s", request);
    fake->request_count++;
    if (*fake->answers)
        answer = *fake->answers++;
    pthread_mutex_unlock(&fake->mutex);
    return answer;
}

static void *connection_run(void *userdata)
{
    struct connection *connection = userdata;
    char request[1024];
    bool open = true;
    while (open && read_request(connection->fd, request, sizeof(request))) {
        const char *answer = next_answer(connection->fake, request);
        open =
            answer[0] && write(connection->fd, answer, strlen(answer)) > 0 && !connection->fake->close_each;
    }
    close(connection->fd);
    free(connection);
    return NULL;
}

static void *fake_run(void *userdata)
{
    struct fake *fake = userdata;
    int fd;
    while (fake->connection_count < REQUESTS_MAX && (fd = accept(fake->listener, NULL, NULL)) >= 0) {
        struct connection *connection = RK_NEW(struct connection);
        *connection = (struct connection){.fake = fake, .fd = fd};
        if (pthread_create(&fake->threads[fake->connection_count], NULL, connection_run, connection) != 0)
            abort();
        fake->connection_count++;
    }
    return NULL;
}

static void fake_start(struct fake *fake, const char *const *answers)
{
    static unsigned number;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(fake->path, sizeof(fake->path), "/tmp/raftkv-test-client.%d.%u", (int)getpid(), number++);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", fake->path);
    fake->answers = answers;
    pthread_mutex_init(&fake->mutex, NULL);
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fake->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fake->listener, 8), 0);
    assert_int_equal(pthread_create(&fake->acceptor, NULL, fake_run, fake), 0);
}

/* The client must be gone before, so that no thread is reading from it. */
static void fake_stop(struct fake *fake)
{
    shutdown(fake->listener, SHUT_RDWR);
    pthread_join(fake->acceptor, NULL);
    for (unsigned i = 0; i < fake->connection_count; i++)
        pthread_join(fake->threads[i], NULL);
    pthread_mutex_destroy(&fake->mutex);
    close(fake->listener);
    unlink(fake->path);
}

static struct client *make_client(const char *first, const char *second)
{
    char names[2][80];
    const char *endpoints[2] = {names[0], names[1]};
    struct client_options options = {
        .endpoints = endpoints, .endpoint_count = second ? 2 : 1, .timeout_ms = 5000};
    struct client *client = NULL;
    snprintf(names[0], sizeof(names[0]), "unix:%s", first);
    snprintf(names[1], sizeof(names[1]), "unix:%s", second ? second : "");
    assert_int_equal(client_new(&options, &client), 0);
    return client;
}

#define JSON_OK   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define GOOD      JSON_OK "Content-Length: 14\r\n\r\n{\"revision\":7}"
#define NO_LEADER "HTTP/1.1 503 x\r\nContent-Length: 35\r\n\r\n{\"code\":\"no_leader\",\"message\":\"hm\"}"
#define TIMEOUT   "HTTP/1.1 504 x\r\nContent-Length: 33\r\n\r\n{\"code\":\"timeout\",\"message\":\"hm\"}"

static int set_a(struct client *client)
{
    uint64_t revision = 0;
    int r = client_set(client, rk_slice_str("a"), rk_slice_str(""), &revision);
    if (r == 0)
        assert_int_equal(revision, 7);
    return r;
}

#define SESSION       JSON_OK "Content-Length: 16\r\n\r\n{\"session\":\"5a\"}"
#define GONE          "{\"code\":\"no_session\",\"message\":\"hm\"}"
#define NO_SESSION    "HTTP/1.1 410 x\r\nContent-Length: 36\r\n\r\n" GONE
#define NOTHING_THERE "HTTP/1.1 404 x\r\nContent-Length: 2\r\n\r\n{}"

/* A change that has no number. */
static int change(struct client *client)
{
    return client_member_remove(client, "a");
}

/* ---- endpoints ---- */

static void test_endpoints_that_cannot_be_understood(void **state)
{
    (void)state;
    static const char *const bad[] = {"",          "unix:",     "/run/x",          "ftp://h",
                                      "http://",   "https:///", "http://h:1/path", "http://u@h:2379",
                                      "http://h?x"};
    for (size_t i = 0; i < RK_ARRAY_LEN(bad); i++) {
        struct client_options options = {.endpoints = &bad[i], .endpoint_count = 1};
        struct client *client = NULL;
        assert_int_equal(client_new(&options, &client), -EINVAL);
        assert_null(client);
    }
    struct client *client = NULL;
    assert_int_equal(client_new(NULL, &client), 0);
    assert_string_equal(client_error(client), "no error");
    assert_string_equal(client_error_code(client), "");
    client_free(client);
    client_free(NULL);
}

static void test_next_endpoint_when_one_is_not_there_or_has_no_leader(void **state)
{
    (void)state;
    struct fake without = {0}, with = {0};
    fake_start(&without, (const char *const[]){NO_LEADER, NULL});
    fake_start(&with, (const char *const[]){GOOD, GOOD, GOOD, NULL});
    struct client *client = make_client("/nonexistent/socket", with.path);
    assert_int_equal(change(client), 0);
    assert_int_equal(change(client), 0); /* begins where it was answered */
    client_free(client);
    client = make_client(without.path, with.path);
    assert_int_equal(change(client), 0);
    client_free(client);
    fake_stop(&without);
    fake_stop(&with);
    assert_int_equal(without.request_count, 1);
    assert_int_equal(with.request_count, 3);
}

static void test_when_all_endpoints_fail_the_last_one_is_told(void **state)
{
    (void)state;
    struct fake fake = {0};
    fake_start(&fake, (const char *const[]){NO_LEADER, NULL});
    struct client *client = make_client("/nonexistent/socket", fake.path);
    assert_int_equal(change(client), CLIENT_E_UNAVAILABLE);
    assert_string_equal(client_error(client), "hm");
    assert_string_equal(client_error_code(client), "no_leader");
    client_free(client);
    client = make_client("/nonexistent/socket", NULL);
    assert_int_equal(change(client), CLIENT_E_UNREACHABLE);
    assert_non_null(strstr(client_error(client), "No such file"));
    assert_string_equal(client_error_code(client), "");
    client_free(client);
    fake_stop(&fake);
}

/* --- what may be sent again
 * --------------------------------------------------------------------------------------------------- */

static void test_a_change_of_unknown_outcome_goes_to_no_other_endpoint(void **state)
{
    (void)state;
    static const char *const answers[] = {"", TIMEOUT, "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"rev",
                                          NULL};
    struct fake broken = {.close_each = true}, good = {0};
    fake_start(&broken, answers);
    fake_start(&good, (const char *const[]){GOOD, NULL});
    for (unsigned i = 0; i < 3; i++) {
        struct client *client = make_client(broken.path, good.path);
        assert_int_equal(change(client), CLIENT_E_UNKNOWN);
        client_free(client);
    }
    fake_stop(&broken);
    fake_stop(&good);
    assert_int_equal(broken.request_count, 3);
    assert_int_equal(good.request_count, 0);
}

/* libcurl repeats a request on a kept connection that dies before an answer; a change must not be repeated.
 */
static void test_a_change_is_sent_once_also_after_a_read_on_a_kept_connection(void **state)
{
    (void)state;
    struct fake fake = {0};
    json_t *status = NULL;
    fake_start(&fake, (const char *const[]){GOOD, "", GOOD, NULL});
    struct client *client = make_client(fake.path, NULL);
    assert_int_equal(client_status(client, &status), 0);
    json_decref(status);
    assert_int_equal(change(client), CLIENT_E_UNKNOWN);
    client_free(client);
    fake_stop(&fake);
    assert_int_equal(fake.request_count, 2);
}

/* --- changes of keys, which carry a number
 * -------------------------------------------------------------------------------------------------- */

static void assert_numbered(const char *request, const char *sequence)
{
    RK_CLEANUP(rk_freep) char *line = rk_asprintf("Raftkv-Sequence: %s\r\n", sequence);
    assert_non_null(strstr(request, "PUT /key/a HTTP/1.1\r\n"));
    assert_non_null(strstr(request, "Raftkv-Session: 5a\r\n"));
    assert_non_null(strstr(request, line));
}

static void test_a_numbered_change_is_sent_again_with_its_number_until_it_is_answered(void **state)
{
    (void)state;
    static const char *const first[] = {SESSION, "", NO_LEADER, GOOD, GOOD, NULL};
    struct fake one = {.close_each = true}, other = {.close_each = true};
    fake_start(&one, first);
    fake_start(&other, (const char *const[]){TIMEOUT, TIMEOUT, GOOD, NULL});
    struct client *client = make_client(one.path, other.path);
    assert_int_equal(set_a(client), 0);
    assert_int_equal(set_a(client), 0);
    client_free(client);
    fake_stop(&one);
    fake_stop(&other);
    assert_non_null(strstr(one.requests[0], "POST /session HTTP/1.1\r\n"));
    assert_null(strstr(one.requests[0], "Raftkv-"));
    assert_numbered(one.requests[1], "1");
    assert_numbered(other.requests[0], "1");
    assert_numbered(one.requests[2], "1"); /* "no leader" is no answer to the first attempt */
    assert_numbered(other.requests[1], "1");
    assert_numbered(one.requests[3], "1");
    assert_numbered(one.requests[4], "2");
}

static void test_a_change_that_was_refused_at_first_is_not_sent_again(void **state)
{
    (void)state;
    struct fake fake = {.close_each = true};
    fake_start(&fake, (const char *const[]){SESSION, NO_LEADER, GOOD, NULL});
    struct client *client = make_client(fake.path, NULL);
    assert_int_equal(set_a(client), CLIENT_E_UNAVAILABLE);
    client_free(client);
    fake_stop(&fake);
    assert_int_equal(fake.request_count, 2);
}

static void test_a_session_that_is_gone_is_opened_anew_unless_the_change_may_have_been_made(void **state)
{
    (void)state;
    static const char *const answers[] = {SESSION, NO_SESSION, SESSION, GOOD, GOOD, NULL};
    static const char *const unknown[] = {SESSION, "", NO_SESSION, GOOD, NULL};
    struct fake fake = {.close_each = true}, lost = {.close_each = true};
    fake_start(&fake, answers);
    struct client *client = make_client(fake.path, NULL);
    assert_int_equal(set_a(client), 0);
    client_free(client);
    fake_stop(&fake);
    assert_int_equal(fake.request_count, 5);
    assert_numbered(fake.requests[3], "1");
    assert_non_null(strstr(fake.requests[4], "DELETE /session/5a HTTP/1.1\r\n"));
    fake_start(&lost, unknown);
    client = make_client(lost.path, NULL);
    assert_int_equal(set_a(client), CLIENT_E_UNKNOWN);
    client_free(client);
    fake_stop(&lost);
    assert_int_equal(lost.request_count, 3);
}

static void test_a_change_goes_once_and_without_number_to_a_server_without_sessions(void **state)
{
    (void)state;
    struct fake fake = {.close_each = true};
    fake_start(&fake, (const char *const[]){NOTHING_THERE, GOOD, NOTHING_THERE, "", GOOD, NULL});
    struct client *client = make_client(fake.path, NULL);
    assert_int_equal(set_a(client), 0);
    assert_int_equal(set_a(client), CLIENT_E_UNKNOWN);
    client_free(client);
    fake_stop(&fake);
    assert_int_equal(fake.request_count, 4);
    assert_null(strstr(fake.requests[1], "Raftkv-"));
    assert_null(strstr(fake.requests[3], "Raftkv-"));
}

static void test_reads_keep_their_connection(void **state)
{
    (void)state;
    struct fake fake = {0};
    fake_start(&fake, (const char *const[]){GOOD, GOOD, GOOD, NULL});
    struct client *client = make_client(fake.path, NULL);
    for (unsigned i = 0; i < 3; i++) {
        json_t *status = NULL;
        assert_int_equal(client_status(client, &status), 0);
        json_decref(status);
    }
    client_free(client);
    fake_stop(&fake);
    assert_int_equal(fake.connection_count, 1);
}

static void test_a_read_after_a_change_sends_no_body(void **state)
{
    (void)state;
    struct fake fake = {0};
    json_t *status = NULL;
    fake_start(&fake, (const char *const[]){GOOD, GOOD, NULL});
    struct client *client = make_client(fake.path, NULL);
    fake.close_each = true;
    assert_int_equal(client_transfer_leader(client, "x", &status), 0);
    json_decref(status);
    assert_int_equal(client_status(client, &status), 0);
    json_decref(status);
    client_free(client);
    fake_stop(&fake);
    assert_non_null(strstr(fake.requests[0], "POST /cluster/transfer HTTP/1.1\r\n"));
    assert_non_null(strstr(fake.requests[0], "Content-Type: application/json\r\n"));
    assert_non_null(strstr(fake.requests[1], "GET /status HTTP/1.1\r\n"));
    assert_null(strstr(fake.requests[1], "Content-"));
}

/* ---- decoding ---- */

static void test_numbers_that_are_none(void **state)
{
    (void)state;
    json_t *json =
        json_pack("{s:i, s:s, s:n, s:f, s:i}", "negative", -1, "text", "1", "null", "real", 1.5, "good", 5);
    assert_int_equal(client_json_u64(json, "good", 9), 5);
    assert_int_equal(client_json_u64(json, "negative", 9), 9);
    assert_int_equal(client_json_u64(json, "text", 9), 9);
    assert_int_equal(client_json_u64(json, "null", 9), 9);
    assert_int_equal(client_json_u64(json, "real", 9), 9);
    assert_int_equal(client_json_u64(NULL, "good", 9), 9);
    assert_null(client_json_str(json, "good", NULL));
    json_decref(json);
}

static void test_response_headers(void **state)
{
    (void)state;
    struct client_response response = {0};
    rk_buf_append_str(&response.headers,
                      "HTTP/1.1 200 OK\r\nRaftkv-Revision:  12 \r\nraftkv-rev: 3\r\nempty:\r\nlast: x");
    static const char *const want[][2] = {
        {"raftkv-revision", "12"}, {"raftkv-rev", "3"}, {"empty", ""}, {"last", "x"}};
    for (size_t i = 0; i < RK_ARRAY_LEN(want); i++) {
        char *value = client_response_header(&response, want[i][0]);
        assert_string_equal(value, want[i][1]);
        free(value);
    }
    assert_null(client_response_header(&response, "raftkv"));
    client_response_deinit(&response);
}

static int refuse_piece(void *userdata, struct rk_slice piece)
{
    (void)userdata, (void)piece;
    return -ENOSPC;
}

static void test_a_sink_that_fails_ends_the_stream(void **state)
{
    (void)state;
    struct fake fake = {0};
    struct client_snapshot snapshot;
    fake_start(&fake, (const char *const[]){GOOD, NULL});
    struct client *client = make_client(fake.path, NULL);
    assert_int_equal(client_snapshot_read(client, refuse_piece, NULL, &snapshot), -ENOSPC);
    client_free(client);
    fake_stop(&fake);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoints_that_cannot_be_understood),
        cmocka_unit_test(test_next_endpoint_when_one_is_not_there_or_has_no_leader),
        cmocka_unit_test(test_when_all_endpoints_fail_the_last_one_is_told),
        cmocka_unit_test(test_a_change_of_unknown_outcome_goes_to_no_other_endpoint),
        cmocka_unit_test(test_a_change_is_sent_once_also_after_a_read_on_a_kept_connection),
        cmocka_unit_test(test_a_numbered_change_is_sent_again_with_its_number_until_it_is_answered),
        cmocka_unit_test(test_a_change_that_was_refused_at_first_is_not_sent_again),
        cmocka_unit_test(test_a_session_that_is_gone_is_opened_anew_unless_the_change_may_have_been_made),
        cmocka_unit_test(test_a_change_goes_once_and_without_number_to_a_server_without_sessions),
        cmocka_unit_test(test_reads_keep_their_connection),
        cmocka_unit_test(test_a_read_after_a_change_sends_no_body),
        cmocka_unit_test(test_numbers_that_are_none),
        cmocka_unit_test(test_response_headers),
        cmocka_unit_test(test_a_sink_that_fails_ends_the_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
