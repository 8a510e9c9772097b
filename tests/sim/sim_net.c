/* tests/sim/sim_net.c - the network between hosts: late, lossy, repeating, out of order, cut.
 *
 * As lib/peer does it, a host knows of each other member whether it is connected: what
 * is sent over a link that is down is lost, a call is answered as unreachable, and the
 * node hears of every change. A cut is noticed late or, if it is short, never. Calls and
 * replies belong to a connection and die with the process at its other end; raft messages
 * may arrive in a later life of the receiver, which is worse than lib/peer will ever be. */
#include "tests/sim/sim.h"

struct packet {
    struct node_message *message;
    uint64_t from_id, cluster_id;
    uint32_t from, held;
};

struct oneshot {
    uint32_t host, life;
    uint64_t id;
};

/* ---- copies --------------------------------------------------------------------------------- */

static struct rk_blob *copy_blob(const struct rk_blob *blob)
{
    return blob && blob->len > 0 ? rk_blob_copy(rk_blob_slice(blob)) : NULL;
}

static struct node_message *copy_message(const struct node_message *m, uint64_t from)
{
    struct node_message *copy = node_message_new(m->kind, from, m->group);

    copy->token = m->token;
    copy->raft = m->raft;
    copy->raft.entries = NULL;
    copy->id = m->id;
    copy->call_kind = m->call_kind;
    copy->outcome = m->outcome;
    copy->body = copy_blob(m->body);
    if (!m->entries)
        return copy;
    node_message_alloc_entries(copy, m->raft.count);
    for (uint32_t i = 0; i < m->raft.count; i++) {
        copy->entries[i] = m->entries[i];
        copy->entries[i].members = NULL;
        copy->payloads[i] = copy_blob(m->payloads[i]);
    }
    return copy;
}

/* ---- who reaches whom ------------------------------------------------------------------------ */

static bool lists(const struct node_directory *directory, uint64_t id)
{
    for (uint32_t i = 0; i < directory->peer_count; i++)
        if (directory->peers[i].id == id)
            return true;
    return false;
}

static bool buried(const struct node_directory *directory, uint64_t id)
{
    for (uint32_t i = 0; i < directory->removed_count; i++)
        if (directory->removed[i] == id)
            return true;
    return false;
}

static struct sim_host *by_id(struct sim *sim, uint64_t cluster, uint64_t id)
{
    for (uint32_t i = 0; i < sim->host_count; i++) {
        struct sim_host *host = &sim->hosts[i];
        if (host->speaks && host->directory.self_id == id && host->directory.cluster_id == cluster)
            return host;
    }
    return NULL;
}

static bool open_between(const struct sim_host *a, const struct sim_host *b)
{
    return !a->links[b->number].cut && !b->links[a->number].cut;
}

struct sim_host *sim_net_peer(struct sim_host *from, uint64_t id)
{
    struct sim_host *to = by_id(from->sim, from->directory.cluster_id, id);

    if (!to || !open_between(from, to) || !lists(&from->directory, id) ||
        !lists(&to->directory, from->directory.self_id))
        return NULL;
    return to;
}

/* ---- sending ------------------------------------------------------------------------------------ */

static void give(struct sim_host *to, struct node_message *message)
{
    struct rk_list list;

    rk_list_init(&list);
    rk_list_push_back(&list, &message->mail.link);
    if (!to->speaks || !to->inlet.receive(to->inlet.userdata, &list, 1))
        node_message_free(message);
}

static uint64_t delay(struct sim *sim)
{
    uint64_t us = sim->tune.delay_us + sim_below(sim, sim->tune.jitter_us);

    if (sim_below(sim, 1000000) < sim->tune.reorder_ppm)
        us += sim_below(sim, sim_chance(sim, 10) ? 2000000 : 50000);
    return us;
}

static void post(struct sim_host *from, struct sim_host *to, struct node_message *message, uint64_t from_id)
{
    struct sim *sim = from->sim;
    struct sim_event *event = sim_later(sim, delay(sim), SIM_EV_PACKET);
    struct packet *packet = RK_NEW(struct packet);

    packet->message = message;
    packet->from = from->number;
    packet->from_id = from_id;
    packet->cluster_id = from->directory.cluster_id;
    event->host = to->number;
    event->life = to->life;
    event->object = packet;
}

static void unreachable(struct sim_host *caller, const struct node_message *lost)
{
    struct node_message *reply = node_message_new(NODE_MSG_REPLY, lost->peer, lost->group);

    reply->id = lost->id;
    reply->call_kind = lost->call_kind;
    reply->outcome = NODE_OUTCOME_UNREACHABLE;
    reply->body = rk_blob_copy(rk_slice_str("not connected"));
    give(caller, reply);
}

