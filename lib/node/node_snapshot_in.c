/* lib/node/node_snapshot_in.c - a snapshot on its way in: offered, received into a file, verified, installed.
 *
 * The stream goes to DATA/snapshot.part; when it is whole and its checksums hold it
 * is flushed and renamed to DATA/snapshot.install, and only then the rows are replaced
 * from it. A crash before the rename leaves the old state; a crash after it finds the
 * file, and node_snapshot_resume() starts the install again from its beginning. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_file.h"
#include "lib/node/node_internal.h"

struct node_incoming {
    uint64_t stream_id, index;
    int fd;
    struct mvcc_verify *verify;
};

static void part_path(struct node *node, const char *name, char *ret, size_t size)
{
    snprintf(ret, size, "%s/%s", store_dir_path(node->dir), name);
}

/* ---- raft thread ------------------------------------------------------------------- */

void node_snapshot_offered(struct node *node, struct node_offer *offer)
{
    struct raft_event event = {
        .kind = RAFT_EVENT_SNAPSHOT_OFFERED, .peer = offer->peer, .term = offer->term, .index = offer->index};

    offer->accepted = false;
    if (!node->stopping && !node->identity.removed && offer->group == 0 && !store_space_low())
        offer->accepted =
            node_step(node, &event, NULL).snapshot_accepted || node_rebuild_accepts(node, offer);
    if (offer->accepted) {
        struct node_apply_work *work = node_apply_work_new(node, NODE_APPLY_SNAPSHOT_IN, offer->group);

        offer->stream_id = work->stream_id = ++node->next_stream;
        work->index = offer->index;
        rk_mailbox_push_always(&node->apply_box, &work->mail);
        RK_LOG(RK_LOG_INFO, "snapshot",
               RK_FIELDS(RK_F_ID("MEMBER", offer->peer), RK_F_U64("INDEX", offer->index)),
               "receiving a snapshot from the leader");
    }
    offer->mail.kind = offer->reply_kind;
    rk_mailbox_push_always(offer->reply_to, &offer->mail);
}

static void restart_log(struct node *node, struct node_group *group, struct node_apply_work *work, bool reset)
{
    struct node_log_work *cut = node_log_work_new(node, reset ? NODE_LOG_RESET : NODE_LOG_CUT, group->number);

    cut->base = (struct store_base){.index = work->index, .term = work->term};
    cut->members = rk_blob_ref(work->members);
    cut->members_index = work->members_index;
    group->log_works++;
    rk_mailbox_push_always(&node->log_box, &cut->mail);
    if (reset)
        node_cache_reset(&group->cache, work->index + 1);
}

void node_snapshot_installed(struct node *node, struct node_apply_work *work)
{
    struct node_group *group = &node->group;
    struct node_members *members = RK_NEW(struct node_members);
    struct raft_members core;
    struct raft_event event = {.kind = RAFT_EVENT_SNAPSHOT_INSTALLED,
                               .index = work->index,
                               .term = work->term,
                               .members = &core,
                               .members_index = work->members_index};
    struct raft_status before;
    bool reset;

    rk_assert(node_members_decode(rk_blob_slice(work->members), members) ==
              0); /* checked by the apply thread */
    node_members_to_raft(members, &core);
    raft_status(group->raft, &before);
    group->handed = rk_max_u64(group->handed, work->index);
    reset = node_step(node, &event, NULL).log_reset;
    node_configs_replace(group, reset ? UINT64_MAX : work->index, work->members_index, members);
    if (work->index > before.base_index || reset)
        restart_log(node, group, work, reset);
    node_calls_unknown(node, 0, reset ? UINT64_MAX : work->index,
                       "a snapshot replaced this host's state: it may or may not have happened");
    node_announce_members(node);
    RK_LOG(RK_LOG_NOTICE, "snapshot",
           RK_FIELDS(RK_F_U64("INDEX", work->index), RK_F_U64("REVISION", work->revision)),
           "installed a snapshot from the leader");
    node_refresh_summary(node);
    free(members);
}

/* ---- apply thread -------------------------------------------------------------------- */

void node_snapshot_forget(struct node *node)
{
    struct node_incoming *incoming = node->incoming;
    char path[4096];

    if (!incoming)
        return;
    node->incoming = NULL;
    close(incoming->fd);
    mvcc_verify_free(incoming->verify);
    free(incoming);
    part_path(node, "snapshot.part", path, sizeof(path));
    unlink(path);
}

void node_snapshot_in(struct node *node, struct node_apply_work *work)
{
    struct node_incoming *incoming;
    char path[4096];
    int fd;

    node_snapshot_forget(node); /* a newer offer supersedes what was coming in */
    part_path(node, "snapshot.part", path, sizeof(path));
    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        RK_LOG(RK_LOG_ERROR, "snapshot", NULL, "cannot create %s: %s", path, strerror(errno));
        return; /* its chunks will be refused */
    }
    incoming = RK_NEW(struct node_incoming);
    incoming->stream_id = work->stream_id;
    incoming->index = work->index;
    incoming->fd = fd;
    incoming->verify = mvcc_verify_new();
    node->incoming = incoming;
}

