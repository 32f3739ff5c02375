/* Merge on demand, through the public interface: what a step keeps, what it drops, what others see meanwhile, and what it does
 * when it is told to stop. Damage stands in test_merge_damage.c, failing disks in crash/test_merge_faults.c. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bitcask/hintfile.h"
#include "bitcask/keydir_shard.h"
#include "bitcask/merge_output.h"
#include "test/support/merging.h"

#define LATER 4000000000000 /* an expiry that no test sees pass */

static struct store_clock test_clock;

static bitcask_options clocked(int mode)
{
    bitcask_options o = merging_options(mode);
    atomic_store(&test_clock.now, 1000000000000);
    o.clock = store_clock_now;
    o.clock_ctx = &test_clock;
    return o;
}

static int delete (bitcask *db, const char *key)
{
    return bitcask_delete(db, key, strlen(key), NULL, NULL);
}

static bitcask *reopen(bitcask *db, const char *path, const bitcask_options *o)
{
    store_close(db);
    return store_open(path, o);
}

/* Hint files may hide what the data says: both ways of loading must tell the same. */
static bitcask *reopen_by_scan(bitcask *db, const char *path, const bitcask_options *o)
{
    const char *name;
    store_close(db);
    while ((name = store_nth(path, ".hint", 0)) != NULL)
        store_remove(store_file(path, name));
    return store_open(path, o);
}

static int by_key(unsigned i, char key[16])
{
    return snprintf(key, 16, "key%06u", i);
}

static void delete_number(bitcask *db, unsigned i)
{
    char key[16];
    ck_assert_int_eq(bitcask_delete(db, key, (size_t)by_key(i, key), NULL, NULL), BITCASK_OK);
}

/* ---- what it keeps and what it drops ---- */

START_TEST(test_full_merge_leaves_no_dead_byte_and_no_tombstone)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    bitcask_batch *b;
    unsigned live = 0;
    for (unsigned i = 0; i < 90; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 2000), BITCASK_OK);
    for (unsigned i = 0; i < 90; i += 2)
        ck_assert_int_eq(store_put_number(db, i, 2, 2500), BITCASK_OK);
    for (unsigned i = 0; i < 90; i += 3)
        delete_number(db, i);
    ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
    ck_assert_int_eq(bitcask_batch_put(b, "one", 3, "1", 1, 0), BITCASK_OK);
    ck_assert_int_eq(bitcask_batch_put(b, "two", 3, "2", 1, LATER), BITCASK_OK);
    ck_assert_int_eq(bitcask_batch_delete(b, "key000001", 9), BITCASK_OK);
    ck_assert_int_eq(bitcask_write(db, b, 0), BITCASK_OK);
    bitcask_batch_free(b);
    bitcask_merge_result r = merging_all(db);
    ck_assert_uint_gt(r.files_in, 3);
    ck_assert_uint_gt(r.bytes_in, r.bytes_out);
    bitcask_stats s = merging_stats(db);
    ck_assert_uint_le(s.dead_bytes, 56); /* the link of the file that is written next */
    ck_assert_int_eq((int)s.last_merge_result, BITCASK_OK);
    ck_assert_uint_eq(s.last_merge_reasons, BITCASK_MERGE_BECAUSE_ASKED);
    for (int again = 0; again < 3; again++) {
        live = 0;
        for (unsigned i = 0; i < 90; i++) {
            bool gone = i % 3 == 0 || i == 1;
            int got = store_check_number(db, i, i % 2 == 0 ? 2 : 1, i % 2 == 0 ? 2500 : 2000);
            ck_assert_msg(got == (gone ? BITCASK_NOT_FOUND : 0), "key %u: %d", i, got);
            live += !gone;
        }
        store_expect(db, "one", "1");
        store_expect(db, "two", "2");
        ck_assert_uint_eq(merging_stats(db).keys, live + 2);
        db = again == 0 ? reopen(db, path, &o) : reopen_by_scan(db, path, &o);
    }
    store_close(db);
    struct merging_census c = merging_count(path);
    ck_assert_uint_eq(c.puts, live + 2);
    ck_assert_uint_eq(c.tombstones, 0);
    ck_assert_uint_eq(c.batches, 0);
    ck_assert_uint_eq(c.links, 0);
}
END_TEST

struct span {
    uint64_t min, max;
};

static int note_span(const bitcask_file_info *info, void *ctx)
{
    struct span *s = ctx;
    if (info->max_sequence == 0)
        return 0;
    s->min = BC_MIN(s->min, info->min_sequence);
    s->max = BC_MAX(s->max, info->max_sequence);
    return 0;
}

/* What others ask a file by is right: lowest and highest sequence are those of the records that were copied, then and when the
 * store is opened again. */
START_TEST(test_sequences_of_an_output_are_those_of_its_records)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    uint64_t first, last, none;
    ck_assert_int_eq(store_put_flags(db, "gone", "1", 0, 0, 0, &none), BITCASK_OK);
    ck_assert_int_eq(store_put_flags(db, "first", "1", 0, 0, 0, &first), BITCASK_OK);
    for (unsigned i = 0; i < 50; i++)
        ck_assert_int_eq(store_put_number(db, i % 7, i, 100), BITCASK_OK);
    ck_assert_int_eq(store_put_flags(db, "last", "1", 0, 0, 0, &last), BITCASK_OK);
    ck_assert_int_eq(delete (db, "gone"), BITCASK_OK);
    (void)merging_all(db);
    for (int again = 0; again < 2; again++) {
        struct span s = {UINT64_MAX, 0};
        ck_assert_int_eq(bitcask_each_file(db, note_span, &s), BITCASK_OK);
        ck_assert_uint_eq(s.min, first);
        ck_assert_uint_eq(s.max, last);
        db = reopen_by_scan(db, path, &o);
    }
    store_close(db);
}
END_TEST

static int note_entry(const struct bc_hint_entry *entries, size_t count, void *arg)
{
    ck_assert_uint_eq(count, 1);
    *(struct bc_hint_entry *)arg = entries[0];
    return BITCASK_OK;
}

