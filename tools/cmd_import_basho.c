/* cmd_import_basho.c - bitcask import-basho: a directory of Riak's Bitcask becomes a store. */
#include <errno.h>
#include <inttypes.h>

#include "tools/basho_dir.h"
#include "tools/basho_import.h"
#include "tools/bytes.h"
#include "tools/cli.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/staging.h"

struct request {
    const char *source, *target;
    uint64_t expiry_s;
    bool json;
};

static void print(const struct basho_import *done, uint64_t keys, bool json)
{
    const struct {
        const char *json, *text;
        uint64_t number;
    } figures[] = {
        {"files", "data files", done->files},
        {"marked_files", "marked for deletion", done->marked},
        {"records", "records", done->records},
        {"values", "values", done->values},
        {"deletions", "deletions", done->deletions},
        {"expired", "expired", done->expired},
        {"left_out", "left out", done->left_out},
        {"damaged", "damaged places", done->damaged},
        {"damaged_bytes", "damaged bytes", done->damaged_bytes},
        {"torn_bytes", "torn bytes", done->torn_bytes},
        {"keys", "keys", keys},
    };
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        if (json)
            cli_print("%s\"%s\":%" PRIu64, i ? "," : "{", figures[i].json, figures[i].number);
        else
            cli_print("%-19s %" PRIu64 "\n", figures[i].text, figures[i].number);
    }
    if (json)
        cli_print("}\n");
}

/* What is wrong with a directory before any of it is read. */
static int check_source(const char *path, const struct basho_dir *dir, uint64_t *ret_total)
{
    size_t marked = 0;
    if (dir->count == 0)
        return cli_say(CLI_ERROR, "%s: no data file of Riak's Bitcask is in it (N.bitcask.data)", path);
    for (size_t i = 0; i < dir->count; i++) {
        marked += dir->entries[i].marked;
        *ret_total += dir->entries[i].marked ? 0 : dir->entries[i].size;
    }
    if (marked == dir->count)
        return cli_say(CLI_ERROR,
                       "%s: all its data files are marked for deletion (execution by others, or setuid); if that is the "
                       "work of a copy, take these permissions away",
                       path);
    if (dir->locked && !cli_quiet())
        cli_say(CLI_OK, "%s has a lock file: nobody may write to it now, and its last user did not close it", path);
    return CLI_OK;
}

/* A writer, or a merge, at work meanwhile would make it a mixture of two states. */
static int check_unchanged(const char *path, const struct basho_dir *dir)
{
    struct basho_dir now = {0};
    int code = basho_dir_list(&now, path);
    if (code == CLI_OK && !basho_dir_same(dir, &now))
        code = cli_say(CLI_ERROR, "%s has changed while it was read: some program has it open", path);
    basho_dir_free(&now);
    return code;
}

/* All of it into the store at path. */
static int fill(const struct request *request, const struct basho_dir *dir, const char *path, struct basho_import *import,
                bitcask_stats *ret_stats)
{
    int code = cli_open(path, BITCASK_OPEN_EXCLUSIVE, &import->db);
    if (code != CLI_OK)
        return code;
    code = basho_import_run(import, dir);
    if (code == CLI_OK && import->records == 0 && import->total > 0)
        code = cli_say(CLI_ERROR, "%s: not one record is good", request->source);
    if (code == CLI_OK)
        code = check_unchanged(request->source, dir);
    if (code == CLI_OK)
        code = cli_result(bitcask_stats_get(import->db, ret_stats));
    return cli_close(import->db, code);
}

static int import_dir(const struct request *request, const struct basho_dir *dir, uint64_t total)
{
    struct basho_import import = {.expiry_s = request->expiry_s, .total = total, .file = {.fd = -1}};
    bitcask_stats stats = BITCASK_STATS_INIT;
    struct staging staging;
    int code = staging_begin(&staging, request->target);
    if (code != CLI_OK)
        return code;
    code = fill(request, dir, staging.path, &import, &stats);
    progress_lock();
    progress_erase();
    progress_unlock();
    basho_import_free(&import);
    if (code != CLI_OK) {
        staging_abort(&staging);
        return code;
    }
    code = staging_commit(&staging);
    if (code != CLI_OK)
        return code;
    if (request->json || !cli_quiet())
        print(&import, stats.keys, request->json);
    return import.damaged > 0 || import.left_out > 0 ? CLI_ABSENT : CLI_OK;
}

static int import(const struct request *request)
{
    struct basho_dir dir = {0};
    uint64_t total = 0;
    progress_catch_signals();
    int code = basho_dir_list(&dir, request->source);
    if (code == CLI_OK)
        code = check_source(request->source, &dir, &total);
    if (code == CLI_OK)
        code = import_dir(request, &dir, total);
    basho_dir_free(&dir);
    return code;
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"expiry-secs", required_argument, NULL, 'e'}, {"json", no_argument, NULL, 'j'}, {0}};
    struct request request = {0};
    for (int option; (option = cli_option(argc, argv, "", long_options, &cli_import_basho)) != -1;) {
        if (option == 'h')
            return CLI_OK;
        if (option == '?')
            return CLI_USAGE;
        if (option == 'j')
            request.json = true;
        else if (!cli_number(optarg, UINT32_MAX, &request.expiry_s) || request.expiry_s == 0)
            return cli_usage("--expiry-secs takes a number of seconds from 1 up, not '%s'", optarg);
    }
    if (argc - optind != 2)
        return cli_usage(argc - optind < 2 ? "DIR and DST are needed" : "too many arguments");
    request.source = argv[optind];
    request.target = argv[optind + 1];
    return import(&request);
}

const struct cli_command cli_import_basho = {
    .name = "import-basho",
    .summary = "make a store of a directory of Riak's Bitcask",
    .help =
        "usage: bitcask import-basho [OPTIONS] DIR DST\n"
        "\n"
        "Reads the data files of DIR, a directory that basho/bitcask has written (of Riak, one partition's), and makes the\n"
        "store DST of what they hold. DST must be absent or an empty directory. No program may write to DIR meanwhile; DIR\n"
        "is not changed. The checksum of every record is checked. What is damaged is listed, as FILE:OFFSET: WHAT, and all\n"
        "that is good comes over; of a key whose newest record is damaged that may be an older value.\n"
        "\n"
        "Work goes on in DST.partial, which becomes DST, synced, at the end. So DST is whole or not there. An interrupt\n"
        "(SIGINT, SIGTERM, SIGHUP) removes it; what a kill leaves of it the next run removes. On a terminal a bar shows how\n"
        "many bytes are read.\n"
        "\n"
        "      --expiry-secs N  the expiry_secs that DIR was used with: values expire N seconds after they were written\n"
        "      --json           figures as one JSON object, also with -q\n"
        "  -q, --quiet          no figures, no remarks, no bar\n" CLI_STORE_OPTIONS "\n"
        "Exit codes: 0 all came over (a write that was cut off at the very end is no damage), 1 something was damaged or had\n"
        "to be left out, and the rest is in DST, 2 usage, 3 error: DST was not made.\n"
        "\n"
        "Examples:\n"
        "  bitcask import-basho /var/lib/riak/bitcask/0 sessions\n"
        "  bitcask import-basho --expiry-secs 86400 --json cask sessions\n",
    .run = run,
};
