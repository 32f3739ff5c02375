/* bench.h - what the parts of bitcask-bench share: settings, keys and values, workloads, results.
 *
 * A run is one benchmark, measured once: its operations are shared out among threads, each with a struct bench_thread of its
 * own.
 */
#ifndef TOOLS_BENCH_H
#define TOOLS_BENCH_H

#include <bitcask/bitcask.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BENCH_OK = 0,
    BENCH_WRONG = 1, /* a wrong value, a lost key, a key that should not be there */
    BENCH_USAGE = 2,
    BENCH_ERROR = 3,
};

#define BENCH_SELECTED_MAX 64
#define BENCH_KEY_ROOM ((size_t)128 << 10) /* of a thread: the longest key, or those of one get_many */

struct bench_workload;

struct bench_config {
    uint64_t num, reads, key_size, value_size, threads, batch_size, repeat, seed;
    uint64_t rate;     /* operations a second, of all threads together; 0: as many as there can be */
    uint64_t merge_at; /* percent of the operations; 0: none is forced */
    const char *dir;   /* NULL: a temporary one */
    bool histogram, json, watch;
    bitcask_options options;
    const struct bench_workload *selected[BENCH_SELECTED_MAX];
    size_t selected_count;
};

/* One line on stderr. Returns code. Any thread. */
int bench_say(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- bench_options.c */

/* BENCH_OK, BENCH_USAGE (reported), or -1 after the help or the version was printed. */
int bench_options_parse(int argc, char **argv, struct bench_config *ret);

/* ---- bench_data.c: keys and values follow from a number. Immutable once set up, but for the generators. */

struct bench_data {
    unsigned char *pool; /* what values are cut from */
    size_t key_size, value_size;
    uint64_t seed;
};

bool bench_data_init(struct bench_data *data, const struct bench_config *config);
void bench_data_free(struct bench_data *data);
/* key has room for key_size bytes, value for value_size. */
void bench_key(const struct bench_data *data, uint64_t number, char *key);
bool bench_key_number(const struct bench_data *data, const void *key, size_t size, uint64_t *ret);
void bench_value(const struct bench_data *data, uint64_t number, unsigned char *value);
bool bench_value_is(const struct bench_data *data, uint64_t number, const void *value, size_t size);

uint64_t bench_mix(uint64_t number);
/* A generator is one number; one thread. */
uint64_t bench_random(uint64_t *state);
uint64_t bench_below(uint64_t *state, uint64_t limit);

/* The zipfian distribution of YCSB, theta 0.99: 0 is drawn most often. Immutable. */
struct bench_zipf {
    uint64_t count;
    double zeta, alpha, eta, half;
};
void bench_zipf_init(struct bench_zipf *zipf, uint64_t count);
uint64_t bench_zipf_next(const struct bench_zipf *zipf, uint64_t *state);

/* ---- bench_histogram.c: nanoseconds in buckets that are 1/32 wide at most. One thread. */

#define BENCH_BUCKETS (60U * 32U)

struct bench_histogram {
    uint64_t count, max;
    uint64_t buckets[BENCH_BUCKETS];
};
void bench_histogram_add(struct bench_histogram *histogram, uint64_t ns);
void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from);
/* The time below which the share (0 to 1) of all lies, in nanoseconds. */
uint64_t bench_histogram_at(const struct bench_histogram *histogram, double share);

#define BENCH_SHARES 5U /* p50 p99 p99.9 p99.99 max */

struct bench_latency {
    uint64_t count;
    uint64_t ns[BENCH_SHARES];
};
struct bench_latency bench_histogram_latency(const struct bench_histogram *histogram);

/* ---- bench_store.c: the directory, the open store, which keys are in it. */

struct bench_store {
    const struct bench_config *config;
    struct bench_data data;
    struct bench_zipf zipf;
    bitcask *db; /* NULL: closed */
    char *dir;
    bool own;              /* it was absent or empty: it may be emptied */
    bool temporary;        /* and goes at the end */
    atomic_uchar *present; /* by number */
    uint64_t runs;         /* so far */
    uint64_t capacity;     /* numbers of keys that may be stored; num and up are those that ycsbd inserts */
    _Alignas(64) atomic_uint_fast64_t inserted; /* ycsbd: the next number */
};

int bench_store_init(struct bench_store *store, const struct bench_config *config);
void bench_store_free(struct bench_store *store); /* closes; removes a temporary directory */
int bench_store_open(struct bench_store *store);  /* if it is closed */
int bench_store_close(struct bench_store *store);
int bench_store_empty(struct bench_store *store); /* leaves it open, without a key; only if it is our own */
int bench_store_load(struct bench_store *store);  /* exactly the keys 0 to num - 1 */
/* What its directory takes on the disk, space that was reserved ahead included: as du has it. */
uint64_t bench_store_disk_usage(const struct bench_store *store);

/* ---- bench_watch.c: space, and what merges do, while a benchmark runs. */

#define BENCH_SAMPLES_MAX 64U

struct bench_sample {
    double seconds;
    uint64_t disk_bytes, live_bytes, used_bytes; /* used: bench_store_disk_usage() */
    uint64_t log_bytes, merge_bytes_out;         /* since the benchmark began */
};

/* For each live byte. */
struct bench_amplification {
    double worst, mean, end;
};

struct bench_watched {
    struct bench_amplification disk, used;
    double write, write_worst; /* bytes written for each byte that was put; 0: less than 1 MiB was */
    uint64_t log_bytes, merges, merge_bytes_in, merge_bytes_out;
    size_t sample_count;
    struct bench_sample samples[BENCH_SAMPLES_MAX]; /* at even intervals; first and last are start and end */
    bool forced;                                    /* a merge, whose result this is */
    bitcask_merge_result forced_result;
};