/* The records of an output stand in any order: a key's last word is that of the highest sequence, not the last in the file. */
START_TEST(test_hint_of_an_output_goes_by_sequence)
{
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(store_path(), &o);
    static const uint64_t sequences[][2] = {{5, 3}, {3, 5}};
    for (unsigned i = 0; i < 2; i++) {
        struct bc_merge_output out;
        struct bc_data_header h = {.store = db->files.store, .kind = BC_DATA_KIND_MERGE};
        ck_assert_int_eq(bc_log_new_name(&db->log, &h.name), BITCASK_OK);
        ck_assert_int_eq(bc_merge_output_make(&out, &db->dir, &db->allocator, &h, 0), BITCASK_OK);
        for (unsigned k = 0; k < 2; k++) {
            bool put = sequences[i][k] == 5;
            struct bc_record r = {.type = put ? BC_RECORD_PUT : BC_RECORD_TOMBSTONE,
                                  .sequence = sequences[i][k],
                                  .key_size = 1,
                                  .value_size = put ? 1 : 0};
            uint64_t offset;
            ck_assert_int_eq(bc_merge_output_put(&out, &r, "k", "v", &offset), BITCASK_OK);
        }
        ck_assert_int_eq(bc_merge_output_finish(&out), BITCASK_OK);
        struct bc_hint_header header;
        struct bc_hint_entry last;
        bool valid;
        ck_assert_int_eq(bc_hint_build(&db->dir, &db->allocator, &h.store, &h.name, out.end, NULL), BITCASK_OK);
        ck_assert_int_eq(bc_hint_read(&db->dir, &db->allocator, &h.name, out.end, note_entry, &last, &header, &valid),
                         BITCASK_OK);
        ck_assert(valid);
        ck_assert_uint_eq(last.type, BC_RECORD_PUT);
        ck_assert_uint_eq(last.sequence, 5);
        ck_assert(header.min_sequence == 3 && header.max_sequence == 5);
        bc_merge_output_close(&out);
    }
    store_close(db);
}
END_TEST

START_TEST(test_values_sequences_and_expiries_are_kept_exactly)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    bitcask_key_info before[40], after;
    char key[16];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 40; i++) {
            bitcask_put_options p = BITCASK_PUT_OPTIONS_INIT;
            p.expire_at_ms = i % 3 == round ? LATER + i : 0;
            char value[4000];
            memset(value, (int)(i + round), sizeof value);
            if (i % 4 > round)
                continue;
            ck_assert_int_eq(bitcask_put(db, key, (size_t)by_key(i, key), value, i * 90, &p, NULL), BITCASK_OK);
        }
    }
    for (unsigned i = 0; i < 40; i++) {
        bitcask_key_info_init(&before[i], sizeof before[i]);
        int result = bitcask_info(db, key, (size_t)by_key(i, key), &before[i]);
        ck_assert_int_eq(result, i % 4 == 3 ? BITCASK_NOT_FOUND : BITCASK_OK);
    }
    uint64_t last = merging_stats(db).last_sequence;
    ck_assert_uint_gt(merging_all(db).records, 0);
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < 40; i++) {
            bitcask_key_info_init(&after, sizeof after);
            int result = bitcask_info(db, key, (size_t)by_key(i, key), &after);
            ck_assert_int_eq(result, i % 4 == 3 ? BITCASK_NOT_FOUND : BITCASK_OK);
            ck_assert(result != BITCASK_OK || memcmp(&before[i], &after, sizeof after) == 0);
            char *value;
            size_t size;
            if (i % 4 == 3)
                continue;
            ck_assert_int_eq(bitcask_get(db, key, (size_t)by_key(i, key), (void **)&value, &size), BITCASK_OK);
            ck_assert(size == i * 90 && (size == 0 || value[size - 1] == (char)(i + 2)));
            bitcask_free(value);
        }
        db = reopen(db, path, &o);
    }
    /* P16: no sequence was used again, whatever went. */
    uint64_t next;
    ck_assert_int_eq(store_put_flags(db, "n", "n", 0, 0, 0, &next), BITCASK_OK);
    ck_assert_uint_gt(next, last);
    store_close(db);
}
END_TEST

START_TEST(test_chosen_files_only)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    uint64_t ids[3];
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(store_put_number(db, i, 1, 100), BITCASK_OK);
        ck_assert_int_eq(store_put_number(db, 9, i, 100), BITCASK_OK);
        ids[i] = merging_seal(db);
    }
    ck_assert_int_eq(store_put_number(db, 7, 1, 100), BITCASK_OK);
    uint64_t active = db->log.active->name.id;
    ck_assert_int_eq(merging_file(db, active, NULL), BITCASK_INVALID);
    ck_assert_int_eq(merging_file(db, 12345, NULL), BITCASK_INVALID);
    bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
    ck_assert_int_eq(merging_file(db, ids[1], &r), BITCASK_OK);
    ck_assert_uint_eq(r.files_in, 1);
    ck_assert_uint_eq(r.files_out, 1);
    ck_assert_uint_eq(r.records, 1);
    ck_assert(merging_has_file(db, ids[0]) && !merging_has_file(db, ids[1]) && merging_has_file(db, ids[2]));
    ck_assert_uint_eq(db->log.active->name.id, active);
    ck_assert_int_eq(merging_file(db, ids[1], NULL), BITCASK_INVALID);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, 100), 0);
    ck_assert_int_eq(store_check_number(db, 9, 2, 100), 0);
    store_close(db);
}
END_TEST

START_TEST(test_tombstone_stays_while_an_older_put_stands_elsewhere)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "k", "old"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "other", "1"), BITCASK_OK);
    uint64_t first = merging_seal(db);
    ck_assert_int_eq(delete (db, "k"), BITCASK_OK);
    uint64_t second = merging_seal(db);
    bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
    ck_assert_int_eq(merging_file(db, second, &r), BITCASK_OK);
    ck_assert_uint_eq(r.tombstones_kept, 1);
    ck_assert_uint_eq(r.tombstones_dropped, 0);
    db = reopen_by_scan(db, path, &o);
    store_expect(db, "k", NULL);
    /* The put goes; then nothing needs the tombstone any more. */
    ck_assert_int_eq(merging_file(db, first, &r), BITCASK_OK);
    r = merging_all(db);
    ck_assert_uint_eq(r.tombstones_dropped, 1);
    db = reopen_by_scan(db, path, &o);
    store_expect(db, "k", NULL);
    store_expect(db, "other", "1");
    store_close(db);
    struct merging_census c = merging_count(path);
    ck_assert_uint_eq(c.tombstones, 0);
    ck_assert_uint_eq(c.puts, 1);
}
END_TEST

/* So many doubts are sorted another way than a few. An older put stands elsewhere for every third key only. */
START_TEST(test_many_tombstones_are_judged_one_by_one)
{
    enum { COUNT = 12000 };
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    o.max_file_size = 16 << 20;
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < COUNT; i += 3)
        ck_assert_int_eq(store_put_number(db, i, 1, 8), BITCASK_OK);
    ck_assert_int_eq(store_put_number(db, COUNT, 1, 8), BITCASK_OK);
    merging_seal(db);
    for (unsigned i = 0; i < COUNT; i++) {
        ck_assert_int_eq(store_put_number(db, i, 2, 8), BITCASK_OK);
        delete_number(db, i);
    }
    uint64_t second = merging_seal(db);
    bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
    ck_assert_int_eq(merging_file(db, second, &r), BITCASK_OK);
    ck_assert_uint_eq(r.tombstones_kept, COUNT / 3);
    ck_assert_uint_eq(r.tombstones_dropped, COUNT - COUNT / 3);
    db = reopen_by_scan(db, path, &o);
    for (unsigned i = 0; i < COUNT; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, 8), BITCASK_NOT_FOUND);
    ck_assert_int_eq(store_check_number(db, COUNT, 1, 8), 0);
    (void)merging_all(db);
    store_close(db);
    struct merging_census c = merging_count(path);
    ck_assert_uint_eq(c.tombstones, 0);
    ck_assert_uint_eq(c.puts, 1);
}
END_TEST

