/* test_snapshot.c - snapshots: each shows exactly its moment, however old it gets and whatever is written meanwhile; what it
 * costs comes back with its release; files it can look into stay until then. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/store.h"

static unsigned next_random(unsigned *x, unsigned below)
{
    *x = *x * 1664525U + 1013904223U;
    return (*x >> 8) % below;
}

static bitcask_stats stats_of(bitcask *db)
{
    bitcask_stats s = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(db, &s), BITCASK_OK);
    return s;
}

/* ---- a model of numbered keys ---- */

#define KEYS_MAX 3000U

struct model {
    unsigned version[KEYS_MAX]; /* 0: absent */
};

static size_t key_of(unsigned number, char dst[32])
{
    return (size_t)snprintf(dst, 32, "key-%u", number);
}

static size_t value_of(unsigned number, unsigned version, char dst[512])
{
    size_t size = (size_t)snprintf(dst, 512, "%u:%u:", number, version), want = size + (number * 7 + version * 13) % 300;
    memset(dst + size, 'x', want - size);
    return want;
}

static void put(bitcask *db, struct model *m, unsigned number, unsigned version)
{
    char key[32], value[512];
    ck_assert_int_eq(bitcask_put(db, key, key_of(number, key), value, value_of(number, version, value), NULL, NULL),
                     BITCASK_OK);
    m->version[number] = version;
}

static void delete_key(bitcask *db, struct model *m, unsigned number)
{
    char key[32];
    ck_assert_int_eq(bitcask_delete(db, key, key_of(number, key), NULL, NULL),
                     m->version[number] == 0 ? BITCASK_NOT_FOUND : BITCASK_OK);
    m->version[number] = 0;
}

struct moment {
    bitcask_snapshot *snapshot;
    struct model m;
};

static struct moment *take(bitcask *db, const struct model *m)
{
    struct moment *s = malloc(sizeof *s);
    ck_assert_ptr_nonnull(s);
    s->m = *m;
    ck_assert_int_eq(bitcask_snapshot_new(db, &s->snapshot), BITCASK_OK);
    return s;
}

static void release(struct moment *s)
{
    bitcask_snapshot_release(s->snapshot);
    free(s);
}

static unsigned number_of(bitcask_slice key)
{
    char text[32] = {0};
    unsigned number;
    ck_assert_uint_lt(key.size, sizeof text);
    memcpy(text, key.data, key.size);
    ck_assert_int_eq(sscanf(text, "key-%u", &number), 1);
    ck_assert_uint_lt(number, KEYS_MAX);
    return number;
}

/* Each key by name, and a walk over all: exactly the moment. */
static void check(bitcask *db, const struct moment *s, const char *when)
{
    char key[32], value[512];
    unsigned there = 0;
    for (unsigned i = 0; i < KEYS_MAX; i++) {
        bitcask_view v;
        int result = bitcask_snapshot_view(s->snapshot, key, key_of(i, key), &v);
        unsigned version = s->m.version[i];
        ck_assert_msg(result == (version == 0 ? BITCASK_NOT_FOUND : BITCASK_OK), "%s: key %u: %s: %s", when, i,
                      bitcask_errname(result), bitcask_last_error()->message);
        if (result != BITCASK_OK)
            continue;
        there++;
        size_t size = value_of(i, version, value);
        ck_assert_msg(v.size == size && memcmp(v.data, value, size) == 0, "%s: key %u is not version %u but %.12s", when, i,
                      version, (const char *)v.data);
        bitcask_view_release(&v);
    }
    static bool seen[KEYS_MAX];
    memset(seen, 0, sizeof seen);
    bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
    o.snapshot = s->snapshot;
    bitcask_iter *it;
    ck_assert_int_eq(bitcask_iter_new(db, &o, &it), BITCASK_OK);
    unsigned walked = 0;
    int result;
    while ((result = bitcask_iter_next(it)) == BITCASK_OK) {
        unsigned i = number_of(bitcask_iter_key(it));
        bitcask_slice got;
        ck_assert_msg(!seen[i], "%s: key %u twice", when, i);
        ck_assert_int_eq(bitcask_iter_value(it, &got), BITCASK_OK);
        size_t size = value_of(i, s->m.version[i], value);
        ck_assert_msg(s->m.version[i] != 0 && got.size == size && memcmp(got.data, value, size) == 0, "%s: walk: key %u", when,
                      i);
        seen[i] = true;
        walked++;
    }
    ck_assert_int_eq(result, BITCASK_NOT_FOUND);
    ck_assert_msg(walked == there, "%s: walked %u of %u keys", when, walked, there);
    bitcask_iter_free(it);
}

