/* test_guard.c - BITCASK_OPEN_GUARD_SIGBUS: data files are cut below an open handle's mappings. Reads tell, writes are refused,
 * nothing crashes, and faults that are not the store's go where they went before. Without the guard the process dies, as the
 * header says. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bitcask/bitcask.h"
#include "test/support/store.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

#define NUMBERS STORE_NUMBERS
#define SIZE STORE_NUMBER_SIZE
#define HEAD 8192 /* what is before the first record */

static bitcask *open_guarded(const char *path, int mode)
{
    bitcask_options o = store_options(mode);
    o.flags |= BITCASK_OPEN_GUARD_SIGBUS;
    return store_open(path, &o);
}

static void cut(const char *file, long size)
{
    ck_assert_int_eq(truncate(file, size), 0);
}

/* Every number is read: which are there (0) and which are damaged (CORRUPT). */
static unsigned read_all(bitcask *db, int result_of[NUMBERS])
{
    unsigned damaged = 0;
    for (unsigned i = 0; i < NUMBERS; i++) {
        result_of[i] = store_check_number(db, i, 1, SIZE);
        ck_assert(result_of[i] == 0 || result_of[i] == BITCASK_CORRUPT);
        damaged += result_of[i] != 0;
    }
    return damaged;
}

static int count_good(bitcask_slice key, bitcask_slice value, const bitcask_key_info *info, void *ctx)
{
    (void)key;
    (void)info;
    *(unsigned *)ctx += value.size == SIZE;
    return 0;
}

/* Iterator, get_many, snapshot, info, touch: all of them say the same of each key. */
static void read_other_ways(bitcask *db, unsigned damaged)
{
    static char keys[NUMBERS][32];
    static bitcask_slice slices[NUMBERS];
    static bitcask_view views[NUMBERS];
    static int results[NUMBERS];
    unsigned n = 0, bad = 0, folded = 0;
    bitcask_iter *it;
    bitcask_snapshot *snapshot;
    ck_assert_int_eq(bitcask_iter_new(db, NULL, &it), BITCASK_OK);
    while (bitcask_iter_next(it) == BITCASK_OK) {
        bitcask_slice key = bitcask_iter_key(it), value;
        memcpy(keys[n], key.data, key.size);
        slices[n] = (bitcask_slice){keys[n], key.size};
        int result = bitcask_iter_value(it, &value);
        ck_assert(result == BITCASK_OK || result == BITCASK_CORRUPT);
        bad += result != BITCASK_OK;
        n++;
    }
    bitcask_iter_free(it);
    ck_assert_uint_eq(n, NUMBERS);
    ck_assert_uint_eq(bad, damaged);
    ck_assert_int_eq(bitcask_fold(db, NULL, count_good, &folded), damaged == 0 ? BITCASK_OK : BITCASK_CORRUPT);
    ck_assert_int_eq(bitcask_get_many(db, slices, n, views, results), BITCASK_OK);
    ck_assert_int_eq(bitcask_snapshot_new(db, &snapshot), BITCASK_OK);
    bad = 0;
    for (unsigned i = 0; i < n; i++) {
        bitcask_key_info info = BITCASK_KEY_INFO_INIT;
        bitcask_view view;
        int result = bitcask_snapshot_view(snapshot, slices[i].data, slices[i].size, &view);
        ck_assert_int_eq(result, results[i]);
        bad += result != BITCASK_OK;
        if (result == BITCASK_OK) {
            ck_assert(view.size == SIZE && memcmp(view.data, views[i].data, SIZE) == 0);
            bitcask_view_release(&view);
            ck_assert_int_eq(bitcask_info(db, slices[i].data, slices[i].size, &info), BITCASK_OK);
            ck_assert_uint_eq(info.value_size, SIZE);
        }
        bitcask_view_release(&views[i]);
    }
    ck_assert_uint_eq(bad, damaged);
    bitcask_snapshot_release(snapshot);
}

