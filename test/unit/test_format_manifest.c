/* The MANIFEST: layout, its two copies under every single damage, and hostile bytes. */
#include "bitcask/format_manifest.h"

#include <check.h>
#include <stdlib.h>

#include "bitcask/coding.h"
#include "bitcask/crc.h"

#define NONCE 0x0123456789ABCDEFU
#define BODY_OF(count) (80 + 64 * (count) + 4)

static struct bc_manifest_file sample_files[] = {
    {{1, NONCE}, BC_MANIFEST_SEALED, BC_DATA_KIND_MERGE, 0, 123456, 1, 900},
    {{4, 2}, BC_MANIFEST_SEALED, BC_DATA_KIND_LOG, BC_MANIFEST_CLEAN, BC_DATA_START, 0, 0},
    {{9, 3}, BC_MANIFEST_OPEN, BC_DATA_KIND_LOG, BC_MANIFEST_CLEAN, 65536, 0, 0},
};

static const struct bc_manifest sample = {
    .generation = 5,
    .store = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
    .ceiling = 1000,
    .next_id = 10,
    .cleared_below = 1,
    .count = BC_ARRAY_SIZE(sample_files),
    .files = sample_files,
};

/* In an allocation of its exact size, so that a sanitizer sees any byte read behind it. */
static uint8_t *build(const struct bc_manifest *m, size_t *ret_size)
{
    *ret_size = bc_manifest_size(m->count);
    uint8_t *p = malloc(*ret_size);
    ck_assert_ptr_nonnull(p);
    memset(p, 0xee, *ret_size);
    bc_manifest_encode(p, m);
    return p;
}

static void reseal(uint8_t *body)
{
    size_t covered = bc_get_u32(body + 12) - 4;
    bc_put_u32(body + covered, bc_crc32(0, body, covered));
}

static void assert_same(const struct bc_manifest *a, const struct bc_manifest *b)
{
    ck_assert_uint_eq(a->generation, b->generation);
    ck_assert_mem_eq(a->store.bytes, b->store.bytes, 16);
    ck_assert_uint_eq(a->ceiling, b->ceiling);
    ck_assert_uint_eq(a->next_id, b->next_id);
    ck_assert_uint_eq(a->cleared_below, b->cleared_below);
    ck_assert_uint_eq(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct bc_manifest_file *f = &a->files[i], *g = &b->files[i];
        ck_assert(f->name.id == g->name.id && f->name.nonce == g->name.nonce);
        ck_assert(f->state == g->state && f->kind == g->kind && f->flags == g->flags && f->end == g->end);
        ck_assert(f->min_sequence == g->min_sequence && f->max_sequence == g->max_sequence);
    }
}

static int decode(const uint8_t *p, size_t size)
{
    struct bc_manifest m = {.generation = 77};
    int damaged = 77;
    int result = bc_manifest_decode(&m, &damaged, p, size, &bc_allocator_default);
    if (result == BITCASK_OK)
        bc_free(&bc_allocator_default, m.files);
    else
        ck_assert(m.generation == 77 && m.files == NULL && damaged == 77);
    return result;
}

static void assert_decodes(const uint8_t *p, size_t size, const struct bc_manifest *expected, int expected_damaged)
{
    struct bc_manifest m;
    int damaged = 77;
    ck_assert_int_eq(bc_manifest_decode(&m, &damaged, p, size, &bc_allocator_default), BITCASK_OK);
    ck_assert_int_eq(damaged, expected_damaged);
    assert_same(&m, expected);
    bc_free(&bc_allocator_default, m.files);
}

