/* bench_latency.c - how long single puts and gets take, and what the slowest puts met.
 *
 *     bench_latency [--no-mmap] [--dir DIR] [KEYS]
 *
 * Keys (default 1,000,000) of 16 random-looking bytes, values of 100: inserted, overwritten KEYS times at random, read KEYS
 * times; each operation is timed by itself (reading the clock costs some 20 ns of it). For the twenty slowest puts it says what
 * was seen to coincide: a rotation, a growing table, pages that were not prepared, a file being sealed, a sync under way, and
 * from the system page faults and context switches of the thread since the last look, at most LOOK operations before. Puts in
 * which the system gave the processor to somebody else are no fault of the store: they are counted apart.
 *
 * It looks into the open handle without locks: what it prints is a hint, not a measurement.
 */
#include "bitcask/db.h"
#include "bitcask/keydir_shard.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define VALUE_SIZE 100U
#define WORST 20U
#define LOOK 64U /* operations between two looks at the system's counters */

/* What can be seen of the store before and after an operation. */
struct sight {
    uint64_t file, tail, allocated, prepared;
    uint32_t capacity; /* of the key's shard */
    bool sealing, syncing;
};

struct slow {
    uint64_t ns, number;
    double at_ms; /* since the phase began */
    struct sight before, after;
    long minor, major, waited; /* since the last look */
};

struct bench {
    bitcask *db;
    uint64_t keys, random;
    uint32_t *ns;
    char path[300];
    struct slow slow[WORST]; /* the slowest first */
    uint64_t preempted, preempted_ns;
    struct rusage looked;
};

static void die(const char *what)
{
    fprintf(stderr, "bench_latency: %s: %s\n", what, bitcask_last_error()->message);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdU;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53U;
    return x ^ x >> 33;
}

