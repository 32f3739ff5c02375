/* bench_store.c - the whole store through its public interface: throughput, memory, open and close.
 *
 *     bench_store [--json] [--runs N] [--dir DIR] [--no-mmap] [--values | --churn] [KEYS]
 *
 * Keys (default 1,000,000) are 16 random-looking bytes, values 100 incompressible ones; --values measures 1 KiB to 1 MiB
 * instead, 256 MiB of each. --churn puts KEYS distinct keys (100,000,000 is the promise's) with values of 8 bytes, deletes all
 * but the last million as it goes, and compares the memory with that of a fresh store of these: about 100 bytes of disk a key.
 * Every read goes into a buffer, is checked by the store (CRCs and key) and by its first and last bytes here. Each of N runs
 * (default 3) makes a new store in a directory of its own in DIR (TMPDIR, else /tmp), which is removed; medians are printed,
 * with the least and the greatest (--json: least, median, greatest). Writes are not synced where nothing says so: they survive
 * a kill of the process.
 */
#include "bitcask/bitcask.h"

#include <glob.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define VALUE_SIZE 100U
#define OPERATIONS 2000000U
#define SAMPLES (1U << 21) /* of the zipfian distribution */
#define SYNC_MS 500
#define VALUES_BYTES (256U << 20)
#define THREADS_MAX 32U
#define RUNS_MAX 15U
#define LINES_MAX 64U

struct line {
    char name[48];
    const char *unit;
    double samples[RUNS_MAX];
    unsigned count;
};

struct bench {
    const char *dir; /* of all stores */
    char path[300];
    uint64_t keys;
    size_t value_size;
    uint32_t flags;
    bool json;
    bitcask *db;
    uint64_t begun;               /* runs so far */
    uint32_t *zipf;               /* SAMPLES key numbers */
    struct line lines[LINES_MAX]; /* up to one without a unit */
};

/* What one thread does: count operations, or as many as fit before stop. */
struct task {
    struct bench *bench;
    pthread_t thread;
    uint64_t random, count, done;
    unsigned put_percent;
    bool zipfian, missing, sync, in_order;
    atomic_bool *stop;
};

