/* What a merge does when disk or memory fail it at the worst moments. The sweeps of all operations (test_io_errors.c,
 * test_memory.c, test_sweep.c) merge, too; here are the moments that they do not meet, and what must be seen at them.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/world.h"

static uint32_t flags_of(int i)
{
    return i == 0 ? 0 : BITCASK_OPEN_NO_MMAP;
}

static const struct world_operation history[] = {
    {WORLD_PUT, 0},      {WORLD_BIG, 1}, {WORLD_BIG, 2},    {WORLD_DELETE, 0}, {WORLD_BIG, 1},
    {WORLD_PUT_SYNC, 3}, {WORLD_BIG, 2}, {WORLD_EXPIRE, 3}, {WORLD_BATCH, 4},  {WORLD_SYNC, 0},
};

static void apply(struct world *w, const struct world_operation *operations, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(world_apply(w, &operations[i]), BITCASK_OK);
}

static struct world *start(uint32_t flags, const bitcask_allocator *allocator, const struct bc_io *io, struct simdisk *disk)
{
    struct world *w = world_new(disk, flags);
    w->allocator = allocator;
    w->io = io;
    ck_assert_int_eq(world_open(w), BITCASK_OK);
    apply(w, history, BC_ARRAY_SIZE(history));
    return w;
}

static void check(struct world *w, unsigned oldest, const char *when)
{
    char message[512] = "";
    struct world_state now;
    ck_assert_msg(world_read(w, &now, message, sizeof message) && world_allows(w, oldest, &now, message, sizeof message),
                  "%s: %s", when, message);
}

static void end(struct world *w)
{
    ck_assert_int_eq(world_close(w), BITCASK_OK);
    ck_assert_int_eq(world_open(w), BITCASK_OK);
    check(w, w->count, "reopened");
    ck_assert_int_eq(world_close(w), BITCASK_OK);
    ck_assert_uint_eq(simdisk_open_descriptors(w->disk), 0);
    ck_assert_uint_eq(simdisk_open_mappings(w->disk), 0);
    world_free(w);
}

static int count_data(const char *name, void *arg)
{
    size_t size = strlen(name);
    *(unsigned *)arg += size > 5 && strcmp(name + size - 5, ".data") == 0;
    return 0;
}

static unsigned data_files(struct simdisk *disk)
{
    unsigned count = 0;
    (void)simdisk_list(disk, "/store", SIMDISK_VOLATILE, count_data, &count);
    return count;
}

/* ---- the commit ---- */

/* Two truths are possible: all that either lists stays, untouched, to the end of the handle; either one opens. */
START_TEST(test_failed_commit_unlinks_nothing)
{
    for (unsigned which = 0; which < 4; which++) {
        struct world *w = start(flags_of(_i), NULL, NULL, simdisk_new(1));
        bitcask *db = w->db;
        ck_assert_int_eq(bc_log_roll(&db->log), BITCASK_OK);
        unsigned before = data_files(w->disk);
        /* Directory syncs of a merge are the output's, then the MANIFEST's. */
        const struct simdisk_fault fault = {.kinds = which < 2 ? SIMDISK_RENAME : SIMDISK_DIR_SYNC,
                                            .name = which < 2 ? "MANIFEST" : NULL,
                                            .at = which < 2 ? 1 : 2,
                                            .error = EIO,
                                            .done = which % 2 != 0};
        simdisk_fail(w->disk, &fault);
        int result = bitcask_merge(db, NULL, NULL);
        ck_assert_uint_gt(simdisk_fail_hits(w->disk), 0);
        ck_assert(result == BITCASK_IO || result == BITCASK_POISONED);
        ck_assert(bc_health_poisoned(&db->health));
        ck_assert_uint_eq(data_files(w->disk), before + 1);
        ck_assert_int_eq(bitcask_merge(db, NULL, NULL), BITCASK_POISONED);
        check(w, w->count, "poisoned");
        unsigned states = simdisk_crash_states(w->disk);
        for (unsigned state = 0; state < states; state++) {
            struct world *after = world_fork(w, simdisk_clone(w->disk));
            simdisk_crash_apply(after->disk, state);
            ck_assert_int_eq(world_open(after), BITCASK_OK);
            check(after, w->durable, "after a power failure");
            ck_assert_int_eq(world_close(after), BITCASK_OK);
            world_free(after);
        }
        ck_assert_int_ne(world_close(w), BITCASK_OK);
        ck_assert_uint_eq(data_files(w->disk), before + 1);
        simdisk_fail_clear(w->disk);
        ck_assert_int_eq(world_open(w), BITCASK_OK);
        check(w, w->count, "opened again");
        end(w);
    }
}
END_TEST

