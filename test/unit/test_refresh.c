/* test_refresh.c - bitcask_refresh(): a read-only handle follows its writer through appends, rotations, clears, clean closes
 * and merges; what was taken before shows what it showed; a failed refresh changes nothing; readers never meet half of one. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitcask/datafile.h"
#include "bitcask/db.h"
#include "bitcask/error.h"
#include "bitcask/hintfile.h"
#include "bitcask/keydir_snapshot.h"
#include "bitcask/scan.h"
#include "test/support/simdisk.h"
#include "test/support/store.h"
#include "test/support/world.h"

/* ---- a merge by hand, of a store that nobody has open for writing ---- */

#define KEYS_MAX 64U

struct newest {
    size_t key_size;
    char key[32];
    uint64_t sequence;
};

struct merging {
    struct bc_directory dir;
    struct bc_manifest manifest;
    struct newest keys[KEYS_MAX];
    size_t key_count;
    bool input[256];
    bool all; /* files are inputs: tombstones go */
    int fd;   /* output */
    struct bc_manifest_file output;
    uint64_t live;
};

static struct newest *newest_of(struct merging *m, const struct bc_scan *s)
{
    for (size_t i = 0; i < m->key_count; i++)
        if (m->keys[i].key_size == s->record.key_size && memcmp(m->keys[i].key, s->key, s->record.key_size) == 0)
            return &m->keys[i];
    ck_assert_uint_lt(m->key_count, KEYS_MAX);
    struct newest *n = &m->keys[m->key_count++];
    n->key_size = s->record.key_size;
    memcpy(n->key, s->key, n->key_size);
    return n;
}

static void find_newest(struct merging *m, const struct bc_scan *s)
{
    struct newest *n = newest_of(m, s);
    n->sequence = BC_MAX(n->sequence, s->record.sequence);
}

static void copy_record(struct merging *m, int from, const struct bc_scan *s)
{
    const struct bc_io *io = m->dir.io;
    bool tombstone = s->record.type == BC_RECORD_TOMBSTONE;
    if (newest_of(m, s)->sequence != s->record.sequence || (tombstone && m->all))
        return;
    size_t head = bc_record_head_size(&s->record), got;
    char *bytes = calloc(1, (size_t)s->footprint);
    ck_assert_int_eq(io->read(io->ctx, from, s->offset, bytes, (size_t)s->footprint, &got), 0);
    char *key = bytes + head;
    bc_record_encode(bytes, &s->record, bc_record_seed(m->output.name.nonce, m->output.end), key, key + s->record.key_size);
    struct bc_io_slice slice = {bytes, (size_t)s->footprint};
    ck_assert_int_eq(io->write(io->ctx, m->fd, m->output.end, &slice, 1), 0);
    free(bytes);
    m->output.end += s->footprint;
    m->live++;
    uint64_t sequence = s->record.sequence;
    m->output.min_sequence = m->output.min_sequence == 0 ? sequence : BC_MIN(m->output.min_sequence, sequence);
    m->output.max_sequence = BC_MAX(m->output.max_sequence, sequence);
}

static void each_record(struct merging *m, bool copies)
{
    for (size_t i = 0; i < m->manifest.count; i++) {
        const struct bc_manifest_file *f = &m->manifest.files[i];
        struct bc_io_stat st;
        struct bc_scan s;
        int fd;
        if (copies && !m->input[i])
            continue;
        ck_assert_int_eq(bc_datafile_open(&m->dir, &m->manifest.store, &f->name, 0, &fd, &st), BITCASK_OK);
        ck_assert_int_eq(bc_scan_init(&s, m->dir.io, &bc_allocator_default, fd, &f->name, BC_DATA_START, f->end), BITCASK_OK);
        while (bc_scan_next(&s) == BC_SCAN_RECORD) {
            if (s.record.type != BC_RECORD_PUT && s.record.type != BC_RECORD_TOMBSTONE)
                continue;
            if (copies)
                copy_record(m, fd, &s);
            else
                find_newest(m, &s);
        }
        bc_scan_free(&s);
        m->dir.io->close(m->dir.io->ctx, fd);
    }
}

