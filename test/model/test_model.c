/* Random operations against a reference: puts of all sizes and conditions, deletes, touches, batches, syncs, clears, expiry
 * under a clock that moves, snapshots, clean reopens, kills and power failures, hint files lost or damaged in between, small
 * files that rotate often, both ways of reading and writing, every sync mode.
 *
 * The reference keeps the whole state after every commit since the last one that was acknowledged durable. After a clean close
 * or a kill the store must hold the newest state (P1), after a power failure one of those kept, whole (P2, P3): values (P4),
 * absences (P5, P6), expiries and sequences (P16), by get, info, fold and a read-only handle beside the writer.
 *
 * BITCASK_TEST_SEED runs one seed; without it some fixed ones run and one that is new each time. A failure prints its seed and
 * the last operations. BITCASK_TEST_SCALE multiplies the operations.
 */
#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bitcask/db.h"
#include "test/support/simdisk.h"

#define KEYS 40U
#define KEY_SIZE_MAX 5000U
#define VALUE_MAX 100000U
#define OPERATIONS 5000U
#define FIXED_SEEDS 9
#define NOTES 60U

struct entry {
    uint64_t hash; /* of the value */
    uint64_t size;
    uint64_t sequence; /* 0: not known */
    int64_t expire_at_ms;
    bool there;
};

struct state {
    struct entry entries[KEYS];
};

struct model {
    uint64_t seed, rng;
    struct simdisk *disk;
    bitcask *db;
    bool threads; /* the store has its background threads */
    uint32_t flags, sync_mode;
    int64_t wall_ms, monotonic_ms;
    int64_t past_ms;      /* the clock goes back no further: what a power failure or a merge left expired may be there or not */
    struct state *states; /* states[count] is the newest; states[0] was acknowledged durable */
    size_t count, capacity;
    uint64_t highest; /* sequence handed out */
    bitcask_snapshot *snapshot;
    struct state snapshot_state;
    int64_t snapshot_ms;
    char notes[NOTES][160];
    unsigned noted;
    unsigned long operations, kills, power_failures, reopens, lost, compared;
};

static char key_bytes[KEYS][KEY_SIZE_MAX];
static size_t key_sizes[KEYS];

/* ---- reports ---- */

static void note(struct model *m, const char *format, ...) bc_printf(2, 3);

static void note(struct model *m, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(m->notes[m->noted++ % NOTES], sizeof m->notes[0], format, args);
    va_end(args);
}

static void give_up(struct model *m, const char *what)
{
    fprintf(stderr, "BITCASK_TEST_SEED=%" PRIu64 ": %s; last error: %s\nthe last of %lu operations:\n", m->seed, what,
            bitcask_last_error()->message, m->operations);
    for (unsigned i = m->noted > NOTES ? m->noted - NOTES : 0; i < m->noted; i++)
        fprintf(stderr, "%6u %s\n", i, m->notes[i % NOTES]);
    simdisk_print_trace(m->disk, stderr);
    ck_abort_msg("BITCASK_TEST_SEED=%" PRIu64 ": %s, see above", m->seed, what);
}

static void must(struct model *m, bool holds, const char *what)
{
    if (!holds)
        give_up(m, what);
}

static void must_be(struct model *m, int result, int expected)
{
    if (result == expected)
        return;
    char text[100];
    snprintf(text, sizeof text, "%s instead of %s", bitcask_errname(result), bitcask_errname(expected));
    give_up(m, text);
}

/* ---- chance ---- */

static uint64_t draw(struct model *m)
{
    uint64_t z = (m->rng += 0x9E3779B97F4A7C15U);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return z ^ z >> 31;
}

static unsigned below(struct model *m, unsigned n)
{
    return (unsigned)(draw(m) % n);
}

static bool chance(struct model *m, unsigned percent)
{
    return below(m, 100) < percent;
}

/* Some keys are drawn far more often than others. */
static unsigned draw_key(struct model *m)
{
    return chance(m, 50) ? below(m, 8) : below(m, KEYS);
}