static void die(const char *what)
{
    fprintf(stderr, "bench_store: %s: %s\n", what, bitcask_last_error()->message);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void note(struct bench *b, const char *name, const char *unit, double value)
{
    struct line *l = b->lines;
    while (l->unit != NULL && strcmp(l->name, name) != 0)
        l++;
    snprintf(l->name, sizeof l->name, "%s", name);
    l->unit = unit;
    l->samples[l->count++] = value;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdU;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53U;
    return x ^ x >> 33;
}

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* ---- operations ---- */

static void put(struct bench *b, unsigned char *value, uint64_t n, bool sync)
{
    const uint64_t key[2] = {mix(n + 1), mix(n ^ 0x9e3779b97f4a7c15U)};
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    o.flags = BITCASK_PUT_SYNC;
    memcpy(value, &n, sizeof n);
    memcpy(value + b->value_size - sizeof n, &n, sizeof n);
    if (bitcask_put(b->db, key, sizeof key, value, b->value_size, sync ? &o : NULL, NULL) != BITCASK_OK)
        die("put");
}

static void get(struct bench *b, unsigned char *buf, uint64_t n, bool missing)
{
    const uint64_t key[2] = {mix(n + 1), mix(n ^ 0x9e3779b97f4a7c15U)};
    size_t size = 0;
    int result = bitcask_read(b->db, key, sizeof key, buf, b->value_size, &size);
    bool right = result == BITCASK_OK && size == b->value_size && memcmp(buf, &n, sizeof n) == 0 &&
                 memcmp(buf + size - sizeof n, &n, sizeof n) == 0;
    if (missing ? result != BITCASK_NOT_FOUND : !right)
        die("get");
}

static void *run_task(void *arg)
{
    struct task *t = arg;
    struct bench *b = t->bench;
    unsigned char *value = malloc(b->value_size);
    if (value == NULL)
        die("no memory");
    for (size_t i = 0; i < b->value_size; i++)
        value[i] = (unsigned char)(mix(i) >> 7);
    for (; t->done < t->count && !atomic_load_explicit(t->stop, memory_order_relaxed); t->done++) {
        uint64_t r = next_random(&t->random);
        uint64_t n = t->in_order ? t->done : t->zipfian ? b->zipf[r % SAMPLES] : r % b->keys;
        if (r >> 32 < ((uint64_t)t->put_percent << 32) / 100)
            put(b, value, n, t->sync);
        else
            get(b, value, n + (t->missing ? b->keys : 0), t->missing);
    }
    free(value);
    return NULL;
}

/* Thousand operations a second of all threads together. count: of each thread; 0: for SYNC_MS. */
static double run(struct bench *b, unsigned threads, uint64_t count, struct task what)
{
    struct task tasks[THREADS_MAX];
    atomic_bool stop = false;
    uint64_t done = 0;
    double start = now();
    for (unsigned i = 0; i < threads; i++) {
        tasks[i] = what;
        tasks[i].bench = b;
        tasks[i].count = count != 0 ? count : UINT64_MAX;
        tasks[i].stop = &stop;
        /* No two runs draw the same keys in the same order: one would find them as the other wrote them, one behind the other.
         */
        tasks[i].random = mix(++b->begun) | 1;
        if (pthread_create(&tasks[i].thread, NULL, run_task, &tasks[i]) != 0)
            die("no thread");
    }
    if (count == 0) {
        usleep(SYNC_MS * 1000);
        atomic_store(&stop, true);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(tasks[i].thread, NULL);
        done += tasks[i].done;
    }
    return (double)done / (now() - start) / 1e3;
}

/* ---- surroundings ---- */

static double rss_anon(void)
{
    unsigned long resident = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%*u %lu %lu", &resident, &shared) != 2)
        die("/proc/self/statm");
    fclose(f);
    return (double)(resident - shared) * (double)sysconf(_SC_PAGESIZE);
}

static void remove_files(const struct bench *b, const char *names)
{
    char pattern[320];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/%s", b->path, names);
    if (glob(pattern, 0, NULL, &found) != 0)
        die("cannot list the files");
    for (size_t i = 0; i < found.gl_pathc; i++)
        unlink(found.gl_pathv[i]);
    globfree(&found);
}

static double open_store(struct bench *b)
{
    bitcask_options o = BITCASK_OPTIONS_INIT;
    double start = now();
    o.flags = b->flags;
    if (bitcask_open(b->path, &o, &b->db) != BITCASK_OK)
        die("open");
    return (now() - start) * 1e3;
}

static double close_store(struct bench *b)
{
    double start = now();
    if (bitcask_close(b->db) != BITCASK_OK)
        die("close");
    return (now() - start) * 1e3;
}

static void new_store(struct bench *b)
{
    snprintf(b->path, sizeof b->path, "%s/bench-XXXXXX", b->dir);
    if (mkdtemp(b->path) == NULL)
        die("cannot make a directory");
    (void)open_store(b);
}

static void drop_store(struct bench *b)
{
    (void)close_store(b);
    remove_files(b, "*");
    rmdir(b->path);
}

/* Samples of a zipfian distribution with exponent 0.99 over the keys, scattered. */
static void make_zipf(struct bench *b)
{
    const double theta = 0.99;
    double zeta = 0, zeta2 = 1 + pow(0.5, theta);
    uint64_t random = 88172645463325252U;
    b->zipf = malloc(SAMPLES * sizeof *b->zipf);
    if (b->zipf == NULL)
        die("no memory");
    for (uint64_t i = 1; i <= b->keys; i++)
        zeta += pow(1.0 / (double)i, theta);
    double alpha = 1 / (1 - theta), eta = (1 - pow(2.0 / (double)b->keys, 1 - theta)) / (1 - zeta2 / zeta);
    for (unsigned i = 0; i < SAMPLES; i++) {
        double u = (double)(next_random(&random) >> 11) * 0x1p-53, uz = u * zeta;
        double rank = uz < 1 ? 0 : uz < zeta2 ? 1 : (double)b->keys * pow(eta * u - eta + 1, alpha);
        b->zipf[i] = (uint32_t)(mix((uint64_t)rank) % b->keys);
    }
}

/* ---- runs ---- */

static const struct task fill = {.put_percent = 100, .in_order = true}, overwrite = {.put_percent = 100}, get_all,
                         get_missing = {.missing = true}, zipfian = {.put_percent = 5, .zipfian = true},
                         put_sync = {.put_percent = 100, .sync = true};

static void run_small(struct bench *b)
{
    double before = rss_anon();
    new_store(b);
    note(b, "put", "k/s", run(b, 1, b->keys, fill));
    note(b, "RssAnon after the fill", "B/key", (rss_anon() - before) / (double)b->keys);
    note(b, "overwrite", "k/s", run(b, 1, OPERATIONS, overwrite));
    /* Merges that the overwrites made due end meanwhile. */
    (void)run(b, 1, 2 * OPERATIONS, get_all);
    note(b, "get", "k/s", run(b, 1, OPERATIONS, get_all));
    note(b, "get, 2 threads", "k/s", run(b, 2, OPERATIONS, get_all));
    note(b, "get, missing", "k/s", run(b, 1, OPERATIONS, get_missing));
    note(b, "95/5 zipfian", "k/s", run(b, 1, OPERATIONS, zipfian));
    note(b, "95/5 zipfian, 2 threads", "k/s", run(b, 2, OPERATIONS, zipfian));
    note(b, "close", "ms", close_store(b));
    /* What a virtual machine touches for the first time costs it several times more: the second open counts. */
    (void)open_store(b);
    (void)close_store(b);
    note(b, "open, with hints", "ms", open_store(b));
    (void)close_store(b);
    remove_files(b, "*.hint");
    note(b, "open, without hints", "ms", open_store(b));
    note(b, "put with sync, 1 thread", "k/s", run(b, 1, 0, put_sync));
    note(b, "put with sync, 8 threads", "k/s", run(b, 8, 0, put_sync));
    note(b, "put with sync, 32 threads", "k/s", run(b, 32, 0, put_sync));
    drop_store(b);
}

static void run_values(struct bench *b)
{
    static const char *const names[][3] = {{"put, 1 KiB", "overwrite, 1 KiB", "get, 1 KiB"},
                                           {"put, 4 KiB", "overwrite, 4 KiB", "get, 4 KiB"},
                                           {"put, 64 KiB", "overwrite, 64 KiB", "get, 64 KiB"},
                                           {"put, 1 MiB", "overwrite, 1 MiB", "get, 1 MiB"}};
    static const size_t sizes[] = {1024, 4096, 65536, 1 << 20};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        b->value_size = sizes[i];
        b->keys = VALUES_BYTES / sizes[i];
        new_store(b);
        note(b, names[i][0], "k/s", run(b, 1, b->keys, fill));
        note(b, names[i][1], "k/s", run(b, 1, b->keys, overwrite));
        (void)run(b, 1, b->keys, get_all);
        note(b, names[i][2], "k/s", run(b, 1, 2 * b->keys, get_all));
        drop_store(b);
    }
}

