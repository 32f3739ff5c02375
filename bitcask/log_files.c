/* The first half of a log file's life: made, listed, active; and the clear, which replaces all of them by a new one. */
#include <errno.h>
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/log_internal.h"

static uint64_t first_step(const struct bc_log *log)
{
    uint64_t max = log->options.max_file_size;
    return BC_MIN(BC_LOG_FIRST_STEP, max);
}

int bc_log_new_name(struct bc_log *log, struct bc_file_name *ret)
{
    const struct bc_io *io = log->dir->io;
    int error = io->random(io->ctx, &ret->nonce, sizeof ret->nonce);
    if (error != 0)
        return bc_fail_io(error, NULL, "no random bytes");
    bc_log_lock(log);
    ret->id = log->next_file_id++;
    bc_log_unlock(log);
    return BITCASK_OK;
}

/* Makes a file, in the table but not listed. Under making. clears: the MANIFEST that will list it clears all before it. */
static int create(struct bc_log *log, bool clears, struct bc_file **ret)
{
    struct bc_data_header *h = bc_alloc_zero(log->allocator, 1, sizeof *h);
    if (h == NULL)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a data file");
    int result = bc_log_new_name(log, &h->name);
    h->store = log->files->store;
    h->created_ms = bc_clock_now(log->clock);
    h->kind = BC_DATA_KIND_LOG;
    h->cleared_below = clears ? h->name.id : log->cleared_below;
    struct bc_manifest_file listed = {
        .name = h->name, .state = BC_MANIFEST_OPEN, .kind = BC_DATA_KIND_LOG, .end = BC_DATA_START};
    int fd = -1;
    uint64_t size = 0;
    if (result == BITCASK_OK)
        result = bc_datafile_create(log->dir, h, first_step(log), &fd, &size);
    bc_free(log->allocator, h);
    if (result != BITCASK_OK)
        return result;
    const struct bc_io *io = log->dir->io;
    char name[BC_NAME_SIZE];
    bc_data_name(name, listed.name.id);
    void *map = NULL;
    size_t map_size = (size_t)log->options.max_file_size;
    /* Stores need space that was allocated; where the file system cannot, records are written. */
    if (log->mapped && size == BC_DATA_START)
        log->mapped = false;
    if (log->mapped) {
        int error = io->map(io->ctx, fd, map_size, true, &map);
        if (error != 0)
            result = bc_fail_io(error, name, "cannot map");
    }
    int error = 0;
    if (result == BITCASK_OK && (error = io->dir_sync(io->ctx, log->dir->fd)) != 0)
        result = bc_fail_io(error, name, "cannot sync the directory");
    struct bc_handle *handle = result == BITCASK_OK ? bc_filetable_new_handle(log->files, fd, map, map_size, true) : NULL;
    if (result == BITCASK_OK && handle == NULL)
        result = bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a data file");
    if (result == BITCASK_OK)
        result = bc_filetable_add(log->files, &listed, BC_FILE_PREPARED, handle, ret);
    if (result != BITCASK_OK) {
        if (handle != NULL) {
            bc_handle_unref(handle);
        } else {
            if (map != NULL)
                io->unmap(io->ctx, map, map_size);
            io->close(io->ctx, fd);
        }
        (void)io->unlink(io->ctx, log->dir->fd, name);
        return result;
    }
    (*ret)->mark_counter = 1;
    (*ret)->synced = BC_DATA_START;
    return BITCASK_OK;
}

/* A file that is made, listed in a durable MANIFEST, empty. Under making. */
static int create_listed(struct bc_log *log, struct bc_file **ret)
{
    struct bc_file *f;
    int result = create(log, false, &f);
    if (result != BITCASK_OK)
        return result;
    struct bc_manifest edit;
    result = bc_manifest_begin(log->manifest, 1, &edit);
    if (result == BITCASK_OK) {
        struct bc_manifest_file listed = {
            .name = f->name, .state = BC_MANIFEST_OPEN, .kind = BC_DATA_KIND_LOG, .end = BC_DATA_START};
        bc_manifest_add(&edit, &listed);
        result = bc_manifest_commit(log->manifest, &edit);
    }
    if (result != BITCASK_OK) {
        /* Poisoned: the disk may list it. It stays. */
        if (!bc_health_poisoned(log->health))
            bc_filetable_remove(log->files, f);
        return result;
    }
    *ret = f;
    return BITCASK_OK;
}

