#!/bin/sh
# Every line of --json is JSON and says the bytes, whatever they are.
. "$(dirname "$0")/tap.sh"

cat >"$work/fill.py" <<'EOF'
"""Puts keys and values of every byte, every border of UTF-8, and at random; writes down what was put."""
import json, random, subprocess, sys

tool, store, want = sys.argv[1:]
random.seed(3)
borders = [0, 0x1F, 0x20, 0x22, 0x5C, 0x7E, 0x7F, 0x80, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xED, 0xEE, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF]
keys = [bytes([b]) for b in borders] + [bytes(range(128)), bytes(range(256))]
keys += [chr(c).encode() for c in (0x7F, 0x80, 0x85, 0x9F, 0xA0, 0x7FF, 0x800, 0x2028, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF)]
keys += [b"\xc0\x80", b"\xed\xa0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"a\xf0\x9f\x98"]
keys += [bytes(random.choice(borders) for _ in range(random.randint(2, 5))) for _ in range(20)]
pairs = {}
for key in keys:
    value = random.choice(keys) * random.randint(0, 3)
    subprocess.run([tool, "put", "-x", store, key.hex(), value.hex()], check=True)
    pairs[key.hex()] = value.hex()
json.dump(pairs, open(want, "w"))
EOF
cat >"$work/check.py" <<'EOF'
"""The lines of scan, and of list, say exactly what was put."""
import base64, json, sys

def member(line, name):
    return base64.b64decode(line[name + "_b64"], validate=True) if name + "_b64" in line else line[name].encode()

want = json.load(open(sys.argv[1]))
lines = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8", newline="\n")]
if sys.argv[3] == "scan":
    assert {member(line, "key").hex(): member(line, "value").hex() for line in lines} == want
else:
    assert sorted((line.encode() if isinstance(line, str) else member(line, "key")).hex() for line in lines) == sorted(want)
assert len(lines) == len(want)
EOF
python3 "$work/fill.py" "$BITCASK" "$store" "$work/want"
ok $? 'keys and values of all bytes'
for command in scan list; do
    runs 0 "$command --json" $command --json "$store"
    python3 "$work/check.py" "$work/want" "$work/out" $command
    ok $? 'says what was put'
    python3 -m json.tool --json-lines "$work/out" /dev/null
    ok $? 'every line is JSON'
    [ -z "$(LC_ALL=C tr -d '\n\040-\176\200-\377' <"$work/out")" ]
    ok $? 'without a control character'
done

done_testing
