/* test_stats.c - statistics and each_file: the counters equal a recount of all records on the disk, at rest, after a reopen,
 * and hold together while others write. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/format_data.h"
#include "bitcask/format_record.h"
#include "test/support/store.h"

static bitcask_stats stats_of(bitcask *db)
{
    bitcask_stats s = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(db, &s), BITCASK_OK);
    return s;
}

#define FILES_MAX 64U

struct files {
    bitcask_file_info info[FILES_MAX];
    unsigned count;
};

static int note_file(const bitcask_file_info *info, void *ctx)
{
    struct files *f = ctx;
    ck_assert_uint_lt(f->count, FILES_MAX);
    ck_assert_uint_eq(info->struct_size, sizeof *info);
    f->info[f->count++] = *info;
    return 0;
}

/* ---- a full scan, by the format alone ---- */

#define KEYS_MAX 600U

struct live {
    char key[24];
    size_t key_size;
    uint64_t sequence, file, footprint;
    bool deleted;
};

struct scan {
    struct live keys[KEYS_MAX];
    unsigned count;
};

static void scan_record(struct scan *s, uint64_t file, const struct bc_record *r, const char *key)
{
    unsigned i = 0;
    while (i < s->count && (s->keys[i].key_size != r->key_size || memcmp(s->keys[i].key, key, r->key_size) != 0))
        i++;
    ck_assert_uint_lt(i, KEYS_MAX);
    if (i == s->count) {
        s->count++;
        s->keys[i].key_size = r->key_size;
        memcpy(s->keys[i].key, key, r->key_size);
        s->keys[i].sequence = 0;
    }
    if (r->sequence < s->keys[i].sequence)
        return;
    s->keys[i].sequence = r->sequence;
    s->keys[i].file = file;
    s->keys[i].footprint = bc_record_footprint(r);
    s->keys[i].deleted = r->type == BC_RECORD_TOMBSTONE;
}

static void scan_file(struct scan *s, const char *path, const bitcask_file_info *info)
{
    char name[32];
    size_t size;
    struct bc_data_header header;
    snprintf(name, sizeof name, "%010llu.data", (unsigned long long)info->id);
    char *data = store_read_file(store_file(path, name), &size);
    ck_assert_uint_ge(size, info->size);
    ck_assert_int_eq(bc_data_header_decode(&header, data), BC_FORMAT_OK);
    uint64_t least = 0, most = 0;
    for (uint64_t at = BC_DATA_START; at < info->size;) {
        struct bc_record r;
        ck_assert_int_eq(bc_record_decode(&r, data + at, (size_t)(info->size - at), bc_record_seed(header.name.nonce, at)),
                         BC_RECORD_OK);
        if (r.type == BC_RECORD_PUT || r.type == BC_RECORD_TOMBSTONE) {
            scan_record(s, info->id, &r, data + at + bc_record_head_size(&r));
            least = least == 0 ? r.sequence : least;
            most = r.sequence;
        }
        at += bc_record_footprint(&r);
    }
    ck_assert_uint_eq(info->min_sequence, least);
    ck_assert_uint_eq(info->max_sequence, most);
    free(data);
}

