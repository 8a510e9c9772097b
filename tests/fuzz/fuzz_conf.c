/* tests/fuzz/fuzz_conf.c - any bytes as a configuration file: refused with a reason, or printed so that it
 * reads back equal. */
#include "config.h"

#include "lib/base/rk_assert.h"
#include "lib/conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 loses the strings that a syntax error interrupts. Our own leaks are still found: those have
 * our frames on top. */
const char *__lsan_default_suppressions(void)
{
    return "leak:strbuf_append\nleak:libconfig_yylex\n";
}

/* Whatever was accepted must survive a round trip through its own text. */
static void round_trip(const struct conf *conf)
{
    struct rk_buf text = {0}, problems = {0};
    struct conf again;
    conf_print(conf, &text);
    rk_assert(conf_parse("printed", rk_buf_slice(&text), &again, &problems) == 0);
    rk_assert(conf_changes_needing_restart(conf, &again, &problems) == 0);
    rk_assert(conf_log_level(conf) == conf_log_level(&again));
    conf_deinit(&again);
    rk_buf_deinit(&text);
    rk_buf_deinit(&problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rk_buf problems = {0};
    struct conf conf;
    int r = conf_parse("fuzz", rk_slice(data, size), &conf, &problems);
    rk_assert((r == 0) == (problems.len == 0));
    if (r == 0) {
        round_trip(&conf);
        conf_deinit(&conf);
    }
    rk_buf_deinit(&problems);
    return 0;
}
