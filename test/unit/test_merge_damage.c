/* Damage met by a merge: the file is kept as it is, CORRUPT is said, no merge takes it again by itself, all others are merged,
 * and nothing is lost that was not lost before. Hint files that are missing, damaged, of another file or forged change nothing
 * of that. Each experiment that destroyed data in another store of this family is here as a test. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitcask/crc.h"
#include "bitcask/format_hint.h"
#include "test/support/merging.h"

static const char *data_name(const char *path, uint64_t id)
{
    char name[32];
    snprintf(name, sizeof name, "%010llu.data", (unsigned long long)id);
    return store_file(path, name);
}

static const char *hint_name(const char *path, uint64_t id)
{
    char name[32];
    snprintf(name, sizeof name, "%010llu.hint", (unsigned long long)id);
    return store_file(path, name);
}

#define FILES 4U
#define EACH 20U /* keys of a file; every other record of it is dead */
#define SIZE 500U

/* FILES sealed files, each with EACH live keys of its own and as many dead records; with hints. */
static bitcask *make(const char *path, const bitcask_options *o, uint64_t ids[FILES])
{
    bitcask *db = store_open(path, o);
    for (unsigned f = 0; f < FILES; f++) {
        for (unsigned i = 0; i < EACH; i++) {
            ck_assert_int_eq(store_put_number(db, 1000, f * EACH + i, SIZE), BITCASK_OK);
            ck_assert_int_eq(store_put_number(db, f * EACH + i, 1, SIZE), BITCASK_OK);
        }
        ids[f] = merging_seal(db);
    }
    ck_assert_int_eq(store_put_number(db, 1000, 1, SIZE), BITCASK_OK);
    merging_seal(db);
    store_close(db);
    return store_open(path, o);
}

enum part { DATA_HEADER, LINK, HEAD_CRC, SEQUENCE, SIZE_FIELD, KEY_SIZE, TYPE, KEY, VALUE, DEAD_SIZE, DEAD_VALUE, CUT, PARTS };

static void damage(const char *file, enum part part)
{
    /* Of the live and the dead records in the middle of the file. */
    struct merging_record live = merging_nth(file, EACH + 1), dead = merging_nth(file, EACH);
    long key = live.offset + (long)live.head_size;
    switch (part) {
    case DATA_HEADER:
        store_flip(file, 20, 4);
        break;
    case LINK:
        store_flip(file, BC_DATA_START + 30, 1);
        break;
    case HEAD_CRC:
        store_flip(file, live.offset + 1, 1);
        break;
    case SEQUENCE:
        store_flip(file, live.offset + 9, 1);
        break;
    case SIZE_FIELD:
        store_flip(file, live.offset + 17, 0x40);
        break;
    case KEY_SIZE:
        store_flip(file, live.offset + 20, 1);
        break;
    case TYPE:
        store_flip(file, live.offset + 22, 3);
        break;
    case KEY:
        store_flip(file, key + 2, 1);
        break;
    case VALUE:
        store_flip(file, key + (long)live.key_size + 77, 1);
        break;
    case DEAD_SIZE:
        store_flip(file, dead.offset + 17, 0x40);
        break;
    case DEAD_VALUE:
        store_flip(file, dead.offset + 100, 1);
        break;
    case CUT:
    case PARTS:
    default:
        ck_assert_int_eq(truncate(file, live.offset + 40), 0);
    }
}

/* The keys of all files but one, and of that one all that a read can still give. */
static void check_all(bitcask *db, unsigned damaged, bool readable)
{
    for (unsigned i = 0; i < FILES * EACH; i++) {
        if (i / EACH == damaged && !readable)
            continue;
        int got = store_check_number(db, i, 1, SIZE);
        bool hit = i == damaged * EACH + EACH / 2;
        ck_assert_msg(got == 0 || (hit && got == BITCASK_CORRUPT), "key %u: %d: %s", i, got, bitcask_last_error()->message);
    }
    ck_assert_int_eq(store_check_number(db, 1000, 1, SIZE), 0);
}

