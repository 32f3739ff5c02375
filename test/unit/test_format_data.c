/* The static header of a data file and the slots of the durable mark. */
#include "bitcask/format_data.h"

#include <check.h>

#include "bitcask/coding.h"
#include "bitcask/crc.h"

#define NONCE 0x0123456789ABCDEFU

static struct bc_data_header sample(void)
{
    struct bc_data_header h = {
        .store = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
        .name = {1000, NONCE},
        .created_ms = 1700000000123,
        .cleared_below = 999,
        .kind = BC_DATA_KIND_MERGE,
        .input_count = 2,
        .inputs = {{3, 33}, {999, 99}},
    };
    return h;
}

static void reseal(uint8_t *p)
{
    bc_put_u32(p + 4092, bc_crc32(0, p, 4092));
}

START_TEST(header_layout)
{
    uint8_t p[BC_DATA_HEADER_SIZE], tail[BC_DATA_HEADER_SIZE - 4 - 112] = {0};
    struct bc_data_header h = sample();
    memset(p, 0xee, sizeof p);
    bc_data_header_encode(p, &h);
    ck_assert_mem_eq(p,
                     "\x89"
                     "BCDATA\n",
                     8);
    ck_assert_uint_eq(bc_get_u32(p + 8), 1);
    ck_assert_uint_eq(bc_get_u32(p + 12), 4096);
    ck_assert_uint_eq(bc_get_u64(p + 16), 0);
    ck_assert_uint_eq(bc_get_u64(p + 24), 1000);
    ck_assert_uint_eq(bc_get_u64(p + 32), NONCE);
    ck_assert_mem_eq(p + 40, h.store.bytes, 16);
    ck_assert_uint_eq(bc_get_u64(p + 56), 1700000000123);
    ck_assert_uint_eq(bc_get_u64(p + 64), 999);
    ck_assert_uint_eq(bc_get_u32(p + 72), 2);
    ck_assert_uint_eq(bc_get_u32(p + 76), BC_DATA_KIND_MERGE);
    ck_assert_uint_eq(bc_get_u64(p + 80), 3);
    ck_assert_uint_eq(bc_get_u64(p + 88), 33);
    ck_assert_uint_eq(bc_get_u64(p + 96), 999);
    ck_assert_uint_eq(bc_get_u64(p + 104), 99);
    ck_assert_mem_eq(p + 112, tail, sizeof tail);
    ck_assert_uint_eq(bc_get_u32(p + 4092), bc_crc32(0, p, 4092));
}
END_TEST

START_TEST(header_round_trip)
{
    uint8_t p[BC_DATA_HEADER_SIZE];
    struct bc_data_header h = sample(), got;
    bc_data_header_encode(p, &h);
    ck_assert_int_eq(bc_data_header_decode(&got, p), BC_FORMAT_OK);
    ck_assert_mem_eq(&got, &h, sizeof h);
    h.kind = BC_DATA_KIND_LOG;
    h.input_count = 0;
    memset(h.inputs, 0, sizeof h.inputs);
    bc_data_header_encode(p, &h);
    ck_assert_int_eq(bc_data_header_decode(&got, p), BC_FORMAT_OK);
    ck_assert_mem_eq(&got, &h, sizeof h);
}
END_TEST

START_TEST(header_holds_all_inputs)
{
    uint8_t p[BC_DATA_HEADER_SIZE];
    struct bc_data_header h = sample(), got;
    h.input_count = BC_DATA_INPUTS_MAX;
    for (uint32_t i = 0; i < BC_DATA_INPUTS_MAX; i++)
        h.inputs[i] = (struct bc_file_name){i + 1, ~(uint64_t)i};
    bc_data_header_encode(p, &h);
    ck_assert_int_eq(bc_data_header_decode(&got, p), BC_FORMAT_OK);
    ck_assert_mem_eq(&got, &h, sizeof h);
}
END_TEST

