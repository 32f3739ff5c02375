#!/usr/bin/env python3
"""header.py ROOT: bitcask.h compiles alone, as C11 and as C++17, with every compiler that is here, without a warning.

Each _INIT macro is used, too. At least one compiler of each language must be here.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from tree import finish, read

WARNINGS = "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Werror".split()
LANGUAGES = [
    ("c", ["gcc", "clang"], ["-std=c11", "-Wstrict-prototypes", "-Wc++-compat"]),
    ("cpp", ["g++", "clang++"], ["-std=c++17", "-Wold-style-cast"]),
]


def program(header):
    """A translation unit that uses every _INIT macro of the header."""
    lines = ["#include <bitcask/bitcask.h>", "#include <bitcask/bitcask.h>", "size_t use(void);", "size_t use(void)", "{"]
    lines.append("    size_t sum = 0;")
    for name in re.findall(r"^#define (BITCASK_\w+)_INIT\b", header, re.MULTILINE):
        variable = name.lower()[len("bitcask_") :]
        lines.append(f"    {name.lower()} {variable} = {name}_INIT;")
        lines.append(f"    sum += {variable}.struct_size;")
    return "\n".join(lines + ["    return sum;", "}", ""])


def check(root):
    problems = []
    text = program(read(os.path.join(root, "bitcask/bitcask.h")))
    with tempfile.TemporaryDirectory() as work:
        for suffix, compilers, flags in LANGUAGES:
            source = os.path.join(work, "use." + suffix)
            with open(source, "w", encoding="utf-8") as file:
                file.write(text)
            here = [compiler for compiler in compilers if shutil.which(compiler)]
            if not here:
                problems.append(f"none of {', '.join(compilers)} is installed")
            for compiler in here:
                command = [compiler, *flags, *WARNINGS, "-I", root, "-c", source, "-o", os.path.join(work, "use.o")]
                result = subprocess.run(command, capture_output=True, text=True, check=False)
                if result.returncode != 0:
                    problems.append(f"{compiler}: {result.stderr}")
    return problems


if __name__ == "__main__":
    finish(check(sys.argv[1]))
