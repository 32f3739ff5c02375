/* test_iter.c - iterators and fold: every key of one moment exactly once, in bounds and in order where they are asked for;
 * damage costs one key; callbacks run under no lock. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/store.h"

static bitcask *open_mode(int mode)
{
    bitcask_options o = store_options(mode);
    return store_open(store_path(), &o);
}

static bitcask_iter *iter_of(bitcask *db, const bitcask_iter_options *o)
{
    bitcask_iter *it = NULL;
    ck_assert_int_eq(bitcask_iter_new(db, o, &it), BITCASK_OK);
    return it;
}

static void expect_end(bitcask_iter *it)
{
    bitcask_slice value = {"x", 1};
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(bitcask_iter_next(it), BITCASK_NOT_FOUND);
        ck_assert(bitcask_iter_key(it).data == NULL && bitcask_iter_key(it).size == 0);
        ck_assert_int_eq(bitcask_iter_value(it, &value), BITCASK_INVALID);
        ck_assert_int_eq(bitcask_iter_info(it, &info), BITCASK_INVALID);
    }
    ck_assert(value.size == 1 && info.value_size == 0);
}

/* ---- bounds and order: against a model ---- */

#define WORDS 400U

struct words {
    unsigned char bytes[WORDS][8];
    size_t size[WORDS];
    unsigned count;
};

static int compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

/* Short keys of few letters, 0 and 0xff among them: many are prefixes of others. Kept in order. */
static void make_words(bitcask *db, struct words *w)
{
    static const unsigned char letters[] = {0, 1, 'a', 'b', 0x7f, 0x80, 0xfe, 0xff};
    unsigned x = 99;
    w->count = 0;
    while (w->count < WORDS) {
        unsigned char word[8];
        x = x * 1664525U + 1013904223U;
        size_t size = 1 + (x >> 10) % 5, at = 0;
        for (size_t i = 0; i < size; i++) {
            x = x * 1664525U + 1013904223U;
            word[i] = letters[(x >> 12) % 8];
        }
        while (at < w->count && compare(w->bytes[at], w->size[at], word, size) < 0)
            at++;
        if (at < w->count && compare(w->bytes[at], w->size[at], word, size) == 0)
            continue;
        memmove(w->bytes[at + 1], w->bytes[at], (w->count - at) * sizeof w->bytes[0]);
        memmove(&w->size[at + 1], &w->size[at], (w->count - at) * sizeof w->size[0]);
        memcpy(w->bytes[at], word, sizeof word);
        w->size[at] = size;
        w->count++;
        ck_assert_int_eq(bitcask_put(db, word, size, word, size, NULL, NULL), BITCASK_OK);
    }
}

static bool in_bounds(const bitcask_iter_options *o, const unsigned char *word, size_t size)
{
    if (o->prefix.size > 0 && (size < o->prefix.size || memcmp(word, o->prefix.data, o->prefix.size) != 0))
        return false;
    if (o->first.data != NULL && compare(word, size, o->first.data, o->first.size) < 0)
        return false;
    return o->last.data == NULL || compare(word, size, o->last.data, o->last.size) <= 0;
}

static void check_words(bitcask *db, const struct words *w, const bitcask_iter_options *o)
{
    bitcask_iter *it = iter_of(db, o);
    bool seen[WORDS] = {false};
    unsigned expected = 0, got = 0, at = 0;
    for (unsigned i = 0; i < WORDS; i++)
        expected += in_bounds(o, w->bytes[i], w->size[i]);
    if (o->limit != 0 && o->limit < expected)
        expected = (unsigned)o->limit;
    ck_assert_ptr_null(bitcask_iter_key(it).data);
    int result;
    while ((result = bitcask_iter_next(it)) == BITCASK_OK) {
        bitcask_slice key = bitcask_iter_key(it), value = {NULL, 0};
        if ((o->flags & BITCASK_ITER_SORTED) != 0) {
            while (at < WORDS && !in_bounds(o, w->bytes[at], w->size[at]))
                at++;
        } else {
            for (at = 0; at < WORDS && compare(key.data, key.size, w->bytes[at], w->size[at]) != 0;)
                at++;
        }
        ck_assert_uint_lt(at, WORDS);
        ck_assert(compare(key.data, key.size, w->bytes[at], w->size[at]) == 0);
        ck_assert(in_bounds(o, w->bytes[at], w->size[at]) && !seen[at]);
        seen[at++] = true;
        got++;
        if ((o->flags & BITCASK_ITER_KEYS_ONLY) != 0) {
            ck_assert_int_eq(bitcask_iter_value(it, &value), BITCASK_INVALID);
            ck_assert_ptr_null(value.data);
        } else {
            ck_assert_int_eq(bitcask_iter_value(it, &value), BITCASK_OK);
            ck_assert(compare(value.data, value.size, key.data, key.size) == 0);
        }
        bitcask_key_info info = BITCASK_KEY_INFO_INIT;
        ck_assert_int_eq(bitcask_iter_info(it, &info), BITCASK_OK);
        ck_assert_uint_eq(info.value_size, key.size);
    }
    ck_assert_int_eq(result, BITCASK_NOT_FOUND);
    ck_assert_uint_eq(got, expected);
    expect_end(it);
    bitcask_iter_free(it);
}

