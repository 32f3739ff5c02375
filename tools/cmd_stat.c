/* cmd_stat.c - bitcask stat: the data files of a store, and its totals. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/output.h"
#include "tools/terminal.h"

/* One row is 78 columns wide. */
#define BAR_WIDTH 14

#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define RED "\033[31m"
#define DIM "\033[2m"
#define PLAIN "\033[0m"

struct file_infos {
    bitcask_file_info *items;
    size_t count, capacity;
};

static int collect(const bitcask_file_info *info, void *ctx)
{
    struct file_infos *files = ctx;
    if (files->count == files->capacity) {
        size_t capacity = files->capacity ? files->capacity * 2 : 64;
        bitcask_file_info *items = reallocarray(files->items, capacity, sizeof *items);
        if (!items)
            return cli_say(CLI_ERROR, "out of memory");
        files->items = items;
        files->capacity = capacity;
    }
    files->items[files->count++] = *info;
    return CLI_OK;
}

static int by_id(const void *a, const void *b)
{
    const bitcask_file_info *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static const char *state_name(const bitcask_file_info *file)
{
    return file->state == BITCASK_FILE_SEALED ? "sealed" : "open";
}

/* Ten columns at most; the text lives until the third call after this one. */
static const char *human_size(uint64_t size)
{
    static char texts[3][24];
    static unsigned turn;
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    char *text = texts[turn++ % 3];
    if (size < 1024) {
        snprintf(text, sizeof texts[0], "%" PRIu64 " B", size);
        return text;
    }
    double value = (double)size / 1024;
    size_t unit = 0;
    for (; value >= 1023.95; unit++)
        value /= 1024;
    snprintf(text, sizeof texts[0], "%.1f %s", value, units[unit]);
    return text;
}

/* From 0 to 1; -1: there is nothing that could be alive. */
static double live_part(uint64_t live, uint64_t dead)
{
    return live + dead == 0 ? -1 : (double)live / (double)(live + dead);
}

/* 100 is said only of what has no dead byte. */
static void format_percent(char *text, size_t size, double part)
{
    if (part < 0)
        snprintf(text, size, "-");
    else
        snprintf(text, size, "%.1f", part < 1 && part > 0.999 ? 99.9 : part * 100);
}

static void print_bar(double part, bool color, bool utf8)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    if (part < 0) {
        cli_print("%*s", BAR_WIDTH, "");
        return;
    }
    int steps = (int)(part * BAR_WIDTH * 8);
    int full = steps / 8, cells = full + (utf8 && steps % 8 ? 1 : 0);
    cli_print("%s", !color ? "" : part >= 0.75 ? GREEN : part >= 0.5 ? YELLOW : RED);
    for (int i = 0; i < full; i++)
        cli_print("%s", utf8 ? "█" : "#");
    cli_print("%s%s", cells > full ? eighths[steps % 8] : "", color ? PLAIN DIM : "");
    for (int i = cells; i < BAR_WIDTH; i++)
        cli_print("%s", utf8 ? "░" : ".");
    cli_print("%s", color ? PLAIN : "");
}

static void print_table(const struct file_infos *files)
{
    bool color = terminal_color(), utf8 = terminal_utf8();
    cli_print("%10s  %-6s  %10s  %10s  %6s  %-*s  %10s\n", "FILE", "STATE", "SIZE", "KEYS", "LIVE %", BAR_WIDTH, "", "DEAD");
    for (size_t i = 0; i < files->count; i++) {
        const bitcask_file_info *file = &files->items[i];
        double part = live_part(file->live_bytes, file->dead_bytes);
        char percent[16];
        format_percent(percent, sizeof percent, part);
        cli_print("%010" PRIu64 "  %-6s  %10s  %10" PRIu64 "  %6s  ", file->id, state_name(file), human_size(file->size),
                  file->keys, percent);
        print_bar(part, color, utf8);
        cli_print("  %10s\n", human_size(file->dead_bytes));
    }
}

