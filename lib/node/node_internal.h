/* lib/node/node_internal.h - what the files of lib/node share: the node, its groups, and the mails between
 * its threads.
 *
 * Who may touch what:
 *   raft thread   struct node_group but for its mvcc; pending, forwards, reads, timers, join and leave
 *   log thread    node->log
 *   apply thread  node->rows, group->mvcc, incoming snapshot
 *   any thread    the atomics, the mailboxes, node->config, the summary under its mutex */
#ifndef NODE_INTERNAL_H
#define NODE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/base/rk_list.h"
#include "lib/base/rk_log.h"
#include "lib/base/rk_map.h"
#include "lib/base/rk_plant.h"
#include "lib/base/rk_random.h"
#include "lib/node/node.h"
#include "lib/store/store.h"

enum node_mail_kind {
    NODE_MAIL_CALL = 1,   /* struct node_call: to raft, or a stale read straight to apply */
    NODE_MAIL_MESSAGE,    /* struct node_message: to raft */
    NODE_MAIL_LOG_WORK,   /* struct node_log_work: to log, and back to raft when done */
    NODE_MAIL_APPLY_WORK, /* struct node_apply_work: to apply, and back to raft when done */
    NODE_MAIL_LINK,       /* struct node_link_note: to raft */
    NODE_MAIL_OFFER,      /* struct node_offer: to raft */
    NODE_MAIL_SENT,       /* struct node_sent_note: to raft */
    NODE_MAIL_CHUNK,      /* struct node_chunk: to apply */
    NODE_MAIL_STREAM,     /* struct node_stream: to apply */
    NODE_MAIL_OWN_CALL,   /* struct node_call that the raft thread made itself, answered */
    NODE_MAIL_STOP,       /* plain rk_mail: to raft, log, apply */
};

/* ---- raft <-> log ------------------------------------------------------------ */

enum node_log_kind {
    NODE_LOG_WRITE = 1, /* vote and entries, messages once durable */
    NODE_LOG_CUT,
    NODE_LOG_RESET,
    NODE_LOG_READ, /* fills message with entries raft.index + 1 .. */
};

struct node_log_work {
    struct rk_mail mail;
    enum node_log_kind kind;
    uint32_t group;
    bool set_vote;
    struct store_vote vote;
    uint32_t count;
    struct store_entry *entries; /* payload slices view payloads[i] */
    struct rk_blob **payloads;
    struct rk_list messages; /* of struct node_message */
    struct store_base base;
    struct rk_blob *members; /* CUT, RESET: who they are as of members_index; NULL: as before */
    uint64_t members_index;
    struct node_message *message; /* READ */
    int result;                   /* READ: 0, or STORE_E_NOT_FOUND when the entries have left the log */
    uint32_t generation;
};

struct node_log_work *node_log_work_new(struct node *node, enum node_log_kind kind, uint32_t group);
void node_log_work_free(struct node_log_work *work);
void *node_log_thread(void *node);
/* Does all that waits. False when the thread shall end. */
bool node_log_run_once(struct node *node);

/* ---- raft <-> apply ------------------------------------------------------------ */

enum node_apply_kind {
    NODE_APPLY_ENTRIES = 1,
    NODE_APPLY_READ,         /* calls: answered after everything before has been applied */
    NODE_APPLY_FLUSH,        /* makes the rows durable; index: up to here */
    NODE_APPLY_SNAPSHOT_OUT, /* opens a snapshot for peer, or for call */
    NODE_APPLY_SNAPSHOT_IN,  /* an accepted offer: chunks of stream_id follow */
    NODE_APPLY_ROTTEN,       /* apply to raft only: the rows do not add up */
    NODE_APPLY_INSTALLED,    /* apply to raft only: the rows now stand at index, term */
};

struct node_apply_entry {
    uint64_t index, term;
    enum raft_entry_kind kind;
    struct rk_blob *payload;
    struct node_call *call; /* who waits for it; NULL */
};

