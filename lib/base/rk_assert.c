/* lib/base/rk_assert.c - the one way to die on purpose. */
#include "lib/base/rk_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* No allocation and no stdio buffer: whatever is broken may be the heap. */
void rk_assert_fail(const char *expr, const char *file, int line, const char *func)
{
    char text[512];
    int len =
        snprintf(text, sizeof(text), "raftkv: assertion failed: %s (%s:%d, %s)\n", expr, file, line, func);
    if (len > (int)sizeof(text) - 1) {
        len = (int)sizeof(text) - 1;
        text[len - 1] = '\n';
    }
    if (len > 0 && write(STDERR_FILENO, text, (size_t)len) < 0)
        _exit(134); /* nobody listens; the exit code is what abort() would have left */
    abort();
}
