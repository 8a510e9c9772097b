/* ctl/finding.c - what is wrong, in plain words, and what to do about it.
 *
 * The daemon reports the problems that it knows of itself. What follows from the
 * numbers beside them is added here, unless the daemon's sentences speak of that
 * already: an operator at night should read each trouble once. */
#include "config.h" /* _GNU_SOURCE, for strcasestr */

#include "ctl/finding.h"

#include <stdio.h>
#include <string.h>

#include "ctl/output.h"
#include "lib/client/client.h"

static void add(struct findings *findings, char *text, char *advice)
{
    if (findings->count == FINDINGS_MAX) {
        free(text);
        free(advice);
        return;
    }
    findings->list[findings->count++] = (struct finding){.text = text, .advice = advice};
}

static bool told(const struct findings *findings, const char *word)
{
    for (size_t i = 0; i < findings->count; i++)
        if (strcasestr(findings->list[i].text, word))
            return true;
    return false;
}

/* The daemon's sentences about a member begin with its name. Further in, a short name could be any word. */
static bool told_of(const struct findings *findings, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < findings->count; i++)
        if (strncmp(findings->list[i].text, name, len) == 0 && findings->list[i].text[len] == ' ')
            return true;
    return false;
}

static bool leads(const json_t *status)
{
    return strcmp(client_json_str(status, "role", ""), "leader") == 0;
}

static bool is_role(const json_t *object, const char *name, const char *role)
{
    return strcmp(client_json_str(object, name, ""), role) == 0;
}

/* ---- members ---- */

static const json_t *find_peer(const json_t *status, const char *id)
{
    size_t i;
    json_t *peer;
    json_array_foreach(json_object_get(status, "peers"), i, peer)
    {
        if (strcmp(client_json_str(peer, "id", ""), id) == 0)
            return peer;
    }
    return NULL;
}

struct peer peer_look(const json_t *status, const char *member_id)
{
    struct peer peer = {.state = PEER_UNSEEN};
    if (strcmp(client_json_str(status, "member_id", ""), member_id) == 0) {
        peer.state = PEER_SELF;
        return peer;
    }
    const json_t *row = leads(status) ? find_peer(status, member_id) : NULL;
    if (!row)
        return peer;
    peer.lag = client_json_u64(row, "lag", 0);
    peer.silent_ms = client_json_u64(row, "active_ms", RK_NEVER);
    if (peer.silent_ms >= PEER_SILENT_MS)
        peer.state = PEER_SILENT;
    else if (is_role(row, "mode", "snapshot"))
        peer.state = PEER_SNAPSHOT;
    else
        peer.state = peer.lag > PEER_BEHIND_ENTRIES ? PEER_BEHIND : PEER_GOOD;
    return peer;
}

size_t quorum_look(const json_t *status, const json_t *members, size_t *ret_voters, size_t *ret_in_contact)
{
    size_t i, voters = 0, in_contact = 0;
    json_t *member;
    json_array_foreach(json_object_get(members, "members"), i, member)
    {
        if (!is_role(member, "role", "voter"))
            continue;
        enum peer_state state = peer_look(status, client_json_str(member, "id", "")).state;
        voters++;
        in_contact += state != PEER_SILENT && state != PEER_UNSEEN ? 1 : 0;
    }
    *ret_voters = voters;
    *ret_in_contact = in_contact;
    return voters > 0 ? voters / 2 + 1 : 0;
}

static char *silent_text(const char *name, uint64_t silent_ms)
{
    if (silent_ms == RK_NEVER)
        return rk_asprintf("%s has not answered since this host leads", name);
    RK_CLEANUP(rk_freep) char *time = output_seconds(silent_ms / 1000);
    return rk_asprintf("%s has not been heard of for %s", name, time);
}

static void check_member(struct findings *findings, const json_t *status, const json_t *member)
{
    const char *name = client_json_str(member, "name", client_json_str(member, "id", "a member"));
    struct peer peer = peer_look(status, client_json_str(member, "id", ""));
    if (peer.state == PEER_SILENT)
        add(findings, silent_text(name, peer.silent_ms),
            rk_asprintf("On %s: systemctl status raftkvd. If it runs, is its peer address %s reachable from "
                        "here? If the host "
                        "is gone for good: raftkvctl member remove %s.",
                        name, client_json_str(member, "peer_address", "unknown"),
                        client_json_str(member, "id", "ID")));
    else if (peer.state == PEER_SNAPSHOT)
        add(findings,
            rk_asprintf("%s receives the whole state, since the log no longer has what it missed", name),
            rk_strdup(
                "Wait. If this does not end, its disk or the network is too slow for the rate of changes."));
    else if (peer.state == PEER_BEHIND)
        add(findings, rk_asprintf("%s is %llu entries behind", name, (unsigned long long)peer.lag),
            rk_strdup("Wait and look again. If the number grows, its disk or the network is too slow."));
}

