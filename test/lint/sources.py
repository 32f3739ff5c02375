#!/usr/bin/env python3
"""sources.py ROOT VERSION: every C file is built, every test runs, and the version is one.

The C files of bitcask/, tools/ and test/ must be named in the meson.build of their top directory, the shell tests in
test/meson.build. VERSION, the build's, must be that of bitcask.h and have its heading in CHANGELOG.md.
"""

import glob
import os
import re
import sys

from tree import c_files, finish, read


def unnamed(root, build_file, paths):
    names = set(re.findall(r"'([^'\n]*)'", read(os.path.join(root, build_file))))
    problems = []
    for path in paths:
        relative = os.path.relpath(path, os.path.dirname(build_file))
        if relative not in names and os.path.splitext(relative)[0] not in names:
            problems.append(f"{path}: not named in {build_file}")
    return problems


def check_sources(root):
    problems = []
    for directory in ["bitcask", "tools", "test"]:
        # test/install is built by install.sh, from outside.
        sources = [p for p in c_files(root, directory) if p.endswith(".c") and not p.startswith("test/install/")]
        problems += unnamed(root, f"{directory}/meson.build", sources)
    # tap.sh is what the others source.
    scripts = sorted(os.path.relpath(path, root) for path in glob.glob(os.path.join(root, "test/cli/*.sh")))
    return problems + unnamed(root, "test/meson.build", [path for path in scripts if not path.endswith("/tap.sh")])


def check_version(root, version):
    header = read(os.path.join(root, "bitcask/bitcask.h"))
    parts = [re.search(rf"#define BITCASK_VERSION_{part} (\d+)", header) for part in ["MAJOR", "MINOR", "PATCH"]]
    in_header = ".".join(part.group(1) if part else "?" for part in parts)
    problems = []
    if in_header != version:
        problems.append(f"bitcask/bitcask.h says version {in_header}, meson.build {version}")
    if f"## [{version}]" not in read(os.path.join(root, "CHANGELOG.md")):
        problems.append(f"CHANGELOG.md has no heading for version {version}")
    return problems


if __name__ == "__main__":
    finish(check_sources(sys.argv[1]) + check_version(sys.argv[1], sys.argv[2]))
