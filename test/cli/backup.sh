#!/bin/sh
# bitcask backup: what it prints, what it makes, beside a writer, interrupted, and what it refuses.
. "$(dirname "$0")/tap.sh"
trap '' PIPE
TERM=xterm
export TERM
to=$work/backup

head -c 3000 /dev/urandom >"$work/value"
mkdir "$work/tree"
i=0
while [ $i -lt 100 ]; do
    cp "$work/value" "$work/tree/$i"
    i=$((i + 1))
done
"$BITCASK" selftest -q -o max_file_size=64k -d "$store" "$work/tree" || exit 1
files=$(find "$store" -name '*.data' | wc -l)

runs 0 'a first backup' backup "$store" "$to"
out_has "^data files  *$files$" 'tells the data files'
out_has "^linked  *$((files - 1))$" 'that are linked'
out_has '^copied  *1$' 'and copied: the one that the store may go on in'
err_empty 'and nothing else'
[ "$(find "$to" -name '*.data' -links 2 | wc -l)" -eq $((files - 1)) ]
ok $? 'they are links'
[ -z "$(find "$to" -name '*.tmp')" ]
ok $? 'no temporary file is left'
runs 0 'count of the backup' count "$to"
out_is '100
' 'it is a store with all keys'
runs 0 'get from the backup' get "$to" "$work/tree/7"
out_same "$work/value" 'and values'

runs 0 'a second backup' backup --json -q "$store" "$to"
python3 -c "
import json, sys
r = json.load(open('$work/out'))
sys.exit(r['files'] != $files or r['kept'] != $files or r['linked'] + r['copied'] + r['removed'] + r['bytes_copied'] != 0)"
ok $? 'brings nothing'
runs 0 'a put' put "$store" new value
runs 0 'a third backup' backup -q --verify-all "$store" "$to"
out_is '' 'is quiet with -q'
runs 0 'get' get "$to" new
out_is value 'has what is new'
runs 0 'clear' clear --yes "$store"
runs 0 'count' count "$to"
out_is '101
' 'the backup still has all'
runs 0 'a backup of the empty store' backup "$store" "$to"
runs 0 'count' count "$to"
out_is '0
' 'is empty'
[ "$(find "$to" -name '*.data' | wc -l)" -le 1 ]
ok $? 'and has no old file'

"$BITCASK" selftest -q -o max_file_size=64k -d "$work/other" "$work/tree" || exit 1
runs 0 'backup --no-link' backup --no-link "$work/other" "$work/copy"
out_has '^linked  *0$' 'links nothing'
[ -z "$(find "$work/copy" -name '*.*' -links +1)" ]
ok $? 'indeed'
runs 0 'backup --skip-linked' backup --skip-linked "$work/other" "$work/quick"
out_has "^linked  *$((files - 1))$" 'links'

# Beside a program that writes.
mkfifo "$work/pipe"
head -c 200000 /dev/zero >"$work/zeros"
"$BITCASK" put "$work/other" late <"$work/pipe" 2>"$work/holder.err" &
holder=$!
exec 3>"$work/pipe"
cat "$work/zeros" >&3
runs 3 'the store is held' put "$work/other" more x
runs 0 'backup beside a writer' backup "$work/other" "$work/copy"
exec 3>&-
wait $holder
finished $? 0 'the writer ends'
runs 0 'count' count "$work/copy"
out_is '100
' 'the backup shows the moment before'

mkdir "$work/random"
head -c 9000 /dev/urandom >"$work/random/MANIFEST"
runs 3 'backup into a directory of random bytes' backup "$store" "$work/random"
err_has "^bitcask backup: $work/random: its MANIFEST is damaged.*nothing was changed" 'says which of the two directories is meant'
runs 3 'backup of a directory of random bytes' backup "$work/random" "$work/never"
err_has "^bitcask backup: $work/random/MANIFEST: damaged" 'says so, too'
runs 3 'restore of a directory of random bytes' restore "$work/random" "$work/never"
err_has "^bitcask restore: $work/random/MANIFEST:0: damaged" 'names it'
[ ! -e "$work/never" ]
ok $? 'and nothing was made'

