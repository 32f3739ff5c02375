/* test_salvage.c - BITCASK_OPEN_SALVAGE: a store that open refuses shows what can be read of it, in every file, behind damage
 * and before it; nothing in the directory is changed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/store.h"

static const char first[] = "0000000001.data", second[] = "0000000002.data";

static void remove_hints(const char *path)
{
    for (const char *name; (name = store_nth(path, ".hint", 0)) != NULL;)
        store_remove(store_file(path, name));
}

/* Which numbers have their record in this file. */
static void numbers_in(const char *path, const char *name, long at[STORE_NUMBERS])
{
    size_t size;
    char *data = store_read_file(store_file(path, name), &size), key[16];
    for (unsigned i = 0; i < STORE_NUMBERS; i++) {
        snprintf(key, sizeof key, "key%06u", i);
        const char *found = memmem(data, size, key, 9);
        at[i] = found == NULL ? -1 : (long)(found - data) - 24;
    }
    free(data);
}

/* Opens it so; lost[i] is what number i must answer. Reads by key, view and walk agree. Writes are refused. */
static void check(const char *path, int mode, const int *lost)
{
    uint64_t digest = store_digest(path);
    struct store_log log = {.busy = ATOMIC_FLAG_INIT};
    bitcask_options o = store_options(mode);
    o.flags |= BITCASK_OPEN_SALVAGE;
    o.log = store_log_line;
    o.log_ctx = &log;
    bitcask *db = store_open(path, &o);
    unsigned there = 0;
    for (unsigned i = 0; i < STORE_NUMBERS; i++) {
        int result = store_check_number(db, i, 1, STORE_NUMBER_SIZE);
        ck_assert_msg(result == lost[i], "number %u: %d, not %d: %s", i, result, lost[i], bitcask_last_error()->message);
        there += lost[i] == BITCASK_OK;
    }
    bitcask_iter *it;
    ck_assert_int_eq(bitcask_iter_new(db, NULL, &it), BITCASK_OK);
    while (bitcask_iter_next(it) == BITCASK_OK) {
        bitcask_slice value;
        there -= bitcask_iter_value(it, &value) == BITCASK_OK;
    }
    bitcask_iter_free(it);
    ck_assert_uint_eq(there, 0);
    ck_assert_int_eq(store_put(db, "a", "b"), BITCASK_READ_ONLY);
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_READ_ONLY);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_READ_ONLY);
    store_close(db);
    ck_assert_uint_eq(store_digest(path), digest);
    ck_assert(!atomic_load(&log.malformed));
}

static void expect_refusal(const char *path, int mode, int expected)
{
    bitcask_options o = store_options(mode);
    bitcask *db = NULL;
    uint64_t digest = store_digest(path);
    ck_assert_int_eq(bitcask_open(path, &o, &db), expected);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    ck_assert_int_eq(bitcask_open(path, &o, &db), expected);
    ck_assert_uint_eq(store_digest(path), digest);
}

START_TEST(test_sound_store)
{
    const char *path = store_make_numbers(_i);
    int lost[STORE_NUMBERS] = {0};
    check(path, _i, lost);
    remove_hints(path);
    check(path, _i, lost);
}
END_TEST

/* A damaged head in the middle of a file: records behind it are found. Two in a row, the first and the last record too. */
START_TEST(test_damaged_heads)
{
    static const unsigned damaged[][2] = {{5, 5}, {5, 6}, {0, 0}, {0, 9}};
    for (unsigned round = 0; round < 4; round++) {
        const char *path = store_make_numbers(_i);
        int lost[STORE_NUMBERS] = {0};
        long at[STORE_NUMBERS];
        numbers_in(path, first, at);
        for (unsigned n = 0; n < 2; n++) {
            unsigned i = damaged[round][n];
            ck_assert_int_ge(at[i], 8192);
            if (n == 0 || damaged[round][0] != i)
                store_flip(store_file(path, first), at[i] + 9 + (long)n, 1);
            lost[i] = BITCASK_NOT_FOUND;
        }
        remove_hints(path);
        expect_refusal(path, _i, BITCASK_CORRUPT);
        check(path, _i, lost);
    }
}
END_TEST

/* A damaged value answers CORRUPT as ever: its key is known. */
START_TEST(test_damaged_value)
{
    const char *path = store_make_numbers(_i);
    int lost[STORE_NUMBERS] = {0};
    long at[STORE_NUMBERS];
    numbers_in(path, first, at);
    store_flip(store_file(path, first), at[7] + 1000, 0x80);
    lost[7] = BITCASK_CORRUPT;
    check(path, _i, lost);
    remove_hints(path);
    check(path, _i, lost);
}
END_TEST

