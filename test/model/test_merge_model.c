/* Everything at once, against a model: writers, readers of every kind, snapshots, iterators, clears, merges in the background
 * and on demand, on files so small that a key moves all the time.
 *
 * Each writer has keys of its own, and notes for each what it is about to write and what is written. Who reads such a key looks
 * at the notes before and after: what he sees must be one of the states in between. A snapshot must show the same state
 * whenever it is asked. Clears run alone. In the end the store is reopened, by hints and by scan, and must be as it was.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitcask/db.h"
#include "test/support/store.h"

#define WRITERS 2U
#define READERS 2U
#define KEYS 64U /* of each writer */
#define ALL (WRITERS * KEYS)
#define VALUE_MAX 1500U

struct note { /* versions; the low bit: the key is absent after it */
    _Atomic uint32_t begun, done;
};

struct trial {
    bitcask *db;
    struct note notes[ALL];
    pthread_rwlock_t alone; /* a clear runs alone */
    atomic_uint writing;
    unsigned operations;
};

struct worker {
    struct trial *t;
    pthread_t thread;
    unsigned number, x;
    char failure[200];
};

static unsigned next_random(struct worker *w, unsigned below)
{
    w->x = w->x * 1664525U + 1013904223U;
    return (w->x >> 8) % below;
}

static void blame(struct worker *w, const char *what, unsigned key, int result)
{
    if (w->failure[0] == '\0')
        snprintf(w->failure, sizeof w->failure, "%s, key %u: %s: %s", what, key, bitcask_errname(result),
                 bitcask_last_error()->message);
}

static size_t make_key(unsigned key, char dst[16])
{
    return (size_t)snprintf(dst, 16, "k%u", key);
}

static size_t make_value(unsigned key, uint32_t version, unsigned char dst[VALUE_MAX])
{
    size_t size = 8 + (key * 31 + version * 101) % (VALUE_MAX - 8);
    memcpy(dst, &version, 4);
    memcpy(dst + 4, &key, 4);
    for (size_t i = 8; i < size; i++)
        dst[i] = (unsigned char)(version * 7 + key + i);
    return size;
}

/* ---- writers ---- */

static int put(struct worker *w, unsigned key, uint32_t version)
{
    unsigned char value[VALUE_MAX];
    char name[16];
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    o.expire_at_ms = version % 5 == 0 ? 4000000000000 : 0;
    o.flags = version % 64 == 0 ? BITCASK_PUT_SYNC : 0;
    return bitcask_put(w->t->db, name, make_key(key, name), value, make_value(key, version, value), &o, NULL);
}

static void write_one(struct worker *w)
{
    struct trial *t = w->t;
    unsigned key = w->number * KEYS + next_random(w, KEYS);
    uint32_t old = atomic_load(&t->notes[key].done), version = (old >> 1) + 1;
    bool present = old != 0 && (old & 1) == 0;
    unsigned what = present ? next_random(w, 8) : 7;
    char name[16];
    int result;
    if (what == 6) { /* the same value again, with another expiry */
        result = bitcask_touch(t->db, name, make_key(key, name), 4000000000000 + version, 0);
    } else if (what < 2) {
        atomic_store(&t->notes[key].begun, version << 1 | 1);
        result = bitcask_delete(t->db, name, make_key(key, name), NULL, NULL);
        atomic_store(&t->notes[key].done, version << 1 | 1);
    } else {
        atomic_store(&t->notes[key].begun, version << 1);
        result = put(w, key, version);
        atomic_store(&t->notes[key].done, version << 1);
    }
    if (result != BITCASK_OK)
        blame(w, "write", key, result);
}

