#include "bitcask/keydir_snapshot.h"

#include <string.h>

#include "bitcask/error.h"
#include "bitcask/keydir_shard.h"

/* The slots of a shard as they were for the snapshots from < number <= to. */
struct bc_version {
    struct bc_version *next; /* older */
    uint64_t from, to;
    struct bc_arena_share *share;
    uint32_t capacity, count;
    uint64_t bytes; /* of slots, as rounded */
    struct bc_slot *slots;
};

struct bc_snapshots {
    pthread_mutex_t mutex; /* leaf; guards all */
    uint64_t newest;       /* number given out last */
    uint64_t *held;        /* ascending */
    size_t count, capacity;
    _Atomic uint64_t bytes;
};

bool bc_snapshots_init(struct bc_keydir *k)
{
    struct bc_snapshots *s = bc_alloc_zero(k->memory.allocator, 1, sizeof *s);
    if (s != NULL && pthread_mutex_init(&s->mutex, NULL) != 0) {
        bc_free(k->memory.allocator, s);
        s = NULL;
    }
    k->snapshots = s;
    return s != NULL;
}

void bc_snapshots_free(struct bc_keydir *k)
{
    if (k->snapshots == NULL)
        return;
    pthread_mutex_destroy(&k->snapshots->mutex);
    bc_free(k->memory.allocator, k->snapshots->held);
    bc_free(k->memory.allocator, k->snapshots);
}

/* ---- versions, under the shard's mutex ---- */

static void free_version(struct bc_keydir *k, struct bc_version *v)
{
    atomic_fetch_sub_explicit(&k->snapshots->bytes, v->bytes, memory_order_relaxed);
    bc_memory_free(&k->memory, v->slots, v->bytes);
    bc_arena_unshare(v->share, &k->memory);
    bc_free(k->memory.allocator, v);
}

void bc_shard_versions_free(struct bc_keydir *k, struct bc_shard *s)
{
    while (s->versions != NULL) {
        struct bc_version *v = s->versions;
        s->versions = v->next;
        free_version(k, v);
    }
    bc_arena_settle(&s->arena, &k->memory);
}

static bool copy_slots(struct bc_keydir *k, const struct bc_shard *s, struct bc_version *v)
{
    uint32_t physical = bc_get32(&s->table.physical);
    v->capacity = bc_get32(&s->table.capacity);
    v->count = bc_get32(&s->table.count);
    v->bytes = bc_memory_round((uint64_t)physical * sizeof *v->slots);
    v->slots = bc_memory_new(&k->memory, v->bytes);
    if (v->slots == NULL)
        return false;
    for (uint32_t i = 0; i < physical; i++) {
        struct bc_pair pair = bc_table_at(&s->table, i);
        if (pair.place != 0)
            bc_slot_set(&v->slots[i], pair);
    }
    return true;
}

bool bc_shard_preserve(struct bc_keydir *k, struct bc_shard *s)
{
    if (bc_likely(!bc_shard_wanted(k, s)))
        return true;
    struct bc_version *v = bc_alloc_zero(k->memory.allocator, 1, sizeof *v);
    if (v == NULL)
        return false;
    v->share = bc_arena_share(&s->arena, &k->memory);
    if (v->share == NULL || !copy_slots(k, s, v)) {
        bc_arena_unshare(v->share, &k->memory);
        bc_arena_settle(&s->arena, &k->memory);
        bc_free(k->memory.allocator, v);
        return false;
    }
    v->from = atomic_load_explicit(&s->preserved, memory_order_relaxed);
    v->to = atomic_load_explicit(&k->newest_held, memory_order_relaxed);
    v->next = s->versions;
    s->versions = v;
    atomic_store_explicit(&s->preserved, v->to, memory_order_relaxed);
    atomic_fetch_add_explicit(&k->snapshots->bytes, v->bytes, memory_order_relaxed);
    return true;
}

/* ---- take and release ---- */

