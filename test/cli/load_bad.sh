#!/bin/sh
# shellcheck disable=SC2016,SC2059
# bitcask load: what it refuses and where, and that all before that is in the store and nothing after it.

# Hundreds of small stores: where syncs cost nothing.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
. "$(dirname "$0")/tap.sh"
here=$(cd "$(dirname "$0")" && pwd)

# loads CODE NAME ARGUMENT...: stdin is $work/in, the store a new one.
loads() {
    rm -rf "$store"
    code=$1
    name=$2
    shift 2
    feeds "$work/in" "$code" "$name" load "$@" "$store"
}

# holds LINES NAME: what the store has, as sorted JSON Lines.
holds() {
    "$BITCASK" dump --sorted "$store" >"$work/out"
    out_is "$1" "$2"
}

# bad LOADED MESSAGE NAME: $work/in is refused at MESSAGE, LOADED records are there.
bad() {
    loads 3 "$3"
    err_has "^bitcask load: $2" 'is reported with its place'
    err_has "^bitcask load: the $1 records before that were loaded and are durable, nothing after them" 'and how far it was loaded'
    runs 0 'count' count "$store"
    out_is "$1
" 'that many are there'
}

json() { # LINE MESSAGE: as the third of four lines
    printf '%s\n' '{"key":"1","value":""}' '{"key":"2","value":""}' "$1" '{"key":"4","value":""}' >"$work/in"
    bad 2 "line 3: .*$2" "$(printf %s "$1" | LC_ALL=C tr -c ' -~' '?')"
}
json '' "'{' is missing"
json '{}' "is missing"
json 'null' "'{' is missing"
json '[{"key":"3","value":""}]' "'{' is missing"
json '{"key":"3"}' "one of 'value' and 'value_b64'"
json '{"value":"3"}' "one of 'key' and 'key_b64'"
json '{"key":"3","value":"","key_b64":"Mw=="}' "one of 'key'"
json '{"key":"3","value":"","value":""}' "'value' stands there twice"
json '{"key":"3","value":"","expires_at":5}' "no member 'expires_at' is known"
json '{"key":"3","value":"","":""}' "no member ''"
json '{"key":"","value":""}' 'a key of 0 bytes'
json '{"key":3,"value":""}' "'\"' is missing"
json '{"key":"3","value":null}' "'\"' is missing"
json '{"key":"3","value":""' "',' is missing"
json '{"key":"3","value":"",}' "'\"' is missing"
json '{"key" "3","value":""}' "':' is missing"
json '{"key":"3","value":""} {' 'more than one object'
json '{"key":"3","value":"' 'line end inside of a string'
json '{"key":"3","value":"\x41"}' 'unknown escape'
json '{"key":"3","value":"\u00g0"}' 'four hex digits'
json '{"key":"3","value":"\ud800"}' 'surrogate'
json '{"key":"3","value":"\ud800\u0041"}' 'surrogate'
json '{"key":"3","value":"\udc00"}' 'surrogate'
json '{"key":"3","value":"'"$(printf '\377')"'"}' 'not UTF-8'
json '{"key":"3","value":"'"$(printf '\355\240\200')"'"}' 'not UTF-8'
json '{"key":"3","value":"'"$(printf '\033[2J')"'"}' 'control character'
json '{"key":"3","value":"","'"$(printf '\302\233')"'":1}' "no member '??' is known"
json '{"key":"3","value":"","expire_at_ms":1700000000}' 'not Unix milliseconds'
json '{"key":"3","value":"","expire_at_ms":-1}' 'a number'
json '{"key":"3","value":"","expire_at_ms":1e12}' 'a number'
json '{"key":"3","value":"","expire_at_ms":4102444800000.5}' 'a number'
json '{"key":"3","value":"","expire_at_ms":9223372036854775808}' 'a number'
json '{"key":"3","value":"","expire_at_ms":"4102444800000"}' 'a number'
json '{"key":"3","value":"","expire_at_ms":}' 'a number'
json '{"incomplete":"why"}' 'not complete: why'
for text in Zg Zg= Zg=== Zh== Zm9= '=' '====' 'Z===' 'Zg==Zg==' 'Zm9-' 'Zm 9v' 'Zm9v\n'; do
    json '{"key":"3","value_b64":"'"$text"'"}' 'base64'
