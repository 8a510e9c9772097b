/* tests/sim/sim_check.c - what must always be true, whatever the faults.
 *
 *   one leader a term; one vote a member and term
 *   log matching: an index and a term name one entry with one entry before it, on every disk
 *   what was committed once is never anything else
 *   what is acknowledged on the wire is on the disk
 *   after the same entry all rows are the same: those of the model, which applies each committed entry once
 */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/sim.h"

struct seen_entry {
    uint64_t before_term, payload_hash;
};

static uint64_t entry_hash(uint8_t kind, struct rk_slice payload)
{
    return sim_hash(kind, payload);
}

/* ---- the model ------------------------------------------------------------------------------ */

static void model_must(struct sim *sim, int r, const char *what)
{
    if (r != 0)
        sim_fail(sim, "the model cannot %s: %d", what, r);
}

static struct sim_model_at *model_next(struct sim_check *check)
{
    if (check->last + 1 >= check->cap) {
        uint64_t cap = check->cap ? check->cap * 2 : 1024;

        check->at = rk_realloc(check->at, cap * sizeof(*check->at));
        memset(check->at + check->cap, 0, (cap - check->cap) * sizeof(*check->at));
        check->cap = cap;
    }
    return &check->at[++check->last];
}

static void model_note(struct sim_check *check, struct sim_model_at *at)
{
    struct mvcc_meta meta;

    mvcc_meta(check->mvcc, &meta);
    at->hash = sim_disk_rows_hash(check->disk);
    at->revision = meta.revision;
    (void)!store_rows_flush(check->rows); /* nothing to undo, ever */
}

static void model_begin(struct sim *sim, const struct mvcc_meta *first)
{
    struct sim_check *check = sim->check;

    model_must(sim, mvcc_bootstrap(check->mvcc, first->applied_index, first->applied_term, first->members),
               "begin");
    model_must(sim, node_members_decode(first->members, &check->members), "read members");
    while (check->last < first->applied_index)
        (void)model_next(check);
    check->at[check->last].term = first->applied_term;
    model_note(check, &check->at[check->last]);
}

static void model_apply(struct sim *sim, uint64_t index, uint64_t term, enum raft_entry_kind kind,
                        struct rk_slice payload)
{
    struct sim_check *check = sim->check;
    struct sim_model_at *at = model_next(check);
    RK_CLEANUP(rk_buf_deinit) struct rk_buf answer = {0};
    struct mvcc_meta before, after;
    struct raft_members core;

    rk_assert(check->last == index);
    at->term = term;
    at->payload_hash = entry_hash((uint8_t)kind, payload);
    model_must(sim, mvcc_begin(check->mvcc), "begin a transaction");
    if (kind == RAFT_ENTRY_COMMAND) {
        mvcc_meta(check->mvcc, &before);
        model_must(sim, mvcc_apply_command(check->mvcc, index, term, payload, &answer), "apply");
        mvcc_meta(check->mvcc, &after);
        at->answer = rk_blob_copy(rk_buf_slice(&answer));
        sim_history_committed(sim, index, payload, after.revision - before.revision);
    } else if (kind == RAFT_ENTRY_MEMBERS) {
        model_must(sim, mvcc_apply_members(check->mvcc, index, term, payload), "apply members");
        model_must(sim, node_members_decode(payload, &check->members), "read members");
        node_members_to_raft(&check->members, &core);
        check->changes++;
        check->joint += raft_members_joint(&core);
    } else {
        model_must(sim, mvcc_apply_noop(check->mvcc, index, term), "apply a no-op");
    }
    model_must(sim, mvcc_commit(check->mvcc), "commit");
    model_note(check, at);
    sim_note(sim, "committed", index, term, at->hash);
}

bool sim_check_state_is(struct sim *sim, uint64_t index, uint64_t hash)
{
    return index <= sim->check->last && sim->check->at[index].hash == hash;
}

uint64_t sim_check_committed(const struct sim *sim)
{
    return sim->check->last;
}

const struct node_members *sim_check_members(const struct sim *sim)
{
    return &sim->check->members;
}

/* ---- hosts ------------------------------------------------------------------------------------- */