START_TEST(header_every_flipped_bit_is_bad)
{
    uint8_t p[BC_DATA_HEADER_SIZE];
    struct bc_data_header h = sample(), got = {.kind = 77};
    bc_data_header_encode(p, &h);
    for (size_t bit = 0; bit < 8 * sizeof p; bit++) {
        p[bit / 8] ^= (uint8_t)(1U << bit % 8);
        ck_assert_int_eq(bc_data_header_decode(&got, p), BC_FORMAT_BAD);
        p[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    ck_assert_uint_eq(got.kind, 77);
    memset(p, 0, sizeof p);
    ck_assert_int_eq(bc_data_header_decode(&got, p), BC_FORMAT_BAD);
}
END_TEST

/* A 32-bit field of an otherwise intact header, and what it makes of it. */
static const struct {
    unsigned at;
    uint32_t value;
    enum bc_format_check expected;
} patches[] = {
    {8, 2, BC_FORMAT_UNSUPPORTED},
    {8, 0, BC_FORMAT_UNSUPPORTED},
    {20, 1, BC_FORMAT_UNSUPPORTED},
    {20, 0x80000000U, BC_FORMAT_UNSUPPORTED},
    {16, 0xFFFFFFFFU, BC_FORMAT_OK}, /* compatible flags */
    {4000, 0, BC_FORMAT_OK},         /* no change */
    {12, 8192, BC_FORMAT_BAD},       /* header size */
    {24, 0, BC_FORMAT_BAD},          /* id 0 */
    {64, 1001, BC_FORMAT_BAD},       /* cleared below a later id */
    {64, 1000, BC_FORMAT_OK},
    {72, 251, BC_FORMAT_BAD}, /* inputs */
    {72, 0xFFFFFFFFU, BC_FORMAT_BAD},
    {72, 3, BC_FORMAT_BAD},                /* the third one has id 0 */
    {76, 2, BC_FORMAT_BAD},                /* kind */
    {76, BC_DATA_KIND_LOG, BC_FORMAT_BAD}, /* a log file replaces nothing */
    {96, 1000, BC_FORMAT_BAD},             /* its own input */
    {100, 1, BC_FORMAT_BAD},               /* an input with a higher id */
};

START_TEST(header_rules)
{
    uint8_t p[BC_DATA_HEADER_SIZE];
    struct bc_data_header h = sample(), got;
    bc_data_header_encode(p, &h);
    bc_put_u32(p + patches[_i].at, patches[_i].value);
    reseal(p);
    ck_assert_int_eq(bc_data_header_decode(&got, p), patches[_i].expected);
}
END_TEST

/* Damage goes before the question of version: a flipped version is damage, not a file of the future. */
START_TEST(header_damage_is_not_unsupported)
{
    uint8_t p[BC_DATA_HEADER_SIZE];
    struct bc_data_header h = sample(), got;
    bc_data_header_encode(p, &h);
    p[8] = 2;
    ck_assert_int_eq(bc_data_header_decode(&got, p), BC_FORMAT_BAD);
    reseal(p);
    ck_assert_int_eq(bc_data_header_decode(&got, p), BC_FORMAT_UNSUPPORTED);
    /* Nor are the rules of this version asked about another one's fields. */
    memset(p + 24, 0xff, 200);
    reseal(p);
    ck_assert_int_eq(bc_data_header_decode(&got, p), BC_FORMAT_UNSUPPORTED);
}
END_TEST

START_TEST(mark_layout)
{
    uint8_t p[BC_DATA_MARK_SIZE];
    bc_mark_encode(p, NONCE, 7, 65536);
    ck_assert_uint_eq(bc_get_u32(p), bc_crc32(0x89ABCDEFU ^ 0x01234567U, p + 4, 28));
    ck_assert_mem_eq(p + 4, "MARK", 4);
    ck_assert_uint_eq(bc_get_u64(p + 8), 7);
    ck_assert_uint_eq(bc_get_u64(p + 16), 65536);
    ck_assert_uint_eq(bc_get_u64(p + 24), 0);
}
END_TEST

START_TEST(mark_round_trip)
{
    uint8_t p[BC_DATA_MARK_SIZE];
    uint64_t counter = 1, offset = 1;
    bc_mark_encode(p, NONCE, UINT64_MAX, UINT64_MAX - 7);
    ck_assert(bc_mark_decode(p, NONCE, &counter, &offset));
    ck_assert(counter == UINT64_MAX && offset == UINT64_MAX - 7);
    bc_mark_encode(p, 0, 0, BC_DATA_START);
    ck_assert(bc_mark_decode(p, 0, &counter, &offset));
    ck_assert(counter == 0 && offset == BC_DATA_START);
}
END_TEST

START_TEST(mark_damaged_or_foreign)
{
    uint8_t p[BC_DATA_MARK_SIZE], zeros[BC_DATA_MARK_SIZE] = {0};
    uint64_t counter = 1, offset = 2;
    bc_mark_encode(p, NONCE, 7, 65536);
    for (size_t bit = 0; bit < 8 * sizeof p; bit++) {
        p[bit / 8] ^= (uint8_t)(1U << bit % 8);
        ck_assert(!bc_mark_decode(p, NONCE, &counter, &offset));
        p[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    for (unsigned bit = 0; bit < 64; bit++)
        ck_assert(!bc_mark_decode(p, NONCE ^ (uint64_t)1 << bit, &counter, &offset));
    ck_assert(!bc_mark_decode(zeros, NONCE, &counter, &offset));
    ck_assert(!bc_mark_decode(zeros, 0, &counter, &offset));
    ck_assert(counter == 1 && offset == 2);
}
END_TEST

START_TEST(mark_rules)
{
    static const uint64_t bad[] = {0, BC_DATA_START - 8, BC_DATA_START + 1, 65536 + 4};
    uint8_t p[BC_DATA_MARK_SIZE];
    uint64_t counter, offset;
    for (size_t i = 0; i < BC_ARRAY_SIZE(bad); i++) {
        bc_mark_encode(p, NONCE, 7, bad[i]);
        ck_assert(!bc_mark_decode(p, NONCE, &counter, &offset));
    }
    bc_mark_encode(p, NONCE, 7, 65536);
    p[24] = 1;
    bc_put_u32(p, bc_crc32(0x89ABCDEFU ^ 0x01234567U, p + 4, 28));
    ck_assert(!bc_mark_decode(p, NONCE, &counter, &offset));
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("format_data");
    TCase *tc = tcase_create("format_data");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, header_layout);
    tcase_add_test(tc, header_round_trip);
    tcase_add_test(tc, header_holds_all_inputs);
    tcase_add_test(tc, header_every_flipped_bit_is_bad);
    tcase_add_loop_test(tc, header_rules, 0, BC_ARRAY_SIZE(patches));
    tcase_add_test(tc, header_damage_is_not_unsupported);
    tcase_add_test(tc, mark_layout);
    tcase_add_test(tc, mark_round_trip);
    tcase_add_test(tc, mark_damaged_or_foreign);
    tcase_add_test(tc, mark_rules);
    suite_add_tcase(suite, tc);
    return suite;
}
