#include "bitcask/log.h"

#include <errno.h>
#include <string.h>

#include "bitcask/error.h"

/* From this footprint on a record is written with one pwritev instead of being stored through the mapping: a fresh page costs a
 * fault, and the fault costs more than the call (docs/decisions/0002-write-path.md has the measurement). */
#define LARGE_RECORD 2048U

/* The last bytes of the active file's space are for deletes alone, so that they work on a disk that became full: about a
 * thousand of them. Small files have none to spare. */
#define DELETE_RESERVE_MAX (64ULL << 10)
#define DELETE_RESERVE_SHARE 64U
#define DELETE_RESERVE_FROM (1ULL << 20)

#define STEP_MIN (1ULL << 20)
#define STEP_MAX (64ULL << 20)

int bc_log_init(struct bc_log *log, const struct bc_directory *dir, const bitcask_allocator *a, struct bc_filetable *files,
                struct bc_manifest_keeper *manifest, struct bc_health *health, struct bc_clock *clock, bool mapped)
{
    memset(log, 0, sizeof *log);
    log->dir = dir;
    log->allocator = a;
    log->files = files;
    log->manifest = manifest;
    log->health = health;
    log->clock = clock;
    atomic_init(&log->mapped, mapped);
    log->fd = -1;
    if (pthread_mutex_init(&log->wal, NULL) != 0 || pthread_mutex_init(&log->making, NULL) != 0 ||
        pthread_mutex_init(&log->ahead, NULL) != 0 || pthread_mutex_init(&log->sync, NULL) != 0 ||
        pthread_cond_init(&log->resumed, NULL) != 0 || pthread_cond_init(&log->turn[0], NULL) != 0 ||
        pthread_cond_init(&log->turn[1], NULL) != 0)
        return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "cannot make a lock");
    return BITCASK_OK;
}

void bc_log_configure(struct bc_log *log, const bitcask_options *o)
{
    atomic_store(&log->options.max_file_size, o->max_file_size);
    atomic_store(&log->options.sync_mode, o->sync_mode);
    atomic_store(&log->options.sync_interval_ms, o->sync_interval_ms);
    atomic_store(&log->options.sync_bytes, o->sync_bytes);
}

void bc_log_free(struct bc_log *log)
{
    pthread_mutex_destroy(&log->wal);
    pthread_mutex_destroy(&log->making);
    pthread_mutex_destroy(&log->ahead);
    pthread_mutex_destroy(&log->sync);
    pthread_cond_destroy(&log->resumed);
    pthread_cond_destroy(&log->turn[0]);
    pthread_cond_destroy(&log->turn[1]);
}

void bc_log_lock(struct bc_log *log)
{
    pthread_mutex_lock(&log->wal);
}

bool bc_log_try_lock(struct bc_log *log)
{
    return pthread_mutex_trylock(&log->wal) == 0;
}

void bc_log_lock_settled(struct bc_log *log)
{
    bc_log_lock(log);
    while (log->held)
        pthread_cond_wait(&log->resumed, &log->wal);
}

void bc_log_unlock(struct bc_log *log)
{
    pthread_mutex_unlock(&log->wal);
}

uint64_t bc_log_appended(struct bc_log *log)
{
    bc_log_lock(log);
    uint64_t bytes = log->appended;
    bc_log_unlock(log);
    return bytes;
}

static int fail_on_active(const struct bc_log *log, int error, const char *what)
{
    char name[BC_NAME_SIZE];
    bc_data_name(name, log->active->name.id);
    return bc_fail_io(error, name, what);
}

static uint64_t kept_free(const struct bc_log *log, unsigned how)
{
    uint64_t max = log->options.max_file_size;
    if ((how & BC_RESERVE_DELETE) != 0 || max < DELETE_RESERVE_FROM)
        return 0;
    return BC_MIN(DELETE_RESERVE_MAX, max / DELETE_RESERVE_SHARE);
}

/* Under wal. The upkeep extends ahead of the tail; a writer that outran it, or whose record is larger than a step, does it. */
static int extend(struct bc_log *log, uint64_t until, unsigned how)
{
    uint64_t max = log->options.max_file_size;
    until = BC_MAX(until, BC_MIN(until + kept_free(log, how), max));
    if (until <= log->allocated)
        return BITCASK_OK;
    const struct bc_io *io = log->dir->io;
    uint64_t step = BC_MIN(BC_MAX(log->tail, STEP_MIN), STEP_MAX);
    uint64_t end = BC_MAX(bc_align_up(until, STEP_MIN), log->allocated + step);
    end = BC_MAX(BC_MIN(end, max), bc_align_up(until, 4096));
    int error = io->allocate(io->ctx, log->fd, log->allocated, end - log->allocated);
    if (error == EOPNOTSUPP && log->map == NULL) {
        log->allocated = end; /* plain writes extend the file as they go */
        return BITCASK_OK;
    }
    /* A large step may not fit where the record alone would. */
    if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
        end = bc_align_up(until, 4096);
        error = io->allocate(io->ctx, log->fd, log->allocated, end - log->allocated);
    }
    if (error != 0)
        return fail_on_active(log, error, "cannot extend");
    log->allocated = end;
    return BITCASK_OK;
}

