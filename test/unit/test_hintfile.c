/* test_hintfile.c - bitcask/hintfile.h: one entry a key, bound to (id, nonce, end); whatever is wrong with one, it is as if it
 * were absent; a build that fails leaves nothing. On a simulated disk. */
#include "bitcask/hintfile.h"

#include <check.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/datafile.h"
#include "bitcask/error.h"
#include "bitcask/format_record.h"
#include "bitcask/scan.h"
#include "test/support/simdisk.h"

static const struct bc_uuid store = {{7, 7, 7}};
static const struct bc_file_name file = {5, 0xfeedface12345678};
#define DATA "/store/0000000005.data"
#define HINT "/store/0000000005.hint"

struct fixture {
    struct simdisk *disk;
    struct bc_directory dir;
    unsigned char *bytes;
    size_t size;
    uint64_t sequence;
};

static void begin(struct fixture *f)
{
    const struct bc_data_header h = {.store = store, .name = file};
    memset(f, 0, sizeof *f);
    f->disk = simdisk_new(1);
    ck_assert_int_eq(bc_directory_open(&f->dir, simdisk_io(f->disk), "/store", true, 0600), BITCASK_OK);
    f->bytes = calloc(1, BC_DATA_START);
    f->size = BC_DATA_START;
    bc_data_header_encode(f->bytes, &h);
}

static void add(struct fixture *f, uint8_t type, const char *key, size_t key_size, size_t value_size, int64_t expire_at_ms)
{
    struct bc_record r = {.sequence = ++f->sequence,
                          .type = type,
                          .flags = expire_at_ms != 0 ? BC_RECORD_EXPIRES : 0,
                          .key_size = (uint16_t)key_size,
                          .value_size = (uint32_t)value_size,
                          .expire_at_ms = expire_at_ms};
    size_t footprint = (size_t)bc_record_footprint(&r);
    f->bytes = realloc(f->bytes, f->size + footprint);
    unsigned char *p = f->bytes + f->size;
    memset(p, 0, footprint);
    unsigned char *key_at = p + bc_record_head_size(&r), *value = key_at + key_size;
    memcpy(key_at, key, key_size);
    memset(value, 'v', value_size);
    if (type == BC_RECORD_BATCH)
        bc_batch_encode(value, 2, 64);
    bc_record_encode(p, &r, bc_record_seed(file.nonce, f->size), key_at, value);
    f->size += footprint;
}

static void save(struct fixture *f)
{
    ck_assert_int_eq(simdisk_write_file(f->disk, DATA, f->bytes, f->size), 0);
}

static int build(struct fixture *f)
{
    return bc_hint_build(&f->dir, &bc_allocator_default, &store, &file, f->size, NULL);
}

static void end(struct fixture *f)
{
    bc_directory_close(&f->dir);
    ck_assert_uint_eq(simdisk_open_descriptors(f->disk), 0);
    simdisk_free(f->disk);
    free(f->bytes);
}

/* What a reading gave. */
struct seen {
    size_t entries, calls;
    uint64_t last_sequence[64]; /* by the key's first byte */
    uint8_t type[64];
    unsigned times[64];
    int64_t expire_at_ms[64];
    int answer;
};

static int take(const struct bc_hint_entry *entries, size_t count, void *arg)
{
    struct seen *s = arg;
    ck_assert_uint_ge(count, 1);
    ck_assert_uint_le(count, BC_HINT_BATCH);
    for (size_t i = 0; i < count; i++) {
        unsigned k = *(const unsigned char *)entries[i].key & 63;
        s->last_sequence[k] = entries[i].sequence;
        s->type[k] = entries[i].type;
        s->expire_at_ms[k] = entries[i].expire_at_ms;
        s->times[k]++;
    }
    s->entries += count;
    s->calls++;
    return s->answer;
}

static bool read_hint(struct fixture *f, const struct bc_file_name *name, uint64_t data_end, struct seen *s)
{
    struct bc_hint_header header = {.entries = 12345};
    bool valid = true;
    memset(s, 0, sizeof *s);
    ck_assert_int_eq(bc_hint_read(&f->dir, &bc_allocator_default, name, data_end, take, s, &header, &valid), BITCASK_OK);
    ck_assert_uint_eq(header.entries, valid ? s->entries : 12345);
    return valid;
}

