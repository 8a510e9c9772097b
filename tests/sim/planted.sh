#!/bin/bash
# tests/sim/planted.sh - the yardstick: each planted bug (lib/base/rk_plant.h) must be caught by the simulation.
#
#   tests/sim/planted.sh [ROUNDS [NAME...]]    ROUNDS (3) fresh ranges of seeds for each bug, or those named
#
# Builds a tree of its own (RAFTKV_PLANTED_BUILD, default: build-planted below the checkout), runs each bug
# until the first seed catches it, LIMIT (5000) seeds at most on JOBS cores, and prints the table of tests/sim/README.md. Ends with 1 when
# a bug got away.
set -u
cd "$(dirname "$0")/../.." || exit 2
top=$PWD
build=${RAFTKV_PLANTED_BUILD:-$top/build-planted}
rounds=${1:-3}
[ $# -gt 0 ] && shift
limit=${LIMIT:-5000}
jobs=${JOBS:-$(nproc)}

[ -x configure ] || autoreconf -fi >/dev/null 2>&1 || autoreconf -fi || exit 2
mkdir -p "$build" && cd "$build" || exit 2
[ -f Makefile ] || "$top/configure" -q --enable-planted-bugs CFLAGS="-O2 -g" || exit 2
make -s -j"$jobs" tests/sim/raftkv-sim || exit 2
sim=$build/tests/sim/raftkv-sim

# Seeds that one round of a bug took; nothing when it got away.
seeds_until_caught() {
	local name=$1 first=$2 out seed
	out=$(timeout 1200 "$sim" --bug "$name" --first --jobs "$jobs" --seeds "$first..$((first + limit))" 2>&1)
	seed=$(sed -n 's/^FAILED: .* --seed \([0-9]*\).*/\1/p' <<<"$out" | sort -n | head -n 1)
	[ -n "$seed" ] && echo $((seed - first + 1))
}

away=0
printf '| bug | what is wrong | median of seeds until it was caught |\n|---|---|---|\n'
while IFS=$'\t' read -r name text; do
	if [ $# -gt 0 ] && ! printf '%s\n' "$@" | grep -qx "$name"; then continue; fi
	counts=()
	for ((i = 1; i <= rounds; i++)); do
		n=$(seeds_until_caught "$name" $((i * 1000000 + 1)))
		[ -n "$n" ] && counts+=("$n")
	done
	if [ "${#counts[@]}" -lt "$rounds" ]; then
		away=$((away + 1))
		printf '| %s | %s | got away in %d of %d rounds of %d seeds |\n' "$name" "$text" $((rounds - ${#counts[@]})) "$rounds" "$limit"
	else
		printf '| %s | %s | %d |\n' "$name" "$text" "$(printf '%s\n' "${counts[@]}" | sort -n | sed -n $(((rounds + 1) / 2))p)"
	fi
done < <("$sim" --bugs)
exit $((away > 0))
