/* cmd_stat.c - bitcask stat: the data files of a store, its totals, and what to do about them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/output.h"
#include "tools/stat.h"
#include "tools/terminal.h"

#define PAGE_WIDTH 80
#define MAX_FILE_SIZE (UINT64_C(256) << 20) /* if nothing was said */

enum form { FORM_TEXT, FORM_JSON, FORM_PROMETHEUS };

uint64_t stat_max_file_size(const bitcask_options *options)
{
    return options->max_file_size ? options->max_file_size : MAX_FILE_SIZE;
}

double stat_space_amplification(const struct stat_report *report)
{
    const bitcask_stats *stats = &report->stats;
    return stats->live_bytes == 0 ? 0 : (double)stats->disk_bytes / (double)stats->live_bytes;
}

/* Whether they are there; whether they are good shows only when they are read. */
static int find_hints(struct stat_report *report)
{
    report->hints = calloc(report->files.count + 1, sizeof *report->hints);
    if (!report->hints)
        return cli_say(CLI_ERROR, "out of memory");
    for (size_t i = 0; i < report->files.count; i++) {
        const bitcask_file_info *file = &report->files.items[i];
        char *path;
        if (asprintf(&path, "%s/%010" PRIu64 ".hint", report->dir, file->id) < 0)
            return cli_say(CLI_ERROR, "out of memory");
        report->hints[i] = access(path, F_OK) == 0 || errno != ENOENT;
        report->missing_hints += !report->hints[i] && file->state == BITCASK_FILE_SEALED;
        free(path);
    }
    return CLI_OK;
}

static bool any(const bitcask_file_info *file, void *arg)
{
    (void)arg;
    return data_is_mergeable(file);
}

static bool due(const bitcask_file_info *file, void *arg)
{
    (void)arg;
    return file->merge_reasons != 0;
}

static int look(bitcask *db, struct stat_report *report)
{
    uint64_t size = stat_max_file_size(report->options);
    int code = cli_result(bitcask_stats_get(db, &report->stats));
    if (code == CLI_OK)
        code = data_files_list(db, &report->files);
    if (code == CLI_OK)
        code = find_hints(report);
    if (code == CLI_OK && !(data_estimate_merge(&report->files, size, any, NULL, &report->all) &&
                            data_estimate_merge(&report->files, size, due, NULL, &report->policy)))
        code = CLI_ERROR;
    return code;
}

/* As a paragraph. A word that is wider than the page stands alone. */
static void print_advice(const char *advice, void *arg)
{
    const char **separator = arg;
    cli_print("%s- ", *separator);
    *separator = "";
    for (size_t column = 2, length; *advice; advice += length) {
        advice += strspn(advice, " ");
        length = strcspn(advice, " ");
        if (column > 2 && column + 1 + length > PAGE_WIDTH) {
            cli_print("\n  ");
            column = 2;
        }
        cli_print("%s%.*s", column > 2 ? " " : "", (int)length, advice);
        column += length + (column > 2);
    }
    cli_print("\n");
}

static void print(const struct stat_report *report, enum form form)
{
    if (form == FORM_JSON) {
        stat_print_json(report);
    } else if (form == FORM_PROMETHEUS) {
        stat_print_prometheus(report);
    } else {
        const char *separator = "\n";
        stat_print_text(report);
        if (!cli_quiet())
            stat_advise(report, print_advice, &separator);
    }
}

static int stat_store(const char *dir, enum form form)
{
    bitcask *db;
    int code = cli_open(dir, BITCASK_OPEN_READ_ONLY | BITCASK_OPEN_NO_CREATE, &db);
    if (code != CLI_OK)
        return code;
    struct stat_report report = {.dir = dir, .options = cli_store_options(), .stats = BITCASK_STATS_INIT};
    code = look(db, &report);
    if (code == CLI_OK)
        print(&report, form);
    free(report.hints);
    data_files_free(&report.files);
    return cli_close(db, code);
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'}, {"prometheus", no_argument, NULL, 'p'}, {"color", required_argument, NULL, 'c'}, {0}};
    enum form form = FORM_TEXT;
    for (int option; (option = cli_option(argc, argv, "", long_options, &cli_stat)) != -1;) {
        if (option == 'h')
            return CLI_OK;
        if (option == '?')
            return CLI_USAGE;
        if (option == 'j' || option == 'p') {
            enum form wanted = option == 'j' ? FORM_JSON : FORM_PROMETHEUS;
            if (form != FORM_TEXT && form != wanted)
                return cli_usage("--json contradicts --prometheus");
            form = wanted;
        } else if (terminal_set_color(optarg) != CLI_OK) {
            return CLI_USAGE;
        }
    }
    if (argc - optind != 1)
        return cli_usage(argc == optind ? "DIR is needed" : "too many arguments");
    return stat_store(argv[optind], form);
}

const struct cli_command cli_stat = {
    .name = "stat",
    .summary = "show the data files, totals and advice",
    .help =
        "usage: bitcask stat [OPTIONS] DIR\n"
        "\n"
        "Shows each data file of the store DIR: its size, how many keys have their value in it, which part of it these take\n"
        "(in per cent and as a bar), the bytes that the others take, and why the merge policy would merge it now; then\n"
        "totals, what a merge would win, and advice. Keys that expired count until they are swept. Works beside a program\n"
        "that has the store open for writing; give its limits and merge options with -o to hear about those.\n"
        "\n"
        "      --json           one JSON object, sizes in bytes\n"
        "      --prometheus     metrics for Prometheus, in its text format\n"
        "      --color WHEN     auto, always or never; auto heeds NO_COLOR and CLICOLOR_FORCE\n"
        "  -q, --quiet          errors only, no advice\n" CLI_STORE_OPTIONS "\n"
        "Exit codes: 0 shown, 2 usage, 3 error (no store, damage, output failed).\n"
        "\n"
        "Examples:\n"
        "  bitcask stat sessions\n"
        "  bitcask stat --json sessions\n"
        "  bitcask stat -o max_bytes=10g sessions\n"
        "  bitcask stat --prometheus sessions > bitcask.prom.tmp && mv bitcask.prom.tmp /var/lib/node_exporter/bitcask.prom\n",
    .run = run,
};
