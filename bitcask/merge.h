/* merge.h - merge: live records of some sealed data files are written into one new file, and the old files go.
 *
 * A step takes some inputs, makes one output at most, and commits with one MANIFEST that lists the output and not the inputs.
 * Nothing leaves the disk on the word of something that is not durable, and no record leaves that another one would come back
 * for. docs/format.md, section 10, has the rules.
 *
 * Lock: merge, the leftmost: one merge, clear or backup at a time, held across all of its I/O. It is taken before the sync
 * token and before every other lock, and no callback but progress runs under it.
 *
 * Crash, between any two lines of a step: before its commit the output is a leftover and the inputs are the store; after it the
 * inputs are leftovers. Relocation in memory follows the commit and runs to its end; until then the inputs stay open, and no
 * other step begins.
 */
#ifndef BC_MERGE_H
#define BC_MERGE_H

#include "bitcask/filetable.h"
#include "bitcask/log.h"
#include "bitcask/merge_pace.h"
#include "bitcask/recency.h"

/* Inputs of one step; the header of the output names them. */
#define BC_MERGE_INPUTS_MAX BC_DATA_INPUTS_MAX

/* What steps did. */
struct bc_merge_done {
    uint64_t files_in, files_out;
    uint64_t bytes_in;   /* of the inputs, as they stood on disk */
    uint64_t bytes_read; /* less than that where a hint file told all */
    uint64_t bytes_out;
    uint64_t records; /* live ones that were copied */
    uint64_t tombstones_dropped, tombstones_kept;
    uint64_t expired, evicted;
};

/* Of bitcask_options (merge_run.h); UINT64_MAX: off. */
struct bc_merge_settings {
    _Atomic uint64_t frag_trigger, frag_threshold, dead_trigger, dead_threshold, small_file_threshold, max_merge_size;
    _Atomic uint64_t total_frag_trigger, max_file_size, check_interval_ms, window_start, window_end;
    _Atomic uint64_t max_bytes, max_keydir_bytes;
    atomic_bool automatic;
};

struct bc_merger {
    const struct bc_directory *dir;
    const bitcask_allocator *allocator;
    struct bc_filetable *files;
    struct bc_keydir *keydir;
    struct bc_log *log;
    struct bc_manifest_keeper *manifest;
    struct bc_health *health;
    struct bc_clock *clock;
    struct bc_merge_pace pace;
    struct bc_merge_settings settings;
    struct bc_recency recency;

    pthread_mutex_t mutex;        /* merge */
    _Atomic(const void *) holder; /* the mark of the thread that has it; NULL: none */
    /* Read by anybody, for statistics. */
    _Atomic uint64_t steps, failures, bytes_in, bytes_read, bytes_out, tombstones_dropped, expired, evicted;
    _Atomic uint64_t running_total, running_done; /* bytes of the inputs of the running step; 0: none */
    _Atomic uint64_t last_ms;                     /* how long the last step took */
    _Atomic int32_t last_result;
    _Atomic uint32_t last_reasons;
    /* The background thread's own. */
    int64_t next_look_ms, earliest_ms, next_sweep_ms, back_off_ms;
    uint64_t sweep_position, rolled_at, looks;
    uint64_t turn_ends; /* the last file id of this turn of evictions */
    uint64_t spared;    /* evictions in a row that won little */
    bool merciless;     /* this eviction spares nobody */
};

int bc_merger_init(struct bc_merger *, const struct bc_directory *, const bitcask_allocator *, struct bc_filetable *,
                   struct bc_keydir *, struct bc_log *, struct bc_manifest_keeper *, struct bc_health *,
                   struct bc_clock *) bc_must_check;
void bc_merger_free(struct bc_merger *);

/* Takes the merge lock. BUSY: this thread has it, and calls from within a progress callback. interrupt: a merge that runs is
 * ended first, at its next record. OK, BUSY. */
int bc_merger_lock(struct bc_merger *, bool interrupt) bc_must_check;
void bc_merger_unlock(struct bc_merger *);

/* One step. */
struct bc_merge_wish {
    struct bc_file **files; /* sealed, at most BC_MERGE_INPUTS_MAX */
    size_t count;
    uint32_t reasons; /* BITCASK_MERGE_BECAUSE_*: for statistics and log */
    bool thorough;    /* a tombstone's question is put to every older file, whatever that reads */
    bool evict;       /* what is alive in the inputs goes, too, unless recent() says that it was read of late */
    bool (*recent)(void *arg, uint64_t hash);
    void *recent_arg;
    bool (*go_on)(uint64_t done, uint64_t total, void *arg); /* NULL: yes. Bytes of the inputs; under the merge lock */
    void *go_on_arg;
};

/* Under the merge lock. Adds to *done what it did; it may have taken fewer files. OK; or nothing changed: CORRUPT (an input is
 * damaged: barred from automatic merges, and reported), IO, NO_SPACE, NO_MEMORY, CANCELLED, POISONED. */
int bc_merge_step(struct bc_merger *, const struct bc_merge_wish *, struct bc_merge_done *done) bc_must_check;

#endif