static bool may_repeat(const struct node_message *m)
{
    return m->kind == NODE_MSG_RAFT ||
           (m->kind == NODE_MSG_CALL && (m->call_kind & 0xffff) <= NODE_CALL_READ);
}

static void send_one(struct sim_host *from, const struct node_message *m)
{
    struct sim *sim = from->sim;
    struct sim_host *to = by_id(sim, from->directory.cluster_id, m->peer);

    if (!to || !from->links[to->number].up || !lists(&from->directory, m->peer)) {
        if (m->kind == NODE_MSG_CALL)
            unreachable(from, m);
        return;
    }
    if (m->kind == NODE_MSG_RAFT && !sim->options.no_wire_checks)
        sim_check_sent(from, m);
    if ((from->links[to->number].cut && (m->kind != NODE_MSG_RAFT || !sim_chance(sim, sim->tune.hold))) ||
        sim_below(sim, 1000000) < sim->tune.loss_ppm)
        return;
    post(from, to, copy_message(m, from->directory.self_id), from->directory.self_id);
    /* A connection does not repeat itself; neither raft nor applying must mind. */
    if (!may_repeat(m) || sim_below(sim, 1000000) >= sim->tune.duplicate_ppm)
        return;
    if (m->kind == NODE_MSG_CALL)
        sim_history_repeated(sim, rk_blob_slice(m->body));
    post(from, to, copy_message(m, from->directory.self_id), from->directory.self_id);
}

static void answer_oneshot(struct sim_host *from, const struct node_message *m)
{
    struct sim *sim = from->sim;
    struct oneshot *oneshot = rk_map_get(&sim->oneshots, m->token);
    struct sim_host *caller;

    if (!oneshot)
        return;
    caller = &sim->hosts[oneshot->host];
    if (caller->life == oneshot->life && !from->links[caller->number].cut && sim_chance(sim, 95)) {
        post(from, caller, copy_message(m, 0), 0);
        free(rk_map_remove(&sim->oneshots, m->token));
    }
}

static void send_list(void *userdata, struct rk_list *messages)
{
    struct sim_host *host = userdata;
    struct rk_list *it;

    while ((it = rk_list_pop_front(messages))) {
        struct node_message *m = RK_LIST_ITEM(it, struct node_message, mail.link);

        if (host->speaks && m->peer == 0)
            answer_oneshot(host, m);
        else if (host->speaks)
            send_one(host, m);
        node_message_free(m);
    }
}

static void set_directory(void *userdata, const struct node_directory *directory)
{
    struct sim_host *host = userdata;

    host->directory = *directory;
}

static void call_address(void *userdata, const char *address, struct node_message *m)
{
    struct sim_host *caller = userdata;
    struct sim *sim = caller->sim;
    struct sim_host *to = NULL;

    for (uint32_t i = 0; i < sim->host_count; i++)
        if (strcmp(sim->hosts[i].address, address) == 0 && sim->hosts[i].speaks &&
            open_between(caller, &sim->hosts[i]))
            to = &sim->hosts[i];
    if (!caller->speaks) {
        /* dead */
    } else if (!to) {
        unreachable(caller, m);
    } else {
        struct oneshot *oneshot = RK_NEW(struct oneshot);
        struct node_message *copy = copy_message(m, 0);

        *oneshot = (struct oneshot){.host = caller->number, .life = caller->life, .id = m->id};
        copy->token = ++sim->next_token;
        rk_map_put(&sim->oneshots, copy->token, oneshot);
        sim_later(sim, 2000000, SIM_EV_ONESHOT_LATE)->arg = copy->token;
        post(caller, to, copy, 0);
    }
    node_message_free(m);
}

void sim_net_oneshot_late(struct sim *sim, uint64_t token)
{
    struct oneshot *oneshot = rk_map_remove(&sim->oneshots, token);
    struct node_message lost = {0};

    if (!oneshot)
        return;
    lost.id = oneshot->id;
    if (sim->hosts[oneshot->host].life == oneshot->life)
        unreachable(&sim->hosts[oneshot->host], &lost);
    free(oneshot);
}

struct node_transport sim_transport(struct sim_host *host)
{
    return (struct node_transport){.userdata = host,
                                   .send = send_list,
                                   .set_directory = set_directory,
                                   .call_address = call_address,
                                   .send_snapshot = sim_upload_begin};
}

/* ---- arriving ------------------------------------------------------------------------------------ */

