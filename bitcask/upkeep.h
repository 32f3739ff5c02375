/* upkeep.h - the background threads of a handle that writes.
 *
 *   ahead   extends and prepares the active file, grows KeyDir shards: never waits for the disk longer than an extension takes
 *   log     makes the next data file, seals the full one, syncs by interval; closes what readers have left
 *   slow    writes hint files, at low priority
 *   merge   merges, evicts, sweeps expired keys, at low priority
 *
 * They start with the first write. All signals are blocked in them. Without threads (for tests that must replay exactly) the
 * same work runs inside bc_upkeep_inline().
 */
#ifndef BC_UPKEEP_H
#define BC_UPKEEP_H

#include "bitcask/keydir.h"
#include "bitcask/log.h"
#include "bitcask/merge_run.h"

enum bc_worker { BC_WORKER_AHEAD, BC_WORKER_LOG, BC_WORKER_SLOW, BC_WORKER_MERGE, BC_WORKERS };

struct bc_upkeep {
    struct bc_log *log;
    struct bc_keydir *keydir;
    struct bc_filetable *files;
    struct bc_merger *merger;
    bool inlined;
    pthread_mutex_t mutex; /* leaf */
    pthread_cond_t wake[BC_WORKERS];
    bool wanted[BC_WORKERS]; /* under mutex */
    bool stopping;           /* under mutex */
    unsigned started;        /* threads that run */
    pthread_t threads[BC_WORKERS];
    atomic_bool pending; /* inlined: something is wanted */
    struct bc_worker_arg {
        struct bc_upkeep *upkeep;
        enum bc_worker worker;
    } args[BC_WORKERS];
};

int bc_upkeep_init(struct bc_upkeep *, struct bc_log *, struct bc_keydir *, struct bc_filetable *, struct bc_merger *,
                   bool inlined) bc_must_check;
/* Starts the threads. OK, NO_MEMORY. */
int bc_upkeep_start(struct bc_upkeep *) bc_must_check;
/* Only signals: may be called under wal and shard locks. */
void bc_upkeep_wake(void *upkeep);
/* Runs what is wanted if there are no threads; no lock held. */
void bc_upkeep_inline(struct bc_upkeep *);
/* Ends the threads; each finishes what it has begun. */
void bc_upkeep_stop(struct bc_upkeep *);
void bc_upkeep_free(struct bc_upkeep *);

/* Writes the hint files that sealed files lack, one at most per call. Returns whether there was one to write; *ret_result (may
 * be NULL) what came of it. */
bool bc_upkeep_hint(struct bc_upkeep *, int *ret_result);

#endif