static size_t draw_size(struct model *m)
{
    unsigned kind = below(m, 100);
    if (kind < 40)
        return below(m, 21);
    if (kind < 75)
        return 21 + below(m, 600);
    if (kind < 93)
        return 600 + below(m, 4000);
    return kind < 99 ? 10000 + below(m, 30000) : 66000 + below(m, 30000); /* the last: larger than a small file */
}

static int64_t draw_expiry(struct model *m, int64_t now)
{
    unsigned kind = below(m, 10);
    if (kind < 6)
        return 0;
    if (kind < 9)
        return now + 1 + below(m, 8000);
    return kind % 2 == 0 ? now - 1000 : now + 100000000;
}

/* ---- values and keys ---- */

static uint64_t hash_of(const void *data, size_t size)
{
    const unsigned char *p = data;
    uint64_t h = 0xCBF29CE484222325U ^ size;
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 0x100000001B3U;
    return h;
}

static void *make_value(struct model *m, size_t size)
{
    static unsigned char value[VALUE_MAX + 8];
    uint64_t x = draw(m) | 1;
    for (size_t i = 0; i < size; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(value + i, &x, 8);
    }
    return value;
}

static void make_keys(void)
{
    static const size_t sizes[] = {2, 3, 7, 8, 16, 31, 40, 254, 255, 256, 300, 2100};
    for (unsigned i = 0; i < KEYS; i++) {
        key_sizes[i] = i + 1 == KEYS ? KEY_SIZE_MAX : sizes[i % BC_ARRAY_SIZE(sizes)];
        memset(key_bytes[i], 'k', key_sizes[i]);
        key_bytes[i][0] = (char)i; /* any bytes, also zero */
        key_bytes[i][1] = (char)(i * 97);
    }
}

/* ---- the reference ---- */

static const struct state *newest(const struct model *m)
{
    return &m->states[m->count];
}

static bool is_visible(const struct entry *e, int64_t now)
{
    return e->there && (e->expire_at_ms == 0 || e->expire_at_ms > now);
}

/* A copy of the newest state for a commit to change. */
static struct state *next_state(struct model *m)
{
    if (m->count + 2 > m->capacity) {
        m->capacity = m->capacity * 2 + 16;
        m->states = realloc(m->states, m->capacity * sizeof *m->states);
        ck_assert_ptr_nonnull(m->states);
    }
    m->states[m->count + 1] = m->states[m->count];
    return &m->states[++m->count];
}

static void now_durable(struct model *m)
{
    m->states[0] = m->states[m->count];
    m->count = 0;
}

/* A write returned OK: with which durability. */
static void committed(struct model *m, bool synced)
{
    if (synced || m->sync_mode == BITCASK_SYNC_ALWAYS)
        now_durable(m);
}

/* ---- comparison ---- */

/* Whether a key of an open handle is as the entry says. */
static bool same_key(bitcask *db, unsigned k, const struct entry *e, int64_t now)
{
    static unsigned char buffer[VALUE_MAX];
    size_t size;
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    int result = bitcask_read(db, key_bytes[k], key_sizes[k], buffer, sizeof buffer, &size);
    int info_result = bitcask_info(db, key_bytes[k], key_sizes[k], &info);
    if (!is_visible(e, now))
        return result == BITCASK_NOT_FOUND && info_result == BITCASK_NOT_FOUND;
    return result == BITCASK_OK && info_result == BITCASK_OK && size == e->size && hash_of(buffer, size) == e->hash &&
           info.value_size == size && info.expire_at_ms == e->expire_at_ms &&
           (e->sequence == 0 || info.sequence == e->sequence);
}

static bool same_state(bitcask *db, const struct state *s, int64_t now)
{
    for (unsigned k = 0; k < KEYS; k++)
        if (!same_key(db, k, &s->entries[k], now))
            return false;
    return true;
}

struct folding {
    const struct state *state;
    int64_t now;
    unsigned found, wrong;
};