/* Prefix, first, last and limit in all combinations; SORTED is the order of memcmp, a prefix before what it starts. */
START_TEST(test_bounds_and_order)
{
    static const bitcask_slice prefixes[] = {{NULL, 0}, {"", 0}, {"a", 1}, {"\xff", 1}, {"\xff\xff", 2}, {"\0", 1}, {"zz", 2}};
    static const bitcask_slice bounds[] = {
        {NULL, 0}, {"", 0}, {"\0", 1}, {"a", 1}, {"a\xff", 2}, {"\xff", 1}, {"\xff\xff\xff\xff\xff\xff", 6}};
    bitcask *db = open_mode(_i);
    struct words *w = malloc(sizeof *w);
    ck_assert_ptr_nonnull(w);
    make_words(db, w);
    for (uint32_t flags = 0; flags < 4; flags++)
        for (unsigned p = 0; p < 7; p++)
            for (unsigned f = 0; f < 7; f++)
                for (unsigned l = 0; l < 7; l++) {
                    bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
                    o.flags = flags;
                    o.prefix = prefixes[p];
                    o.first = bounds[f];
                    o.last = bounds[l];
                    o.limit = (p + f + l) % 3 == 0 ? 0 : p * 5 + l;
                    check_words(db, w, &o);
                }
    /* Each word as both bounds: itself alone. */
    for (unsigned i = 0; i < WORDS; i += 7) {
        bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
        o.first = o.last = (bitcask_slice){w->bytes[i], w->size[i]};
        bitcask_iter *it = iter_of(db, &o);
        ck_assert_int_eq(bitcask_iter_next(it), BITCASK_OK);
        ck_assert_int_eq(bitcask_iter_next(it), BITCASK_NOT_FOUND);
        bitcask_iter_free(it);
    }
    free(w);
    store_close(db);
}
END_TEST

/* The options borrow nothing beyond the call. */
START_TEST(test_bounds_are_copied)
{
    bitcask *db = open_mode(_i);
    ck_assert_int_eq(store_put(db, "aa", "1"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "ab", "2"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "b", "3"), BITCASK_OK);
    char *prefix = strdup("a"), *first = strdup("ab"), *last = strdup("ab");
    bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
    o.prefix = (bitcask_slice){prefix, 1};
    o.first = (bitcask_slice){first, 2};
    o.last = (bitcask_slice){last, 2};
    bitcask_iter *it = iter_of(db, &o);
    memset(prefix, 'z', 1);
    memset(first, 'z', 2);
    memset(last, '0', 2);
    free(prefix);
    free(first);
    free(last);
    ck_assert_int_eq(bitcask_iter_next(it), BITCASK_OK);
    ck_assert_mem_eq(bitcask_iter_key(it).data, "ab", 2);
    expect_end(it);
    bitcask_iter_free(it);
    store_close(db);
}
END_TEST

START_TEST(test_empty_store)
{
    bitcask *db = open_mode(_i);
    for (uint32_t flags = 0; flags < 4; flags++) {
        bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
        o.flags = flags;
        bitcask_iter *it = iter_of(db, &o);
        ck_assert_int_eq(bitcask_iter_value(it, &(bitcask_slice){NULL, 0}), BITCASK_INVALID);
        expect_end(it);
        bitcask_iter_free(it);
    }
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    ck_assert_int_eq(bitcask_delete(db, "a", 1, NULL, NULL), BITCASK_OK);
    bitcask_iter *it = iter_of(db, NULL);
    expect_end(it);
    bitcask_iter_free(it);
    bitcask_iter_free(NULL);
    store_close(db);
}
END_TEST

