/* test_open.c - open and close: what makes a store, one writer, a file that is gone on with after a clean close and one that
 * must not be, the log callback, progress of the load. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/support/store.h"

START_TEST(test_open_creates_or_not)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = NULL;
    /* An empty directory is no store, and may become one. */
    ck_assert_int_eq(mkdir(path, 0700), 0);
    uint64_t empty = store_digest(path);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    ck_assert_int_eq(bitcask_open(path, &o, &db), BITCASK_NOT_FOUND);
    ck_assert_uint_eq(store_digest(path), empty);
    o = store_options(_i);
    o.flags |= BITCASK_OPEN_NO_CREATE;
    ck_assert_int_eq(bitcask_open(path, &o, &db), BITCASK_NOT_FOUND);
    ck_assert_uint_eq(store_count(path, "MANIFEST"), 0);
    o = store_options(_i);
    o.flags |= BITCASK_OPEN_EXCLUSIVE;
    store_close(store_open(path, &o));
    uint64_t made = store_digest(path);
    ck_assert_int_eq(bitcask_open(path, &o, &db), BITCASK_CONDITION);
    store_expect_failure(BITCASK_CONDITION, "MANIFEST", path);
    ck_assert_uint_eq(store_digest(path), made);
    /* A store without a key is one. */
    o = store_options(_i);
    o.flags |= BITCASK_OPEN_NO_CREATE;
    db = store_open(path, &o);
    store_expect(db, "a", NULL);
    store_close(db);
    ck_assert_uint_eq(store_count(path, ".data"), 0);
}
END_TEST

/* NO_CREATE says that there must be a store: a directory that holds none is left as it is. */
START_TEST(test_no_create_leaves_no_lock_file_behind)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = NULL;
    o.flags |= BITCASK_OPEN_NO_CREATE;
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(bitcask_open(path, &o, &db), BITCASK_NOT_FOUND);
    ck_assert_uint_eq(store_count(path, ""), 0);
}
END_TEST

/* One writer, whoever asks: this process too. The lock goes with the process that held it, however it ended. */
START_TEST(test_one_writer)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o), *second = NULL;
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    ck_assert_int_eq(bitcask_open(path, &o, &second), BITCASK_LOCKED);
    ck_assert_ptr_null(second);
    store_expect_failure(BITCASK_LOCKED, "LOCK", path);
    ck_assert_int_eq(store_put(db, "b", "2"), BITCASK_OK);
    store_close(db);

    int pipe_to_us[2];
    ck_assert_int_eq(pipe(pipe_to_us), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int result = bitcask_open(path, &o, &second) == BITCASK_OK ? store_put(second, "c", "3") : BITCASK_IO;
        if (write(pipe_to_us[1], result == BITCASK_OK ? "k" : "!", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    char byte = 0;
    ck_assert_int_eq(read(pipe_to_us[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'k');
    ck_assert_int_eq(bitcask_open(path, &o, &second), BITCASK_LOCKED);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    /* Nothing was synced: a put survives the kill of its process all the same. */
    db = store_open(path, &o);
    store_expect(db, "a", "1");
    store_expect(db, "b", "2");
    store_expect(db, "c", "3");
    store_close(db);
    close(pipe_to_us[0]);
    close(pipe_to_us[1]);
}
END_TEST

/* A command-line put must not breed a file each: a cleanly closed file is gone on with. */
START_TEST(test_reopen_goes_on_in_the_same_file)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    uint64_t last = 0;
    for (unsigned round = 0; round < 50; round++) {
        bitcask *db = store_open(path, &o);
        uint64_t sequence = 0;
        char key[16];
        int size = snprintf(key, sizeof key, "key%u", round % 40);
        ck_assert_int_eq(bitcask_put(db, key, (size_t)size, "v", 1, NULL, &sequence), BITCASK_OK);
        ck_assert_uint_gt(sequence, last);
        last = sequence;
        store_close(db);
        ck_assert_uint_eq(store_count(path, ".data"), 1);
        ck_assert_uint_eq(store_count(path, ".hint"), 1);
        /* Opened and closed without a write: nothing changes at all. */
        uint64_t digest = store_digest(path);
        store_close(store_open(path, &o));
        ck_assert_uint_eq(store_digest(path), digest);
    }
    ck_assert_uint_eq(store_count(path, ""), 4);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%u", i);
        store_expect(db, key, "v");
    }
    store_close(db);
}
END_TEST

/* A hard link to a data file may be somebody's backup: it is never written again. */
START_TEST(test_linked_file_is_not_continued)
{
    const char *path = store_path(), *backup = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    store_close(db);
    const char *data = store_file(path, store_nth(path, ".data", 0));
    ck_assert_int_eq(link(data, backup), 0);
    size_t size, size_after;
    void *before = store_read_file(backup, &size);
    db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "b", "2"), BITCASK_OK);
    store_close(db);
    void *after = store_read_file(backup, &size_after);
    ck_assert(size == size_after && memcmp(before, after, size) == 0);
    ck_assert_uint_eq(store_count(path, ".data"), 2);
    free(before);
    free(after);
    store_remove(backup);
}
END_TEST

