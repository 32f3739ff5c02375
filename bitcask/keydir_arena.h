/* keydir_arena.h - the keys of one shard, each with its expiry if it has one, back to back in one block.
 *
 * An entry: length (1 byte, or 0xFF and 2 bytes), expiry (8 bytes, little-endian, only if the slot says so), key. Entries are
 * named by their offset. A dropped entry waits on a free list of exactly its size, if its size has one; the rest is garbage
 * until the shard copies what lives into a new block. Under the shard's mutex; room may be read without.
 */
#ifndef BC_KEYDIR_ARENA_H
#define BC_KEYDIR_ARENA_H

#include "bitcask/keydir_memory.h"

#include <stdatomic.h>

#define BC_ARENA_ENTRY_MAX 11U /* bytes of an entry beside its key, at most */
#define BC_ARENA_SIZES 16U     /* entry sizes that have a free list */

/* A block that older versions of the shard look into: it is freed with the last owner, the arena itself being one. */
struct bc_arena_share {
    uint32_t owners;
    uint32_t size;
    unsigned char *base;
};

struct bc_arena {
    unsigned char *base;
    struct bc_arena_share *share; /* not NULL: no byte that was an entry is given away or changed */
    uint32_t size;
    _Atomic uint32_t used; /* what was written, so far */
    _Atomic uint32_t room; /* size - used */
    uint32_t dropped;      /* bytes of used that belong to no entry, on a list or not */
    struct {
        uint32_t size; /* 0 = the list has no size yet */
        uint32_t head; /* if size is not 0; BC_ARENA_NONE at the end */
    } lists[BC_ARENA_SIZES];
};

#define BC_ARENA_NONE UINT32_MAX
#define BC_ARENA_MAX (UINT32_MAX - (BC_MEMORY_PAGE - 1)) /* greatest size */

struct bc_arena_entry {
    const unsigned char *key;
    size_t key_size;
    int64_t expire_at_ms; /* 0 = never */
};

void bc_arena_init(struct bc_arena *); /* empty, without a block */
/* Empty, with a block of size bytes (as rounded). false: no memory. */
bool bc_arena_new(struct bc_arena *, const struct bc_keydir_memory *, uint32_t size) bc_must_check;
/* Another owner for the arena's block. NULL: no memory. */
struct bc_arena_share *bc_arena_share(struct bc_arena *, const struct bc_keydir_memory *) bc_must_check;
void bc_arena_unshare(struct bc_arena_share *, const struct bc_keydir_memory *); /* one owner less; NULL ok */
/* Forgets a share that nobody else owns any more. */
void bc_arena_settle(struct bc_arena *, const struct bc_keydir_memory *);
/* Frees the block of a, or leaves it to its other owners; what stood in by, stands in a. */
void bc_arena_replace(struct bc_arena *a, const struct bc_keydir_memory *, const struct bc_arena *by);
uint64_t bc_arena_bytes(const struct bc_arena *, const struct bc_keydir_memory *); /* any thread */

/* Needs room for the key and BC_ARENA_ENTRY_MAX. */
uint32_t bc_arena_add(struct bc_arena *, const void *key, size_t key_size, int64_t expire_at_ms);
void bc_arena_drop(struct bc_arena *, uint32_t entry, bool expires);

struct bc_arena_entry bc_arena_read(const struct bc_arena *, uint32_t entry, bool expires);
bool bc_arena_matches(const struct bc_arena *, uint32_t entry, bool expires, const void *key, size_t key_size);
void bc_arena_set_expiry(struct bc_arena *, uint32_t entry, int64_t expire_at_ms); /* of one that has one */

/* to = from, entries at the same offsets. to is empty and large enough. */
void bc_arena_copy(struct bc_arena *to, const struct bc_arena *from);

#endif
