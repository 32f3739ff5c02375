/* test_db.c - what was written is what is read, over rotation, reopening and hint files, in both I/O modes: contents of any
 * shape, records larger than a file, hint files that are only a cache. Opening and closing: test_open.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bitcask/db.h"
#include "test/support/simdisk.h"
#include "test/support/store.h"

/* Values of every size class and all byte values, keys of 1 byte and of 65,535. Read in all three ways, also after reopening
 * in the other I/O mode: the bytes on the disk do not depend on it. */
START_TEST(test_contents_of_any_shape)
{
    static const size_t sizes[] = {0, 1, 7, 8, 255, 2020, 2048, 4096, 65535, 70000, 300000};
    static unsigned char value[300000], key[65535], buf[300000];
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (unsigned char)(i + i / 256);
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (unsigned char)(i * 7 + i / 256);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            for (size_t key_size = 1; key_size <= sizeof key; key_size = key_size * 2 + 1) {
                key[0] = (unsigned char)i;
                if (pass == 0)
                    ck_assert_int_eq(bitcask_put(db, key, key_size, value, sizes[i], NULL, NULL), BITCASK_OK);
                void *got;
                size_t got_size, size = 1;
                ck_assert_int_eq(bitcask_get(db, key, key_size, &got, &got_size), BITCASK_OK);
                ck_assert_uint_eq(got_size, sizes[i]);
                ck_assert_ptr_nonnull(got);
                ck_assert_int_eq(memcmp(got, value, got_size), 0);
                bitcask_free(got);
                ck_assert_int_eq(bitcask_read(db, key, key_size, sizes[i] == 0 ? NULL : buf, sizes[i], &size), BITCASK_OK);
                ck_assert(size == sizes[i] && memcmp(buf, value, size) == 0);
                bitcask_key_info info = BITCASK_KEY_INFO_INIT;
                ck_assert_int_eq(bitcask_info(db, key, key_size, &info), BITCASK_OK);
                ck_assert_uint_eq(info.value_size, sizes[i]);
                ck_assert_int_eq(info.expire_at_ms, 0);
            }
        }
        store_close(db);
        o = store_options(1 - _i);
        db = store_open(path, &o);
    }
    store_close(db);
}
END_TEST

START_TEST(test_every_byte_as_a_key)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned b = 0; b < 256; b++) {
            unsigned char key = (unsigned char)b, value = (unsigned char)(255 - b), got = 0;
            size_t size;
            if (pass == 0)
                ck_assert_int_eq(bitcask_put(db, &key, 1, &value, 1, NULL, NULL), BITCASK_OK);
            ck_assert_int_eq(bitcask_read(db, &key, 1, &got, 1, &size), BITCASK_OK);
            ck_assert_uint_eq(got, value);
        }
        store_close(db);
        db = store_open(path, &o);
    }
    store_close(db);
}
END_TEST

#define NUMBERS 4000U

static void fill(bitcask *db, unsigned version)
{
    for (unsigned i = 0; i < NUMBERS; i++)
        ck_assert_int_eq(store_put_number(db, i, version, 100 + i % 400), BITCASK_OK);
}

static void check_all(bitcask *db, unsigned version)
{
    for (unsigned i = 0; i < NUMBERS; i++)
        ck_assert_msg(store_check_number(db, i, version, 100 + i % 400) == 0, "key %u: %s", i, bitcask_last_error()->message);
}

/* Rotation over many files; each sealed one has a hint after close; contents are equal with hints, without, with one thread
 * loading and with many. */
START_TEST(test_rotation_and_hints)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    fill(db, 1);
    check_all(db, 1);
    fill(db, 2);
    check_all(db, 2);
    for (unsigned i = 0; i < NUMBERS; i += 10) {
        char key[16];
        int size = snprintf(key, sizeof key, "key%06u", i);
        ck_assert_int_eq(bitcask_delete(db, key, (size_t)size, NULL, NULL), BITCASK_OK);
    }
    store_close(db);
    unsigned files = store_count(path, ".data");
    ck_assert_uint_ge(files, 30);
    ck_assert_uint_eq(store_count(path, ".hint"), files);
    for (unsigned round = 0; round < 3; round++) {
        o.load_threads = round == 1 ? 1 : 8;
        db = store_open(path, &o);
        for (unsigned i = 0; i < NUMBERS; i++)
            ck_assert_int_eq(store_check_number(db, i, 2, 100 + i % 400), i % 10 == 0 ? BITCASK_NOT_FOUND : 0);
        store_close(db);
        ck_assert_uint_eq(store_count(path, ".data"), files);
        if (round < 2) {
            for (const char *name; (name = store_nth(path, ".hint", 0)) != NULL;)
                store_remove(store_file(path, name));
        }
    }
    /* They are made anew, by whoever finds them missing: the last round wrote none, as it only reads what is there. */
    db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    store_close(db);
    ck_assert_uint_eq(store_count(path, ".hint"), store_count(path, ".data"));
}
END_TEST

