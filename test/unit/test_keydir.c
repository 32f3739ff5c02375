/* test_keydir.c - bitcask/keydir.h on one thread: against a list, out of memory, loading, churn. Threads:
 * test_keydir_threads.c. */
#include "bitcask/keydir.h"

#include "bitcask/io_posix.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHARDS 64U
#define KEYS 3000U
#define KEY_MAX_HERE 400U

/* As ck_assert(), which writes a line to a file each time: for what is looked at millions of times. */
#define MUST(condition)                                                                                                        \
    do {                                                                                                                       \
        if (!(condition))                                                                                                      \
            ck_abort_msg("%s", #condition);                                                                                    \
    } while (0)

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % n;
}

static void seed_random(void)
{
    const char *given = getenv("BC_TEST_SEED");
    random_state = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 2654435761U + 1;
    printf("# BC_TEST_SEED=%llu\n", (unsigned long long)random_state);
    fflush(stdout);
}

/* An allocator and an io whose memory ends after a number of requests, and which count what is not given back. */
struct memory {
    long left; /* requests that succeed; negative: all */
    long live;
};

static bool allowed(struct memory *m)
{
    if (m->left == 0)
        return false;
    m->left -= m->left > 0;
    m->live++;
    return true;
}

static void *memory_resize(void *ptr, size_t size, void *ctx)
{
    struct memory *m = ctx;
    if (size == 0) {
        m->live--;
        free(ptr);
        return NULL;
    }
    if (ptr != NULL || !allowed(m))
        return NULL;
    return malloc(size);
}

struct fixture {
    struct memory memory;
    bitcask_allocator allocator;
    struct bc_pins *pins;
    struct bc_keydir *keydir;
    int wakes;
    struct bc_loader *loader; /* NULL: entries are loaded one by one */
};

static void count_wake(void *arg)
{
    struct fixture *f = arg;
    f->wakes++;
}

static void begin_with(struct fixture *f, const bitcask_allocator *allocator)
{
    static const struct bc_hash_secret secret = {11, 22};
    f->wakes = 0;
    f->loader = NULL;
    f->pins = bc_pins_new(allocator, &bc_io_posix);
    ck_assert_ptr_nonnull(f->pins);
    f->keydir = bc_keydir_new(allocator, &bc_io_posix, f->pins, SHARDS, &secret);
    ck_assert_ptr_nonnull(f->keydir);
    bc_keydir_set_wake(f->keydir, count_wake, f);
}

static void begin(struct fixture *f)
{
    begin_with(f, &bc_allocator_default);
}

static void begin_counted(struct fixture *f)
{
    f->memory = (struct memory){.left = -1};
    f->allocator = (bitcask_allocator){memory_resize, &f->memory};
    begin_with(f, &f->allocator);
}

static void end(struct fixture *f)
{
    bc_keydir_free(f->keydir);
    bc_pins_free(f->pins);
}

/* ---- what should be there ---- */

struct expected {
    bool present;
    struct bc_entry entry;
    int64_t expire_at_ms;
};

/* Key i: 1 to 400 bytes, most of them short. */
static size_t key_of(uint32_t i, char key[KEY_MAX_HERE])
{
    size_t size = i % 37 == 0 ? 250 + i % 100 : 4 + i % 41;
    memset(key, (int)('a' + i % 26), size);
    memcpy(key, &i, sizeof i);
    return size;
}

static struct bc_entry entry_of(uint32_t n)
{
    return (struct bc_entry){
        .offset = ((uint64_t)n + 1) * 8, .footprint = (uint64_t)(n % 2000 + 4) * 8, .file = n % BC_KEYDIR_FILES_MAX};
}

static void check_entry(const struct bc_entry *got, const struct expected *want)
{
    MUST(got->offset == want->entry.offset);
    MUST(got->footprint == want->entry.footprint);
    MUST(got->file == want->entry.file);
    MUST(got->flags == ((want->entry.flags & BC_ENTRY_CORRUPT) | (want->expire_at_ms != 0 ? BC_ENTRY_EXPIRES : 0)));
}

