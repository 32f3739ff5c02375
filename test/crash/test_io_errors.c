/* Every operation of a scenario with rotation, sync, batch, merge, clear and reopen is made to fail, one after the other, once
 * and from then on, and the store is held to what it says of errors:
 *
 *   - the result names the class of the failure;
 *   - but for a failed sync a write that failed left nothing behind, not now and not after a kill or a power failure;
 *   - no descriptor and no mapping is left after close, whatever happened;
 *   - what was short for a while (space, descriptors, memory) needs no reopen when it is back (P12);
 *   - a failed sync is final (P11): no second one, no write of any kind, reads go on, close says so and ends;
 *   - what was acknowledged durable is there after a power failure in every outcome of the failed sync (P1, P2).
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/world.h"

static const struct world_operation scenario[] = {
    {WORLD_PUT, 0},    {WORLD_BIG, 1},   {WORLD_PUT_SYNC, 2}, {WORLD_BIG, 3},    {WORLD_BATCH, 4}, {WORLD_BATCH_SYNC, 0},
    {WORLD_DELETE, 1}, {WORLD_TOUCH, 2}, {WORLD_BIG, 5},      {WORLD_MERGE, 0},  {WORLD_SYNC, 0},  {WORLD_PUT, 0},
    {WORLD_REOPEN, 0}, {WORLD_PUT, 6},   {WORLD_PUT_SYNC, 7}, {WORLD_DELETE, 7}, {WORLD_MERGE, 0}, {WORLD_CLEAR, 0},
    {WORLD_PUT, 1},    {WORLD_BIG, 2},   {WORLD_BIG, 3},      {WORLD_REOPEN, 0}, {WORLD_MERGE, 0}, {WORLD_BATCH, 5},
    {WORLD_BIG, 0},    {WORLD_TOUCH, 3}, {WORLD_PUT_SYNC, 0},
};

/* What a poisoned handle may not do any more. */
#define CHANGES                                                                                                                \
    (SIMDISK_DIR_CREATE | SIMDISK_DIR_SYNC | SIMDISK_RENAME | SIMDISK_UNLINK | SIMDISK_CREATE | SIMDISK_WRITE | SIMDISK_SYNC | \
     SIMDISK_ALLOCATE | SIMDISK_TRUNCATE)

struct trial {
    uint32_t flags;
    struct simdisk_fault fault;
    struct simdisk_fault second; /* beside it; kinds 0: none */
    enum simdisk_sync_failure sync_failure;
    struct world *w;
    int step; /* of scenario; -1: the first open */
};

static unsigned long runs, futures;

static unsigned scale(void)
{
    const char *text = getenv("BITCASK_TEST_SCALE");
    long value = text == NULL ? 1 : strtol(text, NULL, 10);
    return value < 1 ? 1 : (unsigned)value;
}

static void complain(const struct trial *t, const char *what)
{
    fprintf(stderr,
            "flags %u, fault kinds %#x, the %llu.%s, %s%s, short %llu, failed sync %d; step %d (%s): %s; last error: %s\n",
            t->flags, t->fault.kinds, (unsigned long long)t->fault.at, t->fault.from ? " and on" : "", strerror(t->fault.error),
            t->fault.done ? " but done" : "", (unsigned long long)t->fault.short_bytes, (int)t->sync_failure, t->step,
            t->step < 0 ? "open" : world_kind_name(scenario[t->step].kind), what, bitcask_last_error()->message);
    simdisk_print_trace(t->w->disk, stderr);
    ck_abort_msg("%s, see above", what);
}

static void must(const struct trial *t, bool holds, const char *what)
{
    if (!holds)
        complain(t, what);
}

static bool is_poisoned(const struct world *w)
{
    return w->db != NULL && atomic_load(&w->db->health.poisoned);
}

/* The class of the result that a failure gives. */
static bool right_class(const struct trial *t, int result, bool poisoned)
{
    if (poisoned)
        return result == BITCASK_IO || result == BITCASK_POISONED;
    switch (t->fault.error) {
    case ENOSPC:
    case EFBIG:
    case EDQUOT:
        return result == BITCASK_NO_SPACE ||
               ((t->fault.kinds & (SIMDISK_SYNC | SIMDISK_RENAME | SIMDISK_DIR_SYNC)) != 0 && result == BITCASK_IO);
    case ENOMEM:
        return result == BITCASK_NO_MEMORY;
    default:
        return result == BITCASK_IO && bitcask_last_error()->sys_errno == t->fault.error;
    }
}

