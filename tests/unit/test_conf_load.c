/* Reading the file: what is taken over, and how mistakes are told. */
#include "config.h"

#include "tests/unit/conf_test.h"

#include <errno.h>
#include <unistd.h>

static void test_an_empty_file_gives_the_defaults(void **state)
{
    (void)state;
    struct conf conf;
    accept(NAMED, &conf);
    assert_string_equal(conf.name, "n1");
    assert_string_equal(conf.data_directory, "/var/lib/raftkv");
    assert_string_equal(conf.peer.listen, "*:2380");
    assert_string_equal(conf.client.listen, "*:2379");
    assert_string_equal(conf.peer.certificate, "");
    assert_true(conf.client.tls);
    assert_false(conf.client.require_certificate);
    assert_string_equal(conf.admin.socket, "/run/raftkv/admin.sock");
    assert_int_equal(conf.raft.election_timeout_ms, 1000);
    assert_int_equal(conf.raft.heartbeat_ms, 100);
    assert_int_equal(conf.limits.request_bytes, RK_REQUEST_BYTES_MAX);
    assert_int_equal(conf.initial_member_count, 0);
    assert_int_equal(conf_log_level(&conf), RK_LOG_INFO);
    conf_deinit(&conf);
    conf_deinit(NULL);
}

static void test_values_of_each_type_are_read(void **state)
{
    (void)state;
    struct conf conf;
    accept("name = \"n2\"; workers = 7; log_level = \"debug\";\n"
           "initial_members = [ \"n1=a:1\", \"n2=[::1]:2\" ];\n"
           "peer: { certificate = \"/c\"; key = \"/k\"; ca = \"/ca\"; };\n"
           "client = { tls = false; listen = \"127.0.0.1:99\"; };\n"
           "raft: { election_timeout_ms = 300L; };\n",
           &conf);
    assert_int_equal(conf.workers, 7);
    assert_int_equal(conf.initial_member_count, 2);
    assert_string_equal(conf.initial_members[1], "n2=[::1]:2");
    assert_string_equal(conf.peer.key, "/k");
    assert_false(conf.client.tls);
    assert_int_equal(conf.raft.election_timeout_ms, 300);
    assert_int_equal(conf_log_level(&conf), RK_LOG_DEBUG);
    conf_deinit(&conf);
}

static void test_members_may_be_a_list_in_parentheses(void **state)
{
    (void)state;
    accepts(NAMED "initial_members = ( \"n1=a:1\" );");
    accepts(NAMED "initial_members = [ ];");
}

static void test_an_unknown_name_is_refused_with_the_nearest_known_one(void **state)
{
    (void)state;
    refuses(NAMED "\ndata_directroy = \"/x\";",
            "t.conf:3: data_directroy is no option; did you mean data_directory?");
    refuses(NAMED "raft: {\n hartbeat_ms = 5; };",
            "t.conf:3: raft.hartbeat_ms is no option; did you mean heartbeat_ms?");
    refuses(NAMED "pear: { listen = \"*:1\"; };", "pear is no option; did you mean peer?");
    refuses(NAMED "zebra = 1;", "t.conf:2: zebra is no option; raftkv.conf(5)");
}

static void test_an_option_in_the_wrong_group_is_led_home(void **state)
{
    (void)state;
    refuses(NAMED "heartbeat_ms = 100;", "did you mean heartbeat_ms in the group raft?");
    refuses(NAMED "peer: { data_directory = \"/x\"; };", "data_directory stands outside of all groups");
}

static void test_an_unknown_group_inside_a_group_is_refused(void **state)
{
    (void)state;
    refuses(NAMED "peer: { tls: { a = 1; b: { c = 2; }; }; };", "peer.tls is no option");
    refuses(NAMED "peer: { peer: { }; };", "peer.peer is no option");
}

