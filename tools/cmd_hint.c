/* cmd_hint.c - bitcask hint: writes the hint files that a store lacks. */
#include <inttypes.h>

#include "tools/cli.h"
#include "tools/output.h"
#include "tools/progress.h"

static void print(const bitcask_hint_result *done, bool json)
{
    if (json)
        cli_print("{\"files\":%" PRIu64 ",\"built\":%" PRIu64 ",\"failed\":%" PRIu64 "}\n", done->files, done->built,
                  done->failed);
    else if (!cli_quiet())
        cli_print("data files  %" PRIu64 "\nbuilt       %" PRIu64 "\nfailed      %" PRIu64 "\n", done->files, done->built,
                  done->failed);
}

static int rebuild(const char *dir, bool all, bool json)
{
    bitcask_hint_options options = BITCASK_HINT_OPTIONS_INIT;
    bitcask_hint_result done = BITCASK_HINT_RESULT_INIT;
    options.flags = all ? BITCASK_HINT_ALL : 0;
    options.progress = progress_show;
    options.log = cli_log();
    progress_catch_signals();
    int result = bitcask_rebuild_hints(dir, &options, &done);
    progress_lock();
    progress_erase();
    progress_unlock();
    if (result == BITCASK_OK || result == BITCASK_CANCELLED || done.failed > 0)
        print(&done, json);
    if (result == BITCASK_OK)
        return CLI_OK;
    if (result == BITCASK_CANCELLED)
        return cli_say(CLI_ERROR, "interrupted after %" PRIu64 " hint files; the store is valid", done.built);
    return cli_failed(CLI_ERROR, dir);
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {{"all", no_argument, NULL, 'a'}, {"json", no_argument, NULL, 'j'}, {0}};
    bool all = false, json = false;
    for (int option; (option = cli_option(argc, argv, "", long_options, &cli_hint)) != -1;) {
        if (option == 'h')
            return CLI_OK;
        if (option == '?')
            return CLI_USAGE;
        *(option == 'a' ? &all : &json) = true;
    }
    if (cli_store_options_given())
        return cli_usage("-o has no effect here");
    if (argc - optind != 1)
        return cli_usage(argc == optind ? "DIR is needed" : "too many arguments");
    return rebuild(argv[optind], all, json);
}

const struct cli_command cli_hint = {
    .name = "hint",
    .summary = "write hint files, which make opening fast",
    .help =
        "usage: bitcask hint [OPTIONS] DIR\n"
        "\n"
        "Writes the hint files that the store DIR lacks, from its data files, and prints how many. No program may have the\n"
        "store open for writing. On a terminal a bar shows how far it is. An interrupt (SIGINT, SIGTERM, SIGHUP) ends it\n"
        "after the file in hand, with code 3; a second one at once. The store is valid in either case.\n"
        "\n"
        "      --all            also where there is a valid one\n"
        "      --json           figures as one JSON object, also with -q\n"
        "  -q, --quiet          no figures, no bar\n"
        "  -v, --verbose        what the library logs, on stderr\n"
        "  -h, --help           this text\n"
        "\n"
        "Exit codes: 0 all written, 2 usage, 3 error (no store, in use by another writer, damage, interrupted).\n"
        "\n"
        "Examples:\n"
        "  bitcask hint sessions\n"
        "  bitcask hint --all --json sessions\n",
    .run = run,
};
