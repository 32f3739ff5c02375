/* test_backup_crash.c - a backup cut off before every I/O operation, with un-synced data and names lost in every classic way;
 * and with every operation failing once.
 *
 * Checked in every state: what stands in the backup's directory opens as the earlier backup or as the new one, whole, or is
 * recognised as unfinished (only before there was one); the store itself is what it was; the next backup completes, and is the
 * store. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/world.h"

#define STATES_A_CUT 6U /* spread over all of them, differently at each cut */
#define TO "/backup"

struct scenario {
    const char *name;
    uint32_t open_flags, backup_flags;
    const struct world_operation *before; /* an earlier backup is made after these; NULL: there is none */
    size_t before_count;
    const struct world_operation *after;
    size_t after_count;
    int link_error; /* of every link; 0: links work */
};

static const struct world_operation first[] = {
    {WORLD_PUT, 0},    {WORLD_BIG, 1}, {WORLD_PUT_SYNC, 2}, {WORLD_BATCH, 3},
    {WORLD_DELETE, 0}, {WORLD_PUT, 4}, {WORLD_BIG, 5},      {WORLD_PUT, 6},
};
/* Far from a full file, so that a later open goes on in it. */
static const struct world_operation little[] = {{WORLD_PUT, 0}, {WORLD_PUT_SYNC, 2}, {WORLD_BATCH, 3}};
/* The tail grows, nothing else. */
static const struct world_operation grow[] = {{WORLD_PUT, 7}, {WORLD_BATCH, 0}};
/* The copied tail is sealed and linked; new files. */
static const struct world_operation rotate[] = {
    {WORLD_BIG, 7}, {WORLD_PUT, 1}, {WORLD_BIG, 3}, {WORLD_SYNC, 0}, {WORLD_PUT, 2}};
/* A file that a clean close ended goes on. */
static const struct world_operation reopen[] = {{WORLD_REOPEN, 0}, {WORLD_PUT, 5}, {WORLD_DELETE, 1}};
static const struct world_operation merge[] = {{WORLD_PUT, 1}, {WORLD_DELETE, 5}, {WORLD_MERGE, 0}, {WORLD_PUT, 0}};
static const struct world_operation clear[] = {{WORLD_CLEAR, 0}, {WORLD_PUT, 2}};

#define OPERATIONS(list) list, BC_ARRAY_SIZE(list)

static const struct scenario scenarios[] = {
    {"first", 0, 0, NULL, 0, OPERATIONS(first), 0},
    {"first, copied", BITCASK_OPEN_NO_MMAP, 0, NULL, 0, OPERATIONS(first), EXDEV},
    {"grown tail", 0, 0, OPERATIONS(first), OPERATIONS(grow), 0},
    {"rotated", 0, 0, OPERATIONS(first), OPERATIONS(rotate), 0},
    {"rotated, copied", 0, BITCASK_BACKUP_NO_LINK, OPERATIONS(first), OPERATIONS(rotate), 0},
    {"gone on", 0, 0, OPERATIONS(little), OPERATIONS(reopen), 0},
    {"merged", 0, 0, OPERATIONS(first), OPERATIONS(merge), EMLINK},
    {"merged, linked", BITCASK_OPEN_NO_MMAP, 0, OPERATIONS(first), OPERATIONS(merge), 0},
    {"cleared", 0, 0, OPERATIONS(first), OPERATIONS(clear), 0},
};

static void apply(struct world *w, const struct world_operation *operations, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(world_apply(w, &operations[i]), BITCASK_OK);
}

static int backup(struct world *w, uint32_t flags)
{
    bitcask_backup_options o = BITCASK_BACKUP_OPTIONS_INIT;
    o.flags = flags;
    return bitcask_backup(w->db, TO, &o);
}

/* Up to just before the backup that is examined. *ret_earlier: the state in the earlier one. */
static struct world *start(const struct scenario *s, unsigned *ret_earlier)
{
    struct world *w = world_new(simdisk_new(1), s->open_flags);
    if (s->link_error != 0)
        simdisk_fail(w->disk, &(struct simdisk_fault){.kinds = SIMDISK_LINK, .at = 1, .from = true, .error = s->link_error});
    ck_assert_int_eq(world_open(w), BITCASK_OK);
    apply(w, s->before, s->before_count);
    *ret_earlier = w->count;
    if (s->before != NULL)
        ck_assert_int_eq(backup(w, s->backup_flags), BITCASK_OK);
    apply(w, s->after, s->after_count);
    return w;
}

static int open_backup(struct simdisk *disk, uint32_t flags, bitcask **ret)
{
    const struct bc_environment environment = {simdisk_io(disk), true};
    bitcask_options options = BITCASK_OPTIONS_INIT;
    options.flags = flags;
    options.max_file_size = 65536;
    options.keydir_shards = 64;
    return bc_db_open(TO, &options, &environment, ret);
}

