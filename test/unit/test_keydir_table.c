/* test_keydir_table.c - the slots and the arena of one shard, below keydir.h: with tags of our own choice, and every invariant
 * of the order looked at after every change. */
#include "bitcask/keydir_table.h"

#include "bitcask/io_posix.h"
#include "bitcask/keydir_arena.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MODEL_MAX 4000U

/* As ck_assert(), which writes a line to a file each time: for what is looked at millions of times. */
#define MUST(condition)                                                                                                        \
    do {                                                                                                                       \
        if (!(condition))                                                                                                      \
            ck_abort_msg("%s", #condition);                                                                                    \
    } while (0)

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % n;
}

static void seed_random(void)
{
    const char *given = getenv("BC_TEST_SEED");
    random_state = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 2654435761U + 1;
    printf("# BC_TEST_SEED=%llu\n", (unsigned long long)random_state);
    fflush(stdout);
}

struct fixture {
    struct bc_keydir_memory memory;
    struct bc_slot empty;
    struct bc_table table;
};

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    bc_memory_init(&f->memory, &bc_allocator_default, &bc_io_posix, 64);
    bc_table_init(&f->table, &f->empty);
}

static void end(struct fixture *f)
{
    struct bc_table_block *old;
    bc_table_load_end(&f->table, &f->memory);
    bc_table_reset(&f->table, &f->empty, &old);
    bc_table_block_free(&f->memory, old);
}

static void grow(struct fixture *f, uint64_t slots, uint32_t room)
{
    struct bc_table_block *old;
    MUST(bc_table_rebuild(&f->table, &f->memory, bc_table_plan(slots, room), room, &old));
    bc_table_block_free(&f->memory, old);
}

static void make_room(struct fixture *f)
{
    uint32_t slots = 8;
    while (bc_get32(&f->table.room) == 0) {
        grow(f, bc_get32(&f->table.physical) + slots, 1);
        slots *= 2;
    }
}

static void insert(struct fixture *f, uint32_t tag, uint32_t key, uint64_t place)
{
    make_room(f);
    uint32_t position = bc_table_first(&f->table, tag);
    bc_table_insert(&f->table, position, (struct bc_pair){bc_slot_head(tag, 0, key), place});
    if (bc_table_sequences(&f->table) != NULL)
        bc_table_sequences(&f->table)[position] = place * 3;
}

static void check_order(const struct bc_table *t)
{
    uint32_t seen = 0, last_tag = 0, physical = bc_get32(&t->physical), capacity = bc_get32(&t->capacity);
    for (uint32_t i = 0; i < physical; i++) {
        struct bc_pair pair = bc_table_at(t, i);
        if (pair.place == 0)
            continue;
        uint32_t tag = bc_head_tag(pair.head), home = bc_tag_home(tag, capacity);
        MUST(tag >= last_tag);
        MUST(home <= i);
        for (uint32_t j = home; j < i; j++)
            MUST(bc_table_at(t, j).place != 0);
        if (bc_table_sequences(t) != NULL)
            MUST(bc_table_sequences(t)[i] == pair.place * 3);
        MUST(i < t->extent);
        last_tag = tag;
        seen++;
    }
    MUST(seen == bc_get32(&t->count));
    MUST(bc_table_at(t, physical - 1).place == 0);
    if (physical > 1)
        MUST(BC_MAX(t->extent, capacity) + bc_get32(&t->room) < physical);
}

START_TEST(test_empty_table)
{
    struct fixture f;
    struct bc_pair pairs[2];
    unsigned count = 7;
    begin(&f);
    ck_assert(bc_table_probe(&f.table, 0, pairs, 2, &count));
    ck_assert_uint_eq(count, 0);
    ck_assert(bc_table_probe(&f.table, BC_TAG_MAX, pairs, 2, &count));
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(bc_table_bytes(&f.table), 0);
    end(&f);
}
END_TEST

START_TEST(test_equal_tags_stand_together)
{
    struct fixture f;
    struct bc_pair pairs[4];
    unsigned count;
    begin(&f);
    for (uint32_t i = 0; i < 6; i++) {
        insert(&f, 1000, i, 100 + i);
        insert(&f, 999, i, 200 + i);
        insert(&f, 1001, i, 300 + i);
        check_order(&f.table);
    }
    ck_assert(bc_table_probe(&f.table, 1000, pairs, 4, &count));
    ck_assert_uint_eq(count, 6);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(pairs[i].place / 100, 1);
    bc_table_remove(&f.table, bc_table_first(&f.table, 1000) + 3);
    check_order(&f.table);
    ck_assert(bc_table_probe(&f.table, 1000, pairs, 4, &count));
    ck_assert_uint_eq(count, 5);
    end(&f);
}
END_TEST

