/* lib/raft/raft_quorum.c - majorities. Elections, commit, check quorum, reads and leases all
 * count with these functions, so that both halves of a joint configuration are asked everywhere. */
#include "lib/raft/raft_internal.h"

uint32_t raft_quorum_size(uint32_t voters)
{
    return RK_PLANT(QUORUM_OF_HALF) ? (voters + 1) / 2 : voters / 2 + 1;
}

uint64_t raft_quorum_reached(uint64_t *values, uint32_t count)
{
    if (count == 0)
        return 0;
    for (uint32_t i = 1; i < count; i++) {
        uint64_t value = values[i];
        uint32_t j = i;
        for (; j > 0 && values[j - 1] < value; j--)
            values[j] = values[j - 1];
        values[j] = value;
    }
    return values[raft_quorum_size(count) - 1];
}

bool raft_quorum_granted(const struct raft_members *members, const uint64_t *ids, uint32_t count)
{
    uint64_t incoming[RK_MEMBERS_MAX], outgoing[RK_MEMBERS_MAX];
    uint32_t in = 0, out = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->member[i];
        bool granted = false;
        for (uint32_t j = 0; j < count; j++)
            granted = granted || ids[j] == member->id;
        if (member->role == RAFT_VOTER)
            incoming[in++] = granted;
        if (member->outgoing)
            outgoing[out++] = granted;
    }
    return raft_quorum_reached(incoming, in) != 0 && (out == 0 || raft_quorum_reached(outgoing, out) != 0);
}
