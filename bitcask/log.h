/* log.h - the log: the active data file that every write is appended to, its rotation into the next file, and syncs.
 *
 * Lock: wal (mutex) orders appends and hands out sequences; held across no I/O that can wait, except the write of a large value
 * and the short extension of a file that ran out of prepared space.
 *
 * Files. At most two listed files are open: the active one with either its predecessor that is being sealed, or the prepared
 * next one. Rotation only switches pointers: the next file was made, listed and mapped before. The full file is then synced,
 * sealed in the MANIFEST and trimmed by whoever holds the sync token (the one thread that may sync log files); until that
 * MANIFEST is durable no sync in the next file is acknowledged or marked, and the next file does not rotate.
 *
 * Crash. A record is in the store when its header is; it is written last. A batch is in the store when its frame is; that is
 * written last. Nothing behind the tail ever counts: what a failed write left there has a sequence that is never handed out
 * again, and recovery ends a file at the first sequence that does not increase.
 */
#ifndef BC_LOG_H
#define BC_LOG_H

#include <pthread.h>
#include <stdatomic.h>

#include "bitcask/clock.h"
#include "bitcask/filetable.h"
#include "bitcask/format_record.h"
#include "bitcask/manifest.h"

/* Of bitcask_options; may change while the store is open. */
struct bc_log_options {
    _Atomic uint64_t max_file_size;
    _Atomic uint32_t sync_mode;
    _Atomic uint64_t sync_interval_ms, sync_bytes;
};

struct bc_log {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    struct bc_filetable *files;
    struct bc_manifest_keeper *manifest;
    struct bc_health *health;
    struct bc_clock *clock;
    struct bc_log_options options;
    atomic_bool mapped;      /* records are stored through a mapping of the active file; else written */
    void (*wake)(void *arg); /* there is something for bc_log_upkeep(); called under wal: only signals */
    void *wake_arg;

    pthread_mutex_t wal;
    pthread_cond_t resumed;        /* with wal: hold is over */
    struct bc_file *active;        /* under wal, as all up to next_sequence */
    struct bc_file *next;          /* prepared and listed, empty */
    struct bc_file *sealing;       /* full, not sealed in a durable MANIFEST yet */
    struct bc_file *resumable;     /* ended by a clean close: the first write may go on in it */
    char *map;                     /* of active; NULL where records are written */
    const _Atomic uint32_t *fault; /* of active's mapping */
    int fd;                        /* of active */
    uint64_t tail;                 /* where the next record goes */
    uint64_t appended;             /* bytes of records, since the log was started */
    uint64_t allocated;            /* no store at or beyond it */
    uint64_t prepared_until;       /* pages below it were brought in */
    uint64_t wake_at;              /* tail that wakes the upkeep */
    uint64_t unsynced_since;       /* tail at the last sync, of active */
    uint64_t next_file_id;         /* above every id seen or used */
    uint64_t cleared_below;        /* under making: of every file made from now on */
    atomic_bool trim_owed;         /* sealed files have space behind their ends, to go when a MANIFEST is durable */
    bool held;                     /* a clear is replacing the files: appends wait */
    _Atomic uint64_t next_sequence;

    pthread_mutex_t making; /* one thread makes a log file; held across that I/O; rank: left of manifest */
    pthread_mutex_t ahead;  /* one thread extends, prepares or trims a log file; rank: left of wal */

    pthread_mutex_t sync; /* leaf: the group-commit queue */
    pthread_cond_t turn[2];
    unsigned round;       /* under sync: waiters for round r wait on turn[r % 2] */
    bool syncing;         /* the sync token is taken */
    uint64_t durable;     /* every sequence up to it is durable */
    uint64_t sync_covers; /* what the running round will make durable */
    _Atomic int64_t last_sync_ms;
};

/* next_sequence: where this session starts. durable: all below it. */
int bc_log_init(struct bc_log *, const struct bc_directory *, const bitcask_allocator *, struct bc_filetable *,
                struct bc_manifest_keeper *, struct bc_health *, struct bc_clock *, bool mapped) bc_must_check;
void bc_log_configure(struct bc_log *, const bitcask_options *);
void bc_log_free(struct bc_log *);

/* ---- append: log.c ---- */

void bc_log_lock(struct bc_log *);
bool bc_log_try_lock(struct bc_log *);
/* The same when no clear is between its MANIFEST and the KeyDir. */
void bc_log_lock_settled(struct bc_log *);
void bc_log_unlock(struct bc_log *);

/* Under wal, which may be released and taken again inside (the call is then counted with the pins: log.c), so before anything
 * is looked up: makes sure that the next records (count of them, bytes in all) can be appended to the active file without a
 * failure that room could cause. for_sync: also that no sealing stands between them and their sync. OK, NO_SPACE, IO,
 * NO_MEMORY, POISONED. */