struct node_apply_work {
    struct rk_mail mail;
    enum node_apply_kind kind;
    uint32_t group;
    uint32_t count;
    struct node_apply_entry *entries;
    struct rk_list calls; /* priv.link */
    struct node_call *call;
    uint64_t peer, term, index, stream_id;
    /* on the way back */
    uint64_t applied, revision, keys;
    uint32_t sessions;
    struct rk_blob *members;
    uint64_t members_index;
    int result;
    uint32_t generation;
};

struct node_apply_work *node_apply_work_new(struct node *node, enum node_apply_kind kind, uint32_t group);
void node_apply_work_free(struct node_apply_work *work);
/* It will not be done: tells the calls in it, and frees it. */
void node_apply_refuse(struct node *node, struct node_apply_work *work);
void *node_apply_thread(void *node);
bool node_apply_run_once(struct node *node); /* as node_log_run_once() */
void node_apply_end(struct node *node);      /* the thread's last act */

struct node_link_note {
    struct rk_mail mail;
    uint64_t peer;
    enum node_link_state state;
};

struct node_sent_note {
    struct rk_mail mail;
    uint64_t peer, index;
    uint32_t group;
    bool ok;
    bool put_off; /* it never began: there are enough of them */
};

/* ---- entry cache (node_cache.c): the tail of the log in memory ------------------- */

struct node_cache_entry {
    uint64_t term;
    enum raft_entry_kind kind;
    struct rk_blob *payload;
};

struct node_cache {
    uint64_t first; /* index of entries[0 of the ring]; first + count is the next one */
    size_t count, start, cap;
    struct node_cache_entry *ring;
    uint64_t bytes;
};

void node_cache_deinit(struct node_cache *cache);
void node_cache_reset(struct node_cache *cache, uint64_t next); /* empty; next is the index that comes */
/* index must be the next one; takes a reference of its own. */
void node_cache_push(struct node_cache *cache, uint64_t index, uint64_t term, enum raft_entry_kind kind,
                     struct rk_blob *payload);
void node_cache_truncate(struct node_cache *cache, uint64_t from); /* drops entries at or after from */
/* Drops the oldest while over max_bytes, but none after keep_after. */
void node_cache_trim(struct node_cache *cache, uint64_t keep_after, uint64_t max_bytes);
const struct node_cache_entry *node_cache_get(const struct node_cache *cache, uint64_t index); /* NULL */

/* ---- a group ------------------------------------------------------------------------ */

struct node_config_entry { /* a configuration and the entry that brought it */
    struct rk_list link;
    uint64_t index;
    struct node_members members;
};

struct node_read_batch { /* consistent reads that share a ticket */
    struct rk_list link;
    uint64_t ticket;
    struct rk_list calls;
};

struct node_group {
    uint32_t number;
    struct raft *raft;
    struct mvcc *mvcc; /* apply thread's */
    struct node_cache cache;
    struct rk_list configs;   /* of node_config_entry, oldest first; the last is in force */
    struct rk_map waiting;    /* index -> struct node_call whose entry it is */
    struct rk_list proposals; /* calls gathered in this turn (WRITE) */
    size_t proposal_count;
    struct rk_list reads;   /* calls gathered in this turn (consistent READ) */
    struct rk_list batches; /* of node_read_batch, waiting for the core */
    uint64_t next_ticket;
    uint64_t handed;                          /* entries up to here were given to apply */
    uint64_t applied, revision, keys;         /* as apply last said */
    uint32_t sessions;                        /* likewise */
    uint64_t tick_us;                         /* we lead, and sessions' time is counted up to here; 0: not */
    uint64_t persisted_index, persisted_term; /* of this turn; 0 index: none */
    uint64_t flushing;                        /* a FLUSH is out; when it comes back the log is cut */
    uint64_t log_bytes;                       /* payload bytes appended since the last FLUSH */
    uint64_t flush_us;                        /* when that was; 0: not in this life */
    uint64_t held_bytes;                      /* payload bytes between the log's base and its end, about */
    uint64_t cut_target;                      /* the rows on disk make a cut up to here safe */
    uint64_t log_works;                       /* handed to the log thread and not back yet */
    struct rk_map catching_up;                /* peer -> struct node_feed: appends that wait for a log read */
    struct rk_map streaming;                  /* peer -> how many snapshots are on their way to it */
    struct node_call *transfer_call;
    struct node_call *cut_call;
    uint64_t leader, term; /* as last logged */
    enum raft_role role;
};

