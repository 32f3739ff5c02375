#!/usr/bin/env python3
"""basho.py FILE PART...: writes a data file in the format of Riak's Bitcask, by hand.

  TIME:KEY=VALUE       a record
  bad:TIME:KEY=VALUE   one whose value is not what its checksum says
  size:TIME:KEY=VALUE  one whose value size is not what it was
  cut:N:TIME:KEY=VALUE its first N bytes
  raw:BYTES            these bytes
  zeros:N              N zeros
  random:N             N bytes without any sense, always the same
  many:N:SIZE          N records with the keys k0, k1, ... and values of SIZE bytes

Keys, values and bytes may have escapes, as \\x00.
"""

import random
import struct
import sys
import zlib


def octets(text):
    return text.encode().decode("unicode_escape").encode("latin-1")


def record(time, key, value):
    body = struct.pack(">IHI", time, len(key), len(value)) + key + value
    return struct.pack(">I", zlib.crc32(body)) + body


def parse(text):
    time, pair = text.split(":", 1)
    key, value = pair.split("=", 1)
    return record(int(time), octets(key), octets(value))


def part(text):
    kind, _, rest = text.partition(":")
    if kind == "bad":
        good = parse(rest)
        return good[:-1] + bytes([good[-1] ^ 1])
    if kind == "size":
        good = parse(rest)
        return good[:11] + bytes([good[11] ^ 0x40]) + good[12:]
    if kind == "cut":
        size, _, rest = rest.partition(":")
        return parse(rest)[: int(size)]
    if kind == "raw":
        return octets(rest)
    if kind == "zeros":
        return bytes(int(rest))
    if kind == "random":
        return random.Random(1).randbytes(int(rest))
    if kind == "many":
        count, size = map(int, rest.split(":"))
        return b"".join(record(1, b"k%d" % i, b"v" * size) for i in range(count))
    return parse(text)


with open(sys.argv[1], "wb") as file:
    for argument in sys.argv[2:]:
        file.write(part(argument))
