/* Eviction: the store stays below its limit by giving up its oldest data, spares what is read, and never shows an older version
 * of what it gave up. The background thread works; the tests wait for what it has to come to, never for a time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test/support/merging.h"

#define LIMIT (1ULL << 20)
#define PATIENCE_MS 60000U

static bitcask_options evicting(int mode)
{
    bitcask_options o = store_options(mode);
    o.max_bytes = LIMIT;
    o.merge_check_interval_ms = 1;
    return o;
}

static bool below(bitcask *db)
{
    return merging_stats(db).disk_bytes <= LIMIT;
}

static bool keydir_below(bitcask *db)
{
    return bc_keydir_used(db->keydir) <= LIMIT;
}

static void wait_for(bitcask *db, bool (*holds)(bitcask *))
{
    for (unsigned i = 0; i < PATIENCE_MS && !holds(db); i++)
        usleep(1000);
    ck_assert_msg(holds(db), "the store stays above its limit: %llu bytes on disk, %llu of keys",
                  (unsigned long long)merging_stats(db).disk_bytes, (unsigned long long)bc_keydir_used(db->keydir));
}

/* Tolerance: what is written while the eviction runs. This writer gives it the time it needs every 128 KiB, so the store is
 * never farther above its limit than that, a file, and what a file being written takes. */
#define TOLERANCE (512ULL << 10)
#define SIZE 1000U

static void write_stream(bitcask *db, unsigned from, unsigned count, unsigned hot)
{
    uint64_t highest = 0;
    for (unsigned i = from; i < from + count; i++) {
        ck_assert_int_eq(store_put_number(db, i, 1, SIZE), BITCASK_OK);
        if (i % 32 == 0)
            for (unsigned k = 0; k < hot; k++)
                ck_assert_int_eq(store_check_number(db, k, 1, SIZE), 0);
        highest = BC_MAX(highest, merging_stats(db).disk_bytes);
        if (i % 128 == 0)
            wait_for(db, below);
    }
    ck_assert_uint_lt(highest, LIMIT + TOLERANCE);
}

/* Which keys of a stream are there: the first one, and whether all behind it are. */
static unsigned first_present(bitcask *db, unsigned from, unsigned count)
{
    unsigned first = from;
    while (first < from + count && store_check_number(db, first, 1, SIZE) == BITCASK_NOT_FOUND)
        first++;
    for (unsigned i = first; i < from + count; i++)
        ck_assert_msg(store_check_number(db, i, 1, SIZE) == 0, "key %u is gone, %u is there", i, first);
    return first;
}

START_TEST(test_stays_below_max_bytes_and_gives_up_the_oldest_first)
{
    const char *path = store_path();
    bitcask_options o = evicting(_i);
    bitcask *db = store_open(path, &o);
    write_stream(db, 0, 2500, 0);
    wait_for(db, below);
    ck_assert_int_eq(bitcask_set(db, "max_bytes", "off"), BITCASK_OK);
    /* What was under way ends. */
    ck_assert_int_eq(bc_merger_lock(&db->merger, false), BITCASK_OK);
    bc_merger_unlock(&db->merger);
    bitcask_stats s = merging_stats(db);
    unsigned first = first_present(db, 0, 2500);
    ck_assert_uint_gt(first, 1200);
    ck_assert_uint_lt(first, 2200); /* nor more than it has to */
    ck_assert_uint_eq(s.evictions, first);
    ck_assert_uint_eq(s.keys, 2500 - first);
    store_close(db);
    o.flags |= BITCASK_OPEN_NO_MERGE;
    db = store_open(path, &o);
    ck_assert_uint_eq(first_present(db, 0, 2500), first);
    store_close(db);
}
END_TEST

START_TEST(test_keys_that_are_read_stay)
{
    const char *path = store_path();
    bitcask_options o = evicting(_i);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, SIZE), BITCASK_OK);
    write_stream(db, 100, 2500, 20);
    ck_assert_uint_gt(merging_stats(db).evictions, 1000);
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, SIZE), 0);
    /* Not for ever: once nobody reads them they go as well. */
    write_stream(db, 10000, 2500, 0);
    unsigned left = 0;
    for (unsigned i = 0; i < 20; i++)
        left += store_check_number(db, i, 1, SIZE) == 0;
    ck_assert_uint_eq(left, 0);
    store_close(db);
}
END_TEST

static bool roomy(bitcask *db)
{
    return merging_stats(db).disk_bytes <= LIMIT - LIMIT / 8;
}

