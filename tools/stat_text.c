/* The table of bitcask stat, and its totals. */
#include <inttypes.h>

#include "tools/output.h"
#include "tools/size.h"
#include "tools/stat.h"
#include "tools/terminal.h"

/* One row is 80 columns wide. */
#define BAR_WIDTH 9

#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define RED "\033[31m"
#define DIM "\033[2m"
#define PLAIN "\033[0m"

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

static void print_letters(uint32_t reasons)
{
    if (reasons != 0)
        cli_print("  ");
    for (const struct data_reason *r = data_reasons; r->name; r++)
        if (reasons & r->bit)
            cli_print("%c", r->letter);
}

/* What the letters that were printed mean. */
static void print_legend(uint32_t reasons)
{
    const char *separator = "MERGE: ";
    for (const struct data_reason *r = data_reasons; r->name; r++) {
        if (!(reasons & r->bit))
            continue;
        cli_print("%s%c %s", separator, r->letter, r->text);
        separator = ", ";
    }
    if (reasons != 0)
        cli_print("\n");
}

static void print_table(const struct data_files *files)
{
    bool color = terminal_color(), utf8 = terminal_utf8();
    uint32_t reasons = 0;
    cli_print("%10s  %-6s  %10s  %10s  %6s  %-*s  %10s  MERGE\n", "FILE", "STATE", "SIZE", "KEYS", "LIVE %", BAR_WIDTH, "",
              "DEAD");
    for (size_t i = 0; i < files->count; i++) {
        const bitcask_file_info *file = &files->items[i];
        double part = data_live_part(file->live_bytes, file->dead_bytes);
        char percent[16];
        data_format_percent(percent, sizeof percent, part);
        cli_print("%010" PRIu64 "  %-6s  %10s  %10" PRIu64 "  %6s  ", file->id, data_file_state(file), size_text(file->size),
                  file->keys, percent);
        print_bar(part, color, utf8);
        cli_print("  %10s", size_text(file->dead_bytes));
        print_letters(file->merge_reasons);
        cli_print("\n");
        reasons |= file->merge_reasons;
    }
    print_legend(reasons);
    cli_print("\n");
}

void stat_print_text(const struct stat_report *report)
{
    const bitcask_stats *stats = &report->stats;
    char percent[16], won[16];
    print_table(&report->files);
    data_format_percent(percent, sizeof percent, data_live_part(stats->live_bytes, stats->dead_bytes));
    data_format_percent(won, sizeof won, stats->disk_bytes ? (double)report->all.won / (double)stats->disk_bytes : -1);
    cli_print("keys           %" PRIu64 "\n", stats->keys);
    cli_print("data files     %" PRIu64 ", %s\n", stats->data_files, size_text(stats->disk_bytes));
    cli_print("live           %s (%s %%)\n", size_text(stats->live_bytes), percent);
    cli_print("dead           %s\n", size_text(stats->dead_bytes));
    if (stats->live_bytes > 0)
        cli_print("amplification  %.2f bytes of data files for a live one\n", stat_space_amplification(report));
    cli_print("a merge wins   %s (%s %%)\n", size_text(report->all.won), won);
    if (report->missing_hints > 0)
        cli_print("missing hints  %" PRIu64 "\n", report->missing_hints);
    cli_print("KeyDir         %s of memory\n", size_text(stats->keydir_bytes));
    cli_print("last sequence  %" PRIu64 "\n", stats->last_sequence);
}