/* A damaged head whose key has an older version: that one is shown. */
START_TEST(test_older_value)
{
    const char *path = store_make_numbers(_i);
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "key000001", "newer"), BITCASK_OK);
    store_close(db);
    char name[32] = "";
    long at = -1;
    for (unsigned i = 0; at < 0; i++) {
        size_t size;
        snprintf(name, sizeof name, "%s", store_nth(path, ".data", i));
        char *data = store_read_file(store_file(path, name), &size), *found = memmem(data, size, "key000001newer", 14);
        at = found == NULL ? -1 : (long)(found - data);
        free(data);
    }
    store_flip(store_file(path, name), at, 1);
    remove_hints(path);
    int lost[STORE_NUMBERS] = {0};
    check(path, _i, lost);
}
END_TEST

START_TEST(test_missing_file)
{
    const char *path = store_make_numbers(_i);
    int lost[STORE_NUMBERS];
    long at[STORE_NUMBERS];
    numbers_in(path, second, at);
    for (unsigned i = 0; i < STORE_NUMBERS; i++)
        lost[i] = at[i] < 0 ? BITCASK_OK : BITCASK_NOT_FOUND;
    store_remove(store_file(path, second));
    expect_refusal(path, _i, BITCASK_CORRUPT);
    check(path, _i, lost);
}
END_TEST

/* Cut within a record, at a record's edge, within the first record, within the file header, to nothing: all before the cut is
 * there. */
START_TEST(test_truncated_file)
{
    long at[STORE_NUMBERS];
    for (unsigned round = 0; round < 7; round++) {
        const char *path = store_make_numbers(_i);
        int lost[STORE_NUMBERS];
        numbers_in(path, second, at);
        unsigned inner = 0;
        while (at[inner] < 0)
            inner++;
        long start = at[inner], middle = at[inner + 7];
        const long cuts[] = {middle, middle + 10, middle + 24 + 9 + 100, start, start + 5, 5000, 0};
        size_t size;
        char *data = store_read_file(store_file(path, second), &size);
        store_write_file(store_file(path, second), data, (size_t)cuts[round]);
        free(data);
        for (unsigned i = 0; i < STORE_NUMBERS; i++)
            lost[i] = at[i] < 0 || at[i] + 24 + 9 + (long)STORE_NUMBER_SIZE <= cuts[round] ? BITCASK_OK : BITCASK_NOT_FOUND;
        expect_refusal(path, _i, BITCASK_CORRUPT);
        check(path, _i, lost);
        remove_hints(path);
        check(path, _i, lost);
    }
}
END_TEST

/* The file's own header: what it says is in the MANIFEST too, so its records are shown. */
START_TEST(test_damaged_file_header)
{
    for (long offset = 0; offset < 4096; offset += 1000) {
        const char *path = store_make_numbers(_i);
        int lost[STORE_NUMBERS] = {0};
        store_flip(store_file(path, second), offset, 0xff);
        expect_refusal(path, _i, BITCASK_CORRUPT);
        check(path, _i, lost);
    }
}
END_TEST

/* The last file of a killed process, damaged below its durable mark: both sides of the damage are shown. */
START_TEST(test_open_file_damaged)
{
    const char *path = store_path(), *copy = store_path();
    bitcask_options o = store_options(_i);
    o.max_file_size = 1 << 20;
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < STORE_NUMBERS; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, STORE_NUMBER_SIZE), BITCASK_OK);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    store_copy_directory(path, copy);
    store_close(db);
    long at[STORE_NUMBERS];
    int lost[STORE_NUMBERS] = {0};
    numbers_in(copy, first, at);
    store_flip(store_file(copy, first), at[20] + 24, 1);
    lost[20] = BITCASK_NOT_FOUND;
    expect_refusal(copy, _i, BITCASK_CORRUPT);
    check(copy, _i, lost);
}
END_TEST

START_TEST(test_no_store)
{
    bitcask_options o = store_options(_i);
    o.flags |= BITCASK_OPEN_SALVAGE;
    bitcask *db = NULL;
    ck_assert_int_eq(bitcask_open(store_path(), &o, &db), BITCASK_NOT_FOUND);
    ck_assert_ptr_null(db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("salvage");
    TCase *t = store_tcase("salvage");
    store_add_test(t, test_sound_store);
    store_add_test(t, test_damaged_heads);
    store_add_test(t, test_damaged_value);
    store_add_test(t, test_older_value);
    store_add_test(t, test_missing_file);
    store_add_test(t, test_truncated_file);
    store_add_test(t, test_damaged_file_header);
    store_add_test(t, test_open_file_damaged);
    store_add_test(t, test_no_store);
    suite_add_tcase(s, t);
    return s;
}