/* What is read fills several files on end: one that was spared whole does not cost the next one its keys. */
START_TEST(test_keys_of_neighbouring_files_that_are_read_stay)
{
    enum { HOT = 300 };
    const char *path = store_path();
    bitcask_options o = evicting(_i);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < HOT; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, SIZE), BITCASK_OK);
    for (unsigned i = 1000; i < 4000; i++) {
        ck_assert_int_eq(store_put_number(db, i, 1, SIZE), BITCASK_OK);
        if (i % 32 != 0)
            continue;
        for (unsigned k = 0; k < HOT; k++)
            ck_assert_msg(store_check_number(db, k, 1, SIZE) == 0, "key %u went when key %u was written", k, i);
        wait_for(db, roomy);
    }
    ck_assert_uint_gt(merging_stats(db).evictions, 2000);
    store_close(db);
}
END_TEST

/* With everything read all the time somebody must go. */
START_TEST(test_store_of_nothing_but_read_keys_stays_below_its_limit)
{
    enum { WINDOW = 900 };
    const char *path = store_path();
    bitcask_options o = evicting(_i);
    bitcask *db = store_open(path, &o);
    uint64_t highest = 0;
    for (unsigned i = 0; i < 3000; i++) {
        ck_assert_int_eq(store_put_number(db, i, 1, SIZE), BITCASK_OK);
        if (i % 64 != 0)
            continue;
        for (unsigned k = i - BC_MIN(i, WINDOW); k <= i; k++)
            (void)store_check_number(db, k, 1, SIZE);
        highest = BC_MAX(highest, merging_stats(db).disk_bytes);
        wait_for(db, below);
    }
    ck_assert_uint_lt(highest, LIMIT + TOLERANCE);
    ck_assert_int_eq(store_check_number(db, 2999, 1, SIZE), 0);
    store_close(db);
}
END_TEST

START_TEST(test_stays_below_max_keydir_bytes)
{
    const char *path = store_path();
    bitcask_options o = evicting(_i);
    o.max_bytes = 0;
    o.max_keydir_bytes = LIMIT;
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 60000; i++) {
        ck_assert_int_eq(store_put_number(db, i, 1, 8), BITCASK_OK);
        if (i % 5000 == 0)
            wait_for(db, keydir_below);
    }
    wait_for(db, keydir_below);
    bitcask_stats s = merging_stats(db);
    ck_assert_uint_gt(s.evictions, 10000);
    ck_assert_uint_gt(s.keys, 10000);
    ck_assert_int_eq(store_check_number(db, 0, 1, 8), BITCASK_NOT_FOUND);
    ck_assert_int_eq(store_check_number(db, 59999, 1, 8), 0);
    store_close(db);
}
END_TEST

/* P6: what is read is the newest version or nothing, now and after reopening, by hints and by scan. */
static void check_versions(bitcask *db, const unsigned *version, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int got = store_check_number(db, i, version[i], 300);
        ck_assert_msg(got == 0 || got == BITCASK_NOT_FOUND, "key %u, version %u: %d", i, version[i], got);
    }
}

START_TEST(test_evicted_key_never_shows_an_older_version)
{
    enum { COUNT = 5000 };
    const char *path = store_path(), *name;
    bitcask_options o = evicting(_i);
    bitcask *db = store_open(path, &o);
    static unsigned version[COUNT];
    unsigned x = 7;
    memset(version, 0, sizeof version);
    for (unsigned n = 0; n < 12000; n++) {
        x = x * 1664525U + 1013904223U;
        unsigned i = (x >> 8) % COUNT;
        ck_assert_int_eq(store_put_number(db, i, ++version[i], 300), BITCASK_OK);
        if (n % 16 == 0 && version[(i + 1) % COUNT] != 0)
            (void)store_check_number(db, (i + 1) % COUNT, version[(i + 1) % COUNT], 300);
        if (n % 512 == 0)
            wait_for(db, below);
        if (n % 4096 == 0)
            check_versions(db, version, COUNT);
    }
    ck_assert_uint_gt(merging_stats(db).evictions, 1000);
    for (int again = 0; again < 3; again++) {
        check_versions(db, version, COUNT);
        uint64_t keys = merging_stats(db).keys;
        store_close(db);
        while (again == 1 && (name = store_nth(path, ".hint", 0)) != NULL)
            store_remove(store_file(path, name));
        o.flags |= BITCASK_OPEN_NO_MERGE;
        db = store_open(path, &o);
        ck_assert(again == 0 || merging_stats(db).keys == keys);
    }
    store_close(db);
}
END_TEST

