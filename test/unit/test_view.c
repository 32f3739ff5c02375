/* test_view.c - views and get_many: a view's bytes lie where the file has them and stay there, whatever happens to the key, the
 * file or the store, until it is released; many keys at once answer as each of them alone. */
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/store.h"

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *d = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(d);
    while (readdir(d) != NULL)
        count++;
    closedir(d);
    return count;
}

static size_t key_of(unsigned number, char dst[16])
{
    return (size_t)snprintf(dst, 16, "key%06u", number);
}

/* A view, and what it must go on to show. */
struct held {
    bitcask_view view;
    void *copy;
    size_t size;
};

static struct held hold(bitcask *db, unsigned number)
{
    struct held h = {.copy = NULL};
    char key[16];
    size_t key_size = key_of(number, key);
    ck_assert_int_eq(bitcask_get(db, key, key_size, &h.copy, &h.size), BITCASK_OK);
    ck_assert_int_eq(bitcask_view_get(db, key, key_size, &h.view), BITCASK_OK);
    return h;
}

static bool same(const struct held *h)
{
    return h->view.size == h->size && memcmp(h->view.data, h->copy, h->size) == 0;
}

static void let_go(struct held *h)
{
    ck_assert(same(h));
    bitcask_view_release(&h->view);
    free(h->copy);
}

static void check_all(const struct held *held, size_t count, const char *when)
{
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(same(&held[i]), "view %zu has other bytes after %s", i, when);
}

/* ---- one view ---- */

/* What the key's info says is what the view says; an empty value has a view too. */
START_TEST(test_fields)
{
    struct store_clock clock = {.now = 2000000000000};
    bitcask_options o = store_options(_i);
    o.clock = store_clock_now;
    o.clock_ctx = &clock;
    bitcask *db = store_open(store_path(), &o);
    uint64_t sequence;
    bitcask_view v;
    ck_assert_int_eq(store_put_flags(db, "a", "Ada", 0, 0, 2000000000500, &sequence), BITCASK_OK);
    ck_assert_int_eq(bitcask_view_get(db, "a", 1, &v), BITCASK_OK);
    ck_assert_uint_eq(v.size, 3);
    ck_assert_mem_eq(v.data, "Ada", 3);
    ck_assert_uint_eq(v.sequence, sequence);
    ck_assert_int_eq(v.expire_at_ms, 2000000000500);
    bitcask_view_release(&v);
    ck_assert_int_eq(bitcask_put(db, "e", 1, "", 0, NULL, &sequence), BITCASK_OK);
    ck_assert_int_eq(bitcask_view_get(db, "e", 1, &v), BITCASK_OK);
    ck_assert_uint_eq(v.size, 0);
    ck_assert_uint_eq(v.sequence, sequence);
    ck_assert_int_eq(v.expire_at_ms, 0);
    bitcask_view_release(&v);
    /* Untouched on failure: absent, expired, not a key. */
    bitcask_view mark = {"x", 1, 2, 3, NULL}, before = mark;
    atomic_store(&clock.now, 2000000000500);
    ck_assert_int_eq(bitcask_view_get(db, "a", 1, &mark), BITCASK_NOT_FOUND);
    ck_assert_int_eq(bitcask_view_get(db, "none", 4, &mark), BITCASK_NOT_FOUND);
    ck_assert_int_eq(bitcask_view_get(db, "", 0, &mark), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_view_get(db, NULL, 3, &mark), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_view_get(db, "k", 65536, &mark), BITCASK_TOO_LARGE);
    ck_assert(memcmp(&mark, &before, sizeof mark) == 0);
    store_close(db);
}
END_TEST

/* Where files are mapped two views of a key are the same memory; where they are not each owns its own. */
START_TEST(test_zero_copy)
{
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    ck_assert_int_eq(store_put_number(db, 1, 1, 20000), BITCASK_OK);
    struct held a = hold(db, 1), b = hold(db, 1);
    ck_assert((a.view.data == b.view.data) == (_i == 0));
    let_go(&a);
    let_go(&b);
    store_close(db);
}
END_TEST