/* Values of no bytes are values. */
START_TEST(test_empty_values)
{
    bitcask *db = open_mode(_i);
    for (char c = 'a'; c <= 'e'; c++)
        ck_assert_int_eq(bitcask_put(db, &c, 1, NULL, 0, NULL, NULL), BITCASK_OK);
    bitcask_iter *it = iter_of(db, NULL);
    for (unsigned i = 0; i < 5; i++) {
        bitcask_slice value = {"x", 1};
        ck_assert_int_eq(bitcask_iter_next(it), BITCASK_OK);
        ck_assert_int_eq(bitcask_iter_value(it, &value), BITCASK_OK);
        ck_assert_int_eq(bitcask_iter_value(it, &value), BITCASK_OK);
        ck_assert_uint_eq(value.size, 0);
    }
    expect_end(it);
    bitcask_iter_free(it);
    store_close(db);
}
END_TEST

/* ---- options ---- */

START_TEST(test_options)
{
    struct {
        bitcask_iter_options o;
        unsigned char tail[8];
    } wide = {.o = BITCASK_ITER_OPTIONS_INIT};
    bitcask *db = open_mode(_i), *other = open_mode(_i);
    bitcask_iter *const mark = (bitcask_iter *)&wide;
    bitcask_iter *it = mark;
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "b", "2"), BITCASK_OK);
    bitcask_iter_options init;
    bitcask_iter_options_init(&init, sizeof init);
    ck_assert(memcmp(&init, &(bitcask_iter_options)BITCASK_ITER_OPTIONS_INIT, sizeof init) == 0);
    /* A struct of a later version: its tail must be zero. */
    wide.o.struct_size = sizeof wide;
    ck_assert_int_eq(bitcask_iter_new(db, &wide.o, &it), BITCASK_OK);
    bitcask_iter_free(it);
    it = mark;
    wide.tail[7] = 1;
    ck_assert_int_eq(bitcask_iter_new(db, &wide.o, &it), BITCASK_UNSUPPORTED);
    /* One of an earlier version: what it does not have is default. */
    wide.o.limit = 1;
    wide.o.last = (bitcask_slice){"a", 1};
    wide.o.struct_size = offsetof(bitcask_iter_options, last);
    ck_assert_int_eq(bitcask_iter_new(db, &wide.o, &it), BITCASK_OK);
    ck_assert_int_eq(bitcask_iter_next(it), BITCASK_OK);
    ck_assert_int_eq(bitcask_iter_next(it), BITCASK_OK);
    bitcask_iter_free(it);
    it = mark;
    wide.o.struct_size = 0;
    ck_assert_int_eq(bitcask_iter_new(db, &wide.o, &it), BITCASK_INVALID);
    bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
    o.flags = 4;
    ck_assert_int_eq(bitcask_iter_new(db, &o, &it), BITCASK_UNSUPPORTED);
    o.flags = 0;
    o.reserved = 1;
    ck_assert_int_eq(bitcask_iter_new(db, &o, &it), BITCASK_UNSUPPORTED);
    o.reserved = 0;
    o.prefix.size = 3;
    ck_assert_int_eq(bitcask_iter_new(db, &o, &it), BITCASK_INVALID);
    /* A length of -1, say: sums of sizes must not overflow to something small. */
    o.prefix = (bitcask_slice){"a", SIZE_MAX};
    o.first = (bitcask_slice){"a", 1};
    ck_assert_int_eq(bitcask_iter_new(db, &o, &it), BITCASK_INVALID);
    o.prefix = o.first = (bitcask_slice){NULL, 0};
    ck_assert_int_eq(bitcask_snapshot_new(other, &o.snapshot), BITCASK_OK);
    ck_assert_int_eq(bitcask_iter_new(db, &o, &it), BITCASK_INVALID);
    bitcask_snapshot_release(o.snapshot);
    ck_assert_ptr_eq(it, mark);
    /* A result of an earlier and of a later version. */
    struct {
        bitcask_key_info info;
        unsigned char tail[8];
    } result;
    it = iter_of(db, NULL);
    ck_assert_int_eq(bitcask_iter_next(it), BITCASK_OK);
    memset(&result, 0x5a, sizeof result);
    result.info.struct_size = sizeof result;
    ck_assert_int_eq(bitcask_iter_info(it, &result.info), BITCASK_OK);
    ck_assert_uint_eq(result.info.value_size, 1);
    ck_assert_uint_eq(result.tail[0], 0x5a);
    memset(&result, 0x5a, sizeof result);
    result.info.struct_size = offsetof(bitcask_key_info, sequence);
    ck_assert_int_eq(bitcask_iter_info(it, &result.info), BITCASK_OK);
    ck_assert_uint_eq(result.info.value_size, 1);
    ck_assert_uint_eq(result.info.sequence, 0x5a5a5a5a5a5a5a5a);
    result.info.struct_size = 0;
    ck_assert_int_eq(bitcask_iter_info(it, &result.info), BITCASK_INVALID);
    bitcask_iter_free(it);
    /* Refused iterators left nothing behind: the store closes. */
    store_close(db);
    store_close(other);
}
END_TEST