static int fold_one(bitcask_slice key, bitcask_slice value, const bitcask_key_info *info, void *ctx)
{
    struct folding *f = ctx;
    unsigned k = *(const unsigned char *)key.data;
    bool good = k < KEYS && key.size == key_sizes[k] && memcmp(key.data, key_bytes[k], key.size) == 0;
    if (good) {
        const struct entry *e = &f->state->entries[k];
        good = is_visible(e, f->now) && value.size == e->size && hash_of(value.data, value.size) == e->hash &&
               info->expire_at_ms == e->expire_at_ms;
    }
    f->found++;
    f->wrong += !good;
    return 0;
}

static void check_fold(struct model *m, bitcask *db, const struct state *s)
{
    struct folding f = {.state = s, .now = bitcask_now_ms(db)};
    unsigned expected = 0;
    for (unsigned k = 0; k < KEYS; k++)
        expected += is_visible(&s->entries[k], f.now);
    must_be(m, bitcask_fold(db, NULL, fold_one, &f), BITCASK_OK);
    must(m, f.wrong == 0, "a fold gave something else");
    must(m, f.found == expected, "a fold gave more or fewer keys");
}

static void check_all(struct model *m, bitcask *db, const char *when)
{
    int64_t now = bitcask_now_ms(db);
    m->compared++;
    for (unsigned k = 0; k < KEYS; k++) {
        if (same_key(db, k, &newest(m)->entries[k], now))
            continue;
        char text[120];
        snprintf(text, sizeof text, "key %u is not as it should be, %s", k, when);
        give_up(m, text);
    }
    check_fold(m, db, newest(m));
}

/* ---- open and close ---- */

static int remove_some_hints(const char *name, void *arg)
{
    struct model *m = arg;
    char path[64];
    const char *dot = strrchr(name, '.');
    if (dot == NULL || strcmp(dot, ".hint") != 0 || chance(m, 50))
        return 0;
    snprintf(path, sizeof path, "/store/%s", name);
    uint64_t size;
    if (chance(m, 30) && simdisk_size(m->disk, path, SIMDISK_VOLATILE, &size) == 0 && size > 0) {
        note(m, "flip a bit of %s", name);
        (void)simdisk_flip(m->disk, path, SIMDISK_BOTH, draw(m) % size, 1U << below(m, 8));
        return 0;
    }
    note(m, "remove %s", name);
    (void)simdisk_remove(m->disk, path);
    return 0;
}

static int open_with(struct model *m, uint32_t flags, bitcask **ret)
{
    static const uint64_t file_sizes[] = {65536, 65536, 131072, 1048576};
    static const uint32_t budgets[] = {1, 2, 16};
    const struct bc_environment environment = {simdisk_io(m->disk), !m->threads};
    bitcask_options options = BITCASK_OPTIONS_INIT;
    options.flags = flags;
    options.sync_mode = m->sync_mode;
    options.sync_interval_ms = 500;
    options.sync_bytes = 20000;
    options.max_file_size = file_sizes[below(m, BC_ARRAY_SIZE(file_sizes))];
    options.max_open_files = budgets[below(m, BC_ARRAY_SIZE(budgets))];
    options.keydir_shards = 64;
    return bc_db_open("/store", &options, &environment, ret);
}

static void open_store(struct model *m)
{
    static const uint32_t modes[] = {BITCASK_SYNC_NONE, BITCASK_SYNC_NONE, BITCASK_SYNC_NONE, BITCASK_SYNC_INTERVAL,
                                     BITCASK_SYNC_ALWAYS};
    m->flags = chance(m, 50) ? BITCASK_OPEN_NO_MMAP : 0;
    m->sync_mode = modes[below(m, BC_ARRAY_SIZE(modes))];
    if (chance(m, 40))
        (void)simdisk_list(m->disk, "/store", SIMDISK_VOLATILE, remove_some_hints, m);
    if (chance(m, 10)) {
        /* Order never depends on the clock; expiry does. What a background merge or a sweep found expired is gone. */
        if (m->threads)
            m->past_ms = BC_MAX(m->past_ms, m->wall_ms);
        m->wall_ms = BC_MAX(m->wall_ms - below(m, 20000), m->past_ms);
        simdisk_set_wall_ms(m->disk, m->wall_ms);
    }
    note(m, "open, flags %u, sync mode %u, clock %" PRId64, m->flags, m->sync_mode, m->wall_ms);
    must_be(m, open_with(m, m->flags, &m->db), BITCASK_OK);
}

