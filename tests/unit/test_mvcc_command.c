/* tests/unit/test_mvcc_command.c - commands and answers: what is taken, what is refused, and that hostile
 * bytes are. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/base/rk_random.h"
#include "lib/mvcc/mvcc_command.h"

static uint8_t big[RK_REQUEST_BYTES_MAX + 1];

static struct mvcc_op put(const char *key, const char *value)
{
    return (struct mvcc_op){.kind = MVCC_OP_PUT, .key = rk_slice_str(key), .value = rk_slice_str(value)};
}

static struct mvcc_op del(const char *key, const char *end)
{
    return (struct mvcc_op){.kind = MVCC_OP_DELETE, .key = rk_slice_str(key), .end = rk_slice_str(end)};
}

static void keys_have_one_byte_at_least_and_no_more_than_the_limit(void **state)
{
    (void)state;
    struct mvcc_op op = put("", "v");
    assert_int_equal(mvcc_command_check(&op, 1), MVCC_E_KEY_EMPTY);
    op = del("", "z");
    assert_int_equal(mvcc_command_check(&op, 1), MVCC_E_KEY_EMPTY);
    op = put("k", "");
    op.key = rk_slice(big, RK_KEY_BYTES_MAX);
    assert_int_equal(mvcc_command_check(&op, 1), MVCC_OK);
    op.key.len++;
    assert_int_equal(mvcc_command_check(&op, 1), MVCC_E_KEY_TOO_LONG);
    op = del("k", "");
    op.end = rk_slice(big, RK_KEY_BYTES_MAX + 1);
    assert_int_equal(mvcc_command_check(&op, 1), MVCC_E_KEY_TOO_LONG);
}

static void a_command_is_as_large_as_a_request_at_most_and_then_fits_an_entry(void **state)
{
    (void)state;
    const struct mvcc_origin origin = {1, 2, 3};
    struct mvcc_op ops[RK_TXN_OPS_MAX];
    uint8_t key_bytes[RK_TXN_OPS_MAX];
    for (unsigned i = 0; i < RK_TXN_OPS_MAX; i++) {
        key_bytes[i] = (uint8_t)i;
        ops[i] = (struct mvcc_op){.kind = MVCC_OP_PUT, .key = rk_slice(&key_bytes[i], 1)};
        ops[i].value = rk_slice(big, RK_REQUEST_BYTES_MAX / RK_TXN_OPS_MAX - 1);
    }
    assert_int_equal(mvcc_command_check(ops, RK_TXN_OPS_MAX), MVCC_OK);
    struct rk_blob *blob = mvcc_command_encode(&origin, ops, RK_TXN_OPS_MAX);
    assert_true(blob->len <= RK_COMMAND_BYTES_MAX);
    rk_blob_unref(blob);
    ops[0].value.len++;
    assert_int_equal(mvcc_command_check(ops, RK_TXN_OPS_MAX), MVCC_E_TOO_LARGE);
    ops[0].value.len = SIZE_MAX; /* sums must not wrap */
    assert_int_equal(mvcc_command_check(ops, RK_TXN_OPS_MAX), MVCC_E_TOO_LARGE);
}

static void operations_are_counted(void **state)
{
    (void)state;
    struct mvcc_op ops[RK_TXN_OPS_MAX + 1];
    for (unsigned i = 0; i <= RK_TXN_OPS_MAX; i++)
        ops[i] = del("k", "");
    assert_int_equal(mvcc_command_check(ops, 0), MVCC_E_NO_OPS);
    assert_int_equal(mvcc_command_check(ops, RK_TXN_OPS_MAX), MVCC_OK);
    assert_int_equal(mvcc_command_check(ops, RK_TXN_OPS_MAX + 1), MVCC_E_TOO_MANY_OPS);
    ops[0].kind = (enum mvcc_op_kind)9;
    assert_int_equal(mvcc_command_check(ops, 1), MVCC_E_MALFORMED);
}

static void assert_pair(struct mvcc_op a, struct mvcc_op b, enum mvcc_command_outcome expected)
{
    const struct mvcc_op ab[2] = {a, b}, ba[2] = {b, a};
    assert_int_equal(mvcc_command_check(ab, 2), expected);
    assert_int_equal(mvcc_command_check(ba, 2), expected);
}

static void a_key_is_put_once_and_not_deleted_too(void **state)
{
    (void)state;
    struct mvcc_op all = del("b", "");
    all.end = rk_slice("\0", 1);
    assert_pair(put("a", "1"), put("b", "1"), MVCC_OK);
    assert_pair(put("a", "1"), put("a", "2"), MVCC_E_DUPLICATE_KEY);
    assert_pair(put("a", "1"), del("a", ""), MVCC_E_DUPLICATE_KEY);
    assert_pair(put("b", "1"), del("a", "c"), MVCC_E_DUPLICATE_KEY);
    assert_pair(put("a", "1"), del("a", "c"), MVCC_E_DUPLICATE_KEY);
    assert_pair(put("c", "1"), del("a", "c"), MVCC_OK);
    assert_pair(put("c", "1"), all, MVCC_E_DUPLICATE_KEY);
    assert_pair(put("a", "1"), all, MVCC_OK);
    assert_pair(del("a", "c"), del("b", ""), MVCC_OK);
}