/* An expired put takes the key away as a delete does. */
static void write_expired(struct worker *w)
{
    struct trial *t = w->t;
    unsigned key = w->number * KEYS + next_random(w, KEYS);
    uint32_t version = (atomic_load(&t->notes[key].done) >> 1) + 1;
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    char name[16];
    o.expire_at_ms = 1000000000000;
    atomic_store(&t->notes[key].begun, version << 1 | 1);
    int result = bitcask_put(t->db, name, make_key(key, name), "gone", 4, &o, NULL);
    atomic_store(&t->notes[key].done, version << 1 | 1);
    if (result != BITCASK_OK)
        blame(w, "expired put", key, result);
}

static void clear(struct worker *w)
{
    struct trial *t = w->t;
    pthread_rwlock_unlock(&t->alone);
    pthread_rwlock_wrlock(&t->alone);
    int result = bitcask_clear(t->db, 0);
    for (unsigned i = 0; i < ALL; i++) {
        uint32_t version = (atomic_load(&t->notes[i].done) >> 1) + 1;
        atomic_store(&t->notes[i].begun, version << 1 | 1);
        atomic_store(&t->notes[i].done, version << 1 | 1);
    }
    if (result != BITCASK_OK)
        blame(w, "clear", 0, result);
}

static void *write_all(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < w->t->operations && w->failure[0] == '\0'; i++) {
        pthread_rwlock_rdlock(&w->t->alone);
        if (i % 900 == 899 && w->number == 0)
            clear(w);
        else if (i % 16 == 0)
            write_expired(w);
        else
            write_one(w);
        pthread_rwlock_unlock(&w->t->alone);
    }
    atomic_fetch_sub(&w->t->writing, 1);
    return NULL;
}

/* ---- readers ---- */

/* What a read gave: a version, 0 for absent. False: not a value of this key. */
static bool version_of(unsigned key, const void *data, size_t size, uint32_t *ret)
{
    unsigned char value[VALUE_MAX];
    *ret = 0;
    if (size >= 4)
        memcpy(ret, data, 4);
    return *ret != 0 && make_value(key, *ret, value) == size && memcmp(value, data, size) == 0;
}

/* Between two looks at the notes: not older than what was done before, not newer than what had begun after. The state after
 * begun may be that of any version up to it, and a version stays visible until a newer one is. */
static void check_read(struct worker *w, unsigned key, uint32_t done, uint32_t begun, uint32_t got)
{
    bool good = got == 0 ? (done == 0 || (done & 1) != 0 || (begun >> 1) > (done >> 1)) : got >= done >> 1 && got <= begun >> 1;
    /* Done and deleted: a put of that very version never was. */
    if (got != 0 && got == done >> 1 && (done & 1) != 0)
        good = false;
    if (!good && w->failure[0] == '\0')
        snprintf(w->failure, sizeof w->failure, "key %u shows version %u, not one from %u%s to %u%s", key, got, done >> 1,
                 (done & 1) != 0 ? " (absent)" : "", begun >> 1, (begun & 1) != 0 ? " (absent)" : "");
}

static void read_view(struct worker *w, unsigned key, uint32_t done, int result, bitcask_view *v)
{
    uint32_t got = 0;
    if (result == BITCASK_OK) {
        if (!version_of(key, v->data, v->size, &got))
            blame(w, "a value that nobody put", key, BITCASK_OK);
        bitcask_view_release(v);
    } else if (result != BITCASK_NOT_FOUND) {
        blame(w, "read", key, result);
    }
    check_read(w, key, done, atomic_load(&w->t->notes[key].begun), got);
}

static void read_one(struct worker *w)
{
    unsigned key = next_random(w, ALL);
    uint32_t done = atomic_load(&w->t->notes[key].done);
    bitcask_view v = {NULL, 0, 0, 0, NULL};
    char name[16];
    int result = bitcask_view_get(w->t->db, name, make_key(key, name), &v);
    read_view(w, key, done, result, &v);
}