/* A sealed file loses its records while it is mapped; then they come back. */
static void read_a_cut_file(int mode, bool many_first)
{
    const char *path = store_make_numbers(mode);
    bitcask *db = open_guarded(path, mode);
    int before[NUMBERS], after[NUMBERS];
    ck_assert_uint_eq(read_all(db, before), 0);
    const char *file = store_file(path, store_nth(path, ".data", 0));
    size_t size;
    void *bytes = store_read_file(file, &size);
    cut(file, HEAD);
    unsigned expected = 18; /* that the first file holds */
    if (many_first)
        read_other_ways(db, expected);
    unsigned damaged = read_all(db, after);
    ck_assert_uint_eq(damaged, expected);
    store_expect_failure(BITCASK_CORRUPT, store_nth(path, ".data", 0), "ends at byte");
    read_other_ways(db, damaged);
    /* The other keys are fine, and new ones can be written. */
    ck_assert_int_eq(store_put_number(db, 1000, 1, 100), BITCASK_OK);
    ck_assert_int_eq(store_check_number(db, 1000, 1, 100), 0);
    /* Read by descriptor from now on: the zeros do not stay. */
    int fd = open(file, O_WRONLY);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
    free(bytes);
    ck_assert_uint_eq(read_all(db, after), 0);
    ck_assert_int_eq(bitcask_delete(db, "x", 1, NULL, NULL), BITCASK_NOT_FOUND);
    store_close(db);
}

START_TEST(test_a_file_is_cut_below_readers)
{
    read_a_cut_file(_i, false);
}
END_TEST

START_TEST(test_a_file_is_cut_below_an_iterator)
{
    read_a_cut_file(_i, true);
}
END_TEST

/* A view that was taken before reads zeros at worst, also after the close. */
START_TEST(test_a_file_is_cut_below_a_view)
{
    const char *path = store_make_numbers(_i);
    bitcask *db = open_guarded(path, _i);
    bitcask_view views[NUMBERS];
    bitcask_iter *it;
    unsigned n = 0, zeros = 0;
    ck_assert_int_eq(bitcask_iter_new(db, NULL, &it), BITCASK_OK);
    while (bitcask_iter_next(it) == BITCASK_OK) {
        bitcask_slice key = bitcask_iter_key(it);
        ck_assert_int_eq(bitcask_view_get(db, key.data, key.size, &views[n++]), BITCASK_OK);
    }
    bitcask_iter_free(it);
    const char *file = store_file(path, store_nth(path, ".data", 0));
    cut(file, HEAD);
    store_close(db);
    for (unsigned i = 0; i < n; i++) {
        const unsigned char *bytes = views[i].data;
        for (size_t at = 0, seen = 0; at < views[i].size; at++) {
            seen += bytes[at] == 0;
            zeros += at + 1 == views[i].size && seen == views[i].size;
        }
        bitcask_view_release(&views[i]);
    }
    if (_i == 0)
        ck_assert_uint_ge(zeros, 10);
    else
        ck_assert_uint_eq(zeros, 0);
}
END_TEST

/* The active file is cut: what a put stores would go nowhere. */
static void write_to_a_cut_file(int mode, bool reads_first, bool syncs)
{
    const char *path = store_make_numbers(mode);
    bitcask *db = open_guarded(path, mode);
    ck_assert_int_eq(store_put_number(db, 100, 1, 1000), BITCASK_OK);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    ck_assert_int_eq(store_put_number(db, 101, 1, 1000), BITCASK_OK);
    unsigned count = store_count(path, ".data");
    /* The last one, or the one before it if the next is prepared. */
    for (unsigned i = count - 2; i < count; i++)
        cut(store_file(path, store_nth(path, ".data", i)), HEAD);
    if (reads_first)
        ck_assert_int_eq(store_check_number(db, 100, 1, 1000), BITCASK_CORRUPT);
    int result = BITCASK_OK;
    if (syncs) {
        ck_assert_int_eq(bitcask_sync(db), BITCASK_IO);
    } else {
        for (unsigned i = 0; i < 100 && result == BITCASK_OK; i++)
            result = store_put_number(db, 200 + i, 1, 300);
        ck_assert_int_eq(result, BITCASK_IO);
        store_expect_failure(BITCASK_IO, store_nth(path, ".data", count - 1), "cut");
    }
    ck_assert_int_eq(store_put_number(db, 300, 1, 10), BITCASK_POISONED);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_POISONED);
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_POISONED);
    bitcask_stats stats = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(db, &stats), BITCASK_OK);
    ck_assert_uint_eq(stats.poisoned, 1);
    ck_assert_int_eq(store_check_number(db, 0, 1, SIZE), 0);
    ck_assert_int_ne(bitcask_close(db), BITCASK_OK);
}

static struct {
    bitcask *db;
    unsigned lines;
    int stats, put, close;
} telling;

