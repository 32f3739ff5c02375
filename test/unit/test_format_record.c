/* Records: layout byte by byte, the rules of the types, seeds, footprints, and that no damage passes. */
#include "bitcask/format_record.h"

#include <check.h>
#include <stdlib.h>

#include "bitcask/coding.h"
#include "bitcask/crc.h"
#include "bitcask/format_data.h"

#define NONCE 0x0123456789ABCDEFU
#define KEY "session:42"
#define KEY_SIZE 10U
#define VALUE "some value"
#define VALUE_SIZE 10U

static const struct bc_record plain = {.sequence = 7, .key_size = KEY_SIZE, .value_size = VALUE_SIZE, .type = BC_RECORD_PUT};
static const struct bc_record expiring = {.sequence = 0x1122334455667788U,
                                          .expire_at_ms = 1900000000123,
                                          .key_size = KEY_SIZE,
                                          .value_size = VALUE_SIZE,
                                          .type = BC_RECORD_PUT,
                                          .flags = BC_RECORD_EXPIRES};

/* The whole record in an allocation of its exact size, so that a sanitizer sees any byte read behind it. */
static uint8_t *build(const struct bc_record *r, uint32_t seed, const void *key, const void *value, size_t *ret_size)
{
    size_t head = bc_record_head_size(r), size = head + r->key_size + r->value_size;
    uint8_t *p = malloc(size);
    ck_assert_ptr_nonnull(p);
    if (r->key_size != 0)
        memcpy(p + head, key, r->key_size);
    if (r->value_size != 0)
        memcpy(p + head + r->key_size, value, r->value_size);
    bc_record_encode(p, r, seed, p + head, p + head + r->key_size);
    *ret_size = size;
    return p;
}

/* Makes the head CRC right again after a change of the header: only the rules can then refuse it. */
static void reseal(uint8_t *p, uint32_t seed)
{
    size_t head = BC_RECORD_HEADER + ((p[23] & BC_RECORD_EXPIRES) != 0 ? BC_RECORD_EXPIRY : 0);
    bc_put_u32(p, bc_crc32(seed, p + 4, head - 4 + bc_get_u16(p + 20)));
}

START_TEST(layout)
{
    uint32_t seed = bc_record_seed(NONCE, 8192);
    size_t size;
    uint8_t *p = build(&expiring, seed, KEY, VALUE, &size);
    static const uint8_t fixed[] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* sequence */
                                    10,   0,    0,    0,                            /* value size */
                                    10,   0,                                        /* key size */
                                    1,    1,                                        /* type, flags */
                                    0x7b, 0x38, 0xd3, 0x60, 0xba, 0x01, 0,    0};   /* expiry */
    ck_assert_uint_eq(size, 52);
    ck_assert_mem_eq(p + 8, fixed, sizeof fixed);
    ck_assert_mem_eq(p + 32, KEY VALUE, 20);
    ck_assert_uint_eq(bc_get_u32(p), bc_crc32(seed, p + 4, 38));
    ck_assert_uint_eq(bc_get_u32(p + 4), bc_crc32(~seed, VALUE, VALUE_SIZE));
    free(p);
}
END_TEST

START_TEST(seed_formula)
{
    ck_assert_uint_eq(bc_record_seed(0, 0), 0);
    ck_assert_uint_eq(bc_record_seed(0, 8), 0x9E3779B1U);
    ck_assert_uint_eq(bc_record_seed(0, 16), 0x3C6EF362U);
    ck_assert_uint_eq(bc_record_seed(NONCE, 0), 0x89ABCDEFU ^ 0x01234567U);
    ck_assert_uint_eq(bc_record_seed(NONCE, 8), 0x89ABCDEFU ^ 0x01234567U ^ 0x9E3779B1U);
    /* Offsets from 32 GiB on repeat; no data file reaches them. */
    ck_assert_uint_eq(bc_record_seed(NONCE, (uint64_t)8 << 32), bc_record_seed(NONCE, 0));
    ck_assert_uint_ne(bc_record_seed(NONCE, (uint64_t)4 << 32), bc_record_seed(NONCE, 0));
}
END_TEST