done
python3 -c 'print("{\"key\":\"1\",\"value\":\"\"}\n{\"key\":\"" + "k" * 65536 + "\",\"value\":\"\"}")' >"$work/in"
bad 1 'line 2: a string of more than the 65535 bytes' 'a key that is too long'
printf '%s\n' '{"key":"f0","value_b64":""}' '{"key":"f1","value_b64":"Zg=="}' '{"key":"f2","value_b64":"Zm8="}' \
    '{"key":"f3","value_b64":"Zm9v"}' '{"key":"f4","value_b64":"Zm9vYg=="}' '{"key":"f6","value_b64":"Zm9vYmFy"}' >"$work/in"
loads 0 'the examples of RFC 4648'
holds '{"key":"f0","value":""}
{"key":"f1","value":"f"}
{"key":"f2","value":"fo"}
{"key":"f3","value":"foo"}
{"key":"f4","value":"foob"}
{"key":"f6","value":"foobar"}
' 'say what they say there'

db() { # LOADED LINE FORMAT LINES MESSAGE
    printf "VERSION=3\nformat=$3\ntype=btree\nHEADER=END\n$4" >"$work/in"
    bad "$1" "line $2: .*$5" "$3: $4"
}
db 1 7 bytevalue ' 31\n 32\n 3\n 34\nDATA=END\n' 'two hex digits'
db 1 8 bytevalue ' 31\n 32\n 33\n 3x\nDATA=END\n' 'two hex digits'
db 1 7 bytevalue ' 31\n 32\n33\n 34\nDATA=END\n' 'neither'
db 1 7 bytevalue ' 31\n 32\n \n 34\nDATA=END\n' 'an empty key'
db 1 8 bytevalue ' 31\n 32\n 33\nDATA=END\n' 'has no value'
db 1 7 bytevalue ' 31\n 32\n' 'ends without DATA=END'
db 1 7 bytevalue ' 31\n 32\n 3' 'ends inside of a line'
db 1 7 bytevalue ' 31\n 32\n 33' 'ends inside of a line'
db 1 8 bytevalue ' 31\n 32\n 33\n 34' 'ends inside of a line'
db 1 7 print ' 1\n 2\n \\4\n 4\nDATA=END\n' 'backslash'
db 1 7 print ' 1\n 2\n \\zz\n 4\nDATA=END\n' 'backslash'
db 1 8 bytevalue ' 31\n 32\nDATA=END\nmore\n' 'not VERSION=3'
db 1 11 bytevalue ' 31\n 32\nDATA=END\nVERSION=3\nformat=print\ntype=btree\nHEADER=END\n 33\n 34\nDATA=END\n' 'a second database begins'
python3 -c 'print("VERSION=3\nformat=bytevalue\nHEADER=END\n 31\n 32\n " + "41" * 65536 + "\n 33\nDATA=END")' >"$work/in"
bad 1 'line 6: more bytes than the 65535' 'a key that is too long'
printf 'VERSION=3\nformat=bytevalue\ntype=btree\nHEADER=END\n 31\n 32\nDATA=END' >"$work/in"
loads 0 'a last line without newline'
printf 'VERSION=3\nformat=print\ntype=hash\nh_nelem=5\nHEADER=END\n 1\\0a\\\\\\5C\\FF\n  2 \nDATA=END\n' >"$work/in"
loads 0 'escapes, blanks, members of a header that are of no interest'
runs 0 'the key' get -x "$store" 310a5c5cff
out_is '203220
' 'has its value'
for header in 'VERSION=2' 'VERSION=3\nformat=base64' 'VERSION=3\ntype=recno' 'VERSION=3\ntype=queue' 'VERSION=3\nno field' 'VERSION=3\n 31'; do
    printf "$header\nHEADER=END\n 31\n 32\nDATA=END\n" >"$work/in"
    bad 0 'line [12]: ' "$header"
