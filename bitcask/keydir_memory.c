#include "bitcask/keydir_memory.h"

#include <string.h>

#define BLOCK_MIN 128U
#define POPULATE_MIN (16U << 10)
#define DENSE_MIN (16U << 20)
#define MAPPED_SHARDS_MAX 8192U

void bc_memory_init(struct bc_keydir_memory *m, const bitcask_allocator *allocator, const struct bc_io *io, uint32_t shards)
{
    m->allocator = allocator;
    m->io = io;
    m->pool = NULL;
    m->maps = allocator->resize == bc_allocator_default.resize && shards <= MAPPED_SHARDS_MAX;
}

uint64_t bc_memory_round(uint64_t size)
{
    if (size > BC_MEMORY_PAGE / 2)
        return bc_align_up(size, BC_MEMORY_PAGE);
    uint64_t rounded = BLOCK_MIN;
    while (rounded < size)
        rounded *= 2;
    return rounded;
}

bool bc_memory_lazy(const struct bc_keydir_memory *m, uint64_t size)
{
    return m->maps && size >= BC_MEMORY_PAGE;
}

void *bc_memory_new(const struct bc_keydir_memory *m, uint64_t size)
{
    if (bc_memory_lazy(m, size))
        return m->io->memory_map(m->io->ctx, size);
    return bc_alloc_zero(m->allocator, 1, size);
}

void *bc_memory_new_dense(const struct bc_keydir_memory *m, uint64_t size)
{
    void *block = m->maps && size >= DENSE_MIN ? m->io->memory_map_huge(m->io->ctx, size) : NULL;
    return block != NULL ? block : bc_memory_new(m, size);
}

void bc_memory_free(const struct bc_keydir_memory *m, void *ptr, uint64_t size)
{
    if (ptr == NULL)
        return;
    if (bc_memory_lazy(m, size))
        m->io->memory_unmap(m->io->ctx, ptr, size);
    else
        bc_free(m->allocator, ptr);
}

void *bc_memory_grow(const struct bc_keydir_memory *m, void *ptr, uint64_t size, uint64_t larger)
{
    void *block = bc_memory_new(m, larger);
    if (block == NULL)
        return NULL;
    if (ptr != NULL)
        memcpy(block, ptr, size);
    bc_memory_free(m, ptr, size);
    return block;
}

uint64_t bc_memory_held(const struct bc_keydir_memory *m, uint64_t size, uint64_t used)
{
    return bc_memory_lazy(m, size) ? bc_align_up(used, BC_MEMORY_PAGE) : size;
}

void bc_memory_populate(const struct bc_keydir_memory *m, uint64_t block_size, void *from, uint64_t size)
{
    if (bc_memory_lazy(m, block_size) && size >= POPULATE_MIN)
        (void)m->io->populate(m->io->ctx, from, size);
}
