/* test_threads.c - one handle under many threads: what readers may see while others write in batches, clear, rotate, sync, take
 * snapshots, evict files and change options. Each test runs for a while rather than for a count; the work is for
 * ThreadSanitizer as much as for the assertions (every call is safe from any thread, P17).
 *
 * A batch may hold more shard locks than ThreadSanitizer's deadlock detector can count: run it with
 * TSAN_OPTIONS=detect_deadlocks=0. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bitcask/db.h"
#include "bitcask/io_posix.h"
#include "test/support/store.h"

#define RUN_MS 350 /* of each test, times the scale */
#define THREADS_MAX 16U
#define VALUE_MAX 6000U
#define CELLS 64U

struct shared;

struct worker {
    struct shared *shared;
    pthread_t thread;
    unsigned number; /* among those of its kind */
    uint64_t random;
    unsigned long done;
};

/* What the threads of a test have in common. */
struct shared {
    bitcask *db;
    atomic_bool stop;
    atomic_bool failed;
    char failure[300];
    /* Of numbered keys with one writer each: the number whose write has begun, and the one whose write has returned. */
    _Atomic uint64_t begun[CELLS], returned[CELLS];
    _Atomic uint64_t cleared[CELLS]; /* what had returned before a clear that has returned */
    struct worker workers[THREADS_MAX];
    unsigned worker_count;
};

static uint32_t next_random(struct worker *w)
{
    w->random = w->random * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(w->random >> 33);
}

/* Assertions of Check are for the test's own thread: the others note the first failure, and all stop. */
#define note_failure(s, ...)                                                                                                   \
    do {                                                                                                                       \
        if (!atomic_exchange(&(s)->failed, true))                                                                              \
            snprintf((s)->failure, sizeof(s)->failure, __VA_ARGS__);                                                           \
        atomic_store(&(s)->stop, true);                                                                                        \
    } while (0)

static bool good(struct shared *s, int result, const char *what)
{
    if (result != BITCASK_OK)
        note_failure(s, "%s: %s: %s", what, bitcask_errname(result), bitcask_last_error()->message);
    return result == BITCASK_OK;
}

static void start(struct shared *s, void *(*run)(void *), unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        ck_assert_uint_lt(s->worker_count, THREADS_MAX);
        struct worker *w = &s->workers[s->worker_count++];
        *w = (struct worker){.shared = s, .number = i, .random = s->worker_count * 2654435761U};
        ck_assert_int_eq(pthread_create(&w->thread, NULL, run, w), 0);
    }
}

static void sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void join(struct shared *s)
{
    atomic_store(&s->stop, true);
    for (unsigned i = 0; i < s->worker_count; i++)
        pthread_join(s->workers[i].thread, NULL);
    ck_assert_msg(!atomic_load(&s->failed), "%s", s->failure);
    for (unsigned i = 0; i < s->worker_count; i++)
        ck_assert_msg(s->workers[i].done > 0, "thread %u did nothing", i);
    s->worker_count = 0;
    atomic_store(&s->stop, false);
}

static void run_for_a_while(struct shared *s)
{
    for (long left = RUN_MS * (long)store_scale(); left > 0 && !atomic_load(&s->failed); left -= 10)
        sleep_ms(10);
    join(s);
}

/* ---- numbered values: the number, and bytes that follow from key and number ---- */

static size_t make_key(char dst[24], char kind, unsigned cell)
{
    return (size_t)snprintf(dst, 24, "%c%u", kind, cell);
}

static size_t make_value(unsigned char *dst, char kind, unsigned cell, uint64_t number)
{
    static const size_t sizes[] = {8, 30, 100, 1000, 2500, 100, 5900};
    size_t size = sizes[(cell + number) % BC_ARRAY_SIZE(sizes)];
    if (kind != 'c')
        size = number % 16 == 0 ? 2500 : 8 + number % 60;
    memcpy(dst, &number, sizeof number);
    memset(dst + sizeof number, (int)((unsigned)kind + cell * 7 + number * 13) & 0xff, size - sizeof number);
    return size;
}

static bool check_bytes(struct shared *s, char kind, unsigned cell, const void *data, size_t size, uint64_t *ret)
{
    unsigned char expected[VALUE_MAX];
    uint64_t number = 0;
    memcpy(&number, data, size < sizeof number ? size : sizeof number);
    bool same = number != 0 && make_value(expected, kind, cell, number) == size && memcmp(data, expected, size) == 0;
    if (!same)
        note_failure(s, "%c%u: %zu bytes that nobody put (number %llu)", kind, cell, size, (unsigned long long)number);
    *ret = number;
    return same;
}

