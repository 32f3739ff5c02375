#include "tools/completion.h"

#include <stdio.h>
#include <string.h>

#include "tools/output.h"

static const char *const store_options[] = {
    "read_only",
    "no_create",
    "exclusive",
    "no_mmap",
    "guard_sigbus",
    "salvage",
    "no_merge",
    "sync_mode",
    "sync_interval_ms",
    "sync_bytes",
    "max_file_size",
    "max_open_files",
    "keydir_shards",
    "file_mode",
    "load_threads",
    "max_bytes",
    "max_keydir_bytes",
    "frag_merge_trigger",
    "frag_threshold",
    "dead_bytes_merge_trigger",
    "dead_bytes_threshold",
    "small_file_threshold",
    "max_merge_size",
    "total_frag_merge_trigger",
    "merge_check_interval_ms",
    "merge_window_start_hour",
    "merge_window_end_hour",
    "merge_rate_limit",
};
#define STORE_OPTION_COUNT (sizeof store_options / sizeof store_options[0])

/* Of the tool itself, in the form of a help. */
static const char tool_help[] = "  -q, --quiet          errors only: no figures, no remarks\n"
                                "  -V, --version        the version of the library\n"
                                "      --print-completion SHELL  completions for bash, zsh or fish\n" CLI_STORE_OPTIONS;

struct help_option {
    char letter;       /* 0: none */
    char name[32];     /* without the hyphens */
    char argument[16]; /* "": none */
    const char *text;  /* up to the newline, not ended by NUL */
    size_t text_length;
};

/* Copies the characters of a set from *at and moves it behind them; false: there is none, or there are too many. */
static bool take(const char **at, const char *set, char *ret, size_t capacity)
{
    size_t length = strspn(*at, set);
    if (length == 0 || length >= capacity)
        return false;
    memcpy(ret, *at, length);
    ret[length] = '\0';
    *at += length;
    return true;
}

/* A line as "  -x, --name ARGUMENT  text", each part but the name may be absent. */
static bool parse_option(const char *line, const char *end, struct help_option *ret)
{
    struct help_option option = {0};
    const char *at = line;
    if (strncmp(at, "  -", 3) == 0 && strncmp(at + 4, ", --", 4) == 0) {
        option.letter = at[3];
        at += 8;
    } else if (strncmp(at, "      --", 8) == 0) {
        at += 8;
    } else {
        return false;
    }
    if (!take(&at, "abcdefghijklmnopqrstuvwxyz-", option.name, sizeof option.name))
        return false;
    if (at[0] == ' ' && at[1] != ' ') {
        at++;
        if (!take(&at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ=", option.argument, sizeof option.argument))
            return false;
    }
    option.text = at + strspn(at, " ");
    option.text_length = option.text < end ? (size_t)(end - option.text) : 0;
    *ret = option;
    return true;
}

/* The next option of a help text; NULL: there is none, else where to go on. */
static const char *next_option(const char *help, struct help_option *ret)
{
    for (const char *end; (end = strchr(help, '\n')) != NULL; help = end + 1) {
        if (parse_option(help, end, ret))
            return end + 1;
    }
    return NULL;
}

/* For the inside of single quotes; escaped gets a backslash before it. */
static void print_quoted(const char *text, size_t length, const char *escaped)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\'')
            cli_print("'\\''");
        else
            cli_print("%s%c", strchr(escaped, text[i]) ? "\\" : "", text[i]);
    }
}

static void print_store_options(const char *between)
{
    for (size_t i = 0; i < STORE_OPTION_COUNT; i++)
        cli_print("%s%s=", i ? between : "", store_options[i]);
}

static void print_names(const struct cli_command *const *commands, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cli_print("%s%s", i ? " " : "", commands[i]->name);
}

/* ---- bash ---- */

static void bash_words(const char *help)
{
    struct help_option option;
    for (const char *separator = ""; (help = next_option(help, &option)) != NULL; separator = " ") {
        if (option.letter)
            cli_print("%s-%c --%s", separator, option.letter, option.name);
        else
            cli_print("%s--%s", separator, option.name);
    }
}

static bool has_option(const struct cli_command *command, const char *name)
{
    struct help_option option;
    for (const char *help = command->help; (help = next_option(help, &option)) != NULL;) {
        if (strcmp(option.name, name) == 0)
            return true;
    }
    return false;
}

static bool is_free_text(const struct help_option *option)
{
    static const char *const known[] = {"option", "color", "dir", "format", "print-completion"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(option->name, known[i]) == 0)
            return false;
    }
    return option->argument[0] != '\0';
}

