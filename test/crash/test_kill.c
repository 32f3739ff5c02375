/* test_kill.c - kill -9 under load, on the real file system. A child process opens the store, works on it with several threads
 * and notes each operation in shared memory: before the call, and after it returned. The parent kills it at a random moment,
 * opens the store again and compares; two hundred times on the same store.
 *
 * A kill loses nothing that was acknowledged, synced or not (P1); what was under way is there or not, a batch as a whole (P2,
 * P3); nobody finds bytes that were not written, or an older version (P4, P5); what was deleted or cleared stays away (P6); no
 * open fails (P9), whatever the kill hit: a put, a rotation, a seal, a clear, a close or the recovery before.
 *
 * The moments are random: BITCASK_TEST_SEED repeats the choices, not the timing. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/support/store.h"

#define ROUNDS 200U
#define THREADS 3U
#define OWN_KEYS 24U /* of each thread alone */
#define GROUPS 4U    /* of each thread alone, written by batches of GROUP_KEYS */
#define GROUP_KEYS 4U
#define COMMON_KEYS 6U /* of all threads */
#define VALUE_MAX 21000U

/* A state of a key: the version of its last write, doubled, plus one if that was a delete. 0: never written. */
struct claim {
    _Atomic uint64_t begun, acked;
};

/* Of a key that several threads write the acknowledged state belongs to a sequence: both are noted, then made current in one
 * step, as the kill may come between any two. */
struct common_claim {
    _Atomic uint64_t begun;
    _Atomic unsigned current;
    struct {
        _Atomic uint64_t acked, sequence;
    } note[2];
};

enum clear_phase { CLEAR_NONE, CLEAR_BEGUN, CLEAR_DONE };

struct board { /* shared with the child */
    struct claim own[THREADS][OWN_KEYS];
    struct claim group[THREADS][GROUPS];
    struct common_claim common[THREADS + 1][COMMON_KEYS]; /* the last one: what the check found */
    _Atomic uint64_t version;
    _Atomic unsigned clear;
    _Atomic uint64_t opens, closes, clears, merges, acks, synced, batches, deletes;
    _Atomic bool failed;
    char failure[600];
};

struct child {
    struct board *board;
    bitcask *db;
    atomic_bool stop;
    unsigned sync_share; /* of 16 writes */
    bool clears;         /* before each close */
};

struct worker {
    struct child *child;
    pthread_t thread;
    unsigned number;
    uint64_t random;
};

static struct board *board;

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*state >> 33);
}

/* ---- keys and values ---- */

static size_t make_key(char dst[32], char kind, unsigned thread, unsigned number)
{
    return (size_t)snprintf(dst, 32, "%c-%u-%u", kind, thread, number);
}

/* Across all ways of writing: through the mapping, by a call, over several pages. */
static size_t make_value(unsigned char *dst, const char *key, uint64_t version)
{
    static const size_t sizes[] = {8, 9, 30, 100, 100, 300, 700, 1500, 2100, 5000, 100, 20000};
    size_t size = sizes[version % (sizeof sizes / sizeof sizes[0])];
    uint64_t x = version * 0x9e3779b97f4a7c15U;
    for (const char *c = key; *c != '\0'; c++)
        x = (x ^ (unsigned char)*c) * 0x100000001b3U;
    memcpy(dst, &version, sizeof version);
    for (size_t i = sizeof version; i < size; i++) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        dst[i] = (unsigned char)(x >> 56);
    }
    return size;
}

/* ---- the child ---- */

static bool good(int result, const char *what)
{
    if (result == BITCASK_OK)
        return true;
    if (!atomic_exchange(&board->failed, true))
        snprintf(board->failure, sizeof board->failure, "%s: %s: %s", what, bitcask_errname(result),
                 bitcask_last_error()->message);
    return false;
}

static uint32_t sync_flag(struct worker *w)
{
    bool sync = next_random(&w->random) % 16 < w->child->sync_share;
    atomic_fetch_add(&board->synced, sync);
    return sync ? BITCASK_PUT_SYNC : 0;
}

static int write_one(struct worker *w, const char *key, size_t key_size, uint64_t state, uint64_t *ret_sequence)
{
    static _Thread_local unsigned char value[VALUE_MAX];
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    o.flags = sync_flag(w);
    atomic_fetch_add(&board->deletes, state & 1);
    if ((state & 1) != 0)
        return bitcask_delete(w->child->db, key, key_size, &o, ret_sequence);
    return bitcask_put(w->child->db, key, key_size, value, make_value(value, key, state >> 1), &o, ret_sequence);
}