static void check_closed(const struct trial *t)
{
    char text[256];
    must(t, simdisk_open_descriptors(t->w->disk) == 0, "descriptors leak");
    must(t, simdisk_open_mappings(t->w->disk) == 0, "mappings leak");
    if (simdisk_misuses(t->w->disk, text, sizeof text) != 0)
        complain(t, text);
}

/* What is visible is a state from the oldest on. */
static void check_contents(const struct trial *t, struct world *w, unsigned oldest, const char *when)
{
    char message[512];
    struct world_state now;
    if (!world_read(w, &now, message, sizeof message) || !world_allows(w, oldest, &now, message, sizeof message)) {
        fprintf(stderr, "%s: %s\n", when, message);
        complain(t, "contents");
    }
}

/* One thing that may happen now. state: of simdisk_crash_apply(); UINT32_MAX: a kill. */
static void check_future(const struct trial *t, unsigned state, unsigned oldest)
{
    char when[300] = "after a kill";
    struct world *w = world_fork(t->w, simdisk_clone(t->w->disk));
    futures++;
    simdisk_set_capacity(w->disk, (uint64_t)1 << 40);
    if (state == UINT32_MAX) {
        simdisk_kill(w->disk);
    } else {
        simdisk_crash_describe(w->disk, state, when, sizeof when);
        simdisk_crash_apply(w->disk, state);
    }
    if (world_open(w) != BITCASK_OK) {
        fprintf(stderr, "%s\n", when);
        complain(t, "a crash made open fail");
    }
    check_contents(t, w, oldest, when);
    w->count = 0;
    ck_assert(world_read(w, &w->states[0], when, sizeof when));
    w->acked = w->durable = 0;
    const struct world_operation put = {WORLD_PUT_SYNC, 3};
    must(t, world_apply(w, &put) == BITCASK_OK, "a put in the future");
    must(t, world_close(w) == BITCASK_OK, "a close in the future");
    must(t, world_open(w) == BITCASK_OK, "the second open in the future");
    check_contents(t, w, 1, "a state later");
    must(t, world_close(w) == BITCASK_OK, "the second close in the future");
    world_free(w);
}

static void check_futures(const struct trial *t, unsigned oldest_after_kill)
{
    const struct world *w = t->w;
    unsigned states = simdisk_crash_states(w->disk);
    check_future(t, UINT32_MAX, oldest_after_kill);
    check_future(t, (unsigned)(t->fault.at * 7919 % states), w->durable);
    if (scale() > 1) {
        check_future(t, 0, w->durable);
        for (unsigned i = 1; i < scale(); i++)
            check_future(t, (unsigned)((t->fault.at + i) * 104729 % states), w->durable);
    }
}

/* P11: the handle refuses writes, reads, and leaves the disk alone to its end. */
static void end_poisoned(struct trial *t, unsigned before)
{
    static const struct world_operation refused[] = {{WORLD_PUT, 1},   {WORLD_PUT_SYNC, 2}, {WORLD_DELETE, 3},
                                                     {WORLD_BATCH, 4}, {WORLD_TOUCH, 5},    {WORLD_SYNC, 0},
                                                     {WORLD_CLEAR, 0}, {WORLD_MERGE, 0}};
    struct world *w = t->w;
    unsigned count = w->count;
    uint64_t changes = simdisk_op_count(w->disk, CHANGES);
    simdisk_fail_clear(w->disk);
    for (size_t i = 0; i < BC_ARRAY_SIZE(refused); i++) {
        must(t, world_apply(w, &refused[i]) == BITCASK_POISONED, "a poisoned handle did not refuse a write");
        world_forget(w, count);
    }
    check_contents(t, w, before, "poisoned");
    /* What was appended before it stays in the page cache over a kill, unless the failed sync dropped it there. */
    bool kept = (t->fault.kinds & SIMDISK_SYNC) == 0 || t->sync_failure == SIMDISK_FAILED_SYNC_KEEPS;
    check_futures(t, kept ? w->acked : w->durable);
    bool wrote = w->db->log.active != NULL;
    int result = world_close(w);
    must(t, !wrote || result == BITCASK_POISONED || result == BITCASK_IO,
         "a poisoned handle closed as if nothing were in doubt");
    must(t, simdisk_op_count(w->disk, CHANGES) == changes, "a poisoned handle changed the disk");
    check_closed(t);
    check_futures(t, kept ? w->acked : w->durable);
}

