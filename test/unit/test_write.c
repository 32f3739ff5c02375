/* test_write.c - put, delete, touch, sync and clear: conditions are decided in sequence order, whatever is refused writes
 * nothing, sequences only grow, deletes and clears stay, also over a reopen. Beside other threads: test_write_threads.c. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "test/support/store.h"

#define ABSENT BITCASK_PUT_IF_ABSENT
#define PRESENT BITCASK_PUT_IF_PRESENT
#define SEQUENCE BITCASK_PUT_IF_SEQUENCE
#define KEEP BITCASK_PUT_KEEP_TTL

#define NOW 1800000000000

static bitcask_options with_clock(int mode, struct store_clock *clock)
{
    bitcask_options o = store_options(mode);
    atomic_store(&clock->now, NOW);
    o.clock = store_clock_now;
    o.clock_ctx = clock;
    return o;
}

static bitcask_key_info info_of(bitcask *db, const char *key)
{
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    ck_assert_int_eq(bitcask_info(db, key, strlen(key), &info), BITCASK_OK);
    return info;
}

/* Every condition against an absent, a present, a deleted and an expired key. */
START_TEST(test_conditions)
{
    static const struct {
        uint32_t flags;
        bool if_present, if_not; /* whether it holds */
    } cases[] = {
        {0, true, true}, {ABSENT, false, true}, {PRESENT, true, false}, {KEEP, true, true}, {KEEP | PRESENT, true, false}};
    struct store_clock clock;
    bitcask_options o = with_clock(_i, &clock);
    bitcask *db = store_open(store_path(), &o);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (unsigned state = 0; state < 4; state++) {
            char key[32];
            snprintf(key, sizeof key, "key%zu-%u", i, state);
            if (state > 0)
                ck_assert_int_eq(store_put_flags(db, key, "old", 0, 0, state == 3 ? NOW + 10 : 0, NULL), BITCASK_OK);
            if (state == 2)
                ck_assert_int_eq(bitcask_delete(db, key, strlen(key), NULL, NULL), BITCASK_OK);
            atomic_store(&clock.now, atomic_load(&clock.now) + 1000);
            bool present = state == 1, holds = present ? cases[i].if_present : cases[i].if_not;
            uint64_t sequence = 0;
            int result = store_put_flags(db, key, "new", cases[i].flags, 0, 0, &sequence);
            ck_assert_msg(result == (holds ? BITCASK_OK : BITCASK_CONDITION), "case %zu, state %u: %s", i, state,
                          bitcask_errname(result));
            ck_assert_int_eq(sequence != 0, holds);
            store_expect(db, key, holds ? "new" : present ? "old" : NULL);
            atomic_store(&clock.now, NOW);
        }
    }
    store_close(db);
}
END_TEST