START_TEST(layout)
{
    size_t size;
    uint8_t *p = build(&sample, &size), zeros[4096] = {0};
    ck_assert_uint_eq(size, 8192);
    ck_assert_mem_eq(p,
                     "\x89"
                     "BCMANI\n",
                     8);
    ck_assert_uint_eq(bc_get_u32(p + 8), 1);
    ck_assert_uint_eq(bc_get_u32(p + 12), BODY_OF(3));
    ck_assert_uint_eq(bc_get_u64(p + 16), 0);
    ck_assert_uint_eq(bc_get_u64(p + 24), 5);
    ck_assert_mem_eq(p + 32, sample.store.bytes, 16);
    ck_assert_uint_eq(bc_get_u64(p + 48), 1000);
    ck_assert_uint_eq(bc_get_u64(p + 56), 10);
    ck_assert_uint_eq(bc_get_u64(p + 64), 1);
    ck_assert_uint_eq(bc_get_u32(p + 72), 3);
    ck_assert_uint_eq(bc_get_u32(p + 76), 0);
    ck_assert_uint_eq(bc_get_u64(p + 80), 1);
    ck_assert_uint_eq(bc_get_u64(p + 88), NONCE);
    ck_assert_uint_eq(bc_get_u32(p + 96), BC_MANIFEST_SEALED);
    ck_assert_uint_eq(bc_get_u32(p + 100), BC_DATA_KIND_MERGE);
    ck_assert_uint_eq(bc_get_u64(p + 104), 0);
    ck_assert_uint_eq(bc_get_u64(p + 112), 123456);
    ck_assert_uint_eq(bc_get_u64(p + 120), 1);
    ck_assert_uint_eq(bc_get_u64(p + 128), 900);
    ck_assert_uint_eq(bc_get_u64(p + 136), 0);
    ck_assert_uint_eq(bc_get_u32(p + 144 + 24), BC_MANIFEST_CLEAN);
    ck_assert_uint_eq(bc_get_u32(p + BODY_OF(3) - 4), bc_crc32(0, p, BODY_OF(3) - 4));
    ck_assert_mem_eq(p + BODY_OF(3), zeros, 4096 - BODY_OF(3));
    ck_assert_mem_eq(p, p + 4096, 4096);
    free(p);
}
END_TEST

/* 62 files are the last that fit into one block; 63 need 4 bytes more. */
START_TEST(round_trips)
{
    static const size_t counts[] = {0, 1, 61, 62, 63, 64, 126, 127, 1000};
    for (size_t i = 0; i < BC_ARRAY_SIZE(counts); i++) {
        struct bc_manifest m = sample;
        m.count = counts[i];
        m.next_id = UINT64_MAX;
        m.ceiling = 10000;
        m.files = calloc(m.count + 1, sizeof *m.files);
        ck_assert_ptr_nonnull(m.files);
        for (size_t k = 0; k < m.count; k++)
            m.files[k] =
                (struct bc_manifest_file){{k * 3 + 1, ~k}, BC_MANIFEST_SEALED, BC_DATA_KIND_LOG, 0, 8192 + 8 * k, k + 1, k + 2};
        size_t size;
        uint8_t *p = build(&m, &size);
        ck_assert_uint_eq(size, 2 * bc_align_up(BODY_OF(m.count), 4096));
        assert_decodes(p, size, &m, 0);
        memset(p, 0, 4096);
        assert_decodes(p, size, &m, 1);
        bc_manifest_encode(p, &m);
        memset(p + size / 2, 0, 4096);
        assert_decodes(p, size, &m, 1);
        free(p);
        free(m.files);
    }
}
END_TEST

START_TEST(no_files_need_no_memory)
{
    struct bc_manifest m = {.generation = 1, .next_id = 1}, got;
    int damaged;
    size_t size;
    uint8_t *p = build(&m, &size);
    ck_assert_int_eq(bc_manifest_decode(&got, &damaged, p, size, &bc_allocator_default), BITCASK_OK);
    ck_assert_ptr_null(got.files);
    ck_assert_uint_eq(got.count, 0);
    free(p);
}
END_TEST