static void read_many(struct worker *w)
{
    enum { MANY = 24 };
    char names[MANY][16];
    bitcask_slice keys[MANY];
    bitcask_view views[MANY];
    int results[MANY];
    unsigned numbers[MANY];
    uint32_t done[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        numbers[i] = next_random(w, ALL);
        keys[i] = (bitcask_slice){names[i], make_key(numbers[i], names[i])};
        done[i] = atomic_load(&w->t->notes[numbers[i]].done);
    }
    int result = bitcask_get_many(w->t->db, keys, MANY, views, results);
    if (result != BITCASK_OK)
        blame(w, "get_many", 0, result);
    for (unsigned i = 0; i < MANY && result == BITCASK_OK; i++)
        read_view(w, numbers[i], done[i], results[i], &views[i]);
}

static void walk(struct worker *w, bitcask_snapshot *s, uint32_t got[ALL])
{
    bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
    bitcask_iter *it;
    o.snapshot = s;
    memset(got, 0, ALL * sizeof *got);
    int result = bitcask_iter_new(w->t->db, &o, &it);
    if (result != BITCASK_OK) {
        blame(w, "iter_new", 0, result);
        return;
    }
    while ((result = bitcask_iter_next(it)) == BITCASK_OK) {
        bitcask_slice name = bitcask_iter_key(it), value = {NULL, 0};
        char text[16] = {0};
        unsigned key = ALL;
        memcpy(text, name.data, BC_MIN(name.size, 15));
        if (sscanf(text, "k%u", &key) != 1 || key >= ALL || got[key] != 0) {
            blame(w, "a key that nobody put, or twice", key, BITCASK_OK);
            break;
        }
        result = bitcask_iter_value(it, &value);
        if (result != BITCASK_OK || !version_of(key, value.data, value.size, &got[key])) {
            blame(w, "iterator", key, result);
            break;
        }
    }
    bitcask_iter_free(it);
}

/* A snapshot, walked, then asked key by key after a while: the same. */
static void read_snapshot(struct worker *w)
{
    struct trial *t = w->t;
    bitcask_snapshot *s;
    uint32_t done[ALL], got[ALL];
    for (unsigned i = 0; i < ALL; i++)
        done[i] = atomic_load(&t->notes[i].done);
    int result = bitcask_snapshot_new(t->db, &s);
    if (result != BITCASK_OK) {
        blame(w, "snapshot", 0, result);
        return;
    }
    uint32_t begun[ALL];
    for (unsigned i = 0; i < ALL; i++)
        begun[i] = atomic_load(&t->notes[i].begun);
    walk(w, s, got);
    for (unsigned i = 0; i < ALL && w->failure[0] == '\0'; i++)
        check_read(w, i, done[i], begun[i], got[i]);
    for (unsigned pass = 0; pass < 2; pass++) {
        usleep(200);
        for (unsigned i = 0; i < ALL && w->failure[0] == '\0'; i++) {
            bitcask_view v;
            char name[16];
            uint32_t again = 0;
            result = bitcask_snapshot_view(s, name, make_key(i, name), &v);
            if (result == BITCASK_OK) {
                (void)version_of(i, v.data, v.size, &again);
                bitcask_view_release(&v);
            }
            if (again != got[i])
                blame(w, "a snapshot changed", i, result);
        }
    }
    bitcask_snapshot_release(s);
}

/* Notes of all keys move at once while a clear runs: no read may straddle it. */
static void *read_all(void *arg)
{
    struct worker *w = arg;
    while (atomic_load(&w->t->writing) > 0 && w->failure[0] == '\0') {
        unsigned what = next_random(w, 40);
        pthread_rwlock_rdlock(&w->t->alone);
        if (what == 0)
            read_snapshot(w);
        else if (what < 8)
            read_many(w);
        else
            read_one(w);
        pthread_rwlock_unlock(&w->t->alone);
    }
    return NULL;
}

