/* The crash sweep: every sequence of up to two operations, on a new store and on one with a history, cut off before every I/O
 * operation; un-synced data and names lost in every classic way; then opened again.
 *
 * Checked in every state: P9 open does not fail; P1, P2, P3, P6 what is found is one of the allowed states (world.h); P10 files
 * that were there are as they were, at most shorter, and a second open finds the same; a further synced put survives; a
 * recovery that is cut off itself is no different. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/world.h"

#define STATES_A_CUT 12U /* spread over all of them, differently at each cut */

static unsigned long states_tried, cuts_tried;

struct scenario {
    uint32_t flags;
    const struct world_operation *history;
    size_t history_count;
    struct world_operation operations[2];
    size_t count;
};

static const struct world_operation no_history[] = {{WORLD_SYNC, 0}};
/* Two files, one of them sealed; live, dead and deleted records; nothing synced at the end. */
static const struct world_operation long_history[] = {
    {WORLD_PUT, 0}, {WORLD_BIG, 1}, {WORLD_PUT_SYNC, 2}, {WORLD_BATCH, 3}, {WORLD_DELETE, 0}, {WORLD_PUT, 4},
    {WORLD_BIG, 5}, {WORLD_PUT, 6}, {WORLD_TOUCH, 2},    {WORLD_PUT, 0},   {WORLD_DELETE, 6},
};

/* Several sealed files, the outputs of a merge among them, with tombstones and expired keys whose older versions stand in other
 * files. */
static const struct world_operation merged_history[] = {
    {WORLD_PUT, 0},    {WORLD_BIG, 1},    {WORLD_PUT_SYNC, 2}, {WORLD_BATCH, 3}, {WORLD_BIG, 5},    {WORLD_EXPIRE, 2},
    {WORLD_DELETE, 0}, {WORLD_MERGE, 0},  {WORLD_PUT, 6},      {WORLD_BIG, 7},   {WORLD_BIG, 4},    {WORLD_DELETE, 6},
    {WORLD_TOUCH, 3},  {WORLD_EXPIRE, 7}, {WORLD_PUT, 0},      {WORLD_BIG, 1},   {WORLD_DELETE, 3}, {WORLD_EXPIRE, 5},
};

/* Why a state is bad, with what is needed to see it again. */
static void describe(const struct scenario *s, uint64_t cut, struct simdisk *stopped, unsigned state, const char *what,
                     const char *message)
{
    char text[256] = "kill";
    if (state != UINT32_MAX)
        simdisk_crash_describe(stopped, state, text, sizeof text);
    fprintf(stderr, "flags %u, history of %zu, operations", s->flags, s->history_count);
    for (size_t i = 0; i < s->count; i++)
        fprintf(stderr, " %s(%u)", world_kind_name(s->operations[i].kind), s->operations[i].key);
    fprintf(stderr, "; cut before change %llu; %s: %s: %s\n", (unsigned long long)cut, text, what, message);
    simdisk_print_trace(stopped, stderr);
}

struct file_copy {
    char name[64];
    void *data;
    size_t size;
};

struct copies {
    struct simdisk *disk;
    struct file_copy files[64];
    size_t count;
};

static int copy_file(const char *name, void *arg)
{
    struct copies *c = arg;
    const char *dot = strrchr(name, '.');
    if (dot == NULL || strcmp(dot, ".data") != 0)
        return 0;
    struct file_copy *f = &c->files[c->count++];
    snprintf(f->name, sizeof f->name, "/store/%s", name);
    ck_assert_int_eq(simdisk_read_file(c->disk, f->name, SIMDISK_VOLATILE, &f->data, &f->size), 0);
    return 0;
}

/* P10: what recovery keeps of a file is what was there. */
static bool untouched(struct copies *before)
{
    bool good = true;
    for (size_t i = 0; i < before->count; i++) {
        struct file_copy *f = &before->files[i];
        void *data;
        size_t size;
        if (simdisk_read_file(before->disk, f->name, SIMDISK_VOLATILE, &data, &size) == 0) {
            good = good && size <= f->size && memcmp(data, f->data, size) == 0;
            free(data);
        }
        free(f->data);
    }
    return good;
}