/* The number that a key has; 0: absent. By one of the ways to read. */
static bool read_number(struct worker *w, char kind, unsigned cell, uint64_t *ret)
{
    struct shared *s = w->shared;
    unsigned char buf[VALUE_MAX];
    char key[24];
    size_t key_size = make_key(key, kind, cell), size = 0;
    void *value = NULL;
    bitcask_view view = {0};
    int result;
    bool same = true;
    *ret = 0;
    switch (next_random(w) % 3) {
    case 0:
        result = bitcask_read(s->db, key, key_size, buf, sizeof buf, &size);
        same = result != BITCASK_OK || check_bytes(s, kind, cell, buf, size, ret);
        break;
    case 1:
        result = bitcask_get(s->db, key, key_size, &value, &size);
        same = result != BITCASK_OK || check_bytes(s, kind, cell, value, size, ret);
        bitcask_free(value);
        break;
    default:
        result = bitcask_view_get(s->db, key, key_size, &view);
        same = result != BITCASK_OK || check_bytes(s, kind, cell, view.data, view.size, ret);
        bitcask_view_release(&view);
        break;
    }
    return same && (result == BITCASK_NOT_FOUND || good(s, result, "read"));
}

static bool put_number(struct worker *w, char kind, unsigned cell, uint64_t number, uint32_t flags)
{
    unsigned char value[VALUE_MAX];
    char key[24];
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    o.flags = flags;
    size_t key_size = make_key(key, kind, cell), size = make_value(value, kind, cell, number);
    return good(w->shared, bitcask_put(w->shared->db, key, key_size, value, size, &o, NULL), "put");
}

static struct shared *new_shared(const bitcask_options *o, const char *path)
{
    struct shared *s = calloc(1, sizeof *s);
    ck_assert_ptr_nonnull(s);
    s->db = store_open(path, o);
    return s;
}

static void free_shared(struct shared *s)
{
    store_close(s->db);
    free(s);
}

/* ---- groups: keys that are always written together by one batch, with equal numbers that grow ---- */

#define GROUPS 6U
#define MEMBERS 24U /* enough that publishing them takes longer than a read */

static char member(unsigned i)
{
    return (char)('A' + i);
}

/* Each group has one writer: numbers grow in commit order. Now and then a batch deletes them all. */
static void *write_groups(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    unsigned char value[VALUE_MAX];
    char key[24];
    for (uint64_t number = 1; !atomic_load(&s->stop); number++, w->done++) {
        unsigned group = w->number + 2 * (next_random(w) % (GROUPS / 2));
        bitcask_batch *b;
        if (!good(s, bitcask_batch_new(&b), "batch"))
            break;
        bool deletes = next_random(w) % 16 == 0;
        int result = BITCASK_OK;
        for (unsigned i = 0; i < MEMBERS && result == BITCASK_OK; i++) {
            size_t key_size = make_key(key, member(i), group), size = make_value(value, member(i), group, number);
            result = deletes ? bitcask_batch_delete(b, key, key_size) : bitcask_batch_put(b, key, key_size, value, size, 0);
        }
        if (result == BITCASK_OK)
            result = bitcask_write(s->db, b, next_random(w) % 64 == 0 ? BITCASK_PUT_SYNC : 0);
        bitcask_batch_free(b);
        if (!good(s, result, "write"))
            break;
    }
    return NULL;
}

/* One key, another one of its group, the first again. A batch is seen whole and numbers only grow: so between two sights of the
 * same number the other key has that number too, and what is seen later is never older. */
static void *read_groups(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    for (; !atomic_load(&s->stop); w->done++) {
        unsigned group = next_random(w) % GROUPS;
        char outer = member(next_random(w) % MEMBERS), inner = member(next_random(w) % MEMBERS);
        uint64_t before, between, after;
        if (!read_number(w, outer, group, &before) || !read_number(w, inner, group, &between) ||
            !read_number(w, outer, group, &after))
            break;
        if ((before != 0 && before == after && between != before) || (between != 0 && between < before) ||
            (after != 0 && after < between) || (after != 0 && after < before))
            note_failure(s, "group %u: %c was %llu, then %c %llu, then %c %llu", group, outer, (unsigned long long)before,
                         inner, (unsigned long long)between, outer, (unsigned long long)after);
    }
    return NULL;
}

