/* recency.h - which keys were read of late: a bit for each of many hash values, set by readers. Eviction passes over the store
 * turn by turn; a key was read of late if it was in this turn or in the one before. Keys may share a bit: then one lives longer
 * than it should, and none shorter. Only a store with a size limit has one.
 *
 * Any thread notes; start, turn and has are for the holder of the merge lock, or for one thread before the others.
 */
#ifndef BC_RECENCY_H
#define BC_RECENCY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bitcask/attr.h"
#include "bitcask/io.h"

struct bc_recency {
    const struct bc_io *io;
    _Atomic(_Atomic uint64_t *) words; /* of this turn; NULL: nobody asks */
    _Atomic uint64_t *before;          /* of the turn before */
    uint64_t mask;                     /* of bit numbers; written before words */
};

void bc_recency_init(struct bc_recency *, const struct bc_io *);
void bc_recency_free(struct bc_recency *);
/* Starts noting, with about this many bits a turn; later calls change nothing. Without memory every key counts as not read. */
void bc_recency_start(struct bc_recency *, uint64_t bits);

static inline void bc_recency_note(struct bc_recency *r, uint64_t hash)
{
    _Atomic uint64_t *words = atomic_load_explicit(&r->words, memory_order_acquire);
    if (bc_likely(words == NULL))
        return;
    uint64_t bit = hash & r->mask;
    _Atomic uint64_t *word = &words[bit / 64];
    /* Most reads find it set: then the line stays shared. */
    if ((atomic_load_explicit(word, memory_order_relaxed) >> (bit % 64) & 1) == 0)
        atomic_fetch_or_explicit(word, UINT64_C(1) << (bit % 64), memory_order_relaxed);
}

bool bc_recency_has(const struct bc_recency *, uint64_t hash);
/* A new turn begins: what was read before the last one is forgotten. */
void bc_recency_turn(struct bc_recency *);

#endif
