/* cmd_verify.c - bitcask verify: checks a store, reading only. */
#include "tools/findings.h"
#include "tools/progress.h"
#include "tools/terminal.h"

static int verify(const char *dir, bool recount, bool json)
{
    struct findings findings = {.dir = dir, .json = json, .color = !json && terminal_color()};
    bitcask_verify_options options = BITCASK_VERIFY_OPTIONS_INIT;
    bitcask_verify_result done = BITCASK_VERIFY_RESULT_INIT;
    options.flags = recount ? BITCASK_VERIFY_RECOUNT : 0;
    options.finding = findings_print;
    options.finding_ctx = &findings;
    options.progress = progress_show_bytes;
    progress_catch_signals();
    int result = bitcask_verify(dir, &options, &done);
    return findings_end(&findings, result, &done, false, false);
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'}, {"recount", no_argument, NULL, 'r'}, {"color", required_argument, NULL, 'c'}, {0}};
    bool json = false, recount = false;
    for (int option; (option = cli_option(argc, argv, "", long_options, &cli_verify)) != -1;) {
        if (option == 'h')
            return FSCK_CLEAN;
        if (option == '?' || (option == 'c' && terminal_set_color(optarg) != CLI_OK))
            return FSCK_USAGE;
        json |= option == 'j';
        recount |= option == 'r';
    }
    if (cli_store_options_given())
        return cli_usage("-o has no effect here"), FSCK_USAGE;
    if (argc - optind != 1)
        return cli_usage(argc == optind ? "DIR is needed" : "too many arguments"), FSCK_USAGE;
    return verify(argv[optind], recount, json);
}

const struct cli_command cli_verify = {
    .name = "verify",
    .summary = "check a store: every record, hint and header",
    .help =
        "usage: bitcask verify [OPTIONS] DIR\n"
        "\n"
        "Checks the store DIR and prints what it finds, a line each: FILE:OFFSET: what. Every CRC of every record, the order "
        "of\n"
        "sequences, batches, links, headers, hint files against their data files, the MANIFEST against all of them. Errors "
        "are\n"
        "damage; warnings are damage that costs nothing now, as that of a hint file; notes are none. Writes nothing, takes no\n"
        "lock, and works beside a program that has the store open for writing. On a terminal a bar shows how far it is.\n"
        "\n"
        "      --recount        also count keys, live and dead bytes: takes memory for every key\n"
        "      --json           a JSON object a line, the last one with the figures\n"
        "      --color WHEN     auto, always or never; auto heeds NO_COLOR and CLICOLOR_FORCE\n"
        "  -q, --quiet          errors and warnings only: no notes, no figures, no bar\n"
        "  -v, --verbose        no effect here\n"
        "  -h, --help           this text\n"
        "\n"
        "Exit codes, as those of fsck: 0 no damage, 4 damage, 8 it could not be checked (no store, interrupted, unreadable;\n"
        "12: and damage), 16 usage.\n"
        "\n"
        "Examples:\n"
        "  bitcask verify sessions\n"
        "  bitcask verify --json sessions | grep '\"severity\":\"error\"'\n",
    .run = run,
};
