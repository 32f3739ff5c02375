/* test_settings.c - options by name: every one of them, every form of value, nothing changed by a bad one; and those that
 * change an open store do so at once. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/db.h"
#include "test/support/simdisk.h"
#include "test/support/store.h"

static bitcask_options set_one(const char *name, const char *value)
{
    bitcask_options o = BITCASK_OPTIONS_INIT;
    int result = bitcask_options_set(&o, name, value);
    ck_assert_msg(result == BITCASK_OK, "%s=%s: %s", name, value, bitcask_last_error()->message);
    return o;
}

START_TEST(test_every_name)
{
    static const struct {
        const char *name;
        uint32_t flag;
    } flags[] = {{"read_only", BITCASK_OPEN_READ_ONLY},       {"no_create", BITCASK_OPEN_NO_CREATE},
                 {"exclusive", BITCASK_OPEN_EXCLUSIVE},       {"no_mmap", BITCASK_OPEN_NO_MMAP},
                 {"guard_sigbus", BITCASK_OPEN_GUARD_SIGBUS}, {"salvage", BITCASK_OPEN_SALVAGE}};
    for (unsigned i = 0; i < 6; i++) {
        bitcask_options o = BITCASK_OPTIONS_INIT;
        o.flags = BITCASK_OPEN_NO_MMAP | BITCASK_OPEN_READ_ONLY;
        uint32_t others = o.flags & ~flags[i].flag;
        ck_assert_int_eq(bitcask_options_set(&o, flags[i].name, "true"), BITCASK_OK);
        ck_assert_uint_eq(o.flags, others | flags[i].flag);
        ck_assert_int_eq(bitcask_options_set(&o, flags[i].name, "false"), BITCASK_OK);
        ck_assert_uint_eq(o.flags, others);
    }
    ck_assert_uint_eq(set_one("sync_mode", "none").sync_mode, BITCASK_SYNC_NONE);
    ck_assert_uint_eq(set_one("sync_mode", "interval").sync_mode, BITCASK_SYNC_INTERVAL);
    ck_assert_uint_eq(set_one("sync_mode", "always").sync_mode, BITCASK_SYNC_ALWAYS);
    ck_assert_uint_eq(set_one("sync_interval_ms", "250").sync_interval_ms, 250);
    ck_assert_uint_eq(set_one("sync_bytes", "1m").sync_bytes, 1 << 20);
    ck_assert_uint_eq(set_one("max_file_size", "64k").max_file_size, 65536);
    ck_assert_uint_eq(set_one("max_open_files", "7").max_open_files, 7);
    ck_assert_uint_eq(set_one("keydir_shards", "128").keydir_shards, 128);
    ck_assert_uint_eq(set_one("file_mode", "0640").file_mode, 0640);
    ck_assert_uint_eq(set_one("file_mode", "640").file_mode, 0640);
    ck_assert_uint_eq(set_one("load_threads", "3").load_threads, 3);
}
END_TEST

START_TEST(test_sizes)
{
    static const struct {
        const char *text;
        uint64_t size;
    } sizes[] = {{"0", 0},
                 {"1", 1},
                 {"64k", 65536},
                 {"64K", 65536},
                 {"64m", 64ULL << 20},
                 {"1g", 1ULL << 30},
                 {"16G", 16ULL << 30},
                 {"2t", 2ULL << 40},
                 {"16777215t", 16777215ULL << 40},
                 {"18446744073709551615", UINT64_MAX}};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        ck_assert_uint_eq(set_one("sync_bytes", sizes[i].text).sync_bytes, sizes[i].size);
}
END_TEST

/* Whatever is not one of the option's values is INVALID and changes no byte. */
START_TEST(test_bad_values)
{
    static const struct {
        const char *name, *value;
    } bad[] = {{"max_file_size", ""},
               {"max_file_size", " 1"},
               {"max_file_size", "1 "},
               {"max_file_size", "-1"},
               {"max_file_size", "+1"},
               {"max_file_size", "1x"},
               {"max_file_size", "k"},
               {"max_file_size", "1kk"},
               {"max_file_size", "1.5m"},
               {"max_file_size", "0x10"},
               {"max_file_size", "1\x0b"},
               {"max_file_size", "18446744073709551616"},
               {"max_file_size", "16777216t"},
               {"sync_bytes", "18014398509481984k"},
               {"sync_interval_ms", "1k"},
               {"sync_interval_ms", "soon"},
               {"max_open_files", "4294967296"},
               {"max_open_files", "1k"},
               {"max_open_files", "-1"},
               {"keydir_shards", ""},
               {"load_threads", "two"},
               {"file_mode", "0800"},
               {"file_mode", "rw"},
               {"sync_mode", ""},
               {"sync_mode", "sometimes"},
               {"sync_mode", "2"},
               {"read_only", ""},
               {"read_only", "2"},
               {"read_only", "tru"},
               {"read_only", NULL},
               {"no_such_option", "1"},
               {"", "1"},
               {"Max_file_size", "64k"},
               {"flags", "1"},
               {"struct_size", "8"},
               {"allocator", "0"},
               {NULL, "1"}};
    bitcask_options o;
    memset(&o, 0x31, sizeof o);
    o.struct_size = sizeof o;
    bitcask_options before;
    memcpy(&before, &o, sizeof o);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        int result = bitcask_options_set(&o, bad[i].name, bad[i].value);
        ck_assert_msg(result == BITCASK_INVALID, "%s=%s: %s", bad[i].name, bad[i].value, bitcask_errname(result));
        ck_assert_msg(memcmp(&o, &before, sizeof o) == 0, "%s=%s changed something", bad[i].name, bad[i].value);
        store_expect_failure(BITCASK_INVALID, NULL, bad[i].name);
    }
    /* A caller's struct that is too small for the field: nothing behind it is touched. */
    o.struct_size = before.struct_size = offsetof(bitcask_options, max_file_size) + 4;
    ck_assert_int_eq(bitcask_options_set(&o, "max_file_size", "64k"), BITCASK_INVALID);
    ck_assert(memcmp(&o, &before, sizeof o) == 0);
    ck_assert_int_eq(bitcask_options_set(&o, "sync_bytes", "64k"), BITCASK_OK);
    ck_assert_uint_eq(o.sync_bytes, 65536);
}
END_TEST