/* Opens again, without faults, what a failed close or open left. */
static void open_again(struct trial *t)
{
    struct world *w = t->w;
    bool kept = (t->fault.kinds & SIMDISK_SYNC) == 0 || t->sync_failure == SIMDISK_FAILED_SYNC_KEEPS;
    check_closed(t);
    simdisk_fail_clear(w->disk);
    must(t, world_open(w) == BITCASK_OK, "open after a failed open or close");
    check_contents(t, w, kept ? w->acked : w->durable, "after a failed open or close");
    char message[512];
    must(t, world_read(w, &w->states[0], message, sizeof message), message);
    w->count = w->acked = w->durable = 0;
}

/* A step failed. False: the trial is over. */
static bool after_failure(struct trial *t, int result, unsigned count)
{
    struct world *w = t->w;
    bool poisoned = is_poisoned(w);
    must(t, simdisk_fail_hits(w->disk) > 0, "a failure without a fault");
    must(t, right_class(t, result, poisoned || (w->db == NULL && (result == BITCASK_IO || result == BITCASK_POISONED))),
         "the wrong result");
    if (w->db == NULL) {
        open_again(t);
        return true;
    }
    if (poisoned) {
        end_poisoned(t, count);
        return false;
    }
    /* What failed has done nothing. */
    world_forget(w, count);
    if (t->fault.from && simdisk_fail_hits(w->disk) < 3)
        return true;
    simdisk_fail_clear(w->disk);
    check_contents(t, w, w->count, "after the failure");
    check_futures(t, w->acked);
    return true;
}

/* Returns whether the fault came at all. */
static bool run(struct trial *t)
{
    struct world *w = world_new(simdisk_new(1), t->flags);
    bool going = true;
    t->w = w;
    t->step = -1;
    runs++;
    simdisk_set_sync_failure(w->disk, t->sync_failure);
    simdisk_fail(w->disk, &t->fault);
    if (t->second.kinds != 0)
        simdisk_fail(w->disk, &t->second);
    int result = world_open(w);
    if (result != BITCASK_OK)
        going = after_failure(t, result, 0);
    for (t->step = 0; going && t->step < (int)BC_ARRAY_SIZE(scenario); t->step++) {
        unsigned count = w->count;
        result = world_apply(w, &scenario[t->step]);
        if (result == BITCASK_OK) {
            /* Seen by nobody, as when a hint file cannot be written: the disk must not have got into disorder. */
            continue;
        }
        going = after_failure(t, result, count);
        if (going && !t->fault.from && w->count == count) /* what was short is back (P12) */
            must(t, world_apply(w, &scenario[t->step]) == BITCASK_OK, "the second try");
    }
    t->step = (int)BC_ARRAY_SIZE(scenario) - 1;
    bool hit = simdisk_op_count(w->disk, t->fault.kinds) >= t->fault.at;
    if (going) {
        simdisk_fail_clear(w->disk);
        check_contents(t, w, w->count, "at the end");
        check_futures(t, w->acked);
        must(t, world_close(w) == BITCASK_OK, "close");
        check_closed(t);
        check_future(t, UINT32_MAX, w->count);
    }
    world_free(w);
    return hit;
}

struct plan {
    unsigned kinds;
    int errors[4];
};

static const struct plan plans[] = {
    {SIMDISK_DIR_OPEN, {EIO, EMFILE}},
    {SIMDISK_DIR_CREATE, {EIO, ENOSPC}},
    {SIMDISK_DIR_SYNC, {EIO, ENOSPC}},
    {SIMDISK_DIR_LIST, {EIO}},
    {SIMDISK_RENAME, {EIO, ENOSPC}},
    {SIMDISK_UNLINK, {EIO}},
    {SIMDISK_OPEN, {EIO, EMFILE}},
    {SIMDISK_CREATE, {EIO, ENOSPC, EMFILE}},
    {SIMDISK_STAT, {EIO}},
    {SIMDISK_LOCK, {EIO}},
    {SIMDISK_READ, {EIO}},
    {SIMDISK_WRITE, {EIO, ENOSPC, EFBIG}},
    {SIMDISK_SYNC, {EIO, ENOSPC}},
    {SIMDISK_ALLOCATE, {EIO, ENOSPC, EFBIG}},
    {SIMDISK_TRUNCATE, {EIO}},
    {SIMDISK_DROP_CACHE, {EIO}},
    {SIMDISK_MAP, {ENOMEM, EIO}},
    {SIMDISK_POPULATE, {ENOMEM}},
    {SIMDISK_PROTECT, {ENOMEM}},
    {SIMDISK_MEMORY, {ENOMEM}},
    {SIMDISK_RANDOM, {EIO}},
};

