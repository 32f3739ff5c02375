/* bitcask.c - the command-line tool: finds the command and runs it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/completion.h"
#include "tools/output.h"

static int run_help(int argc, char **argv);

static const struct cli_command help_command = {
    .name = "help",
    .summary = "explain the tool or one of its commands",
    .help = "usage: bitcask help [COMMAND]\n"
            "\n"
            "Explains the tool, or COMMAND.\n"
            "\n"
            "  -h, --help           this text\n"
            "\n"
            "Example:\n"
            "  bitcask help put\n",
    .run = run_help,
};

static const struct cli_command *const commands[] = {
    &cli_get,  &cli_put,  &cli_delete,       &cli_touch,  &cli_list,     &cli_scan,     &cli_count,
    &cli_stat, &cli_hint, &cli_merge,        &cli_verify, &cli_repair,   &cli_backup,   &cli_restore,
    &cli_dump, &cli_load, &cli_import_basho, &cli_clear,  &cli_selftest, &help_command,
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const struct cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

static void print_overview(FILE *out)
{
    fputs("usage: bitcask [-qv] COMMAND [OPTIONS] ...\n"
          "       bitcask -h | -V | --print-completion bash|zsh|fish\n"
          "\n"
          "Works on stores of libbitcask, an embedded, log-structured hash store. A store is a directory.\n"
          "\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n"
          "Options of every command:\n"
          "  -h, --help           explain the command, with examples\n"
          "  -q, --quiet          errors only: no figures, no remarks\n"
          "  -v, --verbose        what the library logs, on stderr\n"
          "  -o, --option N=V     an option of the library, as max_file_size=64m; may be repeated\n"
          "      --               what follows is no option\n"
          "\n"
          "Exit codes: 0 yes, 1 no (absent, condition not held, a difference), 2 usage, 3 error. Those of verify and\n"
          "repair are those of fsck.\n"
          "\n"
          "Examples:\n"
          "  bitcask put sessions user:17 Ada\n"
          "  bitcask get sessions user:17\n"
          "  bitcask list --prefix user: --sorted sessions\n"
          "  bitcask stat sessions\n"
          "  bitcask dump sessions > sessions.jsonl\n"
          "  bitcask merge sessions\n"
          "  bitcask selftest /usr/include\n",
          out);
}

static int run_help(int argc, char **argv)
{
    int option = cli_option(argc, argv, "", &(struct option){0}, &help_command);
    if (option != -1)
        return option == 'h' ? CLI_OK : CLI_USAGE;
    if (argc - optind > 1)
        return cli_usage("too many arguments");
    if (argc == optind) {
        print_overview(stdout);
        return CLI_OK;
    }
    const struct cli_command *command = find_command(argv[optind]);
    if (!command)
        return cli_usage("no command '%s'", argv[optind]);
    fputs(command->help, stdout);
    return CLI_OK;
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"version", no_argument, NULL, 'V'}, {"print-completion", required_argument, NULL, 'C'}, {0}};
    static const struct cli_command tool = {.help = ""};
    for (;;) {
        int option = cli_option(argc, argv, "V", long_options, &tool);
        if (option == 'h') {
            print_overview(stdout);
            return CLI_OK;
        }
        if (option == 'V') {
            printf("bitcask %s\n", bitcask_version());
            return CLI_OK;
        }
        if (option == 'C')
            return completion_print(optarg, commands, COMMAND_COUNT);
        if (option == '?')
            return CLI_USAGE;
        if (option == -1)
            break;
    }
    if (optind == argc) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    const struct cli_command *command = find_command(argv[optind]);
    if (!command)
        return cli_usage("no command '%s'", argv[optind]);
    int skip = optind;
    optind = 0; /* getopt starts afresh */
    cli_set_command(command->name);
    return command->run(argc - skip, argv + skip);
}

/* A descriptor that is missing would be taken by a file of the store, which the next message or value would then be written
 * into. What fills the gap fails when it is used in the way that the gap would have been. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(CLI_ERROR);
    }
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    /* A reader that went away is an error like any other: reported, after the store was closed. */
    signal(SIGPIPE, SIG_IGN);
    int code = run(argc, argv);
    int flushed = cli_flush();
    return code == CLI_OK ? flushed : code;
}
