/* cmd_merge.c - bitcask merge: gives the space of overwritten, deleted and expired records back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/datafiles.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/size.h"
#include "tools/stat.h"

struct request {
    const char *dir;
    bool policy, dry_run, json;
    uint64_t *ids;
    size_t id_count;
};

/* ---- what would be done ---- */

static bool is_wanted(const bitcask_file_info *file, void *arg)
{
    const struct request *r = arg;
    if (r->policy)
        return file->merge_reasons != 0;
    for (size_t i = 0; i < r->id_count; i++)
        if (r->ids[i] == file->id)
            return true;
    return r->id_count == 0 && data_is_mergeable(file);
}

static int check_ids(const struct request *r, const struct data_files *files)
{
    for (size_t i = 0; i < r->id_count; i++) {
        bool found = false;
        for (size_t k = 0; k < files->count && !found; k++)
            found = files->items[k].id == r->ids[i];
        if (!found)
            return cli_usage("%" PRIu64 " is not the id of a data file of this store", r->ids[i]);
    }
    return CLI_OK;
}

static void print_plan_row(const bitcask_file_info *file)
{
    char percent[16];
    const char *separator = "";
    data_format_percent(percent, sizeof percent, data_live_part(file->live_bytes, file->dead_bytes));
    cli_print("%010" PRIu64 "  %10s  %6s  %10s  ", file->id, size_text(file->size), percent, size_text(file->dead_bytes));
    for (const struct data_reason *reason = data_reasons; reason->name; reason++) {
        if (!(file->merge_reasons & reason->bit))
            continue;
        cli_print("%s%s", separator, reason->text);
        separator = ", ";
    }
    cli_print("%s\n", *separator ? "" : "-");
}

static void print_plan(struct request *r, const struct data_files *files, const struct data_estimate *e)
{
    if (e->files > 0)
        cli_print("%10s  %10s  %6s  %10s  REASONS OF POLICY\n", "FILE", "SIZE", "LIVE %", "DEAD");
    for (size_t i = 0; i < files->count; i++)
        if (is_wanted(&files->items[i], r))
            print_plan_row(&files->items[i]);
    if (e->files > 0)
        cli_print("\n");
    cli_print("would merge  %" PRIu64 " of %zu data files, %s\n", e->files, files->count, size_text(e->bytes_in));
    cli_print("would write  %s\n", size_text(e->bytes_out));
    cli_print("would win    %s, about\n", size_text(e->won));
}

static void print_plan_json(struct request *r, const struct data_files *files, const struct data_estimate *e)
{
    const char *separator = "";
    cli_print("{\"files\":[");
    for (size_t i = 0; i < files->count; i++) {
        const bitcask_file_info *file = &files->items[i];
        if (!is_wanted(file, r))
            continue;
        cli_print("%s{\"id\":%" PRIu64 ",\"size\":%" PRIu64 ",\"live_bytes\":%" PRIu64 ",\"dead_bytes\":%" PRIu64
                  ",\"merge_reasons\":",
                  separator, file->id, file->size, file->live_bytes, file->dead_bytes);
        data_print_json_reasons(file->merge_reasons);
        cli_print("}");
        separator = ",";
    }
    cli_print("],\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64 ",\"won_bytes\":%" PRIu64 "}\n", e->bytes_in, e->bytes_out,
              e->won);
}

/* Writes nothing, so a program may have the store open for writing. */
static int plan(struct request *r)
{
    bitcask *db;
    int code = cli_open(r->dir, BITCASK_OPEN_READ_ONLY | BITCASK_OPEN_NO_CREATE, &db);
    if (code != CLI_OK)
        return code;
    struct data_files files;
    struct data_estimate e;
    code = data_files_list(db, &files);
    if (code == CLI_OK)
        code = check_ids(r, &files);
    if (code == CLI_OK && !data_estimate_merge(&files, stat_max_file_size(cli_store_options()), is_wanted, r, &e))
        code = CLI_ERROR;
    if (code == CLI_OK && r->json)
        print_plan_json(r, &files, &e);
    else if (code == CLI_OK && !cli_quiet())
        print_plan(r, &files, &e);
    data_files_free(&files);
    return cli_close(db, code);
}