int bc_keydir_snapshot_take(struct bc_keydir *k, uint64_t *ret_number)
{
    struct bc_snapshots *s = k->snapshots;
    int result = BITCASK_OK;
    pthread_mutex_lock(&s->mutex);
    if (s->count == s->capacity) {
        size_t capacity = s->capacity * 2 + 8;
        uint64_t *held = bc_resize(k->memory.allocator, s->held, capacity * sizeof *held);
        if (held == NULL) {
            result = bc_fail(BITCASK_NO_MEMORY, 0, NULL, 0, "no memory for a snapshot");
        } else {
            s->held = held;
            s->capacity = capacity;
        }
    }
    if (result == BITCASK_OK) {
        s->held[s->count++] = ++s->newest;
        atomic_store_explicit(&k->newest_held, s->newest, memory_order_relaxed);
        *ret_number = s->newest;
    }
    pthread_mutex_unlock(&s->mutex);
    return result;
}

/* Under the snapshots' mutex: whether a snapshot in (from, to] is held. */
static bool is_wanted(const struct bc_snapshots *s, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->held[i] > from && s->held[i] <= to)
            return true;
    return false;
}

static void drop_unwanted(struct bc_keydir *k, struct bc_shard *s)
{
    for (struct bc_version **at = &s->versions; *at != NULL;) {
        struct bc_version *v = *at;
        if (is_wanted(k->snapshots, v->from, v->to)) {
            at = &v->next;
            continue;
        }
        *at = v->next;
        free_version(k, v);
    }
    bc_arena_settle(&s->arena, &k->memory);
}

void bc_keydir_snapshot_release(struct bc_keydir *k, uint64_t number)
{
    struct bc_snapshots *s = k->snapshots;
    pthread_mutex_lock(&s->mutex);
    size_t i = 0;
    while (i < s->count && s->held[i] != number)
        i++;
    if (i < s->count) {
        memmove(s->held + i, s->held + i + 1, (s->count - i - 1) * sizeof *s->held);
        s->count--;
    }
    atomic_store_explicit(&k->newest_held, s->count == 0 ? 0 : s->held[s->count - 1], memory_order_relaxed);
    pthread_mutex_unlock(&s->mutex);
    for (uint32_t shard = 0; shard < k->count; shard++) {
        bc_keydir_lock(k, shard);
        if (k->shards[shard].versions != NULL) {
            pthread_mutex_lock(&s->mutex);
            drop_unwanted(k, &k->shards[shard]);
            pthread_mutex_unlock(&s->mutex);
        }
        bc_keydir_unlock(k, shard);
    }
}

uint64_t bc_keydir_snapshot_oldest(struct bc_keydir *k)
{
    pthread_mutex_lock(&k->snapshots->mutex);
    uint64_t oldest = k->snapshots->count == 0 ? UINT64_MAX : k->snapshots->held[0];
    pthread_mutex_unlock(&k->snapshots->mutex);
    return oldest;
}

uint64_t bc_keydir_snapshot_newest(struct bc_keydir *k)
{
    pthread_mutex_lock(&k->snapshots->mutex);
    uint64_t newest = k->snapshots->newest;
    pthread_mutex_unlock(&k->snapshots->mutex);
    return newest;
}

uint64_t bc_keydir_snapshots(struct bc_keydir *k)
{
    pthread_mutex_lock(&k->snapshots->mutex);
    uint64_t count = k->snapshots->count;
    pthread_mutex_unlock(&k->snapshots->mutex);
    return count;
}

uint64_t bc_keydir_snapshot_bytes(struct bc_keydir *k)
{
    return atomic_load_explicit(&k->snapshots->bytes, memory_order_relaxed);
}

/* ---- looking ---- */

/* A shard at a snapshot's moment: a version's slots and arena, or the shard's own. */
struct past {
    const struct bc_slot *slots;
    uint32_t capacity;
    struct bc_arena arena; /* only base is used */
};