START_TEST(test_release_twice_and_zeroed)
{
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    ck_assert_int_eq(store_put_number(db, 1, 1, 100), BITCASK_OK);
    struct held h = hold(db, 1), other = hold(db, 1);
    bitcask_view zero = {0}, none = {0};
    bitcask_view_release(&zero);
    ck_assert(memcmp(&zero, &none, sizeof zero) == 0);
    bitcask_view_release(&h.view);
    ck_assert(h.view.data == NULL && h.view.size == 0 && h.view.pin == NULL);
    ck_assert(h.view.sequence == 0 && h.view.expire_at_ms == 0);
    bitcask_view_release(&h.view);
    bitcask_view_release(&h.view);
    free(h.copy);
    let_go(&other);
    store_close(db);
}
END_TEST

/* ---- pinned ---- */

static void overwrite(bitcask *db)
{
    for (unsigned i = 0; i < STORE_NUMBERS; i++)
        ck_assert_int_eq(store_put_number(db, i, 2, STORE_NUMBER_SIZE), BITCASK_OK);
}

static void delete_all(bitcask *db)
{
    char key[16];
    for (unsigned i = 0; i < STORE_NUMBERS; i++) {
        int result = bitcask_delete(db, key, key_of(i, key), NULL, NULL);
        ck_assert(result == BITCASK_OK || result == BITCASK_NOT_FOUND);
    }
}

static void clear(bitcask *db)
{
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
}

static void rotate(bitcask *db)
{
    for (unsigned i = 0; i < 60; i++)
        ck_assert_int_eq(store_put_number(db, 1000 + i, 1, 5000), BITCASK_OK);
}

/* Every read opens a file, with room for two. */
static void evict(bitcask *db)
{
    rotate(db);
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 60; i++)
            ck_assert_int_eq(store_check_number(db, 1000 + i, 1, 5000), 0);
}

static void sync_all(bitcask *db)
{
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
}

/* The bytes stay valid and unchanged through each of these, alone and with all that came before, and through close; the
 * descriptors that views kept alive go with the last of them. */
START_TEST(test_view_outlives)
{
    static const struct {
        const char *name;
        void (*act)(bitcask *);
    } events[] = {{"overwrite", overwrite}, {"eviction", evict}, {"sync", sync_all},   {"delete", delete_all},
                  {"rotation", rotate},     {"clear", clear},    {"rotation", rotate}, {"eviction", evict},
                  {"second clear", clear},  {"close", NULL}};
    enum { EVENTS = sizeof events / sizeof *events };
    unsigned before = open_descriptors();
    for (unsigned only = 0; only <= EVENTS; only++) { /* EVENTS: one after the other */
        const char *path = store_make_numbers(_i);
        bitcask_options o = store_options(_i);
        o.max_open_files = 2;
        bitcask *db = store_open(path, &o);
        struct held held[STORE_NUMBERS + 5];
        size_t count = 0;
        for (unsigned i = 0; i < STORE_NUMBERS; i++)
            held[count++] = hold(db, i);
        /* And some in the file that is being written. */
        for (unsigned i = 0; i < 5; i++) {
            ck_assert_int_eq(store_put_number(db, 500 + i, 1, 700), BITCASK_OK);
            held[count++] = hold(db, 500 + i);
        }
        for (unsigned e = 0; e < EVENTS; e++) {
            if ((only != EVENTS && only != e) || events[e].act == NULL)
                continue;
            events[e].act(db);
            check_all(held, count, events[e].name);
        }
        store_close(db);
        check_all(held, count, "close");
        store_remove(path);
        check_all(held, count, "removal of the directory");
        for (size_t i = 0; i < count; i++)
            let_go(&held[i]);
        ck_assert_uint_eq(open_descriptors(), before);
    }
}
END_TEST

