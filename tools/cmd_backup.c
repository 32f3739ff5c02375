/* cmd_backup.c - bitcask backup and restore: copies of a store, there and back. */
#include <inttypes.h>

#include "tools/cli.h"
#include "tools/output.h"
#include "tools/progress.h"

static void print_json(const bitcask_backup_result *r)
{
    cli_print("{\"files\":%" PRIu64 ",\"linked\":%" PRIu64 ",\"copied\":%" PRIu64 ",\"kept\":%" PRIu64 ",\"removed\":%" PRIu64
              ",\"bytes\":%" PRIu64 ",\"bytes_copied\":%" PRIu64 ",\"sequence\":%" PRIu64 ",\"duration_ms\":%" PRIu64 "}\n",
              r->files, r->linked, r->copied, r->kept, r->removed, r->bytes, r->bytes_copied, r->sequence, r->duration_ms);
}

static void print(const bitcask_backup_result *r, bool json)
{
    if (json)
        print_json(r);
    else if (!cli_quiet())
        cli_print("data files  %" PRIu64 "\nlinked      %" PRIu64 "\ncopied      %" PRIu64 "\nkept        %" PRIu64
                  "\nremoved     %" PRIu64 "\nbytes       %" PRIu64 "\n",
                  r->files, r->linked, r->copied, r->kept, r->removed, r->bytes);
}

static void erase_bar(void)
{
    progress_lock();
    progress_erase();
    progress_unlock();
}

static int run_backup(bitcask *db, const char *to, uint32_t flags, bool json, const char *left)
{
    bitcask_backup_options options = BITCASK_BACKUP_OPTIONS_INIT;
    bitcask_backup_result done = BITCASK_BACKUP_RESULT_INIT;
    options.flags = flags;
    options.progress = progress_show_bytes;
    options.result = &done;
    int result = bitcask_backup(db, to, &options);
    erase_bar();
    if (result == BITCASK_OK)
        print(&done, json);
    if (result == BITCASK_OK)
        return CLI_OK;
    return cli_say(CLI_ERROR, "%s%s", result == BITCASK_CANCELLED ? "interrupted; " : "",
                   result == BITCASK_CANCELLED ? left : bitcask_last_error()->message);
}

static int backup(const char *from, const char *to, uint32_t flags, bool json)
{
    bitcask *db;
    progress_catch_signals();
    int code = cli_open(from, BITCASK_OPEN_READ_ONLY | BITCASK_OPEN_NO_CREATE, &db);
    if (code != CLI_OK)
        return code;
    code = run_backup(db, to, flags, json,
                      "an earlier backup there is valid, this one is not complete; the next run completes it");
    return cli_close(db, code);
}

/* ---- restore ---- */

/* A bitcask_finding_fn: what is damaged, on standard error. ctx is the directory's name. */
static int report(const bitcask_finding *finding, void *ctx)
{
    if (finding->severity != BITCASK_FINDING_ERROR)
        return 0;
    erase_bar();
    cli_say(CLI_ERROR, "%s/%s:%" PRIu64 ": %s", (const char *)ctx, finding->file, finding->offset, finding->message);
    return 0;
}

/* All of it is verified: what cannot be restored is known before anything is written. */
static int check_all(const char *from)
{
    bitcask_verify_options options = BITCASK_VERIFY_OPTIONS_INIT;
    bitcask_verify_result found = BITCASK_VERIFY_RESULT_INIT;
    options.finding = report;
    options.finding_ctx = (void *)from;
    options.progress = progress_show_bytes;
    int result = bitcask_verify(from, &options, &found);
    erase_bar();
    if (result == BITCASK_CANCELLED)
        return cli_say(CLI_ERROR, "interrupted; nothing was written");
    if (result == BITCASK_CORRUPT && found.errors > 0)
        return cli_say(CLI_ERROR, "%s is damaged; nothing was written; repair a copy of it first", from);
    /* Damaged hints and the like cost nothing: what comes of it is whole. */
    return result == BITCASK_OK || result == BITCASK_CORRUPT ? CLI_OK : cli_failed(CLI_ERROR, from);
}

static int restore(const char *from, const char *to, bool json)
{
    bitcask *db;
    progress_catch_signals();
    int code = check_all(from);
    if (code == CLI_OK)
        code = cli_open(from, BITCASK_OPEN_READ_ONLY | BITCASK_OPEN_NO_CREATE, &db);
    if (code != CLI_OK)
        return code;
    code = run_backup(db, to, BITCASK_BACKUP_RESTORE, json, "what was made is no store yet, and the next run completes it");
    return cli_close(db, code);
}

/* ---- commands ---- */

