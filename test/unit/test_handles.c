/* test_handles.c - descriptors and mappings of an open store: a budget of two over many files under readers, a process that
 * runs out of descriptors, close-on-exec, and nothing left open after close. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bitcask/db.h"
#include "test/support/simdisk.h"
#include "test/support/store.h"

#define FILES 50U
#define PER_FILE 5U
#define NUMBERS (FILES * PER_FILE)
#define SIZE 11000U

static void make_many_files(const char *path, int mode)
{
    bitcask_options o = store_options(mode);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < NUMBERS; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, SIZE), BITCASK_OK);
    store_close(db);
    ck_assert_uint_ge(store_count(path, ".data"), FILES);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *d = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(d);
    while (readdir(d) != NULL)
        count++;
    closedir(d);
    return count;
}

struct reader {
    bitcask *db;
    pthread_t thread;
    unsigned number, reads;
    atomic_bool *stop;
    int failed;
};

static void *read_at_random(void *arg)
{
    struct reader *r = arg;
    unsigned x = r->number * 2654435761U + 1;
    while (!atomic_load(r->stop) && r->failed == 0) {
        x = x * 1664525U + 1013904223U;
        unsigned i = (x >> 8) % NUMBERS;
        r->failed = store_check_number(r->db, i, 1, SIZE);
        r->reads++;
    }
    return NULL;
}

/* Every read opens a file and evicts another, under four readers and a writer that rotates. */
START_TEST(test_two_open_files_over_fifty)
{
    const char *path = store_path();
    make_many_files(path, _i);
    bitcask_options o = store_options(_i);
    o.max_open_files = 2;
    unsigned before = open_descriptors();
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < NUMBERS; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, SIZE), 0);
    ck_assert_uint_le(open_descriptors(), before + 8);
    struct reader r[4];
    atomic_bool stop = false;
    for (unsigned i = 0; i < 4; i++) {
        r[i] = (struct reader){.db = db, .number = i, .stop = &stop};
        ck_assert_int_eq(pthread_create(&r[i].thread, NULL, read_at_random, &r[i]), 0);
    }
    for (unsigned i = 0; i < 400 * store_scale(); i++) {
        ck_assert_int_eq(store_put_number(db, NUMBERS + i % 50, i, 1500), BITCASK_OK);
        ck_assert_int_eq(store_check_number(db, NUMBERS + i % 50, i, 1500), 0);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(r[i].thread, NULL), 0);
        ck_assert_int_eq(r[i].failed, 0);
        ck_assert_uint_gt(r[i].reads, 0);
    }
    store_close(db);
    ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

/* The same with clears beside it: files leave the table under the readers and their indices are used again. */
static void *read_or_miss(void *arg)
{
    struct reader *r = arg;
    for (unsigned i = r->number; !atomic_load(r->stop) && r->failed == 0; i++) {
        int result = store_check_number(r->db, i % 300, 1, 1000);
        r->failed = result == BITCASK_NOT_FOUND ? 0 : result;
        r->reads++;
    }
    return NULL;
}

START_TEST(test_clears_under_readers)
{
    bitcask_options o = store_options(_i);
    o.max_open_files = 2;
    bitcask *db = store_open(store_path(), &o);
    struct reader r[3];
    atomic_bool stop = false;
    for (unsigned i = 0; i < 3; i++) {
        r[i] = (struct reader){.db = db, .number = i * 100, .stop = &stop};
        ck_assert_int_eq(pthread_create(&r[i].thread, NULL, read_or_miss, &r[i]), 0);
    }
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 300; i++)
            ck_assert_int_eq(store_put_number(db, i, 1, 1000), BITCASK_OK);
        ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_join(r[i].thread, NULL), 0);
        ck_assert_int_eq(r[i].failed, 0);
    }
    store_close(db);
}
END_TEST

/* ---- out of descriptors ---- */

static void must(bool condition, int line)
{
    if (condition)
        return;
    fprintf(stderr, "line %d: %s\n", line, bitcask_last_error()->message);
    _exit(1);
}
#define MUST(condition) must(condition, __LINE__)

