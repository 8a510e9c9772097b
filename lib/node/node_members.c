/* lib/node/node_members.c - members with names and addresses, and their bytes.
 *
 * Format 2: u8 format, u32 count, then each member in order of id: u64 id, u8 role,
 * u8 flags (bit 0: promote, bit 1: outgoing), u8 priority, u64 replaces, three blocks
 * (name, peer address, client URL); then u32 count of tombstones and their ids. */
#include "lib/node/node_members.h"

#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/base/rk_wire.h"

#define MEMBERS_FORMAT       2
#define MEMBER_FLAG_PROMOTE  1
#define MEMBER_FLAG_OUTGOING 2
#define MEMBER_FLAGS         (MEMBER_FLAG_PROMOTE | MEMBER_FLAG_OUTGOING)

static void put_member(struct rk_buf *out, const struct node_member *member)
{
    rk_put_u64(out, member->id);
    rk_put_u8(out, (uint8_t)member->role);
    rk_put_u8(out, (uint8_t)((member->promote ? MEMBER_FLAG_PROMOTE : 0) |
                             (member->outgoing ? MEMBER_FLAG_OUTGOING : 0)));
    rk_put_u8(out, member->priority);
    rk_put_u64(out, member->replaces);
    rk_put_block(out, rk_slice_str(member->name));
    rk_put_block(out, rk_slice_str(member->peer_address));
    rk_put_block(out, rk_slice_str(member->client_url));
}

/* Text that an operator will see, and that JSON must be able to carry: printable ASCII. */
static void get_text(struct rk_reader *in, char *ret, size_t size)
{
    struct rk_slice s = rk_get_block(in, size - 1);

    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < 0x20 || s.data[i] >= 0x7f)
            rk_reader_fail(in);
    if (!rk_reader_ok(in))
        s.len = 0;
    if (s.len > 0)
        memcpy(ret, s.data, s.len);
    ret[s.len] = '\0';
}

static void get_member(struct rk_reader *in, struct node_member *ret)
{
    uint8_t role, flags;

    ret->id = rk_get_u64(in);
    role = rk_get_u8(in);
    flags = rk_get_u8(in);
    ret->priority = rk_get_u8(in);
    ret->replaces = rk_get_u64(in);
    if (ret->id == 0 || role < RAFT_LEARNER || role > RAFT_LEAVING || flags > MEMBER_FLAGS ||
        ret->priority > NODE_PRIORITY_MAX || (ret->replaces != 0 && role != RAFT_LEARNER) ||
        (role == RAFT_LEAVING && !(flags & MEMBER_FLAG_OUTGOING)))
        rk_reader_fail(in);
    ret->role = (enum raft_member_role)role;
    ret->promote = (flags & MEMBER_FLAG_PROMOTE) != 0;
    ret->outgoing = (flags & MEMBER_FLAG_OUTGOING) != 0;
    get_text(in, ret->name, sizeof(ret->name));
    get_text(in, ret->peer_address, sizeof(ret->peer_address));
    get_text(in, ret->client_url, sizeof(ret->client_url));
    if (ret->name[0] == '\0')
        rk_reader_fail(in);
}

static struct rk_blob *to_blob(struct rk_buf *out)
{
    struct rk_blob *blob = rk_blob_copy(rk_buf_slice(out));
    rk_buf_deinit(out);
    return blob;
}

struct rk_blob *node_members_encode(const struct node_members *members)
{
    struct rk_buf out = {0};

    rk_put_u8(&out, MEMBERS_FORMAT);
    rk_put_u32(&out, members->count);
    for (uint32_t i = 0; i < members->count; i++)
        put_member(&out, &members->member[i]);
    rk_put_u32(&out, members->removed_count);
    for (uint32_t i = 0; i < members->removed_count; i++)
        rk_put_u64(&out, members->removed[i]);
    return to_blob(&out);
}

int node_members_decode(struct rk_slice bytes, struct node_members *ret)
{
    struct rk_reader in = rk_reader(bytes);
    struct node_members *members = RK_NEW(struct node_members);
    uint64_t last = 0;
    int r = -EBADMSG;

    if (rk_get_u8(&in) != MEMBERS_FORMAT)
        goto out;
    members->count = rk_get_u32(&in);
    if (members->count > RK_MEMBERS_MAX)
        goto out;
    for (uint32_t i = 0; i < members->count && rk_reader_ok(&in); i++) {
        get_member(&in, &members->member[i]);
        if (members->member[i].id <= last)
            goto out;
        last = members->member[i].id;
    }
    members->removed_count = rk_get_u32(&in);
    if (members->removed_count > RK_TOMBSTONES_MAX)
        goto out;
    for (uint32_t i = 0; i < members->removed_count; i++)
        members->removed[i] = rk_get_u64(&in);
    if (!rk_reader_done(&in))
        goto out;
    *ret = *members;
    r = 0;
out:
    free(members);
    return r;
}

