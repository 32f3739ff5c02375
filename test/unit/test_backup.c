/* test_backup.c - a backup holds all that was written before it and shares nothing that anybody still writes; the next one
 * brings what is new; what stands in the directory is never harmed by a call that fails. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bitcask/db.h"
#include "test/support/store.h"

#define SIZE STORE_NUMBER_SIZE

static bitcask_backup_result backup_flags(bitcask *db, const char *to, uint32_t flags, int expected)
{
    bitcask_backup_options o = BITCASK_BACKUP_OPTIONS_INIT;
    bitcask_backup_result r = BITCASK_BACKUP_RESULT_INIT;
    o.flags = flags;
    o.result = &r;
    int result = bitcask_backup(db, to, &o);
    ck_assert_msg(result == expected, "%s: %s", bitcask_errname(result), bitcask_last_error()->message);
    return r;
}

static bitcask_backup_result backup(bitcask *db, const char *to)
{
    return backup_flags(db, to, 0, BITCASK_OK);
}

static void put_numbers(bitcask *db, unsigned from, unsigned until, unsigned version)
{
    for (unsigned i = from; i < until; i++)
        ck_assert_int_eq(store_put_number(db, i, version, SIZE), BITCASK_OK);
}

static void check_open(bitcask *db, unsigned from, unsigned until, unsigned version)
{
    for (unsigned i = from; i < until; i++)
        ck_assert_msg(store_check_number(db, i, version, SIZE) == 0, "key %u: %s", i, bitcask_last_error()->message);
}

static uint64_t keys(bitcask *db)
{
    bitcask_stats s = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(db, &s), BITCASK_OK);
    return s.keys;
}

/* The numbers [0, count) of one version, and nothing else. */
static void check_numbers(const char *path, unsigned count, unsigned version, int mode)
{
    for (uint32_t flags = 0; flags <= BITCASK_OPEN_READ_ONLY; flags += BITCASK_OPEN_READ_ONLY) {
        bitcask_options o = store_options(mode);
        o.flags |= BITCASK_OPEN_READ_ONLY - flags;
        bitcask *db = store_open(path, &o);
        ck_assert_uint_eq(keys(db), count);
        check_open(db, 0, count, version);
        store_close(db);
    }
}

static struct stat stat_of(const char *dir, const char *name)
{
    struct stat st;
    ck_assert_msg(stat(store_file(dir, name), &st) == 0, "%s/%s", dir, name);
    return st;
}

static bitcask *open_store(const char *path, int mode)
{
    bitcask_options o = store_options(mode);
    o.flags |= BITCASK_OPEN_NO_MERGE;
    return store_open(path, &o);
}

static bitcask *open_numbers(const char **ret_path, unsigned count, int mode)
{
    *ret_path = store_path();
    bitcask *db = open_store(*ret_path, mode);
    put_numbers(db, 0, count, 1);
    return db;
}