static void release_snapshot(struct model *m)
{
    bitcask_snapshot_release(m->snapshot);
    m->snapshot = NULL;
}

static void check_disk(struct model *m)
{
    char text[256];
    if (simdisk_misuses(m->disk, text, sizeof text) != 0)
        give_up(m, text);
    must(m, simdisk_open_descriptors(m->disk) == 0, "descriptors leak");
    must(m, simdisk_open_mappings(m->disk) == 0, "mappings leak");
}

static void reopen(struct model *m)
{
    m->reopens++;
    note(m, "close");
    release_snapshot(m);
    must_be(m, bitcask_close(m->db), BITCASK_OK);
    check_disk(m);
    now_durable(m);
    open_store(m);
    check_all(m, m->db, "after a reopen");
}

static void kill_process(struct model *m)
{
    m->kills++;
    note(m, "kill");
    simdisk_kill(m->disk);
    release_snapshot(m);
    (void)!bitcask_close(m->db);
    open_store(m);
    check_all(m, m->db, "after a kill");
    now_durable(m);
}

/* What of the states in doubt the store does not have. */
static void note_differences(struct model *m)
{
    int64_t now = bitcask_now_ms(m->db);
    for (size_t i = m->count > 8 ? m->count - 8 : 0; i <= m->count; i++) {
        for (unsigned k = 0; k < KEYS; k++) {
            const struct entry *e = &m->states[i].entries[k];
            bitcask_key_info info = BITCASK_KEY_INFO_INIT;
            if (same_key(m->db, k, e, now))
                continue;
            int result = bitcask_info(m->db, key_bytes[k], key_sizes[k], &info);
            note(m, "state %zu: key %u is %s, expiry %" PRId64 ", sequence %" PRIu64 "; should be %s, %" PRId64 ", %" PRIu64, i,
                 k, bitcask_errname(result), info.expire_at_ms, info.sequence, e->there ? "there" : "absent", e->expire_at_ms,
                 e->sequence);
        }
    }
}

static void fail_power(struct model *m)
{
    m->power_failures++;
    note(m, "power failure with %zu states in doubt", m->count);
    simdisk_set_names(m->disk, chance(m, 50) ? SIMDISK_NAMES_POSIX : SIMDISK_NAMES_ORDERED);
    simdisk_crash_random(m->disk, &m->rng);
    release_snapshot(m);
    (void)!bitcask_close(m->db);
    open_store(m);
    int64_t now = bitcask_now_ms(m->db);
    size_t i = m->count + 1;
    while (i > 0 && !same_state(m->db, &m->states[i - 1], now))
        i--;
    if (i == 0)
        note_differences(m);
    must(m, i > 0, "a power failure left a state that never was, or an older one than was durable");
    m->past_ms = now;
    m->lost += m->count - (i - 1);
    m->count = i - 1;
    check_all(m, m->db, "after a power failure");
    now_durable(m);
}

/* ---- writes ---- */

static void put(struct model *m)
{
    unsigned k = draw_key(m), kind = below(m, 20);
    const struct entry *e = &newest(m)->entries[k];
    int64_t now = bitcask_now_ms(m->db);
    bool visible = is_visible(e, now);
    size_t size = draw_size(m);
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    o.expire_at_ms = draw_expiry(m, now);
    o.flags = chance(m, 8) ? BITCASK_PUT_SYNC : 0;
    bool goes = true;
    if (kind == 0) {
        o.flags |= BITCASK_PUT_IF_ABSENT;
        goes = !visible;
    } else if (kind == 1) {
        o.flags |= BITCASK_PUT_IF_PRESENT;
        goes = visible;
    } else if (kind == 2) {
        bitcask_key_info info = BITCASK_KEY_INFO_INIT;
        must_be(m, bitcask_info(m->db, key_bytes[k], key_sizes[k], &info), visible ? BITCASK_OK : BITCASK_NOT_FOUND);
        bool right = chance(m, 70);
        o.flags |= BITCASK_PUT_IF_SEQUENCE;
        o.sequence = info.sequence + (right ? 0 : 1);
        goes = visible && right;
    } else if (kind == 3) {
        o.flags |= BITCASK_PUT_KEEP_TTL;
        o.expire_at_ms = 0;
    }
    int64_t expiry = kind == 3 && visible ? e->expire_at_ms : o.expire_at_ms;
    void *value = make_value(m, size);
    uint64_t sequence = 0;
    note(m, "put key %u, %zu bytes, flags %u, expiry %" PRId64 ": %s", k, size, o.flags, expiry, goes ? "goes" : "does not go");
    int result = bitcask_put(m->db, key_bytes[k], key_sizes[k], value, size, &o, &sequence);
    must_be(m, result, goes ? BITCASK_OK : BITCASK_CONDITION);
    if (!goes) {
        must(m, sequence == 0, "an out-parameter was touched");
        return;
    }
    must(m, sequence > m->highest, "a sequence is not above all earlier ones");
    m->highest = sequence;
    next_state(m)->entries[k] = (struct entry){hash_of(value, size), size, sequence, expiry, true};
    committed(m, (o.flags & BITCASK_PUT_SYNC) != 0);
}

