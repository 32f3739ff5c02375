/* The benchmarks of db_bench: one step of each, checked. */
#include "tools/bench.h"

#include <stdlib.h>
#include <string.h>
#ifdef BC_HAVE_LIBDEFLATE
#include <libdeflate.h>
#else
#include <zlib.h>
#endif

#define CRC_BLOCK ((size_t)4096)
#define CRC_BLOCKS ((uint64_t)131072)
#define FILL_BATCH 1000
#define HOT_SHARE 100 /* one key of so many is hot */

int bench_failed(const struct bench_thread *t)
{
    return bench_say(BENCH_ERROR, "%s: %s", t->workload->name, bitcask_last_error()->message);
}

int bench_wrong(const struct bench_thread *t, const char *what, uint64_t number)
{
    return bench_say(BENCH_WRONG, "%s: key %llu: %s", t->workload->name, (unsigned long long)number, what);
}

bool bench_is_present(const struct bench_thread *t, uint64_t number)
{
    return number < t->store->capacity && atomic_load_explicit(&t->store->present[number], memory_order_relaxed);
}

static void set_present(struct bench_thread *t, uint64_t number, bool present)
{
    atomic_store_explicit(&t->store->present[number], present, memory_order_relaxed);
}

uint64_t bench_key_bytes(const struct bench_thread *t)
{
    return t->store->data.key_size + t->store->data.value_size;
}

int bench_put(struct bench_thread *t, uint64_t number, uint32_t flags)
{
    struct bench_store *store = t->store;
    bitcask_put_options options = BITCASK_PUT_OPTIONS_INIT;
    options.flags = flags;
    bench_key(&store->data, number, t->key);
    bench_value(&store->data, number, t->value);
    int result = bitcask_put(store->db, t->key, store->data.key_size, t->value, store->data.value_size, &options, NULL);
    if (result != BITCASK_OK)
        return bench_failed(t);
    set_present(t, number, true);
    t->bytes += bench_key_bytes(t);
    t->wrote = true;
    return BENCH_OK;
}

/* A key that was there before the call must be found. One that was not may have come meanwhile, where others insert. */
int bench_get(struct bench_thread *t, uint64_t number)
{
    struct bench_store *store = t->store;
    bool expected = bench_is_present(t, number);
    size_t size;
    bench_key(&store->data, number, t->key);
    int result = bitcask_read(store->db, t->key, store->data.key_size, t->value, store->data.value_size, &size);
    if (result == BITCASK_NOT_FOUND)
        return expected ? bench_wrong(t, "was stored and is not found", number) : BENCH_OK;
    if (result == BITCASK_SHORT_BUFFER)
        return bench_wrong(t, "a value of another length; was it stored with another --value_size?", number);
    if (result != BITCASK_OK)
        return bench_failed(t);
    if (!bench_value_is(&store->data, number, t->value, size))
        return bench_wrong(t, "a wrong value; was it stored with another --seed?", number);
    if (!expected && t->workload->inserts == 0)
        return bench_wrong(t, "is found and should not be there", number);
    t->found++;
    t->bytes += bench_key_bytes(t);
    return BENCH_OK;
}

static int put_step(struct bench_thread *t, uint64_t number, uint32_t flags)
{
    t->done++;
    return bench_put(t, number, flags);
}

static int fillseq(struct bench_thread *t)
{
    return put_step(t, t->first + t->done, 0);
}

static int fillrandom(struct bench_thread *t)
{
    return put_step(t, bench_below(&t->random, t->store->config->num), 0);
}

static int fillsync(struct bench_thread *t)
{
    return put_step(t, bench_below(&t->random, t->store->config->num), BITCASK_PUT_SYNC);
}

uint64_t bench_batch_of(const struct bench_thread *t, uint64_t usual)
{
    uint64_t size = t->store->config->batch_size ? t->store->config->batch_size : usual;
    uint64_t left = t->count - t->done;
    return size < left ? size : left;
}

static int fillbatch(struct bench_thread *t)
{
    struct bench_store *store = t->store;
    uint64_t first = t->first + t->done, count = bench_batch_of(t, FILL_BATCH);
    if (!t->batch && bitcask_batch_new(&t->batch) != BITCASK_OK)
        return bench_failed(t);
    bitcask_batch_clear(t->batch);
    for (uint64_t i = 0; i < count; i++) {
        bench_key(&store->data, first + i, t->key);
        bench_value(&store->data, first + i, t->value);
        if (bitcask_batch_put(t->batch, t->key, store->data.key_size, t->value, store->data.value_size, 0) != BITCASK_OK)
            return bench_failed(t);
    }
    if (bitcask_write(store->db, t->batch, 0) != BITCASK_OK)
        return bench_failed(t);
    for (uint64_t i = 0; i < count; i++)
        set_present(t, first + i, true);
    t->done += count;
    t->bytes += count * bench_key_bytes(t);
    t->wrote = true;
    return BENCH_OK;
}

static int get_step(struct bench_thread *t, uint64_t number)
{
    t->done++;
    return bench_get(t, number);
}

static int readrandom(struct bench_thread *t)
{
    return get_step(t, bench_below(&t->random, t->store->config->num));
}

