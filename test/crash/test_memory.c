/* The n-th allocation fails, for every n, once and from then on: while a store is opened, written, rotated, closed, and opened
 * again with hint files and without. Each call says OK or NO_MEMORY; what failed did nothing; no block is left after close; the
 * KeyDir and the log agree afterwards, which is what a reopen and a kill show; and memory that is back needs no reopen (P12).
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/world.h"

/* An allocator that counts, and fails when it is told to. */
struct meter {
    uint64_t calls; /* that could fail, since it was armed */
    uint64_t fail_at;
    bool from;
    uint64_t failures;
    int64_t live; /* blocks */
};

static void *metered(void *ptr, size_t size, void *ctx)
{
    struct meter *m = ctx;
    if (size == 0) {
        m->live -= ptr != NULL;
        free(ptr);
        return NULL;
    }
    m->calls++;
    if (m->fail_at != 0 && (m->calls == m->fail_at || (m->from && m->calls > m->fail_at))) {
        m->failures++;
        return NULL;
    }
    void *block = realloc(ptr, size);
    ck_assert_ptr_nonnull(block);
    m->live += ptr == NULL;
    return block;
}

static void arm(struct meter *m, uint64_t at, bool from)
{
    *m = (struct meter){.fail_at = at, .from = from, .live = m->live};
}

static void disarm(struct meter *m)
{
    m->fail_at = 0;
}

struct trial {
    struct meter meter;
    bitcask_allocator allocator;
    struct world *w;
    uint64_t at;
    bool from;
    const char *phase;
    int step;
};

static unsigned long runs;

static void must(const struct trial *t, bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "flags %u, allocation %llu%s of the %s, step %d: %s; last error: %s\n", t->w->flags,
            (unsigned long long)t->at, t->from ? " and on" : "", t->phase, t->step, what, bitcask_last_error()->message);
    ck_abort_msg("%s, see above", what);
}

static void check_contents(const struct trial *t, struct world *w, unsigned oldest, const char *when)
{
    char message[512];
    struct world_state now;
    if (!world_read(w, &now, message, sizeof message) || !world_allows(w, oldest, &now, message, sizeof message)) {
        fprintf(stderr, "%s: %s\n", when, message);
        must(t, false, "contents");
    }
}

static void check_closed(const struct trial *t)
{
    char text[256];
    must(t, t->meter.live == 0, "memory leaks");
    must(t, simdisk_open_descriptors(t->w->disk) == 0, "descriptors leak");
    must(t, simdisk_open_mappings(t->w->disk) == 0, "mappings leak");
    must(t, simdisk_misuses(t->w->disk, text, sizeof text) == 0, text);
}

/* What a kill leaves now opens and holds everything that was acknowledged. */
static void check_kill(const struct trial *t)
{
    struct world *w = world_fork(t->w, simdisk_clone(t->w->disk));
    w->allocator = NULL;
    must(t, world_open(w) == BITCASK_OK, "open after a kill");
    check_contents(t, w, w->acked, "after a kill");
    must(t, world_close(w) == BITCASK_OK, "close after a kill");
    world_free(w);
}

static struct trial *start(uint32_t flags, uint64_t at, bool from, const char *phase)
{
    struct trial *t = calloc(1, sizeof *t);
    t->allocator = (bitcask_allocator){metered, &t->meter};
    t->w = world_new(simdisk_new(1), flags);
    t->w->allocator = &t->allocator;
    t->at = at;
    t->from = from;
    t->phase = phase;
    runs++;
    return t;
}

static void end(struct trial *t)
{
    disarm(&t->meter);
    must(t, world_close(t->w) == BITCASK_OK, "close");
    check_closed(t);
    must(t, world_open(t->w) == BITCASK_OK, "open at the end");
    check_contents(t, t->w, t->w->count, "at the end");
    must(t, world_close(t->w) == BITCASK_OK, "close at the end");
    check_closed(t);
    world_free(t->w);
    free(t);
}

static void apply_all(struct trial *t, const struct world_operation *operations, size_t count)
{
    for (t->step = 0; t->step < (int)count; t->step++)
        must(t, world_apply(t->w, &operations[t->step]) == BITCASK_OK, "an operation");
}

