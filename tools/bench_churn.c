/* The benchmarks churn and compact: what makes dead records, and what takes them away. */
#include "tools/bench.h"

/* Of churn: of so many operations so many are the first put of a key, overwrites, deletes. */
#define CHURN_OPERATIONS 33
#define CHURN_KEYS 5
#define CHURN_OVERWRITES 20
#define CHURN_DELETES 8

uint64_t bench_churn_operations(const struct bench_config *config)
{
    return (config->num * CHURN_OPERATIONS + CHURN_KEYS - 1) / CHURN_KEYS;
}

/* Each thread has keys of its own: it stores them all, then overwrites and deletes at random. */
int bench_churn_step(struct bench_thread *t)
{
    uint64_t first = t->first * CHURN_KEYS / CHURN_OPERATIONS;
    uint64_t keys = (t->first + t->count) * CHURN_KEYS / CHURN_OPERATIONS - first;
    if (keys == 0) {
        t->finished = true;
        return BENCH_OK;
    }
    uint64_t turn = t->done++;
    if (turn < keys)
        return bench_put(t, first + turn, 0);
    uint64_t draw = bench_below(&t->random, CHURN_OVERWRITES + CHURN_DELETES);
    uint64_t number = first + bench_below(&t->random, keys);
    return draw < CHURN_DELETES ? bench_delete(t, number, true) : bench_put(t, number, 0);
}

static int note_sizes(struct bench_thread *t, unsigned when)
{
    bitcask_stats stats = BITCASK_STATS_INIT;
    if (bitcask_stats_get(t->store->db, &stats) != BITCASK_OK)
        return bench_failed(t);
    t->compaction.disk_bytes[when] = stats.disk_bytes;
    t->compaction.files[when] = stats.data_files;
    t->compaction.used_bytes[when] = bench_store_disk_usage(t->store);
    return BENCH_OK;
}

int bench_compact_step(struct bench_thread *t)
{
    bitcask_merge_options options = BITCASK_MERGE_OPTIONS_INIT;
    bitcask_merge_result result = BITCASK_MERGE_RESULT_INIT;
    options.progress = bench_go_on;
    int code = note_sizes(t, 0);
    if (code != BENCH_OK)
        return code;
    if (bitcask_merge(t->store->db, &options, &result) != BITCASK_OK)
        return bench_failed(t);
    t->done++;
    t->bytes += result.bytes_in;
    return note_sizes(t, 1);
}
