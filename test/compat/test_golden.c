/* Stores as they were written by each version of the format, committed under test/compat/<version>/ and read for ever: they are
 * never written again. Each holds every type of record: puts of several sizes, with and without expiry, an overwrite, a
 * tombstone, a batch, links, a sealed file with a hint and the file of a clean close.
 *
 * For a new version of the format: BITCASK_GOLDEN=DIR makes the program write such a store into DIR. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/bitcask.h"
#include "test/support/store.h"

#define EXPIRY 4102444800000LL /* the year 2100 */
#define COUNT 40U

/* What key i holds; false: it was deleted. */
static bool expected(unsigned i, unsigned char *value, size_t *size)
{
    *size = i == 7 ? 0 : i == 11 ? 30000 : i == 12 ? 33000 : 50 + i;
    for (size_t at = 0; at < *size; at++)
        value[at] = (unsigned char)(i * 7 + at * 3 + (at >> 8));
    return i % 10 != 3;
}

static size_t key_of(unsigned i, char key[16])
{
    size_t size = (size_t)snprintf(key, 16, "key%03u", i);
    key[3] = (char)(i == 5 ? '\0' : key[3]);
    return size;
}

static void put(bitcask *db, unsigned i, const void *value, size_t size)
{
    char key[16];
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    o.expire_at_ms = i % 4 == 1 ? EXPIRY : 0;
    ck_assert_int_eq(bitcask_put(db, key, key_of(i, key), value, size, &o, NULL), BITCASK_OK);
}

static void write_golden(const char *dir)
{
    static unsigned char value[40000];
    char key[16];
    size_t size;
    bitcask *db;
    bitcask_batch *b;
    bitcask_options o = BITCASK_OPTIONS_INIT;
    o.max_file_size = 65536;
    ck_assert_int_eq(bitcask_open(dir, &o, &db), BITCASK_OK);
    for (unsigned i = 0; i < COUNT; i++)
        put(db, i, "old", 3);
    for (unsigned i = 0; i < 20; i++) {
        if (expected(i, value, &size))
            put(db, i, value, size);
        else
            ck_assert_int_eq(bitcask_delete(db, key, key_of(i, key), NULL, NULL), BITCASK_OK);
    }
    ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
    for (unsigned i = 20; i < COUNT; i++) {
        if (expected(i, value, &size))
            ck_assert_int_eq(bitcask_batch_put(b, key, key_of(i, key), value, size, i % 4 == 1 ? EXPIRY : 0), BITCASK_OK);
        else
            ck_assert_int_eq(bitcask_batch_delete(b, key, key_of(i, key)), BITCASK_OK);
    }
    ck_assert_int_eq(bitcask_write(db, b, BITCASK_PUT_SYNC), BITCASK_OK);
    bitcask_batch_free(b);
    ck_assert_int_eq(bitcask_close(db), BITCASK_OK);
}

static void check(const char *dir, uint32_t flags)
{
    static unsigned char value[40000];
    bitcask_options o = BITCASK_OPTIONS_INIT;
    bitcask_stats stats = BITCASK_STATS_INIT;
    bitcask *db = NULL;
    o.flags = flags;
    ck_assert_msg(bitcask_open(dir, &o, &db) == BITCASK_OK, "%s", bitcask_last_error()->message);
    for (unsigned i = 0; i < COUNT; i++) {
        char key[16];
        size_t size, got_size;
        void *got;
        bool there = expected(i, value, &size);
        int result = bitcask_get(db, key, key_of(i, key), &got, &got_size);
        ck_assert_msg(result == (there ? BITCASK_OK : BITCASK_NOT_FOUND), "key %u: %s", i, bitcask_last_error()->message);
        if (!there)
            continue;
        ck_assert(got_size == size && memcmp(got, value, size) == 0);
        bitcask_free(got);
        bitcask_key_info info = BITCASK_KEY_INFO_INIT;
        ck_assert_int_eq(bitcask_info(db, key, key_of(i, key), &info), BITCASK_OK);
        ck_assert_int_eq(info.expire_at_ms, i % 4 == 1 ? EXPIRY : 0);
    }
    ck_assert_int_eq(bitcask_stats_get(db, &stats), BITCASK_OK);
    ck_assert_uint_eq(stats.keys, COUNT - COUNT / 10);
    ck_assert_int_eq(bitcask_close(db), BITCASK_OK);
}

START_TEST(test_version_1)
{
    const char *write_to = getenv("BITCASK_GOLDEN"), *root = getenv("BITCASK_SOURCE_ROOT");
    char golden[4096];
    const char *copy = store_path();
    if (write_to != NULL && _i == 0)
        write_golden(write_to);
    ck_assert_msg(root != NULL, "BITCASK_SOURCE_ROOT is not set");
    snprintf(golden, sizeof golden, "%s/test/compat/v1", root);
    store_copy_directory(golden, copy);
    uint64_t digest = store_digest(copy);
    check(copy, BITCASK_OPEN_READ_ONLY | (_i == 1 ? BITCASK_OPEN_NO_MMAP : 0));
    ck_assert_uint_eq(store_digest(copy), digest);
    check(copy, _i == 1 ? BITCASK_OPEN_NO_MMAP : 0);
    /* The hints say the same as the data. */
    ck_assert_uint_gt(store_count(copy, ".hint"), 1);
    for (const char *name; (name = store_nth(copy, ".hint", 0)) != NULL;)
        store_remove(store_file(copy, name));
    check(copy, _i == 1 ? BITCASK_OPEN_NO_MMAP : 0);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("golden");
    TCase *t = store_tcase("P19");
    store_add_test(t, test_version_1);
    suite_add_tcase(s, t);
    return s;
}