/* Operations with memory short at the n-th allocation. Returns whether it ever was. */
static bool apply_short(struct trial *t, const struct world_operation *operations, size_t count)
{
    struct world *w = t->w;
    arm(&t->meter, t->at, t->from);
    for (t->step = 0; t->step < (int)count; t->step++) {
        unsigned before = w->count;
        int result = world_apply(w, &operations[t->step]);
        if (result == BITCASK_OK)
            continue;
        must(t, t->meter.failures > 0 && result == BITCASK_NO_MEMORY, "the wrong result");
        must(t, bitcask_last_error()->result == BITCASK_NO_MEMORY, "the last error is another one");
        if (w->db == NULL) {
            check_closed(t);
            disarm(&t->meter);
            must(t, world_open(w) == BITCASK_OK, "open when memory is back");
            check_contents(t, w, w->count, "after a failed open or close");
            continue;
        }
        world_forget(w, before);
        if (t->from && t->meter.failures < 3)
            continue;
        disarm(&t->meter);
        check_contents(t, w, w->count, "after the failure");
        check_kill(t);
        must(t, world_apply(w, &operations[t->step]) == BITCASK_OK, "the second try");
    }
    bool hit = t->meter.failures > 0;
    disarm(&t->meter);
    return hit;
}

static const struct world_operation history[] = {
    {WORLD_PUT, 0},   {WORLD_BIG, 1}, {WORLD_PUT_SYNC, 2}, {WORLD_BIG, 3},    {WORLD_BATCH, 4}, {WORLD_DELETE, 0},
    {WORLD_TOUCH, 2}, {WORLD_PUT, 7}, {WORLD_BIG, 5},      {WORLD_DELETE, 7}, {WORLD_PUT, 6},
};
/* Enough for two rotations, so that what a failure left half done meets the next file. */
static const struct world_operation later[] = {
    {WORLD_PUT, 1}, {WORLD_BIG, 2},   {WORLD_BATCH_SYNC, 3}, {WORLD_PUT_SYNC, 5}, {WORLD_MERGE, 0},
    {WORLD_BIG, 0}, {WORLD_TOUCH, 3}, {WORLD_BIG, 6},        {WORLD_DELETE, 0},   {WORLD_MERGE, 0},
};

static int remove_hint(const char *name, void *arg)
{
    char path[64];
    snprintf(path, sizeof path, "/store/%s", name);
    size_t length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, ".hint") == 0)
        ck_assert_int_eq(simdisk_remove(arg, path), 0);
    return 0;
}

/* Loop tests: mode and fail mode. */
#define FLAGS (_i % 2 == 0 ? 0 : BITCASK_OPEN_NO_MMAP)
#define FROM (_i / 2 != 0)

START_TEST(test_open_of_a_new_store)
{
    bool hit = true;
    for (uint64_t at = 1; hit; at++) {
        struct trial *t = start(FLAGS, at, FROM, "open of a new store");
        arm(&t->meter, at, FROM);
        int result = world_open(t->w);
        hit = t->meter.failures > 0;
        disarm(&t->meter);
        if (result != BITCASK_OK) {
            must(t, hit && result == BITCASK_NO_MEMORY, "the wrong result");
            check_closed(t);
            must(t, world_open(t->w) == BITCASK_OK, "open when memory is back");
        }
        apply_all(t, history, BC_ARRAY_SIZE(history));
        end(t);
    }
    printf("# %lu runs\n", runs);
}
END_TEST

START_TEST(test_writes_to_a_new_store)
{
    bool hit = true;
    for (uint64_t at = 1; hit; at++) {
        struct trial *t = start(FLAGS, at, FROM, "first writes");
        must(t, world_open(t->w) == BITCASK_OK, "open");
        hit = apply_short(t, history, BC_ARRAY_SIZE(history));
        check_kill(t);
        apply_all(t, later, BC_ARRAY_SIZE(later));
        check_kill(t);
        end(t);
    }
    printf("# %lu runs\n", runs);
}
END_TEST

/* The first write goes on in the file that the close ended; memory is short while it does, and the files that follow rotate. */
START_TEST(test_writes_after_a_clean_close)
{
    static const struct world_operation few[] = {{WORLD_PUT, 0}, {WORLD_PUT, 1}, {WORLD_DELETE, 0}};
    bool hit = true;
    for (uint64_t at = 1; hit; at++) {
        struct trial *t = start(FLAGS, at, FROM, "writes after a clean close");
        must(t, world_open(t->w) == BITCASK_OK, "open");
        apply_all(t, few, BC_ARRAY_SIZE(few));
        must(t, world_close(t->w) == BITCASK_OK && world_open(t->w) == BITCASK_OK, "reopen");
        hit = apply_short(t, later, BC_ARRAY_SIZE(later));
        check_kill(t);
        for (size_t i = 0; i < BC_ARRAY_SIZE(later); i++) {
            must(t, world_apply(t->w, &later[i]) == BITCASK_OK, "an operation");
            check_kill(t);
        }
        end(t);
    }
    printf("# %lu runs\n", runs);
}
END_TEST

