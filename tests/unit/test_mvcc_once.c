/* tests/unit/test_mvcc_once.c - exactly once: duplicates by origin, client sessions, and that both are state.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/base/rk_random.h"
#include "lib/mvcc/mvcc_once.h"
#include "tests/unit/mvcc_fixture.h"

static int setup(void **state)
{
    struct fixture *f = RK_NEW(struct fixture);
    fixture_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

/* Takes the command, and says what applying it as the next entry answered. */
static struct mvcc_answer apply(struct fixture *f, struct rk_blob *command)
{
    RK_CLEANUP(rk_buf_deinit) struct rk_buf bytes = {0};
    struct mvcc_answer answer;
    assert_int_equal(mvcc_begin(f->mvcc), 0);
    assert_int_equal(mvcc_apply_command(f->mvcc, ++f->index, FIXTURE_TERM, rk_blob_slice(command), &bytes),
                     0);
    assert_int_equal(mvcc_commit(f->mvcc), 0);
    assert_int_equal(mvcc_answer_decode(rk_buf_slice(&bytes), &answer), 0);
    rk_blob_unref(command);
    return answer;
}

/* A put of one key that changes with each call. */
static struct mvcc_answer put_from(struct fixture *f, uint64_t member, uint64_t incarnation,
                                   uint64_t sequence)
{
    const struct mvcc_origin origin = {member, incarnation, sequence};
    const struct mvcc_op op = fixture_put("k", "v");
    return apply(f, mvcc_command_encode(&origin, &op, 1));
}

static void assert_applied(struct fixture *f, struct mvcc_answer answer, uint64_t revision)
{
    assert_int_equal(answer.outcome, MVCC_OK);
    assert_int_equal(answer.revision, revision);
    assert_int_equal(fixture_meta(f).revision, revision);
}

static void assert_refused(struct fixture *f, struct mvcc_answer answer, enum mvcc_command_outcome outcome)
{
    assert_int_equal(answer.outcome, outcome);
    assert_int_equal(answer.revision, fixture_meta(f).revision);
    assert_int_equal(fixture_meta(f).applied_index, f->index);
}

/* ---- origins --------------------------------------------------------------------------------- */

static void a_proposal_is_applied_once(void **state)
{
    struct fixture *f = *state;
    assert_applied(f, put_from(f, 1, 1, 1), 2);
    assert_refused(f, put_from(f, 1, 1, 1), MVCC_E_APPLIED_BEFORE);
    assert_applied(f, put_from(f, 1, 1, 2), 3);
    assert_applied(f, put_from(f, 2, 1, 1), 4); /* another member's number is another proposal */
    assert_refused(f, put_from(f, 1, 1, 1), MVCC_E_APPLIED_BEFORE);
    assert_int_equal(fixture_meta(f).revision, 4);
}

static void proposals_of_one_member_may_overtake_each_other(void **state)
{
    struct fixture *f = *state;
    assert_applied(f, put_from(f, 1, 1, 70), 2);
    assert_applied(f, put_from(f, 1, 1, 3), 3);
    assert_applied(f, put_from(f, 1, 1, 69), 4);
    assert_refused(f, put_from(f, 1, 1, 3), MVCC_E_APPLIED_BEFORE);
    assert_refused(f, put_from(f, 1, 1, 70), MVCC_E_APPLIED_BEFORE);
    assert_applied(f, put_from(f, 1, 1, 68), 5);
}

static void what_is_behind_the_window_is_refused(void **state)
{
    struct fixture *f = *state;
    const uint64_t top = 10 * RK_ORIGIN_WINDOW;
    assert_applied(f, put_from(f, 1, 1, top), 2);
    assert_refused(f, put_from(f, 1, 1, top - RK_ORIGIN_WINDOW), MVCC_E_TOO_OLD);
    assert_applied(f, put_from(f, 1, 1, top - RK_ORIGIN_WINDOW + 1), 3);
    /* The place in the window of a number that has left it is free for the one that came in. */
    assert_applied(f, put_from(f, 1, 1, top + 1), 4);
    assert_refused(f, put_from(f, 1, 1, top - RK_ORIGIN_WINDOW + 1), MVCC_E_TOO_OLD);
    assert_applied(f, put_from(f, 1, 1, top + 5), 5);
    for (uint64_t i = 2; i < 5; i++)
        assert_applied(f, put_from(f, 1, 1, top + i), 4 + i);
    assert_applied(f, put_from(f, 1, 1, UINT64_MAX), 9);
    assert_refused(f, put_from(f, 1, 1, top + 6), MVCC_E_TOO_OLD);
}