START_TEST(test_if_sequence)
{
    struct store_clock clock;
    bitcask_options o = with_clock(_i, &clock);
    const char *path = store_path();
    bitcask *db = store_open(path, &o);
    uint64_t first, second, third = 0;
    bitcask_put_options d = BITCASK_PUT_OPTIONS_INIT;
    ck_assert_int_eq(store_put_flags(db, "a", "1", SEQUENCE, 0, 0, NULL), BITCASK_CONDITION);
    ck_assert_int_eq(store_put_flags(db, "a", "1", SEQUENCE, 1, 0, NULL), BITCASK_CONDITION);
    store_expect(db, "a", NULL);
    ck_assert_int_eq(store_put_flags(db, "a", "1", 0, 0, 0, &first), BITCASK_OK);
    ck_assert_uint_eq(info_of(db, "a").sequence, first);
    ck_assert_int_eq(store_put_flags(db, "a", "2", SEQUENCE, first, 0, &second), BITCASK_OK);
    ck_assert_uint_gt(second, first);
    ck_assert_int_eq(store_put_flags(db, "a", "3", SEQUENCE, first, 0, &third), BITCASK_CONDITION);
    ck_assert_uint_eq(third, 0);
    store_expect(db, "a", "2");
    /* A touch is a write: it has a sequence of its own. */
    ck_assert_int_eq(bitcask_touch(db, "a", 1, NOW + 5000, 0), BITCASK_OK);
    ck_assert_int_eq(store_put_flags(db, "a", "3", SEQUENCE, second, 0, NULL), BITCASK_CONDITION);
    third = info_of(db, "a").sequence;
    ck_assert_uint_gt(third, second);
    /* Over a reopen the sequence stands. */
    store_close(db);
    db = store_open(path, &o);
    ck_assert_uint_eq(info_of(db, "a").sequence, third);
    ck_assert_int_eq(store_put_flags(db, "a", "3", SEQUENCE | KEEP, third, 0, &third), BITCASK_OK);
    ck_assert_int_eq(info_of(db, "a").expire_at_ms, NOW + 5000);
    d.flags = SEQUENCE;
    d.sequence = second;
    ck_assert_int_eq(bitcask_delete(db, "a", 1, &d, NULL), BITCASK_CONDITION);
    ck_assert_int_eq(bitcask_delete(db, "absent", 6, &d, NULL), BITCASK_NOT_FOUND);
    /* Expired is absent. */
    atomic_store(&clock.now, NOW + 5000);
    ck_assert_int_eq(store_put_flags(db, "a", "4", SEQUENCE, third, 0, NULL), BITCASK_CONDITION);
    d.sequence = third;
    ck_assert_int_eq(bitcask_delete(db, "a", 1, &d, NULL), BITCASK_NOT_FOUND);
    ck_assert_int_eq(store_put_flags(db, "a", "4", 0, 0, 0, &third), BITCASK_OK);
    d.sequence = third;
    ck_assert_int_eq(bitcask_delete(db, "a", 1, &d, &second), BITCASK_OK);
    ck_assert_uint_gt(second, third);
    store_expect(db, "a", NULL);
    store_close(db);
}
END_TEST

