#include "test/support/merging.h"

#include <stdlib.h>
#include <string.h>

#include "bitcask/format_record.h"

bitcask_options merging_options(int mode)
{
    bitcask_options o = store_options(mode);
    o.flags |= BITCASK_OPEN_NO_MERGE;
    return o;
}

uint64_t merging_seal(bitcask *db)
{
    ck_assert_ptr_nonnull(db->log.active);
    uint64_t id = db->log.active->name.id;
    ck_assert_int_eq(bc_log_roll(&db->log), BITCASK_OK);
    ck_assert_uint_ne(db->log.active->name.id, id);
    return id;
}

struct wanted {
    uint64_t id;
    bool barred;
};

static int find_file(struct bc_file *f, void *arg)
{
    struct wanted *w = arg;
    if (f->name.id != w->id)
        return 0;
    w->barred = atomic_load(&f->barred);
    return 1;
}

bool merging_has_file(bitcask *db, uint64_t id)
{
    struct wanted w = {.id = id};
    return bc_filetable_each(&db->files, find_file, &w) != 0;
}

bool merging_is_barred(bitcask *db, uint64_t id)
{
    struct wanted w = {.id = id};
    return bc_filetable_each(&db->files, find_file, &w) != 0 && w.barred;
}

int merging_file(bitcask *db, uint64_t id, bitcask_merge_result *ret)
{
    bitcask_merge_options o = BITCASK_MERGE_OPTIONS_INIT;
    o.files = &id;
    o.file_count = 1;
    return bitcask_merge(db, &o, ret);
}

bitcask_merge_result merging_all(bitcask *db)
{
    bitcask_merge_result r = BITCASK_MERGE_RESULT_INIT;
    int result = bitcask_merge(db, NULL, &r);
    ck_assert_msg(result == BITCASK_OK, "merge: %s: %s", bitcask_errname(result), bitcask_last_error()->message);
    return r;
}

static void lose(const struct bc_entry *e, void *arg)
{
    bitcask *db = arg;
    bc_file_lose(bc_filetable_get(&db->files, e->file), e->footprint, true);
}

void merging_sweep(bitcask *db)
{
    uint64_t position = 0;
    while (!bc_keydir_sweep(db->keydir, &position, 1000, bc_clock_now(&db->clock), lose, db)) {
    }
}

bitcask_stats merging_stats(bitcask *db)
{
    bitcask_stats s = BITCASK_STATS_INIT;
    ck_assert_int_eq(bitcask_stats_get(db, &s), BITCASK_OK);
    return s;
}

/* ---- from outside ---- */

static struct bc_record decode_at(const char *bytes, size_t size, uint64_t nonce, size_t at, const char *path)
{
    struct bc_record r;
    uint32_t seed = bc_record_seed(nonce, at);
    ck_assert_msg(bc_record_decode(&r, bytes + at, size - at, seed) == BC_RECORD_OK && bc_record_footprint(&r) <= size - at &&
                      bc_record_value_ok(&r, bytes + at + bc_record_head_size(&r) + r.key_size, seed),
                  "%s: no record at byte %zu of %zu", path, at, size);
    return r;
}

static uint64_t nonce_of(const char *bytes, const char *path)
{
    struct bc_data_header h;
    ck_assert_msg(bc_data_header_decode(&h, bytes) == BC_FORMAT_OK, "%s: bad header", path);
    return h.name.nonce;
}

static void count_file(const char *path, struct merging_census *c)
{
    size_t size;
    char *bytes = store_read_file(path, &size);
    uint64_t nonce = nonce_of(bytes, path);
    c->files++;
    for (size_t at = BC_DATA_START; at < size;) {
        struct bc_record r = decode_at(bytes, size, nonce, at, path);
        c->puts += r.type == BC_RECORD_PUT;
        c->tombstones += r.type == BC_RECORD_TOMBSTONE;
        c->batches += r.type == BC_RECORD_BATCH;
        c->links += r.type == BC_RECORD_LINK;
        c->sequences += r.type == BC_RECORD_PUT || r.type == BC_RECORD_TOMBSTONE ? r.sequence : 0;
        at += bc_record_footprint(&r);
    }
    free(bytes);
}

struct merging_census merging_count(const char *dir)
{
    struct merging_census c = {0};
    const char *name;
    for (unsigned i = 0; (name = store_nth(dir, ".data", i)) != NULL; i++)
        count_file(store_file(dir, name), &c);
    return c;
}

struct merging_record merging_nth(const char *path, unsigned n)
{
    size_t size, at = BC_DATA_START;
    char *bytes = store_read_file(path, &size);
    uint64_t nonce = nonce_of(bytes, path);
    for (unsigned seen = 0;;) {
        struct bc_record r = decode_at(bytes, size, nonce, at, path);
        bool counts = r.type == BC_RECORD_PUT || r.type == BC_RECORD_TOMBSTONE;
        if (counts && seen++ == n) {
            free(bytes);
            return (struct merging_record){(long)at, bc_record_head_size(&r), r.key_size, r.value_size};
        }
        at += bc_record_footprint(&r);
    }
}