static void check_rows(struct sim_host *host)
{
    struct sim *sim = host->sim;
    struct mvcc_meta meta;
    uint64_t hash = sim_disk_rows_hash(host->disk);

    mvcc_meta(host->node->group.mvcc, &meta);
    if (!sim_in_cluster(host) || meta.applied_index == 0)
        return;
    if (sim_disk_rotten(host->disk)) {
        sim->rotten_until = sim->now_us;
        if (sim_check_state_is(sim, meta.applied_index, hash))
            sim_disk_rotten_end(host->disk); /* a crash took it back, or it was never read */
        return;
    }
    if (meta.applied_index > sim->check->last)
        sim_fail(sim, "%s has applied entry %" PRIu64 ", which is not committed (%" PRIu64 " are)",
                 host->name, meta.applied_index, sim->check->last);
    if (!sim_check_state_is(sim, meta.applied_index, hash))
        sim_fail(sim, "the rows of %s differ from the model's at entry %" PRIu64, host->name,
                 meta.applied_index);
    if (meta.applied_term != sim->check->at[meta.applied_index].term)
        sim_fail(sim, "%s has applied entry %" PRIu64 " of term %" PRIu64 ", committed was term %" PRIu64,
                 host->name, meta.applied_index, meta.applied_term, sim->check->at[meta.applied_index].term);
}

void sim_check_apply_turn(struct sim_host *host)
{
    if (host->node->group.mvcc && !mvcc_install_pending(host->node->group.mvcc))
        check_rows(host);
}

/* What a disk says of committed entries must be what was committed. */
static void check_log(struct sim_host *host, uint64_t commit)
{
    struct sim *sim = host->sim;
    struct store_entry entry;

    for (uint64_t index = 2; index <= commit; index++) {
        const struct sim_model_at *at = &sim->check->at[index];

        if (!sim_disk_entry(host->disk, 0, index, &entry))
            continue;
        if (entry.term != at->term || entry_hash(entry.kind, entry.payload) != at->payload_hash)
            sim_fail(sim, "%s holds another entry at the committed index %" PRIu64, host->name, index);
    }
}

/* What it acknowledged to the leader of its term is still there, or the host knows that it may not vote. */
static void check_acked(struct sim_host *host, const struct mvcc_meta *meta)
{
    bool same = host->acked_id == host->node->identity.member_id &&
                sim_disk_vote(host->disk, 0).term == host->acked_term;

    if (same && !sim_disk_abstains(host->disk) && sim_disk_last(host->disk, 0) < host->acked &&
        meta->applied_index < host->acked)
        sim_fail(host->sim,
                 "%s has lost entries behind %" PRIu64 ", acknowledged %" PRIu64 ", and would vote",
                 host->name, sim_disk_last(host->disk, 0), host->acked);
    host->acked = 0;
}

void sim_check_booted(struct sim_host *host)
{
    struct sim *sim = host->sim;
    struct mvcc_meta meta;

    mvcc_meta(host->node->group.mvcc, &meta);
    if (sim->cluster_id == 0) {
        sim->cluster_id = host->node->identity.cluster_id;
        model_begin(sim, &meta);
    }
    check_acked(host, &meta);
    check_rows(host);
    if (sim_in_cluster(host))
        check_log(host, rk_min_u64(meta.applied_index, sim->check->last));
}

static void take_committed(struct sim_host *host, uint64_t index)
{
    struct sim *sim = host->sim;
    const struct node_cache_entry *cached = node_cache_get(&host->node->group.cache, index);
    const struct sim_model_at *at;
    struct store_entry entry;

    if (!cached && index == sim->check->last + 1 && sim_disk_entry(host->disk, 0, index, &entry) &&
        entry.term == raft_term_at(host->node->group.raft, index))
        model_apply(sim, index, entry.term, (enum raft_entry_kind)entry.kind, entry.payload);
    if (!cached)
        return; /* it came in a snapshot, or has left the cache */
    if (index == sim->check->last + 1)
        model_apply(sim, index, cached->term, cached->kind, rk_blob_slice(cached->payload));
    if (index > sim->check->last)
        return;
    at = &sim->check->at[index];
    if (at->term != cached->term ||
        at->payload_hash != entry_hash((uint8_t)cached->kind, rk_blob_slice(cached->payload)))
        sim_fail(sim, "%s has committed another entry at index %" PRIu64 ": term %" PRIu64 ", not %" PRIu64,
                 host->name, index, cached->term, at->term);
}

