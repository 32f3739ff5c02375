/* test_keydir_pool.c - bitcask/keydir_pool.h: places in regions of huge pages, and tables that move through them. */
#include "bitcask/keydir_pool.h"

#include "bitcask/io_posix.h"
#include "bitcask/keydir_shard.h"

#include <check.h>
#include <string.h>

#define SHARDS 64U
#define KEYS 100000U

/* As ck_assert(), which writes a line to a file each time: for what is looked at very often. */
#define MUST(condition)                                                                                                        \
    do {                                                                                                                       \
        if (!(condition))                                                                                                      \
            ck_abort_msg("%s", #condition);                                                                                    \
    } while (0)

static uint64_t two_pages(uint32_t generation, uint32_t shard, uint32_t shards)
{
    return (generation + (shard >= shards / 2)) * UINT64_C(8192);
}

static void fill(char *place, size_t size)
{
    for (size_t i = 0; i < size; i++)
        MUST(place[i] == 0);
    memset(place, 0x5a, size);
}

START_TEST(test_places_lie_apart_and_come_back_as_zeros)
{
    struct bc_pool pool;
    struct bc_region *regions[SHARDS], *again;
    char *places[SHARDS];
    ck_assert(bc_pool_init(&pool, &bc_allocator_default, &bc_io_posix, two_pages, SHARDS));
    pool.smallest = 4096;
    for (uint32_t i = 0; i < SHARDS; i++) {
        uint64_t size = two_pages(1, i, SHARDS);
        ck_assert_ptr_null(bc_pool_take(&pool, 1, i, size + 1, &again));
        places[i] = bc_pool_take(&pool, 1, i, size, &regions[i]);
        ck_assert_ptr_nonnull(places[i]);
        fill(places[i], size);
        ck_assert_ptr_null(bc_pool_take(&pool, 1, i, size, &again));
    }
    /* Nobody wrote into anybody else's. */
    for (uint32_t i = 0; i < SHARDS; i++)
        for (uint64_t at = 0; at < two_pages(1, i, SHARDS); at++)
            MUST(places[i][at] == 0x5a);
    bc_pool_give(&pool, regions[5], 5);
    places[5] = bc_pool_take(&pool, 1, 5, 8192, &regions[5]);
    ck_assert_ptr_nonnull(places[5]);
    fill(places[5], 8192);
    MUST(places[4][8191] == 0x5a && places[6][0] == 0x5a);
    for (uint32_t i = 0; i < SHARDS; i++)
        bc_pool_give(&pool, regions[i], i);
    ck_assert_uint_eq(pool.count, 0);
    bc_pool_free(&pool);
}
END_TEST

START_TEST(test_what_is_prepared_is_there_for_who_takes_it)
{
    struct bc_pool pool;
    struct bc_region *prepared, *taken;
    ck_assert(bc_pool_init(&pool, &bc_allocator_default, &bc_io_posix, two_pages, SHARDS));
    pool.smallest = 4096;
    prepared = bc_pool_prepare(&pool, 3, 7);
    ck_assert_ptr_nonnull(prepared);
    char *place = bc_pool_take(&pool, 3, 7, 100, &taken);
    ck_assert_ptr_eq(taken, prepared);
    fill(place, 100);
    bc_pool_drop(&pool, prepared);
    MUST(place[99] == 0x5a);
    bc_pool_give(&pool, taken, 7);
    ck_assert_uint_eq(pool.count, 0);
    pool.smallest = UINT64_MAX;
    ck_assert_ptr_null(bc_pool_prepare(&pool, 3, 7));
    bc_pool_drop(&pool, NULL);
    bc_pool_free(&pool);
}
END_TEST

/* ---- tables in regions ---- */

static void *no_huge_memory(void *ctx, size_t size)
{
    (void)ctx;
    (void)size;
    return NULL;
}

static void put(struct bc_keydir *k, uint64_t n)
{
    struct bc_cursor cursor;
    struct bc_entry entry = {.offset = n * 8 + 8, .footprint = 64};
    uint64_t hash = bc_keydir_hash(k, &n, sizeof n);
    ck_assert_int_eq(bc_keydir_reserve(k, hash, 1, sizeof n), BITCASK_OK);
    bc_keydir_lock(k, bc_keydir_shard(k, hash));
    bc_keydir_seek(k, hash, &n, sizeof n, &cursor);
    bc_keydir_publish(k, &cursor, &n, sizeof n, &entry, 0);
    bc_keydir_unlock(k, bc_keydir_shard(k, hash));
}

static void check_all(struct bc_keydir *k, uint64_t count)
{
    for (uint64_t n = 0; n < count; n++) {
        struct bc_entry entry;
        int64_t expire_at_ms;
        MUST(bc_keydir_find(k, bc_keydir_hash(k, &n, sizeof n), &n, sizeof n, &entry, &expire_at_ms));
        MUST(entry.offset == n * 8 + 8);
    }
}

static void run(const struct bc_io *io, unsigned regions_wanted, unsigned upkeep_every)
{
    struct bc_pins *pins = bc_pins_new(&bc_allocator_default, io);
    ck_assert_ptr_nonnull(pins);
    struct bc_keydir *k = bc_keydir_new(&bc_allocator_default, io, pins, SHARDS, &(struct bc_hash_secret){1, 2});
    ck_assert_ptr_nonnull(k);
    k->pool.smallest = 128 << 10;
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t n = 0; n < KEYS; n++) {
            put(k, n);
            if (n % upkeep_every == 0)
                while (bc_keydir_upkeep(k))
                    ;
        }
        while (bc_keydir_upkeep(k))
            ;
        check_all(k, KEYS);
        ck_assert_uint_ge(k->pool.count, regions_wanted);
        ck_assert_uint_le(k->pool.count, 2 * regions_wanted);
        bc_keydir_clear(k);
        /* Before the old tables have gone their places are taken: the new ones stand elsewhere. */
        for (uint64_t n = 0; n < KEYS / 4; n++)
            put(k, n);
        check_all(k, KEYS / 4);
        bc_keydir_clear(k);
        while (bc_keydir_upkeep(k))
            ;
        ck_assert_uint_eq(k->pool.count, 0);
    }
    bc_keydir_free(k);
    bc_pins_free(pins);
}

START_TEST(test_tables_move_from_region_to_region)
{
    run(&bc_io_posix, 1, 20);
    run(&bc_io_posix, 1, 50000);
}
END_TEST

START_TEST(test_without_huge_memory_tables_stand_alone)
{
    struct bc_io io = bc_io_posix;
    io.memory_map_huge = no_huge_memory;
    run(&io, 0, 100);
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("keydir_pool");
    TCase *tc = tcase_create("keydir_pool");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_places_lie_apart_and_come_back_as_zeros);
    tcase_add_test(tc, test_what_is_prepared_is_there_for_who_takes_it);
    tcase_add_test(tc, test_tables_move_from_region_to_region);
    tcase_add_test(tc, test_without_huge_memory_tables_stand_alone);
    suite_add_tcase(suite, tc);
    return suite;
}
