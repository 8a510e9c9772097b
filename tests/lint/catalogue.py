#!/usr/bin/env python3
"""The table of the failure catalogue in tests/README.md: every row is there once, and what it names exists."""

import os
import re
import sys

ROWS = 150
HERE = os.path.dirname(os.path.abspath(__file__))
TOP = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "..")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def tests():
    """Names of all tests: functions of the unit and system tests, scripts, and the simulation."""
    names = {"raftkv-sim"}
    for folder, pattern in (("unit", r"^static void (\w+)\(void \*\*"), ("system", r"^def (test_\w+)\(")):
        path = os.path.join(TOP, "tests", folder)
        for name in os.listdir(path):
            if name.endswith((".c", ".py")):
                names |= set(re.findall(pattern, read(os.path.join(path, name)), re.MULTILINE))
    scripts = os.listdir(os.path.join(TOP, "tests", "script"))
    return names | {name[:-4] for name in scripts if name.endswith(".txt")}


def main():
    text = read(os.path.join(TOP, "tests", "README.md"))
    plants = set(re.findall(r"\bX\((\w+),", read(os.path.join(TOP, "lib", "base", "rk_plant.h"))))
    known, problems, seen = tests(), [], []
    for first, last, answer in re.findall(r"^\| (\d+)(?: to (\d+))? \| [^|]* \| ([^|]*) \|$", text, re.MULTILINE):
        seen += range(int(first), int(last or first) + 1)
        for name in re.findall(r"`([^`]+)`", answer):
            if name not in known:
                problems.append(f"row {first}: there is no test {name}")
        for name in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", answer):
            if name not in plants and name != "O_DIRECT":
                problems.append(f"row {first}: there is no planted bug {name}")
    if seen != list(range(1, ROWS + 1)):
        missing = sorted(set(range(1, ROWS + 1)) - set(seen))
        problems.append(f"rows are not 1 to {ROWS} in order; missing: {missing}")
    for problem in problems:
        print(problem)
    print(f"catalogue: {len(seen)} rows, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
