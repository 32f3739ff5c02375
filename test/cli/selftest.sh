#!/bin/sh
# bitcask selftest: all files of a tree, no links, both kinds of store, what it leaves behind.
. "$(dirname "$0")/tap.sh"

tree=$work/tree
mkdir -p "$tree/a/b" "$tree/empty" "$work/tmp"
printf 'one' >"$tree/one"
: >"$tree/a/nothing"
head -c 300000 /dev/urandom >"$tree/a/b/random"
printf '\000\001\n' >"$tree/a/b/ with blanks "
ln -s one "$tree/link"
ln -s /usr "$tree/elsewhere"
mkfifo "$tree/pipe"
TMPDIR=$work/tmp
export TMPDIR

runs 0 'a tree' selftest "$tree"
out_has '^files *4 of ' 'every regular file, no link, no pipe'
out_has '^bytes *300006$' 'all their bytes'
out_has '^open  *[0-9.]* ms$' 'the time to open'
out_has '^every file came back' 'the verdict'
err_empty 'no remark'
[ -z "$(ls -A "$work/tmp")" ]
ok $? 'the temporary store is gone'

runs 0 'with a store of our own' selftest --dir "$store" "$tree"
runs 0 'which is kept' get "$store" "$tree/a/b/random"
out_same "$tree/a/b/random" 'with the files in it'
runs 0 'an empty file' get "$store" "$tree/a/nothing"
out_is '' 'is an empty value'
runs 1 'a link was not stored' get "$store" "$tree/link"
runs 0 'again in the same store' selftest -d "$store" "$tree"
runs 0 'quiet' selftest -q "$tree"
out_is '' 'prints no figures'
runs 0 'a single file' selftest "$tree/one"
out_has '^files *1 of ' 'one file'
runs 0 'a link to a tree as PATH' selftest "$tree/../tree"

# A file that never reads the same.
uuid=/proc/sys/kernel/random/uuid
runs 1 'a file that changes' selftest $uuid
err_has "^bitcask selftest: $uuid: what came back differs from the file, first at byte" 'is named'
out_is '' 'and no verdict given'
[ -z "$(ls -A "$work/tmp")" ]
ok $? 'the temporary store is gone'

TMPDIR=$work/none
runs 3 'no place for the store' selftest "$tree"
TMPDIR=$work/tmp
runs 3 'a file as the store' selftest --dir "$tree/one" "$tree"
printf 'one' | cmp -s - "$tree/one"
ok $? 'which stays as it was'

done_testing
