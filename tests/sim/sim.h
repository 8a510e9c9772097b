/* tests/sim/sim.h - whole clusters in one thread: what the files of the simulation share.
 *
 * A run is a queue of events in simulated microseconds. Every host has three bodies, the
 * run-once functions of lib/node's threads, and each of their turns is an event; so is the
 * arrival of a message, what a client or the administrator does next, and each fault. One
 * generator, seeded by --seed, draws everything, so a seed is a run, to the bit.
 *
 * Who does what:
 *   sim_world.c    the queue, hosts and their turns, crash and restart; sim_tune.c: what a seed is about
 *   sim_net.c      messages between hosts; sim_upload.c: snapshots between hosts
 *   sim_client.c   clients; sim_admin.c: members come and go
 *   sim_nemesis.c  faults; sim_heal.c: their end, and what must be true then
 *   sim_check*.c   what must always be true; sim_history.c: what clients must see
 *   sim_disk*.c    store.h in memory */
#ifndef SIM_H
#define SIM_H

#include "lib/base/rk_assert.h"
#include "lib/node/node_internal.h"
#include "tests/sim/sim_disk.h"

#define SIM_HOSTS_MAX   7u
#define SIM_CLIENTS_MAX 12u
#define SIM_KEYS_MAX    6u

enum sim_fault { /* bits */
                 SIM_CRASH = 1 << 0,
                 SIM_STOP = 1 << 1,
                 SIM_PAUSE = 1 << 2,
                 SIM_LOSS = 1 << 3,
                 SIM_DUPLICATE = 1 << 4,
                 SIM_REORDER = 1 << 5,
                 SIM_PARTITION = 1 << 6,
                 SIM_ONE_WAY = 1 << 7,
                 SIM_SLOW_DISK = 1 << 8,
                 SIM_DISK_ERROR = 1 << 9,
                 SIM_SPACE = 1 << 10,
                 SIM_MEMBERS = 1 << 11,
                 SIM_WIPE = 1 << 12,
                 SIM_TRANSFER = 1 << 13,
                 SIM_SNAPSHOT = 1 << 14,
                 SIM_DRIFT = 1 << 15,
                 SIM_ROT = 1 << 16,
                 SIM_ALL = (1 << 17) - 1,
};
#define SIM_FAULT_BITS 17u
#define SIM_ACTS       8u /* that the administrator knows */

struct sim_options {
    uint64_t seed;
    uint32_t hosts;       /* 0: the seed decides */
    int64_t faults;       /* bits; -1: the seed decides */
    uint64_t duration_us; /* of the time with faults; 0: the seed decides */
    bool verbose;
    bool no_wire_checks; /* only what clients and states show counts, not what goes over the wire */
};

enum sim_body { SIM_RAFT, SIM_LOG, SIM_APPLY, SIM_BODIES };

enum sim_event_kind {
    SIM_EV_TURN, /* embedded in a host */
    SIM_EV_PACKET,
    SIM_EV_ONESHOT_LATE,
    SIM_EV_UPLOAD,
    SIM_EV_CHUNK,
    SIM_EV_CLIENT,
    SIM_EV_ADMIN,
    SIM_EV_NEMESIS,
    SIM_EV_UNDO, /* a fault ends */
    SIM_EV_BOOT,
    SIM_EV_KILL,
    SIM_EV_LINKS,
    SIM_EV_CHECKPOINT,
    SIM_EV_HEAL,
    SIM_EV_SETTLED,
};

struct sim;
struct sim_host;

struct sim_event {
    struct rk_heap_item item;
    enum sim_event_kind kind;
    uint32_t host, life;
    uint64_t arg;
    void *object;
};

struct sim_link {  /* from one host to another, as its transport sees it */
    bool cut;      /* nothing arrives */
    bool up;       /* and it knows */
    uint32_t life; /* of the other end */
};

struct sim_host {
    struct sim *sim;
    uint32_t number;
    char name[16], address[32], url[32];
    char *path;
    struct sim_disk *disk;

