#include "bitcask/db.h"

#include <errno.h>
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/leftovers.h"
#include "bitcask/load.h"
#include "bitcask/refresh.h"

#define ATTEMPTS_BESIDE_A_WRITER 16U

int bc_db_refuse_forked(void)
{
    return bc_fail(BITCASK_FORKED, 0, NULL, 0,
                   "the handle was opened before a fork: only the parent can use it; here it can only be closed");
}

static int refuse(bitcask *db)
{
    unsigned call = bc_pins_call(db->pins);
    bc_health_tell(&db->health);
    bc_pins_return(db->pins, call);
    return bc_health_refuse();
}

int bc_db_writable(bitcask *db)
{
    if (bc_unlikely(bc_forked(&db->fork)))
        return bc_db_refuse_forked();
    if (bc_unlikely(db->read_only))
        return bc_fail(BITCASK_READ_ONLY, 0, NULL, 0, "the handle was opened with BITCASK_OPEN_READ_ONLY");
    if (bc_unlikely(bc_health_poisoned(&db->health)))
        return refuse(db);
    if (bc_likely(atomic_load_explicit(&db->upkeep_running, memory_order_acquire)))
        return BITCASK_OK;
    unsigned call = bc_pins_call(db->pins);
    pthread_mutex_lock(&db->starting);
    int result = BITCASK_OK;
    if (!atomic_load(&db->upkeep_running)) {
        result = bc_upkeep_start(&db->upkeep);
        atomic_store(&db->upkeep_running, result == BITCASK_OK);
    }
    pthread_mutex_unlock(&db->starting);
    bc_pins_return(db->pins, call);
    return result;
}

/* ---- open ---- */

/* What opening has done so far; undone in reverse by free_parts(). */
enum stage {
    STAGE_ALLOCATED,
    STAGE_DIRECTORY,
    STAGE_PINS,
    STAGE_KEYDIR,
    STAGE_FILES,
    STAGE_MANIFEST,
    STAGE_LOG,
    STAGE_MERGER,
    STAGE_UPKEEP
};

struct opening {
    bitcask *db;
    const struct bc_environment *environment;
    struct bc_manifest manifest;
    struct bc_recovery recovery;
    bool created;
    enum stage stage;
};

static void free_parts(struct opening *o)
{
    bitcask *db = o->db;
    /* In a forked child the threads that wait on these locks are gone without having left: destroying them would wait for ever.
     */
    bool forked = o->stage >= STAGE_DIRECTORY && bc_forked(&db->fork);
    if (o->stage >= STAGE_UPKEEP) {
        bc_keydir_set_wake(db->keydir, NULL, NULL); /* what the KeyDir gives back below would wake it */
        if (!forked)
            bc_upkeep_free(&db->upkeep);
    }
    if (o->stage >= STAGE_MERGER)
        bc_merger_free(&db->merger);
    if (o->stage >= STAGE_LOG && !forked)
        bc_log_free(&db->log);
    if (o->stage >= STAGE_MANIFEST)
        bc_manifest_keeper_free(&db->manifest);
    else
        bc_manifest_free(&db->allocator, &o->manifest);
    if (o->stage >= STAGE_FILES)
        bc_filetable_free(&db->files, forked);
    if (o->stage >= STAGE_KEYDIR)
        bc_keydir_free(db->keydir);
    if (o->stage >= STAGE_PINS)
        bc_pins_free(db->pins);
    if (o->stage >= STAGE_DIRECTORY) {
        bc_fork_unwatch(&db->fork);
        bc_directory_close(&db->dir);
    }
    pthread_mutex_destroy(&db->starting);
    bitcask_allocator allocator = db->allocator;
    bc_free(&allocator, db->path);
    bc_free(&allocator, db);
}

static int no_memory(void)
{
    return bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to open the store");
}

static int no_store(const bitcask *db)
{
    return bc_fail(BITCASK_NOT_FOUND, ENOENT, BC_MANIFEST_NAME, 0, "%s: there is no store", db->path);
}

static int new_manifest(struct opening *o)
{
    const struct bc_io *io = o->db->io;
    int error = io->random(io->ctx, &o->manifest.store, sizeof o->manifest.store);
    if (error != 0)
        return bc_fail_io(error, NULL, "no random bytes");
    o->manifest.next_id = 1;
    o->manifest.ceiling = 1;
    o->created = true;
    return BITCASK_OK;
}

