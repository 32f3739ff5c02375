#include "test/support/simdisk.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Every test has a disk and an open directory. */
static struct simdisk *disk;
static const struct bc_io *io;
static int dir;

static int open_dir(struct simdisk *of)
{
    int fd = -1;
    ck_assert_int_eq(simdisk_io(of)->dir_open(of, "/store", true, &fd), 0);
    return fd;
}

static void setup(void)
{
    disk = simdisk_new(7);
    io = simdisk_io(disk);
    dir = open_dir(disk);
}

static void teardown(void)
{
    char text[192] = "";
    ck_assert_msg(simdisk_misuses(disk, text, sizeof text) == 0, "%s", text);
    simdisk_free(disk);
}

static int open_file(const char *name)
{
    int fd = -1;
    ck_assert_int_eq(io->open(disk, dir, name, BC_IO_WRITE | BC_IO_CREATE, 0600, &fd), 0);
    return fd;
}

static int put(int fd, uint64_t offset, const void *data, size_t size)
{
    struct bc_io_slice slice = {data, size};
    return io->write(disk, fd, offset, &slice, 1);
}

static void fill(int fd, uint64_t offset, char c, size_t size)
{
    char *data = malloc(size);
    memset(data, c, size);
    ck_assert_int_eq(put(fd, offset, data, size), 0);
    free(data);
}

/* A file with a durable name and a durable content of one character. */
static int durable_file(const char *name, char c, size_t size)
{
    int fd = open_file(name);
    if (size > 0)
        fill(fd, 0, c, size);
    ck_assert_int_eq(io->sync(disk, fd), 0);
    ck_assert_int_eq(io->dir_sync(disk, dir), 0);
    return fd;
}

/* The file's content as a string, one character a sector: '-' for zeros, '?' for a mixed sector; NULL if it is absent. */
static char *picture(struct simdisk *of, const char *path)
{
    unsigned char *data;
    void *raw;
    size_t size;
    if (simdisk_read_file(of, path, SIMDISK_VOLATILE, &raw, &size) != 0)
        return NULL;
    data = raw;
    size_t sectors = (size + SIMDISK_SECTOR - 1) / SIMDISK_SECTOR;
    char *text = calloc(sectors + 1, 1);
    for (size_t i = 0; i < sectors; i++) {
        size_t start = i * SIMDISK_SECTOR;
        size_t end = BC_MIN(size, start + SIMDISK_SECTOR);
        text[i] = data[start] == 0 ? '-' : (char)data[start];
        for (size_t j = start; j < end; j++)
            if (data[j] != data[start])
                text[i] = '?';
    }
    free(raw);
    return text;
}

/* How many crash states show the file so; NULL: absent. */
static unsigned states_with(const char *path, const char *expected)
{
    unsigned hits = 0;
    for (unsigned s = 0; s < simdisk_crash_states(disk); s++) {
        struct simdisk *after = simdisk_clone(disk);
        simdisk_crash_apply(after, s);
        char *text = picture(after, path);
        hits += text == NULL ? expected == NULL : expected != NULL && strcmp(text, expected) == 0;
        free(text);
        simdisk_free(after);
    }
    return hits;
}

/* ---- what is durable ---- */

START_TEST(synced_data_is_in_every_state)
{
    int fd = durable_file("a", 'x', 2048);
    ck_assert_uint_eq(simdisk_crash_states(disk), 1);
    ck_assert_uint_eq(states_with("/store/a", "xxxx"), 1);
    fill(fd, 2048, 'y', 1024);
    fill(open_file("b"), 0, 'z', 1024);
    unsigned states = simdisk_crash_states(disk);
    unsigned seen = 0;
    for (unsigned s = 0; s < states; s++) {
        struct simdisk *after = simdisk_clone(disk);
        simdisk_crash_apply(after, s);
        char *text = picture(after, "/store/a");
        ck_assert_ptr_nonnull(text);
        seen += strncmp(text, "xxxx", 4) == 0;
        free(text);
        simdisk_free(after);
    }
    ck_assert_uint_gt(states, 10);
    ck_assert_uint_eq(seen, states);
}
END_TEST

START_TEST(unsynced_data_has_every_classic_outcome)
{
    int fd = durable_file("a", 'x', 2048);
    fill(fd, 0, 'y', 2048);
    static const char *const outcomes[] = {"xxxx", "yyyy", "yxxx", "yyxx", "yyyx", "yyy?",
                                           "xyyy", "yxyy", "xxxy", "?yyy", "?xxx"};
    for (size_t i = 0; i < BC_ARRAY_SIZE(outcomes); i++)
        ck_assert_msg(states_with("/store/a", outcomes[i]) > 0, "no state %s", outcomes[i]);
}
END_TEST

START_TEST(torn_sector_keeps_either_half)
{
    int fd = durable_file("a", 'x', 512);
    fill(fd, 0, 'y', 512);
    unsigned heads = 0, tails = 0;
    for (unsigned s = 0; s < simdisk_crash_states(disk); s++) {
        struct simdisk *after = simdisk_clone(disk);
        simdisk_crash_apply(after, s);
        void *data;
        size_t size;
        ck_assert_int_eq(simdisk_read_file(after, "/store/a", SIMDISK_DURABLE, &data, &size), 0);
        const char *c = data;
        heads += c[0] == 'y' && c[255] == 'y' && c[256] == 'x' && c[511] == 'x';
        tails += c[0] == 'x' && c[255] == 'x' && c[256] == 'y' && c[511] == 'y';
        free(data);
        simdisk_free(after);
    }
    ck_assert_uint_eq(heads, 1);
    ck_assert_uint_eq(tails, 1);
}
END_TEST

START_TEST(grown_file_may_have_its_size_without_data)
{
    int fd = durable_file("a", 'x', 512);
    fill(fd, 512, 'y', 1024);
    static const char *const outcomes[] = {"x", "xyy", "x--", "xy", "xy-", "x-y"};
    for (size_t i = 0; i < BC_ARRAY_SIZE(outcomes); i++)
        ck_assert_msg(states_with("/store/a", outcomes[i]) > 0, "no state %s", outcomes[i]);
}
END_TEST