/* What a program may do that is told of a failure: look, write, even try to close. */
static void on_line(int level, const char *message, void *ctx)
{
    (void)ctx;
    if (telling.db == NULL || level != BITCASK_LOG_ERROR || strstr(message, "refused") == NULL)
        return;
    bitcask_stats stats = BITCASK_STATS_INIT;
    telling.lines++;
    telling.stats = bitcask_stats_get(telling.db, &stats);
    telling.put = store_put(telling.db, "a", "1");
    telling.close = bitcask_close(telling.db);
}

/* A put that poisons the handle does so below its locks, and tells when it holds none. The result is the put's own. */
START_TEST(test_the_log_callback_may_look_when_a_put_fails)
{
    const char *path = store_path();
    bitcask_options o = store_options(0);
    o.flags |= BITCASK_OPEN_GUARD_SIGBUS | BITCASK_OPEN_NO_MERGE;
    o.log = on_line;
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put_number(db, 1, 1, 1000), BITCASK_OK);
    telling.db = db;
    cut(store_file(path, "0000000001.data"), HEAD);
    int result = BITCASK_OK;
    for (unsigned i = 0; i < 60 && result == BITCASK_OK; i++)
        result = store_put_number(db, 200 + i, 1, 300);
    ck_assert_int_eq(result, BITCASK_IO);
    store_expect_failure(BITCASK_IO, "0000000001.data", "cut");
    ck_assert_uint_eq(telling.lines, 1);
    ck_assert_int_eq(telling.stats, BITCASK_OK);
    ck_assert_int_eq(telling.put, BITCASK_POISONED);
    ck_assert_int_eq(telling.close, BITCASK_BUSY);
    telling.db = NULL;
    ck_assert_int_ne(bitcask_close(db), BITCASK_OK);
}
END_TEST

START_TEST(test_the_active_file_is_cut_below_a_put)
{
    write_to_a_cut_file(0, _i == 1, false);
}
END_TEST

START_TEST(test_the_active_file_is_cut_before_a_sync)
{
    write_to_a_cut_file(0, true, true);
}
END_TEST

/* ---- the signal ---- */

#define FAILED_HERE 9

static void must(bool condition, int line)
{
    if (condition)
        return;
    fprintf(stderr, "line %d: %s\n", line, bitcask_last_error()->message);
    _exit(FAILED_HERE);
}
#define MUST(condition) must(condition, __LINE__)

static int status_of(void (*child)(const char *path), const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        child(path);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

/* By the signal; a sanitizer's handler reports and exits. */
#define ck_assert_died(status) ck_assert(!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != FAILED_HERE))
#define ck_assert_lived(status) ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status)

static bitcask *open_and_cut(const char *path, uint32_t flags)
{
    bitcask_options o = store_options(0);
    bitcask *db = NULL;
    o.flags |= flags;
    MUST(bitcask_open(path, &o, &db) == BITCASK_OK);
    for (unsigned i = 0; i < NUMBERS; i++)
        MUST(store_check_number(db, i, 1, SIZE) == 0);
    MUST(truncate(store_file(path, store_nth(path, ".data", 0)), HEAD) == 0);
    return db;
}

static void read_unguarded(const char *path)
{
    bitcask *db = open_and_cut(path, 0);
    (void)store_check_number(db, 0, 1, SIZE);
}

START_TEST(test_without_the_guard_the_process_dies)
{
    int status = status_of(read_unguarded, store_make_numbers(0));
    ck_assert_died(status);
#ifndef SANITIZED /* its handler ends the process in a way of its own */
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
#endif
}
END_TEST

/* A mapping that is not the store's, of a file that is cut. */
static volatile char *foreign_mapping(const char *path)
{
    int fd = open(store_file(path, "foreign"), O_RDWR | O_CREAT, 0600);
    MUST(fd >= 0 && ftruncate(fd, 8192) == 0);
    volatile char *map = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    MUST(map != MAP_FAILED && ftruncate(fd, 0) == 0);
    close(fd);
    return map;
}

static void foreign_fault(const char *path)
{
    volatile char *map = foreign_mapping(path);
    bitcask *db = open_and_cut(path, BITCASK_OPEN_GUARD_SIGBUS);
    MUST(store_check_number(db, 0, 1, SIZE) == BITCASK_CORRUPT);
    (void)map[0];
}

static void sent_signal(const char *path)
{
    (void)open_and_cut(path, BITCASK_OPEN_GUARD_SIGBUS);
    raise(SIGBUS);
}

START_TEST(test_foreign_faults_end_the_process_as_ever)
{
    ck_assert_died(status_of(foreign_fault, store_make_numbers(0)));
}
END_TEST

START_TEST(test_a_sent_signal_ends_the_process_as_ever)
{
    ck_assert_died(status_of(sent_signal, store_make_numbers(0)));
}
END_TEST

static void ignored_signal(const char *path)
{
    signal(SIGBUS, SIG_IGN);
    bitcask *db = open_and_cut(path, BITCASK_OPEN_GUARD_SIGBUS);
    raise(SIGBUS);
    MUST(store_check_number(db, 0, 1, SIZE) == BITCASK_CORRUPT);
    MUST(bitcask_close(db) == BITCASK_OK);
    MUST(signal(SIGBUS, SIG_DFL) == SIG_IGN);
}

START_TEST(test_a_sent_signal_is_ignored_as_ever)
{
    ck_assert_lived(status_of(ignored_signal, store_make_numbers(0)));
}
END_TEST

static sigjmp_buf back;
static volatile sig_atomic_t host_faults;
static struct sigaction below;

static void host_handler(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    host_faults++;
    siglongjmp(back, 1);
}

static void take_signal(void (*handler)(int, siginfo_t *, void *), struct sigaction *old)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    MUST(sigaction(SIGBUS, &action, old) == 0);
}

