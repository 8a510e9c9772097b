/* lib/base/rk_log.h - one line per event, for operators, with structured fields.
 *
 * Under systemd (JOURNAL_STREAM names our stderr) lines go to the journal with
 * their fields; otherwise one line goes to stderr:
 *   2026-11-21T07:30:00.123Z INFO raft: became leader group=0 term=7
 * Fields are built with RK_FIELDS(RK_F_...), or NULL for none:
 *   RK_LOG(RK_LOG_INFO, "raft", RK_FIELDS(RK_F_U64("TERM", term)), "became leader");
 * Names are upper case; the journal gets them with the prefix RAFTKV_. */
#ifndef RK_LOG_H
#define RK_LOG_H

#include "lib/base/rk_util.h"

enum rk_log_level { /* syslog's numbers */
                    RK_LOG_ERROR = 3,
                    RK_LOG_WARNING = 4,
                    RK_LOG_NOTICE = 5,
                    RK_LOG_INFO = 6,
                    RK_LOG_DEBUG = 7,
};

struct rk_field {
    const char *name; /* NULL ends the list */
    const char *text; /* or NULL: number is meant */
    uint64_t number;
    bool hex; /* ids are shown as 16 hexadecimal digits */
};

static inline const char *rk_field_text(const char *text)
{
    return text ? text : "";
}

#define RK_F_STR(n, s) ((struct rk_field){.name = (n), .text = rk_field_text(s)})
#define RK_F_U64(n, v) ((struct rk_field){.name = (n), .number = (v)})
#define RK_F_ID(n, v)  ((struct rk_field){.name = (n), .number = (v), .hex = true})

void rk_log_set_level(enum rk_log_level level);
/* Called through RK_LOG; fields may be NULL. Thread safe, never fails. */
void rk_log_write(enum rk_log_level level, const char *part, const struct rk_field *fields, const char *file,
                  int line, const char *fmt, ...) RK_PRINTF(6, 7);

#define RK_FIELDS(...) ((const struct rk_field[]){__VA_ARGS__, {.name = NULL}})
#define RK_LOG(level, part, fields, ...)                                                                     \
    rk_log_write((level), (part), (fields), __FILE__, __LINE__, __VA_ARGS__)

#endif
