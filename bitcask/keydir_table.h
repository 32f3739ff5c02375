/* keydir_table.h - the slots of one shard: ordered linear probing. No keys, no locks, no policy of growth.
 *
 * Slots stand in the order of their tags. A tag's home is its share of the capacity, tag * capacity / 2^29; a slot stands at
 * its home or behind it, with no empty slot between; nothing wraps around: behind the capacity stands a tail for what is pushed
 * over the end. So equal tags stand together, a probe ends at the first greater tag or empty slot, a removal closes its gap
 * (there are no deleted slots), and a larger table is filled in one pass that needs neither keys nor hashes. The last slot is
 * always empty: it ends every probe.
 *
 * Threads. Readers run without a lock beside one writer (the shard's mutex). All that both touch is atomic. The writer makes
 * the version odd before it moves slots, and even after; a reader that saw it odd, or changed, has seen nothing. A store to
 * one word (a new place for a key) needs no version. Whatever a reader meets in between, it ends at the last slot.
 */
#ifndef BC_KEYDIR_TABLE_H
#define BC_KEYDIR_TABLE_H

#include "bitcask/keydir_memory.h"
#include "bitcask/keydir_slot.h"

/* What stands in front of the slots of a block, a cache line, so that it can wait on a list until no reader holds it. */
struct bc_table_block {
    struct bc_table_block *next;
    uint64_t reserved;        /* bytes; a mapping has more than the table uses, so that it can grow where it is */
    uint64_t used;            /* bytes that were ever written */
    struct bc_region *region; /* of the pool; NULL: a mapping or a block of its own */
    uint32_t shard;           /* its place there */
};

/* One cache line. */
struct bc_table {
    _Atomic uint32_t version;
    _Atomic uint32_t capacity;
    _Atomic(struct bc_slot *) slots;
    _Atomic uint32_t physical; /* slots with the tail */
    _Atomic uint32_t count;
    _Atomic uint32_t room; /* this many insertions cannot fail */
    uint32_t extent;       /* behind the last slot in use, or later */
    struct bc_table_block *block;
    _Atomic(uint64_t *) sequences; /* parallel to the slots; NULL except while loading */
    uint64_t sequences_reserved;   /* bytes */
};

static inline uint64_t *bc_table_sequences(const struct bc_table *t)
{
    return atomic_load_explicit(&t->sequences, memory_order_relaxed);
}

/* The shape of a table to be built. */
struct bc_table_plan {
    uint32_t capacity, tail;
    uint32_t generation, shard; /* its place in the pool, if it fits there; generation 0: none */
};

/* Slots in use, at most: at 6/7 a failed probe looks at 4 slots and an insertion moves 25 on average, beyond both grow fast. */
static inline uint32_t bc_table_limit(uint32_t capacity)
{
    return capacity - capacity / 7;
}

/* Empty, without memory: one slot, shared, which stays empty. */
void bc_table_init(struct bc_table *, struct bc_slot *empty);

/* Gives the table a new shape: where it is, if its block has the space, else in a new one; the old block then goes to *ret_old
 * (else NULL), readers may be in it. At least room insertions fit afterwards, as far as the plan's limit allows for them.
 * false: no memory, nothing changed. */
bool bc_table_rebuild(struct bc_table *, const struct bc_keydir_memory *, struct bc_table_plan, uint32_t room,
                      struct bc_table_block **ret_old) bc_must_check;
/* As after init; the old block goes to *ret_old. */
void bc_table_reset(struct bc_table *, struct bc_slot *empty, struct bc_table_block **ret_old);
void bc_table_block_free(const struct bc_keydir_memory *, struct bc_table_block *); /* NULL ok */

/* The best use of the block that at least this many slots are rounded to, with a tail for room insertions. */
struct bc_table_plan bc_table_plan(uint64_t slots, uint32_t room);
uint64_t bc_table_plan_bytes(struct bc_table_plan);
uint64_t bc_table_bytes(const struct bc_table *); /* any thread */

/* Between begin and end each slot has a sequence, 0 at first. begin: false: no memory. */
bool bc_table_load_begin(struct bc_table *, const struct bc_keydir_memory *) bc_must_check;
/* Everything of the slots and sequences will be written soon. */
void bc_table_populate(const struct bc_table *, const struct bc_keydir_memory *);
void bc_table_load_end(struct bc_table *, const struct bc_keydir_memory *);

#define BC_TABLE_AT_ONCE 4U /* slots from its home on that a table has for every tag */

/* ---- readers ---- */

/* Stores the first max slots with this tag in ret and their number in *ret_count. false: a writer was in the way. */
bool bc_table_probe(const struct bc_table *, uint32_t tag, struct bc_pair *ret, unsigned max, unsigned *ret_count);

/* The first of them alone, which is the only one but for one key in some ten thousands: a place of 0 if there is none. Inline,
 * and without a branch that depends on where the slot stands: such a branch is guessed wrong half of the time, and then the
 * record's access, which could have begun, begins anew. */
static inline bool bc_table_probe_first(const struct bc_table *t, uint32_t tag, struct bc_pair *ret)
{
    uint32_t version = atomic_load_explicit(&t->version, memory_order_acquire);
    const struct bc_slot *slot = atomic_load_explicit(&t->slots, memory_order_acquire);
    uint32_t capacity = atomic_load_explicit(&t->capacity, memory_order_acquire);
    /* Before the first slot: a capacity of another table would point beyond this one. */
    if (bc_unlikely((version & 1) != 0 || bc_get32(&t->version) != version))
        return false;
    uint64_t least = bc_slot_head(tag, 0, 0);
    unsigned before = 0;
    slot += bc_tag_home(tag, capacity);
#pragma GCC unroll 4
    for (unsigned i = 0; i < BC_TABLE_AT_ONCE; i++) {
        uint64_t place = atomic_load_explicit(&slot[i].place, memory_order_acquire);
        uint64_t head = atomic_load_explicit(&slot[i].head, memory_order_acquire);
        before += (unsigned)(place != 0) & (unsigned)(head < least);
    }
    slot += before;
    struct bc_pair pair;
    for (;; slot++) {
        pair.place = atomic_load_explicit(&slot->place, memory_order_acquire);
        pair.head = atomic_load_explicit(&slot->head, memory_order_acquire);
        if (bc_likely((unsigned)(pair.place == 0) | (unsigned)(pair.head >= least)))
            break;
    }
    if (bc_unlikely(bc_get32(&t->version) != version))
        return false;
    pair.place = bc_head_tag(pair.head) == tag ? pair.place : 0;
    *ret = pair;
    return true;
}

/* Starts the memory accesses of a probe, or of what a load will do. */
void bc_table_prefetch(const struct bc_table *, uint32_t tag);

/* ---- the writer ---- */

/* Makes the version odd, unless it is: then somebody further out has done so and will make it even. */
bool bc_table_open(struct bc_table *);
void bc_table_close(struct bc_table *, bool opened); /* as open said */

uint32_t bc_table_first(const struct bc_table *, uint32_t tag); /* of this tag; where it would stand if there is none */
struct bc_pair bc_table_at(const struct bc_table *, uint32_t position);
/* A position is between first and the first slot with a greater tag. Needs room. */
void bc_table_insert(struct bc_table *, uint32_t position, struct bc_pair);
void bc_table_remove(struct bc_table *, uint32_t position);
void bc_table_set(struct bc_table *, uint32_t position, struct bc_pair); /* same tag */

/* ---- for keydir_rebuild.c ---- */

uint32_t bc_table_tail_room(uint32_t physical, uint32_t capacity, uint32_t extent);
void bc_table_set_room(struct bc_table *);

#endif
