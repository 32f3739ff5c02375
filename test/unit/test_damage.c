/* test_damage.c - bytes that are not the store's own: a bad bit in a record, a file or MANIFEST of another store or of
 * yesterday. Damage is contained where its key is known, never an absence, never an older version; else the open refuses, names
 * file and offset, and modifies nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/store.h"

static const char first[] = "0000000001.data", second[] = "0000000002.data", hint[] = "0000000002.hint";

/* ---- damage of records ---- */

/* Where a number's value starts, or its key, in the file that holds it. */
static long find_bytes(const char *path, const void *needle, size_t needle_size)
{
    size_t size;
    char *data = store_read_file(path, &size);
    const char *at = memmem(data, size, needle, needle_size);
    long offset = at == NULL ? -1 : (long)(at - data);
    free(data);
    return offset;
}

/* A bad value costs its own key, with the hint and without: CORRUPT, and never the older version that stands before it. The key
 * can be overwritten and deleted all the same. */
START_TEST(test_damaged_value)
{
    for (unsigned round = 0; round < 4; round++) {
        const char *path = store_make_numbers(_i);
        bitcask_options o = store_options(_i);
        bitcask *db = store_open(path, &o);
        ck_assert_int_eq(store_put(db, "key000000", "the newer value"), BITCASK_OK);
        store_close(db);
        const char *name = NULL;
        long at = -1;
        for (unsigned i = 0; at < 0 && (name = store_nth(path, ".data", i)) != NULL; i++)
            at = find_bytes(store_file(path, name), "the newer value", 15);
        ck_assert_int_ge(at, 8192);
        char data_name[64];
        snprintf(data_name, sizeof data_name, "%s", name);
        store_flip(store_file(path, data_name), at + 3, 0x10);
        for (const char *h; round % 2 == 1 && (h = store_nth(path, ".hint", 0)) != NULL;)
            store_remove(store_file(path, h));
        db = store_open(path, &o);
        void *value = NULL;
        size_t size = 0;
        char buf[64];
        for (unsigned again = 0; again < 2; again++) {
            ck_assert_int_eq(bitcask_get(db, "key000000", 9, &value, &size), BITCASK_CORRUPT);
            store_expect_failure(BITCASK_CORRUPT, data_name, "damaged");
            ck_assert_uint_eq(bitcask_last_error()->offset, (uint64_t)at - 9 - 24);
            ck_assert_int_eq(bitcask_read(db, "key000000", 9, buf, sizeof buf, &size), BITCASK_CORRUPT);
            ck_assert(value == NULL && size == 0);
            ck_assert_int_eq(bitcask_touch(db, "key000000", 9, 0, 0), BITCASK_CORRUPT);
            for (unsigned i = 1; i < STORE_NUMBERS; i++)
                ck_assert_int_eq(store_check_number(db, i, 1, STORE_NUMBER_SIZE), 0);
            ck_assert_int_eq(store_put_flags(db, "key000000", "x", BITCASK_PUT_IF_ABSENT, 0, 0, NULL), BITCASK_CONDITION);
            store_close(db);
            db = store_open(path, &o);
        }
        if (round < 2)
            ck_assert_int_eq(bitcask_delete(db, "key000000", 9, NULL, NULL), BITCASK_OK);
        else
            ck_assert_int_eq(store_put(db, "key000000", "good again"), BITCASK_OK);
        store_expect(db, "key000000", round < 2 ? NULL : "good again");
        store_close(db);
        db = store_open(path, &o);
        store_expect(db, "key000000", round < 2 ? NULL : "good again");
        store_close(db);
    }
}
END_TEST

/* A bad key or header: with the hint its key answers CORRUPT; without, which key it was cannot be known, and open refuses with
 * the offset. */
