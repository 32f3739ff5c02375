/* refresh.h - a read-only handle follows its writer: what is new is loaded into a KeyDir of its own, beside the handle's, and
 * then taken over in one step.
 *
 * Everything that can fail happens before that step. Lock: making (a read-only handle makes no files), across all of it.
 */
#ifndef BC_REFRESH_H
#define BC_REFRESH_H

#include "bitcask/db.h"
#include "bitcask/load.h"

/* At open: where the first refresh goes on from. */
void bc_refresh_begin(bitcask *, const struct bc_manifest *, const struct bc_recovery *);

/* What is new. */
struct bc_news {
    struct bc_keydir *keydir; /* the newest record of each key in what is new, tombstones among them; still loading */
    uint64_t seen;            /* of greater sequences the handle knows nothing; 0: it is to believe nothing it knows */
    bool *gone;               /* by index: files that leave the table */
    bool any_gone;
};

/* The handle's KeyDir and counters take the news over. Readers see all of it or nothing. OK, NO_MEMORY: nothing changed. */
int bc_refresh_apply(bitcask *, const struct bc_news *) bc_must_check;

#endif