/* ---- churn: in processes of their own, so that no memory of one shows in the other ---- */

#define ALIVE 1000000U

struct churned {
    double at_once, bytes, keydir;
};

static void delete_key(struct bench *b, uint64_t n)
{
    const uint64_t key[2] = {mix(n + 1), mix(n ^ 0x9e3779b97f4a7c15U)};
    if (bitcask_delete(b->db, key, sizeof key, NULL, NULL) != BITCASK_OK)
        die("delete");
}

/* Hint files take memory while they are written, in a thread of low priority: until every sealed file has its own. */
static void wait_for_hints(const struct bench *b)
{
    unsigned quiet = 0;
    size_t before = 0;
    for (unsigned seconds = 0; quiet < 30 && seconds < 900; seconds++) {
        char pattern[320];
        glob_t found;
        usleep(1000000);
        snprintf(pattern, sizeof pattern, "%s/*.hint*", b->path);
        size_t names = 0;
        bool busy = false;
        if (glob(pattern, 0, NULL, &found) == 0) {
            names = found.gl_pathc;
            for (size_t i = 0; i < names; i++)
                busy = busy || strstr(found.gl_pathv[i], ".tmp") != NULL;
            globfree(&found);
        }
        /* The first pass over a file leaves no trace: no new name for as long as one takes. */
        quiet = busy || names != before ? 0 : quiet + 1;
        before = names;
    }
}

