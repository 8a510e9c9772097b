/* lib/node/node_members.h - the members of a cluster with their names and addresses: the payload of a MEMBERS
 * entry.
 *
 * The core knows of a member its id and role only; this is the whole record, the
 * one source of truth. Ids are random and never used again: removed ones are kept
 * as tombstones so that a removed host can be told so. */
#ifndef NODE_MEMBERS_H
#define NODE_MEMBERS_H

#include "lib/base/limits.h"
#include "lib/base/rk_blob.h"
#include "lib/raft/raft.h"

struct node_member {
    uint64_t id;
    enum raft_member_role role;
    bool promote;     /* a learner that becomes a voter by itself once it has caught up */
    bool outgoing;    /* in a joint configuration: votes in its outgoing half, see raft.h */
    uint8_t priority; /* 0 to NODE_PRIORITY_MAX: who should lead, if it can */
    uint64_t
        replaces; /* a learner that takes this voter's place, together with all others that do; 0: none */
    char name[RK_NAME_BYTES_MAX + 1];
    char peer_address[RK_ADDRESS_BYTES_MAX + 1];
    char client_url[RK_ADDRESS_BYTES_MAX + 16];
};

struct node_members {
    uint32_t count; /* sorted by id */
    struct node_member member[RK_MEMBERS_MAX];
    uint32_t removed_count; /* oldest first; the oldest are forgotten beyond RK_TOMBSTONES_MAX */
    uint64_t removed[RK_TOMBSTONES_MAX];
};

#define NODE_PRIORITY_MAX     100u
#define NODE_PRIORITY_DEFAULT 50u

struct rk_blob *node_members_encode(const struct node_members *members);
/* Checks everything (sizes, order, printable text, roles): it may come from a peer. 0 or -EBADMSG. */
int node_members_decode(struct rk_slice bytes, struct node_members *ret) RK_MUST_CHECK;
void node_members_to_raft(const struct node_members *members, struct raft_members *ret);
const struct node_member *node_members_find(const struct node_members *members, uint64_t id);
const struct node_member *node_members_find_name(const struct node_members *members, const char *name);
bool node_members_was_removed(const struct node_members *members, uint64_t id);
/* Keeps the order. 0; -EEXIST (id there), -ENOSPC (RK_MEMBERS_MAX). */
int node_members_add(struct node_members *members, const struct node_member *member) RK_MUST_CHECK;
/* The joint configuration between the two; who leaves has no tombstone yet, for it still counts. -ENOSPC. */
int node_members_join(const struct node_members *old, const struct node_members *next,
                      struct node_members *ret) RK_MUST_CHECK;
/* What comes after a joint one: who leaves is buried. In place. */
void node_members_settle(struct node_members *members);
/* No learner takes anybody's place any more, nor becomes a voter for that; false when none was to. */
bool node_members_forget_plan(struct node_members *members);
bool node_members_has_plan(const struct node_members *members);
/* Leaves a tombstone; who was to take its place stays a learner that is promoted like others. False when
 * there is no such member. */
bool node_members_remove(struct node_members *members, uint64_t id);
struct node_member *node_members_get(struct node_members *members, uint64_t id); /* to change it; NULL */

/* One member as a call's body. */
struct rk_blob *node_member_encode(const struct node_member *member);
int node_member_decode(struct rk_slice bytes, struct node_member *ret) RK_MUST_CHECK;

#endif
