#include "bitcask/keydir.h"

#include <string.h>

#include "bitcask/error.h"
#include "bitcask/keydir_shard.h"
#include "bitcask/keydir_snapshot.h"

#define RETIRED_MAX (1U << 20)
#define SPINS 64 /* looks at a changing shard before a reader waits for its mutex */

/* ---- making and freeing ---- */

static void *new_aligned(const bitcask_allocator *allocator, size_t size, void **ret_block)
{
    *ret_block = bc_alloc_zero(allocator, 1, size + BC_CACHE_LINE);
    return *ret_block == NULL ? NULL : (void *)bc_align_up((uintptr_t)*ret_block, BC_CACHE_LINE);
}

static bool shards_init(struct bc_keydir *k, uint32_t count)
{
    for (; k->count < count; k->count++) {
        struct bc_shard *s = &k->shards[k->count];
        bc_table_init(&s->table, k->empty);
        bc_arena_init(&s->arena);
        if (pthread_mutex_init(&s->mutex, NULL) != 0)
            return false;
    }
    return true;
}

struct bc_keydir *bc_keydir_new(const bitcask_allocator *allocator, const struct bc_io *io, struct bc_pins *pins,
                                uint32_t shards, const struct bc_hash_secret *secret)
{
    void *block;
    struct bc_keydir *k = new_aligned(allocator, sizeof *k + shards / 64 * sizeof k->asked[0], &block);
    if (k == NULL)
        return NULL;
    k->blocks[0] = block;
    bc_memory_init(&k->memory, allocator, io, shards);
    if (k->memory.maps && bc_pool_init(&k->pool, allocator, io, bc_shard_span, shards))
        k->memory.pool = &k->pool;
    if (secret != NULL)
        k->secret = *secret;
    else if (io->random(io->ctx, &k->secret, sizeof k->secret) != 0)
        goto fail;
    k->shift = 64 - (unsigned)__builtin_ctz(shards);
    k->pins = pins;
    if (!bc_snapshots_init(k))
        goto fail;
    k->shards = new_aligned(allocator, shards * sizeof *k->shards, &k->blocks[1]);
    if (k->shards == NULL || !shards_init(k, shards))
        goto fail;
    return k;
fail:
    bc_keydir_free(k);
    return NULL;
}

static void free_blocks(struct bc_keydir *k, struct bc_table_block *block)
{
    while (block != NULL) {
        struct bc_table_block *next = block->next;
        atomic_fetch_sub_explicit(&k->retired_bytes, block->used, memory_order_relaxed);
        bc_table_block_free(&k->memory, block);
        block = next;
    }
}

void bc_keydir_free(struct bc_keydir *k)
{
    if (k == NULL)
        return;
    for (uint32_t i = 0; i < k->count; i++) {
        bc_shard_versions_free(k, &k->shards[i]);
        bc_table_load_end(&k->shards[i].table, &k->memory);
        bc_shard_clear(k, &k->shards[i]);
        pthread_mutex_destroy(&k->shards[i].mutex);
    }
    free_blocks(k, atomic_load(&k->retired));
    const bitcask_allocator *allocator = k->memory.allocator;
    bc_snapshots_free(k);
    if (k->memory.pool != NULL)
        bc_pool_free(k->memory.pool);
    bc_free(allocator, k->blocks[1]);
    bc_free(allocator, k->blocks[0]);
}

/* ---- readers ---- */

uint64_t bc_keydir_hash(const struct bc_keydir *k, const void *key, size_t key_size)
{
    return bc_hash(&k->secret, key, key_size);
}

uint32_t bc_keydir_shard(const struct bc_keydir *k, uint64_t hash)
{
    return (uint32_t)(hash >> k->shift);
}

uint32_t bc_keydir_shards(const struct bc_keydir *k)
{
    return k->count;
}

const struct bc_hash_secret *bc_keydir_secret(const struct bc_keydir *k)
{
    return &k->secret;
}

void bc_keydir_prefetch(const struct bc_keydir *k, uint64_t hash)
{
    bc_table_prefetch(&bc_shard_of(k, hash)->table, bc_tag_of(hash));
}

