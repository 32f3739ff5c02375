#!/usr/bin/env python3
"""public_doc.py ROOT: every function of bitcask.h has a comment, and a name that the version script exports.

A comment counts for the paragraph (lines without a blank line between them) that it opens. An _init function needs none right
under the _INIT macro that it stands for.
"""

import os
import re
import sys

from tree import finish, read

FUNCTION = re.compile(r"^BITCASK_API\b[^;]*?\b(\w+)\s*\(", re.MULTILINE)


def paragraphs(text):
    start = 0
    for match in re.finditer(r"\n[ \t]*\n|\Z", text):
        yield start, text[start : match.start()]
        start = match.end()


def functions(text):
    """(line, name, what stands before it in its paragraph, its own line)"""
    for start, paragraph in paragraphs(text):
        for match in FUNCTION.finditer(paragraph):
            line = text.count("\n", 0, start + match.start()) + 1
            end = paragraph.find("\n", match.start())
            yield line, match.group(1), paragraph[: match.start()], paragraph[match.start() : end if end >= 0 else None]


def documented(name, before, own_line):
    if "/*" in before or "/*" in own_line:
        return True
    macro = name.upper() if name.endswith("_init") else None
    return macro is not None and f"#define {macro}" in before


def check(root):
    text = read(os.path.join(root, "bitcask/bitcask.h"))
    problems = []
    count = 0
    for line, name, before, own_line in functions(text):
        count += 1
        if not documented(name, before, own_line):
            problems.append(f"bitcask/bitcask.h:{line}: {name}() has no comment")
        if not name.startswith("bitcask_"):
            problems.append(f"bitcask/bitcask.h:{line}: {name}() is not exported: the name must start with bitcask_")
    if count == 0:
        problems.append("bitcask/bitcask.h: no BITCASK_API function found")
    return problems


if __name__ == "__main__":
    finish(check(sys.argv[1]))
