/* The benchmarks that read many keys at a time: an iterator, get_many. */
#include "tools/bench.h"

#define READ_BATCH 32
#define BATCH_MAX 256

int bench_readseq_step(struct bench_thread *t)
{
    if (!t->iter && bitcask_iter_new(t->store->db, NULL, &t->iter) != BITCASK_OK)
        return bench_failed(t);
    int result = bitcask_iter_next(t->iter);
    if (result == BITCASK_NOT_FOUND) {
        t->finished = true;
        return BENCH_OK;
    }
    bitcask_slice value;
    if (result != BITCASK_OK || bitcask_iter_value(t->iter, &value) != BITCASK_OK)
        return bench_failed(t);
    bitcask_slice key = bitcask_iter_key(t->iter);
    uint64_t number;
    if (!bench_key_number(&t->store->data, key.data, key.size, &number) || !bench_is_present(t, number))
        return bench_say(BENCH_WRONG, "readseq: a key that was never stored");
    if (!bench_value_is(&t->store->data, number, value.data, value.size))
        return bench_wrong(t, "a wrong value", number);
    t->done++;
    t->found++;
    t->bytes += bench_key_bytes(t);
    return BENCH_OK;
}

static int check_view(const struct bench_thread *t, uint64_t number, const bitcask_view *view, int result)
{
    bool found = result == BITCASK_OK;
    if (!found && result != BITCASK_NOT_FOUND)
        return bench_say(BENCH_ERROR, "readmany: key %llu: %s", (unsigned long long)number, bitcask_strerror(result));
    if (found != bench_is_present(t, number))
        return bench_wrong(t, found ? "is found and should not be there" : "was stored and is not found", number);
    if (found && !bench_value_is(&t->store->data, number, view->data, view->size))
        return bench_wrong(t, "a wrong value", number);
    return BENCH_OK;
}

/* Every view of the batch is released, whatever one of them shows. */
static int check_views(struct bench_thread *t, const uint64_t *numbers, bitcask_view *views, const int *results, uint64_t count)
{
    int code = BENCH_OK;
    for (uint64_t i = 0; i < count; i++) {
        bool found = results[i] == BITCASK_OK;
        if (code == BENCH_OK)
            code = check_view(t, numbers[i], &views[i], results[i]);
        t->found += found;
        bitcask_view_release(&views[i]);
    }
    return code;
}

int bench_readmany_step(struct bench_thread *t)
{
    struct bench_store *store = t->store;
    uint64_t numbers[BATCH_MAX], found = t->found, count = bench_batch_of(t, READ_BATCH);
    bitcask_slice keys[BATCH_MAX];
    bitcask_view views[BATCH_MAX];
    int results[BATCH_MAX];
    if (count > BATCH_MAX)
        count = BATCH_MAX;
    if (count > BENCH_KEY_ROOM / store->data.key_size)
        count = BENCH_KEY_ROOM / store->data.key_size;
    for (uint64_t i = 0; i < count; i++) {
        char *key = t->key + i * store->data.key_size;
        numbers[i] = bench_below(&t->random, store->config->num);
        bench_key(&store->data, numbers[i], key);
        keys[i] = (bitcask_slice){key, store->data.key_size};
    }
    if (bitcask_get_many(store->db, keys, count, views, results) != BITCASK_OK)
        return bench_failed(t);
    t->done += count;
    int code = check_views(t, numbers, views, results, count);
    t->bytes += (t->found - found) * bench_key_bytes(t);
    return code;
}
