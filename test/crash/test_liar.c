/* The crash sweep must be able to fail: a small one runs over disks that lie about durability, each in one way, and has to find
 * a violation on each of them, and none on the honest disk.
 *
 * A lie is what the store would do if it left a step out: no directory sync, no sync of what it acknowledges, a MANIFEST that
 * is renamed before it is synced. Crash states are recovered from on an honest disk.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/world.h"

enum lie {
    HONEST,
    NO_DIRECTORY_SYNC,
    NO_DATA_SYNC,
    NO_MANIFEST_SYNC,
    MANIFEST_SYNC_AFTER_RENAME,
    EARLY_RENAME, /* before its bytes are written */
    NO_SYNC_OF_NEW_DATA_FILES,
    LIES
};

static const char *const lie_names[] = {"honest",
                                        "no directory sync",
                                        "no sync of data files",
                                        "no sync of MANIFEST.tmp",
                                        "MANIFEST.tmp synced after the rename",
                                        "MANIFEST in place before it is written",
                                        "no sync of new data files"};

/* A table like the disk's with some functions in between. Static, as the table's context is the disk; one thread, one process a
 * test. */
static struct {
    enum lie lie;
    const struct bc_io *honest;
    struct bc_io io;
    uint64_t told; /* lies */
    int delayed;   /* descriptor of a MANIFEST.tmp that is still to be synced and closed; -1: none */
    struct {
        bool data, manifest, fresh;
    } kinds[65536]; /* by descriptor */
} liar;

static int liar_open(void *ctx, int dir, const char *name, unsigned flags, unsigned mode, int *ret_fd)
{
    int error = liar.honest->open(ctx, dir, name, flags, mode, ret_fd);
    if (error != 0)
        return error;
    size_t length = strlen(name);
    ck_assert(*ret_fd >= 0 && (size_t)*ret_fd < BC_ARRAY_SIZE(liar.kinds));
    liar.kinds[*ret_fd].data = length > 5 && strcmp(name + length - 5, ".data") == 0;
    liar.kinds[*ret_fd].manifest = strcmp(name, "MANIFEST.tmp") == 0;
    liar.kinds[*ret_fd].fresh = (flags & BC_IO_CREATE) != 0;
    if (liar.lie == EARLY_RENAME && liar.kinds[*ret_fd].manifest && liar.kinds[*ret_fd].fresh) {
        liar.told++;
        (void)liar.honest->rename(ctx, dir, name, "MANIFEST");
    }
    return 0;
}

static int liar_sync(void *ctx, int fd)
{
    bool lies = false;
    switch (liar.lie) {
    case NO_DATA_SYNC:
        lies = liar.kinds[fd].data;
        break;
    case NO_MANIFEST_SYNC:
        lies = liar.kinds[fd].manifest;
        break;
    case MANIFEST_SYNC_AFTER_RENAME:
        lies = liar.kinds[fd].manifest;
        if (lies)
            liar.delayed = fd;
        break;
    case NO_SYNC_OF_NEW_DATA_FILES:
        lies = liar.kinds[fd].data && liar.kinds[fd].fresh;
        liar.kinds[fd].fresh = false;
        break;
    case HONEST:
    case NO_DIRECTORY_SYNC:
    case EARLY_RENAME:
    case LIES:
    default:
        break;
    }
    liar.told += lies;
    return lies ? 0 : liar.honest->sync(ctx, fd);
}

static void liar_close(void *ctx, int fd)
{
    if (fd != liar.delayed)
        liar.honest->close(ctx, fd);
}

static int liar_rename(void *ctx, int dir, const char *from, const char *to)
{
    if (liar.lie == EARLY_RENAME && strcmp(to, "MANIFEST") == 0)
        return 0;
    int error = liar.honest->rename(ctx, dir, from, to);
    if (liar.delayed >= 0) {
        int fd = liar.delayed;
        liar.delayed = -1;
        if (error == 0)
            error = liar.honest->sync(ctx, fd);
        liar.honest->close(ctx, fd);
    }
    return error;
}

static int liar_dir_sync(void *ctx, int dir)
{
    if (liar.lie != NO_DIRECTORY_SYNC)
        return liar.honest->dir_sync(ctx, dir);
    liar.told++;
    return 0;
}

static const struct bc_io *put_liar_before(struct simdisk *disk, enum lie lie)
{
    liar.lie = lie;
    liar.honest = simdisk_io(disk);
    liar.delayed = -1;
    liar.io = *liar.honest;
    liar.io.open = liar_open;
    liar.io.sync = liar_sync;
    liar.io.close = liar_close;
    liar.io.rename = liar_rename;
    liar.io.dir_sync = liar_dir_sync;
    return &liar.io;
}

/* ---- the sweep ---- */

struct sequence {
    size_t count;
    struct world_operation operations[5];
};

