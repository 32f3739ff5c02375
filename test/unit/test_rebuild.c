/* test_rebuild.c - bitcask_rebuild_hints: the hints that are missing, or all; what is damaged gives none and takes none away.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "test/support/store.h"

static int rebuild(const char *path, uint32_t flags, bitcask_hint_result *ret)
{
    bitcask_hint_options o = BITCASK_HINT_OPTIONS_INIT;
    o.flags = flags;
    return bitcask_rebuild_hints(path, &o, ret);
}

static void remove_hints(const char *path)
{
    for (const char *name; (name = store_nth(path, ".hint", 0)) != NULL;)
        store_remove(store_file(path, name));
}

static void expect_result(const bitcask_hint_result *r, uint64_t files, uint64_t built, uint64_t failed)
{
    ck_assert_uint_eq(r->files, files);
    ck_assert_uint_eq(r->built, built);
    ck_assert_uint_eq(r->failed, failed);
}

START_TEST(test_missing)
{
    const char *path = store_make_numbers(_i);
    unsigned files = store_count(path, ".data");
    bitcask_hint_result r = BITCASK_HINT_RESULT_INIT;
    ck_assert_uint_eq(store_count(path, ".hint"), files);
    uint64_t digest = store_digest(path);
    ck_assert_int_eq(rebuild(path, 0, &r), BITCASK_OK);
    expect_result(&r, files, 0, 0);
    ck_assert_uint_eq(store_digest(path), digest);
    /* One, a damaged one, all of them: each is made again as it was. */
    store_remove(store_file(path, "0000000002.hint"));
    ck_assert_int_eq(rebuild(path, 0, &r), BITCASK_OK);
    expect_result(&r, files, 1, 0);
    ck_assert_uint_eq(store_digest(path), digest);
    store_flip(store_file(path, "0000000001.hint"), -5, 1);
    ck_assert_int_eq(rebuild(path, 0, &r), BITCASK_OK);
    expect_result(&r, files, 1, 0);
    ck_assert_uint_eq(store_digest(path), digest);
    remove_hints(path);
    ck_assert_int_eq(bitcask_rebuild_hints(path, NULL, &r), BITCASK_OK);
    expect_result(&r, files, files, 0);
    ck_assert_uint_eq(store_digest(path), digest);
    remove_hints(path);
    ck_assert_int_eq(bitcask_rebuild_hints(path, NULL, NULL), BITCASK_OK);
    ck_assert_uint_eq(store_digest(path), digest);
    store_check_numbers(path, 0, _i);
}
END_TEST

START_TEST(test_all)
{
    const char *path = store_make_numbers(_i);
    unsigned files = store_count(path, ".data");
    bitcask_hint_result r = BITCASK_HINT_RESULT_INIT;
    uint64_t digest = store_digest(path);
    ck_assert_int_eq(rebuild(path, BITCASK_HINT_ALL, &r), BITCASK_OK);
    expect_result(&r, files, files, 0);
    ck_assert_uint_eq(store_digest(path), digest);
    ck_assert_uint_eq(store_count(path, ".tmp"), 0);
}
END_TEST

/* A damaged value: its file gives no hint file; a valid one that is there stays as it was, byte for byte. */
START_TEST(test_damaged_data_file)
{
    const char *path = store_make_numbers(_i);
    unsigned files = store_count(path, ".data");
    store_flip(store_file(path, "0000000002.data"), 30000, 1);
    uint64_t digest = store_digest(path);
    bitcask_hint_result r = BITCASK_HINT_RESULT_INIT;
    ck_assert_int_eq(rebuild(path, BITCASK_HINT_ALL, &r), BITCASK_CORRUPT);
    expect_result(&r, files, files - 1, 1);
    store_expect_failure(BITCASK_CORRUPT, "0000000002.data", "damaged");
    ck_assert_uint_eq(store_digest(path), digest);
    /* Without it nothing is made of that file, the others are. */
    remove_hints(path);
    ck_assert_int_eq(rebuild(path, 0, &r), BITCASK_CORRUPT);
    expect_result(&r, files, files - 1, 1);
    ck_assert_uint_eq(store_count(path, ".hint"), files - 1);
    ck_assert_uint_eq(store_count(path, ".tmp"), 0);
    ck_assert(store_nth(path, "0000000002.hint", 0) == NULL);
}
END_TEST

/* What keeps hint files from being written is named, and is no damage of the store; how many did not come is told all the same.
 */
START_TEST(test_no_room_is_no_damage)
{
    const char *path = store_make_numbers(_i);
    unsigned files = store_count(path, ".data");
    remove_hints(path);
    struct rlimit before, small;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100;
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    bitcask_hint_result r = BITCASK_HINT_RESULT_INIT;
    int result = rebuild(path, 0, &r);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_int_eq(result, BITCASK_NO_SPACE);
    store_expect_failure(BITCASK_NO_SPACE, "0000000001.hint", "cannot write");
    expect_result(&r, files, 0, files);
    ck_assert_uint_eq(store_count(path, ".tmp"), 0);
    store_check_numbers(path, 0, _i);
}
END_TEST