    struct node *node; /* NULL: down */
    struct node_inlet inlet;
    struct node_directory directory; /* as last announced */
    bool speaks;                     /* what it sends leaves */
    uint32_t life;
    bool booted_once;

    uint32_t crash_in;      /* so many points from now; 0: not planned */
    struct sim_disk *found; /* the disk as it will be found: the process is dead and does not know it */
    bool found_install;
    bool broken; /* its disk has failed */

    uint64_t clock_start_us;
    int64_t drift_ppm;
    struct sim_event turns[SIM_BODIES];
    bool has_mail[SIM_BODIES]; /* its turn is due because of mail */
    uint64_t paused_until, resumed_us, slow_until;
    bool low_space;
    bool planned; /* to come back: an event will boot it */

    struct sim_link links[SIM_HOSTS_MAX];
    uint64_t commit_seen;
    uint64_t last_seen; /* entry, at the end of the raft body's turn before */
    uint64_t promised_until_us, promised_to, promised_term; /* of its lease; on its clock */
    uint64_t rot_until;                                     /* it may have damage that nobody has seen */
    uint64_t acked, acked_term, acked_id; /* what it has acknowledged to the leader of that term */
    uint64_t rows_durable;                /* entries up to here are in rows that have been flushed */
};

struct sim_op;
struct sim_check;

struct sim {
    struct sim_options options;
    struct rk_random random;
    uint64_t now_us, sequence, events;
    uint64_t trace; /* hash of everything that happened */
    struct rk_heap queue;
    bool done, healing;
    bool dying; /* a host is on its way down: nothing is asked of anybody just now */
    uint64_t heal_us;
    uint64_t cut_until;
    uint32_t cuts; /* counts the times that links were cut */

    struct sim_host hosts[SIM_HOSTS_MAX];
    uint32_t host_count, initial_count;
    uint64_t cluster_id;
    char *initial[SIM_HOSTS_MAX];
    char *path;
    struct sim_host *running; /* whose body runs now */

    int64_t faults;
    struct {
        uint64_t election_ms, heartbeat_ms, keep, snapshot, promote_lag, request_ms;
        uint64_t delay_us, jitter_us, loss_ppm, duplicate_ppm, reorder_ppm;
        uint64_t clients, keys, pause_us, value_max, nemesis_us, drift_ppm;
        uint64_t admin_us;   /* between two acts of the administrator, at most */
        uint64_t admin_acts; /* at once, at most, each through a member of its own */
        uint64_t writes;     /* percent of the clients' calls */
        uint64_t disk_us;    /* a flush of the log; 0: a fast disk */
        uint64_t hold;       /* percent of messages that a cut holds back instead of losing them */
        uint64_t corner;     /* percent of changes of members after which their leader is cut off */
        uint32_t weights[SIM_FAULT_BITS];
        uint32_t acts[SIM_ACTS];
        uint64_t learners; /* percent of joining hosts that are to stay learners */
        uint64_t raft_us;  /* a turn of the raft body waits so long, at most; 0: hardly */
        bool lease;
    } tune;

    struct rk_mailbox replies, box; /* calls that come back; snapshots */
    struct rk_map oneshots, uploads;
    uint64_t next_token, next_upload;

    struct sim_op *client_op[SIM_CLIENTS_MAX];
    struct sim_session { /* of a client */
        uint64_t id, sequence;
        bool open;
        struct sim_write *write; /* to be asked for again: its outcome is unknown */
        char value[32];
    } sessions[SIM_CLIENTS_MAX];
    uint64_t next_value;
    uint32_t probed; /* bits: hosts whose probe write has been acknowledged */
    uint64_t asked, answered;
    bool disks_lost;       /* a disk was wiped, or has rotted */
    uint64_t rotten_until; /* some host had rows then that were not what was written */
    bool rot_tried;        /* the fault behind the healing has been there */
    uint64_t wipe_us;      /* when the next disk will be wiped; 0: not planned */

    struct sim_check *check;
};

/* ---- sim_world.c --------------------------------------------------------------------------- */

