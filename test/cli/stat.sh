#!/bin/sh
# bitcask stat: the table, its width, colours, JSON.
. "$(dirname "$0")/tap.sh"
unset NO_COLOR CLICOLOR_FORCE
TERM=xterm
LC_ALL=C
export TERM LC_ALL
escape=$(printf '\033')

head -c 20000 /dev/zero >"$work/value"
for i in 1 2 3 4 5 6 7 8 9 10 1 2 3; do
    "$BITCASK" put -o max_file_size=64k "$store" "key$i" <"$work/value" || exit 1
done
runs 0 'stat' stat "$store"
out_has '^ *FILE  STATE ' 'has a head'
out_has '^0000000001  sealed  .*KiB .* [0-9.]*  [#.]\{14\} ' 'a row for a file'
out_has '^keys  *10$' 'the keys'
out_has '^live .*%' 'the live bytes'
out_has '^dead .*KiB$' 'the dead bytes'
out_has '^last sequence ' 'the last sequence'
[ "$(awk '{ if (length($0) > n) n = length($0) } END { print n }' "$work/out")" -le 80 ]
ok $? 'fits 80 columns'
[ "$(grep -c '^[0-9]\{10\}  ' "$work/out")" -eq "$(find "$store" -name '*.data' | wc -l)" ]
ok $? 'a row for each data file'
! grep -q "$escape" "$work/out"
ok $? 'no colour in a pipe'
grep '^[0-9]' "$work/out" | LC_ALL=C sort -c
ok $? 'in the order of their numbers'

LC_ALL=C.UTF-8 "$BITCASK" stat "$store" >"$work/out" 2>"$work/err"
finished $? 0 'stat with UTF-8'
out_has '█' 'has blocks'
! grep -q '#' "$work/out"
ok $? 'and nothing else'

has_color() {
    grep -q "$escape\[3[123]m" "$work/out"
    ok $? "$1"
}
has_none() {
    ! grep -q "$escape" "$work/out"
    ok $? "$1"
}
tty() { python3 "$(dirname "$0")/tty.py" '' "$@" >"$work/out" 2>"$work/err"; }

runs 0 '--color always' stat --color always "$store"
has_color 'has colour'
runs 0 '--color=never' stat --color=never "$store"
has_none 'has none'
CLICOLOR_FORCE=1 "$BITCASK" stat "$store" >"$work/out"
has_color 'CLICOLOR_FORCE gives colour'
CLICOLOR_FORCE=0 "$BITCASK" stat "$store" >"$work/out"
has_none 'CLICOLOR_FORCE=0 gives none'
NO_COLOR=1 CLICOLOR_FORCE=1 "$BITCASK" stat "$store" >"$work/out"
has_none 'NO_COLOR is stronger'
NO_COLOR=1 "$BITCASK" stat --color=always "$store" >"$work/out"
has_color 'the option is stronger'
tty "$BITCASK" stat "$store"
has_color 'a terminal has colour'
tty env NO_COLOR=1 "$BITCASK" stat "$store"
has_none 'not with NO_COLOR'
tty env NO_COLOR= "$BITCASK" stat "$store"
has_color 'an empty NO_COLOR says nothing'
tty env TERM=dumb "$BITCASK" stat "$store"
has_none 'not if it is dumb'
tty "$BITCASK" stat --color=never "$store"
has_none 'not with --color=never'

runs 0 'stat --json' stat --json "$store"
cp "$work/out" "$work/json"
python3 - "$work/json" <<'EOF'
import json, sys

stat = json.loads(open(sys.argv[1]).read())
files = stat["files"]
assert stat["keys"] == 10 and stat["data_files"] == len(files) > 1
assert [file["id"] for file in files] == sorted(file["id"] for file in files)
assert sum(file["keys"] for file in files) == 10
for name in ["live_bytes", "dead_bytes"]:
    assert stat[name] == sum(file[name] for file in files) > 0, name
assert stat["disk_bytes"] == sum(file["size"] for file in files)
assert all(file["state"] in ("open", "sealed") for file in files)
EOF
ok $? 'is JSON that adds up'

runs 2 'stat --color=maybe' stat --color=maybe "$store"
runs 2 'stat without DIR' stat
runs 2 'stat with too many arguments' stat "$store" more

done_testing