START_TEST(test_refused)
{
    const char *path = store_make_numbers(_i), *none = store_path();
    bitcask_hint_result r = BITCASK_HINT_RESULT_INIT;
    const bitcask_hint_result before = r;
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(rebuild(path, 0, &r), BITCASK_LOCKED);
    store_close(db);
    ck_assert_int_eq(rebuild(none, 0, &r), BITCASK_NOT_FOUND);
    ck_assert_int_eq(rebuild(path, 2, &r), BITCASK_UNSUPPORTED);
    bitcask_hint_options ho = BITCASK_HINT_OPTIONS_INIT;
    ho.reserved = 1;
    ck_assert_int_eq(bitcask_rebuild_hints(path, &ho, &r), BITCASK_UNSUPPORTED);
    ho.reserved = 0;
    ho.struct_size = 0;
    ck_assert_int_eq(bitcask_rebuild_hints(path, &ho, &r), BITCASK_INVALID);
    ck_assert(memcmp(&r, &before, sizeof r) == 0);
    bitcask_hint_options_init(&ho, sizeof ho);
    ck_assert(memcmp(&ho, &(bitcask_hint_options)BITCASK_HINT_OPTIONS_INIT, sizeof ho) == 0);
    bitcask_hint_result_init(&r, sizeof r);
    ck_assert(memcmp(&r, &before, sizeof r) == 0);
}
END_TEST

/* ---- progress ---- */

struct progress {
    const char *path;
    unsigned calls, cancel_at, hints; /* hints: that were there when it was cancelled */
    uint64_t total;
};

static int on_progress(const char *phase, uint64_t done, uint64_t total, void *ctx)
{
    struct progress *p = ctx;
    ck_assert(phase != NULL && done <= total);
    p->total = total;
    if (++p->calls != p->cancel_at)
        return 0;
    p->hints = store_count(p->path, ".hint");
    return 1;
}

START_TEST(test_progress)
{
    const char *path = store_make_numbers(_i);
    unsigned files = store_count(path, ".data");
    remove_hints(path);
    struct progress p = {.path = path};
    bitcask_hint_options o = BITCASK_HINT_OPTIONS_INIT;
    bitcask_hint_result r = BITCASK_HINT_RESULT_INIT;
    o.progress = on_progress;
    o.progress_ctx = &p;
    ck_assert_int_eq(bitcask_rebuild_hints(path, &o, &r), BITCASK_OK);
    expect_result(&r, files, files, 0);
    ck_assert_uint_eq(p.total, files);
    ck_assert_uint_ge(p.calls, files);
}
END_TEST

/* Non-zero cancels: no hint file is built after it, the result tells how far it came, the store stays valid. */
START_TEST(test_cancel_stops_the_work)
{
    for (unsigned at = 1; at <= 3; at++) {
        const char *path = store_make_numbers(_i);
        unsigned files = store_count(path, ".data");
        remove_hints(path);
        struct progress p = {.path = path, .cancel_at = at};
        bitcask_hint_options o = BITCASK_HINT_OPTIONS_INIT;
        bitcask_hint_result r = BITCASK_HINT_RESULT_INIT;
        o.progress = on_progress;
        o.progress_ctx = &p;
        ck_assert_int_eq(bitcask_rebuild_hints(path, &o, &r), BITCASK_CANCELLED);
        expect_result(&r, files, at - 1, 0);
        ck_assert_uint_eq(p.hints, at - 1);
        ck_assert_msg(store_count(path, ".hint") == at - 1, "%u hint files, cancelled after %u", store_count(path, ".hint"),
                      at - 1);
        store_check_numbers(path, 0, _i);
    }
}
END_TEST

/* After a kill: recovers, and hints what recovery sealed. */
START_TEST(test_recovers_first)
{
    const char *path = store_path(), *copy = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < STORE_NUMBERS; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, STORE_NUMBER_SIZE), BITCASK_OK);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    store_copy_directory(path, copy); /* what is there when a process is killed: it ends no file */
    store_close(db);
    bitcask_hint_result r = BITCASK_HINT_RESULT_INIT;
    ck_assert_int_eq(rebuild(copy, BITCASK_HINT_ALL, &r), BITCASK_OK);
    ck_assert_uint_eq(r.failed, 0);
    ck_assert_uint_eq(r.built, r.files);
    ck_assert_uint_eq(store_count(copy, ".hint"), r.files);
    store_check_numbers(copy, 0, _i);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("rebuild");
    TCase *t = store_tcase("rebuild");
    store_add_test(t, test_missing);
    store_add_test(t, test_all);
    store_add_test(t, test_damaged_data_file);
    store_add_test(t, test_no_room_is_no_damage);
    store_add_test(t, test_refused);
    store_add_test(t, test_progress);
    store_add_test(t, test_cancel_stops_the_work);
    store_add_test(t, test_recovers_first);
    suite_add_tcase(s, t);
    return s;
}
