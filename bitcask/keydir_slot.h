/* keydir_slot.h - the two words of a slot, and how they are read and written beside readers. Pure. */
#ifndef BC_KEYDIR_SLOT_H
#define BC_KEYDIR_SLOT_H

#include "bitcask/attr.h"

#include <stdatomic.h>

#define BC_TAG_BITS 29U
#define BC_TAG_MAX ((1U << BC_TAG_BITS) - 1)

/* head: tag 29 | flags 3 (BC_ENTRY_*) | key 32, its entry in the arena.
 * place: offset / 8 31 | file 17 | footprint code 16; 0 = the slot is empty. */
struct bc_slot {
    _Atomic uint64_t head;
    _Atomic uint64_t place;
};

static inline uint64_t bc_slot_head(uint32_t tag, uint32_t flags, uint32_t key)
{
    return (uint64_t)tag << 35 | (uint64_t)flags << 32 | key;
}

static inline uint32_t bc_head_tag(uint64_t head)
{
    return (uint32_t)(head >> 35);
}

static inline uint32_t bc_head_flags(uint64_t head)
{
    return (uint32_t)(head >> 32) & 7;
}

static inline uint32_t bc_head_key(uint64_t head)
{
    return (uint32_t)head;
}

struct bc_pair {
    uint64_t head, place;
};

/* The writer's own view. */
static inline struct bc_pair bc_slot_get(const struct bc_slot *slot)
{
    return (struct bc_pair){
        .head = atomic_load_explicit(&slot->head, memory_order_relaxed),
        .place = atomic_load_explicit(&slot->place, memory_order_relaxed),
    };
}

/* Release: who sees one of these words sees the version odd, if it was made so before, and the record at the place. The place
 * goes last, as it decides whether the slot is empty. */
static inline void bc_slot_set(struct bc_slot *slot, struct bc_pair pair)
{
    atomic_store_explicit(&slot->head, pair.head, memory_order_release);
    atomic_store_explicit(&slot->place, pair.place, memory_order_release);
}

static inline uint32_t bc_tag_home(uint32_t tag, uint32_t capacity)
{
    return (uint32_t)((uint64_t)tag * capacity >> BC_TAG_BITS);
}

/* Counters of which other threads may read an older value. */
static inline uint32_t bc_get32(const _Atomic uint32_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

static inline void bc_put32(_Atomic uint32_t *p, uint32_t value)
{
    atomic_store_explicit(p, value, memory_order_relaxed);
}

#endif