static void commit(struct merging *m)
{
    struct bc_health health = {.log = NULL};
    struct bc_manifest_keeper keeper;
    struct bc_manifest edit, before = m->manifest;
    _Atomic uint64_t next_sequence = m->manifest.ceiling;
    before.files = bc_memdup(&bc_allocator_default, m->manifest.files, m->manifest.count * sizeof *before.files);
    ck_assert_int_eq(bc_manifest_keeper_init(&keeper, &m->dir, &bc_allocator_default, &health, &next_sequence, &m->manifest),
                     BITCASK_OK);
    ck_assert_int_eq(bc_manifest_begin(&keeper, 1, &edit), BITCASK_OK);
    for (size_t i = 0; i < before.count; i++)
        if (m->input[i])
            bc_manifest_remove(&edit, before.files[i].name.id);
    bc_manifest_add(&edit, &m->output);
    ck_assert_int_eq(bc_manifest_commit(&keeper, &edit), BITCASK_OK);
    for (size_t i = 0; i < before.count; i++) {
        char name[BC_NAME_SIZE];
        bc_data_name(name, before.files[i].name.id);
        if (m->input[i])
            ck_assert_int_eq(bc_directory_unlink(&m->dir, name), BITCASK_OK);
        bc_hint_name(name, before.files[i].name.id);
        if (m->input[i])
            ck_assert_int_eq(bc_directory_unlink(&m->dir, name), BITCASK_OK);
    }
    bc_manifest_keeper_free(&keeper);
    free(before.files);
}

/* Inputs: the files whose bit is set in which; UINT64_MAX: all. */
static void merge_by_hand(const struct bc_io *io, const char *path, uint64_t which, bool hint)
{
    struct merging m = {.fd = -1};
    int damaged;
    ck_assert_int_eq(bc_directory_open(&m.dir, io, path, false, 0600), BITCASK_OK);
    ck_assert_int_eq(bc_directory_lock(&m.dir), BITCASK_OK);
    ck_assert_int_eq(bc_manifest_read(&m.dir, &bc_allocator_default, &m.manifest, &damaged), BITCASK_OK);
    unsigned inputs = 0;
    for (size_t i = 0; i < m.manifest.count && i < 64; i++) {
        ck_assert_uint_eq(m.manifest.files[i].state, BC_MANIFEST_SEALED);
        m.input[i] = (which >> i & 1) != 0;
        inputs += m.input[i];
    }
    m.all = inputs == m.manifest.count;
    if (inputs > 0) {
        static struct bc_data_header h;
        uint64_t size;
        h = (struct bc_data_header){.store = m.manifest.store, .kind = BC_DATA_KIND_MERGE, .name = {m.manifest.next_id, 4711}};
        m.output = (struct bc_manifest_file){
            .name = h.name, .state = BC_MANIFEST_SEALED, .kind = BC_DATA_KIND_MERGE, .end = BC_DATA_START};
        ck_assert_int_eq(bc_datafile_create(&m.dir, &h, 65536, &m.fd, &size), BITCASK_OK);
        each_record(&m, false);
        each_record(&m, true);
        ck_assert_int_eq(io->truncate(io->ctx, m.fd, m.output.end), 0);
        ck_assert_int_eq(io->sync(io->ctx, m.fd), 0);
        ck_assert_int_eq(io->dir_sync(io->ctx, m.dir.fd), 0);
        struct bc_uuid store = m.manifest.store;
        commit(&m);
        io->close(io->ctx, m.fd);
        if (hint)
            ck_assert_int_eq(bc_hint_build(&m.dir, &bc_allocator_default, &store, &m.output.name, m.output.end, NULL),
                             BITCASK_OK);
    } else {
        bc_manifest_free(&bc_allocator_default, &m.manifest);
    }
    bc_directory_close(&m.dir);
}

/* ---- a writer and a reader on one simulated disk ---- */

static unsigned draw(unsigned *state, unsigned n)
{
    *state = *state * 1664525U + 1013904223U;
    return (*state >> 10) % n;
}

static struct world *reader_of(const struct world *writer)
{
    struct world *r = calloc(1, sizeof *r);
    *r = *writer;
    r->flags |= BITCASK_OPEN_READ_ONLY;
    ck_assert_int_eq(world_open(r), BITCASK_OK);
    return r;
}

static void reader_free(struct world *r)
{
    ck_assert_int_eq(world_close(r), BITCASK_OK);
    free(r);
}