/* As one pattern all options of all commands, each once, whose value cannot be completed. */
static void bash_free_options(const struct cli_command *const *commands, size_t count)
{
    const char *separator = "";
    for (size_t i = 0; i < count; i++) {
        struct help_option option;
        for (const char *help = commands[i]->help; (help = next_option(help, &option)) != NULL;) {
            bool seen = false;
            for (size_t k = 0; k < i && !seen; k++)
                seen = has_option(commands[k], option.name);
            if (seen || !is_free_text(&option))
                continue;
            cli_print("%s--%s", separator, option.name);
            separator = " | ";
        }
    }
}

static void print_bash(const struct cli_command *const *commands, size_t count)
{
    cli_print("# bash completion for bitcask; made by: bitcask --print-completion bash\n"
              "# shellcheck shell=bash disable=SC2207\n\n"
              "_bitcask()\n"
              "{\n"
              "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' words='' i\n"
              "    COMPREPLY=()\n"
              "    # Bash splits words at \"=\".\n"
              "    if [[ $cur == = ]]; then\n"
              "        cur=''\n"
              "    elif [[ $prev == = ]]; then\n"
              "        prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
              "    fi\n"
              "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
              "        case ${COMP_WORDS[i]} in\n"
              "        -o | --option) ((i += 3)) ;; # NAME = VALUE\n"
              "        -*) ;;\n"
              "        *)\n"
              "            command=${COMP_WORDS[i]}\n"
              "            break\n"
              "            ;;\n"
              "        esac\n"
              "    done\n"
              "    case $prev in\n"
              "    -o | --option)\n"
              "        compopt -o nospace\n"
              "        COMPREPLY=($(compgen -W '");
    print_store_options(" ");
    cli_print("' -- \"$cur\"))\n"
              "        return\n"
              "        ;;\n"
              "    --color)\n"
              "        COMPREPLY=($(compgen -W 'auto always never' -- \"$cur\"))\n"
              "        return\n"
              "        ;;\n"
              "    --format)\n"
              "        COMPREPLY=($(compgen -W 'json db lmdb resp' -- \"$cur\"))\n"
              "        return\n"
              "        ;;\n"
              "    --print-completion)\n"
              "        COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$cur\"))\n"
              "        return\n"
              "        ;;\n"
              "    -d | --dir)\n"
              "        compopt -o filenames\n"
              "        COMPREPLY=($(compgen -d -- \"$cur\"))\n"
              "        return\n"
              "        ;;\n"
              "    ");
    bash_free_options(commands, count);
    cli_print(") return ;;\n"
              "    esac\n"
              "    case $command in\n"
              "    '') words='");
    print_names(commands, count);
    cli_print(" ");
    bash_words(tool_help);
    cli_print("' ;;\n");
    for (size_t i = 0; i < count; i++) {
        cli_print("    %s) words='", commands[i]->name);
        bash_words(commands[i]->help);
        cli_print("' ;;\n");
    }
    cli_print("    esac\n"
              "    if [[ $command == help ]]; then\n"
              "        words='");
    print_names(commands, count);
    cli_print("'\n"
              "    elif [[ -n $command && $cur != -* ]]; then\n"
              "        compopt -o filenames\n"
              "        COMPREPLY=($(compgen -d -- \"$cur\"))\n"
              "        return\n"
              "    fi\n"
              "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
              "}\n"
              "complete -F _bitcask bitcask\n");
}

/* ---- zsh ---- */

static void zsh_options(const char *help, const char *indent)
{
    struct help_option option;
    while ((help = next_option(help, &option)) != NULL) {
        const char *repeat = strcmp(option.name, "option") == 0 ? "*" : "";
        if (option.letter)
            cli_print("%s'%s'{-%c,--%s}'", indent, repeat, option.letter, option.name);
        else
            cli_print("%s'--%s", indent, option.name);
        cli_print("[");
        print_quoted(option.text, option.text_length, "[]");
        cli_print("]");
        if (strcmp(option.name, "option") == 0) {
            cli_print(":name:(");
            print_store_options(" ");
            cli_print(")");
        } else if (strcmp(option.name, "color") == 0) {
            cli_print(":when:(auto always never)");
        } else if (strcmp(option.name, "format") == 0) {
            cli_print(":name:(json db lmdb resp)");
        } else if (strcmp(option.name, "print-completion") == 0) {
            cli_print(":shell:(bash zsh fish)");
        } else if (strcmp(option.name, "dir") == 0) {
            cli_print(":directory:_files -/");
        } else if (option.argument[0]) {
            cli_print(":%s: ", option.argument);
        }
        cli_print("' \\\n");
    }
}