/* The k-th operation of a kind, for every k. The n-th run of a kind begins at another k and takes strides, so that all runs
 * together take long enough and no longer. */
static void sweep(struct trial t, unsigned stride)
{
    uint64_t first = 1 + runs % stride;
    for (t.fault.at = first; run(&t); t.fault.at += stride)
        ;
    /* What there is only one of was not skipped. */
    if (first > 1) {
        t.fault.at = 1;
        (void)run(&t);
    }
}

static void sweep_plans(uint32_t flags, bool from, bool done, uint64_t short_bytes, unsigned kinds)
{
    for (size_t i = 0; i < BC_ARRAY_SIZE(plans); i++) {
        if ((plans[i].kinds & kinds) == 0)
            continue;
        for (size_t j = 0; j < BC_ARRAY_SIZE(plans[i].errors) && plans[i].errors[j] != 0; j++) {
            struct trial t = {.flags = flags};
            t.fault = (struct simdisk_fault){
                .kinds = plans[i].kinds, .error = plans[i].errors[j], .from = from, .done = done, .short_bytes = short_bytes};
            bool reads = (plans[i].kinds & (SIMDISK_READ | SIMDISK_STAT | SIMDISK_OPEN)) != 0;
            sweep(t, (reads || j > 0 ? 4 : 1));
        }
    }
}

static void print_count(void)
{
    printf("# %lu runs, %lu futures\n", runs, futures);
}

/* Loop tests: 0 mapped, 1 with system calls. */
static uint32_t flags_of(int i)
{
    return i == 0 ? 0 : BITCASK_OPEN_NO_MMAP;
}

START_TEST(test_each_operation_fails_once)
{
    sweep_plans(flags_of(_i), false, false, 0, SIMDISK_OPS_ALL);
    print_count();
}
END_TEST

START_TEST(test_each_operation_fails_from_then_on)
{
    sweep_plans(flags_of(_i), true, false, 0, SIMDISK_OPS_ALL);
    print_count();
}
END_TEST

/* The system carries it out and says that it failed. */
START_TEST(test_each_change_is_done_and_reported_as_failed)
{
    sweep_plans(flags_of(_i), false, true, 0, CHANGES);
    print_count();
}
END_TEST

START_TEST(test_short_writes)
{
    static const uint64_t lengths[] = {1, 24, 30, 512, 4096, 30000};
    for (size_t i = 0; i < BC_ARRAY_SIZE(lengths); i++) {
        struct trial t = {.flags = flags_of(_i)};
        t.fault = (struct simdisk_fault){.kinds = SIMDISK_WRITE, .error = i % 2 == 0 ? ENOSPC : EIO, .short_bytes = lengths[i]};
        sweep(t, 2);
        t.fault.from = true;
        sweep(t, 5);
    }
    print_count();
}
END_TEST

/* A record that was half or wholly written, cannot be overwritten and cannot be cut off: the handle must not go on behind it.
 */
START_TEST(test_write_that_cannot_be_taken_back)
{
    for (unsigned done = 0; done < 2; done++) {
        struct trial t = {.flags = flags_of(_i)};
        t.fault =
            (struct simdisk_fault){.kinds = SIMDISK_WRITE, .error = EIO, .from = true, .done = done != 0, .short_bytes = 600};
        t.second = (struct simdisk_fault){.kinds = SIMDISK_TRUNCATE, .error = EIO, .at = 1, .from = true};
        sweep(t, 1);
    }
    print_count();
}
END_TEST

/* A failed sync with each of the things that systems do to the pages it did not write. */
START_TEST(test_failed_sync_of_every_kind)
{
    for (unsigned mode = SIMDISK_FAILED_SYNC_KEEPS; mode <= SIMDISK_FAILED_SYNC_DROPS_HALF; mode++) {
        struct trial t = {.flags = flags_of(_i), .sync_failure = (enum simdisk_sync_failure)mode};
        t.fault = (struct simdisk_fault){.kinds = SIMDISK_SYNC, .error = EIO};
        sweep(t, 1);
        t.fault.from = true;
        sweep(t, 3);
    }
    print_count();
}
END_TEST