/* Some other file is older, but has nothing of the key: its hint says so. */
START_TEST(test_tombstone_goes_when_older_files_do_not_have_its_key)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "other", "1"), BITCASK_OK);
    merging_seal(db);
    ck_assert_int_eq(store_put(db, "k", "1"), BITCASK_OK);
    ck_assert_int_eq(delete (db, "k"), BITCASK_OK);
    uint64_t second = merging_seal(db);
    bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
    ck_assert_int_eq(merging_file(db, second, &r), BITCASK_OK);
    ck_assert_uint_eq(r.tombstones_dropped, 1);
    ck_assert_uint_eq(r.files_out, 0);
    store_close(db);
}
END_TEST

/* A file whose last word on the key is a tombstone or a newer put brings nothing back. */
START_TEST(test_last_word_of_a_file_counts)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "k", "1"), BITCASK_OK);
    ck_assert_int_eq(delete (db, "k"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "other", "1"), BITCASK_OK);
    uint64_t first = merging_seal(db);
    ck_assert_int_eq(store_put(db, "k", "2"), BITCASK_OK);
    ck_assert_int_eq(delete (db, "k"), BITCASK_OK);
    uint64_t second = merging_seal(db);
    bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
    ck_assert_int_eq(merging_file(db, second, &r), BITCASK_OK);
    ck_assert_uint_eq(r.tombstones_dropped, 1);
    db = reopen_by_scan(db, path, &o);
    store_expect(db, "k", NULL);
    ck_assert_int_eq(merging_file(db, first, &r), BITCASK_OK);
    db = reopen_by_scan(db, path, &o);
    store_expect(db, "k", NULL);
    store_expect(db, "other", "1");
    store_close(db);
}
END_TEST

/* A put with an expiry that the sweep took out of the KeyDir hides older versions like a tombstone. */
START_TEST(test_expired_put_without_entry_hides_older_versions)
{
    const char *path = store_path();
    bitcask_options o = clocked(_i);
    for (unsigned round = 0; round < 2; round++) {
        bitcask *db = store_open(path, &o);
        ck_assert_int_eq(store_put(db, "k", "for ever"), BITCASK_OK);
        uint64_t first = merging_seal(db);
        ck_assert_int_eq(store_put_flags(db, "k", "short", 0, 0, atomic_load(&test_clock.now) + 1000, NULL), BITCASK_OK);
        ck_assert_int_eq(store_put(db, "x", "1"), BITCASK_OK);
        uint64_t second = merging_seal(db);
        atomic_fetch_add(&test_clock.now, 2000);
        merging_sweep(db);
        ck_assert_uint_eq(merging_stats(db).keys, 1);
        bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
        ck_assert_int_eq(merging_file(db, second, &r), BITCASK_OK);
        ck_assert_uint_eq(r.tombstones_kept, 1);
        db = reopen_by_scan(db, path, &o);
        store_expect(db, "k", NULL);
        store_expect(db, "x", "1");
        ck_assert_int_eq(merging_file(db, first, NULL), BITCASK_OK);
        (void)merging_all(db);
        db = reopen_by_scan(db, path, &o);
        store_expect(db, "k", NULL);
        ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
        store_close(db);
    }
}
END_TEST

/* The same where the sweep has not been there yet: merge itself finds it expired. */
START_TEST(test_expired_put_that_merge_finds_hides_older_versions)
{
    const char *path = store_path();
    bitcask_options o = clocked(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "k", "for ever"), BITCASK_OK);
    merging_seal(db);
    ck_assert_int_eq(store_put_flags(db, "k", "short", 0, 0, atomic_load(&test_clock.now) + 1000, NULL), BITCASK_OK);
    uint64_t second = merging_seal(db);
    atomic_fetch_add(&test_clock.now, 2000);
    bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
    ck_assert_int_eq(merging_file(db, second, &r), BITCASK_OK);
    ck_assert_uint_eq(r.expired, 1);
    ck_assert_uint_eq(merging_stats(db).keys, 0);
    db = reopen_by_scan(db, path, &o);
    store_expect(db, "k", NULL);
    store_close(db);
    /* Nor does a clock that was set back bring the older version back, nor the expired one: it is a tombstone now. */
    atomic_fetch_sub(&test_clock.now, 100000);
    db = store_open(path, &o);
    store_expect(db, "k", NULL);
    store_close(db);
}
END_TEST

/* Many records of one key in doubt at once, under the same hash: one tombstone, the newest. */
START_TEST(test_one_tombstone_for_many_expired_puts_of_a_key)
{
    const char *path = store_path();
    bitcask_options o = clocked(_i);
    bitcask *db = store_open(path, &o);
    uint64_t first_sequence = 0, last = 0;
    ck_assert_int_eq(store_put_flags(db, "k", "for ever", 0, 0, 0, &first_sequence), BITCASK_OK);
    merging_seal(db);
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(store_put_flags(db, "k", "short", 0, 0, atomic_load(&test_clock.now) + 1000, &last), BITCASK_OK);
    uint64_t second = merging_seal(db);
    atomic_fetch_add(&test_clock.now, 2000);
    merging_sweep(db);
    ck_assert_int_eq(merging_file(db, second, NULL), BITCASK_OK);
    store_close(db);
    struct merging_census c = merging_count(path);
    ck_assert_uint_eq(c.tombstones, 1);
    ck_assert_uint_eq(c.sequences, first_sequence + last);
    db = store_open(path, &o);
    store_expect(db, "k", NULL);
    store_close(db);
}
END_TEST

/* What has expired is dead: "to no dead byte" includes it where the sweep has not been. */
START_TEST(test_full_merge_takes_expired_keys_along)
{
    const char *path = store_path();
    bitcask_options o = clocked(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "stays", "1"), BITCASK_OK);
    ck_assert_int_eq(store_put_flags(db, "goes", "2", 0, 0, atomic_load(&test_clock.now) + 1000, NULL), BITCASK_OK);
    merging_seal(db);
    atomic_fetch_add(&test_clock.now, 2000);
    bitcask_merge_result r = merging_all(db);
    ck_assert_uint_eq(r.expired, 1);
    ck_assert_uint_eq(merging_stats(db).keys, 1);
    ck_assert_uint_eq(merging_stats(db).expired, 1);
    store_expect(db, "stays", "1");
    store_expect(db, "goes", NULL);
    store_close(db);
    ck_assert_uint_eq(merging_count(path).puts, 1);
}
END_TEST

