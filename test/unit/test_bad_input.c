/* test_bad_input.c - what stands in the directory is not what the store left there: for each fault the result, what the failure
 * names, and a digest that proves that nothing was modified. Hint files and left-over files are no trouble. Damaged records and
 * files of others: test_damage.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bitcask/coding.h"
#include "bitcask/crc.h"
#include "bitcask/db.h"
#include "test/support/simdisk.h"
#include "test/support/store.h"

static const char first[] = "0000000001.data", second[] = "0000000002.data", hint[] = "0000000002.hint";

/* ---- faults ---- */

static void with_file(const char *path, void (*fn)(unsigned char *data, size_t size))
{
    size_t size;
    unsigned char *data = store_read_file(path, &size);
    fn(data, size);
    store_write_file(path, data, size);
    free(data);
}

static void seal_header(unsigned char *p)
{
    bc_put_u32(p + 4092, bc_crc32(0, p, 4092));
}

static void newer_data_version(unsigned char *p, size_t size)
{
    (void)size;
    bc_put_u32(p + 8, 2);
    seal_header(p);
}

static void unknown_data_flag(unsigned char *p, size_t size)
{
    (void)size;
    bc_put_u32(p + 20, 1U << 7);
    seal_header(p);
}

static void seal_manifest(unsigned char *p, size_t size)
{
    size_t body = bc_get_u32(p + 12);
    bc_put_u32(p + body - 4, bc_crc32(0, p, body - 4));
    memcpy(p + size / 2, p, body);
}

static void newer_manifest_version(unsigned char *p, size_t size)
{
    bc_put_u32(p + 8, 2);
    seal_manifest(p, size);
}

static void unknown_manifest_flag(unsigned char *p, size_t size)
{
    bc_put_u32(p + 20, 1U << 7);
    seal_manifest(p, size);
}

static void manifest_copies_differ(unsigned char *p, size_t size)
{
    unsigned char copy[4096];
    memcpy(copy, p, sizeof copy);
    bc_put_u64(p + 24, bc_get_u64(p + 24) + 1);
    seal_manifest(p, size);
    memcpy(p + size / 2, copy, bc_get_u32(copy + 12));
}

static void fault(const char *dir, const char *name, const char *what)
{
    const char *path = store_file(dir, name);
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    if (strcmp(what, "missing") == 0) {
        store_remove(path);
    } else if (strcmp(what, "symlink") == 0) {
        const char *elsewhere = store_file(dir, "elsewhere");
        ck_assert_int_eq(rename(path, elsewhere), 0);
        ck_assert_int_eq(symlink("elsewhere", path), 0);
    } else if (strcmp(what, "fifo") == 0) {
        store_remove(path);
        ck_assert_int_eq(mkfifo(path, 0600), 0);
    } else if (strcmp(what, "directory") == 0) {
        store_remove(path);
        ck_assert_int_eq(mkdir(path, 0700), 0);
    } else if (strcmp(what, "empty") == 0) {
        ck_assert_int_eq(truncate(path, 0), 0);
    } else if (strcmp(what, "a byte less") == 0) {
        ck_assert_int_eq(truncate(path, st.st_size - 1), 0);
    } else if (strcmp(what, "100 bytes") == 0) {
        ck_assert_int_eq(truncate(path, 100), 0);
    } else if (strcmp(what, "garbage") == 0) {
        unsigned char noise[9000];
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (unsigned char)(i * i >> 3);
        store_write_file(path, noise, sizeof noise);
    } else if (strcmp(what, "header bit") == 0) {
        store_flip(path, 60, 4);
    } else if (strcmp(what, "swapped") == 0) {
        const char *other = store_file(dir, strcmp(name, first) == 0 ? second : first), *tmp = store_file(dir, "tmp");
        ck_assert_int_eq(rename(path, tmp), 0);
        ck_assert_int_eq(rename(other, path), 0);
        ck_assert_int_eq(rename(tmp, other), 0);
    } else if (strcmp(what, "newer version") == 0) {
        with_file(path, strcmp(name, "MANIFEST") == 0 ? newer_manifest_version : newer_data_version);
    } else if (strcmp(what, "unknown flag") == 0) {
        with_file(path, strcmp(name, "MANIFEST") == 0 ? unknown_manifest_flag : unknown_data_flag);
    } else if (strcmp(what, "copies differ") == 0) {
        with_file(path, manifest_copies_differ);
    } else if (strcmp(what, "both copies") == 0) {
        store_flip(path, 50, 1);
        store_flip(path, (long)st.st_size / 2 + 50, 1);
    } else if (strcmp(what, "copy A") == 0) {
        store_flip(path, 50, 1);
    } else if (strcmp(what, "copy B") == 0) {
        store_flip(path, (long)st.st_size / 2 + 50, 1);
    } else if (strcmp(what, "first half") == 0) {
        ck_assert_int_eq(truncate(path, st.st_size / 2), 0);
    } else {
        ck_abort_msg("no such fault: %s", what);
    }
}