static int take_arguments(int argc)
{
    int given = argc - optind;
    if (given == 2)
        return CLI_OK;
    return cli_usage(given == 0 ? "SRC is needed" : given == 1 ? "DST is needed" : "too many arguments");
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {{"no-link", no_argument, NULL, 'n'},
                                                 {"verify-all", no_argument, NULL, 'a'},
                                                 {"skip-linked", no_argument, NULL, 's'},
                                                 {"json", no_argument, NULL, 'j'},
                                                 {0}};
    uint32_t flags = 0;
    bool json = false;
    for (int option; (option = cli_option(argc, argv, "", long_options, &cli_backup)) != -1;) {
        if (option == 'h')
            return CLI_OK;
        if (option == '?')
            return CLI_USAGE;
        if (option == 'j')
            json = true;
        else
            flags |= option == 'n'   ? BITCASK_BACKUP_NO_LINK
                     : option == 'a' ? BITCASK_BACKUP_VERIFY_ALL
                                     : BITCASK_BACKUP_SKIP_LINKED;
    }
    if ((flags & BITCASK_BACKUP_VERIFY_ALL) != 0 && (flags & BITCASK_BACKUP_SKIP_LINKED) != 0)
        return cli_usage("--verify-all contradicts --skip-linked");
    int code = take_arguments(argc);
    return code == CLI_OK ? backup(argv[optind], argv[optind + 1], flags, json) : code;
}

static int run_restore(int argc, char **argv)
{
    static const struct option long_options[] = {{"json", no_argument, NULL, 'j'}, {0}};
    bool json = false;
    for (int option; (option = cli_option(argc, argv, "", long_options, &cli_restore)) != -1;) {
        if (option == 'h')
            return CLI_OK;
        if (option == '?')
            return CLI_USAGE;
        json = true;
    }
    int code = take_arguments(argc);
    return code == CLI_OK ? restore(argv[optind], argv[optind + 1], json) : code;
}

const struct cli_command cli_backup = {
    .name = "backup",
    .summary = "copy a store into a backup, or bring one up to date",
    .help =
        "usage: bitcask backup [OPTIONS] SRC DST\n"
        "\n"
        "Makes a backup of the store SRC, as it is at one moment, in the directory DST, also beside a program that has SRC\n"
        "open for writing. DST is absent, empty, or holds an earlier backup of SRC: then only what is new is brought, and\n"
        "what has left SRC is taken away at the end. On the same file system data files that never change are hard links.\n"
        "What was brought is read back before the earlier backup is given up. A backup is a store: it can be opened, but\n"
        "once it is written to, no further backup goes into it.\n"
        "\n"
        "On a terminal a bar shows how far it is. An interrupt (SIGINT, SIGTERM, SIGHUP) ends it with code 3; a second one\n"
        "at once. An earlier backup is valid in either case; a first one is unfinished, and the next run completes it.\n"
        "\n"
        "      --no-link        copies every file\n"
        "      --verify-all     also reads what an earlier backup left in DST\n"
        "      --skip-linked    reads no linked file: quick, but damage in SRC is not noticed\n"
        "      --json           figures as one JSON object, also with -q\n"
        "  -q, --quiet          no figures, no bar\n" CLI_STORE_OPTIONS "\n"
        "Exit codes: 0 made, 2 usage, 3 error (no store, something else in DST, DST in use, damage, no space, interrupted).\n"
        "\n"
        "Examples:\n"
        "  bitcask backup sessions /backup/sessions\n"
        "  bitcask backup --no-link -q sessions sessions.copy\n",
    .run = run,
};

const struct cli_command cli_restore = {
    .name = "restore",
    .summary = "make a store of a backup",
    .help =
        "usage: bitcask restore [OPTIONS] SRC DST\n"
        "\n"
        "Makes the directory DST, which is absent or empty, a store with all that is in SRC, which is a backup or any other\n"
        "store. Every record is read before anything is written; then all files are copied (never linked), read back and made\n"
        "durable. SRC is not changed.\n"
        "\n"
        "On a terminal a bar shows how far it is. An interrupt (SIGINT, SIGTERM, SIGHUP) ends it with code 3; a second one\n"
        "at once. Until all is there DST is no store and does not open as one; the next run completes it.\n"
        "\n"
        "      --json           figures as one JSON object, also with -q\n"
        "  -q, --quiet          no figures, no bar\n" CLI_STORE_OPTIONS "\n"
        "Exit codes: 0 made, 2 usage, 3 error (no store, DST is not empty, damage, no space, interrupted).\n"
        "\n"
        "Example:\n"
        "  bitcask restore /backup/sessions sessions\n",
    .run = run_restore,
};
