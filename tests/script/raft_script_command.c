/* tests/script/raft_script_command.c - the commands of a script; README.md explains them. */
#include "tests/script/raft_script.h"

#include <inttypes.h>
#include <string.h>

/* ---- arguments -------------------------------------------------------------------------- */

uint64_t script_number(const struct script *s, const char *word)
{
    char *end = NULL;
    unsigned long long value = strtoull(word, &end, 10);
    if (word[0] < '0' || word[0] > '9' || *end != '\0')
        script_fail(s, "\"%s\" is not a number", word);
    return value;
}

uint32_t script_member(const struct script *s, const char *word)
{
    uint64_t id = script_number(s, word);
    if (id == 0 || id > s->c.options.nodes)
        script_fail(s, "there is no member %s", word);
    return (uint32_t)id - 1;
}

uint32_t script_member_up(const struct script *s, const char *word)
{
    uint32_t node = script_member(s, word);
    if (!s->c.nodes[node].up)
        script_fail(s, "member %s is down", word);
    return node;
}

/* 1->2, with * for any member. */
static struct script_link link_of(const struct script *s, char *word)
{
    char *arrow = strstr(word, "->");
    if (arrow == NULL)
        script_fail(s, "\"%s\" is not a link", word);
    *arrow = '\0';
    const char *to = arrow + 2;
    return (struct script_link){.from = strcmp(word, "*") == 0 ? SCRIPT_ANY : script_member(s, word),
                                .to = strcmp(to, "*") == 0 ? SCRIPT_ANY : script_member(s, to)};
}

struct script_link script_one_link(const struct script *s, char *word)
{
    struct script_link link = link_of(s, word);
    if (link.from == SCRIPT_ANY || link.to == SCRIPT_ANY)
        script_fail(s, "one link is wanted");
    return link;
}

static enum script_pick pick_of(const struct script *s, char **words, uint32_t count)
{
    if (count < 3)
        return SCRIPT_PICK_ALL;
    if (strcmp(words[2], "first") != 0 && strcmp(words[2], "last") != 0)
        script_fail(s, "first or last, not \"%s\"", words[2]);
    return words[2][0] == 'f' ? SCRIPT_PICK_FIRST : SCRIPT_PICK_LAST;
}

/* ---- the cluster ------------------------------------------------------------------------- */

static void do_cluster(struct script *s, char **words, uint32_t count)
{
    uint64_t voters = script_number(s, words[1]);
    uint64_t spare = count > 3 ? script_number(s, words[3]) : 0;
    if (voters == 0 || voters + spare > CLUSTER_NODES_MAX || count == 3)
        script_fail(s, "1 to %u members", CLUSTER_NODES_MAX);
    script_init(s, (uint32_t)voters, (uint32_t)(voters + spare));
}

static void give_log(struct script *s, uint32_t node, char **terms, uint32_t count)
{
    struct cluster_log *log = &s->c.nodes[node].disk_log;
    uint64_t before = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct cluster_entry e = {.value = SCRIPT_OLD};
        e.entry = (struct raft_entry){
            .index = i + 1, .term = script_number(s, terms[i]), .bytes = 10, .kind = RAFT_ENTRY_COMMAND};
        cluster_log_push(log, &e);
        cluster_check_entries(&s->c, node, &e, 1, before);
        before = e.entry.term;
    }
}

/* boot 2 term 5 vote 1 log 1 1 4 4 */
static void do_boot(struct script *s, char **words, uint32_t count)
{
    uint32_t node = script_member(s, words[1]);
    struct cluster_node *n = &s->c.nodes[node];
    script_stop(s, node);
    cluster_log_reset(&n->disk_log, 0, 0);
    for (uint32_t i = 2; i + 1 < count; i += 2) {
        if (strcmp(words[i], "term") == 0)
            n->disk_vote.term = script_number(s, words[i + 1]);
        else if (strcmp(words[i], "vote") == 0)
            n->disk_vote.voted_for = script_number(s, words[i + 1]);
        else if (strcmp(words[i], "log") != 0)
            script_fail(s, "term, vote or log, not \"%s\"", words[i]);
        else {
            give_log(s, node, words + i + 1, count - i - 1);
            break;
        }
    }
    script_start(s, node);
    script_say_status(s, node);
}