/* Under wal: appends go into f from tail on. */
static void activate(struct bc_log *log, struct bc_file *f, uint64_t tail, uint64_t allocated)
{
    atomic_store(&f->state, BC_FILE_ACTIVE);
    log->active = f;
    log->map = bc_file_handle(f)->map;
    log->fd = bc_file_handle(f)->fd;
    log->fault = &bc_file_handle(f)->fault;
    log->tail = tail;
    log->allocated = allocated;
    log->prepared_until = tail;
    log->unsynced_since = tail;
    log->wake_at = tail;
}

/* The first record of a log file says where the file before it ends. */
static int append_link(struct bc_log *log, const struct bc_link *link)
{
    char value[BC_LINK_VALUE];
    struct bc_record r = {.sequence = bc_log_sequence(log), .type = BC_RECORD_LINK, .value_size = BC_LINK_VALUE};
    bc_link_encode(value, link);
    int result = bc_log_place(log, log->tail, &r, "", value);
    if (result != BITCASK_OK) {
        bc_log_roll_back(log, r.sequence);
        return result;
    }
    uint64_t last = r.sequence;
    /* The link is no operation: the file stays empty in its own and everybody's eyes. */
    struct bc_file *f = log->active;
    bc_log_advance(log, log->tail + bc_record_footprint(&r), last);
    atomic_store(&f->min_sequence, 0);
    atomic_store(&f->max_sequence, 0);
    return BITCASK_OK;
}

/* A file to go on in, open and with space behind its end. */
struct resumed {
    struct bc_handle *handle;
    uint64_t end, allocated, mark_counter;
};

static bool map_for_more(struct bc_log *log, int fd, struct resumed *r)
{
    const struct bc_io *io = log->dir->io;
    size_t map_size = (size_t)log->options.max_file_size;
    uint64_t step = BC_MIN(BC_LOG_FIRST_STEP, map_size - r->end);
    void *map = NULL;
    int error = io->allocate(io->ctx, fd, r->end, step);
    r->allocated = r->end + (error == 0 ? step : 0);
    if (log->mapped && (error != 0 || io->map(io->ctx, fd, map_size, true, &map) != 0))
        return false;
    r->handle = bc_filetable_new_handle(log->files, fd, map, map_size, true);
    if (r->handle == NULL && map != NULL)
        io->unmap(io->ctx, map, map_size);
    return r->handle != NULL;
}

/* Opens it if it is as the clean close left it, far from full, and nobody else has a link to it. */
static bool open_for_more(struct bc_log *log, struct bc_file *f, struct resumed *ret)
{
    struct resumed r = {.end = atomic_load(&f->end)};
    struct bc_io_stat st;
    uint64_t offset;
    int fd;
    if (r.end >= log->options.max_file_size / 2 ||
        bc_datafile_open(log->dir, &log->files->store, &f->name, BC_IO_WRITE, &fd, &st) != BITCASK_OK)
        return false;
    bool good = st.links == 1 && st.size == r.end &&
                bc_datafile_mark_read(log->dir, fd, &f->name, &r.mark_counter, &offset) == BITCASK_OK &&
                map_for_more(log, fd, &r);
    if (!good) {
        log->dir->io->close(log->dir->io->ctx, fd);
        return false;
    }
    *ret = r;
    return true;
}

/* Goes on in the file that a clean close ended, after a durable MANIFEST lists it open with that end as its floor; behind that
 * nothing can fail. A file that does not serve is no error: a new one is made instead. */
static int resume(struct bc_log *log, struct bc_file *f, bool *ret_done)
{
    struct resumed r;
    struct bc_manifest edit;
    *ret_done = false;
    if (!open_for_more(log, f, &r))
        return BITCASK_OK;
    int result = bc_manifest_begin(log->manifest, 0, &edit);
    if (result == BITCASK_OK) {
        struct bc_manifest_file *listed = bc_manifest_find(&edit, f->name.id);
        listed->state = BC_MANIFEST_OPEN;
        listed->flags = 0;
        result = bc_manifest_commit(log->manifest, &edit);
    }
    if (result != BITCASK_OK) {
        bc_handle_unref(r.handle);
        return result;
    }
    bc_filetable_take_over(log->files, f, r.handle);
    f->mark_counter = r.mark_counter;
    f->synced = r.end;
    bc_log_lock(log);
    activate(log, f, r.end, r.allocated);
    bc_log_unlock(log);
    *ret_done = true;
    return BITCASK_OK;
}

