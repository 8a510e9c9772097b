/* lib/node/node_configs.c - which configuration is in force: the last one in the log, committed or not.
 *
 * Older ones are kept until a newer one has been applied, since a truncation of the
 * log brings the previous one back (thesis 4.1). */
#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

static struct node_config_entry *last(const struct node_group *group)
{
    rk_assert(!rk_list_empty(&group->configs));
    return RK_LIST_ITEM(group->configs.prev, struct node_config_entry, link);
}

const struct node_members *node_members_now(const struct node_group *group)
{
    return &last(group)->members;
}

uint64_t node_members_now_index(const struct node_group *group)
{
    return last(group)->index;
}

void node_configs_append(struct node_group *group, uint64_t index, const struct node_members *members)
{
    struct node_config_entry *entry = RK_NEW(struct node_config_entry);

    entry->index = index;
    entry->members = *members;
    rk_list_push_back(&group->configs, &entry->link);
}

static void forget(struct node_config_entry *entry)
{
    rk_list_remove(&entry->link);
    free(entry);
}

void node_configs_truncate(struct node_group *group, uint64_t from)
{
    while (last(group)->index >= from && group->configs.next != group->configs.prev)
        forget(last(group));
}

bool node_configs_prune(struct node_group *group, uint64_t applied)
{
    for (bool pruned = false;; pruned = true) {
        struct node_config_entry *first = RK_LIST_ITEM(group->configs.next, struct node_config_entry, link);
        struct rk_list *second = first->link.next;

        if (second == &group->configs ||
            RK_LIST_ITEM(second, struct node_config_entry, link)->index > applied)
            return pruned;
        forget(first);
    }
}

void node_configs_replace(struct node_group *group, uint64_t through, uint64_t index,
                          const struct node_members *members)
{
    struct node_config_entry *entry = RK_NEW(struct node_config_entry);

    RK_LIST_FOR_EACH_SAFE (it, &group->configs) {
        struct node_config_entry *old = RK_LIST_ITEM(it, struct node_config_entry, link);
        if (old->index <= through)
            forget(old);
    }
    entry->index = index;
    entry->members = *members;
    rk_list_push_front(&group->configs, &entry->link);
}

void node_configs_clear(struct node_group *group)
{
    RK_LIST_FOR_EACH_SAFE (it, &group->configs)
        forget(RK_LIST_ITEM(it, struct node_config_entry, link));
}

void node_configs_applied(const struct node_group *group, struct node_log_work *work)
{
    const struct node_config_entry *first = RK_LIST_ITEM(group->configs.next, struct node_config_entry, link);

    work->members = node_members_encode(&first->members);
    work->members_index = first->index;
}

const struct node_member *node_self(const struct node *node)
{
    return node_members_find(node_members_now(&node->group), node->identity.member_id);
}

static bool is_listed(const struct node_directory *directory, uint64_t id)
{
    for (uint32_t i = 0; i < directory->peer_count; i++)
        if (directory->peers[i].id == id)
            return true;
    return id == directory->self_id;
}

static void list_members(struct node_directory *directory, const struct node_members *members)
{
    for (uint32_t i = 0; i < members->count && directory->peer_count < RK_MEMBERS_MAX; i++) {
        const struct node_member *member = &members->member[i];
        struct node_peer *peer = &directory->peers[directory->peer_count];

        if (is_listed(directory, member->id))
            continue;
        peer->id = member->id;
        memcpy(peer->name, member->name, sizeof(peer->name));
        memcpy(peer->address, member->peer_address, sizeof(peer->address));
        directory->peer_count++;
    }
}

/* Who is in the configuration in force, and who is in one that is still to be replaced for good: a leader
 * that removes itself needs the others' acknowledgements of just that entry, and whoever asked needs its
 * answer. Who was removed is said by the oldest, which is applied: a removal that is only in the log may be
 * undone, and whoever is told of it acts on it for good. */
void node_announce_members(struct node *node)
{
    const struct node_members *settled =
        &RK_LIST_ITEM(node->group.configs.next, struct node_config_entry, link)->members;
    struct node_directory *directory = RK_NEW(struct node_directory);

    if (RK_PLANT(REMOVED_TOO_EARLY))
        settled = node_members_now(&node->group);
    directory->cluster_id = node->identity.cluster_id;
    directory->self_id = node->identity.member_id;
    directory->incarnation = node->identity.incarnation;
    memcpy(directory->self_name, node->identity.name, sizeof(directory->self_name));
    for (struct rk_list *it = node->group.configs.prev; it != &node->group.configs && !node->identity.removed;
         it = RK_PLANT(REMOVED_TOO_EARLY) ? &node->group.configs : it->prev)
        list_members(directory, &RK_LIST_ITEM(it, struct node_config_entry, link)->members);
    if (node->lookup.members && !node->identity.removed)
        list_members(directory, node->lookup.members);
    directory->removed_count = settled->removed_count;
    memcpy(directory->removed, settled->removed, sizeof(directory->removed));
    node->transport.set_directory(node->transport.userdata, directory);
    free(directory);
}
