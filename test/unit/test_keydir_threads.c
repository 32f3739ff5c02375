/* test_keydir_threads.c - bitcask/keydir.h beside readers: what a lookup returns was true at one moment. Made for TSan. */
#include "bitcask/keydir.h"

#include "bitcask/io_posix.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS 64U
#define STABLE 100U   /* keys that are always there */
#define FLEETING 900U /* keys that come and go, so that the others move and tables grow */
#define KEYS (STABLE + FLEETING)
#define READERS 2
#define VERSIONS (1U << 22) /* the upper half for relocations */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SLOW 8U
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SLOW 8U
#endif
#endif
#ifndef SLOW
#define SLOW 1U
#endif
#define ROUNDS (800000U / SLOW)
#define LIVES 40U /* of a KeyDir, from empty */

struct fixture {
    struct bc_pins *pins;
    struct bc_keydir *keydir;
    atomic_bool stop;
    atomic_uint torn, missing, lookups;
    atomic_ulong generation;
    uint32_t names[KEYS]; /* keys, all of one shard: every change is in every reader's way */
    uint32_t *records;    /* the key at a version's place, written before the version is published */
};

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    f->pins = bc_pins_new(&bc_allocator_default, &bc_io_posix);
    ck_assert_ptr_nonnull(f->pins);
    f->keydir = bc_keydir_new(&bc_allocator_default, &bc_io_posix, f->pins, SHARDS, NULL);
    ck_assert_ptr_nonnull(f->keydir);
    f->records = malloc(VERSIONS * sizeof *f->records);
    ck_assert_ptr_nonnull(f->records);
    for (uint32_t i = 0, name = 0; i < KEYS; name++)
        if (bc_keydir_shard(f->keydir, bc_keydir_hash(f->keydir, &name, sizeof name)) == 7)
            f->names[i++] = name;
}

static void end(struct fixture *f)
{
    bc_keydir_free(f->keydir);
    bc_pins_free(f->pins);
    free(f->records);
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Version n of any key: its fields vouch for each other. Odd versions expire. */
static struct bc_entry version_entry(uint32_t n)
{
    uint32_t mixed = (n + 1) * 2654435761U;
    return (struct bc_entry){.offset = ((uint64_t)n + 1) * 8,
                             .footprint = (uint64_t)(n % 2 + 4) * 8, /* stays when a merge moves the record */
                             .file = (mixed >> 13) % BC_KEYDIR_FILES_MAX,
                             .flags = n % 2 != 0 ? BC_ENTRY_EXPIRES : 0};
}

static bool whole(const struct bc_entry *e)
{
    struct bc_entry want = version_entry((uint32_t)(e->offset / 8 - 1));
    return memcmp(&want, e, sizeof want) == 0;
}

static uint64_t hash_of(const struct fixture *f, uint32_t key)
{
    return bc_keydir_hash(f->keydir, &key, sizeof key);
}

static void publish(struct fixture *f, uint32_t key, uint32_t n)
{
    struct bc_cursor cursor;
    struct bc_entry entry = version_entry(n);
    f->records[n] = key;
    bc_keydir_seek(f->keydir, hash_of(f, key), &key, sizeof key, &cursor);
    bc_keydir_publish(f->keydir, &cursor, &key, sizeof key, &entry, n % 2 != 0 ? 1000 + n : 0);
}

static bool put(struct fixture *f, uint32_t key, uint32_t n)
{
    uint64_t hash = hash_of(f, key);
    if (bc_keydir_reserve(f->keydir, hash, 1, sizeof key + 8) != BITCASK_OK)
        return false;
    bc_keydir_lock(f->keydir, bc_keydir_shard(f->keydir, hash));
    publish(f, key, n);
    bc_keydir_unlock(f->keydir, bc_keydir_shard(f->keydir, hash));
    return true;
}

static void take(struct fixture *f, uint32_t key)
{
    struct bc_cursor cursor;
    uint64_t hash = hash_of(f, key);
    bc_keydir_lock(f->keydir, bc_keydir_shard(f->keydir, hash));
    bc_keydir_seek(f->keydir, hash, &key, sizeof key, &cursor);
    if (cursor.found)
        bc_keydir_remove(f->keydir, &cursor);
    bc_keydir_unlock(f->keydir, bc_keydir_shard(f->keydir, hash));
}

/* The version of a key, of which no other shares the tag; 0: absent. */
static uint32_t look(struct fixture *f, uint32_t key)
{
    struct bc_entry entries[BC_KEYDIR_CANDIDATES];
    unsigned token = bc_pins_enter(f->pins);
    unsigned count = bc_keydir_lookup(f->keydir, hash_of(f, key), entries);
    bc_pins_leave(f->pins, token);
    atomic_fetch_add_explicit(&f->lookups, 1, memory_order_relaxed);
    uint32_t version = count == 0 ? 0 : (uint32_t)(entries[0].offset / 8 - 1);
    for (unsigned i = 0; i < BC_MIN(count, BC_KEYDIR_CANDIDATES); i++)
        if (!whole(&entries[i]))
            atomic_fetch_add(&f->torn, 1);
    if (version != 0 && f->records[version] != key)
        atomic_fetch_add(&f->torn, 1);
    return version;
}

static void *read_stable(void *arg)
{
    struct fixture *f = arg;
    uint32_t random = 12345;
    while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) {
        if (look(f, f->names[next_random(&random) % STABLE]) == 0)
            atomic_fetch_add(&f->missing, 1);
        look(f, f->names[STABLE + next_random(&random) % FLEETING]);
    }
    return NULL;
}

