#!/bin/sh
# shellcheck disable=SC2015,SC2181
# To Redis and from it, with a server of its own.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
. "$(dirname "$0")/tap.sh"
here=$(cd "$(dirname "$0")" && pwd)
command -v redis-cli >/dev/null || skip_all 'no redis-cli (redis-tools)'

# Debian's redis-server is redis-check-rdb under another name; the package that has only that starts no daemon.
server=$(command -v redis-server) || server=$(command -v redis-check-rdb) || skip_all 'no redis-server'
ln -s "$server" "$work/redis-server"
socket=$work/redis.sock
"$work/redis-server" --port 0 --unixsocket "$socket" --dir "$work" --save '' --appendonly yes --aof-use-rdb-preamble no \
    >"$work/redis.log" 2>&1 &
redis=$!
trap 'kill $redis 2>/dev/null; wait $redis; rm -rf "$work"' EXIT
cli() { redis-cli -s "$socket" "$@"; }
tries=0
until [ "$(cli ping 2>/dev/null)" = PONG ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { cat "$work/redis.log" && exit 1; }
    sleep 0.1
done

python3 "$here/records.py" make "$work/all.jsonl"
feeds "$work/all.jsonl" 0 'records of all sorts' load "$store"
"$BITCASK" put --expire-at 100000000000 "$store" expired x
runs 0 'dump' dump "$store"
cp "$work/out" "$work/all.json"
"$BITCASK" dump --format resp "$store" | cli --pipe >"$work/out"
ok $? 'dump --format resp | redis-cli --pipe'
out_has "^errors: 0, replies: $(wc -l <"$work/all.json")$" 'a reply for each record, no errors'
python3 "$here/records.py" redis "$socket" "$work/all.json"
ok $? 'the server has all keys, values and expiries, and no others'

# Its append-only files, as it wrote the commands, and rewritten.
for rewritten in '' 1; do
    if [ "$rewritten" ]; then
        cli bgrewriteaof >"$work/out"
        tries=0
        until cli info persistence | grep -q 'aof_rewrite_in_progress:0' && [ -e "$work/appendonlydir/appendonly.aof.2.base.aof" ]; do
            tries=$((tries + 1))
            [ $tries -lt 300 ] || break
            sleep 0.1
        done
    fi
    cat "$work"/appendonlydir/*.base.aof "$work"/appendonlydir/*.incr.aof >"$work/aof"
    rm -rf "$work/back"
    feeds "$work/aof" 0 "load of an append-only file${rewritten:+ that was rewritten}" load "$work/back"
    runs 0 'dump of that' dump "$work/back"
    python3 "$here/records.py" same "$work/all.json" "$work/out"
    ok $? 'has all keys, values and expiries'
done
cli set gone x >"$work/out" && cli del gone >"$work/out" && cli mset a 1 b 2 >"$work/out" && cli set a 3 ex 1000 >"$work/out"
cli set later x >"$work/out" && cli pexpire later 5000000 >"$work/out"
cat "$work"/appendonlydir/*.base.aof "$work"/appendonlydir/*.incr.aof >"$work/aof"
rm -rf "$work/back"
feeds "$work/aof" 0 'SET, DEL, MSET, EX, PEXPIRE' load "$work/back"
runs 0 'dump of that' dump "$work/back"
cp "$work/out" "$work/more.json"
python3 "$here/records.py" redis "$socket" "$work/more.json"
ok $? 'is what the server has'

# What lacks something is not taken for whole: not by redis-cli either.
damaged=$work/damaged
for i in 1 2 3; do "$BITCASK" put "$damaged" "key$i" "the value number $i" || exit 1; done
file=$(grep -l 'number 2' "$damaged"/*.data)
offset=$(grep -abo 'number 2' "$file" | head -n 1 | cut -d: -f1)
printf X | dd of="$file" bs=1 seek="$offset" conv=notrunc 2>/dev/null
runs 3 'dump of a damaged store' dump --format resp "$damaged"
cp "$work/out" "$work/dump"
cli --pipe <"$work/dump" >"$work/out" 2>&1
[ $? -ne 0 ]
ok $? 'redis-cli --pipe fails'
out_has 'BITCASK.INCOMPLETE.*1 records could not be read' 'and says why'
done_testing
