/* lib/node/node_rescue.c - a snapshot file becomes a cluster of one, and so does what is left of a cluster.
 *
 * Both make a new cluster with a new id: old members and old clients' state about the
 * old one must not mix with it by accident. The handshake between hosts compares the
 * ids, so an old member that comes back is kept out, and joins anew with an empty
 * data directory.
 *
 * A recovered host keeps all of its log. Whether its last entries were committed nobody
 * can tell any more; those that were acknowledged and reached this host are among them.
 * A membership entry of itself alone goes behind the last one, and with the first start
 * the host elects itself and commits everything. */
#include "lib/node/node_rescue.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/rk_crc32c.h"
#include "lib/node/node_internal.h"

/* ---- reading a file ------------------------------------------------------------------- */

typedef int take_fn(void *userdata, struct rk_slice bytes);

static int each_piece(int fd, take_fn *take, void *userdata)
{
    uint8_t *bytes = RK_NEW_ARRAY(uint8_t, RK_SNAPSHOT_CHUNK_BYTES);
    ssize_t n = 0;
    int r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;

    while (r == 0 && (n = read(fd, bytes, RK_SNAPSHOT_CHUNK_BYTES)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        r = n < 0 ? -errno : take(userdata, rk_slice(bytes, (size_t)n));
    }
    free(bytes);
    return r;
}

struct checking {
    struct mvcc_verify *verify;
    struct node_file_report *report;
};

static int check_piece(void *userdata, struct rk_slice bytes)
{
    struct checking *checking = userdata;

    checking->report->bytes += bytes.len;
    checking->report->hash = rk_crc32c(checking->report->hash, bytes);
    return mvcc_verify_feed(checking->verify, bytes);
}

static int take_info(const struct mvcc_snapshot_info *info, struct node_file_report *report)
{
    report->cluster_id = info->cluster_id;
    report->index = info->index;
    report->term = info->term;
    report->revision = info->revision;
    report->keys = info->keys;
    return node_members_decode(info->members, &report->members);
}

int node_file_check(int fd, struct node_file_report *ret, char **ret_error)
{
    struct node_file_report *report = RK_NEW(struct node_file_report);
    struct checking checking = {.verify = mvcc_verify_new(), .report = report};
    int r = each_piece(fd, check_piece, &checking);

    if (r == 0 && !mvcc_verify_complete(checking.verify))
        r = -EBADMSG;
    if (r == 0)
        r = take_info(mvcc_verify_info(checking.verify), report);
    if (r == -EBADMSG)
        *ret_error = rk_asprintf("it is damaged, cut short, or no snapshot of this version (%llu bytes were "
                                 "read): use another one",
                                 (unsigned long long)report->bytes);
    else if (r < 0)
        *ret_error = rk_asprintf("it cannot be read: %s", strerror(-r));
    else
        *ret = *report;
    mvcc_verify_free(checking.verify);
    free(report);
    return r == -EBADMSG ? STORE_E_REFUSED : r;
}

/* ---- a cluster of one -------------------------------------------------------------------- */

static struct node_member alone(const struct node_config *config)
{
    struct node_member self = {.id = rk_random_id(), .role = RAFT_VOTER};

    snprintf(self.name, sizeof(self.name), "%s", config->name);
    snprintf(self.peer_address, sizeof(self.peer_address), "%s", config->peer_address);
    snprintf(self.client_url, sizeof(self.client_url), "%s", config->client_url);
    return self;
}

/* The members of now are gone for good, this host's old record among them. */
static struct rk_blob *members_alone(const struct node_members *now, const struct node_member *self)
{
    struct node_members *members = RK_NEW(struct node_members);
    struct rk_blob *blob;
    int r;

    *members = *now;
    while (members->count > 0)
        node_members_remove(members, members->member[0].id);
    r = node_members_add(members, self);
    blob = r == 0 ? node_members_encode(members) : NULL;
    free(members);
    return blob;
}

static void explain(const struct node_config *config, int r, char **ret_error)
{
    if (r != 0 && !*ret_error)
        *ret_error =
            rk_asprintf("cannot write to %s: %s", config->data_directory, strerror(r < 0 ? -r : EIO));
}

/* ---- restore --------------------------------------------------------------------------------- */

static int install_piece(void *userdata, struct rk_slice bytes)
{
    return mvcc_install_feed(userdata, bytes);
}

static int install(struct node *node, int fd)
{
    struct mvcc *mvcc = node->group.mvcc;
    int r = mvcc_install_begin(mvcc);

    if (r == 0)
        r = each_piece(fd, install_piece, mvcc);
    return r == 0 ? mvcc_install_end(mvcc) : r;
}

/* An entry that no log holds, behind the snapshot's: the base of the new log. */
static int begin_behind(struct node *node, const struct node_file_report *file, struct rk_slice members)
{
    struct store_base base = {.index = file->index + 1, .term = file->term + 1};
    struct store_vote vote = {.term = base.term};
    struct mvcc *mvcc = node->group.mvcc;
    int r = mvcc_begin(mvcc);

    if (r == 0)
        r = mvcc_apply_members(mvcc, base.index, base.term, members);
    if (r == 0)
        r = mvcc_commit(mvcc);
    if (r == 0)
        r = store_rows_flush(node->rows);
    if (r == 0)
        r = store_log_begin(node->log);
    if (r == 0)
        r = store_log_reset(node->log, node->group.number, &base);
    if (r == 0)
        r = store_log_set_vote(node->log, node->group.number, &vote);
    return r == 0 ? store_log_commit(node->log) : r;
}

static int fill(struct node *node, int fd, const struct node_file_report *file, char **ret_error)
{
    struct node_member self = alone(&node->config);
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *members = members_alone(&file->members, &self);
    int r = members ? store_dir_wipe(node->dir) : -ENOMEM;

    if (r == 0)
        r = store_space_init(node->dir, node->config.reserve_bytes, node->config.low_space_bytes);
    if (r == 0)
        r = node_open_stores(node, ret_error);
    if (r == 0)
        r = install(node, fd);
    if (r == 0)
        r = begin_behind(node, file, rk_blob_slice(members));
    node_close_stores(node);
    node->identity = (struct store_identity){.cluster_id = rk_random_id(), .member_id = self.id};
    snprintf(node->identity.name, sizeof(node->identity.name), "%s", node->config.name);
    snprintf(node->identity.machine, sizeof(node->identity.machine), "%s", node->config.machine);
    return r == 0 ? store_dir_set_identity(node->dir, &node->identity) : r;
}

int node_restore(const struct node_config *config, int fd, struct node_file_report *ret_file,
                 uint64_t *ret_cluster_id, char **ret_error)
{
    struct node *node = RK_NEW(struct node);
    int r = node_file_check(fd, ret_file, ret_error);

    node->config = *config;
    if (r == 0)
        r = store_dir_open(config->data_directory, &node->dir, ret_error);
    if (r == 0 && store_dir_identity(node->dir)) {
        *ret_error = rk_asprintf("%s holds the data of %s: move it away, make an empty directory of the same "
                                 "owner in its place, and restore again",
                                 config->data_directory, store_dir_identity(node->dir)->name);
        r = STORE_E_REFUSED;
    }
    if (r == 0)
        r = fill(node, fd, ret_file, ret_error);
    explain(config, r, ret_error);
    *ret_cluster_id = node->identity.cluster_id;
    store_dir_close(node->dir);
    free(node);
    return r;
}

/* ---- survey and recover -------------------------------------------------------------------------- */

/* node_open() would make a cluster of one of an empty directory. */
static int must_hold_data(const struct node_config *config, char **ret_error)
{
    struct store_dir *dir = NULL;
    int r = access(config->data_directory, F_OK) == 0
                ? store_dir_open(config->data_directory, &dir, ret_error)
                : 0;

    if (r == 0 && (!dir || !store_dir_identity(dir))) {
        *ret_error = rk_asprintf("%s holds no data of a cluster: there is nothing to recover on this host",
                                 config->data_directory);
        r = STORE_E_REFUSED;
    }
    store_dir_close(dir);
    return r;
}

static int open_stopped(const struct node_config *config, struct node **ret, char **ret_error)
{
    int r = must_hold_data(config, ret_error);

    return r == 0 ? node_open(config, ret, ret_error) : r;
}

int node_survey(const struct node_config *config, struct node_status **ret, char **ret_error)
{
    struct node *node;
    int r = open_stopped(config, &node, ret_error);

    if (r != 0)
        return r;
    *ret = node_make_status(node);
    node_close(node);
    return 0;
}

static int append_alone(struct node *node, const struct node_status *status, struct rk_slice members)
{
    uint64_t term = rk_max_u64(status->raft.term, status->raft.last_term) + 1;
    struct store_entry entry = {
        .index = status->raft.last_index + 1, .term = term, .kind = RAFT_ENTRY_MEMBERS, .payload = members};
    struct store_vote vote = {.term = term};
    int r = store_log_begin(node->log);

    if (r == 0)
        r = store_log_append(node->log, node->group.number, &entry, 1, NULL);
    if (r == 0)
        r = store_log_set_vote(node->log, node->group.number, &vote);
    return r == 0 ? store_log_commit(node->log) : r;
}

/* The identity first: from then on no old member speaks with this host. A crash before the entry is in the
 * log leaves a host that does not know itself as a member; recovering it again mends that. */
static int make_alone(struct node *node, const struct node_status *status)
{
    struct node_member self = alone(&node->config);
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *members = members_alone(&status->members, &self);
    int r = members ? 0 : -ENOMEM;

    node->identity.cluster_id = rk_random_id();
    node->identity.member_id = self.id;
    node->identity.removed = false;
    if (r == 0)
        r = store_dir_set_identity(node->dir, &node->identity);
    return r == 0 ? append_alone(node, status, rk_blob_slice(members)) : r;
}

int node_recover(const struct node_config *config, struct node_status **ret_before, uint64_t *ret_cluster_id,
                 char **ret_error)
{
    struct node_status *before;
    struct node *node;
    int r = open_stopped(config, &node, ret_error);

    if (r != 0)
        return r;
    before = node_make_status(node);
    r = make_alone(node, before);
    explain(config, r, ret_error);
    *ret_cluster_id = node->identity.cluster_id;
    node_close(node);
    if (r == 0)
        *ret_before = before;
    else
        free(before);
    return r;
}
