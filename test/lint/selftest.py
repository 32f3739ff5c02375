#!/usr/bin/env python3
"""Each lint passes on a small correct tree and fails, with the right words, on a tree with one violation. Speaks TAP."""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

HEADER = """
#ifndef BITCASK_BITCASK_H
#define BITCASK_BITCASK_H
#include <stddef.h>
#define BITCASK_API __attribute__((visibility("default")))
#define BITCASK_VERSION_MAJOR 1
#define BITCASK_VERSION_MINOR 2
#define BITCASK_VERSION_PATCH 3
#ifdef __cplusplus
extern "C" {
#endif

typedef struct bitcask_options {
    size_t struct_size;
    unsigned flags;
} bitcask_options;
#define BITCASK_OPTIONS_INIT {sizeof(bitcask_options), 0}
BITCASK_API void bitcask_options_init(bitcask_options *options, size_t size);

/* Says hello. */
BITCASK_API int bitcask_hello(void);

#ifdef __cplusplus
}
#endif
#endif
"""

TREE = {
    "meson.build": "",
    "CHANGELOG.md": "## [1.2.3]\n",
    "bitcask/bitcask.h": HEADER,
    "bitcask/meson.build": "files('db.c', 'io_posix.c')",
    "bitcask/io.h": "#include <stddef.h>\n",
    "bitcask/db.h": '#include "bitcask/io.h"\n',
    "bitcask/db.c": '#include "bitcask/db.h"\n\n/* open() */ int f(void) { return io->read(io, "fsync()") + io->\n open(1); }\n',
    "bitcask/io_posix.c": '#include "bitcask/io.h"\n\nint g(void) { return open("x", 0); }\n',
    "tools/meson.build": "files('tool.c')",
    "tools/tool.c": '#include "tools/tool.h"\n#include <bitcask/bitcask.h>\n#include <stdio.h>\n',
    "tools/tool.h": "",
    "test/meson.build": "['unit/test_db.c', 'cli/get.sh']",
    "test/unit/test_db.c": '#include "bitcask/db.h"\n',
    "test/cli/get.sh": "",
    "test/cli/tap.sh": "",
    "test/abi/exported.txt": "bitcask_hello@@LIBBITCASK_0\nbitcask_options_init@@LIBBITCASK_0\n",
}

LIBRARY = 'VISIBLE int bitcask_hello(void); int bitcask_hello(void) { return 1; }\nvoid bitcask_options_init(void); void bitcask_options_init(void) {}\n'
MAP = "LIBBITCASK_0 { global: bitcask_*; local: *; };\n"