START_TEST(test_keep_ttl_and_touch)
{
    struct store_clock clock;
    bitcask_options o = with_clock(_i, &clock);
    const char *path = store_path();
    bitcask *db = store_open(path, &o);
    static char big[100000];
    memset(big, 'b', sizeof big);
    ck_assert_int_eq(store_put_flags(db, "a", "1", KEEP, 0, 0, NULL), BITCASK_OK);
    ck_assert_int_eq(info_of(db, "a").expire_at_ms, 0);
    ck_assert_int_eq(store_put_flags(db, "a", "1", 0, 0, NOW + 500, NULL), BITCASK_OK);
    ck_assert_int_eq(store_put_flags(db, "a", "longer", KEEP, 0, 0, NULL), BITCASK_OK);
    ck_assert_int_eq(info_of(db, "a").expire_at_ms, NOW + 500);
    ck_assert_int_eq(store_put(db, "a", "plain"), BITCASK_OK); /* without KEEP_TTL it goes */
    ck_assert_int_eq(info_of(db, "a").expire_at_ms, 0);

    ck_assert_int_eq(bitcask_touch(db, "a", 1, NOW + 700, BITCASK_PUT_SYNC), BITCASK_OK);
    ck_assert_int_eq(info_of(db, "a").expire_at_ms, NOW + 700);
    store_expect(db, "a", "plain");
    ck_assert_int_eq(bitcask_touch(db, "a", 1, 0, 0), BITCASK_OK);
    ck_assert_int_eq(info_of(db, "a").expire_at_ms, 0);
    ck_assert_int_eq(bitcask_touch(db, "b", 1, NOW + 700, 0), BITCASK_NOT_FOUND);
    ck_assert_int_eq(bitcask_put(db, "empty", 5, NULL, 0, NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_touch(db, "empty", 5, NOW + 700, 0), BITCASK_OK);
    store_expect(db, "empty", "");
    ck_assert_int_eq(bitcask_put(db, "big", 3, big, sizeof big, NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_touch(db, "big", 3, NOW + 700, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_touch(db, "a", 1, NOW - 1, 0), BITCASK_OK); /* the past: a way to expire it now */
    store_expect(db, "a", NULL);
    ck_assert_int_eq(bitcask_touch(db, "a", 1, 0, 0), BITCASK_NOT_FOUND);
    store_close(db);
    db = store_open(path, &o);
    store_expect(db, "a", NULL);
    store_expect(db, "empty", "");
    ck_assert_int_eq(info_of(db, "empty").expire_at_ms, NOW + 700);
    bitcask_key_info info = info_of(db, "big");
    ck_assert(info.expire_at_ms == NOW + 700 && info.value_size == sizeof big);
    /* An expired key has no expiry to keep. */
    atomic_store(&clock.now, NOW + 701);
    ck_assert_int_eq(store_put_flags(db, "empty", "again", KEEP, 0, 0, NULL), BITCASK_OK);
    ck_assert_int_eq(info_of(db, "empty").expire_at_ms, 0);
    store_close(db);
}
END_TEST

/* An acknowledged delete stays, over reopen with and without hints; deleting the absent writes nothing. */
START_TEST(test_delete)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    uint64_t last = 0, sequence = 0;
    ck_assert_int_eq(bitcask_delete(db, "a", 1, NULL, &sequence), BITCASK_NOT_FOUND);
    ck_assert_uint_eq(sequence, 0);
    ck_assert_int_eq(store_put_flags(db, "a", "1", 0, 0, 0, &last), BITCASK_OK);
    ck_assert_int_eq(bitcask_delete(db, "a", 1, NULL, &sequence), BITCASK_OK);
    ck_assert_uint_gt(sequence, last);
    ck_assert_int_eq(bitcask_delete(db, "a", 1, NULL, &last), BITCASK_NOT_FOUND);
    /* 2,000 versions over many files, every second key deleted in the end. */
    for (unsigned round = 0; round < 10; round++)
        for (unsigned i = 0; i < 200; i++)
            ck_assert_int_eq(store_put_number(db, i, round, 300), BITCASK_OK);
    bitcask_put_options sync = BITCASK_PUT_OPTIONS_INIT;
    sync.flags = BITCASK_PUT_SYNC;
    for (unsigned i = 0; i < 200; i += 2) {
        char key[16];
        snprintf(key, sizeof key, "key%06u", i);
        ck_assert_int_eq(bitcask_delete(db, key, strlen(key), i % 4 == 0 ? &sync : NULL, NULL), BITCASK_OK);
    }
    for (unsigned round = 0; round < 3; round++) {
        store_expect(db, "a", NULL);
        for (unsigned i = 0; i < 200; i++)
            ck_assert_int_eq(store_check_number(db, i, 9, 300), i % 2 == 0 ? BITCASK_NOT_FOUND : 0);
        store_close(db);
        for (const char *name; round == 1 && (name = store_nth(path, ".hint", 0)) != NULL;)
            store_remove(store_file(path, name));
        db = store_open(path, &o);
    }
    store_close(db);
}
END_TEST

/* A sequence once handed out is never used again: strictly increasing over all kinds of writes and over reopens. */
START_TEST(test_sequences_only_grow)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    uint64_t last = 0;
    for (unsigned round = 0; round < 5; round++) {
        bitcask *db = store_open(path, &o);
        for (unsigned i = 0; i < 200; i++) {
            uint64_t sequence = 0;
            char key[16];
            snprintf(key, sizeof key, "k%u", i % 20);
            if (i % 7 == 3)
                (void)bitcask_delete(db, key, strlen(key), NULL, &sequence);
            else
                ck_assert_int_eq(store_put_flags(db, key, "v", i % 50 == 0 ? BITCASK_PUT_SYNC : 0, 0, 0, &sequence),
                                 BITCASK_OK);
            if (sequence != 0) {
                ck_assert_uint_gt(sequence, last);
                last = sequence;
            }
            if (i == 100)
                ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
        }
        store_close(db);
    }
}
END_TEST

/* Refused before a byte is written: the directory is what it was. The sizes are checked before the bytes are looked at. */
START_TEST(test_too_large_writes_nothing)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    static char key[65536];
    ck_assert_int_eq(bitcask_put(db, key, 65535, "v", 1, NULL, NULL), BITCASK_OK);
    store_close(db);
    db = store_open(path, &o);
    uint64_t digest = store_digest(path), sequence = 0;
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    void *value;
    size_t size;
    ck_assert_int_eq(bitcask_put(db, key, 65536, "v", 1, NULL, &sequence), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_put(db, key, SIZE_MAX, "v", 1, NULL, &sequence), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_put(db, "k", 1, "v", UINT32_MAX - 131071U + 1U, NULL, &sequence), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_put(db, "k", 1, "v", SIZE_MAX, NULL, &sequence), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_delete(db, key, 65536, NULL, &sequence), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_touch(db, key, 65536, 0, 0), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_get(db, key, 65536, &value, &size), BITCASK_TOO_LARGE);
    ck_assert_int_eq(bitcask_info(db, key, 65536, &info), BITCASK_TOO_LARGE);
    ck_assert_uint_eq(sequence, 0);
    ck_assert_uint_eq(store_digest(path), digest);
    store_close(db);
    ck_assert_uint_eq(store_digest(path), digest);
}
END_TEST

