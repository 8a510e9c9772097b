/* tests/script/raft_script_print.c - the words of a transcript. INDEX/TERM names an entry everywhere. */
#include "tests/script/raft_script.h"

#include "lib/base/rk_buf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void script_say(const struct script *s, const char *format, ...)
{
    if (s->quiet)
        return;
    va_list args;
    va_start(args, format);
    fputs("    ", stdout);
    vfprintf(stdout, format, args);
    fputc('\n', stdout);
    va_end(args);
}

/* ---- members, entries, messages ---------------------------------------------------- */

/* Those of one role, or with role 0 those of the outgoing majority. */
static void put_some(struct rk_buf *b, const struct raft_members *members, enum raft_member_role role,
                     const char *head)
{
    bool any = false;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *m = &members->member[i];
        if (role != 0 ? m->role != role : !m->outgoing)
            continue;
        if (!any)
            rk_buf_printf(b, "%s%s", b->len > 0 ? " " : "", head);
        any = true;
        rk_buf_printf(b, " %" PRIu64, m->id);
        if (role == RAFT_VOTER && m->priority > 0)
            rk_buf_printf(b, "(%u)", m->priority);
    }
}

static void put_members(struct rk_buf *b, const struct raft_members *members)
{
    put_some(b, members, 0, "old voters");
    put_some(b, members, RAFT_VOTER, raft_members_joint(members) ? "and new voters" : "voters");
    put_some(b, members, RAFT_LEARNER, "learners");
    if (members->count == 0)
        rk_buf_append_str(b, "no members");
}

static char *text(struct rk_buf *b)
{
    char *result = rk_asprintf("%.*s", (int)b->len, b->len > 0 ? (const char *)b->data + b->start : "");
    rk_buf_deinit(b);
    return result;
}

char *script_members_text(const struct raft_members *members)
{
    struct rk_buf b = {0};
    put_members(&b, members);
    return text(&b);
}

static void put_entries(const struct script *s, struct rk_buf *b, const struct cluster_entry *entries,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct raft_entry *e = &entries[i].entry;
        RK_CLEANUP(rk_freep)
        char *made = entries[i].value == 0 && e->members != NULL ? script_members_text(e->members) : NULL;
        const char *name = entries[i].value != 0 ? s->names[entries[i].value - 1]
                           : made != NULL        ? made
                                                 : "noop";
        rk_buf_printf(b, "%s%" PRIu64 "/%" PRIu64 " %s", i > 0 ? ", " : "", e->index, e->term, name);
    }
}

static void put_append(const struct script *s, struct rk_buf *b, const struct cluster_happening *packet)
{
    const struct raft_message *m = &packet->message;
    rk_buf_printf(b, "append term %" PRIu64 " after %" PRIu64 "/%" PRIu64 " [", m->term, m->index,
                  m->log_term);
    put_entries(s, b, packet->entries, m->count);
    rk_buf_printf(b, "] commit %" PRIu64, m->commit);
}

static void put_append_reply(struct rk_buf *b, const struct raft_message *m)
{
    rk_buf_printf(b, "append-reply term %" PRIu64, m->term);
    if (m->reject)
        rk_buf_printf(b, " refuses %" PRIu64 ", hint %" PRIu64 "/%" PRIu64, m->index, m->hint, m->hint_term);
    else
        rk_buf_printf(b, " match %" PRIu64, m->index);
}

static void put_message(const struct script *s, struct rk_buf *b, const struct cluster_happening *packet)
{
    static const char *const names[] = {[RAFT_MSG_PREVOTE] = "prevote",
                                        [RAFT_MSG_PREVOTE_REPLY] = "prevote-reply",
                                        [RAFT_MSG_VOTE] = "vote",
                                        [RAFT_MSG_VOTE_REPLY] = "vote-reply",
                                        [RAFT_MSG_HEARTBEAT] = "heartbeat",
                                        [RAFT_MSG_HEARTBEAT_REPLY] = "heartbeat-reply",
                                        [RAFT_MSG_TIMEOUT_NOW] = "timeout-now"};
    const struct raft_message *m = &packet->message;
    if (m->kind == RAFT_MSG_APPEND)
        return put_append(s, b, packet);
    if (m->kind == RAFT_MSG_APPEND_REPLY)
        return put_append_reply(b, m);
    rk_buf_printf(b, "%s term %" PRIu64, names[m->kind], m->term);
    if (m->kind == RAFT_MSG_PREVOTE || m->kind == RAFT_MSG_VOTE)
        rk_buf_printf(b, " last %" PRIu64 "/%" PRIu64 "%s", m->index, m->log_term,
                      m->transfer ? ", a transfer" : "");
    if (m->kind == RAFT_MSG_PREVOTE_REPLY || m->kind == RAFT_MSG_VOTE_REPLY)
        rk_buf_append_str(b, m->reject ? " no" : " yes");
    if (m->kind == RAFT_MSG_HEARTBEAT)
        rk_buf_printf(b, " commit %" PRIu64, m->commit);
    if (m->token > 0)
        rk_buf_printf(b, " round %" PRIu64, m->token);
}

