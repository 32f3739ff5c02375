#include "bitcask/recency.h"

#define BITS_MIN (1ULL << 16)
#define BITS_MAX (1ULL << 31)

void bc_recency_init(struct bc_recency *r, const struct bc_io *io)
{
    r->io = io;
    r->mask = 0;
    atomic_init(&r->words, NULL);
}

void bc_recency_free(struct bc_recency *r)
{
    _Atomic uint64_t *words = atomic_load(&r->words);
    if (words != NULL)
        r->io->memory_unmap(r->io->ctx, (void *)words, (size_t)((r->mask + 1) / 8));
}

void bc_recency_start(struct bc_recency *r, uint64_t bits)
{
    uint64_t size = BITS_MIN;
    if (atomic_load(&r->words) != NULL)
        return;
    while (size < bits && size < BITS_MAX)
        size *= 2;
    /* Zeros that take no memory before a key is read. */
    _Atomic uint64_t *words = r->io->memory_map(r->io->ctx, (size_t)(size / 8));
    r->mask = size - 1;
    atomic_store_explicit(&r->words, words, memory_order_release);
}

bool bc_recency_take(struct bc_recency *r, uint64_t hash)
{
    _Atomic uint64_t *words = atomic_load_explicit(&r->words, memory_order_acquire);
    if (words == NULL)
        return false;
    uint64_t bit = hash & r->mask, one = UINT64_C(1) << (bit % 64);
    return (atomic_fetch_and_explicit(&words[bit / 64], ~one, memory_order_relaxed) & one) != 0;
}