#define BC_RESERVE_SYNC 1U
#define BC_RESERVE_DELETE 2U /* may take the space that is kept for deletes on a full disk */
int bc_log_reserve(struct bc_log *, uint64_t bytes, uint64_t count, unsigned how) bc_must_check;

/* Under wal, after a reserve: puts a record at an offset at or behind the tail, without moving it. r->sequence is the caller's
 * choice from bc_log_sequence() on. Cannot fail where records go through the mapping; else OK, NO_SPACE, IO. */
int bc_log_place(struct bc_log *, uint64_t offset, const struct bc_record *r, const void *key, const void *value) bc_must_check;
/* Moves the tail: everything below it is in the store. last: the highest sequence placed. */
void bc_log_advance(struct bc_log *, uint64_t tail, uint64_t last);
/* After a failed place: no byte placed since the last advance can ever count, and no sequence up to last is used again. */
void bc_log_roll_back(struct bc_log *, uint64_t last);

static inline uint64_t bc_log_sequence(const struct bc_log *log)
{
    return atomic_load_explicit(&log->next_sequence, memory_order_relaxed);
}

/* ---- files: log_files.c, log_seal.c ---- */

/* No lock held. Makes an active file if there is none. */
int bc_log_start(struct bc_log *) bc_must_check;
/* Makes the next file if there is none. */
int bc_log_prepare_next(struct bc_log *) bc_must_check;
/* What a clear asks of the KeyDir's owner. */
struct bc_clear {
    int (*prepare)(void *arg); /* appends wait, nothing is decided: reserves what empty() needs. OK, or the clear's result */
    void (*empty)(void *arg);  /* under wal, the MANIFEST is durable: the KeyDir is emptied */
    void *arg;
};
/* Empties the store: one new file in place of all. Appends wait meanwhile. */
int bc_log_clear(struct bc_log *, const struct bc_clear *) bc_must_check;
uint64_t bc_log_appended(struct bc_log *); /* bytes of records since the log was started */
/* A name for a new data file, which no other file will have. OK, IO. */
int bc_log_new_name(struct bc_log *, struct bc_file_name *ret) bc_must_check;
/* Ends the active file before it is full, if it has an operation: on return it is sealed. */
int bc_log_roll(struct bc_log *) bc_must_check;
/* The file that the first write would go on in stays sealed for good. */
void bc_log_forget_resumable(struct bc_log *);
/* The same if it is this one. Returns whether the file is sealed: false if a write goes on in it already. */
bool bc_log_keep_sealed(struct bc_log *, struct bc_file *);
/* Under wal: switches to the prepared file. */
int bc_log_rotate(struct bc_log *) bc_must_check;
/* Holding the sync token (log_sync.c): the MANIFEST seals the full file, which was synced. */
int bc_log_seal(struct bc_log *) bc_must_check;
/* What a writer should not have to do, each for a background thread of its own, as the first may not wait for the disk: extends
 * the active file and brings its next pages in; makes the next file, seals the full one, syncs when the mode says so. Both
 * return whether there was anything to do. */
bool bc_log_run_ahead(struct bc_log *);
bool bc_log_upkeep(struct bc_log *);
/* Milliseconds until the upkeep has to be called without being woken; -1: never. */
int64_t bc_log_upkeep_due(struct bc_log *);
/* Gives the space behind the ends of sealed files back, which a durable MANIFEST has fixed. Under making, or holding the sync
 * token, or before anybody has the handle. */
void bc_log_trim_sealed(struct bc_log *);
/* The same if a full disk did not let it be done at the open. */
void bc_log_pay_trim(struct bc_log *);
/* No write is running or will come. Syncs, seals everything, lists the last file as cleanly ended, trims it. */
int bc_log_close(struct bc_log *) bc_must_check;

/* ---- sync: log_sync.c ---- */

/* Under wal, or holding the sync token: a fault below the mapping of a file that is written is as final as a failed sync, as
 * what was stored there went nowhere. OK, or IO: the handle is poisoned. */
int bc_log_check_fault(struct bc_log *, const struct bc_file *) bc_must_check;

/* Waits until every sequence up to this one is durable; concurrent callers share a sync. OK, IO (a sync failed: the outcome is
 * unknown, the handle is poisoned), POISONED (an earlier one did), NO_SPACE. */
int bc_log_sync(struct bc_log *, uint64_t sequence) bc_must_check;
/* One round of its own: seals the full file if there is one, and with_active syncs the active one. As bc_log_sync(). */
int bc_log_sync_now(struct bc_log *, bool with_active) bc_must_check;

#endif