static void *upkeep(void *arg)
{
    struct fixture *f = arg;
    while (!atomic_load_explicit(&f->stop, memory_order_relaxed))
        if (!bc_keydir_upkeep(f->keydir))
            bc_io_posix.sleep_us(bc_io_posix.ctx, 100);
    return NULL;
}

/* As merge does: under no lock of the caller's, whatever writers do meanwhile. */
static void *relocate(void *arg)
{
    struct fixture *f = arg;
    uint32_t random = 777, n = VERSIONS / 2;
    while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) {
        struct bc_entry from, to, was;
        int64_t expire_at_ms;
        uint32_t key = f->names[next_random(&random) % KEYS];
        if (!bc_keydir_find(f->keydir, hash_of(f, key), &key, sizeof key, &from, &expire_at_ms))
            continue;
        if (!whole(&from))
            atomic_fetch_add(&f->torn, 1);
        n += 2;
        if (n >= VERSIONS)
            break;
        uint32_t version = n | (from.flags & BC_ENTRY_EXPIRES);
        f->records[version] = key;
        to = version_entry(version);
        (void)!bc_keydir_move(f->keydir, hash_of(f, key), &from, &to, &was);
    }
    return NULL;
}

static void join(pthread_t *threads, int count)
{
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

/* One life of a KeyDir: it grows from almost nothing, under readers, upkeep and relocations. */
static void live(uint32_t seed, uint32_t rounds)
{
    struct fixture f;
    pthread_t threads[READERS + 2];
    uint32_t random = seed, n = 2;
    bool ok = true;
    begin(&f);
    for (uint32_t i = 0; i < STABLE; i++)
        ok &= put(&f, f.names[i], n++);
    for (int i = 0; i < READERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_stable, &f), 0);
    ck_assert_int_eq(pthread_create(&threads[READERS], NULL, upkeep, &f), 0);
    ck_assert_int_eq(pthread_create(&threads[READERS + 1], NULL, relocate, &f), 0);
    while (atomic_load(&f.lookups) < 100)
        bc_io_posix.sleep_us(bc_io_posix.ctx, 10);
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t i = next_random(&random) % KEYS;
        if (i < STABLE || next_random(&random) % 3 != 0)
            ok &= put(&f, f.names[i], n++);
        else
            take(&f, f.names[i]);
    }
    atomic_store(&f.stop, true);
    join(threads, READERS + 2);
    ck_assert(ok);
    ck_assert_uint_eq(f.torn, 0);
    ck_assert_uint_eq(f.missing, 0);
    end(&f);
}