/* A record that is larger than a file has a file, and a view, of its own; the active file's mapping grows under a view. */
START_TEST(test_view_of_a_large_value)
{
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    ck_assert_int_eq(store_put_number(db, 0, 1, 100), BITCASK_OK);
    struct held small = hold(db, 0);
    ck_assert_int_eq(store_put_number(db, 1, 1, 300000), BITCASK_OK);
    struct held large = hold(db, 1);
    ck_assert_int_eq(store_put_number(db, 0, 2, 900000), BITCASK_OK);
    ck_assert_int_eq(store_put_number(db, 1, 2, 10), BITCASK_OK);
    clear(db);
    ck_assert(same(&small) && same(&large));
    store_close(db);
    let_go(&large);
    let_go(&small);
}
END_TEST

/* ---- releases from other threads ---- */

#define THREADS 4U

struct releaser {
    pthread_t thread;
    struct held *held;
    const unsigned *order;
    unsigned count, number;
    bool good;
};

static void *release_some(void *arg)
{
    struct releaser *r = arg;
    r->good = true;
    for (unsigned i = r->number; i < r->count; i += THREADS) {
        struct held *h = &r->held[r->order[i]];
        r->good = r->good && same(h);
        bitcask_view_release(&h->view);
        free(h->copy);
    }
    return NULL;
}