/* Everything is pushed over the end: the tail grows with it. */
START_TEST(test_the_greatest_tag)
{
    struct fixture f;
    unsigned count;
    begin(&f);
    for (uint32_t i = 0; i < 500; i++) {
        insert(&f, BC_TAG_MAX, i, i + 1);
        check_order(&f.table);
    }
    ck_assert(bc_table_probe(&f.table, BC_TAG_MAX, NULL, 0, &count));
    ck_assert_uint_eq(count, 500);
    ck_assert_uint_lt(bc_get32(&f.table.physical), 5000);
    while (bc_get32(&f.table.count) > 0) {
        bc_table_remove(&f.table, bc_table_first(&f.table, BC_TAG_MAX));
        check_order(&f.table);
    }
    end(&f);
}
END_TEST

START_TEST(test_readers_are_told_of_changes)
{
    struct fixture f;
    struct bc_pair pair;
    unsigned count;
    begin(&f);
    insert(&f, 5, 0, 55);
    uint32_t version = bc_get32(&f.table.version);
    bc_table_set(&f.table, bc_table_first(&f.table, 5), (struct bc_pair){bc_slot_head(5, 0, 9), 56});
    ck_assert_uint_eq(bc_get32(&f.table.version), version); /* one word */
    bc_table_set(&f.table, bc_table_first(&f.table, 5), (struct bc_pair){bc_slot_head(5, 1, 9), 57});
    ck_assert_uint_eq(bc_get32(&f.table.version), version + 2); /* two words */
    ck_assert(bc_table_open(&f.table));
    ck_assert(!bc_table_open(&f.table));
    insert(&f, 6, 0, 66);
    ck_assert(!bc_table_probe(&f.table, 5, &pair, 1, &count));
    bc_table_close(&f.table, false);
    ck_assert(!bc_table_probe(&f.table, 5, &pair, 1, &count));
    bc_table_close(&f.table, true);
    ck_assert(bc_table_probe(&f.table, 5, &pair, 1, &count));
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(pair.place, 57);
    ck_assert_uint_eq(bc_head_flags(pair.head), 1);
    end(&f);
}
END_TEST

/* Insertions, removals and new shapes against a list of what should be there. The range of tags chooses between many
 * collisions and few. */
START_TEST(test_against_a_list)
{
    static const uint32_t ranges[] = {3, 300, BC_TAG_MAX};
    struct fixture f;
    uint32_t(*list)[2] = malloc(MODEL_MAX * sizeof *list);
    ck_assert_ptr_nonnull(list);
    seed_random();
    for (size_t r = 0; r < BC_ARRAY_SIZE(ranges); r++) {
        uint32_t count = 0, most = ranges[r] < 1000 ? 300 : MODEL_MAX;
        uint64_t next = 1;
        begin(&f);
        if (r == 1)
            MUST(bc_table_load_begin(&f.table, &f.memory));
        for (unsigned step = 0; step < 12000; step++) {
            bool shrinking = step / 3000 % 2 != 0;
            if (count < most && (count == 0 || below(10) < (shrinking ? 4U : 7U))) {
                uint32_t tag = BC_TAG_MAX - below(ranges[r]);
                list[count][0] = tag;
                list[count++][1] = (uint32_t)next;
                insert(&f, tag, 0, next++);
            } else {
                uint32_t i = below(count), position = bc_table_first(&f.table, list[i][0]);
                while (bc_table_at(&f.table, position).place != list[i][1])
                    position++;
                bc_table_remove(&f.table, position);
                memcpy(list[i], list[--count], sizeof list[i]);
            }
            if (below(500) == 0) /* in place, to a new block, smaller */
                grow(&f, BC_MAX(count, BC_MIN(bc_get32(&f.table.physical), 4000) * below(5) / 2) + count / 4, 1 + below(200));
            if (step % 10 == 0)
                check_order(&f.table);
        }
        check_order(&f.table);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t position = bc_table_first(&f.table, list[i][0]);
            while (bc_table_at(&f.table, position).place != list[i][1]) {
                MUST(bc_head_tag(bc_table_at(&f.table, position).head) == list[i][0]);
                position++;
            }
        }
        end(&f);
    }
    free(list);
}
END_TEST

