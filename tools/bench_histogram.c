/* Latencies: 32 buckets for each power of two, so that a percentile is at most 3 % off. */
#include "tools/bench.h"

#define STEPS_BITS 5U
#define STEPS (1U << STEPS_BITS)

static unsigned bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (unsigned)ns;
    unsigned exponent = 63U - (unsigned)__builtin_clzll(ns);
    return (exponent - STEPS_BITS + 1) * STEPS + (unsigned)((ns >> (exponent - STEPS_BITS)) & (STEPS - 1));
}

/* The greatest number in the bucket. */
static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < STEPS)
        return bucket;
    unsigned shift = bucket / STEPS - 1;
    return ((((uint64_t)STEPS + bucket % STEPS) + 1) << shift) - 1;
}

void bench_histogram_add(struct bench_histogram *histogram, uint64_t ns)
{
    histogram->buckets[bucket_of(ns)]++;
    histogram->count++;
    if (ns > histogram->max)
        histogram->max = ns;
}

void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from)
{
    for (unsigned i = 0; i < BENCH_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    if (from->max > into->max)
        into->max = from->max;
}

struct bench_latency bench_histogram_latency(const struct bench_histogram *histogram)
{
    static const double shares[BENCH_SHARES - 1] = {0.5, 0.99, 0.999, 0.9999};
    struct bench_latency latency = {.count = histogram->count};
    for (size_t i = 0; i < BENCH_SHARES - 1; i++)
        latency.ns[i] = bench_histogram_at(histogram, shares[i]);
    latency.ns[BENCH_SHARES - 1] = histogram->max;
    return latency;
}

uint64_t bench_histogram_at(const struct bench_histogram *histogram, double share)
{
    double wanted = share * (double)histogram->count;
    uint64_t seen = 0;
    for (unsigned i = 0; i < BENCH_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t end = bucket_end(i);
            return end < histogram->max ? end : histogram->max;
        }
    }
    return histogram->max;
}
