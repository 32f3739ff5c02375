/* bench_keydir.c - the KeyDir alone: time per operation, bytes per key, the worst publication.
 *
 *     bench_keydir [KEYS [SHARDS]]      default 1000000 1024
 *
 * Keys are 16 random bytes, hashed in every operation. Publications run as in a put (reserve, lock, seek, publish, unlock)
 * beside a thread that does the upkeep. Memory is the growth of the process's anonymous pages (RssAnon).
 */
#include "bitcask/io_posix.h"
#include "bitcask/keydir.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_SIZE 16
#define OPERATIONS 3000000
#define AHEAD 16 /* keys hashed and prefetched before they are used */
#define CURVE_POINTS 40

struct bench {
    struct bc_pins *pins;
    struct bc_keydir *keydir;
    uint64_t base_rss;
    uint64_t random;
    pthread_t upkeep;
    pthread_mutex_t mutex;
    pthread_cond_t asked;
    bool work, stop;
};

static void die(const char *what)
{
    fprintf(stderr, "bench_keydir: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static uint64_t rss_anon(void)
{
    char line[128];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    if (f == NULL)
        die("/proc/self/status");
    while (fgets(line, sizeof line, f) != NULL && sscanf(line, "RssAnon: %lu", &kib) != 1)
        ;
    fclose(f);
    return (uint64_t)kib * 1024;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdU;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53U;
    return x ^ x >> 33;
}

static void key_of(uint64_t n, unsigned char key[KEY_SIZE])
{
    uint64_t words[2] = {mix(n + 1), mix(n ^ 0x9e3779b97f4a7c15U)};
    memcpy(key, words, sizeof words);
}

static uint64_t next_random(struct bench *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

/* ---- upkeep ---- */

static void wake(void *arg)
{
    struct bench *b = arg;
    pthread_mutex_lock(&b->mutex);
    b->work = true;
    pthread_cond_signal(&b->asked);
    pthread_mutex_unlock(&b->mutex);
}

static void *upkeep_main(void *arg)
{
    struct bench *b = arg;
    pthread_mutex_lock(&b->mutex);
    while (!b->stop) {
        if (!b->work)
            pthread_cond_wait(&b->asked, &b->mutex);
        b->work = false;
        pthread_mutex_unlock(&b->mutex);
        while (bc_keydir_upkeep(b->keydir))
            ;
        pthread_mutex_lock(&b->mutex);
    }
    pthread_mutex_unlock(&b->mutex);
    return NULL;
}

static void begin(struct bench *b, uint32_t shards, bool upkeep)
{
    struct bc_hash_secret secret = {1, 2};
    memset(b, 0, sizeof *b);
    b->random = 88172645463325252U;
    b->base_rss = rss_anon();
    b->pins = bc_pins_new(&bc_allocator_default, &bc_io_posix);
    if (b->pins == NULL)
        die("no memory");
    b->keydir = bc_keydir_new(&bc_allocator_default, &bc_io_posix, b->pins, shards, &secret);
    if (b->keydir == NULL)
        die("no memory");
    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->asked, NULL);
    b->stop = !upkeep;
    if (upkeep) {
        bc_keydir_set_wake(b->keydir, wake, b);
        if (pthread_create(&b->upkeep, NULL, upkeep_main, b) != 0)
            die("no thread");
    }
}

static void end(struct bench *b)
{
    if (!b->stop) {
        pthread_mutex_lock(&b->mutex);
        b->stop = true;
        pthread_cond_signal(&b->asked);
        pthread_mutex_unlock(&b->mutex);
        pthread_join(b->upkeep, NULL);
    }
    bc_keydir_free(b->keydir);
    bc_pins_free(b->pins);
    pthread_cond_destroy(&b->asked);
    pthread_mutex_destroy(&b->mutex);
}

/* ---- operations ---- */

static void put(struct bench *b, uint64_t n, uint64_t at)
{
    unsigned char key[KEY_SIZE];
    struct bc_cursor cursor;
    struct bc_entry entry = {.offset = (at + 1) * 8 % (UINT64_C(1) << 34), .footprint = 144, .file = (uint32_t)(at >> 31)};
    key_of(n, key);
    uint64_t hash = bc_keydir_hash(b->keydir, key, sizeof key);
    bc_keydir_prefetch(b->keydir, hash);
    if (bc_keydir_reserve(b->keydir, hash, 1, sizeof key) != BITCASK_OK)
        die("no memory");
    uint32_t shard = bc_keydir_shard(b->keydir, hash);
    bc_keydir_lock(b->keydir, shard);
    bc_keydir_seek(b->keydir, hash, key, sizeof key, &cursor);
    bc_keydir_publish(b->keydir, &cursor, key, sizeof key, &entry, 0);
    bc_keydir_unlock(b->keydir, shard);
}

static unsigned get(struct bench *b, uint64_t n)
{
    unsigned char key[KEY_SIZE];
    struct bc_entry entries[BC_KEYDIR_CANDIDATES];
    key_of(n, key);
    unsigned token = bc_pins_enter(b->pins);
    unsigned count = bc_keydir_lookup(b->keydir, bc_keydir_hash(b->keydir, key, sizeof key), entries);
    bc_pins_leave(b->pins, token);
    return count;
}

static unsigned get_many(struct bench *b, uint64_t keys)
{
    uint64_t hashes[AHEAD * 2];
    struct bc_entry entries[BC_KEYDIR_CANDIDATES];
    unsigned found = 0, token = bc_pins_enter(b->pins);
    for (unsigned i = 0; i < AHEAD * 2; i++) {
        unsigned char key[KEY_SIZE];
        key_of(next_random(b) % keys, key);
        hashes[i] = bc_keydir_hash(b->keydir, key, sizeof key);
        bc_keydir_prefetch(b->keydir, hashes[i]);
    }
    for (unsigned i = 0; i < AHEAD * 2; i++)
        found += bc_keydir_lookup(b->keydir, hashes[i], entries) > 0;
    bc_pins_leave(b->pins, token);
    return found;
}

static void report(const char *what, uint64_t start, uint64_t count)
{
    printf("%-34s %8.1f ns\n", what, (double)(now_ns() - start) / (double)count);
    fflush(stdout);
}

static void time_operations(struct bench *b, uint64_t keys)
{
    uint64_t start = now_ns(), found = 0;
    for (uint64_t i = 0; i < OPERATIONS; i++)
        found += get(b, next_random(b) % keys) > 0;
    report("lookup, hit", start, OPERATIONS);
    if (found != OPERATIONS)
        die("a key is missing");
    start = now_ns();
    for (uint64_t i = 0; i < OPERATIONS; i++)
        found -= get(b, keys + next_random(b) % keys) == 0;
    report("lookup, miss", start, OPERATIONS);
    printf("%-34s %8llu\n", "false tags of 3 M misses", (unsigned long long)found);
    start = now_ns();
    for (uint64_t i = found = 0; i < OPERATIONS / (AHEAD * 2); i++)
        found += get_many(b, keys);
    report("lookup, 32 prefetched", start, found);
    start = now_ns();
    for (uint64_t i = 0; i < OPERATIONS; i++)
        put(b, next_random(b) % keys, i);
    report("overwrite", start, OPERATIONS);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void latency(uint64_t keys, uint32_t shards, bool upkeep)
{
    struct bench b;
    uint64_t *times = malloc(keys * sizeof *times);
    if (times == NULL)
        die("no memory");
    begin(&b, shards, upkeep);
    memset(times, 1, keys * sizeof *times);
    for (uint64_t i = 0; i < keys; i++) {
        uint64_t start = now_ns();
        put(&b, i, i);
        times[i] = now_ns() - start;
    }
    qsort(times, keys, sizeof *times, compare_u64);
    printf("publish, %-16s us: p50 %.2f p99 %.2f p99.9 %.2f p99.99 %.1f worst %.1f\n",
           upkeep ? "with upkeep" : "without upkeep", (double)times[keys / 2] / 1e3, (double)times[keys - keys / 100 - 1] / 1e3,
           (double)times[keys - keys / 1000 - 1] / 1e3, (double)times[keys - keys / 10000 - 1] / 1e3,
           (double)times[keys - 1] / 1e3);
    end(&b);
    free(times);
}

static void fill_and_time(uint64_t keys, uint32_t shards)
{
    struct bench b;
    double worst = 0;
    uint64_t worst_at = 0, spent = 0;
    begin(&b, shards, true);
    printf("%12s %10s %10s\n", "keys", "B/key rss", "B/key own");
    for (uint64_t point = 1, i = 0; point <= CURVE_POINTS; point++) {
        uint64_t start = now_ns(), until = keys / CURVE_POINTS * point;
        for (; i < until; i++)
            put(&b, i, i);
        spent += now_ns() - start;
        double rss = (double)(rss_anon() - b.base_rss) / (double)i;
        printf("%12llu %10.2f %10.2f\n", (unsigned long long)i, rss, (double)bc_keydir_bytes(b.keydir) / (double)i);
        if (i >= 1000000 && rss > worst) {
            worst = rss;
            worst_at = i;
        }
    }
    keys = keys / CURVE_POINTS * CURVE_POINTS;
    printf("worst from 1 M keys on: %.2f B/key at %llu\n", worst, (unsigned long long)worst_at);
    printf("%-34s %8.1f ns\n", "publish, new", (double)spent / (double)keys);
    time_operations(&b, keys);
    end(&b);
}

static void time_load(uint64_t keys, uint32_t shards)
{
    struct bench b;
    unsigned char key[AHEAD][KEY_SIZE];
    uint64_t hash[AHEAD];
    begin(&b, shards, false);
    uint64_t start = now_ns();
    if (bc_keydir_load_begin(b.keydir) != BITCASK_OK)
        die("no memory");
    for (uint64_t i = 0; i < keys + AHEAD; i++) {
        unsigned slot = (unsigned)(i % AHEAD);
        struct bc_entry entry = {.offset = i * 8 + 8, .footprint = 144};
        if (i >= AHEAD && bc_keydir_load(b.keydir, hash[slot], key[slot], KEY_SIZE, i, &entry, 0) != BITCASK_OK)
            die("no memory");
        key_of(i, key[slot]);
        hash[slot] = bc_keydir_hash(b.keydir, key[slot], KEY_SIZE);
        bc_keydir_prefetch(b.keydir, hash[slot]);
    }
    report("load, prefetched", start, keys);
    start = now_ns();
    bc_keydir_load_end(b.keydir);
    report("load_end, a key", start, keys);
    printf("after the load: %.2f B/key\n", (double)(rss_anon() - b.base_rss) / (double)keys);
    end(&b);
}

int main(int argc, char **argv)
{
    uint64_t keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    uint32_t shards = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1024;
    if (keys < CURVE_POINTS || keys > UINT64_C(1) << 31 || shards < 64 || shards > 65536 || (shards & (shards - 1)) != 0)
        die("usage: bench_keydir [KEYS [SHARDS]]");
    printf("keys %llu, shards %u\n", (unsigned long long)keys, shards);
    fill_and_time(keys, shards);
    time_load(keys, shards);
    latency(keys, shards, true);
    latency(keys, shards, false);
    return 0;
}
