/* ctl/output.c - what raftkvctl prints: text for people, tab-separated lines for scripts, JSON for programs.
 */
#include "config.h" /* _GNU_SOURCE, for wcwidth */

#include "ctl/output.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "ctl/ctl.h"
#include "lib/base/rk_base64.h"

void output_init(void)
{
    /* Data of the cluster is UTF-8 whatever the operator's shell says; without this locale all but ASCII is
     * escaped. */
    setlocale(LC_CTYPE, "C.UTF-8");
}

bool output_is_terminal(void)
{
    return isatty(STDOUT_FILENO) == 1;
}

int output_finish(int exit_code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit_code;
    int error = errno;
    return ctl_error(exit_code != 0 ? exit_code : CTL_FAILED, NULL, "cannot write the output: %s",
                     strerror(error));
}

/* --- bytes from elsewhere
 * ------------------------------------------------------------------------------------------ */

/* Characters that reorder the line around them, so that an operator reads what is not there. */
static bool is_deceptive(uint32_t c)
{
    return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f;
}

/* Decodes one character of UTF-8 (RFC 3629). Returns its bytes, or 0 when they are no character. */
static size_t decode(struct rk_slice in, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = in.data[0];
    if (first < 0x80) {
        *ret = first;
        return 1;
    }
    size_t len = (first & 0xe0) == 0xc0 ? 2 : (first & 0xf0) == 0xe0 ? 3 : (first & 0xf8) == 0xf0 ? 4 : 0;
    if (len == 0 || len > in.len)
        return 0;
    uint32_t c = first & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((in.data[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (in.data[i] & 0x3fu);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret = c;
    return len;
}

/* Bytes of the printable character at the front and its columns; 0 when it must be escaped. */
static size_t printable(struct rk_slice in, size_t *ret_columns)
{
    uint32_t c = 0;
    size_t len = decode(in, &c);
    int columns = len > 0 && !is_deceptive(c) ? wcwidth((wchar_t)c) : -1;
    if (columns < 0 || c == 0)
        return 0;
    *ret_columns = (size_t)columns;
    return len;
}

static void escape_byte(struct rk_buf *out, uint8_t byte)
{
    if (byte == '\n')
        rk_buf_append_str(out, "\\n");
    else if (byte == '\t')
        rk_buf_append_str(out, "\\t");
    else
        rk_buf_printf(out, "\\x%02x", byte);
}

static void escape(struct rk_buf *out, struct rk_slice text, bool double_backslash)
{
    while (text.len > 0) {
        size_t columns, len = printable(text, &columns);
        if (len == 0)
            escape_byte(out, text.data[0]);
        else
            rk_buf_append(out, text.data, len);
        if (double_backslash && text.data[0] == '\\')
            rk_buf_append_str(out, "\\");
        len = len > 0 ? len : 1;
        text = rk_slice(text.data + len, text.len - len);
    }
}

void output_escape(struct rk_buf *out, struct rk_slice text)
{
    escape(out, text, true);
}

char *output_safe(const char *text)
{
    struct rk_buf buf = {0};
    escape(&buf, rk_slice_str(text), false);
    rk_buf_append(&buf, "", 1);
    return (char *)buf.data;
}

size_t output_width(const char *text)
{
    struct rk_slice rest = rk_slice_str(text);
    size_t width = 0;
    while (rest.len > 0) {
        size_t columns = 1, len = printable(rest, &columns);
        width += len > 0 ? columns : 1;
        len = len > 0 ? len : 1;
        rest = rk_slice(rest.data + len, rest.len - len);
    }
    return width;
}

/* ---- JSON ---- */

void output_json(const json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
}

void output_json_bytes(json_t *object, const char *name, struct rk_slice bytes)
{
    json_t *text = json_stringn(bytes.len > 0 ? (const char *)bytes.data : "", bytes.len);
    if (text) {
        json_object_set_new(object, name, text);
        return;
    }
    RK_CLEANUP(rk_freep) char *name64 = rk_asprintf("%s_base64", name);
    RK_CLEANUP(rk_buf_deinit) struct rk_buf encoded = {0};
    rk_base64_encode(&encoded, bytes);
    json_object_set_new(object, name64, json_stringn((const char *)rk_buf_slice(&encoded).data, encoded.len));
}

/* ---- tables ---- */

void output_table_add(struct output_table *table, const char *const *cells)
{
    if (table->cell_count + table->columns > table->cell_cap) {
        table->cell_cap = table->cell_cap * 2 + 16 * table->columns;
        table->cells = rk_realloc(table->cells, table->cell_cap * sizeof(*table->cells));
    }
    for (size_t i = 0; i < table->columns; i++)
        table->cells[table->cell_count++] = output_safe(cells[i] ? cells[i] : "-");
}

static void print_aligned(const struct output_table *table, const char *const *cells, const size_t *widths)
{
    fputs(table->indent ? table->indent : "", stdout);
    for (size_t i = 0; i < table->columns; i++) {
        fputs(cells[i], stdout);
        /* The last column is not padded: no spaces at the ends of lines. */
        size_t pad = i + 1 < table->columns ? widths[i] - output_width(cells[i]) + 2 : 0;
        printf("%*s", (int)pad, "");
    }
    putchar('\n');
}

static void print_terminal(const struct output_table *table)
{
    size_t widths[OUTPUT_COLUMNS_MAX] = {0};
    for (size_t i = 0; table->headings && i < table->columns; i++)
        widths[i] = output_width(table->headings[i]);
    for (size_t i = 0; i < table->cell_count; i++)
        widths[i % table->columns] = rk_max_u64(widths[i % table->columns], output_width(table->cells[i]));
    if (table->headings)
        print_aligned(table, table->headings, widths);
    for (size_t i = 0; i < table->cell_count; i += table->columns)
        print_aligned(table, (const char *const *)&table->cells[i], widths);
}

static void forget_rows(struct output_table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    table->cell_count = 0;
}

void output_table_print(struct output_table *table)
{
    if (output_is_terminal()) {
        print_terminal(table);
    } else {
        for (size_t i = 0; i < table->cell_count; i++)
            printf("%s%c", table->cells[i], (i + 1) % table->columns == 0 ? '\n' : '\t');
    }
    forget_rows(table);
}

void output_table_deinit(struct output_table *table)
{
    forget_rows(table);
    free(table->cells);
    table->cells = NULL;
    table->cell_cap = 0;
}

/* --- progress
 * ------------------------------------------------------------------------------------------------------- */

/* A line that wraps cannot be written over, so it is cut to the terminal's width. */
static void rewrite_line(const char *text)
{
    struct winsize size;
    size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79u;
    struct rk_slice rest = rk_slice_str(text);
    fputs("\r\033[K", stderr);
    while (rest.len > 0) {
        size_t width = 1, len = printable(rest, &width);
        len = len > 0 ? len : 1;
        if (width > columns)
            break;
        columns -= width;
        fwrite(rest.data, 1, len, stderr);
        rest = rk_slice(rest.data + len, rest.len - len);
    }
    fflush(stderr);
}

void output_progress(struct output_progress *progress, const char *state, const char *text)
{
    if (ctl_settings.json)
        return;
    RK_CLEANUP(rk_freep) char *safe = output_safe(text);
    bool changed = !progress->state || strcmp(progress->state, state) != 0;
    if (isatty(STDERR_FILENO) == 1) {
        rewrite_line(safe);
        progress->open = true;
    } else if (changed) {
        fprintf(stderr, "%s\n", safe);
    }
    if (changed) {
        free(progress->state);
        progress->state = rk_strdup(state);
    }
}

void output_progress_end(struct output_progress *progress)
{
    if (progress->open)
        fputs("\r\033[K", stderr);
    free(progress->state);
    *progress = (struct output_progress){0};
}

/* --- numbers
 * -------------------------------------------------------------------------------------------------------- */

char *output_bytes(uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    if (bytes < 1024)
        return rk_asprintf("%llu bytes", (unsigned long long)bytes);
    double value = (double)bytes / 1024;
    size_t unit = 0;
    while (value >= 1023.95 && unit + 1 < RK_ARRAY_LEN(units)) {
        value /= 1024;
        unit++;
    }
    return rk_asprintf("%.1f %s", value, units[unit]);
}

char *output_seconds(uint64_t seconds)
{
    unsigned long long s = seconds;
    if (s < 60)
        return rk_asprintf("%llu s", s);
    if (s < 3600)
        return rk_asprintf("%llu min %llu s", s / 60, s % 60);
    if (s < 86400)
        return rk_asprintf("%llu h %llu min", s / 3600, s % 3600 / 60);
    return rk_asprintf("%llu d %llu h", s / 86400, s % 86400 / 3600);
}
