/* test_directory.c - bitcask/directory.h and bitcask/leftovers.h: which names are ours, what stands in the place of a file, the
 * lock, and which unlisted files may go. On a simulated disk. */
#include "bitcask/directory.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/format_record.h"
#include "bitcask/leftovers.h"
#include "test/support/simdisk.h"

START_TEST(test_canonical_names_only)
{
    static const struct {
        const char *name;
        enum bc_name_kind kind;
        uint64_t id;
    } cases[] = {
        {"MANIFEST", BC_NAME_MANIFEST, 0},
        {"LOCK", BC_NAME_LOCK, 0},
        {"MANIFEST.tmp", BC_NAME_TMP, 0},
        {"0000000001.data", BC_NAME_DATA, 1},
        {"0000000001.hint", BC_NAME_HINT, 1},
        {"0000000001.hint.tmp", BC_NAME_TMP, 1},
        {"9999999999.data", BC_NAME_DATA, 9999999999},
        {"10000000000.data", BC_NAME_DATA, 10000000000},
        {"18446744073709551615.data", BC_NAME_DATA, UINT64_MAX},
        {"18446744073709551616.data", BC_NAME_FOREIGN, 0},
        {"99999999999999999999.data", BC_NAME_FOREIGN, 0},
        {"0000000000.data", BC_NAME_FOREIGN, 0},
        {"00000000001.data", BC_NAME_FOREIGN, 0},
        {"1.data", BC_NAME_FOREIGN, 0},
        {"000000001.data", BC_NAME_FOREIGN, 0},
        {"0000000001", BC_NAME_FOREIGN, 0},
        {"0000000001.", BC_NAME_FOREIGN, 0},
        {"0000000001.dat", BC_NAME_FOREIGN, 0},
        {"0000000001.data ", BC_NAME_FOREIGN, 0},
        {"0000000001.data.tmp", BC_NAME_TMP, 1},
        {"0000000001.data.tmp.tmp", BC_NAME_FOREIGN, 0},
        {"0000000001.Data", BC_NAME_FOREIGN, 0},
        {" 0000000001.data", BC_NAME_FOREIGN, 0},
        {"+000000001.data", BC_NAME_FOREIGN, 0},
        {"-000000001.data", BC_NAME_FOREIGN, 0},
        {"0x00000001.data", BC_NAME_FOREIGN, 0},
        {"manifest", BC_NAME_FOREIGN, 0},
        {"MANIFEST.tmp2", BC_NAME_FOREIGN, 0},
        {"", BC_NAME_FOREIGN, 0},
        {".", BC_NAME_FOREIGN, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t id = 77;
        ck_assert_msg(bc_name_parse(cases[i].name, &id) == cases[i].kind, "%s", cases[i].name);
        ck_assert_msg(id == cases[i].id, "%s", cases[i].name);
    }
}
END_TEST

/* What is written is what is read, up to the largest id, in the room that is given. */
START_TEST(test_names_both_ways)
{
    static const uint64_t ids[] = {1, 9, 10, 4294967296, 9999999999, 10000000000, UINT64_MAX};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char name[BC_NAME_SIZE];
        uint64_t id = 0;
        bc_data_name(name, ids[i]);
        ck_assert(bc_name_parse(name, &id) == BC_NAME_DATA && id == ids[i]);
        bc_hint_name(name, ids[i]);
        ck_assert(bc_name_parse(name, &id) == BC_NAME_HINT && id == ids[i]);
        bc_hint_tmp_name(name, ids[i]);
        ck_assert(bc_name_parse(name, &id) == BC_NAME_TMP && id == ids[i]);
        ck_assert_uint_lt(strlen(name), BC_NAME_SIZE);
    }
}
END_TEST

static struct bc_directory open_on(struct simdisk *disk)
{
    struct bc_directory d;
    ck_assert_int_eq(bc_directory_open(&d, simdisk_io(disk), "/store", true, 0600), BITCASK_OK);
    return d;
}

START_TEST(test_open_and_lock)
{
    struct simdisk *disk = simdisk_new(1);
    struct bc_directory d, second;
    ck_assert_int_eq(bc_directory_open(&d, simdisk_io(disk), "/store", false, 0600), BITCASK_NOT_FOUND);
    d = open_on(disk);
    second = open_on(disk);
    ck_assert_int_eq(d.lock_fd, -1);
    ck_assert_int_eq(bc_directory_lock(&d), BITCASK_OK);
    ck_assert_int_eq(bc_directory_lock(&second), BITCASK_LOCKED);
    ck_assert_int_eq(second.lock_fd, -1);
    bc_directory_close(&d);
    ck_assert_int_eq(bc_directory_lock(&second), BITCASK_OK);
    bc_directory_close(&second);
    bc_directory_close(&second); /* harmless */
    uint64_t size;
    ck_assert_int_eq(simdisk_size(disk, "/store/LOCK", SIMDISK_VOLATILE, &size), 0); /* never deleted */
    ck_assert_uint_eq(simdisk_open_descriptors(disk), 0);
    simdisk_free(disk);
}
END_TEST

