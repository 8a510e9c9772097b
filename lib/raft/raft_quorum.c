/* lib/raft/raft_quorum.c - majorities. Commit, check quorum and reads all count with these two functions. */
#include "lib/raft/raft_internal.h"

uint32_t raft_quorum_size(uint32_t voters)
{
    return voters / 2 + 1;
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
