#!/usr/bin/env python3
"""man.py ROOT CC...: the manual pages say what the header, the tool, the format and its code say. Speaks TAP.

bitcask(3) names every public function and result, and its example compiles; bitcask(1) has every command and its options;
bitcask(5) has the tables of docs/format.md, and the sizes and magic numbers of the code.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from tap import finish, ok, runs, skip

ROOT, COMPILER = sys.argv[1], sys.argv[2:]


def read(*names):
    found = ""
    for pattern in names:
        for name in sorted(glob.glob(os.path.join(ROOT, pattern))):
            with open(name, encoding="utf-8") as file:
                found += file.read()
    return found


def page(name):
    return read(f"docs/man/{name}.scd")


def blocks(text):
    """The literal blocks of a page, as they are shown."""
    found = re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\\(.)", r"\1", block) for block in found]


# ---- bitcask(3) ----


def check_api():
    header, text = read("bitcask/bitcask.h"), page("bitcask.3")
    functions = set(re.findall(r"^BITCASK_API\b[^;]*?\b(\w+)\s*\(", header, re.MULTILINE))
    named = set(re.findall(r"\*(bitcask_\w+)\*\(", text))
    ok(functions and functions <= named, "bitcask(3) names every public function", sorted(functions - named))
    ok(named <= functions, "and no other", sorted(named - functions))
    results = {"BITCASK_" + name for name in re.findall(r"^    X\((\w+), -\d+,", header, re.MULTILINE)}
    section = text.split("# RESULTS")[1].split("\n# ")[0]
    listed = set(re.findall(r"BITCASK_\w+", "".join(re.findall(r"^\*.*", section, re.MULTILINE))))
    ok(results and results == listed, "and every result", sorted(results ^ listed))
    constants = {name.replace("\\", "") for name in re.findall(r"\*(BITCASK_\w+)\*", text)}
    unknown = [name for name in constants if name not in results and not re.search(rf"\b{name}\b", header)]
    ok(unknown in ([], ["BITCASK_OK"]), "every constant is one of the header", unknown)


def check_example(work):
    programs = [block for block in blocks(page("bitcask.3")) if "int main(void)" in block]
    ok(len(programs) == 1, "bitcask(3) has an example", len(programs))
    source = os.path.join(work, "example.c")
    with open(source, "w", encoding="utf-8") as file:
        file.write("".join(programs))
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", ROOT, "-fsyntax-only"]
    runs("which compiles", *COMPILER, *flags, source)


# ---- bitcask(1) ----


def check_commands():
    text = page("bitcask.1")
    section = text.split("# COMMANDS")[1].split("\n# ")[0]
    explained = set(re.findall(r"^\*([a-z-]+)\*$", section, re.MULTILINE))
    synopsis = text.split("# SYNOPSIS")[1].split("\n# ")[0]
    shown = set(re.findall(r"[ |]\*([a-z][a-z-]*)\*", synopsis))
    sources = read("tools/cmd_*.c", "tools/bitcask.c")
    commands = set(re.findall(r'^    \.name = "([a-z-]+)"', sources, re.MULTILINE))
    ok(len(commands) >= 12 and commands == explained, "bitcask(1) explains every command", sorted(commands ^ explained))
    ok(commands <= shown, "and shows how to call it", sorted(commands - shown))
    options = set(re.findall(r'^ *"(?:  -\w, |      )(--[a-z-]+)', sources, re.MULTILINE))
    shown = read("README.md").split("## The command-line tool")[1].split("\n## ")[0]
    absent = [command for command in sorted(commands - {"help"}) if not re.search(rf"\bbitcask {command}\b|`{command}`", shown)]
    ok(not absent, "README.md names every command", absent)
    missing = [option for option in sorted(options) if f"*{option}*" not in text]
    ok(len(options) >= 15 and not missing, "and every option", missing)


# ---- bitcask(5) ----


def tables_of_document():
    """Offsets and types of each table of fields in docs/format.md."""
    tables = []
    for rows in re.findall(r"^\| offset \| type \| field \|\n\|[-|]*\n((?:\|.*\n)+)", read("docs/format.md"), re.MULTILINE):
        cells = [[cell.strip() for cell in row.split("|")] for row in rows.splitlines()]
        tables.append([(cell[1], cell[2]) for cell in cells])
    return tables


def tables_of_page(text):
    tables = []
    for block in blocks(text):
        lines = block.splitlines()
        if not lines[0].startswith("offset "):
            continue
        type_at, field_at = lines[0].index("type"), lines[0].index("field")
        rows = [(line[:type_at].strip(), line[type_at:field_at].strip()) for line in lines[1:]]
        tables.append([row for row in rows if row != ("", "")])
    return tables


def constants():
    """The numbers that the format's headers define."""
    found = {"UINT32_MAX": 2**32 - 1}
    for name, value in re.findall(r"^#define (BC_\w+) ([^\n/]+)", read("bitcask/format_*.h"), re.MULTILINE):
        value = re.sub(r"\b(\d+)U\b", r"\1", value)
        if re.fullmatch(r"[\w ()+*-]+", value):
            found[name] = eval(value, {"__builtins__": {}}, found)  # pylint: disable=eval-used
    return found


