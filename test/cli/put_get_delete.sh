#!/bin/sh
# What put, get and delete do and answer.
. "$(dirname "$0")/tap.sh"

runs 0 'put creates the store' put "$store" user:17 Ada
err_empty 'and says nothing'
runs 0 'get finds the value' get "$store" user:17
out_is 'Ada' 'its bytes, without a newline'
runs 0 'put overwrites' put "$store" user:17 Grace
runs 0 'get again' get "$store" user:17
out_is 'Grace' 'the newer value'

runs 1 'get of an absent key' get "$store" nobody
out_is '' 'prints nothing'
err_has '^bitcask get: not found' 'and remarks it'
runs 1 'get -q of an absent key' get -q "$store" nobody
err_empty 'remarks nothing'
runs 1 'quiet as an option of the tool' -q get "$store" nobody
err_empty 'remarks nothing either'

runs 1 '--if-absent on a present key' put --if-absent "$store" user:17 x
runs 0 '--if-absent on an absent key' put --if-absent "$store" user:18 Alan
runs 0 '--if-present on a present key' put --if-present "$store" user:18 Edsger
runs 1 '--if-present on an absent key' put --if-present "$store" user:19 x
runs 0 'after the conditions' get "$store" user:17
out_is 'Grace' 'a condition that did not hold changed nothing'
runs 0 'after the conditions' get "$store" user:18
out_is 'Edsger' 'a condition that held did'
runs 1 'after the conditions' get "$store" user:19

runs 0 '--sync' put --sync "$store" durable yes
runs 0 'delete' delete "$store" user:17
runs 1 'what was deleted is absent' get "$store" user:17
runs 1 'delete of an absent key' delete "$store" user:17
runs 0 'delete --sync' delete --sync "$store" durable
runs 1 'what was deleted with sync is absent' get "$store" durable
runs 0 'the others are still there' get "$store" user:18

runs 0 'a key that looks like an option' put "$store" --hex -x
runs 0 'is a key after DIR' get "$store" --hex
out_is '-x' 'and its value a value'
cd "$work" || exit 1
runs 0 '-- ends the options' put -- -store key value
[ -d "$work/-store" ]
ok $? 'a directory named like an option'
runs 0 'and back' get -- -store key
out_is 'value' 'its value'

done_testing
