/* lib/raft/raft_progress.c - what the leader knows of one peer, and how much it may send it.
 *
 * PROBE      where the logs agree is not known, or sends are being lost: one append at
 *            a time, the next when it is answered (or, after a while, when the peer
 *            shows by a heartbeat reply that it is there: the append was lost).
 * REPLICATE  appends are streamed ahead of their acknowledgements, up to a window of
 *            bytes and messages.
 * SNAPSHOT   the entry it needs has left our log: nothing is sent until it holds one
 *            that we still have. */
#include "lib/raft/raft_internal.h"

void raft_progress_init(struct raft_progress *p, uint64_t id, uint64_t next, uint32_t window, uint64_t now_us)
{
    *p = (struct raft_progress){.id = id, .mode = RAFT_PEER_PROBE, .next = next, .since_us = now_us};
    p->inflight_capacity = window;
    p->inflight = RK_NEW_ARRAY(struct raft_inflight, window);
}

void raft_progress_deinit(struct raft_progress *p)
{
    free(p->inflight);
    *p = (struct raft_progress){0};
}

static void clear_window(struct raft_progress *p)
{
    p->inflight_head = p->inflight_count = 0;
    p->inflight_bytes = 0;
}

void raft_progress_probe(struct raft_progress *p)
{
    clear_window(p);
    p->mode = RAFT_PEER_PROBE;
    p->next = p->match + 1;
    p->probing = false;
}

void raft_progress_snapshot(struct raft_progress *p)
{
    clear_window(p);
    p->mode = RAFT_PEER_SNAPSHOT;
    p->probing = false;
}

bool raft_progress_open(const struct raft_progress *p, uint64_t bytes_max)
{
    switch (p->mode) {
    case RAFT_PEER_PROBE:
        return !p->probing;
    case RAFT_PEER_REPLICATE:
        /* An empty window always takes one message, however large: otherwise it would never leave. */
        return p->inflight_count == 0 ||
               (p->inflight_count < p->inflight_capacity && p->inflight_bytes < bytes_max);
    case RAFT_PEER_SNAPSHOT:
        return false;
    }
    return false;
}

void raft_progress_sent(struct raft_progress *p, uint32_t count, uint64_t bytes, uint64_t now_us)
{
    if (p->mode == RAFT_PEER_PROBE) {
        p->probing = true;
        p->probe_us = now_us;
        return;
    }
    rk_assert(p->mode == RAFT_PEER_REPLICATE && p->inflight_count < p->inflight_capacity && count > 0);
    if (p->inflight_count == 0)
        p->acked_us = now_us;
    uint32_t slot = (p->inflight_head + p->inflight_count) % p->inflight_capacity;
    p->next += count;
    p->inflight[slot] = (struct raft_inflight){.last = p->next - 1, .bytes = bytes};
    p->inflight_count++;
    p->inflight_bytes += bytes;
}

void raft_progress_ack(struct raft_progress *p, uint64_t index, uint64_t now_us)
{
    if (index > p->match) {
        p->match = index;
        p->acked_us = now_us;
    }
    while (p->inflight_count > 0 && p->inflight[p->inflight_head].last <= p->match) {
        rk_assert(p->inflight_bytes >= p->inflight[p->inflight_head].bytes);
        p->inflight_bytes -= p->inflight[p->inflight_head].bytes;
        p->inflight_head = (p->inflight_head + 1) % p->inflight_capacity;
        p->inflight_count--;
    }
    p->next = rk_max_u64(p->next, p->match + 1);
    /* A late answer to something older does not say that streaming is safe again. */
    if (p->mode == RAFT_PEER_PROBE && index == p->match) {
        p->mode = RAFT_PEER_REPLICATE;
        p->next = p->match + 1;
        p->probing = false;
    }
}

bool raft_progress_stale_reject(const struct raft_progress *p, uint64_t index)
{
    switch (p->mode) {
    case RAFT_PEER_PROBE:
        return index + 1 != p->next;
    case RAFT_PEER_REPLICATE:
        return index < p->match || index >= p->next;
    case RAFT_PEER_SNAPSHOT:
        return true;
    }
    return true;
}

bool raft_progress_reject(struct raft_progress *p, uint64_t index, uint64_t retry)
{
    if (raft_progress_stale_reject(p, index))
        return false;
    clear_window(p);
    p->mode = RAFT_PEER_PROBE;
    p->probing = false;
    p->next = rk_max_u64(retry, 1);
    /* A peer that refuses what it once acknowledged has lost part of its log (or a very old refusal was
     * repeated): believe the less, and find out. The commit index does not go back for that. */
    if (p->match >= p->next)
        p->match = p->next - 1;
    return true;
}

bool raft_progress_stalled(const struct raft_progress *p, uint64_t now_us, uint64_t patience_us)
{
    return p->mode == RAFT_PEER_REPLICATE && p->inflight_count > 0 && now_us - p->acked_us >= patience_us;
}