static int try_put(struct fixture *f, uint32_t i, const struct bc_entry *entry, int64_t expire_at_ms)
{
    char key[KEY_MAX_HERE];
    size_t size = key_of(i, key);
    struct bc_cursor cursor;
    uint64_t hash = bc_keydir_hash(f->keydir, key, size);
    int result = bc_keydir_reserve(f->keydir, hash, 1, size + (expire_at_ms != 0 ? 8 : 0));
    if (result != BITCASK_OK)
        return result;
    bc_keydir_lock(f->keydir, bc_keydir_shard(f->keydir, hash));
    bc_keydir_seek(f->keydir, hash, key, size, &cursor);
    bc_keydir_publish(f->keydir, &cursor, key, size, entry, expire_at_ms);
    bc_keydir_unlock(f->keydir, bc_keydir_shard(f->keydir, hash));
    return BITCASK_OK;
}

static void put(struct fixture *f, struct expected *e, uint32_t i, struct bc_entry entry, int64_t expire_at_ms)
{
    MUST(try_put(f, i, &entry, expire_at_ms) == BITCASK_OK);
    e[i] = (struct expected){true, entry, expire_at_ms};
}

static bool take(struct fixture *f, struct expected *e, uint32_t i)
{
    char key[KEY_MAX_HERE];
    size_t size = key_of(i, key);
    struct bc_cursor cursor;
    uint64_t hash = bc_keydir_hash(f->keydir, key, size);
    bc_keydir_lock(f->keydir, bc_keydir_shard(f->keydir, hash));
    bc_keydir_seek(f->keydir, hash, key, size, &cursor);
    if (cursor.found) {
        check_entry(&cursor.entry, &e[i]);
        MUST(cursor.expire_at_ms == e[i].expire_at_ms);
        bc_keydir_remove(f->keydir, &cursor);
    }
    bc_keydir_unlock(f->keydir, bc_keydir_shard(f->keydir, hash));
    e[i].present = false;
    return cursor.found;
}

static void check_key(struct fixture *f, const struct expected *e, uint32_t i)
{
    char key[KEY_MAX_HERE];
    size_t size = key_of(i, key);
    struct bc_entry got, candidates[BC_KEYDIR_CANDIDATES];
    int64_t expire_at_ms = 77;
    uint64_t hash = bc_keydir_hash(f->keydir, key, size);
    bool found = bc_keydir_find(f->keydir, hash, key, size, &got, &expire_at_ms);
    unsigned count = bc_keydir_lookup(f->keydir, hash, candidates);
    MUST(found == e[i].present);
    if (!found) {
        MUST(expire_at_ms == 77);
        return;
    }
    check_entry(&got, &e[i]);
    MUST(expire_at_ms == e[i].expire_at_ms);
    bool among = false;
    for (unsigned c = 0; c < BC_MIN(count, BC_KEYDIR_CANDIDATES); c++)
        among |= memcmp(&candidates[c], &got, sizeof got) == 0;
    MUST(among);
}

struct visit {
    const struct expected *expected;
    uint64_t keys, entries;
};

static void visit_key(const struct bc_entry *entry, int64_t expire_at_ms, const void *key, size_t key_size, void *arg)
{
    struct visit *v = arg;
    char same[KEY_MAX_HERE];
    uint32_t i;
    memcpy(&i, key, sizeof i);
    MUST(i < KEYS);
    MUST(key_size == key_of(i, same));
    ck_assert_mem_eq(key, same, key_size);
    MUST(v->expected[i].present);
    check_entry(entry, &v->expected[i]);
    MUST(expire_at_ms == v->expected[i].expire_at_ms);
    v->keys++;
}

static void visit_entry(const struct bc_entry *entry, int64_t expire_at_ms, void *arg)
{
    struct visit *v = arg;
    MUST((expire_at_ms != 0) == ((entry->flags & BC_ENTRY_EXPIRES) != 0));
    v->entries += entry->offset;
}

static void check_all(struct fixture *f, const struct expected *e)
{
    struct visit visit = {.expected = e};
    uint64_t count = 0, offsets = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        check_key(f, e, i);
        count += e[i].present;
        offsets += e[i].present ? e[i].entry.offset : 0;
    }
    ck_assert_uint_eq(bc_keydir_count(f->keydir), count);
    bc_keydir_each(f->keydir, visit_key, &visit);
    bc_keydir_each_entry(f->keydir, visit_entry, &visit);
    ck_assert_uint_eq(visit.keys, count);
    ck_assert_uint_eq(visit.entries, offsets);
}