static void run_child(void (*child)(const char *path, int mode), const char *path, int mode)
{
    pid_t pid = fork();
    if (pid == 0) {
        child(path, mode);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: status %d", status);
}

/* No descriptor is left but those that are open. Returns how many it took. */
static unsigned take_all(int *taken, unsigned max)
{
    unsigned n = 0;
    while (n < max && (taken[n] = open("/dev/null", O_RDONLY)) >= 0)
        n++;
    return n;
}

static void set_limit(rlim_t n)
{
    const struct rlimit limit = {n, n};
    MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* Reads give back what the cache holds and go on; a write that needs a new file fails alone, and works once there is room. */
static void out_of_descriptors(const char *path, int mode)
{
    static int taken[256];
    bitcask_options o = store_options(mode);
    bitcask *db = NULL;
    o.max_open_files = 8;
    set_limit(64);
    MUST(bitcask_open(path, &o, &db) == BITCASK_OK);
    MUST(store_put_number(db, 10000, 1, 100) == BITCASK_OK);
    unsigned n = take_all(taken, 256);
    MUST(n > 0 && errno == EMFILE);
    for (unsigned i = 0; i < NUMBERS; i++)
        MUST(store_check_number(db, i, 1, SIZE) == 0);
    int result = BITCASK_OK;
    unsigned done = 0;
    n += take_all(taken + n, 256 - n);
    while (done < 500 && (result = store_put_number(db, 10000 + done, 1, 1000)) == BITCASK_OK) {
        done++;
        n += take_all(taken + n, 256 - n);
    }
    MUST(result == BITCASK_IO || result == BITCASK_OK);
    if (result == BITCASK_IO) {
        MUST(bitcask_last_error()->sys_errno == EMFILE);
        MUST(store_check_number(db, 10000 + done, 1, 1000) == BITCASK_NOT_FOUND);
    }
    for (unsigned i = 0; i < done; i++)
        MUST(store_check_number(db, 10000 + i, 1, 1000) == 0);
    while (n > 0)
        close(taken[--n]);
    for (unsigned i = 0; i < 500; i++)
        MUST(store_put_number(db, 10000 + i, 2, 1000) == BITCASK_OK);
    for (unsigned i = 0; i < 500; i++)
        MUST(store_check_number(db, 10000 + i, 2, 1000) == 0);
    MUST(bitcask_close(db) == BITCASK_OK);
    db = NULL;
    MUST(bitcask_open(path, &o, &db) == BITCASK_OK);
    for (unsigned i = 0; i < 500; i++)
        MUST(store_check_number(db, 10000 + i, 2, 1000) == 0);
    MUST(bitcask_close(db) == BITCASK_OK);
}

START_TEST(test_out_of_descriptors)
{
    const char *path = store_path();
    make_many_files(path, _i);
    run_child(out_of_descriptors, path, _i);
}
END_TEST

static int count_fold(bitcask_slice key, bitcask_slice value, const bitcask_key_info *info, void *ctx)
{
    (void)key;
    *(unsigned *)ctx += value.size == SIZE && info->value_size == SIZE;
    return 0;
}

static void read_all_ways(bitcask *db)
{
    bitcask_iter *it;
    bitcask_iter_options sorted = BITCASK_ITER_OPTIONS_INIT;
    sorted.flags = BITCASK_ITER_SORTED;
    for (unsigned way = 0; way < 2; way++) {
        unsigned count = 0;
        MUST(bitcask_iter_new(db, way == 0 ? NULL : &sorted, &it) == BITCASK_OK);
        while (bitcask_iter_next(it) == BITCASK_OK) {
            bitcask_slice value;
            bitcask_key_info info = BITCASK_KEY_INFO_INIT;
            MUST(bitcask_iter_info(it, &info) == BITCASK_OK && info.value_size == SIZE);
            MUST(bitcask_iter_value(it, &value) == BITCASK_OK && value.size == SIZE);
            count++;
        }
        bitcask_iter_free(it);
        MUST(count == NUMBERS);
    }
    unsigned folded = 0;
    MUST(bitcask_fold(db, NULL, count_fold, &folded) == BITCASK_OK && folded == NUMBERS);
    /* Keys as the iterator gives them, all at once: the views together hold more files than there are descriptors for. */
    static char keys[NUMBERS][32];
    static bitcask_slice slices[NUMBERS];
    static bitcask_view views[NUMBERS];
    static int results[NUMBERS];
    unsigned count = 0;
    sorted.flags = BITCASK_ITER_KEYS_ONLY;
    MUST(bitcask_iter_new(db, &sorted, &it) == BITCASK_OK);
    while (bitcask_iter_next(it) == BITCASK_OK) {
        bitcask_slice key = bitcask_iter_key(it);
        MUST(key.size <= sizeof keys[0] && count < NUMBERS);
        memcpy(keys[count], key.data, key.size);
        slices[count] = (bitcask_slice){keys[count], key.size};
        count++;
    }
    bitcask_iter_free(it);
    for (unsigned group = 0; group < NUMBERS; group += 25) {
        MUST(bitcask_get_many(db, slices + group, 25, views + group, results + group) == BITCASK_OK);
        for (unsigned i = group; i < group + 25; i++) {
            /* A view that is held keeps its descriptor: it may be the last one. */
            MUST(results[i] == BITCASK_OK || (results[i] == BITCASK_IO && bitcask_last_error()->sys_errno == EMFILE));
            MUST(results[i] != BITCASK_OK || views[i].size == SIZE);
            bitcask_view_release(&views[i]);
        }
        MUST(store_check_number(db, group, 1, SIZE) == 0);
    }
    for (unsigned i = 0; i < NUMBERS; i++) {
        MUST(bitcask_get_many(db, &slices[i], 1, &views[i], &results[i]) == BITCASK_OK && results[i] == BITCASK_OK);
        bitcask_view_release(&views[i]);
    }
    bitcask_snapshot *snapshot;
    MUST(bitcask_snapshot_new(db, &snapshot) == BITCASK_OK);
    for (unsigned i = 0; i < NUMBERS; i++) {
        MUST(bitcask_snapshot_view(snapshot, slices[i].data, slices[i].size, &views[i]) == BITCASK_OK);
        bitcask_view_release(&views[i]);
    }
    bitcask_snapshot_release(snapshot);
}

/* Iterators, folds, get_many and snapshots read on when there is not one descriptor left but what the cache gives back. */
static void walks_out_of_descriptors(const char *path, int mode)
{
    static int taken[256];
    bitcask_options o = store_options(mode);
    bitcask *db = NULL;
    o.max_open_files = 8;
    set_limit(64);
    MUST(bitcask_open(path, &o, &db) == BITCASK_OK);
    read_all_ways(db);
    unsigned n = take_all(taken, 256);
    MUST(n > 0 && errno == EMFILE);
    read_all_ways(db);
    while (n > 0)
        close(taken[--n]);
    MUST(bitcask_close(db) == BITCASK_OK);
}

START_TEST(test_walks_out_of_descriptors)
{
    const char *path = store_path();
    make_many_files(path, _i);
    run_child(walks_out_of_descriptors, path, _i);
}
END_TEST

/* A budget of one descriptor. */
START_TEST(test_walks_with_one_open_file)
{
    const char *path = store_path();
    make_many_files(path, _i);
    bitcask_options o = store_options(_i);
    o.max_open_files = 1;
    bitcask *db = store_open(path, &o);
    unsigned before = open_descriptors();
    read_all_ways(db);
    ck_assert_uint_le(open_descriptors(), before + 2);
    store_close(db);
}
END_TEST

/* A budget above what the process may open does not keep a store with many files shut. */
static void low_limit_at_open(const char *path, int mode)
{
    bitcask_options o = store_options(mode);
    bitcask *db = NULL;
    set_limit(32);
    MUST(bitcask_open(path, &o, &db) == BITCASK_OK);
    for (unsigned i = 0; i < NUMBERS; i++)
        MUST(store_check_number(db, i, 1, SIZE) == 0);
    MUST(bitcask_close(db) == BITCASK_OK);
}

START_TEST(test_open_with_fewer_descriptors_than_files)
{
    const char *path = store_path();
    make_many_files(path, _i);
    run_child(low_limit_at_open, path, _i);
}
END_TEST

/* Not one descriptor: open fails, leaves nothing open, and works later. */
static void no_descriptor_at_open(const char *path, int mode)
{
    bitcask_options o = store_options(mode);
    static int taken[256];
    o.max_open_files = 2;
    set_limit(64);
    unsigned all = take_all(taken, 256), failures = 0;
    for (unsigned given = 0; given < 12; given++) {
        bitcask *db = NULL;
        for (unsigned i = 0; i < given; i++)
            close(taken[--all]);
        int result = bitcask_open(path, &o, &db);
        if (result == BITCASK_OK) {
            MUST(store_check_number(db, 7, 1, SIZE) == 0);
            MUST(bitcask_close(db) == BITCASK_OK);
        } else {
            failures++;
            MUST(result == BITCASK_IO && bitcask_last_error()->sys_errno == EMFILE && db == NULL);
        }
        unsigned again = take_all(taken + all, 256 - all);
        MUST(again == given); /* nothing leaked */
        all += again;
    }
    MUST(failures > 0 && failures < 12);
}

START_TEST(test_no_descriptor_at_open)
{
    const char *path = store_path();
    make_many_files(path, _i);
    uint64_t digest = store_digest(path);
    run_child(no_descriptor_at_open, path, _i);
    ck_assert_uint_eq(store_digest(path), digest);
}
END_TEST

/* ---- the host ---- */

static void *nothing(void *unused)
{
    return unused;
}

/* The process's threads by id, at most `max`. A sanitizer's own thread starts with the first other one. */
static size_t list_threads(pid_t *ids, size_t max)
{
    DIR *tasks = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(tasks);
    size_t count = 0;
    for (const struct dirent *e = readdir(tasks); e != NULL; e = readdir(tasks))
        if (e->d_name[0] != '.' && count < max)
            ids[count++] = (pid_t)strtol(e->d_name, NULL, 10);
    closedir(tasks);
    return count;
}

static bool is_listed(pid_t id, const pid_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static unsigned long long blocked_signals(pid_t thread)
{
    char file[64], line[256];
    unsigned long long blocked = 0;
    snprintf(file, sizeof file, "/proc/self/task/%d/status", (int)thread);
    FILE *f = fopen(file, "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "SigBlk:", 7) == 0)
            blocked = strtoull(line + 7, NULL, 16);
    fclose(f);
    return blocked;
}

/* Close-on-exec on every descriptor; the caller's signal mask is what it was, the library's threads block all signals. */
START_TEST(test_descriptors_and_signals)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    pthread_t first;
    ck_assert_int_eq(pthread_create(&first, NULL, nothing, NULL), 0);
    ck_assert_int_eq(pthread_join(first, NULL), 0);
    pid_t others[64];
    size_t other_count = list_threads(others, 64);
    sigset_t before, after;
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
    bool ours[1024];
    for (int fd = 0; fd < 1024; fd++)
        ours[fd] = fcntl(fd, F_GETFD) >= 0;
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 200; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 1000), BITCASK_OK);
    unsigned seen = 0;
    for (int fd = 0; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags < 0 || ours[fd])
            continue;
        ck_assert_msg((flags & FD_CLOEXEC) != 0, "descriptor %d", fd);
        seen++;
    }
    ck_assert_uint_ge(seen, 4);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    for (int signal = 1; signal < SIGRTMAX; signal++)
        ck_assert_int_eq(sigismember(&before, signal), sigismember(&after, signal));
    pid_t threads[64];
    size_t count = list_threads(threads, 64), ours_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_listed(threads[i], others, other_count))
            continue;
        unsigned long long blocked = blocked_signals(threads[i]);
        ours_count++;
        for (int signal = 1; signal < 32; signal++)
            ck_assert_msg(signal == SIGKILL || signal == SIGSTOP || (blocked >> (signal - 1) & 1) != 0, "signal %d", signal);
    }
    ck_assert_uint_ge(ours_count, 1);
    store_close(db);
}
END_TEST