static int forbid(const bitcask_file_info *info, void *ctx)
{
    ck_assert_uint_ne(info->id, *(const uint64_t *)ctx);
    return 0;
}

START_TEST(test_damage_of_every_part_keeps_the_file_and_all_else)
{
    for (unsigned part = 0; part < PARTS; part++) {
        const char *path = store_path();
        bitcask_options o = merging_options(_i);
        o.frag_merge_trigger = 10;
        uint64_t ids[FILES];
        bitcask *db = make(path, &o, ids);
        const char *file = data_name(path, ids[2]);
        char copy[600];
        snprintf(copy, sizeof copy, "%s", file);
        damage(copy, (enum part)part);
        size_t size, after_size;
        void *before = store_read_file(copy, &size);
        /* What was cut off is read through no mapping. */
        bool readable = part != CUT;
        bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
        int result = bitcask_merge(db, NULL, &r);
        ck_assert_msg(result == BITCASK_CORRUPT, "part %u: %s", part, bitcask_errname(result));
        ck_assert_int_eq(bitcask_last_error()->result, BITCASK_CORRUPT);
        ck_assert(merging_has_file(db, ids[2]) && merging_is_barred(db, ids[2]));
        for (unsigned f = 0; f < FILES; f++)
            ck_assert_msg(f == 2 || !merging_has_file(db, ids[f]), "part %u: file %u was not merged", part, f);
        ck_assert_uint_ge(r.files_in, FILES - 1);
        check_all(db, 2, readable);
        /* No merge takes it by itself, or says that it would; policy has nothing left to do. */
        bitcask_merge_options p = BITCASK_MERGE_OPTIONS_INIT;
        p.flags = BITCASK_MERGE_POLICY;
        ck_assert_int_eq(bitcask_merge(db, &p, &r), BITCASK_OK);
        ck_assert_int_eq(bitcask_needs_merge(db, forbid, &ids[2]), BITCASK_OK);
        /* By its id: it says so again. */
        ck_assert_int_eq(merging_file(db, ids[2], NULL), BITCASK_CORRUPT);
        ck_assert(merging_has_file(db, ids[2]));
        void *after = store_read_file(copy, &after_size);
        ck_assert(size == after_size && memcmp(before, after, size) == 0);
        free(before);
        free(after);
        store_close(db);
        if (part != DATA_HEADER && part != CUT) {
            db = store_open(path, &o);
            check_all(db, 2, true);
            store_close(db);
        }
    }
}
END_TEST

/* The same by policy, which meets the damage first. */
START_TEST(test_policy_merge_goes_on_with_the_others)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    o.frag_merge_trigger = 10;
    o.small_file_threshold = BITCASK_OFF;
    uint64_t ids[FILES];
    bitcask *db = make(path, &o, ids);
    damage(data_name(path, ids[1]), SIZE_FIELD);
    bitcask_merge_options p = BITCASK_MERGE_OPTIONS_INIT;
    p.flags = BITCASK_MERGE_POLICY;
    ck_assert_int_eq(bitcask_merge(db, &p, NULL), BITCASK_CORRUPT);
    for (unsigned f = 0; f < FILES; f++)
        ck_assert(merging_has_file(db, ids[f]) == (f == 1));
    check_all(db, 1, true);
    store_close(db);
}
END_TEST

/* In chosen files, too. */
START_TEST(test_chosen_files_beside_a_damaged_one_are_merged)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    uint64_t ids[FILES];
    bitcask *db = make(path, &o, ids);
    damage(data_name(path, ids[1]), VALUE);
    bitcask_merge_options m = BITCASK_MERGE_OPTIONS_INIT;
    m.files = ids;
    m.file_count = 3;
    ck_assert_int_eq(bitcask_merge(db, &m, NULL), BITCASK_CORRUPT);
    ck_assert(!merging_has_file(db, ids[0]) && merging_has_file(db, ids[1]) && !merging_has_file(db, ids[2]) &&
              merging_has_file(db, ids[3]));
    check_all(db, 1, true);
    store_close(db);
}
END_TEST

