/* lib/base/rk_log.c - one line per event, to the journal or to stderr.
 *
 * Nothing here allocates or takes a lock: a line is built on the stack, cut at
 * PIPE_BUF so that one write(2) is atomic even on a pipe, and sent. Text may
 * hold what a client chose (a key, a user's name), so control characters and
 * broken UTF-8 are shown as \xNN: no line can forge another one, and no terminal
 * is steered by it. The journal gets each field's bytes as they are. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "lib/base/rk_log.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/rk_clock.h"

#define LINE_MAX_BYTES   PIPE_BUF
#define TEXT_MAX_BYTES   2048u
#define FIELDS_MAX       24u
#define FIELDS_MAX_BYTES 8192u

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
    bool cut; /* something did not fit, and nothing more is added */
};

static atomic_int level_max = RK_LOG_INFO;
static bool to_journal;
static pthread_once_t journal_once = PTHREAD_ONCE_INIT;

void rk_log_set_level(enum rk_log_level level)
{
    atomic_store_explicit(&level_max, (int)level, memory_order_relaxed);
}

/* systemd.exec(5): JOURNAL_STREAM is "device:inode" of the stream; compare it with what stderr is now,
 * as somebody may have redirected us since. */
static void find_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    char ours[64];
    if (!stream || fstat(STDERR_FILENO, &st) < 0)
        return;
    snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    to_journal = strcmp(stream, ours) == 0;
}

/* All of s or, as half a character would be broken UTF-8, none of it. Room is kept for the dots and the
 * newline. */
static void line_add(struct line *line, const char *s, size_t len)
{
    static const char dots[] = "...";
    if (line->cut)
        return;
    line->cut = len > sizeof(line->text) - sizeof(dots) - line->len;
    if (line->cut) {
        s = dots;
        len = sizeof(dots) - 1;
    }
    memcpy(line->text + line->len, s, len);
    line->len += len;
}

/* How many bytes at s form one well-formed character of UTF-8 (RFC 3629) that is not a control; 0: none. */
static size_t printable(const uint8_t *s)
{
    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    size_t more = s[0] >= 0xc2 && s[0] <= 0xdf   ? 1
                  : (s[0] & 0xf0) == 0xe0        ? 2
                  : s[0] >= 0xf0 && s[0] <= 0xf4 ? 3
                                                 : 0;
    for (size_t i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0; /* the terminating zero ends up here too */
    }
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool outside = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f);
    bool control = s[0] == 0xc2 && s[1] < 0xa0;
    return more == 0 || overlong || outside || control ? 0 : more + 1;
}

static void line_add_text(struct line *line, const char *text, bool quoted)
{
    for (const uint8_t *s = (const uint8_t *)text; *s != '\0';) {
        size_t n = printable(s);
        char escape[5];
        if (n == 0 || *s == '\\' || (quoted && *s == '"')) {
            int len = n == 0 ? snprintf(escape, sizeof(escape), "\\x%02x", *s)
                             : snprintf(escape, sizeof(escape), "\\%c", *s);
            line_add(line, escape, (size_t)len);
            s++;
        } else {
            line_add(line, (const char *)s, n);
            s += n;
        }
    }
}

static void line_add_number(struct line *line, const struct rk_field *field)
{
    char number[24];
    int len = snprintf(number, sizeof(number), field->hex ? "%016" PRIx64 : "%" PRIu64, field->number);
    line_add(line, number, (size_t)len);
}

/* " term=7", " name=\"two words\"" */
static void line_add_field(struct line *line, const struct rk_field *field)
{
    line_add(line, " ", 1);
    for (const char *c = field->name; *c != '\0'; c++) {
        char lower = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
        line_add(line, &lower, 1);
    }
    line_add(line, "=", 1);
    if (!field->text) {
        line_add_number(line, field);
        return;
    }
    bool quoted = field->text[0] == '\0' || strpbrk(field->text, " =\"") != NULL;
    line_add(line, "\"", quoted);
    line_add_text(line, field->text, quoted);
    line_add(line, "\"", quoted);
}

