/* test_scan.c - bitcask/scan.h: the records of a data file in order, whatever the file holds. On a simulated disk. */
#include "bitcask/scan.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/coding.h"
#include "bitcask/crc.h"
#include "bitcask/error.h"
#include "test/support/simdisk.h"

static const struct bc_file_name file = {3, 0x123456789abcdef0};

struct image {
    unsigned char *bytes;
    size_t size;
};

static void append(struct image *image, uint8_t type, uint64_t sequence, const char *key, size_t key_size, size_t value_size,
                   int64_t expire_at_ms)
{
    struct bc_record r = {.sequence = sequence,
                          .type = type,
                          .flags = expire_at_ms != 0 ? BC_RECORD_EXPIRES : 0,
                          .key_size = (uint16_t)key_size,
                          .value_size = (uint32_t)value_size,
                          .expire_at_ms = expire_at_ms};
    size_t at = image->size, footprint = (size_t)bc_record_footprint(&r);
    image->bytes = realloc(image->bytes, at + footprint);
    unsigned char *p = image->bytes + at;
    memset(p, 0, footprint);
    unsigned char *key_at = p + bc_record_head_size(&r), *value = key_at + key_size;
    memcpy(key_at, key, key_size);
    for (size_t i = 0; i < value_size; i++)
        value[i] = (unsigned char)(i * 5 + sequence);
    if (type == BC_RECORD_BATCH)
        bc_batch_encode(value, 1, 48);
    bc_record_encode(p, &r, bc_record_seed(file.nonce, at), key_at, value);
    image->size += footprint;
}

static struct image new_image(void)
{
    return (struct image){calloc(1, BC_DATA_START), BC_DATA_START};
}

struct run {
    struct simdisk *disk;
    int dir, fd;
    struct bc_scan scan;
};

static void begin(struct run *r, const struct image *image, uint64_t limit)
{
    r->disk = simdisk_new(1);
    const struct bc_io *io = simdisk_io(r->disk);
    ck_assert_int_eq(io->dir_open(io->ctx, "/store", true, &r->dir), 0);
    ck_assert_int_eq(simdisk_write_file(r->disk, "/store/file", image->bytes, image->size), 0);
    ck_assert_int_eq(io->open(io->ctx, r->dir, "file", 0, 0600, &r->fd), 0);
    ck_assert_int_eq(bc_scan_init(&r->scan, io, &bc_allocator_default, r->fd, &file, BC_DATA_START, limit), BITCASK_OK);
}

static void end(struct run *r, struct image *image)
{
    bc_scan_free(&r->scan);
    simdisk_free(r->disk);
    free(image->bytes);
}

/* Records of every size, some many times the scan's buffer, the largest keys with them. */
START_TEST(test_every_size)
{
    static const size_t keys[] = {1, 2, 8, 255, 65535}, values[] = {0, 1, 100, 65536, 524288, 524289, 1600000};
    static char key[65535];
    struct image image = new_image();
    uint64_t sequence = 1;
    for (size_t k = 0; k < 5; k++)
        for (size_t v = 0; v < 7; v++, sequence++) {
            memset(key, (int)('a' + k), sizeof key);
            append(&image, BC_RECORD_PUT, sequence, key, keys[k], values[v], sequence % 3 == 0 ? 4102444800000 : 0);
        }
    append(&image, BC_RECORD_TOMBSTONE, sequence, "gone", 4, 0, 0);
    struct run r;
    begin(&r, &image, image.size);
    for (uint64_t i = 1; i < sequence; i++) {
        ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_RECORD);
        size_t k = (size_t)(i - 1) / 7, v = (size_t)(i - 1) % 7;
        memset(key, (int)('a' + k), sizeof key);
        ck_assert_uint_eq(r.scan.record.sequence, i);
        ck_assert_uint_eq(r.scan.record.key_size, keys[k]);
        ck_assert_uint_eq(r.scan.record.value_size, values[v]);
        ck_assert_int_eq(r.scan.record.expire_at_ms, i % 3 == 0 ? 4102444800000 : 0);
        ck_assert(r.scan.value_ok);
        ck_assert_int_eq(memcmp(r.scan.key, key, keys[k]), 0);
        ck_assert_ptr_null(r.scan.small_value);
        ck_assert_uint_eq(r.scan.offset + r.scan.footprint, r.scan.next);
    }
    ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_RECORD);
    ck_assert_int_eq(r.scan.record.type, BC_RECORD_TOMBSTONE);
    ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_END);
    ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_END);
    ck_assert_uint_eq(r.scan.next, image.size);
    end(&r, &image);
}
END_TEST