/* What may change while the store is open, and what may not. A value that open would refuse is refused here. */
START_TEST(test_names_of_an_open_store)
{
    static const char *const live[][2] = {{"sync_mode", "interval"}, {"sync_interval_ms", "20"}, {"sync_bytes", "1m"},
                                          {"max_file_size", "1m"},   {"max_open_files", "3"},    {"max_file_size", "0"}};
    static const char *const fixed[][2] = {
        {"read_only", "true"},    {"no_create", "true"},   {"exclusive", "true"},    {"no_mmap", "true"},
        {"guard_sigbus", "true"}, {"salvage", "true"},     {"keydir_shards", "128"}, {"file_mode", "0600"},
        {"load_threads", "1"},    {"max_file_size", "1k"}, {"max_file_size", "17g"}, {"sync_mode", "x"},
        {"nothing", "1"},         {"sync_", "1"},          {"max_file_size", NULL},  {NULL, "1"}};
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    for (unsigned i = 0; i < sizeof live / sizeof *live; i++)
        ck_assert_int_eq(bitcask_set(db, live[i][0], live[i][1]), BITCASK_OK);
    for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++)
        ck_assert_msg(bitcask_set(db, fixed[i][0], fixed[i][1]) == BITCASK_INVALID, "%s=%s", fixed[i][0], fixed[i][1]);
    ck_assert_int_eq(store_put(db, "a", "b"), BITCASK_OK);
    store_close(db);
}
END_TEST

/* ---- at once ---- */

static bitcask *open_disk(struct simdisk *disk, int mode)
{
    const struct bc_environment environment = {simdisk_io(disk), true};
    bitcask_options o = store_options(mode);
    bitcask *db = NULL;
    int result = bc_db_open("/store", &o, &environment, &db);
    ck_assert_msg(result == BITCASK_OK, "%s", bitcask_last_error()->message);
    return db;
}

/* Whether the key is there after a power failure that loses all that was not synced. */
static bool survives(struct simdisk *disk, int mode, const char *key)
{
    struct simdisk *after = simdisk_clone(disk);
    simdisk_crash_apply(after, 0);
    bitcask *db = open_disk(after, mode);
    void *value = NULL;
    size_t size;
    int result = bitcask_get(db, key, strlen(key), &value, &size);
    ck_assert(result == BITCASK_OK || result == BITCASK_NOT_FOUND);
    bitcask_free(value);
    store_close(db);
    simdisk_free(after);
    return result == BITCASK_OK;
}

