#include "bitcask/keydir_memory.h"

#define BLOCK_MIN 128U
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

void bc_memory_free(const struct bc_keydir_memory *m, void *ptr, uint64_t size)
{
    if (ptr == NULL)
        return;
    if (bc_memory_lazy(m, size))
        m->io->memory_unmap(m->io->ctx, ptr, size);
    else
        bc_free(m->allocator, ptr);
}

uint64_t bc_memory_held(const struct bc_keydir_memory *m, uint64_t size, uint64_t used)
{
    return bc_memory_lazy(m, size) ? bc_align_up(used, BC_MEMORY_PAGE) : size;
}