/* ---- exactly the moment ---- */

static void change(bitcask *db, struct model *m, unsigned *x, unsigned *version)
{
    unsigned what = next_random(x, 100), i = next_random(x, KEYS_MAX);
    if (what < 70) {
        put(db, m, i, ++*version);
    } else if (what < 90) {
        delete_key(db, m, i);
    } else {
        bitcask_batch *b;
        char key[32], value[512];
        ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
        unsigned count = 1 + next_random(x, 20);
        for (unsigned n = 0; n < count; n++) {
            unsigned j = (i + n * 37) % KEYS_MAX;
            if (n % 3 == 2) {
                ck_assert_int_eq(bitcask_batch_delete(b, key, key_of(j, key)), BITCASK_OK);
                m->version[j] = 0;
            } else {
                size_t size = value_of(j, ++*version, value);
                ck_assert_int_eq(bitcask_batch_put(b, key, key_of(j, key), value, size, 0), BITCASK_OK);
                m->version[j] = *version;
            }
        }
        ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
        bitcask_batch_free(b);
    }
}

#define AGES 6U

/* Snapshots of several ages at once, under every kind of write, clears and rotations; the oldest is not always the first to go.
 */
START_TEST(test_exact_moment)
{
    struct model *m = calloc(1, sizeof *m);
    bitcask_options o = store_options(_i);
    o.max_open_files = 4;
    bitcask *db = store_open(store_path(), &o);
    struct moment *held[AGES] = {NULL};
    unsigned x = 4711, version = 0, rounds = (unsigned)(14 * store_scale());
    for (unsigned round = 0; round < rounds; round++) {
        unsigned changes = next_random(&x, 5) == 0 ? 5 : 900;
        for (unsigned i = 0; i < changes; i++)
            change(db, m, &x, &version);
        if (round % 5 == 3) {
            ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
            memset(m, 0, sizeof *m);
        }
        unsigned slot = next_random(&x, AGES);
        if (held[slot] != NULL)
            release(held[slot]);
        held[slot] = take(db, m);
        char when[64];
        for (unsigned i = 0; i < AGES; i++) {
            snprintf(when, sizeof when, "round %u, snapshot %u", round, i);
            if (held[i] != NULL)
                check(db, held[i], when);
        }
    }
    for (unsigned i = 0; i < AGES; i++)
        if (held[i] != NULL)
            release(held[i]);
    bitcask_stats s = stats_of(db);
    ck_assert_uint_eq(s.snapshot_bytes, 0);
    ck_assert_uint_eq(s.snapshots, 0);
    struct moment *now = take(db, m);
    check(db, now, "the store itself");
    release(now);
    store_close(db);
    free(m);
}
END_TEST

/* Snapshots on both sides of one write differ by that write alone; two without a write between show the same. */
START_TEST(test_neighbours)
{
    struct model *m = calloc(1, sizeof *m);
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    struct moment *held[40];
    for (unsigned i = 0; i < 40; i++) {
        held[i] = take(db, m);
        if (i % 3 != 0)
            put(db, m, i % 5, i + 1);
        else if (m->version[i % 5] != 0)
            delete_key(db, m, i % 5);
    }
    ck_assert_uint_eq(stats_of(db).snapshots, 40);
    for (unsigned i = 0; i < 40; i += 3)
        check(db, held[i], "neighbours");
    for (unsigned i = 0; i < 40; i++)
        release(held[(i * 7) % 40]);
    ck_assert_uint_eq(stats_of(db).snapshot_bytes, 0);
    store_close(db);
    free(m);
}
END_TEST

/* The KeyDir under a snapshot grows to many times its size, loses most keys again and renews its arenas. */
#define LONG_KEYS 3000U

