#!/bin/sh
# bitcask verify: what it prints, in both forms, and its exit codes.
. "$(dirname "$0")/tap.sh"
TERM=xterm
export TERM

mkdir "$work/tree"
i=0
while [ $i -lt 30 ]; do
    head -c 9000 /dev/urandom >"$work/tree/file$i"
    i=$((i + 1))
done
"$BITCASK" selftest -q -o max_file_size=64k -d "$store" "$work/tree" || exit 1
files=$(find "$store" -name '*.data' | wc -l)
before=$(find "$store" -type f -exec cksum {} + | sort | cksum)

runs 0 'verify of a clean store' verify "$store"
out_has "^0 errors, 0 warnings, 0 notes in $files data files" 'prints figures'
err_empty 'and nothing else'
runs 0 'verify -q' verify -q "$store"
out_is '' 'prints nothing'
runs 0 'verify --json' verify --json "$store"
python3 -c 'import json,sys; s=[json.loads(l) for l in open(sys.argv[1])][-1]["summary"]; sys.exit(s["errors"]+s["warnings"] or s["records"] != 30)' "$work/out"
ok $? 'ends with its figures as JSON'
runs 0 'verify --recount' verify --recount "$store"
out_has '^30 keys, [0-9]* live bytes, [0-9]* dead bytes$' 'counts keys'
runs 0 'verify after --' verify -- "$store"
[ "$(find "$store" -type f -exec cksum {} + | sort | cksum)" = "$before" ]
ok $? 'writes nothing'

# A program that has it open for writing.
mkfifo "$work/value"
"$BITCASK" put "$store" held - <"$work/value" &
writer=$!
exec 9>"$work/value"
sleep 0.3
runs 0 'verify beside a writer' verify "$store"
out_has '^0 errors, 0 warnings' 'finds nothing'
exec 9>&-
wait $writer
ok $? 'the writer ends well'

# Damage.
file=$(find "$store" -name '*.data' | LC_ALL=C sort | head -n 1)
base=$(basename "$file")
printf 'XXXX' | dd of="$file" bs=1 seek=9000 conv=notrunc 2>/dev/null
runs 4 'verify of a damaged store' verify "$store"
out_has "^$base:8[0-9]*: error: the value is damaged, key \".*file[0-9]*\", sequence [0-9]*, [0-9]* bytes\$" 'prints file, offset and key'
out_has '^1 errors, 0 warnings, 0 notes in ' 'and figures'
runs 4 'verify -q of a damaged store' verify -q "$store"
[ "$(wc -l <"$work/out")" -eq 1 ]
ok $? 'prints the damage only'
runs 4 'verify --json of a damaged store' verify --json "$store"
python3 - "$work/out" "$base" <<'PY'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
f = lines[0]
assert len(lines) == 2 and f["severity"] == "error" and f["code"] == "value" and f["file"] == sys.argv[2], lines
assert f["offset"] >= 8192 and "file" in f["key"] and f["message"] and lines[1]["summary"]["errors"] == 1, lines
PY
ok $? 'is JSON'
runs 4 'verify --color always' verify --color always "$store"
out_has "$(printf '\033')\[31merror" 'colours the word'
NO_COLOR=1 python3 "$(dirname "$0")/tty.py" '' "$BITCASK" verify "$store" >"$work/out" 2>"$work/err"
finished $? 4 'verify on a terminal'
out_has 'verify  \[[#.]*\]  [0-9.]* [KM]*i*B/[0-9.]* KiB  [0-9]* %' 'shows a bar, with bytes'
! grep -q "$(printf '\033')\[3" "$work/out"
ok $? 'no colour with NO_COLOR'

# A key that would command a terminal, or break the line.
evil=$work/evil
printf 'value of some length' | "$BITCASK" put "$evil" "$(printf 'a\nb\033[2Jc"')" - || exit 1
printf 'X' | dd of="$evil/0000000001.data" bs=1 seek=8290 conv=notrunc 2>/dev/null
runs 4 'verify finds the damage of such a key' verify "$evil"
out_has 'key "a\\x0ab\\x1b\[2Jc\\x22"' 'and prints it harmlessly'

# What cannot be checked.
runs 8 'verify of a missing directory' verify "$work/none"
err_has '^bitcask verify: .*no such directory' 'says so'
runs 8 'verify of a file' verify "$file"
err_has '^bitcask verify: ' 'says so'
mkdir "$work/empty"
runs 8 'verify of an empty directory' verify "$work/empty"
err_has 'there is no store' 'says so'
[ -z "$(ls "$work/empty")" ]
ok $? 'makes nothing there'
"$BITCASK" verify "$store" >/dev/full 2>"$work/err"
finished $? 8 'verify with nowhere to print'
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    chmod 711 "$work"
    chmod 755 "$store"
    setpriv --reuid 65534 --regid 65534 --clear-groups "$BITCASK" verify "$store" >"$work/out" 2>"$work/err"
    finished $? 8 'verify without permission to read'
    err_has '^bitcask verify: .*[Pp]ermission denied' 'says so'
fi

runs 16 'verify without DIR' verify
runs 16 'verify with too many arguments' verify "$store" more
runs 16 'verify with -o' verify -o max_file_size=64k "$store"
runs 16 'verify --frobnicate' verify --frobnicate "$store"
runs 16 'verify --color sometimes' verify --color sometimes "$store"
runs 0 'verify --help' verify --help

done_testing
