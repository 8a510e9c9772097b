/* tests/fault/fault_driver.c - a real node's life, to be run under fault_shim.c, and the judge of what it
 * left.
 *
 *   fault_driver run SCENARIO DIRECTORY       lives a life in DIRECTORY; says on stdout what was acknowledged
 *   fault_driver verify SCENARIO DIRECTORY    reads that from stdin; everything must be there, and more must
 * work
 *
 * It does what the daemon does: a start that is refused or a storage that fails ends the process, with the
 * sentence on stderr. Hosts are real nodes on real Berkeley DB, with a transport of memory between them
 * (tests/unit/node_fixture.h). See fault_driver.h for the exit statuses. */
#include "tests/fault/fault_driver.h"
#include "config.h" /* _GNU_SOURCE */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/node/node_rescue.h"
#include "tests/fault/fault_shim.h"

static struct world world;

/* ---- ends ------------------------------------------------------------------------------- */

/* Not exit(): other threads may be anywhere. */
static void end(int status)
{
    fflush(NULL);
    _exit(status);
}

/* What the daemon does after fatal(): an orderly stop, as far as it goes. */
static void end_failed(void)
{
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        host_stop(&world.hosts[i]);
    end(DRIVER_FAILED);
}

static void look_for_failures(void)
{
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        if (atomic_load(&world.hosts[i].failures) > 0)
            end_failed();
}

static void stuck(const char *where)
{
    look_for_failures();
    fprintf(stderr, "fault_driver: no progress: %s\n", where);
    end(DRIVER_STUCK);
}

static void nap(uint64_t until, const char *where)
{
    look_for_failures();
    if (now_us() > until)
        stuck(where);
    nap_ms(2);
}

static uint64_t patience(void)
{
    return now_us() + DRIVER_PATIENCE_US;
}

/* ---- hosts ------------------------------------------------------------------------------- */

static void begin(void)
{
    if (fault_begin)
        fault_begin();
}

static struct host *start(size_t number)
{
    char *error = NULL;
    int r = host_open(&world, number, &error);

    if (r == 0) {
        r = host_run(&world, number);
        if (r == 0)
            return &world.hosts[number];
        error = rk_asprintf("a thread: %s", strerror(-r)); /* as daemon/boot.c */
    }
    look_for_failures();
    fprintf(stderr, "fault_driver: refused: %s (%d)\n", error ? error : "no sentence", r);
    end(error ? DRIVER_REFUSED : DRIVER_SPEECHLESS);
    return NULL;
}

static struct node_call *asked(struct host *host, struct node_call *made)
{
    uint64_t until = patience();
    struct rk_list *it;

    ask(host, made);
    while (rk_list_empty(&world.taken)) {
        rk_mailbox_wait(&world.replies, until);
        rk_mailbox_take(&world.replies, &world.taken);
        if (now_us() >= until)
            stuck("a call did not come back");
    }
    it = rk_list_pop_front(&world.taken);
    world.answered++;
    return RK_CONTAINER_OF(RK_LIST_ITEM(it, struct rk_mail, link), struct node_call, mail);
}

static void acknowledge(char cluster, const char *key, const char *value)
{
    printf("%c %s %s\n", cluster, key, value);
    fflush(stdout);
}

static void put(struct host *host, char cluster, const char *key, const char *value)
{
    uint64_t until = patience();

    for (;;) {
        struct node_call *answer = asked(host, new_put(host, key, value));
        enum node_outcome outcome = answer->outcome;

        node_call_free(answer);
        if (outcome == NODE_OK)
            break;
        nap(until, "a put");
    }
    acknowledge(cluster, key, value);
}

static void put_many(struct host *host, char cluster, const char *value, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%03u", i);
        put(host, cluster, key, value);
    }
}

/* On pages of its own. */
static void put_big(struct host *host, char cluster)
{
    static char value[20001];

    memset(value, 'b', sizeof(value) - 1);
    put(host, cluster, "big", value);
}

static bool same_value(const struct node_call *answer, const char *value)
{
    struct mvcc_result result;
    struct mvcc_kv kv;

    return mvcc_result_decode(rk_blob_slice(answer->answer), &result) == 0 &&
           mvcc_result_next(&result, &kv) == 1 && kv.value.len == strlen(value) &&
           memcmp(kv.value.data, value, kv.value.len) == 0;
}

