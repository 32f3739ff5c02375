#!/usr/bin/env python3
"""bindings.py ROOT LIBRARY: the Python and the C++ example run against the shared library. Speaks TAP."""

import os
import shutil
import sys
import tempfile

from tap import finish, ok, runs, skip

ROOT, LIBRARY = sys.argv[1:]
EXAMPLES = os.path.join(ROOT, "docs/examples")


def check_python(work):
    for when in ["a new store", "the same store again"]:
        result = runs(f"ctypes: {when}", sys.executable, os.path.join(EXAMPLES, "ctypes_demo.py"), LIBRARY, os.path.join(work, "py"))
        ok(result.stdout.startswith("all as expected, libbitcask "), "as expected", result.stdout)


def check_cpp(work, compiler):
    if not shutil.which(compiler):
        skip(f"raii_demo.cpp with {compiler}", f"{compiler} is not installed")
        return
    program = os.path.join(work, compiler)
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", ROOT]
    source = os.path.join(EXAMPLES, "raii_demo.cpp")
    runs(f"raii_demo.cpp with {compiler}", compiler, *flags, source, "-o", program, LIBRARY)
    environment = dict(os.environ, LD_LIBRARY_PATH=os.path.dirname(LIBRARY))
    for when in ["a new store", "the same store again"]:
        if os.path.exists(program):
            runs(f"{compiler}: {when}", program, program + ".store", env=environment)


with tempfile.TemporaryDirectory() as directory:
    check_python(directory)
    check_cpp(directory, "g++")
    check_cpp(directory, "clang++")
finish()