struct rk_blob *node_member_encode(const struct node_member *member)
{
    struct rk_buf out = {0};
    put_member(&out, member);
    return to_blob(&out);
}

int node_member_decode(struct rk_slice bytes, struct node_member *ret)
{
    struct rk_reader in = rk_reader(bytes);
    struct node_member member = {0};

    get_member(&in, &member);
    if (!rk_reader_done(&in))
        return -EBADMSG;
    *ret = member;
    return 0;
}

void node_members_to_raft(const struct node_members *members, struct raft_members *ret)
{
    *ret = (struct raft_members){.count = members->count};
    for (uint32_t i = 0; i < members->count; i++)
        ret->member[i] = (struct raft_member){.id = members->member[i].id,
                                              .role = members->member[i].role,
                                              .outgoing = members->member[i].outgoing,
                                              .priority = members->member[i].priority};
}

const struct node_member *node_members_find(const struct node_members *members, uint64_t id)
{
    for (uint32_t i = 0; i < members->count; i++)
        if (members->member[i].id == id)
            return &members->member[i];
    return NULL;
}

struct node_member *node_members_get(struct node_members *members, uint64_t id)
{
    for (uint32_t i = 0; i < members->count; i++)
        if (members->member[i].id == id)
            return &members->member[i];
    return NULL;
}

const struct node_member *node_members_find_name(const struct node_members *members, const char *name)
{
    for (uint32_t i = 0; i < members->count; i++)
        if (strcmp(members->member[i].name, name) == 0)
            return &members->member[i];
    return NULL;
}

bool node_members_was_removed(const struct node_members *members, uint64_t id)
{
    for (uint32_t i = 0; i < members->removed_count; i++)
        if (members->removed[i] == id)
            return true;
    return false;
}

int node_members_add(struct node_members *members, const struct node_member *member)
{
    uint32_t at = 0;

    if (node_members_find(members, member->id))
        return -EEXIST;
    if (members->count == RK_MEMBERS_MAX)
        return -ENOSPC;
    while (at < members->count && members->member[at].id < member->id)
        at++;
    memmove(&members->member[at + 1], &members->member[at],
            (members->count - at) * sizeof(members->member[0]));
    members->member[at] = *member;
    members->count++;
    return 0;
}

static void bury(struct node_members *members, uint64_t id)
{
    if (members->removed_count == RK_TOMBSTONES_MAX) {
        memmove(&members->removed[0], &members->removed[1],
                (RK_TOMBSTONES_MAX - 1) * sizeof(members->removed[0]));
        members->removed_count--;
    }
    members->removed[members->removed_count++] = id;
}

bool node_members_remove(struct node_members *members, uint64_t id)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->member[i].id != id)
            continue;
        memmove(&members->member[i], &members->member[i + 1],
                (members->count - i - 1) * sizeof(members->member[0]));
        members->count--;
        bury(members, id);
        for (uint32_t j = 0; j < members->count; j++)
            if (members->member[j].replaces == id)
                members->member[j].replaces = 0;
        return true;
    }
    return false;
}

/* ---- joint configurations, plans ------------------------------------------------------- */

int node_members_join(const struct node_members *old, const struct node_members *next,
                      struct node_members *ret)
{
    struct node_members *joint = RK_NEW(struct node_members);
    int r = 0;

    *joint = *next;
    joint->removed_count = old->removed_count;
    memcpy(joint->removed, old->removed, sizeof(joint->removed));
    for (uint32_t i = 0; i < old->count && r == 0; i++) {
        struct node_member leaving = old->member[i];
        struct node_member *stays = node_members_get(joint, leaving.id);

        if (leaving.role != RAFT_VOTER)
            continue;
        leaving.role = RAFT_LEAVING;
        leaving.outgoing = true;
        if (stays)
            stays->outgoing = true;
        else
            r = node_members_add(joint, &leaving);
    }
    if (r == 0)
        *ret = *joint;
    free(joint);
    return r;
}

void node_members_settle(struct node_members *members)
{
    for (uint32_t i = members->count; i > 0; i--) {
        members->member[i - 1].outgoing = false;
        if (members->member[i - 1].role == RAFT_LEAVING)
            node_members_remove(members, members->member[i - 1].id);
    }
}

bool node_members_has_plan(const struct node_members *members)
{
    for (uint32_t i = 0; i < members->count; i++)
        if (members->member[i].replaces != 0)
            return true;
    return false;
}

bool node_members_forget_plan(struct node_members *members)
{
    bool any = node_members_has_plan(members);

    for (uint32_t i = 0; i < members->count; i++) {
        if (members->member[i].replaces != 0)
            members->member[i].promote = false;
        members->member[i].replaces = 0;
    }
    return any;
}
