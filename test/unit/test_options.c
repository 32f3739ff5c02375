/* test_options.c - options of open and put, as bitcask.h promises them: the struct_size rule of both, every limit, every
 * contradiction, seconds given for milliseconds. What is refused leaves no trace on the disk and every out-parameter alone. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/support/store.h"

/* What a caller compiled against another version hands over. */
struct longer_options {
    bitcask_options known;
    uint64_t tail[4];
};

struct longer_put_options {
    bitcask_put_options known;
    uint64_t tail[4];
};

static int open_with(const bitcask_options *o)
{
    const char *path = store_path();
    bitcask *db = (bitcask *)0x1;
    struct stat st;
    int result = bitcask_open(path, o, &db);
    if (result == BITCASK_OK) {
        store_close(db);
        return result;
    }
    ck_assert_ptr_eq(db, (bitcask *)0x1);
    ck_assert_int_eq(bitcask_last_error()->result, result);
    ck_assert_msg(stat(path, &st) != 0, "a refused open made the directory");
    return result;
}

START_TEST(test_open_struct_size)
{
    bitcask_options o = store_options(_i);
    ck_assert_int_eq(open_with(&o), BITCASK_OK);
    ck_assert_int_eq(open_with(NULL), BITCASK_OK);

    /* Zeroed with its size set is valid; the size not set is not. */
    memset(&o, 0, sizeof o);
    ck_assert_int_eq(open_with(&o), BITCASK_INVALID);
    o.struct_size = sizeof o;
    ck_assert_int_eq(open_with(&o), BITCASK_OK);
    o.struct_size = sizeof(size_t) - 1;
    ck_assert_int_eq(open_with(&o), BITCASK_INVALID);

    /* A smaller struct: what lies behind its size is not looked at. */
    o = store_options(_i);
    o.max_file_size = 1;
    o.struct_size = offsetof(bitcask_options, max_file_size);
    ck_assert_int_eq(open_with(&o), BITCASK_OK);
    o.struct_size = sizeof(size_t);
    o.flags = ~0U;
    ck_assert_int_eq(open_with(&o), BITCASK_OK);

    /* A larger one. */
    struct longer_options longer = {.known = store_options(_i)};
    longer.known.struct_size = sizeof longer;
    ck_assert_int_eq(open_with(&longer.known), BITCASK_OK);
    longer.tail[3] = 1ULL << 63;
    ck_assert_int_eq(open_with(&longer.known), BITCASK_UNSUPPORTED);
    longer.known.struct_size = sizeof longer - 8;
    ck_assert_int_eq(open_with(&longer.known), BITCASK_OK);
}
END_TEST

START_TEST(test_init_functions)
{
    struct longer_options options;
    struct longer_put_options put;
    struct {
        bitcask_key_info known;
        uint64_t tail;
    } info;
    memset(&options, 0xff, sizeof options);
    memset(&put, 0xff, sizeof put);
    memset(&info, 0xff, sizeof info);
    bitcask_options_init(&options.known, sizeof options);
    bitcask_put_options_init(&put.known, sizeof put);
    bitcask_key_info_init(&info.known, sizeof info);
    ck_assert_uint_eq(options.known.struct_size, sizeof options);
    ck_assert_uint_eq(put.known.struct_size, sizeof put);
    ck_assert_uint_eq(info.known.struct_size, sizeof info);
    ck_assert_uint_eq(options.tail[3], 0);
    ck_assert_uint_eq(put.tail[3], 0);
    ck_assert_uint_eq(info.tail, 0);

    const bitcask_options by_macro = BITCASK_OPTIONS_INIT;
    bitcask_options by_function;
    bitcask_options_init(&by_function, sizeof by_function);
    ck_assert_int_eq(memcmp(&by_macro, &by_function, sizeof by_macro), 0);
    const bitcask_put_options put_by_macro = BITCASK_PUT_OPTIONS_INIT;
    bitcask_put_options put_by_function;
    bitcask_put_options_init(&put_by_function, sizeof put_by_function);
    ck_assert_int_eq(memcmp(&put_by_macro, &put_by_function, sizeof put_by_macro), 0);
}
END_TEST