static void delete_key(struct model *m)
{
    unsigned k = draw_key(m);
    bool visible = is_visible(&newest(m)->entries[k], bitcask_now_ms(m->db)), right = true;
    bitcask_put_options o = BITCASK_PUT_OPTIONS_INIT;
    o.flags = chance(m, 8) ? BITCASK_PUT_SYNC : 0;
    if (chance(m, 15)) {
        bitcask_key_info info = BITCASK_KEY_INFO_INIT;
        must_be(m, bitcask_info(m->db, key_bytes[k], key_sizes[k], &info), visible ? BITCASK_OK : BITCASK_NOT_FOUND);
        right = chance(m, 60);
        o.flags |= BITCASK_PUT_IF_SEQUENCE;
        o.sequence = info.sequence + (right ? 0 : 1);
    }
    uint64_t sequence = 0;
    note(m, "delete key %u, flags %u, it is %s", k, o.flags, visible ? "there" : "absent");
    int result = bitcask_delete(m->db, key_bytes[k], key_sizes[k], &o, &sequence);
    must_be(m, result, !visible ? BITCASK_NOT_FOUND : right ? BITCASK_OK : BITCASK_CONDITION);
    if (result != BITCASK_OK)
        return;
    must(m, sequence > m->highest, "a sequence is not above all earlier ones");
    m->highest = sequence;
    next_state(m)->entries[k] = (struct entry){.there = false};
    committed(m, (o.flags & BITCASK_PUT_SYNC) != 0);
}

/* What a touch or a batch gave a key that is visible; else it stays unknown. */
static void learn_sequence(struct model *m, struct entry *e, unsigned k)
{
    bitcask_key_info info = BITCASK_KEY_INFO_INIT;
    e->sequence = 0;
    if (!is_visible(e, bitcask_now_ms(m->db)))
        return;
    must_be(m, bitcask_info(m->db, key_bytes[k], key_sizes[k], &info), BITCASK_OK);
    e->sequence = info.sequence;
}

static void touch(struct model *m)
{
    unsigned k = draw_key(m);
    int64_t now = bitcask_now_ms(m->db), expiry = draw_expiry(m, now);
    bool visible = is_visible(&newest(m)->entries[k], now), synced = chance(m, 8);
    note(m, "touch key %u, expiry %" PRId64 "%s, it is %s", k, expiry, synced ? " synced" : "", visible ? "there" : "absent");
    int result = bitcask_touch(m->db, key_bytes[k], key_sizes[k], expiry, synced ? BITCASK_PUT_SYNC : 0);
    must_be(m, result, visible ? BITCASK_OK : BITCASK_NOT_FOUND);
    if (!visible)
        return;
    struct entry *e = &next_state(m)->entries[k];
    e->expire_at_ms = expiry;
    learn_sequence(m, e, k);
    must(m, e->sequence == 0 || e->sequence > m->highest, "a sequence is not above all earlier ones");
    m->highest = BC_MAX(m->highest, e->sequence);
    committed(m, synced);
}