START_TEST(one_copy_may_be_damaged)
{
    size_t size;
    uint8_t *p = build(&sample, &size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        size_t within = bit / 8 % 4096;
        p[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_decodes(p, size, &sample, within < BODY_OF(3)); /* padding is no part of a copy */
        p[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    memset(p, 0, 4096);
    assert_decodes(p, size, &sample, 1);
    free(p);
}
END_TEST

START_TEST(both_copies_damaged)
{
    size_t size;
    uint8_t *p = build(&sample, &size);
    for (size_t at = 0; at < BODY_OF(3); at++) {
        p[at] ^= 0x10;
        p[4096 + (at * 7) % BODY_OF(3)] ^= 0x10;
        ck_assert_int_eq(decode(p, size), BITCASK_CORRUPT);
        p[at] ^= 0x10;
        p[4096 + (at * 7) % BODY_OF(3)] ^= 0x10;
    }
    memset(p, 0, size);
    ck_assert_int_eq(decode(p, size), BITCASK_CORRUPT);
    free(p);
}
END_TEST

START_TEST(every_truncation)
{
    size_t size;
    uint8_t *p = build(&sample, &size);
    for (size_t have = 0; have <= size; have++) {
        uint8_t *part = malloc(have + (have == 0));
        ck_assert_ptr_nonnull(part);
        memcpy(part, p, have);
        if (have < BODY_OF(3))
            ck_assert_int_eq(decode(part, have), BITCASK_CORRUPT);
        else
            assert_decodes(part, have, &sample, have < 4096 + BODY_OF(3));
        free(part);
    }
    ck_assert_int_eq(decode(NULL, 0), BITCASK_CORRUPT);
    free(p);
}
END_TEST

START_TEST(what_follows_is_ignored)
{
    size_t size;
    uint8_t *p = build(&sample, &size), *longer = malloc(3 * size);
    ck_assert_ptr_nonnull(longer);
    memset(longer, 0xee, 3 * size);
    memcpy(longer, p, size);
    assert_decodes(longer, size + 1, &sample, 0);
    assert_decodes(longer, 3 * size, &sample, 0);
    /* Only the first copy says where the second one is, once the size does not. */
    longer[0] ^= 1;
    ck_assert_int_eq(decode(longer, size + 1), BITCASK_CORRUPT);
    ck_assert_int_eq(decode(longer, 3 * size), BITCASK_CORRUPT);
    free(longer);
    free(p);
}
END_TEST

/* A 32-bit field of both bodies, and what the whole is then. */
static const struct {
    unsigned at;
    uint32_t value;
    int expected;
} patches[] = {
    {8, 2, BITCASK_UNSUPPORTED},
    {20, 1, BITCASK_UNSUPPORTED},
    {16, 0xFFFFFFFFU, BITCASK_OK}, /* compatible flags */
    {56, 9, BITCASK_CORRUPT},      /* next id is listed */
    {64, 11, BITCASK_CORRUPT},     /* cleared below what never was */
    {72, 2, BITCASK_CORRUPT},      /* count */
    {72, 4, BITCASK_CORRUPT},
    {72, 0, BITCASK_CORRUPT},
    {72, 0xFFFFFFFFU, BITCASK_CORRUPT},
    {72, 0x04000003U, BITCASK_CORRUPT}, /* times 64 it is 3 again in 32 bits */
    {76, 1, BITCASK_OK},                /* reserved */
    {80, 0, BITCASK_CORRUPT},           /* id 0 */
    {80, 4, BITCASK_CORRUPT},           /* the same id twice */
    {80, 5, BITCASK_CORRUPT},           /* not ascending */
    {96, 0, BITCASK_CORRUPT},           /* state */
    {96, 3, BITCASK_CORRUPT},
    {100, 2, BITCASK_CORRUPT},    /* kind */
    {104, 2, BITCASK_CORRUPT},    /* flags */
    {112, 8184, BITCASK_CORRUPT}, /* end */
    {112, 8193, BITCASK_CORRUPT},
    {120, 901, BITCASK_CORRUPT}, /* sequences */
    {120, 0, BITCASK_CORRUPT},
    {128, 0, BITCASK_CORRUPT},
    {128, 1000, BITCASK_CORRUPT}, /* at the ceiling */
    {128, 999, BITCASK_OK},
    {136, 1, BITCASK_OK},          /* reserved */
    {208 + 40, 12345, BITCASK_OK}, /* the range of an open file says nothing */
};

START_TEST(rules)
{
    size_t size;
    uint8_t *p = build(&sample, &size);
    for (unsigned copy = 0; copy < 2; copy++) {
        bc_put_u32(p + 4096 * copy + patches[_i].at, patches[_i].value);
        reseal(p + 4096 * copy);
    }
    ck_assert_int_eq(decode(p, size), patches[_i].expected);
    free(p);
}
END_TEST

START_TEST(copies_that_disagree)
{
    size_t size;
    uint8_t *p = build(&sample, &size);
    bc_put_u64(p + 24, 6);
    reseal(p);
    ck_assert_int_eq(decode(p, size), BITCASK_CORRUPT);
    /* As long as both are intact; a damaged one has no say. */
    p[4096 + 30] ^= 1;
    ck_assert_int_eq(decode(p, size), BITCASK_OK);
    free(p);
}
END_TEST

START_TEST(an_intact_copy_of_another_version)
{
    size_t size;
    uint8_t *p = build(&sample, &size);
    p[8] = 2;
    ck_assert_int_eq(decode(p, size), BITCASK_OK); /* a flipped bit: the other copy counts */
    reseal(p);
    ck_assert_int_eq(decode(p, size), BITCASK_CORRUPT);
    p[4096] = 0;
    ck_assert_int_eq(decode(p, size), BITCASK_UNSUPPORTED);
    /* Another version may have fields that break our rules. */
    memset(p + 24, 0xff, BODY_OF(3) - 28);
    reseal(p);
    ck_assert_int_eq(decode(p, size), BITCASK_UNSUPPORTED);
    free(p);
}
END_TEST

START_TEST(lying_body_sizes)
{
    static const uint32_t lies[] = {0, 1, 3, 4, 83, 84, 85, 4096, 8191, 8192, 8193, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < BC_ARRAY_SIZE(lies); i++) {
        size_t size;
        uint8_t *p = build(&sample, &size);
        for (unsigned copy = 0; copy < 2; copy++) {
            bc_put_u32(p + 4096 * copy + 12, lies[i]);
            if (lies[i] >= 84 && lies[i] <= size - 4096 * copy)
                reseal(p + 4096 * copy);
        }
        ck_assert_int_eq(decode(p, size), BITCASK_CORRUPT);
        free(p);
    }
}
END_TEST

static void *counting_resize(void *ptr, size_t size, void *ctx)
{
    size_t *left = ctx;
    if (size == 0) {
        free(ptr);
        return NULL;
    }
    if (size > *left)
        return NULL;
    *left -= size;
    return realloc(ptr, size);
}

START_TEST(memory_is_bounded_by_size_and_may_be_refused)
{
    size_t size, left = 0;
    uint8_t *p = build(&sample, &size);
    bitcask_allocator allocator = {counting_resize, &left};
    struct bc_manifest m = {.generation = 77};
    int damaged = 77;
    ck_assert_int_eq(bc_manifest_decode(&m, &damaged, p, size, &allocator), BITCASK_NO_MEMORY);
    ck_assert(m.generation == 77 && damaged == 77);
    left = size;
    ck_assert_int_eq(bc_manifest_decode(&m, &damaged, p, size, &allocator), BITCASK_OK);
    bc_free(&allocator, m.files);
    free(p);
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("format_manifest");
    TCase *tc = tcase_create("format_manifest");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, layout);
    tcase_add_test(tc, round_trips);
    tcase_add_test(tc, no_files_need_no_memory);
    tcase_add_test(tc, one_copy_may_be_damaged);
    tcase_add_test(tc, both_copies_damaged);
    tcase_add_test(tc, every_truncation);
    tcase_add_test(tc, what_follows_is_ignored);
    tcase_add_loop_test(tc, rules, 0, BC_ARRAY_SIZE(patches));
    tcase_add_test(tc, copies_that_disagree);
    tcase_add_test(tc, an_intact_copy_of_another_version);
    tcase_add_test(tc, lying_body_sizes);
    tcase_add_test(tc, memory_is_bounded_by_size_and_may_be_refused);
    suite_add_tcase(suite, tc);
    return suite;
}