/* A file without a live record is merged by its hint; the tombstone that must stay is damaged in the data. */
START_TEST(test_damaged_tombstone_that_must_stay_bars_its_file)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "k", "old"), BITCASK_OK);
    merging_seal(db);
    ck_assert_int_eq(bitcask_delete(db, "k", 1, NULL, NULL), BITCASK_OK);
    uint64_t second = merging_seal(db);
    store_close(db);
    db = store_open(path, &o);
    char file[600];
    snprintf(file, sizeof file, "%s", data_name(path, second));
    store_flip(file, merging_nth(file, 0).offset + 9, 1);
    ck_assert_int_eq(merging_file(db, second, NULL), BITCASK_CORRUPT);
    ck_assert(merging_has_file(db, second) && merging_is_barred(db, second));
    store_expect(db, "k", NULL);
    store_close(db);
    db = store_open(path, &o);
    store_expect(db, "k", NULL);
    store_close(db);
}
END_TEST

/* A put whose value is damaged is its key's newest record: it answers CORRUPT, before and after; it is never the older version,
 * which a merge takes away as it should. */
START_TEST(test_damaged_value_shadows_older_versions)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "k", "old"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "x", "1"), BITCASK_OK);
    merging_seal(db);
    ck_assert_int_eq(store_put(db, "k", "new and longer"), BITCASK_OK);
    uint64_t second = merging_seal(db);
    store_close(db);
    char file[600];
    snprintf(file, sizeof file, "%s", data_name(path, second));
    struct merging_record record = merging_nth(file, 0);
    store_flip(file, record.offset + (long)(record.head_size + record.key_size) + 2, 1);
    for (int hints = 0; hints < 2; hints++) {
        const char *name;
        while (hints == 1 && (name = store_nth(path, ".hint", 0)) != NULL)
            store_remove(store_file(path, name));
        db = store_open(path, &o);
        void *value;
        size_t size;
        ck_assert_int_eq(bitcask_get(db, "k", 1, &value, &size), BITCASK_CORRUPT);
        int result = bitcask_merge(db, NULL, NULL);
        ck_assert(result == BITCASK_OK || result == BITCASK_CORRUPT);
        ck_assert_int_eq(bitcask_get(db, "k", 1, &value, &size), BITCASK_CORRUPT);
        store_expect(db, "x", "1");
        store_close(db);
    }
    /* Overwritten, the damage harms nobody. */
    db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "k", "again"), BITCASK_OK);
    ck_assert_int_eq(bitcask_merge(db, NULL, NULL), BITCASK_CORRUPT);
    store_expect(db, "k", "again");
    store_close(db);
}
END_TEST

/* ---- hint files ---- */

static void write_hint(const char *path, uint64_t id, const struct bc_hint_entry *entries, unsigned count, uint64_t end)
{
    size_t size, payload = 0;
    unsigned char *data = store_read_file(data_name(path, id), &size);
    struct bc_data_header h;
    ck_assert(bc_data_header_decode(&h, data) == BC_FORMAT_OK);
    free(data);
    char block[4096], head[BC_HINT_BLOCK_HEADER], header[BC_HINT_HEADER], *file;
    struct bc_hint_header hint = {.data = h.name, .data_end = end, .min_sequence = UINT64_MAX, .blocks = 1, .entries = count};
    for (unsigned i = 0; i < count; i++) {
        bc_hint_entry_encode(block + payload, &entries[i]);
        payload += bc_hint_entry_size(&entries[i]);
        hint.min_sequence = BC_MIN(hint.min_sequence, entries[i].sequence);
        hint.max_sequence = BC_MAX(hint.max_sequence, entries[i].sequence);
        hint.tombstones += entries[i].type == BC_RECORD_TOMBSTONE;
    }
    bc_hint_block_encode(head, h.name.nonce, 0, block, (uint32_t)payload, count);
    hint.body_crc = bc_crc32(bc_crc32(0, head, sizeof head), block, payload);
    hint.size = sizeof header + sizeof head + payload;
    bc_hint_header_encode(header, &hint);
    file = malloc(hint.size);
    memcpy(file, header, sizeof header);
    memcpy(file + sizeof header, head, sizeof head);
    memcpy(file + sizeof header + sizeof head, block, payload);
    store_write_file(hint_name(path, id), file, hint.size);
    free(file);
}

