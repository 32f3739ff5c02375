/* keydir_pool.h - huge pages for the large tables of all shards, without the holes that they would cost.
 *
 * A lookup misses the processor's address cache before it misses the data cache; huge pages spare the first. But a table is
 * smaller than a huge page, and what is unused of one is paid for. So all tables of one generation (their n-th size) lie back
 * to back, in the order of the shards, in one region. Shards grow in about that order, too: a region fills from its start while
 * the one before it empties from its start, and whatever a table leaves goes back to the system at once.
 *
 * Any thread. The mutex is a leaf.
 */
#ifndef BC_KEYDIR_POOL_H
#define BC_KEYDIR_POOL_H

#include "bitcask/alloc.h"
#include "bitcask/io.h"

#include <pthread.h>

struct bc_region;

/* Bytes of a shard's table in a generation: a multiple of the page's size. */
typedef uint64_t (*bc_pool_span_fn)(uint32_t generation, uint32_t shard, uint32_t shards);

struct bc_pool {
    const bitcask_allocator *allocator;
    const struct bc_io *io;
    bc_pool_span_fn span;
    uint32_t shards;
    uint64_t smallest; /* generations that take less have no region */
    pthread_mutex_t mutex;
    struct bc_region *regions; /* under mutex, as what is in them */
    uint32_t count;            /* of them */
};

bool bc_pool_init(struct bc_pool *, const bitcask_allocator *, const struct bc_io *, bc_pool_span_fn, uint32_t shards);
void bc_pool_free(struct bc_pool *); /* everything was given back */

/* The shard's place in the generation's region: zeros, on a cache line. NULL: it is smaller than size, or taken (by an older
 * table that readers may still be in), or there is no region. *ret_region goes to give(). */
void *bc_pool_take(struct bc_pool *, uint32_t generation, uint32_t shard, uint64_t size, struct bc_region **ret_region);
void bc_pool_give(struct bc_pool *, struct bc_region *, uint32_t shard);

/* Brings the pages of a place in, for somebody who will take it; the region stays until it is dropped. NULL: none. */
struct bc_region *bc_pool_prepare(struct bc_pool *, uint32_t generation, uint32_t shard);
void bc_pool_drop(struct bc_pool *, struct bc_region *); /* NULL ok */

#endif