static int readmissing(struct bench_thread *t)
{
    return get_step(t, t->store->capacity + bench_below(&t->random, t->store->config->num));
}

static int readhot(struct bench_thread *t)
{
    return get_step(t, bench_below(&t->random, (t->store->config->num + HOT_SHARE - 1) / HOT_SHARE));
}

int bench_delete(struct bench_thread *t, uint64_t number, bool alone)
{
    struct bench_store *store = t->store;
    bench_key(&store->data, number, t->key);
    bool expected = bench_is_present(t, number);
    set_present(t, number, false);
    int result = bitcask_delete(store->db, t->key, store->data.key_size, NULL, NULL);
    if (result != BITCASK_OK && result != BITCASK_NOT_FOUND)
        return bench_failed(t);
    if (alone && expected != (result == BITCASK_OK))
        return bench_wrong(t, expected ? "was stored and is not found" : "is found and should not be there", number);
    t->found += result == BITCASK_OK;
    t->bytes += store->data.key_size;
    t->wrote = true;
    return BENCH_OK;
}

static int deleterandom(struct bench_thread *t)
{
    const struct bench_config *config = t->store->config;
    t->done++;
    return bench_delete(t, bench_below(&t->random, config->num), config->threads == 1);
}

static int open_store(struct bench_thread *t)
{
    t->done++;
    return bench_store_open(t->store);
}

/* What the library computes for each record. */
static int crc32_block(struct bench_thread *t)
{
    const unsigned char *block = t->store->data.pool;
#ifdef BC_HAVE_LIBDEFLATE
    uint32_t crc = libdeflate_crc32(0, block, CRC_BLOCK);
#else
    uint32_t crc = (uint32_t)crc32(0, block, (unsigned)CRC_BLOCK);
#endif
    if (t->done == 0)
        t->random = crc;
    t->done++;
    t->bytes += CRC_BLOCK;
    return t->random == crc ? BENCH_OK : bench_say(BENCH_WRONG, "crc32: two values for the same bytes");
}

static uint64_t by_num(const struct bench_config *config)
{
    return config->num;
}

static uint64_t by_reads(const struct bench_config *config)
{
    return config->reads;
}

static uint64_t by_num_of_syncs(const struct bench_config *config)
{
    return config->num >= 1000 ? config->num / 1000 : 1;
}

static uint64_t once(const struct bench_config *config)
{
    (void)config;
    return 1;
}

static uint64_t by_crc_blocks(const struct bench_config *config)
{
    (void)config;
    return CRC_BLOCKS;
}

static const struct bench_workload workloads[] = {
    {.name = "fillseq", .flags = BENCH_FRESH, .operations = by_num, .step = fillseq},
    {.name = "fillrandom", .flags = BENCH_FRESH, .operations = by_num, .step = fillrandom},
    {.name = "overwrite", .operations = by_num, .step = fillrandom},
    {.name = "fillsync", .flags = BENCH_FRESH, .operations = by_num_of_syncs, .step = fillsync},
    {.name = "fillbatch", .flags = BENCH_FRESH, .operations = by_num, .step = fillbatch},
    {.name = "readseq", .operations = by_reads, .step = bench_readseq_step},
    {.name = "readrandom", .flags = BENCH_LOOKUP, .operations = by_reads, .step = readrandom},
    {.name = "readmissing", .flags = BENCH_LOOKUP, .operations = by_reads, .step = readmissing},
    {.name = "readhot", .flags = BENCH_LOOKUP, .operations = by_reads, .step = readhot},
    {.name = "readmany", .flags = BENCH_LOOKUP, .operations = by_reads, .step = bench_readmany_step},
    {.name = "deleterandom", .flags = BENCH_LOADED | BENCH_LOOKUP, .operations = by_num, .step = deleterandom},
    {.name = "open", .flags = BENCH_CLOSED | BENCH_SINGLE, .operations = once, .step = open_store},
    {.name = "ycsba", .flags = BENCH_LOADED, .operations = by_reads, .step = bench_ycsb_step, .reads = 50, .updates = 50},
    {.name = "ycsbb", .flags = BENCH_LOADED, .operations = by_reads, .step = bench_ycsb_step, .reads = 95, .updates = 5},
    {.name = "ycsbc", .flags = BENCH_LOADED, .operations = by_reads, .step = bench_ycsb_step, .reads = 100},
    {.name = "ycsbd", .flags = BENCH_LOADED, .operations = by_reads, .step = bench_ycsb_step, .reads = 95, .inserts = 5},
    {.name = "ycsbf", .flags = BENCH_LOADED, .operations = by_reads, .step = bench_ycsb_step, .reads = 50},
    {.name = "churn", .flags = BENCH_FRESH, .operations = bench_churn_operations, .step = bench_churn_step},
    {.name = "compact", .flags = BENCH_SINGLE | BENCH_COMPACT, .operations = once, .step = bench_compact_step},
    {.name = "crc32", .operations = by_crc_blocks, .step = crc32_block},
};

const struct bench_workload *bench_workload_find(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++)
        if (strlen(workloads[i].name) == size && memcmp(workloads[i].name, name, size) == 0)
            return &workloads[i];
    return NULL;
}
