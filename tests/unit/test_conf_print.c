/* What is printed can be read again; the sample; what a reload cannot change. */
#include "config.h"

#include "tests/unit/conf_test.h"

#define FULL                                                                                                 \
    "name = \"n1\"; workers = 3; data_directory = \"/a \\\"b\\\\c\";\n"                                      \
    "initial_members = [ \"n1=a:1\", \"n2=b:2\" ];\n"                                                        \
    "peer: { certificate = \"/c\"; key = \"/k\"; ca = \"/ca\"; };\n"                                         \
    "client: { listen = \"localhost:5\"; tls = false; };\n"

static void test_what_is_printed_reads_back_equal(void **state)
{
    (void)state;
    struct conf first, second;
    struct rk_buf text = {0}, differences = {0};
    accept(FULL, &first);
    conf_print(&first, &text);
    accept(text_of(&text), &second);
    assert_int_equal(conf_changes_needing_restart(&first, &second, &differences), 0);
    assert_string_equal(second.data_directory, "/a \"b\\c");
    conf_deinit(&first);
    conf_deinit(&second);
    rk_buf_deinit(&text);
    rk_buf_deinit(&differences);
}

static void test_defaults_are_marked_and_other_values_are_not(void **state)
{
    (void)state;
    struct conf conf;
    struct rk_buf text = {0};
    accept(FULL, &conf);
    conf_print(&conf, &text);
    const char *s = text_of(&text);
    assert_non_null(strstr(s, "workers = 3;\n"));
    assert_non_null(strstr(s, "log_level = \"info\"; # default\n"));
    assert_non_null(strstr(s, "    heartbeat_ms = 100; # default\n"));
    assert_non_null(strstr(s, "    tls = false;\n"));
    assert_non_null(strstr(s, "    advertise = \"a:1\"; # default\n"));
    assert_non_null(strstr(s, "initial_members = [ \"n1=a:1\", \"n2=b:2\" ];\n"));
    conf_deinit(&conf);
    rk_buf_deinit(&text);
}

static void test_every_option_is_printed(void **state)
{
    (void)state;
    struct conf conf;
    struct rk_buf text = {0};
    accept(NAMED, &conf);
    conf_print(&conf, &text);
    unsigned equals = 0;
    for (const char *s = text_of(&text); (s = strstr(s, " = ")); s++)
        equals++;
    assert_int_equal(equals, conf_option_count());
    conf_deinit(&conf);
    rk_buf_deinit(&text);
}

static void test_the_sample_as_it_is_changes_nothing(void **state)
{
    (void)state;
    struct conf defaults, sample;
    struct rk_buf text = {0}, differences = {0};
    rk_buf_append_str(&text, NAMED);
    accept(text_of(&text), &defaults);
    conf_sample(&text);
    accept(text_of(&text), &sample);
    assert_int_equal(conf_changes_needing_restart(&defaults, &sample, &differences), 0);
    conf_deinit(&defaults);
    conf_deinit(&sample);
    rk_buf_deinit(&text);
    rk_buf_deinit(&differences);
}

/* An option's line begins with # and no blank, a comment's with a blank behind the #. */
static void test_the_sample_with_every_option_uncommented_is_valid(void **state)
{
    (void)state;
    struct conf conf;
    struct rk_buf text = {0};
    conf_sample(&text);
    size_t uncommented = 0;
    for (char *s = (char *)(uintptr_t)text_of(&text); *s; s += strcspn(s, "\n") + 1) {
        s += strspn(s, " \n");
        if (s[0] == '#' && s[1] != ' ') {
            s[0] = ' ';
            uncommented++;
        }
    }
    assert_int_equal(uncommented, conf_option_count());
    accept(text_of(&text), &conf);
    assert_string_equal(conf.client.certificate, "/etc/raftkv/node1.crt");
    assert_int_equal(conf.initial_member_count, 3);
    conf_deinit(&conf);
    rk_buf_deinit(&text);
}

static void test_only_the_log_level_changes_while_running(void **state)
{
    (void)state;
    struct conf running, loaded;
    struct rk_buf differences = {0};
    accept(NAMED "workers = 1;", &running);
    accept(NAMED "workers = 1; log_level = \"debug\";", &loaded);
    assert_int_equal(conf_changes_needing_restart(&running, &loaded, &differences), 0);
    assert_int_equal(differences.len, 0);
    conf_deinit(&loaded);
    accept(NAMED "workers = 2; initial_members = [ \"n1=a:1\" ];", &loaded);
    assert_int_equal(conf_changes_needing_restart(&running, &loaded, &differences), 3);
    assert_string_equal(text_of(&differences),
                        "workers changes from 1 to 2 at the next start only\n"
                        "initial_members changes from [ ] to [ \"n1=a:1\" ] at the next start only\n"
                        "peer.advertise changes from \"n1:2380\" to \"a:1\" at the next start only\n");
    conf_deinit(&running);
    conf_deinit(&loaded);
    rk_buf_deinit(&differences);
}

static void test_every_option_explains_itself(void **state)
{
    (void)state;
    for (size_t i = 0; i < conf_option_count(); i++) {
        struct conf_option option;
        conf_option_get(i, &option);
        assert_true(strlen(option.help) > 20);
        assert_non_null(option.default_text);
        assert_true(option.max > option.min || strcmp(option.type, "integer") != 0);
        if (strcmp(option.type, "integer") == 0) {
            uint64_t value = strtoull(option.default_text, NULL, 10);
            assert_true(value >= option.min && value <= option.max);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_printed_reads_back_equal),
        cmocka_unit_test(test_defaults_are_marked_and_other_values_are_not),
        cmocka_unit_test(test_every_option_is_printed),
        cmocka_unit_test(test_the_sample_as_it_is_changes_nothing),
        cmocka_unit_test(test_the_sample_with_every_option_uncommented_is_valid),
        cmocka_unit_test(test_only_the_log_level_changes_while_running),
        cmocka_unit_test(test_every_option_explains_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