struct hashed {
    uint64_t hash;
    unsigned number;
};

static int by_hash(const void *a, const void *b)
{
    const struct hashed *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* Two keys that the KeyDir takes for one but for their bytes: the same shard, the same tag. */
static bool find_twins(bitcask *db, char first[16], char second[16])
{
    enum { TRIED = 1 << 20 };
    struct hashed *all = malloc(TRIED * sizeof *all);
    bool found = false;
    ck_assert_ptr_nonnull(all);
    for (unsigned i = 0; i < TRIED; i++) {
        char key[16];
        size_t size = (size_t)by_key(i, key);
        uint64_t hash = bc_keydir_hash(db->keydir, key, size);
        all[i] = (struct hashed){(uint64_t)bc_keydir_shard(db->keydir, hash) << 32 | bc_tag_of(hash), i};
    }
    qsort(all, TRIED, sizeof *all, by_hash);
    for (unsigned i = 1; i < TRIED && !found; i++) {
        found = all[i].hash == all[i - 1].hash;
        (void)by_key(all[i - 1].number, first);
        (void)by_key(all[i].number, second);
    }
    free(all);
    return found;
}

/* What stands in the KeyDir for another key says nothing about this one. */
START_TEST(test_keys_that_look_the_same_in_the_keydir)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    char a[16], b[16];
    ck_assert(find_twins(db, a, b)); /* chance of failure: e^-16 */
    ck_assert_int_eq(store_put(db, a, "a1"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, b, "b1"), BITCASK_OK);
    uint64_t first = merging_seal(db);
    ck_assert_int_eq(delete (db, b), BITCASK_OK);
    uint64_t second = merging_seal(db);
    bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
    ck_assert_int_eq(merging_file(db, second, &r), BITCASK_OK);
    ck_assert_uint_eq(r.tombstones_kept, 1);
    store_expect(db, a, "a1");
    store_expect(db, b, NULL);
    /* Both alive, one of them moves. */
    ck_assert_int_eq(store_put(db, b, "b2"), BITCASK_OK);
    merging_seal(db);
    ck_assert_int_eq(merging_file(db, first, NULL), BITCASK_OK);
    for (int again = 0; again < 2; again++) {
        store_expect(db, a, "a1");
        store_expect(db, b, "b2");
        db = reopen_by_scan(db, path, &o);
    }
    store_close(db);
}
END_TEST

START_TEST(test_empty_store_and_store_of_tombstones_only)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    bitcask_merge_result r = merging_all(db);
    ck_assert_uint_eq(r.files_in, 0);
    for (unsigned i = 0; i < 50; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 50), BITCASK_OK);
    uint64_t puts = merging_seal(db);
    for (unsigned i = 0; i < 50; i++)
        delete_number(db, i);
    merging_seal(db);
    ck_assert_int_eq(merging_file(db, puts, &r), BITCASK_OK);
    ck_assert_uint_eq(r.files_out, 0);
    db = reopen(db, path, &o);
    r = merging_all(db);
    ck_assert_uint_eq(r.tombstones_dropped, 50);
    ck_assert_uint_eq(merging_stats(db).data_files, 0);
    r = merging_all(db);
    ck_assert_uint_eq(r.files_in, 0);
    db = reopen(db, path, &o);
    for (unsigned i = 0; i < 50; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, 50), BITCASK_NOT_FOUND);
    ck_assert_int_eq(store_put(db, "k", "1"), BITCASK_OK);
    store_expect(db, "k", "1");
    store_close(db);
}
END_TEST

/* Larger than a buffer, than a scan's buffer, and than the limit of a file. */
START_TEST(test_large_records)
{
    static const size_t sizes[] = {60000, 500000, 524288, 1048576, 3000001};
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(store_put_number(db, i, 1, sizes[i]), BITCASK_OK);
        ck_assert_int_eq(store_put_number(db, 90, i, 1000), BITCASK_OK);
        /* Else a large record alone in its file has nothing dead beside it. */
        ck_assert_int_eq(store_put_number(db, 91, i, sizes[i]), BITCASK_OK);
    }
    for (unsigned i = 0; i < 5; i++)
        for (int round = 0; round < 2; round++)
            ck_assert_int_eq(store_put_number(db, 95, i, 10), BITCASK_OK);
    merging_seal(db);
    uint64_t ids[64];
    size_t count = 0;
    for (uint64_t id = 1; id < 64; id++)
        if (merging_has_file(db, id) && id != db->log.active->name.id)
            ids[count++] = id;
    bitcask_merge_options m = BITCASK_MERGE_OPTIONS_INIT;
    m.files = ids;
    m.file_count = count;
    ck_assert_int_eq(bitcask_merge(db, &m, NULL), BITCASK_OK);
    for (size_t i = 0; i < count; i++)
        ck_assert(!merging_has_file(db, ids[i]));
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < 5; i++)
            ck_assert_int_eq(store_check_number(db, i, 1, sizes[i]), 0);
        ck_assert_int_eq(store_check_number(db, 90, 4, 1000), 0);
        ck_assert_int_eq(store_check_number(db, 91, 4, sizes[4]), 0);
        ck_assert_int_eq(store_check_number(db, 95, 4, 10), 0);
        db = reopen_by_scan(db, path, &o);
    }
    store_close(db);
}
END_TEST

/* ---- others, meanwhile ---- */

#define MANY 300U
#define MANY_SIZE 3000U

/* About a megabyte, half of it dead, in one file: a step that asks its callback several times. */
static bitcask *open_many(const char *path, bitcask_options *o)
{
    o->max_file_size = 16 << 20;
    bitcask *db = store_open(path, o);
    for (unsigned version = 1; version <= 2; version++)
        for (unsigned i = 0; i < MANY; i++)
            ck_assert_int_eq(store_put_number(db, i, version, MANY_SIZE), BITCASK_OK);
    merging_seal(db);
    return db;
}

struct meddler {
    bitcask *db;
    unsigned calls;
    unsigned at; /* the call that does something */
    int result;  /* of what it did */
    int answer;  /* of the callback */
    void (*act)(struct meddler *);
    bitcask_snapshot *snapshot;
    bitcask_iter *iter;
    bitcask_view view;
    pthread_t thread;
    atomic_bool done;
};

static int meddle(const char *phase, uint64_t done, uint64_t total, void *ctx)
{
    struct meddler *m = ctx;
    ck_assert_str_eq(phase, "merge");
    ck_assert_uint_le(done, total);
    if (++m->calls == m->at && m->act != NULL)
        m->act(m);
    return m->calls >= m->at ? m->answer : 0;
}

static int merge_with(bitcask *db, struct meddler *m, bitcask_merge_result *r)
{
    bitcask_merge_options o = BITCASK_MERGE_OPTIONS_INIT;
    m->db = db;
    m->at = m->at == 0 ? 2 : m->at;
    o.progress = meddle;
    o.progress_ctx = m;
    int result = bitcask_merge(db, &o, r);
    ck_assert_uint_ge(m->calls, m->at);
    return result;
}