START_TEST(test_readers_see_whole_entries_and_miss_none)
{
    live(99, ROUNDS);
    for (uint32_t i = 1; i <= LIVES; i++)
        live(i, ROUNDS / 200);
}
END_TEST

/* ---- several shards at once ---- */

struct both {
    struct fixture *f;
    uint32_t first, second; /* keys */
    unsigned wrong;
};

/* Whoever saw a batch (versions 2n and 2n + 1) in one shard sees it, or a later one, in the other. */
static void *read_both(void *arg)
{
    struct both *b = arg;
    while (!atomic_load_explicit(&b->f->stop, memory_order_relaxed)) {
        uint32_t one = look(b->f, b->first), two = look(b->f, b->second);
        b->wrong += two / 2 < one / 2;
    }
    return NULL;
}

static void hold_both(struct fixture *f, const uint32_t shards[2])
{
    for (int i = 0; i < 2; i++)
        bc_keydir_lock(f->keydir, shards[i]);
    for (int i = 0; i < 2; i++)
        bc_keydir_hold(f->keydir, shards[i]);
}

static void release_both(struct fixture *f, const uint32_t shards[2])
{
    for (int i = 0; i < 2; i++)
        bc_keydir_release(f->keydir, shards[i]);
    for (int i = 0; i < 2; i++)
        bc_keydir_unlock(f->keydir, shards[i]);
}

/* Two keys in different shards, the first in the lower. */
static void choose_keys(const struct fixture *f, uint32_t keys[2], uint32_t shards[2])
{
    keys[0] = keys[1] = 0;
    while (bc_keydir_shard(f->keydir, hash_of(f, keys[1])) <= bc_keydir_shard(f->keydir, hash_of(f, keys[0]))) {
        keys[1] = (keys[1] + 1) % 1000;
        keys[0] += keys[1] == 0;
    }
    for (int i = 0; i < 2; i++)
        shards[i] = bc_keydir_shard(f->keydir, hash_of(f, keys[i]));
}

START_TEST(test_held_shards_change_as_one)
{
    struct fixture f;
    uint32_t keys[2], shards[2];
    pthread_t threads[2];
    begin(&f);
    choose_keys(&f, keys, shards);
    struct both orders[2] = {{&f, keys[0], keys[1], 0}, {&f, keys[1], keys[0], 0}};
    ck_assert(put(&f, keys[0], 2) && put(&f, keys[1], 3));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_both, &orders[i]), 0);
    for (uint32_t n = 2; n < ROUNDS / 4; n++) {
        bool reserved = true;
        for (int i = 0; i < 2; i++)
            reserved &= bc_keydir_reserve(f.keydir, hash_of(&f, keys[i]), 1, 12) == BITCASK_OK;
        if (!reserved)
            ck_abort_msg("no memory");
        hold_both(&f, shards);
        publish(&f, keys[n / 2 % 2], n * 2);
        publish(&f, keys[(n / 2 + 1) % 2], n * 2 + 1);
        release_both(&f, shards);
    }
    atomic_store(&f.stop, true);
    join(threads, 2);
    ck_assert_uint_eq(orders[0].wrong + orders[1].wrong, 0);
    ck_assert_uint_eq(f.torn, 0);
    end(&f);
}
END_TEST

/* Between two generations there is one clear: who saw the first key gone does not see the second. */
static void *read_cleared(void *arg)
{
    struct both *b = arg;
    while (!atomic_load_explicit(&b->f->stop, memory_order_relaxed)) {
        unsigned long generation = atomic_load(&b->f->generation);
        uint32_t one = look(b->f, b->first), two = look(b->f, b->second);
        b->wrong += one == 0 && two != 0 && atomic_load(&b->f->generation) == generation && generation % 2 == 0;
    }
    return NULL;
}

