/* tests/unit/test_node_members.c - the members' list and its bytes, which may come from a peer. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/rk_wire.h"
#include "lib/node/node_members.h"

static struct node_member member(uint64_t id, const char *name)
{
    struct node_member m = {.id = id, .role = RAFT_VOTER};

    snprintf(m.name, sizeof(m.name), "%s", name);
    snprintf(m.peer_address, sizeof(m.peer_address), "%s:2380", name);
    snprintf(m.client_url, sizeof(m.client_url), "https://%s:2379", name);
    return m;
}

static struct node_members *three(void)
{
    struct node_members *members = RK_NEW(struct node_members);
    struct node_member a = member(30, "c"), b = member(10, "a"), c = member(20, "b");

    c.role = RAFT_LEARNER;
    c.promote = true;
    assert_int_equal(node_members_add(members, &a), 0);
    assert_int_equal(node_members_add(members, &b), 0);
    assert_int_equal(node_members_add(members, &c), 0);
    members->removed[0] = 7;
    members->removed[1] = 5;
    members->removed_count = 2;
    return members;
}

static int decode(struct rk_slice bytes, struct node_members *ret)
{
    uint8_t *copy = bytes.len > 0 ? memcpy(malloc(bytes.len), bytes.data, bytes.len) : NULL; /* exact size */
    int r = node_members_decode(rk_slice(copy, bytes.len), ret);

    free(copy);
    return r;
}

static void what_is_encoded_is_decoded(void **state)
{
    struct node_members *members = three(), *back = RK_NEW(struct node_members);
    struct rk_blob *bytes = node_members_encode(members);

    (void)state;
    assert_int_equal(decode(rk_blob_slice(bytes), back), 0);
    assert_int_equal(back->count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(back->member[i].id, members->member[i].id);
        assert_int_equal(back->member[i].role, members->member[i].role);
        assert_int_equal(back->member[i].promote, members->member[i].promote);
        assert_string_equal(back->member[i].name, members->member[i].name);
        assert_string_equal(back->member[i].peer_address, members->member[i].peer_address);
        assert_string_equal(back->member[i].client_url, members->member[i].client_url);
    }
    assert_int_equal(back->removed_count, 2);
    assert_int_equal(back->removed[0], 7);
    assert_int_equal(back->removed[1], 5);
    rk_blob_unref(bytes);
    free(members);
    free(back);
}

static void every_truncation_and_every_tail_is_refused(void **state)
{
    struct node_members *members = three(), *back = RK_NEW(struct node_members);
    struct rk_blob *bytes = node_members_encode(members);
    struct rk_buf longer = {0};

    (void)state;
    for (size_t len = 0; len < bytes->len; len++)
        assert_int_equal(decode(rk_slice(bytes->data, len), back), -EBADMSG);
    rk_buf_append_slice(&longer, rk_blob_slice(bytes));
    rk_put_u8(&longer, 0);
    assert_int_equal(decode(rk_buf_slice(&longer), back), -EBADMSG);
    assert_int_equal(back->count, 0); /* untouched */
    rk_buf_deinit(&longer);
    rk_blob_unref(bytes);
    free(members);
    free(back);
}

static void one_changed_byte_never_breaks_the_decoder(void **state)
{
    struct node_members *members = three(), *back = RK_NEW(struct node_members);
    struct rk_blob *bytes = node_members_encode(members);

    (void)state;
    for (size_t at = 0; at < bytes->len; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes->data[at] ^= (uint8_t)(1u << bit);
            if (decode(rk_blob_slice(bytes), back) == 0)
                assert_true(back->count <= RK_MEMBERS_MAX && back->removed_count <= RK_TOMBSTONES_MAX);
            bytes->data[at] ^= (uint8_t)(1u << bit);
        }
    rk_blob_unref(bytes);
    free(members);
    free(back);
}

/* ---- hostile content ------------------------------------------------------------------- */

struct raw {
    uint64_t id;
    uint8_t role, flags;
    const char *name;
    size_t name_len;
    uint8_t priority;
    uint64_t replaces;
};