START_TEST(test_one_entry_a_key)
{
    struct fixture f;
    struct seen s;
    begin(&f);
    for (unsigned round = 0; round < 20; round++)
        for (char k = 0; k < 50; k++) {
            if (round > 0 && k % 3 == 0)
                continue;
            char key[2] = {k, 'x'};
            bool gone = k % 5 == 1 && round == 19;
            add(&f, gone ? BC_RECORD_TOMBSTONE : BC_RECORD_PUT, key, 2, gone ? 0 : 30,
                gone || k % 7 != 0 ? 0 : 4102444800000 + k);
        }
    save(&f);
    ck_assert_int_eq(build(&f), BITCASK_OK);
    ck_assert(read_hint(&f, &file, f.size, &s));
    ck_assert_uint_eq(s.entries, 50);
    for (unsigned k = 0; k < 50; k++) {
        ck_assert_uint_eq(s.times[k], 1);
        ck_assert_int_eq(s.type[k], k % 5 == 1 && k % 3 != 0 ? BC_RECORD_TOMBSTONE : BC_RECORD_PUT);
        ck_assert(k % 3 == 0 ? s.last_sequence[k] <= 50 : s.last_sequence[k] > f.sequence - 50);
        ck_assert_int_eq(s.expire_at_ms[k], s.type[k] == BC_RECORD_PUT && k % 7 == 0 ? 4102444800000 + k : 0);
    }
    uint64_t size;
    ck_assert_int_eq(simdisk_size(f.disk, "/store/0000000005.hint.tmp", SIMDISK_VOLATILE, &size), ENOENT);
    end(&f);
}
END_TEST

/* Service records have no entry; keys of 65,535 bytes and thousands of keys make many blocks. */
START_TEST(test_many_blocks)
{
    static char key[65535];
    struct fixture f;
    struct seen s;
    begin(&f);
    add(&f, BC_RECORD_BATCH, "", 0, BC_BATCH_VALUE, 0);
    for (unsigned i = 0; i < 5000; i++) {
        int size = snprintf(key, sizeof key, "%06u", i);
        add(&f, BC_RECORD_PUT, key, (size_t)size, 0, 0);
    }
    for (unsigned i = 0; i < 5; i++) {
        memset(key, (int)('a' + i), sizeof key);
        add(&f, BC_RECORD_PUT, key, sizeof key, 10, 0);
        add(&f, BC_RECORD_PUT, key, sizeof key - 1, 10, 0);
    }
    save(&f);
    ck_assert_int_eq(build(&f), BITCASK_OK);
    ck_assert(read_hint(&f, &file, f.size, &s));
    ck_assert_uint_eq(s.entries, 5010);
    end(&f);
}
END_TEST

START_TEST(test_no_key_at_all)
{
    struct fixture f;
    struct seen s;
    begin(&f);
    save(&f);
    ck_assert(!read_hint(&f, &file, f.size, &s)); /* none there */
    ck_assert_int_eq(build(&f), BITCASK_OK);
    ck_assert(read_hint(&f, &file, f.size, &s));
    ck_assert_uint_eq(s.entries, 0);
    end(&f);
}
END_TEST

/* A hint of another file, of the file before it went on, of a copy of the store. */
START_TEST(test_bound_to_its_file)
{
    struct fixture f;
    struct seen s;
    begin(&f);
    add(&f, BC_RECORD_PUT, "a", 1, 10, 0);
    add(&f, BC_RECORD_PUT, "b", 1, 10, 0);
    save(&f);
    ck_assert_int_eq(build(&f), BITCASK_OK);
    struct bc_file_name other = {file.id, file.nonce + 1};
    ck_assert(!read_hint(&f, &other, f.size, &s));
    ck_assert_uint_eq(s.entries, 0);
    ck_assert(!read_hint(&f, &file, f.size + 8, &s));
    ck_assert(!read_hint(&f, &file, f.size - 8, &s));
    ck_assert_uint_eq(s.entries, 0);
    void *data;
    size_t size;
    ck_assert_int_eq(simdisk_read_file(f.disk, HINT, SIMDISK_VOLATILE, &data, &size), 0);
    ck_assert_int_eq(simdisk_write_file(f.disk, "/store/0000000006.hint", data, size), 0);
    other = (struct bc_file_name){6, file.nonce};
    ck_assert(!read_hint(&f, &other, f.size, &s));
    free(data);
    ck_assert(read_hint(&f, &file, f.size, &s));
    end(&f);
}
END_TEST