/* In a snapshot all keys of a group have one number, and go on having it. */
static void *snapshot_groups(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    for (; !atomic_load(&s->stop); w->done++) {
        bitcask_snapshot *snapshot;
        uint64_t numbers[GROUPS][MEMBERS] = {0};
        if (!good(s, bitcask_snapshot_new(s->db, &snapshot), "snapshot"))
            break;
        for (unsigned i = 0; i < 2 * GROUPS * MEMBERS; i++) {
            unsigned group = i / MEMBERS % GROUPS, m = i % MEMBERS;
            char key[24];
            bitcask_view view;
            uint64_t number = 0;
            int result = bitcask_snapshot_view(snapshot, key, make_key(key, member(m), group), &view);
            if (result != BITCASK_NOT_FOUND && good(s, result, "read of a snapshot")) {
                (void)check_bytes(s, member(m), group, view.data, view.size, &number);
                bitcask_view_release(&view);
            }
            if (i >= GROUPS * MEMBERS && number != numbers[group][m])
                note_failure(s, "a snapshot changed");
            numbers[group][m] = number;
            if (number != numbers[group][0])
                note_failure(s, "a snapshot shows a part of a batch of group %u", group);
        }
        bitcask_snapshot_release(snapshot);
    }
    return NULL;
}

static void *clear_now_and_then(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    for (; !atomic_load(&s->stop); w->done++) {
        uint64_t returned[CELLS];
        for (unsigned i = 0; i < CELLS; i++)
            returned[i] = atomic_load(&s->returned[i]);
        if (!good(s, bitcask_clear(s->db, 0), "clear"))
            break;
        for (unsigned i = 0; i < CELLS; i++)
            atomic_store(&s->cleared[i], returned[i]);
        sleep_ms(1 + next_random(w) % 20);
    }
    return NULL;
}

/* P3: no reader sees a part of a batch. */
START_TEST(test_batches_are_seen_whole)
{
    bitcask_options o = store_options(_i);
    o.max_open_files = 2;
    struct shared *s = new_shared(&o, store_path());
    start(s, write_groups, 2);
    start(s, read_groups, 3);
    start(s, snapshot_groups, 1);
    run_for_a_while(s);
    free_shared(s);
}
END_TEST

/* The same when all keys go in one step, again and again. */
START_TEST(test_batches_beside_clear)
{
    bitcask_options o = store_options(_i);
    struct shared *s = new_shared(&o, store_path());
    start(s, write_groups, 2);
    start(s, read_groups, 2);
    start(s, snapshot_groups, 1);
    start(s, clear_now_and_then, 1);
    run_for_a_while(s);
    free_shared(s);
}
END_TEST

/* ---- cells: keys with one writer each, whose numbers grow ---- */

static void *write_cells(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    for (uint64_t number = 1; !atomic_load(&s->stop); number++, w->done++) {
        unsigned cell = w->number + 2 * (next_random(w) % (CELLS / 2));
        atomic_store(&s->begun[cell], number);
        if (!put_number(w, 'c', cell, number, next_random(w) % 128 == 0 ? BITCASK_PUT_SYNC : 0))
            break;
        atomic_store(&s->returned[cell], number);
    }
    return NULL;
}

/* Not older than what had returned before, not newer than what has begun after, and never behind what was seen before. */
static void *read_cells(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    uint64_t seen[CELLS] = {0};
    for (; !atomic_load(&s->stop); w->done++) {
        unsigned cell = next_random(w) % CELLS;
        uint64_t oldest = atomic_load(&s->returned[cell]), number;
        oldest = BC_MAX(oldest, seen[cell]);
        if (!read_number(w, 'c', cell, &number))
            break;
        uint64_t newest = atomic_load(&s->begun[cell]);
        if (number < oldest || number > newest)
            note_failure(s, "c%u: %llu, should be from %llu to %llu", cell, (unsigned long long)number,
                         (unsigned long long)oldest, (unsigned long long)newest);
        seen[cell] = number;
    }
    return NULL;
}

/* A touch keeps the value: it must not bring back the one it has read. */
static void *touch_cells(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    for (; !atomic_load(&s->stop); w->done++) {
        char key[24];
        size_t key_size = make_key(key, 'c', next_random(w) % CELLS);
        int64_t expiry = next_random(w) % 2 == 0 ? 0 : bitcask_now_ms(s->db) + 1000000;
        int result = bitcask_touch(s->db, key, key_size, expiry, 0);
        if (result != BITCASK_NOT_FOUND && !good(s, result, "touch"))
            break;
    }
    return NULL;
}

