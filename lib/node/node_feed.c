/* lib/node/node_feed.c - appends on their way to a peer: filled with entries from the cache or from the log.
 *
 * The core says "entries 17 to 60"; a follower that keeps up finds them in the cache.
 * For one that lags the log thread reads them; until it has, later appends to the same
 * peer wait behind, since out of order they would only be refused. */
#include <errno.h>

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

static bool fill_from_cache(struct node_group *group, struct node_message *message)
{
    uint32_t count = message->raft.count;
    uint64_t first = message->raft.index + 1;

    if (count > 0 &&
        (!node_cache_get(&group->cache, first) || !node_cache_get(&group->cache, first + count - 1)))
        return false;
    node_message_alloc_entries(message, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct node_cache_entry *cached = node_cache_get(&group->cache, first + i);

        message->entries[i] =
            (struct raft_entry){.index = first + i,
                                .term = cached->term,
                                .kind = cached->kind,
                                .bytes = cached->payload ? (uint32_t)cached->payload->len : 0};
        message->payloads[i] = rk_blob_ref(cached->payload);
    }
    return true;
}

static struct node_feed *start_feed(struct node *node, struct node_message *message)
{
    struct node_feed *feed = RK_NEW(struct node_feed);
    struct node_log_work *work = node_log_work_new(node, NODE_LOG_READ, message->group);

    feed->peer = message->peer;
    rk_list_init(&feed->waiting);
    rk_map_put(&node->group.catching_up, message->peer, feed);
    work->message = message;
    rk_mailbox_push_always(&node->log_box, &work->mail);
    return feed;
}

void node_feed_append(struct node *node, struct node_message *message)
{
    struct node_feed *feed = rk_map_get(&node->group.catching_up, message->peer);

    if (feed && feed->count >= NODE_FEED_MAX) {
        node_message_free(message); /* lost, as on a network; the core probes */
    } else if (feed) {
        rk_list_push_back(&feed->waiting, &message->mail.link);
        feed->count++;
    } else if (fill_from_cache(&node->group, message)) {
        rk_list_push_back(&node->out, &message->mail.link);
    } else {
        start_feed(node, message);
    }
}

static void end_feed(struct node *node, struct node_feed *feed)
{
    rk_map_remove(&node->group.catching_up, feed->peer);
    RK_LIST_FOR_EACH_SAFE (it, &feed->waiting) {
        rk_list_remove(it);
        node_feed_append(node, RK_LIST_ITEM(it, struct node_message, mail.link));
    }
    free(feed);
}

void node_feed_read_done(struct node *node, struct node_log_work *work)
{
    struct node_message *message = work->message;
    struct node_feed *feed = rk_map_get(&node->group.catching_up, message->peer);

    work->message = NULL;
    if (work->result == 0)
        rk_list_push_back(&node->out, &message->mail.link);
    else
        node_message_free(message); /* cut meanwhile: the core will want a snapshot */
    if (feed)
        end_feed(node, feed);
}

void node_feed_drop(struct node *node, uint64_t peer)
{
    struct node_feed *feed = rk_map_get(&node->group.catching_up, peer);

    if (!feed)
        return;
    RK_LIST_FOR_EACH_SAFE (it, &feed->waiting) {
        rk_list_remove(it);
        node_message_free(RK_LIST_ITEM(it, struct node_message, mail.link));
    }
    feed->count = 0;
}