static bool relocate(struct fixture *f, uint32_t i, const struct bc_entry *from, const struct bc_entry *to)
{
    char key[KEY_MAX_HERE];
    size_t size = key_of(i, key);
    struct bc_entry was;
    if (bc_keydir_move(f->keydir, bc_keydir_hash(f->keydir, key, size), from, to, &was) != BC_MOVED)
        return false;
    ck_assert(was.file == from->file && was.offset == from->offset);
    return true;
}

/* ---- tests ---- */

START_TEST(test_limits_of_a_slot)
{
    struct expected e[2] = {{0}};
    struct fixture f;
    begin(&f);
    put(&f, e, 0,
        (struct bc_entry){.offset = (UINT64_C(1) << 34) - 8, .footprint = UINT64_C(1) << 32, .file = BC_KEYDIR_FILES_MAX - 1},
        INT64_MAX);
    put(&f, e, 1, (struct bc_entry){.offset = 8, .footprint = 32, .flags = BC_ENTRY_CORRUPT}, 0);
    check_key(&f, e, 0);
    check_key(&f, e, 1);
    put(&f, e, 1, (struct bc_entry){.offset = 16, .footprint = 32}, -1);
    check_key(&f, e, 1);
    ck_assert_uint_eq(bc_keydir_count(f.keydir), 2);
    end(&f);
}
END_TEST

START_TEST(test_shards)
{
    struct fixture f;
    begin(&f);
    ck_assert_uint_eq(bc_keydir_shards(f.keydir), SHARDS);
    ck_assert_uint_eq(bc_keydir_shard(f.keydir, 0), 0);
    ck_assert_uint_eq(bc_keydir_shard(f.keydir, UINT64_MAX), SHARDS - 1);
    ck_assert_uint_eq(bc_keydir_shard(f.keydir, UINT64_C(1) << 58), 1);
    bc_keydir_prefetch(f.keydir, UINT64_MAX);
    end(&f);
    bc_keydir_free(NULL);
}
END_TEST

START_TEST(test_relocate_is_a_compare_and_swap)
{
    struct expected e[1] = {{0}};
    struct fixture f;
    struct bc_entry a = entry_of(1), b = entry_of(2), other_file = a, other_offset = a;
    begin(&f);
    ck_assert(!relocate(&f, 0, &a, &b));
    put(&f, e, 0, a, 5000);
    other_file.file++;
    other_offset.offset += 8;
    ck_assert(!relocate(&f, 0, &other_file, &b));
    ck_assert(!relocate(&f, 0, &other_offset, &b));
    check_key(&f, e, 0);
    ck_assert(relocate(&f, 0, &a, &b));
    e[0].entry.file = b.file;
    e[0].entry.offset = b.offset;
    check_key(&f, e, 0);
    ck_assert(!relocate(&f, 0, &a, &b));
    end(&f);
}
END_TEST

static void random_step(struct fixture *f, struct expected *e, uint32_t step)
{
    uint32_t i = below(KEYS), what = below(100);
    int64_t expire_at_ms = below(3) == 0 ? (int64_t)1000000000000 + step : 0;
    struct bc_entry entry = entry_of(step);
    entry.flags = below(50) == 0 ? BC_ENTRY_CORRUPT : 0;
    if (what < (step / 20000 % 2 == 0 ? 60U : 20U)) {
        put(f, e, i, entry, expire_at_ms);
    } else if (what < 85) {
        bool was = e[i].present;
        MUST(take(f, e, i) == was);
    } else if (what < 99) {
        struct bc_entry from = below(10) == 0 ? entry_of(step + 1) : e[i].entry;
        bool same = e[i].present && from.offset == e[i].entry.offset && from.file == e[i].entry.file;
        MUST(relocate(f, i, &from, &entry) == same);
        if (same) { /* only the place is new */
            e[i].entry.file = entry.file;
            e[i].entry.offset = entry.offset;
        }
    } else {
        bc_keydir_upkeep(f->keydir);
    }
}

static void run_against_a_list(struct fixture *f)
{
    struct expected *e = calloc(KEYS, sizeof *e);
    ck_assert_ptr_nonnull(e);
    for (uint32_t step = 0; step < 100000; step++) {
        random_step(f, e, step);
        if (step % 9973 == 0)
            check_all(f, e);
        if (step == 70000) {
            bc_keydir_clear(f->keydir);
            memset(e, 0, KEYS * sizeof *e);
            check_all(f, e);
        }
    }
    check_all(f, e);
    free(e);
}

