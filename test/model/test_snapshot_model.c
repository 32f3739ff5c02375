/* test_snapshot_model.c - snapshots against a model, with threads: whoever takes a snapshot while others put, delete, write
 * batches, clear and rotate sees the store exactly as it was at one sequence, and goes on seeing that for as long as the
 * snapshot is held.
 *
 * Writers log what they did with the sequence that it got; a snapshot knows its own. When all is over the log is put in order,
 * played up to each snapshot's sequence, and compared with what was seen. Puts and deletes run beside each other; batches and
 * clears, whose sequence the interface does not tell, run alone, so that the newest sequence is theirs.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/db.h"
#include "test/support/store.h"

#define KEYS 96U
#define WRITERS 3U
#define TAKERS 3U
#define HELD 3U

struct state {
    uint32_t version[KEYS]; /* 0: absent */
};

struct entry {
    uint64_t sequence;
    uint32_t key, version; /* KEYS: all keys are cleared */
};

struct seen {
    uint64_t sequence;
    struct state state;
};

struct trial {
    bitcask *db;
    pthread_rwlock_t alone;
    pthread_mutex_t mutex; /* guards the two lists */
    struct entry *log;
    size_t logged, log_capacity;
    struct seen *seen;
    size_t seen_count, seen_capacity;
    _Atomic uint32_t version;
    atomic_uint writing; /* writers that are not done */
    unsigned operations;
};

struct worker {
    struct trial *t;
    pthread_t thread;
    unsigned number, x;
    char failure[160];
};

static unsigned next_random(struct worker *w, unsigned below)
{
    w->x = w->x * 1664525U + 1013904223U;
    return (w->x >> 8) % below;
}

static void blame(struct worker *w, const char *what, int result)
{
    if (w->failure[0] == '\0')
        snprintf(w->failure, sizeof w->failure, "%s: %s: %s", what, bitcask_errname(result), bitcask_last_error()->message);
}

static void note(struct trial *t, uint64_t sequence, uint32_t key, uint32_t version)
{
    pthread_mutex_lock(&t->mutex);
    if (t->logged == t->log_capacity) {
        t->log_capacity = t->log_capacity * 2 + 1024;
        t->log = realloc(t->log, t->log_capacity * sizeof *t->log);
        if (t->log == NULL)
            abort();
    }
    t->log[t->logged++] = (struct entry){sequence, key, version};
    pthread_mutex_unlock(&t->mutex);
}

/* ---- writers ---- */

static size_t make_value(uint32_t key, uint32_t version, unsigned char dst[1100])
{
    size_t size = 8 + (key * 31 + version * 101) % 1000;
    memcpy(dst, &version, 4);
    memcpy(dst + 4, &key, 4);
    for (size_t i = 8; i < size; i++)
        dst[i] = (unsigned char)(version * 7 + key + i);
    return size;
}

static uint64_t newest(struct worker *w)
{
    bitcask_stats s = BITCASK_STATS_INIT;
    int result = bitcask_stats_get(w->t->db, &s);
    if (result != BITCASK_OK)
        blame(w, "stats", result);
    return s.last_sequence;
}

static void put_or_delete(struct worker *w)
{
    struct trial *t = w->t;
    unsigned char value[1100];
    uint32_t key = next_random(w, KEYS), version = atomic_fetch_add(&t->version, 1) + 1;
    uint64_t sequence;
    char name[16];
    size_t name_size = (size_t)snprintf(name, sizeof name, "k%u", key);
    bool deletes = next_random(w, 4) == 0;
    pthread_rwlock_rdlock(&t->alone);
    int result = deletes ? bitcask_delete(t->db, name, name_size, NULL, &sequence)
                         : bitcask_put(t->db, name, name_size, value, make_value(key, version, value), NULL, &sequence);
    if (result == BITCASK_OK)
        note(t, sequence, key, deletes ? 0 : version);
    else if (result != BITCASK_NOT_FOUND)
        blame(w, "write", result);
    pthread_rwlock_unlock(&t->alone);
}