/* Nothing stays open or mapped after close, whatever was done. */
START_TEST(test_nothing_left_open)
{
    struct simdisk *disk = simdisk_new(1);
    const struct bc_environment environment = {simdisk_io(disk), true};
    bitcask_options o = store_options(_i);
    o.max_open_files = 3;
    for (unsigned round = 0; round < 3; round++) {
        bitcask *db = NULL;
        ck_assert_int_eq(bc_db_open("/store", &o, &environment, &db), BITCASK_OK);
        for (unsigned i = 0; i < 300; i++)
            ck_assert_int_eq(store_put_number(db, i, round, i % 10 == 0 ? 70000 : 700), BITCASK_OK);
        for (unsigned i = 0; i < 300; i++)
            ck_assert_int_eq(store_check_number(db, i, round, i % 10 == 0 ? 70000 : 700), 0);
        if (round == 1)
            ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
        store_close(db);
        ck_assert_uint_eq(simdisk_open_descriptors(disk), 0);
        ck_assert_uint_eq(simdisk_open_mappings(disk), 0);
    }
    char first[256];
    ck_assert_msg(simdisk_misuses(disk, first, sizeof first) == 0, "%s", first);
    simdisk_free(disk);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("handles");
    TCase *t = store_tcase("cache");
    store_add_test(t, test_two_open_files_over_fifty);
    store_add_test(t, test_clears_under_readers);
    suite_add_tcase(s, t);
    t = store_tcase("limits");
    store_add_test(t, test_out_of_descriptors);
    store_add_test(t, test_walks_out_of_descriptors);
    store_add_test(t, test_walks_with_one_open_file);
    store_add_test(t, test_open_with_fewer_descriptors_than_files);
    store_add_test(t, test_no_descriptor_at_open);
    suite_add_tcase(s, t);
    t = store_tcase("host");
    store_add_test(t, test_descriptors_and_signals);
    store_add_test(t, test_nothing_left_open);
    suite_add_tcase(s, t);
    return s;
}