static void round_trip(const struct bc_record *r, const void *key, const void *value)
{
    uint32_t seed = bc_record_seed(NONCE, 65536);
    size_t size, head = bc_record_head_size(r);
    uint8_t *p = build(r, seed, key, value, &size);
    struct bc_record got, peeked;
    ck_assert_int_eq(bc_record_decode(&got, p, size, seed), BC_RECORD_OK);
    ck_assert_uint_eq(got.sequence, r->sequence);
    ck_assert_int_eq(got.expire_at_ms, r->expire_at_ms);
    ck_assert_uint_eq(got.value_size, r->value_size);
    ck_assert_uint_eq(got.key_size, r->key_size);
    ck_assert_uint_eq(got.type, r->type);
    ck_assert_uint_eq(got.flags, r->flags);
    ck_assert(bc_record_value_ok(&got, p + head + r->key_size, seed));
    /* The head needs no byte of the value, the peek none of the key. */
    ck_assert_int_eq(bc_record_decode(&got, p, head + r->key_size, seed), BC_RECORD_OK);
    ck_assert(bc_record_peek(&peeked, p, BC_RECORD_HEADER));
    ck_assert_uint_eq(peeked.key_size, r->key_size);
    ck_assert_uint_eq(peeked.value_size, r->value_size);
    ck_assert_uint_eq(bc_record_footprint(&peeked), bc_record_footprint(r));
    free(p);
}

START_TEST(round_trips)
{
    uint8_t *big = calloc(1, BC_KEY_MAX);
    ck_assert_ptr_nonnull(big);
    round_trip(&plain, KEY, VALUE);
    round_trip(&expiring, KEY, VALUE);
    round_trip(&(struct bc_record){.sequence = 1, .key_size = 1, .type = BC_RECORD_PUT}, "k", "");
    round_trip(&(struct bc_record){.sequence = UINT64_MAX, .key_size = 1, .type = BC_RECORD_TOMBSTONE}, "k", "");
    round_trip(&(struct bc_record){.sequence = 2, .key_size = BC_KEY_MAX, .value_size = 60000, .type = BC_RECORD_PUT}, big,
               big);
    round_trip(&(struct bc_record){.sequence = 3, .value_size = BC_BATCH_VALUE, .type = BC_RECORD_BATCH}, "", big);
    round_trip(&(struct bc_record){.sequence = 4, .value_size = BC_LINK_VALUE, .type = BC_RECORD_LINK}, "", big);
    free(big);
}
END_TEST

START_TEST(key_and_value_may_lie_anywhere)
{
    uint32_t seed = bc_record_seed(NONCE, 8192);
    size_t size, head = bc_record_head_size(&expiring);
    uint8_t *p = build(&expiring, seed, KEY, VALUE, &size), header[BC_RECORD_HEADER + BC_RECORD_EXPIRY];
    bc_record_encode(header, &expiring, seed, KEY, VALUE);
    ck_assert_mem_eq(header, p, head);
    free(p);
}
END_TEST

START_TEST(another_place_or_file_never_passes)
{
    size_t size;
    uint8_t *p = build(&plain, bc_record_seed(NONCE, 8192), KEY, VALUE, &size);
    struct bc_record r;
    ck_assert_int_eq(bc_record_decode(&r, p, size, bc_record_seed(NONCE, 8192)), BC_RECORD_OK);
    for (unsigned bit = 0; bit < 64; bit++)
        ck_assert_int_eq(bc_record_decode(&r, p, size, bc_record_seed(NONCE ^ (uint64_t)1 << bit, 8192)), BC_RECORD_BAD);
    for (uint64_t offset = 0; offset < 1 << 20; offset += 8) {
        uint32_t seed = bc_record_seed(NONCE, offset);
        ck_assert(offset == 8192 || bc_record_decode(&r, p, size, seed) == BC_RECORD_BAD);
    }
    /* A good head with the value of another place. */
    ck_assert(!bc_record_value_ok(&(struct bc_record){.value_size = VALUE_SIZE, .value_crc = bc_get_u32(p + 4)},
                                  p + BC_RECORD_HEADER + KEY_SIZE, bc_record_seed(NONCE, 8200)));
    free(p);
}
END_TEST

