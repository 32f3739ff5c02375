#!/bin/sh
# bitcask hint: what it writes, the bar, an interrupt.
. "$(dirname "$0")/tap.sh"
TERM=xterm
export TERM

head -c 30000 /dev/urandom >"$work/value"
mkdir "$work/tree"
i=0
while [ $i -lt 60 ]; do
    cp "$work/value" "$work/tree/$i"
    i=$((i + 1))
done
"$BITCASK" selftest -q -o max_file_size=64k -d "$store" "$work/tree" || exit 1
files=$(find "$store" -name '*.data' | wc -l)

runs 0 'hint of a store that has them' hint "$store"
out_has '^built  *0$' 'writes none'
err_empty 'no bar without a terminal'
rm -f "$store"/*5.hint
missing=$((files - $(find "$store" -name '*.hint' | wc -l)))
runs 0 'hint after some were deleted' hint "$store"
out_has "^data files  *$files$" 'counts the data files'
out_has "^built  *$missing$" 'writes the missing ones'
out_has '^failed  *0$' 'and fails with none'
[ "$(find "$store" -name '*.hint' | wc -l)" -eq "$files" ]
ok $? 'all are there'
runs 0 'hint --all' hint --all -q "$store"
out_is '' 'says nothing with -q'
runs 0 'hint --all --json' hint --all --json "$store"
out_is "{\"files\":$files,\"built\":$files,\"failed\":0}
" 'writes all'
python3 -m json.tool "$work/out" >/dev/null
ok $? 'is JSON'
runs 0 'hint --json -q' hint --json -q "$store"
out_is "{\"files\":$files,\"built\":0,\"failed\":0}
" 'still prints it'

python3 "$(dirname "$0")/tty.py" '' "$BITCASK" hint --all "$store" >"$work/out" 2>"$work/err"
finished $? 0 'hint on a terminal'
out_has "hint  \[[#.]*\]  [0-9]*/$files  [0-9]* %" 'shows a bar'
[ "$(tr '\r' '\n' <"$work/out" | awk '{ if (length($0) > n) n = length($0) } END { print n }')" -le 84 ]
ok $? 'of one line'
tr '\r' '\n' <"$work/out" | tail -n 3 | grep -q "data files"
ok $? 'then the figures'
tr '\r' '\n' <"$work/out" | grep -q "^$(printf '\033')\[Kdata files"
ok $? 'on a line that was erased'
python3 "$(dirname "$0")/tty.py" '' "$BITCASK" hint --all -q "$store" >"$work/out" 2>"$work/err"
out_is '' 'no bar with -q'
python3 "$(dirname "$0")/tty.py" '' env TERM=dumb "$BITCASK" hint --all "$store" >"$work/out" 2>"$work/err"
! grep -q '#' "$work/out"
ok $? 'no bar on a dumb terminal'

# Too early and the signal kills, too late and there is nothing to interrupt.
for signal in INT TERM HUP; do
    code=0
    for delay in 0.05 0.1 0.02 0.2 0.03 0.4 0.01 0.8 0.015 1.6 0.05 0.1 0.02; do
        timeout --preserve-status -s $signal $delay "$BITCASK" hint --all "$store" >"$work/out" 2>"$work/err"
        code=$?
        [ $code -ne 3 ] || break
    done
    finished $code 3 "SIG$signal ends it"
    err_has '^bitcask hint: interrupted' 'says so'
    out_has "^data files  *$files$" 'with figures'
    runs 0 'the store is as it was' count "$store"
    out_is '60
' 'with all its keys'
done
[ -z "$(find "$store" -name '*.tmp*')" ]
ok $? 'nothing is left behind'

# Damage: no hint file is made of it.
file=$(find "$store" -name '*.data' | LC_ALL=C sort | head -n 1)
rm -f "${file%.data}.hint"
dd if=/dev/zero of="$file" bs=1 seek=10000 count=64 conv=notrunc 2>/dev/null
runs 3 'hint of a damaged data file' hint --all "$store"
err_has "^bitcask hint: .*$(basename "$file")" 'names it'

runs 2 'hint without DIR' hint
runs 2 'hint with too many arguments' hint "$store" more
runs 2 'hint with -o' hint -o max_file_size=64k "$store"
runs 2 'hint --frobnicate' hint --frobnicate "$store"

done_testing