/* ---- one moment ---- */

/* Expired keys are not shown, judged when the iterator is made; a key that expires under way still is. */
START_TEST(test_expired_keys)
{
    const int64_t now = 2000000000000;
    struct store_clock clock = {.now = now};
    bitcask_options o = store_options(_i);
    o.clock = store_clock_now;
    o.clock_ctx = &clock;
    bitcask *db = store_open(store_path(), &o);
    char key[16];
    for (unsigned i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "%03u", i);
        ck_assert_int_eq(store_put_flags(db, key, "v", 0, 0, i % 3 == 0 ? 0 : now + (i % 3 == 1 ? 10 : 1000), NULL),
                         BITCASK_OK);
    }
    for (uint32_t flags = 0; flags < 4; flags++) {
        bitcask_iter_options io = BITCASK_ITER_OPTIONS_INIT;
        io.flags = flags;
        atomic_store(&clock.now, now + 9);
        bitcask *fresh = db; /* the store's clock never steps back: only the first of the flags sees this time */
        bitcask_iter *early = iter_of(fresh, &io);
        atomic_store(&clock.now, now + 10);
        bitcask_iter *late = iter_of(db, &io);
        atomic_store(&clock.now, now + 999);
        unsigned count = 0;
        while (bitcask_iter_next(early) == BITCASK_OK) {
            bitcask_key_info info = BITCASK_KEY_INFO_INIT;
            ck_assert_int_eq(bitcask_iter_info(early, &info), BITCASK_OK);
            unsigned kind = (unsigned)atoi((char[4]){((const char *)bitcask_iter_key(early).data)[0],
                                                     ((const char *)bitcask_iter_key(early).data)[1],
                                                     ((const char *)bitcask_iter_key(early).data)[2], 0}) %
                            3;
            ck_assert_int_eq(info.expire_at_ms, kind == 0 ? 0 : now + (kind == 1 ? 10 : 1000));
            count++;
        }
        ck_assert_uint_eq(count, flags == 0 ? 300 : 200);
        for (count = 0; bitcask_iter_next(late) == BITCASK_OK;)
            count++;
        ck_assert_uint_eq(count, 200);
        bitcask_iter_free(early);
        bitcask_iter_free(late);
    }
    store_close(db);
}
END_TEST

struct changer {
    bitcask *db;
    pthread_t thread;
    atomic_bool stop;
    int failed;
};

#define STAY 500U

/* Keys that stay are overwritten; others come and go: the KeyDir's tables are rebuilt under the walks. */
static void *change_on(void *arg)
{
    struct changer *c = arg;
    char key[24];
    for (unsigned n = 0; !atomic_load(&c->stop) && c->failed == 0; n++) {
        snprintf(key, sizeof key, "stay%u", n % STAY);
        c->failed = bitcask_put(c->db, key, strlen(key), &n, sizeof n, NULL, NULL);
        snprintf(key, sizeof key, "go%u", n % 8000);
        bool goes = n / 8000 % 2 == 1;
        int result = goes ? bitcask_delete(c->db, key, strlen(key), NULL, NULL)
                          : bitcask_put(c->db, key, strlen(key), "x", 1, NULL, NULL);
        if (c->failed == 0 && result != BITCASK_NOT_FOUND)
            c->failed = result;
    }
    return NULL;
}

