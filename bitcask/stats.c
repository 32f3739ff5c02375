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
    bc_log_lock(&db->log);
    s.last_sequence = bc_log_sequence(&db->log) - 1;
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

int bitcask_each_file(bitcask *db, bitcask_file_fn fn, void *ctx)
{
    struct file_list l = {.db = db};
    if (bc_forked(&db->fork))
        return bc_db_refuse_forked();
    unsigned call = bc_pins_call(db->pins);
    unsigned pin = bc_pins_enter(db->pins);
    int result = bc_filetable_each(&db->files, list_file, &l);
    bc_pins_leave(db->pins, pin);
    for (size_t i = 0; i < l.count && result == BITCASK_OK; i++)
        result = fn(&l.files[i], ctx);
    bc_free(&db->allocator, l.files);
    bc_pins_return(db->pins, call);
    return result;
}
