#!/usr/bin/env python3
"""exports.py ROOT LIBRARY: the shared library exports what test/abi/exported.txt lists, which is what bitcask.h declares.

A line that leaves the list breaks programs that were linked before: that needs a new soname.
"""

import os
import subprocess
import sys

from public_doc import functions
from tree import finish, read


def exported(library):
    output = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
    symbols = [line.split()[1:] for line in output.splitlines()]
    return sorted(name for kind, name in symbols if kind != "A")


def compare(what, got, want, listed):
    problems = [f"{name}: {what}, but not in {listed}" for name in got if name not in want]
    return problems + [f"{name}: in {listed}, but not {what}" for name in want if name not in got]


def check(root, library):
    listed = "test/abi/exported.txt"
    want = read(os.path.join(root, listed)).split()
    problems = [] if want == sorted(set(want)) else [f"{listed}: not sorted, or a line twice"]
    declared = sorted(name + "@@LIBBITCASK_0" for _, name, _, _ in functions(read(os.path.join(root, "bitcask/bitcask.h"))))
    problems += compare("declared in bitcask.h", declared, want, listed)
    return problems + compare("exported by the library", exported(library), want, listed)


if __name__ == "__main__":
    finish(check(sys.argv[1], sys.argv[2]))