START_TEST(test_open_flags)
{
    static const struct {
        uint32_t flags;
        int result;
    } cases[] = {
        {BITCASK_OPEN_EXCLUSIVE | BITCASK_OPEN_READ_ONLY, BITCASK_INVALID},
        {BITCASK_OPEN_EXCLUSIVE | BITCASK_OPEN_NO_CREATE, BITCASK_INVALID},
        {1U << 31, BITCASK_UNSUPPORTED},
        {1U << 20, BITCASK_UNSUPPORTED},
        {BITCASK_OPEN_EXCLUSIVE | BITCASK_OPEN_SALVAGE, BITCASK_INVALID},
        {BITCASK_OPEN_SALVAGE, BITCASK_NOT_FOUND},
        {BITCASK_OPEN_NO_CREATE, BITCASK_NOT_FOUND},
        {BITCASK_OPEN_READ_ONLY, BITCASK_NOT_FOUND},
        {BITCASK_OPEN_READ_ONLY | BITCASK_OPEN_NO_CREATE, BITCASK_NOT_FOUND},
        {BITCASK_OPEN_EXCLUSIVE, BITCASK_OK},
        {0, BITCASK_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bitcask_options o = store_options(_i);
        o.flags |= cases[i].flags;
        ck_assert_msg(open_with(&o) == cases[i].result, "flags %u", cases[i].flags);
    }
}
END_TEST

START_TEST(test_open_limits)
{
    static const struct {
        size_t offset;
        size_t size;
        uint64_t value;
        int result;
    } cases[] = {
#define FIELD(f) offsetof(bitcask_options, f), sizeof(((bitcask_options *)0)->f)
        {FIELD(sync_mode), BITCASK_SYNC_ALWAYS, BITCASK_OK},
        {FIELD(sync_mode), BITCASK_SYNC_INTERVAL, BITCASK_OK},
        {FIELD(sync_mode), BITCASK_SYNC_ALWAYS + 1, BITCASK_INVALID},
        {FIELD(sync_mode), UINT32_MAX, BITCASK_INVALID},
        {FIELD(max_file_size), 1, BITCASK_INVALID},
        {FIELD(max_file_size), 65536, BITCASK_OK},
        {FIELD(max_file_size), 16ULL << 30, BITCASK_OK},
        {FIELD(max_file_size), (16ULL << 30) + 1, BITCASK_INVALID},
        {FIELD(max_file_size), UINT64_MAX, BITCASK_INVALID},
        {FIELD(keydir_shards), 1, BITCASK_INVALID},
        {FIELD(keydir_shards), 32, BITCASK_INVALID},
        {FIELD(keydir_shards), 64, BITCASK_OK},
        {FIELD(keydir_shards), 65, BITCASK_INVALID},
        {FIELD(keydir_shards), 65536, BITCASK_OK},
        {FIELD(keydir_shards), 131072, BITCASK_INVALID},
        {FIELD(load_threads), 1, BITCASK_OK},
        {FIELD(load_threads), 64, BITCASK_OK},
        {FIELD(load_threads), 65, BITCASK_INVALID},
        {FIELD(file_mode), 0600, BITCASK_OK},
        {FIELD(file_mode), 0640, BITCASK_OK},
        {FIELD(file_mode), 0400, BITCASK_INVALID},
        {FIELD(file_mode), 01600, BITCASK_INVALID},
        {FIELD(max_open_files), 1, BITCASK_OK},
        {FIELD(max_open_files), UINT32_MAX, BITCASK_OK},
        {FIELD(sync_bytes), UINT64_MAX, BITCASK_OK},
#undef FIELD
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bitcask_options o = store_options(_i);
        memcpy((char *)&o + cases[i].offset, &cases[i].value, cases[i].size); /* little-endian, as the store's formats are */
        ck_assert_msg(open_with(&o) == cases[i].result, "case %zu: %s", i, bitcask_last_error()->message);
    }
    const bitcask_allocator no_function = {NULL, NULL};
    bitcask_options o = store_options(_i);
    o.allocator = &no_function;
    ck_assert_int_eq(open_with(&o), BITCASK_INVALID);
}
END_TEST

/* Rounding it to pages comes after the check. */
START_TEST(test_max_file_size_a_byte_below_64_kib)
{
    bitcask_options o = store_options(_i);
    o.max_file_size = 65535;
    ck_assert_int_eq(open_with(&o), BITCASK_INVALID);
    o.max_file_size = 61441;
    ck_assert_int_eq(open_with(&o), BITCASK_INVALID);
}
END_TEST

START_TEST(test_open_without_a_name)
{
    bitcask *db = (bitcask *)0x1;
    ck_assert_int_eq(bitcask_open(NULL, NULL, &db), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_open("", NULL, &db), BITCASK_INVALID);
    ck_assert_ptr_eq(db, (bitcask *)0x1);
    ck_assert_int_eq(bitcask_close(NULL), BITCASK_OK);
    bitcask_free(NULL);
    bitcask_batch_free(NULL);
}
END_TEST

/* Sessions are secrets: 0600 unless told otherwise; the umask counts. */
START_TEST(test_file_mode)
{
    for (unsigned round = 0; round < 2; round++) {
        const char *path = store_path();
        bitcask_options o = store_options(_i);
        o.file_mode = round == 0 ? 0 : 0660;
        umask(0022);
        bitcask *db = store_open(path, &o);
        ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
        store_close(db);
        static const char *const suffixes[] = {".data", ".hint", "MANIFEST", "LOCK"};
        for (size_t i = 0; i < 4; i++) {
            struct stat st;
            const char *name = store_nth(path, suffixes[i], 0);
            ck_assert_msg(name != NULL, "no %s", suffixes[i]);
            ck_assert_int_eq(stat(store_file(path, name), &st), 0);
            ck_assert_msg((st.st_mode & 0777) == (round == 0 ? 0600 : 0640), "%s: %o", name, st.st_mode & 0777);
        }
    }
}
END_TEST

/* ---- put and delete ---- */

static int put_with(bitcask *db, const bitcask_put_options *o)
{
    uint64_t sequence = 77;
    int result = bitcask_put(db, "k", 1, "v", 1, o, &sequence);
    ck_assert((result == BITCASK_OK) == (sequence != 77));
    return result;
}

START_TEST(test_put_struct_size)
{
    const char *path = store_path();
    bitcask_options options = store_options(_i);
    bitcask *db = store_open(path, &options);
    struct longer_put_options o = {.known = BITCASK_PUT_OPTIONS_INIT};
    ck_assert_int_eq(put_with(db, &o.known), BITCASK_OK);
    o.known.struct_size = 0;
    ck_assert_int_eq(put_with(db, &o.known), BITCASK_INVALID);
    o.known.struct_size = sizeof(size_t);
    o.known.flags = ~0U;
    ck_assert_int_eq(put_with(db, &o.known), BITCASK_OK);
    o.known.flags = 0;
    o.known.struct_size = sizeof o;
    ck_assert_int_eq(put_with(db, &o.known), BITCASK_OK);
    o.tail[0] = 1;
    ck_assert_int_eq(put_with(db, &o.known), BITCASK_UNSUPPORTED);
    ck_assert_int_eq(bitcask_delete(db, "k", 1, &o.known, NULL), BITCASK_UNSUPPORTED);
    o.known.struct_size = sizeof o.known;
    o.known.reserved = 1;
    ck_assert_int_eq(put_with(db, &o.known), BITCASK_UNSUPPORTED);
    store_expect(db, "k", "v");
    store_close(db);
}
END_TEST

#define SYNC BITCASK_PUT_SYNC
#define ABSENT BITCASK_PUT_IF_ABSENT
#define PRESENT BITCASK_PUT_IF_PRESENT
#define SEQUENCE BITCASK_PUT_IF_SEQUENCE
#define KEEP BITCASK_PUT_KEEP_TTL
#define LATER 4102444800000 /* the year 2100 */

START_TEST(test_put_flags_and_expiry)
{
    static const struct {
        uint32_t flags;
        int64_t expire_at_ms;
        int put, delete;
    } cases[] = {
        {ABSENT | PRESENT, 0, BITCASK_INVALID, BITCASK_INVALID},
        {ABSENT | SEQUENCE, 0, BITCASK_INVALID, BITCASK_INVALID},
        {PRESENT | SEQUENCE, 0, BITCASK_INVALID, BITCASK_INVALID},
        {ABSENT | KEEP, 0, BITCASK_INVALID, BITCASK_INVALID},
        {KEEP, LATER, BITCASK_INVALID, BITCASK_INVALID},
        {32, 0, BITCASK_UNSUPPORTED, BITCASK_UNSUPPORTED},
        {1U << 31, 0, BITCASK_UNSUPPORTED, BITCASK_UNSUPPORTED},
        {ABSENT, 0, BITCASK_CONDITION, BITCASK_INVALID},
        {SEQUENCE, 0, BITCASK_CONDITION, BITCASK_CONDITION},
        {PRESENT, 0, BITCASK_OK, BITCASK_INVALID},
        {KEEP, 0, BITCASK_OK, BITCASK_INVALID},
        {KEEP | PRESENT, 0, BITCASK_OK, BITCASK_INVALID},
        {SYNC, 0, BITCASK_OK, BITCASK_OK},
        {0, -1, BITCASK_INVALID, BITCASK_INVALID},
        {0, INT64_MIN, BITCASK_INVALID, BITCASK_INVALID},
        {0, 1, BITCASK_INVALID, BITCASK_INVALID},
        {0, 1800000000, BITCASK_INVALID, BITCASK_INVALID}, /* seconds */
        {0, 99999999999, BITCASK_INVALID, BITCASK_INVALID},
        {0, 100000000000, BITCASK_OK, BITCASK_INVALID}, /* the past: absent at once */
        {0, LATER, BITCASK_OK, BITCASK_INVALID},
        {0, INT64_MAX, BITCASK_OK, BITCASK_INVALID},
    };
    const char *path = store_path();
    bitcask_options options = store_options(_i);
    bitcask *db = store_open(path, &options);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_int_eq(store_put(db, "k", "old"), BITCASK_OK);
        bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
        o.flags = cases[i].flags;
        o.expire_at_ms = cases[i].expire_at_ms;
        int result = put_with(db, &o);
        ck_assert_msg(result == cases[i].put, "put, case %zu: %s", i, bitcask_errname(result));
        if (result != BITCASK_OK)
            store_expect(db, "k", "old");
        ck_assert_int_eq(store_put(db, "k", "old"), BITCASK_OK);
        result = bitcask_delete(db, "k", 1, &o, NULL);
        ck_assert_msg(result == cases[i].delete, "delete, case %zu: %s", i, bitcask_errname(result));
        store_expect(db, "k", result == BITCASK_OK ? NULL : "old");
    }
    store_close(db);
}
END_TEST

