/* tests/sim/sim_client.c - clients: each has one operation under way at most, through any member. */
#include <stdio.h>

#include "tests/sim/sim.h"

enum { REPLY = 1 };

static struct sim_op *ask(struct sim_host *host, struct node_call *call, uint32_t client)
{
    struct sim_op *op = sim_history_begin(host->sim, host, call, client);

    call->userdata = op;
    sim_space_is_low = host->low_space;
    node_submit(host->node, call);
    return op;
}

static struct node_call *new_call(struct sim *sim, enum node_call_kind kind)
{
    return node_call_new(kind, &sim->replies, REPLY);
}

struct node_call *sim_new_call(struct sim *sim, enum node_call_kind kind)
{
    return new_call(sim, kind);
}

void sim_ask_call(struct sim_host *host, struct node_call *call)
{
    ask(host, call, SIM_CLIENTS_MAX);
}

void sim_ask(struct sim_host *host, enum node_call_kind kind, const char *body, bool discard)
{
    struct node_call *call = new_call(host->sim, kind);

    call->body = body ? rk_blob_copy(rk_slice_str(body)) : NULL;
    call->discard = discard;
    ask(host, call, SIM_CLIENTS_MAX);
}

/* ---- operations --------------------------------------------------------------------------------- */

#define VALUE_MAX 8192u

struct ops {
    struct mvcc_op op[4];
    uint32_t count;
    char keys[4][8], values[4][VALUE_MAX];
};

static void add_put(struct sim *sim, struct ops *ops, uint64_t key)
{
    uint32_t i = ops->count++;
    size_t len = sim_between(sim, 8, sim->tune.value_max);
    int n;

    snprintf(ops->keys[i], sizeof(ops->keys[i]), "k%u", (unsigned)key);
    n = snprintf(ops->values[i], VALUE_MAX, "v%llu", (unsigned long long)++sim->next_value);
    memset(ops->values[i] + n, '.', VALUE_MAX - (size_t)n);
    ops->op[i] = (struct mvcc_op){.kind = MVCC_OP_PUT,
                                  .key = rk_slice_str(ops->keys[i]),
                                  .value = rk_slice(ops->values[i], rk_max_u64(len, (uint64_t)n))};
}

static void add_delete(struct sim *sim, struct ops *ops, uint64_t key)
{
    uint32_t i = ops->count++;

    snprintf(ops->keys[i], sizeof(ops->keys[i]), "k%u", (unsigned)key);
    ops->op[i] = (struct mvcc_op){.kind = MVCC_OP_DELETE, .key = rk_slice_str(ops->keys[i])};
    if (sim_chance(sim, 10)) /* all from there on */
        ops->op[i].end = rk_slice("", 1);
}

static struct node_call *make_write(struct sim *sim, struct sim_host *host)
{
    struct node_call *call = new_call(sim, NODE_CALL_WRITE);
    struct ops *ops = RK_NEW(struct ops);
    uint64_t key = sim_below(sim, sim->tune.keys), shape = sim_below(sim, 100);

    if (shape < 15) {
        add_delete(sim, ops, key);
    } else if (shape < 35 && sim->tune.keys >= 3) {
        add_put(sim, ops, key);
        add_put(sim, ops, (key + 1) % sim->tune.keys);
        if (shape < 20)
            add_put(sim, ops, (key + 2) % sim->tune.keys);
    } else {
        add_put(sim, ops, key);
    }
    call->body = node_write_body(host->node, ops->op, ops->count);
    free(ops);
    return call;
}

/* ---- numbered writes ------------------------------------------------------------------------- */

static struct sim_write *new_write(struct sim *sim, struct sim_session *session)
{
    struct sim_write *write = RK_NEW(struct sim_write);

    write->number = (struct mvcc_number){.session = session->id, .sequence = ++session->sequence};
    write->floor = sim->check->told;
    write->next = sim->check->writes;
    sim->check->writes = write;
    snprintf(session->value, sizeof(session->value), "n%llu", (unsigned long long)++sim->next_value);
    return write;
}

/* A session is opened first; a write in it is asked for, through any host, until its outcome is known. */
static struct node_call *make_numbered(struct sim *sim, struct sim_host *host, uint32_t client)
{
    struct sim_session *session = &sim->sessions[client];
    struct node_call *call = new_call(sim, NODE_CALL_WRITE);
    struct mvcc_op op = {.kind = MVCC_OP_PUT, .key = rk_slice_str("numbered")};

    if (!session->open) {
        *session = (struct sim_session){.id = sim_between(sim, 1, UINT32_MAX)};
        call->body = node_session_body(host->node, MVCC_SESSION_OPEN, session->id, RK_SESSION_TTL_MS_MIN);
        return call;
    }
    if (!session->write)
        session->write = new_write(sim, session);
    op.value = rk_slice_str(session->value);
    call->body = node_numbered_body(host->node, &session->write->number, &op, 1);
    return call;
}