static void a_new_incarnation_ends_the_old_one(void **state)
{
    struct fixture *f = *state;
    assert_applied(f, put_from(f, 1, 4, 9), 2);
    assert_applied(f, put_from(f, 1, 5, 9), 3);
    assert_applied(f, put_from(f, 1, 5, 1), 4);
    assert_refused(f, put_from(f, 1, 4, 10), MVCC_E_TOO_OLD);
    assert_refused(f, put_from(f, 1, 5, 9), MVCC_E_APPLIED_BEFORE);
}

static void the_origin_that_was_silent_for_longest_is_forgotten_when_there_are_too_many(void **state)
{
    struct fixture *f = *state;
    uint64_t revision = 1;
    for (uint64_t member = 1; member <= RK_ORIGINS_MAX; member++)
        assert_applied(f, put_from(f, member, 1, 1), ++revision);
    assert_applied(f, put_from(f, 1, 1, 2), ++revision);
    assert_applied(f, put_from(f, 1000, 1, 1), ++revision); /* 2 is forgotten, not 1 */
    for (uint64_t member = 1; member <= RK_ORIGINS_MAX; member++)
        if (member != 2)
            assert_refused(f, put_from(f, member, 1, 1), MVCC_E_APPLIED_BEFORE);
    fixture_reload(f);
    assert_refused(f, put_from(f, 1, 1, 2), MVCC_E_APPLIED_BEFORE);
    assert_applied(f, put_from(f, 2, 1, 1), ++revision);
}

/* Many members take turns: who is kept where depends on the entries, not on restarts or snapshots. */
static void a_snapshot_and_a_restart_keep_each_origin_where_it_was(void **state)
{
    struct fixture *a = *state, b;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    uint64_t revision = 1;
    for (uint64_t i = 1; i <= 40; i++) {
        assert_applied(a, put_from(a, i * i % 23, 1, i), ++revision);
        if (i % 7 == 0)
            fixture_reopen(a);
    }
    fixture_snapshot(a, 100, &stream);
    fixture_open(&b);
    fixture_install(&b, rk_buf_slice(&stream), 100);
    for (uint64_t i = 1; i <= 30; i++) {
        fixture_assert_same_rows(a, &b);
        assert_applied(a, put_from(a, i * 5 % 29, 1, 40 + i), ++revision);
        assert_applied(&b, put_from(&b, i * 5 % 29, 1, 40 + i), revision);
    }
    for (uint64_t i = 1; i <= 30; i++)
        assert_refused(&b, put_from(&b, i * 5 % 29, 1, 40 + i), MVCC_E_APPLIED_BEFORE);
    fixture_close(&b);
}

static void a_command_that_is_refused_leaves_its_number_free(void **state)
{
    struct fixture *f = *state;
    const struct mvcc_origin origin = {1, 1, 1};
    const struct mvcc_op bad = fixture_put("", "v");
    assert_refused(f, apply(f, mvcc_command_encode(&origin, &bad, 1)), MVCC_E_KEY_EMPTY);
    assert_applied(f, put_from(f, 1, 1, 1), 2);
}