static void do_crash(struct script *s, char **words, uint32_t count)
{
    (void)count;
    script_stop(s, script_member_up(s, words[1]));
}

static void do_restart(struct script *s, char **words, uint32_t count)
{
    (void)count;
    uint32_t node = script_member(s, words[1]);
    if (s->c.nodes[node].up)
        script_fail(s, "member %s is up", words[1]);
    script_start(s, node);
    script_say_status(s, node);
}

static void each(struct script *s, char **words, uint32_t count, void (*say)(struct script *s, uint32_t node))
{
    for (uint32_t i = 0; i < s->c.options.nodes; i++) {
        if (count < 2 || script_member(s, words[1]) == i)
            say(s, i);
    }
}

static void say_status(struct script *s, uint32_t node)
{
    script_say_status(s, node);
}

static void do_status(struct script *s, char **words, uint32_t count)
{
    each(s, words, count, say_status);
}

static void say_log(struct script *s, uint32_t node)
{
    const struct cluster_node *n = &s->c.nodes[node];
    RK_CLEANUP(rk_freep) char *memory = rk_asprintf("%u", node + 1);
    if (n->up)
        script_say_log(s, &n->log, memory);
}

static void do_log(struct script *s, char **words, uint32_t count)
{
    each(s, words, count, say_log);
}

static void say_disk(struct script *s, uint32_t node)
{
    const struct cluster_node *n = &s->c.nodes[node];
    RK_CLEANUP(rk_freep)
    char *before = rk_asprintf("%u on disk: term %" PRIu64 ", vote for %" PRIu64, node + 1, n->disk_vote.term,
                               n->disk_vote.voted_for);
    script_say_log(s, &n->disk_log, before);
}

static void do_disk(struct script *s, char **words, uint32_t count)
{
    each(s, words, count, say_disk);
}

static void do_peers(struct script *s, char **words, uint32_t count)
{
    (void)count;
    uint32_t node = script_member_up(s, words[1]);
    for (uint32_t i = 0; i < s->c.options.nodes; i++) {
        struct raft_peer_status peer;
        if (raft_peer_status(s->c.nodes[node].raft, i + 1, &peer))
            script_say_peer(s, node, &peer);
    }
}

static void do_flight(struct script *s, char **words, uint32_t count)
{
    (void)words;
    (void)count;
    for (size_t i = 0; i < s->flight_count; i++)
        script_say_packet(s, s->flight[i], "", "");
}

/* ---- time, disk and network ---------------------------------------------------------------- */

static void do_tick(struct script *s, char **words, uint32_t count)
{
    (void)count;
    uint32_t node = script_member_up(s, words[1]);
    uint64_t due_us = raft_deadline(s->c.nodes[node].raft);
    if (due_us == RK_NEVER)
        return script_say(s, "  %u waits for nothing", node + 1);
    s->c.now_us = rk_max_u64(s->c.now_us, due_us);
    script_step(s, node, (struct raft_event){.kind = RAFT_EVENT_TICK}, NULL);
}

static void do_wait(struct script *s, char **words, uint32_t count)
{
    (void)count;
    s->c.now_us += script_number(s, words[1]) * RK_USEC_PER_MSEC;
}

static void do_elect(struct script *s, char **words, uint32_t count)
{
    s->c.now_us += CLUSTER_ELECTION_US;
    do_tick(s, words, count);
    script_settle(s);
}

