/* tests/unit/test_node_configs.c - which configuration is in force. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/node/node_internal.h"

/* A configuration that can be told from others by its number of members. */
static void append(struct node_group *group, uint64_t index, uint32_t count)
{
    struct node_members *members = RK_NEW(struct node_members);

    for (uint32_t i = 0; i < count; i++) {
        struct node_member m = {.id = i + 1, .role = RAFT_VOTER};
        snprintf(m.name, sizeof(m.name), "node%u", i + 1);
        assert_int_equal(node_members_add(members, &m), 0);
    }
    node_configs_append(group, index, members);
    free(members);
}

static int setup(void **state)
{
    struct node_group *group = RK_NEW(struct node_group);

    rk_list_init(&group->configs);
    append(group, 1, 1);
    append(group, 5, 2);
    append(group, 9, 3);
    *state = group;
    return 0;
}

static int teardown(void **state)
{
    node_configs_clear(*state);
    free(*state);
    return 0;
}

static void in_force(struct node_group *group, uint64_t index, uint32_t count)
{
    assert_int_equal(node_members_now_index(group), index);
    assert_int_equal(node_members_now(group)->count, count);
}

static void the_last_one_in_the_log_is_in_force(void **state)
{
    in_force(*state, 9, 3);
}

static void truncation_brings_the_one_before_back(void **state)
{
    struct node_group *group = *state;

    node_configs_truncate(group, 10);
    in_force(group, 9, 3);
    node_configs_truncate(group, 9);
    in_force(group, 5, 2);
    node_configs_truncate(group, 2);
    in_force(group, 1, 1);
    node_configs_truncate(group, 1); /* the first is of the rows: no truncation reaches it */
    in_force(group, 1, 1);
}

static void what_is_applied_makes_older_ones_superfluous(void **state)
{
    struct node_group *group = *state;

    assert_false(node_configs_prune(group, 4));
    assert_true(node_configs_prune(group, 5));
    assert_int_equal(RK_LIST_ITEM(group->configs.next, struct node_config_entry, link)->index, 5);
    in_force(group, 9, 3);
    assert_true(node_configs_prune(group, 100));
    assert_false(node_configs_prune(group, 100));
    assert_true(group->configs.next == group->configs.prev);
    in_force(group, 9, 3);
    node_configs_truncate(group, 2);
    in_force(group, 9, 3);
}

static void a_snapshot_replaces_those_up_to_its_index(void **state)
{
    struct node_group *group = *state;
    struct node_members *members = RK_NEW(struct node_members);

    node_configs_replace(group, 7, 6, members); /* the log goes on behind it, with the one of entry 9 */
    in_force(group, 9, 3);
    node_configs_truncate(group, 8);
    in_force(group, 6, 0);
    node_configs_replace(group, UINT64_MAX, 20, members); /* the log starts again */
    in_force(group, 20, 0);
    assert_true(group->configs.next == group->configs.prev);
    free(members);
}

static struct node_directory announced;

static void take_directory(void *userdata, const struct node_directory *directory)
{
    (void)userdata;
    announced = *directory;
}

static void a_removal_is_told_once_it_is_applied(void **state)
{
    struct node *node = RK_NEW(struct node);
    struct node_members *members = RK_NEW(struct node_members);

    (void)state;
    node->transport.set_directory = take_directory;
    node->identity.member_id = 1;
    rk_list_init(&node->group.configs);
    append(&node->group, 1, 3);
    *members = *node_members_now(&node->group);
    node_members_remove(members, 2);
    node_configs_append(&node->group, 5, members);
    node_announce_members(node);
    assert_int_equal(announced.removed_count, 0); /* a later leader may undo it */
    assert_int_equal(announced.peer_count, 2);
    assert_true(node_configs_prune(&node->group, 5));
    node_announce_members(node);
    assert_int_equal(announced.removed_count, 1);
    assert_int_equal(announced.removed[0], 2);
    assert_int_equal(announced.peer_count, 1);
    node_configs_clear(&node->group);
    free(members);
    free(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_one_in_the_log_is_in_force, setup, teardown),
        cmocka_unit_test_setup_teardown(truncation_brings_the_one_before_back, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_applied_makes_older_ones_superfluous, setup, teardown),
        cmocka_unit_test(a_removal_is_told_once_it_is_applied),
        cmocka_unit_test_setup_teardown(a_snapshot_replaces_those_up_to_its_index, setup, teardown),
    };

    return cmocka_run_group_tests_name("node_configs", tests, NULL, NULL);
}
