#!/bin/sh
# bitcask list and count: which keys, in which order and form.
. "$(dirname "$0")/tap.sh"

for key in b a:2 c a:1 a:3; do "$BITCASK" put "$store" $key "value of $key" || exit 1; done
"$BITCASK" put "$store" gone x && "$BITCASK" delete "$store" gone
"$BITCASK" put --expire-at 100000000000 "$store" expired x

lines() { # the lines of stdout, sorted, on one line
    LC_ALL=C sort "$work/out" | tr '\n' ' '
}

runs 0 'list' list "$store"
[ "$(lines)" = 'a:1 a:2 a:3 b c ' ]
ok $? 'every key once, none that was deleted or expired'
runs 0 'list --sorted' list --sorted "$store"
out_is 'a:1
a:2
a:3
b
c
' 'in the order of bytes'
runs 0 '--prefix' list --sorted --prefix a: "$store"
out_is 'a:1
a:2
a:3
' 'only these'
runs 0 'an empty --prefix' list --prefix '' "$store"
[ "$(lines)" = 'a:1 a:2 a:3 b c ' ]
ok $? 'is all'
runs 0 '--first and --last' list --sorted --first a:2 --last b "$store"
out_is 'a:2
a:3
b
' 'both ends included'
runs 0 '--limit' list --sorted --limit 2 "$store"
out_is 'a:1
a:2
' 'the first two'
runs 0 '--limit without --sorted' list --limit=3 "$store"
[ "$(wc -l <"$work/out")" -eq 3 ]
ok $? 'three of them'
runs 0 'no key fits' list --prefix z "$store"
out_is '' 'prints nothing'
runs 0 '--hex' list --sorted --hex --prefix 613a "$store"
out_is '613a31
613a32
613a33
' 'hex in and out'
runs 0 '--hex after the prefix' list --sorted --prefix 613A -x --first 613a33 "$store"
out_is '613a33
' 'applies to it as well'
runs 0 '--json' list --sorted --json --limit 2 "$store"
out_is '"a:1"
"a:2"
' 'strings'

"$BITCASK" put --hex "$store" 6e0a6c 78 && "$BITCASK" put --hex "$store" 00ff 78
runs 3 'a key with a newline' list "$store"
err_has '^bitcask list: 1 keys were left out.*--hex or --json' 'is reported'
[ "$(wc -l <"$work/out")" -eq 6 ]
ok $? 'and left out'
runs 0 'list --hex' list --hex --prefix 6e "$store"
out_is '6e0a6c
' 'prints it'
runs 0 'list --json' list --sorted --json --prefix n "$store"
out_is '"n\u000al"
' 'prints it'
runs 0 'list --json of what is not UTF-8' list --json --sorted --limit 1 "$store"
out_is '{"key_b64":"AP8="}
' 'as base64'

runs 0 'count' count "$store"
out_is '7
' 'all keys'
runs 0 'count --prefix' count --prefix a: "$store"
out_is '3
' 'these'
runs 0 'count --hex' count -x --prefix 00ff "$store"
out_is '1
' 'with a hex prefix'
runs 0 'count of none' count --prefix z "$store"
out_is '0
' 'is 0'

for bad in '--limit 0' '--limit x' '--limit -1' '--hex --prefix 6' '--hex --first zz' '--hex --last 0'; do
    # shellcheck disable=SC2086
    runs 2 "list $bad" list $bad "$store"
    out_is '' 'prints nothing'
done
runs 2 'count has no --limit' count --limit 1 "$store"
runs 2 'list without DIR' list
runs 2 'list with too many arguments' list "$store" more
runs 2 'count without DIR' count

# On a terminal, stored bytes are not its commands.
"$BITCASK" put --hex "$store" 651b5b32 78
python3 "$(dirname "$0")/tty.py" '' "$BITCASK" list --prefix e "$store" >"$work/out" 2>"$work/err"
finished $? 0 'list on a terminal'
out_is 'e?[2
' 'shows control characters as ?'
runs 0 'not on a terminal' list --prefix e "$store"
printf 'e\033[2\n' >"$work/want"
out_same "$work/want" 'they are what they are'

done_testing
