/* test_close.c - bitcask_close() while a call of another thread, or one further up the stack, is inside the handle: BUSY, and
 * nothing changed. Then, when nobody is inside, OK: background work is not in its way. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "bitcask/db.h"
#include "bitcask/io_posix.h"
#include "test/support/simdisk.h"
#include "test/support/store.h"

/* A place where a thread waits until it is let go. */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool armed, arrived, released;
};

static struct gate gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void gate_arm(void)
{
    pthread_mutex_lock(&gate.mutex);
    gate.armed = true;
    gate.arrived = gate.released = false;
    pthread_mutex_unlock(&gate.mutex);
}

static void gate_pass(void)
{
    pthread_mutex_lock(&gate.mutex);
    if (gate.armed) {
        gate.armed = false;
        gate.arrived = true;
        pthread_cond_broadcast(&gate.changed);
        while (!gate.released)
            pthread_cond_wait(&gate.changed, &gate.mutex);
    }
    pthread_mutex_unlock(&gate.mutex);
}

static void gate_wait(void)
{
    pthread_mutex_lock(&gate.mutex);
    while (!gate.arrived)
        pthread_cond_wait(&gate.changed, &gate.mutex);
    pthread_mutex_unlock(&gate.mutex);
}

static void gate_release(void)
{
    pthread_mutex_lock(&gate.mutex);
    gate.released = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
}

static int gated_sync(void *ctx, int fd)
{
    gate_pass();
    return bc_io_posix.sync(ctx, fd);
}

static int64_t gated_clock(void *ctx)
{
    (void)ctx;
    gate_pass();
    return 1700000000000;
}

struct call {
    pthread_t thread;
    bitcask *db;
    int (*run)(bitcask *);
    int result;
};

static void *run_call(void *arg)
{
    struct call *c = arg;
    c->result = c->run(c->db);
    return NULL;
}

static int put_with_sync(bitcask *db)
{
    return store_put_flags(db, "k", "v", BITCASK_PUT_SYNC, 0, 0, NULL);
}

static int write_with_sync(bitcask *db)
{
    bitcask_batch *b;
    int result = bitcask_batch_new(&b);
    if (result == BITCASK_OK)
        result = bitcask_batch_put(b, "k", 1, "v", 1, 0);
    if (result == BITCASK_OK)
        result = bitcask_write(db, b, BITCASK_PUT_SYNC);
    bitcask_batch_free(b);
    return result;
}

static int delete_with_sync(bitcask *db)
{
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    o.flags = BITCASK_PUT_SYNC;
    return bitcask_delete(db, "old", 3, &o, NULL);
}

static int touch_with_sync(bitcask *db)
{
    return bitcask_touch(db, "old", 3, 0, BITCASK_PUT_SYNC);
}

static int sync_after_put(bitcask *db)
{
    return bitcask_sync(db);
}

static int clear_all(bitcask *db)
{
    return bitcask_clear(db, 0);
}

/* Readers wait in the store's clock, which they ask about a key that expires. */
static int get_expiring(bitcask *db)
{
    void *value;
    size_t size;
    int result = bitcask_get(db, "expires", 7, &value, &size);
    if (result == BITCASK_OK)
        bitcask_free(value);
    return result;
}

static int view_expiring(bitcask *db)
{
    bitcask_view view;
    int result = bitcask_view_get(db, "expires", 7, &view);
    if (result == BITCASK_OK)
        bitcask_view_release(&view);
    return result;
}

static int many_expiring(bitcask *db)
{
    bitcask_slice key = {"expires", 7};
    bitcask_view view;
    int one, result = bitcask_get_many(db, &key, 1, &view, &one);
    if (result == BITCASK_OK && one == BITCASK_OK)
        bitcask_view_release(&view);
    return result == BITCASK_OK ? one : result;
}

static int info_expiring(bitcask *db)
{
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    return bitcask_info(db, "expires", 7, &info);
}

static void refused(bitcask *db, const char *part)
{
    ck_assert_int_eq(bitcask_close(db), BITCASK_BUSY);
    store_expect_failure(BITCASK_BUSY, "", part);
}