enum hint_state { MISSING, CUT_SHORT, FLIPPED, FOREIGN, EMPTY, HINT_STATES };

/* The older put stands in a file whose hint cannot be trusted: the tombstone stays, or goes for a reason. */
START_TEST(test_tombstone_beside_an_untrustworthy_hint)
{
    for (unsigned state = 0; state < HINT_STATES; state++) {
        const char *path = store_path();
        bitcask_options o = merging_options(_i);
        bitcask *db = store_open(path, &o);
        ck_assert_int_eq(store_put(db, "elsewhere", "1"), BITCASK_OK);
        uint64_t zeroth = merging_seal(db);
        ck_assert_int_eq(store_put(db, "k", "old"), BITCASK_OK);
        ck_assert_int_eq(store_put(db, "x", "1"), BITCASK_OK);
        uint64_t first = merging_seal(db);
        ck_assert_int_eq(bitcask_delete(db, "k", 1, NULL, NULL), BITCASK_OK);
        ck_assert_int_eq(store_put(db, "y", "1"), BITCASK_OK);
        uint64_t second = merging_seal(db);
        store_close(db);
        db = store_open(path, &o);
        const char *hint = hint_name(path, first);
        if (state == MISSING)
            store_remove(hint);
        else if (state == CUT_SHORT)
            ck_assert_int_eq(truncate(hint, 100), 0);
        else if (state == FLIPPED)
            store_flip(hint, -3, 1);
        else if (state == FOREIGN)
            store_copy_file(hint_name(path, zeroth), hint);
        else
            ck_assert_int_eq(truncate(hint, 0), 0);
        bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
        ck_assert_int_eq(merging_file(db, second, &r), BITCASK_OK);
        ck_assert_uint_eq(r.tombstones_kept, 1);
        store_close(db);
        const char *name;
        while ((name = store_nth(path, ".hint", 0)) != NULL)
            store_remove(store_file(path, name));
        db = store_open(path, &o);
        store_expect(db, "k", NULL);
        store_expect(db, "x", "1");
        store_expect(db, "y", "1");
        store_close(db);
    }
}
END_TEST

/* The input's own hint is forged, with good CRCs: it says that a live record stands where none is, or that another key's
 * record is this key's. The KeyDir believes it (that is what a forged hint can do); merge does not, and loses no record. */
