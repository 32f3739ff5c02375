/* recency.h - which keys were read of late: a bit for each of many hash values, set by readers, cleared by eviction as it
 * passes. Keys may share a bit: then one lives a turn longer than it should. Only a store with a size limit has one. Any
 * thread.
 */
#ifndef BC_RECENCY_H
#define BC_RECENCY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bitcask/attr.h"
#include "bitcask/io.h"

struct bc_recency {
    const struct bc_io *io;
    _Atomic(_Atomic uint64_t *) words; /* NULL: nobody asks */
    uint64_t mask;                     /* of bit numbers; written before words */
};

void bc_recency_init(struct bc_recency *, const struct bc_io *);
void bc_recency_free(struct bc_recency *);
/* Starts noting, with about this many bits; later calls change nothing. Without memory every key counts as not read. */
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

/* Whether it was read since this was asked last. */
bool bc_recency_take(struct bc_recency *, uint64_t hash);

#endif