static const struct sequence sequences[] = {
    {1, {{WORLD_PUT_SYNC, 1}}},
    {2, {{WORLD_BATCH_SYNC, 1}, {WORLD_PUT_SYNC, 4}}},
    {4, {{WORLD_BIG, 1}, {WORLD_BIG, 2}, {WORLD_SYNC, 0}, {WORLD_PUT_SYNC, 3}}},
    {3, {{WORLD_PUT_SYNC, 1}, {WORLD_CLEAR, 0}, {WORLD_PUT_SYNC, 2}}},
    {4, {{WORLD_PUT_SYNC, 1}, {WORLD_DELETE, 1}, {WORLD_REOPEN, 0}, {WORLD_PUT_SYNC, 2}}},
};

/* Whether what the crash left is what may be left: opens, holds an allowed state, and opens again to the same. */
static bool is_good(const struct world *ran, struct simdisk *stopped, unsigned state)
{
    char message[512];
    struct world_state first, second;
    struct world *w = world_fork(ran, simdisk_clone(stopped));
    if (state == UINT32_MAX)
        simdisk_kill(w->disk);
    else
        simdisk_crash_apply(w->disk, state);
    bool good = world_open(w) == BITCASK_OK;
    if (good) {
        good = world_read(w, &first, message, sizeof message) &&
               world_allows(w, state == UINT32_MAX ? w->acked : w->durable, &first, message, sizeof message);
        good = world_close(w) == BITCASK_OK && good;
    }
    if (good && (good = world_open(w) == BITCASK_OK)) {
        good = world_read(w, &second, message, sizeof message) && memcmp(&first, &second, sizeof first) == 0;
        good = world_close(w) == BITCASK_OK && good;
    }
    world_free(w);
    return good;
}

struct outcome {
    unsigned long states, violations, killed; /* killed: of the violations, after a kill alone */
};

/* Runs a sequence until just before its k-th change. False: it has no k-th change. */
static bool try_cut(enum lie lie, uint32_t flags, const struct sequence *s, uint64_t k, struct outcome *o)
{
    struct world *w = world_new(simdisk_new(1), flags);
    struct simdisk *stopped = NULL;
    w->io = put_liar_before(w->disk, lie);
    simdisk_stop_at(w->disk, SIMDISK_OPS_CHANGE, k);
    int result = world_open(w);
    for (size_t i = 0; i < s->count && result == BITCASK_OK && stopped == NULL; i++) {
        result = world_apply(w, &s->operations[i]);
        stopped = simdisk_take_stopped(w->disk);
    }
    if (w->db != NULL)
        (void)!world_close(w);
    if (stopped == NULL)
        stopped = simdisk_take_stopped(w->disk);
    bool cut = stopped != NULL;
    unsigned states = cut ? simdisk_crash_states(stopped) : 0, stride = states / 40 + 1;
    if (cut && !is_good(w, stopped, UINT32_MAX)) {
        o->violations++;
        o->killed++;
    }
    for (unsigned i = (unsigned)(k % stride); i < states; i += stride) {
        o->states++;
        o->violations += !is_good(w, stopped, i);
    }
    simdisk_free(stopped);
    world_free(w);
    return cut;
}

/* A lie is found out when there are so many. */
#define ENOUGH 50

static struct outcome sweep(enum lie lie, uint32_t flags)
{
    struct outcome o = {0};
    liar.told = 0;
    for (size_t i = 0; i < BC_ARRAY_SIZE(sequences); i++) {
        uint64_t k = 1;
        while (o.violations < ENOUGH && try_cut(lie, flags, &sequences[i], k, &o))
            k++;
    }
    printf("# %s: %lu states, %lu violations\n", lie_names[lie], o.states, o.violations);
    return o;
}

/* Loop test: lies, in both modes. */
START_TEST(test_sweep_finds_the_lie)
{
    enum lie lie = (enum lie)(_i / 2);
    struct outcome o = sweep(lie, _i % 2 == 0 ? 0 : BITCASK_OPEN_NO_MMAP);
    if (lie == HONEST) {
        ck_assert_uint_gt(o.states, 1000);
        ck_assert_uint_eq(liar.told, 0);
        ck_assert_uint_eq(o.violations, 0);
        return;
    }
    ck_assert_uint_gt(liar.told, 0);
    ck_assert_uint_gt(o.violations, 0);
    /* Durability is what is lied about: a kill shows nothing of it, but for a MANIFEST that is in place before it is written.
     */
    if (lie != EARLY_RENAME)
        ck_assert_uint_eq(o.killed, 0);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("liar");
    TCase *t = tcase_create("the sweep can fail");
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, test_sweep_finds_the_lie, 0, 2 * LIES);
    suite_add_tcase(s, t);
    return s;
}