START_TEST(test_damaged_head)
{
    for (long within = 0; within < 33; within += 4) { /* 24 bytes of header, 9 of key */
        const char *path = store_make_numbers(_i);
        long at = find_bytes(store_file(path, first), "key000005", 9) - 24;
        ck_assert_int_ge(at, 8192);
        if (within >= 4 && within < 8)
            continue; /* the value's CRC: a damaged value */
        store_flip(store_file(path, first), at + within, 1);
        bitcask_options o = store_options(_i);
        bitcask *db = store_open(path, &o);
        int result = store_check_number(db, 5, 1, STORE_NUMBER_SIZE);
        ck_assert_msg(result == BITCASK_CORRUPT, "byte %ld: %s", within, bitcask_errname(result));
        store_expect_failure(BITCASK_CORRUPT, first, NULL);
        ck_assert_uint_eq(bitcask_last_error()->offset, (uint64_t)at);
        ck_assert_int_eq(store_check_number(db, 6, 1, STORE_NUMBER_SIZE), 0);
        store_close(db);
        store_remove(store_file(path, "0000000001.hint"));
        uint64_t digest = store_digest(path);
        db = NULL;
        for (unsigned round = 0; round < 2; round++) {
            ck_assert_int_eq(bitcask_open(path, &o, &db), BITCASK_CORRUPT);
            store_expect_failure(BITCASK_CORRUPT, first, "damaged");
            ck_assert_uint_eq(bitcask_last_error()->offset, (uint64_t)at);
            ck_assert_uint_eq(store_digest(path), digest);
            o.flags |= BITCASK_OPEN_READ_ONLY;
        }
        store_remove(path);
    }
}
END_TEST

/* ---- files of others, older files ---- */

static void expect_refused(const char *path, int mode, int expected, const char *name)
{
    uint64_t digest = store_digest(path);
    bitcask_options o = store_options(mode);
    for (unsigned round = 0; round < 2; round++) {
        bitcask *db = NULL;
        int result = bitcask_open(path, &o, &db);
        if (result == BITCASK_OK)
            store_close(db);
        ck_assert_msg(result == expected, "%s, not %s", bitcask_errname(result), bitcask_errname(expected));
        store_expect_failure(expected, name, NULL);
        ck_assert_uint_eq(store_digest(path), digest);
        o.flags |= BITCASK_OPEN_READ_ONLY;
    }
}

START_TEST(test_files_of_another_store)
{
    const char *path = store_make_numbers(_i), *other = store_make_numbers(_i);
    store_copy_file(store_file(other, second), store_file(path, second));
    expect_refused(path, _i, BITCASK_CORRUPT, second);
    store_expect_failure(BITCASK_CORRUPT, second, "another store");
    path = store_make_numbers(_i);
    store_copy_file(store_file(other, "MANIFEST"), store_file(path, "MANIFEST"));
    expect_refused(path, _i, BITCASK_CORRUPT, NULL);
    path = store_make_numbers(_i);
    store_copy_file(store_file(other, hint), store_file(path, hint));
    store_check_numbers(path, 0, _i);
}
END_TEST

/* A MANIFEST that was restored alone: the files that it does not know prove it. */
START_TEST(test_older_manifest_put_back)
{
    const char *path = store_path(), *saved = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    store_close(db);
    store_copy_file(store_file(path, "MANIFEST"), saved);
    db = store_open(path, &o);
    for (unsigned i = 0; i < STORE_NUMBERS; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, STORE_NUMBER_SIZE), BITCASK_OK);
    store_close(db);
    store_copy_file(saved, store_file(path, "MANIFEST"));
    expect_refused(path, _i, BITCASK_CORRUPT, NULL);
    store_expect_failure(BITCASK_CORRUPT, NULL, "older MANIFEST");
}
END_TEST

/* The same where no new file was made, as the old one was gone on with: its durable mark lies behind the end that the older
 * MANIFEST knows. What was acknowledged durable must not be silently lost. */
START_TEST(test_older_manifest_of_a_file_that_went_on)
{
    const char *path = store_path(), *saved = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    store_close(db);
    store_copy_file(store_file(path, "MANIFEST"), saved);
    db = store_open(path, &o);
    ck_assert_int_eq(store_put_flags(db, "b", "2", BITCASK_PUT_SYNC, 0, 0, NULL), BITCASK_OK);
    store_close(db);
    ck_assert_uint_eq(store_count(path, ".data"), 1);
    store_copy_file(saved, store_file(path, "MANIFEST"));
    expect_refused(path, _i, BITCASK_CORRUPT, first);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("damage");
    TCase *t = store_tcase("records");
    store_add_test(t, test_damaged_value);
    store_add_test(t, test_damaged_head);
    suite_add_tcase(s, t);
    t = store_tcase("files");
    store_add_test(t, test_files_of_another_store);
    store_add_test(t, test_older_manifest_put_back);
    store_add_test(t, test_older_manifest_of_a_file_that_went_on);
    suite_add_tcase(s, t);
    return s;
}