/* Views keep their bytes while the files they lie in are sealed, evicted and written past. */
static void *hold_views(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    for (; !atomic_load(&s->stop); w->done++) {
        bitcask_view views[32];
        bitcask_slice keys[32];
        char names[32][24];
        int results[32];
        uint64_t number;
        for (unsigned i = 0; i < 32; i++)
            keys[i] = (bitcask_slice){names[i], make_key(names[i], 'c', (w->number * 32 + i) % CELLS)};
        if (!good(s, bitcask_get_many(s->db, keys, 32, views, results), "get_many"))
            break;
        sleep_ms(next_random(w) % 4);
        for (unsigned i = 0; i < 32; i++) {
            if (results[i] == BITCASK_OK)
                (void)check_bytes(s, 'c', (w->number * 32 + i) % CELLS, views[i].data, views[i].size, &number);
            else if (results[i] != BITCASK_NOT_FOUND)
                note_failure(s, "get_many: %s", bitcask_errname(results[i]));
            bitcask_view_release(&views[i]);
        }
    }
    return NULL;
}

/* Everything else that may be called at any time. */
static int look_at_file(const bitcask_file_info *info, void *ctx)
{
    *(uint64_t *)ctx += info->size;
    return 0;
}

static void *meddle(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    static const char *const budgets[] = {"2", "3", "64"}, *const modes[] = {"none", "interval", "none", "always"};
    for (; !atomic_load(&s->stop); w->done++) {
        bitcask_stats stats = BITCASK_STATS_INIT;
        uint64_t size = 0;
        bool ok = good(s, bitcask_stats_get(s->db, &stats), "stats") &&
                  good(s, bitcask_each_file(s->db, look_at_file, &size), "each_file") &&
                  good(s, bitcask_set(s->db, "max_open_files", budgets[next_random(w) % 3]), "max_open_files") &&
                  good(s, bitcask_set(s->db, "sync_interval_ms", "5"), "sync_interval_ms") &&
                  good(s, bitcask_set(s->db, "sync_mode", modes[next_random(w) % 4]), "sync_mode") &&
                  good(s, bitcask_sync(s->db), "sync");
        if (!ok)
            break;
        sleep_ms(2);
        (void)good(s, bitcask_set(s->db, "sync_mode", "none"), "sync_mode");
        sleep_ms(5);
    }
    return NULL;
}

static void check_cells_after_reopen(struct shared *s, const char *path, const bitcask_options *o)
{
    store_close(s->db);
    s->db = store_open(path, o);
    struct worker w = {.shared = s};
    for (unsigned cell = 0; cell < CELLS; cell++) {
        uint64_t number;
        ck_assert(read_number(&w, 'c', cell, &number));
        ck_assert_msg(number == atomic_load(&s->returned[cell]), "c%u is %llu after a reopen", cell,
                      (unsigned long long)number);
    }
}

/* P5, P16 under rotation, sealing and an evicting cache of two files: never an older version. */
START_TEST(test_readers_beside_rotation)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    o.max_open_files = 2;
    struct shared *s = new_shared(&o, path);
    start(s, write_cells, 2);
    start(s, read_cells, 3);
    start(s, touch_cells, 1);
    start(s, hold_views, 2);
    run_for_a_while(s);
    ck_assert_uint_gt(store_count(path, ".data"), 3);
    check_cells_after_reopen(s, path, &o);
    free_shared(s);
}
END_TEST

START_TEST(test_readers_beside_settings)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    struct shared *s = new_shared(&o, path);
    start(s, write_cells, 2);
    start(s, read_cells, 2);
    start(s, hold_views, 1);
    start(s, meddle, 2);
    run_for_a_while(s);
    check_cells_after_reopen(s, path, &o);
    free_shared(s);
}
END_TEST

/* P6: what had returned before a clear began is not seen once the clear has returned. */
static void *read_cleared(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    for (; !atomic_load(&s->stop); w->done++) {
        unsigned cell = next_random(w) % CELLS;
        uint64_t cleared = atomic_load(&s->cleared[cell]), number;
        if (!read_number(w, 'c', cell, &number))
            break;
        if (number != 0 && number <= cleared)
            note_failure(s, "c%u: %llu is back, a clear took all up to %llu", cell, (unsigned long long)number,
                         (unsigned long long)cleared);
    }
    return NULL;
}