static void check_shows(struct world *r, const struct world_state *expected, const char *when, unsigned step)
{
    char message[512];
    struct world_state now;
    ck_assert_msg(world_read(r, &now, message, sizeof message), "%s, step %u: %s", when, step, message);
    for (unsigned k = 0; k < WORLD_KEYS; k++)
        ck_assert_msg(now.version[k] == expected->version[k], "%s, step %u: key %u is %u, should be %u", when, step, k,
                      now.version[k] & 0x7fffffff, expected->version[k] & 0x7fffffff);
}

/* What counters say, counted anew. */
static void recount(const struct bc_entry *e, int64_t expire_at_ms, void *arg)
{
    (void)expire_at_ms;
    struct {
        uint64_t keys, bytes;
    } *total = arg;
    total->keys++;
    total->bytes += e->footprint;
}

static void check_counters(bitcask *db, unsigned step)
{
    struct {
        uint64_t keys, bytes;
    } total = {0, 0};
    bitcask_stats s = BITCASK_STATS_INIT;
    bc_keydir_each_entry(db->keydir, recount, &total);
    ck_assert_int_eq(bitcask_stats_get(db, &s), BITCASK_OK);
    ck_assert_msg(s.keys == total.keys && s.live_bytes == total.bytes, "step %u: %llu keys, %llu live bytes, not %llu, %llu",
                  step, (unsigned long long)s.keys, (unsigned long long)s.live_bytes, (unsigned long long)total.keys,
                  (unsigned long long)total.bytes);
}

struct held {
    bitcask_snapshot *snapshot;
    struct world_state state;
};

static void check_held(struct held *h, unsigned step)
{
    for (unsigned k = 0; k < WORLD_KEYS && h->snapshot != NULL; k++) {
        char key[16];
        bitcask_view view;
        uint32_t version = 0;
        size_t size = (size_t)snprintf(key, sizeof key, "key%u%.*s", k, (int)k, "xxxxxxxx");
        int result = bitcask_snapshot_view(h->snapshot, key, size, &view);
        ck_assert_msg(result == BITCASK_OK || result == BITCASK_NOT_FOUND, "step %u: key %u of a snapshot: %s", step, k,
                      bitcask_last_error()->message);
        if (result == BITCASK_OK) {
            memcpy(&version, view.data, sizeof version);
            bitcask_view_release(&view);
        }
        ck_assert_msg(version == h->state.version[k], "step %u: key %u of a snapshot is %u, should be %u", step, k,
                      version & 0x7fffffff, h->state.version[k] & 0x7fffffff);
    }
}

static void random_step(struct world *w, unsigned *rng, uint32_t flags)
{
    unsigned kind = draw(rng, 40);
    if (kind < 36) {
        static const enum world_kind kinds[] = {WORLD_PUT,    WORLD_PUT,  WORLD_PUT_SYNC, WORLD_DELETE,
                                                WORLD_BATCH,  WORLD_BIG,  WORLD_TOUCH,    WORLD_BATCH_SYNC,
                                                WORLD_DELETE, WORLD_SYNC, WORLD_BIG,      WORLD_PUT};
        const struct world_operation op = {kinds[kind % 12], draw(rng, WORLD_KEYS)};
        ck_assert_int_eq(world_apply(w, &op), BITCASK_OK);
        return;
    }
    const struct world_operation op = {kind == 36 ? WORLD_CLEAR : WORLD_REOPEN, 0};
    if (kind < 38) {
        ck_assert_int_eq(world_apply(w, &op), BITCASK_OK);
        return;
    }
    ck_assert_int_eq(world_close(w), BITCASK_OK);
    uint64_t which = draw(rng, 3) == 0 ? UINT64_MAX : (uint64_t)draw(rng, 1U << 20) | 1;
    merge_by_hand(simdisk_io(w->disk), "/store", which, draw(rng, 2) == 0);
    w->flags = flags;
    ck_assert_int_eq(world_open(w), BITCASK_OK);
}