/* before: the mark of a message that was just made, which makes the line a part of a step's output. */
void script_say_packet(const struct script *s, const struct cluster_happening *packet, const char *before,
                       const char *after)
{
    struct rk_buf b = {0};
    put_message(s, &b, packet);
    RK_CLEANUP(rk_freep) char *what = text(&b);
    const char *lost = before[0] != '\0' && s->c.cut[packet->sender][packet->node] ? " (cut)" : "";
    uint32_t from = packet->sender + 1, to = packet->node + 1;
    if (before[0] != '\0')
        script_say(s, "  %u->%u %-7s %s%s", from, to, before, what, lost);
    else
        script_say(s, "%u->%u %s%s", from, to, what, after);
}

/* ---- the output of a step ------------------------------------------------------------- */

static void say_role(const struct script *s, uint32_t node)
{
    struct raft_status st;
    raft_status(s->c.nodes[node].raft, &st);
    if (st.role == RAFT_LEADER)
        script_say(s, "  %u leads term %" PRIu64, node + 1, st.term);
    else if (st.role != RAFT_FOLLOWER)
        script_say(s, "  %u is %s in term %" PRIu64, node + 1, raft_role_name(st.role), st.term);
    else if (st.leader != 0)
        script_say(s, "  %u follows %" PRIu64 " in term %" PRIu64, node + 1, st.leader, st.term);
    else
        script_say(s, "  %u follows nobody in term %" PRIu64, node + 1, st.term);
}

static void say_vote(const struct script *s, uint32_t node, const struct raft_vote *vote, const char *verb)
{
    if (vote->voted_for == 0)
        script_say(s, "%s%u %s term %" PRIu64 ", no vote", verb[0] == 'w' ? "  " : "", node + 1, verb,
                   vote->term);
    else
        script_say(s, "%s%u %s term %" PRIu64 ", vote for %" PRIu64, verb[0] == 'w' ? "  " : "", node + 1,
                   verb, vote->term, vote->voted_for);
}

/* The log still holds what these entries replace. */
static void say_append(const struct script *s, uint32_t node, const struct raft_event *event,
                       const struct raft_output *out)
{
    const struct cluster_log *log = &s->c.nodes[node].log;
    if (out->append_count == 0)
        return;
    RK_CLEANUP(rk_freep) char *over = NULL;
    uint64_t first = out->append[0].index;
    uint64_t last = out->log_reset ? 0 : cluster_log_last(log);
    if (last >= first)
        over = rk_asprintf(" instead of %" PRIu64 "/%" PRIu64 "..%" PRIu64 "/%" PRIu64, first,
                           cluster_log_term(log, first), last, cluster_log_term(log, last));
    const char *made = out->append[0].members != NULL ? " (by itself)" : " (noop)";
    script_say(s, "  %u appends %" PRIu64 "/%" PRIu64 "..%" PRIu64 "/%" PRIu64 "%s%s", node + 1, first,
               out->append[0].term, out->append[out->append_count - 1].index,
               out->append[out->append_count - 1].term, out->append_source == RAFT_NO_SOURCE ? made : "",
               over == NULL ? "" : over);
    (void)event;
}

static void say_reads(const struct script *s, uint32_t node, const struct raft_output *out)
{
    for (uint32_t i = 0; i < out->read_count; i++) {
        const struct raft_out_read *r = &out->reads[i];
        if (r->outcome == RAFT_READ_OK)
            script_say(s, "  %u answers read %" PRIu64 " at %" PRIu64, node + 1, r->ticket, r->index);
        else
            script_say(s, "  %u fails read %" PRIu64 ": not leader", node + 1, r->ticket);
    }
}