def check_numbers(text):
    number = constants()
    flat = re.sub(r"\s+", " ", re.sub(r"[*_\\]", "", text))
    want = [
        "version, {BC_FORMAT_VERSION}",
        "u32 header size, {BC_DATA_HEADER_SIZE}",
        "slot 0 at offset {BC_DATA_MARK_OFFSET} and",
        "slot 1 at {slot1}, ",
        "from offset {BC_DATA_START} on",
        "at most {BC_DATA_INPUTS_MAX} in a",
        "{BC_DATA_KIND_LOG} log, {BC_DATA_KIND_MERGE} merge output",
        "state: {BC_MANIFEST_OPEN} open, {BC_MANIFEST_SEALED} sealed",
        "flags: {BC_MANIFEST_CLEAN} clean",
        "at a multiple of {BC_RECORD_ALIGN}.",
        "takes its {BC_RECORD_HEADER} (or {expiring}) bytes",
        "{BC_RECORD_PUT} put 1 to {BC_KEY_MAX:,} 0 to {BC_VALUE_MAX:,} may be expires",
        "{BC_RECORD_TOMBSTONE} tombstone 1 to {BC_KEY_MAX:,} 0 0",
        "{BC_RECORD_BATCH} batch 0 {BC_BATCH_VALUE} 0",
        "{BC_RECORD_LINK} link 0 {BC_LINK_VALUE} 0",
        "flags: {BC_RECORD_EXPIRES} expires",
        "u32 header size, {BC_HINT_HEADER}",
        "{BC_HINT_BLOCK_HEADER} payload: the entries",
        "at most {BC_HINT_BLOCK_PAYLOAD:,}",
        "{BC_HINT_ENTRY} i64 only with expires",
    ]
    number["slot1"] = number["BC_DATA_MARK_OFFSET"] + number["BC_DATA_MARK_SECTOR"]
    number["expiring"] = number["BC_RECORD_HEADER"] + number["BC_RECORD_EXPIRY"]
    for template in want:
        sentence = template.format(**number)
        ok(sentence in flat, f"bitcask(5) says: {sentence}")


def check_magic(text):
    code = read("bitcask/format_*.c")
    magics = re.findall(r"^static const char \w*magic\[\d\] = \{(.*)\};", code, re.MULTILINE)
    ok(len(magics) == 4, "four magic numbers in the code", magics)
    for magic in magics:
        octets = [eval("b" + char, {})[0] for char in magic.split(", ")]  # pylint: disable=eval-used
        if len(octets) == 8:
            shown = "magic: " + " ".join(f"{octet:02x}" for octet in octets)
        else:
            shown = bytes(octets).decode()
        ok(shown in text, f"bitcask(5) has {shown}")


def check_format():
    text = page("bitcask.5")
    document, shown = tables_of_document(), tables_of_page(text)
    ok(len(document) >= 10 and len(document) == len(shown), "as many tables as docs/format.md", (len(document), len(shown)))
    for want, have in zip(document, shown):
        ok(want == have, f"offsets and types up to {want[-1]}", f"{want}\n{have}")
    check_numbers(text)
    check_magic(text)


# ---- all of them ----


def check_rendering(work):
    build = read("docs/man/meson.build")
    for path in sorted(glob.glob(os.path.join(ROOT, "docs/man/*.scd"))):
        name = os.path.basename(path)[: -len(".scd")]
        ok(f"'{name}'" in build, f"{name} is installed")
        if not shutil.which("scdoc"):
            skip(f"{name} renders", "scdoc is not installed")
            continue
        with open(path, encoding="utf-8") as file:
            result = subprocess.run(["scdoc"], stdin=file, capture_output=True, text=True, check=False)
        ok(result.returncode == 0 and result.stderr == "", f"{name} renders", result.stderr)
        ok(all(line[-1:] != " " for line in read(f"docs/man/{name}.scd").splitlines()), "without blanks at the end of lines")
        if shutil.which("groff"):
            out = os.path.join(work, name)
            with open(out, "w", encoding="utf-8") as file:
                file.write(result.stdout)
            shown = runs("and formats", "groff", "-man", "-Tutf8", "-ww", "-z", out)
            ok(shown.stderr == "", "without a warning", shown.stderr)


with tempfile.TemporaryDirectory() as directory:
    check_api()
    check_example(directory)
    check_commands()
    check_format()
    check_rendering(directory)
finish()
