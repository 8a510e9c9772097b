/* tests/script/raft_script_net.c - a network on which packets lie until they are told to move. */
#include "tests/script/raft_script.h"

#include <string.h>

void script_transmit(struct script *s, struct cluster_happening *packet)
{
    cluster_check_vote(&s->c, packet->sender, &packet->message);
    cluster_check_entries(&s->c, packet->sender, packet->entries, packet->message.count,
                          packet->message.log_term);
    if (s->c.cut[packet->sender][packet->node])
        return cluster_happening_free(packet);
    if (s->flight_count == s->flight_capacity) {
        s->flight_capacity = s->flight_capacity == 0 ? 16 : s->flight_capacity * 2;
        s->flight = rk_realloc(s->flight, s->flight_capacity * sizeof(struct cluster_happening *));
    }
    s->flight[s->flight_count++] = packet;
}

static bool matches(const struct cluster_happening *packet, struct script_link link)
{
    return (link.from == SCRIPT_ANY || link.from == packet->sender) &&
           (link.to == SCRIPT_ANY || link.to == packet->node);
}

/* A held link moves only when it is named. */
static bool may_move(const struct script *s, const struct cluster_happening *packet, struct script_link link)
{
    bool named = link.from != SCRIPT_ANY && link.to != SCRIPT_ANY;
    return matches(packet, link) && (named || !s->hold[packet->sender][packet->node]);
}

/* Takes packets off the network into ret_taken, which has room for all of them. */
static size_t take(struct script *s, struct script_link link, enum script_pick pick,
                   struct cluster_happening **ret_taken)
{
    size_t last = 0, taken = 0, kept = 0;
    for (size_t i = 0; i < s->flight_count; i++)
        last = may_move(s, s->flight[i], link) ? i : last;
    for (size_t i = 0; i < s->flight_count; i++) {
        bool wanted = pick == SCRIPT_PICK_ALL || (pick == SCRIPT_PICK_FIRST && taken == 0) ||
                      (pick == SCRIPT_PICK_LAST && i == last);
        if (wanted && may_move(s, s->flight[i], link))
            ret_taken[taken++] = s->flight[i];
        else
            s->flight[kept++] = s->flight[i];
    }
    s->flight_count = kept;
    return taken;
}

static void deliver(struct script *s, struct cluster_happening *packet)
{
    const struct cluster_node *n = &s->c.nodes[packet->node];
    if (!n->up)
        return script_say_packet(s, packet, "", " is lost: the member is down");
    script_say_packet(s, packet, "", "");
    struct raft_entry *entries = RK_NEW_ARRAY(struct raft_entry, packet->message.count + 1);
    for (uint32_t i = 0; i < packet->message.count; i++)
        entries[i] = packet->entries[i].entry;
    packet->message.entries = packet->message.count > 0 ? entries : NULL;
    script_step(s, packet->node, (struct raft_event){.kind = RAFT_EVENT_MESSAGE, .message = &packet->message},
                packet->entries);
    free(entries);
}

size_t script_deliver(struct script *s, struct script_link link, enum script_pick pick)
{
    struct cluster_happening **taken = RK_NEW_ARRAY(struct cluster_happening *, s->flight_count + 1);
    size_t count = take(s, link, pick, taken);
    for (size_t i = 0; i < count; i++) {
        deliver(s, taken[i]);
        cluster_happening_free(taken[i]);
    }
    free(taken);
    return count;
}

size_t script_drop(struct script *s, struct script_link link, enum script_pick pick)
{
    struct cluster_happening **taken = RK_NEW_ARRAY(struct cluster_happening *, s->flight_count + 1);
    size_t count = take(s, link, pick, taken);
    for (size_t i = 0; i < count; i++) {
        script_say_packet(s, taken[i], "", " is lost");
        cluster_happening_free(taken[i]);
    }
    free(taken);
    return count;
}

size_t script_repeat(struct script *s, struct script_link link)
{
    size_t before = s->flight_count, count = 0;
    for (size_t i = 0; i < before; i++) {
        if (!matches(s->flight[i], link))
            continue;
        script_say_packet(s, s->flight[i], "", " travels twice");
        script_transmit(s, cluster_packet_copy(s->flight[i]));
        count++;
    }
    return count;
}

void script_settle(struct script *s)
{
    const struct script_link all = {.from = SCRIPT_ANY, .to = SCRIPT_ANY};
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < s->c.options.nodes; i++) {
            if (s->c.nodes[i].queue == NULL || s->slow[i])
                continue;
            script_persist(s, i, SIZE_MAX);
            moved = true;
        }
        moved = script_deliver(s, all, SCRIPT_PICK_ALL) > 0 || moved;
    }
}
