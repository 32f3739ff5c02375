/* The moment that a backup shows: which files, and how far each. */
#include "bitcask/backup_internal.h"

#include "bitcask/error.h"

/* What is being written, at one moment. */
struct tails {
    struct bc_manifest_file files[2];
    size_t count;
    uint64_t sequence;
};

static void add_tail(struct tails *t, const struct bc_file *f, uint64_t end)
{
    if (f != NULL)
        t->files[t->count++] = (struct bc_manifest_file){.name = f->name,
                                                         .end = end,
                                                         .min_sequence = atomic_load(&f->min_sequence),
                                                         .max_sequence = atomic_load(&f->max_sequence)};
}

/* Under wal nothing is between its append and its publication, and no batch is half done: below the tail stands a prefix of the
 * commit order. All a writer ever waits for a backup is this. */
static void read_tails(struct bc_log *log, struct tails *t)
{
    bc_log_lock(log);
    if (log->sealing != NULL)
        add_tail(t, log->sealing, atomic_load(&log->sealing->end));
    if (log->active != NULL)
        add_tail(t, log->active, log->tail);
    t->sequence = bc_log_sequence(log) - 1;
    bc_log_unlock(log);
}

/* An open entry becomes what its file holds; false: nothing. */
static bool end_at_tail(const struct tails *t, struct bc_manifest_file *entry)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct bc_manifest_file *tail = &t->files[i];
        if (tail->name.id != entry->name.id || tail->max_sequence == 0)
            continue;
        entry->end = tail->end;
        entry->min_sequence = tail->min_sequence;
        entry->max_sequence = tail->max_sequence;
        return true;
    }
    return false;
}

static void add_entry(struct bc_backup *b, const struct bc_manifest_file *entry, const struct tails *t)
{
    struct bc_backup_file *f = &b->files[b->count];
    bool open = entry->state == BC_MANIFEST_OPEN;
    *f = (struct bc_backup_file){.listed = *entry, .changes = open || (entry->flags & BC_MANIFEST_CLEAN) != 0};
    if (open && !end_at_tail(t, &f->listed))
        return;
    f->listed.state = BC_MANIFEST_SEALED;
    f->listed.flags = 0;
    b->count++;
    b->done.sequence = BC_MAX(b->done.sequence, f->listed.max_sequence);
}

/* A read-only handle has all files open, and a writer elsewhere may take their names away. What that writer had open when the
 * handle was opened may go on. */
static int attach(struct bc_file *file, void *arg)
{
    struct bc_backup *b = arg;
    size_t low = 0, high = b->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (b->files[middle].listed.name.id < file->name.id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < b->count && b->files[low].listed.name.id == file->name.id) {
        b->files[low].file = file;
        b->files[low].changes = b->files[low].changes || file->by_descriptor;
    }
    return 0;
}

int bc_backup_take_point(struct bc_backup *b)
{
    bitcask *db = b->db;
    struct tails t = {.count = 0};
    struct bc_manifest now;
    /* The MANIFEST stands still while the tails are read: none of them is sealed in between. */
    int result = bc_manifest_begin(&db->manifest, 0, &now);
    if (result != BITCASK_OK)
        return result;
    read_tails(&db->log, &t);
    b->point = now;
    b->point.files = NULL;
    b->point.count = 0;
    b->files = bc_alloc_zero(b->allocator, now.count + 1, sizeof *b->files);
    for (size_t i = 0; i < now.count && b->files != NULL; i++)
        add_entry(b, &now.files[i], &t);
    bc_manifest_abort(&db->manifest, &now);
    if (b->files == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a backup");
    if (db->read_only)
        (void)bc_filetable_each(&db->files, attach, b);
    else
        b->done.sequence = t.sequence;
    b->point.ceiling = BC_MAX(b->point.ceiling, b->done.sequence + 1);
    return BITCASK_OK;
}
