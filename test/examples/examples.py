#!/usr/bin/env python3
"""examples.py ROOT SESSION_STORE CACHE: the C examples do what docs/embedding.md says, and it shows them as they are; and
docs/operations.md speaks of nothing that is not there. TAP.
"""

import os
import re
import sys
import tempfile

from tap import finish, ok, runs

ROOT, SESSION_STORE, CACHE = sys.argv[1:]


def read(name):
    with open(os.path.join(ROOT, "docs", name), encoding="utf-8") as file:
        return file.read()


def check_document():
    document = read("embedding.md")
    blocks = re.findall(r"^```c\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    sources = {name: read("examples/" + name) for name in os.listdir(os.path.join(ROOT, "docs/examples")) if name.endswith(".c")}
    ok(len(sources) == 2, "two C examples", sorted(sources))
    for name, text in sources.items():
        ok(text in blocks, f"embedding.md shows {name} as it is")
    ok(len(blocks) == len(sources), "and no other program", len(blocks))
    for target in re.findall(r"\]\(([^)#:]+)\)", document):
        ok(os.path.exists(os.path.join(ROOT, "docs", target)), f"embedding.md links to {target}, which exists")


def check_operations():
    document = read("operations.md")
    titles = re.findall(r"^#+ (.*)$", document, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", document):
        good = os.path.exists(os.path.join(ROOT, "docs", target)) if target else anchor in anchors
        ok(good, f"operations.md links to {target}#{anchor}, which exists")
    with open(os.path.join(ROOT, "bitcask/bitcask.h"), encoding="utf-8") as file:
        known = set(re.findall(r"\w+", file.read()))
    # NAME, or NAME=VALUE, or name(): what the header or an option calls so.
    names = set(re.findall(r"`(?:bitcask_stats\.)?([a-z]+(?:_[a-z]+)+)(?:=\w+|\(\))?`", document))
    known |= {"no_mmap", "no_merge", "expiry_secs"}
    ok(len(names) >= 25 and names <= known, "its options, figures and functions are in the header", sorted(names - known))
    tools = os.path.join(ROOT, "tools")
    sources = ""
    for name in os.listdir(tools):
        if name.endswith(".c"):
            with open(os.path.join(tools, name), encoding="utf-8") as file:
                sources += file.read()
    for command in sorted(set(re.findall(r"(?:`|^    )bitcask ([a-z-]+)", document, re.MULTILINE))):
        ok(f'.name = "{command}"' in sources, f"bitcask {command} is a command of the tool")


def check_results():
    """Every result that the header lists has a line in the table of embedding.md."""
    with open(os.path.join(ROOT, "bitcask/bitcask.h"), encoding="utf-8") as file:
        results = file.read().split("#define BITCASK_RESULT_MAP(X)")[1].split("\n\n")[0]
    names = re.findall(r"^    X\((\w+), -?\d+,", results, re.MULTILINE)
    section = read("embedding.md").split("## What each result asks you to do")[1].split("\n## ")[0]
    rows = " ".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))
    ok(names and sorted(re.findall(r"`(\w+)`", rows)) == sorted(names), "each result of the header is explained", rows)


def check_session_store(work):
    want = "c0ffee is user=17;cart=3\nafter logout: not found\n"
    for when in ["a new store", "the same store again"]:
        result = runs(f"session_store: {when}", SESSION_STORE, os.path.join(work, "sessions"))
        ok(result.stdout == want and result.stderr == "", "says what it should", result.stdout)
    with open(os.path.join(work, "file"), "w", encoding="utf-8"):
        pass
    result = runs("session_store: no store possible", SESSION_STORE, os.path.join(work, "file"), code=1)
    ok(result.stderr.startswith("open: BITCASK_"), "the message names the result", result.stderr)


def check_cache(work):
    pages = "<h1>/</h1>\n<h1>/about</h1>\n<h1>/</h1>\n<h1>/</h1>\n<h1>/</h1>\n"
    for hits in [2, 3]:
        result = runs(f"cache: {hits} hits", CACHE, os.path.join(work, "pages"))
        ok(result.stdout == f"{pages}{hits} of 4 from the cache\n", "and the right pages", result.stdout)
    result = runs("cache: no store possible", CACHE, os.path.join(work, "file"), code=1)
    ok(result.stderr.startswith("no cache: "), "is reported", result.stderr)


check_document()
check_operations()
check_results()
with tempfile.TemporaryDirectory() as directory:
    check_session_store(directory)
    check_cache(directory)
finish()