/* Whether the directory holds one of two states, or is recognised as no backup yet. Returns NULL or what is wrong. */
static const char *check_backup(const struct world *ran, struct simdisk *disk, uint32_t flags, bool may_be_unfinished,
                                unsigned earlier, unsigned now, char *message, size_t size)
{
    struct world w = *ran;
    struct world_state found;
    w.disk = disk;
    int result = open_backup(disk, flags, &w.db);
    if (may_be_unfinished && (result == BITCASK_UNSUPPORTED || result == BITCASK_NOT_FOUND))
        return NULL;
    if (result != BITCASK_OK) {
        snprintf(message, size, "%s", bitcask_last_error()->message);
        return "the backup does not open";
    }
    const char *wrong = NULL;
    if (!world_read(&w, &found, message, size))
        wrong = "a read in the backup";
    else if (memcmp(&found, &w.states[now], sizeof found) != 0 &&
             (may_be_unfinished || memcmp(&found, &w.states[earlier], sizeof found) != 0))
        wrong = "the backup holds neither state";
    if (bitcask_close(w.db) != BITCASK_OK && wrong == NULL)
        wrong = "closing the backup";
    return wrong;
}

/* What a crash left: the backup, then the store, then the next backup. */
static const char *check(const struct scenario *s, const struct world *ran, struct simdisk *after, unsigned oldest,
                         unsigned earlier, unsigned attempt, char *message, size_t size)
{
    bool none = s->before == NULL;
    struct world w = *ran;
    struct world_state found, again;
    w.disk = after;
    w.db = NULL;
    /* Opened for writing every other time: it must not touch what it shares with the store. */
    uint32_t flags = attempt % 2 == 0 ? s->open_flags | BITCASK_OPEN_READ_ONLY : s->open_flags;
    if (none)
        flags |= BITCASK_OPEN_READ_ONLY; /* or it would make a store where there is no backup yet */
    const char *wrong = check_backup(ran, after, flags, none, earlier, ran->count, message, size);
    if (wrong != NULL)
        return wrong;
    if (world_open(&w) != BITCASK_OK) {
        snprintf(message, size, "%s", bitcask_last_error()->message);
        return "the store does not open";
    }
    if (!world_read(&w, &found, message, size) || !world_allows(&w, oldest, &found, message, size))
        return "the store's state";
    if (backup(&w, s->backup_flags) != BITCASK_OK) {
        snprintf(message, size, "%s", bitcask_last_error()->message);
        return "the next backup";
    }
    struct world copy = w;
    if (open_backup(after, s->open_flags, &copy.db) != BITCASK_OK || !world_read(&copy, &again, message, size))
        return "reading the next backup";
    if (memcmp(&found, &again, sizeof found) != 0)
        return "the next backup is not the store";
    if (bitcask_close(copy.db) != BITCASK_OK || world_close(&w) != BITCASK_OK)
        return "close";
    return simdisk_misuses(after, message, size) == 0 ? NULL : "misuse";
}

static void expect(const struct scenario *s, uint64_t cut, struct simdisk *stopped, unsigned state, const char *wrong,
                   const char *message)
{
    char text[256] = "kill";
    if (wrong == NULL)
        return;
    if (state != UINT32_MAX)
        simdisk_crash_describe(stopped, state, text, sizeof text);
    simdisk_print_trace(stopped, stderr);
    ck_abort_msg("%s; cut before change %llu; %s: %s: %s", s->name, (unsigned long long)cut, text, wrong, message);
}

static bool try_cut(const struct scenario *s, uint64_t k)
{
    unsigned earlier;
    struct world *w = start(s, &earlier);
    char message[512] = "";
    simdisk_stop_at(w->disk, SIMDISK_OPS_CHANGE, k);
    int result = backup(w, s->backup_flags);
    struct simdisk *stopped = simdisk_take_stopped(w->disk);
    if (stopped != NULL) {
        unsigned states = simdisk_crash_states(stopped);
        unsigned step = states / STATES_A_CUT + 1;
        struct simdisk *killed = simdisk_clone(stopped);
        simdisk_kill(killed);
        expect(s, k, stopped, UINT32_MAX, check(s, w, killed, w->acked, earlier, (unsigned)k, message, sizeof message),
               message);
        simdisk_free(killed);
        for (unsigned state = (unsigned)k % step; state < states; state += step) {
            struct simdisk *after = simdisk_clone(stopped);
            simdisk_crash_apply(after, state);
            expect(s, k, stopped, state, check(s, w, after, w->durable, earlier, state, message, sizeof message), message);
            simdisk_free(after);
        }
        simdisk_free(stopped);
    } else {
        ck_assert_msg(result == BITCASK_OK, "%s: %s", s->name, bitcask_last_error()->message);
    }
    (void)bitcask_close(w->db);
    world_free(w);
    return stopped != NULL;
}

START_TEST(test_a_crash_leaves_the_earlier_backup_or_the_new_one)
{
    const struct scenario *s = &scenarios[_i];
    uint64_t k = 1;
    while (try_cut(s, k))
        k++;
    ck_assert_uint_gt(k, 8);
}
END_TEST

