/* lib/node/node_loop.c - the raft thread: the cores' only user.
 *
 * A turn: take all mail, do each; then one event each for what the disk finished, what
 * was proposed and what is to be read; then timers; then everything that was said
 * leaves in one hand-over to the transport. */
#include <errno.h>
#include <stdio.h>

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

#define HOUSEKEEPING_US (100 * RK_USEC_PER_MSEC)
/* A member that was removed is hung up on a moment later: what it is told last should arrive. */
#define FAREWELL_US (200 * RK_USEC_PER_MSEC)

static void on_log_done(struct node *node, struct node_log_work *work)
{
    struct node_group *group = &node->group;

    if (work->generation != node->generation) {
        node_log_work_free(work);
        return;
    }
    if (work->kind == NODE_LOG_READ) {
        node_feed_read_done(node, work);
    } else {
        group->log_works--;
        if (work->count > 0) { /* told to the core once a turn: the last one says it all */
            group->persisted_index = work->entries[work->count - 1].index;
            group->persisted_term = work->entries[work->count - 1].term;
        }
    }
    node_log_work_free(work);
}

static void on_apply_done(struct node *node, struct node_apply_work *work)
{
    struct node_group *group = &node->group;

    if (work->generation != node->generation) {
        node_apply_work_free(work);
        return;
    }
    if (work->kind == NODE_APPLY_INSTALLED && atomic_load(&node->rebuilding)) {
        node_rebuild_installed(node, work);
        node_apply_work_free(work);
        return;
    }
    if (work->kind == NODE_APPLY_ROTTEN) {
        node_fence(node, "the rows of this host do not add up to what was applied");
        node_apply_work_free(work);
        return;
    }
    group->revision = work->revision;
    group->keys = work->keys;
    group->sessions = work->sessions;
    if (work->applied > group->applied) {
        struct raft_event event = {.kind = RAFT_EVENT_APPLIED, .index = work->applied};

        group->applied = work->applied;
        if (!node_unfit(node))
            atomic_store(&node->serving,
                         true); /* a host that joins has something to read now, if only stale */
        if (node_configs_prune(group, group->applied))
            node->announce_us = node_now_us(node) + FAREWELL_US;
        if (work->kind != NODE_APPLY_INSTALLED)
            node_step(node, &event, NULL);
    }
    if (work->kind == NODE_APPLY_FLUSH)
        node_cut_flushed(node, work);
    else if (work->kind == NODE_APPLY_INSTALLED)
        node_snapshot_installed(node, work);
    node_apply_work_free(work);
}

/* A new term opens a stream of its own while an old one may still be out, and takes the old one's place at
 * the receiver. That the old one has failed must not count for the new: it would be opened again, and again
 * take the place of one under way, for ever. */
static void on_sent(struct node *node, struct node_sent_note *note)
{
    bool others = !note->put_off && node_streaming(&node->group, note->peer, -1) > 0;
    struct raft_event event = {
        .kind = RAFT_EVENT_SNAPSHOT_SENT, .peer = note->peer, .ok = note->ok, .index = note->index};

    if (!note->put_off)
        RK_LOG(note->ok ? RK_LOG_INFO : RK_LOG_WARNING, "snapshot", RK_FIELDS(RK_F_ID("MEMBER", note->peer)),
               note->ok ? "a member has installed our snapshot"
                        : "a snapshot did not reach its member; it will be sent again");
    if (note->ok || !others)
        node_step(node, &event, NULL);
    free(note);
}

static void on_stop(struct node *node)
{
    struct raft_event event = {.kind = RAFT_EVENT_TRANSFER};

    node->stopping = true;
    if (node->group.role != RAFT_LEADER || raft_members_voters(raft_members(node->group.raft)) <= 1)
        return;
    node->successor_us = node_now_us(node) + node->config.election_timeout_ms * RK_USEC_PER_MSEC;
    node_step(node, &event, NULL);
}

static void do_mail(struct node *node, struct rk_mail *mail)
{
    switch ((enum node_mail_kind)mail->kind) {
    case NODE_MAIL_CALL:
        node_route(node, RK_CONTAINER_OF(mail, struct node_call, mail));
        break;
    case NODE_MAIL_OWN_CALL: {
        struct node_call *call = RK_CONTAINER_OF(mail, struct node_call, mail);
        call->done(call);
        node_call_free(call);
        break;
    }
    case NODE_MAIL_MESSAGE:
        node_on_message(node, RK_CONTAINER_OF(mail, struct node_message, mail));
        break;
    case NODE_MAIL_LOG_WORK:
        on_log_done(node, RK_CONTAINER_OF(mail, struct node_log_work, mail));
        break;
    case NODE_MAIL_APPLY_WORK:
        on_apply_done(node, RK_CONTAINER_OF(mail, struct node_apply_work, mail));
        break;
    case NODE_MAIL_LINK: {
        struct node_link_note *note = RK_CONTAINER_OF(mail, struct node_link_note, mail);
        node_on_link(node, note);
        free(note);
        break;
    }
    case NODE_MAIL_OFFER:
        node_snapshot_offered(node, RK_CONTAINER_OF(mail, struct node_offer, mail));
        break;
    case NODE_MAIL_SENT:
        on_sent(node, RK_CONTAINER_OF(mail, struct node_sent_note, mail));
        break;
    case NODE_MAIL_STOP:
        on_stop(node);
        break;
    case NODE_MAIL_CHUNK:
    case NODE_MAIL_STREAM:
        rk_assert(false); /* the apply thread's */
    }
}

