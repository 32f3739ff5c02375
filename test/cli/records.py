#!/usr/bin/env python3
"""records.py make FILE [KEY_MAX]: writes records of all sorts as JSON Lines, in whatever form JSON allows.
records.py same FILE FILE [no-expiry]: whether two such files have the same records.
records.py redis SOCKET FILE: whether a Redis server has the same records, and no others.
records.py mutate FILE COUNT TO: TO.0 and so on, each is FILE with some bytes changed, lost or doubled.
"""

import base64
import json
import random
import socket
import sys

FAR = 4102444800000  # 2100-01-01


def is_text(data):
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def json_string(text, rng):
    """One of the forms that a string can have."""
    form = rng.randrange(3)
    if form < 2:
        return json.dumps(text, ensure_ascii=form == 0)
    units = text.encode("utf-16-be", "surrogatepass")
    short = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 47: "\\/", 92: "\\\\"}
    codes = [int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2)]
    return '"' + "".join(short.get(c) or rng.choice(["\\u%04x", "\\u%04X"]) % c for c in codes) + '"'


def member(name, data, rng):
    if is_text(data) and rng.random() < 0.9:
        return f'"{name}"', json_string(data.decode(), rng)
    return f'"{name}_b64"', '"' + base64.b64encode(data).decode() + '"'


def line(key, value, expiry, rng):
    members = [member("key", key, rng), member("value", value, rng)]
    if expiry or rng.random() < 0.2:
        members.append(('"expire_at_ms"', str(expiry)))
    if rng.random() < 0.2:
        members.append(('"sequence"', str(rng.randrange(2**64))))
    rng.shuffle(members)

    def space():
        return rng.choice(["", "", "", " ", "\t", " \r "])

    inside = ",".join(f"{space()}{name}{space()}:{space()}{value}{space()}" for name, value in members)
    return f"{space()}{{{inside}}}{space()}"


def make(path, key_max):
    rng = random.Random(7)
    every = bytes(range(256))
    parts = [b"a", b"\n", b"\0", b"\\", b"\\41", b"\\n", b" ", b"\r\n", b'"', b"\xff", b"\xc2\x85", b"\x7f", "ü€😀".encode(), b"$3", b"*1\r\n"]
    keys = {bytes([b]) for b in range(256)} | {every, b"DATA=END", b" ", b"\\\\", b"\\5c"}
    keys |= {b"".join(rng.choice(parts) for _ in range(rng.randint(1, 8))) for _ in range(300)}
    keys |= {b"k" * key_max, rng.randbytes(key_max)}
    values = [b"", every, b"\n", b"DATA=END", b" ", rng.randbytes(300000), b"\\" * 9, b"x" * 5000, b"\0" * 70000, "€".encode() * 40000]
    lines = []
    for key in sorted(keys):
        value = rng.choice(values) if rng.random() < 0.1 else b"".join(rng.choice(parts) for _ in range(rng.randint(0, 8)))
        lines.append(line(key, value, FAR + rng.randrange(10**9) if rng.random() < 0.2 else 0, rng))
    rng.shuffle(lines)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write("\n".join(lines))  # the last line has no newline


def records(path):
    found = {}
    for text in open(path, encoding="utf-8", newline="\n"):
        item = json.loads(text)
        key, value = (
            base64.b64decode(item[name + "_b64"], validate=True) if name + "_b64" in item else item[name].encode()
            for name in ("key", "value")
        )
        assert key not in found, key
        found[key] = (value, item.get("expire_at_ms", 0))
    return found


def same(first, second, no_expiry):
    a, b = records(first), records(second)
    if no_expiry:
        a, b = ({key: value[0] for key, value in side.items()} for side in (a, b))
    differing = [key for key in a.keys() | b.keys() if a.get(key) != b.get(key)]
    for key in differing[:5]:
        print(f"# {key!r}: {str(a.get(key))[:200]} and {str(b.get(key))[:200]}")
    return not differing and len(a) > 0


class Redis:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def __call__(self, *arguments):
        self.socket.sendall(b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in arguments))
        return self.reply()

    def reply(self):
        kind, rest = (header := self.file.readline())[:1], header[1:-2]
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        raise RuntimeError(header)


def redis(path, file):
    call, want = Redis(path), records(file)
    have = {key: (call(b"GET", key), max(call(b"PEXPIRETIME", key), 0)) for key in call(b"KEYS", b"*")}
    differing = [key for key in want.keys() | have.keys() if want.get(key) != have.get(key)]
    for key in differing[:5]:
        print(f"# {key!r}: wanted {str(want.get(key))[:200]}, redis has {str(have.get(key))[:200]}")
    return not differing and len(have) > 0


def mutate(data, rng):
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at : at + rng.randint(1, 9)]
        elif kind == 2:
            data[at:at] = data[at : at + rng.randint(1, 40)]
        else:
            data[at:at] = rng.choice([b"\n", b'"', b"{", b"}", b"\\", b"\\u", b"\0", b"$", b"*", b"-1", b"99999999999", b"=", b" "])
    return data


command, *arguments = sys.argv[1:]
if command == "make":
    make(arguments[0], int(arguments[1]) if len(arguments) > 1 else 65535)
elif command == "mutate":
    whole = open(arguments[0], "rb").read()
    for number in range(int(arguments[1])):
        with open(f"{arguments[2]}.{number}", "wb") as out:
            out.write(mutate(whole, random.Random(number)))
else:
    good = same(*arguments[:2], len(arguments) > 2) if command == "same" else redis(*arguments)
    sys.exit(0 if good else 1)
