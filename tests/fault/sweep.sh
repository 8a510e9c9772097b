#!/bin/sh
# tests/fault/sweep.sh - every n-th fault of each kind, in seconds; `sweep.sh --all` is every single one, in hours.
set -u
: "${top_srcdir:=.}" "${top_builddir:=.}" "${PYTHON3:=python3}"
command -v "$PYTHON3" >/dev/null 2>&1 || {
	echo "fault: python3 is not installed"
	exit 77
}
exec "$PYTHON3" "$top_srcdir/tests/fault/fault.py" --build "$top_builddir" "$@"