START_TEST(unsynced_truncate_may_be_lost)
{
    int fd = durable_file("a", 'x', 2048);
    ck_assert_int_eq(io->truncate(disk, fd, 512), 0);
    ck_assert_uint_gt(states_with("/store/a", "xxxx"), 0);
    ck_assert_uint_gt(states_with("/store/a", "x"), 0);
    ck_assert_int_eq(io->sync(disk, fd), 0);
    ck_assert_uint_eq(simdisk_crash_states(disk), 1);
    ck_assert_uint_eq(states_with("/store/a", "x"), 1);
}
END_TEST

START_TEST(durable_truncate_stays)
{
    int fd = durable_file("a", 'x', 1024);
    ck_assert_int_eq(io->truncate(disk, fd, 512), 0);
    ck_assert_uint_eq(simdisk_crash_states(disk), 2);
    simdisk_crash_apply(disk, 1); /* the cut reached the disk */
    dir = open_dir(disk);
    fd = open_file("a");
    ck_assert_int_eq(io->truncate(disk, fd, 1024), 0);
    ck_assert_uint_gt(states_with("/store/a", "x-"), 0);
    ck_assert_uint_eq(states_with("/store/a", "xx"), 0);
}
END_TEST

START_TEST(truncate_zeroes_what_comes_back)
{
    int fd = durable_file("a", 'x', 1024);
    ck_assert_int_eq(io->truncate(disk, fd, 512), 0);
    ck_assert_int_eq(io->truncate(disk, fd, 1024), 0);
    char *text = picture(disk, "/store/a");
    ck_assert_str_eq(text, "x-");
    free(text);
    ck_assert_uint_gt(states_with("/store/a", "xx"), 0);
    ck_assert_int_eq(io->sync(disk, fd), 0);
    ck_assert_uint_eq(states_with("/store/a", "x-"), 1);
}
END_TEST

START_TEST(one_of_two_files_may_be_lost)
{
    int a = durable_file("a", 'x', 512);
    int b = durable_file("b", 'x', 512);
    fill(a, 0, 'y', 512);
    fill(b, 0, 'y', 512);
    unsigned seen[2][2] = {{0}};
    for (unsigned s = 0; s < simdisk_crash_states(disk); s++) {
        struct simdisk *after = simdisk_clone(disk);
        simdisk_crash_apply(after, s);
        char *ta = picture(after, "/store/a");
        char *tb = picture(after, "/store/b");
        if (ta[0] != '?' && tb[0] != '?')
            seen[ta[0] == 'y'][tb[0] == 'y']++;
        free(ta);
        free(tb);
        simdisk_free(after);
    }
    for (int i = 0; i < 4; i++)
        ck_assert_uint_gt(seen[i / 2][i % 2], 0);
}
END_TEST

/* ---- names ---- */

START_TEST(created_name_is_lost_without_dir_sync)
{
    int fd = open_file("a");
    fill(fd, 0, 'x', 512);
    ck_assert_int_eq(io->sync(disk, fd), 0); /* of the data: not of the name */
    ck_assert_uint_gt(states_with("/store/a", NULL), 0);
    ck_assert_uint_gt(states_with("/store/a", "x"), 0);
    ck_assert_int_eq(io->dir_sync(disk, dir), 0);
    ck_assert_uint_eq(states_with("/store/a", "x"), simdisk_crash_states(disk));
}
END_TEST

START_TEST(rename_may_be_lost_but_is_atomic)
{
    durable_file("M", 'o', 512);
    int fd = open_file("M.tmp");
    fill(fd, 0, 'n', 512);
    ck_assert_int_eq(io->sync(disk, fd), 0);
    ck_assert_int_eq(io->rename(disk, dir, "M.tmp", "M"), 0);
    unsigned states = simdisk_crash_states(disk);
    unsigned old = states_with("/store/M", "o");
    unsigned new = states_with("/store/M", "n");
    ck_assert_uint_gt(old, 0);
    ck_assert_uint_gt(new, 0);
    ck_assert_uint_eq(old + new, states);
    ck_assert_int_eq(io->dir_sync(disk, dir), 0);
    ck_assert_uint_eq(states_with("/store/M", "n"), simdisk_crash_states(disk));
    ck_assert_uint_eq(states_with("/store/M.tmp", NULL), simdisk_crash_states(disk));
}
END_TEST

START_TEST(rename_without_sync_shows_an_empty_file)
{
    durable_file("M", 'o', 512);
    fill(open_file("M.tmp"), 0, 'n', 512);
    ck_assert_int_eq(io->rename(disk, dir, "M.tmp", "M"), 0);
    ck_assert_int_eq(io->dir_sync(disk, dir), 0);
    ck_assert_uint_gt(states_with("/store/M", ""), 0);
    ck_assert_uint_gt(states_with("/store/M", "-") + states_with("/store/M", "?"), 0);
    ck_assert_uint_eq(states_with("/store/M", "o"), 0);
}
END_TEST

START_TEST(unlink_may_be_lost_and_the_data_with_it_is_back)
{
    io->close(disk, durable_file("a", 'x', 512));
    ck_assert_int_eq(io->unlink(disk, dir, "a"), 0);
    ck_assert_uint_gt(states_with("/store/a", "x"), 0);
    ck_assert_uint_gt(states_with("/store/a", NULL), 0);
    ck_assert_int_eq(io->dir_sync(disk, dir), 0);
    ck_assert_uint_eq(states_with("/store/a", NULL), 1);
}
END_TEST