START_TEST(test_against_a_list)
{
    struct fixture f;
    seed_random();
    begin(&f);
    run_against_a_list(&f);
    end(&f);
    begin_counted(&f);
    run_against_a_list(&f);
    end(&f);
    ck_assert_int_eq(f.memory.live, 0);
}
END_TEST

/* A reservation of many holds, whatever upkeep does before it is used. */
START_TEST(test_reservation_cannot_fail_later)
{
    struct fixture f;
    struct expected *e = calloc(KEYS, sizeof *e);
    uint32_t per_shard[SHARDS] = {0};
    size_t bytes[SHARDS] = {0};
    char key[KEY_MAX_HERE];
    ck_assert_ptr_nonnull(e);
    begin_counted(&f);
    for (uint32_t i = 0; i < KEYS; i++) {
        size_t size = key_of(i, key);
        uint32_t shard = bc_keydir_shard(f.keydir, bc_keydir_hash(f.keydir, key, size));
        per_shard[shard]++;
        bytes[shard] += size + 8;
    }
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        MUST(bc_keydir_reserve(f.keydir, (uint64_t)shard << 58, per_shard[shard], bytes[shard]) == BITCASK_OK);
    bc_keydir_upkeep(f.keydir);
    f.memory.left = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        struct bc_cursor cursor;
        size_t size = key_of(i, key);
        uint64_t hash = bc_keydir_hash(f.keydir, key, size);
        struct bc_entry entry = entry_of(i);
        bc_keydir_lock(f.keydir, bc_keydir_shard(f.keydir, hash));
        bc_keydir_seek(f.keydir, hash, key, size, &cursor);
        bc_keydir_publish(f.keydir, &cursor, key, size, &entry, 1000 + i);
        bc_keydir_unlock(f.keydir, bc_keydir_shard(f.keydir, hash));
        e[i] = (struct expected){true, entry, 1000 + i};
        if (i % 100 == 0)
            bc_keydir_upkeep(f.keydir);
    }
    check_all(&f, e);
    end(&f);
    free(e);
}
END_TEST

/* Upkeep that throws garbage away keeps the room that was promised. */
START_TEST(test_reservation_outlives_compaction)
{
    struct fixture f;
    struct expected *e = calloc(KEYS, sizeof *e);
    ck_assert_ptr_nonnull(e);
    begin(&f);
    for (uint32_t i = 0; i < KEYS; i++)
        put(&f, e, i, entry_of(i), 0);
    while (bc_keydir_upkeep(f.keydir))
        ;
    uint64_t before = bc_keydir_bytes(f.keydir);
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        ck_assert_int_eq(bc_keydir_reserve(f.keydir, (uint64_t)shard << 58, 1, 60000), BITCASK_OK);
    for (uint32_t i = 0; i < KEYS; i++)
        take(&f, e, i);
    ck_assert(bc_keydir_upkeep(f.keydir));
    ck_assert_uint_lt(bc_keydir_bytes(f.keydir), before);
    static char key[60000];
    struct bc_entry entry = entry_of(1);
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        struct bc_cursor cursor;
        bc_keydir_lock(f.keydir, shard);
        bc_keydir_seek(f.keydir, (uint64_t)shard << 58, key, sizeof key, &cursor);
        bc_keydir_publish(f.keydir, &cursor, key, sizeof key, &entry, 0);
        bc_keydir_unlock(f.keydir, shard);
    }
    ck_assert_uint_eq(bc_keydir_count(f.keydir), SHARDS);
    end(&f);
    free(e);
}
END_TEST

