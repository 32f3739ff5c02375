/* bitcask stat --json: one object. */
#include <inttypes.h>
#include <string.h>

#include "tools/output.h"
#include "tools/stat.h"

static void print_estimate(const char *name, const struct data_estimate *e)
{
    cli_print(",\"%s\":{\"files\":%" PRIu64 ",\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64 ",\"won_bytes\":%" PRIu64 "}",
              name, e->files, e->bytes_in, e->bytes_out, e->won);
}

static void print_file(const struct stat_report *report, size_t i)
{
    const bitcask_file_info *file = &report->files.items[i];
    cli_print("%s{\"id\":%" PRIu64 ",\"state\":\"%s\",\"size\":%" PRIu64 ",\"keys\":%" PRIu64 ",\"live_bytes\":%" PRIu64
              ",\"dead_bytes\":%" PRIu64 ",\"min_sequence\":%" PRIu64 ",\"max_sequence\":%" PRIu64 ",\"hint\":%s"
              ",\"merge_reasons\":",
              i ? "," : "", file->id, data_file_state(file), file->size, file->keys, file->live_bytes, file->dead_bytes,
              file->min_sequence, file->max_sequence, report->hints[i] ? "true" : "false");
    data_print_json_reasons(file->merge_reasons);
    cli_print("}");
}

static void print_advice(const char *advice, void *arg)
{
    const char **separator = arg;
    cli_print("%s", *separator);
    /* A path may be no UTF-8; JSON must be. */
    if (cli_is_utf8(advice, strlen(advice)))
        cli_write_json(advice, strlen(advice));
    else
        cli_print("null");
    *separator = ",";
}

void stat_print_json(const struct stat_report *report)
{
    const bitcask_stats *stats = &report->stats;
    cli_print("{\"keys\":%" PRIu64 ",\"data_files\":%" PRIu64 ",\"disk_bytes\":%" PRIu64 ",\"live_bytes\":%" PRIu64
              ",\"dead_bytes\":%" PRIu64 ",\"keydir_bytes\":%" PRIu64 ",\"last_sequence\":%" PRIu64,
              stats->keys, stats->data_files, stats->disk_bytes, stats->live_bytes, stats->dead_bytes, stats->keydir_bytes,
              stats->last_sequence);
    if (stats->live_bytes > 0)
        cli_print(",\"space_amplification\":%.4f", stat_space_amplification(report));
    else
        cli_print(",\"space_amplification\":null");
    cli_print(",\"missing_hints\":%" PRIu64, report->missing_hints);
    print_estimate("merge", &report->all);
    print_estimate("policy_merge", &report->policy);
    cli_print(",\"files\":[");
    for (size_t i = 0; i < report->files.count; i++)
        print_file(report, i);
    cli_print("],\"advice\":[");
    const char *separator = "";
    stat_advise(report, print_advice, &separator);
    cli_print("]}\n");
}