/* ---- errors while a crash is recovered from ---- */

/* The fault comes while the store is opened; afterwards nothing is lost of what the crash had left. */
static bool run_recovery(struct trial *t, struct world *left)
{
    struct world *w = t->w = world_fork(left, simdisk_clone(left->disk));
    runs++;
    simdisk_set_sync_failure(w->disk, t->sync_failure);
    simdisk_fail(w->disk, &t->fault);
    int result = world_open(w);
    bool hit = simdisk_fail_hits(w->disk) > 0;
    bool kept = (t->fault.kinds & SIMDISK_SYNC) == 0 || t->sync_failure == SIMDISK_FAILED_SYNC_KEEPS;
    unsigned oldest = kept ? w->acked : w->durable;
    if (result != BITCASK_OK) {
        must(t, hit && right_class(t, result, false), "the wrong result");
        check_closed(t);
        check_futures(t, oldest);
        simdisk_fail_clear(w->disk);
        must(t, world_open(w) == BITCASK_OK, "open without the fault");
    }
    simdisk_fail_clear(w->disk);
    check_contents(t, w, oldest, "recovered");
    must(t, world_close(w) == BITCASK_OK, "close");
    check_closed(t);
    world_free(w);
    return hit;
}

START_TEST(test_errors_during_recovery)
{
    static const struct world_operation history[] = {{WORLD_PUT, 0},   {WORLD_BIG, 1},  {WORLD_PUT_SYNC, 2}, {WORLD_BIG, 3},
                                                     {WORLD_BATCH, 4}, {WORLD_SYNC, 0}, {WORLD_DELETE, 0}},
                                        unsealed[] = {{WORLD_BIG, 5}, {WORLD_BATCH, 6}};
    struct world *left = world_new(simdisk_new(1), flags_of(_i));
    ck_assert_int_eq(world_open(left), BITCASK_OK);
    for (size_t i = 0; i < BC_ARRAY_SIZE(history); i++)
        ck_assert_int_eq(world_apply(left, &history[i]), BITCASK_OK);
    /* The full file stays open beside the one that follows it: its sync never comes. */
    bitcask *db = left->db;
    db->upkeep.inlined = false;
    for (size_t i = 0; i < BC_ARRAY_SIZE(unsealed); i++)
        ck_assert_int_eq(world_apply(left, &unsealed[i]), BITCASK_OK);
    db->upkeep.inlined = true;
    ck_assert_ptr_nonnull(db->log.sealing);
    simdisk_kill(left->disk);
    ck_assert_int_ne(world_close(left), BITCASK_OK);
    for (size_t i = 0; i < BC_ARRAY_SIZE(plans); i++) {
        for (size_t j = 0; j < 2 * BC_ARRAY_SIZE(plans[i].errors) && plans[i].errors[j / 2] != 0; j++) {
            for (unsigned mode = 0; mode < (plans[i].kinds == SIMDISK_SYNC ? 3 : 1); mode++) {
                struct trial t = {.flags = left->flags, .step = -1, .sync_failure = (enum simdisk_sync_failure)mode};
                t.fault = (struct simdisk_fault){.kinds = plans[i].kinds, .error = plans[i].errors[j / 2], .from = j % 2 != 0};
                for (t.fault.at = 1; run_recovery(&t, left); t.fault.at++)
                    ;
            }
        }
    }
    world_free(left);
    print_count();
}
END_TEST

/* ---- a full disk ---- */

static void grow_by(struct simdisk *disk, uint64_t bytes)
{
    simdisk_set_capacity(disk, simdisk_used(disk) + bytes);
}