/* Appends to one peer that must leave in order while the first of them is being read from the log. */
struct node_feed {
    uint64_t peer;
    struct rk_list waiting; /* of node_message, without entries */
    size_t count;
};
#define NODE_FEED_MAX 64u

/* ---- comparing with the others (node_check.c) ---- */

#define NODE_DIGESTS                                                                                         \
    16384u /* entries that a member can look back: a tenth of a second at any rate it reaches */

struct node_digests {
    pthread_mutex_t mutex;
    uint64_t last, count;        /* entries last - count + 1 .. last are known */
    uint64_t ring[NODE_DIGESTS]; /* [index % NODE_DIGESTS] */
};

struct node_check_peer {
    uint64_t id, call_id; /* of the question that is out; 0: none */
    uint64_t digest;
    bool votes, answered, known; /* known: it has told its digest */
};

struct node_check { /* the leader's round, but for text */
    bool open, all_compared;
    uint64_t index, digest, begun_us;
    uint32_t peer_count;
    struct node_check_peer peers[RK_MEMBERS_MAX];
    uint64_t compared, not_compared, mismatches, equal_index;
    char text[NODE_TEXT_BYTES]; /* of the alarm */
};

/* ---- the node --------------------------------------------------------------------------- */

struct node {
    struct node_config config;
    struct node_transport transport;
    struct store_dir *dir;
    struct store_log *log;
    struct store_rows *rows;
    struct store_identity identity; /* raft thread's while running */
    uint64_t started_us;
    struct node_group group; /* number 0; more of them come with keyspaces */

    struct rk_mailbox raft_box, log_box, apply_box;
    struct rk_mail raft_stop, log_stop, apply_stop;
    struct rk_beat raft_beat, log_beat, apply_beat, checkpoint_beat;
    struct rk_beat *beats[4];
    pthread_t raft_thread, log_thread, apply_thread, checkpoint_thread;
    bool disk_threads_run; /* log, apply and checkpoint */
    bool raft_thread_runs, boxes_ready;
    uint32_t generation; /* goes up when the disk threads have stopped: works of an earlier one are void */

    /* raft thread */
    struct rk_heap timers;    /* of node_call.priv.timer */
    struct rk_map forwards;   /* id -> struct node_call sent to another host */
    struct rk_map links_down; /* peers that the transport cannot reach; values mean nothing */
    struct rk_list out;       /* messages of this turn */
    uint64_t next_id;
    uint64_t next_stream;
    uint64_t housekeeping_us; /* when it is due */
    uint64_t update_us;       /* when our own record may be announced again */
    uint64_t announce_us; /* when the transport has to hear that members have gone for good; 0: it knows */
    bool update_running, promote_running;
    struct rk_map keeping_up;  /* learner -> since when it has, in microseconds, as its value */
    uint64_t replace_since_us; /* leader: when we first saw the replacement that is under way; 0: none */
    bool abort_running;
    bool stopping;
    bool no_successor; /* while stopping: nobody took over in time */
    uint64_t stop_deadline_us;
    uint64_t successor_us; /* a leader that stops waits so long for the next one to show itself */
    struct node_call *leave_call;
    struct {
        enum node_join_state state;
        char text[NODE_TEXT_BYTES];
        char address[RK_ADDRESS_BYTES_MAX + 1];
        uint64_t member_id;
        uint64_t call_id; /* of the MEMBER_ADD that is out; 0: none */
        bool learner;     /* not to be promoted by itself */
        uint64_t retry_us, give_up_us;
    } join;
    struct {
        uint64_t ask_us;  /* when to ask (again); 0: not for now */
        uint64_t call_id; /* of the question that is out; 0: none */
        uint32_t turn;
        struct node_members *members; /* the answer; NULL */
    } lookup;