static void write_batch(struct model *m)
{
    bitcask_batch *b;
    bool changed[KEYS] = {false}, synced = chance(m, 10);
    unsigned count = 1 + below(m, 14);
    int64_t now = bitcask_now_ms(m->db);
    struct state after = *newest(m);
    must_be(m, bitcask_batch_new(&b), BITCASK_OK);
    for (unsigned i = 0; i < count; i++) {
        unsigned k = draw_key(m);
        if (chance(m, 70)) {
            size_t size = draw_size(m) % 20000;
            void *value = make_value(m, size);
            int64_t expiry = draw_expiry(m, now);
            must_be(m, bitcask_batch_put(b, key_bytes[k], key_sizes[k], value, size, expiry), BITCASK_OK);
            after.entries[k] = (struct entry){hash_of(value, size), size, 0, expiry, true};
            changed[k] = true;
        } else {
            must_be(m, bitcask_batch_delete(b, key_bytes[k], key_sizes[k]), BITCASK_OK);
            /* Of an absent key it is nothing: what has expired stays what it was. */
            const struct entry *e = &newest(m)->entries[k];
            after.entries[k] = is_visible(e, now) ? (struct entry){.there = false} : *e;
            changed[k] = is_visible(e, now);
        }
    }
    note(m, "batch of %u%s", count, synced ? " synced" : "");
    must_be(m, bitcask_write(m->db, b, synced ? BITCASK_PUT_SYNC : 0), BITCASK_OK);
    bitcask_batch_free(b);
    uint64_t highest = m->highest;
    bool any = false;
    for (unsigned k = 0; k < KEYS; k++) {
        any = any || changed[k];
        if (!changed[k] || !after.entries[k].there)
            continue;
        learn_sequence(m, &after.entries[k], k);
        must(m, after.entries[k].sequence == 0 || after.entries[k].sequence > highest, "a sequence is not above earlier ones");
        m->highest = BC_MAX(m->highest, after.entries[k].sequence);
    }
    if (any)
        *next_state(m) = after;
    committed(m, synced);
}

static void clear(struct model *m)
{
    note(m, "clear");
    must_be(m, bitcask_clear(m->db, 0), BITCASK_OK);
    memset(next_state(m), 0, sizeof(struct state));
    now_durable(m);
}

/* ---- looking ---- */

static void get_one(struct model *m)
{
    unsigned k = draw_key(m);
    must(m, same_key(m->db, k, &newest(m)->entries[k], bitcask_now_ms(m->db)), "a key is not as it should be");
}

static void use_snapshot(struct model *m)
{
    if (m->snapshot == NULL) {
        note(m, "snapshot");
        must_be(m, bitcask_snapshot_new(m->db, &m->snapshot), BITCASK_OK);
        m->snapshot_state = *newest(m);
        m->snapshot_ms = bitcask_now_ms(m->db);
        return;
    }
    for (unsigned k = 0; k < KEYS; k++) {
        const struct entry *e = &m->snapshot_state.entries[k];
        bitcask_view view;
        int result = bitcask_snapshot_view(m->snapshot, key_bytes[k], key_sizes[k], &view);
        must_be(m, result, is_visible(e, m->snapshot_ms) ? BITCASK_OK : BITCASK_NOT_FOUND);
        if (result != BITCASK_OK)
            continue;
        must(m, view.size == e->size && hash_of(view.data, view.size) == e->hash, "a snapshot changed");
        bitcask_view_release(&view);
    }
    note(m, "the snapshot is as it was");
    release_snapshot(m);
}

/* P20: it shows what the writer has, and writes nothing. A second writer is told at once (P15). */
static void open_beside(struct model *m)
{
    bitcask *reader, *writer;
    uint64_t digest = simdisk_digest(m->disk, SIMDISK_VOLATILE);
    note(m, "read-only handle beside the writer");
    int result = open_with(m, BITCASK_OPEN_READ_ONLY | m->flags, &reader);
    if (m->threads && result == BITCASK_BUSY)
        return;
    must_be(m, result, BITCASK_OK);
    /* A clock of its own, which has not seen the writer's past. */
    if (bitcask_now_ms(reader) == bitcask_now_ms(m->db))
        check_all(m, reader, "by a read-only handle");
    must_be(m, bitcask_close(reader), BITCASK_OK);
    must_be(m, open_with(m, 0, &writer), BITCASK_LOCKED);
    must(m, m->threads || simdisk_digest(m->disk, SIMDISK_VOLATILE) == digest, "a read-only handle wrote");
}