static unsigned name_sets(enum simdisk_names model, bool seen[8])
{
    unsigned distinct = 0;
    simdisk_set_names(disk, model);
    for (unsigned s = 0; s < simdisk_crash_states(disk); s++) {
        struct simdisk *after = simdisk_clone(disk);
        simdisk_crash_apply(after, s);
        unsigned set = 0;
        uint64_t size;
        set |= simdisk_size(after, "/store/a", SIMDISK_DURABLE, &size) == 0 ? 1U : 0;
        set |= simdisk_size(after, "/store/b", SIMDISK_DURABLE, &size) == 0 ? 2U : 0;
        set |= simdisk_size(after, "/store/c", SIMDISK_DURABLE, &size) == 0 ? 4U : 0;
        distinct += !seen[set];
        seen[set] = true;
        simdisk_free(after);
    }
    return distinct;
}

START_TEST(names_come_in_any_subset_or_in_order)
{
    open_file("a");
    open_file("b");
    open_file("c");
    bool posix[8] = {false}, ordered[8] = {false};
    ck_assert_uint_eq(name_sets(SIMDISK_NAMES_POSIX, posix), 8);
    ck_assert_uint_eq(name_sets(SIMDISK_NAMES_ORDERED, ordered), 4);
    ck_assert(ordered[0] && ordered[1] && ordered[3] && ordered[7]);
}
END_TEST

START_TEST(many_names_have_all_classic_subsets)
{
    enum { N = 7 };
    bool seen[1 << N] = {false};
    char path[16];
    for (int i = 0; i < N; i++) {
        snprintf(path, sizeof path, "%d", i);
        open_file(path);
    }
    unsigned states = simdisk_crash_states(disk);
    ck_assert_uint_eq(states, 3 * N - 1);
    for (unsigned s = 0; s < states; s++) {
        struct simdisk *after = simdisk_clone(disk);
        simdisk_crash_apply(after, s);
        unsigned set = 0;
        for (int i = 0; i < N; i++) {
            uint64_t size;
            snprintf(path, sizeof path, "/store/%d", i);
            set |= simdisk_size(after, path, SIMDISK_VOLATILE, &size) == 0 ? 1U << i : 0;
        }
        ck_assert(!seen[set]);
        seen[set] = true;
        simdisk_free(after);
    }
    for (unsigned i = 0; i < N; i++) {
        ck_assert(seen[(1U << i) - 1]);
        ck_assert(seen[1U << i]);
        ck_assert(seen[((1U << N) - 1) & ~(1U << i)]);
    }
    ck_assert(seen[(1U << N) - 1]);
}
END_TEST

START_TEST(dir_sync_is_of_one_directory)
{
    int other = -1;
    ck_assert_int_eq(io->dir_open(disk, "/backup/", true, &other), 0);
    int fd = -1;
    ck_assert_int_eq(io->open(disk, other, "b", BC_IO_WRITE | BC_IO_CREATE, 0600, &fd), 0);
    open_file("a");
    ck_assert_int_eq(io->dir_sync(disk, dir), 0);
    ck_assert_uint_eq(states_with("/store/a", NULL), 0);
    ck_assert_uint_gt(states_with("/backup/b", NULL), 0);
    ck_assert_uint_gt(states_with("/backup/b", ""), 0);
}
END_TEST

/* ---- random crashes, kill, clone ---- */

START_TEST(random_crash_respects_what_is_synced_and_repeats)
{
    int fd = durable_file("a", 'x', 2048);
    fill(fd, 1024, 'y', 3072);
    open_file("new");
    unsigned kept = 0, lost = 0, named = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct simdisk *one = simdisk_clone(disk), *two = simdisk_clone(disk);
        uint64_t r1 = seed, r2 = seed;
        simdisk_crash_random(one, &r1);
        simdisk_crash_random(two, &r2);
        ck_assert(r1 == r2 && r1 != seed);
        ck_assert(simdisk_digest(one, SIMDISK_DURABLE) == simdisk_digest(two, SIMDISK_DURABLE));
        ck_assert(simdisk_digest(one, SIMDISK_DURABLE) == simdisk_digest(one, SIMDISK_VOLATILE));
        char *text = picture(one, "/store/a");
        ck_assert(strncmp(text, "xx", 2) == 0 && strlen(text) >= 4);
        kept += text[3] == 'y';
        lost += text[3] == 'x';
        uint64_t size;
        named += simdisk_size(one, "/store/new", SIMDISK_VOLATILE, &size) == 0;
        free(text);
        simdisk_free(one);
        simdisk_free(two);
    }
    ck_assert(kept > 40 && lost > 40 && named > 60 && named < 140);
}
END_TEST

START_TEST(kill_keeps_the_page_cache_and_frees_the_lock)
{
    int fd = open_file("LOCK");
    int second = open_file("LOCK");
    ck_assert_int_eq(io->lock(disk, fd), 0);
    ck_assert_int_eq(io->lock(disk, second), EWOULDBLOCK);
    fill(fd, 0, 'x', 512);
    void *map;
    ck_assert_int_eq(io->map(disk, fd, 512, true, &map), 0);
    simdisk_kill(disk);
    memset(map, 'z', 512); /* the dead process touches nothing */
    ck_assert_uint_eq(simdisk_open_descriptors(disk), 0);
    ck_assert_int_eq(io->sync(disk, fd), EBADF);
    io->unmap(disk, map, 512);
    io->close(disk, fd);
    dir = open_dir(disk);
    fd = open_file("LOCK");
    ck_assert_int_eq(io->lock(disk, fd), 0);
    char *text = picture(disk, "/store/LOCK");
    ck_assert_str_eq(text, "x");
    free(text);
}
END_TEST

START_TEST(lock_leaves_with_its_descriptor)
{
    int fd = open_file("LOCK");
    int second = open_file("LOCK");
    ck_assert_int_eq(io->lock(disk, fd), 0);
    ck_assert_int_eq(io->lock(disk, fd), 0);
    ck_assert_int_eq(io->lock(disk, second), EWOULDBLOCK);
    io->close(disk, fd);
    ck_assert_int_eq(io->lock(disk, second), 0);
}
END_TEST