START_TEST(test_clear)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK); /* of an empty store */
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 500; i++)
            ck_assert_int_eq(store_put_number(db, i, round, 500), BITCASK_OK);
        ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
        ck_assert_int_eq(store_check_number(db, 3, round, 500), BITCASK_NOT_FOUND);
        if (round == 1)
            ck_assert_int_eq(store_put_number(db, 3, 77, 50), BITCASK_OK);
        store_close(db);
        ck_assert_uint_le(store_count(path, ".data"), 1);
        db = store_open(path, &o);
        /* A hint that was being built during the clear is a left-over until here. */
        ck_assert_uint_eq(store_count(path, ".hint"), store_count(path, ".data"));
        for (unsigned i = 0; i < 500; i++)
            ck_assert_int_eq(store_check_number(db, i, 77, 50), i == 3 && round == 1 ? 0 : BITCASK_NOT_FOUND);
    }
    store_close(db);
}
END_TEST

/* The three modes of sync, sync() itself and put with sync: all return, and what they wrote is there. */
START_TEST(test_sync_modes)
{
    for (uint32_t mode = BITCASK_SYNC_NONE; mode <= BITCASK_SYNC_ALWAYS; mode++) {
        const char *path = store_path();
        bitcask_options o = store_options(_i);
        o.sync_mode = mode;
        o.sync_interval_ms = 5;
        o.sync_bytes = 4096;
        bitcask *db = store_open(path, &o);
        ck_assert_int_eq(bitcask_sync(db), BITCASK_OK); /* nothing to sync */
        for (unsigned i = 0; i < 300; i++)
            ck_assert_int_eq(store_put_number(db, i, mode, 500), BITCASK_OK);
        ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
        store_close(db);
        db = store_open(path, &o);
        for (unsigned i = 0; i < 300; i++)
            ck_assert_int_eq(store_check_number(db, i, mode, 500), 0);
        store_close(db);
    }
}
END_TEST

/* Until a full file has been sealed and has its hint, both the work of background threads. */
static bool is_sealed_in_time(const char *path)
{
    for (unsigned i = 0; i < 1000; i++) {
        if (store_count(path, ".hint") > 0)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return false;
}

/* A first write that cannot start the threads fails alone: the next one has them, all of them. */
START_TEST(test_threads_that_could_not_start_start_with_a_later_write)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    pthread_attr_t before, huge;
    ck_assert_int_eq(pthread_getattr_default_np(&before), 0);
    ck_assert_int_eq(pthread_attr_init(&huge), 0);
    /* A stack of the size that no address space has. Where the C library refuses it as a default there is nothing to see. */
    if (pthread_attr_setstacksize(&huge, (size_t)1 << 50) == 0 && pthread_setattr_default_np(&huge) == 0) {
        ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_NO_MEMORY);
        ck_assert_int_eq(pthread_setattr_default_np(&before), 0);
        store_expect(db, "a", NULL);
    }
    for (unsigned i = 0; i < 300; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 1000), BITCASK_OK);
    ck_assert(is_sealed_in_time(path));
    store_close(db);
    pthread_attr_destroy(&huge);
    pthread_attr_destroy(&before);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("write");
    TCase *t = store_tcase("one thread");
    store_add_test(t, test_conditions);
    store_add_test(t, test_if_sequence);
    store_add_test(t, test_keep_ttl_and_touch);
    store_add_test(t, test_delete);
    store_add_test(t, test_sequences_only_grow);
    store_add_test(t, test_too_large_writes_nothing);
    store_add_test(t, test_clear);
    store_add_test(t, test_sync_modes);
    store_add_test(t, test_threads_that_could_not_start_start_with_a_later_write);
    suite_add_tcase(s, t);
    return s;
}
