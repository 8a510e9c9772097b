/* lib/node/node_session.c - time passes for client sessions.
 *
 * Applying has no clock, so the leader says in entries how much time has passed, by its
 * own clock, since it last did. There are such entries only while there are sessions.
 * Time during which nobody led is not counted, nor is that of an entry that got lost:
 * a session may live longer than it was promised to, never shorter. */
#include "lib/node/node_internal.h"

static void ticked(struct node_call *call RK_UNUSED)
{
}

static void tick(struct node *node, uint64_t ms)
{
    uint32_t counted = (uint32_t)rk_min_u64(ms, RK_SESSION_TICK_MS_MAX);

    node_route(node, node_own_call(node, NODE_CALL_WRITE,
                                   node_session_body(node, MVCC_SESSION_TICK, 0, counted), ticked));
}

void node_session_housekeeping(struct node *node)
{
    struct node_group *group = &node->group;
    uint64_t now_us = node_now_us(node);

    if (group->role != RAFT_LEADER || group->sessions == 0 || node->stopping) {
        group->tick_us = 0;
    } else if (group->tick_us == 0) {
        group->tick_us = now_us;
    } else if (now_us - group->tick_us >= RK_SESSION_TICK_MS * RK_USEC_PER_MSEC) {
        tick(node, (now_us - group->tick_us) / RK_USEC_PER_MSEC);
        group->tick_us = now_us;
    }
}
