/* lib/net/net_stats.c - counters of the whole process. */
#include "config.h"

#include "lib/net/net_internal.h"

struct net_counters net_counters;

void net_stats(struct net_stats *ret)
{
    *ret = (struct net_stats){
        .accepted = atomic_load(&net_counters.accepted),
        .refused = atomic_load(&net_counters.refused),
        .handshake_failed = atomic_load(&net_counters.handshake_failed),
        .bytes_in = atomic_load(&net_counters.bytes_in),
        .bytes_out = atomic_load(&net_counters.bytes_out),
    };
}