/* Replaces the rows by the content of path. */
static int install_file(struct node *node, const char *path)
{
    RK_CLEANUP(rk_closep) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    uint8_t *bytes;
    ssize_t n;
    int r;

    if (fd < 0)
        return -errno;
    bytes = RK_NEW_ARRAY(uint8_t, RK_SNAPSHOT_CHUNK_BYTES);
    r = mvcc_install_begin(node->group.mvcc);
    while (r == 0 && (n = read(fd, bytes, RK_SNAPSHOT_CHUNK_BYTES)) != 0) {
        r = n < 0 ? -errno : mvcc_install_feed(node->group.mvcc, rk_slice(bytes, (size_t)n));
        rk_beat_progress(&node->apply_beat);
    }
    if (r == 0)
        r = mvcc_install_end(node->group.mvcc);
    free(bytes);
    return r;
}

/* The file is whole and verified: make it durable under its final name, then install. */
static int take_over(struct node *node, struct node_incoming *incoming)
{
    char part[4096], final[4096];
    int r;

    part_path(node, "snapshot.part", part, sizeof(part));
    part_path(node, "snapshot.install", final, sizeof(final));
    if (fsync(incoming->fd) != 0 || rename(part, final) != 0)
        return -errno;
    r = rk_file_sync_dir(store_dir_path(node->dir));
    if (r == 0)
        r = install_file(node, final);
    if (r == 0 && unlink(final) != 0)
        r = -errno;
    if (r < 0)
        node_rows_failed(node, r); /* half-installed: only a restart can finish it */
    return r;
}

static bool info_fits(struct node *node, struct node_incoming *incoming)
{
    const struct mvcc_snapshot_info *info = mvcc_verify_info(incoming->verify);
    struct node_members *members;
    int r;

    if (!info || info->cluster_id != node->identity.cluster_id || info->group != 0 ||
        info->index != incoming->index)
        return false;
    members = RK_NEW(struct node_members);
    r = node_members_decode(info->members, members);
    free(members);
    return r == 0;
}

static void tell_raft(struct node *node)
{
    struct node_apply_work *note = node_apply_work_new(node, NODE_APPLY_INSTALLED, 0);
    struct mvcc_meta meta;

    mvcc_meta(node->group.mvcc, &meta);
    node_digests_reset(node, meta.applied_index, mvcc_digest(node->group.mvcc));
    note->index = note->applied = meta.applied_index;
    note->term = meta.applied_term;
    note->revision = meta.revision;
    note->keys = meta.keys;
    note->sessions = meta.sessions;
    note->members = rk_blob_copy(meta.members);
    note->members_index = meta.members_index;
    rk_mailbox_push_always(&node->raft_box, &note->mail);
}

static int take_chunk(struct node *node, struct node_chunk *chunk)
{
    struct node_incoming *incoming = node->incoming;
    struct mvcc_meta meta;
    int r;

    if (!incoming || incoming->stream_id != chunk->stream_id)
        return -ESTALE;
    if (chunk->abort)
        return -ECANCELED;
    r = mvcc_verify_feed(incoming->verify, rk_buf_slice(&chunk->bytes));
    if (r == 0)
        r = rk_file_write_all(incoming->fd, rk_buf_slice(&chunk->bytes));
    if (r != 0 || !chunk->last)
        return r;
    if (!mvcc_verify_complete(incoming->verify) || !info_fits(node, incoming))
        return -EBADMSG;
    mvcc_meta(node->group.mvcc, &meta);
    if (meta.applied_index >= incoming->index)
        return 1; /* the log was faster */
    r = take_over(node, incoming);
    if (r != 0)
        return r;
    tell_raft(node);
    return 1;
}

void node_snapshot_chunk(struct node *node, struct node_chunk *chunk)
{
    chunk->result = take_chunk(node, chunk);
    if (chunk->result != 0 && node->incoming && node->incoming->stream_id == chunk->stream_id) {
        if (chunk->result < 0)
            RK_LOG(RK_LOG_WARNING, "snapshot", NULL, "a snapshot could not be received: %s",
                   strerror(-chunk->result));
        node_snapshot_forget(node);
    }
    rk_buf_clear(&chunk->bytes);
    chunk->mail.kind = chunk->reply_kind;
    if (!rk_mailbox_push_always(chunk->reply_to, &chunk->mail)) {
        rk_buf_deinit(&chunk->bytes);
        free(chunk);
    }
}

int node_snapshot_resume(struct node *node, char **ret_error)
{
    char final[4096];
    int r;

    part_path(node, "snapshot.part", final, sizeof(final));
    unlink(final);
    part_path(node, "snapshot.install", final, sizeof(final));
    if (access(final, F_OK) != 0) {
        if (!mvcc_install_pending(node->group.mvcc))
            return 0;
        *ret_error = rk_asprintf("the rows in %s are half replaced by a snapshot whose file is gone",
                                 store_dir_path(node->dir));
        return STORE_E_REFUSED;
    }
    if (mvcc_install_pending(node->group.mvcc)) {
        r = install_file(node, final);
        if (r < 0) {
            *ret_error = rk_asprintf("cannot install %s: %s", final, strerror(-r));
            return r;
        }
    }
    /* Not pending: either the crash came before the install began, and the leader will send it again, or
     * after its end. */
    if (unlink(final) != 0)
        return -errno;
    return 0;
}
