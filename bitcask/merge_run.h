/* merge_run.h - what drives merge steps: all of the store on demand, what policy asks for in the background, eviction, and the
 * sweep of expired keys.
 */
#ifndef BC_MERGE_RUN_H
#define BC_MERGE_RUN_H

#include "bitcask/merge.h"
#include "bitcask/merge_policy.h"

/* Of bitcask_options; may change while the store is open. */
void bc_merge_configure(struct bc_merger *, const bitcask_options *);

/* What a run is asked for. */
struct bc_merge_order {
    bool by_policy;      /* what policy asks for now; else everything, to no dead byte and no tombstone */
    const uint64_t *ids; /* only these files; NULL: all */
    size_t id_count;
    bitcask_progress_fn progress; /* on the calling thread */
    void *progress_ctx;
};

/* Steps until nothing is left to do. Takes the merge lock. OK · BUSY · INVALID (ids: no sealed data file of the store has this
 * id) · CORRUPT (some file is damaged: it was left, the rest was merged) · IO · NO_SPACE · NO_MEMORY · CANCELLED · POISONED. */
int bc_merge_run(struct bc_merger *, const struct bc_merge_order *, struct bc_merge_done *done) bc_must_check;

struct bc_merge_policy bc_merge_policy_of(const struct bc_merger *);
/* The sealed files with the verdict of policy. *ret is the caller's (bc_free). file is valid while the merge lock or a pin is
 * held. OK, NO_MEMORY. */
int bc_merge_candidates(struct bc_merger *, struct bc_merge_candidate **ret, size_t *ret_count, struct bc_merge_totals *);

/* A bite of the sweep of expired keys, from *position on (0: the start). *ret_expired: how many there were. Returns whether the
 * end was reached. */
bool bc_merge_sweep(struct bc_merger *, uint64_t *position, uint64_t *ret_expired);

/* One pass of the background thread: a step at most. Returns whether another one is due at once. */
bool bc_merge_background(struct bc_merger *);
/* Milliseconds until the next pass without being woken; -1: never. */
int64_t bc_merge_background_due(const struct bc_merger *);

#endif