# A bar, and an interrupt.
python3 "$(dirname "$0")/tty.py" '' "$BITCASK" backup --no-link "$work/other" "$work/bar" >"$work/out" 2>"$work/err"
finished $? 0 'backup on a terminal'
out_has 'backup  \[[#.]*\]  [0-9.]* [KMG]*i*B/[0-9.]* [KMG]*i*B  [0-9]* %' 'shows a bar, with bytes'
tr '\r' '\n' <"$work/out" | grep -q "^$(printf '\033')\[Kdata files"
ok $? 'then figures, on a line that was erased'
python3 - "$BITCASK" "$work/other" "$work/cut" >"$work/out" 2>"$work/err" <<'END'
# Interrupts a first backup when its directory has a MANIFEST, until one is cut off: that is unfinished.
import os, shutil, signal, subprocess, sys, time
tool, store, to = sys.argv[1:]
for attempt in range(200):
    shutil.rmtree(to, ignore_errors=True)
    process = subprocess.Popen([tool, "backup", "--no-link", store, to], stderr=subprocess.PIPE)
    while not os.path.exists(to + "/MANIFEST") and process.poll() is None:
        time.sleep(0.0005)
    process.send_signal(signal.SIGTERM)
    error = process.stderr.read().decode()
    code = process.wait()
    if code == 3 and "interrupted" in error:
        print("interrupted")
        sys.exit(0)
    if code not in (0, -signal.SIGTERM):
        sys.exit("code %d: %s" % (code, error))
print("never caught")
END
finished $? 0 'SIGTERM in a first backup'
if grep -q '^interrupted' "$work/out"; then
    runs 3 'what it left' count "$work/cut"
    err_has 'not finished' 'is no store, and says so'
    runs 3 'put there' put "$work/cut" key value
    runs 0 'the next run' backup "$work/other" "$work/cut"
fi
runs 0 'count' count "$work/cut"
out_is '101
' 'completes it'

# What is refused.
runs 2 'backup without arguments' backup
runs 2 'backup without DST' backup "$store"
err_has 'DST is needed' 'says so'
runs 2 'backup with too many arguments' backup "$store" "$to" more
runs 2 'backup --frobnicate' backup --frobnicate "$store" "$to"
runs 2 'contradicting options' backup --verify-all --skip-linked "$store" "$to"
mkdir "$work/empty" "$work/full"
echo text >"$work/file"
echo text >"$work/full/letter"
for dir in none empty file; do
    runs 3 "backup of SRC: $dir" backup "$work/$dir" "$work/never"
    err_has '^bitcask backup: .' 'says why'
    [ ! -e "$work/never" ]
    ok $? 'makes nothing'
done
runs 3 'backup into a file' backup "$store" "$work/file"
err_has '^bitcask backup: .*file' 'names it'
runs 3 'backup below what is not there' backup "$store" "$work/none/backup"
runs 3 'backup into a directory with other things' backup "$store" "$work/full"
err_has 'not empty' 'says why'
[ "$(ls -A "$work/full")" = letter ]
ok $? 'changes nothing there'
runs 3 'backup into the store itself' backup "$store" "$store"
err_has 'the store itself' 'says why'
runs 3 'backup into another store' backup "$store" "$work/other"
err_has 'another store' 'says why'
runs 0 'a put into the backup' put "$work/cut" own value
runs 3 'backup into what was written to' backup "$work/other" "$work/cut"
err_has 'written to since' 'says why'
runs 0 'get' get "$work/cut" own
out_is value 'changes nothing there'
"$BITCASK" put "$work/bar" late <"$work/pipe" 2>"$work/holder.err" &
holder=$!
exec 3>"$work/pipe"
cat "$work/zeros" >&3
runs 3 'backup into what is in use' backup "$work/other" "$work/bar"
err_has 'open for writing' 'says why'
exec 3>&-
wait $holder
if [ "$(id -u)" -ne 0 ]; then
    mkdir "$work/denied"
    chmod 500 "$work/denied"
    runs 3 'backup without permission' backup "$store" "$work/denied"
    err_has 'Permission denied' 'says why'
    chmod 700 "$work/denied"
fi
"$BITCASK" backup --json "$work/other" "$work/quick" >/dev/full 2>"$work/err"
finished $? 3 'a full stdout'

# Damage in the store does not replace an earlier backup.
runs 0 'a backup' backup --no-link "$work/other" "$work/good"
"$BITCASK" selftest -q -o max_file_size=64k -d "$work/rotten" "$work/tree" || exit 1
runs 0 'a backup' backup "$work/rotten" "$work/kept"
file=$(find "$work/rotten" -name '*.data' | LC_ALL=C sort | head -n 1)
printf 'x' | dd of="$file" bs=1 seek=20000 count=1 conv=notrunc 2>/dev/null
runs 3 'backup of a damaged store' backup "$work/rotten" "$work/never"
err_has "$(basename "$file").*damaged at byte" 'names file and offset'
runs 3 'and again' backup --no-link "$work/rotten" "$work/never"
runs 3 'what it left is no store' count "$work/never"

# A disk that is full.
if command -v mount >/dev/null && mkdir "$work/small" && mount -t tmpfs -o size=200k none "$work/small" 2>/dev/null; then
    runs 3 'backup to a full disk' backup "$work/other" "$work/small/backup"
    err_has 'No space left' 'says so'
    [ -z "$(find "$work/small/backup" -name '*.data')" ]
    ok $? 'and leaves no data there'
    umount "$work/small"
fi

done_testing