START_TEST(test_service_record)
{
    struct image image = new_image();
    append(&image, BC_RECORD_BATCH, 7, "", 0, BC_BATCH_VALUE, 0);
    struct run r;
    begin(&r, &image, image.size);
    ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_RECORD);
    uint32_t count;
    uint64_t bytes;
    ck_assert_ptr_nonnull(r.scan.small_value);
    ck_assert(bc_batch_decode(r.scan.small_value, &count, &bytes) && count == 1 && bytes == 48);
    end(&r, &image);
}
END_TEST

/* The limit cuts: no byte at or beyond it is looked at, whatever stands there; a record that crosses it is none. */
START_TEST(test_limit)
{
    struct image image = new_image();
    append(&image, BC_RECORD_PUT, 1, "a", 1, 100, 0);
    uint64_t middle = image.size;
    append(&image, BC_RECORD_PUT, 2, "b", 1, 600000, 0);
    for (unsigned round = 0; round < 4; round++) {
        struct image copy = {malloc(image.size), image.size};
        memcpy(copy.bytes, image.bytes, image.size);
        struct run r;
        begin(&r, &copy, round == 0 ? middle : round == 1 ? middle + 8 : image.size - 8 * (round - 1));
        ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_RECORD);
        ck_assert_int_eq(bc_scan_next(&r.scan), round == 0 ? BC_SCAN_END : BC_SCAN_BAD);
        ck_assert_uint_eq(r.scan.next, middle);
        end(&r, &copy);
    }
    free(image.bytes);
}
END_TEST

/* Cut off at every length: whole records before it, and never a byte behind the end taken for one. */
START_TEST(test_truncated_everywhere)
{
    struct image image = new_image();
    append(&image, BC_RECORD_PUT, 1, "a", 1, 3, 0);
    uint64_t second = image.size;
    append(&image, BC_RECORD_PUT, 2, "bb", 2, 5, 4102444800000);
    for (size_t size = BC_DATA_START; size < image.size; size++) {
        struct image cut = {malloc(image.size), size};
        memcpy(cut.bytes, image.bytes, size);
        for (unsigned whole = 0; whole < 2; whole++) { /* the limit at the cut, and behind it as a listed end would say */
            struct run r;
            struct image copy = {malloc(size + 1), size};
            memcpy(copy.bytes, cut.bytes, size);
            begin(&r, &copy, whole == 0 ? size : image.size);
            enum bc_scan_result result = bc_scan_next(&r.scan);
            uint64_t value_end = BC_DATA_START + BC_RECORD_HEADER + 1 + 3;
            if (result == BC_SCAN_RECORD && r.scan.value_ok)
                ck_assert_uint_ge(size, value_end);
            if (size >= second)
                ck_assert(result == BC_SCAN_RECORD && r.scan.value_ok);
            if (result == BC_SCAN_RECORD) {
                result = bc_scan_next(&r.scan);
                bool good = result == BC_SCAN_RECORD && r.scan.value_ok;
                ck_assert(!good || size >= second + BC_RECORD_HEADER + BC_RECORD_EXPIRY + 2 + 5);
                if (whole == 0)
                    ck_assert_int_ne(result, BC_SCAN_RECORD);
            }
            end(&r, &copy);
        }
        free(cut.bytes);
    }
    free(image.bytes);
}
END_TEST