/* Every way an open can end, told apart: absent, something else in its place, an error. */
START_TEST(test_open_file_results)
{
    static const struct {
        int error, result;
    } cases[] = {{ENOENT, BITCASK_NOT_FOUND}, {ELOOP, BITCASK_CORRUPT},   {EINVAL, BITCASK_CORRUPT},  {EISDIR, BITCASK_CORRUPT},
                 {ENXIO, BITCASK_CORRUPT},    {EIO, BITCASK_IO},          {EACCES, BITCASK_IO},       {EMFILE, BITCASK_IO},
                 {ENOSPC, BITCASK_NO_SPACE},  {EDQUOT, BITCASK_NO_SPACE}, {ENOMEM, BITCASK_NO_MEMORY}};
    struct simdisk *disk = simdisk_new(1);
    struct bc_directory d = open_on(disk);
    ck_assert_int_eq(simdisk_write_file(disk, "/store/file", "x", 1), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct simdisk_fault fault = {.kinds = SIMDISK_OPEN, .name = "file", .at = 1, .error = cases[i].error};
        int fd = 77;
        simdisk_fail(disk, &fault);
        ck_assert_int_eq(bc_directory_open_file(&d, "file", 0, &fd), cases[i].result);
        ck_assert_int_eq(fd, 77);
        ck_assert_int_eq(bitcask_last_error()->sys_errno, cases[i].error);
        ck_assert_str_eq(bitcask_last_error()->file, "file");
        simdisk_fail_clear(disk);
    }
    ck_assert_int_eq(bc_directory_unlink(&d, "file"), BITCASK_OK);
    ck_assert_int_eq(bc_directory_unlink(&d, "file"), BITCASK_OK);
    bc_directory_close(&d);
    simdisk_free(disk);
}
END_TEST

static int stop_at_hint(enum bc_name_kind kind, uint64_t id, const char *name, void *arg)
{
    (void)id;
    (void)name;
    ++*(unsigned *)arg;
    return kind == BC_NAME_HINT ? 42 : 0;
}

START_TEST(test_each)
{
    struct simdisk *disk = simdisk_new(1);
    struct bc_directory d = open_on(disk);
    unsigned count = 0;
    ck_assert_int_eq(bc_directory_each(&d, stop_at_hint, &count), BITCASK_OK);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(simdisk_write_file(disk, "/store/0000000001.data", "x", 1), 0);
    ck_assert_int_eq(simdisk_write_file(disk, "/store/notes", "x", 1), 0);
    ck_assert_int_eq(bc_directory_each(&d, stop_at_hint, &count), BITCASK_OK);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(simdisk_write_file(disk, "/store/0000000001.hint", "x", 1), 0);
    ck_assert_int_eq(bc_directory_each(&d, stop_at_hint, &count), 42);
    const struct simdisk_fault fault = {.kinds = SIMDISK_DIR_LIST, .at = 1, .error = EIO};
    simdisk_fail(disk, &fault);
    ck_assert_int_eq(bc_directory_each(&d, stop_at_hint, &count), BITCASK_IO);
    bc_directory_close(&d);
    simdisk_free(disk);
}
END_TEST

/* ---- leftovers ---- */

static unsigned char bytes[3 * 4096];

static size_t make_file(uint64_t id, uint32_t kind, bool record)
{
    const struct bc_data_header h = {.name = {id, 99}, .kind = kind, .store = {{1}}};
    memset(bytes, 0, sizeof bytes);
    bc_data_header_encode(bytes, &h);
    if (!record)
        return sizeof bytes;
    struct bc_record r = {.sequence = 5, .type = BC_RECORD_PUT, .key_size = 1, .value_size = 1};
    unsigned char *at = bytes + BC_DATA_START;
    at[BC_RECORD_HEADER] = 'k';
    at[BC_RECORD_HEADER + 1] = 'v';
    bc_record_encode(at, &r, bc_record_seed(99, BC_DATA_START), at + BC_RECORD_HEADER, at + BC_RECORD_HEADER + 1);
    return sizeof bytes;
}

static int check_with(struct simdisk *disk, const char *name, size_t size, uint64_t next_id, uint64_t *ret_highest)
{
    struct bc_directory d = open_on(disk);
    struct bc_manifest m = {.next_id = next_id, .ceiling = 1};
    char path[64];
    snprintf(path, sizeof path, "/store/%s", name);
    ck_assert_int_eq(simdisk_write_file(disk, path, bytes, size), 0);
    int result = bc_leftovers_check(&d, &bc_allocator_default, &m, ret_highest);
    ck_assert_int_eq(simdisk_remove(disk, path), 0);
    bc_directory_close(&d);
    return result;
}

