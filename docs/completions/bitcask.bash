# bash completion for bitcask; made by: bitcask --print-completion bash
# shellcheck shell=bash disable=SC2207

_bitcask()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' words='' i
    COMPREPLY=()
    # Bash splits words at "=".
    if [[ $cur == = ]]; then
        cur=''
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -o | --option) ((i += 3)) ;; # NAME = VALUE
        -*) ;;
        *)
            command=${COMP_WORDS[i]}
            break
            ;;
        esac
    done
    case $prev in
    -o | --option)
        compopt -o nospace
        COMPREPLY=($(compgen -W 'read_only= no_create= exclusive= no_mmap= guard_sigbus= salvage= no_merge= sync_mode= sync_interval_ms= sync_bytes= max_file_size= max_open_files= keydir_shards= file_mode= load_threads= max_bytes= max_keydir_bytes= frag_merge_trigger= frag_threshold= dead_bytes_merge_trigger= dead_bytes_threshold= small_file_threshold= max_merge_size= total_frag_merge_trigger= merge_check_interval_ms= merge_window_start_hour= merge_window_end_hour= merge_rate_limit=' -- "$cur"))
        return
        ;;
    --color)
        COMPREPLY=($(compgen -W 'auto always never' -- "$cur"))
        return
        ;;
    --format)
        COMPREPLY=($(compgen -W 'json db lmdb resp' -- "$cur"))
        return
        ;;
    --print-completion)
        COMPREPLY=($(compgen -W 'bash zsh fish' -- "$cur"))
        return
        ;;
    -d | --dir)
        compopt -o filenames
        COMPREPLY=($(compgen -d -- "$cur"))
        return
        ;;
    --ttl | --expire-at | --prefix | --first | --last | --limit | --file | --rate-limit | --database | --expiry-secs) return ;;
    esac
    case $command in
    '') words='get put delete touch list scan count stat hint merge verify repair backup restore dump load import-basho clear selftest help -q --quiet -V --version --print-completion -o --option -v --verbose -h --help' ;;
    get) words='-x --hex --salvage -q --quiet -o --option -v --verbose -h --help' ;;
    put) words='-x --hex --ttl --expire-at --if-absent --if-present --sync -q --quiet -o --option -v --verbose -h --help' ;;
    delete) words='-x --hex --sync -q --quiet -o --option -v --verbose -h --help' ;;
    touch) words='--ttl --expire-at --persist -x --hex --sync -q --quiet -o --option -v --verbose -h --help' ;;
    list) words='--prefix --first --last --limit --sorted -x --hex --json --salvage -q --quiet -o --option -v --verbose -h --help' ;;
    scan) words='--prefix --first --last --limit --sorted -x --hex --json --salvage -q --quiet -o --option -v --verbose -h --help' ;;
    count) words='--prefix -x --hex --salvage -q --quiet -o --option -v --verbose -h --help' ;;
    stat) words='--json --prometheus --color -q --quiet -o --option -v --verbose -h --help' ;;
    hint) words='--all --json -q --quiet -v --verbose -h --help' ;;
    merge) words='--policy --file -n --dry-run --rate-limit --json -q --quiet -o --option -v --verbose -h --help' ;;
    verify) words='--recount --json --color -q --quiet -v --verbose -h --help' ;;
    repair) words='-n --dry-run --json --color -q --quiet -v --verbose -h --help' ;;
    backup) words='--no-link --verify-all --skip-linked --json -q --quiet -o --option -v --verbose -h --help' ;;
    restore) words='--json -q --quiet -o --option -v --verbose -h --help' ;;
    dump) words='--format --print --prefix --first --last --limit --sorted -x --hex --salvage -q --quiet -o --option -v --verbose -h --help' ;;
    load) words='--format --if-absent --database --last-wins -q --quiet -o --option -v --verbose -h --help' ;;
    import-basho) words='--expiry-secs --json -q --quiet -o --option -v --verbose -h --help' ;;
    clear) words='-y --yes -f --force -q --quiet -o --option -v --verbose -h --help' ;;
    selftest) words='-d --dir -q --quiet -o --option -v --verbose -h --help' ;;
    help) words='-h --help' ;;
    esac
    if [[ $command == help ]]; then
        words='get put delete touch list scan count stat hint merge verify repair backup restore dump load import-basho clear selftest help'
    elif [[ -n $command && $cur != -* ]]; then
        compopt -o filenames
        COMPREPLY=($(compgen -d -- "$cur"))
        return
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _bitcask bitcask
