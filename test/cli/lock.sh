#!/bin/sh
# One writer: while a put waits for its stdin, it holds the store.
. "$(dirname "$0")/tap.sh"
trap '' PIPE

# hold: a put in the background that holds the store until descriptor 3 is closed. It opens the store before it reads, and the
# pipe takes 64 KiB: when more than that is written, the store is held.
hold() {
    "$BITCASK" put "$store" key <"$work/pipe" 2>"$work/holder.err" &
    holder=$!
    exec 3>"$work/pipe"
    cat "$work/zeros" >&3
}

head -c 200000 /dev/zero >"$work/zeros"
cp "$work/zeros" "$work/new"
printf new >>"$work/new"
mkfifo "$work/pipe"

runs 0 'a value' put "$store" key old
hold
ok $? 'a put that waits'
runs 3 'put while another put holds the store' put "$store" key other
err_has '^bitcask put: .' 'says why'
err_has "fuser -v $store/LOCK" 'and how to find who it is'
runs 3 'delete while a put holds the store' delete "$store" key
for call in 'touch --persist' 'clear --yes' hint merge load; do
    # shellcheck disable=SC2046,SC2086
    runs 3 "$call while a put holds the store" $call "$store" $([ "$call" != 'touch --persist' ] || echo key)
    err_has "^bitcask ${call% *}: .*open" 'says why'
done
for command in list scan count stat dump 'merge --dry-run'; do
    # shellcheck disable=SC2086
    runs 0 "$command beside the writer" $command "$store"
    err_empty 'says nothing'
done
runs 0 'list beside the writer' list "$store"
out_is 'key
' 'shows the key'
runs 0 'scan beside the writer' scan "$store"
printf 'key\told\n' >"$work/want"
out_same "$work/want" 'shows the value before'
runs 0 'stat beside the writer' stat "$store"
out_has '^keys  *1$' 'counts the key'
runs 0 'get beside the writer' get "$store" key
out_is old 'shows the value before'

printf new >&3
exec 3>&-
wait $holder
finished $? 0 'the holder ends when its stdin ends'
runs 0 'then the store is free' put "$store" other x
runs 0 'get' get "$store" key
out_same "$work/new" 'has what the holder stored'

# The kernel frees the lock of a process that dies.
hold
ok $? 'a put that waits again'
runs 3 'holds the store' put "$store" key other
kill -9 $holder
wait $holder 2>/dev/null
exec 3>&-
runs 0 'after a kill of the holder the store is free' put "$store" other y
runs 0 'and get' get "$store" key
out_same "$work/new" 'still has the value'

done_testing
