/* Watches a store while a benchmark runs: a thread looks whether a merge is running, and takes samples of space. Another one
 * runs the merge that is forced. */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/bench.h"

#define LOOK_NS 1000000L
#define SAMPLE_S 0.05
#define SETTLED (UINT64_C(1) << 20) /* write amplification means nothing before so many bytes were written */

struct sum {
    double worst, total, end;
    uint64_t count;
};

struct bench_watch {
    struct bench_store *store;
    pthread_t looker, merger;
    bool has_merger;
    sem_t wanted; /* the forced merge, or that there will be none */
    atomic_bool merging, forced, stop;
    int merge_result;
    bitcask_merge_result merged;
    /* The looker's own. */
    bitcask_stats before;
    double start, interval, next;
    struct sum disk, used;
    double write_worst;
    struct bench_sample samples[BENCH_SAMPLES_MAX];
    size_t count;
    int code;
};

bool bench_watch_merging(const struct bench_watch *watch)
{
    return atomic_load_explicit(&watch->merging, memory_order_relaxed);
}

static void add(struct sum *sum, uint64_t bytes, uint64_t live)
{
    if (live == 0)
        return;
    sum->end = (double)bytes / (double)live;
    sum->worst = sum->end > sum->worst ? sum->end : sum->worst;
    sum->total += sum->end;
    sum->count++;
}

static double write_amplification(const struct bench_sample *s)
{
    return s->log_bytes < SETTLED ? 0 : (double)(s->log_bytes + s->merge_bytes_out) / (double)s->log_bytes;
}

/* With every second one gone there is room, and the next ones are twice as far from each other. */
static void make_room(struct bench_watch *w)
{
    if (w->count < BENCH_SAMPLES_MAX - 1)
        return;
    w->count = (w->count + 1) / 2;
    for (size_t i = 1; i < w->count; i++)
        w->samples[i] = w->samples[2 * i];
    w->interval *= 2;
}

static void take_sample(struct bench_watch *w, const bitcask_stats *stats, double now, bool keep)
{
    struct bench_sample s = {.seconds = now - w->start,
                             .disk_bytes = stats->disk_bytes,
                             .live_bytes = stats->live_bytes,
                             .used_bytes = bench_store_disk_usage(w->store),
                             .log_bytes = stats->log_bytes - w->before.log_bytes,
                             .merge_bytes_out = stats->merge_bytes_out - w->before.merge_bytes_out};
    add(&w->disk, s.disk_bytes, s.live_bytes);
    add(&w->used, s.used_bytes, s.live_bytes);
    if (write_amplification(&s) > w->write_worst)
        w->write_worst = write_amplification(&s);
    if (!keep)
        return;
    make_room(w);
    w->samples[w->count++] = s;
}

static void *look(void *arg)
{
    struct bench_watch *w = arg;
    double sampled = w->start;
    while (!atomic_load(&w->stop)) {
        bitcask_stats stats = BITCASK_STATS_INIT;
        if (bitcask_stats_get(w->store->db, &stats) != BITCASK_OK) {
            w->code = bench_say(BENCH_ERROR, "stats: %s", bitcask_last_error()->message);
            break;
        }
        atomic_store_explicit(&w->merging, stats.merge_total != 0, memory_order_relaxed);
        double now = bench_now_s();
        if (now - sampled >= SAMPLE_S) {
            bool keep = now >= w->next;
            take_sample(w, &stats, now, keep);
            sampled = now;
            if (keep)
                w->next = now + w->interval;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
    return NULL;
}

/* ---- the forced merge ---- */

static void *merge(void *arg)
{
    struct bench_watch *w = arg;
    bitcask_merge_options options = BITCASK_MERGE_OPTIONS_INIT;
    options.progress = bench_go_on;
    while (sem_wait(&w->wanted) != 0) {
    }
    if (!atomic_load(&w->forced))
        return NULL;
    w->merge_result = bitcask_merge(w->store->db, &options, &w->merged);
    if (w->merge_result != BITCASK_OK)
        bench_say(BENCH_ERROR, "merge: %s", bitcask_last_error()->message);
    return NULL;
}

void bench_watch_force(struct bench_watch *watch)
{
    atomic_store(&watch->forced, true);
    sem_post(&watch->wanted);
}

/* ---- start and end ---- */

struct bench_watch *bench_watch_new(struct bench_store *store)
{
    struct bench_watch *w = calloc(1, sizeof *w);
    if (!w) {
        bench_say(BENCH_ERROR, "out of memory");
        return NULL;
    }
    w->store = store;
    w->before = (bitcask_stats)BITCASK_STATS_INIT;
    w->merged = (bitcask_merge_result)BITCASK_MERGE_RESULT_INIT;
    w->interval = SAMPLE_S;
    w->start = bench_now_s();
    w->next = w->start + w->interval;
    sem_init(&w->wanted, 0, 0);
    if (bitcask_stats_get(store->db, &w->before) != BITCASK_OK) {
        bench_say(BENCH_ERROR, "stats: %s", bitcask_last_error()->message);
        free(w);
        return NULL;
    }
    take_sample(w, &w->before, w->start, true);
    w->has_merger = store->config->merge_at > 0 && pthread_create(&w->merger, NULL, merge, w) == 0;
    if ((store->config->merge_at > 0 && !w->has_merger) || pthread_create(&w->looker, NULL, look, w) != 0) {
        bench_say(BENCH_ERROR, "cannot start a thread");
        if (w->has_merger) {
            sem_post(&w->wanted);
            pthread_join(w->merger, NULL);
        }
        free(w);
        return NULL;
    }
    return w;
}

static struct bench_amplification amplification_of(const struct sum *sum)
{
    return (struct bench_amplification){
        .worst = sum->worst, .mean = sum->count ? sum->total / (double)sum->count : 0, .end = sum->end};
}

static int sum_up(struct bench_watch *w, struct bench_watched *ret)
{
    bitcask_stats stats = BITCASK_STATS_INIT;
    if (w->code != BENCH_OK)
        return w->code;
    if (bitcask_stats_get(w->store->db, &stats) != BITCASK_OK)
        return bench_say(BENCH_ERROR, "stats: %s", bitcask_last_error()->message);
    take_sample(w, &stats, bench_now_s(), true);
    *ret = (struct bench_watched){.disk = amplification_of(&w->disk),
                                  .used = amplification_of(&w->used),
                                  .write = write_amplification(&w->samples[w->count - 1]),
                                  .write_worst = w->write_worst,
                                  .log_bytes = stats.log_bytes - w->before.log_bytes,
                                  .merges = stats.merges - w->before.merges,
                                  .merge_bytes_in = stats.merge_bytes_in - w->before.merge_bytes_in,
                                  .merge_bytes_out = stats.merge_bytes_out - w->before.merge_bytes_out,
                                  .sample_count = w->count,
                                  .forced = atomic_load(&w->forced),
                                  .forced_result = w->merged};
    memcpy(ret->samples, w->samples, w->count * sizeof *w->samples);
    return w->merge_result == BITCASK_OK ? BENCH_OK : BENCH_ERROR;
}

int bench_watch_end(struct bench_watch *watch, struct bench_watched *ret)
{
    if (watch->has_merger) {
        sem_post(&watch->wanted);
        pthread_join(watch->merger, NULL);
    }
    atomic_store(&watch->stop, true);
    pthread_join(watch->looker, NULL);
    int code = sum_up(watch, ret);
    sem_destroy(&watch->wanted);
    free(watch);
    return code;
}
