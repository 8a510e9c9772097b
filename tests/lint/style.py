#!/usr/bin/env python3
# tests/lint/style.py - the habits of the code that a compiler does not see.
"""Usage: style.py [ROOT [EXCEPTIONS]] - checks the .c and .h files of lib, daemon, ctl and tests below ROOT:

 - a file opens with a comment that says what it is
 - no line over 110 columns, no file over 900 lines, no function over 80 lines
 - nothing is left for later (the usual markers), not even in comments
 - no call of a function that cannot be used safely, or that starts a shell

EXCEPTIONS is style.txt beside this script unless given. A function is counted from its opening to its closing brace,
both of which stand in the first column (.clang-format makes sure)."""

import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDERS = ("lib", "daemon", "ctl", "tests")
GENERATED = (".pb-c.c", ".pb-c.h")
COLUMNS_MAX, LINES_MAX, FUNCTION_LINES_MAX = 110, 900, 80

MARKER = re.compile(r"\b(TODO|FIXME|XXX)\b")
BANNED = re.compile(r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|system|popen)\s*\(")
# Comments, strings and character constants, so that their insides are not taken for code.
NOT_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
NAME_OF = re.compile(r"(\w+)\s*\(")


def sources(root):
    for top in FOLDERS:
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".c", ".h")) and not name.endswith(GENERATED):
                    yield os.path.relpath(os.path.join(folder, name), root)


def read_exceptions(path):
    """Returns {(path, "lines" or function name): bound}."""
    bounds = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith("#") or not line.strip():
                continue
            match = re.match(r"(\S+) (?:(lines)|function (\w+)) (\d+) \S", line)
            if not match:
                sys.exit(f"{path}:{number}: cannot read this line (is the reason missing?)")
            bounds[match.group(1), match.group(2) or match.group(3)] = int(match.group(4))
    return bounds


def functions(code):
    """Yields (name, line of the opening brace, number of lines)."""
    lines = code.split("\n")
    head, opened = "", None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            opened = number
        elif line.startswith("}"):
            if opened:
                names = NAME_OF.findall(re.sub(r"__attribute__\s*\(\(.*?\)\)\)?", "", head))
                # The file's own macros in front (RK_PRINTF(2, 3) and the like) are upper case.
                names = [n for n in names if not n.isupper()] or ["?"]
                yield names[0], opened, number - opened + 1
            head, opened = "", None
        elif not opened:
            head = "" if line.rstrip().endswith((";", "}")) or line.startswith("#") else head + line + "\n"


class Checker:
    def __init__(self, root, bounds):
        self.root, self.bounds, self.used, self.problems = root, bounds, set(), []

    def complain(self, path, line, text):
        self.problems.append(f"{path}:{line}: {text}")

    def bounded(self, path, line, key, size, usual, what):
        """Complains when size is over the bound that holds here; notes which exceptions are still needed."""
        if size > usual:
            self.used.add((path, key))
        bound = max(usual, self.bounds.get((path, key), 0))
        if size > bound:
            self.complain(path, line, f"{what} has {size} lines; the bound is {bound}")

    def check(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            text = file.read()
        lines = text.split("\n")
        if not text.startswith("/*"):
            self.complain(path, 1, "the file does not open with a comment that says what it is")
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS_MAX:
                self.complain(path, number, f"{len(line)} columns; the bound is {COLUMNS_MAX}")
            if MARKER.search(line):
                self.complain(path, number, f"{MARKER.search(line).group()}: do it now or write an issue")
        code = NOT_CODE.sub(lambda m: "\n" * m.group().count("\n") or " ", text)
        # What a test does to its own scratch files may be short; what ships may not.
        for match in BANNED.finditer("" if path.startswith("tests/") else code):
            self.complain(path, code.count("\n", 0, match.start()) + 1, f"{match.group(1)}() is banned")
        self.bounded(path, 1, "lines", text.count("\n"), LINES_MAX, "the file")
        for name, line, size in functions(code):
            self.bounded(path, line, name, size, FUNCTION_LINES_MAX, name + "()")

    def check_exceptions(self, path):
        for key in sorted(set(self.bounds) - self.used):
            self.complain(path, 1, f"the exception for {key[0]} {key[1]} is not needed any more: remove it")


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("top_srcdir", os.path.join(HERE, "..", ".."))
    exceptions = sys.argv[2] if len(sys.argv) > 2 else os.path.join(HERE, "style.txt")
    checker = Checker(root, read_exceptions(exceptions))
    count = 0
    for path in sources(root):
        count += 1
        checker.check(path)
    checker.check_exceptions(exceptions)
    for problem in checker.problems:
        print(problem)
    print(f"style: {count} files, {len(checker.problems)} problems" if count else f"style: no source at all below {root}")
    return 1 if checker.problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
