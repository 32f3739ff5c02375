/* test_repair.c - a repair that is cut off before every one of its I/O operations, with what was not synced lost in every
 * classic way; that meets an error at every one of them; that runs on a full disk. In each case: no byte of what was there is
 * lost, also if the store is opened for writing before it is repaired again; the next repair makes it whole, and keeps what it
 * would have kept. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/db.h"
#include "bitcask/verify.h"
#include "test/support/simdisk.h"

#define KEYS 16U
#define VALUE 9000U
#define STATES_A_CUT 6U

static unsigned long cuts, states_tried;

static struct bc_environment environment(struct simdisk *disk)
{
    return (struct bc_environment){simdisk_io(disk), true};
}

static int open_store(struct simdisk *disk, bitcask **ret)
{
    const struct bc_environment e = environment(disk);
    bitcask_options o = BITCASK_OPTIONS_INIT;
    o.max_file_size = 65536;
    o.keydir_shards = 64;
    return bc_db_open("/store", &o, &e, ret);
}

static char said[65536]; /* by the last repair */

static int on_finding(const bitcask_finding *f, void *ctx)
{
    size_t used = strlen(said);
    (void)ctx;
    snprintf(said + used, sizeof said - used, "# %s:%llu: %s: %s\n", f->file, (unsigned long long)f->offset,
             bitcask_finding_name(f->code), f->message);
    return 0;
}

static int repair(struct simdisk *disk, bitcask_verify_result *ret)
{
    const struct bc_environment e = environment(disk);
    bitcask_repair_options o = BITCASK_REPAIR_OPTIONS_INIT;
    *ret = (bitcask_verify_result)BITCASK_VERIFY_RESULT_INIT;
    o.finding = on_finding;
    said[0] = '\0';
    return bc_repair("/store", &o, &e, ret);
}

static void fill_value(unsigned number, char *value)
{
    for (size_t i = 0; i < VALUE; i++)
        value[i] = (char)(number * 31 + i * 7 + (i >> 8));
}

static size_t make_key(unsigned number, char key[16])
{
    return (size_t)snprintf(key, 16, "key%02u", number);
}

/* Three files: some keys in each, the last one twice in two files. */
static struct simdisk *make_disk(bool killed)
{
    struct simdisk *disk = simdisk_new(7);
    bitcask *db;
    char value[VALUE], key[16];
    ck_assert_int_eq(open_store(disk, &db), BITCASK_OK);
    ck_assert_int_eq(bitcask_put(db, "key15", 5, "an older version", 16, NULL, NULL), BITCASK_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        fill_value(i, value);
        ck_assert_int_eq(bitcask_put(db, key, make_key(i, key), value, VALUE, NULL, NULL), BITCASK_OK);
    }
    ck_assert_int_eq(bitcask_sync(db), BITCASK_OK);
    if (killed)
        simdisk_kill(disk);
    ck_assert(bitcask_close(db) == BITCASK_OK || killed);
    /* What is not durable yet, as the last mark, is lost now and not in the middle of a test. */
    simdisk_crash_apply(disk, 0);
    return disk;
}

/* ---- damage ---- */

static uint64_t find_in(struct simdisk *disk, const char *path, const char *needle)
{
    void *bytes;
    size_t size;
    ck_assert_int_eq(simdisk_read_file(disk, path, SIMDISK_VOLATILE, &bytes, &size), 0);
    const char *at = memmem(bytes, size, needle, strlen(needle));
    uint64_t offset = at == NULL ? 0 : (uint64_t)(at - (char *)bytes);
    free(bytes);
    return offset;
}

static void flip_value(struct simdisk *disk)
{
    ck_assert_int_eq(
        simdisk_flip(disk, "/store/0000000001.data", SIMDISK_BOTH, find_in(disk, "/store/0000000001.data", "key03") + 500, 1),
        0);
}

static void flip_head(struct simdisk *disk)
{
    ck_assert_int_eq(
        simdisk_flip(disk, "/store/0000000001.data", SIMDISK_BOTH, find_in(disk, "/store/0000000001.data", "key03") - 10, 1),
        0);
}

