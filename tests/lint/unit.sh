#!/bin/sh
# tests/lint/unit.sh - the unit file that will be installed: nothing left to substitute, understood by systemd, hardened.
set -u
: "${top_builddir:=.}"
unit=$top_builddir/systemd/raftkvd.service
[ -f "$unit" ] || {
	echo "unit: $unit was not made"
	exit 1
}
if grep -n '@[A-Za-z_]*@' "$unit" || ! grep -q '^ExecStart=/' "$unit"; then
	echo "unit: something was not substituted"
	exit 1
fi
command -v systemd-analyze >/dev/null 2>&1 || exit 77
# "verify" says what it does not understand and exits 0 all the same; it also wants the installed program to be there.
said=$(systemd-analyze verify "$unit" 2>&1 | grep -F raftkvd.service | grep -v -e 'is not executable' -e "Command 'man ")
if [ -n "$said" ]; then
	echo "unit: $said"
	exit 1
fi
# In tenths: 1.5, as the security checklist wants.
systemd-analyze security --offline=true --threshold=15 "$unit" >/dev/null 2>&1 || {
	systemd-analyze security --offline=true "$unit" 2>&1 | tail -n 1
	echo "unit: exposure over 1.5"
	exit 1
}
