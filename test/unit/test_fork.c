/* A fork while a store is open: the child's copy is refused, its close frees memory only, and it does not keep the store locked
 * when the parent is gone (P15, P18). */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bitcask/db.h"
#include "bitcask/io_posix.h"
#include "test/support/store.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_BARE_CLONE /* the sanitizer takes the child's threads for its own */
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define NO_BARE_CLONE
#endif

static void must(bool condition)
{
    if (!condition)
        _exit(1);
}

static void in_child(bitcask *db, bitcask_snapshot *snapshot)
{
    void *value;
    size_t size;
    bitcask_stats stats = BITCASK_STATS_INIT;
    bitcask_view view;
    bitcask_iter *iter;
    must(bitcask_get(db, "a", 1, &value, &size) == BITCASK_FORKED);
    must(bitcask_put(db, "a", 1, "c", 1, NULL, NULL) == BITCASK_FORKED);
    must(bitcask_delete(db, "a", 1, NULL, NULL) == BITCASK_FORKED);
    must(bitcask_sync(db) == BITCASK_FORKED);
    must(bitcask_clear(db, 0) == BITCASK_FORKED);
    must(bitcask_stats_get(db, &stats) == BITCASK_FORKED);
    must(bitcask_view_get(db, "a", 1, &view) == BITCASK_FORKED);
    must(bitcask_snapshot_view(snapshot, "a", 1, &view) == BITCASK_FORKED);
    must(bitcask_iter_new(db, NULL, &iter) == BITCASK_FORKED);
    must(bitcask_close(db) == BITCASK_BUSY);
    bitcask_snapshot_release(snapshot);
    must(bitcask_close(db) == BITCASK_OK);
}

START_TEST(test_child_is_refused_and_holds_no_lock)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    bitcask_snapshot *snapshot;
    int gate[2], ready[2], status;
    char byte = 0;
    ck_assert_int_eq(bitcask_put(db, "a", 1, "b", 1, NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_snapshot_new(db, &snapshot), BITCASK_OK);
    ck_assert(pipe(gate) == 0 && pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(gate[1]);
        /* Its copy of the lock went when it first ran, which the parent must wait for. */
        must(write(ready[1], &byte, 1) == 1);
        in_child(db, snapshot);
        /* Lives on until the parent has closed and opened the store again. */
        must(read(gate[0], &byte, 1) == 1);
        _exit(0);
    }
    close(gate[0]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(bitcask_put(db, "a", 1, "d", 1, NULL, NULL), BITCASK_OK);
    bitcask_snapshot_release(snapshot);
    store_close(db);
    db = store_open(path, &o);
    char value[4];
    size_t size;
    ck_assert_int_eq(bitcask_read(db, "a", 1, value, sizeof value, &size), BITCASK_OK);
    ck_assert(size == 1 && value[0] == 'd');
    store_close(db);
    ck_assert_int_eq(write(gate[1], &byte, 1), 1);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(gate[1]);
    close(ready[0]);
    close(ready[1]);
}
END_TEST

#ifndef NO_BARE_CLONE
/* A child that the C library did not make: nothing told the store, and the page that the kernel wiped does. Its copy of the
 * lock goes with its close. */
START_TEST(test_child_of_a_bare_clone)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    bitcask_snapshot *snapshot;
    int gate[2], status;
    char byte = 0;
    ck_assert_int_eq(bitcask_put(db, "a", 1, "b", 1, NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_snapshot_new(db, &snapshot), BITCASK_OK);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    ck_assert_int_eq(pipe(gate), 0);
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        in_child(db, snapshot);
        must(write(gate[1], &byte, 1) == 1);
        /* A store of its own is the child's. */
        must(bitcask_open(store_file(path, "child"), &o, &db) == BITCASK_OK);
        must(bitcask_put(db, "a", 1, "b", 1, NULL, NULL) == BITCASK_OK);
        must(bitcask_close(db) == BITCASK_OK);
        close(gate[1]);
        pause();
    }
    close(gate[1]);
    ck_assert_int_eq(read(gate[0], &byte, 1), 1);
    ck_assert_int_eq(bitcask_put(db, "a", 1, "d", 1, NULL, NULL), BITCASK_OK);
    bitcask_snapshot_release(snapshot);
    store_close(db);
    db = store_open(path, &o);
    store_expect(db, "a", "d");
    store_close(db);
    ck_assert_int_eq(read(gate[0], &byte, 1), 0);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(gate[0]);
}
END_TEST
#endif

