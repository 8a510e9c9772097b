#!/bin/sh
# tests/sim/sim.sh - two hundred seeds, and proof that a seed is a run.
set -u
: "${top_builddir:=.}"
sim=$top_builddir/tests/sim/raftkv-sim
first=$("$sim" --seed 4711) || { echo "$first"; exit 1; }
again=$("$sim" --seed 4711)
[ "$first" = "$again" ] || { echo "sim: the same seed gave two runs: $first; $again"; exit 1; }
exec "$sim" --seeds 1..200
