#include "bitcask/keydir_arena.h"

#include "bitcask/coding.h"

#include <string.h>

#define LONG_KEY 0xFFU /* first byte of an entry whose length takes two more */
#define ENTRY_MIN 4U   /* what a free list's link takes */
#define EXPIRY 8U

static size_t head_size(size_t key_size, bool expires)
{
    return (key_size < LONG_KEY ? 1U : 3U) + (expires ? EXPIRY : 0U);
}

static size_t entry_size(size_t key_size, bool expires)
{
    return BC_MAX(head_size(key_size, expires) + key_size, ENTRY_MIN);
}

static size_t key_size_of(const unsigned char *entry)
{
    return entry[0] != LONG_KEY ? entry[0] : bc_get_u16(entry + 1);
}

static uint32_t get32(const _Atomic uint32_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

static void set_used(struct bc_arena *a, uint32_t used)
{
    atomic_store_explicit(&a->used, used, memory_order_relaxed);
    atomic_store_explicit(&a->room, a->size - used, memory_order_relaxed);
}

void bc_arena_init(struct bc_arena *a)
{
    a->base = NULL;
    a->share = NULL;
    a->size = 0;
    a->dropped = 0;
    memset(a->lists, 0, sizeof a->lists);
    set_used(a, 0);
}

bool bc_arena_new(struct bc_arena *a, const struct bc_keydir_memory *m, uint32_t size)
{
    void *base = bc_memory_new(m, size);
    if (base == NULL)
        return false;
    bc_arena_init(a);
    a->base = base;
    a->size = size;
    set_used(a, 0);
    return true;
}

void bc_arena_replace(struct bc_arena *a, const struct bc_keydir_memory *m, const struct bc_arena *by)
{
    if (a->share != NULL)
        bc_arena_unshare(a->share, m);
    else
        bc_memory_free(m, a->base, a->size);
    a->base = by->base;
    a->share = NULL;
    a->size = by->size;
    a->dropped = by->dropped;
    memcpy(a->lists, by->lists, sizeof a->lists);
    set_used(a, get32(&by->used));
}

struct bc_arena_share *bc_arena_share(struct bc_arena *a, const struct bc_keydir_memory *m)
{
    if (a->share == NULL) {
        a->share = bc_alloc(m->allocator, sizeof *a->share);
        if (a->share == NULL)
            return NULL;
        *a->share = (struct bc_arena_share){1, a->size, a->base};
    }
    a->share->owners++;
    return a->share;
}

void bc_arena_unshare(struct bc_arena_share *share, const struct bc_keydir_memory *m)
{
    if (share == NULL || --share->owners != 0)
        return;
    bc_memory_free(m, share->base, share->size);
    bc_free(m->allocator, share);
}

void bc_arena_settle(struct bc_arena *a, const struct bc_keydir_memory *m)
{
    if (a->share == NULL || a->share->owners != 1)
        return;
    bc_free(m->allocator, a->share);
    a->share = NULL;
}

uint64_t bc_arena_bytes(const struct bc_arena *a, const struct bc_keydir_memory *m)
{
    uint64_t used = get32(&a->used);
    return bc_memory_held(m, used + get32(&a->room), used);
}

/* An entry of exactly this size from its free list. */
static bool reuse(struct bc_arena *a, size_t size, uint32_t *ret)
{
    if (a->dropped < size || a->share != NULL)
        return false;
    for (unsigned i = 0; i < BC_ARENA_SIZES; i++) {
        if (a->lists[i].size != size)
            continue;
        if (a->lists[i].head == BC_ARENA_NONE)
            return false;
        *ret = a->lists[i].head;
        a->lists[i].head = bc_get_u32(a->base + *ret);
        a->dropped -= (uint32_t)size;
        return true;
    }
    return false;
}

uint32_t bc_arena_add(struct bc_arena *a, const void *key, size_t key_size, int64_t expire_at_ms)
{
    bool expires = expire_at_ms != 0;
    size_t size = entry_size(key_size, expires);
    uint32_t entry;
    if (!reuse(a, size, &entry)) {
        entry = get32(&a->used);
        set_used(a, entry + (uint32_t)size);
    }
    unsigned char *p = a->base + entry;
    if (key_size < LONG_KEY) {
        p[0] = (unsigned char)key_size;
    } else {
        p[0] = LONG_KEY;
        bc_put_u16(p + 1, (uint16_t)key_size);
    }
    if (expires)
        bc_arena_set_expiry(a, entry, expire_at_ms);
    memcpy(p + head_size(key_size, expires), key, key_size);
    return entry;
}

void bc_arena_drop(struct bc_arena *a, uint32_t entry, bool expires)
{
    unsigned char *p = a->base + entry;
    uint32_t size = (uint32_t)entry_size(key_size_of(p), expires);
    unsigned empty = BC_ARENA_SIZES;
    a->dropped += size;
    if (a->share != NULL)
        return;
    for (unsigned i = 0; i < BC_ARENA_SIZES; i++) {
        if (a->lists[i].size == size) {
            bc_put_u32(p, a->lists[i].head);
            a->lists[i].head = entry;
            return;
        }
        if (empty == BC_ARENA_SIZES && (a->lists[i].size == 0 || a->lists[i].head == BC_ARENA_NONE))
            empty = i;
    }
    if (empty != BC_ARENA_SIZES) {
        a->lists[empty].size = size;
        a->lists[empty].head = entry;
        bc_put_u32(p, BC_ARENA_NONE);
    }
}

struct bc_arena_entry bc_arena_read(const struct bc_arena *a, uint32_t entry, bool expires)
{
    const unsigned char *p = a->base + entry;
    struct bc_arena_entry ret = {.key_size = key_size_of(p)};
    size_t head = head_size(ret.key_size, expires);
    ret.key = p + head;
    if (expires)
        ret.expire_at_ms = (int64_t)bc_get_u64(p + head - EXPIRY);
    return ret;
}

bool bc_arena_matches(const struct bc_arena *a, uint32_t entry, bool expires, const void *key, size_t key_size)
{
    const unsigned char *p = a->base + entry;
    return key_size_of(p) == key_size && memcmp(p + head_size(key_size, expires), key, key_size) == 0;
}

void bc_arena_set_expiry(struct bc_arena *a, uint32_t entry, int64_t expire_at_ms)
{
    unsigned char *p = a->base + entry;
    bc_put_u64(p + (p[0] != LONG_KEY ? 1 : 3), (uint64_t)expire_at_ms);
}

void bc_arena_copy(struct bc_arena *to, const struct bc_arena *from)
{
    uint32_t used = get32(&from->used);
    if (used != 0)
        memcpy(to->base, from->base, used);
    memcpy(to->lists, from->lists, sizeof to->lists);
    to->dropped = from->dropped;
    set_used(to, used);
}