/* An iterator that the parent made has keys at hand, and a snapshot needs nothing of the disk: the child gets neither. */
START_TEST(test_child_is_refused_by_iterators_of_its_parent)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    bitcask_iter_options io = BITCASK_ITER_OPTIONS_INIT;
    bitcask_iter *iter;
    bitcask_slice value;
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 100), BITCASK_OK);
    ck_assert_int_eq(bitcask_snapshot_new(db, &io.snapshot), BITCASK_OK);
    io.flags = BITCASK_ITER_SORTED;
    ck_assert_int_eq(bitcask_iter_new(db, &io, &iter), BITCASK_OK);
    ck_assert_int_eq(bitcask_iter_next(iter), BITCASK_OK);
    ck_assert_int_eq(bitcask_iter_value(iter, &value), BITCASK_OK);
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        bitcask_iter *another;
        must(bitcask_iter_new(db, &io, &another) == BITCASK_FORKED);
        must(bitcask_iter_value(iter, &value) == BITCASK_FORKED);
        must(bitcask_iter_info(iter, &info) == BITCASK_FORKED);
        must(bitcask_iter_next(iter) == BITCASK_FORKED);
        bitcask_iter_free(iter);
        bitcask_snapshot_release(io.snapshot);
        must(bitcask_close(db) == BITCASK_OK);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_int_eq(bitcask_iter_next(iter), BITCASK_OK);
    bitcask_iter_free(iter);
    bitcask_snapshot_release(io.snapshot);
    store_close(db);
}
END_TEST

static int maps;

static void *counting_map(void *ctx, size_t size)
{
    void *memory = bc_io_posix.memory_map(ctx, size);
    maps += memory != NULL;
    return memory;
}

static void *counting_map_huge(void *ctx, size_t size)
{
    void *memory = bc_io_posix.memory_map_huge(ctx, size);
    maps += memory != NULL;
    return memory;
}

static void counting_unmap(void *ctx, void *memory, size_t size)
{
    maps--;
    bc_io_posix.memory_unmap(ctx, memory, size);
}

/* A child that lives on after its close keeps nothing: also not what a store with a limit notes its reads in. */
START_TEST(test_close_in_a_child_frees_all_memory)
{
    struct bc_io io = bc_io_posix;
    io.memory_map = counting_map;
    io.memory_map_huge = counting_map_huge;
    io.memory_unmap = counting_unmap;
    const struct bc_environment environment = {.io = &io, .inlined = true};
    bitcask_options o = store_options(_i);
    o.max_bytes = 1 << 20;
    bitcask *db;
    ck_assert_int_eq(bc_db_open(store_path(), &o, &environment, &db), BITCASK_OK);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 100), BITCASK_OK);
    int status;
    ck_assert_int_gt(maps, 0);
    pid_t pid = fork();
    if (pid == 0) {
        must(bitcask_close(db) == BITCASK_OK);
        _exit(maps == 0 ? 0 : 2);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    store_close(db);
    ck_assert_int_eq(maps, 0);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("fork");
    TCase *t = tcase_create("fork");
    tcase_add_loop_test(t, test_child_is_refused_and_holds_no_lock, 0, 2);
    tcase_add_loop_test(t, test_child_is_refused_by_iterators_of_its_parent, 0, 2);
    tcase_add_loop_test(t, test_close_in_a_child_frees_all_memory, 0, 2);
#ifndef NO_BARE_CLONE
    tcase_add_loop_test(t, test_child_of_a_bare_clone, 0, 2);
#endif
    suite_add_tcase(s, t);
    return s;
}