/* Stats and each_file against each other, and both against the scan. */
static void recount(bitcask *db, const char *path)
{
    struct files f = {.count = 0};
    bitcask_stats s, before;
    do { /* a file that is prepared in between is in one of them only */
        f.count = 0;
        before = stats_of(db);
        ck_assert_int_eq(bitcask_each_file(db, note_file, &f), BITCASK_OK);
        s = stats_of(db);
    } while (s.data_files != before.data_files || s.disk_bytes != before.disk_bytes);
    uint64_t keys = 0, live = 0, dead = 0, disk = 0, newest = 0;
    struct scan *scan = calloc(1, sizeof *scan);
    ck_assert_ptr_nonnull(scan);
    for (unsigned i = 0; i < f.count; i++) {
        const bitcask_file_info *info = &f.info[i];
        ck_assert_uint_eq(info->live_bytes + info->dead_bytes + BC_DATA_START, info->size);
        ck_assert(info->state == BITCASK_FILE_OPEN || info->state == BITCASK_FILE_SEALED);
        ck_assert_msg(info->dead_bytes > 0 || (info->merge_reasons & ~BITCASK_MERGE_BECAUSE_SMALL) == 0, "reasons %u",
                      info->merge_reasons);
        scan_file(scan, path, info);
        keys += info->keys;
        live += info->live_bytes;
        dead += info->dead_bytes;
        disk += info->size;
        newest = newest > info->max_sequence ? newest : info->max_sequence;
    }
    ck_assert_uint_eq(s.data_files, f.count);
    ck_assert_uint_eq(s.keys, keys);
    ck_assert_uint_eq(s.live_bytes, live);
    ck_assert_uint_eq(s.dead_bytes, dead);
    ck_assert_uint_eq(s.disk_bytes, disk);
    ck_assert_uint_eq(s.live_bytes + s.dead_bytes + s.data_files * BC_DATA_START, s.disk_bytes);
    ck_assert_uint_ge(s.last_sequence, newest);
    ck_assert_uint_gt(s.keydir_bytes, 0);
    for (unsigned i = 0; i < f.count; i++) {
        uint64_t file_keys = 0, bytes = 0;
        for (unsigned n = 0; n < scan->count; n++) {
            bool here = !scan->keys[n].deleted && scan->keys[n].file == f.info[i].id;
            file_keys += here;
            bytes += here ? scan->keys[n].footprint : 0;
        }
        ck_assert_uint_eq(f.info[i].keys, file_keys);
        ck_assert_uint_eq(f.info[i].live_bytes, bytes);
    }
    free(scan);
}

static void change(bitcask *db, unsigned n)
{
    char key[24];
    unsigned i = (n * 7919) % 400;
    size_t key_size = (size_t)snprintf(key, sizeof key, "key%06u", i);
    if (n % 5 == 3) {
        int result = bitcask_delete(db, key, key_size, NULL, NULL);
        ck_assert(result == BITCASK_OK || result == BITCASK_NOT_FOUND);
    } else if (n % 11 == 5) {
        bitcask_batch *b;
        ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
        ck_assert_int_eq(bitcask_batch_put(b, key, key_size, "batch", 5, 0), BITCASK_OK);
        ck_assert_int_eq(bitcask_batch_delete(b, "key000001", 9), BITCASK_OK);
        ck_assert_int_eq(bitcask_batch_put(b, key, key_size, "batch again", 11, 2000000000000), BITCASK_OK);
        ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
        bitcask_batch_free(b);
    } else if (n % 13 == 7) {
        int result = bitcask_touch(db, key, key_size, 2100000000000 + n, 0);
        ck_assert(result == BITCASK_OK || result == BITCASK_NOT_FOUND);
    } else {
        ck_assert_int_eq(store_put_number(db, i, n, 50 + n % 900), BITCASK_OK);
    }
}

START_TEST(test_recount)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    recount(db, path);
    for (unsigned n = 0; n < 2400; n++) {
        change(db, n);
        if (n % 200 == 0) {
            ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
            recount(db, path);
        }
        if (n % 500 == 499) {
            store_close(db);
            for (const char *h; n % 1000 == 999 && (h = store_nth(path, ".hint", 0)) != NULL;)
                store_remove(store_file(path, h));
            db = store_open(path, &o);
            recount(db, path);
        }
        if (n == 1300) {
            ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
            recount(db, path);
            ck_assert_uint_eq(stats_of(db).keys, 0);
            ck_assert_uint_eq(stats_of(db).live_bytes, 0);
        }
    }
    recount(db, path);
    store_close(db);
}
END_TEST