START_TEST(clone_is_independent)
{
    int fd = durable_file("a", 'x', 512);
    fill(fd, 512, 'y', 512);
    uint64_t before = simdisk_digest(disk, SIMDISK_VOLATILE);
    struct simdisk *copy = simdisk_clone(disk);
    ck_assert(simdisk_digest(copy, SIMDISK_VOLATILE) == before);
    ck_assert_uint_eq(simdisk_crash_states(copy), simdisk_crash_states(disk));
    ck_assert_int_eq(simdisk_flip(copy, "/store/a", SIMDISK_BOTH, 0, 1), 0);
    ck_assert_int_eq(simdisk_remove(copy, "/store/a"), 0);
    ck_assert(simdisk_digest(disk, SIMDISK_VOLATILE) == before);
    ck_assert_uint_eq(simdisk_open_descriptors(copy), 0);
    simdisk_free(copy);
}
END_TEST

START_TEST(crashed_disk_works_on)
{
    int fd = durable_file("a", 'x', 512);
    fill(fd, 0, 'y', 512);
    simdisk_crash_apply(disk, 0);
    dir = open_dir(disk);
    fd = open_file("a");
    fill(fd, 512, 'z', 512);
    ck_assert_int_eq(io->sync(disk, fd), 0);
    ck_assert_uint_eq(states_with("/store/a", "xz"), 1);
}
END_TEST

/* ---- mappings ---- */

START_TEST(mapping_is_the_page_cache)
{
    int fd = open_file("a");
    char *map, byte;
    void *raw;
    size_t got;
    ck_assert_int_eq(io->allocate(disk, fd, 0, 8192), 0);
    ck_assert_int_eq(io->map(disk, fd, 1 << 20, true, &raw), 0);
    map = raw;
    ck_assert_int_eq(io->populate(disk, map, 8192), 0);
    map[5000] = 'm';
    ck_assert_int_eq(io->read(disk, fd, 5000, &byte, 1, &got), 0);
    ck_assert(got == 1 && byte == 'm');
    ck_assert_int_eq(put(fd, 6000, "w", 1), 0);
    ck_assert_int_eq(map[6000], 'w');
    ck_assert_int_eq(io->allocate(disk, fd, 8192, 8192), 0);
    map[10000] = 'g';
    ck_assert_int_eq(map[5000], 'm');
    ck_assert_int_eq(io->sync(disk, fd), 0);
    ck_assert_int_eq(io->dir_sync(disk, dir), 0);
    map[20] = 'u';
    size_t dirty;
    ck_assert_int_eq(simdisk_dirty_sectors(disk, "/store/a", &dirty), 0);
    ck_assert_uint_eq(dirty, 1);
    simdisk_crash_apply(disk, 0);
    void *data;
    ck_assert_int_eq(simdisk_read_file(disk, "/store/a", SIMDISK_VOLATILE, &data, &got), 0);
    ck_assert_uint_eq(got, 16384);
    ck_assert(((char *)data)[5000] == 'm' && ((char *)data)[10000] == 'g' && ((char *)data)[20] == 0);
    free(data);
    ck_assert_uint_eq(simdisk_open_mappings(disk), 1);
    io->unmap(disk, raw, 1 << 20);
    ck_assert_uint_eq(simdisk_open_mappings(disk), 0);
}
END_TEST

START_TEST(store_past_the_last_page_dies)
{
    int fd = open_file("a");
    void *map;
    ck_assert_int_eq(io->allocate(disk, fd, 0, 4096), 0);
    ck_assert_int_eq(io->map(disk, fd, 8192, true, &map), 0);
    signal(SIGBUS, SIG_DFL);
    ((volatile char *)map)[4096] = 1;
}
END_TEST

START_TEST(store_after_protect_dies)
{
    int fd = open_file("a");
    void *map;
    ck_assert_int_eq(io->allocate(disk, fd, 0, 4096), 0);
    ck_assert_int_eq(io->map(disk, fd, 4096, true, &map), 0);
    ((volatile char *)map)[0] = 1;
    ck_assert_int_eq(io->protect(disk, map, 4096), 0);
    signal(SIGSEGV, SIG_DFL);
    ((volatile char *)map)[0] = 2;
}
END_TEST

static void expect_misuse(const char *text)
{
    char first[192];
    ck_assert_uint_gt(simdisk_misuses(disk, first, sizeof first), 0);
    ck_assert_msg(strstr(first, text) != NULL, "%s", first);
    simdisk_free(disk);
    setup();
}

START_TEST(misuse_is_noticed)
{
    void *map;
    int fd = open_file("a");
    ck_assert_int_eq(io->allocate(disk, fd, 0, 1000), 0);
    ck_assert_int_eq(io->map(disk, fd, 4096, true, &map), 0);
    ((volatile char *)map)[1000] = 1;
    ck_assert_int_eq(io->allocate(disk, fd, 1000, 1000), 0);
    ck_assert_int_eq(((volatile char *)map)[1000], 0);
    expect_misuse("past the end");

    fd = open_file("a");
    ck_assert_int_eq(io->truncate(disk, fd, 8192), 0);
    ck_assert_int_eq(io->map(disk, fd, 8192, true, &map), 0);
    ((volatile char *)map)[0] = 1;
    ck_assert_int_eq(io->sync(disk, fd), 0);
    expect_misuse("not allocated");

    fd = open_file("a");
    io->close(disk, fd);
    ck_assert_int_eq(io->sync(disk, fd), EBADF);
    expect_misuse("not an open file");

    io->close(disk, open_file("a"));
    ck_assert_int_eq(io->open(disk, dir, "a", 0, 0, &fd), 0);
    ck_assert_int_eq(put(fd, 0, "x", 1), EBADF);
    expect_misuse("read-only");

    io->unmap(disk, &fd, 4096);
    expect_misuse("no mapping");
}
END_TEST