static uint64_t next_random(struct bench *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

static struct sight look(const struct bench *b, uint64_t hash)
{
    const struct bc_log *log = &b->db->log;
    return (struct sight){.file = log->active == NULL ? 0 : log->active->name.id,
                          .tail = log->tail,
                          .allocated = log->allocated,
                          .prepared = log->prepared_until,
                          .capacity = bc_shard_of(b->db->keydir, hash)->table.capacity,
                          .sealing = log->sealing != NULL,
                          .syncing = log->syncing};
}

static void keep(struct bench *b, const struct slow *s)
{
    struct rusage r;
    struct slow kept = *s;
    getrusage(RUSAGE_THREAD, &r);
    kept.minor = r.ru_minflt - b->looked.ru_minflt;
    kept.major = r.ru_majflt - b->looked.ru_majflt;
    kept.waited = r.ru_nvcsw - b->looked.ru_nvcsw;
    bool preempted = r.ru_nivcsw != b->looked.ru_nivcsw;
    b->looked = r;
    if (preempted) {
        b->preempted++;
        b->preempted_ns = BC_MAX(b->preempted_ns, s->ns);
        return;
    }
    unsigned at = WORST - 1;
    for (; at > 0 && b->slow[at - 1].ns < s->ns; at--)
        b->slow[at] = b->slow[at - 1];
    b->slow[at] = kept;
}

static void put(struct bench *b, uint64_t i, uint64_t n, uint64_t phase_start)
{
    static char value[VALUE_SIZE];
    const uint64_t key[2] = {mix(n + 1), mix(n ^ 0x9e3779b97f4a7c15U)};
    uint64_t hash = mix(i + 99);
    for (unsigned w = 0; w + 8 <= VALUE_SIZE; w += 8)
        memcpy(value + w, &hash, 8);
    hash = bc_keydir_hash(b->db->keydir, key, sizeof key);
    struct slow s = {.number = n, .before = look(b, hash)};
    if (i % LOOK == 0)
        getrusage(RUSAGE_THREAD, &b->looked);
    uint64_t start = now_ns();
    int result = bitcask_put(b->db, key, sizeof key, value, sizeof value, NULL, NULL);
    s.ns = now_ns() - start;
    if (result != BITCASK_OK)
        die("put");
    b->ns[i] = (uint32_t)BC_MIN(s.ns, UINT32_MAX);
    if (s.ns <= b->slow[WORST - 1].ns)
        return;
    s.after = look(b, hash);
    s.at_ms = (double)(start - phase_start) / 1e6;
    keep(b, &s);
}

static void get(struct bench *b, uint64_t i, uint64_t n)
{
    const uint64_t key[2] = {mix(n + 1), mix(n ^ 0x9e3779b97f4a7c15U)};
    char buf[VALUE_SIZE];
    size_t size = 0;
    uint64_t start = now_ns();
    int result = bitcask_read(b->db, key, sizeof key, buf, sizeof buf, &size);
    b->ns[i] = (uint32_t)BC_MIN(now_ns() - start, UINT32_MAX);
    if (result != BITCASK_OK || size != VALUE_SIZE)
        die("get");
}

/* ---- reports ---- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double at_share(const struct bench *b, double share)
{
    uint64_t i = (uint64_t)((double)b->keys * share);
    return (double)b->ns[BC_MIN(i, b->keys - 1)] / 1e3;
}

static void report(struct bench *b, const char *what)
{
    qsort(b->ns, b->keys, sizeof *b->ns, by_value);
    printf("%-10s us: p50 %.2f  p99 %.2f  p99.9 %.2f  p99.99 %.1f  max %.1f\n", what, at_share(b, 0.5), at_share(b, 0.99),
           at_share(b, 0.999), at_share(b, 0.9999), at_share(b, 1));
}

static void explain(const struct slow *s)
{
    printf("  %9.1f us at %8.1f ms, file %llu byte %10llu:", (double)s->ns / 1e3, s->at_ms, (unsigned long long)s->after.file,
           (unsigned long long)s->after.tail);
    if (s->after.file != s->before.file)
        printf(" rotation");
    if (s->after.capacity != s->before.capacity)
        printf(" table grew to %u", s->after.capacity);
    if (s->after.file == s->before.file && s->after.allocated != s->before.allocated)
        printf(" file extended");
    if (s->after.tail > s->before.prepared)
        printf(" page not prepared (%llu KiB behind)", (unsigned long long)(s->after.tail - s->before.prepared) / 1024);
    if (s->before.sealing || s->after.sealing)
        printf(" sealing");
    if (s->before.syncing || s->after.syncing)
        printf(" sync under way");
    if (s->minor + s->major != 0)
        printf(" faults %ld+%ld", s->minor, s->major);
    if (s->waited != 0)
        printf(" waited %ld", s->waited);
    printf("\n");
}

static void phase(struct bench *b, const char *what, bool puts, bool in_order)
{
    uint64_t start = now_ns();
    memset(b->slow, 0, sizeof b->slow);
    b->preempted = b->preempted_ns = 0;
    getrusage(RUSAGE_THREAD, &b->looked);
    for (uint64_t i = 0; i < b->keys; i++) {
        uint64_t n = in_order ? i : next_random(b) % b->keys;
        if (puts)
            put(b, i, n, start);
        else
            get(b, i, n);
    }
    report(b, what);
    if (!puts)
        return;
    printf("  %llu slow ones were preempted, the worst for %.1f us; of the others the slowest are\n",
           (unsigned long long)b->preempted, (double)b->preempted_ns / 1e3);
    for (unsigned i = 0; i < WORST; i++)
        explain(&b->slow[i]);
}

static void remove_store(const struct bench *b)
{
    char pattern[320];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*", b->path);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
        globfree(&found);
    }
    rmdir(b->path);
}

int main(int argc, char **argv)
{
    static struct bench b = {.keys = 1000000, .random = 88172645463325252U};
    const char *dir = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    bitcask_options o = BITCASK_OPTIONS_INIT;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--no-mmap") == 0)
            o.flags = BITCASK_OPEN_NO_MMAP;
        else if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc)
            dir = argv[++i];
        else
            b.keys = strtoull(argv[i], NULL, 10);
    }
    snprintf(b.path, sizeof b.path, "%s/bench-XXXXXX", dir);
    b.ns = malloc(b.keys * sizeof *b.ns);
    if (b.keys < 1000 || b.ns == NULL || mkdtemp(b.path) == NULL || bitcask_open(b.path, &o, &b.db) != BITCASK_OK)
        die("cannot begin");
    memset(b.ns, 1, b.keys * sizeof *b.ns); /* its pages are not to be touched first while the clock runs */
    phase(&b, "insert", true, true);
    phase(&b, "overwrite", true, false);
    phase(&b, "get", false, false);
    phase(&b, "get again", false, false);
    if (bitcask_close(b.db) != BITCASK_OK)
        die("close");
    remove_store(&b);
    free(b.ns);
    return 0;
}
