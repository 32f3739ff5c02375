#!/bin/sh
# bitcask import-basho: what comes over is what Riak's Bitcask itself says is there; damage is listed; DST is whole or not there.
. "$(dirname "$0")/tap.sh"
here=$(cd "$(dirname "$0")" && pwd)
compat=$here/../compat/basho
TERM=xterm
export TERM
cd "$work" || exit 1

# craft DIR ID PART...: a data file by hand.
craft() {
    directory=$1
    id=$2
    shift 2
    mkdir -p "$directory"
    python3 "$here/basho.py" "$directory/$id.bitcask.data" "$@" || exit 1
}

# holds TSV NAME: dst has exactly these keys and values, in hex, sorted.
holds() {
    "$BITCASK" scan -x dst >scan.tsv 2>scan.err
    LC_ALL=C sort scan.tsv | cmp - "$1" | sed 's/^/# /'
    LC_ALL=C sort scan.tsv | cmp -s - "$1"
    ok $? "$2"
}

# shows TEXT NAME: the same, as printed by scan --sorted.
shows() {
    "$BITCASK" scan --sorted dst >scan.out 2>scan.err
    printf '%b' "$1" | diff - scan.out | sed 's/^/# /'
    printf '%b' "$1" | cmp -s - scan.out
    ok $? "$2"
}

# nothing NAME: neither dst nor anything that stands for it.
nothing() {
    [ ! -e dst ] && [ ! -e dst.partial ]
    ok $? "$1"
}

# imports CODE NAME DIR: into a new dst.
imports() {
    rm -rf dst
    runs "$1" "$2" import-basho "$3" dst
}

# ---- what a real one wrote ----

