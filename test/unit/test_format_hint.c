/* Hint files: header, blocks, entries; nothing in them is trusted beyond what holds. */
#include "bitcask/format_hint.h"

#include <check.h>
#include <stdlib.h>

#include "bitcask/coding.h"
#include "bitcask/crc.h"
#include "bitcask/format_record.h"

#define NONCE 0x0123456789ABCDEFU
#define DATA_END 65536U

static const struct bc_hint_header sample = {
    .data = {12, NONCE},
    .data_end = DATA_END,
    .entries = 10,
    .tombstones = 3,
    .blocks = 2,
    .min_sequence = 100,
    .max_sequence = 200,
    .size = 128 + 2 * 16 + 10 * 30,
    .body_crc = 0xAABBCCDD,
};

START_TEST(header_layout)
{
    uint8_t p[BC_HINT_HEADER], zeros[24] = {0};
    memset(p, 0xee, sizeof p);
    bc_hint_header_encode(p, &sample);
    ck_assert_mem_eq(p,
                     "\x89"
                     "BCHINT\n",
                     8);
    ck_assert_uint_eq(bc_get_u32(p + 8), 1);
    ck_assert_uint_eq(bc_get_u32(p + 12), 128);
    ck_assert_uint_eq(bc_get_u64(p + 16), 0);
    ck_assert_uint_eq(bc_get_u64(p + 24), 12);
    ck_assert_uint_eq(bc_get_u64(p + 32), NONCE);
    ck_assert_uint_eq(bc_get_u64(p + 40), DATA_END);
    ck_assert_uint_eq(bc_get_u64(p + 48), 10);
    ck_assert_uint_eq(bc_get_u64(p + 56), 3);
    ck_assert_uint_eq(bc_get_u64(p + 64), 2);
    ck_assert_uint_eq(bc_get_u64(p + 72), 100);
    ck_assert_uint_eq(bc_get_u64(p + 80), 200);
    ck_assert_uint_eq(bc_get_u64(p + 88), 460);
    ck_assert_uint_eq(bc_get_u32(p + 96), 0xAABBCCDD);
    ck_assert_mem_eq(p + 100, zeros, sizeof zeros);
    ck_assert_uint_eq(bc_get_u32(p + 124), bc_crc32(0, p, 124));
}
END_TEST