/* Opens what a crash left and checks everything. Returns NULL or what is wrong. */
static const char *check(struct world *ran, struct simdisk *after, unsigned oldest, char *message, size_t size)
{
    struct world w = *ran;
    struct world_state first, second;
    struct copies copies = {.disk = after};
    w.disk = after;
    w.db = NULL;
    message[0] = '\0';
    (void)simdisk_list(after, "/store", SIMDISK_VOLATILE, copy_file, &copies);
    if (world_open(&w) != BITCASK_OK) {
        snprintf(message, size, "%s", bitcask_last_error()->message);
        return "open failed";
    }
    if (!untouched(&copies))
        return "recovery modified a data file";
    if (!world_read(&w, &first, message, size))
        return "read";
    if (!world_allows(&w, oldest, &first, message, size))
        return "state";
    if (world_close(&w) != BITCASK_OK || world_open(&w) != BITCASK_OK) {
        snprintf(message, size, "%s", bitcask_last_error()->message);
        return "second open failed";
    }
    if (!world_read(&w, &second, message, size))
        return "second read";
    if (memcmp(&first, &second, sizeof first) != 0)
        return "the second open found another state";
    /* Life goes on: a synced put survives another crash. */
    w.states[w.count] = second;
    w.count = 0;
    w.states[0] = second;
    w.acked = w.durable = 0;
    const struct world_operation put = {WORLD_PUT_SYNC, 1};
    if (world_apply(&w, &put) != BITCASK_OK) {
        snprintf(message, size, "%s", bitcask_last_error()->message);
        return "put after recovery";
    }
    simdisk_kill(w.disk);
    simdisk_crash_apply(w.disk, 0);
    (void)bitcask_close(w.db);
    if (world_open(&w) != BITCASK_OK || !world_read(&w, &second, message, size) ||
        !world_allows(&w, w.durable, &second, message, size))
        return "after the second crash";
    return world_close(&w) == BITCASK_OK ? NULL : "close after the second crash";
}

static struct world *start(const struct scenario *s)
{
    struct world *w = world_new(simdisk_new(1), s->flags);
    ck_assert_int_eq(world_open(w), BITCASK_OK);
    for (size_t i = 0; i < s->history_count; i++)
        ck_assert_int_eq(world_apply(w, &s->history[i]), BITCASK_OK);
    return w;
}

/* The scenario's operations, then a close; stopped before the k-th change. */
static struct simdisk *run_until(struct world *w, const struct scenario *s, uint64_t k)
{
    simdisk_stop_at(w->disk, SIMDISK_OPS_CHANGE, k);
    struct simdisk *stopped = NULL;
    int result = BITCASK_OK;
    /* A store into a mapping after the stop would succeed, and be acknowledged to nobody. */
    for (size_t i = 0; i < s->count && result == BITCASK_OK && stopped == NULL; i++) {
        result = world_apply(w, &s->operations[i]);
        stopped = simdisk_take_stopped(w->disk);
    }
    if (w->db != NULL)
        ck_assert(world_close(w) == BITCASK_OK || stopped != NULL || simdisk_misuses(w->disk, NULL, 0) == 0);
    return stopped != NULL ? stopped : simdisk_take_stopped(w->disk);
}

static bool try_state(const struct scenario *s, struct world *w, struct simdisk *stopped, uint64_t cut, unsigned state)
{
    char message[512];
    struct simdisk *after = simdisk_clone(stopped);
    struct world copy = *w;
    struct world_state *states = malloc((w->count + 2) * sizeof *states);
    memcpy(states, w->states, (w->count + 1) * sizeof *states);
    copy.states = states;
    if (state != UINT32_MAX)
        simdisk_crash_apply(after, state);
    else
        simdisk_kill(after);
    const char *what = check(&copy, after, state == UINT32_MAX ? w->acked : w->durable, message, sizeof message);
    if (what == NULL && simdisk_misuses(after, message, sizeof message) != 0)
        what = "misuse of the disk";
    if (what != NULL)
        describe(s, cut, stopped, state, what, message);
    free(states);
    simdisk_free(after);
    states_tried++;
    return what == NULL;
}

static void sweep(const struct scenario *s)
{
    for (uint64_t k = 1;; k++) {
        struct world *w = start(s);
        struct simdisk *stopped = run_until(w, s, k);
        if (stopped == NULL) {
            world_free(w);
            return;
        }
        cuts_tried++;
        unsigned states = simdisk_crash_states(stopped);
        bool good = try_state(s, w, stopped, k, UINT32_MAX);
        /* Many dirty sectors make many like states: a stride over them that every cut shifts. */
        unsigned stride = states / STATES_A_CUT + 1;
        for (unsigned i = (unsigned)(k % stride); i < states && good; i += stride)
            good = try_state(s, w, stopped, k, i);
        good = good && try_state(s, w, stopped, k, 0);
        simdisk_free(stopped);
        world_free(w);
        ck_assert_msg(good, "see above");
    }
}

static void sweep_all(uint32_t flags, const struct world_operation *history, size_t history_count, bool pairs)
{
    struct scenario s = {.flags = flags, .history = history, .history_count = history_count};
    for (unsigned first = 0; first < WORLD_KINDS; first++) {
        /* On disk it is a touch like any other. */
        if (first == WORLD_EXPIRE)
            continue;
        s.operations[0] = (struct world_operation){(enum world_kind)first, 2};
        s.count = 1;
        sweep(&s);
        for (unsigned second = 0; second < WORLD_KINDS && pairs; second++) {
            if (second == WORLD_EXPIRE)
                continue;
            s.operations[1] = (struct world_operation){(enum world_kind)second, 3};
            s.count = 2;
            sweep(&s);
        }
    }
    printf("# %lu cuts, %lu states\n", cuts_tried, states_tried);
}

