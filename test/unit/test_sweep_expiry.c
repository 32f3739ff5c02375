/* Expired keys leave the KeyDir and the disk by themselves: unread, in bounded bites, beside whoever touches them and whoever
 * holds a snapshot. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test/support/merging.h"

#define START 1000000000000
#define TTL 10000
#define PATIENCE_MS 60000U

static struct store_clock test_clock;

static bitcask_options sweeping(int mode)
{
    bitcask_options o = store_options(mode);
    atomic_store(&test_clock.now, START);
    o.clock = store_clock_now;
    o.clock_ctx = &test_clock;
    o.merge_check_interval_ms = 1;
    return o;
}

static void put_expiring(bitcask *db, unsigned i, size_t size, int64_t expire_at_ms)
{
    bitcask_put_options p = BITCASK_PUT_OPTIONS_INIT;
    char key[16], value[4000];
    p.expire_at_ms = expire_at_ms;
    memset(value, (int)i, sizeof value);
    ck_assert_int_eq(bitcask_put(db, key, (size_t)snprintf(key, sizeof key, "e%u", i), value, size, &p, NULL), BITCASK_OK);
}

static int touch(bitcask *db, unsigned i, int64_t expire_at_ms)
{
    char key[16];
    return bitcask_touch(db, key, (size_t)snprintf(key, sizeof key, "e%u", i), expire_at_ms, 0);
}

static int look(bitcask *db, unsigned i)
{
    char key[16];
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    return bitcask_info(db, key, (size_t)snprintf(key, sizeof key, "e%u", i), &info);
}

static void wait_for_keys(bitcask *db, uint64_t keys)
{
    for (unsigned i = 0; i < PATIENCE_MS && merging_stats(db).keys != keys; i++)
        usleep(1000);
    ck_assert_uint_eq(merging_stats(db).keys, keys);
}

/* Whole files of expired records are given up by their hints. */
START_TEST(test_expired_keys_leave_unread)
{
    const char *path = store_path();
    bitcask_options o = sweeping(_i);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 600; i++)
        put_expiring(db, i, 2000, START + TTL);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 100), BITCASK_OK);
    ck_assert_uint_gt(merging_stats(db).data_files, 10);
    ck_assert_uint_eq(merging_stats(db).expired, 0);
    /* What a hint does not tell yet would have to be read. */
    for (unsigned i = 0; i < PATIENCE_MS && store_count(path, ".hint") + 2 < merging_stats(db).data_files; i++)
        usleep(1000);
    ck_assert_int_eq(look(db, 0), BITCASK_OK);
    atomic_fetch_add(&test_clock.now, TTL);
    wait_for_keys(db, 10);
    for (unsigned i = 0; i < PATIENCE_MS && merging_stats(db).disk_bytes > 3 * 65536; i++)
        usleep(1000);
    bitcask_stats s = merging_stats(db);
    ck_assert_uint_le(s.disk_bytes, 3 * 65536);
    ck_assert_uint_eq(s.expired, 600);
    ck_assert_uint_gt(s.merge_bytes_in, 1000000);
    ck_assert_uint_lt(s.merge_bytes_read, s.merge_bytes_in / 5);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, 100), 0);
    store_close(db);
    /* What the file holds that was being written is swept by the next session. */
    db = store_open(path, &o);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    wait_for_keys(db, 10);
    store_close(db);
}
END_TEST

struct bite {
    bitcask *db;
    unsigned count;
};

static void lose(const struct bc_entry *e, void *arg)
{
    struct bite *b = arg;
    bc_file_lose(bc_filetable_get(&b->db->files, e->file), e->footprint, true);
    b->count++;
}

/* A bite is a few shards: no lock is held for long, whatever there is to sweep. Touched before it is reached, a key stays. */
START_TEST(test_sweep_in_bites_beside_touches)
{
    enum { KEYS = 6400, BITE = 200, SHARD = KEYS / 64 * 2 };
    const char *path = store_path();
    bitcask_options o = sweeping(_i);
    o.flags |= BITCASK_OPEN_NO_MERGE;
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < KEYS; i++)
        put_expiring(db, i, 10, START + TTL + (i % 2 == 0 ? 0 : 1000));
    uint64_t position = 0;
    unsigned bites = 0, lost = 0, touched = 0;
    bool ended = false;
    atomic_fetch_add(&test_clock.now, TTL);
    while (!ended) {
        struct bite b = {.db = db};
        ended = bc_keydir_sweep(db->keydir, &position, BITE, bc_clock_now(&db->clock), lose, &b);
        ck_assert_uint_le(b.count, BITE + SHARD);
        lost += b.count;
        bites++;
        /* Those that live yet get longer, wherever the sweep is. */
        for (unsigned k = 0; k < 20; k++, touched++)
            ck_assert_int_eq(touch(db, (touched * 2 + 1) % KEYS, START + 100 * TTL), BITCASK_OK);
    }
    ck_assert_uint_ge(bites, KEYS / (BITE + SHARD));
    ck_assert_uint_eq(lost, KEYS / 2);
    ck_assert_uint_eq(merging_stats(db).keys, KEYS / 2);
    atomic_fetch_add(&test_clock.now, 1000);
    merging_sweep(db);
    for (unsigned i = 0; i < KEYS; i++) {
        bool stays = i % 2 == 1 && i / 2 < touched;
        ck_assert_int_eq(look(db, i), stays ? BITCASK_OK : BITCASK_NOT_FOUND);
    }
    ck_assert_uint_eq(merging_stats(db).keys, BC_MIN(touched, KEYS / 2));
    (void)merging_all(db); /* its accounts are right */
    store_close(db);
}
END_TEST