    struct {
        uint64_t ask_us;     /* when to ask the leader for a snapshot (again), or to hand leadership over */
        uint64_t give_up_us; /* a fenced leader waits for a successor until then */
        bool asking;         /* the question is out */
        char why[NODE_TEXT_BYTES];
    } rebuild;

    struct node_check check;
    struct {
        bool running, asking;
        uint64_t ask_us;
        uint64_t term,
            target; /* what the leader said: its term, and how far we have to come; 0: nothing yet */
    } repair;
    struct {
        bool running, history; /* history: the cluster is older than our disk, so we shall never vote */
        uint64_t life;         /* drawn at the start of the process */
        uint64_t ask_us;
        uint32_t count;
        struct node_first_peer {
            uint64_t id, call_id, life;
            bool is_new;
        } peers[RK_MEMBERS_MAX];
    } first;

    /* log thread */
    bool trimming; /* there may be entries before the log's base to delete */

    /* apply thread */
    struct node_incoming *incoming;
    struct rk_list sources; /* of node_source: snapshots on their way out */
    struct node_scrub *scrub;
    uint64_t scrub_us; /* when its next slice is due */

    /* any thread */
    atomic_uint_fast64_t sequence; /* of proposals, for their origin */
    atomic_uint calls_in_flight;
    atomic_bool failed;
    atomic_uint_fast64_t leader_now; /* 0: unknown */
    atomic_bool serving;             /* a member, not joining, not removed */
    struct node_digests digests;
    atomic_bool corrupt; /* our rows, or some other member's, differ: check.text */
    atomic_uint_fast64_t scrubs;
    atomic_bool alone;      /* the only member */
    atomic_bool rebuilding; /* there are no rows: a peer's are awaited */
    atomic_bool fenced;     /* the rows are known to be wrong: nothing is served from them */
    atomic_bool checkpoint_stop;
    atomic_uint_fast64_t member_id, incarnation;
    pthread_mutex_t summary_mutex;
    char summary[NODE_TEXT_BYTES];
};

/* A thread sleeps until there is mail. Under a simulation, whose clock is not the system's, it never does. */
static inline void node_wait(const struct node *node, struct rk_mailbox *box, uint64_t deadline_us)
{
    if (!node->config.no_threads)
        rk_mailbox_wait(box, deadline_us);
}

static inline uint64_t node_now_us(const struct node *node)
{
    return rk_clock_now_us(&node->config.clock);
}

/* node_bootstrap.c: sets the identity's ids; the caller writes it, and until then the directory is pristine
 */
int node_bootstrap(struct node *node) RK_MUST_CHECK;

/* node_boot.c */
int node_open_stores(struct node *node, char **ret_error) RK_MUST_CHECK;
void node_close_stores(struct node *node);
int node_start_disk_threads(struct node *node) RK_MUST_CHECK;
void node_stop_disk_threads(struct node *node);
void node_fail(struct node *node, const char *part, int error);
void node_fail_with(struct node *node, const char *sentence); /* the same, with other words */

/* node_load.c */
int node_load_group(struct node *node, char **ret_error) RK_MUST_CHECK;
void node_unload_group(struct node *node);
/* Answers all calls that wait on the raft thread. */
void node_fail_waiting(struct node *node);

/* node_loop.c: the raft thread */
void *node_raft_thread(void *node);
void node_raft_run_once(struct node *node, uint64_t wait_until_us);
uint64_t node_raft_deadline(struct node *node); /* when it has something to do even without mail */