static void put_raw(struct rk_buf *out, const struct raw *raw)
{
    rk_put_u64(out, raw->id);
    rk_put_u8(out, raw->role);
    rk_put_u8(out, raw->flags);
    rk_put_u8(out, raw->priority);
    rk_put_u64(out, raw->replaces);
    rk_put_block(out, rk_slice(raw->name, raw->name_len));
    rk_put_block(out, rk_slice_str("h:1"));
    rk_put_block(out, rk_slice_str(""));
}

static int decode_raw(uint8_t format, uint32_t count, const struct raw *raw, size_t raws, uint32_t removed)
{
    struct node_members *back = RK_NEW(struct node_members);
    struct rk_buf out = {0};
    int r;

    rk_put_u8(&out, format);
    rk_put_u32(&out, count);
    for (size_t i = 0; i < raws; i++)
        put_raw(&out, &raw[i]);
    rk_put_u32(&out, removed);
    for (uint32_t i = 0; i < removed && i <= RK_TOMBSTONES_MAX; i++)
        rk_put_u64(&out, i + 1);
    r = decode(rk_buf_slice(&out), back);
    rk_buf_deinit(&out);
    free(back);
    return r;
}

static int decode_one(uint64_t id, uint8_t role, uint8_t flags, const char *name, size_t len)
{
    struct raw raw = {.id = id, .role = role, .flags = flags, .name = name, .name_len = len};

    return decode_raw(2, 1, &raw, 1, 0);
}

static void counts_beyond_the_limits_are_refused(void **state)
{
    struct raw raws[RK_MEMBERS_MAX + 1];

    (void)state;
    for (uint32_t i = 0; i <= RK_MEMBERS_MAX; i++)
        raws[i] = (struct raw){i + 1, RAFT_VOTER, 0, "n", 1, 0, 0};
    assert_int_equal(decode_raw(2, RK_MEMBERS_MAX, raws, RK_MEMBERS_MAX, RK_TOMBSTONES_MAX), 0);
    assert_int_equal(decode_raw(2, RK_MEMBERS_MAX + 1, raws, RK_MEMBERS_MAX + 1, 0), -EBADMSG);
    assert_int_equal(decode_raw(2, UINT32_MAX, raws, 1, 0), -EBADMSG);
    assert_int_equal(decode_raw(2, 1, raws, 1, RK_TOMBSTONES_MAX + 1), -EBADMSG);
    assert_int_equal(decode_raw(2, 1, raws, 1, UINT32_MAX), -EBADMSG);
    assert_int_equal(decode_raw(3, 1, raws, 1, 0), -EBADMSG); /* a later format */
}

static void ids_out_of_order_or_twice_are_refused(void **state)
{
    struct raw down[] = {{9, RAFT_VOTER, 0, "a", 1, 0, 0}, {8, RAFT_VOTER, 0, "b", 1, 0, 0}};
    struct raw twice[] = {{9, RAFT_VOTER, 0, "a", 1, 0, 0}, {9, RAFT_VOTER, 0, "b", 1, 0, 0}};

    (void)state;
    assert_int_equal(decode_raw(2, 2, down, 2, 0), -EBADMSG);
    assert_int_equal(decode_raw(2, 2, twice, 2, 0), -EBADMSG);
    assert_int_equal(decode_one(0, RAFT_VOTER, 0, "a", 1), -EBADMSG);
}

static void priorities_and_plans_that_make_no_sense_are_refused(void **state)
{
    struct raw good = {1, RAFT_LEARNER, 1, "a", 1, NODE_PRIORITY_MAX, 9};
    struct raw high = {1, RAFT_VOTER, 0, "a", 1, NODE_PRIORITY_MAX + 1, 0};
    struct raw voter = {1, RAFT_VOTER, 0, "a", 1, 50, 9};

    (void)state;
    assert_int_equal(decode_raw(2, 1, &good, 1, 0), 0);
    assert_int_equal(decode_raw(2, 1, &high, 1, 0), -EBADMSG);
    assert_int_equal(decode_raw(2, 1, &voter, 1, 0), -EBADMSG); /* only a learner takes a place */
}