/* Every refresh shows what the writer has, whatever happened since the last one; snapshots keep what they had. */
static void follow(unsigned seed, uint32_t flags)
{
    struct world *w = world_new(simdisk_new(seed), flags);
    unsigned rng = seed * 7919 + 1;
    ck_assert_int_eq(world_open(w), BITCASK_OK);
    struct world *r = reader_of(w);
    struct held held[3] = {{NULL, {{0}}}};
    unsigned steps = 300;
    for (unsigned step = 0; step < steps; step++) {
        random_step(w, &rng, flags);
        if (draw(&rng, 4) != 0)
            continue;
        int result = bitcask_refresh(r->db);
        ck_assert_msg(result == BITCASK_OK, "seed %u, step %u: %s", seed, step, bitcask_last_error()->message);
        check_shows(r, &w->states[w->count], "refreshed", step);
        check_counters(r->db, step);
        for (unsigned i = 0; i < 3; i++)
            check_held(&held[i], step);
        struct held *h = &held[draw(&rng, 3)];
        bitcask_snapshot_release(h->snapshot);
        h->snapshot = NULL;
        h->state = w->states[w->count];
        if (draw(&rng, 3) != 0)
            ck_assert_int_eq(bitcask_snapshot_new(r->db, &h->snapshot), BITCASK_OK);
    }
    for (unsigned i = 0; i < 3; i++)
        bitcask_snapshot_release(held[i].snapshot);
    bitcask_stats writer = BITCASK_STATS_INIT, reader = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_refresh(r->db), BITCASK_OK);
    ck_assert_int_eq(bitcask_stats_get(w->db, &writer), BITCASK_OK);
    ck_assert_int_eq(bitcask_stats_get(r->db, &reader), BITCASK_OK);
    ck_assert_uint_eq(writer.keys, reader.keys);
    ck_assert_uint_eq(writer.live_bytes, reader.live_bytes);
    reader_free(r);
    ck_assert_int_eq(world_close(w), BITCASK_OK);
    char text[256];
    ck_assert_msg(simdisk_misuses(w->disk, text, sizeof text) == 0, "%s", text);
    ck_assert_uint_eq(simdisk_open_descriptors(w->disk), 0);
    ck_assert_uint_eq(simdisk_open_mappings(w->disk), 0);
    world_free(w);
}

START_TEST(test_follows_its_writer)
{
    for (unsigned seed = 1; seed <= 25 * store_scale(); seed++)
        follow(seed, _i == 0 ? 0 : BITCASK_OPEN_NO_MMAP);
}
END_TEST

/* A refresh writes nothing, and where nothing changed it costs a few reads. */
START_TEST(test_writes_nothing_and_costs_little_when_nothing_changed)
{
    struct world *w = world_new(simdisk_new(1), _i == 0 ? 0 : BITCASK_OPEN_NO_MMAP);
    const struct world_operation put = {WORLD_PUT, 1}, big = {WORLD_BIG, 2};
    ck_assert_int_eq(world_open(w), BITCASK_OK);
    for (unsigned i = 0; i < 20; i++)
        ck_assert_int_eq(world_apply(w, i % 3 == 0 ? &big : &put), BITCASK_OK);
    struct world *r = reader_of(w);
    uint64_t digest = simdisk_digest(w->disk, SIMDISK_VOLATILE), before = simdisk_op_count(w->disk, SIMDISK_OPS_ALL);
    ck_assert_int_eq(bitcask_refresh(r->db), BITCASK_OK);
    ck_assert_uint_le(simdisk_op_count(w->disk, SIMDISK_OPS_ALL) - before, 20);
    ck_assert_int_eq(world_apply(w, &put), BITCASK_OK);
    ck_assert_int_eq(world_apply(w, &big), BITCASK_OK);
    digest = simdisk_digest(w->disk, SIMDISK_VOLATILE);
    before = simdisk_op_count(w->disk, SIMDISK_OPS_CHANGE & ~(unsigned)SIMDISK_MAP);
    ck_assert_int_eq(bitcask_refresh(r->db), BITCASK_OK);
    check_shows(r, &w->states[w->count], "refreshed", 0);
    ck_assert_uint_eq(simdisk_digest(w->disk, SIMDISK_VOLATILE), digest);
    ck_assert_uint_eq(simdisk_op_count(w->disk, SIMDISK_OPS_CHANGE & ~(unsigned)SIMDISK_MAP), before);
    reader_free(r);
    ck_assert_int_eq(world_close(w), BITCASK_OK);
    world_free(w);
}
END_TEST