static inline void spin_wait(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

unsigned bc_keydir_lookup(const struct bc_keydir *k, uint64_t hash, struct bc_entry ret[BC_KEYDIR_CANDIDATES])
{
    struct bc_shard *s = bc_shard_of(k, hash);
    struct bc_pair pairs[BC_KEYDIR_CANDIDATES];
    unsigned count = 0, spins = 0;
    while (!bc_table_probe(&s->table, bc_tag_of(hash), pairs, BC_KEYDIR_CANDIDATES, &count)) {
        if (++spins < SPINS) {
            spin_wait();
            continue;
        }
        pthread_mutex_lock(&s->mutex);
        bool still = bc_table_probe(&s->table, bc_tag_of(hash), pairs, BC_KEYDIR_CANDIDATES, &count);
        pthread_mutex_unlock(&s->mutex);
        if (still)
            break;
    }
    for (unsigned i = 0; i < BC_MIN(count, BC_KEYDIR_CANDIDATES); i++)
        ret[i] = bc_entry_decode(pairs[i]);
    return count;
}

bool bc_keydir_find(struct bc_keydir *k, uint64_t hash, const void *key, size_t key_size, struct bc_entry *ret,
                    int64_t *ret_expire_at_ms)
{
    struct bc_cursor cursor;
    bc_keydir_lock(k, bc_keydir_shard(k, hash));
    bc_keydir_seek(k, hash, key, key_size, &cursor);
    bc_keydir_unlock(k, bc_keydir_shard(k, hash));
    if (!cursor.found)
        return false;
    *ret = cursor.entry;
    *ret_expire_at_ms = cursor.expire_at_ms;
    return true;
}

/* ---- writers ---- */

int bc_keydir_reserve(struct bc_keydir *k, uint64_t hash, uint32_t count, size_t bytes)
{
    struct bc_shard *s = bc_shard_of(k, hash);
    if (bc_likely(bc_shard_has_room(s, count, bytes) && !bc_shard_wanted(k, s)))
        return BITCASK_OK;
    pthread_mutex_lock(&s->mutex);
    bool ok = bc_shard_preserve(k, s) && bc_shard_make_room(k, s, count, bytes);
    pthread_mutex_unlock(&s->mutex);
    return ok ? BITCASK_OK : bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for the KeyDir");
}

void bc_keydir_lock(struct bc_keydir *k, uint32_t shard)
{
    pthread_mutex_lock(&k->shards[shard].mutex);
}

void bc_keydir_unlock(struct bc_keydir *k, uint32_t shard)
{
    pthread_mutex_unlock(&k->shards[shard].mutex);
}

void bc_keydir_seek(struct bc_keydir *k, uint64_t hash, const void *key, size_t key_size, struct bc_cursor *ret)
{
    struct bc_shard *s = bc_shard_of(k, hash);
    memset(ret, 0, sizeof *ret);
    ret->hash = hash;
    ret->found = bc_shard_seek(s, bc_tag_of(hash), key, key_size, &ret->position);
    if (ret->found) {
        struct bc_pair pair = bc_table_at(&s->table, ret->position);
        ret->entry = bc_entry_decode(pair);
        if ((ret->entry.flags & BC_ENTRY_EXPIRES) != 0)
            ret->expire_at_ms = bc_shard_entry(s, pair).expire_at_ms;
    }
}

void bc_keydir_publish(struct bc_keydir *k, const struct bc_cursor *cursor, const void *key, size_t key_size,
                       const struct bc_entry *entry, int64_t expire_at_ms)
{
    struct bc_shard *s = bc_shard_of(k, cursor->hash);
    struct bc_shard_value value = {bc_place_encode(entry), expire_at_ms, entry->flags & BC_ENTRY_CORRUPT};
    if (cursor->found)
        bc_shard_replace(s, cursor->position, key, key_size, value);
    else
        bc_shard_insert(s, cursor->position, bc_tag_of(cursor->hash), key, key_size, value);
    bc_shard_ask(k, s);
}

void bc_keydir_remove(struct bc_keydir *k, const struct bc_cursor *cursor)
{
    struct bc_shard *s = bc_shard_of(k, cursor->hash);
    bc_shard_remove(s, cursor->position);
    bc_shard_ask(k, s);
}

void bc_keydir_hold(struct bc_keydir *k, uint32_t shard)
{
    bc_table_open(&k->shards[shard].table);
}

void bc_keydir_release(struct bc_keydir *k, uint32_t shard)
{
    bc_table_close(&k->shards[shard].table, true);
}

/* Under the shard's mutex: where an entry with this tag stands that points to a place. */
static bool find_place(const struct bc_shard *s, uint32_t tag, const struct bc_entry *at, uint32_t *ret_position)
{
    for (uint32_t i = bc_table_first(&s->table, tag);; i++) {
        struct bc_pair pair = bc_table_at(&s->table, i);
        if (pair.place == 0 || bc_head_tag(pair.head) != tag)
            return false;
        struct bc_entry e = bc_entry_decode(pair);
        if (e.file == at->file && e.offset == at->offset) {
            *ret_position = i;
            return true;
        }
    }
}

enum bc_moved bc_keydir_move(struct bc_keydir *k, uint64_t hash, const struct bc_entry *from, const struct bc_entry *to,
                             struct bc_entry *ret_was)
{
    struct bc_shard *s = bc_shard_of(k, hash);
    uint32_t tag = bc_tag_of(hash), position;
    enum bc_moved moved = BC_MOVED_NOT;
    pthread_mutex_lock(&s->mutex);
    if (find_place(s, tag, from, &position)) {
        moved = bc_shard_preserve(k, s) ? BC_MOVED : BC_MOVED_NO_MEMORY;
        struct bc_pair pair = bc_table_at(&s->table, position);
        if (moved == BC_MOVED)
            *ret_was = bc_entry_decode(pair);
        if (moved == BC_MOVED && to != NULL) {
            struct bc_entry e = {.file = to->file, .offset = to->offset, .footprint = ret_was->footprint};
            bc_table_set(&s->table, position, (struct bc_pair){pair.head, bc_place_encode(&e)});
        } else if (moved == BC_MOVED) {
            bc_shard_remove(s, position);
            bc_shard_ask(k, s);
        }
    }
    pthread_mutex_unlock(&s->mutex);
    return moved;
}

bool bc_keydir_stands(struct bc_keydir *k, uint64_t hash, const struct bc_entry *at)
{
    struct bc_entry e[BC_KEYDIR_CANDIDATES];
    unsigned pin = bc_pins_enter_background(k->pins);
    unsigned count = bc_keydir_lookup(k, hash, e);
    bc_pins_leave(k->pins, pin);
    for (unsigned i = 0; i < BC_MIN(count, BC_KEYDIR_CANDIDATES); i++)
        if (e[i].file == at->file && e[i].offset == at->offset)
            return true;
    if (count <= BC_KEYDIR_CANDIDATES)
        return false;
    struct bc_shard *s = bc_shard_of(k, hash);
    uint32_t position;
    pthread_mutex_lock(&s->mutex);
    bool found = find_place(s, bc_tag_of(hash), at, &position);
    pthread_mutex_unlock(&s->mutex);
    return found;
}

/* Under the shard's mutex. */
static void sweep_shard(struct bc_keydir *k, struct bc_shard *s, int64_t now_ms, bc_keydir_lost_fn lost, void *arg)
{
    bool preserved = false;
    for (uint32_t i = 0; i < s->table.extent;) {
        struct bc_pair pair = bc_table_at(&s->table, i);
        bool expires = pair.place != 0 && (bc_head_flags(pair.head) & BC_ENTRY_EXPIRES) != 0;
        if (!expires || bc_shard_entry(s, pair).expire_at_ms > now_ms) {
            i++;
            continue;
        }
        if (!preserved && !(preserved = bc_shard_preserve(k, s)))
            return;
        struct bc_entry e = bc_entry_decode(pair);
        lost(&e, arg);
        bc_shard_remove(s, i); /* what stood behind it may stand here now */
    }
    if (preserved)
        bc_shard_ask(k, s);
}

bool bc_keydir_sweep(struct bc_keydir *k, uint64_t *position, size_t max, int64_t now_ms, bc_keydir_lost_fn lost, void *arg)
{
    uint64_t seen = 0;
    for (; *position < k->count && seen < max; ++*position) {
        struct bc_shard *s = &k->shards[*position];
        pthread_mutex_lock(&s->mutex);
        seen += bc_get32(&s->table.count) + 1;
        sweep_shard(k, s, now_ms, lost, arg);
        pthread_mutex_unlock(&s->mutex);
    }
    if (*position < k->count)
        return false;
    *position = 0;
    return true;
}

/* ---- upkeep ---- */

void bc_keydir_set_wake(struct bc_keydir *k, void (*wake)(void *arg), void *arg)
{
    k->wake = wake;
    k->wake_arg = arg;
}

static bool free_retired(struct bc_keydir *k)
{
    struct bc_table_block *retired = atomic_exchange(&k->retired, NULL);
    if (retired == NULL)
        return false;
    bc_pins_synchronize(k->pins);
    free_blocks(k, retired);
    return true;
}

bool bc_keydir_upkeep(struct bc_keydir *k)
{
    bool any = false;
    atomic_store(&k->woken, false); /* first: what is asked for from now on wakes again */
    for (uint32_t word = 0; word < k->count / 64; word++) {
        for (uint64_t bits = atomic_exchange(&k->asked[word], 0); bits != 0; bits &= bits - 1) {
            struct bc_shard *s = &k->shards[word * 64 + (uint32_t)__builtin_ctzll(bits)];
            struct bc_region *held = bc_shard_prepare(k, s);
            pthread_mutex_lock(&s->mutex);
            any |= bc_shard_tidy(k, s);
            pthread_mutex_unlock(&s->mutex);
            bc_pool_drop(&k->pool, held);
            /* All shards may have asked at once: the old tables of all would be as much again. */
            if (atomic_load_explicit(&k->retired_bytes, memory_order_relaxed) > RETIRED_MAX)
                any |= free_retired(k);
        }
    }
    return free_retired(k) || any;
}

/* ---- all ---- */

static inline void each_slot_of(struct bc_shard *s, void (*fn)(const struct bc_shard *, struct bc_pair, void *arg), void *arg)
{
    pthread_mutex_lock(&s->mutex);
    uint32_t left = bc_get32(&s->table.count);
    for (uint32_t position = 0; left != 0; position++) {
        struct bc_pair pair = bc_table_at(&s->table, position);
        if (pair.place == 0)
            continue;
        fn(s, pair, arg);
        left--;
    }
    pthread_mutex_unlock(&s->mutex);
}

/* Calls fn for every slot that is in use, shard by shard, under the shard's mutex. */
static void each_slot(struct bc_keydir *k, void (*fn)(const struct bc_shard *, struct bc_pair, void *arg), void *arg)
{
    for (uint32_t i = 0; i < k->count; i++)
        each_slot_of(&k->shards[i], fn, arg);
}

struct each_call {
    bc_keydir_fn fn;
    bc_keydir_entry_fn entry_fn;
    void *arg;
};

static void call_with_key(const struct bc_shard *s, struct bc_pair pair, void *arg)
{
    const struct each_call *call = arg;
    struct bc_entry entry = bc_entry_decode(pair);
    struct bc_arena_entry e = bc_shard_entry(s, pair);
    call->fn(&entry, e.expire_at_ms, e.key, e.key_size, call->arg);
}

static void call_with_entry(const struct bc_shard *s, struct bc_pair pair, void *arg)
{
    const struct each_call *call = arg;
    struct bc_entry entry = bc_entry_decode(pair);
    bool expires = (entry.flags & BC_ENTRY_EXPIRES) != 0;
    call->entry_fn(&entry, expires ? bc_shard_entry(s, pair).expire_at_ms : 0, call->arg);
}

void bc_keydir_each(struct bc_keydir *k, bc_keydir_fn fn, void *arg)
{
    struct each_call call = {.fn = fn, .arg = arg};
    each_slot(k, call_with_key, &call);
}

void bc_keydir_each_entry(struct bc_keydir *k, bc_keydir_entry_fn fn, void *arg)
{
    struct each_call call = {.entry_fn = fn, .arg = arg};
    each_slot(k, call_with_entry, &call);
}

void bc_keydir_each_entry_of(struct bc_keydir *k, uint32_t shard, bc_keydir_entry_fn fn, void *arg)
{
    struct each_call call = {.entry_fn = fn, .arg = arg};
    each_slot_of(&k->shards[shard], call_with_entry, &call);
}

int bc_keydir_preserve_all(struct bc_keydir *k)
{
    bool ok = true;
    for (uint32_t i = 0; i < k->count && ok; i++) {
        bc_keydir_lock(k, i);
        ok = bc_shard_preserve(k, &k->shards[i]);
        bc_keydir_unlock(k, i);
    }
    return ok ? BITCASK_OK : bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory to keep what snapshots show");
}

void bc_keydir_clear(struct bc_keydir *k)
{
    for (uint32_t i = 0; i < k->count; i++) {
        bc_keydir_lock(k, i);
        bc_keydir_hold(k, i);
    }
    for (uint32_t i = 0; i < k->count; i++)
        bc_shard_clear(k, &k->shards[i]);
    for (uint32_t i = 0; i < k->count; i++) {
        bc_keydir_release(k, i);
        bc_keydir_unlock(k, i);
    }
}

uint64_t bc_keydir_count(const struct bc_keydir *k)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < k->count; i++)
        count += bc_get32(&k->shards[i].table.count);
    return count;
}

uint64_t bc_keydir_bytes(const struct bc_keydir *k)
{
    uint64_t bytes = sizeof *k + k->count * sizeof *k->shards + atomic_load_explicit(&k->retired_bytes, memory_order_relaxed);
    for (uint32_t i = 0; i < k->count; i++)
        bytes += bc_table_bytes(&k->shards[i].table) + bc_arena_bytes(&k->shards[i].arena, &k->memory);
    return bytes;
}

uint64_t bc_keydir_used(struct bc_keydir *k)
{
    uint64_t bytes = sizeof *k + k->count * sizeof *k->shards;
    for (uint32_t i = 0; i < k->count; i++) {
        const struct bc_shard *s = &k->shards[i];
        bc_keydir_lock(k, i);
        bytes +=
            (uint64_t)bc_get32(&s->table.count) * sizeof(struct bc_slot) * 6 / 5 + bc_get32(&s->arena.used) - s->arena.dropped;
        bc_keydir_unlock(k, i);
    }
    return bytes;
}