static bool is_taken_by(void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction now;
    return sigaction(SIGBUS, NULL, &now) == 0 && now.sa_sigaction == handler;
}

/* The host's handler, there before the store, gets what is not the store's, and is in place again afterwards: when the last
 * mapping has gone, which may be a view's. */
static void host_first(const char *path)
{
    volatile char *map = foreign_mapping(path);
    take_signal(host_handler, NULL);
    bitcask *db = open_and_cut(path, BITCASK_OPEN_GUARD_SIGBUS);
    MUST(!is_taken_by(host_handler));
    MUST(store_check_number(db, 0, 1, SIZE) == BITCASK_CORRUPT);
    MUST(host_faults == 0);
    if (sigsetjmp(back, 1) == 0)
        (void)map[0];
    MUST(host_faults == 1);
    bitcask_view view;
    bitcask_iter *it;
    MUST(bitcask_iter_new(db, NULL, &it) == BITCASK_OK);
    do {
        MUST(bitcask_iter_next(it) == BITCASK_OK);
    } while (bitcask_view_get(db, bitcask_iter_key(it).data, bitcask_iter_key(it).size, &view) != BITCASK_OK);
    bitcask_iter_free(it);
    MUST(bitcask_close(db) == BITCASK_OK);
    MUST(!is_taken_by(host_handler));
    bitcask_view_release(&view);
    MUST(is_taken_by(host_handler));
}

START_TEST(test_the_host_has_a_handler_already)
{
    ck_assert_lived(status_of(host_first, store_make_numbers(0)));
}
END_TEST

static void host_passes_on(int number, siginfo_t *info, void *context)
{
    host_faults++;
    below.sa_sigaction(number, info, context);
}

/* The host takes the signal later and passes it on: both work, the close leaves his handler alone, and a second store too. */
static void host_second(const char *path)
{
    bitcask *db = open_and_cut(path, BITCASK_OPEN_GUARD_SIGBUS);
    take_signal(host_passes_on, &below);
    MUST(store_check_number(db, 0, 1, SIZE) == BITCASK_CORRUPT);
    MUST(host_faults == 1);
    MUST(bitcask_close(db) == BITCASK_OK);
    MUST(is_taken_by(host_passes_on));
    bitcask_options o = store_options(0);
    o.flags |= BITCASK_OPEN_GUARD_SIGBUS;
    MUST(bitcask_open(store_file(path, "second"), &o, &db) == BITCASK_OK);
    for (unsigned i = 0; i < 60; i++)
        MUST(store_put_number(db, i, 1, SIZE) == BITCASK_OK);
    MUST(store_check_number(db, 0, 1, SIZE) == 0);
    MUST(truncate(store_file(store_file(path, "second"), store_nth(store_file(path, "second"), ".data", 0)), HEAD) == 0);
    MUST(store_check_number(db, 0, 1, SIZE) == BITCASK_CORRUPT);
    (void)bitcask_close(db);
}

