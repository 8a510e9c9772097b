#!/bin/sh
# raftkvctl against a stand-in daemon; needs Python 3 and nothing else. 77: skipped.
command -v python3 >/dev/null 2>&1 || exit 77
exec python3 "${top_srcdir:-.}/tests/unit/test_ctl.py"