/* ---- what was done ---- */

static void print_done(const bitcask_merge_result *done)
{
    /* Tombstones that had to stay can take more than was won. */
    bool won = done->bytes_in >= done->bytes_out;
    uint64_t bytes = won ? done->bytes_in - done->bytes_out : done->bytes_out - done->bytes_in;
    cli_print("merged      %" PRIu64 " data files, %s\n", done->files_in, size_text(done->bytes_in));
    cli_print("into        %" PRIu64 " data files, %s\n", done->files_out, size_text(done->bytes_out));
    cli_print("won         %s%s", won ? "" : "-", size_text(bytes));
    if (done->bytes_in > 0 && won)
        cli_print(" (%.1f %%)", (double)bytes * 100 / (double)done->bytes_in);
    cli_print("\n");
    cli_print("copied      %" PRIu64 " records\n", done->records);
    cli_print("tombstones  %" PRIu64 " dropped, %" PRIu64 " kept\n", done->tombstones_dropped, done->tombstones_kept);
    cli_print("expired     %" PRIu64 " keys\n", done->expired);
    cli_print("took        %.2f s\n", (double)done->duration_ms / 1000);
}

static void print_done_json(const bitcask_merge_result *done, int result)
{
    cli_print("{\"result\":\"%s\",\"files_in\":%" PRIu64 ",\"files_out\":%" PRIu64 ",\"bytes_in\":%" PRIu64
              ",\"bytes_out\":%" PRIu64 ",\"bytes_read\":%" PRIu64 ",\"won_bytes\":%" PRId64 ",\"records\":%" PRIu64
              ",\"tombstones_dropped\":%" PRIu64 ",\"tombstones_kept\":%" PRIu64 ",\"expired\":%" PRIu64
              ",\"duration_ms\":%" PRIu64 "}\n",
              bitcask_errname(result), done->files_in, done->files_out, done->bytes_in, done->bytes_out, done->bytes_read,
              (int64_t)(done->bytes_in - done->bytes_out), done->records, done->tombstones_dropped, done->tombstones_kept,
              done->expired, done->duration_ms);
}

static int report(const struct request *r, const bitcask_merge_result *done, int result)
{
    if (result == BITCASK_INVALID)
        return cli_result(result);
    if (r->json)
        print_done_json(done, result);
    else if (!cli_quiet())
        print_done(done);
    if (result == BITCASK_OK)
        return CLI_OK;
    if (result == BITCASK_CANCELLED)
        return cli_say(CLI_ERROR, "interrupted after %" PRIu64 " data files; the store is valid", done->files_in);
    return cli_failed(CLI_ERROR, r->dir);
}

/* The background merge and the eviction stay away: nothing is done but what was asked for. */
static int merge(const struct request *r)
{
    bitcask *db;
    int code = cli_open(r->dir, BITCASK_OPEN_NO_CREATE | BITCASK_OPEN_NO_MERGE, &db);
    if (code != CLI_OK)
        return code;
    bitcask_merge_options options = BITCASK_MERGE_OPTIONS_INIT;
    bitcask_merge_result done = BITCASK_MERGE_RESULT_INIT;
    options.flags = r->policy ? BITCASK_MERGE_POLICY : 0;
    options.files = r->ids;
    options.file_count = r->id_count;
    options.progress = progress_show_bytes;
    progress_catch_signals();
    int result = bitcask_merge(db, &options, &done);
    progress_lock();
    progress_erase();
    progress_unlock();
    return cli_close(db, report(r, &done, result));
}

/* ---- the command line ---- */