static void duplicates_are_known_after_a_restart_and_on_a_host_that_had_a_snapshot(void **state)
{
    struct fixture *a = *state, b;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    assert_applied(a, put_from(a, 1, 1, 7), 2);
    assert_applied(a, put_from(a, 3, 2, 1), 3);
    fixture_reopen(a);
    assert_refused(a, put_from(a, 1, 1, 7), MVCC_E_APPLIED_BEFORE);
    fixture_snapshot(a, 100, &stream);
    fixture_open(&b);
    fixture_install(&b, rk_buf_slice(&stream), 33);
    fixture_assert_same_rows(a, &b);
    assert_refused(&b, put_from(&b, 1, 1, 7), MVCC_E_APPLIED_BEFORE);
    assert_refused(&b, put_from(&b, 3, 1, 1), MVCC_E_TOO_OLD);
    assert_applied(&b, put_from(&b, 1, 1, 6), 4);
    fixture_close(&b);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static uint64_t last_sequence;

static struct mvcc_origin next_origin(void)
{
    return (struct mvcc_origin){9, 1, ++last_sequence};
}

static enum mvcc_command_outcome change(struct fixture *f, enum mvcc_session_change what, uint64_t session,
                                        uint32_t ms)
{
    const struct mvcc_origin origin = next_origin();
    return apply(f, mvcc_session_encode(&origin, what, session, ms)).outcome;
}

static struct mvcc_answer put_in(struct fixture *f, uint64_t session, uint64_t sequence, const char *value)
{
    const struct mvcc_origin origin = next_origin();
    const struct mvcc_number number = {session, sequence};
    const struct mvcc_op op = fixture_put("k", value);
    return apply(f, mvcc_numbered_encode(&origin, &number, &op, 1));
}

static void a_number_that_comes_again_gets_the_first_answer(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(change(f, MVCC_SESSION_OPEN, 5, RK_SESSION_TTL_MS), MVCC_OK);
    assert_applied(f, put_in(f, 5, 1, "a"), 2);
    assert_applied(f, put_in(f, 5, 2, "b"), 3);
    struct mvcc_answer answer = put_in(f, 5, 1, "a");
    assert_true(answer.outcome == MVCC_OK && answer.revision == 2 && answer.op_count == 1);
    answer = put_in(f, 5, 2, "b");
    assert_true(answer.outcome == MVCC_OK && answer.revision == 3);
    assert_int_equal(fixture_meta(f).revision, 3);
}

static void all_of_the_first_answer_comes_again(void **state)
{
    struct fixture *f = *state;
    const struct mvcc_op ops[4] = {fixture_put("x", "1"), fixture_del("a", "c"), fixture_put("y", "1"),
                                   fixture_del("q", NULL)};
    const struct mvcc_number number = {5, 1};
    struct mvcc_answer answers[2];
    fixture_do_put(f, "a", "1");
    fixture_do_put(f, "b", "1");
    assert_int_equal(change(f, MVCC_SESSION_OPEN, 5, RK_SESSION_TTL_MS), MVCC_OK);
    for (size_t i = 0; i < 2; i++) {
        const struct mvcc_origin origin = next_origin();
        answers[i] = apply(f, mvcc_numbered_encode(&origin, &number, ops, 4));
    }
    assert_memory_equal(&answers[0], &answers[1], sizeof(answers[0]));
    assert_true(answers[1].revision == 4 && answers[1].op_count == 4 && answers[1].deleted[1] == 2);
    assert_int_equal(fixture_meta(f).revision, 4);
}

static void numbers_of_a_session_may_overtake_each_other_within_the_window(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(change(f, MVCC_SESSION_OPEN, 5, RK_SESSION_TTL_MS), MVCC_OK);
    assert_applied(f, put_in(f, 5, 20, "a"), 2);
    assert_applied(f, put_in(f, 5, 20 - RK_SESSION_WINDOW + 1, "b"), 3);
    assert_refused(f, put_in(f, 5, 20 - RK_SESSION_WINDOW, "c"), MVCC_E_SEQUENCE_OLD);
    assert_applied(f, put_in(f, 5, 21, "d"), 4);
    assert_refused(f, put_in(f, 5, 20 - RK_SESSION_WINDOW + 1, "b"), MVCC_E_SEQUENCE_OLD);
    assert_int_equal(put_in(f, 5, 20, "a").revision, 2);
}

static void a_number_belongs_to_one_write(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(change(f, MVCC_SESSION_OPEN, 5, RK_SESSION_TTL_MS), MVCC_OK);
    assert_applied(f, put_in(f, 5, 1, "a"), 2);
    assert_refused(f, put_in(f, 5, 1, "b"), MVCC_E_SEQUENCE_REUSED);
}

static void a_session_that_is_not_there_applies_nothing(void **state)
{
    struct fixture *f = *state;
    assert_refused(f, put_in(f, 5, 1, "a"), MVCC_E_NO_SESSION);
    assert_int_equal(change(f, MVCC_SESSION_END, 5, 0), MVCC_E_NO_SESSION);
    assert_int_equal(change(f, MVCC_SESSION_OPEN, 5, RK_SESSION_TTL_MS), MVCC_OK);
    assert_int_equal(fixture_meta(f).sessions, 1);
    assert_int_equal(change(f, MVCC_SESSION_OPEN, 5, RK_SESSION_TTL_MS), MVCC_E_APPLIED_BEFORE);
    assert_applied(f, put_in(f, 5, 1, "a"), 2);
    assert_int_equal(change(f, MVCC_SESSION_END, 5, 0), MVCC_OK);
    assert_int_equal(fixture_meta(f).sessions, 0);
    assert_refused(f, put_in(f, 5, 2, "a"), MVCC_E_NO_SESSION);
}

static void tick(struct fixture *f, uint32_t ms)
{
    for (; ms > 0; ms -= (uint32_t)rk_min_u64(ms, RK_SESSION_TICK_MS_MAX))
        assert_int_equal(change(f, MVCC_SESSION_TICK, 0, (uint32_t)rk_min_u64(ms, RK_SESSION_TICK_MS_MAX)),
                         MVCC_OK);
}

static void a_session_expires_when_nobody_has_used_it_for_its_time_to_live(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(change(f, MVCC_SESSION_OPEN, 5, 60000), MVCC_OK);
    tick(f, 59999);
    assert_applied(f, put_in(f, 5, 1, "a"), 2); /* used: from here on */
    tick(f, 59999);
    assert_int_equal(put_in(f, 5, 1, "a").revision, 2); /* a repeat is a use, too */
    tick(f, 59999);
    assert_int_equal(fixture_meta(f).sessions, 1);
    tick(f, 1);
    assert_int_equal(fixture_meta(f).sessions, 0);
    assert_refused(f, put_in(f, 5, 1, "a"), MVCC_E_NO_SESSION);
}

static void the_session_used_least_recently_gives_way(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 1; i <= RK_SESSIONS_MAX; i++)
        assert_int_equal(change(f, MVCC_SESSION_OPEN, i, RK_SESSION_TTL_MS), MVCC_OK);
    assert_applied(f, put_in(f, 1, 1, "a"), 2);
    assert_int_equal(change(f, MVCC_SESSION_OPEN, 5000, RK_SESSION_TTL_MS), MVCC_OK);
    assert_int_equal(fixture_meta(f).sessions, RK_SESSIONS_MAX);
    assert_refused(f, put_in(f, 2, 1, "a"), MVCC_E_NO_SESSION);
    assert_applied(f, put_in(f, 1, 2, "a"), 3);
    assert_applied(f, put_in(f, 5000, 1, "a"), 4);
}