tar xpzf "$compat/casks.tar.gz" || exit 1
for cask in cask old; do
    before=$(ls -lR $cask && cat $cask/* | cksum)
    imports 0 "a directory that was written by it: $cask" $cask
    err_empty 'says nothing'
    holds $cask.tsv 'has exactly what its own fold returns'
    [ "$(ls -lR $cask && cat $cask/* | cksum)" = "$before" ]
    ok $? 'the source is as it was'
done
out_has '^marked for deletion 1$' 'says how many files are to be deleted'
out_has '^keys                3$' 'and how many keys there are'
chmod o-x old/9.bitcask.data
imports 0 'with a file that is no longer marked' old
"$BITCASK" scan -x dst | LC_ALL=C sort | cmp -s - old.tsv
ok $? 'its tombstones come before what was written again'
chmod u+s old/9.bitcask.data
imports 0 'with the mark of old releases' old
out_has '^marked for deletion 1$' 'is known, too'

if command -v escript >/dev/null && erl -noshell -eval 'halt(case code:which(bitcask) of non_existing -> 1; _ -> 0 end).'; then
    seed=$(date +%s)
    echo "# seed $seed"
    escript "$here/basho.escript" make fresh "$seed" 100 1200 8000 >fresh.log 2>&1
    ok $? 'Riak'\''s Bitcask writes a directory'
    escript "$here/basho.escript" fold fresh >fresh.tsv
    imports 0 'import of it' fresh
    [ -s fresh.tsv ]
    ok $? 'that has keys'
    holds fresh.tsv 'has exactly what its fold returns'

    # What the format's rules say, by hand; and that it says the same.
    craft rules 2 '1:a=old' '1:b=old' '1:c=old' '1:t=old' '9:time=late'
    craft rules 10 '2:a=new' '2:b=bitcask_tombstone' '2:c=bitcask_tombstone1\0\0\0\2' '2:t=bitcask_tombstones are fun' \
        '2:d=x' '2:d=bitcask_tombstone2\0\0\0\12' '2:e=' '2:a\0\n\xff=binary\0' '8:time=early'
    craft rules 9 '1:a=middle' '1:f=first' '1:f=second'
    escript "$here/basho.escript" fold rules >rules.tsv
    imports 0 'by hand' rules
    holds rules.tsv 'it reads the rules in the same way'
    # The same with an expiry: far off for one half of the keys, past for the other.
    now=$(date +%s)
    craft expiry 1 "$((now - 100)):kept=1" "$((now - 5000)):gone=1" "$((now - 100)):back=old"
    craft expiry 2 "$((now - 5000)):back=expired" "$((now - 4000)):forth=expired"
    craft expiry 3 "$((now - 50)):forth=new"
    escript "$here/basho.escript" fold expiry 3000 >expiry.tsv
    rm -rf dst
    runs 0 '--expiry-secs' import-basho --expiry-secs 3000 expiry dst
    holds expiry.tsv 'expires the same'
else
    echo '# skipped: what only Riak'\''s Bitcask itself can say (erlang-bitcask is not installed)'
fi

# ---- the rules, without it ----

craft order 2 '1:a=old' '1:b=old' '1:c=old' '1:t=old' '9:time=late'
craft order 10 '2:a=new' '2:b=bitcask_tombstone' '2:c=bitcask_tombstone1\0\0\0\2' '2:t=bitcask_tombstones are fun' \
    '2:d=x' '2:d=bitcask_tombstone2\0\0\0\12' '2:e=' '8:time=early'
craft order 9 '1:a=middle' '1:f=first' '1:f=second'
touch order/x.bitcask.data order/10.bitcask.hint order/merge.txt order/1.bitcask.data.old
imports 0 'files by number, records by place' order
shows 'a\tnew\ne\t\nf\tsecond\ntime\tearly\n' 'the last one counts, tombstones of all kinds delete'
out_has '^data files          3$' 'other names are left alone'

craft overwrite 1 '1:k=old' '1:other=x'
craft overwrite 2 '2:k=bitcask_tombstone2\0\0\0\1' '2:k=new' '2:other=bitcask_tombstone2\0\0\0\1'
imports 0 'a value that is overwritten, one that is deleted at the very end' overwrite
shows 'k\tnew\n' 'the one is there, the other is not'

now=$(date +%s)
craft expires 1 "$((now - 100)):kept=1" "$((now - 5000)):gone=1" "$((now - 100)):hidden=older"
craft expires 2 "$((now - 5000)):hidden=newer" '0:zero=1'
rm -rf dst
runs 0 'values expire' import-basho --expiry-secs 3000 expires dst
runs 0 'scan' scan --json dst
out_is "{\"key\":\"kept\",\"value\":\"1\",\"expire_at_ms\":$(((now - 100 + 3000) * 1000)),\"sequence\":$(sed -n 's/.*"sequence":\([0-9]*\).*/\1/p' "$work/out")}
" 'N seconds after they were written, and the newest one decides'
imports 0 'without --expiry-secs' expires
runs 0 'count' count dst
out_is '4
' 'nothing expires'

# ---- damage ----

craft value 1 '1:a=1' 'bad:1:hurt=2' '1:c=3'
craft value 2 '1:d=4'
imports 1 'a damaged value' value
err_has '^bitcask import-basho: value/1.bitcask.data:16: 19 damaged bytes; its key seems to be "hurt"$' 'is listed'
shows 'a\t1\nc\t3\nd\t4\n' 'all else comes over'
out_has '^damaged places      1$' 'is counted'

craft size 1 '1:a=1' 'size:1:b=22222222222222222222222222222222' '1:c=3'
imports 1 'a damaged size' size
err_has '^bitcask import-basho: size/1.bitcask.data:16: 47 damaged bytes$' 'is listed'
shows 'a\t1\nc\t3\n' 'and the next record is found'

craft large 1 '1:a=1' 'size:1:b=2' many:3:100000 'bad:1:c=3' many:1:9000 '1:d=4'
imports 1 'large records behind damage' large
out_has '^records             6$' 'are all found'

inner=$(python3 "$here/basho.py" /dev/stdout '1:forged=yes' | od -An -v -tx1 | tr -d '\n' | sed 's/ /\\x/g')
craft embedded 1 '1:a=1' "bad:1:blob=$inner" '1:c=3'
imports 1 'a damaged value with a record in it' embedded
shows 'a\t1\nc\t3\n' 'what is inside of a value is no record'

craft newest 1 '1:a=1' '1:k=older'
craft newest 2 'bad:1:k=newer'
imports 1 'the newest record of a key is damaged' newest
err_has 'newest/2.bitcask.data:0: .*"k"' 'is listed'
shows 'a\t1\nk\tolder\n' 'an older value comes over, as documented'

craft holes 1 '1:a=1' zeros:5000 '1:b=2' random:5000 '1:c=3' 'raw:short'
imports 1 'zeros, random bytes and a torn end' holes
shows 'a\t1\nb\t2\nc\t3\n' 'every good record comes over'
out_has '^damaged places      2$' 'two places are damaged'
out_has '^torn bytes          5$' 'the end is torn'

craft torn 1 '1:a=1'
craft torn 2 '1:b=2' 'cut:18:1:c=333333'
imports 0 'a write that was cut off at the end of the newest file' torn
err_has '^bitcask import-basho: torn/2.bitcask.data:16: the last 18 bytes are a write that was cut off$' 'is reported'
shows 'a\t1\nb\t2\n' 'and is no damage'
craft torn 3 '1:d=4' zeros:100
imports 1 'the same in the middle' torn
err_has 'torn/2.bitcask.data:16: 18 damaged bytes up to the end' 'is damage'
err_has 'torn/3.bitcask.data:16: the last 100 bytes' 'zeros at the end are a write that was cut off'

craft empty 1 '1:a=1' '1:=no key' '1:b=2'
imports 1 'an empty key' empty
err_has '^bitcask import-basho: empty/1.bitcask.data:16: left out: ' 'is left out and listed'
shows 'a\t1\nb\t2\n' 'all else comes over'

craft noise 1 random:300000
imports 3 'random bytes' noise
err_has 'not one record is good' 'are no directory of Bitcask'
nothing 'and make no store'

craft noise 0 '1:a=1'
imports 1 'random bytes beside a good file' noise
shows 'a\t1\n' 'are damage, and the good one comes over'
out_has '^torn bytes          0$' 'not a write that was cut off'

rm -rf dst
runs 1 '--json' import-basho --json -q value dst
python3 -c 'import json, sys; d = json.load(sys.stdin); sys.exit(not (d["damaged"] == 1 and d["keys"] == 3 and d["files"] == 2 and d["records"] == 3))' <"$work/out"
ok $? 'is JSON, also with -q'
rm -rf dst
runs 0 '-q' import-basho -q order dst
out_is '' 'has no figures'

# ---- bad input ----

rm -rf dst
runs 2 'without DIR and DST' import-basho
runs 2 'without DST' import-basho value
runs 2 'with too many arguments' import-basho value dst more
for seconds in 0 -1 x '' 4294967296; do
    runs 2 "--expiry-secs '$seconds'" import-basho --expiry-secs "$seconds" value dst
done
runs 2 'an unknown option of the library' import-basho -o frobnicate=1 value dst
nothing 'no call of these made anything'
runs 2 'an option that makes no sense' import-basho -o read_only=true value dst
nothing 'nor this'

runs 3 'no such directory' import-basho absent dst
err_has '^bitcask import-basho: absent: No such file' 'says so'
runs 3 'a plain file' import-basho value/1.bitcask.data dst
err_has 'Not a directory' 'says so'
mkdir bare
runs 3 'an empty directory' import-basho bare dst
err_has 'no data file' 'says so'
cp -r value all_marked
chmod o+x all_marked/*
runs 3 'all files are marked for deletion' import-basho all_marked dst
err_has 'marked for deletion' 'says so'
cp -r value twins
cp twins/1.bitcask.data twins/01.bitcask.data
runs 3 'two files with one number' import-basho twins dst
err_has 'same number' 'says so'
cp -r value fifo
mkfifo fifo/3.bitcask.data
runs 3 'a FIFO in the place of a data file' import-basho fifo dst
err_has 'not a regular file' 'says so'
nothing 'none of these made anything'
cp -r order stale
echo '4242 stale/10.bitcask.data' >stale/bitcask.write.lock
imports 0 'a lock file' stale
err_has 'lock file' 'is remarked on'

# as_user COMMAND...: without root's powers.
if [ "$(id -u)" != 0 ]; then
    as_user() { "$@"; }
else
    as_user() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
    chmod 0755 "$work"
fi
if as_user "$BITCASK" --version >/dev/null 2>&1; then
    cp -r value secret
    chmod 0 secret/2.bitcask.data
    mkdir -m 0777 home closed
    as_user "$BITCASK" import-basho secret home/dst >out 2>err
    finished $? 3 'a data file that may not be read'
    err_has 'secret/2.bitcask.data: Permission denied' 'says so'
    [ -z "$(ls -A home)" ]
    ok $? 'and nothing is made, for it may hold the newest of any key'
    chmod 0555 closed
    as_user "$BITCASK" import-basho value closed/dst >out 2>err
    finished $? 3 'DST may not be made'
    err_has 'Permission denied' 'says so'
    chmod 0755 closed
    chmod 0 secret
    as_user "$BITCASK" import-basho secret home/dst >out 2>err
    finished $? 3 'a directory that may not be read'
    err_has 'secret: Permission denied' 'says so'
    chmod 0755 secret
else
    echo '# skipped: another user cannot run the tool here'
fi

# ---- DST ----

craft good 1 '1:a=1' '1:b=2'

imports 0 'an import' good
runs 3 'DST is a store' import-basho order dst
err_has '^bitcask import-basho: .*dst is not empty' 'says so'
shows 'a\t1\nb\t2\n' 'and is left alone'
mkfifo pipe
"$BITCASK" put dst key <pipe &
holder=$!
exec 3>pipe
head -c 200000 /dev/zero >&3
runs 3 'DST is a store in use' import-basho order dst
exec 3>&-
wait $holder
echo file >plain
runs 3 'DST is a file' import-basho value plain
err_has 'not a directory' 'says so'
runs 3 'DST lies in no directory' import-basho value absent/dst
rm -rf dst
mkdir -m 0750 dst
runs 0 'DST is an empty directory' import-basho good dst/
shows 'a\t1\nb\t2\n' 'becomes the store'
[ "$(stat -c %a dst)" = 750 ]
ok $? 'and keeps its mode'
rm -rf dst
mkdir far
ln -s far dst
runs 0 'DST is a link to an empty directory' import-basho good dst
[ -L dst ] && [ -f far/MANIFEST ]
ok $? 'and is so after it'
rm -rf dst far

# A full disk, if a small one can be had.
mkdir small
if mount -t tmpfs -o size=1m none small 2>/dev/null; then
    craft big 1 many:4000:1000
    runs 3 'a disk that is full in the middle' import-basho big small/dst
    err_has 'space' 'says so'
    [ -z "$(ls -A small)" ]
    ok $? 'and nothing is left on it'
    runs 3 'DST is a mount point' import-basho value small
    err_has 'mount point' 'says so'
    umount small
else
    echo '# skipped: no small file system can be mounted'
fi

# ---- cut off ----

craft big 1 many:400000:100

# Too early and there is nothing yet, too late and it is done.
# cut SIGNAL CODE: runs an import until the signal hits it at work.
cut() {
    code=0
    for delay in 0.05 0.1 0.02 0.2 0.03 0.4 0.01 0.8 0.015 1.6 0.05 0.1 0.02 3.2; do
        rm -rf dst dst.partial
        # The shell's word on a killed job is not wanted.
        { timeout --foreground --preserve-status -s "$1" $delay "$BITCASK" import-basho big dst >"$work/out" 2>"$work/err"; } 2>/dev/null
        code=$?
        [ $code -eq "$2" ] && { [ "$1" != KILL ] || [ -e dst.partial/MANIFEST ]; } && break
    done
    finished $code "$2" "an import that is cut off by SIG$1"
}
for signal in INT TERM HUP; do
    cut $signal 3
    err_has '^bitcask import-basho: interrupted$' 'says so'
    nothing 'leaves nothing'
done
cut KILL 137
[ ! -e dst ] && [ -e dst.partial/MANIFEST ]
ok $? 'leaves something that is not DST'
runs 0 'the next import' import-basho -q good dst
shows 'a\t1\nb\t2\n' 'begins anew'
[ ! -e dst.partial ]
ok $? 'and leaves nothing of the old one'
rm -rf dst
mkdir dst.partial
echo mine >dst.partial/mine
runs 3 'a directory of somebody else in its place' import-basho value dst
err_has 'dst.partial is in the way' 'says so'
[ "$(cat dst.partial/mine)" = mine ] && [ ! -e dst ]
ok $? 'and it is left alone'
rm -rf dst.partial
mkdir dst.partial
flock dst.partial "$BITCASK" import-basho value dst >"$work/out" 2>"$work/err"
finished $? 3 'another import into the same DST'
err_has 'another run is at work' 'says so'
rm -rf dst.partial

# A file that changes before it is read has no second state to mix with.
for delay in 0.05 0.1 0.02 0.2 0.01 0.4 0.8; do
    rm -rf dst
    "$BITCASK" import-basho big dst >"$work/out" 2>"$work/err" &
    import=$!
    sleep $delay
    touch big/1.bitcask.data
    wait $import
    code=$?
    [ $code -ne 3 ] || break
done
finished $code 3 'a directory that is written to meanwhile'
err_has 'has changed while it was read' 'is refused'
nothing 'and nothing is made of it'

python3 "$here/tty.py" '' "$BITCASK" import-basho big dst >"$work/out" 2>"$work/err"
finished $? 0 'on a terminal'
out_has 'import  \[[#.]*\]  [0-9.]* [KMG]*i*B/[0-9.]* [KMG]*i*B  [0-9]* %' 'shows a bar, with bytes'

done_testing