/* A pair of keys gets the same version; a third one goes. */
static void write_batch(struct worker *w)
{
    struct trial *t = w->t;
    unsigned char value[1100];
    uint32_t key = next_random(w, KEYS - 2), version = atomic_fetch_add(&t->version, 1) + 1;
    bitcask_batch *b;
    char name[16];
    int result = bitcask_batch_new(&b);
    for (uint32_t i = 0; i < 3 && result == BITCASK_OK; i++) {
        size_t name_size = (size_t)snprintf(name, sizeof name, "k%u", key + i);
        result = i < 2 ? bitcask_batch_put(b, name, name_size, value, make_value(key + i, version, value), 0)
                       : bitcask_batch_delete(b, name, name_size);
    }
    if (result != BITCASK_OK) {
        blame(w, "batch", result);
        return;
    }
    pthread_rwlock_wrlock(&t->alone);
    result = bitcask_write(t->db, b, 0);
    uint64_t sequence = newest(w);
    for (uint32_t i = 0; i < 3 && result == BITCASK_OK; i++)
        note(t, sequence, key + i, i < 2 ? version : 0);
    pthread_rwlock_unlock(&t->alone);
    if (result != BITCASK_OK)
        blame(w, "batch", result);
    bitcask_batch_free(b);
}

static void clear(struct worker *w)
{
    pthread_rwlock_wrlock(&w->t->alone);
    int result = bitcask_clear(w->t->db, 0);
    note(w->t, newest(w), KEYS, 0);
    pthread_rwlock_unlock(&w->t->alone);
    if (result != BITCASK_OK)
        blame(w, "clear", result);
}

static void *write_all(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < w->t->operations && w->failure[0] == '\0'; i++) {
        unsigned what = next_random(w, 1000);
        if (what < 3)
            clear(w);
        else if (what < 200)
            write_batch(w);
        else
            put_or_delete(w);
    }
    atomic_fetch_sub(&w->t->writing, 1);
    return NULL;
}

/* ---- takers ---- */

static bool take_in(struct worker *w, struct state *s, uint32_t key, const void *data, size_t size)
{
    unsigned char value[1100];
    uint32_t version = 0;
    if (size >= 4)
        memcpy(&version, data, 4);
    if (version == 0 || make_value(key, version, value) != size || memcmp(value, data, size) != 0) {
        blame(w, "a value that nobody put", BITCASK_OK);
        return false;
    }
    s->version[key] = version;
    return true;
}

static void read_by_walk(struct worker *w, bitcask_snapshot *snapshot, struct state *ret)
{
    bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
    bitcask_iter *it;
    o.snapshot = snapshot;
    o.flags = next_random(w, 2) == 0 ? BITCASK_ITER_SORTED : 0;
    memset(ret, 0, sizeof *ret);
    int result = bitcask_iter_new(w->t->db, &o, &it);
    if (result != BITCASK_OK) {
        blame(w, "iter_new", result);
        return;
    }
    while ((result = bitcask_iter_next(it)) == BITCASK_OK) {
        bitcask_slice key = bitcask_iter_key(it), value;
        char name[16] = {0};
        unsigned number;
        memcpy(name, key.data, key.size < 15 ? key.size : 15);
        if (sscanf(name, "k%u", &number) != 1 || number >= KEYS || ret->version[number] != 0) {
            blame(w, "a key that nobody put, or twice", BITCASK_OK);
            break;
        }
        result = bitcask_iter_value(it, &value);
        if (result != BITCASK_OK) {
            blame(w, "iter_value", result);
            break;
        }
        if (!take_in(w, ret, number, value.data, value.size))
            break;
    }
    if (result != BITCASK_NOT_FOUND)
        blame(w, "iter_next", result);
    bitcask_iter_free(it);
}

static void read_by_key(struct worker *w, bitcask_snapshot *snapshot, struct state *ret)
{
    memset(ret, 0, sizeof *ret);
    for (uint32_t i = 0; i < KEYS; i++) {
        bitcask_view v;
        char name[16];
        int result = bitcask_snapshot_view(snapshot, name, (size_t)snprintf(name, sizeof name, "k%u", i), &v);
        if (result == BITCASK_OK) {
            (void)take_in(w, ret, i, v.data, v.size);
            bitcask_view_release(&v);
        } else if (result != BITCASK_NOT_FOUND) {
            blame(w, "snapshot_view", result);
        }
    }
}

static void remember(struct trial *t, uint64_t sequence, const struct state *s)
{
    pthread_mutex_lock(&t->mutex);
    if (t->seen_count == t->seen_capacity) {
        t->seen_capacity = t->seen_capacity * 2 + 256;
        t->seen = realloc(t->seen, t->seen_capacity * sizeof *t->seen);
        if (t->seen == NULL)
            abort();
    }
    t->seen[t->seen_count++] = (struct seen){sequence, *s};
    pthread_mutex_unlock(&t->mutex);
}