struct bench_watch;

/* Starts to watch; NULL: it failed, which was reported. */
struct bench_watch *bench_watch_new(struct bench_store *store);
/* Whether a merge is running; as of a moment ago. Any thread. */
bool bench_watch_merging(const struct bench_watch *watch);
/* Starts the merge that was asked for. Any thread, once. */
void bench_watch_force(struct bench_watch *watch);
/* Waits for that merge, frees. BENCH_OK, BENCH_ERROR. watch NULL: does nothing. */
int bench_watch_end(struct bench_watch *watch, struct bench_watched *ret);

/* ---- the benchmark compact */

struct bench_compaction {
    uint64_t disk_bytes[2], used_bytes[2], files[2]; /* before and after */
};

/* ---- bench_work.c, bench_read.c, bench_churn.c, bench_ycsb.c: what a benchmark does. */

struct bench_thread {
    struct bench_store *store;
    const struct bench_workload *workload;
    uint64_t first, count; /* its share of the operations */
    uint64_t threads;      /* that share them */
    uint64_t done, found, bytes;
    double seconds;
    uint64_t random;
    bool finished; /* before count was reached */
    bool wrote;    /* the last step changed the store */
    int code;
    struct bench_histogram *histogram; /* NULL: none */
    struct bench_histogram *split;     /* four of them, if the run is watched: BENCH_SPLIT_*; NULL: none */
    struct bench_watch *watch;         /* NULL: none */
    uint64_t force_at;                 /* how many operations of its own before the forced merge; UINT64_MAX: never */
    struct bench_compaction compaction;
    bitcask_iter *iter;   /* readseq */
    bitcask_batch *batch; /* fillbatch */
    char *key;
    unsigned char *value;
};

/* struct bench_thread.split */
enum { BENCH_SPLIT_GET, BENCH_SPLIT_GET_MERGING, BENCH_SPLIT_PUT, BENCH_SPLIT_PUT_MERGING, BENCH_SPLITS };

#define BENCH_FRESH 1U   /* starts with an empty store */
#define BENCH_LOADED 2U  /* starts with all keys */
#define BENCH_CLOSED 4U  /* starts with a closed store */
#define BENCH_SINGLE 8U  /* one thread */
#define BENCH_LOOKUP 16U /* "x of y found" says something */
#define BENCH_COMPACT 32U

struct bench_workload {
    const char *name;
    unsigned flags;
    uint64_t (*operations)(const struct bench_config *config);
    /* Does one operation or a batch of them and counts them: done, found, bytes. BENCH_OK, or what was reported. */
    int (*step)(struct bench_thread *thread);
    unsigned reads, updates, inserts; /* ycsb: percent; the rest are read-modify-writes */
};

const struct bench_workload *bench_workload_find(const char *name, size_t size);
int bench_ycsb_step(struct bench_thread *thread);
int bench_readseq_step(struct bench_thread *thread);
int bench_readmany_step(struct bench_thread *thread);
int bench_churn_step(struct bench_thread *thread);
int bench_compact_step(struct bench_thread *thread);
uint64_t bench_churn_operations(const struct bench_config *config);
int bench_failed(const struct bench_thread *thread); /* reports the library's last failure: BENCH_ERROR */
int bench_wrong(const struct bench_thread *thread, const char *what, uint64_t number); /* BENCH_WRONG */
bool bench_is_present(const struct bench_thread *thread, uint64_t number);
uint64_t bench_key_bytes(const struct bench_thread *thread); /* of a key and its value */
/* How many operations the next batch has: what was asked for, or as usual; never more than are left. */
uint64_t bench_batch_of(const struct bench_thread *thread, uint64_t usual);
/* Puts and gets of one key, checked and counted in found and bytes, not in done. */
int bench_put(struct bench_thread *thread, uint64_t number, uint32_t flags);
int bench_get(struct bench_thread *thread, uint64_t number);
/* The same. alone: no other thread writes this key, so that its presence is known. */
int bench_delete(struct bench_thread *thread, uint64_t number, bool alone);

/* ---- bench_run.c */

struct bench_result {
    const struct bench_workload *workload;
    uint64_t operations, found, bytes;
    double micros_per_op; /* as one thread sees it */
    double mb_per_s, ops_per_s;
    double anon_per_key, keydir_per_key; /* bytes; 0: not measured */
    uint64_t keys;
    uint64_t runs;
    struct bench_latency latency, split[BENCH_SPLITS];
    bool is_watched;
    struct bench_watched watched;
    struct bench_compaction compaction;
};

/* Measures one benchmark as often as asked for; the result is that of the median. */
int bench_measure(struct bench_store *store, const struct bench_workload *workload, struct bench_result *ret);
/* After it was called (from a signal handler) every run ends soon, with BENCH_ERROR. */
void bench_interrupt(void);
bool bench_interrupted(void);
/* A bitcask_progress_fn that says so; nothing is shown. */
int bench_go_on(const char *phase, uint64_t done, uint64_t total, void *ctx);
double bench_now_s(void);

/* ---- bench_report.c: stdout. */

void bench_report_header(const struct bench_store *store);
void bench_report_result(const struct bench_store *store, const struct bench_result *result, bool first);
/* ---- bench_report_watch.c: lines, or members of the JSON object that end with ", ". */
void bench_report_latency(const char *what, const struct bench_latency *latency);
void bench_report_latency_json(const struct bench_latency *latency);
void bench_report_watched(const struct bench_result *result);
void bench_report_watched_json(const struct bench_result *result);
void bench_report_end(const struct bench_store *store);

#endif
