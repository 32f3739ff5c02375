/* What a handle knows about itself: counters of the store, and of each data file. */
#include <string.h>

#include "bitcask/db.h"
#include "bitcask/error.h"
#include "bitcask/keydir_snapshot.h"

void bitcask_stats_init(bitcask_stats *stats, size_t size)
{
    memset(stats, 0, size);
    stats->struct_size = size;
}

static uint64_t file_size(struct bc_file *f)
{
    return atomic_load(&f->end);
}

static uint64_t dead_bytes(struct bc_file *f)
{
    uint64_t records = file_size(f) - BC_DATA_START, live = atomic_load(&f->live_bytes);
    return records - BC_MIN(live, records);
}

static int add_file(struct bc_file *f, void *arg)
{
    bitcask_stats *s = arg;
    /* The table's own reference is no view's. */
    struct bc_handle *h = bc_file_handle(f);
    s->data_files++;
    s->disk_bytes += file_size(f);
    s->live_bytes += atomic_load(&f->live_bytes);
    s->dead_bytes += dead_bytes(f);
    s->pins += h == NULL ? 0 : atomic_load_explicit(&h->owners, memory_order_relaxed) - 1;
    return 0;
}

static void add_merges(const struct bc_merger *m, bitcask_stats *s)
{
    s->merges = atomic_load(&m->steps);
    s->merge_failures = atomic_load(&m->failures);
    s->merge_bytes_in = atomic_load(&m->bytes_in);
    s->merge_bytes_read = atomic_load(&m->bytes_read);
    s->merge_bytes_out = atomic_load(&m->bytes_out);
    s->tombstones_dropped = atomic_load(&m->tombstones_dropped);
    s->expired = atomic_load(&m->expired);
    s->evictions = atomic_load(&m->evicted);
    s->merge_total = atomic_load(&m->running_total);
    s->merge_done = atomic_load(&m->running_done);
    s->last_merge_ms = atomic_load(&m->last_ms);
    s->last_merge_result = atomic_load(&m->last_result);
    s->last_merge_reasons = atomic_load(&m->last_reasons);
}

int bitcask_stats_get(bitcask *db, bitcask_stats *ret)
{
    bitcask_stats s = BITCASK_STATS_INIT;
    if (bc_forked(&db->fork))
        return bc_db_refuse_forked();
    unsigned pin = bc_pins_enter(db->pins);
    (void)bc_filetable_each(&db->files, add_file, &s);
    s.keys = bc_keydir_count(db->keydir);
    s.keydir_bytes = bc_keydir_bytes(db->keydir) + bc_keydir_snapshot_bytes(db->keydir);
    s.snapshot_bytes = bc_keydir_snapshot_bytes(db->keydir);
    s.snapshots = bc_keydir_snapshots(db->keydir);
    s.poisoned = bc_health_poisoned(&db->health) ? 1 : 0;
    add_merges(&db->merger, &s);
    bc_log_lock(&db->log);
    s.last_sequence = bc_log_sequence(&db->log) - 1;
    s.log_bytes = db->log.appended;
    bc_log_unlock(&db->log);
    bc_pins_leave(db->pins, pin);
    return bc_result_copy(ret, &s, sizeof s);
}

/* ---- each file ---- */

struct file_list {
    bitcask *db;
    bitcask_file_info *files;
    size_t count, capacity;
};

static int list_file(struct bc_file *f, void *arg)
{
    struct file_list *l = arg;
    if (l->count == l->capacity) {
        size_t capacity = l->capacity * 2 + 16;
        bitcask_file_info *files = bc_resize(&l->db->allocator, l->files, capacity * sizeof *files);
        if (files == NULL)
            return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to list the data files");
        l->files = files;
        l->capacity = capacity;
    }
    uint32_t state = atomic_load(&f->state);
    l->files[l->count++] = (bitcask_file_info){
        .struct_size = sizeof *l->files,
        .id = f->name.id,
        .size = file_size(f),
        .keys = atomic_load(&f->live_keys),
        .live_bytes = atomic_load(&f->live_bytes),
        .dead_bytes = dead_bytes(f),
        .min_sequence = atomic_load(&f->min_sequence),
        .max_sequence = atomic_load(&f->max_sequence),
        .state = state == BC_FILE_SEALED && !atomic_load(&f->by_descriptor) ? BITCASK_FILE_SEALED : BITCASK_FILE_OPEN,
    };
    return 0;
}

static void add_reasons(struct file_list *l, const struct bc_merge_candidate *c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < l->count; k++)
            if (l->files[k].id == c[i].id)
                l->files[k].merge_reasons = c[i].reasons;
}

/* wanted: only those with a reason to be merged. */
static int each_file(bitcask *db, bool wanted, bitcask_file_fn fn, void *ctx)
{
    struct file_list l = {.db = db};
    struct bc_merge_candidate *candidates = NULL;
    struct bc_merge_totals totals;
    size_t count = 0;
    if (bc_forked(&db->fork))
        return bc_db_refuse_forked();
    unsigned call = bc_pins_call(db->pins);
    unsigned pin = bc_pins_enter(db->pins);
    int result = bc_filetable_each(&db->files, list_file, &l);
    if (result == BITCASK_OK)
        result = bc_merge_candidates(&db->merger, &candidates, &count, &totals);
    bc_pins_leave(db->pins, pin);
    add_reasons(&l, candidates, count);
    bc_free(&db->allocator, candidates);
    for (size_t i = 0; i < l.count && result == BITCASK_OK; i++)
        if (!wanted || l.files[i].merge_reasons != 0)
            result = fn(&l.files[i], ctx);
    bc_free(&db->allocator, l.files);
    bc_pins_return(db->pins, call);
    return result;
}

int bitcask_each_file(bitcask *db, bitcask_file_fn fn, void *ctx)
{
    return each_file(db, false, fn, ctx);
}

int bitcask_needs_merge(bitcask *db, bitcask_file_fn fn, void *ctx)
{
    return each_file(db, true, fn, ctx);
}
