/* One benchmark: prepares the store, shares the operations out among threads, measures, repeats. */
#include "tools/bench.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MEMORY_KEYS 10000 /* with fewer of them, the memory a key says nothing: every store has some for itself */

static volatile sig_atomic_t interrupted;

/* Threads wait until all are there. */
enum { WAIT, GO, GIVE_UP };

struct member {
    struct bench_thread thread;
    atomic_int *signal;
    pthread_t id;
};

void bench_interrupt(void)
{
    interrupted = 1;
}

bool bench_interrupted(void)
{
    return interrupted != 0;
}

int bench_go_on(const char *phase, uint64_t done, uint64_t total, void *ctx)
{
    (void)phase;
    (void)done;
    (void)total;
    (void)ctx;
    return interrupted;
}

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

double bench_now_s(void)
{
    return (double)now_ns() / 1e9;
}

static void add_time(struct bench_thread *t, uint64_t ns)
{
    bench_histogram_add(t->histogram, ns);
    if (!t->split || (t->workload->flags & BENCH_SINGLE))
        return;
    unsigned kind = t->wrote ? BENCH_SPLIT_PUT : BENCH_SPLIT_GET;
    bench_histogram_add(&t->split[kind + bench_watch_merging(t->watch)], ns);
    t->wrote = false;
}

#define PACE_NS 1000000U /* who is so far ahead of his time sleeps */

