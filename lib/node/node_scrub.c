/* lib/node/node_scrub.c - all rows are read again and again, slowly, and must add up to their hash.
 *
 * A page that nobody reads can rot for years, and a row that was changed on the disk under
 * a good page checksum (a write that went astray, somebody's tool) does not move the
 * digests that members compare: those speak of what was applied. So each host reads its
 * own rows in the background, as a snapshot at one entry, through the checks that a
 * received snapshot has to pass: CRCs are by the way, but the rules of rows, the number
 * of live keys and the hash over the rows must come out. The first pass begins with the
 * start. A slice is read between two turns of the apply thread, at a rate that leaves the
 * disk to the requests.
 *
 * What does not come out is this host's own damage, whatever the others say. Apply thread. */
#include <errno.h>

#include "lib/node/node_internal.h"

#define SLICE_BYTES (64u * 1024u)
#define SLICE_US    (SLICE_BYTES * RK_USEC_PER_SEC / RK_SCRUB_BYTES_PER_S)

struct node_scrub {
    struct mvcc_snapshot *snapshot;
    struct mvcc_verify *verify;
    struct rk_buf slice;
};

void node_scrub_stop(struct node *node)
{
    struct node_scrub *scrub = node->scrub;

    if (!scrub)
        return;
    node->scrub = NULL;
    mvcc_snapshot_close(scrub->snapshot);
    mvcc_verify_free(scrub->verify);
    rk_buf_deinit(&scrub->slice);
    free(scrub);
}

static int begin(struct node *node)
{
    struct mvcc_snapshot *snapshot;
    int r = mvcc_snapshot_open(node->group.mvcc, node->identity.cluster_id, &snapshot);

    if (r != 0)
        return r;
    node->scrub = RK_NEW(struct node_scrub);
    node->scrub->snapshot = snapshot;
    node->scrub->verify = mvcc_verify_new();
    return 0;
}

/* 0: go on; 1: the pass is over and all is well; -ESTALE: the rows were replaced under it; -EBADMSG: they do
 * not add up, or as mvcc_snapshot_next(). */
static int look_at_slice(struct node_scrub *scrub)
{
    int r, fed;

    rk_buf_clear(&scrub->slice);
    r = mvcc_snapshot_next(scrub->snapshot, SLICE_BYTES, &scrub->slice);
    if (r < 0)
        return r;
    fed = mvcc_verify_feed(scrub->verify, rk_buf_slice(&scrub->slice));
    if (fed == 0 && r == 1 && !mvcc_verify_complete(scrub->verify))
        fed = -EBADMSG;
    return fed < 0 && !RK_PLANT(HASH_NOT_VERIFIED) ? fed : r;
}

static void report(struct node *node)
{
    struct node_apply_work *note = node_apply_work_new(node, NODE_APPLY_ROTTEN, 0);

    rk_mailbox_push_always(&node->raft_box, &note->mail);
}

int node_scrub_run(struct node *node)
{
    uint64_t now_us = node_now_us(node);
    int r = 0;

    if (now_us < node->scrub_us || node_unfit(node) || mvcc_install_pending(node->group.mvcc))
        return 0;
    node->scrub_us = now_us + SLICE_US;
    if (!node->scrub)
        r = begin(node);
    if (r == 0)
        r = look_at_slice(node->scrub);
    if (r == 0)
        return 0;
    node_scrub_stop(node);
    if (r == 1)
        atomic_fetch_add(&node->scrubs, 1);
    node->scrub_us = r == -ESTALE ? now_us + SLICE_US : now_us + RK_SCRUB_PAUSE_S * RK_USEC_PER_SEC;
    if (r == -EBADMSG)
        report(node);
    return r == -EUCLEAN ? r : 0;
}