START_TEST(test_forged_hint_of_an_input)
{
    for (unsigned forgery = 0; forgery < 3; forgery++) {
        const char *path = store_path();
        bitcask_options o = merging_options(_i);
        bitcask *db = store_open(path, &o);
        uint64_t sequence_a, sequence_b;
        ck_assert_int_eq(store_put_flags(db, "a", "1", 0, 0, 0, &sequence_a), BITCASK_OK);
        ck_assert_int_eq(store_put_flags(db, "b", "2", 0, 0, 0, &sequence_b), BITCASK_OK);
        uint64_t id = merging_seal(db);
        ck_assert_int_eq(store_put(db, "c", "3"), BITCASK_OK);
        store_close(db);
        size_t size;
        char file[600];
        snprintf(file, sizeof file, "%s", data_name(path, id));
        free(store_read_file(file, &size));
        uint64_t at_a = (uint64_t)merging_nth(file, 0).offset, at_b = (uint64_t)merging_nth(file, 1).offset;
        struct bc_hint_entry entries[] = {{.sequence = sequence_a,
                                           .offset = forgery == 0 ? at_a + 8 : at_b,
                                           .value_size = 1,
                                           .key_size = 1,
                                           .type = BC_RECORD_PUT,
                                           .key = "a"},
                                          {.sequence = sequence_b,
                                           .offset = forgery == 2 ? at_a : at_b,
                                           .value_size = 1,
                                           .key_size = 1,
                                           .type = BC_RECORD_PUT,
                                           .key = "b"}};
        write_hint(path, id, entries, 2, size);
        db = store_open(path, &o);
        void *value;
        size_t value_size;
        ck_assert_int_ne(bitcask_get(db, "a", 1, &value, &value_size), BITCASK_OK);
        ck_assert_int_eq(merging_file(db, id, NULL), BITCASK_CORRUPT);
        ck_assert(merging_has_file(db, id) && merging_is_barred(db, id));
        ck_assert_int_ne(bitcask_get(db, "a", 1, &value, &value_size), BITCASK_OK);
        store_expect(db, "c", "3");
        store_close(db);
        store_remove(hint_name(path, id));
        db = store_open(path, &o);
        store_expect(db, "a", "1");
        store_expect(db, "b", "2");
        ck_assert_int_eq(merging_file(db, id, NULL), BITCASK_OK);
        store_expect(db, "a", "1");
        store_expect(db, "b", "2");
        store_close(db);
    }
}
END_TEST

/* ---- what others lost data by ---- */

/* A flipped length field sends the scan to the end of the file; the file was deleted with all that the scan had not met. Both
 * by a merge of everything and by one of what policy wants. */
#define THOUSAND 1000U

/* 1,000 live records in one sealed file, and as many dead ones behind them. */
static bitcask *make_thousand(const char *path, const bitcask_options *o, uint64_t *ret_id)
{
    bitcask *db = store_open(path, o);
    for (unsigned i = 0; i < THOUSAND; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 200), BITCASK_OK);
    for (unsigned i = 0; i < THOUSAND; i++)
        ck_assert_int_eq(store_put_number(db, 5000 + i % 2, i, 200), BITCASK_OK);
    *ret_id = merging_seal(db);
    return db;
}

/* All have their values but this one, which is damaged and says so. */
static void expect_all_but(bitcask *db, unsigned damaged)
{
    for (unsigned i = 0; i < THOUSAND; i++)
        ck_assert_int_eq(store_check_number(db, i, 1, 200), i == damaged ? BITCASK_CORRUPT : 0);
}

static void flip_length_and_merge(int mode, uint32_t flags)
{
    const char *path = store_path();
    bitcask_options o = merging_options(mode);
    o.max_file_size = 8 << 20;
    o.frag_merge_trigger = 40;
    uint64_t id;
    store_close(make_thousand(path, &o, &id));
    char file[600];
    snprintf(file, sizeof file, "%s", data_name(path, id));
    store_flip(file, merging_nth(file, 500).offset + 18, 1);
    bitcask *db = store_open(path, &o);
    for (int again = 0; again < 3; again++) {
        expect_all_but(db, 500);
        bitcask_merge_options p = BITCASK_MERGE_OPTIONS_INIT;
        p.flags = flags;
        /* Policy leaves it alone from then on. */
        int expected = flags == BITCASK_MERGE_POLICY && again == 1 ? BITCASK_OK : BITCASK_CORRUPT;
        ck_assert_int_eq(bitcask_merge(db, &p, NULL), expected);
        ck_assert(merging_has_file(db, id));
        if (again > 0) {
            store_close(db);
            db = store_open(path, &o);
        }
    }
    expect_all_but(db, 500);
    store_close(db);
}