/* Each request for memory fails once, at every place: nothing changes, and it clears with the memory. */
START_TEST(test_no_memory)
{
    struct fixture f;
    struct expected *e = calloc(KEYS, sizeof *e);
    ck_assert_ptr_nonnull(e);
    begin_counted(&f);
    unsigned refused = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        struct bc_entry entry = entry_of(i);
        for (int allowed_now = 0;; allowed_now++) {
            f.memory.left = allowed_now;
            int result = try_put(&f, i, &entry, 0);
            f.memory.left = -1;
            if (result == BITCASK_OK)
                break;
            MUST(result == BITCASK_NO_MEMORY);
            refused++;
            check_key(&f, e, i);
            MUST(bc_keydir_count(f.keydir) == i);
        }
        e[i] = (struct expected){true, entry, 0};
    }
    MUST(refused > SHARDS);
    f.memory.left = 0;
    for (uint32_t i = 0; i < KEYS; i += 2)
        MUST(take(&f, e, i)); /* needs none */
    while (bc_keydir_upkeep(f.keydir))
        ;
    check_all(&f, e);
    end(&f);
    MUST(f.memory.live == 0);
    f.pins = NULL;
    for (long left = 0; left < 2; left++) {
        f.memory.left = left;
        ck_assert_ptr_null(bc_keydir_new(&f.allocator, &bc_io_posix, f.pins, SHARDS, &(struct bc_hash_secret){1, 2}));
        MUST(f.memory.live == 0);
    }
    free(e);
}
END_TEST

/* ---- loading ---- */

struct loaded {
    uint32_t key, file;
    uint64_t sequence, offset;
    int64_t expire_at_ms;
    bool tombstone;
};

static int load(struct fixture *f, const struct loaded *l)
{
    char key[KEY_MAX_HERE];
    size_t size = key_of(l->key, key);
    struct bc_entry entry = {
        .offset = l->offset, .footprint = 64, .file = l->file, .flags = l->tombstone ? BC_ENTRY_TOMBSTONE : 0};
    uint64_t hash = bc_keydir_hash(f->keydir, key, size);
    if (f->loader != NULL)
        return bc_keydir_loader_add(f->loader, hash, key, size, l->sequence, &entry, l->expire_at_ms);
    return bc_keydir_load(f->keydir, hash, key, size, l->sequence, &entry, l->expire_at_ms);
}

static bool above(const struct loaded *a, const struct loaded *b)
{
    if (a->sequence != b->sequence)
        return a->sequence > b->sequence;
    return a->file > b->file;
}

/* The same entries in several orders: the outcome is what the sequences say. Copies (same sequence, another file) included. */
START_TEST(test_load_order_does_not_matter)
{
    enum { COUNT = 20000 };
    struct loaded *all = calloc(COUNT, sizeof *all), **best = calloc(KEYS, sizeof *best);
    struct expected *e = calloc(KEYS, sizeof *e);
    MUST(all != NULL && best != NULL && e != NULL);
    seed_random();
    for (uint32_t n = 0; n < COUNT; n++) {
        if (n > 0 && below(5) == 0) { /* a copy by merge */
            all[n] = all[below(n)];
            all[n].file = 1000 + n;
            all[n].offset = 8 + below(1000000) * UINT64_C(8);
            continue;
        }
        all[n] = (struct loaded){
            .key = below(KEYS), .file = below(500), .sequence = n + 1, .offset = 8 + below(1000000) * UINT64_C(8)};
        all[n].tombstone = below(4) == 0;
        all[n].expire_at_ms = !all[n].tombstone && below(4) == 0 ? 1 + (int64_t)n : 0;
    }
    for (int order = 0; order < 4; order++) {
        struct fixture f;
        begin(&f);
        for (uint32_t n = COUNT - 1; n > 0; n--) { /* shuffle */
            struct loaded swap = all[n];
            uint32_t other = below(n + 1);
            all[n] = all[other];
            all[other] = swap;
        }
        memset(best, 0, KEYS * sizeof *best);
        memset(e, 0, KEYS * sizeof *e);
        MUST(bc_keydir_load_begin(f.keydir) == BITCASK_OK);
        /* One by one, gathered with many flushes, and all at once; and two ways side by side. */
        struct bc_loader *loader = NULL;
        if (order > 0)
            MUST((loader = bc_keydir_loader_new(f.keydir, order == 1 ? 1 : 16 << 20)) != NULL);
        for (uint32_t n = 0; n < COUNT; n++) {
            f.loader = order == 3 && n % 3 == 0 ? NULL : loader;
            MUST(load(&f, &all[n]) == BITCASK_OK);
            struct loaded **b = &best[all[n].key];
            if (*b == NULL || above(&all[n], *b))
                *b = &all[n];
        }
        MUST(loader == NULL || bc_keydir_loader_flush(loader) == BITCASK_OK);
        bc_keydir_loader_free(loader);
        bc_keydir_load_end(f.keydir);
        for (uint32_t i = 0; i < KEYS; i++)
            if (best[i] != NULL && !best[i]->tombstone)
                e[i] = (struct expected){
                    true, {.offset = best[i]->offset, .footprint = 64, .file = best[i]->file}, best[i]->expire_at_ms};
        check_all(&f, e);
        for (uint32_t i = 0; i < KEYS; i++) /* and it goes on from there */
            put(&f, e, i, entry_of(i), 0);
        check_all(&f, e);
        end(&f);
    }
    free(all);
    free(best);
    free(e);
}
END_TEST

