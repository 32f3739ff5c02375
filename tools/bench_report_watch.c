/* What bitcask-bench prints of latencies, space and merges. */
#include <stdio.h>

#include "tools/bench.h"

#define MB 1048576.0
#define MOMENTS 10U /* of the course of space, in a line */

static const char *const shares[BENCH_SHARES] = {"p50", "p99", "p99.9", "p99.99", "max"};

static const struct {
    const char *text, *json;
} splits[BENCH_SPLITS] = {
    {"get", "get"}, {"get, beside a merge", "get_merging"}, {"put", "put"}, {"put, beside a merge", "put_merging"}};

void bench_report_latency(const char *what, const struct bench_latency *latency)
{
    printf("%12s   micros%s%s:", "", *what ? " of " : "", what);
    for (size_t i = 0; i < BENCH_SHARES; i++)
        printf("%s %s %.3f", i ? "," : "", shares[i], (double)latency->ns[i] / 1e3);
    if (*what)
        printf("; %llu", (unsigned long long)latency->count);
    putchar('\n');
}

void bench_report_latency_json(const struct bench_latency *latency)
{
    for (size_t i = 0; i < BENCH_SHARES; i++)
        printf("\"%s_us\": %.3f, ", shares[i], (double)latency->ns[i] / 1e3);
}

/* ---- lines ---- */

static void print_amplification(const char *what, const struct bench_amplification *a)
{
    printf("%s worst %.3f, mean %.3f, end %.3f", what, a->worst, a->mean, a->end);
}

static void print_course(const struct bench_watched *w)
{
    printf("%12s   space over %.1f s:", "", w->samples[w->sample_count - 1].seconds);
    for (size_t i = 0; i < MOMENTS; i++) {
        const struct bench_sample *s = &w->samples[i * (w->sample_count - 1) / (MOMENTS - 1)];
        if (s->live_bytes == 0)
            printf(" -");
        else
            printf(" %.2f", (double)s->disk_bytes / (double)s->live_bytes);
    }
    putchar('\n');
}

static void print_watched(const struct bench_watched *w)
{
    printf("%12s   space amplification:", "");
    print_amplification("", &w->disk);
    print_amplification("; as du has it:", &w->used);
    putchar('\n');
    print_course(w);
    printf("%12s   write amplification: ", "");
    if (w->write > 0)
        printf("%.3f, worst %.3f; ", w->write, w->write_worst);
    printf("puts %.1f MB, merges %.1f MB of %.1f MB, in %llu steps\n", (double)w->log_bytes / MB,
           (double)w->merge_bytes_out / MB, (double)w->merge_bytes_in / MB, (unsigned long long)w->merges);
    if (w->forced)
        printf("%12s   forced merge: %.1f MB to %.1f MB in %.3f s\n", "", (double)w->forced_result.bytes_in / MB,
               (double)w->forced_result.bytes_out / MB, (double)w->forced_result.duration_ms / 1e3);
}

static void print_compaction(const struct bench_compaction *c)
{
    printf("%12s   size: %.1f MB before, %.1f MB after (%.1f %%), du %.1f and %.1f MB; %llu and %llu data files\n", "",
           (double)c->disk_bytes[0] / MB, (double)c->disk_bytes[1] / MB,
           c->disk_bytes[0] ? (double)c->disk_bytes[1] * 100 / (double)c->disk_bytes[0] : 0, (double)c->used_bytes[0] / MB,
           (double)c->used_bytes[1] / MB, (unsigned long long)c->files[0], (unsigned long long)c->files[1]);
}

void bench_report_watched(const struct bench_result *result)
{
    for (unsigned i = 0; i < BENCH_SPLITS; i++)
        if (result->split[i].count > 0)
            bench_report_latency(splits[i].text, &result->split[i]);
    if (result->is_watched)
        print_watched(&result->watched);
    if (result->workload->flags & BENCH_COMPACT)
        print_compaction(&result->compaction);
}

/* ---- JSON ---- */

static void print_json_number(const char *name, uint64_t number)
{
    printf("\"%s\": %llu, ", name, (unsigned long long)number);
}

static void print_json_amplification(const char *name, const struct bench_amplification *a)
{
    printf("\"%s\": {\"worst\": %.4f, \"mean\": %.4f, \"end\": %.4f}, ", name, a->worst, a->mean, a->end);
}

static void print_json_samples(const struct bench_watched *w)
{
    printf("\"samples\": [");
    for (size_t i = 0; i < w->sample_count; i++) {
        const struct bench_sample *s = &w->samples[i];
        printf("%s{", i ? ", " : "");
        print_json_number("disk_bytes", s->disk_bytes);
        print_json_number("live_bytes", s->live_bytes);
        print_json_number("du_bytes", s->used_bytes);
        print_json_number("log_bytes", s->log_bytes);
        print_json_number("merge_bytes_out", s->merge_bytes_out);
        printf("\"seconds\": %.3f}", s->seconds);
    }
    printf("], ");
}

static void print_json_watched(const struct bench_watched *w)
{
    print_json_amplification("space_amplification", &w->disk);
    print_json_amplification("du_amplification", &w->used);
    if (w->write > 0)
        printf("\"write_amplification\": {\"worst\": %.4f, \"end\": %.4f}, ", w->write_worst, w->write);
    else
        printf("\"write_amplification\": null, ");
    print_json_number("log_bytes", w->log_bytes);
    print_json_number("merges", w->merges);
    print_json_number("merge_bytes_in", w->merge_bytes_in);
    print_json_number("merge_bytes_out", w->merge_bytes_out);
    if (w->forced)
        print_json_number("forced_merge_ms", w->forced_result.duration_ms);
    print_json_samples(w);
}

void bench_report_watched_json(const struct bench_result *result)
{
    for (unsigned i = 0; i < BENCH_SPLITS; i++) {
        if (result->split[i].count == 0)
            continue;
        printf("\"%s\": {", splits[i].json);
        bench_report_latency_json(&result->split[i]);
        printf("\"operations\": %llu}, ", (unsigned long long)result->split[i].count);
    }
    if (result->is_watched)
        print_json_watched(&result->watched);
    if (result->workload->flags & BENCH_COMPACT) {
        const struct bench_compaction *c = &result->compaction;
        print_json_number("disk_bytes_before", c->disk_bytes[0]);
        print_json_number("disk_bytes_after", c->disk_bytes[1]);
        print_json_number("du_bytes_before", c->used_bytes[0]);
        print_json_number("du_bytes_after", c->used_bytes[1]);
        print_json_number("data_files_before", c->files[0]);
        print_json_number("data_files_after", c->files[1]);
    }
}
