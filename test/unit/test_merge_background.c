/* When the background merge works: the first look, the interval, the window, and what it does after a failure. The passes are
 * called by the test, on a clock that stands still until it is moved. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bitcask/merge_run.h"
#include "test/support/merging.h"

#define INTERVAL 10000
#define HOUR (3600 * INT64_C(1000))
#define MIDNIGHT INT64_C(1800057600000) /* 2027-01-16, UTC */

static struct {
    struct bc_io io;
    int64_t now;     /* monotonic */
    uint64_t random; /* what the jitter is drawn from */
    bool full;       /* the disk */
    struct store_clock clock;
    struct store_log log;
} world;

static int64_t monotonic(void *ctx)
{
    (void)ctx;
    return world.now;
}

static int draw(void *ctx, void *buf, size_t size)
{
    if (size != sizeof world.random)
        return bc_io_posix.random(ctx, buf, size);
    /* Nonces are drawn as well, and must differ. */
    int result = bc_io_posix.random(ctx, buf, size);
    if (world.random != 0)
        memcpy(buf, &world.random, size);
    return result;
}

static int free_space(void *ctx, int dir, uint64_t *ret)
{
    if (!world.full)
        return bc_io_posix.dir_free_space(ctx, dir, ret);
    *ret = 1 << 20;
    return 0;
}

static bitcask_options background_options(int mode)
{
    bitcask_options o = store_options(mode);
    memset(&world, 0, sizeof world);
    world.io = bc_io_posix;
    world.io.monotonic_ms = monotonic;
    world.io.random = draw;
    world.io.dir_free_space = free_space;
    world.now = 1000000;
    atomic_store(&world.clock.now, MIDNIGHT);
    setenv("TZ", "UTC", 1);
    tzset();
    o.clock = store_clock_now;
    o.clock_ctx = &world.clock;
    o.log = store_log_line;
    o.log_ctx = &world.log;
    o.merge_check_interval_ms = INTERVAL;
    return o;
}

/* Some sealed files of dead records, and among them, in each file, some that live for good. */
static void waste(bitcask *db)
{
    static unsigned lasting = 1000;
    for (unsigned i = 0; i < 60; i++) {
        ck_assert_int_eq(store_put_number(db, i % 10, i, 2000), BITCASK_OK);
        if (i % 7 == 0)
            ck_assert_int_eq(store_put_number(db, lasting++, 1, 100), BITCASK_OK);
    }
    merging_seal(db);
}

static bitcask *open_wasting(const bitcask_options *o)
{
    const struct bc_environment environment = {&world.io, true};
    bitcask *db = NULL;
    int result = bc_db_open(store_path(), o, &environment, &db);
    ck_assert_msg(result == BITCASK_OK, "%s", bitcask_last_error()->message);
    waste(db);
    return db;
}

/* Passes until there is nothing to do at once. Returns whether something was merged. */
static bool pass(bitcask *db)
{
    uint64_t before = merging_stats(db).merges;
    while (bc_merge_background(&db->merger)) {
    }
    return merging_stats(db).merges > before;
}

static void expect_all(bitcask *db)
{
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(store_check_number(db, i, 50 + i, 2000), 0);
}

/* No storm at the start: the first look is after half of the interval or more, at a moment of chance, so that stores which are
 * opened together do not merge together. However often the thread is woken before. */
START_TEST(test_first_look_waits_and_differs_between_stores)
{
    static const struct {
        uint64_t random;
        int64_t after;
    } cases[] = {
        {INTERVAL / 2 + 1, INTERVAL / 2}, {1, INTERVAL / 2 + 1}, {INTERVAL / 2, INTERVAL}, {1234, INTERVAL / 2 + 1234}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bitcask_options o = background_options(_i);
        bitcask *db = open_wasting(&o);
        world.random = cases[i].random;
        for (int woken = 0; woken < 3; woken++)
            ck_assert(!pass(db));
        world.random = 0;
        ck_assert_int_eq(bc_merge_background_due(&db->merger), cases[i].after);
        world.now += cases[i].after - 1;
        ck_assert(!pass(db));
        world.now += 1;
        ck_assert(pass(db));
        expect_all(db);
        store_close(db);
    }
}
END_TEST

static void expect_due(bitcask *db, int64_t interval)
{
    int64_t due = bc_merge_background_due(&db->merger);
    ck_assert_int_le(due, interval);
    ck_assert_int_ge(due, interval - interval / 8);
}