/* Until as much time has passed as the operations done so far should take. Returns the time at which it went on. */
static uint64_t keep_pace(const struct bench_thread *t, uint64_t start)
{
    const struct bench_config *config = t->store->config;
    double share = (double)config->rate / (double)t->threads;
    uint64_t due = start + (uint64_t)((double)t->done / share * 1e9), now = now_ns();
    if (due < now + PACE_NS)
        return now;
    const struct timespec until = {(time_t)(due / 1000000000U), (long)(due % 1000000000U)};
    while (!interrupted && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
    return now_ns();
}

static void work(struct bench_thread *t)
{
    uint64_t start = now_ns(), last = start;
    while (t->code == BENCH_OK && t->done < t->count && !t->finished) {
        if (t->store->config->rate != 0)
            last = keep_pace(t, start);
        t->code = interrupted ? bench_say(BENCH_ERROR, "interrupted") : t->workload->step(t);
        if (t->histogram) {
            uint64_t now = now_ns();
            add_time(t, now - last);
            last = now;
        }
        if (t->done >= t->force_at) {
            t->force_at = UINT64_MAX;
            bench_watch_force(t->watch);
        }
    }
    t->seconds = (double)(now_ns() - start) / 1e9;
}

static void *member_main(void *arg)
{
    struct member *member = arg;
    int signal;
    while ((signal = atomic_load(member->signal)) == WAIT)
        sched_yield();
    if (signal == GO)
        work(&member->thread);
    return NULL;
}

/* No two runs draw the same keys in the same order: one would find them in the order in which the other wrote them. */
static uint64_t first_random(const struct bench_store *store, const struct bench_workload *workload, uint64_t index)
{
    uint64_t state = bench_mix(store->config->seed) + store->runs;
    for (const char *c = workload->name; *c; c++)
        state = bench_mix(state + (unsigned char)*c);
    return bench_mix(state + index);
}

static bool member_init(struct member *member, struct bench_store *store, const struct bench_workload *workload, uint64_t index,
                        uint64_t threads)
{
    const struct bench_config *config = store->config;
    uint64_t operations = workload->operations(config);
    uint64_t first = operations / threads * index + (index < operations % threads ? index : operations % threads);
    struct bench_thread *t = &member->thread;
    *t = (struct bench_thread){
        .store = store,
        .workload = workload,
        .first = first,
        .count = operations / threads + (index < operations % threads),
        .threads = threads,
        .random = first_random(store, workload, index),
        .key = malloc(BENCH_KEY_ROOM),
        .value = malloc(store->data.value_size + 1),
        .histogram = config->histogram ? malloc(sizeof *t->histogram) : NULL,
        .split = config->histogram && config->watch ? malloc(BENCH_SPLITS * sizeof *t->split) : NULL,
        .force_at = UINT64_MAX,
    };
    if (!t->key || !t->value || (config->histogram && (!t->histogram || (config->watch && !t->split))))
        return false;
    memset(t->key, 0, BENCH_KEY_ROOM);
    memset(t->value, 0, store->data.value_size + 1);
    /* Their pages must be there before the memory of the store is measured. */
    if (t->histogram)
        memset(t->histogram, 0, sizeof *t->histogram);
    if (t->split)
        memset(t->split, 0, BENCH_SPLITS * sizeof *t->split);
    return true;
}

static void member_free(struct member *member)
{
    bitcask_iter_free(member->thread.iter);
    bitcask_batch_free(member->thread.batch);
    free(member->thread.key);
    free(member->thread.value);
    free(member->thread.histogram);
    free(member->thread.split);
}

/* All threads' into the first one's, then into the result. */
static void sum_up_latency(struct member *members, uint64_t threads, struct bench_result *result)
{
    struct bench_thread *first = &members[0].thread;
    for (uint64_t i = 1; i < threads && first->histogram; i++)
        bench_histogram_merge(first->histogram, members[i].thread.histogram);
    for (uint64_t i = 1; i < threads && first->split; i++)
        for (unsigned k = 0; k < BENCH_SPLITS; k++)
            bench_histogram_merge(&first->split[k], &members[i].thread.split[k]);
    if (first->histogram)
        result->latency = bench_histogram_latency(first->histogram);
    for (unsigned k = 0; k < BENCH_SPLITS && first->split; k++)
        result->split[k] = bench_histogram_latency(&first->split[k]);
}

static int sum_up(struct member *members, uint64_t threads, double seconds, struct bench_result *result)
{
    double sum_s = 0;
    int code = BENCH_OK;
    for (uint64_t i = 0; i < threads; i++) {
        struct bench_thread *t = &members[i].thread;
        code = code != BENCH_OK ? code : t->code;
        result->operations += t->done;
        result->found += t->found;
        result->bytes += t->bytes;
        sum_s += t->seconds;
    }
    double operations = result->operations > 0 ? (double)result->operations : 1;
    result->micros_per_op = sum_s * 1e6 / operations;
    result->mb_per_s = (double)result->bytes / 1048576.0 / seconds;
    result->ops_per_s = (double)result->operations / seconds;
    sum_up_latency(members, threads, result);
    result->compaction = members[0].thread.compaction;
    return code;
}

static int run_team(struct member *members, uint64_t threads, struct bench_result *result)
{
    atomic_int signal = WAIT;
    uint64_t started = 1;
    for (; started < threads; started++) {
        members[started].signal = &signal;
        if (pthread_create(&members[started].id, NULL, member_main, &members[started]) != 0)
            break;
    }
    double start = bench_now_s();
    atomic_store(&signal, started == threads ? GO : GIVE_UP);
    if (started == threads)
        work(&members[0].thread);
    for (uint64_t i = 1; i < started; i++)
        pthread_join(members[i].id, NULL);
    if (started < threads)
        return bench_say(BENCH_ERROR, "cannot start %llu threads", (unsigned long long)threads);
    return sum_up(members, threads, bench_now_s() - start, result);
}

/* Anonymous memory of this process in bytes; 0 if the system does not say. */
static uint64_t anon_bytes(void)
{
    unsigned long long kib = 0;
    char line[256];
    malloc_trim(0);
    FILE *file = fopen("/proc/self/status", "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
            break;
    fclose(file);
    return (uint64_t)kib * 1024;
}

static void add_memory(struct bench_store *store, uint64_t before, struct bench_result *result)
{
    bitcask_stats stats = BITCASK_STATS_INIT;
    uint64_t after = anon_bytes();
    if (bitcask_stats_get(store->db, &stats) != BITCASK_OK || stats.keys < MEMORY_KEYS || after <= before || before == 0)
        return;
    result->keys = stats.keys;
    result->anon_per_key = (double)(after - before) / (double)stats.keys;
    result->keydir_per_key = (double)stats.keydir_bytes / (double)stats.keys;
}

static int prepare(struct bench_store *store, const struct bench_workload *workload, uint64_t *anon)
{
    if (workload->flags & BENCH_CLOSED)
        return bench_store_close(store);
    if (workload->flags & BENCH_FRESH) {
        int code = bench_store_close(store);
        *anon = anon_bytes();
        return code == BENCH_OK ? bench_store_empty(store) : code;
    }
    int code = bench_store_open(store);
    return code == BENCH_OK && (workload->flags & BENCH_LOADED) ? bench_store_load(store) : code;
}

/* The first thread says when the forced merge is due. */
static int run_watched(struct bench_store *store, struct member *members, uint64_t threads, struct bench_result *result)
{
    const struct bench_workload *workload = result->workload;
    uint64_t merge_at = store->config->merge_at;
    if (!store->config->watch || !store->db || (workload->flags & BENCH_CLOSED))
        return run_team(members, threads, result);
    struct bench_watch *watch = bench_watch_new(store);
    if (!watch)
        return BENCH_ERROR;
    for (uint64_t i = 0; i < threads; i++)
        members[i].thread.watch = watch;
    if (merge_at > 0)
        members[0].thread.force_at = members[0].thread.count * merge_at / 100;
    int code = run_team(members, threads, result);
    int ended = bench_watch_end(watch, &result->watched);
    result->is_watched = true;
    return code == BENCH_OK ? ended : code;
}

static int run_once(struct bench_store *store, const struct bench_workload *workload, struct bench_result *result)
{
    uint64_t anon = 0, threads = workload->flags & BENCH_SINGLE ? 1 : store->config->threads;
    store->runs++;
    struct member *members = calloc(threads, sizeof *members);
    bool ready = members != NULL;
    for (uint64_t i = 0; ready && i < threads; i++)
        ready = member_init(&members[i], store, workload, i, threads);
    int code = ready ? prepare(store, workload, &anon) : bench_say(BENCH_ERROR, "out of memory");
    *result = (struct bench_result){.workload = workload};
    if (code == BENCH_OK)
        code = run_watched(store, members, threads, result);
    if (code == BENCH_OK && (workload->flags & BENCH_FRESH))
        add_memory(store, anon, result);
    for (uint64_t i = 0; members && i < threads; i++)
        member_free(&members[i]);
    free(members);
    return code;
}

static int by_micros(const void *a, const void *b)
{
    double x = ((const struct bench_result *)a)->micros_per_op, y = ((const struct bench_result *)b)->micros_per_op;
    return (x > y) - (x < y);
}

int bench_measure(struct bench_store *store, const struct bench_workload *workload, struct bench_result *ret)
{
    uint64_t repeat = store->config->repeat;
    struct bench_result *results = calloc(repeat, sizeof *results);
    int code = results ? BENCH_OK : bench_say(BENCH_ERROR, "out of memory");
    for (uint64_t i = 0; code == BENCH_OK && i < repeat; i++)
        code = run_once(store, workload, &results[i]);
    if (code == BENCH_OK) {
        qsort(results, repeat, sizeof *results, by_micros);
        *ret = results[(repeat - 1) / 2];
        ret->runs = repeat;
    }
    free(results);
    return code;
}