START_TEST(header_round_trip_and_damage)
{
    uint8_t p[BC_HINT_HEADER];
    struct bc_hint_header got;
    bc_hint_header_encode(p, &sample);
    ck_assert_int_eq(bc_hint_header_decode(&got, p), BC_FORMAT_OK);
    ck_assert(got.data.id == 12 && got.data.nonce == NONCE && got.data_end == DATA_END && got.entries == 10);
    ck_assert(got.tombstones == 3 && got.blocks == 2 && got.min_sequence == 100 && got.max_sequence == 200);
    ck_assert(got.size == 460 && got.body_crc == 0xAABBCCDD);
    for (size_t bit = 0; bit < 8 * sizeof p; bit++) {
        p[bit / 8] ^= (uint8_t)(1U << bit % 8);
        ck_assert_int_eq(bc_hint_header_decode(&got, p), BC_FORMAT_BAD);
        p[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    memset(p, 0, sizeof p);
    ck_assert_int_eq(bc_hint_header_decode(&got, p), BC_FORMAT_BAD);
}
END_TEST

static const struct {
    unsigned at;
    uint64_t value;
    enum bc_format_check expected;
} patches[] = {
    {8, 2 | (uint64_t)128 << 32, BC_FORMAT_UNSUPPORTED}, /* version */
    {8, 1 | (uint64_t)132 << 32, BC_FORMAT_BAD},         /* header size */
    {16, (uint64_t)1 << 32, BC_FORMAT_UNSUPPORTED},      /* incompatible flag */
    {16, 0xFFFFFFFFU, BC_FORMAT_OK},                     /* compatible flags */
    {24, 0, BC_FORMAT_BAD},                              /* id */
    {40, BC_DATA_START - 8, BC_FORMAT_BAD},              /* end */
    {40, DATA_END + 1, BC_FORMAT_BAD},
    {40, BC_DATA_START, BC_FORMAT_OK},
    {48, 0, BC_FORMAT_BAD},  /* entries, but blocks */
    {48, 1, BC_FORMAT_BAD},  /* fewer than blocks */
    {48, 15, BC_FORMAT_BAD}, /* more than the size holds */
    {48, UINT64_MAX, BC_FORMAT_BAD},
    {48, (UINT64_MAX / 21) + 1, BC_FORMAT_BAD},
    {56, 11, BC_FORMAT_BAD}, /* tombstones */
    {64, 0, BC_FORMAT_BAD},  /* blocks */
    {64, 11, BC_FORMAT_BAD},
    {64, UINT64_MAX, BC_FORMAT_BAD},
    {64, 8, BC_FORMAT_BAD},
    {72, 0, BC_FORMAT_BAD}, /* sequences */
    {72, 201, BC_FORMAT_BAD},
    {80, 0, BC_FORMAT_BAD},
    {88, 127, BC_FORMAT_BAD}, /* size */
    {88, 0, BC_FORMAT_BAD},
    {88, 128 + 2 * 16 + 10 * 21, BC_FORMAT_OK},
    {88, 128 + 2 * 16 + 10 * 21 - 1, BC_FORMAT_BAD},
};

START_TEST(header_rules)
{
    uint8_t p[BC_HINT_HEADER];
    struct bc_hint_header got = {.size = 77};
    bc_hint_header_encode(p, &sample);
    bc_put_u64(p + patches[_i].at, patches[_i].value);
    bc_put_u32(p + 124, bc_crc32(0, p, 124));
    ck_assert_int_eq(bc_hint_header_decode(&got, p), patches[_i].expected);
    ck_assert(patches[_i].expected == BC_FORMAT_OK || got.size == 77);
}
END_TEST

START_TEST(header_of_an_empty_hint)
{
    uint8_t p[BC_HINT_HEADER];
    struct bc_hint_header h = {.data = {1, 2}, .data_end = BC_DATA_START, .size = 128}, got;
    bc_hint_header_encode(p, &h);
    ck_assert_int_eq(bc_hint_header_decode(&got, p), BC_FORMAT_OK);
    h.min_sequence = h.max_sequence = 9; /* only a link, say */
    bc_hint_header_encode(p, &h);
    ck_assert_int_eq(bc_hint_header_decode(&got, p), BC_FORMAT_OK);
    h = sample; /* entries, but a file without records */
    h.min_sequence = h.max_sequence = 0;
    bc_hint_header_encode(p, &h);
    ck_assert_int_eq(bc_hint_header_decode(&got, p), BC_FORMAT_BAD);
}
END_TEST

START_TEST(block_layout_and_damage)
{
    uint8_t p[BC_HINT_BLOCK_HEADER + 100];
    uint32_t size, count;
    for (size_t i = 0; i < sizeof p; i++)
        p[i] = (uint8_t)(i * 7);
    bc_hint_block_encode(p, NONCE, 3, p + 16, 100, 4);
    uint32_t seed = (0x89ABCDEFU ^ 0x01234567U) ^ 3 * 0x9E3779B1U;
    ck_assert_uint_eq(bc_get_u32(p), bc_crc32(seed, p + 4, 112));
    ck_assert_uint_eq(bc_get_u32(p + 12), 0);
    bc_hint_block_peek(p, &size, &count);
    ck_assert(size == 100 && count == 4);
    ck_assert(bc_hint_block_ok(p, NONCE, 3, p + 16));
    ck_assert(!bc_hint_block_ok(p, NONCE, 2, p + 16));
    ck_assert(!bc_hint_block_ok(p, NONCE + 1, 3, p + 16));
    for (size_t bit = 0; bit < 8 * sizeof p; bit++) {
        /* The caller brings as many bytes as the header says: a flipped size is his to bound. */
        p[bit / 8] ^= (uint8_t)(1U << bit % 8);
        bc_hint_block_peek(p, &size, &count);
        ck_assert(size > 100 || !bc_hint_block_ok(p, NONCE, 3, p + 16));
        p[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}
END_TEST

START_TEST(block_rules)
{
    static const struct {
        uint32_t size, count;
        bool valid;
    } cases[] = {
        {21, 1, true},
        {20, 1, false},
        {42, 2, true},
        {41, 2, false},
        {0, 0, false},
        {100, 0, false},
        {65536, 9, true},
        {65537, 9, false},
        {65537, 1, true},
        {20 + 8 + 65535, 1, true},
        {20 + 8 + 65536, 1, false},
    };
    uint8_t header[BC_HINT_BLOCK_HEADER], *payload = calloc(1, 70000);
    ck_assert_ptr_nonnull(payload);
    for (size_t i = 0; i < BC_ARRAY_SIZE(cases); i++) {
        bc_hint_block_encode(header, NONCE, i, payload, cases[i].size, cases[i].count);
        ck_assert_int_eq(bc_hint_block_ok(header, NONCE, i, payload), cases[i].valid);
    }
    /* Sizes that no block has are refused before a byte of the payload is read. */
    bc_put_u32(header + 4, UINT32_MAX);
    ck_assert(!bc_hint_block_ok(header, NONCE, 0, NULL));
    free(payload);
}
END_TEST

static const struct bc_hint_entry put = {
    .sequence = 0x1122334455667788U, .offset = 8200, .value_size = 100, .key_size = 3, .type = BC_RECORD_PUT, .key = "abc"};

START_TEST(entry_layout)
{
    static const uint8_t expected[] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x01, 0x04, 0, 0, 100, 0,   0,  0,
                                       3,    0,    1,    1,    1,    2,    0,    0,    0,    0,    0, 0, 'a', 'b', 'c'};
    uint8_t p[sizeof expected];
    struct bc_hint_entry e = put;
    e.flags = BC_RECORD_EXPIRES;
    e.expire_at_ms = 0x201;
    ck_assert_uint_eq(bc_hint_entry_size(&e), sizeof expected);
    bc_hint_entry_encode(p, &e);
    ck_assert_mem_eq(p, expected, sizeof expected);
}
END_TEST

static void entry_round_trip(const struct bc_hint_entry *e, uint64_t data_end)
{
    size_t size = bc_hint_entry_size(e);
    uint8_t *p = malloc(size);
    ck_assert_ptr_nonnull(p);
    bc_hint_entry_encode(p, e);
    struct bc_hint_entry got;
    ck_assert_uint_eq(bc_hint_entry_decode(&got, p, size, data_end), size);
    ck_assert(got.sequence == e->sequence && got.offset == e->offset && got.expire_at_ms == e->expire_at_ms);
    ck_assert(got.value_size == e->value_size && got.key_size == e->key_size && got.type == e->type && got.flags == e->flags);
    ck_assert_mem_eq(got.key, e->key, e->key_size);
    for (size_t have = 0; have < size; have++) {
        uint8_t *part = malloc(have + (have == 0));
        ck_assert_ptr_nonnull(part);
        memcpy(part, p, have);
        ck_assert_uint_eq(bc_hint_entry_decode(&got, part, have, data_end), 0);
        free(part);
        if (have > 100) /* the rest is all key */
            have += 499;
    }
    free(p);
}

START_TEST(entry_round_trips)
{
    char *big = calloc(1, BC_KEY_MAX);
    ck_assert_ptr_nonnull(big);
    struct bc_hint_entry e = put;
    entry_round_trip(&e, DATA_END);
    e.flags = BC_RECORD_EXPIRES;
    e.expire_at_ms = INT64_MAX;
    entry_round_trip(&e, DATA_END);
    e = (struct bc_hint_entry){.sequence = 1, .offset = BC_DATA_START, .key_size = 1, .type = BC_RECORD_TOMBSTONE, .key = "x"};
    entry_round_trip(&e, DATA_END);
    /* The highest offset that the field can say, and the largest record there. */
    e = (struct bc_hint_entry){.sequence = 2,
                               .offset = (uint64_t)UINT32_MAX * 8,
                               .value_size = BC_VALUE_MAX,
                               .key_size = BC_KEY_MAX,
                               .type = BC_RECORD_PUT,
                               .key = big};
    entry_round_trip(&e, UINT64_MAX & ~(uint64_t)7);
    free(big);
}
END_TEST

static size_t decode_with(const struct bc_hint_entry *e, uint64_t data_end)
{
    uint8_t p[64];
    struct bc_hint_entry got = {.sequence = 77};
    bc_hint_entry_encode(p, e);
    size_t taken = bc_hint_entry_decode(&got, p, sizeof p, data_end);
    ck_assert(taken != 0 || got.sequence == 77);
    return taken;
}

START_TEST(entry_stays_within_its_data_file)
{
    struct bc_hint_entry e = put; /* 24 + 3 + 100 bytes: 128 on disk */
    ck_assert_uint_eq(decode_with(&e, 8200 + 128), 23);
    ck_assert_uint_eq(decode_with(&e, 8200 + 120), 0);
    ck_assert_uint_eq(decode_with(&e, 8200), 0);
    ck_assert_uint_eq(decode_with(&e, 8192), 0);
    ck_assert_uint_eq(decode_with(&e, 0), 0);
    e.offset = BC_DATA_START - 8;
    ck_assert_uint_eq(decode_with(&e, DATA_END), 0);
    e.offset = 0;
    ck_assert_uint_eq(decode_with(&e, DATA_END), 0);
    e.offset = BC_DATA_START;
    ck_assert_uint_eq(decode_with(&e, DATA_END), 23);
    e.value_size = BC_VALUE_MAX;
    ck_assert_uint_eq(decode_with(&e, DATA_END), 0);
}
END_TEST

START_TEST(entry_rules)
{
    struct bc_hint_entry bad[12];
    for (size_t i = 0; i < BC_ARRAY_SIZE(bad); i++)
        bad[i] = put;
    bad[0].sequence = 0;
    bad[1].key_size = 0;
    bad[2].type = 0;
    bad[3].type = BC_RECORD_BATCH;
    bad[4].type = BC_RECORD_LINK;
    bad[5].flags = 2;
    bad[6].flags = 0x80 | BC_RECORD_EXPIRES;
    bad[6].expire_at_ms = 1;
    bad[7].flags = BC_RECORD_EXPIRES; /* expiry 0 */
    bad[8].flags = BC_RECORD_EXPIRES;
    bad[8].expire_at_ms = -1;
    bad[9].type = BC_RECORD_TOMBSTONE; /* with a value */
    bad[10].type = BC_RECORD_TOMBSTONE;
    bad[10].value_size = 0;
    bad[10].flags = BC_RECORD_EXPIRES;
    bad[10].expire_at_ms = 1;
    bad[11].value_size = BC_VALUE_MAX + 1;
    for (size_t i = 0; i < BC_ARRAY_SIZE(bad); i++)
        ck_assert_msg(decode_with(&bad[i], (uint64_t)1 << 40) == 0, "entry %zu", i);
    ck_assert_uint_eq(decode_with(&put, (uint64_t)1 << 40), 23);
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("format_hint");
    TCase *tc = tcase_create("format_hint");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, header_layout);
    tcase_add_test(tc, header_round_trip_and_damage);
    tcase_add_loop_test(tc, header_rules, 0, BC_ARRAY_SIZE(patches));
    tcase_add_test(tc, header_of_an_empty_hint);
    tcase_add_test(tc, block_layout_and_damage);
    tcase_add_test(tc, block_rules);
    tcase_add_test(tc, entry_layout);
    tcase_add_test(tc, entry_round_trips);
    tcase_add_test(tc, entry_stays_within_its_data_file);
    tcase_add_test(tc, entry_rules);
    suite_add_tcase(suite, tc);
    return suite;
}