static size_t long_key(unsigned number, char dst[96])
{
    return (size_t)snprintf(dst, 96, "%08u-a-key-that-is-long-enough-to-fill-the-arena-of-its-shard-soon-%08u", number,
                            ~number);
}

START_TEST(test_growth_and_compaction)
{
    bitcask_options o = store_options(_i);
    o.max_file_size = 8 << 20;
    bitcask *db = store_open(store_path(), &o);
    char key[96];
    unsigned all = (unsigned)(60000 * store_scale());
    for (unsigned i = 0; i < LONG_KEYS; i++)
        ck_assert_int_eq(bitcask_put(db, key, long_key(i, key), &i, sizeof i, NULL, NULL), BITCASK_OK);
    bitcask_snapshot *first, *second;
    ck_assert_int_eq(bitcask_snapshot_new(db, &first), BITCASK_OK);
    for (unsigned i = LONG_KEYS; i < all; i++)
        ck_assert_int_eq(bitcask_put(db, key, long_key(i, key), &i, sizeof i, NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_snapshot_new(db, &second), BITCASK_OK);
    uint64_t grown = stats_of(db).keydir_bytes;
    for (unsigned i = 0; i < all; i++) /* all but every 50th key, then others in their place */
        if (i % 50 != 0)
            ck_assert_int_eq(bitcask_delete(db, key, long_key(i, key), NULL, NULL), BITCASK_OK);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = all; i < all + 20000; i++)
            ck_assert_int_eq(bitcask_put(db, key, long_key(i, key), &i, sizeof i, NULL, NULL), BITCASK_OK);
        for (unsigned i = all; i < all + 20000; i++)
            ck_assert_int_eq(bitcask_delete(db, key, long_key(i, key), NULL, NULL), BITCASK_OK);
    }
    for (unsigned round = 0; round < 2; round++) {
        bitcask_snapshot *s = round == 0 ? first : second;
        unsigned count = round == 0 ? LONG_KEYS : all;
        for (unsigned i = 0; i < all + 20000; i++) {
            bitcask_view v;
            int result = bitcask_snapshot_view(s, key, long_key(i, key), &v);
            ck_assert_int_eq(result, i < count ? BITCASK_OK : BITCASK_NOT_FOUND);
            if (result == BITCASK_OK) {
                ck_assert_mem_eq(v.data, &i, sizeof i);
                bitcask_view_release(&v);
            }
        }
        bitcask_iter_options io = BITCASK_ITER_OPTIONS_INIT;
        io.flags = BITCASK_ITER_SORTED | BITCASK_ITER_KEYS_ONLY;
        io.snapshot = s;
        bitcask_iter *it;
        ck_assert_int_eq(bitcask_iter_new(db, &io, &it), BITCASK_OK);
        for (unsigned i = 0; i < count; i++) {
            ck_assert_int_eq(bitcask_iter_next(it), BITCASK_OK);
            size_t size = long_key(i, key);
            ck_assert_uint_eq(bitcask_iter_key(it).size, size);
            ck_assert_mem_eq(bitcask_iter_key(it).data, key, size);
        }
        ck_assert_int_eq(bitcask_iter_next(it), BITCASK_NOT_FOUND);
        bitcask_iter_free(it);
    }
    ck_assert_uint_gt(stats_of(db).snapshot_bytes, 0);
    bitcask_snapshot_release(first);
    bitcask_snapshot_release(second);
    ck_assert_uint_eq(stats_of(db).snapshot_bytes, 0);
    /* What the snapshots kept is really given back: the KeyDir of 2 % of the keys is no larger than that of all was. */
    ck_assert_uint_le(stats_of(db).keydir_bytes, grown);
    store_close(db);
}
END_TEST

/* ---- expiry ---- */

#define NOW INT64_C(2000000000000)

static bitcask *open_at(struct store_clock *clock, int mode)
{
    bitcask_options o = store_options(mode);
    atomic_store(&clock->now, NOW);
    o.clock = store_clock_now;
    o.clock_ctx = clock;
    return store_open(store_path(), &o);
}