static void line_add_event(struct line *line, const char *part, const char *text,
                           const struct rk_field *fields)
{
    line_add_text(line, part, false);
    line_add(line, ": ", 2);
    line_add_text(line, text, false);
    for (; fields && fields->name; fields++)
        line_add_field(line, fields);
}

static const char *level_name(enum rk_log_level level)
{
    switch (level) {
    case RK_LOG_ERROR:
        return "ERROR";
    case RK_LOG_WARNING:
        return "WARNING";
    case RK_LOG_NOTICE:
        return "NOTICE";
    case RK_LOG_INFO:
        return "INFO";
    case RK_LOG_DEBUG:
        return "DEBUG";
    }
    return "?";
}

static void line_add_head(struct line *line, enum rk_log_level level)
{
    uint64_t now_ms = rk_clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm tm;
    char head[64];
    size_t len = strftime(head, sizeof(head), "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
    line_add(line, head, len);
    int n = snprintf(head, sizeof(head), ".%03uZ %s ", (unsigned)(now_ms % 1000), level_name(level));
    line_add(line, head, (size_t)n);
}

/* The entries of one journal message; their text lives in the arena. */
struct entries {
    struct iovec iov[FIELDS_MAX];
    size_t count;
    char arena[FIELDS_MAX_BYTES];
    size_t used;
};

/* An entry that does not fit is left out; the same fact still stands in MESSAGE. */
static void RK_PRINTF(2, 3) entries_add(struct entries *entries, const char *fmt, ...)
{
    size_t room = sizeof(entries->arena) - entries->used;
    char *to = entries->arena + entries->used;
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(to, room, fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= room || entries->count == FIELDS_MAX)
        return;
    entries->iov[entries->count++] = (struct iovec){.iov_base = to, .iov_len = (size_t)len};
    entries->used += (size_t)len + 1;
}

/* MESSAGE repeats the fields: journalctl shows nothing else unless asked. */
static int send_journal(enum rk_log_level level, const char *part, const char *text,
                        const struct rk_field *fields, const char *file, int line_number)
{
    struct line line = {.len = 0};
    struct entries entries = {.count = 0};
    line_add_event(&line, part, text, fields);
    entries_add(&entries, "MESSAGE=%.*s", (int)line.len, line.text);
    entries_add(&entries, "PRIORITY=%d", (int)level);
    entries_add(&entries, "CODE_FILE=%s", file);
    entries_add(&entries, "CODE_LINE=%d", line_number);
    entries_add(&entries, "RAFTKV_PART=%s", part);
    for (; fields && fields->name; fields++) {
        if (fields->text)
            entries_add(&entries, "RAFTKV_%s=%s", fields->name, fields->text);
        else if (fields->hex)
            entries_add(&entries, "RAFTKV_%s=%016" PRIx64, fields->name, fields->number);
        else
            entries_add(&entries, "RAFTKV_%s=%" PRIu64, fields->name, fields->number);
    }
    return sd_journal_sendv(entries.iov, (int)entries.count);
}

static void send_stderr(enum rk_log_level level, const char *part, const char *text,
                        const struct rk_field *fields)
{
    struct line line = {.len = 0};
    line_add_head(&line, level);
    line_add_event(&line, part, text, fields);
    line.text[line.len++] = '\n';
    ssize_t n;
    do
        n = write(STDERR_FILENO, line.text, line.len);
    while (n < 0 && errno == EINTR);
}

void rk_log_write(enum rk_log_level level, const char *part, const struct rk_field *fields, const char *file,
                  int line, const char *fmt, ...)
{
    if ((int)level > atomic_load_explicit(&level_max, memory_order_relaxed))
        return;
    int saved = errno;
    char text[TEXT_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(text, sizeof(text), fmt, args) < 0)
        text[0] = '\0';
    va_end(args);
    pthread_once(&journal_once, find_journal);
    /* Without a journal to talk to, its own stream is the next best. */
    if (!to_journal || send_journal(level, part, text, fields, file, line) < 0)
        send_stderr(level, part, text, fields);
    errno = saved;
}
