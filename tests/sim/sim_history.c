/* tests/sim/sim_history.c - what clients were told, held against what happened.
 *
 * The order of the log is the order in which writes happened, and every answer carries the
 * revision of the state that it speaks of. So a history is linearizable when
 *   - an acknowledged write is a committed entry, has done its work once however often it was
 *     proposed, and its answer is the model's;
 *   - a write that was refused ("nothing was done") is none, ever;
 *   - a write of unknown outcome has done its work once or never;
 *   - what a read shows is the model's state at the revision that it names;
 *   - whatever was told to anybody before an operation began is not newer than the state
 *     that the operation worked on (consistent reads and writes).
 * Reads at level leader and stale show some committed state, however old.
 * Every call comes back exactly once, and by its deadline. */
#include <inttypes.h>
#include <stdio.h>

#include "lib/mvcc/mvcc_command.h"
#include "tests/sim/sim.h"

#define SLACK_US 30000u

/* ---- beginning ------------------------------------------------------------------------------- */

/* The host's clock may run slower or faster than time. */
static uint64_t in_sim_time(const struct sim_host *host, uint64_t deadline_us)
{
    uint64_t now = sim_host_now(host);
    int64_t rest = deadline_us > now ? (int64_t)(deadline_us - now) : 0;

    return host->sim->now_us + (uint64_t)(rest * 1000000 / (1000000 + host->drift_ppm)) + 1;
}

struct sim_op *sim_history_begin(struct sim *sim, struct sim_host *host, const struct node_call *call,
                                 uint32_t client)
{
    struct sim_check *check = sim->check;
    struct sim_op *op = RK_NEW(struct sim_op);
    uint64_t deadline = call->deadline_us;

    if (deadline == 0)
        deadline = sim_host_now(host) + sim->tune.request_ms * RK_USEC_PER_MSEC;
    op->number = ++check->op_count;
    op->client = client;
    op->host = host->number;
    op->life = host->life;
    op->kind = call->kind;
    op->level = call->level;
    op->start_us = sim->now_us;
    op->deadline_us = in_sim_time(host, deadline);
    op->floor = check->told;
    op->body = rk_blob_ref(call->body);
    *check->ops_tail = op;
    check->ops_tail = &op->next;
    if (op->kind == NODE_CALL_WRITE) {
        uint64_t key = sim_hash(2, rk_blob_slice(op->body));
        rk_assert(!rk_map_put(&check->bodies, key, op));
    }
    sim->asked++;
    sim_note(sim, "ask", op->number, host->number, (uint64_t)op->kind << 8 | op->level);
    return op;
}

/* ---- writes ------------------------------------------------------------------------------------- */

/* Whether the entry has done what it must: a first one its work, a repeated one nothing. The values that are
 * put never repeat, so a put that does its work makes a revision. */
static bool numbered_effect_ok(struct sim *sim, const struct sim_op *op, uint64_t index, uint64_t raised)
{
    struct sim_write *write = op->write;
    struct mvcc_answer answer;

    if (mvcc_answer_decode(rk_blob_slice(sim->check->at[index].answer), &answer) != 0)
        return false;
    if (!write) /* a session is opened */
        return raised == 0;
    if (raised == 1 && answer.outcome == MVCC_OK) {
        write->revision = answer.revision;
        sim->check->numbered++;
        return ++write->applied == 1;
    }
    if (answer.outcome == MVCC_OK) /* a repeat */
        return raised == 0 && write->applied == 1 && answer.revision == write->revision;
    if (answer.outcome == MVCC_E_SEQUENCE_OLD) /* an attempt that was overtaken by the next writes */
        return raised == 0 && write->applied == 1;
    return raised == 0 && (answer.outcome == MVCC_E_NO_SESSION || answer.outcome == MVCC_E_TOO_OLD ||
                           answer.outcome == MVCC_E_APPLIED_BEFORE);
}

static bool effect_ok(struct sim *sim, const struct sim_op *op, struct rk_slice payload, uint64_t raised)
{
    const struct sim_model_at *at = &sim->check->at[op->index];
    struct mvcc_answer answer;

    if (op->entries > 1)
        return raised == 0;
    if (mvcc_answer_decode(rk_blob_slice(at->answer), &answer) != 0)
        return false;
    if (answer.outcome != MVCC_OK) /* of an incarnation that is over: nobody waits any more */
        return answer.outcome == MVCC_E_TOO_OLD && raised == 0;
    return mvcc_command_only_deletes(payload) ? raised <= 1 : raised == 1;
}

/* The leader counts time for sessions by itself. */
static bool is_tick(struct rk_slice payload, uint64_t raised)
{
    struct mvcc_command *command = RK_NEW(struct mvcc_command);
    bool tick = mvcc_command_decode(payload, command) == 0 && command->class == MVCC_CLASS_SESSION &&
                command->change == MVCC_SESSION_TICK && raised == 0;

    free(command);
    return tick;
}

