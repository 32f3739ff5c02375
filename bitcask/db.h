/* db.h - the handle: what one open store consists of, and the order of its locks.
 *
 * Locks, taken from left to right only (a thread that holds one never takes one further left):
 *
 *   merge > sync token > making > manifest > ahead > main > wal > shard (ascending) > cache, sync, upkeep (leaves)
 *
 * merge, making, manifest and the sync token (log_sync.c) are the only ones held across I/O that can wait,
 * besides wal for the write of a large value. Readers take none of them.
 */
#ifndef BC_DB_H
#define BC_DB_H

#include "bitcask/clock.h"
#include "bitcask/filetable.h"
#include "bitcask/fork.h"
#include "bitcask/keydir.h"
#include "bitcask/log.h"
#include "bitcask/manifest.h"
#include "bitcask/merge_run.h"
#include "bitcask/options.h"
#include "bitcask/recover.h"
#include "bitcask/upkeep.h"

struct bitcask {
    const struct bc_io *io;
    bitcask_allocator allocator;
    bitcask_options options;
    char *path;
    bool read_only;
    _Atomic uint32_t sync_mode; /* of options, which change under starting */
    struct bc_health health;
    struct bc_clock clock;
    struct bc_directory dir;
    struct bc_fork_guard fork;
    struct bc_pins *pins;
    struct bc_filetable files;
    struct bc_keydir *keydir;
    struct bc_manifest_keeper manifest;
    struct bc_log log;
    struct bc_merger merger;
    struct bc_upkeep upkeep;
    atomic_bool upkeep_running;
    pthread_mutex_t starting;                /* one thread starts the upkeep, or changes options */
    struct bc_tail tails[BC_OPEN_FILES_MAX]; /* read-only; under making: how far the writer's open files were read */
    uint64_t seen;                           /* read-only; under making: no sequence above it was seen */
    _Atomic uint32_t children;               /* snapshots and iterators: close waits for none of them and refuses */
};

/* What tests replace: the I/O table, and threads (inlined: background work runs inside the calls, in a fixed order). */
struct bc_environment {
    const struct bc_io *io;
    bool inlined;
};

int bc_db_open(const char *path, const bitcask_options *options, const struct bc_environment *, bitcask **ret_db) bc_must_check;

/* A handle is good for a call: OK, FORKED. */
int bc_db_refuse_forked(void);
static inline int bc_db_usable(const bitcask *db)
{
    return bc_likely(!bc_forked(&db->fork)) ? BITCASK_OK : bc_db_refuse_forked();
}

/* A handle is good for a write: OK, FORKED, READ_ONLY, POISONED, NO_MEMORY (the background threads
 * cannot start). */
int bc_db_writable(bitcask *) bc_must_check;

static inline bool bc_db_syncs_always(const bitcask *db)
{
    return atomic_load_explicit(&db->sync_mode, memory_order_relaxed) == BITCASK_SYNC_ALWAYS;
}

/* How many threads load. inlined: of the environment. */
unsigned bc_db_load_threads(const bitcask *, bool inlined);

/* ---- read.c ---- */

/* One record as it lies in its file. key and value point into the mapping (valid inside the pin) or into owned. */
struct bc_found {
    struct bc_record record;
    const char *key, *value;
    struct bc_file *file;
    struct bc_handle *handle; /* that the bytes were reached through */
    struct bc_entry entry;
    uint32_t seed;
    void *owned; /* bc_found_release() frees it */
};

/* Inside a pin: finds a key's record and checks its head; the value is fetched but not checked (with_value), or not fetched. An
 * expired key is NOT_FOUND. OK, NOT_FOUND, CORRUPT, IO, NO_MEMORY. */
int bc_find(bitcask *, uint64_t hash, const void *key, size_t key_size, bool with_value, struct bc_found *ret) bc_must_check;
void bc_found_release(bitcask *, struct bc_found *);
/* After an attempt to read under a pin: whether to make another one, under the pin that *pin then is. Else the pin was left,
 * and the handle may be gone. Failing to open a file for want of descriptors is no error before the cache gave some back, and
 * bytes that a guarded fault made zeros are read again with a system call. */
bool bc_read_again_slowly(bitcask *, unsigned *pin, int result, unsigned attempt);
static inline bool bc_read_again(bitcask *db, unsigned *pin, int result, unsigned attempt)
{
    if (bc_unlikely(bc_filetable_reclaimable(&db->files) || result == BITCASK_IO || result == BITCASK_CORRUPT))
        return bc_read_again_slowly(db, pin, result, attempt);
    bc_pins_leave(db->pins, *pin);
    return false;
}
/* The end of a read that is not made again. */
static inline void bc_read_leave(bitcask *db, unsigned pin)
{
    (void)bc_read_again(db, &pin, BITCASK_OK, 0);
}
/* The record at a place where the KeyDir, or a snapshot of it, says that this key's is. As bc_find(), but never NOT_FOUND. */
int bc_find_at(bitcask *, const struct bc_entry *, const void *key, size_t key_size, bool with_value,
               struct bc_found *ret) bc_must_check;
/* The record's value is damaged: what to tell. */
int bc_found_corrupt(const struct bc_found *, const char *what);

/* ---- view.c ---- */

/* Inside the pin under which f was found, with its value; f is released. On OK the view keeps its bytes alive. OK, CORRUPT,
 * NO_MEMORY. */
int bc_view_make(bitcask *, struct bc_found *f, bitcask_view *ret) bc_must_check;

/* ---- snapshot.c ---- */

struct bitcask_snapshot {
    bitcask *db;
    uint64_t number;    /* of the KeyDir */
    uint64_t sequence;  /* of the last write that it shows */
    int64_t created_ms; /* expiry is judged by it */
};

/* ---- write.c ---- */

enum bc_condition { BC_ALWAYS, BC_IF_ABSENT, BC_IF_PRESENT, BC_IF_ENTRY };

struct bc_operation {
    uint8_t type; /* BC_RECORD_PUT or BC_RECORD_TOMBSTONE */
    const void *key;
    size_t key_size;
    const void *value;
    size_t value_size;
    int64_t expire_at_ms;
    bool keep_ttl;
    bool sync;
    enum bc_condition condition;
    uint64_t expected_file, expected_offset; /* IF_ENTRY: file id and place where the key must still stand */
    bool moved;                              /* set: it does not, look again */
};

/* Appends one record and publishes it. OK, NOT_FOUND (a tombstone for an absent key), CONDITION, and what the log says. */
int bc_apply(bitcask *, struct bc_operation *, uint64_t *ret_sequence) bc_must_check;

/* Under wal and the key's shard lock: the KeyDir and the counters learn of an appended record. */
void bc_publish(bitcask *, const struct bc_cursor *, const struct bc_operation *, const struct bc_entry *);

#endif
