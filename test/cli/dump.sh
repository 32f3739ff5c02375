#!/bin/sh
# shellcheck disable=SC2016,SC2059
# bitcask dump: what each format looks like, which keys are in it, and that a dump that lacks something shows it.
. "$(dirname "$0")/tap.sh"
here=$(cd "$(dirname "$0")" && pwd)

far=4102444800000
"$BITCASK" put "$store" b 'two words' && "$BITCASK" put --expire-at $far "$store" c '' &&
    "$BITCASK" put -x "$store" 610a5c00ff 5c4100 || exit 1
"$BITCASK" put --expire-at 100000000000 "$store" expired x
"$BITCASK" put "$store" gone x && "$BITCASK" delete "$store" gone

runs 0 'dump' dump --sorted "$store"
printf '%s\n' '{"key_b64":"YQpcAP8=","value":"\\A\u0000"}' '{"key":"b","value":"two words"}' \
    "{\"key\":\"c\",\"value\":\"\",\"expire_at_ms\":$far}" >"$work/want"
out_same "$work/want" 'is JSON Lines: no key that was deleted or expired'
err_empty 'nothing to remark'
runs 0 '--format json' dump --sorted --format json "$store"
out_same "$work/want" 'is the default'

runs 0 '--format db' dump --sorted --format db "$store"
printf '%s\n' VERSION=3 format=bytevalue type=btree HEADER=END ' 610a5c00ff' ' 5c4100' ' 62' ' 74776f20776f726473' ' 63' ' ' \
    DATA=END >"$work/want"
out_same "$work/want" 'is hex'
err_has '^bitcask dump: 1 keys expire, which this format does not carry' 'and says what is lost'
runs 0 '-q' dump -q --format db "$store"
err_empty 'says nothing'
runs 0 '--print' dump --sorted --format=db --print "$store"
# shellcheck disable=SC1003
printf '%s\n' VERSION=3 format=print type=btree HEADER=END ' a\0a\5c\00\ff' ' \5cA\00' ' b' ' two words' ' c' ' ' DATA=END \
    >"$work/want"
out_same "$work/want" 'is characters and escapes'
runs 0 '--format lmdb' dump --sorted --format lmdb --print "$store"
grep -v '^mapsize=[1-9][0-9]*$' "$work/out" | cmp -s - "$work/want" && out_has '^mapsize=' 'has a map size'
ok $? 'and nothing else that db has not'

runs 0 '--format resp' dump --sorted --format resp "$store"
{
    printf '*3\r\n$3\r\nSET\r\n$5\r\na\n\\\000\377\r\n$3\r\n\\A\000\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$9\r\ntwo words\r\n'
    printf '*5\r\n$3\r\nSET\r\n$1\r\nc\r\n$0\r\n\r\n$4\r\nPXAT\r\n$13\r\n%s\r\n' $far
} >"$work/want"
out_same "$work/want" 'is SET commands'

runs 0 '--prefix' dump --prefix b "$store"
out_is '{"key":"b","value":"two words"}
' 'only these'
runs 0 '--first, --last, --limit, --hex' dump --sorted -x --first 610b --last 63 --limit 1 --format db --print "$store"
[ "$(sed -n 5,6p "$work/out" | tr '\n' ,)" = ' b, two words,' ] && [ "$(wc -l <"$work/out")" -eq 7 ]
ok $? 'only these'
"$BITCASK" put "$work/empty" k v && "$BITCASK" delete "$work/empty" k
for format in json db lmdb resp; do
    runs 0 "an empty store as $format" dump --format $format "$work/empty"
    cp "$work/out" "$work/dump"
    feeds "$work/dump" 0 'can be loaded' load --format $format "$work/empty-$format"
    runs 0 'to an empty store' count "$work/empty-$format"
    out_is '0
' 'of no keys'
done

for bad in '--format xml' '--format' '--print' '--format resp --print' '--limit 0' '--hex --prefix 6' '--json'; do
    # shellcheck disable=SC2086
    runs 2 "dump $bad" dump $bad "$store"
    out_is '' 'prints nothing'
done
runs 2 'dump with too many arguments' dump "$store" more
python3 "$here/tty.py" '' "$BITCASK" dump --format resp "$store" >"$work/out" 2>"$work/err"
finished $? 2 'stored bytes do not command a terminal'
python3 "$here/tty.py" '' "$BITCASK" dump "$store" >"$work/out" 2>"$work/err"
finished $? 0 'JSON on a terminal'
! grep -q "$(printf '\033')" "$work/out"
ok $? 'and no bar between its lines'