static void expect_in(bitcask *db, bitcask_snapshot *s, const char *key, const char *value, int64_t expire_at_ms)
{
    bitcask_view v;
    int result = bitcask_snapshot_view(s, key, strlen(key), &v);
    bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
    o.snapshot = s;
    o.first = o.last = (bitcask_slice){key, strlen(key)};
    bitcask_iter *it;
    ck_assert_int_eq(bitcask_iter_new(db, &o, &it), BITCASK_OK);
    int walked = bitcask_iter_next(it);
    ck_assert_int_eq(result, walked);
    if (value == NULL) {
        ck_assert_msg(result == BITCASK_NOT_FOUND, "%s is there: %s", key, bitcask_errname(result));
    } else {
        bitcask_key_info info = BITCASK_KEY_INFO_INIT;
        ck_assert_msg(result == BITCASK_OK, "%s: %s", key, bitcask_errname(result));
        ck_assert_uint_eq(v.size, strlen(value));
        ck_assert_mem_eq(v.data, value, v.size);
        ck_assert_int_eq(v.expire_at_ms, expire_at_ms);
        ck_assert_int_eq(bitcask_iter_info(it, &info), BITCASK_OK);
        ck_assert_int_eq(info.expire_at_ms, expire_at_ms);
        ck_assert_uint_eq(info.sequence, v.sequence);
        bitcask_view_release(&v);
    }
    bitcask_iter_free(it);
}

/* Expiry is judged by the time at which the snapshot was taken, with the expiry that the key had then. */
START_TEST(test_expiry)
{
    static const int64_t expiries[] = {0, NOW + 10, NOW + 1000, NOW + 100000};
    enum { N = sizeof expiries / sizeof *expiries };
    struct store_clock clock;
    for (unsigned from = 0; from < N; from++) {
        for (unsigned to = 0; to < N; to++) {
            for (unsigned how = 0; how < 3; how++) { /* touch, put, put and delete */
                bitcask *db = open_at(&clock, _i);
                ck_assert_int_eq(store_put_flags(db, "k", "v", 0, 0, expiries[from], NULL), BITCASK_OK);
                bitcask_snapshot *old, *young, *late;
                ck_assert_int_eq(bitcask_snapshot_new(db, &old), BITCASK_OK);
                atomic_store(&clock.now, NOW + 5);
                if (how == 0)
                    ck_assert_int_eq(bitcask_touch(db, "k", 1, expiries[to], 0), BITCASK_OK);
                else
                    ck_assert_int_eq(store_put_flags(db, "k", "w", 0, 0, expiries[to], NULL), BITCASK_OK);
                ck_assert_int_eq(bitcask_snapshot_new(db, &young), BITCASK_OK);
                if (how == 2)
                    ck_assert_int_eq(bitcask_delete(db, "k", 1, NULL, NULL), BITCASK_OK);
                expect_in(db, old, "k", "v", expiries[from]);
                expect_in(db, young, "k", how == 0 ? "v" : "w", expiries[to]);
                atomic_store(&clock.now, NOW + 50);
                ck_assert_int_eq(bitcask_snapshot_new(db, &late), BITCASK_OK);
                bool there = how != 2 && expiries[to] != NOW + 10;
                for (unsigned round = 0; round < 3; round++) { /* all time passes, then the key comes back */
                    expect_in(db, old, "k", "v", expiries[from]);
                    expect_in(db, young, "k", how == 0 ? "v" : "w", expiries[to]);
                    expect_in(db, late, "k", !there ? NULL : how == 0 ? "v" : "w", expiries[to]);
                    atomic_store(&clock.now, NOW + 1000000);
                    if (round == 1)
                        ck_assert_int_eq(store_put_flags(db, "k", "z", 0, 0, NOW + 2000000, NULL), BITCASK_OK);
                }
                bitcask_snapshot_release(young);
                expect_in(db, old, "k", "v", expiries[from]);
                bitcask_snapshot_release(old);
                bitcask_snapshot_release(late);
                ck_assert_uint_eq(stats_of(db).snapshot_bytes, 0);
                store_close(db);
            }
        }
    }
}
END_TEST

/* ---- release ---- */