/* sync_mode set to always: the next put is durable when it returns, with all before it; set back to none it is not. */
START_TEST(test_sync_mode_at_once)
{
    struct simdisk *disk = simdisk_new(5);
    bitcask *db = open_disk(disk, _i);
    ck_assert_int_eq(store_put(db, "before", "1"), BITCASK_OK);
    ck_assert(!survives(disk, _i, "before"));
    ck_assert_int_eq(bitcask_set(db, "sync_mode", "always"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "put", "1"), BITCASK_OK);
    ck_assert(survives(disk, _i, "put"));
    ck_assert(survives(disk, _i, "before"));
    ck_assert_int_eq(bitcask_touch(db, "put", 3, 2000000000000, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_delete(db, "before", 6, NULL, NULL), BITCASK_OK);
    ck_assert(!survives(disk, _i, "before"));
    bitcask_batch *b;
    ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
    ck_assert_int_eq(bitcask_batch_put(b, "batch", 5, "1", 1, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    bitcask_batch_free(b);
    ck_assert(survives(disk, _i, "batch"));
    ck_assert_int_eq(bitcask_set(db, "sync_mode", "sometimes"), BITCASK_INVALID);
    ck_assert_int_eq(store_put(db, "still", "1"), BITCASK_OK);
    ck_assert(survives(disk, _i, "still"));
    ck_assert_int_eq(bitcask_set(db, "sync_mode", "none"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "after", "1"), BITCASK_OK);
    ck_assert(!survives(disk, _i, "after"));
    store_close(db);
    ck_assert_uint_eq(simdisk_misuses(disk, NULL, 0), 0);
    simdisk_free(disk);
}
END_TEST

/* max_file_size: a larger and a smaller one while the active file is half full; no store goes past a mapping. */
START_TEST(test_max_file_size_at_once)
{
    static const char *const sizes[] = {"64k", "4m", "128k", "1m", "64k"};
    struct simdisk *disk = simdisk_new(6);
    bitcask *db = open_disk(disk, _i);
    char text[256] = "";
    unsigned number = 0;
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(bitcask_set(db, "max_file_size", sizes[i]), BITCASK_OK);
        for (unsigned n = 0; n < 150; n++)
            ck_assert_int_eq(store_put_number(db, number++, 1, 3000), BITCASK_OK);
    }
    for (unsigned n = 0; n < number; n++)
        ck_assert_int_eq(store_check_number(db, n, 1, 3000), 0);
    store_close(db);
    ck_assert_msg(simdisk_misuses(disk, text, sizeof text) == 0, "%s", text);
    db = open_disk(disk, _i);
    for (unsigned n = 0; n < number; n++)
        ck_assert_int_eq(store_check_number(db, n, 1, 3000), 0);
    store_close(db);
    simdisk_free(disk);
}
END_TEST

/* ---- max_file_size beside a thread that has the mapping at hand ---- */

static struct {
    bitcask *db;
    void *map;            /* that a call of the system is looking at; NULL: none */
    unsigned unmapped;    /* mappings that went meanwhile */
    unsigned armed, maps; /* calls to meddle with; writable mappings that were made */
} moment;

static void unmap_and_note(void *ctx, void *addr, size_t size)
{
    moment.unmapped += moment.map != NULL && (char *)moment.map >= (char *)addr && (char *)moment.map < (char *)addr + size;
    bc_io_posix.unmap(ctx, addr, size);
}

static int map_and_count(void *ctx, int fd, size_t size, bool writable, void **ret)
{
    moment.maps += writable;
    return bc_io_posix.map(ctx, fd, size, writable, ret);
}

/* What two other threads may do: a write gets a larger mapping for its file, and what readers have left is closed. */
static void outgrow(void *addr)
{
    if (moment.armed == 0)
        return;
    moment.armed--;
    struct bc_log *log = &moment.db->log;
    uint64_t bytes = bc_file_handle(log->active)->map_size - log->tail + 1;
    moment.map = addr;
    bc_log_lock(log);
    ck_assert_int_eq(bc_log_reserve(log, bytes, 1, 0), BITCASK_OK);
    bc_log_unlock(log);
    bc_filetable_reclaim(&moment.db->files);
    moment.map = NULL;
}

static void settle_and_outgrow(void *ctx, void *addr, size_t size)
{
    outgrow(addr);
    bc_io_posix.settle(ctx, addr, size);
}

static int populate_and_outgrow(void *ctx, void *addr, size_t size)
{
    outgrow(addr);
    return bc_io_posix.populate(ctx, addr, size);
}

static bitcask *open_outgrowing(const struct bc_io *io)
{
    const struct bc_environment environment = {io, true};
    bitcask_options o = store_options(0);
    memset(&moment, 0, sizeof moment);
    o.max_file_size = 1 << 20;
    ck_assert_int_eq(bc_db_open(store_path(), &o, &environment, &moment.db), BITCASK_OK);
    for (unsigned n = 0; n < 200; n++)
        ck_assert_int_eq(store_put_number(moment.db, n, 1, 1000), BITCASK_OK);
    ck_assert_int_eq(bitcask_set(moment.db, "max_file_size", "64m"), BITCASK_OK);
    return moment.db;
}

/* The address might be anybody's by then: that of memory, which would be emptied. */
START_TEST(test_mapping_stays_while_a_sync_or_the_preparation_uses_it)
{
    struct bc_io io = bc_io_posix;
    io.unmap = unmap_and_note;
    io.settle = settle_and_outgrow;
    io.populate = populate_and_outgrow;
    bitcask *db = open_outgrowing(&io);
    moment.armed = 1;
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    ck_assert_uint_eq(moment.armed, 0);
    ck_assert_uint_eq(moment.unmapped, 0);
    for (unsigned n = 0; n < 200; n++)
        ck_assert_int_eq(store_put_number(db, n, 2, 1000), BITCASK_OK);
    moment.armed = 1;
    while (bc_log_run_ahead(&db->log)) {
    }
    ck_assert_uint_eq(moment.armed, 0);
    ck_assert_uint_eq(moment.unmapped, 0);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    for (unsigned n = 0; n < 200; n++)
        ck_assert_int_eq(store_check_number(db, n, 2, 1000), 0);
    store_close(db);
}
END_TEST

/* A file that may be larger is mapped as far as it may grow, once, and not page by page. */
START_TEST(test_file_that_may_grow_is_mapped_once)
{
    struct bc_io io = bc_io_posix;
    io.map = map_and_count;
    bitcask *db = open_outgrowing(&io);
    moment.maps = 0;
    for (unsigned n = 0; n < 3000; n++)
        ck_assert_int_eq(store_put_number(db, n, 2, 1000), BITCASK_OK);
    ck_assert_uint_eq(moment.maps, 1);
    for (unsigned n = 0; n < 3000; n++)
        ck_assert_int_eq(store_check_number(db, n, 2, 1000), 0);
    store_close(db);
}
END_TEST

/* max_open_files: a lower budget holds from then on, without a reopen, and a higher one too. */
static void read_all(bitcask *db, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, 11000), 0);
}