static void close_beside(int mode, int (*run)(bitcask *), bool in_sync)
{
    static struct bc_io io;
    bitcask *db;
    io = bc_io_posix;
    io.sync = gated_sync;
    const struct bc_environment environment = {&io, false};
    bitcask_options o = store_options(mode);
    if (!in_sync)
        o.clock = gated_clock;
    ck_assert_int_eq(bc_db_open(store_path(), &o, &environment, &db), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "old", "1"), BITCASK_OK);
    ck_assert_int_eq(store_put_flags(db, "expires", "1", 0, 0, 1700000100000, NULL), BITCASK_OK);
    struct call c = {.db = db, .run = run};
    gate_arm();
    ck_assert_int_eq(pthread_create(&c.thread, NULL, run_call, &c), 0);
    gate_wait();
    refused(db, "call");
    store_expect(db, "missing", NULL);
    refused(db, "call");
    gate_release();
    ck_assert_int_eq(pthread_join(c.thread, NULL), 0);
    ck_assert_int_eq(c.result, BITCASK_OK);
    ck_assert_int_eq(store_put(db, "new", "1"), BITCASK_OK);
    store_close(db);
}

START_TEST(test_a_call_waits_in_a_sync)
{
    int (*const runs[])(bitcask *) = {put_with_sync,   write_with_sync, delete_with_sync,
                                      touch_with_sync, sync_after_put,  clear_all};
    for (unsigned i = 0; i < sizeof runs / sizeof *runs; i++)
        close_beside(_i, runs[i], true);
}
END_TEST

START_TEST(test_a_reader_waits_in_a_callback)
{
    int (*const runs[])(bitcask *) = {get_expiring, view_expiring, many_expiring, info_expiring};
    for (unsigned i = 0; i < sizeof runs / sizeof *runs; i++)
        close_beside(_i, runs[i], false);
}
END_TEST

/* ---- from a callback of the handle's own call ---- */

static int close_in_fold(bitcask_slice key, bitcask_slice value, const bitcask_key_info *info, void *ctx)
{
    (void)key;
    (void)value;
    (void)info;
    return bitcask_close(ctx);
}

static int close_in_each_file(const bitcask_file_info *info, void *ctx)
{
    (void)info;
    return bitcask_close(ctx);
}

START_TEST(test_close_from_a_callback)
{
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    ck_assert_int_eq(bitcask_fold(db, NULL, close_in_fold, db), BITCASK_BUSY);
    ck_assert_int_eq(bitcask_each_file(db, close_in_each_file, db), BITCASK_BUSY);
    store_expect(db, "a", "1");
    store_close(db);
}
END_TEST

static bitcask *logged;
static int closed_in_log;

static void close_in_log(int level, const char *message, void *ctx)
{
    (void)level;
    (void)message;
    (void)ctx;
    if (logged != NULL)
        closed_in_log = bitcask_close(logged);
}

/* A line that a write logs: the first write goes on in a file, for which it makes a MANIFEST, and that fails. */
START_TEST(test_close_from_the_log_callback)
{
    struct simdisk *disk = simdisk_new(1);
    const struct bc_environment environment = {simdisk_io(disk), true};
    bitcask_options o = store_options(_i);
    bitcask *db;
    o.log = close_in_log;
    ck_assert_int_eq(bc_db_open("/store", &o, &environment, &db), BITCASK_OK);
    ck_assert_int_eq(bitcask_put(db, "a", 1, "1", 1, NULL, NULL), BITCASK_OK);
    const struct simdisk_fault fault = {.kinds = SIMDISK_SYNC, .at = 1, .error = EIO};
    simdisk_fail(disk, &fault);
    logged = db;
    closed_in_log = BITCASK_OK;
    ck_assert_int_eq(bitcask_sync(db), BITCASK_IO);
    logged = NULL;
    ck_assert_int_eq(closed_in_log, BITCASK_BUSY);
    ck_assert_int_eq(bitcask_close(db), BITCASK_POISONED);
    simdisk_free(disk);
}
END_TEST

/* ---- to the last look at the handle ---- */

static struct {
    bitcask *db; /* NULL: not yet, or no more */
    unsigned looks, unseen;
} merging;

/* Background work is inlined: who asks is the call. A close would free what the call still looks at. */
static int64_t watching_clock(void *ctx)
{
    if (merging.db != NULL) {
        merging.looks++;
        merging.unseen += !bc_pins_busy(merging.db->pins);
    }
    return bc_io_posix.monotonic_ms(ctx);
}

START_TEST(test_a_merge_is_inside_as_long_as_it_uses_the_handle)
{
    struct bc_io io = bc_io_posix;
    io.monotonic_ms = watching_clock;
    const struct bc_environment environment = {.io = &io, .inlined = true};
    bitcask_options o = store_options(_i);
    bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
    bitcask *db;
    ck_assert_int_eq(bc_db_open(store_path(), &o, &environment, &db), BITCASK_OK);
    for (unsigned i = 0; i < 300; i++)
        ck_assert_int_eq(store_put_number(db, i % 50, 1, 1000), BITCASK_OK);
    merging.db = db;
    merging.looks = merging.unseen = 0;
    ck_assert_int_eq(bitcask_merge(db, NULL, &r), BITCASK_OK);
    merging.db = NULL;
    ck_assert_uint_gt(merging.looks, 0);
    ck_assert_uint_eq(merging.unseen, 0);
    store_close(db);
}
END_TEST

