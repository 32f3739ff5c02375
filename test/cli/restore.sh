#!/bin/sh
# bitcask restore: a backup becomes a store again; what it refuses.
. "$(dirname "$0")/tap.sh"
to=$work/restored

head -c 3000 /dev/urandom >"$work/value"
mkdir "$work/tree"
i=0
while [ $i -lt 60 ]; do
    cp "$work/value" "$work/tree/$i"
    i=$((i + 1))
done
"$BITCASK" selftest -q -o max_file_size=64k -d "$store" "$work/tree" || exit 1
runs 0 'a backup' backup "$store" "$work/backup"
rm -rf "$store"
runs 0 'restore' restore "$work/backup" "$to"
files=$(find "$work/backup" -name '*.data' | wc -l)
out_has "^data files  *$files$" 'tells the data files'
out_has "^copied  *$files$" 'all are copied'
err_empty 'and nothing else'
[ -z "$(find "$to" -name '*.data' -links +1)" ]
ok $? 'none is a link'
runs 0 'count' count "$to"
out_is '60
' 'has all keys'
runs 0 'get' get "$to" "$work/tree/7"
out_same "$work/value" 'and values'
runs 0 'put' put "$to" new value
runs 0 'count of the backup' count "$work/backup"
out_is '60
' 'it was not changed'

mkdir "$work/empty"
runs 0 'restore into an empty directory' restore --json -q "$work/backup" "$work/empty"
python3 -c "
import json, sys
r = json.load(open('$work/out'))
sys.exit(r['files'] != $files or r['copied'] != $files)"
ok $? 'prints JSON'
runs 3 'restore into the same' restore "$work/backup" "$work/empty"
err_has 'a store is there' 'is refused'
runs 3 'a backup into a restored store' backup "$work/backup" "$work/empty"
err_has 'no backup' 'is refused, too'
runs 0 'restore of a restored store' restore -q "$to" "$work/again"
out_is '' 'is quiet with -q'
runs 0 'get' get "$work/again" new
out_is value 'has all of it'

runs 2 'restore without arguments' restore
runs 2 'restore without DST' restore "$work/backup"
runs 2 'restore with too many arguments' restore "$work/backup" "$work/x" more
runs 2 'restore --frobnicate' restore --frobnicate "$work/backup" "$work/x"
mkdir "$work/full" "$work/nothing"
echo text >"$work/full/letter"
echo text >"$work/file"
for dir in none nothing file; do
    runs 3 "restore of SRC: $dir" restore "$work/$dir" "$work/x"
    err_has '^bitcask restore: .' 'says why'
    [ ! -e "$work/x" ]
    ok $? 'makes nothing'
done
runs 3 'restore into a directory with other things' restore "$work/backup" "$work/full"
err_has 'not empty' 'says why'
[ "$(ls -A "$work/full")" = letter ]
ok $? 'changes nothing there'
runs 3 'restore into a file' restore "$work/backup" "$work/file"
runs 3 'restore into the backup itself' restore "$work/backup" "$work/backup"

# A damaged backup is known before anything is written.
file=$(find "$work/backup" -name '*.data' | LC_ALL=C sort | head -n 1)
printf 'x' | dd of="$file" bs=1 seek=20000 count=1 conv=notrunc 2>/dev/null
runs 3 'restore of a damaged backup' restore "$work/backup" "$work/x"
err_has "$(basename "$file")" 'names the file'
[ ! -e "$work/x" ]
ok $? 'writes nothing'

done_testing
