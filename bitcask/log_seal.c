/* The second half of a log file's life: prepared ahead of the tail, full, sealed, trimmed; and what runs in the background. */
#include <errno.h>
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/log_internal.h"

#define AHEAD_MAX (64ULL << 20)      /* of space, ahead of the tail */
#define PREPARE_MAX (4ULL << 20)     /* of pages, ahead of the tail */
#define PREPARE_CHUNK (512ULL << 10) /* a page that the writer waits for is never more than one such call away */
#define UNSYNCED_MAX (64ULL << 20)   /* bounds what one bad byte before a crash can cut off, and how long a seal takes */

/* After the MANIFEST that fixes the end is durable: the space behind it goes back. */
static void trim(struct bc_log *log, struct bc_file *f)
{
    const struct bc_io *io = log->dir->io;
    struct bc_handle *h = bc_file_handle(f);
    /* Preparation of this file, if any is running, ends first: it would extend the file again. */
    pthread_mutex_lock(&log->ahead);
    (void)io->truncate(io->ctx, h->fd, atomic_load(&f->end));
    if (h->map != NULL)
        (void)io->protect(io->ctx, h->map, h->map_size);
    pthread_mutex_unlock(&log->ahead);
}

struct ends {
    struct bc_manifest_file *files;
    size_t count, capacity;
};

static int note_end(struct bc_file *f, void *arg)
{
    struct ends *e = arg;
    if (atomic_load(&f->state) == BC_FILE_SEALED && e->count < e->capacity)
        e->files[e->count++] = (struct bc_manifest_file){.name = f->name, .end = atomic_load(&f->end)};
    return 0;
}

void bc_log_trim_sealed(struct bc_log *log)
{
    const struct bc_io *io = log->dir->io;
    struct ends e = {.capacity = atomic_load(&log->files->used)};
    e.files = bc_alloc_zero(log->allocator, e.capacity + 1, sizeof *e.files);
    if (e.files != NULL)
        (void)bc_filetable_each(log->files, note_end, &e);
    for (size_t i = 0; i < e.count; i++) {
        struct bc_io_stat st;
        int fd;
        if (bc_datafile_open(log->dir, &log->files->store, &e.files[i].name, BC_IO_WRITE, &fd, &st) != BITCASK_OK)
            continue;
        /* With a second name it is somebody else's file, too, who may know of a later end: a copy of this one may go on there.
         */
        if (st.size > e.files[i].end && st.links == 1)
            (void)io->truncate(io->ctx, fd, e.files[i].end);
        io->close(io->ctx, fd);
    }
    bc_free(log->allocator, e.files);
}

void bc_log_pay_trim(struct bc_log *log)
{
    if (bc_unlikely(atomic_load(&log->trim_owed)) && atomic_exchange(&log->trim_owed, false))
        bc_log_trim_sealed(log);
}

int bc_log_seal(struct bc_log *log)
{
    bc_log_lock(log);
    struct bc_file *full = log->sealing;
    bc_log_unlock(log);
    struct bc_manifest edit;
    int result = bc_manifest_begin(log->manifest, 0, &edit);
    if (result != BITCASK_OK)
        return result;
    struct bc_manifest_file *listed = bc_manifest_find(&edit, full->name.id);
    listed->state = BC_MANIFEST_SEALED;
    listed->end = atomic_load(&full->end);
    listed->min_sequence = atomic_load(&full->min_sequence);
    listed->max_sequence = atomic_load(&full->max_sequence);
    result = bc_manifest_commit(log->manifest, &edit);
    if (result != BITCASK_OK)
        return result;
    bc_log_pay_trim(log);
    trim(log, full);
    bc_log_lock(log);
    log->sealing = NULL;
    atomic_store(&full->state, BC_FILE_SEALED);
    bc_log_unlock(log);
    atomic_store(&full->needs_hint, true);
    bc_filetable_hand_over(log->files, full);
    log->wake(log->wake_arg);
    return BITCASK_OK;
}

/* Extends the active file and brings its next pages in, ahead of the tail. How far ahead follows what has been appended since
 * the last sync: after each sync every prepared page would be written and fault again, so a store that syncs every write
 * prepares nothing. Under ahead, so the file is not trimmed meanwhile. */
static bool run_ahead_locked(struct bc_log *log)
{
    bc_log_lock(log);
    struct bc_file *f = log->active;
    uint64_t tail = log->tail, allocated = log->allocated, from = log->prepared_until, max = log->options.max_file_size;
    uint64_t flow = f == NULL ? 0 : tail - BC_MIN(log->unsynced_since, tail);
    bc_log_unlock(log);
    if (f == NULL)
        return false;
    const struct bc_io *io = log->dir->io;
    uint64_t space = BC_MIN(BC_MAX(tail, BC_LOG_FIRST_STEP), AHEAD_MAX);
    bool extended = false;
    if (allocated < max && allocated - BC_MIN(tail, allocated) < space / 2) {
        uint64_t step = BC_MIN(space, max - allocated);
        extended = io->allocate(io->ctx, bc_file_handle(f)->fd, allocated, step) == 0;
        if (extended)
            allocated += step;
    }
    from = BC_MAX(from, tail & ~4095ULL);
    uint64_t until = BC_MIN(allocated, tail + BC_MIN(flow, PREPARE_MAX));
    /* A large record may map the file anew meanwhile: the old mapping stays. */
    const struct bc_handle *h = bc_file_handle(f);
    char *map = h->map;
    bool prepared = false;
    /* The file may be allowed to grow farther than it was when it was mapped. */
    until = BC_MIN(until, h->map_size);
    if (map != NULL && until > from + PREPARE_CHUNK / 4) {
        until = BC_MIN(until, from + PREPARE_CHUNK) & ~4095ULL;
        prepared = io->populate(io->ctx, map + from, (size_t)(until - from)) == 0;
    }
    bc_log_lock(log);
    if (log->active == f) {
        log->allocated = BC_MAX(log->allocated, allocated);
        if (prepared)
            log->prepared_until = BC_MAX(log->prepared_until, until);
        bool caught_up = !extended && !prepared;
        log->wake_at = caught_up ? log->tail + BC_MIN(PREPARE_CHUNK, max / 8) : UINT64_MAX;
    }
    bc_log_unlock(log);
    return extended || prepared;
}