static void print_zsh(const struct cli_command *const *commands, size_t count)
{
    cli_print("#compdef bitcask\n"
              "# zsh completion for bitcask; made by: bitcask --print-completion zsh\n\n"
              "_bitcask() {\n"
              "    local curcontext=\"$curcontext\" state line\n"
              "    local -a commands\n"
              "    commands=(\n");
    for (size_t i = 0; i < count; i++) {
        cli_print("        '%s:", commands[i]->name);
        print_quoted(commands[i]->summary, strlen(commands[i]->summary), ":");
        cli_print("'\n");
    }
    cli_print("    )\n"
              "    _arguments -C -S \\\n");
    zsh_options(tool_help, "        ");
    cli_print("        '1:command:->command' \\\n"
              "        '*::argument:->argument'\n"
              "    case $state in\n"
              "    command) _describe command commands ;;\n"
              "    argument)\n"
              "        case $words[1] in\n");
    for (size_t i = 0; i < count; i++) {
        cli_print("        %s)\n"
                  "            _arguments -S -A '-*' \\\n",
                  commands[i]->name);
        zsh_options(commands[i]->help, "                ");
        if (strcmp(commands[i]->name, "help") == 0)
            cli_print("                '1:command:_describe command commands'\n");
        else
            cli_print("                '1:directory:_files -/' \\\n"
                      "                '%s'\n",
                      strstr(commands[i]->help, " SRC DST\n") ? "2:directory:_files -/" : "*:argument: ");
        cli_print("            ;;\n");
    }
    cli_print("        esac\n"
              "        ;;\n"
              "    esac\n"
              "}\n\n"
              "_bitcask \"$@\"\n");
}

/* ---- fish ---- */

/* In fish a quote inside of quotes has a backslash before it, too. */
static void fish_quoted(const char *text, size_t length)
{
    cli_print("'");
    for (size_t i = 0; i < length; i++)
        cli_print("%s%c", strchr("'\\", text[i]) ? "\\" : "", text[i]);
    cli_print("'");
}

static void fish_options(const char *help, const char *condition)
{
    struct help_option option;
    while ((help = next_option(help, &option)) != NULL) {
        cli_print("complete -c bitcask -n '%s'", condition);
        if (option.letter)
            cli_print(" -s %c", option.letter);
        cli_print(" -l %s", option.name);
        if (strcmp(option.name, "option") == 0) {
            cli_print(" -x -a '");
            print_store_options(" ");
            cli_print("'");
        } else if (strcmp(option.name, "color") == 0) {
            cli_print(" -x -a 'auto always never'");
        } else if (strcmp(option.name, "format") == 0) {
            cli_print(" -x -a 'json db lmdb resp'");
        } else if (strcmp(option.name, "print-completion") == 0) {
            cli_print(" -x -a 'bash zsh fish'");
        } else if (strcmp(option.name, "dir") == 0) {
            cli_print(" -x -a '(__fish_complete_directories)'");
        } else if (option.argument[0]) {
            cli_print(" -x");
        }
        if (option.text_length > 0) {
            cli_print(" -d ");
            fish_quoted(option.text, option.text_length);
        }
        cli_print("\n");
    }
}

static void print_fish(const struct cli_command *const *commands, size_t count)
{
    cli_print("# fish completion for bitcask; made by: bitcask --print-completion fish\n\n"
              "complete -c bitcask -f\n");
    fish_options(tool_help, "__fish_use_subcommand");
    for (size_t i = 0; i < count; i++) {
        cli_print("complete -c bitcask -n __fish_use_subcommand -a %s -d ", commands[i]->name);
        fish_quoted(commands[i]->summary, strlen(commands[i]->summary));
        cli_print("\n");
    }
    for (size_t i = 0; i < count; i++) {
        char condition[64];
        snprintf(condition, sizeof condition, "__fish_seen_subcommand_from %s", commands[i]->name);
        cli_print("\n");
        fish_options(commands[i]->help, condition);
        if (strcmp(commands[i]->name, "help") == 0) {
            cli_print("complete -c bitcask -n '%s' -a '", condition);
            print_names(commands, count);
            cli_print("'\n");
        } else {
            cli_print("complete -c bitcask -n '%s' -a '(__fish_complete_directories)'\n", condition);
        }
    }
}

int completion_print(const char *shell, const struct cli_command *const *commands, size_t count)
{
    if (strcmp(shell, "bash") == 0)
        print_bash(commands, count);
    else if (strcmp(shell, "zsh") == 0)
        print_zsh(commands, count);
    else if (strcmp(shell, "fish") == 0)
        print_fish(commands, count);
    else
        return cli_usage("completions are for bash, zsh and fish, not for '%s'", shell);
    return CLI_OK;
}