/* Each key that is there throughout is seen exactly once by each walk while the store changes, and no value is newer than the
 * walk: all sequences are below the one that the store had when the iterator was made. */
START_TEST(test_each_key_once)
{
    struct changer c = {.db = open_mode(_i)};
    for (unsigned i = 0; i < STAY; i++) {
        char key[24];
        snprintf(key, sizeof key, "stay%u", i);
        ck_assert_int_eq(bitcask_put(c.db, key, strlen(key), &i, sizeof i, NULL, NULL), BITCASK_OK);
    }
    ck_assert_int_eq(pthread_create(&c.thread, NULL, change_on, &c), 0);
    for (unsigned round = 0; round < 30 * store_scale(); round++) {
        bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
        o.flags = round % 3 == 0 ? BITCASK_ITER_SORTED : 0;
        bitcask_iter *it = iter_of(c.db, &o);
        bitcask_stats stats = BITCASK_STATS_INIT;
        ck_assert_int_eq(bitcask_stats_get(c.db, &stats), BITCASK_OK);
        unsigned seen[STAY] = {0}, number, next = 0;
        static unsigned char gone[8000];
        memset(gone, 0, sizeof gone);
        while (bitcask_iter_next(it) == BITCASK_OK) {
            bitcask_slice k = bitcask_iter_key(it), value;
            char key[24] = {0};
            memcpy(key, k.data, k.size);
            if (sscanf(key, "stay%u", &number) == 1)
                seen[number]++;
            else if (sscanf(key, "go%u", &number) == 1)
                ck_assert_uint_eq(gone[number]++, 0);
            else
                ck_abort_msg("key %s", key);
            if (next++ % 16 != 0)
                continue;
            bitcask_key_info info = BITCASK_KEY_INFO_INIT;
            ck_assert_int_eq(bitcask_iter_value(it, &value), BITCASK_OK);
            ck_assert_int_eq(bitcask_iter_info(it, &info), BITCASK_OK);
            ck_assert_uint_le(info.sequence, stats.last_sequence);
        }
        for (unsigned i = 0; i < STAY; i++)
            ck_assert_uint_eq(seen[i], 1);
        bitcask_iter_free(it);
    }
    atomic_store(&c.stop, true);
    ck_assert_int_eq(pthread_join(c.thread, NULL), 0);
    ck_assert_int_eq(c.failed, 0);
    store_close(c.db);
}
END_TEST

/* The iterator's own snapshot: what was there when it was made, though all is cleared before the first step. */
START_TEST(test_own_snapshot)
{
    const char *path = store_make_numbers(_i);
    bitcask_options o = store_options(_i);
    o.max_open_files = 2;
    bitcask *db = store_open(path, &o);
    bitcask_iter *it = iter_of(db, NULL);
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "new", "x"), BITCASK_OK);
    unsigned count = 0;
    while (bitcask_iter_next(it) == BITCASK_OK) {
        bitcask_slice value;
        ck_assert_uint_eq(bitcask_iter_key(it).size, 9);
        ck_assert_int_eq(bitcask_iter_value(it, &value), BITCASK_OK);
        ck_assert_uint_eq(value.size, STORE_NUMBER_SIZE);
        count++;
    }
    ck_assert_uint_eq(count, STORE_NUMBERS);
    bitcask_iter_free(it);
    ck_assert_uint_le(store_count(path, ".data"), 2);
    store_close(db);
}
END_TEST

/* ---- damage ---- */

static void damage(const char *path, const char *key, long within)
{
    for (unsigned i = 0;; i++) {
        const char *name = store_nth(path, ".data", i);
        ck_assert_ptr_nonnull(name);
        size_t size;
        char *data = store_read_file(store_file(path, name), &size);
        const char *at = memmem(data, size, key, strlen(key));
        long offset = at == NULL ? -1 : (long)(at - data);
        free(data);
        if (offset < 0)
            continue;
        store_flip(store_file(path, name), offset + within, 8);
        return;
    }
}

static int count_keys(bitcask_slice key, bitcask_slice value, const bitcask_key_info *info, void *ctx)
{
    unsigned *count = ctx;
    ck_assert(key.size == 9 && value.size == STORE_NUMBER_SIZE && info->value_size == STORE_NUMBER_SIZE);
    ck_assert_uint_eq(info->struct_size, sizeof *info);
    ++*count;
    return 0;
}