static void move_clock(struct model *m)
{
    unsigned step = below(m, 3000);
    m->wall_ms += step;
    m->monotonic_ms += step;
    simdisk_set_wall_ms(m->disk, m->wall_ms);
    simdisk_set_monotonic_ms(m->disk, m->monotonic_ms);
    note(m, "clock %" PRId64, m->wall_ms);
}

/* ---- the run ---- */

static void step(struct model *m)
{
    static const struct {
        void (*run)(struct model *);
        unsigned weight;
    } steps[] = {{put, 420},        {delete_key, 100}, {touch, 50},        {write_batch, 60},
                 {get_one, 150},    {move_clock, 80},  {use_snapshot, 12}, {reopen, 8},
                 {kill_process, 8}, {fail_power, 10},  {open_beside, 4},   {clear, 2}};
    unsigned sum = 12; /* of bitcask_sync() */
    for (size_t i = 0; i < BC_ARRAY_SIZE(steps); i++)
        sum += steps[i].weight;
    unsigned choice = below(m, sum);
    for (size_t i = 0; i < BC_ARRAY_SIZE(steps); i++) {
        if (choice < steps[i].weight) {
            steps[i].run(m);
            return;
        }
        choice -= steps[i].weight;
    }
    note(m, "sync");
    must_be(m, bitcask_sync(m->db), BITCASK_OK);
    now_durable(m);
}

static void run(uint64_t seed, bool threads, unsigned operations)
{
    struct model *m = calloc(1, sizeof *m);
    printf("# BITCASK_TEST_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    make_keys();
    m->seed = m->rng = seed;
    m->threads = threads;
    m->capacity = 64;
    m->states = calloc(m->capacity, sizeof *m->states);
    m->disk = simdisk_new(seed);
    m->wall_ms = 1700000000000;
    m->monotonic_ms = 1000000;
    open_store(m);
    for (; m->operations < operations; m->operations++)
        step(m);
    check_all(m, m->db, "at the end");
    reopen(m);
    release_snapshot(m);
    must_be(m, bitcask_close(m->db), BITCASK_OK);
    check_disk(m);
    printf("# %lu operations, %lu reopens, %lu kills, %lu power failures that lost %lu commits\n", m->operations, m->reopens,
           m->kills, m->power_failures, m->lost);
    simdisk_free(m->disk);
    free(m->states);
    free(m);
}

static unsigned long long from_environment(const char *name, unsigned long long fallback)
{
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? fallback : strtoull(text, NULL, 10);
}

static uint64_t seed_of(int i)
{
    struct timespec now;
    if (i < FIXED_SEEDS)
        return (uint64_t)i + 1;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A seed that is given is the only one: the first of the loop. */
static void run_from_environment(int i, int first, bool threads, unsigned operations)
{
    uint64_t given = from_environment("BITCASK_TEST_SEED", 0);
    if (given == 0 || i == first)
        run(given != 0 ? given : seed_of(i), threads, operations * (unsigned)from_environment("BITCASK_TEST_SCALE", 1));
}

START_TEST(test_random_operations)
{
    run_from_environment(_i, 0, false, OPERATIONS);
}
END_TEST

/* The same with background threads: what they do between the operations is not repeated by the seed. */
START_TEST(test_random_operations_with_threads)
{
    run_from_environment(_i, FIXED_SEEDS - 2, true, OPERATIONS / 2);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("model");
    TCase *t = tcase_create("random operations");
    tcase_set_timeout(t, 1200);
    tcase_add_loop_test(t, test_random_operations, 0, FIXED_SEEDS + 1);
    tcase_add_loop_test(t, test_random_operations_with_threads, FIXED_SEEDS - 2, FIXED_SEEDS + 1);
    suite_add_tcase(s, t);
    return s;
}
