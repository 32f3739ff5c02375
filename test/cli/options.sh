#!/bin/sh
# -o and -v, before and after the command.
. "$(dirname "$0")/tap.sh"

head -c 30000 /dev/zero >"$work/value"
for i in 1 2 3 4 5 6; do
    feeds "$work/value" 0 'put -o max_file_size' put -o max_file_size=64k "$store" $i
done
[ "$(find "$store" -name '*.data' | wc -l)" -ge 3 ]
ok $? 'several files'
runs 0 '-o before the command' -o file_mode=0640 put "$work/mode" key value
[ -n "$(find "$work/mode" -name '*.data' -perm 640)" ]
ok $? 'sets the mode'
runs 0 'several' put -o sync_mode=always --option max_open_files=16 --option=keydir_shards=64 "$store" key value
runs 3 'exclusive on a store that is there' put -o exclusive=true "$store" key other
runs 3 'no_create on one that is not' put -o no_create=true "$work/none" key value
[ ! -e "$work/none" ]
ok $? 'creates nothing'
runs 3 'read_only' put -o read_only=true "$store" key other
runs 0 'read_only=false' get -o read_only=false "$store" key
out_is value 'changes nothing for get'
runs 0 'no_mmap' get -o no_mmap=yes "$store" 1
out_same "$work/value" 'reads the same'

for command in get put delete touch list scan count stat merge dump load clear selftest; do
    runs 2 "$command with an option that is not there" $command -o frobnicate=1 "$store" key
    err_has "^bitcask $command: -o frobnicate: " 'is named'
    runs 2 "$command with a value that is none" $command -o max_file_size=big "$store" key
    runs 2 "$command -o without =" $command -o salvage "$store" key
    err_has 'NAME=VALUE' 'says how'
    runs 2 "$command -o without a value" $command -o
done
runs 2 'a value that the library refuses' get -o keydir_shards=3 "$store" key
runs 0 'nothing of that changed a value' get "$store" key
out_is value 'it is as it was'

runs 0 'without -v' get "$store" key
err_empty 'nothing is logged'
# One of the two copies in the MANIFEST.
printf X | dd of="$store/MANIFEST" bs=1 conv=notrunc 2>/dev/null
for verbose in -v --verbose; do
    runs 0 "get $verbose" get $verbose "$store" key
    out_is value 'stdout has the value only'
    err_has '^bitcask get: warning: MANIFEST' 'stderr what the library logs'
done
runs 0 '-v before the command' -v count "$store"
err_has '^bitcask count: warning: MANIFEST' 'does the same'
runs 0 'without -v' count "$store"
err_empty 'nothing is logged'

done_testing