/* A damaged record: its value is CORRUPT, every time, next goes on, all others are whole. With a damaged value info still
 * tells what the head says; with a damaged head it is CORRUPT too. A fold ends there. */
START_TEST(test_damaged_record)
{
    for (unsigned head = 0; head < 2; head++) {
        const char *path = store_make_numbers(_i);
        damage(path, "key000017", head == 1 ? 3 : 100);
        bitcask_options o = store_options(_i);
        bitcask *db = store_open(path, &o);
        for (uint32_t flags = 0; flags < 2; flags++) {
            bitcask_iter_options io = BITCASK_ITER_OPTIONS_INIT;
            io.flags = flags;
            bitcask_iter *it = iter_of(db, &io);
            unsigned good = 0, bad = 0;
            while (bitcask_iter_next(it) == BITCASK_OK) {
                bitcask_slice value = {"x", 1};
                bitcask_key_info info = BITCASK_KEY_INFO_INIT;
                int result = bitcask_iter_value(it, &value);
                if (result == BITCASK_OK) {
                    good++;
                    continue;
                }
                bad++;
                ck_assert_int_eq(result, BITCASK_CORRUPT);
                store_expect_failure(BITCASK_CORRUPT, NULL, "damaged");
                ck_assert_mem_eq(bitcask_iter_key(it).data, "key000017", 9);
                ck_assert_int_eq(bitcask_iter_value(it, &value), BITCASK_CORRUPT);
                ck_assert_uint_eq(value.size, 1);
                result = bitcask_iter_info(it, &info);
                ck_assert_int_eq(result, head == 1 ? BITCASK_CORRUPT : BITCASK_OK);
                ck_assert_uint_eq(info.value_size, head == 1 ? 0 : STORE_NUMBER_SIZE);
            }
            ck_assert_uint_eq(good, STORE_NUMBERS - 1);
            ck_assert_uint_eq(bad, 1);
            bitcask_iter_free(it);
        }
        unsigned count = 0;
        bitcask_iter_options io = BITCASK_ITER_OPTIONS_INIT;
        io.flags = BITCASK_ITER_SORTED;
        ck_assert_int_eq(bitcask_fold(db, &io, count_keys, &count), BITCASK_CORRUPT);
        ck_assert_uint_eq(count, 17);
        io.first = (bitcask_slice){"key000018", 9};
        ck_assert_int_eq(bitcask_fold(db, &io, count_keys, &count), BITCASK_OK);
        ck_assert_uint_eq(count, STORE_NUMBERS - 1);
        store_close(db);
    }
}
END_TEST

/* ---- fold ---- */

struct folding {
    bitcask *db;
    unsigned calls, stop_at;
    int stop_with;
};

static int stop(bitcask_slice key, bitcask_slice value, const bitcask_key_info *info, void *ctx)
{
    struct folding *f = ctx;
    (void)key;
    (void)value;
    (void)info;
    return ++f->calls == f->stop_at ? f->stop_with : 0;
}

/* Any non-zero value stops the fold and is what it returns, also one that is a result of the library. */
START_TEST(test_fold_stops)
{
    static const int values[] = {1, 77, -1, BITCASK_NOT_FOUND, BITCASK_CORRUPT, BITCASK_CANCELLED, INT32_MAX, INT32_MIN};
    bitcask *db = store_open(store_make_numbers(_i), &(bitcask_options)BITCASK_OPTIONS_INIT);
    for (unsigned v = 0; v < sizeof values / sizeof *values; v++) {
        for (unsigned at = 1; at <= STORE_NUMBERS; at += STORE_NUMBERS - 1) {
            struct folding f = {.stop_at = at, .stop_with = values[v]};
            ck_assert_int_eq(bitcask_fold(db, NULL, stop, &f), values[v]);
            ck_assert_uint_eq(f.calls, at);
        }
    }
    struct folding f = {.db = NULL};
    ck_assert_int_eq(bitcask_fold(db, NULL, stop, &f), BITCASK_OK);
    ck_assert_uint_eq(f.calls, STORE_NUMBERS);
    bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
    o.flags = 8;
    ck_assert_int_eq(bitcask_fold(db, &o, stop, &f), BITCASK_UNSUPPORTED);
    ck_assert_uint_eq(f.calls, STORE_NUMBERS);
    store_close(db);
}
END_TEST

