/* test_expiry.c - expiry follows the store's clock, for get, read, info and conditions at once, without a write; the clock of a
 * handle never steps back; what expired stays gone. */
#include <string.h>

#include "test/support/store.h"

#define NOW 1800000000000

static struct store_clock wall;

static bitcask_options with_clock(int mode)
{
    bitcask_options o = store_options(mode);
    atomic_store(&wall.now, NOW);
    o.clock = store_clock_now;
    o.clock_ctx = &wall;
    return o;
}

static void expect_expired(bitcask *db, const char *key)
{
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    size_t size;
    store_expect(db, key, NULL);
    ck_assert_int_eq(bitcask_read(db, key, strlen(key), NULL, 0, &size), BITCASK_NOT_FOUND);
    ck_assert_int_eq(bitcask_info(db, key, strlen(key), &info), BITCASK_NOT_FOUND);
    ck_assert_int_eq(bitcask_touch(db, key, strlen(key), 0, 0), BITCASK_NOT_FOUND);
    ck_assert_int_eq(bitcask_delete(db, key, strlen(key), NULL, NULL), BITCASK_NOT_FOUND);
    ck_assert_int_eq(store_put_flags(db, key, "x", BITCASK_PUT_IF_PRESENT, 0, 0, NULL), BITCASK_CONDITION);
}

/* To the millisecond: at its time a key is gone. */
START_TEST(test_to_the_millisecond)
{
    bitcask_options o = with_clock(_i);
    bitcask *db = store_open(store_path(), &o);
    ck_assert_int_eq(store_put_flags(db, "a", "1", 0, 0, NOW + 10, NULL), BITCASK_OK);
    ck_assert_int_eq(store_put_flags(db, "b", "1", 0, 0, NOW + 20, NULL), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "c", "1"), BITCASK_OK);
    atomic_store(&wall.now, NOW + 9);
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    ck_assert_int_eq(bitcask_info(db, "a", 1, &info), BITCASK_OK);
    ck_assert_int_eq(info.expire_at_ms, NOW + 10);
    store_expect(db, "a", "1");
    ck_assert_int_eq(store_put_flags(db, "a", "x", BITCASK_PUT_IF_ABSENT, 0, 0, NULL), BITCASK_CONDITION);
    atomic_store(&wall.now, NOW + 10);
    expect_expired(db, "a");
    store_expect(db, "b", "1");
    atomic_store(&wall.now, INT64_MAX);
    expect_expired(db, "b");
    store_expect(db, "c", "1");
    ck_assert_int_eq(store_put_flags(db, "a", "2", BITCASK_PUT_IF_ABSENT, 0, 0, NULL), BITCASK_OK);
    store_expect(db, "a", "2");
    store_close(db);
}
END_TEST

START_TEST(test_in_the_past_is_absent_at_once)
{
    bitcask_options o = with_clock(_i);
    const char *path = store_path();
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "old"), BITCASK_OK);
    ck_assert_int_eq(store_put_flags(db, "a", "new", 0, 0, NOW, NULL), BITCASK_OK);
    expect_expired(db, "a"); /* and not the older value */
    store_close(db);
    db = store_open(path, &o);
    expect_expired(db, "a");
    store_close(db);
}
END_TEST

/* Within a handle what has expired does not come back, and now + ttl never shrinks. */
START_TEST(test_clock_stepping_back)
{
    bitcask_options o = with_clock(_i);
    bitcask *db = store_open(store_path(), &o);
    ck_assert_int_eq(bitcask_now_ms(db), NOW);
    ck_assert_int_eq(store_put_flags(db, "a", "1", 0, 0, NOW + 100, NULL), BITCASK_OK);
    atomic_store(&wall.now, NOW + 100);
    expect_expired(db, "a");
    atomic_store(&wall.now, NOW - 1000000);
    ck_assert_int_eq(bitcask_now_ms(db), NOW + 100);
    expect_expired(db, "a");
    ck_assert_int_eq(store_put_flags(db, "b", "1", 0, 0, NOW + 50, NULL), BITCASK_OK);
    expect_expired(db, "b");
    atomic_store(&wall.now, NOW + 101);
    ck_assert_int_eq(bitcask_now_ms(db), NOW + 101);
    store_close(db);
}
END_TEST

/* Order comes from sequences: with the clock anywhere, the newest write of a key is the one that counts, also after a reopen
 * that has to decide between files. */
START_TEST(test_order_does_not_follow_the_clock)
{
    const char *path = store_path();
    bitcask_options o = with_clock(_i);
    for (unsigned round = 0; round < 20; round++) {
        atomic_store(&wall.now, NOW - round * 86400000LL * 400);
        bitcask *db = store_open(path, &o);
        for (unsigned i = 0; i < 40; i++)
            ck_assert_int_eq(store_put_number(db, i, round, 1000), BITCASK_OK);
        for (unsigned i = 0; i < 40; i++)
            ck_assert_int_eq(store_check_number(db, i, round, 1000), 0);
        store_close(db);
    }
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 40; i++)
        ck_assert_int_eq(store_check_number(db, i, 19, 1000), 0);
    store_close(db);
}
END_TEST

/* What expired while nobody had the store open shadows the older version that never expires; with hint files and without. */
START_TEST(test_expired_shadows_older_version_after_reopen)
{
    bitcask_options o = with_clock(_i);
    const char *path = store_path();
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "old"), BITCASK_OK);
    for (unsigned i = 0; i < 200; i++)
        ck_assert_int_eq(store_put_number(db, i, 0, 1000), BITCASK_OK);
    ck_assert_int_eq(store_put_flags(db, "a", "new", 0, 0, NOW + 1000, NULL), BITCASK_OK);
    for (unsigned i = 0; i < 200; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 1000), BITCASK_OK);
    store_expect(db, "a", "new");
    store_close(db);
    for (unsigned round = 0; round < 2; round++) {
        atomic_store(&wall.now, NOW + 999);
        db = store_open(path, &o);
        store_expect(db, "a", "new");
        store_close(db);
        atomic_store(&wall.now, NOW + 1000);
        db = store_open(path, &o);
        store_expect(db, "a", NULL);
        store_close(db);
        for (const char *name; (name = store_nth(path, ".hint", 0)) != NULL;)
            store_remove(store_file(path, name));
    }
}
END_TEST

START_TEST(test_batch_and_system_clock)
{
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    int64_t now = bitcask_now_ms(db);
    ck_assert_int_gt(now, 1700000000000);
    bitcask_batch *b;
    ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
    ck_assert_int_eq(bitcask_batch_put(b, "later", 5, "1", 1, now + 3600000), BITCASK_OK);
    ck_assert_int_eq(bitcask_batch_put(b, "past", 4, "1", 1, now - 1), BITCASK_OK);
    ck_assert_int_eq(bitcask_batch_put(b, "never", 5, "1", 1, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    bitcask_batch_free(b);
    store_expect(db, "later", "1");
    store_expect(db, "past", NULL);
    store_expect(db, "never", "1");
    ck_assert_int_ge(bitcask_now_ms(db), now);
    store_close(db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("expiry");
    TCase *t = store_tcase("expiry");
    store_add_test(t, test_to_the_millisecond);
    store_add_test(t, test_in_the_past_is_absent_at_once);
    store_add_test(t, test_clock_stepping_back);
    store_add_test(t, test_order_does_not_follow_the_clock);
    store_add_test(t, test_expired_shadows_older_version_after_reopen);
    store_add_test(t, test_batch_and_system_clock);
    suite_add_tcase(s, t);
    return s;
}