/* A fault may keep a read from an answer, never give it a wrong one. */
static void check_read(struct host *host, const char *key, const char *value)
{
    uint64_t until = patience();

    for (;;) {
        struct node_call *answer = asked(host, new_get(key, NODE_READ_CONSISTENT));

        if (answer->outcome == NODE_OK && !same_value(answer, value)) {
            fprintf(stderr, "fault_driver: %s is not what was acknowledged\n", key);
            end(DRIVER_LOST);
        }
        enum node_outcome outcome = answer->outcome;
        node_call_free(answer);
        if (outcome == NODE_OK)
            return;
        nap(until, "a read");
    }
}

/* ---- what is waited for ------------------------------------------------------------------------ */

static bool holds(struct host *host, bool (*cond)(const struct node_status *status, uint64_t arg),
                  uint64_t arg)
{
    struct node_call *answer = asked(host, new_call(NODE_CALL_STATUS, NULL));
    bool yes = answer->outcome == NODE_OK && cond(answer->status, arg);

    node_call_free(answer);
    return yes;
}

static void await(struct host *host, bool (*cond)(const struct node_status *status, uint64_t arg),
                  uint64_t arg, const char *where)
{
    for (uint64_t until = patience(); !holds(host, cond, arg);)
        nap(until, where);
}

static bool leads(const struct node_status *status, uint64_t unused RK_UNUSED)
{
    return status->raft.role == RAFT_LEADER && status->raft.ready;
}

static struct host *leader(void)
{
    for (uint64_t until = patience();;) {
        for (size_t i = 0; i < 3; i++)
            if (world.hosts[i].running && holds(&world.hosts[i], leads, 0))
                return &world.hosts[i];
        nap(until, "an election");
    }
}

static bool whole(const struct node_status *status, uint64_t applied)
{
    return !status->repairing && !status->rebuilding && status->applied >= applied;
}

static uint64_t applied_of(struct host *host)
{
    struct node_call *answer = asked(host, new_call(NODE_CALL_STATUS, NULL));
    uint64_t applied = answer->outcome == NODE_OK ? answer->status->applied : 0;

    node_call_free(answer);
    return applied;
}

static void catch_up(struct host *host)
{
    await(host, whole, applied_of(leader()), "catching up");
}

/* ---- lives ---------------------------------------------------------------------------------- */

/* The stream of a snapshot into a file of our own; 0, or the stream's error. */
static int drain(struct node_stream *stream, int fd)
{
    struct rk_mailbox box;
    struct rk_list mails;
    int r;

    if (rk_mailbox_init(&box, 8) != 0)
        stuck("a mailbox");
    rk_list_init(&mails);
    stream->reply_to = &box;
    stream->reply_kind = 1;
    do {
        node_stream_next(stream);
        rk_mailbox_wait(&box, patience());
        if (rk_mailbox_take(&box, &mails) != 1)
            stuck("a chunk");
        rk_list_init(&mails);
        if (stream->error == 0 && write(fd, stream->chunk.data + stream->chunk.start, stream->chunk.len) < 0)
            stuck("the file");
    } while (!stream->done && stream->error == 0);
    r = stream->error;
    node_stream_free(stream);
    rk_mailbox_deinit(&box);
    return r;
}

static bool back_up(struct host *host, int fd)
{
    struct node_call *answer = asked(host, new_call(NODE_CALL_SNAPSHOT_READ, NULL));
    struct node_stream *stream = answer->stream;
    bool ok = answer->outcome == NODE_OK;

    answer->stream = NULL;
    node_call_free(answer);
    ok = ok && drain(stream, fd) == 0;
    look_for_failures();
    return ok;
}