static void sessions_survive_a_restart_and_travel_in_a_snapshot(void **state)
{
    struct fixture *a = *state, b;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    fixture_open(&b);
    for (uint64_t i = 1; i <= 900; i++) /* several blocks */
        assert_int_equal(change(a, MVCC_SESSION_OPEN, i * 977 % 1000 + 1, 60000), MVCC_OK);
    tick(a, 30000);
    assert_applied(a, put_in(a, 978, 1, "a"), 2);
    fixture_reopen(a);
    assert_int_equal(fixture_meta(a).sessions, 900);
    assert_int_equal(put_in(a, 978, 1, "a").revision, 2);
    fixture_snapshot(a, 1000, &stream);
    assert_int_equal(fixture_verify(rk_buf_slice(&stream), 1234), 0);
    fixture_install(&b, rk_buf_slice(&stream), 4321);
    fixture_assert_same_rows(a, &b);
    assert_int_equal(put_in(&b, 978, 1, "a").revision, 2);
    tick(&b, 30000); /* its time goes on where it stood */
    assert_int_equal(fixture_meta(&b).sessions, 1);
    fixture_close(&b);
}

/* What came with an install that was given up, or with the state before it, is gone. */
static void an_install_leaves_nothing_of_what_was_there(void **state)
{
    struct fixture *a = *state, b;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0};
    fixture_open(&b);
    assert_applied(a, put_from(a, 1, 1, 1), 2);
    fixture_snapshot(a, 1000, &stream);
    assert_int_equal(change(&b, MVCC_SESSION_OPEN, 8, 60000), MVCC_OK);
    tick(&b, 10);
    assert_applied(&b, put_from(&b, 77, 1, 1), 2);
    fixture_install(&b, rk_buf_slice(&stream), 1000);
    fixture_assert_same_rows(a, &b);
    fixture_reopen(&b);
    fixture_assert_same_rows(a, &b);
    fixture_close(&b);
}