/* node_step.c: one step of a core and what follows from it */
struct node_step_source { /* where the payloads of the event's entries are */
    struct rk_blob *const *payloads;
    struct node_call *const *calls; /* PROPOSE: who waits for entries[i]; NULL for messages */
};
/* Returns the output for what only the caller can answer (propose_outcome, snapshot_accepted, log_reset). */
struct raft_output node_step(struct node *node, struct raft_event *event,
                             const struct node_step_source *source);
/* The call is answered when the entry, which is in the log, is applied. */
void node_wait_for_entry(struct node *node, uint64_t index, uint64_t term, struct node_call *call);
/* One more snapshot (1), or one less (-1), is on its way to a peer; returns how many are. */
uintptr_t node_streaming(struct node_group *group, uint64_t peer, int change);
void node_stream_to(struct node *node, uint64_t peer, const char *why); /* opens a snapshot for a peer */

/* node_configs.c: configurations in force */
const struct node_members *node_members_now(const struct node_group *group);
uint64_t node_members_now_index(const struct node_group *group);
void node_configs_append(struct node_group *group, uint64_t index, const struct node_members *members);
void node_configs_truncate(struct node_group *group, uint64_t from);
bool node_configs_prune(struct node_group *group,
                        uint64_t applied); /* whether there was anything to forget */
/* Those that came at or before through give way to this one. */
void node_configs_replace(struct node_group *group, uint64_t through, uint64_t index,
                          const struct node_members *members);
void node_configs_clear(struct node_group *group);
/* Makes work carry the oldest one, which is applied, for the log to keep. */
void node_configs_applied(const struct node_group *group, struct node_log_work *work);
void node_announce_members(struct node *node);                /* to the transport, after a change */
const struct node_member *node_self(const struct node *node); /* our record in force; NULL */

/* node_call.c */
void node_answer(struct node *node, struct node_call *call, enum node_outcome outcome, const char *text);
/* Waits for its deadline from now on; raft thread. */
void node_call_arm(struct node *node, struct node_call *call);
void node_call_disarm(struct node *node, struct node_call *call);
enum node_call_stage {
    NODE_STAGE_NONE = 0,
    NODE_STAGE_WAITING,   /* in group->waiting */
    NODE_STAGE_READ,      /* in a batch */
    NODE_STAGE_FORWARDED, /* in node->forwards */
    NODE_STAGE_HELD,      /* transfer_call, cut_call, leave_call */
};
/* Those of a map that match, to the back of a list (priv.link): the map must not change during a walk. */
void node_calls_gather(const struct rk_map *map, bool (*match)(const struct node_call *call, uint64_t arg),
                       uint64_t arg, struct rk_list *ret);
/* Out of wherever it waits: the caller answers it. */
void node_call_take_out(struct node *node, struct node_call *call);
/* Answers those that wait for an entry at index from to through, of which nobody here can say what became. */
void node_calls_unknown(struct node *node, uint64_t from, uint64_t through, const char *text);
/* Its deadline has come: takes it out of wherever it waits and answers TIMEOUT. */
void node_call_expire(struct node *node, struct node_call *call);
struct node_call *node_own_call(struct node *node, enum node_call_kind kind, struct rk_blob *body,
                                void (*done)(struct node_call *call));

/* node_route.c: what becomes of a call on the raft thread */
void node_route(struct node *node, struct node_call *call);
void node_propose_gathered(struct node *node);
void node_read_gathered(struct node *node);
enum node_outcome node_propose_error(enum raft_propose_outcome outcome, const char **ret_text);

/* node_message.c: to other hosts and from them */
void node_forward(struct node *node, struct node_call *call);
void node_on_message(struct node *node, struct node_message *message);
/* The sentence of a reply that is not NODE_OK; what is not printable becomes '?'. */
void node_reply_text(const struct node_message *reply, char *ret, size_t size);
void node_on_link(struct node *node, struct node_link_note *note);