static bool change_own(struct worker *w)
{
    unsigned n = next_random(&w->random) % OWN_KEYS;
    struct claim *c = &board->own[w->number][n];
    uint64_t acked = atomic_load(&c->acked), state = (atomic_fetch_add(&board->version, 1) + 1) << 1;
    char key[32];
    size_t key_size = make_key(key, 'o', w->number, n);
    bool present = acked != 0 && (acked & 1) == 0;
    state |= present && next_random(&w->random) % 5 == 0;
    atomic_store(&c->begun, state);
    bool ok = good(write_one(w, key, key_size, state, NULL), key);
    if (ok)
        atomic_store(&c->acked, state);
    return ok;
}

static bool change_common(struct worker *w)
{
    unsigned n = next_random(&w->random) % COMMON_KEYS;
    struct common_claim *c = &board->common[w->number][n];
    uint64_t state = (atomic_fetch_add(&board->version, 1) + 1) << 1, sequence = 0;
    char key[32];
    size_t key_size = make_key(key, 'c', 0, n);
    state |= next_random(&w->random) % 5 == 0;
    atomic_store(&c->begun, state);
    int result = write_one(w, key, key_size, state, &sequence);
    unsigned current = atomic_load(&c->current), next = 1 - current;
    if (result == BITCASK_NOT_FOUND && (state & 1) != 0) {
        atomic_store(&c->begun, atomic_load(&c->note[current].acked));
        return true;
    }
    if (!good(result, key))
        return false;
    atomic_store(&c->note[next].acked, state);
    atomic_store(&c->note[next].sequence, sequence);
    atomic_store(&c->current, next);
    return true;
}

/* Whether the batch of this version deletes the i-th key of its group. */
static bool group_deletes(uint64_t version, unsigned i)
{
    return (version + i) % 4 == 0;
}

static bool change_group(struct worker *w)
{
    static _Thread_local unsigned char value[VALUE_MAX];
    unsigned n = next_random(&w->random) % GROUPS;
    struct claim *c = &board->group[w->number][n];
    uint64_t version = atomic_fetch_add(&board->version, 1) + 1;
    bitcask_batch *b = NULL;
    int result = bitcask_batch_new(&b);
    for (unsigned i = 0; i < GROUP_KEYS && result == BITCASK_OK; i++) {
        char key[32];
        size_t key_size = make_key(key, 'g', w->number, n * GROUP_KEYS + i);
        if (group_deletes(version, i))
            result = bitcask_batch_delete(b, key, key_size);
        else
            result = bitcask_batch_put(b, key, key_size, value, make_value(value, key, version), 0);
    }
    atomic_store(&c->begun, version << 1);
    if (result == BITCASK_OK)
        result = bitcask_write(w->child->db, b, sync_flag(w));
    if (result == BITCASK_OK)
        atomic_store(&c->acked, version << 1);
    bitcask_batch_free(b);
    atomic_fetch_add(&board->batches, 1);
    return good(result, "batch");
}

static void *work(void *arg)
{
    struct worker *w = arg;
    bool ok = true;
    while (ok && !atomic_load(&w->child->stop)) {
        unsigned what = next_random(&w->random) % 16;
        if (what < 8)
            ok = change_own(w);
        else if (what < 11)
            ok = change_group(w);
        else if (what < 15)
            ok = change_common(w);
        else
            ok = next_random(&w->random) % 16 != 0 || good(bitcask_sync(w->child->db), "sync");
        atomic_fetch_add(&board->acks, ok);
    }
    return NULL;
}

static void sleep_us(unsigned us)
{
    struct timespec t = {0, (long)us * 1000};
    nanosleep(&t, NULL);
}

/* No operation is under way. The claims are void from CLEAR_DONE on. */
static void clear_all(struct child *c)
{
    atomic_store(&board->clear, CLEAR_BEGUN);
    if (!good(bitcask_clear(c->db, 0), "clear"))
        return;
    atomic_store(&board->clear, CLEAR_DONE);
    memset(board->own, 0, sizeof board->own);
    memset(board->group, 0, sizeof board->group);
    memset(board->common, 0, sizeof board->common);
    atomic_store(&board->clear, CLEAR_NONE);
    atomic_fetch_add(&board->clears, 1);
}

