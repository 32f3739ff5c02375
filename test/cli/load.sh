#!/bin/sh
# shellcheck disable=SC2016,SC2059
# bitcask load: every form and back, what it does to what is there, commands, signals, a full disk. Bad input: load_bad.sh.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
. "$(dirname "$0")/tap.sh"
here=$(cd "$(dirname "$0")" && pwd)
far=4102444800000

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

# ---- every form, and back ----

python3 "$here/records.py" make "$work/all.jsonl"
ok $? 'records of all sorts'
feeds "$work/all.jsonl" 0 'load' load "$store"
out_has '^loaded   [1-9][0-9][0-9]$' 'says how many'
runs 0 'dump' dump "$store"
cp "$work/out" "$work/dump.json"
python3 "$here/records.py" same "$work/all.jsonl" "$work/dump.json"
ok $? 'the store has what Python reads in the lines, with every expiry'
runs 0 'scan --json' scan --json "$store"
cp "$work/out" "$work/scan.json"
for form in dump.json scan.json; do
    rm -rf "$work/other"
    feeds "$work/$form" 0 "$form" load -q "$work/other"
    out_is '' 'says nothing with -q'
    runs 0 'dump of that' dump "$work/other"
    python3 "$here/records.py" same "$work/dump.json" "$work/out"
    ok $? 'is the same'
done
for format in 'db' 'db --print' 'lmdb' 'lmdb --print' 'resp'; do
    # shellcheck disable=SC2086
    runs 0 "dump --format $format" dump -q --format $format "$store"
    cp "$work/out" "$work/dump"
    rm -rf "$work/other"
    feeds "$work/dump" 0 'load' load "$work/other"
    runs 0 'dump of that' dump "$work/other"
    # shellcheck disable=SC2046
    python3 "$here/records.py" same "$work/dump.json" "$work/out" $([ "$format" = resp ] || echo no-expiry)
    ok $? 'is the same'
done

# ---- what a load does to what is there ----

printf '%s\n' '{"key":"a","value":"new"}' '{"key":"b","value":"new"}' >"$work/in"
fill() { rm -rf "$store" && "$BITCASK" put --expire-at $far "$store" a old && "$BITCASK" put "$store" z old; }
fill
feeds "$work/in" 0 'load into a store with keys' load "$store"
holds '{"key":"a","value":"new"}
{"key":"b","value":"new"}
{"key":"z","value":"old"}
' 'replaces some, keeps others'
fill
feeds "$work/in" 0 '--if-absent' load --if-absent "$store"
out_is 'loaded   1
present  1
' 'counts both'
holds '{"key":"a","value":"old","expire_at_ms":'$far'}
{"key":"b","value":"new"}
{"key":"z","value":"old"}
' 'keeps what is there'
fill
printf '%s\n' '{"key":"a","value":"x","expire_at_ms":100000000000}' '{"key":"n","value":"x","expire_at_ms":100000000000}' >"$work/in"
feeds "$work/in" 0 'what has expired' load "$store"
out_has '^expired  2$' 'is counted'
holds '{"key":"z","value":"old"}
' 'and takes the place of what was there'
fill
feeds "$work/in" 0 'what has expired, --if-absent' load --if-absent "$store"
runs 0 'changes' get "$store" a
out_is old 'nothing'

# ---- commands ----