/* Unlisted and unknown to the MANIFEST: a file of the log with a record proves that a newer MANIFEST was there. What was never
 * listed holds none: cut off in its header, prepared and empty, or a merge's output. */
START_TEST(test_files_newer_than_the_manifest)
{
    struct simdisk *disk = simdisk_new(1);
    uint64_t highest = 0;
    ck_assert_int_eq(check_with(disk, "0000000007.data", make_file(7, BC_DATA_KIND_LOG, true), 7, &highest), BITCASK_CORRUPT);
    ck_assert_str_eq(bitcask_last_error()->file, "0000000007.data");
    ck_assert_uint_eq(highest, 0);
    ck_assert_int_eq(check_with(disk, "0000000007.data", make_file(7, BC_DATA_KIND_LOG, true), 8, &highest), BITCASK_OK);
    ck_assert_uint_eq(highest, 7);
    ck_assert_int_eq(check_with(disk, "0000000009.data", make_file(9, BC_DATA_KIND_LOG, false), 2, &highest), BITCASK_OK);
    ck_assert_uint_eq(highest, 9);
    ck_assert_int_eq(check_with(disk, "0000000009.data", make_file(9, BC_DATA_KIND_MERGE, true), 2, &highest), BITCASK_OK);
    (void)make_file(9, BC_DATA_KIND_LOG, true);
    ck_assert_int_eq(check_with(disk, "0000000009.data", 0, 2, &highest), BITCASK_OK);
    ck_assert_int_eq(check_with(disk, "0000000009.data", 100, 2, &highest), BITCASK_OK);
    ck_assert_int_eq(check_with(disk, "0000000009.data", BC_DATA_START, 2, &highest), BITCASK_OK);
    /* A damaged header over bytes that are not zero: nobody knows, so it is not thrown away. */
    (void)make_file(9, BC_DATA_KIND_LOG, true);
    bytes[50] ^= 1;
    ck_assert_int_eq(check_with(disk, "0000000009.data", sizeof bytes, 2, &highest), BITCASK_CORRUPT);
    /* No other name is looked into. */
    ck_assert_int_eq(check_with(disk, "0000000009.hint", sizeof bytes, 2, &highest), BITCASK_OK);
    ck_assert_int_eq(check_with(disk, "9.data", sizeof bytes, 2, &highest), BITCASK_OK);
    simdisk_free(disk);
}
END_TEST

START_TEST(test_what_is_removed)
{
    static const char *const names[] = {
        "0000000001.data", "0000000001.hint",     "0000000002.data", "0000000002.hint", "0000000003.hint",
        "MANIFEST.tmp",    "0000000001.hint.tmp", "notes",           "MANIFEST",        "LOCK"};
    struct simdisk *disk = simdisk_new(1);
    struct bc_directory d = open_on(disk);
    struct bc_manifest_file file = {.name = {1, 99}, .state = BC_MANIFEST_SEALED, .end = BC_DATA_START};
    struct bc_manifest m = {.next_id = 9, .count = 1, .files = &file};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "/store/%s", names[i]);
        ck_assert_int_eq(simdisk_write_file(disk, path, "x", 1), 0);
    }
    /* The directory as it was read must be on the disk before names leave on its word. */
    const struct simdisk_fault fault = {.kinds = SIMDISK_DIR_SYNC, .at = 1, .error = EIO};
    simdisk_fail(disk, &fault);
    ck_assert_uint_eq(bc_leftovers_remove(&d, &bc_allocator_default, &m), 0);
    ck_assert_uint_eq(bc_leftovers_remove(&d, &bc_allocator_default, &m), 5);
    ck_assert_uint_eq(bc_leftovers_remove(&d, &bc_allocator_default, &m), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[64];
        uint64_t size;
        snprintf(path, sizeof path, "/store/%s", names[i]);
        ck_assert_int_eq(simdisk_size(disk, path, SIMDISK_VOLATILE, &size), i >= 2 && i < 7 ? ENOENT : 0);
    }
    bc_directory_close(&d);
    simdisk_free(disk);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("directory");
    TCase *t = tcase_create("names");
    tcase_add_test(t, test_canonical_names_only);
    tcase_add_test(t, test_names_both_ways);
    suite_add_tcase(s, t);
    t = tcase_create("files");
    tcase_add_test(t, test_open_and_lock);
    tcase_add_test(t, test_open_file_results);
    tcase_add_test(t, test_each);
    suite_add_tcase(s, t);
    t = tcase_create("leftovers");
    tcase_add_test(t, test_files_newer_than_the_manifest);
    tcase_add_test(t, test_what_is_removed);
    suite_add_tcase(s, t);
    return s;
}
