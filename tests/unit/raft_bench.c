/* tests/unit/raft_bench.c - see raft_bench.h. */
#include "tests/unit/raft_bench.h"

struct raft_members bench_members(const char *roles)
{
    struct raft_members m = {0};
    for (uint32_t i = 0; roles[i] != '\0'; i++) {
        if (roles[i] == '.')
            continue;
        bool outgoing = roles[i] == 'b' || roles[i] == 'o' || roles[i] == 'd';
        enum raft_member_role role = roles[i] == 'v' || roles[i] == 'b' ? RAFT_VOTER : RAFT_LEARNER;
        m.member[m.count++] = (struct raft_member){
            .id = i + 1, .role = roles[i] == 'o' ? RAFT_LEAVING : role, .outgoing = outgoing};
    }
    return m;
}

static struct raft_members ranked(const char *roles, const uint8_t *priorities)
{
    struct raft_members m = bench_members(roles);
    for (uint32_t i = 0; priorities != NULL && i < m.count; i++)
        m.member[i].priority = priorities[m.member[i].id - 1];
    return m;
}

static uint32_t fill(struct raft_entry *entries, uint32_t max, uint64_t index, const uint64_t *terms)
{
    uint32_t count = 0;
    for (; terms != NULL && terms[count] != 0; count++) {
        assert_true(count < max);
        entries[count] = (struct raft_entry){
            .index = index + count, .term = terms[count], .bytes = 10, .kind = RAFT_ENTRY_COMMAND};
    }
    return count;
}

void bench_init(struct bench *b, struct bench_start start)
{
    struct raft_entry entries[64];
    struct raft_config config = {
        .id = 1,
        .election_timeout_us = BENCH_ELECTION_US,
        .heartbeat_us = BENCH_HEARTBEAT_US,
        .append_entries_max = 4,
        .append_bytes_max = 1000,
        .inflight_bytes_max = 4000,
        .inflight_messages_max = start.window_messages != 0 ? start.window_messages : 8,
        .inflight_all_bytes_max = start.inflight_all_bytes,
        .uncommitted_bytes_max = start.uncommitted_bytes,
        .lease_reads = start.lease_reads,
        .abstain = start.abstain,
        .seed = 42,
    };
    struct raft_boot boot = {
        .vote = {.term = start.term, .voted_for = start.voted_for},
        .base_index = start.base,
        .base_term = start.base_term,
        .commit = start.commit != 0 ? start.commit : start.base,
        .members = ranked(start.roles, start.priorities),
        .members_index = start.base,
        .entries = entries,
        .count = fill(entries, RK_ARRAY_LEN(entries), start.base + 1, start.terms),
        .now_us = 1000000,
    };
    *b = (struct bench){.now_us = boot.now_us};
    b->raft = raft_new(&config, &boot);
    assert_non_null(b->raft);
}

void bench_deinit(struct bench *b)
{
    raft_free(b->raft);
}

struct raft_status bench_status(const struct bench *b)
{
    struct raft_status s;
    raft_status(b->raft, &s);
    return s;
}

struct raft_peer_status bench_peer(const struct bench *b, uint64_t id)
{
    struct raft_peer_status s;
    assert_true(raft_peer_status(b->raft, id, &s));
    return s;
}

void bench_event(struct bench *b, struct raft_event event)
{
    event.now_us = b->now_us;
    raft_step(b->raft, &event, &b->out);
}

void bench_message(struct bench *b, struct raft_message m)
{
    m.to = 1;
    bench_event(b, (struct raft_event){.kind = RAFT_EVENT_MESSAGE, .message = &m});
}

void bench_tick(struct bench *b, uint64_t after_us)
{
    b->now_us += after_us;
    bench_event(b, (struct raft_event){.kind = RAFT_EVENT_TICK});
}

void bench_deadline(struct bench *b)
{
    assert_true(raft_deadline(b->raft) != RK_NEVER);
    b->now_us = rk_max_u64(b->now_us, raft_deadline(b->raft));
    bench_tick(b, 0);
}

void bench_persist(struct bench *b)
{
    struct raft_status s = bench_status(b);
    bench_event(
        b, (struct raft_event){.kind = RAFT_EVENT_PERSISTED, .index = s.last_index, .term = s.last_term});
}

void bench_append(struct bench *b, uint64_t from, uint64_t term, uint64_t index, uint64_t log_term,
                  uint64_t commit, const uint64_t *terms)
{
    struct raft_entry entries[64];
    uint32_t count = fill(entries, RK_ARRAY_LEN(entries), index + 1, terms);
    bench_message(b, (struct raft_message){.kind = RAFT_MSG_APPEND,
                                           .from = from,
                                           .term = term,
                                           .index = index,
                                           .log_term = log_term,
                                           .commit = commit,
                                           .count = count,
                                           .entries = entries});
}

void bench_ack(struct bench *b, uint64_t from, uint64_t index)
{
    bench_message(
        b, (struct raft_message){
               .kind = RAFT_MSG_APPEND_REPLY, .from = from, .term = bench_status(b).term, .index = index});
}

enum raft_propose_outcome bench_propose(struct bench *b, uint32_t count, uint32_t bytes)
{
    struct raft_entry entries[64];
    assert_true(count <= RK_ARRAY_LEN(entries));
    for (uint32_t i = 0; i < count; i++)
        entries[i] = (struct raft_entry){.bytes = bytes, .kind = RAFT_ENTRY_COMMAND};
    bench_event(b, (struct raft_event){.kind = RAFT_EVENT_PROPOSE, .entries = entries, .count = count});
    return b->out.propose_outcome;
}

enum raft_propose_outcome bench_change(struct bench *b, const char *roles)
{
    b->members = bench_members(roles);
    struct raft_entry e = {.kind = RAFT_ENTRY_MEMBERS, .bytes = 10, .members = &b->members};
    bench_event(b, (struct raft_event){.kind = RAFT_EVENT_PROPOSE, .entries = &e, .count = 1});
    return b->out.propose_outcome;
}

static void answer(struct bench *b, enum raft_message_kind asked, enum raft_message_kind kind)
{
    uint64_t asked_of[16], term = 0;
    uint32_t count = bench_count(b, asked);
    for (uint32_t i = 0; i < count; i++) {
        asked_of[i] = bench_sent(b, asked, i)->message.to;
        term = bench_sent(b, asked, i)->message.term;
    }
    for (uint32_t i = 0; i < count && bench_status(b).role != RAFT_LEADER; i++) {
        bench_message(b, (struct raft_message){.kind = kind, .from = asked_of[i], .term = term});
        if (bench_count(b, RAFT_MSG_VOTE) > 0)
            break;
    }
}

void bench_lead(struct bench *b)
{
    bench_deadline(b);
    answer(b, RAFT_MSG_PREVOTE, RAFT_MSG_PREVOTE_REPLY);
    answer(b, RAFT_MSG_VOTE, RAFT_MSG_VOTE_REPLY);
    assert_int_equal(bench_status(b).role, RAFT_LEADER);
    bench_persist(b);
}

const struct raft_out_message *bench_sent(const struct bench *b, enum raft_message_kind kind, uint32_t n)
{
    for (uint32_t i = 0; i < b->out.message_count; i++) {
        if (b->out.messages[i].message.kind == kind && n-- == 0)
            return &b->out.messages[i];
    }
    return NULL;
}

uint32_t bench_count(const struct bench *b, enum raft_message_kind kind)
{
    uint32_t count = 0;
    while (bench_sent(b, kind, count) != NULL)
        count++;
    return count;
}
