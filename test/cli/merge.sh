#!/bin/sh
# bitcask merge: what it wins, what it would win, the bar, an interrupt, damage.
. "$(dirname "$0")/tap.sh"
TERM=xterm
export TERM

# expect_keys N NAME
expect_keys() {
    runs 0 'count' count "$store"
    out_is "$1
" "$2"
}

size_of() { cat "$1"/*.data | wc -c; }

# field NAME: of the JSON in $work/out, which must be one object.
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/out" "$1"; }

head -c 20000 /dev/urandom >"$work/value"
for i in 1 2 3 4 5 6 7 8 9 10 1 2 3; do
    "$BITCASK" put -o max_file_size=64k "$store" "key$i" <"$work/value" || exit 1
done
"$BITCASK" delete "$store" key5
cp -r "$store" "$work/origin"
# Data files by age; ids may have gaps. The first three hold the values of key1 to key3 that were overwritten.
nth() { basename "$(find "$work/origin" -name '*.data' | LC_ALL=C sort | sed -n "$1p")" .data; }
first=$(nth 1)
second=$(nth 2)
later=$(nth 5)

# ---- what would be done

sum() { cat "$store"/* | cksum; }
before=$(sum)
runs 0 'merge --dry-run' merge --dry-run "$store"
out_has '^ *FILE .*REASONS' 'has a head'
out_has "^$first .* fragmented" 'a file with the reasons'
out_has '^would merge  *[0-9]* of [0-9]* data files, ' 'how many'
out_has '^would win  *[0-9.]* KiB' 'and what it wins'
[ "$(sum)" = "$before" ]
ok $? 'nothing was written'
runs 0 'merge -n -q' merge -n -q "$store"
out_is '' 'says nothing'
runs 0 'merge --dry-run --json -q' merge --dry-run --json -q "$store"
win=$(field won_bytes)
runs 0 'merge --dry-run --policy' merge --dry-run --policy -o small_file_threshold=off "$store"
[ "$(grep -c '^[0-9]\{10\}' "$work/out")" -eq "$(grep -c '^[0-9]\{10\}.* fragmented$' "$work/out")" ] &&
    grep -q "^$first " "$work/out" && ! grep -q "^$later " "$work/out"
ok $? 'has the files that policy takes'
runs 0 'with other options of policy' merge --dry-run --policy -o small_file_threshold=off -o frag_merge_trigger=off "$store"
out_has '^would merge  *0 of ' 'it takes none'
runs 0 'merge --dry-run --file' merge --dry-run --file "$(echo "$later" | sed 's/^0*//')" --file "$store/$second.data" --file "$second.data" "$store"
[ "$(grep -o '^[0-9]\{10\}' "$work/out" | tr '\n' ' ')" = "$second $later " ]
ok $? 'has these files'
runs 2 'of a file that is not there' merge --dry-run --file 99 "$store"
err_has '^bitcask merge: 99 is not' 'names it'

# ---- what is done

files() { find "$store" -name '*.data' | wc -l; }
count=$(files)
was=$(size_of "$store")
runs 0 'merge --file' merge --json --file "$second" --file "$first.data" "$store"
[ "$(field files_in) $(field files_out) $(field result)" = '2 1 BITCASK_OK' ]
ok $? 'merges these'
[ ! -e "$store/$first.data" ] && [ ! -e "$store/$second.data" ] && [ "$(files)" -eq $((count - 1)) ]
ok $? 'and no other'
runs 2 'merge of a file that is gone' merge --file "$first" "$store"
err_has '^bitcask merge: [0-9]* is not' 'names it'
rm -rf "$store"
cp -r "$work/origin" "$store"

runs 0 'merge --policy' merge --policy -o small_file_threshold=off --json "$store"
[ "$(field files_in)" -gt 0 ] && [ ! -e "$store/$first.data" ] && [ -e "$store/$later.data" ]
ok $? 'merges what policy takes'
expect_keys 9 'and no key is lost'
rm -rf "$store"
cp -r "$work/origin" "$store"

runs 0 'merge' merge "$store"
out_has '^merged  *[0-9]* data files, ' 'says what went'
out_has '^into  *1 data files, ' 'what was made of it'
out_has '^won  *[0-9.]* KiB ([0-9.]* %)$' 'what it won'
out_has '^tombstones  1 dropped, 0 kept$' 'and that the tombstone is gone'
err_empty 'no bar without a terminal'
now=$(size_of "$store")
[ $((was - now)) -eq "$win" ]
ok $? 'it won what was foretold'
expect_keys 9 'no key is lost'
for i in 1 4 10; do
    runs 0 "get key$i" get "$store" key$i
    out_same "$work/value" 'and no value'
done
runs 1 'get of what was deleted' get -q "$store" key5
runs 0 'merge again' merge --json -q "$store"
[ "$(field files_in)" -eq 0 ]
ok $? 'has nothing to do'
runs 0 'stat --json' stat --json "$store"
[ "$(field dead_bytes)" -lt 400 ]
ok $? 'nothing is dead but the links'

# A put that expired goes, too.
runs 0 'put' put --expire-at 1900000000000 "$store" later x
runs 0 'put of what has expired' put --expire-at 1000000000000 "$store" gone x
runs 0 'merge' merge --json "$store"
[ "$(field expired)" -eq 1 ]
ok $? 'it is dropped'
expect_keys 10 'and the other is kept'

# ---- a larger one: the bar, an interrupt

rm -rf "$store" "$work/tree"
mkdir "$work/tree"
head -c 300000 /dev/urandom >"$work/value"
i=0
while [ $i -lt 20 ]; do
    cp "$work/value" "$work/tree/$i"
    i=$((i + 1))
done
# The second time one key of each file is overwritten, so that every file must be read.
"$BITCASK" selftest -q -o max_file_size=1m -o no_merge=true -d "$store" "$work/tree" || exit 1
"$BITCASK" list -q "$store" >"$work/keys" || exit 1
awk 'NR % 3 == 1' "$work/keys" | while read -r key; do
    "$BITCASK" put -o max_file_size=1m "$store" "$key" <"$work/value" || exit 1
done
rm -rf "$work/origin"
cp -r "$store" "$work/origin"

python3 "$(dirname "$0")/tty.py" '' "$BITCASK" merge -o max_file_size=1m "$store" >"$work/out" 2>"$work/err"
finished $? 0 'merge on a terminal'
out_has 'merge  \[[#.]*\]  [0-9.]* [KM]*i*B/[0-9.]* MiB  [0-9]* %' 'shows a bar'
tr '\r' '\n' <"$work/out" | grep -q "^$(printf '\033')\[Kmerged  "
ok $? 'then the figures, on a line that was erased'
rm -rf "$store"
cp -r "$work/origin" "$store"
python3 "$(dirname "$0")/tty.py" '' "$BITCASK" merge -q "$store" >"$work/out" 2>"$work/err"
out_is '' 'no bar with -q'

rm -rf "$store"
cp -r "$work/origin" "$store"
python3 "$(dirname "$0")/tty.py" '' "$BITCASK" merge -o max_file_size=1m --rate-limit 10m "$store" >"$work/out" 2>"$work/err"
out_has 'merge  \[[#.]*\]  .* %  [0-9.]* [KM]*i*B/s  ETA [0-9]*:[0-9]*' 'a bar that lasts shows the speed and the time left'
[ "$(tr '\r' '\n' <"$work/out" | awk '{ if (length($0) > n) n = length($0) } END { print n }')" -le 84 ]
ok $? 'in one line'

# So slow that the signal comes in the middle.
for signal in INT TERM HUP; do
    rm -rf "$store"
    cp -r "$work/origin" "$store"
    timeout --preserve-status -s $signal 1 "$BITCASK" merge -o max_file_size=1m --rate-limit 2m "$store" >"$work/out" 2>"$work/err"
    finished $? 3 "SIG$signal ends it"
    err_has '^bitcask merge: interrupted after [0-9]* data files; the store is valid' 'says so'
    out_has '^merged  *[0-9]* data files, ' 'with figures'
    expect_keys 20 'no key is lost'
    # Files that no MANIFEST lists are removed by an open for writing.
    runs 0 'merge goes on' merge -o max_file_size=1m "$store"
    expect_keys 20 'no key is lost'
    runs 0 'nothing is left' stat --json "$store"
    [ "$(field disk_bytes)" -eq "$(size_of "$store")" ]
    ok $? 'that is not listed'
done
code=0
rm -rf "$store"
cp -r "$work/origin" "$store"
"$BITCASK" merge --rate-limit 100k "$store" >"$work/out" 2>"$work/err" &
pid=$!
sleep 0.5
kill -INT $pid 2>/dev/null
kill -INT $pid 2>/dev/null
wait $pid
code=$?
[ $code -eq 3 ] || [ $code -eq 130 ]
ok $? "a second signal ends it, too ($code)"
expect_keys 20 'and no key is lost'

# ---- damage

rm -rf "$store"
cp -r "$work/origin" "$store"
# One that a merge must read: something lives in it, and something is dead.
id=$("$BITCASK" merge --dry-run "$store" | awk '/^[0-9]/ && $4 > 0 { print $1; exit }')
file=$store/$id.data
dd if=/dev/zero of="$file" bs=1 seek=100000 count=64 conv=notrunc 2>/dev/null
runs 3 'merge of a damaged data file' merge "$store"
err_has '^bitcask merge: .*damaged' 'says so'
[ -e "$file" ]
ok $? 'keeps it'

store=$work/none
runs 3 'merge of no store' merge "$store"
no_store 'makes none'
runs 3 'merge --dry-run of no store' merge --dry-run "$store"
runs 2 'merge without DIR' merge
runs 2 'merge with too many arguments' merge "$store" more
runs 2 'merge --policy --file' merge --policy --file 1 "$store"
for file in x 1x '' -1 1.hint 99999999999999999999; do
    runs 2 "merge --file '$file'" merge --file "$file" "$store"
done
runs 2 'merge --rate-limit fast' merge --rate-limit fast "$store"
err_has '^bitcask merge: --rate-limit fast: ' 'is named'

done_testing
