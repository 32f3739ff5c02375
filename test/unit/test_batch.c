/* test_batch.c - batches: all or nothing for readers, the last operation on a key wins, limits, reuse, a file of its own where
 * it is larger than one. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "test/support/store.h"

static bitcask_batch *new_batch(void)
{
    bitcask_batch *b = NULL;
    ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
    ck_assert_ptr_nonnull(b);
    return b;
}

static void add(bitcask_batch *b, const char *key, const char *value)
{
    int result = value == NULL ? bitcask_batch_delete(b, key, strlen(key))
                               : bitcask_batch_put(b, key, strlen(key), value, strlen(value), 0);
    ck_assert_int_eq(result, BITCASK_OK);
}

START_TEST(test_last_operation_wins)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    bitcask_batch *b = new_batch();
    ck_assert_int_eq(store_put(db, "gone", "old"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "back", "old"), BITCASK_OK);
    add(b, "twice", "1");
    add(b, "twice", "2");
    add(b, "never", "1");
    add(b, "never", NULL);
    add(b, "back", NULL);
    add(b, "back", "new");
    add(b, "gone", "new");
    add(b, "gone", NULL);
    add(b, "absent", NULL);
    for (unsigned i = 0; i < 100; i++) {
        char value[16];
        snprintf(value, sizeof value, "%u", i);
        add(b, "often", i % 3 == 2 ? NULL : value);
    }
    store_expect(db, "twice", NULL);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    for (unsigned pass = 0; pass < 2; pass++) {
        store_expect(db, "twice", "2");
        store_expect(db, "never", NULL);
        store_expect(db, "back", "new");
        store_expect(db, "gone", NULL);
        store_expect(db, "absent", NULL);
        store_expect(db, "often", "99");
        store_close(db);
        db = store_open(path, &o);
    }
    bitcask_batch_free(b);
    store_close(db);
}
END_TEST

/* Empty, all deletes of absent keys, one operation, used twice, used after clear. The caller's buffers are copied. */
START_TEST(test_use_and_reuse)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    bitcask_batch *b = new_batch();
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_write(db, b, BITCASK_PUT_SYNC), BITCASK_OK);
    add(b, "a", NULL);
    ck_assert_int_eq(bitcask_write(db, b, BITCASK_PUT_SYNC), BITCASK_OK);
    bitcask_batch_clear(b);
    bitcask_batch_clear(b);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    char key[8] = "a", value[8] = "1";
    ck_assert_int_eq(bitcask_batch_put(b, key, 1, value, 1, 0), BITCASK_OK);
    key[0] = value[0] = 'x';
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    store_expect(db, "a", "1");
    ck_assert_int_eq(bitcask_delete(db, "a", 1, NULL, NULL), BITCASK_OK);
    /* It is not changed by its use: a later put may go first. */
    add(b, "b", "2");
    ck_assert_int_eq(bitcask_write(db, b, BITCASK_PUT_SYNC), BITCASK_OK);
    store_expect(db, "a", "1");
    store_expect(db, "b", "2");
    bitcask_batch_clear(b);
    add(b, "a", NULL);
    ck_assert_int_eq(bitcask_batch_put(b, "empty", 5, NULL, 0, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_batch_put(b, "past", 4, "x", 1, 100000000000), BITCASK_OK);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    for (unsigned pass = 0; pass < 2; pass++) {
        store_expect(db, "a", NULL);
        store_expect(db, "b", "2");
        store_expect(db, "empty", "");
        store_expect(db, "past", NULL);
        store_close(db);
        db = store_open(path, &o);
    }
    bitcask_batch_free(b);
    /* One batch for two stores. */
    b = new_batch();
    add(b, "both", "1");
    bitcask *other = store_open(store_path(), &o);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_write(other, b, 0), BITCASK_OK);
    bitcask_batch_free(b);
    store_expect(db, "both", "1");
    store_expect(other, "both", "1");
    store_close(other);
    store_close(db);
}
END_TEST

/* 1 GiB in all; what would pass it is refused before it is copied, and the batch is what it was. The value is one page of
 * zeros, mapped over and over. */
