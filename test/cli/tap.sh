# tap.sh - sourced by the tests of the tool: TAP output, a directory to work in, checks. $BITCASK is the tool.
# shellcheck shell=sh

: "${BITCASK:?is the path of the tool}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
store=$work/store
tests=0
failures=0

# ok STATUS NAME: STATUS 0 is success. Details are the caller's.
ok() {
    tests=$((tests + 1))
    if [ "$1" -eq 0 ]; then
        printf '%s\n' "ok $tests - $2"
    else
        failures=$((failures + 1))
        printf '%s\n' "not ok $tests - $2"
    fi
}

# runs CODE NAME ARGUMENT...: the tool ends with CODE. Its output is left in $work/out and $work/err.
runs() {
    want=$1
    name=$2
    shift 2
    "$BITCASK" "$@" >"$work/out" 2>"$work/err" </dev/null
    finished $? "$want" "$name"
}

# feeds FILE CODE NAME ARGUMENT...: the same with stdin from FILE.
feeds() {
    input=$1
    want=$2
    name=$3
    shift 3
    "$BITCASK" "$@" >"$work/out" 2>"$work/err" <"$input"
    finished $? "$want" "$name"
}

finished() {
    if [ "$1" -ne "$2" ]; then
        echo "# exit code $1, expected $2"
        sed 's/^/# stderr: /' "$work/err"
    fi
    [ "$1" -eq "$2" ]
    ok $? "$3"
}

# out_is TEXT NAME: stdout of the last run is exactly TEXT.
out_is() {
    printf '%s' "$1" | cmp -s - "$work/out"
    ok $? "$2"
}

# out_same FILE NAME: stdout of the last run is exactly FILE's bytes.
out_same() {
    cmp "$1" "$work/out" | sed 's/^/# /'
    cmp -s "$1" "$work/out"
    ok $? "$2"
}

out_has() {
    grep -q -e "$1" "$work/out"
    ok $? "$2"
}

err_has() {
    grep -q -e "$1" "$work/err" || sed 's/^/# stderr: /' "$work/err"
    grep -q -e "$1" "$work/err"
    ok $? "$2"
}

err_empty() {
    [ ! -s "$work/err" ]
    ok $? "$1"
}

# no_store NAME: nothing was created where $store would be.
no_store() {
    [ ! -e "$store" ]
    ok $? "$1"
}

# skip_all WHY: no test of this file can run here.
skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}

# skip NAME WHY: one that cannot.
skip() {
    tests=$((tests + 1))
    echo "ok $tests - $1 # SKIP $2"
}

done_testing() {
    echo "1..$tests"
    exit "$((failures > 0))"
}
