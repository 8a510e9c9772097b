/* lib/node/node_rebuild.c - rows that cannot be trusted are made again from a peer, while the cluster serves.
 *
 * A page fails its checksum, a row cannot be read, the rows end before the log begins, or
 * a comparison with the other members (node_check.c) says that ours are wrong. None of
 * that touches the raft log and the vote. So:
 *
 *   1. whoever finds it writes a marker into the data directory; a host that runs stops with
 *      a failure, and its supervisor starts it again (Restart=on-failure);
 *   2. at the start the rows are set aside and empty ones opened. The core comes up from the
 *      log alone, which holds who the members are: it votes, and stores and acknowledges
 *      entries as before. Nothing is applied, and nothing is read here;
 *   3. the host asks the leader for a snapshot, whatever its log holds;
 *   4. when that is installed the group is loaded again, as at a start: the rows stand at the
 *      snapshot's entry, the log goes on behind it, and what was set aside is removed.
 *
 * If such a host is elected, since only its log was complete, it brings the others up to
 * date and hands leadership over; it answers no request meanwhile. A host that is the only
 * member has nobody to ask: it refuses to start, and an operator restores a snapshot. */
#include <errno.h>
#include <stdio.h>

#include "lib/node/node_internal.h"

#define ASK_US RK_USEC_PER_SEC

/* ---- at the start -------------------------------------------------------------------------- */

struct known {
    struct node_members *members;
    int error;
};

static bool see_entry(void *userdata, const struct store_entry *entry)
{
    struct known *known = userdata;

    if (entry->kind == RAFT_ENTRY_MEMBERS)
        known->error = node_members_decode(entry->payload, known->members);
    return known->error == 0;
}

/* Who the members are, as far as the log knows. 0, or why nobody can tell. */
static int members_of_log(struct node *node, struct node_members *ret)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf bytes = {0};
    struct known known = {.members = ret};
    struct store_vote vote;
    struct store_base base;
    uint64_t index, last;
    int r = store_log_members(node->log, node->group.number, &index, &bytes);

    if (r == 0)
        r = node_members_decode(rk_buf_slice(&bytes), ret);
    if (r == 0)
        r = store_log_state(node->log, node->group.number, &vote, &base, &last);
    if (r == 0 && last > base.index)
        r = store_log_read(node->log, node->group.number, base.index + 1, see_entry, &known);
    return r != 0 ? r : known.error;
}

/* STORE_E_REFUSED when there is nobody to get the rows from. */
static int check_peers(struct node *node, const char *why, char **ret_error)
{
    struct node_members *members = RK_NEW(struct node_members);
    int r = members_of_log(node, members);
    bool peers = r == 0 && members->count > 1;
    char *error = NULL;

    free(members);
    if (peers)
        return 0;
    if (r < 0 && r != -EBADMSG)
        return r;
    if (r == 0)
        error =
            rk_asprintf("%s. This host is the only member of its cluster, so nobody else has its rows: move "
                        "%s away, start anew and restore a snapshot that was saved before",
                        why, store_dir_path(node->dir));
    else
        error =
            rk_asprintf("%s, and the log does not say who the other members are: remove this host from the "
                        "cluster on another member, move %s away, and join again",
                        why, store_dir_path(node->dir));
    free(*ret_error);
    *ret_error = error;
    return STORE_E_REFUSED;
}

static void on_progress(void *userdata, unsigned percent)
{
    struct node *node = userdata;

    if (node->config.progress)
        node->config.progress(node->config.userdata, "recovering the rows", percent);
}

int node_try_rows(struct node *node, char **ret_error)
{
    struct store_rows_config config = {.cache_bytes = node->config.rows_cache_bytes};
    int r = store_rows_open(node->dir, &config, on_progress, node, &node->rows, ret_error);

    if (r == 0)
        r = mvcc_open(node->rows, node->group.number, &node->group.mvcc);
    return r == 0 ? node_snapshot_resume(node, ret_error) : r;
}

void node_close_rows(struct node *node)
{
    mvcc_free(node->group.mvcc);
    node->group.mvcc = NULL;
    store_rows_close(node->rows);
    node->rows = NULL;
}