/* node_feed.c: appends filled with entries, from the cache or the log */
void node_feed_append(struct node *node, struct node_message *message);
void node_feed_read_done(struct node *node, struct node_log_work *work);
void node_feed_drop(struct node *node, uint64_t peer);

/* node_promote.c: learners that have kept up become voters */
bool node_promote_keeps_up(struct node *node, uint64_t id); /* for a while already */
void node_change_promote(struct node *node, struct node_call *call);
void node_promote_housekeeping(struct node *node);

/* node_replace.c: members that take others' places, and the way back */
void node_replace(struct node *node, struct node_call *call);
void node_replace_abort(struct node *node, struct node_call *call);
void node_replace_housekeeping(struct node *node);
/* The payload of a MEMBERS entry that the core made itself. */
struct rk_blob *node_replace_made(const struct node_group *group, const struct raft_members *made);

/* node_change.c: membership, transfer */
/* Leader only. The call is answered when the change is applied, or at once when it is refused. A change of
 * more than one voter becomes a joint configuration. */
void node_change_propose(struct node *node, const struct node_members *next, struct node_call *call);
struct node_members *node_change_copy(struct node *node); /* of those in force; heap */
/* A member by name or id; NULL. */
const struct node_member *node_change_find(struct node *node, struct rk_slice who);
void node_change_not_found(struct node *node, struct node_call *call);
/* What the configuration in force says may be undone still: the caller is told to wait. */
bool node_change_incomplete(struct node *node, struct node_call *call);
bool node_change_is_active(struct node *node, uint64_t id); /* heard of lately */
/* Would the voters of next have a majority that answers? */
bool node_change_quorum_survives(struct node *node, const struct node_members *next);
void node_change_demote(struct node *node, struct node_call *call);
void node_change_priority(struct node *node, struct node_call *call);
void node_change_add(struct node *node, struct node_call *call);
void node_change_remove(struct node *node, struct node_call *call);
void node_change_update(struct node *node, struct node_call *call);
void node_answer_members(struct node *node, struct node_call *call); /* cluster id, members in force */
void node_change_housekeeping(struct node *node);

/* node_leave.c */
void node_transfer(struct node *node, struct node_call *call);
void node_transfer_ended(struct node *node, enum raft_transfer_outcome outcome);
void node_leave(struct node *node, struct node_call *call);
void node_leave_continue(struct node *node);
void node_leave_notice_removal(struct node *node); /* that an applied configuration is without us */
void node_mark_removed(struct node *node);

/* node_join.c */
void node_join_start(struct node *node, struct node_call *call);
void node_join_invited(struct node *node, struct node_call *call);
void node_join_invite(struct node *node, struct node_call *call);
void node_join_reply(struct node *node, struct node_message *reply);
void node_join_housekeeping(struct node *node);
bool node_join_runs(const struct node *node);
void node_join_removed(struct node *node); /* the cluster has given us up before we were a voter */

/* node_lookup.c: who the members are, asked of other hosts */
void node_lookup_housekeeping(struct node *node);
bool node_lookup_reply(struct node *node, const struct node_message *reply); /* false: not to its question */
void node_lookup_forget(struct node *node);

/* node_session.c: time passes for client sessions */
void node_session_housekeeping(struct node *node);

/* node_cut.c: keeping the log short */
void node_cut_start(struct node *node, struct node_call *call);
void node_cut_flushed(struct node *node, struct node_apply_work *work);
void node_cut_housekeeping(struct node *node);