/* The promise of room: that many insertions, of whatever tags. */
START_TEST(test_room_is_honest)
{
    static const uint32_t tags[] = {0, BC_TAG_MAX / 2, BC_TAG_MAX};
    for (size_t t = 0; t < BC_ARRAY_SIZE(tags); t++) {
        struct fixture f;
        begin(&f);
        for (uint32_t room = 1; room < 3000; room = room * 3 + 1) {
            grow(&f, (bc_get32(&f.table.count) + room) * 2, room);
            uint32_t promised = bc_get32(&f.table.room), physical = bc_get32(&f.table.physical);
            MUST(promised >= room);
            for (uint32_t i = 0; i < promised; i++)
                insert(&f, tags[t], i, i + 1);
            MUST(bc_get32(&f.table.physical) == physical);
            check_order(&f.table);
        }
        end(&f);
    }
}
END_TEST

/* ---- arena ---- */

START_TEST(test_arena_keeps_keys_of_all_sizes)
{
    static const size_t sizes[] = {1, 2, 3, 16, 253, 254, 255, 256, 65534, 65535};
    struct fixture f;
    struct bc_arena arena;
    unsigned char *key = malloc(65535);
    ck_assert_ptr_nonnull(key);
    begin(&f);
    ck_assert(bc_arena_new(&arena, &f.memory, 1 << 20));
    uint32_t entries[2 * BC_ARRAY_SIZE(sizes)];
    for (size_t i = 0; i < 2 * BC_ARRAY_SIZE(sizes); i++) {
        memset(key, (int)i + 1, 65535);
        entries[i] = bc_arena_add(&arena, key, sizes[i / 2], i % 2 == 0 ? 0 : (int64_t)1000000 + (int64_t)i);
    }
    for (size_t i = 0; i < 2 * BC_ARRAY_SIZE(sizes); i++) {
        memset(key, (int)i + 1, 65535);
        struct bc_arena_entry e = bc_arena_read(&arena, entries[i], i % 2 != 0);
        ck_assert_uint_eq(e.key_size, sizes[i / 2]);
        ck_assert_mem_eq(e.key, key, e.key_size);
        ck_assert_int_eq(e.expire_at_ms, i % 2 == 0 ? 0 : (int64_t)1000000 + (int64_t)i);
        ck_assert(bc_arena_matches(&arena, entries[i], i % 2 != 0, key, e.key_size));
        ck_assert(!bc_arena_matches(&arena, entries[i], i % 2 != 0, key, e.key_size - 1));
        key[e.key_size - 1] ^= 1;
        ck_assert(!bc_arena_matches(&arena, entries[i], i % 2 != 0, key, e.key_size));
    }
    for (size_t i = 1; i < 2 * BC_ARRAY_SIZE(sizes); i += 2) {
        bc_arena_set_expiry(&arena, entries[i], INT64_MAX);
        ck_assert_int_eq(bc_arena_read(&arena, entries[i], true).expire_at_ms, INT64_MAX);
    }
    bc_memory_free(&f.memory, arena.base, arena.size);
    free(key);
}
END_TEST

START_TEST(test_arena_reuses_equal_sizes)
{
    struct fixture f;
    struct bc_arena arena;
    unsigned char key[64] = {0};
    uint32_t entries[40];
    begin(&f);
    ck_assert(bc_arena_new(&arena, &f.memory, 8192));
    for (uint32_t i = 0; i < 40; i++)
        entries[i] = bc_arena_add(&arena, key, i + 4, 0);
    uint32_t used = bc_get32(&arena.used), expected = 0;
    for (uint32_t i = 0; i < 40; i++) {
        bc_arena_drop(&arena, entries[i], false);
        expected += i + 5;
        ck_assert_uint_eq(arena.dropped, expected);
    }
    for (uint32_t i = 0; i < BC_ARENA_SIZES; i++) /* the first sizes got the lists */
        ck_assert_uint_eq(bc_arena_add(&arena, key, i + 4, 0), entries[i]);
    ck_assert_uint_eq(bc_get32(&arena.used), used);
    ck_assert_uint_eq(bc_arena_add(&arena, key, 4, 0), used); /* that list is empty */
    bc_arena_drop(&arena, entries[30], false);                /* an empty list takes another size */
    ck_assert_uint_eq(bc_arena_add(&arena, key, 34, 0), entries[30]);
    bc_memory_free(&f.memory, arena.base, arena.size);
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("keydir_table");
    TCase *tc = tcase_create("table");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_empty_table);
    tcase_add_test(tc, test_equal_tags_stand_together);
    tcase_add_test(tc, test_the_greatest_tag);
    tcase_add_test(tc, test_readers_are_told_of_changes);
    tcase_add_test(tc, test_against_a_list);
    tcase_add_test(tc, test_room_is_honest);
    suite_add_tcase(suite, tc);
    tc = tcase_create("arena");
    tcase_add_test(tc, test_arena_keeps_keys_of_all_sizes);
    tcase_add_test(tc, test_arena_reuses_equal_sizes);
    suite_add_tcase(suite, tc);
    return suite;
}