/* Opens, works, closes, until it is killed. */
static void live(const char *path, const bitcask_options *options, unsigned sync_share, bool clears, uint64_t random)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        struct child c = {.board = board, .sync_share = sync_share, .clears = clears};
        struct worker workers[THREADS];
        if (!good(bitcask_open(path, options, &c.db), "open"))
            _exit(1);
        atomic_fetch_add(&board->opens, 1);
        for (unsigned i = 0; i < THREADS; i++) {
            workers[i] = (struct worker){.child = &c, .number = i, .random = next_random(&random)};
            if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
                _exit(1);
        }
        sleep_us(500 + next_random(&random) % (clears ? 5000 : 40000));
        bitcask_stats s = BITCASK_STATS_INIT;
        if (good(bitcask_stats_get(c.db, &s), "stats"))
            atomic_fetch_add(&board->merges, s.merges);
        atomic_store(&c.stop, true);
        for (unsigned i = 0; i < THREADS; i++)
            pthread_join(workers[i].thread, NULL);
        if (clears)
            clear_all(&c);
        if (!good(bitcask_close(c.db), "close"))
            _exit(1);
        atomic_fetch_add(&board->closes, 1);
    }
}

/* ---- the check ---- */

static uint64_t in_doubt, in_doubt_there;

/* The state of a key as the store has it: 0 absent. */
static uint64_t found(bitcask *db, const char *key, size_t key_size, uint64_t *ret_sequence)
{
    static unsigned char expected[VALUE_MAX];
    bitcask_view v;
    int result = bitcask_view_get(db, key, key_size, &v);
    *ret_sequence = 0;
    if (result == BITCASK_NOT_FOUND)
        return 0;
    ck_assert_msg(result == BITCASK_OK, "%s: %s: %s", key, bitcask_errname(result), bitcask_last_error()->message);
    uint64_t version = 0;
    ck_assert_msg(v.size >= sizeof version, "%s: %zu bytes", key, v.size);
    memcpy(&version, v.data, sizeof version);
    size_t size = make_value(expected, key, version);
    ck_assert_msg(v.size == size && memcmp(v.data, expected, size) == 0, "%s: bytes that nobody put", key);
    *ret_sequence = v.sequence;
    bitcask_view_release(&v);
    return version << 1;
}

/* A deleted key is an absent one. */
static uint64_t visible(uint64_t state)
{
    return (state & 1) != 0 ? 0 : state;
}

static void check_own(bitcask *db, unsigned thread, unsigned n, bool settle)
{
    struct claim *c = &board->own[thread][n];
    uint64_t begun = atomic_load(&c->begun), acked = atomic_load(&c->acked), sequence;
    char key[32];
    uint64_t got = found(db, key, make_key(key, 'o', thread, n), &sequence);
    ck_assert_msg(got == visible(acked) || got == visible(begun), "%s: version %llu, acknowledged %llu, under way %llu", key,
                  (unsigned long long)got, (unsigned long long)acked, (unsigned long long)begun);
    if (!settle)
        return;
    in_doubt += begun != acked;
    in_doubt_there += begun != acked && got == visible(begun);
    atomic_store(&c->acked, got);
    atomic_store(&c->begun, got);
}

static bool group_is(const uint64_t got[GROUP_KEYS], uint64_t state)
{
    for (unsigned i = 0; i < GROUP_KEYS; i++)
        if (got[i] != (state == 0 || group_deletes(state >> 1, i) ? 0 : state))
            return false;
    return true;
}

static void check_group(bitcask *db, unsigned thread, unsigned n, bool settle)
{
    struct claim *c = &board->group[thread][n];
    uint64_t begun = atomic_load(&c->begun), acked = atomic_load(&c->acked), got[GROUP_KEYS], sequence;
    for (unsigned i = 0; i < GROUP_KEYS; i++) {
        char key[32];
        got[i] = found(db, key, make_key(key, 'g', thread, n * GROUP_KEYS + i), &sequence);
    }
    bool old = group_is(got, acked), new = group_is(got, begun);
    ck_assert_msg(old || new, "batch %u of thread %u: %llu %llu %llu %llu, acknowledged %llu, under way %llu", n, thread,
                  (unsigned long long)got[0], (unsigned long long)got[1], (unsigned long long)got[2],
                  (unsigned long long)got[3], (unsigned long long)acked, (unsigned long long)begun);
    if (!settle)
        return;
    in_doubt += begun != acked;
    in_doubt_there += begun != acked && new;
    atomic_store(&c->acked, new ? begun : acked);
    atomic_store(&c->begun, new ? begun : acked);
}