static void overwrite_and_delete(struct meddler *m)
{
    for (unsigned i = 0; i < MANY; i += 3)
        ck_assert_int_eq(store_put_number(m->db, i, 3, 700), BITCASK_OK);
    for (unsigned i = 1; i < MANY; i += 3)
        delete_number(m->db, i);
}

START_TEST(test_keys_changed_during_a_step_keep_their_change)
{
    for (unsigned at = 1; at < 6; at++) {
        const char *path = store_path();
        static struct store_log log;
        bitcask_options o = merging_options(_i);
        o.log = store_log_line;
        o.log_ctx = &log;
        bitcask *db = open_many(path, &o);
        struct meddler m = {.at = at, .act = overwrite_and_delete};
        ck_assert_int_eq(merge_with(db, &m, NULL), BITCASK_OK);
        /* Nobody needs the input any more, and the first step saw to that. */
        ck_assert(!merging_has_file(db, 1));
        ck_assert_msg(atomic_load(&log.lines[BITCASK_LOG_ERROR]) == 0, "%s", log.text);
        for (int again = 0; again < 3; again++) {
            for (unsigned i = 0; i < MANY; i++) {
                int got = i % 3 == 0 ? store_check_number(db, i, 3, 700) : store_check_number(db, i, 2, MANY_SIZE);
                ck_assert_msg(got == (i % 3 == 1 ? BITCASK_NOT_FOUND : 0), "key %u: %d", i, got);
            }
            ck_assert_uint_eq(merging_stats(db).keys, MANY / 3 * 2);
            if (again == 0)
                (void)merging_all(db); /* with the right counts it finds all that is dead now */
            else
                db = reopen_by_scan(db, path, &o);
        }
        store_close(db);
        ck_assert_uint_eq(merging_count(path).puts, MANY / 3 * 2);
        ck_assert_uint_eq(merging_count(path).tombstones, 0);
    }
}
END_TEST

static void take_snapshot(struct meddler *m)
{
    ck_assert_int_eq(bitcask_snapshot_new(m->db, &m->snapshot), BITCASK_OK);
    ck_assert_int_eq(bitcask_iter_new(m->db, NULL, &m->iter), BITCASK_OK);
    ck_assert_int_eq(bitcask_view_get(m->db, "key000005", 9, &m->view), BITCASK_OK);
    overwrite_and_delete(m);
}

static void check_snapshot(bitcask_snapshot *s, bitcask *reference)
{
    for (unsigned i = 0; i < MANY; i += 7) {
        char key[16];
        bitcask_view v;
        void *value;
        size_t size;
        ck_assert_int_eq(bitcask_snapshot_view(s, key, (size_t)by_key(i, key), &v), BITCASK_OK);
        ck_assert_int_eq(bitcask_get(reference, key, (size_t)by_key(i, key), &value, &size), BITCASK_OK);
        ck_assert(v.size == size && memcmp(v.data, value, size) == 0);
        bitcask_free(value);
        bitcask_view_release(&v);
    }
}

static unsigned walk(bitcask_iter *it)
{
    unsigned count = 0;
    bitcask_slice value;
    while (bitcask_iter_next(it) == BITCASK_OK) {
        ck_assert_int_eq(bitcask_iter_value(it, &value), BITCASK_OK);
        ck_assert_uint_eq(value.size, MANY_SIZE);
        count++;
    }
    return count;
}

/* Taken before a step, and in the middle of one: they show their moment after it, after the next one and after a clear; the
 * files go when they are released, and not before. */
START_TEST(test_snapshot_iterator_and_view_keep_their_moment)
{
    bitcask_options o = merging_options(_i), plain = merging_options(_i);
    const char *reference_path = store_path(), *path = store_path();
    bitcask *reference = open_many(reference_path, &plain), *db = open_many(path, &o);
    struct meddler m = {.at = 3, .act = take_snapshot};
    bitcask_snapshot *before;
    ck_assert_int_eq(bitcask_snapshot_new(db, &before), BITCASK_OK);
    ck_assert_int_eq(merge_with(db, &m, NULL), BITCASK_OK);
    uint64_t held = store_count(path, ".data");
    ck_assert_uint_gt(held, merging_stats(db).data_files);
    for (int stage = 0; stage < 3; stage++) {
        check_snapshot(before, reference);
        check_snapshot(m.snapshot, reference);
        if (stage == 0)
            (void)merging_all(db);
        if (stage == 1)
            ck_assert_int_eq(bitcask_clear(db, 0), BITCASK_OK);
    }
    ck_assert_uint_eq(walk(m.iter), MANY);
    bitcask_iter_free(m.iter);
    ck_assert_int_eq(bitcask_close(db), BITCASK_BUSY);
    bitcask_snapshot_release(before);
    check_snapshot(m.snapshot, reference);
    bitcask_snapshot_release(m.snapshot);
    bc_filetable_reclaim(&db->files);
    ck_assert_uint_eq(store_count(path, ".data"), merging_stats(db).data_files);
    void *value;
    size_t size;
    store_close(db);
    ck_assert_int_eq(bitcask_get(reference, "key000005", 9, &value, &size), BITCASK_OK);
    ck_assert(m.view.size == size && memcmp(m.view.data, value, size) == 0);
    bitcask_free(value);
    bitcask_view_release(&m.view);
    store_close(reference);
}
END_TEST

/* A key that expires or goes while a snapshot is held stays in it. */
START_TEST(test_snapshot_keeps_what_expires_in_a_merge)
{
    const char *path = store_path();
    bitcask_options o = clocked(_i);
    bitcask *db = store_open(path, &o);
    bitcask_snapshot *s;
    bitcask_view v;
    ck_assert_int_eq(store_put_flags(db, "k", "short", 0, 0, atomic_load(&test_clock.now) + 1000, NULL), BITCASK_OK);
    merging_seal(db);
    ck_assert_int_eq(bitcask_snapshot_new(db, &s), BITCASK_OK);
    atomic_fetch_add(&test_clock.now, 2000);
    ck_assert_uint_eq(merging_all(db).expired, 1);
    store_expect(db, "k", NULL);
    ck_assert_int_eq(bitcask_snapshot_view(s, "k", 1, &v), BITCASK_OK);
    ck_assert(v.size == 5 && memcmp(v.data, "short", 5) == 0);
    bitcask_view_release(&v);
    bitcask_snapshot_release(s);
    store_close(db);
}
END_TEST

static int merge_in_fold(bitcask_slice key, bitcask_slice value, const bitcask_key_info *info, void *ctx)
{
    (void)key;
    (void)info;
    ck_assert_uint_eq(value.size, MANY_SIZE);
    return bitcask_merge(ctx, NULL, NULL);
}