/* The log callback: what the store did, a line each; nothing at all without one. */
START_TEST(test_log_lines)
{
    static struct store_log log;
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    o.log = store_log_line;
    o.log_ctx = &log;
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    store_close(db);
    ck_assert_uint_eq(atomic_load(&log.lines[BITCASK_LOG_ERROR]), 0);
    ck_assert_uint_eq(atomic_load(&log.lines[BITCASK_LOG_WARN]), 0);
    /* Damage of one MANIFEST copy is told, and harmless. */
    store_flip(store_file(path, "MANIFEST"), 30, 1);
    db = store_open(path, &o);
    ck_assert_uint_eq(atomic_load(&log.lines[BITCASK_LOG_WARN]), 1);
    ck_assert_ptr_nonnull(strstr(log.text, "MANIFEST"));
    store_expect(db, "a", "1");
    store_close(db);
    /* Left-over files that went are told. */
    store_write_file(store_file(path, "0000000077.hint"), "x", 1);
    unsigned before = atomic_load(&log.lines[BITCASK_LOG_INFO]);
    db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "b", "1"), BITCASK_OK);
    store_close(db);
    /* So is a recovery. */
    pid_t pid = fork();
    if (pid == 0) {
        db = NULL;
        _exit(bitcask_open(path, &o, &db) == BITCASK_OK && store_put(db, "c", "2") == BITCASK_OK ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    db = store_open(path, &o);
    store_expect(db, "c", "2");
    ck_assert_uint_gt(atomic_load(&log.lines[BITCASK_LOG_INFO]), before);
    ck_assert_ptr_nonnull(strstr(log.text, "0000000001.data: recovered"));
    ck_assert(!atomic_load(&log.malformed));
    store_close(db);
}
END_TEST

/* Calls into the store whenever it is told something, as it may: no lock is held then. */
struct nosy_log {
    bitcask *db;
    atomic_uint seals, failed;
};

static void on_line(int level, const char *message, void *ctx)
{
    struct nosy_log *l = ctx;
    if (strstr(message, ".data: sealed") == NULL)
        return;
    bool first = atomic_fetch_add(&l->seals, 1) == 0;
    bool good =
        level == BITCASK_LOG_INFO && (!first || store_put_flags(l->db, "log", "line", BITCASK_PUT_SYNC, 0, 0, NULL) == 0);
    atomic_fetch_add(&l->failed, !good);
}

/* Each full file is told, once it is sealed: the log of a store without merges is not silent. */
START_TEST(test_seals_are_logged)
{
    struct nosy_log log = {0};
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    o.flags |= BITCASK_OPEN_NO_MERGE;
    o.log = on_line;
    o.log_ctx = &log;
    log.db = store_open(path, &o);
    for (unsigned i = 0; i < 400; i++)
        ck_assert_int_eq(store_put_number(log.db, i, 1, 1000), BITCASK_OK);
    /* A file is not rotated before its predecessor is sealed. */
    unsigned files = store_count(path, ".data"), seals = atomic_load(&log.seals);
    ck_assert_msg(seals >= 4 && seals + 1 <= files, "%u seals told, %u files", seals, files);
    ck_assert_uint_eq(atomic_load(&log.failed), 0);
    store_expect(log.db, "log", "line");
    store_close(log.db);
}
END_TEST

/* ---- progress of the load ---- */

struct loading {
    pthread_t opener;
    unsigned calls, cancel_at; /* 0: never */
    uint64_t done, total;
    bool strange;
};

static int on_load(const char *phase, uint64_t done, uint64_t total, void *ctx)
{
    struct loading *l = ctx;
    l->strange |= strcmp(phase, "load") != 0 || done < l->done || done > total || (l->calls > 0 && total != l->total) ||
                  !pthread_equal(pthread_self(), l->opener);
    l->done = done;
    l->total = total;
    /* Meanwhile the other threads take the files that are left. */
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    return ++l->calls == l->cancel_at;
}

/* Files, in the opener's thread, up to all of them; with and without hints. A cancel ends the open, and nothing was done. */
START_TEST(test_progress_of_the_load)
{
    const char *path = store_make_numbers(_i);
    unsigned files = store_count(path, ".data");
    for (unsigned round = 0; round < 4; round++) {
        bitcask_options o = store_options(_i);
        struct loading l = {.opener = pthread_self()};
        o.progress = on_load;
        o.progress_ctx = &l;
        o.load_threads = round % 2 == 0 ? 1 : 4;
        uint64_t digest = store_digest(path);
        bitcask *const mark = (bitcask *)&l;
        bitcask *db = mark;
        l.cancel_at = 1;
        ck_assert_int_eq(bitcask_open(path, &o, &db), BITCASK_CANCELLED);
        ck_assert_ptr_eq(db, mark);
        ck_assert_uint_eq(store_digest(path), digest);
        l = (struct loading){.opener = pthread_self()};
        ck_assert_int_eq(bitcask_open(path, &o, &db), BITCASK_OK);
        ck_assert_uint_eq(l.done, files);
        ck_assert_uint_eq(l.total, files);
        ck_assert(!l.strange);
        for (unsigned i = 0; i < STORE_NUMBERS; i++)
            ck_assert_int_eq(store_check_number(db, i, 1, STORE_NUMBER_SIZE), 0);
        store_close(db);
        /* From the second round on without hint files. */
        for (const char *name; (name = store_nth(path, ".hint", 0)) != NULL;)
            store_remove(store_file(path, name));
    }
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("open");
    TCase *t = store_tcase("open and close");
    store_add_test(t, test_open_creates_or_not);
    store_add_test(t, test_no_create_leaves_no_lock_file_behind);
    store_add_test(t, test_one_writer);
    store_add_test(t, test_reopen_goes_on_in_the_same_file);
    store_add_test(t, test_linked_file_is_not_continued);
    store_add_test(t, test_log_lines);
    store_add_test(t, test_seals_are_logged);
    store_add_test(t, test_progress_of_the_load);
    suite_add_tcase(s, t);
    return s;
}