/* Every bit, every length, bytes behind the end: never valid, and entries that were given are entries that were written. */
START_TEST(test_every_bit_and_every_length)
{
    struct fixture f;
    struct seen s;
    begin(&f);
    for (char k = 0; k < 20; k++)
        add(&f, BC_RECORD_PUT, &k, 1, 10, 0);
    save(&f);
    ck_assert_int_eq(build(&f), BITCASK_OK);
    void *data;
    size_t size;
    ck_assert_int_eq(simdisk_read_file(f.disk, HINT, SIMDISK_VOLATILE, &data, &size), 0);
    for (size_t bit = 0; bit < size * 8; bit++) {
        unsigned char *copy = malloc(size);
        memcpy(copy, data, size);
        copy[bit / 8] ^= (unsigned char)(1U << (bit % 8));
        ck_assert_int_eq(simdisk_write_file(f.disk, HINT, copy, size), 0);
        ck_assert_msg(!read_hint(&f, &file, f.size, &s), "bit %zu", bit);
        for (unsigned k = 0; k < 20; k++)
            ck_assert(s.times[k] == 0 || s.last_sequence[k] == k + 1);
        free(copy);
    }
    for (size_t cut = 0; cut < size; cut++) {
        ck_assert_int_eq(simdisk_write_file(f.disk, HINT, data, cut), 0);
        ck_assert(!read_hint(&f, &file, f.size, &s));
    }
    unsigned char *longer = calloc(1, size + 1);
    memcpy(longer, data, size);
    ck_assert_int_eq(simdisk_write_file(f.disk, HINT, longer, size + 1), 0);
    ck_assert(!read_hint(&f, &file, f.size, &s));
    free(longer);
    free(data);
    end(&f);
}
END_TEST

/* With good CRCs all over, counts and ends that contradict each other. */
START_TEST(test_inconsistent_with_itself)
{
    struct fixture f;
    struct seen s;
    begin(&f);
    add(&f, BC_RECORD_PUT, "a", 1, 10, 0);
    add(&f, BC_RECORD_TOMBSTONE, "b", 1, 0, 0);
    save(&f);
    ck_assert_int_eq(build(&f), BITCASK_OK);
    void *data;
    size_t size;
    ck_assert_int_eq(simdisk_read_file(f.disk, HINT, SIMDISK_VOLATILE, &data, &size), 0);
    struct bc_hint_header good;
    ck_assert_int_eq(bc_hint_header_decode(&good, data), BC_FORMAT_OK);
    ck_assert_uint_eq(good.entries, 2);
    ck_assert_uint_eq(good.tombstones, 1);
    ck_assert_uint_eq(good.min_sequence, 1);
    ck_assert_uint_eq(good.max_sequence, 2);
    for (unsigned i = 0; i < 9; i++) {
        struct bc_hint_header h = good;
        h.entries += i == 0 ? 1U : i == 1 ? UINT64_MAX : 0U;
        h.blocks += i == 2 ? 1U : i == 3 ? UINT64_MAX : 0U;
        h.size += i == 4 ? 8U : i == 5 ? UINT64_MAX - 7 : 0U;
        h.body_crc ^= i == 6;
        h.data.id += i == 7;
        h.data_end += i == 8 ? 8U : 0U;
        bc_hint_header_encode(data, &h);
        ck_assert_int_eq(simdisk_write_file(f.disk, HINT, data, size), 0);
        ck_assert_msg(!read_hint(&f, &file, f.size, &s), "case %u", i);
    }
    bc_hint_header_encode(data, &good);
    ck_assert_int_eq(simdisk_write_file(f.disk, HINT, data, size), 0);
    ck_assert(read_hint(&f, &file, f.size, &s));
    free(data);
    end(&f);
}
END_TEST

/* The receiver ends the reading; a read error is no hint, and no error. */
START_TEST(test_reader_stops_and_read_errors)
{
    struct fixture f;
    struct seen s = {.answer = BITCASK_NO_MEMORY};
    struct bc_hint_header header;
    bool valid = true;
    begin(&f);
    for (char k = 0; k < 60; k++)
        add(&f, BC_RECORD_PUT, &k, 1, 10, 0);
    save(&f);
    ck_assert_int_eq(build(&f), BITCASK_OK);
    ck_assert_int_eq(bc_hint_read(&f.dir, &bc_allocator_default, &file, f.size, take, &s, &header, &valid), BITCASK_NO_MEMORY);
    ck_assert(!valid);
    ck_assert_uint_eq(s.calls, 1);
    for (uint64_t at = 1; at <= 5; at++) {
        const struct simdisk_fault fault = {
            .kinds = SIMDISK_OPEN | SIMDISK_READ | SIMDISK_STAT, .name = ".hint", .at = at, .error = EIO, .from = true};
        simdisk_fail(f.disk, &fault);
        ck_assert(!read_hint(&f, &file, f.size, &s));
        simdisk_fail_clear(f.disk);
    }
    ck_assert_uint_eq(simdisk_fail_hits(f.disk), 5);
    end(&f);
}
END_TEST