/* Every bit of a record's bytes: the head makes it none, the value makes it a record with a bad value. Padding is nothing. */
START_TEST(test_every_bit)
{
    struct image image = new_image();
    append(&image, BC_RECORD_PUT, 1, "key", 3, 10, 0);
    const size_t head = BC_RECORD_HEADER + 3, value_end = head + 10;
    for (size_t i = 0; i < (image.size - BC_DATA_START) * 8; i++) {
        struct image copy = {malloc(image.size), image.size};
        memcpy(copy.bytes, image.bytes, image.size);
        copy.bytes[BC_DATA_START + i / 8] ^= (unsigned char)(1U << (i % 8));
        struct run r;
        begin(&r, &copy, image.size);
        enum bc_scan_result result = bc_scan_next(&r.scan);
        size_t at = i / 8;
        if (at >= head)
            ck_assert(result == BC_SCAN_RECORD && r.scan.value_ok == (at >= value_end));
        else
            ck_assert_int_eq(result, BC_SCAN_BAD);
        end(&r, &copy);
    }
    free(image.bytes);
}
END_TEST

/* A bad bit far in a value larger than the buffer; the key is still told. */
START_TEST(test_bad_large_value)
{
    struct image image = new_image();
    append(&image, BC_RECORD_PUT, 1, "key", 3, 1200000, 0);
    append(&image, BC_RECORD_PUT, 2, "next", 4, 1, 0);
    image.bytes[BC_DATA_START + 1000000] ^= 1;
    struct run r;
    begin(&r, &image, image.size);
    ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_RECORD);
    ck_assert(!r.scan.value_ok && r.scan.record.key_size == 3 && memcmp(r.scan.key, "key", 3) == 0);
    ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_RECORD);
    ck_assert(r.scan.value_ok && memcmp(r.scan.key, "next", 4) == 0);
    end(&r, &image);
}
END_TEST

/* Records of another file or place never pass: copies of a good one, shifted and under another nonce. */
START_TEST(test_misplaced_record)
{
    struct image image = new_image();
    append(&image, BC_RECORD_PUT, 1, "key", 3, 10, 0);
    size_t size = image.size - BC_DATA_START;
    image.bytes = realloc(image.bytes, image.size + size);
    memcpy(image.bytes + image.size, image.bytes + BC_DATA_START, size);
    image.size += size;
    struct run r;
    begin(&r, &image, image.size);
    ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_RECORD);
    ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_BAD);
    bc_scan_free(&r.scan);
    struct bc_file_name other = {file.id, file.nonce + 1};
    ck_assert_int_eq(bc_scan_init(&r.scan, simdisk_io(r.disk), &bc_allocator_default, r.fd, &other, BC_DATA_START, image.size),
                     BITCASK_OK);
    ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_BAD);
    end(&r, &image);
}
END_TEST

/* Behind the last record: zeros as prepared space has, of any length; one byte that is not. */
START_TEST(test_zero_tail)
{
    static const size_t tails[] = {8, 4096, 524288, 1500000};
    for (size_t i = 0; i < 4; i++) {
        for (unsigned dirty = 0; dirty < 3; dirty++) {
            struct image image = new_image();
            append(&image, BC_RECORD_PUT, 1, "key", 3, 10, 0);
            size_t end_of_record = image.size;
            image.bytes = realloc(image.bytes, image.size + tails[i]);
            memset(image.bytes + image.size, 0, tails[i]);
            image.size += tails[i];
            if (dirty != 0)
                image.bytes[dirty == 1 ? end_of_record : image.size - 1] = 1;
            struct run r;
            bool zero = dirty == 0;
            begin(&r, &image, image.size);
            ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_RECORD);
            ck_assert_int_eq(bc_scan_next(&r.scan), BC_SCAN_BAD);
            ck_assert_int_eq(bc_scan_all_zero(&r.scan, &zero), dirty == 0 ? BC_SCAN_END : BC_SCAN_BAD);
            ck_assert_int_eq(zero, dirty == 0);
            end(&r, &image);
        }
    }
}
END_TEST