/* Power goes right after the call returned OK: all of it is there. */
START_TEST(test_what_returned_ok_is_durable)
{
    const struct scenario *s = &scenarios[_i];
    unsigned earlier;
    char message[512] = "";
    struct world *w = start(s, &earlier);
    ck_assert_int_eq(backup(w, s->backup_flags), BITCASK_OK);
    unsigned states = simdisk_crash_states(w->disk), step = states / 50 + 1;
    for (unsigned state = 0; state < states; state += step) {
        struct simdisk *after = simdisk_clone(w->disk);
        simdisk_crash_apply(after, state);
        expect(s, 0, w->disk, state, check_backup(w, after, s->open_flags, false, w->count, w->count, message, sizeof message),
               message);
        simdisk_free(after);
    }
    ck_assert_int_eq(world_close(w), BITCASK_OK);
    world_free(w);
}
END_TEST

/* The at-th operation of any kind fails once. The store is none the worse, and the next call succeeds. */
static bool try_fault(const struct scenario *s, uint64_t at, int error)
{
    unsigned earlier;
    char message[512] = "";
    struct world *w = start(s, &earlier);
    uint64_t hits = simdisk_fail_hits(w->disk);
    simdisk_fail_clear(w->disk);
    simdisk_fail(w->disk, &(struct simdisk_fault){
                              .kinds = SIMDISK_OPS_ALL & ~SIMDISK_LINK & ~SIMDISK_DROP_CACHE, .at = at, .error = error});
    int result = backup(w, s->backup_flags);
    bool hit = simdisk_fail_hits(w->disk) > hits;
    simdisk_fail_clear(w->disk);
    unsigned descriptors = simdisk_open_descriptors(w->disk);
    const char *wrong = check_backup(w, w->disk, s->open_flags | BITCASK_OPEN_READ_ONLY, s->before == NULL, earlier, w->count,
                                     message, sizeof message);
    ck_assert_msg(wrong == NULL, "%s, operation %llu: %s, then %s: %s", s->name, (unsigned long long)at,
                  bitcask_errname(result), wrong, message);
    ck_assert_uint_eq(simdisk_open_descriptors(w->disk), descriptors);
    ck_assert_int_eq(world_apply(w, &(struct world_operation){WORLD_PUT_SYNC, 3}), BITCASK_OK);
    int again = backup(w, s->backup_flags);
    ck_assert_msg(again == BITCASK_OK, "%s, operation %llu: %s", s->name, (unsigned long long)at,
                  bitcask_last_error()->message);
    wrong = check_backup(w, w->disk, s->open_flags, false, w->count, w->count, message, sizeof message);
    ck_assert_msg(wrong == NULL, "%s, operation %llu: %s: %s", s->name, (unsigned long long)at, wrong, message);
    ck_assert_int_eq(world_close(w), BITCASK_OK);
    ck_assert_uint_eq(simdisk_open_descriptors(w->disk), 0);
    world_free(w);
    return hit;
}

START_TEST(test_a_failure_leaves_the_earlier_backup)
{
    static const int errors[] = {EIO, ENOSPC, EMFILE};
    for (unsigned i = 0; i < BC_ARRAY_SIZE(errors); i++)
        for (uint64_t at = 1 + i; try_fault(&scenarios[_i], at, errors[i]); at += 3) {
        }
}
END_TEST

/* A disk that is full gives back what the backup took of it. */
START_TEST(test_a_full_disk_leaves_the_earlier_backup)
{
    unsigned earlier;
    char message[512] = "";
    const struct scenario *s = &scenarios[4];
    struct world *w = start(s, &earlier);
    uint64_t used = simdisk_used(w->disk);
    for (unsigned pages = 0;; pages++) {
        simdisk_set_capacity(w->disk, used + pages * SIMDISK_PAGE);
        int result = backup(w, s->backup_flags);
        if (result == BITCASK_OK)
            break;
        ck_assert_int_eq(result, BITCASK_NO_SPACE);
        ck_assert_uint_le(simdisk_used(w->disk), used + 2 * SIMDISK_PAGE);
        const char *wrong =
            check_backup(w, w->disk, s->open_flags | BITCASK_OPEN_READ_ONLY, false, earlier, earlier, message, sizeof message);
        ck_assert_msg(wrong == NULL, "%s: %s", wrong, message);
    }
    const char *wrong =
        check_backup(w, w->disk, s->open_flags | BITCASK_OPEN_READ_ONLY, false, w->count, w->count, message, sizeof message);
    ck_assert_msg(wrong == NULL, "%s: %s", wrong, message);
    ck_assert_int_eq(world_close(w), BITCASK_OK);
    world_free(w);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("backup_crash");
    TCase *t = tcase_create("crash");
    tcase_set_timeout(t, 600);
    tcase_add_loop_test(t, test_a_crash_leaves_the_earlier_backup_or_the_new_one, 0, BC_ARRAY_SIZE(scenarios));
    tcase_add_loop_test(t, test_what_returned_ok_is_durable, 0, BC_ARRAY_SIZE(scenarios));
    tcase_add_loop_test(t, test_a_failure_leaves_the_earlier_backup, 0, BC_ARRAY_SIZE(scenarios));
    tcase_add_test(t, test_a_full_disk_leaves_the_earlier_backup);
    suite_add_tcase(s, t);
    return s;
}
