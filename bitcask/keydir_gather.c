/* keydir_gather.c - one thread's loads, kept by shard until there are many: then a shard's table, its sequences and the end of
 * its arena are in the processor's cache while its entries go in, and the table grows once for all of them. */
#include <string.h>

#include "bitcask/error.h"
#include "bitcask/keydir_shard.h"

#define CHUNK 1024U
#define AHEAD 8U /* entries whose slots are asked for before they are needed */

/* Entries of one shard: item, expiry (8 bytes) if it has one, key, padding to 8. */
struct chunk {
    struct chunk *next;
    uint32_t used, count;
    char bytes[CHUNK - 16];
};

struct item {
    uint64_t sequence, place;
    uint32_t tag;
    uint16_t key_size;
    uint8_t flags;
    uint8_t expires;
};

struct bc_loader {
    struct bc_keydir *keydir;
    struct chunk *chunks;
    uint64_t bytes; /* of all */
    size_t count, used;
    struct {
        struct chunk *first, *last;
        uint64_t entries, key_bytes;
    } shards[];
};

static uint64_t loader_bytes(const struct bc_keydir *k)
{
    return sizeof(struct bc_loader) + k->count * sizeof((struct bc_loader *)0)->shards[0];
}

struct bc_loader *bc_keydir_loader_new(struct bc_keydir *k, uint64_t bytes)
{
    struct bc_loader *l = bc_alloc_zero(k->memory.allocator, 1, loader_bytes(k));
    if (l == NULL)
        return NULL;
    l->keydir = k;
    l->bytes = bc_memory_round(BC_MAX(bytes, (uint64_t)CHUNK * 16));
    l->chunks = bc_memory_new_dense(&k->memory, l->bytes);
    l->count = l->bytes / CHUNK;
    if (l->chunks != NULL)
        return l;
    bc_free(k->memory.allocator, l);
    return NULL;
}

void bc_keydir_loader_free(struct bc_loader *l)
{
    if (l == NULL)
        return;
    struct bc_keydir *k = l->keydir;
    bc_memory_free(&k->memory, l->chunks, l->bytes);
    bc_free(k->memory.allocator, l);
}

/* ---- out ---- */

/* Where a walk over a shard's entries stands. */
struct cursor {
    const struct chunk *chunk;
    uint32_t at, left; /* in the chunk */
};

static bool next_item(struct cursor *c, struct item *ret, int64_t *ret_expire_at_ms, const char **ret_key)
{
    while (c->chunk != NULL && c->left == 0) {
        c->chunk = c->chunk->next;
        c->at = 0;
        c->left = c->chunk != NULL ? c->chunk->count : 0;
    }
    if (c->chunk == NULL)
        return false;
    const char *p = c->chunk->bytes + c->at;
    memcpy(ret, p, sizeof *ret);
    size_t size = sizeof *ret;
    *ret_expire_at_ms = 0;
    if (ret->expires != 0) {
        memcpy(ret_expire_at_ms, p + size, sizeof *ret_expire_at_ms);
        size += sizeof *ret_expire_at_ms;
    }
    *ret_key = p + size;
    c->at += (uint32_t)bc_align_up(size + ret->key_size, 8);
    c->left--;
    return true;
}

static struct cursor begin(const struct chunk *first)
{
    return (struct cursor){first, 0, first != NULL ? first->count : 0};
}

static bool load_all(struct bc_loader *l, struct bc_shard *s, const struct chunk *first)
{
    struct cursor here = begin(first), ahead = here;
    struct item item;
    int64_t expire_at_ms;
    const char *key;
    for (unsigned i = 0; i < AHEAD && next_item(&ahead, &item, &expire_at_ms, &key); i++)
        bc_table_prefetch(&s->table, item.tag);
    for (;;) {
        if (next_item(&ahead, &item, &expire_at_ms, &key))
            bc_table_prefetch(&s->table, item.tag);
        if (!next_item(&here, &item, &expire_at_ms, &key))
            return true;
        struct bc_shard_value value = {item.place, expire_at_ms, item.flags};
        if (!bc_shard_load(l->keydir, s, item.tag, key, item.key_size, item.sequence, value))
            return false;
    }
}

int bc_keydir_loader_flush(struct bc_loader *l)
{
    struct bc_keydir *k = l->keydir;
    bool ok = true;
    /* Loaders that flush at the same time begin at different shards. */
    uint32_t start = (uint32_t)((uintptr_t)l >> 6) % k->count;
    for (uint32_t i = 0; i < k->count && ok; i++) {
        uint32_t shard = (start + i) % k->count;
        struct bc_shard *s = &k->shards[shard];
        if (l->shards[shard].first == NULL)
            continue;
        pthread_mutex_lock(&s->mutex);
        ok = bc_shard_expect(k, s, l->shards[shard].entries, l->shards[shard].key_bytes) &&
             load_all(l, s, l->shards[shard].first);
        pthread_mutex_unlock(&s->mutex);
        memset(&l->shards[shard], 0, sizeof l->shards[shard]);
    }
    l->used = 0;
    return ok ? BITCASK_OK : bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to load the KeyDir");
}

/* ---- in ---- */

static int chunk_for(struct bc_loader *l, uint32_t shard, size_t size, struct chunk **ret)
{
    struct chunk *last = l->shards[shard].last;
    if (bc_unlikely(last == NULL || last->used + size > sizeof last->bytes)) {
        if (l->used == l->count) {
            int result = bc_keydir_loader_flush(l);
            if (result != BITCASK_OK)
                return result;
            last = NULL;
        }
        struct chunk *c = &l->chunks[l->used++];
        c->next = NULL;
        c->used = c->count = 0;
        if (last == NULL)
            l->shards[shard].first = c;
        else
            last->next = c;
        l->shards[shard].last = last = c;
    }
    *ret = last;
    return BITCASK_OK;
}

int bc_keydir_loader_add(struct bc_loader *l, uint64_t hash, const void *key, size_t key_size, uint64_t sequence,
                         const struct bc_entry *entry, int64_t expire_at_ms)
{
    struct chunk *c;
    size_t size = bc_align_up(sizeof(struct item) + (expire_at_ms != 0 ? sizeof expire_at_ms : 0) + key_size, 8);
    if (size > sizeof c->bytes)
        return bc_keydir_load(l->keydir, hash, key, key_size, sequence, entry, expire_at_ms);
    uint32_t shard = bc_keydir_shard(l->keydir, hash);
    int result = chunk_for(l, shard, size, &c);
    if (result != BITCASK_OK)
        return result;
    struct item item = {.sequence = sequence,
                        .place = bc_place_encode(entry),
                        .tag = bc_tag_of(hash),
                        .key_size = (uint16_t)key_size,
                        .flags = (uint8_t)entry->flags,
                        .expires = expire_at_ms != 0};
    char *p = c->bytes + c->used;
    memcpy(p, &item, sizeof item);
    p += sizeof item;
    if (expire_at_ms != 0) {
        memcpy(p, &expire_at_ms, sizeof expire_at_ms);
        p += sizeof expire_at_ms;
    }
    memcpy(p, key, key_size);
    c->used += (uint32_t)size;
    c->count++;
    l->shards[shard].entries++;
    l->shards[shard].key_bytes += key_size;
    return BITCASK_OK;
}