/* Every fault of a data file and of the MANIFEST; offset: where the failure must say it lies, -1: the file's size then. */
START_TEST(test_refused)
{
    static const struct {
        const char *name, *what;
        int result;
        long offset;
        const char *part; /* of the message */
    } cases[] = {
        {second, "missing", BITCASK_CORRUPT, 0, "missing"},
        {second, "symlink", BITCASK_CORRUPT, 0, "not a regular file"},
        {second, "fifo", BITCASK_CORRUPT, 0, "not a regular file"},
        {second, "directory", BITCASK_CORRUPT, 0, "not a regular file"},
        {second, "empty", BITCASK_CORRUPT, -1, "header"},
        {second, "100 bytes", BITCASK_CORRUPT, -1, "header"},
        {second, "a byte less", BITCASK_CORRUPT, -1, "bytes long"},
        {second, "garbage", BITCASK_CORRUPT, 0, "header"},
        {second, "header bit", BITCASK_CORRUPT, 0, "header"},
        {second, "swapped", BITCASK_CORRUPT, 0, "another file"},
        {second, "newer version", BITCASK_UNSUPPORTED, 0, "newer version"},
        {second, "unknown flag", BITCASK_UNSUPPORTED, 0, "newer version"},
        {"MANIFEST", "missing", BITCASK_CORRUPT, 0, "no MANIFEST"},
        {"MANIFEST", "symlink", BITCASK_CORRUPT, 0, "not a regular file"},
        {"MANIFEST", "fifo", BITCASK_CORRUPT, 0, "not a regular file"},
        {"MANIFEST", "directory", BITCASK_CORRUPT, 0, "not a regular file"},
        {"MANIFEST", "empty", BITCASK_CORRUPT, 0, "both copies"},
        {"MANIFEST", "100 bytes", BITCASK_CORRUPT, 0, "both copies"},
        {"MANIFEST", "garbage", BITCASK_CORRUPT, 0, "both copies"},
        {"MANIFEST", "both copies", BITCASK_CORRUPT, 0, "both copies"},
        {"MANIFEST", "copies differ", BITCASK_CORRUPT, 0, NULL},
        {"MANIFEST", "newer version", BITCASK_UNSUPPORTED, 0, "newer version"},
        {"MANIFEST", "unknown flag", BITCASK_UNSUPPORTED, 0, "newer version"},
    };
    const char *made = store_make_numbers(_i);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = store_path();
        store_copy_directory(made, path);
        fault(path, cases[i].name, cases[i].what);
        uint64_t digest = store_digest(path);
        for (unsigned round = 0; round < 4; round++) {
            bitcask_options o = store_options(_i);
            bitcask *db = NULL;
            o.flags |= (round & 1) != 0 ? BITCASK_OPEN_READ_ONLY : 0;
            o.load_threads = (round & 2) != 0 ? 1 : 4;
            int result = bitcask_open(path, &o, &db);
            ck_assert_msg(result == cases[i].result, "%s: %s: %s, %s", cases[i].name, cases[i].what, bitcask_errname(result),
                          bitcask_last_error()->message);
            ck_assert_ptr_null(db);
            /* Of two swapped files either may be met first. */
            if (strcmp(cases[i].what, "swapped") != 0)
                store_expect_failure(result, cases[i].name, cases[i].part);
            struct stat st;
            uint64_t offset = (uint64_t)cases[i].offset;
            if (cases[i].offset < 0) {
                ck_assert_int_eq(lstat(store_file(path, cases[i].name), &st), 0);
                offset = (uint64_t)st.st_size;
            }
            ck_assert_uint_eq(bitcask_last_error()->offset, offset);
            ck_assert_msg(store_digest(path) == digest, "%s: %s: the directory was modified", cases[i].name, cases[i].what);
        }
        store_remove(path);
    }
    store_check_numbers(made, 0, _i);
}
END_TEST