static void flip_two_files_and_a_hint(struct simdisk *disk)
{
    flip_value(disk);
    ck_assert_int_eq(simdisk_flip(disk, "/store/0000000002.data", SIMDISK_BOTH, 20, 1), 0);
    (void)simdisk_flip(disk, "/store/0000000002.hint", SIMDISK_BOTH, 20, 1);
}

static void flip_manifest(struct simdisk *disk)
{
    ck_assert_int_eq(simdisk_flip(disk, "/store/MANIFEST", SIMDISK_BOTH, 40, 1), 0);
    ck_assert_int_eq(simdisk_flip(disk, "/store/MANIFEST", SIMDISK_BOTH, 4096 + 40, 1), 0);
    flip_value(disk);
}

static void remove_file(struct simdisk *disk)
{
    ck_assert_int_eq(simdisk_remove(disk, "/store/0000000001.data"), 0);
}

struct scenario {
    const char *what;
    bool killed;
    void (*damage)(struct simdisk *);
    bool first_gone; /* all keys of the first file are lost; else at most key03 */
};

static const struct scenario scenarios[] = {
    {"value", false, flip_value, false},
    {"head", false, flip_head, false},
    {"two files and a hint", false, flip_two_files_and_a_hint, false},
    {"MANIFEST and a value", false, flip_manifest, false},
    {"missing file", false, remove_file, true},
    {"value, after a kill", true, flip_value, false},
    {"MANIFEST and a value, after a kill", true, flip_manifest, false},
};

/* ---- what must hold ---- */

struct copy {
    char name[64];
    void *data;
    size_t size;
};

struct copies {
    struct simdisk *disk;
    struct copy files[32];
    size_t count;
};

static int keep_copy(const char *name, void *arg)
{
    struct copies *c = arg;
    char path[160];
    struct copy *f = &c->files[c->count];
    if (strcmp(name, "LOCK") == 0 || strstr(name, ".tmp") != NULL)
        return 0;
    snprintf(path, sizeof path, "/store/%s", name);
    snprintf(f->name, sizeof f->name, "%s", name);
    ck_assert_int_eq(simdisk_read_file(c->disk, path, SIMDISK_VOLATILE, &f->data, &f->size), 0);
    c->count++;
    return 0;
}

static void free_copies(struct copies *c)
{
    for (size_t i = 0; i < c->count; i++)
        free(c->files[i].data);
}

struct search {
    struct simdisk *disk;
    const char *dir;
    const struct copy *wanted;
    bool found;
};

/* The bytes are there. A file that was open may have been cut behind its last record. */
static int compare(const char *name, void *arg)
{
    struct search *s = arg;
    char path[160];
    void *data;
    size_t size;
    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    if (simdisk_read_file(s->disk, path, SIMDISK_VOLATILE, &data, &size) != 0)
        return 0;
    size_t used = s->wanted->size;
    while (used > size && ((const char *)s->wanted->data)[used - 1] == 0)
        used--;
    if (size >= used && memcmp(data, s->wanted->data, BC_MIN(size, s->wanted->size)) == 0 && size != 0)
        s->found = true;
    free(data);
    return s->found;
}

/* Hints are caches that any open may replace, and a MANIFEST that is good is replaced by each. */
static bool matters(const struct scenario *s, const struct copy *f)
{
    bool manifest = strcmp(f->name, "MANIFEST") == 0;
    const char *bytes = f->data;
    if (f->size <= BC_DATA_START ||
        (!manifest && memcmp(bytes + BC_DATA_START, bytes + BC_DATA_START + 1, f->size - BC_DATA_START - 1) == 0))
        return manifest && s->damage == flip_manifest; /* prepared, without a record */
    return strstr(f->name, ".hint") == NULL && (!manifest || s->damage == flip_manifest);
}

static void expect_bytes(const struct scenario *s, struct simdisk *disk, const struct copies *before, const char *when)
{
    for (size_t i = 0; i < before->count; i++) {
        struct search search = {disk, "/store", &before->files[i], false};
        if (!matters(s, search.wanted))
            continue;
        (void)simdisk_list(disk, "/store", SIMDISK_VOLATILE, compare, &search);
        search.dir = "/store/lost+found";
        (void)simdisk_list(disk, search.dir, SIMDISK_VOLATILE, compare, &search);
        if (!search.found)
            simdisk_print_trace(disk, stderr);
        ck_assert_msg(search.found, "%s: %s: the bytes of %s are gone", s->what, when, search.wanted->name);
    }
}

