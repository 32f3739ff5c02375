/* keydir_memory.h - blocks for the KeyDir's tables and arenas.
 *
 * From a page upwards they are mappings when the allocator is the default one: a table that grew gives its pages back instead
 * of leaving a hole in the heap, and pages that were never written cost nothing. Thread rule: as the allocator's.
 */
#ifndef BC_KEYDIR_MEMORY_H
#define BC_KEYDIR_MEMORY_H

#include "bitcask/alloc.h"
#include "bitcask/io.h"
#include "bitcask/keydir_pool.h"

#define BC_MEMORY_PAGE 4096U

struct bc_keydir_memory {
    const bitcask_allocator *allocator;
    const struct bc_io *io;
    bool maps;
    struct bc_pool *pool; /* NULL: none */
};

/* Mappings are counted by the system (vm.max_map_count): with more shards than 8192 all memory comes from the allocator. */
void bc_memory_init(struct bc_keydir_memory *, const bitcask_allocator *, const struct bc_io *, uint32_t shards);

/* The size that a block of at least size bytes should have: what lies between costs as much. */
uint64_t bc_memory_round(uint64_t size);

/* Zeros. NULL: no memory. size as rounded. */
void *bc_memory_new(const struct bc_keydir_memory *, uint64_t size) bc_must_check;
/* The same for a block that will be used up soon: in huge pages if it is large. */
void *bc_memory_new_dense(const struct bc_keydir_memory *, uint64_t size) bc_must_check;
void bc_memory_free(const struct bc_keydir_memory *, void *ptr, uint64_t size); /* NULL ok */
/* A larger block with what was in this one (NULL ok), behind which it is zeros. Both sizes as rounded. NULL: no memory, and ptr
 * stays valid. For lists that are large for a moment: what malloc is given back it may keep for the thread that had it. */
void *bc_memory_grow(const struct bc_keydir_memory *, void *ptr, uint64_t size, uint64_t larger) bc_must_check;

/* All of [from, from + size) of a block will be written soon: its pages come together. */
void bc_memory_populate(const struct bc_keydir_memory *, uint64_t block_size, void *from, uint64_t size);

/* Whether parts of such a block that nobody writes to cost nothing. */
bool bc_memory_lazy(const struct bc_keydir_memory *, uint64_t size);
/* How much of a block is held when its first used bytes have been written. */
uint64_t bc_memory_held(const struct bc_keydir_memory *, uint64_t size, uint64_t used);

#endif