static void restore(size_t number, int fd)
{
    struct host *host = &world.hosts[number];
    struct node_config config = {.name = host->name,
                                 .peer_address = host->address,
                                 .client_url = host->url,
                                 .machine = "",
                                 .data_directory = host->path,
                                 .election_timeout_ms = 100,
                                 .heartbeat_ms = 20,
                                 .log_cache_bytes = 1u << 20,
                                 .rows_cache_bytes = 1u << 20,
                                 .clock = rk_clock_boottime};
    struct node_file_report report;
    uint64_t cluster;
    char *error = NULL;
    int r = lseek(fd, 0, SEEK_SET) == 0 ? node_restore(&config, fd, &report, &cluster, &error) : -errno;

    if (r == 0)
        return;
    fprintf(stderr, "fault_driver: not restored: %s (%d)\n", error ? error : "no sentence", r);
    end(error ? DRIVER_REFUSED : DRIVER_SPEECHLESS);
}

/* A cluster of one: first start, load, cut, backup, stop, recovery, and the backup restored on another. */
static void life_of_one(void)
{
    int fd = memfd_create("backup", MFD_CLOEXEC);
    struct host *host;

    begin();
    host = start(0);
    put_many(host, '0', "1", 0, 40);
    put_big(host, '0');
    node_call_free(asked(host, new_call(NODE_CALL_SNAPSHOT, NULL)));
    put_many(host, '0', "2", 20, 60);
    check_read(host, "k010", "1");
    check_read(host, "k030", "2");
    bool backed_up = back_up(host, fd);
    host_stop(host);
    look_for_failures();
    host = start(0);
    put_many(host, '0', "3", 50, 70);
    check_read(host, "k055", "3");
    host_stop(host);
    look_for_failures();
    if (!backed_up)
        end(DRIVER_OK);
    restore(1, fd);
    for (unsigned i = 0; i < 60; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%03u", i);
        acknowledge('1', key, i < 20 ? "1" : "2");
    }
    host = start(1);
    put_many(host, '1', "4", 50, 60);
    host_stop(host);
}

static void three_hosts(void)
{
    for (size_t i = 0; i < 3; i++)
        world.initial[i] = rk_asprintf("%s=%s", world.hosts[i].name, world.hosts[i].address);
    world.initial_count = 3;
    for (size_t i = 0; i < 3; i++)
        start(i);
}

static struct host *follower(void)
{
    return leader() == &world.hosts[0] ? &world.hosts[1] : &world.hosts[0];
}

static void life_of_install(void)
{
    struct host *behind;

    three_hosts();
    behind = follower();
    put_many(leader(), '0', "1", 0, 30);
    world_isolate(&world, behind->number, true);
    put_many(leader(), '0', "2", 10, 150);
    node_call_free(asked(leader(), new_call(NODE_CALL_SNAPSHOT, NULL)));
    begin();
    put_many(leader(), '0', "3", 20, 40);
    world_isolate(&world, behind->number, false);
    catch_up(behind);
    put_many(leader(), '0', "4", 30, 50);
    for (size_t i = 0; i < 3; i++)
        host_stop(&world.hosts[i]);
}

static void life_of_rebuild(void)
{
    struct host *host;

    three_hosts();
    host = follower();
    put_many(leader(), '0', "1", 0, 100);
    host_stop(host);
    look_for_failures();
    world.tune.rebuild_rows = true;
    begin();
    start(host->number);
    world.tune.rebuild_rows = false;
    put_many(leader(), '0', "2", 10, 30);
    catch_up(host);
    put_many(leader(), '0', "3", 20, 40);
    host_stop(host);
    look_for_failures();
    start(host->number);
    catch_up(host);
    host_stop(host);
}

/* A byte in each page; by bare system calls, for these are not the node's. */
static void rot(const struct host *host)
{
    RK_CLEANUP(rk_freep) char *path = rk_asprintf("%s/log/data.db", host->path);
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    for (long at = 200; syscall(SYS_pread64, fd, &byte, 1, at) == 1; at += 4096) {
        byte ^= 0x20;
        if (syscall(SYS_pwrite64, fd, &byte, 1, at) != 1)
            stuck("rot");
    }
    syscall(SYS_close, fd);
}

static void life_of_repair(void)
{
    struct host *host;

    three_hosts();
    host = follower();
    put_many(leader(), '0', "1", 0, 60);
    host_stop(host);
    look_for_failures();
    rot(host);
    begin();
    start(host->number);
    put_many(leader(), '0', "2", 10, 30);
    catch_up(host);
    put_many(leader(), '0', "3", 20, 40);
    host_stop(host);
    look_for_failures();
}