# A bit in the value of one record.
damaged=$work/damaged
for i in 1 2 3 4 5; do "$BITCASK" put "$damaged" "key$i" "the value number $i of five" || exit 1; done
file=$(grep -l 'number 3 of' "$damaged"/*.data)
offset=$(grep -abo 'number 3 of' "$file" | head -n 1 | cut -d: -f1)
printf X | dd of="$file" bs=1 seek="$offset" conv=notrunc 2>/dev/null
printf '{"key":"key%s","value":"the value number %s of five"}\n' 1 1 2 2 4 4 5 5 >"$work/want"
for format in json db lmdb resp; do
    runs 3 "a damaged record, as $format" dump --format $format --sorted "$damaged"
    err_has "^bitcask dump: $(basename "$file"): .*byte [0-9]" 'is named with file and offset'
    err_has '^bitcask dump: 1 records could not be read' 'and counted'
    cp "$work/out" "$work/dump"
    case $format in
    json) out_has '^{"incomplete":"1 records could not be read"}$' 'the dump says that it lacks something' ;;
    resp) out_has '^BITCASK.INCOMPLETE' 'the dump says that it lacks something' ;;
    *)
        out_has '^DATA=INCOMPLETE$' 'the dump says that it lacks something'
        ! grep -q '^DATA=END' "$work/out"
        ok $? 'and has no DATA=END'
        ;;
    esac
    feeds "$work/dump" 3 'load sees it' load "$work/partial-$format"
    err_has 'the dump says that it is not complete' 'and says so'
    err_has 'the 4 records before that were loaded and are durable' 'and how much there was'
    runs 0 'the rest' dump --sorted "$work/partial-$format"
    out_same "$work/want" 'is there'
done

# A store that does not open any more.
rm -f "$damaged"/*.hint
first=$(find "$damaged" -name '*.data' | LC_ALL=C sort | head -n 1)
printf XXXXXXXXXXXXXXXX | dd of="$first" bs=1 conv=notrunc 2>/dev/null
runs 3 'a store without the head of a data file' dump --format db "$damaged"
err_has "^bitcask dump: .*\.data" 'names it'
out_is '' 'prints nothing, no header either'
runs 3 'dump --salvage' dump --salvage "$damaged"
out_has '^{"key":"key5","value":"the value number 5 of five"}$' 'what can be read'

# A reader that goes away.
head -c 1000000 /dev/zero | "$BITCASK" put "$store" large
mkfifo "$work/pipe"
for format in json db resp; do
    (exec <"$work/pipe" && exit 0) &
    "$BITCASK" dump --format $format -q "$store" >"$work/pipe" 2>"$work/err"
    finished $? 3 "a pipe without a reader, as $format"
    err_empty 'is no news'
    wait
done

# An interrupt while the reader rests: the end says that it is none.
for i in 1 2 3 4 5 6 7 8; do cp "$work/want" "$work/more" && tr '\n' $i <"$work/more" | "$BITCASK" put "$store" "more$i"; done
head -c 1000000 /dev/zero | "$BITCASK" put "$store" large2
"$BITCASK" dump "$store" >"$work/pipe" 2>"$work/err" &
dump=$!
exec 3<"$work/pipe"
dd bs=1 count=1 <&3 >"$work/out" 2>/dev/null
kill -INT $dump
cat <&3 >>"$work/out"
exec 3<&-
wait $dump
finished $? 3 'SIGINT'
err_has '^bitcask dump: interrupted$' 'is said'
[ "$(tail -n 1 "$work/out")" = '{"incomplete":"it ended early"}' ]
ok $? 'at the end of the dump, too'
[ "$(wc -l <"$work/out")" -le "$("$BITCASK" count "$store")" ]
ok $? 'which came before the last record'

# Not for others.
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    cp "$BITCASK" "$work/tool" && chmod 755 "$work" "$work/tool"
    LD_LIBRARY_PATH="$(dirname "$BITCASK")/../bitcask" setpriv --reuid=65534 --clear-groups \
        "$work/tool" dump "$store" >"$work/out" 2>"$work/err"
    finished $? 3 'a store that may not be read'
    err_has '^bitcask dump: .*Permission denied' 'says so'
else
    skip 'a store that may not be read' 'needs root and setpriv'
fi
done_testing
