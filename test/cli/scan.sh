#!/bin/sh
# bitcask scan: keys with values, their forms, and damage on the way.
. "$(dirname "$0")/tap.sh"

"$BITCASK" put "$store" a one && "$BITCASK" put "$store" b '' && "$BITCASK" put --expire-at 99999999999999 "$store" c three ||
    exit 1
runs 0 'scan' scan --sorted "$store"
printf 'a\tone\nb\t\nc\tthree\n' >"$work/want"
out_same "$work/want" 'key, TAB, value'
runs 0 'scan --hex' scan --sorted -x --first 62 "$store"
printf '62\t\n63\t7468726565\n' >"$work/want"
out_same "$work/want" 'hex in and out'
runs 0 'scan --json' scan --sorted --json "$store"
out_has '^{"key":"a","value":"one","expire_at_ms":0,"sequence":[1-9][0-9]*}$' 'all that is known'
out_has '^{"key":"c","value":"three","expire_at_ms":99999999999999,"sequence":[1-9][0-9]*}$' 'with the expiry'
runs 0 '--prefix, --last, --limit' scan --sorted --last b --limit 1 --prefix a "$store"
printf 'a\tone\n' >"$work/want"
out_same "$work/want" 'only these'

"$BITCASK" put --hex "$store" 7409 78
runs 3 'a key with a TAB' scan --prefix t "$store"
err_has '1 keys were left out' 'is left out and reported'
out_is '' 'and not printed'
runs 0 'with --hex' scan --hex --prefix 74 "$store"
printf '7409\t78\n' >"$work/want"
out_same "$work/want" 'it is there'
runs 2 'scan without DIR' scan

# A bit in the value of one record.
damaged=$work/damaged
for i in 1 2 3 4 5; do "$BITCASK" put "$damaged" "key$i" "the value number $i of five" || exit 1; done
file=$(grep -l 'number 3 of' "$damaged"/*.data)
offset=$(grep -abo 'number 3 of' "$file" | head -n 1 | cut -d: -f1)
printf X | dd of="$file" bs=1 seek="$offset" conv=notrunc 2>/dev/null
for form in '' --hex --json; do
    # shellcheck disable=SC2086
    runs 3 "scan $form over a damaged record" scan $form "$damaged"
    [ "$(wc -l <"$work/out")" -eq 4 ]
    ok $? 'prints all others'
    err_has '^bitcask scan: .*\.data' 'names the file'
    err_has '^bitcask scan: 1 records could not be read' 'and counts'
done
runs 0 'list reads no record' list "$damaged"
[ "$(wc -l <"$work/out")" -eq 5 ]
ok $? 'and prints all keys'
runs 0 'count' count "$damaged"
runs 3 'get of the damaged record' get "$damaged" key3
runs 0 'get of another' get "$damaged" key4
runs 3 'scan --salvage' scan --salvage "$damaged"
[ "$(wc -l <"$work/out")" -eq 4 ]
ok $? 'prints all others'

# A store that does not open any more: its first data file has lost its head.
rm -f "$damaged"/*.hint
first=$(find "$damaged" -name '*.data' | LC_ALL=C sort | head -n 1)
printf XXXXXXXXXXXXXXXX | dd of="$first" bs=1 conv=notrunc 2>/dev/null
for command in list scan count stat; do
    runs 3 "$command of a store without the head of a data file" $command "$damaged"
    err_has "^bitcask $command: .*\.data" 'names the file'
    out_is '' 'prints nothing'
done
runs 3 'get' get "$damaged" key5
runs 0 'get --salvage' get --salvage "$damaged" key5
out_is 'the value number 5 of five' 'reads what is there'
runs 0 'list --salvage' list --salvage --sorted "$damaged"
out_has '^key5$' 'lists what is there'
runs 0 'count --salvage' count --salvage "$damaged"
out_has '^[45]$' 'counts it'
done_testing