/* Sizes that claim the whole world cost one buffer, and a read error is an error, not an end. */
START_TEST(test_hostile_sizes_and_read_errors)
{
    struct image image = new_image();
    append(&image, BC_RECORD_PUT, 1, "key", 3, 10, 0);
    struct bc_record r = {.sequence = 2, .type = BC_RECORD_PUT, .key_size = 65535, .value_size = BC_VALUE_MAX};
    size_t at = image.size;
    static char key[65535];
    image.bytes = realloc(image.bytes, at + 70000);
    memset(image.bytes + at, 0, 70000);
    /* A good head over sizes that nobody could have written: only its CRC is made for them. */
    struct bc_record small = r;
    small.value_size = 0;
    unsigned char *p = image.bytes + at;
    memcpy(p + BC_RECORD_HEADER, key, sizeof key);
    bc_record_encode(p, &small, bc_record_seed(file.nonce, at), key, "");
    bc_put_u32(p + 16, r.value_size);
    bc_put_u32(p, bc_crc32(bc_record_seed(file.nonce, at), p + 4, BC_RECORD_HEADER - 4 + sizeof key));
    image.size += 70000;
    struct run run;
    begin(&run, &image, image.size);
    ck_assert_int_eq(bc_scan_next(&run.scan), BC_SCAN_RECORD);
    ck_assert_int_eq(bc_scan_next(&run.scan), BC_SCAN_BAD);
    bc_scan_free(&run.scan);
    /* With a limit that the sizes fit below, the file's end is met first: its value is bad. */
    uint64_t limit = at + bc_record_footprint(&r);
    ck_assert_int_eq(bc_scan_init(&run.scan, simdisk_io(run.disk), &bc_allocator_default, run.fd, &file, at, limit),
                     BITCASK_OK);
    ck_assert_int_eq(bc_scan_next(&run.scan), BC_SCAN_RECORD);
    ck_assert(!run.scan.value_ok);
    ck_assert_int_eq(bc_scan_next(&run.scan), BC_SCAN_END);
    bc_scan_free(&run.scan);
    const struct simdisk_fault fault = {.kinds = SIMDISK_READ, .at = 1, .error = EIO, .from = true};
    simdisk_fail(run.disk, &fault);
    ck_assert_int_eq(
        bc_scan_init(&run.scan, simdisk_io(run.disk), &bc_allocator_default, run.fd, &file, BC_DATA_START, image.size),
        BITCASK_OK);
    ck_assert_int_eq(bc_scan_next(&run.scan), BC_SCAN_FAILED);
    ck_assert_int_eq(bitcask_last_error()->result, BITCASK_IO);
    ck_assert_str_eq(bitcask_last_error()->file, "0000000003.data");
    end(&run, &image);
}
END_TEST

/* P14: heads that are good, one every 32 bytes, each with a value that reaches to the end of the file and is bad: to check all
 * of them would take the square of the file's size. */
START_TEST(test_hostile_resync_ends)
{
    struct image image = new_image();
    const size_t size = 4U << 20;
    image.bytes = realloc(image.bytes, size);
    memset(image.bytes + BC_DATA_START, 0, size - BC_DATA_START);
    image.size = size;
    for (size_t at = BC_DATA_START + 64; at + 64 < size; at += 32) {
        struct bc_record r = {.sequence = at, .type = BC_RECORD_PUT, .key_size = 1, .value_size = (uint32_t)(size - at - 8192)};
        if (size - at <= 8192)
            break;
        image.bytes[at + BC_RECORD_HEADER] = (unsigned char)0x6b;
        bc_record_encode_head(image.bytes + at, &r, bc_record_seed(file.nonce, at), "k", 12345);
    }
    struct run run;
    begin(&run, &image, size);
    ck_assert_int_eq(bc_scan_next(&run.scan), BC_SCAN_BAD);
    ck_assert_int_eq(bc_scan_resync(&run.scan), BC_SCAN_END);
    ck_assert_uint_ge(run.scan.work, 16 * size); /* it did meet them */
    ck_assert_uint_le(run.scan.work, 40 * size);
    end(&run, &image);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("scan");
    TCase *t = tcase_create("scan");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, test_every_size);
    tcase_add_test(t, test_service_record);
    tcase_add_test(t, test_limit);
    tcase_add_test(t, test_truncated_everywhere);
    tcase_add_test(t, test_every_bit);
    tcase_add_test(t, test_bad_large_value);
    tcase_add_test(t, test_misplaced_record);
    tcase_add_test(t, test_zero_tail);
    tcase_add_test(t, test_hostile_sizes_and_read_errors);
    tcase_add_test(t, test_hostile_resync_ends);
    suite_add_tcase(s, t);
    return s;
}