/* Stores that looked together once do not go on to. */
START_TEST(test_intervals_differ)
{
    bitcask_options o = background_options(_i);
    bitcask *db = open_wasting(&o);
    int64_t first = 0;
    bool differs = false;
    ck_assert(!pass(db));
    for (unsigned i = 0; i < 20; i++) {
        world.now += INTERVAL;
        (void)pass(db);
        expect_due(db, INTERVAL);
        first = i == 0 ? bc_merge_background_due(&db->merger) : first;
        differs |= bc_merge_background_due(&db->merger) != first;
    }
    ck_assert(differs);
    store_close(db);
}
END_TEST

/* Without being woken it looks once in an interval; a change of the interval counts from the next look on. */
START_TEST(test_looks_at_each_interval)
{
    bitcask_options o = background_options(_i);
    bitcask *db = open_wasting(&o);
    ck_assert(!pass(db));
    world.now += INTERVAL;
    ck_assert(pass(db));
    /* Statistics and log say why. */
    uint64_t policy = BITCASK_MERGE_BECAUSE_FRAGMENTED | BITCASK_MERGE_BECAUSE_DEAD_BYTES | BITCASK_MERGE_BECAUSE_SPACE;
    ck_assert_uint_ne(merging_stats(db).last_merge_reasons & policy, 0);
    ck_assert_uint_eq(merging_stats(db).last_merge_reasons & ~policy, 0);
    ck_assert_ptr_nonnull(strstr(world.log.text, "ms (fragmented"));
    expect_due(db, INTERVAL);
    ck_assert_int_eq(bitcask_set(db, "merge_check_interval_ms", "500"), BITCASK_OK);
    world.now += INTERVAL;
    waste(db);
    ck_assert(pass(db));
    expect_due(db, 500);
    expect_all(db);
    store_close(db);
}
END_TEST

/* Who fills the disk at once need not wait for the first look. */
START_TEST(test_first_look_is_early_for_who_writes_much)
{
    bitcask_options o = background_options(_i);
    o.max_file_size = 8 << 20;
    bitcask *db = open_wasting(&o);
    ck_assert(!pass(db));
    for (unsigned i = 0; i < 600; i++)
        ck_assert_int_eq(store_put_number(db, 100 + i % 4, i, 60000), BITCASK_OK);
    ck_assert(pass(db));
    store_close(db);
}
END_TEST

/* ---- the window ---- */

static void expect_hours(bitcask *db, const char *start, const char *end, unsigned open)
{
    ck_assert_int_eq(bitcask_set(db, "merge_window_start_hour", start), BITCASK_OK);
    ck_assert_int_eq(bitcask_set(db, "merge_window_end_hour", end), BITCASK_OK);
    bool wasted = false;
    for (unsigned hour = 0; hour < 24; hour++) {
        if (!wasted)
            waste(db);
        world.now += INTERVAL;
        atomic_fetch_add(&world.clock.now, HOUR - atomic_load(&world.clock.now) % HOUR);
        unsigned clock_hour = (unsigned)(atomic_load(&world.clock.now) / HOUR % 24);
        bool inside = (open >> clock_hour & 1) != 0;
        ck_assert_msg(pass(db) == inside, "hour %u of %s to %s", clock_hour, start, end);
        wasted = !inside;
    }
}

START_TEST(test_window_of_hours)
{
    bitcask_options o = background_options(_i);
    bitcask *db = open_wasting(&o);
    ck_assert(!pass(db));
    expect_hours(db, "2", "5", 1U << 2 | 1U << 3 | 1U << 4);
    expect_hours(db, "22", "2", 1U << 22 | 1U << 23 | 1U << 0 | 1U << 1);
    expect_hours(db, "7", "7", 0xffffff);
    expect_hours(db, "off", "5", 0xffffff);
    expect_all(db);
    store_close(db);
}
END_TEST

/* The hours are those of the place, not of the clock. */
START_TEST(test_window_is_local_time)
{
    bitcask_options o = background_options(_i);
    setenv("TZ", "XYZ-5", 1); /* five hours before UTC */
    tzset();
    bitcask *db = open_wasting(&o);
    ck_assert(!pass(db));
    expect_hours(db, "5", "7", 1U << 0 | 1U << 1);
    store_close(db);
}
END_TEST

/* A cache that outgrows its limit cannot wait for the night. */
START_TEST(test_eviction_does_not_wait_for_the_window)
{
    bitcask_options o = background_options(_i);
    o.merge_window_start_hour = 2;
    o.merge_window_end_hour = 5;
    o.max_bytes = 1 << 20;
    bitcask *db = open_wasting(&o);
    ck_assert(!pass(db));
    for (unsigned i = 0; i < 600; i++)
        ck_assert_int_eq(store_put_number(db, i, 1, 2000), BITCASK_OK);
    world.now += INTERVAL;
    ck_assert(pass(db));
    ck_assert_uint_le(merging_stats(db).disk_bytes, o.max_bytes);
    ck_assert_uint_gt(merging_stats(db).evictions, 0);
    ck_assert_uint_eq(merging_stats(db).last_merge_reasons, BITCASK_MERGE_BECAUSE_LIMIT);
    ck_assert_ptr_nonnull(strstr(world.log.text, "ms (limit)"));
    store_close(db);
}
END_TEST