static int only_keys(bitcask_slice key, bitcask_slice value, const bitcask_key_info *info, void *ctx)
{
    static const bitcask_key_info none = BITCASK_KEY_INFO_INIT;
    ck_assert_uint_eq(key.size, 9);
    ck_assert(value.data == NULL && value.size == 0 && memcmp(info, &none, sizeof none) == 0);
    ++*(unsigned *)ctx;
    return 0;
}

START_TEST(test_fold_keys_only)
{
    bitcask *db = store_open(store_make_numbers(_i), NULL);
    bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
    o.flags = BITCASK_ITER_KEYS_ONLY;
    unsigned count = 0;
    ck_assert_int_eq(bitcask_fold(db, &o, only_keys, &count), BITCASK_OK);
    ck_assert_uint_eq(count, STORE_NUMBERS);
    store_close(db);
}
END_TEST

/* The callback calls the store: gets, overwrites, deletes, new keys, batches, a fold inside, a clear. Close is BUSY. */
static int work(bitcask_slice key, bitcask_slice value, const bitcask_key_info *info, void *ctx)
{
    struct folding *f = ctx;
    char again[16];
    bitcask_key_info now = BITCASK_KEY_INFO_INIT;
    memcpy(again, key.data, key.size);
    ck_assert_int_eq(bitcask_info(f->db, key.data, key.size, &now), BITCASK_OK);
    ck_assert_uint_eq(now.sequence, info->sequence);
    ck_assert_int_eq(bitcask_put(f->db, key.data, key.size, value.data, value.size / 2, NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_delete(f->db, key.data, key.size, NULL, NULL), BITCASK_OK);
    again[0] = 'K';
    ck_assert_int_eq(bitcask_put(f->db, again, key.size, value.data, value.size, NULL, NULL), BITCASK_OK);
    if (f->calls % 16 == 3) {
        bitcask_stats stats = BITCASK_STATS_INIT;
        struct folding inner = {.db = NULL};
        ck_assert_int_eq(bitcask_fold(f->db, NULL, stop, &inner), BITCASK_OK);
        ck_assert_int_eq(bitcask_stats_get(f->db, &stats), BITCASK_OK);
        ck_assert_uint_eq(stats.keys, inner.calls);
        ck_assert_int_eq(bitcask_sync(f->db), BITCASK_OK);
    }
    f->calls++;
    return 0;
}

START_TEST(test_fold_callback_writes)
{
    bitcask_options o = store_options(_i);
    o.max_open_files = 2;
    struct folding f = {.db = store_open(store_make_numbers(_i), &o)};
    ck_assert_int_eq(bitcask_fold(f.db, NULL, work, &f), BITCASK_OK);
    ck_assert_uint_eq(f.calls, STORE_NUMBERS);
    unsigned count = 0;
    bitcask_iter_options io = BITCASK_ITER_OPTIONS_INIT;
    io.prefix = (bitcask_slice){"Key", 3};
    ck_assert_int_eq(bitcask_fold(f.db, &io, count_keys, &count), BITCASK_OK);
    ck_assert_uint_eq(count, STORE_NUMBERS);
    io.prefix = (bitcask_slice){"key", 3};
    ck_assert_int_eq(bitcask_fold(f.db, &io, count_keys, &count), BITCASK_OK);
    ck_assert_uint_eq(count, STORE_NUMBERS);
    store_close(f.db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("iter");
    TCase *t = store_tcase("iter");
    store_add_test(t, test_bounds_and_order);
    store_add_test(t, test_bounds_are_copied);
    store_add_test(t, test_empty_store);
    store_add_test(t, test_empty_values);
    store_add_test(t, test_options);
    store_add_test(t, test_expired_keys);
    store_add_test(t, test_each_key_once);
    store_add_test(t, test_own_snapshot);
    store_add_test(t, test_damaged_record);
    suite_add_tcase(s, t);
    t = store_tcase("fold");
    store_add_test(t, test_fold_stops);
    store_add_test(t, test_fold_keys_only);
    store_add_test(t, test_fold_callback_writes);
    suite_add_tcase(s, t);
    return s;
}
