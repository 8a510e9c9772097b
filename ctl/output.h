/* ctl/output.h - what raftkvctl prints: text for people, tab-separated lines for scripts, JSON for programs.
 *
 * Names, keys and messages come from the network. Whatever is not printable UTF-8
 * is escaped, so that nobody can write control sequences into an operator's
 * terminal, and so that a line stays a line. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <jansson.h>

#include "lib/base/rk_buf.h"

void output_init(void);           /* before anything else: sets the locale for widths */
bool output_is_terminal(void);    /* stdout is one */
int output_finish(int exit_code); /* flushes stdout; CTL_FAILED when that fails and exit_code is 0 */

/* Appends text with \n, \t, \xNN for what is not printable, and \\ for a backslash: nothing is lost. */
void output_escape(struct rk_buf *out, struct rk_slice text);
/* A copy for messages and names: the same, but a backslash stays single. */
char *output_safe(const char *text);
/* Columns on a terminal. */
size_t output_width(const char *text);

void output_json(const json_t *json);
/* Sets "NAME", or "NAME_base64" when the bytes are not UTF-8. */
void output_json_bytes(json_t *object, const char *name, struct rk_slice bytes);

/* Rows of text cells. On a terminal: headings and aligned columns. Otherwise: no headings, tabs. */
#define OUTPUT_COLUMNS_MAX 8u
struct output_table {
    const char *const *headings; /* NULL: none */
    size_t columns;
    const char *indent; /* before each row on a terminal; NULL: none */
    char **cells;
    size_t cell_count, cell_cap;
};
/* cells: one per column, copied and made safe; NULL is "-". */
void output_table_add(struct output_table *table, const char *const *cells);
void output_table_print(struct output_table *table); /* and forgets the rows */
void output_table_deinit(struct output_table *table);

/* Progress on stderr: one line that is written over on a terminal, else a line when `state` differs from the
 * last. Silent with --json. */
struct output_progress {
    char *state;
    bool open; /* a line without its end is on the terminal */
};
void output_progress(struct output_progress *progress, const char *state, const char *text);
void output_progress_end(struct output_progress *progress); /* always, before anything else is printed */

/* "12.3 MiB", "3 d 4 h": heap. */
char *output_bytes(uint64_t bytes);
char *output_seconds(uint64_t seconds);

#endif