/* Of a key that all threads write: not older than the acknowledged write with the highest sequence. */
static void check_common(bitcask *db, unsigned n, bool settle)
{
    uint64_t newest = 0, state = 0, sequence;
    bool under_way = false;
    char key[32];
    uint64_t got = found(db, key, make_key(key, 'c', 0, n), &sequence);
    for (unsigned t = 0; t <= THREADS; t++) {
        struct common_claim *c = &board->common[t][n];
        unsigned current = atomic_load(&c->current);
        uint64_t begun = atomic_load(&c->begun), acked = atomic_load(&c->note[current].acked);
        uint64_t acked_sequence = atomic_load(&c->note[current].sequence);
        if (acked_sequence > newest) {
            newest = acked_sequence;
            state = acked;
        }
        under_way = under_way || (begun != acked && visible(begun) == got);
    }
    ck_assert_msg(got == 0 || sequence >= newest, "%s: version %llu of sequence %llu, but %llu was acknowledged", key,
                  (unsigned long long)got, (unsigned long long)sequence, (unsigned long long)newest);
    ck_assert_msg(got == visible(state) || under_way, "%s: version %llu, acknowledged %llu", key, (unsigned long long)got,
                  (unsigned long long)state);
    if (!settle)
        return;
    for (unsigned t = 0; t <= THREADS; t++)
        memset(&board->common[t][n], 0, sizeof board->common[t][n]);
    struct common_claim *c = &board->common[THREADS][n];
    atomic_store(&c->begun, got);
    atomic_store(&c->note[0].acked, got);
    atomic_store(&c->note[0].sequence, sequence);
}

static bool is_empty(bitcask *db)
{
    bitcask_iter *iter;
    bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
    o.flags = BITCASK_ITER_KEYS_ONLY;
    ck_assert_int_eq(bitcask_iter_new(db, &o, &iter), BITCASK_OK);
    bool empty = bitcask_iter_next(iter) == BITCASK_NOT_FOUND;
    bitcask_iter_free(iter);
    return empty;
}

static void check(bitcask *db, bool settle)
{
    unsigned clear = atomic_load(&board->clear);
    if (clear == CLEAR_DONE)
        ck_assert_msg(is_empty(db), "keys after a clear");
    if (clear == CLEAR_DONE || (clear == CLEAR_BEGUN && is_empty(db))) {
        if (!settle)
            return;
        memset(board->own, 0, sizeof board->own);
        memset(board->group, 0, sizeof board->group);
        memset(board->common, 0, sizeof board->common);
    }
    for (unsigned t = 0; t < THREADS; t++) {
        for (unsigned n = 0; n < OWN_KEYS; n++)
            check_own(db, t, n, settle);
        for (unsigned n = 0; n < GROUPS; n++)
            check_group(db, t, n, settle);
    }
    for (unsigned n = 0; n < COMMON_KEYS; n++)
        check_common(db, n, settle);
    if (settle)
        atomic_store(&board->clear, CLEAR_NONE);
}

static void remove_hints(const char *path)
{
    const char *name;
    while ((name = store_nth(path, ".hint", 0)) != NULL)
        store_remove(store_file(path, name));
}

/* Opens what the kill left, in one of the ways in which it may be opened. */
static void check_after_kill(const char *path, bitcask_options o, unsigned round)
{
    struct store_log log = {.busy = ATOMIC_FLAG_INIT};
    o.log = store_log_line;
    o.log_ctx = &log;
    ck_assert_msg(!atomic_load(&board->failed), "round %u: the child: %s", round, board->failure);
    if (round % 7 == 3)
        remove_hints(path);
    if (round % 3 == 0) {
        bitcask_options reading = o;
        reading.flags |= BITCASK_OPEN_READ_ONLY;
        bitcask *db = NULL;
        int result = bitcask_open(path, &reading, &db);
        /* The very first kill may come before there is a store. */
        ck_assert_msg(result == BITCASK_OK || (result == BITCASK_NOT_FOUND && atomic_load(&board->opens) == 0),
                      "round %u: open for reading: %s: %s", round, bitcask_errname(result), bitcask_last_error()->message);
        if (result == BITCASK_OK) {
            check(db, false);
            store_close(db);
        }
    }
    bitcask *db = store_open(path, &o);
    check(db, true);
    ck_assert_msg(atomic_load(&log.lines[BITCASK_LOG_ERROR]) == 0, "round %u: %s", round, log.text);
    /* Half of the children start behind a clean close, the others behind a handle that was only read from. */
    if (round % 2 == 0)
        ck_assert_int_eq(bitcask_put(db, "parent", 6, &round, sizeof round, NULL, NULL), BITCASK_OK);
    store_close(db);
}