static void check_members(struct findings *findings, const json_t *status, const json_t *members)
{
    size_t i;
    json_t *member;
    json_array_foreach(json_object_get(members, "members"), i, member)
    {
        if (!told_of(findings, client_json_str(member, "name", "")))
            check_member(findings, status, member);
    }
}

static void check_margin(struct findings *findings, const json_t *status, const json_t *members)
{
    size_t voters, in_contact, quorum = quorum_look(status, members, &voters, &in_contact);
    if (!leads(status) || voters < 2 || in_contact > quorum)
        return;
    if (in_contact < quorum)
        add(findings,
            rk_asprintf("only %zu of %zu voters are in contact, and changes need %zu", in_contact, voters,
                        quorum),
            rk_strdup("Nothing can be written until more of them are back."));
    else if (voters > 2)
        add(findings,
            rk_asprintf("%zu of %zu voters are in contact: one more failure stops all changes", in_contact,
                        voters),
            rk_strdup("Bring a member back, or replace it, soon."));
}

/* ---- this host ---- */

static void check_leader(struct findings *findings, const json_t *status)
{
    if (client_json_str(status, "leader_id", NULL) || told(findings, "leader") ||
        is_role(status, "role", "removed") || is_role(status, "role", "joining"))
        return;
    add(findings,
        rk_strdup("there is no leader: nothing can be written, and only reads with --level stale work"),
        rk_strdup("A majority of the voters must run and reach each other's peer addresses. On each member: "
                  "systemctl status "
                  "raftkvd; raftkvctl status. A network or firewall between them is the usual reason."));
}

static void check_part(struct findings *findings, const json_t *status)
{
    if (is_role(status, "role", "removed") && !told(findings, "removed"))
        add(findings, rk_strdup("this host was removed from its cluster"),
            rk_strdup("To take it in again: raftkvctl join HOST:PORT --discard-data."));
    const json_t *join = json_object_get(status, "join");
    if (is_role(join, "state", "failed") && !told(findings, "join"))
        add(findings,
            rk_asprintf("joining failed: %s", client_json_str(join, "message", "no reason is given")),
            rk_strdup("Mend that, then: raftkvctl join HOST:PORT."));
}

static void check_disk(struct findings *findings, const json_t *status)
{
    if (!client_json_bool(status, "low_space") || told(findings, "disk"))
        return;
    RK_CLEANUP(rk_freep) char *size = output_bytes(client_json_u64(status, "free_bytes", 0));
    add(findings, rk_asprintf("the disk of this host is nearly full (%s free): changes are refused", size),
        rk_strdup("Free some space on the disk of the data directory, or enlarge it. The data itself must "
                  "not be touched."));
}

static void check_apply(struct findings *findings, const json_t *status)
{
    uint64_t commit = client_json_u64(status, "commit_index", 0),
             applied = client_json_u64(status, "applied_index", 0);
    if (commit < applied || commit - applied <= PEER_BEHIND_ENTRIES || told(findings, "appl"))
        return;
    add(findings,
        rk_asprintf("this host has %llu committed entries still to apply: its reads wait",
                    (unsigned long long)(commit - applied)),
        rk_strdup(
            "Wait and look again. If the number grows, the disk is too slow or the processor is busy."));
}

void findings_make(struct findings *findings, const json_t *status, const json_t *members)
{
    size_t i;
    json_t *sentence;
    *findings = (struct findings){0};
    json_array_foreach(json_object_get(status, "problems"), i, sentence)
    {
        if (json_is_string(sentence))
            add(findings, rk_strdup(json_string_value(sentence)), NULL);
    }
    check_leader(findings, status);
    check_part(findings, status);
    check_disk(findings, status);
    check_apply(findings, status);
    check_margin(findings, status, members);
    check_members(findings, status, members);
}

void findings_deinit(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        free(findings->list[i].text);
        free(findings->list[i].advice);
    }
    findings->count = 0;
}