static void a_snapshot_shows_the_sessions_of_its_own_entry(void **state)
{
    struct fixture *a = *state, b, then;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf stream = {0}, at_open = {0};
    struct mvcc_snapshot *snapshot;
    assert_int_equal(change(a, MVCC_SESSION_OPEN, 5, 60000), MVCC_OK);
    assert_applied(a, put_in(a, 5, 1, "a"), 2);
    fixture_snapshot(a, 1000, &at_open);
    assert_int_equal(mvcc_snapshot_open(a->mvcc, 99, &snapshot), 0);
    assert_applied(a, put_in(a, 5, 2, "b"), 3);
    assert_int_equal(change(a, MVCC_SESSION_END, 5, 0), MVCC_OK);
    while (mvcc_snapshot_next(snapshot, 50, &stream) == 0) {}
    mvcc_snapshot_close(snapshot);
    fixture_open(&b);
    fixture_open(&then);
    fixture_install(&b, rk_buf_slice(&stream), 1000);
    fixture_install(&then, rk_buf_slice(&at_open), 1000);
    fixture_assert_same_rows(&b, &then);
    fixture_close(&b);
    fixture_close(&then);
}

/* Any bytes may come with a stream: what no apply can have made is refused, and nothing is read outside. */
static void records_that_no_entry_made_are_refused(void **state)
{
    struct fixture *f = *state;
    struct mvcc_once once;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf good = {0};
    struct rk_random random = {.state = 11};
    assert_int_equal(change(f, MVCC_SESSION_OPEN, 5, 60000), MVCC_OK);
    assert_applied(f, put_in(f, 5, 1, "a"), 2);
    tick(f, 100);
    fixture_snapshot(f, 1000, &good);
    for (unsigned i = 0; i < 3000; i++) {
        struct rk_blob *bad = rk_blob_copy(rk_buf_slice(&good));
        struct mvcc_once_seen seen = {0};
        size_t from = 8 + 1 + 72 + 8 + 1; /* about where the records begin */
        for (unsigned flips = 1 + i % 3; flips > 0; flips--)
            bad->data[rk_random_below(&random, bad->len)] = (uint8_t)rk_random_next(&random);
        struct rk_reader r = rk_reader(rk_slice(bad->data + from + i % 40, bad->len - from - i % 40));
        mvcc_once_init(&once);
        while (rk_reader_left(&r) > 0 && mvcc_once_take_record(&r, &seen, 3, 2, &once) == 0) {}
        mvcc_once_deinit(&once);
        rk_blob_unref(bad);
    }
}

static int take(struct rk_buf *records, uint64_t index, uint64_t revision)
{
    struct rk_reader r = rk_reader(rk_buf_slice(records));
    struct mvcc_once_seen seen = {0};
    int result = 0;
    while (result == 0 && rk_reader_left(&r) > 0)
        result = mvcc_once_take_record(&r, &seen, index, revision, NULL);
    rk_buf_clear(records);
    return result;
}

static void put_session(struct rk_buf *out, uint64_t id, uint64_t deadline_ms, uint64_t last_index,
                        uint64_t revision)
{
    struct mvcc_session session = {
        .id = id, .ttl_ms = 60000, .deadline_ms = deadline_ms, .last_index = last_index, .highest = 17};
    session.answers[17 % RK_SESSION_WINDOW] =
        (struct mvcc_session_answer){.sequence = 17, .revision = revision, .op_count = 1};
    rk_put_u8(out, MVCC_ONCE_SESSION);
    mvcc_session_put(out, &session);
}

static void put_clock(struct rk_buf *out, uint64_t clock_ms)
{
    rk_put_u8(out, MVCC_ONCE_CLOCK);
    rk_put_u64(out, clock_ms);
}

