/* lib/node/node_rescue.h - what an operator does with a host that is not running: look, restore, recover.
 *
 * All of it opens the data directory, so it is refused while a daemon runs on it (the
 * directory's lock). One thread; blocks on the disk. 0; STORE_E_REFUSED or -errno with
 * a sentence in *ret_error (heap) that says what to do. */
#ifndef NODE_RESCUE_H
#define NODE_RESCUE_H

#include "lib/node/node.h"

struct node_file_report { /* of a snapshot file */
    uint64_t cluster_id, index, term, revision, keys, bytes;
    uint32_t hash; /* CRC-32C of all its bytes */
    struct node_members members;
};

/* Reads the file from its beginning and checks everything in it; needs no data directory. */
int node_file_check(int fd, struct node_file_report *ret, char **ret_error) RK_MUST_CHECK;

/* Fills a pristine data directory: a cluster of one, with a new cluster id, whose state is the snapshot's and
 * whose revisions go on behind it. Until it returns 0 the directory counts as pristine. */
int node_restore(const struct node_config *config, int fd, struct node_file_report *ret_file,
                 uint64_t *ret_cluster_id, char **ret_error) RK_MUST_CHECK;

/* What this host has: for comparing survivors. Heap; free(). */
int node_survey(const struct node_config *config, struct node_status **ret, char **ret_error) RK_MUST_CHECK;

/* Makes a cluster of one, with a new cluster id, of this host's rows and all of its log. Other members'
 * entries that this host never had are lost. *ret_before: as node_survey() would have said. */
int node_recover(const struct node_config *config, struct node_status **ret_before, uint64_t *ret_cluster_id,
                 char **ret_error) RK_MUST_CHECK;

#endif