START_TEST(test_flipped_length_costs_one_key_of_a_thousand)
{
    flip_length_and_merge(_i, 0);
}
END_TEST

START_TEST(test_flipped_length_and_a_merge_by_policy)
{
    flip_length_and_merge(_i, BITCASK_MERGE_POLICY);
}
END_TEST

/* A flipped byte of a value was a wrong value after a clean close, and after a kill it cost all that stood behind it. Here it
 * is one key's CORRUPT, in a sealed file and in the one that was being written. */
START_TEST(test_flipped_value_costs_one_key_of_a_thousand)
{
    for (unsigned sealed = 0; sealed < 2; sealed++) {
        for (unsigned killed = 0; killed < 2; killed++) {
            const char *path = store_path();
            bitcask_options o = merging_options(_i);
            o.max_file_size = 8 << 20;
            uint64_t id = 1;
            bitcask *db = NULL;
            if (sealed) {
                db = make_thousand(path, &o, &id);
            } else {
                db = store_open(path, &o);
                for (unsigned i = 0; i < THOUSAND; i++)
                    ck_assert_int_eq(store_put_number(db, i, 1, 200), BITCASK_OK);
                ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
                id = db->log.active->name.id;
            }
            /* What a kill leaves is what stands there now. */
            const char *left = store_path();
            if (killed)
                store_copy_directory(path, left);
            store_close(db);
            left = killed ? left : path;
            char file[600];
            snprintf(file, sizeof file, "%s", data_name(left, id));
            struct merging_record r = merging_nth(file, 500);
            store_flip(file, r.offset + (long)(r.head_size + r.key_size) + 50, 1);
            for (int again = 0; again < 2; again++) {
                db = store_open(left, &o);
                expect_all_but(db, 500);
                store_close(db);
            }
        }
    }
}
END_TEST

/* An overwrite was a tombstone for the older file and then the value: cut between the two, neither was left. */
START_TEST(test_overwrite_that_is_cut_anywhere_leaves_one_of_both_values)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "k", "the older value"), BITCASK_OK);
    merging_seal(db);
    ck_assert_int_eq(store_put(db, "k", "the newer value"), BITCASK_OK);
    uint64_t id = db->log.active->name.id;
    const char *killed = store_path();
    store_copy_directory(path, killed);
    store_close(db);
    char file[600];
    snprintf(file, sizeof file, "%s", data_name(killed, id));
    struct merging_record r = merging_nth(file, 0);
    size_t size, end = (size_t)r.offset + r.head_size + r.key_size + r.value_size;
    for (size_t at = (size_t)r.offset; at <= end; at++) {
        const char *cut = store_path();
        store_copy_directory(killed, cut);
        char *bytes = store_read_file(data_name(cut, id), &size);
        memset(bytes + at, 0, size - at);
        store_write_file(data_name(cut, id), bytes, size);
        free(bytes);
        db = store_open(cut, &o);
        store_expect(db, "k", at < end ? "the older value" : "the newer value");
        store_close(db);
        store_remove(cut);
    }
}
END_TEST

/* The put stands in a file that no policy takes; the delete behind it is merged by policy. */
START_TEST(test_deleted_key_stays_away_after_a_merge_by_policy)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "victim", "1"), BITCASK_OK);
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 1000), BITCASK_OK);
    uint64_t first = merging_seal(db);
    ck_assert_int_eq(bitcask_delete(db, "victim", 6, NULL, NULL), BITCASK_OK);
    for (unsigned f = 0; f < 2; f++) {
        for (unsigned i = 0; i < 20; i++)
            ck_assert_int_eq(store_put_number(db, 100, i, 1000), BITCASK_OK);
        merging_seal(db);
    }
    bitcask_merge_options p = BITCASK_MERGE_OPTIONS_INIT;
    bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
    p.flags = BITCASK_MERGE_POLICY;
    ck_assert_int_eq(bitcask_set(db, "small_file_threshold", "off"), BITCASK_OK);
    ck_assert_int_eq(bitcask_merge(db, &p, &r), BITCASK_OK);
    ck_assert_uint_eq(r.files_in, 2);
    ck_assert(merging_has_file(db, first));
    store_close(db);
    const char *name;
    while ((name = store_nth(path, ".hint", 0)) != NULL)
        store_remove(store_file(path, name));
    db = store_open(path, &o);
    store_expect(db, "victim", NULL);
    store_close(db);
}
END_TEST