enum ending { CLOSED_WITH_HINTS, CLOSED_WITHOUT_HINTS, KILLED };

static void reopen(uint32_t flags, bool from, enum ending ending)
{
    static const char *const phases[] = {"open with hints", "open without hints", "open after a kill"};
    bool hit = true;
    for (uint64_t at = 1; hit; at++) {
        struct trial *t = start(flags, at, from, phases[ending]);
        struct world *w = t->w;
        must(t, world_open(w) == BITCASK_OK, "open");
        apply_all(t, history, BC_ARRAY_SIZE(history));
        if (ending == KILLED)
            simdisk_kill(w->disk);
        must(t, (world_close(w) == BITCASK_OK) == (ending != KILLED), "close");
        must(t, t->meter.live == 0, "memory leaks");
        if (ending == CLOSED_WITHOUT_HINTS)
            (void)simdisk_list(w->disk, "/store", SIMDISK_VOLATILE, remove_hint, w->disk);
        arm(&t->meter, at, from);
        int result = world_open(w);
        hit = t->meter.failures > 0;
        disarm(&t->meter);
        if (result != BITCASK_OK) {
            must(t, hit && result == BITCASK_NO_MEMORY, "the wrong result");
            must(t, bitcask_last_error()->result == BITCASK_NO_MEMORY, "the last error is another one");
            check_closed(t);
            check_kill(t);
            must(t, world_open(w) == BITCASK_OK, "open when memory is back");
        }
        check_contents(t, w, w->count, "reopened");
        apply_all(t, later, BC_ARRAY_SIZE(later));
        check_kill(t);
        end(t);
    }
    printf("# %lu runs\n", runs);
}

START_TEST(test_open_with_hints)
{
    reopen(FLAGS, FROM, CLOSED_WITH_HINTS);
}
END_TEST

START_TEST(test_open_without_hints)
{
    reopen(FLAGS, FROM, CLOSED_WITHOUT_HINTS);
}
END_TEST

START_TEST(test_open_after_a_kill)
{
    reopen(FLAGS, FROM, KILLED);
}
END_TEST

START_TEST(test_close)
{
    bool hit = true;
    for (uint64_t at = 1; hit; at++) {
        struct trial *t = start(FLAGS, at, FROM, "close");
        struct world *w = t->w;
        must(t, world_open(w) == BITCASK_OK, "open");
        apply_all(t, history, BC_ARRAY_SIZE(history));
        arm(&t->meter, at, FROM);
        int result = world_close(w);
        hit = t->meter.failures > 0;
        disarm(&t->meter);
        must(t, result == BITCASK_OK || (hit && result == BITCASK_NO_MEMORY), "the wrong result");
        check_closed(t);
        must(t, world_open(w) == BITCASK_OK, "open");
        check_contents(t, w, w->count, "reopened");
        end(t);
    }
    printf("# %lu runs\n", runs);
}
END_TEST

/* ---- many keys: the KeyDir grows ---- */

#define MANY 1500U

struct many {
    bitcask *db;
    uint16_t version[MANY]; /* 0: absent */
};

static size_t many_key(unsigned i, char dst[96])
{
    return (size_t)snprintf(dst, 96, "%u-%.*s", i, (int)(i % 70),
                            "0123456789012345678901234567890123456789012345678901234567890123456789");
}

static void check_many(const struct trial *t, const struct many *m, const char *when)
{
    for (unsigned i = 0; i < MANY; i++) {
        char key[96];
        uint16_t got = 0;
        size_t size = 0;
        int result = bitcask_read(m->db, key, many_key(i, key), &got, sizeof got, &size);
        must(t, result == (m->version[i] == 0 ? BITCASK_NOT_FOUND : BITCASK_OK) && got == m->version[i], when);
    }
}