static void records_keep_to_their_order_and_to_the_state_they_come_with(void **state)
{
    (void)state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf b = {0};
    put_clock(&b, 1000);
    put_session(&b, 1, 61000, 9, 8);
    put_session(&b, 2, 1001, 9, 8);
    assert_int_equal(take(&b, 9, 8), 0);
    put_session(&b, 1, 100, 10, 8); /* used after the snapshot's entry */
    assert_int_equal(take(&b, 9, 8), -EBADMSG);
    put_session(&b, 1, 100, 9, 9); /* answered a revision that is not there */
    assert_int_equal(take(&b, 9, 8), -EBADMSG);
    put_session(&b, 1, 60001, 9, 8); /* would live longer than it may */
    assert_int_equal(take(&b, 9, 8), -EBADMSG);
    put_clock(&b, 1000);
    put_session(&b, 1, 1000, 9, 8); /* should have expired */
    assert_int_equal(take(&b, 9, 8), -EBADMSG);
    put_session(&b, 2, 100, 9, 8);
    put_session(&b, 2, 100, 9, 8); /* twice */
    assert_int_equal(take(&b, 9, 8), -EBADMSG);
    put_session(&b, 2, 100, 9, 8);
    put_clock(&b, 1000); /* out of order */
    assert_int_equal(take(&b, 9, 8), -EBADMSG);
    rk_put_u8(&b, 9); /* of a later version */
    assert_int_equal(take(&b, 9, 8), -EBADMSG);
}

/* The same entries in other batches: the same rows, whatever came and went between two commits. */
static void rows_do_not_depend_on_batches(void **state)
{
    struct fixture *a = *state, b;
    fixture_open(&b);
    assert_int_equal(mvcc_begin(b.mvcc), 0);
    for (uint64_t i = 1; i <= 400; i++) {
        const struct mvcc_origin origin = {i * 7 % 100, 1, i / 3};
        const struct mvcc_number number = {i % 13 + 1, i / 4 + 1};
        const struct mvcc_op op = fixture_put("k", "v");
        struct rk_blob *blob = i % 3 == 0 ? mvcc_session_encode(&origin, MVCC_SESSION_OPEN, i % 13 + 1, 20000)
                               : i % 7 == 0  ? mvcc_session_encode(&origin, MVCC_SESSION_END, i % 13 + 1, 0)
                               : i % 11 == 0 ? mvcc_session_encode(&origin, MVCC_SESSION_TICK, 0, 700)
                                             : mvcc_numbered_encode(&origin, &number, &op, 1);
        RK_CLEANUP(rk_buf_deinit) struct rk_buf bytes = {0};
        assert_int_equal(mvcc_apply_command(b.mvcc, ++b.index, FIXTURE_TERM, rk_blob_slice(blob), &bytes), 0);
        (void)apply(a, blob);
        if (i % 37 == 0) {
            assert_int_equal(mvcc_commit(b.mvcc), 0);
            assert_int_equal(mvcc_begin(b.mvcc), 0);
        }
    }
    assert_int_equal(mvcc_commit(b.mvcc), 0);
    fixture_assert_same_rows(a, &b);
    fixture_close(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_proposal_is_applied_once),
        TEST(proposals_of_one_member_may_overtake_each_other),
        TEST(what_is_behind_the_window_is_refused),
        TEST(a_new_incarnation_ends_the_old_one),
        TEST(the_origin_that_was_silent_for_longest_is_forgotten_when_there_are_too_many),
        TEST(a_snapshot_and_a_restart_keep_each_origin_where_it_was),
        TEST(a_command_that_is_refused_leaves_its_number_free),
        TEST(duplicates_are_known_after_a_restart_and_on_a_host_that_had_a_snapshot),
        TEST(a_number_that_comes_again_gets_the_first_answer),
        TEST(all_of_the_first_answer_comes_again),
        TEST(numbers_of_a_session_may_overtake_each_other_within_the_window),
        TEST(a_number_belongs_to_one_write),
        TEST(a_session_that_is_not_there_applies_nothing),
        TEST(a_session_expires_when_nobody_has_used_it_for_its_time_to_live),
        TEST(the_session_used_least_recently_gives_way),
        TEST(sessions_survive_a_restart_and_travel_in_a_snapshot),
        TEST(an_install_leaves_nothing_of_what_was_there),
        TEST(a_snapshot_shows_the_sessions_of_its_own_entry),
        TEST(records_that_no_entry_made_are_refused),
        TEST(records_keep_to_their_order_and_to_the_state_they_come_with),
        TEST(rows_do_not_depend_on_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