static int last_log_file(struct bc_file *f, void *arg)
{
    struct bc_link *link = arg;
    if (f->kind == BC_DATA_KIND_LOG && f->name.id > link->id && atomic_load(&f->state) == BC_FILE_SEALED)
        *link = (struct bc_link){f->name.id, f->name.nonce, atomic_load(&f->end)};
    return 0;
}

int bc_log_start(struct bc_log *log)
{
    pthread_mutex_lock(&log->making);
    bc_log_lock(log);
    bool there = log->active != NULL;
    struct bc_file *resumable = log->resumable;
    /* A file that was listed before, whose link could not be written. */
    struct bc_file *f = there ? NULL : log->next;
    if (f != NULL)
        log->next = NULL;
    log->resumable = NULL;
    bc_log_unlock(log);
    int result = BITCASK_OK;
    if (!there && f == NULL && resumable != NULL)
        result = resume(log, resumable, &there);
    if (!there && f == NULL && result == BITCASK_OK)
        result = create_listed(log, &f);
    if (result == BITCASK_OK)
        bc_log_pay_trim(log);
    if (f != NULL && result == BITCASK_OK) {
        struct bc_link link = {0};
        (void)bc_filetable_each(log->files, last_log_file, &link);
        bc_log_lock(log);
        activate(log, f, BC_DATA_START, first_step(log));
        result = append_link(log, &link);
        if (result != BITCASK_OK) {
            /* Listed and empty: it serves as the next file. */
            log->active = NULL;
            log->next = f;
            atomic_store(&f->state, BC_FILE_PREPARED);
        }
        bc_log_unlock(log);
    }
    pthread_mutex_unlock(&log->making);
    return result;
}

int bc_log_prepare_next(struct bc_log *log)
{
    pthread_mutex_lock(&log->making);
    bc_log_lock(log);
    /* While the full file is not sealed a further one would be the third that is open. Nobody rotates without a next file, so
     * this holds until it is there. */
    bool wanted = log->next == NULL && log->active != NULL && log->sealing == NULL;
    bc_log_unlock(log);
    struct bc_file *f = NULL;
    int result = wanted ? create_listed(log, &f) : BITCASK_OK;
    if (f != NULL) {
        const struct bc_io *io = log->dir->io;
        char *map = bc_file_handle(f)->map;
        if (map != NULL)
            (void)io->populate(io->ctx, map, (size_t)first_step(log));
        bc_log_lock(log);
        log->next = f;
        bc_log_unlock(log);
    }
    pthread_mutex_unlock(&log->making);
    return result;
}

int bc_log_rotate(struct bc_log *log)
{
    struct bc_file *full = log->active;
    uint64_t end = log->tail, allocated = log->allocated, prepared = log->prepared_until, since = log->unsynced_since;
    struct bc_link link = {full->name.id, full->name.nonce, end};
    activate(log, log->next, BC_DATA_START, first_step(log));
    int result = append_link(log, &link);
    if (result != BITCASK_OK) {
        atomic_store(&log->next->state, BC_FILE_PREPARED);
        activate(log, full, end, allocated);
        log->prepared_until = prepared;
        log->unsynced_since = since;
        return result;
    }
    atomic_store(&full->state, BC_FILE_SEALING);
    log->sealing = full;
    log->next = NULL;
    log->wake(log->wake_arg);
    return BITCASK_OK;
}

int bc_log_roll(struct bc_log *log)
{
    for (;;) {
        bc_log_lock_settled(log);
        bool empty = log->active == NULL || atomic_load(&log->active->max_sequence) == 0;
        bool sealing = log->sealing != NULL, no_next = log->next == NULL;
        int result = BITCASK_OK;
        if (bc_health_poisoned(log->health))
            result = bc_health_refuse();
        else if (!empty && !sealing && !no_next)
            result = bc_log_rotate(log);
        bc_log_unlock(log);
        if (result != BITCASK_OK || (empty && !sealing))
            return result;
        if (sealing || !no_next)
            result = bc_log_sync_now(log, false);
        else
            result = bc_log_prepare_next(log);
        if (result != BITCASK_OK || (!sealing && !no_next))
            return result;
    }
}

