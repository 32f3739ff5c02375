/* test_readonly.c - a read-only open writes nothing at all, works beside a live writer, shows the moment of its open, and is
 * refused every write. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bitcask/db.h"
#include "test/support/simdisk.h"
#include "test/support/store.h"

static bitcask *open_reader(const char *path, int mode)
{
    bitcask_options o = store_options(mode);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    return store_open(path, &o);
}

START_TEST(test_refuses_every_write)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    store_close(db);
    uint64_t digest = store_digest(path), sequence = 5;
    db = open_reader(path, _i);
    bitcask_batch *b;
    ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
    ck_assert_int_eq(bitcask_put(db, "a", 1, "2", 1, NULL, &sequence), BITCASK_READ_ONLY);
    store_expect_failure(BITCASK_READ_ONLY, "", "READ_ONLY");
    ck_assert_int_eq(bitcask_delete(db, "a", 1, NULL, &sequence), BITCASK_READ_ONLY);
    ck_assert_int_eq(bitcask_touch(db, "a", 1, 0, 0), BITCASK_READ_ONLY);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_READ_ONLY);
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_READ_ONLY);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_READ_ONLY);
    ck_assert_int_eq(bitcask_batch_delete(b, "a", 1), BITCASK_OK);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_READ_ONLY);
    ck_assert_uint_eq(sequence, 5);
    /* Any number of readers. */
    bitcask *second = open_reader(path, 1 - _i);
    store_expect(db, "a", "1");
    store_expect(second, "a", "1");
    ck_assert_int_gt(bitcask_now_ms(db), 0);
    bitcask_batch_free(b);
    store_close(second);
    store_close(db);
    ck_assert_uint_eq(store_digest(path), digest);
}
END_TEST

/* Even where a writer would have much to do: hints missing, left-over files, a temporary file, one copy of the MANIFEST bad. */
START_TEST(test_writes_nothing_where_a_writer_would)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 300; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 1000), BITCASK_OK);
    store_close(db);
    store_remove(store_file(path, store_nth(path, ".hint", 0)));
    store_write_file(store_file(path, "0000000099.hint"), "x", 1);
    store_write_file(store_file(path, "MANIFEST.tmp"), "x", 1);
    store_write_file(store_file(path, store_nth(path, ".hint", 1)), "x", 1);
    store_flip(store_file(path, "MANIFEST"), 30, 1);
    store_remove(store_file(path, "LOCK"));
    uint64_t digest = store_digest(path);
    db = open_reader(path, _i);
    for (unsigned i = 0; i < 300; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, 1000), 0);
    ck_assert_uint_eq(store_digest(path), digest);
    store_close(db);
    ck_assert_uint_eq(store_digest(path), digest);
}
END_TEST

/* After a kill: the reader finds where the log ends, as a writer would, and writes none of that down. */
START_TEST(test_of_what_a_killed_writer_left)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    pid_t pid = fork();
    if (pid == 0) {
        bitcask *db = NULL;
        bool good = bitcask_open(path, &o, &db) == BITCASK_OK;
        for (unsigned i = 0; i < 200 && good; i++)
            good = store_put_number(db, i, 1, 500) == BITCASK_OK;
        raise(good ? SIGKILL : SIGTERM);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    uint64_t digest = store_digest(path);
    for (unsigned round = 0; round < 2; round++) {
        bitcask *db = open_reader(path, _i);
        for (unsigned i = 0; i < 200; i++)
            ck_assert_int_eq(store_check_number(db, i, 1, 500), 0);
        store_close(db);
        ck_assert_uint_eq(store_digest(path), digest);
    }
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 200; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, 500), 0);
    store_close(db);
}
END_TEST

/* Beside an idle writer: what was there at the open, whatever the writer does later, without a byte changed. */
START_TEST(test_shows_the_moment_of_its_open)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *writer = store_open(path, &o);
    for (unsigned i = 0; i < 300; i++)
        ck_assert_int_eq(store_put_number(writer, i, 1, 500), BITCASK_OK);
    bitcask *reader = open_reader(path, _i);
    for (unsigned i = 0; i < 300; i++)
        ck_assert_int_eq(store_check_number(reader, i, 1, 500), 0);
    for (unsigned i = 0; i < 600; i++)
        ck_assert_int_eq(store_put_number(writer, i, 2, 500), BITCASK_OK);
    for (unsigned i = 0; i < 600; i++)
        ck_assert_int_eq(store_check_number(reader, i, 1, 500), i < 300 ? 0 : BITCASK_NOT_FOUND);
    /* Files that are taken away from below it stay readable: it holds them open. */
    ck_assert_int_eq(bitcask_clear(writer, 0), BITCASK_OK);
    for (unsigned i = 0; i < 300; i++)
        ck_assert_int_eq(store_check_number(reader, i, 1, 500), 0);
    bitcask *later = open_reader(path, _i);
    ck_assert_int_eq(store_check_number(later, 3, 2, 500), BITCASK_NOT_FOUND);
    store_close(later);
    store_close(writer);
    for (unsigned i = 0; i < 300; i++)
        ck_assert_int_eq(store_check_number(reader, i, 1, 500), 0);
    store_close(reader);
}
END_TEST

struct writing {
    bitcask *db;
    atomic_bool stop;
    int failed;
    bool clears;
};