static struct rk_blob *example(void)
{
    const struct mvcc_origin origin = {11, 22, 33};
    struct mvcc_op ops[3] = {put("key", "value"), del("from", "to"), del("one", "")};
    ops[0].lease = 44;
    return mvcc_command_encode(&origin, ops, 3);
}

static void commands_come_back_with_their_origin(void **state)
{
    (void)state;
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *blob = example();
    struct mvcc_command command;
    assert_int_equal(mvcc_command_decode(rk_blob_slice(blob), &command), 0);
    assert_true(command.origin.member == 11 && command.origin.incarnation == 22 &&
                command.origin.sequence == 33);
    assert_int_equal(command.count, 3);
    assert_true(command.ops[0].kind == MVCC_OP_PUT && command.ops[0].lease == 44);
    assert_true(rk_slice_eq_str(command.ops[0].key, "key") && rk_slice_eq_str(command.ops[0].value, "value"));
    assert_true(command.ops[1].kind == MVCC_OP_DELETE && rk_slice_eq_str(command.ops[1].end, "to"));
    assert_true(rk_slice_eq_str(command.ops[2].key, "one") && command.ops[2].end.len == 0);
}

static void a_numbered_write_carries_its_session(void **state)
{
    (void)state;
    const struct mvcc_origin origin = {11, 22, 33}, again = {12, 1, 1};
    const struct mvcc_number number = {.session = 7, .sequence = 8}, bad = {.session = 7, .sequence = 0};
    const struct mvcc_op op = put("key", "value"), other = put("key", "valuf");
    struct rk_blob *blobs[] = {
        mvcc_numbered_encode(&origin, &number, &op, 1), mvcc_numbered_encode(&again, &number, &op, 1),
        mvcc_numbered_encode(&origin, &number, &other, 1), mvcc_numbered_encode(&origin, &bad, &op, 1)};
    struct mvcc_command commands[3], command;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(mvcc_command_decode(rk_blob_slice(blobs[i]), &commands[i]), 0);
    assert_true(commands[0].number.session == 7 && commands[0].number.sequence == 8);
    assert_true(commands[0].count == 1 && rk_slice_eq_str(commands[0].ops[0].value, "value"));
    /* Who proposed it does not count; what it asks for does. */
    assert_int_equal(commands[0].fingerprint, commands[1].fingerprint);
    assert_int_not_equal(commands[0].fingerprint, commands[2].fingerprint);
    assert_int_equal(mvcc_command_decode(rk_blob_slice(blobs[3]), &command), -EBADMSG);
    for (size_t i = 0; i < 4; i++)
        rk_blob_unref(blobs[i]);
}

static int decode_session(enum mvcc_session_change change, uint64_t session, uint32_t ms)
{
    const struct mvcc_origin origin = {11, 22, 33};
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *blob = mvcc_session_encode(&origin, change, session, ms);
    struct mvcc_command command;
    int r = mvcc_command_decode(rk_blob_slice(blob), &command);
    if (r == 0)
        assert_true(command.change == change && command.number.session == session && command.ms == ms &&
                    command.count == 0);
    assert_int_equal(mvcc_command_only_deletes(rk_blob_slice(blob)), r == 0 && change != MVCC_SESSION_OPEN);
    return r;
}

static void changes_of_sessions_keep_to_their_limits(void **state)
{
    (void)state;
    assert_int_equal(decode_session(MVCC_SESSION_OPEN, 5, RK_SESSION_TTL_MS_MIN), 0);
    assert_int_equal(decode_session(MVCC_SESSION_OPEN, 5, RK_SESSION_TTL_MS_MAX), 0);
    assert_int_equal(decode_session(MVCC_SESSION_OPEN, 5, RK_SESSION_TTL_MS_MIN - 1), -EBADMSG);
    assert_int_equal(decode_session(MVCC_SESSION_OPEN, 5, RK_SESSION_TTL_MS_MAX + 1), -EBADMSG);
    assert_int_equal(decode_session(MVCC_SESSION_OPEN, 0, RK_SESSION_TTL_MS), -EBADMSG);
    assert_int_equal(decode_session(MVCC_SESSION_END, 5, 0), 0);
    assert_int_equal(decode_session(MVCC_SESSION_END, 5, 1), -EBADMSG);
    assert_int_equal(decode_session(MVCC_SESSION_TICK, 0, RK_SESSION_TICK_MS_MAX), 0);
    assert_int_equal(decode_session(MVCC_SESSION_TICK, 0, RK_SESSION_TICK_MS_MAX + 1), -EBADMSG);
    assert_int_equal(decode_session(MVCC_SESSION_TICK, 5, 0), -EBADMSG);
    assert_int_equal(decode_session((enum mvcc_session_change)4, 5, 0), -EBADMSG);
}