static void tell_persisted(struct node *node)
{
    struct node_group *group = &node->group;
    struct raft_event event = {
        .kind = RAFT_EVENT_PERSISTED, .index = group->persisted_index, .term = group->persisted_term};

    if (group->persisted_index == 0)
        return;
    group->persisted_index = 0;
    node_step(node, &event, NULL);
}

static void run_timers(struct node *node, uint64_t now_us)
{
    struct rk_heap_item *item;

    while ((item = rk_heap_peek(&node->timers)) && item->key <= now_us)
        node_call_expire(node, RK_CONTAINER_OF(item, struct node_call, priv.timer));
    if (!node->identity.removed && raft_deadline(node->group.raft) <= now_us) {
        struct raft_event event = {.kind = RAFT_EVENT_TICK};
        node_step(node, &event, NULL);
    }
    if (node->housekeeping_us <= now_us) {
        node->housekeeping_us = now_us + HOUSEKEEPING_US;
        if (node->announce_us != 0 && node->announce_us <= now_us) {
            node->announce_us = 0;
            node_announce_members(node);
        }
        node_cut_housekeeping(node);
        node_session_housekeeping(node);
        node_change_housekeeping(node);
        node_join_housekeeping(node);
        node_lookup_housekeeping(node);
        node_rebuild_housekeeping(node);
        node_check_housekeeping(node);
        node_repair_housekeeping(node);
        node_first_housekeeping(node);
        node_refresh_summary(node);
    }
}

uint64_t node_raft_deadline(struct node *node)
{
    struct rk_heap_item *item = rk_heap_peek(&node->timers);
    uint64_t at = node->housekeeping_us;

    if (item)
        at = rk_min_u64(at, item->key);
    return node->identity.removed ? at : rk_min_u64(at, raft_deadline(node->group.raft));
}

static void give_back(struct node *node, struct rk_list *mails)
{
    struct rk_list *it;

    while ((it = rk_list_pop_front(mails)))
        rk_mailbox_push_always(&node->raft_box, RK_LIST_ITEM(it, struct rk_mail, link));
}

void node_raft_run_once(struct node *node, uint64_t wait_until_us)
{
    struct rk_list mails, *it;

    rk_list_init(&mails);
    rk_beat_idle(&node->raft_beat);
    node_wait(node, &node->raft_box, rk_min_u64(wait_until_us, node_raft_deadline(node)));
    rk_beat_busy(&node->raft_beat);
    rk_mailbox_take(&node->raft_box, &mails);
    while (!atomic_load(&node->failed) && (it = rk_list_pop_front(&mails)))
        do_mail(node, RK_LIST_ITEM(it, struct rk_mail, link));
    if (atomic_load(&node->failed)) { /* there may be no core any more; node_stop() answers the rest */
        give_back(node, &mails);
        return;
    }
    tell_persisted(node);
    node_propose_gathered(node);
    node_read_gathered(node);
    run_timers(node, node_now_us(node));
    if (!rk_list_empty(&node->out))
        node->transport.send(node->transport.userdata, &node->out);
}

/* Leadership has gone, or there was nobody to give it to, and nobody waits any more. Our vote may be the one
 * that the successor needs, so we stay until we hear from it. */
static bool may_end(struct node *node)
{
    uint64_t now_us = node_now_us(node);
    bool leads = node->group.role == RAFT_LEADER && !node->no_successor &&
                 raft_members_voters(raft_members(node->group.raft)) > 1;
    bool needed = node->group.leader == 0 && now_us < node->successor_us;

    return (!leads && !needed && (node->no_successor || node->group.waiting.count == 0) &&
            node->forwards.count == 0) ||
           now_us >= node->stop_deadline_us;
}

static void answer_rest(struct node *node)
{
    node_fail_waiting(node);
    if (!rk_list_empty(&node->out))
        node->transport.send(node->transport.userdata, &node->out);
}

void *node_raft_thread(void *userdata)
{
    struct node *node = userdata;

    while (!atomic_load(&node->failed) && !(node->stopping && may_end(node)))
        node_raft_run_once(node, node->stopping ? node_now_us(node) + 10 * RK_USEC_PER_MSEC : RK_NEVER);
    answer_rest(node);
    rk_beat_idle(&node->raft_beat);
    return NULL;
}
