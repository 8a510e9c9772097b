/* tests/fuzz/fuzz_main.c - stands in for libFuzzer: runs a fuzz target over the files given as arguments.
 *
 * So every target is built and its corpus replayed by `make check` with any
 * compiler (tests/fuzz/replay.sh). To fuzz, link the target without this file, for
 * example:
 *
 *   clang -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -I. -I$build tests/fuzz/fuzz_http1.c \
 *       tests/unit/http_harness.c lib/http/[a-z]*.c lib/base/[a-z]*.c -lsystemd -lnghttp2 -lhttp_parser -o
 * fuzz_http1
 *   ./fuzz_http1 -max_len=4096 -max_total_time=60 new/ tests/fuzz/corpus/http1/
 *
 * A file that made a target fail joins its corpus together with the repair. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 0, or 1 when the file cannot be read. */
static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    size_t size = 0, cap = 1u << 20;
    uint8_t *data = malloc(cap);
    size = data ? fread(data, 1, cap, file) : 0;
    int failed = !data || ferror(file);
    fclose(file);
    /* Memory of exactly the file's size: a read past it is found. */
    uint8_t *exact = failed ? NULL : realloc(data, size > 0 ? size : 1);
    if (exact)
        LLVMFuzzerTestOneInput(exact, size);
    else
        fprintf(stderr, "%s: cannot be read\n", path);
    free(exact ? exact : data);
    return exact ? 0 : 1;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i]);
    return failed;
}