static void test_a_wrong_type_tells_what_to_write(void **state)
{
    (void)state;
    refuses(NAMED "workers = \"4\";", "workers must be an integer, but is a string here: write workers = 0;");
    refuses(NAMED "workers = 4.0;", "is a number with a fraction here");
    refuses(NAMED "workers = true;", "must be an integer");
    refuses(NAMED "log_level = 7;", "must be a string in double quotes, but is an integer here");
    refuses(NAMED "client: { tls = 1; };", "client.tls must be true or false, but is an integer here");
    refuses(NAMED "initial_members = \"n1=a:1\";", "must be a list of strings");
    refuses(NAMED "initial_members = [ 1 ];", "must be a list of strings");
    refuses(NAMED "initial_members = ( ( ) );", "must be a list of strings");
    refuses(NAMED "peer = \"x\";", "peer is a group: write its options as peer: {");
    refuses(NAMED "data_directory: { };", "must be a string in double quotes, but is a group here");
}

static void test_numbers_out_of_range_are_refused_and_the_bounds_told(void **state)
{
    (void)state;
    accepts(NAMED "workers = 64;");
    refuses(NAMED "workers = 65;", "workers is 65, but must be from 0 to 64");
    refuses(NAMED "workers = -1;", "workers is -1, but must be from 0 to 64");
    refuses(NAMED "workers = 2147483647;", "workers is 2147483647,");
    accepts(NAMED "limits: { request_bytes = 1572864; };");
    refuses(NAMED "limits: { request_bytes = 1572865; };", "must be from 1024 to 1572864");
}

/* libconfig 1.5 reads 4294967297 as 1. */
static void test_numbers_that_libconfig_would_cut_are_refused(void **state)
{
    (void)state;
    refuses(NAMED "\nworkers = 4294967297;",
            "t.conf:3: the number 4294967297 is larger than any option takes");
    refuses(NAMED "workers = 2147483648L;", "the number 2147483648 is larger");
    refuses(NAMED "workers = 18446744073709551617;", "the number 18446744073709551617 is larger");
    refuses(NAMED "workers = 100000000000000000000000;", "the number 10000000000000000000... is larger");
    accepts(
        NAMED
        "workers = 00000000000000000004; initial_cluster_name = \"99999999999999999\"; # 99999999999999\n");
}

/* libconfig keeps the low 32 bits of a hexadecimal number: 0x100000001 would be read as 1. */
static void test_hexadecimal_numbers_are_refused(void **state)
{
    (void)state;
    refuses(NAMED "workers = 0x100000001;", "must be written as a decimal number");
}

static void test_all_problems_are_told_in_one_run(void **state)
{
    (void)state;
    struct conf conf;
    struct rk_buf problems = {0};
    assert_int_equal(parse("name = \"a b\";\nworkers = 100;\nzebra = 1;\nraft: {\n heartbeat_ms = 500;\n};\n"
                           "client: { key = \"/k\"; };\nadmin: { socket = \"rel\"; };\n",
                           &conf, &problems),
                     -EINVAL);
    const char *text = text_of(&problems);
    assert_int_equal(count_lines(text), 6);
    assert_non_null(strstr(text, "t.conf:1: name:"));
    assert_non_null(strstr(text, "t.conf:2: workers"));
    assert_non_null(strstr(text, "t.conf:3: zebra"));
    assert_non_null(strstr(text, "t.conf:5: raft.heartbeat_ms"));
    assert_non_null(strstr(text, "t.conf:7: client.key"));
    assert_non_null(strstr(text, "t.conf:8: admin.socket"));
    rk_buf_deinit(&problems);
}

static void test_a_name_given_twice_is_refused(void **state)
{
    (void)state;
    refuses(NAMED "workers = 1;\nworkers = 2;",
            "t.conf:3: duplicate setting name: the same name stands twice");
    refuses(NAMED "peer: { };\npeer: { };", "t.conf:3: duplicate");
}

static void test_a_syntax_error_tells_line_and_form(void **state)
{
    (void)state;
    refuses(NAMED "workers 4;\n", "t.conf:2: syntax error: settings are written name = value;");
    refuses(NAMED "peer: { listen = \"*:1\";\n", "syntax error");
    refuses(NAMED "peer.listen = \"*:1\";\n", "t.conf:2: syntax error");
}

static void test_includes_are_refused_before_a_file_is_opened(void **state)
{
    (void)state;
    refuses(NAMED "@include \"/etc/passwd\"\n", "t.conf:2: @include is not supported");
    refuses(NAMED "/* */ @include \"/etc/passwd\"\n", "t.conf:2: @include is not supported");
    accepts(NAMED "# @include \"/etc/passwd\"\n// @include\n/*\n@include \"/etc/passwd\"\n*/\n");
    accepts(NAMED "initial_cluster_name = \"a@include \\\" # b\";\n");
}