/* P12: with so many pages of room. Only NO_SPACE, nothing half done, and room is enough to go on. */
static void run_with_room(uint32_t flags, uint64_t pages)
{
    struct trial t = {.flags = flags, .fault = {.error = ENOSPC}};
    struct world *w = t.w = world_new(simdisk_new(1), flags);
    ck_assert_int_eq(world_open(w), BITCASK_OK);
    const struct world_operation first = {WORLD_PUT_SYNC, 1};
    ck_assert_int_eq(world_apply(w, &first), BITCASK_OK);
    grow_by(w->disk, pages * SIMDISK_PAGE);
    unsigned refused = 0;
    for (t.step = 0; t.step < (int)BC_ARRAY_SIZE(scenario); t.step++) {
        unsigned count = w->count;
        int result = world_apply(w, &scenario[t.step]);
        if (result == BITCASK_OK)
            continue;
        refused++;
        must(&t, result == BITCASK_NO_SPACE, "a full disk is NO_SPACE");
        must(&t, !is_poisoned(w), "a full disk poisons nothing");
        if (w->db == NULL) {
            check_closed(&t);
            must(&t, world_open(w) == BITCASK_OK, "an existing store opens on a full disk");
        } else {
            world_forget(w, count);
        }
        check_contents(&t, w, w->count, "on the full disk");
        if (refused % 3 != 0)
            continue;
        check_futures(&t, w->acked);
        grow_by(w->disk, 64 * SIMDISK_PAGE);
        must(&t, world_apply(w, &scenario[t.step]) == BITCASK_OK || pages < 64, "there is room again");
        grow_by(w->disk, 3 * SIMDISK_PAGE);
    }
    simdisk_set_capacity(w->disk, (uint64_t)1 << 30);
    for (size_t i = 0; i < BC_ARRAY_SIZE(scenario); i++)
        must(&t, world_apply(w, &scenario[i]) == BITCASK_OK, "there is room again");
    check_contents(&t, w, w->count, "at the end");
    must(&t, world_close(w) == BITCASK_OK, "close");
    check_closed(&t);
    check_future(&t, 0, w->count);
    world_free(w);
}

START_TEST(test_disk_is_full_for_a_while)
{
    for (uint64_t pages = 0; pages < 64; pages++)
        run_with_room(flags_of(_i), pages);
    print_count();
}
END_TEST

/* An existing store that was not closed opens on a full disk; its reads work; its writes are refused until there is room, and
 * then go on without a reopen (a full disk must not bar reads). */
START_TEST(test_open_on_a_full_disk)
{
    struct trial t = {.flags = flags_of(_i), .fault = {.error = ENOSPC}, .step = 0};
    for (int power_failure = 0; power_failure < 2; power_failure++) {
        struct world *w = t.w = world_new(simdisk_new(1), t.flags);
        static const struct world_operation history[] = {
            {WORLD_PUT, 0}, {WORLD_BIG, 1}, {WORLD_BIG, 2}, {WORLD_BATCH_SYNC, 3}, {WORLD_PUT, 6}};
        ck_assert_int_eq(world_open(w), BITCASK_OK);
        for (size_t i = 0; i < BC_ARRAY_SIZE(history); i++)
            ck_assert_int_eq(world_apply(w, &history[i]), BITCASK_OK);
        if (power_failure != 0)
            simdisk_crash_apply(w->disk, 0);
        else
            simdisk_kill(w->disk);
        ck_assert_int_ne(world_close(w), BITCASK_OK);
        simdisk_set_capacity(w->disk, simdisk_used(w->disk));
        uint64_t before = simdisk_digest(w->disk, SIMDISK_VOLATILE);
        must(&t, world_open(w) == BITCASK_OK, "open on a full disk");
        check_contents(&t, w, power_failure != 0 ? w->durable : w->acked, "on the full disk");
        unsigned count = w->count;
        static const struct world_operation refused[] = {
            {WORLD_PUT, 4}, {WORLD_PUT_SYNC, 5}, {WORLD_BIG, 7}, {WORLD_BATCH, 0}, {WORLD_CLEAR, 0}};
        for (size_t i = 0; i < BC_ARRAY_SIZE(refused); i++) {
            must(&t, world_apply(w, &refused[i]) == BITCASK_NO_SPACE, "a write on a full disk");
            world_forget(w, count);
        }
        check_contents(&t, w, power_failure != 0 ? w->durable : w->acked, "after refused writes");
        must(&t, world_close(w) == BITCASK_OK, "close on a full disk");
        check_closed(&t);
        must(&t, simdisk_digest(w->disk, SIMDISK_VOLATILE) == before, "something changed on the full disk");
        /* Again, and then room comes. */
        must(&t, world_open(w) == BITCASK_OK, "open on a full disk");
        char message[512];
        ck_assert(world_read(w, &w->states[0], message, sizeof message));
        w->count = w->acked = w->durable = 0;
        simdisk_set_capacity(w->disk, (uint64_t)1 << 30);
        for (size_t i = 0; i < BC_ARRAY_SIZE(scenario); i++) {
            must(&t, world_apply(w, &scenario[i]) == BITCASK_OK, "there is room");
            if (i % 4 == 0)
                check_futures(&t, w->acked);
        }
        must(&t, world_close(w) == BITCASK_OK, "close");
        check_closed(&t);
        world_free(w);
    }
}
END_TEST