/* "17", or the name of its file: "0000000017.data", whatever stands before it. */
static int add_id(struct request *r, const char *text)
{
    const char *slash = strrchr(text, '/'), *digits = slash ? slash + 1 : text;
    char *end;
    errno = 0;
    unsigned long long id = strtoull(digits, &end, 10);
    if (*digits < '0' || *digits > '9' || errno || (*end && strcmp(end, ".data") != 0))
        return cli_usage("--file takes the id of a data file, as 17 or 0000000017.data, not '%s'", text);
    for (size_t i = 0; i < r->id_count; i++)
        if (r->ids[i] == id)
            return CLI_OK;
    uint64_t *ids = reallocarray(r->ids, r->id_count + 1, sizeof *ids);
    if (!ids)
        return cli_say(CLI_ERROR, "out of memory");
    r->ids = ids;
    r->ids[r->id_count++] = id;
    return CLI_OK;
}

static int apply(struct request *r, int option)
{
    switch (option) {
    case 'p':
        r->policy = true;
        return CLI_OK;
    case 'F':
        return add_id(r, optarg);
    case 'n':
        r->dry_run = true;
        return CLI_OK;
    case 'j':
        r->json = true;
        return CLI_OK;
    case 'r':
        return cli_set_store_option("merge_rate_limit", optarg, "--rate-limit");
    default:
        return CLI_USAGE;
    }
}

static int parse_and_merge(struct request *r, int argc, char **argv)
{
    static const struct option long_options[] = {
        {"policy", no_argument, NULL, 'p'}, {"file", required_argument, NULL, 'F'},       {"dry-run", no_argument, NULL, 'n'},
        {"json", no_argument, NULL, 'j'},   {"rate-limit", required_argument, NULL, 'r'}, {0}};
    for (int option; (option = cli_option(argc, argv, "n", long_options, &cli_merge)) != -1;) {
        if (option == 'h')
            return CLI_OK;
        int code = apply(r, option);
        if (code != CLI_OK)
            return code;
    }
    if (argc - optind != 1)
        return cli_usage(argc == optind ? "DIR is needed" : "too many arguments");
    if (r->policy && r->id_count > 0)
        return cli_usage("--policy contradicts --file");
    r->dir = argv[optind];
    return r->dry_run ? plan(r) : merge(r);
}

static int run(int argc, char **argv)
{
    struct request r = {0};
    int code = parse_and_merge(&r, argc, argv);
    free(r.ids);
    return code;
}

const struct cli_command cli_merge = {
    .name = "merge",
    .summary = "give space of dead records back",
    .help =
        "usage: bitcask merge [OPTIONS] DIR\n"
        "\n"
        "Copies what lives in the data files of the store DIR into new ones and removes the old ones, until no space is\n"
        "taken by overwritten, deleted or expired records; then prints what was done. No program may have the store open\n"
        "for writing: those that have merge by themselves. On a terminal a bar shows how far it is. An interrupt (SIGINT,\n"
        "SIGTERM, SIGHUP) ends it soon, with code 3, and what was merged until then stays merged; a second one ends it at\n"
        "once. The store is valid in either case.\n"
        "\n"
        "      --policy         only the files that the merge policy would take now, see -o\n"
        "      --file ID        only this data file, as 17 or 0000000017.data; may be repeated\n"
        "  -n, --dry-run        only show the files, why policy would take them, and what it would win; writes nothing, and\n"
        "                       works beside a program that has the store open for writing\n"
        "      --rate-limit SIZE  at most so many bytes a second, as 20m, read and written\n"
        "      --json           one JSON object, also with -q\n"
        "  -q, --quiet          no figures, no bar\n" CLI_STORE_OPTIONS "\n"
        "Exit codes: 0 merged (also if there was nothing to merge), 2 usage, 3 error (no store, in use by another writer,\n"
        "damage, no space, interrupted).\n"
        "\n"
        "Examples:\n"
        "  bitcask merge sessions\n"
        "  bitcask merge --dry-run --policy -o frag_merge_trigger=30 sessions\n"
        "  bitcask merge --rate-limit 20m sessions\n"
        "  bitcask merge --file 17 --file 18 sessions\n",
    .run = run,
};