static void numbered_back(struct sim *sim, struct sim_op *op, const struct node_call *call)
{
    struct sim_session *session = &sim->sessions[op->client];
    struct mvcc_answer answer = {.outcome = MVCC_E_NO_SESSION};

    if (op->state != SIM_OP_OK)
        return; /* asked for again */
    if (mvcc_answer_decode(rk_blob_slice(call->answer), &answer) == 0 && answer.outcome == MVCC_OK)
        session->open = true;
    else if (answer.outcome == MVCC_E_NO_SESSION)
        session->open = false;
    if (answer.outcome == MVCC_OK || answer.outcome == MVCC_E_NO_SESSION)
        session->write = NULL;
}

static struct node_call *make_read(struct sim *sim)
{
    struct node_call *call = new_call(sim, NODE_CALL_READ);
    struct mvcc_query query = {0};
    uint64_t shape = sim_below(sim, 100);
    char key[8];

    snprintf(key, sizeof(key), "k%u", (unsigned)sim_below(sim, sim->tune.keys));
    query.key = rk_slice_str(key);
    if (sim_chance(sim, 20))
        query.end = rk_slice("", 1);
    call->body = mvcc_query_encode(&query);
    call->level = shape < 70 ? NODE_READ_CONSISTENT : shape < 85 ? NODE_READ_LEADER : NODE_READ_STALE;
    return call;
}

/* ---- a client's life -------------------------------------------------------------------------------- */

static void next_turn(struct sim *sim, uint32_t client)
{
    uint64_t us = sim_chance(sim, 5) ? sim_between(sim, 1, 300000) : sim_between(sim, 1, sim->tune.pause_us);

    sim_later(sim, us, SIM_EV_CLIENT)->arg = client;
}

void sim_client_start(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->tune.clients; i++)
        next_turn(sim, i);
}

void sim_client_turn(struct sim *sim, uint32_t client)
{
    struct sim_host *host = &sim->hosts[sim_below(sim, sim->host_count)];
    struct node_call *call;

    if (sim->healing)
        return;
    if (!sim_in_cluster(host) || sim->client_op[client]) {
        next_turn(sim, client);
        return;
    }
    bool writes = sim_chance(sim, sim->tune.writes),
         numbered = sim->sessions[client].write || (writes && sim_chance(sim, 40));
    call = numbered ? make_numbered(sim, host, client) : writes ? make_write(sim, host) : make_read(sim);
    if (sim_chance(sim, 60))
        call->deadline_us =
            sim_host_now(host) + sim_between(sim, 1000, sim_chance(sim, 50) ? 100000 : 1500000);
    call->no_forward = sim_chance(sim, 5);
    sim->client_op[client] = ask(host, call, client);
    sim->client_op[client]->numbered = numbered;
    if (numbered)
        sim->client_op[client]->write = sim->sessions[client].write;
}

void sim_client_probe(struct sim *sim, struct sim_host *host)
{
    struct node_call *call = sim_chance(sim, 50) ? make_write(sim, host) : make_read(sim);

    call->level = NODE_READ_CONSISTENT;
    /* Nobody's turn follows from it. */
    ask(host, call, SIM_CLIENTS_MAX + 1)->probe = true;
}

/* Right after a write everybody is asked: one of them may still believe to lead. */
static void ask_around(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->host_count; i++) {
        struct sim_host *host = &sim->hosts[i];
        struct node_call *call;

        if (!sim_in_cluster(host))
            continue;
        call = make_read(sim);
        call->level = NODE_READ_CONSISTENT;
        call->deadline_us = sim_host_now(host) + sim_between(sim, 1000, 400000);
        call->no_forward = sim_chance(sim, 50);
        ask(host, call, SIM_CLIENTS_MAX + 1);
    }
}

static void take_one(struct sim *sim, struct node_call *call, bool lost)
{
    struct sim_op *op = call->userdata;

    sim->answered++;
    sim_history_end(sim, op, call, lost);
    if (op->numbered)
        numbered_back(sim, op, call);
    if (op->client < SIM_CLIENTS_MAX) {
        sim->client_op[op->client] = NULL;
        next_turn(sim, op->client);
    }
    if (op->kind == NODE_CALL_WRITE && op->state == SIM_OP_OK && !sim->healing && !sim->dying &&
        sim_chance(sim, sim->now_us < sim->cut_until ? 30 : 5))
        ask_around(sim);
    if (op->probe && op->state == SIM_OP_OK && sim->hosts[op->host].life == op->life)
        sim->probed |= 1u << op->host;
    node_call_free(call);
}

void sim_take_replies(struct sim *sim, bool lost)
{
    struct rk_list mails, *it;

    rk_list_init(&mails);
    while (rk_mailbox_take(&sim->replies, &mails) > 0)
        while ((it = rk_list_pop_front(&mails)))
            take_one(sim, RK_CONTAINER_OF(RK_LIST_ITEM(it, struct rk_mail, link), struct node_call, mail),
                     lost);
}