/* P12: a KeyDir that cannot grow refuses the key and loses none. One write in so many meets a short allocation. */
START_TEST(test_keydir_that_cannot_grow)
{
    struct trial *t = start(FLAGS, 0, FROM, "growth of the KeyDir");
    struct world *w = t->w;
    struct many *m = calloc(1, sizeof *m);
    unsigned refused = 0;
    must(t, world_open(w) == BITCASK_OK, "open");
    m->db = w->db;
    for (unsigned n = 0; n < 3 * MANY; n++) {
        unsigned i = (n * 7919U) % MANY;
        char key[96];
        size_t key_size = many_key(i, key);
        uint16_t version = (uint16_t)(n + 1);
        bool deletes = n % 5 == 4 && m->version[i] != 0, expires = n % 3 == 0;
        bitcask_put_options options = BITCASK_PUT_OPTIONS_INIT;
        options.expire_at_ms = expires ? 4000000000000 : 0;
        t->step = (int)n;
        arm(&t->meter, 1 + n % 2, FROM);
        int result = deletes ? bitcask_delete(m->db, key, key_size, NULL, NULL)
                             : bitcask_put(m->db, key, key_size, &version, sizeof version, &options, NULL);
        bool failed = t->meter.failures > 0;
        disarm(&t->meter);
        if (result != BITCASK_OK) {
            refused++;
            must(t, failed && result == BITCASK_NO_MEMORY, "the wrong result");
            must(t, bitcask_last_error()->result == BITCASK_NO_MEMORY, "the last error is another one");
            if (refused % 16 == 0)
                check_many(t, m, "after a refusal");
            result = deletes ? bitcask_delete(m->db, key, key_size, NULL, NULL)
                             : bitcask_put(m->db, key, key_size, &version, sizeof version, &options, NULL);
            must(t, result == BITCASK_OK, "memory is back");
        }
        m->version[i] = deletes ? 0 : version;
    }
    printf("# %u refused\n", refused);
    ck_assert_uint_gt(refused, 64);
    check_many(t, m, "all");
    must(t, world_close(w) == BITCASK_OK, "close");
    check_closed(t);
    for (unsigned hints = 0; hints < 2; hints++) {
        if (hints == 0)
            (void)simdisk_list(w->disk, "/store", SIMDISK_VOLATILE, remove_hint, w->disk);
        must(t, world_open(w) == BITCASK_OK, "reopen");
        m->db = w->db;
        check_many(t, m, "reopened");
        must(t, world_close(w) == BITCASK_OK, "close");
    }
    check_closed(t);
    free(m);
    world_free(w);
    free(t);
}
END_TEST

/* All or nothing (P3) also for a batch of many new keys for which there is no memory at its n-th allocation. */
START_TEST(test_large_batch)
{
    bool hit = true;
    for (uint64_t at = 1; hit; at++) {
        struct trial *t = start(FLAGS, at, FROM, "large batch");
        struct world *w = t->w;
        struct many *m = calloc(1, sizeof *m);
        bitcask_batch *b;
        must(t, world_open(w) == BITCASK_OK, "open");
        m->db = w->db;
        ck_assert_int_eq(bitcask_batch_new(&b), BITCASK_OK);
        for (unsigned i = 0; i < 400; i++) {
            char key[96];
            uint16_t version = (uint16_t)(i + 1);
            ck_assert_int_eq(bitcask_batch_put(b, key, many_key(i, key), &version, sizeof version, 0), BITCASK_OK);
        }
        arm(&t->meter, at, FROM);
        int result = bitcask_write(m->db, b, 0);
        hit = t->meter.failures > 0;
        disarm(&t->meter);
        if (result != BITCASK_OK) {
            must(t, hit && result == BITCASK_NO_MEMORY, "the wrong result");
            must(t, bitcask_last_error()->result == BITCASK_NO_MEMORY, "the last error is another one");
            check_many(t, m, "nothing of it");
            must(t, bitcask_write(m->db, b, 0) == BITCASK_OK, "memory is back");
        }
        for (unsigned i = 0; i < 400; i++)
            m->version[i] = (uint16_t)(i + 1);
        check_many(t, m, "all of it");
        bitcask_batch_free(b);
        must(t, world_close(w) == BITCASK_OK, "close");
        check_closed(t);
        world_free(w);
        free(m);
        free(t);
    }
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("memory");
    TCase *t = tcase_create("P12 P18");
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, test_open_of_a_new_store, 0, 4);
    tcase_add_loop_test(t, test_writes_to_a_new_store, 0, 4);
    tcase_add_loop_test(t, test_writes_after_a_clean_close, 0, 4);
    tcase_add_loop_test(t, test_open_with_hints, 0, 4);
    tcase_add_loop_test(t, test_open_without_hints, 0, 4);
    tcase_add_loop_test(t, test_open_after_a_kill, 0, 4);
    tcase_add_loop_test(t, test_close, 0, 4);
    tcase_add_loop_test(t, test_keydir_that_cannot_grow, 0, 4);
    tcase_add_loop_test(t, test_large_batch, 0, 4);
    suite_add_tcase(s, t);
    return s;
}