static bool has_evicted(bitcask *db)
{
    return merging_stats(db).evictions > 0 && below(db);
}

/* The older version stands in a file that no eviction may take, as it is damaged. */
START_TEST(test_older_version_in_a_damaged_file_stays_hidden)
{
    const char *path = store_path(), *name;
    bitcask_options o = evicting(_i);
    o.max_bytes = 0;
    o.flags |= BITCASK_OPEN_NO_MERGE;
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "k", "old"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "damaged", "0123456789"), BITCASK_OK);
    uint64_t first = merging_seal(db);
    ck_assert_int_eq(store_put(db, "k", "new"), BITCASK_OK);
    merging_seal(db);
    store_close(db);
    const char *file = store_file(path, store_nth(path, ".data", 0));
    struct merging_record record = merging_nth(file, 1);
    store_flip(file, record.offset + (long)(record.head_size + record.key_size) + 2, 1);
    db = store_open(path, &o);
    ck_assert_int_eq(merging_file(db, first, NULL), BITCASK_CORRUPT);
    ck_assert(merging_is_barred(db, first));
    for (unsigned i = 0; i < 1500; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, SIZE), BITCASK_OK);
    store_expect(db, "k", "new");
    /* The test takes the part of the background thread. */
    bc_recency_free(&db->merger.recency);
    bc_recency_init(&db->merger.recency, db->io);
    ck_assert_int_eq(bitcask_set(db, "max_bytes", "1m"), BITCASK_OK);
    ck_assert_int_eq(bitcask_set(db, "merge_check_interval_ms", "1"), BITCASK_OK);
    atomic_store(&db->merger.settings.automatic, true);
    bc_upkeep_wake(&db->upkeep);
    wait_for(db, has_evicted);
    ck_assert(merging_has_file(db, first));
    store_expect(db, "k", NULL);
    for (int again = 0; again < 2; again++) {
        store_close(db);
        while (again == 1 && (name = store_nth(path, ".hint", 0)) != NULL)
            store_remove(store_file(path, name));
        db = store_open(path, &o);
        store_expect(db, "k", NULL);
    }
    store_close(db);
}
END_TEST

START_TEST(test_limit_is_set_while_the_store_is_open)
{
    const char *path = store_path();
    bitcask_options o = evicting(_i);
    o.max_bytes = 0;
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 3000; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, SIZE), BITCASK_OK);
    ck_assert_uint_eq(merging_stats(db).evictions, 0);
    ck_assert_uint_gt(merging_stats(db).disk_bytes, 3 * LIMIT - LIMIT / 4);
    ck_assert_int_eq(bitcask_set(db, "max_bytes", "1m"), BITCASK_OK);
    wait_for(db, below);
    ck_assert_uint_gt(merging_stats(db).evictions, 1500);
    ck_assert_int_eq(store_check_number(db, 2999, 1, SIZE), 0);
    ck_assert_int_eq(bitcask_set(db, "max_bytes", "off"), BITCASK_OK);
    /* What was under way may end. */
    ck_assert_int_eq(bitcask_merge(db, NULL, NULL), BITCASK_OK);
    uint64_t evictions = merging_stats(db).evictions;
    for (unsigned i = 3000; i < 6000; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, SIZE), BITCASK_OK);
    ck_assert_int_eq(bitcask_merge(db, NULL, NULL), BITCASK_OK);
    ck_assert_uint_eq(merging_stats(db).evictions, evictions);
    for (unsigned i = 3000; i < 6000; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, SIZE), 0);
    store_close(db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("eviction");
    TCase *t = store_tcase("eviction");
    store_add_test(t, test_stays_below_max_bytes_and_gives_up_the_oldest_first);
    store_add_test(t, test_keys_that_are_read_stay);
    store_add_test(t, test_keys_of_neighbouring_files_that_are_read_stay);
    store_add_test(t, test_store_of_nothing_but_read_keys_stays_below_its_limit);
    store_add_test(t, test_stays_below_max_keydir_bytes);
    store_add_test(t, test_evicted_key_never_shows_an_older_version);
    store_add_test(t, test_older_version_in_a_damaged_file_stays_hidden);
    store_add_test(t, test_limit_is_set_while_the_store_is_open);
    suite_add_tcase(s, t);
    return s;
}
