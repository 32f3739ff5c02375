/* test_verify_flips.c - a store with a hundred bad bytes at random places: verify finds each that touches a record, repair
 * keeps every record that none touches, and of those that are lost no older version returns. Counted and printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/datafile.h"
#include "bitcask/verify_walk.h"
#include "test/support/findings.h"
#include "test/support/store.h"

#define KEYS 400U
#define VERSIONS 3U
#define FLIPS 100U
#define FILES 64U

struct place {
    unsigned file; /* index into names */
    uint64_t offset, size;
    unsigned number; /* UINT32_MAX: a link or frame */
    uint64_t sequence;
    bool head_hit, value_hit;
    uint64_t head_size;
};

static struct place *places;
static size_t place_count;
static char names[FILES][64];
static unsigned name_count;

static unsigned value_size(unsigned number, unsigned version)
{
    return 20 + (number * 37 + version * 101) % 900;
}

/* "key000041", with the value right behind it. */
static unsigned number_of(const char *key)
{
    unsigned number = 0;
    for (unsigned i = 3; i < 9; i++)
        number = number * 10 + (unsigned)(key[i] - '0');
    return number;
}

static void map_file(const char *path, unsigned index)
{
    size_t size;
    char *bytes = store_read_file(store_file(path, names[index]), &size);
    struct bc_data_header h;
    ck_assert_int_eq(bc_data_header_decode(&h, bytes), BC_FORMAT_OK);
    for (uint64_t at = BC_DATA_START; at < size;) {
        struct bc_record r;
        ck_assert_int_eq(bc_record_decode(&r, bytes + at, size - at, bc_record_seed(h.name.nonce, at)), BC_RECORD_OK);
        places = realloc(places, (place_count + 1) * sizeof *places);
        struct place *p = &places[place_count++];
        *p = (struct place){.file = index, .offset = at, .number = UINT32_MAX, .sequence = r.sequence};
        p->head_size = bc_record_head_size(&r) + r.key_size;
        p->size = p->head_size + r.value_size;
        if (r.key_size != 0)
            p->number = number_of(bytes + at + bc_record_head_size(&r));
        at += bc_record_footprint(&r);
    }
    free(bytes);
}

/* Overwrites spread the versions of a key over the files. */
static const char *make_store(int mode)
{
    const char *path = store_path();
    bitcask_options o = store_options(mode);
    bitcask *db = store_open(path, &o);
    for (unsigned v = 1; v <= VERSIONS; v++)
        for (unsigned i = 0; i < KEYS; i++)
            ck_assert_int_eq(store_put_number(db, i, v, value_size(i, v)), BITCASK_OK);
    store_close(db);
    place_count = 0;
    name_count = 0;
    for (const char *name; (name = store_nth(path, ".data", name_count)) != NULL;) {
        ck_assert_uint_lt(name_count, FILES);
        snprintf(names[name_count], sizeof names[0], "%s", name);
        map_file(path, name_count++);
    }
    return path;
}

/* One byte of one record, padding left out. */
static struct place *flip_one(const char *path, uint32_t *x)
{
    *x = *x * 1664525U + 1013904223U;
    struct place *p = &places[(*x >> 8) % place_count];
    *x = *x * 1664525U + 1013904223U;
    uint64_t within = (*x >> 8) % p->size;
    store_flip(store_file(path, names[p->file]), (long)(p->offset + within), 1U << (*x >> 5 & 7));
    /* The value's CRC is under the head's. */
    *(within < p->head_size ? &p->head_hit : &p->value_hit) = true;
    return p;
}

/* A finding in this file that covers the record. */
static bool is_found(const struct found_list *l, const struct place *p)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct found *f = &l->items[i];
        if (f->severity == BITCASK_FINDING_ERROR && strcmp(f->file, names[p->file]) == 0 && f->offset <= p->offset &&
            p->offset < f->offset + (f->size == 0 ? 1 : f->size))
            return true;
    }
    return false;
}

static const struct place *newest(unsigned number)
{
    const struct place *best = NULL;
    for (size_t i = 0; i < place_count; i++)
        if (places[i].number == number && (best == NULL || places[i].sequence > best->sequence))
            best = &places[i];
    ck_assert_ptr_nonnull(best);
    return best;
}

START_TEST(test_hundred_flips)
{
    bool with_hints = _i % 2 == 0;
    for (unsigned round = 0; round < 3 * store_scale(); round++) {
        const char *path = make_store(_i % STORE_MODES);
        uint32_t x = 77 + round * 1000 + (unsigned)_i;
        for (unsigned i = 0; !with_hints && i < name_count; i++) {
            const char *hint = store_nth(path, ".hint", 0);
            store_remove(store_file(path, hint));
        }
        for (unsigned i = 0; i < FLIPS; i++)
            (void)flip_one(path, &x);
        struct found_list l;
        ck_assert_int_eq(found_verify(path, 0, &l), BITCASK_CORRUPT);
        unsigned hit = 0, found = 0;
        for (size_t i = 0; i < place_count; i++) {
            /* Twice the same bit is no damage. */
            if (!places[i].head_hit && !places[i].value_hit)
                continue;
            hit++;
            found += is_found(&l, &places[i]);
        }
        found_free(&l);
        ck_assert_msg(found == hit, "round %u: %u of %u found", round, found, hit);
        ck_assert_int_eq(found_repair(path, 0, &l), BITCASK_OK);
        uint64_t salvaged = l.result.salvaged, lost = l.result.lost;
        found_free(&l);
        ck_assert_int_eq(found_verify(path, 0, &l), BITCASK_OK);
        found_free(&l);
        bitcask_options o = store_options(_i % STORE_MODES);
        bitcask *db = store_open(path, &o);
        unsigned kept = 0, gone = 0, older = 0;
        for (unsigned i = 0; i < KEYS; i++) {
            const struct place *p = newest(i);
            int result = store_check_number(db, i, VERSIONS, value_size(i, VERSIONS));
            if (!p->head_hit && !p->value_hit) {
                ck_assert_msg(result == 0, "round %u: number %u: %d, but nothing touched it", round, i, result);
                kept++;
            } else if (result == BITCASK_NOT_FOUND) {
                gone++;
            } else {
                /* Only where nothing tells whose the lost record was. */
                bool an_older_one = false;
                for (unsigned v = 1; v < VERSIONS; v++)
                    an_older_one = an_older_one || store_check_number(db, i, v, value_size(i, v)) == 0;
                ck_assert_msg(an_older_one, "round %u: number %u: %d", round, i, result);
                ck_assert_msg(!with_hints && p->head_hit, "round %u: number %u: an older version returned", round, i);
                older++;
            }
        }
        store_close(db);
        ck_assert_uint_eq(kept + gone + older, KEYS);
        printf("# %u flips touch %u of %zu records%s: %u found; %u keys kept, %u deleted, %u older; %llu records copied, %llu "
               "lost with their key known\n",
               FLIPS, hit, place_count, with_hints ? "" : ", no hints", found, kept, gone, older, (unsigned long long)salvaged,
               (unsigned long long)lost);
        store_remove(path);
    }
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("verify_flips");
    TCase *t = store_tcase("P4 P5 P7 P8");
    tcase_add_loop_test(t, test_hundred_flips, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