static void sweep_merges(uint32_t flags)
{
    static const struct world_operation pairs[][2] = {
        {{WORLD_MERGE, 0}, {WORLD_SYNC, 0}},   {{WORLD_MERGE, 0}, {WORLD_PUT_SYNC, 5}}, {{WORLD_MERGE, 0}, {WORLD_CLEAR, 0}},
        {{WORLD_MERGE, 0}, {WORLD_REOPEN, 0}}, {{WORLD_DELETE, 4}, {WORLD_MERGE, 0}},   {{WORLD_EXPIRE, 1}, {WORLD_MERGE, 0}},
        {{WORLD_REOPEN, 0}, {WORLD_MERGE, 0}}, {{WORLD_PUT, 4}, {WORLD_MERGE, 0}},
    };
    struct scenario s = {.flags = flags, .history = merged_history, .history_count = BC_ARRAY_SIZE(merged_history), .count = 2};
    for (size_t i = 0; i < BC_ARRAY_SIZE(pairs); i++) {
        memcpy(s.operations, pairs[i], sizeof s.operations);
        sweep(&s);
    }
    printf("# %lu cuts, %lu states\n", cuts_tried, states_tried);
}

START_TEST(test_merges)
{
    sweep_merges(_i == 0 ? 0 : BITCASK_OPEN_NO_MMAP);
}
END_TEST

START_TEST(test_new_store_mapped)
{
    sweep_all(0, no_history, 0, true);
}
END_TEST

START_TEST(test_new_store_no_mmap)
{
    sweep_all(BITCASK_OPEN_NO_MMAP, no_history, 0, false);
}
END_TEST

START_TEST(test_history_mapped)
{
    sweep_all(0, long_history, BC_ARRAY_SIZE(long_history), true);
}
END_TEST

START_TEST(test_history_no_mmap)
{
    sweep_all(BITCASK_OPEN_NO_MMAP, long_history, BC_ARRAY_SIZE(long_history), true);
}
END_TEST

/* Depth 2: what a cut-off recovery leaves is recovered like anything else. */
static void sweep_recovery(uint32_t flags, unsigned crash_state)
{
    struct scenario s = {.flags = flags,
                         .history = long_history,
                         .history_count = BC_ARRAY_SIZE(long_history),
                         .operations = {{WORLD_BIG, 2}, {WORLD_BIG, 3}},
                         .count = 2};
    for (uint64_t cut = 1;; cut += 3) {
        struct world *w = start(&s);
        struct simdisk *stopped = run_until(w, &s, cut);
        if (stopped == NULL) {
            world_free(w);
            return;
        }
        unsigned states = simdisk_crash_states(stopped);
        simdisk_crash_apply(stopped, crash_state % states);
        for (uint64_t k = 1;; k++) {
            struct world again = *w;
            again.disk = simdisk_clone(stopped);
            simdisk_stop_at(again.disk, SIMDISK_OPS_CHANGE, k);
            if (world_open(&again) == BITCASK_OK && world_close(&again) != BITCASK_OK)
                again.db = NULL;
            struct simdisk *half = simdisk_take_stopped(again.disk);
            simdisk_free(again.disk);
            if (half == NULL)
                break;
            unsigned half_states = simdisk_crash_states(half);
            bool good = true;
            for (unsigned i = 0; i < half_states && good; i += half_states / 8 + 1)
                good = try_state(&s, w, half, cut * 1000 + k, i);
            simdisk_free(half);
            ck_assert_msg(good, "recovery cut off before its change %llu, see above", (unsigned long long)k);
        }
        simdisk_free(stopped);
        world_free(w);
    }
}

START_TEST(test_recovery_cut_off)
{
    sweep_recovery(0, 0);
    sweep_recovery(0, 7);
    sweep_recovery(BITCASK_OPEN_NO_MMAP, 0);
    printf("# %lu states\n", states_tried);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("crash_sweep");
    TCase *t = tcase_create("P1 P2 P3 P6 P9 P10");
    tcase_set_timeout(t, 900);
    tcase_add_test(t, test_new_store_mapped);
    tcase_add_test(t, test_new_store_no_mmap);
    tcase_add_test(t, test_history_mapped);
    tcase_add_test(t, test_history_no_mmap);
    tcase_add_test(t, test_recovery_cut_off);
    suite_add_tcase(s, t);
    t = tcase_create("merges");
    tcase_set_timeout(t, 900);
    tcase_add_loop_test(t, test_merges, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