/* A durable record is judged dead by the word of one that is not durable: an overwrite, a delete, an expiry. It may go only
 * after the log is synced. Only the file that holds it is merged, so that nothing else syncs. */
START_TEST(test_nothing_leaves_on_the_word_of_what_is_not_durable)
{
    static const enum world_kind words[] = {WORLD_PUT, WORLD_DELETE, WORLD_EXPIRE, WORLD_TOUCH, WORLD_BATCH};
    for (size_t i = 0; i < BC_ARRAY_SIZE(words); i++) {
        struct world *w = world_new(simdisk_new(1), flags_of(_i));
        static const struct world_operation durable[] = {
            {WORLD_PUT_SYNC, 2}, {WORLD_PUT_SYNC, 3}, {WORLD_PUT_SYNC, 4}, {WORLD_PUT_SYNC, 7}};
        ck_assert_int_eq(world_open(w), BITCASK_OK);
        apply(w, durable, BC_ARRAY_SIZE(durable));
        uint64_t id = w->db->log.active->name.id;
        ck_assert_int_eq(bc_log_roll(&w->db->log), BITCASK_OK);
        const struct world_operation word = {words[i], 2};
        apply(w, &word, 1);
        bitcask_merge_options o = BITCASK_MERGE_OPTIONS_INIT;
        o.files = &id;
        o.file_count = 1;
        ck_assert_int_eq(bitcask_merge(w->db, &o, NULL), BITCASK_OK);
        unsigned states = simdisk_crash_states(w->disk);
        for (unsigned state = 0; state < states; state++) {
            struct world *after = world_fork(w, simdisk_clone(w->disk));
            simdisk_crash_apply(after->disk, state);
            ck_assert_int_eq(world_open(after), BITCASK_OK);
            check(after, w->durable, world_kind_name(words[i]));
            ck_assert_int_eq(world_close(after), BITCASK_OK);
            world_free(after);
        }
        end(w);
    }
}
END_TEST

/* ---- after the commit ---- */

static struct {
    const struct bc_io *under;
    bitcask *db;
    bool armed;
    unsigned failures; /* allocations to fail */
    bitcask_snapshot *snapshot;
} moment;

static void *failing(void *ptr, size_t size, void *ctx)
{
    (void)ctx;
    if (size == 0) {
        free(ptr);
        return NULL;
    }
    if (moment.failures > 0) {
        moment.failures--;
        return NULL;
    }
    return realloc(ptr, size);
}

/* Between the commit and the moves: a snapshot is taken, for which shards must be kept, memory ends, and somebody wants the
 * merge to stop. */
static int rename_and_more(void *ctx, int dir, const char *from, const char *to)
{
    int result = moment.under->rename(ctx, dir, from, to);
    if (moment.armed && strcmp(to, "MANIFEST") == 0) {
        moment.armed = false;
        ck_assert_int_eq(bitcask_snapshot_new(moment.db, &moment.snapshot), BITCASK_OK);
        atomic_fetch_add(&moment.db->merger.pace.interrupts, 1);
        moment.failures = 200;
    }
    return result;
}