START_TEST(test_clear_is_one_step)
{
    struct fixture f;
    uint32_t keys[2], shards[2];
    pthread_t threads[3];
    begin(&f);
    choose_keys(&f, keys, shards);
    struct both orders[2] = {{&f, keys[0], keys[1], 0}, {&f, keys[1], keys[0], 0}};
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_cleared, &orders[i]), 0);
    ck_assert_int_eq(pthread_create(&threads[2], NULL, upkeep, &f), 0);
    bool ok = true;
    uint32_t version = 2;
    for (uint32_t n = 0; n < ROUNDS / 60; n++) {
        atomic_fetch_add(&f.generation, 1); /* odd: being written */
        for (uint32_t key = 0; key < 50; key++)
            ok &= put(&f, 5000 + key, version++);
        ok &= put(&f, keys[0], version) && put(&f, keys[1], version + 1);
        version += 2;
        atomic_fetch_add(&f.generation, 1);
        bc_keydir_clear(f.keydir);
        ok &= bc_keydir_count(f.keydir) == 0;
    }
    atomic_store(&f.stop, true);
    join(threads, 3);
    ck_assert(ok);
    ck_assert_uint_eq(orders[0].wrong + orders[1].wrong, 0);
    ck_assert_uint_eq(f.torn, 0);
    end(&f);
}
END_TEST

/* ---- loading ---- */

#define LOADERS 3U

struct loader {
    struct fixture *f;
    uint32_t index;
    bool ok;
};

/* Loader i brings the versions i, i + LOADERS, ... of every key. */
static void *load(void *arg)
{
    struct loader *l = arg;
    /* The first one by one, the others gathered. */
    struct bc_loader *gathers = l->index == 0 ? NULL : bc_keydir_loader_new(l->f->keydir, 1 << 16);
    l->ok = gathers != NULL || l->index == 0;
    for (uint32_t n = l->index; n < ROUNDS / 4; n += LOADERS) {
        uint32_t key = n % KEYS;
        struct bc_entry entry = version_entry(n * 2);
        l->f->records[n * 2] = key;
        bc_keydir_prefetch(l->f->keydir, hash_of(l->f, key + 1));
        if (gathers != NULL)
            l->ok &= bc_keydir_loader_add(gathers, hash_of(l->f, key), &key, sizeof key, n + 1, &entry, 0) == BITCASK_OK;
        else
            l->ok &= bc_keydir_load(l->f->keydir, hash_of(l->f, key), &key, sizeof key, n + 1, &entry, 0) == BITCASK_OK;
    }
    l->ok &= gathers == NULL || bc_keydir_loader_flush(gathers) == BITCASK_OK;
    bc_keydir_loader_free(gathers);
    return NULL;
}

START_TEST(test_load_from_several_threads)
{
    struct fixture f;
    struct loader loaders[LOADERS];
    pthread_t threads[LOADERS];
    begin(&f);
    ck_assert_int_eq(bc_keydir_load_begin(f.keydir), BITCASK_OK);
    for (uint32_t i = 0; i < LOADERS; i++) {
        loaders[i] = (struct loader){&f, i, false};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, load, &loaders[i]), 0);
    }
    join(threads, (int)LOADERS);
    bc_keydir_load_end(f.keydir);
    for (uint32_t i = 0; i < LOADERS; i++)
        ck_assert(loaders[i].ok);
    ck_assert_uint_eq(bc_keydir_count(f.keydir), KEYS);
    for (uint32_t n = ROUNDS / 4 - KEYS; n < ROUNDS / 4; n++)
        if (look(&f, n % KEYS) != n * 2)
            ck_abort_msg("key %u is not at its last version", n % KEYS);
    ck_assert_uint_eq(f.torn, 0);
    end(&f);
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("keydir_threads");
    TCase *tc = tcase_create("threads");
    tcase_set_timeout(tc, 240);
    tcase_add_test(tc, test_readers_see_whole_entries_and_miss_none);
    tcase_add_test(tc, test_held_shards_change_as_one);
    tcase_add_test(tc, test_clear_is_one_step);
    tcase_add_test(tc, test_load_from_several_threads);
    suite_add_tcase(suite, tc);
    return suite;
}
