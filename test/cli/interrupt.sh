#!/bin/sh
# Signals that end verify, repair and restore, and a kill of backup and restore: what they say, what they leave, and that the
# same command completes it. (hint, merge, dump, load, import-basho and backup have theirs in their own tests.)
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
. "$(dirname "$0")/tap.sh"
here=$(cd "$(dirname "$0")" && pwd)

mkdir "$work/tree"
i=0
while [ $i -lt 60 ]; do
    head -c 1000000 /dev/urandom >"$work/tree/file$i"
    i=$((i + 1))
done
"$BITCASK" selftest -q -o max_file_size=4m -d "$store" "$work/tree" || exit 1
rm -rf "$work/tree"
"$BITCASK" dump --sorted "$store" | cksum >"$work/want"
file=$(find "$store" -name '*.data' | LC_ALL=C sort | head -n 1)
base=$(basename "$file")

# cut SIGNAL CODES PATH BEFORE ARGUMENT...: runs BEFORE and the tool, which gets the signal when it is at work and PATH is there,
# until it ends with one of CODES: if it was faster it is done.
cut() {
    signal=$1
    want=$2
    path=$3
    before=$4
    shift 4
    bad=1
    tries=0
    while [ $bad -ne 0 ] && [ $tries -lt 10 ]; do
        $before
        python3 "$here/catch.py" "$signal" "$path" "$BITCASK" "$@" >"$work/out" 2>"$work/err"
        code=$?
        case " $want " in *" $code "*) bad=0 ;; esac
        tries=$((tries + 1))
    done
    [ $bad -eq 0 ] || echo "# exit code $code, none of $want"
    [ $bad -eq 0 ]
    ok $? "$1: SIG$signal ends it"
}

as_it_was() {
    runs 0 'verify finds nothing' verify -q "$1"
    "$BITCASK" dump --sorted "$1" | cksum | cmp -s - "$work/want"
    ok $? 'every key is there with its value'
}

for signal in INT TERM HUP; do
    cut $signal 8 - : verify "$store"
    err_has '^bitcask verify: interrupted; the rest was not looked at' 'says so'
    [ "$(wc -l <"$work/err")" -eq 1 ]
    ok $? 'and nothing else: no bar where stderr is no terminal'
done

# shellcheck disable=SC2317
fresh() {
    rm -rf "$work/damaged"
    cp -r "$store" "$work/damaged"
    printf XXXX | dd of="$work/damaged/$base" bs=1 seek=9000 conv=notrunc 2>/dev/null
    # The hint knows the key; without it all of the file must be read.
    rm -rf "$work/damaged"/*.hint
}
for signal in INT TERM HUP; do
    # 12: it had found the damage already.
    cut $signal '8 12' - fresh repair "$work/damaged"
    err_has '^bitcask repair: interrupted; nothing was changed' 'says so'
    [ ! -e "$work/damaged/lost+found" ]
    ok $? 'nothing was moved'
    runs 1 'repair goes on' repair -q "$work/damaged"
    runs 0 'and the store is whole' verify -q "$work/damaged"
    runs 0 'count' count "$work/damaged"
    out_is '59
' 'all but the damaged record'
done

# shellcheck disable=SC2317
gone() {
    rm -rf "$work/copy"
}
no_store_there() {
    runs 3 'what it left does not open' count "$work/copy"
}
for signal in INT TERM HUP; do
    cut $signal 3 - gone restore "$store" "$work/copy"
    err_has '^bitcask restore: interrupted; nothing was written' 'says so'
    [ ! -e "$work/copy" ]
    ok $? 'which is true'
    cut "$signal" 3 "$work/copy" gone restore "$store" "$work/copy"
    err_has '^bitcask restore: interrupted; what was made is no store yet, and the next run completes it' 'says so'
    no_store_there
    runs 0 'the next one completes it' restore -q "$store" "$work/copy"
    as_it_was "$work/copy"
done
for command in 'backup --no-link' restore; do
    # shellcheck disable=SC2086
    cut KILL 137 "$work/copy" gone $command "$store" "$work/copy"
    no_store_there
    # shellcheck disable=SC2086
    runs 0 "the next $command completes it" $command -q "$store" "$work/copy"
    as_it_was "$work/copy"
done
as_it_was "$store"

done_testing