/* Damage, cancel, and an error at every operation: no hint, the one that was there stands, no temporary file. */
START_TEST(test_build_fails_clean)
{
    struct fixture f;
    struct seen s;
    uint64_t size;
    begin(&f);
    for (char k = 0; k < 60; k++)
        add(&f, BC_RECORD_PUT, &k, 1, 3000, 0);
    save(&f);
    const _Atomic(bool) stop = true;
    ck_assert_int_eq(bc_hint_build(&f.dir, &bc_allocator_default, &store, &file, f.size, &stop), BITCASK_CANCELLED);
    ck_assert_int_eq(simdisk_size(f.disk, HINT, SIMDISK_VOLATILE, &size), ENOENT);
    unsigned failures = 0;
    for (uint64_t at = 1;; at++) {
        const struct simdisk_fault fault = {
            .kinds = SIMDISK_OPS_ALL & ~(SIMDISK_MEMORY | SIMDISK_UNLINK), .at = at, .error = EIO};
        simdisk_fail(f.disk, &fault);
        uint64_t hits = simdisk_fail_hits(f.disk);
        int result = build(&f);
        simdisk_fail_clear(f.disk);
        if (simdisk_fail_hits(f.disk) == hits)
            break;
        failures += result != BITCASK_OK;
        ck_assert_msg(result == BITCASK_OK || result == BITCASK_IO, "at %d: %s", (int)at, bitcask_errname(result));
        ck_assert_int_eq(simdisk_size(f.disk, HINT, SIMDISK_VOLATILE, &size), result == BITCASK_OK ? 0 : ENOENT);
        ck_assert_int_eq(simdisk_size(f.disk, "/store/0000000005.hint.tmp", SIMDISK_VOLATILE, &size), ENOENT);
    }
    ck_assert_uint_ge(failures, 8);
    ck_assert(read_hint(&f, &file, f.size, &s));
    /* Damage: a value of it, its head. The valid hint is not replaced by one from a damaged scan. */
    ck_assert_int_eq(simdisk_flip(f.disk, DATA, SIMDISK_BOTH, BC_DATA_START + 1000, 1), 0);
    ck_assert_int_eq(build(&f), BITCASK_CORRUPT);
    ck_assert_str_eq(bitcask_last_error()->file, "0000000005.data");
    ck_assert(read_hint(&f, &file, f.size, &s));
    save(&f);
    ck_assert_int_eq(simdisk_flip(f.disk, DATA, SIMDISK_BOTH, BC_DATA_START, 1), 0);
    ck_assert_int_eq(build(&f), BITCASK_CORRUPT);
    ck_assert_int_eq(simdisk_remove(f.disk, DATA), 0);
    ck_assert_int_eq(build(&f), BITCASK_CORRUPT);
    ck_assert(read_hint(&f, &file, f.size, &s));
    end(&f);
}
END_TEST

/* A disk without room is NO_SPACE, and what was half written goes. */
START_TEST(test_no_space)
{
    struct fixture f;
    struct seen s;
    uint64_t size;
    begin(&f);
    for (unsigned i = 0; i < 3000; i++) {
        char key[40];
        int n = snprintf(key, sizeof key, "a rather long key number %06u", i);
        add(&f, BC_RECORD_PUT, key, (size_t)n, 10, 0);
    }
    save(&f);
    simdisk_set_capacity(f.disk, simdisk_used(f.disk) + 8192);
    ck_assert_int_eq(build(&f), BITCASK_NO_SPACE);
    ck_assert_int_eq(simdisk_size(f.disk, HINT, SIMDISK_VOLATILE, &size), ENOENT);
    ck_assert_int_eq(simdisk_size(f.disk, "/store/0000000005.hint.tmp", SIMDISK_VOLATILE, &size), ENOENT);
    simdisk_set_capacity(f.disk, UINT64_MAX);
    ck_assert_int_eq(build(&f), BITCASK_OK);
    ck_assert(read_hint(&f, &file, f.size, &s));
    ck_assert_uint_eq(s.entries, 3000);
    end(&f);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("hintfile");
    TCase *t = tcase_create("hintfile");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, test_one_entry_a_key);
    tcase_add_test(t, test_many_blocks);
    tcase_add_test(t, test_no_key_at_all);
    tcase_add_test(t, test_bound_to_its_file);
    tcase_add_test(t, test_every_bit_and_every_length);
    tcase_add_test(t, test_inconsistent_with_itself);
    tcase_add_test(t, test_reader_stops_and_read_errors);
    tcase_add_test(t, test_build_fails_clean);
    tcase_add_test(t, test_no_space);
    suite_add_tcase(s, t);
    return s;
}