START_TEST(test_load_returns_memory)
{
    struct fixture f;
    begin_counted(&f);
    MUST(bc_keydir_load_begin(f.keydir) == BITCASK_OK);
    for (uint32_t n = 0; n < 300000; n++) {
        struct loaded l = {.key = n, .sequence = n + 1, .offset = 8 * ((uint64_t)n + 1), .tombstone = n % 10 != 0};
        MUST(load(&f, &l) == BITCASK_OK);
    }
    MUST(bc_keydir_count(f.keydir) == 300000);
    bc_keydir_load_end(f.keydir);
    MUST(bc_keydir_count(f.keydir) == 30000);
    uint64_t loaded = bc_keydir_bytes(f.keydir);
    end(&f);
    MUST(f.memory.live == 0);
    begin_counted(&f);
    for (uint32_t n = 0; n < 300000; n += 10)
        MUST(try_put(&f, n, &(struct bc_entry){.offset = 8, .footprint = 64}, 0) == BITCASK_OK);
    while (bc_keydir_upkeep(f.keydir))
        ;
    MUST(loaded <= bc_keydir_bytes(f.keydir) * 13 / 10);
    end(&f);
}
END_TEST

START_TEST(test_load_without_memory)
{
    struct fixture f;
    begin_counted(&f);
    for (long left = 0; left < SHARDS; left += 7) {
        long live = f.memory.live;
        f.memory.left = left;
        MUST(bc_keydir_load_begin(f.keydir) == BITCASK_NO_MEMORY);
        MUST(f.memory.live == live);
    }
    f.memory.left = -1;
    MUST(bc_keydir_load_begin(f.keydir) == BITCASK_OK);
    unsigned refused = 0;
    for (uint32_t n = 0; n < KEYS; n++) {
        struct loaded l = {.key = n, .sequence = n + 1, .offset = 8 * ((uint64_t)n + 1)};
        for (long left = 0;; left++) {
            f.memory.left = left;
            int result = load(&f, &l);
            if (result == BITCASK_OK)
                break;
            MUST(result == BITCASK_NO_MEMORY);
            refused++;
        }
    }
    MUST(refused > SHARDS);
    f.memory.left = 0;
    bc_keydir_load_end(f.keydir);
    MUST(bc_keydir_count(f.keydir) == KEYS);
    end(&f);
    /* Gathered: the loader says so, wherever it ends. */
    for (long left = 0, result = BITCASK_NO_MEMORY; result != BITCASK_OK; left += 1 + left / 8) {
        begin_counted(&f);
        MUST(bc_keydir_load_begin(f.keydir) == BITCASK_OK);
        f.memory.left = left;
        f.loader = bc_keydir_loader_new(f.keydir, 1);
        result = f.loader != NULL ? BITCASK_OK : BITCASK_NO_MEMORY;
        for (uint32_t n = 0; n < KEYS && result == BITCASK_OK; n++)
            result = load(&f, &(struct loaded){.key = n, .sequence = n + 1, .offset = 8 * ((uint64_t)n + 1)});
        if (result == BITCASK_OK)
            result = bc_keydir_loader_flush(f.loader);
        MUST(result == BITCASK_OK || result == BITCASK_NO_MEMORY);
        bc_keydir_loader_free(f.loader);
        bc_keydir_load_end(f.keydir);
        MUST(result != BITCASK_OK || bc_keydir_count(f.keydir) == KEYS);
        if (result != BITCASK_OK)
            end(&f);
    }
    end(&f);
    MUST(f.memory.live == 0);
}
END_TEST

/* ---- memory ---- */