START_TEST(map_refused_when_told)
{
    void *map = NULL;
    int fd = durable_file("a", 'x', 512);
    ck_assert(io->dir_maps_well(disk, dir));
    simdisk_set_maps_well(disk, false);
    ck_assert(!io->dir_maps_well(disk, dir));
    simdisk_set_map_error(disk, ENODEV);
    ck_assert_int_eq(io->map(disk, fd, 512, false, &map), ENODEV);
    ck_assert_ptr_null(map);
}
END_TEST

/* ---- failed syncs ---- */

static const struct simdisk_fault one_sync_fails = {.kinds = SIMDISK_SYNC, .at = 1, .error = EIO};

START_TEST(failed_sync_that_keeps_pages_can_be_repeated)
{
    int fd = durable_file("a", 'x', 512);
    fill(fd, 0, 'y', 512);
    simdisk_fail(disk, &one_sync_fails);
    ck_assert_int_eq(io->sync(disk, fd), EIO);
    ck_assert_uint_gt(states_with("/store/a", "x"), 0);
    ck_assert_int_eq(io->sync(disk, fd), 0);
    ck_assert_uint_eq(states_with("/store/a", "y"), simdisk_crash_states(disk));
}
END_TEST

START_TEST(fsyncgate_retry_lies)
{
    int fd = durable_file("a", 'x', 8192);
    char byte;
    size_t got;
    simdisk_set_sync_failure(disk, SIMDISK_FAILED_SYNC_DROPS);
    fill(fd, 0, 'y', 512);
    simdisk_fail(disk, &one_sync_fails);
    ck_assert_int_eq(io->sync(disk, fd), EIO);
    ck_assert_int_eq(io->sync(disk, fd), 0);
    ck_assert_int_eq(io->read(disk, fd, 0, &byte, 1, &got), 0);
    ck_assert_int_eq(byte, 'y'); /* the cache shows it */
    ck_assert_uint_eq(simdisk_crash_states(disk), 1);
    ck_assert_uint_eq(states_with("/store/a", "xxxxxxxxxxxxxxxx"), 1); /* the disk never had it */
    /* Another page is not concerned; a new store to this one makes it dirty again. */
    fill(fd, 4096, 'z', 512);
    ck_assert_int_eq(io->sync(disk, fd), 0);
    ck_assert_uint_eq(states_with("/store/a", "xxxxxxxxzxxxxxxx"), 1);
    fill(fd, 512, 'w', 512);
    ck_assert_int_eq(io->sync(disk, fd), 0);
    ck_assert_uint_eq(states_with("/store/a", "ywxxxxxxzxxxxxxx"), 1);
}
END_TEST

START_TEST(drop_cache_shows_the_truth_unless_mapped)
{
    int fd = durable_file("a", 'x', 512);
    char byte;
    size_t got;
    void *map;
    simdisk_set_sync_failure(disk, SIMDISK_FAILED_SYNC_DROPS);
    fill(fd, 0, 'y', 512);
    simdisk_fail(disk, &one_sync_fails);
    ck_assert_int_eq(io->sync(disk, fd), EIO);
    ck_assert_int_eq(io->map(disk, fd, 512, false, &map), 0);
    ck_assert_int_eq(io->drop_cache(disk, fd, 0, 512), 0);
    ck_assert_int_eq(*(char *)map, 'y');
    io->unmap(disk, map, 512);
    ck_assert_int_eq(io->drop_cache(disk, fd, 0, 512), 0);
    ck_assert_int_eq(io->read(disk, fd, 0, &byte, 1, &got), 0);
    ck_assert_int_eq(byte, 'x');
}
END_TEST

START_TEST(half_dropped_sync_leaves_every_other_page)
{
    int fd = durable_file("a", 'x', 8192);
    simdisk_set_sync_failure(disk, SIMDISK_FAILED_SYNC_DROPS_HALF);
    fill(fd, 0, 'y', 8192);
    simdisk_fail(disk, &one_sync_fails);
    ck_assert_int_eq(io->sync(disk, fd), EIO);
    ck_assert_int_eq(io->sync(disk, fd), 0);
    ck_assert_uint_eq(states_with("/store/a", "xxxxxxxxyyyyyyyy"), 1);
    ck_assert_uint_eq(simdisk_crash_states(disk), 1);
}
END_TEST

/* ---- faults and stops ---- */

START_TEST(fault_once_and_from)
{
    int a = open_file("a.data"), b = open_file("b.hint");
    simdisk_fail(disk, &(struct simdisk_fault){.kinds = SIMDISK_WRITE, .at = 2, .error = ENOSPC});
    ck_assert_int_eq(put(a, 0, "1", 1), 0);
    ck_assert_int_eq(put(a, 0, "2", 1), ENOSPC);
    ck_assert_int_eq(put(a, 1, "3", 1), 0);
    ck_assert_uint_eq(simdisk_fail_hits(disk), 1);
    simdisk_fail_clear(disk);
    simdisk_fail(disk, &(struct simdisk_fault){
                           .kinds = SIMDISK_WRITE | SIMDISK_SYNC, .name = ".hint", .at = 2, .error = EIO, .from = true});
    ck_assert_int_eq(put(b, 0, "1", 1), 0);
    ck_assert_int_eq(put(a, 0, "4", 1), 0);
    ck_assert_int_eq(io->sync(disk, b), EIO);
    ck_assert_int_eq(put(b, 0, "5", 1), EIO);
    ck_assert_int_eq(io->sync(disk, a), 0);
    ck_assert_uint_eq(simdisk_fail_hits(disk), 3);
    char *text = picture(disk, "/store/a.data");
    ck_assert_str_eq(text, "?");
    free(text);
}
END_TEST

