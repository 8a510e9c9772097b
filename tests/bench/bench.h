/* tests/bench/bench.h - what the load generator's files share.
 *
 * One loop, one thread: a connection per client, each with one request under way at
 * a time (closed loop). So the rate is clients / latency, and a slow answer is never
 * hidden by requests that were not sent. */
#ifndef BENCH_H
#define BENCH_H

#include "lib/base/rk_buf.h"
#include "lib/base/rk_random.h"
#include "lib/net/net.h"

#define BENCH_MEMBERS_MAX 16u

/* ---- latencies (bench_histogram.c) ------------------------------------------------ */

/* Log-linear: 64 buckets for each power of two, so what is read out is at most 1/64 above what was put in;
 * below 128 us it is exact. */
#define BENCH_BUCKETS (64u * 60u)

struct bench_histogram {
    uint64_t count, sum_us, max_us;
    uint64_t buckets[BENCH_BUCKETS];
};

void bench_histogram_add(struct bench_histogram *histogram, uint64_t us);
/* The time within which so many of a million ended; 0 when there are none. */
uint64_t bench_histogram_at(const struct bench_histogram *histogram, uint32_t millionth);

/* ---- what is asked (bench_ask.c) ---------------------------------------------------- */

enum bench_api {
    BENCH_RAFTKV, /* PUT and GET /key/NAME */
    BENCH_ETCD,   /* POST /v3/kv/put and /v3/kv/range, JSON with base64 */
};

struct bench_plan {
    enum bench_api api;
    const char *members[BENCH_MEMBERS_MAX]; /* host:port */
    uint32_t member_count;
    uint32_t clients, keys, value_bytes;
    uint32_t reads_percent;
    bool stale;         /* reads from the member's own state */
    bool fill;          /* write each key once, in order, and end */
    const char *prefix; /* of the keys */
    uint32_t warmup_ms, run_ms;
    uint64_t seed;
};

/* Appends one HTTP/1.1 request. */
void bench_ask(const struct bench_plan *plan, const char *host, uint32_t key, bool read,
               struct rk_random *random, struct rk_buf *ret);
/* Looks for one whole response at the front of in: 1 with its status and length, 0 when more must come, or
 * -EBADMSG. */
int bench_response(struct rk_slice in, unsigned *ret_status, size_t *ret_bytes);

/* ---- clients (bench_client.c) --------------------------------------------------------- */

struct bench_load {
    struct bench_plan plan;
    struct net_loop *loop;
    struct net_tls *tls;
    struct net_resolver *resolver;
    struct bench_client *clients;
    struct rk_random random;
    uint32_t next_key; /* fill */
    uint32_t running;  /* clients that have not ended */
    bool ending;
    /* since the last reset */
    struct bench_histogram histogram;
    uint64_t errors;
    char error[256]; /* the last one */
};

void bench_load_start(struct bench_load *load);
void bench_load_reset(struct bench_load *load); /* the warm-up is over: counting begins */
/* Each client ends when its request has been answered; the loop stops with the last one. */
void bench_load_end(struct bench_load *load);
void bench_load_deinit(struct bench_load *load); /* before the loop is freed */

#endif
