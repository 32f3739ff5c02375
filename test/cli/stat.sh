#!/bin/sh
# bitcask stat: the table, its width, colours, JSON, metrics, advice.
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
out_has '^0000000001  sealed  .*KiB .* [0-9.]*  [#.]\{9\} ' 'a row for a file'
out_has '^keys  *10$' 'the keys'
out_has '^live .*%' 'the live bytes'
out_has '^dead .*KiB$' 'the dead bytes'
out_has '^last sequence ' 'the last sequence'
out_has '^amplification  *[1-9]\.[0-9]* ' 'what a live byte takes'
out_has '^a merge wins  *[0-9.]* KiB (' 'and what a merge would win'
out_has '^0000000001  .* f[a-z]*$' 'a file that is to be merged'
out_has '^MERGE: f fragmented' 'with the reasons'
out_has '^- .* due for a merge' 'advice'
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
assert "fragmented" in files[0]["merge_reasons"] and files[0]["hint"] is True
assert abs(stat["space_amplification"] - stat["disk_bytes"] / stat["live_bytes"]) < 0.001
assert stat["merge"]["won_bytes"] > 0 and stat["missing_hints"] == 0
assert len(stat["advice"]) == 1 and "due" in stat["advice"][0]
EOF
ok $? 'is JSON that adds up'

# Metrics: each name has its HELP and TYPE before its samples, and labels are quoted.
odd="$work/odd \"\\name"
cp -r "$store" "$odd"
for dir in "$store" "$odd"; do
    runs 0 'stat --prometheus' stat --prometheus "$dir"
    python3 - "$work/out" "$dir" <<'EOF'
import os, re, sys

known, samples = {}, {}
for line in open(sys.argv[1], encoding="utf-8").read().splitlines():
    if line.startswith("#"):
        kind, name, text = re.fullmatch(r"# (HELP|TYPE) (bitcask_[a-z_]+) (\S.*)", line).groups()
        known.setdefault(name, {})[kind] = text
        continue
    name, labels, value = re.fullmatch(r"(bitcask_[a-z_]+)\{(.*)\} (\d+)", line).groups()
    assert set(known[name]) == {"HELP", "TYPE"}, name
    labels = dict(re.findall(r'([a-z]+)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)', labels))
    assert re.sub(r"\\(.)", r"\1", labels["store"]) == os.path.realpath(sys.argv[2]), labels
    samples[name, labels.get("state") or labels.get("reason")] = int(value)
assert set(known) == {name for name, _ in samples}
assert samples["bitcask_keys", None] == 10
assert samples["bitcask_data_files", "sealed"] > 1
assert samples["bitcask_live_bytes", None] + samples["bitcask_dead_bytes", None] < samples["bitcask_disk_bytes", None]
assert samples["bitcask_merge_due_files", "fragmented"] > 0 and samples["bitcask_merge_won_bytes", None] > 0
EOF
    ok $? 'is the text format'
done

# What is near: limits are those that are given.
runs 0 'stat with a limit' stat -o max_bytes=2m "$store"
! grep -q max_bytes "$work/out"
ok $? 'which is far'
runs 0 'stat with a limit' stat -o max_bytes=1m -o max_keydir_bytes=off "$store"
! grep -q max_keydir_bytes "$work/out"
ok $? 'without one'
i=11
while [ $i -le 60 ]; do
    "$BITCASK" put -o max_file_size=64k "$store" "key$i" <"$work/value" || exit 1
    i=$((i + 1))
done
runs 0 'stat with a limit' stat -o max_bytes=1m "$store"
out_has '^- the data files take .* of max_bytes' 'which is near'
runs 0 'stat with few open files' stat -o max_open_files=16 "$store"
out_has '^- .*max_open_files' 'than there are'
rm -f "$store"/*2.hint
runs 0 'stat without some hints' stat "$store"
out_has '^missing hints  *[1-9]' 'counts them'
out_has '^- .*no hint file' 'and says what to do'
[ "$(awk '{ if (length($0) > n) n = length($0) } END { print n }' "$work/out")" -le 80 ]
ok $? 'in 80 columns'
runs 0 'stat -q' stat -q "$store"
! grep -q '^- ' "$work/out"
ok $? 'has no advice'
"$BITCASK" merge -q "$store" && "$BITCASK" hint -q "$store"
runs 0 'stat after a merge' stat -o small_file_threshold=off "$store"
! grep -q -e '^- ' -e '^MERGE:' "$work/out"
ok $? 'has none either'
out_has '^a merge wins  *0 B' 'nor anything to win'

runs 2 'stat --json --prometheus' stat --json --prometheus "$store"
runs 2 'stat --color=maybe' stat --color=maybe "$store"
runs 2 'stat without DIR' stat
runs 2 'stat with too many arguments' stat "$store" more

done_testing
