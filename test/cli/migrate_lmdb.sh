#!/bin/sh
# shellcheck disable=SC2015,SC2181
# From LMDB and to it, with the programs of LMDB itself.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
. "$(dirname "$0")/tap.sh"
here=$(cd "$(dirname "$0")" && pwd)
command -v mdb_load >/dev/null && command -v mdb_dump >/dev/null || skip_all 'no mdb_load and mdb_dump (lmdb-utils)'

# in_lmdb NAME: what the tool printed last goes into a new LMDB database.
in_lmdb() {
    rm -rf "$work/lmdb" && mkdir "$work/lmdb" && mdb_load "$work/lmdb" <"$work/out"
    ok $? "$1"
}

# comes_back NAME ARGUMENT...: $work/dump, loaded into a new store, has the records of $work/all.json.
comes_back() {
    rm -rf "$work/back"
    name=$1
    shift
    feeds "$work/dump" 0 'load' load "$@" "$work/back"
    runs 0 'dump of that' dump "$work/back"
    python3 "$here/records.py" same "$work/all.json" "$work/out" no-expiry
    ok $? "$name"
}

# LMDB takes keys of 511 bytes at most.
python3 "$here/records.py" make "$work/all.jsonl" 511
feeds "$work/all.jsonl" 0 'records of all sorts' load "$store"
runs 0 'dump' dump "$store"
cp "$work/out" "$work/all.json"
for print in '' --print; do
    # shellcheck disable=SC2086
    runs 0 "dump --format lmdb $print" dump -q --format lmdb $print "$store"
    in_lmdb 'mdb_load takes it'
    mdb_dump "$work/lmdb" >"$work/dump"
    comes_back 'and mdb_dump gives every byte back'
done
runs 0 'dump --format db' dump -q --format db --first a --last b "$store"
in_lmdb 'is for LMDB, too, as long as it is small'

# Without a map size mdb_load gives up at 1 MiB.
python3 -c 'for i in range(12000): print("{\"key\":\"%d\",\"value\":\"%s\"}" % (i, "v" * 1000))' >"$work/all.json"
rm -rf "$store"
feeds "$work/all.json" 0 '12 MB' load "$store"
runs 0 'as lmdb' dump --format lmdb "$store"
in_lmdb 'fit'
mdb_dump "$work/lmdb" >"$work/dump"
comes_back 'and come back'

# Several databases, several values of a key.
rm -rf "$work/lmdb" && mkdir "$work/lmdb"
for database in one two; do
    printf 'VERSION=3\nformat=bytevalue\ndatabase=%s\ntype=btree\nHEADER=END\n 6b6579\n %s\nDATA=END\n' $database 0a0${#database}
done | mdb_load "$work/lmdb"
mdb_dump -a "$work/lmdb" >"$work/dump"
rm -rf "$store"
feeds "$work/dump" 3 'mdb_dump -a' load "$store"
err_has "^bitcask load: line [0-9]*: this is the database 'one'.*--database" 'names the first database'
feeds "$work/dump" 0 'one that was chosen' load --database two "$store"
runs 0 'its value' get -x "$store" 6b6579
out_is '0a03
' 'is there'
rm -rf "$work/lmdb" && mkdir "$work/lmdb"
printf 'VERSION=3\nformat=print\ntype=btree\nduplicates=1\ndupsort=1\nHEADER=END\n a\n 1\n a\n 2\nDATA=END\n' |
    mdb_load "$work/lmdb" 2>/dev/null
mdb_dump "$work/lmdb" >"$work/dump"
rm -rf "$store"
feeds "$work/dump" 3 'several values of a key' load "$store"
err_has '^bitcask load: line [0-9]*: a key of this database may have several values.*--last-wins' 'are refused'
feeds "$work/dump" 0 '--last-wins' load --last-wins "$store"
runs 0 'the value' get "$store" a
out_is 2 'is the last one'

# mdb_dump -p. Before 0.9.25 it left backslashes as they were: what can be seen of that is refused, and there is a word of warning.
rm -rf "$work/lmdb" && mkdir "$work/lmdb"
printf 'VERSION=3\nformat=bytevalue\ntype=btree\nHEADER=END\n 610a\n 00ff\n 20\n \nDATA=END\n' | mdb_load "$work/lmdb"
mdb_dump -p "$work/lmdb" >"$work/dump"
rm -rf "$store"
feeds "$work/dump" 0 'mdb_dump -p' load "$store"
err_has 'mdb_dump -p before 0.9.25.*without -p' 'comes with a warning'
runs 0 'the records' dump --sorted "$store"
out_is '{"key":" ","value":""}
{"key":"a\u000a","value_b64":"AP8="}
' 'are those'
printf 'VERSION=3\nformat=bytevalue\ntype=btree\nHEADER=END\n 61\n 5c3431\nDATA=END\n' | mdb_load "$work/lmdb"
mdb_dump -p "$work/lmdb" >"$work/dump"
if grep -q '^ \\\\41$' "$work/dump"; then
    feeds "$work/dump" 0 'a backslash of a newer mdb_dump' load "$store"
    runs 0 'get' get "$store" a
    # shellcheck disable=SC1003
    out_is '\41' 'is one'
else
    feeds "$work/dump" 3 'a backslash that was not escaped' load "$store"
    err_has 'mdb_dump -p before 0.9.25 writes such' 'is seen where digits follow'
fi

# What lacks something is not taken for whole: not by mdb_load either.
damaged=$work/damaged
for i in 1 2 3; do "$BITCASK" put "$damaged" "key$i" "the value number $i" || exit 1; done
file=$(grep -l 'number 2' "$damaged"/*.data)
offset=$(grep -abo 'number 2' "$file" | head -n 1 | cut -d: -f1)
printf X | dd of="$file" bs=1 seek="$offset" conv=notrunc 2>/dev/null
for print in '' --print; do
    # shellcheck disable=SC2086
    runs 3 'dump of a damaged store' dump --format lmdb $print "$damaged"
    rm -rf "$work/lmdb" && mkdir "$work/lmdb" && mdb_load "$work/lmdb" <"$work/out" 2>/dev/null
    [ $? -ne 0 ]
    ok $? 'mdb_load fails'
done
"$BITCASK" put "$store" "$(head -c 512 /dev/zero | tr '\0' k)" ''
runs 0 'a key that LMDB does not take' dump --format lmdb "$store"
err_has '1 keys are longer than the 511 bytes that LMDB takes' 'is remarked'
done_testing