static void expect_contents(const struct scenario *s, struct simdisk *disk, const char *when)
{
    bitcask *db;
    char value[VALUE], got[VALUE], key[16];
    size_t size;
    unsigned gone = 0;
    ck_assert_msg(open_store(disk, &db) == BITCASK_OK, "%s: %s: open: %s", s->what, when, bitcask_last_error()->message);
    for (unsigned i = 0; i < KEYS; i++) {
        int result = bitcask_read(db, key, make_key(i, key), got, sizeof got, &size);
        fill_value(i, value);
        bool may_be_gone = s->first_gone ? i < 8 : i == 3;
        gone += result == BITCASK_NOT_FOUND;
        if (result != BITCASK_OK && !may_be_gone)
            fprintf(stderr, "%s", said);
        ck_assert_msg((result == BITCASK_OK && size == VALUE && memcmp(got, value, VALUE) == 0) ||
                          (result == BITCASK_NOT_FOUND && may_be_gone),
                      "%s: %s: key %u: %s", s->what, when, i, bitcask_errname(result));
    }
    ck_assert_uint_ge(gone, 1);
    ck_assert_int_eq(bitcask_close(db), BITCASK_OK);
}

/* Whatever is there now: a repair makes it whole. */
static void expect_repairable(const struct scenario *s, struct simdisk *disk, const struct copies *before, bool open_first,
                              const char *when)
{
    bitcask_verify_result r;
    bitcask *db;
    expect_bytes(s, disk, before, when);
    if (open_first && open_store(disk, &db) == BITCASK_OK)
        (void)bitcask_close(db);
    expect_bytes(s, disk, before, "opened");
    ck_assert_msg(repair(disk, &r) == BITCASK_OK, "%s: %s: %s", s->what, when, bitcask_last_error()->message);
    const struct bc_environment e = environment(disk);
    ck_assert_msg(bc_verify("/store", NULL, &e, &r) == BITCASK_OK, "%s: %s: not clean: %s", s->what, when,
                  bitcask_last_error()->message);
    expect_bytes(s, disk, before, "repaired");
    expect_contents(s, disk, when);
    char message[256];
    ck_assert_msg(simdisk_misuses(disk, message, sizeof message) == 0, "%s", message);
    states_tried++;
}

static struct simdisk *start(const struct scenario *s, struct copies *ret)
{
    struct simdisk *disk = make_disk(s->killed);
    s->damage(disk);
    *ret = (struct copies){.disk = disk};
    ck_assert_int_eq(simdisk_list(disk, "/store", SIMDISK_VOLATILE, keep_copy, ret), 0);
    return disk;
}

/* ---- the tests ---- */

START_TEST(test_cut_off_anywhere)
{
    const struct scenario *s = &scenarios[_i];
    struct copies before;
    struct simdisk *disk = start(s, &before);
    for (uint64_t k = 1;; k++) {
        struct simdisk *run = simdisk_clone(disk);
        bitcask_verify_result r;
        simdisk_stop_at(run, SIMDISK_OPS_CHANGE, k);
        int result = repair(run, &r);
        struct simdisk *stopped = simdisk_take_stopped(run);
        if (stopped == NULL) {
            ck_assert_int_eq(result, BITCASK_OK);
            ck_assert_uint_ge(r.repaired, 1);
            struct simdisk *after = simdisk_clone(run); /* which does not stop */
            expect_repairable(s, after, &before, true, "done");
            simdisk_free(after);
            simdisk_free(run);
            break;
        }
        cuts++;
        unsigned states = simdisk_crash_states(stopped), stride = states / STATES_A_CUT + 1;
        for (unsigned i = (unsigned)(k % stride); i < states + stride; i += stride) {
            struct simdisk *after = simdisk_clone(stopped);
            if (i < states)
                simdisk_crash_apply(after, i);
            else
                simdisk_kill(after);
            expect_repairable(s, after, &before, (i / stride + k) % 2 == 0, i < states ? "crash" : "kill");
            simdisk_free(after);
        }
        simdisk_free(stopped);
        simdisk_free(run);
    }
    printf("# %s: %lu cuts, %lu states\n", s->what, cuts, states_tried);
    free_copies(&before);
    simdisk_free(disk);
}
END_TEST

