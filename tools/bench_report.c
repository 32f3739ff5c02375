/* What bitcask-bench prints: the lines of db_bench, or one JSON object. */
#include "tools/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

struct environment {
    char cpu[160], kernel[160], date[40], filesystem[64];
};

/* The value of the first line "name : value". */
static void find_line(const char *path, const char *name, char *ret, size_t size)
{
    char line[512];
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, name, strlen(name)) != 0)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(ret, size, "%s", colon);
        break;
    }
    if (file)
        fclose(file);
}

/* The type of the mount that the directory's device belongs to. */
static void find_filesystem(const char *dir, char *ret, size_t size)
{
    char line[4096];
    struct stat st;
    snprintf(ret, size, "unknown");
    FILE *file = stat(dir, &st) == 0 ? fopen("/proc/self/mountinfo", "re") : NULL;
    while (file && fgets(line, sizeof line, file)) {
        unsigned device_major, device_minor;
        char type[48];
        const char *rest = strstr(line, " - ");
        if (rest && sscanf(line, "%*d %*d %u:%u", &device_major, &device_minor) == 2 && device_major == major(st.st_dev) &&
            device_minor == minor(st.st_dev) && sscanf(rest, " - %47s", type) == 1)
            snprintf(ret, size, "%s", type);
    }
    if (file)
        fclose(file);
}

static void look_around(const char *dir, struct environment *ret)
{
    char model[128] = "unknown";
    struct utsname system;
    time_t now = time(NULL);
    struct tm tm;
    find_line("/proc/cpuinfo", "model name", model, sizeof model);
    snprintf(ret->cpu, sizeof ret->cpu, "%ld * %s", sysconf(_SC_NPROCESSORS_ONLN), model);
    snprintf(ret->kernel, sizeof ret->kernel, "unknown");
    if (uname(&system) == 0)
        snprintf(ret->kernel, sizeof ret->kernel, "%.60s %.80s", system.sysname, system.release);
    ret->date[0] = '\0';
    if (gmtime_r(&now, &tm))
        strftime(ret->date, sizeof ret->date, "%Y-%m-%dT%H:%M:%SZ", &tm);
    find_filesystem(dir, ret->filesystem, sizeof ret->filesystem);
}

/* Bytes that are no text become question marks: JSON has no other bytes. */
static void print_json_text(const char *name, const char *text, const char *end)
{
    printf("\"%s\": \"", name);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else
            putchar(c < 0x20 || c >= 0x7f ? '?' : c);
    }
    printf("\"%s", end);
}

static void print_json_number(const char *name, uint64_t number)
{
    printf("\"%s\": %llu, ", name, (unsigned long long)number);
}

static void print_json_header(const struct bench_store *store, const struct environment *environment)
{
    const struct bench_config *config = store->config;
    printf("{");
    print_json_text("version", bitcask_version(), ", ");
    print_json_text("date", environment->date, ", ");
    print_json_text("cpu", environment->cpu, ", ");
    print_json_text("kernel", environment->kernel, ", ");
    print_json_text("filesystem", environment->filesystem, ", ");
    print_json_number("key_size", config->key_size);
    print_json_number("value_size", config->value_size);
    print_json_number("num", config->num);
    print_json_number("reads", config->reads);
    print_json_number("threads", config->threads);
    print_json_number("seed", config->seed);
    print_json_number("sync_mode", config->options.sync_mode);
    printf("\"no_mmap\": %s,\n \"benchmarks\": [", config->options.flags & BITCASK_OPEN_NO_MMAP ? "true" : "false");
}

void bench_report_header(const struct bench_store *store)
{
    const struct bench_config *config = store->config;
    struct environment environment = {0};
    look_around(store->dir, &environment);
    if (config->json) {
        print_json_header(store, &environment);
        return;
    }
    static const char *const sync_modes[] = {"none", "interval", "always"};
    double raw = (double)(config->key_size + config->value_size) * (double)config->num / 1048576.0;
    printf("libbitcask: version %s\n", bitcask_version());
    printf("Date:       %s\n", environment.date);
    printf("CPU:        %s\n", environment.cpu);
    printf("Kernel:     %s\n", environment.kernel);
    printf("FileSystem: %s\n", environment.filesystem);
    printf("Keys:       %llu bytes each\n", (unsigned long long)config->key_size);
    printf("Values:     %llu bytes each\n", (unsigned long long)config->value_size);
    printf("Entries:    %llu\n", (unsigned long long)config->num);
    printf("RawSize:    %.1f MB\n", raw);
    printf("Threads:    %llu\n", (unsigned long long)config->threads);
    printf("Sync:       %s\n", sync_modes[config->options.sync_mode]);
    puts("------------------------------------------------");
    fflush(stdout);
}

static void print_json_result(const struct bench_store *store, const struct bench_result *result, bool first)
{
    printf("%s\n  {", first ? "" : ",");
    print_json_text("name", result->workload->name, ", ");
    print_json_number("runs", result->runs);
    print_json_number("operations", result->operations);
    if (result->workload->flags & BENCH_LOOKUP)
        print_json_number("found", result->found);
    if (result->keys > 0) {
        print_json_number("keys", result->keys);
        printf("\"anon_bytes_per_key\": %.2f, \"keydir_bytes_per_key\": %.2f, ", result->anon_per_key, result->keydir_per_key);
    }
    if (store->config->histogram)
        bench_report_latency_json(&result->latency);
    bench_report_watched_json(result);
    printf("\"micros_per_op\": %.4f, \"mb_per_s\": %.2f, \"ops_per_s\": %.1f}", result->micros_per_op, result->mb_per_s,
           result->ops_per_s);
}

void bench_report_result(const struct bench_store *store, const struct bench_result *result, bool first)
{
    if (store->config->json) {
        print_json_result(store, result, first);
        return;
    }
    printf("%-12s : %11.3f micros/op; %6.1f MB/s %10.0f ops/s", result->workload->name, result->micros_per_op, result->mb_per_s,
           result->ops_per_s);
    if (result->workload->flags & BENCH_LOOKUP)
        printf(" (%llu of %llu found)", (unsigned long long)result->found, (unsigned long long)result->operations);
    if (result->runs > 1)
        printf(" (median of %llu runs)", (unsigned long long)result->runs);
    putchar('\n');
    if (result->keys > 0)
        printf("%12s   memory: %.1f bytes a key (RssAnon), KeyDir %.1f; %llu keys\n", "", result->anon_per_key,
               result->keydir_per_key, (unsigned long long)result->keys);
    if (store->config->histogram)
        bench_report_latency("", &result->latency);
    bench_report_watched(result);
    fflush(stdout);
}

void bench_report_end(const struct bench_store *store)
{
    if (store->config->json)
        puts("\n]}");
}
