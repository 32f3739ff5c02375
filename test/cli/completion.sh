#!/bin/sh
# The completions are those of this tool, and know every command and option.
. "$(dirname "$0")/tap.sh"
docs=$(cd "$(dirname "$0")/../../docs/completions" && pwd)
cd "$work" || exit 1

for file in bash:bitcask.bash zsh:_bitcask fish:bitcask.fish; do
    runs 0 "--print-completion ${file%%:*}" --print-completion "${file%%:*}"
    out_same "$docs/${file#*:}" "docs/completions/${file#*:} is up to date"
done
runs 2 'for no such shell' --print-completion csh
runs 2 'for none' --print-completion

runs 0 'help' help
commands=$(sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' "$work/out")
[ "$(echo "$commands" | wc -l)" -ge 12 ]
ok $? 'lists the commands'
for command in $commands; do
    grep -q "^    $command) words=" "$docs/bitcask.bash" && grep -q "^        $command)" "$docs/_bitcask" &&
        grep -q "__fish_use_subcommand -a $command " "$docs/bitcask.fish"
    ok $? "$command is known"
    runs 0 "$command --help" "$command" --help
    grep -o '^ *\(-., \)\?--[a-z-]\+\( [A-Z=]\+ \)\?' "$work/out" >"$work/options"
    [ -s "$work/options" ]
    ok $? 'has options'
    bash=$(sed -n "s/^    $command) words='\(.*\)' ;;/ \1 /p" "$docs/bitcask.bash")
    zsh=$(sed -n "/^        $command)/,/;;/p" "$docs/_bitcask")
    fish=$(grep "from $command'" "$docs/bitcask.fish")
    while read -r line; do
        option=$(echo "$line" | grep -o -e '--[a-z-]*')
        echo "$bash" | grep -q -e " $option " && echo "$zsh" | grep -q -e "[',]${option}[[}]" &&
            echo "$fish" | grep -q -e " -l ${option#--} "
        ok $? "$command $option is known to every shell"
        case $line in
        *[A-Z])
            usage=2
            case $command in verify | repair) usage=16 ;; esac
            runs $usage "$command $option is known to the command" "$command" "$option"
            err_has "needs a value" "and takes a value"
            ;;
        *) runs 0 "$command $option is known to the command" "$command" "$option" -h ;;
        esac
    done <"$work/options"
done

# What bash makes of it.
if command -v bash >/dev/null; then
    completes() { # WANTED WORD...: the last word is to be completed
        want=$1
        shift
        # shellcheck disable=SC2016
        got=$(bash --norc -c '. "$1"; shift; compopt() { :; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _bitcask; echo "${COMPREPLY[*]}"' \
            _ "$docs/bitcask.bash" "$@")
        [ "$got" = "$want" ] || echo "# got: $got"
        [ "$got" = "$want" ]
        ok $? "completes: $*"
    }
    completes 'scan stat selftest' bitcask s
    completes '--sorted --salvage' bitcask list --s
    completes 'sync_mode= sync_interval_ms= sync_bytes=' bitcask put -o sync_
    completes 'always' bitcask stat --color al
    completes 'always' bitcask stat --color = al
    completes 'delete dump' bitcask help d
    completes 'json' bitcask dump --format js
    completes 'lmdb' bitcask load --format = l
    completes 'get' bitcask -o no_mmap = true g
    mkdir "$work/directory"
    completes "$work/directory" bitcask get "$work/dir"
    completes '' bitcask list --prefix ''
fi

done_testing
