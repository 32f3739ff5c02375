/* SipHash-1-3 against a plain implementation with the numbers of rounds as parameters. The published vectors of SipHash-2-4
 * prove the plain one, the plain one proves ours. */
#include "bitcask/hash.h"

#include <check.h>
#include <string.h>

static uint64_t load(const uint8_t *p, size_t size)
{
    uint64_t word = 0;
    for (size_t i = 0; i < size; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

static void rounds(uint64_t v[4], unsigned count)
{
#define ROTATE(x, b) ((x) = (x) << (b) | (x) >> (64 - (b)))
    while (count-- > 0) {
        v[0] += v[1], ROTATE(v[1], 13), v[1] ^= v[0], ROTATE(v[0], 32);
        v[2] += v[3], ROTATE(v[3], 16), v[3] ^= v[2];
        v[0] += v[3], ROTATE(v[3], 21), v[3] ^= v[0];
        v[2] += v[1], ROTATE(v[1], 17), v[1] ^= v[2], ROTATE(v[2], 32);
    }
#undef ROTATE
}

static uint64_t plain_siphash(unsigned c, unsigned d, const uint8_t key[16], const uint8_t *data, size_t size)
{
    uint64_t k0 = load(key, 8), k1 = load(key + 8, 8);
    uint64_t v[4] = {k0 ^ load((const uint8_t *)"uespemos", 8), k1 ^ load((const uint8_t *)"modnarod", 8),
                     k0 ^ load((const uint8_t *)"arenegyl", 8), k1 ^ load((const uint8_t *)"setybdet", 8)};
    for (size_t at = 0; at <= size; at += 8) {
        uint64_t word = size - at >= 8 ? load(data + at, 8) : load(data + at, size - at) | (uint64_t)size << 56;
        v[3] ^= word;
        rounds(v, c);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    rounds(v, d);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Key 00 .. 0f, messages of 0 .. 7 bytes 00 01 .., and the 15 bytes of the paper's appendix. */
START_TEST(plain_gives_published_vectors)
{
    static const uint64_t expected[] = {0x726fdb47dd0e0e31U, 0x74f839c593dc67fdU, 0x0d6c8009d9a94f5aU, 0x85676696d7fb7e2dU,
                                        0xcf2794e0277187b7U, 0x18765564cd99a68dU, 0xcbc9466e58fee3ceU, 0xab0200f58b01d137U};
    uint8_t bytes[16];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    for (size_t i = 0; i < BC_ARRAY_SIZE(expected); i++)
        ck_assert_uint_eq(plain_siphash(2, 4, bytes, bytes, i), expected[i]);
    ck_assert_uint_eq(plain_siphash(2, 4, bytes, bytes, 15), 0xa129ca6149be45e5U);
}
END_TEST

START_TEST(agrees_with_plain)
{
    uint8_t secret[16], data[300];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 151 + 7);
    for (unsigned round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof secret; i++)
            secret[i] = (uint8_t)(round * 37 + i * 91);
        struct bc_hash_secret k = {load(secret, 8), load(secret + 8, 8)};
        for (size_t size = 0; size <= 280; size++)
            ck_assert_uint_eq(bc_hash(&k, data + round, size), plain_siphash(1, 3, secret, data + round, size));
    }
}
END_TEST

START_TEST(no_bytes_need_no_pointer)
{
    struct bc_hash_secret k = {1, 2};
    ck_assert_uint_eq(bc_hash(&k, NULL, 0), bc_hash(&k, "x", 0));
}
END_TEST

START_TEST(secret_size_and_every_bit_count)
{
    uint8_t data[24] = {0};
    struct bc_hash_secret k = {1, 2}, other = {1, 3};
    ck_assert_uint_ne(bc_hash(&k, data, 16), bc_hash(&other, data, 16));
    for (size_t size = 0; size < sizeof data; size++)
        ck_assert_uint_ne(bc_hash(&k, data, size), bc_hash(&k, data, size + 1));
    uint64_t before = bc_hash(&k, data, sizeof data);
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        ck_assert_uint_ne(bc_hash(&k, data, sizeof data), before);
        data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("hash");
    TCase *tc = tcase_create("hash");
    tcase_add_test(tc, plain_gives_published_vectors);
    tcase_add_test(tc, agrees_with_plain);
    tcase_add_test(tc, no_bytes_need_no_pointer);
    tcase_add_test(tc, secret_size_and_every_bit_count);
    suite_add_tcase(suite, tc);
    return suite;
}