/* What an open on a full disk could not give back goes with the first MANIFEST that finds room: of a write, or of the close. */
START_TEST(test_space_that_a_full_disk_held_back)
{
    struct trial t = {.flags = flags_of(_i), .fault = {.error = ENOSPC}, .step = 0};
    for (int writes = 0; writes < 2; writes++) {
        struct world *w = t.w = world_new(simdisk_new(1), t.flags);
        static const struct world_operation put = {WORLD_PUT, 0};
        ck_assert_int_eq(world_open(w), BITCASK_OK);
        ck_assert_int_eq(world_apply(w, &put), BITCASK_OK);
        simdisk_kill(w->disk);
        ck_assert_int_ne(world_close(w), BITCASK_OK);
        uint64_t used = simdisk_used(w->disk);
        simdisk_set_capacity(w->disk, used);
        must(&t, world_open(w) == BITCASK_OK, "open on a full disk");
        ck_assert_uint_eq(simdisk_used(w->disk), used);
        simdisk_set_capacity(w->disk, (uint64_t)1 << 30);
        if (writes != 0)
            must(&t, world_apply(w, &put) == BITCASK_OK, "there is room");
        uint64_t size, before;
        ck_assert_int_eq(simdisk_size(w->disk, "/store/0000000001.data", SIMDISK_VOLATILE, &before), 0);
        ck_assert_int_eq(before < 16384, writes != 0);
        must(&t, world_close(w) == BITCASK_OK, "close");
        ck_assert_int_eq(simdisk_size(w->disk, "/store/0000000001.data", SIMDISK_VOLATILE, &size), 0);
        ck_assert_uint_lt(size, 16384);
        must(&t, world_open(w) == BITCASK_OK, "open");
        check_contents(&t, w, w->acked, "at the end");
        must(&t, world_close(w) == BITCASK_OK, "close");
        check_closed(&t);
        world_free(w);
    }
}
END_TEST

/* A disk that became full: puts are refused, deletes go on, durable ones too, and stay: logging out works. */
START_TEST(test_deletes_work_on_a_disk_that_became_full)
{
    struct simdisk *disk = simdisk_new(1);
    const struct bc_environment environment = {simdisk_io(disk), true};
    bitcask_options o = BITCASK_OPTIONS_INIT;
    bitcask_put_options sync = BITCASK_PUT_OPTIONS_INIT;
    static const char value[900];
    bitcask *db;
    unsigned n = 0;
    o.flags = flags_of(_i % 2);
    o.max_file_size = 4U << 20;
    o.keydir_shards = 64;
    sync.flags = BITCASK_PUT_SYNC;
    ck_assert_int_eq(bc_db_open("/store", &o, &environment, &db), BITCASK_OK);
    simdisk_set_capacity(disk, _i / 2 == 0 ? 3U << 20 : 9U << 19); /* within the first file, or at its end */
    while (bitcask_put(db, &n, sizeof n, value, sizeof value, NULL, NULL) == BITCASK_OK)
        n++;
    ck_assert_int_eq(bitcask_last_error()->result, BITCASK_NO_SPACE);
    ck_assert_uint_gt(n, 500);
    for (unsigned i = 0; i < 500; i++)
        ck_assert_int_eq(bitcask_delete(db, &i, sizeof i, i % 50 == 0 ? &sync : NULL, NULL), BITCASK_OK);
    ck_assert_int_eq(bitcask_put(db, &n, sizeof n, value, sizeof value, NULL, NULL), BITCASK_NO_SPACE);
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    simdisk_crash_apply(disk, 0);
    (void)!bitcask_close(db);
    simdisk_set_capacity(disk, (uint64_t)1 << 30);
    ck_assert_int_eq(bc_db_open("/store", &o, &environment, &db), BITCASK_OK);
    bitcask_stats stats = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(db, &stats), BITCASK_OK);
    ck_assert_uint_eq(stats.keys, n - 500);
    ck_assert_int_eq(bitcask_close(db), BITCASK_OK);
    simdisk_free(disk);
}
END_TEST

/* ---- reads ---- */