void sim_check_raft_turn(struct sim_host *host)
{
    struct sim *sim = host->sim;
    struct raft_status status;

    if (!sim_in_cluster(host) || !host->node->group.raft)
        return;
    raft_status(host->node->group.raft, &status);
    sim_check_core(host, &status);
    for (uint64_t i = rk_max_u64(host->commit_seen, status.base_index) + 1; i <= status.commit; i++)
        take_committed(host, i);
    host->commit_seen = status.commit;
    /* A host that rebuilds its rows keeps nothing in memory: what it has committed is read from its disk, as
     * soon as it is there. */
    if (status.commit > sim->check->last && atomic_load(&host->node->rebuilding))
        host->commit_seen = sim->check->last;
    else if (status.commit > sim->check->last)
        sim_fail(sim, "%s says that %" PRIu64 " is committed; nobody has seen more than %" PRIu64, host->name,
                 status.commit, sim->check->last);
}

/* ---- disks and wires ------------------------------------------------------------------------------ */

void sim_check_appended(void *userdata, uint32_t group, const struct store_entry *entry, uint64_t before_term)
{
    struct sim_host *host = userdata;
    struct sim *sim = host->sim;
    const struct store_identity *identity = sim_disk_identity(host->disk);
    uint64_t key = entry->index << 24 | entry->term;
    uint64_t hash = entry_hash(entry->kind, entry->payload);
    struct seen_entry *seen;

    if (host->found || group != 0 || !identity || identity->cluster_id != sim->cluster_id)
        return;
    if (entry->index <= host->acked && sim_disk_vote(host->disk, 0).term == host->acked_term &&
        !sim->options.no_wire_checks)
        sim_fail(sim, "%s writes entry %" PRIu64 " again, which it acknowledged in this very term",
                 host->name, entry->index);
    seen = rk_map_get(&sim->check->entries, key);
    if (!seen) {
        seen = RK_NEW(struct seen_entry);
        *seen = (struct seen_entry){.before_term = before_term, .payload_hash = hash};
        rk_map_put(&sim->check->entries, key, seen);
    }
    if (seen->before_term != before_term || seen->payload_hash != hash)
        sim_fail(sim, "%s appends an entry %" PRIu64 " of term %" PRIu64 " that differs from another host's",
                 host->name, entry->index, entry->term);
}

void sim_check_rows_flushed(void *userdata)
{
    struct sim_host *host = userdata;
    struct mvcc_meta meta = {0};

    if (host->node && host->node->group.mvcc)
        mvcc_meta(host->node->group.mvcc, &meta);
    host->rows_durable = meta.applied_index;
}

static void check_vote(struct sim_host *host, const struct raft_message *m)
{
    struct sim *sim = host->sim;
    uint64_t key = sim_mix(host->directory.self_id, m->term);
    uint64_t *known = rk_map_get(&sim->check->votes, key);
    uint64_t candidate = m->kind == RAFT_MSG_VOTE ? host->directory.self_id : m->to;

    if (!known) {
        known = RK_NEW(uint64_t);
        *known = candidate;
        rk_map_put(&sim->check->votes, key, known);
    }
    if (sim_disk_abstains(host->disk))
        sim_fail(sim, "%s takes part in the election of term %" PRIu64 ", and must not vote", host->name,
                 m->term);
    if (*known != candidate)
        sim_fail(sim, "%s votes twice in term %" PRIu64, host->name, m->term);
    if (sim_disk_vote(host->disk, 0).term < m->term)
        sim_fail(sim, "%s speaks of its vote in term %" PRIu64 ", which is not on its disk", host->name,
                 m->term);
}

/* Who has answered a heartbeat with the promise of a lease votes for nobody else in later terms, for an
 * election timeout by its own clock, be there a start in between; but for a candidate that was told to
 * campaign. */
