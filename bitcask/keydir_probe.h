/* keydir_probe.h - the readers' short way into the KeyDir: inline, no lock, inside a pin. bc_keydir_lookup() is the long one.
 */
#ifndef BC_KEYDIR_PROBE_H
#define BC_KEYDIR_PROBE_H

#include "bitcask/keydir_shard.h"

enum bc_probe {
    BC_PROBE_ABSENT, /* no slot has the hash's tag */
    BC_PROBE_FIRST,  /* the first that has it; if its record has another key, ask bc_keydir_lookup() */
    BC_PROBE_AGAIN   /* a writer was in the way: ask bc_keydir_lookup() */
};

static inline enum bc_probe bc_keydir_probe(const struct bc_keydir *k, uint64_t hash, struct bc_entry *ret)
{
    struct bc_pair pair;
    if (bc_unlikely(!bc_table_probe_first(&bc_shard_of(k, hash)->table, bc_tag_of(hash), &pair)))
        return BC_PROBE_AGAIN;
    if (pair.place == 0)
        return BC_PROBE_ABSENT;
    *ret = bc_entry_decode(pair);
    return BC_PROBE_FIRST;
}

/* Starts the memory access that the probe will wait for. */
static inline void bc_keydir_prefetch_probe(const struct bc_keydir *k, uint64_t hash)
{
    const struct bc_table *t = &bc_shard_of(k, hash)->table;
    const struct bc_slot *slot = atomic_load_explicit(&t->slots, memory_order_relaxed);
    slot += bc_tag_home(bc_tag_of(hash), bc_get32(&t->capacity));
    __builtin_prefetch(slot);
    __builtin_prefetch(slot + BC_TABLE_AT_ONCE - 1);
}

#endif
