#!/bin/sh
# tests/lint/purity.sh - proves that the raft core can do nothing but compute.
#
# The core must give the same output for the same events, so it may not reach a clock, a disk, a socket, a thread or a
# log. What an object file can call is the list of its undefined symbols: each must be defined by the core itself or
# be a symbol of memory or strings below. Usage: purity.sh [BUILD-ROOT], the directory that holds lib/raft/*.o.
set -eu

root=${1:-${top_builddir:-.}}
nm=${NM:-nm}

memory='free|malloc|calloc|realloc|memcpy|memmove|memset|memcmp|memchr|bcmp|qsort|bsearch'
strings='strlen|strnlen|strcmp|strncmp|strchr|strrchr'
ours='rk_assert_fail|rk_new0|rk_realloc'
# What compilers put in: fortified copies, stack protection, sanitizers, coverage.
runtime='__(memcpy|memmove|memset)_chk|__stack_chk_fail|__stack_chk_guard|_GLOBAL_OFFSET_TABLE_'
runtime="$runtime|__(asan|ubsan|tsan|msan|sanitizer|sanitizer_cov|gcov|llvm_profile|llvm_gcov)_.*"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

set -- "$root"/lib/raft/*.o
if [ ! -e "$1" ]; then
    echo "purity: no object in $root/lib/raft: nothing was built, so nothing is proved"
    exit 1
fi

# Lines are "FILE:SYMBOL"; a file with no symbol at all is fine.
"$nm" -g --defined-only -P "$@" | awk 'NF > 1 { print $1 }' | sort -u >"$work/defined"
"$nm" -u -P -A "$@" >"$work/raw"
if [ ! -s "$work/defined" ]; then
    echo "purity: the objects in $root/lib/raft define nothing: this is not the core"
    exit 1
fi

# "path/file.o: symbol U" becomes "symbol path/file.o"; a path may hold anything. A line of another form stays as it
# is and fails.
sed 's/^\(.*\): \([^ ]*\) .*$/\2 \1/' "$work/raw" |
    awk 'NR == FNR { defined[$1] = 1; next } !($1 in defined)' "$work/defined" - |
    grep -Ev "^($memory|$strings|$ours|$runtime) " >"$work/impure" || true

if [ -s "$work/impure" ]; then
    sed 's/^\([^ ]*\) \(.*\)$/\2 calls \1/' "$work/impure"
    echo "purity: lib/raft reaches outside of itself"
    exit 1
fi
echo "purity: $# objects of lib/raft are pure"