/* Four snapshots with writes between, released in each of the 24 orders: those left stay exact, the memory comes back. */
START_TEST(test_release_in_every_order)
{
    struct model *m = calloc(1, sizeof *m);
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    unsigned version = 0;
    for (unsigned order = 0; order < 24; order++) {
        struct moment *held[4];
        unsigned left[4] = {0, 1, 2, 3}, code = order;
        for (unsigned i = 0; i < 4; i++) {
            for (unsigned n = 0; n < 100; n++)
                put(db, m, (order * 31 + i * 17 + n * 5) % 400, ++version);
            held[i] = take(db, m);
        }
        ck_assert_uint_gt(stats_of(db).snapshot_bytes, 0);
        for (unsigned n = 4; n > 0; n--) {
            unsigned at = code % n;
            code /= n;
            release(held[left[at]]);
            left[at] = left[n - 1];
            for (unsigned i = 0; i + 1 < n; i++)
                if (order % 4 == 0)
                    check(db, held[left[i]], "order");
            put(db, m, order, ++version);
            ck_assert_uint_eq(stats_of(db).snapshots, n - 1);
        }
        ck_assert_uint_eq(stats_of(db).snapshot_bytes, 0);
    }
    bitcask_snapshot_release(NULL);
    store_close(db);
    free(m);
}
END_TEST

/* A snapshot of a store at rest keeps nothing; a shard that changes keeps its slots once for it, however often it changes. */
START_TEST(test_memory_is_bounded)
{
    struct model *m = calloc(1, sizeof *m);
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    for (unsigned i = 0; i < KEYS_MAX; i++)
        put(db, m, i, 1);
    struct moment *s = take(db, m);
    ck_assert_uint_eq(stats_of(db).snapshot_bytes, 0);
    for (unsigned i = 0; i < KEYS_MAX; i++)
        put(db, m, i, 2);
    uint64_t once = stats_of(db).snapshot_bytes;
    ck_assert_uint_gt(once, 0);
    for (unsigned round = 3; round < 8; round++)
        for (unsigned i = 0; i < KEYS_MAX; i++)
            put(db, m, i, round);
    ck_assert_uint_eq(stats_of(db).snapshot_bytes, once);
    ck_assert_uint_ge(stats_of(db).keydir_bytes, once);
    check(db, s, "overwritten again and again");
    release(s);
    ck_assert_uint_eq(stats_of(db).snapshot_bytes, 0);
    store_close(db);
    free(m);
}
END_TEST

/* ---- files ---- */

/* Files that a clear took away stay until the last snapshot that saw them is released, then their names are gone. */
START_TEST(test_files_stay_for_snapshots)
{
    for (unsigned order = 0; order < 2; order++) {
        struct model *m = calloc(1, sizeof *m);
        const char *path = store_path();
        bitcask_options o = store_options(_i);
        o.max_open_files = 2;
        bitcask *db = store_open(path, &o);
        for (unsigned i = 0; i < 2000; i++)
            put(db, m, i, 1);
        unsigned files = store_count(path, ".data");
        ck_assert_uint_ge(files, 4);
        struct moment *a = take(db, m), *b = take(db, m);
        ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
        memset(m, 0, sizeof *m);
        ck_assert_uint_ge(store_count(path, ".data"), files);
        ck_assert_uint_le(stats_of(db).data_files, 2);
        struct moment *after = take(db, m);
        for (unsigned i = 0; i < 100; i++)
            put(db, m, i, 2);
        check(db, a, "after clear");
        check(db, b, "after clear");
        check(db, after, "empty");
        release(order == 0 ? a : b);
        ck_assert_uint_ge(store_count(path, ".data"), files);
        check(db, order == 0 ? b : a, "after clear and a release");
        release(order == 0 ? b : a);
        ck_assert_uint_le(store_count(path, ".data"), 2);
        ck_assert_uint_le(store_count(path, ".hint"), 2);
        check(db, after, "files gone");
        release(after);
        store_close(db);
        db = store_open(path, &o);
        struct moment *again = take(db, m);
        check(db, again, "opened again");
        release(again);
        store_close(db);
        free(m);
    }
}
END_TEST