/* ---- failures ---- */

struct meter {
    uint64_t calls, fail_at;
    bool failed;
};

static void *metered(void *ptr, size_t size, void *ctx)
{
    struct meter *m = ctx;
    if (size != 0 && ++m->calls == m->fail_at) {
        m->failed = true;
        return NULL;
    }
    if (size != 0)
        return realloc(ptr, size);
    free(ptr);
    return NULL;
}

/* What a refresh meets: an open tail that grew and was sealed, new files, a file gone on in, and a merge or a clear. */
static void much_happens(struct world *w, uint32_t flags, unsigned kind)
{
    unsigned rng = 5;
    for (unsigned i = 0; i < 12; i++) {
        const struct world_operation op = {i % 4 == 0 ? WORLD_BIG : i % 4 == 1 ? WORLD_BATCH : WORLD_DELETE, draw(&rng, 8)};
        ck_assert_int_eq(world_apply(w, &op), BITCASK_OK);
    }
    const struct world_operation clear = {WORLD_CLEAR, 0}, put = {WORLD_PUT, 3};
    if (kind == 1)
        ck_assert_int_eq(world_apply(w, &clear), BITCASK_OK);
    if (kind == 2) {
        ck_assert_int_eq(world_close(w), BITCASK_OK);
        merge_by_hand(simdisk_io(w->disk), "/store", 7, true);
        w->flags = flags;
        ck_assert_int_eq(world_open(w), BITCASK_OK);
    }
    ck_assert_int_eq(world_apply(w, &put), BITCASK_OK);
}

/* One I/O call, or one allocation, of the refresh fails: it says so and shows what it showed; the next one works. Returns
 * whether the failure was reached. */
static bool fail_at(uint64_t at, bool memory, bool from, unsigned kind, uint32_t flags)
{
    struct world *w = world_new(simdisk_new(1), flags);
    struct meter meter = {0, 0, false};
    const bitcask_allocator allocator = {metered, &meter};
    unsigned rng = 3;
    ck_assert_int_eq(world_open(w), BITCASK_OK);
    for (unsigned i = 0; i < 12; i++) {
        const struct world_operation op = {i % 3 == 0 ? WORLD_BIG : WORLD_PUT, draw(&rng, WORLD_KEYS)};
        ck_assert_int_eq(world_apply(w, &op), BITCASK_OK);
    }
    struct world reader = *w, *r = &reader;
    r->allocator = &allocator;
    r->flags |= BITCASK_OPEN_READ_ONLY;
    ck_assert_int_eq(world_open(r), BITCASK_OK);
    struct held held = {NULL, w->states[w->count]};
    ck_assert_int_eq(bitcask_snapshot_new(r->db, &held.snapshot), BITCASK_OK);
    struct world_state before = w->states[w->count];
    much_happens(w, flags, kind);
    const struct simdisk_fault fault = {.kinds = SIMDISK_OPS_ALL, .at = at, .from = from, .error = at % 2 == 0 ? EIO : EMFILE};
    uint64_t hits = simdisk_fail_hits(w->disk);
    if (memory)
        meter = (struct meter){0, at, false};
    else
        simdisk_fail(w->disk, &fault);
    int result = bitcask_refresh(r->db);
    simdisk_fail_clear(w->disk);
    meter.fail_at = 0;
    bool hit = memory ? meter.failed : simdisk_fail_hits(w->disk) > hits;
    if (result != BITCASK_OK) {
        ck_assert_msg(hit && (result == BITCASK_IO || result == BITCASK_NO_MEMORY), "%llu: %s", (unsigned long long)at,
                      bitcask_last_error()->message);
        check_shows(r, &before, "after a failed refresh", (unsigned)at);
        check_counters(r->db, (unsigned)at);
        check_held(&held, (unsigned)at);
        ck_assert_int_eq(bitcask_refresh(r->db), BITCASK_OK);
    }
    check_shows(r, &w->states[w->count], "after the second refresh", (unsigned)at);
    check_held(&held, (unsigned)at);
    check_counters(r->db, (unsigned)at);
    bitcask_snapshot_release(held.snapshot);
    ck_assert_int_eq(world_close(r), BITCASK_OK);
    ck_assert_int_eq(world_close(w), BITCASK_OK);
    ck_assert_uint_eq(simdisk_open_descriptors(w->disk), 0);
    ck_assert_uint_eq(simdisk_open_mappings(w->disk), 0);
    world_free(w);
    return hit;
}