/* One copy of the MANIFEST is enough; no hint file is ever needed, nor trusted. */
START_TEST(test_no_trouble)
{
    static const char *const cases[][2] = {
        {"MANIFEST", "copy A"}, {"MANIFEST", "copy B"}, {"MANIFEST", "first half"}, {hint, "missing"},
        {hint, "symlink"},      {hint, "fifo"},         {hint, "directory"},        {hint, "empty"},
        {hint, "100 bytes"},    {hint, "a byte less"},  {hint, "garbage"},          {hint, "header bit"},
        {hint, "swapped"},      {"LOCK", "missing"},
    };
    const char *made = store_make_numbers(_i);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = store_path();
        store_copy_directory(made, path);
        if (strcmp(cases[i][1], "swapped") == 0)
            store_copy_file(store_file(path, "0000000001.hint"), store_file(path, hint));
        else
            fault(path, cases[i][0], cases[i][1]);
        uint64_t digest = store_digest(path);
        store_check_numbers(path, BITCASK_OPEN_READ_ONLY, _i);
        ck_assert_uint_eq(store_digest(path), digest);
        store_check_numbers(path, 0, _i);
        store_check_numbers(path, 0, 1 - _i);
        store_remove(path);
    }
}
END_TEST

/* ---- names ---- */

START_TEST(test_leftovers_go_foreign_names_stay)
{
    static const char *const ours[] = {"MANIFEST.tmp",    "0000000077.hint", "0000000077.hint.tmp", "0000000001.hint.tmp",
                                       "0000000001.data", "0000000090.data", "12345678901.hint"};
    static const char *const foreign[] = {"7.data",          "notes.txt",      "00000000077.data", "0000000077.data.bak",
                                          "0000000077.dat",  "000000077.hint", "LOCK.old",         "MANIFEST.old",
                                          "0000000000.data", "data",           ".hidden",          "0000000077.DATA"};
    const char *path = store_make_numbers(_i);
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    store_close(db);
    unsigned before = store_count(path, "");
    static const char zeros[9000];
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        store_write_file(store_file(path, ours[i]), zeros, i % 2 == 0 ? sizeof zeros : 0);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        store_write_file(store_file(path, foreign[i]), "x", 1);
    ck_assert_int_eq(mkdir(store_file(path, "subdirectory"), 0700), 0);
    uint64_t digest = store_digest(path);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    store_close(store_open(path, &o));
    ck_assert_uint_eq(store_digest(path), digest);
    o = store_options(_i);
    db = store_open(path, &o);
    store_expect(db, "a", "1");
    store_close(db);
    struct stat st;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        ck_assert_msg(stat(store_file(path, ours[i]), &st) != 0, "%s is still there", ours[i]);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        ck_assert_msg(stat(store_file(path, foreign[i]), &st) == 0 && st.st_size == 1, "%s is gone", foreign[i]);
    ck_assert_uint_eq(store_count(path, ""), before + sizeof foreign / sizeof foreign[0] + 1);
    /* No id that was seen is given out again. */
    db = store_open(path, &o);
    ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    store_close(db);
}
END_TEST

/* ---- places ---- */

START_TEST(test_places_where_no_store_can_be)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = NULL;
    store_write_file(path, "a file", 6);
    ck_assert_int_eq(bitcask_open(path, &o, &db), BITCASK_IO);
    store_expect_failure(BITCASK_IO, path, NULL);
    ck_assert_int_eq(bitcask_last_error()->sys_errno, ENOTDIR);
    size_t size;
    char *data = store_read_file(path, &size);
    ck_assert(size == 6 && memcmp(data, "a file", 6) == 0);
    free(data);
    const char *below = store_file(path, "below");
    ck_assert_int_eq(bitcask_open(below, &o, &db), BITCASK_IO);
    store_remove(path);
    ck_assert_int_eq(bitcask_open(store_file(path, "below"), &o, &db), BITCASK_IO);
    ck_assert_int_eq(bitcask_last_error()->sys_errno, ENOENT);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    ck_assert_int_eq(bitcask_open(store_file(path, "below"), &o, &db), BITCASK_NOT_FOUND);
    o = store_options(_i);
    path = store_make_numbers(_i);
    fault(path, "LOCK", "symlink");
    uint64_t digest = store_digest(path);
    ck_assert_int_eq(bitcask_open(path, &o, &db), BITCASK_CORRUPT);
    store_expect_failure(BITCASK_CORRUPT, "LOCK", NULL);
    ck_assert_uint_eq(store_digest(path), digest);
    ck_assert_ptr_null(db);
}
END_TEST

