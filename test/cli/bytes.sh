#!/bin/sh
# Values are bytes: any of them, any number, through stdin and stdout, as they are or as hex.
. "$(dirname "$0")/tap.sh"

i=0
while [ $i -lt 256 ]; do
    # shellcheck disable=SC2059
    printf "\\$(printf '%03o' $i)"
    i=$((i + 1))
done >"$work/all"
[ "$(wc -c <"$work/all")" -eq 256 ]
ok $? 'a file of every byte value'
: >"$work/empty"
cat "$work/all" "$work/all" "$work/all" "$work/all" >"$work/1k"
for _ in 1 2 3 4 5 6 7 8; do cat "$work/1k"; done >"$work/8k"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do cat "$work/8k"; done >"$work/128k"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do cat "$work/128k"; done >"$work/2m"
printf '\n' >>"$work/2m"

for file in all empty 1k 8k 128k 2m; do
    feeds "$work/$file" 0 "put of $file from stdin" put "$store" "$file"
    feeds "$work/$file" 0 "put of $file with -" put "$store" "$file-dash" -
    runs 0 "get of $file" get "$store" "$file"
    out_same "$work/$file" "$file comes back byte for byte"
    runs 0 "get of $file put with -" get "$store" "$file-dash"
    out_same "$work/$file" "$file comes back byte for byte with -"
done
runs 0 'an empty VALUE' put "$store" nothing ''
runs 0 'is a value' get "$store" nothing
out_is '' 'of no bytes'

# Hex. The key is the three bytes NUL, 0xff, newline.
feeds "$work/all" 0 'put the bytes' put "$store" bytes
runs 0 'get --hex' get --hex "$store" 6279746573
[ "$(wc -c <"$work/out")" -eq 513 ]
ok $? 'two digits a byte and a newline'
out_has '^000102030405060708090a0b.*fcfdfeff$' 'the digits'
cp "$work/out" "$work/hex"
feeds "$work/hex" 0 'put --hex takes what get --hex prints' put --hex "$store" 00FF0a
runs 0 'a key with NUL and newline' get --hex "$store" 00ff0a
out_same "$work/hex" 'its value'
runs 0 'a hex VALUE' put --hex "$store" 61 '00 01
 Fe'
runs 0 'is found under the key in plain text' get "$store" a
printf '\000\001\376' >"$work/want"
out_same "$work/want" 'its bytes'
runs 0 'an empty hex value' put --hex "$store" 62 ''
runs 0 'comes back' get --hex "$store" 62
out_is '
' 'as an empty line'
runs 0 'delete --hex' delete --hex "$store" 00ff0a
runs 1 'deleted it' get --hex "$store" 00ff0a

runs 2 'an odd number of digits' get --hex "$store" 616
runs 2 'no hex' put --hex "$store" 61 xy
printf '6' >"$work/odd"
feeds "$work/odd" 2 'no hex on stdin' put --hex "$store" 61
runs 0 'the value before' get --hex "$store" 61
out_is '0001fe
' 'is still there'

# Keys: 1 to 65,535 bytes.
long=$(head -c 60000 /dev/zero | tr '\0' k)
runs 0 'a key of 60,000 bytes' put "$store" "$long" long
runs 0 'is found' get "$store" "$long"
out_is 'long' 'its value'
longer=$(head -c 65536 /dev/zero | tr '\0' k)
runs 3 'a key of 65,536 bytes' put "$store" "$longer" longer

done_testing