START_TEST(short_write_then_error)
{
    int fd = open_file("a");
    uint64_t size;
    simdisk_fail(disk, &(struct simdisk_fault){.kinds = SIMDISK_WRITE, .at = 1, .error = EIO, .short_bytes = 5});
    struct bc_io_slice slices[] = {{"abc", 3}, {"defgh", 5}};
    ck_assert_int_eq(io->write(disk, fd, 0, slices, 2), EIO);
    ck_assert_int_eq(simdisk_size(disk, "/store/a", SIMDISK_VOLATILE, &size), 0);
    ck_assert_uint_eq(size, 5);
    void *data;
    size_t got;
    ck_assert_int_eq(simdisk_read_file(disk, "/store/a", SIMDISK_VOLATILE, &data, &got), 0);
    ck_assert_mem_eq(data, "abcde", 5);
    free(data);
}
END_TEST

START_TEST(done_but_reported_failed)
{
    open_file("M.tmp");
    simdisk_fail(disk, &(struct simdisk_fault){
                           .kinds = SIMDISK_RENAME | SIMDISK_DIR_SYNC, .at = 1, .error = EIO, .from = true, .done = true});
    ck_assert_int_eq(io->rename(disk, dir, "M.tmp", "M"), EIO);
    ck_assert_int_eq(io->dir_sync(disk, dir), EIO);
    ck_assert_uint_eq(states_with("/store/M", ""), simdisk_crash_states(disk));
}
END_TEST

START_TEST(out_parameters_stay_on_failure)
{
    int fd = open_file("a");
    int untouched = 42;
    size_t got = 42;
    void *map = &fd;
    uint64_t space = 42;
    struct bc_io_stat st = {.size = 42};
    simdisk_fail(disk, &(struct simdisk_fault){.kinds = SIMDISK_OPS_ALL, .at = 1, .error = EIO, .from = true, .done = true});
    ck_assert_int_eq(io->open(disk, dir, "a", 0, 0, &untouched), EIO);
    ck_assert_int_eq(io->dir_open(disk, "/store", false, &untouched), EIO);
    ck_assert_int_eq(io->read(disk, fd, 0, &untouched, 1, &got), EIO);
    ck_assert_int_eq(io->map(disk, fd, 1, false, &map), EIO);
    ck_assert_int_eq(io->dir_free_space(disk, dir, &space), EIO);
    ck_assert_int_eq(io->stat(disk, fd, &st), EIO);
    ck_assert_ptr_null(io->memory_map(disk, 4096));
    ck_assert(untouched == 42 && got == 42 && map == &fd && space == 42 && st.size == 42);
    ck_assert_uint_eq(simdisk_open_descriptors(disk), 2);
    ck_assert_uint_eq(simdisk_open_mappings(disk), 0);
}
END_TEST

/* A durable replacement of M, six operations. */
static int replace(int *ret_done)
{
    int fd, error;
    *ret_done = 0;
    struct bc_io_slice slice = {"new", 3};
    error = io->open(disk, dir, "M.tmp", BC_IO_WRITE | BC_IO_CREATE, 0600, &fd);
    if (error != 0)
        return error;
    error = io->write(disk, fd, 0, &slice, 1);
    if (error == 0)
        error = io->sync(disk, fd);
    io->close(disk, fd);
    if (error == 0)
        error = io->rename(disk, dir, "M.tmp", "M");
    if (error == 0)
        error = io->dir_sync(disk, dir);
    *ret_done = error == 0;
    return error;
}

START_TEST(stop_at_every_operation)
{
    unsigned olds = 0, news = 0;
    for (uint64_t k = 1;; k++) {
        simdisk_free(disk);
        setup();
        ck_assert_int_eq(simdisk_write_file(disk, "/store/M", "old", 3), 0);
        int done;
        simdisk_stop_at(disk, SIMDISK_OPS_CHANGE, k);
        int error = replace(&done);
        struct simdisk *cut = simdisk_take_stopped(disk);
        if (cut == NULL) {
            ck_assert_int_eq(error, 0);
            ck_assert_uint_eq(k, 6);
            ck_assert_uint_eq(simdisk_op_count(disk, SIMDISK_OPS_CHANGE), 6); /* with setup's directory */
            break;
        }
        ck_assert_int_eq(error, EIO);
        ck_assert_int_eq(io->dir_sync(disk, dir), EIO);
        for (unsigned s = 0; s < simdisk_crash_states(cut); s++) {
            struct simdisk *after = simdisk_clone(cut);
            simdisk_crash_apply(after, s);
            void *data;
            size_t size;
            ck_assert_int_eq(simdisk_read_file(after, "/store/M", SIMDISK_VOLATILE, &data, &size), 0);
            ck_assert_uint_eq(size, 3);
            bool new = memcmp(data, "new", 3) == 0;
            ck_assert(new || memcmp(data, "old", 3) == 0);
            ck_assert(!new || k == 5); /* only between rename and dir_sync is it undecided */
            news += new;
            olds += !new;
            free(data);
            simdisk_free(after);
        }
        simdisk_free(cut);
    }
    ck_assert(olds > 4 && news > 0);
}
END_TEST

START_TEST(stores_after_the_stop_are_not_on_the_disk)
{
    int fd = open_file("a");
    void *map;
    ck_assert_int_eq(io->allocate(disk, fd, 0, 4096), 0);
    ck_assert_int_eq(io->map(disk, fd, 4096, true, &map), 0);
    memset(map, 'x', 512);
    simdisk_stop_at(disk, SIMDISK_SYNC, 1);
    ck_assert_int_eq(io->sync(disk, fd), EIO);
    memset(map, 'y', 512);
    struct simdisk *cut = simdisk_take_stopped(disk);
    ck_assert_ptr_nonnull(cut);
    char *text = picture(cut, "/store/a");
    ck_assert_str_eq(text, "x-------");
    free(text);
    simdisk_free(cut);
    io->unmap(disk, map, 4096);
    io->close(disk, fd);
    io->dir_close(disk, dir);
    ck_assert_uint_eq(simdisk_open_descriptors(disk), 0);
    ck_assert_uint_eq(simdisk_open_mappings(disk), 0);
}
END_TEST

/* ---- the machine ---- */