static int merge_in_walk(const bitcask_file_info *info, void *ctx)
{
    (void)info;
    return bitcask_merge(ctx, NULL, NULL);
}

/* Callbacks run under no lock and inside no pin: they may merge. */
START_TEST(test_merge_from_within_callbacks)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = open_many(path, &o);
    ck_assert_int_eq(bitcask_fold(db, NULL, merge_in_fold, db), BITCASK_OK);
    ck_assert_int_eq(store_put_number(db, 0, 5, 100), BITCASK_OK);
    ck_assert_int_eq(bitcask_each_file(db, merge_in_walk, db), BITCASK_OK);
    ck_assert_int_eq(bitcask_needs_merge(db, merge_in_walk, db), BITCASK_OK);
    ck_assert_int_eq(store_check_number(db, 0, 5, 100), 0);
    store_close(db);
}
END_TEST

static void call_merge_and_clear(struct meddler *m)
{
    bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
    m->result = bitcask_merge(m->db, NULL, &r);
    ck_assert_int_eq(bitcask_clear(m->db, 0), BITCASK_BUSY);
}

START_TEST(test_merge_within_its_own_progress_is_busy)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = open_many(path, &o);
    struct meddler m = {.act = call_merge_and_clear};
    ck_assert_int_eq(merge_with(db, &m, NULL), BITCASK_OK);
    ck_assert_int_eq(m.result, BITCASK_BUSY);
    ck_assert_int_eq(store_check_number(db, 0, 2, MANY_SIZE), 0);
    store_close(db);
}
END_TEST

START_TEST(test_cancel_by_progress_leaves_the_store_as_it_was)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = open_many(path, &o);
    unsigned files = store_count(path, ".data");
    bitcask_stats before = merging_stats(db);
    for (unsigned at = 1; at < 5; at++) {
        struct meddler m = {.at = at, .answer = 7};
        bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
        ck_assert_int_eq(merge_with(db, &m, &r), BITCASK_CANCELLED);
        ck_assert_uint_eq(r.files_in, 0);
        ck_assert_uint_eq(store_count(path, ".data"), files);
        bitcask_stats after = merging_stats(db);
        ck_assert_uint_eq(after.live_bytes, before.live_bytes);
        ck_assert_uint_eq(after.data_files, before.data_files);
        ck_assert_int_eq((int)after.last_merge_result, BITCASK_CANCELLED);
        ck_assert_uint_eq(after.merge_failures, 0);
        ck_assert_uint_eq(after.merge_total, 0);
    }
    ck_assert_uint_eq(merging_all(db).files_in, 1);
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_int_eq(store_check_number(db, i, 2, MANY_SIZE), 0);
    store_close(db);
}
END_TEST

/* A merge of small files asks its callback, too: before each commit at least. */
START_TEST(test_small_merge_can_be_cancelled)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "k", "1"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "k", "2"), BITCASK_OK);
    uint64_t id = merging_seal(db);
    struct meddler m = {.at = 1, .answer = 1};
    ck_assert_int_eq(merge_with(db, &m, NULL), BITCASK_CANCELLED);
    ck_assert(merging_has_file(db, id));
    store_close(db);
}
END_TEST

static void *clear_it(void *arg)
{
    struct meddler *m = arg;
    m->result = bitcask_clear(m->db, 0);
    return NULL;
}

static void start_clear(struct meddler *m)
{
    ck_assert_int_eq(pthread_create(&m->thread, NULL, clear_it, m), 0);
    while (!bc_merge_pace_interrupted(&m->db->merger.pace))
        usleep(100);
}

START_TEST(test_clear_ends_a_merge_and_empties_the_store)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = open_many(path, &o);
    struct meddler m = {.at = 2, .act = start_clear};
    ck_assert_int_eq(merge_with(db, &m, NULL), BITCASK_CANCELLED);
    ck_assert_int_eq(pthread_join(m.thread, NULL), 0);
    ck_assert_int_eq(m.result, BITCASK_OK);
    for (int again = 0; again < 2; again++) {
        ck_assert_uint_eq(merging_stats(db).keys, 0);
        ck_assert_int_eq(store_check_number(db, 1, 2, MANY_SIZE), BITCASK_NOT_FOUND);
        db = reopen(db, path, &o);
    }
    store_close(db);
}
END_TEST

/* Close does not wait for the background merge to come to its end: it stands still, paused, in the middle of a step. */
START_TEST(test_close_ends_a_background_merge)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = open_many(path, &o);
    store_close(db);
    o.flags &= ~BITCASK_OPEN_NO_MERGE;
    o.merge_check_interval_ms = 1;
    o.frag_merge_trigger = 10;
    o.merge_rate_limit = 100 << 10; /* slow enough that the step is met in its middle */
    db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "k", "1"), BITCASK_OK);
    while (merging_stats(db).merge_total == 0)
        usleep(1000);
    ck_assert_int_eq(bitcask_merge_pause(db), BITCASK_OK);
    store_close(db);
    o.flags |= BITCASK_OPEN_NO_MERGE;
    o.merge_rate_limit = 0;
    db = store_open(path, &o);
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_int_eq(store_check_number(db, i, 2, MANY_SIZE), 0);
    store_expect(db, "k", "1");
    ck_assert_uint_eq(store_count(path, ".data"), merging_stats(db).data_files);
    store_close(db);
}
END_TEST

static void *merge_it(void *arg)
{
    struct meddler *m = arg;
    m->result = bitcask_merge(m->db, NULL, NULL);
    atomic_store(&m->done, true);
    return NULL;
}

START_TEST(test_pause_stops_and_resume_goes_on)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    /* Small: a pause must hold a merge of a few bytes, too. */
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(store_put_number(db, 1, i, 100), BITCASK_OK);
    merging_seal(db);
    struct meddler m = {.db = db};
    ck_assert_int_eq(bitcask_merge_pause(db), BITCASK_OK);
    ck_assert_int_eq(pthread_create(&m.thread, NULL, merge_it, &m), 0);
    usleep(60000);
    ck_assert(!atomic_load(&m.done));
    ck_assert_int_eq(store_put_number(db, 2, 1, 100), BITCASK_OK);
    ck_assert_int_eq(store_check_number(db, 1, 9, 100), 0);
    ck_assert_int_eq(bitcask_merge_resume(db), BITCASK_OK);
    ck_assert_int_eq(pthread_join(m.thread, NULL), 0);
    ck_assert_int_eq(m.result, BITCASK_OK);
    ck_assert_int_eq(store_check_number(db, 1, 9, 100), 0);
    ck_assert_int_eq(store_check_number(db, 2, 1, 100), 0);
    store_close(db);
}
END_TEST

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The limit holds whether a step is large or many are small. Only the lower bound is certain. */
START_TEST(test_rate_limit)
{
    for (unsigned small = 0; small < 2; small++) {
        const char *path = store_path();
        bitcask_options o = merging_options(_i);
        bitcask *db = NULL;
        if (small == 0) {
            db = open_many(path, &o);
        } else {
            db = store_open(path, &o);
            for (unsigned i = 0; i < MANY; i++)
                for (unsigned version = 1; version <= 2; version++)
                    ck_assert_int_eq(store_put_number(db, i, version, MANY_SIZE), BITCASK_OK);
        }
        ck_assert_int_eq(bitcask_set(db, "merge_rate_limit", "4m"), BITCASK_OK);
        int64_t started = now_ms();
        bitcask_merge_result r = merging_all(db);
        int64_t took = now_ms() - started;
        /* Read once at least and written once; a part may go before the account is asked. */
        uint64_t moved = r.bytes_read + r.bytes_out;
        ck_assert_uint_gt(moved, 1500000);
        ck_assert_msg(took >= (int64_t)(moved * 1000 / (4 << 20)) / 2, "%llu bytes in %lld ms at 4 MiB/s",
                      (unsigned long long)moved, (long long)took);
        store_close(db);
    }
}
END_TEST

