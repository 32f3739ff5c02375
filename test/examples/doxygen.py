#!/usr/bin/env python3
"""doxygen.py ROOT: Doxygen reads bitcask.h without a warning, and sees what its comments say. Speaks TAP."""

import os
import re
import shutil
import sys
import tempfile

from tap import finish, ok, runs, skip

ROOT = sys.argv[1]


def text_of(page):
    with open(page, encoding="utf-8") as file:
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", file.read()))


def check(out):
    with open(os.path.join(ROOT, "docs/Doxyfile.in"), encoding="utf-8") as file:
        settings = file.read().replace("@ROOT@", ROOT).replace("@OUT@", out)
    result = runs("doxygen", "doxygen", "-", input=settings)
    ok(result.stderr == "", "says nothing", result.stderr)
    with open(os.path.join(out, "warnings"), encoding="utf-8") as file:
        warnings = file.read()
    ok(warnings == "", "no warnings", warnings)
    functions = text_of(os.path.join(out, "html/bitcask_8h.html"))
    ok("Makes all that is visible now durable." in functions, "functions have their comments")
    options = text_of(os.path.join(out, "html/structbitcask__options.html"))
    ok("budget of descriptors and mappings of sealed files" in options, "members have theirs")


if shutil.which("doxygen"):
    with tempfile.TemporaryDirectory() as directory:
        check(directory)
else:
    skip("doxygen", "doxygen is not installed")
finish()
