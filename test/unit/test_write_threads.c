/* test_write_threads.c - conditions and clear beside other threads: decided in one order, nothing lost, nothing twice. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/store.h"

#define ABSENT BITCASK_PUT_IF_ABSENT
#define SEQUENCE BITCASK_PUT_IF_SEQUENCE

struct racer {
    bitcask *db;
    pthread_t thread;
    unsigned number;
    atomic_uint *winners;
    atomic_bool *stop;
    atomic_uint *cleared; /* clears that returned */
    unsigned puts;
    unsigned seen[4000]; /* clears that had returned before the put began */
    int failed;
};

/* 32 threads want one key, with a sync each: one is told OK, and his is the value that stands. */
static void *claim(void *arg)
{
    struct racer *r = arg;
    char value[16];
    snprintf(value, sizeof value, "%u", r->number);
    int result = store_put_flags(r->db, "key", value, ABSENT | BITCASK_PUT_SYNC, 0, 0, NULL);
    if (result == BITCASK_OK)
        atomic_fetch_add(r->winners, 1 + (r->number << 8));
    r->failed = result != BITCASK_OK && result != BITCASK_CONDITION;
    return NULL;
}

START_TEST(test_one_of_32_threads_wins)
{
    for (unsigned long round = 0; round < 10 * store_scale(); round++) {
        struct racer r[32];
        atomic_uint winners = 0;
        bitcask_options o = store_options(_i);
        const char *path = store_path();
        bitcask *db = store_open(path, &o);
        for (unsigned i = 0; i < 32; i++) {
            r[i].db = db;
            r[i].number = i;
            r[i].winners = &winners;
            ck_assert_int_eq(pthread_create(&r[i].thread, NULL, claim, &r[i]), 0);
        }
        for (unsigned i = 0; i < 32; i++) {
            ck_assert_int_eq(pthread_join(r[i].thread, NULL), 0);
            ck_assert_int_eq(r[i].failed, 0);
        }
        unsigned result = atomic_load(&winners);
        ck_assert_uint_eq(result & 255, 1);
        char value[16];
        snprintf(value, sizeof value, "%u", result >> 8);
        store_expect(db, "key", value);
        store_close(db);
        db = store_open(path, &o);
        store_expect(db, "key", value);
        store_close(db);
        store_remove(path);
    }
}
END_TEST

/* A counter by compare-and-set: no increment is lost. */
static void *increment(void *arg)
{
    struct racer *r = arg;
    for (unsigned done = 0; done < 100;) {
        bitcask_key_info info = BITCASK_KEY_INFO_INIT;
        char value[24];
        size_t size;
        r->failed = bitcask_info(r->db, "n", 1, &info) != BITCASK_OK ||
                    bitcask_read(r->db, "n", 1, value, sizeof value - 1, &size) != BITCASK_OK;
        if (r->failed)
            return NULL;
        value[size] = '\0';
        snprintf(value, sizeof value, "%ld", strtol(value, NULL, 10) + 1);
        int result = store_put_flags(r->db, "n", value, SEQUENCE, info.sequence, 0, NULL);
        done += result == BITCASK_OK;
        r->failed = result != BITCASK_OK && result != BITCASK_CONDITION;
        if (r->failed)
            return NULL;
    }
    return NULL;
}

START_TEST(test_compare_and_set_counter)
{
    struct racer r[8];
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    ck_assert_int_eq(store_put(db, "n", "0"), BITCASK_OK);
    for (unsigned i = 0; i < 8; i++) {
        r[i].db = db;
        ck_assert_int_eq(pthread_create(&r[i].thread, NULL, increment, &r[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        ck_assert_int_eq(pthread_join(r[i].thread, NULL), 0);
        ck_assert_int_eq(r[i].failed, 0);
    }
    store_expect(db, "n", "800");
    store_close(db);
}
END_TEST

/* Each thread writes keys of its own, each once; clears run beside it. */
static void *put_beside_clears(void *arg)
{
    struct racer *r = arg;
    while (!atomic_load(r->stop) && r->puts < 4000 && r->failed == 0) {
        r->seen[r->puts] = atomic_load(r->cleared);
        r->failed = store_put_number(r->db, r->number * 4000 + r->puts, 1, 200);
        r->puts++;
    }
    return NULL;
}

/* What was put after the last clear had returned is there; what was there before the close is there after the reopen, no more
 * and no less. */
START_TEST(test_clear_beside_puts)
{
    static struct racer r[4];
    static int8_t before[16000];
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    atomic_bool stop = false;
    atomic_uint cleared = 0;
    memset(r, 0, sizeof r);
    for (unsigned i = 0; i < 4; i++) {
        r[i].db = db;
        r[i].number = i;
        r[i].stop = &stop;
        r[i].cleared = &cleared;
        ck_assert_int_eq(pthread_create(&r[i].thread, NULL, put_beside_clears, &r[i]), 0);
    }
    for (unsigned i = 0; i < 20; i++) {
        ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
        atomic_fetch_add(&cleared, 1);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(r[i].thread, NULL), 0);
        ck_assert_int_eq(r[i].failed, 0);
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < 4; i++) {
            for (unsigned j = 0; j < r[i].puts; j++) {
                int result = store_check_number(db, i * 4000 + j, 1, 200);
                ck_assert_msg(result == 0 || result == BITCASK_NOT_FOUND, "%s", bitcask_last_error()->message);
                ck_assert(result == 0 || r[i].seen[j] < 20);
                ck_assert(pass == 0 || before[i * 4000 + j] == result);
                before[i * 4000 + j] = (int8_t)result;
            }
        }
        store_close(db);
        db = store_open(path, &o);
    }
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
    for (unsigned i = 0; i < 16000; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, 200), BITCASK_NOT_FOUND);
    store_close(db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("write_threads");
    TCase *t = store_tcase("threads");
    store_add_test(t, test_one_of_32_threads_wins);
    store_add_test(t, test_compare_and_set_counter);
    store_add_test(t, test_clear_beside_puts);
    suite_add_tcase(s, t);
    return s;
}
