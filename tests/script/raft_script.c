/* tests/script/raft_script.c - replays a script of the raft core and prints it with its output.
 *
 *   raft_script FILE
 *
 * A line that begins in the first column is a command or a comment, an indented line
 * is output. What is printed is the file itself, with all output made anew: equal to
 * the file when the core behaves as the file says. run.sh compares, or rewrites. */
#include "tests/script/raft_script.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* For the checkers, which abort and know nothing of scripts. */
static char place[256];

static void on_abort(int signo)
{
    (void)signo;
    ssize_t written = write(STDERR_FILENO, place, strlen(place));
    (void)written;
}

void script_fail(const struct script *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%u: ", s->path, s->line);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

static void run_line(struct script *s, char *line)
{
    char *words[SCRIPT_WORDS_MAX];
    uint32_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest)) {
        if (count == SCRIPT_WORDS_MAX)
            script_fail(s, "too many words");
        words[count++] = word;
    }
    if (count > 0)
        script_command(s, words, count);
}

static void run(struct script *s, FILE *file)
{
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, file) >= 0) {
        s->line++;
        snprintf(place, sizeof(place), "at %s:%u\n", s->path, s->line);
        if (line[0] == ' ' || line[0] == '\t')
            continue;
        fputs(line, stdout);
        if (line[0] != '#')
            run_line(s, line);
    }
    free(line);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: raft_script FILE\n");
        return 2;
    }
    FILE *file = fopen(argv[1], "re");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    signal(SIGABRT, on_abort);
    struct script *s = RK_NEW(struct script);
    s->path = argv[1];
    run(s, file);
    script_deinit(s);
    free(s);
    fclose(file);
    return fflush(stdout) == 0 ? 0 : 1;
}