/* Life goes on for so long: whoever is due ticks, and all settles at once. */
static void do_run(struct script *s, char **words, uint32_t count)
{
    (void)count;
    uint64_t until_us = s->c.now_us + script_number(s, words[1]) * RK_USEC_PER_MSEC;
    script_settle(s);
    for (;;) {
        uint64_t due_us = until_us;
        uint32_t node = SCRIPT_ANY;
        for (uint32_t i = 0; i < s->c.options.nodes; i++) {
            if (!s->c.nodes[i].up || raft_deadline(s->c.nodes[i].raft) >= due_us)
                continue;
            due_us = raft_deadline(s->c.nodes[i].raft);
            node = i;
        }
        if (node == SCRIPT_ANY)
            break;
        s->c.now_us = rk_max_u64(s->c.now_us, due_us);
        script_say(s, "%u ticks", node + 1);
        script_step(s, node, (struct raft_event){.kind = RAFT_EVENT_TICK}, NULL);
        script_settle(s);
    }
    s->c.now_us = rk_max_u64(s->c.now_us, until_us);
}

static void do_persist(struct script *s, char **words, uint32_t count)
{
    bool all = strcmp(words[1], "all") == 0;
    uint32_t only = all ? 0 : script_member_up(s, words[1]);
    size_t writes = count > 2 ? script_number(s, words[2]) : SIZE_MAX;
    for (uint32_t i = 0; i < s->c.options.nodes; i++) {
        if ((all || i == only) && s->c.nodes[i].queue != NULL)
            script_persist(s, i, writes);
    }
}

static void do_deliver(struct script *s, char **words, uint32_t count)
{
    const struct script_link all = {.from = SCRIPT_ANY, .to = SCRIPT_ANY};
    if (script_deliver(s, count > 1 ? link_of(s, words[1]) : all, pick_of(s, words, count)) == 0)
        script_fail(s, "nothing to deliver");
}

static void do_drop(struct script *s, char **words, uint32_t count)
{
    if (script_drop(s, link_of(s, words[1]), pick_of(s, words, count)) == 0)
        script_fail(s, "nothing to drop");
}

static void do_repeat(struct script *s, char **words, uint32_t count)
{
    (void)count;
    if (script_repeat(s, link_of(s, words[1])) == 0)
        script_fail(s, "nothing to repeat");
}

/* slow, fast */
static void do_speed(struct script *s, char **words, uint32_t count)
{
    (void)count;
    s->slow[script_member(s, words[1])] = strcmp(words[0], "slow") == 0;
}

static void do_settle(struct script *s, char **words, uint32_t count)
{
    (void)words;
    (void)count;
    script_settle(s);
}

static void mark(bool marks[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX], struct script_link link, bool value)
{
    for (uint32_t i = 0; i < CLUSTER_NODES_MAX; i++) {
        for (uint32_t j = 0; j < CLUSTER_NODES_MAX; j++) {
            if ((link.from == SCRIPT_ANY || link.from == i) && (link.to == SCRIPT_ANY || link.to == j))
                marks[i][j] = value;
        }
    }
}

/* What is on the way already gets lost with the rest. */
static void do_cut(struct script *s, char **words, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct script_link link = link_of(s, words[i]);
        mark(s->c.cut, link, true);
        bool quiet = s->quiet;
        s->quiet = true;
        script_drop(s, link, SCRIPT_PICK_ALL);
        s->quiet = quiet;
    }
}

static void do_heal(struct script *s, char **words, uint32_t count)
{
    const struct script_link all = {.from = SCRIPT_ANY, .to = SCRIPT_ANY};
    for (uint32_t i = 1; i < count; i++)
        mark(s->c.cut, link_of(s, words[i]), false);
    if (count == 1)
        mark(s->c.cut, all, false);
}

static void do_hold(struct script *s, char **words, uint32_t count)
{
    (void)count;
    mark(s->hold, link_of(s, words[1]), true);
}

static void do_unhold(struct script *s, char **words, uint32_t count)
{
    (void)count;
    mark(s->hold, link_of(s, words[1]), false);
}

/* ---- the table ------------------------------------------------------------------------------------ */

