/* lib/node/node_bootstrap.c - the first start: what a pristine data directory becomes.
 *
 * A cluster of one, or, with initial_members, this host's part of a cluster whose
 * ids every host derives alike from the list. Either way the state begins at entry 1
 * of term 1, which no log holds: it is the base of every log. */
#include <errno.h>
#include <stdio.h>

#include "lib/node/node_internal.h"

#define BOOT_INDEX 1
#define BOOT_TERM  1

/* FNV-1a: every host must derive the same ids from the same list; no secret hangs on it. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3ULL;
    return hash ? hash : 1;
}

static int add_initial(uint64_t seed, const char *text, struct node_members *members)
{
    const char *equals = strchr(text, '=');
    struct node_member member = {.role = RAFT_VOTER, .priority = NODE_PRIORITY_DEFAULT};

    if (!equals)
        return -EINVAL;
    snprintf(member.name, sizeof(member.name), "%.*s", (int)(equals - text), text);
    snprintf(member.peer_address, sizeof(member.peer_address), "%s", equals + 1);
    /* Without client URLs, which the list does not tell: the first state must be the same on each host. Each
     * announces its own as soon as there is a leader. */
    member.id = hash_text(seed, member.name);
    return node_members_add(members, &member);
}

static int initial_members(const struct node_config *config, struct store_identity *identity,
                           struct node_members *members)
{
    uint64_t seed = hash_text(0xcbf29ce484222325ULL, config->initial_cluster_name);
    int r = 0;

    if (config->initial_member_count == 0) {
        struct node_member self = {
            .id = rk_random_id(), .role = RAFT_VOTER, .priority = NODE_PRIORITY_DEFAULT};

        identity->cluster_id = rk_random_id();
        snprintf(self.name, sizeof(self.name), "%s", config->name);
        snprintf(self.peer_address, sizeof(self.peer_address), "%s", config->peer_address);
        snprintf(self.client_url, sizeof(self.client_url), "%s", config->client_url);
        identity->member_id = self.id;
        return node_members_add(members, &self);
    }
    /* A sum, so that the order in which a host lists them does not matter. */
    for (uint32_t i = 0; i < config->initial_member_count; i++)
        seed += hash_text(0x9e3779b97f4a7c15ULL, config->initial_members[i]);
    identity->cluster_id = seed = seed ? seed : 1;
    for (uint32_t i = 0; i < config->initial_member_count && r == 0; i++)
        r = add_initial(seed, config->initial_members[i], members);
    if (r == 0 && !node_members_find_name(members, config->name))
        r = -EINVAL;
    if (r == 0)
        identity->member_id = node_members_find_name(members, config->name)->id;
    return r;
}

static int write_first_state(struct node *node, const struct node_members *members)
{
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *payload = node_members_encode(members);
    struct store_base base = {.index = BOOT_INDEX, .term = BOOT_TERM};
    struct store_vote vote = {.term = BOOT_TERM};
    uint32_t group = node->group.number;
    int r = mvcc_bootstrap(node->group.mvcc, BOOT_INDEX, BOOT_TERM, rk_blob_slice(payload));

    if (r == 0)
        r = store_rows_flush(node->rows);
    if (r == 0)
        r = store_log_begin(node->log);
    if (r == 0)
        r = store_log_reset(node->log, group, &base);
    if (r == 0)
        r = store_log_set_members(node->log, group, BOOT_INDEX, rk_blob_slice(payload));
    if (r == 0)
        r = store_log_set_vote(node->log, group, &vote);
    return r == 0 ? store_log_commit(node->log) : r;
}

/* The identity is written last: until then the directory counts as pristine and is wiped again. */
int node_bootstrap(struct node *node)
{
    struct node_members *members = RK_NEW(struct node_members);
    int r = initial_members(&node->config, &node->identity, members);

    if (r == 0)
        r = write_first_state(node, members);
    if (r == 0 && members->count > 1) /* no vote yet: is it really the first start? */
        r = store_repair_begin(node->dir, &(const struct store_vote){0});
    free(members);
    return r;
}
