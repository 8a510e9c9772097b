/* ctl/finding.h - what is wrong, in plain words, and what to do about it: the first thing that `status`
 * shows. */
#ifndef FINDING_H
#define FINDING_H

#include <jansson.h>

#include "lib/base/rk_util.h"

#define FINDINGS_MAX 80u /* the server's, and two for each member */

struct finding {
    char *text;   /* a sentence */
    char *advice; /* or NULL */
};

struct findings {
    struct finding list[FINDINGS_MAX];
    size_t count;
};

/* How a member does as the leader sees it. */
enum peer_state {
    PEER_UNSEEN, /* not this host's to know: it is not the leader */
    PEER_SELF,
    PEER_GOOD,
    PEER_SILENT,   /* not heard of for PEER_SILENT_MS */
    PEER_SNAPSHOT, /* receives the whole state */
    PEER_BEHIND,   /* more than PEER_BEHIND_ENTRIES behind */
};

struct peer {
    enum peer_state state;
    uint64_t lag, silent_ms; /* silent_ms RK_NEVER: never heard in this term */
};

#define PEER_SILENT_MS      5000u
#define PEER_BEHIND_ENTRIES 10000u

/* From the answers of GET /status and, may be NULL, GET /members. */
struct peer peer_look(const json_t *status, const char *member_id);
/* A majority of the voters; 0 with no members. *ret_voters and *ret_in_contact (the leader's view) are
 * counts. */
size_t quorum_look(const json_t *status, const json_t *members, size_t *ret_voters, size_t *ret_in_contact);
void findings_make(struct findings *findings, const json_t *status, const json_t *members);
void findings_deinit(struct findings *findings);

#endif
