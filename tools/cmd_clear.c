/* cmd_clear.c - bitcask clear: deletes every key. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"

static bool answered_yes(void)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length = getline(&line, &capacity, stdin);
    if (length < 0)
        fputc('\n', stderr);
    bool yes = length > 0 && (strcasecmp(line, "y\n") == 0 || strcasecmp(line, "yes\n") == 0);
    free(line);
    return yes;
}

/* The store is held while the question stands, so that the number in it stays true. */
static int ask(const char *dir, bitcask *db)
{
    bitcask_stats stats = BITCASK_STATS_INIT;
    int code = cli_result(bitcask_stats_get(db, &stats));
    if (code != CLI_OK)
        return code;
    fprintf(stderr, "Delete all %" PRIu64 " keys of %s? [y/N] ", stats.keys, dir);
    fflush(stderr);
    return answered_yes() ? CLI_OK : cli_say(CLI_ABSENT, "nothing was deleted");
}

static int clear(const char *dir, bool yes)
{
    bitcask *db;
    int code = cli_open(dir, BITCASK_OPEN_NO_CREATE, &db);
    if (code != CLI_OK)
        return code;
    if (!yes)
        code = ask(dir, db);
    if (code == CLI_OK)
        code = cli_result(bitcask_clear(db, 0));
    return cli_close(db, code);
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {{"yes", no_argument, NULL, 'y'}, {"force", no_argument, NULL, 'f'}, {0}};
    bool yes = false;
    for (int option; (option = cli_option(argc, argv, "yf", long_options, &cli_clear)) != -1;) {
        if (option == 'h')
            return CLI_OK;
        if (option == '?')
            return CLI_USAGE;
        yes = true;
    }
    if (argc - optind != 1)
        return cli_usage(argc == optind ? "DIR is needed" : "too many arguments");
    if (!yes && !isatty(STDIN_FILENO))
        return cli_usage("stdin is no terminal to ask: --yes is needed");
    return clear(argv[optind], yes);
}

const struct cli_command cli_clear = {
    .name = "clear",
    .summary = "delete every key",
    .help = "usage: bitcask clear [OPTIONS] DIR\n"
            "\n"
            "Deletes every key of the store DIR, in one step that a crash leaves done or not done; durable when the command\n"
            "ends. Asks before, if stdin is a terminal; else --yes is needed.\n"
            "\n"
            "  -y, --yes            do not ask\n"
            "  -f, --force          the same\n"
            "  -q, --quiet          errors only\n" CLI_STORE_OPTIONS "\n"
            "Exit codes: 0 deleted, 1 the answer was no, 2 usage, 3 error (no store, in use by another writer, ...).\n"
            "\n"
            "Example:\n"
            "  bitcask clear --yes sessions\n",
    .run = run,
};
