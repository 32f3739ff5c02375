#include "bitcask/recency.h"

#define BITS_MIN (1ULL << 16)
#define BITS_MAX (1ULL << 31)

static size_t bytes(const struct bc_recency *r)
{
    return (size_t)((r->mask + 1) / 8);
}

void bc_recency_init(struct bc_recency *r, const struct bc_io *io)
{
    r->io = io;
    r->mask = 0;
    r->before = NULL;
    atomic_init(&r->words, NULL);
}

void bc_recency_free(struct bc_recency *r)
{
    _Atomic uint64_t *words = atomic_load(&r->words);
    if (words == NULL)
        return;
    r->io->memory_unmap(r->io->ctx, (void *)words, bytes(r));
    r->io->memory_unmap(r->io->ctx, (void *)r->before, bytes(r));
}

void bc_recency_start(struct bc_recency *r, uint64_t bits)
{
    uint64_t size = BITS_MIN;
    if (atomic_load(&r->words) != NULL)
        return;
    while (size < bits && size < BITS_MAX)
        size *= 2;
    r->mask = size - 1;
    /* Zeros that take no memory before a key is read. */
    _Atomic uint64_t *words = r->io->memory_map(r->io->ctx, bytes(r));
    r->before = words == NULL ? NULL : r->io->memory_map(r->io->ctx, bytes(r));
    if (r->before != NULL)
        atomic_store_explicit(&r->words, words, memory_order_release);
    else if (words != NULL)
        r->io->memory_unmap(r->io->ctx, (void *)words, bytes(r));
}

static bool has(const _Atomic uint64_t *words, uint64_t bit)
{
    return (atomic_load_explicit(&words[bit / 64], memory_order_relaxed) >> (bit % 64) & 1) != 0;
}

bool bc_recency_has(const struct bc_recency *r, uint64_t hash)
{
    const _Atomic uint64_t *words = atomic_load_explicit(&r->words, memory_order_relaxed);
    return words != NULL && (has(words, hash & r->mask) || has(r->before, hash & r->mask));
}

/* A reader that still has the older words at hand may set a bit in them while or after they are emptied: a read of this moment,
 * which counts for either turn. */
void bc_recency_turn(struct bc_recency *r)
{
    _Atomic uint64_t *words = atomic_load_explicit(&r->words, memory_order_relaxed);
    if (words == NULL)
        return;
    r->io->memory_discard(r->io->ctx, (void *)r->before, bytes(r));
    atomic_store_explicit(&r->words, r->before, memory_order_release);
    r->before = words;
}
