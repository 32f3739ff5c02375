"""What every lint shares: reading C, listing files, reporting."""

import os
import re
import sys

_COMMENT_OR_STRING = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""", re.DOTALL | re.VERBOSE
)


def strip(text, strings=False):
    """C source without comments, and without the content of literals if strings is set. Lines keep their numbers."""

    def blank(match):
        found = match.group(0)
        if found[0] in "\"'":
            return found[0] * 2 if strings else found
        return " " + "\n" * found.count("\n")

    return _COMMENT_OR_STRING.sub(blank, text)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def c_files(root, *directories):
    """Paths relative to root of every .c and .h below the directories, sorted."""
    found = []
    for directory in directories:
        for where, _, names in os.walk(os.path.join(root, directory)):
            found += [os.path.relpath(os.path.join(where, name), root) for name in names if name.endswith((".c", ".h"))]
    return sorted(found)


def finish(problems):
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)