/* Pairs of keys by batch, ascending: a prefix of them is a consistent state. */
static void *write_pairs(void *arg)
{
    struct writing *w = arg;
    bitcask_batch *b;
    if (bitcask_batch_new(&b) != BITCASK_OK)
        return NULL;
    static const char padding[900];
    for (unsigned n = 1; !atomic_load(&w->stop) && w->failed == 0; n++) {
        char value[16];
        int size = snprintf(value, sizeof value, "%u", n);
        bitcask_batch_clear(b);
        w->failed |= bitcask_batch_put(b, "a", 1, value, (size_t)size, 0);
        w->failed |= bitcask_batch_put(b, "padding", 7, padding, sizeof padding, 0);
        w->failed |= bitcask_batch_put(b, "b", 1, value, (size_t)size, 0);
        w->failed |= bitcask_write(w->db, b, n % 64 == 0 ? BITCASK_PUT_SYNC : 0);
        if (w->clears && n % 500 == 0)
            w->failed |= bitcask_clear(w->db, 0);
    }
    bitcask_batch_free(b);
    return NULL;
}

/* Beside a busy writer: a whole batch, never older than what the reader before it saw; or BUSY. */
static void beside_a_busy_writer(int mode, bool clears)
{
    const char *path = store_path();
    bitcask_options o = store_options(mode);
    struct writing w = {.db = store_open(path, &o), .clears = clears};
    pthread_t thread;
    unsigned long seen = 0, opened = 0, busy = 0;
    ck_assert_int_eq(store_put(w.db, "a", "0"), BITCASK_OK);
    ck_assert_int_eq(store_put(w.db, "b", "0"), BITCASK_OK);
    ck_assert_int_eq(pthread_create(&thread, NULL, write_pairs, &w), 0);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    for (unsigned long i = 0; i < 60 * store_scale(); i++) {
        bitcask *reader = NULL;
        int result = bitcask_open(path, &o, &reader);
        if (result == BITCASK_BUSY) {
            busy++;
            continue;
        }
        ck_assert_msg(result == BITCASK_OK, "open %lu: %s: %s", i, bitcask_errname(result), bitcask_last_error()->message);
        char a[16] = "", b[16] = "";
        size_t size = 0;
        int result_a = bitcask_read(reader, "a", 1, a, sizeof a - 1, &size);
        a[size] = '\0';
        int result_b = bitcask_read(reader, "b", 1, b, sizeof b - 1, &size);
        b[size] = '\0';
        ck_assert_int_eq(result_a, result_b);
        ck_assert_msg(result_a == BITCASK_OK || (clears && result_a == BITCASK_NOT_FOUND), "%s", bitcask_last_error()->message);
        ck_assert_msg(strcmp(a, b) == 0, "half a batch: %s and %s", a, b);
        if (result_a == BITCASK_OK) {
            ck_assert_uint_ge(strtoul(a, NULL, 10), seen);
            seen = strtoul(a, NULL, 10);
        }
        store_close(reader);
        opened++;
    }
    atomic_store(&w.stop, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(w.failed, 0);
    ck_assert_uint_gt(opened, busy);
    store_close(w.db);
}

START_TEST(test_beside_a_busy_writer)
{
    beside_a_busy_writer(_i, false);
}
END_TEST

START_TEST(test_beside_a_writer_that_clears)
{
    beside_a_busy_writer(_i, true);
}
END_TEST

/* No operation of a read-only handle changes the disk, not even a call that would change nothing. */
START_TEST(test_no_changing_call)
{
    struct simdisk *disk = simdisk_new(1);
    const struct bc_environment environment = {simdisk_io(disk), true};
    bitcask_options o = store_options(_i);
    bitcask *db = NULL;
    ck_assert_int_eq(bc_db_open("/store", &o, &environment, &db), BITCASK_OK);
    for (unsigned i = 0; i < 200; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 1000), BITCASK_OK);
    /* The writer is still open, un-synced bytes and all. */
    const unsigned changes = SIMDISK_OPS_CHANGE & ~(SIMDISK_MAP | SIMDISK_POPULATE);
    uint64_t digest = simdisk_digest(disk, SIMDISK_VOLATILE), count = simdisk_op_count(disk, changes);
    bitcask *reader = NULL;
    o.flags |= BITCASK_OPEN_READ_ONLY;
    ck_assert_int_eq(bc_db_open("/store", &o, &environment, &reader), BITCASK_OK);
    for (unsigned i = 0; i < 200; i++)
        ck_assert_int_eq(store_check_number(reader, i, 1, 1000), 0);
    store_close(reader);
    ck_assert_uint_eq(simdisk_digest(disk, SIMDISK_VOLATILE), digest);
    ck_assert_uint_eq(simdisk_op_count(disk, changes), count);
    ck_assert_uint_eq(simdisk_op_count(disk, SIMDISK_LOCK), 1);
    store_close(db);
    ck_assert_uint_eq(simdisk_open_descriptors(disk), 0);
    simdisk_free(disk);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("readonly");
    TCase *t = store_tcase("alone");
    store_add_test(t, test_refuses_every_write);
    store_add_test(t, test_writes_nothing_where_a_writer_would);
    store_add_test(t, test_of_what_a_killed_writer_left);
    store_add_test(t, test_no_changing_call);
    suite_add_tcase(s, t);
    t = store_tcase("beside a writer");
    store_add_test(t, test_shows_the_moment_of_its_open);
    store_add_test(t, test_beside_a_busy_writer);
    store_add_test(t, test_beside_a_writer_that_clears);
    suite_add_tcase(s, t);
    return s;
}