/* Order is never that of file names: id 10 comes after id 9 and is merged alone. */
START_TEST(test_tombstone_in_the_tenth_file)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    uint64_t id = 0;
    for (unsigned i = 0; id < 9; i++) {
        ck_assert_int_eq(store_put_number(db, i, 1, 10), BITCASK_OK);
        if (db->log.active->name.id == 9)
            ck_assert_int_eq(store_put(db, "k", "1"), BITCASK_OK);
        id = merging_seal(db);
    }
    ck_assert_uint_eq(id, 9);
    ck_assert_uint_eq(db->log.active->name.id, 10);
    ck_assert_int_eq(bitcask_delete(db, "k", 1, NULL, NULL), BITCASK_OK);
    ck_assert_uint_eq(merging_seal(db), 10);
    ck_assert_int_eq(merging_file(db, 10, NULL), BITCASK_OK);
    store_close(db);
    const char *name;
    while ((name = store_nth(path, ".hint", 0)) != NULL)
        store_remove(store_file(path, name));
    db = store_open(path, &o);
    store_expect(db, "k", NULL);
    ck_assert_uint_eq(merging_stats(db).keys, 9);
    store_close(db);
}
END_TEST

/* No value means a delete: not an empty one, and not what another store's tombstones look like. */
START_TEST(test_values_that_look_like_tombstones)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "bitcask_tombstones are fun"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "b", "bitcask_tombstone"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "c", ""), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "d", "1"), BITCASK_OK);
    ck_assert_int_eq(store_put(db, "d", "2"), BITCASK_OK);
    (void)merging_all(db);
    for (int again = 0; again < 2; again++) {
        store_expect(db, "a", "bitcask_tombstones are fun");
        store_expect(db, "b", "bitcask_tombstone");
        store_expect(db, "c", "");
        store_close(db);
        db = store_open(path, &o);
    }
    store_close(db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("merge_damage");
    TCase *t = store_tcase("damage");
    store_add_test(t, test_damage_of_every_part_keeps_the_file_and_all_else);
    store_add_test(t, test_policy_merge_goes_on_with_the_others);
    store_add_test(t, test_chosen_files_beside_a_damaged_one_are_merged);
    store_add_test(t, test_damaged_tombstone_that_must_stay_bars_its_file);
    store_add_test(t, test_damaged_value_shadows_older_versions);
    suite_add_tcase(s, t);
    t = store_tcase("hints");
    store_add_test(t, test_tombstone_beside_an_untrustworthy_hint);
    store_add_test(t, test_forged_hint_of_an_input);
    suite_add_tcase(s, t);
    t = store_tcase("others' bugs");
    store_add_test(t, test_flipped_length_costs_one_key_of_a_thousand);
    store_add_test(t, test_flipped_length_and_a_merge_by_policy);
    store_add_test(t, test_flipped_value_costs_one_key_of_a_thousand);
    store_add_test(t, test_overwrite_that_is_cut_anywhere_leaves_one_of_both_values);
    store_add_test(t, test_deleted_key_stays_away_after_a_merge_by_policy);
    store_add_test(t, test_tombstone_in_the_tenth_file);
    store_add_test(t, test_values_that_look_like_tombstones);
    suite_add_tcase(s, t);
    return s;
}
