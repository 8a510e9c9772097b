/* tests/unit/raft_cluster_internal.h - what the files of the simulated cluster share. */
#ifndef RAFT_CLUSTER_INTERNAL_H
#define RAFT_CLUSTER_INTERNAL_H

#include "tests/unit/raft_cluster.h"

/* raft_cluster_log.c */
void cluster_log_push(struct cluster_log *log, const struct cluster_entry *e);
/* Replaces what is stored at or after the first entry. */
void cluster_log_write(struct cluster_log *log, const struct cluster_entry *entries, size_t count);
void cluster_log_cut(struct cluster_log *log, uint64_t index);
void cluster_log_reset(struct cluster_log *log, uint64_t index, uint64_t term);

/* raft_cluster_later.c: what happens later, a heap by time */
enum happening {
    HAPPENING_MESSAGE,
    HAPPENING_DISK,
    HAPPENING_APPLY,
    HAPPENING_STREAM,
    HAPPENING_STREAM_END,
};

struct cluster_happening {
    uint64_t due_us, seq;
    enum happening kind;
    uint32_t node, incarnation; /* where, and whom it is for: a restart cancels all but messages */
    struct raft_message message;
    struct cluster_entry *entries;
    struct cluster_rows rows; /* STREAM */
    uint32_t sender, sender_incarnation;
    uint64_t term, index;
    bool ok;
};

struct cluster_happening *cluster_happening_new(enum happening kind, uint32_t node, uint32_t incarnation);
void cluster_happening_free(struct cluster_happening *h);
void cluster_schedule(struct cluster *c, struct cluster_happening *h, uint64_t due_us);
struct cluster_happening *cluster_take_first(struct cluster *c);

/* raft_cluster_world.c: the network and the disks */
enum write_kind {
    WRITE_ENTRIES,
    WRITE_RESET,
    WRITE_CUT,
    WRITE_INSTALL,
};

struct cluster_write {
    struct cluster_write *next;
    enum write_kind kind;
    bool has_vote;
    struct raft_vote vote;
    struct cluster_entry *entries;
    size_t entry_count;
    uint64_t index, term;
    struct cluster_happening *stream; /* INSTALL */
    struct cluster_happening **held;  /* messages that wait for this and everything before */
    size_t held_count, held_capacity;
};

uint64_t cluster_below(struct cluster *c, uint64_t bound);
bool cluster_chance(struct cluster *c, uint32_t per_mille);
struct cluster_happening *cluster_packet_new(struct cluster *c, uint32_t from, const struct raft_message *m);
struct cluster_happening *cluster_packet_copy(const struct cluster_happening *h);
void cluster_transmit(struct cluster *c, struct cluster_happening *h);
struct cluster_write *cluster_enqueue(struct cluster *c, uint32_t node, enum write_kind kind);
struct cluster_write *cluster_dequeue(struct cluster_node *n);
void cluster_write_free(struct cluster_write *w);
/* The part of a write that survives a crash. An install is a matter of the rows. */
void cluster_write_durably(struct cluster *c, uint32_t node, const struct cluster_write *w);
void cluster_hold(struct cluster_write *w, struct cluster_happening *h);
void cluster_end_stream(struct cluster *c, const struct cluster_happening *stream, bool ok,
                        uint64_t after_us);
void cluster_disk_done(struct cluster *c, uint32_t node);

/* raft_cluster_ask.c */
struct raft_members *cluster_keep_members(struct cluster *c, const struct raft_members *members);

/* raft_cluster.c */
/* source: the entries of the event with their values. */
struct raft_output cluster_step(struct cluster *c, uint32_t node, struct raft_event *event,
                                const struct cluster_entry *source);

#endif