/* Each operation fails once, or from then on. */
START_TEST(test_errors_anywhere)
{
    const struct scenario *s = &scenarios[_i / 2];
    struct copies before;
    struct simdisk *disk = start(s, &before);
    for (uint64_t k = 1;; k++) {
        struct simdisk *run = simdisk_clone(disk);
        const struct simdisk_fault fault = {
            .kinds = SIMDISK_OPS_CHANGE | SIMDISK_OPEN, .at = k, .error = _i % 2 == 0 ? EIO : ENOSPC, .from = k % 2 == 0};
        bitcask_verify_result r;
        simdisk_fail(run, &fault);
        int result = repair(run, &r);
        bool hit = simdisk_fail_hits(run) != 0;
        simdisk_fail_clear(run);
        if (_i % 2 == 1 && hit)
            ck_assert_msg(result == BITCASK_OK || result == BITCASK_NO_SPACE || result == BITCASK_IO ||
                              result == BITCASK_NOT_FOUND || result == BITCASK_CORRUPT,
                          "%s", bitcask_errname(result));
        expect_repairable(s, run, &before, k % 3 == 0, "after an error");
        simdisk_free(run);
        if (!hit) {
            ck_assert_int_eq(result, BITCASK_OK);
            break;
        }
    }
    free_copies(&before);
    simdisk_free(disk);
}
END_TEST

/* A full disk at every stage: NO_SPACE, the store as it was, and whole once there is room. */
START_TEST(test_full_disk)
{
    const struct scenario *s = &scenarios[_i];
    struct copies before;
    struct simdisk *disk = start(s, &before);
    unsigned refused = 0;
    for (uint64_t pages = 0;; pages += 2) {
        struct simdisk *run = simdisk_clone(disk);
        bitcask_verify_result r;
        simdisk_set_capacity(run, simdisk_used(run) + pages * 4096);
        int result = repair(run, &r);
        ck_assert_msg(result == BITCASK_OK || result == BITCASK_NO_SPACE, "%s: %s", s->what, bitcask_last_error()->message);
        refused += result == BITCASK_NO_SPACE;
        simdisk_set_capacity(run, UINT64_MAX / 2);
        expect_repairable(s, run, &before, false, "full disk");
        simdisk_free(run);
        if (result == BITCASK_OK)
            break;
    }
    ck_assert_uint_ge(refused, 1);
    free_copies(&before);
    simdisk_free(disk);
}
END_TEST

/* A sector that cannot be read costs the records in it. */
START_TEST(test_bad_sector)
{
    struct simdisk *disk = make_disk(false);
    struct copies before = {.disk = disk};
    const struct simdisk_fault fault = {.kinds = SIMDISK_READ, .name = "0000000001.data", .at = 3, .error = EIO, .from = false};
    bitcask_verify_result r = BITCASK_VERIFY_RESULT_INIT;
    const struct bc_environment e = environment(disk);
    /* Once: read again in smaller pieces, it is all there. */
    simdisk_fail(disk, &fault);
    ck_assert_int_eq(bc_verify("/store", NULL, &e, &r), BITCASK_OK);
    ck_assert_uint_eq(simdisk_fail_hits(disk), 1);
    simdisk_fail_clear(disk);
    /* For good. */
    struct simdisk_fault forever = fault;
    forever.from = true;
    simdisk_fail(disk, &forever);
    ck_assert_int_eq(bc_verify("/store", NULL, &e, &r), BITCASK_IO);
    ck_assert_uint_eq(r.unreadable, 1);
    simdisk_fail_clear(disk);
    free_copies(&before);
    simdisk_free(disk);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("repair");
    TCase *t = tcase_create("repair");
    tcase_set_timeout(t, 400);
    tcase_add_loop_test(t, test_cut_off_anywhere, 0, (int)BC_ARRAY_SIZE(scenarios));
    tcase_add_loop_test(t, test_errors_anywhere, 0, 2 * (int)BC_ARRAY_SIZE(scenarios));
    tcase_add_loop_test(t, test_full_disk, 0, (int)BC_ARRAY_SIZE(scenarios));
    tcase_add_test(t, test_bad_sector);
    suite_add_tcase(s, t);
    return s;
}