START_TEST(test_the_host_takes_the_signal_later)
{
    ck_assert_lived(status_of(host_second, store_make_numbers(0)));
}
END_TEST

/* ---- threads, stores, forks ---- */

struct job {
    pthread_t thread;
    char path[280];
    bitcask *shared;
    int failed;
};

static void *open_read_close(void *arg)
{
    struct job *j = arg;
    bitcask_options o = store_options(0);
    o.flags |= BITCASK_OPEN_GUARD_SIGBUS | BITCASK_OPEN_READ_ONLY;
    for (unsigned round = 0; round < 20 && j->failed == 0; round++) {
        bitcask *db;
        j->failed = bitcask_open(j->path, &o, &db);
        for (unsigned i = 0; i < NUMBERS && j->failed == 0; i++)
            j->failed = store_check_number(db, i, 1, SIZE);
        for (unsigned i = 0; i < NUMBERS && j->failed == 0; i++) {
            int result = store_check_number(j->shared, i, 1, SIZE);
            j->failed = result == BITCASK_CORRUPT ? 0 : result;
        }
        if (bitcask_close(db) != BITCASK_OK)
            j->failed = __LINE__;
    }
    return NULL;
}

/* Faults in a store that all threads read, while they open and close others: mappings come and go beside the handler. */
START_TEST(test_threads_and_stores)
{
    struct sigaction before, after;
    ck_assert_int_eq(sigaction(SIGBUS, NULL, &before), 0);
    static char shared[256];
    struct job jobs[4];
    snprintf(shared, sizeof shared, "%s", store_make_numbers(0));
    for (unsigned i = 0; i < 4; i++) {
        jobs[i] = (struct job){.failed = 0};
        snprintf(jobs[i].path, sizeof jobs[i].path, "%s.%u", shared, i);
        store_copy_directory(shared, jobs[i].path);
    }
    bitcask *db = open_guarded(shared, 0);
    int results[NUMBERS];
    ck_assert_uint_eq(read_all(db, results), 0);
    for (unsigned i = 0; i < 2; i++)
        cut(store_file(shared, store_nth(shared, ".data", i)), HEAD);
    for (unsigned i = 0; i < 4; i++) {
        jobs[i].shared = db;
        ck_assert_int_eq(pthread_create(&jobs[i].thread, NULL, open_read_close, &jobs[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(jobs[i].thread, NULL), 0);
        ck_assert_msg(jobs[i].failed == 0, "%d", jobs[i].failed);
    }
    pid_t pid = fork();
    if (pid == 0) {
        /* The child's copy of the handle is refused, and a store of its own is guarded. */
        MUST(store_check_number(db, 0, 1, SIZE) == BITCASK_FORKED);
        MUST(bitcask_close(db) == BITCASK_OK);
        db = open_and_cut(jobs[0].path, BITCASK_OPEN_GUARD_SIGBUS);
        MUST(store_check_number(db, 0, 1, SIZE) == BITCASK_CORRUPT);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_lived(status);
    store_close(db);
    ck_assert_int_eq(sigaction(SIGBUS, NULL, &after), 0);
    ck_assert(before.sa_handler == after.sa_handler);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("guard");
    TCase *t = store_tcase("reads");
    store_add_test(t, test_a_file_is_cut_below_readers);
    store_add_test(t, test_a_file_is_cut_below_an_iterator);
    store_add_test(t, test_a_file_is_cut_below_a_view);
    suite_add_tcase(s, t);
    t = store_tcase("writes");
    tcase_add_loop_test(t, test_the_active_file_is_cut_below_a_put, 0, 2);
    tcase_add_test(t, test_the_active_file_is_cut_before_a_sync);
    tcase_add_test(t, test_the_log_callback_may_look_when_a_put_fails);
    suite_add_tcase(s, t);
    t = store_tcase("signal");
    tcase_add_test(t, test_without_the_guard_the_process_dies);
    tcase_add_test(t, test_foreign_faults_end_the_process_as_ever);
    tcase_add_test(t, test_a_sent_signal_ends_the_process_as_ever);
    tcase_add_test(t, test_a_sent_signal_is_ignored_as_ever);
    tcase_add_test(t, test_the_host_has_a_handler_already);
    tcase_add_test(t, test_the_host_takes_the_signal_later);
    tcase_add_test(t, test_threads_and_stores);
    suite_add_tcase(s, t);
    return s;
}