/* The file that a fresh large record goes into must be mapped as far as the record reaches. */
static int cover(struct bc_log *log, uint64_t until)
{
    if (log->map == NULL || until <= bc_file_handle(log->active)->map_size)
        return BITCASK_OK;
    /* As far as it may grow: the limit was raised since it was mapped. */
    uint64_t max = log->options.max_file_size;
    int result = bc_filetable_remap(log->files, log->active, (size_t)bc_align_up(BC_MAX(until, max), 4096));
    if (result == BITCASK_OK) {
        log->map = bc_file_handle(log->active)->map;
        log->fault = &bc_file_handle(log->active)->fault;
    }
    return result;
}

/* A file takes what fits below its limit; an empty one takes anything. */
static bool fits(const struct bc_log *log, uint64_t bytes, unsigned how)
{
    bool empty = atomic_load_explicit(&log->active->max_sequence, memory_order_relaxed) == 0;
    return empty || log->tail + bytes + kept_free(log, how) <= log->options.max_file_size;
}

/* What reserve() must wait for with wal released. */
static int wait_for_files(struct bc_log *log, bool no_active, bool sealing, bool no_next)
{
    if (no_active)
        return bc_log_start(log);
    if (sealing)
        return bc_log_sync_now(log, false);
    return no_next ? bc_log_prepare_next(log) : BITCASK_OK;
}

/* A MANIFEST with a higher ceiling. */
static int raise_ceiling(struct bc_log *log)
{
    struct bc_manifest edit;
    int result = bc_manifest_begin(log->manifest, 0, &edit);
    return result == BITCASK_OK ? bc_manifest_commit(log->manifest, &edit) : result;
}

/* Releases wal; while it is not held the caller is seen by his count. */
static int wait_or_make(struct bc_log *log, bool ceiling)
{
    bool no_active = log->active == NULL, sealing = log->sealing != NULL, no_next = log->next == NULL;
    unsigned call = bc_pins_call(log->files->pins);
    bc_log_unlock(log);
    int result = ceiling ? raise_ceiling(log) : wait_for_files(log, no_active, sealing, no_next);
    bc_log_lock(log);
    bc_pins_return(log->files->pins, call);
    return result;
}

int bc_log_reserve(struct bc_log *log, uint64_t bytes, uint64_t count, unsigned how)
{
    for (;;) {
        if (bc_health_poisoned(log->health))
            return bc_health_refuse();
        if (bc_unlikely(log->held)) {
            unsigned call = bc_pins_call(log->files->pins);
            pthread_cond_wait(&log->resumed, &log->wal);
            bc_pins_return(log->files->pins, call);
            continue;
        }
        int result = BITCASK_OK;
        /* One more for the link of a rotation. */
        if (bc_unlikely(bc_log_sequence(log) + count + 1 >=
                        atomic_load_explicit(&log->manifest->ceiling, memory_order_acquire))) {
            result = wait_or_make(log, true);
        } else if (log->active != NULL && fits(log, bytes, how) && ((how & BC_RESERVE_SYNC) == 0 || log->sealing == NULL)) {
            result = extend(log, log->tail + bytes, how);
            return result == BITCASK_OK ? cover(log, log->tail + bytes) : result;
        } else if (log->active != NULL && log->sealing == NULL && log->next != NULL) {
            result = bc_log_rotate(log);
        } else {
            result = wait_or_make(log, false);
        }
        if (result != BITCASK_OK)
            return result;
    }
}