/* ---- the judge -------------------------------------------------------------------------------- */

struct said {
    char cluster, key[16];
    char *value;
};

static struct said said[4096];
static size_t said_count;

static void note_said(char cluster, const char *key, const char *value)
{
    size_t i = 0;

    while (i < said_count && (said[i].cluster != cluster || strcmp(said[i].key, key) != 0))
        i++;
    if (i == RK_ARRAY_LEN(said))
        stuck("too many keys");
    said[i].cluster = cluster;
    snprintf(said[i].key, sizeof(said[i].key), "%s", key);
    free(said[i].value);
    said[i].value = rk_strdup(value);
    said_count = i == said_count ? said_count + 1 : said_count;
}

static void read_said(void)
{
    static char line[32768], value[32768];
    char cluster, key[16];

    while (fgets(line, sizeof(line), stdin))
        if (line[strlen(line) - 1] == '\n' && sscanf(line, "%c %15s %32767s", &cluster, key, value) == 3)
            note_said(cluster, key, value);
}

/* The last write may have come through without its acknowledgement: its value is a higher number. */
static bool is_there(const struct node_call *answer, const char *value)
{
    struct mvcc_result result;
    struct mvcc_kv kv;

    if (mvcc_result_decode(rk_blob_slice(answer->answer), &result) != 0 ||
        mvcc_result_next(&result, &kv) != 1)
        return false;
    return kv.value.len == 1 && strlen(value) == 1 ? kv.value.data[0] >= value[0] : same_value(answer, value);
}

static void expect_said(struct host *host, const struct said *one)
{
    for (uint64_t until = patience();;) {
        struct node_call *answer = asked(host, new_get(one->key, NODE_READ_CONSISTENT));
        enum node_outcome outcome = answer->outcome;

        if (outcome == NODE_OK && !is_there(answer, one->value)) {
            fprintf(stderr, "fault_driver: lost: %c %s %.10s\n", one->cluster, one->key, one->value);
            end(DRIVER_LOST);
        }
        node_call_free(answer);
        if (outcome == NODE_OK)
            return;
        nap(until, "a read");
    }
}

static void judge(struct host *host, char cluster)
{
    for (size_t i = 0; i < said_count; i++)
        if (said[i].cluster == cluster)
            expect_said(host, &said[i]);
    put(host, cluster, "after", "1");
    check_read(host, "after", "1");
}

static void verify(bool three)
{
    read_said();
    if (three)
        three_hosts();
    else
        start(0);
    judge(leader(), '0');
    for (size_t i = 0; three && i < 3; i++)
        catch_up(&world.hosts[i]);
    for (size_t i = 0; i < 3; i++)
        host_stop(&world.hosts[i]);
    for (size_t i = 0; i < said_count; i++)
        if (said[i].cluster == '1') {
            judge(start(1), '1');
            host_stop(&world.hosts[1]);
            break;
        }
    look_for_failures();
}

/* ---- main ----------------------------------------------------------------------------------------- */

static const struct life {
    const char *name;
    void (*live)(void);
    bool three;
} lives[] = {{"one", life_of_one, false},
             {"install", life_of_install, true},
             {"rebuild", life_of_rebuild, true},
             {"repair", life_of_repair, true}};

static void place(const char *path)
{
    world_init(&world);
    rmdir(world.path);
    world.path = rk_strdup(path);
    for (size_t i = 0; i < WORLD_HOSTS; i++)
        world.hosts[i].path = rk_asprintf("%s/node%zu", path, i + 1);
    world.tune = (struct node_config){.election_timeout_ms = 100,
                                      .heartbeat_ms = 20,
                                      .log_keep_entries = 5,
                                      .snapshot_entries = 50,
                                      .checkpoint_bytes = 64u << 10,
                                      .request_timeout_ms = 1000};
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 4 && i < RK_ARRAY_LEN(lives); i++) {
        if (strcmp(argv[2], lives[i].name) != 0)
            continue;
        place(argv[3]);
        if (strcmp(argv[1], "verify") == 0)
            verify(lives[i].three);
        else
            lives[i].live();
        end(DRIVER_OK);
    }
    fprintf(stderr, "usage: fault_driver run|verify one|install|rebuild|repair DIRECTORY\n");
    return 2;
}