static bool is_damage(int r)
{
    return r == STORE_E_REFUSED || r == -EUCLEAN || r == -EBADMSG;
}

/* The rows may be older than the log's beginning: files of an older copy, or none at all. */
static int check_reach(struct node *node, char **ret_error)
{
    struct store_vote vote;
    struct store_base base;
    struct mvcc_meta meta;
    uint64_t last;
    int r = store_log_state(node->log, node->group.number, &vote, &base, &last);

    mvcc_meta(node->group.mvcc, &meta);
    if (r != 0 || meta.applied_index >= base.index)
        return r;
    *ret_error = rk_asprintf(
        "the rows in %s end at entry %llu but the log begins after %llu: they do not belong "
        "together",
        store_dir_path(node->dir), (unsigned long long)meta.applied_index, (unsigned long long)base.index);
    return STORE_E_REFUSED;
}

static int set_aside(struct node *node, const char *why, char **ret_error)
{
    int r = check_peers(node, why, ret_error);

    if (r == 0 && !store_rebuild_pending(node->dir))
        r = store_rebuild_begin(node->dir, why);
    if (r == 0)
        r = store_rebuild_set_aside(node->dir);
    if (r == 0)
        RK_LOG(RK_LOG_ERROR, "rows", NULL, "%s: rebuilding the rows from a peer", why);
    return r == 0 ? node_try_rows(node, ret_error) : r;
}

/* Those of an unfinished rebuild are empty and hold no reproach. */
static int open_as_found(struct node *node, bool begun, char **ret_error)
{
    int r = node_try_rows(node, ret_error);

    return r == 0 && !begun ? check_reach(node, ret_error) : r;
}

static size_t first_sentence(const char *text)
{
    const char *end = strstr(text, ". ");

    return end ? (size_t)(end - text) : strlen(text);
}

int node_open_rows(struct node *node, char **ret_error)
{
    bool pending = store_rebuild_pending(node->dir) || node->config.rebuild_rows;
    bool begun = pending && store_rebuild_has_begun(node->dir);
    RK_CLEANUP(rk_freep) char *found = NULL;
    char why[NODE_TEXT_BYTES];
    int r;

    if (pending && !begun) {
        store_rebuild_why(node->dir, why, sizeof(why));
        if (why[0] == '\0')
            snprintf(why, sizeof(why), "raftkvd was started with --rebuild-rows");
        return set_aside(node, why, ret_error);
    }
    r = open_as_found(node, begun, &found);
    if (!is_damage(r)) {
        *ret_error = found;
        found = NULL;
        return r;
    }
    /* What was found; not the advice that follows it, which is for hosts that cannot help themselves. */
    snprintf(why, sizeof(why), "%.*s", found ? (int)first_sentence(found) : 0, found ? found : "");
    if (why[0] == '\0')
        snprintf(why, sizeof(why), "a row that must be there cannot be read");
    node_close_rows(node);
    return set_aside(node, why, ret_error);
}

/* What is known of the state without any rows: it stands at a committed entry of the log, at the latest one
 * that the log itself can vouch for. */
int node_rebuild_meta(struct node *node, const struct store_base *base, struct rk_buf *members,
                      struct mvcc_meta *ret)
{
    int r;

    *ret = (struct mvcc_meta){.revision = 1};
    r = store_log_members(node->log, node->group.number, &ret->members_index, members);
    if (r != 0)
        return r < 0 ? r : -EBADMSG;
    ret->members = rk_buf_slice(members);
    ret->applied_index = rk_max_u64(base->index, ret->members_index);
    return 0;
}

/* ---- while it runs ---------------------------------------------------------------------------- */

bool node_unfit(struct node *node)
{
    return atomic_load(&node->rebuilding) || atomic_load(&node->fenced);
}