static void shuffle(unsigned *order, unsigned count, unsigned *x)
{
    for (unsigned i = 0; i < count; i++)
        order[i] = i;
    for (unsigned i = count; i > 1; i--) {
        *x = *x * 1664525U + 1013904223U;
        unsigned j = (*x >> 8) % i, swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}

/* Any thread, any order, beside a clear, beside the close, and after it. */
START_TEST(test_releases_from_threads)
{
    unsigned before = open_descriptors(), x = 17;
    for (unsigned round = 0; round < 12 * store_scale(); round++) {
        const char *path = store_make_numbers(_i);
        bitcask_options o = store_options(_i);
        o.max_open_files = 2;
        bitcask *db = store_open(path, &o);
        struct held held[2 * STORE_NUMBERS];
        unsigned order[2 * STORE_NUMBERS];
        for (unsigned i = 0; i < 2 * STORE_NUMBERS; i++)
            held[i] = hold(db, i % STORE_NUMBERS);
        shuffle(order, 2 * STORE_NUMBERS, &x);
        if (round % 3 == 2)
            store_close(db);
        struct releaser r[THREADS];
        for (unsigned i = 0; i < THREADS; i++) {
            r[i] = (struct releaser){.held = held, .order = order, .count = 2 * STORE_NUMBERS, .number = i};
            ck_assert_int_eq(pthread_create(&r[i].thread, NULL, release_some, &r[i]), 0);
        }
        if (round % 3 == 1)
            clear(db);
        if (round % 3 != 2)
            store_close(db);
        for (unsigned i = 0; i < THREADS; i++) {
            ck_assert_int_eq(pthread_join(r[i].thread, NULL), 0);
            ck_assert(r[i].good);
        }
        ck_assert_uint_eq(open_descriptors(), before);
        store_remove(path);
    }
}
END_TEST

/* ---- many ---- */

/* What get_many() answers is what bitcask_get() answers, for each key. */
static void check_many(bitcask *db, const bitcask_slice *keys, size_t count, bitcask_view *views, int *results)
{
    memset(views, 0x5a, count * sizeof *views);
    memset(results, 0x5a, count * sizeof *results);
    ck_assert_int_eq(bitcask_get_many(db, keys, count, views, results), BITCASK_OK);
    for (size_t i = 0; i < count; i++) {
        void *value;
        size_t size;
        static const bitcask_view zero;
        int result = bitcask_get(db, keys[i].data, keys[i].size, &value, &size);
        ck_assert_msg(results[i] == result, "key %zu: %s, alone %s", i, bitcask_errname(results[i]), bitcask_errname(result));
        if (result != BITCASK_OK) {
            ck_assert_msg(memcmp(&views[i], &zero, sizeof zero) == 0, "key %zu: the view is not zeroed", i);
            continue;
        }
        ck_assert_uint_eq(views[i].size, size);
        ck_assert_mem_eq(views[i].data, value, size);
        bitcask_free(value);
        bitcask_key_info info = BITCASK_KEY_INFO_INIT;
        ck_assert_int_eq(bitcask_info(db, keys[i].data, keys[i].size, &info), BITCASK_OK);
        ck_assert_uint_eq(views[i].sequence, info.sequence);
        ck_assert_int_eq(views[i].expire_at_ms, info.expire_at_ms);
    }
}

#define MANY 150U

/* Found, missing, expired, deleted, invalid, too long and duplicate keys mixed, in every number around the groups of 32. */
START_TEST(test_get_many)
{
    struct store_clock clock = {.now = 2000000000000};
    const char *path = store_make_numbers(_i);
    bitcask_options o = store_options(_i);
    o.clock = store_clock_now;
    o.clock_ctx = &clock;
    o.max_open_files = 2;
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put_flags(db, "expired", "x", 0, 0, 1999999999999, NULL), BITCASK_OK);
    ck_assert_int_eq(store_put_flags(db, "expires", "y", 0, 0, 2000000000001, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_put(db, "empty", 5, NULL, 0, NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_delete(db, "key000003", 9, NULL, NULL), BITCASK_OK);
    static char names[MANY][16];
    static char longest[65536];
    bitcask_slice keys[MANY];
    for (unsigned i = 0; i < MANY; i++)
        keys[i] = (bitcask_slice){names[i], key_of(i % 70, names[i])}; /* 60 and on are absent; from 70 on duplicates */
    keys[7] = (bitcask_slice){NULL, 4};
    keys[31] = (bitcask_slice){"", 0};
    keys[32] = (bitcask_slice){"expired", 7};
    keys[33] = (bitcask_slice){"expires", 7};
    keys[34] = keys[64] = keys[65] = (bitcask_slice){"empty", 5};
    keys[40] = (bitcask_slice){longest, 65536};
    keys[41] = (bitcask_slice){longest, 65535};
    bitcask_view views[MANY];
    int results[MANY];
    static const size_t counts[] = {1, 2, 31, 32, 33, 63, 64, 65, MANY};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        check_many(db, keys, counts[c], views, results);
        for (size_t i = 0; i < counts[c]; i++)
            bitcask_view_release(&views[i]);
    }
    check_many(db, keys, MANY, views, results);
    ck_assert_int_eq(results[7], BITCASK_INVALID);
    ck_assert_int_eq(results[31], BITCASK_INVALID);
    ck_assert_int_eq(results[32], BITCASK_NOT_FOUND);
    ck_assert_int_eq(results[33], BITCASK_OK);
    ck_assert_int_eq(results[34], BITCASK_OK);
    ck_assert_int_eq(results[40], BITCASK_TOO_LARGE);
    ck_assert_int_eq(results[3], BITCASK_NOT_FOUND);
    ck_assert_int_eq(results[60], BITCASK_NOT_FOUND);
    clear(db);
    store_close(db);
    for (size_t i = MANY; i > 0; i--) {
        if (results[i - 1] == BITCASK_OK && views[i - 1].size > 0)
            ck_assert_int_ge(((const unsigned char *)views[i - 1].data)[views[i - 1].size - 1], 0);
        bitcask_view_release(&views[i - 1]);
    }
}
END_TEST

START_TEST(test_get_many_arguments)
{
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    bitcask_slice key = {"a", 1};
    bitcask_view view;
    int result;
    ck_assert_int_eq(bitcask_get_many(db, NULL, 0, NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_get_many(db, NULL, 1, &view, &result), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_get_many(db, &key, 1, NULL, &result), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_get_many(db, &key, 1, &view, NULL), BITCASK_INVALID);
    store_close(db);
}
END_TEST

/* A damaged record costs its own key alone. */
START_TEST(test_get_many_damaged)
{
    for (long within = 0; within < 2; within++) { /* its head, its value */
        const char *path = store_make_numbers(_i);
        const char *file = store_file(path, "0000000001.data");
        size_t size;
        char *data = store_read_file(file, &size);
        const char *at = memmem(data, size, "key000005", 9);
        ck_assert_ptr_nonnull(at);
        store_flip(file, (long)(at - data) + (within == 0 ? 2 : 200), 4);
        free(data);
        bitcask_options o = store_options(_i);
        bitcask *db = store_open(path, &o);
        char names[STORE_NUMBERS][16];
        bitcask_slice keys[STORE_NUMBERS];
        bitcask_view views[STORE_NUMBERS], view, before;
        int results[STORE_NUMBERS];
        for (unsigned i = 0; i < STORE_NUMBERS; i++)
            keys[i] = (bitcask_slice){names[i], key_of(i, names[i])};
        check_many(db, keys, STORE_NUMBERS, views, results);
        for (unsigned i = 0; i < STORE_NUMBERS; i++) {
            ck_assert_int_eq(results[i], i == 5 ? BITCASK_CORRUPT : BITCASK_OK);
            bitcask_view_release(&views[i]);
        }
        memset(&view, 0x77, sizeof view);
        before = view;
        ck_assert_int_eq(bitcask_view_get(db, "key000005", 9, &view), BITCASK_CORRUPT);
        ck_assert(memcmp(&view, &before, sizeof view) == 0);
        store_expect_failure(BITCASK_CORRUPT, "0000000001.data", "damaged");
        store_close(db);
    }
}
END_TEST

/* Under a writer that overwrites, deletes and rotates, each answer is a value that the key once had. */
struct writer {
    bitcask *db;
    pthread_t thread;
    atomic_bool stop;
    int failed;
};

static void *write_on(void *arg)
{
    struct writer *w = arg;
    char key[16];
    for (unsigned n = 0; !atomic_load(&w->stop) && w->failed == 0; n++) {
        unsigned i = n % 40;
        char value[600];
        memset(value, 'a' + (int)(n % 26), sizeof value);
        size_t key_size = key_of(i, key);
        memcpy(value, key, key_size);
        w->failed = n % 7 == 3 ? bitcask_delete(w->db, key, key_size, NULL, NULL)
                               : bitcask_put(w->db, key, key_size, value, sizeof value, NULL, NULL);
        if (w->failed == BITCASK_NOT_FOUND)
            w->failed = 0;
    }
    return NULL;
}

START_TEST(test_get_many_beside_a_writer)
{
    bitcask_options o = store_options(_i);
    o.max_open_files = 2;
    struct writer w = {.db = store_open(store_path(), &o)};
    ck_assert_int_eq(pthread_create(&w.thread, NULL, write_on, &w), 0);
    char names[40][16];
    bitcask_slice keys[40];
    for (unsigned i = 0; i < 40; i++)
        keys[i] = (bitcask_slice){names[i], key_of(i, names[i])};
    unsigned found = 0;
    for (unsigned round = 0; round < 50 * store_scale() || found < 500; round++) {
        bitcask_view views[40];
        int results[40];
        ck_assert_int_eq(bitcask_get_many(w.db, keys, 40, views, results), BITCASK_OK);
        for (unsigned i = 0; i < 40; i++) {
            ck_assert(results[i] == BITCASK_OK || results[i] == BITCASK_NOT_FOUND);
            if (results[i] != BITCASK_OK)
                continue;
            found++;
            const char *v = views[i].data;
            ck_assert_uint_eq(views[i].size, 600);
            ck_assert_mem_eq(v, names[i], keys[i].size);
            for (size_t at = keys[i].size; at < 600; at++)
                ck_assert(v[at] == v[599]);
        }
        for (unsigned i = 0; i < 40; i++)
            bitcask_view_release(&views[i]);
    }
    atomic_store(&w.stop, true);
    ck_assert_int_eq(pthread_join(w.thread, NULL), 0);
    ck_assert_int_eq(w.failed, 0);
    store_close(w.db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("view");
    TCase *t = store_tcase("view");
    store_add_test(t, test_fields);
    store_add_test(t, test_zero_copy);
    store_add_test(t, test_release_twice_and_zeroed);
    store_add_test(t, test_view_outlives);
    store_add_test(t, test_view_of_a_large_value);
    store_add_test(t, test_releases_from_threads);
    suite_add_tcase(s, t);
    t = store_tcase("many");
    store_add_test(t, test_get_many);
    store_add_test(t, test_get_many_arguments);
    store_add_test(t, test_get_many_damaged);
    store_add_test(t, test_get_many_beside_a_writer);
    suite_add_tcase(s, t);
    return s;
}
