/* tests/sim/sim_base.c - what lib/base takes from the system, taken from the simulation instead: identifiers
 * and the log. Linked in front of lib/base, whose own files are then not wanted. */
#include <stdarg.h>
#include <stdio.h>

#include "lib/base/rk_log.h"
#include "lib/base/rk_random.h"
#include "tests/sim/sim_base.h"

static struct rk_random *source;
static void (*sink)(const char *line);

void sim_base_use(struct rk_random *random, void (*log)(const char *line))
{
    source = random;
    sink = log;
}

uint64_t rk_random_id(void)
{
    uint64_t id = 0;

    while (id == 0)
        id = rk_random_next(source);
    return id;
}

void rk_log_set_level(enum rk_log_level level RK_UNUSED)
{
}

void rk_log_write(enum rk_log_level level RK_UNUSED, const char *part, const struct rk_field *fields,
                  const char *file RK_UNUSED, int line RK_UNUSED, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    int n;

    if (!sink)
        return;
    n = snprintf(text, sizeof(text), "%s: ", part);
    va_start(args, fmt);
    n += vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, args);
    va_end(args);
    for (; fields && fields->name && n < (int)sizeof(text) - 1; fields++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, fields->text ? " %s=%s" : " %s=%.0s%llx",
                      fields->name, fields->text ? fields->text : "", (unsigned long long)fields->number);
    sink(text);
}