static void print_totals(const bitcask_stats *stats)
{
    char percent[16];
    format_percent(percent, sizeof percent, live_part(stats->live_bytes, stats->dead_bytes));
    cli_print("\n");
    cli_print("keys           %" PRIu64 "\n", stats->keys);
    cli_print("data files     %" PRIu64 ", %s\n", stats->data_files, human_size(stats->disk_bytes));
    cli_print("live           %s (%s %%)\n", human_size(stats->live_bytes), percent);
    cli_print("dead           %s\n", human_size(stats->dead_bytes));
    cli_print("KeyDir         %s of memory\n", human_size(stats->keydir_bytes));
    cli_print("last sequence  %" PRIu64 "\n", stats->last_sequence);
}

static void print_json(const bitcask_stats *stats, const struct file_infos *files)
{
    cli_print("{\"keys\":%" PRIu64 ",\"data_files\":%" PRIu64 ",\"disk_bytes\":%" PRIu64 ",\"live_bytes\":%" PRIu64
              ",\"dead_bytes\":%" PRIu64 ",\"keydir_bytes\":%" PRIu64 ",\"last_sequence\":%" PRIu64 ",\"files\":[",
              stats->keys, stats->data_files, stats->disk_bytes, stats->live_bytes, stats->dead_bytes, stats->keydir_bytes,
              stats->last_sequence);
    for (size_t i = 0; i < files->count; i++) {
        const bitcask_file_info *file = &files->items[i];
        cli_print("%s{\"id\":%" PRIu64 ",\"state\":\"%s\",\"size\":%" PRIu64 ",\"keys\":%" PRIu64 ",\"live_bytes\":%" PRIu64
                  ",\"dead_bytes\":%" PRIu64 ",\"min_sequence\":%" PRIu64 ",\"max_sequence\":%" PRIu64 "}",
                  i ? "," : "", file->id, state_name(file), file->size, file->keys, file->live_bytes, file->dead_bytes,
                  file->min_sequence, file->max_sequence);
    }
    cli_print("]}\n");
}

static int stat_store(const char *dir, bool json)
{
    bitcask *db;
    int code = cli_open(dir, BITCASK_OPEN_READ_ONLY | BITCASK_OPEN_NO_CREATE, &db);
    if (code != CLI_OK)
        return code;
    bitcask_stats stats = BITCASK_STATS_INIT;
    struct file_infos files = {0};
    code = cli_result(bitcask_stats_get(db, &stats));
    if (code == CLI_OK) {
        int result = bitcask_each_file(db, collect, &files);
        code = result < 0 ? cli_result(result) : result;
    }
    if (code == CLI_OK) {
        if (files.count > 0)
            qsort(files.items, files.count, sizeof *files.items, by_id);
        if (json) {
            print_json(&stats, &files);
        } else {
            print_table(&files);
            print_totals(&stats);
        }
    }
    free(files.items);
    return cli_close(db, code);
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'}, {"color", required_argument, NULL, 'c'}, {0}};
    bool json = false;
    for (int option; (option = cli_option(argc, argv, "", long_options, &cli_stat)) != -1;) {
        if (option == 'h')
            return CLI_OK;
        if (option == '?')
            return CLI_USAGE;
        if (option == 'j')
            json = true;
        else if (terminal_set_color(optarg) != CLI_OK)
            return CLI_USAGE;
    }
    if (argc - optind != 1)
        return cli_usage(argc == optind ? "DIR is needed" : "too many arguments");
    return stat_store(argv[optind], json);
}

const struct cli_command cli_stat = {
    .name = "stat",
    .summary = "show the data files and totals",
    .help =
        "usage: bitcask stat [OPTIONS] DIR\n"
        "\n"
        "Shows each data file of the store DIR: its size, how many keys have their value in it, which part of it these take\n"
        "(in per cent and as a bar), and the bytes that the others take; then totals. Keys that expired count until they\n"
        "are swept. Works beside a program that has the store open for writing.\n"
        "\n"
        "      --json           one JSON object, sizes in bytes\n"
        "      --color WHEN     auto, always or never; auto heeds NO_COLOR and CLICOLOR_FORCE\n"
        "  -q, --quiet          errors only\n" CLI_STORE_OPTIONS "\n"
        "Exit codes: 0 shown, 2 usage, 3 error (no store, damage, output failed).\n"
        "\n"
        "Examples:\n"
        "  bitcask stat sessions\n"
        "  bitcask stat --json sessions\n",
    .run = run,
};
