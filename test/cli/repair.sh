#!/bin/sh
# bitcask repair: what it keeps, what it says, and its exit codes.
. "$(dirname "$0")/tap.sh"

mkdir "$work/tree"
i=0
while [ $i -lt 30 ]; do
    head -c 9000 /dev/urandom >"$work/tree/file$i"
    i=$((i + 1))
done
"$BITCASK" selftest -q -o max_file_size=64k -d "$work/whole" "$work/tree" || exit 1
cp -r "$work/whole" "$store"
file=$(find "$store" -name '*.data' | LC_ALL=C sort | head -n 1)
base=$(basename "$file")

runs 0 'repair of a clean store' repair "$store"
out_has '^0 errors, 0 warnings' 'finds nothing'
[ ! -e "$store/lost+found" ]
ok $? 'and moves nothing'

printf 'XXXX' | dd of="$file" bs=1 seek=9000 conv=notrunc 2>/dev/null
cp "$file" "$work/damaged"
before=$(find "$store" -type f -exec cksum {} + | sort | cksum)
runs 4 'repair --dry-run' repair --dry-run "$store"
out_has "^$base:0: note: would be replaced" 'says what it would do'
out_has '^would repair: ' 'with figures'
runs 4 'repair -n --json' repair -n --json "$store"
python3 -c 'import json,sys; [json.loads(l) for l in open(sys.argv[1])]' "$work/out"
ok $? 'is JSON'
[ "$(find "$store" -type f -exec cksum {} + | sort | cksum)" = "$before" ]
ok $? 'changes nothing'

# In use.
mkfifo "$work/value"
"$BITCASK" put "$store" held - <"$work/value" >/dev/null 2>&1 &
writer=$!
exec 9>"$work/value"
sleep 0.3
runs 8 'repair of a store in use' repair "$store"
err_has '^bitcask repair: .*open for writing' 'says so'
exec 9>&-
wait $writer
rm -rf "$store"
cp -r "$work/whole" "$store"
cp "$work/damaged" "$file"

if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    chmod 711 "$work"
    chmod 755 "$store"
    setpriv --reuid 65534 --regid 65534 --clear-groups "$BITCASK" repair "$store" >"$work/out" 2>"$work/err"
    finished $? 8 'repair without permission to write'
    err_has "^bitcask repair: $store/LOCK: .*[Pp]ermission denied" 'says so, and where'
    chmod 700 "$store"
fi

runs 1 'repair' repair "$store"
out_has "^$base:8[0-9]*: error: the value is damaged, key " 'says what is damaged'
out_has "^$base:8[0-9]*: error: the last value of this key there is lost" 'what is lost'
out_has "^$base:0: note: [0-9]* records copied to 00000000[0-9]*.data, 1 keys deleted there" 'what is kept'
out_has "^$base:0: note: moved to lost+found/$base" 'and where the file went'
out_has '^repaired: ' 'with figures'
cmp -s "$work/damaged" "$store/lost+found/$base"
ok $? 'which is as it was'
runs 0 'verify after it' verify "$store"
runs 0 'count after it' count "$store"
out_is '29
' 'one is gone'
runs 0 'repair again' repair "$store"
runs 0 'and verify' verify "$store"

# A second one of the same name does not replace the first.
rm "$store"/*.hint
new=$(find "$store" -maxdepth 1 -name '*.data' | LC_ALL=C sort | tail -n 1)
printf 'XXXX' | dd of="$new" bs=1 seek=9000 conv=notrunc 2>/dev/null
mkdir -p "$store/lost+found"
echo mine >"$store/lost+found/$(basename "$new")"
runs 1 'repair of another file' repair -q "$store"
[ "$(cat "$store/lost+found/$(basename "$new")")" = mine ] && [ -e "$store/lost+found/$(basename "$new").2" ]
ok $? 'gives it another name in lost+found'

# The MANIFEST.
rm -rf "$store"
cp -r "$work/whole" "$store"
rm "$store/MANIFEST"
runs 4 'verify without a MANIFEST' verify "$store"
out_has '^MANIFEST:0: error: missing' 'says so'
runs 1 'repair without a MANIFEST' repair "$store"
runs 0 'count after it' count "$store"
out_is '30
' 'all are there'
runs 0 'verify after it' verify "$store"

# A directory instead of a data file cannot get a second name: the operator is told what to do.
rm -rf "$store"
cp -r "$work/whole" "$store"
rm "$file"
mkdir "$file"
runs 12 'repair with a directory in the place of a data file' repair "$store"
err_has "^bitcask repair: $file: .*it is a directory.*move it out of the store by hand and repair again; nothing was changed" \
    'says what to do'
rmdir "$file"
runs 1 'repair after that' repair -q "$store"
runs 0 'verify after it' verify -q "$store"

# An interrupted run: killed at some point, then run again.
for delay in 0.001 0.002 0.004 0.008; do
    rm -rf "$store"
    cp -r "$work/whole" "$store"
    cp "$work/damaged" "$file"
    timeout -s KILL $delay "$BITCASK" repair "$store" >/dev/null 2>&1
    # The killed one may still be dying, with the lock.
    for try in 1 2 3 4 5 6 7 8 9 10; do
        "$BITCASK" repair -q "$store" >"$work/out" 2>"$work/err"
        code=$?
        [ $code -eq 8 ] || break
        sleep 0.$try
    done
    [ $code -le 1 ]
    ok $? "repair after one that was killed after $delay s"
    cmp -s "$work/damaged" "$store/lost+found/$base"
    ok $? 'the damaged file is kept'
    runs 0 'the store is whole' verify -q "$store"
done

runs 8 'repair of a missing directory' repair "$work/none"
err_has 'no such directory' 'says so'
runs 8 'repair of a file' repair "$work/damaged"
mkdir "$work/empty"
runs 8 'repair of an empty directory' repair "$work/empty"
err_has 'there is no store' 'says so'
[ -z "$(ls "$work/empty")" ]
ok $? 'makes nothing there'

runs 16 'repair without DIR' repair
runs 16 'repair with too many arguments' repair "$store" more
runs 16 'repair with -o' repair -o max_file_size=64k "$store"
runs 16 'repair --frobnicate' repair --frobnicate "$store"
runs 0 'repair --help' repair --help

done_testing