void node_rebuild_rows(struct node *node, const char *why)
{
    RK_CLEANUP(rk_freep) char *sentence = NULL;
    int r = 0;

    if (atomic_load(&node->failed))
        return;
    if (!atomic_load(&node->alone))
        r = store_rebuild_begin(node->dir, why);
    if (atomic_load(&node->alone))
        sentence = rk_asprintf(
            "the rows in %s are damaged (%s), and this host is the only member: move the directory "
            "away, start anew and restore a snapshot that was saved before",
            store_dir_path(node->dir), why);
    else if (r < 0)
        sentence = rk_asprintf(
            "the rows in %s are damaged (%s), and even that cannot be written down (%s): check the "
            "disk, then start it again",
            store_dir_path(node->dir), why, strerror(-r));
    else
        sentence = rk_asprintf(
            "the rows in %s are damaged (%s): this host stops; started again it rebuilds them from "
            "another member by itself",
            store_dir_path(node->dir), why);
    node_fail_with(node, sentence);
}

void node_rows_failed(struct node *node, int error)
{
    if (error == -EUCLEAN)
        node_rebuild_rows(node, "a page failed its checksum");
    else if (error == -EBADMSG)
        node_rebuild_rows(node, "a row cannot be read");
    else
        node_fail(node, "rows", error);
}

static void asked(struct node_call *call)
{
    struct node *node = call->userdata;

    node->rebuild.asking = false;
    if (call->outcome != NODE_OK)
        RK_LOG(RK_LOG_INFO, "rows", NULL, "the leader sends no snapshot yet: %s", call->text);
}

void node_rebuild_housekeeping(struct node *node)
{
    struct raft_event event = {.kind = RAFT_EVENT_TRANSFER};
    uint64_t now_us = node_now_us(node);

    if (!node_unfit(node) || node->rebuild.ask_us > now_us || node->stopping)
        return;
    node->rebuild.ask_us = now_us + ASK_US;
    if (node->group.role == RAFT_LEADER) {
        node_step(node, &event, NULL);
    } else if (atomic_load(&node->rebuilding) && node->group.leader != 0 && !node->rebuild.asking) {
        node->rebuild.asking = true;
        node_forward(node, node_own_call(node, NODE_CALL_ROWS_WANTED, NULL, asked));
    }
}

/* At the leader: one of ours has lost its rows. What its log holds does not matter. */
void node_rebuild_wanted(struct node *node, struct node_call *call)
{
    uint64_t peer = call->priv.peer;

    if (node->group.role != RAFT_LEADER || node_unfit(node)) {
        node_answer(node, call, NODE_E_NOT_LEADER, "this host is not the leader");
    } else if (!node_members_find(node_members_now(&node->group), peer)) {
        node_answer(node, call, NODE_E_BAD_REQUEST, "only a member is sent a snapshot");
    } else {
        if (!rk_map_get(&node->group.streaming, peer))
            node_stream_to(node, peer, "a member has lost its rows: streaming a snapshot to it");
        node_answer(node, call, NODE_OK, NULL);
    }
}

/* The core would refuse a snapshot of what its log covers; it is not asked to take it. */
bool node_rebuild_accepts(struct node *node, const struct node_offer *offer)
{
    struct raft_status status;

    raft_status(node->group.raft, &status);
    return atomic_load(&node->rebuilding) && status.leader == offer->peer && status.term == offer->term &&
           offer->index >= status.base_index;
}

static int start_over(struct node *node, char **ret_error)
{
    int r;

    node_stop_disk_threads(node);
    node_unload_group(node);
    r = node_load_group(node, ret_error);
    if (r != 0)
        return r;
    node_announce_members(node);
    return node_start_disk_threads(node);
}

void node_rebuild_installed(struct node *node, struct node_apply_work *work)
{
    RK_CLEANUP(rk_freep) char *error = NULL;
    uint64_t index = work->index, revision = work->revision;
    int r = start_over(node, &error);

    if (r != 0) {
        RK_LOG(RK_LOG_ERROR, "rows", NULL, "cannot go on with the new rows: %s", error ? error : "");
        node_fail(node, "rows", r < 0 ? r : -EIO);
        return;
    }
    RK_LOG(RK_LOG_NOTICE, "rows", RK_FIELDS(RK_F_U64("INDEX", index), RK_F_U64("REVISION", revision)),
           "the rows have been rebuilt from a peer");
    node_refresh_summary(node);
}