START_TEST(test_a_failed_refresh_changes_nothing)
{
    bool memory = _i >= 2;
    uint32_t flags = _i % 2 == 0 ? 0 : BITCASK_OPEN_NO_MMAP;
    for (unsigned kind = 0; kind < 3; kind++) {
        uint64_t at = 1;
        while (fail_at(at, memory, false, kind, flags) && (memory || fail_at(at, false, true, kind, flags)))
            at++;
        ck_assert_uint_gt(at, 12);
    }
}
END_TEST

START_TEST(test_only_for_read_only_handles)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    ck_assert_int_eq(bitcask_refresh(db), BITCASK_INVALID);
    store_expect_failure(BITCASK_INVALID, "", "READ_ONLY");
    store_close(db);
    o.flags |= BITCASK_OPEN_SALVAGE;
    db = store_open(path, &o);
    ck_assert_int_eq(bitcask_refresh(db), BITCASK_INVALID);
    store_expect(db, "a", "1");
    store_close(db);
}
END_TEST

/* The store went away, or another one took its place: told, and what was there is still shown. */
START_TEST(test_of_a_store_that_is_gone)
{
    const char *path = store_path();
    bitcask_options o = store_options(_i);
    bitcask *db = store_open(path, &o);
    ck_assert_int_eq(store_put(db, "a", "1"), BITCASK_OK);
    store_close(db);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    db = store_open(path, &o);
    store_remove(store_file(path, "MANIFEST"));
    ck_assert_int_eq(bitcask_refresh(db), BITCASK_NOT_FOUND);
    store_expect(db, "a", "1");
    store_remove(store_file(path, store_nth(path, ".data", 0)));
    o.flags = 0;
    bitcask *other = store_open(path, &o);
    ck_assert_int_eq(bitcask_refresh(db), BITCASK_CORRUPT);
    store_expect_failure(BITCASK_CORRUPT, "MANIFEST", "another store");
    store_expect(db, "a", "1");
    store_close(other);
    store_close(db);
}
END_TEST

/* A tail that was seen and then lost, as after a power failure of the machine that the files stand on: nothing of what the
 * handle had is believed. */
START_TEST(test_of_a_tail_that_was_lost)
{
    struct world *w = world_new(simdisk_new(1), _i == 0 ? 0 : BITCASK_OPEN_NO_MMAP);
    const struct world_operation put = {WORLD_PUT, 1}, sync = {WORLD_SYNC, 0}, other = {WORLD_PUT, 2};
    ck_assert_int_eq(world_open(w), BITCASK_OK);
    ck_assert_int_eq(world_apply(w, &put), BITCASK_OK);
    ck_assert_int_eq(world_apply(w, &sync), BITCASK_OK);
    struct world_state durable = w->states[w->count];
    ck_assert_int_eq(world_apply(w, &other), BITCASK_OK);
    struct world *r = reader_of(w);
    check_shows(r, &w->states[w->count], "opened", 0);
    char path[64];
    snprintf(path, sizeof path, "/store/%010llu.data", (unsigned long long)w->db->log.active->name.id);
    uint64_t offset = r->db->tails[0].last_offset;
    for (unsigned i = 0; i < 16; i++) {
        void *data;
        size_t size;
        ck_assert_int_eq(simdisk_read_file(w->disk, path, SIMDISK_VOLATILE, &data, &size), 0);
        unsigned byte = ((unsigned char *)data)[offset + i];
        free(data);
        if (byte != 0)
            ck_assert_int_eq(simdisk_flip(w->disk, path, SIMDISK_VOLATILE, offset + i, byte), 0);
    }
    uint64_t digest = simdisk_digest(w->disk, SIMDISK_VOLATILE);
    ck_assert_int_eq(bitcask_refresh(r->db), BITCASK_OK);
    ck_assert_uint_eq(simdisk_digest(w->disk, SIMDISK_VOLATILE), digest);
    check_shows(r, &durable, "after the loss", 0);
    check_counters(r->db, 0);
    reader_free(r);
    ck_assert_int_eq(world_close(w), BITCASK_OK);
    world_free(w);
}
END_TEST

