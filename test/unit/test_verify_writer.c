/* test_verify_writer.c - verify beside a live writer: what that one changes meanwhile is no finding. And what happens when
 * files go while they are looked at. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/findings.h"
#include "test/support/store.h"

struct writer {
    const char *path;
    int mode;
    atomic_bool stop;
    atomic_uint rounds;
    int failure;
};

/* Puts with rotations every twenty, syncs, merges, now and then a clear, and a close with an open after it, so that
 * files are sealed, gone on with, hinted and removed. */
static void *write_on(void *arg)
{
    struct writer *w = arg;
    unsigned n = 0;
    while (!atomic_load(&w->stop) && w->failure == 0) {
        bitcask_options o = store_options(w->mode);
        bitcask *db = NULL;
        w->failure = bitcask_open(w->path, &o, &db);
        for (unsigned i = 0; i < 300 && w->failure == 0; i++, n++) {
            w->failure = store_put_number(db, n % 97, n, 100 + n % 5000);
            if (w->failure == 0 && n % 41 == 0)
                w->failure = bitcask_sync(db);
            if (w->failure == 0 && n % 130 == 129)
                w->failure = bitcask_merge(db, NULL, NULL);
            if (w->failure == 0 && n % 450 == 449)
                w->failure = bitcask_clear(db, 0);
        }
        int closed = bitcask_close(db);
        w->failure = w->failure == 0 ? closed : w->failure;
        atomic_fetch_add(&w->rounds, 1);
    }
    return NULL;
}

START_TEST(test_beside_a_writer)
{
    struct writer w = {.path = store_make_numbers(_i), .mode = _i};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, write_on, &w), 0);
    unsigned verified = 0, busy = 0;
    while (verified < 60 || atomic_load(&w.rounds) < 4) {
        struct found_list l;
        int result = found_verify(w.path, verified % 2 == 0 ? BITCASK_VERIFY_RECOUNT : 0, &l);
        if (l.count != 0)
            found_print(&l);
        ck_assert_msg(result == BITCASK_OK || result == BITCASK_BUSY, "%s", bitcask_last_error()->message);
        ck_assert_uint_eq(l.count, 0);
        found_free(&l);
        verified++;
        busy += result == BITCASK_BUSY;
    }
    atomic_store(&w.stop, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_msg(w.failure == 0, "the writer failed: %s", bitcask_errname(w.failure));
    printf("# %u checks beside %u rounds of the writer, %u of them busy\n", verified, atomic_load(&w.rounds), busy);
    ck_assert_uint_lt(busy, verified / 2 + 1);
}
END_TEST

/* Real damage is found all the same. */
START_TEST(test_damage_beside_a_writer)
{
    struct writer w = {.path = store_make_numbers(_i), .mode = _i};
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(w.path, &o);
    store_flip(store_file(w.path, "0000000001.data"), 9000, 1);
    for (unsigned i = 0; i < 200; i++)
        ck_assert_int_eq(store_put_number(db, 1000 + i, 1, 1000), BITCASK_OK);
    struct found_list l;
    ck_assert_int_eq(found_verify(w.path, 0, &l), BITCASK_CORRUPT);
    ck_assert_uint_eq(l.result.errors, 1);
    ck_assert_uint_eq(l.count, 1);
    found_free(&l);
    store_close(db);
}
END_TEST

/* From a callback: the writer clears, so every file that is left to check goes. */
static int clear_once(const char *phase, uint64_t done, uint64_t total, void *ctx)
{
    bitcask **db = ctx;
    (void)phase;
    (void)done;
    (void)total;
    if (*db != NULL)
        ck_assert_int_eq(bitcask_clear(*db, 0), BITCASK_OK);
    *db = NULL;
    return 0;
}

START_TEST(test_files_go_meanwhile)
{
    const char *path = store_make_numbers(_i);
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o), *once = db;
    struct found_list l = {.result = BITCASK_VERIFY_RESULT_INIT};
    bitcask_verify_options vo = BITCASK_VERIFY_OPTIONS_INIT;
    vo.threads = 1;
    vo.finding = found_add;
    vo.finding_ctx = &l;
    vo.progress = clear_once;
    vo.progress_ctx = &once;
    ck_assert_int_eq(bitcask_verify(path, &vo, &l.result), BITCASK_OK);
    ck_assert_uint_eq(l.count, 0);
    ck_assert_ptr_null(once);
    found_free(&l);
    store_close(db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("verify_writer");
    TCase *t = store_tcase("beside a writer");
    tcase_set_timeout(t, 200);
    store_add_test(t, test_beside_a_writer);
    store_add_test(t, test_damage_beside_a_writer);
    store_add_test(t, test_files_go_meanwhile);
    suite_add_tcase(s, t);
    return s;
}
