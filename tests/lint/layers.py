#!/usr/bin/env python3
# tests/lint/layers.py - proves that no file includes a header its layer may not know (design: who knows whom).
"""Usage: layers.py [ROOT] - ROOT is the tree to check; layers.txt beside this script is the table."""

import fnmatch
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDERS = ("lib", "daemon", "ctl")
# The delimiters stay with the name: "x" and <x> are different questions.
INCLUDE = re.compile(r'^\s*#\s*include\s*(<[^>]+>|"[^"]+")', re.M)
# A computed include would walk around the table.
COMPUTED = re.compile(r'^\s*#\s*include\s*[^<"\s]', re.M)
COMMENT = re.compile(r"/\*.*?\*/", re.S)


def read_table(path):
    """Returns (watched patterns, {folder: [patterns]})."""
    watched, rows = [], {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if words[0] == "watch":
                watched += words[1:]
            elif len(words) > 2 and words[1] == "may":
                rows.setdefault(words[0], []).extend(words[2:])
            else:
                sys.exit(f"{path}:{number}: cannot read this line")
    return watched, rows


def sources(root):
    """Yields (path from the top, folder of the table)."""
    for top in FOLDERS:
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    path = os.path.relpath(os.path.join(folder, name), root)
                    parts = path.split(os.sep)
                    yield path, "/".join(parts[:2]) if top == "lib" else top


def verdict(include, folder, watched, allowed):
    """Returns None when the include is fine, or what is wrong with it."""
    name = include[1:-1]
    ours = name.startswith(tuple(f + "/" for f in FOLDERS))
    if include[0] == '"' and not ours and name != "config.h":
        return "a quoted include names its path from the top of the tree"
    if ".." in name.split("/"):
        return "no way up in an include"
    if ours:
        question = name
        if name.startswith(folder + "/"):
            return None
    elif any(fnmatch.fnmatchcase(include, pattern) for pattern in watched):
        question = include
    else:
        return None
    if any(fnmatch.fnmatchcase(question, pattern) for pattern in allowed):
        return None
    return f"{folder} may not know it"


def check_file(root, path, folder, watched, rows):
    if folder not in rows:
        return [f"{path}:1: {folder} has no row in layers.txt"]
    with open(os.path.join(root, path), encoding="utf-8") as file:
        text = COMMENT.sub(lambda m: "\n" * m.group().count("\n"), file.read())
    found = [(m.start(1), m.group(1), verdict(m.group(1), folder, watched, rows[folder])) for m in INCLUDE.finditer(text)]
    found += [(m.start(), "a macro", "an include is spelled out") for m in COMPUTED.finditer(text)]
    return [f"{path}:{text.count(chr(10), 0, at) + 1}: includes {what}: {why}" for at, what, why in found if why]


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("top_srcdir", os.path.join(HERE, "..", ".."))
    watched, rows = read_table(os.path.join(HERE, "layers.txt"))
    problems, count = [], 0
    for path, folder in sources(root):
        count += 1
        problems += check_file(root, path, folder, watched, rows)
    for problem in problems:
        print(problem)
    if count == 0:
        print(f"layers: no source at all below {root}")
    else:
        print(f"layers: {count} files, {len(problems)} problems")
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
