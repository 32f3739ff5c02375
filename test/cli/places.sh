#!/bin/sh
# Every command where it may not read, where it may not write, and on a full disk: an error that says what and where, nothing
# made that looks whole, nothing lost.
. "$(dirname "$0")/tap.sh"

[ "$(id -u)" -eq 0 ] || skip_all 'needs root'
command -v setpriv >/dev/null || skip_all 'needs setpriv'

mkdir "$work/tree"
i=0
while [ $i -lt 200 ]; do
    head -c 9000 /dev/urandom >"$work/tree/file$i"
    i=$((i + 1))
done
"$BITCASK" selftest -q -o max_file_size=512k -o no_merge=true -d "$store" "$work/tree" || exit 1
# Something for a merge to do.
for i in 1 2 3 4 5 6 7 8; do
    "$BITCASK" delete -o no_merge=true "$store" "$work/tree/file$((i * 20))" || exit 1
done
"$BITCASK" dump --sorted "$store" | cksum >"$work/want"
key=$work/tree/file7
sums() { find "$1" -type f -exec cksum {} + | sort | cksum; }

as_it_was() {
    runs 0 'verify finds nothing' verify -q "$1"
    "$BITCASK" dump --sorted "$1" | cksum | cmp -s - "$work/want"
    ok $? 'the store has all keys and values'
}

# ---- permissions

chmod 711 "$work"
echo '{"key":"new","value":""}' >"$work/in"
chmod 644 "$work/in"
# as_nobody CODE NAME ARGUMENT...
as_nobody() {
    want=$1
    name=$2
    shift 2
    setpriv --reuid 65534 --regid 65534 --clear-groups "$BITCASK" "$@" <"$work/in" >"$work/out" 2>"$work/err"
    finished $? "$want" "$name"
}
# denied WHAT: the last run's message.
denied() {
    err_has "^bitcask [a-z-]*: .*[Pp]ermission denied" 'says so'
    err_has "$1" 'and where'
    out_is '' 'nothing on stdout'
}

chmod 700 "$store"
before=$(sums "$store")
for call in get put delete 'touch --persist' list scan count stat hint merge 'merge --dry-run' dump load verify repair 'repair -n' 'clear --yes' backup restore; do
    code=3
    argument=
    case $call in
    get | put | delete | touch*) argument=$key ;;
    verify | repair*) code=8 ;;
    backup | restore) argument=$work/never ;;
    esac
    # shellcheck disable=SC2086
    as_nobody $code "$call without permission to read" $call "$store" $argument
    denied "$store"
done
chmod -R a+rX "$store"
for call in put delete 'touch --persist' hint merge load repair 'clear --yes'; do
    code=3
    argument=
    case $call in
    put | delete | touch*) argument=$key ;;
    repair) code=8 ;;
    esac
    # shellcheck disable=SC2086
    as_nobody $code "$call without permission to write" $call "$store" $argument
    denied "$store/LOCK"
done
for call in get list scan count stat 'merge --dry-run' dump verify; do
    argument=
    [ "$call" != get ] || argument=$key
    # shellcheck disable=SC2086
    as_nobody 0 "$call needs none" $call "$store" $argument
done
for call in backup restore; do
    as_nobody 3 "$call where it may not make a directory" $call "$store" "$work/never"
    denied "$work/never"
done
for call in put load; do
    # shellcheck disable=SC2046
    as_nobody 3 "$call where it may not make a directory" $call "$work/never" $([ $call = load ] || echo key)
    denied "$work/never"
done
[ ! -e "$work/never" ] && [ "$(sums "$store")" = "$before" ]
ok $? 'nothing was made, nothing was changed'

# ---- a full disk

disk=$work/disk
mkdir "$disk"
mount -t tmpfs -o size=4m none "$disk" 2>/dev/null || {
    skip 'a full disk' 'no tmpfs can be mounted'
    done_testing
}
trap 'umount "$disk"; rm -rf "$work"' EXIT
fill() { head -c 8000000 /dev/zero >"$disk/fill" 2>/dev/null; }
full() { # CODE NAME ARGUMENT...: has no space, and says so
    runs "$@"
    err_has 'No space left\|and [0-9]* are free' 'says so'
}

cp -r "$store" "$disk/store"
rm "$disk/store/0000000001.hint"
fill
for call in put 'touch --persist' merge hint 'clear --yes'; do
    case $call in put | touch*) argument=$key ;; *) argument= ;; esac
    # shellcheck disable=SC2086
    full 3 "$call on a full disk" $call "$disk/store" $argument </dev/null
    as_it_was "$disk/store"
done
runs 0 'get on a full disk' get "$disk/store" "$key"
out_same "$key" 'reads'
printf XXXX | dd of="$disk/store/0000000001.data" bs=1 seek=9000 conv=notrunc 2>/dev/null
full 12 'repair on a full disk' repair "$disk/store"
runs 4 'what was damaged is' verify -q "$disk/store"
rm "$disk/fill"
runs 1 'with room it is repaired' repair -q "$disk/store"
runs 0 'and whole' verify -q "$disk/store"
runs 0 'count' count "$disk/store"
out_is '191
' 'but for one record'

rm -rf "$disk/store"
head -c 3000000 /dev/zero >"$disk/fill"
for call in backup restore; do
    full 3 "$call to a disk that gets full" $call "$store" "$disk/copy"
    runs 3 'what was made is no store' count "$disk/copy"
    rm "$disk/fill"
    runs 0 'with room it is completed' $call -q "$store" "$disk/copy"
    as_it_was "$disk/copy"
    rm -rf "$disk/copy"
    head -c 3000000 /dev/zero >"$disk/fill"
done

"$BITCASK" dump "$store" >"$disk/dump" 2>"$work/err"
finished $? 3 'dump to a disk that gets full'
err_has 'stdout: No space left' 'says so'
rm "$disk/fill"
mv "$disk/dump" "$work/dump"
feeds "$work/dump" 3 'load of that' load "$disk/store"
err_has 'records before that were loaded and are durable' 'sees that it was cut'

done_testing