START_TEST(test_flags_of_the_others)
{
    const char *path = store_path();
    bitcask_options options = store_options(_i);
    bitcask *db = store_open(path, &options);
    bitcask_batch *b;
    ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "k", "v"), BITCASK_OK);
    ck_assert_int_eq(bitcask_batch_delete(b, "k", 1), BITCASK_OK);
    for (uint32_t flag = 2; flag != 0; flag <<= 1) {
        ck_assert_int_eq(bitcask_touch(db, "k", 1, 0, flag), BITCASK_INVALID);
        ck_assert_int_eq(bitcask_write(db, b, flag), BITCASK_INVALID);
        ck_assert_int_eq(bitcask_clear(db, flag), BITCASK_INVALID);
    }
    ck_assert_int_eq(bitcask_clear(db, 1), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_touch(db, "k", 1, 1800000000, 0), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_touch(db, "k", 1, -1, 0), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_batch_put(b, "k", 1, "v", 1, 1800000000), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_batch_put(b, "k", 1, NULL, 1, 0), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_batch_put(b, "", 0, "v", 1, 0), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_batch_delete(b, NULL, 1), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_put(db, "k", 1, NULL, 1, NULL, NULL), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_put(db, NULL, 1, "v", 1, NULL, NULL), BITCASK_INVALID);
    ck_assert_int_eq(bitcask_put(db, "k", 0, "v", 1, NULL, NULL), BITCASK_INVALID);
    store_expect(db, "k", "v");
    ck_assert_int_eq(bitcask_write(db, b, BITCASK_PUT_SYNC), BITCASK_OK);
    store_expect(db, "k", NULL);
    bitcask_batch_free(b);
    store_close(db);
}
END_TEST

