#!/bin/sh
# tests/script/run.sh - replays the scripts and compares them with the output that they hold.
#
#   tests/script/run.sh [--rewrite] [SCRIPT...]     all scripts beside it unless some are named
#
# --rewrite, or RK_REGEN=1, writes the new output into the scripts instead; read the difference before you keep it.
set -u
: "${top_srcdir:=.}" "${top_builddir:=.}"
runner=$top_builddir/tests/script/raft_script
rewrite=${RK_REGEN:-}
if [ "${1:-}" = --rewrite ]; then
    rewrite=1
    shift
fi
[ $# -gt 0 ] || set -- "$top_srcdir"/tests/script/*.txt
new=$(mktemp) || exit 1
trap 'rm -f "$new"' EXIT
failed=0
for script in "$@"; do
    if ! "$runner" "$script" >"$new"; then
        echo "FAIL $script: does not run to its end"
        failed=$((failed + 1))
    elif cmp -s "$script" "$new"; then
        continue
    elif [ -n "$rewrite" ]; then
        cat "$new" >"$script" && echo "rewrote $script"
    else
        diff -u "$script" "$new"
        failed=$((failed + 1))
    fi
done
echo "$# scripts, $failed failed"
[ "$failed" = 0 ]
