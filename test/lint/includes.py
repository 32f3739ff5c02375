#!/usr/bin/env python3
"""includes.py ROOT: a file of the library includes its own layer or a lower one, never a higher one.

Also: a .c file includes its own header first, tools see nothing of the library but <bitcask/bitcask.h>.
"""

import fnmatch
import os
import re
import sys

from tree import c_files, finish, read, strip

# From the lowest layer up. A new file of the library gets its place here; the first pattern that fits counts.
LAYERS = [
    ("base", ["bitcask", "attr", "error", "alloc", "coding", "crc", "hash"]),
    ("io", ["io", "io_*"]),
    ("format", ["format", "format_*", "clock"]),
    (
        "parts",
        [
            *["keydir*", "pins", "recency", "health", "directory*", "manifest*"],
            *["filetable*", "handle", "fork", "datafile*", "hintfile*", "scan", "log*", "sync*"],
        ],
    ),
    (
        "procedures",
        [
            *["recover*", "load*", "leftovers", "merge*", "findings", "verify_*", "hintbuild*", "hintwrite*", "upkeep*"],
            *["repair_aside", "repair_manifest", "repair_salvage", "repair_sources"],
        ],
    ),
    ("db", ["options", "batch*", "iter*", "snapshot*", "stats*", "settings", "rebuild", "refresh*", "repair*", "verify", "backup*", "read*", "view*", "write*", "db", "db_*"]),
]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]*)"|<([^>]*)>)', re.MULTILINE)


def layer_of(path):
    stem = os.path.splitext(os.path.basename(path))[0]
    for rank, (_, patterns) in enumerate(LAYERS):
        if any(fnmatch.fnmatchcase(stem, pattern) for pattern in patterns):
            return rank
    return None


def includes(root, path):
    """(line, name, quoted) of every include of a file."""
    text = strip(read(os.path.join(root, path)))
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1) or match.group(2), match.group(1) is not None


def check_library(root):
    problems = []
    for path in c_files(root, "bitcask"):
        rank = layer_of(path)
        if rank is None:
            problems.append(f"{path}: has no layer; give it one in LAYERS of test/lint/includes.py")
            continue
        for position, (line, name, quoted) in enumerate(includes(root, path)):
            own = path[:-2] + ".h"
            if path.endswith(".c") and position == 0 and os.path.exists(os.path.join(root, own)) and name != own:
                problems.append(f"{path}:{line}: the first include must be its own header, {own}")
            if not name.startswith("bitcask/"):
                if quoted:
                    problems.append(f'{path}:{line}: "{name}" is not a file of the library; write "bitcask/..."')
                continue
            other = layer_of(name)
            if not os.path.exists(os.path.join(root, name)):
                problems.append(f"{path}:{line}: {name} does not exist")
            elif other is not None and other > rank:
                problems.append(f"{path}:{line}: layer {LAYERS[rank][0]} includes {name} of the higher layer {LAYERS[other][0]}")
    return problems


def check_tools(root):
    problems = []
    for path in c_files(root, "tools"):
        for line, name, quoted in includes(root, path):
            if "bitcask/" in name and (quoted or name != "bitcask/bitcask.h"):
                problems.append(f"{path}:{line}: tools see only <bitcask/bitcask.h> of the library, not {name}")
            elif quoted and not name.startswith("tools/"):
                problems.append(f'{path}:{line}: "{name}" is not a file of the tools; write "tools/..."')
    return problems


if __name__ == "__main__":
    finish(check_library(sys.argv[1]) + check_tools(sys.argv[1]))