static uint64_t seed_of_test(void)
{
    const char *text = getenv("BITCASK_TEST_SEED");
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return text != NULL ? strtoull(text, NULL, 10) : (uint64_t)t.tv_nsec ^ (uint64_t)t.tv_sec << 20;
}

/* BITCASK_TEST_KILL_SECONDS: so long instead of a number of kills, with some seconds of work before each. */
static int64_t seconds_of_test(void)
{
    const char *text = getenv("BITCASK_TEST_KILL_SECONDS");
    return text == NULL ? 0 : strtoll(text, NULL, 10);
}

static int64_t now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* Merges run all the time, of files of a few records. */
static void set_merging(bitcask_options *o)
{
    o->max_file_size = 64 << 10;
    o->merge_check_interval_ms = 1;
    o->frag_merge_trigger = 20;
    o->frag_threshold = 10;
}

static void kill_under_load(bool merging)
{
    const char *path = store_path();
    uint64_t seed = seed_of_test(), random = seed;
    int64_t until = now_s() + seconds_of_test();
    bool timed = seconds_of_test() > 0;
    unsigned rounds = (merging ? ROUNDS / 2 : ROUNDS) * (unsigned)store_scale();
    printf("# BITCASK_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(board != MAP_FAILED);
    unsigned round = 0;
    for (; timed ? now_s() < until : round < rounds; round++) {
        bitcask_options o = store_options((round >> 1) & 1);
        o.max_file_size = 256 << 10;
        if (merging)
            set_merging(&o);
        unsigned sync_share = (round & 1) != 0 ? 8 : 1, delay_us = 200 + next_random(&random) % 16000;
        /* Most kills find a store at work; some find it opening after the kill before. */
        delay_us *= round % 4 == 0 ? 1 : 1 + next_random(&random) % 6;
        delay_us = delay_us < 100000 ? delay_us : 100000;
        uint64_t child_random = next_random(&random);
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            live(path, &o, sync_share, round % 50 == 24, child_random);
            _exit(1);
        }
        /* On a busy machine the child may not have come to work yet. */
        uint64_t acks = atomic_load(&board->acks);
        for (unsigned waited = 0; round % 4 != 0 && waited < 3000 && atomic_load(&board->acks) < acks + 20; waited++)
            sleep_us(1000);
        for (unsigned i = 0; timed && i < 20 + next_random(&random) % 30; i++)
            sleep_us(99000);
        sleep_us(delay_us);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        check_after_kill(path, o, round);
    }
    printf("# %u kills: %llu opens, %llu closes, %llu clears before them; %llu operations acknowledged, %llu asked for sync, "
           "%llu batches, %llu deletes; %llu were under way, %llu of them are in the store; %u files\n",
           round, (unsigned long long)board->opens, (unsigned long long)board->closes, (unsigned long long)board->clears,
           (unsigned long long)board->acks, (unsigned long long)board->synced, (unsigned long long)board->batches,
           (unsigned long long)board->deletes, (unsigned long long)in_doubt, (unsigned long long)in_doubt_there,
           store_count(path, ".data"));
    /* Else it has shown nothing. */
    ck_assert_uint_gt(board->acks, round * 10);
    ck_assert(!merging || board->merges > 0);
    ck_assert_uint_gt(board->closes, 0);
    ck_assert_uint_gt(in_doubt, 0);
    munmap(board, sizeof *board);
}

START_TEST(test_kill_under_load)
{
    kill_under_load(false);
}
END_TEST

/* What is merged at the moment of the kill is there once; what was deleted, overwritten or cleared stays away. */
START_TEST(test_kill_while_merging)
{
    kill_under_load(true);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("kill");
    TCase *t = store_tcase("P1 P2 P3 P4 P5 P6 P9");
    tcase_set_timeout(t, 900 + (double)seconds_of_test());
    tcase_add_test(t, test_kill_under_load);
    tcase_add_test(t, test_kill_while_merging);
    suite_add_tcase(s, t);
    return s;
}