static void check_promise(struct sim_host *host, const struct raft_message *m)
{
    struct sim *sim = host->sim;

    if (m->kind == RAFT_MSG_VOTE && m->transfer)
        rk_map_put(&sim->check->handed, sim_mix(host->directory.self_id, m->term), sim);
    if (m->kind == RAFT_MSG_HEARTBEAT_REPLY && m->lease) {
        host->promised_until_us = sim_host_now(host) + sim->tune.election_ms * RK_USEC_PER_MSEC;
        host->promised_to = m->to;
        host->promised_term = m->term;
    }
    if ((m->kind == RAFT_MSG_VOTE_REPLY || m->kind == RAFT_MSG_PREVOTE_REPLY) && !m->reject &&
        sim_host_now(host) < host->promised_until_us && m->to != host->promised_to &&
        m->term > host->promised_term && !rk_map_get(&sim->check->handed, sim_mix(m->to, m->term)))
        sim_fail(sim, "%s votes in term %" PRIu64 ", and has promised another member not to", host->name,
                 m->term);
}

void sim_check_sent(struct sim_host *host, const struct node_message *message)
{
    const struct raft_message *m = &message->raft;
    struct sim *sim = host->sim;

    if (host->directory.cluster_id != sim->cluster_id)
        return;
    check_promise(host, m);
    if (m->kind == RAFT_MSG_VOTE || (m->kind == RAFT_MSG_VOTE_REPLY && !m->reject))
        check_vote(host, m);
    /* A later term on the disk means that the answer is too late to count for anything: whoever led then
     * can be told that the entries had been accepted, since no vote was given that denies it. */
    if (sim_disk_vote(host->disk, 0).term > m->term)
        return;
    if (m->kind == RAFT_MSG_APPEND_REPLY && !m->reject && sim_disk_last(host->disk, 0) < m->index &&
        host->rows_durable < m->index)
        sim_fail(sim, "%s acknowledges entry %" PRIu64 ", and its disk ends at %" PRIu64, host->name,
                 m->index, sim_disk_last(host->disk, 0));
    if (m->kind == RAFT_MSG_APPEND_REPLY && !m->reject) {
        host->acked = host->acked_term == m->term ? rk_max_u64(host->acked, m->index) : m->index;
        host->acked_term = m->term;
        host->acked_id = host->directory.self_id;
    }
}

void sim_check_told_removed(struct sim *sim, uint64_t id)
{
    if (node_members_find(&sim->check->members, id))
        sim_fail(sim, "member %" PRIx64 " is told that it was removed; the committed configuration has it",
                 id);
}

/* ---- life -------------------------------------------------------------------------------------------- */

void sim_check_init(struct sim *sim)
{
    struct sim_check *check = sim->check = RK_NEW(struct sim_check);
    struct store_rows_config config = {0};
    RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s/model", sim->path);
    char *error = NULL;

    check->ops_tail = &check->ops;
    check->disk = sim_disk_new(path, NULL);
    model_must(sim, store_dir_open(path, &check->dir, &error), "open");
    model_must(sim, store_rows_open(check->dir, &config, NULL, NULL, &check->rows, &error), "open its rows");
    model_must(sim, mvcc_open(check->rows, 0, &check->mvcc), "open its group");
    check->cap = 1024;
    check->at = RK_NEW_ARRAY(struct sim_model_at, check->cap);
}

static void free_map(struct rk_map *map)
{
    struct rk_map_slot *slot;
    size_t cursor = 0;

    while ((slot = rk_map_next(map, &cursor)))
        free(slot->value);
    rk_map_deinit(map);
}

void sim_check_deinit(struct sim *sim)
{
    struct sim_check *check = sim->check;

    sim_history_deinit(sim);
    mvcc_free(check->mvcc);
    store_rows_close(check->rows);
    store_dir_close(check->dir);
    sim_disk_free(check->disk);
    for (uint64_t i = 0; i <= check->last; i++)
        rk_blob_unref(check->at[i].answer);
    free(check->at);
    free_map(&check->leaders);
    free_map(&check->votes);
    rk_map_deinit(&check->handed);
    free_map(&check->entries);
    rk_map_deinit(&check->bodies);
    free(check);
}