START_TEST(full_disk)
{
    int fd = open_file("a");
    char data[10000];
    uint64_t size, space;
    memset(data, 'x', sizeof data);
    simdisk_set_capacity(disk, 8192);
    ck_assert_int_eq(put(fd, 0, data, sizeof data), ENOSPC);
    ck_assert_int_eq(simdisk_size(disk, "/store/a", SIMDISK_VOLATILE, &size), 0);
    ck_assert_uint_eq(size, 8192);
    ck_assert_int_eq(io->dir_free_space(disk, dir, &space), 0);
    ck_assert_uint_eq(space, 0);
    ck_assert_int_eq(io->allocate(disk, fd, 8192, 1), ENOSPC);
    ck_assert_int_eq(put(fd, 0, data, 8192), 0); /* in place */
    ck_assert_int_eq(io->truncate(disk, fd, 4096), 0);
    ck_assert_uint_eq(simdisk_used(disk), 4096);
    int other = open_file("b");
    ck_assert_int_eq(io->allocate(disk, other, 0, 4096), 0);
    ck_assert_int_eq(put(fd, 4096, data, 1), ENOSPC);
    ck_assert_int_eq(io->unlink(disk, dir, "b"), 0);
    ck_assert_int_eq(put(fd, 4096, data, 1), ENOSPC); /* still open */
    io->close(disk, other);
    ck_assert_int_eq(put(fd, 4096, data, 1), 0);
    simdisk_set_capacity(disk, 1 << 20);
    ck_assert_int_eq(put(fd, 0, data, sizeof data), 0);
}
END_TEST

START_TEST(clock_and_random_are_the_tests_own)
{
    struct simdisk *same = simdisk_new(7);
    unsigned char a[32], b[32];
    simdisk_set_wall_ms(disk, 1234);
    simdisk_set_monotonic_ms(disk, 99);
    io->sleep_us(disk, 2000);
    ck_assert_int_eq(io->wall_ms(disk), 1234);
    ck_assert_int_eq(io->monotonic_ms(disk), 99);
    ck_assert_int_eq(io->random(disk, a, sizeof a), 0);
    ck_assert_int_eq(simdisk_io(same)->random(same, b, sizeof b), 0);
    ck_assert_mem_eq(a, b, sizeof a);
    ck_assert_int_eq(io->random(disk, b, sizeof b), 0);
    ck_assert_mem_ne(a, b, sizeof a);
    simdisk_free(same);
}
END_TEST

static int count_name(const char *name, void *arg)
{
    ck_assert(strcmp(name, "a") == 0 || strcmp(name, "b") == 0);
    return ++*(int *)arg == 3 ? 77 : 0;
}

START_TEST(open_and_list)
{
    int fd = -1, names = 0;
    ck_assert_int_eq(io->open(disk, dir, "a", BC_IO_WRITE, 0, &fd), ENOENT);
    open_file("a");
    ck_assert_int_eq(io->open(disk, dir, "a", BC_IO_WRITE | BC_IO_CREATE | BC_IO_EXCLUSIVE, 0, &fd), EEXIST);
    open_file("b");
    ck_assert_int_eq(io->dir_list(disk, dir, count_name, &names), 0);
    ck_assert_int_eq(names, 2);
    ck_assert_int_eq(io->dir_list(disk, dir, count_name, &names), 77);
    names = 0;
    ck_assert_int_eq(simdisk_list(disk, "/store", SIMDISK_DURABLE, count_name, &names), 0);
    ck_assert_int_eq(names, 0);
    ck_assert_int_eq(io->dir_open(disk, "/store/a", true, &fd), ENOTDIR);
    ck_assert_int_eq(io->dir_open(disk, "/none", false, &fd), ENOENT);
    ck_assert_int_eq(io->dir_open(disk, "/none/deep", true, &fd), ENOENT);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(simdisk_link(disk, "/store/a", "/store/c"), 0);
    ck_assert_int_eq(io->open(disk, dir, "c", 0, 0, &fd), 0);
    struct bc_io_stat st;
    ck_assert_int_eq(io->stat(disk, fd, &st), 0);
    ck_assert_uint_eq(st.links, 2);
}
END_TEST

START_TEST(trace_and_description)
{
    char text[512];
    int fd = open_file("a");
    fill(fd, 0, 'x', 1024);
    simdisk_crash_describe(disk, simdisk_crash_states(disk) - 1, text, sizeof text);
    ck_assert_msg(strstr(text, "a (0 -> 1024 bytes, 2 dirty sectors)") != NULL, "%s", text);
    char *trace = NULL;
    size_t size;
    FILE *out = open_memstream(&trace, &size);
    struct simdisk *copy = simdisk_clone(disk); /* what a sweep has at hand when it fails */
    simdisk_print_trace(copy, out);
    simdisk_free(copy);
    fclose(out);
    ck_assert_msg(strstr(trace, "create") != NULL && strstr(trace, "offset 0 size 1024: ok") != NULL, "%s", trace);
    free(trace);
}
END_TEST