START_TEST(test_moves_run_to_their_end_without_memory)
{
    static const bitcask_allocator allocator = {failing, NULL};
    struct simdisk *disk = simdisk_new(1);
    struct bc_io io = *simdisk_io(disk);
    memset(&moment, 0, sizeof moment);
    moment.under = simdisk_io(disk);
    io.rename = rename_and_more;
    struct world *w = start(flags_of(_i), &allocator, &io, disk);
    moment.db = w->db;
    ck_assert_int_eq(bc_log_roll(&w->db->log), BITCASK_OK);
    moment.armed = true;
    (void)bitcask_merge(w->db, NULL, NULL);
    ck_assert_uint_eq(moment.failures, 0); /* it waited for memory */
    atomic_fetch_sub(&w->db->merger.pace.interrupts, 1);
    check(w, w->count, "merged");
    bitcask_stats s = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(w->db, &s), BITCASK_OK);
    ck_assert_uint_gt(s.merges, 0);
    bitcask_view v;
    ck_assert_int_eq(bitcask_snapshot_view(moment.snapshot, "key1x", 5, &v), BITCASK_OK);
    bitcask_view_release(&v);
    bitcask_snapshot_release(moment.snapshot);
    /* What the next step takes for dead is dead. */
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(bitcask_merge(w->db, NULL, NULL), BITCASK_OK);
        check(w, w->count, "merged again");
    }
    w->io = NULL;
    end(w);
}
END_TEST

static int rename_and_fail(void *ctx, int dir, const char *from, const char *to)
{
    int result = moment.under->rename(ctx, dir, from, to);
    if (moment.armed && strcmp(to, "MANIFEST") == 0) {
        moment.armed = false;
        moment.failures = 200;
    }
    return result;
}

/* What a snapshot that was there before the commit must keep was copied before it: the moves ask for no memory. */
START_TEST(test_moves_need_no_memory_for_an_earlier_snapshot)
{
    static const bitcask_allocator allocator = {failing, NULL};
    struct simdisk *disk = simdisk_new(1);
    struct bc_io io = *simdisk_io(disk);
    memset(&moment, 0, sizeof moment);
    moment.under = simdisk_io(disk);
    io.rename = rename_and_fail;
    struct world *w = start(flags_of(_i), &allocator, &io, disk);
    ck_assert_int_eq(bc_log_roll(&w->db->log), BITCASK_OK);
    ck_assert_int_eq(bitcask_snapshot_new(w->db, &moment.snapshot), BITCASK_OK);
    moment.armed = true;
    (void)bitcask_merge(w->db, NULL, NULL);
    ck_assert(!moment.armed);
    ck_assert_uint_gt(moment.failures, 190); /* others may have asked, but none waited for it */
    moment.failures = 0;
    check(w, w->count, "merged");
    bitcask_snapshot_release(moment.snapshot);
    w->io = NULL;
    end(w);
}
END_TEST

/* ---- a full disk ---- */

/* Files that are all dead cost no room: they go on a full disk, and then there is room for the rest. */
START_TEST(test_full_disk_is_emptied_by_a_merge)
{
    static const struct world_operation dead[] = {{WORLD_BIG, 1}, {WORLD_BIG, 2}, {WORLD_BIG, 1}, {WORLD_BIG, 2},
                                                  {WORLD_BIG, 1}, {WORLD_BIG, 2}, {WORLD_BIG, 1}, {WORLD_PUT, 2}};
    struct world *w = start(flags_of(_i), NULL, NULL, simdisk_new(1));
    apply(w, dead, BC_ARRAY_SIZE(dead));
    /* Room for a MANIFEST, not for a data file. */
    simdisk_set_capacity(w->disk, simdisk_used(w->disk) + 4 * SIMDISK_PAGE);
    bitcask_stats before = BITCASK_STATS_INIT, after = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(w->db, &before), BITCASK_OK);
    int result = bitcask_merge(w->db, NULL, NULL);
    ck_assert(result == BITCASK_OK || result == BITCASK_NO_SPACE);
    ck_assert_int_eq(bitcask_stats_get(w->db, &after), BITCASK_OK);
    ck_assert_uint_lt(after.disk_bytes, before.disk_bytes);
    check(w, w->count, "merged on a full disk");
    simdisk_set_capacity(w->disk, (uint64_t)1 << 30);
    ck_assert_int_eq(bitcask_merge(w->db, NULL, NULL), BITCASK_OK);
    check(w, w->count, "merged");
    end(w);
}
END_TEST