/* ---- beside a live writer, under readers ---- */

struct scene {
    bitcask *writer, *reader;
    atomic_bool stop;
    atomic_uint failed; /* line */
    atomic_ulong refreshes, reads;
    bool clears;
};

#define CHECK_SCENE(scene, condition)                                                                                          \
    do {                                                                                                                       \
        if (!(condition)) {                                                                                                    \
            unsigned none = 0;                                                                                                 \
            atomic_compare_exchange_strong(&(scene)->failed, &none, (unsigned)__LINE__);                                       \
        }                                                                                                                      \
    } while (0)

/* Batches of a, padding, b with one number; "always" is deleted and put again; numbers never go back. */
static void *write_scene(void *arg)
{
    struct scene *s = arg;
    bitcask_batch *b;
    static const char padding[700];
    CHECK_SCENE(s, bitcask_batch_new(&b) == BITCASK_OK);
    bitcask_put_options expiring = BITCASK_PUT_OPTIONS_INIT;
    for (unsigned n = 1; !atomic_load(&s->stop) && atomic_load(&s->failed) == 0; n++) {
        char value[16], key[16];
        size_t size = (size_t)snprintf(value, sizeof value, "%u", n);
        bitcask_batch_clear(b);
        CHECK_SCENE(s, bitcask_batch_put(b, "a", 1, value, size, 0) == BITCASK_OK);
        CHECK_SCENE(s, bitcask_batch_put(b, "padding", 7, padding, sizeof padding, 0) == BITCASK_OK);
        CHECK_SCENE(s, bitcask_batch_delete(b, "always", 6) == BITCASK_OK);
        CHECK_SCENE(s, bitcask_batch_put(b, "always", 6, value, size, 0) == BITCASK_OK);
        CHECK_SCENE(s, bitcask_batch_put(b, "b", 1, value, size, 0) == BITCASK_OK);
        CHECK_SCENE(s, bitcask_write(s->writer, b, 0) == BITCASK_OK);
        size_t key_size = (size_t)snprintf(key, sizeof key, "k%u", n % 100);
        CHECK_SCENE(s, bitcask_put(s->writer, key, key_size, padding, n % 600, NULL, NULL) == BITCASK_OK);
        expiring.expire_at_ms = bitcask_now_ms(s->writer) + (int64_t)(n % 7);
        CHECK_SCENE(s, bitcask_put(s->writer, "expiring", 8, value, size, &expiring, NULL) == BITCASK_OK);
        if (n % 11 == 0) {
            int result = bitcask_delete(s->writer, key, key_size, NULL, NULL);
            CHECK_SCENE(s, result == BITCASK_OK);
        }
        if (s->clears && n % 700 == 0)
            CHECK_SCENE(s, bitcask_clear(s->writer, 0) == BITCASK_OK);
    }
    bitcask_batch_free(b);
    return NULL;
}

static void *refresh_scene(void *arg)
{
    struct scene *s = arg;
    while (!atomic_load(&s->stop) && atomic_load(&s->failed) == 0) {
        int result = bitcask_refresh(s->reader);
        if (result != BITCASK_OK && result != BITCASK_BUSY)
            fprintf(stderr, "%s\n", bitcask_last_error()->message);
        CHECK_SCENE(s, result == BITCASK_OK || result == BITCASK_BUSY);
        atomic_fetch_add(&s->refreshes, 1);
    }
    return NULL;
}

static unsigned long number_of(struct scene *s, const char *key)
{
    char value[32] = {0};
    size_t size;
    int result = bitcask_read(s->reader, key, strlen(key), value, sizeof value - 1, &size);
    if (result == BITCASK_NOT_FOUND && s->clears)
        return 0;
    if (result != BITCASK_OK)
        fprintf(stderr, "%s: %s\n", key, bitcask_last_error()->message);
    CHECK_SCENE(s, result == BITCASK_OK);
    return strtoul(value, NULL, 10);
}