START_TEST(test_limit_of_a_gibibyte)
{
    const size_t half = (512U << 20) + 4096;
    char *zeros = mmap(NULL, half, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(zeros, MAP_FAILED);
    bitcask_batch *b = new_batch();
    static char key[65536];
    ck_assert_int_eq(bitcask_batch_put(b, "k", 1, zeros, 1U << 30, 0), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_batch_put(b, "k", 1, zeros, (1U << 30) - 8, 0), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_batch_put(b, "k", 1, zeros, UINT32_MAX, 0), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_batch_put(b, "k", 1, zeros, SIZE_MAX, 0), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_batch_put(b, key, 65536, "v", 1, 0), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_batch_delete(b, key, 65536), BITCASK_TOO_LARGE);
    /* One half fits, the second does not, also where it would take the place of the first. */
    ck_assert_int_eq(bitcask_batch_put(b, "k", 1, zeros, half, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_batch_put(b, "l", 1, zeros, half, 0), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_batch_put(b, "k", 1, zeros, half, 0), BITCASK_TOO_LARGE);
    store_expect_failure(BITCASK_TOO_LARGE, "", "1 GiB");
    bitcask_batch_clear(b);
    ck_assert_int_eq(munmap(zeros, half), 0);
    add(b, "small", "1");
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    store_expect(db, "small", "1");
    store_expect(db, "k", NULL);
    bitcask_batch_free(b);
    store_close(db);
}
END_TEST

/* Never across files: larger than max_file_size it gets one of its own, and the log goes on behind it. */
START_TEST(test_larger_than_a_file)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    bitcask_batch *b = new_batch();
    ck_assert_int_eq(store_put(db, "before", "1"), BITCASK_OK);
    char value[3000];
    for (unsigned i = 0; i < 200; i++) {
        char key[16];
        memset(value, (int)('a' + i % 26), sizeof value);
        snprintf(key, sizeof key, "k%u", i);
        ck_assert_int_eq(bitcask_batch_put(b, key, strlen(key), value, sizeof value - i, 0), BITCASK_OK);
    }
    ck_assert_int_eq(bitcask_write(db, b, BITCASK_PUT_SYNC), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "after", "2"), BITCASK_OK);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    for (unsigned pass = 0; pass < 2; pass++) {
        store_expect(db, "before", "1");
        store_expect(db, "after", "2");
        for (unsigned i = 0; i < 200; i++) {
            char key[16], got[3000];
            size_t size;
            memset(value, (int)('a' + i % 26), sizeof value);
            snprintf(key, sizeof key, "k%u", i);
            ck_assert_int_eq(bitcask_read(db, key, strlen(key), got, sizeof got, &size), BITCASK_OK);
            ck_assert(size == sizeof value - i && memcmp(got, value, size) == 0);
        }
        store_close(db);
        unsigned over = 0;
        const char *name;
        for (unsigned i = 0; (name = store_nth(path, ".data", i)) != NULL; i++) {
            struct stat st;
            ck_assert_int_eq(stat(store_file(path, name), &st), 0);
            over += st.st_size > 65536;
        }
        ck_assert_uint_eq(over, 2);
        db = store_open(path, &o);
    }
    bitcask_batch_free(b);
    store_close(db);
}
END_TEST

/* Batches that fill files to every degree: whole in one file wherever the end falls. */
START_TEST(test_many_batches_over_many_files)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    bitcask_batch *b = new_batch();
    static char value[30000];
    for (unsigned i = 0; i < 100; i++) {
        char key[16];
        bitcask_batch_clear(b);
        for (unsigned j = 0; j < 3; j++) {
            snprintf(key, sizeof key, "k%u-%u", i, j);
            memset(value, (int)('a' + (i + j) % 26), sizeof value);
            ck_assert_int_eq(bitcask_batch_put(b, key, strlen(key), value, (i * 977 + j * 3001) % sizeof value, 0), BITCASK_OK);
        }
        ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < 100; i++) {
            for (unsigned j = 0; j < 3; j++) {
                char key[16];
                static char got[30000];
                size_t size;
                snprintf(key, sizeof key, "k%u-%u", i, j);
                memset(value, (int)('a' + (i + j) % 26), sizeof value);
                ck_assert_int_eq(bitcask_read(db, key, strlen(key), got, sizeof got, &size), BITCASK_OK);
                ck_assert(size == (i * 977 + j * 3001) % sizeof value && memcmp(got, value, size) == 0);
            }
        }
        store_close(db);
        db = store_open(path, &o);
    }
    bitcask_batch_free(b);
    store_close(db);
}
END_TEST

struct reader {
    bitcask *db;
    atomic_bool *stop;
    unsigned long reads;
    bool failed;
};

/* A batch sets all keys to one number: a reader that has seen n in one key never sees less in another one afterwards. */
static void *watch(void *arg)
{
    struct reader *r = arg;
    unsigned long seen = 0;
    for (unsigned i = 0; !atomic_load(r->stop) && !r->failed; i++) {
        char key[2] = {(char)('a' + i * 7 % 16), '\0'}, value[16];
        size_t size;
        if (bitcask_read(r->db, key, 1, value, sizeof value - 1, &size) != BITCASK_OK) {
            r->failed = true;
            break;
        }
        value[size] = '\0';
        unsigned long n = strtoul(value, NULL, 10);
        r->failed = n < seen;
        seen = n;
        r->reads++;
    }
    return NULL;
}

START_TEST(test_readers_see_all_or_nothing)
{
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    bitcask_batch *b = new_batch();
    struct reader r[2];
    pthread_t threads[2];
    atomic_bool stop = false;
    for (unsigned long n = 1; n <= 3000 * store_scale(); n++) {
        char value[16];
        snprintf(value, sizeof value, "%lu", n);
        bitcask_batch_clear(b);
        for (char c = 'a'; c < 'a' + 16; c++) {
            const char key[2] = {c, '\0'};
            add(b, key, value);
        }
        ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
        for (unsigned i = 0; i < 2 && n == 1; i++) {
            r[i] = (struct reader){.db = db, .stop = &stop};
            ck_assert_int_eq(pthread_create(&threads[i], NULL, watch, &r[i]), 0);
        }
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert(!r[i].failed);
        ck_assert_uint_gt(r[i].reads, 0);
    }
    bitcask_batch_free(b);
    store_close(db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("batch");
    TCase *t = store_tcase("batch");
    store_add_test(t, test_last_operation_wins);
    store_add_test(t, test_use_and_reuse);
    tcase_add_test(t, test_limit_of_a_gibibyte);
    store_add_test(t, test_larger_than_a_file);
    store_add_test(t, test_many_batches_over_many_files);
    store_add_test(t, test_readers_see_all_or_nothing);
    suite_add_tcase(s, t);
    return s;
}
