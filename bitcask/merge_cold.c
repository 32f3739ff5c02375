#include "bitcask/merge_cold.h"

#define PIECE (64ULL << 10) /* what one page that somebody uses keeps in the cache */
#define AT_ONCE 16U         /* pieces that are dropped by one call */
#define AGAIN 64U /* and those before them: the cache may hold several pieces as one, and gives back none of them alone */

static uint64_t count_of(const struct bc_merge_cold *c)
{
    return (c->end + PIECE - 1) / PIECE;
}

void bc_merge_cold_begin(struct bc_merge_cold *c, const struct bc_io *io, const bitcask_allocator *allocator, int fd,
                         uint64_t end)
{
    *c = (struct bc_merge_cold){.io = io, .allocator = allocator, .fd = fd, .end = end};
    if (io->cached == NULL)
        return;
    /* Without memory the merge goes on all the same. */
    c->cold = bc_alloc_zero(allocator, count_of(c) / 8 + 1, 1);
    for (uint64_t i = 0; i < count_of(c) && c->cold != NULL; i++) {
        bool cached = true;
        if (io->cached(io->ctx, fd, i * PIECE, PIECE, &cached) != 0)
            bc_merge_cold_end(c);
        else if (!cached)
            c->cold[i / 8] |= (unsigned char)(1U << (i % 8));
    }
}

static bool is_cold(const struct bc_merge_cold *c, uint64_t piece)
{
    return (c->cold[piece / 8] >> (piece % 8) & 1) != 0;
}

static void drop(const struct bc_merge_cold *c)
{
    uint64_t from = BC_MAX(c->run, c->next - BC_MIN(c->next, (uint64_t)AGAIN));
    if (from < c->next)
        (void)c->io->drop_cache(c->io->ctx, c->fd, from * PIECE, (c->next - from) * PIECE);
}

void bc_merge_cold_passed(struct bc_merge_cold *c, uint64_t until)
{
    uint64_t passed = until >= c->end ? count_of(c) : until / PIECE;
    if (c->cold == NULL || (passed < c->next + AT_ONCE && until < c->end))
        return;
    for (; c->next < passed; c->next++) {
        if (is_cold(c, c->next))
            continue;
        drop(c);
        c->run = c->next + 1;
    }
    drop(c);
}

void bc_merge_cold_end(struct bc_merge_cold *c)
{
    bc_free(c->allocator, c->cold);
    c->cold = NULL;
}