/* Keys from..keys are put; all but the last ALIVE are deleted. */
static struct churned churn(struct bench *b, uint64_t from)
{
    unsigned char value[8];
    double before = rss_anon();
    bitcask_stats stats = BITCASK_STATS_INIT;
    new_store(b);
    for (uint64_t n = from; n < b->keys; n++) {
        put(b, value, n, false);
        if (n >= from + ALIVE)
            delete_key(b, n - ALIVE);
    }
    struct churned c = {.at_once = rss_anon() - before};
    wait_for_hints(b);
    c.bytes = rss_anon() - before;
    for (uint64_t n = b->keys - ALIVE; n < b->keys; n += 1000)
        get(b, value, n, false);
    if (bitcask_stats_get(b->db, &stats) != BITCASK_OK || stats.keys != ALIVE)
        die("not as many keys as there should be");
    c.keydir = (double)stats.keydir_bytes;
    drop_store(b);
    return c;
}

static struct churned churn_apart(struct bench *b, uint64_t from)
{
    int ends[2];
    struct churned c = {0, 0, 0};
    if (pipe(ends) != 0)
        die("pipe");
    pid_t pid = fork();
    if (pid == 0) {
        c = churn(b, from);
        _exit(write(ends[1], &c, sizeof c) == sizeof c ? 0 : 1);
    }
    close(ends[1]);
    if (pid < 0 || read(ends[0], &c, sizeof c) != sizeof c)
        die("churn");
    close(ends[0]);
    waitpid(pid, NULL, 0);
    return c;
}

static void run_churn(struct bench *b)
{
    b->value_size = 8;
    double start = now();
    struct churned fresh = churn_apart(b, b->keys - ALIVE), churned = churn_apart(b, 0);
    note(b, "RssAnon, fresh", "MB", fresh.bytes / 1e6);
    note(b, "RssAnon, churned", "MB", churned.bytes / 1e6);
    note(b, "RssAnon, before the hints", "MB", churned.at_once / 1e6);
    note(b, "KeyDir, fresh", "MB", fresh.keydir / 1e6);
    note(b, "KeyDir, churned", "MB", churned.keydir / 1e6);
    note(b, "churned / fresh, RssAnon", "%", 100 * churned.bytes / fresh.bytes);
    note(b, "churned / fresh, KeyDir", "%", 100 * churned.keydir / fresh.keydir);
    note(b, "time", "s", now() - start);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(struct bench *b)
{
    if (b->json)
        printf("{\"keys\": %llu", (unsigned long long)b->keys);
    for (struct line *l = b->lines; l->unit != NULL; l++) {
        qsort(l->samples, l->count, sizeof l->samples[0], by_value);
        double median = l->samples[l->count / 2], least = l->samples[0], greatest = l->samples[l->count - 1];
        if (b->json)
            printf(",\n \"%s, %s\": [%.3f, %.3f, %.3f]", l->name, l->unit, least, median, greatest);
        else
            printf("%-28s %10.1f %-5s  (%.1f to %.1f)\n", l->name, median, l->unit, least, greatest);
    }
    printf(b->json ? "}\n" : "");
}

int main(int argc, char **argv)
{
    static struct bench b = {.keys = 1000000, .value_size = VALUE_SIZE};
    unsigned runs = 3;
    bool values = false, churns = false;
    b.dir = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--runs") == 0 && more)
            runs = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--dir") == 0 && more)
            b.dir = argv[++i];
        else if (argv[i][0] != '-')
            b.keys = strtoull(argv[i], NULL, 10);
        b.json = b.json || strcmp(argv[i], "--json") == 0;
        values = values || strcmp(argv[i], "--values") == 0;
        churns = churns || strcmp(argv[i], "--churn") == 0;
        b.flags |= strcmp(argv[i], "--no-mmap") == 0 ? BITCASK_OPEN_NO_MMAP : 0;
    }
    if (b.keys < (churns ? 2 * ALIVE : 1000U) || b.keys > UINT32_MAX || runs == 0 || runs > RUNS_MAX) {
        fprintf(stderr, "usage: bench_store [--json] [--runs N] [--dir DIR] [--no-mmap] [--values | --churn] [KEYS]\n");
        return 2;
    }
    if (!values && !churns)
        make_zipf(&b);
    for (unsigned i = 0; i < runs; i++)
        (churns ? run_churn : values ? run_values : run_small)(&b);
    print(&b);
    free(b.zipf);
    return 0;
}