done
printf 'VERSION=3\nformat=print\n' >"$work/in"
bad 0 'line 3: the input ends inside of the header' 'half a header'

# Several databases, several values.
for database in one two; do
    printf "VERSION=3\nformat=print\ndatabase=$database\ntype=btree\nHEADER=END\n key\n $database\n $database\n \nDATA=END\n"
done >"$work/in"
bad 0 "line 5: this is the database 'one'; there may be others: choose with --database" 'several databases'
for database in one two; do
    loads 0 "--database $database" --database $database
    holds "{\"key\":\"key\",\"value\":\"$database\"}
{\"key\":\"$database\",\"value\":\"\"}
" 'is that one'
done
loads 3 '--database three' --database three
err_has "no database 'three' in this dump; it has: one, two" 'is not there'
printf 'VERSION=3\nformat=print\nduplicates=1\ndupsort=1\nHEADER=END\n a\n 1\n a\n 2\n b\n 3\nDATA=END\n' >"$work/in"
bad 0 'line 5: a key of this database may have several values.*--last-wins' 'several values'
loads 0 '--last-wins' --last-wins
holds '{"key":"a","value":"2"}
{"key":"b","value":"3"}
' 'takes the last one'

resp() { # COMMAND MESSAGE: as the second of three
    printf "*3\r\n\$3\r\nSET\r\n\$1\r\n1\r\n\$1\r\n1\r\n$1*3\r\n\$3\r\nSET\r\n\$1\r\n3\r\n\$1\r\n3\r\n" >"$work/in"
    bad 1 "byte 27: .*$2" "$1"
}
resp 'SET 2 2\r\n' "only commands as arrays"
resp 'PING\r\n' "only commands as arrays"
resp '*0\r\n' 'an empty command'
resp '*-1\r\n' 'no number'
resp '*1048577\r\n' 'more than the 1048576'
resp '*99999999999999999999\r\n' 'more than the 1048576'
resp '*1\r\n:5\r\n' "'\\$' is missing"
resp '*1\r\n$4\r\nPINGX\r\n' 'longer than its length'
resp '*1\r\n$4\r\nPING\r\n' 'the command PING;'
resp '*1\r\n$6\r\nA\033[2J \r\n' 'the command A?\[2J?;'
resp '*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n' 'the command SELECT;'
resp '*2\r\n$3\r\nSET\r\n$1\r\n2\r\n' 'SET with other arguments'
resp '*4\r\n$3\r\nSET\r\n$1\r\n2\r\n$1\r\n2\r\n$2\r\nNX\r\n' 'SET with other arguments'
resp '*5\r\n$3\r\nSET\r\n$1\r\n2\r\n$1\r\n2\r\n$2\r\nNX\r\n$3\r\nGET\r\n' 'SET with an option'
resp '*5\r\n$3\r\nSET\r\n$1\r\n2\r\n$1\r\n2\r\n$2\r\nEX\r\n$1\r\n0\r\n' 'a time that is none'
resp '*5\r\n$3\r\nSET\r\n$1\r\n2\r\n$1\r\n2\r\n$2\r\nEX\r\n$2\r\n-5\r\n' 'a time that is none'
resp '*5\r\n$3\r\nSET\r\n$1\r\n2\r\n$1\r\n2\r\n$2\r\nEX\r\n$19\r\n9223372036854775807\r\n' 'a time that is none'
resp '*4\r\n$4\r\nMSET\r\n$1\r\n2\r\n$1\r\n2\r\n$1\r\n3\r\n' 'wrong number of arguments'
resp '*5\r\n$4\r\nMSET\r\n$1\r\n2\r\n$1\r\n2\r\n$0\r\n\r\n$1\r\n3\r\n' 'a key of 0 bytes'
resp '*1\r\n$3\r\nDEL\r\n' 'wrong number of arguments'
resp '*3\r\n$9\r\nPEXPIREAT\r\n$1\r\n1\r\n$1\r\nx\r\n' 'PEXPIREAT with other'
resp '*2\r\n$18\r\nBITCASK.INCOMPLETE\r\n$1\r\nx\r\n' 'not complete'
printf '*3\r\n$3\r\nSET\r\n$1\r\n1\r\n$1\r\n1\r\n*3\r\n$3\r\nSET\r\n$1\r\n2\r\n$4294836000\r\nno more' >"$work/in"
bad 1 'byte 27: the input ends inside of a command' 'a length that is not kept'

# A dump that ends anywhere: after every third byte.
printf '%s\n' '{"key":"1","value":"\u00e4"}' '{"key":"2","value_b64":"/w=="}' >"$work/whole.json"
printf 'VERSION=3\nformat=print\nHEADER=END\n 1\n \\00\n 2\n 2\nDATA=END\n' >"$work/whole.db"
printf '*3\r\n$3\r\nSET\r\n$1\r\n1\r\n$1\r\n1\r\n*5\r\n$4\r\nMSET\r\n$1\r\n2\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n3\r\n' >"$work/whole.resp"
for format in json db resp; do
    size=$(wc -c <"$work/whole.$format")
    length=1
    wrong=
    while [ "$length" -lt "$size" ]; do
        rm -rf "$store"
        head -c $length "$work/whole.$format" | "$BITCASK" load -q --format $format "$store" 2>"$work/err"
        code=$?
        count=$("$BITCASK" count "$store")
        case $format:$code:$count in
        json:0:1) [ $length -eq 28 ] || [ $length -eq 29 ] || wrong="$wrong $length" ;;
        json:0:2 | db:0:2) [ $length -eq $((size - 1)) ] || wrong="$wrong $length" ;;
        resp:0:1) [ $length -eq 27 ] || wrong="$wrong $length" ;;
        *:3:*) grep -q "the $count records before that were loaded" "$work/err" || wrong="$wrong $length" ;;
        *) wrong="$wrong $length" ;;
        esac
        length=$((length + 3))
    done
    [ -z "$wrong" ] || echo "# at: $wrong"
    [ -z "$wrong" ]
    ok $? "$format that ends anywhere"
