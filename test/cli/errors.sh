#!/bin/sh
# Usage errors (2), errors (3), and what happens to output that nobody takes.
. "$(dirname "$0")/tap.sh"

runs 2 'no command'
err_has 'usage: bitcask' 'shows the usage on stderr'
out_is '' 'and nothing on stdout'
runs 2 'an unknown command' frobnicate
err_has "^bitcask: no command 'frobnicate'" 'is named'
runs 2 'an unknown option of the tool' --frobnicate get
for command in get put delete; do
    runs 2 "$command without arguments" $command
    runs 2 "$command without KEY" $command "$store"
    runs 2 "$command with an unknown option" $command --frobnicate "$store" key
    err_has "^bitcask $command: no option '--frobnicate'" 'is named'
    runs 2 "$command with an unknown letter" $command -Z "$store" key
    err_has "^bitcask $command: no option '-Z'" 'is named'
    runs 2 "$command with too many arguments" $command "$store" key value more
    runs 2 "$command with an empty KEY" $command "$store" ''
done
for command in list scan count stat hint merge dump load clear touch backup restore; do
    runs 2 "$command without arguments" $command
    runs 2 "$command with an unknown option" $command --frobnicate "$store"
    err_has "^bitcask $command: no option '--frobnicate'" 'is named'
    runs 2 "$command with an unknown letter" $command -Z "$store"
    err_has "^bitcask $command: no option '-Z'" 'is named'
done
runs 2 'put --ttl without a value' put --ttl
err_has "^bitcask put: option '--ttl' needs a value" 'says so'
runs 2 'put with both conditions' put --if-absent --if-present "$store" key value
runs 2 'selftest with too many arguments' selftest a b
runs 2 'selftest --dir without a value' selftest --dir
runs 2 'help with too many arguments' help get put
no_store 'usage errors create no store'

runs 3 'get without a store' get "$store" key
err_has '^bitcask get: .' 'says why'
runs 3 'delete without a store' delete "$store" key
no_store 'get and delete create no store'
runs 3 'put below a directory that is not there' put "$work/none/store" key value
[ ! -e "$work/none" ]
ok $? 'creates no parents'
mkdir "$work/empty"
echo text >"$work/file"
for call in list scan count stat hint merge dump 'clear --yes' 'touch --persist'; do
    key=$([ "$call" != 'touch --persist' ] || echo key)
    for dir in none empty file; do
        # shellcheck disable=SC2086
        runs 3 "$call of DIR: $dir" $call "$work/$dir" $key
        err_has "^bitcask ${call% *}: .*" 'says why'
        out_is '' 'prints nothing'
    done
done
[ ! -e "$work/none" ]
ok $? 'no directory was created'
runs 3 'get in an empty directory' get "$work/empty" key
[ -z "$(ls -A "$work/empty")" ]
ok $? 'writes nothing there'
echo text >"$work/file"
for command in get put delete; do
    runs 3 "$command with a file as DIR" $command "$work/file" key
    err_has "^bitcask $command: .*file" 'names it'
done
echo text | cmp -s - "$work/file"
ok $? 'the file is as it was'
mkdir "$work/random"
head -c 9000 /dev/urandom >"$work/random/MANIFEST"
for call in get put delete list count stat hint merge dump 'clear --yes' 'backup' 'load'; do
    case $call in get | put | delete) argument=key ;; backup) argument=$work/never ;; *) argument= ;; esac
    # shellcheck disable=SC2086
    feeds /dev/null 3 "$call of random bytes" $call "$work/random" $argument
    [ "$call" = load ] || err_has "^bitcask ${call% *}: $work/random/MANIFEST: damaged" 'says in which directory'
done
[ ! -e "$work/never" ] && [ "$(find "$work/random" -type f ! -name LOCK)" = "$work/random/MANIFEST" ]
ok $? 'nothing was made'
runs 3 'selftest of what is not there' selftest "$work/none"
err_has 'none: No such file' 'names it'
runs 3 'selftest of an empty tree' selftest "$work/empty"
err_has 'no file to store' 'says so'

runs 0 'a value' put "$store" key value
"$BITCASK" get "$store" key >/dev/full 2>"$work/err"
finished $? 3 'a full stdout'
err_has '^bitcask get: stdout: No space' 'says so'
for call in list scan 'list --json' 'scan --json' 'scan --hex' count stat dump 'dump --format db' 'dump --format resp' 'stat --json' 'stat --prometheus' 'hint' 'hint --json' 'merge' 'merge --json' 'merge --dry-run' '--print-completion bash'; do
    # shellcheck disable=SC2086
    "$BITCASK" $call "$store" >/dev/full 2>"$work/err"
    finished $? 3 "a full stdout of $call"
    err_has '^bitcask.*: stdout: No space' 'says so'
done
"$BITCASK" get "$store" key >&- 2>"$work/err"
finished $? 3 'a closed stdout'
"$BITCASK" put "$store" other <&- 2>"$work/err"
finished $? 3 'a closed stdin'
"$BITCASK" get "$store" nobody >"$work/out" 2>&-
finished $? 1 'a closed stderr'
"$BITCASK" --version >/dev/full 2>"$work/err"
finished $? 3 'a full stdout of --version'
feeds "$work" 3 'a directory as stdin' put "$store" other
err_has '^bitcask put: stdin: ' 'says so'
runs 1 'and stored nothing' get "$store" other

# A reader that goes away before a value larger than the pipe was written.
head -c 1000000 /dev/zero >"$work/zeros"
feeds "$work/zeros" 0 'a large value' put "$store" large
mkfifo "$work/pipe"
(exec <"$work/pipe" && exit 0) &
"$BITCASK" get "$store" large >"$work/pipe" 2>"$work/err"
finished $? 3 'a pipe without a reader'
err_has '^bitcask get: stdout: Broken pipe' 'says so'
wait
for call in scan 'scan --hex' 'scan --json'; do
    (exec <"$work/pipe" && exit 0) &
    # shellcheck disable=SC2086
    "$BITCASK" $call "$store" >"$work/pipe" 2>"$work/err"
    finished $? 3 "a pipe without a reader for $call"
    err_has '^bitcask scan: stdout: Broken pipe' 'says so'
    [ "$(wc -l <"$work/err")" -eq 1 ]
    ok $? 'and nothing else'
    wait
done
runs 0 'the store is as it was' get "$store" large
out_same "$work/zeros" 'with all of the value'

done_testing