/* No file but one with a larger record is larger than max_file_size; that one holds nothing else. */
START_TEST(test_large_record_gets_a_file_of_its_own)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    static char big[1 << 20];
    memset(big, 'b', sizeof big);
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_int_eq(store_put_number(db, i, 1, 100), BITCASK_OK);
        big[0] = (char)i;
        ck_assert_int_eq(bitcask_put(db, big, 10, big, sizeof big - i * 100000, NULL, NULL), BITCASK_OK);
        ck_assert_int_eq(store_check_number(db, i, 1, 100), 0);
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        unsigned over = 0;
        for (unsigned i = 0; i < 6; i++) {
            void *got;
            size_t size;
            big[0] = (char)i;
            ck_assert_int_eq(bitcask_get(db, big, 10, &got, &size), BITCASK_OK);
            ck_assert(size == sizeof big - i * 100000 && memcmp(got, big, size) == 0);
            bitcask_free(got);
        }
        store_close(db);
        const char *name;
        for (unsigned i = 0; (name = store_nth(path, ".data", i)) != NULL; i++) {
            struct stat st;
            ck_assert_int_eq(stat(store_file(path, name), &st), 0);
            ck_assert_int_lt(st.st_size, 8192 + (1 << 20) + 8192);
            over += st.st_size > 65536;
        }
        ck_assert_uint_eq(over, 6);
        db = store_open(path, &o);
    }
    store_close(db);
}
END_TEST

/* ---- on a simulated disk ---- */

static bitcask *open_on(struct simdisk *disk, int mode)
{
    const struct bc_environment environment = {simdisk_io(disk), true};
    bitcask_options o = store_options(mode);
    bitcask *db = NULL;
    int result = bc_db_open("/store", &o, &environment, &db);
    ck_assert_msg(result == BITCASK_OK, "%s", bitcask_last_error()->message);
    return db;
}

/* With hints the bytes of the data files are not read; with one removed its file's are. */
START_TEST(test_hints_save_the_reading)
{
    struct simdisk *disk = simdisk_new(1);
    bitcask *db = open_on(disk, _i);
    for (unsigned i = 0; i < 200; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 1000), BITCASK_OK);
    store_close(db);
    /* A data file that cannot be read behind its header fails no open that has the hint; and every open that has not. */
    for (unsigned round = 0; round < 2; round++) {
        struct simdisk *copy = simdisk_clone(disk);
        const struct simdisk_fault fault = {
            .kinds = SIMDISK_READ, .name = "0000000002.data", .at = 2, .error = 5, .from = true};
        simdisk_fail(copy, &fault);
        if (round == 1)
            ck_assert_int_eq(simdisk_remove(copy, "/store/0000000002.hint"), 0);
        const struct bc_environment environment = {simdisk_io(copy), true};
        bitcask_options o = store_options(_i);
        db = NULL;
        int result = bc_db_open("/store", &o, &environment, &db);
        ck_assert_int_eq(result, round == 0 ? BITCASK_OK : BITCASK_IO);
        ck_assert_int_eq(simdisk_fail_hits(copy) > 0, round == 1);
        if (round == 0) {
            simdisk_fail_clear(copy);
            for (unsigned i = 0; i < 200; i++)
                ck_assert_int_eq(store_check_number(db, i, 1, 1000), 0);
            store_close(db);
        } else {
            store_expect_failure(BITCASK_IO, "0000000002.data", NULL);
        }
        ck_assert_uint_eq(simdisk_open_descriptors(copy), 0);
        ck_assert_uint_eq(simdisk_open_mappings(copy), 0);
        simdisk_free(copy);
    }
    simdisk_free(disk);
}
END_TEST

/* File systems where a mapped store could meet a full disk (they copy on write), or that cannot allocate: records are written
 * with system calls there, and still found. */
START_TEST(test_get_where_the_active_file_is_not_mapped)
{
    for (unsigned round = 0; round < 2; round++) {
        struct simdisk *disk = simdisk_new(1);
        if (round == 0)
            simdisk_set_maps_well(disk, false);
        const struct simdisk_fault fault = {.kinds = SIMDISK_ALLOCATE, .at = 1, .error = EOPNOTSUPP, .from = true};
        if (round == 1)
            simdisk_fail(disk, &fault);
        bitcask *db = open_on(disk, _i);
        for (unsigned i = 0; i < 100; i++) {
            ck_assert_int_eq(store_put_number(db, i, 1, 1500), BITCASK_OK);
            ck_assert_int_eq(store_check_number(db, i, 1, 1500), 0);
        }
        store_close(db);
        db = open_on(disk, _i);
        ck_assert_int_eq(store_put_number(db, 5, 2, 10), BITCASK_OK);
        for (unsigned i = 0; i < 100; i++)
            ck_assert_int_eq(store_check_number(db, i, i == 5 ? 2 : 1, i == 5 ? 10 : 1500), 0);
        store_close(db);
        simdisk_free(disk);
    }
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("db");
    TCase *t = store_tcase("contents");
    store_add_test(t, test_contents_of_any_shape);
    store_add_test(t, test_every_byte_as_a_key);
    store_add_test(t, test_rotation_and_hints);
    store_add_test(t, test_large_record_gets_a_file_of_its_own);
    suite_add_tcase(s, t);
    t = store_tcase("simulated disk");
    tcase_set_timeout(t, 20);
    store_add_test(t, test_hints_save_the_reading);
    store_add_test(t, test_get_where_the_active_file_is_not_mapped);
    suite_add_tcase(s, t);
    return s;
}