START_TEST(test_holds_all_that_was_written_before)
{
    const char *path, *to = store_path();
    bitcask *db = open_numbers(&path, 60, _i);
    bitcask_batch *b;
    ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
    ck_assert_int_eq(bitcask_batch_put(b, "first", 5, "1", 1, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_batch_put(b, "second", 6, "2", 1, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    bitcask_batch_free(b);
    ck_assert_int_eq(bitcask_delete(db, "key000003", 9, NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(store_put_flags(db, "expires", "x", 0, 0, bitcask_now_ms(db) + 1000000, NULL), BITCASK_OK);
    bitcask_stats s = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(db, &s), BITCASK_OK);
    bitcask_backup_result r = backup(db, to);
    ck_assert_uint_eq(r.sequence, s.last_sequence);
    ck_assert_uint_ge(r.linked, 2);
    ck_assert_uint_le(r.copied, 2); /* the tail, and what was not sealed yet */
    ck_assert_uint_ge(r.copied, 1);
    ck_assert_uint_eq(r.linked + r.copied, r.files);
    ck_assert_uint_eq(r.kept + r.removed, 0);
    ck_assert_uint_eq(store_count(to, ".data"), r.files);
    ck_assert_uint_eq(store_count(to, ".tmp"), 0);
    /* Neither what follows nor the store's end touches it. */
    ck_assert_int_eq(store_put(db, "later", "x"), BITCASK_OK);
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
    store_close(db);
    store_remove(path);
    db = open_store(to, _i);
    ck_assert_uint_eq(keys(db), 59 + 3);
    check_open(db, 0, 3, 1);
    check_open(db, 4, 60, 1);
    store_expect(db, "key000003", NULL);
    store_expect(db, "first", "1");
    store_expect(db, "second", "2");
    store_expect(db, "expires", "x");
    store_expect(db, "later", NULL);
    store_close(db);
}
END_TEST

START_TEST(test_links_what_is_sealed_and_copies_the_tail)
{
    const char *path, *to = store_path(), *whole = store_path();
    bitcask *db = open_numbers(&path, 60, _i);
    const char *tail = store_nth(path, ".data", store_count(path, ".data") - 1);
    bitcask_backup_result r = backup(db, to);
    ck_assert_uint_eq(stat_of(to, store_nth(to, ".data", 0)).st_nlink, 2);
    ck_assert_uint_eq(stat_of(to, store_nth(to, ".data", 0)).st_ino, stat_of(path, store_nth(path, ".data", 0)).st_ino);
    ck_assert_uint_eq(stat_of(path, tail).st_nlink, 1);
    r = backup_flags(db, whole, BITCASK_BACKUP_NO_LINK, BITCASK_OK);
    ck_assert_uint_eq(r.linked, 0);
    ck_assert_uint_eq(r.copied, r.files);
    ck_assert_uint_eq(r.bytes_copied, r.bytes);
    for (unsigned i = 0; i < store_count(whole, ".data"); i++)
        ck_assert_uint_eq(stat_of(whole, store_nth(whole, ".data", i)).st_nlink, 1);
    for (unsigned i = 0; i < store_count(whole, ".hint"); i++)
        ck_assert_uint_eq(stat_of(whole, store_nth(whole, ".hint", i)).st_nlink, 1);
    ck_assert_uint_eq(stat_of(whole, "MANIFEST").st_mode & 0777, 0600);
    ck_assert_uint_eq(stat_of(whole, store_nth(whole, ".data", 0)).st_mode & 0777, 0600);
    store_close(db);
    check_numbers(whole, 60, 1, _i);
    check_numbers(to, 60, 1, _i);
}
END_TEST

/* The two go their own ways, and merge, clear, close and open as they please. */
START_TEST(test_store_and_backup_can_both_be_written_to)
{
    const char *path, *to = store_path();
    bitcask *db = open_numbers(&path, 60, _i);
    backup(db, to);
    bitcask *copy = open_store(to, _i);
    for (unsigned round = 2; round < 4; round++) {
        put_numbers(db, 0, 60, round);
        put_numbers(copy, 0, 40, 10 + round);
        if (round % 2 == 0) {
            ck_assert_int_eq(bitcask_merge(copy, NULL, NULL), BITCASK_OK);
            store_close(db);
            db = open_store(path, _i);
        } else {
            ck_assert_int_eq(bitcask_merge(db, NULL, NULL), BITCASK_OK);
            store_close(copy);
            copy = open_store(to, _i);
        }
        check_open(db, 0, 60, round);
        check_open(copy, 0, 40, 10 + round);
        check_open(copy, 40, 60, 1);
    }
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
    check_open(copy, 0, 40, 13);
    store_close(db);
    store_close(copy);
    db = open_store(path, _i);
    ck_assert_uint_eq(keys(db), 0);
    store_close(db);
    copy = open_store(to, _i);
    ck_assert_uint_eq(keys(copy), 60);
    check_open(copy, 0, 40, 13);
    check_open(copy, 40, 60, 1);
    store_close(copy);
}
END_TEST

/* An open store of its own, killed: the next open gives back the space behind the ends that it knows. */
static void write_and_die(const char *path, int mode)
{
    pid_t child = fork();
    if (child == 0) {
        bitcask *db = NULL;
        bitcask_options o = store_options(mode);
        if (bitcask_open(path, &o, &db) != BITCASK_OK || store_put(db, "child", "x") != BITCASK_OK)
            _exit(1);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

/* What an interrupted backup leaves: the store's own file, grown and sealed, under the name of the shorter copy that the
 * earlier backup lists. If that is now opened as a store, nothing of the shared file may be given back. */
START_TEST(test_a_linked_file_is_never_trimmed)
{
    const char *path, *to = store_path();
    bitcask *db = open_numbers(&path, 5, _i);
    backup(db, to);
    const char *name = store_nth(to, ".data", 0);
    off_t before = stat_of(to, name).st_size;
    put_numbers(db, 0, 60, 1);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    off_t after = stat_of(path, name).st_size;
    ck_assert_int_gt(after, before);
    char old[512], new[512];
    snprintf(old, sizeof old, "%s", store_file(path, name));
    snprintf(new, sizeof new, "%s", store_file(to, name));
    ck_assert_int_eq(unlink(new), 0);
    ck_assert_int_eq(link(old, new), 0);
    write_and_die(to, _i);
    bitcask *copy = open_store(to, _i);
    store_expect(copy, "child", "x");
    check_open(copy, 0, 5, 1);
    ck_assert_uint_eq(keys(copy), 6);
    store_close(copy);
    ck_assert_int_eq(stat_of(path, name).st_size, after);
    store_close(db);
    check_numbers(path, 60, 1, _i);
}
END_TEST

START_TEST(test_the_next_one_brings_what_is_new)
{
    const char *path, *to = store_path();
    bitcask *db = open_numbers(&path, 60, _i);
    bitcask_backup_result first = backup(db, to), r = backup(db, to);
    ck_assert_uint_eq(r.kept, first.files);
    ck_assert_uint_eq(r.linked + r.copied + r.removed, 0);
    put_numbers(db, 60, 61, 1);
    r = backup(db, to); /* a tail that grew */
    ck_assert_uint_le(r.linked + r.copied, 2);
    ck_assert_uint_ge(r.copied, 1);
    check_numbers(to, 61, 1, _i);
    put_numbers(db, 0, 61, 2);
    r = backup(db, to);
    ck_assert_uint_ge(r.kept, 1);
    ck_assert_uint_ge(r.linked, 1);
    check_numbers(to, 61, 2, _i);
    /* What a merge took away leaves the backup, too. */
    ck_assert_int_eq(bitcask_merge(db, NULL, NULL), BITCASK_OK);
    r = backup(db, to);
    ck_assert_uint_ge(r.removed, 3);
    ck_assert_uint_eq(store_count(to, ".data"), r.files);
    check_numbers(to, 61, 2, _i);
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
    r = backup(db, to);
    ck_assert_uint_eq(r.files, store_count(to, ".data"));
    ck_assert_uint_le(r.files, 1);
    check_numbers(to, 0, 0, _i);
    put_numbers(db, 0, 60, 3);
    backup(db, to);
    check_numbers(to, 60, 3, _i);
    store_close(db);
}
END_TEST

/* A clean close leaves a file that the next open goes on in: it is no link, so it can go on, and the backup follows. */
START_TEST(test_follows_a_file_that_goes_on)
{
    const char *path, *to = store_path();
    bitcask *db = open_numbers(&path, 3, _i);
    for (unsigned n = 4; n < 6; n++) {
        store_close(db);
        bitcask_options o = store_options(_i);
        o.flags |= BITCASK_OPEN_READ_ONLY;
        bitcask *reader = store_open(path, &o);
        backup(reader, to);
        store_close(reader);
        check_numbers(to, n - 1, 1, _i);
        db = open_store(path, _i);
        backup(db, to);
        put_numbers(db, n - 1, n, 1);
        ck_assert_uint_eq(store_count(path, ".data"), 1);
        backup(db, to);
        check_numbers(to, n, 1, _i);
    }
    store_close(db);
}
END_TEST

/* A read-only handle's backup shows what the handle shows, whatever the writer does meanwhile. */
START_TEST(test_of_a_read_only_handle_beside_a_writer)
{
    const char *path, *to = store_path(), *second = store_path();
    bitcask *db = open_numbers(&path, 60, _i);
    bitcask_options o = store_options(_i);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    bitcask *reader = store_open(path, &o);
    put_numbers(db, 0, 61, 2);
    bitcask_backup_result r = backup(reader, to);
    ck_assert_uint_ge(r.linked, 1);
    check_numbers(to, 60, 1, _i);
    ck_assert_int_eq(bitcask_merge(db, NULL, NULL), BITCASK_OK);
    r = backup(reader, second); /* names are gone: from what is open */
    ck_assert_uint_eq(r.linked, 0);
    check_numbers(second, 60, 1, _i);
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
    backup(reader, to);
    check_numbers(to, 60, 1, _i);
    store_close(reader);
    store_close(db);
}
END_TEST

static int find_written(const bitcask_file_info *info, void *ctx)
{
    *(uint64_t *)ctx = info->id;
    return info->state == BITCASK_FILE_OPEN && info->keys > 0;
}

/* Open files need not be the last ones of the list: merge outputs have higher ids. */
START_TEST(test_a_reader_links_no_file_that_a_writer_has_open)
{
    const char *path, *to = store_path();
    bitcask *db = open_numbers(&path, 61, _i);
    for (unsigned number = 0; number < 60; number += 2)
        put_numbers(db, number, number + 1, 2);
    ck_assert_int_eq(bitcask_merge(db, NULL, NULL), BITCASK_OK);
    put_numbers(db, 0, 1, 2);
    uint64_t id = 0;
    char active[32];
    ck_assert_int_eq(bitcask_each_file(db, find_written, &id), 1);
    snprintf(active, sizeof active, "%010llu.data", (unsigned long long)id);
    ck_assert_str_lt(active, store_nth(path, ".data", store_count(path, ".data") - 3));
    bitcask_options o = store_options(_i);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    bitcask *reader = store_open(path, &o);
    backup(reader, to);
    ck_assert_uint_eq(stat_of(path, active).st_nlink, 1);
    store_close(reader);
    store_close(db);
}
END_TEST

static bool other_file_system(const char *path)
{
    struct stat here, there;
    return stat("/dev/shm", &there) == 0 && stat(path, &here) == 0 && here.st_dev != there.st_dev &&
           access("/dev/shm", W_OK) == 0;
}

START_TEST(test_to_another_file_system_all_is_copied)
{
    const char *path;
    bitcask *db = open_numbers(&path, 60, _i);
    if (other_file_system(path)) {
        char to[] = "/dev/shm/bitcask-test-XXXXXX";
        ck_assert_ptr_nonnull(mkdtemp(to));
        bitcask_backup_result r = backup(db, to);
        ck_assert_uint_eq(r.linked, 0);
        put_numbers(db, 0, 60, 2);
        backup(db, to);
        check_numbers(to, 60, 2, _i);
        store_remove(to);
    }
    store_close(db);
}
END_TEST

/* ---- what is refused ---- */

static void expect_refusal(bitcask *db, const char *to, int expected, const char *part)
{
    uint64_t digest = store_digest(to);
    backup_flags(db, to, 0, expected);
    store_expect_failure(expected, NULL, part);
    ck_assert_uint_eq(store_digest(to), digest);
}

START_TEST(test_refuses_what_is_no_backup_of_it)
{
    const char *path, *other_path, *to = store_path(), *dir = store_path();
    bitcask *db = open_numbers(&path, 10, _i), *other = open_numbers(&other_path, 10, _i);
    backup_flags(db, path, 0, BITCASK_INVALID);
    backup_flags(db, "", 0, BITCASK_INVALID);
    backup_flags(db, to, 64, BITCASK_UNSUPPORTED);
    backup_flags(db, to, BITCASK_BACKUP_VERIFY_ALL | BITCASK_BACKUP_SKIP_LINKED, BITCASK_INVALID);
    ck_assert_int_ne(access(to, F_OK), 0);
    backup_flags(db, store_file(to, "below"), 0, BITCASK_IO);
    store_close(other);
    expect_refusal(db, other_path, BITCASK_CONDITION, "another store");
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    store_write_file(store_file(dir, "letter"), "x", 1);
    expect_refusal(db, dir, BITCASK_CONDITION, "not empty");
    store_remove(store_file(dir, "letter"));
    store_write_file(store_file(dir, "0000000001.data"), "x", 1);
    expect_refusal(db, dir, BITCASK_CONDITION, "not empty");
    backup_flags(db, store_file(dir, "0000000001.data"), 0, BITCASK_IO);
    /* A backup that lives on as a store is one. */
    backup(db, to);
    bitcask *copy = open_store(to, _i);
    backup_flags(db, to, 0, BITCASK_LOCKED);
    store_close(copy);
    backup(db, to);
    copy = open_store(to, _i);
    ck_assert_int_eq(store_put(copy, "mine", "x"), BITCASK_OK);
    store_close(copy);
    expect_refusal(db, to, BITCASK_CONDITION, "written to since");
    store_close(db);
}
END_TEST

START_TEST(test_refuses_a_handle_for_salvage)
{
    const char *path = store_make_numbers(_i), *to = store_path();
    bitcask_options o = store_options(_i);
    o.flags |= BITCASK_OPEN_SALVAGE;
    bitcask *db = store_open(path, &o);
    backup_flags(db, to, 0, BITCASK_INVALID);
    ck_assert_int_ne(access(to, F_OK), 0);
    store_close(db);
}
END_TEST

/* The store was restored from an older backup and went another way: the same id stands for two files. */
START_TEST(test_refuses_a_backup_of_another_way)
{
    const char *path, *older = store_path(), *newer = store_path();
    bitcask *db = open_numbers(&path, 60, _i);
    backup(db, older);
    put_numbers(db, 0, 60, 2);
    backup(db, newer);
    store_close(db);
    db = open_store(older, _i);
    put_numbers(db, 0, 60, 3);
    expect_refusal(db, newer, BITCASK_CONDITION, "another way");
    store_close(db);
    check_numbers(newer, 60, 2, _i);
}
END_TEST

START_TEST(test_restore_makes_a_store)
{
    const char *path, *to = store_path(), *restored = store_path();
    bitcask *db = open_numbers(&path, 60, _i);
    backup(db, to);
    bitcask_options o = store_options(_i);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    bitcask *reader = store_open(to, &o);
    bitcask_backup_result r = backup_flags(reader, restored, BITCASK_BACKUP_RESTORE, BITCASK_OK);
    ck_assert_uint_eq(r.copied, r.files);
    backup_flags(reader, restored, BITCASK_BACKUP_RESTORE, BITCASK_CONDITION);
    store_expect_failure(BITCASK_CONDITION, NULL, "a store is there");
    store_close(reader);
    expect_refusal(db, restored, BITCASK_CONDITION, "no backup");
    check_numbers(restored, 60, 1, _i);
    store_close(db);
}
END_TEST

/* ---- damage ---- */

START_TEST(test_damage_does_not_get_into_a_backup)
{
    const char *path, *to = store_path();
    bitcask *db = open_numbers(&path, 60, _i);
    backup(db, to);
    put_numbers(db, 0, 60, 2);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    unsigned count = store_count(path, ".data");
    const char *name = store_nth(path, ".data", count - 3);
    store_flip(store_file(path, name), 20000, 1);
    backup_flags(db, to, 0, BITCASK_CORRUPT);
    store_expect_failure(BITCASK_CORRUPT, name, "damaged at byte");
    check_numbers(to, 60, 1, _i);
    backup_flags(db, to, BITCASK_BACKUP_NO_LINK, BITCASK_CORRUPT);
    check_numbers(to, 60, 1, _i);
    backup_flags(db, to, BITCASK_BACKUP_SKIP_LINKED, BITCASK_OK);
    store_flip(store_file(path, name), 20000, 1);
    backup_flags(db, to, BITCASK_BACKUP_VERIFY_ALL, BITCASK_OK);
    check_numbers(to, 60, 2, _i);
    store_close(db);
}
END_TEST

START_TEST(test_verify_all_finds_rot_in_an_earlier_one)
{
    const char *path, *to = store_path();
    bitcask *db = open_numbers(&path, 60, _i);
    backup_flags(db, to, BITCASK_BACKUP_NO_LINK, BITCASK_OK);
    const char *name = store_nth(to, ".data", 0);
    store_flip(store_file(to, name), 20000, 1);
    backup(db, to);
    backup_flags(db, to, BITCASK_BACKUP_VERIFY_ALL, BITCASK_CORRUPT);
    store_expect_failure(BITCASK_CORRUPT, name, "damaged at byte");
    /* What is taken away comes anew. */
    store_remove(store_file(to, name));
    bitcask_backup_result r = backup_flags(db, to, BITCASK_BACKUP_VERIFY_ALL, BITCASK_OK);
    ck_assert_uint_eq(r.linked, 1);
    check_numbers(to, 60, 1, _i);
    store_close(db);
}
END_TEST

/* ---- cut off ---- */

struct stop {
    unsigned calls, at;
    char phases[2][16];
};

static int stop(const char *phase, uint64_t done, uint64_t total, void *ctx)
{
    struct stop *s = ctx;
    ck_assert_uint_le(done, total);
    snprintf(s->phases[strcmp(phase, "verify") == 0], 16, "%s", phase);
    return ++s->calls == s->at;
}

static int backup_until(bitcask *db, const char *to, struct stop *s)
{
    bitcask_backup_options o = BITCASK_BACKUP_OPTIONS_INIT;
    o.flags = BITCASK_BACKUP_NO_LINK;
    o.progress = stop;
    o.progress_ctx = s;
    return bitcask_backup(db, to, &o);
}

START_TEST(test_a_cancel_leaves_it_unfinished_and_the_next_completes_it)
{
    const char *path;
    bitcask *db = open_numbers(&path, 60, _i);
    for (unsigned at = 1;; at += 2) {
        const char *to = store_path();
        struct stop s = {.at = at};
        int result = backup_until(db, to, &s);
        if (result == BITCASK_OK) {
            ck_assert_str_eq(s.phases[0], "backup");
            ck_assert_str_eq(s.phases[1], "verify");
            ck_assert_uint_gt(at, 8);
            break;
        }
        ck_assert_int_eq(result, BITCASK_CANCELLED);
        bitcask *copy = NULL;
        bitcask_options o = store_options(_i);
        ck_assert_int_eq(bitcask_open(to, &o, &copy), BITCASK_UNSUPPORTED);
        store_expect_failure(BITCASK_UNSUPPORTED, "MANIFEST", "not finished");
        bitcask_backup_result r = backup(db, to);
        ck_assert_uint_eq(r.kept + r.linked + r.copied, r.files);
        check_numbers(to, 60, 1, _i);
    }
    store_close(db);
}
END_TEST

START_TEST(test_a_cancel_leaves_the_earlier_one_valid)
{
    const char *path, *to = store_path();
    bitcask *db = open_numbers(&path, 60, _i);
    backup(db, to);
    unsigned version = 1;
    for (unsigned at = 2;; at += 5) {
        put_numbers(db, 0, 60, version + 1);
        if (version % 2 == 0)
            ck_assert_int_eq(bitcask_merge(db, NULL, NULL), BITCASK_OK);
        struct stop s = {.at = at};
        int result = backup_until(db, to, &s);
        if (result == BITCASK_OK)
            break;
        ck_assert_int_eq(result, BITCASK_CANCELLED);
        check_numbers(to, 60, version, _i);
        backup(db, to);
        version++;
        check_numbers(to, 60, version, _i);
    }
    store_close(db);
}
END_TEST

struct within {
    bitcask *db;
    unsigned busy, failed;
};

static int backup_within(const char *phase, uint64_t done, uint64_t total, void *ctx)
{
    (void)phase;
    (void)done;
    (void)total;
    const char *to = store_path();
    struct within *w = ctx;
    int result = bitcask_backup(w->db, to, NULL);
    w->busy += result == BITCASK_BUSY;
    w->failed += result != BITCASK_BUSY && result != BITCASK_OK;
    return 0;
}

START_TEST(test_not_from_within_a_merge)
{
    bitcask_options options = store_options(_i);
    options.max_file_size = 4 << 20; /* progress is told of some hundred KiB at a time, within a step */
    struct within ctx = {store_open(store_path(), &options), 0, 0};
    put_numbers(ctx.db, 0, 900, 1);
    put_numbers(ctx.db, 0, 300, 2);
    bitcask_merge_options o = BITCASK_MERGE_OPTIONS_INIT;
    o.progress = backup_within;
    o.progress_ctx = &ctx;
    ck_assert_int_eq(bitcask_merge(ctx.db, &o, NULL), BITCASK_OK);
    ck_assert_uint_gt(ctx.busy, 0);
    ck_assert_uint_eq(ctx.failed, 0);
    /* Merges that stand still do not keep it waiting. */
    ck_assert_int_eq(bitcask_merge_pause(ctx.db), BITCASK_OK);
    backup(ctx.db, store_path());
    ck_assert_int_eq(bitcask_merge_resume(ctx.db), BITCASK_OK);
    store_close(ctx.db);
}
END_TEST

static int tell(const char *phase, uint64_t done, uint64_t total, void *ctx)
{
    (void)phase;
    (void)done;
    (void)total;
    return write(*(int *)ctx, "x", 1) == 1 ? 0 : 1;
}

/* Backups without end, a byte in the pipe for each step of them. */
static void back_up_for_ever(const char *path, const char *to, const bitcask_options *o, uint32_t flags, int pipe_end)
{
    bitcask_backup_options b = BITCASK_BACKUP_OPTIONS_INIT;
    bitcask *db;
    b.flags = flags;
    b.progress = tell;
    b.progress_ctx = &pipe_end;
    if (bitcask_open(path, o, &db) != BITCASK_OK)
        _exit(2);
    while (bitcask_backup(db, to, &b) == BITCASK_OK) {
    }
    _exit(1);
}

/* Killed in some step, again and again: each time the earlier backup is valid, or unfinished, and the next one succeeds. */
START_TEST(test_a_kill_leaves_the_earlier_one_valid)
{
    const char *path = store_make_numbers(_i), *to = store_path();
    bitcask_options o = store_options(_i);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    unsigned finished = 0;
    for (unsigned round = 0; round < 12; round++) {
        int ends[2];
        char byte;
        ck_assert_int_eq(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0)
            back_up_for_ever(path, to, &o, round % 2 == 0 ? BITCASK_BACKUP_NO_LINK : 0, ends[1]);
        for (unsigned i = 0; i <= (round * 5) % 33; i++)
            ck_assert_int_eq(read(ends[0], &byte, 1), 1);
        int status;
        kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status));
        close(ends[0]);
        close(ends[1]);
        bitcask *copy = NULL;
        int result = bitcask_open(to, &o, &copy);
        if (result == BITCASK_OK) {
            finished++;
            check_open(copy, 0, STORE_NUMBERS, 1);
            store_close(copy);
        } else {
            ck_assert_msg(result == BITCASK_UNSUPPORTED, "%s", bitcask_last_error()->message);
        }
        if (round % 4 == 3) {
            bitcask *db = store_open(path, &o);
            backup(db, to);
            store_close(db);
            check_numbers(to, STORE_NUMBERS, 1, _i);
            store_remove(to);
        }
    }
    ck_assert_uint_gt(finished, 0);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("backup");
    TCase *t = store_tcase("content");
    store_add_test(t, test_holds_all_that_was_written_before);
    store_add_test(t, test_links_what_is_sealed_and_copies_the_tail);
    store_add_test(t, test_store_and_backup_can_both_be_written_to);
    store_add_test(t, test_a_linked_file_is_never_trimmed);
    store_add_test(t, test_the_next_one_brings_what_is_new);
    store_add_test(t, test_follows_a_file_that_goes_on);
    store_add_test(t, test_of_a_read_only_handle_beside_a_writer);
    store_add_test(t, test_a_reader_links_no_file_that_a_writer_has_open);
    store_add_test(t, test_to_another_file_system_all_is_copied);
    suite_add_tcase(s, t);
    t = store_tcase("refused");
    store_add_test(t, test_refuses_what_is_no_backup_of_it);
    store_add_test(t, test_refuses_a_handle_for_salvage);
    store_add_test(t, test_refuses_a_backup_of_another_way);
    store_add_test(t, test_restore_makes_a_store);
    store_add_test(t, test_damage_does_not_get_into_a_backup);
    store_add_test(t, test_verify_all_finds_rot_in_an_earlier_one);
    store_add_test(t, test_not_from_within_a_merge);
    suite_add_tcase(s, t);
    t = store_tcase("cut off");
    store_add_test(t, test_a_cancel_leaves_it_unfinished_and_the_next_completes_it);
    store_add_test(t, test_a_cancel_leaves_the_earlier_one_valid);
    store_add_test(t, test_a_kill_leaves_the_earlier_one_valid);
    suite_add_tcase(s, t);
    return s;
}