START_TEST(outside_helpers)
{
    uint64_t size;
    void *data;
    size_t got;
    ck_assert_int_eq(simdisk_write_file(disk, "/store/f", "hello", 5), 0);
    ck_assert_int_eq(simdisk_write_file(disk, "/none/f", "hello", 5), ENOENT);
    ck_assert_uint_eq(simdisk_crash_states(disk), 1);
    uint64_t digest = simdisk_digest(disk, SIMDISK_DURABLE);
    ck_assert_int_eq(simdisk_flip(disk, "/store/f", SIMDISK_BOTH, 5, 1), EINVAL);
    ck_assert_int_eq(simdisk_flip(disk, "/store/f", SIMDISK_BOTH, 0, 'h' ^ 'j'), 0);
    ck_assert(simdisk_digest(disk, SIMDISK_DURABLE) != digest);
    ck_assert_int_eq(simdisk_flip(disk, "/store/f", SIMDISK_DURABLE, 4, 'o' ^ 'x'), 0);
    ck_assert_int_eq(simdisk_read_file(disk, "/store/f", SIMDISK_VOLATILE, &data, &got), 0);
    ck_assert_mem_eq(data, "jello", 5);
    free(data);
    ck_assert_int_eq(simdisk_read_file(disk, "/store/f", SIMDISK_DURABLE, &data, &got), 0);
    ck_assert_mem_eq(data, "jellx", 5);
    free(data);
    ck_assert_int_eq(simdisk_cut(disk, "/store/f", 2), 0);
    ck_assert_int_eq(simdisk_size(disk, "/store/f", SIMDISK_DURABLE, &size), 0);
    ck_assert_uint_eq(size, 2);
    ck_assert_int_eq(simdisk_remove(disk, "/store/f"), 0);
    ck_assert_int_eq(simdisk_remove(disk, "/store/f"), ENOENT);
    ck_assert_int_eq(simdisk_size(disk, "/store/f", SIMDISK_DURABLE, &size), ENOENT);
}
END_TEST

struct worker {
    pthread_t thread;
    char name[8];
    char *map;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    int fd = open_file(w->name);
    for (unsigned i = 0; i < 50; i++) {
        w->map[i] = (char)i; /* other bytes of the page that the main thread syncs and clones */
        fill(fd, (uint64_t)i * 100, 'x', 100);
        ck_assert_int_eq(io->sync(disk, fd), 0);
    }
    io->close(disk, fd);
    return NULL;
}

START_TEST(threads)
{
    struct worker w[3];
    void *map;
    int fd = open_file("shared");
    ck_assert_int_eq(io->allocate(disk, fd, 0, 4096), 0);
    ck_assert_int_eq(io->map(disk, fd, 4096, true, &map), 0);
    for (unsigned i = 0; i < BC_ARRAY_SIZE(w); i++) {
        snprintf(w[i].name, sizeof w[i].name, "%u", i);
        w[i].map = (char *)map + i * 1000;
        ck_assert_int_eq(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (unsigned i = 0; i < 20; i++) {
        ck_assert_int_eq(io->sync(disk, fd), 0);
        ck_assert_int_eq(io->dir_sync(disk, dir), 0);
        simdisk_free(simdisk_clone(disk));
    }
    for (unsigned i = 0; i < BC_ARRAY_SIZE(w); i++)
        pthread_join(w[i].thread, NULL);
    ck_assert_int_eq(io->sync(disk, fd), 0);
    ck_assert_int_eq(io->dir_sync(disk, dir), 0);
    ck_assert_uint_eq(simdisk_crash_states(disk), 1);
    io->unmap(disk, map, 4096);
}
END_TEST

Suite *bc_suite(void);

Suite *bc_suite(void)
{
    Suite *suite = suite_create("simdisk");
    TCase *tc = tcase_create("simdisk");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, synced_data_is_in_every_state);
    tcase_add_test(tc, unsynced_data_has_every_classic_outcome);
    tcase_add_test(tc, torn_sector_keeps_either_half);
    tcase_add_test(tc, grown_file_may_have_its_size_without_data);
    tcase_add_test(tc, unsynced_truncate_may_be_lost);
    tcase_add_test(tc, durable_truncate_stays);
    tcase_add_test(tc, truncate_zeroes_what_comes_back);
    tcase_add_test(tc, one_of_two_files_may_be_lost);
    tcase_add_test(tc, created_name_is_lost_without_dir_sync);
    tcase_add_test(tc, rename_may_be_lost_but_is_atomic);
    tcase_add_test(tc, rename_without_sync_shows_an_empty_file);
    tcase_add_test(tc, unlink_may_be_lost_and_the_data_with_it_is_back);
    tcase_add_test(tc, names_come_in_any_subset_or_in_order);
    tcase_add_test(tc, many_names_have_all_classic_subsets);
    tcase_add_test(tc, dir_sync_is_of_one_directory);
    tcase_add_test(tc, random_crash_respects_what_is_synced_and_repeats);
    tcase_add_test(tc, kill_keeps_the_page_cache_and_frees_the_lock);
    tcase_add_test(tc, lock_leaves_with_its_descriptor);
    tcase_add_test(tc, clone_is_independent);
    tcase_add_test(tc, crashed_disk_works_on);
    tcase_add_test(tc, mapping_is_the_page_cache);
    tcase_add_test(tc, misuse_is_noticed);
    tcase_add_test(tc, map_refused_when_told);
    tcase_add_test(tc, failed_sync_that_keeps_pages_can_be_repeated);
    tcase_add_test(tc, fsyncgate_retry_lies);
    tcase_add_test(tc, drop_cache_shows_the_truth_unless_mapped);
    tcase_add_test(tc, half_dropped_sync_leaves_every_other_page);
    tcase_add_test(tc, fault_once_and_from);
    tcase_add_test(tc, short_write_then_error);
    tcase_add_test(tc, done_but_reported_failed);
    tcase_add_test(tc, out_parameters_stay_on_failure);
    tcase_add_test(tc, stop_at_every_operation);
    tcase_add_test(tc, stores_after_the_stop_are_not_on_the_disk);
    tcase_add_test(tc, full_disk);
    tcase_add_test(tc, clock_and_random_are_the_tests_own);
    tcase_add_test(tc, open_and_list);
    tcase_add_test(tc, trace_and_description);
    tcase_add_test(tc, outside_helpers);
    tcase_add_test(tc, threads);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    /* These die by design; a sanitizer would report the signal as its own finding, so they take its handler away. */
    TCase *deadly = tcase_create("deadly");
    tcase_add_checked_fixture(deadly, setup, teardown);
    tcase_add_test_raise_signal(deadly, store_past_the_last_page_dies, SIGBUS);
    tcase_add_test_raise_signal(deadly, store_after_protect_dies, SIGSEGV);
    suite_add_tcase(suite, deadly);
    return suite;
}
