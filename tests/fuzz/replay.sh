#!/bin/sh
# tests/fuzz/replay.sh - runs each fuzz target that was built over its corpus: tests/fuzz/fuzz_NAME over corpus/NAME/*.
set -u
: "${top_srcdir:=.}" "${top_builddir:=.}"
status=0
count=0
for target in "$top_builddir"/tests/fuzz/fuzz_*; do
    case $target in
    *.o | *.c | *.log | *.trs) continue ;;
    esac
    [ -f "$target" ] && [ -x "$target" ] || continue
    name=${target##*/fuzz_}
    set -- "$top_srcdir/tests/fuzz/corpus/$name"/*
    if [ ! -f "$1" ]; then
        echo "$name: no corpus in tests/fuzz/corpus/$name"
        status=1
        continue
    fi
    if "$target" "$@"; then
        echo "$name: $# files"
    else
        # Once more, one by one, to name the file.
        for file in "$@"; do
            "$target" "$file" >/dev/null 2>&1 || echo "$name: fails on $file"
        done
        status=1
    fi
    count=$((count + 1))
done
[ "$count" -gt 0 ] || exit 77 # nothing was built: skipped
exit $status