static int place_by_write(struct bc_log *log, uint64_t offset, const struct bc_record *r, uint32_t seed, const void *key,
                          const void *value)
{
    static const char zeros[4096];
    char head[BC_RECORD_HEADER + BC_RECORD_EXPIRY];
    uint64_t footprint = bc_record_footprint(r);
    size_t head_size = bc_record_head_size(r);
    size_t padding = (size_t)(footprint - head_size - r->key_size - r->value_size);
    bc_record_encode(head, r, seed, key, value);
    struct bc_io_slice slices[4] = {{head, head_size}, {key, r->key_size}, {value, r->value_size}, {zeros, 0}};
    /* The padding of the largest record is larger than any buffer worth having; it is written in pieces behind the record. */
    slices[3].size = BC_MIN(padding, sizeof zeros);
    const struct bc_io *io = log->dir->io;
    int error = 0;
    uint64_t at = offset + footprint - padding + slices[3].size;
    for (size_t left = padding - slices[3].size; left > 0 && error == 0;) {
        struct bc_io_slice piece = {zeros, BC_MIN(left, sizeof zeros)};
        error = io->write(io->ctx, log->fd, at, &piece, 1);
        at += piece.size;
        left -= piece.size;
    }
    if (error == 0)
        error = io->write(io->ctx, log->fd, offset, slices, 4);
    return error == 0 ? BITCASK_OK : fail_on_active(log, error, "cannot write a record");
}

int bc_log_check_fault(struct bc_log *log, const struct bc_file *f)
{
    const struct bc_handle *h = bc_file_handle((struct bc_file *)(uintptr_t)f);
    /* Also in a smaller mapping that it had before. */
    while (h != NULL && atomic_load(&h->fault) == 0)
        h = h->older;
    if (h == NULL)
        return BITCASK_OK;
    char name[BC_NAME_SIZE];
    bc_data_name(name, f->name.id);
    if (!bc_health_poisoned(log->health))
        (void)bc_health_poison(log->health, EIO, name, "cannot store into the mapped file: it was cut, or its device failed");
    return bc_fail(
        BITCASK_IO, EIO, name, 0,
        "%s: was cut while it was mapped, or its device failed: what is durable of it is unknown; the handle refuses "
        "writes from now on",
        name);
}

int bc_log_place(struct bc_log *log, uint64_t offset, const struct bc_record *r, const void *key, const void *value)
{
    uint32_t seed = bc_record_seed(log->active->name.nonce, offset);
    uint64_t footprint = bc_record_footprint(r);
    if (log->map == NULL || footprint >= LARGE_RECORD)
        return place_by_write(log, offset, r, seed, key, value);
    char *dst = log->map + offset;
    char *dst_key = dst + bc_record_head_size(r);
    char *dst_value = dst_key + r->key_size;
    memcpy(dst_key, key, r->key_size);
    if (r->value_size != 0)
        memcpy(dst_value, value, r->value_size);
    char *end = dst_value + r->value_size;
    memset(end, 0, (size_t)(dst + footprint - end));
    /* The header last: until it is there, there is no record. */
    bc_record_encode(dst, r, seed, dst_key, dst_value);
    if (bc_unlikely(atomic_load_explicit(log->fault, memory_order_relaxed) != 0))
        return bc_log_check_fault(log, log->active);
    return BITCASK_OK;
}

void bc_log_advance(struct bc_log *log, uint64_t tail, uint64_t last)
{
    struct bc_file *f = log->active;
    if (atomic_load_explicit(&f->min_sequence, memory_order_relaxed) == 0)
        atomic_store_explicit(&f->min_sequence, bc_log_sequence(log), memory_order_relaxed);
    atomic_store_explicit(&f->max_sequence, last, memory_order_relaxed);
    atomic_store_explicit(&f->end, tail, memory_order_relaxed);
    atomic_store_explicit(&log->next_sequence, last + 1, memory_order_relaxed);
    log->appended += tail - log->tail;
    log->tail = tail;
    if (tail >= log->wake_at) {
        log->wake_at = UINT64_MAX; /* until the upkeep has looked */
        log->wake(log->wake_arg);
    }
}

void bc_log_roll_back(struct bc_log *log, uint64_t last)
{
    static const char zeros[BC_RECORD_HEADER];
    atomic_store_explicit(&log->next_sequence, last + 1, memory_order_relaxed);
    if (log->map != NULL) {
        memset(log->map + log->tail, 0, sizeof zeros);
        return;
    }
    const struct bc_io *io = log->dir->io;
    struct bc_io_slice slice = {zeros, sizeof zeros};
    int error = io->write(io->ctx, log->fd, log->tail, &slice, 1);
    if (error == 0)
        return;
    /* Nothing of it may come back at the next open: then the file must end here, or no one may rely on it. */
    error = io->truncate(io->ctx, log->fd, log->tail);
    if (error == 0) {
        log->allocated = log->tail;
        return;
    }
    char name[BC_NAME_SIZE];
    bc_data_name(name, log->active->name.id);
    (void)bc_health_poison(log->health, error, name, "cannot take back a failed write");
}