/* A view that was taken through a snapshot stays when the snapshot, the files and the store are gone. */
START_TEST(test_view_outlives_its_snapshot)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "k", "the value of then"), BITCASK_OK);
    bitcask_snapshot *s;
    bitcask_view v;
    ck_assert_int_eq(bitcask_snapshot_new(db, &s), BITCASK_OK);
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_snapshot_view(s, "k", 1, &v), BITCASK_OK);
    bitcask_snapshot_release(s);
    ck_assert_uint_eq(v.size, 17);
    ck_assert_mem_eq(v.data, "the value of then", 17);
    store_close(db);
    ck_assert_mem_eq(v.data, "the value of then", 17);
    bitcask_view_release(&v);
}
END_TEST

/* ---- close ---- */

/* While a snapshot or an iterator is open close answers BUSY, changes nothing and may be called again. */
START_TEST(test_close_is_busy)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    bitcask_snapshot *s = NULL;
    bitcask_iter *it = NULL, *other = NULL;
    ck_assert_int_eq(bitcask_snapshot_new(db, &s), BITCASK_OK);
    ck_assert_int_eq(bitcask_close(db), BITCASK_BUSY);
    store_expect_failure(BITCASK_BUSY, NULL, "snapshots");
    bitcask_iter_options io = BITCASK_ITER_OPTIONS_INIT;
    io.snapshot = s;
    ck_assert_int_eq(bitcask_iter_new(db, &io, &it), BITCASK_OK);
    ck_assert_int_eq(bitcask_iter_new(db, NULL, &other), BITCASK_OK);
    ck_assert_int_eq(bitcask_close(db), BITCASK_BUSY);
    /* The handle works on, in the background too. */
    for (unsigned i = 0; i < STORE_NUMBERS; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, STORE_NUMBER_SIZE), BITCASK_OK);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    bitcask *second = NULL;
    ck_assert_int_eq(bitcask_open(path, &o, &second), BITCASK_LOCKED);
    bitcask_iter_free(it);
    ck_assert_int_eq(bitcask_close(db), BITCASK_BUSY);
    bitcask_snapshot_release(s);
    ck_assert_int_eq(bitcask_close(db), BITCASK_BUSY);
    ck_assert_int_eq(bitcask_iter_next(other), BITCASK_OK);
    bitcask_iter_free(other);
    store_close(db);
    store_check_numbers(path, 0, _i);
}
END_TEST

START_TEST(test_read_only)
{
    const char *path = store_make_numbers(_i);
    bitcask_options o = store_options(_i);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    bitcask *db = store_open(path, &o);
    bitcask_snapshot *s;
    bitcask_view v;
    ck_assert_int_eq(bitcask_snapshot_new(db, &s), BITCASK_OK);
    ck_assert_int_eq(bitcask_snapshot_view(s, "key000001", 9, &v), BITCASK_OK);
    ck_assert_uint_eq(v.size, STORE_NUMBER_SIZE);
    ck_assert_int_eq(bitcask_snapshot_view(s, "", 0, &v), BITCASK_INVALID);
    ck_assert_uint_eq(v.size, STORE_NUMBER_SIZE);
    bitcask_view_release(&v);
    bitcask_snapshot_release(s);
    store_close(db);
}
END_TEST

/* ---- no memory ---- */

struct meter {
    atomic_ulong calls;
    atomic_ulong fail_from; /* 0: none fails */
};

static void *metered(void *ptr, size_t size, void *ctx)
{
    struct meter *m = ctx;
    if (size == 0) {
        free(ptr);
        return NULL;
    }
    unsigned long call = atomic_fetch_add(&m->calls, 1) + 1, from = atomic_load(&m->fail_from);
    return from != 0 && call >= from ? NULL : realloc(ptr, size);
}

static void fail_after(struct meter *m, unsigned long calls)
{
    atomic_store(&m->fail_from, atomic_load(&m->calls) + calls + 1);
}

static int try_write(bitcask *db, bitcask_batch *batch, unsigned how)
{
    switch (how) {
    case 0:
        return bitcask_put(db, "key-7", 5, "seven", 5, NULL, NULL);
    case 1:
        return bitcask_delete(db, "key-7", 5, NULL, NULL);
    case 2:
        return bitcask_write(db, batch, 0);
    case 3:
        return bitcask_touch(db, "key-7", 5, NOW + 77, 0);
    default:
        return bitcask_clear(db, 0);
    }
}