/* node_snapshot_in.c, node_snapshot_out.c: raft thread's part */
void node_snapshot_offered(struct node *node, struct node_offer *offer);
void node_snapshot_installed(struct node *node, struct node_apply_work *work);
/* apply thread's part */
void node_snapshot_out(struct node *node, struct node_apply_work *work);
void node_snapshot_stream(struct node *node, struct node_stream *stream);
void node_snapshot_in(struct node *node, struct node_apply_work *work);
void node_snapshot_chunk(struct node *node, struct node_chunk *chunk);
void node_snapshot_forget(struct node *node); /* drops a half-received one */
/* The rows are about to be closed: streams that are still out end with an error when they come back. */
void node_snapshot_close_sources(struct node *node);
void node_snapshot_free_sources(struct node *node);
/* At start: finishes an install that a crash interrupted. 0, or an error with a sentence. */
int node_snapshot_resume(struct node *node, char **ret_error) RK_MUST_CHECK;

/* node_rebuild.c: rows that cannot be trusted */
/* At a start: opens the rows that are found, or, when they are damaged, sets them aside and opens empty ones.
 * The log must be open. */
int node_open_rows(struct node *node, char **ret_error) RK_MUST_CHECK;
/* Where a core without rows begins; ret->members is a view into members. */
int node_rebuild_meta(struct node *node, const struct store_base *base, struct rk_buf *members,
                      struct mvcc_meta *ret) RK_MUST_CHECK;
/* No request may be answered from the rows, and we must not lead. Any thread. */
bool node_unfit(struct node *node);
/* Ends the process's service with the rows marked as damaged: its next start rebuilds them. Any thread. */
void node_rebuild_rows(struct node *node, const char *why);
/* As node_fail() for what the rows' store said: rot leads to a rebuild. Any thread. */
void node_rows_failed(struct node *node, int error);
/* The raft thread's part. */
void node_rebuild_housekeeping(struct node *node);
void node_rebuild_wanted(struct node *node, struct node_call *call);
bool node_rebuild_accepts(struct node *node, const struct node_offer *offer);
void node_rebuild_installed(struct node *node, struct node_apply_work *work);

int node_try_rows(struct node *node, char **ret_error) RK_MUST_CHECK; /* opens them as they are */
void node_close_rows(struct node *node);

/* node_repair.c: a log with damage in it. At a start: */
/* store_log_open() has refused; *ret_error is its sentence. 0: it was set aside, open it again. */
int node_repair_log(struct node *node, char **ret_error) RK_MUST_CHECK;
/* The entry at index is damaged: makes the log end before it, or begin behind it. */
int node_repair_entry(struct node *node, uint64_t index, const struct mvcc_meta *meta,
                      const struct store_vote *vote, struct store_base *base, uint64_t *last) RK_MUST_CHECK;
/* Whether a repair goes on, with the vote that it has kept. */
int node_repair_load(struct node *node, struct store_vote *vote, char **ret_error) RK_MUST_CHECK;
/* raft thread */
void node_repair_housekeeping(struct node *node);
void node_repair_last(struct node *node, struct node_call *call);

/* node_first.c: an initial member's first start */
void node_first_housekeeping(struct node *node);
void node_first_asked(struct node *node, struct node_call *call);
bool node_first_reply(struct node *node, const struct node_message *reply); /* false: not to its question */

/* node_check.c: apply thread */
void node_digests_reset(struct node *node, uint64_t index, uint64_t digest);
void node_digests_note(struct node *node, uint64_t index, uint64_t digest);
/* raft thread */
void node_check_housekeeping(struct node *node);
void node_check_asked(struct node *node, struct node_call *call);
void node_check_condemned(struct node *node, struct node_call *call);
bool node_check_reply(struct node *node, const struct node_message *reply); /* false: not to its question */
/* Our rows are wrong: nothing is served from them any more, leadership goes, and the next start rebuilds
 * them. The only member raises the alarm instead. */
void node_fence(struct node *node, const char *why);

/* node_scrub.c: apply thread, between transactions */
int node_scrub_run(struct node *node) RK_MUST_CHECK; /* the slice that is due, if any; -errno of the store */
void node_scrub_stop(struct node *node);

/* node_status.c */
struct node_status *node_make_status(struct node *node);
void node_refresh_summary(struct node *node);

/* node_checkpoint.c */
void *node_checkpoint_thread(void *node);

#endif