static void a_cut_or_longer_command_is_refused(void **state)
{
    (void)state;
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *blob = example();
    struct mvcc_command command;
    for (size_t len = 0; len < blob->len; len++) {
        struct rk_blob *cut =
            rk_blob_copy(rk_slice(blob->data, len)); /* so that a sanitizer sees a read behind it */
        assert_int_equal(mvcc_command_decode(rk_blob_slice(cut), &command), -EBADMSG);
        rk_blob_unref(cut);
    }
    struct rk_blob *longer = rk_blob_new(blob->len + 1);
    memcpy(longer->data, blob->data, blob->len);
    longer->data[blob->len] = 0;
    assert_int_equal(mvcc_command_decode(rk_blob_slice(longer), &command), -EBADMSG);
    rk_blob_unref(longer);
}

static void a_later_version_and_too_many_operations_are_refused(void **state)
{
    (void)state;
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *blob = example();
    struct mvcc_command command;
    blob->data[0] = 3;
    assert_int_equal(mvcc_command_decode(rk_blob_slice(blob), &command), -EBADMSG);
    blob->data[0] = 2;
    assert_int_equal(mvcc_command_decode(rk_blob_slice(blob), &command), 0);
    rk_store_u32(blob->data + 26, RK_TXN_OPS_MAX + 1);
    assert_int_equal(mvcc_command_decode(rk_blob_slice(blob), &command), -EBADMSG);
    rk_store_u32(blob->data + 26, UINT32_MAX);
    assert_int_equal(mvcc_command_decode(rk_blob_slice(blob), &command), -EBADMSG);
}

static void damaged_bytes_never_lead_outside_the_payload(void **state)
{
    (void)state;
    RK_CLEANUP(rk_blob_unrefp) struct rk_blob *blob = example();
    struct rk_random random = {.state = 5};
    for (unsigned i = 0; i < 20000; i++) {
        struct rk_blob *bad = rk_blob_copy(rk_blob_slice(blob));
        for (unsigned flips = 1 + i % 3; flips > 0; flips--)
            bad->data[rk_random_below(&random, bad->len)] = (uint8_t)rk_random_next(&random);
        struct mvcc_command command;
        if (mvcc_command_decode(rk_blob_slice(bad), &command) == 0)
            (void)mvcc_command_check(command.ops, command.count);
        rk_blob_unref(bad);
    }
}

static void answers_come_back_and_damage_is_refused(void **state)
{
    (void)state;
    RK_CLEANUP(rk_buf_deinit) struct rk_buf buf = {0};
    struct mvcc_answer in = {.outcome = MVCC_OK, .revision = 1ull << 50, .op_count = 3, .deleted = {0, 5, 1}},
                       out;
    mvcc_answer_encode(&in, &buf);
    assert_int_equal(mvcc_answer_decode(rk_buf_slice(&buf), &out), 0);
    assert_memory_equal(&in, &out, sizeof(in));
    for (size_t len = 0; len < buf.len; len++)
        assert_int_equal(mvcc_answer_decode(rk_slice(buf.data, len), &out), -EBADMSG);
    rk_store_u32(buf.data + 10, UINT32_MAX);
    assert_int_equal(mvcc_answer_decode(rk_buf_slice(&buf), &out), -EBADMSG);
    rk_store_u32(buf.data + 10, 3);
    buf.data[1] = 200;
    assert_int_equal(mvcc_answer_decode(rk_buf_slice(&buf), &out), -EBADMSG);
}

static void every_outcome_has_a_sentence(void **state)
{
    (void)state;
    for (int outcome = MVCC_OK; outcome <= MVCC_E_SEQUENCE_REUSED + 1; outcome++) {
        const char *text = mvcc_outcome_text((enum mvcc_command_outcome)outcome);
        assert_true(strlen(text) > 10 && text[strlen(text) - 1] != '.');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_have_one_byte_at_least_and_no_more_than_the_limit),
        cmocka_unit_test(a_command_is_as_large_as_a_request_at_most_and_then_fits_an_entry),
        cmocka_unit_test(operations_are_counted),
        cmocka_unit_test(a_key_is_put_once_and_not_deleted_too),
        cmocka_unit_test(commands_come_back_with_their_origin),
        cmocka_unit_test(a_numbered_write_carries_its_session),
        cmocka_unit_test(changes_of_sessions_keep_to_their_limits),
        cmocka_unit_test(a_cut_or_longer_command_is_refused),
        cmocka_unit_test(a_later_version_and_too_many_operations_are_refused),
        cmocka_unit_test(damaged_bytes_never_lead_outside_the_payload),
        cmocka_unit_test(answers_come_back_and_damage_is_refused),
        cmocka_unit_test(every_outcome_has_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