/* As another user: a store that may be read and not written opens read-only, and for writing it is an I/O error. */
START_TEST(test_no_permission)
{
    if (geteuid() != 0)
        return; /* only root can become somebody else */
    const char *path = store_make_numbers(_i), *closed = store_make_numbers(_i);
    static const char *const files[] = {".data", ".hint", "MANIFEST", "LOCK"};
    for (size_t i = 0; i < 4; i++) {
        const char *name;
        for (unsigned n = 0; (name = store_nth(path, files[i], n)) != NULL; n++)
            ck_assert_int_eq(chmod(store_file(path, name), 0444), 0);
    }
    ck_assert_int_eq(chmod(path, 0555), 0);
    uint64_t digest = store_digest(path);
    pid_t pid = fork();
    if (pid == 0) {
        bitcask *db = NULL;
        bitcask_options o = store_options(_i);
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(9);
        if (bitcask_open(path, &o, &db) != BITCASK_IO || bitcask_last_error()->sys_errno != EACCES)
            _exit(1);
        if (bitcask_open(closed, &o, &db) != BITCASK_IO || bitcask_last_error()->sys_errno != EACCES)
            _exit(2);
        if (bitcask_open(store_file(path, "new"), &o, &db) != BITCASK_IO || bitcask_last_error()->sys_errno != EACCES)
            _exit(3);
        o.flags |= BITCASK_OPEN_READ_ONLY;
        if (bitcask_open(closed, &o, &db) != BITCASK_IO)
            _exit(4);
        if (bitcask_open(path, &o, &db) != BITCASK_OK || store_check_number(db, 7, 1, STORE_NUMBER_SIZE) != 0)
            _exit(5);
        _exit(bitcask_close(db) == BITCASK_OK ? 0 : 6);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: status %d", status);
    ck_assert_uint_eq(store_digest(path), digest);
    ck_assert_int_eq(chmod(path, 0700), 0);
}
END_TEST

/* A file system that is mounted read-only. */
START_TEST(test_read_only_file_system)
{
    struct simdisk *disk = simdisk_new(1);
    const struct bc_environment environment = {simdisk_io(disk), true};
    bitcask_options o = store_options(_i);
    bitcask *db = NULL;
    ck_assert_int_eq(bc_db_open("/store", &o, &environment, &db), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    store_close(db);
    const struct simdisk_fault faults[] = {
        {.kinds = SIMDISK_OPEN, .name = "LOCK", .at = 1, .error = EROFS, .from = true},
        {.kinds = SIMDISK_CREATE | SIMDISK_WRITE | SIMDISK_RENAME | SIMDISK_UNLINK | SIMDISK_TRUNCATE | SIMDISK_ALLOCATE,
         .at = 1,
         .error = EROFS,
         .from = true}};
    simdisk_fail(disk, &faults[0]);
    simdisk_fail(disk, &faults[1]);
    uint64_t digest = simdisk_digest(disk, SIMDISK_VOLATILE);
    db = NULL;
    ck_assert_int_eq(bc_db_open("/store", &o, &environment, &db), BITCASK_IO);
    store_expect_failure(BITCASK_IO, "LOCK", NULL);
    ck_assert_int_eq(bitcask_last_error()->sys_errno, EROFS);
    ck_assert_ptr_null(db);
    uint64_t hits = simdisk_fail_hits(disk);
    ck_assert_uint_eq(hits, 1);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    ck_assert_int_eq(bc_db_open("/store", &o, &environment, &db), BITCASK_OK);
    store_expect(db, "a", "1");
    store_close(db);
    ck_assert_uint_eq(simdisk_fail_hits(disk), hits);
    ck_assert_uint_eq(simdisk_digest(disk, SIMDISK_VOLATILE), digest);
    simdisk_free(disk);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("bad_input");
    TCase *t = store_tcase("files");
    store_add_test(t, test_refused);
    store_add_test(t, test_no_trouble);
    store_add_test(t, test_leftovers_go_foreign_names_stay);
    suite_add_tcase(s, t);
    t = store_tcase("places");
    store_add_test(t, test_places_where_no_store_can_be);
    store_add_test(t, test_no_permission);
    store_add_test(t, test_read_only_file_system);
    suite_add_tcase(s, t);
    return s;
}