START_TEST(every_flipped_bit_shows)
{
    uint32_t seed = bc_record_seed(NONCE, 8192);
    size_t size, head = bc_record_head_size(&expiring);
    uint8_t *p = build(&expiring, seed, KEY, VALUE, &size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        struct bc_record r = {0};
        p[bit / 8] ^= (uint8_t)(1U << bit % 8);
        enum bc_record_check check = bc_record_decode(&r, p, size, seed);
        if (bit / 8 < head + KEY_SIZE) {
            /* A larger size may point past the end; what was decoded before is left alone. */
            ck_assert_int_ne(check, BC_RECORD_OK);
            ck_assert_uint_eq(r.sequence, 0);
        } else {
            /* A bad value does not hide whose it is. */
            ck_assert_int_eq(check, BC_RECORD_OK);
            ck_assert(!bc_record_value_ok(&r, p + head + KEY_SIZE, seed));
        }
        p[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    free(p);
}
END_TEST

START_TEST(short_inputs_are_never_read_past)
{
    uint32_t seed = bc_record_seed(NONCE, 8192);
    size_t size, head = bc_record_head_size(&expiring);
    uint8_t *p = build(&expiring, seed, KEY, VALUE, &size);
    for (size_t have = 0; have < head + KEY_SIZE; have++) {
        uint8_t *part = malloc(have + (have == 0));
        ck_assert_ptr_nonnull(part);
        memcpy(part, p, have);
        struct bc_record r;
        ck_assert_int_eq(bc_record_decode(&r, part, have, seed), BC_RECORD_SHORT);
        ck_assert_int_eq(bc_record_peek(&r, part, have), have >= BC_RECORD_HEADER);
        free(part);
    }
    free(p);
}
END_TEST

START_TEST(zeros_are_no_record)
{
    uint8_t zeros[256] = {0};
    struct bc_record r;
    for (size_t size = BC_RECORD_HEADER; size <= sizeof zeros; size++)
        ck_assert_int_eq(bc_record_decode(&r, zeros, size, 0), BC_RECORD_BAD);
    ck_assert(!bc_record_peek(&r, zeros, sizeof zeros));
}
END_TEST

struct rule {
    uint8_t type, flags;
    uint16_t key_size;
    uint32_t value_size;
    uint64_t sequence;
    bool valid;
};

/* Each with a right head CRC. Sizes of values are never followed by the head's decoder. */
static const struct rule rules[] = {
    {BC_RECORD_PUT, 0, 1, 0, 1, true},
    {BC_RECORD_PUT, 0, 1, BC_VALUE_MAX, 1, true},
    {BC_RECORD_PUT, BC_RECORD_EXPIRES, 1, 5, 1, true},
    {BC_RECORD_PUT, 0, 0, 5, 1, false},
    {BC_RECORD_PUT, 0, 1, BC_VALUE_MAX + 1, 1, false},
    {BC_RECORD_PUT, 0, 1, UINT32_MAX, 1, false},
    {BC_RECORD_PUT, 2, 1, 5, 1, false},
    {BC_RECORD_PUT, 0x80, 1, 5, 1, false},
    {BC_RECORD_PUT, 0, 1, 5, 0, false},
    {BC_RECORD_TOMBSTONE, 0, 1, 0, 1, true},
    {BC_RECORD_TOMBSTONE, 0, 0, 0, 1, false},
    {BC_RECORD_TOMBSTONE, 0, 1, 1, 1, false},
    {BC_RECORD_TOMBSTONE, BC_RECORD_EXPIRES, 1, 0, 1, false},
    {BC_RECORD_TOMBSTONE, 0, 1, 0, 0, false},
    {BC_RECORD_BATCH, 0, 0, BC_BATCH_VALUE, 1, true},
    {BC_RECORD_BATCH, 0, 1, BC_BATCH_VALUE, 1, false},
    {BC_RECORD_BATCH, 0, 0, BC_BATCH_VALUE + 1, 1, false},
    {BC_RECORD_BATCH, BC_RECORD_EXPIRES, 0, BC_BATCH_VALUE, 1, false},
    {BC_RECORD_BATCH, 0, 0, BC_BATCH_VALUE, 0, false},
    {BC_RECORD_LINK, 0, 0, BC_LINK_VALUE, 1, true},
    {BC_RECORD_LINK, 0, 1, BC_LINK_VALUE, 1, false},
    {BC_RECORD_LINK, 0, 0, BC_LINK_VALUE - 1, 1, false},
    {BC_RECORD_LINK, BC_RECORD_EXPIRES, 0, BC_LINK_VALUE, 1, false},
    {BC_RECORD_LINK, 0, 0, BC_LINK_VALUE, 0, false},
    {0, 0, 1, 0, 1, false},
    {5, 0, 1, 0, 1, false},
    {255, 0, 1, 0, 1, false},
};

START_TEST(rules_of_the_types)
{
    const struct rule *rule = &rules[_i];
    uint8_t p[64] = {0};
    uint32_t seed = bc_record_seed(NONCE, 8192);
    bc_put_u64(p + 8, rule->sequence);
    bc_put_u32(p + 16, rule->value_size);
    bc_put_u16(p + 20, rule->key_size);
    p[22] = rule->type;
    p[23] = rule->flags;
    bc_put_u64(p + 24, 1900000000000U);
    reseal(p, seed);
    struct bc_record r;
    ck_assert_int_eq(bc_record_decode(&r, p, sizeof p, seed), rule->valid ? BC_RECORD_OK : BC_RECORD_BAD);
    ck_assert_int_eq(bc_record_peek(&r, p, sizeof p), rule->valid);
}
END_TEST

START_TEST(expiry_is_positive)
{
    static const int64_t bad[] = {0, -1, INT64_MIN};
    uint32_t seed = bc_record_seed(NONCE, 8192);
    size_t size;
    uint8_t *p = build(&expiring, seed, KEY, VALUE, &size);
    struct bc_record r;
    for (size_t i = 0; i < BC_ARRAY_SIZE(bad); i++) {
        bc_put_u64(p + BC_RECORD_HEADER, (uint64_t)bad[i]);
        reseal(p, seed);
        ck_assert_int_eq(bc_record_decode(&r, p, size, seed), BC_RECORD_BAD);
    }
    bc_put_u64(p + BC_RECORD_HEADER, 1);
    reseal(p, seed);
    ck_assert_int_eq(bc_record_decode(&r, p, size, seed), BC_RECORD_OK);
    free(p);
}
END_TEST

/* A record of exactly this many bytes. */
static struct bc_record of_size(uint64_t bytes)
{
    struct bc_record r = {.sequence = 1, .type = BC_RECORD_PUT};
    uint64_t rest = bytes - BC_RECORD_HEADER;
    r.key_size = (uint16_t)BC_MIN(rest, BC_KEY_MAX);
    rest -= r.key_size;
    r.value_size = (uint32_t)BC_MIN(rest, BC_VALUE_MAX);
    rest -= r.value_size;
    if (rest != 0)
        r.flags = BC_RECORD_EXPIRES;
    ck_assert_uint_eq(rest, r.flags != 0 ? BC_RECORD_EXPIRY : 0);
    return r;
}

static uint64_t check_footprint(uint64_t bytes)
{
    struct bc_record r = of_size(bytes);
    uint64_t footprint = bc_record_footprint(&r);
    ck_assert_msg(footprint >= bytes && footprint % BC_RECORD_ALIGN == 0, "footprint %lu of %lu", footprint, bytes);
    ck_assert_msg((footprint - bytes - BC_MIN(7, footprint - bytes)) * 1000 <= bytes, "%lu wastes up to %lu", bytes, footprint);
    ck_assert_uint_eq(bc_footprint_decode(bc_footprint_encode(footprint)), footprint);
    return footprint;
}

START_TEST(footprint_is_monotone_exact_and_thrifty)
{
    uint64_t previous = 0;
    for (uint64_t bytes = BC_RECORD_HEADER + 1; bytes < 200000; bytes++) {
        uint64_t footprint = check_footprint(bytes);
        ck_assert(footprint >= previous);
        if (bytes <= 2047 * 8)
            ck_assert_uint_eq(footprint, bc_align_up(bytes, 8));
        previous = footprint;
    }
    for (uint64_t bytes = 200000; bytes < BC_VALUE_MAX; bytes += 1 + bytes / 1500) {
        uint64_t footprint = check_footprint(bytes);
        ck_assert(footprint >= previous);
        previous = footprint;
    }
    /* Around every power of two, where rounding carries into the next exponent. */
    for (unsigned bit = 5; bit < 32; bit++) {
        previous = 0;
        for (uint64_t bytes = ((uint64_t)1 << bit) - 4; bytes <= ((uint64_t)1 << bit) + 4; bytes++) {
            uint64_t footprint = check_footprint(bytes);
            ck_assert(footprint >= previous);
            previous = footprint;
        }
        ck_assert_uint_eq(check_footprint((uint64_t)1 << bit), (uint64_t)1 << bit);
    }
}
END_TEST

START_TEST(footprint_of_the_largest_record)
{
    struct bc_record r = {.key_size = BC_KEY_MAX, .value_size = BC_VALUE_MAX, .flags = BC_RECORD_EXPIRES};
    uint64_t bytes = 24 + 8 + 65535 + (uint64_t)BC_VALUE_MAX, footprint = bc_record_footprint(&r);
    ck_assert_uint_eq(check_footprint(bytes), footprint);
    ck_assert(footprint >= bytes && footprint - bytes <= bytes / 1000);
    ck_assert_uint_eq(bc_footprint_decode(bc_footprint_encode(footprint)), footprint);
}
END_TEST

/* Canonical: exponent 0, or the highest bit of the mantissa set. Those codes and the footprints are the same set in order. */
START_TEST(footprint_codes_are_one_to_one)
{
    uint64_t previous = 0;
    unsigned canonical = 0;
    for (uint32_t code = 0; code <= UINT16_MAX; code++) {
        if (code >> 11 != 0 && (code & 1024) == 0)
            continue;
        uint64_t footprint = bc_footprint_decode((uint16_t)code);
        ck_assert_uint_eq(bc_footprint_encode(footprint), code);
        ck_assert(code == 0 || footprint > previous);
        previous = footprint;
        canonical++;
    }
    ck_assert_uint_eq(canonical, 2048 + 31 * 1024);
}
END_TEST

START_TEST(batch_values)
{
    uint8_t p[BC_BATCH_VALUE];
    uint32_t count = 99;
    uint64_t bytes = 99;
    bc_batch_encode(p, 3, 96);
    ck_assert(bc_batch_decode(p, &count, &bytes));
    ck_assert(count == 3 && bytes == 96);
    static const struct {
        uint32_t count;
        uint64_t bytes;
    } bad[] = {{0, 0}, {0, 96}, {3, 97}, {3, 88}, {1, 24}, {UINT32_MAX, 96}};
    for (size_t i = 0; i < BC_ARRAY_SIZE(bad); i++) {
        bc_batch_encode(p, bad[i].count, bad[i].bytes);
        ck_assert(!bc_batch_decode(p, &count, &bytes));
        ck_assert(count == 3 && bytes == 96);
    }
    bc_batch_encode(p, 3, 96);
    p[4] = 1;
    ck_assert(!bc_batch_decode(p, &count, &bytes));
}
END_TEST

START_TEST(link_values)
{
    uint8_t p[BC_LINK_VALUE];
    struct bc_link link = {0};
    static const struct bc_link good[] = {{0, 0, 0}, {1, 0, BC_DATA_START}, {UINT64_MAX, NONCE, (uint64_t)1 << 40}};
    static const struct bc_link bad[] = {{0, NONCE, 0}, {0, 0, BC_DATA_START}, {1, NONCE, 0}, {1, NONCE, BC_DATA_START + 1}};
    for (size_t i = 0; i < BC_ARRAY_SIZE(bad); i++) {
        bc_link_encode(p, &bad[i]);
        ck_assert(!bc_link_decode(p, &link));
        ck_assert(link.id == 0 && link.nonce == 0 && link.end == 0);
    }
    for (size_t i = 0; i < BC_ARRAY_SIZE(good); i++) {
        bc_link_encode(p, &good[i]);
        ck_assert(bc_link_decode(p, &link));
        ck_assert(link.id == good[i].id && link.nonce == good[i].nonce && link.end == good[i].end);
        p[31] = 1;
        ck_assert(!bc_link_decode(p, &link));
    }
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("format_record");
    TCase *tc = tcase_create("format_record");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, layout);
    tcase_add_test(tc, seed_formula);
    tcase_add_test(tc, round_trips);
    tcase_add_test(tc, key_and_value_may_lie_anywhere);
    tcase_add_test(tc, another_place_or_file_never_passes);
    tcase_add_test(tc, every_flipped_bit_shows);
    tcase_add_test(tc, short_inputs_are_never_read_past);
    tcase_add_test(tc, zeros_are_no_record);
    tcase_add_loop_test(tc, rules_of_the_types, 0, BC_ARRAY_SIZE(rules));
    tcase_add_test(tc, expiry_is_positive);
    tcase_add_test(tc, footprint_is_monotone_exact_and_thrifty);
    tcase_add_test(tc, footprint_of_the_largest_record);
    tcase_add_test(tc, footprint_codes_are_one_to_one);
    tcase_add_test(tc, batch_values);
    tcase_add_test(tc, link_values);
    suite_add_tcase(suite, tc);
    return suite;
}