static void unknown_roles_flags_and_texts_are_refused(void **state)
{
    char longest[RK_NAME_BYTES_MAX + 1];

    (void)state;
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(decode_one(1, RAFT_LEARNER, 1, "a", 1), 0);
    assert_int_equal(decode_one(1, RAFT_VOTER, 0, longest, RK_NAME_BYTES_MAX), 0);
    assert_int_equal(decode_one(1, RAFT_VOTER, 0, longest, RK_NAME_BYTES_MAX + 1), -EBADMSG);
    assert_int_equal(decode_one(1, 0, 0, "a", 1), -EBADMSG);
    assert_int_equal(decode_one(1, RAFT_LEAVING, 2, "a", 1), 0);
    assert_int_equal(decode_one(1, RAFT_LEAVING, 0, "a", 1), -EBADMSG); /* leaves, and has no vote */
    assert_int_equal(decode_one(1, 4, 2, "a", 1), -EBADMSG);
    assert_int_equal(decode_one(1, RAFT_VOTER, 4, "a", 1), -EBADMSG);
    assert_int_equal(decode_one(1, RAFT_VOTER, 0, "", 0), -EBADMSG);
    assert_int_equal(decode_one(1, RAFT_VOTER, 0, "a\nb", 3), -EBADMSG);
    assert_int_equal(decode_one(1, RAFT_VOTER, 0, "a\0b", 3), -EBADMSG);
    assert_int_equal(decode_one(1, RAFT_VOTER, 0, "a\x7f", 2), -EBADMSG);
    assert_int_equal(decode_one(1, RAFT_VOTER, 0, "\x1b[2J", 4), -EBADMSG);
}

static void one_member_travels_alone(void **state)
{
    struct node_member m = member(42, "solo"), back = {0};
    struct rk_blob *bytes;

    (void)state;
    m.role = RAFT_LEARNER;
    m.promote = true;
    bytes = node_member_encode(&m);
    assert_int_equal(node_member_decode(rk_blob_slice(bytes), &back), 0);
    assert_memory_equal(&back, &m, sizeof(m));
    for (size_t len = 0; len < bytes->len; len++)
        assert_int_equal(node_member_decode(rk_slice(bytes->data, len), &back), -EBADMSG);
    rk_blob_unref(bytes);
}

/* ---- the list ---------------------------------------------------------------------------- */

static void members_stay_in_order_of_id(void **state)
{
    struct node_members *members = three();
    struct raft_members core;

    (void)state;
    assert_int_equal(members->member[0].id, 10);
    assert_int_equal(members->member[1].id, 20);
    assert_int_equal(members->member[2].id, 30);
    node_members_to_raft(members, &core);
    assert_int_equal(core.count, 3);
    assert_int_equal(core.member[1].id, 20);
    assert_int_equal(core.member[1].role, RAFT_LEARNER);
    assert_string_equal(node_members_find(members, 20)->name, "b");
    assert_int_equal(node_members_find_name(members, "c")->id, 30);
    assert_null(node_members_find(members, 11));
    assert_null(node_members_find_name(members, "C"));
    node_members_get(members, 20)->role = RAFT_VOTER;
    assert_int_equal(node_members_find(members, 20)->role, RAFT_VOTER);
    assert_null(node_members_get(members, 21));
    free(members);
}

/* Who leaves is in the joint configuration, without a tombstone, and buried when it ends. */
static void a_joint_configuration_goes_on_to_the_next(void **state)
{
    struct node_members *old = RK_NEW(struct node_members), *next = three(), *joint = three();
    struct raft_members core, from;
    struct node_member d = member(40, "d");

    (void)state;
    *old = *next;
    old->removed_count = next->removed_count = 1;
    old->removed[0] = next->removed[0] = 7;
    node_members_remove(next, 10);
    node_members_remove(next, 30);
    node_members_get(next, 20)->role = RAFT_VOTER;
    assert_int_equal(node_members_add(next, &d), 0);
    assert_int_equal(node_members_join(old, next, joint), 0);
    node_members_to_raft(old, &from);
    node_members_to_raft(joint, &core);
    assert_true(raft_members_joint(&core) && raft_members_step_ok(&from, &core));
    assert_int_equal(joint->count, 4);
    assert_int_equal(joint->removed_count, 1);
    assert_int_equal(node_members_find(joint, 10)->role, RAFT_LEAVING);
    node_members_settle(joint);
    node_members_to_raft(joint, &core);
    node_members_to_raft(next, &from);
    assert_true(raft_members_equal(&core, &from));
    assert_true(node_members_was_removed(joint, 10) && node_members_was_removed(joint, 30) &&
                node_members_was_removed(joint, 7) && !node_members_was_removed(joint, 20));
    free(old);
    free(next);
    free(joint);
}