static int read_manifest(struct opening *o)
{
    bitcask *db = o->db;
    int damaged_copies = 0;
    int result = bc_manifest_read(&db->dir, &db->allocator, &o->manifest, &damaged_copies);
    if (result == BITCASK_OK && (db->options.flags & BITCASK_OPEN_EXCLUSIVE) != 0)
        return bc_fail(BITCASK_CONDITION, EEXIST, BC_MANIFEST_NAME, 0, "%s: a store is there already", db->path);
    if (result == BITCASK_OK && damaged_copies > 0)
        bc_log_line(&db->health, BITCASK_LOG_WARN, "%s: one of its two copies is damaged", BC_MANIFEST_NAME);
    if (result != BITCASK_NOT_FOUND)
        return result;
    result = bc_leftovers_check_new(&db->dir);
    if (result != BITCASK_OK)
        return result;
    if (db->read_only || (db->options.flags & BITCASK_OPEN_NO_CREATE) != 0)
        return no_store(db);
    return new_manifest(o);
}

static int add_files(struct opening *o)
{
    bitcask *db = o->db;
    for (size_t i = 0; i < o->manifest.count; i++) {
        struct bc_file *f;
        int result = bc_filetable_add(&db->files, &o->manifest.files[i], BC_FILE_SEALED, NULL, &f);
        if (result != BITCASK_OK)
            return result;
        /* A writer trims and extends the files that it has open: they are not mapped beside it. */
        for (size_t k = 0; k < o->recovery.open_count; k++)
            f->by_descriptor = f->by_descriptor || (db->read_only && f->name.id == o->recovery.open[k]);
    }
    return BITCASK_OK;
}

static int make_parts(struct opening *o)
{
    bitcask *db = o->db;
    const struct bc_io *io = db->io;
    struct bc_hash_secret secret;
    int error = io->random(io->ctx, &secret, sizeof secret);
    if (error != 0)
        return bc_fail_io(error, NULL, "no random bytes");
    db->pins = bc_pins_new(&db->allocator, io);
    if (db->pins == NULL)
        return no_memory();
    o->stage = STAGE_PINS;
    db->keydir = bc_keydir_new(&db->allocator, io, db->pins, db->options.keydir_shards, &secret);
    if (db->keydir == NULL)
        return no_memory();
    o->stage = STAGE_KEYDIR;
    /* A read-only handle keeps every file open: a writer may merge it away at any time. */
    uint32_t budget = db->read_only ? UINT32_MAX : db->options.max_open_files;
    bool mapped = (db->options.flags & BITCASK_OPEN_NO_MMAP) == 0;
    int result =
        bc_filetable_init(&db->files, &db->dir, &db->allocator, db->pins, db->keydir, &o->manifest.store, mapped, budget);
    if (result == BITCASK_OK)
        o->stage = STAGE_FILES;
    db->files.salvage = (db->options.flags & BITCASK_OPEN_SALVAGE) != 0;
    db->files.borrowed = db->read_only;
    db->files.guarded = (db->options.flags & BITCASK_OPEN_GUARD_SIGBUS) != 0;
    return result;
}

unsigned bc_db_load_threads(const bitcask *db, bool inlined)
{
    if (inlined)
        return 1;
    return db->options.load_threads != 0 ? db->options.load_threads : BC_MIN(db->io->processors(db->io->ctx), 8U);
}

static int load_all(struct opening *o)
{
    bitcask *db = o->db;
    uint64_t highest = 0;
    int result = bc_leftovers_check(&db->dir, &db->allocator, &o->manifest, &highest);
    bool salvage = (db->options.flags & BITCASK_OPEN_SALVAGE) != 0;
    if (salvage) {
        result = BITCASK_OK;
        bc_recover_nothing(&db->dir, &o->manifest);
    }
    if (result == BITCASK_OK && !salvage)
        result = bc_recover(&db->dir, &db->allocator, &db->health, db->read_only, &o->manifest, &o->recovery);
    if (result == BITCASK_OK)
        result = make_parts(o);
    if (result == BITCASK_OK)
        result = add_files(o);
    if (result != BITCASK_OK)
        return result;
    db->log.next_file_id = BC_MAX(o->manifest.next_id, highest + 1);
    bc_refresh_begin(db, &o->manifest, &o->recovery);
    struct bc_load load = {.dir = &db->dir,
                           .allocator = &db->allocator,
                           .files = &db->files,
                           .keydir = db->keydir,
                           .health = &db->health,
                           .ceiling = o->manifest.ceiling,
                           .threads = bc_db_load_threads(db, o->environment->inlined),
                           .salvage = db->files.salvage,
                           .progress = db->options.progress,
                           .progress_ctx = db->options.progress_ctx};
    return bc_load(&load);
}

/* The ends that recovery found become facts. A full disk does not bar reading: the MANIFEST is then written with the first
 * write that finds room. */