/* Returns the hash of the trace. A check that fails does not return: it prints and ends the process. */
uint64_t sim_run(const struct sim_options *options);
_Noreturn void sim_fail(struct sim *sim, const char *fmt, ...) RK_PRINTF(2, 3);
void sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b, uint64_t c);
struct sim_event *sim_later(struct sim *sim, uint64_t delay_us, enum sim_event_kind kind);
uint64_t sim_below(struct sim *sim, uint64_t bound);
/* between low and high, both included */
uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high);
bool sim_chance(struct sim *sim, uint64_t percent);
uint64_t sim_host_now(const struct sim_host *host);
void sim_boot(struct sim_host *host);
void sim_wake(struct sim_host *host); /* its pause is over */
enum sim_kill { SIM_KILL_CRASH, SIM_KILL_FAILED, SIM_KILL_STOP };
void sim_kill(struct sim_host *host, enum sim_kill how);
void sim_boot_later(struct sim_host *host, uint64_t delay_us);
/* A running member of the main cluster, as far as its disk knows; NULL. */
struct sim_host *sim_any_member(struct sim *sim);
bool sim_in_cluster(const struct sim_host *host);

/* ---- sim_tune.c ------------------------------------------------------------------------------ */

void sim_tune(struct sim *sim); /* draws what the seed is about */

/* ---- sim_net.c --------------------------------------------------------------------------------- */

struct node_transport sim_transport(struct sim_host *host);
void sim_net_packet(struct sim *sim, struct sim_event *event);
void sim_net_oneshot_late(struct sim *sim, uint64_t token);
void sim_net_links(struct sim *sim);
void sim_net_drop_packet(struct sim_event *event);
void sim_net_deinit(struct sim *sim);
struct sim_host *sim_net_peer(struct sim_host *from, uint64_t id); /* NULL: messages do not pass */

/* ---- sim_upload.c ------------------------------------------------------------------------------- */

void sim_upload_begin(void *host, struct node_stream *stream);
void sim_upload_step(struct sim *sim, uint64_t id);
void sim_upload_give_chunk(struct sim *sim, struct sim_event *event);
void sim_upload_take_mail(struct sim *sim);
/* Between node_stop() and node_close(): the streams of a host end. lost: what it said last was not heard. */
void sim_upload_host_gone(struct sim_host *host, bool lost);

/* ---- sim_client.c --------------------------------------------------------------------------------- */

void sim_client_start(struct sim *sim);
void sim_client_turn(struct sim *sim, uint32_t client);
void sim_client_probe(struct sim *sim, struct sim_host *host);
/* Calls that have come back; lost: the process that answered died before anybody heard. */
void sim_take_replies(struct sim *sim, bool lost);
/* A call that is not a client's: only its coming back is checked. */
void sim_ask_call(struct sim_host *host, struct node_call *call);
struct node_call *sim_new_call(struct sim *sim, enum node_call_kind kind);
void sim_ask(struct sim_host *host, enum node_call_kind kind, const char *body, bool discard);

/* ---- sim_admin.c, sim_nemesis.c, sim_heal.c -------------------------------------------------------- */

void sim_admin_turn(struct sim *sim);
/* Every member runs, with a whole disk and nothing on its way to another membership. */
bool sim_admin_all_well(struct sim *sim);
/* Damages the disk of a host in silence; at least one good copy of everything is left. */
bool sim_nemesis_rot(struct sim *sim, struct sim_host *host);
void sim_nemesis_start(struct sim *sim);
struct sim_host *sim_leader(struct sim *sim); /* NULL: nobody believes to lead */
/* Soon nobody reaches this host. */
void sim_nemesis_isolate(struct sim *sim, struct sim_host *host);
void sim_nemesis_turn(struct sim *sim);
void sim_nemesis_undo(struct sim *sim, struct sim_event *event);
void sim_heal(struct sim *sim);
void sim_settled(struct sim *sim);
const char *sim_fault_name(uint32_t bit); /* NULL behind the last */

/* ---- sim_check.c -------------------------------------------------------------------------------------- */

