/* tests/bench/bench_client.c - a client: asks, waits for the answer, asks again; connects anew when it must.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_clock.h"
#include "tests/bench/bench.h"

#define CONNECT_MS 10000u
#define RETRY_MS   200u

struct bench_client {
    struct bench_load *load;
    const char *member;
    struct net_conn *conn; /* NULL while waiting to connect again, and at the end */
    struct net_timer timer;
    struct rk_buf in, out;
    uint64_t asked_us; /* 0: nothing under way */
    bool left;
};

static uint64_t now_us(void)
{
    return rk_clock_now_us(&rk_clock_boottime);
}

static void count_error(struct bench_load *load, const char *why)
{
    load->errors++;
    snprintf(load->error, sizeof(load->error), "%s", why);
}

/* Whether this client is done: at the end, or when there is no key left to fill. */
static bool is_over(const struct bench_load *load)
{
    return load->ending || (load->plan.fill && load->next_key >= load->plan.keys);
}

static void leave(struct bench_client *client)
{
    struct bench_load *load = client->load;
    client->left = true;
    if (client->conn)
        net_conn_close(client->conn, false, "");
    net_timer_cancel(&client->timer);
    if (--load->running == 0)
        net_loop_stop(load->loop);
}

static void ask(struct bench_client *client)
{
    struct bench_load *load = client->load;
    const struct bench_plan *plan = &load->plan;
    if (is_over(load)) {
        leave(client);
        return;
    }
    uint32_t key = plan->fill ? load->next_key++ : (uint32_t)(rk_random_next(&load->random) % plan->keys);
    bool read = !plan->fill && rk_random_next(&load->random) % 100 < plan->reads_percent;
    rk_buf_clear(&client->out);
    bench_ask(plan, client->member, key, read, &load->random, &client->out);
    client->asked_us = now_us();
    net_conn_write(client->conn, rk_buf_slice(&client->out));
}

static void answered(struct bench_client *client, unsigned status)
{
    char text[64];
    if (status >= 200 && status < 300) {
        bench_histogram_add(&client->load->histogram, now_us() - client->asked_us);
    } else {
        snprintf(text, sizeof(text), "HTTP status %u", status);
        count_error(client->load, text);
    }
    client->asked_us = 0;
    ask(client);
}

/* ---- the connection's events ---------------------------------------------------------------- */

static void on_ready(struct net_conn *conn RK_UNUSED, void *userdata)
{
    ask(userdata);
}

static void on_data(struct net_conn *conn, void *userdata, struct rk_slice bytes)
{
    struct bench_client *client = userdata;
    unsigned status;
    size_t len;
    rk_buf_append_slice(&client->in, bytes);
    int r = bench_response(rk_buf_slice(&client->in), &status, &len);
    if (r < 0 || (r > 0 && client->asked_us == 0)) {
        net_conn_close(conn, false, "the answer is not HTTP/1.1");
    } else if (r > 0) {
        rk_buf_consume(&client->in, len);
        answered(client, status);
    }
}

static void on_closed(struct net_conn *conn RK_UNUSED, void *userdata, const char *why)
{
    struct bench_client *client = userdata;
    struct bench_load *load = client->load;
    client->conn = NULL;
    client->asked_us = 0;
    rk_buf_clear(&client->in);
    if (client->left)
        return;
    count_error(load, why[0] != '\0' ? why : "the server closed the connection");
    if (is_over(load))
        leave(client);
    else
        net_timer_set(&client->timer, net_loop_now_us(load->loop) + RETRY_MS * RK_USEC_PER_MSEC);
}

static const struct net_conn_ops conn_ops = {.ready = on_ready, .data = on_data, .closed = on_closed};

static void dial(struct net_timer *timer)
{
    struct bench_client *client = RK_CONTAINER_OF(timer, struct bench_client, timer);
    struct bench_load *load = client->load;
    client->conn = net_conn_connect(load->loop, load->resolver, client->member, load->tls, CONNECT_MS,
                                    &conn_ops, client);
}

/* ---- all of them ------------------------------------------------------------------------------ */

void bench_load_start(struct bench_load *load)
{
    const struct bench_plan *plan = &load->plan;
    load->clients = RK_NEW_ARRAY(struct bench_client, plan->clients);
    load->running = plan->clients;
    for (uint32_t i = 0; i < plan->clients; i++) {
        struct bench_client *client = &load->clients[i];
        client->load = load;
        client->member = plan->members[i % plan->member_count];
        net_timer_init(&client->timer, load->loop, dial);
        dial(&client->timer);
    }
}

void bench_load_reset(struct bench_load *load)
{
    load->histogram = (struct bench_histogram){0};
    load->errors = 0;
    load->error[0] = '\0';
}

void bench_load_end(struct bench_load *load)
{
    load->ending = true;
    for (uint32_t i = 0; i < load->plan.clients && load->running > 0; i++)
        if (load->clients[i].asked_us == 0 && !load->clients[i].left)
            leave(&load->clients[i]);
}

void bench_load_deinit(struct bench_load *load)
{
    for (uint32_t i = 0; i < load->plan.clients; i++) {
        struct bench_client *client = &load->clients[i];
        rk_assert(!client->conn);
        net_timer_cancel(&client->timer);
        rk_buf_deinit(&client->in);
        rk_buf_deinit(&client->out);
    }
    free(load->clients);
}
