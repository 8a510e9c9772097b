#!/bin/sh
# tests/lint/catalogue.sh - runs catalogue.py; skipped only where there is no Python.
command -v python3 >/dev/null 2>&1 || { echo "catalogue: no python3"; exit 77; }
exec python3 "$(dirname "$0")/catalogue.py" "$@"
