#!/bin/sh
# shellcheck disable=SC2015,SC2181
# From Berkeley DB and to it, with the programs of Berkeley DB itself.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
. "$(dirname "$0")/tap.sh"
here=$(cd "$(dirname "$0")" && pwd)
command -v db_load >/dev/null && command -v db_dump >/dev/null || skip_all 'no db_load and db_dump (db-util)'

python3 "$here/records.py" make "$work/all.jsonl"
feeds "$work/all.jsonl" 0 'records of all sorts' load "$store"
runs 0 'dump' dump "$store"
cp "$work/out" "$work/all.json"
for type in btree hash; do
    for print in '' --print; do
        # shellcheck disable=SC2086
        runs 0 "dump --format db $print" dump -q --format db $print "$store"
        rm -f "$work/all.db" && db_load -t $type "$work/all.db" <"$work/out"
        ok $? "db_load -t $type takes it"
        for p in '' -p; do
            # shellcheck disable=SC2086
            db_dump $p "$work/all.db" >"$work/dump"
            rm -rf "$work/back"
            feeds "$work/dump" 0 "load of db_dump $p" load "$work/back"
            err_empty 'says nothing'
            runs 0 'dump of that' dump "$work/back"
            python3 "$here/records.py" same "$work/all.json" "$work/out" no-expiry
            ok $? 'has every byte'
        done
    done
done
feeds "$work/dump" 0 'db_dump, --if-absent' load --if-absent "$store"
out_has '^loaded   0$' 'changes nothing'
runs 0 'dump' dump "$store"
python3 "$here/records.py" same "$work/all.json" "$work/out"
ok $? 'expiries are kept'

# Several databases, several values of a key, no keys at all.
for database in one two; do
    printf 'VERSION=3\nformat=print\ndatabase=%s\ntype=btree\nHEADER=END\n key\n %s\nDATA=END\n' $database $database |
        db_load "$work/several.db"
done
db_dump "$work/several.db" >"$work/dump"
rm -rf "$store"
feeds "$work/dump" 3 'a file of several databases' load "$store"
err_has "^bitcask load: line [0-9]*: this is the database 'one'.*--database" 'names the first'
for database in one two; do
    feeds "$work/dump" 0 'one of them' load --database $database "$store"
    runs 0 'its value' get "$store" key
    out_is $database 'is there'
done
db_dump -s two "$work/several.db" >"$work/dump"
rm -rf "$store"
feeds "$work/dump" 0 'db_dump -s, which gives no name' load "$store"
runs 0 'its value' get "$store" key
out_is two 'is there'
printf 'VERSION=3\nformat=print\ntype=hash\nduplicates=1\nHEADER=END\n a\n 1\n a\n 2\nDATA=END\n' | db_load "$work/duplicates.db"
db_dump "$work/duplicates.db" >"$work/dump"
feeds "$work/dump" 3 'several values of a key' load "$store"
err_has '^bitcask load: line [0-9]*: a key of this database may have several values.*--last-wins' 'are refused'
feeds "$work/dump" 0 '--last-wins' load --last-wins "$store"
runs 0 'the value' get "$store" a
out_is 2 'is the last one'
printf 'a\nb\n' | db_load -T -t recno "$work/recno.db"
db_dump "$work/recno.db" >"$work/dump"
feeds "$work/dump" 3 'a list of records' load "$store"
err_has 'only databases of type btree and hash' 'has no keys'
printf 'VERSION=3\nformat=print\ntype=btree\nHEADER=END\n \n 1\nDATA=END\n' | db_load "$work/nothing.db"
db_dump "$work/nothing.db" >"$work/dump"
feeds "$work/dump" 3 'an empty key' load "$store"
err_has 'an empty key' 'is refused'

# What lacks something is not taken for whole: not by db_load either.
damaged=$work/damaged
for i in 1 2 3; do "$BITCASK" put "$damaged" "key$i" "the value number $i" || exit 1; done
file=$(grep -l 'number 2' "$damaged"/*.data)
offset=$(grep -abo 'number 2' "$file" | head -n 1 | cut -d: -f1)
printf X | dd of="$file" bs=1 seek="$offset" conv=notrunc 2>/dev/null
for print in '' --print; do
    # shellcheck disable=SC2086
    runs 3 'dump of a damaged store' dump --format db $print "$damaged"
    db_load "$work/damaged$print.db" <"$work/out" 2>/dev/null
    [ $? -ne 0 ]
    ok $? 'db_load fails'
done
done_testing
