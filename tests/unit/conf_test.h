/* tests/unit/conf_test.h - what the tests of lib/conf share. */
#ifndef CONF_TEST_H
#define CONF_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/conf/conf.h"

/* A name that is valid whatever the test host is called. */
#define NAMED "name = \"n1\";\n"

/* The buffer's bytes as a string that lives until the buffer changes. */
static inline const char *text_of(struct rk_buf *buf)
{
    *rk_buf_reserve(buf, 1) = '\0';
    return (const char *)buf->data + buf->start;
}

static inline int parse(const char *text, struct conf *ret, struct rk_buf *problems)
{
    return conf_parse("t.conf", rk_slice(text, strlen(text)), ret, problems);
}

/* The text is fine. */
static inline void accept(const char *text, struct conf *ret)
{
    struct rk_buf problems = {0};
    if (parse(text, ret, &problems) != 0)
        fail_msg("refused: %s%s", text, text_of(&problems));
    rk_buf_deinit(&problems);
}

static inline void accepts(const char *text)
{
    struct conf conf;
    accept(text, &conf);
    conf_deinit(&conf);
}

static inline unsigned count_lines(const char *text)
{
    unsigned count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

/* The text is refused with one problem, and the line has these words. */
static inline void refuses(const char *text, const char *words)
{
    struct conf conf;
    struct rk_buf problems = {0};
    if (parse(text, &conf, &problems) == 0)
        fail_msg("accepted: %s", text);
    if (!strstr(text_of(&problems), words) || count_lines(text_of(&problems)) != 1)
        fail_msg("wanted one line with \"%s\" for %s, got:\n%s", words, text, text_of(&problems));
    rk_buf_deinit(&problems);
}

#endif