bool bc_log_run_ahead(struct bc_log *log)
{
    pthread_mutex_lock(&log->ahead);
    bool busy = run_ahead_locked(log);
    pthread_mutex_unlock(&log->ahead);
    return busy;
}

/* Of the active file. */
static bool sync_is_due(struct bc_log *log)
{
    const struct bc_io *io = log->dir->io;
    bc_log_lock(log);
    uint64_t unsynced = log->active == NULL ? 0 : log->tail - BC_MIN(log->unsynced_since, log->tail);
    bc_log_unlock(log);
    if (unsynced >= UNSYNCED_MAX)
        return true;
    if (log->options.sync_mode != BITCASK_SYNC_INTERVAL || unsynced == 0)
        return false;
    int64_t waited = io->monotonic_ms(io->ctx) - atomic_load(&log->last_sync_ms);
    return unsynced >= log->options.sync_bytes || waited >= (int64_t)log->options.sync_interval_ms;
}

bool bc_log_upkeep(struct bc_log *log)
{
    bc_health_tell(log->health);
    if (bc_health_poisoned(log->health))
        return false;
    bc_log_lock(log);
    bool next_due =
        log->active != NULL && log->next == NULL && log->sealing == NULL && log->tail >= log->options.max_file_size / 2;
    bool sealing = log->sealing != NULL;
    bc_log_unlock(log);
    if (next_due && bc_log_prepare_next(log) != BITCASK_OK) {
        bc_health_tell(log->health);
        bc_log_failure(log->health, BITCASK_LOG_WARN, "cannot prepare the next data file");
    }
    bool with_active = sync_is_due(log);
    if (!with_active && !sealing)
        return false;
    int result = bc_log_sync_now(log, with_active);
    if (result != BITCASK_OK)
        bc_log_failure(log->health, BITCASK_LOG_WARN, "background sync");
    return result == BITCASK_OK;
}

int64_t bc_log_upkeep_due(struct bc_log *log)
{
    if (log->options.sync_mode != BITCASK_SYNC_INTERVAL)
        return -1;
    return (int64_t)BC_MAX(log->options.sync_interval_ms, 1);
}

/* Unlists a file without an operation and drops it once that is durable. */
static struct bc_file *unlist_if_empty(struct bc_manifest *edit, struct bc_file *f)
{
    if (f == NULL || atomic_load(&f->max_sequence) != 0)
        return NULL;
    bc_manifest_remove(edit, f->name.id);
    return f;
}

/* Nothing was written, but at the open the disk was too full for a MANIFEST: there may be room now. */
static int settle_late(struct bc_log *log)
{
    struct bc_manifest edit;
    if (!atomic_load(&log->trim_owed) || bc_health_poisoned(log->health))
        return BITCASK_OK;
    int result = bc_manifest_begin(log->manifest, 0, &edit);
    if (result == BITCASK_OK)
        result = bc_manifest_commit(log->manifest, &edit);
    if (result == BITCASK_OK)
        bc_log_pay_trim(log);
    return result == BITCASK_NO_SPACE || result == BITCASK_NO_MEMORY ? BITCASK_OK : result;
}

int bc_log_close(struct bc_log *log)
{
    struct bc_file *active = log->active;
    if (active == NULL && log->next == NULL)
        return settle_late(log);
    if (bc_health_poisoned(log->health))
        return bc_health_refuse();
    int result = bc_log_sync_now(log, true);
    if (result != BITCASK_OK)
        return result;
    struct bc_manifest edit;
    result = bc_manifest_begin(log->manifest, 0, &edit);
    if (result != BITCASK_OK)
        return result;
    struct bc_file *drop[2] = {unlist_if_empty(&edit, log->next), unlist_if_empty(&edit, active)};
    if (active != NULL && drop[1] == NULL) {
        struct bc_manifest_file *listed = bc_manifest_find(&edit, active->name.id);
        listed->state = BC_MANIFEST_SEALED;
        listed->flags = BC_MANIFEST_CLEAN;
        listed->end = log->tail;
        listed->min_sequence = atomic_load(&active->min_sequence);
        listed->max_sequence = atomic_load(&active->max_sequence);
    }
    result = bc_manifest_commit(log->manifest, &edit);
    if (result != BITCASK_OK)
        return result;
    log->active = log->next = NULL;
    bc_log_pay_trim(log);
    for (size_t i = 0; i < BC_ARRAY_SIZE(drop); i++)
        if (drop[i] != NULL)
            bc_filetable_remove(log->files, drop[i]);
    if (active != NULL && drop[1] == NULL) {
        trim(log, active);
        atomic_store(&active->state, BC_FILE_SEALED);
        atomic_store(&active->needs_hint, true);
        bc_filetable_hand_over(log->files, active);
    }
    return BITCASK_OK;
}