/* ---- after a failure ---- */

/* Looks for as long as it takes until the next attempt. Returns how long that was. */
static int64_t next_failure(bitcask *db)
{
    int64_t started = world.now;
    uint64_t before = merging_stats(db).merge_failures;
    for (;;) {
        int64_t due = bc_merge_background_due(&db->merger);
        ck_assert_int_gt(due, 0);
        world.now += due;
        ck_assert(!pass(db));
        if (merging_stats(db).merge_failures > before)
            return world.now - started;
    }
}

/* No room for the output: that is known before a byte is read or written. Each attempt waits twice as long as the one before,
 * an hour at most; when one succeeds all is as before. */
START_TEST(test_step_without_room_is_tried_again_at_growing_intervals)
{
    bitcask_options o = background_options(_i);
    bitcask *db = open_wasting(&o);
    uint64_t files = merging_stats(db).data_files;
    ck_assert(!pass(db));
    world.full = true;
    (void)next_failure(db);
    ck_assert_uint_gt(world.log.lines[BITCASK_LOG_WARN], 0);
    ck_assert_ptr_nonnull(strstr(world.log.text, "a merge needs"));
    int64_t expected = 1000;
    for (unsigned i = 0; i < 15; i++) {
        ck_assert_int_eq(next_failure(db), expected);
        ck_assert_int_eq((int)merging_stats(db).last_merge_result, BITCASK_NO_SPACE);
        expected = BC_MIN(expected * 2, HOUR);
    }
    ck_assert_int_eq(expected, HOUR);
    ck_assert_uint_eq(merging_stats(db).merge_bytes_read, 0);
    ck_assert_uint_eq(merging_stats(db).data_files, files);
    /* Being woken does not shorten it. */
    world.full = false;
    world.now += HOUR - 1;
    ck_assert(!pass(db));
    world.now += 1;
    ck_assert(pass(db));
    ck_assert_int_eq((int)merging_stats(db).last_merge_result, BITCASK_OK);
    waste(db);
    world.full = true;
    world.now += INTERVAL;
    ck_assert(!pass(db));
    ck_assert_int_eq(next_failure(db), 1000);
    expect_all(db);
    store_close(db);
}
END_TEST

/* A step that writes nothing needs no room, so dead files leave a full disk. */
START_TEST(test_step_without_output_needs_no_room)
{
    bitcask_options o = background_options(_i);
    bitcask *db = open_wasting(&o);
    ck_assert(!pass(db));
    world.now += INTERVAL;
    ck_assert(pass(db));
    for (unsigned i = 0; i < 160; i++)
        ck_assert_int_eq(store_put_number(db, i % 10, i < 100 ? i : i - 100, 2000), BITCASK_OK);
    world.full = true;
    world.now += INTERVAL;
    ck_assert(pass(db));
    expect_all(db);
    store_close(db);
}
END_TEST

/* On demand the same is a result. */
START_TEST(test_merge_on_demand_without_room)
{
    bitcask_options o = background_options(_i);
    bitcask *db = open_wasting(&o);
    world.full = true;
    ck_assert_int_eq(bitcask_merge(db, NULL, NULL), BITCASK_NO_SPACE);
    ck_assert_ptr_nonnull(strstr(bitcask_last_error()->message, "a merge needs"));
    expect_all(db);
    store_close(db);
}
END_TEST

/* ---- a good neighbour ---- */

static struct {
    bitcask *db;
    int fd[2];        /* of the inputs: one that is read by others, one that is not */
    bool armed, seen; /* at the commit */
    bool cached[2];
} cache;

/* Whoever opens a file looks at its header. */
#define BEGINNING (256 << 10)

static bool is_cached(int fd, uint64_t offset, uint64_t size)
{
    bool cached = true;
    ck_assert_int_eq(bc_io_posix.cached(NULL, fd, offset, size, &cached), 0);
    return cached;
}

/* The inputs are still there, and all of them was read. */
static int look_at_cache(void *ctx, int dir, const char *from, const char *to)
{
    if (cache.armed && strcmp(to, "MANIFEST") == 0) {
        cache.armed = false;
        cache.seen = true;
        for (unsigned i = 0; i < 2; i++)
            cache.cached[i] = is_cached(cache.fd[i], BEGINNING, (1 << 20) - BEGINNING);
    }
    return bc_io_posix.rename(ctx, dir, from, to);
}