void sim_history_committed(struct sim *sim, uint64_t index, struct rk_slice payload, uint64_t raised)
{
    struct sim_op *op = rk_map_get(&sim->check->bodies, sim_hash(2, payload));

    if (!op && is_tick(payload, raised))
        return;
    if (!op)
        sim_fail(sim, "entry %" PRIu64 " is committed and nobody asked for it", index);
    if (op->state == SIM_OP_REFUSED)
        sim_fail(sim, "operation %" PRIu64 " was refused, and is committed at %" PRIu64, op->number, index);
    if (op->entries++ == 0)
        op->index = index;
    else
        sim->check->repeated++;
    if (op->numbered ? !numbered_effect_ok(sim, op, index, raised) : !effect_ok(sim, op, payload, raised))
        sim_fail(sim, "entry %" PRIu64 ", operation %" PRIu64 " for the %u. time, made %" PRIu64 " revisions",
                 index, op->number, op->entries, raised);
}

void sim_history_repeated(struct sim *sim, struct rk_slice body)
{
    struct sim_op *op = rk_map_get(&sim->check->bodies, sim_hash(2, body));

    if (op)
        op->repeated = true;
}

/* What the model answered; or, of a call that was repeated on the way, that it had been applied before. */
static bool answer_ok(const struct sim_check *check, const struct sim_op *op, const struct node_call *call,
                      struct mvcc_answer *ret)
{
    struct rk_blob *first = check->at[op->index].answer;

    if (mvcc_answer_decode(rk_blob_slice(first), ret) != 0 || ret->outcome != MVCC_OK)
        return false;
    if (rk_slice_eq(rk_blob_slice(first), rk_blob_slice(call->answer)))
        return true;
    return op->entries > 1 && mvcc_answer_decode(rk_blob_slice(call->answer), ret) == 0 &&
           ret->outcome == MVCC_E_APPLIED_BEFORE;
}

/* Whichever attempt the answer is to: it tells what the write did, once. */
/* A host whose rows rotted in silence may have answered: nobody could tell what. */
static bool deceived(const struct sim *sim, const struct sim_op *op)
{
    return sim->rotten_until >= op->start_us && sim->rotten_until != 0;
}

static void numbered_ok(struct sim *sim, const struct sim_op *op, const struct node_call *call)
{
    struct mvcc_answer answer;

    if (op->index == 0 || mvcc_answer_decode(rk_blob_slice(call->answer), &answer) != 0)
        sim_fail(sim, "operation %" PRIu64 " is acknowledged and not committed", op->number);
    if (!op->write || answer.outcome != MVCC_OK || deceived(sim, op))
        return;
    if (op->write->applied != 1 || op->write->revision != answer.revision ||
        answer.revision <= op->write->floor)
        sim_fail(sim,
                 "write %" PRIu64 " of a session happened %" PRIu64 " times; answered was revision %" PRIu64,
                 op->write->number.sequence, op->write->applied, answer.revision);
    sim->check->told = rk_max_u64(sim->check->told, answer.revision);
}

static void write_ok(struct sim *sim, struct sim_op *op, const struct node_call *call)
{
    struct sim_check *check = sim->check;
    struct mvcc_answer answer;

    if (op->index == 0)
        sim_fail(sim, "operation %" PRIu64 " is acknowledged and not committed", op->number);
    if (deceived(sim, op))
        return;
    if (!answer_ok(check, op, call, &answer))
        sim_fail(sim, "operation %" PRIu64 " got another answer than the model gave", op->number);
    if (check->at[op->index - 1].revision < op->floor)
        sim_fail(sim,
                 "operation %" PRIu64 " happened at revision %" PRIu64 ", but %" PRIu64
                 " had been told before it began",
                 op->number, answer.revision, op->floor);
    check->told = rk_max_u64(check->told, answer.revision);
    check->oks++;
}

/* ---- reads ----------------------------------------------------------------------------------------- */