static struct past past_of(const struct bc_shard *s, uint64_t number)
{
    struct past p = {
        atomic_load_explicit(&s->table.slots, memory_order_relaxed), bc_get32(&s->table.capacity), {.base = s->arena.base}};
    if (number > atomic_load_explicit(&s->preserved, memory_order_relaxed))
        return p;
    for (const struct bc_version *v = s->versions; v != NULL; v = v->next)
        if (number > v->from && number <= v->to)
            return (struct past){v->slots, v->capacity, {.base = v->share->base}};
    return p;
}

static struct bc_arena_entry entry_of(const struct past *p, struct bc_pair pair)
{
    return bc_arena_read(&p->arena, bc_head_key(pair.head), (bc_head_flags(pair.head) & BC_ENTRY_EXPIRES) != 0);
}

static uint32_t first_of(const struct past *p, uint32_t tag)
{
    uint32_t i = bc_tag_home(tag, p->capacity);
    for (;; i++) {
        struct bc_pair pair = bc_slot_get(&p->slots[i]);
        if (pair.place == 0 || bc_head_tag(pair.head) >= tag)
            return i;
    }
}

bool bc_keydir_snapshot_find(struct bc_keydir *k, uint64_t number, uint64_t hash, const void *key, size_t key_size,
                             struct bc_entry *ret, int64_t *ret_expire_at_ms)
{
    struct bc_shard *s = bc_shard_of(k, hash);
    uint32_t tag = bc_tag_of(hash);
    bool found = false;
    pthread_mutex_lock(&s->mutex);
    struct past p = past_of(s, number);
    for (uint32_t i = first_of(&p, tag); !found; i++) {
        struct bc_pair pair = bc_slot_get(&p.slots[i]);
        if (pair.place == 0 || bc_head_tag(pair.head) != tag)
            break;
        struct bc_arena_entry e = entry_of(&p, pair);
        if (e.key_size != key_size || memcmp(e.key, key, key_size) != 0)
            continue;
        *ret = bc_entry_decode(pair);
        *ret_expire_at_ms = e.expire_at_ms;
        found = true;
    }
    pthread_mutex_unlock(&s->mutex);
    return found;
}

static void advance(struct bc_walk *w, uint32_t tag)
{
    w->taken = tag == w->tag ? w->taken + 1 : 1;
    w->tag = tag;
}

/* The slots have no end mark but the empty ones between them: how many there are says when the last was seen. */
static uint32_t physical_of(const struct bc_shard *s, const struct past *p)
{
    if (p->slots == atomic_load_explicit(&s->table.slots, memory_order_relaxed))
        return bc_get32(&s->table.physical);
    for (const struct bc_version *v = s->versions; v != NULL; v = v->next)
        if (v->slots == p->slots)
            return (uint32_t)(v->bytes / sizeof *v->slots);
    return 0;
}

size_t bc_keydir_snapshot_walk(struct bc_keydir *k, uint64_t number, struct bc_walk *w, size_t max, bc_keydir_fn fn, void *arg)
{
    struct bc_shard *s = &k->shards[w->shard];
    size_t count = 0;
    pthread_mutex_lock(&s->mutex);
    struct past p = past_of(s, number);
    uint32_t end = physical_of(s, &p), skip = w->taken;
    for (uint32_t i = bc_tag_home(w->tag, p.capacity); i < end && count < max; i++) {
        struct bc_pair pair = bc_slot_get(&p.slots[i]);
        uint32_t tag = bc_head_tag(pair.head);
        if (pair.place == 0 || tag < w->tag)
            continue;
        if (tag == w->tag && skip > 0) {
            skip--;
            continue;
        }
        struct bc_entry entry = bc_entry_decode(pair);
        struct bc_arena_entry e = entry_of(&p, pair);
        fn(&entry, e.expire_at_ms, e.key, e.key_size, arg);
        advance(w, tag);
        count++;
    }
    pthread_mutex_unlock(&s->mutex);
    return count;
}