START_TEST(test_max_open_files_at_once)
{
    struct simdisk *disk = simdisk_new(7);
    bitcask *db = open_disk(disk, _i);
    for (unsigned i = 0; i < 100; i++) /* 20 files */
        ck_assert_int_eq(store_put_number(db, i, 1, 11000), BITCASK_OK);
    read_all(db, 100);
    unsigned all = simdisk_open_descriptors(disk);
    ck_assert_uint_ge(all, 18);
    ck_assert_int_eq(bitcask_set(db, "max_open_files", "2"), BITCASK_OK);
    for (unsigned round = 0; round < 3; round++) {
        read_all(db, 100);
        ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    }
    /* Two sealed files; the active and the next one, LOCK and the directory. */
    ck_assert_msg(simdisk_open_descriptors(disk) <= 8, "%u descriptors open, %u before", simdisk_open_descriptors(disk), all);
    ck_assert_int_eq(bitcask_set(db, "max_open_files", "1000"), BITCASK_OK);
    read_all(db, 100);
    ck_assert_uint_ge(simdisk_open_descriptors(disk), 18);
    store_close(db);
    ck_assert_uint_eq(simdisk_open_descriptors(disk), 0);
    simdisk_free(disk);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("settings");
    TCase *t = store_tcase("names");
    tcase_add_test(t, test_every_name);
    tcase_add_test(t, test_sizes);
    tcase_add_test(t, test_bad_values);
    store_add_test(t, test_names_of_an_open_store);
    suite_add_tcase(s, t);
    t = store_tcase("at once");
    store_add_test(t, test_sync_mode_at_once);
    store_add_test(t, test_max_file_size_at_once);
    store_add_test(t, test_max_open_files_at_once);
    tcase_add_test(t, test_mapping_stays_while_a_sync_or_the_preparation_uses_it);
    tcase_add_test(t, test_file_that_may_grow_is_mapped_once);
    suite_add_tcase(s, t);
    return s;
}
