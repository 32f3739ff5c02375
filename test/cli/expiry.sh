#!/bin/sh
# --ttl and --expire-at.
. "$(dirname "$0")/tap.sh"

now_ms() { echo "$(($(date +%s) * 1000))"; }

runs 0 '--ttl' put --ttl 1 "$store" short x
runs 0 'a long --ttl' put --ttl 3600 "$store" long y
runs 0 'before its time' get "$store" long
sleep 1.2
runs 1 'after its time it is absent' get "$store" short
runs 0 'the other is not' get "$store" long
runs 1 'delete of what expired' delete "$store" short
runs 0 'put --if-absent over what expired' put --if-absent "$store" short z
runs 0 'is there' get "$store" short
out_is z 'the new value, without an expiry'

runs 0 '--expire-at in the future' put --expire-at $(($(now_ms) + 3600000)) "$store" at x
runs 0 'is there' get "$store" at
runs 0 '--expire-at in the past' put --expire-at $(($(now_ms) - 3600000)) "$store" at x
runs 1 'is absent at once' get "$store" at
runs 0 '--expire-at 0' put --expire-at 0 "$store" at x
runs 0 'is never' get "$store" at

runs 2 '--expire-at in seconds' put --expire-at "$(date +%s)" "$store" at y
runs 2 '--ttl 0' put --ttl 0 "$store" at y
runs 2 '--ttl -1' put --ttl -1 "$store" at y
runs 2 '--ttl 1s' put --ttl 1s "$store" at y
runs 2 '--ttl with nothing' put --ttl '' "$store" at y
runs 2 '--ttl over all bounds' put --ttl 99999999999999999999 "$store" at y
runs 2 '--ttl that time cannot hold' put --ttl 9223372036854775 "$store" at y
runs 2 '--ttl and --expire-at' put --ttl 5 --expire-at 0 "$store" at y
runs 0 'after all these' get "$store" at
out_is x 'nothing changed'

done_testing
