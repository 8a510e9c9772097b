/* lib/node/node_boot.c - from a data directory to a node that can be started: open, recover, check.
 *
 * What is found must fit together: the identity with this host, the rows with the log, the log with itself.
 * What does not is refused with a sentence that says what to do; nothing is guessed. */
#include <errno.h>
#include <stdio.h>

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"

/* ---- the stores ------------------------------------------------------------------------- */

static void on_progress(void *userdata, unsigned percent)
{
    struct node *node = userdata;

    if (node->config.progress)
        node->config.progress(node->config.userdata, "recovering the log", percent);
}

int node_open_stores(struct node *node, char **ret_error)
{
    struct store_log_config log = {.cache_bytes = node->config.log_cache_bytes};
    int r = store_log_open(node->dir, &log, on_progress, node, &node->log, ret_error);

    if (r == STORE_E_REFUSED && store_dir_identity(node->dir)) {
        r = node_repair_log(node, ret_error);
        if (r == 0)
            r = store_log_open(node->dir, &log, on_progress, node, &node->log, ret_error);
    }

    return r == 0 ? node_open_rows(node, ret_error) : r; /* the log knows whether rows can be replaced */
}

void node_close_stores(struct node *node)
{
    mvcc_free(node->group.mvcc);
    node->group.mvcc = NULL;
    store_log_close(node->log);
    node->log = NULL;
    store_rows_close(node->rows);
    node->rows = NULL;
}

/* ---- failing ------------------------------------------------------------------------------- */

void node_fail_with(struct node *node, const char *sentence)
{
    if (!atomic_exchange(&node->failed, true) && node->config.fatal)
        node->config.fatal(node->config.userdata, sentence);
}

void node_fail(struct node *node, const char *part, int error)
{
    RK_CLEANUP(rk_freep)
    char *sentence = rk_asprintf(
        "%s in %s failed (%s): this host stops, since nobody knows what has reached the disk. Check the "
        "disk, then start it again; the other members have its data",
        part, store_dir_path(node->dir), strerror(error < 0 ? -error : error));

    node_fail_with(node, sentence);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int check_identity(struct node *node, char **ret_error)
{
    const struct node_config *config = &node->config;
    const struct store_identity *identity = &node->identity;

    if (strcmp(identity->name, config->name) != 0) {
        *ret_error = rk_asprintf(
            "%s belongs to the member %s, and this host is called %s: set name = \"%s\" in raftkv.conf, "
            "or give this host a data directory of its own",
            store_dir_path(node->dir), identity->name, config->name, identity->name);
        return STORE_E_REFUSED;
    }
    if (!config->adopt_machine && identity->machine[0] && config->machine[0] &&
        strcmp(identity->machine, config->machine) != 0) {
        *ret_error = rk_asprintf(
            "%s was made on another machine: two hosts that run from copies of one data directory break the "
            "cluster. If the disk was moved here and the old host is gone for good, start raftkvd once "
            "with --adopt-data; otherwise move the directory away and join as a new member",
            store_dir_path(node->dir));
        return STORE_E_REFUSED;
    }
    return 0;
}

static int open_all(struct node *node, char **ret_error)
{
    const struct store_identity *found = store_dir_identity(node->dir);
    bool pristine = !found;
    int r = 0;

    if (found) {
        node->identity = *found;
        r = check_identity(node, ret_error);
    } else {
        r = store_dir_wipe(node->dir); /* what a first start that was interrupted left behind */
        snprintf(node->identity.name, sizeof(node->identity.name), "%s", node->config.name);
    }
    if (r == 0)
        r = store_space_init(node->dir, node->config.reserve_bytes, node->config.low_space_bytes);
    if (r == 0)
        r = node_open_stores(node, ret_error);
    if (r == 0 && pristine)
        r = node_bootstrap(node);
    if (r != 0)
        return r;
    node->identity.incarnation++;
    if (node->config.machine[0])
        snprintf(node->identity.machine, sizeof(node->identity.machine), "%s", node->config.machine);
    return store_dir_set_identity(node->dir, &node->identity);
}

static void init_node(struct node *node, const struct node_config *config)
{
    node->config = *config;
    pthread_mutex_init(&node->summary_mutex, NULL);
    pthread_mutex_init(&node->digests.mutex, NULL);
    node->scrub_us = node_now_us(node);
    rk_list_init(&node->out);
    rk_list_init(&node->group.configs);
    rk_list_init(&node->group.proposals);
    rk_list_init(&node->group.reads);
    rk_list_init(&node->group.batches);
    rk_list_init(&node->sources);
    node->raft_beat.name = "raft";
    node->log_beat.name = "log";
    node->apply_beat.name = "apply";
    node->checkpoint_beat.name = "checkpoint";
    node->beats[0] = &node->raft_beat;
    node->beats[1] = &node->log_beat;
    node->beats[2] = &node->apply_beat;
    node->beats[3] = &node->checkpoint_beat;
    node->raft_stop.kind = node->log_stop.kind = node->apply_stop.kind = NODE_MAIL_STOP;
    node->started_us = node_now_us(node);
    /* An answer that was on its way when this host went down must find nobody when it is up again. */
    node->next_id = RK_PLANT(CALL_IDS_REPEAT) ? 0 : rk_random_id();
    node->first.life = rk_random_id();
}

static int init_boxes(struct node *node)
{
    int r = rk_mailbox_init(&node->raft_box, RK_MAILBOX_MAX);

    if (r == 0)
        r = rk_mailbox_init(&node->log_box, RK_MAILBOX_MAX);
    if (r == 0)
        r = rk_mailbox_init(&node->apply_box, RK_MAILBOX_MAX);
    node->boxes_ready = r == 0;
    return r;
}

int node_open(const struct node_config *config, struct node **ret, char **ret_error)
{
    struct node *node = RK_NEW(struct node);
    int r;

    *ret_error = NULL;
    init_node(node, config);
    r = init_boxes(node);
    if (r == 0)
        r = store_dir_open(config->data_directory, &node->dir, ret_error);
    if (r == 0)
        r = open_all(node, ret_error);
    if (r == 0)
        r = node_load_group(node, ret_error);
    if (r != 0) {
        if (!*ret_error)
            *ret_error =
                rk_asprintf("cannot open %s: %s%s", config->data_directory, strerror(r < 0 ? -r : EIO),
                            r == -ENOSPC ? "; free some space there and start again" : "");
        node_close(node);
        return r;
    }
    atomic_store(&node->member_id, node->identity.member_id);
    atomic_store(&node->incarnation, node->identity.incarnation);
    node_refresh_summary(node);
    *ret = node;
    return 0;
}