/* Views and snapshots that are held, the last sequence, poison. */
START_TEST(test_counters)
{
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(store_path(), &o);
    uint64_t sequence;
    ck_assert_int_eq(store_put_flags(db, "a", "1", 0, 0, 0, &sequence), BITCASK_OK);
    ck_assert_uint_eq(stats_of(db).last_sequence, sequence);
    ck_assert_uint_eq(stats_of(db).keys, 1);
    bitcask_view v[3];
    bitcask_snapshot *s[2];
    ck_assert_uint_eq(stats_of(db).pins, 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(bitcask_view_get(db, "a", 1, &v[i]), BITCASK_OK);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(bitcask_snapshot_new(db, &s[i]), BITCASK_OK);
    ck_assert_uint_eq(stats_of(db).pins, _i == 0 ? 3 : 0);
    ck_assert_uint_eq(stats_of(db).snapshots, 2);
    bitcask_view_release(&v[1]);
    bitcask_snapshot_release(s[0]);
    ck_assert_uint_eq(stats_of(db).pins, _i == 0 ? 2 : 0);
    ck_assert_uint_eq(stats_of(db).snapshots, 1);
    bitcask_view_release(&v[0]);
    bitcask_view_release(&v[2]);
    bitcask_snapshot_release(s[1]);
    ck_assert_uint_eq(stats_of(db).pins, 0);
    ck_assert_uint_eq(stats_of(db).snapshots, 0);
    ck_assert_uint_eq(stats_of(db).poisoned, 0);
    store_close(db);
}
END_TEST

START_TEST(test_struct_size)
{
    struct {
        bitcask_stats s;
        unsigned char tail[16];
    } wide;
    bitcask *db = store_open(store_make_numbers(_i), NULL);
    memset(&wide, 0x5a, sizeof wide);
    wide.s.struct_size = sizeof wide;
    ck_assert_int_eq(bitcask_stats_get(db, &wide.s), BITCASK_OK);
    ck_assert_uint_eq(wide.s.keys, STORE_NUMBERS);
    ck_assert_uint_eq(wide.tail[0], 0x5a);
    memset(&wide, 0x5a, sizeof wide);
    wide.s.struct_size = offsetof(bitcask_stats, live_bytes);
    ck_assert_int_eq(bitcask_stats_get(db, &wide.s), BITCASK_OK);
    ck_assert_uint_eq(wide.s.keys, STORE_NUMBERS);
    ck_assert_uint_eq(wide.s.live_bytes, 0x5a5a5a5a5a5a5a5a);
    wide.s.struct_size = 0;
    ck_assert_int_eq(bitcask_stats_get(db, &wide.s), BITCASK_INVALID);
    bitcask_stats init;
    bitcask_stats_init(&init, sizeof init);
    ck_assert(memcmp(&init, &(bitcask_stats)BITCASK_STATS_INIT, sizeof init) == 0);
    store_close(db);
}
END_TEST

struct stopping {
    bitcask *db;
    unsigned calls;
    int with;
};

static int stop_second(const bitcask_file_info *info, void *ctx)
{
    struct stopping *s = ctx;
    (void)info;
    /* Under no lock: the callback writes, rotates and clears. */
    for (unsigned i = 0; i < 40; i++)
        ck_assert_int_eq(store_put_number(s->db, i, 9, 3000), BITCASK_OK);
    ck_assert_int_eq(bitcask_clear(s->db, 0), BITCASK_OK);
    return ++s->calls == 2 ? s->with : 0;
}

START_TEST(test_each_file_stops)
{
    static const int values[] = {1, -1, BITCASK_NOT_FOUND, 4711};
    bitcask_options o = store_options(_i);
    for (unsigned i = 0; i < 4; i++) {
        struct stopping s = {.db = store_open(store_make_numbers(_i), &o), .with = values[i]};
        ck_assert_int_eq(bitcask_each_file(s.db, stop_second, &s), values[i]);
        ck_assert_uint_eq(s.calls, 2);
        store_close(s.db);
    }
}
END_TEST

/* ---- what policy would merge ---- */

static bitcask *open_to_judge(const char *path, int mode, uint32_t flags)
{
    bitcask_options o = store_options(mode);
    o.flags |= flags | BITCASK_OPEN_NO_MERGE;
    o.small_file_threshold = BITCASK_OFF;
    return store_open(path, &o);
}

static int note_wanted(const bitcask_file_info *info, void *ctx)
{
    ck_assert_uint_ne(info->merge_reasons, 0);
    ck_assert_uint_eq(info->state, BITCASK_FILE_SEALED);
    return note_file(info, ctx);
}

static struct files wanted_by(bitcask *db)
{
    struct files f = {.count = 0};
    ck_assert_int_eq(bitcask_needs_merge(db, note_wanted, &f), BITCASK_OK);
    return f;
}

/* Of the files below an id the same ones, with the same reasons. */
static void same_reasons(const struct files *a, const struct files *b, uint64_t before)
{
    for (unsigned turn = 0; turn < 2; turn++) {
        const struct files *x = turn ? b : a, *y = turn ? a : b;
        for (unsigned i = 0; i < x->count; i++) {
            unsigned k = 0;
            while (k < y->count && y->info[k].id != x->info[i].id)
                k++;
            if (x->info[i].id >= before)
                continue;
            ck_assert_msg(k < y->count, "file %llu is in one list only", (unsigned long long)x->info[i].id);
            ck_assert_uint_eq(x->info[i].merge_reasons, y->info[k].merge_reasons);
        }
    }
}

/* The lowest id that is not sealed. */
static uint64_t first_open_file(bitcask *db)
{
    struct files f = {.count = 0};
    uint64_t id = 0;
    ck_assert_int_eq(bitcask_each_file(db, note_file, &f), BITCASK_OK);
    for (unsigned i = 0; i < f.count; i++)
        id = f.info[i].state == BITCASK_FILE_OPEN && (id == 0 || f.info[i].id < id) ? f.info[i].id : id;
    return id;
}

/* Beside the writer, and after it: a reader has loaded what the writer counted. */
START_TEST(test_reader_knows_what_to_merge)
{
    const char *path = store_path();
    bitcask *db = open_to_judge(path, _i, 0);
    for (unsigned n = 0; n < 300; n++)
        ck_assert_int_eq(store_put_number(db, n % 20, n, 2000), BITCASK_OK);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    /* A reader reads the last two files as those that the writer may have open. */
    uint64_t newest = first_open_file(db) - 2;
    struct files writers = wanted_by(db), readers;
    bitcask *reader = open_to_judge(path, _i, BITCASK_OPEN_READ_ONLY);
    readers = wanted_by(reader);
    ck_assert_uint_ge(readers.count, 3);
    same_reasons(&writers, &readers, newest);
    store_close(reader);
    store_close(db);
    uint64_t digest = store_digest(path);
    reader = open_to_judge(path, _i, BITCASK_OPEN_READ_ONLY);
    readers = wanted_by(reader);
    same_reasons(&writers, &readers, newest);
    store_close(reader);
    ck_assert_uint_eq(store_digest(path), digest);
}
END_TEST

/* Whether files of puts and of tombstones were counted as they were written, or loaded from hints or by scans. */
START_TEST(test_reasons_survive_a_reopen)
{
    const char *path = store_path();
    char key[24];
    bitcask *db = open_to_judge(path, _i, 0);
    for (unsigned n = 0; n < 12000; n++)
        ck_assert_int_eq(store_put_number(db, n, 1, 10), BITCASK_OK);
    for (unsigned n = 2000; n < 12000; n++)
        ck_assert_int_eq(bitcask_delete(db, key, (size_t)snprintf(key, sizeof key, "key%06u", n), NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    uint64_t newest = first_open_file(db) - 2;
    struct files before = wanted_by(db), after;
    ck_assert_uint_ge(before.count, 1);
    store_close(db);
    for (unsigned turn = 0; turn < 2; turn++) {
        db = open_to_judge(path, _i, turn == 0 ? 0 : BITCASK_OPEN_READ_ONLY);
        after = wanted_by(db);
        same_reasons(&before, &after, newest);
        store_close(db);
        for (const char *h; turn == 0 && (h = store_nth(path, ".hint", 0)) != NULL;)
            store_remove(store_file(path, h));
    }
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("stats");
    TCase *t = store_tcase("stats");
    store_add_test(t, test_recount);
    store_add_test(t, test_counters);
    store_add_test(t, test_struct_size);
    store_add_test(t, test_each_file_stops);
    store_add_test(t, test_reader_knows_what_to_merge);
    store_add_test(t, test_reasons_survive_a_reopen);
    suite_add_tcase(s, t);
    return s;
}