static bool arrives(struct sim_host *to, const struct sim_event *event, const struct packet *packet)
{
    const struct node_message *m = packet->message;

    if (!to->speaks || to->sim->hosts[packet->from].links[to->number].cut)
        return false;
    if (m->kind != NODE_MSG_RAFT && to->life != event->life)
        return false;
    if (packet->from_id == 0)
        return true;
    if (to->directory.cluster_id != packet->cluster_id || !lists(&to->directory, packet->from_id))
        return false;
    return m->kind != NODE_MSG_RAFT || m->raft.to == to->directory.self_id;
}

/* Some of what meets a cut comes when the cut is over, and then it is old. */
static bool hold(struct sim *sim, const struct sim_event *event, struct packet *packet)
{
    struct sim_event *again;

    if (packet->message->kind != NODE_MSG_RAFT || !sim->hosts[packet->from].links[event->host].cut ||
        packet->held++ >= 30 || !sim_chance(sim, 50 + sim->tune.hold / 2) || sim->tune.hold == 0)
        return false;
    again = sim_later(sim, sim_between(sim, 1000, 200000), SIM_EV_PACKET);
    again->host = event->host;
    again->life = event->life;
    again->object = packet;
    return true;
}

void sim_net_packet(struct sim *sim, struct sim_event *event)
{
    struct packet *packet = event->object;
    struct sim_host *to = &sim->hosts[event->host];
    bool good = arrives(to, event, packet);

    if (!good && hold(sim, event, packet))
        return;
    sim_note(sim, good ? "packet" : "lost", (uint64_t)packet->from << 8 | to->number,
             (uint64_t)packet->message->kind << 32 | packet->message->raft.kind,
             packet->message->raft.index << 20 | packet->message->raft.count);
    if (good) {
        give(to, packet->message);
        packet->message = NULL;
    }
    sim_net_drop_packet(event);
}

void sim_net_drop_packet(struct sim_event *event)
{
    struct packet *packet = event->object;

    node_message_free(packet->message);
    free(packet);
}

/* ---- links ------------------------------------------------------------------------------------------ */

static void tell(struct sim_host *host, uint64_t peer, enum node_link_state state)
{
    sim_note(host->sim, "link", host->number, peer, state);
    host->inlet.link_state(host->inlet.userdata, peer, state, "simulated");
}

static void look_at(struct sim_host *from, const struct node_peer *peer, bool *seen)
{
    struct sim *sim = from->sim;
    struct sim_host *to = by_id(sim, from->directory.cluster_id, peer->id);
    struct sim_link *link = to ? &from->links[to->number] : NULL;
    bool open = to && open_between(from, to);

    if (!link)
        return;
    seen[to->number] = true;
    if (open && !link->up && buried(&to->directory, from->directory.self_id) &&
        !lists(&to->directory, from->directory.self_id)) {
        sim_check_told_removed(sim, from->directory.self_id);
        tell(from, peer->id, NODE_LINK_REMOVED);
        return;
    }
    open = open && lists(&to->directory, from->directory.self_id);
    if (link->up && (link->life != to->life || (!open && sim_chance(sim, 10)))) {
        link->up = false;
        tell(from, peer->id, NODE_LINK_DOWN);
    } else if (!link->up && open) {
        link->up = true;
        link->life = to->life;
        tell(from, peer->id, NODE_LINK_UP);
    }
}

static void look(struct sim_host *from)
{
    struct node_directory *directory = RK_NEW(struct node_directory);
    bool seen[SIM_HOSTS_MAX] = {false};

    *directory = from->directory;
    for (uint32_t i = 0; i < directory->peer_count; i++)
        look_at(from, &directory->peers[i], seen);
    for (uint32_t i = 0; i < from->sim->host_count; i++) {
        struct sim_host *to = &from->sim->hosts[i];
        if (seen[i] || !from->links[i].up)
            continue;
        from->links[i].up = false;
        tell(from, to->directory.self_id, NODE_LINK_DOWN);
    }
    free(directory);
}

void sim_net_links(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->host_count; i++) {
        struct sim_host *host = &sim->hosts[i];
        if (host->speaks)
            look(host);
        else
            for (uint32_t j = 0; j < sim->host_count; j++)
                host->links[j].up = false;
    }
}

void sim_net_deinit(struct sim *sim)
{
    struct rk_map_slot *slot;
    size_t cursor = 0;

    while ((slot = rk_map_next(&sim->oneshots, &cursor)))
        free(slot->value);
    rk_map_deinit(&sim->oneshots);
    rk_assert(sim->uploads.count == 0); /* they ended with their hosts */
    rk_map_deinit(&sim->uploads);
}