static void say_outcomes(const struct script *s, uint32_t node, const struct raft_event *event,
                         const struct raft_output *out)
{
    static const char *const proposals[] = {"ok",
                                            "not leader",
                                            "busy",
                                            "transferring",
                                            "an earlier change is not committed",
                                            "nothing of this term is committed",
                                            "no step from this configuration"};
    static const char *const transfers[] = {"", "is done", "timed out", "is refused", "is not needed"};
    bool asked = event->kind == RAFT_EVENT_PROPOSE || event->kind == RAFT_EVENT_ABORT_CHANGE;
    if (asked && out->propose_outcome != RAFT_PROPOSE_OK)
        script_say(s, "  %u refuses: %s", node + 1, proposals[out->propose_outcome]);
    if (event->kind == RAFT_EVENT_SNAPSHOT_OFFERED)
        script_say(s, "  %u %s the snapshot", node + 1, out->snapshot_accepted ? "takes" : "declines");
    if (out->transfer_outcome != RAFT_TRANSFER_NONE)
        script_say(s, "  the transfer from %u %s", node + 1, transfers[out->transfer_outcome]);
    for (uint32_t i = 0; i < out->snapshot_peer_count; i++)
        script_say(s, "  %u wants a snapshot for %" PRIu64, node + 1, out->snapshot_peers[i]);
}

static void say_base(const struct script *s, uint32_t node, const struct raft_output *out)
{
    struct raft_status st;
    raft_status(s->c.nodes[node].raft, &st);
    const char *what = out->log_reset ? "drops its log, which goes on after" : "cuts its log up to";
    if (out->log_reset || st.base_index > s->c.nodes[node].log.base_index)
        script_say(s, "  %u %s %" PRIu64 "/%" PRIu64, node + 1, what, st.base_index,
                   raft_term_at(s->c.nodes[node].raft, st.base_index));
}

/* Called before the output is carried out; messages are printed as they are sent. */
void script_say_output(const struct script *s, uint32_t node, const struct raft_event *event,
                       const struct raft_output *out)
{
    if (out->role_changed)
        say_role(s, node);
    say_base(s, node, out);
    if (out->vote_changed)
        say_vote(s, node, &out->vote, "writes");
    say_append(s, node, event, out);
    if (out->members_changed) {
        RK_CLEANUP(rk_freep) char *members = script_members_text(raft_members(s->c.nodes[node].raft));
        script_say(s, "  %u counts with %s", node + 1, members);
    }
    if (out->commit_changed)
        script_say(s, "  %u commits %" PRIu64, node + 1, out->commit);
    say_reads(s, node, out);
    say_outcomes(s, node, event, out);
}

/* ---- looking ---------------------------------------------------------------------------- */

void script_say_write(const struct script *s, uint32_t node, const struct cluster_write *write)
{
    if (write->kind == WRITE_RESET || write->kind == WRITE_CUT)
        script_say(s, "%u persisted: the log begins after %" PRIu64, node + 1, write->index);
    if (write->has_vote)
        say_vote(s, node, &write->vote, "persisted:");
    if (write->entry_count == 0)
        return;
    struct rk_buf b = {0};
    put_entries(s, &b, write->entries, write->entry_count);
    RK_CLEANUP(rk_freep) char *entries = text(&b);
    script_say(s, "%u persisted: %s", node + 1, entries);
}

void script_say_status(const struct script *s, uint32_t node)
{
    if (!s->c.nodes[node].up)
        return script_say(s, "%u is down", node + 1);
    struct raft_status st;
    raft_status(s->c.nodes[node].raft, &st);
    RK_CLEANUP(rk_freep) char *whom = NULL;
    if (st.role == RAFT_FOLLOWER || (st.role != RAFT_LEADER && st.leader != 0))
        whom = st.leader != 0 ? rk_asprintf(" of %" PRIu64, st.leader) : rk_strdup(" of nobody");
    script_say(s,
               "%u %s%s, term %" PRIu64 ", log %" PRIu64 "..%" PRIu64 "/%" PRIu64 ", commit %" PRIu64
               ", persisted %" PRIu64,
               node + 1, raft_role_name(st.role), whom == NULL ? "" : whom, st.term, st.base_index,
               st.last_index, st.last_term, st.commit, st.persisted);
}

void script_say_log(const struct script *s, const struct cluster_log *log, const char *before)
{
    struct rk_buf b = {0};
    if (log->base_index > 0)
        rk_buf_printf(&b, " (after %" PRIu64 "/%" PRIu64 ")", log->base_index, log->base_term);
    rk_buf_append_str(&b, log->count > 0 ? " " : " empty");
    put_entries(s, &b, log->items, log->count);
    RK_CLEANUP(rk_freep) char *entries = text(&b);
    script_say(s, "%s:%s", before, entries);
}

void script_say_peer(const struct script *s, uint32_t node, const struct raft_peer_status *peer)
{
    if (peer->mode == RAFT_PEER_PROBE)
        script_say(s, "  %u probes %" PRIu64 " at %" PRIu64 ", match %" PRIu64, node + 1, peer->id,
                   peer->next, peer->match);
    else
        script_say(s, "  %u sees %" PRIu64 " match %" PRIu64 ", %s", node + 1, peer->id, peer->match,
                   raft_peer_mode_name(peer->mode));
}