static void *merge_all(void *arg)
{
    struct worker *w = arg;
    while (atomic_load(&w->t->writing) > 0 && w->failure[0] == '\0') {
        int result = bitcask_merge(w->t->db, NULL, NULL);
        if (result != BITCASK_OK && result != BITCASK_CANCELLED) /* by a clear */
            blame(w, "merge", 0, result);
        if (next_random(w, 8) == 0) {
            (void)bitcask_merge_pause(w->t->db);
            usleep(500);
            (void)bitcask_merge_resume(w->t->db);
        }
        usleep(2000);
    }
    return NULL;
}

/* ---- the trial ---- */

static void check_end(struct trial *t, const char *when)
{
    for (unsigned i = 0; i < ALL; i++) {
        bitcask_view v;
        char name[16];
        uint32_t done = atomic_load(&t->notes[i].done), got = 0;
        int result = bitcask_view_get(t->db, name, make_key(i, name), &v);
        if (result == BITCASK_OK) {
            ck_assert(version_of(i, v.data, v.size, &got));
            bitcask_view_release(&v);
        }
        ck_assert_msg(got == ((done & 1) != 0 ? 0 : done >> 1), "%s: key %u: %s, version %u, not %u%s", when, i,
                      bitcask_errname(result), got, done >> 1, (done & 1) != 0 ? " (absent)" : "");
    }
}

static void run_trial(unsigned seed, int mode)
{
    static struct trial t;
    struct worker w[WRITERS + READERS + 1];
    bitcask_options o = store_options(mode);
    const char *path = store_path(), *name;
    memset(&t, 0, sizeof t);
    o.max_open_files = seed % 2 == 0 ? 3 : 0;
    o.merge_check_interval_ms = 1;
    o.frag_merge_trigger = 20;
    o.frag_threshold = 10;
    t.operations = (unsigned)(2500 * store_scale());
    t.writing = WRITERS;
    t.db = store_open(path, &o);
    ck_assert_int_eq(pthread_rwlock_init(&t.alone, NULL), 0);
    for (unsigned i = 0; i < BC_ARRAY_SIZE(w); i++) {
        void *(*work)(void *) = i < WRITERS ? write_all : i < WRITERS + READERS ? read_all : merge_all;
        w[i] = (struct worker){.t = &t, .number = i, .x = seed * 977 + i * 7919};
        ck_assert_int_eq(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (unsigned i = 0; i < BC_ARRAY_SIZE(w); i++)
        ck_assert_int_eq(pthread_join(w[i].thread, NULL), 0);
    for (unsigned i = 0; i < BC_ARRAY_SIZE(w); i++)
        ck_assert_msg(w[i].failure[0] == '\0', "seed %u, worker %u: %s", seed, i, w[i].failure);
    bitcask_stats s = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(t.db, &s), BITCASK_OK);
    ck_assert_uint_gt(s.merges, 10);
    ck_assert_uint_eq(s.merge_failures, 0);
    ck_assert_uint_eq(s.snapshots, 0);
    check_end(&t, "at the end");
    o.flags |= BITCASK_OPEN_NO_MERGE;
    for (int again = 0; again < 2; again++) {
        store_close(t.db);
        while (again == 1 && (name = store_nth(path, ".hint", 0)) != NULL)
            store_remove(store_file(path, name));
        t.db = store_open(path, &o);
        check_end(&t, again == 0 ? "reopened" : "reopened by scan");
    }
    ck_assert_int_eq(bitcask_merge(t.db, NULL, NULL), BITCASK_OK);
    check_end(&t, "merged");
    store_close(t.db);
    pthread_rwlock_destroy(&t.alone);
    store_remove(path);
}

START_TEST(test_reads_beside_merges_show_what_was_written)
{
    for (unsigned seed = 1; seed <= store_scale(); seed++)
        run_trial(seed * 2 + (unsigned)_i, _i);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("merge_model");
    TCase *t = store_tcase("model");
    store_add_test(t, test_reads_beside_merges_show_what_was_written);
    suite_add_tcase(s, t);
    return s;
}
