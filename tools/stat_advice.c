/* What to do about what bitcask stat shows. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tools/size.h"
#include "tools/stat.h"

#define WORTH_BYTES (1U << 20) /* a merge that wins less, or a lesser share of the store, is not worth a word */
#define WORTH_SHARE 10U
#define OPEN_FILES 1024U /* max_open_files, if nothing was said */

struct advising {
    const struct stat_report *report;
    void (*say)(const char *advice, void *arg);
    void *arg;
};

__attribute__((format(printf, 2, 3))) static void advise(const struct advising *a, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    a->say(text, a->arg);
}

static void advise_merge(const struct advising *a)
{
    const struct stat_report *r = a->report;
    if (r->policy.files > 0)
        advise(a,
               "%" PRIu64 " data files are due for a merge, which wins about %s; a program that has the store open for writing "
               "does that by itself, else: bitcask merge --policy %s",
               r->policy.files, size_text(r->policy.won), r->dir);
    if (r->all.won >= WORTH_BYTES && r->all.won >= r->stats.disk_bytes / WORTH_SHARE)
        advise(a, "a merge of everything wins about %s, %" PRIu64 " %% of the data files; offline: bitcask merge %s",
               size_text(r->all.won), r->all.won * 100 / r->stats.disk_bytes, r->dir);
}

static void advise_hints(const struct advising *a)
{
    const struct stat_report *r = a->report;
    if (r->missing_hints > 0)
        advise(a,
               "%" PRIu64 " sealed data files have no hint file, so that every open reads them from end to end; offline: "
               "bitcask hint %s",
               r->missing_hints, r->dir);
}

/* Within an eighth of it: from there on keys are evicted. */
static bool is_near(uint64_t value, uint64_t limit)
{
    return limit != 0 && limit != BITCASK_OFF && value >= limit - limit / 8;
}

static void advise_limits(const struct advising *a)
{
    const bitcask_stats *stats = &a->report->stats;
    const bitcask_options *o = a->report->options;
    uint64_t budget = o->max_open_files ? o->max_open_files : OPEN_FILES;
    if (is_near(stats->disk_bytes, o->max_bytes))
        advise(a, "the data files take %s of max_bytes, %s: the oldest keys are evicted", size_text(stats->disk_bytes),
               size_text(o->max_bytes));
    if (is_near(stats->keydir_bytes, o->max_keydir_bytes))
        advise(a, "the KeyDir takes %s of max_keydir_bytes, %s: the oldest keys are evicted", size_text(stats->keydir_bytes),
               size_text(o->max_keydir_bytes));
    if (stats->data_files > budget)
        advise(a,
               "%" PRIu64 " data files are more than max_open_files, %" PRIu64
               ": reads open them again and again; raise it, or "
               "max_file_size before a merge",
               stats->data_files, budget);
}

static void advise_memory(const struct advising *a)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages <= 0 || page <= 0)
        return;
    uint64_t memory = (uint64_t)pages * (uint64_t)page;
    if (a->report->stats.keydir_bytes > memory / 2)
        advise(a, "the KeyDir takes %s of the machine's %s of memory", size_text(a->report->stats.keydir_bytes),
               size_text(memory));
}

/* A merge writes its output before its inputs go. */
static void advise_disk(const struct advising *a)
{
    const struct stat_report *r = a->report;
    struct statvfs fs;
    if (statvfs(r->dir, &fs) != 0)
        return;
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize, output = stat_max_file_size(r->options);
    uint64_t need = r->all.bytes_out < output ? r->all.bytes_out : output;
    if (r->all.files > 0 && free_bytes < need + (need / 8))
        advise(a, "only %s of the file system are free, and a step of a merge needs up to %s", size_text(free_bytes),
               size_text(need));
}

void stat_advise(const struct stat_report *report, void (*say)(const char *advice, void *arg), void *arg)
{
    const struct advising a = {report, say, arg};
    advise_merge(&a);
    advise_hints(&a);
    advise_limits(&a);
    advise_memory(&a);
    advise_disk(&a);
}