/* What others have in the system's cache is not pushed out by what a merge reads: that leaves it again, unless it was there
 * before. */
START_TEST(test_what_only_a_merge_reads_leaves_the_cache)
{
    const char *path = store_path();
    bitcask_options o = merging_options(_i);
    o.max_file_size = 1 << 20;
    bitcask *db = store_open(path, &o);
    uint64_t ids[2];
    for (unsigned f = 0; f < 2; f++) {
        for (unsigned i = 0; i < 200; i++)
            ck_assert_int_eq(store_put_number(db, f * 1000 + i / 2, i % 2, 4000), BITCASK_OK);
        ids[f] = merging_seal(db);
    }
    store_close(db);
    memset(&cache, 0, sizeof cache);
    for (unsigned f = 0; f < 2; f++) {
        char name[32];
        snprintf(name, sizeof name, "%010llu.data", (unsigned long long)ids[f]);
        cache.fd[f] = open(store_file(path, name), O_RDONLY);
        ck_assert_int_ge(cache.fd[f], 0);
        ck_assert_int_eq(fsync(cache.fd[f]), 0);
    }
    world.io = bc_io_posix;
    world.io.rename = look_at_cache;
    const struct bc_environment environment = {&world.io, true};
    ck_assert_int_eq(bc_db_open(path, &o, &environment, &db), BITCASK_OK);
    bool told = true;
    for (unsigned f = 0; f < 2; f++) {
        ck_assert_int_eq(bc_io_posix.drop_cache(NULL, cache.fd[f], 0, 1 << 20), 0);
        told = bc_io_posix.cached(NULL, cache.fd[f], 0, 1 << 20, &cache.cached[f]) == 0 && !cache.cached[f] && told;
    }
    ck_assert_int_eq(store_check_number(db, 50, 1, 4000), 0);
    cache.armed = told; /* neither an old kernel nor a file system in memory can show anything */
    bitcask_merge_options m = BITCASK_MERGE_OPTIONS_INIT;
    m.files = ids;
    m.file_count = 2;
    ck_assert_int_eq(bitcask_merge(db, &m, NULL), BITCASK_OK);
    ck_assert(cache.seen == told);
    if (told)
        ck_assert(cache.cached[0] && !cache.cached[1]);
    for (unsigned f = 0; f < 2; f++) {
        close(cache.fd[f]);
        for (unsigned i = 0; i < 100; i++)
            ck_assert_int_eq(store_check_number(db, f * 1000 + i, 1, 4000), 0);
    }
    store_close(db);
}
END_TEST

/* Paused, and without background merges, it does not even look. */
START_TEST(test_pause_and_no_merge)
{
    bitcask_options o = background_options(_i);
    bitcask *db = open_wasting(&o);
    ck_assert(!pass(db));
    ck_assert_int_eq(bitcask_merge_pause(db), BITCASK_OK);
    ck_assert_int_eq(bc_merge_background_due(&db->merger), -1);
    world.now += 10 * INTERVAL;
    ck_assert(!pass(db));
    ck_assert_int_eq(bitcask_merge_resume(db), BITCASK_OK);
    ck_assert(pass(db));
    store_close(db);
    o = background_options(_i);
    o.flags |= BITCASK_OPEN_NO_MERGE;
    db = open_wasting(&o);
    ck_assert_int_eq(bc_merge_background_due(&db->merger), -1);
    world.now += 10 * INTERVAL;
    ck_assert(!pass(db));
    store_close(db);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("merge_background");
    TCase *t = store_tcase("when");
    store_add_test(t, test_first_look_waits_and_differs_between_stores);
    store_add_test(t, test_intervals_differ);
    store_add_test(t, test_looks_at_each_interval);
    store_add_test(t, test_first_look_is_early_for_who_writes_much);
    store_add_test(t, test_pause_and_no_merge);
    suite_add_tcase(s, t);
    t = store_tcase("window");
    store_add_test(t, test_window_of_hours);
    store_add_test(t, test_window_is_local_time);
    store_add_test(t, test_eviction_does_not_wait_for_the_window);
    suite_add_tcase(s, t);
    t = store_tcase("neighbours");
    store_add_test(t, test_what_only_a_merge_reads_leaves_the_cache);
    suite_add_tcase(s, t);
    t = store_tcase("failures");
    store_add_test(t, test_step_without_room_is_tried_again_at_growing_intervals);
    store_add_test(t, test_step_without_output_needs_no_room);
    store_add_test(t, test_merge_on_demand_without_room);
    suite_add_tcase(s, t);
    return s;
}
