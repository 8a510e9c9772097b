#!/bin/sh
# tests/lint/style.sh - runs style.py; skipped only where there is no Python.
command -v python3 >/dev/null 2>&1 || { echo "style: no python3"; exit 77; }
exec python3 "$(dirname "$0")/style.py" "$@"
