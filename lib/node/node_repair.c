/* lib/node/node_repair.c - a raft log with damage in it is made whole from the leader.
 *
 * Entries that this host acknowledged may be gone, and a majority may have counted on
 * them. It comes back under its old name and takes part in all but elections: it does not
 * vote, it does not campaign. When is it as good as before? When it has everything that
 * it can ever have helped to commit. It asks the leader, after this start, how long its log
 * is, and waits until it holds all of that, committed and flushed, in the same term. For
 *   - what we acknowledged to this very leader is in its log;
 *   - what we helped to commit in earlier terms is in the log of every later leader;
 *   - and a leader of our own term or a later one was elected by others since, or before
 *     the damage: an answer of an older one does not count.
 * The bound that the mark knows (what had been flushed) is not used for that: it lags a
 * little, so it may be too low, and it may be too high for ever, if what stood there was
 * never committed.
 *
 * What is lost depends on the damage. An entry that fails its CRC behind what the rows have
 * applied is removed with all that follow; one before that is not needed any more. A log
 * that cannot be opened, or ends too early, is set aside whole, and starts again where the
 * rows stand. The only member of a cluster refuses to start, as does a host whose rows are
 * damaged, too: it has nothing to go on with. */
#include <errno.h>
#include <stdio.h>

#include "lib/base/rk_wire.h"
#include "lib/node/node_internal.h"

#define ASK_US RK_USEC_PER_SEC

/* ---- at the start ------------------------------------------------------------------------------ */

/* Whether the rows are good, and know other members. */
static bool rows_stand_alone(struct node *node)
{
    RK_CLEANUP(rk_freep) char *error = NULL;
    struct node_members *members = RK_NEW(struct node_members);
    struct mvcc_meta meta;
    bool good = !store_rebuild_pending(node->dir) && node_try_rows(node, &error) == 0;

    if (good) {
        mvcc_meta(node->group.mvcc, &meta);
        good =
            meta.applied_index > 0 && node_members_decode(meta.members, members) == 0 && members->count > 1;
        good = good && store_rows_flush(node->rows) == 0;
    }
    node_close_rows(node);
    free(members);
    return good;
}

int node_repair_log(struct node *node, char **ret_error)
{
    RK_CLEANUP(rk_freep) char *found = *ret_error;
    char *error = NULL;
    int r;

    *ret_error = NULL;
    if (!rows_stand_alone(node)) {
        *ret_error = found;
        found = NULL;
        return STORE_E_REFUSED;
    }
    r = store_log_set_aside(node->dir, node->group.number, &error);
    *ret_error = error;
    if (r == 0)
        RK_LOG(RK_LOG_ERROR, "log", NULL,
               "%s Setting it aside and repairing it from the leader: this host does not vote until then",
               found ? found : "the raft log is damaged.");
    return r;
}

static int commit_truncated(struct node *node, const struct store_vote *vote, uint64_t from)
{
    struct store_vote kept = {.term = rk_max_u64(vote->term, 1), .voted_for = vote->voted_for};
    int r = RK_PLANT(DAMAGE_FORGOTTEN) ? 0 : store_repair_begin(node->dir, &kept);

    if (r == 0)
        r = store_log_begin(node->log);
    if (r == 0)
        r = store_log_truncate(node->log, node->group.number, from);
    return r == 0 ? store_log_commit(node->log) : r;
}

int node_repair_entry(struct node *node, uint64_t index, const struct mvcc_meta *meta,
                      const struct store_vote *vote, struct store_base *base, uint64_t *last)
{
    int r;

    RK_LOG(
        RK_LOG_ERROR, "log", RK_FIELDS(RK_F_U64("INDEX", index)),
        index > meta->applied_index
            ? "an entry is damaged: it and what follows are repaired from the leader, and this host does not "
              "vote until then"
            : "an entry is damaged that the rows have applied already: it is not needed");
    if (index > meta->applied_index) {
        r = commit_truncated(node, vote, index);
        *last = index - 1;
        return r;
    }
    *base = (struct store_base){.index = meta->applied_index, .term = meta->applied_term};
    r = store_rows_flush(node->rows);
    if (r == 0)
        r = store_log_begin(node->log);
    if (r == 0)
        r = store_log_cut(node->log, node->group.number, base);
    if (r == 0)
        r = store_log_set_members(node->log, node->group.number, meta->members_index, meta->members);
    return r == 0 ? store_log_commit(node->log) : r;
}

int node_repair_load(struct node *node, struct store_vote *vote, char **ret_error)
{
    struct store_vote kept;
    int r = store_repair_read(node->dir, &kept);

    node->first.running = r == 0 && kept.term == 0; /* a first start: node_first.c */
    node->repair.running = r == 0 && kept.term != 0;
    node->repair.target = 0;
    if (r == STORE_E_NOT_FOUND)
        return 0;
    if (r == STORE_E_CORRUPT) {
        *ret_error =
            rk_asprintf("%s/repair is damaged, so the vote is not known: remove this host from the cluster "
                        "on another member, move the data directory away, and join again",
                        store_dir_path(node->dir));
        return STORE_E_REFUSED;
    }
    if (r != 0 || vote->term > kept.term || (vote->term == kept.term && vote->voted_for != 0))
        return r;
    *vote = kept;
    r = store_log_begin(node->log);
    if (r == 0)
        r = store_log_set_vote(node->log, node->group.number, vote);
    return r == 0 ? store_log_commit(node->log) : r;
}

/* ---- while it runs -------------------------------------------------------------------------------- */

static void answered(struct node_call *call)
{
    struct node *node = call->userdata;
    struct rk_reader in = rk_reader(rk_blob_slice(call->answer));
    uint64_t term = rk_get_u64(&in), last = rk_get_u64(&in);

    node->repair.asking = false;
    if (call->outcome != NODE_OK || !rk_reader_done(&in) || !node->repair.running)
        return;
    node->repair.term = term;
    node->repair.target = last;
}

void node_repair_last(struct node *node, struct node_call *call)
{
    struct raft_status status;
    uint8_t body[16];

    raft_status(node->group.raft, &status);
    if (status.role != RAFT_LEADER) {
        node_answer(node, call, NODE_E_NOT_LEADER, "this host is not the leader");
        return;
    }
    rk_store_u64(body, status.term);
    rk_store_u64(body + 8, status.last_index);
    call->answer = rk_blob_copy(rk_slice(body, sizeof(body)));
    node_answer(node, call, NODE_OK, NULL);
}

static void finish(struct node *node)
{
    struct raft_event event = {.kind = RAFT_EVENT_ABSTAIN_END};
    int r = store_repair_end(node->dir);

    if (r < 0) {
        node_fail(node, "log", r);
        return;
    }
    node->repair.running = false;
    node_step(node, &event, NULL);
    RK_LOG(RK_LOG_NOTICE, "log", RK_FIELDS(RK_F_U64("INDEX", node->repair.target)),
           "the raft log has been repaired from the leader: this host votes again");
}

void node_repair_housekeeping(struct node *node)
{
    uint64_t now_us = node_now_us(node);
    struct raft_status status;

    if (!node->repair.running || node->stopping || atomic_load(&node->failed))
        return;
    raft_status(node->group.raft, &status);
    if (node->repair.target != 0 && node->repair.term == status.term &&
        status.commit >= node->repair.target && status.persisted >= node->repair.target) {
        finish(node);
    } else if (node->repair.ask_us <= now_us && !node->repair.asking && status.leader != 0) {
        node->repair.ask_us = now_us + ASK_US;
        node->repair.asking = true;
        node_forward(node, node_own_call(node, NODE_CALL_LAST, NULL, answered));
    }
}
