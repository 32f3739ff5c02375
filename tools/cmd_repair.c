/* cmd_repair.c - bitcask repair: makes a damaged store whole with what can be read of it. */
#include "tools/findings.h"
#include "tools/progress.h"
#include "tools/terminal.h"

static int repair(const char *dir, bool dry_run, bool json)
{
    struct findings findings = {.dir = dir, .json = json, .color = !json && terminal_color()};
    bitcask_repair_options options = BITCASK_REPAIR_OPTIONS_INIT;
    bitcask_verify_result done = BITCASK_VERIFY_RESULT_INIT;
    options.flags = dry_run ? BITCASK_REPAIR_DRY_RUN : 0;
    options.finding = findings_print;
    options.finding_ctx = &findings;
    options.progress = progress_show_bytes;
    progress_catch_signals();
    int result = bitcask_repair(dir, &options, &done);
    return findings_end(&findings, result, &done, true, dry_run);
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'}, {"dry-run", no_argument, NULL, 'n'}, {"color", required_argument, NULL, 'c'}, {0}};
    bool json = false, dry_run = false;
    for (int option; (option = cli_option(argc, argv, "n", long_options, &cli_repair)) != -1;) {
        if (option == 'h')
            return FSCK_CLEAN;
        if (option == '?' || (option == 'c' && terminal_set_color(optarg) != CLI_OK))
            return FSCK_USAGE;
        json |= option == 'j';
        dry_run |= option == 'n';
    }
    if (cli_store_options_given())
        return cli_usage("-o has no effect here"), FSCK_USAGE;
    if (argc - optind != 1)
        return cli_usage(argc == optind ? "DIR is needed" : "too many arguments"), FSCK_USAGE;
    return repair(argv[optind], dry_run, json);
}

const struct cli_command cli_repair = {
    .name = "repair",
    .summary = "make a damaged store whole with what is readable",
    .help =
        "usage: bitcask repair [OPTIONS] DIR\n"
        "\n"
        "Checks the store DIR as verify does, and replaces every damaged file by a new one with all that can be read of it. "
        "The\n"
        "damaged file goes to DIR/lost+found, unchanged: not a byte is destroyed. Where a record is lost whose key is known,\n"
        "the key is deleted, so that no older version of it returns, and a line says so; where it is not known, older "
        "versions\n"
        "may return, and a line says where. A lost MANIFEST is made again from the data files. No program may have the store\n"
        "open for writing. An interrupt, a crash or a full disk leaves a store that can be repaired again. On a terminal a\n"
        "bar shows how far it is.\n"
        "\n"
        "  -n, --dry-run        change nothing, say what would be done\n"
        "      --json           a JSON object a line, the last one with the figures\n"
        "      --color WHEN     auto, always or never; auto heeds NO_COLOR and CLICOLOR_FORCE\n"
        "  -q, --quiet          errors and warnings only: no notes, no figures, no bar\n"
        "  -v, --verbose        no effect here\n"
        "  -h, --help           this text\n"
        "\n"
        "Exit codes, as those of fsck: 0 no damage, 1 repaired, 4 damage that was left (--dry-run), 8 it could not be "
        "repaired\n"
        "(no store, in use, no space, unreadable, interrupted; 12: and damage), 16 usage.\n"
        "\n"
        "Examples:\n"
        "  bitcask repair --dry-run sessions\n"
        "  bitcask repair sessions && bitcask verify sessions\n",
    .run = run,
};