/* 5 M distinct keys put and deleted with 50 k alive: no more than a fresh KeyDir of those alive. */
static void churn(uint32_t size_from, uint32_t size_to, bool upkeep)
{
    enum { ALIVE = 50000, TOTAL = 5000000 };
    struct fixture f, fresh;
    char key[64];
    struct bc_cursor cursor;
    begin(&f);
    begin(&fresh);
    for (uint32_t n = 0; n < TOTAL + ALIVE; n++) {
        for (int removal = 0; removal < 2; removal++) {
            uint32_t i = removal != 0 ? n - ALIVE : n;
            struct fixture *at = removal == 0 && n >= TOTAL ? &fresh : &f;
            if ((removal != 0 && n < ALIVE) || (removal != 0 && n >= TOTAL))
                continue;
            size_t size = size_from + (i * 2654435761U >> 8) % (size_to - size_from + 1);
            memset(key, 'k', sizeof key);
            memcpy(key, &i, sizeof i);
            uint64_t hash = bc_keydir_hash(at->keydir, key, size);
            if (removal == 0)
                MUST(bc_keydir_reserve(at->keydir, hash, 1, size) == BITCASK_OK);
            bc_keydir_lock(at->keydir, bc_keydir_shard(at->keydir, hash));
            bc_keydir_seek(at->keydir, hash, key, size, &cursor);
            MUST(cursor.found == removal);
            if (removal != 0)
                bc_keydir_remove(at->keydir, &cursor);
            else
                bc_keydir_publish(at->keydir, &cursor, key, size, &(struct bc_entry){.offset = 8, .footprint = 64}, 0);
            bc_keydir_unlock(at->keydir, bc_keydir_shard(at->keydir, hash));
        }
        if (n % 1000 == 0 && (upkeep || f.wakes == 0))
            bc_keydir_upkeep(f.keydir);
    }
    while (bc_keydir_upkeep(f.keydir) || bc_keydir_upkeep(fresh.keydir))
        ;
    MUST(bc_keydir_count(f.keydir) == ALIVE);
    MUST(bc_keydir_count(fresh.keydir) == ALIVE);
    printf("# churn, keys of %u to %u bytes: %llu against %llu bytes\n", size_from, size_to,
           (unsigned long long)bc_keydir_bytes(f.keydir), (unsigned long long)bc_keydir_bytes(fresh.keydir));
    MUST(bc_keydir_bytes(f.keydir) <= bc_keydir_bytes(fresh.keydir) * 13 / 10);
    end(&f);
    end(&fresh);
}

START_TEST(test_churn_is_bounded)
{
    churn(16, 16, true);
    churn(8, 40, true);
}
END_TEST

START_TEST(test_churn_is_bounded_without_upkeep)
{
    churn(8, 40, false);
}
END_TEST

START_TEST(test_upkeep_is_asked_for_and_ends)
{
    struct fixture f;
    begin(&f);
    MUST(!bc_keydir_upkeep(f.keydir));
    for (uint32_t n = 0; n < 60000; n++)
        MUST(try_put(&f, n, &(struct bc_entry){.offset = 8, .footprint = 64}, 0) == BITCASK_OK);
    MUST(f.wakes == 1); /* once until it is done */
    MUST(bc_keydir_upkeep(f.keydir));
    int rounds = 0;
    while (bc_keydir_upkeep(f.keydir))
        MUST(++rounds < 3);
    uint64_t bytes = bc_keydir_bytes(f.keydir);
    bc_keydir_clear(f.keydir);
    while (bc_keydir_upkeep(f.keydir))
        ;
    MUST(bc_keydir_bytes(f.keydir) < bytes / 20);
    end(&f);
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("keydir");
    TCase *tc = tcase_create("keydir");
    tcase_set_timeout(tc, 240);
    tcase_add_test(tc, test_limits_of_a_slot);
    tcase_add_test(tc, test_shards);
    tcase_add_test(tc, test_relocate_is_a_compare_and_swap);
    tcase_add_test(tc, test_against_a_list);
    tcase_add_test(tc, test_reservation_cannot_fail_later);
    tcase_add_test(tc, test_reservation_outlives_compaction);
    tcase_add_test(tc, test_no_memory);
    tcase_add_test(tc, test_load_order_does_not_matter);
    tcase_add_test(tc, test_load_returns_memory);
    tcase_add_test(tc, test_load_without_memory);
    tcase_add_test(tc, test_churn_is_bounded);
    tcase_add_test(tc, test_churn_is_bounded_without_upkeep);
    tcase_add_test(tc, test_upkeep_is_asked_for_and_ends);
    suite_add_tcase(suite, tc);
    return suite;
}