void sim_check_init(struct sim *sim);
void sim_check_deinit(struct sim *sim);
void sim_check_booted(struct sim_host *host);
void sim_check_raft_turn(struct sim_host *host);
void sim_check_core(struct sim_host *host, const struct raft_status *status); /* sim_check_core.c */
void sim_check_apply_turn(struct sim_host *host);
void sim_check_appended(void *host, uint32_t group, const struct store_entry *entry, uint64_t before_term);
void sim_check_rows_flushed(void *host);
/* Another member tells this one that it was removed. */
void sim_check_told_removed(struct sim *sim, uint64_t id);
void sim_check_sent(struct sim_host *host, const struct node_message *message);
bool sim_check_state_is(struct sim *sim, uint64_t index, uint64_t hash);
uint64_t sim_check_committed(const struct sim *sim); /* index of the last entry known to be committed */
const struct node_members *sim_check_members(const struct sim *sim); /* of the last committed configuration */

/* ---- sim_history.c ----------------------------------------------------------------------------------------
 */

/* A write with a number in a client's session: however often it is asked for, it happens once. */
struct sim_write {
    struct sim_write *next; /* all of them */
    struct mvcc_number number;
    uint64_t floor;             /* of the first time */
    uint64_t revision, applied; /* revision: that it made; applied: how often */
};

enum sim_op_state { SIM_OP_WAITING, SIM_OP_OK, SIM_OP_REFUSED, SIM_OP_UNKNOWN };

struct sim_op {
    struct sim_op *next; /* all of them */
    uint64_t number;
    uint32_t client; /* SIM_CLIENTS_MAX: not a client's */
    uint32_t host, life;
    enum node_call_kind kind;
    enum node_read_level level;
    enum sim_op_state state;
    bool probe, returned;
    bool numbered;                  /* a write in a session, or the opening of one */
    uint64_t start_us, deadline_us; /* simulated time */
    uint64_t floor;                 /* the newest revision that anybody had been told of when it began */
    struct rk_blob *body;
    struct sim_write *write; /* NULL: it has no number, or opens a session */
    uint64_t index;          /* of the entry that it became first; 0: none so far */
    uint32_t entries;        /* that it became: its call may have been repeated on the way */
    bool repeated;           /* it was; that one copy is refused says nothing of the other */
};

struct sim_op *sim_history_begin(struct sim *sim, struct sim_host *host, const struct node_call *call,
                                 uint32_t client);
void sim_history_end(struct sim *sim, struct sim_op *op, const struct node_call *call, bool lost);
/* An entry is committed, and the model has applied it; called in order of the index. raised: revisions that
 * it made. */
void sim_history_committed(struct sim *sim, uint64_t index, struct rk_slice payload, uint64_t raised);
/* The network repeats the call of an operation. */
void sim_history_repeated(struct sim *sim, struct rk_slice body);
void sim_history_check_waiting(struct sim *sim);
void sim_history_deinit(struct sim *sim);

/* The model: one state machine to which every committed entry is applied once, in order. */
struct sim_model_at {
    uint64_t hash, revision; /* of the rows after the entry */
    uint64_t term;
    uint64_t payload_hash;
    struct rk_blob *answer;
};

struct sim_check {
    struct sim_write *writes;
    struct sim_disk *disk;
    struct store_dir *dir;
    struct store_rows *rows;
    struct mvcc *mvcc;
    struct sim_model_at *at; /* by index */
    uint64_t last, cap;      /* entries are known up to last; 0: not begun */
    struct node_members members;

    struct rk_map leaders; /* term -> id */
    struct rk_map handed;  /* member and term -> it was told to campaign, and no promise holds against it */
    struct rk_map votes;   /* member and term -> id of the candidate */
    struct rk_map entries; /* index and term -> struct sim_seen */
    struct rk_map bodies;  /* hash of the body -> struct sim_op */
    struct sim_op *ops, **ops_tail;
    uint64_t op_count, told; /* told: the newest revision that anybody was told of */
    uint64_t changes, joint; /* configurations committed, and those of them with two majorities */
    uint64_t oks, refused, unknown, reads_ok, repeated, numbered;
};

#endif