static void test_a_zero_byte_is_refused(void **state)
{
    (void)state;
    static const char text[] = "name = \"n1\";\n\0workers = 1000;\n";
    struct conf conf;
    struct rk_buf problems = {0};
    assert_int_equal(conf_parse("t.conf", rk_slice(text, sizeof(text) - 1), &conf, &problems), -EINVAL);
    assert_string_equal(text_of(&problems),
                        "t.conf:2: there is a zero byte here: the file must be plain text\n");
    rk_buf_deinit(&problems);
}

static void test_control_characters_in_strings_are_refused(void **state)
{
    (void)state;
    refuses(NAMED "initial_cluster_name = \"a\\nb\";", "control character");
    refuses(NAMED "initial_members = [ \"n1=a:1\\x07\" ];", "control character");
}

static void test_too_many_members_are_refused(void **state)
{
    (void)state;
    struct rk_buf text = {0};
    rk_buf_append_str(&text, NAMED "initial_members = [ \"n1=h1:1\"");
    for (unsigned i = 2; i <= CONF_INITIAL_MEMBERS_MAX + 1; i++)
        rk_buf_printf(&text, ", \"n%u=h%u:1\"", i, i);
    rk_buf_append_str(&text, " ];");
    refuses(text_of(&text), "initial_members has 33 entries, but may have 32 at most");
    rk_buf_deinit(&text);
}

static void test_a_missing_file_is_told_with_its_name(void **state)
{
    (void)state;
    struct conf conf;
    struct rk_buf problems = {0};
    assert_int_equal(conf_load("/nonexistent/raftkv.conf", &conf, &problems), -ENOENT);
    assert_string_equal(text_of(&problems),
                        "/nonexistent/raftkv.conf: cannot be read: No such file or directory\n");
    rk_buf_deinit(&problems);
}

static void test_a_file_is_read_and_an_oversized_one_is_not(void **state)
{
    (void)state;
    char path[] = "/tmp/test_conf_load.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "name = \"n7\";\n", 13), 13);
    struct conf conf;
    struct rk_buf problems = {0};
    assert_int_equal(conf_load(path, &conf, &problems), 0);
    assert_string_equal(conf.name, "n7");
    conf_deinit(&conf);
    assert_int_equal(ftruncate(fd, CONF_FILE_BYTES_MAX + 1), 0);
    assert_int_equal(conf_load(path, &conf, &problems), -EFBIG);
    assert_true(problems.len > 0);
    rk_buf_deinit(&problems);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_file_gives_the_defaults),
        cmocka_unit_test(test_values_of_each_type_are_read),
        cmocka_unit_test(test_members_may_be_a_list_in_parentheses),
        cmocka_unit_test(test_an_unknown_name_is_refused_with_the_nearest_known_one),
        cmocka_unit_test(test_an_option_in_the_wrong_group_is_led_home),
        cmocka_unit_test(test_an_unknown_group_inside_a_group_is_refused),
        cmocka_unit_test(test_a_wrong_type_tells_what_to_write),
        cmocka_unit_test(test_numbers_out_of_range_are_refused_and_the_bounds_told),
        cmocka_unit_test(test_numbers_that_libconfig_would_cut_are_refused),
        cmocka_unit_test(test_hexadecimal_numbers_are_refused),
        cmocka_unit_test(test_all_problems_are_told_in_one_run),
        cmocka_unit_test(test_a_name_given_twice_is_refused),
        cmocka_unit_test(test_a_syntax_error_tells_line_and_form),
        cmocka_unit_test(test_includes_are_refused_before_a_file_is_opened),
        cmocka_unit_test(test_a_zero_byte_is_refused),
        cmocka_unit_test(test_control_characters_in_strings_are_refused),
        cmocka_unit_test(test_too_many_members_are_refused),
        cmocka_unit_test(test_a_missing_file_is_told_with_its_name),
        cmocka_unit_test(test_a_file_is_read_and_an_oversized_one_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