static void do_quietly(struct script *s, char **words, uint32_t count)
{
    struct raft_status before[CLUSTER_NODES_MAX] = {0};
    for (uint32_t i = 0; i < s->c.options.nodes; i++) {
        if (s->c.nodes[i].up)
            raft_status(s->c.nodes[i].raft, &before[i]);
    }
    s->quiet = true;
    script_command(s, words + 1, count - 1);
    s->quiet = false;
    for (uint32_t i = 0; i < s->c.options.nodes; i++) {
        struct raft_status now = {0};
        if (s->c.nodes[i].up)
            raft_status(s->c.nodes[i].raft, &now);
        if (now.id != before[i].id || now.term != before[i].term || now.leader != before[i].leader ||
            now.role != before[i].role || now.last_index != before[i].last_index ||
            now.last_term != before[i].last_term || now.commit != before[i].commit ||
            now.persisted != before[i].persisted || now.base_index != before[i].base_index)
            script_say_status(s, i);
    }
}

static const struct command {
    const char *name;
    uint32_t least, most; /* words, the name included */
    void (*run)(struct script *s, char **words, uint32_t count);
} commands[] = {
    {"abort", 2, 2, script_do_abort},
    {"add", 3, SCRIPT_WORDS_MAX, script_do_change},
    {"add-learner", 3, SCRIPT_WORDS_MAX, script_do_change},
    {"boot", 2, SCRIPT_WORDS_MAX, do_boot},
    {"change", 3, SCRIPT_WORDS_MAX, script_do_change_all},
    {"cluster", 2, 4, do_cluster},
    {"compact", 3, 3, script_do_compact},
    {"crash", 2, 2, do_crash},
    {"cut", 2, SCRIPT_WORDS_MAX, do_cut},
    {"deliver", 1, 3, do_deliver},
    {"demote", 3, SCRIPT_WORDS_MAX, script_do_change},
    {"disk", 1, 2, do_disk},
    {"drop", 2, 3, do_drop},
    {"elect", 2, 2, do_elect},
    {"flight", 1, 1, do_flight},
    {"heal", 1, SCRIPT_WORDS_MAX, do_heal},
    {"fast", 2, 2, do_speed},
    {"hold", 2, 2, do_hold},
    {"install", 2, 2, script_do_install},
    {"log", 1, 2, do_log},
    {"offer", 2, 2, script_do_offer},
    {"peers", 2, 2, do_peers},
    {"persist", 2, 3, do_persist},
    {"priority", 4, 4, script_do_priority},
    {"promote", 3, SCRIPT_WORDS_MAX, script_do_change},
    {"propose", 3, SCRIPT_WORDS_MAX, script_do_propose},
    {"quietly", 2, SCRIPT_WORDS_MAX, do_quietly},
    {"read", 2, 2, script_do_read},
    {"remove", 3, SCRIPT_WORDS_MAX, script_do_change},
    {"repeat", 2, 2, do_repeat},
    {"restart", 2, 2, do_restart},
    {"run", 2, 2, do_run},
    {"sent", 2, 3, script_do_sent},
    {"settle", 1, 1, do_settle},
    {"slow", 2, 2, do_speed},
    {"snapshot", 2, 2, script_do_snapshot},
    {"status", 1, 2, do_status},
    {"step-down", 2, 2, script_do_step_down},
    {"tick", 2, 2, do_tick},
    {"transfer", 2, 3, script_do_transfer},
    {"unhold", 2, 2, do_unhold},
    {"unreachable", 3, 3, script_do_unreachable},
    {"wait", 2, 2, do_wait},
};

void script_command(struct script *s, char **words, uint32_t count)
{
    for (size_t i = 0; i < RK_ARRAY_LEN(commands); i++) {
        const struct command *c = &commands[i];
        if (strcmp(c->name, words[0]) != 0)
            continue;
        if (count < c->least || count > c->most)
            script_fail(s, "%s: wrong number of words", words[0]);
        if ((s->c.options.nodes == 0) != (c->run == do_cluster))
            script_fail(s, "a script begins with cluster, once");
        return c->run(s, words, count);
    }
    script_fail(s, "no command \"%s\"", words[0]);
}
