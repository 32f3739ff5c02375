/* The mixes A, B, C, D and F of YCSB, over keys that are drawn by a zipfian distribution. E scans ranges of sorted keys, which
 * a hash store does not offer. */
#include "tools/bench.h"

/* The popular keys are spread over all of them, as in YCSB: they are no neighbours. */
static uint64_t popular(struct bench_thread *t)
{
    uint64_t rank = bench_zipf_next(&t->store->zipf, &t->random);
    return bench_mix(rank + 1) % t->store->config->num;
}

/* D: the newest keys are the popular ones. */
static uint64_t latest(struct bench_thread *t)
{
    uint64_t inserted = atomic_load_explicit(&t->store->inserted, memory_order_relaxed);
    return inserted - 1 - bench_zipf_next(&t->store->zipf, &t->random);
}

int bench_ycsb_step(struct bench_thread *t)
{
    const struct bench_workload *mix = t->workload;
    uint64_t draw = bench_below(&t->random, 100);
    t->done++;
    if (draw < mix->reads)
        return bench_get(t, mix->inserts > 0 ? latest(t) : popular(t));
    draw -= mix->reads;
    if (draw < mix->updates)
        return bench_put(t, popular(t), 0);
    draw -= mix->updates;
    if (draw < mix->inserts)
        return bench_put(t, atomic_fetch_add_explicit(&t->store->inserted, 1, memory_order_relaxed), 0);
    uint64_t number = popular(t);
    int code = bench_get(t, number);
    return code == BENCH_OK ? bench_put(t, number, 0) : code;
}