static void a_plan_is_forgotten_with_whom_it_replaces(void **state)
{
    struct node_members *members = three();

    (void)state;
    assert_false(node_members_has_plan(members));
    assert_false(node_members_forget_plan(members));
    node_members_get(members, 20)->replaces = 10;
    node_members_get(members, 20)->promote = true;
    assert_true(node_members_has_plan(members));
    node_members_remove(members, 10);
    assert_false(node_members_has_plan(members)); /* it is promoted like any other */
    assert_true(node_members_find(members, 20)->promote);
    node_members_get(members, 20)->replaces = 30;
    assert_true(node_members_forget_plan(members));
    assert_false(node_members_has_plan(members) || node_members_find(members, 20)->promote);
    free(members);
}

static void an_id_is_added_once_and_a_full_list_takes_none(void **state)
{
    struct node_members *members = RK_NEW(struct node_members);

    (void)state;
    for (uint64_t id = 1; id <= RK_MEMBERS_MAX; id++) {
        struct node_member m = member(id * 2, "n");
        assert_int_equal(node_members_add(members, &m), 0);
        assert_int_equal(node_members_add(members, &m), -EEXIST);
    }
    struct node_member more = member(3, "more");
    assert_int_equal(node_members_add(members, &more), -ENOSPC);
    assert_int_equal(members->count, RK_MEMBERS_MAX);
    free(members);
}

static void a_removed_member_leaves_a_tombstone(void **state)
{
    struct node_members *members = three();

    (void)state;
    assert_false(node_members_remove(members, 99));
    assert_true(node_members_remove(members, 10));
    assert_int_equal(members->count, 2);
    assert_int_equal(members->member[0].id, 20);
    assert_true(node_members_was_removed(members, 10));
    assert_false(node_members_was_removed(members, 20));
    assert_false(node_members_remove(members, 10));
    assert_int_equal(members->removed_count, 3);
    free(members);
}

static void the_oldest_tombstones_are_forgotten_first(void **state)
{
    struct node_members *members = RK_NEW(struct node_members);

    (void)state;
    for (uint64_t id = 1; id <= RK_TOMBSTONES_MAX + 2; id++) {
        struct node_member m = member(id, "n");
        assert_int_equal(node_members_add(members, &m), 0);
        assert_true(node_members_remove(members, id));
    }
    assert_int_equal(members->removed_count, RK_TOMBSTONES_MAX);
    assert_false(node_members_was_removed(members, 1));
    assert_false(node_members_was_removed(members, 2));
    assert_true(node_members_was_removed(members, 3));
    assert_true(node_members_was_removed(members, RK_TOMBSTONES_MAX + 2));
    free(members);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(every_truncation_and_every_tail_is_refused),
        cmocka_unit_test(one_changed_byte_never_breaks_the_decoder),
        cmocka_unit_test(counts_beyond_the_limits_are_refused),
        cmocka_unit_test(ids_out_of_order_or_twice_are_refused),
        cmocka_unit_test(priorities_and_plans_that_make_no_sense_are_refused),
        cmocka_unit_test(a_joint_configuration_goes_on_to_the_next),
        cmocka_unit_test(a_plan_is_forgotten_with_whom_it_replaces),
        cmocka_unit_test(unknown_roles_flags_and_texts_are_refused),
        cmocka_unit_test(one_member_travels_alone),
        cmocka_unit_test(members_stay_in_order_of_id),
        cmocka_unit_test(an_id_is_added_once_and_a_full_list_takes_none),
        cmocka_unit_test(a_removed_member_leaves_a_tombstone),
        cmocka_unit_test(the_oldest_tombstones_are_forgotten_first),
    };

    return cmocka_run_group_tests_name("node_members", tests, NULL, NULL);
}