/* ---- a mapping that a sync looks at ---- */

static struct {
    bitcask *db;
    pthread_t writer;
    _Atomic(char *) settled;    /* what the sync works on */
    atomic_bool gone, was_gone; /* it was unmapped; while the sync worked on it */
} remapped;

/* Larger than the mapping of the active file, which is empty but for its link. */
static void *put_large(void *arg)
{
    (void)arg;
    ck_assert_int_eq(store_put_number(remapped.db, 1000, 1, 400000), BITCASK_OK);
    bc_filetable_reclaim(&remapped.db->files);
    return NULL;
}

/* The mark is stored through the mapping afterwards. */
static int sync_beside_a_writer(void *ctx, int fd)
{
    if (remapped.db != NULL && remapped.settled == NULL && fd == bc_file_handle(remapped.db->log.active)->fd) {
        remapped.settled = bc_file_handle(remapped.db->log.active)->map;
        ck_assert_int_eq(pthread_create(&remapped.writer, NULL, put_large, NULL), 0);
        bc_io_posix.sleep_us(ctx, 200000);
        remapped.was_gone = remapped.gone;
    }
    return bc_io_posix.sync(ctx, fd);
}

static void noted_unmap(void *ctx, void *addr, size_t size)
{
    char *from = addr, *settled = remapped.settled;
    if (settled >= from && settled < from + size)
        remapped.gone = true;
    bc_io_posix.unmap(ctx, addr, size);
}

START_TEST(test_a_sync_keeps_the_mapping_that_it_marks)
{
    struct bc_io io = bc_io_posix;
    io.sync = sync_beside_a_writer;
    io.unmap = noted_unmap;
    const struct bc_environment environment = {.io = &io, .inlined = true};
    bitcask_options o = store_options(0);
    bitcask *db;
    ck_assert_int_eq(bc_db_open(store_path(), &o, &environment, &db), BITCASK_OK);
    ck_assert_int_eq(store_put_number(db, 1, 1, 1000), BITCASK_OK);
    ck_assert_int_eq(bc_log_roll(&db->log), BITCASK_OK);
    remapped.db = db;
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    ck_assert_ptr_nonnull(remapped.settled);
    ck_assert(!remapped.was_gone);
    ck_assert_int_eq(pthread_join(remapped.writer, NULL), 0);
    ck_assert_ptr_nonnull(bc_file_handle(db->log.active)->older);
    remapped.db = NULL;
    ck_assert_int_eq(store_check_number(db, 1000, 1, 400000), 0);
    store_close(db);
    ck_assert(remapped.gone);
}
END_TEST

/* ---- nobody inside ---- */

static void *read_until_busy(void *arg)
{
    struct call *c = arg;
    for (unsigned i = 0; i < 200; i++)
        c->result |= store_check_number(c->db, i % 50, 1, 500);
    return NULL;
}

/* Threads that have returned, and background work, hold nothing up. */
START_TEST(test_close_right_after_work)
{
    for (unsigned round = 0; round < 20; round++) {
        bitcask_options o = store_options(_i);
        bitcask *db = store_open(store_path(), &o);
        struct call c[3];
        for (unsigned i = 0; i < 300; i++)
            ck_assert_int_eq(store_put_number(db, i, 1, 500), BITCASK_OK);
        for (unsigned i = 0; i < 3; i++) {
            c[i] = (struct call){.db = db};
            ck_assert_int_eq(pthread_create(&c[i].thread, NULL, read_until_busy, &c[i]), 0);
        }
        for (unsigned i = 0; i < 3; i++) {
            ck_assert_int_eq(pthread_join(c[i].thread, NULL), 0);
            ck_assert_int_eq(c[i].result, 0);
        }
        store_close(db);
    }
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("close");
    TCase *t = store_tcase("close");
    store_add_test(t, test_a_call_waits_in_a_sync);
    store_add_test(t, test_a_reader_waits_in_a_callback);
    store_add_test(t, test_close_from_a_callback);
    store_add_test(t, test_close_from_the_log_callback);
    store_add_test(t, test_a_merge_is_inside_as_long_as_it_uses_the_handle);
    tcase_add_test(t, test_a_sync_keeps_the_mapping_that_it_marks);
    store_add_test(t, test_close_right_after_work);
    suite_add_tcase(s, t);
    return s;
}