/* P5: a device error is IO, for every way of looking a key up, and never an absence; P12: it is over when it is over. */
START_TEST(test_read_error_is_no_absence)
{
    struct world *w = world_new(simdisk_new(1), flags_of(_i));
    static const struct world_operation history[] = {
        {WORLD_PUT, 0}, {WORLD_BIG, 1}, {WORLD_BIG, 2}, {WORLD_BIG, 3}, {WORLD_PUT, 4}};
    ck_assert_int_eq(world_open(w), BITCASK_OK);
    for (size_t i = 0; i < BC_ARRAY_SIZE(history); i++)
        ck_assert_int_eq(world_apply(w, &history[i]), BITCASK_OK);
    ck_assert_int_eq(world_close(w), BITCASK_OK);
    /* One file open at a time: each read opens its file anew. */
    const struct bc_environment environment = {simdisk_io(w->disk), true};
    bitcask_options options = BITCASK_OPTIONS_INIT;
    options.flags = w->flags;
    options.max_open_files = 1;
    options.max_file_size = 65536;
    static const char *const keys[] = {"key0", "key1x", "key2xx", "key3xxx", "key4xxxx"};
    static const struct {
        unsigned kinds;
        int error, result;
    } faults[] = {{SIMDISK_READ, EIO, BITCASK_IO},    {SIMDISK_OPEN, EIO, BITCASK_IO},
                  {SIMDISK_OPEN, EMFILE, BITCASK_IO}, {SIMDISK_OPEN, ENFILE, BITCASK_IO},
                  {SIMDISK_STAT, EIO, BITCASK_IO},    {SIMDISK_MAP, ENOMEM, BITCASK_NO_MEMORY}};
    ck_assert_int_eq(bc_db_open("/store", &options, &environment, &w->db), BITCASK_OK);
    unsigned failed = 0;
    for (size_t f = 0; f < BC_ARRAY_SIZE(faults); f++) {
        for (size_t k = 0; k < BC_ARRAY_SIZE(keys) * 2; k++) {
            const char *key = keys[k % BC_ARRAY_SIZE(keys)];
            void *value;
            size_t size;
            bitcask_key_info info = BITCASK_KEY_INFO_INIT;
            const struct simdisk_fault fault = {.kinds = faults[f].kinds, .error = faults[f].error, .at = 1, .from = true};
            simdisk_fail(w->disk, &fault);
            int result = bitcask_get(w->db, key, strlen(key), &value, &size);
            if (result == BITCASK_OK)
                bitcask_free(value);
            else
                ck_assert_int_eq(result, faults[f].result);
            int other = bitcask_info(w->db, key, strlen(key), &info);
            ck_assert(other == BITCASK_OK || other == faults[f].result);
            failed += result != BITCASK_OK;
            ck_assert_int_eq(bitcask_get(w->db, "none", 4, &value, &size), BITCASK_NOT_FOUND);
            simdisk_fail_clear(w->disk);
            ck_assert_int_eq(bitcask_get(w->db, key, strlen(key), &value, &size), BITCASK_OK);
            bitcask_free(value);
        }
    }
    ck_assert_uint_gt(failed, 20);
    ck_assert_int_eq(world_close(w), BITCASK_OK);
    ck_assert_uint_eq(simdisk_open_descriptors(w->disk), 0);
    ck_assert_uint_eq(simdisk_open_mappings(w->disk), 0);
    world_free(w);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("io_errors");
    TCase *t = tcase_create("errors");
    tcase_set_timeout(t, 600);
    tcase_add_loop_test(t, test_each_operation_fails_once, 0, 2);
    tcase_add_loop_test(t, test_each_operation_fails_from_then_on, 0, 2);
    tcase_add_loop_test(t, test_each_change_is_done_and_reported_as_failed, 0, 2);
    tcase_add_loop_test(t, test_short_writes, 0, 2);
    tcase_add_loop_test(t, test_failed_sync_of_every_kind, 0, 2);
    tcase_add_loop_test(t, test_write_that_cannot_be_taken_back, 0, 2);
    tcase_add_loop_test(t, test_errors_during_recovery, 0, 2);
    tcase_add_loop_test(t, test_disk_is_full_for_a_while, 0, 2);
    tcase_add_loop_test(t, test_open_on_a_full_disk, 0, 2);
    tcase_add_loop_test(t, test_space_that_a_full_disk_held_back, 0, 2);
    tcase_add_loop_test(t, test_deletes_work_on_a_disk_that_became_full, 0, 4);
    tcase_add_loop_test(t, test_read_error_is_no_absence, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