START_TEST(test_snapshot_shows_what_the_sweep_took)
{
    const char *path = store_path();
    bitcask_options o = sweeping(_i);
    bitcask *db = store_open(path, &o);
    bitcask_snapshot *s;
    for (unsigned i = 0; i < 300; i++)
        put_expiring(db, i, 1000, START + TTL);
    ck_assert_int_eq(store_put(db, "stays", "1"), BITCASK_OK);
    ck_assert_int_eq(bitcask_snapshot_new(db, &s), BITCASK_OK);
    atomic_fetch_add(&test_clock.now, TTL);
    wait_for_keys(db, 1);
    (void)merging_all(db);
    for (unsigned i = 0; i < 300; i++) {
        char key[16];
        bitcask_view v;
        ck_assert_int_eq(look(db, i), BITCASK_NOT_FOUND);
        ck_assert_int_eq(bitcask_snapshot_view(s, key, (size_t)snprintf(key, sizeof key, "e%u", i), &v), BITCASK_OK);
        ck_assert(v.size == 1000 && *(const unsigned char *)v.data == (unsigned char)i);
        bitcask_view_release(&v);
    }
    bitcask_snapshot_release(s);
    store_close(db);
}
END_TEST

struct toucher {
    bitcask *db;
    pthread_t thread;
    unsigned number;
    int64_t until[200]; /* the expiry that was set last; 0: it was found expired */
    int failure;
    atomic_bool *stop;
};

static void *keep_alive(void *arg)
{
    struct toucher *t = arg;
    unsigned x = t->number;
    while (!atomic_load(t->stop) && t->failure == 0) {
        x = x * 1664525U + 1013904223U;
        unsigned i = (x >> 8) % 200;
        if (t->until[i] == 0 || i < 20)
            continue;
        int64_t until = atomic_load(&test_clock.now) + 500 + (x >> 20) % 2000;
        int result = touch(t->db, t->number * 1000 + i, until);
        if (result == BITCASK_OK)
            t->until[i] = until;
        else if (result == BITCASK_NOT_FOUND && t->until[i] <= atomic_load(&test_clock.now))
            t->until[i] = 0;
        else
            t->failure = result;
    }
    return NULL;
}

/* Time passes, the sweep and the merge run, others touch: a key is there exactly as long as its last expiry says. */
START_TEST(test_touch_beside_the_sweep)
{
    const char *path = store_path();
    bitcask_options o = sweeping(_i);
    bitcask *db = store_open(path, &o);
    atomic_bool stop = false;
    struct toucher t[2] = {{.number = 0}, {.number = 1}};
    for (unsigned n = 0; n < 2; n++) {
        t[n].db = db;
        t[n].stop = &stop;
        for (unsigned i = 0; i < 200; i++) {
            t[n].until[i] = START + 1000;
            put_expiring(db, n * 1000 + i, 200, START + 1000);
        }
        ck_assert_int_eq(pthread_create(&t[n].thread, NULL, keep_alive, &t[n]), 0);
    }
    for (unsigned i = 0; i < 200; i++) {
        atomic_fetch_add(&test_clock.now, 30);
        usleep(2000);
    }
    atomic_store(&stop, true);
    for (unsigned n = 0; n < 2; n++)
        ck_assert_int_eq(pthread_join(t[n].thread, NULL), 0);
    ck_assert_uint_gt(merging_stats(db).expired, 39);
    unsigned alive = 0;
    for (int again = 0; again < 2; again++) {
        alive = 0;
        for (unsigned n = 0; n < 2; n++) {
            ck_assert_msg(t[n].failure == 0, "touch: %s", bitcask_errname(t[n].failure));
            for (unsigned i = 0; i < 200; i++) {
                bool there = t[n].until[i] > atomic_load(&test_clock.now);
                ck_assert_int_eq(look(db, n * 1000 + i), there ? BITCASK_OK : BITCASK_NOT_FOUND);
                alive += there;
            }
        }
        (void)merging_all(db);
        ck_assert_uint_eq(merging_stats(db).keys, alive);
        store_close(db);
        db = store_open(path, &o);
    }
    store_close(db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("sweep_expiry");
    TCase *t = store_tcase("sweep");
    store_add_test(t, test_expired_keys_leave_unread);
    store_add_test(t, test_sweep_in_bites_beside_touches);
    store_add_test(t, test_snapshot_shows_what_the_sweep_took);
    store_add_test(t, test_touch_beside_the_sweep);
    suite_add_tcase(s, t);
    return s;
}
