#include "bitcask/keydir_pool.h"

/* Where one generation goes over into the next, some huge pages are hardly used, more of them the less even the shards are:
 * some MiB. That must be little of the whole. */
#define REGION_MIN (256ULL << 20)
#define PAGE 4096U

struct bc_region {
    struct bc_region *next;
    char *base;
    uint32_t generation;
    uint32_t owners; /* places taken, and those who prepare one */
    uint64_t *taken; /* a bit for each shard */
    uint32_t at[];   /* where each shard's place begins, in pages, and where the last one ends */
};

bool bc_pool_init(struct bc_pool *p, const bitcask_allocator *a, const struct bc_io *io, bc_pool_span_fn span, uint32_t shards)
{
    p->allocator = a;
    p->io = io;
    p->span = span;
    p->shards = shards;
    p->smallest = REGION_MIN;
    p->regions = NULL;
    p->count = 0;
    return pthread_mutex_init(&p->mutex, NULL) == 0;
}

static uint64_t region_bytes(const struct bc_pool *p, const struct bc_region *r)
{
    return (uint64_t)r->at[p->shards] * PAGE;
}

void bc_pool_free(struct bc_pool *p)
{
    pthread_mutex_destroy(&p->mutex);
}

static struct bc_region *region_new(struct bc_pool *p, uint32_t generation)
{
    /* The shards' places differ by a quarter, so the first one tells enough; most generations end here. */
    if (p->span(generation, 0, p->shards) * p->shards < p->smallest)
        return NULL;
    size_t words = (p->shards + 63U) / 64, head = bc_align_up(sizeof(struct bc_region) + (p->shards + 1U) * 4, 8);
    struct bc_region *r = bc_alloc_zero(p->allocator, 1, head + words * sizeof *r->taken);
    if (r == NULL)
        return NULL;
    uint64_t pages = 0;
    for (uint32_t shard = 0; shard < p->shards; shard++) {
        r->at[shard] = (uint32_t)pages;
        pages += p->span(generation, shard, p->shards) / PAGE;
    }
    r->at[p->shards] = (uint32_t)pages;
    r->taken = (uint64_t *)((char *)r + head);
    r->generation = generation;
    r->base = pages > UINT32_MAX ? NULL : p->io->memory_map_huge(p->io->ctx, pages * PAGE);
    if (r->base != NULL)
        return r;
    bc_free(p->allocator, r);
    return NULL;
}

/* Under mutex, with one owner more. */
static struct bc_region *region_of(struct bc_pool *p, uint32_t generation)
{
    struct bc_region *r = p->regions;
    while (r != NULL && r->generation != generation)
        r = r->next;
    if (r == NULL && (r = region_new(p, generation)) != NULL) {
        r->next = p->regions;
        p->regions = r;
        p->count++;
    }
    if (r != NULL)
        r->owners++;
    return r;
}

/* Under mutex. */
static void disown(struct bc_pool *p, struct bc_region *r)
{
    if (--r->owners != 0)
        return;
    struct bc_region **at = &p->regions;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    p->count--;
    p->io->memory_unmap(p->io->ctx, r->base, region_bytes(p, r));
    bc_free(p->allocator, r);
}

void *bc_pool_take(struct bc_pool *p, uint32_t generation, uint32_t shard, uint64_t size, struct bc_region **ret_region)
{
    void *place = NULL;
    uint64_t bit = UINT64_C(1) << (shard % 64);
    if (size > p->span(generation, shard, p->shards))
        return NULL;
    pthread_mutex_lock(&p->mutex);
    struct bc_region *r = region_of(p, generation);
    if (r != NULL && (r->taken[shard / 64] & bit) != 0) {
        disown(p, r);
    } else if (r != NULL) {
        r->taken[shard / 64] |= bit;
        place = r->base + (uint64_t)r->at[shard] * PAGE;
        *ret_region = r;
    }
    pthread_mutex_unlock(&p->mutex);
    return place;
}

void bc_pool_give(struct bc_pool *p, struct bc_region *r, uint32_t shard)
{
    uint64_t size = (uint64_t)(r->at[shard + 1] - r->at[shard]) * PAGE;
    p->io->memory_discard(p->io->ctx, r->base + (uint64_t)r->at[shard] * PAGE, size);
    pthread_mutex_lock(&p->mutex);
    r->taken[shard / 64] &= ~(UINT64_C(1) << (shard % 64));
    disown(p, r);
    pthread_mutex_unlock(&p->mutex);
}

struct bc_region *bc_pool_prepare(struct bc_pool *p, uint32_t generation, uint32_t shard)
{
    pthread_mutex_lock(&p->mutex);
    struct bc_region *r = region_of(p, generation);
    pthread_mutex_unlock(&p->mutex);
    if (r != NULL)
        (void)p->io->populate(p->io->ctx, r->base + (uint64_t)r->at[shard] * PAGE,
                              (uint64_t)(r->at[shard + 1] - r->at[shard]) * PAGE);
    return r;
}

void bc_pool_drop(struct bc_pool *p, struct bc_region *r)
{
    if (r == NULL)
        return;
    pthread_mutex_lock(&p->mutex);
    disown(p, r);
    pthread_mutex_unlock(&p->mutex);
}
