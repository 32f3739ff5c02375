#!/bin/sh
# bitcask clear asks before; touch gives a key a new expiry.
. "$(dirname "$0")/tap.sh"
tty() {
    input=$1
    shift
    python3 "$(dirname "$0")/tty.py" "$input" "$@" >"$work/out" 2>"$work/err"
}

fill() { "$BITCASK" put "$store" a 1 && "$BITCASK" put "$store" b 2; }
fill
runs 2 'clear without a terminal' clear "$store"
err_has "--yes is needed" 'says what to do'
runs 0 'count' count "$store"
out_is '2
' 'nothing was deleted'
for answer in 'n\n' '\n' 'yy\n' '\004'; do
    tty "$answer" "$BITCASK" clear "$store"
    finished $? 1 "clear, answered with $answer"
    out_has 'Delete all 2 keys of .*? \[y/N\] ' 'asks'
    out_has 'nothing was deleted' 'and deletes nothing'
done
runs 0 'count' count "$store"
out_is '2
' 'all are there'
for answer in 'y\n' 'Yes\n'; do
    fill
    tty "$answer" "$BITCASK" clear "$store"
    finished $? 0 "clear, answered with $answer"
    runs 0 'count' count "$store"
    out_is '0
' 'all are gone'
done
for option in -y --yes -f --force; do
    fill
    runs 0 "clear $option" clear $option "$store"
    out_is '' 'says nothing'
    err_empty 'asks nothing'
    runs 1 'a key' get "$store" a
done
runs 0 'clear of an empty store' clear --yes "$store"
runs 2 'clear without DIR' clear --yes
runs 2 'clear with too many arguments' clear --yes "$store" more

"$BITCASK" put "$store" key value
expiry() {
    "$BITCASK" scan --json --prefix key "$store" | sed 's/.*"expire_at_ms":\([0-9]*\).*/\1/'
}
runs 0 'touch --expire-at' touch --expire-at 99999999999999 "$store" key
[ "$(expiry)" = 99999999999999 ]
ok $? 'sets it'
runs 0 'touch --persist' touch --persist "$store" key
[ "$(expiry)" = 0 ]
ok $? 'takes it away'
before=$(($(date +%s) * 1000))
runs 0 'touch --ttl' touch --ttl 1000 --sync "$store" key
expiry=$(expiry)
[ "$expiry" -ge $((before + 1000000)) ] && [ "$expiry" -le $((before + 1100000)) ]
ok $? 'sets it from now'
runs 0 'get' get "$store" key
out_is value 'the value is as it was'
runs 0 'touch --hex' touch --hex --expire-at 0 "$store" 6b6579
[ "$(expiry)" = 0 ]
ok $? '0 is never'
runs 1 'touch of an absent key' touch --persist "$store" nobody
err_has '^bitcask touch: not found' 'remarks it'
runs 1 'touch -q of an absent key' touch -q --persist "$store" nobody
err_empty 'does not'
runs 0 'touch into the past' touch --expire-at 100000000000 "$store" key
runs 1 'the key' get "$store" key
runs 2 'touch without an expiry' touch "$store" key
runs 2 'touch with two' touch --ttl 5 --persist "$store" key
runs 2 'touch with two others' touch --ttl 5 --expire-at 0 "$store" key
runs 2 'touch --ttl 0' touch --ttl 0 "$store" key
runs 2 'touch --ttl that time cannot hold' touch --ttl 9223372036854775 "$store" key
runs 2 'touch --expire-at in seconds' touch --expire-at 1700000000 "$store" key
runs 2 'touch without KEY' touch --persist "$store"
runs 2 'touch with an empty KEY' touch --persist "$store" ''
runs 2 'touch with too many arguments' touch --persist "$store" key more
runs 2 'touch with a key that is not hex' touch --hex --persist "$store" xy

done_testing