void bc_log_forget_resumable(struct bc_log *log)
{
    pthread_mutex_lock(&log->making);
    bc_log_lock(log);
    log->resumable = NULL;
    bc_log_unlock(log);
    pthread_mutex_unlock(&log->making);
}

bool bc_log_keep_sealed(struct bc_log *log, struct bc_file *f)
{
    /* Who goes on in it holds making until it is active. */
    pthread_mutex_lock(&log->making);
    bc_log_lock(log);
    if (log->resumable == f)
        log->resumable = NULL;
    bool sealed = atomic_load(&f->state) == BC_FILE_SEALED;
    bc_log_unlock(log);
    pthread_mutex_unlock(&log->making);
    return sealed;
}

/* ---- clear ---- */

/* Under wal, with the new MANIFEST durable: from here on the store is the new file. */
static void switch_to(struct bc_log *log, struct bc_file *f)
{
    struct bc_link none = {0};
    log->next = log->sealing = log->resumable = NULL;
    activate(log, f, BC_DATA_START, first_step(log));
    if (append_link(log, &none) == BITCASK_OK)
        return;
    log->active = NULL;
    log->next = f;
    atomic_store(&f->state, BC_FILE_PREPARED);
}

struct others {
    struct bc_log *log;
    const struct bc_file *keep;
    struct bc_file *found;
};

static int another(struct bc_file *f, void *arg)
{
    struct others *o = arg;
    if (f == o->keep)
        return 0;
    o->found = f;
    return 1;
}

static void drop_others(struct bc_log *log, const struct bc_file *keep)
{
    struct others o = {log, keep, NULL};
    while (bc_filetable_each(log->files, another, &o) != 0)
        bc_filetable_remove(log->files, o.found);
}

static int list_alone(struct bc_log *log, const struct bc_file *f)
{
    struct bc_manifest edit;
    int result = bc_manifest_begin(log->manifest, 1, &edit);
    if (result != BITCASK_OK)
        return result;
    struct bc_manifest_file listed = {
        .name = f->name, .state = BC_MANIFEST_OPEN, .kind = BC_DATA_KIND_LOG, .end = BC_DATA_START};
    edit.count = 0;
    edit.cleared_below = f->name.id;
    bc_manifest_add(&edit, &listed);
    return bc_manifest_commit(log->manifest, &edit);
}

static void hold(struct bc_log *log, bool held)
{
    bc_log_lock(log);
    log->held = held;
    if (!held)
        pthread_cond_broadcast(&log->resumed);
    bc_log_unlock(log);
}

/* Holding the sync token, under making. Appends wait from before the MANIFEST is written until the KeyDir is empty: a crash
 * finds the old store whole or the new one, and no later put among old keys. */
static int clear_locked(struct bc_log *log, const struct bc_clear *clear, uint64_t *ret_durable)
{
    struct bc_file *f;
    int result = create(log, true, &f);
    if (result != BITCASK_OK)
        return result;
    hold(log, true);
    result = clear->prepare(clear->arg);
    if (result == BITCASK_OK)
        result = list_alone(log, f);
    if (result != BITCASK_OK) {
        if (!bc_health_poisoned(log->health))
            bc_filetable_remove(log->files, f);
        hold(log, false);
        return result;
    }
    log->cleared_below = f->name.id;
    pthread_mutex_lock(&log->ahead);
    bc_log_lock(log);
    switch_to(log, f);
    clear->empty(clear->arg);
    *ret_durable = bc_log_sequence(log) - 1;
    bc_log_unlock(log);
    pthread_mutex_unlock(&log->ahead);
    drop_others(log, f);
    hold(log, false);
    return BITCASK_OK;
}

int bc_log_clear(struct bc_log *log, const struct bc_clear *clear)
{
    bc_log_token_take(log);
    pthread_mutex_lock(&log->making);
    uint64_t durable = 0;
    int result = clear_locked(log, clear, &durable);
    pthread_mutex_unlock(&log->making);
    bc_log_token_give(log, durable);
    return result;
}
