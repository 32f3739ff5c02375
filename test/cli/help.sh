#!/bin/sh
# Every command explains itself.
. "$(dirname "$0")/tap.sh"

runs 0 '--help' --help
out_has '^usage: bitcask' 'shows the usage'
for command in get put delete touch list scan count stat hint merge verify repair backup restore dump load import-basho clear selftest help; do
    out_has "^  $command " "lists $command"
done
cp "$work/out" "$work/overview"
runs 0 '-h' -h
out_same "$work/overview" 'is the same'
runs 0 'help' help
out_same "$work/overview" 'is the same'

for command in get put delete touch list scan count stat hint merge verify repair backup restore dump load import-basho clear selftest; do
    runs 0 "$command --help" $command --help
    out_has "^usage: bitcask $command " 'shows the usage'
    out_has '^Example' 'has an example'
    err_empty 'has no error'
    cp "$work/out" "$work/text"
    runs 0 "$command -h" $command -h
    out_same "$work/text" 'is the same'
    runs 0 "help $command" help $command
    out_same "$work/text" 'is the same'
done
runs 0 'help help' help help
runs 2 'help of an unknown command' help frobnicate

runs 0 '--version' --version
out_has '^bitcask [0-9]*\.[0-9]*\.[0-9]*$' 'name and version'
cp "$work/out" "$work/version"
runs 0 '-V' -V
out_same "$work/version" 'is the same'

done_testing