/* A result struct without its size is refused before anything was done: a repair or a merge cannot be taken back. */
START_TEST(test_result_without_its_size_is_refused_first)
{
    const char *path = store_make_numbers(_i), *backup = store_path();
    bitcask_options o = store_options(_i);
    o.flags |= BITCASK_OPEN_NO_MERGE;
    bitcask *db = store_open(path, &o);
    bitcask_merge_result merged = {0};
    ck_assert_int_eq(bitcask_delete(db, "absent", 6, NULL, NULL), BITCASK_NOT_FOUND);
    ck_assert_int_eq(bitcask_merge(db, NULL, &merged), BITCASK_INVALID);
    bitcask_backup_result backed_up = {0};
    bitcask_backup_options bo = BITCASK_BACKUP_OPTIONS_INIT;
    bo.result = &backed_up;
    ck_assert_int_eq(bitcask_backup(db, backup, &bo), BITCASK_INVALID);
    ck_assert_int_ne(access(backup, F_OK), 0);
    bitcask_stats stats = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(db, &stats), BITCASK_OK);
    ck_assert_uint_eq(stats.merges + stats.merge_failures, 0);
    store_close(db);
    store_flip(store_file(path, "0000000002.data"), 30000, 1);
    store_remove(store_file(path, "0000000001.hint"));
    uint64_t digest = store_digest(path);
    bitcask_hint_result hints = {0};
    ck_assert_int_eq(bitcask_rebuild_hints(path, NULL, &hints), BITCASK_INVALID);
    bitcask_verify_result found = {0};
    ck_assert_int_eq(bitcask_verify(path, NULL, &found), BITCASK_INVALID);
    store_expect_failure(BITCASK_INVALID, "", "struct_size");
    ck_assert_int_eq(bitcask_repair(path, NULL, &found), BITCASK_INVALID);
    store_expect_failure(BITCASK_INVALID, "", "struct_size");
    ck_assert_uint_eq(store_digest(path), digest);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("options");
    TCase *t = store_tcase("open");
    store_add_test(t, test_open_struct_size);
    tcase_add_test(t, test_init_functions);
    store_add_test(t, test_open_flags);
    store_add_test(t, test_open_limits);
    store_add_test(t, test_max_file_size_a_byte_below_64_kib);
    tcase_add_test(t, test_open_without_a_name);
    store_add_test(t, test_file_mode);
    suite_add_tcase(s, t);
    t = store_tcase("write");
    store_add_test(t, test_put_struct_size);
    store_add_test(t, test_put_flags_and_expiry);
    store_add_test(t, test_flags_of_the_others);
    store_add_test(t, test_result_without_its_size_is_refused_first);
    suite_add_tcase(s, t);
    return s;
}