static void *take_all(void *arg)
{
    struct worker *w = arg;
    bitcask_snapshot *held[HELD] = {NULL};
    struct state states[HELD], again;
    for (unsigned round = 0; (round < 20 || atomic_load(&w->t->writing) > 0) && w->failure[0] == '\0'; round++) {
        unsigned i = next_random(w, HELD);
        if (held[i] == NULL) {
            int result = bitcask_snapshot_new(w->t->db, &held[i]);
            if (result != BITCASK_OK) {
                blame(w, "snapshot_new", result);
                break;
            }
            read_by_walk(w, held[i], &states[i]);
            remember(w->t, held[i]->sequence, &states[i]);
            continue;
        }
        if (next_random(w, 2) == 0)
            read_by_walk(w, held[i], &again);
        else
            read_by_key(w, held[i], &again);
        if (memcmp(&again, &states[i], sizeof again) != 0)
            blame(w, "a snapshot changed", BITCASK_OK);
        if (next_random(w, 3) != 0) {
            bitcask_snapshot_release(held[i]);
            held[i] = NULL;
        }
    }
    for (unsigned i = 0; i < HELD; i++)
        bitcask_snapshot_release(held[i]);
    return NULL;
}

/* ---- afterwards ---- */

static int by_sequence(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b; /* the first member of both lists' elements */
    return (*x > *y) - (*x < *y);
}

static void play(struct state *s, const struct entry *e)
{
    if (e->key == KEYS)
        memset(s, 0, sizeof *s);
    else
        s->version[e->key] = e->version;
}

static void compare(struct trial *t)
{
    struct state model = {{0}};
    size_t at = 0;
    qsort(t->log, t->logged, sizeof *t->log, by_sequence);
    qsort(t->seen, t->seen_count, sizeof *t->seen, by_sequence);
    for (size_t i = 0; i < t->seen_count; i++) {
        const struct seen *s = &t->seen[i];
        while (at < t->logged && t->log[at].sequence <= s->sequence)
            play(&model, &t->log[at++]);
        for (uint32_t key = 0; key < KEYS; key++)
            ck_assert_msg(s->state.version[key] == model.version[key],
                          "the snapshot at sequence %llu shows version %u of key %u, the model has %u",
                          (unsigned long long)s->sequence, s->state.version[key], key, model.version[key]);
    }
}

static void run_trial(unsigned seed, int mode)
{
    struct trial t = {.operations = (unsigned)(1500 * store_scale()), .writing = WRITERS};
    struct worker w[WRITERS + TAKERS];
    bitcask_options o = store_options(mode);
    o.max_open_files = seed % 2 == 0 ? 2 : 0;
    const char *path = store_path();
    t.db = store_open(path, &o);
    ck_assert_int_eq(pthread_rwlock_init(&t.alone, NULL), 0);
    ck_assert_int_eq(pthread_mutex_init(&t.mutex, NULL), 0);
    for (unsigned i = 0; i < WRITERS + TAKERS; i++) {
        w[i] = (struct worker){.t = &t, .number = i, .x = seed * 977 + i * 7919};
        ck_assert_int_eq(pthread_create(&w[i].thread, NULL, i < WRITERS ? write_all : take_all, &w[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS + TAKERS; i++)
        ck_assert_int_eq(pthread_join(w[i].thread, NULL), 0);
    for (unsigned i = 0; i < WRITERS + TAKERS; i++)
        ck_assert_msg(w[i].failure[0] == '\0', "seed %u, worker %u: %s", seed, i, w[i].failure);
    compare(&t);
    ck_assert_uint_gt(t.seen_count, 20);
    bitcask_stats s = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(t.db, &s), BITCASK_OK);
    ck_assert_uint_eq(s.snapshot_bytes, 0);
    ck_assert_uint_eq(s.snapshots, 0);
    store_close(t.db);
    free(t.log);
    free(t.seen);
    pthread_rwlock_destroy(&t.alone);
    pthread_mutex_destroy(&t.mutex);
    store_remove(path);
}

START_TEST(test_each_snapshot_is_one_moment)
{
    for (unsigned seed = 1; seed <= 4; seed++)
        run_trial(seed, _i);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("snapshot_model");
    TCase *t = store_tcase("model");
    store_add_test(t, test_each_snapshot_is_one_moment);
    suite_add_tcase(s, t);
    return s;
}