START_TEST(test_nothing_returns_after_a_clear)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    o.max_open_files = 3;
    struct shared *s = new_shared(&o, path);
    start(s, write_cells, 2);
    start(s, read_cleared, 2);
    start(s, hold_views, 2);
    start(s, clear_now_and_then, 1);
    run_for_a_while(s);
    struct worker w = {.shared = s};
    uint64_t before[CELLS], after;
    for (unsigned cell = 0; cell < CELLS; cell++) {
        ck_assert(read_number(&w, 'c', cell, &before[cell]));
        ck_assert(before[cell] == 0 || before[cell] == atomic_load(&s->returned[cell]));
        ck_assert(before[cell] == 0 || before[cell] > atomic_load(&s->cleared[cell]));
    }
    store_close(s->db);
    s->db = store_open(path, &o);
    for (unsigned cell = 0; cell < CELLS; cell++) {
        ck_assert(read_number(&w, 'c', cell, &after));
        ck_assert_uint_eq(after, before[cell]);
    }
    free_shared(s);
}
END_TEST

/* ---- a KeyDir that grows ---- */

static void *insert_new(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    for (unsigned n = 0; !atomic_load(&s->stop) && n < 1000000; n++, w->done++) {
        if (!good(s, store_put_number(s->db, n * 2 + w->number, 1, 20), "put"))
            break;
        atomic_store(&s->returned[w->number], n + 1);
    }
    return NULL;
}

static void *read_inserted(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    for (; !atomic_load(&s->stop); w->done++) {
        unsigned writer = next_random(w) % 2;
        uint64_t count = atomic_load(&s->returned[writer]);
        if (count == 0)
            continue;
        unsigned number = (unsigned)(next_random(w) % count) * 2 + writer;
        int result = store_check_number(s->db, number, 1, 20);
        if (result != 0)
            note_failure(s, "number %u of %llu: %d", number, (unsigned long long)count, result);
    }
    return NULL;
}

/* Puts and deletes keys of its own: arena and slots are reused under the readers. */
static void *come_and_go(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    for (unsigned round = 0; !atomic_load(&s->stop); round++, w->done++) {
        char key[200];
        memset(key, 'x', sizeof key);
        size_t size = 20 + next_random(w) % 170;
        int length = snprintf(key, sizeof key, "gone%u", next_random(w) % 500);
        key[length] = 'x';
        int result =
            round % 2 == 0 ? bitcask_put(s->db, key, size, "v", 1, NULL, NULL) : bitcask_delete(s->db, key, size, NULL, NULL);
        if (result != BITCASK_NOT_FOUND && !good(s, result, "put or delete"))
            break;
    }
    return NULL;
}

static void *walk(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    for (; !atomic_load(&s->stop); w->done++) {
        uint64_t oldest = atomic_load(&s->returned[0]) + atomic_load(&s->returned[1]), met = 0;
        bitcask_iter_options o = BITCASK_ITER_OPTIONS_INIT;
        bitcask_iter *iter;
        o.flags = BITCASK_ITER_KEYS_ONLY;
        o.prefix = (bitcask_slice){"key", 3};
        if (!good(s, bitcask_iter_new(s->db, &o, &iter), "iterator"))
            break;
        while (bitcask_iter_next(iter) == BITCASK_OK)
            met++;
        bitcask_iter_free(iter);
        if (met < oldest)
            note_failure(s, "a walk met %llu keys of %llu", (unsigned long long)met, (unsigned long long)oldest);
    }
    return NULL;
}

/* Tables grow, shard by shard, under readers who miss nothing that has been put. */
START_TEST(test_readers_beside_growth)
{
    bitcask_options o = store_options(_i);
    o.max_file_size = 4 << 20;
    struct shared *s = new_shared(&o, store_path());
    start(s, insert_new, 2);
    start(s, read_inserted, 2);
    start(s, come_and_go, 1);
    start(s, walk, 1);
    run_for_a_while(s);
    free_shared(s);
}
END_TEST

/* ---- group commit ---- */

/* Syncs of data files, counted: the ticket of the newest one that is done, by when it was begun. */
static struct {
    atomic_bool is_data[4096]; /* by descriptor */
    _Atomic uint64_t begun, done;
} syncs;

static int counting_open(void *ctx, int dir, const char *name, unsigned flags, unsigned mode, int *ret_fd)
{
    int error = bc_io_posix.open(ctx, dir, name, flags, mode, ret_fd);
    if (error == 0 && *ret_fd < 4096)
        atomic_store(&syncs.is_data[*ret_fd], strstr(name, ".data") != NULL);
    return error;
}