static int settle(struct opening *o)
{
    bitcask *db = o->db;
    bool durable = true;
    /* A directory without a MANIFEST may be as new as the store: its own name first. */
    int error = o->created ? db->io->dir_sync_parent(db->io->ctx, db->dir.fd) : 0;
    if (error != 0)
        return bc_fail_io(error, db->path, "cannot sync the directory's parent");
    if (o->recovery.changed || o->created) {
        struct bc_manifest edit;
        int result = bc_manifest_begin(&db->manifest, 0, &edit);
        if (result == BITCASK_OK)
            result = bc_manifest_commit(&db->manifest, &edit);
        if (result == BITCASK_NO_SPACE && !o->created)
            bc_log_failure(&db->health, BITCASK_LOG_WARN, "no room for a new MANIFEST");
        else if (result != BITCASK_OK)
            return result == BITCASK_POISONED ? BITCASK_IO : result;
        durable = result == BITCASK_OK;
    }
    if (!durable) {
        atomic_store(&db->log.trim_owed, true);
        return BITCASK_OK;
    }
    /* After the MANIFEST that fixes the ends is durable: the space behind them goes back. */
    if (o->recovery.changed)
        bc_log_trim_sealed(&db->log);
    size_t gone = bc_leftovers_remove(&db->dir, &db->allocator, &db->manifest.current);
    if (gone > 0)
        bc_log_line(&db->health, BITCASK_LOG_INFO, "removed %zu left-over files", gone);
    return BITCASK_OK;
}

static int find_resumable(struct bc_file *f, void *arg)
{
    bitcask *db = arg;
    const struct bc_manifest_file *listed = bc_manifest_find(&db->manifest.current, f->name.id);
    bool resumable = listed != NULL && listed->kind == BC_DATA_KIND_LOG && (listed->flags & BC_MANIFEST_CLEAN) != 0;
    if (resumable && (db->log.resumable == NULL || db->log.resumable->name.id < f->name.id))
        db->log.resumable = f;
    return 0;
}

static int start_writing(struct opening *o)
{
    bitcask *db = o->db;
    uint64_t next_file_id = db->log.next_file_id, next_sequence = o->manifest.ceiling;
    int result =
        bc_manifest_keeper_init(&db->manifest, &db->dir, &db->allocator, &db->health, &db->log.next_sequence, &o->manifest);
    if (result != BITCASK_OK)
        return result;
    o->stage = STAGE_MANIFEST;
    result = bc_log_init(&db->log, &db->dir, &db->allocator, &db->files, &db->manifest, &db->health, &db->clock,
                         db->files.mapped && db->dir.maps_well);
    if (result != BITCASK_OK)
        return result;
    bc_log_configure(&db->log, &db->options);
    o->stage = STAGE_LOG;
    db->log.next_file_id = next_file_id;
    db->log.cleared_below = db->manifest.current.cleared_below;
    atomic_store(&db->log.next_sequence, next_sequence);
    db->log.durable = next_sequence - 1;
    db->log.wake = bc_upkeep_wake;
    db->log.wake_arg = &db->upkeep;
    result = bc_merger_init(&db->merger, &db->dir, &db->allocator, &db->files, db->keydir, &db->log, &db->manifest, &db->health,
                            &db->clock);
    if (result != BITCASK_OK)
        return result;
    o->stage = STAGE_MERGER;
    bc_merge_configure(&db->merger, &db->options);
    result = bc_upkeep_init(&db->upkeep, &db->log, db->keydir, &db->files, &db->merger, o->environment->inlined);
    if (result != BITCASK_OK)
        return result;
    o->stage = STAGE_UPKEEP;
    bc_keydir_set_wake(db->keydir, bc_upkeep_wake, &db->upkeep);
    if (db->read_only)
        return BITCASK_OK;
    result = settle(o);
    (void)bc_filetable_each(&db->files, find_resumable, db);
    return result;
}

static int open_directory(struct opening *o)
{
    bitcask *db = o->db;
    bool create = !db->read_only && (db->options.flags & BITCASK_OPEN_NO_CREATE) == 0;
    int result = bc_directory_open(&db->dir, db->io, db->path, create, db->options.file_mode);
    if (result != BITCASK_OK)
        return result;
    result = bc_fork_watch(&db->fork, &db->dir);
    if (result != BITCASK_OK) {
        bc_directory_close(&db->dir);
        return result;
    }
    o->stage = STAGE_DIRECTORY;
    if (db->read_only)
        return BITCASK_OK;
    /* Where there is no store and none is to be made, nothing is made: no LOCK file either. */
    if (!create && !bc_directory_has(&db->dir, BC_MANIFEST_NAME)) {
        result = bc_leftovers_check_new(&db->dir);
        return result != BITCASK_OK ? result : no_store(db);
    }
    return bc_directory_lock(&db->dir);
}

