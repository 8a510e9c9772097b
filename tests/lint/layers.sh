#!/bin/sh
# tests/lint/layers.sh - runs layers.py; skipped only where there is no Python.
command -v python3 >/dev/null 2>&1 || { echo "layers: no python3"; exit 77; }
exec python3 "$(dirname "$0")/layers.py" "$@"