printf '*3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\n1\r\n*7\r\n$4\r\nMSET\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n$0\r\n\r\n$1\r\nb\r\n$2\r\n2b\r\n' >"$work/in"
printf '*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*4\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nc\r\n$4\r\nnone\r\n*2\r\n$6\r\nUnlink\r\n$1\r\nx\r\n' >>"$work/in"
printf '*3\r\n$9\r\nPEXPIREAT\r\n$1\r\nb\r\n$13\r\n%s\r\n*5\r\n$3\r\nSET\r\n$1\r\nd\r\n$1\r\n4\r\n$4\r\nEXAT\r\n$10\r\n4102444800\r\n' $far >>"$work/in"
loads 0 'SET, MSET, SELECT 0, DEL, UNLINK, PEXPIREAT'
holds '{"key":"b","value":"2b","expire_at_ms":'$far'}
{"key":"d","value":"4","expire_at_ms":'$far'}
' 'do what Redis does'
loads 3 'DEL with --if-absent' --if-absent
err_has 'byte 106: with --if-absent nothing is deleted' 'is refused'
for option in 'EX 1000 1000' 'px 1000000 1000'; do
    # shellcheck disable=SC2086
    set -- $option
    printf '*5\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n$2\r\n%s\r\n$%s\r\n%s\r\n' "$1" ${#2} "$2" >"$work/in"
    before=$(date +%s)
    loads 0 "SET with $1"
    "$BITCASK" scan --json "$store" | sed 's/.*"expire_at_ms":\([0-9]*\).*/\1/' >"$work/out"
    at=$(($(cat "$work/out") / 1000))
    [ $at -ge $((before + $3)) ] && [ $at -le $(($(date +%s) + $3)) ]
    ok $? 'counts from now on'
done
printf '*5\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n$4\r\nPXAT\r\n$1\r\n5\r\n' >"$work/in"
loads 0 'SET with a time long ago'
holds '' 'leaves nothing'

# ---- calls, stores, signals ----

runs 2 'load --format xml' load --format xml "$store"
runs 2 'load with too many arguments' load "$store" more
runs 2 '--if-absent and --last-wins' load --if-absent --last-wins "$store"
printf '%s\n' '{"key":"1","value":"2"}' >"$work/in"
echo text >"$work/file"
feeds "$work/in" 3 'load into a file' load "$work/file"
feeds "$work/in" 3 'load below what is not there' load "$work/none/store"
mkdir "$work/empty"
feeds "$work/in" 0 'load into an empty directory' load "$work/empty"
feeds "$work" 3 'a directory as stdin' load "$work/empty"
err_has '^bitcask load: stdin: ' 'says so'
"$BITCASK" load "$work/empty" <&- 2>"$work/err"
finished $? 3 'a closed stdin'
python3 "$here/tty.py" '' sh -c '"$1" load "$2" <"$3"' _ "$BITCASK" "$store" "$work/all.jsonl" >"$work/out" 2>"$work/err"
finished $? 0 'load on a terminal'
out_has 'load  \[[#.]*\]  [0-9.]* [KMG]*i*B/[0-9.]* [KMG]*i*B  [0-9]* %' 'shows a bar, with bytes'

# The input rests, and a signal comes.
mkfifo "$work/pipe"
for signal in INT TERM HUP; do
    rm -rf "$store"
    "$BITCASK" load "$store" <"$work/pipe" >"$work/out" 2>"$work/err" &
    load=$!
    exec 3>"$work/pipe"
    printf '%s\n%s\n%s' '{"key":"1","value":""}' '{"key":"2","value":""}' '{"key":"3"' >&3
    until [ "$("$BITCASK" count "$store" 2>/dev/null)" = 2 ]; do sleep 0.01; done
    kill -$signal $load
    wait $load
    finished $? 3 "SIG$signal while the input rests"
    exec 3>&-
    err_has '^bitcask load: interrupted$' 'is said'
    err_has '^bitcask load: the 2 records before that were loaded and are durable' 'and how far it was loaded'
    runs 0 'the store' count "$store"
    out_is '2
' 'has them'
done

# A disk that is full.
cat >"$work/full.sh" <<'EOF'
mount -t tmpfs -o size=6m none "$1/disk" || exit 99
"$BITCASK" load "$1/disk/store" <"$1/in" 2>"$1/err"
echo $? >"$1/code"
"$BITCASK" count "$1/disk/store" >"$1/out"
EOF
mkdir "$work/disk"
python3 -c 'for i in range(20000): print("{\"key\":\"%d\",\"value\":\"%s\"}" % (i, "x" * 1000))' >"$work/in"
unshare -m sh "$work/full.sh" "$work" 2>/dev/null
if [ -s "$work/code" ]; then
    finished "$(cat "$work/code")" 3 'a full disk'
    err_has '^bitcask load: line [0-9]*: .*[Nn]o space' 'is reported'
    err_has "the $(cat "$work/out") records before that were loaded\|$(cat "$work/out") records were loaded, but" 'all that was loaded is there'
    [ "$(cat "$work/out")" -gt 100 ]
    ok $? 'and that is something'
else
    skip 'a full disk' 'needs mount'
fi
done_testing