static int counting_sync(void *ctx, int fd)
{
    bool counts = fd < 4096 && atomic_load(&syncs.is_data[fd]);
    uint64_t ticket = counts ? atomic_fetch_add(&syncs.begun, 1) + 1 : 0;
    int error = bc_io_posix.sync(ctx, fd);
    uint64_t done = atomic_load(&syncs.done);
    while (ticket > done && !atomic_compare_exchange_weak(&syncs.done, &done, ticket))
        ;
    return error;
}

static void *put_synced(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    for (uint64_t number = 1; !atomic_load(&s->stop); number++, w->done++) {
        uint64_t before = atomic_load(&syncs.begun);
        unsigned what = next_random(w) % 8;
        bool ok = put_number(w, 'c', w->number, number, what == 0 ? 0 : BITCASK_PUT_SYNC);
        if (ok && what == 0)
            ok = good(s, bitcask_sync(s->db), "sync");
        if (!ok)
            break;
        atomic_store(&s->returned[w->number], number);
        /* Only a sync that began after the append can have made it durable. */
        if (atomic_load(&syncs.done) <= before)
            note_failure(s, "acknowledged with no sync since it was written");
    }
    return NULL;
}

/* P1: eight threads share their syncs, and none is told before a sync that covers it. */
START_TEST(test_group_commit)
{
    const char *path = store_path();
    struct bc_io io = bc_io_posix;
    io.open = counting_open;
    io.sync = counting_sync;
    const struct bc_environment environment = {.io = &io, .inlined = false};
    bitcask_options o = store_options(_i);
    o.max_file_size = 1 << 20;
    struct shared *s = calloc(1, sizeof *s);
    ck_assert_int_eq(bc_db_open(path, &o, &environment, &s->db), BITCASK_OK);
    uint64_t before = atomic_load(&syncs.begun);
    start(s, put_synced, 8);
    unsigned long puts = 0;
    for (long left = RUN_MS * (long)store_scale(); left > 0 && !atomic_load(&s->failed); left -= 10)
        sleep_ms(10);
    atomic_store(&s->stop, true);
    join(s);
    for (unsigned i = 0; i < 8; i++)
        puts += s->workers[i].done;
    uint64_t used = atomic_load(&syncs.begun) - before;
    printf("# %lu synced puts by 8 threads, %llu syncs\n", puts, (unsigned long long)used);
    ck_assert_uint_lt(used, puts);
    store_close(s->db);
    s->db = store_open(path, &o);
    struct worker w = {.shared = s};
    for (unsigned i = 0; i < 8; i++) {
        uint64_t number;
        ck_assert(read_number(&w, 'c', i, &number));
        ck_assert_uint_eq(number, atomic_load(&s->returned[i]));
    }
    free_shared(s);
}
END_TEST

/* ---- open and close ---- */

/* P18: close right behind the last write waits for its own background work, and the next open finds all of it. */
START_TEST(test_close_behind_writers)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    struct shared *s = new_shared(&o, path);
    for (unsigned round = 0; round < 12; round++) {
        memset(s->begun, 0, sizeof s->begun);
        memset(s->returned, 0, sizeof s->returned);
        start(s, write_cells, 2);
        sleep_ms(2 + round * 2 % 15);
        atomic_store(&s->stop, true);
        for (unsigned i = 0; i < s->worker_count; i++)
            pthread_join(s->workers[i].thread, NULL);
        s->worker_count = 0;
        atomic_store(&s->stop, false);
        ck_assert_msg(!atomic_load(&s->failed), "%s", s->failure);
        store_close(s->db);
        s->db = store_open(path, &o);
        struct worker w = {.shared = s};
        for (unsigned cell = 0; cell < CELLS; cell++) {
            uint64_t number, returned = atomic_load(&s->returned[cell]);
            ck_assert(read_number(&w, 'c', cell, &number));
            ck_assert(returned == 0 || number == returned);
        }
    }
    free_shared(s);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("threads");
    TCase *t = store_tcase("P1 P3 P5 P6 P16 P17 P18");
    tcase_set_timeout(t, 600);
    store_add_test(t, test_batches_are_seen_whole);
    store_add_test(t, test_batches_beside_clear);
    store_add_test(t, test_readers_beside_rotation);
    store_add_test(t, test_readers_beside_settings);
    store_add_test(t, test_nothing_returns_after_a_clear);
    store_add_test(t, test_readers_beside_growth);
    store_add_test(t, test_group_commit);
    store_add_test(t, test_close_behind_writers);
    suite_add_tcase(s, t);
    return s;
}
