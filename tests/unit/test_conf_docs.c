/* The sample file and the manual page say what the table says.
 *
 * RK_REGEN=1 in the environment rewrites packaging/raftkv.conf instead; the manual page is written by people.
 */
#include "config.h"

#include "tests/unit/conf_test.h"

#include "lib/base/rk_file.h"

#define DOC_BYTES_MAX (1024u * 1024u)

static char *source_path(const char *name)
{
    const char *top = getenv("top_srcdir");
    return rk_asprintf("%s/%s", top ? top : RK_TOP_SRCDIR, name);
}

static void read_source(const char *name, struct rk_buf *ret)
{
    RK_CLEANUP(rk_freep) char *path = source_path(name);
    if (rk_file_read(path, DOC_BYTES_MAX, ret) != 0)
        fail_msg("%s cannot be read", path);
}

static void test_the_sample_file_is_the_tables(void **state)
{
    (void)state;
    struct rk_buf wanted = {0}, found = {0};
    conf_sample(&wanted);
    if (getenv("RK_REGEN")) {
        RK_CLEANUP(rk_freep) char *path = source_path("packaging/raftkv.conf");
        assert_int_equal(rk_file_replace(path, rk_buf_slice(&wanted), 0644), 0);
    }
    read_source("packaging/raftkv.conf", &found);
    if (strcmp(text_of(&wanted), text_of(&found)) != 0)
        fail_msg("packaging/raftkv.conf is not what the table gives: run this test with RK_REGEN=1 and look "
                 "at the diff");
    rk_buf_deinit(&wanted);
    rk_buf_deinit(&found);
}

/* The page has, for each option, the lines
 *   .It Ic peer.listen
 *   .Em string ,
 *   default
 *   .Ql *:2380 .
 * and for integers "from 0 to 64," between type and default; a default in words stands without .Ql. */
static char *wanted_entry(const struct conf_option *option, bool in_words)
{
    RK_CLEANUP(rk_freep) char *range = NULL;
    if (strcmp(option->type, "integer") == 0)
        range = rk_asprintf("from %llu to %llu,\n", (unsigned long long)option->min,
                            (unsigned long long)option->max);
    if (in_words)
        return rk_asprintf(".It Ic %s\n.Em %s ,\n%sdefault: %s.\n", option->path, option->type,
                           range ? range : "", option->default_text);
    return rk_asprintf(".It Ic %s\n.Em %s ,\n%sdefault\n.Ql %s .\n", option->path, option->type,
                       range ? range : "", option->default_text);
}

static void test_the_manual_page_has_every_options_type_range_and_default(void **state)
{
    (void)state;
    struct rk_buf page = {0};
    read_source("man/raftkv.conf.5", &page);
    unsigned missing = 0;
    for (size_t i = 0; i < conf_option_count(); i++) {
        struct conf_option option;
        conf_option_get(i, &option);
        RK_CLEANUP(rk_freep) char *value = wanted_entry(&option, false);
        RK_CLEANUP(rk_freep) char *words = wanted_entry(&option, true);
        if (strstr(text_of(&page), value) || strstr(text_of(&page), words))
            continue;
        print_error("man/raftkv.conf.5 has no entry like this:\n%s", value);
        missing++;
    }
    assert_int_equal(missing, 0);
    rk_buf_deinit(&page);
}

static void test_the_manual_page_has_no_option_that_does_not_exist(void **state)
{
    (void)state;
    struct rk_buf page = {0};
    read_source("man/raftkv.conf.5", &page);
    size_t count = 0;
    for (const char *s = text_of(&page); (s = strstr(s, "\n.It Ic ")); s++)
        count++;
    assert_int_equal(count, conf_option_count());
    rk_buf_deinit(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_sample_file_is_the_tables),
        cmocka_unit_test(test_the_manual_page_has_every_options_type_range_and_default),
        cmocka_unit_test(test_the_manual_page_has_no_option_that_does_not_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