/* For each amount of room: NO_SPACE, before or in the middle, leaves nothing behind and needs no reopen. */
START_TEST(test_no_space_in_the_middle)
{
    for (uint64_t pages = 0; pages < 60; pages++) {
        struct world *w = start(flags_of(_i), NULL, NULL, simdisk_new(1));
        ck_assert_int_eq(bc_log_roll(&w->db->log), BITCASK_OK);
        unsigned files = data_files(w->disk);
        uint64_t used = simdisk_used(w->disk);
        simdisk_set_capacity(w->disk, used + pages * SIMDISK_PAGE);
        int result = bitcask_merge(w->db, NULL, NULL);
        ck_assert(result == BITCASK_OK || result == BITCASK_NO_SPACE);
        if (result == BITCASK_NO_SPACE) {
            ck_assert_uint_le(data_files(w->disk), files);
            ck_assert_uint_le(simdisk_used(w->disk), used + 4 * SIMDISK_PAGE); /* hint files may have come */
        }
        ck_assert(!bc_health_poisoned(&w->db->health));
        check(w, w->count, "on the full disk");
        simdisk_set_capacity(w->disk, (uint64_t)1 << 30);
        ck_assert_int_eq(bitcask_merge(w->db, NULL, NULL), BITCASK_OK);
        check(w, w->count, "with room");
        end(w);
    }
}
END_TEST

/* ---- the output ---- */

/* What was written is not what is on the disk: it is read back before the inputs go. */
static int write_badly(void *ctx, int fd, uint64_t offset, const struct bc_io_slice *slices, size_t count)
{
    /* The output's records; anything else is smaller or starts elsewhere. */
    if (moment.armed && count == 1 && offset >= BC_DATA_START && slices[0].size > 30000) {
        char *copy = malloc(slices[0].size);
        struct bc_io_slice bad = {copy, slices[0].size};
        memcpy(copy, slices[0].data, bad.size);
        copy[bad.size / 2] ^= 1;
        int result = moment.under->write(ctx, fd, offset, &bad, 1);
        free(copy);
        moment.failures++;
        return result;
    }
    return moment.under->write(ctx, fd, offset, slices, count);
}

START_TEST(test_output_is_read_back_before_the_inputs_go)
{
    struct simdisk *disk = simdisk_new(1);
    struct bc_io io = *simdisk_io(disk);
    memset(&moment, 0, sizeof moment);
    moment.under = simdisk_io(disk);
    io.write = write_badly;
    struct world *w = start(flags_of(_i), NULL, &io, disk);
    ck_assert_int_eq(bc_log_roll(&w->db->log), BITCASK_OK);
    unsigned files = data_files(disk);
    moment.armed = true;
    ck_assert_int_eq(bitcask_merge(w->db, NULL, NULL), BITCASK_IO);
    moment.armed = false;
    ck_assert_uint_gt(moment.failures, 0);
    ck_assert_uint_eq(data_files(disk), files);
    check(w, w->count, "kept");
    ck_assert_int_eq(bitcask_merge(w->db, NULL, NULL), BITCASK_OK);
    check(w, w->count, "merged");
    w->io = NULL;
    end(w);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("merge_faults");
    TCase *t = tcase_create("faults");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, test_failed_commit_unlinks_nothing, 0, 2);
    tcase_add_loop_test(t, test_nothing_leaves_on_the_word_of_what_is_not_durable, 0, 2);
    tcase_add_loop_test(t, test_moves_run_to_their_end_without_memory, 0, 2);
    tcase_add_loop_test(t, test_moves_need_no_memory_for_an_earlier_snapshot, 0, 2);
    tcase_add_loop_test(t, test_full_disk_is_emptied_by_a_merge, 0, 2);
    tcase_add_loop_test(t, test_no_space_in_the_middle, 0, 2);
    tcase_add_loop_test(t, test_output_is_read_back_before_the_inputs_go, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