/* A write must keep the old slots for a snapshot before anything is appended. Without memory for that it answers NO_MEMORY and
 * did nothing: no sequence, no change; the snapshot is whole; with memory it works. The n-th allocation and all after it fail,
 * for each n until the write needs no more. */
START_TEST(test_no_memory_while_held)
{
    for (unsigned how = 0; how < 5; how++) {
        struct meter meter = {0};
        bitcask_allocator allocator = {metered, &meter};
        struct store_clock clock;
        atomic_store(&clock.now, NOW);
        struct model *m = calloc(1, sizeof *m);
        bitcask_options o = store_options(_i);
        o.allocator = &allocator;
        o.clock = store_clock_now;
        o.clock_ctx = &clock;
        bitcask *db = store_open(store_path(), &o);
        bitcask_batch *batch;
        ck_assert_int_eq(bitcask_batch_new(&batch), BITCASK_OK);
        for (unsigned i = 0; i < 500; i++) {
            char key[32];
            put(db, m, i, 1);
            size_t size = key_of(i, key);
            ck_assert_int_eq(i % 2 == 0 ? bitcask_batch_put(batch, key, size, "b", 1, 0)
                                        : bitcask_batch_delete(batch, key, size),
                             BITCASK_OK);
        }
        struct moment *s = take(db, m);
        unsigned refused = 0;
        int result = BITCASK_NO_MEMORY;
        for (unsigned long n = 0; result != BITCASK_OK; n++) {
            uint64_t sequence = stats_of(db).last_sequence;
            fail_after(&meter, n);
            result = try_write(db, batch, how);
            atomic_store(&meter.fail_from, 0);
            ck_assert_msg(result == BITCASK_OK || result == BITCASK_NO_MEMORY, "%u: %s", how, bitcask_errname(result));
            if (result == BITCASK_OK)
                break;
            refused++;
            ck_assert_uint_eq(stats_of(db).last_sequence, sequence);
            ck_assert_uint_eq(stats_of(db).keys, 500);
            if (n % 16 == 0)
                check(db, s, "after NO_MEMORY");
        }
        ck_assert_uint_gt(refused, 0);
        check(db, s, "in the end");
        if (how == 3)
            put(db, m, 7, 1);
        else
            store_expect(db, "key-7", how == 0 ? "seven" : NULL);
        release(s);
        ck_assert_uint_eq(stats_of(db).snapshot_bytes, 0);
        bitcask_snapshot *none = (bitcask_snapshot *)&meter;
        bitcask_iter *no_iter = (bitcask_iter *)&meter;
        fail_after(&meter, 0);
        ck_assert_int_eq(bitcask_snapshot_new(db, &none), BITCASK_NO_MEMORY);
        ck_assert_int_eq(bitcask_iter_new(db, NULL, &no_iter), BITCASK_NO_MEMORY);
        fail_after(&meter, 2);
        ck_assert_int_eq(bitcask_iter_new(db, NULL, &no_iter), BITCASK_NO_MEMORY);
        atomic_store(&meter.fail_from, 0);
        ck_assert(none == (bitcask_snapshot *)&meter && no_iter == (bitcask_iter *)&meter);
        ck_assert_uint_eq(stats_of(db).snapshots, 0);
        bitcask_batch_free(batch);
        store_close(db);
        free(m);
    }
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("snapshot");
    TCase *t = store_tcase("moment");
    store_add_test(t, test_exact_moment);
    store_add_test(t, test_neighbours);
    store_add_test(t, test_growth_and_compaction);
    store_add_test(t, test_expiry);
    suite_add_tcase(s, t);
    t = store_tcase("cost");
    store_add_test(t, test_release_in_every_order);
    store_add_test(t, test_memory_is_bounded);
    store_add_test(t, test_files_stay_for_snapshots);
    store_add_test(t, test_view_outlives_its_snapshot);
    store_add_test(t, test_close_is_busy);
    store_add_test(t, test_read_only);
    store_add_test(t, test_no_memory_while_held);
    suite_add_tcase(s, t);
    return s;
}
