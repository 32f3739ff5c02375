/* bitcask stat --prometheus: the text exposition format, version 0.0.4. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/output.h"
#include "tools/stat.h"

struct exposition {
    const char *store; /* the label */
};

/* A label has backslash, quote and newline escaped, and is UTF-8. */
static void print_label(const char *text)
{
    bool utf8 = cli_is_utf8(text, strlen(text));
    for (; *text; text++) {
        if (*text == '\\' || *text == '"')
            cli_print("\\%c", *text);
        else if (*text == '\n')
            cli_print("\\n");
        else
            cli_print("%c", !utf8 && (unsigned char)*text >= 0x80 ? '?' : *text);
    }
}

static void head(const char *name, const char *help)
{
    cli_print("# HELP bitcask_%s %s\n# TYPE bitcask_%s gauge\n", name, help, name);
}

/* label is NULL, or one that stands beside the store's. */
static void sample(const struct exposition *e, const char *name, const char *label, const char *label_value)
{
    cli_print("bitcask_%s{store=\"", name);
    print_label(e->store);
    cli_print("\"");
    if (label)
        cli_print(",%s=\"%s\"", label, label_value);
    cli_print("} ");
}

static void gauge(const struct exposition *e, const char *name, const char *help, uint64_t value)
{
    head(name, help);
    sample(e, name, NULL, NULL);
    cli_print("%" PRIu64 "\n", value);
}

static void print_states(const struct exposition *e, const struct data_files *files)
{
    uint64_t sealed = 0;
    for (size_t i = 0; i < files->count; i++)
        sealed += files->items[i].state == BITCASK_FILE_SEALED;
    head("data_files", "Data files, by state.");
    sample(e, "data_files", "state", "sealed");
    cli_print("%" PRIu64 "\n", sealed);
    sample(e, "data_files", "state", "open");
    cli_print("%" PRIu64 "\n", files->count - sealed);
}

static void print_reasons(const struct exposition *e, const struct data_files *files)
{
    head("merge_due_files", "Data files that the merge policy would take now, by reason; a file may have several.");
    for (const struct data_reason *r = data_reasons; r->name; r++) {
        uint64_t count = 0;
        for (size_t i = 0; i < files->count; i++)
            count += (files->items[i].merge_reasons & r->bit) != 0;
        sample(e, "merge_due_files", "reason", r->name);
        cli_print("%" PRIu64 "\n", count);
    }
}

void stat_print_prometheus(const struct stat_report *report)
{
    const bitcask_stats *stats = &report->stats;
    char *absolute = realpath(report->dir, NULL);
    char *copy = absolute ? absolute : strdup(report->dir);
    const struct exposition e = {.store = copy ? copy : ""};
    head("info", "The version of the library that looked at the store.");
    sample(&e, "info", "version", bitcask_version());
    cli_print("1\n");
    gauge(&e, "keys", "Keys, expired ones until they are swept.", stats->keys);
    print_states(&e, &report->files);
    gauge(&e, "disk_bytes", "Bytes of data files.", stats->disk_bytes);
    gauge(&e, "live_bytes", "Bytes of records that are alive.", stats->live_bytes);
    gauge(&e, "dead_bytes", "Bytes of all other records.", stats->dead_bytes);
    gauge(&e, "keydir_bytes", "Memory that the keys take in a program that has the store open.", stats->keydir_bytes);
    gauge(&e, "last_sequence", "The sequence number of the newest write.", stats->last_sequence);
    gauge(&e, "missing_hint_files", "Sealed data files without a hint file.", report->missing_hints);
    gauge(&e, "merge_won_bytes", "Bytes that a merge of everything would win, about.", report->all.won);
    gauge(&e, "merge_due_won_bytes", "Bytes that a merge of what is due would win, about.", report->policy.won);
    print_reasons(&e, &report->files);
    free(copy);
}