static void look_at_snapshot(struct scene *s)
{
    bitcask_snapshot *snapshot;
    static const char *const keys[] = {"a", "b", "always"};
    char value[3][16] = {{0}};
    CHECK_SCENE(s, bitcask_snapshot_new(s->reader, &snapshot) == BITCASK_OK);
    for (unsigned i = 0; i < 3; i++) {
        bitcask_view view;
        int result = bitcask_snapshot_view(snapshot, keys[i], strlen(keys[i]), &view);
        CHECK_SCENE(s, result == BITCASK_OK || (s->clears && result == BITCASK_NOT_FOUND));
        if (result == BITCASK_OK) {
            memcpy(value[i], view.data, BC_MIN(view.size, sizeof value[i] - 1));
            bitcask_view_release(&view);
        }
    }
    CHECK_SCENE(s, strcmp(value[0], value[1]) == 0 && strcmp(value[0], value[2]) == 0);
    bitcask_snapshot_release(snapshot);
}

static void *read_scene(void *arg)
{
    struct scene *s = arg;
    unsigned long before = 0;
    while (!atomic_load(&s->stop) && atomic_load(&s->failed) == 0) {
        unsigned long a = number_of(s, "a"), b = number_of(s, "b"), always = number_of(s, "always");
        /* Read in this order, each is as new as the one before it; a clear may come between. */
        CHECK_SCENE(s, s->clears || (a >= before && b >= a && always >= b));
        before = a;
        look_at_snapshot(s);
        /* Options change beside a refresh, which reads others of them. */
        CHECK_SCENE(s, bitcask_set(s->reader, "frag_threshold", before % 2 == 0 ? "40" : "50") == BITCASK_OK);
        atomic_fetch_add(&s->reads, 1);
    }
    return NULL;
}

static void beside_a_live_writer(int mode, bool clears)
{
    const char *path = store_path();
    bitcask_options o = store_options(mode);
    struct scene s = {.writer = store_open(path, &o), .clears = clears};
    static const char *const keys[] = {"a", "b", "always"};
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(store_put(s.writer, keys[i], "0"), BITCASK_OK);
    o.flags |= BITCASK_OPEN_READ_ONLY;
    s.reader = store_open(path, &o);
    pthread_t threads[5];
    void *(*const runs[])(void *) = {write_scene, refresh_scene, refresh_scene, read_scene, read_scene};
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, runs[i], &s), 0);
    unsigned long want = 100 * store_scale();
    while (atomic_load(&s.failed) == 0 && (atomic_load(&s.refreshes) < want || atomic_load(&s.reads) < want))
        bc_io_posix.sleep_us(NULL, 1000);
    atomic_store(&s.stop, true);
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_msg(atomic_load(&s.failed) == 0, "line %u", atomic_load(&s.failed));
    ck_assert_int_eq(bitcask_refresh(s.reader), BITCASK_OK);
    bitcask_stats writer = BITCASK_STATS_INIT, reader = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(s.writer, &writer), BITCASK_OK);
    ck_assert_int_eq(bitcask_stats_get(s.reader, &reader), BITCASK_OK);
    ck_assert_uint_eq(writer.keys, reader.keys);
    ck_assert_uint_eq(writer.live_bytes, reader.live_bytes);
    store_close(s.writer);
    /* What the handle shows does not need the writer, nor the names. */
    ck_assert_int_eq(bitcask_refresh(s.reader), BITCASK_OK);
    store_close(s.reader);
}

START_TEST(test_beside_a_live_writer)
{
    beside_a_live_writer(_i, false);
}
END_TEST

START_TEST(test_beside_a_writer_that_clears)
{
    beside_a_live_writer(_i, true);
}
END_TEST

Suite *bc_suite(void);
Suite *bc_suite(void)
{
    Suite *s = suite_create("refresh");
    TCase *t = store_tcase("refresh");
    tcase_set_timeout(t, 300);
    store_add_test(t, test_follows_its_writer);
    store_add_test(t, test_writes_nothing_and_costs_little_when_nothing_changed);
    tcase_add_loop_test(t, test_a_failed_refresh_changes_nothing, 0, 4);
    store_add_test(t, test_only_for_read_only_handles);
    store_add_test(t, test_of_a_store_that_is_gone);
    store_add_test(t, test_of_a_tail_that_was_lost);
    store_add_test(t, test_beside_a_live_writer);
    store_add_test(t, test_beside_a_writer_that_clears);
    suite_add_tcase(s, t);
    return s;
}