/* ---- the life of a handle ---- */

/* The file that a clean close ended is merged before the first write, which would have gone on in it. */
START_TEST(test_merge_of_the_file_that_would_go_on)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "k", "1"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "k", "2"), BITCASK_OK);
    db = reopen(db, path, &o);
    ck_assert_uint_eq(merging_all(db).files_in, 1);
    store_expect(db, "k", "2");
    ck_assert_int_eq(store_put(db, "n", "3"), BITCASK_OK);
    db = reopen(db, path, &o);
    store_expect(db, "k", "2");
    store_expect(db, "n", "3");
    /* And by its id. */
    uint64_t id = db->log.resumable->name.id;
    ck_assert_int_eq(merging_file(db, id, NULL), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "m", "4"), BITCASK_OK);
    db = reopen(db, path, &o);
    store_expect(db, "k", "2");
    store_expect(db, "n", "3");
    store_expect(db, "m", "4");
    store_close(db);
}
END_TEST

/* The same in the background: the threads run before there was a write, as a sync starts them. */
START_TEST(test_background_merge_of_the_file_that_would_go_on)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(store_put_number(db, 1, i, 300), BITCASK_OK);
    store_close(db);
    o.flags &= ~BITCASK_OPEN_NO_MERGE;
    o.merge_check_interval_ms = 1;
    db = store_open(path, &o);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    for (unsigned i = 0; i < 5000 && merging_stats(db).merges == 0; i++)
        usleep(1000);
    ck_assert_uint_gt(merging_stats(db).merges, 0);
    ck_assert_int_eq(store_put(db, "n", "3"), BITCASK_OK);
    ck_assert_int_eq(store_check_number(db, 1, 19, 300), 0);
    db = reopen(db, path, &o);
    store_expect(db, "n", "3");
    ck_assert_int_eq(store_check_number(db, 1, 19, 300), 0);
    store_close(db);
}
END_TEST

/* It was chosen while it was sealed; before the step took it the first write went on in it. */
START_TEST(test_file_that_a_write_went_on_in_is_no_input)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(store_put_number(db, 1, i, 300), BITCASK_OK);
    db = reopen(db, path, &o);
    struct bc_file *chosen = db->log.resumable;
    ck_assert_ptr_nonnull(chosen);
    ck_assert_int_eq(store_put(db, "n", "3"), BITCASK_OK);
    ck_assert_ptr_eq(db->log.active, chosen);
    struct bc_merge_wish wish = {.files = &chosen, .count = 1};
    struct bc_merge_done done = {0};
    ck_assert_int_eq(bc_merger_lock(&db->merger, false), BITCASK_OK);
    ck_assert_int_eq(bc_merge_step(&db->merger, &wish, &done), BITCASK_OK);
    bc_merger_unlock(&db->merger);
    ck_assert_uint_eq(done.files_in, 0);
    ck_assert_int_eq(store_put(db, "m", "4"), BITCASK_OK);
    db = reopen(db, path, &o);
    ck_assert_int_eq(store_check_number(db, 1, 19, 300), 0);
    store_expect(db, "n", "3");
    store_expect(db, "m", "4");
    store_close(db);
}
END_TEST

/* First writes race with background merges of the same file. */
START_TEST(test_first_write_beside_a_background_merge)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    o.flags &= ~BITCASK_OPEN_NO_MERGE;
    o.merge_check_interval_ms = 1;
    for (unsigned round = 0; round < 60; round++) {
        bitcask *db = store_open(path, &o);
        if (round > 0) {
            ck_assert_int_eq(store_check_number(db, 1, round * 20 - 1, 300), 0);
            ck_assert_int_eq(store_check_number(db, 2, round - 1, 300), 0);
        }
        ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
        usleep(round * 40);
        ck_assert_int_eq(store_put_number(db, 2, round, 300), BITCASK_OK);
        for (unsigned i = 0; i < 20; i++)
            ck_assert_int_eq(store_put_number(db, 1, round * 20 + i, 300), BITCASK_OK);
        store_close(db);
    }
}
END_TEST

START_TEST(test_read_only_handle_cannot_merge)
{
    const char *path = store_make_numbers(_i);
    bitcask_options o = merging_options(_i);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    bitcask *db = store_open(path, &o);
    uint64_t digest = store_digest(path);
    ck_assert_int_eq(bitcask_merge(db, NULL, NULL), BITCASK_READ_ONLY);
    ck_assert_uint_eq(store_digest(path), digest);
    store_close(db);
}
END_TEST

START_TEST(test_read_only_handle_beside_reads_on_in_files_that_were_merged_away)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i), r = merging_options(_i);
    bitcask *db = open_many(path, &o);
    r.flags |= BITCASK_OPEN_READ_ONLY;
    bitcask *beside = store_open(path, &r);
    overwrite_and_delete(&(struct meddler){.db = db});
    (void)merging_all(db);
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_int_eq(store_check_number(beside, i, 2, MANY_SIZE), 0);
    store_close(beside);
    beside = store_open(path, &r);
    ck_assert_int_eq(store_check_number(beside, 0, 3, 700), 0);
    ck_assert_int_eq(store_check_number(beside, 1, 2, MANY_SIZE), BITCASK_NOT_FOUND);
    store_close(beside);
    store_close(db);
}
END_TEST