done

# Whatever stands there: 0 or 3, and what was loaded is said.
printf '%s\n' '{"key":"a","value":"\ud83d\ude00\n","expire_at_ms":4102444800000}' '{"key_b64":"/w==","value_b64":"AAEC"}' >"$work/whole.json"
wrong=
for format in json db resp; do
    python3 "$here/records.py" mutate "$work/whole.$format" 12 "$work/mutant"
    for file in "$work"/mutant.*; do
        rm -rf "$store"
        timeout 60 "$BITCASK" load -q --format $format "$store" <"$file" 2>"$work/err"
        code=$?
        { [ $code -eq 0 ] || { [ $code -eq 3 ] && grep -q 'records before that were loaded' "$work/err"; }; } ||
            wrong="$wrong $format:${file##*.}:$code"
    done
done
[ -z "$wrong" ] || echo "# $wrong"
[ -z "$wrong" ]
ok $? 'dumps with wrong bytes'
head -c 100000 /dev/urandom >"$work/in"
for format in json db lmdb resp; do
    loads 3 "random bytes as $format" --format $format
done
printf 'x' >"$work/in"
loads 3 'no dump'
err_has '^bitcask load: stdin is no dump' 'says so'
: >"$work/in"
loads 3 'an empty stdin'
err_has '^bitcask load: stdin is empty' 'says so'
loads 0 'which is a JSON dump of nothing' --format json
loads 0 'or one of no commands' --format resp
loads 3 'but not db' --format db
done_testing