static int open_once(const char *path, const bitcask_options *options, const struct bc_environment *environment,
                     uint64_t *ret_generation, bitcask **ret_db)
{
    struct opening o = {.environment = environment};
    bitcask *db = bc_alloc_zero(options->allocator, 1, sizeof *db);
    char *copy = db == NULL ? NULL : bc_memdup(options->allocator, path, strlen(path) + 1);
    if (copy == NULL || pthread_mutex_init(&db->starting, NULL) != 0) {
        bc_free(options->allocator, copy);
        bc_free(options->allocator, db);
        return no_memory();
    }
    o.db = db;
    db->io = environment->io;
    db->allocator = *options->allocator;
    db->options = *options;
    db->options.allocator = &db->allocator;
    db->path = copy;
    db->read_only = (options->flags & BITCASK_OPEN_READ_ONLY) != 0;
    atomic_init(&db->sync_mode, options->sync_mode);
    db->health.log = options->log;
    db->health.log_ctx = options->log_ctx;
    bc_clock_init(&db->clock, db->io, options->clock, options->clock_ctx);
    int result = open_directory(&o);
    if (result == BITCASK_OK)
        result = read_manifest(&o);
    *ret_generation = o.manifest.generation;
    if (result == BITCASK_OK)
        result = load_all(&o);
    if (result == BITCASK_OK)
        result = start_writing(&o);
    bc_health_tell(&db->health);
    if (result != BITCASK_OK) {
        free_parts(&o);
        return result;
    }
    *ret_db = db;
    return BITCASK_OK;
}

int bc_db_open(const char *path, const bitcask_options *given, const struct bc_environment *environment, bitcask **ret_db)
{
    bitcask_options options;
    if (path == NULL || path[0] == '\0')
        return bc_fail(BITCASK_INVALID, 0, NULL, 0, "no directory was named");
    int result = bc_options_resolve(given, &options);
    if (result != BITCASK_OK)
        return result;
    uint64_t generation = 0, before;
    bool beside_a_writer = (options.flags & BITCASK_OPEN_READ_ONLY) != 0;
    /* A writer may replace files while they are being read: if the MANIFEST moved on meanwhile, what went wrong says nothing.
     */
    for (unsigned attempt = 0; attempt < ATTEMPTS_BESIDE_A_WRITER; attempt++) {
        before = generation;
        result = open_once(path, &options, environment, &generation, ret_db);
        if (result == BITCASK_OK || !beside_a_writer || (result != BITCASK_CORRUPT && result != BITCASK_IO))
            return result;
        if (attempt > 0 && generation == before)
            return result;
    }
    return bc_fail(BITCASK_BUSY, 0, NULL, 0, "%s: its writer changes files faster than they can be read; try again", path);
}

int bitcask_open(const char *path, const bitcask_options *options, bitcask **ret_db)
{
    const struct bc_environment environment = {.io = &bc_io_posix, .inlined = false};
    return bc_db_open(path, options, &environment, ret_db);
}

/* ---- close ---- */

/* Whether somebody is: under a pin, counted, or under wal, which is waited for: that is short. */
static bool is_inside(bitcask *db)
{
    bc_log_lock(&db->log);
    bool inside = bc_pins_busy(db->pins);
    bc_log_unlock(&db->log);
    return inside;
}

int bitcask_close(bitcask *db)
{
    if (db == NULL)
        return BITCASK_OK;
    int result = BITCASK_OK;
    if (atomic_load(&db->children) != 0)
        return bc_fail(BITCASK_BUSY, 0, NULL, 0, "%u snapshots and iterators are open on the handle: release them first",
                       atomic_load(&db->children));
    /* A child has none of the threads, nor their calls, and nothing of the store is his to write. */
    bool forked = bc_forked(&db->fork);
    if (!forked && is_inside(db))
        return bc_fail(BITCASK_BUSY, 0, NULL, 0, "a call is running on the handle, in another thread or below a callback");
    atomic_fetch_add(&db->merger.pace.interrupts, 1);
    if (!forked)
        bc_upkeep_stop(&db->upkeep);
    if (!db->read_only && !forked) {
        result = bc_log_close(&db->log);
        bc_health_tell(&db->health);
        /* Hints last: each is named only after its data file is durable and its end is fixed. */
        while (result == BITCASK_OK && bc_upkeep_hint(&db->upkeep, NULL)) {
        }
    }
    struct opening o = {.db = db, .stage = STAGE_UPKEEP};
    free_parts(&o);
    return result;
}
