/* Syncs, moment by moment: who waits is woken, and no success is told when something failed meanwhile. What happens during a
 * sync is done by the table's sync function. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "test/support/merging.h"

#define WAITERS 4U

static struct {
    struct bc_io io;
    bitcask *db;
    void (*during)(void); /* the next sync of a file; once */
    int error;            /* of that sync */
    atomic_uint waiting;
    int results[WAITERS];
    pthread_t threads[WAITERS];
} moment;

static int sync_and_more(void *ctx, int fd)
{
    void (*during)(void) = moment.during;
    moment.during = NULL;
    if (during == NULL)
        return bc_io_posix.sync(ctx, fd);
    during();
    return moment.error != 0 ? moment.error : bc_io_posix.sync(ctx, fd);
}

static bitcask *open_with(int mode)
{
    const struct bc_environment environment = {&moment.io, true};
    bitcask_options o = merging_options(mode);
    memset(&moment, 0, sizeof moment);
    moment.io = bc_io_posix;
    moment.io.sync = sync_and_more;
    ck_assert_int_eq(bc_db_open(store_path(), &o, &environment, &moment.db), BITCASK_OK);
    ck_assert_int_eq(store_put(moment.db, "k", "1"), BITCASK_OK);
    return moment.db;
}

static void *wait_for_sync(void *arg)
{
    int *result = arg;
    struct bc_log *log = &moment.db->log;
    atomic_fetch_add(&moment.waiting, 1);
    *result = bc_log_sync(log, bc_log_sequence(log) - 1);
    return NULL;
}

/* They come while a sync is running, and what they wait for it does not cover. */
static void let_others_wait(void)
{
    ck_assert_int_eq(store_put(moment.db, "k", "2"), BITCASK_OK);
    for (unsigned i = 0; i < WAITERS; i++)
        ck_assert_int_eq(pthread_create(&moment.threads[i], NULL, wait_for_sync, &moment.results[i]), 0);
    while (atomic_load(&moment.waiting) < WAITERS)
        usleep(1000);
    usleep(50000); /* time enough to be asleep; if it is not, the test shows less */
}

static void join(int expected)
{
    for (unsigned i = 0; i < WAITERS; i++) {
        ck_assert_int_eq(pthread_join(moment.threads[i], NULL), 0);
        ck_assert_int_eq(moment.results[i], expected);
    }
}

/* The sync that they met was led by nobody who waits himself: that of the upkeep. */
START_TEST(test_waiters_are_woken_by_the_end_of_a_background_sync)
{
    bitcask *db = open_with(_i);
    moment.during = let_others_wait;
    ck_assert_int_eq(bc_log_sync_now(&db->log, true), BITCASK_OK);
    join(BITCASK_OK);
    store_close(db);
}
END_TEST

/* Each of them is told, and none sleeps on. */
START_TEST(test_waiters_are_all_told_of_a_failed_sync)
{
    for (unsigned led = 0; led < 2; led++) {
        bitcask *db = open_with(_i);
        moment.during = let_others_wait;
        moment.error = EIO;
        ck_assert_int_eq(led ? bitcask_sync(db) : bc_log_sync_now(&db->log, true), BITCASK_IO);
        join(BITCASK_IO);
        ck_assert_int_eq(bitcask_close(db), BITCASK_POISONED);
    }
}
END_TEST

/* A round that syncs nothing takes nothing back. */
START_TEST(test_what_is_durable_stays_durable)
{
    bitcask *db = open_with(_i);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    uint64_t durable = db->log.durable;
    ck_assert_uint_eq(durable, bc_log_sequence(&db->log) - 1);
    ck_assert_int_eq(bc_log_sync_now(&db->log, false), BITCASK_OK);
    ck_assert_uint_eq(db->log.durable, durable);
    store_close(db);
}
END_TEST

/* ---- a success that vouches for nothing ---- */

static void poison(void)
{
    (void)bc_health_poison(&moment.db->health, EIO, "some other file", "cannot sync");
}

static void fault(void)
{
    atomic_store(&bc_file_handle(moment.db->log.active)->fault, 1);
}

static void expect_no_word(void (*during)(void), int mode)
{
    bitcask *db = open_with(mode);
    uint64_t durable = db->log.durable;
    moment.during = during;
    ck_assert_int_eq(bitcask_sync(db), BITCASK_IO);
    ck_assert(bc_health_poisoned(&db->health));
    ck_assert_uint_eq(db->log.durable, durable);
    ck_assert_uint_eq(db->log.active->synced, BC_DATA_START);
    ck_assert_int_eq(store_put(db, "k", "2"), BITCASK_POISONED);
    store_expect(db, "k", "1");
    ck_assert_int_eq(bitcask_close(db), BITCASK_POISONED);
}

START_TEST(test_sync_beside_a_failure_elsewhere)
{
    expect_no_word(poison, _i);
}
END_TEST

START_TEST(test_sync_beside_a_fault_below_the_mapping)
{
    expect_no_word(fault, _i);
}
END_TEST

/* The full file's sync was good; before that of the active one the handle is poisoned: it is not begun. */
static void poison_and_count(void)
{
    poison();
    moment.during = fault; /* would be called */
}

START_TEST(test_no_sync_follows_a_failure)
{
    bitcask *db = open_with(_i);
    ck_assert_int_eq(bc_log_prepare_next(&db->log), BITCASK_OK);
    bc_log_lock(&db->log);
    ck_assert_int_eq(bc_log_rotate(&db->log), BITCASK_OK);
    bc_log_unlock(&db->log);
    moment.during = poison_and_count;
    ck_assert_int_eq(bitcask_sync(db), BITCASK_IO);
    ck_assert(moment.during == fault);
    ck_assert_ptr_nonnull(db->log.sealing);
    ck_assert_int_eq(bitcask_close(db), BITCASK_POISONED);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("log_sync");
    TCase *t = store_tcase("waiters");
    store_add_test(t, test_waiters_are_woken_by_the_end_of_a_background_sync);
    store_add_test(t, test_waiters_are_all_told_of_a_failed_sync);
    store_add_test(t, test_what_is_durable_stays_durable);
    suite_add_tcase(s, t);
    t = store_tcase("failures");
    store_add_test(t, test_sync_beside_a_failure_elsewhere);
    store_add_test(t, test_sync_beside_a_fault_below_the_mapping);
    store_add_test(t, test_no_sync_follows_a_failure);
    suite_add_tcase(s, t);
    return s;
}