static void same_state(struct sim *sim, const struct sim_op *op, struct mvcc_result *got)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *encoded = NULL;
    struct mvcc_query query;
    struct mvcc_result want;
    struct mvcc_kv a, b;
    int more;

    rk_assert(mvcc_query_decode(rk_blob_slice(op->body), &query) == 0);
    query.revision = got->revision;
    encoded = mvcc_query_encode(&query);
    rk_assert(mvcc_query_run(sim->check->mvcc, rk_blob_slice(encoded), &buf) == 0);
    rk_assert(mvcc_result_decode(rk_buf_slice(&buf), &want) == 0);
    if (want.outcome != MVCC_OK || want.count != got->count)
        sim_fail(sim,
                 "read %" PRIu64 " at revision %" PRIu64 " found %" PRIu64 " keys, the model has %" PRIu64,
                 op->number, got->revision, got->count, want.count);
    do {
        more = mvcc_result_next(got, &a);
        if (mvcc_result_next(&want, &b) != more)
            sim_fail(sim, "read %" PRIu64 " has another length than the model's", op->number);
        if (more == 1 && (!rk_slice_eq(a.key, b.key) || !rk_slice_eq(a.value, b.value) ||
                          a.mod_revision != b.mod_revision || a.version != b.version))
            sim_fail(sim, "read %" PRIu64 " at revision %" PRIu64 " shows another state than the model's",
                     op->number, got->revision);
    } while (more == 1);
}

static void read_ok(struct sim *sim, struct sim_op *op, const struct node_call *call)
{
    struct sim_check *check = sim->check;
    struct mvcc_result result;

    if (deceived(sim, op))
        return;
    if (mvcc_result_decode(rk_blob_slice(call->answer), &result) != 0 || result.outcome != MVCC_OK)
        sim_fail(sim, "read %" PRIu64 " has a bad answer", op->number);
    if (result.revision > check->at[check->last].revision)
        sim_fail(sim, "read %" PRIu64 " shows revision %" PRIu64 ", which is not committed", op->number,
                 result.revision);
    if (op->level == NODE_READ_CONSISTENT && result.revision < op->floor)
        sim_fail(sim,
                 "read %" PRIu64 " shows revision %" PRIu64 ", but %" PRIu64 " had been told before it began",
                 op->number, result.revision, op->floor);
    if (op->level == NODE_READ_CONSISTENT)
        check->told = rk_max_u64(check->told, result.revision);
    same_state(sim, op, &result);
    check->reads_ok++;
}

/* ---- ending ---------------------------------------------------------------------------------------- */

static enum sim_op_state state_of(const struct sim_op *op, const struct node_call *call, bool lost)
{
    if (lost || call->outcome == NODE_E_TIMEOUT || (call->outcome != NODE_OK && op->repeated))
        return SIM_OP_UNKNOWN;
    return call->outcome == NODE_OK ? SIM_OP_OK : SIM_OP_REFUSED;
}

static bool late(const struct sim *sim, const struct sim_op *op)
{
    const struct sim_host *host = &sim->hosts[op->host];

    if (host->life == op->life && host->paused_until > op->deadline_us)
        return false;
    return sim->now_us > rk_max_u64(op->deadline_us, host->resumed_us) + SLACK_US;
}

void sim_history_end(struct sim *sim, struct sim_op *op, const struct node_call *call, bool lost)
{
    if (op->returned)
        sim_fail(sim, "call %" PRIu64 " came back twice", op->number);
    op->returned = true;
    op->state = state_of(op, call, lost);
    sim_note(sim, lost ? "lost answer" : "answer", op->number, call->outcome, op->index);
    if (late(sim, op))
        sim_fail(sim, "call %" PRIu64 " (kind %d) came back %" PRIu64 " us after its deadline", op->number,
                 (int)op->kind, sim->now_us - op->deadline_us);
    if (op->client == SIM_CLIENTS_MAX)
        return;
    if (op->state == SIM_OP_REFUSED && op->index != 0)
        sim_fail(sim, "operation %" PRIu64 " is refused (%d, %s), and is committed at %" PRIu64, op->number,
                 (int)call->outcome, call->text, op->index);
    if (op->state == SIM_OP_OK && op->numbered)
        numbered_ok(sim, op, call);
    else if (op->state == SIM_OP_OK && op->kind == NODE_CALL_WRITE)
        write_ok(sim, op, call);
    else if (op->state == SIM_OP_OK)
        read_ok(sim, op, call);
    sim->check->refused += op->state == SIM_OP_REFUSED;
    sim->check->unknown += op->state == SIM_OP_UNKNOWN;
}

void sim_history_check_waiting(struct sim *sim)
{
    for (const struct sim_op *op = sim->check->ops; op; op = op->next)
        if (!op->returned && late(sim, op))
            sim_fail(sim,
                     "call %" PRIu64 " (kind %d) to %s has not come back, %" PRIu64 " us after its deadline",
                     op->number, (int)op->kind, sim->hosts[op->host].name, sim->now_us - op->deadline_us);
}

void sim_history_deinit(struct sim *sim)
{
    struct sim_op *op = sim->check->ops;

    while (op) {
        struct sim_op *next = op->next;

        rk_blob_unref(op->body);
        free(op);
        op = next;
    }
    while (sim->check->writes) {
        struct sim_write *write = sim->check->writes;

        sim->check->writes = write->next;
        free(write);
    }
}
