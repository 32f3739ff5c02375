/* The library's CRC-32 against zlib's, which defines it, against libdeflate's, and against the definition bit by bit. */
#include "bitcask/crc.h"

#include <check.h>
#ifdef BC_HAVE_LIBDEFLATE
#include <libdeflate.h>
#endif
#include <stdlib.h>
#include <zlib.h>

#define ROOM 70000U

static const uint32_t seeds[] = {0, 1, 0x80000000U, 0xCBF43926U, 0xFFFFFFFFU};

static void fill(uint8_t *p, size_t size)
{
    uint32_t x = 2463534242U;
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        p[i] = (uint8_t)x;
    }
}

START_TEST(check_value)
{
    ck_assert_uint_eq(bc_crc32(0, "123456789", 9), 0xCBF43926U);
}
END_TEST

START_TEST(seed_survives_no_bytes)
{
    ck_assert_uint_eq(bc_crc32(0x12345678U, NULL, 0), 0x12345678U);
    ck_assert_uint_eq(bc_crc32(0x12345678U, "x", 0), 0x12345678U);
    ck_assert_uint_eq(bc_crc32(0, NULL, 0), 0);
}
END_TEST

static uint32_t bit_by_bit(uint32_t crc, const uint8_t *p, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xEDB88320U : 0);
    }
    return ~crc;
}

START_TEST(agrees_with_the_definition)
{
    uint8_t p[300];
    fill(p, sizeof p);
    for (size_t i = 0; i < BC_ARRAY_SIZE(seeds); i++)
        for (size_t size = 0; size <= sizeof p; size++)
            ck_assert_uint_eq(bc_crc32(seeds[i], p, size), bit_by_bit(seeds[i], p, size));
}
END_TEST

static void agree(const uint8_t *p, size_t size)
{
    for (size_t i = 0; i < BC_ARRAY_SIZE(seeds); i++) {
        uint32_t got = bc_crc32(seeds[i], p, size);
        ck_assert_msg(got == (uint32_t)crc32_z(seeds[i], p, size), "zlib differs at size %zu, seed %08x", size, seeds[i]);
#ifdef BC_HAVE_LIBDEFLATE
        ck_assert_msg(got == libdeflate_crc32(seeds[i], p, size), "libdeflate differs at size %zu, seed %08x", size, seeds[i]);
#endif
    }
}

START_TEST(agrees_with_zlib_and_libdeflate)
{
    uint8_t *p = malloc(ROOM);
    ck_assert_ptr_nonnull(p);
    fill(p, ROOM);
    for (size_t size = 1; size <= 700; size++)
        for (size_t align = 0; align < 17; align++)
            agree(p + align, size);
    for (size_t size = 701; size < ROOM - 64; size += 1 + size / 3)
        for (size_t align = 0; align < 64; align += 5)
            agree(p + align, size);
    free(p);
}
END_TEST

START_TEST(continues)
{
    uint8_t p[300];
    fill(p, sizeof p);
    for (size_t cut = 0; cut <= sizeof p; cut++)
        ck_assert_uint_eq(bc_crc32(bc_crc32(7, p, cut), p + cut, sizeof p - cut), bc_crc32(7, p, sizeof p));
}
END_TEST

/* What the seeds of records are for: the same bytes under another seed never pass. */
START_TEST(every_seed_gives_another_value)
{
    uint8_t p[40];
    fill(p, sizeof p);
    for (unsigned bit = 0; bit < 32; bit++)
        ck_assert_uint_ne(bc_crc32(0x5EEDU ^ 1U << bit, p, sizeof p), bc_crc32(0x5EEDU, p, sizeof p));
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("crc");
    TCase *tc = tcase_create("crc");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, check_value);
    tcase_add_test(tc, seed_survives_no_bytes);
    tcase_add_test(tc, agrees_with_the_definition);
    tcase_add_test(tc, agrees_with_zlib_and_libdeflate);
    tcase_add_test(tc, continues);
    tcase_add_test(tc, every_seed_gives_another_value);
    suite_add_tcase(suite, tc);
    return suite;
}