START_TEST(test_child_after_fork_is_refused)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = open_many(path, &o);
    pid_t pid = fork();
    if (pid == 0) {
        bool good = bitcask_merge(db, NULL, NULL) == BITCASK_FORKED && bitcask_merge_pause(db) == BITCASK_FORKED &&
                    bitcask_merge_resume(db) == BITCASK_FORKED &&
                    bitcask_needs_merge(db, merge_in_walk, db) == BITCASK_FORKED && bitcask_close(db) == BITCASK_OK;
        _exit(good ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    (void)merging_all(db);
    ck_assert_int_eq(store_check_number(db, 0, 2, MANY_SIZE), 0);
    store_close(db);
}
END_TEST

/* P12: a step that finds too few descriptors for all of its inputs takes fewer of them. */
START_TEST(test_many_small_files_with_few_descriptors)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    for (unsigned i = 0; i < 150; i++) {
        ck_assert_int_eq(store_put_number(db, i, 1, 50), BITCASK_OK);
        ck_assert_int_eq(store_put_number(db, 900, i, 50), BITCASK_OK);
        merging_seal(db);
    }
    db = reopen(db, path, &o);
    struct rlimit limit, low;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = 64;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    (void)merging_all(db);
    for (unsigned i = 0; i < 150; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, 50), 0);
    ck_assert_uint_lt(merging_stats(db).data_files, 20);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    store_close(db);
}
END_TEST

/* Tombstones that must stay do not bring their file back to the front again and again, also where it holds the oldest record of
 * the store beside them. Merge by policy comes to an end. */
/* Behind it a slot of the KeyDir could not say where. */
START_TEST(test_output_ends_where_the_keydir_can_no_longer_point)
{
    const char *path = store_path();
    bitcask *db = store_open(path, NULL);
    struct bc_data_header header = {.store = db->files.store, .name = {.id = 900, .nonce = 7}, .kind = BC_DATA_KIND_MERGE};
    struct bc_merge_output o;
    ck_assert_int_eq(bc_merge_output_make(&o, &db->dir, &db->allocator, &header, 4096), BITCASK_OK);
    struct bc_record r = {.type = BC_RECORD_PUT, .key_size = 1, .value_size = 1, .sequence = 1};
    uint64_t offset = 0;
    bool good = false;
    o.start = o.end = BC_KEYDIR_OFFSET_MAX;
    ck_assert_int_eq(bc_merge_output_put(&o, &r, "k", "v", &offset), BITCASK_OK);
    ck_assert_uint_eq(offset, BC_KEYDIR_OFFSET_MAX);
    ck_assert_int_eq(bc_merge_output_put(&o, &r, "k", "v", &offset), BITCASK_NO_SPACE);
    ck_assert_int_eq(bc_merge_output_copy(&o, &r, "k", o.fd, 0, 0, &offset, &good), BITCASK_NO_SPACE);
    ck_assert_uint_eq(offset, BC_KEYDIR_OFFSET_MAX);
    bc_merge_output_close(&o);
    store_close(db);
}
END_TEST

START_TEST(test_policy_merge_ends_where_tombstones_must_stay)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "oldest", "1"), BITCASK_OK);
    ck_assert_int_eq(store_put_number(db, 900, 1, 2000), BITCASK_OK);
    uint64_t first = merging_seal(db);
    for (unsigned i = 0; i < 40; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 10), BITCASK_OK);
    ck_assert_int_eq(store_put_number(db, 901, 1, 20000), BITCASK_OK);
    merging_seal(db);
    for (unsigned i = 0; i < 40; i++)
        delete_number(db, i);
    delete_number(db, 900);
    uint64_t third = merging_seal(db);
    /* The oldest record and the tombstones come into one file. */
    bitcask_merge_options m = BITCASK_MERGE_OPTIONS_INIT;
    uint64_t ids[] = {first, third};
    m.files = ids;
    m.file_count = 2;
    bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
    ck_assert_int_eq(bitcask_merge(db, &m, &r), BITCASK_OK);
    ck_assert_uint_eq(r.tombstones_kept, 40);
    bitcask_merge_options p = BITCASK_MERGE_OPTIONS_INIT;
    struct meddler limit = {.at = 20, .answer = 1};
    p.flags = BITCASK_MERGE_POLICY;
    p.progress = meddle;
    p.progress_ctx = &limit;
    ck_assert_int_eq(bitcask_merge(db, &p, &r), BITCASK_OK);
    ck_assert_uint_lt(merging_stats(db).merges, 5);
    store_close(db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("merge");
    TCase *t = store_tcase("drops and keeps");
    store_add_test(t, test_full_merge_leaves_no_dead_byte_and_no_tombstone);
    store_add_test(t, test_values_sequences_and_expiries_are_kept_exactly);
    store_add_test(t, test_sequences_of_an_output_are_those_of_its_records);
    store_add_test(t, test_hint_of_an_output_goes_by_sequence);
    store_add_test(t, test_chosen_files_only);
    store_add_test(t, test_tombstone_stays_while_an_older_put_stands_elsewhere);
    store_add_test(t, test_many_tombstones_are_judged_one_by_one);
    store_add_test(t, test_tombstone_goes_when_older_files_do_not_have_its_key);
    store_add_test(t, test_last_word_of_a_file_counts);
    store_add_test(t, test_expired_put_without_entry_hides_older_versions);
    store_add_test(t, test_expired_put_that_merge_finds_hides_older_versions);
    store_add_test(t, test_one_tombstone_for_many_expired_puts_of_a_key);
    store_add_test(t, test_full_merge_takes_expired_keys_along);
    store_add_test(t, test_keys_that_look_the_same_in_the_keydir);
    store_add_test(t, test_empty_store_and_store_of_tombstones_only);
    store_add_test(t, test_large_records);
    store_add_test(t, test_policy_merge_ends_where_tombstones_must_stay);
    tcase_add_test(t, test_output_ends_where_the_keydir_can_no_longer_point);
    suite_add_tcase(s, t);
    t = store_tcase("others meanwhile");
    store_add_test(t, test_keys_changed_during_a_step_keep_their_change);
    store_add_test(t, test_snapshot_iterator_and_view_keep_their_moment);
    store_add_test(t, test_snapshot_keeps_what_expires_in_a_merge);
    store_add_test(t, test_merge_from_within_callbacks);
    store_add_test(t, test_merge_within_its_own_progress_is_busy);
    store_add_test(t, test_cancel_by_progress_leaves_the_store_as_it_was);
    store_add_test(t, test_small_merge_can_be_cancelled);
    store_add_test(t, test_clear_ends_a_merge_and_empties_the_store);
    store_add_test(t, test_close_ends_a_background_merge);
    store_add_test(t, test_pause_stops_and_resume_goes_on);
    store_add_test(t, test_rate_limit);
    suite_add_tcase(s, t);
    t = store_tcase("handles");
    store_add_test(t, test_merge_of_the_file_that_would_go_on);
    store_add_test(t, test_background_merge_of_the_file_that_would_go_on);
    store_add_test(t, test_first_write_beside_a_background_merge);
    store_add_test(t, test_file_that_a_write_went_on_in_is_no_input);
    store_add_test(t, test_read_only_handle_cannot_merge);
    store_add_test(t, test_read_only_handle_beside_reads_on_in_files_that_were_merged_away);
    store_add_test(t, test_child_after_fork_is_refused);
    store_add_test(t, test_many_small_files_with_few_descriptors);
    suite_add_tcase(s, t);
    return s;
}