# (lint, file to change, its new content or a (old, new) pair, words of the complaint; None: must pass)
CASES = [
    ("includes", None, None, None),
    ("includes", "bitcask/novel.c", "", "bitcask/novel.c: has no layer"),
    ("includes", "bitcask/io.h", '#include "bitcask/db.h"\n', "layer io includes bitcask/db.h of the higher layer db"),
    ("includes", "bitcask/io.h", '/* x */ # include "bitcask/db.h"\n', "higher layer db"),
    ("includes", "bitcask/io.h", '#  include "bitcask/db.h"\n', "higher layer db"),
    ("includes", "bitcask/io.h", "#include <bitcask/db.h>\n", "higher layer db"),
    ("includes", "bitcask/io.h", '/*\n#include "bitcask/db.h"\n*/\n', None),
    ("includes", "bitcask/db.c", '#include <stdio.h>\n#include "bitcask/db.h"\n', "first include must be its own header"),
    ("includes", "bitcask/db.c", '#include "bitcask/db.h"\n#include "io.h"\n', "not a file of the library"),
    ("includes", "bitcask/db.c", '#include "bitcask/db.h"\n#include "bitcask/gone.h"\n', "does not exist"),
    ("includes", "tools/tool.c", '#include "bitcask/db.h"\n', "tools see only <bitcask/bitcask.h>"),
    ("includes", "tools/tool.c", "#include <bitcask/db.h>\n", "tools see only <bitcask/bitcask.h>"),
    ("includes", "tools/tool.c", '#include "bitcask/bitcask.h"\n', "tools see only <bitcask/bitcask.h>"),
    ("includes", "tools/tool.c", '#include "../bitcask/db.h"\n', "tools see only <bitcask/bitcask.h>"),
    ("calls", None, None, None),
    ("calls", "bitcask/db.c", "int f(void) { return fsync (3); }\n", "bitcask/db.c:1: fsync() belongs behind"),
    ("calls", "bitcask/db.c", "\n\nint f(void) { if (x>read(3)) return 1; }\n", "bitcask/db.c:3: read() belongs behind"),
    ("calls", "bitcask/io.h", "static int f(void) { return clock_gettime(0, 0); }\n", "bitcask/io.h:1: clock_gettime()"),
    ("calls", "bitcask/db.c", 'int f(void) { printf("x"); }\n', "the library never calls printf()"),
    ("calls", "bitcask/io_posix.c", "int f(void) { abort(); }\n", "the library never calls abort()"),
    ("public_doc", None, None, None),
    ("public_doc", "bitcask/bitcask.h", ("/* Says hello. */\n", ""), "bitcask_hello() has no comment"),
    ("public_doc", "bitcask/bitcask.h", ("/* Says hello. */\n", "/* Says hello. */\n\n"), "bitcask_hello() has no comment"),
    ("public_doc", "bitcask/bitcask.h", ("hello(void)", "hello(\n  void)"), None),
    ("public_doc", "bitcask/bitcask.h", ("#define BITCASK_OPTIONS_INIT", "#define OTHER"), "bitcask_options_init() has no comment"),
    ("public_doc", "bitcask/bitcask.h", ("bitcask_hello", "hello"), "hello() is not exported"),
    ("public_doc", "bitcask/bitcask.h", "", "no BITCASK_API function found"),
    ("exports", None, None, None),
    ("exports", "test/abi/exported.txt", "bitcask_hello@@LIBBITCASK_0\n", "bitcask_options_init@@LIBBITCASK_0: exported by"),
    ("exports", "bitcask/bitcask.h", ("bitcask_hello(void)", "bitcask_bye(void)"), "bitcask_hello@@LIBBITCASK_0: in test/abi"),
    ("exports", "library.c", ("void bitcask_options_init(void) {}", ""), "but not exported by the library"),
    ("exports", "library.c", ("VISIBLE", "int bitcask_extra(void); int bitcask_extra(void) { return 0; }\n"), "bitcask_extra@@LIBBITCASK_0"),
    ("exports", "test/abi/exported.txt", ("hello@@LIBBITCASK_0\n", "hello@@LIBBITCASK_0\n" * 2), "a line twice"),
    ("header", None, None, None),
    ("header", "bitcask/bitcask.h", ("#include <stddef.h>\n", ""), "size_t"),
    ("header", "bitcask/bitcask.h", ("{sizeof(bitcask_options), 0}", "{.flags = 1}"), "flags"),
    ("header", "bitcask/bitcask.h", ("bitcask_hello(void)", "bitcask_hello(int class)"), "class"),
    ("header", "bitcask/bitcask.h", ("#ifndef BITCASK_BITCASK_H", "#if 1"), "bitcask_options"),
    ("sources", None, None, None),
    ("sources", "bitcask/more.c", "", "bitcask/more.c: not named in bitcask/meson.build"),
    ("sources", "tools/more.c", "", "tools/more.c: not named in tools/meson.build"),
    ("sources", "test/unit/test_more.c", "", "test/unit/test_more.c: not named in test/meson.build"),
    ("sources", "test/cli/more.sh", "", "test/cli/more.sh: not named in test/meson.build"),
    ("sources", "bitcask/bitcask.h", ("MINOR 2", "MINOR 9"), "says version 1.9.3, meson.build 1.2.3"),
    ("sources", "CHANGELOG.md", "", "CHANGELOG.md has no heading for version 1.2.3"),
]


def plant(root, path, content):
    tree = dict(TREE, **{"library.c": LIBRARY})
    if path is not None:
        if isinstance(content, tuple):
            assert content[0] in tree[path], content[0]
            content = tree[path].replace(*content)
        tree[path] = content
    for name, text in tree.items():
        os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
        with open(os.path.join(root, name), "w", encoding="utf-8") as file:
            file.write(text)


def arguments(lint, root):
    if lint == "sources":
        return [root, "1.2.3"]
    if lint != "exports":
        return [root]
    library = os.path.join(root, "lib.so")
    script = os.path.join(root, "lib.map")
    with open(script, "w", encoding="utf-8") as file:
        file.write(MAP)
    source = os.path.join(root, "library.c")
    command = ["cc", "-DVISIBLE=", "-shared", "-fPIC", "-Wl,--version-script," + script, source, "-o", library]
    subprocess.run(command, check=True)
    return [root, library]


def run(lint, path, content, want):
    with tempfile.TemporaryDirectory() as root:
        plant(root, path, content)
        command = [sys.executable, "-B", os.path.join(HERE, lint + ".py"), *arguments(lint, root)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if want is None:
        return result.returncode == 0 and result.stderr == "", result
    return result.returncode == 1 and want in result.stderr, result


def main():
    print(f"1..{len(CASES)}")
    failed = 0
    for number, (lint, path, content, want) in enumerate(CASES, 1):
        good, result = run(lint, path, content, want)
        print(f"{'ok' if good else 'not ok'} {number} - {lint}: {want or 'passes'} ({path or 'the tree as it is'})")
        if not good:
            failed += 1
            print(f"# exit code {result.returncode}\n# " + result.stderr.replace("\n", "\n# "))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
